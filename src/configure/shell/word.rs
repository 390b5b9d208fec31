//! Reads words: quotes, `$…` and backquotes; see POSIX.1-2017, XCU 2.2 and 2.6.

use super::parser::{Parser, SyntaxError, parse_nested};
use super::syntax::{Change, Part, Word};

type Parsed<T> = Result<T, SyntaxError>;

/// Signs that end a word outside quotes.
const ENDS: &str = " \t\n;&|<>()";

impl Parser<'_> {
    /// A word, if one comes next.
    pub(super) fn word(&mut self) -> Parsed<Option<Word>> {
        let mut word = Word::new();
        let mut any = false;
        while let Some(c) = self.peek().filter(|c| !ENDS.contains(*c)) {
            if self.take("\\\n") {
                continue;
            }
            any = true;
            self.part(c, &mut word)?;
        }
        Ok(any.then_some(word))
    }

    /// One piece outside double quotes.
    fn part(&mut self, c: char, word: &mut Word) -> Parsed<()> {
        match c {
            '\'' => {
                self.at += 1;
                let mut text = String::new();
                while let Some(c) = self.peek().filter(|c| *c != '\'') {
                    text.push(c);
                    self.at += 1;
                }
                self.quote_ends('\'')?;
                word.push(Part::Literal(text));
            }
            '"' => {
                self.at += 1;
                let inner = self.nested(|parser| parser.quoted(|c| c == '"'))?;
                self.quote_ends('"')?;
                word.push(Part::Quoted(inner));
            }
            '\\' => {
                self.at += 1;
                let escaped = self.peek();
                self.at += usize::from(escaped.is_some());
                word.push(Part::Literal(escaped.map_or_else(|| "\\".to_owned(), String::from)));
            }
            '$' | '`' => self.substitution(word)?,
            _ => {
                self.at += 1;
                push_plain(word, c);
            }
        }
        Ok(())
    }

    fn quote_ends(&mut self, quote: char) -> Parsed<()> {
        match self.peek() {
            Some(c) if c == quote => {
                self.at += 1;
                Ok(())
            }
            _ => Err(self.error("a quote does not end")),
        }
    }

    /// The inside of double quotes or of a here-document.
    pub(super) fn quoted(&mut self, ends: impl Fn(char) -> bool) -> Parsed<Word> {
        let mut word = Word::new();
        while let Some(c) = self.peek().filter(|c| !ends(*c)) {
            match c {
                '\\' => {
                    self.at += 1;
                    match self.peek() {
                        Some('\n') => self.at += 1,
                        Some(c) if "$`\\".contains(c) || (c == '"' && ends('"')) => {
                            self.at += 1;
                            push_literal(&mut word, c);
                        }
                        _ => push_literal(&mut word, '\\'),
                    }
                }
                '$' | '`' => self.substitution(&mut word)?,
                _ => {
                    self.at += 1;
                    push_literal(&mut word, c);
                }
            }
        }
        Ok(word)
    }

    /// `$…` or a backquote; a lone `$` is text.
    fn substitution(&mut self, word: &mut Word) -> Parsed<()> {
        if self.take("`") {
            return self.backquoted(word);
        }
        if self.take("$((") {
            let inner = self.nested(Self::arithmetic)?;
            word.push(Part::Arithmetic(inner));
            return Ok(());
        }
        if self.take("$(") {
            let list = self.list(&[")"])?;
            self.close(")")?;
            word.push(Part::Output(list));
            return Ok(());
        }
        if self.take("${") {
            let part = self.nested(Self::braced)?;
            word.push(part);
            return Ok(());
        }
        self.at += 1;
        let special = self.peek().filter(|c| "@*#?-$!0123456789".contains(*c));
        let name = match special {
            Some(c) => {
                self.at += 1;
                Some(c.to_string())
            }
            None => self.name(),
        };
        match name {
            Some(name) => word.push(Part::Parameter { name, change: Change::Plain }),
            None => push_plain(word, '$'),
        }
        Ok(())
    }

    fn backquoted(&mut self, word: &mut Word) -> Parsed<()> {
        let mut text = String::new();
        loop {
            match self.peek() {
                None => return Err(self.error("a backquote does not end")),
                Some('`') => break,
                Some('\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(c) if "`\\$".contains(c) => {
                            text.push(c);
                            self.at += 1;
                        }
                        _ => text.push('\\'),
                    }
                }
                Some(c) => {
                    text.push(c);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        let line = self.error("").line;
        let inner = parse_nested(&text, self.depth + 1);
        let list = inner.map_err(|error| SyntaxError { line, what: error.what })?;
        word.push(Part::Output(list));
        Ok(())
    }

    /// The inside of `$(( … ))`, up to the matching end.
    fn arithmetic(&mut self) -> Parsed<Word> {
        let mut word = Word::new();
        let mut open = 0_usize;
        loop {
            match self.peek() {
                None => return Err(self.error("an arithmetic expansion does not end")),
                Some(')') if open == 0 => {
                    return match self.take("))") {
                        true => Ok(word),
                        false => Err(self.error("an arithmetic expansion does not end")),
                    };
                }
                Some('$' | '`') => self.substitution(&mut word)?,
                Some(c) => {
                    match c {
                        '(' => open += 1,
                        ')' => open -= 1,
                        _ => {}
                    }
                    self.at += 1;
                    push_literal(&mut word, c);
                }
            }
        }
    }

    /// The inside of `${ … }`.
    fn braced(&mut self) -> Parsed<Part> {
        let length = self.starts("#") && !self.starts("#}");
        self.at += usize::from(length);
        let name = match self.peek() {
            Some(c) if "@*#?-$!".contains(c) => {
                self.at += 1;
                c.to_string()
            }
            Some(c) if c.is_ascii_digit() => {
                let mut digits = String::new();
                while let Some(c) = self.peek().filter(char::is_ascii_digit) {
                    digits.push(c);
                    self.at += 1;
                }
                digits
            }
            _ => self.name().ok_or_else(|| self.error("a parameter has no name"))?,
        };
        let change = if length { Change::Length } else { self.change()? };
        match self.take("}") {
            true => Ok(Part::Parameter { name, change }),
            false => Err(self.error("a parameter expansion is not understood")),
        }
    }

    fn change(&mut self) -> Parsed<Change> {
        let cuts =
            [("##", false, true), ("#", false, false), ("%%", true, true), ("%", true, false)];
        for (sign, at_end, longest) in cuts {
            if self.take(sign) {
                return Ok(Change::Cut { at_end, longest, pattern: self.operand()? });
            }
        }
        let start = self.at;
        let or_empty = self.take(":");
        match self.peek() {
            Some(kind) if "-=?+".contains(kind) => {
                self.at += 1;
                Ok(Change::Unset { kind, or_empty, word: self.operand()? })
            }
            _ => {
                self.at = start;
                Ok(Change::Plain)
            }
        }
    }

    /// The word after an operator in braces: blanks and signs do not end it.
    fn operand(&mut self) -> Parsed<Word> {
        let mut word = Word::new();
        while let Some(c) = self.peek().filter(|c| *c != '}') {
            self.part(c, &mut word)?;
        }
        Ok(word)
    }
}

fn push_plain(word: &mut Word, c: char) {
    match word.last_mut() {
        Some(Part::Plain(text)) => text.push(c),
        _ => word.push(Part::Plain(c.to_string())),
    }
}

fn push_literal(word: &mut Word, c: char) {
    match word.last_mut() {
        Some(Part::Literal(text)) => text.push(c),
        _ => word.push(Part::Literal(c.to_string())),
    }
}
