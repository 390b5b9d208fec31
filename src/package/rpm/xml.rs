//! The XML of repositories: elements, attributes and texts, and none of the rest of XML.
//!
//! In: a reader of bytes; out: calls of a visitor for each element. It streams: nothing is held but the
//! tag or text that is being read. A document type, an entity that is not one of XML's five, an encoding
//! other than UTF-8, deep nesting and long texts are refused: no repository has them, and attacks do.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesStart, Event};

/// Repositories nest six elements.
const DEEPEST: usize = 32;
/// The longest text of an element, tag or comment. Descriptions have some ten thousand bytes.
const LONGEST: usize = 1 << 20;

/// Who is told of elements.
pub(super) trait Visitor {
    /// An element begins. Names come without their prefixes.
    fn start(&mut self, name: &str, element: &Element<'_>) -> Result<(), Error>;

    /// An element ends; `text` is what stood in it last, without blanks around it.
    fn end(&mut self, name: &str, text: &str) -> Result<(), Error>;
}

/// An element that begins, with its attributes.
pub(super) struct Element<'a>(&'a BytesStart<'a>);

impl<'a> Element<'a> {
    /// The value of an attribute; none, if it is not there.
    pub(super) fn get(&self, name: &str) -> Result<Option<Cow<'a, str>>, Error> {
        for attribute in self.0.attributes() {
            let attribute = attribute.map_err(|error| Error::Syntax(error.to_string()))?;
            if attribute.key.0 == name {
                return value(&attribute).map(Some);
            }
        }
        Ok(None)
    }

    /// All attributes, in their order.
    pub(super) fn each(&self, visit: &mut dyn FnMut(&'a str, Cow<'a, str>)) -> Result<(), Error> {
        for attribute in self.0.attributes() {
            let attribute = attribute.map_err(|error| Error::Syntax(error.to_string()))?;
            visit(attribute.key.0, value(&attribute)?);
        }
        Ok(())
    }
}

fn value<'a>(attribute: &Attribute<'a>) -> Result<Cow<'a, str>, Error> {
    let value = attribute.normalized_value(XmlVersion::Explicit1_0);
    value.map_err(|error| Error::Syntax(error.to_string()))
}

/// Reads a whole document.
pub(super) fn walk(input: impl BufRead, visitor: &mut dyn Visitor) -> Result<(), Error> {
    let mut reader = Reader::from_reader(Bounded { input, left: 0 });
    let (mut buffer, mut text) = (Vec::new(), String::new());
    let (mut depth, mut is_done) = (0_usize, false);
    loop {
        buffer.clear();
        reader.get_mut().left = LONGEST;
        let event = reader.read_event_into(&mut buffer);
        match event.map_err(of_library)? {
            Event::Start(start) => {
                depth = depth.saturating_add(1);
                if depth > DEEPEST || is_done {
                    return Err(Error::Depth);
                }
                text.clear();
                visitor.start(start.local_name().as_ref(), &Element(&start))?;
            }
            Event::Empty(start) => {
                if depth >= DEEPEST || is_done {
                    return Err(Error::Depth);
                }
                is_done = depth == 0;
                text.clear();
                let name = start.local_name();
                visitor.start(name.as_ref(), &Element(&start))?;
                visitor.end(name.as_ref(), "")?;
            }
            Event::End(end) => {
                visitor.end(end.local_name().as_ref(), text.trim())?;
                text.clear();
                depth = depth.saturating_sub(1);
                is_done = depth == 0;
            }
            Event::Text(more) if depth == 0 && !more.trim_ascii().is_empty() => {
                return Err(Error::Syntax("something stands outside of the document".into()));
            }
            Event::Text(more) => push(&mut text, &more.xml10_content())?,
            Event::CData(more) => push(&mut text, &more.into_inner())?,
            Event::GeneralRef(reference) => {
                let letter = reference.resolve_char_ref().map_err(of_library)?;
                let letter = letter.or_else(|| predefined(&reference.into_inner()));
                push(&mut text, letter.ok_or(Error::Entity)?.encode_utf8(&mut [0; 4]))?;
            }
            Event::DocType(_) => return Err(Error::Entity),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof if is_done => return Ok(()),
            Event::Eof => return Err(Error::Truncated),
        }
    }
}

/// An input of which no element, text or comment may take more than is left.
struct Bounded<R> {
    input: R,
    left: usize,
}

impl<R: BufRead> Read for Bounded<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(output)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Bounded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Err(io::Error::other(Error::Length));
        }
        self.input.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count);
        self.input.consume(count);
    }
}

fn push(text: &mut String, more: &str) -> Result<(), Error> {
    if text.len().saturating_add(more.len()) > LONGEST {
        return Err(Error::Length);
    }
    text.push_str(more);
    Ok(())
}

