//! The least archives of each family from which a guest can be built, for a task that builds tens of
//! thousands of times.
//!
//! Two packages: a shell, which is a program of less than two hundred bytes, and a file of each kind
//! with one script. That shell reads no script. It makes `/var/small`, gives it to somebody else, asks
//! nobody whether that went well, and ends without an error: whatever goes wrong while it is started
//! and while its calls are answered is seen in the tree alone, if osbuilder does not say it. It makes
//! none of the calls that the task lets fail.

use std::path::Path;

use osbuilder_testkit::alpine::{self, Algorithm, Entry, Key, Package};

use crate::Outcome;
use crate::small::{self, Small, write_index};

/// What recipes of this archive say besides: the smallest image.
const SMALL_IMAGE: &str = "image.alignment-mib = 2\n";

const SPEC: &str = "\
Name: small-service
Version: 1.0
Release: 1
Summary: A script and a file of each kind
License: Apache-2.0
Requires: small-base
AutoReqProv: no
%description
A service.
%package -n small-base
Summary: A shell
AutoReqProv: no
%description -n small-base
A shell.
%install
cp -a %{laid_out}/. %{buildroot}
%post
true
%files
/etc/small.conf
/usr/share/small
%files -n small-base
/bin/sh
%dir /bin
%dir /sbin
%dir /etc
%dir /dev
%dir /proc
%dir /sys
%dir /run
%dir /tmp
%dir /usr
%dir /var
";

const POSTINST: &str = "\
#!/bin/sh
set -e
read line < /etc/small.conf
echo \"$line\" > /var/small
";

/// What every system has.
const PLACES: [&str; 9] = ["bin", "sbin", "etc", "dev", "proc", "sys", "run", "tmp", "var"];
/// Where files of each kind are.
const SHARE: &str = "usr/share/small";

/// Makes Debian's kind of archive below `folder`, whose scripts osbuilder's own handlers run.
///
/// # Errors
/// When dpkg-deb or dpkg-scanpackages is missing or fails.
pub(crate) fn debian(folder: &Path) -> Result<Small, Box<dyn std::error::Error>> {
    let archive = folder.join("archive");
    let small = make(folder, small::RECIPE, &[format!("--mirror=file://{}", archive.display())])?;
    let (base, service) = (folder.join("base"), folder.join("service"));
    lay_out_base(&base)?;
    fs_err::create_dir_all(base.join("usr/bin"))?;
    lay_out_service(&service)?;
    small.pack(&base, small::BASE_CONTROL, &[])?;
    let more = [("postinst", POSTINST), ("conffiles", "/etc/small.conf\n")];
    small.pack(&service, small::SERVICE_CONTROL, &more)?;
    write_index(&archive)?;
    Ok(small)
}

/// Makes Alpine's kind of archive below `folder`.
///
/// # Errors
/// Those of the disk.
pub(crate) fn alpine(folder: &Path) -> Result<Small, Box<dyn std::error::Error>> {
    let key = Key::trusted();
    let (medium, public) = (folder.join("medium"), folder.join(&key.name));
    let sources =
        [format!("--mirror=file://{}", medium.display()), format!("--key={}", public.display())];
    let small = make(folder, small::ALPINE, &sources)?;
    let directories = PLACES.into_iter().map(Entry::directory);
    let base = directories.fold(Package::empty("small-base", "1.0-r0"), Package::with);
    let base = base.with(Entry::directory("usr")).with(Entry::file("bin/sh", 0o755, &shell()));
    let mut service = Package::empty("small-service", "1.0-r0").fields("depend = small-base\n");
    for directory in ["etc", "usr", "usr/share", SHARE] {
        service = service.with(Entry::directory(directory));
    }
    let service = service
        .with(Entry::file("etc/small.conf", 0o644, b"answer = 42\n"))
        .with(Entry::file(&format!("{SHARE}/large"), 0o644, large().as_bytes()))
        .with(Entry::hard_link(&format!("{SHARE}/link"), &format!("{SHARE}/large")))
        .with(Entry::symlink(&format!("{SHARE}/symlink"), "large"))
        .script(".post-install", "#!/bin/sh\n");
    let files = alpine::repository(".", &[base, service], &key, Algorithm::Sha1);
    osbuilder_testkit::repository::write(&files, &medium);
    fs_err::write(public, key.public())?;
    Ok(small)
}

