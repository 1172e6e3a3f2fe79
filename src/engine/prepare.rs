//! Prepares an account: lists both ends, decides which mailbox goes where, and makes what is missing
//! at the target.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::labels::{self, Placing};
use super::mailbox::{self, Job};
use super::work::Work;
use super::{lock, preview, renames};
use crate::accounts::Account;
use crate::fault::{Fault, Remedy, Scope, Side};
use crate::ledger::{BoundMailbox, Ledger};
use crate::mail::{Mailbox, MailboxPath, WireName};
use crate::plan::labels::Labels;
use crate::plan::mailboxes::{self, Pair, Reason, Renamed, Wishes};
use crate::source::Source;
use crate::target::{Made, Target};

/// What there is to do for an account.
pub(super) struct Prepared {
    pub(super) jobs: VecDeque<Job>,
    /// Every mailbox that the source lists, also those that are left out.
    pub(super) listed: BTreeSet<WireName>,
}

/// Lists both ends, decides which mailbox goes where, and makes what is missing at the target.
pub(super) async fn prepare<S: Source, T: Target, L: Ledger>(
    work: &Work<'_, L>,
    account: &Account,
    source: &mut S,
    target: &mut T,
    bound: &mut Vec<BoundMailbox>,
) -> Result<Prepared, Fault> {
    let asked = work.run.config.rules.namespaces;
    let (there, listed) = tokio::join!(target.list(), source.list(asked));
    let (there, listed) = (there?, listed?);
    lock::warn_of_others(work, &there).await?;
    renames::recognise(work, source, &listed, bound).await?;
    let fixed: BTreeMap<WireName, MailboxPath> = bound
        .iter()
        .filter(|bound| bound.fixed)
        .map(|bound| (bound.binding.source_name.clone(), bound.binding.target_path.clone()))
        .collect();
    let beyond_all = labels::beyond_all(source, &listed, &work.run.config).await?;
    let wishes = Wishes {
        rules: &work.run.config.rules,
        has_labels: source.has_labels(),
        beyond_all: &beyond_all,
        source_root: account.source_root.as_ref(),
        target_root: account.target_root.as_ref(),
        fixed: &fixed,
    };
    let plan = mailboxes::plan(&listed, &there, &target.naming(), wishes);
    check_root(account, &listed)?;
    let names = plan.pairs.iter().map(|pair| pair.source.name.clone()).collect::<Vec<WireName>>();
    let is_new = work.run.config.dry_run || bound.is_empty();
    let quota = async { if is_new { target.quota().await } else { Ok(None) } };
    let (statuses, quota) = tokio::join!(source.statuses(&names), quota);
    let (statuses, quota) = (statuses?, quota?);
    let (observer, label) = (&*work.run.observer, &work.label);
    preview::tell_listed(observer, label, &statuses);
    if is_new {
        preview::warn_of_quota(observer, label, source, &statuses, quota).await?;
    }
    let sources = listed.iter().map(|mailbox| mailbox.name.clone()).collect();
    if work.run.config.dry_run {
        preview::tell(observer, label, &plan, &there, &statuses);
        return Ok(Prepared { jobs: VecDeque::new(), listed: sources });
    }
    preview::tell_left_out(observer, label, &plan);
    let pairs = plan.pairs;
    let mode = work.run.config.rules.labels;
    let labels =
        source.has_labels().then(|| Arc::new(Placing::new(Labels::of(mode, &listed, &pairs))));
    let mut taken: BTreeSet<MailboxPath> = pairs.iter().map(|pair| pair.target.clone()).collect();
    let mut created = create_ahead(target, &pairs).await?;
    let mut moved = Vec::new();
    let mut jobs = VecDeque::with_capacity(pairs.len());
    for (mut pair, status) in pairs.into_iter().zip(statuses) {
        follow_parent(&mut pair, &moved, &mut taken);
        let wanted = pair.target.clone();
        let name = match &pair.existing {
            Some(name) => Ok(name.clone()),
            None => create(target, &mut pair, &there, &mut taken, &mut created).await,
        };
        let name = match name {
            Ok(name) => name,
            Err(fault) if fault.scope <= Scope::Mailbox => {
                mailbox::give_up_unbound(work, &pair, &fault).await?;
                continue;
            }
            Err(fault) => return Err(fault),
        };
        if pair.target != wanted {
            moved.push((wanted, pair.target.clone()));
        }
        if !is_fixed(&pair) {
            work.event(preview::planned(label, &pair, status, None));
        }
        let labels = labels.clone().filter(|labels| labels.decide_in(&pair.source.name));
        jobs.push_back(Job {
            pair,
            labels,
            target_name: name,
            status,
            bound: Vec::new(),
            tried: BTreeSet::new(),
            was_removed: false,
        });
    }
    let jobs = subscribe(work, target, jobs, &there).await?;
    Ok(Prepared { jobs, listed: sources })
}

/// What became of mailboxes that were asked for.
type Created = BTreeMap<WireName, Result<Made, Fault>>;

/// Asks at once, one level below the other, for what the target has not got. Below what it refuses or
/// has nothing is asked for: that may get another name.
async fn create_ahead<T: Target>(target: &mut T, pairs: &[Pair]) -> Result<Created, Fault> {
    let mut levels: BTreeMap<usize, Vec<(&MailboxPath, WireName)>> = BTreeMap::new();
    // What they are made for, few servers take: that is tried for each.
    for pair in pairs.iter().filter(|pair| pair.existing.is_none() && pair.make_for.is_none()) {
        if let Some(name) = target.spell(&pair.target) {
            levels.entry(pair.target.names().len()).or_default().push((&pair.target, name));
        }
    }
    let (mut created, mut refused) = (Created::new(), Vec::<&MailboxPath>::new());
    for mut level in levels.into_values() {
        level.retain(|(path, _)| !refused.iter().any(|above| path.is_in(above)));
        let names: Vec<WireName> = level.iter().map(|(_, name)| name.clone()).collect();
        let made = target.create_together(&names).await?;
        for ((path, name), made) in level.into_iter().zip(made) {
            if !matches!(made, Ok(Made::New)) {
                refused.push(path);
            }
            created.insert(name, made);
        }
    }
    Ok(created)
}

