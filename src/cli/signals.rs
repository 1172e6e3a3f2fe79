//! Signals: the first asks the run to finish what is in flight, the second ends it.

use std::io;

use mailhaul::stop::Stop;

use super::Failure;

/// Runs to the end, or to the second signal: then none. `stopping` is told of the first one.
pub(super) async fn supervise<T>(
    run: impl Future<Output = T>,
    mut signal: impl AsyncFnMut(),
    stop: &Stop,
    stopping: impl FnOnce(),
) -> Option<T> {
    let twice = async {
        signal().await;
        stop.request();
        stopping();
        signal().await;
    };
    tokio::select! {
        biased;
        result = run => Some(result),
        () = twice => None,
    }
}

/// The signals that ask a process to end.
#[cfg(unix)]
pub(super) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

/// The signal that asks a process to end.
#[cfg(not(unix))]
pub(super) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    pub(super) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await; // No signal will ever come.
        }
    }
}

impl Signals {
    /// As [`Signals::listen`], told as a command's failure.
    pub(super) fn listen_or_fail() -> Result<Self, Failure> {
        Self::listen().map_err(|error| Failure::Internal {
            text: format!("cannot listen for signals: {error}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    async fn after(times: &mut impl Iterator<Item = u64>) {
        match times.next() {
            Some(seconds) => sleep(Duration::from_secs(seconds)).await,
            None => pending().await,
        }
    }

    /// F04
    #[tokio::test(start_paused = true)]
    async fn the_first_signal_lets_the_run_finish() {
        let stop = Stop::new();
        let told = Cell::new(0);
        let run = async {
            stop.requested().await;
            sleep(Duration::from_secs(30)).await;
            "drained"
        };
        let mut signals = [5].into_iter();
        let signal = async || after(&mut signals).await;
        let ended = supervise(run, signal, &stop, || told.set(told.get() + 1)).await;
        assert_eq!(ended, Some("drained"));
        assert_eq!(told.get(), 1);
    }

    /// F04
    #[tokio::test(start_paused = true)]
    async fn the_second_signal_ends_at_once() {
        let stop = Stop::new();
        let mut signals = [5, 1].into_iter();
        let signal = async || after(&mut signals).await;
        let ended = supervise(pending::<()>(), signal, &stop, || {}).await;
        assert_eq!(ended, None);
        assert!(stop.is_requested());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_signal_nothing_is_stopped() {
        let stop = Stop::new();
        let signal = async || pending().await;
        let ended = supervise(async { 7 }, signal, &stop, || {}).await;
        assert_eq!(ended, Some(7));
        assert!(!stop.is_requested());
    }
}
