//! The state directory, the ledger in it and the reports beside it: every call that opens or writes
//! them is here.

use std::collections::BTreeSet;
use std::path::Path;

use mailhaul::accounts::Batch;
use mailhaul::config::Config;
use mailhaul::engine::{self, Bound};
use mailhaul::fault::Fault;
use mailhaul::ledger::hold::{StateDir, Visited, ledger_path};
use mailhaul::ledger::sqlite::SqliteLedger;
use mailhaul::ledger::{AccountSnapshot, Ledger, Snapshot};
use mailhaul::report::{self, LeftOutMailbox, Verdict};

use crate::ui::{Show, Ui};

use super::{Exit, Failure};

/// Takes the state directory for this process.
pub(super) fn hold(path: &Path, take_over: bool) -> Result<StateDir, Failure> {
    let held = if take_over { StateDir::take_over(path) } else { StateDir::open(path) };
    held.map_err(|fault| {
        let hint = "only one run at a time may use a directory. If that one hangs or is on its way \
                    out, --take-over goes on in its place: it can write nothing any more, and what \
                    it had in flight is looked for";
        Failure::ledger(&fault, hint)
    })
}

/// Begins to show a run, and to write its log.
pub(super) fn show(show: Show, batch: &Batch, config: &Config, log: &Path) -> Result<Ui, Failure> {
    Ui::start(show, batch, config, log).map_err(|error| {
        let text = format!("cannot write {}: {error}", log.display());
        let hint = "check the disk and the directory's owner".to_owned();
        Failure::Ledger { text, hint }
    })
}

/// The state directory for a command that only looks at servers, beside whoever holds it.
pub(super) fn visit(path: &Path) -> Result<Visited, Failure> {
    Visited::open(path).map_err(|fault| Failure::ledger(&fault, UNUSABLE))
}

/// Where mailboxes went in earlier runs, if there were any. Those that hold nothing of ours count
/// `with_empty`.
pub(super) async fn bound(path: &Path, with_empty: bool) -> Result<Bound, Failure> {
    let ledger = ledger_path(path);
    if !ledger.exists() {
        return Ok(Bound::default());
    }
    let failed = |fault| Failure::ledger(&fault, UNUSABLE);
    let ledger = SqliteLedger::open_read_only(&ledger).await.map_err(failed)?;
    known_to(&ledger, with_empty).await.map_err(failed)
}

/// The same of an open ledger, of all mailboxes.
pub(super) async fn all_bound(ledger: &SqliteLedger) -> Result<Bound, Failure> {
    known_to(ledger, true).await.map_err(|fault| Failure::ledger(&fault, UNUSABLE))
}

async fn known_to(ledger: &SqliteLedger, with_empty: bool) -> Result<Bound, Fault> {
    let known = ledger.bound().await?;
    let (repaired, merged) = (ledger.repaired().await?, ledger.merged().await?);
    let bound = engine::bound(&known, with_empty);
    Ok(bound.with_repaired(repaired).with_merged(&known, &merged))
}

/// Brings everything into the one file.
pub(super) async fn close(ledger: SqliteLedger) -> Result<(), Failure> {
    ledger.finish().await.map_err(|fault| Failure::ledger(&fault, UNUSABLE))
}

/// Opens the ledger of a directory that is held.
pub(super) async fn open(state: &StateDir) -> Result<SqliteLedger, Failure> {
    let opened = SqliteLedger::open(&state.ledger_path()).await;
    opened.map_err(|fault| Failure::ledger(&fault, UNUSABLE))
}

/// Opens the ledger to look at it, beside a run that may be writing.
pub(super) async fn look(path: &Path, accounts: &Path) -> Result<SqliteLedger, Failure> {
    let ledger = ledger_path(path);
    if !ledger.exists() {
        let text = format!("no migration was started here: {} is missing", ledger.display());
        let hint = format!("run `mailhaul migrate {}` first, or pass --state", accounts.display());
        return Err(Failure::usage(text, hint));
    }
    let opened = SqliteLedger::open_read_only(&ledger).await;
    opened.map_err(|fault| Failure::ledger(&fault, UNUSABLE))
}

/// How a run stands at its end: the text for a person and the code for scripts.
pub(super) struct End {
    pub(super) text: String,
    pub(super) exit: Exit,
}

/// What the run itself knows of its end.
pub(super) struct Ran {
    /// Stopped before it was through.
    pub(super) is_stopped: bool,
    /// A pass went through every account.
    pub(super) is_complete: bool,
    /// Subjects go into the reports.
    pub(super) with_subjects: bool,
    /// Mailboxes that were left out.
    pub(super) left_out: Vec<LeftOutMailbox>,
    /// The keys of its accounts: the ledger may know more, of other waves.
    pub(super) accounts: BTreeSet<String>,
}

/// Writes the reports of all passes and tells how it ended.
pub(super) async fn conclude(
    ledger: SqliteLedger,
    state: &StateDir,
    ran: Ran,
) -> Result<End, Failure> {
    let failed = |fault| Failure::ledger(&fault, UNUSABLE);
    let mut snapshot = ledger.snapshot().await.map_err(failed)?;
    let is_own = |account: &AccountSnapshot| ran.accounts.contains(&account.name.key);
    let own = snapshot.accounts.iter().filter(|account| is_own(account));
    let verdict = match Verdict::of_accounts(own) {
        _ if ran.is_stopped => Verdict::Stopped,
        // Accounts that never got as far as the ledger are known to this run only.
        Verdict::Done if !ran.is_complete => Verdict::Incomplete,
        verdict => verdict,
    };
    let csv = state.report_csv();
    let written =
        report::write_csv(&ledger, &snapshot, &csv, ran.with_subjects, &ran.left_out).await;
    written.map_err(failed)?;
    let written = report::write_json(&snapshot, verdict, &ran.left_out, &state.report_json());
    written.map_err(failed)?;
    ledger.finish().await.map_err(failed)?;
    snapshot.accounts.retain(is_own);
    Ok(End {
        text: report::summary_text(&snapshot, verdict, Some(&csv)),
        exit: match verdict {
            Verdict::Done => Exit::Complete,
            Verdict::Incomplete => Exit::Incomplete,
            Verdict::InDoubt => Exit::Doubtful,
            Verdict::Stopped => Exit::Stopped,
        },
    })
}

/// How everything stands.
pub(super) async fn snapshot(ledger: &SqliteLedger) -> Result<Snapshot, Failure> {
    let snapshot = ledger.snapshot().await;
    snapshot.map_err(|fault| Failure::ledger(&fault, UNUSABLE))
}

/// The screen of `status`.
pub(super) fn status_text(snapshot: &Snapshot) -> String {
    report::status_text(snapshot)
}

/// The same for programs.
pub(super) fn status_json(snapshot: &Snapshot) -> String {
    report::status_json(snapshot)
}

pub(super) const UNUSABLE: &str = "check the disk and the directory's owner; nothing was lost: what was \
                        copied is known once the ledger can be read again";
