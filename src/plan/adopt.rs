//! Messages that are on the target already against messages that are still to be copied: by classes,
//! and counted, so that of two equal ones with one copy one is copied.

use std::collections::BTreeMap;

use crate::identity::{Digest, HeaderKeys};
use crate::mail::{InternalDate, Uid};

/// What makes two messages one.
pub trait Class: Ord {
    /// Whether as many on both sides are the same messages, whatever their bodies are.
    const COUNTS_PROVE: bool;
}

/// Size, date and header lines: of a message that was read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outline(u64, Option<i64>, u64);

/// Message-ID and Date: what stays of a letter whoever copied it, whatever servers made of the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Letter(pub u64);

impl Class for Outline {
    const COUNTS_PROVE: bool = false;
}

impl Class for Letter {
    const COUNTS_PROVE: bool = true;
}

impl Outline {
    /// By size, date and header lines; none where there are no such lines, which all messages without them have
    /// in common.
    #[must_use]
    pub fn of(size: u64, date: Option<InternalDate>, headers: u64) -> Option<Self> {
        HeaderKeys::tells(headers).then(|| Self(size, date.map(InternalDate::seconds), headers))
    }
}

impl Letter {
    /// By Message-ID and Date; none where one of them is missing.
    #[must_use]
    pub fn of(keys: &HeaderKeys) -> Option<Self> {
        keys.letter.map(Self)
    }
}

impl Unclear {
    /// What the bodies did not tell of a class with equal counts, in order: a server may make another
    /// body of the same message each time it is read.
    #[must_use]
    pub fn rest(&self, told: &[(Uid, Uid)]) -> Vec<(Uid, Uid)> {
        if self.wanted.len() != self.there.len() {
            return Vec::new();
        }
        let wanted = self.wanted.iter().filter(|uid| told.iter().all(|(told, _)| told != *uid));
        let there = self.there.iter().filter(|uid| told.iter().all(|(_, told)| told != *uid));
        wanted.copied().zip(there.copied()).collect()
    }
}

/// Which messages are there already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matched {
    /// A message and the UID of its copy.
    pub pairs: Vec<(Uid, Uid)>,
    /// Classes with other counts on both sides, and those of messages known by their outline that have
    /// namesakes: only bodies can tell.
    pub unclear: Vec<Unclear>,
}

/// A class of which some copies may be there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unclear {
    /// Messages to be copied.
    pub wanted: Vec<Uid>,
    /// Messages on the target.
    pub there: Vec<Uid>,
}

/// Matches by one kind of class. What is in no class on both sides is left out. Nothing is held but the
/// lists, as there may be a million messages on either side.
#[must_use]
pub fn match_by_class<C: Class>(mut wanted: Vec<(C, Uid)>, mut there: Vec<(C, Uid)>) -> Matched {
    wanted.sort_unstable();
    there.sort_unstable();
    let uids = |class: &[(C, Uid)]| class.iter().map(|(_, uid)| *uid).collect::<Vec<Uid>>();
    let mut there = there.as_slice();
    let mut matched = Matched::default();
    for of_class in wanted.chunk_by(|(class, _), (next, _)| class == next) {
        let class = &of_class[0].0;
        there = &there[there.partition_point(|(other, _)| other < class)..];
        let (of_class_there, rest) =
            there.split_at(there.partition_point(|(other, _)| other == class));
        there = rest;
        let one_each = of_class.len() == 1 && of_class_there.len() == 1;
        if one_each || C::COUNTS_PROVE && of_class.len() == of_class_there.len() {
            let pairs = of_class.iter().zip(of_class_there);
            matched.pairs.extend(pairs.map(|((_, uid), (_, there))| (*uid, *there)));
        } else if !of_class_there.is_empty() {
            let (wanted, there) = (uids(of_class), uids(of_class_there));
            matched.unclear.push(Unclear { wanted, there });
        }
    }
    matched
}

