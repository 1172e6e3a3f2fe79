//! The end where mail is written. It can delete no mailbox but one of our own making, and move
//! messages only out of such a one, or one message into it: [`OwnName`] sees to that. A copy moves
//! between mailboxes of its owner only where the ledger has noted it before.

pub mod imap;
mod staging;

pub use staging::{Created, Deleted, Moved, ObjectId};

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};

use crate::fault::Fault;
use crate::identity::{HeaderKeys, Identity};
use crate::imap::names::Hierarchy;
use crate::ledger::{OpenMove, WindowId, WindowMessage};
use crate::mail::{
    Flags, InternalDate, Mailbox, MailboxPath, MailboxStatus, SpecialUse, Uid, UidValidity,
    WireName,
};
use crate::octets::Octets;
use crate::own::OwnName;
use crate::sharing::{Acl, Metadata, Quota, Rights};
use crate::source::Streamed;
use crate::throttle::Admission;

/// A logged-in connection to where mail is written.
pub trait Target: Send {
    /// Every mailbox of the account.
    fn list(&mut self) -> impl Future<Output = Result<Vec<Mailbox>, Fault>> + Send;

    /// How this server takes names.
    fn naming(&self) -> Naming;

    /// How the server would spell this path; none where it cannot.
    fn spell(&self, path: &MailboxPath) -> Option<WireName>;

    /// Creates a mailbox; one that is there already is no error.
    fn create(
        &mut self,
        name: &WireName,
        special_use: Option<SpecialUse>,
    ) -> impl Future<Output = Result<Made, Fault>> + Send;

    /// As [`Target::create`], of several mailboxes of which none is needed for another one, in one round
    /// trip. Gives what became of each.
    fn create_together(
        &mut self,
        names: &[WireName],
    ) -> impl Future<Output = Result<Vec<Result<Made, Fault>>, Fault>> + Send;

    /// Subscribes to mailboxes in one round trip, and gives whether that was taken of each.
    fn subscribe_together(
        &mut self,
        names: &[WireName],
    ) -> impl Future<Output = Result<Vec<bool>, Fault>> + Send;

    /// Subscribes to a mailbox.
    fn subscribe(&mut self, name: &WireName) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Opens a mailbox. What follows is about this mailbox.
    fn open(&mut self, name: &WireName) -> impl Future<Output = Result<Destination, Fault>> + Send;

    /// How mailboxes stand, in the same order, before any is opened; none of one that the server does
    /// not tell of.
    fn statuses(
        &mut self,
        names: &[WireName],
    ) -> impl Future<Output = Result<Vec<Option<MailboxStatus>>, Fault>> + Send;

    /// The UIDs that stand in a range, ascending: cheaper than a look.
    fn listed(
        &mut self,
        uids: RangeInclusive<Uid>,
    ) -> impl Future<Output = Result<Vec<Uid>, Fault>> + Send;

    /// What stands in a range of UIDs, asked anew, ascending.
    fn look_in(
        &mut self,
        uids: RangeInclusive<Uid>,
    ) -> impl Future<Output = Result<Vec<Found>, Fault>> + Send;

    /// What stands at and above a UID, asked anew, ascending.
    fn look(&mut self, from: Uid) -> impl Future<Output = Result<Vec<Found>, Fault>> + Send {
        self.look_in(from..=Uid(u32::MAX))
    }

    /// What stands at these UIDs, asked anew.
    fn read_back(&mut self, uids: &[Uid])
    -> impl Future<Output = Result<Vec<Found>, Fault>> + Send;

    /// What stands at these UIDs, and the digests of some, in one round trip: what it shows is there,
    /// what it does not show may be there, too.
    fn glance(
        &mut self,
        uids: &[Uid],
        bodies: &[Uid],
    ) -> impl Future<Output = Result<(Vec<Found>, BTreeMap<Uid, Identity>), Fault>> + Send;

    /// The digests of messages; what is gone or not given is left out. Bodies are not kept.
    fn identify(
        &mut self,
        uids: &[Uid],
    ) -> impl Future<Output = Result<BTreeMap<Uid, Identity>, Fault>> + Send;

    /// What the header lines of messages tell of them; what is gone is left out.
    fn headers(
        &mut self,
        uids: &[Uid],
    ) -> impl Future<Output = Result<BTreeMap<Uid, HeaderKeys>, Fault>> + Send;

