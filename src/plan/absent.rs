//! What becomes of a message that was sent and whose copy is not there.

use std::collections::BTreeSet;

use crate::fate::{Fate, Remark, RemarkKind};
use crate::history::Troubles;
use crate::mail::Uid;
use crate::plan::settle::Claim;
use crate::target::Found;

/// Acknowledged and never found so often, a message is lost.
const LOSSES_MAX: u8 = 2;

/// What a look at a target mailbox saw.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// It looked at this UID and all above.
    pub lo: Uid,
    /// The mailbox's UIDNEXT, read before the look.
    pub uid_next: Uid,
    /// What stands there, ascending.
    pub there: &'a [Found],
    /// Where the copies of other messages stand, or stood.
    pub claimed: &'a BTreeSet<Uid>,
}

impl Seen<'_> {
    /// Whether another message stands at the UID that the target told.
    fn is_taken(&self, claim: Claim) -> bool {
        matches!(claim, Claim::At(uid) if self.there.binary_search_by_key(&uid, |f| f.uid).is_ok())
    }

    /// Where a copy was that is not there any more: not where another's is, or was.
    fn stood(&self, claim: Claim) -> Option<Uid> {
        match claim {
            Claim::At(uid) if !self.is_taken(claim) && !self.claimed.contains(&uid) => Some(uid),
            _ => None,
        }
    }

    /// Whether any UID from here to UIDNEXT is not there any more.
    fn has_gap(&self, lo: Uid) -> bool {
        let range = lo.max(self.lo)..self.uid_next;
        let shown = self.there.iter().filter(|found| range.contains(&found.uid)).count();
        shown < range.end.0.saturating_sub(range.start.0) as usize
    }
}

/// What a lost connection says of a message that was being sent.
#[derive(Debug, Clone, Copy)]
pub struct Blame {
    /// It was sent in this run; otherwise its process died, and no message is to blame.
    pub of_this_run: bool,
    /// In doubt so many times, a message is not sent again in the same pass.
    pub doubts_max: u8,
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// Its fate: copied, where its owner has removed the copy.
    pub fate: Fate,
    /// Where its copy was.
    pub target_uid: Option<Uid>,
    /// What went wrong with it so far.
    pub troubles: Troubles,
    /// What is to be said of it.
    pub remark: Option<Remark>,
    /// Whether a late copy may still appear.
    pub is_late: bool,
}

/// Decides what becomes of a message that was looked for and is not there; `lo` is its window's.
#[must_use]
pub fn absent(claim: Claim, lo: Uid, troubles: Troubles, seen: &Seen<'_>, blame: Blame) -> Absent {
    match not_found(claim, seen.uid_next, seen.is_taken(claim), seen.has_gap(lo)) {
        NotFound::Removed => removed(seen.stood(claim), troubles),
        NotFound::NeverStored => never_stored(troubles),
        NotFound::NotArrived => not_arrived(troubles, blame),
    }
}

/// What to do with a message whose copy is not on the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NotFound {
    /// It was stored, and its owner has removed it: it is never sent again.
    Removed,
    /// The target acknowledged it and never had it: it is owed again.
    NeverStored,
    /// It was lost on the way: it is owed again, and a late copy may still appear.
    NotArrived,
}

/// `told_is_taken` is whether another message stands at the UID that the target told, `has_gap`
/// whether any UID from the window's `lo` to `uid_next` is not there any more.
fn not_found(claim: Claim, uid_next: Uid, told_is_taken: bool, has_gap: bool) -> NotFound {
    match claim {
        Claim::Lapsed => NotFound::Removed,
        Claim::At(uid) if !told_is_taken && uid < uid_next => NotFound::Removed,
        Claim::At(uid) if !told_is_taken && uid >= uid_next => NotFound::NeverStored,
        Claim::At(_) | Claim::Somewhere if has_gap => NotFound::Removed,
        Claim::At(_) | Claim::Somewhere => NotFound::NeverStored,
        Claim::InDoubt => NotFound::NotArrived,
    }
}

fn removed(target_uid: Option<Uid>, troubles: Troubles) -> Absent {
    let text = "the copy was acknowledged, and is not there any more";
    let remark = Some(Remark::new(RemarkKind::RemovedAtTarget, text));
    Absent { fate: Fate::Copied, target_uid, troubles, remark, is_late: false }
}

/// It was acknowledged, and was never there.
pub(super) fn never_stored(troubles: Troubles) -> Absent {
    let losses = troubles.losses.saturating_add(1);
    let troubles = Troubles { losses, ..troubles };
    if losses < LOSSES_MAX {
        return owed(troubles);
    }
    let text = "the target acknowledged it more than once and never had it";
    given_up(Fate::Lost, troubles, text)
}

