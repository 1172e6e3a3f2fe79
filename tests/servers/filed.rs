//! Mail that its owner files at the source between two passes, and mailboxes that are renamed there: the
//! target follows, and each message is there once.

use std::fs;

use crate::client::Client;
use crate::dump::Dump;
use crate::harness::dovecot::Options;
use crate::harness::{Server, available, cyrus, dovecot};
use crate::messages::{Contents, Mail, Manner};
use crate::product::{Account, Link, Migration, exit};

const USER: &str = "u0001";

fn letters(mailbox: &str, numbers: std::ops::Range<usize>) -> Vec<Mail> {
    let letter = |number| {
        let text =
            format!("Subject: {number}\r\nMessage-ID: <{number}@example.org>\r\n\r\none\r\n");
        Mail::new(mailbox, text.into())
    };
    numbers.map(letter).collect()
}

/// Moves the first messages of a mailbox, as its owner's client does.
fn file(client: &mut Client, from: &str, messages: usize, to: &str) {
    let (from, to) = (client.wire_name(from), client.wire_name(to));
    client.ok(&format!("SELECT \"{from}\""));
    client.ok(&format!("MOVE 1:{messages} \"{to}\""));
    client.ok("UNSELECT");
}

/// What is told of the last run in its log: how often copies were moved, and how many were sent.
fn told(migration: &Migration, events: usize) -> Vec<String> {
    let log = fs::read_to_string(migration.state().join("log.ndjson")).unwrap();
    log.lines().skip(events).map(str::to_owned).collect()
}

#[track_caller]
fn follows(source: &Server, target: &Server, keeps_renamed: bool) {
    let mut client = source.client(USER);
    Contents::new(31, 40, Manner::Tame).store(&mut client);
    for mailbox in ["Desk", "Filed", "Plans", "Plans/2019"] {
        client.create(mailbox);
    }
    client.append(&letters("Desk", 0..12));
    client.append(&letters("Desk", 11..12)); // One of them twice.
    client.append(&letters("Filed", 20..23));
    client.append(&letters("Plans", 30..36));
    client.append(&letters("Plans/2019", 40..44));
    let migration =
        Migration::new(&[Account::new(USER, (source, Link::Plain), (target, Link::Plain))]);
    migration.run_expecting(exit::ALL_THERE);
    Dump::read(&mut client).assert_copied_to(&Dump::read(&mut target.client(USER)));

    client.create("New");
    file(&mut client, "Desk", 4, "Filed");
    file(&mut client, "Desk", 3, "New");
    file(&mut client, "Filed", 2, "Desk");
    let (plans, undertakings) = (client.wire_name("Plans"), client.wire_name("Undertakings"));
    client.ok(&format!("RENAME \"{plans}\" \"{undertakings}\""));
    client.append(&letters("Desk", 50..52));
    client.append(&letters("Undertakings", 60..62));
    let before = told(&migration, 0).len();
    let run = migration.run_expecting(exit::ALL_THERE);
    let events = told(&migration, before);
    let owed = Dump::read(&mut client);
    let owed = match keeps_renamed {
        true => owed.renamed("Undertakings", "Plans").renamed("Undertakings/2019", "Plans/2019"),
        false => owed,
    };
    let there = Dump::read(&mut target.client(USER));
    assert!(owed.difference(&there).is_empty(), "{}{run}", owed.difference(&there));
    let moved = events.iter().filter(|event| event.contains("moves_followed")).count();
    assert!(moved >= 3, "{moved} {events:#?}");
    let reported = migration.reported();
    assert!(!reported.iter().any(|line| line.contains("removed-at-source")), "{reported:#?}");

    let nexts = target.client(USER).uid_nexts();
    migration.run_expecting(exit::ALL_THERE);
    assert_eq!(nexts, target.client(USER).uid_nexts(), "a third pass changed something");
    owed.assert_copied_to(&Dump::read(&mut target.client(USER)));
}

#[test]
fn moves_and_renames_are_followed_between_dovecots() {
    if available() {
        let options = Options::default();
        follows(&dovecot::start(&options), &dovecot::start(&options), true);
    }
}

#[test]
fn moves_and_renames_are_followed_from_dovecot_to_cyrus() {
    if available() {
        follows(&dovecot::start(&Options::default()), &cyrus::start(1), true);
    }
}

#[test]
fn moves_and_renames_are_followed_from_cyrus_to_dovecot() {
    if available() {
        follows(&cyrus::start(1), &dovecot::start(&Options::default()), true);
    }
}
