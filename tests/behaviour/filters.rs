//! Some messages now, the rest in a later pass.

use mailhaul::config::{Adopt, LaterFlags, Order};
use mailhaul::fate::Fate;
use mailhaul::fault::Side;
use mailhaul::plan::filter::Filter;
use mailhaul::rehearsal::{Deed, Fault, Matching, Profile};
use mailhaul::report::Verdict;
use mailhaul::simulation::network::Kill;
use mailhaul::simulation::world::{INBOX, MessageExt, World, letter};

/// Between the dates of two letters.
fn date_of(number: i64) -> i64 {
    1_600_000_000 + 61 * number
}

#[tokio::test(start_paused = true)]
async fn what_is_filtered_is_counted_and_copied_by_a_wider_pass() {
    for source in [Profile::dovecot(), Profile::courier()] {
        let mut world = World::new(source, Profile::dovecot());
        world.config.scan_messages_max = 4;
        world.deliver(0..20);
        world.config.filter = Filter { before: Some(date_of(12)), ..Filter::default() };
        for _ in 0..2 {
            let report = world.run().await;
            assert_eq!((report.fate(Fate::Copied), report.fate(Fate::Filtered)), (12, 8));
            assert_eq!(report.verdict, Verdict::Done);
        }
        assert_eq!(world.copy().messages(&INBOX).len(), 12);
        world.config.filter.since = Some(date_of(5)); // Narrower: nothing more, nothing undone.
        world.config.filter.before = Some(date_of(16));
        let report = world.run().await;
        assert_eq!((report.fate(Fate::Copied), report.fate(Fate::Filtered)), (16, 4));
        world.config.filter = Filter::default();
        world.run().await.assert_done(20);
        world.assert_copied();
        world.run().await.assert_done(20);
    }
}

/// C09
#[tokio::test(start_paused = true)]
async fn what_is_marked_as_deleted_is_copied_with_the_mark_or_left_out_until_asked_for() {
    let mut world = World::usual();
    world.deliver(0..3);
    world.anna().deliver(&INBOX, letter(3).with_flags(&["\\Deleted", "\\Seen"]));
    world.config.filter = Filter { deleted: Some(false), ..Filter::default() };
    for _ in 0..2 {
        let report = world.run().await;
        assert_eq!((report.fate(Fate::Copied), report.fate(Fate::Filtered)), (3, 1));
        let reason = "it is marked as deleted at the source (--deleted skip)";
        assert_eq!(report.reasons(Fate::Filtered), [reason]);
        assert_eq!(report.verdict, Verdict::Done);
    }
    world.config.filter = Filter::default();
    world.run().await.assert_done(4); // Of which nothing is said any more.
    world.assert_copied();
    let marked = |flags: &Vec<String>| flags.iter().any(|flag| flag == "\\Deleted");
    let copies = world.copy().messages(&INBOX);
    assert_eq!(copies.iter().filter(|copy| marked(&copy.flags)).count(), 1);
}

/// C09
#[tokio::test(start_paused = true)]
async fn a_copy_stays_and_gets_the_mark_when_its_message_is_marked_as_deleted_later() {
    for left_out in 0..2 {
        let mut world = World::usual();
        world.deliver(0..3);
        for number in 0..left_out {
            world.anna().deliver(&INBOX, letter(3 + number).with_flags(&["\\Deleted"]));
        }
        world.config.filter = Filter { deleted: Some(false), ..Filter::default() };
        world.run().await;
        assert!(world.anna().set_flags(&INBOX, 1, &["\\Deleted"]));
        let report = world.run().await;
        let left_out = u64::from(left_out);
        assert_eq!((report.fate(Fate::Copied), report.fate(Fate::Filtered)), (3, left_out));
        let copies = world.copy().messages(&INBOX);
        let marked = |flags: &[String]| flags.iter().any(|flag| flag == "\\Deleted");
        assert_eq!((copies.len(), marked(&copies[0].flags)), (3, true));
    }
}

