//! What can go wrong with the file, told so that a person knows what to do.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::fault::{Fault, Remedy, Scope};
use crate::ledger::Refusal;

/// Why the ledger could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error("{}", advice(.0))]
    Sqlite(#[from] rusqlite::Error),
    #[error(
        "the file is damaged ({0}): put back a copy of it from before, with its -wal file if there is one"
    )]
    Damaged(String),
    #[error("{0}")]
    Format(String),
    #[error("the ledger has no {0}")]
    Unknown(String),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{0}: look into the disk and the directory's owner")]
    Io(#[from] std::io::Error),
}

impl StoreError {
    /// Why a sound ledger takes nothing more, if that is what it says.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal.clone()),
            Self::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                Some(Refusal::Full(error.to_string()))
            }
            Self::Io(error) if is_full(error) => Some(Refusal::Full(error.to_string())),
            _ => None,
        }
    }
}

fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// What SQLite said, and what to do about it.
fn advice(error: &rusqlite::Error) -> String {
    let todo = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full: make room, then run the same again",
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "the file or its directory is read-only: allow writing to both"
        }
        Some(ErrorCode::CannotOpen) => {
            "the file cannot be opened: is it there, and may this user use it?"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process is in the middle of a write: let it go on, or end it"
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            "the file is damaged: put back a copy of it from before, with its -wal file if there is one"
        }
        Some(ErrorCode::NotADatabase) => "the file is no ledger: give another place for it",
        Some(ErrorCode::SystemIoFailure) => "the disk failed: look into the system's log",
        _ => return error.to_string(),
    };
    format!("{todo} ({error})")
}

/// The fault of a store: what can be told from other faults is its cause.
pub(super) fn store_fault(verb: &str, path: &Path, error: StoreError) -> Fault {
    match error.refusal() {
        Some(refusal) => fault(verb, path, refusal),
        None => fault(verb, path, error),
    }
}

/// The fault of a ledger that cannot be used.
pub(super) fn fault(
    verb: &str,
    path: &Path,
    cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Fault {
    let action = format!("{verb} the ledger {}", path.display());
    Fault::new(Scope::Batch, Remedy::Nothing, action, cause)
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn a_failure_says_what_to_do_and_what_sqlite_said() {
        for (code, said) in [
            (ffi::SQLITE_FULL, "make room"),
            (ffi::SQLITE_READONLY, "allow writing"),
            (ffi::SQLITE_CANTOPEN, "is it there"),
            (ffi::SQLITE_BUSY, "or end it"),
            (ffi::SQLITE_CORRUPT, "put back a copy"),
            (ffi::SQLITE_NOTADB, "no ledger"),
            (ffi::SQLITE_IOERR, "the disk failed"),
        ] {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let text = StoreError::from(error).to_string();
            assert!(text.contains(said) && text.ends_with(')'), "{text}");
        }
    }

    #[test]
    fn a_ledgers_fault_stops_the_run_and_names_the_file() {
        let fault = fault("write", Path::new("/x/ledger.db"), "the disk is full");
        assert_eq!(fault.chain(), "cannot write the ledger /x/ledger.db: the disk is full");
        assert_eq!((fault.scope, fault.remedy), (Scope::Batch, Remedy::Nothing));
    }
}
