//! The guest's clock: chrony follows the host's through `/dev/ptp0`, and nothing else.
//!
//! Syntax of the configuration: chrony.conf(5); of the unit: systemd.service(5), systemd.exec(5).
//! A tree without chrony is left alone.

use super::Error;
use super::editor::Editor;

/// Where distributions keep the configuration: Debian and Ubuntu, all others.
const CONFIGURATIONS: [&str; 2] = ["etc/chrony/chrony.conf", "etc/chrony.conf"];

/// Debian's name of the unit, and everybody else's.
const UNITS: [&str; 2] =
    ["lib/systemd/system/chrony.service", "usr/lib/systemd/system/chronyd.service"];

/// The host's clock as the hypervisor passes it on, read every 2^3 seconds; and an offset of more
/// than a second is stepped over at any time: a guest may have slept for hours.
const SETTINGS: [&str; 2] = ["refclock PHC /dev/ptp0 poll 3 dpoll -2 offset 0", "makestep 1 -1"];

/// Servers on a network that the guest may not have.
const SERVERS: [&str; 3] = ["server ", "pool ", "peer "];

/// Prepares chrony, if it is installed.
pub(super) fn set_up(editor: &mut Editor<'_>) -> Result<(), Error> {
    if !editor.exists("usr/sbin/chronyd") {
        return Ok(());
    }
    let present = CONFIGURATIONS.into_iter().find(|path| editor.exists(path));
    match present {
        Some(path) => editor.edit(path, configuration)?,
        None => {
            let debian = editor.exists("etc/chrony");
            let path = if debian { CONFIGURATIONS[0] } else { CONFIGURATIONS[1] };
            editor.file(path, 0o644, &configuration(""))?;
        }
    }
    UNITS.iter().try_for_each(|path| editor.edit(path, unit))
}

fn configuration(old: &str) -> String {
    let mut new = String::with_capacity(old.len() + 200);
    for line in old.lines() {
        if SERVERS.iter().any(|server| line.starts_with(server)) {
            new.push('#');
        }
        new.push_str(line);
        new.push('\n');
    }
    for setting in SETTINGS {
        if !old.lines().any(|line| line == setting) {
            new.push_str(setting);
            new.push('\n');
        }
    }
    new
}

fn unit(old: &str) -> String {
    const CONDITION: &str = "ConditionPathExists=/dev/ptp0";
    let conditioned = old.lines().any(|line| line == CONDITION);
    let mut new = String::with_capacity(old.len() + 100);
    for line in old.lines() {
        let disabled = line.starts_with("StateDirectory=") || line.starts_with("LogsDirectory=");
        if disabled {
            new.push('#');
        }
        match line.split_once('=') {
            Some(("ExecStart", command)) => {
                new.push_str("ExecStart=");
                new.push_str(&without_user(command));
            }
            Some(("ReadWritePaths", paths)) => {
                let optional =
                    |path| if path == "/var/lib/chrony" { "-/var/lib/chrony" } else { path };
                let paths: Vec<_> = paths.split(' ').map(optional).collect();
                new.push_str("ReadWritePaths=");
                new.push_str(&paths.join(" "));
            }
            _ => new.push_str(line),
        }
        new.push('\n');
        if line == "[Unit]" && !conditioned {
            new.push_str(CONDITION);
            new.push('\n');
        }
    }
    new
}

/// The command without `-u USER`.
fn without_user(command: &str) -> String {
    let mut words = Vec::new();
    let mut all = command.split(' ');
    while let Some(word) = all.next() {
        if word == "-u" {
            all.next();
        } else {
            words.push(word);
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_become_comments_and_the_host_s_clock_is_added_once() {
        let old = "# pool x\npool 2.debian.pool.ntp.org iburst\nserver a\npeer b\nrtcsync";
        let new = "# pool x\n#pool 2.debian.pool.ntp.org iburst\n#server a\n#peer b\nrtcsync\n\
                   refclock PHC /dev/ptp0 poll 3 dpoll -2 offset 0\nmakestep 1 -1\n";
        assert_eq!(configuration(old), new);
        assert_eq!(configuration(new), new);
    }

    #[test]
    fn the_unit_waits_for_the_device_and_needs_nothing_writable_in_var() {
        let old = "[Unit]\nDescription=chrony\n[Service]\n\
                   ExecStart=!/usr/sbin/chronyd -u _chrony -F 1\n\
                   ReadWritePaths=/run /var/lib/chrony -/var/log\n\
                   StateDirectory=chrony\nLogsDirectory=chrony\nRuntimeDirectory=chrony\n";
        let new = "[Unit]\nConditionPathExists=/dev/ptp0\nDescription=chrony\n[Service]\n\
                   ExecStart=!/usr/sbin/chronyd -F 1\n\
                   ReadWritePaths=/run -/var/lib/chrony -/var/log\n\
                   #StateDirectory=chrony\n#LogsDirectory=chrony\nRuntimeDirectory=chrony\n";
        assert_eq!(unit(old), new);
        assert_eq!(unit(new), new);
    }
}
