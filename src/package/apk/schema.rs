//! What the values of version 3 mean: packages and indexes in the words of version 2.
//!
//! Values come in; stanzas go out, as an index of version 2 or the database would hold them, and
//! scripts and triggers. So there is one reader of what packages say of themselves. Control characters
//! are refused there.
//!
//! Format: apk-v3(5), apk-package(5); the numbers of fields are apk-tools' own.

use std::fmt::Write as _;
use std::sync::Arc;

use super::adb::{self, List, Value};
use super::checksum::Checksum;
use super::info::{self, Info};
use super::scripts::ScriptKind;

/// The fields of a package's description that hold one word or number, and their letters.
const FIELDS: [(usize, char, Form); 13] = [
    (1, 'P', Form::Text),
    (2, 'V', Form::Text),
    (4, 'T', Form::Text),
    (5, 'A', Form::Text),
    (6, 'L', Form::Text),
    (7, 'o', Form::Text),
    (8, 'm', Form::Text),
    (9, 'U', Form::Text),
    (10, 'c', Form::Hexadecimal),
    (11, 't', Form::Number),
    (12, 'I', Form::Number),
    (13, 'S', Form::Number),
    (14, 'k', Form::Number),
];
/// Those that hold relations.
const RELATIONS: [(usize, char); 4] = [(15, 'D'), (16, 'p'), (17, 'r'), (18, 'i')];
const IDENTITY: usize = 3;
/// Something else must be laid out below; nobody knows how.
const LAYER: usize = 20;

/// How a field is written.
#[derive(Debug, Clone, Copy)]
enum Form {
    Text,
    Hexadecimal,
    Number,
}

/// Scripts, by the numbers of their fields.
const SCRIPTS: [(usize, ScriptKind); 7] = [
    (1, ScriptKind::Trigger),
    (2, ScriptKind::PreInstall),
    (3, ScriptKind::PostInstall),
    (4, ScriptKind::PreDeinstall),
    (5, ScriptKind::PostDeinstall),
    (6, ScriptKind::PreUpgrade),
    (7, ScriptKind::PostUpgrade),
];

/// The file names of packages that an index may ask for: those that it has without asking.
const USUAL_NAMES: [&str; 2] = ["${name}-${version}.apk", "${arch}/${name}-${version}.apk"];

/// The text of an index of version 2 that says the same.
///
/// # Errors
/// [`Error`]
pub fn index(root: Value<'_>) -> Result<String, Error> {
    let root = root.list()?;
    let names = root.get(3).text()?;
    if !names.is_empty() && !USUAL_NAMES.contains(&names) {
        return Err(Error::Names(names.chars().take(80).collect()));
    }
    let mut text = String::new();
    for package in root.get(2).list()?.iter() {
        let package = package.list()?;
        let identity = identity(&package)?.ok_or(Error::NoIdentity)?;
        text.push_str(&stanza(&package, identity, (None, 0))?);
        text.push('\n');
    }
    Ok(text)
}

/// What a package of version 3 says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// Its stanza, as the database will have it.
    pub stanza: String,
    /// The identity that it was given when it was made.
    pub stated: Option<Checksum>,
    /// When it was built, in seconds since 1970.
    pub built: u64,
    /// The directories that its trigger wants to hear of.
    pub triggers: Vec<String>,
    /// Its scripts.
    pub scripts: Vec<(ScriptKind, Arc<[u8]>)>,
}

