//! Two ledgers on one target: the mailbox that keeps the second one away. Tests that carry an id are
//! cases of the catalogue.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use mailhaul::config::{Delivery, Lock};
use mailhaul::event::Event;
use mailhaul::fault::Side;
use mailhaul::rehearsal::{Deed, Fault, Profile, Store};
use mailhaul::report::Verdict;
use mailhaul::simulation::between::Instead;
use mailhaul::simulation::ledger::CrashLedger;
use mailhaul::simulation::network::{Kill, TARGET_PORT};
use mailhaul::simulation::world::{Circumstances, INBOX, Report, World};

fn locking(target: Profile) -> World {
    let mut world = World::new(Profile::dovecot(), target);
    world.deliver(0..6);
    world.config.lock = Lock::Locked;
    world
}

fn has_lock(store: &Store) -> bool {
    locks(store) > 0
}

fn locks(store: &Store) -> usize {
    let there = store.mailboxes();
    there.iter().filter(|mailbox| mailbox.path[0].ends_with("-lock")).count()
}

/// Why the account failed, and what to do about it.
fn failed(report: &Report) -> Option<(&str, &str)> {
    report.events.iter().find_map(|event| match event {
        Event::AccountFailed { reason, hint, .. } => Some((reason.as_str(), hint.as_str())),
        _ => None,
    })
}

#[track_caller]
fn assert_refused(report: &Report) {
    let (reason, hint) = failed(report).expect("an account that fails");
    assert!(reason.contains("a mailhaul with another ledger works on this account"), "{reason}");
    assert!(hint.contains("--take-over"), "{hint}");
    assert_eq!(report.verdict, Verdict::Incomplete);
}

#[tokio::test(start_paused = true)]
async fn the_lock_is_there_while_an_account_is_worked_on_and_gone_afterwards() {
    for target in [Profile::dovecot(), Profile::cyrus(), Profile::courier()] {
        let mut world = locking(target);
        let (copy, seen) = (world.copy(), Arc::new(AtomicUsize::new(0)));
        let watched = seen.clone();
        world.on_event(move |event| {
            if matches!(event, Event::AccountListed { .. }) {
                watched.fetch_add(usize::from(has_lock(&copy)), Ordering::Relaxed);
            }
        });
        for runs in 1..=2 {
            world.run().await.assert_done(6);
            assert_eq!(seen.load(Ordering::Relaxed), runs);
            world.assert_copied();
        }
    }
}

/// A20
#[tokio::test(start_paused = true)]
async fn a_second_ledger_stops_at_the_lock_of_the_first_and_can_take_it_over() {
    let mut world = locking(Profile::dovecot());
    assert!(world.run_until(Kill::Sent(Side::Target, 1_000)).await.is_none());
    assert!(has_lock(&world.copy()));
    let first = std::mem::replace(&mut world.ledger, CrashLedger::new());
    let before = world.target.counters().command("APPEND");
    assert_refused(&world.run().await);
    assert_eq!(world.target.counters().command("APPEND"), before);
    assert_eq!(locks(&world.copy()), 1, "another's lock is left alone");
    // The first one knows its own.
    let second = std::mem::replace(&mut world.ledger, first);
    world.run().await.assert_done(6);
    world.assert_copied();
    // Somebody else's who will not come back.
    world.copy().create_mailbox(&["mailhaul-00000000000000ab-7-12-lock"], None).unwrap();
    world.ledger = second;
    assert_refused(&world.run().await);
    world.config.lock = Lock::TakenOver;
    assert_eq!(world.run().await.verdict, Verdict::Done);
    world.assert_copied();
    assert!(!has_lock(&world.copy()));
}

