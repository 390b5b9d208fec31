//! Relations between rpm packages: names with a condition on the version, and rich ones of several.
//!
//! In: a name, an operator and a version as headers and indexes hold them, or the text of a request or
//! of a rich relation, `(a >= 1 if b else c)`; out: values that say whether a provided name is meant.
//! Specification: rpm-dependencies(7), and `lib/rpmds.c` for which versions overlap.

use std::cmp::Ordering;
use std::fmt;

use super::version::{BadVersion, Version};

/// Which versions are meant: any combination of earlier, equal and later ones, by rpm's bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Operator(u32);

impl Operator {
    const LESS: u32 = 1 << 1;
    const GREATER: u32 = 1 << 2;
    const EQUAL: u32 = 1 << 3;
    const ALL: u32 = Self::LESS | Self::GREATER | Self::EQUAL;

    /// Takes the operator out of a header's flags.
    pub const fn of_flags(flags: u32) -> Self {
        Self(flags & Self::ALL)
    }

    /// Reads an index's word: `EQ`, `LT`, `LE`, `GT`, `GE`.
    pub fn of_word(word: &str) -> Option<Self> {
        Some(Self(match word {
            "EQ" => Self::EQUAL,
            "LT" => Self::LESS,
            "GT" => Self::GREATER,
            "LE" => Self::LESS | Self::EQUAL,
            "GE" => Self::GREATER | Self::EQUAL,
            _ => return None,
        }))
    }

    fn of_symbol(symbol: &str) -> Option<Self> {
        Some(Self(match symbol {
            "=" | "==" => Self::EQUAL,
            "<" => Self::LESS,
            ">" => Self::GREATER,
            "<=" | "=<" => Self::LESS | Self::EQUAL,
            ">=" | "=>" => Self::GREATER | Self::EQUAL,
            _ => return None,
        }))
    }

    /// Whether it says nothing.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    const fn has(self, bit: u32) -> bool {
        self.0 & bit != 0
    }

    /// As relations write it.
    pub const fn symbol(self) -> &'static str {
        match self.0 {
            Self::LESS => "<",
            Self::GREATER => ">",
            Self::EQUAL => "=",
            0 => "",
            bits if bits == Self::LESS | Self::EQUAL => "<=",
            bits if bits == Self::GREATER | Self::EQUAL => ">=",
            _ => "<>",
        }
    }
}

/// A name with a condition on its version. Also what a package provides is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation<'a> {
    /// The name: of a package, of a file with a leading slash, or of anything else.
    pub name: &'a str,
    /// Which versions; both are there or none.
    pub condition: Option<(Operator, Version<'a>)>,
}

impl<'a> Relation<'a> {
    /// Puts a relation together. Without an operator or a version, all versions are meant.
    ///
    /// # Errors
    /// [`Error`] for a name that none can be, or a version that is none.
    pub fn new(name: &'a str, operator: Operator, version: &'a str) -> Result<Self, Error> {
        check_name(name)?;
        if operator.is_empty() || version.is_empty() {
            return Ok(Self { name, condition: None });
        }
        let version = Version::parse(version).map_err(Error::Version)?;
        Ok(Self { name, condition: Some((operator, version)) })
    }

    /// Reads `NAME [OPERATOR VERSION]`.
    ///
    /// # Errors
    /// As [`Relation::new`], and for anything else that stands there.
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        let mut parser = Parser { rest: text };
        let relation = parser.plain()?;
        parser.end()?;
        Ok(relation)
    }

    /// Whether something that is provided is meant: the name, and a version that both allow. Where one
    /// of both says nothing of versions, all are.
    pub fn is_met_by(&self, provided: &Self) -> bool {
        self.name == provided.name && self.overlaps(provided)
    }

    /// Whether the conditions of both can be met at once, whatever the names.
    pub fn overlaps(&self, provided: &Self) -> bool {
        let (Some((own, wanted)), Some((other, there))) = (self.condition, provided.condition)
        else {
            return true;
        };
        let both = |bit| own.has(bit) && other.has(bit);
        match there.compare(&wanted) {
            Ordering::Less => own.has(Operator::LESS) || other.has(Operator::GREATER),
            Ordering::Greater => own.has(Operator::GREATER) || other.has(Operator::LESS),
            Ordering::Equal => {
                both(Operator::EQUAL) || both(Operator::LESS) || both(Operator::GREATER)
            }
        }
    }

    /// Whether a package of this version is meant by an obsoleting or a name in a request.
    pub fn allows(&self, version: &Version<'a>) -> bool {
        let equal = Operator(Operator::EQUAL);
        self.overlaps(&Self { name: self.name, condition: Some((equal, *version)) })
    }
}

