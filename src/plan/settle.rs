//! Messages in doubt against what is on the target: copied already, or to be sent again.
//!
//! Matching is by multiset: a class of equal messages with n in doubt and c candidates gives
//! min(n, c) claims, lowest UIDs first, each candidate once. Finer classes are served first. It is
//! never decided by text from mail sent to the server in a SEARCH.

use std::collections::BTreeMap;

use crate::identity::Identity;
use crate::mail::{InternalDate, Uid};
use crate::target::Found;

/// A message that was sent, with unknown outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InDoubt {
    /// Its UID at the source.
    pub uid: Uid,
    /// Octets sent.
    pub size: u64,
    /// The date sent.
    pub date: Option<InternalDate>,
    /// Its digests; none where nobody can tell any more.
    pub identity: Option<Identity>,
}

/// A message on the target that nobody has claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its UID at the target.
    pub uid: Uid,
    /// Its octets.
    pub size: u64,
    /// Its date.
    pub date: Option<InternalDate>,
    /// Its digests.
    pub identity: Identity,
}

/// Which copies are whose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settlement {
    /// Source UID and target UID of each message that was found.
    pub found: Vec<(Uid, Uid)>,
    /// Messages that are not there: to be sent again.
    pub missing: Vec<Uid>,
    /// Messages of which it cannot be told whether they are there: not to be sent again.
    pub undecided: Vec<Uid>,
}

/// Whether something found could be a copy of a message in doubt, as far as can be said without
/// its body: by date, or by size where the server changes dates.
#[must_use]
pub fn is_plausible(found: &Found, in_doubt: &[InDoubt]) -> bool {
    in_doubt.iter().any(|message| {
        (message.date.is_some() && message.date == found.date) || is_close(message.size, found.size)
    })
}

/// Sizes that a rewriting server can make of each other: within a tenth, or 64 octets.
pub(super) fn is_close(sent: u64, stored: u64) -> bool {
    sent.abs_diff(stored) <= (sent / 10).max(64)
}

/// Decides which candidates are the copies of the messages in doubt.
#[must_use]
pub fn settle(in_doubt: &[InDoubt], candidates: &[Candidate]) -> Settlement {
    let mut settlement = Settlement::default();
    let mut open: Vec<&InDoubt> = in_doubt.iter().collect();
    let mut free: Vec<&Candidate> = candidates.iter().collect();
    free.sort_by_key(|candidate| candidate.uid);
    claim(&mut settlement, &mut open, &mut free, |identity| identity.exact, |_, _| true);
    claim(&mut settlement, &mut open, &mut free, |identity| identity.folded, |_, _| true);
    // Coarse: the same header lines, and as large and as old.
    claim(
        &mut settlement,
        &mut open,
        &mut free,
        |identity| identity.headers,
        |message, found| is_close(message.size, found.size) && message.date == found.date,
    );
    for message in open {
        let perhaps = message.identity.is_none()
            && free.iter().any(|candidate| is_close(message.size, candidate.size));
        let list = if perhaps { &mut settlement.undecided } else { &mut settlement.missing };
        list.push(message.uid);
    }
    settlement
}

/// Claims by one kind of class.
fn claim<Class: Ord>(
    settlement: &mut Settlement,
    open: &mut Vec<&InDoubt>,
    free: &mut Vec<&Candidate>,
    class: impl Fn(&Identity) -> Class,
    fits: impl Fn(&InDoubt, &Candidate) -> bool,
) {
    let mut by_class: BTreeMap<Class, Vec<&Candidate>> = BTreeMap::new();
    for candidate in free.iter() {
        by_class.entry(class(&candidate.identity)).or_default().push(candidate);
    }
    open.retain(|message| {
        let Some(identity) = &message.identity else {
            return true;
        };
        let Some(class) = by_class.get_mut(&class(identity)) else {
            return true;
        };
        let Some(at) = class.iter().position(|candidate| fits(message, candidate)) else {
            return true;
        };
        settlement.found.push((message.uid, class.remove(at).uid));
        false
    });
    free.retain(|candidate| !settlement.found.iter().any(|(_, uid)| *uid == candidate.uid));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_doubt(uid: u32, body: &[u8]) -> InDoubt {
        let identity = Some(Identity::of(body));
        InDoubt { uid: Uid(uid), size: body.len() as u64, date: None, identity }
    }

    fn candidate(uid: u32, body: &[u8]) -> Candidate {
        let identity = Identity::of(body);
        Candidate { uid: Uid(uid), size: body.len() as u64, date: None, identity }
    }

    fn pairs(settlement: &Settlement) -> Vec<(u32, u32)> {
        settlement.found.iter().map(|(source, target)| (source.0, target.0)).collect()
    }

    #[test]
    fn twins_are_counted_and_each_copy_claimed_once() {
        let keys = [in_doubt(1, b"a"), in_doubt(2, b"a"), in_doubt(3, b"a")];
        let settlement = settle(&keys, &[candidate(8, b"a"), candidate(7, b"a")]);
        assert_eq!(pairs(&settlement), [(1, 7), (2, 8)]);
        assert_eq!(settlement.missing, [Uid(3)]);
    }

    #[test]
    fn mail_of_others_is_left_alone() {
        let settlement = settle(&[in_doubt(1, b"Subject: a\r\n\r\n")], &[candidate(7, b"other")]);
        assert_eq!(settlement.missing, [Uid(1)]);
        assert!(settlement.found.is_empty());
    }

    #[test]
    fn an_exact_copy_is_claimed_before_a_rewritten_one() {
        let (exact, rewritten) = (b"Subject: a\n\nx", b"Subject: a\r\n\r\nx\r\n");
        let keys = [in_doubt(1, exact), in_doubt(2, rewritten)];
        let settlement = settle(&keys, &[candidate(7, rewritten), candidate(8, rewritten)]);
        assert_eq!(pairs(&settlement), [(2, 7), (1, 8)]);
    }

    #[test]
    fn a_message_whose_digests_nobody_knows_is_held_only_if_it_may_be_there() {
        let unknown = InDoubt { identity: None, ..in_doubt(1, &[b'a'; 1000]) };
        let settlement = settle(std::slice::from_ref(&unknown), &[candidate(7, &[b'b'; 1001])]);
        assert_eq!(settlement.undecided, [Uid(1)]);
        assert_eq!(settle(&[unknown], &[]).missing, [Uid(1)]);
    }

    #[test]
    fn dates_or_sizes_make_a_copy_plausible() {
        let key = InDoubt { date: Some(InternalDate::new(5, 0)), ..in_doubt(1, &[0; 1000]) };
        let found = |size, seconds| Found {
            uid: Uid(9),
            size,
            date: Some(InternalDate::new(seconds, 0)),
            flags: crate::mail::Flags::default(),
        };
        assert!(is_plausible(&found(9_999, 5), std::slice::from_ref(&key)));
        assert!(is_plausible(&found(1_050, 6), std::slice::from_ref(&key)));
        assert!(!is_plausible(&found(9_999, 6), &[key]));
    }
}
