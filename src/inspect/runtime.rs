//! The configuration of Kata's runtime, as far as it speaks of the image.
//!
//! `configuration.toml` has a table for each hypervisor (`[hypervisor.qemu]`). What counts here:
//! `image`, `initrd`, `rootfs_type`, `disable_image_nvdimm` (which `confidential_guest` overrules),
//! `kernel_verity_params`. The files of `config.d` beside it, in the order of their names, replace what
//! they name and leave the rest. Rewriting changes the lines of the last of these and nothing else: comments
//! and order stay.

use toml::{Table, Value};

use crate::image::verity::Parameters;

const PARAMETERS: &str = "kernel_verity_params";

/// What a configuration says of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// One for each hypervisor.
    pub hypervisors: Vec<Hypervisor>,
}

/// What a configuration says of the image of a hypervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hypervisor {
    /// Its name: `qemu`.
    pub name: String,
    /// Whether it names an image.
    pub has_image: bool,
    /// Whether it names an initrd.
    pub has_initrd: bool,
    /// Whether it says that images are attached as persistent memory.
    pub nvdimm: bool,
    /// The file system that it expects; Kata's default is `ext4`.
    pub root_type: String,
    /// What the guest's kernel shall check its root with; `None` when it shall not.
    pub parameters: Option<String>,
}

/// Why a text is no configuration of Kata's runtime.
#[derive(Debug, thiserror::Error)]
pub enum BadRuntime {
    /// It is not TOML.
    #[error("the runtime's configuration is not TOML")]
    Syntax(#[source] toml::de::Error),
    /// There is no hypervisor in it.
    #[error("the runtime's configuration has no table `hypervisor`")]
    NoHypervisor,
    /// There is no line that could be rewritten.
    #[error("the runtime's configuration has no line `{PARAMETERS} = …` to rewrite")]
    NoLine,
    /// The line stands where it cannot be rewritten by itself.
    #[error(
        "a line `{PARAMETERS} = …` of the runtime's configuration cannot be rewritten by itself"
    )]
    Entangled,
}

impl Runtime {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`BadRuntime::Syntax`], [`BadRuntime::NoHypervisor`].
    pub fn parse(text: &str) -> Result<Self, BadRuntime> {
        Self::of(&table(text)?)
    }

    /// Reads a configuration and the files that replace parts of it, in their order.
    ///
    /// # Errors
    /// As [`Runtime::parse`], of the configuration.
    pub fn with_drop_ins(text: &str, drop_ins: &[DropIn]) -> Result<Self, BadRuntime> {
        let mut document = table(text)?;
        drop_ins.iter().for_each(|drop_in| replace(&mut document, &drop_in.0));
        Self::of(&document)
    }

    fn of(document: &Table) -> Result<Self, BadRuntime> {
        let tables = document.get("hypervisor").and_then(Value::as_table);
        let tables = tables.filter(|tables| !tables.is_empty()).ok_or(BadRuntime::NoHypervisor)?;
        let hypervisors = tables.iter().filter_map(|(name, value)| {
            let table = value.as_table()?;
            let text = |key| table.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
            let switch = |key| table.get(key).and_then(Value::as_bool);
            let confidential = switch("confidential_guest") == Some(true);
            Some(Hypervisor {
                name: name.clone(),
                has_image: text("image").is_some(),
                has_initrd: text("initrd").is_some(),
                nvdimm: switch("disable_image_nvdimm") == Some(false) && !confidential,
                root_type: text("rootfs_type").unwrap_or("ext4").to_owned(),
                parameters: text(PARAMETERS).map(str::to_owned),
            })
        });
        Ok(Self { hypervisors: hypervisors.collect() })
    }

    /// Returns the text with these parameters in every line that has some.
    ///
    /// # Errors
    /// As [`Runtime::parse`], and [`BadRuntime::NoLine`], [`BadRuntime::Entangled`].
    pub fn rewrite(text: &str, parameters: &Parameters) -> Result<String, BadRuntime> {
        let before = Self::parse(text)?;
        let mut rewritten = false;
        let line = |line: &str| {
            let rest = line.trim_start().strip_prefix(PARAMETERS).map(str::trim_start);
            if !rest.is_some_and(|rest| rest.starts_with('=')) {
                return line.to_owned();
            }
            rewritten = true;
            let indent: String = line.chars().take_while(|c| c.is_whitespace()).collect();
            let end = if line.ends_with('\n') { "\n" } else { "" };
            format!("{indent}{PARAMETERS} = \"{parameters}\"{end}")
        };
        let text: String = text.split_inclusive('\n').map(line).collect();
        if !rewritten {
            return Err(BadRuntime::NoLine);
        }
        let after = Self::parse(&text).map_err(|_| BadRuntime::Entangled)?;
        if before.is_but_for_parameters(&after, &parameters.to_string()) {
            Ok(text)
        } else {
            Err(BadRuntime::Entangled)
        }
    }

    /// Whether `after` is this configuration, each hypervisor with these parameters where it has some.
    fn is_but_for_parameters(&self, after: &Self, parameters: &str) -> bool {
        let fits = |before: &Hypervisor, after: &Hypervisor| {
            let found = after.parameters.clone();
            let same = Hypervisor { parameters: found.clone(), ..before.clone() } == *after;
            same && (found.as_deref() == Some(parameters)
                || found.or(before.parameters.clone()).is_none())
        };
        self.hypervisors.len() == after.hypervisors.len()
            && self.hypervisors.iter().zip(&after.hypervisors).all(|(one, other)| fits(one, other))
    }
}

