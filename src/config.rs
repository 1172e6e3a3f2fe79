//! Settings already checked: every limit with its unit, every default in this one place.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Serialize;

use crate::fault::Side;
use crate::plan::filter::Filter;
use crate::plan::rules::Rules;
use crate::repair::Repairs;

/// Everything a run can be told, beside its accounts. [`Config::default`] holds every default.
#[derive(Debug, Clone)]
pub struct Config {
    /// Accounts at work at once.
    pub accounts_max: usize,
    /// Connections of one account to one side.
    pub connections_max: usize,
    /// Connections to one host from all accounts. Courier allows 20 an address by default.
    pub host_connections_max: usize,
    /// How fast mail may flow.
    pub rates: Rates,
    /// Bytes of message bodies held in memory, over all accounts.
    pub memory_bytes_max: usize,
    /// Messages in one window.
    pub window_messages_max: usize,
    /// Bytes in one window; a larger message is streamed, a window of its own.
    pub window_bytes_max: u64,
    /// Windows in doubt at once in one target mailbox.
    pub windows_in_flight_max: usize,
    /// Messages of one step of a scan: what is listed, planned, copied and read back together.
    pub scan_messages_max: u32,
    /// How long an APPEND of a lost connection may still take effect before the target is searched
    /// for it; longer where the slowest APPEND seen says so, at most [`Config::settle_max`].
    pub settle: Duration,
    /// The longest wait for APPENDs of a lost connection.
    pub settle_max: Duration,
    /// Connecting, TLS and greeting together may take this long.
    pub connect_timeout: Duration,
    /// A connection on which we wait is given up when nothing moved for this long.
    pub idle_timeout: Duration,
    /// Two servers that answer sooner than this are near: then an account gets further connections only as
    /// long as what is measured shows that they bring more.
    pub near: Duration,
    /// Which connections are compressed, where the server offers it.
    pub compress: Compress,
    /// The shortest pause before an account is tried again.
    pub retry_pause_min: Duration,
    /// The longest pause before an account is tried again.
    pub retry_pause_max: Duration,
    /// An account without progress for this long has failed.
    pub give_up_after: Duration,
    /// A message in doubt this many times is not sent again in the same pass.
    pub doubts_max: u8,
    /// What is in flight may take this long to finish after a stop was asked for.
    pub drain_max: Duration,
    /// Connect, list and plan, but write nothing at the target.
    pub dry_run: bool,
    /// Which mailboxes are copied, and where they go.
    pub rules: Rules,
    /// Which messages are copied in this run.
    pub filter: Filter,
    /// Which messages of a mailbox come first.
    pub order: Order,
    /// How messages come into their mailboxes.
    pub delivery: Delivery,
    /// What to do about second copies.
    pub surplus: Surplus,
    /// Whether a mailbox at the target keeps other ledgers away from an account.
    pub lock: Lock,
    /// Messages that go through one stage together, where delivery is staged.
    pub stage_messages_max: usize,
    /// Which copies are compared octet by octet with what was sent.
    pub verify: Verify,
    /// Whether messages that are on the target already are taken for copies.
    pub adopt: Adopt,
    /// What later passes do about flags that changed at the source.
    pub later_flags: LaterFlags,
    /// What later passes do about messages that were moved at the source.
    pub moves: Moves,
    /// What later passes do about copies that are not at the target any more.
    pub on_target_loss: TargetLoss,
    /// What is repaired in a message that the target refuses.
    pub repairs: Repairs,
    /// Whether the rights of mailboxes are copied (RFC 4314).
    pub acl: bool,
    /// Who at the source is who at the target, beside the accounts of the batch.
    pub acl_map: Vec<(String, String)>,
    /// Whether what is noted about mailboxes is copied (RFC 5464).
    pub metadata: bool,
    /// How closely a comparison of both ends looks.
    pub depth: Depth,
    /// Keep the subjects of messages that are not exact, for the report.
    pub report_headers: bool,
    /// Trusted roots beside the platform's, PEM.
    pub extra_roots_pem: Option<Vec<u8>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            accounts_max: 8,
            connections_max: 8,
            host_connections_max: 16,
            rates: Rates::default(),
            memory_bytes_max: 16 * 1024 * 1024,
            window_messages_max: 50,
            window_bytes_max: 2 * 1024 * 1024,
            windows_in_flight_max: 4,
            scan_messages_max: 2_000,
            settle: Duration::from_secs(5),
            settle_max: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(300),
            near: Duration::from_millis(10),
            compress: Compress::default(),
            retry_pause_min: Duration::from_secs(1),
            retry_pause_max: Duration::from_secs(300),
            give_up_after: Duration::from_secs(2 * 60 * 60),
            doubts_max: 3,
            drain_max: Duration::from_secs(60),
            dry_run: false,
            rules: Rules::default(),
            filter: Filter::default(),
            order: Order::default(),
            delivery: Delivery::default(),
            surplus: Surplus::default(),
            lock: Lock::default(),
            stage_messages_max: 200,
            verify: Verify::default(),
            adopt: Adopt::default(),
            later_flags: LaterFlags::default(),
            moves: Moves::default(),
            on_target_loss: TargetLoss::default(),
            repairs: Repairs::default(),
            acl: false,
            acl_map: Vec::new(),
            metadata: false,
            depth: Depth::default(),
            report_headers: false,
            extra_roots_pem: None,
        }
    }
}

