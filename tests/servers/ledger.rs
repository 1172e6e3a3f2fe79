//! What becomes of the mail when something is wrong with the ledger, or two processes want it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use crate::deadline::Deadline;
use crate::dump::Dump;
use crate::harness::dovecot::{self, Options};
use crate::harness::{Server, available};
use crate::messages::Mail;
use crate::product::{Account, Link, Migration, exit};

/// A source with so many small messages, an empty target, and what the source holds.
fn servers(messages: usize) -> (Server, Server, Dump) {
    let (source, target) =
        (dovecot::start(&Options::default()), dovecot::start(&Options::default()));
    let mails: Vec<Mail> = (0..messages)
        .map(|number| {
            let text = "text ".repeat(number % 50);
            let body = format!("Subject: {number}\r\nMessage-ID: <{number}@x>\r\n\r\n{text}\r\n");
            Mail::new("INBOX", body.into())
        })
        .collect();
    let mut client = source.client("u0001");
    client.append(&mails);
    let stored = Dump::read(&mut client);
    (source, target, stored)
}

fn migration(source: &Server, target: &Server) -> Migration {
    Migration::new(&[Account::new("u0001", (source, Link::Plain), (target, Link::Plain))])
}

fn messages_of(server: &Server) -> u32 {
    let nexts = server.client("u0001").uid_nexts();
    nexts.values().map(|uid_next| uid_next - 1).sum()
}

/// Waits until so many messages are on the target.
fn wait_for(target: &Server, messages: u32) {
    let deadline = Deadline::after(Duration::from_secs(30));
    while messages_of(target) < messages {
        assert!(!deadline.is_over(), "nothing arrives");
        sleep(Duration::from_millis(5));
    }
}

