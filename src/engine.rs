//! Runs a batch: accounts at once, mailboxes of an account over its lanes, windows of a mailbox
//! through the stages. There is one recovery path: whatever went wrong, an account connects again,
//! settles what was in doubt, scans, and copies what is missing.

mod account;
mod adopt;
mod batch;
mod compare;
mod flags;
mod hosts;
mod kept;
mod labels;
mod lock;
mod logins;
mod look;
mod loss;
mod mailbox;
mod moves;
mod prepare;
mod preview;
mod renames;
mod renumber;
mod resolve;
mod scan;
mod sharing;
mod staged;
mod surplus;
mod survey;
mod sweep;
mod tune;
mod verify;
mod window;
mod work;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

pub use look::{Bound, bound};
pub use tune::Trial;

use look::Task;

use crate::accounts::Batch;
use crate::config::Config;
use crate::event::Observer;
use crate::fault::Fault;
use crate::imap::connect::Dial;
use crate::imap::tcp::TcpDial;
use crate::ledger::Ledger;
use crate::stop::Stop;

/// What a run takes from the world around it.
pub struct Env<L> {
    /// Opens connections.
    pub dial: Arc<dyn Dial>,
    /// The durable memory; none where nothing is written.
    pub ledger: L,
    /// Decides everything random: pauses between tries, and the names of mailboxes that a run makes
    /// for itself. Two runs on one account must not have the same.
    pub seed: u64,
}

/// Copies what is missing of every account of a batch, over TCP.
///
/// # Errors
///
/// Only what stops the whole run, which is the ledger's failure or unusable settings. An account's
/// failure is told to the observer and noted in the ledger.
pub async fn run<L: Ledger>(
    config: Config,
    batch: &Batch,
    ledger: L,
    observer: Arc<dyn Observer>,
    stop: Stop,
) -> Result<(), Fault> {
    run_in(Env { dial: Arc::new(TcpDial), ledger, seed: random() }, config, batch, observer, stop)
        .await
}

/// Copies what is missing of every account of a batch, in a given world.
///
/// # Errors
///
/// As [`run`].
pub async fn run_in<L: Ledger>(
    env: Env<L>,
    config: Config,
    batch: &Batch,
    observer: Arc<dyn Observer>,
    stop: Stop,
) -> Result<(), Fault> {
    batch::run(env, config, batch, observer, stop).await
}

/// Compares what both ends of every account hold, over TCP: all messages, by no word of a ledger but what is
/// `bound`. Nothing is written on either server. What differs is told to the observer.
///
/// # Errors
///
/// Only what stops the whole run, which is unusable settings.
pub async fn compare(
    config: Config,
    batch: &Batch,
    bound: Bound,
    observer: Arc<dyn Observer>,
    stop: Stop,
) -> Result<(), Fault> {
    let env = Env { dial: Arc::new(TcpDial), ledger: (), seed: random() };
    compare_in(env, config, batch, bound, observer, stop).await
}

/// Compares what both ends of every account hold, in a given world.
///
/// # Errors
///
/// As [`compare`].
pub async fn compare_in(
    env: Env<()>,
    config: Config,
    batch: &Batch,
    bound: Bound,
    observer: Arc<dyn Observer>,
    stop: Stop,
) -> Result<(), Fault> {
    batch::look(env, Task::Compare, config, batch, bound, observer, stop).await
}

/// Measures how fast both ends of every account are, over TCP. Nothing is written at the source; at the
/// target into mailboxes of our own, which are removed, and only where `trial` says so.
///
/// # Errors
///
/// Only what stops the whole run, which is unusable settings.
pub async fn tune(
    config: Config,
    batch: &Batch,
    trial: Trial,
    observer: Arc<dyn Observer>,
    stop: Stop,
) -> Result<(), Fault> {
    let env = Env { dial: Arc::new(TcpDial), ledger: (), seed: random() };
    tune_in(env, config, batch, trial, observer, stop).await
}

/// Measures how fast both ends of every account are, in a given world.
///
/// # Errors
///
/// As [`tune`].
pub async fn tune_in(
    env: Env<()>,
    config: Config,
    batch: &Batch,
    trial: Trial,
    observer: Arc<dyn Observer>,
    stop: Stop,
) -> Result<(), Fault> {
    batch::measure(env, config, batch, trial, observer, stop).await
}

/// Tells which mailbox of every account would go where, over TCP. Nothing is written on either server.
///
/// # Errors
///
/// Only what stops the whole run, which is unusable settings.
pub async fn preview(
    config: Config,
    batch: &Batch,
    bound: Bound,
    observer: Arc<dyn Observer>,
    stop: Stop,
) -> Result<(), Fault> {
    let env = Env { dial: Arc::new(TcpDial), ledger: (), seed: random() };
    preview_in(env, config, batch, bound, observer, stop).await
}

/// Tells which mailbox of every account would go where, in a given world.
///
/// # Errors
///
/// As [`preview`].
pub async fn preview_in(
    env: Env<()>,
    config: Config,
    batch: &Batch,
    bound: Bound,
    observer: Arc<dyn Observer>,
    stop: Stop,
) -> Result<(), Fault> {
    batch::look(env, Task::Preview, config, batch, bound, observer, stop).await
}

/// As the keys of a map are: no other run has the same, and names a mailbox as this one does.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
