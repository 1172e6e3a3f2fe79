//! The ledger in one SQLite file (`docs/ledger.md` describes it).

mod ballast;
mod codes;
mod error;
mod headers;
mod moving;
mod read;
mod schema;
mod stage;
mod store;
mod window;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use crate::fate::RemarkKind;
use crate::fault::{Fault, Remedy, Scope};
use crate::history::{Entry, History};
use crate::identity::Digest;
use crate::mail::{Flags, Mailbox, Uid, UidValidity};
use crate::own::OwnName;
use crate::target::ObjectId;

use super::{
    AccountId, AccountName, AccountState, Binding, BoundMailbox, Claim, Dissolved, Doubted, Ledger,
    MailboxId, MoveIntent, NewMove, NewStage, NewWindow, OpenMove, OpenWindow, Outcome, OwnMailbox,
    RemarkCursor, RemarkRow, ScanTotals, Settlement, Snapshot, Stage, StageId, Watermark, WindowId,
};
use ballast::Ballast;
use error::{StoreError, fault, store_fault};
use headers::Headers;
use store::{EncodedWindow, Store};
use writer::Writer;

/// A ledger in one SQLite file. Clones share the file and its one writer.
///
/// What is queued is written when the last clone is dropped, as long as the runtime lives;
/// [`SqliteLedger::finish`] waits for it.
#[derive(Clone)]
pub struct SqliteLedger {
    path: Arc<Path>,
    writer: Option<Writer>,
    /// None where reads go through the writer.
    reader: Option<Arc<Mutex<Connection>>>,
    headers: Headers,
}

impl SqliteLedger {
    /// Opens the ledger for writing, or makes it. Only one process does so at a time (see
    /// [`crate::ledger::hold::StateDir`]); where another one still has it open, that one is refused
    /// from now on.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, is damaged, has another format, or is something else.
    pub async fn open(path: &Path) -> Result<Self, Fault> {
        let (path, headers): (Arc<Path>, _) = (path.into(), Headers::default());
        let noted = headers.clone();
        let (store, number, reader, ballast) = blocking("open", &path, move |path| {
            let connection = schema::open(path)?;
            let ballast = Ballast::hold(path)?;
            let number = schema::take(&connection)?;
            Ok((Store::new(connection, noted)?, number, schema::open_read_only(path)?, ballast))
        })
        .await?;
        let store = Arc::new(Mutex::new(store));
        let writer = Writer::start(path.to_path_buf(), store, number, false, Some(ballast));
        let reader = Some(Arc::new(Mutex::new(reader)));
        Ok(Self { writer: Some(writer), reader, headers, path })
    }

    /// Opens the ledger to look at it, beside a run that writes it. Every change is refused.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is empty, has another format, or is something else.
    pub async fn open_read_only(path: &Path) -> Result<Self, Fault> {
        let path: Arc<Path> = path.into();
        let reader = blocking("open", &path, schema::open_read_only).await?;
        let reader = Some(Arc::new(Mutex::new(reader)));
        Ok(Self { writer: None, reader, headers: Headers::default(), path })
    }

    /// Makes a ledger that is gone when it is dropped. It never leaves the current runtime's own
    /// threads, so that runs with a paused clock replay. Must be called within a runtime.
    ///
    /// # Errors
    ///
    /// If there is no memory for it.
    pub fn in_memory() -> Result<Self, Fault> {
        let path: Arc<Path> = Path::new(":memory:").into();
        let headers = Headers::default();
        let failed = |error| store_fault("open", &path, error);
        let connection = schema::in_memory().map_err(failed)?;
        let number = schema::take(&connection).map_err(failed)?;
        let store = Store::new(connection, headers.clone()).map_err(failed)?;
        let store = Arc::new(Mutex::new(store));
        let writer = Writer::start(PathBuf::from(":memory:"), store, number, true, None);
        Ok(Self { path, writer: Some(writer), reader: None, headers })
    }

