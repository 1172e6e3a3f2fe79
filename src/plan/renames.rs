//! Source mailboxes that have another name now: known by their UIDVALIDITY and the messages in them.

use crate::history::History;
use crate::identity::Digest;
use crate::ledger::BoundMailbox;
use crate::mail::{Mailbox, MailboxStatus, MessageInfo, Uid, UidValidity, WireName};

/// A mailbox that may be an earlier one under another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The mailbox as it is listed.
    pub mailbox: Mailbox,
    /// How it stands.
    pub status: MailboxStatus,
}

/// The names that the ledger does not know; where there are none, or it knows of no mailbox that was
/// copied, nothing can have been renamed.
#[must_use]
pub fn new_names<'a>(listed: &'a [Mailbox], bound: &[BoundMailbox]) -> Vec<&'a Mailbox> {
    let is_known = |name: &WireName| {
        let mut own = bound.iter().filter(|bound| bound.binding.source_name == *name);
        own.any(|bound| bound.fixed || bound.scan.messages > 0 || bound.watermark.is_some())
    };
    if !bound.iter().any(|bound| bound.fixed) {
        return Vec::new();
    }
    listed.iter().filter(|one| one.selectable && !is_known(&one.name)).collect()
}

/// The mailboxes that are not where they were: their names are not listed, or have another UIDVALIDITY
/// now. The INBOX is always where it was (RFC 9051 section 6.3.6): what leaves it by RENAME is new mail
/// elsewhere.
#[must_use]
pub fn displaced<'a>(
    bound: &'a [BoundMailbox],
    listed: &[(WireName, Option<UidValidity>)],
) -> Vec<&'a BoundMailbox> {
    let is_there = |bound: &&BoundMailbox| {
        let at_name = listed.iter().find(|(name, _)| *name == bound.binding.source_name);
        at_name.is_some_and(|(_, validity)| {
            validity.is_none_or(|validity| validity == bound.binding.source_validity)
        })
    };
    let may_be_renamed =
        |bound: &&BoundMailbox| bound.fixed && !bound.binding.source_path.is_inbox();
    bound.iter().filter(may_be_renamed).filter(|bound| !is_there(bound)).collect()
}

/// Whether a new name may be that of a mailbox that is not where it was.
#[must_use]
pub fn may_be(bound: &BoundMailbox, candidate: &Candidate) -> bool {
    let known = bound.watermark.map_or(bound.scan.uid_next, |mark| mark.uid_next.0);
    candidate.status.uid_validity == Some(bound.binding.source_validity)
        && candidate.status.uid_next.is_some_and(|uid_next| uid_next.0 >= known)
}

/// What a part of a mailbox says of whether it is the one that the ledger knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Likeness {
    /// UIDs of which both know the same.
    pub same: usize,
    /// UIDs of which they do not.
    pub different: usize,
    /// UIDs of one date and two sizes: another message, or a server whose RFC822.SIZE is a guess.
    pub resized: usize,
}

impl Likeness {
    /// Compares by UID, size and date.
    #[must_use]
    pub fn of(scan: &[MessageInfo], history: &History) -> Self {
        let mut likeness = Self::default();
        for info in scan {
            let Some(known) = history.get(info.uid) else {
                continue;
            };
            let known = known.at_source();
            match (known.size == info.size, known.date == info.date) {
                (true, true) => likeness.same += 1,
                (false, true) if info.date.is_some() => likeness.resized += 1,
                (_, _) => likeness.different += 1,
            }
        }
        likeness
    }

    /// The same, once the bodies of some of those with two sizes were read, and so many were what the ledger
    /// knows.
    #[must_use]
    pub fn once_read(self, read: usize, equal: usize) -> Self {
        match read {
            // Nothing tells them from others.
            0 => Self { different: self.different + self.resized, resized: 0, ..self },
            _ => Self {
                same: self.same + self.resized - (read - equal),
                different: self.different + read - equal,
                resized: 0,
            },
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            same: self.same + other.same,
            different: self.different + other.different,
            resized: self.resized + other.resized,
        }
    }

    /// Whether it is that mailbox. One message that is another under its UID is proof that it is not:
    /// a restored copy of a mailbox has the same beginning, and mail of its own behind it.
    #[must_use]
    pub fn is_it(self) -> bool {
        self.same > 0 && self.different == 0 && self.resized == 0
    }
}

/// Bodies that are read of a part of a mailbox.
const BODIES_MAX: usize = 4;

