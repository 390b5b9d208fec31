//! rpm's macros, as far as a script that installs can mean them: those that it defines itself, and the
//! directories of every system.
//!
//! In: a text with `%name`, `%{name}`, `%{?name:text}`, `%{!?name:text}` and `%%`; out: the text with
//! their values. What is not defined stays as it is, as under rpm; nothing is run. Specification:
//! rpm-macros(7).

use std::collections::BTreeMap;

/// Directories, which are the same for all processors that guests are built for.
const DIRECTORIES: [(&str, &str); 22] = [
    ("_prefix", "/usr"),
    ("_exec_prefix", "%{_prefix}"),
    ("_bindir", "%{_exec_prefix}/bin"),
    ("_sbindir", "%{_exec_prefix}/sbin"),
    ("_libexecdir", "%{_exec_prefix}/libexec"),
    ("_lib", "lib64"),
    ("_libdir", "%{_exec_prefix}/%{_lib}"),
    ("_datarootdir", "%{_prefix}/share"),
    ("_datadir", "%{_datarootdir}"),
    ("_includedir", "%{_prefix}/include"),
    ("_infodir", "%{_datarootdir}/info"),
    ("_mandir", "%{_datarootdir}/man"),
    ("_docdir", "%{_datadir}/doc"),
    ("_sysconfdir", "/etc"),
    ("_localstatedir", "/var"),
    ("_sharedstatedir", "/var/lib"),
    ("_rundir", "/run"),
    ("_var", "/var"),
    ("_usr", "/usr"),
    ("_unitdir", "/usr/lib/systemd/system"),
    ("_dbpath", "%{_var}/lib/rpm"),
    ("_tmppath", "%{_var}/tmp"),
];

/// Macros that stand in each other are expanded so often.
const DEEPEST: usize = 32;
/// The longest text that is made, in bytes.
const LONGEST: usize = 1 << 20;

/// Macros by their names; of several definitions the last counts.
#[derive(Debug, Clone)]
pub(super) struct Macros(BTreeMap<String, Vec<String>>);

impl Default for Macros {
    fn default() -> Self {
        let known = DIRECTORIES.map(|(name, text)| (name.to_owned(), vec![text.to_owned()]));
        Self(known.into())
    }
}

impl Macros {
    /// Defines one, as `name text`; false, if that is no definition.
    pub(super) fn define(&mut self, definition: &str) -> bool {
        let definition = definition.trim_start();
        let end = definition.find(|c: char| !is_of_name(c)).unwrap_or(definition.len());
        let (name, text) = definition.split_at(end);
        let is_name = name.len() > 2 && !name.starts_with(|c: char| c.is_ascii_digit());
        if is_name && text.starts_with(char::is_whitespace) {
            self.0.entry(name.to_owned()).or_default().push(text.trim().to_owned());
            return true;
        }
        false
    }

    /// Takes the last definition of a name away.
    pub(super) fn undefine(&mut self, name: &str) {
        if let Some(texts) = self.0.get_mut(name) {
            texts.pop();
        }
    }

    /// The text of a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.last().map(String::as_str)
    }

    /// A text with the values of all macros; none, if they never end.
    pub(super) fn expand(&self, text: &str) -> Option<String> {
        self.expand_in(text, 0)
    }

    fn expand_in(&self, text: &str, depth: usize) -> Option<String> {
        if depth > DEEPEST {
            return None;
        }
        let (mut all, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once('%') {
            all.push_str(before);
            let (taken, value) = self.first(after, depth)?;
            all.push_str(&value);
            rest = after.get(taken..).unwrap_or_default();
            if all.len() > LONGEST {
                return None;
            }
        }
        all.push_str(rest);
        Some(all)
    }

    /// The value of what stands behind a percent sign, and how many bytes of it.
    fn first(&self, after: &str, depth: usize) -> Option<(usize, String)> {
        if after.starts_with('%') {
            return Some((1, "%".to_owned()));
        }
        if let Some(inner) = after.strip_prefix('{').and_then(braced) {
            let taken = inner.len().saturating_add(2);
            let literal = after.get(..taken).map(|text| format!("%{text}")).unwrap_or_default();
            return Some((taken, self.in_braces(inner, depth)?.unwrap_or(literal)));
        }
        let end = after.find(|c: char| !is_of_name(c)).unwrap_or(after.len());
        let name = after.get(..end).unwrap_or_default();
        match self.get(name) {
            Some(text) => Some((end, self.expand_in(text, depth.saturating_add(1))?)),
            None => Some((end, format!("%{name}"))),
        }
    }

    /// The value of what stands in braces: none inside, if there is nothing to be put in its place.
    fn in_braces(&self, inner: &str, depth: usize) -> Option<Option<String>> {
        let deeper = depth.saturating_add(1);
        let end = inner.find(|c| c != '?' && c != '!').unwrap_or(inner.len());
        let (signs, rest) = inner.split_at(end);
        let (name, alternative) = match rest.split_once(':') {
            Some((name, alternative)) => (name, Some(alternative)),
            None => (rest, None),
        };
        let found = self.get(name);
        if !signs.contains('?') {
            return match found {
                Some(text) => self.expand_in(text, deeper).map(Some),
                None => Some(None),
            };
        }
        let is_meant = found.is_some() != signs.contains('!');
        let text = match (is_meant, alternative) {
            (false, _) => "",
            (true, Some(alternative)) => alternative,
            (true, None) => found.unwrap_or_default(),
        };
        self.expand_in(text, deeper).map(Some)
    }
}

const fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// What stands before the brace that closes.
fn braced(text: &str) -> Option<&str> {
    let mut open: usize = 1;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open = open.saturating_add(1),
            '}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open == 0 {
            return text.get(..at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_are_expanded_and_what_is_unknown_stays() {
        let mut macros = Macros::default();
        assert!(macros.define("greeting hello %{whom}") && macros.define("whom world"));
        assert!(!macros.define("x y") && !macros.define("lonely") && !macros.define("1ab c"));
        for (text, expected) in [
            ("%{greeting}!", "hello world!"),
            ("%greeting!", "hello world!"),
            ("100%% %{nosuch} %nosuch", "100% %{nosuch} %nosuch"),
            ("%{?whom}%{?nosuch}%{!?nosuch:none}%{?whom:{%whom}}", "worldnone{world}"),
            ("%{_libdir}", "/usr/lib64"),
            ("%{open", "%{open"),
            ("%", "%"),
        ] {
            assert_eq!(macros.expand(text).as_deref(), Some(expected), "{text}");
        }
        macros.undefine("whom");
        assert_eq!(macros.expand("%{whom}").as_deref(), Some("%{whom}"));
    }

    #[test]
    fn macros_that_never_end_are_refused() {
        let mut macros = Macros::default();
        assert!(macros.define("again %{again}"));
        assert_eq!(macros.expand("%{again}"), None);
        assert!(macros.define("big0 xxxxxxxxxxxxxxxx"));
        for number in 0..20 {
            assert!(macros.define(&format!(
                "big{} {}",
                number + 1,
                "%{bigN}".replace('N', &number.to_string()).repeat(16)
            )));
        }
        assert_eq!(macros.expand("%{big20}"), None);
    }
}
