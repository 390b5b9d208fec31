//! dpkg's database as text: what stands in the files below `/var/lib/dpkg`.
//!
//! Values come in, texts go out that are byte for byte what dpkg writes itself: the order of
//! fields, the spelling of relations, the names of files. Where they are put is the caller's
//! business, and so is reading a database back. Specification: the files dpkg 1.21 and 1.22 leave,
//! and the order of fields in libdpkg's `parse.c`; deb-control(5), deb-md5sums(5).

use super::relation::{self, Operator, Qualifier, Relation};
use super::scripts::Trigger;
use super::stanza::Stanza;
use super::version::Version;
use crate::tree::TreePath;

/// The MD5 digest that dpkg keeps of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Md5(pub [u8; 16]);

impl std::fmt::Display for Md5 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The state of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its files are there, its `postinst` has not run.
    Unpacked,
    /// It works.
    Installed,
}

impl State {
    const fn text(self) -> &'static str {
        match self {
            Self::Unpacked => "install ok unpacked",
            Self::Installed => "install ok installed",
        }
    }
}

/// One package in the file `status`.
#[derive(Debug, Clone, Copy)]
pub struct Status<'a> {
    /// Its control file.
    pub control: &'a Stanza,
    /// Its state.
    pub state: State,
    /// Its configuration files with the digests that the package delivered; none for one that
    /// the package does not hold and that is to be removed on upgrade.
    pub conffiles: &'a [(TreePath, Option<Md5>)],
}

/// How dpkg treats a field, apart from its place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As it is.
    Text,
    /// Only written when it says yes.
    Flag,
    /// Not written when it says no.
    MultiArch,
    Version,
    Relations,
    /// Written by dpkg itself, not taken from the control file.
    Own,
}

/// The fields that dpkg knows, in its order.
const FIELDS: [(&str, Form); 27] = [
    ("Package", Form::Text),
    ("Essential", Form::Flag),
    ("Protected", Form::Flag),
    ("Status", Form::Own),
    ("Priority", Form::Text),
    ("Section", Form::Text),
    ("Installed-Size", Form::Text),
    ("Origin", Form::Text),
    ("Maintainer", Form::Text),
    ("Bugs", Form::Text),
    ("Architecture", Form::Text),
    ("Multi-Arch", Form::MultiArch),
    ("Source", Form::Text),
    ("Version", Form::Version),
    ("Config-Version", Form::Own),
    ("Replaces", Form::Relations),
    ("Provides", Form::Relations),
    ("Depends", Form::Relations),
    ("Pre-Depends", Form::Relations),
    ("Recommends", Form::Relations),
    ("Suggests", Form::Relations),
    ("Breaks", Form::Relations),
    ("Conflicts", Form::Relations),
    ("Enhances", Form::Relations),
    ("Conffiles", Form::Own),
    ("Description", Form::Text),
    ("Triggers-Pending", Form::Own),
];

impl Status<'_> {
    /// Writes the stanza, with the empty line that ends it.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, form) in FIELDS {
            if let Some(value) = self.value(name, form) {
                push_field(&mut text, name, &value);
            }
        }
        let known = |name: &str| FIELDS.iter().any(|(field, _)| field.eq_ignore_ascii_case(name));
        for (name, value) in self.control.iter().filter(|(name, _)| !known(name)) {
            push_field(&mut text, name, value);
        }
        text.push('\n');
        text
    }

    fn value(&self, name: &str, form: Form) -> Option<String> {
        if form == Form::Own {
            return self.own_value(name);
        }
        let value = self.control.get(name).filter(|value| !value.is_empty())?;
        match form {
            Form::Flag => value.eq_ignore_ascii_case("yes").then(|| "yes".to_owned()),
            Form::MultiArch if value == "no" => None,
            Form::Version => Some(version_text(value)),
            Form::Relations => Some(relations_text(value)),
            Form::Text | Form::MultiArch | Form::Own => Some(value.to_owned()),
        }
    }

    fn own_value(&self, name: &str) -> Option<String> {
        match name {
            "Status" => Some(self.state.text().to_owned()),
            "Conffiles" if !self.conffiles.is_empty() => {
                let line = |(path, md5): &(TreePath, Option<Md5>)| match md5 {
                    Some(md5) => format!("\n {} {md5}", plain(path)),
                    None => format!("\n {} newconffile remove-on-upgrade", plain(path)),
                };
                Some(self.conffiles.iter().map(line).collect())
            }
            _ => None,
        }
    }
}

fn push_field(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push(':');
    if !value.starts_with('\n') && !value.is_empty() {
        text.push(' ');
    }
    text.push_str(value);
    text.push('\n');
}

/// A path as dpkg writes it; bytes that are not UTF-8 cannot be in a conffiles list that is text.
fn plain(path: &TreePath) -> String {
    format!("/{}", String::from_utf8_lossy(path.as_bytes()))
}

/// A version as dpkg writes it: an epoch of zero is left out unless a colon makes it needed.
fn version_text(text: &str) -> String {
    Version::parse(text).map_or_else(|_| text.to_owned(), canonical)
}

fn canonical(version: Version<'_>) -> String {
    let mut text = String::new();
    if version.epoch() != 0 || version.upstream().contains(':') {
        text.push_str(&format!("{}:", version.epoch()));
    }
    text.push_str(version.upstream());
    if let Some(revision) = version.revision() {
        text.push('-');
        text.push_str(revision);
    }
    text
}

