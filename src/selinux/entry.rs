//! One entry of file contexts: which paths and kinds of files, and their label.
//!
//! ```text
//! /usr/s?bin/[^/]*getty    --    system_u:object_r:getty_exec_t:s0
//! /tmp/.*                        <<none>>
//! ```
//!
//! The pattern is a regular expression for the whole path. Those of policies are plain enough for
//! an engine whose time is bounded: what that does not know (looking around, going back) is refused
//! by its line.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};

/// The signs that make a pattern more than a path.
const SIGNS: &[u8] = b".^$?*+|[({";
/// Bytes that a compiled pattern may take, and as many again what it remembers of paths. The largest of
/// Debian's policy takes less than an eighth of it. With `MOST_ENTRIES` this bounds what a policy may take.
const MOST: usize = 32 << 10;

/// What is wrong with an entry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadEntry {
    /// There are not two or three words.
    #[error("an entry has a pattern, perhaps a kind of file, and a label")]
    Words,
    /// The kind is unknown.
    #[error("{0:?} is not one of -b -c -d -p -l -s --")]
    Kind(String),
    /// There are more than any policy has.
    #[error("a policy with more than {} entries is none", super::contexts::MOST_ENTRIES)]
    Many,
    /// The pattern is none, or uses more than is known here.
    #[error("the pattern {pattern:?} is not understood")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        source: Box<regex::Error>,
    },
}

/// One entry.
#[derive(Debug)]
pub(super) struct Entry {
    pattern: String,
    /// What each path that it fits begins with.
    prefix: Vec<u8>,
    /// Whether the prefix is all.
    is_exact: bool,
    /// The letter of the only kind of files that it is for.
    kind: Option<u8>,
    /// `None` where files shall have no label.
    label: Option<String>,
    /// Compiled when it is first needed: most of a policy's entries are for what a guest lacks.
    regex: OnceLock<Result<Regex, regex::Error>>,
}

impl Entry {
    /// Reads a line; `None` when it is empty or a comment.
    pub(super) fn parse(line: &str) -> Result<Option<Self>, BadEntry> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (pattern, kind, label) = match words.as_slice() {
            [] => return Ok(None),
            [first, ..] if first.starts_with('#') => return Ok(None),
            [pattern, label] => (*pattern, None, *label),
            [pattern, kind, label] => (*pattern, Some(letter(kind)?), *label),
            _ => return Err(BadEntry::Words),
        };
        let (prefix, is_exact) = prefix(pattern);
        let label = (label != "<<none>>").then(|| label.to_owned());
        let entry = Self {
            pattern: pattern.to_owned(),
            prefix,
            is_exact,
            kind,
            label,
            regex: OnceLock::new(),
        };
        // What cannot be read is said now, and not when a path happens to need it.
        check_syntax(pattern)?;
        Ok(Some(entry))
    }

    /// Whether the pattern is a path, without signs: then it counts more than those with signs.
    pub(super) const fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// Whether it is for every kind of files.
    pub(super) const fn is_for_all(&self) -> bool {
        self.kind.is_none()
    }

    /// Whether it is for this kind of files.
    pub(super) fn is_for(&self, kind: u8) -> bool {
        self.kind.is_none_or(|only| only == kind)
    }

    /// The label that it gives.
    pub(super) fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// What the pattern begins with, up to its first sign.
    pub(super) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Whether it is for this path and kind of file.
    ///
    /// # Errors
    /// [`BadEntry::Pattern`] for a pattern that would take too much memory.
    pub(super) fn fits(&self, path: &[u8], kind: u8) -> Result<bool, BadEntry> {
        if !self.is_for(kind) || !path.starts_with(&self.prefix) {
            return Ok(false);
        }
        if self.is_exact {
            return Ok(path.len() == self.prefix.len());
        }
        match self.regex.get_or_init(|| compile(&self.pattern)) {
            Ok(regex) => Ok(regex.is_match(path)),
            Err(error) => Err(bad(&self.pattern, error.clone())),
        }
    }
}

fn bad(pattern: &str, error: regex::Error) -> BadEntry {
    BadEntry::Pattern { pattern: pattern.to_owned(), source: Box::new(error) }
}

fn letter(kind: &str) -> Result<u8, BadEntry> {
    match kind.as_bytes() {
        [b'-', letter @ (b'b' | b'c' | b'd' | b'p' | b'l' | b's' | b'-')] => Ok(*letter),
        _ => Err(BadEntry::Kind(kind.to_owned())),
    }
}

/// What each path that a pattern fits begins with, and whether that is all of it.
fn prefix(pattern: &str) -> (Vec<u8>, bool) {
    let mut prefix = Vec::new();
    let mut bytes = pattern.bytes();
    let sign = loop {
        match bytes.next() {
            None => return (prefix, true),
            Some(b'\\') => match bytes.next() {
                Some(next) if next.is_ascii_punctuation() => prefix.push(next),
                _ => break b'\\',
            },
            Some(sign) if SIGNS.contains(&sign) => break sign,
            Some(byte) => prefix.push(byte),
        }
    };
    // Some signs say that the one before them may stand there never.
    if matches!(sign, b'?' | b'*' | b'{') {
        prefix.pop();
    }
    // Of alternatives, nothing is sure.
    if has_alternatives(pattern) {
        prefix.clear();
    }
    (prefix, false)
}

/// Whether there are alternatives outside of parentheses, which divide the whole pattern.
fn has_alternatives(pattern: &str) -> bool {
    let (mut depth, mut escaped) = (0_usize, false);
    for byte in pattern.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth = depth.saturating_add(1),
            b')' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

/// A pattern for the whole path. libselinux puts no parentheses around it either.
fn anchored(pattern: &str) -> String {
    format!("^{pattern}$")
}

/// Says whether a pattern is understood, without the cost of compiling it.
fn check_syntax(pattern: &str) -> Result<(), BadEntry> {
    let mut parser = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build();
    let parsed = parser.parse(&anchored(pattern));
    parsed.map(drop).map_err(|error| bad(pattern, regex::Error::Syntax(error.to_string())))
}

fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    let mut builder = RegexBuilder::new(&anchored(pattern));
    builder.unicode(false).dot_matches_new_line(true);
    builder.size_limit(MOST).dfa_size_limit(MOST).build()
}
