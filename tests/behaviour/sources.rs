//! Sources that lie, break and change.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mailhaul::event::Event;
use mailhaul::fate::Fate;
use mailhaul::rehearsal::{BodyFault, Deed, Fault, Message, Profile};
use mailhaul::report::Verdict;

use mailhaul::simulation::world::{INBOX, World, letter};

const BODY_FAULTS: [BodyFault; 4] =
    [BodyFault::Nil, BodyFault::Nothing, BodyFault::No, BodyFault::Empty];

/// B01, B02
#[tokio::test(start_paused = true)]
async fn a_message_the_source_does_not_give_is_listed_and_the_others_are_copied() {
    for body in BODY_FAULTS {
        let mut world = World::usual();
        world.deliver(0..10);
        world.source.faults().arm(Fault::always(Deed::Body(4, body)));
        let report = world.run().await;
        assert_eq!((report.fate(Fate::Copied), report.fate(Fate::Unreadable)), (9, 1), "{body:?}");
        assert_eq!((report.verdict, report.verdict.exit_code()), (Verdict::Incomplete, 3));
        assert_eq!(report.reasons(Fate::Unreadable).len(), 1);
        if body == BodyFault::No {
            assert!(report.reasons(Fate::Unreadable)[0].contains("NO [SERVERBUG]"));
        }
        assert_eq!(world.copy().snapshot().messages(), 9);
        // Once a run, and then it can be read.
        assert_eq!(world.run().await.fate(Fate::Unreadable), 1);
        world.source.faults().clear();
        world.run().await.assert_done(10);
        world.assert_copied();
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_read_once_is_copied_all_the_same() {
    for body in BODY_FAULTS {
        let mut world = World::usual();
        world.deliver(0..10);
        world.source.faults().arm(Fault::once(Deed::Body(4, body)));
        world.run().await.assert_done(10);
        world.assert_copied();
    }
}

/// B04
#[tokio::test(start_paused = true)]
async fn a_size_that_lies_changes_nothing() {
    for (size, told) in [(3 * 1024 * 1024, 10), (3 * 1024 * 1024, 0), (500, 50_000_000), (500, 0)] {
        for connections in [1, 2] {
            let mut world = World::usual();
            world.deliver(0..3);
            let body = [&letter(3).body[..], &vec![b'y'; size]].concat();
            let uid = world.anna().deliver(&INBOX, Message::new(body));
            world.deliver(4..8);
            world.source.faults().arm(Fault::always(Deed::Size(uid, told)));
            world.config.window_bytes_max = 256 * 1024;
            world.config.memory_bytes_max = 2 * 1024 * 1024;
            world.config.connections_max = connections;
            world.run().await.assert_done(8);
            world.assert_copied();
            world.run().await.assert_done(8);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_deleted_between_scan_and_fetch_is_gone() {
    let mut world = World::usual();
    world.deliver(0..10);
    let anna = world.anna();
    world.on_event(move |event| {
        if matches!(event, Event::Scanned { .. }) {
            anna.expunge(&INBOX, 4);
            anna.expunge(&INBOX, 9);
        }
    });
    let report = world.run().await;
    assert_eq!((report.fate(Fate::Copied), report.fate(Fate::Gone)), (8, 2));
    assert_eq!(report.verdict, Verdict::Done);
    assert_eq!(world.copy().snapshot(), world.anna().snapshot());
}

#[tokio::test(start_paused = true)]
async fn a_streamed_message_deleted_between_scan_and_fetch_is_gone() {
    let mut world = World::usual();
    world.deliver(0..3);
    let uid = world.anna().deliver(&INBOX, Message::new(vec![b'x'; 300_000]));
    world.deliver(4..6);
    world.config.window_bytes_max = 64 * 1024;
    let anna = world.anna();
    world.on_event(move |event| {
        if matches!(event, Event::Scanned { .. }) {
            anna.expunge(&INBOX, uid);
        }
    });
    let report = world.run().await;
    assert_eq!((report.fate(Fate::Copied), report.fate(Fate::Gone)), (5, 1));
    assert_eq!(world.copy().snapshot(), world.anna().snapshot());
}

/// B10
#[tokio::test(start_paused = true)]
async fn mail_that_comes_and_goes_during_the_run_is_neither_lost_nor_doubled() {
    let mut world = World::usual();
    world.deliver(0..40);
    world.config.scan_messages_max = 5;
    let (anna, next) = (world.anna(), AtomicU32::new(100));
    world.on_event(move |event| {
        if matches!(event, Event::Copied { .. }) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number < 110 {
                anna.deliver(&INBOX, letter(number));
                anna.expunge(&INBOX, 41 - (number - 100));
            }
        }
    });
    world.run().await;
    let report = world.run().await;
    assert_eq!(report.verdict, Verdict::Done);
    let there = world.copy().snapshot().mailboxes.remove(&vec!["INBOX".to_owned()]).unwrap();
    // What was copied before it was deleted stays, each once.
    let mut distinct = there.clone();
    distinct.dedup();
    assert_eq!(distinct.len(), there.len());
    for message in &world.anna().snapshot().mailboxes[&vec!["INBOX".to_owned()]] {
        assert!(there.contains(message));
    }
}

/// E15
#[tokio::test(start_paused = true)]
async fn a_source_that_stops_answering_is_left_and_asked_again() {
    for command in ["UID FETCH", "EXAMINE", "LIST", "NOOP", "CAPABILITY", "AUTHENTICATE"] {
        let mut world = World::usual();
        world.deliver(0..20);
        let hang = Deed::Delay(command.to_owned(), Duration::from_secs(100_000));
        world.source.faults().arm(Fault::once(hang));
        world.run().await.assert_done(20);
        world.assert_copied();
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_cut_at_any_command_loses_nothing() {
    for deed in [Deed::CutBefore, Deed::CutAfter] {
        for command in 0..25 {
            let mut world = World::new(Profile::exchange(), Profile::dovecot());
            world.deliver(0..20);
            let fault = Fault::once(deed("*".to_owned())).after(command);
            world.source.faults().arm(fault);
            world.run().await.assert_done(20);
            world.assert_copied();
        }
    }
}
