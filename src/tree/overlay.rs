//! Laying one tree over another, as unpacking an archive into a directory does.

use std::collections::BTreeMap;

use super::{Error, Inode, InodeId, Kind, Tree, TreePath};

impl Tree {
    /// Puts everything in `layer` into this tree at `place`.
    ///
    /// Symbolic links *on the way* to a path are followed inside this tree, so that `lib/x` lands in
    /// `usr/lib/x` where `/lib` leads there; a file replaces a file or link of its own name and is
    /// never written through it. A directory that exists here keeps its owner, mode and attributes,
    /// also when a link leads to it: an archive packed by an ordinary user must not make `/usr` his.
    /// Hard links within the layer stay hard links. The layer's own root counts for nothing.
    ///
    /// # Errors
    /// [`Error::IsADirectory`] and [`Error::NotADirectory`] where one has a directory and the other
    /// has none; [`Error::TooManyLinks`]; [`Error::Missing`] never, [`Error::BadPath`] when joined
    /// paths grow too long.
    pub fn overlay(&mut self, place: &TreePath, layer: &Self) -> Result<(), Error> {
        self.make_directories(place, &super::Meta::root(0o755))?;
        let mut first_names: BTreeMap<InodeId, TreePath> = BTreeMap::new();
        for (path, id, inode) in layer.walk().skip(1) {
            let path = self.resolve_parent(&place.join(path.as_bytes())?)?;
            match &inode.kind {
                Kind::Directory(_) => self.overlay_directory(&path, inode)?,
                _ => match first_names.get(&id) {
                    Some(first) => drop(self.link(&path, &first.clone())?),
                    None => {
                        self.insert(&path, inode.clone())?;
                        first_names.insert(id, path);
                    }
                },
            }
        }
        Ok(())
    }

    fn overlay_directory(&mut self, path: &TreePath, inode: &Inode) -> Result<(), Error> {
        let here = self.resolve(path)?;
        match self.get(&here).map(|present| &present.kind) {
            Some(Kind::Directory(_)) => Ok(()),
            Some(_) => Err(Error::NotADirectory { path: here }),
            None => self.make_directories(&here, &inode.meta).map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Content, Meta};
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).unwrap()
    }

    fn tree(entries: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        for (name, what) in entries {
            let path = path(name);
            tree.make_directories(&path.parent().unwrap(), &Meta::root(0o755)).unwrap();
            let path = tree.resolve_parent(&path).unwrap();
            let kind = match what.strip_prefix("-> ") {
                Some(target) => Kind::Symlink(target.as_bytes().into()),
                None if *what == "/" => Kind::Directory(BTreeMap::new()),
                None => Kind::Regular(Content::Inline(what.as_bytes().into())),
            };
            tree.insert(&path, Inode { meta: Meta::root(0o755), kind }).unwrap();
        }
        tree
    }

    fn names(tree: &Tree) -> Vec<String> {
        tree.walk().skip(1).map(|(path, ..)| path.to_string()).collect()
    }

    #[test]
    fn a_layer_s_files_land_where_the_tree_s_links_lead() {
        let mut base = tree(&[("usr/lib/a", "old"), ("lib", "-> usr/lib"), ("etc", "/")]);
        let layer = tree(&[("lib/a", "new"), ("lib/systemd/b", "b"), ("opt/c", "c")]);
        base.overlay(&TreePath::ROOT, &layer).unwrap();
        assert_eq!(
            names(&base),
            [
                "/etc",
                "/lib",
                "/opt",
                "/opt/c",
                "/usr",
                "/usr/lib",
                "/usr/lib/a",
                "/usr/lib/systemd",
                "/usr/lib/systemd/b"
            ]
        );
        assert_eq!(base.get(&path("usr/lib/a")), tree(&[("x", "new")]).get(&path("x")));
    }

    #[test]
    fn a_file_replaces_a_link_and_is_not_written_through_it() {
        let mut base = tree(&[("etc/passwd", "root"), ("etc/link", "-> passwd")]);
        base.overlay(&TreePath::ROOT, &tree(&[("etc/link", "x")])).unwrap();
        assert_eq!(base.get(&path("etc/passwd")), tree(&[("x", "root")]).get(&path("x")));
        assert!(matches!(base.get(&path("etc/link")).unwrap().kind, Kind::Regular(_)));
    }

    #[test]
    fn existing_directories_keep_their_owner_and_new_ones_bring_theirs() {
        let mut layer = tree(&[("usr/new/x", "x")]);
        for name in ["", "usr", "usr/new"] {
            layer.get_mut(&path(name)).unwrap().meta.uid = 1000;
        }
        let mut base = tree(&[("usr", "/")]);
        base.overlay(&TreePath::ROOT, &layer).unwrap();
        let owner = |name| base.get(&path(name)).unwrap().meta.uid;
        assert_eq!([owner(""), owner("usr"), owner("usr/new")], [0, 0, 1000]);
    }

    #[test]
    fn hard_links_of_a_layer_stay_hard_links_below_any_place() {
        let mut layer = tree(&[("a", "same")]);
        layer.link(&path("b"), &path("a")).unwrap();
        let mut base = Tree::default();
        base.overlay(&path("lib/modules"), &layer).unwrap();
        assert_eq!(base.lookup(&path("lib/modules/a")), base.lookup(&path("lib/modules/b")));
        assert_eq!(base.hard_links().len(), 1);
    }

    #[test]
    fn directories_and_files_do_not_replace_each_other_and_circles_end() {
        let mut base = tree(&[("a/b", "x"), ("c", "x"), ("loop", "-> loop")]);
        let over = |base: &mut Tree, entry| base.overlay(&TreePath::ROOT, &tree(&[entry]));
        assert_eq!(over(&mut base, ("a", "x")), Err(Error::IsADirectory { path: path("a") }));
        assert_eq!(over(&mut base, ("c/d", "x")), Err(Error::NotADirectory { path: path("c") }));
        let circle = over(&mut base, ("loop/x", "x"));
        assert_eq!(circle, Err(Error::TooManyLinks { path: path("loop") }));
    }
}
