//! Tests of recipe files: what is read, and how mistakes are shown.

use super::super::tests::request;
use super::super::{Agent, Options, Policy};
use super::*;

fn mistakes(text: &str) -> Vec<String> {
    let options = Options { agent: Some("probe".to_owned()), ..Options::default() };
    let message = request(Some(text), &[], &options).err().unwrap_or_default();
    message.lines().map(|line| line.replacen("guests/web.toml:", "", 1)).collect()
}

#[test]
fn unknown_keys_and_wrong_types_are_shown_all_at_once_with_line_and_column() {
    let text = "\
distrbution = \"debian\"
version = 13
packages = [\"bash\", 4]

[image]
block-size = \"big\"
  blocksize = 4096
image = 1

[[files]]
source = \"x\"
";
    let expected = [
        "1:1: the key \"distrbution\" is unknown (did you mean \"distribution\"?)",
        "2:11: expected a text in quotes, found a number",
        "3:21: expected a text in quotes, found a number",
        "6:14: expected a whole number, found a text",
        "7:3: the key \"blocksize\" is unknown (did you mean \"block-size\"?)",
        "8:1: the key \"image\" is unknown",
        "11:10: a file needs `source` and `destination`",
    ];
    assert_eq!(mistakes(text), expected);
}

#[test]
fn columns_count_characters_and_not_bytes() {
    assert_eq!(mistakes("epoch = 1 # \u{e9}\nx = \"\"")[0][..4], *"2:1:");
    assert_eq!(mistakes("image = {\"\u{e9}\u{e9}\" = 1, y = 2}")[1][..5], *"1:20:");
}

#[test]
fn broken_toml_is_a_mistake_among_others() {
    let found = mistakes("init = \"systemd\nversion = \"x\"\nx = 1");
    assert!(found.iter().any(|mistake| mistake.starts_with("1:")), "{found:?}");
    assert!(mistakes("epoch = 99999999999999999999999").len() == 1);
    assert_eq!(mistakes("epoch = -1"), ["1:9: expected a whole number, found a number below zero"]);
    assert_eq!(mistakes("files = 3"), ["1:9: expected a list, found a number"]);
}

#[test]
fn relative_paths_start_from_the_file_s_directory() {
    let text = "agent.binary = \"bin/kata-agent\"\nguest.policy = \"/p/strict.rego\"";
    let recipe = request(Some(text), &[], &Options::default()).unwrap().recipe;
    assert_eq!(recipe.agent, Agent::Binary("guests/bin/kata-agent".into()));
    assert_eq!(recipe.guest.policy, Some(Policy::File("/p/strict.rego".into())));
    let two = request(Some("agent = {binary = \"x\", probe = true}"), &[], &Options::default());
    assert!(two.unwrap_err().contains("another agent is given"));
}

#[test]
fn policies_are_none_the_built_in_one_or_a_file() {
    let policy = |word: &str| {
        let text = format!("agent.probe = true\nguest.policy = \"{word}\"");
        request(Some(&text), &[], &Options::default()).unwrap().recipe.guest.policy
    };
    assert_eq!(policy("none"), None);
    assert_eq!(policy("allow-all"), Some(Policy::AllowAll));
}

#[test]
fn the_schema_describes_every_key_and_allows_no_other() {
    fn check(schema: &Schema, path: &str) {
        assert!(schema.get("description").is_some(), "{path} has no description");
        if let Some(properties) = schema.get("properties").and_then(Schema::as_object) {
            assert_eq!(schema.get("additionalProperties"), Some(&Schema::Bool(false)), "{path}");
            properties.iter().for_each(|(key, below)| check(below, &format!("{path}.{key}")));
        }
    }
    let schema = schema();
    check(&schema, "");
    assert_eq!(schema["title"], "osbuilder recipe");
    assert_eq!(schema["properties"]["image"]["properties"]["block-size"]["type"], "integer");
    assert!(schema.get("required").is_none());
}

#[test]
fn the_example_recipes_are_right() {
    let read = |text| request(Some(text), &[], &Options::default()).unwrap().recipe;
    let debian = read(include_str!("../../../recipes/debian.toml"));
    assert_eq!((debian.agent, debian.release.codename.as_str()), (Agent::Probe, "trixie"));
    let small = read(include_str!("../../../recipes/small.toml"));
    assert_eq!((small.init, small.packages.base.len()), (super::super::Init::Agent, 1));
    let confidential = read(include_str!("../../../recipes/confidential.toml"));
    assert!(confidential.guest.confidential);
    assert_eq!(confidential.agent, Agent::Tarball("guests/kata-agent.tar.zst".into()));
}

#[test]
fn a_recipe_with_every_key_is_read() {
    let full = include_str!("../../../recipes/full.toml");
    let reading = request(Some(full), &[], &Options::default()).unwrap();
    assert_eq!(reading.recipe.release.codename, "trixie");
    let document: toml::Table = full.parse().unwrap();
    let schema = schema();
    for (key, property) in schema["properties"].as_object().unwrap() {
        let Some(value) = document.get(key) else { panic!("{key} is not in the example") };
        let inner = property.get("properties").and_then(Schema::as_object);
        for below in inner.into_iter().flatten().map(|(below, _)| below) {
            let alternative = matches!(below.as_str(), "tarball" | "source" | "probe");
            assert!(value.get(below).is_some() || alternative, "{key}.{below} is missing");
        }
    }
}
