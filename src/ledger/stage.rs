//! What the ledger knows of mailboxes of our own at the target.

use crate::mail::{Uid, WireName};
use crate::own::OwnName;
use crate::target::ObjectId;

use super::{MailboxId, NewWindow, OpenWindow};

/// A stage in the ledger; ids are never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageId(pub i64);

/// A stage that is about to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewStage {
    /// The source mailbox whose messages it is for.
    pub mailbox: MailboxId,
    /// The claim under which it is made.
    pub epoch: i64,
    /// Its name, never used before.
    pub name: OwnName,
}

/// A stage that may still be there at the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its id.
    pub id: StageId,
    /// What it was made as.
    pub stage: NewStage,
    /// The windows that were sent to it and whose outcome is not settled.
    pub windows: Vec<OpenWindow>,
    /// What may have been moved out of it; none where nothing was, or where that is settled.
    pub intent: Option<MoveIntent>,
}

/// What is about to be moved out of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveIntent {
    /// A UIDNEXT of the target mailbox, read before: nothing that is moved gets a lower UID.
    pub lo: Uid,
    /// The messages, by their UIDs in the stage.
    pub messages: Vec<StagedMessage>,
}

/// A message that stands in a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedMessage {
    /// Its UID in the stage.
    pub staged: Uid,
    /// Its UID at the source.
    pub uid: Uid,
    /// What tells it from others, over the MOVE, where the target told.
    pub object_id: Option<ObjectId>,
    /// Whether it is gone from the stage, and thus has arrived where it belongs.
    pub arrived: bool,
}

/// What becomes of the messages of a stage that is gone from the target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dissolved {
    /// What became of messages: those that were not moved are owed again.
    pub outcomes: Vec<super::Outcome>,
    /// Messages that may have been moved: they are in doubt at the target mailbox itself.
    pub in_doubt: Vec<NewWindow>,
    /// Messages that were moved, where to is not known: they are at the target mailbox, or its owner
    /// has removed them.
    pub arrived: Vec<NewWindow>,
}

/// A mailbox of our own at the target that is no stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnMailbox {
    /// Its name.
    pub name: OwnName,
    /// What it is for; none for a lock.
    pub removal: Option<Removal>,
}

/// A surplus copy that is moved to a quarantine to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// The target mailbox it is taken out of.
    pub target_name: WireName,
    /// Its UID there.
    pub target_uid: Uid,
}