impl Config {
    /// Bytes of a message that can be held to be repaired: half of what may be held, since its repaired
    /// octets come beside it.
    #[must_use]
    pub fn repaired_bytes_max(&self) -> u64 {
        self.window_bytes_max.max(self.memory_bytes_max as u64 / 2)
    }
}

/// Which connections are compressed (RFC 4978): worth its processor time where the link is slow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compress {
    /// None.
    #[default]
    Never,
    /// Those to the source.
    Source,
    /// Those to the target.
    Target,
    /// All.
    Both,
}

impl Compress {
    /// That of the source, that of the target.
    #[must_use]
    pub fn of(ends: [bool; 2]) -> Self {
        match ends {
            [false, false] => Self::Never,
            [true, false] => Self::Source,
            [false, true] => Self::Target,
            [true, true] => Self::Both,
        }
    }

    /// Its name, as flags spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Source => "source",
            Self::Target => "target",
            Self::Both => "both",
        }
    }

    /// Whether connections to this end are.
    #[must_use]
    pub fn is_for(self, side: Side) -> bool {
        match self {
            Self::Never => false,
            Self::Source => side == Side::Source,
            Self::Target => side == Side::Target,
            Self::Both => true,
        }
    }
}

/// Which messages of a mailbox come first, window by window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// As they lie in the mailbox.
    #[default]
    Oldest,
    /// What arrived last: an owner who looks meanwhile finds the latest mail first.
    Newest,
}

/// How messages come into their mailboxes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Delivery {
    /// They are appended there. An APPEND that takes effect long after its connection was lost can
    /// make a second copy, which is reported.
    #[default]
    Direct,
    /// They are appended to a mailbox of our own and moved from there, on servers that offer MOVE
    /// and UIDPLUS: no late APPEND can make a second copy.
    Staged,
}

/// Whether a mailbox at the target says that somebody works on an account. Users can see it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lock {
    /// None does.
    #[default]
    Open,
    /// It is made, and an account where another ledger has made it fails.
    Locked,
    /// It is made, or taken from whoever has made it.
    TakenOver,
}

/// Which copies are read back whole and compared with what was sent. Size, date and flags of every
/// copy are looked at in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verify {
    /// Those that hold what servers are known to change, and a sample of one in a hundred.
    #[default]
    Sample,
    /// All.
    Full,
}

/// How closely a comparison of both ends looks. Dates and flags are compared in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Depth {
    /// Every body is read at both ends.
    #[default]
    Full,
    /// So many of ten thousand bodies are read, the same ones at both ends and in every run; the rest
    /// is compared as by [`Depth::Fast`].
    Sample(u16),
    /// No body is read: size, date and header lines must do.
    Fast,
}

/// What to do about messages that were on the target before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Adopt {
    /// Those that are copies of source messages are not copied again.
    #[default]
    Match,
    /// Nothing: everything is copied beside them.
    None,
}

/// What to do about a second copy of a message that was sent again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Surplus {
    /// It is reported.
    #[default]
    Report,
    /// It is removed where everything shows that it is ours and that another one is there; else it
    /// is reported.
    Remove,
}

/// What a later pass does about flags that changed at the source since the last one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LaterFlags {
    /// The same change is made at the target; other flags there stay as they are.
    #[default]
    Follow,
    /// Nothing: flags are copied with their messages, once.
    Leave,
}

/// What a later pass does about a message that was moved at the source since the last one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Moves {
    /// Its copy is moved, too, where the target offers MOVE and UIDPLUS, and it is still where it was.
    #[default]
    Follow,
    /// It is copied again, and its copy stays.
    Copy,
}

/// What a later pass does about a copy that is not at the target any more, nowhere in the account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TargetLoss {
    /// It is reported: most likely its owner has deleted it.
    #[default]
    Report,
    /// Its message is copied again, where the source still has it.
    Refill,
}

/// How fast mail may flow; none means as fast as both ends allow.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    /// Messages a second of one account.
    pub account_messages: Option<NonZeroU32>,
    /// Bytes a second of one account.
    pub account_bytes: Option<NonZeroU32>,
    /// Messages a second from or to one host, over all accounts.
    pub host_messages: Option<NonZeroU32>,
    /// Bytes a second from or to one host, over all accounts.
    pub host_bytes: Option<NonZeroU32>,
}