    /// Appends windows as they come and tells each one's outcome, until there are no more.
    ///
    /// A window whose outcome was not told, or not for each of its messages, is in doubt.
    ///
    /// # Errors
    ///
    /// The first fault that stops it; what was known before was told.
    fn append(
        &mut self,
        ahead: &Ahead,
        windows: mpsc::Receiver<Outgoing>,
        answers: mpsc::Sender<Answered>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Sets flags of messages of the open mailbox, or takes them away; never any other (RFC 9051
    /// section 6.4.6). Gives those, as they stand on the wire, that the server does not store, or does not
    /// take away. What is not there any more is left out.
    fn change_flags(
        &mut self,
        uids: &[Uid],
        change: FlagChange,
        names: &[String],
    ) -> impl Future<Output = Result<Vec<String>, Fault>> + Send;

    /// Who may do what in a mailbox; none where the server has no such rights.
    fn acl(&mut self, name: &WireName) -> impl Future<Output = Result<Option<Acl>, Fault>> + Send;

    /// Adds rights of one identifier to those that it has.
    fn grant(
        &mut self,
        name: &WireName,
        identifier: &str,
        rights: &Rights,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// What is noted about a mailbox; none where the server keeps no notes.
    fn metadata(
        &mut self,
        name: &WireName,
    ) -> impl Future<Output = Result<Option<Metadata>, Fault>> + Send;

    /// Notes something about a mailbox.
    fn annotate(
        &mut self,
        name: &WireName,
        entry: &str,
        value: &[u8],
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// What the server lets the account hold; none where it does not tell, or sets no limit.
    fn quota(&mut self) -> impl Future<Output = Result<Option<Quota>, Fault>> + Send;

    /// The longest that an APPEND took to be answered on this connection.
    fn slowest_append(&self) -> Duration;

    /// Whether several connections send into one mailbox faster than one: each message waits for the server's
    /// leave, so that a connection takes one a round trip.
    fn is_faster_shared(&self) -> bool;

    /// Whether it is Gmail (`X-GM-EXT-1`), which keeps one copy of equal messages: an APPEND of another one
    /// is acknowledged with a UID of its own, where it does not stay.
    fn keeps_one(&self) -> bool;

    /// Has no mailbox of its own any more: sends along with others that share, as long as there are
    /// any, and ends the connection then.
    fn retire(self) -> impl Future<Output = ()> + Send;

    /// Ends the connection in good order.
    fn log_out(self) -> impl Future<Output = ()> + Send;

    /// Whether mail can be staged here: it needs MOVE (RFC 6851), and UIDPLUS (RFC 4315) to tell
    /// where to.
    fn can_stage(&self) -> bool;

    /// Makes a mailbox of our own. Of several that ask for one name one is told that it is new.
    fn create_own(&mut self, name: &OwnName)
    -> impl Future<Output = Result<Created, Fault>> + Send;

    /// Opens a mailbox of our own; none where there is none of that name.
    fn open_own(
        &mut self,
        name: &OwnName,
    ) -> impl Future<Output = Result<Option<Destination>, Fault>> + Send;

    /// Deletes a mailbox of our own with all that is in it. Once it is gone, no command of a lost
    /// connection can store anything in it.
    fn delete_own(&mut self, name: &OwnName)
    -> impl Future<Output = Result<Deleted, Fault>> + Send;

    /// Moves messages, by ascending UIDs, out of a mailbox of our own, which it opens for that.
    fn move_out(
        &mut self,
        from: &OwnName,
        uids: &[Uid],
        into: &WireName,
    ) -> impl Future<Output = Result<Moved, Fault>> + Send;

    /// Moves one message of the open mailbox into a mailbox of our own.
    fn move_in(
        &mut self,
        uid: Uid,
        into: &OwnName,
    ) -> impl Future<Output = Result<Moved, Fault>> + Send;

    /// Moves copies out of the open mailbox, as the ledger has noted.
    fn move_copies(
        &mut self,
        moves: &[OpenMove],
        into: &WireName,
    ) -> impl Future<Output = Result<Moved, Fault>> + Send;

    /// What tells messages of the open mailbox, by ascending UIDs, from others; of those the server
    /// tells it of.
    fn object_ids(
        &mut self,
        uids: &[Uid],
    ) -> impl Future<Output = Result<Vec<(Uid, ObjectId)>, Fault>> + Send;
}

/// Whether a mailbox is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// It was not there.
    New,
    /// It was there, perhaps under another spelling: servers may ignore case.
    There,
}

/// What is done with flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlagChange {
    /// They are set.
    Set,
    /// They are taken away.
    Unset,
}

/// How a server takes names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    /// What no level of a name can hold: the delimiter.
    pub forbidden: Option<char>,
    /// Whether there are levels at all.
    pub nested: bool,
    /// Below these paths mailboxes are other users' or shared.
    pub foreign: Vec<MailboxPath>,
}

impl Naming {
    /// How a server with this delimiter takes names.
    #[must_use]
    pub fn of(delimiter: Option<u8>) -> Self {
        let (forbidden, nested) = (delimiter.map(char::from), delimiter.is_some());
        Self { forbidden, nested, foreign: Vec::new() }
    }

