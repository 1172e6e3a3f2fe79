//! What are TCP_NODELAY and prompt acknowledgements worth: to one who writes in two pieces before he
//! reads, to one who is answered in two pieces, and to the engine, which gathers what it writes? Guards the
//! settings: fails where either exchange is not at least three times faster over the engine's own
//! connections than over plain ones.

#![expect(clippy::print_stdout, reason = "a bench tells what it measured")]

mod support;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::process::ExitCode;

use mailhaul::config::Config;
use mailhaul::endpoint::Endpoint;
use mailhaul::imap::connect::Dial;
use mailhaul::imap::tcp::TcpDial;
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
    println!("                                        with  without  ratio");
    let (two, one) = (Pieces { asked: 2, answered: 1 }, Pieces { asked: 1, answered: 2 });
    let mut ratio_min = f64::INFINITY;
    for (pieces, of_what) in [(two, "asked in two pieces,    "), (one, "answered in two pieces, ")]
    {
        let with = exchanges(TcpDial, pieces).await.map_err(told)?;
        let without = exchanges(PlainDial, pieces).await.map_err(told)?;
        let ratio = with / without;
        ratio_min = ratio_min.min(ratio);
        println!("{of_what} exchanges/s {with:>7.0} {without:>8.0} {ratio:>6.1}");
    }
    let (copy, copy_without) = (copies(TcpDial).await?, copies(PlainDial).await?);
    let copy_ratio = copy / copy_without;
    println!(
        "engine,                   messages/s {copy:>7.0} {copy_without:>8.0} {copy_ratio:>6.1}"
    );
    if ratio_min < RATIO_MIN {
        println!(
            "the first two ratios must be {RATIO_MIN} or more: are TCP_NODELAY and TCP_QUICKACK set?"
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// In how many writes a command goes, and its answer comes.
#[derive(Clone, Copy)]
struct Pieces {
    asked: usize,
    answered: usize,
}

/// Exchanges a second of a command with its literal and an answer to both, from a server that leaves
/// Nagle's algorithm on.
async fn exchanges(dial: impl Dial, pieces: Pieces) -> io::Result<f64> {
    const COMMAND: &[u8] = b"A1 APPEND INBOX {7+}\r\nhello\r\n\r\n";
    const ANSWER: &[u8] = b"A1 OK\r\n+ \r\n";
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = endpoint(listener.local_addr()?, None, "anna");
    let (client, server) = tokio::join!(dial.dial(&endpoint), listener.accept());
    let (mut client, (mut server, _)) = (client?, server?);
    let ask = async {
        let begun = Instant::now();
        for _ in 0..EXCHANGES {
            for piece in COMMAND.chunks(COMMAND.len().div_ceil(pieces.asked)) {
                client.write_all(piece).await?;
            }
            client.read_exact(&mut [0; ANSWER.len()]).await?;
        }
        Ok::<_, io::Error>(begun.elapsed())
    };
    let answer = async {
        for _ in 0..EXCHANGES {
            server.read_exact(&mut [0; COMMAND.len()]).await?;
            for piece in ANSWER.chunks(ANSWER.len().div_ceil(pieces.answered)) {
                server.write_all(piece).await?;
            }
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
