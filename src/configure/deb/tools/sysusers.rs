//! `systemd-sysusers`: users and groups from declarations; see sysusers.d(5).

use super::accounts::{self, GROUP, GSHADOW, PASSWD, SHADOW};
use crate::configure::shell::{Call, Fault, Flow, Shell, Stop};
use crate::sysusers::{Circumstances, Lists};

/// Where declarations lie, the most important first.
pub(super) const FOLDERS: [&str; 3] = ["/etc", "/usr/local/lib", "/usr/lib"];

pub(super) fn systemd_sysusers(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    let options = call.options("-: root|- dry-run")?;
    if options.operands.is_empty() || !options.values("root").iter().all(|root| root == "/") {
        return Err(call.unknown("for all declarations"));
    }
    let mut text = String::new();
    for name in &options.operands {
        text.push_str(&declarations(shell, "sysusers.d", name).unwrap_or_default());
        text.push('\n');
    }
    let mut list = |path| shell.world.text(path).unwrap_or_default();
    let (passwd, group) = (list(PASSWD), list(GROUP));
    let old = Lists { passwd, group, shadow: list(SHADOW), gshadow: list(GSHADOW) };
    let mut new = old.clone();
    let circumstances = Circumstances { day: accounts::today(shell), owner: None };
    let declared = new.declare(text.lines(), circumstances);
    declared.map_err(|unknown| call.unknown(&unknown.to_string()))?;
    let failed = |fault: Fault| -> Stop { Stop::unknown(format!("sysusers: {}", fault.text())) };
    let lists = [
        (GROUP, old.group, new.group),
        (GSHADOW, old.gshadow, new.gshadow),
        (PASSWD, old.passwd, new.passwd),
        (SHADOW, old.shadow, new.shadow),
    ];
    for (list, old, new) in lists {
        if old != new {
            accounts::replace(shell, list, &new).map_err(failed)?;
        }
    }
    Ok(0)
}

/// The text of a file with declarations.
pub(super) fn declarations(shell: &mut Shell<'_, '_>, kind: &str, name: &str) -> Option<String> {
    FOLDERS.iter().find_map(|folder| shell.world.text(&format!("{folder}/{kind}/{name}")))
}
