//! Any text as what a user or an earlier build wrote: recipe, lock, listing of a tree. What can be
//! read is written back as the same value.

#![no_main]

use std::collections::BTreeMap;
use std::path::Path;

use osbuilder::distro::Architecture;
use osbuilder::lock::Lock;
use osbuilder::recipe::{self, Options, RecipeFile, Request, Surroundings};
use osbuilder::tree::Tree;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let surroundings =
        Surroundings { host: Some(Architecture::X86_64), ..Surroundings::default() };
    let asked = recipe::read(Request {
        file: Some(RecipeFile { path: Path::new("recipe.toml"), text }),
        environment: &BTreeMap::new(),
        options: &Options::default(),
        surroundings: &surroundings,
    });
    if let Err(mistakes) = asked {
        assert!(!mistakes.to_string().is_empty(), "a refusal says why");
    }
    if let Ok(lock) = Lock::parse(text) {
        assert_eq!(Lock::parse(&lock.to_string()).expect("what was written can be read"), lock);
    }
    if let Ok(tree) = Tree::from_listing(text) {
        let listing = tree.to_listing();
        let again = Tree::from_listing(&listing).expect("what was written can be read");
        assert_eq!(again.to_listing(), listing);
    }
});
