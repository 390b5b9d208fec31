//! Triggers of packages that are made of a few words.

use super::*;
use crate::package::rpm::relation::Operator;
use crate::package::rpm::scripts::Body;
use crate::unpack::rpm::Listed;

/// A package with paths.
fn package(name: &str, paths: &[&str]) -> Package {
    let listed = |path: &&str| Listed { path: path.as_bytes().into(), is_there: true, mode: 0o644 };
    Package {
        name: name.parse().unwrap(),
        users: Vec::new(),
        scripts: Vec::new(),
        triggers: Default::default(),
        listed: paths.iter().map(listed).collect(),
        record: format!("N\t{name}\tnoarch\t0\t1\t1\t0\t\t0\t\nP\t{name}\tEQ\t1-1\n"),
        entries: Vec::new(),
    }
}

impl Package {
    /// With a trigger that waits for `names`, before or after what it waits for is there.
    fn with(
        mut self,
        watched: Watched,
        names: &[&str],
        (priority, is_before): (u32, bool),
    ) -> Self {
        let at = [Watched::Packages, Watched::Files, Watched::AllFiles];
        let at = at.iter().position(|known| *known == watched).unwrap();
        let triggers = self.triggers.get_mut(at).unwrap();
        let script = triggers.scripts.len();
        let flags = if is_before { 1 << 25 } else { 1 << 16 };
        for name in names {
            let (name, version) = name.split_once(" > ").unwrap_or((name, ""));
            let operator = Operator::of_flags(if version.is_empty() { 0 } else { 1 << 2 });
            let condition = Condition::new(name, (operator, version), flags, script);
            triggers.conditions.push(condition);
        }
        let body = Body { program: vec![b"/bin/sh".to_vec()], text: None, is_template: false };
        triggers.scripts.push(Some(TriggerScript { body, priority }));
        self
    }
}

/// Firings as text: whose, which, with what.
fn shown(firings: &[Firing]) -> Vec<String> {
    let one = |firing: &Firing| {
        let input = String::from_utf8(firing.input.clone()).unwrap().replace('\n', " ");
        let text = format!("{} {} {:?} {input}", firing.owner, firing.script, firing.arguments);
        text.trim_end().to_owned()
    };
    firings.iter().map(one).collect()
}

const AFTER: (u32, bool) = (0, false);
const BEFORE: (u32, bool) = (0, true);

#[test]
fn of_a_pair_of_packages_one_trigger_runs_with_the_numbers_of_both() {
    let watcher = package("watcher", &[])
        .with(Watched::Packages, &["late > 5"], AFTER)
        .with(Watched::Packages, &["late"], AFTER)
        .with(Watched::Packages, &["late"], AFTER)
        .with(Watched::Packages, &["late"], BEFORE);
    let late = package("late", &[]).with(Watched::Packages, &["nosuch", "watcher"], AFTER);
    let fired = fired(&[watcher, late]);
    let [first, second] = &fired[..] else { panic!("two packages") };
    assert_eq!(*first, Fired::default());
    assert_eq!(shown(&second.before), ["0 3 [1, 0]"]);
    assert_eq!(shown(&second.after_script), ["0 1 [1, 1]", "1 0 [1, 1]"]);
}

#[test]
fn a_trigger_on_its_own_package_runs_twice_as_under_rpm() {
    let fired = fired(&[package("own", &[]).with(Watched::Packages, &["own"], AFTER)]);
    let all: Vec<_> = fired.iter().map(|fired| shown(&fired.after_script)).collect();
    assert_eq!(all, [["0 0 [1, 1]", "0 0 [1, 1]"]]);
}

#[test]
fn file_triggers_run_by_priority_and_read_the_paths_of_each_prefix() {
    let early = package("early", &["/usr/a/x", "/usr/a/y", "/usr/b"])
        .with(Watched::Files, &["/usr/a"], (10, false))
        .with(Watched::Files, &["/usr/b", "/usr/a/y"], (20_000, false))
        .with(Watched::Files, &["/opt"], (30_000, false));
    let late = package("late", &["/usr/a/z"])
        .with(Watched::Files, &["/usr/a/"], (10_000, false))
        .with(Watched::Files, &["/usr/a/z"], (30, false));
    let fired = fired(&[early, late]);
    let [first, second] = &fired[..] else { panic!("two packages") };
    assert_eq!(shown(&first.before_script), ["0 1 [0] /usr/b /usr/a/y"]);
    assert_eq!(shown(&first.after_script), ["0 0 [0] /usr/a/x /usr/a/y"]);
    // Its own triggers once for its own files, then for those that were there.
    let high = ["1 0 [0] /usr/a/z", "1 0 [0] /usr/a/x /usr/a/y"];
    assert_eq!(shown(&second.before_script), high);
    assert_eq!(shown(&second.after_script), ["1 1 [0] /usr/a/z", "0 0 [0] /usr/a/z"]);
}

#[test]
fn triggers_of_the_transaction_look_only_where_a_directory_begins_so() {
    let one = package("one", &["/usr/a/x"]).with(Watched::AllFiles, &["/usr/a/x"], AFTER);
    let two = package("two", &["/usr/a/y"])
        .with(Watched::AllFiles, &["/usr/", "/usr/a/y"], (1, false))
        .with(Watched::AllFiles, &["/usr/a"], (2, false));
    let firings = fired_by_all(&[one, two]);
    assert_eq!(shown(&firings), ["1 1 [0] /usr/a/x /usr/a/y", "1 0 [0] /usr/a/x /usr/a/y"]);
}
