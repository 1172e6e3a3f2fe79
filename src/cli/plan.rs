//! `mailhaul plan`: which mailbox of every account would go where, and why.

use std::sync::Arc;

use clap::Args;
use mailhaul::engine;
use mailhaul::event::Observer;
use mailhaul::report::Plans;
use mailhaul::stop::Stop;

use super::chosen::Chosen;
use super::flags::LookFlags;
use super::output::Output;
use super::signals::{Signals, supervise};
use super::state;
use super::{Exit, Failure};

const READS: &str = "\
Nothing is written on either server. Mailboxes to which an earlier run sent messages stay where they
are. What a target would refuse or take for another's name is only known when it is made.

Exit codes: 0 all accounts planned; 6 some could not be.";

#[derive(Debug, Args)]
#[command(after_long_help = READS)]
pub(crate) struct Arguments {
    #[command(flatten)]
    chosen: Chosen,
    /// For programs: JSON on standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    look: LookFlags,
    #[command(flatten)]
    output: Output,
}

impl Arguments {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let config = self.look.config()?;
        let batch = self.chosen.batch(&config, self.output.quiet)?;
        let path = self.chosen.place.state();
        let visited = state::visit(&path)?;
        let bound = state::bound(&path, false).await?;
        let mut signals = Signals::listen_or_fail()?;
        let plans = Arc::new(Plans::new(&batch));
        let show = self.output.show(self.chosen.file_name());
        let ui = state::show(show, &batch, &config, &visited.log())?;

        let stop = Stop::new();
        let observers: Vec<Arc<dyn Observer>> = vec![ui.observer(), plans.clone()];
        let run = engine::preview(config, &batch, bound, Arc::new(observers), stop.clone());
        let ended = supervise(Box::pin(run), async || signals.next().await, &stop, || {}).await;
        let tally = ui.tally();
        drop(ui); // What follows stands below the bars.
        let Some(ran) = ended else {
            return Ok(Exit::Aborted);
        };
        ran.map_err(|fault| Failure::Internal { text: fault.chain() })?;
        let preview = plans.preview();
        let exit = if stop.is_requested() && !tally.is_over() {
            Exit::Stopped
        } else if preview.is_through() {
            Exit::Complete
        } else {
            Exit::Problems
        };
        if self.json {
            self.output.show_data(&preview.json(exit.code()));
        } else {
            self.output.show_data(&preview.text());
        }
        Ok(exit)
    }
}
