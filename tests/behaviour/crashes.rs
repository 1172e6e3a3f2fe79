//! Whatever breaks in the middle, the end is the same.

use std::collections::BTreeSet;
use std::time::Duration;

use mailhaul::event::Event;
use mailhaul::fate::Fate;
use mailhaul::fault::Side;
use mailhaul::rehearsal::{Deed, Fault, Matching, Message, Profile};
use mailhaul::report::Verdict;

use mailhaul::simulation::network::Kill;
use mailhaul::simulation::world::{INBOX, Report, World, letter};

/// A small account with what makes recovery hard: twins, a message without headers, one that is
/// streamed, two mailboxes.
fn world(target: Profile) -> World {
    let mut world = World::new(Profile::dovecot(), target);
    world.deliver(0..6);
    world.anna().deliver(&INBOX, letter(2));
    world.anna().deliver(&INBOX, letter(2));
    world.anna().deliver(&INBOX, Message::new("no header at all"));
    let body = [&letter(50).body[..], &[b'x'; 9_000]].concat();
    world.anna().deliver(&INBOX, Message::new(body));
    for number in 10..15 {
        world.anna().deliver(&["Archive"], letter(number));
    }
    world.config.window_bytes_max = 6_000;
    world.config.window_messages_max = 3;
    world
}

const MESSAGES: u64 = 15;

