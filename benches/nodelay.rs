//! What is TCP_NODELAY worth between two servers that take one message an APPEND and make the
//! client wait before each literal? Fails where it is worth less than three times the speed: then
//! nobody sets it any more, or nobody needs it.

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
use support::{Pair, message};
use tokio::net::TcpStream;

const MESSAGES: usize = 200;
const RATIO_MIN: f64 = 3.0;

/// Opens TCP connections as the system makes them.
struct DelayedDial;

impl Dial for DelayedDial {
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
    let with = rate(TcpDial).await?;
    println!("with TCP_NODELAY     {with:8.0} messages/s");
    let without = rate(DelayedDial).await?;
    println!("without TCP_NODELAY  {without:8.0} messages/s");
    let ratio = with / without;
    println!("ratio                {ratio:8.1}, at least {RATIO_MIN} is asked for");
    Ok(if ratio < RATIO_MIN {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Messages a second on one connection to each side.
async fn rate(dial: impl Dial) -> Result<f64, String> {
    let profile = Profile {
        multiappend: false,
        literal: Literal::None,
        ..Profile::dovecot()
    };
    let messages: Vec<_> = (0..MESSAGES).map(|number| message(number, 2_000)).collect();
    let pair = Pair::start(&profile, false, 1, &messages)
        .await
        .map_err(|error| error.to_string())?;
    // In memory: the disk's speed is no part of the question.
    let ledger = SqliteLedger::in_memory().map_err(|fault| fault.chain())?;
    let config = Config {
        connections_max: 1,
        ..Config::default()
    };
    let taken = pair.copy(dial, ledger, config).await?;
    Ok(MESSAGES as f64 / taken.as_secs_f64())
}
