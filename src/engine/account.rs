//! One account: tries until it is through, given up or stopped.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;

use super::hosts::{Further, LanePermit};
use super::mailbox::{self, Job};
use super::prepare::{self, Prepared};
use super::work::{End, Pass, Place, Run, Tally, Work};
use super::{lock, loss, moves, resolve, sharing, staged, surplus, survey, sweep};
use crate::accounts::Account;
use crate::config::{Config, Delivery, Lock, Order};
use crate::endpoint::Endpoint;
use crate::event::Event;
use crate::fault::{About, Fault, Scope, Side};
use crate::imap::exec::{Connection, Server};
use crate::ledger::{AccountState, Ledger};
use crate::mail::WireName;
use crate::mutant::{self, Mutant};
use crate::plan::retry::{Next, Retry};
use crate::source::Source;
use crate::source::imap::ImapSource;
use crate::target::Target;
use crate::target::imap::{Helpers, ImapTarget};
use crate::throttle::Throttle;

/// Works on one account until it is through, given up or stopped.
///
/// # Errors
///
/// Only what stops the whole run.
pub(super) async fn run<L: Ledger>(
    run: &Run<L>,
    account: &Account,
    place: Place,
) -> Result<End, Fault> {
    let label: Arc<str> = account.name().key.into();
    if run.stop.is_requested() {
        return Ok(End::Stopped);
    }
    let throttle = Throttle::new(&run.config, run.memory.clone(), &run.hosts.rates(account));
    let mut retry = Retry::default();
    let mut begun = None;
    let mut plan: Option<Plan> = None;
    let mut first = Some(place);
    loop {
        let place = match first.take() {
            Some(place) => Some(place),
            None => run.place().await,
        };
        if place.is_none() && begun.is_none() {
            return Ok(End::Stopped);
        }
        let work = match begun.take() {
            Some(work) => work,
            None => {
                let claim = run.ledger.claim(&account.name()).await?;
                if !run.config.dry_run {
                    let state = AccountState::Running;
                    run.ledger.set_account_state(claim.account, state, None).await?;
                }
                run.observer.event(&Event::AccountStarted { account: label.clone() });
                let (label, throttle) = (label.clone(), throttle.clone());
                Work::new(run, label, claim, throttle)
            }
        };
        let before = work.tally();
        let tried = match place {
            Some(_) => Box::pin(attempt(&work, account, &mut plan)).await,
            None => Ok(Pass::Stopped),
        };
        drop(place);
        let now = run.begun.elapsed();
        if work.tally().steps != before.steps {
            retry.progressed(now);
        }
        let fault = match tried {
            Ok(pass) => {
                if is_locked(run) {
                    Box::pin(release(&work, account)).await?;
                }
                return end(&work, pass).await;
            }
            Err(fault) if fault.scope == Scope::Batch => return Err(fault),
            Err(fault) => fault,
        };
        match retry.next(&fault, now, random(run.seed, &label, now), &run.config) {
            Next::GiveUp => return give_up(&work, &fault).await,
            Next::After(wait) => {
                work.event(parked(&work.label, &fault, wait));
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
        Pass::Through => (AccountState::Done, End::Done),
        Pass::Stopped => (AccountState::Stopped, End::Stopped),
    };
    note_state(work, state, None).await?;
    if end == End::Done {
        let Tally { messages, bytes, not_copied, .. } = work.tally();
        let account = work.label.clone();
        work.event(Event::AccountDone { account, messages, bytes, not_copied });
    }
    Ok(end)
}

/// Notes how the account stands. A dry run leaves it as it is.
async fn note_state<L: Ledger>(
    work: &Work<'_, L>,
    state: AccountState,
    reason: Option<String>,
) -> Result<(), Fault> {
    if work.run.config.dry_run {
        return Ok(());
    }
    work.run.ledger.set_account_state(work.claim.account, state, reason).await
}

async fn give_up<L: Ledger>(work: &Work<'_, L>, fault: &Fault) -> Result<End, Fault> {
    let reason = match fault.side {
        Some(side) => format!("{side}: {}", fault.chain()),
        None => fault.chain(),
    };
    note_state(work, AccountState::Failed, Some(reason)).await?;
    work.event(failed(&work.label, fault));
    Ok(End::Failed)
}

/// Tells that an account waits.
pub(super) fn parked(account: &Arc<str>, fault: &Fault, wait: Duration) -> Event {
    let (account, reason) = (account.clone(), fault.chain());
    Event::AccountParked { account, side: fault.side, reason, wait }
}

/// Tells that an account is given up.
pub(super) fn failed(account: &Arc<str>, fault: &Fault) -> Event {
    let (account, reason) = (account.clone(), fault.chain());
    Event::AccountFailed { account, side: fault.side, reason, hint: hint(fault) }
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
        About::Lock => {
            return "let the other one end; if there is none, run the same command with --take-over"
                .to_owned();
        }
        About::Quota => "make room in the target mailbox, or raise its quota".to_owned(),
        About::Server => format!("see to the {side} server"),
    };
    format!("{first}; then run the same command again: it goes on where it stopped")
}

/// A number from 0 to 1 that the seed decides.
pub(super) fn random(seed: u64, label: &str, now: Duration) -> f64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_be_bytes());
    hasher.update(label.as_bytes());
    hasher.update(&now.as_nanos().to_be_bytes());
    let octets = hasher.finalize();
    f64::from(octets.as_bytes()[0]) / 255.0
}

