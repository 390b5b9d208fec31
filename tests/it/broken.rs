//! Broken inputs as files, one for each mistake, in `tests/broken`: each gets its sentence, and none
//! a panic, a hang or much memory. The README there says how they are made.

mod disks;
mod images;
mod initrds;
mod texts;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use osbuilder::inspect;

/// What is read as one form: a folder of files.
pub(super) struct Form {
    /// The folder.
    name: &'static str,
    /// How its files' names end. What ends with `.zst` is compressed.
    suffix: &'static str,
    /// What the reader takes, made by today's writers; `None` where it came from elsewhere.
    good: Option<fn() -> Vec<u8>>,
    /// What its reader says of some bytes: why it does not take them, or `None`.
    read: fn(&[u8]) -> Option<String>,
    /// What the program is asked about a file, if it can be asked.
    ask: &'static [&'static str],
    /// The broken ones.
    cases: &'static [Case],
}

/// The name of a file, what makes it of its good neighbour, and what is said of it.
pub(super) type Case = (&'static str, fn(&mut Vec<u8>), &'static str);

const FORMS: [&Form; 18] = [
    &images::EXT4,
    &images::EROFS,
    &images::XFS,
    &disks::MBR,
    &disks::GPT,
    &disks::NVDIMM,
    &disks::VERITY,
    &disks::MEASURED,
    &initrds::PLAIN,
    &initrds::GZIP,
    &initrds::ZSTD,
    &initrds::LZ4,
    &initrds::XZ,
    &texts::SIGNATURE,
    &texts::CONTEXTS,
    &texts::PARAMETERS,
    &texts::RUNTIME,
    &texts::MANIFEST,
];

/// No file takes a reader longer, even where everything else is slow.
const LONGEST: Duration = Duration::from_secs(30);
/// KiB of addresses that the program may take: the same for the good and the bad.
const MEMORY: &str = "4000000";

pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken")
}

impl Form {
    fn path(&self, name: &str) -> PathBuf {
        folder().join(self.name).join(format!("{name}{}", self.suffix))
    }

    fn load(&self, name: &str) -> Vec<u8> {
        let bytes = fs_err::read(self.path(name)).unwrap();
        if self.suffix.ends_with(".zst") { zstd::decode_all(&bytes[..]).unwrap() } else { bytes }
    }

    fn save(&self, name: &str, bytes: &[u8]) {
        let is_packed = self.suffix.ends_with(".zst");
        let bytes = if is_packed { zstd::encode_all(bytes, 19).unwrap() } else { bytes.to_vec() };
        fs_err::create_dir_all(folder().join(self.name)).unwrap();
        fs_err::write(self.path(name), bytes).unwrap();
    }

    /// Makes the good neighbour anew, and all that derive from it.
    fn renew(&self) {
        if let Some(good) = self.good {
            self.save("good", &good());
        }
        for (name, change, _) in self.cases {
            let mut bytes = self.load("good");
            change(&mut bytes);
            self.save(name, &bytes);
        }
    }
}

/// Renews the files where that is asked for.
#[expect(clippy::disallowed_methods, reason = "whoever tests asks by the environment")]
fn renewed() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        if std::env::var_os("OSBUILDER_RENEW").is_some() {
            FORMS.iter().for_each(|form| form.renew());
        }
    });
}

#[test]
fn every_broken_file_is_its_good_neighbour_with_one_change() {
    renewed();
    let mut known = vec![folder().join("README.md")];
    for form in FORMS {
        let good = form.load("good");
        known.push(form.path("good"));
        for (name, change, _) in form.cases {
            let mut bytes = good.clone();
            change(&mut bytes);
            assert!(bytes != good, "{}/{name}: nothing was changed", form.name);
            assert!(form.load(name) == bytes, "{}/{name} is not what its change makes", form.name);
            known.push(form.path(name));
        }
    }
    known.push(folder().join("signature/good.crt"));
    let (mut folders, mut size) = (vec![folder()], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            size += entry.metadata().unwrap().len();
            assert!(known.contains(&entry.path()), "{:?} has no maker", entry.path());
        }
    }
    assert!(size < 400 << 10, "{size} bytes are no longer small");
}

#[test]
fn every_broken_file_gets_its_sentence_and_its_good_neighbour_none() {
    renewed();
    let mut wrong = Vec::new();
    for form in FORMS {
        let good = (form.read)(&form.load("good"));
        assert_eq!(good, None, "{}", form.name);
        for (name, _, says) in form.cases {
            let began = Instant::now();
            let said = (form.read)(&form.load(name)).unwrap_or_default();
            if !said.contains(says) {
                wrong.push(format!("{}/{name}: {said}", form.name));
            }
            assert!(began.elapsed() < LONGEST, "{}/{name}: {:?}", form.name, began.elapsed());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_program_refuses_every_broken_file_in_little_memory() {
    renewed();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for form in FORMS.iter().filter(|form| !form.ask.is_empty()) {
        let ask = |name: &str| {
            fs_err::write(&path, form.load(name)).unwrap();
            #[expect(clippy::disallowed_methods, reason = "the program is what is tested")]
            let mut command = Command::new("sh");
            command.args(["-c", "ulimit -v \"$0\" && exec \"$@\"", MEMORY]);
            command.arg(env!("CARGO_BIN_EXE_osbuilder")).args(form.ask).arg(&path);
            let output = command.env_clear().env("HOME", folder.path()).output().unwrap();
            let told = [output.stdout, output.stderr].concat();
            (output.status.code(), String::from_utf8(told).unwrap())
        };
        let (status, told) = ask("good");
        assert_eq!(status, Some(0), "{}: {told}", form.name);
        for (name, _, says) in form.cases {
            let (status, told) = ask(name);
            assert_eq!(status, Some(1), "{}/{name}: {told}", form.name);
            assert!(told.contains(says), "{}/{name}: {told}", form.name);
        }
    }
}

/// What reading an image or initrd says, and looking for what hides in it.
pub(super) fn inspected(bytes: &[u8]) -> Option<String> {
    inspect::read(&bytes.to_vec(), std::num::NonZeroUsize::MIN).err().map(|error| error.to_string())
}

/// Puts bytes at a place that depends on what is there.
pub(super) fn put(bytes: &mut [u8], at: impl Fn(&[u8]) -> usize, value: &[u8]) {
    let at = at(bytes);
    set(bytes, at, value);
}

/// Puts bytes at a place.
pub(super) fn set(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}
