//! The program on a terminal: `script` gives it one.

use std::process::Command;

use crate::judge;
use crate::tiny::{Tiny, repository};

#[test]
#[expect(clippy::disallowed_methods, reason = "a terminal is made by another program")]
fn a_terminal_sees_bars_that_move_and_go_and_nothing_else_does() {
    if judge::is_missing(&["script"]) {
        return;
    }
    let Some(repository) = repository("1", "/usr/bin/busybox sleep 1") else { return };
    let tiny = Tiny::of(&repository);
    let plain = tiny.osbuilder("initrd");
    let words: Vec<_> = plain.get_args().filter(|word| *word != "--json").collect();
    let run = |mut command: Command| {
        command.env_clear().env("HOME", tiny.path("home")).env("TERM", "xterm");
        command.current_dir(tiny.path("")).output().unwrap()
    };
    let line: Vec<_> = words.iter().map(|word| word.to_str().unwrap()).collect();
    let line =
        format!("stty cols 100; exec {} {}", env!("CARGO_BIN_EXE_osbuilder"), line.join(" "));
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let seen = run(terminal);
    let seen_text = String::from_utf8_lossy(&seen.stdout).into_owned();
    assert!(seen.status.success(), "{seen_text}");
    let bars = seen_text.matches("configure \u{2591}").count();
    assert!(bars > 2 && seen_text.contains("\u{1b}["), "{bars} bars: {seen_text}");
    let last = seen_text.rsplit('\u{1b}').next().unwrap();
    for words in ["output", "packages", "seconds"] {
        assert!(last.contains(words), "the table stands alone at the end: {last}");
    }

    let mut command = Command::new(env!("CARGO_BIN_EXE_osbuilder"));
    command.args(&words);
    let told = String::from_utf8_lossy(&run(command).stderr).into_owned();
    assert!(told.contains("image: ") && !told.contains('\u{1b}'), "{told}");
}