/// Of the messages of a part with another size than the ledger knows, some whose digests it knows, from the
/// first to the last: mail that another mailbox has of its own stands behind what both have.
#[must_use]
pub fn to_be_read(scan: &[MessageInfo], history: &History) -> Vec<(Uid, Digest)> {
    let resized = scan.iter().filter_map(|info| {
        let known = history.get(info.uid)?.at_source();
        let (digest, _) = known.digest.filter(|_| known.size != info.size)?;
        Some((info.uid, digest))
    });
    let resized: Vec<(Uid, Digest)> = resized.collect();
    let last = resized.len().saturating_sub(1);
    let steps = BODIES_MAX - 1;
    let mut at: Vec<usize> = (0..=steps).map(|step| last * step / steps).collect();
    at.dedup();
    at.into_iter().filter_map(|at| resized.get(at).copied()).collect()
}

/// A mailbox that is not where it was, and one that may be it.
#[derive(Debug, Clone, Copy)]
pub struct Alike<'a> {
    /// As the ledger knows it.
    pub mailbox: &'a BoundMailbox,
    /// Under a new name.
    pub candidate: &'a Candidate,
    /// Messages that are the same.
    pub same: usize,
}

impl Alike<'_> {
    /// Whether its own name stayed: what is below a mailbox is renamed with it.
    fn keeps_last_name(&self) -> bool {
        let (before, now) = (&self.mailbox.binding.source_path, &self.candidate.mailbox.path);
        before.names().last() == now.names().last()
    }
}

