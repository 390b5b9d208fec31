//! The bench of image forms: erofs and dm-verity against the tools that Kata's builder runs.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use osbuilder::digest::Digest;
use osbuilder::image::verity;

use crate::measure::{Cost, cost, median};
use crate::{Outcome, peer, say};

/// The tools alone: no table, no loop device, nothing on the disk in the end.
const TOOLS: &str = "mkfs.erofs -zlz4hc -Enoinline_data \"$0.erofs\" \"$1\"
cp \"$0.erofs\" \"$0.img\"
veritysetup format --no-superblock \"$0.img\" \"$0.hashes\"";

/// The steps of Kata's builder: a copy of the tree, partitions of a loop device, which `dd` fills, and
/// the finished disk copied behind its NVDIMM header.
const KATA: &str = "rm -rf \"$0.copy\" && cp -a \"$1\" \"$0.copy\" && sync
mkfs.erofs -zlz4hc -Enoinline_data \"$0.erofs\" \"$0.copy\"
boundary=$(($(stat -c %s \"$0.erofs\") / 1048576 + 2))
rm -f \"$0.img\" \"$0.dax\"
truncate -s $((boundary + boundary / 99 + 2))M \"$0.img\"
parted --script --align optimal \"$0.img\" mklabel msdos \
    mkpart primary 1MiB ${boundary}MiB mkpart primary ${boundary}MiB 100%
device=$(losetup --partscan --find --show \"$0.img\")
trap 'losetup --detach \"$device\"' EXIT
dd status=none if=\"$0.erofs\" of=\"${device}p1\"
veritysetup format --no-superblock \"${device}p1\" \"${device}p2\"
truncate -s 2M \"$0.dax\"
dd status=none if=\"$0.img\" of=\"$0.dax\" oflag=append conv=notrunc
sync";

/// What measured erofs images of one tree cost.
pub(crate) struct MeasuredErofs {
    /// Ours: read back, checked, hashed and on the disk.
    pub(crate) ours: Cost,
    /// The tools alone.
    pub(crate) tools: Cost,
    /// Kata's way.
    pub(crate) kata: Cost,
}

/// A measured erofs image of `tree`. Says how the sizes of the file systems compare. Needs root and a
/// loop device, as Kata's builder does.
pub(crate) fn measured_erofs(
    work: &Path,
    tree: &Path,
    rounds: usize,
) -> Result<MeasuredErofs, Box<dyn std::error::Error>> {
    let [mut ours, mut tools, mut kata] = [(); 3].map(|()| Vec::new());
    for round in 0..rounds {
        let mut our = peer::start(peer::osbuilder());
        our.env("SKIP_ROOTFS_CHECK", "yes").args(["image", "--measured", "--file-system", "erofs"]);
        our.arg("--rootfs").arg(tree);
        our.arg("--output").arg(work.join(format!("ours-erofs-{round}.img")));
        ours.push(cost(&our)?);
        let theirs = work.join(format!("theirs-{round}"));
        tools.push(cost(&script(TOOLS, &theirs, tree))?);
        kata.push(cost(&script(KATA, &theirs, tree))?);
    }
    let file = fs_err::File::open(work.join("ours-erofs-0.img"))?;
    let parts = osbuilder::image::read(&file, 2)?;
    let summary = parts.file_system.summary();
    let our_size = summary.blocks * summary.block_size;
    let their_size = fs_err::metadata(work.join("theirs-0.erofs"))?.len();
    let percent = our_size as f64 / their_size as f64 * 100.0 - 100.0;
    say(&format!(
        "  erofs: ours {our_size} bytes, mkfs.erofs {their_size} bytes ({percent:+.2} %)"
    ));
    let [ours, tools, kata] = [ours, tools, kata].map(median);
    Ok(MeasuredErofs { ours, tools, kata })
}

fn script(script: &str, theirs: &Path, tree: &Path) -> Command {
    let mut command = peer::start("sh");
    command.args(["-ec", script]).arg(theirs).arg(tree);
    command
}

/// The hash tree alone over the first image that [`measured_erofs`] made: ours, `veritysetup`, and
/// reading and hashing the image once.
pub(crate) fn verity(work: &Path) -> Outcome {
    let image = work.join("ours-erofs-0.img");
    let file = fs_err::File::open(&image)?;
    let threads = std::thread::available_parallelism()?.get();
    let began = Instant::now();
    verity::measure(&file, &[7; 32], threads)?;
    let ours = began.elapsed().as_secs_f64();
    let began = Instant::now();
    Digest::of_reader(&file)?;
    let hashed = began.elapsed().as_secs_f64();
    let mut their = peer::start("veritysetup");
    their.args(["format", "--no-superblock"]).arg(&image).arg(work.join("hashes"));
    let theirs = cost(&their)?.wall;
    say(&format!(
        "dm-verity alone: ours {ours:.2} s, veritysetup {theirs:.2} s ({:.1} x), hashing the image \
         once {hashed:.2} s ({:.2} of it)",
        theirs / ours,
        ours / hashed
    ));
    Ok(())
}
