//! What a pass still owes one mailbox: a part of the scan against what earlier passes did.

use std::collections::BTreeSet;

use super::filter::Filter;
use super::windows::Owed;
use crate::fate::Fate;
use crate::history::{Entry, History, Troubles};
use crate::mail::{Flags, MessageInfo, Uid};

/// What is owed to the messages of a range of UIDs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// To be copied, in the order of the scan.
    pub copy: Vec<Owed>,
    /// Not copied in an earlier pass for a reason of their own: once a pass, last and alone.
    pub retry_last: Vec<Owed>,
    /// Without a copy, and deleted at the source meanwhile.
    pub gone: Vec<(Uid, Entry)>,
    /// Left out by the filter, and not noted as such yet.
    pub filtered: Vec<Owed>,
    /// Whether the filter leaves out any, noted or not.
    pub left_out: bool,
    /// Copied, and with other flags at the source now than at the last pass.
    pub reflag: Vec<Reflag>,
}

/// A copy whose flags are to follow the source's. Only what changed there is set or taken away, so
/// that what its owner set at the target stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reflag {
    /// The message.
    pub uid: Uid,
    /// Its copy.
    pub target_uid: Uid,
    /// Its flags at the last pass.
    pub before: Flags,
    /// Its flags now.
    pub now: Flags,
    /// Flags of which it is not known whether the copy has them.
    pub in_doubt: Flags,
}

impl Reflag {
    /// The flags that the copy is to have, as they stand on the wire: set since, or in doubt.
    #[must_use]
    pub fn set(&self) -> Vec<String> {
        let mut names = self.now.missing_in(&self.before);
        let kept = self.now.common_with(&self.in_doubt);
        names.extend(kept.missing_in(&Flags::parse(names.iter().map(String::as_str))));
        names
    }

    /// The flags that the copy is not to have, as they stand on the wire: taken away since, or in
    /// doubt.
    #[must_use]
    pub fn unset(&self) -> Vec<String> {
        let mut names = self.before.missing_in(&self.now);
        let gone = self.in_doubt.missing_in(&self.now);
        let known = Flags::parse(names.iter().map(String::as_str));
        names.extend(Flags::parse(gone.iter().map(String::as_str)).missing_in(&known));
        names
    }

    /// All flags that are set or taken away.
    #[must_use]
    pub fn touched(&self) -> Flags {
        let (set, unset) = (self.set(), self.unset());
        Flags::parse(set.iter().chain(&unset).map(String::as_str))
    }
}

/// Decides whether a copy's flags are to follow; `flags` are the source's now.
#[must_use]
pub fn reflag(uid: Uid, flags: &Flags, history: &History) -> Option<Reflag> {
    let known = history.get(uid)?;
    let target_uid = known.target_uid.filter(|_| known.fate.is_there())?;
    let (before, now) = (known.flags.clone(), flags.clone());
    let in_doubt = history.flags_in_doubt(uid).cloned().unwrap_or_default();
    let reflag = Reflag { uid, target_uid, before, now, in_doubt };
    (!reflag.set().is_empty() || !reflag.unset().is_empty()).then_some(reflag)
}

/// Whether a message that was left out is to be copied now that it has these flags.
#[must_use]
pub fn is_taken_now(uid: Uid, flags: &Flags, history: &History, filter: &Filter) -> bool {
    history.get(uid).filter(|known| known.fate == Fate::Filtered).is_some_and(|known| {
        let (size, date, flags) = (known.size, known.date, flags.clone());
        filter.takes(&MessageInfo { uid, size, date, flags })
    })
}

