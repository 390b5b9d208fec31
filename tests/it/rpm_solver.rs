//! The choice of rpm packages: ours against libsolv's own test cases.
//!
//! A test case of theirs is some repositories and one job or more, each with its result. Ours chooses for
//! an empty system, so jobs that change one are out of scope, each with its reason. Where the result is
//! the clauses of the solver, all sets of packages are tried: our second opinion must accept just those
//! that the clauses allow. The report of all cases is kept in `snapshots/`. Format: libsolv's
//! `testcase.c`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use osbuilder::package::rpm::info::{self, Draft, Identity, Info, Sort};
use osbuilder::resolve::rpm::world::Offer;
use osbuilder::resolve::rpm::{Request, choose, validate};

use crate::judge;

/// The name of a package that requires what a job asks for.
const ASKING: &str = "what-the-job-asks-for";

/// Where several packages do equally well, and libsolv takes another one.
const EQUALS: [(&str, &str); 1] = [(
    "choose/enhanced.t",
    "of equals libsolv takes one that enhances a package; enhancements are not read",
)];

/// Repositories, and what is asked of them.
#[derive(Debug, Default, Clone)]
struct Case {
    /// Name, priority and packages of each.
    repositories: Vec<(String, i32, Vec<Package>)>,
    system: Vec<String>,
    flags: BTreeSet<String>,
    /// What the whole file is about, if that is not for us.
    foreign: Option<&'static str>,
    jobs: Vec<Vec<String>>,
    result: String,
    expected: Vec<String>,
}

/// A package in libsolv's words.
#[derive(Debug, Default, Clone)]
struct Package {
    /// Name, version, release, architecture.
    words: Vec<String>,
    relations: Vec<(Sort, String)>,
    files: Vec<String>,
}

/// Reads the cases of a file.
fn read(path: &Path) -> Vec<Case> {
    let mut cases = vec![Case::default()];
    let mut into_result = false;
    for line in fs_err::read_to_string(path).unwrap().lines() {
        let last = cases.len() - 1;
        let case = &mut cases[last];
        if let Some(inline) = line.strip_prefix("#>") {
            match into_result {
                true => case.expected.push(inline.to_owned()),
                false => tag(case, inline),
            }
            continue;
        }
        let words: Vec<String> = line.split_ascii_whitespace().map(str::to_owned).collect();
        let first = words.first().map(String::as_str).unwrap_or_default();
        into_result = first == "result";
        match first {
            "repo" => {
                let (name, priority) = (words[1].clone(), words[2].split('.').next().unwrap());
                case.repositories.push((name, priority.parse().unwrap(), Vec::new()));
                if let Some(file) = words.get(4).filter(|word| *word != "<inline>") {
                    let text = fs_err::read_to_string(path.with_file_name(file)).unwrap();
                    text.lines().for_each(|line| tag(case, line));
                }
            }
            "system" => case.system = words,
            "job" => case.jobs.push(words[1..].to_vec()),
            "result" => case.result = words[1].clone(),
            "solverflags" | "poolflags" => case.flags.extend(words[1..].iter().cloned()),
            "namespace" => case.foreign = Some("answers for a system's languages and hardware"),
            "disable" => case.foreign = Some("hides packages from a solver that has read them"),
            "genid" | "evrcmp" => case.foreign = Some("asks for libsolv's own words"),
            "nextjob" => {
                let next = Case {
                    jobs: Vec::new(),
                    expected: Vec::new(),
                    result: String::new(),
                    flags: BTreeSet::new(),
                    ..case.clone()
                };
                cases.push(next);
            }
            _ => {}
        }
    }
    cases.retain(|case| !case.result.is_empty());
    cases
}

