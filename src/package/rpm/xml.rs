//! The XML of repositories: elements, attributes and texts, and none of the rest of XML.
//!
//! In: a reader of bytes; out: calls of a visitor for each element. It streams: nothing is held but the
//! tag or text that is being read. A document type, an entity that is not one of XML's five, an encoding
//! other than UTF-8, deep nesting and long texts are refused: no repository has them, and attacks do.
//! Specification: XML 1.0, of which a repository's lists, a hundred million bytes of them, use little.

use std::borrow::Cow;
use std::io::{self, BufRead, Read as _};

/// Repositories nest six elements.
const DEEPEST: usize = 32;
/// The longest text of an element, tag or comment. Descriptions have some ten thousand bytes.
const LONGEST: usize = 1 << 20;
/// So many bytes are read at once.
const STEP: u64 = 1 << 18;

/// Who is told of elements.
pub(super) trait Visitor {
    /// An element begins. Names come without their prefixes.
    fn start(&mut self, name: &str, element: &Element<'_>) -> Result<(), Error>;

    /// An element ends; `text` is what stood in it last, without blanks around it.
    fn end(&mut self, name: &str, text: &str) -> Result<(), Error>;
}

/// An element that begins: the text of its attributes.
pub(super) struct Element<'a>(&'a str);

impl<'a> Element<'a> {
    /// The value of an attribute; none, if it is not there.
    pub(super) fn get(&self, name: &str) -> Result<Option<Cow<'a, str>>, Error> {
        let mut rest = self.0;
        while let Some((key, value, behind)) = attribute(rest)? {
            if key == name {
                return plain(value).map(Some);
            }
            rest = behind;
        }
        Ok(None)
    }

    /// All attributes, in their order.
    pub(super) fn each(&self, visit: &mut dyn FnMut(&'a str, Cow<'a, str>)) -> Result<(), Error> {
        let mut rest = self.0;
        while let Some((key, value, behind)) = attribute(rest)? {
            visit(key, plain(value)?);
            rest = behind;
        }
        Ok(())
    }
}

/// The name and the raw value of the first attribute, and what is behind it.
fn attribute(text: &str) -> Result<Option<(&str, &str, &str)>, Error> {
    let text = text.trim_ascii_start();
    if text.is_empty() {
        return Ok(None);
    }
    let bad = || Error::syntax("an attribute has no value in quotes");
    let (key, rest) = text.split_once('=').ok_or_else(bad)?;
    let (key, rest) = (key.trim_ascii_end(), rest.trim_ascii_start());
    let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\'')).ok_or_else(bad)?;
    let (value, behind) = rest.split_at(1).1.split_once(quote).ok_or_else(bad)?;
    let is_name = !key.is_empty() && !key.contains(|c: char| c.is_ascii_whitespace() || c == '"');
    if is_name { Ok(Some((key, value, behind))) } else { Err(bad()) }
}

/// A text with its references resolved.
fn plain(raw: &str) -> Result<Cow<'_, str>, Error> {
    if !raw.contains('&') {
        return Ok(Cow::Borrowed(raw));
    }
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, behind)) = rest.split_once('&') {
        let (name, behind) = behind.split_once(';').ok_or(Error::Entity)?;
        text.push_str(before);
        text.push(letter(name).ok_or(Error::Entity)?);
        rest = behind;
    }
    text.push_str(rest);
    Ok(Cow::Owned(text))
}

/// The letter that a reference stands for: one of XML's five, or its number.
fn letter(name: &str) -> Option<char> {
    Some(match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "apos" => '\'',
        "quot" => '"',
        _ => {
            let number = name.strip_prefix('#')?;
            let number = match number.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(number).filter(|letter| *letter != '\0')?
        }
    })
}

/// Reads a whole document.
pub(super) fn walk(input: impl BufRead, visitor: &mut dyn Visitor) -> Result<(), Error> {
    let mut walk = Walk {
        source: Source { input, buffer: Vec::new(), at: 0 },
        names: Names::default(),
        text: String::new(),
        is_done: false,
    };
    while walk.step(visitor)? {}
    if walk.is_done { Ok(()) } else { Err(Error::Truncated) }
}

/// A document being read.
struct Walk<R> {
    source: Source<R>,
    /// The elements that are open.
    names: Names,
    /// What stood between the last two tags.
    text: String,
    /// Whether the outermost element has ended.
    is_done: bool,
}

impl<R: BufRead> Walk<R> {
    /// Goes on to behind the next tag. Returns whether there was one.
    fn step(&mut self, visitor: &mut dyn Visitor) -> Result<bool, Error> {
        let Self { source, names, text, is_done } = self;
        let Some(before) = source.until(b"<")? else {
            // Nothing but blanks follows the document.
            let rest = utf8(source.rest())?;
            return if is_blank(rest) { Ok(false) } else { Err(Error::Truncated) };
        };
        let more = utf8(before)?;
        if names.is_empty() {
            if !is_blank(more.trim_start_matches('\u{feff}')) {
                return Err(Error::syntax("something stands outside of the document"));
            }
        } else {
            push(text, &plain(more)?)?;
        }
        if source.skips(b"!--")? {
            source.until(b"-->")?.ok_or(Error::Truncated)?;
        } else if source.skips(b"![CDATA[")? {
            let more = source.until(b"]]>")?.ok_or(Error::Truncated)?;
            push(text, utf8(more)?)?;
        } else if source.skips(b"?")? {
            source.until(b"?>")?.ok_or(Error::Truncated)?;
        } else if source.skips(b"!")? {
            return Err(Error::Entity);
        } else if source.skips(b"/")? {
            let name = utf8(source.until(b">")?.ok_or(Error::Truncated)?)?.trim_ascii_end();
            names.close(name)?;
            visitor.end(local(name), text.trim())?;
            text.clear();
            *is_done = names.is_empty();
        } else {
            let tag = utf8(source.tag()?.ok_or(Error::Truncated)?)?;
            if *is_done || names.len() >= DEEPEST {
                return Err(Error::Depth);
            }
            text.clear();
            *is_done = open(tag, names, visitor)?;
        }
        Ok(true)
    }
}

