//! The program and its formats against tools that we did not write. One file per verb or format.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

mod alpine;
mod apk_solver;
mod apk_versions;
mod archive;
mod broken;
mod crashes;
mod deb_resolve;
mod deb_versions;
mod erofs;
mod erofs_hostile;
mod everything;
mod ext4;
mod ext4_hostile;
mod floods;
mod forms;
mod gpt;
mod hosts;
mod image;
mod image_builder;
mod judge;
mod kata;
mod mounted;
mod options;
mod oracle;
mod program;
mod provision;
mod reference;
mod rootfs;
mod rpm;
mod rpm_alma;
mod rpm_database;
mod rpm_hostile;
mod rpm_oracle;
mod rpm_solver;
mod selinux;
mod signals;
mod signature;
mod terminal;
mod tiny;
mod verify;
mod verity;
mod xfs;