/// One line of a repository.
fn tag(case: &mut Case, line: &str) {
    let Some((_, _, packages)) = case.repositories.last_mut() else { return };
    let Some((name, value)) = line.trim_start_matches(['=', '+']).split_once(": ") else { return };
    if name == "Pkg" {
        let words = value.split(' ').map(str::to_owned).collect();
        packages.push(Package { words, ..Package::default() });
        return;
    }
    let Some(package) = packages.last_mut() else { return };
    let sort = match name {
        "Prv" => Sort::Provides,
        "Req" => Sort::Requires,
        "Con" => Sort::Conflicts,
        "Obs" => Sort::Obsoletes,
        "Rec" => Sort::Recommends,
        "Sup" => Sort::Supplements,
        "Sug" => Sort::Suggests,
        "Fls" => return package.files.push(value.to_owned()),
        _ => return,
    };
    package.relations.push((sort, value.to_owned()));
}

impl Case {
    /// Why a guest never gets there.
    fn out_of_scope(&self) -> Option<String> {
        if let Some(reason) = self.foreign {
            return Some(reason.to_owned());
        }
        let says = |text: &str| Some(text.to_owned());
        if !self.result.contains("transaction") && self.result != "rules" {
            return says("asks for libsolv's own words");
        }
        let installed = |(name, _, packages): &&(String, i32, Vec<Package>)| {
            self.system.last() == Some(name) && !packages.is_empty()
        };
        if self.repositories.iter().any(|repository| installed(&repository)) {
            return says("changes a system that is there");
        }
        if self.system.get(2).is_some_and(|kind| kind == "deb") {
            return says("is about Debian's packages");
        }
        for job in &self.jobs {
            let job: Vec<&str> = job.iter().map(String::as_str).collect();
            match job.as_slice() {
                ["install", "name" | "provides" | "pkg" | "oneof", rest @ ..]
                    if !rest.iter().any(|word| word.starts_with('[')) => {}
                ["install", ..] => return says("asks with libsolv's own flags"),
                [verb, ..] => return Some(format!("tells the solver to {verb}")),
                [] => {}
            }
        }
        let flags = ["ignorerecommended", "implicitobsoleteusescolors", "allowvendorchange"];
        let mut others = self.flags.iter().filter(|flag| !flags.contains(&flag.as_str()));
        if let Some(flag) = others.next() {
            return Some(format!("sets libsolv's flag {flag}"));
        }
        if self.jobs.is_empty() {
            return says("asks for no packages");
        }
        let all = || self.repositories.iter().flat_map(|(_, _, packages)| packages);
        let tied = |(_, text): &(Sort, String)| text.contains("namespace:");
        if all().any(|package| package.relations.iter().any(tied)) {
            return says("answers for a system's languages and hardware");
        }
        if self.architectures().len() > 1 {
            return says("mixes architectures, of which a guest has one");
        }
        None
    }

    fn architectures(&self) -> BTreeSet<String> {
        let all = self.repositories.iter().flat_map(|(_, _, packages)| packages);
        let of = all.filter_map(|package| package.words.get(3).cloned());
        of.filter(|name| name != "noarch").collect()
    }

    /// The records of each repository, those of higher priority first, and of what is asked for.
    fn records(&self) -> Vec<(String, String)> {
        let mut repositories: Vec<_> = self.repositories.iter().collect();
        repositories.sort_by_key(|(_, priority, _)| -priority);
        let text = |packages: &[Package]| {
            let mut draft = Draft::default();
            packages.iter().for_each(|package| package.draft(&mut draft));
            draft.into_text()
        };
        let mut records: Vec<_> =
            repositories.iter().map(|(name, _, all)| (name.clone(), text(all))).collect();
        let mut asking = Package {
            words: [ASKING, "1", "1", "noarch"].map(str::to_owned).to_vec(),
            ..Package::default()
        };
        for job in &self.jobs {
            let words = &job[2..];
            let text = match job[1].as_str() {
                "pkg" => one(&words[0]),
                "oneof" => words.iter().map(|word| one(word)).collect::<Vec<_>>().join(" | "),
                _ => words.join(" "),
            };
            asking.relations.push((Sort::Requires, text));
        }
        records.push(("asking".to_owned(), text(&[asking])));
        records
    }

