//! What happened, as plain data, and who is told.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::difference::{Compared, Difference};
use crate::fate::Fate;
use crate::fault::Side;
use crate::plan::tuning::Rate;

/// Something that happened in a run. Names are only ever added.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run begins.
    RunStarted {
        /// Accounts in the batch.
        accounts: usize,
    },
    /// A pass over an account begins.
    AccountStarted {
        /// The account.
        account: Arc<str>,
    },
    /// Both ends of an account were listed.
    AccountListed {
        /// The account.
        account: Arc<str>,
        /// Mailboxes to copy.
        mailboxes: usize,
        /// Messages in them, where the source told.
        messages: Option<u64>,
        /// Their bytes, where the source told.
        bytes: Option<u64>,
    },
    /// A source mailbox goes to a target mailbox (told in dry runs, and when first decided).
    MailboxPlanned {
        /// The account.
        account: Arc<str>,
        /// The source mailbox.
        source: String,
        /// The target mailbox; none if it is left out.
        target: Option<String>,
        /// Why so.
        reason: String,
        /// Whether the target has that mailbox already; none if it is left out.
        exists: Option<bool>,
        /// Messages in it, where the source told.
        messages: Option<u64>,
        /// Their bytes, where the source told.
        bytes: Option<u64>,
        /// Which other mailbox gets in its way, if one does.
        collision: Option<String>,
    },
    /// It is told where all mailboxes of an account would go.
    AccountPlanned {
        /// The account.
        account: Arc<str>,
    },
    /// A mailbox was begun.
    MailboxStarted {
        /// The account.
        account: Arc<str>,
        /// The source mailbox.
        mailbox: String,
        /// Messages in it.
        messages: u64,
    },
    /// Part of a mailbox was compared with the ledger.
    Scanned {
        /// The account.
        account: Arc<str>,
        /// The source mailbox.
        mailbox: String,
        /// Messages looked at.
        messages: u64,
        /// Their bytes.
        bytes: u64,
        /// Messages of these that are to be copied.
        owed_messages: u64,
        /// Their bytes.
        owed_bytes: u64,
    },
    /// The target acknowledged messages, or shows them where it does not tell of each.
    Copied {
        /// The account.
        account: Arc<str>,
        /// The source mailbox.
        mailbox: String,
        /// Messages.
        messages: u64,
        /// Bytes.
        bytes: u64,
    },
    /// A message will not be copied in this pass.
    NotCopied {
        /// The account.
        account: Arc<str>,
        /// The source mailbox.
        mailbox: String,
        /// Its UID at the source.
        uid: u32,
        /// What became of it.
        fate: Fate,
        /// Why; a server's own words where it said any.
        reason: String,
    },
    /// Messages that were on the target before were taken for copies.
    Adopted {
        /// The account.
        account: Arc<str>,
        /// The source mailbox.
        mailbox: String,
        /// Messages.
        messages: u64,
    },
    /// Flags that were changed at the source since the last pass were changed at the target.
    FlagsFollowed {
        /// The account.
        account: Arc<str>,
        /// The source mailbox.
        mailbox: String,
        /// Messages.
        messages: u64,
    },
    /// Copies of messages that were moved at the source were moved at the target.
    MovesFollowed {
        /// The account.
        account: Arc<str>,
        /// The source mailbox they are in now.
        mailbox: String,
        /// Messages.
        messages: u64,
    },
    /// The target's mailboxes were given what they lacked of the source's rights and notes.
    Shared {
        /// The account.
        account: Arc<str>,
        /// Identifiers that were granted rights, each once for each mailbox.
        rights: u64,
        /// Entries that were noted.
        annotations: u64,
    },
    /// Messages whose outcome was unknown were looked for on the target.
    Settled {
        /// The account.
        account: Arc<str>,
        /// The source mailbox.
        mailbox: String,
        /// Found there.
        found: u64,
        /// Not there: they will be sent again.
        missing: u64,
    },
    /// A mailbox is through.
    MailboxDone {
        /// The account.
        account: Arc<str>,
        /// The source mailbox.
        mailbox: String,
    },
    /// A mailbox cannot be finished in this pass.
    MailboxFailed {
        /// The account.
        account: Arc<str>,
        /// The source mailbox.
        mailbox: String,
        /// Which end it failed at, if at one.
        side: Option<Side>,
        /// Why.
        reason: String,
    },
    /// An account waits, while others go on.
    AccountParked {
        /// The account.
        account: Arc<str>,
        /// Which end is to blame, if one is.
        side: Option<Side>,
        /// Why.
        reason: String,
        /// How long it waits, in seconds.
        #[serde(rename = "wait_seconds", serialize_with = "seconds")]
        wait: Duration,
    },
    /// A pass over an account went through.
    AccountDone {
        /// The account.
        account: Arc<str>,
        /// Messages copied in this run.
        messages: u64,
        /// Their bytes.
        bytes: u64,
        /// Messages that this run could not copy.
        not_copied: u64,
    },
    /// Part of a source mailbox was read, to be compared with the target's.
    Read {
        /// The account.
        account: Arc<str>,
        /// The source mailbox.
        mailbox: String,
        /// Messages.
        messages: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// A message is not the same at both ends.
    Differs {
        /// The account.
        account: Arc<str>,
        /// The source mailbox, or those that go to the same target mailbox.
        mailbox: String,
        /// The target mailbox.
        target: String,
        /// In what they differ.
        difference: Difference,
        /// Its UID at the source, if it is there.
        source_uid: Option<u32>,
        /// Its UID at the target, if it is there.
        target_uid: Option<u32>,
        /// Its bytes.
        size: u64,
        /// Its internal date.
        date: Option<String>,
        /// Details; empty where there are none.
        text: String,
    },
    /// A mailbox was compared with the target's.
    MailboxCompared {
        /// The account.
        account: Arc<str>,
        /// The source mailbox, or those that go to the same target mailbox.
        mailbox: String,
        /// The target mailbox.
        target: String,
        /// What was found.
        #[serde(flatten)]
        compared: Compared,
    },
    /// Only the target has this mailbox.
    ExtraMailbox {
        /// The account.
        account: Arc<str>,
        /// The target mailbox.
        target: String,
        /// Messages in it.
        messages: u64,
    },
    /// Both ends of an account were compared.
    AccountCompared {
        /// The account.
        account: Arc<str>,
        /// What was found.
        #[serde(flatten)]
        compared: Compared,
        /// Mailboxes that could not be compared.
        mailboxes_failed: u64,
    },
    /// How long an end takes to answer.
    RoundTrip {
        /// The account.
        account: Arc<str>,
        /// The end.
        side: Side,
        /// The time, in seconds.
        #[serde(rename = "seconds", serialize_with = "seconds")]
        time: Duration,
    },
    /// How fast one end was.
    Measured {
        /// The account.
        account: Arc<str>,
        /// What was measured.
        #[serde(flatten)]
        rate: Rate,
    },
    /// An end takes no more connections, or asks to be slower: it was not tried further.
    Limited {
        /// The account.
        account: Arc<str>,
        /// The end.
        side: Side,
        /// So many connections it took.
        connections: usize,
        /// Why no more was tried; the server's own words where it said any.
        reason: String,
    },
    /// Both ends of an account were measured.
    AccountMeasured {
        /// The account.
        account: Arc<str>,
    },
    /// An account failed.
    AccountFailed {
        /// The account.
        account: Arc<str>,
        /// Which end it failed at, if at one.
        side: Option<Side>,
        /// Why.
        reason: String,
        /// What to do next.
        hint: String,
    },
    /// Something the user should know that stops nothing.
    Warning {
        /// The account, if one is concerned.
        account: Option<Arc<str>>,
        /// What.
        text: String,
    },
    /// A stop was asked for: what is in flight is finished.
    Stopping,
    /// The run ended.
    RunFinished {
        /// Accounts that are through.
        done: usize,
        /// Accounts that failed.
        failed: usize,
        /// Accounts that were stopped or never begun.
        stopped: usize,
    },
}

fn seconds<S: serde::Serializer>(wait: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(wait.as_secs_f64())
}

/// Is told what happens. Called from the tasks that move mail, so it must return at once.
pub trait Observer: Send + Sync {
    /// Takes one event.
    fn event(&self, event: &Event);
}

/// Tells all of them.
impl Observer for Vec<Arc<dyn Observer>> {
    fn event(&self, event: &Event) {
        self.iter().for_each(|observer| observer.event(event));
    }
}

/// Tells nobody.
impl Observer for () {
    fn event(&self, _: &Event) {}
}
