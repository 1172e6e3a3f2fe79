//! The ledger in SQLite: the suite, and what is special about the file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mailhaul::fault::{Fault, Scope};
use mailhaul::ledger::sqlite::SqliteLedger;
use mailhaul::ledger::{Claim, Ledger, MailboxId, Refusal, ScanTotals, Watermark};
use mailhaul::mail::Uid;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::ledger::{ALL, Durable, Place, account, binding, copied, window};

pub(crate) struct File {
    directory: TempDir,
}

impl File {
    fn path(&self) -> PathBuf {
        self.directory.path().join("ledger.db")
    }

    fn wal(&self) -> PathBuf {
        self.directory.path().join("ledger.db-wal")
    }

    /// The transactions in the write-ahead log, by their frames
    /// (<https://sqlite.org/fileformat2.html#walformat>).
    fn transactions(&self) -> usize {
        let wal = fs::read(self.wal()).unwrap();
        let frames = wal[32..].chunks_exact(24 + 8_192);
        frames.filter(|frame| frame[4..8] != [0; 4]).count()
    }
}

impl Place for File {
    type Ledger = SqliteLedger;

    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory }
    }

    async fn open(&self) -> Result<SqliteLedger, Fault> {
        SqliteLedger::open(&self.path()).await
    }
}

impl Durable for File {
    fn crash(&self) -> Self {
        let copy = Self::new();
        for (from, to) in [(self.path(), copy.path()), (self.wal(), copy.wal())] {
            if from.exists() {
                fs::copy(from, to).unwrap();
            }
        }
        copy
    }
}

struct Memory;

impl Place for Memory {
    type Ledger = SqliteLedger;

    fn new() -> Self {
        Self
    }

    async fn open(&self) -> Result<SqliteLedger, Fault> {
        SqliteLedger::in_memory()
    }
}

mod file {
    crate::ledger::ledger_suite!(super::File);
    crate::ledger::durable_ledger_suite!(super::File);
    crate::stages::stage_suite!(durable super::File);
    crate::moves::move_suite!(durable super::File);
}

mod memory {
    crate::ledger::ledger_suite!(super::Memory);
    crate::stages::stage_suite!(super::Memory);
    crate::moves::move_suite!(super::Memory);
}

async fn begin(place: &File) -> (SqliteLedger, Claim, MailboxId) {
    let ledger = place.open().await.unwrap();
    let claim = ledger.claim(&account("anna")).await.unwrap();
    let mailbox = ledger.bind(claim.account, &binding("a", "a")).await.unwrap();
    (ledger, claim, mailbox)
}

/// What the older of two writers of one ledger, each with a place in it, is told, and what stays.
async fn assert_fenced(old: SqliteLedger, claim: Claim, mailbox: MailboxId, new: SqliteLedger) {
    let refused = |fault: Fault| {
        assert_eq!(fault.cause.downcast_ref(), Some(&Refusal::TakenOver), "{}", fault.chain());
        assert_eq!(fault.scope, Scope::Batch);
        assert!(fault.chain().contains("another process has taken this ledger over"));
    };
    // Only queued, so told to whoever comes next.
    let _ = old.record(mailbox, vec![copied(2)]).await;
    refused(old.open(&window(mailbox, claim, [3])).await.unwrap_err());
    refused(old.record(mailbox, vec![copied(4)]).await.unwrap_err());
    refused(old.history(mailbox, ALL).await.unwrap_err());
    refused(old.claim(&account("anna")).await.unwrap_err());
    refused(old.flush().await.unwrap_err());
    refused(old.finish().await.unwrap_err());

    let claim = new.claim(&account("anna")).await.unwrap();
    new.open(&window(mailbox, claim, [5])).await.unwrap();
    new.record(mailbox, vec![copied(6)]).await.unwrap();
    let history = new.history(mailbox, ALL).await.unwrap();
    assert_eq!(history.iter().map(|(uid, _)| uid.0).collect::<Vec<_>>(), [1, 6]);
    let windows = new.open_windows(claim.account).await.unwrap();
    assert_eq!(windows.len(), 1, "{windows:?}");
}

