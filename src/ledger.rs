//! The durable memory of a migration, over all passes.
//!
//! The order of writes is the order of calls. [`Ledger::open`] returns after its record is on the
//! disk; [`Ledger::record`] and [`Ledger::close`] only queue, and a crash may lose the last of them:
//! then their windows are still open, and the next run settles them by looking at the target.

pub mod hold;
mod moving;
pub mod sqlite;
mod stage;

pub use moving::{MoveId, NewMove, OpenMove};
pub use stage::{
    Dissolved, MoveIntent, NewStage, OwnMailbox, Removal, Stage, StageId, StagedMessage,
};

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use serde::Serialize;

use crate::fate::{Fate, Remark, RemarkKind};
use crate::fault::Fault;
use crate::history::{Changed, Entry, History, Troubles};
use crate::identity::{Digest, Identity};
use crate::mail::{Flags, InternalDate, Mailbox, MailboxPath, Uid, UidValidity, WireName};
use crate::own::OwnName;
use crate::target::ObjectId;

/// An account in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub i64);

/// A source mailbox under one UIDVALIDITY, in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxId(pub i64);

/// An open window in the ledger; ids are never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowId(pub i64);

/// Why a ledger that is sound takes nothing more from this process: the cause of such a [`Fault`].
/// The same command, later, goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another process writes it now.
    #[error(
        "another process has taken this ledger over: it goes on with the work, and looks for what \
         was in flight here"
    )]
    TakenOver,
    /// There is no room.
    #[error("the disk is full: make room, then run the same again ({0})")]
    Full(String),
}

