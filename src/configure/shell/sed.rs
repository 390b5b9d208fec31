//! `sed`, as far as scripts use it: `s`, `p`, `d`, `q`, `{…}`, addresses and their ranges; see XCU.

use super::regex::{Places, Regex};
use super::text::inputs;
use super::{Call, Flow, Shell, Stop};
use crate::tree::{Content, Kind};

#[derive(Debug)]
struct Step {
    from: Option<Address>,
    to: Option<Address>,
    negated: bool,
    action: Action,
    /// Whether the range is open at the line at hand.
    inside: bool,
}

#[derive(Debug)]
enum Address {
    Line(usize),
    Last,
    Text(Regex),
}

#[derive(Debug)]
enum Action {
    Print,
    Delete,
    Quit,
    Block(Vec<Step>),
    Substitute { regex: Regex, with: Vec<Piece>, all: bool, print: bool },
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Group(usize),
}

/// Reads the script of one call.
struct Reader<'a> {
    text: &'a [char],
    at: usize,
    extended: bool,
    /// The last expression: what an empty one stands for.
    last: Option<Regex>,
    depth: usize,
}

pub(super) fn sed(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let mut options = call.options("n quiet|- silent|e: expression|E regexp-extended|r extended|i in-place|s separate|u unbuffered")?;
    let mut parts = options.values("expression").to_vec();
    if parts.is_empty() && !options.operands.is_empty() {
        parts.push(options.operands.remove(0));
    }
    let script = parts.join("\n");
    let text: Vec<char> = script.chars().collect();
    let extended = options.has("regexp-extended") || options.has("extended");
    let mut reader = Reader { text: &text, at: 0, extended, last: None, depth: 0 };
    let steps = reader.steps().filter(|_| reader.at == text.len());
    let mut steps = steps.ok_or_else(|| call.unknown(&script))?;
    let quiet = options.has("quiet") || options.has("silent");
    let in_place = options.has("in-place");
    let all = inputs(shell, call, &options.operands);
    let files: Vec<(String, String)> = match in_place {
        true => all,
        false => {
            vec![(String::new(), all.into_iter().map(|(_, text)| text).collect())]
        }
    };
    for (path, text) in files {
        shell.world.spend(text.len() / 4)?;
        let out = edited(&mut steps, &text, quiet).ok_or_else(|| call.unknown("takes too long"))?;
        if !in_place {
            call.out.push_str(&out);
            continue;
        }
        let place = shell.place(&path, true).map_err(|_| Stop::unknown("sed -i"))?;
        let now = shell.world.now();
        if let Some(inode) = shell.world.tree.get(&place).cloned() {
            // A new file takes the place of the old one, as GNU's does.
            let meta = crate::tree::Meta { mtime: now, ..inode.meta };
            let kind = Kind::Regular(Content::Inline(super::bytes_of(&out).into()));
            let inserted = shell.world.tree.insert(&place, crate::tree::Inode { meta, kind });
            inserted.map_err(|_| Stop::unknown("sed -i"))?;
            shell.world.touch_above(&place);
        }
    }
    shell.world.spend(worked(&steps) / 16)?;
    Ok(i32::from(!call.err.is_empty()) * 2)
}

/// How much work the expressions of all steps were.
fn worked(steps: &[Step]) -> usize {
    let address = |address: &Option<Address>| match address {
        Some(Address::Text(regex)) => regex.steps(),
        _ => 0,
    };
    let work = |step: &Step| {
        let action = match &step.action {
            Action::Block(inner) => worked(inner),
            Action::Substitute { regex, .. } => regex.steps(),
            _ => 0,
        };
        address(&step.from) + address(&step.to) + action
    };
    steps.iter().map(work).sum()
}

/// What happens after a line's steps.
#[derive(PartialEq)]
enum End {
    Line,
    Deleted,
    All,
}

