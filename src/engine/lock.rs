//! The lock: a mailbox of a known name at the target, which one ledger can make (of several that ask
//! for one name one is told that it is new). It keeps two ledgers from copying into one account.
//!
//! The ledger says that the lock is ours after it is made and until before it is deleted: a process
//! that dies in between leaves a lock that looks like another's, which stops a run and loses nothing;
//! the other way round, another's could be taken for ours.

use std::collections::BTreeSet;

use super::work::Work;
use crate::config::Lock;
use crate::event::Event;
use crate::fault::{About, Fault, Remedy, Scope, Side};
use crate::ledger::{Ledger, OwnMailbox};
use crate::mail::Mailbox;
use crate::own::OwnName;
use crate::target::{Created, Deleted, Target};

/// Makes the lock, or finds it ours.
///
/// # Errors
///
/// An account fault where another ledger has it, or where the target does not make it.
pub(super) async fn acquire<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    target: &mut T,
) -> Result<(), Fault> {
    let (name, is_ours) = (OwnName::lock(), is_ours(work).await?);
    let fail = |cause: String| {
        let action = format!("lock the account by the mailbox {name}");
        Fault::new(Scope::Account, Remedy::Nothing, action, cause).at(Side::Target)
    };
    match target.create_own(&name).await? {
        Created::Exists if is_ours => return Ok(()),
        Created::Exists if work.run.config.lock != Lock::TakenOver => {
            let cause = "it is there: a mailhaul with another ledger works on this account, or has \
                         died while it did";
            return Err(fail(cause.to_owned()).about(About::Lock));
        }
        Created::New | Created::Exists => {}
        Created::Refused(text) => return Err(fail(text)),
    }
    let own = OwnMailbox { name, removal: None };
    work.run.ledger.note_own(work.claim.account, &own).await
}

/// Deletes the lock.
///
/// # Errors
///
/// Where the connection breaks, or the target does not delete it.
pub(super) async fn release<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    target: &mut T,
) -> Result<(), Fault> {
    let name = OwnName::lock();
    work.run.ledger.forget_own(work.claim.account, &name).await?;
    match target.delete_own(&name).await? {
        Deleted::Gone => Ok(()),
        Deleted::Refused(text) => {
            let action = format!("delete the mailbox {name}");
            Err(Fault::new(Scope::Mailbox, Remedy::Nothing, action, text).at(Side::Target))
        }
    }
}

/// Whether the ledger says that we have made it, or taken it.
pub(super) async fn is_ours<L: Ledger>(work: &Work<'_, L>) -> Result<bool, Fault> {
    let own = work.run.ledger.own_mailboxes(work.claim.account).await?;
    Ok(own.iter().any(|own| own.name == OwnName::lock()))
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
