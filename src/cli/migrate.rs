//! `mailhaul migrate`: reads and checks everything, then runs the batch and tells how it ended.

use std::sync::Arc;

use clap::Args;
use mailhaul::config::Lock;
use mailhaul::engine;
use mailhaul::event::Observer;
use mailhaul::report::LeftOut;
use mailhaul::stop::Stop;

use crate::ui::{self, Tally};

use super::chosen::Chosen;
use super::flags::ConfigFlags;
use super::output::Output;
use super::signals::{Signals, supervise};
use super::state::{self, End};
use super::{Exit, Failure};

const COLUMNS: &str = "\
The CSV's first line names its columns, in any order: source_user and target_user, and any of
host, port, tls, tls_pin, auth, admin, password, password_env, password_file, password_command, root,
each with source_ or target_ before it, and id. One row is one account. A password comes from
exactly one column; paths of password files start at the CSV's folder. The ledger knows a row by
both hosts and users, or by its id: rows may be edited, added and reordered between runs.

First signal (Ctrl-C, SIGTERM, SIGHUP): finish what is in flight, exit 75. Second: stop now, 130.";

#[derive(Debug, Args)]
#[command(after_long_help = COLUMNS)]
pub(crate) struct Arguments {
    #[command(flatten)]
    chosen: Chosen,

    /// Go on in the place of a run that uses the same state directory and hangs, or, with
    /// --lock-mailbox, of one with another state directory
    #[arg(long)]
    take_over: bool,

    #[command(flatten)]
    config: ConfigFlags,
    #[command(flatten)]
    output: Output,
}

impl Arguments {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let mut config = self.config.config()?;
        if self.take_over && config.lock == Lock::Locked {
            config.lock = Lock::TakenOver;
        }
        let batch = self.chosen.batch(&config, self.output.quiet)?;

        let state = state::hold(&self.chosen.place.state(), self.take_over)?;
        let ledger = state::open(&state).await?;
        let mut signals = Signals::listen_or_fail()?;
        let show = self.output.show(self.chosen.file_name());
        let ui = state::show(show, &batch, &config, &state.log())?;

        let stop = Stop::new();
        let (drain_max, is_dry_run) = (config.drain_max, config.dry_run);
        let with_subjects = config.report_headers;
        let accounts = batch.accounts.iter().map(|account| account.name().key).collect();
        let left_out = Arc::new(LeftOut::default());
        let observers: Vec<Arc<dyn Observer>> = vec![ui.observer(), left_out.clone()];
        // Boxed: a run is too large a value for this function's frame.
        let run = Box::pin(async {
            let ran =
                engine::run(config, batch, ledger.clone(), Arc::new(observers), stop.clone()).await;
            if let Err(fault) = ran {
                // Its ledger takes nothing more: somebody else writes it, or nobody can.
                return Err(Failure::ledger(&fault, state::UNUSABLE));
            }
            let tally = ui.tally();
            let is_stopped = stop.is_requested() && !tally.is_over();
            if is_dry_run && !is_stopped {
                return Ok(dry_run_end(tally)); // It changes nothing that a report could tell of.
            }
            let ran = state::Ran {
                is_stopped,
                is_complete: tally.is_complete(),
                with_subjects,
                left_out: left_out.mailboxes(),
                accounts,
            };
            state::conclude(ledger, &state, ran).await
        });
        let stopping = || {
            ui.note(&format!(
                "stopping: what is in flight is finished, at most {} s; once more to stop now",
                drain_max.as_secs()
            ));
        };
        let ended = supervise(run, async || signals.next().await, &stop, stopping).await;
        drop(ui); // What follows stands below the bars.
        let Some(end) = ended else {
            ui::say(&again("stopped at once", "looks for what was in flight"));
            return Ok(Exit::Aborted);
        };
        let End { text, exit } = end?;
        self.output.show_summary(&text);
        if exit == Exit::Stopped {
            ui::say(&again("stopped early", "goes on where it stopped"));
        }
        Ok(exit)
    }
}

fn again(what: &str, how: &str) -> String {
    format!("{what}; run the same command again: it {how}")
}

fn dry_run_end(tally: Tally) -> End {
    End {
        text: tally.dry_run_text(),
        exit: if tally.is_complete() { Exit::Complete } else { Exit::Incomplete },
    }
}
