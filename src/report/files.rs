//! The report as files: `report.csv` for people, `report.json` for programs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use crate::escape::escaped;
use crate::fate::{Fate, RemarkKind};
use crate::fault::{Fault, Remedy, Scope};
use crate::ledger::{
    AccountSnapshot, AccountState, Count, Ledger, MailboxSnapshot, RemarkRow, Snapshot,
};

use super::left_out::LeftOutMailbox;
use super::{Totals, Verdict, account_problem, mailbox_problem};

/// Remarks held in memory at once.
const PAGE_ROWS: usize = 1_000;

/// Writes `report.csv`: a line for each account that is not through, for each mailbox that has
/// messages not copied yet or a fault, for each that was left out, and for each remark on a message.
///
/// # Errors
///
/// The ledger's fault, or that the file cannot be written; an older report stays then.
pub async fn write_csv(
    ledger: &impl Ledger,
    snapshot: &Snapshot,
    path: &Path,
    with_subjects: bool,
    left_out: &[LeftOutMailbox],
) -> Result<(), Fault> {
    let failed = |error: csv::Error| fault(path, error);
    let draft = Draft::create(path).map_err(|error| fault(path, error))?;
    let mut table = Table { csv: csv::Writer::from_writer(draft), with_subjects };
    table.write(HEADER).map_err(failed)?;
    for account in &snapshot.accounts {
        table.account(account).map_err(failed)?;
    }
    for LeftOutMailbox { account, mailbox, reason } in left_out {
        let (account, mailbox, reason) = (cell(account), cell(mailbox), cell(reason));
        table
            .write([&account, &mailbox, "", "", "", "", "left-out", &reason, ""])
            .map_err(failed)?;
    }
    let mut after = None;
    loop {
        let rows = ledger.remarks(after, PAGE_ROWS).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.cursor);
        for row in &rows {
            table.remark(row).map_err(failed)?;
        }
    }
    let draft = table.csv.into_inner().map_err(|error| fault(path, error.into_error()))?;
    draft.finish().map_err(|error| fault(path, error))
}

const COLUMNS: usize = 9;
/// The last only with subjects.
const HEADER: [&str; COLUMNS] =
    ["account", "mailbox", "uid", "size", "date", "fate", "kind", "reason", "subject"];

struct Table {
    csv: csv::Writer<Draft>,
    with_subjects: bool,
}

impl Table {
    fn account(&mut self, account: &AccountSnapshot) -> csv::Result<()> {
        let key = cell(&account.name.key);
        if let Some(problem) = account_problem(account) {
            self.write([&key, "", "", "", "", "", "account", &cell(&problem), ""])?;
        }
        for mailbox in &account.mailboxes {
            if let Some(problem) = mailbox_problem(mailbox) {
                let (path, problem) = (mailbox.source.to_string(), cell(&problem));
                let pending = mailbox.fates.contains_key(&Fate::Pending);
                let fate = if pending { Fate::Pending.as_str() } else { "" };
                let path = cell(&path);
                self.write([&key, &path, "", "", "", fate, "mailbox", &problem, ""])?;
            }
        }
        Ok(())
    }

    fn remark(&mut self, row: &RemarkRow) -> csv::Result<()> {
        self.write([
            &cell(&row.account),
            &cell(&row.mailbox.to_string()),
            &row.uid.to_string(),
            &row.size.to_string(),
            &row.date.map(|date| date.to_string()).unwrap_or_default(),
            row.fate.as_str(),
            row.remark.kind.as_str(),
            &cell(&row.remark.text),
            &cell(row.subject.as_deref().unwrap_or_default()),
        ])
    }

    fn write(&mut self, cells: [&str; COLUMNS]) -> csv::Result<()> {
        let columns = COLUMNS - usize::from(!self.with_subjects);
        self.csv.write_record(&cells[..columns])
    }
}

/// Text of others as a cell that no spreadsheet runs as a formula and no terminal obeys.
pub(super) fn cell(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        return Cow::Owned(format!("'{}", escaped(text)));
    }
    escaped(text)
}

/// Writes `report.json`. Names in it are only added; `version` changes when one goes.
///
/// # Errors
///
/// If the file cannot be written; an older report stays then.
pub fn write_json(
    snapshot: &Snapshot,
    verdict: Verdict,
    left_out: &[LeftOutMailbox],
    path: &Path,
) -> Result<(), Fault> {
    Draft::write_json(&Report { left_out, ..Report::of(snapshot, verdict) }, path)
}

/// What `report.json` would say now, for `status --json`.
#[must_use]
pub fn status_json(snapshot: &Snapshot) -> String {
    let report = Report::of(snapshot, Verdict::of(snapshot));
    // Plain data into memory: there is nothing to fail at.
    let mut text = serde_json::to_string_pretty(&report).unwrap_or_default();
    text.push('\n');
    text
}

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    exit_code: u8,
    totals: BTreeMap<Fate, Count>,
    accounts: Accounts<'a>,
    /// Mailboxes that the last run left out.
    left_out: &'a [LeftOutMailbox],
}

