//! Which copies are not at the target any more, and what becomes of their messages.

use crate::mail::{MailboxStatus, Uid};

/// Whether a copy may be gone, by counts alone: a target mailbox that has all messages whose UIDs are
/// `claimed` (ascending), and as many more as UIDs were given since, has lost none. What others had in
/// it before can hide a loss.
#[must_use]
pub fn may_have_lost(claimed: &[Uid], status: &MailboxStatus) -> bool {
    let Some(last) = claimed.last() else {
        return false;
    };
    let Some(uid_next) = status.uid_next else {
        return true;
    };
    let later = u64::from(uid_next.0.saturating_sub(last.0).saturating_sub(1));
    status.messages < claimed.len() as u64 + later
}

/// What becomes of a message whose copy is not where it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The copy has another UID in its mailbox: it was moved away and back.
    Back(Uid),
    /// Its owner has moved the copy to another mailbox.
    Moved,
    /// It is nowhere, and stays so: its owner has removed it, or the target has lost it.
    Removed,
    /// It is nowhere, and is copied again.
    Refill,
}

/// Where an equal message that is nobody's copy was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elsewhere {
    /// In the copy's own mailbox.
    Here(Uid),
    /// In another mailbox of the account.
    There,
    /// In none, and all were looked at.
    Nowhere,
    /// It cannot be told.
    Unknown,
}

/// Decides it; `refills` is whether the user wants copies back, and the source has the message still.
#[must_use]
pub fn loss(elsewhere: Elsewhere, refills: bool) -> Loss {
    match elsewhere {
        Elsewhere::Here(uid) => Loss::Back(uid),
        Elsewhere::There => Loss::Moved,
        Elsewhere::Nowhere if refills => Loss::Refill,
        // To send what may be there would double it.
        Elsewhere::Nowhere | Elsewhere::Unknown => Loss::Removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_tell_where_no_copy_can_be_gone() {
        let claimed = [3, 4, 8].map(Uid);
        let may = |messages, uid_next| {
            let uid_next = Some(Uid(uid_next)).filter(|uid| uid.0 > 0);
            let status = MailboxStatus { messages, uid_next, ..MailboxStatus::default() };
            may_have_lost(&claimed, &status)
        };
        assert!(!may(3, 9));
        assert!(!may(5, 11));
        assert!(may(2, 9));
        assert!(may(3, 10), "one came, and one is gone: which, its list tells");
        assert!(may(3, 0), "it does not tell");
        assert!(may(2, 5), "it was set back");
        assert!(!may_have_lost(&[], &MailboxStatus::default()));
    }

    #[test]
    fn only_what_is_surely_nowhere_is_copied_again() {
        assert_eq!(loss(Elsewhere::Nowhere, true), Loss::Refill);
        assert_eq!(loss(Elsewhere::Nowhere, false), Loss::Removed);
        for refills in [false, true] {
            assert_eq!(loss(Elsewhere::Here(Uid(7)), refills), Loss::Back(Uid(7)));
            assert_eq!(loss(Elsewhere::There, refills), Loss::Moved);
            assert_eq!(loss(Elsewhere::Unknown, refills), Loss::Removed);
        }
    }
}
