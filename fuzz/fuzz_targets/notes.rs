//! Any text as what a user or an earlier build wrote: recipe, lock, listing of a tree, the line of a
//! measured image, a runtime's configuration, an extension's manifest. What can be read is written
//! back as the same value.

#![no_main]

use std::collections::BTreeMap;
use std::path::Path;

use osbuilder::distro::Architecture;
use osbuilder::image::verity::Parameters;
use osbuilder::inspect::{self, Runtime};
use osbuilder::lock::Lock;
use osbuilder::recipe::{self, Options, RecipeFile, Request, Surroundings};
use osbuilder::tree::{Content, Inode, Kind, Meta, NoContents, Tree, TreePath};

const MANIFEST: &str = "etc/kata-extensions/components.toml";
const LINE: &str = "root_hash=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef,\
    salt=00,data_blocks=1,data_block_size=4096,hash_block_size=4096";

/// What somebody says of an image: its measurement, and what is in it.
fn claims(text: &str) {
    if let Ok(parameters) = text.parse::<Parameters>() {
        let again: Parameters = parameters.to_string().parse().expect("it was written by us");
        assert_eq!(again, parameters);
    }
    if let Ok(rewritten) = Runtime::rewrite(text, &LINE.parse().expect("it is one")) {
        Runtime::parse(&rewritten).expect("what was written can be read");
    }
    Runtime::parse(text).ok();
    let mut tree = Tree::default();
    let path = TreePath::parse(MANIFEST).expect("a clean path");
    let parent = path.parent().expect("it is not the root");
    tree.make_directories(&parent, &Meta::root(0o755)).expect("no file is in the way");
    let kind = Kind::Regular(Content::Inline(text.as_bytes().into()));
    tree.insert(&path, Inode { meta: Meta::root(0o644), kind }).expect("the directory exists");
    inspect::extension(&tree, &NoContents).expect("the content is at hand");
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    let surroundings = Surroundings { host: Some(Architecture::X86_64), ..Surroundings::default() };
    let asked = recipe::read(Request {
        file: Some(RecipeFile { path: Path::new("recipe.toml"), text }),
        environment: &BTreeMap::new(),
        options: &Options::default(),
        surroundings: &surroundings,
    });
    if let Err(mistakes) = asked {
        assert!(!mistakes.to_string().is_empty(), "a refusal says why");
    }
    claims(text);
    if let Ok(lock) = Lock::parse(text) {
        assert_eq!(Lock::parse(&lock.to_string()).expect("what was written can be read"), lock);
    }
    if let Ok(tree) = Tree::from_listing(text) {
        let listing = tree.to_listing();
        let again = Tree::from_listing(&listing).expect("what was written can be read");
        assert_eq!(again.to_listing(), listing);
    }
});