/// A survey that a lost connection breaks off is made again so often: moves that it would find then are
/// followed, and those that it does not find are copied.
const SURVEYS_MAX: u8 = 3;

/// The mailboxes of an account that are still to be done.
struct Plan {
    jobs: Mutex<VecDeque<Job>>,
    /// Target mailboxes that a lane is at.
    busy: Mutex<BTreeSet<WireName>>,
    /// What the source lists.
    listed: BTreeSet<WireName>,
    /// How often it will still be looked for what is gone at the source in this run.
    surveys: u8,
}

impl Plan {
    fn jobs(&self) -> std::sync::MutexGuard<'_, VecDeque<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn busy(&self) -> std::sync::MutexGuard<'_, BTreeSet<WireName>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next mailbox whose place at the target no other lane is at: that lane does those that
    /// go there, too, one after the other.
    fn take(&self) -> Option<(Job, WireName)> {
        let (mut jobs, mut busy) = (self.jobs(), self.busy());
        let index = jobs.iter().position(|job| !busy.contains(&job.target_name))?;
        let job = jobs.remove(index)?;
        let place = job.target_name.clone();
        busy.insert(place.clone());
        Some((job, place))
    }

    /// Puts aside the mailboxes in which nothing can have changed since the last pass.
    async fn leave_unchanged<L: Ledger>(&self, work: &Work<'_, L>) -> Result<(), Fault> {
        let jobs = std::mem::take(&mut *self.jobs());
        for job in jobs {
            if mailbox::is_unchanged(work, &job).await? {
                work.step();
            } else {
                self.jobs().push_back(job);
            }
        }
        Ok(())
    }
}

/// Messages for which a further connection is worth its login.
const LANE_MESSAGES: u64 = 50;
/// The same where both servers have much to do: it could be had only once others had ended.
const LATE_LANE_MESSAGES: u64 = 1_000;

/// How many connections the mailboxes that are to be done are worth.
/// Where several can share a mailbox, they may be more than there are mailboxes.
fn lanes<'j>(
    jobs: impl ExactSizeIterator<Item = &'j Job>,
    connections_max: usize,
    share: bool,
) -> usize {
    let mailboxes = if share { connections_max } else { jobs.len() };
    let worth = usize::try_from(new_messages(jobs) / LANE_MESSAGES).unwrap_or(usize::MAX);
    connections_max.min(mailboxes).min(worth.saturating_add(1)).max(1)
}

fn new_messages<'j>(jobs: impl Iterator<Item = &'j Job>) -> u64 {
    jobs.map(Job::new_messages).fold(0, u64::saturating_add)
}

