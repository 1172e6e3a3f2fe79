//! Whether a surplus copy may be removed, and how.
//!
//! A copy that came late stands beside the one that was sent after it. To remove the wrong message
//! would lose a user's last copy, so that one is removed only where everything shows that it is ours
//! and that another one is there; and it is removed by a detour, through a quarantine: moved out,
//! looked at, and deleted only if every claimed copy is still where it was. Else it is moved back.

use crate::history::Entry;
use crate::identity::Digest;
use crate::mail::{Flags, InternalDate, Uid};
use crate::target::ObjectId;

/// A message at the target, with all that tells it from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Its UID.
    pub uid: Uid,
    /// Its octets.
    pub size: u64,
    /// Its date.
    pub date: Option<InternalDate>,
    /// Its flags.
    pub flags: Flags,
    /// The digest of its body; none where it was not read.
    pub exact: Option<Digest>,
    /// What tells it from others, where the server told.
    pub object_id: Option<ObjectId>,
}

/// What is known of a message that seems to be at the target more than once.
#[derive(Debug, Clone, Copy)]
pub struct Suspicion<'a> {
    /// What was sent.
    pub sent: &'a Entry,
    /// How many APPENDs of it were lost.
    pub lost: u32,
    /// Its copies that nobody has claimed.
    pub surplus: &'a [Copy],
    /// The claimed copies of its class that are there.
    pub claimed: &'a [Copy],
    /// How many claimed copies of its class are not there any more.
    pub claimed_absent: usize,
    /// Whether other messages came into the mailbox that nobody has claimed.
    pub others_came: bool,
    /// What tells the copies from others that we have moved and not found.
    pub moved: &'a [ObjectId],
}

/// Whether one surplus copy may be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Remove(Uid),
    /// It may not, for this reason.
    Report(&'static str),
}

/// Decides about one copy; after its removal the question is asked anew.
#[must_use]
pub fn judge(suspicion: &Suspicion<'_>) -> Verdict {
    let Suspicion { sent, lost, surplus, claimed, claimed_absent, others_came, moved } = *suspicion;
    let Some(first) = surplus.first() else {
        return Verdict::Report("there is none");
    };
    if claimed.is_empty() || claimed_absent > 0 {
        return Verdict::Report("the copy it would stand beside is not there any more");
    }
    if surplus.len() as u64 > u64::from(lost) {
        return Verdict::Report("there are more of them than were lost on the way");
    }
    let exact = sent.digest.map(|(exact, _)| exact);
    let is_equal = |copy: &Copy| {
        exact.is_some() && copy.exact == exact && copy.size == sent.size && copy.date == sent.date
    };
    if !surplus.iter().chain(claimed).all(is_equal) {
        return Verdict::Report("their octets or dates are not the same");
    }
    let ids_of_claimed: Option<Vec<&ObjectId>> =
        claimed.iter().map(|copy| copy.object_id.as_ref()).collect();
    let (Some(id), Some(ids_of_claimed)) = (&first.object_id, ids_of_claimed) else {
        return Verdict::Report("the server does not tell a copy by its owner from one of ours");
    };
    // A COPY by its owner keeps it (Dovecot); of equal octets it may always be equal (Cyrus).
    if ids_of_claimed.contains(&id) {
        return Verdict::Report("it may be a copy that its owner made");
    }
    if moved.contains(id) && surplus.len() == 1 {
        return Verdict::Remove(first.uid); // We have moved this very message.
    }
    if others_came {
        return Verdict::Report("other mail has come in since");
    }
    if first.flags != sent.flags {
        return Verdict::Report("its flags are not the ones that were sent");
    }
    Verdict::Remove(first.uid)
}

/// What to do with a message in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The quarantine is deleted, and with it the message.
    Delete,
    /// It is moved back to where it was.
    MoveBack,
    /// It is not there: whatever took it out has not taken effect. The quarantine waits for the
    /// next pass.
    Wait,
}