    /// What is chosen here, with the repository that it is from.
    fn ours(&self) -> Result<BTreeSet<String>, String> {
        let records = self.records();
        let lists: Vec<_> = records.iter().map(|(_, text)| info::parse(text).unwrap()).collect();
        let offers: Vec<_> = (records.iter().zip(&lists))
            .map(|((name, _), packages)| Offer { name, packages })
            .collect();
        let architectures = self.architectures();
        let architecture = architectures.first().map_or("x86_64", String::as_str);
        let recommends = !self.flags.contains("ignorerecommended");
        let request = Request { architecture, asked: &[ASKING], recommends };
        let chosen = choose(&request, &offers).map_err(|failure| format!("{failure:?}"))?;
        let named = chosen.iter().filter(|candidate| candidate.info.name != ASKING);
        let name =
            |info: &Info<'_>, offer: usize| format!("{}@{}", named_as(info), records[offer].0);
        Ok(named.map(|candidate| name(candidate.info, candidate.offer)).collect())
    }

    /// What libsolv installs; none where it finds a problem.
    fn theirs(&self) -> Option<BTreeSet<String>> {
        if self.expected.iter().any(|line| line.starts_with("problem")) {
            return None;
        }
        let installed = self.expected.iter().filter_map(|line| line.strip_prefix("install "));
        Some(installed.map(str::to_owned).collect())
    }

    /// Tries all sets of packages: those that libsolv's clauses allow, and those that are accepted here.
    fn clauses_agree(&self) -> Result<usize, String> {
        let records = self.records();
        let lists: Vec<_> = records.iter().map(|(_, text)| info::parse(text).unwrap()).collect();
        let (asking, packages) = lists.split_last().unwrap();
        let packages: Vec<&Info<'_>> = packages.iter().flatten().collect();
        let name = |info: &Info<'_>| format!("{}@{}", named_as(info), records[0].0);
        let mut clauses: BTreeMap<String, Vec<(bool, String)>> = BTreeMap::new();
        for line in self.expected.iter().filter_map(|line| line.strip_prefix("rule ")) {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let literal = words[2].strip_prefix('-').map_or((true, words[2]), |name| (false, name));
            clauses
                .entry(format!("{} {}", words[0], words[1]))
                .or_default()
                .push((literal.0, literal.1.to_owned()));
        }
        let sets = 1_usize << packages.len();
        for bits in 0..sets {
            let chosen = packages.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
            let mut chosen: Vec<&Info<'_>> = chosen.map(|(_, info)| *info).collect();
            let names: BTreeSet<String> = chosen.iter().map(|info| name(info)).collect();
            let holds = |clause: &Vec<(bool, String)>| {
                clause.iter().any(|(wanted, name)| names.contains(name) == *wanted)
            };
            let theirs = clauses.values().all(holds);
            chosen.push(&asking[0]);
            // Their clauses are those of the one package that is asked for.
            let asked = self.jobs[0].last().unwrap();
            let others = ["X", "Y"]
                .iter()
                .any(|other| *other != asked && chosen.iter().any(|info| info.name == *other));
            let ours = validate::check(&[ASKING], &chosen).is_ok();
            if !others && theirs != ours {
                return Err(format!("libsolv {theirs}, here {ours}: {names:?}"));
            }
        }
        Ok(sets)
    }

    fn judged(&self) -> String {
        if let Some(reason) = self.out_of_scope() {
            return format!("out of scope: it {reason}");
        }
        if self.result == "rules" {
            return match self.clauses_agree() {
                Ok(sets) => format!("the same clauses, by all {sets} sets of packages"),
                Err(difference) => format!("DIFFERS: {difference}"),
            };
        }
        match (self.theirs(), self.ours()) {
            (Some(theirs), Ok(ours)) if theirs == ours => "the same".to_owned(),
            (None, Err(_)) => "refused by both".to_owned(),
            (theirs, ours) => format!("DIFFERS: libsolv {theirs:?}, here {ours:?}"),
        }
    }
}