#[tokio::test(start_paused = true)]
async fn flags_are_looked_at_anew_in_every_pass() {
    let mut world = World::usual();
    world.deliver(0..5);
    world.config.filter = Filter { seen: Some(false), ..Filter::default() };
    let report = world.run().await;
    assert_eq!((report.fate(Fate::Copied), report.fate(Fate::Filtered)), (3, 2));
    assert!(world.anna().set_flags(&INBOX, 1, &[]));
    let report = world.run().await;
    assert_eq!((report.fate(Fate::Copied), report.fate(Fate::Filtered)), (4, 1));
}

/// What a run says of copied and filtered mail, and how many mailboxes it opened and how often it
/// listed messages.
async fn run_and_look(world: &mut World) -> ([u64; 2], [u64; 2]) {
    let count =
        |world: &World| ["EXAMINE", "UID FETCH"].map(|name| world.source.counters().command(name));
    let before = count(world);
    let report = world.run().await;
    let after = count(world);
    let fates = [Fate::Copied, Fate::Filtered].map(|fate| report.fate(fate));
    assert_eq!(report.verdict, Verdict::Done);
    (fates, std::array::from_fn(|index| after[index] - before[index]))
}

#[tokio::test(start_paused = true)]
async fn what_was_filtered_is_not_listed_again_under_the_same_filter() {
    let mut world = World::usual();
    world.config.scan_messages_max = 4;
    world.deliver(0..20);
    world.config.filter = Filter { before: Some(date_of(12)), ..Filter::default() };
    assert_eq!(run_and_look(&mut world).await.0, [12, 8]);
    assert_eq!(run_and_look(&mut world).await, ([12, 8], [0, 0]));
    world.deliver(20..22);
    world.deliver(3..4);
    // What was changed and what is new are listed, and the new letter is fetched.
    assert_eq!(run_and_look(&mut world).await, ([13, 10], [1, 3]));
    world.config.filter = Filter::default();
    assert_eq!(run_and_look(&mut world).await.0, [23, 0]);
    assert_eq!(run_and_look(&mut world).await, ([23, 0], [0, 0]));
    world.config.filter.before = Some(date_of(1));
    let again = run_and_look(&mut world).await;
    assert_eq!(again, ([23, 0], [0, 0]), "nothing was left out below");
}

#[tokio::test(start_paused = true)]
async fn what_is_filtered_and_then_removed_at_the_source_is_gone() {
    let mut world = World::usual();
    world.deliver(0..6);
    world.config.filter = Filter { before: Some(date_of(4)), ..Filter::default() };
    assert_eq!(run_and_look(&mut world).await.0, [4, 2]);
    assert!(world.anna().expunge(&INBOX, 6));
    let report = world.run().await;
    let fates = [Fate::Copied, Fate::Filtered, Fate::Gone].map(|fate| report.fate(fate));
    assert_eq!((fates, report.verdict), ([4, 1, 1], Verdict::Done));
}

