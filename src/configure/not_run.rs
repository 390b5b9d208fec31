//! The list of scripts that handlers of ours could not run, kept in the tree that they are missing
//! from.
//!
//! In: who and why; out: the file [`PATH`], a line for each, which the summary file takes over and
//! every later build from the cache tells again.

use std::io::Read;

use crate::event::{Event, Listener};
use crate::tree::{BadPath, Content, Contents, Inode, Kind, Meta, Tree, TreePath};

/// Where the list lies.
const PATH: &str = "var/lib/osbuilder/scripts-not-run";

/// A script that did not run, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotRun {
    pub(super) package: String,
    pub(super) script: String,
    /// What was not understood, or left out; on one line.
    pub(super) reason: String,
}

impl NotRun {
    /// What listeners hear.
    pub(super) fn event(&self) -> Event {
        let Self { package, script, reason } = self.clone();
        Event::ScriptNotRun { package, script, reason }
    }

    fn parse(line: &str) -> Option<Self> {
        let (package, rest) = line.split_once(' ')?;
        let (script, reason) = rest.split_once(": ")?;
        let [package, script, reason] = [package, script, reason].map(str::to_owned);
        Some(Self { package, script, reason })
    }
}

/// Puts the list into a tree; none, if nothing is on it.
pub(super) fn write(tree: &mut Tree, list: &[NotRun], mtime: i64) -> Result<(), super::Error> {
    if list.is_empty() {
        return Ok(());
    }
    let line =
        |NotRun { package, script, reason }: &NotRun| format!("{package} {script}: {reason}\n");
    let text: String = list.iter().map(line).collect();
    let path = place(tree)?;
    let directory = Meta { mtime, ..Meta::root(0o755) };
    tree.make_directories(&path.parent().unwrap_or_default(), &directory)?;
    let meta = Meta { mtime, ..Meta::root(0o644) };
    let kind = Kind::Regular(Content::Inline(text.into_bytes().into()));
    tree.insert(&path, Inode { meta, kind })?;
    Ok(())
}

fn place(tree: &Tree) -> Result<TreePath, super::Error> {
    let path: Result<TreePath, BadPath> = TreePath::parse(PATH);
    Ok(tree.resolve_parent(&path?)?)
}

/// Whether a tree has no such list: every script ran.
pub(super) fn is_whole(tree: &Tree) -> bool {
    place(tree).is_ok_and(|path| tree.get(&path).is_none())
}

/// Tells the list of a tree from the cache again.
pub(super) fn tell(tree: &Tree, contents: &dyn Contents, listener: Listener<'_>) {
    let Some(Inode { kind: Kind::Regular(content), .. }) =
        place(tree).ok().and_then(|path| tree.get(&path))
    else {
        return;
    };
    let mut text = String::new();
    let read = content.open(contents).and_then(|mut reader| reader.read_to_string(&mut text));
    if read.is_ok() {
        text.lines().filter_map(NotRun::parse).for_each(|entry| listener(entry.event()));
    }
}