impl fmt::Display for Relation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        match self.condition {
            Some((operator, version)) => write!(f, " {} {version}", operator.symbol()),
            None => Ok(()),
        }
    }
}

/// A relation, or a rich one of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dependency<'a> {
    /// A name with a condition.
    Plain(Relation<'a>),
    /// All of them.
    And(Vec<Self>),
    /// One of them.
    Or(Vec<Self>),
    /// The first if the second is there, else the third.
    If(Box<Self>, Box<Self>, Option<Box<Self>>),
    /// The first unless the second is there, in which case the third.
    Unless(Box<Self>, Box<Self>, Option<Box<Self>>),
    /// One package that meets both.
    With(Box<Self>, Box<Self>),
    /// One package that meets the first and not the second.
    Without(Box<Self>, Box<Self>),
}

/// Deeper ones are no dependencies but attacks.
const DEEPEST: usize = 16;

impl<'a> Dependency<'a> {
    /// Calls `visit` with each plain relation that it is made of.
    pub fn each(&self, visit: &mut dyn FnMut(&Relation<'a>)) {
        match self {
            Self::Plain(relation) => visit(relation),
            Self::And(all) | Self::Or(all) => all.iter().for_each(|one| one.each(visit)),
            Self::With(one, other) | Self::Without(one, other) => {
                one.each(visit);
                other.each(visit);
            }
            Self::If(one, other, third) | Self::Unless(one, other, third) => {
                one.each(visit);
                other.each(visit);
                if let Some(third) = third {
                    third.each(visit);
                }
            }
        }
    }

    /// Puts a dependency together as headers and indexes hold it: rich, if its name is in parentheses.
    ///
    /// # Errors
    /// [`Error`]
    pub fn new(name: &'a str, operator: Operator, version: &'a str) -> Result<Self, Error> {
        if !name.starts_with('(') {
            return Ok(Self::Plain(Relation::new(name, operator, version)?));
        }
        let mut parser = Parser { rest: name };
        let rich = parser.rich(0)?;
        parser.end()?;
        Ok(rich)
    }

    /// Every relation in it.
    pub fn relations(&self) -> Vec<&Relation<'a>> {
        match self {
            Self::Plain(relation) => vec![relation],
            Self::And(all) | Self::Or(all) => all.iter().flat_map(Self::relations).collect(),
            Self::If(one, two, three) | Self::Unless(one, two, three) => {
                let third = three.iter().flat_map(|three| three.relations());
                one.relations().into_iter().chain(two.relations()).chain(third).collect()
            }
            Self::With(one, two) | Self::Without(one, two) => {
                one.relations().into_iter().chain(two.relations()).collect()
            }
        }
    }
}

impl fmt::Display for Dependency<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, all: &[Self], word| {
            let texts: Vec<_> = all.iter().map(ToString::to_string).collect();
            write!(f, "({})", texts.join(word))
        };
        let (word, one, two, three) = match self {
            Self::Plain(relation) => return relation.fmt(f),
            Self::And(all) => return joined(f, all, " and "),
            Self::Or(all) => return joined(f, all, " or "),
            Self::If(one, two, three) => ("if", one, two, three.as_ref()),
            Self::Unless(one, two, three) => ("unless", one, two, three.as_ref()),
            Self::With(one, two) => ("with", one, two, None),
            Self::Without(one, two) => ("without", one, two, None),
        };
        match three {
            Some(three) => write!(f, "({one} {word} {two} else {three})"),
            None => write!(f, "({one} {word} {two})"),
        }
    }
}

