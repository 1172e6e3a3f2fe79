//! One pass over one mailbox: scanned in parts, each compared with the ledger, copied, read back.

use std::collections::{BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::labels::{Elsewhere, Placing};
use super::scan::{self, Census, Noted, Ranges};
use super::window::{self, Place};
use super::work::{Pass, Work};
use super::{adopt, flags, renumber, resolve, staged, sweep, verify};
use crate::config::{Delivery, LaterFlags, Order};
use crate::event::Event;
use crate::fate::{Fate, Remark, RemarkKind};
use crate::fault::{Fault, Remedy, Scope, Side};
use crate::history::{Entry, History};
use crate::ledger::{Binding, BoundMailbox, Ledger, MailboxId, Outcome, ScanTotals, Watermark};
use crate::mail::{Flags, MailboxPath, MailboxStatus, MessageInfo, Uid, UidValidity, WireName};
use crate::plan::delta::{self, Delta, Reflag, delta};
use crate::plan::mailboxes::Pair;
use crate::plan::verdict::next_after;
use crate::plan::windows::{Bounds, Owed, Window, windows};
use crate::plan::{rescan, staging};
use crate::source::{MissingCause, Opened, Source};
use crate::target::{Destination, Target};

/// A mailbox that is to be done.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) pair: Pair,
    /// Which mailbox its messages count as of, where that may be another one.
    pub(super) labels: Option<Arc<Placing>>,
    /// How the target spells its mailbox.
    pub(super) target_name: WireName,
    /// How it stood at the source when the account was listed.
    pub(super) status: Option<MailboxStatus>,
    /// What the ledger knows of the source mailbox, under every UIDVALIDITY it had.
    pub(super) bound: Vec<BoundMailbox>,
    /// Messages that were tried in this run and not copied.
    pub(super) tried: BTreeSet<Uid>,
    /// Whether the target mailbox went away in this run and may be made again no more.
    pub(super) was_removed: bool,
}

impl Job {
    /// How many messages came since the last pass, as far as is known; all, where that is not.
    pub(super) fn new_messages(&self) -> u64 {
        let Some(status) = self.status else {
            return u64::MAX;
        };
        let of_now =
            |bound: &&BoundMailbox| Some(bound.binding.source_validity) == status.uid_validity;
        let mark = self.bound.iter().find(of_now).and_then(|bound| bound.watermark);
        status.messages.saturating_sub(mark.map_or(0, |mark| mark.listed))
    }

    /// How the mailbox stood when nothing was owed of it. None where labels have left anything out: no
    /// source tells when they change.
    fn watermark(&self, bound: &BoundMailbox) -> Option<Watermark> {
        bound.watermark.filter(|mark| mark.filter.is_none() || !self.is_by_labels())
    }

    /// Whether labels decide what is copied from here.
    fn is_by_labels(&self) -> bool {
        let name = &self.pair.source.name;
        self.labels.as_deref().is_some_and(|labels| labels.decide_in(name))
    }

    pub(super) fn binding(&self, source: UidValidity, target: Option<UidValidity>) -> Binding {
        Binding {
            source_name: self.pair.source.name.clone(),
            source_path: self.pair.source.path.clone(),
            source_validity: source,
            target_name: self.target_name.clone(),
            target_path: self.pair.target.clone(),
            target_validity: target,
        }
    }
}

/// Stands for the UIDVALIDITY of a mailbox that could not be opened or has no place at the target
/// yet. No server gives it (RFC 9051 section 9, `nz-number`).
const NEVER_OPENED: UidValidity = UidValidity(0);

/// Messages of a window where each takes a round trip.
const TURN_MESSAGES: usize = 10;

/// Changes of flags that are asked for at once.
const CHANGES_MAX: u32 = 100_000;

