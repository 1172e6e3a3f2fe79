//! What do the parts cost that touch no server and no disk: deciding what a mailbox of a million messages
//! is still owed, digests, the reading of what a server says, and names of mailboxes?
//!
//! `cargo bench --bench parts -- [FILTER]`

#![expect(clippy::unwrap_used, reason = "what a bench cannot go on without ends it")]

use std::collections::BTreeSet;
use std::io::{Cursor, Write as _};
use std::time::Duration;

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use mailhaul::config::Config;
use mailhaul::fate::Fate;
use mailhaul::history::{Entry, History, Troubles};
use mailhaul::identity::{Digest, Identity};
use mailhaul::imap::names;
use mailhaul::imap::reply::Fetched;
use mailhaul::imap::wire::{Incoming, Wire};
use mailhaul::mail::{Flags, InternalDate, MessageInfo, Uid};
use mailhaul::plan::delta::delta;
use mailhaul::plan::windows::{Bounds, windows};

fn main() {
    divan::main();
}

const MESSAGES: u32 = 1_000_000;

/// What a mailbox is owed of which all but so many messages are on the target, in parts as the engine
/// decides it.
#[divan::bench(args = [MESSAGES, 1_000], sample_count = 5, sample_size = 1)]
fn plan(bencher: Bencher<'_, '_>, new: u32) {
    let config = Config::default();
    let bounds = Bounds {
        messages_max: config.window_messages_max,
        bytes_max: config.window_bytes_max,
        repaired_bytes_max: config.repaired_bytes_max(),
    };
    let copied = MESSAGES - new;
    let parts = (1..=MESSAGES).step_by(config.scan_messages_max as usize).map(|first| {
        let last = MESSAGES.min(first + config.scan_messages_max - 1);
        let scan: Vec<MessageInfo> = (first..=last).map(info).collect();
        let history = History::new((first..=last.min(copied)).map(|uid| (Uid(uid), entry(uid))));
        (scan, history)
    });
    let parts: Vec<(Vec<MessageInfo>, History)> = parts.collect();
    bencher.counter(ItemsCount::new(MESSAGES)).bench_local(|| {
        let mut owed = 0;
        for (scan, history) in &parts {
            let delta = delta(scan, history, &BTreeSet::new(), |_| true);
            owed += delta.copy.len();
            black_box(windows(delta.copy, bounds));
        }
        assert_eq!(owed, new as usize, "what is not copied is owed");
    });
}

fn info(uid: u32) -> MessageInfo {
    MessageInfo {
        uid: Uid(uid),
        size: u64::from(uid % 97) * 1_000 + 500,
        date: Some(InternalDate::new(1_700_000_000 + i64::from(uid), 60)),
        flags: Flags::parse(["\\Seen"]),
    }
}

fn entry(uid: u32) -> Entry {
    let MessageInfo { size, date, flags, .. } = info(uid);
    Entry {
        fate: Fate::Copied,
        target_uid: Some(Uid(uid)),
        size,
        date,
        flags,
        digest: Some((Digest([7; 16]), u64::from(uid))),
        troubles: Troubles::default(),
        risky: false,
        changed: None,
    }
}

/// A message of at least so many octets, in lines of text.
fn message(len: usize) -> Vec<u8> {
    let mut message = b"Received: from a.example (a.example [192.0.2.1])\r\n\tby b.example; \
        Mon, 6 Jul 2026 10:00:00 +0200\r\nFrom: Anna <anna@example.org>\r\nTo: Bob <bob@example.org>\r\n\
        Subject: Plans\r\nMessage-ID: <1@example.org>\r\nDate: Mon, 6 Jul 2026 10:00:00 +0200\r\n\r\n"
        .to_vec();
    while message.len() < len {
        message.extend_from_slice(
            b"Forty-two words are not enough, and so here are a few more of them.\r\n",
        );
    }
    message
}

/// All digests of a message.
#[divan::bench(args = [5_000, 1_000_000])]
fn digests(bencher: Bencher<'_, '_>, len: usize) {
    let message = message(len);
    bencher.counter(BytesCount::of_slice(&message)).bench(|| Identity::of(black_box(&message)));
}

/// Reads the answer to a FETCH of a hundred bodies from a stream in memory.
#[divan::bench(args = [5_000, 100_000])]
fn fetch(bencher: Bencher<'_, '_>, len: usize) {
    let (body, mut said) = (message(len), Vec::new());
    for uid in 1..=100 {
        write!(said, "* {uid} FETCH (UID {uid} BODY[] {{{}}}\r\n", body.len()).unwrap();
        said.extend_from_slice(&body);
        said.extend_from_slice(b" FLAGS (\\Seen))\r\n");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let said = Bytes::from(said);
    bencher.counter(BytesCount::of_slice(&said)).bench_local(|| {
        runtime.block_on(async {
            let stream = tokio::io::join(Cursor::new(said.clone()), tokio::io::sink());
            let mut wire = Wire::new(Box::new(stream), Duration::from_secs(60));
            let (mut reader, _) = wire.lend();
            for _ in 1..=100 {
                let Incoming::Response(response) = reader.response(u64::MAX).await.unwrap() else {
                    unreachable!("no literal is beyond the limit");
                };
                black_box(Fetched::parse(&response).unwrap());
            }
        });
    });
}

/// The name of a mailbox to the wire and back.
#[divan::bench(args = ["Archive/2019/Invoices", "Entwürfe/Größenänderung", "日本語/受信トレイ"])]
fn modified_utf7(name: &str) -> Option<String> {
    names::decode(names::encode(black_box(name)).as_bytes())
}