fn edited(steps: &mut [Step], text: &str, quiet: bool) -> Option<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut out = String::new();
    for (index, line) in lines.iter().enumerate() {
        let end = if line.ends_with('\n') { "\n" } else { "" };
        let mut space = line.strip_suffix('\n').unwrap_or(line).to_owned();
        let place = (index + 1, index + 1 == lines.len());
        let ended = run(steps, &mut space, place, &mut out)?;
        if !quiet && ended != End::Deleted {
            out.push_str(&space);
            out.push_str(end);
        }
        if ended == End::All {
            break;
        }
    }
    Some(out)
}

fn run(
    steps: &mut [Step],
    space: &mut String,
    place: (usize, bool),
    out: &mut String,
) -> Option<End> {
    for step in steps {
        let chosen = step.chosen(space, place)?;
        if chosen == step.negated {
            continue;
        }
        match &mut step.action {
            Action::Print => out.push_str(&format!("{space}\n")),
            Action::Delete => return Some(End::Deleted),
            Action::Quit => return Some(End::All),
            Action::Block(inner) => match run(inner, space, place, out)? {
                End::Line => {}
                end => return Some(end),
            },
            Action::Substitute { regex, with, all, print } => {
                if let Some(new) = substituted(space, regex, with, *all)? {
                    *space = new;
                    if *print {
                        out.push_str(&format!("{space}\n"));
                    }
                }
            }
        }
    }
    Some(End::Line)
}

impl Address {
    fn is_here(&self, space: &str, (line, last): (usize, bool)) -> Option<bool> {
        Some(match self {
            Self::Line(number) => *number == line,
            Self::Last => last,
            Self::Text(regex) => {
                let letters: Vec<char> = space.chars().collect();
                regex.find(&letters, 0).ok()?.is_some()
            }
        })
    }
}

impl Step {
    fn chosen(&mut self, space: &str, place: (usize, bool)) -> Option<bool> {
        let Some(from) = &self.from else { return Some(true) };
        let Some(to) = &self.to else { return from.is_here(space, place) };
        if self.inside {
            self.inside = match to {
                Address::Line(number) => place.0 < *number,
                to => !to.is_here(space, place)?,
            };
            return Some(true);
        }
        let begins = from.is_here(space, place)?;
        if begins {
            self.inside = !matches!(to, Address::Line(number) if *number <= place.0);
        }
        Some(begins)
    }
}

/// The text with matches replaced; nothing if there is none.
fn substituted(space: &str, regex: &Regex, with: &[Piece], all: bool) -> Option<Option<String>> {
    let letters: Vec<char> = space.chars().collect();
    let (mut out, mut at, mut found) = (String::new(), 0, false);
    while at <= letters.len() && (all || !found) {
        let Some(places) = regex.find(&letters, at).ok()? else { break };
        let (start, end) = places.first().copied().flatten()?;
        found = true;
        out.extend(letters.get(at..start)?);
        replacement(&mut out, with, &letters, &places);
        at = end;
        if start == end {
            out.extend(letters.get(end));
            at += 1;
        }
    }
    out.extend(letters.get(at..).unwrap_or_default());
    Some(found.then_some(out))
}

