//! A tree of Debian packages as rpm packages of the same names and files, without scripts and relations:
//! real contents in real numbers, where no rpm distribution's archive can be reached.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::peer;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What keeps rpmbuild from doing more than the spec says.
const DEFINES: &[&str] = &[
    "_build_id_links none",
    "debug_package %{nil}",
    "__os_install_post %{nil}",
    "_unpackaged_files_terminate_build 0",
    "_binary_payload w9.zstdio",
];

/// Where Debian has merged directories into `/usr`, and its lists of files say so not always.
const MERGED: [&str; 4] = ["/bin", "/sbin", "/lib", "/lib64"];

/// Makes a repository in `repository` of the packages of `tree`, which still has its dpkg database.
/// Returns the packages' names.
///
/// # Errors
/// When rpmbuild or createrepo_c is missing or fails.
pub(crate) fn repository(tree: &Path, work: &Path, repository: &Path) -> Result<Vec<String>> {
    let lists = lists(tree)?;
    let path = work.join("respun.spec");
    fs_err::create_dir_all(work)?;
    fs_err::write(&path, spec(tree, &lists)?)?;
    let mut command = peer::start("rpmbuild");
    command.args(["-bb", "--quiet"]);
    for define in DEFINES {
        command.args(["--define", define]);
    }
    command.arg("--define").arg(format!("_topdir {}", work.join("build").display()));
    command.arg("--define").arg(format!("_rpmdir {}", repository.display())).arg(path);
    peer::run(&mut command)?;
    peer::run(peer::start("createrepo_c").arg("--quiet").arg(repository))?;
    Ok(lists.into_keys().collect())
}

/// The files and directories of each package, as lines of a spec.
fn lists(tree: &Path) -> Result<BTreeMap<String, String>> {
    let mut lists = BTreeMap::new();
    for entry in fs_err::read_dir(tree.join("var/lib/dpkg/info"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "list") {
            continue;
        }
        let name = path.file_stem().and_then(|stem| stem.to_str()).ok_or("a name is no text")?;
        let name = name.split(':').next().unwrap_or(name);
        let mut lines = String::new();
        for path in fs_err::read_to_string(&path)?.lines() {
            line(&mut lines, tree, path)?;
        }
        lists.insert(name.to_owned(), lines);
    }
    for link in MERGED.iter().filter(|link| tree.join(&link[1..]).is_symlink()) {
        let base = lists.get_mut("base-files").ok_or("there is no package base-files")?;
        writeln!(base, "{link}")?;
    }
    Ok(lists)
}

/// Adds what is at a path. Names that a spec would take for patterns are left out.
fn line(lines: &mut String, tree: &Path, path: &str) -> Result<()> {
    let moved = MERGED.iter().any(|merged| path.starts_with(&format!("{merged}/")));
    let path = if moved { format!("/usr{path}") } else { path.to_owned() };
    let place = tree.join(path.trim_start_matches('/'));
    let is_plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+:@".contains(&b));
    let is_known = MERGED.contains(&path.as_str()) || path == "/.";
    match place.symlink_metadata() {
        Ok(meta) if is_plain && !is_known => {
            writeln!(lines, "{}{path}", if meta.is_dir() { "%dir " } else { "" })?;
        }
        _ => {}
    }
    Ok(())
}

fn spec(tree: &Path, lists: &BTreeMap<String, String>) -> Result<String> {
    let head = "Version: 1\nRelease: 1\nSummary: Files\nLicense: Various\nAutoReqProv: no\n";
    let mut spec = format!("Name: respun\n{head}%description\nFiles.\n");
    for (name, lines) in lists {
        write!(
            spec,
            "%package -n {name}\nSummary: Files\nAutoReqProv: no\n%description -n {name}\nFiles.\n\
             %files -n {name}\n{lines}"
        )?;
    }
    writeln!(spec, "%install\ncp -a {}/. %{{buildroot}}", tree.display())?;
    Ok(spec)
}
