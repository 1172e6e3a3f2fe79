//! Recognises source mailboxes that were renamed since the last pass, so that they go on instead of being
//! copied again under their new names.

use super::scan::Ranges;
use super::work::Work;
use crate::event::Event;
use crate::fault::{Fault, Scope};
use crate::identity::Digest;
use crate::ledger::{BoundMailbox, Ledger, MailboxId};
use crate::mail::{Mailbox, Uid, UidValidity, WireName};
use crate::plan::renames::{self, Alike, Candidate, Likeness};
use crate::source::Source;

/// Gives the mailboxes of the ledger the names that they have now.
///
/// # Errors
///
/// Anything wider than a mailbox.
pub(super) async fn recognise<S: Source, L: Ledger>(
    work: &Work<'_, L>,
    source: &mut S,
    listed: &[Mailbox],
    bound: &mut Vec<BoundMailbox>,
) -> Result<(), Fault> {
    let new = renames::new_names(listed, bound);
    if new.is_empty() {
        return Ok(());
    }
    let names: Vec<WireName> = listed.iter().map(|mailbox| mailbox.name.clone()).collect();
    let statuses = source.statuses(&names).await?;
    let is_new = |mailbox: &Mailbox| new.iter().any(|one| one.name == mailbox.name);
    let candidates = listed.iter().zip(&statuses).filter(|(mailbox, _)| is_new(mailbox));
    let candidates = candidates.filter_map(|(mailbox, status)| {
        Some(Candidate { mailbox: mailbox.clone(), status: (*status)? })
    });
    let candidates: Vec<Candidate> = candidates.collect();
    let validities = statuses.iter().map(|status| status.and_then(|status| status.uid_validity));
    let at_names: Vec<(WireName, Option<UidValidity>)> =
        names.into_iter().zip(validities).collect();
    let mut alike = Vec::new();
    for mailbox in renames::displaced(bound, &at_names) {
        for candidate in candidates.iter().filter(|one| renames::may_be(mailbox, one)) {
            let likeness = likeness(work, source, mailbox, candidate).await?;
            if likeness.is_it() {
                alike.push(Alike { mailbox, candidate, same: likeness.same });
            }
        }
    }
    let renamed: Vec<(MailboxId, Mailbox)> = renames::assigned(alike)
        .into_iter()
        .map(|one| (one.mailbox.id, one.candidate.mailbox.clone()))
        .collect();
    for (id, now) in renamed {
        let Some(mailbox) = bound.iter_mut().find(|mailbox| mailbox.id == id) else {
            continue;
        };
        if !work.run.config.dry_run && !work.run.ledger.rename_source(id, &now).await? {
            continue;
        }
        let text = format!(
            "{} was renamed to {} at the source: its mail goes on to {} at the target",
            mailbox.binding.source_path, now.path, mailbox.binding.target_path
        );
        let validity = mailbox.binding.source_validity;
        mailbox.binding.source_name = now.name.clone();
        mailbox.binding.source_path = now.path;
        // Where there was one of that name, the ledger has forgotten it.
        bound.retain(|other| {
            let binding = &other.binding;
            other.id == id
                || (&binding.source_name, binding.source_validity) != (&now.name, validity)
        });
        work.event(Event::Warning { account: Some(work.label.clone()), text });
    }
    Ok(())
}

/// How much the messages under a new name are those that the ledger knows.
async fn likeness<S: Source, L: Ledger>(
    work: &Work<'_, L>,
    source: &mut S,
    mailbox: &BoundMailbox,
    candidate: &Candidate,
) -> Result<Likeness, Fault> {
    let opened = match source.open(&candidate.mailbox.name).await {
        Err(fault) if fault.scope <= Scope::Mailbox => return Ok(Likeness::default()),
        opened => opened?,
    };
    if opened.uid_validity != Some(mailbox.binding.source_validity) {
        return Ok(Likeness::default());
    }
    let mut likeness = Likeness::default();
    let messages_max = work.run.config.scan_messages_max;
    for range in Ranges::new(opened.uid_next, opened.messages, messages_max) {
        let scan = source.scan(range.clone()).await?;
        let history = work.run.ledger.history(mailbox.id, range).await?;
        let mut part = Likeness::of(&scan, &history);
        if part.resized > 0 && part.different == 0 {
            let known = renames::to_be_read(&scan, &history);
            let uids: Vec<Uid> = known.iter().map(|(uid, _)| *uid).collect();
            let read = source.identify(&uids).await?;
            let is_equal = |(uid, digest): &&(Uid, Digest)| {
                read.get(uid).is_some_and(|(_, identity)| identity.exact == *digest)
            };
            part = part.once_read(read.len(), known.iter().filter(is_equal).count());
        }
        likeness = likeness.and(part);
        if likeness.different > 0 {
            break;
        }
    }
    Ok(likeness)
}
