//! `grep` and its siblings, for fixed strings and for expressions; see XCU, `grep`.

use super::regex::Regex;
use super::text::inputs;
use super::{Call, Flow, Options, Shell, Stop};

/// What is looked for.
enum Needle {
    Fixed(String),
    Expression(Regex),
}

const SPEC: &str = "E extended-regexp|F fixed-strings|G basic-regexp|i ignore-case|v invert-match|q quiet|s no-messages|x line-regexp|c count|l files-with-matches|h no-filename|n line-number|o only-matching|e: regexp|z null-data|w word-regexp";

pub(super) fn grep(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let mut options = call.options(SPEC)?;
    let refused = ["only-matching", "line-number", "word-regexp"];
    if let Some(name) = refused.into_iter().find(|name| options.has(name)) {
        return Err(call.unknown(&format!("--{name}")));
    }
    let mut patterns = options.values("regexp").to_vec();
    if patterns.is_empty() && !options.operands.is_empty() {
        patterns.push(options.operands.remove(0));
    }
    let needles = needles(call, &options, &patterns)?;
    let all = inputs(shell, call, &options.operands);
    if options.has("no-messages") {
        call.err.clear();
    }
    let failed = all.len() < options.operands.len();
    let (several, end) = (all.len() > 1 && !options.has("no-filename"), ['\n', '\0']);
    let end = end[usize::from(options.has("null-data"))];
    let mut found = false;
    for (path, text) in all {
        let mut count = 0;
        shell.world.spend(text.len() / 8)?;
        for line in text.strip_suffix(end).unwrap_or(&text).split(end) {
            if text.is_empty()
                || matches(call, &needles, &options, line)? == options.has("invert-match")
            {
                continue;
            }
            count += 1;
            if !["quiet", "count", "files-with-matches"].iter().any(|name| options.has(name)) {
                let name = if several { format!("{path}:") } else { String::new() };
                call.out.push_str(&format!("{name}{line}\n"));
            }
        }
        found |= count > 0;
        if options.has("count") {
            call.out.push_str(&format!("{count}\n"));
        } else if options.has("files-with-matches") && count > 0 {
            call.out.push_str(&format!("{path}\n"));
        }
    }
    for needle in &needles {
        if let Needle::Expression(regex) = needle {
            shell.world.spend(regex.steps() / 16)?;
        }
    }
    Ok(if found {
        0
    } else if failed {
        2
    } else {
        1
    })
}

fn needles(call: &Call, options: &Options, patterns: &[String]) -> Result<Vec<Needle>, Stop> {
    let fixed = options.has("fixed-strings") || call.name == "fgrep";
    let extended = options.has("extended-regexp") || call.name == "egrep";
    let needle = |pattern: &str| {
        if fixed {
            return Ok(Needle::Fixed(pattern.to_owned()));
        }
        let regex = Regex::new(pattern, extended, options.has("ignore-case"));
        regex.map(Needle::Expression).ok_or_else(|| call.unknown(pattern))
    };
    patterns.iter().flat_map(|text| text.split('\n')).map(needle).collect()
}

fn matches(call: &Call, needles: &[Needle], options: &Options, line: &str) -> Result<bool, Stop> {
    let whole = options.has("line-regexp");
    let letters: Vec<char> = line.chars().collect();
    for needle in needles {
        let found = match needle {
            Needle::Fixed(text) if whole => line == text,
            Needle::Fixed(text) if options.has("ignore-case") => {
                line.to_ascii_lowercase().contains(&text.to_ascii_lowercase())
            }
            Needle::Fixed(text) => line.contains(text.as_str()),
            Needle::Expression(regex) => {
                let found = regex.find(&letters, 0).map_err(|()| call.unknown("takes too long"))?;
                let place = found.and_then(|places| places.first().copied().flatten());
                place.is_some_and(|place| !whole || place == (0, letters.len()))
            }
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}