/// Copies what is missing of one mailbox.
///
/// # Errors
///
/// A mailbox fault where this mailbox cannot be copied; anything wider as it is.
pub(super) async fn copy<S: Source, T: Target, L: Ledger>(
    work: &Work<'_, L>,
    source: &mut S,
    target: &mut T,
    job: &mut Job,
) -> Result<Pass, Fault> {
    let (mut opened, destination) = open(work, source, target, job).await?;
    let bound = bind(work, source, job, &opened).await?;
    opened.uid_next = scan::uid_next(&work.run.ledger, &bound, &opened).await?;
    job.bound.retain(|known| known.id != bound.id);
    job.bound.push(bound.clone());
    let known = bound.scan;
    work.event(Event::MailboxStarted {
        account: work.label.clone(),
        mailbox: job.pair.source.path.to_string(),
        messages: opened.messages,
    });
    let follow = work.run.config.later_flags == LaterFlags::Follow;
    let filter = &work.run.config.filter;
    let mark = rescan::resumes(job.watermark(&bound), &opened, follow, filter);
    let mut copying = Copying {
        work,
        job,
        noted: Noted { mailbox: bound.id, totals: known },
        bound,
        opened,
        destination,
        place: None,
        is_reset: false,
        retry_last: Vec::new(),
        census: Census::after(known, mark.as_ref()),
        flags_kept: false,
        left_out: mark.is_some_and(|mark| mark.filter.is_some()),
    };
    let passed = copying.pass(source, target, mark).await;
    // Where it is tried again in this run, it is known what was counted.
    let noted = copying.noted;
    for known in job.bound.iter_mut().filter(|known| known.id == noted.mailbox) {
        known.scan = noted.totals;
    }
    passed
}

/// Opens both ends of a mailbox in which there most likely is something to be done, and asks for what
/// will be scanned first, all at once. What the target tells is none where it must be asked again.
async fn open<S: Source, T: Target, L: Ledger>(
    work: &Work<'_, L>,
    source: &mut S,
    target: &mut T,
    job: &Job,
) -> Result<(Opened, Option<Destination>), Fault> {
    let name = &job.pair.source.name;
    let Some(first) = expected(work, job) else {
        return Ok((source.open(name).await?, None));
    };
    let (opened, destination) =
        tokio::join!(source.open_and_scan(name, first), target.open(&job.target_name));
    let destination = match destination {
        Ok(destination) => Some(destination),
        // Gone, most likely: it is made anew where that is known to be needed.
        Err(fault) if fault.scope <= Scope::Mailbox => None,
        Err(fault) => {
            opened?;
            return Err(fault);
        }
    };
    Ok((opened?, destination))
}

/// The range that will be scanned first, if the mailbox still is as it was listed.
fn expected<L>(work: &Work<'_, L>, job: &Job) -> Option<RangeInclusive<Uid>> {
    let status = job.status?;
    let listed = Opened {
        uid_validity: status.uid_validity,
        uid_next: status.uid_next?,
        messages: status.messages,
        highest_modseq: status.highest_modseq,
    };
    let bound =
        job.bound.iter().find(|bound| Some(bound.binding.source_validity) == status.uid_validity);
    let follow = work.run.config.later_flags == LaterFlags::Follow;
    let mark = bound.and_then(|bound| job.watermark(bound));
    let mark = rescan::resumes(mark, &listed, follow, &work.run.config.filter);
    let known = bound.map_or_else(ScanTotals::default, |bound| bound.scan);
    ranges(work, &listed, known, mark.as_ref()).into_iter().next()
}

/// What is scanned, in the order of the pass: everything, or what is above the watermark.
fn ranges<L>(
    work: &Work<'_, L>,
    opened: &Opened,
    known: ScanTotals,
    mark: Option<&Watermark>,
) -> Vec<RangeInclusive<Uid>> {
    let messages_max = work.run.config.scan_messages_max;
    let ranges = match mark {
        Some(mark) => {
            let new = opened.messages.saturating_sub(mark.listed);
            Ranges::between(mark.uid_next, opened.uid_next, new, messages_max)
        }
        None => Ranges::new(opened.uid_next, opened.messages.max(known.messages), messages_max),
    };
    let mut ranges: Vec<RangeInclusive<Uid>> = ranges.collect();
    if work.run.config.order == Order::Newest {
        ranges.reverse();
    }
    ranges
}

