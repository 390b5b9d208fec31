//! Words become text: parameters, substitutions, splitting, file names; see XCU 2.6.

use super::pattern::{self, Sign};
use super::syntax::{Change, Part, Word};
use super::{Shell, Stop, Variable};

/// Words in the making.
#[derive(Default)]
struct Fields {
    done: Vec<Vec<Sign>>,
    current: Option<Vec<Sign>>,
    /// A blank of a value ended the last field, so that one more sign of `IFS` belongs to it.
    after_blank: bool,
}

impl Fields {
    fn push(&mut self, text: &str, quoted: bool) {
        self.after_blank = false;
        let current = self.current.get_or_insert_default();
        current.extend(text.chars().map(|c| (c, quoted)));
    }

    /// The length of the field at hand.
    fn length(&self) -> usize {
        self.current.as_ref().map_or(0, Vec::len)
    }

    fn end(&mut self) {
        self.done.extend(self.current.take());
    }

    /// Adds a value, split at the signs of `IFS`.
    fn split(&mut self, value: &str, ifs: &str) {
        for c in value.chars() {
            if !ifs.contains(c) {
                self.after_blank = false;
                self.current.get_or_insert_default().push((c, false));
            } else if c.is_ascii_whitespace() {
                self.after_blank |= self.current.is_some();
                self.end();
            } else if self.after_blank && self.current.is_none() {
                self.after_blank = false;
            } else {
                self.current.get_or_insert_default();
                self.end();
            }
        }
    }
}

/// A word grows no longer, in bytes.
const LONGEST_WORD: usize = 1 << 20;

impl Shell<'_, '_> {
    /// All words of a command.
    pub(super) fn expand_all(&mut self, words: &[Word]) -> Result<Vec<String>, Stop> {
        let mut all = Vec::new();
        for word in words {
            let mut fields = Fields::default();
            self.parts(word, false, Some(&mut fields), &mut Vec::new())?;
            fields.end();
            for field in fields.done {
                self.file_names(&field, &mut all)?;
            }
        }
        Ok(all)
    }

    /// One word that is neither split nor a pattern.
    pub(super) fn expand_one(&mut self, word: &Word) -> Result<String, Stop> {
        Ok(self.expand_pattern(word)?.into_iter().map(|(c, _)| c).collect())
    }

    /// One word as a pattern.
    pub(super) fn expand_pattern(&mut self, word: &Word) -> Result<Vec<Sign>, Stop> {
        let mut signs = Vec::new();
        self.parts(word, false, None, &mut signs)?;
        Ok(signs)
    }

    /// What stands in double quotes, or in a here-document.
    pub(super) fn expand_quoted(&mut self, word: &Word) -> Result<String, Stop> {
        let mut signs = Vec::new();
        self.parts(word, true, None, &mut signs)?;
        Ok(signs.into_iter().map(|(c, _)| c).collect())
    }

    /// Expands into fields, or else into one text.
    fn parts(
        &mut self,
        word: &Word,
        quoted: bool,
        mut fields: Option<&mut Fields>,
        text: &mut Vec<Sign>,
    ) -> Result<(), Stop> {
        for (index, part) in word.iter().enumerate() {
            self.world.spend(1)?;
            let (value, is_value) = match part {
                Part::Plain(plain) => (self.without_tilde(plain, index == 0 && !quoted), false),
                Part::Literal(literal) => {
                    add(&mut fields, text, literal, true);
                    continue;
                }
                Part::Quoted(inner) => {
                    self.quoted_part(inner, &mut fields, text)?;
                    continue;
                }
                Part::Parameter { name, change } => {
                    if name == "@" && *change == Change::Plain && fields.is_some() {
                        self.all_parameters(quoted, &mut fields);
                        continue;
                    }
                    if let Change::Unset { kind: kind @ ('-' | '+'), or_empty, word } = change {
                        let value = self.parameter(name).filter(|v| !or_empty || !v.is_empty());
                        if value.is_some() == (*kind == '+') {
                            self.parts(word, quoted, fields.as_deref_mut(), text)?;
                            continue;
                        } else if *kind == '+' {
                            continue;
                        }
                    }
                    (self.changed(name, change)?, true)
                }
                Part::Output(list) => (self.output_of(list)?, true),
                Part::Arithmetic(inner) => {
                    let expression = self.expand_quoted(inner)?;
                    (self.arithmetic(&expression)?.to_string(), true)
                }
            };
            self.world.spend(value.len() / 64)?;
            let so_far = fields.as_ref().map_or(text.len(), |fields| fields.length());
            if so_far + value.len() > LONGEST_WORD {
                return Err(Stop::unknown("a word grows too long"));
            }
            match fields.as_deref_mut() {
                Some(fields) if is_value && !quoted => {
                    let ifs = self.parameter("IFS").unwrap_or_else(|| " \t\n".to_owned());
                    fields.split(&value, &ifs);
                }
                _ => add(&mut fields, text, &value, quoted),
            }
        }
        Ok(())
    }

