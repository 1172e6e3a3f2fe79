//! A ledger that may lose what was only queued, as a crash does.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fate::RemarkKind;
use crate::fault::{Fault, Remedy, Scope};
use crate::history::{Entry, History};
use crate::identity::Digest;
use crate::ledger::sqlite::SqliteLedger;
use crate::ledger::{
    AccountId, AccountName, AccountState, Binding, BoundMailbox, Claim, Dissolved, Doubted, Ledger,
    MailboxId, MoveIntent, NewMove, NewStage, NewWindow, OpenMove, OpenWindow, Outcome, OwnMailbox,
    RemarkCursor, RemarkRow, ScanTotals, Settlement, Snapshot, Stage, StageId, Watermark, WindowId,
};
use crate::mail::{Flags, Mailbox, Uid, UidValidity};
use crate::own::OwnName;
use crate::target::ObjectId;
use tokio::sync::{Mutex, MutexGuard};

use super::network::Fuse;

/// A ledger in memory that keeps what is only queued until something must be durable.
#[derive(Clone)]
pub struct CrashLedger {
    durable: SqliteLedger,
    queued: Arc<Mutex<Vec<Queued>>>,
    fuse: Option<Arc<Fuse>>,
    failure: Option<Arc<Failing>>,
}

/// Which call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The number of the call, the first of a run being 0.
    pub call: u64,
    /// Whether all that follow fail, too.
    pub for_ever: bool,
}

struct Failing {
    failure: Failure,
    calls: AtomicU64,
}

enum Queued {
    Record(MailboxId, Vec<Outcome>),
    Close(WindowId, MailboxId, Vec<Outcome>),
    Scanned(MailboxId, ScanTotals),
    Watermark(MailboxId, Option<Watermark>),
    MailboxFault(MailboxId, Option<String>),
    TargetUidNext(MailboxId, Uid),
    Remark(MailboxId, Uid, RemarkKind, Option<String>),
    Flags(MailboxId, Vec<(Uid, Flags)>),
}

impl CrashLedger {
    /// An empty one.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it opens a database")]
    pub fn new() -> Self {
        let durable = SqliteLedger::in_memory().expect("a database in memory opens");
        Self { durable, queued: Arc::default(), fuse: None, failure: None }
    }

    /// The same ledger as one process sees it: its calls are points, and one of them may fail.
    #[must_use]
    pub fn of_process(&self, fuse: Arc<Fuse>, failure: Option<Failure>) -> Self {
        let failing = |failure| Arc::new(Failing { failure, calls: AtomicU64::new(0) });
        Self { fuse: Some(fuse), failure: failure.map(failing), ..self.clone() }
    }

    /// All mailboxes that were ever bound, by their accounts' keys.
    pub async fn bound(&self) -> BTreeMap<String, Vec<BoundMailbox>> {
        self.durable.bound().await.expect("memory is read")
    }

    /// The digests that messages were repaired to, by those that they have at the source.
    pub async fn repaired(&self) -> BTreeMap<Digest, Digest> {
        self.durable.repaired().await.expect("memory is read")
    }

    /// The messages that the target took for equal ones.
    pub async fn merged(&self) -> BTreeMap<MailboxId, BTreeSet<Uid>> {
        self.durable.merged().await.expect("memory is read")
    }

    /// Loses what was only queued.
    pub async fn crash(&self) {
        self.queued.lock().await.clear();
    }

    async fn queue(&self, queued: Queued) -> Result<(), Fault> {
        self.before().await?;
        self.queued.lock().await.push(queued);
        self.point().await;
        Ok(())
    }

    /// Makes a call that is durable with everything queued before, and is a point at both ends.
    async fn call<T>(&self, call: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        self.before().await?;
        let done = {
            let _queue = self.written().await?;
            call.await
        };
        self.point().await;
        done
    }

    async fn before(&self) -> Result<(), Fault> {
        self.point().await;
        let Some(Failing { failure, calls }) = self.failure.as_deref() else {
            return Ok(());
        };
        let call = calls.fetch_add(1, Ordering::Relaxed);
        if call == failure.call || (failure.for_ever && call > failure.call) {
            let cause = "the simulated disk is full";
            return Err(Fault::new(Scope::Batch, Remedy::Nothing, "write the ledger", cause));
        }
        Ok(())
    }

    async fn point(&self) {
        if self.fuse.as_ref().is_some_and(|fuse| !fuse.point()) {
            std::future::pending::<()>().await; // The run is about to be dropped.
        }
    }

