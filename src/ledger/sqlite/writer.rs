//! The one writer: a queue, and a task that gathers what is queued into transactions.
//!
//! The order of effects is the order of the queue. Whoever must know that something is on the disk
//! queues it as a barrier and waits for the answer; a barrier commits at once, with everything
//! before it. Whoever only reads what was queued waits until it is committed, which no disk has to be waited
//! for: what a power loss takes away then is the end of the log, and nothing at a server may rest on it before
//! a barrier has put it on the disk. The rest waits a moment for company. What fails once fails for ever: nothing may
//! follow a gap. On a full disk the ballast makes room for what was queued before the first barrier.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::crash;
use crate::fault::Fault;
use crate::ledger::Refusal;

use super::ballast::Ballast;
use super::error::{StoreError, fault, store_fault};
use super::schema;
use super::store::Store;

/// Requests that wait for the writer; whoever comes next waits for a place.
const QUEUE_MAX: usize = 64;
/// Records after which a transaction is committed.
const RECORDS_MAX: usize = 2_000;
/// How long a record without a barrier waits for company.
const COMPANY: Duration = Duration::from_millis(20);

/// A handle on the writer, whose task ends when the last handle is gone and the queue is written.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Request>,
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    /// Shared only by writers of one ledger in memory.
    store: Arc<Mutex<Store>>,
    /// What this writer is known by in the ledger.
    number: i64,
    /// Whether commits run on this very task: for a ledger in memory, so that runs replay.
    inline: bool,
    failure: OnceLock<Failure>,
    ballast: Option<Ballast>,
}

/// Why nothing more is written.
enum Failure {
    Refused(Refusal),
    Broken(String),
}

