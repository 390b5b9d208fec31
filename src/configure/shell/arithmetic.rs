//! `$(( … ))`: the arithmetic of C on 64-bit numbers that wrap; see XCU 2.6.4.

use super::{Shell, Stop};

/// An expression that is being computed.
struct Reader<'a> {
    text: &'a str,
    depth: usize,
}

/// Operators of two operands, each line binding tighter than the one before.
const LEVELS: [&[&str]; 8] = [
    &["||"],
    &["&&"],
    &["|", "^"],
    &["&"],
    &["==", "!="],
    &["<=", ">=", "<<", ">>", "<", ">"],
    &["+", "-"],
    &["*", "/", "%"],
];
const DEEPEST: usize = 50;

impl Shell<'_, '_> {
    /// Computes an expression whose expansions are done.
    pub(super) fn arithmetic(&mut self, text: &str) -> Result<i64, Stop> {
        let mut reader = Reader { text: text.trim(), depth: 0 };
        if reader.text.is_empty() {
            return Ok(0);
        }
        let value = reader.level(self, 0);
        value
            .filter(|_| reader.text.is_empty())
            .ok_or_else(|| Stop::unknown(format!("the arithmetic of {text:?}")))
    }
}

impl Reader<'_> {
    fn level(&mut self, shell: &Shell<'_, '_>, level: usize) -> Option<i64> {
        let Some(signs) = LEVELS.get(level) else { return self.unary(shell) };
        let mut left = self.level(shell, level + 1)?;
        loop {
            self.text = self.text.trim_start();
            let Some(sign) = signs.iter().find(|sign| self.has(sign)) else { return Some(left) };
            self.text = self.text.get(sign.len()..)?;
            left = combine(sign, left, self.level(shell, level + 1)?)?;
        }
    }

    /// Whether a sign comes next, and no longer one that begins like it.
    fn has(&self, sign: &str) -> bool {
        let Some(rest) = self.text.strip_prefix(sign) else { return false };
        match sign {
            "|" => !rest.starts_with('|'),
            "&" => !rest.starts_with('&'),
            "<" | ">" => !rest.starts_with(['<', '>', '=']),
            _ => true,
        }
    }

    fn unary(&mut self, shell: &Shell<'_, '_>) -> Option<i64> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        self.text = self.text.trim_start();
        let value = self.operand(shell);
        self.depth -= 1;
        value
    }

    fn operand(&mut self, shell: &Shell<'_, '_>) -> Option<i64> {
        let first = self.text.chars().next()?;
        if "+-!~(".contains(first) {
            self.text = self.text.get(1..)?;
            if first == '(' {
                let value = self.level(shell, 0)?;
                self.text = self.text.trim_start().strip_prefix(')')?;
                return Some(value);
            }
            let value = self.unary(shell)?;
            return Some(match first {
                '-' => value.wrapping_neg(),
                '!' => i64::from(value == 0),
                '~' => !value,
                _ => value,
            });
        }
        let end = self.text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (word, rest) = self.text.split_at(end.unwrap_or(self.text.len()));
        self.text = rest;
        if word.is_empty()
            || rest.trim_start().starts_with('=') && !rest.trim_start().starts_with("==")
        {
            return None;
        }
        if first.is_ascii_digit() {
            return number(word);
        }
        match shell.parameter(word) {
            Some(value) if !value.trim().is_empty() => number(value.trim()),
            _ => Some(0),
        }
    }
}

fn number(word: &str) -> Option<i64> {
    match word.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None if word.len() > 1 && word.starts_with('0') => i64::from_str_radix(word, 8).ok(),
        None => word.parse().ok(),
    }
}

fn combine(sign: &str, left: i64, right: i64) -> Option<i64> {
    Some(match sign {
        "||" => i64::from(left != 0 || right != 0),
        "&&" => i64::from(left != 0 && right != 0),
        "|" => left | right,
        "^" => left ^ right,
        "&" => left & right,
        "==" => i64::from(left == right),
        "!=" => i64::from(left != right),
        "<=" => i64::from(left <= right),
        ">=" => i64::from(left >= right),
        "<" => i64::from(left < right),
        ">" => i64::from(left > right),
        "<<" => left.wrapping_shl(u32::try_from(right).ok()?),
        ">>" => left.wrapping_shr(u32::try_from(right).ok()?),
        "+" => left.wrapping_add(right),
        "-" => left.wrapping_sub(right),
        "*" => left.wrapping_mul(right),
        "/" => left.checked_div(right)?,
        _ => left.checked_rem(right)?,
    })
}