/// Whether nothing can have changed in a mailbox since a pass after which nothing was owed of it. It is
/// told as looked through, then.
pub(super) async fn is_unchanged<L: Ledger>(work: &Work<'_, L>, job: &Job) -> Result<bool, Fault> {
    let follow = work.run.config.later_flags == LaterFlags::Follow;
    let known = job.status.and_then(|status| {
        job.bound.iter().find_map(|bound| {
            let mark = job.watermark(bound)?;
            let validity = bound.binding.source_validity;
            let filter = &work.run.config.filter;
            let is_unchanged = rescan::is_unchanged(&mark, validity, &status, follow, filter);
            is_unchanged.then_some((bound.id, mark))
        })
    });
    let Some((mailbox, mark)) = known else {
        return Ok(false);
    };
    // A late copy may have come at the target.
    if !work.run.ledger.doubted(mailbox).await?.is_empty() {
        return Ok(false);
    }
    // Before it had this name, no mailbox of this name could be opened, perhaps.
    for other in job.bound.iter().filter(|bound| bound.id != mailbox) {
        work.run.ledger.set_mailbox_fault(other.id, None).await?;
    }
    let (account, mailbox) = (work.label.clone(), job.pair.source.path.to_string());
    work.event(Event::MailboxStarted {
        account: account.clone(),
        mailbox: mailbox.clone(),
        messages: mark.listed,
    });
    tell_settled(work, &job.pair, &mark);
    work.event(Event::MailboxDone { account, mailbox });
    Ok(true)
}

/// Tells of what need not be looked at again.
fn tell_settled<L: Ledger>(work: &Work<'_, L>, pair: &Pair, mark: &Watermark) {
    work.event(Event::Scanned {
        account: work.label.clone(),
        mailbox: pair.source.path.to_string(),
        messages: mark.listed,
        bytes: mark.counted.bytes,
        owed_messages: 0,
        owed_bytes: 0,
    });
}

/// Notes that a mailbox cannot be finished.
pub(super) async fn give_up<L: Ledger>(
    work: &Work<'_, L>,
    job: &Job,
    fault: &Fault,
) -> Result<(), Fault> {
    match job.bound.last() {
        Some(bound) => note_fault(work, bound.id, &job.pair, fault).await,
        None => give_up_unbound(work, &job.pair, fault).await,
    }
}

/// Notes that a mailbox cannot be finished which the ledger does not know yet.
pub(super) async fn give_up_unbound<L: Ledger>(
    work: &Work<'_, L>,
    pair: &Pair,
    fault: &Fault,
) -> Result<(), Fault> {
    let binding = Binding {
        source_name: pair.source.name.clone(),
        source_path: pair.source.path.clone(),
        source_validity: NEVER_OPENED,
        target_name: WireName(Vec::new()),
        target_path: pair.target.clone(),
        target_validity: None,
    };
    let id = work.run.ledger.bind(work.claim.account, &binding).await?;
    note_fault(work, id, pair, fault).await
}

async fn note_fault<L: Ledger>(
    work: &Work<'_, L>,
    id: MailboxId,
    pair: &Pair,
    fault: &Fault,
) -> Result<(), Fault> {
    let reason = fault.chain();
    work.run.ledger.set_mailbox_fault(id, Some(reason.clone())).await?;
    work.event(Event::MailboxFailed {
        account: work.label.clone(),
        mailbox: pair.source.path.to_string(),
        side: fault.side,
        reason,
    });
    Ok(())
}

/// The fault of a path that the target's names cannot hold.
pub(super) fn no_name(path: &MailboxPath) -> Fault {
    let action = format!("name the mailbox {path} at the target");
    let cause = "the target's names cannot hold it";
    Fault::new(Scope::Mailbox, Remedy::Nothing, action, cause).at(Side::Target)
}

/// Finds the mailbox in the ledger, or enters it; after its UIDVALIDITY has changed, with what was
/// known of its messages.
async fn bind<S: Source, L: Ledger>(
    work: &Work<'_, L>,
    source: &mut S,
    job: &Job,
    opened: &Opened,
) -> Result<BoundMailbox, Fault> {
    let made_up = job.bound.iter().map(|bound| bound.binding.source_validity);
    let made_up = made_up.filter(|validity| validity.is_made_up()).max();
    let validity = opened.uid_validity.unwrap_or_else(|| UidValidity::made_up_after(made_up));
    let known = job.bound.iter().find(|bound| bound.binding.source_validity == validity);
    if let Some(bound) = known.filter(|bound| bound.fixed) {
        return Ok(bound.clone());
    }
    // Known under another UIDVALIDITY, and not given new UIDs yet.
    let before = job.bound.iter().rfind(|bound| {
        bound.binding.source_validity != validity && (bound.fixed || bound.scan.messages > 0)
    });
    if let Some(bound) = known
        && before.is_none()
        && bound.binding.target_name == job.target_name
    {
        return Ok(bound.clone());
    }
    let binding = match before {
        Some(before) if before.fixed => {
            Binding { source_validity: validity, ..before.binding.clone() }
        }
        _ => job.binding(validity, None),
    };
    let id = work.run.ledger.bind(work.claim.account, &binding).await?;
    let mut bound = BoundMailbox {
        id,
        binding,
        fixed: false,
        scan: ScanTotals::default(),
        target_uid_next: Uid::FIRST,
        watermark: None,
    };
    if let Some(before) = before {
        bound.target_uid_next = renumber::renumber(work, source, opened, before, id).await?;
        bound.fixed = before.fixed;
    }
    Ok(bound)
}

