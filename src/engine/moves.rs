//! Follows moves: what is gone in one source mailbox and new in another was moved there by its owner,
//! and so is its copy, before anything is copied. A MOVE is in the ledger before it is asked for and is
//! never asked for twice: what became of one whose outcome is not known is looked up, and what has
//! not arrived is copied.

use std::collections::{BTreeMap, BTreeSet};

use super::mailbox::Job;
use super::resolve::{self, Others};
use super::scan::{Noted, Ranges};
use super::staged::is_junk;
use super::survey::{self, Lost};
use super::work::Work;
use crate::config::Moves;
use crate::event::Event;
use crate::fate::{Fate, Remark, RemarkKind};
use crate::fault::{Fault, Scope, Side};
use crate::history::Entry;
use crate::identity::Digest;
use crate::ledger::{BoundMailbox, Ledger, MailboxId, MoveId, NewMove, OpenMove, Settlement};
use crate::mail::{Uid, UidValidity, WireName};
use crate::mutant::{self, Mutant};
use crate::plan::moves::{self, Followed, Place, Seen, Settled};
use crate::plan::settle::{Claim, Sought, is_close, may_alter};
use crate::plan::staging::is_where_told;
use crate::plan::sweep::Key;
use crate::plan::verdict::judge;
use crate::source::{Opened, Source};
use crate::target::{Found, Moved, Target};

/// Copies in one MOVE.
const MOVED_AT_ONCE_MAX: usize = 200;

/// Moves copies as their owner moved the messages. True where the ledger says something else now.
///
/// # Errors
///
/// A session fault where the outcome of a MOVE is not known: the next try looks.
pub(super) async fn follow<S: Source, T: Target, L: Ledger>(
    work: &Work<'_, L>,
    source: &mut S,
    target: &mut T,
    jobs: &[Job],
    bound: &[BoundMailbox],
    lost: &[Lost],
) -> Result<bool, Fault> {
    if work.run.config.moves == Moves::Copy || !target.can_stage() {
        return Ok(false);
    }
    let gone = gone(work, lost).await?;
    let new = match gone.is_empty() {
        true => Vec::new(),
        false => new(work, source, jobs, bound, &gone).await?,
    };
    let places = |list: &mut dyn Iterator<Item = Place>| list.collect::<Vec<_>>();
    let gone_places = places(&mut gone.iter().map(|one| one.place.clone()));
    let new_places = places(&mut new.iter().map(|one| one.place.clone()));
    let mut groups: BTreeMap<(MailboxId, usize), Vec<(&Gone<'_>, &New<'_>)>> = BTreeMap::new();
    for (was, is) in moves::pairs(&gone_places, &new_places) {
        let (was, is) = (&gone[was], &new[is]);
        groups.entry((was.mailbox.id, is.job_index)).or_default().push((was, is));
    }
    let mut any = false;
    for pairs in groups.into_values() {
        if work.run.stop.is_requested() {
            break;
        }
        match follow_pairs(work, target, &pairs).await {
            Ok(moved) => any |= moved,
            // They are copied, then.
            Err(fault) if fault.scope <= Scope::Mailbox => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(any)
}

/// A message that is gone, and whose copy can be moved.
struct Gone<'a> {
    mailbox: &'a BoundMailbox,
    entry: &'a Entry,
    /// The same as it was at the source.
    at_source: Entry,
    place: Place,
}

async fn gone<'a, L: Ledger>(work: &Work<'_, L>, lost: &'a [Lost]) -> Result<Vec<Gone<'a>>, Fault> {
    let mut gone = Vec::new();
    for Lost { mailbox, movable } in lost {
        if is_junk(&mailbox.binding.target_path, None) {
            continue;
        }
        // A late copy of these may still come: they stay where they are looked for.
        let doubted = work.run.ledger.doubted(mailbox.id).await?;
        let doubted: BTreeSet<Key> =
            doubted.iter().map(|one| (one.doubt.mailbox, one.doubt.uid)).collect();
        let shared = shared(work, mailbox, movable).await?;
        for (uid, entry) in movable {
            let key = (mailbox.id, *uid);
            if entry.target_uid.is_some_and(|copy| shared.contains(&copy)) {
                continue;
            }
            let at_source = entry.at_source();
            if let Some((digest, _)) = at_source.digest.filter(|_| !doubted.contains(&key)) {
                let target = mailbox.binding.target_name.clone();
                let place = Place { key, digest, date: at_source.date, target };
                gone.push(Gone { mailbox, entry, at_source, place });
            }
        }
    }
    Ok(gone)
}

/// The copies that are those of several messages, where the target keeps one of equal ones: they stay, and
/// what was moved is copied. Of those that one was merged with, the octets need not be known.
async fn shared<L: Ledger>(
    work: &Work<'_, L>,
    mailbox: &BoundMailbox,
    movable: &[(Uid, Entry)],
) -> Result<BTreeSet<Uid>, Fault> {
    let headers: BTreeSet<u64> =
        movable.iter().filter_map(|(_, entry)| Some(entry.digest?.1)).collect();
    if headers.is_empty() {
        return Ok(BTreeSet::new());
    }
    let twins = work.run.ledger.twins(mailbox.id, headers).await?.into_iter();
    let merged = twins.filter(|(_, _, entry)| entry.fate == Fate::Merged);
    Ok(merged.filter_map(|(_, _, entry)| entry.target_uid).collect())
}

/// A message that is new at the source, and equal to one that is gone.
struct New<'a> {
    job: &'a Job,
    job_index: usize,
    /// What the ledger knows of its mailbox.
    mailbox: Option<&'a BoundMailbox>,
    validity: UidValidity,
    /// Messages in its mailbox.
    messages: u64,
    place: Place,
}