/// Whether several connections may append to one mailbox: only where its order does not matter.
fn may_share(config: &Config) -> bool {
    config.order == Order::Oldest && config.delivery == Delivery::Direct
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
    let connected = connect_both(work, account, None).await;
    let (mut source, mut target) =
        connected.inspect_err(|fault| refused(work, account, 0, fault))?;
    let ledger = &work.run.ledger;
    if is_locked(work.run) {
        lock::acquire(work, &mut target).await?;
    }
    let mut bound = ledger.mailboxes(work.claim.account).await?;
    let plan = match plan {
        Some(plan) => plan,
        None => {
            let Prepared { mut jobs, listed } =
                prepare::prepare(work, account, &mut source, &mut target, &mut bound).await?;
            let made = jobs.make_contiguous();
            sharing::copy(work, account, &mut source, &mut target, made).await?;
            let (jobs, busy) = (Mutex::new(jobs), Mutex::default());
            plan.insert(Plan { jobs, busy, listed, surveys: SURVEYS_MAX })
        }
    };
    if work.run.config.dry_run {
        return Ok(Pass::Through);
    }
    // Before anything is sent.
    surplus::recover(work, &mut target).await?;
    let mut resolved = staged::recover(work, &mut target, &bound).await?;
    let in_doubt = ledger.open_windows(work.claim.account).await?;
    if !in_doubt.is_empty() {
        if !mutant::is(Mutant::SkipSettle) {
            tokio::time::sleep(work.settle_time()).await;
        }
        let more = resolve::resolve_all(work, &mut source, &mut target, in_doubt, &bound).await?;
        resolved.add(more);
        bound = ledger.mailboxes(work.claim.account).await?;
    }
    plan.jobs().retain(|job| !resolved.unresolved.contains(&job.pair.source.name));
    for job in plan.jobs().iter_mut() {
        let given_up = resolved.given_up.remove(&job.pair.source.name);
        job.tried.extend(given_up.unwrap_or_default());
    }
    if moves::recover(work, &mut target, &bound).await? {
        bound = ledger.mailboxes(work.claim.account).await?;
    }
    if plan.surveys > 0 {
        plan.surveys -= 1;
        let jobs: Vec<Job> = plan.jobs().iter().cloned().collect();
        let unresolved = &resolved.unresolved;
        let lost =
            survey::survey(work, &mut source, &jobs, &bound, &plan.listed, unresolved).await?;
        let followed = moves::follow(work, &mut source, &mut target, &jobs, &bound, &lost).await;
        if followed? {
            bound = ledger.mailboxes(work.claim.account).await?;
        }
        // What is in doubt there could be taken for what was moved by its owner.
        if resolved.unresolved.is_empty() && loss::survey(work, &mut target, &jobs, &bound).await? {
            bound = ledger.mailboxes(work.claim.account).await?;
        }
        plan.surveys = 0;
    }
    for job in plan.jobs().iter_mut() {
        job.bound = bound
            .iter()
            .filter(|b| b.binding.source_name == job.pair.source.name)
            .cloned()
            .collect();
    }
    let plan = &*plan;
    plan.leave_unchanged(work).await?;
    let helpers = Arc::new(Helpers::default());
    let shares = may_share(&work.run.config) && target.is_faster_shared();
    if shares {
        target.share(&helpers);
    }
    let wanted = lanes(plan.jobs().iter(), work.run.config.connections_max, shares);
    let lanes = Lanes {
        plan,
        failed: Mutex::default(),
        known: (source.server().clone(), target.server().clone()),
        is_near: source.round_trip().max(target.round_trip()) < work.run.config.near,
        helpers,
        count: AtomicUsize::new(1),
        over: watch::Sender::new(false),
    };
    let first = async {
        let first = lane(work, &lanes, source, target, None).await;
        lanes.over.send_replace(true);
        first
    };
    let more = (1..wanted).map(|_| another_lane(work, account, &lanes));
    let more = join_all(more);
    let (first, more) = Box::pin(async { tokio::join!(first, more) }).await;
    drop(permit);
    // A mailbox that broke off is settled and done again by the next try, on new connections.
    plan.jobs().extend(lanes.failed.into_inner().unwrap_or_else(PoisonError::into_inner));
    let outcomes: Vec<Result<Pass, Fault>> = more.into_iter().chain([first]).collect();
    let stopped = outcomes.iter().any(|outcome| matches!(outcome, Ok(Pass::Stopped)));
    let worst = outcomes.into_iter().filter_map(Result::err).max_by_key(|fault| fault.scope);
    match worst {
        Some(fault) => {
            if let Some(side) = fault.side {
                work.run.hosts.broke(&account.end(side).host, &fault);
            }
            Err(fault)
        }
        None if stopped => Ok(Pass::Stopped),
        None => {
            sweep_again(work, account, &lanes.known.1).await?;
            Ok(Pass::Through)
        }
    }
}

/// Learns how many connections an account with `lanes` others, and all together, can have.
fn refused<L: Ledger>(work: &Work<'_, L>, account: &Account, lanes: usize, fault: &Fault) {
    if let Some(side) = fault.side {
        work.run.hosts.refused(&account.end(side).host, lanes, fault);
    }
}

