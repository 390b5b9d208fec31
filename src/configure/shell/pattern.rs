//! Patterns of file names and of `case`: `*`, `?`, `[…]`; see XCU 2.13.

/// One sign of a pattern, and whether it is quoted, so that it stands for itself.
pub(super) type Sign = (char, bool);

/// Whether a pattern matches a whole text.
pub(super) fn matches(pattern: &[Sign], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when a star has to take one more.
    let mut retry = None;
    loop {
        let here = text.get(t).copied();
        match (pattern.get(p), here) {
            (Some(('*', false)), _) => {
                retry = Some((p + 1, t));
                p += 1;
                continue;
            }
            (None, None) => return true,
            (Some(_), Some(c)) => {
                if let Some(next) = one(pattern, p, c) {
                    (p, t) = (next, t + 1);
                    continue;
                }
            }
            _ => {}
        }
        match retry {
            Some((star, taken)) if taken < text.len() => {
                retry = Some((star, taken + 1));
                (p, t) = (star, taken + 1);
            }
            _ => return false,
        }
    }
}

/// Matches one character; returns where the pattern goes on.
fn one(pattern: &[Sign], at: usize, c: char) -> Option<usize> {
    match *pattern.get(at)? {
        ('?', false) => Some(at + 1),
        ('[', false) => match bracket(pattern, at, c) {
            Some((end, true)) => Some(end),
            Some((_, false)) => None,
            // Without an end it is an ordinary sign.
            None => (c == '[').then_some(at + 1),
        },
        (sign, _) => (sign == c).then_some(at + 1),
    }
}

/// The end of a bracket expression, and whether it matches.
fn bracket(pattern: &[Sign], at: usize, c: char) -> Option<(usize, bool)> {
    let mut at = at + 1;
    let negated = matches!(pattern.get(at), Some(('!' | '^', false)));
    at += usize::from(negated);
    let (start, mut found) = (at, false);
    loop {
        let &(sign, quoted) = pattern.get(at)?;
        if sign == ']' && !quoted && at > start {
            return Some((at + 1, found != negated));
        }
        if sign == '[' && pattern.get(at + 1) == Some(&(':', false)) {
            let is_colon = |place: &usize| pattern.get(*place).is_some_and(|(c, _)| *c == ':');
            let end = (at + 2..pattern.len()).find(is_colon)?;
            let name: String = pattern.get(at + 2..end)?.iter().map(|(c, _)| *c).collect();
            found |= in_class(&name, c);
            at = end + 2;
            continue;
        }
        let range = pattern.get(at + 1).is_some_and(|&(c, quoted)| c == '-' && !quoted);
        match pattern.get(at + 2) {
            Some(&(last, quoted)) if range && (last != ']' || quoted) => {
                found |= (sign..=last).contains(&c);
                at += 3;
            }
            _ => {
                found |= sign == c;
                at += 1;
            }
        }
    }
}

/// Whether a character is of a class of POSIX: `alpha`, `digit`, …
pub(super) fn in_class(name: &str, c: char) -> bool {
    match name {
        "alpha" => c.is_ascii_alphabetic(),
        "digit" => c.is_ascii_digit(),
        "alnum" => c.is_ascii_alphanumeric(),
        "upper" => c.is_ascii_uppercase(),
        "lower" => c.is_ascii_lowercase(),
        "space" => c.is_ascii_whitespace() || c == '\u{b}',
        "blank" => matches!(c, ' ' | '\t'),
        "punct" => c.is_ascii_punctuation(),
        "xdigit" => c.is_ascii_hexdigit(),
        "print" => c.is_ascii_graphic() || c == ' ',
        "graph" => c.is_ascii_graphic(),
        "cntrl" => c.is_ascii_control(),
        _ => false,
    }
}
