//! A tiny distribution on the loopback interface, and the program that builds guests from it.
//!
//! One essential package brings a shell (busybox, which is static), one has a script and a few
//! files. Everything is signed, with a key that the program is told of.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use osbuilder_testkit::key::Key;
use osbuilder_testkit::repository::{Files, Package, Repository};
use osbuilder_testkit::server::{Reply, Request, Server, answer};

use crate::judge;

/// When the archive was made: 2023-11-14.
pub(crate) const NOW: u32 = 1_700_000_000;
const BUSYBOX: &str = "/bin/busybox";
const RECIPE: &str = "distribution = \"debian\"\nversion = \"bookworm\"\n\
                      packages = [\"tiny-service\"]\nsources.release-only = true\n";

/// The archive with a script, in some version. `None`, having said so, where the host lacks
/// busybox.
pub(crate) fn repository(version: &str, postinst: &str) -> Option<Repository> {
    let Ok(busybox) = fs_err::read(BUSYBOX) else {
        judge::skip("busybox-static is not installed");
        return None;
    };
    let mut base = Package::new("tiny-base", "1");
    base.fields = "Essential: yes\nPriority: required\n".to_owned();
    for directory in ["dev", "proc", "run", "tmp", "etc"] {
        base.files.push((format!("{directory}/.tiny"), 0o644, Vec::new()));
    }
    for program in ["usr/bin/busybox", "usr/sbin/init"] {
        base.files.push((program.to_owned(), 0o755, busybox.clone()));
    }
    let mut service = Package::new("tiny-service", version);
    service.fields = "Depends: tiny-base\n".to_owned();
    // Enough that no stage is over before a signal comes.
    for number in 0..20_u8 {
        let path = format!("usr/share/tiny/{number}");
        service.files.push((path, 0o644, [&[number], busybox.as_slice()].concat()));
    }
    let script = format!("#!/usr/bin/busybox sh\n{postinst}\n");
    service.scripts.push(("postinst".to_owned(), script.into_bytes()));
    Some(Repository::new("bookworm", NOW).with(base).with(service))
}

/// A folder with all that a build needs, and a server.
pub(crate) struct Tiny {
    folder: tempfile::TempDir,
    /// The mirror.
    pub(crate) server: Server,
}

impl Tiny {
    /// A mirror of this archive, which answers as `reply` says.
    pub(crate) fn new(
        (repository, key): (&Repository, &Key),
        reply: impl Fn(&Request, &Files) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let files = repository.files(key);
        let server = Server::start(move |request| reply(request, &files));
        let folder = tempfile::tempdir().unwrap();
        for name in ["out", "tmp", "home"] {
            fs_err::create_dir(folder.path().join(name)).unwrap();
        }
        fs_err::write(folder.path().join("recipe.toml"), RECIPE).unwrap();
        fs_err::write(folder.path().join("key.pgp"), key.certificate()).unwrap();
        fs_err::copy(BUSYBOX, folder.path().join("agent")).unwrap();
        Self { folder, server }
    }

    /// A mirror that does its work.
    pub(crate) fn of(repository: &Repository) -> Self {
        Self::new((repository, &Key::default()), |request, files| answer(files, request))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `osbuilder VERB`, writing `out/guest`, without anything of the caller's environment.
    pub(crate) fn osbuilder(&self, verb: &str) -> Command {
        let mut command = self.bare();
        command.arg(verb).arg("--recipe").arg(self.path("recipe.toml"));
        command.args(["--mirror", &self.server.url(), "--arch", "x86_64", "--init", "agent"]);
        command.arg("--key").arg(self.path("key.pgp")).arg("--agent").arg(self.path("agent"));
        command.arg("--output").arg(self.path("out/guest"));
        command
    }

    /// The program in its own folder, with nothing of the caller's environment.
    #[expect(clippy::disallowed_methods, reason = "the program is what is tested")]
    pub(crate) fn bare(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_osbuilder"));
        command.current_dir(self.folder.path()).env_clear();
        command.env("HOME", self.path("home")).env("TMPDIR", self.path("tmp"));
        command.arg("--json").arg("--cache").arg(self.path("cache"));
        command
    }

    /// Builds without any disturbance.
    #[track_caller]
    pub(crate) fn build(&self, verb: &str) -> Output {
        let output = self.osbuilder(verb).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        output
    }

    /// What lies in a folder, by name.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        names(&self.path(folder))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs_err::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