    /// Makes everything queued durable; nothing else is queued while the guard lives.
    async fn written(&self) -> Result<MutexGuard<'_, Vec<Queued>>, Fault> {
        let mut queue = self.queued.lock().await;
        for queued in std::mem::take(&mut *queue) {
            match queued {
                Queued::Record(mailbox, outcomes) => {
                    self.durable.record(mailbox, outcomes).await?;
                }
                Queued::Close(window, mailbox, outcomes) => {
                    self.durable.close(window, mailbox, outcomes).await?;
                }
                Queued::Scanned(mailbox, scan) => self.durable.scanned(mailbox, scan).await?,
                Queued::TargetUidNext(mailbox, uid_next) => {
                    self.durable.set_target_uid_next(mailbox, uid_next).await?;
                }
                Queued::Remark(mailbox, uid, kind, text) => {
                    self.durable.set_remark(mailbox, uid, kind, text).await?;
                }
                Queued::Watermark(mailbox, mark) => {
                    self.durable.set_watermark(mailbox, mark).await?
                }
                Queued::Flags(mailbox, flags) => self.durable.set_flags(mailbox, flags).await?,
                Queued::MailboxFault(mailbox, fault) => {
                    self.durable.set_mailbox_fault(mailbox, fault).await?;
                }
            }
        }
        Ok(queue)
    }
}

impl Ledger for CrashLedger {
    async fn claim(&self, account: &AccountName) -> Result<Claim, Fault> {
        self.call(self.durable.claim(account)).await
    }

    async fn mailboxes(&self, account: AccountId) -> Result<Vec<BoundMailbox>, Fault> {
        self.call(self.durable.mailboxes(account)).await
    }

    async fn bind(&self, account: AccountId, binding: &Binding) -> Result<MailboxId, Fault> {
        self.call(self.durable.bind(account, binding)).await
    }

    async fn rename_source(&self, mailbox: MailboxId, now: &Mailbox) -> Result<bool, Fault> {
        self.call(self.durable.rename_source(mailbox, now)).await
    }

    async fn history(
        &self,
        mailbox: MailboxId,
        uids: RangeInclusive<Uid>,
    ) -> Result<History, Fault> {
        self.call(self.durable.history(mailbox, uids)).await
    }

    async fn claimed(&self, mailbox: MailboxId, lo: Uid) -> Result<Vec<Uid>, Fault> {
        self.call(self.durable.claimed(mailbox, lo)).await
    }

    async fn twins(
        &self,
        mailbox: MailboxId,
        headers: BTreeSet<u64>,
    ) -> Result<Vec<(MailboxId, Uid, Entry)>, Fault> {
        self.call(self.durable.twins(mailbox, headers)).await
    }

    async fn doubted(&self, mailbox: MailboxId) -> Result<Vec<Doubted>, Fault> {
        self.call(self.durable.doubted(mailbox)).await
    }

    async fn open_windows(&self, account: AccountId) -> Result<Vec<OpenWindow>, Fault> {
        self.call(self.durable.open_windows(account)).await
    }

    async fn open(&self, window: &NewWindow) -> Result<WindowId, Fault> {
        self.call(self.durable.open(window)).await
    }

    async fn record(&self, mailbox: MailboxId, outcomes: Vec<Outcome>) -> Result<(), Fault> {
        self.queue(Queued::Record(mailbox, outcomes)).await
    }

    async fn close(
        &self,
        window: WindowId,
        mailbox: MailboxId,
        outcomes: Vec<Outcome>,
    ) -> Result<(), Fault> {
        self.queue(Queued::Close(window, mailbox, outcomes)).await
    }

    async fn intend_moves(
        &self,
        claim: Claim,
        moves: Vec<NewMove>,
    ) -> Result<Vec<OpenMove>, Fault> {
        self.call(self.durable.intend_moves(claim, moves)).await
    }

    async fn open_moves(&self, account: AccountId) -> Result<Vec<OpenMove>, Fault> {
        self.call(self.durable.open_moves(account)).await
    }

    async fn settle(&self, settlement: Settlement) -> Result<(), Fault> {
        self.call(self.durable.settle(settlement)).await
    }

    async fn set_target_uid_next(&self, mailbox: MailboxId, uid_next: Uid) -> Result<(), Fault> {
        self.queue(Queued::TargetUidNext(mailbox, uid_next)).await
    }

    async fn set_remark(
        &self,
        mailbox: MailboxId,
        uid: Uid,
        kind: RemarkKind,
        text: Option<String>,
    ) -> Result<(), Fault> {
        self.queue(Queued::Remark(mailbox, uid, kind, text)).await
    }

    async fn remarked(&self, mailbox: MailboxId, kind: RemarkKind) -> Result<BTreeSet<Uid>, Fault> {
        self.call(self.durable.remarked(mailbox, kind)).await
    }

