//! Cases of `tests/CASES.md` that are at home nowhere else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mailhaul::accounts::Batch;
use mailhaul::config::Adopt;
use mailhaul::engine::{Env, run_in};
use mailhaul::event::Event;
use mailhaul::fate::Fate;
use mailhaul::fault::Side;
use mailhaul::ledger::sqlite::SqliteLedger;
use mailhaul::ledger::{Count, Ledger};
use mailhaul::rehearsal::{AppendUidLie, BodyFault, Deed, Fault, Matching, Message, Profile};
use mailhaul::report::{Totals, Verdict};
use mailhaul::simulation::network::{Kill, SOURCE_PORT};
use mailhaul::simulation::world::{INBOX, SOURCE_HOST, TARGET_HOST, World, account, letter};
use mailhaul::stop::Stop;
use proptest::prelude::*;

/// A07: the write-ahead log of the ledger is cut anywhere, as a power failure leaves it.
// The file is written by threads, which a paused clock would run away from.
#[tokio::test]
async fn a_ledger_whose_end_is_lost_doubles_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, wal) = (folder.path().join("ledger"), folder.path().join("ledger-wal"));
    let mut world = World::usual();
    world.config.settle = Duration::from_millis(1);
    world.config.window_messages_max = 2;
    world.deliver(0..12);
    for number in [3, 3, 4] {
        world.anna().deliver(&INBOX, letter(number));
    }
    let run = async |world: &World, ledger: &SqliteLedger| {
        let env = Env { dial: world.network.clone(), ledger: ledger.clone(), seed: 7 };
        let batch = Batch { accounts: world.accounts.clone() };
        run_in(env, world.config.clone(), &batch, Arc::new(()), Stop::new()).await.unwrap();
        ledger.flush().await.unwrap();
    };
    let whole = SqliteLedger::open(&path).await.unwrap();
    run(&world, &whole).await;
    let (base, log) = (std::fs::read(&path).unwrap(), std::fs::read(&wal).unwrap());
    assert!(log.len() > 100_000, "only {} octets", log.len());
    let there = world.copy().snapshot();
    for length in (0..log.len()).step_by(log.len() / 25) {
        let cut = tempfile::tempdir().unwrap();
        std::fs::write(cut.path().join("ledger"), &base).unwrap();
        std::fs::write(cut.path().join("ledger-wal"), &log[..length]).unwrap();
        let ledger = SqliteLedger::open(&cut.path().join("ledger")).await.unwrap();
        run(&world, &ledger).await;
        assert!(world.copy().snapshot() == there, "cut after {length} octets");
        let snapshot = ledger.snapshot().await.unwrap();
        let totals = Totals::of_all(&snapshot);
        assert_eq!(Verdict::of(&snapshot), Verdict::Done, "{totals:?}");
        assert_eq!(totals.sum(&[Fate::Copied, Fate::Adopted]).messages, 15, "{totals:?}");
    }
}

/// A13: a FETCH from a UID on brings the last message, though it is below.
#[tokio::test(start_paused = true)]
async fn a_message_below_what_was_asked_for_is_not_claimed() {
    for target in [Profile::dovecot(), Profile::cyrus(), Profile::exchange()] {
        let mut world = World::new(Profile::dovecot(), target);
        world.config.adopt = Adopt::None;
        world.copy().deliver(&INBOX, letter(1));
        world.anna().deliver(&INBOX, letter(1));
        world.target.faults().arm(Fault::once(Deed::CutBefore("APPEND".to_owned())));
        world.run().await.assert_done(1);
        assert_eq!(world.copy().messages(&INBOX).len(), 2);
    }
}

/// A14: somebody else delivers an equal message while ours is in doubt.
#[tokio::test(start_paused = true)]
async fn an_equal_message_from_elsewhere_stays_and_nothing_is_sent_twice() {
    for (deed, there) in [(Deed::CutAfter as fn(String) -> Deed, 4), (Deed::CutBefore, 3)] {
        let mut world = World::usual();
        world.config.window_messages_max = 1;
        world.deliver(0..3);
        world.target.faults().arm(Fault::once(deed("APPEND".to_owned())));
        let (copy, done) = (world.copy(), AtomicBool::new(false));
        world.on_event(move |event| {
            let parked = matches!(event, Event::AccountParked { .. });
            if parked && !done.swap(true, Ordering::Relaxed) {
                copy.deliver(&INBOX, letter(0));
            }
        });
        let report = world.run().await;
        assert_eq!((report.fate(Fate::Copied), report.verdict), (3, Verdict::Done));
        assert_eq!(world.copy().messages(&INBOX).len(), there);
        world.run().await;
        assert_eq!(world.copy().messages(&INBOX).len(), there);
    }
}