impl Package {
    fn draft(&self, draft: &mut Draft) {
        let word = |at: usize| self.words.get(at).cloned().unwrap_or_default();
        let (epoch, version) = match word(1).split_once(':') {
            Some((epoch, version)) => (epoch.to_owned(), version.to_owned()),
            None => ("0".to_owned(), word(1)),
        };
        draft.begin(&Identity {
            name: word(0),
            architecture: word(3),
            epoch: epoch.clone(),
            version: version.clone(),
            release: word(2),
            place: "p".into(),
            ..Identity::default()
        });
        draft.relation(Sort::Provides, &word(0), "EQ", &format!("{epoch}:{version}-{}", word(2)));
        for (sort, text) in &self.relations {
            let (name, operator, version) = relation(text);
            draft.relation(*sort, &name, operator, &version);
        }
        self.files.iter().for_each(|path| draft.file(path));
    }
}

/// A relation in rpm's words: name, operator, version.
fn relation(text: &str) -> (String, &'static str, String) {
    let rich = ["&", "|", "<IF>", "<UNLESS>", "<WITH>", "<WITHOUT>"];
    if rich.iter().any(|sign| text.contains(sign)) {
        // libsolv nests what is one dependency to rpm.
        let flat = if text.contains("<ELSE>") { text.replace(['(', ')'], "") } else { text.into() };
        let words =
            flat.replace("<IF>", "if").replace("<ELSE>", "else").replace("<UNLESS>", "unless");
        let words = words.replace("<WITHOUT>", "without").replace("<WITH>", "with");
        return (format!("({})", words.replace('&', "and").replace('|', "or")), "", String::new());
    }
    let words: Vec<&str> = text.split(' ').collect();
    let operator = match words.get(1).copied() {
        Some("=") => "EQ",
        Some("<") => "LT",
        Some(">") => "GT",
        Some("<=") => "LE",
        Some(">=") => "GE",
        _ => "",
    };
    (words[0].to_owned(), operator, words.get(2).copied().unwrap_or_default().to_owned())
}

/// The relation that only one package meets: `a-1-2.noarch@repository` becomes `a = 1-2`.
fn one(text: &str) -> String {
    let text = text.split('@').next().unwrap();
    let (text, _) = text.rsplit_once('.').unwrap();
    let (text, release) = text.rsplit_once('-').unwrap();
    let (name, version) = text.rsplit_once('-').unwrap();
    format!("{name} = {version}-{release}")
}

fn named_as(info: &Info<'_>) -> String {
    format!("{}-{}.{}", info.name, info.version, info.architecture)
}

#[test]
fn packages_are_chosen_as_libsolv_s_own_test_cases_say() {
    let Some(folder) = judge::data("conformance/libsolv-testcases") else { return };
    let folders = fs_err::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let files = folders.filter(|path| path.is_dir()).flat_map(|folder| {
        fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    });
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "t")).collect();
    files.sort();
    assert_eq!(files.len(), 113);
    let (mut report, mut differing) = (String::new(), Vec::new());
    for file in &files {
        let name = file.strip_prefix(&folder).unwrap().display();
        for (number, case) in read(file).iter().enumerate() {
            let mut line = format!("{name} {}: {}", number + 1, case.judged());
            let equals = EQUALS.iter().find(|(file, _)| name.to_string() == *file);
            if let (true, Some((_, why))) = (line.contains("DIFFERS"), equals) {
                line = format!("{name} {}: another of equals: {why}", number + 1);
            }
            if line.contains("DIFFERS") {
                differing.push(line.clone());
            }
            writeln!(report, "{line}").unwrap();
        }
    }
    insta::assert_snapshot!(report);
    assert_eq!(differing, Vec::<String>::new());
}