/// The durable memory of a migration.
///
/// Every call is one transaction. A failed call has scope `Batch`: without its ledger a run stops.
pub trait Ledger: Clone + Send + Sync + 'static {
    /// Registers the account if it is new, and takes it for this process: its epoch grows by one.
    /// How it stands is not changed.
    fn claim(&self, account: &AccountName) -> impl Future<Output = Result<Claim, Fault>> + Send;

    /// All mailboxes of an account that were ever bound.
    fn mailboxes(
        &self,
        account: AccountId,
    ) -> impl Future<Output = Result<Vec<BoundMailbox>, Fault>> + Send;

    /// Remembers which target mailbox a source mailbox goes to. Durable on return. Binding the same
    /// source mailbox and UIDVALIDITY again changes the target only while no message of it was sent;
    /// later it only adds the target's UIDVALIDITY where that was not known.
    fn bind(
        &self,
        account: AccountId,
        binding: &Binding,
    ) -> impl Future<Output = Result<MailboxId, Fault>> + Send;

    /// Gives a mailbox the name that it has at the source now. One of that name and UIDVALIDITY, to which
    /// nothing was ever sent, is forgotten; one to which something was keeps it, and false is
    /// returned. Durable on return.
    fn rename_source(
        &self,
        mailbox: MailboxId,
        now: &Mailbox,
    ) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// What is known of the messages in a range of source UIDs.
    fn history(
        &self,
        mailbox: MailboxId,
        uids: RangeInclusive<Uid>,
    ) -> impl Future<Output = Result<History, Fault>> + Send;

    /// The target UIDs at or above `lo` that messages of any source mailbox of the account bound to
    /// the same target mailbox have claimed, ascending. A UID that the target told and that was not
    /// seen there yet is no claim. No two accounts have one target; claims under another UIDVALIDITY
    /// of the target mailbox do not count.
    fn claimed(
        &self,
        mailbox: MailboxId,
        lo: Uid,
    ) -> impl Future<Output = Result<Vec<Uid>, Fault>> + Send;

    /// The messages whose digests are known, whatever became of them, of any source mailbox of the
    /// account bound to the same target mailbox, whose header key is one of these (see
    /// [`crate::identity::Identity::headers`]). What they claimed under another UIDVALIDITY of the target
    /// mailbox has no UID there: it may still stand, under another one.
    fn twins(
        &self,
        mailbox: MailboxId,
        headers: BTreeSet<u64>,
    ) -> impl Future<Output = Result<Vec<(MailboxId, Uid, Entry)>, Fault>> + Send;

    /// The messages of any source mailbox of the account bound to the same target mailbox that were
    /// sent again after they had been in doubt: a late copy of them may still appear.
    fn doubted(
        &self,
        mailbox: MailboxId,
    ) -> impl Future<Output = Result<Vec<Doubted>, Fault>> + Send;

    /// The windows of an account that were opened and never closed.
    fn open_windows(
        &self,
        account: AccountId,
    ) -> impl Future<Output = Result<Vec<OpenWindow>, Fault>> + Send;

    /// Opens a window. Durable on return, together with everything queued before. Fails with scope
    /// `Account`, and opens none, if the account was claimed again after `window.epoch`.
    fn open(&self, window: &NewWindow) -> impl Future<Output = Result<WindowId, Fault>> + Send;

    /// Queues what became of messages. Returns when queued; waits while the queue is full.
    fn record(
        &self,
        mailbox: MailboxId,
        outcomes: Vec<Outcome>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Queues the end of a window whose copies were all seen, or of which nothing was stored, with
    /// what became of its messages, in one transaction. A window that was closed before stays as it
    /// was closed: these outcomes are dropped.
    fn close(
        &self,
        window: WindowId,
        mailbox: MailboxId,
        outcomes: Vec<Outcome>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Notes which copies are about to be moved at the target. Durable on return, together with
    /// everything queued before. Fails with scope `Account`, and notes nothing, if the account was
    /// claimed again since. [`Ledger::settle`] ends them.
    fn intend_moves(
        &self,
        claim: Claim,
        moves: Vec<NewMove>,
    ) -> impl Future<Output = Result<Vec<OpenMove>, Fault>> + Send;

    /// The moves of an account that were intended and never ended.
    fn open_moves(
        &self,
        account: AccountId,
    ) -> impl Future<Output = Result<Vec<OpenMove>, Fault>> + Send;

    /// Writes what a look at a target mailbox decided, in one transaction. Durable on return.
    fn settle(&self, settlement: Settlement) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Notes that all copies of what will be sent, or was sent and is not settled, have this target
    /// UID or a higher one: nothing of ours is unsettled below it.
    fn set_target_uid_next(
        &self,
        mailbox: MailboxId,
        uid_next: Uid,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Sets one remark on a message, or takes it away; its fate and other remarks stay.
    fn set_remark(
        &self,
        mailbox: MailboxId,
        uid: Uid,
        kind: RemarkKind,
        text: Option<String>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// The messages of a mailbox of which this is said.
    fn remarked(
        &self,
        mailbox: MailboxId,
        kind: RemarkKind,
    ) -> impl Future<Output = Result<BTreeSet<Uid>, Fault>> + Send;

    /// Notes which flags of copies are about to be changed: until [`Ledger::set_flags`] it is not known
    /// whether the copies have them (see [`History::flags_in_doubt`]). Durable on return.
    fn intend_flags(
        &self,
        mailbox: MailboxId,
        flags: Vec<(Uid, Flags)>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Notes the flags that messages have at the source now, and so do their copies; what else is
    /// known of them stays. Returns when queued.
    fn set_flags(
        &self,
        mailbox: MailboxId,
        flags: Vec<(Uid, Flags)>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Gives messages of a source mailbox their new UIDs after its UIDVALIDITY has changed: their
    /// entries move from the old binding to the new one. Durable on return. What is left of the old
    /// one without a claim is forgotten: where it is still at the source, it has a new UID.
    fn renumber(
        &self,
        old: MailboxId,
        new: MailboxId,
        uids: Vec<(Uid, Uid)>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Takes a new UIDVALIDITY of a target mailbox: every claim under another one is void, and its
    /// message pending. Durable on return.
    fn reset_target(
        &self,
        mailbox: MailboxId,
        validity: UidValidity,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Notes how far a scan got and what it counted.
    fn scanned(
        &self,
        mailbox: MailboxId,
        scan: ScanTotals,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Notes how a source mailbox stood when a pass over it began that is through now. Does nothing
    /// where something is still owed of it, or was filtered and the watermark does not say by what:
    /// then the next pass looks at the same again. With none, nothing is taken as looked at any more.
    /// Returns when queued. A watermark is gone, too, when its mailbox has a fault, new UIDs or another
    /// target, or a message below it is pending again.
    fn set_watermark(
        &self,
        mailbox: MailboxId,
        watermark: Option<Watermark>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Notes why a mailbox could not be finished, or (with none) that nothing hinders it any more.
    fn set_mailbox_fault(
        &self,
        mailbox: MailboxId,
        fault: Option<String>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Notes how an account stands. Durable on return, with everything queued before.
    fn set_account_state(
        &self,
        account: AccountId,
        state: AccountState,
        reason: Option<String>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Waits until everything queued is on the disk.
    fn flush(&self) -> impl Future<Output = Result<(), Fault>> + Send;

    /// How everything stands: counts by fate, for `status` and the report.
    fn snapshot(&self) -> impl Future<Output = Result<Snapshot, Fault>> + Send;

    /// Up to `limit` remarks after `after`, in the order of account, mailbox, UID and kind.
    fn remarks(
        &self,
        after: Option<RemarkCursor>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<RemarkRow>, Fault>> + Send;

    /// Remembers a stage before it is made. Durable on return. Fails with scope `Account` if the
    /// account was claimed again after `stage.epoch`.
    fn open_stage(&self, stage: &NewStage) -> impl Future<Output = Result<StageId, Fault>> + Send;

    /// As [`Ledger::open`], of a window that is sent to a stage: [`Ledger::open_windows`] does not
    /// tell it.
    fn open_in_stage(
        &self,
        stage: StageId,
        window: &NewWindow,
    ) -> impl Future<Output = Result<WindowId, Fault>> + Send;

    /// Notes what is about to be moved out of a stage. Durable on return.
    fn intend_move(
        &self,
        stage: StageId,
        intent: &MoveIntent,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Notes which UIDs of a stage, of those that were to be moved, are gone from it. Durable on
    /// return.
    fn note_arrived(
        &self,
        stage: StageId,
        staged: Vec<Uid>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Ends the windows of a stage whose messages are where they belong, with what became of them,
    /// in one transaction. The stage stays in the ledger until it is gone from the target. Durable on
    /// return.
    fn deliver_stage(
        &self,
        stage: StageId,
        mailbox: MailboxId,
        outcomes: Vec<Outcome>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Forgets a stage that is gone from the target, and its windows, with what becomes of the
    /// messages in them, in one transaction. Durable on return.
    fn dissolve_stage(
        &self,
        stage: StageId,
        mailbox: MailboxId,
        dissolved: Dissolved,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// The stages of an account that may still be at the target.
    fn stages(&self, account: AccountId) -> impl Future<Output = Result<Vec<Stage>, Fault>> + Send;

    /// What tells the messages from others that were moved out of a stage that was dissolved, of any
    /// source mailbox of the account bound to the same target mailbox.
    fn moved_ids(
        &self,
        mailbox: MailboxId,
    ) -> impl Future<Output = Result<Vec<(MailboxId, Uid, ObjectId)>, Fault>> + Send;

    /// Remembers a mailbox of our own that is no stage. Durable on return.
    fn note_own(
        &self,
        account: AccountId,
        own: &OwnMailbox,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Forgets a mailbox of our own that is gone from the target. Durable on return.
    fn forget_own(
        &self,
        account: AccountId,
        name: &OwnName,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Counts a surplus copy of a message that is about to be removed: one lost APPEND less of which
    /// a copy may come. Durable on return.
    fn count_removal(
        &self,
        mailbox: MailboxId,
        uid: Uid,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// The mailboxes of our own, of an account, that may still be at the target and are no stages.
    fn own_mailboxes(
        &self,
        account: AccountId,
    ) -> impl Future<Output = Result<Vec<OwnMailbox>, Fault>> + Send;
}

/// How the ledger knows an account: over edited and reordered CSVs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountName {
    /// The row's `id`, or both hosts and users in lower case.
    pub key: String,
    /// The source as people write it: `anna@old.example`.
    pub source: String,
    /// The target as people write it.
    pub target: String,
}

/// An account taken by this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The account.
    pub account: AccountId,
    /// Grows by one with every claim.
    pub epoch: i64,
    /// Whether copies of its messages were seen with other octets than were sent, though these held
    /// nothing that many servers change: the target rewrites mail.
    pub alters: bool,
}

/// Which target mailbox a source mailbox goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The source mailbox as the source spells it.
    pub source_name: WireName,
    /// The source mailbox, decoded.
    pub source_path: MailboxPath,
    /// The UIDVALIDITY under which its UIDs are known.
    pub source_validity: UidValidity,
    /// The target mailbox as the target spells it.
    pub target_name: WireName,
    /// The target mailbox, decoded.
    pub target_path: MailboxPath,
    /// The UIDVALIDITY of the target mailbox; none before it was selected once.
    pub target_validity: Option<UidValidity>,
}

/// A mailbox that the ledger knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundMailbox {
    /// Its id.
    pub id: MailboxId,
    /// Its names and validities.
    pub binding: Binding,
    /// Whether a window was ever opened or an outcome recorded for it: then its target cannot
    /// change any more.
    pub fixed: bool,
    /// What the last scan counted.
    pub scan: ScanTotals,
    /// Nothing of ours is unsettled below this target UID; the first UID before anything was sent.
    pub target_uid_next: Uid,
    /// How it stood when nothing was owed of it; none before that.
    pub watermark: Option<Watermark>,
}

/// How a source mailbox stood at a pass after which nothing was owed of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    /// Its UIDNEXT: every message below is settled.
    pub uid_next: Uid,
    /// Its HIGHESTMODSEQ (RFC 7162 section 3.1.2.1), where it had one.
    pub modseq: Option<u64>,
    /// Messages in it.
    pub listed: u64,
    /// What scans had counted.
    pub counted: ScanTotals,
    /// The filter by which messages below were left out (see [`crate::plan::filter::Filter::digest`]);
    /// none where none was.
    pub filter: Option<Digest>,
}

/// What scans of a mailbox counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScanTotals {
    /// Messages ever seen at the source, whatever became of them. What the ledger has no entry for
    /// is pending.
    pub messages: u64,
    /// Their bytes by RFC822.SIZE.
    pub bytes: u64,
    /// Messages that were deleted at the source before they were ever fetched: they have no entry,
    /// and are counted in `messages` and as gone.
    pub vanished: u64,
    /// The source's UIDNEXT at the last whole scan; 0 before one and while one is under way.
    pub uid_next: u32,
}

/// A window to be opened: what is about to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWindow {
    /// The source mailbox.
    pub mailbox: MailboxId,
    /// The claim under which it is opened.
    pub epoch: i64,
    /// A UIDNEXT of the target mailbox, read before the first byte is sent: no copy has a lower UID.
    pub lo: Uid,
    /// What it will send.
    pub messages: Vec<WindowMessage>,
}

/// A message of a window, with what it takes to recognise it on the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowMessage {
    /// Its UID at the source.
    pub uid: Uid,
    /// Octets of its body.
    pub size: u64,
    /// The date it is sent with.
    pub date: Option<InternalDate>,
    /// The flags it is sent with.
    pub flags: Flags,
    /// Its digests; none where the body is streamed and was never read.
    pub identity: Option<Identity>,
    /// Whether its copy is to be compared octet by octet.
    pub risky: bool,
    /// What went wrong with it before.
    pub troubles: Troubles,
    /// What of it is not as it is at the source: size, date and digests are those of what is sent.
    pub changed: Option<Box<Changed>>,
}

/// A window that was opened and never closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenWindow {
    /// Its id.
    pub id: WindowId,
    /// What it sent.
    pub window: NewWindow,
    /// Whether all of it is known to have arrived, and not where: it was moved out of a stage.
    pub acknowledged: bool,
}

/// What a look at a target mailbox decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settlement {
    /// Windows that are through.
    pub windows: Vec<WindowId>,
    /// Moves that are through.
    pub moves: Vec<MoveId>,
    /// What became of messages.
    pub outcomes: Vec<(MailboxId, Outcome)>,
    /// Messages that will be sent again although a copy of theirs may still appear.
    pub doubted: Vec<Doubt>,
}

/// A message that is sent again after it was in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubt {
    /// Its source mailbox.
    pub mailbox: MailboxId,
    /// Its UID at the source.
    pub uid: Uid,
    /// The lowest target UID that a late copy can have. Of several notes the lowest counts.
    pub lo: Uid,
}

/// A message of which a late copy may still appear, with what is known of it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubted {
    /// The lowest target UID that a late copy can have.
    pub doubt: Doubt,
    /// How many APPENDs of it were lost.
    pub lost: u32,
    /// Its entry.
    pub entry: Entry,
}

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its UID at the source.
    pub uid: Uid,
    /// Its new entry.
    pub entry: Entry,
    /// What is to be said of it. Replaces what was said before; several of one kind become one.
    pub remarks: Vec<Remark>,
    /// Its subject, where the user asked for subjects in the report.
    pub subject: Option<String>,
}

/// How an account stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountState {
    /// Never started.
    Waiting,
    /// A run is at work on it, or was when it died.
    Running,
    /// A pass went through; what is not exact is listed.
    Done,
    /// A run was told to stop before it was through.
    Stopped,
    /// It could not be finished, for the reason noted.
    Failed,
}

/// How everything stands, over all passes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The accounts, by key.
    pub accounts: Vec<AccountSnapshot>,
}

/// How one account stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSnapshot {
    /// How the ledger knows it.
    pub name: AccountName,
    /// How it stands.
    pub state: AccountState,
    /// Why it failed.
    pub reason: Option<String>,
    /// Passes that went through.
    pub passes: u32,
    /// When its state last changed, in seconds since 1970.
    pub changed: i64,
    /// Its mailboxes, by source path.
    pub mailboxes: Vec<MailboxSnapshot>,
}

/// How one mailbox stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxSnapshot {
    /// The source mailbox.
    pub source: MailboxPath,
    /// The target mailbox.
    pub target: MailboxPath,
    /// Why it could not be finished.
    pub fault: Option<String>,
    /// Messages that scans ever saw in it. [`MailboxSnapshot::fates`] must add up to it.
    pub messages: u64,
    /// Messages by fate. Their sum is every message ever seen: what has no entry is pending.
    pub fates: BTreeMap<Fate, Count>,
    /// Messages by remark, reasons left out.
    pub remarks: BTreeMap<RemarkKind, u64>,
    /// Messages in windows that are still open: sent, outcome unknown. They count as pending.
    pub in_doubt: u64,
}

/// A number of messages and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Messages.
    pub messages: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Where a listing of remarks stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemarkCursor {
    /// The mailbox of the last row.
    pub mailbox: MailboxId,
    /// The UID of the last row.
    pub uid: Uid,
    /// The kind of the last row.
    pub kind: RemarkKind,
}

/// A remark with the message it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemarkRow {
    /// The account's key.
    pub account: String,
    /// The source mailbox.
    pub mailbox: MailboxPath,
    /// The message's UID at the source.
    pub uid: Uid,
    /// What became of it.
    pub fate: Fate,
    /// Its size in bytes.
    pub size: u64,
    /// Its internal date.
    pub date: Option<InternalDate>,
    /// Its subject, where it was kept.
    pub subject: Option<String>,
    /// The remark.
    pub remark: Remark,
    /// Where this row stands in the listing.
    pub cursor: RemarkCursor,
}
