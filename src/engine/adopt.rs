//! Messages that are on the target before anything is sent there: put there by an earlier tool, by a
//! run whose ledger is lost or older, or by ourselves under another UIDVALIDITY. They are matched
//! with what is still to be copied, and only the rest is copied.

use std::collections::{BTreeMap, BTreeSet};

use super::resolve::{Others, lapsed_of, settle_among};
use super::scan::Ranges;
use super::work::Work;
use crate::config::Adopt;
use crate::event::Event;
use crate::fate::{Fate, RemarkKind};
use crate::fault::{Fault, Remedy, Scope, Side};
use crate::history::{Entry, Troubles};
use crate::identity::{Digest, Identity};
use crate::ledger::{BoundMailbox, Ledger, Outcome, Settlement};
use crate::mail::{InternalDate, MessageInfo, Uid};
use crate::plan::adopt::{Class, Matched, Unclear, give_back, looks_foreign, match_by_class};
use crate::plan::settle::{self, Candidate, Claim, Sought, may_alter};
use crate::plan::sweep::Key;
use crate::plan::verdict::judge;
use crate::source::{Opened, Source};
use crate::target::{Found, Target};

/// A message that is still to be copied.
struct Wanted {
    entry: Entry,
    /// Whether its digests are known from when it was sent: then its copy is ours.
    is_ours: bool,
}

/// Matches what stands in the open target mailbox at and above `bound.target_uid_next` with what is
/// to be copied of the open source mailbox. True where anything was taken for a copy.
///
/// # Errors
///
/// A mailbox fault where the target mailbox looks like another's.
pub(super) async fn adopt<S: Source, T: Target, L: Ledger>(
    work: &Work<'_, L>,
    source: &mut S,
    target: &mut T,
    bound: &BoundMailbox,
    opened: &Opened,
    uid_next: Uid,
) -> Result<bool, Fault> {
    let ledger = &work.run.ledger;
    let from = bound.target_uid_next;
    if uid_next <= from {
        return Ok(false);
    }
    let claimed: BTreeSet<Uid> = ledger.claimed(bound.id, from).await?.into_iter().collect();
    let all = target.look(from).await?;
    let there: Vec<Found> =
        all.iter().filter(|found| !claimed.contains(&found.uid)).cloned().collect();
    if there.is_empty() {
        return Ok(false);
    }
    let mut wanted = wanted(work, source, bound, opened).await?;
    // What others have brought is copied beside, but not what is there by ourselves.
    if work.run.config.adopt == Adopt::None {
        let sent_before = ledger.doubted(bound.id).await?.into_iter();
        let sent_before: BTreeSet<Uid> = sent_before
            .filter(|noted| noted.doubt.mailbox == bound.id)
            .map(|noted| noted.doubt.uid)
            .collect();
        wanted.retain(|uid, one| one.is_ours || sent_before.contains(uid));
    }
    if wanted.is_empty() {
        return Ok(false);
    }
    let mut copies = match_all(work, source, target, bound, &wanted, &there).await?;
    let is_new = !bound.fixed && from == Uid::FIRST;
    if is_new && looks_foreign(there.len(), copies.len()) {
        let action = format!("copy into {}", bound.binding.target_path);
        let cause = format!(
            "it holds {} messages, of which only {} are copies of this mailbox's: is it the right \
             one? --adopt none copies beside what is there",
            there.len(),
            copies.len()
        );
        let fault = Fault::new(Scope::Mailbox, Remedy::Nothing, action, cause);
        return Err(fault.at(Side::Target));
    }
    if copies.is_empty() {
        return Ok(false);
    }
    let back = come_back(work, source, target, bound, &wanted, &mut copies, &all).await?;
    let found: BTreeMap<Uid, &Found> = there.iter().map(|found| (found.uid, found)).collect();
    let outcomes = copies.into_iter().filter_map(|(uid, target_uid)| {
        let Wanted { entry, is_ours } = wanted.get(&uid)?;
        let fate = if *is_ours { Fate::Copied } else { Fate::Adopted };
        let found = found.get(&target_uid)?;
        // What others have put there is as they wished it, but for its size: then it is hardly a copy.
        let mut remarks = judge(entry, found, None);
        let is_other = !settle::is_close(entry.size, found.size);
        remarks.retain(|one| *is_ours || (one.kind == RemarkKind::BytesAltered && is_other));
        let entry = Entry { fate, target_uid: Some(target_uid), ..entry.clone() };
        Some((bound.id, Outcome { uid, entry, remarks, subject: None }))
    });
    let mut settlement = Settlement { outcomes: outcomes.collect(), ..Settlement::default() };
    if !settlement.outcomes.is_empty() {
        work.event(Event::Adopted {
            account: work.label.clone(),
            mailbox: bound.binding.source_path.to_string(),
            messages: settlement.outcomes.len() as u64,
        });
    }
    settlement.outcomes.extend(back.into_iter().filter_map(|((key, entry), target_uid)| {
        let remarks = judge(&entry, found.get(&target_uid)?, None);
        let entry = Entry { target_uid: Some(target_uid), ..entry };
        Some((key.0, Outcome { uid: key.1, entry, remarks, subject: None }))
    }));
    ledger.settle(settlement).await?;
    Ok(true)
}

