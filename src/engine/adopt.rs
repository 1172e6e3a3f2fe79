//! Messages that are on the target before anything is sent there: put there by an earlier tool, by a
//! run whose ledger is lost or older, or by ourselves under another UIDVALIDITY. They are matched
//! with what is still to be copied, and only the rest is copied.
//!
//! Either side may have a million messages. So both are read in parts, and of most messages only UID, size
//! and a key over Message-ID and Date are held.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::resolve::{Others, lapsed_of, settle_among, withheld};
use super::scan::{Census, Noted, Ranges};
use super::work::Work;
use crate::config::Adopt;
use crate::event::Event;
use crate::fate::{Fate, Remark, RemarkKind};
use crate::fault::{Fault, Remedy, Scope, Side};
use crate::history::{Entry, History, Troubles};
use crate::identity::{Digest, Identity};
use crate::ledger::{BoundMailbox, Ledger, MailboxId, NewWindow, Outcome, Settlement};
use crate::mail::{InternalDate, MessageInfo, Uid};
use crate::plan::adopt::{Letter, Matched, Unclear, give_back, looks_foreign, match_by_class};
use crate::plan::settle::{self, Attributes, Candidate, Claim, Sought, may_alter};
use crate::plan::sweep::Key;
use crate::plan::verdict::judge;
use crate::source::{Opened, Source};
use crate::target::{Destination, Found, Target};

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
    destination: &Destination,
    noted: &mut Noted,
) -> Result<bool, Fault> {
    let from = bound.target_uid_next;
    if destination.uid_next <= from {
        return Ok(false);
    }
    let there = There::look(work, target, bound, destination).await?;
    if there.unclaimed.is_empty() {
        return Ok(false);
    }
    if is_unsettled(work, bound).await? {
        let action = format!("compare with what is in {}", bound.binding.target_path);
        let cause = "what was sent there before is not settled yet; run the same command again";
        return Err(Fault::new(Scope::Mailbox, Remedy::Nothing, action, cause).at(Side::Target));
    }
    let mut census = Census::after(bound.scan, None);
    let mut wanted = wanted(work, source, bound, opened, &mut census).await?;
    if wanted.is_empty() {
        return Ok(false);
    }
    let ends = Ends { work, bound, opened, there: &there, destination };
    let (mut copies, seen) = ends.match_all(source, target, &mut wanted).await?;
    let is_new = !bound.fixed && from == Uid::FIRST;
    if is_new && looks_foreign(there.unclaimed.len(), copies.len()) {
        let action = format!("copy into {}", bound.binding.target_path);
        let cause = format!(
            "it holds {} messages, of which only {} are copies of this mailbox's: is it the right \
             one? --adopt none copies beside what is there",
            there.unclaimed.len(),
            copies.len()
        );
        let fault = Fault::new(Scope::Mailbox, Remedy::Nothing, action, cause);
        return Err(fault.at(Side::Target));
    }
    if copies.is_empty() {
        return Ok(false);
    }
    let back = ends.come_back(source, target, &wanted.ours, &mut copies).await?;
    if !back.is_empty() {
        let outcomes = back_where_they_are(target, back).await?;
        work.run.ledger.settle(Settlement { outcomes, ..Settlement::default() }).await?;
    }
    // What is adopted has a fate before the pass has counted it.
    let messages = census.messages + bound.scan.vanished;
    noted.at_least(&work.run.ledger, messages, census.bytes).await?;
    let adopted = ends.write(source, &wanted.ours, &copies, &seen).await?;
    if adopted > 0 {
        work.event(Event::Adopted {
            account: work.label.clone(),
            mailbox: bound.binding.source_path.to_string(),
            messages: adopted,
        });
    }
    Ok(true)
}