impl Failure {
    fn fault(&self, path: &Path) -> Fault {
        match self {
            Self::Refused(refusal) => fault("write", path, refusal.clone()),
            Self::Broken(cause) => fault("write", path, cause.clone()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        error.refusal().map_or_else(|| Self::Broken(error.to_string()), Self::Refused)
    }
}

struct Request {
    records: usize,
    wait: Wait,
    apply: Box<Apply>,
}

/// What whoever queues a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wait {
    /// Nothing.
    Queued,
    /// That readers see it.
    Committed,
    /// That it is on the disk.
    Synced,
}

/// Makes the change. The answer stays alive after an error, until the failure is noted. A change that
/// is no barrier can be made again.
type Apply = dyn FnMut(&mut Store) -> (Result<(), StoreError>, Answer) + Send;

/// Tells whoever waits, once the transaction is on the disk. Dropped untold after a failure, when
/// that is noted where they look for it.
type Answer = Box<dyn FnOnce() + Send>;

impl Writer {
    /// Starts the writer on the current runtime.
    pub(super) fn start(
        path: PathBuf,
        store: Arc<Mutex<Store>>,
        number: i64,
        inline: bool,
        ballast: Option<Ballast>,
    ) -> Self {
        let (queue, requests) = mpsc::channel(QUEUE_MAX);
        let failure = OnceLock::new();
        let shared = Arc::new(Shared { path, store, number, inline, failure, ballast });
        #[expect(
            clippy::disallowed_methods,
            reason = "ends by itself when the last handle is gone, after all that is queued"
        )]
        tokio::spawn(write(requests, Arc::clone(&shared)));
        Self { queue, shared }
    }

    /// Queues a change of so many records; waits while the queue is full.
    pub(super) async fn queue(
        &self,
        records: usize,
        apply: impl Fn(&mut Store) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), Fault> {
        let apply = Box::new(move |store: &mut Store| {
            let nobody: Answer = Box::new(|| ());
            (apply(store), nobody)
        });
        self.send(Request { records, wait: Wait::Queued, apply }).await
    }

    /// Waits until readers see everything that was queued before.
    pub(super) async fn committed(&self) -> Result<(), Fault> {
        self.wait(Wait::Committed, |_| Ok(())).await
    }

    /// Queues a change and waits until it is on the disk, with everything queued before.
    pub(super) async fn barrier<T: Send + 'static>(
        &self,
        apply: impl Fn(&mut Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Fault> {
        self.wait(Wait::Synced, apply).await
    }

    async fn wait<T: Send + 'static>(
        &self,
        wait: Wait,
        apply: impl Fn(&mut Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Fault> {
        let (sender, answer) = oneshot::channel();
        let mut sender = Some(sender);
        let apply = Box::new(move |store: &mut Store| {
            let (done, value) = match apply(store) {
                Ok(value) => (Ok(()), Some(value)),
                Err(error) => (Err(error), None),
            };
            // Kept without a value, too: who waits would look for the failure before it is noted.
            let sender = sender.take();
            let answer: Answer = Box::new(move || {
                if let (Some(sender), Some(value)) = (sender, value) {
                    // Whoever gave up waiting need not be told.
                    let _ = sender.send(value);
                }
            });
            (done, answer)
        });
        self.send(Request { records: 1, wait, apply }).await?;
        // Unanswered means that the transaction failed, or that the runtime is ending.
        let answered = answer.await.map_err(|_| self.shared.fault());
        crash::point();
        answered
    }

    async fn send(&self, request: Request) -> Result<(), Fault> {
        if self.shared.failure.get().is_some() {
            return Err(self.shared.fault());
        }
        crash::point();
        let sent = self.queue.send(request).await;
        crash::point();
        sent.map_err(|_| self.shared.fault())
    }

    /// Starts another writer of the same ledger, after which this one is refused.
    pub(super) fn take_over(&self) -> Result<Self, Fault> {
        let Shared { path, store, inline, .. } = &*self.shared;
        let taken = schema::take(self.shared.lock().connection());
        let number = taken.map_err(|error| store_fault("open", path, error))?;
        Ok(Self::start(path.clone(), Arc::clone(store), number, *inline, None))
    }

    /// Empties the write-ahead log into the file; the ballast goes, too.
    pub(super) async fn checkpoint(&self) -> Result<(), Fault> {
        let shared = Arc::clone(&self.shared);
        let work = |shared: &Shared| {
            shared.ballast.iter().for_each(Ballast::release);
            shared.lock().checkpoint()
        };
        let done = shared.run(work).await;
        done.map_err(|failure| failure.fault(&self.shared.path))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Store> {
        // A panic while it was held is noted as the writer's failure.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the failure that ends all writing; the first stays.
    fn fail(&self, failure: Failure) {
        let _ = self.failure.set(failure);
    }

    /// The failure that ended all writing.
    fn fault(&self) -> Fault {
        match self.failure.get() {
            Some(failure) => failure.fault(&self.path),
            None => fault("write", &self.path, "its writer has stopped, as the run has"),
        }
    }

    /// Runs what may block where it may.
    async fn run<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Failure> {
        if self.inline {
            return work(&self).map_err(Failure::from);
        }
        match tokio::task::spawn_blocking(move || work(&self)).await {
            Ok(done) => done.map_err(Failure::from),
            Err(error) => Err(Failure::Broken(format!("its writer broke: {error}"))),
        }
    }
}

async fn write(mut requests: mpsc::Receiver<Request>, shared: Arc<Shared>) {
    while let Some(batch) = gather(&mut requests).await {
        if shared.failure.get().is_some() {
            continue; // Dropped untold.
        }
        let work = |shared: &Shared| {
            commit(shared, batch);
            Ok(())
        };
        let done = Arc::clone(&shared).run(work).await;
        if let Err(failure) = done {
            shared.fail(failure);
        }
    }
}

/// The next transaction's requests; none when every handle is gone and the queue is empty.
async fn gather(requests: &mut mpsc::Receiver<Request>) -> Option<Vec<Request>> {
    let first = requests.recv().await?;
    let deadline = Instant::now() + COMPANY;
    let (mut records, mut wait) = (first.records.max(1), first.wait);
    let mut batch = vec![first];
    while records < RECORDS_MAX {
        let next = match requests.try_recv() {
            Ok(request) => request,
            Err(_) if wait > Wait::Queued => break,
            Err(_) => match tokio::time::timeout_at(deadline, requests.recv()).await {
                Ok(Some(request)) => request,
                Ok(None) | Err(_) => break,
            },
        };
        records += next.records.max(1);
        wait = wait.max(next.wait);
        batch.push(next);
    }
    Some(batch)
}

/// Does all of it in one transaction, or nothing. Where the disk is full, what was only queued is
/// still written, by the room that the ballast had.
fn commit(shared: &Shared, mut batch: Vec<Request>) {
    let mut answers = Vec::with_capacity(batch.len());
    let mut store = shared.lock();
    let error = match transact(shared, &mut store, &mut batch, &mut answers) {
        Ok(()) => return answers.into_iter().for_each(|answer| answer()),
        Err(error) => error,
    };
    store.roll_back();
    let is_full = matches!(error.refusal(), Some(Refusal::Full(_)));
    if is_full && let Some(ballast) = &shared.ballast {
        ballast.release();
        let queued = batch.iter().take_while(|request| request.wait == Wait::Queued).count();
        if transact(shared, &mut store, &mut batch[..queued], &mut answers).is_err() {
            store.roll_back(); // It is looked up by the next run.
        }
    }
    shared.fail(error.into());
}

fn transact(
    shared: &Shared,
    store: &mut Store,
    batch: &mut [Request],
    answers: &mut Vec<Answer>,
) -> Result<(), StoreError> {
    let wait = batch.iter().map(|request| request.wait).max();
    store.begin(shared.number)?;
    for request in batch {
        let (done, answer) = (request.apply)(store);
        answers.push(answer);
        done?;
    }
    store.commit()?;
    if wait == Some(Wait::Synced) { store.sync() } else { Ok(()) }
}
