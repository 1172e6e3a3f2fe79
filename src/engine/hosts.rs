//! What accounts on the same host share: its connections and its rates. How many connections a host
//! grants is learnt, see [`Wall`]; how many are worth their while, measured: see [`Growth`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::select_all;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::Instant;

use crate::accounts::{Account, Batch};
use crate::config::Config;
use crate::event::{Event, Observer};
use crate::fault::Fault;
use crate::imap::reply::is_overworked;
use crate::plan::growth::Growth;
use crate::plan::wall::Wall;
use crate::throttle::HostRates;

/// The hosts of a batch.
pub(super) struct Hosts {
    by_name: BTreeMap<String, Arc<Host>>,
    /// Further lanes to servers that are near: those that there are, and how many there may be.
    further: Arc<AtomicUsize>,
    growth: Mutex<Growth>,
    observer: Arc<dyn Observer>,
    begun: Instant,
}

struct Host {
    name: String,
    state: Mutex<State>,
    /// Told when a connection ended.
    freed: Notify,
    /// Whoever waits for a connection, in the order in which they came.
    queue: AsyncMutex<()>,
    rates: Arc<HostRates>,
}

struct State {
    /// Connections that there are, or that somebody may open.
    open: usize,
    /// For all.
    all: Wall,
    /// For one account.
    each: Wall,
    /// The lowest numbers that were told, of both.
    told: [Option<usize>; 2],
}

/// Whose connections.
#[derive(Debug, Clone, Copy)]
enum Whose {
    All,
    Each,
}

/// The right to one connection to each end of an account.
#[derive(Default)]
pub(super) struct LanePermit {
    held: Vec<(Arc<Host>, usize)>,
    /// Those of its kind, where these are counted.
    counted: Option<Arc<AtomicUsize>>,
    /// Whether its lane brought nothing.
    pub(super) is_useless: bool,
}

/// What an account wants a further lane for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Further {
    /// The lanes that it has.
    pub(super) lanes: usize,
    /// Whether both servers are near: then only what is measured tells whether one more is worth it.
    pub(super) is_near: bool,
}

impl Drop for LanePermit {
    fn drop(&mut self) {
        // Before anybody who waits is told.
        if let Some(counted) = &self.counted {
            counted.fetch_sub(1, Ordering::Relaxed);
        }
        for (host, count) in &self.held {
            host.state().open -= count;
            host.freed.notify_waiters();
        }
    }
}

impl Host {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes so many connections, if there may be so many more.
    fn take(&self, count: usize, now: Duration) -> bool {
        let mut state = self.state();
        let has_room = state.has_room(count, now);
        if has_room {
            state.open += count;
        }
        has_room
    }
}

impl State {
    fn has_room(&mut self, count: usize, now: Duration) -> bool {
        // A lane needs what it needs.
        self.open + count <= self.all.limit(now).max(count)
    }
}

impl Hosts {
    pub(super) fn new(batch: &Batch, config: &Config, observer: Arc<dyn Observer>) -> Self {
        let host = |name: String| {
            let all = Wall::new(config.host_connections_max);
            let each = Wall::new(config.connections_max);
            let host = Host {
                name: name.clone(),
                state: Mutex::new(State { open: 0, all, each, told: [None; 2] }),
                freed: Notify::new(),
                queue: AsyncMutex::default(),
                rates: Arc::new(HostRates::new(&config.rates)),
            };
            (name, Arc::new(host))
        };
        // Thousands of accounts have a few hosts.
        let names: BTreeSet<String> = batch.accounts.iter().flat_map(names).collect();
        let by_name = names.into_iter().map(host).collect();
        let (further, growth) = (Arc::default(), Mutex::default());
        Self { by_name, further, growth, observer, begun: Instant::now() }
    }

    /// Takes note of what was copied.
    pub(super) fn copied(&self, messages: u64, bytes: u64) {
        self.growth().copied(messages, bytes, self.begun.elapsed());
    }

    fn growth(&self) -> MutexGuard<'_, Growth> {
        self.growth.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rates of an account's hosts; one host counts once.
    pub(super) fn rates(&self, account: &Account) -> Vec<Arc<HostRates>> {
        self.needed(account).into_iter().map(|(host, _)| host.rates.clone()).collect()
    }

    /// The rates of one host.
    pub(super) fn rates_at(&self, host: &str) -> Vec<Arc<HostRates>> {
        self.host(host).map(|host| host.rates.clone()).into_iter().collect()
    }

    /// Waits for a connection to each end. Hosts are asked in one order by all, so that no two
    /// accounts wait for each other.
    pub(super) async fn lane(&self, account: &Account) -> LanePermit {
        let mut permit = LanePermit::default();
        for (host, count) in self.needed(account) {
            let _turn = host.queue.lock().await;
            loop {
                let freed = host.freed.notified();
                let mut freed = std::pin::pin!(freed);
                freed.as_mut().enable();
                let now = self.begun.elapsed();
                if host.take(count, now) {
                    break;
                }
                self.tell(host, Whose::All);
                let rises_in = host.state().all.rises_in(now).unwrap_or(Duration::MAX);
                // Freed or risen: looked at again in either case.
                let _ = tokio::time::timeout(rises_in, freed).await;
            }
            permit.held.push((host.clone(), count));
        }
        permit
    }