/// B18: a line of 200 kB, and a target that refuses lines beyond 10,239 octets (Exchange).
#[tokio::test(start_paused = true)]
async fn a_message_whose_lines_are_too_long_for_the_target_is_listed() {
    for refuses in [false, true] {
        let mut world = World::new(Profile::dovecot(), Profile::exchange());
        world.deliver(0..5);
        let body = [&letter(5).body[..], &vec![b'x'; 200_000], b"\r\n"].concat();
        world.anna().deliver(&INBOX, Message::new(body));
        world.deliver(6..9);
        if refuses {
            let is_long =
                |body: &[u8]| body.split(|octet| *octet == b'\n').any(|l| l.len() > 10_239);
            let text = "NO The message contains a line that is too long".to_owned();
            let refuse = Deed::Refuse(Matching::Where(Arc::new(is_long)), text);
            world.target.faults().arm(Fault::always(refuse));
        }
        let report = world.run().await;
        if refuses {
            assert_eq!((report.fate(Fate::Copied), report.fate(Fate::Refused)), (8, 1));
            assert!(report.reasons(Fate::Refused)[0].contains("too long"));
            assert_eq!(world.copy().messages(&INBOX).len(), 8);
        } else {
            report.assert_done(9);
            world.assert_copied();
        }
    }
}

/// B25: many messages in one mailbox, with UIDs up to the last there is. How many can be given as
/// MAILHAUL_MANY.
#[tokio::test(start_paused = true)]
async fn a_large_mailbox_with_uids_near_their_end_is_copied_in_parts() {
    let given = std::env::var("MAILHAUL_MANY").ok().and_then(|many| many.parse().ok());
    let many: u32 = given.unwrap_or(3_000);
    for target in [Profile::dovecot(), Profile::courier()] {
        let mut world = World::new(Profile::dovecot(), target);
        world.config.window_messages_max = 50;
        if given.is_none() {
            world.config.scan_messages_max = 200;
        }
        world.deliver(0..many / 2);
        world.anna().set_uid_next(&INBOX, u32::MAX - (many - many / 2));
        world.deliver(many / 2..many);
        // The target has little room above, too.
        world.copy().set_uid_next(&INBOX, u32::MAX - 2 - many);
        world.run().await.assert_done(u64::from(many));
        world.assert_copied();
        let appended = world.target.counters().appended;
        world.run().await.assert_done(u64::from(many));
        assert_eq!(world.target.counters().appended, appended);
    }
}

/// F03: many accounts, 50 of them on hosts that are dead. How many can be given as MAILHAUL_MANY.
#[tokio::test(start_paused = true)]
async fn fifty_dead_hosts_do_not_slow_thousands_of_accounts() {
    let given = std::env::var("MAILHAUL_MANY").ok().and_then(|many| many.parse().ok());
    let many: u32 = given.unwrap_or(500);
    let mut world = World::usual();
    world.accounts.clear();
    world.config.give_up_after = Duration::from_secs(600);
    for number in 0..many {
        let user = format!("user{number}@example.org");
        world.add(&user).deliver(&INBOX, letter(number));
        if number % (many / 50) == 0 {
            let dead = format!("dead{number}.example.org");
            world.network.refuse(&dead, SOURCE_PORT, u64::MAX);
            let last = world.accounts.len() - 1;
            world.accounts[last] = account(&user, &dead, TARGET_HOST);
        }
    }
    assert_eq!(world.accounts.iter().filter(|one| one.source.host != SOURCE_HOST).count(), 50);
    let begun = tokio::time::Instant::now();
    let last = Arc::new(std::sync::Mutex::new(Duration::ZERO));
    let seen = last.clone();
    world.on_event(move |event| {
        if matches!(event, Event::AccountDone { .. }) {
            *seen.lock().unwrap() = begun.elapsed();
        }
    });
    let report = world.run().await;
    assert_eq!(report.fate(Fate::Copied), u64::from(many) - 50);
    let failed = report.accounts.iter().filter(|one| one.reason.is_some()).count();
    assert_eq!((failed, report.verdict), (50, Verdict::Incomplete));
    // Nothing of it takes time but waiting for a place, and dead hosts leave theirs.
    let last = *last.lock().unwrap();
    assert!(last < Duration::from_secs(60), "the last good account was done after {last:?}");
    for server in [&world.source, &world.target] {
        let peak = server.counters().connections_peak;
        assert!(peak <= world.config.host_connections_max, "{peak} connections at once");
    }
}

