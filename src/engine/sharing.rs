//! What mailboxes have beside their messages goes along where it is asked for: rights and notes. Nothing is
//! taken away at the target, and no note there is written over.

use super::mailbox::Job;
use super::work::Work;
use crate::accounts::Account;
use crate::event::Event;
use crate::fault::{Fault, Scope};
use crate::ledger::Ledger;
use crate::plan::mailboxes::Pair;
use crate::plan::sharing::{grants, notes};
use crate::source::Source;
use crate::target::Target;

/// Gives the target's mailboxes what they lack of the source's rights and notes.
///
/// # Errors
///
/// A session fault where a connection breaks; what a server refuses is told.
pub(super) async fn copy<S: Source, T: Target, L: Ledger>(
    work: &Work<'_, L>,
    account: &Account,
    source: &mut S,
    target: &mut T,
    jobs: &[Job],
) -> Result<(), Fault> {
    let config = &work.run.config;
    let (mut rights, mut annotations) = (0, 0);
    for what in [What::Acl, What::Metadata] {
        if !what.is_wanted(config.acl, config.metadata) {
            continue;
        }
        for job in jobs {
            if work.run.stop.is_requested() {
                return Ok(());
            }
            // What its owner has granted is not the account's to grant.
            let is_others = job.pair.source.is_foreign() && account.source_root.is_none();
            if is_others && matches!(what, What::Acl) {
                continue;
            }
            let given = match what {
                What::Acl => grant(work, account, source, target, job).await,
                What::Metadata => annotate(work, source, target, job).await,
            };
            match given {
                Ok(Some(given)) => match what {
                    What::Acl => rights += given,
                    What::Metadata => annotations += given,
                },
                Ok(None) => {
                    warn(work, format!("{}: not both servers offer it", what.flag()));
                    break;
                }
                Err(fault) if fault.scope <= Scope::Mailbox => {
                    warn_of(work, &job.pair, what, &fault.chain());
                }
                Err(fault) => return Err(fault),
            }
        }
    }
    if rights + annotations > 0 {
        let account = work.label.clone();
        work.event(Event::Shared { account, rights, annotations });
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum What {
    Acl,
    Metadata,
}

impl What {
    fn is_wanted(self, acl: bool, metadata: bool) -> bool {
        match self {
            Self::Acl => acl,
            Self::Metadata => metadata,
        }
    }

    fn flag(self) -> &'static str {
        match self {
            Self::Acl => "--acl",
            Self::Metadata => "--metadata",
        }
    }
}

fn warn<L: Ledger>(work: &Work<'_, L>, text: String) {
    work.event(Event::Warning { account: Some(work.label.clone()), text });
}

fn warn_of<L: Ledger>(work: &Work<'_, L>, pair: &Pair, what: What, text: &str) {
    warn(work, format!("{}: {}: {text}", what.flag(), pair.source.path));
}

/// Grants what is lacking, and gives how much that was; none where an end has no rights to grant.
async fn grant<S: Source, T: Target, L: Ledger>(
    work: &Work<'_, L>,
    account: &Account,
    source: &mut S,
    target: &mut T,
    job: &Job,
) -> Result<Option<u64>, Fault> {
    let (name, target_name) = (&job.pair.source.name, &job.target_name);
    let (told, there) = tokio::join!(source.acl(name), target.acl(target_name));
    let Some((told, there)) = told?.zip(there?) else {
        return Ok(None);
    };
    let grants = grants(&told, &there, &account.source.user, &work.run.identities);
    if !grants.unknown.is_empty() {
        let text = format!("nobody has said who {} is at the target", grants.unknown.join(", "));
        warn_of(work, &job.pair, What::Acl, &text);
    }
    let mut granted = 0;
    for (identifier, rights) in &grants.rights {
        match target.grant(target_name, identifier, rights).await {
            Ok(()) => granted += 1,
            Err(fault) if fault.scope <= Scope::Mailbox => {
                warn_of(work, &job.pair, What::Acl, &fault.chain());
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(Some(granted))
}

/// Notes what is lacking, and gives how much that was; none where an end keeps no notes.
async fn annotate<S: Source, T: Target, L: Ledger>(
    work: &Work<'_, L>,
    source: &mut S,
    target: &mut T,
    job: &Job,
) -> Result<Option<u64>, Fault> {
    let (name, target_name) = (&job.pair.source.name, &job.target_name);
    let (told, there) = tokio::join!(source.metadata(name), target.metadata(target_name));
    let Some((told, there)) = told?.zip(there?) else {
        return Ok(None);
    };
    let mut noted = 0;
    for (entry, value) in notes(&told, &there) {
        match target.annotate(target_name, &entry, &value).await {
            Ok(()) => noted += 1,
            Err(fault) if fault.scope <= Scope::Mailbox => {
                warn_of(work, &job.pair, What::Metadata, &fault.chain());
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(Some(noted))
}