/// Makes Azure Linux' kind of repository below `folder`. Its script is one after whose failure rpm
/// would go on.
///
/// # Errors
/// When rpmbuild or createrepo_c is missing or fails.
pub(crate) fn azure(folder: &Path) -> Result<Small, Box<dyn std::error::Error>> {
    let repository = folder.join("repository");
    let small = make(folder, small::AZURE, &[format!("--mirror=file://{}", repository.display())])?;
    let files = folder.join("files");
    lay_out_base(&files)?;
    lay_out_service(&files)?;
    small.build_rpms(SPEC, &repository, &[format!("laid_out {}", files.display())])?;
    Ok(small)
}

fn make(folder: &Path, recipe: &str, sources: &[String]) -> Result<Small, std::io::Error> {
    use std::os::unix::fs::PermissionsExt;
    fs_err::create_dir_all(folder)?;
    fs_err::write(folder.join("recipe.toml"), format!("{recipe}{SMALL_IMAGE}"))?;
    // What the agent does is nothing here either.
    let agent = folder.join("agent");
    fs_err::write(&agent, shell())?;
    fs_err::set_permissions(&agent, PermissionsExt::from_mode(0o755))?;
    Ok(Small { folder: folder.to_owned(), sources: sources.to_vec(), agent })
}

fn lay_out_base(tree: &Path) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    for place in PLACES {
        fs_err::create_dir_all(tree.join(place))?;
    }
    fs_err::write(tree.join("bin/sh"), shell())?;
    Ok(fs_err::set_permissions(tree.join("bin/sh"), PermissionsExt::from_mode(0o755))?)
}

fn lay_out_service(tree: &Path) -> Outcome {
    fs_err::create_dir_all(tree.join("etc"))?;
    fs_err::create_dir_all(tree.join(SHARE))?;
    fs_err::write(tree.join("etc/small.conf"), "answer = 42\n")?;
    fs_err::write(tree.join(SHARE).join("large"), large())?;
    fs_err::hard_link(tree.join(SHARE).join("large"), tree.join(SHARE).join("link"))?;
    Ok(std::os::unix::fs::symlink("large", tree.join(SHARE).join("symlink"))?)
}

/// More than one buffer of anybody who copies it.
fn large() -> String {
    "0123456789abcde\n".repeat(9000)
}

/// The shell: an ELF program of one segment for x86_64 without libraries (elf(5)). It calls `mknod`
/// for a file, `chown` and `_exit`.
fn shell() -> Vec<u8> {
    const BASE: u32 = 0x40_0000;
    const HEADERS: u32 = 64 + 56;
    const CODE: u32 = 56;
    const PATH: u32 = BASE + HEADERS + CODE;
    let load = |register: u8, value: u32| [&[register][..], &value.to_le_bytes()].concat();
    let [call, first, second, third] =
        [0xB8, 0xBF, 0xBE, 0xBA].map(|register| move |value| load(register, value));
    let trap = || vec![0x0F, 0x05];
    let code = [
        [first(PATH), second(0o100_644), third(0), call(133), trap()].concat(),
        [first(PATH), second(7), third(7), call(92), trap()].concat(),
        [first(0), call(60), trap()].concat(),
        b"/var/small\0".to_vec(),
    ]
    .concat();
    let size = u64::from(HEADERS) + code.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for long in [u64::from(BASE + HEADERS), 64, 0] {
        elf.extend(long.to_le_bytes()); // where it begins, where segments are listed
    }
    elf.extend(0_u32.to_le_bytes());
    for short in [64_u16, 56, 1, 0, 0, 0] {
        elf.extend(short.to_le_bytes());
    }
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]); // a segment to be loaded, read and executed
    for long in [0, u64::from(BASE), u64::from(BASE), size, size, 0x1000] {
        elf.extend(long.to_le_bytes());
    }
    elf.extend(code);
    elf
}
