//! Looks at both ends of an account without changing either: both are sources here, which only read,
//! and there is no ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::work::{End, Pass, Place, Run};
use super::{account, compare, labels, prepare, preview};
use crate::accounts::Account;
use crate::endpoint::Endpoint;
use crate::event::Event;
use crate::fault::{Fault, Scope, Side};
use crate::identity::Digest;
use crate::ledger::{BoundMailbox, MailboxId};
use crate::mail::{Mailbox, MailboxPath, Namespaces, Uid, UidValidity, WireName};
use crate::plan::labels::Labels;
use crate::plan::mailboxes::{self, Plan, Wishes};
use crate::plan::retry::{Next, Retry};
use crate::source::Source as _;
use crate::source::imap::ImapSource;
use crate::throttle::Throttle;

/// What a ledger knows that helps a look at both ends.
#[derive(Debug, Clone, Default)]
pub struct Bound {
    /// Where mailboxes went, by account and name.
    places: BTreeMap<String, BTreeMap<WireName, MailboxPath>>,
    /// The digests that messages were repaired to, by those that they have at the source.
    repaired: BTreeMap<Digest, Digest>,
    /// The messages that the target took for equal ones, by account.
    merged: BTreeMap<String, Merged>,
}

/// Messages of an account that the target took for equal ones, by source mailbox and its UIDVALIDITY.
type Merged = BTreeMap<(WireName, UidValidity), BTreeSet<Uid>>;

impl Bound {
    /// The same, with the digests that messages were repaired to, by those that they have at the source.
    #[must_use]
    pub fn with_repaired(self, repaired: BTreeMap<Digest, Digest>) -> Self {
        Self { repaired, ..self }
    }

    /// The same, with the messages of these mailboxes that the target took for equal ones.
    #[must_use]
    pub fn with_merged(
        self,
        known: &BTreeMap<String, Vec<BoundMailbox>>,
        merged: &BTreeMap<MailboxId, BTreeSet<Uid>>,
    ) -> Self {
        let of_account = |mailboxes: &Vec<BoundMailbox>| -> Merged {
            let with_merged =
                mailboxes.iter().filter_map(|BoundMailbox { id, binding, .. }| {
                    let place = (binding.source_name.clone(), binding.source_validity);
                    Some((place, merged.get(id)?.clone()))
                });
            with_merged.collect()
        };
        let merged = known.iter().map(|(key, mailboxes)| (key.clone(), of_account(mailboxes)));
        Self { merged: merged.collect(), ..self }
    }
}

/// Where mailboxes went, by what a ledger knows. Those that hold nothing of ours go there, too, where
/// `with_empty`: they were made there.
#[must_use]
pub fn bound(known: &BTreeMap<String, Vec<BoundMailbox>>, with_empty: bool) -> Bound {
    let places = |mailboxes: &Vec<BoundMailbox>| {
        let places = mailboxes
            .iter()
            .filter(|one| one.fixed || (with_empty && !one.binding.target_name.0.is_empty()));
        places
            .map(|one| (one.binding.source_name.clone(), one.binding.target_path.clone()))
            .collect()
    };
    let places = known.iter().map(|(key, mailboxes)| (key.clone(), places(mailboxes))).collect();
    Bound { places, ..Bound::default() }
}

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Whether both ends hold the same.
    Compare,
    /// Which mailbox would go where.
    Preview,
}

/// What a look at an account has at hand.
pub(super) struct Looking<'a> {
    pub(super) run: &'a Run<()>,
    pub(super) account: &'a Account,
    task: Task,
    /// The account's name in events.
    pub(super) label: Arc<str>,
    bound: BTreeMap<WireName, MailboxPath>,
    /// As [`Bound`] has it.
    pub(super) repaired: &'a BTreeMap<Digest, Digest>,
    merged: Option<&'a Merged>,
    steps: AtomicU64,
}

impl Looking<'_> {
    pub(super) fn event(&self, event: Event) {
        self.run.observer.event(&event);
    }

    /// The messages of a source mailbox that the target took for equal ones, where the ledger knows it under
    /// this UIDVALIDITY.
    pub(super) fn merged(
        &self,
        mailbox: &WireName,
        validity: Option<UidValidity>,
    ) -> Option<&BTreeSet<Uid>> {
        self.merged?.get(&(mailbox.clone(), validity?))
    }

    /// Notes that something is done that a retry would not have to do again.
    pub(super) fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }
}

/// Both ends of an account, logged in.
pub(super) struct Ends {
    pub(super) source: ImapSource,
    pub(super) target: ImapSource,
}

impl Ends {
    /// The connection of one side.
    async fn connect(looking: &Looking<'_>) -> Result<Self, Fault> {
        let Account { source, target, .. } = looking.account;
        let labels = looking.run.config.rules.labels;
        Ok(Self {
            source: connect(looking.run, source, Side::Source).await?.with_labels(labels),
            target: connect(looking.run, target, Side::Target).await?,
        })
    }