impl<'a> Report<'a> {
    fn of(snapshot: &'a Snapshot, verdict: Verdict) -> Self {
        Self {
            version: 1,
            exit_code: verdict.exit_code(),
            totals: all_fates(&Totals::of_all(snapshot)),
            accounts: Accounts(&snapshot.accounts),
            left_out: &[],
        }
    }
}

/// They may be thousands: each is made when it is written.
struct Accounts<'a>(&'a [AccountSnapshot]);

impl Serialize for Accounts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Account::of))
    }
}

#[derive(Serialize)]
struct Account<'a> {
    account: &'a str,
    source: &'a str,
    target: &'a str,
    state: AccountState,
    reason: Option<&'a str>,
    passes: u32,
    fates: BTreeMap<Fate, Count>,
    remarks: BTreeMap<RemarkKind, u64>,
    mailboxes: Vec<Mailbox<'a>>,
}

impl<'a> Account<'a> {
    fn of(account: &'a AccountSnapshot) -> Self {
        let totals = Totals::of(&account.mailboxes);
        Self {
            account: &account.name.key,
            source: &account.name.source,
            target: &account.name.target,
            state: account.state,
            reason: account.reason.as_deref(),
            passes: account.passes,
            fates: all_fates(&totals),
            remarks: totals.remarks,
            mailboxes: account.mailboxes.iter().map(Mailbox::of).collect(),
        }
    }
}

#[derive(Serialize)]
struct Mailbox<'a> {
    source: String,
    target: String,
    fault: Option<&'a str>,
    messages: u64,
    in_doubt: u64,
    fates: BTreeMap<Fate, Count>,
    remarks: &'a BTreeMap<RemarkKind, u64>,
}

impl<'a> Mailbox<'a> {
    fn of(mailbox: &'a MailboxSnapshot) -> Self {
        Self {
            source: mailbox.source.to_string(),
            target: mailbox.target.to_string(),
            fault: mailbox.fault.as_deref(),
            messages: mailbox.messages,
            in_doubt: mailbox.in_doubt,
            fates: all_fates(&Totals::of([mailbox])),
            remarks: &mailbox.remarks,
        }
    }
}

/// Every fate, with those that no message has: programs need not ask whether one is there.
fn all_fates(totals: &Totals) -> BTreeMap<Fate, Count> {
    Fate::ALL.into_iter().map(|fate| (fate, totals.sum(&[fate]))).collect()
}

pub(super) fn fault(
    path: &Path,
    cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Fault {
    let action = format!("write the report {}", path.display());
    Fault::new(Scope::Batch, Remedy::Nothing, action, cause)
}

/// A file that takes its place only when it is whole.
pub(super) struct Draft {
    file: BufWriter<File>,
    draft: PathBuf,
    path: PathBuf,
}

impl Draft {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut draft = path.as_os_str().to_owned();
        // Several processes may write the same report: the last one's stays.
        draft.push(format!(".{}.part", std::process::id()));
        let draft = PathBuf::from(draft);
        Ok(Self { file: BufWriter::new(File::create(&draft)?), draft, path: path.to_owned() })
    }

    /// Writes a file of JSON.
    pub(super) fn write_json(report: &impl Serialize, path: &Path) -> Result<(), Fault> {
        let write = || {
            let mut draft = Self::create(path)?;
            serde_json::to_writer_pretty(&mut draft, report)?;
            draft.write_all(b"\n")?;
            draft.finish()
        };
        write().map_err(|error: io::Error| fault(path, error))
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        fs::rename(&self.draft, &self.path)
    }
}