/// Messages that no pass has seen, and that have the octets of one that is gone.
async fn new<'a, S: Source, L: Ledger>(
    work: &Work<'_, L>,
    source: &mut S,
    jobs: &'a [Job],
    bound: &'a [BoundMailbox],
    gone: &[Gone<'_>],
) -> Result<Vec<New<'a>>, Fault> {
    let sizes: BTreeSet<u64> = gone.iter().map(|one| one.at_source.size).collect();
    let headers: BTreeSet<u64> =
        gone.iter().filter_map(|one| Some(one.at_source.digest?.1)).collect();
    let digests: BTreeSet<Digest> = gone.iter().map(|one| one.place.digest).collect();
    let mut new = Vec::new();
    for (job_index, job) in jobs.iter().enumerate() {
        // What labels decide about a message is not known here.
        if is_junk(&job.pair.target, job.pair.special_use) || job.labels.is_some() {
            continue;
        }
        let opened = match open_if_new(source, job, bound).await {
            Err(fault) if fault.scope <= Scope::Mailbox => continue, // The pass will tell.
            opened => opened?,
        };
        let Some((opened, validity, mailbox)) = opened else {
            continue;
        };
        for range in new_ranges(work, &opened, mailbox) {
            let scan = source.scan(range.clone()).await?;
            let history = match mailbox {
                Some(mailbox) => work.run.ledger.history(mailbox.id, range).await?,
                None => <_>::default(),
            };
            let is_like = |uid: Uid, size| history.get(uid).is_none() && sizes.contains(&size);
            let like: Vec<Uid> =
                scan.iter().filter(|one| is_like(one.uid, one.size)).map(|one| one.uid).collect();
            if like.is_empty() {
                continue;
            }
            let keys = source.headers(&like).await?;
            let alike: Vec<Uid> =
                keys.iter().filter(|(_, k)| headers.contains(&k.headers)).map(|k| *k.0).collect();
            let read = source.identify(&alike).await?;
            for (uid, (_, identity)) in read {
                if digests.contains(&identity.exact) {
                    // Its mailbox may have no id yet.
                    let key = (mailbox.map_or(MailboxId(0), |mailbox| mailbox.id), uid);
                    let target = target_name(job, mailbox).clone();
                    let date = scan.iter().find(|info| info.uid == uid).and_then(|info| info.date);
                    let place = Place { key, digest: identity.exact, date, target };
                    let messages = opened.messages;
                    new.push(New { job, job_index, mailbox, validity, messages, place });
                }
            }
        }
    }
    Ok(new)
}

