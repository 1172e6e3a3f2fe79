//! One pass over one mailbox: scanned in parts, each compared with the ledger, copied, read back.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::scan::{Census, Ranges};
use super::window::{self, Place, Unverified};
use super::work::{Pass, Work};
use super::{resolve, verify};
use crate::event::Event;
use crate::fate::{Fate, Remark, RemarkKind};
use crate::fault::{Fault, Remedy, Scope, Side};
use crate::history::Entry;
use crate::ledger::{Binding, BoundMailbox, Ledger, MailboxId, Outcome, ScanTotals};
use crate::mail::{MailboxPath, MessageInfo, Uid, UidValidity, WireName};
use crate::plan::delta::{Acknowledged, Delta, delta};
use crate::plan::mailboxes::Pair;
use crate::plan::windows::{Bounds, Owed, Window, windows};
use crate::source::{MissingCause, Opened, Source};
use crate::target::Target;

/// A mailbox that is to be done.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) pair: Pair,
    /// How the target spells its mailbox.
    pub(super) target_name: WireName,
    /// What the ledger knows of the source mailbox, under every UIDVALIDITY it had.
    pub(super) bound: Vec<BoundMailbox>,
    /// Messages that were tried in this run and not copied.
    pub(super) tried: BTreeSet<Uid>,
}

