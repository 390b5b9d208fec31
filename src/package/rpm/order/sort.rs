//! Sorts packages so that each comes after those that it needs, and takes circles apart where that does
//! least harm.
//!
//! In: who needs whom; out: an order. As long as nothing is a circle, of several packages that can come
//! next the one that most others need comes first, and what it sets free follows it at once. A circle
//! begins with the package that is furthest away from what scripts need. The queues are rpm's, down to
//! the place where an equal goes, so that the order is rpm's as well (`lib/order.c`).

/// Who needs whom: nodes are packages in the order in which they were added.
pub(super) struct Graph {
    nodes: Vec<Node>,
    /// The colour of files that comes first.
    preferred: u32,
    circles: Vec<Circle>,
    order: Vec<usize>,
}

/// A package.
#[derive(Debug, Clone, Default)]
struct Node {
    /// How many it still waits for.
    waits: usize,
    /// How many need it.
    needed: usize,
    /// Who needs it, and whether for a script; the last one counts as the first.
    before: Vec<(usize, bool)>,
    /// Whom it needs, likewise.
    after: Vec<(usize, bool)>,
    /// Who follows in a queue.
    next: Option<usize>,
    color: u32,
    place: Place,
    /// Within a circle, how far it is from what scripts need.
    distance: usize,
}

/// Where a package is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    /// Not in any circle.
    #[default]
    Alone,
    /// In the circle with this number.
    Circle(usize),
    /// In the order already.
    Done,
}

/// Packages that need each other.
#[derive(Debug, Default)]
struct Circle {
    members: Vec<usize>,
    /// How many others they still wait for.
    waits: usize,
}

impl Graph {
    /// Packages with their colours, none of which needs another yet.
    pub(super) fn new(colors: Vec<u32>, preferred: u32) -> Self {
        let node = |color| Node { color, ..Node::default() };
        let mut nodes: Vec<Node> = colors.into_iter().map(node).collect();
        // Three more hold the heads of queues.
        nodes.resize(nodes.len().saturating_add(3), Node::default());
        Self { nodes, preferred, circles: Vec::new(), order: Vec::new() }
    }

    fn packages(&self) -> usize {
        self.nodes.len().saturating_sub(3)
    }

    /// The nodes of no package whose `next` is the head of a queue: the main one, that around a circle,
    /// that within it.
    fn heads(&self) -> [usize; 3] {
        let first = self.packages();
        [first, first.saturating_add(1), first.saturating_add(2)]
    }

    fn node(&self, number: usize) -> &Node {
        self.nodes.get(number).expect("numbers are those of nodes")
    }

    fn node_mut(&mut self, number: usize) -> &mut Node {
        self.nodes.get_mut(number).expect("numbers are those of nodes")
    }

    /// `package` comes after `need`.
    pub(super) fn add(&mut self, package: usize, need: usize, for_scripts: bool) {
        if self.node(need).before.last().is_some_and(|(last, _)| *last == package) {
            return self.strengthen(package, need, for_scripts);
        }
        self.insert(package, need, for_scripts);
    }

    /// `other` comes after `package`, whose wish that is.
    pub(super) fn add_reversed(&mut self, package: usize, other: usize, for_scripts: bool) {
        if self.node(package).after.last().is_some_and(|(last, _)| *last == other) {
            return self.strengthen(other, package, for_scripts);
        }
        self.insert(other, package, for_scripts);
    }

    fn insert(&mut self, package: usize, need: usize, for_scripts: bool) {
        let node = self.node_mut(package);
        node.waits = node.waits.saturating_add(1);
        node.after.push((need, for_scripts));
        let node = self.node_mut(need);
        node.needed = node.needed.saturating_add(1);
        node.before.push((package, for_scripts));
    }

    fn strengthen(&mut self, package: usize, need: usize, for_scripts: bool) {
        let (after, before) = (self.node_mut(package).after.iter_mut(), need);
        for (_, known) in after.rev().filter(|(other, _)| *other == before).take(1) {
            *known |= for_scripts;
        }
        let before = self.node_mut(need).before.iter_mut();
        for (_, known) in before.rev().filter(|(other, _)| *other == package).take(1) {
            *known |= for_scripts;
        }
    }

