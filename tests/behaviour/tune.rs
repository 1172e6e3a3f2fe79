//! What a measurement of both ends finds, and that nothing of it stays.

use mailhaul::engine::Trial;
use mailhaul::event::Event;
use mailhaul::fault::Side;
use mailhaul::own::{OwnName, Serial};
use mailhaul::plan::tuning::Rate;
use mailhaul::rehearsal::{Deed, Fault, Profile, Store};
use mailhaul::simulation::world::{INBOX, World};

/// Little, since the clock stands still here.
fn trial() -> Trial {
    Trial { write: true, messages_max: 100, ..Trial::default() }
}

fn rates(events: &[Event], side: Side) -> Vec<Rate> {
    let told = events.iter().filter_map(|event| match event {
        Event::Measured { rate, .. } if rate.side == side => Some(*rate),
        _ => None,
    });
    told.collect()
}

fn limits(events: &[Event]) -> Vec<(Side, usize, String)> {
    let told = events.iter().filter_map(|event| match event {
        Event::Limited { side, connections, reason, .. } => {
            Some((*side, *connections, reason.clone()))
        }
        _ => None,
    });
    told.collect()
}

#[track_caller]
fn assert_through(events: &[Event]) {
    let through = events.iter().any(|event| matches!(event, Event::AccountMeasured { .. }));
    assert!(through, "{events:#?}");
}

fn mailboxes(store: &Store) -> Vec<String> {
    store.mailboxes().iter().map(|mailbox| mailbox.path.join("/")).collect()
}

#[tokio::test(start_paused = true)]
async fn both_ends_are_measured_and_nothing_stays_of_it() {
    for target in [Profile::dovecot(), Profile::courier(), Profile::exchange(), Profile::gmail()] {
        let world = World::new(Profile::dovecot(), target);
        world.deliver(0..120);
        let before = (world.anna().snapshot(), mailboxes(&world.copy()));
        let events = world.tune(trial()).await;
        assert_through(&events);
        for side in [Side::Source, Side::Target] {
            let rates = rates(&events, side);
            assert!(rates.iter().all(|rate| rate.messages > 0 && rate.bytes > 0), "{rates:?}");
            assert!(rates.iter().any(|rate| rate.connections > 1), "{rates:?}");
            assert!(rates.iter().any(|rate| rate.window_messages == 200), "{rates:?}");
            let server = if side == Side::Source { &world.source } else { &world.target };
            let compressed: Vec<_> = rates.iter().filter(|rate| rate.compressed).collect();
            assert_eq!(compressed.len(), usize::from(server.profile().compress), "{rates:?}");
            assert!(compressed.iter().all(|rate| rate.connections == 1), "{rates:?}");
            assert_eq!(server.counters().command("COMPRESS"), compressed.len() as u64);
        }
        assert_eq!((world.anna().snapshot(), mailboxes(&world.copy())), before);
        assert!(world.copy().messages(&INBOX).is_empty());
        assert_eq!(world.source.counters().command("SELECT"), 0);
        assert_eq!(world.source.counters().command("APPEND"), 0);
        assert!(world.target.counters().command("APPEND") > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_unless_it_was_asked_for() {
    let world = World::usual();
    world.deliver(0..10);
    let events = world.tune(Trial { write: false, ..trial() }).await;
    assert_through(&events);
    assert!(!rates(&events, Side::Source).is_empty());
    assert!(rates(&events, Side::Target).is_empty());
    for command in ["CREATE", "APPEND", "DELETE", "SELECT"] {
        assert_eq!(world.target.counters().command(command), 0, "{command}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wall_of_connections_is_found_and_is_not_run_against_again() {
    let wall = || Profile { max_connections_per_user: Some(3), ..Profile::dovecot() };
    let world = World::new(wall(), wall());
    world.deliver(0..20);
    let events = world.tune(trial()).await;
    assert_through(&events);
    let limits = limits(&events);
    let told: Vec<_> = limits.iter().map(|(side, connections, _)| (*side, *connections)).collect();
    assert_eq!(told, [(Side::Source, 3), (Side::Target, 3)], "{limits:?}");
    for side in [Side::Source, Side::Target] {
        assert!(rates(&events, side).iter().all(|rate| rate.connections <= 2));
    }
    assert_eq!(mailboxes(&world.copy()), ["INBOX"]);
}

#[tokio::test(start_paused = true)]
async fn it_stops_at_the_first_sign_of_throttling_and_removes_what_it_wrote() {
    let mut world = World::usual();
    world.config.host_connections_max = 8;
    world.deliver(0..20);
    // What one connection writes passes: windows of 10, of all 20 and of 4, a hundred messages each.
    let slower = Deed::Answer("APPEND".to_owned(), "NO [THROTTLED] slow down".to_owned());
    world.target.faults().arm(Fault::always(slower).after(50));
    let events = world.tune(trial()).await;
    assert_through(&events);
    let limits = limits(&events);
    let told: Vec<_> = limits.iter().map(|(side, connections, _)| (*side, *connections)).collect();
    assert_eq!(told, [(Side::Target, 1)], "{limits:?}");
    assert!(limits[0].2.contains("slow down"), "{limits:?}");
    let rates = rates(&events, Side::Target);
    assert!(rates.iter().all(|rate| rate.connections == 1), "{rates:?}");
    assert_eq!(mailboxes(&world.copy()), ["INBOX"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_measurement_left_is_removed_and_nothing_of_anybody_else() {
    let world = World::usual();
    world.deliver(0..5);
    let serial = Serial { run: 0xab, epoch: 0, number: 3 };
    let left = OwnName::trial(serial);
    let others = [OwnName::stage(serial).to_string(), "mailhaul-tune".to_owned()];
    for name in [left.as_str(), &others[0], &others[1]] {
        world.copy().create_mailbox(&[name], None).unwrap();
    }
    let below = ["Work", left.as_str()];
    world.copy().create_mailbox(&below, None).unwrap();
    assert_through(&world.tune(trial()).await);
    let left_over = mailboxes(&world.copy());
    assert!(!left_over.contains(&left.to_string()), "{left_over:?}");
    for name in others.iter().chain([&below.join("/")]) {
        assert!(left_over.contains(name), "{name} is not in {left_over:?}");
    }
}
