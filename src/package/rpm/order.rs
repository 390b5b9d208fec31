//! In which order packages are installed: what others need comes before them, as rpm has it.
//!
//! In: headers; out: their numbers in the order of installing. Who needs whom is found out here; the
//! sorting is in `sort.rs`. A requirement leads to one package only, the first that meets it, and a
//! package may wish to come after another without requiring it. The same packages give the same order,
//! however they are listed: they are taken by name. Specification: rpm's `lib/order.c` and
//! `lib/rpmal.c`, whose order is that in which scripts of rpm's own installing run.

mod sort;

use std::collections::BTreeMap;

use super::header::Header;
use super::info::Info;
use super::relation::{Dependency, Operator, Relation};
use super::tag;
use sort::Graph;

/// rpm's bits for requirements that count for the order as no others do: those of `%pre` and `%post`.
const FOR_SCRIPTS: u64 = 1 << 9 | 1 << 10;
/// Those of scripts before and after removing.
const FOR_REMOVING: u64 = 1 << 11 | 1 << 12;
/// Requirements that say nothing of the order: of the configuration of packages, of scripts around the
/// whole transaction, of verifying, of what is not needed for running, and of rpm itself.
const WITHOUT_ORDER: u64 = 1 << 5 | 1 << 7 | 1 << 13 | 1 << 24 | 1 << 28 | 1 << 29;
/// What makes a requirement one of installing.
const INSTALLING: u64 = FOR_SCRIPTS | 1 << 5 | 1 << 7 | 1 << 24 | 1 << 26;
/// A requirement of old packages, before there were scripts' own ones.
const OLD_PREREQUISITE: u64 = 1 << 6;
/// Every bit that says what a requirement is for.
const ANY_PURPOSE: u64 =
    INSTALLING | FOR_REMOVING | OLD_PREREQUISITE | 1 << 8 | 1 << 13 | 1 << 14 | 1 << 19 | 1 << 29;
/// A requirement that is only a wish.
const MISSING_OK: u64 = 1 << 19;

/// Lists of a header that say something of the order: names, versions, flags, whether they are but
/// wishes, and whether it is the other package that comes later.
const WISHES: [([u32; 3], bool, bool); 6] = [
    ([tag::REQUIRE_NAME, tag::REQUIRE_VERSION, tag::REQUIRE_FLAGS], false, false),
    (tag::RECOMMEND, true, false),
    (tag::SUGGEST, true, false),
    (tag::SUPPLEMENT, true, true),
    (tag::ENHANCE, true, true),
    (tag::ORDER, true, false),
];

/// The packages, each header with what it says, in the order of installing. `colors` are those of
/// files that the machine takes: 3 for one that once had 32 bits.
pub fn order(packages: &[(&Header, &Info<'_>)], colors: u32) -> Vec<usize> {
    let mut by_name: Vec<usize> = (0..packages.len()).collect();
    by_name.sort_by_key(|number| packages.get(*number).map(|(_, i)| (i.name, i.architecture)));
    let sorted: Vec<_> = by_name.iter().filter_map(|number| packages.get(*number)).collect();
    let preferred = colors & 2;
    let offers = Offers::new(&sorted, preferred);
    let mut graph = Graph::new(offers.colors.clone(), preferred);
    for (number, (header, _)) in sorted.iter().enumerate() {
        for wish in WISHES {
            add_wishes(&mut graph, &offers, (number, header), wish);
        }
    }
    let order = graph.sorted();
    order.iter().filter_map(|place| by_name.get(*place).copied()).collect()
}

/// Adds one of a header's lists to the graph.
fn add_wishes(
    graph: &mut Graph,
    offers: &Offers<'_>,
    (number, header): (usize, &Header),
    ([names, versions, flags], is_weak, is_reversed): ([u32; 3], bool, bool),
) {
    let (mut versions, mut flags) = (header.texts(versions), header.numbers(flags));
    for name in header.texts(names) {
        let (version, flags) = (versions.next().unwrap_or_default(), flags.next().unwrap_or(0));
        if flags & WITHOUT_ORDER != 0 && flags & (FOR_SCRIPTS | FOR_REMOVING) == 0 {
            continue;
        }
        let operator = Operator::of_flags(u32::try_from(flags & 0xf).unwrap_or(0));
        let words = (std::str::from_utf8(name), std::str::from_utf8(version));
        let (Ok(name), Ok(version)) = words else { continue };
        let Ok(dependency) = Dependency::new(name, operator, version) else { continue };
        let is_old = flags & ANY_PURPOSE == OLD_PREREQUISITE;
        let for_scripts =
            (flags & INSTALLING != 0 || is_old) && !is_weak && flags & MISSING_OK == 0;
        for relation in ordering(&dependency) {
            match offers.first(relation, number) {
                Some(other) if other != number && is_reversed => {
                    graph.add_reversed(number, other, for_scripts);
                }
                Some(other) if other != number => graph.add(number, other, for_scripts),
                _ => {}
            }
        }
    }
}

/// The relations of a dependency after which a package comes: not the condition of a rich one.
fn ordering<'d, 'a>(dependency: &'d Dependency<'a>) -> Vec<&'d Relation<'a>> {
    match dependency {
        Dependency::Plain(relation) => vec![relation],
        Dependency::And(all) | Dependency::Or(all) => all.iter().flat_map(ordering).collect(),
        Dependency::If(one, _, other) | Dependency::Unless(one, _, other) => {
            let other = other.iter().flat_map(|other| ordering(other));
            ordering(one).into_iter().chain(other).collect()
        }
        Dependency::With(one, _) | Dependency::Without(one, _) => ordering(one),
    }
}

/// What packages offer, by name.
struct Offers<'a> {
    provided: BTreeMap<&'a str, Vec<(usize, Relation<'a>)>>,
    files: BTreeMap<&'a str, Vec<usize>>,
    /// The colours of each package's files, all together.
    colors: Vec<u32>,
    preferred: u32,
}

impl<'a> Offers<'a> {
    fn new(packages: &[&(&Header, &Info<'a>)], preferred: u32) -> Self {
        let mut offers =
            Self { provided: BTreeMap::new(), files: BTreeMap::new(), colors: vec![], preferred };
        for (number, (header, info)) in packages.iter().enumerate() {
            for provided in &info.provides {
                offers.provided.entry(provided.name).or_default().push((number, *provided));
            }
            for file in &info.files {
                offers.files.entry(file).or_default().push(number);
            }
            let colors = header.numbers(tag::FILE_COLORS).fold(0, |all, color| all | color);
            offers.colors.push(u32::try_from(colors).unwrap_or(0));
        }
        offers
    }

    /// The package that meets a relation of another one: of several the first, or better one of the
    /// preferred colour, or that one itself.
    fn first(&self, relation: &Relation<'_>, asking: usize) -> Option<usize> {
        let all: Vec<usize> = match self.files.get(relation.name) {
            Some(files) => files.clone(),
            None => {
                let provided = self.provided.get(relation.name)?.iter();
                let met = provided.filter(|(_, provided)| relation.overlaps(provided));
                met.map(|(number, _)| *number).collect()
            }
        };
        let score = |number: usize| {
            let is_preferred =
                self.preferred != 0 && self.colors.get(number) == Some(&self.preferred);
            u8::from(is_preferred).saturating_mul(2).saturating_add(u8::from(number == asking))
        };
        let best = all.iter().map(|number| score(*number)).max()?;
        all.into_iter().find(|number| score(*number) == best)
    }
}
