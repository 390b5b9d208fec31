//! What packages say about each other: `so:libc.musl-x86_64.so.1 busybox>=1.36 !uclibc cmd:sh~1`.
//!
//! A text comes in, its entries go out, borrowing it. Who satisfies what is decided elsewhere. A name
//! may be that of a package or of something that packages provide (`so:…`, `cmd:…`, `pc:…`,
//! `/bin/sh`). An entry may be turned round by `!`: then what it names must not be there.
//!
//! Specification: apk-world(5), apk-package(5).

use std::fmt;

use super::checksum::{BadChecksum, Checksum};
use super::version::{BadVersion, Version};

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation<'a> {
    /// What is meant: a package's name, or what packages provide.
    pub name: &'a str,
    /// Whether it must not be there (`!`).
    pub refuses: bool,
    /// Which versions are meant.
    pub versions: Versions<'a>,
    /// The tag of a repository that may be used for it (`@edge`).
    pub tag: Option<&'a str>,
}

/// Which versions are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions<'a> {
    /// Any, and also what has no version.
    Any,
    /// Those that compare so.
    Compared(Operator, Version<'a>),
    /// The one package with this identity (`><`).
    Exactly(Checksum),
}

/// How versions are compared with the one that is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `<~`: less, or beginning with it
    LessOrStarting,
    /// `=`
    Equal,
    /// `~`: beginning with it
    Starting,
    /// `>~`: greater, or beginning with it
    GreaterOrStarting,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
}

impl Operator {
    /// Every operator with its notation.
    pub const ALL: [(&'static str, Self); 8] = [
        ("<", Self::Less),
        ("<=", Self::LessOrEqual),
        ("<~", Self::LessOrStarting),
        ("=", Self::Equal),
        ("~", Self::Starting),
        (">~", Self::GreaterOrStarting),
        (">=", Self::GreaterOrEqual),
        (">", Self::Greater),
    ];

    /// The operator of this notation. The signs may stand in any order and `=` beside `~` changes
    /// nothing, as for apk.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || !text.bytes().all(|byte| b"<=>~".contains(&byte)) {
            return None;
        }
        let has = |sign: char| text.contains(sign);
        match (has('<'), has('>'), has('~'), has('=')) {
            (true, true, ..) | (false, false, false, false) => None,
            (true, false, true, _) => Some(Self::LessOrStarting),
            (true, false, false, true) => Some(Self::LessOrEqual),
            (true, false, false, false) => Some(Self::Less),
            (false, true, true, _) => Some(Self::GreaterOrStarting),
            (false, true, false, true) => Some(Self::GreaterOrEqual),
            (false, true, false, false) => Some(Self::Greater),
            (false, false, true, _) => Some(Self::Starting),
            (false, false, false, true) => Some(Self::Equal),
        }
    }

    /// Whether `version` stands in this relation to `named`.
    pub fn holds(self, version: Version<'_>, named: Version<'_>) -> bool {
        let order = version.cmp(&named);
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::LessOrStarting => version.starts_with(named) || order.is_lt(),
            Self::Equal => order.is_eq(),
            Self::Starting => version.starts_with(named),
            Self::GreaterOrStarting => version.starts_with(named) || order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Greater => order.is_gt(),
        }
    }

    fn notation(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("", |(text, _)| text)
    }
}

impl<'a> Relation<'a> {
    /// The version in which something is provided: that of an entry with `=`.
    pub const fn version(&self) -> Option<Version<'a>> {
        match self.versions {
            Versions::Compared(_, version) => Some(version),
            _ => None,
        }
    }

    /// Whether what is provided in `version`, by a package of this identity, is meant. What has no
    /// version counts as every version.
    pub fn allows(&self, version: Option<Version<'_>>, identity: Option<Checksum>) -> bool {
        match (self.versions, version) {
            (Versions::Any, _) | (Versions::Compared(..), None) => true,
            (Versions::Compared(operator, named), Some(version)) => operator.holds(version, named),
            (Versions::Exactly(checksum), _) => identity == Some(checksum),
        }
    }
}

/// Reads entries that stand between white space.
///
/// # Errors
/// [`BadRelation`] with the entry and the rule that it breaks.
pub fn parse(text: &str) -> Result<Vec<Relation<'_>>, BadRelation> {
    text.split_ascii_whitespace().map(parse_one).collect()
}

/// Reads one entry of a package or index, which names no tag.
///
/// # Errors
/// [`BadRelation`] with the rule that it breaks.
pub fn parse_one(entry: &str) -> Result<Relation<'_>, BadRelation> {
    let relation = parse_tagged(entry)?;
    match relation.tag {
        None => Ok(relation),
        Some(_) => Err(bad(entry, Rule::Tag)),
    }
}

/// Reads one entry of a world file or of a request, which may name a tag: `busybox@edge`.
///
/// # Errors
/// [`BadRelation`] with the rule that it breaks.
pub fn parse_tagged(entry: &str) -> Result<Relation<'_>, BadRelation> {
    let (refuses, rest) = match entry.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, entry),
    };
    let end = rest.find(['<', '=', '>', '~']).unwrap_or(rest.len());
    let (name, versions) = rest.split_at(end);
    let (name, tag) = match name.split_once('@') {
        Some((name, tag)) => (name, Some(tag)),
        None => (name, None),
    };
    if !is_name(name) || !tag.is_none_or(is_tag) {
        return Err(bad(entry, Rule::Name));
    }
    let versions = parse_versions(versions).map_err(|rule| bad(entry, rule))?;
    Ok(Relation { name, refuses, versions, tag })
}

