//! `mailhaul plan`: what it shows and ends with.

use super::between::{Between, INBOX, letter};
use super::{Folder, HURRY, good};

#[test]
fn a_plan_is_shown_for_people_and_programs_and_the_report_tells_what_is_left_out() {
    let between = Between::new(&["anna", "ben"]);
    for path in [&INBOX[..], &["Work"], &["Spam"]] {
        between.source("anna").deliver(path, letter(1));
    }
    let ran = between.folder.run("plan accounts.csv --exclude Spam").code(0);
    let text = ran.stdout();
    for line in [
        "anna -> anna\n",
        "  Spam   left out            by --exclude Spam\n",
        "  INBOX  -> INBOX       1    same name\n",
        "  Work   -> Work (new)  1    same name\n",
        "ben -> ben\n",
        "2 of 2 accounts planned: 3 mailboxes to copy, 1 to make, 1 left out, 0 collisions; 2 messages\n",
    ] {
        assert!(text.contains(line), "{line:?} is not in:\n{text}");
    }
    let json = between.folder.run("plan accounts.csv --exclude Spam --json --quiet").code(0);
    let plan: serde_json::Value = serde_json::from_str(&json.stdout()).expect("JSON");
    assert_eq!((&plan["version"], &plan["exit_code"]), (&1.into(), &0.into()));
    let mailboxes = plan["accounts"][0]["mailboxes"].as_array().expect("mailboxes");
    assert_eq!(mailboxes.len(), 3);
    assert_eq!(mailboxes[0]["target"], serde_json::Value::Null);
    assert_eq!(mailboxes[0]["reason"], "by --exclude Spam");
    assert_eq!((&mailboxes[2]["target"], &mailboxes[2]["messages"]), (&"Work".into(), &1.into()));
    let state = between.folder.path().join("accounts.mailhaul");
    assert!(!state.join("ledger.db").exists());
    assert_eq!(between.target("anna").mailboxes().len(), 1, "nothing is made");

    between.folder.run("migrate accounts.csv --exclude Spam").code(0);
    let lines = between.lines("report.csv");
    let left_out = "anna@127.0.0.1 anna@127.0.0.1,Spam,,,,,left-out,by --exclude Spam";
    assert_eq!(lines, [left_out]);
    let report = between.json("report.json");
    let left_out = &report["left_out"][0];
    assert_eq!(
        (&left_out["mailbox"], &left_out["reason"]),
        (&"Spam".into(), &"by --exclude Spam".into())
    );
}

#[test]
fn accounts_that_cannot_be_planned_are_told_and_end_with_6() {
    let folder = Folder::new(&good());
    let ran = folder.run(&format!("plan accounts.csv {HURRY}")).code(6);
    assert!(ran.stdout().contains("  failed: source: cannot connect"), "{}", ran.stdout());
    assert!(ran.stdout().contains("0 of 1 accounts planned"), "{}", ran.stdout());
}
