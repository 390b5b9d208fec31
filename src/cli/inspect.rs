//! `osbuilder inspect`: what an image, an initrd or a rootfs directory is made of.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use osbuilder::inspect::{self, Form, Guest, Line, Partition, Report};
use osbuilder::store::directory;
use osbuilder::tree::{Contents, Kind as FileKind, Tree, TreePath};

use super::arguments::InspectArguments;
use super::failure::printable;
use super::{Failure, Kind, Session, failed, no_guest, size};

/// Shows the whole, lists a directory in it, or prints a file of it.
pub(super) fn run(arguments: &InspectArguments, session: &Session) -> Result<ExitCode, Failure> {
    let threads = session.threads();
    if arguments.file.is_dir() {
        let (tree, contents) = directory::read(&arguments.file, threads).map_err(failed)?;
        show_part((&tree, &contents), arguments, session)?;
        return Ok(ExitCode::SUCCESS);
    }
    let file = super::open(&arguments.file)?;
    let guest = inspect::read(&file, threads).map_err(no_guest(&arguments.file))?;
    if arguments.path.is_none() && !arguments.ls && !arguments.packages {
        show_whole(&guest, &arguments.file, session)?;
    } else {
        show_part((&guest.tree, &guest.contents), arguments, session)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn path(text: Option<&str>) -> Result<TreePath, Failure> {
    let parsed = text.unwrap_or_default().parse();
    parsed.map_err(|error: osbuilder::tree::BadPath| Failure::new(Kind::Request, error))
}

fn show_part(
    (tree, contents): (&Tree, &dyn Contents),
    arguments: &InspectArguments,
    session: &Session,
) -> Result<(), Failure> {
    if !arguments.packages {
        return show_path((tree, contents), arguments, session);
    }
    for (package, version) in inspect::packages_of(tree, contents).map_err(failed)? {
        session.print(&match session.json {
            true => serde_json::json!({ "package": package, "version": version }).to_string(),
            false => format!("{package} {version}"),
        });
    }
    Ok(())
}

fn show_path(
    (tree, contents): (&Tree, &dyn Contents),
    arguments: &InspectArguments,
    session: &Session,
) -> Result<(), Failure> {
    let path = path(arguments.path.as_deref())?;
    let place = tree.resolve(&path).unwrap_or_else(|_| path.clone());
    let inode = tree.get(&place).map(|inode| &inode.kind);
    let is_directory = matches!(inode, Some(FileKind::Directory(_)));
    if inode.is_some() && !arguments.cat && (arguments.ls || is_directory) {
        list(tree, &path, session);
        return Ok(());
    }
    let mut output = Data { session, is_cut: false };
    let printed = inspect::print(tree, contents, &path, &mut output);
    if output.is_cut { Ok(()) } else { printed.map_err(failed) }
}

/// Standard output for contents of any size: they end where nobody takes them any more, and the
/// session knows whether that is an error.
struct Data<'s> {
    session: &'s Session,
    is_cut: bool,
}

impl Write for Data<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.is_cut |= !self.session.print_bytes(bytes);
        if self.is_cut { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn list(tree: &Tree, below: &TreePath, session: &Session) {
    for line in inspect::lines(tree, below) {
        session.print(&if session.json {
            serde_json::to_string(&line).expect("a line has string keys")
        } else {
            as_text(&line)
        });
    }
}

fn as_text(line: &Line) -> String {
    let Line { path, kind, mode, uid, gid, size, target, label, .. } = line;
    let target = target.as_deref().map(|target| format!(" -> {target}")).unwrap_or_default();
    let label = label.as_deref().map(|label| format!(" {label}")).unwrap_or_default();
    format!("{kind:9} {mode} {uid:>5}:{gid:<5} {size:>10}{label} {path}{target}")
}

fn show_whole(guest: &Guest<'_>, file: &Path, session: &Session) -> Result<(), Failure> {
    let summary = guest.summary().map_err(failed)?;
    if session.json {
        let mut value = serde_json::to_value(&guest.report).map_err(failed)?;
        value["summary"] = summary.into();
        session.print(&value.to_string());
        return Ok(());
    }
    let rows = facts(&guest.report, file);
    rows.iter().for_each(|(name, value)| session.print(&format!("{name:>12}  {value}")));
    if let Some(text) = summary {
        session.print("");
        session.print(&printable(text.trim_end()));
    }
    Ok(())
}

fn as_words(part: &Partition) -> String {
    let Partition { number, start, sectors, discoverable } = part;
    let text = format!("{number}: starts at sector {start}, {sectors} sectors");
    let Some(gpt) = discoverable else { return text };
    let mark = if gpt.read_only { ", read-only" } else { "" };
    format!("{text}, {}, uuid {}{mark}", gpt.purpose, gpt.uuid)
}

fn facts(report: &Report, file: &Path) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("file", file.display().to_string()),
        ("size", format!("{} ({} bytes)", size::in_words(report.size), report.size)),
        ("sha256", report.digest.to_string()),
    ];
    match &report.form {
        Form::Image {
            nvdimm_block,
            partition_table,
            disk_signature,
            partitions,
            file_system,
            hash_tree,
        } => {
            let place = nvdimm_block.map_or("none".to_owned(), |place| format!("at {place}"));
            rows.push(("form", format!("disk image, {partition_table} {disk_signature}")));
            rows.push(("nvdimm", place));
            rows.extend(partitions.iter().map(|part| ("partition", as_words(part))));
            let place = format!("{} at byte {}", file_system.kind, file_system.offset);
            rows.push(("file system", format!("{place}, uuid {}", file_system.uuid)));
            if let Some(tree) = hash_tree {
                let salt = tree.salt.as_ref().map(|salt| format!(", superblock, salt {salt}"));
                let text = format!("at byte {}{}", tree.offset, salt.unwrap_or_default());
                rows.push(("hash tree", text));
            }
        }
        Form::Initrd { compression } => {
            rows.push(("form", format!("initrd, compression {}", compression.name())));
        }
    }
    rows.push(("paths", report.paths.to_string()));
    rows.push(("content", size::in_words(report.content)));
    let lacks = report.lacks.iter().map(|lack| ("lacks", lack.what.clone()));
    rows.extend(lacks);
    rows
}