/// The features of rpm's own that packages may require: those that this program knows as well.
const FEATURES: [&str; 17] = [
    "rpmlib(BuiltinLuaScripts)",
    "rpmlib(CaretInVersions)",
    "rpmlib(CompressedFileNames)",
    "rpmlib(ConcurrentAccess)",
    "rpmlib(ExplicitPackageProvide)",
    "rpmlib(FileCaps)",
    "rpmlib(FileDigests)",
    "rpmlib(HeaderLoadSortsTags)",
    "rpmlib(LargeFiles)",
    "rpmlib(PartialHardlinkSets)",
    "rpmlib(PayloadFilesHavePrefix)",
    "rpmlib(PayloadIsBzip2)",
    "rpmlib(PayloadIsXz)",
    "rpmlib(PayloadIsZstd)",
    "rpmlib(RichDependencies)",
    "rpmlib(ScriptletInterpreterArgs)",
    "rpmlib(TildeInVersions)",
];
const OLD_FEATURES: [&str; 2] = ["rpmlib(VersionedDependencies)", "rpmlib(ScriptletExpansion)"];

/// Whether a name is that of a feature of rpm itself, and if so, whether it is had here.
pub fn feature(name: &str) -> Option<bool> {
    let known = || FEATURES.contains(&name) || OLD_FEATURES.contains(&name);
    name.starts_with("rpmlib(").then(known)
}

fn check_name(name: &str) -> Result<(), Error> {
    let sound = !name.is_empty() && name.len() <= 4096 && !name.chars().any(char::is_control);
    if sound { Ok(()) } else { Err(Error::Name(shortened(name))) }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn error(&self, rule: &'static str) -> Error {
        Error::Syntax { rule, rest: shortened(self.rest) }
    }

    fn end(&mut self) -> Result<(), Error> {
        self.skip_blanks();
        if self.rest.is_empty() { Ok(()) } else { Err(self.error("nothing more may follow")) }
    }

    /// A word up to a blank or to a parenthesis that was not opened within it.
    fn word(&mut self) -> &'a str {
        self.skip_blanks();
        let mut open = 0_usize;
        let end = self.rest.find(|letter: char| {
            match letter {
                '(' => open = open.saturating_add(1),
                ')' if open == 0 => return true,
                ')' => open = open.saturating_sub(1),
                _ => {}
            }
            letter == ' ' || letter == '\t'
        });
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    fn plain(&mut self) -> Result<Relation<'a>, Error> {
        let name = self.word();
        let before = self.rest;
        let Some(operator) = Operator::of_symbol(self.word()) else {
            self.rest = before;
            return Relation::new(name, Operator::default(), "");
        };
        match self.word() {
            "" => Err(self.error("an operator needs a version")),
            version => Relation::new(name, operator, version),
        }
    }

    fn operand(&mut self, depth: usize) -> Result<Dependency<'a>, Error> {
        self.skip_blanks();
        match self.rest.starts_with('(') {
            true => self.rich(depth),
            false => self.plain().map(Dependency::Plain),
        }
    }

    /// A rich dependency in its parentheses.
    fn rich(&mut self, depth: usize) -> Result<Dependency<'a>, Error> {
        if depth >= DEEPEST {
            return Err(self.error("it is nested too deeply"));
        }
        let deeper = depth.saturating_add(1);
        self.rest = self.rest.strip_prefix('(').ok_or_else(|| self.error("`(` is missing"))?;
        let first = self.operand(deeper)?;
        let (word, mut operands) = match self.word() {
            "" => ("", vec![first]),
            word => (word, vec![first, self.operand(deeper)?]),
        };
        let mut otherwise = None;
        loop {
            match self.word() {
                "" => break,
                "else" if ["if", "unless"].contains(&word) && otherwise.is_none() => {
                    otherwise = Some(Box::new(self.operand(deeper)?));
                }
                next if next == word && ["and", "or", "with"].contains(&word) => {
                    operands.push(self.operand(deeper)?);
                }
                _ => return Err(self.error("operators cannot be mixed so")),
            }
        }
        self.rest = self.rest.strip_prefix(')').ok_or_else(|| self.error("`)` is missing"))?;
        self.combined(word, operands, otherwise)
    }

    fn combined(
        &self,
        word: &str,
        mut operands: Vec<Dependency<'a>>,
        otherwise: Option<Box<Dependency<'a>>>,
    ) -> Result<Dependency<'a>, Error> {
        match word {
            "and" => return Ok(Dependency::And(operands)),
            "or" => return Ok(Dependency::Or(operands)),
            _ => {}
        }
        let last = operands.pop().ok_or_else(|| self.error("it is empty"))?;
        let Some(first) = operands.pop() else { return Ok(last) };
        let (first, last) = (Box::new(first), Box::new(last));
        match word {
            "if" => Ok(Dependency::If(first, last, otherwise)),
            "unless" => Ok(Dependency::Unless(first, last, otherwise)),
            "without" => Ok(Dependency::Without(first, last)),
            "with" => {
                let join = |all: Box<_>, one| Box::new(Dependency::With(Box::new(one), all));
                let whole = operands.into_iter().rev().fold(last, join);
                Ok(Dependency::With(first, whole))
            }
            _ => Err(self.error("its operator is unknown")),
        }
    }
}

