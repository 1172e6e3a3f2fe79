//! Runs a batch.

use std::sync::Arc;

use crate::accounts::Batch;
use crate::config::Config;
use crate::event::Observer;
use crate::fault::Fault;
use crate::ledger::Ledger;
use crate::stop::Stop;

/// Copies what is missing of every account of a batch.
///
/// # Errors
///
/// Only what stops the whole run, which is the ledger's failure. An account's failure is told to
/// the observer and noted in the ledger.
pub async fn run<L: Ledger>(
    config: Config,
    batch: Batch,
    ledger: L,
    observer: Arc<dyn Observer>,
    stop: Stop,
) -> Result<(), Fault> {
    let _ = (config, batch, ledger, observer, stop);
    Ok(())
}
