//! How many windows of 50 messages can be opened and closed a second on the disk, by one account
//! and by eight at once, and how large does a message make the file? How long does it take to find the
//! messages of a window among a million by their header lines?

#![expect(clippy::print_stdout, reason = "a bench tells what it measured")]

use std::fs;

use futures_util::future::try_join_all;
use mailhaul::fate::Fate;
use mailhaul::fault::Fault;
use mailhaul::history::{Entry, Troubles};
use mailhaul::identity::Identity;
use mailhaul::ledger::sqlite::SqliteLedger;
use mailhaul::ledger::{
    AccountName, Binding, Claim, Ledger, MailboxId, NewWindow, Outcome, WindowMessage,
};
use mailhaul::mail::{Flags, InternalDate, MailboxPath, Uid, UidValidity, WireName};
use tokio::time::Instant;

const WINDOW_MESSAGES: u32 = 50;
/// Of all accounts together.
const WINDOWS: u32 = 800;
/// In the mailbox in which messages are looked for.
const MESSAGES: u32 = 1_000_000;

#[tokio::main]
async fn main() -> Result<(), String> {
    println!("accounts  windows  windows/s  messages/s  bytes/message");
    for accounts in [1, 8] {
        run(accounts).await?;
    }
    look_up().await
}

/// The first time everything is read, and then only what was found.
async fn look_up() -> Result<(), String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let told = |fault: Fault| fault.chain();
    let ledger = SqliteLedger::open(&directory.path().join("ledger.db")).await.map_err(told)?;
    let mailbox = begin(&ledger, 0).await.map_err(told)?.1;
    for first in (1..=MESSAGES).step_by(10_000) {
        let outcomes = (first..first + 10_000).map(|uid| outcome(&message(uid))).collect();
        ledger.record(mailbox, outcomes).await.map_err(told)?;
    }
    ledger.flush().await.map_err(told)?;
    println!("messages  looked for         ms");
    for first in [1, MESSAGES / 2, MESSAGES - WINDOW_MESSAGES] {
        let wanted = first..first + WINDOW_MESSAGES;
        let headers = wanted.filter_map(|uid| Some(message(uid).identity?.headers)).collect();
        let begun = Instant::now();
        let found = ledger.twins(mailbox, headers).await.map_err(told)?.len();
        println!("{MESSAGES:>8} {found:>11} {:>10.1}", begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(())
}

async fn run(accounts: u32) -> Result<(), String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = directory.path().join("ledger.db");
    let told = |fault: Fault| fault.chain();
    let ledger = SqliteLedger::open(&path).await.map_err(told)?;
    let begun = Instant::now();
    let copies = (0..accounts).map(|number| copy(&ledger, number, WINDOWS / accounts));
    try_join_all(copies).await.map_err(told)?;
    ledger.flush().await.map_err(told)?;
    let seconds = begun.elapsed().as_secs_f64();
    ledger.finish().await.map_err(told)?;
    let bytes = fs::metadata(&path).map_err(|error| error.to_string())?.len();
    let messages = f64::from(WINDOWS * WINDOW_MESSAGES);
    println!(
        "{accounts:>8} {WINDOWS:>8} {:>10.0} {:>11.0} {:>14.1}",
        f64::from(WINDOWS) / seconds,
        messages / seconds,
        bytes as f64 / messages,
    );
    Ok(())
}

/// Claims an account with one mailbox.
async fn begin(ledger: &SqliteLedger, number: u32) -> Result<(Claim, MailboxId), Fault> {
    let user = format!("user{number}@example");
    let claim = ledger
        .claim(&AccountName { key: user.clone(), source: user.clone(), target: user })
        .await?;
    let binding = Binding {
        source_name: WireName(b"INBOX".to_vec()),
        source_path: MailboxPath::inbox(),
        source_validity: UidValidity(1),
        target_name: WireName(b"INBOX".to_vec()),
        target_path: MailboxPath::inbox(),
        target_validity: Some(UidValidity(1)),
    };
    Ok((claim, ledger.bind(claim.account, &binding).await?))
}

/// Opens windows of one mailbox and closes each with its messages copied.
async fn copy(ledger: &SqliteLedger, number: u32, windows: u32) -> Result<(), Fault> {
    let (claim, mailbox) = begin(ledger, number).await?;
    for window in 0..windows {
        let first = window * WINDOW_MESSAGES + 1;
        let messages: Vec<WindowMessage> = (first..first + WINDOW_MESSAGES).map(message).collect();
        let outcomes = messages.iter().map(outcome).collect();
        let window = NewWindow { mailbox, epoch: claim.epoch, lo: Uid(first), messages };
        let id = ledger.open(&window).await?;
        ledger.close(id, mailbox, outcomes).await?;
    }
    Ok(())
}

fn message(uid: u32) -> WindowMessage {
    let body = format!("Subject: {uid}\r\nMessage-ID: <{uid}@example>\r\n\r\nHello\r\n");
    WindowMessage {
        uid: Uid(uid),
        size: u64::from(uid % 97) * 1_000 + 500,
        date: Some(InternalDate::new(1_700_000_000 + i64::from(uid), 60)),
        flags: Flags::parse(["\\Seen"]),
        identity: Some(Identity::of(body.as_bytes())),
        risky: false,
        troubles: Troubles::default(),
        changed: None,
    }
}

fn outcome(message: &WindowMessage) -> Outcome {
    Outcome {
        uid: message.uid,
        entry: Entry {
            fate: Fate::Copied,
            target_uid: Some(message.uid),
            size: message.size,
            date: message.date,
            flags: message.flags.clone(),
            digest: message.identity.map(|identity| (identity.exact, identity.headers)),
            troubles: Troubles::default(),
            risky: false,
            changed: None,
        },
        remarks: Vec::new(),
        subject: None,
    }
}