#[tokio::test(start_paused = true)]
async fn what_is_left_out_by_its_flags_is_copied_once_they_change() {
    for later_flags in [LaterFlags::Follow, LaterFlags::Leave] {
        let mut world = World::usual();
        world.config.scan_messages_max = 4;
        world.config.later_flags = later_flags;
        world.deliver(0..9);
        for uid in [2, 7] {
            assert!(world.anna().set_flags(&INBOX, uid, &["\\Deleted"]));
        }
        world.config.filter = Filter { deleted: Some(false), ..Filter::default() };
        assert_eq!(run_and_look(&mut world).await.0, [7, 2]);
        if later_flags == LaterFlags::Follow {
            assert_eq!(run_and_look(&mut world).await, ([7, 2], [0, 0]));
        }
        // Others than the filter asks for.
        assert!(world.anna().set_flags(&INBOX, 7, &["\\Deleted", "\\Flagged"]));
        assert_eq!(run_and_look(&mut world).await.0, [7, 2]);
        assert!(world.anna().set_flags(&INBOX, 7, &["\\Flagged"]));
        world.deliver(9..10);
        assert_eq!(run_and_look(&mut world).await.0, [9, 1]);
        assert!(world.anna().set_flags(&INBOX, 2, &[]));
        assert_eq!(run_and_look(&mut world).await.0, [10, 0]);
        world.assert_copied();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_after_it_was_left_out_is_tried_again_in_every_pass() {
    let mut world = World::usual();
    world.deliver(0..4);
    assert!(world.anna().set_flags(&INBOX, 2, &["\\Deleted"]));
    world.config.filter = Filter { deleted: Some(false), ..Filter::default() };
    assert_eq!(run_and_look(&mut world).await.0, [3, 1]);
    assert!(world.anna().set_flags(&INBOX, 2, &[]));
    let matching = Matching::Contains(b"letter 1\r".to_vec());
    let refuse = Deed::Refuse(matching, "NO [LIMIT] not this one".to_owned());
    world.target.faults().arm(Fault::always(refuse));
    for _ in 0..2 {
        let report = world.run().await;
        assert_eq!((report.fate(Fate::Refused), report.fate(Fate::Copied)), (1, 3));
    }
    world.target.faults().clear();
    world.run().await.assert_done(4);
    world.assert_copied();
}

#[tokio::test(start_paused = true)]
async fn passes_with_filters_that_are_killed_anywhere_miss_nothing() {
    for sent in (100..2_400).step_by(60) {
        let mut world = World::usual();
        world.config.adopt = Adopt::None; // What is in doubt is looked for all the same.
        world.config.scan_messages_max = 3;
        world.deliver(0..9);
        assert!(world.anna().set_flags(&INBOX, 4, &["\\Deleted"]));
        world.config.filter.deleted = Some(false);
        world.run().await;
        for (round, before) in [Some(date_of(5)), Some(date_of(7)), None].into_iter().enumerate() {
            world.config.filter.before = before;
            let flags: &[&str] = if round == 1 { &[] } else { &["\\Deleted"] };
            assert!(world.anna().set_flags(&INBOX, 4, flags));
            let round = u32::try_from(round).unwrap();
            world.deliver(9 + round..10 + round);
            world.run_until(Kill::Sent(Side::Target, sent)).await;
        }
        world.config.filter = Filter::default();
        world.run().await.assert_done(12);
        world.assert_copied();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_filtered_and_on_the_target_already_is_not_copied_twice_later() {
    let mut world = World::usual();
    world.deliver(0..10);
    for number in 0..10 {
        world.copy().deliver(&INBOX, letter(number));
    }
    world.config.filter = Filter { since: Some(date_of(7)), ..Filter::default() };
    world.run().await;
    world.config.filter = Filter::default();
    let report = world.run().await;
    assert_eq!((report.fate(Fate::Adopted), report.fate(Fate::Copied)), (10, 0));
    assert_eq!(world.copy().messages(&INBOX).len(), 10);
}

#[tokio::test(start_paused = true)]
async fn the_newest_come_first_if_asked_for_and_kills_change_nothing() {
    for sent in [0, 300, 900, 1_500, 2_500, 4_000] {
        let mut world = World::usual();
        world.config.order = Order::Newest;
        world.config.window_messages_max = 1;
        world.config.scan_messages_max = 3;
        world.deliver(0..10);
        if sent > 0 {
            world.run_until(Kill::Sent(Side::Target, sent)).await;
            world.run().await;
        } else {
            world.run().await.assert_done(10);
            let there = world.copy().messages(&INBOX);
            assert_eq!(there[0].body, letter(9).body);
            assert_eq!(there[9].body, letter(0).body);
        }
        let mut bodies: Vec<_> =
            world.copy().messages(&INBOX).into_iter().map(|message| message.body).collect();
        bodies.sort();
        bodies.dedup();
        assert_eq!((bodies.len(), world.copy().messages(&INBOX).len()), (10, 10));
    }
}