/// Opens a source mailbox in which there may be mail that no pass has seen; none where there is none,
/// or where all its UIDs are new.
async fn open_if_new<'a, S: Source>(
    source: &mut S,
    job: &Job,
    bound: &'a [BoundMailbox],
) -> Result<Option<(Opened, UidValidity, Option<&'a BoundMailbox>)>, Fault> {
    let own = || bound.iter().filter(|bound| bound.binding.source_name == job.pair.source.name);
    let is_seen = |bound: &BoundMailbox| {
        bound.watermark.zip(job.status).is_some_and(|(mark, status)| {
            status.uid_validity == Some(bound.binding.source_validity)
                && status.uid_next == Some(mark.uid_next)
        })
    };
    if own().any(is_seen) {
        return Ok(None);
    }
    let opened = source.open(&job.pair.source.name).await?;
    let Some(validity) = opened.uid_validity else {
        return Ok(None);
    };
    let known = own().find(|bound| bound.binding.source_validity == validity);
    let is_renumbered = known.is_none() && own().any(|bound| bound.fixed);
    Ok((!is_renumbered).then_some((opened, validity, known)))
}

fn new_ranges<L>(work: &Work<'_, L>, opened: &Opened, known: Option<&BoundMailbox>) -> Ranges {
    let mark = known.and_then(|known| known.watermark);
    let (from, listed) = mark.map_or((Uid::FIRST, 0), |mark| (mark.uid_next, mark.listed));
    let messages = opened.messages.saturating_sub(listed);
    Ranges::between(from, opened.uid_next, messages, work.run.config.scan_messages_max)
}

fn target_name<'a>(job: &'a Job, known: Option<&'a BoundMailbox>) -> &'a WireName {
    match known {
        Some(known) if known.fixed => &known.binding.target_name,
        _ => &job.target_name,
    }
}

/// Moves the copies of messages that were moved from one mailbox to another. True where any was.
async fn follow_pairs<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    target: &mut T,
    pairs: &[(&Gone<'_>, &New<'_>)],
) -> Result<bool, Fault> {
    let Some((was, is)) = pairs.first() else {
        return Ok(false);
    };
    let into = target_name(is.job, is.mailbox).clone();
    let place = new_place(work, target, is, &into, pairs.len() as u64).await?;
    let Some((mailbox, validity, lo)) = place else {
        return Ok(false);
    };
    let to_path = is.job.pair.source.path.to_string();
    let followed = pairs.iter().map(|(was, is)| Followed {
        from: was.place.key,
        to: (mailbox, is.place.key.1),
        entry: was.entry.clone(),
        to_path: to_path.clone(),
        lo,
    });
    let followed: Vec<Followed> = followed.collect();
    let reduced = work.run.ledger.remarked(was.mailbox.id, RemarkKind::FlagsReduced).await?;
    let mut messages = 0;
    for part in followed.chunks(MOVED_AT_ONCE_MAX) {
        let Some(there) = copies(target, was.mailbox, part.iter()).await? else {
            break;
        };
        let is_there = |one: &&Followed| {
            let found = one.entry.target_uid.and_then(|uid| there.get(&uid));
            found.is_some_and(|found| is_close(one.entry.size, found.size))
        };
        let part: Vec<&Followed> = part.iter().filter(is_there).collect();
        let moving = Moving { work, into: &into, validity, lo, reduced: reduced.clone() };
        messages += match was.mailbox.binding.target_name == into {
            true => moving.stay(&part, &there).await?,
            false => moving.go(target, was.mailbox, &part, &there).await?,
        };
    }
    if messages > 0 {
        work.step();
        work.event(Event::MovesFollowed {
            account: work.label.clone(),
            mailbox: to_path,
            messages,
        });
    }
    Ok(messages > 0)
}

