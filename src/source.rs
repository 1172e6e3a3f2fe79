//! The end where mail is read. Nothing here could change it.

pub mod imap;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::fault::Fault;
use crate::identity::{HeaderKeys, Identity};
use crate::mail::{
    Flags, Mailbox, MailboxStatus, Message, MessageInfo, Namespaces, Uid, UidValidity, WireName,
};
use crate::plan::labels::Labelled;
use crate::plan::windows::Window;
use crate::sharing::{Acl, Metadata, Quota};
use crate::throttle::Admission;

/// A logged-in connection to where mail is read.
pub trait Source: Send {
    /// Every mailbox of the account; others' as far as they are `asked` for, or told unasked.
    fn list(
        &mut self,
        asked: Namespaces,
    ) -> impl Future<Output = Result<Vec<Mailbox>, Fault>> + Send;

    /// How mailboxes stand, in the same order, before any is opened; none of one that the source
    /// does not tell of.
    fn statuses(
        &mut self,
        names: &[WireName],
    ) -> impl Future<Output = Result<Vec<Option<MailboxStatus>>, Fault>> + Send;

    /// Opens a mailbox, for reading only. What follows is about this mailbox.
    fn open(&mut self, name: &WireName) -> impl Future<Output = Result<Opened, Fault>> + Send;

    /// As [`Source::open`], with a range that will most likely be scanned first: it is asked for in the
    /// same round trip.
    fn open_and_scan(
        &mut self,
        name: &WireName,
        first: RangeInclusive<Uid>,
    ) -> impl Future<Output = Result<Opened, Fault>> + Send;

    /// What stands in a range of UIDs, ascending.
    fn scan(
        &mut self,
        uids: RangeInclusive<Uid>,
    ) -> impl Future<Output = Result<Vec<MessageInfo>, Fault>> + Send;

    /// The UIDs that stand in a range, ascending: cheaper than a scan.
    fn listed(
        &mut self,
        uids: RangeInclusive<Uid>,
    ) -> impl Future<Output = Result<Vec<Uid>, Fault>> + Send;

    /// The flags of the messages of a range that were changed since a HIGHESTMODSEQ (RFC 7162 section
    /// 3.1.4.1), ascending; only of a mailbox that has one.
    fn changed(
        &mut self,
        uids: RangeInclusive<Uid>,
        since: u64,
    ) -> impl Future<Output = Result<Vec<(Uid, Flags)>, Fault>> + Send;

    /// Which of these messages are still there. Asked anew: not from what was said before.
    fn still_there(&mut self, uids: &[Uid])
    -> impl Future<Output = Result<Vec<Uid>, Fault>> + Send;

    /// Octets and digests of messages; what is gone or not given is left out. Bodies are not kept.
    fn identify(
        &mut self,
        uids: &[Uid],
    ) -> impl Future<Output = Result<BTreeMap<Uid, (u64, Identity)>, Fault>> + Send;

    /// What the header lines of messages tell of them; what is gone is left out.
    fn headers(
        &mut self,
        uids: &[Uid],
    ) -> impl Future<Output = Result<BTreeMap<Uid, HeaderKeys>, Fault>> + Send;