/// The state of a pass over one mailbox.
struct Copying<'a, 'w, L> {
    work: &'a Work<'w, L>,
    job: &'a mut Job,
    bound: BoundMailbox,
    opened: Opened,
    /// What the target told when it was opened together with the source.
    destination: Option<Destination>,
    /// Where to append; none before there was anything to append.
    place: Option<Place>,
    /// Whether the target mailbox turned out to be another one than before.
    is_reset: bool,
    retry_last: Vec<Owed>,
    census: Census,
    noted: Noted,
    /// Whether the target has not taken away flags that are gone at the source.
    flags_kept: bool,
    /// Whether the filter has left out any message, in this pass or below its watermark.
    left_out: bool,
}

impl<L: Ledger> Copying<'_, '_, L> {
    /// Looks through the mailbox, from the watermark on where it is resumed there, and copies what is owed.
    async fn pass<S: Source, T: Target>(
        &mut self,
        source: &mut S,
        target: &mut T,
        mut mark: Option<Watermark>,
    ) -> Result<Pass, Fault> {
        let (work, opened) = (self.work, self.opened.clone());
        let (ledger, config) = (&work.run.ledger, &work.run.config);
        let (follow, filter) = (config.later_flags == LaterFlags::Follow, &config.filter);
        let known = self.bound.scan;
        if let Some(resumed) = &mark
            && self.follow_changes(source, target, resumed).await?
        {
            mark = None;
            self.census = Census::after(known, None);
        }
        match &mark {
            Some(mark) => tell_settled(work, &self.job.pair, mark),
            None => self.noted.at_least(ledger, opened.messages + known.vanished, 0).await?,
        }
        for range in ranges(work, &opened, known, mark.as_ref()) {
            if self.part(source, target, range, true).await? == Pass::Stopped {
                return Ok(Pass::Stopped);
            }
        }
        if self.retry_last(source, target).await? == Pass::Stopped {
            return Ok(Pass::Stopped);
        }
        if self.is_reset {
            // What was copied into the mailbox of before is owed again, in every part.
            for range in ranges(work, &opened, known, None) {
                if self.part(source, target, range, false).await? == Pass::Stopped {
                    return Ok(Pass::Stopped);
                }
            }
        }
        sweep::sweep(work, target, &self.bound).await?;
        if mark.is_none() {
            self.check_listed(source, &opened).await?;
        }
        let totals = self.census.totals(opened.uid_next);
        if totals != self.noted.totals {
            self.noted.totals = totals;
            ledger.scanned(self.bound.id, totals).await?;
        }
        let left_out = self.left_out && !self.job.is_by_labels();
        // Under whatever UIDVALIDITY it was noted; before the watermark, behind which no pass looks here
        // again as long as nothing changes.
        for known in &self.job.bound {
            ledger.set_mailbox_fault(known.id, None).await?;
        }
        let watermark = Watermark {
            uid_next: opened.uid_next,
            // What was not followed is looked at once it is to be.
            modseq: opened.highest_modseq.filter(|_| follow && !self.flags_kept),
            listed: opened.messages,
            counted: totals,
            filter: left_out.then(|| filter.digest()),
        };
        if self.bound.watermark != Some(watermark) && opened.uid_validity.is_some() {
            ledger.set_watermark(self.bound.id, Some(watermark)).await?;
        }
        let (account, mailbox) = (work.label.clone(), self.job.pair.source.path.to_string());
        work.event(Event::MailboxDone { account, mailbox });
        Ok(Pass::Through)
    }

