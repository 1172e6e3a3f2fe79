//! One account: tries until it is through, given up or stopped.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;

use super::batch::{End, Run};
use super::mailbox::{self, Job};
use super::resolve;
use crate::accounts::Account;
use crate::endpoint::Endpoint;
use crate::event::Event;
use crate::fault::{About, Fault, Scope, Side};
use crate::imap::exec::Connection;
use crate::ledger::{AccountState, BoundMailbox, Claim, Ledger};
use crate::mail::{Mailbox, MailboxPath, WireName};
use crate::plan::mailboxes::{self, Pair, Reason};
use crate::plan::retry::{Next, Retry};
use crate::source::Source;
use crate::source::imap::ImapSource;
use crate::target::Target;
use crate::target::imap::ImapTarget;
use crate::throttle::Throttle;

/// What the work on one account has at hand.
pub(super) struct Work<'a, L> {
    pub(super) run: &'a Run<L>,
    /// The account's name in events.
    pub(super) label: Arc<str>,
    pub(super) claim: Claim,
    pub(super) throttle: Throttle,
    tally: Mutex<Tally>,
}

/// What was achieved for an account in this run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    /// Grows with everything that a retry would not have to do again.
    steps: u64,
    messages: u64,
    bytes: u64,
    not_copied: u64,
}

impl<L: Ledger> Work<'_, L> {
    pub(super) fn event(&self, event: Event) {
        self.run.observer.event(&event);
    }

    /// Notes messages that the target has acknowledged.
    pub(super) fn copied(&self, messages: u64, bytes: u64) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.messages += messages;
        tally.bytes += bytes;
        tally.steps += messages;
    }

    /// Notes a message that will not be copied in this pass.
    pub(super) fn not_copied(&self) {
        self.tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .not_copied += 1;
    }

    /// Notes that something is done that a retry would not have to do again.
    pub(super) fn step(&self) {
        self.tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .steps += 1;
    }

    fn tally(&self) -> Tally {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far a try got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// Everything owed was done, or noted why not.
    Through,
    /// A stop was asked for.
    Stopped,
}