/// Takes out of what was matched the copies of messages that were copied before, which their owner
/// has moved away and back: they are no copies of others. Gives which message each is of.
async fn come_back<S: Source, T: Target, L: Ledger>(
    work: &Work<'_, L>,
    source: &mut S,
    target: &mut T,
    bound: &BoundMailbox,
    wanted: &BTreeMap<Uid, Wanted>,
    copies: &mut Copies,
    there: &[Found],
) -> Result<Vec<((Key, Entry), Uid)>, Fault> {
    let mut headers: BTreeMap<Uid, u64> =
        copies.keys().filter_map(|uid| Some((*uid, wanted.get(uid)?.entry.digest?.1))).collect();
    let unread: Vec<Uid> =
        copies.keys().filter(|uid| !headers.contains_key(uid)).copied().collect();
    // Nothing was copied yet, mostly.
    if bound.fixed && !unread.is_empty() {
        let keys = source.headers(&unread).await?;
        headers.extend(keys.into_iter().map(|(uid, keys)| (uid, keys.headers)));
    }
    if headers.is_empty() {
        return Ok(Vec::new());
    }
    let twins = work.run.ledger.twins(bound.id, headers.values().copied().collect()).await?;
    let lapsed = lapsed_of(target, twins, bound.target_uid_next, there).await?;
    let lapsed: Vec<((Key, Entry), (Digest, u64))> = lapsed
        .into_iter()
        .filter_map(|(key, entry)| {
            let digest = entry.digest?;
            Some(((key, entry), digest))
        })
        .collect();
    // Namesakes have equal header lines: only the octets tell.
    let alike = |uid: &Uid| lapsed.iter().any(|(_, digest)| headers.get(uid) == Some(&digest.1));
    let mut alike: Vec<Uid> =
        copies.iter().filter(|(uid, _)| alike(uid)).map(|(_, target_uid)| *target_uid).collect();
    alike.sort_unstable();
    let stored = target.identify(&alike).await?;
    let stored = |uid| stored.get(&uid).map(|identity| identity.exact);
    Ok(give_back(copies, stored, lapsed.into_iter().map(|(claim, digest)| (claim, digest.0))))
}