/// Relations with single blanks, as dpkg writes them; as they are where they cannot be read.
fn relations_text(text: &str) -> String {
    let group = |group: Vec<Relation<'_>>| join(group.into_iter().map(relation_text), " | ");
    match relation::parse(text) {
        Ok(groups) => join(groups.into_iter().map(group), ", "),
        Err(_) => text.to_owned(),
    }
}

fn join(parts: impl Iterator<Item = String>, separator: &str) -> String {
    parts.collect::<Vec<_>>().join(separator)
}

fn relation_text(relation: Relation<'_>) -> String {
    let mut text = relation.name.to_owned();
    match relation.qualifier {
        Some(Qualifier::Any) => text.push_str(":any"),
        Some(Qualifier::Native) => text.push_str(":native"),
        Some(Qualifier::Architecture(name)) => text.push_str(&format!(":{name}")),
        None => {}
    }
    if let Some((operator, version)) = relation.versions {
        let operator = match operator {
            Operator::Earlier => "<<",
            Operator::EarlierOrEqual => "<=",
            Operator::Equal => "=",
            Operator::LaterOrEqual => ">=",
            Operator::Later => ">>",
        };
        text.push_str(&format!(" ({operator} {})", canonical(version)));
    }
    text
}

/// The name under which a package stands in the database: with its architecture if packages of
/// several architectures may be installed together.
pub fn database_name(control: &Stanza) -> String {
    let name = control.get("Package").unwrap_or_default();
    match control.get("Multi-Arch") {
        Some("same") => format!("{name}:{}", control.get("Architecture").unwrap_or_default()),
        _ => name.to_owned(),
    }
}

/// The list of a package's files: one path a line, the root as `/.`.
pub fn list<'a>(paths: impl IntoIterator<Item = &'a TreePath>) -> Vec<u8> {
    let mut text = Vec::new();
    for path in paths {
        text.push(b'/');
        text.extend_from_slice(if path.is_root() { b"." } else { path.as_bytes() });
        text.push(b'\n');
    }
    text
}

/// The digests of a package's regular files, for a package that brings no such list.
pub fn md5sums<'a>(files: impl IntoIterator<Item = (&'a TreePath, Md5)>) -> Vec<u8> {
    let mut text = Vec::new();
    for (path, md5) in files {
        text.extend_from_slice(format!("{md5}  ").as_bytes());
        text.extend_from_slice(path.as_bytes());
        text.push(b'\n');
    }
    text
}

/// A line of `triggers/File`, or of the file of an explicit trigger: who is interested.
pub fn interest(trigger: &Trigger, database_name: &str) -> String {
    let suffix = if trigger.awaits { "" } else { "/noawait" };
    if trigger.name.starts_with('/') {
        format!("{} {database_name}{suffix}\n", trigger.name)
    } else {
        format!("{database_name}{suffix}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).unwrap()
    }

    #[test]
    fn a_stanza_has_dpkgs_order_and_spelling() {
        let control = Stanza::parse(
            b"Package: hello\nVersion: 0:1.0-1\nX-Own: kept\nMulti-Arch: no\nessential: YES\n\
              Architecture: all\nMaintainer: A <a@b>\nBuilt-Using: gcc (= 1)\nPriority: required\n\
              Depends: libc6(>=2.34),awk|gawk:any (<2)\nProtected: no\nHomepage: https://a.b\n\
              Description: greets\n politely\n",
        );
        let control = &control.unwrap();
        let conffiles = &[(path("etc/hello"), Some(Md5([0xab; 16]))), (path("etc/old"), None)];
        let text = Status { control, state: State::Installed, conffiles }.to_text();
        let expected = "Package: hello\nEssential: yes\nStatus: install ok installed\n\
            Priority: required\nMaintainer: A <a@b>\nArchitecture: all\nVersion: 1.0-1\n\
            Depends: libc6 (>= 2.34), awk | gawk:any (<= 2)\n\
            Conffiles:\n /etc/hello abababababababababababababababab\n\x20/etc/old newconffile remove-on-upgrade\n\
            Description: greets\n politely\nX-Own: kept\nBuilt-Using: gcc (= 1)\n\
            Homepage: https://a.b\n\n";
        assert_eq!(text, expected);
        let unpacked = Status { control, state: State::Unpacked, conffiles: &[] }.to_text();
        assert!(unpacked.contains("\nStatus: install ok unpacked\n"));
        assert!(!unpacked.contains("Conffiles"));
    }

    #[test]
    fn names_carry_the_architecture_where_several_may_be_installed() {
        for (fields, name) in [
            (&b"Package: a\nArchitecture: amd64\nMulti-Arch: same\n"[..], "a:amd64"),
            (b"Package: a\nArchitecture: amd64\nMulti-Arch: foreign\n", "a"),
            (b"Package: a\nArchitecture: all\n", "a"),
        ] {
            assert_eq!(database_name(&Stanza::parse(fields).unwrap()), name);
        }
    }

    #[test]
    fn lists_go_by_lines() {
        assert_eq!(list(&[TreePath::ROOT, path("etc"), path("etc/a b")]), b"/.\n/etc\n/etc/a b\n");
        let sums = md5sums([(&path("etc/a"), Md5([0; 16]))]);
        assert_eq!(sums, b"00000000000000000000000000000000  etc/a\n");
        let trigger = |name: &str, awaits| Trigger { name: name.to_owned(), awaits };
        assert_eq!(interest(&trigger("/usr/share/man", false), "m"), "/usr/share/man m/noawait\n");
        assert_eq!(interest(&trigger("ldconfig", true), "libc-bin"), "libc-bin\n");
    }
}
