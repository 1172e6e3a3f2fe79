//! The names of the mailboxes that mailhaul makes at the target for itself.
//!
//! An [`OwnName`] can only be made here, and only for a mailbox that nobody else would make. What
//! deletes a mailbox or takes messages out of one asks for such a name, so that it cannot be about
//! a user's mailbox.

use std::fmt;

use crate::mail::MailboxPath;

/// What every name of our own begins with.
const START: &str = "mailhaul-";
const QUARANTINE_END: &str = "-surplus";
const TRIAL_END: &str = "-tune";
const LOCK_END: &str = "-lock";
/// What the lock was called before it said whose it is.
const OLD_LOCK: &str = "mailhaul-lock";

/// The name of a mailbox of our own. A stage's or a quarantine's is used once and never again: a
/// command of a connection that is lost may still take effect, and must find nothing of its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnName(String);

/// What nobody else counts from, and never the same twice: a random number for each run, the epoch
/// of the account's claim, and a count within them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serial {
    /// Random for each run.
    pub run: u64,
    /// The epoch of the claim (see [`crate::ledger::Claim`]).
    pub epoch: i64,
    /// Counts within the claim.
    pub number: u32,
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}-{}", self.run, self.epoch, self.number)
    }
}

impl OwnName {
    /// A mailbox that messages are appended to before they are moved to where they belong.
    #[must_use]
    pub fn stage(serial: Serial) -> Self {
        Self(format!("{START}{serial}"))
    }

    /// A mailbox that one surplus copy is moved to before it is removed.
    #[must_use]
    pub fn quarantine(serial: Serial) -> Self {
        Self(format!("{START}{serial}{QUARANTINE_END}"))
    }

    /// A mailbox into which messages are written to measure how fast that goes. Nothing in it is
    /// anybody's mail.
    #[must_use]
    pub fn trial(serial: Serial) -> Self {
        Self(format!("{START}{serial}{TRIAL_END}"))
    }

    /// Whether it is of a measurement, this one or another.
    #[must_use]
    pub fn is_trial(&self) -> bool {
        self.0.ends_with(TRIAL_END)
    }

    /// A mailbox that says that somebody works on an account.
    #[must_use]
    pub fn lock(serial: Serial) -> Self {
        Self(format!("{START}{serial}{LOCK_END}"))
    }

    /// Whether it says that somebody works on an account, this mailhaul or another.
    #[must_use]
    pub fn is_lock(&self) -> bool {
        self.0.ends_with(LOCK_END)
    }

    /// A name as it was written down; none if it cannot be one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == OLD_LOCK {
            return Some(Self(text.to_owned()));
        }
        let serial = text.strip_prefix(START)?;
        let ends = [QUARANTINE_END, TRIAL_END, LOCK_END];
        let end = ends.into_iter().find_map(|end| serial.strip_suffix(end));
        let serial = end.unwrap_or(serial);
        let mut parts = serial.split('-');
        let (run, epoch, number) = (parts.next()?, parts.next()?, parts.next()?);
        let serial = Serial {
            run: u64::from_str_radix(run, 16).ok()?,
            epoch: epoch.parse().ok()?,
            number: number.parse().ok()?,
        };
        // Spelled in another way it is none of ours.
        let spelled = [Self::stage, Self::quarantine, Self::trial, Self::lock];
        spelled.into_iter().map(|spell| spell(serial)).find(|name| name.0 == text)
    }

    /// Whether a mailhaul made a mailbox, this one or another: spelled in any other way it is
    /// somebody's mailbox.
    #[must_use]
    pub fn looks_like_one(path: &MailboxPath) -> bool {
        path.names().last().is_some_and(|name| Self::parse(name).is_some())
    }

    /// Whether it was made under this claim of this run.
    #[must_use]
    pub fn is_of(&self, run: u64, epoch: i64) -> bool {
        self.0.starts_with(&format!("{START}{run:016x}-{epoch}-"))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where it stands: at the root.
    #[must_use]
    pub fn path(&self) -> MailboxPath {
        MailboxPath::new([self.0.as_str()])
    }
}

impl fmt::Display for OwnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERIAL: Serial = Serial { run: 0xab, epoch: 7, number: 12 };

    #[test]
    fn a_name_is_read_as_it_was_written() {
        assert_eq!(OwnName::stage(SERIAL).as_str(), "mailhaul-00000000000000ab-7-12");
        let quarantine = OwnName::quarantine(SERIAL);
        assert!(
            quarantine.is_of(0xab, 7) && !quarantine.is_of(0xab, 1) && !quarantine.is_of(0xa, 7)
        );
        let (trial, lock) = (OwnName::trial(SERIAL), OwnName::lock(SERIAL));
        assert!(trial.is_trial() && !quarantine.is_trial() && !lock.is_trial());
        let old = OwnName::parse("mailhaul-lock").unwrap();
        assert!(lock.is_lock() && old.is_lock() && !quarantine.is_lock() && !trial.is_lock());
        for name in [OwnName::stage(SERIAL), quarantine, trial, lock, old] {
            assert_eq!(OwnName::parse(name.as_str()), Some(name));
        }
    }

    #[test]
    fn no_name_of_anybody_else_is_one_of_ours() {
        for text in [
            "INBOX",
            "mailhaul",
            "mailhaul-",
            "mailhaul-x",
            "mailhaul-ab-7-12",
            "mailhaul-00000000000000AB-7-12",
            "mailhaul-00000000000000ab-07-12",
            "mailhaul-00000000000000ab-7-12-",
            "mailhaul-00000000000000ab-7-12-other",
            "mailhaul-lock-surplus",
            "Archive/mailhaul-lock",
        ] {
            assert_eq!(OwnName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_mailbox_of_any_mailhaul_is_recognised() {
        let name = OwnName::stage(SERIAL).to_string();
        assert!(OwnName::looks_like_one(&MailboxPath::new(["INBOX", name.as_str()])));
        assert!(!OwnName::looks_like_one(&MailboxPath::new([name.as_str(), "kept"])));
        assert!(!OwnName::looks_like_one(&MailboxPath::new(["mailhaul-notes"])));
    }
}