/// A file of `config.d`.
#[derive(Debug, Clone)]
pub struct DropIn(Table);

impl DropIn {
    /// Reads one.
    ///
    /// # Errors
    /// [`BadRuntime::Syntax`].
    pub fn parse(text: &str) -> Result<Self, BadRuntime> {
        table(text).map(Self)
    }
}

fn table(text: &str) -> Result<Table, BadRuntime> {
    text.parse().map_err(BadRuntime::Syntax)
}

/// Replaces values by those of `newer`; tables keep what it does not name.
fn replace(older: &mut Table, newer: &Table) {
    for (key, value) in newer {
        match (older.get_mut(key), value) {
            (Some(Value::Table(older)), Value::Table(newer)) => replace(older, newer),
            _ => drop(older.insert(key.clone(), value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Kata\n[hypervisor.qemu]\nimage = \"/x.img\" # the image\n\
         rootfs_type=\"erofs\"\n  kernel_verity_params = \"\"\n[runtime]\nx = 1\n";
    const LINE: &str = "root_hash=\
        0000000000000000000000000000000000000000000000000000000000000001,salt=ab01,\
        data_blocks=64000,data_block_size=4096,hash_block_size=4096";

    #[test]
    fn files_beside_it_replace_what_they_name_each_after_the_other() {
        let drop_ins = [
            "[hypervisor.qemu]\nrootfs_type = \"ext4\"\nkernel_verity_params = \"one\"\n",
            "[hypervisor.qemu]\nkernel_verity_params = \"two\"\n[hypervisor.clh]\nimage = \"y\"\n",
        ];
        let drop_ins = drop_ins.map(|text| DropIn::parse(text).unwrap());
        let runtime = Runtime::with_drop_ins(TEXT, &drop_ins).unwrap();
        let [clh, qemu] = &runtime.hypervisors[..] else { panic!("{runtime:?}") };
        assert!(clh.has_image && clh.parameters.is_none());
        assert!(qemu.has_image && qemu.root_type == "ext4");
        assert_eq!(qemu.parameters.as_deref(), Some("two"));
        let plain = Runtime::with_drop_ins(TEXT, &[]).unwrap();
        assert_eq!(plain, Runtime::parse(TEXT).unwrap());
    }

    #[test]
    fn a_configuration_says_what_it_expects() {
        let runtime = Runtime::parse(TEXT).unwrap();
        let expected = Hypervisor {
            name: "qemu".into(),
            has_image: true,
            has_initrd: false,
            nvdimm: false,
            root_type: "erofs".into(),
            parameters: None,
        };
        assert_eq!(runtime.hypervisors, [expected]);
        let nvdimm = |text: &str| Runtime::parse(text).unwrap().hypervisors[0].nvdimm;
        let said = "[hypervisor.qemu]\ndisable_image_nvdimm = false\n";
        assert!(nvdimm(said));
        assert!(!nvdimm(&said.replace("false", "true")));
        assert!(!nvdimm(&format!("{said}confidential_guest = true\n")));
        assert!(matches!(Runtime::parse("x = 1"), Err(BadRuntime::NoHypervisor)));
        assert!(matches!(Runtime::parse("x ="), Err(BadRuntime::Syntax(_))));
    }

    #[test]
    fn rewriting_changes_one_line_and_keeps_comments() {
        let parameters: Parameters = LINE.parse().unwrap();
        let rewritten = Runtime::rewrite(TEXT, &parameters).unwrap();
        assert_eq!(
            rewritten,
            TEXT.replace(
                "kernel_verity_params = \"\"",
                &format!("kernel_verity_params = {LINE:?}")
            )
        );
        let again = Runtime::parse(&rewritten).unwrap();
        assert_eq!(again.hypervisors[0].parameters.as_deref(), Some(LINE));
        let without = TEXT.replace("kernel_verity_params", "# kernel_verity_params");
        assert!(matches!(Runtime::rewrite(&without, &parameters), Err(BadRuntime::NoLine)));
        let entangled = TEXT.replace("= \"\"", "= \"\"\"\nroot_hash=00\"\"\"");
        let error = Runtime::rewrite(&entangled, &parameters);
        assert!(matches!(error, Err(BadRuntime::Entangled)), "{entangled}: {error:?}");
    }
}
