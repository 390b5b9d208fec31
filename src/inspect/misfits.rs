//! Where the configuration of Kata's runtime does not fit a guest.
//!
//! In: what the configuration says, and what the guest is. Out: findings, a sentence each. What is not
//! said is not judged: further files (`config.d`) may say it.

use super::{Finding, Form, Hypervisor, Measurement, Runtime, Severity};
use crate::image::verity::Parameters;

/// Everything in `runtime` that a guest of this form cannot be started with, or not as is meant.
pub(super) fn misfits(runtime: &Runtime, form: &Form, measurement: &Measurement) -> Vec<Finding> {
    let mut found = Vec::new();
    for hypervisor in &runtime.hypervisors {
        let mut judge = Judge { hypervisor, found: &mut found };
        match form {
            Form::Initrd { .. } => judge.initrd(),
            Form::Image { .. } => judge.image(form, measurement),
        }
    }
    found
}

struct Judge<'a> {
    hypervisor: &'a Hypervisor,
    found: &'a mut Vec<Finding>,
}

impl Judge<'_> {
    /// Adds what the runtime would do; `rest` begins with a verb.
    fn add(&mut self, severity: Severity, rest: &str) {
        let what = format!("the runtime ({}) {rest}", self.hypervisor.name);
        self.found.push(Finding { severity, what });
    }

    fn bad(&mut self, rest: &str) {
        self.add(Severity::Fatal, rest);
    }

    /// Whether it is to start what `is_this` says, and nothing else.
    fn kinds(&mut self, (has_this, this): (bool, &str), (has_other, other): (bool, &str)) {
        match (has_this, has_other) {
            (true, true) => self.bad("refuses to have both an image and an initrd"),
            (false, true) => self.bad(&format!("starts {other}, and this is {this}")),
            (_, false) => {}
        }
    }

    fn initrd(&mut self) {
        let Hypervisor { has_image, has_initrd, .. } = *self.hypervisor;
        self.kinds((has_initrd, "an initrd"), (has_image, "an image"));
        if self.hypervisor.parameters.is_some() {
            self.bad("would check a hash tree, and an initrd has none");
        }
    }

    fn image(&mut self, form: &Form, measurement: &Measurement) {
        let Form::Image { file_system, hash_tree, nvdimm_block, .. } = form else { return };
        let Hypervisor { has_image, has_initrd, nvdimm, .. } = *self.hypervisor;
        self.kinds((has_image, "an image"), (has_initrd, "an initrd"));
        let (expected, kind) = (&self.hypervisor.root_type, file_system.kind);
        if expected != kind {
            self.bad(&format!("expects {expected}, and this is {kind}"));
        }
        if nvdimm && nvdimm_block.is_none() {
            let text = "attaches images as persistent memory (`disable_image_nvdimm = false`), and this \
                        one has no NVDIMM header for it";
            self.add(Severity::Later, text);
        }
        match (&self.hypervisor.parameters, hash_tree) {
            (None, None) => {}
            (None, Some(_)) => self.bad("would not check this measured image"),
            (Some(_), None) => self.bad("would check a hash tree that is not there"),
            (Some(line), Some(tree)) => {
                if tree.superblock {
                    self.bad("would take the superblock before the hash tree for a part of it");
                }
                self.parameters(line, measurement);
            }
        }
    }

    fn parameters(&mut self, line: &str, measurement: &Measurement) {
        match (line.parse::<Parameters>(), measurement) {
            (Err(error), _) => self.bad(&format!("has bad parameters: {error}")),
            (Ok(parameters), Measurement::Verified(right) | Measurement::Consistent(right))
                if parameters == *right => {}
            (Ok(_), Measurement::Unchecked) => {}
            (Ok(_), _) => self.bad("has parameters that are not this image's"),
        }
    }
}
