//! Archives that change, or stay wrong, while a whole build looks at them.

use osbuilder_testkit::key::Key;
use osbuilder_testkit::server::{Reply, answer};

use crate::tiny::{NOW, Tiny, repository};

const SERVICE: &str = "pool/tiny-service_1_amd64.deb";

fn asked_for_index(tiny: &Tiny) -> usize {
    let asked = tiny.server.requests();
    asked.iter().filter(|request| request.path().ends_with("/InRelease")).count()
}

#[test]
fn f16_an_archive_that_has_moved_on_is_asked_for_its_index_once_more() {
    let Some(old) = repository("1", "echo old") else { return };
    let mut new = repository("2", "echo new").unwrap();
    new.date = NOW + 3600;
    let key = Key::default();
    for broken in [Reply::status(404), Reply::ok(b"a newer one under the old name")] {
        let newer = new.files(&key);
        let tiny = Tiny::new((&old, &key), move |request, files| match request.path() {
            SERVICE => broken.clone(),
            // The second index, and all that it names, is of the new state.
            path if path.ends_with("InRelease") && request.repeat == 0 => answer(files, request),
            path if path.ends_with("InRelease") => answer(&newer, request),
            path if files.contains_key(path) => answer(files, request),
            _ => answer(&newer, request),
        });
        tiny.build("image");
        let lock = fs_err::read_to_string(tiny.path("out/osbuilder.lock")).unwrap();
        assert!(lock.contains("tiny-service_2_amd64.deb") && !lock.contains("_1_amd64.deb\"\n\n"));
        assert_eq!(lock.matches("[[package]]").count(), 2, "{lock}");
    }
}

#[test]
fn f16_an_archive_that_stays_wrong_is_refused_with_both_dates() {
    let Some(repository) = repository("1", "echo never") else { return };
    let tiny = Tiny::new((&repository, &Key::default()), |request, files| match request.path() {
        SERVICE => Reply::status(404),
        _ => answer(files, request),
    });
    let output = tiny.osbuilder("image").output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{told}");
    let last: serde_json::Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    let causes = last["causes"].to_string();
    let date = "2023-11-14T22:13:20Z";
    assert_eq!(causes.matches(date).count(), 2, "{causes}");
    assert!(told.contains("asking for the index once more"), "{told}");
    // Twice to resolve, and once each to say what the date is now.
    assert_eq!(asked_for_index(&tiny), 4);
    assert!(tiny.names("out").is_empty());
}

#[test]
fn an_index_in_any_one_form_is_enough() {
    let Some(repository) = repository("1", "echo never") else { return };
    for by_hash in [true, false] {
        for form in ["Packages.xz", "Packages.gz", "Packages"] {
            let mut repository = repository.clone();
            repository.by_hash = by_hash;
            let index = repository.indexes()[&format!("main/binary-amd64/{form}")].clone();
            let tiny = Tiny::new((&repository, &Key::default()), move |request, files| {
                let is_index =
                    ["Packages", "by-hash"].iter().any(|part| request.path().contains(part));
                match is_index && files.get(request.path()) != Some(&index) {
                    true => Reply::status(404),
                    false => answer(files, request),
                }
            });
            tiny.build("image");
            assert!(!tiny.names("out").is_empty(), "{form}");
        }
    }
}
