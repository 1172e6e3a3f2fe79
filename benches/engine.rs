//! How fast does the engine copy between two servers that answer at once, with its ledger on the
//! disk? Servers and engine share the machine's cores and have no network between them: the numbers
//! compare commits and profiles, they promise nothing of real servers. Every copy is checked.

#![expect(clippy::print_stdout, reason = "a bench tells what it measured")]

mod support;

use std::time::Duration;

use mailhaul::config::Config;
use mailhaul::imap::tcp::TcpDial;
use mailhaul::ledger::sqlite::SqliteLedger;
use mailhaul::rehearsal::{Message, Profile};
use support::{Pair, message};

const ACCOUNTS: usize = 4;
/// These servers store nothing late.
const SETTLE: Duration = Duration::from_millis(100);
const MIB: f64 = 1024.0 * 1024.0;

#[tokio::main]
async fn main() -> Result<(), String> {
    let sets = [("small", small()), ("mixed", mixed())];
    let profiles = [Profile::dovecot(), Profile::exchange(), Profile::plain()];
    println!("{ACCOUNTS} accounts at once, settle time {SETTLE:?}, all other limits by default");
    println!("set    profile   tls  messages    MiB  messages/s  MiB/s");
    for (set, messages) in &sets {
        let mib = messages.iter().map(|m| m.body.len()).sum::<usize>() as f64 / MIB;
        for profile in &profiles {
            for secured in [false, true] {
                let seconds = seconds(profile, secured, messages).await?;
                println!(
                    "{set:<6} {:<9} {:<4} {:>8} {mib:>6.1} {:>11.0} {:>6.1}",
                    profile.name,
                    if secured { "yes" } else { "no" },
                    messages.len(),
                    messages.len() as f64 / seconds,
                    mib / seconds,
                );
            }
        }
    }
    Ok(())
}

async fn seconds(profile: &Profile, secured: bool, messages: &[Message]) -> Result<f64, String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let ledger = SqliteLedger::open(&directory.path().join("ledger.db")).await;
    let ledger = ledger.map_err(|fault| fault.chain())?;
    let pair = Pair::start(profile, secured, ACCOUNTS, messages)
        .await
        .map_err(|error| error.to_string())?;
    let config = Config { settle: SETTLE, ..Config::default() };
    let taken = pair.copy(TcpDial, ledger, config).await?;
    Ok(taken.as_secs_f64())
}

/// Notes without attachments.
fn small() -> Vec<Message> {
    (0..3_000).map(|number| message(number, 2_000)).collect()
}

/// Mostly text, some attachments; one message of each account is larger than a window and streamed.
fn mixed() -> Vec<Message> {
    let bytes = |number: usize| match number % 101 {
        0 => 2_000_000,
        1..20 => 20_000 * (number % 10),
        _ => 1_000 + 100 * (number % 90),
    };
    (0..404).map(|number| message(number, bytes(number))).collect()
}