    /// Waits for one more connection to each end of an account.
    pub(super) async fn further_lane(
        &self,
        account: &Account,
        wanted: impl Fn() -> Further,
    ) -> LanePermit {
        loop {
            let needed = self.needed(account);
            let mut freed: Vec<_> =
                needed.iter().map(|(host, _)| Box::pin(host.freed.notified())).collect();
            freed.iter_mut().for_each(|freed| {
                freed.as_mut().enable();
            });
            let wanted = wanted();
            if let Some(permit) = self.try_lane(account, wanted) {
                return permit;
            }
            let grows_in = if wanted.is_near { Growth::STEP } else { Duration::MAX };
            // Freed or grown: looked at again in either case.
            let _ = tokio::time::timeout(grows_in, select_all(freed)).await;
        }
    }

    /// One more connection to each end of an account, if both are free now, no account waits for its first,
    /// both hosts are known to grant an account that many, and it is worth its while.
    pub(super) fn try_lane(&self, account: &Account, wanted: Further) -> Option<LanePermit> {
        let now = self.begun.elapsed();
        let needed = self.needed(account);
        let denies = |host: &Host| wanted.lanes >= host.state().each.limit(now);
        if let Some((host, _)) = needed.iter().find(|(host, _)| denies(host)) {
            self.tell(host, Whose::Each);
            return None;
        }
        if needed.iter().any(|(host, _)| host.queue.try_lock().is_err()) {
            return None;
        }
        // All or none: one that is given back wakes whoever waits, also the one that gave it back.
        let mut states: Vec<_> = needed.iter().map(|(host, _)| host.state()).collect();
        let mut rooms = states.iter_mut().zip(&needed);
        if !rooms.all(|(state, (_, count))| state.has_room(*count, now)) {
            return None;
        }
        let counted = wanted.is_near.then(|| self.further.clone());
        if let Some(further) = &counted {
            let open = states.iter().map(|state| state.open).max().unwrap_or(0);
            if further.load(Ordering::Relaxed) >= self.growth().granted(open, now) {
                return None;
            }
            further.fetch_add(1, Ordering::Relaxed);
        }
        states.iter_mut().zip(&needed).for_each(|(state, (_, count))| state.open += count);
        drop(states);
        let held = needed.into_iter().map(|(host, count)| (host.clone(), count)).collect();
        Some(LanePermit { held, counted, is_useless: false })
    }

    /// Whether there are more further lanes than are worth their while, so that this one is to end. It counts
    /// no more then; its connections do, until they are closed.
    pub(super) fn finds_useless(&self, permit: &mut LanePermit) -> bool {
        if permit.counted.is_none() {
            return false;
        }
        let open = permit.held.iter().map(|(host, _)| host.state().open).max().unwrap_or(0);
        let mut growth = self.growth();
        let granted = growth.granted(open, self.begun.elapsed());
        let counted = permit.counted.take_if(|counted| counted.load(Ordering::Relaxed) > granted);
        if let Some(counted) = counted {
            counted.fetch_sub(1, Ordering::Relaxed);
            permit.is_useless = true;
        }
        permit.is_useless
    }

    /// Learns from a connection that an account with `lanes` others could not have.
    pub(super) fn refused(&self, host: &str, lanes: usize, fault: &Fault) {
        let Some(host) = self.host(host).filter(|_| is_overworked(fault)) else {
            return;
        };
        let now = self.begun.elapsed();
        let mut state = host.state();
        // An account that has none yet cannot have too many.
        match lanes {
            0 => {
                let granted = state.open.saturating_sub(1);
                state.all.refused(granted, now);
            }
            _ => state.each.refused(lanes, now),
        }
    }

    /// Learns from a connection that broke.
    pub(super) fn broke(&self, host: &str, fault: &Fault) {
        if let Some(host) = self.host(host).filter(|_| is_overworked(fault)) {
            host.state().all.overworked(self.begun.elapsed());
        }
    }

    /// Tells how many connections a host grants, when that keeps somebody waiting for the first time.
    fn tell(&self, host: &Host, whose: Whose) {
        let mut state = host.state();
        let (wall, by) = match whose {
            Whose::All => (state.all, "all accounts together"),
            Whose::Each => (state.each, "an account"),
        };
        let limit = wall.now();
        if !wall.is_learnt() || state.told[whose as usize].is_some_and(|told| told <= limit) {
            return;
        }
        state.told[whose as usize] = Some(limit);
        drop(state);
        let text = format!("{} serves {by} over no more than {limit} connections", host.name);
        self.observer.event(&Event::Warning { account: None, text });
    }

    fn host(&self, name: &str) -> Option<&Arc<Host>> {
        self.by_name.get(&name.to_lowercase())
    }

    /// The hosts of an account in their order, with the connections a lane has to each.
    fn needed(&self, account: &Account) -> Vec<(&Arc<Host>, usize)> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for name in names(account) {
            *counts.entry(name).or_default() += 1;
        }
        counts
            .into_iter()
            .filter_map(|(name, count)| Some((self.by_name.get(&name)?, count)))
            .collect()
    }
}

fn names(account: &Account) -> [String; 2] {
    [account.source.host.to_lowercase(), account.target.host.to_lowercase()]
}