/// A20
#[tokio::test]
async fn a_process_that_opens_the_file_refuses_the_one_that_has_it_open() {
    let place = File::new();
    let (old, claim, mailbox) = begin(&place).await;
    old.record(mailbox, vec![copied(1)]).await.unwrap();
    old.flush().await.unwrap();
    let new = place.open().await.unwrap();
    assert_fenced(old, claim, mailbox, new).await;
    // A number outlives the process that had it.
    let (older, claim, mailbox) = begin(&place).await;
    drop(place.open().await.unwrap());
    older.open(&window(mailbox, claim, [7])).await.unwrap_err();
}

#[tokio::test]
async fn a_ledger_in_memory_is_taken_over_as_a_file_is() {
    let old = SqliteLedger::in_memory().unwrap();
    let claim = old.claim(&account("anna")).await.unwrap();
    let mailbox = old.bind(claim.account, &binding("a", "a")).await.unwrap();
    old.record(mailbox, vec![copied(1)]).await.unwrap();
    old.flush().await.unwrap();
    let new = old.take_over().unwrap();
    assert_fenced(old, claim, mailbox, new).await;
}

async fn refusal(path: &Path) -> String {
    let fault = SqliteLedger::open(path).await.unwrap_err();
    assert_eq!(fault.scope, Scope::Batch);
    let text = fault.chain();
    assert!(text.starts_with(&format!("cannot open the ledger {}: ", path.display())), "{text}");
    text
}

#[tokio::test]
async fn many_records_are_few_transactions() {
    let place = File::new();
    let (ledger, _, mailbox) = begin(&place).await;
    let before = place.transactions();
    for uid in 1..=5_000 {
        ledger.record(mailbox, vec![copied(uid)]).await.unwrap();
    }
    ledger.flush().await.unwrap();
    let transactions = place.transactions() - before;
    // The queue holds 64 requests of one record each; a writer in step with its caller sees fewer.
    assert!(transactions <= 500, "{transactions} transactions of 5,000 records");
}