    fn quoted_part(
        &mut self,
        inner: &Word,
        fields: &mut Option<&mut Fields>,
        text: &mut Vec<Sign>,
    ) -> Result<(), Stop> {
        let only_parameters = matches!(
            inner.as_slice(),
            [Part::Parameter { name, change: Change::Plain }] if name == "@"
        );
        if !(only_parameters && self.state.parameters.is_empty()) {
            add(fields, text, "", true);
        }
        self.parts(inner, true, fields.as_deref_mut(), text)
    }

    /// `$@`: each parameter a field of its own.
    fn all_parameters(&mut self, quoted: bool, fields: &mut Option<&mut Fields>) {
        let ifs = self.parameter("IFS").unwrap_or_else(|| " \t\n".to_owned());
        let Some(fields) = fields.as_deref_mut() else { return };
        for (index, value) in self.state.parameters.iter().enumerate() {
            if index > 0 {
                fields.end();
            }
            match quoted {
                true => fields.push(value, true),
                false => fields.split(value, &ifs),
            }
        }
    }

    fn without_tilde(&self, plain: &str, first: bool) -> String {
        match plain.strip_prefix('~') {
            Some(rest) if first && (rest.is_empty() || rest.starts_with('/')) => {
                self.parameter("HOME").unwrap_or_default() + rest
            }
            _ => plain.to_owned(),
        }
    }

    /// The value of a variable or special parameter.
    pub(in crate::configure) fn parameter(&self, name: &str) -> Option<String> {
        let state = &self.state;
        match name {
            "@" | "*" => {
                let ifs = state.variables.get("IFS").and_then(|ifs| ifs.value.as_deref());
                let between = match ifs {
                    Some(ifs) if name == "*" => ifs.chars().next().map(String::from),
                    _ => Some(" ".to_owned()),
                };
                Some(state.parameters.join(&between.unwrap_or_default()))
            }
            "#" => Some(state.parameters.len().to_string()),
            "?" => Some(state.status.to_string()),
            "$" | "!" => Some("1".to_owned()),
            "-" => Some(if state.errexit { "e".to_owned() } else { String::new() }),
            "0" => Some(state.name.clone()),
            _ => match name.parse::<usize>() {
                Ok(number) => state.parameters.get(number.checked_sub(1)?).cloned(),
                Err(_) => state.variables.get(name)?.value.clone(),
            },
        }
    }

    /// Sets a variable; one that is exported stays so.
    pub(in crate::configure) fn set(&mut self, name: &str, value: impl Into<String>) {
        let variable: &mut Variable = self.state.variables.entry(name.to_owned()).or_default();
        variable.value = Some(value.into());
    }

    /// Sets a variable that programs see, too.
    pub(in crate::configure) fn set_exported(&mut self, name: &str, value: &str) {
        let variable = Variable { value: Some(value.to_owned()), exported: true };
        self.state.variables.insert(name.to_owned(), variable);
    }