/// A disk of its own, in memory; gone when it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: &Path, bytes: &str) -> Self {
        fs::create_dir_all(path).unwrap();
        let options = format!("size={bytes},mode=0700");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).status();
        assert!(mounted.unwrap().success());
        Self(path.to_owned())
    }

    /// Makes room.
    fn grow(&self, bytes: &str) {
        let options = format!("remount,size={bytes}");
        let grown = Command::new("mount").args(["-o", &options]).arg(&self.0).status();
        assert!(grown.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// A23 (D): the ledger's disk is full.
#[test]
fn a_full_disk_ends_the_run_and_nothing_is_sent_that_is_not_known_afterwards() {
    if !available() {
        return;
    }
    let (source, target, stored) = servers(6_000);
    let migration = migration(&source, &target);
    // The ballast and little more.
    let disk = SmallDisk::mount(&migration.state(), "4700k");
    let run = migration.run_expecting(exit::STOPPED);
    assert!(run.output().contains("make room"), "{run}");
    let sent = messages_of(&target);
    assert!(sent > 0 && sent < 6_000, "{sent}");
    sleep(Duration::from_millis(300));
    assert_eq!(messages_of(&target), sent, "nothing is appended afterwards");
    disk.grow("64m");
    migration.run_expecting(exit::ALL_THERE);
    stored.assert_copied_to(&Dump::read(&mut target.client("u0001")));
    drop(disk);
}

/// Stops a run in its middle, goes on in its place to the end, and wakes it.
fn taken_over_in_its_sleep(migration: &Migration, target: &Server, more: &[&str]) {
    let first = migration.start_with(more);
    wait_for(target, 300);
    first.signal("STOP");
    let refused = migration.start_as("refused", more).wait();
    refused.assert_code(exit::LEDGER);
    assert!(refused.output().contains("--take-over"), "{refused}");
    let take_over = [more, &["--take-over"]].concat();
    let deadline = Deadline::after(Duration::from_secs(180));
    for pause in (20..).step_by(7) {
        let second = migration.start_as("second", &take_over).wait();
        // Nobody can write while the sleeper holds the lock of the file: the user is told so.
        if !second.output().contains("in the middle of a write") {
            second.assert_code(exit::ALL_THERE);
            break;
        }
        assert!(!deadline.is_over(), "{second}");
        first.signal("CONT");
        sleep(Duration::from_millis(pause));
        first.signal("STOP");
    }
    first.signal("CONT");
    let woken = first.wait();
    woken.assert_code(exit::STOPPED);
    assert!(woken.output().contains("taken this ledger over"), "{woken}");
    sleep(Duration::from_millis(300));
}

/// A20 (D): two processes, one ledger, and one of them sleeps. What it had begun to send may arrive when
/// it wakes.
#[test]
fn what_a_sleeper_had_in_flight_when_it_was_taken_over_is_told() {
    if !available() {
        return;
    }
    let (source, target, _) = servers(6_000);
    let migration = migration(&source, &target);
    taken_over_in_its_sleep(&migration, &target, &[]);
    let surplus = messages_of(&target) - 6_000;
    let in_flight_max = 4 * 50;
    assert!(surplus <= in_flight_max, "it has opened windows after it woke: {surplus}");
    let told = if surplus == 0 { exit::ALL_THERE } else { exit::IN_DOUBT };
    migration.run_expecting(told);
    let reported = migration.reported();
    let duplicates = reported.iter().filter(|line| line.contains("possible-duplicate")).count();
    assert_eq!(duplicates, surplus as usize, "{reported:?}");
}

/// A20, A04 (D): the stage of the sleeper is gone when it wakes.
#[test]
fn a_sleeper_that_was_taken_over_doubles_nothing_where_delivery_is_staged() {
    if !available() {
        return;
    }
    let (source, target, stored) = servers(6_000);
    let migration = migration(&source, &target);
    taken_over_in_its_sleep(&migration, &target, &["--delivery", "staged"]);
    stored.assert_copied_to(&Dump::read(&mut target.client("u0001")));
    migration.run_expecting(exit::ALL_THERE);
}

/// A21, A22 (D): the ledger is deleted, or an older backup.
#[test]
fn an_older_ledger_and_none_at_all_double_nothing() {
    if !available() {
        return;
    }
    let (source, target, stored) = servers(3_000);
    let migration = migration(&source, &target);
    let running = migration.start();
    wait_for(&target, 500);
    running.terminate();
    running.wait();
    let backup = fs::read(migration.state().join("ledger.db")).unwrap();
    migration.run_expecting(exit::ALL_THERE);
    fs::write(migration.state().join("ledger.db"), backup).unwrap();
    for file in ["ledger.db-wal", "ledger.db-shm"] {
        let _ = fs::remove_file(migration.state().join(file));
    }
    migration.run_expecting(exit::ALL_THERE);
    stored.assert_copied_to(&Dump::read(&mut target.client("u0001")));
    fs::remove_dir_all(migration.state()).unwrap();
    migration.run_expecting(exit::ALL_THERE);
    stored.assert_copied_to(&Dump::read(&mut target.client("u0001")));
}

/// A24 (D): the ledger cannot be used.
#[test]
fn a_ledger_that_cannot_be_used_ends_the_run_before_anything_is_sent() {
    if !available() {
        return;
    }
    let (source, target, _) = servers(30);
    let migration = migration(&source, &target);
    fs::create_dir_all(migration.state()).unwrap();
    let path = migration.state().join("ledger.db");
    for (broken, said) in [
        (b"this is no database, whatever it is".to_vec(), "no ledger"),
        ([&b"SQLite format 3\0"[..], &[7; 9_000]].concat(), "give another place"),
    ] {
        fs::write(&path, broken).unwrap();
        let run = migration.run_expecting(exit::LEDGER);
        assert!(run.output().contains(said), "{run}");
        assert_eq!(messages_of(&target), 0);
    }
    fs::remove_file(&path).unwrap();
    migration.run_expecting(exit::ALL_THERE);
    let whole = fs::read(&path).unwrap();
    let newer = [&whole[..60], &99_u32.to_be_bytes(), &whole[64..]].concat(); // `user_version`.
    fs::write(&path, newer).unwrap();
    let run = migration.run_expecting(exit::LEDGER);
    assert!(run.output().contains("a newer mailhaul wrote it"), "{run}");
    let mut damaged = whole.clone();
    damaged[8_192..12_000].fill(0xff);
    fs::write(&path, damaged).unwrap();
    let run = migration.run_expecting(exit::LEDGER);
    assert!(run.output().contains("damaged"), "{run}");
    fs::write(&path, whole).unwrap();
    migration.run_expecting(exit::ALL_THERE);
}