fn parse_versions(text: &str) -> Result<Versions<'_>, Rule> {
    if text.is_empty() {
        return Ok(Versions::Any);
    }
    let end = text.find(|sign| !"<=>~".contains(sign)).unwrap_or(text.len());
    let (operator, version) = text.split_at(end);
    if operator == "><" {
        return version.parse().map(Versions::Exactly).map_err(Rule::Checksum);
    }
    let operator = Operator::parse(operator).ok_or(Rule::Operator)?;
    Version::parse(version).map(|v| Versions::Compared(operator, v)).map_err(Rule::Version)
}

/// Whether `text` can be what a relation names: more than a package's name can.
pub fn is_name(text: &str) -> bool {
    let belongs = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._,:/[]".contains(&byte);
    !text.is_empty() && text.len() <= 1024 && text.bytes().all(belongs)
}

/// Whether `text` can be the tag of a repository.
pub fn is_tag(text: &str) -> bool {
    let belongs = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._,:/[]=".contains(&byte);
    !text.is_empty() && text.len() <= 64 && text.bytes().all(belongs)
}

impl fmt::Display for Relation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.refuses { "!" } else { "" })?;
        f.write_str(self.name)?;
        if let Some(tag) = self.tag {
            write!(f, "@{tag}")?;
        }
        match self.versions {
            Versions::Any => Ok(()),
            Versions::Compared(operator, version) => {
                write!(f, "{}{version}", operator.notation())
            }
            Versions::Exactly(checksum) => write!(f, "><{checksum}"),
        }
    }
}

/// Why an entry cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{entry:?} is not a relation: {rule}")]
pub struct BadRelation {
    entry: String,
    rule: Rule,
}

fn bad(entry: &str, rule: Rule) -> BadRelation {
    BadRelation { entry: entry.chars().take(120).collect(), rule }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Rule {
    #[error("its name is empty or holds a character that no name has")]
    Name,
    #[error("it names the tag of a repository, which a package cannot")]
    Tag,
    #[error("its comparison is unknown")]
    Operator,
    #[error("{0}")]
    Version(BadVersion),
    #[error("{0}")]
    Checksum(BadChecksum),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_and_written_in_apk_s_notation() {
        for text in [
            "busybox",
            "so:libc.musl-x86_64.so.1",
            "/bin/sh",
            "cmd:sh=1.36.1-r0",
            "!uclibc-utils",
            "!a>1",
            "a~1.2",
            "a<~1.2",
            "a>~1.2",
            "a<=1",
            "a>=1",
            "py3.12:foo[bar]",
            "a><Q1EyN5AdpAOBJWKMR89pp/C66o+OE=",
        ] {
            assert_eq!(parse_one(text).unwrap().to_string(), text);
        }
        assert_eq!(parse_one("a=~1").unwrap(), parse_one("a~1").unwrap());
        assert_eq!(parse_one("a=>1").unwrap(), parse_one("a>=1").unwrap());
        assert_eq!(parse(" a  b=1\n!c ").unwrap().len(), 3);
        assert_eq!(parse_tagged("a@edge>1").unwrap().to_string(), "a@edge>1");
    }

    #[test]
    fn a5_what_is_no_entry_is_refused() {
        for bad in [
            "", "!", "=1", "a=", "a=x", "a<>", "a<>1", "a@edge", "a\u{1}", "a\nb", "é", "a=1 ",
            "a><", "a><Q1", "a==", "a$b", "\"a\"", "a;b",
        ] {
            assert!(parse_one(bad).is_err(), "{bad:?}");
        }
        assert!(parse_tagged("a@").is_err() && parse_tagged("@b").is_err());
    }

    #[test]
    fn an_operator_compares_or_looks_at_the_beginning() {
        let holds = |relation: &str, version: &str| {
            let version = Version::parse(version).unwrap();
            parse_one(relation).unwrap().allows(Some(version), None)
        };
        for (relation, version, expected) in [
            ("a=1", "1", true),
            ("a=1", "1-r0", false),
            ("a~1", "1-r0", true),
            ("a~1", "10", false),
            ("a<~1.2", "1.2.9", true),
            ("a<~1.2", "1.1", true),
            ("a<~1.2", "1.3", false),
            ("a>~1.2", "1.2_pre1", true),
            ("a>1.2", "1.2.1", true),
            ("a<=1.2", "1.2", true),
        ] {
            assert_eq!(holds(relation, version), expected, "{relation} {version}");
        }
        assert!(parse_one("a>1").unwrap().allows(None, None));
        let exact = parse_one("a><Q1EyN5AdpAOBJWKMR89pp/C66o+OE=").unwrap();
        assert!(!exact.allows(None, None));
        assert!(exact.allows(None, "Q1EyN5AdpAOBJWKMR89pp/C66o+OE=".parse().ok()));
    }
}
