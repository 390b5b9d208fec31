//! Small worlds of packages: what people wrote, what a fixed seed gives, and how both become the
//! metadata of repositories.
//!
//! A world is text, a package a line and relations between semicolons:
//!
//! ```text
//! a 1:2-3.x86_64; R b >= 2; R (c if d); P e = 1; C f; O g < 2; W h; S i; G j; F /usr/bin/a; V vendor
//! ```
//!
//! `R` requires, `P` provides, `C` conflicts with, `O` obsoletes, `W` recommends, `S` supplements, `G`
//! suggests, `F` is a file and `V` the vendor. Epoch, release and architecture may be left out (`noarch`). A line `--`
//! begins another repository. Format of the metadata: createrepo_c's.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use osbuilder::digest::Digest;
use osbuilder::package::compression::{Compression, Decompressor, Limits};
use osbuilder::package::rpm::{info, primary};
use serde::Deserialize;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Packages, and what is asked of them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct World {
    pub(super) name: String,
    #[serde(default)]
    pub(super) packages: String,
    pub(super) asked: Vec<String>,
    #[serde(default)]
    pub(super) exclude: Vec<String>,
    #[serde(default)]
    pub(super) recommends: bool,
    /// The first repository's `modules.yaml`; empty, if there is none.
    #[serde(default)]
    pub(super) modules: String,
    /// The only peer that can be asked, if there is just one.
    #[serde(default)]
    pub(super) only: Option<String>,
}

impl World {
    /// What is asked, for people.
    pub(super) fn question(&self) -> String {
        let excluded: String = self.exclude.iter().map(|name| format!(" without {name}")).collect();
        let weak = if self.recommends { " with what is recommended" } else { "" };
        format!("{}{excluded}{weak}", self.asked.join(" "))
    }

    /// Writes the repositories below a folder.
    pub(super) fn write(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut repositories = Vec::new();
        for (number, packages) in self.packages.split("\n--\n").enumerate() {
            let repository = folder.join(format!("r{number}"));
            let modules = if number == 0 { self.modules.as_str() } else { "" };
            write_repository(packages, modules, &repository)?;
            repositories.push(repository);
        }
        Ok(repositories)
    }
}

/// The names of a real repository's packages, each once.
pub(super) fn names(repository: &Path) -> Result<Vec<String>> {
    let entries = fs_err::read_dir(repository.join("repodata"))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let paths: Vec<PathBuf> = paths.collect::<std::result::Result<_, _>>()?;
    let is_primary = |path: &&PathBuf| path.to_string_lossy().ends_with("primary.xml.gz");
    let path = paths.iter().find(is_primary).ok_or("no list of packages")?;
    let packed = std::io::BufReader::new(fs_err::File::open(path)?);
    let plain = Decompressor::new(packed, Compression::Gzip, Limits::up_to(1 << 30))?;
    let records = primary::read(std::io::BufReader::new(plain))?;
    let mut names: Vec<String> =
        info::parse(&records)?.iter().map(|info| info.name.to_owned()).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// A real repository with nothing but its lists of packages and files: zypper refuses one that lacks
/// anything that it names.
pub(super) fn reduced(repository: &Path, to: &Path) -> Result<PathBuf> {
    let (from, repodata) = (repository.join("repodata"), to.join("repodata"));
    fs_err::create_dir_all(&repodata)?;
    for entry in fs_err::read_dir(&from)? {
        let path = entry?.path();
        let name = path.file_name().ok_or("a file without a name")?;
        fs_err::copy(&path, repodata.join(name))?;
    }
    let text = fs_err::read_to_string(from.join("repomd.xml"))?;
    let (head, entries) = text.split_once("<data ").ok_or("no list at all")?;
    let wanted = |entry: &&str| {
        ["\"primary\"", "\"filelists\""]
            .iter()
            .any(|kind| entry.starts_with(&format!("type={kind}")))
    };
    let entry =
        |text: &str| text.split_once("</data>").map(|(entry, _)| format!("<data {entry}</data>\n"));
    let kept: String = entries.split("<data ").filter(wanted).filter_map(entry).collect();
    fs_err::write(repodata.join("repomd.xml"), format!("{head}{kept}</repomd>\n"))?;
    Ok(to.to_owned())
}

/// One line of a world.
struct Package<'t> {
    name: &'t str,
    epoch: &'t str,
    version: &'t str,
    release: &'t str,
    architecture: &'t str,
    relations: Vec<(&'t str, &'t str)>,
}

impl<'t> Package<'t> {
    fn parse(line: &'t str) -> Option<Self> {
        let mut parts = line.split(';').map(str::trim);
        let (name, version) = parts.next()?.split_once(' ')?;
        let (version, architecture) = version
            .rsplit_once('.')
            .filter(|(_, architecture)| ["x86_64", "i686", "noarch"].contains(architecture))
            .unwrap_or((version, "noarch"));
        let (version, release) = version.split_once('-').unwrap_or((version, "1"));
        let (epoch, version) = version.split_once(':').unwrap_or(("0", version));
        let relations = parts.map(|part| part.split_once(' ')).collect::<Option<_>>()?;
        Some(Self { name, epoch, version, release, architecture, relations })
    }

