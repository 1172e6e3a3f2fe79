//! Does what a run takes grow no faster than the mail, in memory that stays flat? A mailbox that grows
//! to a million messages, in a first pass and in one that finds nothing new: at a target that gives mail
//! back as it was, at one that rewrites it, and at one where it is already; and accounts files of up to
//! 10,000 rows, most of them idle. The program runs as it is released, between two rehearsal servers.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a bench tells what it measured")]

#[path = "support/cost.rs"]
mod cost;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use cost::Cost;
use mailhaul::rehearsal::{InternalDate, Listening, Message, Profile, Server};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// One account in so many has mail, and so much of it.
const BUSY_ROW: usize = 100;
const BUSY_ROW_MESSAGES: usize = 100;

/// What is copied.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    rows: usize,
    /// In the mailbox of an account that has mail.
    messages: usize,
    /// Whether the target stores other octets than it was given.
    rewrites: bool,
    /// Whether the mail is there already, and no ledger says so.
    is_there: bool,
}

fn main() {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let mailbox =
        |messages| Case { name: "mailbox", rows: 1, messages, rewrites: false, is_there: false };
    let rewritten = |messages| Case { name: "rewritten", rewrites: true, ..mailbox(messages) };
    let adopt = |messages| Case { name: "adopt", is_there: true, ..mailbox(messages) };
    let rows = |rows| Case { name: "rows", rows, ..mailbox(BUSY_ROW_MESSAGES) };
    let cases = [
        [10_000, 100_000, 1_000_000].map(mailbox),
        [10_000, 30_000, 100_000].map(rewritten),
        [10_000, 100_000, 1_000_000].map(adopt),
        [100, 1_000, 10_000].map(rows),
    ];
    println!(
        "case       rows  messages  pass    wall s  messages/s  rows/s  CPU us/message  RSS MiB  ledger B/message"
    );
    for case in cases.into_iter().flatten() {
        if words.is_empty() || words.iter().any(|word| *word == case.name) {
            run(&case);
        }
    }
}

fn run(case: &Case) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let users: Vec<String> = (0..case.rows).map(|number| format!("user{number}@example")).collect();
    let target = Profile { ends_lines: case.rewrites, ..Profile::dovecot() };
    let (source, target) = (Server::new(Profile::dovecot()), Server::new(target));
    let mut messages = 0;
    for (index, user) in users.iter().enumerate() {
        target.account(user, "secret");
        let store = source.account(user, "secret");
        if index.is_multiple_of(BUSY_ROW) {
            let stores = [Some(store), target.store(user).filter(|_| case.is_there)];
            for store in stores.into_iter().flatten() {
                (0..case.messages).for_each(|number| {
                    store.deliver(&["INBOX"], message(number, case.rewrites));
                });
            }
            messages += case.messages;
        }
    }
    let listening = [&source, &target].map(|server| listen(&runtime, server));
    write_accounts(folder.path(), &users, listening.each_ref().map(|(_, address)| *address));
    for pass in ["first", "second"] {
        let Cost { wall, cpu, memory_peak_kib } = migrate(folder.path());
        let (count, seconds) = (messages as f64, wall.as_secs_f64());
        let ledger = fs::metadata(folder.path().join("accounts.mailhaul/ledger.db")).unwrap().len();
        println!(
            "{:<9} {:>5} {messages:>9}  {pass:<6} {seconds:>7.1} {:>11.0} {:>7.0} {:>15.1} {:>8.1} {:>17.1}",
            case.name,
            case.rows,
            count / seconds,
            case.rows as f64 / seconds,
            cpu.as_secs_f64() * 1e6 / count,
            memory_peak_kib as f64 / 1024.0,
            ledger as f64 / count,
        );
    }
    let arrived: usize =
        users.iter().map(|user| target.store(user).unwrap().snapshot().messages()).sum();
    assert_eq!(arrived, messages, "messages at the target");
}

fn listen(runtime: &Runtime, server: &Server) -> (Listening, SocketAddr) {
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (server.listen(listener, None).unwrap(), address)
    })
}

fn write_accounts(folder: &Path, users: &[String], addresses: [SocketAddr; 2]) {
    let columns = ["user", "password", "host", "port", "tls"];
    let header =
        ["source", "target"].map(|side| columns.map(|column| format!("{side}_{column}")).join(","));
    let row = |user: &String| {
        addresses
            .map(|address| format!("{user},secret,{},{},plain", address.ip(), address.port()))
            .join(",")
    };
    let lines: Vec<String> = [header.join(",")].into_iter().chain(users.iter().map(row)).collect();
    fs::write(folder.join("accounts.csv"), lines.join("\n") + "\n").unwrap();
}

fn migrate(folder: &Path) -> Cost {
    cost::migrate(Path::new(env!("CARGO_BIN_EXE_mailhaul")), folder, &[])
}

/// A small message that no other number makes.
fn message(number: usize, lacks_line_end: bool) -> Message {
    let body = format!(
        "From: anna@example\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\nSubject: number {number}\r\n\
         Message-ID: <{number}@example>\r\n\r\n\
         Hello from number {number}.{}",
        if lacks_line_end { "" } else { "\r\n" },
    );
    Message {
        flags: if number.is_multiple_of(3) { Vec::new() } else { vec!["\\Seen".to_owned()] },
        internal_date: InternalDate {
            unix_seconds: 1_700_000_000 + i64::try_from(number).unwrap_or_default(),
            ..InternalDate::default()
        },
        body: body.into(),
    }
}