#[tokio::test(start_paused = true)]
async fn a_ledger_whose_lock_was_taken_does_not_take_the_others_for_its_own() {
    let mut world = locking(Profile::dovecot());
    assert!(world.run_until(Kill::Sent(Side::Target, 1_000)).await.is_none());
    let first = std::mem::replace(&mut world.ledger, CrashLedger::new());
    world.config.lock = Lock::TakenOver;
    let kill = Some(Kill::Sent(Side::Target, 1_500));
    // Another mailhaul has another random number.
    let taker = Circumstances { kill, seed: 8, ..Circumstances::default() };
    assert!(world.run_with(taker).await.is_none());
    assert_eq!(locks(&world.copy()), 1);
    let second = std::mem::replace(&mut world.ledger, first);
    world.config.lock = Lock::Locked;
    assert_refused(&world.run().await);
    world.ledger = second;
    world.run().await;
    world.assert_copied();
    assert!(!has_lock(&world.copy()));
}

#[tokio::test(start_paused = true)]
async fn two_ledgers_that_start_at_once_do_not_both_get_the_lock() {
    let mut world = locking(Profile::dovecot());
    let copy = world.copy();
    // The other one's comes between the first look and the one behind the lock.
    let meddle = move |_, response: &[u8]| {
        if locks(&copy) == 1 {
            let _ = copy.create_mailbox(&["mailhaul-00000000000000ab-7-12-lock"], None);
        }
        Instead::Say(response.to_vec())
    };
    world.network.meddle(TARGET_PORT, Box::new(meddle));
    assert_refused(&world.run().await);
    assert_eq!(world.target.counters().command("APPEND"), 0);
    assert_eq!(locks(&world.copy()), 1, "its own is taken back, the other's left alone");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_dies_anywhere_with_a_lock_is_gone_on_with_by_its_ledger() {
    for profile in [Profile::dovecot, Profile::courier] {
        for point in 1.. {
            let mut world = locking(profile());
            if world.run_until(Kill::Point(point)).await.is_some() {
                assert!(point > 30, "only {point} points");
                break;
            }
            world.run().await.assert_done(6);
            world.assert_copied();
            assert!(!has_lock(&world.copy()), "{point}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_makes_no_lock_gets_no_mail() {
    let mut world = locking(Profile::dovecot());
    world.target.faults().arm(Fault::always(Deed::RefuseCreate("mailhaul-".to_owned())));
    let report = world.run().await;
    let (reason, _) = failed(&report).expect("an account that fails");
    assert!(reason.contains("lock the account by the mailbox mailhaul-"), "{reason}");
    assert_eq!(world.copy().messages(&INBOX).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_makes_no_lock() {
    let mut world = locking(Profile::dovecot());
    world.config.dry_run = true;
    let told = Arc::new(Mutex::new(0));
    let (copy, locks) = (world.copy(), told.clone());
    world.on_event(move |_| *locks.lock().unwrap() += usize::from(has_lock(&copy)));
    world.run().await;
    assert_eq!(*told.lock().unwrap(), 0);
}

/// What the run warns of.
fn warnings(report: &Report) -> Vec<&str> {
    let warnings = report.events.iter().filter_map(|event| match event {
        Event::Warning { text, .. } => Some(text.as_str()),
        _ => None,
    });
    warnings.collect()
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_of_another_mailhaul_is_warned_of_and_left_alone() {
    let mut world = World::usual();
    world.deliver(0..3);
    let other = "mailhaul-00000000000000ab-7-12";
    world.copy().create_mailbox(&[other], None).unwrap();
    let report = world.run().await;
    report.assert_done(3);
    let warnings = warnings(&report);
    assert!(warnings.iter().any(|text| text.contains(other)), "{warnings:?}");
    assert!(world.copy().mailboxes().iter().any(|mailbox| mailbox.path == [other]));
}

#[tokio::test(start_paused = true)]
async fn a_lock_or_stage_of_our_own_is_not_warned_of() {
    let mut world = locking(Profile::dovecot());
    world.config.delivery = Delivery::Staged;
    assert!(world.run_until(Kill::Sent(Side::Target, 1_500)).await.is_none());
    let own = world.copy().mailboxes();
    assert!(own.iter().filter(|mailbox| mailbox.path[0].starts_with("mailhaul-")).count() > 1);
    let report = world.run().await;
    report.assert_done(6);
    assert_eq!(warnings(&report), [""; 0]);
}