/// The target mailbox that messages were moved to: its id, UIDVALIDITY and UIDNEXT. None where it is not
/// the one that the ledger knows, or has others' mail that no pass has looked at.
async fn new_place<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    target: &mut T,
    is: &New<'_>,
    into: &WireName,
    arriving: u64,
) -> Result<Option<(MailboxId, UidValidity, Uid)>, Fault> {
    let opened = target.open(into).await?;
    let Some(validity) = opened.uid_validity else {
        return Ok(None);
    };
    let known = is.mailbox.filter(|mailbox| mailbox.fixed);
    let is_other = known
        .and_then(|known| known.binding.target_validity)
        .is_some_and(|known| known != validity);
    if is_other || (known.is_none() && !target.look(Uid::FIRST).await?.is_empty()) {
        return Ok(None);
    }
    let binding = is.job.binding(is.validity, Some(validity));
    let mailbox = work.run.ledger.bind(work.claim.account, &binding).await?;
    // What is moved has a fate before the pass has counted it, and so has what was here once.
    let (known, touched) = match is.mailbox {
        Some(mailbox) => (mailbox.scan, survey::touched(work, mailbox).await?),
        None => <_>::default(),
    };
    let messages = is.messages.max(touched + arriving) + known.vanished;
    let mut noted = Noted { mailbox, totals: known };
    noted.at_least(&work.run.ledger, messages, 0).await?;
    Ok(Some((mailbox, validity, opened.uid_next)))
}

/// Opens the mailbox where copies were, and gives those that are still there; none where it is
/// another one now.
async fn copies<T: Target>(
    target: &mut T,
    mailbox: &BoundMailbox,
    followed: impl Iterator<Item = &Followed> + Send,
) -> Result<Option<BTreeMap<Uid, Found>>, Fault> {
    let opened = target.open(&mailbox.binding.target_name).await?;
    if opened.uid_validity.is_none() || opened.uid_validity != mailbox.binding.target_validity {
        return Ok(None);
    }
    let uids: BTreeSet<Uid> = followed.filter_map(|one| one.entry.target_uid).collect();
    let uids: Vec<Uid> = uids.into_iter().collect();
    let there = target.read_back(&uids).await?;
    Ok(Some(there.into_iter().map(|found| (found.uid, found)).collect()))
}

/// Copies on their way into one target mailbox.
struct Moving<'a, 'w, L> {
    work: &'a Work<'w, L>,
    into: &'a WireName,
    validity: UidValidity,
    lo: Uid,
    /// Messages whose copies never had all their flags.
    reduced: BTreeSet<Uid>,
}

impl<L: Ledger> Moving<'_, '_, L> {
    /// What comes back into its target mailbox stays where it is.
    async fn stay(
        &self,
        followed: &[&Followed],
        there: &BTreeMap<Uid, Found>,
    ) -> Result<u64, Fault> {
        let mut settlement = Settlement::default();
        for one in followed {
            let Some(found) = one.entry.target_uid.and_then(|uid| there.get(&uid)) else {
                continue;
            };
            let remarks = remarks(&one.entry, found, self.reduced.contains(&one.from.1));
            let settled = moves::moved(one, found.uid, remarks);
            settlement.outcomes.extend(settled.outcomes);
        }
        self.work.run.ledger.settle(settlement).await?;
        Ok(followed.len() as u64)
    }

