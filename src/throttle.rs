//! Admission: how much may be in memory, and how fast mail may flow.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::config::{Config, Rates};

/// Memory is given out in pieces of this many bytes.
const MEMORY_UNIT_BYTES: usize = 1024;
/// What a streamed body holds, whatever its size.
const STREAM_BYTES: usize = 512 * 1024;

/// The memory of a run.
#[derive(Debug, Clone)]
pub struct Memory {
    units: Arc<Semaphore>,
    units_max: usize,
}

impl Memory {
    /// Memory for `bytes_max` of message bodies.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        let units_max = (bytes_max / MEMORY_UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(units_max)), units_max }
    }

    /// Waits until so much is free, and takes it. A window is admitted once, whole, before its
    /// FETCH: taking memory for each body as it arrives would wait while holding.
    async fn take(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let units = usize::try_from(bytes).unwrap_or(usize::MAX).div_ceil(MEMORY_UNIT_BYTES);
        let units = u32::try_from(units.clamp(1, self.units_max)).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        self.units.clone().acquire_many_owned(units).await.ok()
    }
}

/// What a window was given.
#[derive(Debug)]
pub struct Admission {
    _memory: Option<OwnedSemaphorePermit>,
    flow: Option<Flow>,
}

impl Admission {
    /// Waits until `bytes` more of a streamed body may flow.
    pub async fn flow(&self, bytes: u64) {
        if let Some(flow) = &self.flow {
            flow.take(0, bytes).await;
        }
    }
}

/// The limits that one account is under: its own, and those of its two hosts.
#[derive(Debug, Clone)]
pub struct Throttle {
    memory: Memory,
    flow: Flow,
}

#[derive(Debug, Clone)]
struct Flow {
    messages: Vec<Arc<Rate>>,
    bytes: Vec<Arc<Rate>>,
}

impl Throttle {
    /// The limits of an account whose hosts have `hosts`.
    #[must_use]
    pub fn new(config: &Config, memory: Memory, hosts: &[Arc<HostRates>]) -> Self {
        let Rates { account_messages, account_bytes, .. } = config.rates;
        let of = |own: Option<Rate>, shared: fn(&HostRates) -> &Option<Arc<Rate>>| {
            let shared = hosts.iter().filter_map(|host| shared(host).clone());
            own.map(Arc::new).into_iter().chain(shared).collect()
        };
        Self {
            memory,
            flow: Flow {
                messages: of(account_messages.map(Rate::messages), |host| &host.messages),
                bytes: of(account_bytes.map(Rate::bytes), |host| &host.bytes),
            },
        }
    }

    /// Waits until a window may be moved. Bytes that are streamed are charged as they flow.
    pub async fn admit(&self, messages: u32, bytes: u64, streamed: bool) -> Admission {
        if streamed {
            self.flow.take(messages, 0).await;
            let memory = self.memory.take(STREAM_BYTES as u64).await;
            return Admission { _memory: memory, flow: Some(self.flow.clone()) };
        }
        self.flow.take(messages, bytes).await;
        Admission { _memory: self.memory.take(bytes).await, flow: None }
    }
}

impl Flow {
    /// Waits for all limits at once: one after the other each would idle while the next is waited
    /// for.
    async fn take(&self, messages: u32, bytes: u64) {
        let units = u32::try_from(bytes.div_ceil(Rate::BYTES_UNIT)).unwrap_or(u32::MAX);
        let messages = self.messages.iter().map(|rate| rate.take(messages));
        let bytes = self.bytes.iter().map(|rate| rate.take(units));
        tokio::join!(join_all(messages), join_all(bytes));
    }
}

/// The limits of one host, shared by all accounts on it.
#[derive(Debug)]
pub struct HostRates {
    messages: Option<Arc<Rate>>,
    bytes: Option<Arc<Rate>>,
}

