//! What `verify` finds between two servers, and that it changes neither.

use mailhaul::config::Depth;
use mailhaul::difference::{Compared, Difference};
use mailhaul::event::Event;
use mailhaul::plan::filter::Filter;
use mailhaul::plan::rules::{MapRule, Pattern};
use mailhaul::rehearsal::{BodyFault, Deed, Fault, InternalDate, Message, Profile};
use mailhaul::simulation::network::{SOURCE_PORT, TARGET_PORT};
use mailhaul::simulation::world::{CHANGING, INBOX, MessageExt, World, letter};

/// What was told of messages: the mailbox, in what they differ, and their UIDs.
fn differences(events: &[Event]) -> Vec<(String, Difference, Option<u32>, Option<u32>)> {
    let told = events.iter().filter_map(|event| match event {
        Event::Differs { mailbox, difference, source_uid, target_uid, .. } => {
            Some((mailbox.clone(), *difference, *source_uid, *target_uid))
        }
        _ => None,
    });
    told.collect()
}

/// What was told of the one account.
#[track_caller]
fn compared(events: &[Event]) -> (Compared, u64) {
    let mut told = events.iter().filter_map(|event| match event {
        Event::AccountCompared { compared, mailboxes_failed, .. } => {
            Some((compared.clone(), *mailboxes_failed))
        }
        _ => None,
    });
    let one = told.next();
    assert!(told.next().is_none(), "an account is told of once");
    one.unwrap_or_else(|| panic!("it is not through: {events:#?}"))
}

#[track_caller]
fn assert_exact(events: &[Event], messages: u64) {
    let (compared, failed) = compared(events);
    assert_eq!((compared.same, failed), (messages, 0), "{:?}", differences(events));
    assert!(compared.is_exact(), "{compared:?}");
}

const DEPTHS: [Depth; 3] = [Depth::Full, Depth::Sample(5_000), Depth::Fast];

fn plain(body: &str) -> Message {
    Message::new(body.to_owned()).of(1_600_000_000, 0)
}

