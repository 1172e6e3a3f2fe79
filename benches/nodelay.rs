//! What is TCP_NODELAY worth: to one who writes in two pieces before he reads, and to the engine,
//! which gathers what it writes? Guards the setting: fails where writing in two pieces is not at
//! least three times faster over the engine's own connections than over plain ones.

#![expect(clippy::print_stdout, reason = "a bench tells what it measured")]

mod support;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::process::ExitCode;

use mailhaul::config::Config;
use mailhaul::endpoint::Endpoint;
use mailhaul::imap::connect::{Dial, TcpDial};
use mailhaul::imap::wire::BoxStream;
use mailhaul::ledger::sqlite::SqliteLedger;
use mailhaul::rehearsal::{Literal, Profile};
use support::{Pair, endpoint, message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

const EXCHANGES: u32 = 50;
const MESSAGES: usize = 1_000;
const RATIO_MIN: f64 = 3.0;

/// Opens TCP connections as the system makes them.
struct PlainDial;

impl Dial for PlainDial {
    fn dial<'a>(
        &'a self,
        endpoint: &'a Endpoint,
    ) -> Pin<Box<dyn Future<Output = io::Result<BoxStream>> + Send + 'a>> {
        Box::pin(async move {
            let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
            Ok(Box::new(stream) as BoxStream)
        })
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, String> {
    let told = |error: io::Error| error.to_string();
    println!("                           with  without  ratio");
    let with = exchanges(TcpDial).await.map_err(told)?;
    let without = exchanges(PlainDial).await.map_err(told)?;
    let ratio = with / without;
    println!("two pieces, exchanges/s {with:>7.0} {without:>8.0} {ratio:>6.1}");
    let (copy, copy_without) = (copies(TcpDial).await?, copies(PlainDial).await?);
    let copy_ratio = copy / copy_without;
    println!("engine, messages/s      {copy:>7.0} {copy_without:>8.0} {copy_ratio:>6.1}");
    if ratio < RATIO_MIN {
        println!("the first ratio must be {RATIO_MIN} or more: is TCP_NODELAY still set?");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Exchanges a second of a command and its literal, each written by itself, and an answer to both.
async fn exchanges(dial: impl Dial) -> io::Result<f64> {
    const COMMAND: &[u8] = b"A1 APPEND INBOX {5+}\r\n";
    const LITERAL: &[u8] = b"hello\r\n";
    const ANSWER: &[u8] = b"A1 OK\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = endpoint(listener.local_addr()?, None, "anna");
    let (client, server) = tokio::join!(dial.dial(&endpoint), listener.accept());
    let (mut client, (mut server, _)) = (client?, server?);
    let ask = async {
        let begun = Instant::now();
        for _ in 0..EXCHANGES {
            client.write_all(COMMAND).await?;
            client.write_all(LITERAL).await?;
            client.read_exact(&mut [0; ANSWER.len()]).await?;
        }
        Ok::<_, io::Error>(begun.elapsed())
    };
    let answer = async {
        for _ in 0..EXCHANGES {
            let mut heard = [0; COMMAND.len() + LITERAL.len()];
            server.read_exact(&mut heard).await?;
            server.write_all(ANSWER).await?;
        }
        Ok(())
    };
    let (taken, ()) = tokio::try_join!(ask, answer)?;
    Ok(f64::from(EXCHANGES) / taken.as_secs_f64())
}

/// Messages a second on one connection to each side, one message an APPEND, each literal waited for.
async fn copies(dial: impl Dial) -> Result<f64, String> {
    let profile = Profile { multiappend: false, literal: Literal::None, ..Profile::dovecot() };
    let messages: Vec<_> = (0..MESSAGES).map(|number| message(number, 2_000)).collect();
    let pair =
        Pair::start(&profile, false, 1, &messages).await.map_err(|error| error.to_string())?;
    // In memory: the disk's speed is no part of the question.
    let ledger = SqliteLedger::in_memory().map_err(|fault| fault.chain())?;
    let config = Config { connections_max: 1, ..Config::default() };
    let taken = pair.copy(dial, ledger, config).await?;
    Ok(MESSAGES as f64 / taken.as_secs_f64())
}