/// Reads what a package of `size` bytes says of itself; its identity is not in it.
///
/// # Errors
/// [`Error`]
pub fn package(root: &List<'_>, identity: Checksum, size: u64) -> Result<Words, Error> {
    let info = root.get(1).list()?;
    let priority = root.get(5).number()?;
    let stanza = stanza(&info, identity, (Some(size), priority))?;
    let triggers = root.get(4).list()?.iter().map(|pattern| Ok(pattern.text()?.to_owned()));
    let triggers: Vec<String> = triggers.collect::<Result<_, Error>>()?;
    if triggers.iter().any(|pattern| pattern.contains(char::is_whitespace)) {
        return Err(Error::Trigger);
    }
    let list = root.get(3).list()?;
    let mut scripts: Vec<(ScriptKind, Arc<[u8]>)> = Vec::new();
    for (field, kind) in SCRIPTS {
        let bytes = list.get(field).bytes()?;
        if !bytes.is_empty() {
            scripts.push((kind, bytes.into()));
        }
    }
    scripts.sort_by_key(|(kind, _)| *kind);
    let (stated, built) = (self::identity(&info)?, info.get(11).number()?);
    Ok(Words { stanza, stated, built, triggers, scripts })
}

/// The identity that stands in a description.
fn identity(package: &List<'_>) -> Result<Option<Checksum>, Error> {
    let bytes = package.get(IDENTITY).bytes()?;
    match (<[u8; 20]>::try_from(bytes), <[u8; 32]>::try_from(bytes)) {
        (Ok(short), _) => Ok(Some(Checksum::Sha1(short))),
        (_, Ok(long)) => Ok(Some(Checksum::Sha256(long))),
        _ if bytes.is_empty() => Ok(None),
        _ => Err(Error::Identity(bytes.len())),
    }
}

/// A description as a stanza. The size of its file, if given, counts instead of the stated one.
fn stanza(
    package: &List<'_>,
    identity: Checksum,
    (size, replaces_priority): (Option<u64>, u64),
) -> Result<String, Error> {
    let mut raw = format!("C:{identity}\n");
    for (field, letter, form) in FIELDS {
        let value = package.get(field);
        let text = match form {
            Form::Number if letter == 'S' => size.map_or_else(|| value.number(), Ok)?.to_string(),
            Form::Number => value.number()?.to_string(),
            Form::Text => value.text()?.to_owned(),
            Form::Hexadecimal => value.bytes()?.iter().fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").expect("a string takes all");
                text
            }),
        };
        // A line of its own would be a field of its own.
        if text.contains(char::is_control) {
            return Err(Error::Control(letter));
        }
        writeln!(raw, "{letter}:{text}").expect("a string takes all");
    }
    for (field, letter) in RELATIONS {
        let relations = package.get(field).list()?.iter().map(relation);
        let relations = relations.collect::<Result<Vec<_>, _>>()?;
        writeln!(raw, "{letter}:{}", relations.join(" ")).expect("a string takes all");
    }
    writeln!(raw, "q:{replaces_priority}").expect("a string takes all");
    if package.get(LAYER).number()? != 0 {
        // As any capital letter that is unknown: the package cannot be installed.
        raw.push_str("Y:layer\n");
    }
    let info = Info::parse(&raw).map_err(Error::Info)?;
    let mut stanza = info.to_stanza();
    if info.unsupported {
        stanza.push_str("Y:layer\n");
    }
    Ok(stanza)
}

/// A relation in apk's notation.
fn relation(value: Value<'_>) -> Result<String, Error> {
    /// Bits of the comparison.
    const EQUAL: u64 = 1;
    const REFUSES: u64 = 16;
    let fields = value.list()?;
    let (name, version) = (fields.get(1).text()?, fields.get(2).text()?);
    let stated = fields.get(3).number()?;
    let refuses = if stated & REFUSES == 0 { "" } else { "!" };
    let operator = match (version.is_empty(), stated & !REFUSES) {
        (true, _) => "",
        (false, 0 | EQUAL) => "=",
        (false, 2) => "<",
        (false, 3) => "<=",
        (false, 11) => "<~",
        (false, 8 | 9) => "~",
        (false, 4) => ">",
        (false, 5) => ">=",
        (false, 13) => ">~",
        (false, 6) => "><",
        (false, other) => return Err(Error::Operator(other)),
    };
    if name.is_empty() || [name, version].iter().any(|text| text.contains(char::is_whitespace)) {
        return Err(Error::Relation);
    }
    Ok(format!("{refuses}{name}{operator}{version}"))
}