/// Bytes that a whole run sends to or receives from one side, nearly.
async fn bytes_of_a_run(target: &Profile, kind: fn(Side, u64) -> Kill, side: Side) -> u64 {
    let (mut low, mut high) = (0_u64, 1 << 18);
    while high - low > 256 {
        let middle = low.midpoint(high);
        let mut world = world(target.clone());
        if world.run_until(kind(side, middle)).await.is_none() {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// Kills a run at many points, and resumes it each time.
async fn killed_everywhere(target: Profile, kind: fn(Side, u64) -> Kill, side: Side, points: u64) {
    let bytes = bytes_of_a_run(&target, kind, side).await;
    for point in 0..points {
        let kill = kind(side, 1 + point * bytes / points);
        let mut world = world(target.clone());
        assert!(world.run_until(kill).await.is_none(), "{kill:?}");
        let report = world.run().await;
        assert_all_there(&world, &report, &format!("{kill:?}"));
    }
}

#[track_caller]
fn assert_all_there(world: &World, report: &Report, what: &str) {
    let fates = (report.fate(Fate::Copied), report.verdict);
    assert_eq!(fates, (MESSAGES, Verdict::Done), "{what} {:?}", report.totals);
    assert_eq!(report.totals.in_doubt, 0, "{what}");
    world.assert_copied();
}

/// A06
#[tokio::test(start_paused = true)]
async fn a_run_killed_at_any_byte_to_the_target_is_resumed() {
    killed_everywhere(Profile::dovecot(), Kill::Sent, Side::Target, 30).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_killed_at_any_byte_to_a_target_without_extensions_is_resumed() {
    killed_everywhere(Profile::plain(), Kill::Sent, Side::Target, 30).await;
}

/// A06
#[tokio::test(start_paused = true)]
async fn a_run_killed_at_any_byte_from_the_target_is_resumed() {
    killed_everywhere(Profile::dovecot(), Kill::Received, Side::Target, 30).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_killed_at_any_byte_from_a_target_without_extensions_is_resumed() {
    killed_everywhere(Profile::plain(), Kill::Received, Side::Target, 30).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_killed_at_any_byte_from_the_source_is_resumed() {
    killed_everywhere(Profile::dovecot(), Kill::Received, Side::Source, 30).await;
}

/// A06
#[tokio::test(start_paused = true)]
async fn a_run_killed_at_every_event_is_resumed() {
    for event in 1.. {
        let mut world = world(Profile::dovecot());
        if world.run_until(Kill::Events(event)).await.is_some() {
            assert!(event > 15, "only {event} events");
            break;
        }
        let report = world.run().await;
        assert_all_there(&world, &report, &format!("event {event}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_killed_again_and_again_gets_through() {
    let mut world = world(Profile::exchange());
    let mut kills = 0;
    let report = loop {
        kills += 1;
        // Each time a little further: the streamed message must get through in one go.
        let kill = Kill::Sent(Side::Target, 1_000 + 200 * kills);
        if let Some(report) = world.run_until(kill).await {
            break report;
        }
        assert!(kills < 100, "no end");
    };
    assert!(kills > 5, "only {kills} kills");
    assert_all_there(&world, &report, "many kills");
}

/// Cuts connections of one side after many numbers of bytes; the run itself goes on.
async fn cut_everywhere(target: Profile, side: Side, cut: fn(u64) -> Deed, bytes: u64) {
    for point in 0..30 {
        for connection in 0..2 {
            let mut world = world(target.clone());
            let server = match side {
                Side::Source => &world.source,
                Side::Target => &world.target,
            };
            let deed = cut(1 + point * bytes / 30);
            let what = format!("{deed:?} of connection {connection}");
            server.faults().arm(Fault::once(deed).after(connection));
            let report = world.run().await;
            assert_all_there(&world, &report, &what);
        }
    }
}

/// A02
#[tokio::test(start_paused = true)]
async fn a_cut_after_any_byte_to_the_target_loses_nothing() {
    cut_everywhere(Profile::dovecot(), Side::Target, Deed::CutAfterRead, 14_000).await;
}

/// A02
#[tokio::test(start_paused = true)]
async fn a_cut_after_any_byte_to_a_target_without_extensions_loses_nothing() {
    cut_everywhere(Profile::plain(), Side::Target, Deed::CutAfterRead, 14_000).await;
}

/// A02
#[tokio::test(start_paused = true)]
async fn a_cut_after_any_byte_from_the_target_loses_nothing() {
    cut_everywhere(Profile::exchange(), Side::Target, Deed::CutAfterWritten, 4_000).await;
}

/// A02, B06
#[tokio::test(start_paused = true)]
async fn a_cut_after_any_byte_from_the_source_loses_nothing() {
    cut_everywhere(Profile::dovecot(), Side::Source, Deed::CutAfterWritten, 16_000).await;
}

/// A02
#[tokio::test(start_paused = true)]
async fn a_cut_after_any_byte_to_the_source_loses_nothing() {
    cut_everywhere(Profile::dovecot(), Side::Source, Deed::CutAfterRead, 1_500).await;
}

/// A01
#[tokio::test(start_paused = true)]
async fn an_append_whose_ok_is_lost_is_not_repeated() {
    for target in [Profile::dovecot(), Profile::exchange(), Profile::plain()] {
        for append in 0..4 {
            let mut world = world(target.clone());
            let fault = Fault::once(Deed::CutAfter("APPEND".to_owned())).after(append);
            world.target.faults().arm(fault);
            let report = world.run().await;
            assert_all_there(&world, &report, &format!("append {append}"));
            assert_eq!(world.target.counters().appended, MESSAGES);
        }
    }
}

/// A04
#[tokio::test(start_paused = true)]
async fn an_append_that_commits_after_its_connection_is_lost_is_waited_for() {
    for append in 0..4 {
        let mut world = world(Profile::exchange());
        // Later than the pause before the next try, which is no settling.
        world.config.settle = Duration::from_secs(10);
        let late = Deed::CommitLate(Matching::Any, Duration::from_secs(6));
        world.target.faults().arm(Fault::once(late).after(append));
        // Nothing of it is answered in time.
        world.config.idle_timeout = Duration::from_secs(1);
        let report = world.run().await;
        world.target.settle().await;
        assert_all_there(&world, &report, &format!("append {append}"));
    }
}

/// A05
#[tokio::test(start_paused = true)]
async fn a_slow_append_is_waited_for_and_not_repeated() {
    let mut world = world(Profile::dovecot());
    let slow = Deed::Delay("APPEND".to_owned(), Duration::from_secs(200));
    world.target.faults().arm(Fault::always(slow));
    let report = world.run().await;
    assert_all_there(&world, &report, "slow");
    assert_eq!(world.target.counters().appended, MESSAGES);
    assert!(report.took > Duration::from_secs(200));
}

/// A16
#[tokio::test(start_paused = true)]
async fn a_message_acknowledged_and_not_stored_is_copied_again() {
    for target in [Profile::dovecot(), Profile::exchange()] {
        let mut world = world(target);
        let forget = Deed::Forget(Matching::Contains(b"letter 3\r".to_vec()));
        world.target.faults().arm(Fault::once(forget));
        let report = world.run().await;
        assert_all_there(&world, &report, "forgotten once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_never_stored_is_listed_as_lost() {
    let mut world = world(Profile::exchange());
    let forget = Deed::Forget(Matching::Contains(b"letter 3\r".to_vec()));
    world.target.faults().arm(Fault::always(forget));
    let report = world.run().await;
    assert_eq!((report.fate(Fate::Lost), report.fate(Fate::Copied)), (1, MESSAGES - 1));
    assert_eq!(report.verdict, Verdict::Incomplete);
    assert_eq!(world.copy().snapshot().messages() as u64, MESSAGES - 1);
    world.target.faults().clear();
    let report = world.run().await;
    assert_all_there(&world, &report, "stored at last");
}

#[tokio::test(start_paused = true)]
async fn equal_messages_in_many_windows_keep_their_count() {
    for target in [Profile::dovecot(), Profile::exchange(), Profile::plain()] {
        for point in 0..20 {
            let mut world = World::new(Profile::dovecot(), target.clone());
            for _ in 0..10 {
                world.anna().deliver(&INBOX, letter(1));
            }
            world.config.window_messages_max = 1;
            let deeds =
                [Deed::CutAfterRead(200 + 220 * point), Deed::CutAfterWritten(600 + 90 * point)];
            for deed in deeds {
                world.target.faults().arm(Fault::once(deed.clone()));
            }
            world.run().await.assert_done(10);
            world.assert_copied();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_twin_is_not_taken_for_a_copy_that_never_arrived() {
    for target in [Profile::dovecot(), Profile::courier()] {
        let mut world = World::new(Profile::dovecot(), target);
        world.anna().deliver(&INBOX, letter(1));
        world.run().await.assert_done(1);
        world.anna().deliver(&INBOX, letter(1));
        // `UID FETCH lo:*` then names the older one, since nothing is at or above lo.
        world.target.faults().arm(Fault::once(Deed::CutBefore("APPEND".to_owned())));
        world.run().await.assert_done(2);
        world.assert_copied();
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cuts_every_append_is_given_up() {
    let mut world = world(Profile::dovecot());
    let cut = Deed::CutBefore("APPEND".to_owned());
    world.target.faults().arm(Fault::always(cut));
    let report = world.run().await;
    assert_eq!(report.verdict, Verdict::Incomplete);
    assert_eq!(report.fate(Fate::Copied), 0);
    // Each message is given up after so many tries, with growing pauses between them.
    assert_eq!(report.fate(Fate::Refused), MESSAGES);
    assert!(world.target.counters().command("APPEND") <= 3 * MESSAGES);
    assert!(report.took > Duration::from_secs(20), "{:?}", report.took);
    let told = |event: &Event| match event {
        Event::NotCopied { mailbox, uid, .. } => Some((mailbox.clone(), *uid)),
        _ => None,
    };
    let told: Vec<_> = report.events.iter().filter_map(told).collect();
    assert_eq!(told.len() as u64, MESSAGES, "each once: {told:?}");
    assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), told.len());
    world.target.faults().clear();
    let report = world.run().await;
    assert_all_there(&world, &report, "no more cuts");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_not_stored_is_not_mistaken_for_the_next_of_its_size() {
    for target in [Profile::dovecot(), Profile::exchange()] {
        let mut world = World::new(Profile::dovecot(), target);
        world.config.window_messages_max = 1;
        for name in ["one", "two", "six", "ten"] {
            let body = format!("Subject: {name}\r\n\r\n{name}");
            world.anna().deliver(&INBOX, Message::new(body));
        }
        let forget = Deed::Forget(Matching::Contains(b"two".to_vec()));
        world.target.faults().arm(Fault::once(forget));
        world.run().await.assert_done(4);
        world.assert_copied();
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_while_windows_wait_for_others_does_not_hang() {
    for windows_in_flight_max in [1, 2, 4] {
        for deed in [Deed::CutAfter, Deed::CutBefore] {
            for append in 0..6 {
                let mut world = World::new(Profile::dovecot(), Profile::courier());
                for number in [1, 2, 2, 3, 3, 3, 4, 2, 1, 1] {
                    world.anna().deliver(&INBOX, letter(number));
                }
                world.config.windows_in_flight_max = windows_in_flight_max;
                world.config.window_messages_max = 1;
                let fault = Fault::once(deed("APPEND".to_owned())).after(append);
                world.target.faults().arm(fault);
                world.run().await.assert_done(10);
                world.assert_copied();
            }
        }
    }
}

/// A server that cannot read a message just now says nothing of whether it is there.
#[tokio::test(start_paused = true)]
async fn a_refusal_to_read_what_is_in_doubt_decides_nothing() {
    let streamed = || [&letter(1).body[..], &[b'x'; 9_000]].concat();
    // Only their octets tell them apart.
    let namesake = |octet| [&letter(1).body[..], &[octet]].concat();
    for said in ["NO [UNAVAILABLE] later", "NO no"] {
        for fetch in 0..6 {
            for side in [Side::Source, Side::Target] {
                let mut world = World::usual();
                world.config.window_bytes_max = 6_000;
                let bodies = match side {
                    Side::Source => vec![streamed()],
                    Side::Target => vec![namesake(b'a'), namesake(b'b')],
                };
                let messages = bodies.len() as u64;
                for body in bodies {
                    world.anna().deliver(&INBOX, Message::new(body));
                }
                world.target.faults().arm(Fault::once(Deed::CutAfter("APPEND".to_owned())));
                let server = if side == Side::Source { &world.source } else { &world.target };
                let refused = Deed::Answer("UID FETCH".to_owned(), said.to_owned());
                server.faults().arm(Fault::once(refused).after(fetch));
                world.run().await;
                world.run().await.assert_done(messages);
                world.assert_copied();
            }
        }
    }
}
