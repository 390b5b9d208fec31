//! Which of many packages can matter for a request: those that it leads to.
//!
//! In: the records of all packages of all repositories (see `package::rpm::info`), and what is asked for;
//! out: the records that are reached from there, over whatever provides what somebody requires. Whoever
//! chooses need not know the others: nothing leads to them. A distribution has sixty thousand packages,
//! and a guest's request reaches some thousand, so that only these are read in full.
//!
//! Names are compared by hashes. Two names with one hash would let a record too many through, which does
//! no harm.

use std::collections::BTreeSet;

use crate::package::rpm::relation::{Dependency, Operator};

/// The records that are reached, for each text in its order: also of packages that obsolete what is
/// asked for. With `weak`, what is recommended is reached too, and who asks to go with something that is.
pub(super) fn reachable<'a>(texts: &[&'a str], asked: &[&str], weak: bool) -> Vec<Vec<&'a str>> {
    let asked: BTreeSet<u64> = asked.iter().map(|name| hash(name)).collect();
    let mut reach = Reach { asked, ..Reach::default() };
    for (number, text) in texts.iter().enumerate() {
        reach.read(text, number);
    }
    reach.offers.sort_unstable();
    reach.companions.sort_unstable();
    for name in reach.asked.clone() {
        reach.want(name);
    }
    for number in std::mem::take(&mut reach.successors) {
        reach.arrive(number);
    }
    while let Some(number) = reach.open.pop() {
        reach.follow(number, weak);
    }
    let mut found = vec![Vec::new(); texts.len()];
    for record in reach.records.iter().filter(|record| record.is_reached) {
        if let Some(of_text) = found.get_mut(record.text_number) {
            of_text.push(record.text);
        }
    }
    found
}

/// One package's record.
struct Record<'a> {
    text: &'a str,
    text_number: usize,
    is_reached: bool,
}

/// A hash of a name, and the number of a record.
type Link = (u64, usize);

#[derive(Default)]
struct Reach<'a> {
    records: Vec<Record<'a>>,
    /// Who provides what, sorted by it.
    offers: Vec<Link>,
    /// Who asks to go with what.
    companions: Vec<Link>,
    asked: BTreeSet<u64>,
    /// Who obsoletes something that is asked for.
    successors: Vec<usize>,
    wanted: BTreeSet<u64>,
    /// Records that were reached and not followed yet.
    open: Vec<usize>,
}

impl<'a> Reach<'a> {
    /// Takes in the records of one text: each lasts to the next first line.
    fn read(&mut self, text: &'a str, text_number: usize) {
        let (mut start, mut end) = (0_usize, 0_usize);
        for line in text.split_inclusive('\n') {
            if line.starts_with("N\t") && start < end {
                self.add(text.get(start..end).unwrap_or_default(), text_number);
                start = end;
            }
            end = end.saturating_add(line.len());
            self.read_line(line);
        }
        if start < end {
            self.add(text.get(start..end).unwrap_or_default(), text_number);
        }
    }

    fn add(&mut self, text: &'a str, text_number: usize) {
        // What begins otherwise is broken, and whoever reads it in full says so.
        let is_reached = !text.starts_with("N\t");
        self.records.push(Record { text, text_number, is_reached });
    }

    /// Takes in a line of the record that comes next.
    fn read_line(&mut self, line: &str) {
        let (number, companions) = (self.records.len(), &mut self.companions);
        match parts(line) {
            Some(("N" | "P" | "F", name)) => self.offers.push((hash(name), number)),
            Some(("O", name)) if self.asked.contains(&hash(name)) => self.successors.push(number),
            Some(("S", name)) => {
                each_name(name, &mut |name| companions.push((hash(name), number)));
            }
            _ => {}
        }
    }

    /// Reaches all that provide a name.
    fn want(&mut self, name: u64) {
        if self.wanted.insert(name) {
            let offers = std::mem::take(&mut self.offers);
            of_name(&offers, name).for_each(|number| self.arrive(number));
            self.offers = offers;
        }
    }