/// Whether something that was sent to the target mailbox, from whichever source mailbox, is still to be looked
/// for there: nobody has claimed it, and it must not be taken for what others have put there. Where something
/// of a window is held, it was looked for.
async fn is_unsettled<L: Ledger>(work: &Work<'_, L>, bound: &BoundMailbox) -> Result<bool, Fault> {
    let (ledger, account) = (&work.run.ledger, work.claim.account);
    let known = ledger.mailboxes(account).await?.into_iter();
    let here = known.filter(|known| known.binding.target_name == bound.binding.target_name);
    let here: BTreeSet<MailboxId> = here.map(|known| known.id).collect();
    let mut stages = ledger.stages(account).await?.into_iter();
    if stages.any(|stage| !stage.windows.is_empty() && here.contains(&stage.stage.mailbox)) {
        return Ok(true);
    }
    let mut windows = ledger.open_windows(account).await?;
    windows.retain(|open| here.contains(&open.window.mailbox));
    for NewWindow { mailbox, messages, .. } in windows.iter().map(|open| &open.window) {
        let uids = || messages.iter().map(|message| message.uid);
        let Some((low, high)) = uids().min().zip(uids().max()) else {
            continue;
        };
        let history = ledger.history(*mailbox, low..=high).await?;
        let fates = || uids().map(|uid| history.get(uid).map_or(Fate::Pending, |entry| entry.fate));
        let is_held = fates().any(|fate| fate == Fate::Held);
        if !is_held && fates().any(|fate| fate == Fate::Pending) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What stands in the target mailbox at and above the UID from which on it is compared.
struct There {
    /// All of it, ascending.
    uids: Vec<Uid>,
    /// What nobody has claimed, with its octets, by ascending UIDs.
    unclaimed: Vec<(Uid, u64)>,
}

impl There {
    async fn look<T: Target, L: Ledger>(
        work: &Work<'_, L>,
        target: &mut T,
        bound: &BoundMailbox,
        destination: &Destination,
    ) -> Result<Self, Fault> {
        let claimed = work.run.ledger.claimed(bound.id, bound.target_uid_next).await?;
        let mut there = Self { uids: Vec::new(), unclaimed: Vec::new() };
        for part in parts_there(work, bound, destination) {
            for found in target.look_in(part).await? {
                there.uids.push(found.uid);
                if claimed.binary_search(&found.uid).is_err() {
                    there.unclaimed.push((found.uid, found.size));
                }
            }
        }
        Ok(there)
    }

    fn size(&self, uid: Uid) -> Option<u64> {
        let at = self.unclaimed.binary_search_by_key(&uid, |(uid, _)| *uid).ok()?;
        Some(self.unclaimed[at].1)
    }
}

/// The UIDs of the target mailbox that are compared, in parts; what comes meanwhile is in the last one.
fn parts_there<L>(
    work: &Work<'_, L>,
    bound: &BoundMailbox,
    destination: &Destination,
) -> impl Iterator<Item = RangeInclusive<Uid>> + use<L> {
    let Destination { uid_next, messages, .. } = *destination;
    let messages_max = work.run.config.scan_messages_max;
    let parts = Ranges::between(bound.target_uid_next, uid_next, messages, messages_max);
    parts.map(move |part| match part.end().next() == uid_next {
        true => *part.start()..=Uid(u32::MAX),
        false => part,
    })
}

/// The UIDs of the source mailbox, in parts.
fn parts<L>(work: &Work<'_, L>, opened: &Opened) -> Ranges {
    Ranges::new(opened.uid_next, opened.messages, work.run.config.scan_messages_max)
}

/// What is still to be copied of a source mailbox.
#[derive(Default)]
struct Wanted {
    /// Of which digests are known from when they were sent: their copies are ours.
    ours: BTreeMap<Uid, Entry>,
    /// The others, by Message-ID and Date.
    letters: Vec<(Letter, Uid)>,
    /// Those of the others that lack one of these, with their octets.
    bare: Vec<(Uid, u64)>,
    /// The dates of the others.
    dates: Vec<Option<i64>>,
}

impl Wanted {
    fn is_empty(&self) -> bool {
        self.ours.is_empty() && self.dates.is_empty()
    }
}

/// Everything of a mailbox that is still to be copied, or was sent once and is not claimed any more.
async fn wanted<S: Source, L: Ledger>(
    work: &Work<'_, L>,
    source: &mut S,
    bound: &BoundMailbox,
    opened: &Opened,
    census: &mut Census,
) -> Result<Wanted, Fault> {
    // What others have brought is copied beside, but not what is there by ourselves.
    let sent_before: Option<BTreeSet<Uid>> = match work.run.config.adopt {
        Adopt::None => Some(doubted(work, bound).await?),
        Adopt::Match => None,
    };
    let mut wanted = Wanted::default();
    for part in parts(work, opened) {
        let scan = source.scan(part.clone()).await?;
        let history = work.run.ledger.history(bound.id, part).await?;
        census.count(&scan, &history);
        let known = unsettled(&scan, &history);
        let (ours, mut open): (BTreeMap<_, _>, BTreeMap<_, _>) =
            known.into_iter().partition(|(_, entry)| entry.digest.is_some());
        wanted.ours.extend(ours);
        open.retain(|uid, _| sent_before.as_ref().is_none_or(|sent| sent.contains(uid)));
        if open.is_empty() {
            continue;
        }
        let keys = source.headers(&open.keys().copied().collect::<Vec<_>>()).await?;
        for (uid, entry) in open {
            match keys.get(&uid).and_then(Letter::of) {
                Some(letter) => wanted.letters.push((letter, uid)),
                None => wanted.bare.push((uid, entry.size)),
            }
            wanted.dates.push(entry.date.map(InternalDate::seconds));
        }
    }
    wanted.dates.sort_unstable();
    Ok(wanted)
}

/// Copies of ours in a mailbox with a new UIDVALIDITY are told by their octets, if they are no more than this.
const READ_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The messages that were sent and not found.
async fn doubted<L: Ledger>(
    work: &Work<'_, L>,
    bound: &BoundMailbox,
) -> Result<BTreeSet<Uid>, Fault> {
    let noted = work.run.ledger.doubted(bound.id).await?.into_iter().map(|one| one.doubt);
    Ok(noted.filter(|doubt| doubt.mailbox == bound.id).map(|doubt| doubt.uid).collect())
}

/// What is known of those messages that are still to be copied, and of those that were sent and are not
/// there any more.
fn unsettled(scan: &[MessageInfo], history: &History) -> BTreeMap<Uid, Entry> {
    // A streamed message has digests only when it was sent; whoever is refused may be there. What
    // the filter leaves out too: a later pass would not look below what is seen now.
    let may_be_there = |fate: Fate| {
        matches!(fate, Fate::Pending | Fate::Filtered | Fate::Gone) || fate.is_retried()
    };
    let listed = scan.iter().filter_map(|info| match history.get(info.uid) {
        None => Some((info.uid, new_entry(info))),
        Some(entry) if may_be_there(entry.fate) => Some((info.uid, entry.clone())),
        Some(_) => None,
    });
    let sent = history.iter().filter(|(_, entry)| entry.fate == Fate::Pending);
    let sent = sent.filter(|(_, entry)| entry.digest.is_some());
    listed.chain(sent.map(|(uid, entry)| (uid, entry.clone()))).collect()
}

/// The same of a part, as far as they are `asked` for.
async fn known<S: Source, L: Ledger>(
    work: &Work<'_, L>,
    source: &mut S,
    bound: &BoundMailbox,
    part: RangeInclusive<Uid>,
    asked: impl Fn(Uid) -> bool,
) -> Result<BTreeMap<Uid, Entry>, Fault> {
    let scan = source.scan(part.clone()).await?;
    let mut known = unsettled(&scan, &work.run.ledger.history(bound.id, part).await?);
    known.retain(|uid, _| asked(*uid));
    Ok(known)
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

/// Which message has its copy where.
type Copies = BTreeMap<Uid, Uid>;

/// What was seen of the copies of messages that were sent before, and of those that were read their digests.
#[derive(Default)]
struct SeenCopies {
    found: BTreeMap<Uid, Found>,
    stored: BTreeMap<Uid, Identity>,
}

/// The two mailboxes that are compared.
struct Ends<'a, 'w, L> {
    work: &'a Work<'w, L>,
    bound: &'a BoundMailbox,
    opened: &'a Opened,
    there: &'a There,
    destination: &'a Destination,
}

impl<L: Ledger> Ends<'_, '_, L> {
    /// First those that were sent before, by all that is known of them; then by Message-ID and Date, and
    /// where these are missing or their counts differ, by the bodies. Of the copies of the first gives what
    /// was seen, too.
    async fn match_all<S: Source, T: Target>(
        &self,
        source: &mut S,
        target: &mut T,
        wanted: &mut Wanted,
    ) -> Result<(Copies, SeenCopies), Fault> {
        let (mut copies, seen) = self.ours(target, wanted).await?;
        let taken: BTreeSet<Uid> = copies.values().copied().collect();
        let free = self.there.unclaimed.iter().filter(|(uid, _)| !taken.contains(uid));
        let free: Vec<(Uid, u64)> = free.copied().collect();
        if wanted.dates.is_empty() || free.is_empty() {
            return Ok((copies, seen));
        }
        let (mut letters, mut bare) = (Vec::new(), Vec::new());
        for part in free.chunks(self.work.run.config.scan_messages_max as usize) {
            let uids: Vec<Uid> = part.iter().map(|(uid, _)| *uid).collect();
            let keys = target.headers(&uids).await?;
            for (uid, size) in part {
                match keys.get(uid).and_then(Letter::of) {
                    Some(letter) => letters.push((letter, *uid)),
                    None => bare.push((*uid, *size)),
                }
            }
        }
        let Matched { pairs, mut unclear } =
            match_by_class(std::mem::take(&mut wanted.letters), letters);
        unclear.extend(without_letter(&wanted.bare, bare));
        let mut by_body = BodyMatch {
            known: self.known_of(source, &unclear).await?,
            found: found_of(target, &unclear).await?,
            pairs,
            alters: self.work.alters(),
        };
        for class in unclear {
            by_body.decide(source, target, class).await?;
        }
        copies.extend(by_body.pairs);
        Ok((copies, seen))
    }

    /// The copies of messages that were sent before.
    async fn ours<T: Target>(
        &self,
        target: &mut T,
        wanted: &Wanted,
    ) -> Result<(Copies, SeenCopies), Fault> {
        let Self { work, bound, there, destination, .. } = self;
        let sought: Vec<Sought<Uid>> = wanted
            .ours
            .iter()
            .map(|(uid, entry)| sought(*uid, entry, None, work.alters()))
            .collect();
        if sought.is_empty() {
            return Ok(<_>::default());
        }
        let attributes = Attributes::of_sought(&sought);
        let mut plausible = Vec::new();
        for part in parts_there(work, bound, destination) {
            let found = target.look_in(part).await?.into_iter();
            let found = found.filter(|found| there.size(found.uid).is_some());
            plausible.extend(found.filter(|found| attributes.fit(found.size, found.date)));
        }
        let others = Others::beside(work, bound.id, &sought, |(mailbox, uid)| {
            mailbox == bound.id && wanted.ours.contains_key(&uid)
        });
        let mut others = others.await?;
        // What others brought may be a namesake of one that was sent. Where there is much, only where more speaks
        // for it: one of that date may have been adopted, unread, or the copy was looked for and not found.
        let is_little = plausible.iter().map(|found| found.size).sum::<u64>() <= READ_BYTES_MAX;
        let doubted = if is_little { BTreeSet::new() } else { doubted(work, bound).await? };
        let may_have_namesakes = |one: &&Sought<Uid>| {
            is_little
                || wanted.dates.binary_search(&one.date.map(InternalDate::seconds)).is_ok()
                || doubted.contains(&one.key)
        };
        let digests = sought.iter().filter(may_have_namesakes).filter_map(|one| one.digests);
        others.read_alike(digests.map(|digests| digests.headers));
        let look = settle_among(target, plausible, &sought, &others).await?;
        all_given(&look.settlement.undecided)?;
        let copies: Copies = look.settlement.found.into_iter().collect();
        let mut seen = SeenCopies { found: look.there, stored: look.stored };
        // Of what servers are known to change it is told whether it is as it was.
        let risky =
            copies.iter().filter(|(uid, _)| wanted.ours.get(uid).is_some_and(|it| it.risky));
        let unread = risky.map(|(_, copy)| *copy).filter(|copy| !seen.stored.contains_key(copy));
        let mut unread: Vec<Uid> = unread.collect();
        unread.sort_unstable();
        seen.stored.extend(target.identify(&unread).await?);
        Ok((copies, seen))
    }

    /// What is known of the messages of which bodies have to tell.
    async fn known_of<S: Source>(
        &self,
        source: &mut S,
        unclear: &[Unclear],
    ) -> Result<BTreeMap<Uid, Entry>, Fault> {
        let uids: BTreeSet<Uid> =
            unclear.iter().flat_map(|class| class.wanted.iter().copied()).collect();
        let mut all = BTreeMap::new();
        for part in parts(self.work, self.opened) {
            if uids.range(part.clone()).next().is_some() {
                let asked = |uid| uids.contains(&uid);
                all.extend(known(self.work, source, self.bound, part, asked).await?);
            }
        }
        Ok(all)
    }

    /// Takes out of what was matched the copies of messages that were copied before, which their owner
    /// has moved away and back: they are no copies of others. Gives which message each is of.
    async fn come_back<S: Source, T: Target>(
        &self,
        source: &mut S,
        target: &mut T,
        ours: &BTreeMap<Uid, Entry>,
        copies: &mut Copies,
    ) -> Result<Vec<((Key, Entry), Uid)>, Fault> {
        let Self { work, bound, there, .. } = self;
        let known = |uid: &Uid| Some((*uid, ours.get(uid)?.digest?.1));
        let mut headers: BTreeMap<Uid, u64> = copies.keys().filter_map(known).collect();
        // Nothing was copied yet, mostly.
        if bound.fixed {
            let unread: Vec<Uid> =
                copies.keys().filter(|uid| !headers.contains_key(uid)).copied().collect();
            let keys = source.headers(&unread).await?;
            headers.extend(keys.into_iter().map(|(uid, keys)| (uid, keys.headers)));
        }
        if headers.is_empty() {
            return Ok(Vec::new());
        }
        let twins = work.run.ledger.twins(bound.id, headers.values().copied().collect()).await?;
        let uids = there.uids.iter().copied();
        let lapsed = lapsed_of(target, twins, bound.target_uid_next, uids).await?;
        let lapsed: Vec<((Key, Entry), (Digest, u64))> = lapsed
            .into_iter()
            .filter_map(|(key, entry)| {
                let digest = entry.digest?;
                Some(((key, entry), digest))
            })
            .collect();
        // Namesakes have equal header lines: only the octets tell.
        let alike: BTreeSet<u64> = lapsed.iter().map(|(_, digest)| digest.1).collect();
        let is_alike = |uid: &Uid| headers.get(uid).is_some_and(|key| alike.contains(key));
        let mut alike: Vec<Uid> =
            copies.iter().filter(|(uid, _)| is_alike(uid)).map(|(_, copy)| *copy).collect();
        alike.sort_unstable();
        let stored = target.identify(&alike).await?;
        let not_given = alike.into_iter().filter(|uid| !stored.contains_key(uid));
        let withheld = withheld(target, not_given).await?;
        let undecided = copies.iter().filter(|(_, copy)| withheld.contains(copy));
        all_given(&undecided.map(|(uid, _)| *uid).collect::<Vec<_>>())?;
        let stored = |uid| stored.get(&uid).map(|identity| identity.exact);
        Ok(give_back(copies, stored, lapsed.into_iter().map(|(claim, digest)| (claim, digest.0))))
    }

    /// Writes down which copies are whose, part by part: whatever breaks off in between, the next pass
    /// compares the rest. Gives how many.
    async fn write<S: Source>(
        &self,
        source: &mut S,
        ours: &BTreeMap<Uid, Entry>,
        copies: &Copies,
        seen: &SeenCopies,
    ) -> Result<u64, Fault> {
        let Self { work, bound, opened, .. } = self;
        let mut adopted = 0;
        for part in parts(work, opened) {
            let of_part = copies.range(part.clone());
            let mut known = match of_part.clone().any(|(uid, _)| !ours.contains_key(uid)) {
                true => known(work, source, bound, part, |uid| copies.contains_key(&uid)).await?,
                false => BTreeMap::new(),
            };
            let outcomes = of_part.filter_map(|(uid, copy)| {
                let (entry, is_ours) = match ours.get(uid) {
                    Some(entry) => (entry.clone(), true),
                    None => (known.remove(uid)?, false), // What is not there any more needs no copy.
                };
                let remarks = match seen.found.get(copy) {
                    Some(found) if is_ours => judge(&entry, found, seen.stored.get(copy)),
                    _ => differs(&entry, self.there.size(*copy)?),
                };
                let fate = if is_ours { Fate::Copied } else { Fate::Adopted };
                let entry = Entry { fate, target_uid: Some(*copy), ..entry };
                Some((bound.id, Outcome { uid: *uid, entry, remarks, subject: None }))
            });
            let outcomes: Vec<_> = outcomes.collect();
            if outcomes.is_empty() {
                continue;
            }
            adopted += outcomes.len() as u64;
            work.run.ledger.settle(Settlement { outcomes, ..Settlement::default() }).await?;
        }
        Ok(adopted)
    }
}

/// What others have put there is as they wished it, but for its size: where that is another one, it is
/// hardly a copy.
fn differs(entry: &Entry, size: u64) -> Vec<Remark> {
    if settle::is_close(entry.size, size) {
        return Vec::new();
    }
    let (date, flags) = (entry.date, entry.flags.clone());
    let mut remarks = judge(entry, &Found { uid: Uid::FIRST, size, date, flags }, None);
    remarks.retain(|remark| remark.kind == RemarkKind::BytesAltered);
    remarks
}

/// The copies of messages that were copied before, where they are now.
async fn back_where_they_are<T: Target>(
    target: &mut T,
    back: Vec<((Key, Entry), Uid)>,
) -> Result<Vec<(MailboxId, Outcome)>, Fault> {
    let mut uids: Vec<Uid> = back.iter().map(|(_, copy)| *copy).collect();
    uids.sort_unstable();
    let found = by_uid(target.read_back(&uids).await?);
    let outcomes = back.into_iter().filter_map(|((key, entry), copy)| {
        let remarks = judge(&entry, found.get(&copy)?, None);
        let entry = Entry { target_uid: Some(copy), ..entry };
        Some((key.0, Outcome { uid: key.1, entry, remarks, subject: None }))
    });
    Ok(outcomes.collect())
}

fn by_uid(found: Vec<Found>) -> BTreeMap<Uid, Found> {
    found.into_iter().map(|found| (found.uid, found)).collect()
}

/// What stands on the target of which bodies have to tell whose copy it is.
async fn found_of<T: Target>(
    target: &mut T,
    unclear: &[Unclear],
) -> Result<BTreeMap<Uid, Found>, Fault> {
    let uids: BTreeSet<Uid> =
        unclear.iter().flat_map(|class| class.there.iter().copied()).collect();
    let uids: Vec<Uid> = uids.into_iter().collect();
    Ok(by_uid(target.read_back(&uids).await?))
}

fn sought(uid: Uid, entry: &Entry, read: Option<&Identity>, alters: bool) -> Sought<Uid> {
    let Entry { size, date, digest, risky, .. } = *entry;
    let flags = entry.flags.clone();
    let digests = read.map(|read| (*read).into()).or(digest.map(<_>::from));
    let claim = Claim::InDoubt;
    let risky = risky || read.is_some_and(|read| read.risky);
    let may_be_altered = may_alter(claim, alters, risky);
    Sought { key: uid, claim, size, date, flags, digests, may_be_altered }
}

/// Messages without Message-ID or Date, of which nothing but size and body tells what they are.
fn without_letter(wanted: &[(Uid, u64)], there: Vec<(Uid, u64)>) -> Option<Unclear> {
    let sizes: BTreeSet<u64> = there.iter().map(|(_, size)| *size).collect();
    let has_like = |size: u64| {
        let above = sizes.range(size..).next();
        let below = sizes.range(..size).next_back();
        above.into_iter().chain(below).any(|stored| settle::is_close(size, *stored))
    };
    let wanted = wanted.iter().filter(|(_, size)| has_like(*size)).map(|(uid, _)| *uid);
    let wanted: Vec<Uid> = wanted.collect();
    let there = there.into_iter().map(|(uid, _)| uid).collect();
    (!wanted.is_empty()).then_some(Unclear { wanted, there })
}

/// Decides by the bodies.
struct BodyMatch {
    known: BTreeMap<Uid, Entry>,
    found: BTreeMap<Uid, Found>,
    pairs: Vec<(Uid, Uid)>,
    /// Whether the target rewrites mail.
    alters: bool,
}

impl BodyMatch {
    async fn decide<S: Source, T: Target>(
        &mut self,
        source: &mut S,
        target: &mut T,
        class: Unclear,
    ) -> Result<(), Fault> {
        let read = source.identify(&class.wanted).await?;
        let stored = target.identify(&class.there).await?;
        let sought: Vec<Sought<Uid>> = class
            .wanted
            .iter()
            .filter_map(|uid| {
                let read = read.get(uid).map(|(_, identity)| identity);
                Some(sought(*uid, self.known.get(uid)?, read, self.alters))
            })
            .collect();
        let candidates = class.there.iter().filter_map(|uid| {
            let found = self.found.get(uid)?;
            let identity = stored.get(uid).copied();
            let headers = identity.map(|identity| identity.headers);
            let Found { uid, size, date, ref flags } = *found;
            Some(Candidate { uid, size, date, flags: flags.clone(), headers, identity })
        });
        let (candidates, mut not_given): (Vec<_>, Vec<_>) =
            candidates.partition(|one| one.identity.is_some());
        let withheld = withheld(target, not_given.iter().map(|one| one.uid)).await?;
        not_given.retain(|one| withheld.contains(&one.uid));
        let mut settlement = settle::settle(&sought, &candidates);
        all_given(settlement.withhold(&sought, &not_given))?;
        self.pairs.extend(settlement.found);
        Ok(())
    }
}

/// # Errors
///
/// A mailbox fault where the target does not give what could be the copies of these messages.
fn all_given(undecided: &[Uid]) -> Result<(), Fault> {
    let Some(uid) = undecided.first() else {
        return Ok(());
    };
    let action = format!("compare what is there with {} messages of the source", undecided.len());
    let cause = format!(
        "the target lists messages that it does not give, and one may be the copy of UID {uid}: \
         they must be readable, or go, before the rest is copied"
    );
    Err(Fault::new(Scope::Mailbox, Remedy::Nothing, action, cause).at(Side::Target))
}
