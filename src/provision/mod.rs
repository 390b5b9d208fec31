//! Makes a distribution's tree a Kata guest: a pure function from tree to tree.
//!
//! In: the tree as its packages left it, and [`Inputs`] that hold everything else, already read:
//! the agent, layers, modules, files, the policy's text. Out: the tree that images are made of.
//! The order of the steps is that of Kata's `rootfs.sh`, and so is the result, without that
//! script's leaks: no resolver, host name, certificate, key or log of the machine that builds.
//!
//! The agent is not stripped of its symbols: the bytes in the guest are the bytes that were given,
//! so anybody can compare its digest with the one that was published.

mod agent;
mod clean;
mod clock;
mod editor;
mod openrc;
mod policy;
mod prune;
mod summary;
mod systemd;
mod units;

use std::io;

pub use summary::Summary;

use crate::epoch::Epoch;
use crate::recipe::Init;
use crate::tree::{self, Content, Contents, Inode, Tree, TreePath};

use editor::{Editor, anonymize, made_anonymous};

/// Everything that provisioning needs to know.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is one of Kata's independent switches")]
pub struct Inputs<'a> {
    /// The agent. `None`: packages only (`ROOTFS_ONLY=yes`); nothing of Kata's is put in.
    pub agent: Option<&'a Agent>,
    /// File name of the agent below `/usr/bin`.
    pub agent_name: &'a str,
    /// The first process.
    pub init: Init,
    /// The policy that the agent starts with.
    pub policy: Option<&'a Policy>,
    /// Whether `/run` is sized for a confidential guest.
    pub confidential: bool,
    /// Whether units that a guest does not need are removed.
    pub prune: bool,
    /// Whether the package database stays, with the rest of `/var/lib` and `/var/cache`.
    pub keep_database: bool,
    /// Whether a tree without an init is refused.
    pub check_init: bool,
    /// Whether no packages were installed: the tree was made by hand and may lack directories.
    pub without_packages: bool,
    /// Kernel modules, and the name of their directory below `/lib/modules`.
    pub modules: Option<(&'a str, &'a Tree)>,
    /// Guest hooks, a tree to lay over this one.
    pub hooks: Option<&'a Tree>,
    /// The pause image, likewise.
    pub pause: Option<&'a Tree>,
    /// Components of confidential guests, likewise.
    pub confidential_components: Option<&'a Tree>,
    /// The user's own files; they win over everything else.
    pub extra_files: &'a [ExtraFile],
    /// What the summary file says.
    pub summary: &'a Summary,
    /// Whether osbuilder's own handlers ran the packages' scripts.
    pub by_handlers: bool,
    /// The time of everything that is made here, and the latest time in the tree.
    pub epoch: Epoch,
    /// Where the tree's contents can be read.
    pub contents: &'a dyn Contents,
}

/// An agent, as it was given.
#[derive(Debug, Clone)]
pub enum Agent {
    /// A ready binary, or the bundled probe.
    Binary(Content),
    /// What a tarball holds: the binary at its place, perhaps with its units.
    Layer(Tree),
}

/// A policy for the agent.
#[derive(Debug, Clone)]
pub enum Policy {
    /// Everything is allowed.
    AllowAll,
    /// The user's own.
    File {
        /// Its file name, kept in the guest.
        name: String,
        /// Its text.
        content: Content,
    },
}

/// Something of the host's that goes into the guest as root's.
#[derive(Debug, Clone)]
pub struct ExtraFile {
    /// Its place in the guest.
    pub destination: TreePath,
    /// What it is.
    pub what: Extra,
}

/// A file or a directory of the host's. Owners, times and attributes are not taken along.
#[derive(Debug, Clone)]
pub enum Extra {
    /// One file.
    File(Inode),
    /// A directory, whose entries are laid over what is there.
    Directory(Tree),
}

/// Why a tree cannot be made a guest.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tree and what is put into it do not fit together.
    #[error("the tree cannot be changed")]
    Tree(#[from] tree::Error),
    /// A file that has to be edited cannot be read as text.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The file.
        path: TreePath,
        /// Why.
        source: io::Error,
    },
    /// Kernel modules, hooks, a tarball or a user's files do not fit into the tree.
    #[error("{what} cannot be put into the tree")]
    Layer {
        /// What was to be put in.
        what: String,
        /// Why.
        source: tree::Error,
    },
    /// After the agent was installed there is no such program.
    #[error("the agent is not an executable file at {path}; {hint}")]
    NoAgent {
        /// Where it must be.
        path: TreePath,
        /// What to look at.
        hint: &'static str,
    },
    /// Nothing could be started.
    #[error("/sbin/init is neither a program nor a link; {hint}")]
    NoInit {
        /// What to do.
        hint: &'static str,
    },
}

