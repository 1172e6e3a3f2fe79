//! Rates, memory and connections have their limits, and nobody waits for ever.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mailhaul::config::{Rates, Verify};
use mailhaul::event::Event;
use mailhaul::rehearsal::{Deed, Fault, Message, Profile};
use tokio::time::Instant;

use mailhaul::simulation::world::{
    ANNA, INBOX, Report, TARGET_HOST, World, account, letter, password,
};

#[tokio::test(start_paused = true)]
async fn messages_flow_no_faster_than_they_may() {
    for rates in [
        Rates { account_messages: NonZeroU32::new(5), ..Rates::default() },
        Rates { host_messages: NonZeroU32::new(5), ..Rates::default() },
    ] {
        let mut world = World::usual();
        world.deliver(0..100);
        world.config.rates = rates;
        let report = world.run().await;
        report.assert_done(100);
        let took = report.took.as_secs_f64();
        assert!((18.0..25.0).contains(&took), "{took}");
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_flow_no_faster_than_they_may() {
    for window_bytes_max in [1 << 20, 20_000] {
        let mut world = World::usual();
        for _ in 0..40 {
            world.anna().deliver(&INBOX, Message::new(vec![b'x'; 50_000]));
        }
        world.config.window_bytes_max = window_bytes_max;
        world.config.rates.account_bytes = NonZeroU32::new(100_000);
        let report = world.run().await;
        report.assert_done(40);
        let took = report.took.as_secs_f64();
        assert!((18.0..25.0).contains(&took), "{took}");
    }
}

#[tokio::test(start_paused = true)]
async fn accounts_on_one_host_share_its_rate_evenly() {
    let mut world = World::usual();
    for user in ["ben@example.org", "cem@example.org", "dan@example.org"] {
        let store = world.add(user);
        (0..50).for_each(|number| {
            store.deliver(&INBOX, letter(number));
        });
    }
    world.deliver(0..50);
    world.config.rates.host_messages = NonZeroU32::new(10);
    let (begun, done) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
    let seen = done.clone();
    world.on_event(move |event| {
        if matches!(event, Event::AccountDone { .. }) {
            seen.lock().unwrap().push(begun.elapsed().as_secs_f64());
        }
    });
    let report = world.run().await;
    report.assert_done(200);
    let took = report.took.as_secs_f64();
    assert!((19.0..26.0).contains(&took), "{took}");
    assert!(done.lock().unwrap()[0] > took * 0.7, "{done:?}");
}

#[tokio::test(start_paused = true)]
async fn little_memory_is_enough_for_many_accounts() {
    let mut world = World::usual();
    for number in 0..12 {
        let user = format!("user{number}@example.org");
        let store = world.add(&user);
        for size in [700_000, 100, 300_000, 1_500_000, 2_500_000, 900_000] {
            store.deliver(&INBOX, Message::new(vec![b'a' + number; size]));
        }
    }
    world.config.memory_bytes_max = 2 * 1024 * 1024;
    world.config.accounts_max = 12;
    world.run().await.assert_done(72);
    world.assert_copied();
}

#[tokio::test(start_paused = true)]
async fn few_connections_to_one_host_are_enough() {
    for (connections, source_host) in
        [(1, "old.example.org"), (1, TARGET_HOST), (2, TARGET_HOST), (3, TARGET_HOST)]
    {
        let mut world = World::usual();
        world.deliver(0..10);
        for number in 0..5 {
            let user = format!("user{number}@example.org");
            world.add(&user).deliver(&INBOX, letter(number));
        }
        for one in &mut world.accounts {
            *one = account(&one.source.user, source_host, TARGET_HOST);
        }
        world.config.host_connections_max = connections;
        world.config.connections_max = 3;
        world.run().await.assert_done(15);
        world.assert_copied();
        let peak = world.target.counters().connections_peak;
        assert!(peak <= connections, "{peak} of {connections}");
    }
}

#[tokio::test(start_paused = true)]
async fn so_many_accounts_at_once_and_no_more() {
    let mut world = World::usual();
    for number in 0..9 {
        let user = format!("user{number}@example.org");
        world.add(&user).deliver(&INBOX, letter(number));
    }
    world.config.accounts_max = 3;
    world.config.connections_max = 1;
    world.run().await.assert_done(9);
    assert!(world.source.counters().connections_peak <= 3);
    assert!(world.target.counters().connections_peak <= 3);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_changes_nothing_at_either_end() {
    let mut world = World::new(Profile::dovecot(), Profile::courier());
    world.deliver(0..5);
    world.anna().deliver(&["a", "b"], letter(9));
    world.config.dry_run = true;
    let before = world.copy().snapshot();
    let report = world.run().await;
    assert!(report.ended.is_ok());
    assert_eq!(world.copy().snapshot(), before);
    world.assert_source_untouched();
    let planned = |event: &&Event| matches!(event, Event::MailboxPlanned { target: Some(_), .. });
    assert_eq!(report.events.iter().filter(planned).count(), 2);
    world.config.dry_run = false;
    world.run().await.assert_done(6);
    assert_eq!(world.accounts[0].source.user, ANNA);
    world.assert_copied();
}

#[tokio::test(start_paused = true)]
async fn a_stopped_run_has_begun_no_more_accounts_than_had_a_place_and_counts_all() {
    let mut world = World::usual();
    (0..30).for_each(|number| {
        world.add(&format!("user{number}@example.org")).deliver(&INBOX, letter(number));
    });
    world.config.accounts_max = 3;
    let (stop, seen) = (world.stop.clone(), Arc::new(Mutex::new(0)));
    let begun = seen.clone();
    world.on_event(move |event| match event {
        Event::AccountStarted { .. } => *begun.lock().unwrap() += 1,
        Event::AccountDone { .. } => stop.request(),
        _ => {}
    });
    let report = world.run().await;
    let begun = *seen.lock().unwrap();
    assert!((1..=5).contains(&begun), "{begun}");
    let Some(Event::RunFinished { done, failed, stopped }) = report.events.last() else {
        panic!("{:?}", report.events.last());
    };
    assert_eq!((done + stopped, *failed), (31, 0));
    // The rest has its turn in the next run.
    let report = world.run().await;
    assert_eq!(report.fate(mailhaul::fate::Fate::Copied), 30);
}

#[tokio::test(start_paused = true)]
async fn an_account_that_waits_to_be_tried_again_gives_its_place_to_another() {
    let mut world = World::usual();
    for number in 0..5 {
        world.add(&format!("user{number}@example.org")).deliver(&INBOX, letter(number));
    }
    world.deliver(0..3);
    world.config.accounts_max = 1;
    world.network.refuse(TARGET_HOST, mailhaul::simulation::network::TARGET_PORT, 1);
    let ended = Arc::new(Mutex::new(Vec::new()));
    let order = ended.clone();
    world.on_event(move |event| {
        if let Event::AccountDone { account, .. } = event {
            order.lock().unwrap().push(account.to_string());
        }
    });
    world.run().await.assert_done(8);
    let ended = ended.lock().unwrap();
    assert_eq!(ended.len(), 6);
    assert!(!ended[0].contains(ANNA), "{ended:?}");
}

/// So many accounts with mail for as many connections as there may be.
fn many_accounts(target: Profile) -> World {
    let mut world = World::new(Profile::dovecot(), target);
    world.accounts.clear();
    for number in 0..8 {
        let store = world.add(&format!("user{number}@example.org"));
        for mailbox in ["a", "b", "c", "d"] {
            for letters in 0..60 {
                store.deliver(&[mailbox], letter(letters));
            }
        }
    }
    world
}

fn warnings(report: &Report) -> Vec<&str> {
    let texts = report.events.iter().map(|event| match event {
        Event::Warning { text, .. } => Some(text.as_str()),
        _ => None,
    });
    texts.flatten().collect()
}

/// E05: what a server grants each user is learnt from the first account that wanted more.
#[tokio::test(start_paused = true)]
async fn the_connections_that_an_account_is_granted_are_learnt() {
    let mut world =
        many_accounts(Profile { max_connections_per_user: Some(2), ..Profile::dovecot() });
    world.config.accounts_max = 1;
    world.config.connections_max = 4;
    let report = world.run().await;
    report.assert_done(8 * 240);
    world.assert_copied();
    let told = warnings(&report);
    let learnt = |text: &&&str| text.contains("serves an account over no more than 2 connections");
    assert_eq!(told.iter().filter(learnt).count(), 1, "{told:?}");
    let refused = told.iter().filter(|text| text.contains("goes on with fewer")).count();
    assert_eq!(refused, 2, "only the first account was refused any: {told:?}");
}

/// E05: what it grants all together is learnt, too, and not hit again and again.
#[tokio::test(start_paused = true)]
async fn the_connections_that_all_accounts_are_granted_are_learnt() {
    let mut world = many_accounts(Profile { max_connections: Some(3), ..Profile::dovecot() });
    world.config.accounts_max = 8;
    world.config.connections_max = 1;
    let report = world.run().await;
    report.assert_done(8 * 240);
    world.assert_copied();
    let told = warnings(&report);
    assert!(
        told.iter().any(|text| text.contains("together over no more than 3 connections")),
        "{told:?}"
    );
    // Eight that were taken, five that were not at first.
    let connections = world.target.counters().connections;
    assert!(connections <= 8 + 5, "{connections} connections");
}

/// E05: a server that has too much to do gets fewer connections, and all mail.
#[tokio::test(start_paused = true)]
async fn a_server_with_too_much_to_do_gets_fewer_connections() {
    let mut world = many_accounts(Profile::exchange());
    world.config.accounts_max = 8;
    world.config.host_connections_max = 4;
    let busy = Deed::Answer("APPEND".to_owned(), "NO [UNAVAILABLE] server too busy".to_owned());
    world.target.faults().arm(Fault::once(busy).after(3));
    let report = world.run().await;
    report.assert_done(8 * 240);
    world.assert_copied();
    let told = warnings(&report);
    assert!(
        told.iter().any(|text| text.contains("all accounts together over no more")),
        "{told:?}"
    );
}

/// An account with much mail, and two with little, over two connections to each host.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_free_goes_to_who_has_none_then_to_who_has_much_left() {
    for (left, connections) in [(1_100, 4), (900, 3)] {
        let mut world = World::usual();
        for (mailbox, messages) in [("a", 400), ("b", left)] {
            (0..messages).for_each(|number| {
                world.anna().deliver(&[mailbox], letter(number));
            });
        }
        for user in ["ben@example.org", "cem@example.org"] {
            world.add(user).deliver(&INBOX, letter(0));
        }
        world.config.host_connections_max = 2;
        let ended = Arc::new(Mutex::new(Vec::new()));
        let order = ended.clone();
        world.on_event(move |event| {
            if let Event::AccountDone { account, .. } = event {
                order.lock().unwrap().push(account.to_string());
            }
        });
        world.run().await.assert_done(402 + u64::from(left));
        world.assert_copied();
        assert!(ended.lock().unwrap()[2].contains(ANNA), "{ended:?}");
        assert_eq!(world.target.counters().connections, connections);
        assert_eq!(world.target.counters().connections_peak, 2);
    }
}

/// Two sources, of which each has a connection left, and a target that has none.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_connection_to_one_end_takes_none_from_the_other() {
    let mut world = World::usual();
    world.add("ben@example.org");
    for user in [ANNA, "ben@example.org"] {
        let store = world.source.account(user, &password(user));
        for mailbox in ["a", "b", "c"] {
            (0..60).for_each(|number| {
                store.deliver(&[mailbox], letter(number));
            });
        }
    }
    for (one, source_host) in world.accounts.iter_mut().zip(["a.example.org", "b.example.org"]) {
        *one = account(&one.source.user, source_host, TARGET_HOST);
    }
    world.config.host_connections_max = 2;
    world.run().await.assert_done(360);
    world.assert_copied();
    assert_eq!(world.target.counters().connections_peak, 2);
}

/// Eight mailboxes, and a target that takes its time for each window.
fn much_mail_for_one_near() -> World {
    let mut world = World::usual();
    for mailbox in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        (0..300).for_each(|number| {
            world.anna().deliver(&[mailbox], letter(number));
        });
    }
    let slow = Deed::Delay("APPEND".to_owned(), Duration::from_millis(50));
    world.target.faults().arm(Fault::always(slow));
    world.config.near = Duration::from_millis(10);
    world
}

