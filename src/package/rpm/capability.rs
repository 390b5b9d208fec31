//! Capabilities of files: from the text in a header to the attribute that the kernel reads.
//!
//! In: a text such as `cap_net_admin,cap_net_raw=p` or `= cap_net_raw+ep`; out: the bytes of the
//! attribute `security.capability`, version 2. Specification: cap_from_text(3), and
//! `linux/capability.h` for the numbers.

/// The kernel's names, in the order of their numbers.
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// Why a text does not name capabilities.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} does not name capabilities")]
pub struct BadCapabilities(String);

/// The three sets, as bits.
#[derive(Debug, Clone, Copy, Default)]
struct Sets {
    effective: u64,
    inheritable: u64,
    permitted: u64,
}

/// The attribute's value.
///
/// # Errors
/// [`BadCapabilities`]
pub fn attribute(text: &str) -> Result<Vec<u8>, BadCapabilities> {
    const REVISION_2: u32 = 0x0200_0000;
    let bad = || BadCapabilities(text.chars().take(80).collect());
    let mut sets = Sets::default();
    for clause in text.split_ascii_whitespace() {
        apply(&mut sets, clause).ok_or_else(bad)?;
    }
    let flag = u32::from(sets.effective != 0);
    let mut bytes = (REVISION_2 | flag).to_le_bytes().to_vec();
    for shift in [0, 32] {
        for set in [sets.permitted, sets.inheritable] {
            let half = u32::try_from(set >> shift & u64::from(u32::MAX)).unwrap_or(0);
            bytes.extend(half.to_le_bytes());
        }
    }
    Ok(bytes)
}

/// Names, and then operators with sets: `cap_chown,cap_kill=ep`, `all+i`, `=`.
fn apply(sets: &mut Sets, clause: &str) -> Option<()> {
    let end = clause.find(['=', '+', '-'])?;
    let (names, mut rest) = clause.split_at(end);
    let all = (1_u64 << NAMES.len()).checked_sub(1)?;
    let mut bits = if names.is_empty() || names == "all" { all } else { 0 };
    for name in names.split(',').filter(|name| !name.is_empty() && *name != "all") {
        let name = name.strip_prefix("cap_")?;
        let number = NAMES.iter().position(|known| *known == name)?;
        bits |= 1_u64.checked_shl(u32::try_from(number).ok()?)?;
    }
    while let Some(operator) = rest.chars().next() {
        rest = rest.get(1..)?;
        let end = rest.find(['=', '+', '-']).unwrap_or(rest.len());
        let (flags, next) = rest.split_at(end);
        rest = next;
        let flagged = |flag: char| if flags.contains(flag) { bits } else { 0 };
        if !flags.chars().all(|flag| "eip".contains(flag)) {
            return None;
        }
        let places = [&mut sets.effective, &mut sets.inheritable, &mut sets.permitted];
        for (set, flag) in places.into_iter().zip("eip".chars()) {
            match operator {
                '=' => *set = *set & !bits | flagged(flag),
                '+' => *set |= flagged(flag),
                '-' => *set &= !flagged(flag),
                _ => return None,
            }
        }
    }
    Some(())
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may end with a panic")]
mod tests {
    use super::*;

    #[test]
    fn texts_of_old_and_new_packages_become_what_setcap_writes() {
        let expected = |flag: u8, permitted: u32| {
            let mut bytes = vec![flag, 0, 0, 2];
            bytes.extend(permitted.to_le_bytes());
            bytes.extend([0; 12]);
            bytes
        };
        for text in ["cap_net_raw=ep", "= cap_net_raw+ep", "cap_net_raw+p cap_net_raw+e"] {
            assert_eq!(attribute(text).unwrap(), expected(1, 1 << 13), "{text}");
        }
        let two = attribute("cap_net_admin,cap_net_raw=p").unwrap();
        assert_eq!(two, expected(0, 1 << 12 | 1 << 13));
        assert_eq!(attribute("cap_bpf=p").unwrap()[12..16], (1_u32 << 7).to_le_bytes());
        for bad in ["cap_fly=ep", "net_raw=p", "cap_net_raw", "cap_net_raw=x", "é="] {
            assert!(attribute(bad).is_err(), "{bad}");
        }
    }
}
