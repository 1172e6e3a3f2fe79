//! `mailhaul migrate`: reads and checks everything, then runs the batch and tells how it ended.

use std::path::Path;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use mailhaul::accounts::{self, Batch, Loaded};
use mailhaul::config::{Config, Lock};
use mailhaul::engine;
use mailhaul::stop::Stop;

use crate::ui::{self, Tally, Ui, Verbosity};

use super::flags::{AccountFlags, ConfigFlags};
use super::signals::{Signals, supervise};
use super::state::{self, End};
use super::{Exit, Failure, Place};

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
    place: Place,
    /// Only accounts with this source or target user, in any case; may be repeated
    #[arg(long, value_name = "USER")]
    only: Vec<String>,

    /// Go on in the place of a run that uses the same state directory and hangs, or, with
    /// --lock-mailbox, of one with another state directory
    #[arg(long)]
    take_over: bool,

    #[command(flatten)]
    config: ConfigFlags,
    #[command(flatten)]
    accounts: AccountFlags,

    /// How progress is shown; auto: bars on a terminal, else plain lines
    #[arg(long, value_enum, default_value_t = Progress::Auto, value_name = "HOW")]
    #[arg(help_heading = "Output")]
    progress: Progress,
    /// Tell of every mailbox and message that matters
    #[arg(long, short, conflicts_with = "quiet", help_heading = "Output")]
    verbose: bool,
    /// Tell of failures only
    #[arg(long, short, help_heading = "Output")]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Progress {
    /// Bars on a terminal, else plain
    Auto,
    /// Bars
    Bars,
    /// A summary every 30 s, and a line for each account that ended
    Plain,
    /// Every event as a line of JSON on standard output
    Json,
    /// Nothing
    None,
}

impl Arguments {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let mut config = self.config.config()?;
        if self.take_over && config.lock == Lock::Locked {
            config.lock = Lock::TakenOver;
        }
        let batch = self.batch()?;
        check_connections(&config, &batch)?;
        raise_open_files(&config, &batch);

        let state = state::hold(&self.place.state(), self.take_over)?;
        let ledger = state::open(&state).await?;
        let signals = Signals::listen();
        let mut signals = signals.map_err(|error| Failure::Internal {
            text: format!("cannot listen for signals: {error}"),
        })?;
        let ui = Ui::start(self.show(), &batch, &config, &state.log()).map_err(|error| {
            let text = format!("cannot write {}: {error}", state.log().display());
            let hint = "check the disk and the directory's owner".to_owned();
            Failure::Ledger { text, hint }
        })?;

        let stop = Stop::new();
        let (drain_max, is_dry_run) = (config.drain_max, config.dry_run);
        let with_subjects = config.report_headers;
        let accounts = batch.accounts.iter().map(|account| account.name().key).collect();
        let observer = ui.observer();
        // Boxed: a run is too large a value for this function's frame.
        let run = Box::pin(async {
            let ran = engine::run(config, batch, ledger.clone(), observer, stop.clone()).await;
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
        if !self.quiet {
            self.show_summary(&text);
        }
        if exit == Exit::Stopped {
            ui::say(&again("stopped early", "goes on where it stopped"));
        }
        Ok(exit)
    }

    /// Reads the CSV and keeps the accounts asked for.
    fn batch(&self) -> Result<Batch, Failure> {
        let path = &self.place.accounts;
        let environment = |name: &str| std::env::var_os(name);
        let loaded = accounts::read(path, &self.accounts.defaults(), &environment);
        let Loaded { mut batch, warnings } = loaded.map_err(Failure::Accounts)?;
        if !self.quiet {
            for warning in warnings {
                ui::warn(&warning.to_string());
            }
        }
        if self.only.is_empty() {
            return Ok(batch);
        }
        let all = batch.clone();
        match batch.only(&self.only) {
            Ok(()) => Ok(batch),
            Err(missing) => {
                let told: Vec<String> = missing
                    .iter()
                    .map(|user| match all.nearest_user(user) {
                        Some(nearest) => format!("{user} (did you mean {nearest}?)"),
                        None => user.clone(),
                    })
                    .collect();
                let text = format!(
                    "--only: no account of {} has the user {}",
                    path.display(),
                    told.join(", ")
                );
                let hint = "name a source_user or target_user as the CSV has it";
                Err(Failure::usage(text, hint))
            }
        }
    }

    fn show(&self) -> ui::Show {
        let verbosity = match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        let mode = match self.progress {
            Progress::Auto if ui::is_terminal() => ui::Mode::Bars,
            Progress::Auto | Progress::Plain => ui::Mode::Plain,
            Progress::Bars => ui::Mode::Bars,
            Progress::Json => ui::Mode::Json,
            Progress::None => ui::Mode::None,
        };
        ui::Show {
            mode: match verbosity {
                Verbosity::Quiet if matches!(self.progress, Progress::Auto) => ui::Mode::None,
                _ => mode,
            },
            verbosity,
            file: file_name(&self.place.accounts),
        }
    }

    /// Data goes to standard output, unless the events have it.
    fn show_summary(&self, text: &str) {
        if matches!(self.progress, Progress::Json) {
            ui::say(text.trim_end());
        } else {
            ui::print(text);
        }
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

fn file_name(path: &Path) -> Arc<str> {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into()
}

/// An account between two users of one host needs two connections to it at once.
fn check_connections(config: &Config, batch: &Batch) -> Result<(), Failure> {
    let one_host = batch
        .accounts
        .iter()
        .find(|account| account.source.host.to_lowercase() == account.target.host.to_lowercase());
    match one_host {
        Some(account) if config.host_connections_max < 2 => {
            let text = format!(
                "--connections-per-host 1: the account of line {} has both ends on {}",
                account.line, account.source.host
            );
            Err(Failure::usage(text, "allow 2 or more"))
        }
        _ => Ok(()),
    }
}

fn raise_open_files(config: &Config, batch: &Batch) {
    /// The ledger, the log, the terminal, and what libraries keep open.
    const OTHER_FILES: u64 = 64;
    let accounts = config.accounts_max.min(batch.accounts.len()) as u64;
    let needed = accounts * 2 * config.connections_max as u64 + OTHER_FILES;
    let limit = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => limit,
        Err(error) => return ui::warn(&format!("cannot raise the limit of open files: {error}")),
    };
    if limit < needed {
        ui::warn(&format!(
            "only {limit} files may be open and {needed} may be needed; raise `ulimit -n`, or \
             lower --accounts"
        ));
    }
}
