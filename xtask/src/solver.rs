//! Which packages we choose against dnf's and zypper's choice, from the same repositories.
//!
//! Repositories are metadata alone, since neither tool asks for a package before it has chosen. There
//! are worlds that people wrote (`tests/parity/solver.toml`), random ones from fixed seeds, and the real
//! metadata of a distribution, from which packages are asked for one at a time. A difference fails the
//! task unless the same file says why it is one.

mod peers;
mod world;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use self::peers::{Answer, Peer};
use self::world::World;
use crate::needs::{self, Need};
use crate::{Outcome, medium, peer, say};

const NEEDS: &[Need] = &[Need::Tool("dnf", "dnf"), Need::Tool("zypper", "zypper"), Need::Root];

/// How many random worlds are tried unless something else is said.
const RANDOM: u64 = 60;
/// Every so manieth package of the real metadata is asked for.
const STEP: usize = 45;

/// `tests/parity/solver.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// Worlds that people wrote.
    world: Vec<World>,
    /// Where a peer chooses otherwise, and why.
    #[serde(default)]
    difference: Vec<Difference>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    world: String,
    peer: String,
    reason: String,
}

/// Everything that was compared.
struct Tally<'k> {
    known: &'k [Difference],
    used: BTreeSet<(String, String)>,
    compared: usize,
    unexplained: usize,
}

/// Runs all comparisons; `words` may say how many random worlds there are.
pub(crate) fn run(words: &[&str]) -> Outcome {
    let missing = needs::missing(NEEDS);
    if !missing.is_empty() {
        return Err(format!("solver needs: {}", missing.join("; ")).into());
    }
    let random = words.first().map_or(Ok(RANDOM), |word| word.parse())?;
    let text = fs_err::read_to_string(peer::checkout().join("tests/parity/solver.toml"))?;
    let known: Known = toml::from_str(&text)?;
    let work = std::env::temp_dir().join(format!("osbuilder-solver-{}", std::process::id()));
    fs_err::create_dir_all(&work)?;
    let mut tally =
        Tally { known: &known.difference, used: BTreeSet::new(), compared: 0, unexplained: 0 };
    let random = (0..random).map(world::random);
    for world in known.world.iter().cloned().chain(random) {
        // The name becomes part of an address, and of an option in which a comma has a meaning.
        let plain = world.name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        let folder = work.join("worlds").join(plain);
        let repositories = world.write(&folder)?;
        tally.compare(&world, &repositories, &work)?;
    }
    real(&mut tally, &work)?;
    fs_err::remove_dir_all(&work)?;
    say(&format!(
        "solver: {} answers compared, {} differ for known reasons, {} for none",
        tally.compared,
        tally.used.len(),
        tally.unexplained
    ));
    let all = |difference: &&Difference| {
        !tally.used.contains(&(difference.world.clone(), difference.peer.clone()))
    };
    if let (Some(stale), true) = (known.difference.iter().find(all), words.is_empty()) {
        let (world, peer) = (&stale.world, &stale.peer);
        return Err(format!("solver: {world} does not differ from {peer} any more").into());
    }
    match tally.unexplained {
        0 => Ok(()),
        some => Err(format!("solver: {some} differences without a reason").into()),
    }
}

impl Tally<'_> {
    fn compare(&mut self, world: &World, repositories: &[PathBuf], work: &Path) -> Outcome {
        let ours = peers::osbuilder(world, repositories, work)?;
        for peer in [Peer::Dnf, Peer::Zypper] {
            if world.only.as_deref().is_some_and(|only| only != peer.name()) {
                continue;
            }
            let theirs = peer.answer((world, &ours), repositories, work)?;
            self.compared += 1;
            if ours == theirs {
                continue;
            }
            let named =
                |known: &&Difference| known.world == world.name && known.peer == peer.name();
            match self.known.iter().find(named) {
                Some(known) => {
                    say(&format!("solver {} {}: {}", world.name, peer.name(), known.reason));
                    self.used.insert((world.name.clone(), peer.name().to_owned()));
                }
                None => {
                    self.unexplained += 1;
                    let (both, our, their) = told(&ours, &theirs);
                    let peer = peer.name();
                    say(&format!(
                        "solver {}: {peer} differs\n  asked: {}",
                        world.name,
                        world.question()
                    ));
                    say(&format!("  both: {both}\n  ours: {our}\n  {peer}: {their}"));
                    say(&world.packages);
                }
            }
        }
        Ok(())
    }
}

/// What both have, and what each has that the other has not.
fn told(ours: &Answer, theirs: &Answer) -> (String, String, String) {
    let list = |packages: BTreeSet<&str>| packages.into_iter().collect::<Vec<_>>().join(" ");
    match (ours, theirs) {
        (Answer::Chosen(ours), Answer::Chosen(theirs)) => {
            let both = ours.intersection(theirs).map(String::as_str).collect();
            let our = ours.difference(theirs).map(String::as_str).collect();
            let their = theirs.difference(ours).map(String::as_str).collect();
            (list(both), list(our), list(their))
        }
        other => (String::new(), format!("{:?}", other.0), format!("{:?}", other.1)),
    }
}

/// Packages of a real distribution, one after the other, and what a guest is made of.
fn real(tally: &mut Tally<'_>, work: &Path) -> Outcome {
    let Some(data) = medium::data("rpm/cs9-baseos-metadata")? else { return Ok(()) };
    let names = world::names(&data)?;
    let data = world::reduced(&data, &work.join("cs9"))?;
    let guest = ["chrony", "iptables-nft", "libseccomp", "systemd"].map(str::to_owned).to_vec();
    let single = names.iter().step_by(STEP).map(|name| vec![name.clone()]);
    for asked in std::iter::once(guest).chain(single) {
        for recommends in [false, true] {
            let weak = if recommends { " with weak dependencies" } else { "" };
            let name = format!("cs9 {}{weak}", asked.join(" "));
            let asked = asked.clone();
            let world = World { name, asked, recommends, ..World::default() };
            tally.compare(&world, std::slice::from_ref(&data), work)?;
        }
    }
    Ok(())
}