/// Why values are no package or index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// They cannot be read.
    #[error(transparent)]
    Values(#[from] adb::Error),
    /// They describe no package.
    #[error("the description of a package cannot be understood")]
    Info(#[source] info::Error),
    /// A field holds what would break a line.
    #[error("the field {0} holds a control character")]
    Control(char),
    /// An index names no digest of a package.
    #[error("a package has no identity")]
    NoIdentity,
    /// A digest of an unknown kind.
    #[error("an identity of {0} bytes is of no known kind")]
    Identity(usize),
    /// A comparison that is unknown.
    #[error("the comparison {0} of versions is unknown")]
    Operator(u64),
    /// A relation without a name, or with a blank in it.
    #[error("a relation is malformed")]
    Relation,
    /// A trigger's pattern with a blank in it.
    #[error("the pattern of a trigger is malformed")]
    Trigger,
    /// Packages that lie under unusual names.
    #[error("the files of its packages are named by {0:?}, which is not supported")]
    Names(String),
}

#[cfg(test)]
mod tests {
    use osbuilder_testkit::alpine::Package;
    use osbuilder_testkit::alpine3;

    use super::*;
    use crate::package::apk::adb::Adb;
    use crate::package::apk::blocks::{Blocks, Schema};
    use crate::package::apk::index::Index;

    fn text(packages: &[(&Package, Vec<u8>, u64)]) -> Result<String, Error> {
        let bytes = alpine3::index(packages, None);
        let (signed, _) = Blocks::open(&bytes[..], Schema::Index, (1 << 20, 1 << 20)).unwrap();
        let adb = Adb::new(&signed.values)?;
        index(adb.root())
    }

    #[test]
    fn an_index_becomes_one_of_version_2() {
        let relations = "a b=1 c<1 d<=1 e>1 f>=1 g~1 h<~1 i>~1 !j !k>1 so:l=2";
        let one = Package::new("one", "1.2_rc3-r4").fields(&format!("depend = {relations}\n"));
        let two = Package::new("two", "2").fields("provides = cmd:x=1\ninstall_if = one a\n");
        let packages = [(&one, vec![1; 32], 77), (&two, vec![2; 20], 5_000_000_000)];
        let text = text(&packages).unwrap();
        let index = Index::parse(text.as_bytes()).unwrap();
        let [first, second] = index.packages() else { panic!("{text}") };
        assert_eq!((first.name, first.version.as_str(), first.size), ("one", "1.2_rc3-r4", 77));
        assert_eq!(first.identity, Checksum::Sha256([1; 32]));
        assert_eq!((second.identity, second.size), (Checksum::Sha1([2; 20]), 5_000_000_000));
        let found: Vec<_> = first.depends.iter().map(ToString::to_string).collect();
        assert_eq!(found.join(" "), relations);
        assert_eq!((second.provides.len(), second.install_if.len()), (1, 2));
    }

    #[test]
    fn a5_what_would_break_a_line_or_has_no_identity_is_refused() {
        let refused = |package: &Package, identity: &[u8]| {
            text(&[(package, identity.to_vec(), 1)]).unwrap_err()
        };
        let good = Package::new("a", "1");
        assert_eq!(refused(&good, b""), Error::NoIdentity);
        assert_eq!(refused(&good, &[0; 64]), Error::Identity(64));
        for name in ["a\nP:b", "a\u{7f}"] {
            assert_eq!(refused(&Package::new(name, "1"), &[0; 32]), Error::Control('P'));
        }
        for (name, version) in [("../a", "1"), ("a", "x"), ("a b", "1")] {
            let error = refused(&Package::new(name, version), &[0; 32]);
            assert!(matches!(error, Error::Info(_)), "{name} {version}");
        }
    }
}