fn predefined(name: &str) -> Option<char> {
    Some(match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "apos" => '\'',
        "quot" => '"',
        _ => return None,
    })
}

fn of_library(error: quick_xml::Error) -> Error {
    match error {
        quick_xml::Error::Io(error) if error.get_ref().is_some_and(|error| error.is::<Error>()) => {
            Error::Length
        }
        quick_xml::Error::Io(error) => Error::Read(io::Error::new(error.kind(), error)),
        error => Error::Syntax(error.to_string()),
    }
}

/// Why a text is not what a repository should have.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes cannot be had.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// It is no XML.
    #[error("it is not well-formed XML: {0}")]
    Syntax(String),
    /// It ends early.
    #[error("it ends early")]
    Truncated,
    /// It defines or uses entities.
    #[error("it defines or uses entities, which no repository needs")]
    Entity,
    /// It is nested too deeply.
    #[error("its elements are nested too deeply, or there are two documents")]
    Depth,
    /// A text is too long.
    #[error("one of its texts is longer than a million bytes")]
    Length,
    /// An element or attribute has a value that cannot be.
    #[error("{what} is {value:?}, which cannot be")]
    Value {
        /// Of what.
        what: &'static str,
        /// What stands there.
        value: String,
    },
    /// Something is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
}

impl Error {
    /// A value that cannot be, cut to a length that people can read.
    pub(super) fn value(what: &'static str, value: &str) -> Self {
        Self::Value { what, value: value.chars().take(80).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ends(Vec<String>);

    impl Visitor for Ends {
        fn start(&mut self, _: &str, element: &Element<'_>) -> Result<(), Error> {
            self.0.extend(element.get("x")?.map(|value| format!("x={value}")));
            Ok(())
        }

        fn end(&mut self, name: &str, text: &str) -> Result<(), Error> {
            self.0.push(format!("{name}:{text}"));
            Ok(())
        }
    }

    fn read(text: &str) -> Result<String, Error> {
        let mut ends = Ends(Vec::new());
        walk(text.as_bytes(), &mut ends)?;
        Ok(ends.0.join(" "))
    }

    #[test]
    fn elements_come_with_their_texts_and_attributes() {
        let found =
            read("<?xml version=\"1.0\"?><a><r:b x='1&amp;'/><c> d &lt;&#x41;</c></a>").unwrap();
        assert_eq!(found, "x=1& b: c:d <A a:");
    }

    #[test]
    fn m5_entities_and_depth_and_two_documents_are_refused() {
        let laughs = "<!DOCTYPE a [<!ENTITY b \"bbb\"><!ENTITY c \"&b;&b;\">]><a>&c;</a>";
        assert!(matches!(read(laughs), Err(Error::Entity)));
        assert!(matches!(read("<a>&b;</a>"), Err(Error::Entity)));
        let nested = |depth| read(&format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth)));
        assert!(nested(32).is_ok());
        assert!(matches!(nested(1_000_000), Err(Error::Depth)));
        assert!(matches!(read(&format!("<a>{}</a>", "b".repeat(2 << 20))), Err(Error::Length)));
        for good in [
            "<a x='>' y=\"'\"/>",
            "\u{feff}<?xml version='1.0'?>\n<!-- - -->\n<a >b<!-- <c> --></a >\n",
            "<a><![CDATA[ &<> ]]></a>",
        ] {
            assert!(read(good).is_ok(), "{good}: {:?}", read(good));
        }
        for bad in [
            "<!-- <a/>",
            "<a><![CDATA[</a>",
            "< a/>",
            "<a>&#0;</a>",
            "<a>&lt</a>",
            "<a x='1/>",
            "<a/><a/>",
            "x<a/>",
            "<a></a></a>",
            "<a x/>",
            "<>",
            "</a>",
            "<?xml",
        ] {
            let outcome = read(bad);
            assert!(outcome.is_err(), "{bad}: {outcome:?}");
        }
        for bad in ["", "<a>", "<a></b>", "<a x='&b;'/>", "<a/>x<b>", "<a", "<a x=1></a><b></b>"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_document_that_comes_in_bits_or_ends_early_is_read_the_same_or_refused() {
        let text = "<?xml version='1.0'?><a><!-- c --><b x='1&amp;>'>t<![CDATA[u]]></b></a>\n";
        let mut ends = Ends(Vec::new());
        let lazy = crate::testing::Stuttering::new(text.as_bytes());
        walk(io::BufReader::with_capacity(1, lazy), &mut ends).unwrap();
        assert_eq!(ends.0.join(" "), read(text).unwrap());
        assert_eq!(read(text).unwrap(), "x=1&> b:tu a:");
        for end in 0..text.len() - 1 {
            assert!(read(&text[..end]).is_err(), "{end}");
        }
        assert!(walk(&b"<a>\xff</a>"[..], &mut Ends(Vec::new())).is_err());
    }
}
