//! Programs: what a name leads to in the tree, and who does its work here.
//!
//! A program that is not in the tree is not found, as for any shell. One that is there is a command
//! of ours, or a script of the shell, which runs; anything else stops the script that calls it.

use super::{Call, Flow, Shell, Stop, text_of};
use crate::tree::{Inode, Kind, TreePath};

/// The interpreters whose scripts are understood, as far as they keep to the shell's language.
const SHELLS: [&str; 3] = ["sh", "dash", "bash"];

impl Shell<'_, '_> {
    /// Where a program lies: its path as written, and cleaned.
    pub(super) fn look_up(&self, name: &str) -> Option<(String, TreePath)> {
        let at = |path: String| {
            let place = self.world.resolve(&self.state.directory, &path, true).ok()?;
            let inode = self.world.tree.get(&place)?;
            let runs = matches!(inode.kind, Kind::Regular(_)) && inode.meta.mode & 0o111 != 0;
            runs.then_some((path, place))
        };
        if name.contains('/') {
            return at(name.to_owned());
        }
        let path = self.parameter("PATH").unwrap_or_default();
        path.split(':').find_map(|folder| at(format!("{folder}/{name}")))
    }

    /// Runs a program.
    pub(super) fn program(&mut self, name: &str, arguments: &[String]) -> Flow {
        let Some((path, place)) = self.look_up(name) else {
            self.write(2, &format!("{}: {name}: not found\n", self.state.name.clone()))?;
            return Ok(127);
        };
        let base = name.rsplit('/').next().unwrap_or(name);
        if let Some(handler) = (self.find)(base) {
            let mut call = Call::new(base, arguments);
            let result = handler(self, &mut call);
            self.write(1, &call.out)?;
            self.write(2, &call.err)?;
            return result;
        }
        let head = match self.world.tree.get(&place) {
            Some(Inode { kind: Kind::Regular(content), .. }) if content.size() < 1 << 20 => {
                self.world.read(&place).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        match is_shell(&head) {
            Some(_) => self.run_program(&path, &head, arguments),
            None => {
                let first = arguments.first().map(String::as_str).unwrap_or_default();
                Err(Stop::unknown(format!("{name} {first}").trim_end()))
            }
        }
    }

    /// Runs what ought to be a script of the shell, as the kernel would start it.
    pub(in crate::configure) fn run_program(
        &mut self,
        path: &str,
        bytes: &[u8],
        arguments: &[String],
    ) -> Flow {
        let errexit = is_shell(bytes).ok_or_else(|| Stop::unknown(path))?;
        let mut script = text_of(bytes);
        if errexit {
            script.insert_str(0, "set -e;");
        }
        self.run_script(path, &script, arguments)
    }
}

/// Whether a file is a script of the shell, and its first line asks for `-e`.
pub(in crate::configure) fn is_shell(bytes: &[u8]) -> Option<bool> {
    let line = bytes.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let line = text_of(line);
    let mut words = line.split_whitespace();
    let name = words.next()?.rsplit('/').next()?;
    let options: Vec<&str> = words.collect();
    match (SHELLS.contains(&name), options.as_slice()) {
        (true, []) => Some(false),
        (true, ["-e"]) => Some(true),
        _ => None,
    }
}
