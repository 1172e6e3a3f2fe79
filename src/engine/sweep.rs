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
use crate::plan::settle::{self, Sought};
use crate::plan::sweep::{Key, asked};
use crate::plan::verdict::judge;
use crate::target::{Found, Target};

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
    read_copies(work, target, &noted, &mut asked.having).await?;
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
    let unsure = unsure(&noted, &settlement, &there);
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
    let is_told = |key: &Key| surplus.contains_key(key) || unsure.contains_key(key);
    forget(work, noted.iter().map(key_of).filter(|key| !is_told(key))).await?;
    for ((mailbox, uid), copies) in &unsure {
        let text = format!(
            "it was sent, and cannot be compared any more: what stands in {} as large and as old may have come \
             late: UID {}",
            bound.binding.target_path,
            listed(copies)
        );
        tell(work, bound, *uid, &text);
        ledger.set_remark(*mailbox, *uid, RemarkKind::PossibleDuplicate, Some(text)).await?;
    }
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
            let path = &bound.binding.target_path;
            let uids = listed(&copies);
            format!("it was sent again, and {path} seems to have it twice: UID {uids}{why}")
        });
        if let Some(text) = &text {
            tell(work, bound, uid, text);
        }
        ledger.set_remark(mailbox, uid, RemarkKind::PossibleDuplicate, text).await?;
    }
    Ok(())
}

fn listed(uids: &[Uid]) -> String {
    uids.iter().map(Uid::to_string).collect::<Vec<_>>().join(", ")
}

fn tell<L: Ledger>(work: &Work<'_, L>, bound: &BoundMailbox, uid: Uid, text: &str) {
    let text = format!("UID {uid} of {}: {text}", bound.binding.source_path);
    work.event(Event::Warning { account: Some(work.label.clone()), text });
}

/// Of messages that cannot be compared with what is there, as they were streamed and the source has them no
/// more, or the target does not give what it has: where there is anything as large and as old.
fn unsure(
    noted: &[Doubted],
    settlement: &settle::Settlement<Key>,
    there: &BTreeMap<Uid, Found>,
) -> BTreeMap<Key, Vec<Uid>> {
    let is_found = |uid: Uid| settlement.found.iter().any(|(_, found)| *found == uid);
    // What is held says so itself.
    let is_undecided = |noted: &&Doubted| {
        noted.entry.fate != Fate::Held && settlement.undecided.contains(&key_of(noted))
    };
    let undecided = noted.iter().filter(is_undecided);
    let copies = undecided.map(|noted| {
        let Entry { size, date, .. } = noted.entry;
        let like = there.values().filter(|found| found.size == size && found.date == date);
        let like = like.map(|found| found.uid).filter(|uid| !is_found(*uid));
        (key_of(noted), like.collect::<Vec<_>>())
    });
    copies.filter(|(_, copies)| !copies.is_empty()).collect()
}

/// What was streamed and then taken for a copy was never read: what stands there tells what a second one
/// is like. And what the target stored once as it was sent, it stores so each time: what has other octets is a
/// namesake.
async fn read_copies<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    target: &mut T,
    noted: &[Doubted],
    having: &mut [Sought<Key>],
) -> Result<(), Fault> {
    let is_read = |entry: &Entry| entry.digest.is_none() || (entry.risky && !work.alters());
    let copies = noted.iter().filter(|noted| is_read(&noted.entry));
    let copies = copies.filter_map(|noted| Some((key_of(noted), noted.entry.target_uid?)));
    let mut copies: BTreeMap<Key, Uid> = copies.collect();
    copies.retain(|key, _| having.iter().any(|sought| sought.key == *key));
    let uids: BTreeSet<Uid> = copies.values().copied().collect();
    let stored = target.identify(&uids.into_iter().collect::<Vec<_>>()).await?;
    for sought in having {
        if let Some(identity) = copies.get(&sought.key).and_then(|uid| stored.get(uid)) {
            match sought.digests {
                Some(digests) => sought.may_be_altered &= digests.exact != identity.exact,
                // What was sent is not known to the octet, and the copy may be a namesake: header lines, size and date
                // have to do.
                None => (sought.digests, sought.may_be_altered) = (Some((*identity).into()), true),
            }
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
