//! The sweep: an APPEND may take effect after its message was looked for and sent again (RFC 9051 has
//! no fence for it). So what was sent again is noted, and the target mailbox is looked through once
//! more, at the end of each mailbox, of each account and in each later pass.

use std::collections::{BTreeMap, BTreeSet};

use super::resolve::{self, Look, Others};
use super::surplus::Surplus;
use super::work::Work;
use crate::config;
use crate::event::Event;
use crate::fate::{Fate, RemarkKind};
use crate::fault::{Fault, Scope};
use crate::history::Entry;
use crate::ledger::{BoundMailbox, Doubted, Ledger, Outcome, Settlement};
use crate::mail::Uid;
use crate::plan::settle::Sought;
use crate::plan::sweep::{Key, asked};
use crate::plan::verdict::judge;
use crate::target::Target;

/// Looks through a target mailbox for late copies. Its windows are closed; it is opened here.
///
/// # Errors
///
/// A mailbox fault where it cannot be opened; a session fault where the connection breaks.
pub(super) async fn sweep<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    target: &mut T,
    bound: &BoundMailbox,
) -> Result<(), Fault> {
    let ledger = &work.run.ledger;
    let noted = ledger.doubted(bound.id).await?;
    let Some(lo) = noted.iter().map(|noted| noted.doubt.lo).min() else {
        return Ok(());
    };
    let destination = match target.open(&bound.binding.target_name).await {
        Err(fault) if fault.scope <= Scope::Mailbox => {
            forget(work, noted.iter().map(key_of)).await?; // What is not there holds nothing twice.
            return Err(fault);
        }
        opened => opened?,
    };
    if destination.uid_validity.is_none() {
        return Ok(()); // Compared with everything by the next pass.
    }
    if destination.uid_validity != bound.binding.target_validity {
        // The UIDs told are another mailbox's by now. Those of others that go there may be known anew.
        let own = noted.iter().map(key_of).filter(|(mailbox, _)| *mailbox == bound.id);
        return forget(work, own).await;
    }
    let mut claimed: BTreeSet<Uid> = ledger.claimed(bound.id, lo).await?.into_iter().collect();
    let mut present: BTreeSet<Uid> =
        target.look(lo).await?.into_iter().map(|found| found.uid).collect();
    let copies = noted.iter().filter_map(|noted| noted.entry.target_uid);
    let below: BTreeSet<Uid> = copies.filter(|uid| *uid < lo).collect();
    let below: Vec<Uid> = below.into_iter().collect();
    present.extend(target.read_back(&below).await?.into_iter().map(|found| found.uid));
    let mut asked = asked(&noted, &present, work.alters());
    read_adopted(target, &noted, &mut asked.having).await?;
    let sought = asked.lacking.iter().chain(&asked.having);
    let headers = sought.filter_map(|sought| Some(sought.digests?.headers)).collect();
    let twins = ledger.twins(bound.id, headers).await?;
    // A late copy of one of these is no rewritten copy of a namesake that is not among them. What came meanwhile may
    // be one, too: its octets tell.
    let others = |sought: &[Sought<Key>]| {
        let mut others = Others::of(&twins, |key| sought.iter().any(|sought| sought.key == key));
        others.read_alike(sought.iter().filter_map(|sought| Some(sought.digests?.headers)));
        others
    };
    let without = others(&asked.lacking);
    let Look { settlement, there, stored } =
        resolve::look(target, lo, &claimed, &asked.lacking, &without).await?;
    let mut given = Settlement::default();
    for (key, uid) in settlement.found {
        let Some(noted) = noted.iter().find(|one| key_of(one) == key) else {
            continue;
        };
        claimed.insert(uid);
        let remarks = there
            .get(&uid)
            .map(|found| judge(&noted.entry, found, stored.get(&uid)))
            .unwrap_or_default();
        let entry = Entry { fate: Fate::Copied, target_uid: Some(uid), ..noted.entry.clone() };
        given.outcomes.push((key.0, Outcome { uid: key.1, entry, remarks, subject: None }));
    }
    let found_late: BTreeSet<Key> =
        given.outcomes.iter().map(|(mailbox, outcome)| (*mailbox, outcome.uid)).collect();
    if !given.outcomes.is_empty() {
        ledger.settle(given).await?;
    }
    asked.given(&found_late);
    let having = asked.having;
    let without = others(&having);
    let mut surplus: BTreeMap<Key, Vec<Uid>> =
        having.iter().map(|sought| (sought.key, Vec::new())).collect();
    loop {
        // One more copy of each at a time.
        let more = resolve::look(target, lo, &claimed, &having, &without).await?.settlement.found;
        if more.is_empty() {
            break;
        }
        for (key, uid) in more {
            claimed.insert(uid);
            surplus.entry(key).or_default().push(uid);
        }
    }
    // Whose first copy is gone has no second one.
    let keys = noted.iter().map(key_of);
    forget(work, keys.filter(|key| !surplus.contains_key(key))).await?;
    let removes = work.run.config.surplus == config::Surplus::Remove && target.can_stage();
    let others_came = removes && {
        let known = |uid| claimed.contains(&uid); // The surplus copies, too.
        target.look(lo).await?.iter().any(|found| !known(found.uid))
    };
    for ((mailbox, uid), mut copies) in surplus {
        let mut why = String::new();
        let of_it = |one: &&Doubted| key_of(one) == (mailbox, uid);
        if removes
            && !copies.is_empty()
            && let Some(noted) = noted.iter().find(of_it)
        {
            let found = copies.len();
            let surplus = Surplus { noted, twins: &twins, others_came };
            let (left, reason) = surplus.remove(work, target, bound, copies).await?;
            if left.len() < found {
                let (source, path) = (&bound.binding.source_path, &bound.binding.target_path);
                let text = format!("UID {uid} of {source}: its second copy in {path} was removed");
                work.event(Event::Warning { account: Some(work.label.clone()), text });
            }
            (copies, why) = (left, format!(" (not removed: {reason})"));
        }
        let text = (!copies.is_empty()).then(|| {
            let uids: Vec<String> = copies.iter().map(Uid::to_string).collect();
            let path = &bound.binding.target_path;
            let uids = uids.join(", ");
            format!("it was sent again, and {path} seems to have it twice: UID {uids}{why}")
        });
        if let Some(text) = &text {
            work.event(Event::Warning {
                account: Some(work.label.clone()),
                text: format!("UID {uid} of {}: {text}", bound.binding.source_path),
            });
        }
        ledger.set_remark(mailbox, uid, RemarkKind::PossibleDuplicate, text).await?;
    }
    Ok(())
}

