//! Removing a surplus copy, by a detour through a quarantine: a mailbox of our own that it is moved
//! into, and that is deleted only after every claimed copy was seen to be still where it was.
//!
//! The ledger knows of a quarantine before it is made. Whatever breaks off in between, a later pass
//! finds it, and moves back what is in it.

use std::collections::BTreeSet;

use super::work::Work;
use crate::event::Event;
use crate::fault::{Fault, Scope};
use crate::history::Entry;
use crate::ledger::{BoundMailbox, Doubted, Ledger, MailboxId, OwnMailbox, Removal};
use crate::mail::Uid;
use crate::own::OwnName;
use crate::plan::surplus::{Copy, Step, Suspicion, Verdict, after_quarantine, judge};
use crate::target::{Created, Deleted, Moved, Target};

/// Surplus copies of one message.
pub(super) struct Surplus<'a> {
    /// The message.
    pub(super) noted: &'a Doubted,
    /// Messages of its header lines that the ledger knows.
    pub(super) twins: &'a [(MailboxId, Uid, Entry)],
    /// Whether mail came into the mailbox that nobody has claimed, and that is no surplus copy.
    pub(super) others_came: bool,
}

impl Surplus<'_> {
    /// Removes those of its copies in the open mailbox that may be removed. Gives those that stay,
    /// and why the first of them does.
    ///
    /// # Errors
    ///
    /// Where the connection breaks: the next pass finds what was begun.
    pub(super) async fn remove<T: Target, L: Ledger>(
        &self,
        work: &Work<'_, L>,
        target: &mut T,
        bound: &BoundMailbox,
        mut copies: Vec<Uid>,
    ) -> Result<(Vec<Uid>, &'static str), Fault> {
        let ledger = &work.run.ledger;
        let sent = &self.noted.entry;
        let (mailbox, uid) = (self.noted.doubt.mailbox, self.noted.doubt.uid);
        let moved: Vec<_> = ledger.moved_ids(bound.id).await?;
        let moved: Vec<_> = moved
            .into_iter()
            .filter(|(of, moved, _)| (*of, *moved) == (mailbox, uid))
            .map(|(_, _, id)| id)
            .collect();
        let mut lost = self.noted.lost;
        loop {
            if is_one_left(work, bound).await? {
                return Ok((copies, "one that was begun is not finished"));
            }
            let claimed = self.claimed();
            let surplus = seen(target, &copies).await?;
            copies = surplus.iter().map(|copy| copy.uid).collect();
            let claimed_there = seen(target, &claimed).await?;
            let verdict = judge(&Suspicion {
                sent,
                lost,
                surplus: &surplus,
                claimed: &claimed_there,
                claimed_absent: claimed.len() - claimed_there.len(),
                others_came: self.others_came,
                moved: &moved,
            });
            let removed = match verdict {
                Verdict::Report(reason) => return Ok((copies, reason)),
                Verdict::Remove(removed) => removed,
            };
            // However it ends: there are never more removals than lost APPENDs.
            ledger.count_removal(mailbox, uid).await?;
            lost -= 1;
            let wanted = surplus.iter().find(|copy| copy.uid == removed);
            let quarantine = Quarantine { work, bound, claimed: &claimed };
            if !quarantine.pass(target, removed, wanted).await? {
                return Ok((copies, "the way through a quarantine did not go to its end"));
            }
            copies.retain(|uid| *uid != removed);
        }
    }

    /// Where the claimed copies of its octets stand.
    fn claimed(&self) -> Vec<Uid> {
        let exact = self.noted.entry.digest.map(|(exact, _)| exact);
        let twins = self.twins.iter().map(|(_, _, entry)| entry);
        let claimed: BTreeSet<Uid> = twins
            .filter(|entry| entry.fate.is_there() && entry.digest.map(|it| it.0) == exact)
            .filter_map(|entry| entry.target_uid)
            .collect();
        claimed.into_iter().collect()
    }
}

/// Whether a removal from this mailbox was begun and is not finished.
async fn is_one_left<L: Ledger>(work: &Work<'_, L>, bound: &BoundMailbox) -> Result<bool, Fault> {
    let own = work.run.ledger.own_mailboxes(work.claim.account).await?;
    let of_it = |removal: &Removal| removal.target_name == bound.binding.target_name;
    Ok(own.iter().filter_map(|own| own.removal.as_ref()).any(of_it))
}

/// What stands at these UIDs of the open mailbox, with all that tells it from others.
async fn seen<T: Target>(target: &mut T, uids: &[Uid]) -> Result<Vec<Copy>, Fault> {
    if uids.is_empty() {
        return Ok(Vec::new());
    }
    let found = target.read_back(uids).await?;
    let identities = target.identify(uids).await?;
    let ids = target.object_ids(uids).await?;
    let copies = found.into_iter().map(|found| Copy {
        uid: found.uid,
        size: found.size,
        date: found.date,
        flags: found.flags,
        exact: identities.get(&found.uid).map(|identity| identity.exact),
        object_id: ids.iter().find(|(uid, _)| *uid == found.uid).map(|(_, id)| id.clone()),
    });
    Ok(copies.collect())
}

