//! Second runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mailhaul::config::Adopt;
use mailhaul::event::Event;
use mailhaul::fate::{Fate, RemarkKind};
use mailhaul::fault::Side;
use mailhaul::ledger::AccountState;
use mailhaul::rehearsal::{BodyFault, Deed, Fault, Message, Profile};
use mailhaul::report::Verdict;

use mailhaul::simulation::network::Kill;
use mailhaul::simulation::world::{ANNA, INBOX, World, letter};

#[tokio::test(start_paused = true)]
async fn a_second_run_sends_nothing_and_fetches_no_body() {
    for target in [Profile::dovecot(), Profile::plain()] {
        let mut world = World::new(Profile::dovecot(), target);
        world.deliver(0..30);
        world.anna().deliver(&["Other"], letter(1));
        world.run().await.assert_done(31);
        let (source, target) = (world.source.counters(), world.target.counters());
        world.run().await.assert_done(31);
        world.assert_copied();
        assert_eq!(world.source.counters().fetched_bodies, source.fetched_bodies);
        assert_eq!(world.target.counters().fetched_bodies, target.fetched_bodies);
        assert_eq!(world.target.counters().command("APPEND"), target.command("APPEND"));
        assert_eq!(world.target.counters().command("CREATE"), target.command("CREATE"));
    }
}

#[tokio::test(start_paused = true)]
async fn new_mail_is_copied_by_the_next_run() {
    let mut world = World::usual();
    world.deliver(0..10);
    world.run().await.assert_done(10);
    world.deliver(8..15);
    world.anna().deliver(&["New"], letter(99));
    world.run().await.assert_done(18);
    world.assert_copied();
    assert_eq!(world.target.counters().appended, 18);
}

/// A15
#[tokio::test(start_paused = true)]
async fn what_its_owner_removed_at_the_target_does_not_come_back() {
    let mut world = World::usual();
    world.deliver(0..5);
    world.run().await.assert_done(5);
    world.copy().expunge(&INBOX, 2);
    let report = world.run().await;
    assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Done, 5));
    assert_eq!(report.remarked(RemarkKind::RemovedAtTarget), 1);
    assert_eq!(world.copy().messages(&INBOX).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn mail_deleted_at_the_source_after_its_copy_stays_at_the_target() {
    let mut world = World::usual();
    world.deliver(0..5);
    world.run().await.assert_done(5);
    world.anna().expunge(&INBOX, 3);
    let report = world.run().await;
    assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Done, 5));
    assert_eq!(world.copy().messages(&INBOX).len(), 5);
}

/// A27
#[tokio::test(start_paused = true)]
async fn a_source_mailbox_whose_uidvalidity_changed_is_compared_and_not_copied_twice() {
    let mut world = World::usual();
    world.deliver(0..6);
    world.anna().deliver(&INBOX, letter(2));
    world.anna().deliver(&["Other"], letter(1));
    world.run().await.assert_done(8);
    for validity in 0..2 {
        world.anna().bump_uid_validity(&INBOX);
        world.deliver(6 + validity..7 + validity);
        world.run().await.assert_done(9 + u64::from(validity));
        world.assert_copied();
    }
    let appended = world.target.counters().appended;
    world.run().await.assert_done(10);
    assert_eq!(world.target.counters().appended, appended);
}

/// A27: equal in size, date and header lines, and stored again in another order.
#[tokio::test(start_paused = true)]
async fn namesakes_keep_their_copies_when_the_source_gives_a_new_uidvalidity() {
    let mut world = World::usual();
    let namesake =
        |octet| Message { body: [&letter(1).body[..], &[octet]].concat().into(), ..letter(1) };
    let [uid, _] = [b'a', b'b'].map(|octet| world.anna().deliver(&INBOX, namesake(octet)));
    world.run().await.assert_done(2);
    world.anna().bump_uid_validity(&INBOX);
    world.anna().deliver(&INBOX, namesake(b'a'));
    assert!(world.anna().expunge(&INBOX, uid));
    world.run().await.assert_done(2);
    let of_a = world.anna().messages(&INBOX)[1].uid;
    world.anna().set_flags(&INBOX, of_a, &["\\Flagged"]);
    world.run().await.assert_done(2);
    world.assert_copied();
    assert_eq!(world.target.counters().appended, 2);
}