    /// Opens the same ledger once more, as another process would: from now on every call to this
    /// one and to its clones fails. The way to do so with one in memory.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn take_over(&self) -> Result<Self, Fault> {
        let writer = self.writer()?.take_over()?;
        Ok(Self { writer: Some(writer), ..self.clone() })
    }

    /// All mailboxes that were ever bound, by their accounts' keys; also of a ledger that is only looked
    /// at.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub async fn bound(&self) -> Result<BTreeMap<String, Vec<BoundMailbox>>, Fault> {
        self.read(read::bound).await
    }

    /// The digests that messages were repaired to, by those that they have at the source.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub async fn repaired(&self) -> Result<BTreeMap<Digest, Digest>, Fault> {
        self.read(read::repaired).await
    }

    /// The messages that the target took for equal ones.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub async fn merged(&self) -> Result<BTreeMap<MailboxId, BTreeSet<Uid>>, Fault> {
        self.read(read::merged).await
    }

    /// Writes what is queued, and brings everything into the one file.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub async fn finish(self) -> Result<(), Fault> {
        match &self.writer {
            None => Ok(()),
            Some(writer) => {
                self.flush().await?;
                writer.checkpoint().await
            }
        }
    }

    fn writer(&self) -> Result<&Writer, Fault> {
        let refused = || fault("write", &self.path, "it was opened only to look at it");
        self.writer.as_ref().ok_or_else(refused)
    }

    fn claimed_again(&self, verb: &str) -> Fault {
        let action = format!("{verb} in the ledger {}", self.path.display());
        let cause = "the account was claimed again since: it is copied twice at once";
        Fault::new(Scope::Account, Remedy::Nothing, action, cause)
    }

    /// Reads in one transaction, after everything queued before.
    async fn read<T: Send + 'static>(
        &self,
        read: impl Fn(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Fault> {
        let Some(reader) = &self.reader else {
            let writer = self.writer()?;
            let answer = writer.barrier(move |store| Ok(read(store.connection())));
            return answer.await?.map_err(|error| store_fault("read", &self.path, error));
        };
        if let Some(writer) = &self.writer {
            writer.committed().await?;
        }
        let reader = Arc::clone(reader);
        blocking("read", &self.path, move |_| {
            let mut connection = reader.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = connection.transaction()?;
            read(&transaction)
        })
        .await
    }
}

impl std::fmt::Debug for SqliteLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SqliteLedger").field(&self.path).finish()
    }
}

async fn blocking<T: Send + 'static>(
    verb: &str,
    path: &Arc<Path>,
    work: impl FnOnce(&Path) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Fault> {
    let own = Arc::clone(path);
    match tokio::task::spawn_blocking(move || work(&own)).await {
        Ok(done) => done.map_err(|error| store_fault(verb, path, error)),
        Err(error) => Err(fault(verb, path, error)),
    }
}

impl Ledger for SqliteLedger {
    async fn claim(&self, account: &AccountName) -> Result<Claim, Fault> {
        let account = account.clone();
        let writer = self.writer()?;
        writer.barrier(move |store| store.claim(&account)).await
    }

    async fn mailboxes(&self, account: AccountId) -> Result<Vec<BoundMailbox>, Fault> {
        self.read(move |connection| read::mailboxes(connection, account)).await
    }

    async fn bind(&self, account: AccountId, binding: &Binding) -> Result<MailboxId, Fault> {
        let binding = binding.clone();
        let writer = self.writer()?;
        writer.barrier(move |store| store.bind(account, &binding)).await
    }

    async fn rename_source(&self, mailbox: MailboxId, now: &Mailbox) -> Result<bool, Fault> {
        let now = now.clone();
        self.writer()?.barrier(move |store| store.rename_source(mailbox, &now)).await
    }

    async fn history(
        &self,
        mailbox: MailboxId,
        uids: RangeInclusive<Uid>,
    ) -> Result<History, Fault> {
        self.read(move |connection| read::history(connection, mailbox, &uids)).await
    }

    async fn claimed(&self, mailbox: MailboxId, lo: Uid) -> Result<Vec<Uid>, Fault> {
        self.read(move |connection| read::claimed(connection, mailbox, lo)).await
    }

    async fn twins(
        &self,
        mailbox: MailboxId,
        headers: BTreeSet<u64>,
    ) -> Result<Vec<(MailboxId, Uid, Entry)>, Fault> {
        let index = self.headers.clone();
        let beside = self.read(move |connection| read::beside(connection, mailbox)).await?;
        // What another process writes cannot be watched.
        let watched = beside.iter().filter(|_| self.writer.is_some());
        // Before what is queued is written and read.
        let since = index.watch(watched.map(|(mailbox, _)| *mailbox));
        let twins = move |connection: &Connection| {
            read::twins(connection, &beside, &headers, (&index, since))
        };
        self.read(twins).await
    }

