//! The lists of users and groups, and what declarations add to them.
//!
//! In: the four lists as texts, and lines of sysusers.d(5); out: the lists as `systemd-sysusers` leaves
//! them, without any file. Groups come first, then users, then who is a member of what. A number that is
//! left open, or is taken, is the highest of the system's that neither a user nor a group has.
//! Formats: passwd(5), group(5), shadow(5), gshadow(5).

use std::collections::BTreeSet;

/// Numbers that are given out to those who ask for none.
const OPEN_NUMBERS: std::ops::RangeInclusive<u32> = 100..=999;
const SHELL: &str = "/usr/sbin/nologin";

/// A line that is no declaration of a user, a group or a membership.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot make a user or group of `{0}`")]
pub struct Unknown(pub String);

/// The lists, as texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lists {
    /// `/etc/passwd`
    pub passwd: String,
    /// `/etc/group`
    pub group: String,
    /// `/etc/shadow`
    pub shadow: String,
    /// `/etc/gshadow`
    pub gshadow: String,
}

/// The numbers of the user and the group that have a file, if it is there.
pub type Owner<'a> = &'a dyn Fn(&str) -> Option<(u32, u32)>;

/// Where and when declarations are followed.
#[derive(Clone, Copy)]
pub struct Circumstances<'a> {
    /// The day of the build: days since 1970.
    pub day: u64,
    /// The numbers of whom a file belongs to, by its path. Without it, a number that is to be taken from a
    /// file is not understood.
    pub owner: Option<Owner<'a>>,
}

impl std::fmt::Debug for Circumstances<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Circumstances").field("day", &self.day).finish_non_exhaustive()
    }
}

impl Default for Group {
    fn default() -> Self {
        Self::Own(None)
    }
}

/// A user that is declared.
#[derive(Default)]
struct User {
    name: String,
    uid: Option<u32>,
    group: Group,
    comment: String,
    home: Option<String>,
    shell: Option<String>,
    is_locked: bool,
}

/// The group of a user.
enum Group {
    /// One of its own name, perhaps with the number that a file has.
    Own(Option<u32>),
    Number(u32),
    Name(String),
}

/// What lines declare.
#[derive(Default)]
struct Declared {
    groups: Vec<(String, Option<u32>)>,
    users: Vec<User>,
    /// Users and their groups.
    members: Vec<(String, String)>,
}

impl Lists {
    /// Adds what lines declare, and is not there yet.
    ///
    /// # Errors
    /// [`Unknown`]; then nothing has changed.
    pub fn declare<'l>(
        &mut self,
        lines: impl Iterator<Item = &'l str>,
        circumstances: Circumstances<'_>,
    ) -> Result<(), Unknown> {
        let mut declared = Declared::default();
        for line in lines {
            let words = words(line);
            let fields: Vec<&str> = words.iter().map(String::as_str).collect();
            if !fields.is_empty() {
                let read = declared.read(&fields, circumstances.owner);
                read.ok_or_else(|| Unknown(line.to_owned()))?;
            }
        }
        declared.add_members();
        let mut lists = self.clone();
        for (name, gid) in &declared.groups {
            lists.add_group(name, *gid);
        }
        for user in &declared.users {
            let added = lists.add_user(user, circumstances.day);
            added.ok_or_else(|| Unknown(format!("u {}", user.name)))?;
        }
        for (user, group) in &declared.members {
            lists.group = with_member(&lists.group, group, user);
            lists.gshadow = with_member(&lists.gshadow, group, user);
        }
        *self = lists;
        Ok(())
    }

    /// The number of a group, which is made if there is none of this name.
    fn add_group(&mut self, name: &str, wanted: Option<u32>) -> u32 {
        if let Some(number) = number(&self.group, name) {
            return number;
        }
        let groups = numbers(&self.group);
        let wanted = wanted.filter(|gid| !groups.contains(gid));
        let gid = wanted.unwrap_or_else(|| self.open_number());
        append(&mut self.group, &format!("{name}:x:{gid}:"));
        append(&mut self.gshadow, &format!("{name}:!*::"));
        gid
    }

    /// `None` if its group is not there.
    fn add_user(&mut self, user: &User, day: u64) -> Option<()> {
        let User { name, comment, .. } = user;
        if number(&self.passwd, name).is_some() {
            return Some(());
        }
        let uid = user.uid.filter(|uid| self.is_open(*uid, name));
        let gid = match &user.group {
            Group::Number(gid) => *gid,
            Group::Name(group) => number(&self.group, group)?,
            Group::Own(of_file) => self.add_group(name, of_file.or(uid)),
        };
        let own = Some(gid).filter(|gid| self.is_open(*gid, name));
        let uid = uid.or(own).unwrap_or_else(|| self.open_number());
        let home = user.home.as_deref().unwrap_or("/");
        let shell = user.shell.as_deref().unwrap_or(SHELL);
        append(&mut self.passwd, &format!("{name}:x:{uid}:{gid}:{comment}:{home}:{shell}"));
        let expires = if user.is_locked { "1" } else { "" };
        append(&mut self.shadow, &format!("{name}:!*:{day}:::::{expires}:"));
        Some(())
    }

    /// Whether nobody has a number, but perhaps a group of the same name.
    fn is_open(&self, uid: u32, name: &str) -> bool {
        let mut groups = entries(&self.group).filter(|(_, gid)| *gid == uid);
        !numbers(&self.passwd).contains(&uid) && groups.all(|(group, _)| group == name)
    }

    /// A number that neither a user nor a group has; beyond all that the system has, if it must be.
    fn open_number(&self) -> u32 {
        let taken: BTreeSet<u32> =
            numbers(&self.passwd).union(&numbers(&self.group)).copied().collect();
        let mut open = OPEN_NUMBERS.rev().chain(60_000..u32::MAX);
        open.find(|number| !taken.contains(number)).unwrap_or(u32::MAX)
    }
}

