//! Messages that are on the target already against messages that are still to be copied: by classes,
//! and counted, so that of two equal ones with one copy one is copied.

use std::collections::BTreeMap;

use crate::identity::{Digest, HeaderKeys};
use crate::mail::{InternalDate, Uid};

/// What makes two messages one, from strict to loose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Size, date and header lines: of a message that was read before.
    Outline(u64, Option<i64>, u64),
    /// Message-ID and Date: what stays of a letter whoever copied it, whatever servers made of the
    /// rest.
    Letter(u64),
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

impl Class {
    /// By size, date and header lines.
    #[must_use]
    pub fn outline(size: u64, date: Option<InternalDate>, headers: u64) -> Self {
        Self::Outline(size, date.map(InternalDate::seconds), headers)
    }

    /// By Message-ID and Date; none where one of them is missing.
    #[must_use]
    pub fn letter(keys: &HeaderKeys) -> Option<Self> {
        keys.letter.map(Self::Letter)
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

/// Matches by one kind of class. What is in no class on both sides is left out.
#[must_use]
pub fn match_by_class(
    wanted: impl IntoIterator<Item = (Class, Uid)>,
    there: impl IntoIterator<Item = (Class, Uid)>,
) -> Matched {
    let mut classes: BTreeMap<Class, (Vec<Uid>, Vec<Uid>)> = BTreeMap::new();
    for (class, uid) in wanted {
        classes.entry(class).or_default().0.push(uid);
    }
    for (class, uid) in there {
        if let Some((_, there)) = classes.get_mut(&class) {
            there.push(uid);
        }
    }
    let mut matched = Matched::default();
    for (class, (mut wanted, mut there)) in classes {
        wanted.sort_unstable();
        there.sort_unstable();
        let one_each = wanted.len() == 1 && there.len() == 1;
        let is_letter = matches!(class, Class::Letter(_));
        if one_each || is_letter && wanted.len() == there.len() {
            matched.pairs.extend(wanted.into_iter().zip(there));
        } else if !there.is_empty() {
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

    fn letters(list: &[(u64, u32)]) -> Vec<(Class, Uid)> {
        list.iter().map(|(letter, uid)| (Class::Letter(*letter), Uid(*uid))).collect()
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
        let class = Class::Outline(1, None, 2);
        let list = |uids: [u32; 3]| uids.map(|uid| (class, Uid(uid)));
        let matched = match_by_class(list([1, 2, 3]), list([11, 12, 13]));
        assert_eq!(matched.pairs, []);
        let [unclear] = &matched.unclear[..] else { panic!("{matched:?}") };
        let told = [(Uid(1), Uid(12))];
        assert_eq!(unclear.rest(&told), [(Uid(2), Uid(11)), (Uid(3), Uid(13))]);
        let fewer = Unclear { there: vec![Uid(11), Uid(12)], ..unclear.clone() };
        assert_eq!(fewer.rest(&told), []);
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
