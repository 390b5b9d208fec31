//! Regular expressions of POSIX, basic and extended, as `grep` and `sed` read them; with GNU's `\+`,
//! `\?`, `\|`, `\b`, `\s`, `\w`.
//!
//! A matcher that tries one way after the other and is bounded: an expression that takes too long
//! is not understood. Of alternatives the first that fits wins, not the longest. See XBD chapter 9.

use std::cell::Cell;

use super::pattern::in_class;

/// A compiled expression.
#[derive(Debug, Clone)]
pub(super) struct Regex {
    tree: Vec<Vec<Node>>,
    groups: usize,
    ignore_case: bool,
    /// The steps of all matches so far.
    steps: Cell<usize>,
}

#[derive(Debug, Clone)]
enum Node {
    Any,
    One(char),
    Set { negated: bool, items: Vec<Item> },
    Start,
    End,
    Boundary,
    Back(usize),
    Group(usize, Vec<Vec<Self>>),
    Repeat { node: Box<Self>, least: usize, most: usize },
}

#[derive(Debug, Clone)]
enum Item {
    Range(char, char),
    Class(String),
}

/// Places of a match: the whole first, then the groups.
pub(super) type Places = Vec<Option<(usize, usize)>>;

/// All matches of one expression together take no more.
const MOST_STEPS: usize = 1_000_000;
const DEEPEST: usize = 30;
/// Matching goes this deep in one line: a repetition takes one level for each round.
const LONGEST_WAY: usize = 4000;

impl Regex {
    /// Reads an expression; `None` if it is broken or not understood.
    pub(super) fn new(text: &str, extended: bool, ignore_case: bool) -> Option<Self> {
        let text: Vec<char> = text.chars().collect();
        let mut reader = Reader { text: &text, at: 0, extended, groups: 0, depth: 0 };
        let tree = reader.alternatives()?;
        let (groups, steps) = (reader.groups, Cell::new(0));
        (reader.at == text.len()).then_some(Self { tree, groups, ignore_case, steps })
    }

    /// How much work its matches were.
    pub(super) fn steps(&self) -> usize {
        self.steps.get()
    }

    /// Finds the first match from a place on. `Err` when that takes too long.
    pub(super) fn find(&self, text: &[char], from: usize) -> Result<Option<Places>, ()> {
        let steps = self.steps.get();
        let mut run = Run { text, steps, depth: 0, ignore_case: self.ignore_case };
        for start in from..=text.len() {
            let mut places = vec![None; self.groups + 1];
            let end = run.alternatives(&self.tree, start, &mut places, &mut |_, at, _| Some(at));
            self.steps.set(run.steps);
            if run.steps > MOST_STEPS || run.depth > LONGEST_WAY {
                return Err(());
            }
            if let Some((end, mut places)) = end {
                if let Some(whole) = places.first_mut() {
                    *whole = Some((start, end));
                }
                return Ok(Some(places));
            }
        }
        Ok(None)
    }
}