impl HostRates {
    /// The limits that the settings give to every host.
    #[must_use]
    pub fn new(rates: &Rates) -> Self {
        Self {
            messages: rates.host_messages.map(|rate| Arc::new(Rate::messages(rate))),
            bytes: rates.host_bytes.map(|rate| Arc::new(Rate::bytes(rate))),
        }
    }
}

/// One limit. First come, first served: governor alone lets small requests starve large ones.
#[derive(Debug)]
struct Rate {
    limiter: Mutex<RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Nanos>>>,
    clock: TokioClock,
    burst: NonZeroU32,
}

/// governor's own clocks do not know when tokio's is paused.
#[derive(Debug, Clone, Copy)]
struct TokioClock {
    begun: Instant,
}

impl Clock for TokioClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.begun.elapsed())
    }
}

impl Rate {
    /// Bytes are counted in KiB: governor counts whole nanoseconds a unit, which single bytes are
    /// too fast for.
    const BYTES_UNIT: u64 = 1024;

    fn messages(per_second: NonZeroU32) -> Self {
        Self::new(per_second)
    }

    fn bytes(per_second: NonZeroU32) -> Self {
        let units = u64::from(per_second.get()).div_ceil(Self::BYTES_UNIT);
        Self::new(u32::try_from(units).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN))
    }

    fn new(per_second: NonZeroU32) -> Self {
        // A quarter of a second may leave at once; with a burst of one request's size less would
        // leave than the limit allows.
        let burst = NonZeroU32::new(per_second.get() / 4).unwrap_or(NonZeroU32::MIN);
        let clock = TokioClock { begun: Instant::now() };
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Self { limiter: Mutex::new(RateLimiter::direct_with_clock(quota, clock)), clock, burst }
    }

    async fn take(&self, units: u32) {
        let limiter = self.limiter.lock().await;
        let mut left = units;
        while let Some(piece) = NonZeroU32::new(left.min(self.burst.get())) {
            match limiter.check_n(piece) {
                Ok(Ok(())) => left -= piece.get(),
                Ok(Err(not_until)) => {
                    let wait = not_until.wait_time_from(self.clock.now());
                    tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
                }
                // Cannot be: no piece is larger than the burst.
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(rates: Rates) -> Config {
        Config { rates, ..Config::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_over_many_windows() {
        let rates = Rates { account_messages: NonZeroU32::new(10), ..Rates::default() };
        let throttle = Throttle::new(&config(rates), Memory::new(1 << 20), &[]);
        let begun = Instant::now();
        for _ in 0..10 {
            throttle.admit(10, 1, false).await;
        }
        let seconds = begun.elapsed().as_secs_f64();
        assert!((9.0..=10.5).contains(&seconds), "{seconds} s for 100 messages at 10 a second");
    }

    #[tokio::test(start_paused = true)]
    async fn accounts_on_one_host_share_its_rate() {
        let rates = Rates { host_bytes: NonZeroU32::new(1024 * 1024), ..Rates::default() };
        let host = Arc::new(HostRates::new(&rates));
        let memory = Memory::new(64 << 20);
        let throttle =
            || Throttle::new(&config(rates), memory.clone(), std::slice::from_ref(&host));
        let begun = Instant::now();
        let (one, two) = (throttle(), throttle());
        tokio::join!(one.admit(1, 5 << 20, false), two.admit(1, 5 << 20, false));
        let seconds = begun.elapsed().as_secs_f64();
        assert!((9.0..=10.5).contains(&seconds), "{seconds} s for 10 MiB at 1 MiB a second");
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_given_back_and_a_window_beyond_all_memory_still_passes() {
        let throttle = Throttle::new(&config(Rates::default()), Memory::new(1 << 20), &[]);
        let whole = throttle.admit(1, 8 << 20, false).await;
        let waits = tokio::time::timeout(Duration::from_secs(9), throttle.admit(1, 1, false)).await;
        assert!(waits.is_err(), "all memory is taken");
        drop(whole);
        throttle.admit(1, 1, false).await;
    }
}
