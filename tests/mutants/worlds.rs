//! For each deliberate bug the smallest world that shows it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mailhaul::config::{Adopt, Delivery};
use mailhaul::fate::{Fate, RemarkKind};
use mailhaul::plan::rules::MapRule;
use mailhaul::rehearsal::{Deed, Fault, Matching, Message, Slowness};
use mailhaul::report::Verdict;
use mailhaul::simulation::between::Instead;
use mailhaul::simulation::network::{Kill, SOURCE_PORT, TARGET_PORT};
use mailhaul::simulation::world::{INBOX, World, letter};

/// Mutant 1
#[tokio::test(start_paused = true)]
async fn an_append_that_takes_effect_late_is_waited_for() {
    let mut world = World::usual();
    world.deliver(0..1);
    // Later than the pause before the next try, which is no settling.
    world.config.settle = Duration::from_secs(60);
    world.config.settle_max = Duration::from_secs(60);
    world.config.idle_timeout = Duration::from_secs(1);
    let late = Deed::CommitLate(Matching::Any, Duration::from_secs(40));
    world.target.faults().arm(Fault::once(late));
    world.run().await.assert_done(1);
    world.target.settle().await;
    world.assert_copied();
}

/// Mutant 2
#[tokio::test(start_paused = true)]
async fn an_append_that_takes_effect_late_finds_no_stage() {
    let mut world = World::usual();
    world.deliver(0..1);
    world.config.delivery = Delivery::Staged;
    world.config.idle_timeout = Duration::from_secs(60);
    // The first stage is given up after a minute. Its APPEND takes effect while the second one is
    // there, which waits for the answer to its MOVE.
    let late = Deed::CommitLate(Matching::Any, Duration::from_secs(80));
    world.target.faults().arm(Fault::once(late));
    let slow = Deed::Delay("UID MOVE".to_owned(), Duration::from_secs(50));
    world.target.faults().arm(Fault::once(slow));
    let report = world.run().await;
    world.target.settle().await;
    report.assert_done(1);
    world.assert_copied();
}

/// Mutant 3
#[tokio::test(start_paused = true)]
async fn an_older_twin_is_no_copy() {
    let mut world = World::usual();
    world.deliver(1..2);
    world.run().await.assert_done(1);
    world.anna().deliver(&INBOX, letter(1));
    // `UID FETCH 2:*` then names the message 1, since there is none above it.
    world.target.faults().arm(Fault::once(Deed::CutBefore("APPEND".to_owned())));
    world.run().await.assert_done(2);
    world.assert_copied();
}

/// Mutant 4
#[tokio::test(start_paused = true)]
async fn what_was_not_answered_is_not_copied() {
    let mut world = World::usual();
    world.deliver(0..3);
    world.target.faults().arm(Fault::once(Deed::CutBefore("APPEND".to_owned())));
    world.run().await.assert_done(3);
    world.assert_copied();
}

/// Two mailboxes with equal messages go to one, each over a connection of its own.
fn merging() -> World {
    let mut world = World::usual();
    world.anna().deliver(&["a"], letter(1));
    world.anna().deliver(&["b"], letter(1));
    // So much mail is worth a second connection.
    for number in 2..62 {
        world.anna().deliver(&["z"], letter(number));
    }
    let rules = &mut world.config.rules;
    rules.merge = true;
    rules.map = ["a=Both", "b=Both"].map(|rule| MapRule::parse(rule).expect("a rule")).into();
    world.config.connections_max = 2;
    world
}

/// Whether both twins are at the target, and the ledger says so.
async fn assert_merged(world: &mut World) {
    let report = world.run().await;
    report.assert_done(62);
    assert_eq!(world.copy().messages(&["Both"]).len(), 2);
}

/// Mutant 5
#[tokio::test(start_paused = true)]
async fn the_copy_of_another_mailbox_is_not_claimed_again() {
    let mut world = merging();
    world.target.faults().arm(Fault::once(Deed::CutBefore("APPEND".to_owned())));
    assert_merged(&mut world).await;
}

/// Mutant 14
#[tokio::test(start_paused = true)]
async fn a_twin_does_not_take_the_copy_that_was_told_the_other() {
    let mut world = World::usual();
    world.config.window_messages_max = 1;
    world.deliver(1..2);
    world.deliver(1..2);
    // Both are acknowledged with their UIDs, and not read back.
    world.target.faults().arm(Fault::once(Deed::CutBefore("UID FETCH".to_owned())));
    let (copy, mut removed) = (world.copy(), false);
    let meddle = move |connection, response: &[u8]| {
        if connection > 0 && !removed && copy.messages(&INBOX).len() == 2 {
            removed = copy.expunge(&INBOX, 1);
        }
        Instead::Say(response.to_vec())
    };
    world.network.meddle(TARGET_PORT, Box::new(meddle));
    let report = world.run().await;
    let told = report.remarks.iter().filter(|row| row.remark.kind == RemarkKind::RemovedAtTarget);
    let told: Vec<u32> = told.map(|row| row.uid.0).collect();
    assert_eq!(
        (told, report.fate(Fate::Copied)),
        (vec![1], 2),
        "it is the first whose copy is gone"
    );
}

/// Mutant 6
#[tokio::test(start_paused = true)]
async fn a_settling_that_is_killed_is_done_again() {
    for point in 1.. {
        let mut world = World::usual();
        world.deliver(0..1);
        world.config.adopt = Adopt::None; // Nothing but the settling finds the copy.
        world.target.faults().arm(Fault::once(Deed::CutAfter("APPEND".to_owned())));
        let ended = world.run_until(Kill::Point(point)).await.is_some();
        world.target.faults().clear();
        world.run().await.assert_done(1);
        world.assert_copied();
        if ended {
            break;
        }
    }
}

