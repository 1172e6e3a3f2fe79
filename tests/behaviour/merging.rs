//! Two source mailboxes that end in one because the user says so: each message of both is there once.

use std::num::NonZeroU32;
use std::time::Duration;

use mailhaul::config::Delivery;
use mailhaul::fate::{Fate, RemarkKind};
use mailhaul::plan::rules::MapRule;
use mailhaul::rehearsal::{Deed, Fault, Matching, Profile};
use mailhaul::report::Verdict;
use mailhaul::simulation::ledger::CrashLedger;
use mailhaul::simulation::network::Kill;
use mailhaul::simulation::world::{World, letter};

const OLD: [&str; 1] = ["Old"];
const WORK: [&str; 1] = ["Work"];

/// `Old` goes to `Work`. Letter 2 is twice in one and once in the other, letter 1 in both.
fn merging(target: Profile) -> World {
    let mut world = World::new(Profile::dovecot(), target);
    for number in [1, 2, 2, 4] {
        world.anna().deliver(&OLD, letter(number));
    }
    for number in [1, 2, 3] {
        world.anna().deliver(&WORK, letter(number));
    }
    world.config.rules.map = vec![MapRule::parse("Old=Work").expect("a rule")];
    world.config.rules.merge = true;
    world
}

fn at(world: &World, path: &[&str]) -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> =
        world.copy().messages(path).into_iter().map(|one| one.body.to_vec()).collect();
    bodies.sort();
    bodies
}

#[track_caller]
fn assert_there(world: &World, numbers: &[u32]) {
    let mut bodies: Vec<Vec<u8>> =
        numbers.iter().map(|number| letter(*number).body.to_vec()).collect();
    bodies.sort();
    let here = at(world, &WORK);
    assert!(here == bodies, "{} messages instead of {}", here.len(), bodies.len());
    assert!(world.copy().mailboxes().iter().all(|one| one.path != OLD));
}

#[tokio::test(start_paused = true)]
async fn two_mailboxes_end_in_one_with_every_message_of_both() {
    for delivery in [Delivery::Direct, Delivery::Staged] {
        for connections in [1, 3] {
            let mut world = merging(Profile::dovecot());
            world.config.delivery = delivery;
            world.config.connections_max = connections;
            world.run().await.assert_done(7);
            assert_there(&world, &[1, 2, 2, 4, 1, 2, 3]);
            world.run().await.assert_done(7);
            world.anna().deliver(&WORK, letter(2));
            world.anna().deliver(&OLD, letter(5));
            for _ in 0..2 {
                world.run().await.assert_done(9);
                assert_there(&world, &[1, 2, 2, 4, 1, 2, 3, 2, 5]);
            }
            assert_eq!(world.target.counters().appended, 9);
        }
    }
}

