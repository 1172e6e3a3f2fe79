//! What a read-back says of a copy.

use crate::fate::{Remark, RemarkKind};
use crate::history::Entry;
use crate::identity::Identity;
use crate::mail::Uid;
use crate::target::Found;

/// What a read-back says of one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is there, with these remarks.
    Copied(Vec<Remark>),
    /// Something of another size is there: its body must tell whether it is the copy.
    Compare(Vec<Remark>),
    /// It is not there, and no message was ever stored at its UID.
    NeverStored,
    /// It is not there, and something was: its owner removed it.
    Removed,
}

/// Judges one copy: `found` is what stands at its UID, `uid_next` the target's UIDNEXT now.
#[must_use]
pub fn judge(entry: &Entry, target_uid: Uid, found: Option<&Found>, uid_next: Uid) -> Verdict {
    let Some(found) = found else {
        return if target_uid >= uid_next {
            Verdict::NeverStored
        } else {
            Verdict::Removed
        };
    };
    let mut remarks = Vec::new();
    if let (Some(sent), stored) = (entry.date, found.date)
        && stored != Some(sent)
    {
        let stored = stored.map_or_else(|| "none".to_owned(), |date| date.to_string());
        let text = format!("sent {sent}, the target has {stored}");
        remarks.push(Remark::new(RemarkKind::DateAltered, text));
    }
    let reduced = entry.flags.missing_in(&found.flags);
    if !reduced.is_empty() {
        remarks.push(Remark::new(RemarkKind::FlagsReduced, reduced.join(" ")));
    }
    if found.size == entry.size {
        return Verdict::Copied(remarks);
    }
    let text = format!("sent {} octets, the target has {}", entry.size, found.size);
    remarks.push(Remark::new(RemarkKind::BytesAltered, text));
    Verdict::Compare(remarks)
}

/// Whether a body of another size is the copy of a message, as its server rewrote it.
#[must_use]
pub fn is_rewritten(entry: &Entry, stored: &Identity) -> bool {
    // Without digests there is nothing to compare with: the size alone proves nothing.
    entry
        .digest
        .is_none_or(|(exact, headers)| stored.exact == exact || stored.headers == headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fate::Fate;
    use crate::mail::{Flags, InternalDate};

    fn entry() -> Entry {
        Entry {
            fate: Fate::Pending,
            target_uid: Some(Uid(7)),
            size: 10,
            date: Some(InternalDate::new(5, 0)),
            flags: Flags::parse(["\\Seen", "Work"]),
            digest: None,
            doubts: 0,
        }
    }

    fn found() -> Found {
        let entry = entry();
        Found {
            uid: Uid(7),
            size: entry.size,
            date: entry.date,
            flags: entry.flags,
        }
    }

    fn kinds(verdict: Verdict) -> Vec<RemarkKind> {
        match verdict {
            Verdict::Copied(remarks) | Verdict::Compare(remarks) => {
                remarks.into_iter().map(|remark| remark.kind).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_equal_copy_needs_no_remark() {
        assert_eq!(
            judge(&entry(), Uid(7), Some(&found()), Uid(8)),
            Verdict::Copied(Vec::new())
        );
    }

    #[test]
    fn each_difference_has_its_remark() {
        let other = Found {
            size: 11,
            date: None,
            flags: Flags::parse(["\\Seen"]),
            ..found()
        };
        let verdict = judge(&entry(), Uid(7), Some(&other), Uid(8));
        use RemarkKind::{BytesAltered, DateAltered, FlagsReduced};
        assert_eq!(kinds(verdict), [DateAltered, FlagsReduced, BytesAltered]);
    }

    #[test]
    fn what_is_missing_was_never_stored_or_was_removed() {
        assert_eq!(judge(&entry(), Uid(7), None, Uid(7)), Verdict::NeverStored);
        assert_eq!(judge(&entry(), Uid(7), None, Uid(8)), Verdict::Removed);
    }
}
