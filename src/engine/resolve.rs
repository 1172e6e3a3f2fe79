//! Settles windows whose outcome is not known: looks at what the target has at and above each
//! window's `lo`, and matches.

use std::collections::{BTreeMap, BTreeSet};

use super::work::Work;
use crate::event::Event;
use crate::fate::{Fate, Remark, RemarkKind};
use crate::fault::{Fault, Remedy, Scope, Side};
use crate::history::Entry;
use crate::ledger::{BoundMailbox, Ledger, MailboxId, OpenWindow, Outcome, WindowMessage};
use crate::mail::{MailboxPath, Uid, WireName};
use crate::plan::settle::{Candidate, InDoubt, Settlement, is_plausible, settle};
use crate::source::Source;
use crate::target::{Found, Target};

/// What became of windows that were left open.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// Source mailboxes whose windows could not be settled: nothing may be sent for them.
    pub(super) unresolved: BTreeSet<WireName>,
    /// Messages given up for this pass, by source mailbox.
    pub(super) given_up: BTreeMap<WireName, Vec<Uid>>,
}

/// Settles all windows that a lost connection or a dead run left open.
///
/// # Errors
///
/// Anything wider than a mailbox.
pub(super) async fn resolve_all<S: Source, T: Target, L: Ledger>(
    work: &Work<'_, L>,
    source: &mut S,
    target: &mut T,
    windows: Vec<OpenWindow>,
    bound: &[BoundMailbox],
) -> Result<Resolved, Fault> {
    let mut by_mailbox: BTreeMap<MailboxId, Vec<OpenWindow>> = BTreeMap::new();
    for window in windows {
        by_mailbox.entry(window.window.mailbox).or_default().push(window);
    }
    let mut resolved = Resolved::default();
    for (id, windows) in by_mailbox {
        // A window is of a mailbox: the ledger gives both or none.
        let Some(mailbox) = bound.iter().find(|bound| bound.id == id) else {
            continue;
        };
        match resolve_mailbox(work, source, target, mailbox, windows).await {
            // That nothing had arrived is no progress: the pauses between tries go on growing.
            Ok(given_up) => {
                let name = mailbox.binding.source_name.clone();
                resolved.given_up.entry(name).or_default().extend(given_up);
            }
            Err(fault) if fault.scope <= Scope::Mailbox => {
                let reason = fault.chain();
                work.run.ledger.set_mailbox_fault(id, Some(reason.clone())).await?;
                work.event(Event::MailboxFailed {
                    account: work.label.clone(),
                    mailbox: mailbox.binding.source_path.to_string(),
                    side: fault.side,
                    reason,
                });
                resolved.unresolved.insert(mailbox.binding.source_name.clone());
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(resolved)
}

async fn resolve_mailbox<S: Source, T: Target, L: Ledger>(
    work: &Work<'_, L>,
    source: &mut S,
    target: &mut T,
    mailbox: &BoundMailbox,
    windows: Vec<OpenWindow>,
) -> Result<Vec<Uid>, Fault> {
    let binding = &mailbox.binding;
    let destination = target.open(&binding.target_name).await?;
    if destination.uid_validity.is_none() || destination.uid_validity != binding.target_validity {
        let action = format!("see what arrived in {}", binding.target_path);
        let cause = "its UIDVALIDITY has changed since messages were sent there: whether they \
                     arrived cannot be told, and nothing is copied twice";
        let fault = Fault::new(Scope::Mailbox, Remedy::Nothing, action, cause);
        return Err(fault.at(Side::Target));
    }
    // A body is read again only if its digests were never known (it was streamed).
    let needs_source =
        windows.iter().flat_map(|open| &open.window.messages).any(|m| m.identity.is_none());
    if needs_source {
        let there = source.open(&binding.source_name).await;
        match there {
            Ok(opened) if opened.uid_validity == Some(binding.source_validity) => {}
            Ok(_) => return Err(source_changed(&binding.source_path)),
            Err(fault) => return Err(fault),
        }
    }
    let mut given_up = Vec::new();
    for window in windows {
        given_up.extend(resolve(work, &binding.source_path, source, target, window).await?);
    }
    Ok(given_up)
}

fn source_changed(path: &MailboxPath) -> Fault {
    let action = format!("read what was sent of {path} again");
    let cause = "its UIDVALIDITY has changed: it cannot be told which message was sent";
    Fault::new(Scope::Mailbox, Remedy::Nothing, action, cause).at(Side::Source)
}

/// Settles one window, and gives what is given up for this pass. Its target mailbox is open; the source's too, where a digest is missing.
///
/// # Errors
///
/// The first fault; the window is then open as before.
pub(super) async fn resolve<S: Source, T: Target, L: Ledger>(
    work: &Work<'_, L>,
    path: &MailboxPath,
    source: &mut S,
    target: &mut T,
    open: OpenWindow,
) -> Result<Vec<Uid>, Fault> {
    let OpenWindow { id, window, .. } = open;
    let messages = still_open(work, &window.messages, window.mailbox).await?;
    let claimed: BTreeSet<Uid> =
        work.run.ledger.claimed(window.mailbox, window.lo).await?.into_iter().collect();
    let mut in_doubt: Vec<InDoubt> = messages.iter().map(in_doubt).collect();
    let (candidates, _) = candidates(target, window.lo, &claimed, &in_doubt).await?;
    if !candidates.is_empty() {
        for message in in_doubt.iter_mut().filter(|message| message.identity.is_none()) {
            message.identity = source.identify(message.uid).await?;
        }
    }
    let settlement = settle(&in_doubt, &candidates);
    work.event(Event::Settled {
        account: work.label.clone(),
        mailbox: path.to_string(),
        found: settlement.found.len() as u64,
        missing: settlement.missing.len() as u64,
    });
    let blame = Blame {
        of_this_run: window.epoch >= work.claim.epoch,
        doubts_max: work.run.config.doubts_max,
    };
    let outcomes = outcomes(&messages, &in_doubt, &settlement, blame);
    let mut given_up = Vec::new();
    for outcome in &outcomes {
        for remark in &outcome.remarks {
            given_up.push(outcome.uid);
            work.not_copied();
            work.event(Event::NotCopied {
                account: work.label.clone(),
                mailbox: path.to_string(),
                uid: outcome.uid.0,
                fate: outcome.entry.fate,
                reason: remark.text.clone(),
            });
        }
    }
    let claimed = outcomes.iter().filter(|o| o.entry.target_uid.is_some());
    let (count, bytes) =
        claimed.fold((0, 0), |(count, bytes), outcome| (count + 1, bytes + outcome.entry.size));
    work.run.ledger.close(id, window.mailbox, outcomes).await?;
    // What comes next relies on it.
    work.run.ledger.flush().await?;
    if count > 0 {
        work.copied(count, bytes);
        work.event(Event::Copied {
            account: work.label.clone(),
            mailbox: path.to_string(),
            messages: count,
            bytes,
        });
    }
    Ok(given_up)
}

/// What stands on the target at and above a UID, was claimed by nobody, and could be a copy of a
/// message in doubt; read there to know its digests.
pub(super) async fn candidates<T: Target>(
    target: &mut T,
    from: Uid,
    claimed: &BTreeSet<Uid>,
    in_doubt: &[InDoubt],
) -> Result<(Vec<Candidate>, BTreeMap<Uid, Found>), Fault> {
    let (mut candidates, mut by_uid) = (Vec::new(), BTreeMap::new());
    for found in target.look(from).await? {
        if claimed.contains(&found.uid) || !is_plausible(&found, in_doubt) {
            continue;
        }
        if let Some(identity) = target.identify(found.uid).await? {
            let Found { uid, size, date, .. } = found;
            candidates.push(Candidate { uid, size, date, identity });
            by_uid.insert(uid, found);
        }
    }
    Ok((candidates, by_uid))
}

/// The messages of a window that the target has not told the UID of.
async fn still_open<L: Ledger>(
    work: &Work<'_, L>,
    messages: &[WindowMessage],
    mailbox: MailboxId,
) -> Result<Vec<WindowMessage>, Fault> {
    let uids = || messages.iter().map(|message| message.uid);
    let (Some(low), Some(high)) = (uids().min(), uids().max()) else {
        return Ok(Vec::new());
    };
    let history = work.run.ledger.history(mailbox, low..=high).await?;
    let is_told = |uid| history.get(uid).is_some_and(|entry| entry.target_uid.is_some());
    Ok(messages.iter().filter(|message| !is_told(message.uid)).cloned().collect())
}

fn in_doubt(message: &WindowMessage) -> InDoubt {
    let WindowMessage { uid, size, date, identity, .. } = *message;
    InDoubt { uid, size, date, identity }
}

/// Whether a message can be to blame for what broke.
#[derive(Debug, Clone, Copy)]
struct Blame {
    /// A window of this run lost its connection; the process that opened an older one died.
    of_this_run: bool,
    /// So many lost connections are no accident.
    doubts_max: u8,
}

fn outcomes(
    messages: &[WindowMessage],
    in_doubt: &[InDoubt],
    settlement: &Settlement,
    blame: Blame,
) -> Vec<Outcome> {
    let outcome = |(message, in_doubt): (&WindowMessage, &InDoubt)| {
        let uid = message.uid;
        let claimed = settlement.found.iter().find(|(source, _)| *source == uid);
        let doubts = match (claimed.is_some(), blame.of_this_run) {
            (true, _) => message.doubts,
            (false, true) => message.doubts.saturating_add(1),
            // It goes alone from now on, and is to blame for nothing.
            (false, false) => 1,
        };
        let (fate, reason) = if settlement.undecided.contains(&uid) {
            let text = "it was sent, and whether it arrived cannot be told: the source does not \
                        have it any more to compare";
            (Fate::Held, Some(text.to_owned()))
        } else if claimed.is_none() && doubts >= blame.doubts_max {
            let text = format!("the connection was lost each of the {doubts} times it was sent");
            (Fate::Refused, Some(text))
        } else {
            (Fate::Pending, None)
        };
        let identity = in_doubt.identity;
        let entry = Entry {
            fate,
            target_uid: claimed.map(|(_, target)| *target),
            size: message.size,
            date: message.date,
            flags: message.flags.clone(),
            digest: identity.map(|identity| (identity.exact, identity.headers)),
            doubts: if fate == Fate::Refused { 0 } else { doubts },
        };
        let remarks = reason.map(|text| Remark::new(RemarkKind::Reason, text));
        Outcome { uid, entry, remarks: remarks.into_iter().collect(), subject: None }
    };
    messages.iter().zip(in_doubt).map(outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Flags;

    fn message(uid: u32, doubts: u8) -> WindowMessage {
        let flags = Flags::default();
        WindowMessage { uid: Uid(uid), size: 1, date: None, flags, identity: None, doubts }
    }

    fn fates(
        messages: &[WindowMessage],
        settlement: &Settlement,
        of_this_run: bool,
    ) -> Vec<(Fate, Option<Uid>, u8)> {
        let keys: Vec<InDoubt> = messages.iter().map(in_doubt).collect();
        outcomes(messages, &keys, settlement, Blame { of_this_run, doubts_max: 3 })
            .into_iter()
            .map(|outcome| (outcome.entry.fate, outcome.entry.target_uid, outcome.entry.doubts))
            .collect()
    }

    #[test]
    fn what_was_found_is_claimed_and_what_was_not_is_owed_with_one_more_doubt() {
        let settlement = Settlement {
            found: vec![(Uid(1), Uid(9))],
            missing: vec![Uid(2)],
            undecided: vec![Uid(3)],
        };
        assert_eq!(
            fates(&[message(1, 0), message(2, 0), message(3, 0)], &settlement, true),
            [(Fate::Pending, Some(Uid(9)), 0), (Fate::Pending, None, 1), (Fate::Held, None, 1),]
        );
    }

    #[test]
    fn a_message_that_breaks_every_connection_is_given_up_for_this_pass() {
        let settlement = Settlement { missing: vec![Uid(1)], ..Settlement::default() };
        assert_eq!(fates(&[message(1, 2)], &settlement, true), [(Fate::Refused, None, 0)]);
        let of_a_dead_run = fates(&[message(1, 2)], &settlement, false);
        assert_eq!(of_a_dead_run, [(Fate::Pending, None, 1)]);
    }
}
