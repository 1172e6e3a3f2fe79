//! The directory of a run's state, which only one process may use at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::fault::{Fault, Remedy, Scope};

/// A run's directory, held by this process until it is dropped.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// The lock ends when the file is closed, by whatever way this process ends.
    _lock: File,
}

impl StateDir {
    /// Makes the directory if it is missing, for its owner alone, and takes it for this process.
    ///
    /// # Errors
    ///
    /// If another process holds it (the fault names its id), or it cannot be made or locked.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        Self::hold(path, |_| Ok(()))
    }

    /// As [`StateDir::open`], also where another process holds it. The lock only tells people: what
    /// keeps that process from writing is the ledger, whose newest writer is its only one (see
    /// [`crate::ledger::sqlite::SqliteLedger::open`]).
    ///
    /// # Errors
    ///
    /// If it cannot be made or locked.
    pub fn take_over(path: &Path) -> Result<Self, Fault> {
        // The other one keeps the lock of a file that has no name any more.
        Self::hold(path, |lock| match fs::remove_file(lock) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
    }

    fn hold(path: &Path, before: impl Fn(&Path) -> io::Result<()>) -> Result<Self, Fault> {
        let lock = path.join("lock");
        let held = make(path).and_then(|()| Ok(before(&lock)?)).and_then(|()| hold(&lock));
        let lock = held.map_err(|cause| unusable(path, cause))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the ledger is.
    #[must_use]
    pub fn ledger_path(&self) -> PathBuf {
        ledger_path(&self.path)
    }

    /// Where the list of all messages that are not exact goes.
    #[must_use]
    pub fn report_csv(&self) -> PathBuf {
        self.path.join("report.csv")
    }

    /// Where the totals go.
    #[must_use]
    pub fn report_json(&self) -> PathBuf {
        self.path.join("report.json")
    }

    /// Where the log goes.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.visited().log()
    }

    /// The directory as those see it who only look.
    #[must_use]
    pub fn visited(&self) -> Visited {
        Visited(self.path.clone())
    }
}

/// A run's directory for those who look at servers, beside whoever holds it.
#[derive(Debug, Clone)]
pub struct Visited(PathBuf);

impl Visited {
    /// Makes the directory if it is missing, for its owner alone.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        make(path).map_err(|cause| unusable(path, cause))?;
        Ok(Self(path.to_owned()))
    }

    /// Where the list of all that differs between both ends goes.
    #[must_use]
    pub fn verify_csv(&self) -> PathBuf {
        self.0.join("verify.csv")
    }

    /// Where it goes which accounts may be switched.
    #[must_use]
    pub fn cutover_json(&self) -> PathBuf {
        self.0.join("cutover.json")
    }

    /// Where the totals of such a comparison go.
    #[must_use]
    pub fn verify_json(&self) -> PathBuf {
        self.0.join("verify.json")
    }

    /// Where the log goes.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.0.join("log.ndjson")
    }
}

fn unusable(path: &Path, cause: HoldError) -> Fault {
    let action = format!("use the state directory {}", path.display());
    Fault::new(Scope::Batch, Remedy::Nothing, action, cause)
}

/// Where the ledger is in a state directory, for those who only look and do not hold it.
#[must_use]
pub fn ledger_path(state_dir: &Path) -> PathBuf {
    state_dir.join("ledger.db")
}

#[derive(Debug, thiserror::Error)]
enum HoldError {
    #[error("held by {0}: let it end first")]
    Held(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn make(path: &Path) -> Result<(), HoldError> {
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let missing: Vec<&Path> = path.ancestors().skip(1).filter(is_missing).collect();
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Err(error) if !path.is_dir() => return Err(error.into()),
        _ => {}
    }
    missing.into_iter().chain([path]).for_each(keep_name);
    Ok(())
}

/// Brings a directory's name to the disk, or a power loss takes it, and the ledger behind it, however
/// well that was synced. Not every file system lets a directory be synced, and then it has to do
/// without.
fn keep_name(directory: &Path) {
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    let _ = File::open(parent.unwrap_or(Path::new("."))).and_then(|parent| parent.sync_all());
}

fn hold(path: &Path) -> Result<File, HoldError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(HoldError::Held(holder(&mut file))),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())?;
    Ok(file)
}

/// Who holds it, as far as the file says so.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    // No id to be read (the holder only just came, or the system locks reads too) stops nothing.
    let _ = file.take(20).read_to_string(&mut text);
    match text.parse::<u32>() {
        Ok(id) => format!("process {id}"),
        Err(_) => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_told_who_the_first_is() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("a/b");
        let first = StateDir::open(&path).expect("nobody holds it");
        let fault = StateDir::open(&path).expect_err("it is held");
        let holder = format!("held by process {}:", std::process::id());
        assert!(fault.chain().contains(&holder), "{}", fault.chain());
        assert_eq!(fault.scope, Scope::Batch);
        drop(first);
        StateDir::open(&path).expect("nobody holds it any more");
    }

    #[test]
    fn a_directory_is_taken_over_from_a_process_that_holds_it() {
        let root = tempfile::tempdir().expect("temporary directory");
        let first = StateDir::take_over(root.path()).expect("nobody holds it");
        let second = StateDir::take_over(root.path()).expect("taken over");
        drop(first);
        StateDir::open(root.path()).expect_err("the second one holds it");
        drop(second);
        StateDir::open(root.path()).expect("nobody holds it any more");
    }

    #[cfg(unix)]
    #[test]
    fn the_directory_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;

        let root = tempfile::tempdir().expect("temporary directory");
        let state = StateDir::open(&root.path().join("run")).expect("free");
        let mode = fs::metadata(state.path()).expect("made").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(state.ledger_path().file_name().expect("a file"), "ledger.db");
    }

    #[test]
    fn a_lock_left_by_a_dead_process_holds_nobody_up() {
        let root = tempfile::tempdir().expect("temporary directory");
        fs::write(root.path().join("lock"), "999999999").expect("written");
        StateDir::open(root.path()).expect("the writer of the file holds no lock");
        let text = fs::read_to_string(root.path().join("lock")).expect("readable");
        assert_eq!(text, std::process::id().to_string());
    }
}