fn is_locked<L>(run: &Run<L>) -> bool {
    run.config.lock != Lock::Open && !run.config.dry_run
}

/// Lets others at the account again.
async fn release<L: Ledger>(work: &Work<'_, L>, account: &Account) -> Result<(), Fault> {
    if !lock::has_one(work).await? {
        return Ok(());
    }
    let released = match connect_target(work, account, None).await {
        Ok(mut target) => {
            let released = lock::release(work, &mut target).await;
            if released.is_ok() {
                target.log_out().await;
            }
            released
        }
        Err(fault) => Err(fault),
    };
    match released {
        Err(fault) if fault.scope < Scope::Batch => {
            let text = format!("the lock stays at the target: {}", fault.chain());
            work.event(Event::Warning { account: Some(work.label.clone()), text });
            Ok(())
        }
        released => released,
    }
}

/// Looks once more for late copies, where anything was sent again in this run.
async fn sweep_again<L: Ledger>(
    work: &Work<'_, L>,
    account: &Account,
    known: &Server,
) -> Result<(), Fault> {
    if !work.tally().doubted {
        return Ok(());
    }
    tokio::time::sleep(work.settle_time()).await;
    let mut target = connect_target(work, account, Some(known)).await?;
    for bound in work.run.ledger.mailboxes(work.claim.account).await? {
        match sweep::sweep(work, &mut target, &bound).await {
            Err(fault) if fault.scope > Scope::Mailbox => return Err(fault),
            // A mailbox that is not there has no late copies.
            Ok(()) | Err(_) => {}
        }
    }
    target.log_out().await;
    Ok(())
}

/// Connects to both ends, of which everything may be `known`.
async fn connect_both<L: Ledger>(
    work: &Work<'_, L>,
    account: &Account,
    known: Option<&(Server, Server)>,
) -> Result<(ImapSource, ImapTarget), Fault> {
    let source = connect_source(work, account, known.map(|(source, _)| source));
    let target = connect_target(work, account, known.map(|(_, target)| target));
    match tokio::join!(source, target) {
        (Ok(source), Ok(target)) => Ok((source, target)),
        (Err(fault), Ok(target)) => {
            target.log_out().await;
            Err(fault)
        }
        (Ok(source), Err(fault)) => {
            source.log_out().await;
            Err(fault)
        }
        // The one that stops more.
        (Err(fault), Err(other)) => Err(if other.scope > fault.scope { other } else { fault }),
    }
}

async fn connect_source<L: Ledger>(
    work: &Work<'_, L>,
    account: &Account,
    known: Option<&Server>,
) -> Result<ImapSource, Fault> {
    let connection = connect(work, &account.source, Side::Source, known).await?;
    let config = &work.run.config;
    Ok(ImapSource::new(connection, config.window_bytes_max).with_labels(config.rules.labels))
}

async fn connect_target<L: Ledger>(
    work: &Work<'_, L>,
    account: &Account,
    known: Option<&Server>,
) -> Result<ImapTarget, Fault> {
    let connection = connect(work, &account.target, Side::Target, known).await?;
    if connection.habits().rewrites {
        work.note_alters();
    }
    let config = &work.run.config;
    Ok(ImapTarget::new(connection, config.windows_in_flight_max).with_near(config.near))
}

async fn connect<L: Ledger>(
    work: &Work<'_, L>,
    endpoint: &Endpoint,
    side: Side,
    known: Option<&Server>,
) -> Result<Connection, Fault> {
    let connect = work.run.connector.connect(endpoint, side, known);
    work.run.logins.connect(endpoint, side, connect).await
}

/// What the lanes of one try have in common.
struct Lanes<'a> {
    plan: &'a Plan,
    /// Mailboxes that broke off.
    failed: Mutex<Vec<Job>>,
    /// What the first connections have learnt of both servers.
    known: (Server, Server),
    /// Whether both servers answer at once.
    is_near: bool,
    helpers: Arc<Helpers>,
    /// Lanes that there are.
    count: AtomicUsize,
    /// Whether the first one is through: there is nothing left to take then.
    over: watch::Sender<bool>,
}

