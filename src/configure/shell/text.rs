//! Commands that read text and print some of it; and facts about a system that is nobody's.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};

use super::{Call, Flow, Shell, Stop, bytes_of, text_of};

/// The text of files, or of the input where there are none, or for `-`.
pub(super) fn inputs(
    shell: &mut Shell<'_, '_>,
    call: &mut Call,
    paths: &[String],
) -> Vec<(String, String)> {
    let mut all = Vec::new();
    if paths.is_empty() {
        all.push((String::from("-"), shell.read_all()));
    }
    for path in paths {
        let text = match path.as_str() {
            "-" => Some(shell.read_all()),
            "/dev/null" => Some(String::new()),
            path => {
                let place = shell.place(path, true).ok();
                place.and_then(|place| shell.world.read(&place).ok()).map(|bytes| text_of(&bytes))
            }
        };
        match text {
            Some(text) => all.push((path.clone(), text)),
            None => drop(call.fail(&format!("{path}: No such file or directory"))),
        }
    }
    all
}

/// 1 if something could not be read.
fn status(call: &Call) -> i32 {
    i32::from(!call.err.is_empty())
}

pub(super) fn cat(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("u u")?;
    for (_, text) in inputs(shell, call, &options.operands) {
        call.out.push_str(&text);
    }
    Ok(status(call))
}

pub(super) fn cut(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("d: delimiter|f: fields|c: characters|b: bytes|s only-delimited")?;
    let delimiter = options.value("delimiter").unwrap_or("\t").to_owned();
    let letters = options.value("characters").or_else(|| options.value("bytes"));
    let list = options.value("fields").or(letters).unwrap_or_default();
    let ranges = ranges(list).ok_or_else(|| call.unknown(list))?;
    let wanted = |place: usize| ranges.iter().any(|(from, to)| (*from..=*to).contains(&place));
    for (_, text) in inputs(shell, call, &options.operands) {
        for line in text.lines() {
            if letters.is_some() {
                let chosen = (1..).zip(line.chars()).filter(|(place, _)| wanted(*place));
                call.out.extend(chosen.map(|(_, c)| c));
            } else if !line.contains(&delimiter) {
                if options.has("only-delimited") {
                    continue;
                }
                call.out.push_str(line);
            } else {
                let chosen = (1..).zip(line.split(&delimiter)).filter(|(place, _)| wanted(*place));
                let fields: Vec<&str> = chosen.map(|(_, field)| field).collect();
                call.out.push_str(&fields.join(&delimiter));
            }
            call.out.push('\n');
        }
    }
    Ok(status(call))
}

/// `1,3-5,7-`
fn ranges(list: &str) -> Option<Vec<(usize, usize)>> {
    let range = |text: &str| {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str, default| match text {
            "" => Some(default),
            text => text.parse().ok(),
        };
        Some((number(from, 1)?, number(to, usize::MAX)?))
    };
    list.split(',').map(range).collect()
}

pub(super) fn tr(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("d delete|s squeeze-repeats|c complement")?;
    let mut sets = Vec::new();
    for text in &options.operands {
        sets.push(set(text).ok_or_else(|| call.unknown(text))?);
    }
    let (Some(first), second) = (sets.first(), sets.get(1)) else { return Ok(1) };
    let among = |c: char| first.contains(&c) != options.has("complement");
    let mut last = None;
    let text = shell.read_all();
    for c in text.chars() {
        let mut new = c;
        if among(c) {
            if options.has("delete") {
                continue;
            }
            if let Some(second) = second.filter(|second| !second.is_empty()) {
                let place = first.iter().position(|other| *other == c).unwrap_or(usize::MAX);
                new = second.get(place).or(second.last()).copied().unwrap_or(c);
            }
        }
        let squeezed = second.unwrap_or(first).contains(&new);
        if options.has("squeeze-repeats") && squeezed && last == Some(new) {
            continue;
        }
        last = Some(new);
        call.out.push(new);
    }
    Ok(0)
}

/// The characters of a set of `tr`, in order.
fn set(text: &str) -> Option<Vec<char>> {
    let classes = text.replace("[:upper:]", "A-Z").replace("[:lower:]", "a-z");
    let classes = classes.replace("[:digit:]", "0-9").replace("[:space:]", " \t\n\r\u{b}\u{c}");
    if classes.contains("[:") || classes.contains("[=") {
        return None;
    }
    let mut all = Vec::new();
    let mut rest = classes.chars().peekable();
    while let Some(mut c) = rest.next() {
        if c == '\\' {
            c = match rest.next()? {
                'n' => '\n',
                't' => '\t',
                '\\' => '\\',
                '0' => '\0',
                c if c.is_ascii_punctuation() => c,
                _ => return None,
            };
        }
        if rest.peek() == Some(&'-') {
            rest.next();
            match rest.next() {
                Some(last) if last >= c => all.extend(c..=last),
                Some(_) => return None,
                None => all.extend([c, '-']),
            }
        } else {
            all.push(c);
        }
    }
    Some(all)
}

/// How many lines: `-5`, `-n 5`.
fn line_count(call: &mut Call) -> Result<(usize, Vec<String>), Stop> {
    if let Some(first) = call.arguments.first_mut()
        && let Some(digits) = first.strip_prefix('-')
        && digits.parse::<usize>().is_ok()
    {
        *first = format!("-n{digits}");
    }
    let options = call.options("n: lines|q quiet")?;
    let text = options.value("lines").unwrap_or("10");
    let count = text.parse().map_err(|_| call.unknown(text))?;
    Ok((count, options.operands))
}