    /// Does one part of the mailbox, until nothing is owed in it.
    async fn part<S: Source, T: Target>(
        &mut self,
        source: &mut S,
        target: &mut T,
        range: RangeInclusive<Uid>,
        retries: bool,
    ) -> Result<Pass, Fault> {
        let ledger = &self.work.run.ledger;
        let mut first = retries;
        loop {
            let scan = source.scan(range.clone()).await?;
            let history = ledger.history(self.bound.id, range.clone()).await?;
            let elsewhere = self.elsewhere(source, range.clone()).await?;
            let filter = &self.work.run.config.filter;
            let takes =
                |info: &MessageInfo| filter.takes(info) && !elsewhere.contains_key(&info.uid);
            let mut delta = delta(&scan, &history, &self.job.tried, takes);
            if self.work.run.config.later_flags == LaterFlags::Leave {
                delta.reflag.clear();
            }
            self.left_out |= delta.left_out;
            if first {
                self.census.count(&scan, &history);
                let Census { known, messages, bytes, .. } = self.census;
                self.noted.at_least(ledger, messages + known.vanished, bytes).await?;
                self.tell_scanned(&scan, &delta);
                self.retry_last.extend(delta.retry_last.iter().cloned());
                first = false;
            }
            let may_be_there = delta.gone.iter().any(|(_, entry)| entry.digest.is_some());
            let is_owed = !delta.copy.is_empty() || !delta.reflag.is_empty();
            if (is_owed || may_be_there) && self.open_target(source, target).await? {
                continue;
            }
            self.note_gone(delta.gone).await?;
            self.note_filtered(delta.filtered, &elsewhere).await?;
            if let Some(place) = self.place.as_ref().filter(|_| !delta.reflag.is_empty()) {
                self.flags_kept |= !flags::follow(self.work, place, target, delta.reflag).await?;
            }
            if delta.copy.is_empty() {
                return Ok(Pass::Through);
            }
            self.note_pending(&delta.copy, &history).await?;
            let mut windows = self.windows(delta.copy, target.is_faster_shared());
            if self.work.run.config.order == Order::Newest {
                windows.reverse();
            }
            let again = self.move_windows(source, target, windows).await?;
            if self.work.run.stop.is_requested() {
                return Ok(Pass::Stopped);
            }
            if !again {
                return Ok(Pass::Through);
            }
        }
    }

    /// Which messages of a range count as another mailbox's, by their labels.
    async fn elsewhere<S: Source>(
        &self,
        source: &mut S,
        range: RangeInclusive<Uid>,
    ) -> Result<Elsewhere, Fault> {
        let Some(labels) = &self.job.labels else {
            return Ok(Elsewhere::new());
        };
        let name = &self.job.pair.source.name;
        let messages_max = self.work.run.config.scan_messages_max;
        labels.elsewhere(source, name, &self.opened, range, messages_max).await
    }

    /// Brings the flags of what is below the watermark into step, by what the source says was changed.
    /// True where what was left out there is to be copied now.
    async fn follow_changes<S: Source, T: Target>(
        &mut self,
        source: &mut S,
        target: &mut T,
        mark: &Watermark,
    ) -> Result<bool, Fault> {
        let since = match mark.modseq {
            Some(modseq) if self.opened.highest_modseq != mark.modseq => modseq,
            _ => return Ok(false),
        };
        let config = &self.work.run.config;
        let follows = config.later_flags == LaterFlags::Follow;
        let flags_matter = follows || (self.left_out && config.filter.asks_for_flags());
        if !flags_matter {
            return Ok(false);
        }
        let span = self.work.run.config.scan_messages_max;
        for range in Ranges::new(mark.uid_next, mark.listed, CHANGES_MAX) {
            let changed = source.changed(range, since).await?;
            // Far apart, they would bring everything between them into memory.
            for near in changed.chunk_by(|(one, _), (next, _)| one.0 / span == next.0 / span) {
                let (Some((low, _)), Some((high, _))) = (near.first(), near.last()) else {
                    continue;
                };
                let history = self.work.run.ledger.history(self.bound.id, *low..=*high).await?;
                let is_taken = |(uid, flags): &(Uid, Flags)| {
                    delta::is_taken_now(*uid, flags, &history, &config.filter)
                };
                if near.iter().any(is_taken) {
                    return Ok(true);
                }
                let reflags =
                    near.iter().filter_map(|(uid, flags)| delta::reflag(*uid, flags, &history));
                let reflags: Vec<Reflag> = reflags.collect();
                if reflags.is_empty() || !follows {
                    continue;
                }
                if self.open_target(source, target).await? && self.is_reset {
                    return Ok(false); // Everything is looked at again.
                }
                if let Some(place) = &self.place {
                    self.flags_kept |= !flags::follow(self.work, place, target, reflags).await?;
                }
            }
        }
        Ok(false)
    }