/// Works on mailboxes until there are none left, or the connections break; a further lane, until it is found
/// useless.
async fn lane<S: Source, T: Target, L: Ledger>(
    work: &Work<'_, L>,
    lanes: &Lanes<'_>,
    mut source: S,
    mut target: T,
    mut further: Option<&mut LanePermit>,
) -> Result<Pass, Fault> {
    let (plan, failed) = (lanes.plan, &lanes.failed);
    loop {
        if work.run.stop.is_requested() {
            break;
        }
        if further.as_deref_mut().is_some_and(|permit| work.run.hosts.finds_useless(permit)) {
            break;
        }
        let Some((mut job, place)) = plan.take() else {
            break;
        };
        let copied = Box::pin(mailbox::copy(work, &mut source, &mut target, &mut job)).await;
        plan.busy().remove(&place);
        work.appended_in(target.slowest_append());
        match copied {
            Ok(Pass::Through) => work.step(),
            Ok(Pass::Stopped) => plan.jobs().push_front(job),
            Err(fault) if is_removed(&mut target, &mut job, &fault).await => {
                failed.lock().unwrap_or_else(PoisonError::into_inner).push(job);
                return Err(fault.at_least(Scope::Session));
            }
            Err(fault) if fault.scope <= Scope::Mailbox => {
                mailbox::give_up(work, &job, &fault).await?;
            }
            Err(fault) => {
                failed.lock().unwrap_or_else(PoisonError::into_inner).push(job);
                return Err(fault);
            }
        }
    }
    tokio::join!(source.log_out(), target.retire());
    if work.run.stop.is_requested() && !plan.jobs().is_empty() {
        return Ok(Pass::Stopped);
    }
    Ok(Pass::Through)
}

/// Whether a mailbox failed because it was removed at the target, for the first time in this run:
/// then it is made again by the next try, which looks at what became of what was sent.
async fn is_removed<T: Target>(target: &mut T, job: &mut Job, fault: &Fault) -> bool {
    let may_be = fault.scope == Scope::Mailbox && fault.side == Some(Side::Target);
    if !may_be || job.was_removed {
        return false;
    }
    job.was_removed = matches!(
        target.open(&job.target_name).await,
        Err(fault) if fault.scope == Scope::Mailbox
    );
    job.was_removed
}

/// One more lane, as soon as both servers let us have it, if enough is left to do then: an account can do
/// with one. Where it turns out to be useless, it ends, until there may be one more again.
async fn another_lane<L: Ledger>(
    work: &Work<'_, L>,
    account: &Account,
    lanes: &Lanes<'_>,
) -> Result<Pass, Fault> {
    loop {
        let Some(mut permit) = further_lane(work, account, lanes).await else {
            return Ok(Pass::Through);
        };
        lanes.count.fetch_add(1, Ordering::Relaxed);
        let (source, mut target) = match connect_both(work, account, Some(&lanes.known)).await {
            Ok(both) => both,
            Err(fault) => {
                let others = lanes.count.fetch_sub(1, Ordering::Relaxed) - 1;
                refused(work, account, others, &fault);
                let text = format!("goes on with fewer connections: {}", fault.chain());
                work.event(Event::Warning { account: Some(work.label.clone()), text });
                return Ok(Pass::Through);
            }
        };
        if may_share(&work.run.config) {
            target.share(&lanes.helpers);
        }
        let pass = Box::pin(lane(work, lanes, source, target, Some(&mut permit))).await;
        if !permit.is_useless {
            return pass;
        }
        lanes.count.fetch_sub(1, Ordering::Relaxed);
        if pass? == Pass::Stopped {
            return Ok(Pass::Stopped);
        }
    }
}

/// Waits for the right to one more lane; none where it would have too little to do.
async fn further_lane<L: Ledger>(
    work: &Work<'_, L>,
    account: &Account,
    lanes: &Lanes<'_>,
) -> Option<LanePermit> {
    let (hosts, mut over) = (&work.run.hosts, lanes.over.subscribe());
    let wanted = || Further { lanes: lanes.count.load(Ordering::Relaxed), is_near: lanes.is_near };
    if let Some(permit) = hosts.try_lane(account, wanted()) {
        return Some(permit);
    }
    let permit = tokio::select! {
        biased;
        _ = over.wait_for(|over| *over) => return None,
        permit = hosts.further_lane(account, wanted) => permit,
    };
    let worth = if lanes.is_near { LANE_MESSAGES } else { LATE_LANE_MESSAGES };
    (new_messages(lanes.plan.jobs().iter()) >= worth).then_some(permit)
}
