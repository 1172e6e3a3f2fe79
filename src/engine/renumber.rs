//! A source mailbox whose UIDVALIDITY has changed: what was copied is found again under its new UIDs,
//! before anything is copied.

use std::collections::{BTreeMap, BTreeSet};

use super::adopt::new_entry;
use super::scan::Ranges;
use super::work::Work;
use crate::event::Event;
use crate::fate::Fate;
use crate::fault::Fault;
use crate::history::{Entry, History};
use crate::ledger::{BoundMailbox, Doubt, Ledger, MailboxId, Outcome, Settlement};
use crate::mail::{MessageInfo, Uid};
use crate::plan::adopt::{Matched, Outline, Unclear, match_by_class};
use crate::plan::settle::{self, Candidate, Claim, Sought};
use crate::source::{Opened, Source};

/// Gives the messages of the open source mailbox that are known under an `old` binding their new
/// UIDs, by size, date and header lines, and by their digests where these do not tell. Gives from which
/// target UID on there may be copies that nobody has claimed.
pub(super) async fn renumber<S: Source, L: Ledger>(
    work: &Work<'_, L>,
    source: &mut S,
    opened: &Opened,
    old: &BoundMailbox,
    new: MailboxId,
) -> Result<Uid, Fault> {
    let ledger = &work.run.ledger;
    let known = ledger.history(old.id, Uid(0)..=Uid(u32::MAX)).await?;
    let mut infos: BTreeMap<Uid, MessageInfo> = BTreeMap::new();
    let mut there = Vec::new();
    let scan_messages_max = work.run.config.scan_messages_max;
    for range in Ranges::new(opened.uid_next, opened.messages, scan_messages_max) {
        let scan = source.scan(range).await?;
        let uids: Vec<Uid> = scan.iter().map(|info| info.uid).collect();
        let keys = source.headers(&uids).await?;
        there.extend(scan.iter().filter_map(|info| {
            let headers = keys.get(&info.uid)?.headers;
            Some((Outline::of(info.size, info.date, headers)?, info.uid))
        }));
        infos.extend(scan.into_iter().map(|info| (info.uid, info)));
    }
    let known = History::new(known.iter().map(|(uid, entry)| (uid, entry.at_source())));
    let wanted = known.iter().filter(|(_, entry)| is_wanted(entry)).filter_map(|(uid, entry)| {
        let (_, headers) = entry.digest?;
        Some((Outline::of(entry.size, entry.date, headers)?, uid))
    });
    let Matched { mut pairs, unclear } = match_by_class(wanted.collect(), there);
    let of_one_size = of_one_size(&known, &infos, &pairs, &unclear);
    for class in unclear {
        let told = by_body(source, &known, &infos, &class).await?;
        pairs.extend(class.rest(&told));
        pairs.extend(told);
    }
    for class in of_one_size {
        pairs.extend(by_body(source, &known, &infos, &class).await?);
    }
    let text = format!(
        "{}: the source gave it a new UIDVALIDITY; {} of {} messages known before were found again",
        old.binding.source_path,
        pairs.len(),
        known.iter().count()
    );
    // Before what is held is forgotten.
    let Held { alike, lo } = held(work, old, &infos, &pairs).await?;
    let uid_next = lo.map_or(old.target_uid_next, |lo| lo.min(old.target_uid_next));
    ledger.set_target_uid_next(old.id, uid_next).await?;
    if !alike.is_empty() {
        let doubted = alike.iter().map(|(info, lo)| Doubt { mailbox: new, uid: info.uid, lo: *lo });
        let doubted = doubted.collect();
        let outcomes = alike.iter().map(|(info, _)| (new, pending(info))).collect();
        ledger.settle(Settlement { doubted, outcomes, ..Settlement::default() }).await?;
        work.doubted();
    }
    ledger.renumber(old.id, new, pairs).await?;
    work.event(Event::Warning { account: Some(work.label.clone()), text });
    Ok(uid_next)
}

/// What a mailbox holds back that gets a new UIDVALIDITY.
struct Held<'i> {
    /// What may be, under its new UID, a message that was sent without digests (it was streamed), with
    /// the lowest UID of its copy. Unless that is adopted it will be sent again, and there may be two.
    alike: Vec<(&'i MessageInfo, Uid)>,
    /// The lowest UID of a copy of anything that is held.
    lo: Option<Uid>,
}

