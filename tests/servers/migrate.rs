//! What `mailhaul migrate` promises, seen from the servers.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use crate::deadline::Deadline;
use crate::dump::Dump;
use crate::harness::dovecot::Options;
use crate::harness::{ADMIN, ADMIN_PASSWORD, Server, available, courier, cyrus, dovecot};
use crate::messages::{Contents, Mail, Manner, large};
use crate::product::{Account, Link, Migration, Running, exit};
use crate::random::Random;

const USERS: [&str; 3] = ["u0001", "u0002", "u0003"];

/// Fills the user's account and returns what it holds.
fn fill(server: &Server, user: &str, contents: &Contents) -> Dump {
    let mut client = server.client(user);
    contents.store(&mut client);
    Dump::read(&mut client)
}

fn dump(server: &Server, user: &str) -> Dump {
    Dump::read(&mut server.client(user))
}

pub(crate) fn small(mailbox: &str, number: usize) -> Mail {
    Mail::new(
        mailbox,
        format!("Subject: {number}\r\nMessage-ID: <{number}@example.org>\r\n\r\none\r\n").into(),
    )
}

/// Waits until another message lies in INBOX, or the run is over.
fn wait_for_arrival(target: &Server, running: &mut Running) {
    let mut watch = target.client("u0001");
    let before = watch.uid_nexts()["INBOX"];
    let deadline = Deadline::after(Duration::from_secs(30));
    while watch.uid_nexts()["INBOX"] == before && running.is_running() && !deadline.is_over() {
        sleep(Duration::from_millis(2));
    }
}

#[test]
fn three_accounts_arrive_whole_and_a_second_run_adds_nothing() {
    if !available() {
        return;
    }
    let (source, target) =
        (dovecot::start(&Options::default()), dovecot::start(&Options::default()));
    let stored = USERS.map(|user| {
        let seed = user.bytes().map(u64::from).sum();
        fill(&source, user, &Contents::new(seed, 200, Manner::Awkward))
    });
    let accounts = USERS.map(|user| Account::new(user, (&source, Link::Tls), (&target, Link::Tls)));
    let migration = Migration::new(&accounts).trusting(&[&source, &target]);
    migration.run_expecting(exit::ALL_THERE);

    let mut nexts = Vec::new();
    for (user, stored) in USERS.iter().zip(&stored) {
        stored.assert_copied_to(&dump(&target, user));
        let owed = source.client(user).subscriptions();
        let got: BTreeSet<String> = target.client(user).subscriptions();
        assert_eq!(owed, got, "the subscriptions of {user}");
        nexts.push(target.client(user).uid_nexts());
    }
    assert!(migration.report().is_object());

    migration.run_expecting(exit::ALL_THERE);
    for ((user, stored), nexts) in USERS.iter().zip(&stored).zip(&nexts) {
        assert_eq!(*nexts, target.client(user).uid_nexts(), "a second run changed {user}");
        stored.assert_copied_to(&dump(&target, user));
        stored.assert_copied_to(&dump(&source, user));
    }
}

/// Moves an account and compares: the mail is such as neither server alters.
fn moves(source: (&Server, Link), target: (&Server, Link), seed: u64) {
    let stored = fill(source.0, "u0001", &Contents::new(seed, 150, Manner::Tame));
    let servers = [source.0, target.0];
    let migration = Migration::new(&[Account::new("u0001", source, target)]).trusting(&servers);
    migration.run_expecting(exit::ALL_THERE);
    stored.assert_copied_to(&dump(target.0, "u0001"));
    migration.run_expecting(exit::ALL_THERE);
    stored.assert_copied_to(&dump(target.0, "u0001"));
}

#[test]
fn dovecot_moves_to_cyrus() {
    if !available() {
        return;
    }
    let (source, target) = (dovecot::start(&Options::default()), cyrus::start(1));
    moves((&source, Link::StartTls), (&target, Link::Tls), 21);
}