/// A26
#[tokio::test(start_paused = true)]
async fn a_target_mailbox_whose_uidvalidity_changed_is_compared_and_only_what_is_missing_copied() {
    let mut world = World::usual();
    world.deliver(0..6);
    world.anna().deliver(&INBOX, letter(2));
    world.run().await.assert_done(7);
    world.copy().bump_uid_validity(&INBOX);
    let uid = world.copy().messages(&INBOX)[3].uid;
    world.copy().expunge(&INBOX, uid);
    world.deliver(6..8);
    world.run().await.assert_done(9);
    world.assert_copied();
    assert_eq!(world.target.counters().appended, 10);
}

#[tokio::test(start_paused = true)]
async fn both_ends_may_change_their_uidvalidity() {
    let mut world = World::usual();
    world.deliver(0..6);
    world.anna().deliver(&INBOX, letter(2));
    world.run().await.assert_done(7);
    world.copy().bump_uid_validity(&INBOX);
    world.anna().bump_uid_validity(&INBOX);
    world.deliver(6..8);
    world.run().await.assert_done(9);
    world.assert_copied();
    assert_eq!(world.target.counters().appended, 9);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_changes_its_uidvalidity_in_a_crash_gets_no_second_copy() {
    for point in 0..12 {
        let mut world = World::usual();
        world.deliver(0..6);
        let kill = Kill::Sent(Side::Target, 300 + 300 * point);
        if world.run_until(kill).await.is_some() {
            continue;
        }
        world.copy().bump_uid_validity(&INBOX);
        world.run().await.assert_done(6);
        world.assert_copied();
    }
}

/// A15
#[tokio::test(start_paused = true)]
async fn a_copy_removed_before_it_was_read_back_is_not_sent_again() {
    let mut world = World::usual();
    world.deliver(0..4);
    world.config.near = Duration::from_secs(1); // What is far is read back before it is told.
    let copy = world.copy();
    world.on_event(move |event| {
        if matches!(event, Event::Copied { .. }) {
            copy.expunge(&INBOX, 2);
        }
    });
    let report = world.run().await;
    assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Done, 4));
    assert_eq!(report.remarked(RemarkKind::RemovedAtTarget), 1);
    assert_eq!(world.copy().messages(&INBOX).len(), 3);
}