/// Works on one account until it is through, given up or stopped.
///
/// # Errors
///
/// Only what stops the whole run.
pub(super) async fn run<L: Ledger>(run: &Run<L>, account: &Account) -> Result<End, Fault> {
    let label: Arc<str> = account.name().key.into();
    if run.stop.is_requested() {
        return Ok(End::Stopped);
    }
    let throttle = Throttle::new(&run.config, run.memory.clone(), &run.hosts.rates(account));
    let mut retry = Retry::default();
    let mut begun = None;
    let mut plan: Option<Plan> = None;
    loop {
        let place = tokio::select! {
            biased;
            () = run.stop.requested() => None,
            place = run.places.acquire() => place.ok(),
        };
        if place.is_none() && begun.is_none() {
            return Ok(End::Stopped);
        }
        let work = match begun.take() {
            Some(work) => work,
            None => {
                let claim = run.ledger.claim(&account.name()).await?;
                run.observer.event(&Event::AccountStarted {
                    account: label.clone(),
                });
                let (label, throttle) = (label.clone(), throttle.clone());
                Work {
                    run,
                    label,
                    claim,
                    throttle,
                    tally: Mutex::default(),
                }
            }
        };
        let before = work.tally();
        let tried = match place {
            Some(_) => Box::pin(attempt(&work, account, &mut plan)).await,
            None => Ok(Pass::Stopped),
        };
        drop(place);
        let now = run.begun.elapsed();
        if work.tally() != before {
            retry.progressed(now);
        }
        let fault = match tried {
            Ok(pass) => return end(&work, pass).await,
            Err(fault) if fault.scope == Scope::Batch => return Err(fault),
            Err(fault) => fault,
        };
        match retry.next(&fault, now, random(run.seed, &label, now), &run.config) {
            Next::GiveUp => return give_up(&work, &fault).await,
            Next::After(wait) => {
                let reason = fault.chain();
                let account = work.label.clone();
                work.event(Event::AccountParked {
                    account,
                    side: fault.side,
                    reason,
                    wait,
                });
                tokio::select! {
                    biased;
                    () = run.stop.requested() => {}
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
        begun = Some(work);
    }
}

async fn end<L: Ledger>(work: &Work<'_, L>, pass: Pass) -> Result<End, Fault> {
    let (state, end) = match pass {
        Pass::Through if work.run.config.dry_run => (AccountState::Waiting, End::Done),
        Pass::Through => (AccountState::Done, End::Done),
        Pass::Stopped => (AccountState::Stopped, End::Stopped),
    };
    work.run
        .ledger
        .set_account_state(work.claim.account, state, None)
        .await?;
    if end == End::Done {
        let Tally {
            messages,
            bytes,
            not_copied,
            ..
        } = work.tally();
        let account = work.label.clone();
        work.event(Event::AccountDone {
            account,
            messages,
            bytes,
            not_copied,
        });
    }
    Ok(end)
}

async fn give_up<L: Ledger>(work: &Work<'_, L>, fault: &Fault) -> Result<End, Fault> {
    let reason = match fault.side {
        Some(side) => format!("{side}: {}", fault.chain()),
        None => fault.chain(),
    };
    let (account, state) = (work.claim.account, AccountState::Failed);
    work.run
        .ledger
        .set_account_state(account, state, Some(reason))
        .await?;
    work.event(Event::AccountFailed {
        account: work.label.clone(),
        side: fault.side,
        reason: fault.chain(),
        hint: hint(fault),
    });
    Ok(End::Failed)
}

/// What to do next.
fn hint(fault: &Fault) -> String {
    let side = fault.side.map_or("account's", Side::as_str);
    let first = match fault.about {
        About::Trust => format!(
            "if this certificate is the server's, put its fingerprint into the column \
             {side}_tls_pin, or give the CA that signed it with --ca-file"
        ),
        About::Credentials => format!(
            "check the {side} user and password in the accounts file, and that the server lets \
             them use IMAP"
        ),
        About::Quota => "make room in the target mailbox, or raise its quota".to_owned(),
        About::Server => format!("see to the {side} server"),
    };
    format!("{first}; then run the same command again: it goes on where it stopped")
}

/// A number from 0 to 1 that the seed decides.
fn random(seed: u64, label: &str, now: Duration) -> f64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_be_bytes());
    hasher.update(label.as_bytes());
    hasher.update(&now.as_nanos().to_be_bytes());
    let octets = hasher.finalize();
    f64::from(octets.as_bytes()[0]) / 255.0
}

/// The mailboxes of an account that are still to be done.
struct Plan {
    jobs: Mutex<VecDeque<Job>>,
}

impl Plan {
    fn jobs(&self) -> std::sync::MutexGuard<'_, VecDeque<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects, settles what was in doubt, and copies what is missing.
async fn attempt<L: Ledger>(
    work: &Work<'_, L>,
    account: &Account,
    plan: &mut Option<Plan>,
) -> Result<Pass, Fault> {
    let permit = tokio::select! {
        biased;
        () = work.run.stop.requested() => return Ok(Pass::Stopped),
        permit = work.run.hosts.lane(account) => permit,
    };
    // The first login of each side goes alone: a wrong password is tried once.
    let mut source = connect_source(work, account).await?;
    let mut target = connect_target(work, account).await?;
    let ledger = &work.run.ledger;
    let bound = ledger.mailboxes(work.claim.account).await?;
    let plan = match plan {
        Some(plan) => plan,
        None => plan.insert(make_plan(work, &mut source, &mut target, &bound).await?),
    };
    if work.run.config.dry_run {
        return Ok(Pass::Through);
    }
    let in_doubt = ledger.open_windows(work.claim.account).await?;
    if !in_doubt.is_empty() {
        tokio::time::sleep(resolve::settle_time(
            &work.run.config,
            target.slowest_append(),
        ))
        .await;
        let unresolved =
            resolve::resolve_all(work, &mut source, &mut target, in_doubt, &bound).await?;
        plan.jobs()
            .retain(|job| !unresolved.contains(&job.pair.source.name));
    }
    for job in plan.jobs().iter_mut() {
        job.bound = bound
            .iter()
            .filter(|b| b.binding.source_name == job.pair.source.name)
            .cloned()
            .collect();
    }
    let lanes_max = work
        .run
        .config
        .connections_max
        .min(plan.jobs().len())
        .max(1);
    let failed = Mutex::new(Vec::new());
    let first = lane(work, plan, &failed, source, target);
    let more = join_all((1..lanes_max).map(|_| another_lane(work, account, plan, &failed)));
    let (first, more) = Box::pin(async { tokio::join!(first, more) }).await;
    drop(permit);
    // A mailbox that broke off is settled and done again by the next try, on new connections.
    plan.jobs()
        .extend(failed.into_inner().unwrap_or_else(PoisonError::into_inner));
    let outcomes: Vec<Result<Pass, Fault>> = more.into_iter().chain([first]).collect();
    let stopped = outcomes
        .iter()
        .any(|outcome| matches!(outcome, Ok(Pass::Stopped)));
    let worst = outcomes
        .into_iter()
        .filter_map(Result::err)
        .max_by_key(|fault| fault.scope);
    match worst {
        Some(fault) => Err(fault),
        None if stopped => Ok(Pass::Stopped),
        None => Ok(Pass::Through),
    }
}

async fn connect_source<L: Ledger>(
    work: &Work<'_, L>,
    account: &Account,
) -> Result<ImapSource, Fault> {
    let connection = connect(work, &account.source, Side::Source).await?;
    Ok(ImapSource::new(
        connection,
        work.run.config.window_bytes_max,
    ))
}

async fn connect_target<L: Ledger>(
    work: &Work<'_, L>,
    account: &Account,
) -> Result<ImapTarget, Fault> {
    let connection = connect(work, &account.target, Side::Target).await?;
    Ok(ImapTarget::new(
        connection,
        work.run.config.windows_in_flight_max,
    ))
}

async fn connect<L: Ledger>(
    work: &Work<'_, L>,
    endpoint: &Endpoint,
    side: Side,
) -> Result<Connection, Fault> {
    let connect = work.run.connector.connect(endpoint, side);
    work.run.logins.connect(endpoint, side, connect).await
}

/// Works on mailboxes until there are none left, or the connections break.
async fn lane<S: Source, T: Target, L: Ledger>(
    work: &Work<'_, L>,
    plan: &Plan,
    failed: &Mutex<Vec<Job>>,
    mut source: S,
    mut target: T,
) -> Result<Pass, Fault> {
    loop {
        if work.run.stop.is_requested() {
            break;
        }
        let Some(mut job) = plan.jobs().pop_front() else {
            break;
        };
        match Box::pin(mailbox::copy(work, &mut source, &mut target, &mut job)).await {
            Ok(Pass::Through) => work.step(),
            Ok(Pass::Stopped) => plan.jobs().push_front(job),
            Err(fault) if fault.scope <= Scope::Mailbox => {
                mailbox::give_up(work, &job, &fault).await?;
            }
            Err(fault) => {
                failed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(job);
                return Err(fault);
            }
        }
    }
    tokio::join!(source.log_out(), target.log_out());
    if work.run.stop.is_requested() && !plan.jobs().is_empty() {
        return Ok(Pass::Stopped);
    }
    Ok(Pass::Through)
}

/// One more lane, if both servers let us have it: an account can do with one.
async fn another_lane<L: Ledger>(
    work: &Work<'_, L>,
    account: &Account,
    plan: &Plan,
    failed: &Mutex<Vec<Job>>,
) -> Result<Pass, Fault> {
    let Some(_permit) = work.run.hosts.try_lane(account) else {
        return Ok(Pass::Through);
    };
    let connected = async {
        Ok::<_, Fault>((
            connect_source(work, account).await?,
            connect_target(work, account).await?,
        ))
    };
    match connected.await {
        Ok((source, target)) => Box::pin(lane(work, plan, failed, source, target)).await,
        Err(fault) => {
            let text = format!("goes on with fewer connections: {}", fault.chain());
            work.event(Event::Warning {
                account: Some(work.label.clone()),
                text,
            });
            Ok(Pass::Through)
        }
    }
}

/// Lists both ends, decides which mailbox goes where, and makes what is missing at the target.
async fn make_plan<S: Source, T: Target, L: Ledger>(
    work: &Work<'_, L>,
    source: &mut S,
    target: &mut T,
    bound: &[BoundMailbox],
) -> Result<Plan, Fault> {
    let there = target.list().await?;
    let fixed: BTreeMap<WireName, MailboxPath> = bound
        .iter()
        .filter(|bound| bound.fixed)
        .map(|bound| {
            (
                bound.binding.source_name.clone(),
                bound.binding.target_path.clone(),
            )
        })
        .collect();
    let pairs = mailboxes::pair(&source.list().await?, &there, &target.naming(), &fixed);
    work.event(Event::AccountListed {
        account: work.label.clone(),
        mailboxes: pairs.len(),
        messages: None,
        bytes: None,
    });
    let mut taken: BTreeSet<MailboxPath> = pairs.iter().map(|pair| pair.target.clone()).collect();
    let mut jobs = VecDeque::with_capacity(pairs.len());
    for mut pair in pairs {
        if !work.run.config.dry_run {
            match make_target(target, &mut pair, &there, &mut taken).await {
                Ok(name) => {
                    let (bound, tried) = (Vec::new(), BTreeSet::new());
                    jobs.push_back(Job {
                        pair: pair.clone(),
                        target_name: name,
                        bound,
                        tried,
                    });
                }
                Err(fault) if fault.scope <= Scope::Mailbox => {
                    mailbox::give_up_unbound(work, &pair, &fault).await?;
                    continue;
                }
                Err(fault) => return Err(fault),
            }
        }
        let is_new = pair.reason != Reason::Fixed || work.run.config.dry_run;
        if is_new {
            work.event(Event::MailboxPlanned {
                account: work.label.clone(),
                source: pair.source.path.to_string(),
                target: Some(pair.target.to_string()),
                reason: pair.reason.to_string(),
            });
        }
    }
    Ok(Plan {
        jobs: Mutex::new(jobs),
    })
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
    let subscribed = there
        .iter()
        .any(|mailbox| mailbox.name == name && mailbox.subscribed);
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
