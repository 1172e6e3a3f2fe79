//! Flags and their help; the only reader of flags and environment.

mod chosen;
mod cutover;
#[cfg(feature = "rehearsal")]
mod demo;
mod filters;
mod flags;
mod mapping;
mod migrate;
mod output;
mod pass;
mod plan;
mod signals;
mod state;
mod status;
mod sync;
mod tune;
mod verify;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use mailhaul::accounts::Problem;
use mailhaul::fault::Fault;
use mailhaul::ledger::Refusal;

use crate::ui;

/// Copies whole organisations' mail between IMAP servers: nothing lost, doubled or altered.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "\
Exit codes: 0 every message is on the target; 1 internal error; 2 flags or CSV, nothing started;
3 some messages or accounts not copied, listed; 4 in doubt or possible duplicates; 5 ledger
unusable or held; 6 a check found problems; 75 stopped early, run the same line again; 130 aborted")]
struct Cli {
    /// When to use colours; NO_COLOR in the environment means never
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    color: Color,

    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Copy what is missing of every account; the same line again resumes, or copies what is new
    Migrate(Box<migrate::Arguments>),
    /// Copy what is missing again and again, until told to stop
    Sync(Box<sync::Arguments>),
    /// Copy what is missing a last time, compare both ends, and say which accounts may be switched
    Cutover(Box<cutover::Arguments>),
    /// Show which mailbox of every account would go where, and why, without writing anywhere
    Plan(Box<plan::Arguments>),
    /// Compare both ends of every account, message by message, whatever the ledger says
    Verify(Box<verify::Arguments>),
    /// Measure how fast both ends are, and tell which settings to copy with and how long it takes
    Tune(Box<tune::Arguments>),
    /// Show how everything stands, from the ledger alone
    Status(status::Arguments),
    /// Try it all in seconds: two servers in this process, a migration cut off, resumed, compared
    #[cfg(feature = "rehearsal")]
    Demo(demo::Arguments),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

/// Reads the command line; ends the process with exit code 2 where it is wrong.
pub(crate) fn parse() -> Command {
    let cli = Cli::parse();
    // https://no-color.org: set and not empty.
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match cli.color {
        Color::Always => ui::set_colors(true),
        Color::Never => ui::set_colors(false),
        Color::Auto if no_color => ui::set_colors(false),
        Color::Auto => {}
    }
    cli.command
}

impl Command {
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Migrate(arguments) => Box::pin(arguments.run()).await,
            Self::Sync(arguments) => Box::pin(arguments.run()).await,
            Self::Cutover(arguments) => Box::pin(arguments.run()).await,
            Self::Plan(arguments) => Box::pin(arguments.run()).await,
            Self::Verify(arguments) => Box::pin(arguments.run()).await,
            Self::Tune(arguments) => Box::pin(arguments.run()).await,
            Self::Status(arguments) => arguments.run().await,
            #[cfg(feature = "rehearsal")]
            Self::Demo(arguments) => Box::pin(arguments.run()).await,
        }
    }
}

/// Which migration is meant: the CSV, and where its state lives.
#[derive(Debug, clap::Args)]
struct Place {
    /// The CSV of accounts
    #[arg(id = "csv", value_name = "ACCOUNTS.CSV")]
    accounts: PathBuf,

    /// Where the ledger, the log and the reports live [default: beside the CSV, accounts.mailhaul/]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

impl Place {
    fn state(&self) -> PathBuf {
        match &self.state {
            Some(state) => state.clone(),
            None => self.accounts.with_extension("mailhaul"),
        }
    }
}

/// How a command ended, as scripts see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Every source message is on the target.
    Complete,
    /// A bug, or a machine that fails.
    Internal,
    /// Flags, configuration or CSV; nothing was started.
    Usage,
    /// Some messages or accounts are not copied; they are listed.
    Incomplete,
    /// Messages in doubt, or perhaps twice on the target.
    Doubtful,
    /// The ledger cannot be used, or another process holds it.
    Ledger,
    /// A check found problems.
    Problems,
    /// Stopped early: the same line again goes on.
    Stopped,
    /// Stopped at once.
    Aborted,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Incomplete => 3,
            Self::Doubtful => 4,
            Self::Ledger => 5,
            Self::Problems => 6,
            Self::Stopped => 75,
            Self::Aborted => 130,
        }
    }
}

/// Why a command could not do its work, with what to do next.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The CSV, or flags that stand in for its cells.
    #[error("{} found; nothing was started", ui::count(.0.len() as u64, "problem"))]
    Accounts(Vec<Problem>),
    /// A flag or a file it names.
    #[error("{text}")]
    Usage { text: String, hint: String },
    /// The state directory or the ledger in it.
    #[error("{text}")]
    Ledger { text: String, hint: String },
    /// A ledger that is sound, but takes nothing more from this run: the same line later goes on.
    #[error("{text}")]
    Refused { text: String, hint: &'static str },
    /// Another run goes on with the work.
    #[error("{text}")]
    TakenOver { text: String },
    /// Something else of this machine.
    #[error("{text}")]
    Internal { text: String },
}

impl Failure {
    /// Tells why the command did not do its work, and what to do.
    pub(crate) fn tell(&self) {
        if let Self::Accounts(problems) = self {
            problems.iter().for_each(|problem| ui::say(&problem.to_string()));
        }
        ui::error(&self.to_string());
        if let Some(text) = self.hint() {
            ui::hint(text);
        }
    }

    fn usage(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { text: text.into(), hint: hint.into() }
    }

    fn ledger(fault: &Fault, hint: impl Into<String>) -> Self {
        let text = fault.chain();
        match fault.cause.downcast_ref() {
            Some(Refusal::TakenOver) => Self::TakenOver { text },
            Some(Refusal::Full(_)) => {
                let hint = "nothing is sent that could not be noted down; once there is room, run \
                            the same command again: it goes on where it stopped";
                Self::Refused { text, hint }
            }
            None => Self::Ledger { text, hint: hint.into() },
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Accounts(_) | Self::Usage { .. } => Exit::Usage,
            Self::Ledger { .. } => Exit::Ledger,
            Self::Refused { .. } | Self::TakenOver { .. } => Exit::Stopped,
            Self::Internal { .. } => Exit::Internal,
        }
    }

    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Self::Usage { hint, .. } | Self::Ledger { hint, .. } => Some(hint),
            Self::Refused { hint, .. } => Some(hint),
            Self::TakenOver { .. } => {
                Some("the other run tells how it ends; see `mailhaul status`")
            }
            Self::Accounts(_) | Self::Internal { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn scripts_find_the_codes_they_were_told() {
        let codes = [
            (Exit::Complete, 0),
            (Exit::Internal, 1),
            (Exit::Usage, 2),
            (Exit::Incomplete, 3),
            (Exit::Doubtful, 4),
            (Exit::Ledger, 5),
            (Exit::Problems, 6),
            (Exit::Stopped, 75),
            (Exit::Aborted, 130),
        ];
        for (exit, code) in codes {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }

    #[test]
    fn state_lives_beside_the_csv() {
        let state = |accounts: &str| {
            let state = None;
            let accounts = accounts.into();
            Place { accounts, state }.state()
        };
        assert_eq!(state("accounts.csv"), PathBuf::from("accounts.mailhaul"));
        assert_eq!(state("/moves/wave.1.csv"), PathBuf::from("/moves/wave.1.mailhaul"));
        assert_eq!(state("accounts"), PathBuf::from("accounts.mailhaul"));
    }
}
