//! The bench of image forms: erofs and dm-verity against the tools that Kata's builder runs.

use std::path::Path;
use std::time::Instant;

use osbuilder::digest::Digest;
use osbuilder::image::verity;

use crate::measure::{Cost, cost, median};
use crate::{Outcome, peer, say};

type Costs = (Cost, Cost);

/// A measured erofs image of `tree`: ours, read back and checked, and what Kata's builder does
/// without its loop devices and mounts. Says how the sizes of the file systems compare.
pub(crate) fn measured_erofs(
    work: &Path,
    tree: &Path,
    rounds: usize,
) -> Result<Costs, Box<dyn std::error::Error>> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let mut our = peer::start(peer::osbuilder());
        our.env("SKIP_ROOTFS_CHECK", "yes").args(["image", "--measured", "--file-system", "erofs"]);
        our.arg("--rootfs").arg(tree);
        our.arg("--output").arg(work.join(format!("ours-erofs-{round}.img")));
        ours.push(cost(&our)?);
        let script = "mkfs.erofs -zlz4hc -Enoinline_data \"$0.erofs\" \"$1\" \
                      && cp \"$0.erofs\" \"$0.img\" \
                      && veritysetup format --no-superblock \"$0.img\" \"$0.hashes\"";
        let mut their = peer::start("sh");
        their.args(["-c", script]).arg(work.join(format!("theirs-{round}"))).arg(tree);
        theirs.push(cost(&their)?);
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
    Ok((median(ours), median(theirs)))
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
