//! What earlier passes did to one mailbox: a fold of its ledger entries.

use std::collections::BTreeMap;

use crate::fate::Fate;
use crate::identity::Digest;
use crate::mail::{Flags, InternalDate, Uid};
use crate::repair::Repairs;

/// What the ledger knows of the messages of one mailbox, or of a range of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    entries: BTreeMap<Uid, Entry>,
    flags_in_doubt: BTreeMap<Uid, Flags>,
}

/// What the ledger knows of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What became of it. [`Fate::Pending`] with a `target_uid` was acknowledged and is to be read
    /// back; without one it was in doubt, and is to be sent again.
    pub fate: Fate,
    /// The copy's UID at the target, where the target told or showed it.
    pub target_uid: Option<Uid>,
    /// Octets of `BODY[]`, as sent; RFC822.SIZE where the body was never read.
    pub size: u64,
    /// The date it was sent with.
    pub date: Option<InternalDate>,
    /// Its flags when it was copied.
    pub flags: Flags,
    /// Its exact digest and header key, as sent, where its body was read.
    pub digest: Option<(Digest, u64)>,
    /// What of it is not as it is at the source; none for nearly all.
    pub changed: Option<Box<Changed>>,
    /// What went wrong with it before.
    pub troubles: Troubles,
    /// Whether its copy is to be compared octet by octet: see [`crate::identity::Identity::risky`].
    pub risky: bool,
}

/// What a message was sent with that is not the source's, and what that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// What was repaired.
    pub repairs: Repairs,
    /// Where its date was taken from, the source's being no date.
    pub dated: Option<Dated>,
    /// Its octets at the source.
    pub size: u64,
    /// The source's date.
    pub date: Option<InternalDate>,
    /// Its exact digest and header key at the source; none where nothing was repaired.
    pub digest: Option<(Digest, u64)>,
}

/// The header field that a message's date was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dated {
    /// The first `Received`: when the last server took it.
    Received,
    /// `Date`: when its author sent it.
    Date,
}

impl Entry {
    /// The same, with size, date and digest as they are at the source.
    #[must_use]
    pub fn at_source(&self) -> Self {
        match self.changed.as_deref().copied() {
            Some(Changed { size, date, digest, .. }) => {
                let digest = digest.or(self.digest);
                Self { size, date, digest, changed: None, ..self.clone() }
            }
            None => self.clone(),
        }
    }
}

/// What went wrong with a message before and made it owed again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Troubles {
    /// How often the connection was lost while it was sent, and it was not on the target then.
    pub doubts: u8,
    /// How often the target acknowledged it and did not have it.
    pub losses: u8,
}

impl Troubles {
    /// Whether anything ever went wrong: such a message goes alone, in the most careful way.
    #[must_use]
    pub fn any(self) -> bool {
        self != Self::default()
    }
}

impl History {
    /// The history that these entries make.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = (Uid, Entry)>) -> Self {
        Self { entries: entries.into_iter().collect(), flags_in_doubt: BTreeMap::new() }
    }

    /// The same, with flags that were about to be set or taken away at copies when a pass broke off:
    /// of each of these it is not known whether the copy has it.
    #[must_use]
    pub fn with_flags_in_doubt(self, flags: impl IntoIterator<Item = (Uid, Flags)>) -> Self {
        Self { flags_in_doubt: flags.into_iter().collect(), ..self }
    }

    /// Flags of one message of which it is not known whether its copy has them.
    #[must_use]
    pub fn flags_in_doubt(&self, uid: Uid) -> Option<&Flags> {
        self.flags_in_doubt.get(&uid)
    }

    /// What is known of one message; none if it was never touched.
    #[must_use]
    pub fn get(&self, uid: Uid) -> Option<&Entry> {
        self.entries.get(&uid)
    }

    /// All entries by ascending UID.
    pub fn iter(&self) -> impl Iterator<Item = (Uid, &Entry)> {
        self.entries.iter().map(|(uid, entry)| (*uid, entry))
    }
}