/// Why a relation cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Its name is none.
    #[error("{0:?} is not a name that a package could provide")]
    Name(String),
    /// Its version is none.
    #[error("the version of a relation cannot be read")]
    Version(#[source] BadVersion),
    /// It is not built as relations are.
    #[error("a relation cannot be understood at {rest:?}: {rule}")]
    Syntax {
        /// What is wrong.
        rule: &'static str,
        /// Where.
        rest: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rich(text: &str) -> Result<Dependency<'_>, Error> {
        Dependency::new(text, Operator::default(), "")
    }

    #[test]
    fn versions_overlap_as_in_rpm() {
        let met = |wanted: &str, there: &str| {
            Relation::parse(wanted).unwrap().is_met_by(&Relation::parse(there).unwrap())
        };
        for (wanted, there, expected) in [
            ("a", "a", true),
            ("a", "b", false),
            ("a", "a = 1", true),
            ("a = 1", "a", true),
            ("a = 1", "a = 1-5", true),
            ("a = 1-4", "a = 1-5", false),
            ("a >= 1", "a = 1", true),
            ("a >= 2", "a = 1", false),
            ("a > 1", "a = 1", false),
            ("a < 2", "a = 1", true),
            ("a < 2", "a > 1", true),
            ("a < 2", "a > 2", false),
            ("a <= 2", "a >= 2", true),
            ("a = 1:1", "a = 1", false),
            ("libx(x86-64) = 1", "libx(x86-64) = 1-1", true),
        ] {
            assert_eq!(met(wanted, there), expected, "{wanted} / {there}");
        }
    }

    #[test]
    fn rich_relations_are_shown_as_they_were_read() {
        for text in [
            "(a or b)",
            "(a >= 1 or b < 2 or c)",
            "(a and (b or c))",
            "(a if b)",
            "(a(x86-64) = 2.34-40.el9_1.1 if redhat-rpm-config)",
            "(a if b else c)",
            "(a unless b else (c or d))",
            "(a >= 1 with a < 2)",
            "(a without b)",
        ] {
            assert_eq!(rich(text).unwrap().to_string(), text);
        }
        let spaced = rich("( a  or\tb )").unwrap().to_string();
        assert_eq!(spaced, "(a or b)");
        assert_eq!(rich("(a)").unwrap(), Dependency::Plain(Relation::parse("a").unwrap()));
    }

    #[test]
    fn r12_broken_relations_are_refused_however_deep() {
        let deep = format!("{}a{}", "(".repeat(100_000), ")".repeat(100_000));
        for bad in [
            "(",
            "()",
            "(a",
            "(a or",
            "(a or)",
            "(a or b))",
            "(a or b and c)",
            "(a if b if c)",
            "(a xor b)",
            "(a >= )",
            "(a or b) c",
            "(a without b without c)",
            "(a else b)",
            deep.as_str(),
        ] {
            assert!(rich(bad).is_err(), "{}", bad.get(..20).unwrap_or(bad));
        }
        assert!(rich(&format!("{}a or b{}", "(".repeat(10), ")".repeat(10))).is_ok());
        for bad in ["", "a =", "a = 1 2", "a\u{7}"] {
            assert!(Relation::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rpm_s_own_features_are_known_or_not() {
        assert_eq!(feature("rpmlib(PayloadIsZstd)"), Some(true));
        assert_eq!(feature("rpmlib(TimeTravel)"), Some(false));
        assert_eq!(feature("rpm"), None);
    }
}
