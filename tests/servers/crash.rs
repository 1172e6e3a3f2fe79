//! The program dies at its n-th write to the ledger or to a server, for every n, and the next run
//! ends the work.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::dump::Dump;
use crate::harness::dovecot::Options;
use crate::harness::{Server, available, courier, cyrus, dovecot};
use crate::messages::{Mail, large};
use crate::product::{Account, Link, Migration, exit};

/// More points than the job has: each gets a target account of its own.
const USERS: usize = 999;
/// Processes at once: most of their time they wait.
const AT_ONCE: usize = 4;

/// Six messages in two mailboxes: twins in each, and one that is too large for a window.
fn fill(source: &Server) -> Dump {
    let twin = |mailbox: &str| Mail::new(mailbox, b"Subject: twin\r\n\r\ntwin\r\n".to_vec());
    let mails = [
        twin("INBOX"),
        twin("INBOX"),
        Mail::new("INBOX", b"Subject: one\r\nMessage-ID: <1@example.org>\r\n\r\none\r\n".to_vec()),
        twin("Archive"),
        twin("Archive"),
        Mail::new("Archive", large(1_100_000)),
    ];
    let mut client = source.client("u0001");
    client.create("Archive");
    client.append(&mails);
    Dump::read(&mut client)
}

/// Dies at every `step`-th point, each time on the way to an account of its own; counts the deaths.
fn dies_everywhere(target: &Server, delivery: &str, step: usize) {
    let source = dovecot::start(&Options::default());
    let stored = fill(&source);
    let (next, deaths, over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    assert!(number < USERS, "it always dies");
                    if dies_at(1 + number * step, number, (&source, target), delivery, &stored) {
                        deaths.fetch_add(1, Ordering::Relaxed);
                    } else {
                        over.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let deaths = deaths.into_inner();
    eprintln!("{}, {delivery}: died at {deaths} points, each {step} apart", target.name);
    assert!(deaths * step > 40, "it died at {deaths} points only");
}

/// Whether the program came to this point, and died there. The next run must end the work, and the
/// one after it must find nothing to do.
fn dies_at(
    point: usize,
    number: usize,
    (source, target): (&Server, &Server),
    delivery: &str,
    stored: &Dump,
) -> bool {
    let user = format!("u{:04}", number + 1);
    let account = Account::new("u0001", (source, Link::Plain), (target, Link::Plain));
    let migration = Migration::new(&[account.with("target_user", &user)]);
    let arguments = ["--delivery", delivery];
    let first = migration.start_to_crash(point, &arguments).wait();
    if !first.died() {
        first.assert_code(exit::ALL_THERE);
    }
    eprintln!("point {point}: {}", if first.died() { "died" } else { "was over before" });
    let look = || {
        let mut client = target.client(&user);
        (Dump::read(&mut client), client.uid_nexts())
    };
    migration.start_with(&arguments).wait().assert_code(exit::ALL_THERE);
    // What was in doubt is claimed, not taken for somebody else's.
    let claimed = &migration.report()["totals"]["copied"]["messages"];
    assert_eq!(claimed, 6, "point {point}: messages told as copied");
    let (copied, before) = look();
    stored.assert_copied_to(&copied);
    migration.start_with(&arguments).wait().assert_code(exit::ALL_THERE);
    let (copied, after) = look();
    stored.assert_copied_to(&copied);
    assert_eq!(before, after, "point {point}: a run with nothing to do added something");
    first.died()
}

/// The points between two that are tried: as given by hand, else this.
fn step(default: usize) -> usize {
    let given = std::env::var("MAILHAUL_CRASH_STEP").ok().and_then(|step| step.parse().ok());
    given.unwrap_or(default)
}

fn roomy() -> Options {
    Options { users: USERS, ..Options::default() }
}

/// A06 (D)
#[test]
fn the_program_dies_at_every_write_on_the_way_to_dovecot() {
    if !available() {
        return;
    }
    dies_everywhere(&dovecot::start(&roomy()), "direct", step(1));
}

/// A06, A18 (D)
#[test]
fn the_program_dies_at_writes_of_staged_delivery_to_dovecot() {
    if !available() {
        return;
    }
    dies_everywhere(&dovecot::start(&roomy()), "staged", step(7));
}

/// A06 (C)
#[test]
fn the_program_dies_at_writes_on_the_way_to_cyrus() {
    if !available() {
        return;
    }
    dies_everywhere(&cyrus::start(USERS), "direct", step(17));
}

/// A06 (K)
#[test]
fn the_program_dies_at_writes_on_the_way_to_courier() {
    if !available() {
        return;
    }
    dies_everywhere(&courier::start(USERS), "direct", step(17));
}

/// Dies at every `step`-th point with a lock at the target: a second ledger stops there, and the first
/// one goes on and takes it away.
fn dies_with_a_lock(target: &Server, step: usize) {
    let source = dovecot::start(&Options::default());
    let stored = fill(&source);
    let mut refused = 0;
    for number in 1.. {
        let user = format!("u{number:04}");
        let account = Account::new("u0001", (&source, Link::Plain), (target, Link::Plain));
        let account = account.with("target_user", &user);
        let migration = || Migration::new(std::slice::from_ref(&account));
        let (first, second) = (migration(), migration());
        let died = first.start_to_crash(number * step, &["--lock-mailbox"]).wait().died();
        let locks = || {
            let there = target.client(&user).uid_nexts();
            there.into_keys().filter(|name| name.ends_with("-lock")).count()
        };
        if locks() > 0 {
            let run = second.start_with(&["--lock-mailbox"]).wait();
            run.assert_code(exit::NOT_ALL);
            assert!(run.output().contains("a mailhaul with another ledger"), "{run}");
            refused += 1;
        }
        first.start_with(&["--lock-mailbox"]).wait().assert_code(exit::ALL_THERE);
        assert_eq!(locks(), 0, "point {}", number * step);
        stored.assert_copied_to(&Dump::read(&mut target.client(&user)));
        if !died {
            break;
        }
    }
    assert!(refused > 1, "{} was locked at {refused} points only", target.name);
}

/// A20 (D)
#[test]
fn the_lock_of_a_program_that_died_is_its_ledgers_at_dovecot() {
    if !available() {
        return;
    }
    dies_with_a_lock(&dovecot::start(&roomy()), 17);
}

/// A20 (C, K)
#[test]
fn the_lock_of_a_program_that_died_is_its_ledgers_at_cyrus_and_courier() {
    if !available() {
        return;
    }
    dies_with_a_lock(&cyrus::start(20), 23);
    dies_with_a_lock(&courier::start(20), 23);
}
