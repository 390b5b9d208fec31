//! `modules.yaml`: which packages belong to which stream of a module, and which stream is the default one.
//!
//! In: the text; out: records, as for packages (see `info.rs`), so that nothing downstream reads YAML:
//!
//! ```text
//! D  module  stream      a default
//! M  module  stream      a stream
//! A  package             one of its packages: name-epoch:version-release.architecture
//! ```
//!
//! Documents of other kinds (translations, obsoletes, packager's drafts) are passed over. An alias, deep
//! nesting and a text of many millions of bytes are refused: no repository has them, and attacks do.
//! Specification: libmodulemd's `modulemd-v2.yaml` and `modulemd-defaults-v1.yaml`.

use std::fmt::Write as _;

use saphyr_parser::{Event, Parser};

/// Modules nest eight levels.
const DEEPEST: usize = 32;

/// Reads all documents.
///
/// # Errors
/// [`Error`]
pub fn read(text: &str) -> Result<String, Error> {
    let mut reader = Reader::default();
    for event in Parser::new_from_str(text) {
        let (event, _) = event.map_err(|error| Error::Syntax(error.to_string()))?;
        reader.event(event)?;
    }
    Ok(reader.records)
}

/// A collection that is open.
enum Open {
    /// A mapping, and the key whose value comes next.
    Mapping(Option<String>),
    Sequence,
}

#[derive(Default)]
struct Reader {
    open: Vec<Open>,
    document: Document,
    records: String,
}

/// What counts of a document.
#[derive(Default)]
struct Document {
    kind: String,
    /// In a description of a stream.
    name: String,
    /// In a default: of which module.
    module: String,
    stream: String,
    packages: Vec<String>,
}

impl Reader {
    fn event(&mut self, event: Event<'_>) -> Result<(), Error> {
        match event {
            Event::Alias(_) => return Err(Error::Alias),
            Event::MappingStart(..) => self.begin(Open::Mapping(None))?,
            Event::SequenceStart(..) => self.begin(Open::Sequence)?,
            Event::MappingEnd | Event::SequenceEnd => {
                self.open.pop();
                self.value_is_over();
            }
            Event::Scalar(text, ..) => self.scalar(&text)?,
            Event::DocumentStart(_) => self.document = Document::default(),
            Event::DocumentEnd => self.finish(),
            Event::StreamStart | Event::StreamEnd | Event::Nothing => {}
        }
        Ok(())
    }

    fn begin(&mut self, open: Open) -> Result<(), Error> {
        if matches!(self.open.last(), Some(Open::Mapping(None))) {
            return Err(Error::Key);
        }
        if self.open.len() >= DEEPEST {
            return Err(Error::Depth);
        }
        self.open.push(open);
        Ok(())
    }

    fn scalar(&mut self, text: &str) -> Result<(), Error> {
        if let Some(Open::Mapping(key @ None)) = self.open.last_mut() {
            *key = Some(text.to_owned());
            return Ok(());
        }
        let keys = self.open.iter().filter_map(|open| match open {
            Open::Mapping(key) => key.as_deref(),
            Open::Sequence => None,
        });
        let place: Vec<&str> = keys.collect();
        let field = match place.as_slice() {
            ["document"] => &mut self.document.kind,
            ["data", "name"] => &mut self.document.name,
            ["data", "module"] => &mut self.document.module,
            ["data", "stream"] => &mut self.document.stream,
            ["data", "artifacts", "rpms"] => {
                self.document.packages.push(String::new());
                self.document.packages.last_mut().expect("it was just put there")
            }
            _ => {
                self.value_is_over();
                return Ok(());
            }
        };
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(Error::Word(text.chars().take(80).collect()));
        }
        text.clone_into(field);
        self.value_is_over();
        Ok(())
    }

    /// The next scalar of a mapping is a key again.
    fn value_is_over(&mut self) {
        if let Some(Open::Mapping(key)) = self.open.last_mut() {
            *key = None;
        }
    }

    fn finish(&mut self) {
        let Document { kind, name, module, stream, packages } = std::mem::take(&mut self.document);
        let written = match kind.as_str() {
            _ if stream.is_empty() => Ok(()),
            "modulemd-defaults" => writeln!(self.records, "D\t{module}\t{stream}"),
            "modulemd" => writeln!(self.records, "M\t{name}\t{stream}"),
            _ => return,
        };
        written.expect("a string takes all");
        if kind == "modulemd" && !stream.is_empty() {
            for package in packages {
                writeln!(self.records, "A\t{package}").expect("a string takes all");
            }
        }
    }
}

