//! Runs one maintainer script, with the environment that dpkg would give it.
//!
//! In: the package, which script, its arguments; out: nothing, or the error that a person can act
//! on: package, script, how it ended, its last lines. Every line goes to the listener as it comes.
//! The environment is that of dpkg(1) under a non-interactive installer, and nothing else.

use crate::configure::Error;
use crate::configure::lines::Script;
use crate::epoch::Epoch;
use crate::event::Listener;
use crate::package::deb::scripts::ScriptKind;
use crate::sandbox::{Command, Sandbox};
use crate::unpack::deb::Package;

/// What all scripts of a build have in common.
pub(super) struct Setting<'a> {
    pub(super) listener: Listener<'a>,
    pub(super) epoch: Epoch,
    /// The version of dpkg in the tree, which scripts may ask for.
    pub(super) dpkg_version: String,
}

impl Setting<'_> {
    /// Runs a script of a package, if it has that one.
    pub(super) fn run(
        &self,
        sandbox: &mut Sandbox,
        package: &Package,
        kind: ScriptKind,
        arguments: &[&str],
    ) -> Result<(), Error> {
        if !package.scripts.contains_key(&kind) {
            return Ok(());
        }
        let path = path(package, kind);
        let environment = self.environment(package, kind);
        let mut all = vec![path.as_bytes()];
        all.extend(arguments.iter().map(|argument| argument.as_bytes()));
        let environment = environment.iter().map(|variable| variable.as_bytes()).collect();
        let command = Command { arguments: all, environment, input: None };
        let script = Script { package: &package.name, name: kind.name() };
        script.run(sandbox, &command, self.listener)
    }

    pub(super) fn environment(&self, package: &Package, kind: ScriptKind) -> Vec<String> {
        let fixed = [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
            "TZ=UTC",
            "LC_ALL=C.UTF-8",
            "LANGUAGE=C.UTF-8",
            "LANG=C.UTF-8",
            "DEBIAN_FRONTEND=noninteractive",
            "DEBCONF_NONINTERACTIVE_SEEN=true",
            "DPKG_ADMINDIR=/var/lib/dpkg",
            "DPKG_ROOT=",
            "DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1",
            "DPKG_MAINTSCRIPT_DEBUG=0",
        ];
        let mut environment: Vec<_> = fixed.map(str::to_owned).into();
        environment.push(format!("SOURCE_DATE_EPOCH={}", self.epoch.seconds()));
        environment.push(format!("DPKG_RUNNING_VERSION={}", self.dpkg_version));
        environment.push(format!("DPKG_MAINTSCRIPT_PACKAGE={}", package.name));
        environment.push(format!("DPKG_MAINTSCRIPT_ARCH={}", package.architecture));
        environment.push(format!("DPKG_MAINTSCRIPT_NAME={}", kind.name()));
        environment
    }
}

/// Where a script lies. dpkg runs a `preinst` from where it unpacks, before the package is known.
pub(super) fn path(package: &Package, kind: ScriptKind) -> String {
    match kind {
        ScriptKind::Preinst => "/var/lib/dpkg/tmp.ci/preinst".to_owned(),
        _ => format!("/var/lib/dpkg/info/{}.{}", package.database_name, kind.name()),
    }
}