    fn of<'s>(&'s self, letter: &'s str) -> impl Iterator<Item = &'t str> + 's {
        self.relations.iter().filter(move |(known, _)| *known == letter).map(|(_, text)| *text)
    }

    fn digest(&self) -> Digest {
        let Self { name, epoch, version, release, architecture, .. } = self;
        Digest::of(format!("{name}-{epoch}:{version}-{release}.{architecture}").as_bytes())
    }

    /// Its part of the list of packages, with the files that such lists have.
    fn primary(&self) -> String {
        let Self { name, epoch, version, release, architecture, .. } = self;
        let vendor = self.of("V").next().unwrap_or("nobody");
        let own = format!("{name} = {epoch}:{version}-{release}");
        let mut lists = String::new();
        for (letter, list) in [
            ("P", "provides"),
            ("R", "requires"),
            ("C", "conflicts"),
            ("O", "obsoletes"),
            ("W", "recommends"),
            ("S", "supplements"),
            ("G", "suggests"),
        ] {
            let own = Some(own.as_str()).filter(|_| letter == "P");
            let entries: String = own.into_iter().chain(self.of(letter)).map(entry).collect();
            write!(lists, "<rpm:{list}>{entries}</rpm:{list}>").expect("a string takes all");
        }
        let files = self.of("F").filter(|path| path.contains("bin/") || path.starts_with("/etc/"));
        let files: String = files.map(|path| format!("<file>{path}</file>")).collect();
        format!(
            "<package type=\"rpm\"><name>{name}</name><arch>{architecture}</arch>\
             <version epoch=\"{epoch}\" ver=\"{version}\" rel=\"{release}\"/>\
             <checksum type=\"sha256\" pkgid=\"YES\">{}</checksum><summary>s</summary>\
             <description>d</description><packager></packager><url></url>\
             <time file=\"1600000000\" build=\"1600000000\"/>\
             <size package=\"1000\" installed=\"1000\" archive=\"1000\"/>\
             <location href=\"{name}-{version}-{release}.{architecture}.rpm\"/><format>\
             <rpm:license>l</rpm:license><rpm:vendor>{vendor}</rpm:vendor><rpm:group>g</rpm:group>\
             <rpm:buildhost>h</rpm:buildhost><rpm:sourcerpm>{name}-{version}-{release}.src.rpm</rpm:sourcerpm>\
             <rpm:header-range start=\"1\" end=\"2\"/>{lists}{files}</format></package>",
            self.digest()
        )
    }

    /// Its part of the list of all files.
    fn filelists(&self) -> String {
        let Self { name, epoch, version, release, architecture, .. } = self;
        let files: String = self.of("F").map(|path| format!("<file>{path}</file>")).collect();
        format!(
            "<package pkgid=\"{}\" name=\"{name}\" arch=\"{architecture}\">\
             <version epoch=\"{epoch}\" ver=\"{version}\" rel=\"{release}\"/>{files}</package>",
            self.digest()
        )
    }
}

/// A relation in XML.
fn entry(text: &str) -> String {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let words: Vec<&str> = text.split(' ').collect();
    let (false, [name, operator, version]) = (text.starts_with('('), words.as_slice()) else {
        return format!("<rpm:entry name=\"{}\"/>", escaped(text));
    };
    let operator = match *operator {
        "<" => "LT",
        "<=" => "LE",
        ">" => "GT",
        ">=" => "GE",
        _ => "EQ",
    };
    let (epoch, version) = version.split_once(':').unwrap_or(("0", version));
    let release = version.split_once('-');
    let (version, release) = release.map_or((version, None), |(v, r)| (v, Some(r)));
    let release = release.map(|release| format!(" rel=\"{release}\"")).unwrap_or_default();
    format!(
        "<rpm:entry name=\"{name}\" flags=\"{operator}\" epoch=\"{epoch}\" ver=\"{version}\"{release}/>"
    )
}

fn write_repository(text: &str, modules: &str, folder: &Path) -> Result<()> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let parsed =
        lines.map(|line| Package::parse(line).ok_or_else(|| format!("no package: {line}")));
    let packages: Vec<_> = parsed.collect::<std::result::Result<_, _>>()?;
    let list = |root: &str, part: fn(&Package<'_>) -> String| {
        let parts: String = packages.iter().map(part).collect();
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"http://linux.duke.edu/metadata/{}\" \
             xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"{}\">{parts}</{root}>\n",
            if root == "metadata" { "common" } else { root },
            packages.len()
        )
    };
    let mut lists = vec![
        ("primary", "primary.xml", list("metadata", |package| package.primary())),
        ("filelists", "filelists.xml", list("filelists", |package| package.filelists())),
    ];
    if !modules.is_empty() {
        lists.push(("modules", "modules.yaml", modules.to_owned()));
    }
    write_lists(&lists, folder)
}

