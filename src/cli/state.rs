//! The state directory, the ledger in it and the reports beside it: every call that opens or writes
//! them is here.

use std::path::Path;

use mailhaul::ledger::{Ledger, Snapshot};

use super::pending::{SqliteLedger, StateDir, ledger_path, report};
use super::{Exit, Failure};

/// Takes the state directory for this process.
pub(super) fn hold(path: &Path) -> Result<StateDir, Failure> {
    StateDir::open(path).map_err(|fault| {
        let hint = "only one run at a time may use a directory; --state names another one";
        Failure::ledger(&fault, hint)
    })
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
        let text = format!(
            "no migration was started here: {} is missing",
            ledger.display()
        );
        let hint = format!(
            "run `mailhaul migrate {}` first, or pass --state",
            accounts.display()
        );
        return Err(Failure::usage(text, hint));
    }
    let opened = SqliteLedger::open_read_only(&ledger).await;
    opened.map_err(|fault| Failure::ledger(&fault, UNUSABLE))
}

/// How a run stands at its end: the text for a person and the code for scripts.
pub(super) struct Verdict {
    pub(super) text: String,
    pub(super) exit: Exit,
}

/// Writes the reports of all passes and tells the verdict; a dry run has none.
pub(super) async fn conclude(
    ledger: SqliteLedger,
    state: &StateDir,
    is_dry_run: bool,
) -> Result<Option<Verdict>, Failure> {
    let failed = |fault| Failure::ledger(&fault, UNUSABLE);
    if is_dry_run {
        ledger.finish().await.map_err(failed)?;
        return Ok(None);
    }
    let snapshot = ledger.snapshot().await.map_err(failed)?;
    let csv = report::write_csv(&ledger, &state.report_csv()).await;
    csv.map_err(failed)?;
    let json = report::write_json(&snapshot, &state.report_json());
    json.map_err(failed)?;
    ledger.finish().await.map_err(failed)?;
    Ok(Some(Verdict {
        text: report::summary_text(&snapshot),
        exit: match report::exit_code(&snapshot) {
            0 => Exit::Complete,
            4 => Exit::Doubtful,
            _ => Exit::Incomplete,
        },
    }))
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