#[tokio::test(start_paused = true)]
async fn near_servers_get_more_connections_as_long_as_more_is_copied() {
    let mut world = much_mail_for_one_near();
    let (target, early) = (world.target.clone(), Arc::new(AtomicUsize::new(0)));
    let first = early.clone();
    world.on_event(move |event| {
        if matches!(event, Event::Copied { .. }) && first.load(Ordering::Relaxed) == 0 {
            first.store(target.counters().connections_peak, Ordering::Relaxed);
        }
    });
    world.run().await.assert_done(2_400);
    world.assert_copied();
    assert_eq!(early.load(Ordering::Relaxed), 1);
    assert!(world.target.counters().connections_peak >= 4);
}

#[tokio::test(start_paused = true)]
async fn near_servers_get_no_more_connections_where_these_bring_nothing() {
    let mut world = much_mail_for_one_near();
    world.config.rates.account_messages = NonZeroU32::new(60);
    // How many mailboxes were worked on at once, whenever one began.
    let (at_once, known) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let told = known.clone();
    world.on_event(move |event| match event {
        Event::MailboxStarted { .. } => {
            told.lock().unwrap().push(at_once.fetch_add(1, Ordering::Relaxed) + 1);
        }
        Event::MailboxDone { .. } => {
            at_once.fetch_sub(1, Ordering::Relaxed);
        }
        _ => {}
    });
    world.run().await.assert_done(2_400);
    world.assert_copied();
    assert_eq!(world.target.counters().connections_peak, 2);
    assert_eq!(*known.lock().unwrap(), [1, 1, 2, 2, 1, 1, 1, 1, 1], "the second lane ends");
}

#[tokio::test(start_paused = true)]
async fn what_was_appended_far_away_is_read_back_in_the_same_round_trip() {
    for (profile, verify) in [
        (Profile::dovecot(), Verify::Sample),
        (Profile::dovecot(), Verify::Full),
        (Profile { multiappend: false, ..Profile::dovecot() }, Verify::Full),
    ] {
        for near in [Duration::ZERO, Duration::from_secs(1)] {
            let mut world = World::new(Profile::dovecot(), profile.clone());
            world.deliver(0..60);
            world.config.verify = verify;
            world.config.near = near;
            world.run().await.assert_done(60);
            world.assert_copied();
            // A look of its own begins with one.
            let looks = world.target.counters().command("NOOP");
            assert_eq!(looks, u64::from(!near.is_zero()), "{verify:?} {near:?}");
        }
    }
}
