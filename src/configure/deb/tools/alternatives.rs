//! `update-alternatives`: one name for several programs; see its manual, and for the file format
//! dpkg's `utils/update-alternatives.c`.

use std::collections::BTreeMap;

use crate::configure::shell::{Call, Fault, Flow, Shell, Stop, bytes_of};
use crate::tree::{Inode, Kind};

const DATABASE: &str = "/var/lib/dpkg/alternatives";
const LINKS: &str = "/etc/alternatives";

/// A group of alternatives.
#[derive(Debug, Default, PartialEq, Eq)]
struct Group {
    link: String,
    /// Which one was chosen by hand; else the best one is.
    manual: bool,
    /// Links that go along, by name.
    slaves: BTreeMap<String, String>,
    /// By path.
    choices: BTreeMap<String, Choice>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Choice {
    priority: i64,
    slaves: BTreeMap<String, String>,
}

impl Group {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut group = Self { manual: lines.next()? == "manual", ..Self::default() };
        lines.next()?.clone_into(&mut group.link);
        while let Some(name) = lines.next().filter(|name| !name.is_empty()) {
            group.slaves.insert(name.to_owned(), lines.next()?.to_owned());
        }
        while let Some(path) = lines.next().filter(|path| !path.is_empty()) {
            let priority = lines.next()?.parse().ok()?;
            let mut choice = Choice { priority, slaves: BTreeMap::new() };
            for name in group.slaves.keys() {
                choice.slaves.insert(name.clone(), lines.next()?.to_owned());
            }
            group.choices.insert(path.to_owned(), choice);
        }
        Some(group)
    }

    fn text(&self) -> String {
        let mut text = if self.manual { "manual\n" } else { "auto\n" }.to_owned();
        text.push_str(&format!("{}\n", self.link));
        for (name, link) in &self.slaves {
            text.push_str(&format!("{name}\n{link}\n"));
        }
        text.push('\n');
        for (path, choice) in &self.choices {
            text.push_str(&format!("{path}\n{}\n", choice.priority));
            for name in self.slaves.keys() {
                let path = choice.slaves.get(name).map_or("", String::as_str);
                text.push_str(&format!("{path}\n"));
            }
        }
        text + "\n"
    }

    fn best(&self) -> Option<String> {
        // Of equals the first wins.
        let all = self.choices.iter().rev();
        all.max_by_key(|(_, choice)| choice.priority).map(|(path, _)| path.clone())
    }
}

/// A slave: link, name, path.
type Slave = (String, String, String);

pub(super) fn update_alternatives(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let mut words = call.arguments.clone().into_iter().peekable();
    let (mut action, mut slaves) = (Vec::new(), Vec::<Slave>::new());
    while let Some(word) = words.next() {
        let mut take = |count: usize| words.by_ref().take(count).collect::<Vec<_>>();
        match word.as_str() {
            "--quiet" | "--force" => {}
            "--install" => action = [vec![word], take(4)].concat(),
            "--remove" | "--set" => action = [vec![word], take(2)].concat(),
            "--auto" => action = [vec![word], take(1)].concat(),
            "--slave" => match <[String; 3]>::try_from(take(3)) {
                Ok([link, name, path]) => slaves.push((link, name, path)),
                Err(_) => return Err(call.unknown("--slave")),
            },
            other => return Err(call.unknown(other)),
        }
    }
    let action: Vec<&str> = action.iter().map(String::as_str).collect();
    match action.as_slice() {
        ["--install", link, name, path, priority] => {
            if shell.file(path, true).is_none() {
                return Ok(1 + call.fail(&format!("alternative path {path} doesn't exist")));
            }
            let priority = priority.parse().map_err(|_| call.unknown(priority))?;
            let mut group = load(shell, name).unwrap_or_default();
            (*link).clone_into(&mut group.link);
            let mut choice = Choice { priority, slaves: BTreeMap::new() };
            for (link, slave, path) in slaves {
                group.slaves.insert(slave.clone(), link);
                choice.slaves.insert(slave, path);
            }
            group.choices.insert((*path).to_owned(), choice);
            save(shell, call, name, &group)
        }
        ["--remove", name, path] => {
            let Some(mut group) = load(shell, name) else { return Ok(0) };
            if group.choices.remove(*path).is_none() {
                return Ok(0);
            }
            if group.choices.is_empty() {
                return Err(call.unknown("--remove of the last choice"));
            }
            save(shell, call, name, &group)
        }
        ["--auto", name] => {
            let Some(mut group) = load(shell, name) else { return Ok(2) };
            group.manual = false;
            save(shell, call, name, &group)
        }
        _ => Err(call.unknown(&call.arguments.join(" "))),
    }
}

