//! `mailhaul verify`: compares both ends of every account, whatever the ledger calls copied.

use std::sync::Arc;

use clap::Args;
use mailhaul::accounts::Batch;
use mailhaul::config::{Config, Depth};
use mailhaul::engine::{self, Bound};
use mailhaul::event::Observer;
use mailhaul::ledger::hold::Visited;
use mailhaul::report::{Comparison, Findings};
use mailhaul::stop::Stop;

use crate::ui::{self, Show};

use super::chosen::Chosen;
use super::flags::LookFlags;
use super::output::Output;
use super::signals::{Signals, supervise};
use super::state;
use super::{Exit, Failure};

const READS: &str = "\
Nothing is written on either server: mailboxes are opened with EXAMINE, and what is read marks
nothing. Of the ledger only that is believed where mailboxes went, what messages were repaired to, and
which have no copy of their own where the target has one of equal messages; a mailbox it does not know
goes where `migrate` with the same flags would send it. Whoever verifies beside a running migration, or
while mail arrives, finds that as missing.

Exit codes: 0 the same at both ends, whatever else the target has; 6 differences, or accounts that
could not be compared, listed in verify.csv.";

#[derive(Debug, Args)]
#[command(after_long_help = READS)]
pub(crate) struct Arguments {
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    depth: DepthFlags,
    #[command(flatten)]
    look: LookFlags,
    #[command(flatten)]
    output: Output,
}

/// How closely to look.
#[derive(Debug, Default, Args)]
pub(super) struct DepthFlags {
    /// Read the bodies of so many per cent of the messages, always the same ones; of the others
    /// compare size, date and header lines [default: all]
    #[arg(long, value_name = "PERCENT", value_parser = per_myriad, conflicts_with = "fast")]
    sample: Option<u16>,
    /// Read no body: compare size, date and the lines Message-ID, Date, From and Subject
    #[arg(long)]
    fast: bool,
}

impl DepthFlags {
    pub(super) fn depth(&self) -> Depth {
        match (self.sample, self.fast) {
            (_, true) => Depth::Fast,
            (Some(per_myriad), false) => Depth::Sample(per_myriad),
            (None, false) => Depth::Full,
        }
    }
}

impl Arguments {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let config = Config { depth: self.depth.depth(), ..self.look.config()? };
        let batch = self.chosen.batch(&config, self.output.quiet)?;
        let path = self.chosen.place.state();
        let mut look = Look {
            show: self.output.show(self.chosen.file_name()),
            bound: state::bound(&path, true).await?,
            visited: state::visit(&path)?,
            config,
            batch,
        };
        let mut signals = Signals::listen_or_fail()?;
        let Some(found) = look.run(&mut signals, &Stop::new()).await? else {
            ui::say("stopped at once; the same command begins anew");
            return Ok(Exit::Aborted);
        };
        self.output.show_summary(&found.text);
        if found.exit == Exit::Stopped {
            ui::say("stopped early; the same command begins anew");
        }
        Ok(found.exit)
    }
}

/// A comparison of both ends of every account.
pub(super) struct Look {
    pub(super) config: Config,
    pub(super) batch: Batch,
    pub(super) bound: Bound,
    pub(super) show: Show,
    pub(super) visited: Visited,
}

/// What was found, as a person is told of it.
pub(super) struct Found {
    pub(super) comparison: Comparison,
    pub(super) text: String,
    pub(super) exit: Exit,
}

impl Look {
    /// Compares, and writes `verify.csv` and `verify.json`; none where a second signal ended it.
    pub(super) async fn run(
        &mut self,
        signals: &mut Signals,
        stop: &Stop,
    ) -> Result<Option<Found>, Failure> {
        let Self { config, batch, bound, show, visited } = self;
        let (csv, json) = (visited.verify_csv(), visited.verify_json());
        let failed = |fault| Failure::ledger(&fault, "check the disk and the directory's owner");
        let findings = Arc::new(Findings::create(&csv, batch).map_err(failed)?);
        let ui = state::show(show.clone(), batch, config, &visited.log())?;
        let depth = config.depth;
        let observers: Vec<Arc<dyn Observer>> = vec![ui.observer(), findings.clone()];
        let (config, batch, bound) = (config.clone(), &*batch, std::mem::take(bound));
        let run = engine::compare(config, batch, bound, Arc::new(observers), stop.clone());
        let stopping =
            || ui.note("stopping: what is being compared is finished; once more to stop now");
        let ended = supervise(Box::pin(run), async || signals.next().await, stop, stopping).await;
        let tally = ui.tally();
        drop(ui); // What follows stands below the bars.
        let Some(ran) = ended else {
            return Ok(None);
        };
        ran.map_err(|fault| Failure::Internal { text: fault.chain() })?;
        let comparison = findings.finish().map_err(failed)?;
        let exit = if stop.is_requested() && !tally.is_over() {
            Exit::Stopped
        } else if comparison.is_exact() {
            Exit::Complete
        } else {
            Exit::Problems
        };
        comparison.write_json(depth, exit.code(), &json).map_err(failed)?;
        let text = comparison.text(depth, exit.code(), &csv);
        Ok(Some(Found { comparison, text, exit }))
    }
}

/// Per cent as ten-thousandths.
fn per_myriad(text: &str) -> Result<u16, String> {
    let percent = text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>();
    let percent = percent.ok().filter(|percent| (0.01..=100.0).contains(percent));
    let percent = percent.ok_or("give a number from 0.01 to 100")?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is from 1 to 10,000"
    )]
    Ok((percent * 100.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_given_in_per_cent() {
        for (text, sample) in [("1", 100), ("0.5%", 50), ("100", 10_000), ("0.01", 1)] {
            assert_eq!(per_myriad(text), Ok(sample), "{text}");
        }
        for text in ["0", "-1", "101", "NaN", "all", "%"] {
            per_myriad(text).expect_err(text);
        }
    }
}
