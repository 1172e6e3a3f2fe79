//! Read-back: a message is copied only when its copy was seen on the target.
//!
//! Some servers say OK and store nothing, or something else. A read-back on the connection that
//! appended may confirm, but not deny: there a server may not show its own new messages yet. What is
//! not seen is looked for once more on a new connection.

use super::window::{Place, Unverified};
use super::work::Work;
use crate::fate::{Fate, Remark, RemarkKind};
use crate::fault::{Fault, Side};
use crate::history::Entry;
use crate::ledger::{Ledger, Outcome};
use crate::mail::Uid;
use crate::plan::delta::Acknowledged;
use crate::plan::verdict::{Verdict, is_rewritten, judge};
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
    let mut uids: Vec<Uid> = unverified
        .iter()
        .map(|u| u.acknowledged.target_uid)
        .collect();
    uids.sort_unstable();
    let found = target.read_back(&uids).await?;
    let seen = |uid: Uid| {
        found
            .binary_search_by_key(&uid, |f| f.uid)
            .ok()
            .map(|at| &found[at])
    };
    let all_seen = uids.iter().all(|uid| seen(*uid).is_some());
    // Only what is missing needs to know how far UIDs have got.
    let uid_next = if all_seen || look == Look::First {
        place.lo
    } else {
        target.open(&place.target_name).await?.uid_next
    };
    let mut outcomes = Vec::with_capacity(unverified.len());
    let (mut unseen, mut owed) = (0_u64, false);
    for Unverified {
        acknowledged,
        subject,
    } in unverified
    {
        let Acknowledged {
            uid,
            target_uid,
            entry,
        } = acknowledged;
        let found = seen(target_uid);
        if found.is_none() && look == Look::First {
            unseen += 1;
            continue;
        }
        let (entry, remarks) = match judge(&entry, target_uid, found, uid_next) {
            Verdict::Copied(remarks) => (
                Entry {
                    fate: Fate::Copied,
                    ..entry
                },
                remarks,
            ),
            Verdict::Compare(remarks) => compare(target, entry, target_uid, remarks).await?,
            Verdict::NeverStored => never_stored(entry),
            Verdict::Removed => {
                let text = "the copy was acknowledged, and is not there any more";
                let remark = Remark::new(RemarkKind::RemovedAtTarget, text);
                (
                    Entry {
                        fate: Fate::Copied,
                        ..entry
                    },
                    vec![remark],
                )
            }
        };
        owed |= entry.fate == Fate::Pending;
        outcomes.push(Outcome {
            uid,
            entry,
            remarks,
            subject,
        });
    }
    work.run.ledger.record(place.mailbox, outcomes).await?;
    // What was seen has a lower UID than anything that will be sent from now on.
    place.lo = found
        .last()
        .map_or(place.lo, |last: &Found| place.lo.max(last.uid.next()));
    if unseen > 0 {
        work.appended_in(target.slowest_append());
        tokio::time::sleep(work.settle_time()).await;
        let cause = "the target acknowledged messages that it does not show";
        let action = format!("read back {unseen} messages of {}", place.pair.target);
        return Err(Fault::session(action, cause).at(Side::Target));
    }
    Ok(owed)
}

/// A copy of another size: rewritten by its server, or not the copy at all.
async fn compare<T: Target>(
    target: &mut T,
    entry: Entry,
    target_uid: Uid,
    remarks: Vec<Remark>,
) -> Result<(Entry, Vec<Remark>), Fault> {
    match target.identify(target_uid).await? {
        Some(stored) if !is_rewritten(&entry, &stored) => Ok(never_stored(entry)),
        // Some servers tell a size that is not the body's (RFC822.SIZE of a mail they rewrite when
        // they serve it): the digest has the last word.
        Some(stored) if entry.digest.is_some_and(|(exact, _)| exact == stored.exact) => {
            let remarks = remarks
                .into_iter()
                .filter(|r| r.kind != RemarkKind::BytesAltered);
            Ok((
                Entry {
                    fate: Fate::Copied,
                    ..entry
                },
                remarks.collect(),
            ))
        }
        _ => Ok((
            Entry {
                fate: Fate::Copied,
                ..entry
            },
            remarks,
        )),
    }
}

/// To be sent again, alone; lost if that has not helped before.
fn never_stored(entry: Entry) -> (Entry, Vec<Remark>) {
    let doubts = entry.doubts.saturating_add(1);
    if doubts >= LOSSES_MAX {
        let text = "the target acknowledged it more than once and never had it";
        let remark = Remark::new(RemarkKind::Reason, text);
        return (
            Entry {
                fate: Fate::Lost,
                target_uid: None,
                doubts: 0,
                ..entry
            },
            vec![remark],
        );
    }
    (
        Entry {
            fate: Fate::Pending,
            target_uid: None,
            doubts,
            ..entry
        },
        Vec::new(),
    )
}