/// What was streamed and then taken for a copy was never read: what stands there tells what a second one
/// is like.
async fn read_adopted<T: Target>(
    target: &mut T,
    noted: &[Doubted],
    having: &mut [Sought<Key>],
) -> Result<(), Fault> {
    let copies = noted.iter().filter(|noted| noted.entry.digest.is_none());
    let copies = copies.filter_map(|noted| Some((key_of(noted), noted.entry.target_uid?)));
    let mut copies: BTreeMap<Key, Uid> = copies.collect();
    copies.retain(|key, _| having.iter().any(|sought| sought.key == *key));
    let uids: BTreeSet<Uid> = copies.values().copied().collect();
    let stored = target.identify(&uids.into_iter().collect::<Vec<_>>()).await?;
    for sought in having {
        if let Some(identity) = copies.get(&sought.key).and_then(|uid| stored.get(uid)) {
            sought.digests = Some((*identity).into());
        }
    }
    Ok(())
}

fn key_of(noted: &Doubted) -> Key {
    (noted.doubt.mailbox, noted.doubt.uid)
}

/// Takes back what was said of second copies.
async fn forget<L: Ledger>(
    work: &Work<'_, L>,
    keys: impl Iterator<Item = Key>,
) -> Result<(), Fault> {
    for (mailbox, uid) in keys {
        let kind = RemarkKind::PossibleDuplicate;
        work.run.ledger.set_remark(mailbox, uid, kind, None).await?;
    }
    Ok(())
}
