//! What every [`Ledger`] promises of copies that are about to be moved.

use mailhaul::fate::Fate;
use mailhaul::fault::Scope;
use mailhaul::ledger::{Claim, Ledger, MailboxId, NewMove, Settlement};
use mailhaul::mail::Uid;

use crate::ledger::{Durable, Place, account, binding, copied, entry, outcome};

/// Tests of all promises about moves; those of a crash where it is `durable`.
macro_rules! move_suite {
    ($place:ty: $($promise:ident)*) => {
        $(#[tokio::test]
        async fn $promise() {
            crate::moves::$promise(<$place as crate::ledger::Place>::new()).await;
        })*
    };
    (durable $place:ty) => {
        crate::moves::move_suite!($place);
        crate::moves::move_suite! { $place: an_intended_move_survives_a_crash }
    };
    ($place:ty) => {
        crate::moves::move_suite! { $place:
            a_move_is_open_until_it_is_settled
            a_stale_claim_intends_no_move
        }
    };
}

pub(crate) use move_suite;

async fn begin<P: Place>(place: &P) -> (P::Ledger, Claim, MailboxId, MailboxId) {
    let ledger = place.open().await.unwrap();
    let claim = ledger.claim(&account("anna")).await.unwrap();
    let from = ledger.bind(claim.account, &binding("INBOX", "INBOX")).await.unwrap();
    let to = ledger.bind(claim.account, &binding("Work", "Work")).await.unwrap();
    ledger.record(from, vec![copied(7)]).await.unwrap();
    (ledger, claim, from, to)
}

fn intent(from: MailboxId, to: MailboxId) -> NewMove {
    NewMove { from: (from, Uid(7)), to: (to, Uid(3)), target_uid: Uid(1_007), lo: Uid(20) }
}

pub(crate) async fn a_move_is_open_until_it_is_settled(place: impl Place) {
    let (ledger, claim, from, to) = begin(&place).await;
    let intended = ledger.intend_moves(claim, vec![intent(from, to)]).await.unwrap();
    assert_eq!(ledger.open_moves(claim.account).await.unwrap(), intended);
    assert_eq!(intended[0].intent, intent(from, to));
    let other = ledger.claim(&account("ben")).await.unwrap();
    assert_eq!(ledger.open_moves(other.account).await.unwrap(), []);
    let settlement = Settlement {
        moves: vec![intended[0].id],
        outcomes: vec![
            (from, outcome(7, entry(Fate::Gone, None, 10))),
            (to, outcome(3, entry(Fate::Copied, Some(21), 10))),
        ],
        ..Settlement::default()
    };
    ledger.settle(settlement).await.unwrap();
    assert_eq!(ledger.open_moves(claim.account).await.unwrap(), []);
    assert_eq!(ledger.claimed(from, Uid::FIRST).await.unwrap(), []);
    assert_eq!(ledger.claimed(to, Uid::FIRST).await.unwrap(), [Uid(21)]);
}

pub(crate) async fn a_stale_claim_intends_no_move(place: impl Place) {
    let (ledger, claim, from, to) = begin(&place).await;
    ledger.claim(&account("anna")).await.unwrap();
    let fault = ledger.intend_moves(claim, vec![intent(from, to)]).await.unwrap_err();
    assert_eq!(fault.scope, Scope::Account);
    assert_eq!(ledger.open_moves(claim.account).await.unwrap(), []);
}

pub(crate) async fn an_intended_move_survives_a_crash(place: impl Durable) {
    let (ledger, claim, from, to) = begin(&place).await;
    let intended = ledger.intend_moves(claim, vec![intent(from, to)]).await.unwrap();
    let after = place.crash().open().await.unwrap();
    assert_eq!(after.open_moves(claim.account).await.unwrap(), intended);
    assert_eq!(after.claimed(from, Uid::FIRST).await.unwrap(), [Uid(1_007)]);
}