struct Reader<'a> {
    text: &'a [char],
    at: usize,
    extended: bool,
    groups: usize,
    depth: usize,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    /// Takes a sign that is special with a backslash in basic expressions, without in extended ones.
    fn sign(&mut self, sign: char) -> bool {
        let found = match self.extended {
            true => self.peek(0) == Some(sign),
            false => self.peek(0) == Some('\\') && self.peek(1) == Some(sign),
        };
        if found {
            self.at += if self.extended { 1 } else { 2 };
        }
        found
    }

    fn is_sign(&mut self, sign: char) -> bool {
        let at = self.at;
        let found = self.sign(sign);
        self.at = at;
        found
    }

    fn alternatives(&mut self) -> Option<Vec<Vec<Node>>> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let mut all = vec![self.sequence()?];
        while self.sign('|') {
            all.push(self.sequence()?);
        }
        self.depth -= 1;
        Some(all)
    }

    fn sequence(&mut self) -> Option<Vec<Node>> {
        let mut nodes = Vec::new();
        while self.at < self.text.len() {
            if self.is_sign('|') || self.depth > 1 && self.is_sign(')') {
                break;
            }
            let first = nodes.is_empty();
            let node = self.atom(first)?;
            let node = self.repeated(node)?;
            nodes.push(node);
        }
        Some(nodes)
    }

    fn atom(&mut self, first: bool) -> Option<Node> {
        if self.sign('(') {
            self.groups += 1;
            let number = self.groups;
            let inner = self.alternatives()?;
            return self.sign(')').then_some(Node::Group(number, inner));
        }
        let c = self.peek(0)?;
        self.at += 1;
        let at_end = self.at == self.text.len() || self.is_sign('|') || self.is_sign(')');
        Some(match c {
            '.' => Node::Any,
            '[' => return self.set(),
            '^' if self.extended || first => Node::Start,
            '$' if self.extended || at_end => Node::End,
            '*' if first && !self.extended => Node::One('*'),
            '*' | '+' | '?' | '{' if self.extended => return None,
            '\\' => return self.escaped(),
            c => Node::One(c),
        })
    }

    fn escaped(&mut self) -> Option<Node> {
        let c = self.peek(0)?;
        self.at += 1;
        let class =
            |name: &str, negated| Node::Set { negated, items: vec![Item::Class(name.to_owned())] };
        Some(match c {
            'n' => Node::One('\n'),
            't' => Node::One('\t'),
            'b' => Node::Boundary,
            's' => class("space", false),
            'S' => class("space", true),
            'w' => class("word", false),
            'W' => class("word", true),
            '1'..='9' => Node::Back(usize::try_from(c.to_digit(10)?).ok()?),
            c if c.is_ascii_alphanumeric() => return None,
            c => Node::One(c),
        })
    }

    fn set(&mut self) -> Option<Node> {
        let negated = self.peek(0) == Some('^');
        self.at += usize::from(negated);
        let mut items = Vec::new();
        loop {
            let c = self.peek(0)?;
            if c == ']' && !items.is_empty() {
                self.at += 1;
                return Some(Node::Set { negated, items });
            }
            if c == '[' && self.peek(1) == Some(':') {
                let rest = self.text.get(self.at + 2..)?;
                let end = rest.iter().position(|c| *c == ':')?;
                items.push(Item::Class(rest.get(..end)?.iter().collect()));
                self.at += end + 4;
                continue;
            }
            let last = self.peek(2).filter(|last| self.peek(1) == Some('-') && *last != ']');
            items.push(Item::Range(c, last.unwrap_or(c)));
            self.at += if last.is_some() { 3 } else { 1 };
        }
    }

    fn repeated(&mut self, mut node: Node) -> Option<Node> {
        loop {
            let (least, most) = if self.peek(0) == Some('*') {
                self.at += 1;
                (0, usize::MAX)
            } else if self.sign('+') {
                (1, usize::MAX)
            } else if self.sign('?') {
                (0, 1)
            } else if self.sign('{') {
                self.bounds()?
            } else {
                return Some(node);
            };
            node = Node::Repeat { node: Box::new(node), least, most };
        }
    }

    fn bounds(&mut self) -> Option<(usize, usize)> {
        let rest = self.text.get(self.at..)?;
        let end = rest.iter().position(|c| *c == '}')?;
        let inner: String = rest.get(..end)?.iter().collect();
        self.at += end + 1;
        let inner = if self.extended { inner.as_str() } else { inner.strip_suffix('\\')? };
        let (least, most) = match inner.split_once(',') {
            None => (inner.parse().ok()?, inner.parse().ok()?),
            Some((least, "")) => (least.parse().ok()?, usize::MAX),
            Some((least, most)) => (least.parse().ok()?, most.parse().ok()?),
        };
        (least <= 255 && least <= most).then_some((least, most))
    }
}

/// What is tried after a part has matched: from a place on, with the groups so far.
type Next<'n> = &'n mut dyn FnMut(&mut Run<'_>, usize, &mut Places) -> Option<usize>;

struct Run<'t> {
    text: &'t [char],
    steps: usize,
    depth: usize,
    ignore_case: bool,
}

