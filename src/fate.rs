//! What became of a message: every message scanned has exactly one fate, with remarks.

use serde::Serialize;

/// What became of a message at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// Not copied yet, or sent and not read back yet.
    Pending,
    /// On the target, and read back there.
    Copied,
    /// Was on the target before, put there by others.
    Adopted,
    /// The target keeps one copy for several equal messages, and has it.
    Merged,
    /// Left out because the user asked so.
    Filtered,
    /// Deleted at the source before it could be copied.
    Gone,
    /// The target will not have it.
    Refused,
    /// The source does not give it.
    Unreadable,
    /// Accepted by the target twice and never found there.
    Lost,
    /// Perhaps on the target: sent once, and it cannot be told whether it arrived.
    Held,
}

impl Fate {
    /// All ten, in the order of the report.
    pub const ALL: [Self; 10] = [
        Self::Copied,
        Self::Adopted,
        Self::Merged,
        Self::Filtered,
        Self::Gone,
        Self::Refused,
        Self::Unreadable,
        Self::Lost,
        Self::Held,
        Self::Pending,
    ];

    /// The word for it in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Copied => "copied",
            Self::Adopted => "adopted",
            Self::Merged => "merged",
            Self::Filtered => "filtered",
            Self::Gone => "gone",
            Self::Refused => "refused",
            Self::Unreadable => "unreadable",
            Self::Lost => "lost",
            Self::Held => "held",
        }
    }

    /// Whether it has a copy at the target, which is nobody else's, or where it is merged that of an equal message.
    #[must_use]
    pub fn is_there(self) -> bool {
        matches!(self, Self::Copied | Self::Adopted | Self::Merged)
    }

    /// Whether a later pass should try again, once, last and alone.
    #[must_use]
    pub fn is_retried(self) -> bool {
        matches!(self, Self::Refused | Self::Unreadable | Self::Lost)
    }
}

impl std::fmt::Display for Fate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is to be said of one message beside its fate: why it was not copied, or what is not exact
/// about its copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The kind of remark.
    pub kind: RemarkKind,
    /// Details for a person: the server's own words, or the names of flags.
    pub text: String,
}

/// The kind of a [`Remark`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemarkKind {
    /// Why the message has a fate other than copied.
    Reason,
    /// The target's copy has another size.
    BytesAltered,
    /// The target's copy has another internal date.
    DateAltered,
    /// The target's copy lacks these flags.
    FlagsReduced,
    /// The copy was there and is nowhere any more: its owner removed it, or the target lost it.
    RemovedAtTarget,
    /// The target seems to have a further copy that is ours too.
    PossibleDuplicate,
    /// It was copied, and is not at the source any more; its copy stays.
    RemovedAtSource,
    /// The target refused it as it is, and has it repaired in these ways.
    Repaired,
    /// The source's date is none, and it was sent with one from its header.
    DateReplaced,
    /// The copy is in another mailbox of the target: its owner moved it there.
    MovedAtTarget,
}

impl RemarkKind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::Reason,
        Self::BytesAltered,
        Self::DateAltered,
        Self::FlagsReduced,
        Self::RemovedAtTarget,
        Self::PossibleDuplicate,
        Self::RemovedAtSource,
        Self::Repaired,
        Self::DateReplaced,
        Self::MovedAtTarget,
    ];

    /// The word for it in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reason => "reason",
            Self::BytesAltered => "bytes-altered",
            Self::DateAltered => "date-altered",
            Self::FlagsReduced => "flags-reduced",
            Self::RemovedAtTarget => "removed-at-target",
            Self::PossibleDuplicate => "possible-duplicate",
            Self::RemovedAtSource => "removed-at-source",
            Self::Repaired => "repaired",
            Self::DateReplaced => "date-replaced",
            Self::MovedAtTarget => "moved-at-target",
        }
    }
}

impl Remark {
    /// A remark of `kind`.
    pub fn new(kind: RemarkKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}
