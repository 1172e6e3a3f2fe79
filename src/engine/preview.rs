//! Tells which mailbox of an account would go where, and what is in it.

use std::sync::Arc;

use super::look::{Ends, Listed, Looking};
use super::work::Pass;
use crate::event::{Event, Observer};
use crate::fault::Fault;
use crate::mail::{Mailbox, MailboxPath, MailboxStatus, WireName};
use crate::plan::collisions::collisions;
use crate::plan::mailboxes::{Pair, Plan};
use crate::sharing::Quota;
use crate::source::Source;

/// Tells the plan of an account.
///
/// # Errors
///
/// What ends the connections.
pub(super) async fn account(
    looking: &Looking<'_>,
    ends: &mut Ends,
    listed: Listed,
) -> Result<Pass, Fault> {
    let Listed { target: there, plan, .. } = listed;
    let names: Vec<WireName> = plan.pairs.iter().map(|pair| pair.source.name.clone()).collect();
    let statuses = ends.source.statuses(&names).await?;
    let (observer, label) = (&*looking.run.observer, &looking.label);
    tell_listed(observer, label, &statuses);
    let quota = ends.target.quota().await?;
    warn_of_quota(observer, label, &mut ends.source, &statuses, quota).await?;
    tell(observer, label, &plan, &there, &statuses);
    observer.event(&Event::AccountPlanned { account: label.clone() });
    Ok(Pass::Through)
}

/// Tells what an account has.
pub(super) fn tell_listed(
    observer: &dyn Observer,
    label: &Arc<str>,
    statuses: &[Option<MailboxStatus>],
) {
    let told = || statuses.iter().flatten();
    observer.event(&Event::AccountListed {
        account: label.clone(),
        mailboxes: statuses.len(),
        messages: Some(told().map(|status| status.messages).sum()),
        // A source tells the bytes of all its mailboxes or of none.
        bytes: told().map(|status| status.bytes).sum(),
    });
}

/// Warns where the source holds more than the target lets the account hold.
///
/// # Errors
///
/// What ends the connection.
pub(super) async fn warn_of_quota<S: Source>(
    observer: &dyn Observer,
    label: &Arc<str>,
    source: &mut S,
    statuses: &[Option<MailboxStatus>],
    quota: Option<Quota>,
) -> Result<(), Fault> {
    let Some(quota) = quota else {
        return Ok(());
    };
    let sizes: Option<u64> = statuses.iter().flatten().map(|status| status.bytes).sum();
    let held = match sizes {
        Some(bytes) => Some(bytes),
        None => source.quota().await?.map(|quota| quota.used),
    };
    if let Some(held) = held.filter(|held| *held > quota.limit) {
        let text = format!(
            "the source holds {held} bytes, and the target lets the account hold {}: raise its quota",
            quota.limit
        );
        observer.event(&Event::Warning { account: Some(label.clone()), text });
    }
    Ok(())
}

/// Tells where every mailbox would go, and which is left out.
pub(super) fn tell(
    observer: &dyn Observer,
    label: &Arc<str>,
    plan: &Plan,
    there: &[Mailbox],
    statuses: &[Option<MailboxStatus>],
) {
    tell_left_out(observer, label, plan);
    let mut collisions = collisions(&plan.pairs, there);
    for (pair, status) in plan.pairs.iter().zip(statuses) {
        let collision = collisions.remove(&pair.source.name);
        observer.event(&planned(label, pair, *status, collision));
    }
}

/// Tells which mailboxes are left out, and why.
pub(super) fn tell_left_out(observer: &dyn Observer, label: &Arc<str>, plan: &Plan) {
    for left_out in &plan.left_out {
        observer.event(&Event::MailboxPlanned {
            account: label.clone(),
            source: left_out.source.path.to_string(),
            target: None,
            reason: left_out.because.to_string(),
            exists: None,
            messages: None,
            bytes: None,
            collision: None,
        });
    }
}

/// Where a mailbox goes.
pub(super) fn planned(
    label: &Arc<str>,
    pair: &Pair,
    status: Option<MailboxStatus>,
    collision: Option<String>,
) -> Event {
    Event::MailboxPlanned {
        account: label.clone(),
        source: pair.source.path.to_string(),
        target: Some(MailboxPath::to_string(&pair.target)),
        reason: pair.why(),
        exists: Some(pair.existing.is_some()),
        messages: status.map(|status| status.messages),
        bytes: status.and_then(|status| status.bytes),
        collision,
    }
}
