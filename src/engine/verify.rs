//! Read-back: a message is copied only when its copy was seen on the target.
//!
//! Some servers say OK and store nothing, or something else. A read-back on the connection that
//! appended may confirm, but not deny: there a server may not show its own new messages yet. What is
//! not where the target said is searched for, and what is not seen is looked for once more on a new
//! connection.

use std::collections::{BTreeMap, BTreeSet};

use super::resolve::candidates;
use super::window::{Place, Unverified};
use super::work::Work;
use crate::fate::{Fate, Remark, RemarkKind};
use crate::fault::{Fault, Side};
use crate::history::Entry;
use crate::identity::Identity;
use crate::ledger::{Ledger, Outcome};
use crate::mail::Uid;
use crate::plan::delta::Acknowledged;
use crate::plan::settle::{InDoubt, settle};
use crate::plan::verdict::{is_rewritten, judge};
use crate::target::{Found, Target};

/// On which connection one looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// On the one that appended.
    First,
    /// On a later one, after the connection that appended was settled.
    Again,
}

/// A message accepted and never found so often is lost.
const LOSSES_MAX: u8 = 2;

/// Reads copies back and records what was seen. True where something is owed again.
///
/// # Errors
///
/// A session fault where copies were not seen and must be looked for on a new connection.
pub(super) async fn read_back<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    place: &mut Place,
    target: &mut T,
    unverified: Vec<Unverified>,
    look: Look,
) -> Result<bool, Fault> {
    let mut uids: Vec<Uid> = unverified.iter().map(|u| u.acknowledged.target_uid).collect();
    uids.sort_unstable();
    let found = target.read_back(&uids).await?;
    let mut outcomes = Vec::with_capacity(unverified.len());
    let mut seen = BTreeSet::new();
    let mut astray = Vec::new();
    for unverified in unverified {
        let Acknowledged { target_uid, entry, .. } = &unverified.acknowledged;
        let at = found.binary_search_by_key(target_uid, |found| found.uid);
        let Some(found) = at.ok().map(|at| &found[at]) else {
            astray.push((unverified, Told::Nothing));
            continue;
        };
        match confirm(target, entry, found, unverified.is_suspect).await? {
            Some(remarks) => {
                seen.insert(found.uid);
                outcomes.push(copied(unverified, found.uid, remarks));
            }
            None => astray.push((unverified, Told::Another)),
        }
    }
    let (mut unseen, mut owed) = (0_u64, false);
    if !astray.is_empty() {
        let from = match look {
            Look::First => place.lo,
            // From which UID on it was sent is not known any more.
            Look::Again => Uid::FIRST,
        };
        let mut elsewhere = search(work, place, target, from, &astray, &seen).await?;
        // Only what is missing needs to know how far UIDs have got.
        let uid_next = target.open(&place.target_name).await?.uid_next;
        for (unverified, told) in astray {
            let Acknowledged { uid, target_uid, entry } = &unverified.acknowledged;
            let (entry, remarks) = if let Some((found, remarks)) = elsewhere.remove(uid) {
                seen.insert(found);
                outcomes.push(copied(unverified, found, remarks));
                continue;
            } else if told == Told::Another || (look == Look::Again && *target_uid >= uid_next) {
                // Another message at its UID is denied at once: that the UID is suspect is known on
                // this connection only, and a later look would believe a message of its size.
                never_stored(entry.clone())
            } else if look == Look::First {
                unseen += 1;
                continue;
            } else {
                let text = "the copy was acknowledged, and is not there any more";
                let remark = Remark::new(RemarkKind::RemovedAtTarget, text);
                (as_copied(entry.clone(), *target_uid), vec![remark])
            };
            owed |= entry.fate == Fate::Pending;
            outcomes.push(Outcome { uid: *uid, entry, remarks, subject: unverified.subject });
        }
    }
    work.run.ledger.record(place.mailbox, outcomes).await?;
    // What was seen has a lower UID than anything that will be sent from now on.
    place.lo = seen.last().map_or(place.lo, |last| place.lo.max(last.next()));
    if unseen > 0 {
        work.appended_in(target.slowest_append());
        tokio::time::sleep(work.settle_time()).await;
        let cause = "the target acknowledged messages that it does not show";
        let action = format!("read back {unseen} messages of {}", place.pair.target);
        return Err(Fault::session(action, cause).at(Side::Target));
    }
    Ok(owed)
}

