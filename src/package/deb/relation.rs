//! What packages say about each other: `libc6 (>= 2.34), awk | gawk:any`.
//!
//! The text of a relation field comes in, its groups of alternatives go out, borrowing the text.
//! Which package satisfies what is decided elsewhere. The fields of binary packages are meant:
//! restrictions to architectures (`[amd64]`) and build profiles (`<!nocheck>`) belong to source
//! packages, and dpkg refuses them here, as it refuses empty entries and trailing commas.
//!
//! Specification: deb-control(5), Debian Policy 7.1, and what `dpkg-deb --build` accepts.

use std::fmt;

use super::version::{BadVersion, Version};
use crate::package::PackageName;

/// Alternatives, of which one is enough, in the order of preference. Never empty.
pub type Alternatives<'a> = Vec<Relation<'a>>;

/// One reference to another package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation<'a> {
    /// The name, well-formed: of a real package or of one that others provide.
    pub name: &'a str,
    /// What stands after a colon.
    pub qualifier: Option<Qualifier<'a>>,
    /// Which versions are meant; all, if none is named.
    pub versions: Option<(Operator, Version<'a>)>,
}

/// Which architecture's package is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qualifier<'a> {
    /// `:any`: one of any architecture, if it is marked `Multi-Arch: allowed`.
    Any,
    /// `:native`: the architecture of the system.
    Native,
    /// A named one: `:arm64`.
    Architecture(&'a str),
}

/// How versions are compared with the one that is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// `<<`
    Earlier,
    /// `<=`, and the obsolete `<`
    EarlierOrEqual,
    /// `=`, also when only a version is given
    Equal,
    /// `>=`, and the obsolete `>`
    LaterOrEqual,
    /// `>>`
    Later,
}

impl Operator {
    /// Whether `version` stands in this relation to `named`.
    pub fn holds(self, version: Version<'_>, named: Version<'_>) -> bool {
        let order = version.cmp(&named);
        match self {
            Self::Earlier => order.is_lt(),
            Self::EarlierOrEqual => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::LaterOrEqual => order.is_ge(),
            Self::Later => order.is_gt(),
        }
    }
}

impl Relation<'_> {
    /// Whether `version` is among those that are meant.
    pub fn allows(&self, version: Version<'_>) -> bool {
        self.versions.is_none_or(|(operator, named)| operator.holds(version, named))
    }
}

/// Reads a field that allows alternatives: `Depends`, `Pre-Depends`, `Recommends`, `Suggests`.
///
/// An empty text has no groups.
///
/// # Errors
/// [`BadRelation`] with the entry and the rule that it breaks.
pub fn parse(text: &str) -> Result<Vec<Alternatives<'_>>, BadRelation> {
    if text.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(|group| group.split('|').map(parse_one).collect()).collect()
}

/// Reads a field without alternatives: `Conflicts`, `Breaks`, `Replaces`, `Enhances`.
///
/// # Errors
/// [`BadRelation`] with the entry and the rule that it breaks.
pub fn parse_plain(text: &str) -> Result<Vec<Relation<'_>>, BadRelation> {
    if text.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(parse_one).collect()
}

/// Reads `Provides`: as [`parse_plain`], and a version can only be an exact one.
///
/// dpkg ignores an entry with another operator, and so does this.
///
/// # Errors
/// [`BadRelation`] with the entry and the rule that it breaks.
pub fn parse_provides(text: &str) -> Result<Vec<Relation<'_>>, BadRelation> {
    let mut provides = parse_plain(text)?;
    provides.retain(|r| r.versions.is_none_or(|(operator, _)| operator == Operator::Equal));
    Ok(provides)
}

fn parse_one(entry: &str) -> Result<Relation<'_>, BadRelation> {
    let entry = entry.trim_ascii();
    let bad = |rule| BadRelation { entry: entry.chars().take(120).collect(), rule };
    let end = entry.find(|c: char| c.is_ascii_whitespace() || "(:[<|".contains(c));
    let (name, rest) = entry.split_at(end.unwrap_or(entry.len()));
    check_name(name).map_err(bad)?;
    let (qualifier, rest) = match rest.strip_prefix(':') {
        Some(rest) => parse_qualifier(rest).map_err(bad)?,
        None => (None, rest),
    };
    let versions = parse_versions(rest.trim_ascii_start()).map_err(bad)?;
    Ok(Relation { name, qualifier, versions })
}

fn check_name(name: &str) -> Result<(), Rule> {
    match name {
        "" => Err(Rule::NoName),
        _ if name.starts_with('_') || !PackageName::is_well_formed(name) => Err(Rule::Name),
        _ => Ok(()),
    }
}

fn parse_qualifier(text: &str) -> Result<(Option<Qualifier<'_>>, &str), Rule> {
    let end = text.find(|c: char| c.is_ascii_whitespace() || c == '(').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let well_formed = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match name {
        "any" => Ok((Some(Qualifier::Any), rest)),
        "native" => Ok((Some(Qualifier::Native), rest)),
        _ if well_formed => Ok((Some(Qualifier::Architecture(name)), rest)),
        _ => Err(Rule::Architecture),
    }
}

