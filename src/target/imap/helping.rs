//! One mailbox's windows sent over several connections.
//!
//! A target that wants to be asked before each message takes one a round trip and connection, so only
//! more connections make it faster. A connection that has no mailbox of its own any more takes windows
//! of those that have: an APPEND names its mailbox, which need not be open.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};

use super::append::{self, Appended, Around, Limits};
use super::storable::Storable;
use crate::fault::Fault;
use crate::imap::exec::Connection;
use crate::target::{Answered, Outgoing};

/// What is appended to one mailbox, by however many connections.
pub(super) struct Appending {
    /// The mailbox, quoted.
    pub(super) name: String,
    pub(super) limits: Limits,
    pub(super) storable: Arc<Storable>,
    pub(super) windows: Windows,
    pub(super) answers: mpsc::Sender<Answered>,
}

/// Windows that whoever is free takes.
pub(super) struct Windows {
    queue: tokio::sync::Mutex<mpsc::Receiver<Outgoing>>,
    ended: watch::Sender<bool>,
}

impl Windows {
    pub(super) fn new(windows: mpsc::Receiver<Outgoing>) -> Self {
        Self { queue: tokio::sync::Mutex::new(windows), ended: watch::Sender::new(false) }
    }

    /// The next window, if there is one now.
    pub(super) fn next_now(&self) -> Option<Outgoing> {
        if *self.ended.borrow() {
            return None;
        }
        self.queue.try_lock().ok()?.try_recv().ok()
    }

    /// The next window; none where there are no more, or none may be taken any more.
    pub(super) async fn next(&self) -> Option<Outgoing> {
        let mut ended = self.ended.subscribe();
        tokio::select! {
            biased;
            _ = ended.wait_for(|ended| *ended) => None,
            window = async { self.queue.lock().await.recv().await } => window,
        }
    }

    /// Lets nobody take any more windows: whoever makes them learns that.
    pub(super) async fn end(&self) {
        self.ended.send_replace(true);
        self.queue.lock().await.close();
    }
}

/// The connections of one account to a target that wants to be asked.
#[derive(Default)]
pub struct Helpers {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Connections with mailboxes of their own.
    working: usize,
    open: Vec<Open>,
}

struct Open {
    appending: Arc<Appending>,
    helpers: usize,
    /// Whether there were no more windows for a helper.
    is_through: bool,
    /// The first fault of a helper.
    fault: Option<Fault>,
    slowest: Duration,
}

impl Helpers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends with `first`, and with everybody who helps.
    pub(super) async fn append(
        &self,
        appending: Arc<Appending>,
        first: impl Future<Output = Appended>,
    ) -> Appended {
        self.state().open.push(Open {
            appending: appending.clone(),
            helpers: 0,
            is_through: false,
            fault: None,
            slowest: Duration::ZERO,
        });
        self.changed.notify_waiters();
        let Appended { outcome, slowest, shown } = first.await;
        if outcome.is_err() {
            appending.windows.end().await;
        }
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            let through = {
                let mut state = self.state();
                let is_it = |open: &Open| Arc::ptr_eq(&open.appending, &appending);
                let at = state.open.iter().position(|open| is_it(open) && open.helpers == 0);
                at.map(|at| state.open.remove(at))
            };
            if let Some(Open { fault, slowest: helped, .. }) = through {
                let outcome = outcome.and(fault.map_or(Ok(()), Err));
                return Appended { outcome, slowest: slowest.max(helped), shown };
            }
            changed.await;
        }
    }

    /// Something to help with; none where nobody has anything to do any more.
    async fn next(&self) -> Option<Arc<Appending>> {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.state();
                let open = state.open.iter_mut().filter(|open| !open.is_through);
                if let Some(open) = open.min_by_key(|open| open.helpers) {
                    open.helpers += 1;
                    return Some(open.appending.clone());
                }
                if state.working == 0 {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Helps others until nobody has anything to do any more, or this connection breaks.
    pub(super) async fn help(&self, connection: &mut Connection) {
        while let Some(appending) = self.next().await {
            let (reader, writer) = connection.lend();
            let Appended { outcome, slowest, .. } =
                append::append(reader, writer, &appending, Around::default()).await;
            let is_broken = outcome.is_err();
            if is_broken {
                appending.windows.end().await;
            }
            {
                let mut state = self.state();
                let is_it = |open: &&mut Open| Arc::ptr_eq(&open.appending, &appending);
                if let Some(open) = state.open.iter_mut().find(is_it) {
                    open.helpers -= 1;
                    open.is_through = true;
                    open.slowest = open.slowest.max(slowest);
                    if let (None, Err(fault)) = (&open.fault, outcome) {
                        open.fault = Some(fault.at(connection.side()));
                    }
                }
            }
            // Its answers end only when nobody can give any.
            drop(appending);
            self.changed.notify_waiters();
            if is_broken {
                return;
            }
        }
    }
}

/// Says, as long as it lives, that a connection has mailboxes of its own.
pub(super) struct Working(pub(super) Arc<Helpers>);

impl Working {
    pub(super) fn of(helpers: Arc<Helpers>) -> Self {
        helpers.state().working += 1;
        Self(helpers)
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.state().working -= 1;
        self.0.changed.notify_waiters();
    }
}
