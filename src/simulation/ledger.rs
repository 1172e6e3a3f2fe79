//! A ledger that may lose what was only queued, as a crash does.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::fate::RemarkKind;
use crate::fault::Fault;
use crate::history::{Entry, History};
use crate::ledger::sqlite::SqliteLedger;
use crate::ledger::{
    AccountId, AccountName, AccountState, Binding, BoundMailbox, Claim, Dissolved, Doubted, Ledger,
    MailboxId, MoveIntent, NewStage, NewWindow, OpenWindow, Outcome, OwnMailbox, RemarkCursor,
    RemarkRow, ScanTotals, Settlement, Snapshot, Stage, StageId, Watermark, WindowId,
};
use crate::mail::{Flags, Uid, UidValidity};
use crate::own::OwnName;
use crate::target::ObjectId;
use tokio::sync::{Mutex, MutexGuard};

/// A ledger in memory that keeps what is only queued until something must be durable.
#[derive(Clone)]
pub struct CrashLedger {
    durable: SqliteLedger,
    queued: Arc<Mutex<Vec<Queued>>>,
}

enum Queued {
    Record(MailboxId, Vec<Outcome>),
    Close(WindowId, MailboxId, Vec<Outcome>),
    Scanned(MailboxId, ScanTotals),
    Watermark(MailboxId, Watermark),
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
        Self { durable, queued: Arc::default() }
    }

    /// Loses what was only queued.
    pub async fn crash(&self) {
        self.queued.lock().await.clear();
    }

    async fn queue(&self, queued: Queued) -> Result<(), Fault> {
        self.queued.lock().await.push(queued);
        Ok(())
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
        let _queue = self.written().await?;
        self.durable.claim(account).await
    }

    async fn mailboxes(&self, account: AccountId) -> Result<Vec<BoundMailbox>, Fault> {
        let _queue = self.written().await?;
        self.durable.mailboxes(account).await
    }

    async fn bind(&self, account: AccountId, binding: &Binding) -> Result<MailboxId, Fault> {
        let _queue = self.written().await?;
        self.durable.bind(account, binding).await
    }

    async fn history(
        &self,
        mailbox: MailboxId,
        uids: RangeInclusive<Uid>,
    ) -> Result<History, Fault> {
        let _queue = self.written().await?;
        self.durable.history(mailbox, uids).await
    }

    async fn claimed(&self, mailbox: MailboxId, lo: Uid) -> Result<Vec<Uid>, Fault> {
        let _queue = self.written().await?;
        self.durable.claimed(mailbox, lo).await
    }

    async fn twins(
        &self,
        mailbox: MailboxId,
        headers: BTreeSet<u64>,
    ) -> Result<Vec<(MailboxId, Uid, Entry)>, Fault> {
        let _queue = self.written().await?;
        self.durable.twins(mailbox, headers).await
    }

    async fn doubted(&self, mailbox: MailboxId) -> Result<Vec<Doubted>, Fault> {
        let _queue = self.written().await?;
        self.durable.doubted(mailbox).await
    }

    async fn open_windows(&self, account: AccountId) -> Result<Vec<OpenWindow>, Fault> {
        let _queue = self.written().await?;
        self.durable.open_windows(account).await
    }

    async fn open(&self, window: &NewWindow) -> Result<WindowId, Fault> {
        let _queue = self.written().await?;
        self.durable.open(window).await
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

    async fn settle(&self, settlement: Settlement) -> Result<(), Fault> {
        let _queue = self.written().await?;
        self.durable.settle(settlement).await
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

    async fn intend_flags(
        &self,
        mailbox: MailboxId,
        flags: Vec<(Uid, Flags)>,
    ) -> Result<(), Fault> {
        let _queue = self.written().await?;
        self.durable.intend_flags(mailbox, flags).await
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
        let _queue = self.written().await?;
        self.durable.renumber(old, new, uids).await
    }

    async fn reset_target(&self, mailbox: MailboxId, validity: UidValidity) -> Result<(), Fault> {
        let _queue = self.written().await?;
        self.durable.reset_target(mailbox, validity).await
    }

    async fn scanned(&self, mailbox: MailboxId, scan: ScanTotals) -> Result<(), Fault> {
        self.queue(Queued::Scanned(mailbox, scan)).await
    }

    async fn set_watermark(&self, mailbox: MailboxId, watermark: Watermark) -> Result<(), Fault> {
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
        let _queue = self.written().await?;
        self.durable.set_account_state(account, state, reason).await
    }

    async fn flush(&self) -> Result<(), Fault> {
        let _queue = self.written().await?;
        self.durable.flush().await
    }

    async fn snapshot(&self) -> Result<Snapshot, Fault> {
        let _queue = self.written().await?;
        self.durable.snapshot().await
    }

    async fn remarks(
        &self,
        after: Option<RemarkCursor>,
        limit: usize,
    ) -> Result<Vec<RemarkRow>, Fault> {
        let _queue = self.written().await?;
        self.durable.remarks(after, limit).await
    }

    async fn open_stage(&self, stage: &NewStage) -> Result<StageId, Fault> {
        let _queue = self.written().await?;
        self.durable.open_stage(stage).await
    }

    async fn open_in_stage(&self, stage: StageId, window: &NewWindow) -> Result<WindowId, Fault> {
        let _queue = self.written().await?;
        self.durable.open_in_stage(stage, window).await
    }

    async fn intend_move(&self, stage: StageId, intent: &MoveIntent) -> Result<(), Fault> {
        let _queue = self.written().await?;
        self.durable.intend_move(stage, intent).await
    }

    async fn note_arrived(&self, stage: StageId, staged: Vec<Uid>) -> Result<(), Fault> {
        let _queue = self.written().await?;
        self.durable.note_arrived(stage, staged).await
    }

    async fn deliver_stage(
        &self,
        stage: StageId,
        mailbox: MailboxId,
        outcomes: Vec<Outcome>,
    ) -> Result<(), Fault> {
        let _queue = self.written().await?;
        self.durable.deliver_stage(stage, mailbox, outcomes).await
    }

    async fn dissolve_stage(
        &self,
        stage: StageId,
        mailbox: MailboxId,
        dissolved: Dissolved,
    ) -> Result<(), Fault> {
        let _queue = self.written().await?;
        self.durable.dissolve_stage(stage, mailbox, dissolved).await
    }

    async fn stages(&self, account: AccountId) -> Result<Vec<Stage>, Fault> {
        let _queue = self.written().await?;
        self.durable.stages(account).await
    }

    async fn moved_ids(
        &self,
        mailbox: MailboxId,
    ) -> Result<Vec<(MailboxId, Uid, ObjectId)>, Fault> {
        let _queue = self.written().await?;
        self.durable.moved_ids(mailbox).await
    }

    async fn note_own(&self, account: AccountId, own: &OwnMailbox) -> Result<(), Fault> {
        let _queue = self.written().await?;
        self.durable.note_own(account, own).await
    }

    async fn forget_own(&self, account: AccountId, name: &OwnName) -> Result<(), Fault> {
        let _queue = self.written().await?;
        self.durable.forget_own(account, name).await
    }

    async fn own_mailboxes(&self, account: AccountId) -> Result<Vec<OwnMailbox>, Fault> {
        let _queue = self.written().await?;
        self.durable.own_mailboxes(account).await
    }
}
