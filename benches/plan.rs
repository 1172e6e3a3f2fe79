//! What does it cost to decide what a mailbox of a million messages is still owed, in parts as the
//! engine does it: an initial pass, which owes everything, and a delta pass, which owes what is new?

#![expect(clippy::print_stdout, reason = "a bench tells what it measured")]

use std::collections::BTreeSet;
use std::time::Duration;

use mailhaul::config::Config;
use mailhaul::fate::Fate;
use mailhaul::history::{Entry, History, Troubles};
use mailhaul::identity::Digest;
use mailhaul::mail::{Flags, InternalDate, MessageInfo, Uid};
use mailhaul::plan::delta::delta;
use mailhaul::plan::windows::{Bounds, windows};
use tokio::time::Instant;

const MESSAGES: u32 = 1_000_000;

fn main() {
    println!("pass      messages      owed  windows        ms  messages/s");
    run("initial", 0);
    run("delta", MESSAGES - 1_000);
}

/// Plans a mailbox of which the first `copied` messages are on the target already.
fn run(pass: &str, copied: u32) {
    let config = Config::default();
    let bounds = Bounds {
        messages_max: config.window_messages_max,
        bytes_max: config.window_bytes_max,
        repaired_bytes_max: config.repaired_bytes_max(),
    };
    let (mut taken, mut owed, mut cut) = (Duration::ZERO, 0, 0);
    for first in (1..=MESSAGES).step_by(config.scan_messages_max as usize) {
        let last = MESSAGES.min(first + config.scan_messages_max - 1);
        let scan: Vec<MessageInfo> = (first..=last).map(info).collect();
        let history = History::new((first..=last.min(copied)).map(|uid| (Uid(uid), entry(uid))));
        let begun = Instant::now();
        let delta = delta(&scan, &history, &BTreeSet::new(), |_| true);
        owed += delta.copy.len();
        cut += std::hint::black_box(windows(delta.copy, bounds)).len();
        taken += begun.elapsed();
    }
    assert_eq!(owed, (MESSAGES - copied) as usize, "what is not copied is owed");
    println!(
        "{pass:<8} {MESSAGES:>9} {owed:>9} {cut:>8} {:>9.1} {:>11.0}",
        taken.as_secs_f64() * 1_000.0,
        f64::from(MESSAGES) / taken.as_secs_f64(),
    );
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
