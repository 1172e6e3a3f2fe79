//! STAND-INS for `mailhaul::ledger::{hold, sqlite}` and `mailhaul::report`, under their names and
//! signatures: when those are there, `state.rs` imports them and this file goes.

pub(super) mod hold {
    use std::fs::{self, File, OpenOptions, TryLockError};
    use std::io::{Read, Seek, Write};
    use std::path::{Path, PathBuf};

    use mailhaul::fault::{Fault, Remedy, Scope};

    #[derive(Debug)]
    pub(in crate::cli) struct StateDir {
        path: PathBuf,
        _lock: File,
    }

    impl StateDir {
        pub(in crate::cli) fn open(path: &Path) -> Result<Self, Fault> {
            let fault = |cause: Box<dyn std::error::Error + Send + Sync>| {
                let action = format!("use the state directory {}", path.display());
                Fault::new(Scope::Batch, Remedy::Nothing, action, cause)
            };
            let io = |error: std::io::Error| fault(error.into());
            let mut builder = fs::DirBuilder::new();
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            if !path.is_dir() {
                builder.recursive(true).create(path).map_err(io)?;
            }
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let mut file = options.open(path.join("lock")).map_err(io)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut id = String::new();
                    file.read_to_string(&mut id).map_err(io)?;
                    return Err(fault(format!("held by process {id}").into()));
                }
                Err(TryLockError::Error(error)) => return Err(io(error)),
            }
            file.set_len(0).map_err(io)?;
            file.rewind().map_err(io)?;
            write!(file, "{}", std::process::id()).map_err(io)?;
            Ok(Self {
                path: path.to_owned(),
                _lock: file,
            })
        }

        pub(in crate::cli) fn ledger_path(&self) -> PathBuf {
            ledger_path(&self.path)
        }

        pub(in crate::cli) fn report_csv(&self) -> PathBuf {
            self.path.join("report.csv")
        }

        pub(in crate::cli) fn report_json(&self) -> PathBuf {
            self.path.join("report.json")
        }

        pub(in crate::cli) fn log(&self) -> PathBuf {
            self.path.join("log.ndjson")
        }
    }

    pub(in crate::cli) fn ledger_path(state_dir: &Path) -> PathBuf {
        state_dir.join("ledger.db")
    }
}

pub(super) mod sqlite {
    use std::fs;
    use std::ops::RangeInclusive;
    use std::path::Path;

    use mailhaul::fault::{Fault, Remedy, Scope};
    use mailhaul::history::History;
    use mailhaul::ledger::{
        AccountId, AccountName, AccountState, Binding, BoundMailbox, Claim, Ledger, MailboxId,
        NewWindow, OpenWindow, Outcome, RemarkCursor, RemarkRow, ScanTotals, Snapshot, WindowId,
    };
    use mailhaul::mail::Uid;

    /// Remembers nothing.
    #[derive(Debug, Clone)]
    pub(in crate::cli) struct SqliteLedger;

    fn missing<T>() -> Result<T, Fault> {
        let cause = "this build has none";
        Err(Fault::new(
            Scope::Batch,
            Remedy::Nothing,
            "use the ledger",
            cause,
        ))
    }

    impl SqliteLedger {
        pub(in crate::cli) async fn open(path: &Path) -> Result<Self, Fault> {
            let cause = |error| Fault::new(Scope::Batch, Remedy::Nothing, "open the ledger", error);
            fs::write(path, "").map_err(|error: std::io::Error| cause(error))?;
            Ok(Self)
        }

        pub(in crate::cli) async fn open_read_only(_: &Path) -> Result<Self, Fault> {
            Ok(Self)
        }

        pub(in crate::cli) async fn finish(self) -> Result<(), Fault> {
            Ok(())
        }
    }

    impl Ledger for SqliteLedger {
        async fn claim(&self, _: &AccountName) -> Result<Claim, Fault> {
            missing()
        }
        async fn mailboxes(&self, _: AccountId) -> Result<Vec<BoundMailbox>, Fault> {
            missing()
        }
        async fn bind(&self, _: AccountId, _: &Binding) -> Result<MailboxId, Fault> {
            missing()
        }
        async fn history(&self, _: MailboxId, _: RangeInclusive<Uid>) -> Result<History, Fault> {
            missing()
        }
        async fn claimed(&self, _: MailboxId, _: Uid) -> Result<Vec<Uid>, Fault> {
            missing()
        }
        async fn open_windows(&self, _: AccountId) -> Result<Vec<OpenWindow>, Fault> {
            missing()
        }
        async fn open(&self, _: &NewWindow) -> Result<WindowId, Fault> {
            missing()
        }
        async fn record(&self, _: MailboxId, _: Vec<Outcome>) -> Result<(), Fault> {
            missing()
        }
        async fn close(&self, _: WindowId, _: MailboxId, _: Vec<Outcome>) -> Result<(), Fault> {
            missing()
        }
        async fn scanned(&self, _: MailboxId, _: ScanTotals) -> Result<(), Fault> {
            missing()
        }
        async fn set_mailbox_fault(&self, _: MailboxId, _: Option<String>) -> Result<(), Fault> {
            missing()
        }
        async fn set_account_state(
            &self,
            _: AccountId,
            _: AccountState,
            _: Option<String>,
        ) -> Result<(), Fault> {
            missing()
        }
        async fn flush(&self) -> Result<(), Fault> {
            Ok(())
        }
        async fn snapshot(&self) -> Result<Snapshot, Fault> {
            Ok(Snapshot::default())
        }
        async fn remarks(
            &self,
            _: Option<RemarkCursor>,
            _: usize,
        ) -> Result<Vec<RemarkRow>, Fault> {
            Ok(Vec::new())
        }
    }
}

pub(super) mod report {
    use std::fs;
    use std::path::Path;

    use mailhaul::fault::{Fault, Remedy, Scope};
    use mailhaul::ledger::{Ledger, Snapshot};

    #[derive(Debug, Clone, Copy)]
    #[expect(dead_code, reason = "a stand-in finds nothing wrong")]
    pub(in crate::cli) enum Verdict {
        Done,
        Incomplete,
        InDoubt,
        Stopped,
    }

    impl Verdict {
        pub(in crate::cli) fn of(_: &Snapshot) -> Self {
            Self::Done
        }
    }

    fn write(path: &Path, text: &str) -> Result<(), Fault> {
        fs::write(path, text).map_err(|error| {
            let action = format!("write {}", path.display());
            Fault::new(Scope::Batch, Remedy::Nothing, action, error)
        })
    }

    pub(in crate::cli) async fn write_csv(
        _: &impl Ledger,
        _: &Snapshot,
        path: &Path,
        _: bool,
    ) -> Result<(), Fault> {
        write(path, "account,mailbox,uid,fate\n")
    }

    pub(in crate::cli) fn write_json(_: &Snapshot, _: Verdict, path: &Path) -> Result<(), Fault> {
        write(path, "{}\n")
    }

    pub(in crate::cli) fn summary_text(
        snapshot: &Snapshot,
        verdict: Verdict,
        _: Option<&Path>,
    ) -> String {
        format!("{verdict:?}: {} accounts\n", snapshot.accounts.len())
    }

    pub(in crate::cli) fn status_text(snapshot: &Snapshot) -> String {
        format!("{} accounts\n", snapshot.accounts.len())
    }

    pub(in crate::cli) fn status_json(snapshot: &Snapshot) -> String {
        format!("{{\"accounts\":{}}}\n", snapshot.accounts.len())
    }
}
