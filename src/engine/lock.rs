//! The lock: a mailbox at the target whose name says whose it is. It keeps two ledgers from copying into
//! one account.
//!
//! Each ledger makes a lock of its own and then looks for others: of two that start at once, at least
//! the one that looks last sees the other's. The name is in the ledger before the lock is made and
//! until it is gone, so that a run knows the lock of one that died, wherever it died; and each claim
//! has another name, so that a DELETE of a connection that is lost takes away no later lock.

use std::collections::BTreeSet;

use super::work::Work;
use crate::config::Lock;
use crate::event::Event;
use crate::fault::{About, Fault, Remedy, Scope, Side};
use crate::ledger::{Ledger, OwnMailbox};
use crate::mail::Mailbox;
use crate::own::OwnName;
use crate::target::{Created, Deleted, Target};

/// Makes the lock of this claim, or finds it, and removes those that dead runs of this ledger have left.
///
/// # Errors
///
/// An account fault where another ledger has one, or where the target does not make or show it.
pub(super) async fn acquire<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    target: &mut T,
) -> Result<(), Fault> {
    let (ledger, account) = (&work.run.ledger, work.claim.account);
    let noted = noted(work).await?;
    let mut others = locks(target).await?;
    others.retain(|name| !noted.contains(name));
    let is_taken = work.run.config.lock == Lock::TakenOver;
    if !others.is_empty() && !is_taken {
        return Err(another_has(&others));
    }
    for other in &others {
        delete(target, other).await?;
    }
    let of_now = noted.iter().find(|name| name.is_of(work.run.seed, work.claim.epoch));
    let name = of_now.cloned().unwrap_or_else(|| OwnName::lock(work.serial()));
    ledger.note_own(account, &OwnMailbox { name: name.clone(), removal: None }).await?;
    if let Created::Refused(text) = target.create_own(&name).await? {
        return Err(fail(&name, text));
    }
    let mut there = locks(target).await?;
    if !there.remove(&name) {
        return Err(fail(&name, "the target says that it has made it, and lists none".to_owned()));
    }
    there.retain(|name| !noted.contains(name));
    if !there.is_empty() {
        remove(work, target, &name).await?;
        return Err(another_has(&there));
    }
    for old in noted.iter().filter(|old| **old != name) {
        remove(work, target, old).await?;
    }
    Ok(())
}

fn fail(name: &OwnName, cause: String) -> Fault {
    let action = format!("lock the account by the mailbox {name}");
    Fault::new(Scope::Account, Remedy::Nothing, action, cause).at(Side::Target)
}

fn another_has(others: &BTreeSet<OwnName>) -> Fault {
    let names: Vec<&str> = others.iter().map(OwnName::as_str).collect();
    let cause = format!(
        "{} is there: a mailhaul with another ledger works on this account, or has died while it did",
        names.join(", ")
    );
    let action = "lock the account".to_owned();
    Fault::new(Scope::Account, Remedy::Nothing, action, cause).at(Side::Target).about(About::Lock)
}

/// The locks that the target lists, whose ever they are.
async fn locks<T: Target>(target: &mut T) -> Result<BTreeSet<OwnName>, Fault> {
    let mut listed = target.list().await?;
    listed.retain(|mailbox| mailbox.selectable && !mailbox.is_foreign());
    let name = |mailbox: &Mailbox| {
        let name = OwnName::parse(mailbox.path.names().last()?)?;
        (name.is_lock() && name.path() == mailbox.path).then_some(name)
    };
    Ok(listed.iter().filter_map(name).collect())
}

/// The locks of this ledger that may be at the target.
async fn noted<L: Ledger>(work: &Work<'_, L>) -> Result<BTreeSet<OwnName>, Fault> {
    let own = work.run.ledger.own_mailboxes(work.claim.account).await?;
    Ok(own.into_iter().map(|own| own.name).filter(OwnName::is_lock).collect())
}

/// Deletes the locks of this ledger.
///
/// # Errors
///
/// Where the connection breaks, or the target does not delete one.
pub(super) async fn release<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    target: &mut T,
) -> Result<(), Fault> {
    for name in noted(work).await? {
        remove(work, target, &name).await?;
    }
    Ok(())
}

/// Deletes a lock of this ledger, and forgets it.
async fn remove<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    target: &mut T,
    name: &OwnName,
) -> Result<(), Fault> {
    delete(target, name).await?;
    work.run.ledger.forget_own(work.claim.account, name).await
}

async fn delete<T: Target>(target: &mut T, name: &OwnName) -> Result<(), Fault> {
    match target.delete_own(name).await? {
        Deleted::Gone => Ok(()),
        Deleted::Refused(text) => {
            let action = format!("delete the mailbox {name}");
            Err(Fault::new(Scope::Account, Remedy::Nothing, action, text).at(Side::Target))
        }
    }
}

/// Whether the ledger says that a lock of its own may be at the target.
pub(super) async fn has_one<L: Ledger>(work: &Work<'_, L>) -> Result<bool, Fault> {
    Ok(!noted(work).await?.is_empty())
}

/// Tells of mailboxes at the target that another mailhaul has made for itself: it works on the
/// account, too, or has died while it did.
pub(super) async fn warn_of_others<L: Ledger>(
    work: &Work<'_, L>,
    there: &[Mailbox],
) -> Result<(), Fault> {
    let names = there.iter().filter_map(|mailbox| OwnName::parse(mailbox.path.names().last()?));
    // What a measurement has left behind is nobody's mail.
    let mut names: BTreeSet<OwnName> = names.filter(|name| !name.is_trial()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let (ledger, account) = (&work.run.ledger, work.claim.account);
    for stage in ledger.stages(account).await? {
        names.remove(&stage.stage.name);
    }
    for own in ledger.own_mailboxes(account).await? {
        names.remove(&own.name);
    }
    if names.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = names.iter().map(OwnName::as_str).collect();
    let text = format!(
        "a mailhaul with another ledger works on this account, or has died while it did: the target \
         has {}. Two at a time can copy mail twice. Let the other one end; if there is none, look \
         into these mailboxes, and delete them",
        names.join(", ")
    );
    work.event(Event::Warning { account: Some(work.label.clone()), text });
    Ok(())
}