/// Decides what this pass still owes the messages of a range. `scan` and `history` are of the same
/// range, and nothing in it is in doubt any more; `tried` are those not copied earlier in this very
/// pass. What `takes` says is about what has no copy yet, whatever an earlier pass said.
#[must_use]
pub fn delta(
    scan: &[MessageInfo],
    history: &History,
    tried: &BTreeSet<Uid>,
    takes: impl Fn(&MessageInfo) -> bool,
) -> Delta {
    let mut delta = Delta::default();
    for info in scan {
        let owed = |troubles| Owed::new(info.clone(), troubles);
        let known = history.get(info.uid);
        delta.reflag.extend(reflag(info.uid, &info.flags, history));
        let is_taken = takes(info);
        match known.map(|entry| (entry.fate, entry.troubles)) {
            None if !is_taken => delta.filtered.push(owed(Troubles::default())),
            Some((Fate::Gone, troubles)) if !is_taken => delta.filtered.push(owed(troubles)),
            Some((Fate::Filtered, _)) if !is_taken => delta.left_out = true,
            // What was gone and is there again was never copied.
            Some((Fate::Filtered | Fate::Gone, troubles)) if is_taken => {
                delta.copy.push(owed(troubles));
            }
            None => delta.copy.push(owed(Troubles::default())),
            Some((Fate::Pending, troubles)) => {
                // One that is in doubt repaired is sent again so: a late copy of it is known then.
                let changed = known.and_then(|entry| entry.changed.as_deref());
                let repairs = changed.map(|changed| changed.repairs);
                let repairs = repairs.unwrap_or_default();
                delta.copy.push(Owed { repairs, ..owed(troubles) });
            }
            Some((fate, troubles)) if fate.is_retried() && !tried.contains(&info.uid) => {
                delta.retry_last.push(owed(Troubles { doubts: 1, ..troubles }));
            }
            Some(_) => {}
        }
    }
    delta.left_out |= !delta.filtered.is_empty();
    let is_owed = |fate: Fate| matches!(fate, Fate::Pending | Fate::Filtered) || fate.is_retried();
    for (uid, entry) in history.iter().filter(|(_, entry)| is_owed(entry.fate)) {
        if scan.binary_search_by_key(&uid, |info| info.uid).is_err() {
            delta.gone.push((uid, entry.clone()));
        }
    }
    delta
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::mail::Flags;

    fn message(uid: u32) -> MessageInfo {
        MessageInfo { uid: Uid(uid), size: 1, date: None, flags: Flags::default() }
    }

    fn entry(fate: Fate, doubts: u8) -> Entry {
        let troubles = Troubles { doubts, losses: 0 };
        let flags = Flags::default();
        let (target_uid, risky) = (None, false);
        let (digest, changed) = (None, None);
        Entry { fate, target_uid, size: 1, date: None, flags, digest, troubles, risky, changed }
    }

    fn uids(owed: &[Owed]) -> Vec<u32> {
        owed.iter().map(|owed| owed.info.uid.0).collect()
    }

    #[test]
    fn what_the_ledger_does_not_know_is_copied_and_what_is_settled_is_left() {
        let history =
            History::new([(Uid(1), entry(Fate::Copied, 0)), (Uid(3), entry(Fate::Held, 1))]);
        let scan = [message(1), message(2), message(3)];
        let delta = delta(&scan, &history, &BTreeSet::new(), |_| true);
        assert_eq!(uids(&delta.copy), [2]);
        assert!(delta.retry_last.is_empty());
    }

    #[test]
    fn what_the_filter_leaves_out_is_noted_once_and_owed_when_a_later_one_takes_it() {
        let history = History::new([
            (Uid(1), entry(Fate::Filtered, 0)),
            (Uid(2), entry(Fate::Copied, 0)),
            (Uid(3), entry(Fate::Pending, 1)),
        ]);
        let scan = [message(1), message(2), message(3), message(4)];
        let narrow = Filter { larger: Some(1), ..Filter::default() };
        let first = delta(&scan, &history, &BTreeSet::new(), |info| narrow.takes(info));
        // What was being sent is seen through.
        assert_eq!((uids(&first.copy), uids(&first.filtered)), (vec![3], vec![4]));
        let later = delta(&scan, &history, &BTreeSet::new(), |_| true);
        assert_eq!((uids(&later.copy), uids(&later.filtered)), (vec![1, 3, 4], vec![]));
    }

    #[test]
    fn what_was_in_doubt_and_not_found_is_sent_again_or_gone() {
        let history =
            History::new([(Uid(1), entry(Fate::Pending, 2)), (Uid(2), entry(Fate::Pending, 1))]);
        let delta = delta(&[message(1)], &history, &BTreeSet::new(), |_| true);
        assert_eq!((uids(&delta.copy), delta.copy[0].troubles.doubts), (vec![1], 2));
        assert_eq!(delta.gone.iter().map(|(uid, _)| uid.0).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn what_has_no_copy_is_gone_when_the_source_lists_it_no_more_and_owed_when_it_is_back() {
        let fates = [
            Fate::Copied,
            Fate::Filtered,
            Fate::Refused,
            Fate::Unreadable,
            Fate::Lost,
            Fate::Held,
            Fate::Gone,
        ];
        let entries = (1..).map(Uid).zip(fates.map(|fate| entry(fate, 0)));
        let history = History::new(entries);
        let delta = |scan: &[MessageInfo]| delta(scan, &history, &BTreeSet::new(), |_| true);
        let gone = delta(&[]).gone;
        assert_eq!(gone.iter().map(|(uid, _)| uid.0).collect::<Vec<_>>(), [2, 3, 4, 5]);
        assert_eq!(uids(&delta(&[message(6), message(7)]).copy), [7]);
    }

    #[test]
    fn flags_follow_where_there_is_a_copy_and_only_by_what_changed() {
        let copied = |fate, target_uid, flags: &[&str]| Entry {
            target_uid,
            flags: Flags::parse(flags.iter().copied()),
            ..entry(fate, 0)
        };
        let history = History::new([
            (Uid(1), copied(Fate::Copied, Some(Uid(11)), &["\\Seen", "Work"])),
            (Uid(2), copied(Fate::Adopted, Some(Uid(12)), &["work"])),
            (Uid(3), copied(Fate::Copied, None, &[])),
            (Uid(4), copied(Fate::Pending, Some(Uid(14)), &[])),
        ]);
        let now = |uid, flags: &[&str]| MessageInfo {
            flags: Flags::parse(flags.iter().copied()),
            ..message(uid)
        };
        let scan = [
            now(1, &["\\Flagged", "Work"]),
            now(2, &["WORK"]),
            now(3, &["\\Seen"]),
            now(4, &["\\Seen"]),
        ];
        let delta = delta(&scan, &history, &BTreeSet::new(), |_| true);
        let [one] = delta.reflag.as_slice() else { panic!("{:?}", delta.reflag) };
        assert_eq!((one.uid, one.target_uid), (Uid(1), Uid(11)));
        assert_eq!((one.set(), one.unset()), (vec!["\\Flagged".into()], vec!["\\Seen".into()]));
    }

    #[test]
    fn flags_in_doubt_are_set_or_taken_away_again() {
        let flags = |names: &[&str]| Flags::parse(names.iter().copied());
        let copied = Entry {
            target_uid: Some(Uid(11)),
            flags: flags(&["\\Seen"]),
            ..entry(Fate::Copied, 0)
        };
        let history = History::new([(Uid(1), copied)])
            .with_flags_in_doubt([(Uid(1), flags(&["\\Seen", "\\Draft", "Work"]))]);
        let scan = [MessageInfo { flags: flags(&["\\Seen", "Work"]), ..message(1) }];
        let delta = delta(&scan, &history, &BTreeSet::new(), |_| true);
        let [one] = delta.reflag.as_slice() else { panic!("{:?}", delta.reflag) };
        assert_eq!(one.set(), ["Work", "\\Seen"]);
        assert_eq!(one.unset(), ["\\Draft"]);
        assert_eq!(one.touched(), flags(&["Work", "\\Seen", "\\Draft"]));
    }

    #[test]
    fn what_was_refused_is_tried_once_a_pass() {
        let history =
            History::new([(Uid(1), entry(Fate::Refused, 0)), (Uid(2), entry(Fate::Unreadable, 0))]);
        let scan = [message(1), message(2)];
        let tried = BTreeSet::from([Uid(2)]);
        assert_eq!(uids(&delta(&scan, &history, &tried, |_| true).retry_last), [1]);
    }

    /// What a pass leaves behind that did everything owed: copies, notes, flags.
    fn after(history: &History, delta: &Delta) -> History {
        let mut entries: BTreeMap<Uid, Entry> =
            history.iter().map(|(uid, entry)| (uid, entry.clone())).collect();
        let of = |info: &MessageInfo, fate, target_uid| Entry {
            target_uid,
            flags: info.flags.clone(),
            ..entry(fate, 0)
        };
        for owed in delta.copy.iter().chain(&delta.retry_last) {
            let uid = owed.info.uid;
            entries.insert(uid, of(&owed.info, Fate::Copied, Some(Uid(uid.0 + 1_000))));
        }
        for owed in &delta.filtered {
            entries.insert(owed.info.uid, of(&owed.info, Fate::Filtered, None));
        }
        for (uid, known) in &delta.gone {
            entries.insert(*uid, Entry { fate: Fate::Gone, ..known.clone() });
        }
        for reflag in &delta.reflag {
            if let Some(known) = entries.get_mut(&reflag.uid) {
                known.flags = reflag.now.clone();
            }
        }
        History::new(entries)
    }

    fn some_flags() -> impl Strategy<Value = Flags> {
        let names = prop::sample::subsequence(vec!["\\Seen", "\\Deleted", "Work", "work"], 0..4);
        names.prop_map(Flags::parse)
    }

    proptest! {
        #[test]
        fn a_plan_after_a_pass_owes_nothing(
            listed in prop::collection::btree_map(1..12_u32, some_flags(), 0..10),
            known in prop::collection::btree_map(
                1..12_u32,
                (prop::sample::select(Fate::ALL.to_vec()), some_flags(), any::<bool>(), some_flags()),
                0..10,
            ),
            larger in prop::option::of(0..3_u64),
        ) {
            let scan: Vec<MessageInfo> = listed
                .into_iter()
                .map(|(uid, flags)| MessageInfo { flags, size: u64::from(uid % 3), ..message(uid) })
                .collect();
            let entries = known.iter().map(|(uid, (fate, flags, has_copy, _))| {
                let target_uid = has_copy.then_some(Uid(uid + 1_000));
                (Uid(*uid), Entry { target_uid, flags: flags.clone(), ..entry(*fate, 0) })
            });
            let in_doubt = known.iter().map(|(uid, known)| (Uid(*uid), known.3.clone()));
            let history = History::new(entries).with_flags_in_doubt(in_doubt);
            let filter = Filter { larger, ..Filter::default() };
            let first = delta(&scan, &history, &BTreeSet::new(), |info| filter.takes(info));
            // No message is owed in two ways, and none that has a copy is sent.
            let owed = || first.copy.iter().chain(&first.retry_last).chain(&first.filtered);
            let uids: BTreeSet<Uid> = owed().map(|owed| owed.info.uid).collect();
            prop_assert_eq!(uids.len(), owed().count());
            let has_copy = |uid: &Uid| history.get(*uid).is_some_and(|known| known.fate.is_there());
            prop_assert!(!uids.iter().any(has_copy));
            let after = after(&history, &first);
            let left = Delta { left_out: first.left_out, ..Delta::default() };
            let takes = |info: &MessageInfo| filter.takes(info);
            prop_assert_eq!(delta(&scan, &after, &BTreeSet::new(), takes), left);
        }
    }
}
