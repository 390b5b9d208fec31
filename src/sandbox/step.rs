//! The steps into the sandbox, and how the new process tells which of them failed.
//!
//! A number each, because the process that fails them may not allocate and speaks in a few bytes.

use rustix::io::Errno;

/// A step on the way into the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// Shedding the parent's descriptors.
    Descriptors,
    /// Making the namespaces.
    Namespaces,
    /// Becoming root inside them.
    Mapping,
    /// Making the first process of the new process namespace.
    Init,
    /// Making mounts private.
    Propagation,
    /// Mounting a file system of memory for the tree.
    Memory,
    /// Registering an emulator.
    Emulator,
    /// Opening `/proc` of the tree.
    ProcPlace,
    /// Opening `/dev` of the tree.
    DevPlace,
    /// Opening the host's harmless devices.
    Devices,
    /// Mounting `/dev`.
    Dev,
    /// Mounting `/proc`.
    Proc,
    /// Covering files of `/proc`.
    Mask,
    /// Making the tree the root.
    Pivot,
    /// Likewise, without namespaces.
    Root,
    /// Making devices, without namespaces.
    Nodes,
    /// Listing the processes to be ended, without namespaces.
    Children,
    /// Naming the machine.
    Name,
    /// Giving capabilities up.
    Capabilities,
    /// Installing the filter of system calls.
    Filter,
    /// Speaking with the parent.
    Control,
    /// Making a process ready for a program.
    Program,
}

impl Step {
    const ALL: [Self; 22] = [
        Self::Descriptors,
        Self::Namespaces,
        Self::Mapping,
        Self::Init,
        Self::Propagation,
        Self::Memory,
        Self::Emulator,
        Self::ProcPlace,
        Self::DevPlace,
        Self::Devices,
        Self::Dev,
        Self::Proc,
        Self::Mask,
        Self::Pivot,
        Self::Root,
        Self::Nodes,
        Self::Children,
        Self::Name,
        Self::Capabilities,
        Self::Filter,
        Self::Control,
        Self::Program,
    ];

    /// Reads the number that a process sent.
    pub(super) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&step| step as u8 == number)
    }

    /// What the step does, to follow "cannot".
    pub const fn name(self) -> &'static str {
        match self {
            Self::Descriptors => "close inherited descriptors",
            Self::Namespaces => "make namespaces",
            Self::Mapping => "become root in a user namespace",
            Self::Init => "start the first process of a namespace",
            Self::Propagation => "make mounts private",
            Self::Memory => "mount a file system of memory",
            Self::Emulator => "register an emulator for the sandbox alone",
            Self::ProcPlace => "find the directory /proc in the tree",
            Self::DevPlace => "find the directory /dev in the tree",
            Self::Devices => "open the devices null, zero, full, random and urandom",
            Self::Dev => "mount /dev",
            Self::Proc => "mount /proc",
            Self::Mask => "cover files of /proc",
            Self::Pivot => "make the tree the root",
            Self::Root => "change the root directory (chroot)",
            Self::Nodes => {
                "make the devices null, zero, full, random and urandom for a plain chroot"
            }
            Self::Children => "list child processes in /proc",
            Self::Name => "name the machine",
            Self::Capabilities => "give capabilities up",
            Self::Filter => "install a filter of system calls",
            Self::Control => "speak with the parent process",
            Self::Program => "make a process ready for a program",
        }
    }
}

/// A step that failed, and the kernel's reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) step: Step,
    pub(super) errno: Errno,
}

/// Says at which step a call failed.
pub(super) trait At<T> {
    /// Names the step.
    fn at(self, step: Step) -> Result<T, Failure>;
}

impl<T> At<T> for rustix::io::Result<T> {
    fn at(self, step: Step) -> Result<T, Failure> {
        self.map_err(|errno| Failure { step, errno })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_survives_being_sent() {
        for step in Step::ALL {
            assert_eq!(Step::from_number(step as u8), Some(step));
        }
        assert_eq!(Step::from_number(200), None);
    }
}