/// Enough for several connections, which would write into the same mailbox.
#[tokio::test(start_paused = true)]
async fn only_one_connection_at_a_time_writes_into_a_mailbox() {
    let mut world = merging(Profile::dovecot());
    for number in 10..130 {
        world.anna().deliver(&OLD, letter(number));
        world.anna().deliver(&WORK, letter(number));
        world.anna().deliver(&["Else"], letter(number));
    }
    world.config.connections_max = 3;
    world.config.rates.account_messages = NonZeroU32::new(100);
    world.run().await.assert_done(7 + 3 * 120);
    // What came from one mailbox stands together.
    let numbers: Vec<bool> = {
        let old = world.anna().messages(&OLD);
        let bodies: Vec<_> = world.copy().messages(&WORK);
        let is_old = |index: usize| {
            let slice = &bodies[index..index + old.len()];
            slice.iter().map(|one| &one.body).eq(old.iter().map(|one| &one.body))
        };
        vec![is_old(0), is_old(bodies.len() - old.len())]
    };
    assert!(numbers.contains(&true), "the two were mixed");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_merges_and_is_killed_anywhere_is_resumed() {
    for delivery in [Delivery::Direct, Delivery::Staged] {
        let mut whole = merging(Profile::dovecot());
        whole.config.delivery = delivery;
        whole.run().await.assert_done(7);
        for point in 1..=whole.points {
            let mut world = merging(Profile::dovecot());
            world.config.delivery = delivery;
            assert!(world.run_until(Kill::Point(point)).await.is_none(), "{point}");
            let report = world.run().await;
            assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Done, 7), "{point}");
            assert_there(&world, &[1, 2, 2, 4, 1, 2, 3]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_merged_is_recognised_without_its_ledger_and_under_new_uids() {
    let mut world = merging(Profile::dovecot());
    world.run().await.assert_done(7);
    for path in [&OLD, &WORK] {
        assert!(world.anna().bump_uid_validity(path).is_some());
    }
    assert!(world.copy().bump_uid_validity(&WORK).is_some());
    let report = world.run().await;
    assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Done, 7));
    world.ledger = CrashLedger::new();
    let report = world.run().await;
    assert_eq!((report.verdict, report.fate(Fate::Adopted)), (Verdict::Done, 7));
    assert_there(&world, &[1, 2, 2, 4, 1, 2, 3]);
    assert_eq!(world.target.counters().appended, 7);
}

#[tokio::test(start_paused = true)]
async fn a_second_copy_stays_told_where_a_mailbox_without_mail_goes_to_the_same_place() {
    let mut world = World::usual();
    world.anna().deliver(&WORK, letter(1));
    world.anna().create_mailbox(&["Zero"], None).expect("there is none");
    world.config.rules.map = vec![MapRule::parse("Zero=Work").expect("a rule")];
    world.config.rules.merge = true;
    world.config.idle_timeout = Duration::from_secs(1);
    let late = Deed::CommitLate(Matching::Any, Duration::from_secs(300));
    world.target.faults().arm(Fault::once(late));
    world.run().await.assert_done(1);
    world.target.settle().await;
    assert_eq!(at(&world, &WORK).len(), 2);
    for _ in 0..2 {
        let report = world.run().await;
        assert_eq!(report.remarked(RemarkKind::PossibleDuplicate), 1);
        assert_eq!(report.verdict, Verdict::InDoubt);
    }
}

#[tokio::test(start_paused = true)]
async fn without_being_asked_two_mailboxes_stay_two() {
    let mut world = merging(Profile::dovecot());
    world.config.rules.merge = false;
    world.run().await.assert_done(7);
    assert_eq!((at(&world, &WORK).len(), at(&world, &["Work (2)"]).len()), (3, 4));
}

/// What was sent for the one and could not be looked at afterwards is no earlier mail of the other's.
#[tokio::test(start_paused = true)]
async fn what_one_of_them_has_in_doubt_is_not_the_others() {
    for delivery in [Delivery::Direct, Delivery::Staged] {
        for first in 0..10 {
            let mut world = World::usual();
            let mut larger = letter(1);
            larger.body = [&*larger.body, &[b'x'; 500], b"\r\n"].concat().into();
            world.anna().deliver(&OLD, larger);
            world.anna().deliver(&WORK, letter(1));
            world.config.rules.map = vec![MapRule::parse("Old=Work").expect("a rule")];
            world.config.rules.merge = true;
            world.config.delivery = delivery;
            world.config.connections_max = 1;
            let no = Deed::Answer("UID FETCH".to_owned(), "NO not now".to_owned());
            world.target.faults().arm(Fault::once(no).times(3).after(first));
            loop {
                let report = world.run().await;
                assert_eq!(report.fate(Fate::Adopted), 0, "{delivery:?} {first}");
                if report.verdict == Verdict::Done {
                    break;
                }
                assert!(world.target.counters().connections < 20, "{delivery:?} {first}");
            }
            assert_eq!(at(&world, &WORK).len(), 2, "{delivery:?} {first}");
        }
    }
}