    /// The value of a parameter, with what is done to it.
    fn changed(&mut self, name: &str, change: &Change) -> Result<String, Stop> {
        let value = self.parameter(name);
        match change {
            Change::Plain => Ok(self.or_unset(name, value)?),
            Change::Length => {
                let value = self.or_unset(name, value)?;
                Ok(value.chars().count().to_string())
            }
            Change::Cut { at_end, longest, pattern } => {
                let value: Vec<char> = self.or_unset(name, value)?.chars().collect();
                let pattern = self.expand_pattern(pattern)?;
                self.world.spend(value.len().saturating_mul(pattern.len() + 1) / 16)?;
                Ok(cut(&value, &pattern, *at_end, *longest))
            }
            Change::Unset { kind, or_empty, word } => {
                if let Some(value) = value.filter(|value| !or_empty || !value.is_empty()) {
                    return Ok(value);
                }
                let word = self.expand_one(word)?;
                if *kind == '=' {
                    self.set(name, word.clone());
                    return Ok(word);
                }
                self.write(2, &format!("{}: {name}: {word}\n", self.state.name.clone()))?;
                Err(Stop::Exit(2))
            }
        }
    }

    fn or_unset(&mut self, name: &str, value: Option<String>) -> Result<String, Stop> {
        match value {
            None if self.state.nounset && !matches!(name, "@" | "*") => {
                self.write(2, &format!("{name}: parameter not set\n"))?;
                Err(Stop::Exit(2))
            }
            value => Ok(value.unwrap_or_default()),
        }
    }

    /// Replaces a pattern by the names of files that it matches, if there are any.
    fn file_names(&mut self, field: &[Sign], all: &mut Vec<String>) -> Result<(), Stop> {
        let text = |signs: &[Sign]| signs.iter().map(|(c, _)| *c).collect::<String>();
        let is_pattern = field.iter().any(|(c, quoted)| !quoted && "*?[".contains(*c));
        if !is_pattern || self.state.noglob {
            all.push(text(field));
            return Ok(());
        }
        let mut found = vec![String::new()];
        for (index, piece) in field.split(|(c, _)| *c == '/').enumerate() {
            let mut next = Vec::new();
            for start in found {
                let start = if index > 0 { start + "/" } else { start };
                if piece.iter().all(|(c, quoted)| *quoted || !"*?[".contains(*c)) {
                    next.push(start + &text(piece));
                    continue;
                }
                let folder = if start.is_empty() { "." } else { &start };
                let folder = self.world.resolve(&self.state.directory, folder, true);
                let names = folder.map(|folder| self.world.names(&folder)).unwrap_or_default();
                self.world.spend(names.len())?;
                let hidden = piece.first().is_some_and(|(c, _)| *c == '.');
                let fits = |name: &&String| {
                    let signs: Vec<char> = name.chars().collect();
                    (hidden || !name.starts_with('.')) && pattern::matches(piece, &signs)
                };
                next.extend(names.iter().filter(fits).map(|name| format!("{start}{name}")));
            }
            found = next;
        }
        let exists = |path: &String| {
            let place = self.world.resolve(&self.state.directory, path, false);
            place.is_ok_and(|place| self.world.tree.get(&place).is_some())
        };
        found.retain(exists);
        match found.is_empty() {
            true => all.push(text(field)),
            false => all.extend(found),
        }
        Ok(())
    }
}

fn add(fields: &mut Option<&mut Fields>, text: &mut Vec<Sign>, value: &str, quoted: bool) {
    match fields.as_deref_mut() {
        Some(fields) => fields.push(value, quoted),
        None => text.extend(value.chars().map(|c| (c, quoted))),
    }
}

/// Cuts what a pattern matches off one end.
fn cut(value: &[char], pattern: &[Sign], at_end: bool, longest: bool) -> String {
    let mut ends: Vec<usize> = (0..=value.len()).collect();
    if at_end != longest {
        ends.reverse();
    }
    for end in ends {
        let (head, tail) = value.split_at(end);
        let (cut, rest) = if at_end { (tail, head) } else { (head, tail) };
        if pattern::matches(pattern, cut) {
            return rest.iter().collect();
        }
    }
    value.iter().collect()
}