    async fn doubted(&self, mailbox: MailboxId) -> Result<Vec<Doubted>, Fault> {
        self.read(move |connection| read::doubted(connection, mailbox)).await
    }

    async fn open_windows(&self, account: AccountId) -> Result<Vec<OpenWindow>, Fault> {
        self.read(move |connection| read::open_windows(connection, account)).await
    }

    async fn open(&self, window: &NewWindow) -> Result<WindowId, Fault> {
        let window = EncodedWindow::from(window);
        let writer = self.writer()?;
        let opened = writer.barrier(move |store| store.open_window(&window));
        opened.await?.ok_or_else(|| self.claimed_again("open a window"))
    }

    async fn record(&self, mailbox: MailboxId, outcomes: Vec<Outcome>) -> Result<(), Fault> {
        let writer = self.writer()?;
        let records = outcomes.len();
        let apply = move |store: &mut Store| store.record(mailbox, &outcomes);
        writer.queue(records, apply).await
    }

    async fn close(
        &self,
        window: WindowId,
        mailbox: MailboxId,
        outcomes: Vec<Outcome>,
    ) -> Result<(), Fault> {
        let writer = self.writer()?;
        let records = outcomes.len() + 1;
        let apply = move |store: &mut Store| store.close_window(window, mailbox, &outcomes);
        writer.queue(records, apply).await
    }

    async fn intend_moves(
        &self,
        claim: Claim,
        moves: Vec<NewMove>,
    ) -> Result<Vec<OpenMove>, Fault> {
        let Claim { account, epoch, .. } = claim;
        let intend = move |store: &mut Store| store.intend_moves(account, epoch, &moves);
        let intended = self.writer()?.barrier(intend);
        intended.await?.ok_or_else(|| self.claimed_again("note what is to be moved"))
    }

    async fn open_moves(&self, account: AccountId) -> Result<Vec<OpenMove>, Fault> {
        self.read(move |connection| moving::open_moves(connection, account)).await
    }

    async fn settle(&self, settlement: Settlement) -> Result<(), Fault> {
        let writer = self.writer()?;
        writer.barrier(move |store| store.settle(&settlement)).await
    }

    async fn set_target_uid_next(&self, mailbox: MailboxId, uid_next: Uid) -> Result<(), Fault> {
        let writer = self.writer()?;
        writer.queue(1, move |store| store.set_target_uid_next(mailbox, uid_next)).await
    }

    async fn set_remark(
        &self,
        mailbox: MailboxId,
        uid: Uid,
        kind: RemarkKind,
        text: Option<String>,
    ) -> Result<(), Fault> {
        let writer = self.writer()?;
        let apply = move |store: &mut Store| store.set_remark(mailbox, uid, kind, text.as_deref());
        writer.queue(1, apply).await
    }

    async fn remarked(&self, mailbox: MailboxId, kind: RemarkKind) -> Result<BTreeSet<Uid>, Fault> {
        self.read(move |connection| read::remarked(connection, mailbox, kind)).await
    }

    async fn intend_flags(
        &self,
        mailbox: MailboxId,
        flags: Vec<(Uid, Flags)>,
    ) -> Result<(), Fault> {
        self.writer()?.barrier(move |store| store.intend_flags(mailbox, &flags)).await
    }

    async fn set_flags(&self, mailbox: MailboxId, flags: Vec<(Uid, Flags)>) -> Result<(), Fault> {
        let records = flags.len();
        self.writer()?.queue(records, move |store| store.set_flags(mailbox, &flags)).await
    }

    async fn renumber(
        &self,
        old: MailboxId,
        new: MailboxId,
        uids: Vec<(Uid, Uid)>,
    ) -> Result<(), Fault> {
        let writer = self.writer()?;
        writer.barrier(move |store| store.renumber(old, new, &uids)).await
    }

    async fn reset_target(&self, mailbox: MailboxId, validity: UidValidity) -> Result<(), Fault> {
        let writer = self.writer()?;
        writer.barrier(move |store| store.reset_target(mailbox, validity)).await
    }

    async fn scanned(&self, mailbox: MailboxId, scan: ScanTotals) -> Result<(), Fault> {
        let writer = self.writer()?;
        writer.queue(1, move |store| store.scanned(mailbox, scan)).await
    }

