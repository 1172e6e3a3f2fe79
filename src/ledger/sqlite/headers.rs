//! Which messages have which header lines: an index in memory, since one in the file would make every
//! message larger, and few runs ask. It is made when a mailbox is first asked for, and kept in step by
//! the writer. It may name messages that are not there any more, and never leaves one out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ledger::MailboxId;
use crate::mail::Uid;

/// Messages in the index, of all mailboxes: each takes about 14 bytes. A larger mailbox is searched in
/// the file.
const MESSAGES_MAX: usize = 2_000_000;

/// The index of a ledger; clones share it.
#[derive(Clone, Default)]
pub(super) struct Headers(Arc<Mutex<Index>>);

#[derive(Default)]
struct Index {
    mailboxes: BTreeMap<MailboxId, Keys>,
    /// Messages of all of them.
    messages: usize,
    /// Grows each time anything is forgotten.
    age: Age,
}

/// From when a mailbox is watched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Age(u64);

#[derive(Default)]
struct Keys {
    /// Whether what was in the file before is here, too.
    is_whole: bool,
    uids: BTreeSet<(Half, Uid)>,
}

/// The half of a header key that is held: what is found is compared with the whole one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Half(u32);

impl Half {
    fn of(headers: u64) -> Self {
        Self((headers >> 32) as u32)
    }
}

impl Headers {
    /// Has what is written of mailboxes from now on noted here. Whoever then has everything written, and
    /// reads it, can [`Self::fill`] in the rest.
    pub(super) fn watch(&self, mailboxes: impl IntoIterator<Item = MailboxId>) -> Age {
        let mut index = self.lock();
        for mailbox in mailboxes {
            index.mailboxes.entry(mailbox).or_default();
        }
        index.age
    }

    /// Notes a message that is about to be written.
    pub(super) fn note(&self, mailbox: MailboxId, uid: Uid, headers: u64) {
        let mut index = self.lock();
        let Some(keys) = index.mailboxes.get_mut(&mailbox) else {
            return;
        };
        if keys.uids.insert((Half::of(headers), uid)) {
            index.messages += 1;
        }
        if index.messages > MESSAGES_MAX {
            index.clear();
        }
    }

    /// Takes in what was read of a mailbox that was watched all the time since then, if there is room.
    pub(super) fn fill(&self, since: Age, mailbox: MailboxId, Read(mut read): Read) {
        let mut index = self.lock();
        if index.age != since || read.len() > MESSAGES_MAX {
            return;
        }
        if index.messages + read.len() > MESSAGES_MAX {
            index.clear(); // The next time there is room.
        } else if let Some(keys) = index.mailboxes.remove(&mailbox) {
            index.messages -= keys.uids.len();
            read.extend(keys.uids);
            let keys = Keys { is_whole: true, uids: read.into_iter().collect() };
            index.messages += keys.uids.len();
            index.mailboxes.insert(mailbox, keys);
        }
    }

    /// The messages of a mailbox that can have one of these header keys; none where that is not known.
    pub(super) fn find(
        &self,
        mailbox: MailboxId,
        headers: &BTreeSet<u64>,
    ) -> Option<BTreeSet<Uid>> {
        let index = self.lock();
        let keys = index.mailboxes.get(&mailbox).filter(|keys| keys.is_whole)?;
        let of = |headers: &u64| {
            let half = Half::of(*headers);
            keys.uids.range((half, Uid(0))..=(half, Uid(u32::MAX))).map(|(_, uid)| *uid)
        };
        Some(headers.iter().flat_map(of).collect())
    }

    /// Forgets everything: messages are about to get other UIDs.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn clear(&mut self) {
        let age = Age(self.age.0 + 1);
        *self = Self { age, ..Self::default() };
    }
}

/// What was read of a mailbox, as far as the index could hold it.
#[derive(Default)]
pub(super) struct Read(Vec<(Half, Uid)>);

impl Read {
    pub(super) fn push(&mut self, uid: Uid, headers: u64) {
        if self.0.len() <= MESSAGES_MAX {
            self.0.push((Half::of(headers), uid));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_while_the_rest_is_read_is_known_too() {
        let (index, mailbox) = (Headers::default(), MailboxId(1));
        let find = |key: u64| index.find(mailbox, &BTreeSet::from([key << 32]));
        index.note(mailbox, Uid(1), 7 << 32);
        let since = index.watch([mailbox]);
        index.note(mailbox, Uid(2), 7 << 32);
        assert_eq!(find(7), None, "what was before is not known");
        index.fill(since, mailbox, Read(vec![(Half(7), Uid(1)), (Half(8), Uid(3))]));
        index.note(mailbox, Uid(4), 8 << 32);
        assert_eq!(find(7), Some(BTreeSet::from([Uid(1), Uid(2)])));
        assert_eq!(find(8), Some(BTreeSet::from([Uid(3), Uid(4)])));
        assert_eq!(find(9), Some(BTreeSet::new()));
        index.clear();
        index.watch([mailbox]);
        index.fill(since, mailbox, Read(vec![(Half(7), Uid(1))]));
        assert_eq!(find(7), None, "it was not watched all the time");
    }
}
