//! Files of debconf's templates; see debconf-devel(7), "THE TEMPLATES FILE".
//!
//! In: the text of a file, one `char` for each byte; out: each template's fields, of which a long
//! text is `extended_…`, with its lines joined to paragraphs as debconf does it.

use std::collections::BTreeMap;

/// A template: its fields by name, in lower case.
pub(super) type Template = BTreeMap<String, String>;

/// What a pattern of perl takes for a blank in bytes.
pub(super) const fn is_blank(sign: char) -> bool {
    matches!(sign, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

/// Reads a file; nothing if debconf would not.
pub(super) fn parse(text: &str) -> Option<Vec<Template>> {
    let mut all = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (stanza, tail) = rest.split_once("\n\n").unwrap_or((rest, ""));
        rest = tail;
        let template = template(stanza.trim_matches('\n'))?;
        if !["template", "type"].iter().all(|field| template.contains_key(*field)) {
            return None;
        }
        all.push(template);
    }
    Some(all)
}

fn template(stanza: &str) -> Option<Template> {
    let mut template = Template::new();
    let (mut field, mut value, mut extended) = (String::new(), String::new(), String::new());
    for line in stanza.split('\n') {
        if let Some((name, text)) = head(line) {
            save(&mut template, &field, &value, &extended)?;
            field = name.to_ascii_lowercase();
            text.trim_end_matches(is_blank).clone_into(&mut value);
            extended.clear();
            continue;
        }
        let line = line.strip_prefix(is_blank)?;
        let text = line.trim_end_matches(is_blank);
        let is_open = !extended.is_empty() && !extended.ends_with(['\n', ' ']);
        if line == "." {
            extended.push_str("\n\n");
        } else if line.starts_with(is_blank) {
            if is_open {
                extended.push('\n');
            }
            extended.push_str(text);
            extended.push('\n');
        } else {
            if is_open {
                extended.push(' ');
            }
            extended.push_str(text);
        }
    }
    save(&mut template, &field, &value, &extended)?;
    Some(template)
}

/// `Field: text`
fn head(line: &str) -> Option<(&str, &str)> {
    let (name, text) = line.split_once(':')?;
    let is_sign = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '@' | '.');
    if !name.chars().all(is_sign) {
        return None;
    }
    Some((name, text.strip_prefix(is_blank).unwrap_or(text)))
}

fn save(template: &mut Template, field: &str, value: &str, extended: &str) -> Option<()> {
    if field.is_empty() {
        return Some(());
    }
    let extended = extended.trim_end_matches('\n');
    if template.insert(field.to_owned(), value.to_owned()).is_some() {
        return None;
    }
    if !extended.is_empty() {
        template.insert(format!("extended_{field}"), extended.to_owned());
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_paragraphs_and_indented_ones_stay_lines() {
        let text = "Template: a/b\nType: note\nDescription: Short \n One\n two.\n .\n  - first\n  - second\n\
            \x20Last.\nDescription-pt_BR.UTF-8: Curta\n\n\nTemplate: c\nType: text\n";
        let all = parse(text).unwrap();
        let expected = [
            ("description", "Short"),
            ("description-pt_br.utf-8", "Curta"),
            ("extended_description", "One two.\n\n - first\n - second\nLast."),
            ("template", "a/b"),
            ("type", "note"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(all.first(), Some(&Template::from(expected)));
        assert_eq!(all.len(), 2);
        for broken in
            ["Template: a\n", "Template: a\nType: b\nType: c\n", "Template: a\nType: b\nx y\n"]
        {
            assert_eq!(parse(broken), None, "{broken}");
        }
    }
}
