//! What a pass still owes one mailbox: a part of the scan against what earlier passes did.

use std::collections::BTreeSet;

use super::windows::Owed;
use crate::fate::Fate;
use crate::history::{Entry, History, Troubles};
use crate::mail::{MessageInfo, Uid};

/// What is owed to the messages of a range of UIDs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// To be copied, in the order of the scan.
    pub copy: Vec<Owed>,
    /// Not copied in an earlier pass for a reason of their own: once a pass, last and alone.
    pub retry_last: Vec<Owed>,
    /// Never copied, and deleted at the source meanwhile.
    pub gone: Vec<(Uid, Entry)>,
}

/// Decides what this pass still owes the messages of a range. `scan` and `history` are of the same
/// range, and nothing in it is in doubt any more; `tried` are those not copied earlier in this very
/// pass.
#[must_use]
pub fn delta(scan: &[MessageInfo], history: &History, tried: &BTreeSet<Uid>) -> Delta {
    let mut delta = Delta::default();
    for info in scan {
        let owed = |troubles| Owed { info: info.clone(), troubles };
        match history.get(info.uid).map(|entry| (entry.fate, entry.troubles)) {
            None => delta.copy.push(owed(Troubles::default())),
            Some((Fate::Pending, troubles)) => delta.copy.push(owed(troubles)),
            Some((fate, troubles)) if fate.is_retried() && !tried.contains(&info.uid) => {
                delta.retry_last.push(owed(Troubles { doubts: 1, ..troubles }));
            }
            Some(_) => {}
        }
    }
    for (uid, entry) in history.iter().filter(|(_, entry)| entry.fate == Fate::Pending) {
        if scan.binary_search_by_key(&uid, |info| info.uid).is_err() {
            delta.gone.push((uid, entry.clone()));
        }
    }
    delta
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Flags;

    fn message(uid: u32) -> MessageInfo {
        MessageInfo { uid: Uid(uid), size: 1, date: None, flags: Flags::default() }
    }

    fn entry(fate: Fate, doubts: u8) -> Entry {
        let troubles = Troubles { doubts, losses: 0 };
        let flags = Flags::default();
        let (target_uid, risky) = (None, false);
        Entry { fate, target_uid, size: 1, date: None, flags, digest: None, troubles, risky }
    }

    fn uids(owed: &[Owed]) -> Vec<u32> {
        owed.iter().map(|owed| owed.info.uid.0).collect()
    }

    #[test]
    fn what_the_ledger_does_not_know_is_copied_and_what_is_settled_is_left() {
        let history = History::new([
            (Uid(1), entry(Fate::Copied, 0)),
            (Uid(3), entry(Fate::Held, 1)),
            (Uid(4), entry(Fate::Filtered, 0)),
        ]);
        let scan = [message(1), message(2), message(3), message(4)];
        let delta = delta(&scan, &history, &BTreeSet::new());
        assert_eq!(uids(&delta.copy), [2]);
        assert!(delta.retry_last.is_empty());
    }

    #[test]
    fn what_was_in_doubt_and_not_found_is_sent_again_or_gone() {
        let history =
            History::new([(Uid(1), entry(Fate::Pending, 2)), (Uid(2), entry(Fate::Pending, 1))]);
        let delta = delta(&[message(1)], &history, &BTreeSet::new());
        assert_eq!((uids(&delta.copy), delta.copy[0].troubles.doubts), (vec![1], 2));
        assert_eq!(delta.gone.iter().map(|(uid, _)| uid.0).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn what_was_refused_is_tried_once_a_pass() {
        let history =
            History::new([(Uid(1), entry(Fate::Refused, 0)), (Uid(2), entry(Fate::Unreadable, 0))]);
        let scan = [message(1), message(2)];
        let tried = BTreeSet::from([Uid(2)]);
        assert_eq!(uids(&delta(&scan, &history, &tried).retry_last), [1]);
    }
}
