//! What a disk may have after the power is lost: everything that was synced, and of the rest any part.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Something that a program did, in order (`watch.c`).
pub(crate) enum Deed {
    Make(PathBuf),
    MakeDirectory(PathBuf),
    Remove(PathBuf),
    Write(PathBuf, usize, Vec<u8>),
    Cut(PathBuf, usize),
    /// Of a file its octets, of a directory the names in it.
    Sync(PathBuf),
    /// These octets went to a connection.
    Send(PathBuf, Vec<u8>),
}

/// Reads what `watch.c` wrote down.
pub(crate) fn deeds(log: &Path) -> Vec<Deed> {
    let log = fs::read(log).expect("the log is there");
    let (mut rest, mut deeds) = (&log[..], Vec::new());
    while let Some((kind, after)) = rest.split_first() {
        let (length, after) = after.split_at(4);
        let (number, after) = after.split_at(8);
        let (size, after) = after.split_at(8);
        let number_of = |octets: &[u8]| {
            let octets = octets.try_into().expect("eight octets");
            usize::try_from(u64::from_ne_bytes(octets)).expect("it fits")
        };
        let length = u32::from_ne_bytes(length.try_into().expect("four octets")) as usize;
        let (path, after) = after.split_at(length);
        let (data, after) = after.split_at(number_of(size));
        rest = after;
        let (path, number) =
            (PathBuf::from(String::from_utf8_lossy(path).as_ref()), number_of(number));
        deeds.push(match kind {
            b'C' => Deed::Make(path),
            b'M' => Deed::MakeDirectory(path),
            b'U' => Deed::Remove(path),
            b'W' => Deed::Write(path, number, data.to_vec()),
            b'T' => Deed::Cut(path, number),
            b'S' => Deed::Sync(path),
            b'N' => Deed::Send(path, data.to_vec()),
            other => panic!("a note of the kind {other}"),
        });
    }
    deeds
}

/// What of a disk is left.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Left {
    /// What was synced, and nothing else.
    Synced,
    /// Everything, as after a kill.
    All,
    /// What was synced, and whatever a seed picks of the rest, by sectors.
    Some(u64),
}

const SECTOR: usize = 512;

#[derive(Default)]
struct File {
    synced: Vec<u8>,
    since: Vec<Change>,
}

enum Change {
    Write(usize, Vec<u8>),
    Cut(usize),
}

impl Change {
    /// Makes what `takes` picks of it.
    fn make(&self, octets: &mut Vec<u8>, mut takes: impl FnMut() -> bool) {
        match self {
            Self::Cut(length) if takes() => octets.resize(*length, 0),
            Self::Cut(_) => {}
            Self::Write(offset, data) => {
                let mut done = 0;
                while done < data.len() {
                    let at = offset + done;
                    let size = (SECTOR - at % SECTOR).min(data.len() - done);
                    if takes() {
                        octets.resize(octets.len().max(at + size), 0);
                        octets[at..at + size].copy_from_slice(&data[done..done + size]);
                    }
                    done += size;
                }
            }
        }
    }
}

/// A name stands for a file, by its number, or for a directory.
type Names = BTreeMap<PathBuf, Option<usize>>;

/// The files of one directory.
#[derive(Default)]
pub(crate) struct Disk {
    root: PathBuf,
    files: Vec<File>,
    names: Names,
    synced: Names,
}

impl Disk {
    /// An empty one. The directory itself is there for good.
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), ..Self::default() }
    }

    pub(crate) fn see(&mut self, deed: &Deed) {
        match deed {
            Deed::Make(path) => {
                self.files.push(File::default());
                self.names.insert(path.clone(), Some(self.files.len() - 1));
            }
            Deed::MakeDirectory(path) => {
                self.names.insert(path.clone(), None);
            }
            Deed::Remove(path) => {
                self.names.remove(path);
            }
            Deed::Write(path, offset, data) => {
                self.change(path, Change::Write(*offset, data.clone()));
            }
            Deed::Cut(path, length) => self.change(path, Change::Cut(*length)),
            Deed::Sync(path) => self.sync(path),
            Deed::Send(..) => {}
        }
    }

    fn change(&mut self, path: &Path, change: Change) {
        if let Some(Some(file)) = self.names.get(path) {
            self.files[*file].since.push(change);
        }
    }

    fn sync(&mut self, path: &Path) {
        if let Some(Some(file)) = self.names.get(path) {
            let File { synced, since } = &mut self.files[*file];
            since.drain(..).for_each(|change| change.make(synced, || true));
            return;
        }
        let is_in = |name: &Path| name.parent() == Some(path);
        self.synced.retain(|name, _| !is_in(name));
        let now = self.names.iter().filter(|(name, _)| is_in(name));
        self.synced.extend(now.map(|(name, file)| (name.clone(), *file)));
    }

    /// Writes what is left to another directory.
    pub(crate) fn leave(&self, left: Left, to: &Path) {
        let mut dice = match left {
            Left::Synced | Left::All => 0,
            Left::Some(seed) => seed | 1,
        };
        let mut takes = || match left {
            Left::Synced => false,
            Left::All => true,
            Left::Some(_) => {
                // xorshift: any part will do.
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                dice.is_multiple_of(2)
            }
        };
        let mut names = self.synced.clone();
        let either: std::collections::BTreeSet<&PathBuf> =
            self.names.keys().chain(self.synced.keys()).collect();
        for name in either {
            if self.names.get(name) != self.synced.get(name) && takes() {
                match self.names.get(name) {
                    Some(file) => names.insert(name.clone(), *file),
                    None => names.remove(name),
                };
            }
        }
        for (name, file) in &names {
            let path = to.join(name.strip_prefix(&self.root).expect("below the root"));
            // Without the directory there is no way to what is in it.
            let is_reached = path.parent().is_some_and(Path::is_dir);
            match file {
                None if is_reached => fs::create_dir(path).expect("made"),
                Some(file) if is_reached => {
                    let File { synced, since } = &self.files[*file];
                    let mut octets = synced.clone();
                    since.iter().for_each(|change| change.make(&mut octets, &mut takes));
                    fs::write(path, octets).expect("written");
                }
                _ => {}
            }
        }
    }
}
