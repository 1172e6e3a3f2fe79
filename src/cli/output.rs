//! How a command shows what it does.

use std::sync::Arc;

use clap::{Args, ValueEnum};

use crate::ui::{self, Verbosity};

#[derive(Debug, Args)]
pub(super) struct Output {
    /// How progress is shown; auto: bars on a terminal, else plain lines
    #[arg(long, value_enum, default_value_t = Progress::Auto, value_name = "HOW")]
    #[arg(help_heading = "Output")]
    progress: Progress,
    /// Tell of every mailbox and message that matters
    #[arg(long, short, conflicts_with = "quiet", help_heading = "Output")]
    verbose: bool,
    /// Tell of failures only
    #[arg(long, short, help_heading = "Output")]
    pub(super) quiet: bool,
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

impl Output {
    /// How events of the accounts of this file are shown.
    pub(super) fn show(&self, file: Arc<str>) -> ui::Show {
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
            file,
        }
    }

    /// The summary at the end. Data goes to standard output, unless the events have it.
    pub(super) fn show_summary(&self, text: &str) {
        if !self.quiet {
            self.show_data(text);
        }
    }

    /// What a command is for, also where little is to be told.
    pub(super) fn show_data(&self, text: &str) {
        if matches!(self.progress, Progress::Json) {
            ui::say(text.trim_end());
        } else {
            ui::print(text);
        }
    }
}
