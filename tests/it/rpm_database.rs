//! Databases of rpm packages: what is read from each form, held against what a real rpm says of them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::BufReader;
use std::path::Path;

use osbuilder::package::rpm::archive::Head;
use osbuilder::package::rpm::database::{Format, Installed, Transaction, database, read};

use crate::judge;
use crate::program::osbuilder_in;

const TRANSACTION: Transaction = Transaction { time: 1_700_000_000, color: 3 };

/// The headers of AlmaLinux's packages.
fn heads(folder: &Path) -> Vec<Head> {
    let mut paths: Vec<_> =
        fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "rpm"));
    paths.sort();
    let open = |path| BufReader::new(fs_err::File::open(path).unwrap());
    paths.iter().map(|path| Head::read(&mut open(path)).unwrap()).collect()
}

fn written(heads: &[Head], format: Format) -> Vec<(&'static str, Vec<u8>)> {
    let states = vec![0; 100_000];
    let mut packages = Vec::new();
    for Head { signature, header } in heads {
        let states = &states[..header.texts(1117).count()];
        packages.push(Installed { signature, header, states });
    }
    database(&packages, TRANSACTION, format).unwrap()
}

/// The headers of a database in SQLite, as SQLite reads them.
fn blobs(database: &Path) -> Vec<Vec<u8>> {
    let connection = rusqlite::Connection::open(database).unwrap();
    let mut rows = connection.prepare("SELECT blob FROM Packages ORDER BY hnum").unwrap();
    let rows = rows.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// What Berkeley DB's own tool makes a database of.
fn dump(blobs: &[Vec<u8>], order: u32) -> String {
    let mut text = format!(
        "VERSION=3\nformat=bytevalue\ntype=hash\ndb_pagesize=4096\ndb_lorder={order}\nHEADER=END\n"
    );
    let key = |number: u32| match order {
        4321 => number.to_be_bytes(),
        _ => number.to_le_bytes(),
    };
    let hexadecimal = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    };
    let count = u32::try_from(blobs.len()).unwrap();
    let mut put = |number: u32, value: &[u8]| {
        write!(text, " {}\n {}\n", hexadecimal(&key(number)), hexadecimal(value)).unwrap();
    };
    put(0, &key(count));
    (1..).zip(blobs).for_each(|(number, blob)| put(number, blob));
    text + "DATA=END\n"
}

/// The packages as rpm shows them.
fn shown(packages: &[read::Package]) -> BTreeSet<String> {
    let show = |package: &read::Package| {
        let architecture = package.architecture.as_deref().unwrap();
        format!("{}-{}.{architecture}", package.name, package.version)
    };
    packages.iter().map(show).collect()
}

/// What rpm says is in the database of a folder.
fn by_rpm(folder: &Path, backend: &str) -> BTreeSet<String> {
    let (folder, backend) = (folder.to_str().unwrap(), format!("_db_backend {backend}"));
    let format = "%{NAME}-%{EVR}.%{ARCH}\\n";
    let arguments = ["--dbpath", folder, "--define", &backend, "-qa", "--qf", format];
    let output = judge::run("rpm", &arguments);
    String::from_utf8(output).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn each_form_holds_for_us_what_it_holds_for_rpm() {
    let Some(data) = judge::data("rpm/el9-aarch64") else { return };
    if judge::is_missing(&["rpm"]) || judge::is_without("db5.3_load", "-V") {
        return;
    }
    let heads = heads(&data);
    let world = tempfile::tempdir().unwrap();
    let root = |name: &str| world.path().join(name).join("var/lib/rpm");
    for (name, format) in [("sqlite", Format::Sqlite), ("ndb", Format::Ndb)] {
        fs_err::create_dir_all(root(name)).unwrap();
        for (file, bytes) in written(&heads, format) {
            fs_err::write(root(name).join(file), bytes).unwrap();
        }
    }
    let sqlite = root("sqlite").join("rpmdb.sqlite");
    let packages = shown(&read::read(&fs_err::read(&sqlite).unwrap()).unwrap());
    assert_eq!((packages.len(), &packages), (22, &by_rpm(&root("sqlite"), "sqlite")));
    let ndb = read::read(&fs_err::read(root("ndb").join("Packages.db")).unwrap()).unwrap();
    assert_eq!(shown(&ndb), packages);
    let blobs = blobs(&sqlite);
    for (name, order) in [("little", 1234), ("big", 4321)] {
        fs_err::create_dir_all(root(name)).unwrap();
        let (text, file) = (world.path().join("dump"), root(name).join("Packages"));
        fs_err::write(&text, dump(&blobs, order)).unwrap();
        judge::run("db5.3_load", &["-f", text.to_str().unwrap(), file.to_str().unwrap()]);
        let read = read::read(&fs_err::read(&file).unwrap()).unwrap();
        assert_eq!((shown(&read), &by_rpm(&root(name), "bdb_ro")), (packages.clone(), &packages));
    }
    for (one, other) in [("sqlite", "ndb"), ("ndb", "little"), ("little", "big")] {
        let output = osbuilder_in(world.path(), &["diff", one, other], &[]);
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(!told.contains("package:") && told.contains("/var/lib/rpm/"), "{told}");
    }
    let output = osbuilder_in(world.path(), &["inspect", "big", "--packages"], &[]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(told.lines().count(), 22, "{told}");
    assert!(told.contains("\nbash:aarch64 5."), "{told}");
    fs_err::write(root("big").join("Packages"), b"text").unwrap();
    let output = osbuilder_in(world.path(), &["diff", "ndb", "big"], &[]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("packages are not compared: of big, cannot read which"), "{told}");
}