fn replacement(out: &mut String, with: &[Piece], letters: &[char], places: &Places) {
    for piece in with {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Group(number) => {
                let place = places.get(*number).copied().flatten();
                out.extend(place.and_then(|(from, to)| letters.get(from..to)).unwrap_or_default());
            }
        }
    }
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn skip(&mut self, signs: &str) {
        while self.peek().is_some_and(|c| signs.contains(c)) {
            self.at += 1;
        }
    }

    /// Steps up to the end or a closing brace.
    fn steps(&mut self) -> Option<Vec<Step>> {
        self.depth += 1;
        let mut steps = Vec::new();
        loop {
            self.skip(" \t\n;");
            if self.peek().is_none_or(|c| c == '}') || self.depth > 10 {
                self.depth -= 1;
                return (self.depth < 10).then_some(steps);
            }
            let from = self.address()?;
            self.skip(" \t");
            let mut to = None;
            if self.peek() == Some(',') {
                self.at += 1;
                self.skip(" \t");
                to = Some(self.address()??);
            }
            self.skip(" \t");
            let negated = self.peek() == Some('!');
            self.at += usize::from(negated);
            self.skip(" \t");
            let action = self.action()?;
            steps.push(Step { from, to, negated, action, inside: false });
            self.skip(" \t");
            self.peek().is_none_or(|c| ";\n}".contains(c)).then_some(())?;
        }
    }

    fn address(&mut self) -> Option<Option<Address>> {
        Some(match self.peek()? {
            '$' => {
                self.at += 1;
                Some(Address::Last)
            }
            '0'..='9' => {
                let mut digits = String::new();
                while let Some(c) = self.peek().filter(char::is_ascii_digit) {
                    digits.push(c);
                    self.at += 1;
                }
                Some(Address::Line(digits.parse().ok()?))
            }
            c @ ('/' | '\\') => {
                self.at += 1;
                let mut end = c;
                if c == '\\' {
                    end = self.peek()?;
                    self.at += 1;
                }
                let text = self.until(end)?;
                Some(Address::Text(self.regex(&text, false)?))
            }
            _ => None,
        })
    }

    /// Text up to a delimiter; where that is escaped it loses its backslash.
    fn until(&mut self, end: char) -> Option<String> {
        let (mut text, mut bracket) = (String::new(), false);
        loop {
            let c = self.peek()?;
            self.at += 1;
            match c {
                '\\' if !bracket => {
                    let next = self.peek()?;
                    self.at += 1;
                    if next != end {
                        text.push('\\');
                    }
                    text.push(next);
                    continue;
                }
                '[' => bracket = true,
                ']' => bracket = false,
                _ => {}
            }
            if c == end && !(bracket && end != ' ' && self.closes_later(end)) {
                return Some(text);
            }
            text.push(c);
        }
    }

    /// Whether an open bracket still closes before the next delimiter.
    fn closes_later(&self, end: char) -> bool {
        let rest = self.text.get(self.at..).unwrap_or_default();
        rest.iter().take_while(|c| **c != end && **c != '\n').any(|c| *c == ']')
    }

    /// An expression; an empty one stands for the last.
    fn regex(&mut self, text: &str, ignore_case: bool) -> Option<Regex> {
        if !text.is_empty() {
            self.last = Some(Regex::new(text, self.extended, ignore_case)?);
        }
        self.last.clone()
    }

    fn action(&mut self) -> Option<Action> {
        let letter = self.peek()?;
        self.at += 1;
        Some(match letter {
            'p' => Action::Print,
            'd' => Action::Delete,
            'q' => Action::Quit,
            '{' => {
                let steps = self.steps()?;
                self.peek().filter(|c| *c == '}')?;
                self.at += 1;
                Action::Block(steps)
            }
            's' => {
                let end = self.peek()?;
                self.at += 1;
                let (pattern, with) = (self.until(end)?, self.until(end)?);
                let (mut all, mut print, mut ignore) = (false, false, false);
                while let Some(c) = self.peek().filter(|c| c.is_ascii_alphanumeric()) {
                    match c {
                        'g' => all = true,
                        'p' => print = true,
                        'i' | 'I' => ignore = true,
                        _ => return None,
                    }
                    self.at += 1;
                }
                let regex = self.regex(&pattern, ignore)?;
                Action::Substitute { regex, with: pieces(&with)?, all, print }
            }
            _ => return None,
        })
    }
}

fn pieces(text: &str) -> Option<Vec<Piece>> {
    let (mut pieces, mut plain) = (Vec::new(), String::new());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let group = match c {
            '&' => 0,
            '\\' => match rest.next()? {
                'n' => {
                    plain.push('\n');
                    continue;
                }
                't' => {
                    plain.push('\t');
                    continue;
                }
                c => match c.to_digit(10) {
                    Some(number) => usize::try_from(number).ok()?,
                    None if c.is_ascii_alphabetic() => return None,
                    None => {
                        plain.push(c);
                        continue;
                    }
                },
            },
            c => {
                plain.push(c);
                continue;
            }
        };
        pieces.push(Piece::Text(std::mem::take(&mut plain)));
        pieces.push(Piece::Group(group));
    }
    pieces.push(Piece::Text(plain));
    Some(pieces)
}
