//! `mailhaul cutover`: which accounts may be switched.

use mailhaul::rehearsal::{Deed, Fault, Matching, Merging, Profile};

use super::between::{Between, INBOX, letter};
use super::{Folder, HURRY, good};

#[test]
fn accounts_are_safe_once_all_of_their_mail_is_on_the_target() {
    let between = Between::new(&["anna", "ben"]);
    for number in 0..10 {
        between.source("anna").deliver(&INBOX, letter(number));
    }
    between.source("ben").deliver(&INBOX, letter(1));
    let folder = &between.folder;
    let ran = folder.run("cutover accounts.csv").code(0);
    let text = ran.stdout();
    for line in [
        "Done: 2 of 2 accounts complete",
        "Verified: 2 of 2 accounts are the same at both ends",
        "Safe to switch: 2 of 2 accounts\n  safe      anna\n  safe      ben\n",
    ] {
        assert!(text.contains(line), "{line:?} is not in:\n{text}");
    }

    // What came since is copied, what was changed at the target is told.
    between.source("ben").deliver(&INBOX, letter(2));
    assert!(between.target("ben").set_flags(&INBOX, 1, &["\\Seen"]));
    assert!(between.target("anna").expunge(&INBOX, 4));
    let ran = folder.run("cutover accounts.csv --fast").code(6);
    let text = ran.stdout();
    for line in ["  NOT SAFE  anna  1 missing\n", "  safe      ben  (not exact: 1 flags)\n"] {
        assert!(text.contains(line), "{line:?} is not in:\n{text}");
    }
    assert_eq!(between.target("ben").messages(&INBOX).len(), 2);
    let report = between.json("cutover.json");
    assert_eq!(report["exit_code"], 6);
    let [anna, ben] = [&report["accounts"][0], &report["accounts"][1]];
    assert_eq!((&anna["is_safe"], &anna["reasons"][0]), (&false.into(), &"1 missing".into()));
    assert_eq!((&ben["is_safe"], &ben["not_exact"][0]), (&true.into(), &"1 flags".into()));
}

#[test]
fn an_account_whose_owner_moved_a_copy_at_the_target_is_safe() {
    let between = Between::new(&["anna"]);
    for number in 0..3 {
        between.source("anna").deliver(&INBOX, letter(number));
    }
    between.folder.run("migrate accounts.csv").code(0);
    let there = between.target("anna");
    there.deliver(&["Filed"], letter(1));
    assert!(there.expunge(&INBOX, 2));
    let ran = between.folder.run("cutover accounts.csv").code(0);
    let text = ran.stdout();
    let line = "  safe      anna  (not exact: 1 moved-at-target)\n";
    assert!(text.contains(line), "{line:?} is not in:\n{text}");
    let told = between.lines("report.csv");
    assert!(told.iter().any(|line| line.contains("moved-at-target")), "{told:?}");
    assert!(there.expunge(&["Filed"], 1));
    let ran = between.folder.run("cutover accounts.csv").code(6);
    assert!(ran.stdout().contains("  NOT SAFE  anna  1 missing\n"), "{}", ran.stdout());
}

#[test]
fn an_account_is_safe_whose_target_keeps_one_copy_of_equal_messages() {
    let merging = Profile { merges: Merging::TellsKept, multiappend: false, ..Profile::dovecot() };
    let between = Between::to(merging, &["anna"]);
    for number in [1, 1, 1, 2] {
        between.source("anna").deliver(&INBOX, letter(number));
    }
    let ran = between.folder.run("cutover accounts.csv").code(0);
    let text = ran.stdout();
    let line = "  safe      anna  (not exact: 2 merged)\n";
    assert!(text.contains(line), "{line:?} is not in:\n{text}");
    let told = between.lines("verify.csv");
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|line| line.contains(",merged,") && line.contains("3 equal messages")));
    // The one that was kept is lost: so are those that it stood for.
    assert!(between.target("anna").expunge(&INBOX, 1));
    let ran = between.folder.run("cutover accounts.csv").code(6);
    assert!(ran.stdout().contains("  NOT SAFE  anna  3 missing\n"), "{}", ran.stdout());
}

#[test]
fn a_message_that_the_target_refuses_makes_its_account_unsafe() {
    let between = Between::new(&["anna"]);
    for number in 0..3 {
        between.source("anna").deliver(&INBOX, letter(number));
    }
    let matching = Matching::Contains(b"letter 1\r".to_vec());
    let refusal = Deed::Refuse(matching, "NO [TOOBIG] too large".to_owned());
    between.target.faults().arm(Fault::always(refusal));
    let ran = between.folder.run("cutover accounts.csv").code(6);
    let text = ran.stdout();
    assert!(text.contains("  NOT SAFE  anna  1 missing, 1 refused\n"), "{text}");
}

#[test]
fn accounts_that_cannot_be_reached_are_not_safe() {
    let folder = Folder::new(&good());
    let ran = folder.run(&format!("cutover accounts.csv --quiet {HURRY}")).code(6);
    assert!(ran.stdout().starts_with("Safe to switch: 0 of 1 accounts\n"), "{}", ran.stdout());
    folder.run("cutover accounts.csv --dry-run").code(2);
}
