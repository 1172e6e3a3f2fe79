//! One pass over all accounts: what `migrate` is, `sync` repeats, and `cutover` begins with.

use std::sync::Arc;

use mailhaul::accounts::Batch;
use mailhaul::config::{Config, Lock};
use mailhaul::engine;
use mailhaul::event::Observer;
use mailhaul::ledger::hold::StateDir;
use mailhaul::report::LeftOut;
use mailhaul::stop::Stop;

use crate::ui::{Show, Tally};

use super::chosen::Chosen;
use super::flags::ConfigFlags;
use super::signals::{Signals, supervise};
use super::state::{self, End};
use super::{Exit, Failure};

/// What passes take from the command line and this machine.
pub(super) struct Pass {
    pub(super) config: Config,
    pub(super) batch: Batch,
    pub(super) show: Show,
    pub(super) state: StateDir,
    pub(super) signals: Signals,
    pub(super) stop: Stop,
}

/// How a pass ended, and what it did.
pub(super) struct Passed {
    pub(super) end: End,
    pub(super) tally: Tally,
}

impl Pass {
    /// Reads and checks everything, and takes the state directory.
    pub(super) fn prepare(
        chosen: &Chosen,
        flags: &ConfigFlags,
        take_over: bool,
        show: Show,
        quiet: bool,
    ) -> Result<Self, Failure> {
        let mut config = flags.config()?;
        if take_over && config.lock == Lock::Locked {
            config.lock = Lock::TakenOver;
        }
        let batch = chosen.batch(&config, quiet)?;
        let state = state::hold(&chosen.place.state(), take_over)?;
        let signals = Signals::listen_or_fail()?;
        Ok(Self { config, batch, show, state, signals, stop: Stop::new() })
    }

    /// Copies what is missing and writes the reports; none where a second signal ended it.
    pub(super) async fn run(&mut self) -> Result<Option<Passed>, Failure> {
        let Self { config, batch, show, state, signals, stop } = self;
        let ledger = state::open(state).await?;
        let ui = state::show(show.clone(), batch, config, &state.log())?;
        let left_out = Arc::new(LeftOut::default());
        let observers: Vec<Arc<dyn Observer>> = vec![ui.observer(), left_out.clone()];
        // Boxed: a run is too large a value for this function's frame.
        let run = Box::pin(async {
            let (config, observers) = (config.clone(), Arc::new(observers));
            let (is_dry_run, with_subjects) = (config.dry_run, config.report_headers);
            let ran = engine::run(config, batch, ledger.clone(), observers, stop.clone()).await;
            if let Err(fault) = ran {
                // Its ledger takes nothing more: somebody else writes it, or nobody can.
                return Err(Failure::ledger(&fault, state::UNUSABLE));
            }
            let tally = ui.tally();
            let is_stopped = stop.is_requested() && !tally.is_over();
            if is_dry_run && !is_stopped {
                // It changes nothing that a report could tell of.
                return Ok(Passed { end: dry_run_end(tally), tally });
            }
            let ran = state::Ran {
                is_stopped,
                is_complete: tally.is_complete(),
                with_subjects,
                left_out: left_out.mailboxes(),
                accounts: batch.accounts.iter().map(|account| account.name().key).collect(),
            };
            Ok(Passed { end: state::conclude(ledger, state, ran).await?, tally })
        });
        let stopping = || {
            ui.note(&format!(
                "stopping: what is in flight is finished, at most {} s; once more to stop now",
                config.drain_max.as_secs()
            ));
        };
        let ended = supervise(run, async || signals.next().await, stop, stopping).await;
        drop(ui); // What follows stands below the bars.
        ended.transpose()
    }
}

/// What a command says that was stopped and can be repeated.
pub(super) fn again(what: &str, how: &str) -> String {
    format!("{what}; run the same command again: it {how}")
}

fn dry_run_end(tally: Tally) -> End {
    End {
        text: tally.dry_run_text(),
        exit: if tally.is_complete() { Exit::Complete } else { Exit::Incomplete },
    }
}
