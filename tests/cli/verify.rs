//! `mailhaul verify`: what it finds, writes and ends with.

use std::fs;

use super::between::{Between, INBOX, letter};
use super::{Folder, HURRY, SECRET, good};

#[test]
fn what_differs_is_on_the_screen_in_the_files_and_in_the_exit_code() {
    let between = Between::new(&["anna", "ben"]);
    for number in 0..20 {
        between.source("anna").deliver(&INBOX, letter(number));
    }
    between.source("ben").deliver(&INBOX, letter(1));
    let folder = &between.folder;
    folder.run("migrate accounts.csv").code(0);
    for how in ["", " --fast", " --sample 10%"] {
        let ran = folder.run(&format!("verify accounts.csv{how}")).code(0);
        let text = ran.stdout();
        assert!(text.starts_with("Verified: 2 of 2 accounts are the same at both ends"), "{text}");
        assert_eq!(between.lines("verify.csv"), Vec::<String>::new());
    }

    assert!(between.target("anna").expunge(&INBOX, 7));
    assert!(between.target("anna").set_flags(&INBOX, 8, &["\\Seen"]));
    between.target("ben").deliver(&INBOX, letter(99));
    let ran = folder.run("verify accounts.csv").code(6);
    let text = ran.stdout();
    for line in [
        "Verified, with differences: 1 of 2 accounts are the same",
        "  missing                 1 messages\n",
        "  flags                   1 messages\n",
        "  extra                   1 messages, no difference to mend\n",
        "    anna  1 missing, 1 flags\n",
        "exit code 6\n",
    ] {
        assert!(text.contains(line), "{line:?} is not in:\n{text}");
    }
    let mut lines = between.lines("verify.csv");
    lines.sort(); // Accounts are done at once.
    let of = |user: &str, rest| format!("{user}@127.0.0.1 {user}@127.0.0.1,INBOX,INBOX,{rest}");
    assert_eq!(
        lines,
        [
            of("anna", "flags,8,8,108,2020-09-13T12:26:47Z,\"the target has \\Seen, too\""),
            of("anna", "missing,7,,108,2020-09-13T12:26:46Z,"),
            of("ben", "extra,,2,111,2020-09-13T12:28:19Z,"),
        ]
    );
    let report = between.json("verify.json");
    assert_eq!(report["exit_code"], 6);
    assert_eq!(report["totals"]["source"], 21);
    assert_eq!(report["totals"]["differences"]["missing"], 1);
    assert_eq!(report["totals"]["differences"]["doubled"], 0);
    let anna = &report["accounts"][0];
    assert_eq!((&anna["source"], &anna["is_through"]), (&"anna".into(), &true.into()));
    assert_eq!(anna["mailboxes"][0]["same"], 18);

    // One account alone.
    folder.run("verify accounts.csv --only ben").code(0);
    assert_eq!(between.json("verify.json")["accounts"].as_array().expect("accounts").len(), 1);
}

#[test]
fn a_ledger_is_not_needed_and_none_is_made() {
    let between = Between::new(&["anna"]);
    for store in [between.source("anna"), between.target("anna")] {
        store.deliver(&INBOX, letter(1));
    }
    between.folder.run("verify accounts.csv").code(0);
    let state = between.folder.path().join("accounts.mailhaul");
    assert!(state.join("verify.json").is_file());
    assert!(!state.join("ledger.db").exists());
    assert_eq!(between.source.counters().command("SELECT"), 0);
    assert_eq!(between.target.counters().command("SELECT"), 0);
    assert_eq!(between.target.counters().command("EXAMINE"), 1);
}

#[test]
fn accounts_that_cannot_be_reached_are_not_taken_for_the_same() {
    let folder = Folder::new(&good());
    let ran = folder.run(&format!("verify accounts.csv {HURRY}")).code(6);
    assert!(ran.stdout().contains("0 of 1 accounts are the same"), "{}", ran.stdout());
    assert!(ran.stdout().contains("anna  failed: source: cannot connect"), "{}", ran.stdout());
    let state = folder.path().join("accounts.mailhaul");
    let text = fs::read_to_string(state.join("verify.csv")).expect("written");
    assert!(text.contains(",,,account,,,,,source: cannot connect"), "{text}");
    for file in fs::read_dir(&state).expect("made") {
        let text = fs::read_to_string(file.expect("listed").path()).expect("text");
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[test]
fn it_looks_beside_a_run_that_holds_the_state() {
    let folder = Folder::new(&good());
    let state = folder.path().join("accounts.mailhaul");
    fs::create_dir(&state).expect("made");
    fs::write(state.join("lock"), "4711").expect("written");
    let lock = fs::File::open(state.join("lock")).expect("opened");
    lock.lock().expect("locked");
    folder.run(&format!("verify accounts.csv {HURRY}")).code(6);
}

#[test]
fn flags_of_copying_and_contradictions_are_usage_errors() {
    let folder = Folder::new(&good());
    for flags in ["--fast --sample 1", "--sample 0", "--sample 101%", "--settle 5s", "--dry-run"] {
        let ran = folder.run(&format!("verify accounts.csv {flags}")).code(2);
        assert!(!ran.stderr().is_empty(), "{flags}");
    }
    assert!(!folder.path().join("accounts.mailhaul").exists());
}