/// F04
#[tokio::test(start_paused = true)]
async fn a_stopped_run_ends_soon_and_the_next_one_completes() {
    for event in 1..12 {
        let mut world = World::usual();
        world.deliver(0..60);
        world.anna().deliver(&["Other"], letter(1));
        world.config.connections_max = 1;
        let (stop, told) = (world.stop.clone(), AtomicU64::new(0));
        world.on_event(move |_| {
            if told.fetch_add(1, Ordering::Relaxed) + 1 == event {
                stop.request();
            }
        });
        let report = world.run().await;
        assert!(report.took < world.config.drain_max, "{:?}", report.took);
        assert!(report.ended.is_ok());
        if event > 1 {
            assert_eq!(report.state(ANNA), AccountState::Stopped, "event {event}");
        }
        assert_eq!(report.totals.in_doubt, 0);
        assert!(report.fate(Fate::Copied) < 61);
        let report = world.run().await;
        report.assert_done(61);
        let settled = |event: &&Event| matches!(event, Event::Settled { .. });
        assert_eq!(report.events.iter().filter(settled).count(), 0);
        world.assert_copied();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_longer_than_it_may_for_a_server_that_hangs() {
    let mut world = World::usual();
    world.deliver(0..20);
    let hang = Deed::Delay("APPEND".to_owned(), Duration::from_secs(10_000));
    world.target.faults().arm(Fault::once(hang).after(1));
    world.config.idle_timeout = Duration::from_secs(100_000);
    let stop = world.stop.clone();
    world.on_event(move |event| {
        if matches!(event, Event::Copied { .. }) {
            stop.request();
        }
    });
    let report = world.run().await;
    assert!(report.took < world.config.drain_max * 2, "{:?}", report.took);
    world.run().await.assert_done(20);
    world.assert_copied();
}

/// R4: size, date and header lines are those of a message that is in doubt, and its octets are not.
#[tokio::test(start_paused = true)]
async fn a_namesake_that_arrives_while_a_message_is_in_doubt_is_not_its_copy() {
    let namesake = |octet: u8| {
        let body = [&letter(1).body[..], &[octet], b"\r\n"].concat().into();
        Message { body, ..letter(1) }
    };
    for (cut, adopt) in [Deed::CutBefore as fn(_) -> _, Deed::CutAfter]
        .into_iter()
        .flat_map(|cut| [(cut, Adopt::Match), (cut, Adopt::None)])
    {
        let mut world = World::usual();
        world.config.adopt = adopt;
        world.anna().deliver(&INBOX, namesake(b'a'));
        world.target.faults().arm(Fault::once(cut("APPEND".to_owned())));
        let (copy, others) = (world.copy(), namesake(b'b'));
        world.on_event(move |event| {
            if matches!(event, Event::AccountParked { .. }) {
                copy.deliver(&INBOX, others.clone());
            }
        });
        world.run().await.assert_done(1);
        let bodies: Vec<_> =
            world.copy().messages(&INBOX).into_iter().map(|one| one.body).collect();
        assert_eq!(bodies.len(), 2, "{bodies:?}");
        assert!(bodies.contains(&namesake(b'a').body), "{bodies:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_could_be_a_copy_and_is_not_given_is_not_sent_again() {
    for body in [BodyFault::Nil, BodyFault::Nothing, BodyFault::No] {
        let mut world = World::usual();
        world.deliver(0..3);
        world.target.faults().arm(Fault::once(Deed::CutAfter("APPEND".to_owned())));
        world.target.faults().arm(Fault::always(Deed::Body(2, body)));
        let report = world.run().await;
        let fates = [Fate::Copied, Fate::Held].map(|fate| report.fate(fate));
        assert_eq!((report.verdict, fates), (Verdict::InDoubt, [2, 1]), "{body:?}");
        world.target.faults().clear();
        world.run().await.assert_done(3);
        world.assert_copied();

        // Its copy may be any that is there, under a new UIDVALIDITY.
        assert!(world.copy().bump_uid_validity(&INBOX).is_some());
        world.target.faults().arm(Fault::always(Deed::Body(2, body)));
        let report = world.run().await;
        assert_eq!(report.verdict, Verdict::Incomplete, "{body:?}");
        let said = |event: &Event| match event {
            Event::MailboxFailed { reason, .. } => reason.contains("does not give"),
            _ => false,
        };
        assert!(report.events.iter().any(said), "{:?}", report.events);
        assert_eq!(world.copy().snapshot().messages(), 3);
        world.target.faults().clear();
        world.run().await.assert_done(3);
        world.assert_copied();
    }
}

/// R4: that another tool has changed a message tells nothing of what the server does.
#[tokio::test(start_paused = true)]
async fn a_copy_that_another_tool_changed_makes_no_namesake_a_copy() {
    let namesake =
        |end: &[u8]| Message { body: [&letter(1).body[..], end].concat().into(), ..letter(1) };
    let mut world = World::usual();
    world.anna().deliver(&INBOX, letter(2));
    let changed = [&letter(2).body[..], &[b'.'; 200], b"\r\n"].concat().into();
    world.copy().deliver(&INBOX, Message { body: changed, ..letter(2) });
    let report = world.run().await;
    assert_eq!((report.fate(Fate::Adopted), report.remarked(RemarkKind::BytesAltered)), (1, 1));

    world.anna().deliver(&INBOX, namesake(b"ours\r\n"));
    world.target.faults().arm(Fault::once(Deed::CutBefore("APPEND".to_owned())));
    let (copy, others) = (world.copy(), namesake(b"others\r\n"));
    world.on_event(move |event| {
        if matches!(event, Event::AccountParked { .. }) {
            copy.deliver(&INBOX, others.clone());
        }
    });
    let report = world.run().await;
    assert_eq!(report.verdict, Verdict::Done);
    let bodies: Vec<_> = world.copy().messages(&INBOX).into_iter().map(|one| one.body).collect();
    assert!(bodies.contains(&namesake(b"ours\r\n").body), "{bodies:?}");
}
