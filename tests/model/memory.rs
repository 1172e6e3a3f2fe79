//! The ledger: what of it is on the disk, and what is only queued.

use mailhaul::fate::Fate;
use mailhaul::history::{Entry, Troubles};

use crate::mail;

/// What is known of one message.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Row {
    pub(crate) fate: Fate,
    /// Its copy's UID; 0 for none.
    pub(crate) uid: u8,
    pub(crate) doubts: u8,
    pub(crate) losses: u8,
    /// Remarked as removed at the target.
    pub(crate) is_removed: bool,
    /// The UIDs reported as possible duplicates.
    pub(crate) surplus: Vec<u8>,
}

impl Row {
    pub(crate) fn new(fate: Fate, uid: u8, troubles: Troubles) -> Self {
        let Troubles { doubts, losses } = troubles;
        Self { fate, uid, doubts, losses, is_removed: false, surplus: Vec::new() }
    }

    pub(crate) fn troubles(&self) -> Troubles {
        Troubles { doubts: self.doubts, losses: self.losses }
    }

    pub(crate) fn entry(&self, content: u8) -> Entry {
        mail::entry(self.fate, self.uid, content, self.troubles())
    }
}

/// A window in the ledger.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    pub(crate) id: u8,
    pub(crate) epoch: u8,
    pub(crate) lo: u8,
    pub(crate) keys: Vec<(u8, Pair)>,
    pub(crate) is_acknowledged: bool,
    pub(crate) stage: Option<u8>,
}

/// Doubts and losses of a message when its window was opened.
pub(crate) type Pair = (u8, u8);

/// A stage in the ledger, known by its name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Stage {
    pub(crate) name: u8,
    pub(crate) epoch: u8,
    pub(crate) intent: Option<Intent>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Intent {
    pub(crate) lo: u8,
    /// UID in the stage, message, whether it has arrived.
    pub(crate) moved: Vec<(u8, u8, bool)>,
}

/// A change.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Write {
    Record(Vec<(u8, Row)>),
    Open(Window),
    Close(u8, Vec<(u8, Row)>),
    UidNext(u8),
    Surplus(u8, Vec<u8>),
    /// Windows that are through, outcomes, and notes: message and `lo`.
    Settle(Vec<u8>, Vec<(u8, Row)>, Vec<(u8, u8)>),
    OpenStage(u8, u8),
    Intend(u8, Intent),
    Arrived(u8, Vec<u8>),
    Deliver(u8, Vec<(u8, Row)>),
    /// The stage is gone; outcomes, and windows of the target mailbox.
    Dissolve(u8, Vec<(u8, Row)>, Vec<Window>),
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Ledger {
    /// The newest process that writes.
    pub(crate) writer: u8,
    pub(crate) rows: Vec<Option<Row>>,
    pub(crate) windows: Vec<Window>,
    /// The lowest UID of a late copy, and how many were lost.
    pub(crate) notes: Vec<Option<(u8, u8)>>,
    pub(crate) uid_next: u8,
    pub(crate) stages: Vec<Stage>,
}

impl Ledger {
    pub(crate) fn new(messages: usize) -> Self {
        Self {
            writer: 0,
            rows: vec![None; messages],
            windows: Vec::new(),
            notes: vec![None; messages],
            uid_next: 1,
            stages: Vec::new(),
        }
    }

    /// The UIDs at and above one that messages have claimed.
    pub(crate) fn claimed(&self, from: u8) -> Vec<u8> {
        let claims = self.rows.iter().flatten().filter(|row| row.fate.is_there());
        claims.map(|row| row.uid).filter(|uid| *uid >= from.max(1)).collect()
    }

    fn record(&mut self, rows: Vec<(u8, Row)>) {
        for (key, row) in rows {
            self.rows[usize::from(key)] = Some(row);
        }
    }

    fn stage_mut(&mut self, name: u8) -> Option<&mut Stage> {
        self.stages.iter_mut().find(|stage| stage.name == name)
    }

    /// Makes a change durable. `is_first_lo` is whether of several notes the lowest counts.
    pub(crate) fn write(&mut self, write: Write, is_first_lo: bool) {
        match write {
            Write::Record(rows) => self.record(rows),
            Write::Open(window) => self.windows.push(window),
            Write::Close(id, rows) => {
                let open = self.windows.len();
                self.windows.retain(|window| window.id != id);
                // Whoever closed it before said what became of its messages.
                if self.windows.len() < open {
                    self.record(rows);
                }
            }
            Write::UidNext(uid) => self.uid_next = uid,
            Write::Surplus(key, uids) => {
                if let Some(row) = &mut self.rows[usize::from(key)] {
                    row.surplus = uids;
                }
            }
            Write::Settle(ids, rows, notes) => {
                self.windows.retain(|window| !ids.contains(&window.id));
                self.record(rows);
                for (key, lo) in notes {
                    let note = &mut self.notes[usize::from(key)];
                    let (old, lost) = note.unwrap_or((lo, 0));
                    *note = Some((if is_first_lo { old.min(lo) } else { lo }, lost + 1));
                }
            }
            Write::OpenStage(name, epoch) => self.stages.push(Stage { name, epoch, intent: None }),
            Write::Intend(name, intent) => {
                if let Some(stage) = self.stage_mut(name) {
                    stage.intent = Some(intent);
                }
            }
            Write::Arrived(name, uids) => {
                let intent = self.stage_mut(name).and_then(|stage| stage.intent.as_mut());
                for moved in intent.into_iter().flat_map(|intent| &mut intent.moved) {
                    moved.2 |= uids.contains(&moved.0);
                }
            }
            Write::Deliver(name, rows) => {
                self.windows.retain(|window| window.stage != Some(name));
                if let Some(stage) = self.stage_mut(name) {
                    stage.intent = None;
                }
                self.record(rows);
            }
            Write::Dissolve(name, rows, windows) => {
                self.windows.retain(|window| window.stage != Some(name));
                self.stages.retain(|stage| stage.name != name);
                self.windows.extend(windows);
                self.record(rows);
            }
        }
    }

    /// A number that no window has.
    pub(crate) fn new_id(&self, others: impl Iterator<Item = u8>) -> u8 {
        let used: Vec<u8> = others.chain(self.windows.iter().map(|window| window.id)).collect();
        (1..).find(|id| !used.contains(id)).expect("few windows")
    }
}
