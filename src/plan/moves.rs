//! Messages that their owner moved at the source: which these are, and what became of a MOVE of their
//! copies whose outcome is not known.

use std::collections::BTreeMap;

use crate::fate::{Fate, Remark, RemarkKind};
use crate::history::{Entry, Troubles};
use crate::identity::Digest;
use crate::ledger::{Doubt, MailboxId, Outcome};
use crate::mail::{InternalDate, Uid, WireName};
use crate::plan::sweep::Key;

/// A message in one of the two places, by what tells it from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which message.
    pub key: Key,
    /// Its octets.
    pub digest: Digest,
    /// Its internal date, which a move keeps (RFC 9051 section 6.4.7).
    pub date: Option<InternalDate>,
    /// The target mailbox where its copy is, or belongs.
    pub target: WireName,
}

/// What is equal in both places.
type Class = (Digest, Option<i64>);

impl Place {
    fn class(&self) -> Class {
        (self.digest, self.date.map(InternalDate::seconds))
    }
}

/// Pairs messages that are gone with equal ones that are new, each once: first those that stay in
/// their target mailbox. Gives the indices of both.
#[must_use]
pub fn pairs(gone: &[Place], new: &[Place]) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    let mut taken = (vec![false; gone.len()], vec![false; new.len()]);
    for stays in [true, false] {
        let mut by_class: BTreeMap<Class, Vec<usize>> = BTreeMap::new();
        for (index, one) in gone.iter().enumerate().rev().filter(|(index, _)| !taken.0[*index]) {
            by_class.entry(one.class()).or_default().push(index);
        }
        for (index, one) in new.iter().enumerate() {
            if taken.1[index] {
                continue;
            }
            let Some(equal) = by_class.get_mut(&one.class()) else {
                continue;
            };
            let fits = |other: &usize| !stays || gone[*other].target == one.target;
            if let Some(at) = equal.iter().rposition(fits) {
                let other = equal.remove(at);
                (taken.0[other], taken.1[index]) = (true, true);
                pairs.push((other, index));
            }
        }
    }
    pairs
}

/// A move at the source, and what is known of its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// The message where it was.
    pub from: Key,
    /// The message where it is now.
    pub to: Key,
    /// What is known of it, with its copy.
    pub entry: Entry,
    /// Where it is now, for people.
    pub to_path: String,
    /// No copy of it in its new place has a lower UID.
    pub lo: Uid,
}

/// What was seen of a copy whose MOVE may or may not have taken effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Whether it is where it was, and where one like it is in its new place.
    Looked(bool, Option<Uid>),
    /// Whether it is where it was; whether one in the new place is this one's cannot be told.
    Undecided(bool),
}

/// What is to be written down of a move.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// What became of the message in both places.
    pub outcomes: Vec<(MailboxId, Outcome)>,
    /// That a late copy may still appear in its new place.
    pub doubt: Option<Doubt>,
    /// What is to be said of the message where it was, beside what is said already.
    pub remark: Option<(Key, String)>,
}

/// Decides what became of a message whose copy was to be moved.
#[must_use]
pub fn settle(followed: &Followed, seen: Seen, remarks: Vec<Remark>) -> Settled {
    match seen {
        Seen::Looked(false, Some(uid)) => moved(followed, uid, remarks),
        Seen::Looked(true, Some(uid)) => {
            let text = format!(
                "moved to {} at the source; its copy was not moved whole and is in both places now",
                followed.to_path
            );
            let outcomes = vec![arrived(followed, uid, remarks)];
            Settled { outcomes, remark: Some((followed.from, text)), ..Settled::default() }
        }
        // Never moved again: the one that was asked for may still take effect. So it is sent, and one
        // that comes late is told.
        Seen::Looked(is_there, None) => owed(followed, is_there, Fate::Pending, Vec::new()),
        Seen::Undecided(is_there) => {
            let text = "its copy was to be moved, and whether it arrived cannot be told";
            owed(followed, is_there, Fate::Held, vec![Remark::new(RemarkKind::Reason, text)])
        }
    }
}

