//! What every [`Ledger`] promises of mailboxes of our own at the target.

use mailhaul::fate::Fate;
use mailhaul::fault::Scope;
use mailhaul::ledger::{
    Claim, Dissolved, Ledger, MailboxId, MoveIntent, NewStage, OwnMailbox, Removal, Stage,
    StagedMessage,
};
use mailhaul::mail::{Uid, WireName};
use mailhaul::own::{OwnName, Serial};
use mailhaul::target::ObjectId;

use crate::ledger::{ALL, Durable, Place, account, binding, copied, entry, outcome, window};

/// Tests of all promises about stages; those of a crash where it is `durable`.
macro_rules! stage_suite {
    ($place:ty: $($promise:ident)*) => {
        $(#[tokio::test]
        async fn $promise() {
            crate::stages::$promise(<$place as crate::ledger::Place>::new()).await;
        })*
    };
    (durable $place:ty) => {
        crate::stages::stage_suite!($place);
        crate::stages::stage_suite! { $place: every_step_of_a_stage_survives_a_crash }
    };
    ($place:ty) => {
        crate::stages::stage_suite! { $place:
            a_window_in_a_stage_is_told_with_its_stage_only
            an_intent_is_read_as_it_was_noted
            a_delivered_stage_is_remembered_until_it_is_gone
            what_was_in_a_stage_that_is_gone_is_owed_or_in_doubt
            a_stale_claim_makes_no_stage
            the_ids_of_what_was_moved_are_known_for_the_target_mailbox
            own_mailboxes_are_remembered_until_they_are_gone
        }
    };
}

pub(crate) use stage_suite;

fn name(number: u32) -> OwnName {
    OwnName::stage(Serial { run: 1, epoch: 1, number })
}

fn new_stage(mailbox: MailboxId, claim: Claim, number: u32) -> NewStage {
    NewStage { mailbox, epoch: claim.epoch, name: name(number) }
}

fn staged(staged: u32, uid: u32, id: Option<&str>) -> StagedMessage {
    let object_id = id.map(|id| ObjectId::Delivery(id.to_owned()));
    StagedMessage { staged: Uid(staged), uid: Uid(uid), object_id, arrived: false }
}

async fn begin<P: Place>(place: &P) -> (P::Ledger, Claim, MailboxId) {
    let ledger = place.open().await.unwrap();
    let claim = ledger.claim(&account("anna")).await.unwrap();
    let mailbox = ledger.bind(claim.account, &binding("INBOX", "INBOX")).await.unwrap();
    (ledger, claim, mailbox)
}

async fn only_stage(ledger: &impl Ledger, claim: Claim) -> Stage {
    let mut stages = ledger.stages(claim.account).await.unwrap();
    assert_eq!(stages.len(), 1);
    stages.remove(0)
}

pub(crate) async fn a_window_in_a_stage_is_told_with_its_stage_only(place: impl Place) {
    let (ledger, claim, mailbox) = begin(&place).await;
    let stage = ledger.open_stage(&new_stage(mailbox, claim, 1)).await.unwrap();
    let inside = window(mailbox, claim, 1..=2);
    let id = ledger.open_in_stage(stage, &inside).await.unwrap();
    let direct = ledger.open(&window(mailbox, claim, [3])).await.unwrap();
    let open = ledger.open_windows(claim.account).await.unwrap();
    assert_eq!(open.iter().map(|open| open.id).collect::<Vec<_>>(), [direct]);
    assert!(!open[0].acknowledged);
    let found = only_stage(&ledger, claim).await;
    assert_eq!(
        (found.id, &found.stage, &found.intent),
        (stage, &new_stage(mailbox, claim, 1), &None)
    );
    assert_eq!((found.windows[0].id, &found.windows[0].window), (id, &inside));
    let snapshot = ledger.snapshot().await.unwrap();
    assert_eq!(snapshot.accounts[0].mailboxes[0].in_doubt, 3);
    let other = ledger.claim(&account("ben")).await.unwrap();
    assert_eq!(ledger.stages(other.account).await.unwrap(), []);
}

