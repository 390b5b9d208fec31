//! The contents of a guest's files, by digest, out of an image or an initrd.

use std::io::{self, Cursor, Read};

use crate::digest::{Digest, Hasher};
use crate::image::{Medium, Stream, initrd};
use crate::tree::Contents;

/// The contents of a guest that was read.
pub struct FileContents<'m>(Source<'m>);

enum Source<'m> {
    Image(Box<dyn Contents + 'm>),
    /// An archive has no index: to find a file, everything before it is passed.
    Initrd {
        medium: &'m dyn Medium,
        /// The digests of the data in the archive, in its order.
        order: Vec<Digest>,
    },
}

impl std::fmt::Debug for FileContents<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileContents")
    }
}

impl<'m> FileContents<'m> {
    pub(super) fn of_image(contents: Box<dyn Contents + 'm>) -> Self {
        Self(Source::Image(contents))
    }

    pub(super) const fn of_initrd(medium: &'m dyn Medium, order: Vec<Digest>) -> Self {
        Self(Source::Initrd { medium, order })
    }
}

impl Contents for FileContents<'_> {
    /// Of an initrd, the whole content is in memory while it is open.
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
        match &self.0 {
            Source::Image(contents) => contents.open(digest),
            _ if *digest == Digest::of(b"") => Ok(Box::new(io::empty())),
            Source::Initrd { medium, order } => {
                let place = order.iter().position(|it| it == digest);
                let place = place.ok_or(io::ErrorKind::NotFound)?;
                Ok(Box::new(Cursor::new(find(*medium, place, digest)?)))
            }
        }
    }
}

/// Reads the archive again, and keeps the data at `place`.
fn find(medium: &dyn Medium, place: usize, digest: &Digest) -> io::Result<Vec<u8>> {
    let mut found = Vec::new();
    let mut passed = 0_usize;
    let read = initrd::read(Stream::new(medium), &mut |data| {
        if passed == place {
            data.read_to_end(&mut found)?;
        }
        passed = passed.saturating_add(1);
        Ok((Digest::of(b""), io::copy(data, &mut io::sink())?))
    });
    read.map_err(io::Error::other)?;
    let mut hasher = Hasher::default();
    hasher.update(&found);
    if hasher.finish() == *digest {
        Ok(found)
    } else {
        Err(io::Error::other("the initrd changed while it was read"))
    }
}
