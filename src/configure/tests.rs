//! What is kept of a configured tree, and what is not.

use std::sync::Mutex;

use super::went_on::WentOn;
use super::{Configured, Error, Key, find, keep};
use crate::digest::Digest;
use crate::event::Event;
use crate::sandbox::Status;
use crate::store::Store;
use crate::tree::{Content, Inode, Kind, Meta, Tree, TreePath};

#[test]
fn a_tree_in_which_a_script_failed_is_found_again_once_it_was_made_twice_and_says_so_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let key = Key { digest: Digest::of(b"the same packages"), by_handlers: false };
    let made = |text: &str, failures: &[&str]| {
        let mut tree = Tree::default();
        let kind = Kind::Regular(Content::Inline(text.as_bytes().into()));
        let path = TreePath::parse("state").unwrap();
        tree.insert(&path, Inode { meta: Meta::root(0o644), kind }).unwrap();
        let pack = store.new_pack().unwrap();
        let went_on = WentOn::default();
        for said in failures {
            let (package, status, output) =
                ("a".parse().unwrap(), Status::Exited(1), String::new());
            let failed = Error::ScriptFailed { package, script: "%post", status, output };
            went_on.note(&failed, (*said).to_owned());
        }
        let Configured { tree, .. } = keep(tree, key, (&store, pack), &went_on).unwrap();
        let Some(Inode { kind: Kind::Regular(content), .. }) = tree.get(&path) else { panic!() };
        std::io::read_to_string(content.open(&store).unwrap()).unwrap()
    };
    let found = || {
        let told = Mutex::new(Vec::new());
        let listener = |event| {
            if let Event::Warning { text, .. } = event {
                told.lock().unwrap().push(text);
            }
        };
        let found = find(&store, &key, &listener).unwrap().is_some();
        (found, told.into_inner().unwrap())
    };
    let failures = ["a failed\n  as process 39", "b failed"];
    let before = ["a failed\n  as process 17", "b failed"];
    for (text, failures) in [("half", &failures[..]), ("half", &failures[..1]), ("less", &before)] {
        assert_eq!(made(text, failures), text);
        assert_eq!(found(), (false, vec![]));
    }
    assert_eq!(made("less", &failures), "less");
    assert_eq!(found(), (true, failures.map(str::to_owned).to_vec()));
    assert_eq!(made("whole", &[]), "whole");
    assert_eq!(found(), (true, vec![]));
}

#[test]
fn a_key_s_text_says_whether_handlers_ran_scripts() {
    let digest = Digest::of(b"packages");
    for by_handlers in [false, true] {
        let key = Key { digest, by_handlers };
        assert_eq!(key.to_string().parse(), Ok(key));
    }
    assert!(format!("{digest} by-somebody").parse::<Key>().is_err());
}
