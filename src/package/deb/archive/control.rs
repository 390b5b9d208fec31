//! The control part of a `.deb`: what the package says of itself, and what dpkg keeps of it.
//!
//! In comes the member `control.tar`, out comes a value. The files' bytes are kept as they are,
//! for dpkg's database; `control`, `triggers` and `conffiles` are understood too. Format:
//! deb-control(5), deb-triggers(5), deb-conffiles(5), deb-md5sums(5).

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::sync::Arc;

use super::{Error, ar};
use crate::package::compression::{Compression, Decompressor, Limits};
use crate::package::deb::scripts::{Conffile, ScriptKind, Triggers, parse_conffiles};
use crate::package::deb::stanza::Stanza;
use crate::package::tar;
use crate::tree::escape;

/// The control part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The fields of the control file.
    pub stanza: Stanza,
    /// Its triggers.
    pub triggers: Triggers,
    /// Its configuration files, in the order of their list.
    pub conffiles: Vec<Conffile>,
    /// All files, `control` too, in the archive's order.
    pub members: Vec<Member>,
}

/// One file of the control part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name: `postinst`, `md5sums`. Letters, digits and `- . _ +`.
    pub name: String,
    /// Permission bits.
    pub mode: u16,
    /// Last modification, in seconds since 1970.
    pub mtime: i64,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
}

/// Plain bytes of the whole control part. The largest of Debian has four MiB.
const MAXIMUM_CONTROL: u64 = 64 << 20;

/// Reads the control part and gives the container back.
pub(super) fn read<R: Read>(
    container: ar::Container<R>,
    compression: Compression,
) -> Result<(Control, ar::Container<R>), Error> {
    let content = BufReader::new(container.into_content());
    let limits = Limits::up_to(MAXIMUM_CONTROL);
    let plain = Decompressor::new(content, compression, limits).map_err(Error::Read)?;
    let mut archive = tar::Reader::new(plain);
    let mut members = Vec::new();
    while let Some(entry) = archive.next_entry().map_err(Error::ControlArchive)? {
        if !entry.path.is_root() {
            read_member(&mut archive, &entry, &mut members)?;
        }
    }
    let content = archive.into_inner().finish().map_err(Error::Read)?;
    let container = content.into_inner().finish()?;
    Ok((Control::new(members)?, container))
}

fn read_member(
    archive: &mut tar::Reader<impl Read>,
    entry: &tar::Entry,
    members: &mut Vec<Member>,
) -> Result<(), Error> {
    let name = entry.path.as_bytes();
    let refuse = |rule| Error::ControlFile { name: escape(name), rule };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._+".contains(byte);
    if !matches!(entry.kind, tar::EntryKind::Regular { .. }) {
        return Err(refuse("is no regular file"));
    }
    if !name.iter().all(plain) {
        return Err(refuse("has a name that dpkg's database cannot hold"));
    }
    let name = String::from_utf8_lossy(name).into_owned();
    if name == "list" || members.iter().any(|member| member.name == name) {
        return Err(refuse("has the name of another file of dpkg's database"));
    }
    let mut bytes = Vec::new();
    archive.content().read_to_end(&mut bytes).map_err(Error::Read)?;
    let tar::Entry { meta, .. } = entry;
    members.push(Member { name, mode: meta.mode, mtime: meta.mtime, bytes: bytes.into() });
    Ok(())
}

impl Control {
    /// Understands what dpkg needs of `members`, one of which is `control`.
    ///
    /// # Errors
    /// [`Error::ControlFile`], [`Error::Stanza`], [`Error::Words`].
    pub fn new(members: Vec<Member>) -> Result<Self, Error> {
        let Some(control) = members.iter().find(|member| member.name == "control") else {
            let name = "no file named control".to_owned();
            return Err(Error::ControlFile { name, rule: "every package has" });
        };
        let stanza = Stanza::parse(&control.bytes)?;
        let mut control =
            Self { stanza, triggers: Triggers::default(), conffiles: Vec::new(), members };
        if let Some(text) = control.member("triggers") {
            control.triggers = Triggers::parse(text)?;
        }
        if let Some(text) = control.member("conffiles") {
            control.conffiles = parse_conffiles(text)?;
        }
        Ok(control)
    }

    /// The bytes of a file of the control part.
    pub fn member(&self, name: &str) -> Option<&[u8]> {
        self.members.iter().find(|member| member.name == name).map(|member| &*member.bytes)
    }

    /// The maintainer scripts.
    pub fn scripts(&self) -> BTreeMap<ScriptKind, Arc<[u8]>> {
        let script = |kind: ScriptKind| {
            let member = self.members.iter().find(|member| member.name == kind.name())?;
            Some((kind, Arc::clone(&member.bytes)))
        };
        ScriptKind::ALL.into_iter().filter_map(script).collect()
    }
}
