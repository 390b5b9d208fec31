//! `/var/lib/osbuilder/osbuilder.yaml`: what a guest was made of, for `kata-collect-data.sh`.
//!
//! Format 0.0.2 of Kata's osbuilder, key by key in its order; every scalar is a double-quoted string
//! of YAML 1.2. The time is the epoch's: the file says nothing about when or where a build ran.

use super::editor::Editor;
use super::{Error, Inputs};
use crate::epoch::Epoch;
use crate::recipe::{Init, Recipe};

const PATH: &str = "var/lib/osbuilder/osbuilder.yaml";
const URL: &str = "https://github.com/kata-containers/kata-containers/tools/osbuilder";
const FORMAT: &str = "0.0.2";
const UNKNOWN: &str = "unknown";

/// What the summary says beyond what provisioning knows anyway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Version of osbuilder; `None` is written `unknown`.
    pub osbuilder_version: Option<String>,
    /// The guest's processor, by the kernel's name.
    pub architecture: String,
    /// Name of the distribution.
    pub distro: String,
    /// Its release, by the code name.
    pub release: String,
    /// The packages that were asked for, without those that came along.
    pub packages: Vec<String>,
    /// What the user asked for beside them.
    pub extra_packages: Vec<String>,
    /// Repository of the agent, without `https://`.
    pub agent_repository: String,
    /// Version of the agent; `None` is written `unknown`.
    pub agent_version: Option<String>,
    /// Whether scripts ran in a plain chroot in place of the sandbox. Not written unless so: Kata's
    /// format has no word for it.
    pub plain_chroot: bool,
}

impl Summary {
    /// What a recipe says.
    pub fn of(recipe: &Recipe) -> Self {
        let guest = &recipe.guest;
        let names =
            |names: &[crate::package::Asked]| names.iter().map(ToString::to_string).collect();
        Self {
            osbuilder_version: guest.osbuilder_version.clone(),
            architecture: recipe.architecture.to_string(),
            distro: guest.distro_name.clone().unwrap_or_else(|| recipe.distro.name.clone()),
            release: recipe.release.codename.clone(),
            packages: names(&recipe.packages.base),
            extra_packages: names(&recipe.packages.extra),
            agent_repository: guest.kata_repository.clone(),
            agent_version: guest.agent_version.clone(),
            plain_chroot: recipe.plain_chroot,
        }
    }
}

/// Where configuring left the list of scripts that did not run.
const NOT_RUN: &str = "var/lib/osbuilder/scripts-not-run";

/// Takes the list of scripts that did not run, or not all of them, out of the tree.
pub(super) fn take_not_run(editor: &mut Editor<'_>) -> Result<Vec<String>, Error> {
    let text = editor.text(NOT_RUN)?.unwrap_or_default();
    editor.remove(NOT_RUN)?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Writes the file.
pub(super) fn write(
    editor: &mut Editor<'_>,
    inputs: &Inputs<'_>,
    not_run: &[String],
) -> Result<(), Error> {
    let mut text = render(inputs.summary, inputs.agent_name, inputs.init, inputs.epoch);
    // What Kata's format has no word for is written only where it is so.
    if inputs.by_handlers {
        text.push_str(&format!("scripts-ran-by: {}\n", quoted("built-in handlers")));
    }
    if !not_run.is_empty() {
        text.push_str("scripts-not-run:\n");
        not_run.iter().for_each(|line| text.push_str(&format!("  - {}\n", quoted(line))));
    }
    editor.file(PATH, 0o644, &text)
}

fn render(summary: &Summary, agent_name: &str, init: Init, epoch: Epoch) -> String {
    let unknown = |version: &Option<String>| quoted(version.as_deref().unwrap_or(UNKNOWN));
    let mut lines = vec![
        "---".to_owned(),
        "osbuilder:".to_owned(),
        format!("  url: {}", quoted(URL)),
        format!("  version: {}", unknown(&summary.osbuilder_version)),
        format!("rootfs-creation-time: {}", quoted(&time(epoch))),
        format!("description: {}", quoted("osbuilder rootfs")),
        format!("file-format-version: {}", quoted(FORMAT)),
        format!("architecture: {}", quoted(&summary.architecture)),
        "base-distro:".to_owned(),
        format!("  name: {}", quoted(&summary.distro)),
        format!("  version: {}", quoted(&summary.release)),
        "  packages:".to_owned(),
        format!("    default:{}", list(&summary.packages)),
        format!("    extra:{}", list(&summary.extra_packages)),
        "agent:".to_owned(),
        format!("  url: {}", quoted(&format!("https://{}", summary.agent_repository))),
        format!("  name: {}", quoted(agent_name)),
        format!("  version: {}", unknown(&summary.agent_version)),
        format!(
            "  agent-is-init-daemon: {}",
            quoted(if init == Init::Agent { "yes" } else { "no" })
        ),
    ];
    if summary.plain_chroot {
        lines.push(format!("scripts-ran-in: {}", quoted("plain chroot")));
    }
    lines.join("\n") + "\n"
}

/// With nanoseconds, an offset and a `Z`, as Kata writes it.
fn time(epoch: Epoch) -> String {
    let seconds = epoch.to_string();
    format!("{}.000000000+0000Z", seconds.trim_end_matches('Z'))
}

/// A list in block style, sorted, each once; nothing at all when it is empty.
fn list(names: &[String]) -> String {
    let names: std::collections::BTreeSet<&String> = names.iter().collect();
    names.into_iter().map(|name| format!("\n      - {}", quoted(name))).collect()
}

/// A double-quoted scalar: printable ASCII stays, everything else is escaped.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            ' '..='~' => quoted.push(letter),
            _ => quoted.push_str(&format!("\\U{:08x}", u32::from(letter))),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_has_kata_s_keys_in_kata_s_order_and_the_epoch_s_time() {
        let summary = Summary {
            osbuilder_version: Some("3.2-abc\"\u{e9}".to_owned()),
            architecture: "x86_64".to_owned(),
            distro: "debian".to_owned(),
            release: "trixie".to_owned(),
            packages: vec!["systemd".to_owned(), "chrony".to_owned(), "chrony".to_owned()],
            extra_packages: Vec::new(),
            agent_repository: "github.com/kata-containers/kata-containers".to_owned(),
            agent_version: None,
            plain_chroot: false,
        };
        let text = render(&summary, "kata-agent", Init::Agent, Epoch::new(1_700_000_000).unwrap());
        let expected = r#"---
osbuilder:
  url: "https://github.com/kata-containers/kata-containers/tools/osbuilder"
  version: "3.2-abc\"\U000000e9"
rootfs-creation-time: "2023-11-14T22:13:20.000000000+0000Z"
description: "osbuilder rootfs"
file-format-version: "0.0.2"
architecture: "x86_64"
base-distro:
  name: "debian"
  version: "trixie"
  packages:
    default:
      - "chrony"
      - "systemd"
    extra:
agent:
  url: "https://github.com/kata-containers/kata-containers"
  name: "kata-agent"
  version: "unknown"
  agent-is-init-daemon: "yes"
"#;
        assert_eq!(text, expected);
    }
}