    /// The packages in their order.
    pub(super) fn sorted(mut self) -> Vec<usize> {
        self.find_circles();
        let [main, ..] = self.heads();
        for number in 0..self.packages() {
            if self.node(number).waits == 0 {
                self.enqueue(number, main);
            }
        }
        for number in 0..self.circles.len() {
            let circle = self.circles.get(number).expect("numbers are those of circles");
            if let (0, Some(first)) = (circle.waits, circle.members.first().copied()) {
                self.enqueue(first, main);
            }
        }
        let mut at = main;
        while let Some(number) = self.node(at).next {
            match self.node(number).place {
                Place::Circle(circle) => self.take_circle(number, circle),
                _ => self.take(number, None),
            }
            at = number;
        }
        self.order
    }

    /// Puts a package into the queue behind `head`, before those that fewer need.
    fn enqueue(&mut self, number: usize, head: usize) {
        let Node { color, needed, .. } = *self.node(number);
        let is_late = color != 0 && color != self.preferred;
        let mut at = head;
        while let Some(next) = self.node(at).next {
            let other = self.node(next);
            if !(is_late && color != other.color) && other.needed <= needed {
                break;
            }
            at = next;
        }
        self.node_mut(number).next = self.node(at).next;
        self.node_mut(at).next = Some(number);
    }

    /// Puts a package into the order and queues what waited for it alone: behind it, or for packages
    /// outside of its circle behind `outer`.
    fn take(&mut self, number: usize, outer: Option<usize>) {
        self.order.push(number);
        let own = self.node(number).place;
        let before: Vec<usize> = self.node(number).before.iter().rev().map(|(p, _)| *p).collect();
        for package in before {
            if self.node(package).place == Place::Done || package == number {
                continue;
            }
            let node = self.node_mut(package);
            node.waits = node.waits.saturating_sub(1);
            let (waits, place) = (node.waits, node.place);
            let outside = outer.filter(|_| own != place).unwrap_or(number);
            if waits == 0 {
                self.enqueue(package, outside);
            }
            if let Place::Circle(circle) = place
                && place != own
                && let Some(circle) = self.circles.get_mut(circle)
            {
                circle.waits = circle.waits.saturating_sub(1);
                if circle.waits == 0 {
                    self.enqueue(package, outer.unwrap_or(number));
                }
            }
        }
        self.node_mut(number).place = Place::Done;
    }

    /// Puts all packages of a circle into the order. `first` stands for it in the queue.
    fn take_circle(&mut self, first: usize, number: usize) {
        let [_, outer, inner] = self.heads();
        let members = self.circles.get(number).map(|circle| circle.members.clone());
        let members = members.unwrap_or_default();
        self.node_mut(outer).next = self.node_mut(first).next.take();
        self.measure(&members, number);
        loop {
            let left = members.iter().filter(|member| self.node(**member).place != Place::Done);
            // Of several that are equally far away, the last.
            let Some(best) = left.max_by_key(|member| self.node(**member).distance) else { break };
            self.node_mut(inner).next = None;
            self.enqueue(*best, inner);
            let mut at = inner;
            while let Some(member) = self.node(at).next {
                self.take(member, Some(outer));
                at = member;
            }
        }
        self.node_mut(first).next = self.node_mut(outer).next.take();
    }

    /// Measures how far the members of a circle are from those that need another for a script.
    fn measure(&mut self, members: &[usize], circle: usize) {
        let place = Place::Circle(circle);
        let mut queue = std::collections::VecDeque::new();
        for member in members {
            let after = &self.node(*member).after;
            let needs = after.iter().any(|(n, strong)| *strong && self.node(*n).place == place);
            self.node_mut(*member).distance = if needs { 0 } else { usize::MAX };
            if needs {
                queue.push_back(*member);
            }
        }
        while let Some(member) = queue.pop_front() {
            let distance = self.node(member).distance.saturating_add(1);
            let after: Vec<usize> = self.node(member).after.iter().rev().map(|(n, _)| *n).collect();
            for need in after {
                if self.node(need).place == place && self.node(need).distance > distance {
                    self.node_mut(need).distance = distance;
                    queue.push_back(need);
                }
            }
        }
    }

    /// Finds packages that need each other (Tarjan's algorithm, without recursion, because chains may
    /// be long).
    fn find_circles(&mut self) {
        let mut search = Search { found: vec![None; self.packages()], ..Search::default() };
        for start in 0..self.packages() {
            if search.found.get(start).is_some_and(Option::is_none) {
                self.search_from(start, &mut search);
            }
        }
    }

