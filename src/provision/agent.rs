//! The agent's program: put at its place, made the init where that is asked for, checked.

use super::editor::Editor;
use super::{Agent, Error};
use crate::recipe::Init;
use crate::tree::{Inode, Kind, TreePath};

/// Puts the agent at `/usr/bin/NAME` and makes sure that it could be started.
pub(super) fn install(editor: &mut Editor<'_>, agent: &Agent, name: &str) -> Result<(), Error> {
    let path = format!("usr/bin/{name}");
    let hint = match agent {
        Agent::Binary(content) => {
            editor.put(&path, 0o755, Kind::Regular(content.clone()))?;
            "the file that was given is empty"
        }
        Agent::Layer(tree) => {
            super::layer(editor, "the agent's tarball", Some(tree))?;
            "look at what the tarball holds, and at the agent's name"
        }
    };
    let found = followed(editor, &path)?;
    if found.is_some_and(is_program) {
        return Ok(());
    }
    Err(Error::NoAgent { path: editor.place(&path)?, hint })
}

/// Moves the agent to `/sbin/init`; nothing stays in `/usr/bin`.
pub(super) fn make_init(editor: &mut Editor<'_>, name: &str) -> Result<(), Error> {
    let from = editor.place(&format!("usr/bin/{name}"))?;
    let inode = followed(editor, &format!("usr/bin/{name}"))?.cloned();
    editor.tree.remove(&from);
    if let Some(inode) = inode {
        let init: TreePath = "sbin/init".parse().expect("a clean path");
        editor.put_inode(&init, inode)?;
    }
    Ok(())
}

/// Refuses a tree whose `/sbin/init` the kernel cannot start. A link may lead to what only exists
/// in the running guest, so a link is enough, as it was for Kata's script.
pub(super) fn check_init(editor: &Editor<'_>, init: Init) -> Result<(), Error> {
    let found = editor.get("sbin/init")?;
    if found.is_some_and(|inode| matches!(inode.kind, Kind::Symlink(_)) || is_program(inode)) {
        return Ok(());
    }
    let hint = match init {
        Init::Systemd => "install one (Debian's package `init`), or let the agent be the init",
        Init::OpenRc => "install one (Alpine's packages `busybox` and `openrc`)",
        Init::Agent => "the agent's program is missing",
        Init::None => "add a package or a file that is one, since nothing else was to be the init",
    };
    Err(Error::NoInit { hint })
}

fn followed<'a>(editor: &'a Editor<'_>, path: &str) -> Result<Option<&'a Inode>, Error> {
    let path = editor.tree.resolve(&editor.place(path)?)?;
    Ok(editor.tree.get(&path))
}

fn is_program(inode: &Inode) -> bool {
    matches!(&inode.kind, Kind::Regular(content) if content.size() > 0)
        && inode.meta.mode & 0o111 != 0
}
