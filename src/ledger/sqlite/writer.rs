//! The one writer: a queue, and a task that gathers what is queued into transactions.
//!
//! The order of effects is the order of the queue. Whoever must know that something is on the disk
//! queues it as a barrier and waits for the answer; a barrier commits at once, with everything
//! before it. The rest waits a moment for company. What fails once fails for ever: nothing may
//! follow a gap.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::fault::Fault;

use super::error::{StoreError, fault};
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
    store: Mutex<Store>,
    /// Whether commits run on this very task: for a ledger in memory, so that runs replay.
    inline: bool,
    failure: OnceLock<String>,
}

struct Request {
    records: usize,
    barrier: bool,
    apply: Box<Apply>,
}

/// Makes the change. The answer stays alive after an error, until the failure is noted.
type Apply = dyn FnOnce(&mut Store) -> (Result<(), StoreError>, Answer) + Send;

/// Tells whoever waits, once the transaction is on the disk. Dropped untold after a failure, when
/// that is noted where they look for it.
type Answer = Box<dyn FnOnce() + Send>;

impl Writer {
    /// Starts the writer on the current runtime.
    pub(super) fn start(path: PathBuf, store: Store, inline: bool) -> Self {
        let (queue, requests) = mpsc::channel(QUEUE_MAX);
        let shared =
            Arc::new(Shared { path, store: Mutex::new(store), inline, failure: OnceLock::new() });
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
        apply: impl FnOnce(&mut Store) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), Fault> {
        let apply = Box::new(|store: &mut Store| {
            let nobody: Answer = Box::new(|| ());
            (apply(store), nobody)
        });
        self.send(Request { records, barrier: false, apply }).await
    }

    /// Queues a change and waits until it is on the disk, with everything queued before.
    pub(super) async fn barrier<T: Send + 'static>(
        &self,
        apply: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Fault> {
        let (sender, answer) = oneshot::channel();
        let apply = Box::new(|store: &mut Store| {
            let (done, value) = match apply(store) {
                Ok(value) => (Ok(()), Some(value)),
                Err(error) => (Err(error), None),
            };
            // Whoever gave up waiting need not be told.
            let answer: Answer = Box::new(move || drop(value.map(|value| sender.send(value))));
            (done, answer)
        });
        self.send(Request { records: 1, barrier: true, apply }).await?;
        // Unanswered means that the transaction failed, or that the runtime is ending.
        answer.await.map_err(|_| self.shared.fault())
    }

    async fn send(&self, request: Request) -> Result<(), Fault> {
        if self.shared.failure.get().is_some() {
            return Err(self.shared.fault());
        }
        let sent = self.queue.send(request).await;
        sent.map_err(|_| self.shared.fault())
    }

    /// Empties the write-ahead log into the file.
    pub(super) async fn checkpoint(&self) -> Result<(), Fault> {
        let shared = Arc::clone(&self.shared);
        let done = shared.run(|shared| shared.lock().checkpoint()).await;
        done.map_err(|cause| fault("write", &self.shared.path, cause))
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Store> {
        // A panic while it was held is noted as the writer's failure.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the failure that ends all writing; the first stays.
    fn fail(&self, cause: String) {
        let _ = self.failure.set(cause);
    }

    /// The failure that ended all writing.
    fn fault(&self) -> Fault {
        let unknown = "its writer has stopped, as the run has";
        let cause = self.failure.get().map_or(unknown, String::as_str);
        fault("write", &self.path, cause.to_owned())
    }

    /// Runs what may block where it may.
    async fn run<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, String> {
        if self.inline {
            return work(&self).map_err(|error| error.to_string());
        }
        match tokio::task::spawn_blocking(move || work(&self)).await {
            Ok(done) => done.map_err(|error| error.to_string()),
            Err(error) => Err(format!("its writer broke: {error}")),
        }
    }
}

async fn write(mut requests: mpsc::Receiver<Request>, shared: Arc<Shared>) {
    while let Some(batch) = gather(&mut requests).await {
        if shared.failure.get().is_some() {
            continue; // Dropped untold.
        }
        let done = Arc::clone(&shared).run(|shared| commit(shared, batch)).await;
        if let Err(cause) = done {
            shared.fail(cause);
        }
    }
}

/// The next transaction's requests; none when every handle is gone and the queue is empty.
async fn gather(requests: &mut mpsc::Receiver<Request>) -> Option<Vec<Request>> {
    let first = requests.recv().await?;
    let deadline = Instant::now() + COMPANY;
    let (mut records, mut barrier) = (first.records.max(1), first.barrier);
    let mut batch = vec![first];
    while records < RECORDS_MAX {
        let next = match requests.try_recv() {
            Ok(request) => request,
            Err(_) if barrier => break,
            Err(_) => match tokio::time::timeout_at(deadline, requests.recv()).await {
                Ok(Some(request)) => request,
                Ok(None) | Err(_) => break,
            },
        };
        records += next.records.max(1);
        barrier |= next.barrier;
        batch.push(next);
    }
    Some(batch)
}

/// Does all of it in one transaction, or nothing.
fn commit(shared: &Shared, batch: Vec<Request>) -> Result<(), StoreError> {
    let mut answers = Vec::with_capacity(batch.len());
    let mut batch = batch.into_iter();
    let mut store = shared.lock();
    let begun = store.begin();
    let applied = begun.and_then(|()| {
        batch.try_for_each(|request| {
            let (done, answer) = (request.apply)(&mut store);
            answers.push(answer);
            done
        })
    });
    let committed = applied.and_then(|()| store.commit());
    match &committed {
        Ok(()) => answers.into_iter().for_each(|answer| answer()),
        Err(error) => {
            shared.fail(error.to_string());
            store.roll_back();
        }
    }
    committed
}
