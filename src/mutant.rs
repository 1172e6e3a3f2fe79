//! Deliberate bugs, to see the tests catch them (feature `mutants`): without the feature, none.
//! `MAILHAUL_MUTANT=n` picks one for the whole process.

/// A deliberate bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// Looks for what was in doubt without waiting for lost connections to settle.
    SkipSettle = 1,
    /// Gives every stage of a run one name.
    ReuseStageName = 2,
    /// Believes that `n:*` names nothing below n.
    RangeWithoutFilter = 3,
    /// Records copies when they are handed to the connection.
    AckBeforeOk = 4,
    /// Takes copies that other messages have claimed.
    ClaimTwice = 5,
    /// Closes a window before the claims that settle it are written.
    CloseBeforeClaims = 6,
    /// Believes what was fetched whatever the NOOP behind it says.
    IgnoreExpungeAfterFetch = 7,
    /// Sends again, without a look, what a lost connection has left in doubt.
    RetryWithoutLook = 8,
    /// Takes RFC822.SIZE for the length of the body.
    TrustSize = 9,
    /// Commits without waiting for the disk.
    NoSync = 10,
    /// Forgets what is answered after a stop was asked for.
    DropLastBatch = 11,
    /// Repeats a MOVE whose outcome is not known.
    RepeatMove = 12,
    /// Denies a copy that the connection which appended it does not show.
    DenyFromPipeline = 13,
    /// Settles windows one by one, and lets twins be in several at once.
    ResolveOneByOne = 14,
    /// Believes an OK to the MOVE of copies without looking whether they have left.
    BelieveMove = 15,
    /// Repeats a MOVE of copies whose outcome is not known.
    RepeatMoveOfCopies = 16,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::SkipSettle,
        Self::ReuseStageName,
        Self::RangeWithoutFilter,
        Self::AckBeforeOk,
        Self::ClaimTwice,
        Self::CloseBeforeClaims,
        Self::IgnoreExpungeAfterFetch,
        Self::RetryWithoutLook,
        Self::TrustSize,
        Self::NoSync,
        Self::DropLastBatch,
        Self::RepeatMove,
        Self::DenyFromPipeline,
        Self::ResolveOneByOne,
        Self::BelieveMove,
        Self::RepeatMoveOfCopies,
    ];
}

/// Whether a deliberate bug is in.
#[cfg(feature = "mutants")]
#[must_use]
pub fn is(mutant: Mutant) -> bool {
    static PICKED: std::sync::OnceLock<Option<u8>> = std::sync::OnceLock::new();
    let picked = PICKED.get_or_init(|| std::env::var("MAILHAUL_MUTANT").ok()?.parse().ok());
    *picked == Some(mutant as u8)
}

/// Whether a deliberate bug is in.
#[cfg(not(feature = "mutants"))]
#[must_use]
pub const fn is(_: Mutant) -> bool {
    false
}