    /// A source that counts more messages than it lists would have some of them forgotten.
    async fn check_listed<S: Source>(&self, source: &mut S, before: &Opened) -> Result<(), Fault> {
        let listed = self.census.listed;
        if listed >= before.messages {
            return Ok(());
        }
        // Deleted since then, or never listed? Only a count of the same messages can tell.
        let now = source.open(&self.job.pair.source.name).await?;
        if now.uid_next != before.uid_next || listed >= now.messages {
            return Ok(());
        }
        let path = &self.job.pair.source.path;
        let action = format!("see all messages of {path}");
        let cause = format!(
            "the source says that there are {}, and lists {listed}; have its owner's index rebuilt",
            now.messages
        );
        Err(Fault::new(Scope::Mailbox, Remedy::Nothing, action, cause).at(Side::Source))
    }

    /// Tries once more what was refused or could not be read in an earlier pass, each alone.
    async fn retry_last<S: Source, T: Target>(
        &mut self,
        source: &mut S,
        target: &mut T,
    ) -> Result<Pass, Fault> {
        let owed = std::mem::take(&mut self.retry_last);
        if owed.is_empty() {
            return Ok(Pass::Through);
        }
        if self.work.run.stop.is_requested() {
            return Ok(Pass::Stopped);
        }
        self.open_target(source, target).await?;
        let uids: BTreeSet<Uid> = owed.iter().map(|owed| owed.info.uid).collect();
        let (Some(low), Some(high)) = (uids.first().copied(), uids.last().copied()) else {
            return Ok(Pass::Through);
        };
        let history = self.work.run.ledger.history(self.bound.id, low..=high).await?;
        let is_owed =
            |owed: &Owed| history.get(owed.info.uid).is_some_and(|entry| entry.fate.is_retried());
        let still_owed: Vec<Owed> = owed.into_iter().filter(is_owed).collect();
        self.note_pending(&still_owed, &history).await?;
        self.job.tried.extend(uids);
        let windows = self.windows(still_owed, target.is_faster_shared());
        if self.move_windows(source, target, windows).await? {
            return self.part(source, target, low..=high, false).await;
        }
        Ok(Pass::Through)
    }

    /// From the first octet on they are in doubt, and not what became of them before.
    async fn note_pending(&self, owed: &[Owed], history: &History) -> Result<(), Fault> {
        let known = owed.iter().filter_map(|owed| {
            let uid = owed.info.uid;
            let entry = history.get(uid).filter(|entry| entry.fate != Fate::Pending)?;
            let entry = Entry { fate: Fate::Pending, ..entry.at_source() };
            Some(Outcome { uid, entry, remarks: Vec::new(), subject: None })
        });
        let outcomes: Vec<Outcome> = known.collect();
        if outcomes.is_empty() {
            return Ok(());
        }
        self.work.run.ledger.record(self.bound.id, outcomes).await
    }

    fn windows(&self, owed: Vec<Owed>, is_shared: bool) -> Vec<Window> {
        let config = &self.work.run.config;
        // At a low rate a window is a second's worth: no long silence, then a burst.
        let rates = [config.rates.account_messages, config.rates.host_messages];
        let by_rate = rates.into_iter().flatten().map(|rate| rate.get() as usize).min();
        let by_rate = by_rate.unwrap_or(usize::MAX);
        // Several connections share a mailbox then, and none should wait long for the last one.
        let by_turn = if is_shared { TURN_MESSAGES } else { usize::MAX };
        let messages_max = config.window_messages_max.min(by_rate).min(by_turn).max(1);
        windows(owed, self.bounds(messages_max))
    }

    fn bounds(&self, messages_max: usize) -> Bounds {
        let config = &self.work.run.config;
        let (bytes_max, repaired_bytes_max) =
            (config.window_bytes_max, config.repaired_bytes_max());
        Bounds { messages_max, bytes_max, repaired_bytes_max }
    }