impl Job {
    fn binding(&self, source: UidValidity, target: Option<UidValidity>) -> Binding {
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
    let opened = source.open(&job.pair.source.name).await?;
    let bound = bind(work, job, &opened).await?;
    if job.bound.iter().all(|known| known.id != bound.id) {
        job.bound.push(bound.clone());
    }
    let ledger = &work.run.ledger;
    let known = bound.scan;
    work.event(Event::MailboxStarted {
        account: work.label.clone(),
        mailbox: job.pair.source.path.to_string(),
        messages: opened.messages,
    });
    let mut copying = Copying {
        work,
        job,
        mailbox: bound.id,
        source_validity: bound.binding.source_validity,
        target_validity: bound.binding.target_validity,
        place: None,
        retry_last: Vec::new(),
        census: Census::after(known),
        noted: known,
    };
    copying.note(opened.messages + known.vanished, 0).await?;
    let expected = opened.messages.max(known.messages);
    for range in Ranges::new(opened.uid_next, expected, work.run.config.scan_messages_max) {
        if copying.part(source, target, range, true).await? == Pass::Stopped {
            return Ok(Pass::Stopped);
        }
    }
    if copying.retry_last(source, target).await? == Pass::Stopped {
        return Ok(Pass::Stopped);
    }
    copying.check_listed(source, &opened).await?;
    let totals = copying.census.totals(opened.uid_next);
    if totals != copying.noted {
        ledger.scanned(bound.id, totals).await?;
    }
    ledger.set_mailbox_fault(bound.id, None).await?;
    for never_opened in job.bound.iter().filter(|b| b.binding.source_validity == NEVER_OPENED) {
        ledger.set_mailbox_fault(never_opened.id, None).await?;
    }
    let (account, mailbox) = (work.label.clone(), job.pair.source.path.to_string());
    work.event(Event::MailboxDone { account, mailbox });
    Ok(Pass::Through)
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

/// Finds the mailbox in the ledger, or enters it.
async fn bind<L: Ledger>(
    work: &Work<'_, L>,
    job: &Job,
    opened: &Opened,
) -> Result<BoundMailbox, Fault> {
    let path = &job.pair.source.path;
    let cannot = |cause: &'static str| {
        let action = format!("tell the messages of {path} from each other");
        Fault::new(Scope::Mailbox, Remedy::Nothing, action, cause).at(Side::Source)
    };
    let validity = opened.uid_validity.ok_or_else(|| {
        cannot(
            "the source gives it no UIDVALIDITY that lasts, so that a second run could not know \
                what the first has copied",
        )
    })?;
    if let Some(bound) = job.bound.iter().find(|b| b.binding.source_validity == validity)
        && (bound.fixed || bound.binding.target_name == job.target_name)
    {
        return Ok(bound.clone());
    }
    if job.bound.iter().any(|bound| bound.fixed) {
        return Err(cannot(
            "its UIDVALIDITY has changed since it was copied: what was copied cannot be told from \
             what is new, and nothing is copied twice",
        ));
    }
    let binding = job.binding(validity, None);
    let id = work.run.ledger.bind(work.claim.account, &binding).await?;
    Ok(BoundMailbox { id, binding, fixed: false, scan: ScanTotals::default() })
}

/// The state of a pass over one mailbox.
struct Copying<'a, 'w, L> {
    work: &'a Work<'w, L>,
    job: &'a mut Job,
    mailbox: MailboxId,
    source_validity: UidValidity,
    target_validity: Option<UidValidity>,
    /// Where to append; none before there was anything to append.
    place: Option<Place>,
    retry_last: Vec<Owed>,
    census: Census,
    /// What the ledger has of it.
    noted: ScanTotals,
}

impl<L: Ledger> Copying<'_, '_, L> {
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
            let history = ledger.history(self.mailbox, range.clone()).await?;
            let delta = delta(&scan, &history, &self.job.tried);
            if first {
                self.census.count(&scan, &history);
                let Census { known, messages, bytes, .. } = self.census;
                self.note(messages + known.vanished, bytes).await?;
                self.tell_scanned(&scan, &delta);
                self.retry_last.extend(delta.retry_last.iter().cloned());
                first = false;
            }
            self.note_gone(delta.gone).await?;
            if delta.copy.is_empty() && delta.read_back.is_empty() {
                return Ok(Pass::Through);
            }
            self.open_target(target).await?;
            let mut again =
                self.verify(target, unverified(delta.read_back), verify::Look::Again).await?;
            let windows = self.windows(delta.copy);
            again |= self.move_windows(source, target, windows).await?;
            if self.work.run.stop.is_requested() {
                return Ok(Pass::Stopped);
            }
            if !again {
                return Ok(Pass::Through);
            }
        }
    }

    /// Notes what is known to be there at least, so that a run that ends early knows what it leaves.
    async fn note(&mut self, messages: u64, bytes: u64) -> Result<(), Fault> {
        let so_far = ScanTotals {
            messages: self.noted.messages.max(messages),
            bytes: self.noted.bytes.max(bytes),
            ..self.noted
        };
        if so_far == self.noted {
            return Ok(());
        }
        // Not a whole scan: what is missing in it has not vanished.
        self.noted = ScanTotals { uid_next: 0, ..so_far };
        self.work.run.ledger.scanned(self.mailbox, self.noted).await
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
        self.open_target(target).await?;
        self.job.tried.extend(owed.iter().map(|owed| owed.info.uid));
        let range =
            owed.iter().map(|owed| owed.info.uid).min().zip(owed.last().map(|o| o.info.uid));
        let windows = self.windows(owed);
        let again = self.move_windows(source, target, windows).await?;
        match range {
            Some((low, high)) if again => self.part(source, target, low..=high, false).await,
            _ => Ok(Pass::Through),
        }
    }

    fn windows(&self, owed: Vec<Owed>) -> Vec<Window> {
        let config = &self.work.run.config;
        // At a low rate a window is a second's worth: no long silence, then a burst.
        let rates = [config.rates.account_messages, config.rates.host_messages];
        let by_rate = rates.into_iter().flatten().map(|rate| rate.get() as usize).min();
        let messages_max = config.window_messages_max.min(by_rate.unwrap_or(usize::MAX)).max(1);
        windows(owed, Bounds { messages_max, bytes_max: config.window_bytes_max })
    }

    /// Moves windows and reads back what was acknowledged. True where something is owed again.
    async fn move_windows<S: Source, T: Target>(
        &mut self,
        source: &mut S,
        target: &mut T,
        windows: Vec<Window>,
    ) -> Result<bool, Fault> {
        let mut again = false;
        let mut windows = windows;
        let mut alone = false;
        while !windows.is_empty() {
            let Some(place) = &self.place else {
                return Ok(false);
            };
            let moved = Box::pin(window::transfer(self.work, place, source, target, windows)).await;
            self.job.tried.extend(moved.refused);
            moved.outcome?;
            again |= self.verify(target, moved.acknowledged, verify::Look::First).await?;
            if moved.unresolved {
                self.resolve(source, target).await?;
                again = true;
            }
            let missing = moved.missing;
            windows = if missing.is_empty() {
                Vec::new()
            } else {
                self.ask_again(source, missing, alone).await?
            };
            alone = true;
        }
        Ok(again)
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
            self.work.run.ledger.record(self.mailbox, outcomes).await?;
        }
        let bytes_max = self.work.run.config.window_bytes_max;
        let alone = Bounds { messages_max: 1, bytes_max };
        Ok(windows(owed_again, alone))
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
            doubts: owed.doubts,
        };
        let remarks = vec![Remark::new(RemarkKind::Reason, reason)];
        Outcome { uid: owed.info.uid, entry, remarks, subject: None }
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
        self.work.run.ledger.record(self.mailbox, outcomes).await
    }

    async fn verify<T: Target>(
        &mut self,
        target: &mut T,
        acknowledged: Vec<Unverified>,
        look: verify::Look,
    ) -> Result<bool, Fault> {
        let Some(place) = &mut self.place else {
            return Ok(false);
        };
        if acknowledged.is_empty() {
            return Ok(false);
        }
        verify::read_back(self.work, place, target, acknowledged, look).await
    }

    /// Settles windows whose outcome the target told without saying where the copies are.
    async fn resolve<S: Source, T: Target>(
        &mut self,
        source: &mut S,
        target: &mut T,
    ) -> Result<(), Fault> {
        let open = self.work.run.ledger.open_windows(self.work.claim.account).await?;
        for window in open.into_iter().filter(|open| open.window.mailbox == self.mailbox) {
            let path = &self.job.pair.source.path;
            let given_up = resolve::resolve(self.work, path, source, target, window).await?;
            self.job.tried.extend(given_up);
        }
        Ok(())
    }

    /// Opens the target's mailbox the first time something is to be done there.
    async fn open_target<T: Target>(&mut self, target: &mut T) -> Result<(), Fault> {
        if self.place.is_some() {
            return Ok(());
        }
        let name = &self.job.target_name;
        let destination = match target.open(name).await {
            // It was there when it was listed or made: somebody has removed it.
            Err(fault) if fault.scope == Scope::Mailbox => {
                target.create(name, None).await?;
                target.open(name).await?
            }
            opened => opened?,
        };
        let cannot = |cause: &'static str| {
            let action = format!("append to {}", self.job.pair.target);
            Fault::new(Scope::Mailbox, Remedy::Nothing, action, cause).at(Side::Target)
        };
        let validity = destination.uid_validity.ok_or_else(|| {
            cannot(
                "the target gives it no UIDVALIDITY that lasts, so that copies could not be \
                    found again",
            )
        })?;
        match self.target_validity {
            Some(known) if known != validity => {
                return Err(cannot(
                    "its UIDVALIDITY has changed since messages were copied there (was it deleted \
                     and made again?): what is missing cannot be told, and nothing is copied twice",
                ));
            }
            Some(_) => {}
            None => {
                let binding = self.job.binding(self.source_validity, Some(validity));
                self.work.run.ledger.bind(self.work.claim.account, &binding).await?;
                self.target_validity = Some(validity);
            }
        }
        self.place = Some(Place {
            mailbox: self.mailbox,
            pair: self.job.pair.clone(),
            target_name: name.clone(),
            validity,
            lo: destination.uid_next,
        });
        Ok(())
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

fn unverified(acknowledged: Vec<Acknowledged>) -> Vec<Unverified> {
    acknowledged.into_iter().map(Unverified::from).collect()
}