    async fn go<T: Target>(
        &self,
        target: &mut T,
        from: &BoundMailbox,
        followed: &[&Followed],
        before: &BTreeMap<Uid, Found>,
    ) -> Result<u64, Fault> {
        let intents = followed.iter().filter_map(|one| {
            let target_uid = one.entry.target_uid?;
            Some(NewMove { from: one.from, to: one.to, target_uid, lo: self.lo })
        });
        let intents: Vec<NewMove> = intents.collect();
        if intents.is_empty() {
            return Ok(0);
        }
        let ledger = &self.work.run.ledger;
        let intended = ledger.intend_moves(self.work.claim, intents).await?;
        // From here on nothing is copied before it is looked up what became of it.
        let moved = target.move_copies(&intended, self.into).await;
        let pairs = match moved.map_err(|fault| fault.at_least(Scope::Session))? {
            Moved::All { validity, uids } if validity == self.validity => uids,
            Moved::All { .. } => return Err(self.unknown("the mailbox is another one than before")),
            Moved::Unknown(said) => return Err(self.unknown(&format!("the server said: {said}"))),
        };
        let opened = resolve::reopen(target, self.into, self.validity).await;
        opened.map_err(|fault| fault.at_least(Scope::Session))?;
        let mut arrived: Vec<Uid> = pairs.iter().map(|(_, arrived)| *arrived).collect();
        arrived.sort_unstable();
        let after = target.read_back(&arrived).await;
        let after = after.map_err(|fault| fault.at_least(Scope::Session))?;
        let after: BTreeMap<Uid, Found> =
            after.into_iter().map(|found| (found.uid, found)).collect();
        if !is_where_told(&pairs, self.lo, before, &after) {
            return Err(self.unknown("not every message is where the target told"));
        }
        // What was moved has left the place where it was, whatever the answer says.
        let kept = copies(target, from, followed.iter().copied()).await;
        let kept = kept.map_err(|fault| fault.at_least(Scope::Session))?.unwrap_or_default();
        let arrived_at: BTreeMap<Uid, Uid> = pairs.into_iter().collect();
        let mut settled = Vec::new();
        for one in followed {
            let uid = one.entry.target_uid.and_then(|uid| arrived_at.get(&uid));
            let Some(found) = uid.and_then(|uid| after.get(uid)) else {
                return Err(self.unknown("not every message is where the target told"));
            };
            let is_kept = one.entry.target_uid.is_some_and(|uid| kept.contains_key(&uid))
                && !mutant::is(Mutant::BelieveMove);
            let seen = Seen::Looked(is_kept, Some(found.uid));
            let remarks = remarks(&one.entry, found, self.reduced.contains(&one.from.1));
            settled.push(moves::settle(one, seen, remarks));
        }
        let moves = intended.iter().map(|one| one.id).collect();
        write_down(self.work, moves, settled).await?;
        Ok(followed.len() as u64)
    }

    /// The connection is given up; the next try looks at what was moved.
    fn unknown(&self, cause: &str) -> Fault {
        let action = format!("move messages to {}", self.into.0.escape_ascii());
        Fault::session(action, cause.to_owned()).at(Side::Target)
    }
}

/// What is to be said of a copy that was moved. Its flags are its owner's by now, but for those that it
/// never had (`is_reduced`).
fn remarks(entry: &Entry, found: &Found, is_reduced: bool) -> Vec<Remark> {
    let mut remarks = judge(entry, found, None);
    remarks.retain(|remark| is_reduced || remark.kind != RemarkKind::FlagsReduced);
    remarks
}

/// Looks up what became of moves that an earlier try has left without an outcome. True where there were
/// any.
///
/// # Errors
///
/// A session fault where the connection breaks.
pub(super) async fn recover<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    target: &mut T,
    bound: &[BoundMailbox],
) -> Result<bool, Fault> {
    let open = work.run.ledger.open_moves(work.claim.account).await?;
    if open.is_empty() {
        return Ok(false);
    }
    let mut groups: BTreeMap<(MailboxId, MailboxId), Vec<OpenMove>> = BTreeMap::new();
    for one in open {
        groups.entry((one.intent.from.0, one.intent.to.0)).or_default().push(one);
    }
    let of = |id| bound.iter().find(|bound| bound.id == id);
    for ((from, to), moves) in &groups {
        if mutant::is(Mutant::RepeatMoveOfCopies)
            && let (Some(from), Some(to)) = (of(*from), of(*to))
        {
            target.open(&from.binding.target_name).await?;
            target.move_copies(moves, &to.binding.target_name).await?;
        }
    }
    // A MOVE of a lost connection may still take effect.
    tokio::time::sleep(work.settle_time()).await;
    for ((from, to), moves) in groups {
        // A move is of mailboxes: the ledger gives all or none.
        if let (Some(from), Some(to)) = (of(from), of(to)) {
            look_up(work, target, from, to, moves).await?;
        }
    }
    Ok(true)
}