/// An element begins; perhaps it ends as well. Returns whether that was the whole document.
fn open(tag: &str, names: &mut Names, visitor: &mut dyn Visitor) -> Result<bool, Error> {
    let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
    let end = tag.find(|letter: char| letter.is_ascii_whitespace()).unwrap_or(tag.len());
    let (name, attributes) = tag.split_at(end);
    let is_name = name.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_');
    if !is_name || name.contains(['"', '\'', '=', '&', '/']) {
        return Err(Error::syntax("an element has no name"));
    }
    visitor.start(local(name), &Element(attributes))?;
    match is_empty {
        true => visitor.end(local(name), "")?,
        false => names.open(name),
    }
    Ok(names.is_empty())
}

fn local(name: &str) -> &str {
    name.split_once(':').map_or(name, |(_, local)| local)
}

fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_whitespace())
}

fn utf8(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|_| Error::syntax("it is not UTF-8"))
}

fn push(text: &mut String, more: &str) -> Result<(), Error> {
    if text.len().saturating_add(more.len()) > LONGEST {
        return Err(Error::Length);
    }
    text.push_str(more);
    Ok(())
}

/// The names of open elements, one behind the other.
#[derive(Default)]
struct Names {
    text: String,
    starts: Vec<usize>,
}

impl Names {
    const fn len(&self) -> usize {
        self.starts.len()
    }

    const fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    fn open(&mut self, name: &str) {
        self.starts.push(self.text.len());
        self.text.push_str(name);
    }

    fn close(&mut self, name: &str) -> Result<(), Error> {
        let start = self.starts.pop().ok_or(Error::syntax("an element ends that never began"))?;
        if self.text.get(start..) != Some(name) {
            return Err(Error::syntax("another element ends than the one that began last"));
        }
        self.text.truncate(start);
        Ok(())
    }
}

/// Bytes that come, of which only those are held that are being looked at.
struct Source<R> {
    input: R,
    buffer: Vec<u8>,
    /// The first byte that was not looked at.
    at: usize,
}

impl<R: BufRead> Source<R> {
    /// What was not looked at and is here.
    fn rest(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    /// Brings more bytes. Returns whether there were any.
    fn fill(&mut self) -> Result<bool, Error> {
        if self.rest().len() > LONGEST {
            return Err(Error::Length);
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let count = self.input.by_ref().take(STEP).read_to_end(&mut self.buffer);
        Ok(count.map_err(Error::Read)? > 0)
    }

    /// Passes `mark` and returns what is before it; none, if it does not come any more.
    fn until(&mut self, mark: &[u8]) -> Result<Option<&[u8]>, Error> {
        let mut searched = 0_usize;
        let found = loop {
            let rest = self.rest().get(searched..).unwrap_or_default();
            if let Some(place) = find(rest, mark) {
                break searched.saturating_add(place);
            }
            searched = self.rest().len().saturating_sub(mark.len().saturating_sub(1));
            if !self.fill()? {
                return Ok(None);
            }
        };
        let start = self.at;
        let end = start.saturating_add(found);
        self.at = end.saturating_add(mark.len());
        Ok(self.buffer.get(start..end))
    }

    /// What is left of a tag: up to its end, which is not in quotes.
    fn tag(&mut self) -> Result<Option<&[u8]>, Error> {
        let (mut searched, mut quote) = (0_usize, None);
        let found = loop {
            let end = end_of_tag(self.rest().get(searched..).unwrap_or_default(), &mut quote);
            if let Some(place) = end {
                break searched.saturating_add(place);
            }
            searched = self.rest().len();
            if !self.fill()? {
                return Ok(None);
            }
        };
        let start = self.at;
        let end = start.saturating_add(found);
        self.at = end.saturating_add(1);
        Ok(self.buffer.get(start..end))
    }

    /// Passes `mark` if it comes next.
    fn skips(&mut self, mark: &[u8]) -> Result<bool, Error> {
        while self.rest().len() < mark.len() && self.fill()? {}
        let is_next = self.rest().starts_with(mark);
        if is_next {
            self.at = self.at.saturating_add(mark.len());
        }
        Ok(is_next)
    }
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    match mark {
        [byte] => bytes.iter().position(|found| found == byte),
        _ => bytes.windows(mark.len()).position(|window| window == mark),
    }
}

/// The place of the first `>` outside of quotes; `quote` is the one that is open.
fn end_of_tag(bytes: &[u8], quote: &mut Option<u8>) -> Option<usize> {
    bytes.iter().position(|byte| {
        match *quote {
            Some(open) if open == *byte => *quote = None,
            None if matches!(byte, b'"' | b'\'') => *quote = Some(*byte),
            _ => {}
        }
        quote.is_none() && *byte == b'>'
    })
}

/// Why a text is not what a repository should have.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes cannot be had.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// It is no XML.
    #[error("it is not well-formed XML: {0}")]
    Syntax(&'static str),
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
    const fn syntax(what: &'static str) -> Self {
        Self::Syntax(what)
    }

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
