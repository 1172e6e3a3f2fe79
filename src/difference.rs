//! What a comparison of both ends finds, message by message.

use std::collections::BTreeMap;

use serde::Serialize;

/// In what a message differs between the ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Difference {
    /// The target does not have it.
    Missing,
    /// The target has a message of the same header lines with other content.
    Content,
    /// An end lists it and does not hand it out.
    Unreadable,
    /// The target has one copy more than the source.
    Doubled,
    /// The target has one copy of this and of equal messages, and is known to keep no more.
    Merged,
    /// The target has it as servers rewrite messages: line ends, control and 8-bit octets.
    Rewritten,
    /// The target has it in another mailbox, where only the target has it: its owner moved it there.
    MovedAtTarget,
    /// Its internal date is another one.
    Date,
    /// Its flags are others.
    Flags,
    /// The target has it and the source does not.
    Extra,
}

impl Difference {
    /// All kinds, in the order of the report.
    pub const ALL: [Self; 10] = [
        Self::Missing,
        Self::Content,
        Self::Unreadable,
        Self::Doubled,
        Self::Merged,
        Self::Rewritten,
        Self::MovedAtTarget,
        Self::Date,
        Self::Flags,
        Self::Extra,
    ];

    /// The word for it in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Content => "content",
            Self::Unreadable => "unreadable",
            Self::Doubled => "doubled",
            Self::Merged => "merged",
            Self::Rewritten => "rewritten",
            Self::MovedAtTarget => "moved-at-target",
            Self::Date => "date",
            Self::Flags => "flags",
            Self::Extra => "extra",
        }
    }

    /// Whether the target is not as the source is. What only the target has is its owner's own.
    #[must_use]
    pub fn is_problem(self) -> bool {
        self != Self::Extra
    }
}

/// What a comparison came to, in messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Messages at the source that belong on the target.
    pub source: u64,
    /// Messages at the target.
    pub target: u64,
    /// Messages of the source whose copy differs in nothing.
    pub same: u64,
    /// How often each difference was found; a message may have several.
    pub differences: BTreeMap<Difference, u64>,
}

impl Compared {
    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        self.source += other.source;
        self.target += other.target;
        self.same += other.same;
        for (kind, messages) in &other.differences {
            self.note(*kind, *messages);
        }
    }

    /// Notes a difference of so many messages.
    pub fn note(&mut self, kind: Difference, messages: u64) {
        *self.differences.entry(kind).or_default() += messages;
    }

    /// Takes back a difference that was noted of so many messages.
    pub fn take_back(&mut self, kind: Difference, messages: u64) {
        if let Some(noted) = self.differences.get_mut(&kind) {
            *noted = noted.saturating_sub(messages);
        }
    }

    /// How often a difference was found.
    #[must_use]
    pub fn count(&self, kind: Difference) -> u64 {
        self.differences.get(&kind).copied().unwrap_or(0)
    }

    /// Whether the target is as the source is, but for what only the target has.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.differences.iter().any(|(kind, messages)| kind.is_problem() && *messages > 0)
    }
}
