//! The order in which packages are installed: what one needs comes before it.
//!
//! In: packages that fit together, and what was asked for; out: a permutation. What was asked for is
//! gone through in the order of names, each package's needs in the order in which it names them, and
//! what comes along by itself follows as soon as all that it waits for is there. A circle is entered
//! where it is met. Users and groups get their numbers in this order. As apk does it, whose own order
//! of several packages that come along at once is by chance; here it is by name.

use std::collections::BTreeMap;

use super::database::display_order;
use super::info::Info;
use super::relation::Relation;
use super::version::Version;

/// Returns the indexes of `packages` in the order of installing them. What nothing leads to comes
/// last.
pub fn order(packages: &[&Info<'_>], asked: &[Relation<'_>]) -> Vec<usize> {
    let mut order = Order::new(packages);
    let mut asked: Vec<_> = asked.iter().collect();
    asked.sort_by(|a, b| display_order(a.name, b.name));
    for relation in asked {
        order.meet(relation);
    }
    for index in 0..packages.len() {
        order.visit(index);
    }
    order.sequence
}

/// A package that goes by a name, and the version in which it does.
type Provider<'a> = (usize, Option<Version<'a>>);

struct Order<'p, 'a> {
    packages: &'p [&'p Info<'a>],
    providers: BTreeMap<&'p str, Vec<Provider<'p>>>,
    /// Who waits for a name, to come along by itself.
    waiting: BTreeMap<&'p str, Vec<usize>>,
    begun: Vec<bool>,
    done: Vec<bool>,
    sequence: Vec<usize>,
}

impl<'p, 'a> Order<'p, 'a> {
    fn new(packages: &'p [&'p Info<'a>]) -> Self {
        let mut providers: BTreeMap<&str, Vec<Provider<'_>>> = BTreeMap::new();
        let mut waiting: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, package) in packages.iter().enumerate() {
            for (name, version) in names(package) {
                providers.entry(name).or_default().push((index, version));
            }
            for relation in package.install_if.iter().filter(|relation| !relation.refuses) {
                waiting.entry(relation.name).or_default().push(index);
            }
        }
        let nobody = vec![false; packages.len()];
        Self {
            packages,
            providers,
            waiting,
            begun: nobody.clone(),
            done: nobody,
            sequence: Vec::new(),
        }
    }

    /// Visits whoever meets a relation.
    fn meet(&mut self, relation: &Relation<'_>) {
        if let Some(index) = self.provider(relation) {
            self.visit(index);
        }
    }

    /// Who meets a relation, of several the first; or who goes by a name that is refused in another
    /// version, since apk looks at him then too.
    fn provider(&self, relation: &Relation<'_>) -> Option<usize> {
        let mut providers = self.providers.get(relation.name).into_iter().flatten();
        let allows = |(index, version): &&Provider<'_>| {
            let identity = self.packages.get(*index).map(|package| package.identity);
            relation.refuses || relation.allows(*version, identity)
        };
        providers.find(allows).map(|(index, _)| *index)
    }

    /// Puts a package into the sequence after what it needs. No recursion: a hostile chain of
    /// packages may be long.
    fn visit(&mut self, index: usize) {
        let mut stack = vec![(index, 0_usize)];
        while let Some((index, step)) = stack.pop() {
            if step == 0 && !self.begin(index) {
                continue;
            }
            let Some(package) = self.packages.get(index) else { continue };
            match package.depends.get(step) {
                Some(relation) => {
                    stack.push((index, step.saturating_add(1)));
                    stack.extend(self.provider(relation).map(|next| (next, 0)));
                }
                None => {
                    self.finish(index);
                    let along = self.coming_along(index);
                    stack.extend(along.into_iter().rev().map(|next| (next, 0)));
                }
            }
        }
    }

    fn begin(&mut self, index: usize) -> bool {
        self.begun.get_mut(index).is_some_and(|begun| !std::mem::replace(begun, true))
    }

    fn finish(&mut self, index: usize) {
        if let Some(done) = self.done.get_mut(index) {
            *done = true;
        }
        self.sequence.push(index);
    }

    /// Who came to have all that it waits for, now that `index` is there.
    fn coming_along(&self, index: usize) -> Vec<usize> {
        let Some(package) = self.packages.get(index) else { return Vec::new() };
        let waiting = names(package).filter_map(|(name, _)| self.waiting.get(name)).flatten();
        let is_there = |relation: &Relation<'_>| {
            relation.refuses
                || self.provider(relation).is_some_and(|other| self.done.get(other) == Some(&true))
        };
        let ready = |candidate: &&usize| {
            let package = self.packages.get(**candidate);
            package.is_some_and(|package| package.install_if.iter().all(is_there))
        };
        let mut ready: Vec<usize> = waiting.filter(ready).copied().collect();
        ready.sort_by(|a, b| {
            let name = |index: &usize| self.packages.get(*index).map_or("", |package| package.name);
            display_order(name(a), name(b))
        });
        ready.dedup();
        ready
    }
}

/// The names that a package goes by, its own first, each with the version.
pub fn names<'p>(
    package: &'p Info<'_>,
) -> impl Iterator<Item = (&'p str, Option<Version<'p>>)> + use<'p> {
    let own = std::iter::once((package.name, Some(package.version)));
    own.chain(package.provides.iter().map(|provided| (provided.name, provided.version())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::apk::relation;

    fn stanza(name: &str, lines: &str) -> String {
        format!("C:Q1EyN5AdpAOBJWKMR89pp/C66o+OE=\nP:{name}\nV:1\n{lines}")
    }

    fn ordered(packages: &[(&str, &str)], asked: &str) -> String {
        let stanzas: Vec<_> = packages.iter().map(|(name, lines)| stanza(name, lines)).collect();
        let infos: Vec<_> = stanzas.iter().map(|stanza| Info::parse(stanza).unwrap()).collect();
        let infos: Vec<_> = infos.iter().collect();
        let order = order(&infos, &relation::parse(asked).unwrap());
        let names: Vec<_> =
            order.iter().filter_map(|index| infos.get(*index)).map(|i| i.name).collect();
        names.join(" ")
    }

    #[test]
    fn needs_come_first_and_circles_end() {
        let packages = [("a", "D:c b !x\n"), ("b", "D:so:x=1\n"), ("c", ""), ("d", "p:so:x=1\n")];
        assert_eq!(ordered(&packages, "a"), "c d b a");
        let circle = [("a", "D:b\n"), ("b", "D:a\n"), ("c", "D:b\n")];
        assert_eq!(ordered(&circle, "c a"), "b a c");
        assert_eq!(ordered(&circle, ""), "b a c");
        assert_eq!(ordered(&[("a", "D:!b>1\n"), ("b", "")], "a b"), "b a");
        let chain: Vec<_> =
            (0..20_000).map(|n| (format!("p{n}"), format!("D:p{}\n", n + 1))).collect();
        let chain: Vec<_> = chain.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert!(ordered(&chain, "p0").starts_with("p19999 p19998"));
    }

    #[test]
    fn what_comes_along_follows_the_last_that_it_waits_for() {
        let packages = [
            ("a", ""),
            ("a-doc", "i:docs a=1\nD:man\n"),
            ("b", ""),
            ("docs", ""),
            ("man", ""),
            ("b-doc", "i:b docs !c\n"),
        ];
        assert_eq!(ordered(&packages, "docs a b"), "a b docs man a-doc b-doc");
    }
}
