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
/// The longest name, in bytes: what records of who is logged in have room for, without the final
/// NUL.
const LONGEST_NAME: usize = 31;
/// Numbers that mean none, in 16 bits and in 32.
const NO_ID: [u32; 2] = [0xffff, u32::MAX];

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
        let is_free = |number: &u32| !taken.contains(number) && !NO_ID.contains(number);
        open.find(is_free).unwrap_or(u32::MAX)
    }
}

impl Declared {
    /// Reads the fields of a line. `None` if it declares nothing that is known here. What was declared
    /// before stays as it was. What systemd refuses is not known here either: it would not be one
    /// field of one line in the lists, but shift the fields behind it.
    fn read(&mut self, fields: &[&str], owner: Option<Owner<'_>>) -> Option<()> {
        let field = |at: usize| fields.get(at).copied().filter(|word| !matches!(*word, "-" | ""));
        let name = field(1).filter(|name| is_name(name))?.to_owned();
        match (*fields.first()?, field(2)) {
            (kind @ ("u" | "u!"), id) => {
                let (uid, group) = ids(id, owner)?;
                let is_fit = field(3).is_none_or(is_field)
                    && [4, 5].map(field).into_iter().flatten().all(is_path);
                if !is_fit {
                    return None;
                }
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
                    Some(id) => Some(id_of(id)?),
                    None => None,
                };
                if !self.groups.iter().any(|(group, _)| *group == name) {
                    self.groups.push((name, gid));
                }
            }
            ("m", Some(group)) if is_name(group) => self.members.push((name, group.to_owned())),
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
        return Some((Some(id_of(id)?), Group::Own(None)));
    };
    let uid = if uid == "-" { None } else { Some(id_of(uid)?) };
    let group = match id_of(group) {
        Some(gid) => Group::Number(gid),
        None if is_name(group) => Group::Name(group.to_owned()),
        None => return None,
    };
    Some((uid, group))
}

/// A number that somebody can have, written without a sign and without zeros before it.
fn id_of(text: &str) -> Option<u32> {
    let id: u32 = text.parse().ok()?;
    (!NO_ID.contains(&id) && id.to_string() == text).then_some(id)
}

/// Whether a user or a group can be called this.
fn is_name(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let goes_on = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    begins && goes_on && text.len() <= LONGEST_NAME
}

/// Whether a text is one field of one line in a list.
fn is_field(text: &str) -> bool {
    !text.contains(|c: char| c == ':' || c.is_ascii_control())
}

/// Whether a text can be a home or a shell: a path from the root without detours.
fn is_path(text: &str) -> bool {
    let has_detours = text.contains("//") || text.split('/').any(|part| matches!(part, "." | ".."));
    text.starts_with('/') && is_field(text) && !has_detours
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

    #[test]
    fn what_would_shift_the_fields_of_a_list_is_refused_as_systemd_does() {
        let long = "a".repeat(LONGEST_NAME);
        let good = [
            format!("u {long} 65534 \"The One; of Öland\" /one/.two/..three/ /bin/sh"),
            format!("m {long} _b-2"),
            "u c 4294967294:_b-2 \"\" \"\" \"\"".to_owned(),
        ];
        declare(&mut Lists::default(), &good.each_ref().map(String::as_str)).unwrap();
        let bad = [
            "u a:0:0 -",
            "g a:0 -",
            "m a:0 b",
            "m a b:0",
            "u 7 -",
            "u -a -",
            "u a.b -",
            "u ä -",
            "u a,b -",
            "u \"a b\" -",
            "u \"a\u{1}\" -",
            &format!("u {long}a -"),
            "u \"\" -",
            "u a 65535",
            "u a 4294967295",
            "u a 4294967296",
            "u a 4:65535",
            "u a 65535:4",
            "u a +4",
            "u a 04",
            "u a 4:b:c",
            "g a 65535",
            "g a 4294967295",
            "g a +4",
            "u a - b:c",
            "u a - \"b\u{1b}c\"",
            "u a - \"b\tc\"",
            "u a - \"b\u{7f}\"",
            "u a - b /c:d",
            "u a - b /c\u{1}",
            "u a - b c",
            "u a - b /c/../d",
            "u a - b /c//d",
            "u a - b /c /d:e",
            "u a - b /c /d\u{1}",
            "u a - b /c d",
        ];
        for bad in bad {
            let mut lists = Lists::default();
            let unknown = declare(&mut lists, &["g good -", bad]).unwrap_err();
            assert_eq!((unknown, lists), (Unknown(bad.to_owned()), Lists::default()));
        }
    }

    #[test]
    fn nobody_is_given_a_number_that_means_none() {
        let taken = (100..1000).chain(60_000..65_535);
        let group = taken.map(|gid| format!("g{gid}:x:{gid}:\n")).collect();
        let mut lists = Lists { group, ..Lists::default() };
        declare(&mut lists, &["g one -"]).unwrap();
        assert!(lists.group.ends_with("one:x:65536:\n"));
    }
}
