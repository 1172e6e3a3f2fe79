//! Random sequences of calls, crashes among them, compared with a model in memory.

use std::collections::BTreeMap;

use mailhaul::fate::{Fate, Remark, RemarkKind};
use mailhaul::history::{Entry, Troubles};
use mailhaul::ledger::{Ledger, MailboxId, NewWindow, Outcome, WindowId};
use mailhaul::mail::{Flags, InternalDate, Uid};
use proptest::prelude::*;

use crate::ledger::{ALL, Durable, Place, account, binding, window};
use crate::sqlite::File;

#[derive(Debug, Clone)]
enum Call {
    Open {
        mailbox: usize,
        uids: Vec<u32>,
    },
    Close {
        nth: usize,
        outcomes: Vec<Outcome>,
    },
    Record {
        mailbox: usize,
        outcomes: Vec<Outcome>,
    },
    /// Everything is on the disk, then the process is killed.
    Crash,
}

#[derive(Default)]
struct Model {
    entries: BTreeMap<(MailboxId, Uid), Entry>,
    notes: BTreeMap<(MailboxId, Uid), Vec<Remark>>,
    windows: BTreeMap<WindowId, NewWindow>,
}

impl Model {
    fn record(&mut self, mailbox: MailboxId, outcomes: Vec<Outcome>) {
        for outcome in outcomes {
            let key = (mailbox, outcome.uid);
            self.entries.insert(key, outcome.entry);
            self.notes.insert(key, outcome.remarks);
        }
    }
}

fn outcomes() -> impl Strategy<Value = Vec<Outcome>> {
    let entry = (
        prop::sample::select(Fate::ALL.as_slice()),
        prop::option::of(1_u32..50),
        0_u64..1_000_000,
        prop::option::of((-4_000_000_000_i64..4_000_000_000, -720_i16..840)),
        (0_u8..32, prop::collection::vec("[a-c]{1,3}", 0..20)),
        0_u8..4,
    );
    let entry = entry.prop_map(|(fate, target_uid, size, date, (bits, keywords), doubts)| Entry {
        fate,
        target_uid: target_uid.map(Uid),
        size,
        date: date.map(|(seconds, offset)| InternalDate::new(seconds, offset)),
        flags: Flags::from_parts(bits, keywords.iter().map(String::as_str)),
        digest: None,
        troubles: Troubles { doubts, losses: doubts / 2 },
        risky: doubts == 1,
        changed: None,
    });
    let kinds = prop::sample::subsequence(RemarkKind::ALL.to_vec(), 0..3);
    let outcome = (1_u32..20, entry, kinds).prop_map(|(uid, entry, kinds)| Outcome {
        uid: Uid(uid),
        entry,
        remarks: kinds.into_iter().map(|kind| Remark::new(kind, "because")).collect(),
        subject: None,
    });
    prop::collection::vec(outcome, 0..6)
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let call = prop_oneof![
        2 => (0..2_usize, prop::collection::vec(1_u32..20, 0..4))
            .prop_map(|(mailbox, uids)| Call::Open { mailbox, uids }),
        2 => (0..4_usize, outcomes()).prop_map(|(nth, outcomes)| Call::Close { nth, outcomes }),
        3 => (0..2_usize, outcomes())
            .prop_map(|(mailbox, outcomes)| Call::Record { mailbox, outcomes }),
        1 => Just(Call::Crash),
    ];
    prop::collection::vec(call, 0..25)
}

async fn replay(calls: Vec<Call>) {
    let mut place = File::new();
    let mut ledger = place.open().await.unwrap();
    let mut model = Model::default();
    let mut claim = ledger.claim(&account("anna")).await.unwrap();
    let mut mailboxes = Vec::new();
    for name in ["a", "b"] {
        mailboxes.push(ledger.bind(claim.account, &binding(name, "t")).await.unwrap());
    }
    for call in calls {
        match call {
            Call::Open { mailbox, uids } => {
                let window = window(mailboxes[mailbox], claim, uids);
                let id = ledger.open(&window).await.unwrap();
                model.windows.insert(id, window);
            }
            Call::Close { nth, outcomes } => {
                let Some((id, window)) = model.windows.iter().nth(nth) else {
                    continue;
                };
                let (id, mailbox) = (*id, window.mailbox);
                Ledger::close(&ledger, id, mailbox, outcomes.clone()).await.unwrap();
                model.windows.remove(&id);
                model.record(mailbox, outcomes);
            }
            Call::Record { mailbox, outcomes } => {
                ledger.record(mailboxes[mailbox], outcomes.clone()).await.unwrap();
                model.record(mailboxes[mailbox], outcomes);
            }
            Call::Crash => {
                ledger.flush().await.unwrap();
                place = place.crash();
                ledger = place.open().await.unwrap();
                claim = ledger.claim(&account("anna")).await.unwrap();
            }
        }
    }
    compare(&ledger, &model, &mailboxes, claim.account).await;
}

async fn compare(
    ledger: &impl Ledger,
    model: &Model,
    mailboxes: &[MailboxId],
    account: mailhaul::ledger::AccountId,
) {
    let mut entries = BTreeMap::new();
    for mailbox in mailboxes {
        let history = ledger.history(*mailbox, ALL).await.unwrap();
        entries.extend(history.iter().map(|(uid, entry)| ((*mailbox, uid), entry.clone())));
    }
    assert_eq!(entries, model.entries);
    let zones = |entries: &BTreeMap<_, Entry>| -> Vec<_> {
        entries.values().map(|e| e.date.map(InternalDate::offset_minutes)).collect()
    };
    assert_eq!(zones(&entries), zones(&model.entries));
    let windows = ledger.open_windows(account).await.unwrap();
    let windows: BTreeMap<_, _> = windows.into_iter().map(|w| (w.id, w.window)).collect();
    assert_eq!(windows, model.windows);
    let mut notes: BTreeMap<_, Vec<Remark>> = BTreeMap::new();
    for row in ledger.remarks(None, usize::MAX).await.unwrap() {
        notes.entry((row.cursor.mailbox, row.uid)).or_default().push(row.remark);
    }
    let mut expected = model.notes.clone();
    expected.retain(|_, remarks| !remarks.is_empty());
    assert_eq!(notes, expected);
    let snapshot = ledger.snapshot().await.unwrap();
    let counted: u64 = snapshot.accounts[0]
        .mailboxes
        .iter()
        .flat_map(|m| m.fates.values())
        .map(|c| c.messages)
        .sum();
    assert_eq!(counted, model.entries.len() as u64);
    let mut claimed: Vec<Uid> = model
        .entries
        .values()
        .filter(|e| matches!(e.fate, Fate::Copied | Fate::Adopted | Fate::Merged))
        .filter_map(|e| e.target_uid)
        .collect();
    claimed.sort();
    claimed.dedup();
    assert_eq!(ledger.claimed(mailboxes[0], Uid::FIRST).await.unwrap(), claimed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_was_told_is_there_after_any_crashes(calls in calls()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(replay(calls));
    }
}