impl Declared {
    /// Reads the fields of a line. `None` if it declares nothing that is known here. What was declared
    /// before stays as it was.
    fn read(&mut self, fields: &[&str], owner: Option<Owner<'_>>) -> Option<()> {
        let field = |at: usize| fields.get(at).copied().filter(|word| *word != "-");
        let name = field(1)?.to_owned();
        match (*fields.first()?, field(2)) {
            (kind @ ("u" | "u!"), id) => {
                let (uid, group) = ids(id, owner)?;
                let text = |at| field(at).map(str::to_owned);
                if !self.users.iter().any(|user| user.name == name) {
                    self.users.push(User {
                        name,
                        uid,
                        group,
                        comment: text(3).unwrap_or_default(),
                        home: text(4),
                        shell: text(5),
                        is_locked: kind == "u!",
                    });
                }
            }
            ("g", id) => {
                let gid = match id {
                    Some(path) if path.starts_with('/') => owner?(path).map(|(_, gid)| gid),
                    Some(id) => Some(id.parse().ok()?),
                    None => None,
                };
                if !self.groups.iter().any(|(group, _)| *group == name) {
                    self.groups.push((name, gid));
                }
            }
            ("m", Some(group)) => self.members.push((name, group.to_owned())),
            _ => return None,
        }
        Some(())
    }

    /// Who is a member, and of what, is declared by that, too.
    fn add_members(&mut self) {
        for (user, group) in &self.members {
            if !self.users.iter().any(|known| known.name == *user) {
                self.users.push(User { name: user.clone(), ..User::default() });
            }
            let of_user = self.users.iter().any(|user| user.name == *group);
            if !of_user && !self.groups.iter().any(|(known, _)| known == group) {
                self.groups.push((group.clone(), None));
            }
        }
    }
}

/// The numbers that a user asks for: of its own, `UID:GID`, `UID:GROUP`, those of a file's owner.
fn ids(id: Option<&str>, owner: Option<Owner<'_>>) -> Option<(Option<u32>, Group)> {
    let Some(id) = id else { return Some((None, Group::Own(None))) };
    if id.starts_with('/') {
        let (uid, gid) = owner?(id).unzip();
        return Some((uid, Group::Own(gid)));
    }
    let Some((uid, group)) = id.split_once(':') else {
        return Some((Some(id.parse().ok()?), Group::Own(None)));
    };
    let uid = if uid == "-" { None } else { Some(uid.parse().ok()?) };
    let group = group.parse().map_or_else(|_| Group::Name(group.to_owned()), Group::Number);
    Some((uid, group))
}

