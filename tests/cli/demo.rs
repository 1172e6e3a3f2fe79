//! `mailhaul demo`: the whole way, from two servers to the verdict.

use std::fs;

use mailhaul::{Fate, Ledger, SqliteLedger, Totals, Verdict};

use super::Folder;

#[tokio::test]
async fn the_demo_cuts_a_migration_off_resumes_it_and_finds_both_sides_equal() {
    let folder = Folder::new("");
    let first = folder.run("demo").code(0);
    let text = first.stdout();
    for promise in [
        "$ cd mailhaul-demo; mailhaul migrate accounts.csv --ca-file ca.pem",
        "Killed, without a chance to clean up. The target has ",
        "Done: 3 of 3 accounts complete",
        "400 of 400 messages are equal on both sides; both runs together stored 400.",
        "Nothing is missing, nothing is altered, nothing is there twice.",
        "mailhaul status mailhaul-demo/accounts.csv",
    ] {
        assert!(text.contains(promise), "{promise:?} is not in:\n{text}");
    }

    let demo = folder.path().join("mailhaul-demo");
    for file in ["ledger.db", "log.ndjson", "report.csv", "report.json"] {
        let path = demo.join("accounts.mailhaul").join(file);
        assert!(path.is_file(), "{file}");
    }
    let ledger = demo.join("accounts.mailhaul/ledger.db");
    let ledger = SqliteLedger::open_read_only(&ledger).await.expect("a ledger");
    let snapshot = ledger.snapshot().await.expect("read");
    assert_eq!(Verdict::of(&snapshot), Verdict::Done);
    let totals = Totals::of_all(&snapshot);
    assert_eq!(totals.sum(&[Fate::Copied]).messages, 400);
    assert_eq!(totals.sum(&Fate::ALL).messages, 400);
    assert_eq!(totals.in_doubt, 0);
    let seen: u64 = mailboxes(&snapshot).map(|mailbox| mailbox.messages).sum();
    assert_eq!(seen, 400);
    let targets: Vec<String> =
        mailboxes(&snapshot).map(|mailbox| mailbox.target.to_string()).collect();
    for target in ["Archiv/2019/Köln", "Sent Items", "プロジェクト/計画", "🎉 Party"] {
        assert!(targets.contains(&target.to_owned()), "{target}: {targets:?}");
    }
    drop(ledger);

    folder.run("status mailhaul-demo/accounts.csv").code(0);
    // The next one replaces it, unless somebody keeps something there.
    fs::write(demo.join("notes.txt"), "mine").expect("written");
    folder.run("demo").code(2).says("mailhaul-demo holds notes.txt");
    fs::remove_file(demo.join("notes.txt")).expect("removed");
    folder.run("demo --dir ./mailhaul-demo").code(0);
}

#[test]
fn the_demo_leaves_a_real_migration_alone() {
    let folder = Folder::new("source_host\n");
    folder.run("demo --dir .").code(2).says("which no demo made");
    let csv = fs::read_to_string(folder.path().join("accounts.csv"));
    assert_eq!(csv.expect("still there"), "source_host\n");
    assert!(!folder.path().join("about.txt").exists());
}

fn mailboxes(snapshot: &mailhaul::Snapshot) -> impl Iterator<Item = &mailhaul::MailboxSnapshot> {
    snapshot.accounts.iter().flat_map(|account| &account.mailboxes)
}