/// Which mailbox has which name now. Servers give mailboxes that are made in one second one UIDVALIDITY
/// (Cyrus), and then a small one may look like the beginning of a large one: those with the most
/// messages alike come first.
#[must_use]
pub fn assigned(mut alike: Vec<Alike<'_>>) -> Vec<Alike<'_>> {
    alike.sort_by_key(|one| (std::cmp::Reverse(one.same), !one.keeps_last_name()));
    let mut assigned: Vec<Alike<'_>> = Vec::new();
    for one in alike {
        let is_taken = |other: &Alike<'_>| {
            other.mailbox.id == one.mailbox.id
                || other.candidate.mailbox.name == one.candidate.mailbox.name
        };
        if !assigned.iter().any(is_taken) {
            assigned.push(one);
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fate::Fate;
    use crate::history::{Entry, Troubles};
    use crate::ledger::{Binding, MailboxId, ScanTotals};
    use crate::mail::{Flags, InternalDate, MailboxPath, Namespace};

    fn name(text: &str) -> WireName {
        WireName(text.as_bytes().to_vec())
    }

    fn listed(text: &str) -> Mailbox {
        Mailbox {
            name: name(text),
            path: MailboxPath::new([text]),
            special_use: None,
            selectable: true,
            subscribed: false,
            namespace: Namespace::Personal,
        }
    }

    fn bound(text: &str, validity: u32) -> BoundMailbox {
        BoundMailbox {
            id: MailboxId(1),
            binding: Binding {
                source_name: name(text),
                source_path: MailboxPath::new([text]),
                source_validity: UidValidity(validity),
                target_name: name(text),
                target_path: MailboxPath::new([text]),
                target_validity: None,
            },
            fixed: true,
            scan: ScanTotals { messages: 3, bytes: 30, vanished: 0, uid_next: 10 },
            target_uid_next: Uid::FIRST,
            watermark: None,
        }
    }

    fn names(mailboxes: &[&Mailbox]) -> Vec<String> {
        mailboxes.iter().map(|mailbox| mailbox.path.to_string()).collect()
    }

    #[test]
    fn names_are_new_where_mail_was_copied_before() {
        let all = [listed("A"), listed("B")];
        assert_eq!(names(&new_names(&all, &[bound("A", 5)])), ["B"]);
        assert!(new_names(&all, &[]).is_empty(), "the first pass");
        let never_opened =
            BoundMailbox { fixed: false, scan: ScanTotals::default(), ..bound("B", 0) };
        assert_eq!(names(&new_names(&all, &[bound("A", 5), never_opened])), ["B"]);
    }

    #[test]
    fn a_mailbox_is_displaced_where_its_name_is_gone_or_is_anothers() {
        let known = [bound("A", 5)];
        let displaced =
            |listed: &[(WireName, Option<UidValidity>)]| displaced(&known, listed).len();
        assert_eq!(displaced(&[(name("A"), Some(UidValidity(5)))]), 0);
        assert_eq!(displaced(&[(name("A"), None)]), 0, "it does not tell");
        assert_eq!(displaced(&[(name("A"), Some(UidValidity(6)))]), 1);
        assert_eq!(displaced(&[(name("B"), Some(UidValidity(5)))]), 1);
        assert!(super::displaced(&[bound("INBOX", 5)], &[]).is_empty());
    }

    #[test]
    fn another_name_may_be_meant_where_the_uids_can_be_the_same() {
        let may_be = |validity, uid_next| {
            let uid_validity = Some(UidValidity(validity));
            let uid_next = Some(Uid(uid_next));
            let status = MailboxStatus { uid_validity, uid_next, ..MailboxStatus::default() };
            may_be(&bound("A", 5), &Candidate { mailbox: listed("B"), status })
        };
        assert!(may_be(5, 10) && may_be(5, 12));
        assert!(!may_be(6, 10) && !may_be(5, 9));
    }

    #[test]
    fn the_most_messages_alike_decide_and_then_the_last_name() {
        let known = |id, text: &str| {
            let bound = bound(text, 5);
            let source_path = MailboxPath::new(text.split('/'));
            let binding = Binding { source_path, ..bound.binding };
            BoundMailbox { id: MailboxId(id), binding, ..bound }
        };
        let candidate = |text: &str| {
            let path = MailboxPath::new(text.split('/'));
            let mailbox = Mailbox { path, ..listed(text) };
            Candidate { mailbox, status: MailboxStatus::default() }
        };
        let (small, large) = (known(1, "A/small"), known(2, "A"));
        let (now_small, now_large) = (candidate("B/small"), candidate("B"));
        let told = |large_same| {
            let alike = vec![
                Alike { mailbox: &small, candidate: &now_large, same: 4 },
                Alike { mailbox: &small, candidate: &now_small, same: 4 },
                Alike { mailbox: &large, candidate: &now_large, same: large_same },
                Alike { mailbox: &large, candidate: &now_small, same: 4 },
            ];
            let pairs = assigned(alike).into_iter();
            let mut names: Vec<String> = pairs
                .map(|one| {
                    format!("{} {}", one.mailbox.binding.source_path, one.candidate.mailbox.path)
                })
                .collect();
            names.sort();
            names
        };
        for large_same in [4, 6] {
            assert_eq!(told(large_same), ["A B", "A/small B/small"]);
        }
    }

    #[test]
    fn of_messages_with_other_sizes_some_are_read_from_the_first_to_the_last() {
        let digest = |uid: u32| Digest([uid.to_be_bytes()[3]; 16]);
        let entry = |uid| Entry {
            fate: Fate::Copied,
            target_uid: None,
            size: 10,
            date: None,
            flags: Flags::default(),
            digest: (uid != 3).then(|| (digest(uid), 0)),
            changed: None,
            troubles: Troubles::default(),
            risky: false,
        };
        let history = History::new((1..=12).map(|uid| (Uid(uid), entry(uid))));
        let read = |uids: std::ops::RangeInclusive<u32>, size| -> Vec<u32> {
            let info =
                |uid| MessageInfo { uid: Uid(uid), size, date: None, flags: Flags::default() };
            let scan: Vec<MessageInfo> = uids.map(info).collect();
            let read = to_be_read(&scan, &history);
            assert!(read.iter().all(|(uid, known)| *known == digest(uid.0)));
            read.into_iter().map(|(uid, _)| uid.0).collect()
        };
        assert_eq!(read(1..=12, 11), [1, 5, 8, 12]);
        assert_eq!(read(2..=4, 11), [2, 4], "of one the ledger knows no digest");
        assert_eq!(read(7..=7, 11), [7]);
        assert_eq!(read(1..=12, 10), [] as [u32; 0], "they have the sizes that are known");
    }

    #[test]
    fn messages_tell_whether_it_is_the_same_mailbox() {
        let date = |seconds| Some(InternalDate::new(seconds, 0));
        let entry = |size| Entry {
            fate: Fate::Copied,
            target_uid: None,
            size,
            date: date(7),
            flags: Flags::default(),
            digest: None,
            changed: None,
            troubles: Troubles::default(),
            risky: false,
        };
        let history = History::new((1..=3).map(|uid| (Uid(uid), entry(u64::from(uid)))));
        let info = |uid, size, seconds| MessageInfo {
            uid: Uid(uid),
            size,
            date: date(seconds),
            flags: Flags::default(),
        };
        let likeness = |scan: &[MessageInfo]| Likeness::of(scan, &history);
        let same = likeness(&[info(1, 1, 7), info(3, 3, 7), info(4, 9, 9)]);
        assert_eq!(same, Likeness { same: 2, ..Likeness::default() });
        assert!(same.is_it());
        let resized = likeness(&[info(1, 2, 7), info(2, 2, 7)]);
        assert_eq!(resized, Likeness { same: 1, resized: 1, different: 0 });
        assert!(!resized.is_it() && !resized.once_read(0, 0).is_it());
        assert!(resized.once_read(1, 1).is_it() && !resized.once_read(1, 0).is_it());
        assert!(!likeness(&[info(1, 1, 8)]).is_it());
        assert!(!likeness(&[info(1, 1, 7), info(2, 2, 7), info(3, 9, 7)]).is_it());
        assert!(!likeness(&[info(4, 1, 7)]).is_it(), "it has nothing of it");
    }
}
