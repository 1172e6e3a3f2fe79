//! Copies that are not at the target any more when a later pass comes: what their owner deleted or moved
//! stays so and is told, and comes back once where the user wants it.

use mailhaul::config::{Delivery, TargetLoss};
use mailhaul::event::Event;
use mailhaul::fate::{Fate, RemarkKind};
use mailhaul::fault::Side;
use mailhaul::rehearsal::{Message, Profile};
use mailhaul::report::Verdict;
use mailhaul::simulation::network::Kill;
use mailhaul::simulation::world::{INBOX, MessageExt, Report, World, letter};

const KEPT: [&str; 1] = ["Kept"];

/// Moves a copy at the target, as its owner's client does.
fn file(world: &World, from: &[&str], uid: u32, to: &[&str]) -> u32 {
    let there = world.copy();
    let stored = there.messages(from).into_iter().find(|one| one.uid == uid).expect("it is there");
    let date = stored.internal_date;
    let message = Message::new(stored.body.clone()).of(date.unix_seconds, date.offset_seconds);
    let new = there.deliver(to, message);
    assert!(there.expunge(from, uid));
    new
}

/// So many letters in the inbox, copied.
async fn copied(source: Profile, target: Profile, letters: u32) -> World {
    let mut world = World::new(source, target);
    world.config.scan_messages_max = 3;
    world.deliver(0..letters);
    world.run().await.assert_done(u64::from(letters));
    world
}

fn remarks(report: &Report) -> [u64; 2] {
    [RemarkKind::RemovedAtTarget, RemarkKind::MovedAtTarget].map(|kind| report.remarked(kind))
}

fn warnings(report: &Report) -> Vec<&str> {
    let told = report.events.iter().filter_map(|event| match event {
        Event::Warning { text, .. } => Some(text.as_str()),
        _ => None,
    });
    told.collect()
}

fn bodies(world: &World, path: &[&str]) -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> =
        world.copy().messages(path).into_iter().map(|one| one.body.to_vec()).collect();
    bodies.sort();
    bodies
}

fn letters(numbers: impl IntoIterator<Item = u32>) -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> =
        numbers.into_iter().map(|number| letter(number).body.to_vec()).collect();
    bodies.sort();
    bodies
}

