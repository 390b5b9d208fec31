//! Tiny archives like those of Debian, Alpine and Azure Linux, made on the spot, from which a guest is
//! built in a moment.
//!
//! They are for tasks that build hundreds of times. One package brings a shell (busybox), one has a
//! script, a conffile, a trigger and hard links. All but Alpine's are unsigned; their recipes say
//! `insecure`, and the tasks are not about signatures.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;

use osbuilder::digest::Digest;
use osbuilder::store::directory;
use osbuilder_testkit::alpine::{self, Algorithm, Entry, Key, Package};

use crate::Outcome;
use crate::peer;

/// A folder with the archive, a recipe for it, and where builds put their things.
pub(crate) struct Small {
    /// Everything is below it.
    pub(crate) folder: PathBuf,
    /// Where the packages come from, and whose they are.
    pub(crate) sources: Vec<String>,
    /// What becomes the agent.
    pub(crate) agent: PathBuf,
}

/// What a build makes: a verb, the name of what it makes below `out/`, and options.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    verb: &'static str,
    name: &'static str,
    options: &'static [&'static str],
}

/// An image, for which the lock is made; an initrd and a directory, which follow it.
pub(crate) const FORMS: [Form; 3] = [
    Form { verb: "image", name: "guest.img", options: &[] },
    Form { verb: "initrd", name: "guest.initrd", options: &["--locked"] },
    Form { verb: "rootfs", name: "guest", options: &["--locked"] },
];

impl Form {
    /// The verb that makes it.
    pub(crate) const fn verb(&self) -> &'static str {
        self.verb
    }

    /// Whether it follows a lock that is there.
    pub(crate) fn is_locked(&self) -> bool {
        self.options.contains(&"--locked")
    }

    /// The build.
    pub(crate) fn command(&self, small: &Small) -> Command {
        let mut command = small.osbuilder(self.verb, "cache", &format!("out/{}", self.name));
        command.args(self.options);
        command
    }

    /// Where it goes.
    pub(crate) fn output(&self, small: &Small) -> PathBuf {
        small.folder.join("out").join(self.name)
    }

    /// The digest of all of it: of a directory everything that a tree knows.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn digest(&self, small: &Small) -> Result<Digest, Box<dyn std::error::Error>> {
        let output = self.output(small);
        if output.is_dir() {
            let (tree, _contents) = directory::read(&output, NonZeroUsize::MIN)?;
            return Ok(Digest::of(tree.to_listing().as_bytes()));
        }
        Ok(Digest::of_reader(fs_err::File::open(output)?)?.0)
    }

    /// Removes it, if it is there.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(crate) fn remove(&self, small: &Small) -> Outcome {
        let output = self.output(small);
        if output.is_dir() {
            return Ok(fs_err::remove_dir_all(output)?);
        }
        if output.exists() { Ok(fs_err::remove_file(output)?) } else { Ok(()) }
    }
}

/// What is built from Alpine's.
pub(crate) const ALPINE: &str = r#"
distribution = "alpine"
version = "3.19"
packages = ["small-service"]
"#;

/// What is built from Debian's.
pub(crate) const RECIPE: &str = r#"
distribution = "debian"
version = "bookworm"
packages = ["small-service"]
sources.release-only = true
sources.insecure = true
"#;

/// What is built from Azure Linux'.
pub(crate) const AZURE: &str = r#"
distribution = "azurelinux"
version = "2.0"
packages = ["small-service"]
sources.insecure = true
"#;

/// A shell, and a service with scripts, one of them for rpm's own Lua, and a file trigger.
const SPEC: &str = r#"
Name: small-service
Version: 1.0~rc1
Release: 2
Summary: Scripts, configuration, hard links and a trigger
License: Apache-2.0
Requires: small-base > 0.9
%description
A service.
%package -n small-base
Summary: A shell and little else
AutoReqProv: no
%description -n small-base
A shell.
%install
cd %{buildroot}
mkdir -p bin sbin etc dev proc sys run tmp usr/share/small var/lib
cp /bin/busybox bin/busybox
for name in sh mkdir chown echo cat; do ln -s busybox bin/$name; done
echo 'answer = 42' > etc/small.conf
for number in $(seq 0 39); do
    seq 0 $((number * 97)) > usr/share/small/$number