/// Decides about the message that was moved into a quarantine. `quarantined` is what is in it,
/// `wanted` the copy that was moved there, `claimed_present` whether every claimed copy of its class
/// was seen after the MOVE, `lost` whether a connection was lost since the intent was noted.
#[must_use]
pub fn after_quarantine(
    quarantined: &[Copy],
    wanted: Option<&Copy>,
    claimed_present: bool,
    lost: bool,
) -> Step {
    match quarantined {
        [] => Step::Wait,
        [one] if claimed_present && !lost => {
            let same = |copy: &Copy| {
                copy.exact.is_some()
                    && (copy.exact, copy.size, copy.date) == (one.exact, one.size, one.date)
            };
            if wanted.is_some_and(same) { Step::Delete } else { Step::MoveBack }
        }
        _ => Step::MoveBack,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fate::Fate;
    use crate::history::Troubles;
    use crate::identity::Identity;

    fn sent() -> Entry {
        let identity = Identity::of(b"mail");
        Entry {
            fate: Fate::Copied,
            target_uid: Some(Uid(5)),
            size: 4,
            date: Some(InternalDate::new(9, 0)),
            flags: Flags::parse(["\\Seen"]),
            digest: Some((identity.exact, identity.headers)),
            troubles: Troubles::default(),
            risky: false,
            changed: None,
        }
    }

    fn copy(uid: u32, id: &str) -> Copy {
        let Entry { size, date, flags, digest, .. } = sent();
        let exact = digest.map(|(exact, _)| exact);
        let object_id = Some(ObjectId::Delivery(id.to_owned()));
        Copy { uid: Uid(uid), size, date, flags, exact, object_id }
    }

    /// Whether one surplus copy beside one claimed copy may be removed, after a change of the facts.
    fn may_remove(change: impl FnOnce(&mut Suspicion<'_>, &mut Copy, &mut Copy)) -> bool {
        let (entry, mut surplus, mut claimed) = (sent(), copy(8, "late"), copy(5, "first"));
        let mut facts = Suspicion {
            sent: &entry,
            lost: 1,
            surplus: &[],
            claimed: &[],
            claimed_absent: 0,
            others_came: false,
            moved: &[],
        };
        change(&mut facts, &mut surplus, &mut claimed);
        let Suspicion { lost, claimed_absent, others_came, .. } = facts;
        let (surplus, claimed) = ([surplus], [claimed]);
        let facts = Suspicion {
            sent: &entry,
            lost,
            surplus: &surplus,
            claimed: &claimed,
            claimed_absent,
            others_came,
            moved: &[],
        };
        judge(&facts) == Verdict::Remove(Uid(8))
    }

    #[test]
    fn a_copy_is_removed_only_where_all_of_it_shows_that_it_is_ours() {
        assert!(may_remove(|_, _, _| ()));
        assert!(!may_remove(|facts, _, _| facts.lost = 0));
        assert!(!may_remove(|facts, _, _| facts.claimed_absent = 1));
        assert!(!may_remove(|facts, _, _| facts.others_came = true));
        assert!(!may_remove(|_, surplus, _| surplus.exact = None));
        assert!(!may_remove(|_, surplus, _| surplus.exact = Some(Identity::of(b"x").exact)));
        assert!(!may_remove(|_, surplus, _| surplus.size = 5));
        assert!(!may_remove(|_, surplus, _| surplus.date = None));
        assert!(!may_remove(|_, surplus, _| surplus.flags = Flags::default()));
        assert!(!may_remove(|_, surplus, _| surplus.object_id = None));
        assert!(!may_remove(|_, _, claimed| claimed.object_id = None));
        assert!(!may_remove(|_, surplus, claimed| claimed.object_id = surplus.object_id.clone()));
        assert!(!may_remove(|_, _, claimed| claimed.exact = Some(Identity::of(b"x").exact)));
        // Cyrus: equal octets, equal ids.
        let content = || Some(ObjectId::Content("M1".to_owned()));
        assert!(!may_remove(|_, surplus, claimed| {
            (surplus.object_id, claimed.object_id) = (content(), content());
        }));
    }

    #[test]
    fn what_we_have_moved_is_ours_though_its_owner_has_read_it() {
        let entry = sent();
        let surplus = [Copy { flags: Flags::default(), ..copy(8, "late") }];
        let claimed = [copy(5, "first")];
        let moved = [ObjectId::Delivery("late".to_owned())];
        let facts = Suspicion {
            sent: &entry,
            lost: 1,
            surplus: &surplus,
            claimed: &claimed,
            claimed_absent: 0,
            others_came: true,
            moved: &moved,
        };
        assert_eq!(judge(&facts), Verdict::Remove(Uid(8)));
        assert!(matches!(judge(&Suspicion { moved: &[], ..facts }), Verdict::Report(_)));
        assert!(matches!(judge(&Suspicion { claimed: &[], ..facts }), Verdict::Report(_)));
    }

    #[test]
    fn a_quarantine_is_deleted_only_with_the_copy_in_it_and_the_other_one_where_it_was() {
        let wanted = copy(8, "late");
        let inside = [copy(1, "late")];
        let step =
            |inside: &[Copy], present, lost| after_quarantine(inside, Some(&wanted), present, lost);
        assert_eq!(step(&inside, true, false), Step::Delete);
        assert_eq!(step(&inside, false, false), Step::MoveBack);
        assert_eq!(step(&inside, true, true), Step::MoveBack);
        assert_eq!(step(&[], true, false), Step::Wait);
        let two = [copy(1, "late"), copy(2, "other")];
        assert_eq!(step(&two, true, false), Step::MoveBack);
        let unread = [Copy { exact: None, ..copy(1, "late") }];
        assert_eq!(step(&unread, true, false), Step::MoveBack);
        assert_eq!(after_quarantine(&inside, None, true, false), Step::MoveBack);
    }
}