    /// Moves windows and reads back what was acknowledged. True where something is owed again.
    async fn move_windows<S: Source, T: Target>(
        &mut self,
        source: &mut S,
        target: &mut T,
        windows: Vec<Window>,
    ) -> Result<bool, Fault> {
        let mut again = false;
        let mut queue = VecDeque::new();
        self.queue(&mut queue, windows, false);
        while let Some((windows, alone)) = queue.pop_front() {
            if self.work.run.stop.is_requested() {
                break;
            }
            let Some(place) = &mut self.place else {
                return Ok(false);
            };
            let name = &self.bound.binding.target_name;
            let moved = match staged::make(self.work, place, target).await? {
                Some(made) => {
                    Box::pin(staged::deliver(self.work, place, name, source, target, made, windows))
                        .await
                }
                None => Box::pin(window::transfer(self.work, place, source, target, windows)).await,
            };
            self.job.tried.extend(moved.refused);
            let mut verified = Ok(());
            if window::is_target_sound(&moved.outcome) {
                verified = verify::read_back(self.work, place, target, moved.sent).await;
            }
            moved.outcome.and(verified)?;
            again |= moved.halted;
            if !moved.to_repair.is_empty() {
                let windows = self.windows(moved.to_repair, target.is_faster_shared());
                self.queue(&mut queue, windows, true);
            }
            if !moved.missing.is_empty() {
                let windows = self.ask_again(source, moved.missing, alone).await?;
                self.queue(&mut queue, windows, true);
            }
        }
        Ok(again)
    }

    /// Queues windows, those that share a stage together, with whether each message is alone.
    fn queue(&self, queue: &mut VecDeque<(Vec<Window>, bool)>, windows: Vec<Window>, alone: bool) {
        let config = &self.work.run.config;
        let batches = match config.delivery {
            Delivery::Direct => vec![windows],
            Delivery::Staged => staging::batches(windows, config.stage_messages_max),
        };
        let batches = batches.into_iter().filter(|batch| !batch.is_empty());
        queue.extend(batches.map(|batch| (batch, alone)));
    }

    /// Messages that did not come with their window: gone, or asked for once more, each alone.
    async fn ask_again<S: Source>(
        &mut self,
        source: &mut S,
        missing: Vec<(Owed, MissingCause)>,
        was_alone: bool,
    ) -> Result<Vec<Window>, Fault> {
        let mut uids: Vec<Uid> = missing.iter().map(|(owed, _)| owed.info.uid).collect();
        uids.sort_unstable();
        let there = source.still_there(&uids).await?;
        let mut outcomes = Vec::new();
        let mut owed_again = Vec::new();
        for (mut owed, cause) in missing {
            let uid = owed.info.uid;
            let (fate, reason) = match cause {
                _ if !there.contains(&uid) => {
                    (Fate::Gone, "deleted at the source before it was copied".to_owned())
                }
                MissingCause::Oversized(size) => {
                    owed.info.size = size;
                    owed_again.push(owed);
                    continue;
                }
                MissingCause::NotSent { .. } if !was_alone => {
                    owed_again.push(owed);
                    continue;
                }
                MissingCause::NotSent { said } => {
                    let said =
                        said.unwrap_or_else(|| "the source lists it and sends no body".into());
                    (Fate::Unreadable, said)
                }
            };
            if fate == Fate::Unreadable {
                self.job.tried.insert(uid);
            }
            outcomes.push(self.not_copied(&owed, fate, reason));
        }
        if !outcomes.is_empty() {
            self.work.run.ledger.record(self.bound.id, outcomes).await?;
        }
        Ok(windows(owed_again, self.bounds(1)))
    }

    fn not_copied(&self, owed: &Owed, fate: Fate, reason: String) -> Outcome {
        window::tell_not_copied(self.work, &self.job.pair, owed.info.uid, fate, &reason);
        let entry = Entry {
            fate,
            target_uid: None,
            size: owed.info.size,
            date: owed.info.date,
            flags: owed.info.flags.clone(),
            digest: None,
            changed: None,
            troubles: owed.troubles,
            risky: false,
        };
        let remarks = vec![Remark::new(RemarkKind::Reason, reason)];
        Outcome { uid: owed.info.uid, entry, remarks, subject: None }
    }

