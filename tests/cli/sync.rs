//! `mailhaul sync`: passes that repeat, and how they end.

use std::process::{Child, Stdio};
use std::time::Duration;

use assert_cmd::Command;

use super::between::{Between, INBOX, letter};
use super::{Folder, RUN_MAX, Ran, good};

fn start(folder: &Folder, line: &str) -> Child {
    std::process::Command::new(assert_cmd::cargo::cargo_bin!("mailhaul"))
        .current_dir(folder.path())
        .args(line.split(' '))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started")
}

fn terminate(run: Child) -> Ran {
    let kill = format!("kill -TERM {}", run.id());
    Command::new("sh").args(["-c", &kill]).assert().success();
    Ran(run.wait_with_output().expect("ended"))
}

fn wait_until(is_so: impl Fn() -> bool) {
    for _ in 0..RUN_MAX.as_millis() / 20 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it never happened");
}

#[cfg(unix)]
#[test]
fn what_arrives_between_passes_is_copied_by_the_next_one_until_a_signal_comes() {
    let between = Between::new(&["anna"]);
    between.source("anna").deliver(&INBOX, letter(1));
    let run = start(&between.folder, "sync accounts.csv --every 300ms");
    let there = || between.target("anna").messages(&INBOX).len();
    wait_until(|| there() == 1);
    between.source("anna").deliver(&INBOX, letter(2));
    wait_until(|| there() == 2);
    let ran = terminate(run);
    let text = ran.stdout();
    assert!(text.contains(" pass 1: 1 message copied"), "{text}");
    assert!(text.contains(" pass 2: "), "{text}");
    let code = ran.0.status.code();
    assert!(matches!(code, Some(0 | 75)), "{code:?}: {text}");
    between.folder.run("migrate accounts.csv").code(0);
    assert_eq!(there(), 2);
}

#[cfg(unix)]
#[test]
fn a_signal_between_passes_ends_it_with_the_code_of_the_last_one() {
    let between = Between::new(&["anna"]);
    between.source("anna").deliver(&INBOX, letter(1));
    let run = start(&between.folder, "sync accounts.csv --every 1h");
    between.folder.wait_for_log("run_finished");
    let ran = terminate(run).code(0);
    let text = ran.stdout();
    assert_eq!(text.matches(" pass ").count(), 1, "{text}");
    assert!(text.contains("Done: 1 of 1 accounts complete"), "{text}");
}

#[test]
fn a_pass_that_fails_is_told_and_the_next_one_comes() {
    let folder = Folder::new(&good());
    let line = "sync accounts.csv --every 200ms --until 3s --give-up-after 1ms";
    let ran = folder.run(line).code(3);
    let text = ran.stdout();
    for pass in [" pass 1: 0 messages copied, 0 B, 1 account failed", " pass 2: "] {
        assert!(text.contains(pass), "{pass:?} is not in:\n{text}");
    }
    let last = text.lines().rfind(|line| line.contains(" pass ")).expect("passes");
    assert!(last.ends_with("; exit code 3"), "{last}");
}

#[test]
fn a_csv_that_is_spoilt_meanwhile_is_told_and_the_last_good_one_serves() {
    let between = Between::new(&["anna"]);
    let run = start(&between.folder, "sync accounts.csv --every 200ms --until 4s");
    between.folder.wait_for_log("run_finished");
    between.folder.write("accounts.csv", "source_user\nanna\n");
    between.source("anna").deliver(&INBOX, letter(1));
    wait_until(|| between.target("anna").messages(&INBOX).len() == 1);
    Ran(run.wait_with_output().expect("ended")).code(0).says("as they were read before");
}

#[test]
fn times_and_flags_that_make_no_sense_are_usage_errors() {
    let folder = Folder::new(&good());
    for flags in ["--every 0s", "--every often", "--until soon", "--dry-run"] {
        folder.run(&format!("sync accounts.csv {flags}")).code(2);
    }
    assert!(!folder.path().join("accounts.mailhaul").exists());
}