fn parse_versions(text: &str) -> Result<Option<(Operator, Version<'_>)>, Rule> {
    if text.is_empty() {
        return Ok(None);
    }
    let Some(inner) = text.strip_prefix('(') else { return Err(Rule::Garbage) };
    let (inner, rest) = inner.split_once(')').ok_or(Rule::Unterminated)?;
    if !rest.trim_ascii().is_empty() {
        return Err(Rule::Garbage);
    }
    let inner = inner.trim_ascii();
    let end = inner.find(|c| !"<=>".contains(c)).unwrap_or(inner.len());
    let (operator, version) = inner.split_at(end);
    let operator = match operator {
        "<<" => Operator::Earlier,
        "<=" | "<" => Operator::EarlierOrEqual,
        "=" | "" => Operator::Equal,
        ">=" | ">" => Operator::LaterOrEqual,
        ">>" => Operator::Later,
        _ => return Err(Rule::Operator),
    };
    Ok(Some((operator, Version::parse(version.trim_ascii())?)))
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Earlier => "<<",
            Self::EarlierOrEqual => "<=",
            Self::Equal => "=",
            Self::LaterOrEqual => ">=",
            Self::Later => ">>",
        })
    }
}

impl fmt::Display for Relation<'_> {
    /// As in a control file: `gawk:any (>= 1:4.0)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        match self.qualifier {
            Some(Qualifier::Any) => f.write_str(":any")?,
            Some(Qualifier::Native) => f.write_str(":native")?,
            Some(Qualifier::Architecture(name)) => write!(f, ":{name}")?,
            None => {}
        }
        match self.versions {
            Some((operator, version)) => write!(f, " ({operator} {version})"),
            None => Ok(()),
        }
    }
}

/// Why an entry of a relation field cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{entry:?} is not a relation to a package")]
pub struct BadRelation {
    entry: String,
    #[source]
    rule: Rule,
}

/// The rule that an entry breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Rule {
    #[error("it names no package")]
    NoName,
    #[error("a name starts with a letter or digit and holds letters, digits and `+ - . _` only")]
    Name,
    #[error("no well-formed architecture stands after the colon")]
    Architecture,
    #[error("something other than a version in parentheses follows the name")]
    Garbage,
    #[error("the closing parenthesis is missing")]
    Unterminated,
    #[error("the operator is not one of `<< <= = >= >>`")]
    Operator,
    #[error(transparent)]
    Version(#[from] BadVersion),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The groups as text: alternatives joined by `|`, groups by `,`.
    fn shown(text: &str) -> String {
        let group = |g: &Alternatives<'_>| {
            g.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
        };
        parse(text).unwrap().iter().map(group).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn all_that_dpkg_accepts_is_understood() {
        let cases = [
            ("", ""),
            (" \n ", ""),
            ("a", "a"),
            ("a|b", "a | b"),
            ("a,\n b\t|c ", "a, b | c"),
            ("a(>=1)", "a (>= 1)"),
            ("a ( >=  1:1.0-1 )", "a (>= 1:1.0-1)"),
            ("a (<< 1~)", "a (<< 1~)"),
            ("a (= 1), b (<= 2), c (>> 3)", "a (= 1), b (<= 2), c (>> 3)"),
            ("a (< 1)", "a (<= 1)"),
            ("a (> 1)", "a (>= 1)"),
            ("a (1.0)", "a (= 1.0)"),
            ("a:any", "a:any"),
            ("a:native", "a:native"),
            ("a:amd64 (>= 1)", "a:amd64 (>= 1)"),
            ("a:any(>=1)", "a:any (>= 1)"),
            ("libstdc++6, A, 0ad, a_b", "libstdc++6, A, 0ad, a_b"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }

    #[test]
    fn all_that_dpkg_refuses_is_refused() {
        let cases = [
            "a,",
            "a,,b",
            ",a",
            "a |",
            "| a",
            "a [amd64]",
            "a [!i386]",
            "a <!nocheck>",
            "a (>= 1",
            "a (= 1) (= 2)",
            "a (== 1)",
            "a (=< 1)",
            "a (<> 1)",
            "a: any",
            "a :any",
            "a:",
            "a:ä",
            "a b",
            "-a",
            ".a",
            "_a",
            "a (>= )",
            "a (>= 1 2)",
            "a (>= x)",
            "a (>= 1_2)",
            "a (!= 1)",
            "a:any:any",
            "a ( )",
            "a ()",
            "a/b",
            "a (>=1)b",
            "a (>=(1)",
            "aé",
            "a\0",
            "a (>= 2147483648:1)",
        ];
        for text in cases {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn alternatives_are_for_dependencies_only() {
        assert_eq!(parse_plain("a, b (<< 1)").unwrap().len(), 2);
        for text in ["a|b", "a | b (<< 1)"] {
            assert!(parse_plain(text).is_err(), "{text:?}");
            assert!(parse_provides(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_package_provides_exact_versions_only() {
        let provided = parse_provides("a, b (= 1), c (>= 1), d (2), e:amd64 (= 3)").unwrap();
        let shown: Vec<_> = provided.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["a", "b (= 1)", "d (= 2)", "e:amd64 (= 3)"]);
    }

    #[test]
    fn operators_mean_what_they_say() {
        let cases = [
            ("<<", "yes no no"),
            ("<=", "yes yes no"),
            ("=", "no yes no"),
            (">=", "no yes yes"),
            (">>", "no no yes"),
            ("<", "yes yes no"),
            (">", "no yes yes"),
        ];
        for (operator, expected) in cases {
            let text = format!("a ({operator} 2-1)");
            let relation = parse_plain(&text).unwrap().remove(0);
            let answer = |v| if relation.allows(Version::parse(v).unwrap()) { "yes" } else { "no" };
            assert_eq!(["2~", "0:2-1", "2-1.1"].map(answer).join(" "), expected, "{operator}");
        }
    }

    #[test]
    fn an_error_names_the_entry_and_the_rule() {
        let error = parse("libc6, foo [amd64]").unwrap_err();
        assert_eq!(error.to_string(), "\"foo [amd64]\" is not a relation to a package");
        let rule = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(rule, "something other than a version in parentheses follows the name");
    }
}