async fn look_up<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    target: &mut T,
    from: &BoundMailbox,
    to: &BoundMailbox,
    open: Vec<OpenMove>,
) -> Result<(), Fault> {
    let ledger = &work.run.ledger;
    let ids: Vec<MoveId> = open.iter().map(|one| one.id).collect();
    let mut followed = Vec::new();
    for OpenMove { intent: NewMove { from, to: key, lo, .. }, .. } in open {
        let history = ledger.history(from.0, from.1..=from.1).await?;
        let is_known = ledger.history(key.0, key.1..=key.1).await?.get(key.1).is_some();
        let entry = history.get(from.1).filter(|entry| entry.fate.is_there() && !is_known);
        if let Some(entry) = entry {
            let (entry, to_path) = (entry.clone(), to.binding.source_path.to_string());
            followed.push(Followed { from, to: key, entry, to_path, lo });
        }
    }
    let there = match copies(target, from, followed.iter()).await {
        Err(fault) if fault.scope <= Scope::Mailbox => None,
        there => there?,
    };
    let arrived = match arrived(work, target, to, &followed).await {
        Err(fault) if fault.scope <= Scope::Mailbox => Arrived::default(),
        arrived => arrived?,
    };
    let reduced = ledger.remarked(from.id, RemarkKind::FlagsReduced).await?;
    let mut settled = Vec::new();
    for one in &followed {
        let found = arrived.found.get(&one.to);
        let is_there = match &there {
            Some(there) => one.entry.target_uid.is_some_and(|uid| there.contains_key(&uid)),
            // Where nobody can look, what did not arrive has stayed.
            None => found.is_none(),
        };
        let seen = match arrived.undecided.contains(&one.to) {
            true => Seen::Undecided(is_there),
            false => Seen::Looked(is_there, found.map(|found| found.uid)),
        };
        let is_reduced = reduced.contains(&one.from.1);
        let remarks = found.map(|found| remarks(&one.entry, found, is_reduced));
        let remarks = remarks.unwrap_or_default();
        settled.push(moves::settle(one, seen, remarks));
    }
    write_down(work, ids, settled).await?;
    work.step();
    Ok(())
}

/// Closes moves with what became of each message.
async fn write_down<L: Ledger>(
    work: &Work<'_, L>,
    moves: Vec<MoveId>,
    settled: Vec<Settled>,
) -> Result<(), Fault> {
    let ledger = &work.run.ledger;
    let mut settlement = Settlement { moves, ..Settlement::default() };
    let mut told = Vec::new();
    for one in settled {
        settlement.outcomes.extend(one.outcomes);
        settlement.doubted.extend(one.doubt);
        told.extend(one.remark);
    }
    if !settlement.doubted.is_empty() {
        work.doubted();
    }
    ledger.settle(settlement).await?;
    for ((mailbox, uid), text) in told {
        ledger.set_remark(mailbox, uid, RemarkKind::RemovedAtSource, Some(text)).await?;
    }
    Ok(())
}

/// What a look at the mailbox that copies were to be moved to saw of them.
#[derive(Default)]
struct Arrived {
    found: BTreeMap<Key, Found>,
    undecided: BTreeSet<Key>,
}

async fn arrived<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    target: &mut T,
    to: &BoundMailbox,
    followed: &[Followed],
) -> Result<Arrived, Fault> {
    let opened = target.open(&to.binding.target_name).await?;
    let lo = followed.iter().map(|one| one.lo).min();
    let Some(lo) = lo.filter(|_| opened.uid_validity == to.binding.target_validity) else {
        return Ok(Arrived::default());
    };
    let ledger = &work.run.ledger;
    let claimed: BTreeSet<Uid> = ledger.claimed(to.id, lo).await?.into_iter().collect();
    let sought = followed.iter().map(|one| Sought {
        key: one.to,
        claim: Claim::InDoubt,
        size: one.entry.size,
        date: one.entry.date,
        flags: one.entry.flags.clone(),
        digests: one.entry.digest.map(<_>::from),
        may_be_altered: may_alter(Claim::InDoubt, work.alters(), one.entry.risky),
    });
    let sought: Vec<Sought<Key>> = sought.collect();
    let headers = sought.iter().filter_map(|one| Some(one.digests?.headers)).collect();
    let twins = ledger.twins(to.id, headers).await?;
    let others = Others::of(&twins, |key| followed.iter().any(|one| one.to == key));
    let look = resolve::look(target, lo, &claimed, &sought, &others).await?;
    let there = &look.there;
    let found = look.settlement.found.into_iter();
    Ok(Arrived {
        found: found.filter_map(|(key, uid)| Some((key, there.get(&uid)?.clone()))).collect(),
        undecided: look.settlement.undecided.into_iter().collect(),
    })
}