    fn search_from(&mut self, start: usize, search: &mut Search) {
        let mut work: Vec<(usize, usize)> = Vec::new();
        let mut enter = Some(start);
        loop {
            if let Some(node) = enter.take() {
                search.enter(node);
                work.push((node, self.node(node).before.len()));
            }
            let Some((node, left)) = work.last_mut() else { return };
            let node = *node;
            if let Some(at) = left.checked_sub(1) {
                *left = at;
                let next = self.node(node).before.get(at).map_or(node, |(next, _)| *next);
                match search.found.get(next).copied().flatten() {
                    None => enter = Some(next),
                    Some(index) if search.on_stack(next) => search.lower(node, index),
                    Some(_) => {}
                }
                continue;
            }
            work.pop();
            let low = search.low_of(node);
            if let Some((above, _)) = work.last() {
                search.lower(*above, low);
            }
            if search.found.get(node).copied().flatten() == Some(low) {
                let members = search.leave(node);
                self.add_circle(members);
            }
        }
    }

    fn add_circle(&mut self, members: Vec<usize>) {
        if members.len() < 2 {
            return;
        }
        let place = Place::Circle(self.circles.len());
        for member in &members {
            self.node_mut(*member).place = place;
        }
        let mut waits: usize = 0;
        for member in &members {
            let after = &self.node(*member).after;
            let outside = after.iter().filter(|(need, _)| self.node(*need).place != place);
            waits = waits.saturating_add(outside.count());
        }
        self.circles.push(Circle { members, waits });
    }
}

/// What the search for circles knows.
#[derive(Debug, Default)]
struct Search {
    /// When each node was come to.
    found: Vec<Option<usize>>,
    count: usize,
    stack: Vec<usize>,
    low: std::collections::BTreeMap<usize, usize>,
}

impl Search {
    fn enter(&mut self, node: usize) {
        if let Some(found) = self.found.get_mut(node) {
            *found = Some(self.count);
        }
        self.low.insert(node, self.count);
        self.stack.push(node);
        self.count = self.count.saturating_add(1);
    }

    fn on_stack(&self, node: usize) -> bool {
        self.low.contains_key(&node)
    }

    fn low_of(&self, node: usize) -> usize {
        self.low.get(&node).copied().unwrap_or(usize::MAX)
    }

    fn lower(&mut self, node: usize, to: usize) {
        if let Some(low) = self.low.get_mut(&node) {
            *low = (*low).min(to);
        }
    }

    /// Takes a circle from the stack.
    fn leave(&mut self, node: usize) -> Vec<usize> {
        let from = self.stack.iter().rposition(|member| *member == node).unwrap_or(0);
        let members = self.stack.split_off(from);
        members.iter().for_each(|member| _ = self.low.remove(member));
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sorts packages of which each of `needs` needs another, perhaps for a script.
    fn sorted(count: usize, needs: &[(usize, usize, bool)]) -> Vec<usize> {
        let mut graph = Graph::new(vec![0; count], 2);
        needs.iter().for_each(|(package, need, strong)| graph.add(*package, *need, *strong));
        graph.sorted()
    }

    #[test]
    fn what_most_others_need_comes_first_and_what_it_sets_free_follows() {
        assert_eq!(sorted(3, &[]), [2, 1, 0]);
        assert_eq!(sorted(4, &[(0, 3, false), (1, 3, false)]), [3, 0, 1, 2]);
        assert_eq!(sorted(4, &[(0, 1, false), (2, 3, false), (1, 3, false)]), [3, 1, 0, 2]);
    }

    #[test]
    fn a_circle_begins_furthest_away_from_what_scripts_need() {
        let circle = [(0, 1, false), (1, 2, false), (2, 0, false)];
        assert_eq!(sorted(3, &circle).len(), 3);
        for strong in 0..3 {
            let mut needs = circle;
            needs.iter_mut().skip(strong).take(1).for_each(|need| need.2 = true);
            let order = sorted(3, &needs);
            let place = |number| order.iter().position(|other| *other == number);
            assert!(place((strong + 1) % 3) < place(strong), "{strong}: {order:?}");
        }
        let around = [(0, 1, false), (1, 0, false), (0, 2, false), (3, 1, false)];
        let order = sorted(4, &around);
        assert_eq!((order.first(), order.last()), (Some(&2), Some(&3)), "{order:?}");
    }

    #[test]
    fn chains_may_be_long() {
        let needs: Vec<_> = (0..99_999).map(|number| (number, number + 1, false)).collect();
        let expected: Vec<usize> = (0..100_000).rev().collect();
        assert_eq!(sorted(100_000, &needs), expected);
    }
}