/// Writes lists, with the `repomd.xml` that names them.
fn write_lists(lists: &[(&str, &str, String)], folder: &Path) -> Result<()> {
    let repodata = folder.join("repodata");
    fs_err::create_dir_all(&repodata)?;
    let mut entries = String::new();
    for (kind, file, text) in lists {
        fs_err::write(repodata.join(file), text)?;
        let (digest, size) = (Digest::of(text.as_bytes()), text.len());
        write!(
            entries,
            "<data type=\"{kind}\"><checksum type=\"sha256\">{digest}</checksum>\
             <open-checksum type=\"sha256\">{digest}</open-checksum>\
             <location href=\"repodata/{file}\"/><timestamp>1600000000</timestamp>\
             <size>{size}</size><open-size>{size}</open-size></data>"
        )?;
    }
    let repomd = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\" \
         xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\"><revision>1600000000</revision>{entries}</repomd>\n"
    );
    Ok(fs_err::write(repodata.join("repomd.xml"), repomd)?)
}

/// Numbers that are the same in every run (Marsaglia's xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }

    /// Whether something comes about that does so once in so many times.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// How many names there are in a random world.
const NAMES: u64 = 14;
/// How many of them may be asked for: the first.
const ASKED: u64 = 4;

/// The world of a seed: packages in some versions, with relations of every kind.
pub(super) fn random(seed: u64) -> World {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
    // The first numbers are all alike.
    for _ in 0..8 {
        dice.below(2);
    }
    let mut packages = String::new();
    for name in 0..NAMES {
        for version in 1..=1 + dice.below(3) {
            let line = line(&mut dice, name, version);
            packages.push_str(&line);
            packages.push('\n');
        }
    }
    let asked = (0..=dice.below(2)).map(|_| format!("p{}", dice.below(ASKED)));
    let mut asked: Vec<String> = asked.collect();
    asked.sort();
    asked.dedup();
    let exclude = if dice.once_in(5) {
        vec![format!("p{}", ASKED + dice.below(NAMES - ASKED))]
    } else {
        Vec::new()
    };
    let (name, recommends) = (format!("random {seed}"), dice.once_in(3));
    World { name, packages, asked, exclude, recommends, ..World::default() }
}

fn line(dice: &mut Dice, name: u64, version: u64) -> String {
    let architecture = if dice.once_in(4) { ".x86_64" } else { "" };
    let epoch = if dice.once_in(10) { "1:" } else { "" };
    let mut line = format!("p{name} {epoch}{version}-1{architecture}");
    let mut add = |letter: &str, text: String| {
        line.push_str(&format!("; {letter} {text}"));
    };
    if dice.once_in(3) {
        let (number, version) = (dice.below(4), 1 + dice.below(3));
        let versioned = if dice.once_in(2) { format!(" = {version}") } else { String::new() };
        add("P", format!("v{number}{versioned}"));
    }
    if dice.once_in(6) {
        let folder = if dice.once_in(2) { "/usr/bin" } else { "/etc" };
        add("F", format!("{folder}/f{}", name % 3));
    }
    for _ in 0..dice.below(3) {
        add("R", requirement(dice, name));
    }
    if dice.once_in(8) {
        add("C", plain(dice, name));
    }
    // What is asked for is obsoleted in worlds that people wrote: there dnf and zypper differ.
    let obsoleted = other(dice, name);
    if dice.once_in(8) && obsoleted >= ASKED {
        add("O", format!("p{obsoleted} < {}", 1 + dice.below(3)));
    }
    if dice.once_in(5) {
        add("W", plain(dice, name));
    }
    if dice.once_in(10) {
        add("S", plain(dice, name));
    }
    if dice.once_in(8) {
        add("G", plain(dice, name));
    }
    line
}

fn requirement(dice: &mut Dice, name: u64) -> String {
    match dice.below(9) {
        0 | 1 => format!("v{}", dice.below(4)),
        2 => {
            let folder = if dice.once_in(2) { "/usr/bin" } else { "/etc" };
            format!("{folder}/f{}", dice.below(3))
        }
        3 => format!("({} or {})", plain(dice, name), plain(dice, name)),
        4 => format!("({} if {})", plain(dice, name), plain(dice, name)),
        _ => plain(dice, name),
    }
}

/// A name other than `name`, with a condition or none.
fn plain(dice: &mut Dice, name: u64) -> String {
    let other = other(dice, name);
    match dice.below(4) {
        0 => format!("p{other} >= {}", 1 + dice.below(2)),
        1 => format!("p{other} < {}", 2 + dice.below(2)),
        _ => format!("p{other}"),
    }
}

fn other(dice: &mut Dice, name: u64) -> u64 {
    (name + 1 + dice.below(NAMES - 1)) % NAMES
}
