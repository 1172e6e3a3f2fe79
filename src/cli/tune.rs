//! `mailhaul tune`: measures both ends, and tells which settings to copy with.

use std::sync::Arc;

use clap::Args;
use mailhaul::accounts::Batch;
use mailhaul::config::Config;
use mailhaul::engine::{self, Trial};
use mailhaul::event::Observer;
use mailhaul::plan::tuning::Load;
use mailhaul::report::{Measuring, Plans, Preview};
use mailhaul::stop::Stop;

use crate::ui;

use super::chosen::Chosen;
use super::flags::LookFlags;
use super::output::Output;
use super::signals::{Signals, supervise};
use super::state;
use super::{Exit, Failure};

const WRITES: &str = "\
All accounts are listed first, to know how much there is; the one with the most messages is measured,
or the one of --only. At the source the latest messages of its largest mailbox are read again and again,
which marks nothing, over 1, 2, 4 and more connections, up to --connections-per-host, and in windows of
several sizes. With --write, the same is done at the target with messages made up, in mailboxes of their
own (mailhaul-...-tune), which are removed; one that was killed leaves them to the next one. It stops at
the first refusal. Servers that count what is read or written in a day count this, too: at most some
hundred MB on each side.

Exit codes: 0 measured; 6 something could not be listed or measured.";

#[derive(Debug, Args)]
#[command(after_long_help = WRITES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    chosen: Chosen,
    /// Measure the target, too: write into mailboxes of mailhaul's own there, and remove them
    #[arg(long)]
    write: bool,
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
        let (plans, measuring) = (Arc::new(Plans::new(&batch)), Arc::new(Measuring::default()));
        let show = self.output.show(self.chosen.file_name());
        let ui = state::show(show, &batch, &config, &visited.log())?;

        let stop = Stop::new();
        let trial = Trial { write: self.write, ..Trial::default() };
        let run = async {
            let observers: Vec<Arc<dyn Observer>> = vec![ui.observer(), plans.clone()];
            let observers = Arc::new(observers);
            engine::preview(config.clone(), &batch, bound, observers, stop.clone()).await?;
            let Some(batch) = to_measure(&batch, &plans.preview()) else {
                return Ok(());
            };
            let observers: Vec<Arc<dyn Observer>> = vec![ui.observer(), measuring.clone()];
            engine::tune(config.clone(), &batch, trial, Arc::new(observers), stop.clone()).await
        };
        let stopping = || ui.note("stopping: what was written is removed; once more to stop now");
        let ended = supervise(Box::pin(run), async || signals.next().await, &stop, stopping).await;
        drop(ui); // What follows stands below the bars.
        let Some(ran) = ended else {
            ui::say("stopped at once; the next `tune --write` removes what this one has written");
            return Ok(Exit::Aborted);
        };
        ran.map_err(|fault| Failure::Internal { text: fault.chain() })?;
        let (preview, measured) = (plans.preview(), measuring.measured());
        let exit = if stop.is_requested() && !measured.is_through {
            Exit::Stopped
        } else if preview.is_through() && measured.is_through {
            Exit::Complete
        } else {
            Exit::Problems
        };
        let load = load(&batch, &preview);
        let window_messages = Config::default().window_messages_max;
        if self.json {
            self.output.show_data(&measured.json(&load, window_messages, exit.code()));
        } else {
            self.output.show_data(&measured.text(&load, window_messages));
        }
        Ok(exit)
    }
}

/// The account with the most messages; none where none could be listed.
fn to_measure(batch: &Batch, preview: &Preview) -> Option<Batch> {
    let listed = batch.accounts.iter().zip(&preview.accounts).filter(|(_, plan)| plan.is_through);
    let messages = |plan: &mailhaul::report::AccountPlan| -> u64 {
        plan.mailboxes.iter().filter_map(|mailbox| mailbox.messages).sum()
    };
    let (account, _) = listed.max_by_key(|(_, plan)| messages(plan))?;
    Some(Batch { accounts: vec![account.clone()] })
}

/// How much there is to copy.
fn load(batch: &Batch, preview: &Preview) -> Load {
    let mailboxes = || preview.accounts.iter().flat_map(|account| &account.mailboxes);
    let to_copy = || mailboxes().filter(|mailbox| mailbox.target.is_some());
    Load {
        accounts: batch.accounts.len(),
        messages: to_copy().filter_map(|mailbox| mailbox.messages).sum(),
        bytes: to_copy().map(|mailbox| mailbox.bytes).sum(),
        one_host: batch.accounts.iter().any(|account| {
            account.source.host.to_lowercase() == account.target.host.to_lowercase()
        }),
    }
}
