//! The whole world of a model: the target, the ledger, the processes, and what may still go wrong.

use crate::config::World;
use crate::memory::{Ledger, Pair, Row, Write};
use crate::target::{Target, Whose, Wire};

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) target: Target,
    pub(crate) ledger: Ledger,
    /// The processes that are alive, the newest last.
    pub(crate) processes: Vec<Process>,
    pub(crate) may: May,
    pub(crate) fact: Fact,
    /// Processes that were started.
    pub(crate) epoch: u8,
    pub(crate) is_done: bool,
}

/// What may still go wrong, how often.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct May {
    pub(crate) losses: u8,
    pub(crate) late: u8,
    pub(crate) swallowed: u8,
    pub(crate) user: u8,
    pub(crate) foreign: u8,
    pub(crate) claimants: u8,
    pub(crate) passes: u8,
}

/// What happened that nobody in the program can see, by content of messages.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Fact {
    /// Stored later than the settling.
    pub(crate) late: [u8; 3],
    /// Ours, deleted or moved away by a user.
    pub(crate) removed: [u8; 3],
    /// Acknowledged and not stored, or told at a wrong UID.
    pub(crate) lied: [u8; 3],
}

/// Where a process is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum At {
    /// A try begins: `engine::account::attempt`.
    Attempt,
    /// Before stages of a run that died while it made them: `engine::staged::recover`.
    StagesSettle,
    /// `engine::staged::clear`: looks into the first stage.
    Clear,
    /// What was in it; then it is deleted.
    Delete(Option<Vec<(u8, u8)>>),
    Deleting(Option<Vec<(u8, u8)>>),
    Dissolve(Option<Vec<(u8, u8)>>),
    /// `Work::settle_time` before `engine::resolve`.
    Settle,
    /// `engine::resolve::Resolving::run`: opens the target mailbox.
    Resolve,
    ResolveLook(u8),
    /// The windows, what became of messages, notes; is everything of it written in one transaction?
    ResolveWrite(Vec<u8>, Vec<(u8, Row)>, Vec<(u8, u8)>),
    /// `engine::mailbox::Copying::part`.
    Scan,
    /// `Copying::open_target`.
    Open,
    /// `engine::adopt::adopt`, with the UIDNEXT.
    Adopt(u8),
    AdoptWrite(u8, Vec<(u8, Row)>),
    /// `Copying::retry_last`.
    RetryLast,
    /// `engine::staged::make`, after the stage is in the ledger.
    Make,
    Making,
    /// `engine::window::transfer`.
    Transfer,
    /// `engine::verify::read_back`, or `confirm` in a stage.
    ReadBack,
    /// `engine::staged::move_on`: staged UID and message.
    Intend(Vec<(u8, u8)>),
    Move(Vec<(u8, u8)>),
    Moving(Vec<(u8, u8)>),
    Arrived(Vec<(u8, u8)>, Vec<(u8, u8)>),
    Deliver(Vec<(u8, u8)>),
    Leave,
    Leaving,
    Left,
    /// `engine::sweep::sweep`.
    Sweep,
    SweepLacking(Vec<u8>),
    SweepHaving(Vec<u8>),
    /// `engine::account::sweep_again`.
    SettleAgain,
    Done,
}

/// A window that a process has opened.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Flight {
    pub(crate) id: u8,
    pub(crate) lo: u8,
    pub(crate) keys: Vec<(u8, Pair)>,
    pub(crate) is_careful: bool,
    pub(crate) is_sent: bool,
    /// What was said to its messages, in their order, as far as it was.
    pub(crate) said: Vec<Said>,
    /// Whether the room for other windows knows that it is through.
    pub(crate) is_closed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Said {
    At(u8),
    Somewhere,
}

/// A window that is still to be opened, and whether it is to be sent carefully.
pub(crate) type Planned = (Vec<(u8, Pair)>, bool);

/// A running program.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) epoch: u8,
    pub(crate) at: At,
    pub(crate) wire: Wire,
    /// Writes that are queued and not on the disk.
    pub(crate) queue: Vec<Write>,
    /// Messages that were tried in this run and not copied.
    pub(crate) tried: Vec<u8>,
    /// `Tally::doubted`.
    pub(crate) is_doubted: bool,
    /// Whether this is the sweep at the end of the account.
    pub(crate) is_last_sweep: bool,
    /// Stages are given up.
    pub(crate) is_direct: bool,
    // Of a pass over the mailbox:
    /// `Place::lo`, once the target is open.
    pub(crate) lo: Option<u8>,
    /// Whether the first scan is still to come.
    pub(crate) is_first: bool,
    pub(crate) retry_last: Vec<u8>,
    pub(crate) is_retrying: bool,
    // Of a transfer:
    pub(crate) stage: Option<u8>,
    pub(crate) todo: Vec<Planned>,
    pub(crate) flights: Vec<Flight>,
    pub(crate) is_halted: bool,
}

impl Process {
    pub(crate) fn new(epoch: u8) -> Self {
        Self {
            epoch,
            at: At::Attempt,
            wire: Wire::default(),
            queue: Vec::new(),
            tried: Vec::new(),
            is_doubted: false,
            is_last_sweep: false,
            is_direct: false,
            lo: None,
            is_first: true,
            retry_last: Vec::new(),
            is_retrying: false,
            stage: None,
            todo: Vec::new(),
            flights: Vec::new(),
            is_halted: false,
        }
    }

    /// Everything that a new try begins without.
    pub(crate) fn begin_again(&mut self) {
        self.at = At::Attempt;
        self.wire = Wire::default();
        self.is_last_sweep = false;
        self.begin_pass();
    }

    pub(crate) fn begin_pass(&mut self) {
        self.lo = None;
        self.is_first = true;
        self.retry_last = Vec::new();
        self.is_retrying = false;
        self.end_transfer();
    }

    pub(crate) fn end_transfer(&mut self) {
        self.stage = None;
        self.todo = Vec::new();
        self.flights = Vec::new();
        self.is_halted = false;
    }
}

impl State {
    pub(crate) fn new(world: &World) -> Self {
        let mut target = Target::default();
        if let Some(content) = world.before {
            target.add(content, Whose::Before);
        }
        let &World { losses, late, swallowed, user, foreign, claimants, passes, .. } = world;
        Self {
            target,
            ledger: Ledger::new(world.source.len()),
            processes: Vec::new(),
            may: May { losses, late, swallowed, user, foreign, claimants, passes },
            fact: Fact::default(),
            epoch: 0,
            is_done: false,
        }
    }

    /// Every connection that can still do something.
    pub(crate) fn wires(&self) -> impl Iterator<Item = &Wire> {
        let live = self.processes.iter().map(|process| &process.wire);
        live.chain(&self.target.lost)
    }

    /// Puts what is left of a connection beside the others. Their order does not matter.
    pub(crate) fn lose(&mut self, wire: Wire) {
        if !wire.is_idle() {
            self.target.lost.push(wire);
            self.target.lost.sort_by_cached_key(crate::explore::encode);
        }
    }
}