fn load(shell: &mut Shell<'_, '_>, name: &str) -> Option<Group> {
    shell.world.text(&format!("{DATABASE}/{name}")).and_then(|text| Group::parse(&text))
}

/// Writes the database, and the links of the best choice.
fn save(shell: &mut Shell<'_, '_>, call: &Call, name: &str, group: &Group) -> Flow {
    if group.manual {
        return Err(call.unknown("on what was chosen by hand"));
    }
    let failed = |fault: Fault| -> Stop { call.unknown(fault.text()) };
    shell.world.put(&format!("{DATABASE}/{name}"), 0o644, &group.text()).map_err(failed)?;
    let Some(best) = group.best() else { return Ok(0) };
    shell.world.make_directories(LINKS, 0o755).map_err(failed)?;
    link(shell, &format!("{LINKS}/{name}"), &best).map_err(failed)?;
    link(shell, &group.link, &format!("{LINKS}/{name}")).map_err(failed)?;
    let choice = group.choices.get(&best);
    for (slave, at) in &group.slaves {
        let path = choice.and_then(|choice| choice.slaves.get(slave));
        let path = path.filter(|path| !path.is_empty() && shell.file(path, true).is_some());
        let own = format!("{LINKS}/{slave}");
        match path {
            Some(path) => {
                link(shell, &own, path).map_err(failed)?;
                link(shell, at, &own).map_err(failed)?;
            }
            None => {
                for old in [&own, at] {
                    if let Some(Inode { kind: Kind::Symlink(_), .. }) = shell.file(old, false) {
                        let place = shell.place(old, false).map_err(failed)?;
                        shell.world.remove(&place).map_err(failed)?;
                    }
                }
            }
        }
    }
    Ok(0)
}

/// Makes a link, in the place of another one; a file stays.
fn link(shell: &mut Shell<'_, '_>, at: &str, target: &str) -> Result<(), Fault> {
    let Ok(place) = shell.place(at, false) else { return Ok(()) };
    match shell.world.tree.get(&place).map(|inode| &inode.kind) {
        Some(Kind::Symlink(old)) if **old == *bytes_of(target) => return Ok(()),
        Some(Kind::Symlink(_)) => shell.world.remove(&place)?,
        Some(_) => return Ok(()),
        None => {}
    }
    shell.world.insert(&place, 0o777, Kind::Symlink(bytes_of(target).into()))
}

#[cfg(test)]
mod tests {
    use super::Group;

    #[test]
    fn the_database_s_text_is_dpkg_s() {
        let text = "auto\n/usr/bin/awk\nawk.1.gz\n/usr/share/man/man1/awk.1.gz\nnawk\n/usr/bin/nawk\n\n\
            /usr/bin/gawk\n10\n/usr/share/man/man1/gawk.1.gz\n\n/usr/bin/mawk\n5\n\n/usr/bin/mawk\n\n";
        let group = Group::parse(text).unwrap();
        assert_eq!((group.text().as_str(), group.best().as_deref()), (text, Some("/usr/bin/gawk")));
        assert_eq!(Group::parse("auto\n"), None);
    }
}