    /// Notes what the filter leaves out of this pass, or is copied from elsewhere.
    async fn note_filtered(
        &mut self,
        filtered: Vec<Owed>,
        elsewhere: &Elsewhere,
    ) -> Result<(), Fault> {
        if filtered.is_empty() {
            return Ok(());
        }
        let filter = &self.work.run.config.filter;
        let outcomes = filtered.into_iter().map(|Owed { info, troubles, .. }| {
            let text = match elsewhere.get(&info.uid) {
                Some(path) => Some(format!("it is copied as a message of {path} (--gmail-labels)")),
                None if filter.leaves_out_as_deleted(&info) => {
                    Some("it is marked as deleted at the source (--deleted skip)".to_owned())
                }
                None => None,
            };
            let reason = text.map(|text| Remark::new(RemarkKind::Reason, text));
            let entry = Entry {
                fate: Fate::Filtered,
                target_uid: None,
                size: info.size,
                date: info.date,
                flags: info.flags,
                digest: None,
                changed: None,
                troubles,
                risky: false,
            };
            let remarks = reason.into_iter().collect();
            Outcome { uid: info.uid, entry, remarks, subject: None }
        });
        self.work.run.ledger.record(self.bound.id, outcomes.collect()).await
    }

    async fn note_gone(&mut self, gone: Vec<(Uid, Entry)>) -> Result<(), Fault> {
        if gone.is_empty() {
            return Ok(());
        }
        let outcomes = gone.into_iter().map(|(uid, entry)| {
            let reason = "deleted at the source before it was copied";
            window::tell_not_copied(self.work, &self.job.pair, uid, Fate::Gone, reason);
            Outcome {
                uid,
                entry: Entry { fate: Fate::Gone, ..entry },
                remarks: vec![Remark::new(RemarkKind::Reason, reason)],
                subject: None,
            }
        });
        let outcomes = outcomes.collect();
        self.work.run.ledger.record(self.bound.id, outcomes).await
    }

    /// Opens the target's mailbox the first time something is to be done there. True where the ledger
    /// says something else now of what is owed: messages were found there that need not be copied
    /// any more, or the mailbox is another one and all its claims are void.
    async fn open_target<S: Source, T: Target>(
        &mut self,
        source: &mut S,
        target: &mut T,
    ) -> Result<bool, Fault> {
        if self.place.is_some() {
            return Ok(false);
        }
        // It was there when it was listed or made: if it is not, somebody has removed it.
        let target_name = self.bound.binding.target_name.clone();
        let destination = match self.destination.take() {
            Some(destination) => destination,
            None => resolve::open_or_make(target, &target_name).await?,
        };
        let validity = destination.validity_after(self.bound.binding.target_validity);
        let is_reset = resolve::check_validity(self.work, &self.bound, validity).await?;
        if is_reset {
            self.is_reset = true;
            self.bound.target_uid_next = Uid::FIRST;
        } else if self.bound.binding.target_validity.is_none() {
            let source_validity = self.bound.binding.source_validity;
            let binding = self.job.binding(source_validity, Some(validity));
            self.work.run.ledger.bind(self.work.claim.account, &binding).await?;
        }
        self.bound.binding.target_validity = Some(validity);
        let uid_next = destination.uid_next;
        let Self { work, bound, opened, noted, .. } = self;
        let adopted =
            adopt::adopt(work, source, target, bound, opened, &destination, noted).await?;
        self.work.run.ledger.set_target_uid_next(self.bound.id, uid_next).await?;
        self.bound.target_uid_next = uid_next;
        // What was taken for a copy just now may have come since: no later message has its UID.
        let lo = match adopted {
            true => {
                next_after(uid_next, self.work.run.ledger.claimed(self.bound.id, uid_next).await?)
            }
            false => uid_next,
        };
        self.place = Some(Place {
            mailbox: self.bound.id,
            pair: self.job.pair.clone(),
            validity,
            lo,
            stage: None,
        });
        Ok(adopted || is_reset)
    }

    fn tell_scanned(&self, scan: &[MessageInfo], delta: &Delta) {
        let bytes = |sizes: &mut dyn Iterator<Item = u64>| sizes.sum();
        self.work.event(Event::Scanned {
            account: self.work.label.clone(),
            mailbox: self.job.pair.source.path.to_string(),
            messages: scan.len() as u64,
            bytes: bytes(&mut scan.iter().map(|info| info.size)),
            owed_messages: delta.copy.len() as u64,
            owed_bytes: bytes(&mut delta.copy.iter().map(|owed| owed.info.size)),
        });
    }
}
