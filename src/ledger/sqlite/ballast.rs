//! A file that takes up room beside the ledger, and gives it back when the disk is full: so that what
//! the target has acknowledged by then can still be noted down.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::error::StoreError;
use crate::ledger::Refusal;

/// Enough for the pages of one transaction.
const BYTES: usize = 4 * 1024 * 1024;

/// Room that is held.
#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
}

impl Ballast {
    /// Takes up room beside a ledger; what an earlier run took is taken over.
    pub(super) fn hold(ledger: &Path) -> Result<Self, StoreError> {
        let path = ledger.with_extension("ballast");
        if fs::metadata(&path).is_ok_and(|file| file.len() == BYTES as u64) {
            return Ok(Self { path });
        }
        // Octets that are written: a file that is only made long takes up no room.
        let written = File::create(&path)
            .and_then(|mut file| file.write_all(&vec![0; BYTES]).and_then(|()| file.sync_all()));
        match written {
            Ok(()) => Ok(Self { path }),
            Err(error) => {
                let _ = fs::remove_file(&path);
                let text = format!("{error}; the ledger needs {BYTES} bytes to begin with");
                Err(match error.kind() {
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Refusal::Full(text).into(),
                    _ => StoreError::Io(error),
                })
            }
        }
    }

    /// Gives the room back, if it was not given back before.
    pub(super) fn release(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_once_and_given_back() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let ledger = directory.path().join("ledger.db");
        let ballast = Ballast::hold(&ledger).expect("room");
        let path = directory.path().join("ledger.ballast");
        assert_eq!(fs::metadata(&path).expect("there").len(), BYTES as u64);
        Ballast::hold(&ledger).expect("what is there is taken over");
        ballast.release();
        assert!(!path.exists());
        ballast.release();
    }
}