done
ln usr/share/small/7 usr/share/small/seven
%pretrans -p <lua>
posix.mkdir("/var")
%post
mkdir -p /var/lib/small
echo configured > /var/lib/small/state
chown 7:7 /var/lib/small/state
%post -p <lua> -n small-base
local f = io.open("/var/lib/told", "w")
f:write("told\n")
f:close()
%filetriggerin -- /usr/share/small
cat > /var/lib/watched
%files
%config(noreplace) /etc/small.conf
/usr/share/small
%files -n small-base
/bin/*
%dir /sbin
%dir /etc
%dir /dev
%dir /proc
%dir /sys
%dir /run
%dir /tmp
%dir /usr
%dir /var
%dir /var/lib
"#;

/// The package with the shell, of Debian's kind.
pub(crate) const BASE_CONTROL: &str = "\
Package: small-base
Version: 1.0
Architecture: amd64
Maintainer: Nobody <nobody@example.org>
Essential: yes
Priority: required
Description: a shell and little else
";

/// The package with all the rest.
pub(crate) const SERVICE_CONTROL: &str = "\
Package: small-service
Version: 2:1.0~rc1-1
Architecture: all
Maintainer: Nobody <nobody@example.org>
Depends: small-base (>= 0.9)
Description: a script, a conffile, hard links and a trigger
";

const POSTINST: &str = "\
#!/bin/sh
set -e
if [ \"$1\" = configure ]; then
    mkdir -p /var/lib/small
    echo configured > /var/lib/small/state
    chown 7:7 /var/lib/small/state
    i=0
    while [ $i -lt 20 ]; do echo $i > /var/lib/small/$i; i=$((i + 1)); done
fi
";

impl Small {
    /// Makes the archive below `folder`.
    ///
    /// # Errors
    /// When dpkg-deb or dpkg-scanpackages is missing or fails.
    pub(crate) fn make(folder: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let sources = vec![format!("--mirror=file://{}", folder.join("archive").display())];
        let small = Self { folder: folder.to_owned(), sources, agent: peer::probe() };
        small.base()?;
        small.service()?;
        write_index(&folder.join("archive"))?;
        fs_err::write(folder.join("recipe.toml"), RECIPE)?;
        Ok(small)
    }

    /// Makes an archive like Alpine's below `folder`.
    ///
    /// # Errors
    /// When the host has no busybox.
    pub(crate) fn make_alpine(folder: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let key = Key::trusted();
        let (medium, public) = (folder.join("medium"), folder.join(&key.name));
        let packages = [alpine_base()?, alpine_service()];
        let files = alpine::repository(".", &packages, &key, Algorithm::Sha1);
        osbuilder_testkit::repository::write(&files, &medium);
        fs_err::write(&public, key.public())?;
        fs_err::write(folder.join("recipe.toml"), ALPINE)?;
        let sources = vec![
            format!("--mirror=file://{}", medium.display()),
            format!("--key={}", public.display()),
        ];
        Ok(Self { folder: folder.to_owned(), sources, agent: peer::probe() })
    }

    /// Makes a repository like Azure Linux' below `folder`.
    ///
    /// # Errors
    /// When rpmbuild or createrepo_c is missing or fails.
    pub(crate) fn make_azure(folder: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let repository = folder.join("repository");
        let sources = vec![format!("--mirror=file://{}", repository.display())];
        let small = Self { folder: folder.to_owned(), sources, agent: peer::probe() };
        fs_err::create_dir_all(folder)?;
        small.build_rpms(SPEC, &repository, &[])?;
        fs_err::write(folder.join("recipe.toml"), AZURE)?;
        Ok(small)
    }

    /// Builds packages and the lists of their repository.
    ///
    /// # Errors
    /// When rpmbuild or createrepo_c is missing or fails.
    pub(crate) fn build_rpms(&self, spec: &str, repository: &Path, macros: &[String]) -> Outcome {
        let (file, build) = (self.folder.join("small.spec"), self.folder.join("build"));
        fs_err::write(&file, spec)?;
        let mut command = peer::start("rpmbuild");
        command.args(["-bb", "--quiet", "--define", "debug_package %{nil}"]);
        command.args(["--define", "_build_id_links none", "--define", "__os_install_post %{nil}"]);
        command.args(["--define", "source_date_epoch_from_changelog 0", "--define"]);
        command.arg(format!("_topdir {}", build.display())).arg("--define");
        command.arg(format!("_rpmdir {}", repository.display()));
        command.args(macros.iter().flat_map(|text| ["--define", text])).arg(file);
        peer::run(&mut command)?;
        peer::run(peer::start("createrepo_c").arg("--quiet").arg(repository))
    }

    /// The recipe with everything in it that is otherwise given as an option.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn recipe(&self) -> Result<String, Box<dyn std::error::Error>> {
        let recipe = fs_err::read_to_string(self.folder.join("recipe.toml"))?;
        let mirrors: Vec<&str> =
            self.sources.iter().filter_map(|option| option.strip_prefix("--mirror=")).collect();
        Ok(format!(
            "architecture = \"x86_64\"\ninit = \"agent\"\nsources.mirrors = {mirrors:?}\n{recipe}"
        ))
    }

    fn base(&self) -> Outcome {
        let tree = self.folder.join("base");
        for directory in
            ["bin", "sbin", "etc", "dev", "proc", "sys", "run", "tmp", "var/lib", "usr/bin"]
        {
            fs_err::create_dir_all(tree.join(directory))?;
        }
        fs_err::copy("/bin/busybox", tree.join("bin/busybox"))?;
        for name in ["sh", "mkdir", "chown", "echo"] {
            std::os::unix::fs::symlink("busybox", tree.join("bin").join(name))?;
        }
        std::os::unix::fs::symlink("../bin/busybox", tree.join("sbin/init"))?;
        self.pack(&tree, BASE_CONTROL, &[])
    }

    fn service(&self) -> Outcome {
        let tree = self.folder.join("service");
        fs_err::create_dir_all(tree.join("etc/small"))?;
        fs_err::create_dir_all(tree.join("usr/share/small"))?;
        fs_err::write(tree.join("etc/small/small.conf"), "answer = 42\n")?;
        for number in 0..40_usize {
            let content = format!("{number}\n").repeat(number * 97);
            fs_err::write(tree.join(format!("usr/share/small/{number}")), content)?;
        }
        fs_err::hard_link(tree.join("usr/share/small/7"), tree.join("usr/share/small/seven"))?;
        let conffiles = "/etc/small/small.conf\n";
        self.pack(&tree, SERVICE_CONTROL, &[("postinst", POSTINST), ("conffiles", conffiles)])
    }

    /// Packs a tree as a package into `archive/pool`.
    ///
    /// # Errors
    /// When dpkg-deb is missing or fails.
    pub(crate) fn pack(&self, tree: &Path, control: &str, more: &[(&str, &str)]) -> Outcome {
        use std::os::unix::fs::PermissionsExt;
        let meta = tree.join("DEBIAN");
        fs_err::create_dir_all(&meta)?;
        fs_err::write(meta.join("control"), control)?;
        for (name, text) in more {
            fs_err::write(meta.join(name), text)?;
            let mode = if *name == "conffiles" { 0o644 } else { 0o755 };
            fs_err::set_permissions(meta.join(name), PermissionsExt::from_mode(mode))?;
        }
        let pool = self.folder.join("archive/pool");
        fs_err::create_dir_all(&pool)?;
        let mut command = peer::start("dpkg-deb");
        command.args(["--root-owner-group", "-Zgzip", "--build"]).arg(tree).arg(&pool);
        peer::run(command.stdout(std::process::Stdio::null()))
    }

    /// `osbuilder VERB` with the recipe, the archive and a cache of this name, writing `output`.
    pub(crate) fn osbuilder(&self, verb: &str, cache: &str, output: &str) -> Command {
        let mut command = peer::start(peer::osbuilder());
        command.arg(verb).arg("--recipe").arg(self.folder.join("recipe.toml"));
        command.args(&self.sources).args(["--arch", "x86_64"]);
        command.arg("--agent").arg(&self.agent).args(["--init", "agent"]);
        command.arg("--cache").arg(self.folder.join(cache));
        command.arg("--output").arg(self.folder.join(output));
        command
    }
}

/// A shell and the places that every system has.
fn alpine_base() -> Result<Package, Box<dyn std::error::Error>> {
    let mut base = Package::empty("small-base", "1.0-r0");
    for directory in ["bin", "sbin", "etc", "dev", "proc", "sys", "run", "tmp", "var", "usr"] {
        base = base.with(Entry::directory(directory));
    }
    base = base.with(Entry::file("bin/busybox", 0o755, &fs_err::read("/bin/busybox")?));
    for name in ["sh", "mkdir", "chown", "echo"] {
        base = base.with(Entry::symlink(&format!("bin/{name}"), "busybox"));
    }
    Ok(base)
}

/// Scripts, many files, a directory that is watched.
fn alpine_service() -> Package {
    let script = "#!/bin/sh\nset -e\nmkdir -p /var/small\necho configured > /var/small/state\n\
                  chown 7:7 /var/small/state\n";
    let mut service = Package::new("small-service", "1.0_rc1-r2")
        .fields("depend = small-base>0.9\ntriggers = /usr/share/*\n")
        .script(".post-install", script)
        .script(".trigger", "#!/bin/sh\necho \"$@\" > /var/small/watched\n")
        .with(Entry::directory("etc"))
        .with(Entry::file("etc/small.conf", 0o644, b"answer = 42\n"));
    for number in 0..40_usize {
        let content = format!("{number}\n").repeat(number * 97);
        let path = format!("usr/share/small-service/file-{number}");
        service = service.with(Entry::file(&path, 0o644, content.as_bytes()));
    }
    service
}

/// Writes index and release file of an archive whose packages are in `pool/`, for bookworm and
/// x86_64. Nothing is signed.
///
/// # Errors
/// When dpkg-scanpackages is missing or fails.
pub(crate) fn write_index(archive: &Path) -> Outcome {
    let script = "set -e
        mkdir -p dists/bookworm/main/binary-amd64
        dpkg-scanpackages --multiversion pool > dists/bookworm/main/binary-amd64/Packages 2>/dev/null
        cd dists/bookworm
        set -- $(sha256sum main/binary-amd64/Packages)
        {
            echo 'Origin: Debian'; echo 'Label: Debian'
            echo 'Suite: oldstable'; echo 'Codename: bookworm'
            echo 'Date: Sat, 01 Nov 2025 00:00:00 UTC'
            echo 'Architectures: all amd64'; echo 'Components: main'
            echo 'SHA256:'
            echo \" $1 $(stat -c %s main/binary-amd64/Packages) main/binary-amd64/Packages\"
        } > Release";
    peer::run(peer::start("sh").args(["-c", script]).current_dir(archive))
}
