//! `mailhaul migrate`: reads and checks everything, then runs the batch and tells how it ended.

use clap::Args;

use crate::ui;

use super::chosen::Chosen;
use super::flags::ConfigFlags;
use super::output::Output;
use super::pass::{Pass, Passed, again};
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
        let Self { chosen, config, output, take_over } = &self;
        let show = output.show(chosen.file_name());
        let mut pass = Pass::prepare(chosen, config, *take_over, show, output.quiet)?;
        let Some(Passed { end, .. }) = pass.run().await? else {
            ui::say(&again("stopped at once", "looks for what was in flight"));
            return Ok(Exit::Aborted);
        };
        output.show_summary(&end.text);
        if end.exit == Exit::Stopped {
            ui::say(&again("stopped early", "goes on where it stopped"));
        }
        Ok(end.exit)
    }
}