/// The copy is in its new place, at this UID.
#[must_use]
pub fn moved(followed: &Followed, uid: Uid, remarks: Vec<Remark>) -> Settled {
    let text = format!("moved to {} at the source, and its copy with it", followed.to_path);
    let outcomes = vec![left(followed, text), arrived(followed, uid, remarks)];
    Settled { outcomes, ..Settled::default() }
}

/// The message is not where it was, and no copy of it.
fn left(followed: &Followed, text: String) -> (MailboxId, Outcome) {
    let (mailbox, uid) = followed.from;
    let entry = Entry { fate: Fate::Gone, target_uid: None, ..followed.entry.clone() };
    let remarks = vec![Remark::new(RemarkKind::Reason, text)];
    (mailbox, Outcome { uid, entry, remarks, subject: None })
}

fn arrived(followed: &Followed, uid: Uid, remarks: Vec<Remark>) -> (MailboxId, Outcome) {
    let (mailbox, to) = followed.to;
    let entry = Entry { target_uid: Some(uid), ..followed.entry.clone() };
    (mailbox, Outcome { uid: to, entry, remarks, subject: None })
}

fn owed(followed: &Followed, is_there: bool, fate: Fate, remarks: Vec<Remark>) -> Settled {
    let (mailbox, uid) = followed.to;
    // It goes alone, as everything that was in doubt.
    let troubles = Troubles { doubts: 1, losses: 0 };
    let entry = Entry { fate, target_uid: None, troubles, ..followed.entry.clone() };
    let mut outcomes = vec![(mailbox, Outcome { uid, entry, remarks, subject: None })];
    if !is_there {
        let text =
            format!("moved to {} at the source; its copy was lost on the way", followed.to_path);
        outcomes.push(left(followed, text));
    }
    let doubt = Some(Doubt { mailbox, uid, lo: followed.lo });
    Settled { outcomes, doubt, ..Settled::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Flags;
    use proptest::prelude::*;

    const FROM: Key = (MailboxId(1), Uid(7));
    const TO: Key = (MailboxId(2), Uid(3));

    #[test]
    fn an_equal_message_of_another_date_was_not_moved() {
        let dated =
            |seconds| Place { date: Some(InternalDate::new(seconds, 0)), ..place(1, 1, "INBOX") };
        assert_eq!(pairs(&[dated(5)], &[dated(6)]), []);
        assert_eq!(pairs(&[dated(5)], &[dated(5)]), [(0, 0)]);
    }

    fn place(uid: u32, digest: u8, target: &str) -> Place {
        let target = WireName(target.as_bytes().to_vec());
        Place { key: (MailboxId(1), Uid(uid)), digest: Digest([digest; 16]), date: None, target }
    }

    #[test]
    fn equal_messages_are_paired_as_often_as_they_are_there() {
        let gone = [place(1, 5, "A"), place(2, 5, "A"), place(3, 6, "A"), place(4, 7, "A")];
        let new = [place(11, 6, "B"), place(12, 5, "B"), place(13, 5, "B"), place(14, 5, "B")];
        assert_eq!(pairs(&gone, &new), [(2, 0), (0, 1), (1, 2)]);
    }

    #[test]
    fn what_stays_in_its_target_mailbox_comes_first() {
        let gone = [place(1, 5, "A"), place(2, 5, "B")];
        let new = [place(11, 5, "C"), place(12, 5, "B")];
        assert_eq!(pairs(&gone, &new), [(1, 1), (0, 0)]);
    }

    proptest! {
        #[test]
        fn nobody_is_paired_twice_and_nobody_who_could_be_is_left(
            gone in prop::collection::vec((0_u8..3, "[AB]"), 0..8),
            new in prop::collection::vec((0_u8..3, "[AB]"), 0..8),
        ) {
            let places = |list: &[(u8, String)]| -> Vec<Place> {
                (0..).zip(list).map(|(uid, (digest, target))| place(uid, *digest, target)).collect()
            };
            let (gone, new) = (places(&gone), places(&new));
            let pairs = pairs(&gone, &new);
            for digest in 0..3 {
                let count = |list: &[Place]| {
                    list.iter().filter(|one| one.digest == Digest([digest; 16])).count()
                };
                let paired = pairs.iter().filter(|(one, _)| gone[*one].digest.0[0] == digest);
                prop_assert_eq!(paired.count(), count(&gone).min(count(&new)));
            }
            prop_assert!(pairs.iter().all(|(one, other)| gone[*one].digest == new[*other].digest));
            let unique = |side: fn(&(usize, usize)) -> usize| {
                pairs.iter().map(side).collect::<std::collections::BTreeSet<_>>().len()
            };
            prop_assert_eq!((unique(|pair| pair.0), unique(|pair| pair.1)), (pairs.len(), pairs.len()));
        }
    }

    fn followed() -> Followed {
        let entry = Entry {
            fate: Fate::Copied,
            target_uid: Some(Uid(40)),
            size: 9,
            date: None,
            flags: Flags::default(),
            digest: Some((Digest([5; 16]), 8)),
            troubles: Troubles::default(),
            risky: false,
            changed: None,
        };
        Followed { from: FROM, to: TO, entry, to_path: "Work".to_owned(), lo: Uid(20) }
    }

    /// Fate and copy of the message in both places; none where what is known of it stays.
    type Told = (Option<(Fate, Option<u32>)>, Option<(Fate, Option<u32>)>);

    fn told(settled: &Settled) -> Told {
        let of = |key: Key| {
            let is_it = |(mailbox, outcome): &&(MailboxId, Outcome)| (*mailbox, outcome.uid) == key;
            let (_, outcome) = settled.outcomes.iter().find(is_it)?;
            Some((outcome.entry.fate, outcome.entry.target_uid.map(|uid| uid.0)))
        };
        (of(FROM), of(TO))
    }

    #[test]
    fn a_copy_that_is_in_its_new_place_only_was_moved() {
        let settled = settle(&followed(), Seen::Looked(false, Some(Uid(22))), Vec::new());
        let expected = (Some((Fate::Gone, None)), Some((Fate::Copied, Some(22))));
        assert_eq!((told(&settled), settled.doubt), (expected, None));
    }

    #[test]
    fn a_copy_in_both_places_is_claimed_in_the_new_one_and_told() {
        let settled = settle(&followed(), Seen::Looked(true, Some(Uid(22))), Vec::new());
        assert_eq!(told(&settled), (None, Some((Fate::Copied, Some(22)))));
        assert!(settled.remark.is_some_and(|(key, _)| key == FROM) && settled.doubt.is_none());
    }

    #[test]
    fn a_copy_that_did_not_arrive_is_sent_and_may_come_late() {
        for is_where_it_was in [true, false] {
            let settled = settle(&followed(), Seen::Looked(is_where_it_was, None), Vec::new());
            let left = (!is_where_it_was).then_some((Fate::Gone, None));
            assert_eq!(told(&settled), (left, Some((Fate::Pending, None))));
            let doubt = Doubt { mailbox: TO.0, uid: TO.1, lo: Uid(20) };
            assert_eq!(settled.doubt, Some(doubt));
            assert!(settled.outcomes[0].1.entry.troubles.any());
        }
    }

    #[test]
    fn a_copy_that_cannot_be_told_from_others_is_held() {
        let settled = settle(&followed(), Seen::Undecided(true), Vec::new());
        assert_eq!(told(&settled), (None, Some((Fate::Held, None))));
        let settled = settle(&followed(), Seen::Undecided(false), Vec::new());
        assert_eq!(told(&settled), (Some((Fate::Gone, None)), Some((Fate::Held, None))));
    }
}
