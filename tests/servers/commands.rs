//! What the commands beside `migrate` promise, against real servers.

use std::thread::sleep;
use std::time::Duration;

use crate::deadline::Deadline;
use crate::dump::Dump;
use crate::harness::dovecot::Options;
use crate::harness::{Server, available, cyrus, dovecot};
use crate::messages::{Contents, Mail, Manner};
use crate::product::{Account, Link, Migration, exit};

fn fill(server: &Server, user: &str, contents: &Contents) -> Dump {
    let mut client = server.client(user);
    contents.store(&mut client);
    Dump::read(&mut client)
}

/// The lines of `verify.csv`, but for those of mailboxes that are not to be copied.
fn differences(migration: &Migration) -> Vec<String> {
    let mut lines = migration.lines_of("verify.csv");
    lines.retain(|line| !line.contains(" | left-out | "));
    lines
}

#[test]
fn verify_finds_dovecot_and_its_copy_the_same_until_something_changes() {
    if !available() {
        return;
    }
    let (source, target) =
        (dovecot::start(&Options::default()), dovecot::start(&Options::default()));
    let stored = fill(&source, "u0001", &Contents::new(71, 300, Manner::Awkward));
    let account = Account::new("u0001", (&source, Link::Tls), (&target, Link::Tls));
    let migration = Migration::new(&[account]).trusting(&[&source, &target]);
    let run = migration.command_expecting("verify", &[], exit::PROBLEMS);
    assert!(run.output().contains(&format!("missing {:>17} messages", stored.len())), "{run}");
    migration.run_expecting(exit::ALL_THERE);
    for how in [&[][..], &["--fast"], &["--sample", "20"]] {
        migration.command_expecting("verify", how, exit::ALL_THERE);
        assert_eq!(differences(&migration), Vec::<String>::new());
    }

    let mut client = target.client("u0001");
    client.ok("SELECT INBOX");
    client.ok("UID STORE 1 +FLAGS (\\Deleted Checked)");
    client.ok("UID STORE 2 +FLAGS (Checked)");
    client.ok("UID EXPUNGE 1");
    let before = Dump::read(&mut client);
    for how in [&[][..], &["--fast"]] {
        migration.command_expecting("verify", how, exit::PROBLEMS);
        let lines = differences(&migration);
        let kinds: Vec<&str> = lines.iter().filter_map(|line| line.split(" | ").nth(3)).collect();
        // What is missing is told at the end: until then it may turn up elsewhere.
        assert_eq!(kinds, ["flags", "missing"], "{lines:#?}");
    }
    before.assert_copied_to(&Dump::read(&mut client));
}

#[test]
fn verify_finds_mail_the_same_that_went_from_dovecot_to_cyrus() {
    if !available() {
        return;
    }
    let (source, target) = (dovecot::start(&Options::default()), cyrus::start(1));
    fill(&source, "u0001", &Contents::new(72, 100, Manner::Tame));
    let account = Account::new("u0001", (&source, Link::Plain), (&target, Link::StartTls));
    let migration = Migration::new(&[account]).trusting(&[&source, &target]);
    migration.run_expecting(exit::ALL_THERE);
    migration.command_expecting("verify", &[], exit::ALL_THERE);
}

#[test]
fn plan_tells_contents_and_places_and_makes_nothing() {
    if !available() {
        return;
    }
    let (source, target) =
        (dovecot::start(&Options::default()), dovecot::start(&Options::default()));
    let stored = fill(&source, "u0001", &Contents::new(73, 50, Manner::Tame));
    let account = Account::new("u0001", (&source, Link::Plain), (&target, Link::Plain));
    let migration = Migration::new(&[account]);
    let before = target.client("u0001").uid_nexts();
    let run = migration.command_expecting("plan", &["--exclude", "Projects"], exit::ALL_THERE);
    let output = run.output();
    assert!(output.contains("by --exclude Projects"), "{output}");
    assert!(output.contains("INBOX") && output.contains("same name"), "{output}");
    assert_eq!(before, target.client("u0001").uid_nexts());
    let run = migration.command_expecting("plan", &["--json"], exit::ALL_THERE);
    let plan: serde_json::Value = serde_json::from_str(run.data()).unwrap();
    let mailboxes = plan["accounts"][0]["mailboxes"].as_array().unwrap();
    let messages: u64 = mailboxes.iter().filter_map(|one| one["messages"].as_u64()).sum();
    assert_eq!(messages, stored.len() as u64);
    assert!(mailboxes.iter().any(|one| one["bytes"].as_u64().is_some_and(|bytes| bytes > 0)));
}

#[test]
fn sync_brings_what_arrives_and_cutover_says_when_it_is_safe() {
    if !available() {
        return;
    }
    let (source, target) =
        (dovecot::start(&Options::default()), dovecot::start(&Options::default()));
    fill(&source, "u0001", &Contents::new(74, 100, Manner::Awkward));
    let account = Account::new("u0001", (&source, Link::Plain), (&target, Link::Plain));
    let migration = Migration::new(&[account]);
    let mut running = migration.start_command("sync", &["--every", "200ms"]);
    let mut client = source.client("u0001");
    let late = Mail::new("INBOX", "Subject: late\r\nMessage-ID: <late@x>\r\n\r\none\r\n".into());
    client.append([&late]);
    let stored = Dump::read(&mut client);
    let deadline = Deadline::after(Duration::from_secs(60));
    while Dump::read(&mut target.client("u0001")).len() < stored.len() && !deadline.is_over() {
        assert!(running.is_running(), "it ended by itself");
        sleep(Duration::from_millis(100));
    }
    running.terminate();
    let run = running.wait();
    assert!(run.ended_with(exit::ALL_THERE) || run.ended_with(exit::STOPPED), "{run}");
    assert!(run.output().contains(" pass 1: "), "{run}");
    stored.assert_copied_to(&Dump::read(&mut target.client("u0001")));

    let run = migration.command_expecting("cutover", &[], exit::ALL_THERE);
    assert!(run.output().contains("Safe to switch: 1 of 1 accounts"), "{run}");
    stored.assert_copied_to(&Dump::read(&mut target.client("u0001")));
    let mut client = target.client("u0001");
    client.ok("SELECT INBOX");
    client.ok("UID STORE 1 +FLAGS (\\Deleted)");
    client.ok("UID EXPUNGE 1");
    let run = migration.command_expecting("cutover", &["--fast"], exit::PROBLEMS);
    assert!(run.output().contains("NOT SAFE  u0001  1 missing"), "{run}");
}
