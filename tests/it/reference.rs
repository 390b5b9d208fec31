//! What people read of the program: the help of every verb, the manual page, the schema of recipes.
//! A change to any of them is seen in review. `INSTA_UPDATE=always cargo test --test it reference`
//! writes them anew.

use std::path::Path;

use crate::program::osbuilder_in;

/// Every verb, and the verbs below one of them.
const VERBS: [&[&str]; 17] = [
    &[],
    &["rootfs"],
    &["image"],
    &["initrd"],
    &["build"],
    &["lock"],
    &["boot"],
    &["distros"],
    &["inspect"],
    &["verify"],
    &["diff"],
    &["cache"],
    &["cache", "show"],
    &["cache", "check"],
    &["cache", "shrink"],
    &["completions"],
    &["man"],
];

/// What the program prints, without its own version.
fn printed(arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = osbuilder_in(folder.path(), arguments, &[]);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| line.trim_end().to_owned() + "\n").collect::<String>();
    lines.replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

#[test]
fn every_verb_explains_itself() {
    let mut text = String::new();
    for verb in VERBS {
        let help = printed(&[verb, &["--help"]].concat());
        text.push_str(&format!("$ osbuilder {} --help\n\n{help}\n", verb.join(" ")));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn no_verb_is_left_out_of_the_reference() {
    let help = printed(&["--help"]);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    for line in listed.take_while(|line| !line.is_empty()) {
        let verb = line.split_whitespace().next().unwrap();
        assert!(verb == "help" || VERBS.contains(&&[verb][..]), "{verb}");
    }
}

#[test]
fn the_manual_has_a_main_page_and_one_for_each_verb() {
    insta::assert_snapshot!(printed(&["man"]));
    let folder = tempfile::tempdir().unwrap();
    let output = osbuilder_in(folder.path(), &["man", "pages"], &[]);
    assert_eq!(output.status.code(), Some(0));
    for verb in VERBS {
        let page = [&["osbuilder"], verb].concat().join("-");
        assert!(folder.path().join(format!("pages/{page}.1")).is_file(), "{page}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "who runs tests says that the file is to be renewed")]
fn the_schema_beside_the_recipes_is_the_program_s() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/schema.json");
    let schema = serde_json::to_string_pretty(&osbuilder::recipe::schema()).unwrap() + "\n";
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        fs_err::write(&path, &schema).unwrap();
    }
    let kept = fs_err::read_to_string(&path).unwrap_or_default();
    assert!(kept == schema, "recipes/schema.json is not what `osbuilder::recipe::schema` says");
}

#[test]
fn mistakes_in_a_recipe_are_shown_at_once_with_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = "distrbution = \"debian\"\nversion = 13\n\n[image]\nblock-size = \"big\"\n";
    fs_err::write(folder.path().join("guest.toml"), recipe).unwrap();
    let output = osbuilder_in(folder.path(), &["build", "guest.toml"], &[("AGENT_INIT", "maybe")]);
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap());
}
