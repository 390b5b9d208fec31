//! `[` and `test`; see XCU, `test`.

use super::{Flow, Shell, Stop};
use crate::tree::{Inode, Kind};

impl Shell<'_, '_> {
    /// `[ … ]` or `test …`.
    pub(super) fn condition_command(&mut self, name: &str, arguments: &[String]) -> Flow {
        let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if name == "[" && words.pop() != Some("]") {
            return Err(Stop::unknown("`[` without `]`"));
        }
        let mut rest = words.as_slice();
        let value = if rest.is_empty() { false } else { self.any(&mut rest)? };
        match rest.is_empty() {
            true => Ok(i32::from(!value)),
            false => Err(Stop::unknown(format!("[ {} ]", words.join(" ")))),
        }
    }

    fn any(&self, words: &mut &[&str]) -> Result<bool, Stop> {
        let mut value = self.all(words)?;
        while let ["-o", rest @ ..] = *words {
            *words = rest;
            value |= self.all(words)?;
        }
        Ok(value)
    }

    fn all(&self, words: &mut &[&str]) -> Result<bool, Stop> {
        let mut value = self.primary(words)?;
        while let ["-a", rest @ ..] = *words {
            *words = rest;
            value &= self.primary(words)?;
        }
        Ok(value)
    }

    fn primary(&self, words: &mut &[&str]) -> Result<bool, Stop> {
        let all = *words;
        if let [left, sign, right, rest @ ..] = all
            && let Some(value) = self.compare(left, sign, right)?
        {
            *words = rest;
            return Ok(value);
        }
        match all {
            ["!", rest @ ..] if !rest.is_empty() => {
                *words = rest;
                Ok(!self.primary(words)?)
            }
            ["(", rest @ ..] if !rest.is_empty() => {
                *words = rest;
                let value = self.any(words)?;
                match *words {
                    [")", rest @ ..] => *words = rest,
                    _ => return Err(Stop::unknown("a parenthesis in `[` does not close")),
                }
                Ok(value)
            }
            [sign, operand, rest @ ..] if sign.len() == 2 && sign.starts_with('-') => {
                *words = rest;
                self.about(sign, operand)
            }
            [text, rest @ ..] => {
                *words = rest;
                Ok(!text.is_empty())
            }
            [] => Err(Stop::unknown("`[` lacks an operand")),
        }
    }

    fn compare(&self, left: &str, sign: &str, right: &str) -> Result<Option<bool>, Stop> {
        let number =
            |text: &str| -> Result<i64, Stop> { text.trim().parse().map_err(|_| Stop::Exit(2)) };
        Ok(Some(match sign {
            "=" | "==" => left == right,
            "!=" => left != right,
            "-eq" => number(left)? == number(right)?,
            "-ne" => number(left)? != number(right)?,
            "-lt" => number(left)? < number(right)?,
            "-le" => number(left)? <= number(right)?,
            "-gt" => number(left)? > number(right)?,
            "-ge" => number(left)? >= number(right)?,
            "-ef" => {
                let file = |path: &str| {
                    let place = self.world.resolve(&self.state.directory, path, true).ok()?;
                    self.world.tree.lookup(&place)
                };
                file(left).is_some() && file(left) == file(right)
            }
            _ => return Ok(None),
        }))
    }

    fn about(&self, sign: &str, operand: &str) -> Result<bool, Stop> {
        let file = |follow| -> Option<&Inode> {
            let place = self.world.resolve(&self.state.directory, operand, follow).ok()?;
            self.world.tree.get(&place)
        };
        let kind = |test: fn(&Kind) -> bool| file(true).is_some_and(|inode| test(&inode.kind));
        Ok(match sign {
            "-n" => !operand.is_empty(),
            "-z" => operand.is_empty(),
            "-e" => file(true).is_some(),
            "-f" => kind(|kind| matches!(kind, Kind::Regular(_))),
            "-d" => kind(|kind| matches!(kind, Kind::Directory(_))),
            "-L" | "-h" => matches!(file(false), Some(Inode { kind: Kind::Symlink(_), .. })),
            "-p" => kind(|kind| matches!(kind, Kind::Fifo)),
            "-S" => kind(|kind| matches!(kind, Kind::Socket)),
            "-c" => kind(|kind| matches!(kind, Kind::CharacterDevice(_))),
            "-b" => kind(|kind| matches!(kind, Kind::BlockDevice(_))),
            "-s" => kind(|kind| matches!(kind, Kind::Regular(content) if content.size() > 0)),
            // Root may read and write everything, and enter every directory.
            "-r" | "-w" => file(true).is_some(),
            "-x" => file(true).is_some_and(|inode| {
                matches!(inode.kind, Kind::Directory(_)) || inode.meta.mode & 0o111 != 0
            }),
            "-u" => file(true).is_some_and(|inode| inode.meta.mode & 0o4000 != 0),
            "-g" => file(true).is_some_and(|inode| inode.meta.mode & 0o2000 != 0),
            "-t" => false,
            _ => return Err(Stop::unknown(format!("[ {sign} ]"))),
        })
    }
}