    async fn intend_flags(
        &self,
        mailbox: MailboxId,
        flags: Vec<(Uid, Flags)>,
    ) -> Result<(), Fault> {
        self.call(self.durable.intend_flags(mailbox, flags)).await
    }

    async fn set_flags(&self, mailbox: MailboxId, flags: Vec<(Uid, Flags)>) -> Result<(), Fault> {
        self.queue(Queued::Flags(mailbox, flags)).await
    }

    async fn renumber(
        &self,
        old: MailboxId,
        new: MailboxId,
        uids: Vec<(Uid, Uid)>,
    ) -> Result<(), Fault> {
        self.call(self.durable.renumber(old, new, uids)).await
    }

    async fn reset_target(&self, mailbox: MailboxId, validity: UidValidity) -> Result<(), Fault> {
        self.call(self.durable.reset_target(mailbox, validity)).await
    }

    async fn scanned(&self, mailbox: MailboxId, scan: ScanTotals) -> Result<(), Fault> {
        self.queue(Queued::Scanned(mailbox, scan)).await
    }

    async fn set_watermark(
        &self,
        mailbox: MailboxId,
        watermark: Option<Watermark>,
    ) -> Result<(), Fault> {
        self.queue(Queued::Watermark(mailbox, watermark)).await
    }

    async fn set_mailbox_fault(
        &self,
        mailbox: MailboxId,
        fault: Option<String>,
    ) -> Result<(), Fault> {
        self.queue(Queued::MailboxFault(mailbox, fault)).await
    }

    async fn set_account_state(
        &self,
        account: AccountId,
        state: AccountState,
        reason: Option<String>,
    ) -> Result<(), Fault> {
        self.call(self.durable.set_account_state(account, state, reason)).await
    }

    async fn flush(&self) -> Result<(), Fault> {
        self.call(self.durable.flush()).await
    }

    async fn snapshot(&self) -> Result<Snapshot, Fault> {
        self.call(self.durable.snapshot()).await
    }

    async fn remarks(
        &self,
        after: Option<RemarkCursor>,
        limit: usize,
    ) -> Result<Vec<RemarkRow>, Fault> {
        self.call(self.durable.remarks(after, limit)).await
    }

    async fn open_stage(&self, stage: &NewStage) -> Result<StageId, Fault> {
        self.call(self.durable.open_stage(stage)).await
    }

    async fn open_in_stage(&self, stage: StageId, window: &NewWindow) -> Result<WindowId, Fault> {
        self.call(self.durable.open_in_stage(stage, window)).await
    }

    async fn intend_move(&self, stage: StageId, intent: &MoveIntent) -> Result<(), Fault> {
        self.call(self.durable.intend_move(stage, intent)).await
    }

    async fn note_arrived(&self, stage: StageId, staged: Vec<Uid>) -> Result<(), Fault> {
        self.call(self.durable.note_arrived(stage, staged)).await
    }

    async fn deliver_stage(
        &self,
        stage: StageId,
        mailbox: MailboxId,
        outcomes: Vec<Outcome>,
    ) -> Result<(), Fault> {
        self.call(self.durable.deliver_stage(stage, mailbox, outcomes)).await
    }

    async fn dissolve_stage(
        &self,
        stage: StageId,
        mailbox: MailboxId,
        dissolved: Dissolved,
    ) -> Result<(), Fault> {
        self.call(self.durable.dissolve_stage(stage, mailbox, dissolved)).await
    }

    async fn stages(&self, account: AccountId) -> Result<Vec<Stage>, Fault> {
        self.call(self.durable.stages(account)).await
    }

    async fn moved_ids(
        &self,
        mailbox: MailboxId,
    ) -> Result<Vec<(MailboxId, Uid, ObjectId)>, Fault> {
        self.call(self.durable.moved_ids(mailbox)).await
    }

    async fn count_removal(&self, mailbox: MailboxId, uid: Uid) -> Result<(), Fault> {
        self.call(self.durable.count_removal(mailbox, uid)).await
    }

    async fn note_own(&self, account: AccountId, own: &OwnMailbox) -> Result<(), Fault> {
        self.call(self.durable.note_own(account, own)).await
    }

    async fn forget_own(&self, account: AccountId, name: &OwnName) -> Result<(), Fault> {
        self.call(self.durable.forget_own(account, name)).await
    }

    async fn own_mailboxes(&self, account: AccountId) -> Result<Vec<OwnMailbox>, Fault> {
        self.call(self.durable.own_mailboxes(account)).await
    }
}
