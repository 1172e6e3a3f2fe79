//! What accounts on the same host share: its connections and its rates.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::accounts::{Account, Batch};
use crate::config::Config;
use crate::throttle::HostRates;

/// The hosts of a batch.
pub(super) struct Hosts {
    by_name: BTreeMap<String, Host>,
    connections_max: u32,
}

struct Host {
    connections: Arc<Semaphore>,
    rates: Arc<HostRates>,
}

/// The right to one connection to each end of an account.
pub(super) struct LanePermit {
    _connections: Vec<OwnedSemaphorePermit>,
}

impl Hosts {
    pub(super) fn new(batch: &Batch, config: &Config) -> Self {
        let connections_max = u32::try_from(config.host_connections_max.max(1)).unwrap_or(u32::MAX);
        let names = batch.accounts.iter().flat_map(names);
        let host = || Host {
            connections: Arc::new(Semaphore::new(connections_max as usize)),
            rates: Arc::new(HostRates::new(&config.rates)),
        };
        Self { by_name: names.map(|name| (name, host())).collect(), connections_max }
    }

    /// The rates of an account's hosts; one host counts once.
    pub(super) fn rates(&self, account: &Account) -> Vec<Arc<HostRates>> {
        self.needed(account).into_iter().map(|(host, _)| host.rates.clone()).collect()
    }

    /// The rates of one host.
    pub(super) fn rates_at(&self, host: &str) -> Vec<Arc<HostRates>> {
        let host = self.by_name.get(&host.to_lowercase());
        host.map(|host| host.rates.clone()).into_iter().collect()
    }

    /// Waits for a connection to each end. Hosts are asked in one order by all, so that no two
    /// accounts wait for each other.
    pub(super) async fn lane(&self, account: &Account) -> LanePermit {
        let mut connections = Vec::new();
        for (host, count) in self.needed(account) {
            // The semaphores are never closed.
            connections.extend(host.connections.clone().acquire_many_owned(count).await.ok());
        }
        LanePermit { _connections: connections }
    }

    /// A connection to each end, if both are free now.
    pub(super) fn try_lane(&self, account: &Account) -> Option<LanePermit> {
        let connections: Option<Vec<_>> = self
            .needed(account)
            .into_iter()
            .map(|(host, count)| host.connections.clone().try_acquire_many_owned(count).ok())
            .collect();
        Some(LanePermit { _connections: connections? })
    }

    /// The hosts of an account in their order, with the connections a lane has to each.
    fn needed(&self, account: &Account) -> Vec<(&Host, u32)> {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for name in names(account) {
            *counts.entry(name).or_default() += 1;
        }
        let limited = |count: u32| count.min(self.connections_max);
        counts
            .into_iter()
            .filter_map(|(name, count)| Some((self.by_name.get(&name)?, limited(count))))
            .collect()
    }
}

fn names(account: &Account) -> [String; 2] {
    [account.source.host.to_lowercase(), account.target.host.to_lowercase()]
}