    async fn set_watermark(
        &self,
        mailbox: MailboxId,
        watermark: Option<Watermark>,
    ) -> Result<(), Fault> {
        let writer = self.writer()?;
        writer.queue(1, move |store| store.set_watermark(mailbox, watermark)).await
    }

    async fn set_mailbox_fault(
        &self,
        mailbox: MailboxId,
        fault: Option<String>,
    ) -> Result<(), Fault> {
        let writer = self.writer()?;
        let apply = move |store: &mut Store| store.set_mailbox_fault(mailbox, fault.as_deref());
        writer.queue(1, apply).await
    }

    async fn set_account_state(
        &self,
        account: AccountId,
        state: AccountState,
        reason: Option<String>,
    ) -> Result<(), Fault> {
        let writer = self.writer()?;
        let apply =
            move |store: &mut Store| store.set_account_state(account, state, reason.as_deref());
        writer.barrier(apply).await
    }

    async fn flush(&self) -> Result<(), Fault> {
        self.writer()?.barrier(|_| Ok(())).await
    }

    async fn snapshot(&self) -> Result<Snapshot, Fault> {
        self.read(read::snapshot).await
    }

    async fn remarks(
        &self,
        after: Option<RemarkCursor>,
        limit: usize,
    ) -> Result<Vec<RemarkRow>, Fault> {
        self.read(move |connection| read::remarks(connection, after, limit)).await
    }

    async fn open_stage(&self, stage: &NewStage) -> Result<StageId, Fault> {
        let stage = stage.clone();
        let opened = self.writer()?.barrier(move |store| store.open_stage(&stage));
        opened.await?.ok_or_else(|| self.claimed_again("open a stage"))
    }

    async fn open_in_stage(&self, stage: StageId, window: &NewWindow) -> Result<WindowId, Fault> {
        let window = EncodedWindow::from(window);
        let opened = self.writer()?.barrier(move |store| store.open_in_stage(stage, &window));
        opened.await?.ok_or_else(|| self.claimed_again("open a window"))
    }

    async fn intend_move(&self, stage: StageId, intent: &MoveIntent) -> Result<(), Fault> {
        let intent = intent.clone();
        self.writer()?.barrier(move |store| store.intend_move(stage, &intent)).await
    }

    async fn note_arrived(&self, stage: StageId, staged: Vec<Uid>) -> Result<(), Fault> {
        self.writer()?.barrier(move |store| store.note_arrived(stage, &staged)).await
    }

    async fn deliver_stage(
        &self,
        stage: StageId,
        mailbox: MailboxId,
        outcomes: Vec<Outcome>,
    ) -> Result<(), Fault> {
        let deliver = move |store: &mut Store| store.deliver_stage(stage, mailbox, &outcomes);
        self.writer()?.barrier(deliver).await
    }

    async fn dissolve_stage(
        &self,
        stage: StageId,
        mailbox: MailboxId,
        dissolved: Dissolved,
    ) -> Result<(), Fault> {
        let dissolve = move |store: &mut Store| store.dissolve_stage(stage, mailbox, &dissolved);
        self.writer()?.barrier(dissolve).await
    }

    async fn stages(&self, account: AccountId) -> Result<Vec<Stage>, Fault> {
        self.read(move |connection| stage::stages(connection, account)).await
    }

    async fn moved_ids(
        &self,
        mailbox: MailboxId,
    ) -> Result<Vec<(MailboxId, Uid, ObjectId)>, Fault> {
        self.read(move |connection| stage::moved_ids(connection, mailbox)).await
    }

    async fn count_removal(&self, mailbox: MailboxId, uid: Uid) -> Result<(), Fault> {
        self.writer()?.barrier(move |store| store.count_removal(mailbox, uid)).await
    }

    async fn note_own(&self, account: AccountId, own: &OwnMailbox) -> Result<(), Fault> {
        let own = own.clone();
        self.writer()?.barrier(move |store| store.note_own(account, &own)).await
    }

    async fn forget_own(&self, account: AccountId, name: &OwnName) -> Result<(), Fault> {
        let name = name.clone();
        self.writer()?.barrier(move |store| store.forget_own(account, &name)).await
    }

    async fn own_mailboxes(&self, account: AccountId) -> Result<Vec<OwnMailbox>, Fault> {
        self.read(move |connection| stage::own_mailboxes(connection, account)).await
    }
}