#[tokio::test]
async fn windows_opened_together_share_a_transaction() {
    let place = File::new();
    let (ledger, claim, mailbox) = begin(&place).await;
    let before = place.transactions();
    let windows = (1..=50).map(|uid| window(mailbox, claim, [uid]));
    let windows: Vec<_> = windows.collect();
    futures_util::future::join_all(windows.iter().map(|w| ledger.open(w))).await;
    let transactions = place.transactions() - before;
    assert!(transactions <= 5, "{transactions} transactions of 50 windows");
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_does_not_jump_while_the_disk_works() {
    let place = File::new();
    let (ledger, claim, mailbox) = begin(&place).await;
    let start = tokio::time::Instant::now();
    for uid in 1..=50 {
        let window = window(mailbox, claim, [uid]);
        let opened = ledger.open(&window);
        tokio::time::timeout(Duration::from_secs(1), opened).await.unwrap().unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn after_a_failed_commit_every_call_fails_alike() {
    let place = File::new();
    let (ledger, claim, mailbox) = begin(&place).await;
    ledger.record(mailbox, vec![copied(1)]).await.unwrap();
    ledger.flush().await.unwrap();
    let saboteur = Connection::open(place.path()).unwrap();
    saboteur
        .execute_batch(
            "CREATE TRIGGER full BEFORE INSERT ON window BEGIN SELECT raise(FAIL, 'broken'); END",
        )
        .unwrap();
    ledger.record(mailbox, vec![copied(2)]).await.unwrap();
    let first = ledger.open(&window(mailbox, claim, [3])).await.unwrap_err();
    assert!(first.chain().contains("broken"), "{}", first.chain());
    assert!(first.action.starts_with("write the ledger "));
    assert_eq!(first.scope, Scope::Batch);
    saboteur.execute_batch("DROP TRIGGER full").unwrap();
    let faults = [
        ledger.record(mailbox, vec![copied(4)]).await.unwrap_err(),
        ledger.open(&window(mailbox, claim, [5])).await.unwrap_err(),
        ledger.history(mailbox, ALL).await.unwrap_err(),
        ledger.flush().await.unwrap_err(),
        ledger.finish().await.unwrap_err(),
    ];
    for fault in faults {
        assert_eq!(fault.chain(), first.chain());
    }
    // Nothing of the failed transaction or after it is there; what was before is.
    let found = place.crash().open().await.unwrap();
    let history = found.history(mailbox, ALL).await.unwrap();
    assert_eq!(history.iter().map(|(uid, _)| uid.0).collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn what_is_unknown_fails_instead_of_being_lost() {
    let place = File::new();
    let (ledger, _, _) = begin(&place).await;
    ledger.record(MailboxId(77), vec![copied(1)]).await.unwrap();
    let fault = ledger.flush().await.unwrap_err();
    assert!(fault.chain().contains("no mailbox 77"), "{}", fault.chain());
}

#[tokio::test]
async fn a_finished_ledger_is_one_file() {
    let place = File::new();
    let (ledger, _, mailbox) = begin(&place).await;
    ledger.record(mailbox, vec![copied(1)]).await.unwrap();
    ledger.finish().await.unwrap();
    let copy = File::new();
    fs::copy(place.path(), copy.path()).unwrap();
    let found = copy.open().await.unwrap();
    assert_eq!(found.history(mailbox, ALL).await.unwrap().iter().count(), 1);
}

#[tokio::test]
async fn a_ledger_can_be_looked_at_beside_its_writer() {
    let place = File::new();
    let (ledger, claim, mailbox) = begin(&place).await;
    let watcher = SqliteLedger::open_read_only(&place.path()).await.unwrap();
    for uid in 1..=3 {
        ledger.record(mailbox, vec![copied(uid)]).await.unwrap();
        ledger.flush().await.unwrap();
        assert_eq!(watcher.snapshot().await.unwrap(), ledger.snapshot().await.unwrap());
    }
    assert_eq!(watcher.remarks(None, 10).await.unwrap(), []);
    let fault = watcher.open(&window(mailbox, claim, [4])).await.unwrap_err();
    assert!(fault.chain().contains("only to look"), "{}", fault.chain());

    ledger.finish().await.unwrap();
    drop(watcher);
    let later = SqliteLedger::open_read_only(&place.path()).await.unwrap();
    assert_eq!(later.snapshot().await.unwrap().accounts.len(), 1);
}

#[tokio::test]
async fn there_is_nothing_to_look_at_before_the_first_run() {
    let place = File::new();
    let fault = SqliteLedger::open_read_only(&place.path()).await.unwrap_err();
    assert!(fault.chain().contains("is it there"), "{}", fault.chain());
    assert!(!place.path().exists());
}

/// A24
#[tokio::test]
async fn another_format_is_refused_by_name_and_left_alone() {
    let place = File::new();
    begin(&place).await.0.finish().await.unwrap();
    for (version, said) in [(5, "newer mailhaul wrote it (format 5"), (0, "old format 0")] {
        let file = Connection::open(place.path()).unwrap();
        file.pragma_update(None, "user_version", version).unwrap();
        drop(file);
        let text = refusal(&place.path()).await;
        assert!(text.contains(said), "{text}");
        assert!(SqliteLedger::open_read_only(&place.path()).await.is_err());
    }
}

#[tokio::test]
async fn a_ledger_of_an_older_format_is_looked_at_and_brought_up_to_date() {
    for older in [
        "DROP TABLE moving; PRAGMA user_version = 1",
        "PRAGMA user_version = 2",
        "PRAGMA user_version = 3",
    ] {
        let place = File::new();
        let (ledger, claim, mailbox) = begin(&place).await;
        ledger.record(mailbox, vec![copied(7)]).await.unwrap();
        let counted = ScanTotals { messages: 1, bytes: 7, vanished: 0, uid_next: 8 };
        let mark = Watermark { uid_next: Uid(8), modseq: None, listed: 1, counted, filter: None };
        ledger.set_watermark(mailbox, Some(mark)).await.unwrap();
        ledger.finish().await.unwrap();
        let file = Connection::open(place.path()).unwrap();
        file.execute_batch("ALTER TABLE watermark DROP COLUMN filter").unwrap();
        file.execute_batch(older).unwrap();
        drop(file);
        let looking = SqliteLedger::open_read_only(&place.path()).await.unwrap();
        assert_eq!(looking.snapshot().await.unwrap().accounts.len(), 1);
        let known = looking.mailboxes(claim.account).await.unwrap();
        assert_eq!(known[0].watermark, Some(mark));
        let ledger = place.open().await.unwrap();
        assert_eq!(ledger.open_moves(claim.account).await.unwrap(), []);
        assert_eq!(ledger.claimed(mailbox, Uid::FIRST).await.unwrap(), [Uid(1_007)]);
        let known = ledger.mailboxes(claim.account).await.unwrap();
        assert_eq!(known[0].watermark, Some(mark));
        ledger.finish().await.unwrap();
        let file = Connection::open(place.path()).unwrap();
        let version = file.pragma_query_value(None, "user_version", |row| row.get(0));
        assert_eq!(version, Ok(4));
    }
}

#[tokio::test]
async fn some_other_file_is_refused_and_left_alone() {
    let place = File::new();
    let other = Connection::open(place.path()).unwrap();
    other.execute_batch("CREATE TABLE mine (x)").unwrap();
    drop(other);
    let before = fs::read(place.path()).unwrap();
    assert!(refusal(&place.path()).await.contains("some other program's"));
    assert_eq!(fs::read(place.path()).unwrap(), before);

    let text = File::new();
    fs::write(text.path(), "accounts, passwords\n".repeat(1_000)).unwrap();
    assert!(refusal(&text.path()).await.contains("no ledger"));
    let missing = text.directory.path().join("missing/ledger.db");
    assert!(refusal(&missing).await.contains("is it there"));
}

/// A24
#[tokio::test]
async fn a_damaged_file_is_refused() {
    let place = File::new();
    let (ledger, _, mailbox) = begin(&place).await;
    ledger.record(mailbox, (1..=5_000).map(copied).collect()).await.unwrap();
    ledger.finish().await.unwrap();
    let mut bytes = fs::read(place.path()).unwrap();
    let pages = bytes.len() / 8_192;
    for page in bytes.chunks_mut(8_192).skip(pages / 2) {
        page[..100].fill(0xaa);
    }
    let damaged = File::new();
    fs::write(damaged.path(), bytes).unwrap();
    let text = refusal(&damaged.path()).await;
    assert!(text.contains("damaged") && text.contains("put back a copy"), "{text}");
}

/// A07
#[tokio::test]
async fn a_cut_write_ahead_log_loses_only_a_suffix() {
    let place = File::new();
    let (ledger, _, mailbox) = begin(&place).await;
    for uid in 1..=30 {
        ledger.record(mailbox, vec![copied(uid)]).await.unwrap();
        ledger.flush().await.unwrap();
    }
    let wal = fs::read(place.wal()).unwrap();
    let mut longest = 0;
    for length in (0..=wal.len()).step_by(4_999).chain([wal.len()]) {
        let cut = place.crash();
        fs::write(cut.wal(), &wal[..length]).unwrap();
        let found = cut.open().await.unwrap();
        let snapshot = found.snapshot().await.unwrap();
        let mut uids = Vec::new();
        if snapshot.accounts.iter().any(|account| !account.mailboxes.is_empty()) {
            let history = found.history(mailbox, ALL).await.unwrap();
            uids = history.iter().map(|(uid, _)| uid.0).collect();
        }
        assert_eq!(uids, (1..).take(uids.len()).collect::<Vec<u32>>(), "cut at {length}");
        assert!(uids.len() >= longest, "cut at {length}");
        longest = uids.len();
    }
    assert_eq!(longest, 30);
}

#[tokio::test]
async fn a_message_takes_about_58_bytes() {
    let empty = File::new();
    begin(&empty).await.0.finish().await.unwrap();
    let place = File::new();
    let (ledger, _, mailbox) = begin(&place).await;
    let uids: Vec<u32> = (1..=100_000).collect();
    for chunk in uids.chunks(50) {
        let outcomes = chunk.iter().map(|uid| {
            let mut outcome = copied(*uid);
            outcome.entry.size = u64::from(*uid) * 7 % 200_000;
            outcome
        });
        ledger.record(mailbox, outcomes.collect()).await.unwrap();
    }
    ledger.finish().await.unwrap();
    // An empty table takes a page whatever is in the others.
    let size = |place: &File| fs::metadata(place.path()).unwrap().len();
    let bytes = size(&place) - size(&empty);
    let per_message = bytes as f64 / uids.len() as f64;
    println!("{per_message:.1} bytes a message");
    assert!(per_message < 59.0, "{per_message:.1} bytes a message");
}
