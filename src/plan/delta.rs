//! What a pass still owes one mailbox: a part of the scan against what earlier passes did.

use std::collections::BTreeSet;

use super::windows::Owed;
use crate::fate::Fate;
use crate::history::{Entry, History};
use crate::mail::{MessageInfo, Uid};

/// What is owed to the messages of a range of UIDs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// To be copied, in the order of the scan.
    pub copy: Vec<Owed>,
    /// Acknowledged by the target and not yet read back.
    pub read_back: Vec<Acknowledged>,
    /// Not copied in an earlier pass for a reason of their own: once a pass, last and alone.
    pub retry_last: Vec<Owed>,
    /// Never copied, and deleted at the source meanwhile.
    pub gone: Vec<(Uid, Entry)>,
}

/// A message that the target took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// Its UID at the source.
    pub uid: Uid,
    /// The UID that the target gave its copy.
    pub target_uid: Uid,
    /// What the ledger says of it.
    pub entry: Entry,
}

/// Decides what this pass still owes the messages of a range. `scan` and `history` are of the same
/// range; `tried` are those not copied earlier in this very pass.
#[must_use]
pub fn delta(scan: &[MessageInfo], history: &History, tried: &BTreeSet<Uid>) -> Delta {
    let mut delta = Delta::default();
    for info in scan {
        let entry = history.get(info.uid);
        let owed = |doubts| Owed { info: info.clone(), doubts };
        match entry.map(|entry| (entry.fate, entry.target_uid)) {
            None => delta.copy.push(owed(0)),
            // Read back below, whether it is still at the source or not.
            Some((Fate::Pending, Some(_))) => {}
            Some((Fate::Pending, None)) => {
                delta.copy.push(owed(entry.map_or(0, |entry| entry.doubts)));
            }
            Some((fate, _)) if fate.is_retried() && !tried.contains(&info.uid) => {
                delta.retry_last.push(owed(1));
            }
            Some(_) => {}
        }
    }
    for (uid, entry) in history.iter().filter(|(_, entry)| entry.fate == Fate::Pending) {
        match entry.target_uid {
            Some(target_uid) => {
                delta.read_back.push(Acknowledged { uid, target_uid, entry: entry.clone() });
            }
            None if scan.binary_search_by_key(&uid, |info| info.uid).is_err() => {
                delta.gone.push((uid, entry.clone()));
            }
            None => {}
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

    fn entry(fate: Fate, target_uid: Option<u32>, doubts: u8) -> Entry {
        let target_uid = target_uid.map(Uid);
        let flags = Flags::default();
        Entry { fate, target_uid, size: 1, date: None, flags, digest: None, doubts }
    }

    fn uids(owed: &[Owed]) -> Vec<u32> {
        owed.iter().map(|owed| owed.info.uid.0).collect()
    }

    #[test]
    fn what_the_ledger_does_not_know_is_copied_and_what_is_settled_is_left() {
        let history = History::new([
            (Uid(1), entry(Fate::Copied, Some(9), 0)),
            (Uid(3), entry(Fate::Held, None, 1)),
            (Uid(4), entry(Fate::Filtered, None, 0)),
        ]);
        let scan = [message(1), message(2), message(3), message(4)];
        let delta = delta(&scan, &history, &BTreeSet::new());
        assert_eq!(uids(&delta.copy), [2]);
        assert!(delta.read_back.is_empty() && delta.retry_last.is_empty());
    }

    #[test]
    fn what_was_acknowledged_is_read_back_even_if_the_source_lost_it() {
        let history = History::new([
            (Uid(1), entry(Fate::Pending, Some(8), 0)),
            (Uid(2), entry(Fate::Pending, Some(9), 0)),
        ]);
        let delta = delta(&[message(1)], &history, &BTreeSet::new());
        let target: Vec<u32> = delta.read_back.iter().map(|ack| ack.target_uid.0).collect();
        assert_eq!(target, [8, 9]);
        assert!(delta.copy.is_empty() && delta.gone.is_empty());
    }

    #[test]
    fn what_was_in_doubt_and_not_found_is_sent_again_or_gone() {
        let history = History::new([
            (Uid(1), entry(Fate::Pending, None, 2)),
            (Uid(2), entry(Fate::Pending, None, 1)),
        ]);
        let delta = delta(&[message(1)], &history, &BTreeSet::new());
        assert_eq!((uids(&delta.copy), delta.copy[0].doubts), (vec![1], 2));
        assert_eq!(delta.gone.iter().map(|(uid, _)| uid.0).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn what_was_refused_is_tried_once_a_pass() {
        let history = History::new([
            (Uid(1), entry(Fate::Refused, None, 0)),
            (Uid(2), entry(Fate::Unreadable, None, 0)),
        ]);
        let scan = [message(1), message(2)];
        let tried = BTreeSet::from([Uid(2)]);
        assert_eq!(uids(&delta(&scan, &history, &tried).retry_last), [1]);
    }
}