#[test]
fn cyrus_moves_to_dovecot() {
    if !available() {
        return;
    }
    let (source, target) = (cyrus::start(1), dovecot::start(&Options::default()));
    moves((&source, Link::StartTls), (&target, Link::Plain), 22);
}

#[test]
fn courier_moves_to_dovecot() {
    if !available() {
        return;
    }
    let (source, target) = (courier::start(1), dovecot::start(&Options::default()));
    moves((&source, Link::Tls), (&target, Link::StartTls), 23);
}

#[test]
fn dovecot_moves_to_courier() {
    if !available() {
        return;
    }
    let (source, target) = (dovecot::start(&Options::default()), courier::start(1));
    moves((&source, Link::Plain), (&target, Link::StartTls), 24);
}

/// A06 (D)
#[test]
fn killed_at_any_moment_it_loses_and_doubles_nothing() {
    if !available() {
        return;
    }
    let (source, target) =
        (dovecot::start(&Options::default()), dovecot::start(&Options::default()));
    let stored = USERS.map(|user| {
        let seed = user.bytes().map(u64::from).sum::<u64>() + 100;
        fill(&source, user, &Contents::new(seed, 300, Manner::Awkward))
    });
    let accounts =
        USERS.map(|user| Account::new(user, (&source, Link::Plain), (&target, Link::Plain)));
    let migration = Migration::new(&accounts);
    let seed = std::env::var("MAILHAUL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("MAILHAUL_SEED={seed}");
    let mut random = Random::new(seed);
    let mut kills = 0;
    for _ in 0..6 {
        let delay = Duration::from_millis(30 + random.below(300) as u64);
        let killed = migration.start().kill_after(delay);
        println!("{delay:?}: {}", if killed { "killed" } else { "was over before" });
        kills += usize::from(killed);
    }
    assert!(kills > 0, "every run was over before its end");
    if !migration.run().succeeded() {
        migration.run_expecting(exit::ALL_THERE);
    }
    for (user, stored) in USERS.iter().zip(&stored) {
        stored.assert_copied_to(&dump(&target, user));
    }
}

#[test]
fn what_came_since_the_last_run_is_all_that_the_next_one_copies() {
    if !available() {
        return;
    }
    let (source, target) =
        (dovecot::start(&Options::default()), dovecot::start(&Options::default()));
    let contents = Contents::new(41, 100, Manner::Awkward);
    fill(&source, "u0001", &contents);
    let account = Account::new("u0001", (&source, Link::Plain), (&target, Link::Plain));
    let migration = Migration::new(&[account]);
    migration.run_expecting(exit::ALL_THERE);
    let before = target.client("u0001").uid_nexts();

    let mut client = source.client("u0001");
    let added: Vec<Mail> = (0..5).map(|number| small("R&D", number)).collect();
    client.append(&added);
    migration.run_expecting(exit::ALL_THERE);
    dump(&source, "u0001").assert_copied_to(&dump(&target, "u0001"));
    let mut expected = before;
    *expected.get_mut("R&D").unwrap() += 5;
    assert_eq!(expected, target.client("u0001").uid_nexts());
}

/// E15 (D)
#[test]
fn servers_that_die_in_mid_run_cost_time_only() {
    if !available() {
        return;
    }
    let target = Options { storage: "maildir:~/Maildir", ..Options::default() };
    let mut servers = [dovecot::start(&Options::default()), dovecot::start(&target)];
    let mails: Vec<Mail> = (0..4_000).map(|number| small("INBOX", number)).collect();
    servers[0].client("u0001").append(&mails);
    let stored = dump(&servers[0], "u0001");
    let [source, target] = &servers;
    let account = Account::new("u0001", (source, Link::Plain), (target, Link::Plain));
    let migration = Migration::new(&[account]);
    let mut running = migration.start();
    for side in [1, 0] {
        wait_for_arrival(&servers[1], &mut running);
        servers[side].restart();
    }
    // A Dovecot 2.3.19 that was killed can refuse a message with NO [SERVERBUG] (once in 30 runs,
    // November 2026): then it is the next run that brings it.
    if !running.wait().succeeded() {
        migration.run_expecting(exit::ALL_THERE);
    }
    stored.assert_copied_to(&dump(&servers[1], "u0001"));
}

/// B19 (D)
#[test]
fn refused_messages_are_listed_and_all_others_arrive() {
    if !available() {
        return;
    }
    let limited = Options { message_size_max: Some("100k"), ..Options::default() };
    let (source, target) = (dovecot::start(&Options::default()), dovecot::start(&limited));
    let mut mails: Vec<Mail> = (0..60).map(|number| small("INBOX", number)).collect();
    source.client("u0001").append(&mails);
    let stored = dump(&source, "u0001");
    mails.clear();
    mails.extend((0..3).map(|number| Mail::new("INBOX", large(150_000 + 1_000 * number))));
    source.client("u0001").append(&mails);

    let account = Account::new("u0001", (&source, Link::Plain), (&target, Link::Plain));
    let migration = Migration::new(&[account]);
    for _ in 0..2 {
        migration.run_expecting(exit::NOT_ALL);
        stored.assert_copied_to(&dump(&target, "u0001"));
        let reported = migration.reported();
        let refused = reported.iter().filter(|line| line.contains("refused")).count();
        assert_eq!(refused, 3, "{reported:#?}");
        let says_why = |line: &&String| line.to_lowercase().contains("size");
        assert_eq!(reported.iter().filter(says_why).count(), 3, "{reported:#?}");
    }
}

/// E01 (D)
#[test]
fn a_full_mailbox_is_told_and_what_fits_is_copied() {
    if !available() {
        return;
    }
    let limited = Options { quota: Some("200k"), ..Options::default() };
    let (source, target) = (dovecot::start(&Options::default()), dovecot::start(&limited));
    let mails: Vec<Mail> = (0..8).map(|_| Mail::new("INBOX", large(50_000))).collect();
    source.client("u0001").append(&mails);
    fill(&source, "u0002", &Contents::new(61, 10, Manner::Awkward));
    let users = ["u0001", "u0002"];
    let account = |user| Account::new(user, (&source, Link::Plain), (&target, Link::Plain));
    let run = Migration::new(&users.map(account)).run_expecting(exit::NOT_ALL);
    let copied = dump(&target, "u0001").len();
    assert!((1..8).contains(&copied), "{copied} of 8 copied\n{run}");
    dump(&source, "u0002").assert_copied_to(&dump(&target, "u0002"));
}

/// E05 (D)
#[test]
fn one_connection_at_a_time_is_enough() {
    if !available() {
        return;
    }
    let narrow = Options { connections_max: 1, ..Options::default() };
    let (source, target) = (dovecot::start(&narrow), dovecot::start(&narrow));
    let stored = fill(&source, "u0001", &Contents::new(62, 120, Manner::Awkward));
    let account = Account::new("u0001", (&source, Link::Plain), (&target, Link::Plain));
    let migration = Migration::new(&[account]);
    migration.run_expecting(exit::ALL_THERE);
    stored.assert_copied_to(&dump(&target, "u0001"));
}

/// E08 (D)
#[test]
fn a_wrong_password_is_tried_once_and_stops_no_other_account() {
    if !available() {
        return;
    }
    let (source, target) =
        (dovecot::start(&Options::default()), dovecot::start(&Options::default()));
    let stored = fill(&source, "u0001", &Contents::new(51, 60, Manner::Awkward));
    fill(&source, "u0002", &Contents::new(52, 10, Manner::Awkward));
    let account = |user| Account::new(user, (&source, Link::Plain), (&target, Link::Plain));
    let migration =
        Migration::new(&[account("u0002").with("source_password", "wrong"), account("u0001")]);
    let run = migration.run_expecting(exit::NOT_ALL);
    stored.assert_copied_to(&dump(&target, "u0001"));
    assert_eq!(dump(&target, "u0002").len(), 0);
    assert!(!run.output().contains("wrong"), "a password was printed:\n{run}");

    let log = source.log();
    let failed = log.lines().filter(|line| line.contains("Password mismatch"));
    assert_eq!(failed.count(), 1, "failed logins in the log:\n{log}");

    migration.write_accounts(&[account("u0002"), account("u0001")]);
    migration.run_expecting(exit::ALL_THERE);
    dump(&source, "u0002").assert_copied_to(&dump(&target, "u0002"));
}

/// F04 (D)
#[test]
fn asked_to_stop_it_stops_early_and_the_next_run_ends_the_work() {
    if !available() {
        return;
    }
    let (source, target) =
        (dovecot::start(&Options::default()), dovecot::start(&Options::default()));
    let mails: Vec<Mail> = (0..6_000).map(|number| small("INBOX", number)).collect();
    source.client("u0001").append(&mails);
    let stored = dump(&source, "u0001");
    let account = Account::new("u0001", (&source, Link::Plain), (&target, Link::Plain));
    let migration = Migration::new(&[account]);

    let mut running = migration.start();
    wait_for_arrival(&target, &mut running);
    running.terminate();
    running.wait().assert_code(exit::STOPPED);
    let copied = dump(&target, "u0001").len();
    assert!((1..mails.len()).contains(&copied), "{copied} copied before the stop");

    migration.run_expecting(exit::ALL_THERE);
    stored.assert_copied_to(&dump(&target, "u0001"));
}

/// A26, A27 (D): a mailbox made anew at either end, with the same mail in another order, or half of it.
#[test]
fn a_mailbox_made_anew_is_compared_and_only_what_is_missing_is_copied() {
    if !available() {
        return;
    }
    let (source, target) =
        (dovecot::start(&Options::default()), dovecot::start(&Options::default()));
    let mut mails: Vec<Mail> = (0..40).map(|number| small("Work", number % 30)).collect();
    source.client("u0001").create("Work");
    source.client("u0001").append(&mails);
    let account = Account::new("u0001", (&source, Link::Plain), (&target, Link::Plain));
    let migration = Migration::new(&[account]);
    migration.run_expecting(exit::ALL_THERE);

    mails.reverse();
    mails.push(small("Work", 77));
    let made_anew = |server: &Server, mails: &[Mail]| {
        let mut client = server.client("u0001");
        client.ok("DELETE \"Work\"");
        client.create("Work");
        client.append(mails);
    };
    made_anew(&source, &mails);
    migration.run_expecting(exit::ALL_THERE);
    dump(&source, "u0001").assert_copied_to(&dump(&target, "u0001"));
    assert_eq!(target.client("u0001").uid_nexts()["Work"], 42, "one more than the first forty");

    made_anew(&target, &mails[..20]);
    source.client("u0001").append([&small("Work", 78)]);
    migration.run_expecting(exit::ALL_THERE);
    dump(&source, "u0001").assert_copied_to(&dump(&target, "u0001"));
    assert_eq!(target.client("u0001").uid_nexts()["Work"], 43, "twenty, and the rest once");
}

/// F04 (D): the first SIGINT finishes what is in flight, a second one ends it there.
#[test]
fn interrupted_once_or_twice_it_is_resumed() {
    if !available() {
        return;
    }
    let (source, target) =
        (dovecot::start(&Options::default()), dovecot::start(&Options::default()));
    for (user, times) in [("u0001", 1), ("u0002", 2)] {
        let mails: Vec<Mail> = (0..4_000).map(|number| small("INBOX", number)).collect();
        source.client(user).append(&mails);
        let stored = dump(&source, user);
        let account = Account::new(user, (&source, Link::Plain), (&target, Link::Plain));
        let migration = Migration::new(&[account]);
        let running = migration.start();
        let mut watch = target.client(user);
        let deadline = Deadline::after(Duration::from_secs(30));
        while watch.uid_nexts()["INBOX"] < 20 && !deadline.is_over() {
            sleep(Duration::from_millis(2));
        }
        for _ in 0..times {
            running.signal("INT");
        }
        let run = running.wait();
        // What was in flight may have been finished before the second one came.
        let at_once = times == 2 && run.ended_with(exit::STOPPED_AT_ONCE);
        assert!(at_once || run.ended_with(exit::STOPPED), "{run}");
        let copied = dump(&target, user).len();
        assert!((1..mails.len()).contains(&copied), "{copied} copied before the stop");
        migration.run_expecting(exit::ALL_THERE);
        stored.assert_copied_to(&dump(&target, user));
    }
}

/// F05 (D): the machine sleeps, and both servers have closed the connections meanwhile.
#[test]
fn a_process_that_slept_goes_on() {
    if !available() {
        return;
    }
    let target = Options { storage: "maildir:~/Maildir", ..Options::default() };
    let (mut source, mut target) = (dovecot::start(&Options::default()), dovecot::start(&target));
    let mails: Vec<Mail> = (0..3_000).map(|number| small("INBOX", number)).collect();
    source.client("u0001").append(&mails);
    let stored = dump(&source, "u0001");
    let account = Account::new("u0001", (&source, Link::Plain), (&target, Link::Plain));
    let migration = Migration::new(&[account]);
    let mut running = migration.start();
    wait_for_arrival(&target, &mut running);
    running.signal("STOP");
    source.restart();
    target.restart();
    running.signal("CONT");
    // A Dovecot 2.3.19 that was killed can refuse a message with NO [SERVERBUG].
    if !running.wait().succeeded() {
        migration.run_expecting(exit::ALL_THERE);
    }
    stored.assert_copied_to(&dump(&target, "u0001"));
}

#[test]
fn an_unknown_certificate_is_refused_until_it_is_pinned() {
    if !available() {
        return;
    }
    let unknown = Options { self_signed: true, ..Options::default() };
    let (source, target) = (dovecot::start(&unknown), dovecot::start(&Options::default()));
    let stored = fill(&source, "u0001", &Contents::new(71, 20, Manner::Awkward));
    let account = Account::new("u0001", (&source, Link::Tls), (&target, Link::Plain));
    let migration = Migration::new(std::slice::from_ref(&account));
    let run = migration.run_expecting(exit::NOT_ALL);
    let (output, fingerprint) = (run.output(), source.fingerprint());
    assert!(output.contains("source_tls_pin"), "no hint at the column:\n{run}");
    let shown = output.replace(':', "").to_lowercase();
    assert!(
        shown.contains(&fingerprint.replace(':', "").to_lowercase()),
        "no {fingerprint}:\n{run}"
    );
    assert_eq!(dump(&target, "u0001").len(), 0);

    migration.write_accounts(&[account.clone().with("source_tls_pin", &"00".repeat(32))]);
    migration.run_expecting(exit::NOT_ALL);

    migration.write_accounts(&[account.with("source_tls_pin", &fingerprint)]);
    migration.run_expecting(exit::ALL_THERE);
    stored.assert_copied_to(&dump(&target, "u0001"));
}

/// What Dovecot announces without LITERAL+ and MULTIAPPEND: each literal waits for the server's
/// word.
const SYNCHRONISING: &str = "IMAP4rev1 SASL-IR ID ENABLE IDLE UIDPLUS NAMESPACE SPECIAL-USE CHILDREN \
     LIST-EXTENDED LIST-STATUS ESEARCH CONDSTORE QRESYNC MOVE BINARY";

#[test]
fn synchronising_literals_do() {
    if !available() {
        return;
    }
    let bare = Options { capability: Some(SYNCHRONISING), ..Options::default() };
    let (source, target) = (dovecot::start(&Options::default()), dovecot::start(&bare));
    let stored = fill(&source, "u0001", &Contents::new(81, 200, Manner::Awkward));
    let account = Account::new("u0001", (&source, Link::Plain), (&target, Link::Plain));
    Migration::new(&[account]).run_expecting(exit::ALL_THERE);
    stored.assert_copied_to(&dump(&target, "u0001"));
}

#[test]
fn the_base_protocol_does() {
    if !available() {
        return;
    }
    let bare = Options { capability: Some("IMAP4rev1"), ..Options::default() };
    let (source, target) = (dovecot::start(&bare), dovecot::start(&bare));
    let stored = fill(&source, "u0001", &Contents::new(82, 120, Manner::Awkward));
    let account = Account::new("u0001", (&source, Link::Plain), (&target, Link::Plain));
    let migration = Migration::new(&[account]);
    migration.run_expecting(exit::ALL_THERE);
    stored.assert_copied_to(&dump(&target, "u0001"));
    migration.run_expecting(exit::ALL_THERE);
    stored.assert_copied_to(&dump(&target, "u0001"));
}

#[test]
fn sent_mail_finds_the_mailbox_of_its_use() {
    if !available() {
        return;
    }
    let options = |special| Options { special, ..Options::default() };
    let source = dovecot::start(&options(&[("Sent", "\\Sent"), ("Trash", "\\Trash")]));
    let target = dovecot::start(&options(&[("Sent Items", "\\Sent"), ("Trash", "\\Trash")]));
    let mails: Vec<Mail> = ["Sent", "Sent", "Trash", "INBOX"]
        .iter()
        .enumerate()
        .map(|(number, mailbox)| small(mailbox, number))
        .collect();
    source.client("u0001").append(&mails);
    let uses = source.client("u0001").special_uses();
    assert_eq!(uses.get("Sent").map(String::as_str), Some("\\sent"));
    let account = Account::new("u0001", (&source, Link::Plain), (&target, Link::Plain));
    Migration::new(&[account]).run_expecting(exit::ALL_THERE);
    let stored = dump(&source, "u0001").renamed("Sent", "Sent Items");
    stored.assert_copied_to(&dump(&target, "u0001"));
    assert!(!target.client("u0001").uid_nexts().contains_key("Sent"), "a second Sent was made");
}

#[test]
fn an_administrator_moves_accounts_below_a_prefix() {
    if !available() {
        return;
    }
    let prefixed = Options { separator: '.', prefix: "INBOX.", ..Options::default() };
    let (source, target) = (dovecot::start(&Options::default()), dovecot::start(&prefixed));
    let stored = fill(&source, "u0001", &Contents::new(91, 80, Manner::Tame));
    let mut account = Account::new("u0001", (&source, Link::Plain), (&target, Link::Plain));
    for side in ["source", "target"] {
        account = account
            .with(&format!("{side}_auth"), "admin")
            .with(&format!("{side}_admin"), ADMIN)
            .with(&format!("{side}_password"), ADMIN_PASSWORD);
    }
    Migration::new(&[account]).run_expecting(exit::ALL_THERE);
    stored.assert_copied_to(&dump(&target, "u0001"));
}

/// B20 (D): the size in MiB can be given as MAILHAUL_LARGE_MIB.
#[test]
fn a_large_message_passes_without_being_held() {
    const MEMORY_KIB: u64 = 48 << 10;
    if !available() {
        return;
    }
    let given = std::env::var("MAILHAUL_LARGE_MIB").ok().and_then(|mib| mib.parse().ok());
    let mib: usize = given.unwrap_or(64);
    let (source, target) =
        (dovecot::start(&Options::default()), dovecot::start(&Options::default()));
    let mut mails: Vec<Mail> = (0..40).map(|number| small("INBOX", number)).collect();
    mails.insert(20, Mail::new("INBOX", large(mib << 20)));
    source.client("u0001").append(&mails);
    let stored = Dump::expected(&["INBOX"], &mails);
    let account = Account::new("u0001", (&source, Link::Tls), (&target, Link::Tls));
    let migration = Migration::new(&[account]).trusting(&[&source, &target]);
    let run = migration.run_expecting(exit::ALL_THERE);
    stored.assert_copied_to(&dump(&target, "u0001"));
    println!("{mib} MiB: {} KiB held", run.memory_peak_kib);
    assert!(run.memory_peak_kib < MEMORY_KIB, "{} KiB held", run.memory_peak_kib);
}