async fn held<'i, L: Ledger>(
    work: &Work<'_, L>,
    old: &BoundMailbox,
    infos: &'i BTreeMap<Uid, MessageInfo>,
    pairs: &[(Uid, Uid)],
) -> Result<Held<'i>, Fault> {
    let mut open = work.run.ledger.open_windows(work.claim.account).await?;
    open.retain(|open| open.window.mailbox == old.id);
    let is_new = |info: &&MessageInfo| pairs.iter().all(|(_, uid)| *uid != info.uid);
    let mut alike = Vec::new();
    for window in open.iter().map(|open| &open.window) {
        for sent in window.messages.iter().filter(|sent| sent.identity.is_none()) {
            let of_size = infos.values().filter(|info| info.size == sent.size);
            alike.extend(of_size.filter(is_new).map(|info| (info, window.lo)));
        }
    }
    Ok(Held { alike, lo: open.iter().map(|open| open.window.lo).min() })
}

fn pending(info: &MessageInfo) -> Outcome {
    let entry = new_entry(info);
    Outcome { uid: info.uid, entry, remarks: Vec::new(), subject: None }
}

/// What is gone is not looked for: an equal message that is there is another one.
fn is_wanted(entry: &Entry) -> bool {
    entry.digest.is_some() && entry.fate != Fate::Gone
}

/// What header lines and date did not match, by size: what has no such lines; and some servers (Zimbra) tell other
/// ones than stand in the message, or (Mailutils) the hour of the session as the date of what has none.
fn of_one_size(
    known: &History,
    infos: &BTreeMap<Uid, MessageInfo>,
    pairs: &[(Uid, Uid)],
    unclear: &[Unclear],
) -> Vec<Unclear> {
    let wanted_before: BTreeSet<Uid> = pairs
        .iter()
        .map(|(old, _)| *old)
        .chain(unclear.iter().flat_map(|class| class.wanted.iter().copied()))
        .collect();
    let there_before: BTreeSet<Uid> = pairs
        .iter()
        .map(|(_, new)| *new)
        .chain(unclear.iter().flat_map(|class| class.there.iter().copied()))
        .collect();
    let mut classes: BTreeMap<u64, Unclear> = BTreeMap::new();
    let wanted =
        known.iter().filter(|(uid, entry)| is_wanted(entry) && !wanted_before.contains(uid));
    for (uid, entry) in wanted {
        classes.entry(entry.size).or_default().wanted.push(uid);
    }
    for info in infos.values().filter(|info| !there_before.contains(&info.uid)) {
        if let Some(class) = classes.get_mut(&info.size) {
            class.there.push(info.uid);
        }
    }
    classes.into_values().filter(|class| !class.there.is_empty()).collect()
}

/// Reads the bodies of a class to tell which message is which. Where these are equal, dates tell nothing
/// more.
async fn by_body<S: Source>(
    source: &mut S,
    known: &History,
    infos: &BTreeMap<Uid, MessageInfo>,
    class: &Unclear,
) -> Result<Vec<(Uid, Uid)>, Fault> {
    let sought: Vec<Sought<Uid>> = class
        .wanted
        .iter()
        .filter_map(|uid| {
            let Entry { size, digest, ref flags, .. } = *known.get(*uid)?;
            let (digests, flags) = (digest.map(<_>::from), flags.clone());
            let (claim, may_be_altered) = (Claim::InDoubt, false);
            Some(Sought { key: *uid, claim, size, date: None, flags, digests, may_be_altered })
        })
        .collect();
    let read = source.identify(&class.there).await?;
    let candidates: Vec<Candidate> = read
        .into_iter()
        .filter_map(|(uid, (_, identity))| {
            let MessageInfo { size, ref flags, .. } = *infos.get(&uid)?;
            let (headers, identity) = (Some(identity.headers), Some(identity));
            Some(Candidate { uid, size, date: None, flags: flags.clone(), headers, identity })
        })
        .collect();
    Ok(settle::settle(&sought, &candidates).found)
}