/// The way of one copy out of its mailbox.
struct Quarantine<'a, 'w, L> {
    work: &'a Work<'w, L>,
    bound: &'a BoundMailbox,
    /// Where the copies stand beside which it is in excess.
    claimed: &'a [Uid],
}

impl<L: Ledger> Quarantine<'_, '_, L> {
    /// Whether the copy is gone; else it is back, or a later pass sees to it. The mailbox is open
    /// before and after.
    async fn pass<T: Target>(
        &self,
        target: &mut T,
        uid: Uid,
        wanted: Option<&Copy>,
    ) -> Result<bool, Fault> {
        let (ledger, account) = (&self.work.run.ledger, self.work.claim.account);
        let target_name = self.bound.binding.target_name.clone();
        let name = OwnName::quarantine(self.work.serial());
        let removal = Some(Removal { target_name: target_name.clone(), target_uid: uid });
        let own = OwnMailbox { name, removal };
        ledger.note_own(account, &own).await?;
        match target.create_own(&own.name).await? {
            Created::New => {}
            Created::Exists | Created::Refused(_) => {
                ledger.forget_own(account, &own.name).await?;
                return Ok(false);
            }
        }
        if let Moved::Unknown(_) = target.move_in(uid, &own.name).await? {
            return Ok(false);
        }
        let inside = contents(target, &own.name).await?.unwrap_or_default();
        let inside = seen(target, &inside).await?;
        let opened = target.open(&target_name).await?;
        let is_same = opened.uid_validity == self.bound.binding.target_validity;
        let present = is_same && target.read_back(self.claimed).await?.len() == self.claimed.len();
        match after_quarantine(&inside, wanted, present, false) {
            Step::Wait => Ok(false),
            Step::MoveBack => {
                move_back(self.work, target, &own).await?;
                target.open(&target_name).await?;
                Ok(false)
            }
            Step::Delete => {
                let deleted = delete(self.work, target, &own.name).await?;
                target.open(&target_name).await?;
                Ok(deleted)
            }
        }
    }
}

/// Everything in a mailbox of our own, which is open then; none where it is not there.
async fn contents<T: Target>(target: &mut T, name: &OwnName) -> Result<Option<Vec<Uid>>, Fault> {
    if target.open_own(name).await?.is_none() {
        return Ok(None);
    }
    Ok(Some(target.look(Uid::FIRST).await?.into_iter().map(|found| found.uid).collect()))
}

async fn delete<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    target: &mut T,
    name: &OwnName,
) -> Result<bool, Fault> {
    let deleted = target.delete_own(name).await? == Deleted::Gone;
    if deleted {
        work.run.ledger.forget_own(work.claim.account, name).await?;
    }
    Ok(deleted)
}

/// Moves back what is in a quarantine, and deletes it once it is empty. Whether it is gone.
async fn move_back<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    target: &mut T,
    own: &OwnMailbox,
) -> Result<bool, Fault> {
    let Some(removal) = &own.removal else {
        return Ok(false);
    };
    let Some(inside) = contents(target, &own.name).await? else {
        work.run.ledger.forget_own(work.claim.account, &own.name).await?;
        return Ok(true);
    };
    if inside.is_empty() && own.name.is_of(work.run.seed, work.claim.epoch) {
        return Ok(false); // A MOVE of a lost connection may still put something there.
    }
    if !inside.is_empty() {
        target.move_out(&own.name, &inside, &removal.target_name).await?;
        // Whatever was answered: what is seen counts.
        if contents(target, &own.name).await?.is_some_and(|inside| !inside.is_empty()) {
            return Ok(false);
        }
    }
    delete(work, target, &own.name).await
}

/// Ends removals that were begun and broke off: what was moved away is moved back.
///
/// # Errors
///
/// Anything wider than a mailbox.
pub(super) async fn recover<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    target: &mut T,
) -> Result<(), Fault> {
    let own = work.run.ledger.own_mailboxes(work.claim.account).await?;
    for own in own.iter().filter(|own| own.removal.is_some()) {
        let ended = match move_back(work, target, own).await {
            Err(fault) if fault.scope > Scope::Mailbox => return Err(fault),
            ended => ended.unwrap_or(false),
        };
        if !ended {
            let text = format!(
                "the mailbox {} may hold a message that was to be removed as a second copy: it is \
                 moved back by a later pass",
                own.name
            );
            work.event(Event::Warning { account: Some(work.label.clone()), text });
        }
    }
    Ok(())
}