    fn arrive(&mut self, number: usize) {
        if let Some(record) = self.records.get_mut(number).filter(|record| !record.is_reached) {
            record.is_reached = true;
            self.open.push(number);
        }
    }

    /// Reaches all that a record leads to.
    fn follow(&mut self, number: usize, weak: bool) {
        let Some(text) = self.records.get(number).map(|record| record.text) else { return };
        for (letter, name) in text.lines().filter_map(parts) {
            match letter {
                "R" => each_name(name, &mut |name| self.want(hash(name))),
                "W" if weak => each_name(name, &mut |name| self.want(hash(name))),
                "N" | "P" | "F" if weak => {
                    let companions = std::mem::take(&mut self.companions);
                    of_name(&companions, hash(name)).for_each(|number| self.arrive(number));
                    self.companions = companions;
                }
                _ => {}
            }
        }
    }
}

/// The letter of a line, and its first field.
fn parts(line: &str) -> Option<(&str, &str)> {
    let (letter, fields) = line.trim_end_matches('\n').split_once('\t')?;
    Some((letter, fields.split('\t').next().unwrap_or_default()))
}

/// Every name in a dependency, rich or not.
fn each_name(text: &str, visit: &mut dyn FnMut(&str)) {
    if !text.starts_with('(') {
        visit(text);
    } else if let Ok(dependency) = Dependency::new(text, Operator::default(), "") {
        dependency.each(&mut |relation| visit(relation.name));
    }
}

fn of_name(links: &[Link], name: u64) -> impl Iterator<Item = usize> {
    let start = links.partition_point(|(hash, _)| *hash < name);
    let known = links.get(start..).unwrap_or_default().iter();
    known.take_while(move |(hash, _)| *hash == name).map(|(_, number)| *number)
}

/// FNV-1a with 64 bits.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "\
N\ta\tx\t0\t1\t1\t0\t\t0\tp
P\ta
R\tb
R\t(c if d)
R\t/usr/bin/f
W\tg
N\tb\tx\t0\t1\t1\t0\t\t0\tp
R\ta
N\tc\tx\t0\t1\t1\t0\t\t0\tp
C\tz
N\tz\tx\t0\t1\t1\t0\t\t0\tp
R\tz1
N\ty\tx\t0\t1\t1\t0\t\t0\tp
O\tz\tLT\t2
R\tother
";
    const SECOND: &str = "\
N\tother\tx\t0\t1\t1\t0\t\t0\tp
P\tb\tEQ\t2
N\tf\tx\t0\t1\t1\t0\t\t0\tp
F\t/usr/bin/f
N\tg\tx\t0\t1\t1\t0\t\t0\tp
N\ts\tx\t0\t1\t1\t0\t\t0\tp
S\t(a and c)
";

    fn names(texts: &[&str], asked: &[&str], weak: bool) -> String {
        let found = reachable(texts, asked, weak);
        let name = |record: &&str| record.split('\t').nth(1).unwrap_or_default().to_owned();
        let of = |records: &Vec<&str>| records.iter().map(name).collect::<Vec<_>>().join(" ");
        found.iter().map(of).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn what_nothing_leads_to_is_left_out() {
        let texts = [FIRST, SECOND];
        assert_eq!(names(&texts, &["a"], false), "a b c | other f");
        assert_eq!(names(&texts, &["a"], true), "a b c | other f g s");
        assert_eq!(names(&texts, &["z"], false), "z y | other");
        assert_eq!(names(&texts, &["/usr/bin/f", "nothing"], false), " | f");
        assert_eq!(names(&texts, &[], true), " | ");
    }

    #[test]
    fn what_is_broken_is_left_to_whoever_reads_it() {
        assert_eq!(reachable(&["P\tx\nN\ta\n"], &[], false), [vec!["P\tx\n"]]);
    }
}