    pub(super) async fn log_out(self) {
        tokio::join!(self.source.log_out(), self.target.log_out());
    }
}

async fn connect(run: &Run<()>, endpoint: &Endpoint, side: Side) -> Result<ImapSource, Fault> {
    let connection = run.connector.connect(endpoint, side, None);
    let connection = run.logins.connect(endpoint, side, connection).await;
    let connection = connection.inspect_err(|fault| run.hosts.refused(&endpoint.host, 0, fault))?;
    Ok(ImapSource::new(connection, run.config.window_bytes_max))
}

/// What both ends list, and which mailbox goes where.
pub(super) struct Listed {
    pub(super) target: Vec<Mailbox>,
    pub(super) plan: Plan,
    /// Which mailbox messages count as of, at a source with labels.
    pub(super) labels: Option<Labels>,
}

/// Lists both ends and decides which mailbox goes where.
pub(super) async fn list(looking: &Looking<'_>, ends: &mut Ends) -> Result<Listed, Fault> {
    let target = ends.target.list(Namespaces::default()).await?;
    let asked = looking.run.config.rules.namespaces;
    let source = ends.source.list(asked).await?;
    let beyond_all = labels::beyond_all(&mut ends.source, &source, &looking.run.config).await?;
    let wishes = Wishes {
        rules: &looking.run.config.rules,
        has_labels: ends.source.has_labels(),
        beyond_all: &beyond_all,
        source_root: looking.account.source_root.as_ref(),
        target_root: looking.account.target_root.as_ref(),
        fixed: &looking.bound,
    };
    let plan = mailboxes::plan(&source, &target, &ends.target.naming(), wishes);
    prepare::check_root(looking.account, &source)?;
    let mode = looking.run.config.rules.labels;
    let labels = ends.source.has_labels().then(|| Labels::of(mode, &source, &plan.pairs));
    Ok(Listed { target, plan, labels })
}

/// Looks at one account until it is through, given up or stopped.
///
/// # Errors
///
/// Only what stops the whole run.
pub(super) async fn run(
    run: &Run<()>,
    task: Task,
    bound: &Bound,
    account: &Account,
    place: Place,
) -> Result<End, Fault> {
    let key = account.name().key;
    let looking = Looking {
        run,
        account,
        task,
        bound: bound.places.get(&key).cloned().unwrap_or_default(),
        repaired: &bound.repaired,
        merged: bound.merged.get(&key),
        label: key.into(),
        steps: AtomicU64::new(0),
    };
    let mut retry = Retry::default();
    let mut done = compare::Done::default();
    let mut is_told = false;
    let mut first = Some(place);
    loop {
        let place = match first.take() {
            Some(place) => Some(place),
            None => run.place().await,
        };
        let Some(place) = place else {
            return Ok(End::Stopped);
        };
        if !is_told {
            looking.event(Event::AccountStarted { account: looking.label.clone() });
            is_told = true;
        }
        let before = looking.steps.load(Ordering::Relaxed);
        let tried = Box::pin(attempt(&looking, &mut done)).await;
        drop(place);
        let now = run.begun.elapsed();
        if looking.steps.load(Ordering::Relaxed) != before {
            retry.progressed(now);
        }
        let fault = match tried {
            Ok(Pass::Through) => return Ok(End::Done),
            Ok(Pass::Stopped) => {
                compare::tell_lacking(&looking, &mut done);
                return Ok(End::Stopped);
            }
            Err(fault) if fault.scope == Scope::Batch => return Err(fault),
            Err(fault) => fault,
        };
        let random = account::random(run.seed, &looking.label, now);
        match retry.next(&fault, now, random, &run.config) {
            Next::GiveUp => {
                compare::tell_lacking(&looking, &mut done);
                looking.event(account::failed(&looking.label, &fault));
                return Ok(End::Failed);
            }
            Next::After(wait) => {
                looking.event(account::parked(&looking.label, &fault, wait));
                tokio::select! {
                    biased;
                    () = run.stop.requested() => {}
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
    }
}

async fn attempt(looking: &Looking<'_>, done: &mut compare::Done) -> Result<Pass, Fault> {
    let permit = tokio::select! {
        biased;
        () = looking.run.stop.requested() => return Ok(Pass::Stopped),
        permit = looking.run.hosts.lane(looking.account) => permit,
    };
    let mut ends = Ends::connect(looking).await?;
    let listed = list(looking, &mut ends).await?;
    let pass = match looking.task {
        Task::Compare => compare::account(looking, &mut ends, listed, done).await?,
        Task::Preview => preview::account(looking, &mut ends, listed).await?,
    };
    ends.log_out().await;
    drop(permit);
    Ok(pass)
}

/// The limits of one side of an account.
pub(super) fn throttle(looking: &Looking<'_>, endpoint: &Endpoint) -> Throttle {
    let Run { config, memory, hosts, .. } = looking.run;
    Throttle::new(config, memory.clone(), &hosts.rates_at(&endpoint.host))
}