pub(crate) async fn an_intent_is_read_as_it_was_noted(place: impl Place) {
    let (ledger, claim, mailbox) = begin(&place).await;
    let stage = ledger.open_stage(&new_stage(mailbox, claim, 1)).await.unwrap();
    let mut third = staged(3, 9, None);
    third.object_id = Some(ObjectId::Content("M1".to_owned()));
    let mut intent = MoveIntent {
        lo: Uid(70),
        messages: vec![staged(1, 7, Some("g1")), staged(2, 8, None), third],
    };
    ledger.intend_move(stage, &intent).await.unwrap();
    assert_eq!(only_stage(&ledger, claim).await.intent.as_ref(), Some(&intent));
    ledger.note_arrived(stage, vec![Uid(1), Uid(3), Uid(99)]).await.unwrap();
    intent.messages[0].arrived = true;
    intent.messages[2].arrived = true;
    assert_eq!(only_stage(&ledger, claim).await.intent, Some(intent));
}

pub(crate) async fn a_delivered_stage_is_remembered_until_it_is_gone(place: impl Place) {
    let (ledger, claim, mailbox) = begin(&place).await;
    let stage = ledger.open_stage(&new_stage(mailbox, claim, 1)).await.unwrap();
    ledger.open_in_stage(stage, &window(mailbox, claim, [1])).await.unwrap();
    let intent = MoveIntent { lo: Uid(70), messages: vec![staged(1, 1, Some("g"))] };
    ledger.intend_move(stage, &intent).await.unwrap();
    ledger.deliver_stage(stage, mailbox, vec![copied(1)]).await.unwrap();
    let found = only_stage(&ledger, claim).await;
    assert_eq!((found.windows, found.intent), (Vec::new(), None));
    assert_eq!(ledger.claimed(mailbox, Uid(1)).await.unwrap(), [Uid(1_001)]);
    ledger.dissolve_stage(stage, mailbox, Dissolved::default()).await.unwrap();
    assert_eq!(ledger.stages(claim.account).await.unwrap(), []);
    assert_eq!(ledger.open_windows(claim.account).await.unwrap(), []);
    // A name is never used again, nor is an id.
    let next = ledger.open_stage(&new_stage(mailbox, claim, 2)).await.unwrap();
    assert!(next > stage);
}

pub(crate) async fn what_was_in_a_stage_that_is_gone_is_owed_or_in_doubt(place: impl Place) {
    let (ledger, claim, mailbox) = begin(&place).await;
    let stage = ledger.open_stage(&new_stage(mailbox, claim, 1)).await.unwrap();
    ledger.open_in_stage(stage, &window(mailbox, claim, 1..=3)).await.unwrap();
    let intent = MoveIntent { lo: Uid(70), messages: vec![staged(1, 1, None), staged(2, 2, None)] };
    ledger.intend_move(stage, &intent).await.unwrap();
    let dissolved = Dissolved {
        outcomes: vec![outcome(3, entry(Fate::Pending, None, 10))],
        in_doubt: vec![window(mailbox, claim, [1])],
        arrived: vec![window(mailbox, claim, [2])],
    };
    ledger.dissolve_stage(stage, mailbox, dissolved.clone()).await.unwrap();
    let open = ledger.open_windows(claim.account).await.unwrap();
    let told: Vec<_> = open.into_iter().map(|open| (open.window, open.acknowledged)).collect();
    let Dissolved { mut in_doubt, mut arrived, .. } = dissolved;
    assert_eq!(told, [(in_doubt.remove(0), false), (arrived.remove(0), true)]);
    let history = ledger.history(mailbox, ALL).await.unwrap();
    assert_eq!(history.iter().map(|(uid, _)| uid.0).collect::<Vec<_>>(), [3]);
    assert_eq!(ledger.stages(claim.account).await.unwrap(), []);
}

pub(crate) async fn a_stale_claim_makes_no_stage(place: impl Place) {
    let (ledger, claim, mailbox) = begin(&place).await;
    let stage = ledger.open_stage(&new_stage(mailbox, claim, 1)).await.unwrap();
    ledger.claim(&account("anna")).await.unwrap();
    let fault = ledger.open_stage(&new_stage(mailbox, claim, 2)).await.unwrap_err();
    assert_eq!(fault.scope, Scope::Account);
    let fault = ledger.open_in_stage(stage, &window(mailbox, claim, [1])).await.unwrap_err();
    assert_eq!(fault.scope, Scope::Account);
    let found = only_stage(&ledger, claim).await;
    assert_eq!((found.id, found.windows.len()), (stage, 0));
}

