//! A look for late copies: whom it asks for, and in which order.

use std::collections::BTreeSet;

use crate::history::Entry;
use crate::ledger::{Doubted, MailboxId};
use crate::mail::Uid;
use crate::plan::settle::{Claim, Sought, may_alter};

/// A source message, over all mailboxes that go to one target mailbox.
pub type Key = (MailboxId, Uid);

/// Messages of which a late copy may have come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Those without a copy: a late one is theirs, and they are served first.
    pub lacking: Vec<Sought<Key>>,
    /// Those with one: a late one is a surplus.
    pub having: Vec<Sought<Key>>,
}

/// Decides whom to look for; `present` is what stands at the target, at and above the lowest `lo`
/// noted and where the copies of these messages should be; `alters` whether the target rewrites mail.
#[must_use]
pub fn asked(noted: &[Doubted], present: &BTreeSet<Uid>, alters: bool) -> Asked {
    let mut asked = Asked::default();
    for one in noted {
        let list =
            if has_copy(&one.entry, present) { &mut asked.having } else { &mut asked.lacking };
        list.push(sought(one, alters));
    }
    asked
}

impl Asked {
    /// Once these of those that lacked a copy were given one, a further one is a surplus of theirs,
    /// too.
    pub fn given(&mut self, found: &BTreeSet<Key>) {
        let lacking = std::mem::take(&mut self.lacking);
        let (having, lacking) = lacking.into_iter().partition(|one| found.contains(&one.key));
        self.lacking = lacking;
        self.having.extend::<Vec<_>>(having);
    }
}

fn has_copy(entry: &Entry, present: &BTreeSet<Uid>) -> bool {
    entry.fate.is_there() && entry.target_uid.is_some_and(|uid| present.contains(&uid))
}

fn sought(noted: &Doubted, alters: bool) -> Sought<Key> {
    let Entry { size, date, digest, risky, .. } = noted.entry;
    let flags = noted.entry.flags.clone();
    let (claim, digests) = (Claim::InDoubt, digest.map(<_>::from));
    let key = (noted.doubt.mailbox, noted.doubt.uid);
    let may_be_altered = may_alter(claim, alters, risky);
    Sought { key, claim, size, date, flags, digests, may_be_altered }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fate::Fate;
    use crate::history::Troubles;
    use crate::ledger::Doubt;
    use crate::mail::Flags;

    fn noted(uid: u32, fate: Fate, target_uid: Option<u32>) -> Doubted {
        let entry = Entry {
            fate,
            target_uid: target_uid.map(Uid),
            size: 1,
            date: None,
            flags: Flags::default(),
            digest: None,
            changed: None,
            troubles: Troubles::default(),
            risky: false,
        };
        let doubt = Doubt { mailbox: MailboxId(1), uid: Uid(uid), lo: Uid(1) };
        Doubted { doubt, lost: 1, entry }
    }

    fn uids(asked: &[Sought<Key>]) -> Vec<u32> {
        asked.iter().map(|one| one.key.1.0).collect()
    }

    #[test]
    fn who_has_no_copy_is_served_first() {
        let noted = [
            noted(1, Fate::Copied, Some(7)),
            noted(2, Fate::Copied, Some(8)),
            noted(3, Fate::Refused, None),
            noted(4, Fate::Copied, None),
        ];
        let mut asked = asked(&noted, &BTreeSet::from([Uid(7)]), true);
        assert_eq!((uids(&asked.having), uids(&asked.lacking)), (vec![1], vec![2, 3, 4]));
        asked.given(&BTreeSet::from([(MailboxId(1), Uid(3))]));
        assert_eq!((uids(&asked.having), uids(&asked.lacking)), (vec![1, 3], vec![2, 4]));
    }
}