/// What stands at a UID that the target told, where it is not the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Another,
}

/// What is to be said of a copy; none if what was found is another message.
async fn confirm<T: Target>(
    target: &mut T,
    entry: &Entry,
    found: &Found,
    is_suspect: bool,
) -> Result<Option<Vec<Remark>>, Fault> {
    let mut remarks = judge(entry, found);
    if found.size == entry.size && !is_suspect {
        return Ok(Some(remarks));
    }
    // Of another size: rewritten by its server, or not the copy at all.
    let Some(stored) = target.identify(found.uid).await? else {
        return Ok(Some(remarks));
    };
    if !is_rewritten(entry, found.size, &stored) {
        return Ok(None);
    }
    // Some servers tell a size that is not the body's (RFC822.SIZE of a mail they rewrite when
    // they serve it): the digest has the last word.
    if entry.digest.is_some_and(|(exact, _)| exact == stored.exact) {
        remarks.retain(|remark| remark.kind != RemarkKind::BytesAltered);
    }
    Ok(Some(remarks))
}

/// Looks for copies that are not where the target said: it told a wrong UID. Nothing is taken that
/// another message has claimed.
async fn search<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    place: &Place,
    target: &mut T,
    from: Uid,
    astray: &[(Unverified, Told)],
    seen: &BTreeSet<Uid>,
) -> Result<BTreeMap<Uid, (Uid, Vec<Remark>)>, Fault> {
    let mut claimed: BTreeSet<Uid> =
        work.run.ledger.claimed(place.mailbox, from).await?.into_iter().collect();
    for (unverified, _) in astray {
        // Their own claims have just proved wrong.
        claimed.remove(&unverified.acknowledged.target_uid);
    }
    claimed.extend(seen);
    let in_doubt: Vec<InDoubt> = astray.iter().map(|(one, _)| in_doubt(one)).collect();
    let (candidates, found) = candidates(target, from, &claimed, &in_doubt).await?;
    let settlement = settle(&in_doubt, &candidates);
    let relocated = settlement.found.into_iter().filter_map(|(uid, target_uid)| {
        let (unverified, _) = astray.iter().find(|(one, _)| one.acknowledged.uid == uid)?;
        let remarks = judge(&unverified.acknowledged.entry, found.get(&target_uid)?);
        Some((uid, (target_uid, remarks)))
    });
    Ok(relocated.collect())
}

fn in_doubt(unverified: &Unverified) -> InDoubt {
    let Acknowledged { uid, entry, .. } = &unverified.acknowledged;
    // The ledger does not keep the middle class; the exact one in its place matches nothing more.
    let identity = entry.digest.map(|(exact, headers)| Identity { exact, folded: exact, headers });
    InDoubt { uid: *uid, size: entry.size, date: entry.date, identity }
}

fn copied(unverified: Unverified, target_uid: Uid, remarks: Vec<Remark>) -> Outcome {
    let Unverified { acknowledged: Acknowledged { uid, entry, .. }, subject, .. } = unverified;
    Outcome { uid, entry: as_copied(entry, target_uid), remarks, subject }
}

fn as_copied(entry: Entry, target_uid: Uid) -> Entry {
    Entry { fate: Fate::Copied, target_uid: Some(target_uid), ..entry }
}

/// To be sent again, alone; lost if that has not helped before.
fn never_stored(entry: Entry) -> (Entry, Vec<Remark>) {
    let doubts = entry.doubts.saturating_add(1);
    if doubts >= LOSSES_MAX {
        let text = "the target acknowledged it more than once and never had it";
        let remark = Remark::new(RemarkKind::Reason, text);
        return (Entry { fate: Fate::Lost, target_uid: None, doubts: 0, ..entry }, vec![remark]);
    }
    (Entry { fate: Fate::Pending, target_uid: None, doubts, ..entry }, Vec::new())
}
