//! Users and groups as packages declare them: what `systemd-sysusers --replace FILE -` does.
//!
//! rpm starts it before it lays a package out. Here this program is started once more inside the
//! sandbox, where nothing of the guest's need be there yet. In: declarations on standard input; out: the
//! lists in `/etc`, the old ones beside them with a `-` behind their names, as shadow's tools keep them.
//! A file of the same name in `/etc/sysusers.d` or `/run/sysusers.d` takes the place of the
//! declarations. Of all other files none is read: their users were made with their packages.
//! Specification: sysusers.d(5), systemd-sysusers(8), rpm-sysusers(7).

mod lists;

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;

pub use lists::{Circumstances, Lists, Owner, Unknown, words};

/// The first argument that makes this program follow declarations.
pub const WORD: &str = "users-of-rpm";
/// It follows them nowhere but where rpm's scripts lie, so that nobody changes a host's lists by mistake.
const SCRIPTS: &str = "/.rpm-scripts";
/// Where a file takes the place of one of the same name below `/usr/lib/sysusers.d`.
const ABOVE: [&str; 2] = ["/etc/sysusers.d", "/run/sysusers.d"];
const LOCK: &str = "/etc/.pwd.lock";
/// The longest list that is read, in bytes.
const LONGEST: u64 = 64 << 20;

/// Why declarations were not followed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This is no sandbox.
    #[error("there are no packages of rpm being installed")]
    NoSandbox,
    /// The arguments are not a day and perhaps a file.
    #[error("users are made of a day and a file")]
    Arguments,
    /// One is not understood.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// What is to be read has no end, or none that was to be expected: nothing is written then, as
    /// a list would lose its end.
    #[error("{name} is longer than declarations and lists of users are")]
    TooLong {
        /// Its path, or what else people know it by.
        name: String,
    },
    /// It is not text.
    #[error("{name} is not text in UTF-8")]
    NoText {
        /// Its path, or what else people know it by.
        name: String,
    },
    /// A list cannot be read or written.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// Follows declarations if the program's arguments ask for it: the word, the day, and the file in which
/// the package has them, if it has.
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> Option<Result<(), Error>> {
    (arguments.nth(1)? == WORD).then(|| follow(arguments))
}

fn follow(mut arguments: impl Iterator<Item = OsString>) -> Result<(), Error> {
    if !Path::new(SCRIPTS).is_dir() {
        return Err(Error::NoSandbox);
    }
    let day = arguments.next().and_then(|day| day.to_str()?.parse().ok());
    let day = day.ok_or(Error::Arguments)?;
    let file = arguments.next().map(std::path::PathBuf::from);
    let name = file.as_deref().and_then(Path::file_name);
    let above = name.and_then(|name| {
        ABOVE.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists())
    });
    let text = match above {
        Some(path) => text_of(&path.to_string_lossy(), fs::File::open(&path)?)?,
        None => text_of("what a package declares", io::stdin().lock())?,
    };
    let owner = |path: &str| fs::metadata(path).ok().map(|status| (status.uid(), status.gid()));
    let old = Lists {
        passwd: read("/etc/passwd")?,
        group: read("/etc/group")?,
        shadow: read("/etc/shadow")?,
        gshadow: read("/etc/gshadow")?,
    };
    let mut new = old.clone();
    new.declare(text.lines(), Circumstances { day, owner: Some(&owner) })?;
    replace("/etc/group", 0o644, (&old.group, &new.group))?;
    replace("/etc/gshadow", 0, (&old.gshadow, &new.gshadow))?;
    replace("/etc/passwd", 0o644, (&old.passwd, &new.passwd))?;
    replace("/etc/shadow", 0, (&old.shadow, &new.shadow))?;
    Ok(())
}

/// A list; an empty one, if there is none.
fn read(path: &str) -> Result<String, Error> {
    match fs::File::open(path) {
        Ok(file) => text_of(path, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error.into()),
    }
}

/// All that is to be read of what is called `name`.
fn text_of(name: &str, from: impl Read) -> Result<String, Error> {
    let mut bytes = Vec::new();
    let count = from.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if u64::try_from(count).is_ok_and(|count| count > LONGEST) {
        return Err(Error::TooLong { name: name.to_owned() });
    }
    String::from_utf8(bytes).map_err(|_| Error::NoText { name: name.to_owned() })
}

/// Puts a list in the place of the old one, which is kept, if they differ.
fn replace(path: &str, mode: u32, (old, new): (&str, &str)) -> io::Result<()> {
    if old == new {
        return Ok(());
    }
    fs::create_dir_all("/etc")?;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).open(LOCK)?;
    let mode = match fs::metadata(path) {
        Ok(status) => {
            let mode = status.permissions().mode() & 0o7777;
            write(&format!("{path}-"), mode, old)?;
            mode
        }
        Err(_) => mode,
    };
    write(path, mode, new)
}

/// Writes a file of this mode, and gives it its name when it is whole.
fn write(path: &str, mode: u32, text: &str) -> io::Result<()> {
    let unfinished = format!("{path}.osbuilder-new");
    fs::write(&unfinished, text)?;
    fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(mode))?;
    fs::rename(unfinished, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_whole_is_told_by_its_name_and_not_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwd");
        let name = path.to_str().unwrap();
        assert_eq!(read(name).unwrap(), "");
        fs::write(&path, "root:x:0:0:Ä:/:/bin/sh\n").unwrap();
        assert_eq!(read(name).unwrap(), "root:x:0:0:Ä:/:/bin/sh\n");
        fs::write(&path, b"root:x:0:0:\xc4:/:/bin/sh\n").unwrap();
        assert_eq!(read(name).unwrap_err().to_string(), format!("{name} is not text in UTF-8"));
        // A file of nothing but a hole.
        for (length, is_whole) in [(LONGEST, true), (LONGEST + 1, false)] {
            fs::File::create(&path).unwrap().set_len(length).unwrap();
            match read(name) {
                Ok(text) => assert!(is_whole && u64::try_from(text.len()) == Ok(length)),
                Err(error) => assert!(!is_whole && error.to_string().contains(name), "{error}"),
            }
        }
        assert!(matches!(read("/dev/zero"), Err(Error::TooLong { name }) if name == "/dev/zero"));
    }
}