/// What goes wrong at either end.
fn fault() -> impl Strategy<Value = (bool, Fault)> {
    let command =
        prop::sample::select(vec!["APPEND", "UID FETCH", "EXAMINE", "SELECT", "NOOP", "*"]);
    let deed = prop_oneof![
        command.clone().prop_map(|command| Deed::CutBefore(command.to_owned())),
        command.clone().prop_map(|command| Deed::CutAfter(command.to_owned())),
        command
            .prop_map(|command| Deed::Answer(command.to_owned(), "NO [UNAVAILABLE] no".to_owned())),
        (0..4_000_u64).prop_map(Deed::CutAfterRead),
        (0..4_000_u64).prop_map(Deed::CutAfterWritten),
        Just(Deed::Forget(Matching::Any)),
        Just(Deed::Refuse(Matching::Any, "NO [CANNOT] no".to_owned())),
        (1..12_u32).prop_map(|uid| Deed::Body(uid, BodyFault::Nil)),
        (1..12_u32).prop_map(|uid| Deed::Body(uid, BodyFault::Empty)),
        Just(Deed::AppendUid(AppendUidLie::Shifted(1))),
        Just(Deed::AppendUid(AppendUidLie::Omitted)),
    ];
    (any::<bool>(), deed, 0..12_u64, 1..4_u64).prop_map(|(at_source, deed, after, times)| {
        (at_source, Fault::once(deed).after(after).times(times))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// F07: whatever happened, and after every run, each message ever scanned has one fate.
    #[test]
    fn the_report_adds_up(
        faults in prop::collection::vec(fault(), 0..5),
        kill in prop::option::of((any::<bool>(), 500..12_000_u64)),
        gone in prop::collection::btree_set(1..12_u32, 0..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut world = World::usual();
            world.deliver(0..9);
            for number in [2, 2] {
                world.anna().deliver(&INBOX, letter(number));
            }
            world.anna().deliver(&["Archive"], letter(30));
            for (at_source, fault) in faults {
                let server = if at_source { &world.source } else { &world.target };
                server.faults().arm(fault);
            }
            if let Some((received, octets)) = kill {
                let kill = if received { Kill::Received } else { Kill::Sent };
                world.run_until(kill(Side::Target, octets)).await;
                assert_adds_up(&world).await;
            }
            let mut seen = 0;
            for run in 0..3 {
                world.run().await;
                let now = assert_adds_up(&world).await;
                assert!(now >= seen, "run {run}: {now} after {seen}");
                seen = now;
                for uid in &gone {
                    world.anna().expunge(&INBOX, *uid);
                }
            }
            world.source.faults().clear();
            world.target.faults().clear();
            let report = world.run().await;
            let open = [Fate::Pending, Fate::Held];
            prop_assert_eq!(report.totals.sum(&open).messages, 0, "{:?}", report.totals);
            // What its owner removed after it could not be copied stays listed.
            let missing = [Fate::Refused, Fate::Unreadable, Fate::Lost];
            let missing = report.totals.sum(&missing).messages;
            prop_assert!(missing <= gone.len() as u64, "{:?}", report.totals);
            Ok(())
        })?;
    }
}

/// F07: what is adopted in a part of a mailbox that the run has not come to yet is counted, too.
#[tokio::test(start_paused = true)]
async fn the_report_of_a_run_killed_behind_an_adoption_adds_up() {
    for point in 1.. {
        let mut world = World::new(Profile::courier(), Profile::courier());
        world.config.scan_messages_max = 2;
        world.deliver(0..5);
        world.run().await.assert_done(5);
        // One is gone, one is new and there already; the first part has something to be done.
        assert!(world.anna().expunge(&INBOX, 5));
        world.anna().deliver(&INBOX, letter(8));
        world.copy().deliver(&INBOX, letter(8));
        assert!(world.anna().set_flags(&INBOX, 1, &["\\Flagged"]));
        let through = world.run_until(Kill::Point(point)).await.is_some();
        assert_adds_up(&world).await;
        if through {
            break;
        }
    }
}

/// Each mailbox has as many fates as messages; gives how many those are.
async fn assert_adds_up(world: &World) -> u64 {
    let snapshot = world.ledger.snapshot().await.unwrap();
    let mut seen = 0;
    for mailbox in snapshot.accounts.iter().flat_map(|account| &account.mailboxes) {
        let Count { messages, .. } = Totals::of([mailbox]).sum(&Fate::ALL);
        assert_eq!(messages, mailbox.messages, "{:?}: {:?}", mailbox.source, mailbox.fates);
        seen += messages;
    }
    seen
}