pub(super) fn head(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let (count, paths) = line_count(call)?;
    for (_, text) in inputs(shell, call, &paths) {
        call.out.extend(text.split_inclusive('\n').take(count));
    }
    Ok(status(call))
}

pub(super) fn tail(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let (count, paths) = line_count(call)?;
    for (_, text) in inputs(shell, call, &paths) {
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        call.out.extend(lines.iter().skip(lines.len().saturating_sub(count)).copied());
    }
    Ok(status(call))
}

pub(super) fn sort(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("u unique|r reverse")?;
    let all = inputs(shell, call, &options.operands);
    let mut lines: Vec<&str> = all.iter().flat_map(|(_, text)| text.lines()).collect();
    lines.sort_unstable();
    if options.has("unique") {
        lines.dedup();
    }
    if options.has("reverse") {
        lines.reverse();
    }
    lines.iter().for_each(|line| call.out.extend([line, "\n"]));
    Ok(status(call))
}

pub(super) fn uniq(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("u unsupported")?;
    if options.has("unsupported") || options.operands.len() > 1 {
        return Err(call.unknown("-u"));
    }
    let all = inputs(shell, call, &options.operands);
    let mut lines: Vec<&str> = all.iter().flat_map(|(_, text)| text.lines()).collect();
    lines.dedup();
    lines.iter().for_each(|line| call.out.extend([line, "\n"]));
    Ok(status(call))
}

pub(super) fn wc(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("l lines|c bytes|w words")?;
    for (path, text) in inputs(shell, call, &options.operands) {
        let number = if options.has("lines") {
            text.matches('\n').count()
        } else if options.has("bytes") {
            text.chars().count()
        } else if options.has("words") {
            text.split_whitespace().count()
        } else {
            return Err(call.unknown("without an option"));
        };
        let name = if path == "-" { String::new() } else { format!(" {path}") };
        let _ = writeln!(call.out, "{number}{name}");
    }
    Ok(status(call))
}

pub(super) fn seq(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let numbers: Vec<i64> = call.arguments.iter().filter_map(|text| text.parse().ok()).collect();
    let (first, step, last) = match numbers.as_slice() {
        [last] => (1, 1, *last),
        [first, last] => (*first, 1, *last),
        [first, step, last] if *step != 0 => (*first, *step, *last),
        _ => return Err(call.unknown(&call.arguments.join(" "))),
    };
    let mut number = first;
    while if step > 0 { number <= last } else { number >= last } {
        shell.world.spend(1)?;
        let _ = writeln!(call.out, "{number}");
        number = number.saturating_add(step);
    }
    Ok(0)
}

pub(super) fn cmp(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("s quiet|- silent")?;
    let all = inputs(shell, call, &options.operands);
    match all.as_slice() {
        [(_, one), (_, other)] if one == other => Ok(0),
        [_, _] => Ok(1),
        _ => Ok(2),
    }
}

pub(super) fn md5sum(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("b binary|t text")?;
    for (path, text) in inputs(shell, call, &options.operands) {
        let _ = writeln!(call.out, "{}  {path}", md5_of(&bytes_of(&text)));
    }
    Ok(status(call))
}

/// A digest of MD5 in hexadecimal.
pub(super) fn md5_of(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in Md5::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The kernel that runs builds is nobody's: a name, and a version that no script finds too old.
pub(super) fn uname(_: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("s kernel-name|r kernel-release")?;
    call.out = if options.has("kernel-release") { "6.1.0\n" } else { "Linux\n" }.to_owned();
    Ok(0)
}

/// The epoch's date, whatever form is asked for: what a script prints for people.
pub(super) fn date(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("d: date|u utc|R rfc-email")?;
    match options.operands.first().map(String::as_str) {
        None => call.out = format!("@{}\n", shell.world.epoch.seconds()),
        Some("+%s") => call.out = format!("{}\n", shell.world.epoch.seconds()),
        Some(format) => return Err(call.unknown(format)),
    }
    Ok(0)
}

/// Runs a command with variables of its own.
pub(super) fn env(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let is_variable = |text: &&String| text.contains('=') && !text.starts_with('-');
    let count = call.arguments.iter().take_while(is_variable).count();
    let arguments = call.arguments.split_off(count);
    let Some((name, rest)) = arguments.split_first().filter(|(name, _)| !name.starts_with('-'))
    else {
        return Err(call.unknown(arguments.first().map_or("", String::as_str)));
    };
    let assignments: Vec<String> = call.arguments.iter().map(|text| quoted(text)).collect();
    let words: Vec<String> = rest.iter().map(|text| quoted(text)).collect();
    shell.text(&format!("export {}; {name} {}", assignments.join(" "), words.join(" ")))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Root is who runs scripts.
pub(super) fn id(_: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("u user|g group|n name")?;
    if !options.operands.is_empty() || !(options.has("user") || options.has("group")) {
        return Err(call.unknown(&call.arguments.join(" ")));
    }
    call.out = if options.has("name") { "root\n" } else { "0\n" }.to_owned();
    Ok(0)
}
