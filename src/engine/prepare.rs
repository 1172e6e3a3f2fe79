//! Prepares an account: lists both ends, decides which mailbox goes where, and makes what is missing
//! at the target.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::mailbox::{self, Job};
use super::work::Work;
use crate::event::Event;
use crate::fault::{Fault, Scope};
use crate::ledger::{BoundMailbox, Ledger};
use crate::mail::{Mailbox, MailboxPath, WireName};
use crate::plan::mailboxes::{self, Pair, Reason};
use crate::source::Source;
use crate::target::Target;

/// Lists both ends, decides which mailbox goes where, and makes what is missing at the target.
pub(super) async fn jobs<S: Source, T: Target, L: Ledger>(
    work: &Work<'_, L>,
    source: &mut S,
    target: &mut T,
    bound: &[BoundMailbox],
) -> Result<VecDeque<Job>, Fault> {
    let there = target.list().await?;
    let fixed: BTreeMap<WireName, MailboxPath> = bound
        .iter()
        .filter(|bound| bound.fixed)
        .map(|bound| (bound.binding.source_name.clone(), bound.binding.target_path.clone()))
        .collect();
    let listed = source.list().await?;
    let pairs = mailboxes::pair(&listed, &there, &target.naming(), &fixed);
    let dry_run = work.run.config.dry_run;
    let names: Vec<WireName> = pairs.iter().map(|pair| pair.source.name.clone()).collect();
    let statuses = source.statuses(&names).await?;
    let told = || statuses.iter().flatten();
    work.event(Event::AccountListed {
        account: work.label.clone(),
        mailboxes: pairs.len(),
        messages: Some(told().map(|status| status.messages).sum()),
        // A source tells the bytes of all its mailboxes or of none.
        bytes: told().map(|status| status.bytes).sum(),
    });
    for shared in listed.iter().filter(|mailbox| mailbox.foreign && mailbox.selectable) {
        tell_plan(work, &shared.path, None, "left out: it is not the account's own");
    }
    let mut taken: BTreeSet<MailboxPath> = pairs.iter().map(|pair| pair.target.clone()).collect();
    let mut jobs = VecDeque::with_capacity(pairs.len());
    for (mut pair, status) in pairs.into_iter().zip(statuses) {
        if !dry_run {
            match make_target(target, &mut pair, &there, &mut taken).await {
                Ok(name) => {
                    jobs.push_back(Job {
                        pair: pair.clone(),
                        target_name: name,
                        status,
                        bound: Vec::new(),
                        tried: BTreeSet::new(),
                        was_removed: false,
                    });
                }
                Err(fault) if fault.scope <= Scope::Mailbox => {
                    mailbox::give_up_unbound(work, &pair, &fault).await?;
                    continue;
                }
                Err(fault) => return Err(fault),
            }
        }
        if pair.reason != Reason::Fixed || dry_run {
            tell_plan(work, &pair.source.path, Some(&pair.target), &pair.reason.to_string());
        }
    }
    Ok(jobs)
}

fn tell_plan<L: Ledger>(
    work: &Work<'_, L>,
    source: &MailboxPath,
    target: Option<&MailboxPath>,
    reason: &str,
) {
    work.event(Event::MailboxPlanned {
        account: work.label.clone(),
        source: source.to_string(),
        target: target.map(MailboxPath::to_string),
        reason: reason.to_owned(),
    });
}

/// Sees to it that the target has the mailbox of a pair, under a plainer name where it refuses this
/// one, and that it is subscribed as the source's is.
async fn make_target<T: Target>(
    target: &mut T,
    pair: &mut Pair,
    there: &[Mailbox],
    taken: &mut BTreeSet<MailboxPath>,
) -> Result<WireName, Fault> {
    let name = match &pair.existing {
        Some(name) => name.clone(),
        None => create(target, pair, taken).await?,
    };
    let subscribed = there.iter().any(|mailbox| mailbox.name == name && mailbox.subscribed);
    if pair.source.subscribed && !subscribed {
        target.subscribe(&name).await?;
    }
    Ok(name)
}

async fn create<T: Target>(
    target: &mut T,
    pair: &mut Pair,
    taken: &mut BTreeSet<MailboxPath>,
) -> Result<WireName, Fault> {
    let refused = match target.spell(&pair.target) {
        Some(name) => match target.create(&name, pair.source.special_use).await {
            Ok(()) => return Ok(name),
            Err(fault) if fault.scope == Scope::Mailbox => fault,
            Err(fault) => return Err(fault),
        },
        None => mailbox::no_name(&pair.target),
    };
    let plainer = mailboxes::free(mailboxes::plainer(&pair.target), taken);
    match target.spell(&plainer) {
        Some(name) if plainer != pair.target && pair.reason != Reason::Fixed => {
            target.create(&name, pair.source.special_use).await?;
            taken.insert(plainer.clone());
            pair.target = plainer;
            pair.reason = Reason::Renamed;
            Ok(name)
        }
        _ => Err(refused),
    }
}
