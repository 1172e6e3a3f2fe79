//! `mailhaul cutover`: a last pass, a comparison of both ends, and which accounts may be switched.

use clap::Args;
use mailhaul::config::Config;
use mailhaul::report::Cutover;

use crate::ui;

use super::chosen::Chosen;
use super::flags::ConfigFlags;
use super::output::Output;
use super::pass::{Pass, Passed, again};
use super::state;
use super::verify::{DepthFlags, Look};
use super::{Exit, Failure};

const STEPS: &str = "\
Point the MX records (or the delivery of the old server) to the new one first, wait until no mail
arrives at the old one, and stop access for users there. Then this: a last pass as `migrate` does it, a
comparison as `verify` does it, and for each account whether all of its mail is on the target, with what
is not exactly as it was. Mail that still arrives at the source makes its account unsafe.

Exit codes: 0 every account is safe to switch; 6 some are not, listed; else as `migrate`.";

#[derive(Debug, Args)]
#[command(after_long_help = STEPS)]
pub(crate) struct Arguments {
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    depth: DepthFlags,
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
        let Self { chosen, config, output, take_over, depth } = &self;
        if config.config()?.dry_run {
            let hint = "`mailhaul plan` and `mailhaul verify` write nothing on any server";
            return Err(Failure::usage("--dry-run: a cutover needs a last pass", hint));
        }
        let show = output.show(chosen.file_name());
        let mut pass = Pass::prepare(chosen, config, *take_over, show, output.quiet)?;
        let aborted = || ui::say(&again("stopped at once", "looks for what was in flight"));
        let stopped = || ui::say(&again("stopped early", "goes on where it stopped"));
        let Some(Passed { end, .. }) = pass.run().await? else {
            aborted();
            return Ok(Exit::Aborted);
        };
        output.show_summary(&end.text);
        if pass.stop.is_requested() {
            stopped();
            return Ok(Exit::Stopped);
        }

        let ledger = state::open(&pass.state).await?;
        let mut look = Look {
            config: Config { depth: depth.depth(), ..pass.config.clone() },
            batch: pass.batch.clone(),
            bound: state::all_bound(&ledger).await?,
            show: pass.show.clone(),
            visited: pass.state.visited(),
        };
        let Some(found) = look.run(&mut pass.signals, &pass.stop).await? else {
            aborted();
            return Ok(Exit::Aborted);
        };
        output.show_summary(&found.text);
        if found.exit == Exit::Stopped {
            stopped();
            return Ok(Exit::Stopped);
        }
        let cutover = Cutover::of(&state::snapshot(&ledger).await?, &found.comparison);
        let exit = if cutover.is_safe() { Exit::Complete } else { Exit::Problems };
        let path = pass.state.visited().cutover_json();
        let written = cutover.write_json(exit.code(), &path);
        written.map_err(|fault| Failure::ledger(&fault, state::UNUSABLE))?;
        state::close(ledger).await?;
        output.show_data(&cutover.text(exit.code(), &path));
        Ok(exit)
    }
}
