//! Which messages are copied in this pass. What is left out is owed to a pass with another filter.

use crate::identity::Digest;
use crate::mail::{InternalDate, MessageInfo, SystemFlag};

/// What a message must be like; all of it together. What a source does not tell is never held against a
/// message: it is copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Its internal date is this or later, in seconds since 1970.
    pub since: Option<i64>,
    /// Its internal date is earlier, in seconds since 1970.
    pub before: Option<i64>,
    /// It has more bytes.
    pub larger: Option<u64>,
    /// It has fewer bytes.
    pub smaller: Option<u64>,
    /// It has been read, or has not.
    pub seen: Option<bool>,
    /// It is flagged, or is not.
    pub flagged: Option<bool>,
    /// It is marked as deleted and not expunged yet, or is not.
    pub deleted: Option<bool>,
}

impl Filter {
    /// Whether a message is to be copied.
    #[must_use]
    pub fn takes(&self, info: &MessageInfo) -> bool {
        let date = info.date.map(InternalDate::seconds);
        let size = Some(info.size).filter(|size| *size > 0);
        let has = |wanted: Option<bool>, flag| wanted.is_none_or(|w| w == info.flags.has(flag));
        self.since.zip(date).is_none_or(|(since, date)| date >= since)
            && self.before.zip(date).is_none_or(|(before, date)| date < before)
            && self.larger.zip(size).is_none_or(|(larger, size)| size > larger)
            && self.smaller.zip(size).is_none_or(|(smaller, size)| size < smaller)
            && has(self.seen, SystemFlag::Seen)
            && has(self.flagged, SystemFlag::Flagged)
            && has(self.deleted, SystemFlag::Deleted)
    }

    /// Whether its answer about a message can change while that lies in its mailbox.
    #[must_use]
    pub fn asks_for_flags(&self) -> bool {
        self.seen.or(self.flagged).or(self.deleted).is_some()
    }

    /// Tells it from any other filter.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let Self { since, before, larger, smaller, seen, flagged, deleted } = self;
        let text = format!(
            "since {since:?} before {before:?} larger {larger:?} smaller {smaller:?} \
             seen {seen:?} flagged {flagged:?} deleted {deleted:?}"
        );
        let mut digest = [0; 16];
        digest.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
        Digest(digest)
    }

    /// Whether a message is left out for nothing but its mark as deleted.
    #[must_use]
    pub fn leaves_out_as_deleted(&self, info: &MessageInfo) -> bool {
        !self.takes(info) && Self { deleted: None, ..self.clone() }.takes(info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Flags, Uid};
    use proptest::prelude::*;

    fn message(date: Option<i64>, size: u64, flags: &[&str]) -> MessageInfo {
        MessageInfo {
            uid: Uid(1),
            size,
            date: date.map(|seconds| InternalDate::new(seconds, 60)),
            flags: Flags::parse(flags.iter().copied()),
        }
    }

    #[test]
    fn each_condition_has_its_edge() {
        let takes = |filter: Filter| {
            let message = message(Some(100), 50, &["\\Seen"]);
            filter.takes(&message)
        };
        let none = Filter::default;
        assert!(takes(none()));
        assert!(takes(Filter { since: Some(100), ..none() }));
        assert!(!takes(Filter { since: Some(101), ..none() }));
        assert!(!takes(Filter { before: Some(100), ..none() }));
        assert!(takes(Filter { before: Some(101), ..none() }));
        assert!(takes(Filter { larger: Some(49), ..none() }));
        assert!(!takes(Filter { larger: Some(50), ..none() }));
        assert!(!takes(Filter { smaller: Some(50), ..none() }));
        assert!(takes(Filter { seen: Some(true), flagged: Some(false), ..none() }));
        assert!(!takes(Filter { seen: Some(true), flagged: Some(true), ..none() }));
        assert!(takes(Filter { deleted: Some(false), ..none() }));
    }

    #[test]
    fn what_is_left_out_as_deleted_would_be_taken_otherwise() {
        let filter = Filter { smaller: Some(50), deleted: Some(false), ..Filter::default() };
        let as_deleted =
            |size, flags: &[&str]| filter.leaves_out_as_deleted(&message(None, size, flags));
        assert!(as_deleted(49, &["\\Deleted", "\\Seen"]));
        assert!(!as_deleted(50, &["\\Deleted"]), "it is too large as well");
        assert!(!as_deleted(49, &["\\Seen"]), "it is taken");
    }

    #[test]
    fn what_the_source_does_not_tell_is_not_held_against_a_message() {
        let filter =
            Filter { since: Some(1), before: Some(2), larger: Some(9), ..Filter::default() };
        assert!(filter.takes(&message(None, 0, &[])));
    }

    proptest! {
        #[test]
        fn what_one_date_splits_is_together_everything(date: i64, at: i64, size: u64) {
            let message = message(Some(date), size, &[]);
            let old = Filter { before: Some(at), ..Filter::default() };
            let new = Filter { since: Some(at), ..Filter::default() };
            prop_assert!(old.takes(&message) != new.takes(&message));
        }
    }
}
