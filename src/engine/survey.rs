//! Looks, before anything is copied, for what was there at earlier passes and is not at the source any
//! more. It is noted; its copy stays.

use std::collections::BTreeSet;

use super::mailbox::Job;
use super::scan::{self, known};
use super::work::Work;
use crate::fate::{Fate, Remark, RemarkKind};
use crate::fault::{Fault, Scope};
use crate::history::Entry;
use crate::ledger::{BoundMailbox, Ledger, Outcome, ScanTotals};
use crate::mail::{MailboxStatus, Uid, WireName};
use crate::plan::gone;
use crate::source::{Opened, Source};

/// What one mailbox has lost at the source since it was copied.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) mailbox: BoundMailbox,
    /// Messages with a copy that is known well enough to be moved.
    pub(super) movable: Vec<(Uid, Entry)>,
}

/// Messages of one mailbox that are remembered to be moved; more are copied.
const MOVABLE_MAX: usize = 20_000;

/// Finds and notes what is gone: of the mailboxes that are to be done, and of those the source does
/// not list any more.
///
/// # Errors
///
/// Anything wider than a mailbox.
pub(super) async fn survey<S: Source, L: Ledger>(
    work: &Work<'_, L>,
    source: &mut S,
    jobs: &[Job],
    bound: &[BoundMailbox],
    listed: &BTreeSet<WireName>,
    unresolved: &BTreeSet<WireName>,
) -> Result<Vec<Lost>, Fault> {
    let mut lost = Vec::new();
    for mailbox in bound {
        let name = &mailbox.binding.source_name;
        if !mailbox.fixed && listed.contains(name) {
            continue;
        }
        let job = jobs.iter().find(|job| job.pair.source.name == *name);
        if work.run.stop.is_requested() {
            break;
        }
        let is_left_out = job.is_none() && listed.contains(name);
        if is_left_out || unresolved.contains(name) {
            continue;
        }
        let status = job.and_then(|job| job.status);
        if !is_suspect(mailbox, status.as_ref()) {
            continue;
        }
        let seen = match look(work, source, mailbox, job.is_some()).await {
            Err(fault) if fault.scope <= Scope::Mailbox => continue, // The pass will tell.
            seen => seen?,
        };
        let Some(Seen { copied, never_copied, movable, is_there }) = seen else {
            continue;
        };
        note(work, mailbox, &copied, never_copied).await?;
        if !is_there {
            end(work, mailbox).await?;
        }
        if !movable.is_empty() {
            lost.push(Lost { mailbox: mailbox.clone(), movable });
        }
    }
    Ok(lost)
}

fn is_suspect(mailbox: &BoundMailbox, status: Option<&MailboxStatus>) -> bool {
    let validity = status.and_then(|status| status.uid_validity);
    let is_other = validity.is_some_and(|validity| validity != mailbox.binding.source_validity);
    // Under another UIDVALIDITY nothing can be told by UIDs.
    !is_other && gone::may_have_lost(mailbox.watermark.as_ref(), status)
}

/// What a look at a source mailbox saw.
struct Seen {
    /// Messages with a copy that are gone.
    copied: BTreeSet<Uid>,
    /// What else is gone.
    never_copied: Vec<(Uid, Entry)>,
    movable: Vec<(Uid, Entry)>,
    /// Whether the mailbox itself is there.
    is_there: bool,
}

