//! Here-documents: text on the lines after the command that reads it; see XCU 2.7.4.

use std::cell::OnceCell;
use std::rc::Rc;

use super::parser::{Parser, SyntaxError};
use super::syntax::{Part, Word};

/// A here-document whose text comes after the end of the line.
pub(super) struct Pending {
    /// The line that ends it.
    end: String,
    /// Leading tabs do not count.
    tabs: bool,
    /// Nothing in it is expanded.
    literal: bool,
    text: Rc<OnceCell<Word>>,
}

impl Parser<'_> {
    /// The word after `<<`.
    pub(super) fn here_mark(&mut self, tabs: bool) -> Result<Rc<OnceCell<Word>>, SyntaxError> {
        let (mut end, mut literal) = (String::new(), false);
        while let Some(c) = self.peek().filter(|c| !" \t\n;&|<>()".contains(*c)) {
            self.at += 1;
            match c {
                '\'' | '"' | '\\' => literal = true,
                _ => end.push(c),
            }
        }
        if end.is_empty() {
            return Err(self.error("a here-document has no end"));
        }
        let text = Rc::new(OnceCell::new());
        self.pending.push(Pending { end, tabs, literal, text: Rc::clone(&text) });
        Ok(text)
    }

    /// Reads the text, which starts here.
    pub(super) fn here_document(&mut self, pending: &Pending) -> Result<(), SyntaxError> {
        let mut body = String::new();
        while self.peek().is_some() {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let line: String = rest.iter().take_while(|c| **c != '\n').collect();
            self.at = self.text.len().min(self.at + line.chars().count() + 1);
            let line = if pending.tabs { line.trim_start_matches('\t') } else { &line };
            if line == pending.end {
                break;
            }
            body.push_str(line);
            body.push('\n');
        }
        let word = match pending.literal {
            true => vec![Part::Literal(body)],
            false => {
                let text: Vec<char> = body.chars().collect();
                let (depth, none) = (self.depth, Vec::new());
                let mut inner = Parser { text: &text, at: 0, depth, pending: none };
                inner.nested(|parser| parser.quoted(|_| false))?
            }
        };
        // Each document is read once, right after its line.
        drop(pending.text.set(word));
        Ok(())
    }
}