/// The connection was lost before it was acknowledged.
pub(super) fn not_arrived(troubles: Troubles, blame: Blame) -> Absent {
    // After a dead process it goes alone from now on.
    let doubts = if blame.of_this_run { troubles.doubts.saturating_add(1) } else { 1 };
    if blame.of_this_run && doubts >= blame.doubts_max {
        let text = format!("the connection was lost each of the {doubts} times it was sent");
        return given_up(Fate::Refused, Troubles { doubts: 0, ..troubles }, text);
    }
    owed(Troubles { doubts, ..troubles })
}

fn owed(troubles: Troubles) -> Absent {
    Absent { fate: Fate::Pending, target_uid: None, troubles, remark: None, is_late: true }
}

fn given_up(fate: Fate, troubles: Troubles, text: impl Into<String>) -> Absent {
    let remark = Some(Remark::new(RemarkKind::Reason, text));
    Absent { fate, target_uid: None, troubles, remark, is_late: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Flags;

    const BLAME: Blame = Blame { of_this_run: true, doubts_max: 3 };

    fn troubles(doubts: u8, losses: u8) -> Troubles {
        Troubles { doubts, losses }
    }

    /// After a look at UID 5 and above with UIDNEXT 10 at which these UIDs stood.
    fn absent_of(claim: Claim, there: &[u32], troubles: Troubles) -> Absent {
        let found = |uid| Found { uid: Uid(uid), size: 1, date: None, flags: Flags::default() };
        let there: Vec<Found> = there.iter().copied().map(found).collect();
        let claimed = BTreeSet::from([Uid(6)]);
        let seen = Seen { lo: Uid(5), uid_next: Uid(10), there: &there, claimed: &claimed };
        absent(claim, Uid(7), troubles, &seen, BLAME)
    }

    #[test]
    fn what_was_acknowledged_and_removed_is_not_sent_again() {
        let next = Uid(10);
        assert_eq!(not_found(Claim::At(Uid(9)), next, false, true), NotFound::Removed);
        assert_eq!(not_found(Claim::At(Uid(10)), next, false, false), NotFound::NeverStored);
        assert_eq!(not_found(Claim::At(Uid(9)), next, true, false), NotFound::NeverStored);
        assert_eq!(not_found(Claim::At(Uid(9)), next, true, true), NotFound::Removed);
        assert_eq!(not_found(Claim::Somewhere, next, false, false), NotFound::NeverStored);
        assert_eq!(not_found(Claim::Somewhere, next, false, true), NotFound::Removed);
        assert_eq!(not_found(Claim::InDoubt, next, false, true), NotFound::NotArrived);
    }

    #[test]
    fn a_copy_is_removed_only_where_a_uid_that_could_have_been_its_own_is_empty() {
        let absent = |claim, there| absent_of(claim, there, troubles(0, 0));
        let removed = absent(Claim::At(Uid(8)), &[7, 9]);
        assert_eq!((removed.fate, removed.target_uid), (Fate::Copied, Some(Uid(8))));
        assert!(!removed.is_late && removed.remark.is_some());
        assert_eq!(absent(Claim::At(Uid(8)), &[7, 8, 9]).fate, Fate::Pending);
        // What stands at the UID told is another's, and the copy was somewhere else.
        let elsewhere = absent(Claim::At(Uid(8)), &[7, 8]);
        assert_eq!((elsewhere.fate, elsewhere.target_uid), (Fate::Copied, None));
        let of_another = absent(Claim::At(Uid(6)), &[7, 8]);
        assert_eq!((of_another.fate, of_another.target_uid), (Fate::Copied, None));
        // Below its window's `lo` a gap says nothing.
        assert_eq!(absent(Claim::Somewhere, &[5, 7, 8, 9]).fate, Fate::Pending);
        assert_eq!(absent(Claim::Somewhere, &[7, 9]).fate, Fate::Copied);
    }

    #[test]
    fn what_was_acknowledged_twice_and_never_there_is_lost() {
        let once = absent_of(Claim::Somewhere, &[7, 8, 9], troubles(0, 0));
        assert_eq!((once.fate, once.troubles, once.is_late), (Fate::Pending, troubles(0, 1), true));
        let twice = absent_of(Claim::Somewhere, &[7, 8, 9], once.troubles);
        assert_eq!((twice.fate, twice.is_late), (Fate::Lost, true));
    }

    #[test]
    fn a_message_that_breaks_every_connection_is_given_up_and_one_of_a_dead_run_is_not() {
        let worn = absent_of(Claim::InDoubt, &[], troubles(1, 0));
        assert_eq!((worn.fate, worn.troubles), (Fate::Pending, troubles(2, 0)));
        let given_up = absent_of(Claim::InDoubt, &[], worn.troubles);
        assert_eq!((given_up.fate, given_up.is_late), (Fate::Refused, true));
        let of_a_dead_run = not_arrived(worn.troubles, Blame { of_this_run: false, ..BLAME });
        assert_eq!((of_a_dead_run.fate, of_a_dead_run.troubles), (Fate::Pending, troubles(1, 0)));
    }
}