    /// How a server that builds its names so takes them.
    #[must_use]
    pub fn of_hierarchy(hierarchy: &Hierarchy) -> Self {
        Self { foreign: hierarchy.foreign_roots(), ..Self::of(hierarchy.delimiter) }
    }
}

/// What opening a target mailbox told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Its UIDVALIDITY; none where the server gives none that lasts.
    pub uid_validity: Option<UidValidity>,
    /// A UID that no later message goes below.
    pub uid_next: Uid,
    /// Messages in it.
    pub messages: u64,
}

impl Destination {
    /// Its UIDVALIDITY. Where the server gives none that lasts (`UIDNOTSTICKY`, RFC 4315 section 2;
    /// 0; none at all), one that is not the `known` one: no UID of an earlier connection counts.
    #[must_use]
    pub fn validity_after(&self, known: Option<UidValidity>) -> UidValidity {
        self.uid_validity.unwrap_or_else(|| UidValidity::made_up_after(known))
    }
}

/// A message on the target, without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its UID at the target.
    pub uid: Uid,
    /// Its RFC822.SIZE.
    pub size: u64,
    /// Its internal date.
    pub date: Option<InternalDate>,
    /// Its flags.
    pub flags: Flags,
}

/// A window to be appended. Its intent is in the ledger.
#[derive(Debug)]
pub struct Outgoing {
    /// Its id in the ledger.
    pub id: WindowId,
    /// What it sends.
    pub messages: Vec<OutgoingMessage>,
    /// Whether to send each message alone, in the way that leaves the least in doubt.
    pub careful: bool,
    /// The memory it holds.
    pub admission: Admission,
}

/// A message to be appended.
#[derive(Debug)]
pub struct OutgoingMessage {
    /// What the ledger's window says of it: what it is sent with. A date of none leaves it to the
    /// server; what the server cannot store of the flags is left out on the way.
    pub record: WindowMessage,
    /// Its octets.
    pub body: Body,
    /// Whether every octet of its copy is to be compared with it.
    pub is_compared: bool,
}

impl OutgoingMessage {
    /// Its digests; none for a streamed body that was not sent to its end.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        match &self.body {
            Body::Whole(_) => self.record.identity,
            Body::Streamed { identity, .. } => identity.get().copied(),
        }
    }
}

/// The octets of a message to be appended.
#[derive(Debug)]
pub enum Body {
    /// All there.
    Whole(Octets),
    /// Still arriving.
    Streamed {
        /// Taken by whoever sends it: it can be sent once.
        body: Mutex<Option<Streamed>>,
        /// Its digests, set when its last octets are sent.
        identity: OnceLock<Identity>,
        /// Octets in all.
        size: u64,
    },
}

impl Body {
    /// Octets in all.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Whole(octets) => octets.len() as u64,
            Self::Streamed { size, .. } => *size,
        }
    }
}

/// What is known of windows before they come.
#[derive(Debug, Clone, Default)]
pub struct Ahead {
    /// How many messages they have.
    pub messages: usize,
    /// The keywords of all, so that the server can be asked for them at once.
    pub keywords: BTreeSet<String>,
    /// A UIDNEXT of the mailbox before them, if a [`Target::glance`] at their copies follows: it may be
    /// taken behind the last of them already.
    pub lo: Option<Uid>,
}

/// What became of the messages of a window.
#[derive(Debug)]
pub struct Answered {
    /// The window, with the memory it holds.
    pub window: Arc<Outgoing>,
    /// One answer for each message of the window; none for one in doubt.
    pub answers: Vec<Option<Answer>>,
}

/// What the target said to one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Stored, at this UID where the server told one.
    Stored(Option<(UidValidity, Uid)>),
    /// Not stored, and it will not be; the server's words.
    Refused(String),
    /// Not stored for a reason that is not the message's.
    NotNow,
}