/// The words of a line; quotes hold one together.
pub fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    if line.trim_start().starts_with('#') {
        return words;
    }
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_ascii_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Names and their numbers, which are the third field of users and of groups.
fn entries(list: &str) -> impl Iterator<Item = (&str, u32)> {
    list.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(1)?.parse().ok()?))
    })
}

fn numbers(list: &str) -> BTreeSet<u32> {
    entries(list).map(|(_, number)| number).collect()
}

fn number(list: &str, name: &str) -> Option<u32> {
    entries(list).find(|(known, _)| *known == name).map(|(_, number)| number)
}

fn append(list: &mut String, line: &str) {
    if !list.is_empty() && !list.ends_with('\n') {
        list.push('\n');
    }
    list.push_str(line);
    list.push('\n');
}

/// A list of groups in which one has this member; it is the fourth field.
fn with_member(list: &str, group: &str, member: &str) -> String {
    let mut lines = String::new();
    for line in list.lines() {
        let is_it = line.split(':').next() == Some(group);
        let members = line.split(':').nth(3).unwrap_or_default();
        let comma = if members.is_empty() { "" } else { "," };
        match is_it && !members.split(',').any(|known| known == member) {
            true => lines.push_str(&format!("{line}{comma}{member}\n")),
            false => lines.push_str(&format!("{line}\n")),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declare(lists: &mut Lists, lines: &[&str]) -> Result<(), Unknown> {
        let owner = |path: &str| (path == "/srv").then_some((7, 8));
        lists.declare(lines.iter().copied(), Circumstances { day: 5, owner: Some(&owner) })
    }

    /// As systemd-sysusers 252 leaves them when it is asked for the same (`u!` came with 257).
    #[test]
    fn lists_are_those_of_systemd() {
        let mut lists = Lists {
            passwd: "root:x:0:0:root:/root:/bin/sh\n".to_owned(),
            group: "root:x:0:\nold:x:998:\nwww:x:33:\n".to_owned(),
            ..Lists::default()
        };
        let lines = [
            "# nothing",
            "u! one - \"The One\" /one /bin/sh",
            "u two 42 - -",
            "g three 300",
            "u four 4:three",
            "u old -",
            "m one three",
            "m five six",
            "u seven /srv",
            "u web 33",
            "u one 1",
        ];
        declare(&mut lists, &lines).unwrap();
        let expected = "root:x:0:0:root:/root:/bin/sh\none:x:997:997:The One:/one:/bin/sh\n\
                        two:x:42:42::/:/usr/sbin/nologin\nfour:x:4:300::/:/usr/sbin/nologin\n\
                        old:x:998:998::/:/usr/sbin/nologin\nseven:x:7:8::/:/usr/sbin/nologin\n\
                        web:x:996:996::/:/usr/sbin/nologin\nfive:x:995:995::/:/usr/sbin/nologin\n";
        assert_eq!(lists.passwd, expected);
        let expected = "root:x:0:\nold:x:998:\nwww:x:33:\nthree:x:300:one\nsix:x:999:five\n\
                        one:x:997:\ntwo:x:42:\nseven:x:8:\nweb:x:996:\nfive:x:995:\n";
        assert_eq!(lists.group, expected);
        assert!(lists.shadow.starts_with("one:!*:5:::::1:\ntwo:!*:5::::::\n"), "{}", lists.shadow);
        assert!(lists.gshadow.starts_with("three:!*::one\nsix:!*::five\none:!*::\n"));
        let before = lists.clone();
        declare(&mut lists, &lines).unwrap();
        assert_eq!(lists, before);
    }

    #[test]
    fn what_is_no_declaration_changes_nothing() {
        let mut lists = Lists::default();
        for bad in ["x one -", "u", "u one nine", "u one 4:nobody", "g one x", "m one", "m one -"] {
            declare(&mut lists, &["u good -", bad]).unwrap_err();
            assert_eq!(lists, Lists::default(), "{bad}");
        }
    }
}
