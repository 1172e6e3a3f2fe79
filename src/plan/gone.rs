//! Which messages are not at the source any more. What was copied of them stays at the target.

use std::collections::BTreeSet;

use crate::fate::Fate;
use crate::history::{Entry, History};
use crate::ledger::Watermark;
use crate::mail::{MailboxStatus, Uid};

/// Whether any message that was there at the watermark may be gone, by the counts alone: a mailbox
/// that has as many more messages as UIDs were given since has lost none.
#[must_use]
pub fn may_have_lost(mark: Option<&Watermark>, status: Option<&MailboxStatus>) -> bool {
    let (Some(mark), Some(status)) = (mark, status) else {
        return true;
    };
    let Some(uid_next) = status.uid_next else {
        return true;
    };
    let new = u64::from(uid_next.0.saturating_sub(mark.uid_next.0));
    status.messages < mark.listed + new
}

/// What of a part of a mailbox is not there any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gone {
    /// Messages with a copy.
    pub copied: Vec<(Uid, Entry)>,
    /// Messages without one that nothing is to be looked up of.
    pub never_copied: Vec<(Uid, Entry)>,
    /// Messages that were sent and not found: a pass looks once more, where there is still one.
    pub pending: Vec<(Uid, Entry)>,
}

/// Decides what is gone; `listed` and `history` are of the same range of UIDs. What may be on the target
/// stays what it is.
#[must_use]
pub fn gone(listed: &BTreeSet<Uid>, history: &History) -> Gone {
    let mut gone = Gone::default();
    for (uid, entry) in history.iter().filter(|(uid, _)| !listed.contains(uid)) {
        let list = match entry.fate {
            Fate::Copied | Fate::Adopted | Fate::Merged => &mut gone.copied,
            Fate::Filtered | Fate::Refused | Fate::Unreadable => &mut gone.never_copied,
            Fate::Pending => &mut gone.pending,
            Fate::Gone | Fate::Held | Fate::Lost => continue,
        };
        list.push((uid, entry.clone()));
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Troubles;
    use crate::ledger::ScanTotals;
    use crate::mail::Flags;

    const MARK: Watermark = Watermark {
        uid_next: Uid(10),
        modseq: None,
        listed: 7,
        counted: ScanTotals { messages: 9, bytes: 90, vanished: 2, uid_next: 10 },
        filter: None,
    };

    fn status(messages: u64, uid_next: u32) -> MailboxStatus {
        let uid_next = Some(Uid(uid_next)).filter(|uid| uid.0 > 0);
        MailboxStatus { messages, uid_next, ..MailboxStatus::default() }
    }

    #[test]
    fn counts_tell_where_nothing_can_be_gone() {
        let may = |status| may_have_lost(Some(&MARK), Some(&status));
        assert!(!may(status(7, 10)));
        assert!(!may(status(9, 12)));
        assert!(may(status(6, 10)));
        // One came, and one of before is gone; or two came and one of them is gone again.
        assert!(may(status(7, 11)));
        assert!(may(status(8, 12)));
        assert!(may(status(7, 0)), "it does not tell");
        assert!(may_have_lost(None, Some(&status(7, 10))));
        assert!(may_have_lost(Some(&MARK), None));
    }

    #[test]
    fn what_has_a_copy_and_what_never_had_one_is_told_apart() {
        let entry = |fate| Entry {
            fate,
            target_uid: None,
            size: 1,
            date: None,
            flags: Flags::default(),
            digest: None,
            changed: None,
            troubles: Troubles::default(),
            risky: false,
        };
        let fates = [
            (1, Fate::Copied),
            (2, Fate::Copied),
            (3, Fate::Adopted),
            (4, Fate::Filtered),
            (5, Fate::Gone),
            (6, Fate::Held),
            (7, Fate::Refused),
            (8, Fate::Pending),
        ];
        let history = History::new(fates.map(|(uid, fate)| (Uid(uid), entry(fate))));
        let uids = |list: &[(Uid, Entry)]| list.iter().map(|(uid, _)| uid.0).collect::<Vec<_>>();
        let gone = gone(&BTreeSet::from([Uid(2), Uid(9)]), &history);
        assert_eq!((uids(&gone.copied), uids(&gone.never_copied)), (vec![1, 3], vec![4, 7]));
        assert_eq!(uids(&gone.pending), [8]);
    }
}
