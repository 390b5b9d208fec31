//! What Debian's own tools do when maintainer scripts call them, done to the tree in memory.
//!
//! A handler stands in for a program that no script of the shell is: for `dpkg` and its like, for
//! debconf, for users and groups, for what systemd's tools do to a tree that is not running. Each
//! does what its program does in the forms that scripts use, and does not understand the others.
//! What is a script of the shell in the distribution (`dpkg-maintscript-helper`, `update-shells`)
//! has no handler: the shell runs it.

mod accounts;
mod acl;
mod adduser;
mod alternatives;
mod catalog;
mod debconf;
mod divert;
mod dpkg;
mod linker;
mod override_list;
mod pam;
mod path_order;
mod query;
mod startup;
mod sysusers;
#[cfg(test)]
mod tests;
mod tmpfiles;
mod ucf;
mod units;

use crate::configure::shell::{Call, Flow, Handler, Shell, find_command};
use crate::tree::{Content, Kind};

/// Finds a handler by the name of its program.
pub(super) fn find(name: &str) -> Option<Handler> {
    Some(match name {
        "dpkg" => dpkg::dpkg,
        "dpkg-trigger" => dpkg::trigger,
        "dpkg-realpath" => dpkg::realpath,
        "dpkg-query" => query::dpkg_query,
        "dpkg-divert" => divert::dpkg_divert,
        "dpkg-statoverride" => override_list::dpkg_statoverride,
        "update-alternatives" => alternatives::update_alternatives,
        "confmodule" => debconf::confmodule,
        "db_" => debconf::command,
        "deb-systemd-helper" => units::deb_systemd_helper,
        "systemctl" => units::systemctl,
        "systemd-sysusers" => sysusers::systemd_sysusers,
        "systemd-tmpfiles" => tmpfiles::systemd_tmpfiles,
        "update-rc.d" => startup::update_rc_d,
        "adduser" => adduser::adduser,
        "addgroup" | "groupadd" => adduser::groupadd,
        "getent" => accounts::getent,
        "pwconv" => accounts::pwconv,
        "grpconv" => accounts::grpconv,
        "ucf" => ucf::ucf,
        "ucfr" => ucf::ucfr,
        "pam-auth-update" => pam::pam_auth_update,
        "systemd-machine-id-setup" => machine_id,
        "chronyd" => chronyd,
        "perl" => perl,
        "ldconfig" | "ldconfig.real" => linker::ldconfig,
        "journalctl" => catalog::journalctl,
        "mountpoint" => no,
        // Nothing is running: nothing is started, stopped or asked.
        "invoke-rc.d" | "deb-systemd-invoke" | "ischroot" | "pwck" | "grpck" | "dbus-uuidgen"
        | "getcap" | "telinit" => yes,
        name => return find_command(name),
    })
}

fn yes(_: &mut Shell<'_, '_>, _: &mut Call) -> Flow {
    Ok(0)
}

fn no(_: &mut Shell<'_, '_>, _: &mut Call) -> Flow {
    Ok(1)
}

/// A machine that has no identity yet: the file is there, and is emptied when all scripts have run.
fn machine_id(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    call.options("- commit")?;
    if shell.file("/etc/machine-id", true).is_none()
        && let Ok(place) = shell.place("/etc/machine-id", true)
    {
        let made = shell.world.insert(&place, 0o444, Kind::Regular(Content::empty()));
        made.map_err(|fault| call.unknown(fault.text()))?;
    }
    Ok(0)
}

/// `chronyd -p` prints the directives of its configuration.
fn chronyd(shell: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    if call.arguments != ["-p"] {
        return Err(call.unknown(&call.arguments.join(" ")));
    }
    call.out = shell.world.text("/etc/chrony/chrony.conf").unwrap_or_default();
    Ok(0)
}

/// Whether there is a perl at all: the one program that everybody can run.
fn perl(_: &mut Shell<'_, '_>, call: &mut Call) -> Flow {
    match call.arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["-e", ""] => Ok(0),
        [first, ..] => Err(call.unknown(first)),
        [] => Err(call.unknown("")),
    }
}