/// Everything of a mailbox that is still to be copied, or was sent once and is not claimed any more.
async fn wanted<S: Source, L: Ledger>(
    work: &Work<'_, L>,
    source: &mut S,
    bound: &BoundMailbox,
    opened: &Opened,
) -> Result<BTreeMap<Uid, Wanted>, Fault> {
    let mut wanted = BTreeMap::new();
    let scan_messages_max = work.run.config.scan_messages_max;
    for range in Ranges::new(opened.uid_next, opened.messages, scan_messages_max) {
        let scan = source.scan(range.clone()).await?;
        let history = work.run.ledger.history(bound.id, range).await?;
        for info in &scan {
            let known = history.get(info.uid);
            // A streamed message has digests only when it was sent; whoever is refused may be there. What
            // the filter leaves out too: a later pass would not look below what is seen now.
            let may_be_there = |fate: Fate| {
                matches!(fate, Fate::Pending | Fate::Filtered | Fate::Gone) || fate.is_retried()
            };
            if known.is_none_or(|entry| may_be_there(entry.fate)) {
                let entry = known.cloned().unwrap_or_else(|| new_entry(info));
                let is_ours = entry.digest.is_some();
                wanted.insert(info.uid, Wanted { entry, is_ours });
            }
        }
        for (uid, entry) in history.iter() {
            if entry.fate == Fate::Pending && entry.digest.is_some() {
                let entry = entry.clone();
                wanted.entry(uid).or_insert(Wanted { entry, is_ours: true });
            }
        }
    }
    Ok(wanted)
}

/// What is known of a message that was never touched.
pub(super) fn new_entry(info: &MessageInfo) -> Entry {
    Entry {
        fate: Fate::Pending,
        target_uid: None,
        size: info.size,
        date: info.date,
        flags: info.flags.clone(),
        digest: None,
        changed: None,
        troubles: Troubles::default(),
        risky: false,
    }
}

type Copies = BTreeMap<Uid, Uid>;

/// First those that were sent before, by all that is known of them; then by Message-ID and Date, and
/// where these are missing or their counts differ, by the bodies.
async fn match_all<S: Source, T: Target, L: Ledger>(
    work: &Work<'_, L>,
    source: &mut S,
    target: &mut T,
    bound: &BoundMailbox,
    wanted: &BTreeMap<Uid, Wanted>,
    there: &[Found],
) -> Result<Copies, Fault> {
    let copies = ours(work, target, bound, wanted, there).await?;
    let open: Vec<Uid> =
        wanted.iter().filter(|(_, one)| !one.is_ours).map(|(uid, _)| *uid).collect();
    let taken: BTreeSet<Uid> = copies.values().copied().collect();
    let mut there = there.to_vec();
    there.retain(|found| !taken.contains(&found.uid));
    if open.is_empty() || there.is_empty() {
        return Ok(copies);
    }
    let uids: Vec<Uid> = there.iter().map(|found| found.uid).collect();
    let there_keys = target.headers(&uids).await?;
    let keys = source.headers(&open).await?;
    let letters = open.iter().filter_map(|uid| Some((Class::letter(keys.get(uid)?)?, *uid)));
    let there_letters =
        uids.iter().filter_map(|uid| Some((Class::letter(there_keys.get(uid)?)?, *uid)));
    let Matched { pairs, mut unclear } = match_by_class(letters, there_letters);
    unclear.extend(without_letter(
        wanted,
        &open,
        &there,
        |uid| keys.get(&uid)?.letter,
        |uid| there_keys.get(&uid)?.letter,
    ));
    let mut by_body = BodyMatch {
        wanted,
        found: there.iter().map(|found| (found.uid, found)).collect(),
        taken: pairs.iter().map(|(_, uid)| *uid).collect(),
        copies,
        alters: work.alters(),
    };
    by_body.copies.extend(pairs);
    for class in unclear {
        by_body.decide(source, target, class).await?;
    }
    Ok(by_body.copies)
}