/// Makes `tree` a guest.
///
/// # Errors
/// [`Error`]; the tree is lost then.
pub fn provision(tree: Tree, inputs: &Inputs<'_>) -> Result<Tree, Error> {
    let mut editor = Editor { tree, epoch: inputs.epoch, contents: inputs.contents };
    if inputs.agent.is_none() && inputs.keep_database {
        // Packages as their distribution installs them: nothing is removed, nothing added.
        extra_files(&mut editor, inputs)?;
        clamp_times(&mut editor);
        return Ok(editor.tree);
    }
    if inputs.without_packages {
        clean::complete_bare_tree(&mut editor)?;
    } else {
        clean::remove_documentation(&mut editor)?;
    }
    clean::remove_identity(&mut editor)?;
    clean::make_mount_points(&mut editor)?;
    if let Some(agent) = inputs.agent {
        make_guest(&mut editor, agent, inputs)?;
    } else {
        extra_files(&mut editor, inputs)?;
    }
    clamp_times(&mut editor);
    Ok(editor.tree)
}

/// The steps of `rootfs.sh` after the packages, in its order.
fn make_guest(editor: &mut Editor<'_>, agent: &Agent, inputs: &Inputs<'_>) -> Result<(), Error> {
    let not_run = summary::take_not_run(editor)?;
    clean::empty_var(editor, inputs.keep_database)?;
    if inputs.init == Init::Systemd {
        systemd::ensure_tmp_mount(editor)?;
    }
    if let Some((name, modules)) = inputs.modules {
        let modules = made_anonymous(modules.clone(), inputs.epoch);
        let place = format!("lib/modules/{name}");
        let place = TreePath::parse(&place).map_err(tree::Error::from)?;
        overlay(editor, "the folder of kernel modules", &place, &modules)?;
    }
    clock::set_up(editor)?;
    agent::install(editor, agent, inputs.agent_name)?;
    match inputs.init {
        Init::Agent => agent::make_init(editor, inputs.agent_name)?,
        Init::OpenRc => openrc::install(editor, inputs.agent_name)?,
        Init::None => {}
        Init::Systemd => {
            units::install(editor, inputs.agent_name)?;
            systemd::enable(editor)?;
            if inputs.confidential {
                systemd::size_run(editor)?;
            }
        }
    }
    if let Some(policy) = inputs.policy {
        policy::install(editor, policy)?;
    }
    layer(editor, "the tarball of guest hooks", inputs.hooks)?;
    if inputs.check_init {
        agent::check_init(editor, inputs.init)?;
    }
    layer(editor, "the tarball of the pause image", inputs.pause)?;
    layer(editor, "the tarball of confidential components", inputs.confidential_components)?;
    extra_files(editor, inputs)?;
    clean::ensure_resolver(editor)?;
    if inputs.prune {
        let keep_fstab = inputs.confidential && inputs.init == Init::Systemd;
        prune::prune(editor, keep_fstab);
    }
    summary::write(editor, inputs, &not_run)
}

fn layer(editor: &mut Editor<'_>, what: &str, layer: Option<&Tree>) -> Result<(), Error> {
    layer.map_or(Ok(()), |layer| overlay(editor, what, &TreePath::ROOT, layer))
}

fn overlay(
    editor: &mut Editor<'_>,
    what: &str,
    place: &TreePath,
    layer: &Tree,
) -> Result<(), Error> {
    let laid = editor.tree.overlay(place, layer);
    laid.map_err(|source| Error::Layer { what: what.to_owned(), source })
}

fn extra_files(editor: &mut Editor<'_>, inputs: &Inputs<'_>) -> Result<(), Error> {
    for ExtraFile { destination, what } in inputs.extra_files {
        match what {
            Extra::File(inode) => {
                let mut inode = inode.clone();
                anonymize(&mut inode.meta, inputs.epoch);
                editor.put_inode(destination, inode)?;
            }
            Extra::Directory(tree) => {
                let tree = made_anonymous(tree.clone(), inputs.epoch);
                overlay(editor, &format!("the directory for {destination}"), destination, &tree)?;
            }
        }
    }
    Ok(())
}

/// Old times are facts about packages; later ones than the epoch are facts about this build.
fn clamp_times(editor: &mut Editor<'_>) {
    let ids: Vec<_> = editor.tree.walk().map(|(_, id, _)| id).collect();
    for id in ids {
        let meta = &mut editor.tree.inode_mut(id).meta;
        meta.mtime = editor.epoch.clamp(meta.mtime);
    }
}

impl std::fmt::Debug for Inputs<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inputs")
            .field("agent_name", &self.agent_name)
            .field("init", &self.init)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
