//! What a world has in it, and what can go wrong there how often.

/// A small world.
#[derive(Clone, Copy)]
pub(crate) struct World {
    /// What the source has: equal numbers are equal messages.
    pub(crate) source: &'static [u8],
    /// Whether mail is delivered through stages.
    pub(crate) staged: bool,
    /// Messages in a window.
    pub(crate) window: usize,
    /// Windows that may wait for an answer.
    pub(crate) in_flight: usize,
    /// Whether a window is one command (MULTIAPPEND), which stores all or nothing.
    pub(crate) multi: bool,
    /// Whether DELETE waits for a MOVE that is under way (Cyrus), or does not (Dovecot).
    pub(crate) delete_waits: bool,
    /// A message that stands at the target before, and is not to be adopted.
    pub(crate) before: Option<u8>,
    /// What servers tell of where they have stored a message.
    pub(crate) told: Told,
    /// How often a connection is cut or the process dies.
    pub(crate) losses: u8,
    /// How many commands of lost connections take effect later than the settling.
    pub(crate) late: u8,
    /// How often the server says OK and stores nothing.
    pub(crate) swallowed: u8,
    /// How often a user deletes or moves away a message at the target, or brings one back.
    pub(crate) user: u8,
    /// Equal messages that somebody else delivers.
    pub(crate) foreign: u8,
    /// Other processes that take the ledger over.
    pub(crate) claimants: u8,
    /// Passes.
    pub(crate) passes: u8,
    /// What is left out of the protocol, to see that it is needed.
    pub(crate) without: Option<Without>,
}

/// What servers tell of where they have stored a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// The UID.
    Truth,
    /// Nothing: they have no UIDPLUS.
    Nothing,
    /// The UID, nothing, or another one.
    Anything,
}

/// What can be left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Without {
    /// I1: the window is durable before an octet leaves.
    Intent,
    /// I1: its `lo` was read before.
    LoBefore,
    /// Only what stands at `lo` and above is looked at.
    FromLo,
    /// I3: a target UID is one message's.
    OneClaim,
    /// I5: a window is closed in the transaction that says what became of its messages.
    OneTransaction,
    /// T3: an APPENDUID is a hint, not a claim.
    Hint,
    /// V1: a copy is one when it was seen.
    ReadBack,
    /// Lost connections settle before the look.
    Settling,
    /// Whoever writes is the newest writer.
    Epoch,
    /// What is owed again is noted.
    Note,
    /// Of several notes the first `lo` counts.
    FirstLo,
    /// Equal messages are not in two open windows, or all windows are resolved together.
    Together,
    /// A claimed message that lost its place is served before one in doubt.
    Lapsed,
    /// The sweep.
    Sweep,
    /// S2: what is in the stage was read back before it is moved.
    StageReadBack,
    /// S3: the intent of a MOVE is durable before.
    MoveIntent,
    /// A MOVE is not repeated.
    MoveOnce,
    /// A stage's name is used once.
    NameOnce,
    /// A stage is deleted.
    Delete,
    /// The answer to that is awaited.
    DeleteAnswer,
}

impl World {
    /// Direct delivery of two equal messages and another one, of which the first is in a window with
    /// the other.
    pub(crate) const DIRECT: Self = Self {
        source: &[0, 1, 0],
        staged: false,
        window: 2,
        in_flight: 2,
        multi: true,
        delete_waits: false,
        before: None,
        told: Told::Truth,
        losses: 2,
        late: 1,
        swallowed: 0,
        user: 0,
        foreign: 0,
        claimants: 0,
        passes: 1,
        without: None,
    };

    /// The same through stages.
    pub(crate) const STAGED: Self = Self { staged: true, late: 0, ..Self::DIRECT };

    pub(crate) fn lacks(&self, part: Without) -> bool {
        self.without == Some(part)
    }
}
