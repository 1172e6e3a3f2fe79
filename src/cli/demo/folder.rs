//! The folder of a demo: replaced by the next one, never mixed with files of others.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::super::Failure;

pub(super) const ACCOUNTS: &str = "accounts.csv";
pub(super) const ROOTS: &str = "ca.pem";
pub(super) const STATE: &str = "accounts.mailhaul";
/// Says whose folder this is; a demo removes nothing without it.
const MARK: &str = "about.txt";
const MARK_TEXT: &str = "\
Made by `mailhaul demo`, and replaced by the next one.
accounts.csv         the accounts that were moved; servers and passwords are gone
ca.pem               the certificates of both servers
accounts.mailhaul/   the state of the migration: ledger, log, reports
";
const STATE_FILES: [&str; 9] = [
    "ledger.db",
    "ledger.db-shm",
    "ledger.db-wal",
    "lock",
    "log.ndjson",
    "report.csv",
    "report.csv.part",
    "report.json",
    "report.json.part",
];

/// A folder that is this demo's alone until it is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The lock ends with this process.
    _mark: File,
}

impl Folder {
    /// Makes the folder, or empties the one an earlier demo left.
    pub(super) fn take(path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            let text = format!("cannot use the folder {}: {error}", path.display());
            Failure::usage(text, "--dir names another folder")
        };
        fs::create_dir_all(path).map_err(failed)?;
        let names = names(path).map_err(failed)?;
        let mark = path.join(MARK);
        if !names.is_empty() {
            let is_ours = fs::read_to_string(&mark).is_ok_and(|text| text == MARK_TEXT);
            let stranger = match is_ours {
                false => names.first().cloned(),
                true => stranger(path, names).map_err(failed)?,
            };
            if let Some(stranger) = stranger {
                let text = format!(
                    "{} holds {stranger}, which no demo made; nothing was changed",
                    path.display()
                );
                return Err(Failure::usage(text, "--dir names another folder"));
            }
        }
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(false).open(&mark);
        let mut mark = opened.map_err(failed)?;
        if mark.try_lock().is_err() {
            let text = format!("another demo is at work in {}", path.display());
            return Err(Failure::usage(text, "let it end, or --dir names another folder"));
        }
        mark.write_all(MARK_TEXT.as_bytes()).map_err(failed)?;
        empty(path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), _mark: mark })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that only its owner can read.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.path.join(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(&path).and_then(|mut file| file.write_all(bytes));
        written.map_err(|error| {
            let text = format!("cannot write {}: {error}", path.display());
            Failure::usage(text, "--dir names another folder")
        })
    }
}

/// What is in a demo's folder and was not made by one.
fn stranger(path: &Path, names: Vec<String>) -> io::Result<Option<String>> {
    for name in names {
        let kind = fs::symlink_metadata(path.join(&name))?.file_type();
        let is_ours = match name.as_str() {
            ACCOUNTS | ROOTS | MARK => kind.is_file(),
            STATE => kind.is_dir(),
            _ => false,
        };
        if !is_ours {
            return Ok(Some(name));
        }
        if name == STATE {
            for file in self::names(&path.join(STATE))? {
                let kind = fs::symlink_metadata(path.join(STATE).join(&file))?.file_type();
                if !kind.is_file() || !STATE_FILES.contains(&file.as_str()) {
                    return Ok(Some(format!("{STATE}/{file}")));
                }
            }
        }
    }
    Ok(None)
}

/// Removes all but the mark.
fn empty(path: &Path) -> io::Result<()> {
    let state = path.join(STATE);
    let files = STATE_FILES.map(|name| state.join(name));
    for file in files.into_iter().chain([path.join(ACCOUNTS), path.join(ROOTS)]) {
        there(fs::remove_file(file))?;
    }
    there(fs::remove_dir(state))
}

/// What is gone already need not be removed.
fn there(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn names(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join("deep/demo");
        let folder = Folder::take(&path).expect("free");
        folder.write(ACCOUNTS, b"x").expect("written");
        fs::create_dir(path.join(STATE)).expect("made");
        fs::write(path.join(STATE).join("ledger.db"), "x").expect("written");
        (root, path)
    }

    #[test]
    fn an_earlier_demo_is_replaced() {
        let (_root, path) = made();
        let folder = Folder::take(&path).expect("a demo's");
        assert_eq!(names(folder.path()).expect("listed"), [MARK]);
        let error = Folder::take(&path).expect_err("in use");
        assert!(error.to_string().starts_with("another demo"), "{error}");
    }

    #[test]
    fn what_others_put_there_is_left_alone() {
        for file in ["thesis.txt", "accounts.mailhaul/notes.txt"] {
            let (_root, path) = made();
            fs::write(path.join(file), "mine").expect("written");
            let error = Folder::take(&path).expect_err("not only a demo's");
            assert!(error.to_string().contains(file), "{error}");
            assert!(path.join("accounts.mailhaul/ledger.db").exists());
        }
    }

    #[test]
    fn a_real_migration_is_not_taken_for_a_demo() {
        let (_root, path) = made();
        fs::remove_file(path.join(MARK)).expect("removed");
        Folder::take(&path).expect_err("not marked");
        assert!(path.join("accounts.mailhaul/ledger.db").exists());
    }
}
