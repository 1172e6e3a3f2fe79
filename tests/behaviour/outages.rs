//! Logins that fail and servers that are away.

use std::time::Duration;

use mailhaul::config::Config;
use mailhaul::event::Event;
use mailhaul::fault::Side;
use mailhaul::ledger::AccountState;
use mailhaul::rehearsal::{Deed, Fault, Profile};
use mailhaul::report::Verdict;

use mailhaul::simulation::network::{SOURCE_PORT, TARGET_PORT};
use mailhaul::simulation::world::{
    ANNA, INBOX, Report, SOURCE_HOST, TARGET_HOST, World, account, letter,
};

const BEN: &str = "ben@example.org";

fn waits(report: &Report) -> Vec<Duration> {
    let wait = |event: &Event| match event {
        Event::AccountParked { wait, .. } => Some(*wait),
        _ => None,
    };
    report.events.iter().filter_map(wait).collect()
}

/// E08
#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_tried_once_a_run() {
    for side in [Side::Source, Side::Target] {
        for profile in [Profile::dovecot(), Profile { auth_plain: false, ..Profile::plain() }] {
            let mut world = World::new(profile.clone(), profile);
            let ben = world.add(BEN);
            world.deliver(0..5);
            ben.deliver(&INBOX, letter(1));
            let server = match side {
                Side::Source => world.source.clone(),
                Side::Target => world.target.clone(),
            };
            server.account(ANNA, "another password");
            for run in 1..3 {
                let report = world.run().await;
                assert_eq!((report.verdict, report.verdict.exit_code()), (Verdict::Incomplete, 3));
                assert_eq!(report.state(ANNA), AccountState::Failed);
                assert_eq!(report.state(BEN), AccountState::Done);
                let counters = server.counters();
                let logins = counters.command("LOGIN") + counters.command("AUTHENTICATE");
                // Ben's one connection, and Anna's one try.
                assert_eq!(logins, 2 * run);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_waited_out_with_growing_pauses() {
    for (host, port) in [(SOURCE_HOST, SOURCE_PORT), (TARGET_HOST, TARGET_PORT)] {
        let mut world = World::usual();
        world.deliver(0..10);
        world.network.refuse(host, port, 6);
        let report = world.run().await;
        report.assert_done(10);
        world.assert_copied();
        let waits = waits(&report);
        assert_eq!(waits.len(), 6);
        assert!(waits.windows(2).all(|two| two[0] < two[1] * 2), "{waits:?}");
        assert!(waits[5] > waits[0] * 8, "{waits:?}");
    }
}

/// E03, E05
#[tokio::test(start_paused = true)]
async fn a_server_that_is_busy_is_asked_again() {
    let unavailable = "NO [UNAVAILABLE] try later";
    for (command, answer) in [
        ("AUTHENTICATE", unavailable),
        ("AUTHENTICATE", "NO Too many simultaneous connections"),
        ("AUTHENTICATE", "BYE [UNAVAILABLE] overloaded"),
        ("LIST", unavailable),
        ("SELECT", unavailable),
        ("EXAMINE", unavailable),
        ("APPEND", unavailable),
        ("APPEND", "NO [THROTTLED] slow down"),
        ("APPEND", "BYE server is going down"),
        ("UID FETCH", "BYE server is going down"),
        ("NOOP", "BYE server is going down"),
    ] {
        let mut world = World::usual();
        world.deliver(0..30);
        for server in [&world.source, &world.target] {
            let deed = Deed::Answer(command.to_owned(), answer.to_owned());
            server.faults().arm(Fault::once(deed).times(2));
        }
        let report = world.run().await;
        report.assert_done(30);
        world.assert_copied();
        assert!(!waits(&report).is_empty(), "{command} {answer}");
    }
}

/// E02
#[tokio::test(start_paused = true)]
async fn the_pause_a_server_asks_for_is_kept() {
    let mut world = World::new(Profile::dovecot(), Profile::exchange());
    world.deliver(0..10);
    let throttled = "NO Request is throttled. Suggested Backoff Time: 299961 milliseconds";
    let deed = Deed::Answer("APPEND".to_owned(), throttled.to_owned());
    world.target.faults().arm(Fault::once(deed).after(3));
    let report = world.run().await;
    report.assert_done(10);
    world.assert_copied();
    assert_eq!(waits(&report), [Duration::from_millis(299_961)]);
    assert!(report.took >= Duration::from_millis(299_961));
}

/// E05
#[tokio::test(start_paused = true)]
async fn a_server_full_of_connections_is_asked_again() {
    let mut world =
        World::new(Profile::dovecot(), Profile { max_connections: Some(1), ..Profile::dovecot() });
    let ben = world.add(BEN);
    world.deliver(0..20);
    ben.deliver(&INBOX, letter(1));
    world.run().await.assert_done(21);
    world.assert_copied();
}

#[tokio::test(start_paused = true)]
async fn one_connection_a_user_is_enough() {
    for most in [1, 2] {
        let limited = Profile { max_connections_per_user: Some(most), ..Profile::dovecot() };
        let mut world = World::new(limited.clone(), limited);
        world.deliver(0..20);
        world.anna().deliver(&["a"], letter(1));
        world.anna().deliver(&["b"], letter(2));
        world.config.connections_max = 4;
        world.run().await.assert_done(22);
        world.assert_copied();
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_away_is_given_up_and_done_when_it_is_back() {
    let mut world = World::usual();
    let ben = world.add(BEN);
    world.deliver(0..10);
    ben.deliver(&INBOX, letter(1));
    world.accounts[0] = account(ANNA, "away.example.org", TARGET_HOST);
    world.network.refuse("away.example.org", SOURCE_PORT, u64::MAX);
    let report = world.run().await;
    assert_eq!(report.state(ANNA), AccountState::Failed);
    assert_eq!(report.state(BEN), AccountState::Done);
    let limit = Config::default().give_up_after;
    assert!(report.took >= limit && report.took < limit * 2, "{:?}", report.took);
    world.network.refuse("away.example.org", SOURCE_PORT, 0);
    world.run().await.assert_done(11);
    world.assert_copied();
}

#[tokio::test(start_paused = true)]
async fn dead_hosts_do_not_slow_the_others() {
    let mut world = World::usual();
    world.deliver(0..10);
    world.config.accounts_max = 2;
    for number in 0..20 {
        let user = format!("user{number}@example.org");
        world.add(&user).deliver(&INBOX, letter(number));
        let dead = format!("dead{number}.example.org");
        world.network.refuse(&dead, SOURCE_PORT, u64::MAX);
        let user = format!("dead{number}@example.org");
        world.add(&user);
        world.accounts.pop();
        world.accounts.insert(0, account(&user, &dead, TARGET_HOST));
    }
    let begun = tokio::time::Instant::now();
    let done = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = done.clone();
    world.on_event(move |event| {
        if matches!(event, Event::AccountDone { .. }) {
            seen.lock().unwrap().push(begun.elapsed());
        }
    });
    world.run().await;
    let done = done.lock().unwrap();
    assert_eq!(done.len(), 21);
    assert!(done[20] < Duration::from_secs(60), "{:?}", done[20]);
}

/// E15
#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_left_after_a_while() {
    for command in ["APPEND", "SELECT", "AUTHENTICATE", "NAMESPACE", "LSUB"] {
        let mut world = World::usual();
        world.deliver(0..10);
        let hang = Deed::Delay(command.to_owned(), Duration::from_secs(1_000_000));
        world.target.faults().arm(Fault::once(hang));
        let report = world.run().await;
        report.assert_done(10);
        world.assert_copied();
        assert!(report.took < Duration::from_secs(400), "{command} {:?}", report.took);
    }
}