/// One that is not whole is of no use to anybody.
impl Drop for Draft {
    fn drop(&mut self) {
        // After it took its place there is nothing of its name.
        let _ = fs::remove_file(&self.draft);
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{account, mailbox, snapshot};
    use super::*;
    use crate::fate::Remark;
    use crate::history::Entry;
    use crate::ledger::sqlite::SqliteLedger;
    use crate::ledger::{AccountName, Binding, Outcome};
    use crate::mail::{Flags, InternalDate, MailboxPath, Uid, UidValidity, WireName};

    fn refused(uid: u32, text: &str, subject: Option<&str>) -> Outcome {
        let entry = Entry {
            fate: Fate::Refused,
            target_uid: None,
            size: 9,
            date: Some(InternalDate::new(0, 120)),
            flags: Flags::default(),
            digest: None,
            troubles: crate::history::Troubles::default(),
            risky: false,
            changed: None,
        };
        Outcome {
            uid: Uid(uid),
            entry,
            remarks: vec![Remark::new(RemarkKind::Reason, text)],
            subject: subject.map(str::to_owned),
        }
    }

    async fn ledger(outcomes: Vec<Outcome>) -> SqliteLedger {
        let ledger = SqliteLedger::in_memory().expect("memory");
        let name = AccountName {
            key: "@anna".to_owned(),
            source: "anna@old.example".to_owned(),
            target: "anna@new.example".to_owned(),
        };
        let claim = ledger.claim(&name).await.expect("claimed");
        let path = MailboxPath::new(["=cmd|'/c calc'!A0"]);
        let binding = Binding {
            source_name: WireName(b"a".to_vec()),
            source_path: path.clone(),
            source_validity: UidValidity(1),
            target_name: WireName(b"a".to_vec()),
            target_path: path,
            target_validity: None,
        };
        let mailbox = ledger.bind(claim.account, &binding).await.expect("bound");
        ledger.record(mailbox, outcomes).await.expect("queued");
        ledger
    }

    async fn written(ledger: &SqliteLedger, snapshot: &Snapshot, subjects: bool) -> String {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("report.csv");
        write_csv(ledger, snapshot, &path, subjects, &[]).await.expect("written");
        let files = fs::read_dir(directory.path()).expect("readable");
        assert_eq!(files.count(), 1, "no draft is left");
        fs::read_to_string(path).expect("text")
    }

    #[tokio::test]
    async fn no_cell_is_a_formula_or_steers_a_terminal() {
        let texts = ["=1+1", "+1", "-1", "@a", "\ta", "\ra", "NO \u{1b}[2J", "a,\"b\""];
        let outcomes = (1..).zip(texts).map(|(uid, text)| refused(uid, text, Some(text)));
        let ledger = ledger(outcomes.collect()).await;
        let text = written(&ledger, &Snapshot::default(), true).await;
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let rows: Vec<_> = reader.records().map(|row| row.expect("a row")).collect();
        assert_eq!(rows.len(), texts.len());
        for row in rows {
            assert_eq!(row.len(), 9);
            for cell in &row {
                assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell}");
                assert!(!cell.contains(char::is_control), "{cell}");
            }
            assert_eq!((&row[0], &row[1]), ("'@anna", "'=cmd|'\\/c calc'!A0"));
        }
    }

    #[tokio::test]
    async fn a_remark_is_a_line_and_subjects_are_only_where_asked_for() {
        let ledger = ledger(vec![refused(7, "too big", Some("Hello"))]).await;
        let line = "'@anna,'=cmd|'\\/c calc'!A0,7,9,1970-01-01T00:00:00Z,refused,reason,too big";
        let header = "account,mailbox,uid,size,date,fate,kind,reason";
        let text = written(&ledger, &Snapshot::default(), false).await;
        assert_eq!(text, format!("{header}\n{line}\n"));
        let text = written(&ledger, &Snapshot::default(), true).await;
        assert_eq!(text, format!("{header},subject\n{line},Hello\n"));
    }

    #[tokio::test]
    async fn more_remarks_than_a_page_are_all_listed() {
        let outcomes = (1..=2_500).map(|uid| refused(uid, "no", None));
        let ledger = ledger(outcomes.collect()).await;
        let text = written(&ledger, &Snapshot::default(), false).await;
        assert_eq!(text.lines().count(), 2_501);
    }

    #[tokio::test]
    async fn what_is_pending_or_failed_has_a_line_of_its_own() {
        let mut pending = mailbox(&[(Fate::Copied, 3), (Fate::Pending, 2)]);
        pending.fault = Some("over quota".to_owned());
        let mut failed = account(vec![pending, mailbox(&[(Fate::Copied, 1)])]);
        failed.state = AccountState::Failed;
        failed.reason = Some("NO [AUTHENTICATIONFAILED]".to_owned());
        let ledger = ledger(Vec::new()).await;
        let text = written(&ledger, &snapshot([failed]), false).await;
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "anna,,,,,,account,failed: NO [AUTHENTICATIONFAILED]",
                "anna,Archive/2019,,,,pending,mailbox,2 messages not copied yet: over quota",
            ]
        );
    }

    #[test]
    fn the_json_report_has_every_fate_and_the_exit_code() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("report.json");
        let mut remarked = mailbox(&[(Fate::Copied, 3), (Fate::Held, 1)]);
        remarked.remarks.insert(RemarkKind::FlagsReduced, 2);
        let snapshot = snapshot([account(vec![remarked])]);
        write_json(&snapshot, Verdict::of(&snapshot), &[], &path).expect("written");
        let text = fs::read(&path).expect("readable");
        let report: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        assert_eq!((&report["version"], &report["exit_code"]), (&1.into(), &4.into()));
        assert_eq!(report["totals"].as_object().expect("fates").len(), 10);
        let account = &report["accounts"][0];
        assert_eq!(account["state"], "done");
        assert_eq!(account["fates"]["copied"]["messages"], 3);
        assert_eq!(account["mailboxes"][0]["source"], "Archive/2019");
        assert_eq!(account["mailboxes"][0]["remarks"]["flags-reduced"], 2);
    }

    #[test]
    fn a_report_that_cannot_be_written_says_where() {
        let fault =
            write_json(&Snapshot::default(), Verdict::Done, &[], Path::new("/missing/r.json"));
        let text = fault.expect_err("no such directory").chain();
        assert!(text.starts_with("cannot write the report /missing/r.json: "), "{text}");
    }
}