impl Run<'_> {
    fn alternatives(
        &mut self,
        all: &[Vec<Node>],
        at: usize,
        places: &mut Places,
        next: Next<'_>,
    ) -> Option<(usize, Places)> {
        for nodes in all {
            let mut tried = places.clone();
            self.steps += 1;
            if let Some(end) = self.sequence(nodes, at, &mut tried, next) {
                return Some((end, tried));
            }
        }
        None
    }

    fn sequence(
        &mut self,
        nodes: &[Node],
        at: usize,
        places: &mut Places,
        next: Next<'_>,
    ) -> Option<usize> {
        self.steps += 1;
        if self.steps > MOST_STEPS || self.depth > LONGEST_WAY {
            return None;
        }
        let Some((node, rest)) = nodes.split_first() else { return next(self, at, places) };
        self.depth += 1;
        let end = self
            .node(node, at, places, &mut |run, at, places| run.sequence(rest, at, places, next));
        if self.depth <= LONGEST_WAY {
            self.depth -= 1;
        }
        end
    }

    fn node(
        &mut self,
        node: &Node,
        at: usize,
        places: &mut Places,
        next: Next<'_>,
    ) -> Option<usize> {
        match node {
            Node::Start => {
                if at == 0 {
                    next(self, at, places)
                } else {
                    None
                }
            }
            Node::End => {
                if at == self.text.len() {
                    next(self, at, places)
                } else {
                    None
                }
            }
            Node::Boundary => {
                let is_word = |at: Option<usize>| {
                    at.and_then(|at| self.text.get(at)).is_some_and(|c| in_word(*c))
                };
                let edge = is_word(at.checked_sub(1)) != is_word(Some(at));
                if edge { next(self, at, places) } else { None }
            }
            Node::Back(number) => {
                let (from, to) = (*places.get(*number)?)?;
                let part = self.text.get(from..to)?.to_vec();
                let here = self.text.get(at..at + part.len())?;
                if here == part.as_slice() { next(self, at + part.len(), places) } else { None }
            }
            Node::Group(number, inner) => {
                let number = *number;
                let (end, new) =
                    self.alternatives(inner, at, places, &mut |run, end, places| {
                        let before = places.get(number).copied()?;
                        *places.get_mut(number)? = Some((at, end));
                        let result = next(run, end, places);
                        if result.is_none() {
                            *places.get_mut(number)? = before;
                        }
                        result
                    })?;
                *places = new;
                Some(end)
            }
            Node::Repeat { node, least, most } => {
                self.repeat((node, *least, *most), at, places, next)
            }
            one => match self.text.get(at) {
                Some(c) if self.fits(one, *c) => next(self, at + 1, places),
                _ => None,
            },
        }
    }

    fn repeat(
        &mut self,
        (node, least, most): (&Node, usize, usize),
        at: usize,
        places: &mut Places,
        next: Next<'_>,
    ) -> Option<usize> {
        if matches!(node, Node::Any | Node::One(_) | Node::Set { .. }) {
            // Single characters need no memory of how they were reached.
            let rest = self.text.get(at..)?;
            let count = rest.iter().take(most).take_while(|c| self.fits(node, **c)).count();
            return (least..=count).rev().find_map(|count| next(self, at + count, places));
        }
        self.steps += 1;
        self.depth += 1;
        if self.steps > MOST_STEPS || self.depth > LONGEST_WAY {
            return None;
        }
        let mut end = None;
        if most > 0 {
            end = self.node(node, at, places, &mut |run, here, places| {
                let left = (node, least.saturating_sub(1), most.saturating_sub(1));
                // A round that takes nothing would go on for ever.
                if here == at { None } else { run.repeat(left, here, places, next) }
            });
        }
        if end.is_none() && least == 0 {
            end = next(self, at, places);
        }
        if self.depth <= LONGEST_WAY {
            self.depth -= 1;
        }
        end
    }

    fn fits(&self, node: &Node, c: char) -> bool {
        let same = |a: char, b: char| a == b || self.ignore_case && a.eq_ignore_ascii_case(&b);
        match node {
            Node::Any => true,
            Node::One(one) => same(*one, c),
            Node::Set { negated, items } => {
                let inside = |c: char| {
                    items.iter().any(|item| match item {
                        Item::Range(first, last) => (*first..=*last).contains(&c),
                        Item::Class(name) if name == "word" => in_word(c),
                        Item::Class(name) => in_class(name, c),
                    })
                };
                let found = inside(c)
                    || self.ignore_case
                        && (inside(c.to_ascii_lowercase()) || inside(c.to_ascii_uppercase()));
                found != *negated
            }
            _ => false,
        }
    }
}

fn in_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
