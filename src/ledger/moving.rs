//! What the ledger knows of copies that are moved at the target, as their owner moved them at the source.

use crate::mail::Uid;

use super::MailboxId;

/// An intended move in the ledger; ids are never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MoveId(pub i64);

/// A copy that is about to be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewMove {
    /// The message where it was at the source.
    pub from: (MailboxId, Uid),
    /// The message where it is at the source now.
    pub to: (MailboxId, Uid),
    /// Its copy, in the target mailbox of `from`.
    pub target_uid: Uid,
    /// A UIDNEXT of the target mailbox of `to`, read before: nothing that is moved there gets a lower
    /// UID.
    pub lo: Uid,
}

/// A move that was intended, and of which it is not written down what became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenMove {
    /// Its id.
    pub id: MoveId,
    /// What was intended.
    pub intent: NewMove,
}