/// Mutant 7
#[tokio::test(start_paused = true)]
async fn a_body_that_was_made_up_is_not_copied() {
    let mut world = World::usual();
    world.deliver(0..3);
    let (anna, mut is_gone) = (world.anna(), false);
    // Courier gives a body to a message that was expunged, and tells so with the NOOP behind it.
    let meddle = move |_, response: &[u8]| {
        if response.starts_with(b"* 2 FETCH") && response.windows(6).any(|six| six == b"BODY[]") {
            is_gone = anna.expunge(&INBOX, 2);
        }
        let told = response.starts_with(b"N") && std::mem::take(&mut is_gone);
        let before: &[u8] = if told { b"* 2 EXPUNGE\r\n" } else { b"" };
        Instead::Say([before, response].concat())
    };
    world.network.meddle(SOURCE_PORT, Box::new(meddle));
    let report = world.run().await;
    assert_eq!((report.fate(Fate::Copied), report.fate(Fate::Gone)), (2, 1));
    assert_eq!(world.copy().messages(&INBOX).len(), 2);
}

/// Mutant 8
#[tokio::test(start_paused = true)]
async fn what_arrived_without_an_answer_is_found() {
    let mut world = World::usual();
    // Streamed: the ledger does not know its octets, so that no other look finds it.
    world.anna().deliver(&INBOX, Message::new([&letter(1).body[..], &[b'x'; 9_000]].concat()));
    world.config.window_bytes_max = 2_000;
    world.config.adopt = Adopt::None;
    world.target.faults().arm(Fault::once(Deed::CutAfter("APPEND".to_owned())));
    world.run().await.assert_done(1);
    world.assert_copied();
}

/// Mutant 9
#[tokio::test(start_paused = true)]
async fn a_size_that_lies_cuts_nothing_off() {
    let mut world = World::usual();
    world.deliver(0..1);
    world.source.faults().arm(Fault::always(Deed::Size(1, 10)));
    world.run().await.assert_done(1);
    world.assert_copied();
}

/// Mutant 11
#[tokio::test(start_paused = true)]
async fn what_is_answered_after_a_stop_is_kept() {
    for event in 1.. {
        let mut world = World::usual();
        world.deliver(0..12);
        let (stop, told) = (world.stop.clone(), AtomicU64::new(0));
        world.on_event(move |_| {
            if told.fetch_add(1, Ordering::Relaxed) + 1 == event {
                stop.request();
            }
        });
        let whole = world.run().await.fate(Fate::Copied) == 12;
        world.run().await.assert_done(12);
        world.assert_copied();
        if whole {
            break;
        }
    }
}

/// Mutant 12
#[tokio::test(start_paused = true)]
async fn a_move_that_goes_on_is_not_repeated() {
    let mut world = World::usual();
    world.deliver(0..3);
    world.config.delivery = Delivery::Staged;
    // Later than the pause before the next try, and within the settling.
    (world.config.settle, world.config.settle_max) =
        (Duration::from_secs(60), Duration::from_secs(60));
    let slow =
        Slowness { before: Duration::from_secs(40), piece: Duration::from_millis(1), cut: true };
    world.target.faults().arm(Fault::once(Deed::SlowMove(slow)));
    let report = world.run().await;
    world.target.settle().await;
    report.assert_done(3);
    world.assert_copied();
}

/// Mutant 13
#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_and_never_stored_is_lost() {
    let mut world = World::usual();
    world.deliver(0..3);
    let forget = Deed::Forget(Matching::Contains(b"letter 1\r".to_vec()));
    world.target.faults().arm(Fault::always(forget));
    let report = world.run().await;
    let fates = (report.fate(Fate::Copied), report.fate(Fate::Lost), report.verdict);
    assert_eq!(fates, (2, 1, Verdict::Incomplete));
}

/// Two letters in the inbox and one in Work, copied; then their owner moves the first to Work.
async fn with_a_move(fault: Deed) -> World {
    let mut world = World::usual();
    world.deliver(0..2);
    world.anna().deliver(&["Work"], letter(9));
    world.run().await.assert_done(3);
    world.anna().deliver(&["Work"], letter(0));
    assert!(world.anna().expunge(&INBOX, 1));
    world.target.faults().arm(Fault::always(fault));
    world
}

/// Mutant 15
#[tokio::test(start_paused = true)]
async fn a_copy_that_a_move_has_left_behind_is_known() {
    let mut world = with_a_move(Deed::KeepMoved).await;
    let report = world.run().await;
    let there = world.copy().messages(&INBOX).len() + world.copy().messages(&["Work"]).len();
    assert_eq!((there as u64, 4), (report.fate(Fate::Copied), there));
}

/// Mutant 16
#[tokio::test(start_paused = true)]
async fn a_move_of_copies_that_goes_on_is_not_repeated() {
    // Later than the pause before the next try, and within the settling.
    let slow =
        Slowness { before: Duration::from_secs(40), piece: Duration::from_millis(1), cut: true };
    let mut world = with_a_move(Deed::SlowMove(slow)).await;
    (world.config.settle, world.config.settle_max) =
        (Duration::from_secs(60), Duration::from_secs(60));
    let report = world.run().await;
    world.target.settle().await;
    assert_eq!((report.fate(Fate::Copied), report.fate(Fate::Gone)), (3, 1));
    assert_eq!(world.copy().messages(&INBOX).len(), 1);
    assert_eq!(world.copy().messages(&["Work"]).len(), 2);
}
