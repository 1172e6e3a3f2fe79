//! A poor server on one end: GNU Mailutils' imap4d has no UIDPLUS, drops flags and dates of what is
//! appended, and shows an INBOX only once it was opened.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::client::Client;
use crate::dump::Dump;
use crate::harness::dovecot::Options;
use crate::harness::{Server, available, courier, cyrus, dovecot, mailutils};
use crate::messages::{Contents, Manner};
use crate::product::{Account, Link, Migration, exit};

/// Mail without what it refuses: flags, and odd zones.
fn plain(seed: u64, count: usize) -> Contents {
    let mut contents = Contents::new(seed, count, Manner::Tame);
    for mail in &mut contents.mails {
        mail.flags = Vec::new();
        mail.date = "17-Jul-2016 02:44:25 -0700".to_owned();
    }
    contents
}

fn fill(server: &Server, contents: &Contents) -> Client {
    let mut client = server.client("u0001");
    client.ok("SELECT INBOX");
    contents.store(&mut client);
    client
}

/// How often each body is in each mailbox.
fn bodies(client: &mut Client) -> BTreeMap<(String, Vec<u8>), usize> {
    let mut bodies = BTreeMap::new();
    for listed in client.list() {
        let mailbox = client.name(&listed.wire_name);
        for message in client.fetch_all(&listed.wire_name) {
            *bodies.entry((mailbox.clone(), message.body)).or_default() += 1;
        }
    }
    bodies
}

#[test]
fn mailutils_moves_to_dovecot_cyrus_and_courier() {
    if !available() {
        return;
    }
    let source = mailutils::start(1);
    let mut client = fill(&source, &plain(31, 60));
    client.ok("SELECT INBOX");
    client.ok("STORE 1 +FLAGS (\\Seen \\Flagged)");
    let stored = Dump::read(&mut source.client("u0001"));
    for target in [dovecot::start(&Options::default()), cyrus::start(1), courier::start(1)] {
        let account = Account::new("u0001", (&source, Link::Plain), (&target, Link::Plain));
        let migration = Migration::new(&[account]);
        for _ in 0..2 {
            // Its UIDVALIDITY is the second in which a mailbox is opened, and each time its last message gets
            // another UID.
            std::thread::sleep(Duration::from_millis(1_100));
            let run = migration.run_expecting(exit::ALL_THERE);
            let copied = Dump::read(&mut target.client("u0001"));
            let difference = stored.difference(&copied);
            assert!(difference.is_empty(), "on {}: {difference}\n{run}", target.name);
        }
    }
}

/// A27 (M): its UIDVALIDITY is a time, and the date of a message without one that of the session.
#[test]
fn mail_without_a_date_is_copied_once_from_mailutils() {
    if !available() {
        return;
    }
    let (source, target) = (mailutils::start(1), dovecot::start(&Options::default()));
    let mut contents = plain(35, 12);
    for mail in contents.mails.iter_mut().step_by(2) {
        let text = String::from_utf8_lossy(&mail.body);
        let lines = text.split_inclusive("\r\n").filter(|line| !line.starts_with("Date:"));
        mail.body = lines.collect::<String>().into_bytes();
    }
    let owed = bodies(&mut fill(&source, &contents));
    let account = Account::new("u0001", (&source, Link::Plain), (&target, Link::Plain));
    let migration = Migration::new(&[account]);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(1_100));
        let run = migration.run_expecting(exit::ALL_THERE);
        assert_eq!(bodies(&mut target.client("u0001")), owed, "{run}");
    }
}

/// A06 (M): without UIDs told, what was in flight is found by its content alone.
#[test]
fn killed_on_the_way_to_mailutils_it_loses_and_doubles_nothing() {
    if !available() {
        return;
    }
    let (source, target) = (dovecot::start(&Options::default()), mailutils::start(1));
    let owed = bodies(&mut fill(&source, &Contents::new(33, 120, Manner::Tame)));
    let account = Account::new("u0001", (&source, Link::Plain), (&target, Link::Plain));
    let migration = Migration::new(&[account]);
    let mut kills = 0;
    for try_ in 0..6 {
        if !migration.start().kill_after(Duration::from_millis(60 + 90 * try_)) {
            break;
        }
        kills += 1;
    }
    let run = migration.run_expecting(exit::ALL_THERE);
    assert_eq!(bodies(&mut target.client("u0001")), owed, "{kills} kills\n{run}");
    assert!(kills > 0, "it was through before");
}

#[test]
fn dovecot_moves_to_mailutils_and_nothing_is_lost_or_doubled() {
    if !available() {
        return;
    }
    let (source, target) = (dovecot::start(&Options::default()), mailutils::start(1));
    let contents = Contents::new(32, 60, Manner::Tame);
    let owed = bodies(&mut fill(&source, &contents));
    let account = Account::new("u0001", (&source, Link::Plain), (&target, Link::Plain));
    let migration = Migration::new(&[account]);
    for _ in 0..2 {
        let run = migration.run_expecting(exit::ALL_THERE);
        assert_eq!(bodies(&mut target.client("u0001")), owed, "{run}");
    }
    let reported = migration.reported();
    assert!(reported.iter().any(|line| line.contains("flags-reduced")), "{reported:?}");
    assert!(reported.iter().any(|line| line.contains("date-altered")), "{reported:?}");
}