pub(crate) async fn the_ids_of_what_was_moved_are_known_for_the_target_mailbox(place: impl Place) {
    let (ledger, claim, mailbox) = begin(&place).await;
    let beside = ledger.bind(claim.account, &binding("Other", "INBOX")).await.unwrap();
    let apart = ledger.bind(claim.account, &binding("Apart", "Apart")).await.unwrap();
    let stage = ledger.open_stage(&new_stage(mailbox, claim, 1)).await.unwrap();
    let intent =
        MoveIntent { lo: Uid(70), messages: vec![staged(1, 7, Some("g")), staged(2, 8, None)] };
    ledger.intend_move(stage, &intent).await.unwrap();
    assert_eq!(ledger.moved_ids(beside).await.unwrap(), []);
    ledger.dissolve_stage(stage, mailbox, Dissolved::default()).await.unwrap();
    let known = [(mailbox, Uid(7), ObjectId::Delivery("g".to_owned()))];
    assert_eq!(ledger.moved_ids(beside).await.unwrap(), known);
    assert_eq!(ledger.moved_ids(apart).await.unwrap(), []);
}

fn lock() -> OwnMailbox {
    let name = OwnName::lock(Serial { run: 1, epoch: 1, number: 2 });
    OwnMailbox { name, removal: None }
}

pub(crate) async fn own_mailboxes_are_remembered_until_they_are_gone(place: impl Place) {
    let (ledger, claim, _) = begin(&place).await;
    let quarantine = OwnMailbox {
        name: OwnName::quarantine(Serial { run: 1, epoch: 1, number: 1 }),
        removal: Some(Removal { target_name: WireName(b"INBOX".to_vec()), target_uid: Uid(7) }),
    };
    let lock = lock();
    for own in [&lock, &quarantine, &lock] {
        ledger.note_own(claim.account, own).await.unwrap();
    }
    let found = ledger.own_mailboxes(claim.account).await.unwrap();
    assert_eq!(found, [quarantine.clone(), lock.clone()]);
    ledger.forget_own(claim.account, &quarantine.name).await.unwrap();
    ledger.forget_own(claim.account, &quarantine.name).await.unwrap();
    assert_eq!(ledger.own_mailboxes(claim.account).await.unwrap(), [lock]);
    let other = ledger.claim(&account("ben")).await.unwrap();
    assert_eq!(ledger.own_mailboxes(other.account).await.unwrap(), []);
}

pub(crate) async fn every_step_of_a_stage_survives_a_crash(place: impl Durable) {
    let (ledger, claim, mailbox) = begin(&place).await;
    let stage = ledger.open_stage(&new_stage(mailbox, claim, 1)).await.unwrap();
    same_after_a_crash(&place, &ledger, claim).await;
    ledger.open_in_stage(stage, &window(mailbox, claim, 1..=2)).await.unwrap();
    same_after_a_crash(&place, &ledger, claim).await;
    let intent = MoveIntent { lo: Uid(70), messages: vec![staged(1, 1, Some("g"))] };
    ledger.intend_move(stage, &intent).await.unwrap();
    same_after_a_crash(&place, &ledger, claim).await;
    ledger.note_arrived(stage, vec![Uid(1)]).await.unwrap();
    same_after_a_crash(&place, &ledger, claim).await;
    ledger.deliver_stage(stage, mailbox, vec![copied(1)]).await.unwrap();
    same_after_a_crash(&place, &ledger, claim).await;
    ledger.dissolve_stage(stage, mailbox, Dissolved::default()).await.unwrap();
    same_after_a_crash(&place, &ledger, claim).await;
    ledger.note_own(claim.account, &lock()).await.unwrap();
    same_after_a_crash(&place, &ledger, claim).await;
}

async fn same_after_a_crash(place: &impl Durable, ledger: &impl Ledger, claim: Claim) {
    let found = place.crash().open().await.unwrap();
    let account = claim.account;
    assert_eq!(found.stages(account).await.unwrap(), ledger.stages(account).await.unwrap());
    assert_eq!(found.snapshot().await.unwrap(), ledger.snapshot().await.unwrap());
    let (found, ours) = (found.own_mailboxes(account).await, ledger.own_mailboxes(account).await);
    assert_eq!(found.unwrap(), ours.unwrap());
}
