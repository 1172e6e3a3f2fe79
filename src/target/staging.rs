//! What is told of mailboxes of our own, and of messages that are moved.

use crate::mail::{Uid, UidValidity};

/// What became of the wish for a mailbox of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It was not there, and is now.
    New,
    /// Somebody has made it before.
    Exists,
    /// The server will not make it; its words.
    Refused(String),
}

/// What became of a mailbox of our own that was to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone, or was not there.
    Gone,
    /// The server will not delete it; its words.
    Refused(String),
}

/// What a server told of a MOVE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// Every message was moved: UID before and UID after, in the order of the former.
    All {
        /// The UIDVALIDITY of where they are now.
        validity: UidValidity,
        /// UID before, UID after.
        uids: Vec<(Uid, Uid)>,
    },
    /// Which messages were moved is not known, or will be; the server's words. A NO is as unknown
    /// as no answer: Dovecot 2.3 has moved two thirds before it says EXPUNGEISSUED.
    Unknown(String),
}

/// What tells a message from others, over MOVE.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectId {
    /// Each delivery has its own: Dovecot's `X-GUID`.
    Delivery(String),
    /// Messages of equal bytes may have the same: `EMAILID` (RFC 8474 section 5.1), which Cyrus
    /// makes of the bytes.
    Content(String),
}