    /// Fetches windows as they come and hands them on in the same order, until there are no more
    /// or nobody takes them.
    ///
    /// A message is handed on only when it is believed: its UID and whole literal came, and a later
    /// answer of the server did not say that it was expunged meanwhile (some servers answer for an
    /// expunged message with text of their own).
    fn fetch(
        &mut self,
        windows: mpsc::Receiver<Admitted>,
        fetched: mpsc::Sender<Fetched>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Whether messages have labels, and stand in the mailbox of each: Gmail's `X-GM-EXT-1`.
    fn has_labels(&self) -> bool;

    /// The labels of the messages of a range; of messages of which the source tells any.
    fn labels(
        &mut self,
        uids: RangeInclusive<Uid>,
    ) -> impl Future<Output = Result<BTreeMap<Uid, Labelled>, Fault>> + Send;

    /// The numbers of the messages of a range of a source with labels: see [`Labelled::id`].
    fn label_ids(
        &mut self,
        uids: RangeInclusive<Uid>,
    ) -> impl Future<Output = Result<Vec<u64>, Fault>> + Send;

    /// Who may do what in a mailbox; none where the server has no such rights.
    fn acl(&mut self, name: &WireName) -> impl Future<Output = Result<Option<Acl>, Fault>> + Send;

    /// What is noted about a mailbox; none where the server keeps no notes.
    fn metadata(
        &mut self,
        name: &WireName,
    ) -> impl Future<Output = Result<Option<Metadata>, Fault>> + Send;

    /// What the server lets the account hold; none where it does not tell, or sets no limit.
    fn quota(&mut self) -> impl Future<Output = Result<Option<Quota>, Fault>> + Send;

    /// Ends the connection in good order.
    fn log_out(self) -> impl Future<Output = ()> + Send;
}

/// What opening a mailbox told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Its UIDVALIDITY; none where the server gives none that lasts.
    pub uid_validity: Option<UidValidity>,
    /// No message has this UID or a higher one.
    pub uid_next: Uid,
    /// Messages in it.
    pub messages: u64,
    /// Its HIGHESTMODSEQ (RFC 7162 section 3.1.2.1); none where the source keeps none.
    pub highest_modseq: Option<u64>,
}

/// A window that may be moved now.
#[derive(Debug)]
pub struct Admitted {
    /// The messages to be moved.
    pub window: Window,
    /// The memory and the rate it was given. Dropping it gives the memory back.
    pub admission: Admission,
}

/// A window as the source gave it.
#[derive(Debug)]
pub enum Fetched {
    /// Messages whose bodies are held.
    Whole {
        /// What was asked for.
        admitted: Admitted,
        /// What came.
        messages: Vec<Message>,
        /// What did not.
        missing: Vec<Missing>,
    },
    /// One message that is too large to hold.
    Streamed {
        /// What was asked for.
        admitted: Admitted,
        /// The message.
        info: MessageInfo,
        /// Its body, which is still arriving.
        body: Streamed,
    },
}

/// A message that was asked for and not handed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its UID.
    pub uid: Uid,
    /// Why it was not.
    pub cause: MissingCause,
}

/// Why a message that was asked for was not handed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MissingCause {
    /// It was expunged, or nothing was said of it.
    NotSent {
        /// The server's words, where it refused.
        said: Option<String>,
    },
    /// It is larger than announced and did not fit; this many octets.
    Oversized(u64),
}

/// A body on its way.
#[derive(Debug)]
pub struct Streamed {
    /// Octets in all.
    pub size: u64,
    /// Its first piece, if that was looked at before.
    first: Option<Chunk>,
    chunks: mpsc::Receiver<Chunk>,
}

impl Streamed {
    /// A body of so many octets that arrives in these pieces.
    #[must_use]
    pub fn new(size: u64, chunks: mpsc::Receiver<Chunk>) -> Self {
        Self { size, first: None, chunks }
    }

    /// Its next piece. If there is none before [`Chunk::Last`], the message must not be believed.
    pub async fn next(&mut self) -> Option<Chunk> {
        match self.first.take() {
            Some(first) => Some(first),
            None => self.chunks.recv().await,
        }
    }

    /// The octets with which it begins, as many as came at once.
    pub async fn beginning(&mut self) -> &[u8] {
        if self.first.is_none() {
            self.first = self.chunks.recv().await;
        }
        match &self.first {
            Some(Chunk::Data(octets) | Chunk::Last(octets, _)) => octets,
            None => &[],
        }
    }
}

/// A piece of a body.
#[derive(Debug)]
pub enum Chunk {
    /// Octets; more follow.
    Data(Bytes),
    /// The last octets, held back until the message could be believed.
    Last(Bytes, Identity),
}