/// Compares what the source lists with what the ledger knows; none where it cannot tell.
async fn look<S: Source, L: Ledger>(
    work: &Work<'_, L>,
    source: &mut S,
    mailbox: &BoundMailbox,
    is_listed: bool,
) -> Result<Option<Seen>, Fault> {
    let opened = match source.open(&mailbox.binding.source_name).await {
        Ok(opened) if opened.uid_validity == Some(mailbox.binding.source_validity) => {
            let uid_next = scan::uid_next(&work.run.ledger, mailbox, &opened).await?;
            Some(Opened { uid_next, ..opened })
        }
        Ok(_) => return Ok(None),
        Err(fault) if fault.scope == Scope::Mailbox && !is_listed => None,
        Err(fault) => return Err(fault),
    };
    let (mut copied, mut never_copied, mut movable) = (BTreeSet::new(), Vec::new(), Vec::new());
    let mut messages = 0;
    for range in known(mailbox, opened.as_ref(), work.run.config.scan_messages_max) {
        let listed: BTreeSet<Uid> = match &opened {
            Some(_) => source.listed(range.clone()).await?.into_iter().collect(),
            None => BTreeSet::new(),
        };
        messages += listed.len() as u64;
        let history = work.run.ledger.history(mailbox.id, range).await?;
        let gone = gone::gone(&listed, &history);
        copied.extend(gone.copied.iter().map(|(uid, _)| *uid));
        never_copied.extend(gone.never_copied);
        if opened.is_none() {
            never_copied.extend(gone.pending);
        }
        let is_movable = |(uid, entry): &(Uid, Entry)| {
            let is_known = entry.target_uid.is_some() && entry.digest.is_some();
            is_known && history.flags_in_doubt(*uid).is_none()
        };
        let room = MOVABLE_MAX - movable.len();
        movable.extend(gone.copied.into_iter().filter(is_movable).take(room));
    }
    // A source that lists fewer than it counts has not lost what it does not list.
    if opened.as_ref().is_some_and(|opened| messages < opened.messages) {
        return Ok(None);
    }
    Ok(Some(Seen { copied, never_copied, movable, is_there: opened.is_some() }))
}

/// Notes what is gone; what was noted before and is there after all, too.
async fn note<L: Ledger>(
    work: &Work<'_, L>,
    mailbox: &BoundMailbox,
    copied: &BTreeSet<Uid>,
    never_copied: Vec<(Uid, Entry)>,
) -> Result<(), Fault> {
    let ledger = &work.run.ledger;
    let kind = RemarkKind::RemovedAtSource;
    let noted = ledger.remarked(mailbox.id, kind).await?;
    for uid in copied.difference(&noted) {
        let text = "it is not at the source any more; its copy stays".to_owned();
        ledger.set_remark(mailbox.id, *uid, kind, Some(text)).await?;
    }
    for uid in noted.difference(copied) {
        ledger.set_remark(mailbox.id, *uid, kind, None).await?;
    }
    let reason = "deleted at the source before it was copied";
    let outcomes: Vec<Outcome> = never_copied
        .into_iter()
        .map(|(uid, entry)| Outcome {
            uid,
            entry: Entry { fate: Fate::Gone, ..entry },
            remarks: vec![Remark::new(RemarkKind::Reason, reason)],
            subject: None,
        })
        .collect();
    ledger.record(mailbox.id, outcomes).await
}

/// Notes that a mailbox is not at the source any more: what was seen in it and never touched has
/// vanished with it, and nothing hinders it. Should it come back (one that is renamed away and back has
/// the same UIDs, and as many messages), all of it is looked at again.
async fn end<L: Ledger>(work: &Work<'_, L>, mailbox: &BoundMailbox) -> Result<(), Fault> {
    let ledger = &work.run.ledger;
    let touched = touched(work, mailbox).await?;
    let vanished = mailbox.scan.messages.saturating_sub(touched);
    if vanished != mailbox.scan.vanished {
        ledger.scanned(mailbox.id, ScanTotals { vanished, ..mailbox.scan }).await?;
    }
    if mailbox.watermark.is_some() {
        ledger.set_watermark(mailbox.id, None).await?;
    }
    ledger.set_mailbox_fault(mailbox.id, None).await
}

/// How many messages of a mailbox the ledger has an entry for, at the source or not.
pub(super) async fn touched<L: Ledger>(
    work: &Work<'_, L>,
    mailbox: &BoundMailbox,
) -> Result<u64, Fault> {
    let mut touched = 0;
    for range in known(mailbox, None, work.run.config.scan_messages_max) {
        touched += work.run.ledger.history(mailbox.id, range).await?.iter().count() as u64;
    }
    Ok(touched)
}