#[tokio::test(start_paused = true)]
async fn what_its_owner_deleted_or_moved_at_the_target_stays_so_and_is_told_once() {
    for target in [Profile::dovecot(), Profile::cyrus(), Profile::courier()] {
        let mut world = copied(Profile::dovecot(), target, 8).await;
        assert!(world.copy().expunge(&INBOX, 3));
        file(&world, &INBOX, 5, &KEPT);
        file(&world, &INBOX, 6, &KEPT);
        for pass in 0..3 {
            let report = world.run().await;
            assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Done, 8));
            assert_eq!(remarks(&report), [1, 2]);
            let expected = "copies in INBOX at the target: 1 not there any more (--on-target-loss \
                            refill copies them again); 2 moved to other mailboxes";
            assert_eq!(warnings(&report), &[expected][..usize::from(pass == 0)]);
            assert_eq!(bodies(&world, &INBOX), letters([0, 1, 3, 6, 7]));
            assert_eq!(bodies(&world, &KEPT), letters([4, 5]));
        }
        let report = world.run().await;
        let places = report.remarks.iter().filter(|row| row.remark.text.contains("Kept, UID"));
        assert_eq!(places.count(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_nowhere_at_the_target_is_copied_again_once_where_the_user_wants_it() {
    for (target, delivery) in [
        (Profile::dovecot(), Delivery::Direct),
        (Profile::courier(), Delivery::Direct),
        (Profile::plain(), Delivery::Direct),
        (Profile::dovecot(), Delivery::Staged),
    ] {
        let mut world = copied(Profile::dovecot(), target, 8).await;
        world.config.delivery = delivery;
        for uid in [2, 3, 4] {
            assert!(world.copy().expunge(&INBOX, uid));
        }
        assert_eq!(remarks(&world.run().await), [3, 0]);
        file(&world, &INBOX, 5, &KEPT);
        assert!(world.anna().expunge(&INBOX, 4)); // Gone at both: nobody can bring it back.
        world.config.on_target_loss = TargetLoss::Refill;
        for _ in 0..3 {
            let report = world.run().await;
            assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Done, 8));
            assert_eq!(remarks(&report), [1, 1]);
            assert_eq!(bodies(&world, &INBOX), letters([0, 1, 2, 5, 6, 7]));
            assert_eq!(bodies(&world, &KEPT), letters([4]));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refill_that_is_killed_anywhere_copies_each_message_once() {
    let job = || async {
        let mut world = copied(Profile::dovecot(), Profile::dovecot(), 7).await;
        world.config.window_messages_max = 2;
        world.config.on_target_loss = TargetLoss::Refill;
        for uid in [1, 2, 5, 6] {
            assert!(world.copy().expunge(&INBOX, uid));
        }
        file(&world, &INBOX, 7, &KEPT);
        world
    };
    let mut world = job().await;
    world.run().await;
    for point in 0..=world.points {
        let mut world = job().await;
        world.run_until(Kill::Point(point)).await;
        world.run().await;
        assert_eq!(bodies(&world, &INBOX), letters(0..6), "{point}");
        assert_eq!(bodies(&world, &KEPT), letters([6]), "{point}");
    }
    for sent in (0..4_000).step_by(150) {
        let mut world = job().await;
        world.run_until(Kill::Sent(Side::Target, sent)).await;
        world.run().await;
        assert_eq!(bodies(&world, &INBOX), letters(0..6), "{sent}");
        assert_eq!(bodies(&world, &KEPT), letters([6]), "{sent}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_equal_messages_as_many_come_back_as_are_nowhere() {
    let mut world = World::usual();
    world.config.scan_messages_max = 1; // Each is looked for alone.
    for _ in 0..4 {
        world.deliver(0..1);
    }
    world.anna().deliver(&["Work"], letter(0));
    world.run().await.assert_done(5);
    file(&world, &INBOX, 1, &KEPT);
    assert!(world.copy().expunge(&INBOX, 2));
    assert!(world.copy().expunge(&INBOX, 4));
    world.config.on_target_loss = TargetLoss::Refill;
    for _ in 0..2 {
        let report = world.run().await;
        assert_eq!((report.fate(Fate::Copied), remarks(&report)), (5, [0, 1]));
        let there = [&INBOX[..], &KEPT, &["Work"]].map(|path| bodies(&world, path).len());
        assert_eq!(there, [3, 1, 1]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_was_moved_away_and_back_is_known_again() {
    for on_target_loss in [TargetLoss::Report, TargetLoss::Refill] {
        let mut world = copied(Profile::dovecot(), Profile::dovecot(), 3).await;
        world.config.on_target_loss = on_target_loss;
        let away = file(&world, &INBOX, 2, &KEPT);
        if on_target_loss == TargetLoss::Refill {
            assert_eq!(remarks(&world.run().await), [0, 1]);
        }
        let back = file(&world, &KEPT, away, &INBOX);
        assert!(world.anna().set_flags(&INBOX, 2, &["\\Flagged"]));
        let report = world.run().await;
        assert_eq!((report.fate(Fate::Copied), remarks(&report)), (3, [0, 0]));
        let there = world.copy().messages(&INBOX);
        let flags = there.iter().find(|one| one.uid == back).map(|one| one.flags.clone());
        assert_eq!((there.len(), flags), (3, Some(vec!["\\Flagged".to_owned()])));
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_later_at_the_target_hides_no_loss() {
    let mut world = copied(Profile::dovecot(), Profile::dovecot(), 4).await;
    world.copy().deliver(&INBOX, letter(90));
    world.copy().deliver(&INBOX, letter(91));
    assert_eq!(remarks(&world.run().await), [0, 0]);
    assert!(world.copy().expunge(&INBOX, 1));
    assert_eq!(remarks(&world.run().await), [1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_target_mailbox_that_is_another_one_is_filled_again_though_nothing_is_new() {
    let mut world = copied(Profile::dovecot(), Profile::dovecot(), 5).await;
    world.anna().deliver(&["Work"], letter(9));
    world.run().await.assert_done(6);
    world.copy().bump_uid_validity(&INBOX).expect("it is there");
    world.copy().delete_mailbox(&["Work"]).unwrap();
    world.run().await;
    world.assert_copied();
    let appends = world.target.counters().command("APPEND");
    world.run().await;
    world.assert_copied();
    assert_eq!(world.target.counters().command("APPEND"), appends);
}
