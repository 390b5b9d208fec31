//! `dpkg`, `dpkg-trigger` and `dpkg-realpath`, as far as scripts use them; see their manual pages.

use std::cmp::Ordering;

use super::query;
use crate::configure::shell::{Call, Flow, Shell};
use crate::package::deb::version::Version;

pub(super) fn dpkg(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let arguments = call.arguments.clone();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--compare-versions", "--", left, sign, right]
        | ["--compare-versions", left, sign, right] => {
            let holds = compare(left, sign, right);
            let holds = holds.ok_or_else(|| call.unknown(&words.join(" ")))?;
            Ok(i32::from(!holds))
        }
        ["--print-architecture"] => {
            call.out = shell.world.text("/var/lib/dpkg/arch").unwrap_or_default();
            Ok(0)
        }
        ["--validate-version", "--", version] | ["--validate-version", version] => {
            Ok(i32::from(Version::parse(version).is_err()))
        }
        ["-s" | "--status", name] => query::status(shell, call, name),
        _ => Err(call.unknown(&words.join(" "))),
    }
}

/// Whether a relation holds; an empty version is earlier than any, or with `-nl` later.
fn compare(left: &str, sign: &str, right: &str) -> Option<bool> {
    let (sign, empty_is_later) = match sign.strip_suffix("-nl") {
        Some(sign) => (sign, true),
        None => (sign, false),
    };
    let order = match (left.is_empty(), right.is_empty()) {
        (true, true) => Ordering::Equal,
        (true, false) if empty_is_later => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, true) if empty_is_later => Ordering::Less,
        (false, true) => Ordering::Greater,
        _ => Version::parse(left).ok()?.cmp(&Version::parse(right).ok()?),
    };
    Some(match sign {
        "lt" | "<<" => order.is_lt(),
        "le" | "<=" | "<" => order.is_le(),
        "eq" | "=" => order.is_eq(),
        "ne" => order.is_ne(),
        "ge" | ">=" | ">" => order.is_ge(),
        "gt" | ">>" => order.is_gt(),
        _ => return None,
    })
}

/// Notes that a trigger is wanted; whoever runs scripts reads the note.
pub(super) fn trigger(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("- no-await|- await|- check-supported|- by-package")?;
    const NOTES: &str = "/var/lib/dpkg/triggers/Unincorp";
    let mut text = shell.world.text(NOTES).unwrap_or_default();
    options.operands.iter().for_each(|name| text.push_str(&format!("{name} -\n")));
    shell.world.put(NOTES, 0o644, &text).map_err(|fault| call.unknown(fault.text()))?;
    Ok(0)
}

pub(super) fn realpath(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("- zero|- root|- instdir")?;
    let path = options.operands.last().cloned().unwrap_or_default();
    match shell.place(&path, true) {
        Ok(place) => {
            call.out = format!("/{}\n", crate::configure::shell::text_of(place.as_bytes()));
            Ok(0)
        }
        Err(fault) => Ok(call.fail(fault.text())),
    }
}

#[cfg(test)]
mod tests {
    use super::compare;

    #[test]
    fn versions_compare_as_dpkg_does_also_empty_ones() {
        for (left, sign, right, holds) in [
            ("1.0", "lt", "1.0-1", true),
            ("1.0~rc1", "lt", "1.0", true),
            ("", "lt", "0", true),
            ("", "lt-nl", "0", false),
            ("", "le-nl", "5", false),
            ("2", "ge-nl", "", false),
            ("1:0", "gt", "9", true),
            ("1", "eq", "1", true),
        ] {
            assert_eq!(compare(left, sign, right), Some(holds), "{left} {sign} {right}");
        }
        assert_eq!(compare("1", "like", "1"), None);
    }
}