#[tokio::test(start_paused = true)]
async fn what_was_copied_compares_as_equal_between_all_kinds_of_servers() {
    let servers = [Profile::dovecot, Profile::courier, Profile::cyrus, Profile::exchange];
    for source in servers {
        for target in servers {
            let mut world = World::new(source(), target());
            world.config.scan_messages_max = 7;
            world.deliver(0..20);
            for number in 0..3 {
                world.anna().deliver(&["Work", "a"], letter(1)); // Three times the same.
                world.anna().deliver(&["Sent"], letter(100 + number));
            }
            world.run().await.assert_done(26);
            for depth in DEPTHS {
                world.config.depth = depth;
                assert_exact(&world.compare().await, 26);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_changed_at_either_end() {
    let mut world = World::usual();
    world.deliver(0..20);
    world.run().await.assert_done(20);
    let before = world.copy().snapshot();
    let commands = |world: &World| {
        let [source, target] = [&world.source, &world.target].map(|server| server.counters());
        CHANGING.map(|command| source.command(command) + target.command(command))
    };
    let ran = commands(&world);
    for depth in DEPTHS {
        world.config.depth = depth;
        world.compare().await;
    }
    assert_eq!(commands(&world), ran);
    assert_eq!(world.copy().snapshot(), before);
}

#[tokio::test(start_paused = true)]
async fn every_change_is_told_with_its_kind_and_uids() {
    let mut world = World::usual();
    world.deliver(0..10);
    world.anna().deliver(&["Work"], letter(50));
    world.run().await.assert_done(11);
    let copy = world.copy();
    assert!(copy.expunge(&INBOX, 3));
    assert!(copy.set_flags(&INBOX, 4, &["\\Flagged"]));
    copy.deliver(&INBOX, letter(7)); // Once more: UID 11.
    copy.deliver(&INBOX, letter(77)); // Somebody else's: UID 12.
    assert!(copy.expunge(&INBOX, 6));
    let old = letter(5);
    copy.deliver(&INBOX, Message { internal_date: plain("").internal_date, ..old }); // UID 13.
    assert!(copy.expunge(&INBOX, 9));
    let mut changed = letter(8);
    changed.body = [&changed.body[..], b"A line of somebody else.\r\n"].concat().into();
    copy.deliver(&INBOX, changed); // UID 14.
    assert!(copy.expunge(&["Work"], 1));
    copy.deliver(&["Own"], letter(60));
    for depth in [Depth::Full, Depth::Fast, Depth::Sample(10_000)] {
        world.config.depth = depth;
        let events = world.compare().await;
        let inbox = |kind, source, target| ("INBOX".to_owned(), kind, source, target);
        assert_eq!(
            differences(&events),
            [
                inbox(Difference::Flags, Some(4), Some(4)),
                inbox(Difference::Date, Some(6), Some(13)),
                inbox(Difference::Content, Some(9), Some(14)),
                inbox(Difference::Doubled, None, Some(11)),
                inbox(Difference::Extra, None, Some(12)),
                // At the end, when it is known that they are nowhere.
                inbox(Difference::Missing, Some(3), None),
                ("Work".to_owned(), Difference::Missing, Some(1), None),
            ],
            "{depth:?}"
        );
        let (compared, failed) = compared(&events);
        assert_eq!((compared.source, compared.target, compared.same, failed), (11, 11, 6, 0));
        let extra = events.iter().any(|event| {
            matches!(event, Event::ExtraMailbox { target, messages: 1, .. } if target == "Own")
        });
        assert!(extra, "{events:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_keeps_size_date_and_header_is_seen_where_bodies_are_read() {
    let mut world = World::usual();
    world.deliver(0..40);
    world.run().await.assert_done(40);
    let copy = world.copy();
    for number in 0..40 {
        assert!(copy.expunge(&INBOX, number + 1));
        let mut altered = letter(number);
        let text = String::from_utf8(altered.body.to_vec()).unwrap().replace("Text of", "Test of");
        altered.body = text.into();
        copy.deliver(&INBOX, altered);
    }
    let mut found = Vec::new();
    for depth in [Depth::Full, Depth::Sample(5_000), Depth::Fast] {
        world.config.depth = depth;
        let (compared, _) = compared(&world.compare().await);
        found.push(compared.count(Difference::Content));
    }
    assert_eq!((found[0], found[2]), (40, 0));
    assert!((8..32).contains(&found[1]), "about half: {}", found[1]);
}

#[tokio::test(start_paused = true)]
async fn what_a_server_rewrites_on_its_way_in_is_told_as_such() {
    let mut world = World::usual();
    world.anna().deliver(&INBOX, plain("Subject: a\n\nbare\nlines"));
    world.run().await;
    let copy = world.copy();
    assert!(copy.expunge(&INBOX, 1));
    copy.deliver(&INBOX, plain("Subject: a\r\n\r\nbare\r\nlines\r\n"));
    let (compared, _) = compared(&world.compare().await);
    assert_eq!(compared.count(Difference::Rewritten), 1, "{compared:?}");
    assert_eq!(compared.count(Difference::Missing), 0);
}

#[tokio::test(start_paused = true)]
async fn mailboxes_are_compared_where_rules_and_earlier_runs_sent_them() {
    let mut world = World::new(Profile::dovecot(), Profile::courier());
    for path in [&["INBOX"][..], &["Old"], &["Spam"], &["Files"]] {
        world.anna().deliver(path, letter(1));
    }
    world.anna().create_mailbox(&["Empty"], None).unwrap();
    for name in ["Files", "Empty"] {
        world.target.faults().arm(Fault::once(Deed::RefuseCreate(name.to_owned())));
    }
    world.config.rules.map = vec![MapRule::parse("Old=Archive/Old").unwrap()];
    world.config.rules.exclude = vec![Pattern::parse("Spam").unwrap()];
    world.run().await.assert_done(3);
    let events = world.compare().await;
    assert_exact(&events, 3);
    let mut told: Vec<(String, String)> = Vec::new();
    for event in &events {
        match event {
            Event::MailboxCompared { mailbox, target, .. } => {
                told.push((mailbox.clone(), target.clone()));
            }
            Event::MailboxPlanned { source, target: None, reason, .. } => {
                told.push((source.clone(), reason.clone()));
            }
            _ => {}
        }
    }
    told.sort();
    let expected = [
        ("Empty", "Empty (2)"),
        ("Files", "Files (2)"),
        ("INBOX", "INBOX"),
        ("Old", "Archive/Old"),
        ("Spam", "by --exclude Spam"),
    ];
    let pair = |(mailbox, target): (&str, &str)| (mailbox.to_owned(), target.to_owned());
    assert_eq!(told, expected.map(pair));
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_that_the_target_lacks_is_told_and_so_is_its_mail() {
    let mut world = World::usual();
    world.deliver(0..3);
    world.run().await.assert_done(3);
    world.anna().deliver(&["New"], letter(4));
    world.anna().create_mailbox(&["Bare"], None).unwrap();
    let events = world.compare().await;
    assert_eq!(differences(&events), [("New".to_owned(), Difference::Missing, Some(1), None)]);
    assert_eq!(compared(&events).1, 2, "two mailboxes are not there");
}

#[tokio::test(start_paused = true)]
async fn what_a_filter_leaves_out_is_not_missed() {
    let mut world = World::usual();
    world.deliver(0..10);
    world.config.filter.since = Some(1_600_000_000 + 61 * 6);
    world.run().await;
    for depth in DEPTHS {
        world.config.depth = depth;
        let events = world.compare().await;
        assert_exact(&events, 4);
        assert_eq!(compared(&events).0.source, 4);
    }
    world.config.filter = Filter::default();
    let (compared, _) = compared(&world.compare().await);
    assert_eq!(compared.count(Difference::Missing), 6);
}

#[tokio::test(start_paused = true)]
async fn what_its_owner_moved_at_the_target_is_not_missing_and_counts_once() {
    let mut world = World::usual();
    world.deliver(0..6);
    world.deliver(5..6); // The last one twice.
    world.anna().deliver(&["Work"], letter(50));
    world.run().await.assert_done(8);
    let copy = world.copy();
    for (uid, to) in [(1, "Work"), (2, "Own"), (7, "Own")] {
        let stored = copy.messages(&INBOX).into_iter().find(|one| one.uid == uid).unwrap();
        copy.deliver(&[to], Message::new(stored.body));
        assert!(copy.expunge(&INBOX, uid));
    }
    assert!(copy.expunge(&INBOX, 6)); // The other one of the two is nowhere.
    assert!(copy.expunge(&INBOX, 3));
    for depth in [Depth::Full, Depth::Fast, Depth::Sample(5_000)] {
        world.config.depth = depth;
        let events = world.compare().await;
        let compared = compared(&events).0;
        assert_eq!(compared.count(Difference::MovedAtTarget), 3, "{depth:?} {compared:?}");
        assert_eq!(compared.count(Difference::Missing), 2, "{depth:?} {compared:?}");
        assert_eq!((compared.source, compared.same), (8, 3));
        let places = events.iter().filter_map(|event| match event {
            Event::Differs { difference: Difference::MovedAtTarget, text, .. } => Some(text),
            _ => None,
        });
        let mut places: Vec<&String> = places.collect();
        places.sort();
        let expected = ["Own at the target, UID 1", "Own at the target, UID 2"];
        let work = "Work at the target, UID 2";
        assert_eq!(
            places,
            [expected[0], expected[1], work]
                .map(|it| format!("it is in {it}"))
                .iter()
                .collect::<Vec<_>>()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn of_what_only_the_target_has_nothing_is_read_that_cannot_be_what_is_missing() {
    let mut world = World::usual();
    world.deliver(0..3);
    world.run().await.assert_done(3);
    let copy = world.copy();
    let moved = copy.messages(&INBOX).remove(1);
    copy.deliver(&["Own"], Message::new(moved.body));
    assert!(copy.expunge(&INBOX, 2));
    let body = vec![b'x'; 100_000];
    let unix_seconds = 1_000_000_000;
    let internal_date = InternalDate { unix_seconds, ..InternalDate::default() };
    copy.deliver(&["Own"], Message { internal_date, ..Message::new(body) });
    world.config.depth = Depth::Full;
    let read = |world: &World| world.target.counters().fetched_body_bytes;
    let before = read(&world);
    let compared = compared(&world.compare().await).0;
    assert_eq!(compared.count(Difference::MovedAtTarget), 1, "{compared:?}");
    assert!(read(&world) - before < 100_000, "{}", read(&world) - before);
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_told_though_the_comparison_breaks_off() {
    let mut world = World::usual();
    world.deliver(0..4);
    world.anna().deliver(&["Work"], letter(50));
    world.run().await.assert_done(5);
    assert!(world.copy().expunge(&INBOX, 3));
    let (faults, once) = (world.target.faults(), std::sync::Once::new());
    world.on_event(move |event| {
        if matches!(event, Event::Read { .. }) {
            let cut = Deed::CutBefore("STATUS".to_owned());
            once.call_once(|| faults.arm(Fault::always(cut)));
        }
    });
    world.copy().deliver(&["Own"], letter(60));
    let events = world.compare().await;
    assert!(events.iter().any(|event| matches!(event, Event::AccountFailed { .. })));
    assert_eq!(differences(&events), [("INBOX".to_owned(), Difference::Missing, Some(3), None)]);
}

#[tokio::test(start_paused = true)]
async fn what_an_end_does_not_hand_out_is_told() {
    for at_source in [true, false] {
        let mut world = World::usual();
        world.deliver(0..4);
        world.run().await.assert_done(4);
        let server = if at_source { &world.source } else { &world.target };
        server.faults().arm(Fault::always(Deed::Body(2, BodyFault::Nil)));
        let events = world.compare().await;
        let (compared, _) = compared(&events);
        assert_eq!(compared.count(Difference::Unreadable), 1, "{:?}", differences(&events));
        assert_eq!(compared.same, 3);
        assert!(!compared.is_exact());
    }
}

#[tokio::test(start_paused = true)]
async fn lost_connections_cost_time_only() {
    for port in [SOURCE_PORT, TARGET_PORT] {
        let mut world = World::usual();
        world.deliver(0..30);
        world.anna().deliver(&["Work"], letter(50));
        world.run().await.assert_done(31);
        assert!(world.copy().expunge(&INBOX, 3));
        let server = if port == SOURCE_PORT { &world.source } else { &world.target };
        for cut in [400, 1_500, 3_000, 6_000] {
            server.faults().arm(Fault::once(Deed::CutAfterWritten(cut)));
        }
        // Once more when one mailbox is done and the other is not.
        let (faults, once) = (server.faults(), std::sync::Once::new());
        world.on_event(move |event| {
            if matches!(event, Event::MailboxCompared { mailbox, .. } if mailbox == "INBOX") {
                let cut = Deed::CutBefore("EXAMINE".to_owned());
                once.call_once(|| faults.arm(Fault::once(cut)));
            }
        });
        let events = world.compare().await;
        let parked = events.iter().filter(|one| matches!(one, Event::AccountParked { .. })).count();
        assert!(parked > 2, "{events:#?}");
        assert_eq!(differences(&events).len(), 1, "told once: {:?}", differences(&events));
        assert_eq!(compared(&events).0.same, 30);
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_that_cannot_be_looked_at_does_not_hold_up_the_others() {
    let mut world = World::usual();
    let ben = world.add("ben@example.org");
    ben.deliver(&INBOX, letter(1));
    world.deliver(0..2);
    world.run().await.assert_done(3);
    world.accounts[0].source.user = "nobody@example.org".to_owned();
    let events = world.compare().await;
    let failed = events.iter().filter(|one| matches!(one, Event::AccountFailed { .. })).count();
    assert_eq!(failed, 1);
    assert_exact(&events, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_comparison_between_mailboxes() {
    let mut world = World::usual();
    world.deliver(0..3);
    world.anna().deliver(&["Work"], letter(50));
    world.run().await.assert_done(4);
    let stop = world.stop.clone();
    world.on_event(move |event| {
        if matches!(event, Event::MailboxCompared { .. }) {
            stop.request();
        }
    });
    let events = world.compare().await;
    let finished = events.last().unwrap();
    assert!(matches!(finished, Event::RunFinished { stopped: 1, .. }), "{finished:?}");
    assert!(!events.iter().any(|event| matches!(event, Event::AccountCompared { .. })));
}
