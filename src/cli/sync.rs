//! `mailhaul sync`: passes without end, until told to stop.

use std::time::Duration;

use clap::Args;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use tokio::time::{Instant, sleep_until};

use crate::ui::{self, Verbosity};

use super::chosen::Chosen;
use super::flags::{ConfigFlags, duration};
use super::output::Output;
use super::pass::{Pass, Passed, again};
use super::{Exit, Failure};

const REPEATS: &str = "\
Each pass is what `migrate` does; passes never overlap, and the CSV is read anew for each. One that
takes longer than --every is followed at once. A pass that fails is told, and the next one comes all the
same. Every pass is told in a line, and report.csv and report.json are those of the last one.

First signal (Ctrl-C, SIGTERM, SIGHUP): finish what is in flight, no more passes. Second: stop now, 130.
Exit code: that of the last pass, since each speaks of everything so far; 75 if it was stopped short.";

#[derive(Debug, Args)]
#[command(after_long_help = REPEATS)]
pub(crate) struct Arguments {
    #[command(flatten)]
    chosen: Chosen,
    /// From the beginning of one pass to that of the next
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "15m")]
    every: Duration,
    /// Begin no pass after this: 8h from now, 06:00 (the next one here), or 2026-01-31T06:00:00Z
    #[arg(long, value_name = "TIME", value_parser = until)]
    until: Option<Until>,
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
        let Self { chosen, config, output, take_over, .. } = &self;
        if config.config()?.dry_run {
            let hint = "`mailhaul plan` shows what would go where";
            return Err(Failure::usage("--dry-run: a sync without copying does nothing", hint));
        }
        let mut show = output.show(chosen.file_name());
        if show.verbosity == Verbosity::Normal {
            show.verbosity = Verbosity::Quiet; // A line for each pass, not for each account.
        }
        let until = self.until.map(|until| Instant::now() + until.left(&Zoned::now()));
        let mut pass = Pass::prepare(chosen, config, *take_over, show, output.quiet)?;
        let mut last;
        let mut text = String::new();
        let mut number: u64 = 1;
        loop {
            let begun = Instant::now();
            let told = match pass.run().await {
                Ok(None) => {
                    ui::say(&again("stopped at once", "looks for what was in flight"));
                    return Ok(Exit::Aborted);
                }
                Ok(Some(Passed { end, tally })) => {
                    (last, text) = (end.exit, end.text);
                    tally.pass_text()
                }
                // The other run goes on; the next pass would take the work back from it.
                Err(failure @ Failure::TakenOver { .. }) => return Err(failure),
                Err(failure) => {
                    last = failure.exit();
                    failure.tell();
                    format!("failed: {failure}")
                }
            };
            let took = ui::time(begun.elapsed());
            output.show_summary(&format!(
                "{} pass {number}: {told}, in {took}; exit code {}\n",
                ui::stamp(),
                last.code()
            ));
            number += 1;
            let next = begun + self.every;
            if pass.stop.is_requested() || !wait(&mut pass, next, until).await {
                break;
            }
            if let Err(failure) = read_again(chosen, &mut pass) {
                failure.tell();
                ui::say("the next pass goes on with the accounts as they were read before");
            }
        }
        output.show_summary(&text);
        if last == Exit::Stopped {
            ui::say(&again("stopped early", "goes on where it stopped"));
        }
        Ok(last)
    }
}

/// Waits for the next pass; says whether there is one.
async fn wait(pass: &mut Pass, next: Instant, until: Option<Instant>) -> bool {
    let next = next.max(Instant::now());
    if until.is_some_and(|until| next >= until) {
        return false;
    }
    tokio::select! {
        biased;
        () = pass.signals.next() => false,
        () = sleep_until(next) => true,
    }
}

/// Rows may have been added, and passwords changed.
fn read_again(chosen: &Chosen, pass: &mut Pass) -> Result<(), Failure> {
    pass.batch = chosen.batch(&pass.config, true)?;
    Ok(())
}

/// When no pass begins any more.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Until {
    After(Duration),
    At(Timestamp),
    Clock(Time),
}

impl Until {
    fn left(self, now: &Zoned) -> Duration {
        let until = |end: Timestamp| Duration::try_from(end.duration_since(now.timestamp()));
        match self {
            Self::After(duration) => duration,
            Self::At(end) => until(end).unwrap_or_default(),
            Self::Clock(time) => {
                let here = |date: jiff::civil::Date| {
                    let zone: TimeZone = now.time_zone().clone();
                    date.to_datetime(time).to_zoned(zone).map(|end| end.timestamp())
                };
                let today = here(now.date()).ok().filter(|end| *end > now.timestamp());
                let end = today.or_else(|| here(now.date().tomorrow().ok()?).ok());
                end.and_then(|end| until(end).ok()).unwrap_or_default()
            }
        }
    }
}

fn until(text: &str) -> Result<Until, String> {
    if let Ok(after) = duration(text) {
        return Ok(Until::After(after));
    }
    if let Ok(end) = text.parse() {
        return Ok(Until::At(end));
    }
    let time = Time::strptime("%H:%M", text).map(Until::Clock);
    time.map_err(|_| "give a time such as 8h, 06:00 or 2026-01-31T06:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_duration_a_time_of_day_or_an_instant() {
        let now: Zoned = "2026-01-30T22:00:00+01:00[+01:00]".parse().expect("a time");
        let left = |text: &str| until(text).expect(text).left(&now).as_secs();
        assert_eq!(left("8h"), 8 * 3600);
        assert_eq!(left("06:00"), 8 * 3600);
        assert_eq!(left("22:30"), 30 * 60);
        assert_eq!(left("2026-01-30T22:00:00Z"), 3600);
        assert_eq!(left("2026-01-30T20:00:00Z"), 0, "it is past");
        for bad in ["", "soon", "25:00", "6"] {
            until(bad).expect_err(bad);
        }
    }
}