/// Takes out of what was matched what is more likely a copy that was claimed before, and is not where
/// it was seen any more: its owner may have moved it away and back. Whoever loses its match is copied,
/// so that nothing is lost if that is not so. `stored` gives the octets of what is there, `lapsed` those of
/// the claims; gives which of them have their copies where.
#[must_use]
pub fn give_back<Key>(
    pairs: &mut BTreeMap<Uid, Uid>,
    stored: impl Fn(Uid) -> Option<Digest>,
    lapsed: impl IntoIterator<Item = (Key, Digest)>,
) -> Vec<(Key, Uid)> {
    let mut given = Vec::new();
    for (key, digest) in lapsed {
        let equal = pairs.iter().find(|(_, target_uid)| stored(**target_uid) == Some(digest));
        if let Some((uid, target_uid)) = equal.map(|(uid, target_uid)| (*uid, *target_uid)) {
            pairs.remove(&uid);
            given.push((key, target_uid));
        }
    }
    given
}

/// Whether a target mailbox that is seen for the first time looks like another's: it holds many
/// messages, and most of them are no copies of what is to be copied there.
#[must_use]
pub fn looks_foreign(there: usize, matched: usize) -> bool {
    const MESSAGES_MIN: usize = 20;
    there >= MESSAGES_MIN && matched * 2 < there
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters(list: &[(u64, u32)]) -> Vec<(Letter, Uid)> {
        list.iter().map(|(letter, uid)| (Letter(*letter), Uid(*uid))).collect()
    }

    #[test]
    fn as_many_on_both_sides_are_pairs_and_other_counts_are_unclear() {
        let wanted = letters(&[(1, 10), (2, 11), (2, 12), (3, 13), (4, 14)]);
        let there = letters(&[(2, 5), (2, 4), (3, 6), (3, 7), (9, 8)]);
        let matched = match_by_class(wanted, there);
        assert_eq!(matched.pairs, [(Uid(11), Uid(4)), (Uid(12), Uid(5))]);
        assert_eq!(
            matched.unclear,
            [Unclear { wanted: vec![Uid(13)], there: vec![Uid(6), Uid(7)] }]
        );
    }

    #[test]
    fn namesakes_known_by_their_outline_are_told_by_their_bodies_and_the_rest_by_order() {
        let class = Outline::of(1, None, 2).expect("it has header lines");
        let list = |uids: [u32; 3]| uids.map(|uid| (class, Uid(uid))).to_vec();
        let matched = match_by_class(list([1, 2, 3]), list([11, 12, 13]));
        assert_eq!(matched.pairs, []);
        let [unclear] = &matched.unclear[..] else { panic!("{matched:?}") };
        let told = [(Uid(1), Uid(12))];
        assert_eq!(unclear.rest(&told), [(Uid(2), Uid(11)), (Uid(3), Uid(13))]);
        let fewer = Unclear { there: vec![Uid(11), Uid(12)], ..unclear.clone() };
        assert_eq!(fewer.rest(&told), []);
    }

    #[test]
    fn what_has_no_header_lines_has_no_outline() {
        assert_eq!(Outline::of(16, None, HeaderKeys::of(b"no header\r\n").headers), None);
    }

    #[test]
    fn what_was_claimed_before_comes_first() {
        let mut pairs = BTreeMap::from([(Uid(1), Uid(11)), (Uid(2), Uid(12)), (Uid(3), Uid(13))]);
        let digest = |octet| Digest([octet; 16]);
        let stored = |uid: Uid| (uid != Uid(13)).then_some(digest(7));
        let lapsed = [('a', 7), ('b', 8), ('c', 7), ('d', 7)].map(|(key, it)| (key, digest(it)));
        let given = give_back(&mut pairs, stored, lapsed);
        assert_eq!(given, [('a', Uid(11)), ('c', Uid(12))]);
        assert_eq!(pairs, BTreeMap::from([(Uid(3), Uid(13))]));
    }

    #[test]
    fn a_mailbox_with_mostly_other_mail_looks_foreign() {
        assert!(!looks_foreign(19, 0));
        assert!(looks_foreign(20, 9));
        assert!(!looks_foreign(20, 10));
    }
}