/// A stream of a module, or the choice of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream<'a> {
    /// The module.
    pub module: &'a str,
    /// The stream.
    pub stream: &'a str,
    /// Whether this says that the stream is the module's default; else it lists packages.
    pub is_default: bool,
    /// Its packages, each as name-epoch:version-release.architecture.
    pub packages: Vec<&'a str>,
}

/// Reads records. Lines that [`read`] does not write are passed over.
pub fn parse(text: &str) -> Vec<Stream<'_>> {
    let mut streams: Vec<Stream<'_>> = Vec::new();
    for line in text.lines() {
        match line.split('\t').collect::<Vec<_>>().as_slice() {
            [letter @ ("D" | "M"), module, stream] => {
                let is_default = *letter == "D";
                streams.push(Stream { module, stream, is_default, packages: Vec::new() });
            }
            ["A", package] => {
                if let Some(stream) = streams.last_mut() {
                    stream.packages.push(package);
                }
            }
            _ => {}
        }
    }
    streams
}

/// Why a text is not what a repository should have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no YAML.
    #[error("it is not well-formed YAML: {0}")]
    Syntax(String),
    /// It refers to another part of itself.
    #[error("it has aliases, which no repository needs")]
    Alias,
    /// It is nested too deeply.
    #[error("it is nested too deeply")]
    Depth,
    /// A key is not a text.
    #[error("one of its keys is not a text")]
    Key,
    /// A name has blanks or control characters.
    #[error("{0:?} is no name of a module, stream or package")]
    Word(String),
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may end with a panic")]
mod tests {
    use super::*;

    const TEXT: &str = "\
---
document: modulemd
version: 2
data:
  name: perl
  stream: \"5.30\"
  version: 8040020200923213406
  context: 466ea64f
  summary: Practical Extraction and Report Language
  description: >-
    Perl is a high-level programming language with roots in C, sed, awk and
    shell scripting: stream: none.
  license:
    module: [MIT]
  dependencies:
  - buildrequires:
      platform: [el8.4.0]
    requires:
      platform: [el8]
  profiles:
    common:
      rpms:
      - perl
  artifacts:
    rpms:
    - perl-4:5.30.1-452.module+el8.4.0+8990+01326e37.x86_64
    - perl-Errno-0:1.30-452.module+el8.4.0+8990+01326e37.x86_64
...
---
document: modulemd-defaults
version: 1
data:
  module: perl
  stream: 5.26
  profiles:
    5.26: [common]
...
---
document: modulemd-obsoletes
version: 1
data: {module: x, stream: y, eol_date: 2021-01-01T00:00Z}
...
";

    #[test]
    fn streams_their_packages_and_defaults_are_read_and_the_rest_is_passed_over() {
        let records = read(TEXT).unwrap();
        let streams = parse(&records);
        assert_eq!(streams.len(), 2, "{records}");
        let perl = &streams[0];
        assert_eq!((perl.module, perl.stream, perl.is_default), ("perl", "5.30", false));
        assert_eq!(perl.packages.len(), 2);
        assert!(perl.packages[0].starts_with("perl-4:5.30.1-452"));
        assert_eq!((streams[1].stream, streams[1].is_default), ("5.26", true));
    }

    #[test]
    fn m5_aliases_depth_and_names_that_break_lines_are_refused() {
        let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
        assert_eq!(read(bomb), Err(Error::Alias));
        assert_eq!(read("a: [x, x]\nb: [[y]]\n"), Ok(String::new()));
        let nested = |depth| read(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
        assert!(nested(32).is_ok());
        assert!(nested(1_000).is_err());
        let named =
            |name: &str| read(&format!("document: modulemd\ndata:\n  name: {name}\n  stream: s\n"));
        assert_eq!(named("good").unwrap(), "M\tgood\ts\n");
        assert!(named("\"a\\nM\\tevil\"").is_err());
        for bad in ["a: [", "[a: b", "? [x]\n: y\n", "\"", "a: b: c"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read("\u{0}").is_err() || read("\u{0}") == Ok(String::new()));
    }
}