/// The copies of messages that were sent before.
async fn ours<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    target: &mut T,
    bound: &BoundMailbox,
    wanted: &BTreeMap<Uid, Wanted>,
    there: &[Found],
) -> Result<Copies, Fault> {
    let sought: Vec<Sought<Uid>> = wanted
        .iter()
        .filter(|(_, one)| one.is_ours)
        .map(|(uid, one)| sought(*uid, &one.entry, None, work.alters()))
        .collect();
    if sought.is_empty() {
        return Ok(Copies::new());
    }
    let there = there.iter().filter(|found| settle::is_plausible(found, &sought)).cloned();
    let others = Others::beside(work, bound.id, &sought, |(mailbox, uid)| {
        mailbox == bound.id && wanted.get(&uid).is_some_and(|one| one.is_ours)
    });
    let mut others = others.await?;
    // One that was adopted before, unread, may be a namesake of one that was sent.
    let unread: BTreeSet<Option<i64>> = wanted
        .values()
        .filter(|one| !one.is_ours)
        .map(|one| one.entry.date.map(InternalDate::seconds))
        .collect();
    let of_one_date = |one: &&Sought<Uid>| unread.contains(&one.date.map(InternalDate::seconds));
    let digests = sought.iter().filter(of_one_date).filter_map(|one| one.digests);
    others.read_alike(digests.map(|digests| digests.headers));
    let look = settle_among(target, there.collect(), &sought, &others).await?;
    Ok(look.settlement.found.into_iter().collect())
}

fn sought(uid: Uid, entry: &Entry, read: Option<&Identity>, alters: bool) -> Sought<Uid> {
    let Entry { size, date, digest, risky, .. } = *entry;
    let digests = read.map(|read| (*read).into()).or(digest.map(<_>::from));
    let claim = Claim::InDoubt;
    let risky = risky || read.is_some_and(|read| read.risky);
    Sought { key: uid, claim, size, date, digests, may_be_altered: may_alter(claim, alters, risky) }
}

/// Messages without Message-ID or Date, of which nothing but size and body tells what they are.
fn without_letter(
    wanted: &BTreeMap<Uid, Wanted>,
    open: &[Uid],
    there: &[Found],
    letter: impl Fn(Uid) -> Option<u64>,
    letter_there: impl Fn(Uid) -> Option<u64>,
) -> Option<Unclear> {
    let bare: Vec<&Found> =
        there.iter().filter(|found| letter_there(found.uid).is_none()).collect();
    let wanted: Vec<Uid> = open
        .iter()
        .filter(|uid| letter(**uid).is_none())
        .filter(|uid| bare.iter().any(|found| settle::is_close(wanted[uid].entry.size, found.size)))
        .copied()
        .collect();
    let there = bare.into_iter().map(|found| found.uid).collect();
    (!wanted.is_empty()).then_some(Unclear { wanted, there })
}

/// Decides by the bodies.
struct BodyMatch<'a> {
    wanted: &'a BTreeMap<Uid, Wanted>,
    found: BTreeMap<Uid, &'a Found>,
    taken: BTreeSet<Uid>,
    copies: Copies,
    /// Whether the target rewrites mail.
    alters: bool,
}

impl BodyMatch<'_> {
    async fn decide<S: Source, T: Target>(
        &mut self,
        source: &mut S,
        target: &mut T,
        class: Unclear,
    ) -> Result<(), Fault> {
        let mut there = class.there;
        there.retain(|uid| !self.taken.contains(uid));
        let unknown: Vec<Uid> = class
            .wanted
            .iter()
            .filter(|uid| self.wanted[uid].entry.digest.is_none())
            .copied()
            .collect();
        let read = source.identify(&unknown).await?;
        let stored = target.identify(&there).await?;
        let sought: Vec<Sought<Uid>> = class
            .wanted
            .iter()
            .map(|uid| {
                let read = read.get(uid).map(|(_, identity)| identity);
                sought(*uid, &self.wanted[uid].entry, read, self.alters)
            })
            .collect();
        let candidates: Vec<Candidate> = there
            .iter()
            .filter_map(|uid| {
                let found = self.found.get(uid)?;
                let identity = Some(*stored.get(uid)?);
                let headers = identity.map(|identity| identity.headers);
                Some(Candidate { uid: *uid, size: found.size, date: found.date, headers, identity })
            })
            .collect();
        for (uid, target_uid) in settle::settle(&sought, &candidates).found {
            self.taken.insert(target_uid);
            self.copies.insert(uid, target_uid);
        }
        Ok(())
    }
}
