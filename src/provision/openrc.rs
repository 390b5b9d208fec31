//! The files that start an agent under busybox's init and OpenRC, as Alpine has them.
//!
//! What is in the tree of a package's own stays, but for the table of busybox's init: it starts
//! programs on terminals that a guest does not have. Of OpenRC's services those are enabled that a
//! guest needs and the tree has. Formats: inittab of busybox, openrc-run(8).

use super::Error;
use super::editor::Editor;

/// Services that prepare the guest, with their runlevels, where the tree has them.
const PREPARING: [(&str, &str); 4] =
    [("sysinit", "devfs"), ("sysinit", "sysfs"), ("sysinit", "cgroups"), ("boot", "sysctl")];

/// Puts in what is missing.
pub(super) fn install(editor: &mut Editor<'_>, agent_name: &str) -> Result<(), Error> {
    editor.file("etc/inittab", 0o644, INITTAB)?;
    if !editor.exists("etc/init.d/kata-agent") {
        editor.file("etc/init.d/kata-agent", 0o755, &SERVICE.replace("AGENT", agent_name))?;
    }
    for (level, service) in PREPARING {
        if editor.exists(&format!("etc/init.d/{service}")) {
            enable(editor, level, service)?;
        }
    }
    enable(editor, "default", "kata-agent")
}

fn enable(editor: &mut Editor<'_>, level: &str, service: &str) -> Result<(), Error> {
    editor.directory(&format!("etc/runlevels/{level}"), 0o755)?;
    let link = format!("etc/runlevels/{level}/{service}");
    if editor.exists(&link) {
        return Ok(());
    }
    editor.symlink(&link, &format!("/etc/init.d/{service}"))
}

const INITTAB: &str = "\
# A guest has no terminals to log in on.
::sysinit:/sbin/openrc sysinit
::sysinit:/sbin/openrc boot
::wait:/sbin/openrc default
::ctrlaltdel:/sbin/reboot
::shutdown:/sbin/openrc shutdown
";

/// The machine has no purpose without its agent: it powers off when the agent ends. Output goes to
/// the console, where the runtime collects it.
const SERVICE: &str = r#"#!/sbin/openrc-run
description="Kata Containers agent"

start() {
	ebegin "Starting the Kata agent"
	(
		ulimit -n 1048576 2>/dev/null
		/usr/bin/AGENT </dev/null >/dev/console 2>&1
		sync
		poweroff -f
	) &
	eend 0
}

stop() {
	killall AGENT
}
"#;
