//! `echo` and `printf`; see XCU and, for `echo`, dash(1).

use super::{Flow, Shell, Stop};

impl Shell<'_, '_> {
    pub(super) fn echo(&mut self, arguments: &[String]) -> Flow {
        let (end, words) = match arguments.split_first() {
            Some((first, rest)) if first == "-n" => ("", rest),
            _ => ("\n", arguments),
        };
        let (text, goes_on) = escaped(&words.join(" "), true);
        self.write(1, &text)?;
        if goes_on {
            self.write(1, end)?;
        }
        Ok(0)
    }

    pub(super) fn printf(&mut self, arguments: &[String]) -> Flow {
        let arguments = match arguments {
            [first, rest @ ..] if first == "--" => rest,
            all => all,
        };
        let Some((format, mut values)) = arguments.split_first() else { return Ok(2) };
        loop {
            let before = values.len();
            let text = formatted(format, &mut values)?;
            self.write(1, &text)?;
            self.world.spend(1)?;
            if values.is_empty() || values.len() == before {
                return Ok(0);
            }
        }
    }
}

/// Replaces backslash escapes; the second says whether output goes on (`\c` ends it).
fn escaped(text: &str, octal_after_zero: bool) -> (String, bool) {
    let mut out = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let Some(letter) = rest.next() else {
            out.push('\\');
            break;
        };
        match letter {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'a' => out.push('\u{7}'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'v' => out.push('\u{b}'),
            '\\' => out.push('\\'),
            'c' => return (out, false),
            '0'..='7' if !octal_after_zero || letter == '0' => {
                let mut code = letter.to_digit(8).unwrap_or_default();
                let most = if octal_after_zero { 3 } else { 2 };
                for _ in 0..most {
                    let Some(digit) = rest.peek().and_then(|c| c.to_digit(8)) else { break };
                    code = code * 8 + digit;
                    rest.next();
                }
                out.push(char::from(u8::try_from(code & 0xff).unwrap_or_default()));
            }
            _ => out.extend(['\\', letter]),
        }
    }
    (out, true)
}

/// One round of a format over the values that are left.
fn formatted(format: &str, values: &mut &[String]) -> Result<String, Stop> {
    let mut out = String::new();
    let (format, _) = escaped(format, false);
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let unknown = || Stop::unknown(format!("printf {format:?}"));
        let (mut flags, mut width) = (String::new(), String::new());
        let sign = loop {
            match rest.next().ok_or_else(unknown)? {
                c @ ('-' | '0') if width.is_empty() => flags.push(c),
                c @ '0'..='9' => width.push(c),
                c => break c,
            }
        };
        if sign == '%' {
            out.push('%');
            continue;
        }
        let value = values.split_first().map_or("", |(value, rest)| {
            *values = rest;
            value
        });
        let text = match sign {
            's' => value.to_owned(),
            'b' => escaped(value, true).0,
            'c' => value.chars().take(1).collect(),
            'd' | 'i' | 'u' => number(value).ok_or_else(unknown)?.to_string(),
            'x' => format!("{:x}", number(value).ok_or_else(unknown)?),
            'o' => format!("{:o}", number(value).ok_or_else(unknown)?),
            _ => return Err(unknown()),
        };
        let width = width.parse().unwrap_or(0_usize).min(4096);
        out.push_str(&match flags.as_str() {
            "" => format!("{text:>width$}"),
            "0" => format!("{text:0>width$}"),
            _ => format!("{text:<width$}"),
        });
    }
    Ok(out)
}

fn number(value: &str) -> Option<i64> {
    if value.is_empty() { Some(0) } else { value.trim().parse().ok() }
}