/// Subscribes to what is subscribed at the source and not yet at the target.
async fn subscribe<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    target: &mut T,
    jobs: VecDeque<Job>,
    there: &[Mailbox],
) -> Result<VecDeque<Job>, Fault> {
    let is_subscribed =
        |name: &WireName| there.iter().any(|mailbox| mailbox.name == *name && mailbox.subscribed);
    let is_owed = |job: &&Job| job.pair.source.subscribed && !is_subscribed(&job.target_name);
    let owed: Vec<WireName> =
        jobs.iter().filter(is_owed).map(|job| job.target_name.clone()).collect();
    let done = target.subscribe_together(&owed).await?;
    let mut refused: BTreeSet<&WireName> = BTreeSet::new();
    refused.extend(owed.iter().zip(done).filter(|(_, is_done)| !is_done).map(|(name, _)| name));
    let mut subscribed = VecDeque::with_capacity(jobs.len());
    for job in jobs {
        if refused.contains(&job.target_name) {
            match target.subscribe(&job.target_name).await {
                Err(fault) if fault.scope <= Scope::Mailbox => {
                    mailbox::give_up_unbound(work, &job.pair, &fault).await?;
                    continue;
                }
                done => done?,
            }
        }
        subscribed.push_back(job);
    }
    Ok(subscribed)
}

fn is_fixed(pair: &Pair) -> bool {
    matches!(pair.reason, Reason::Fixed { .. })
}

/// A root that is not there is a slip of the pen, not an empty account.
pub(super) fn check_root(account: &Account, listed: &[Mailbox]) -> Result<(), Fault> {
    match &account.source_root {
        Some(root) if !listed.iter().any(|mailbox| mailbox.path.is_in(root)) => {
            let action = format!("find the source root {root}");
            let cause = "the source lists no mailbox there; correct source_root";
            Err(Fault::new(Scope::Account, Remedy::Nothing, action, cause).at(Side::Source))
        }
        _ => Ok(()),
    }
}

/// What is below a mailbox that got another name goes with it.
fn follow_parent(
    pair: &mut Pair,
    moved: &[(MailboxPath, MailboxPath)],
    taken: &mut BTreeSet<MailboxPath>,
) {
    if pair.existing.is_some() || is_fixed(pair) {
        return;
    }
    let above =
        moved.iter().rfind(|(wanted, _)| pair.target.is_in(wanted) && pair.target != *wanted);
    if let Some((wanted, made)) = above {
        let below = &pair.target.names()[wanted.names().len()..];
        pair.target = mailboxes::free(made.join(below), taken);
        pair.renamed = Some(Renamed::Refused);
        taken.insert(pair.target.clone());
    }
}

/// Sees to it that the target has the mailbox of a pair, under another name where it refuses this one.
/// Some were `created` ahead.
async fn create<T: Target>(
    target: &mut T,
    pair: &mut Pair,
    there: &[Mailbox],
    taken: &mut BTreeSet<MailboxPath>,
    created: &mut Created,
) -> Result<WireName, Fault> {
    let wanted = pair.target.clone();
    let mut paths = vec![wanted.clone()];
    if !is_fixed(pair) {
        paths.extend(mailboxes::other_names(&wanted, taken));
    }
    let mut renamed = Renamed::Refused;
    let mut refused = None;
    for path in paths {
        let made = match target.spell(&path) {
            Some(name) => {
                let made = match created.remove(&name) {
                    Some(made) => made,
                    None => target.create(&name, pair.make_for).await,
                };
                made.map(|made| (name, made))
            }
            None => Err(mailbox::no_name(&path)),
        };
        let (mut name, made) = match made {
            Ok(made) => made,
            Err(fault) if fault.scope == Scope::Mailbox => {
                refused.get_or_insert(fault);
                continue;
            }
            Err(fault) => return Err(fault),
        };
        let mut path = path;
        if made == Made::There && !is_fixed(pair) && there.iter().all(|there| there.name != name) {
            // Not of this name, so it is another one's: servers ignore case, or trim.
            let is_alike =
                |other: &&MailboxPath| **other != path && mailboxes::are_alike(other, &path);
            let is_others = |other: &&MailboxPath| **other != wanted && is_alike(other);
            if taken.iter().any(|other| is_others(&other)) {
                renamed = Renamed::Alike;
                refused.get_or_insert_with(|| {
                    let action = format!("make the mailbox {path}");
                    let cause = "the target takes that name for another mailbox's";
                    Fault::new(Scope::Mailbox, Remedy::Nothing, action, cause).at(Side::Target)
                });
                continue;
            }
            let listed = there.iter().find(|there| there.selectable && is_alike(&&there.path));
            if let Some(listed) = listed {
                (name, path) = (listed.name.clone(), listed.path.clone());
                renamed = Renamed::Alike;
            }
        }
        if path != wanted {
            taken.insert(path.clone());
            pair.target = path;
            pair.renamed = Some(renamed);
        }
        return Ok(name);
    }
    Err(refused.unwrap_or_else(|| mailbox::no_name(&wanted)))
}
