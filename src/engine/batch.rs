//! All accounts of a run, so many at once. The only place where tasks are spawned.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::hosts::Hosts;
use super::logins::Logins;
use super::look::{self, Bound, Task};
use super::work::{End, Place, Run};
use super::{Env, Trial, account, tune};
use crate::accounts::{Account, Batch};
use crate::config::Config;
use crate::event::{Event, Observer};
use crate::fault::Fault;
use crate::imap::connect::Connector;
use crate::ledger::Ledger;
use crate::plan::sharing::Identities;
use crate::stop::Stop;
use crate::throttle::Memory;

pub(super) async fn run<L: Ledger>(
    env: Env<L>,
    config: Config,
    batch: &Batch,
    observer: Arc<dyn Observer>,
    stop: Stop,
) -> Result<(), Fault> {
    let run = begin(env, config, batch, observer, stop)?;
    let one = |run: Arc<Run<L>>, account: Account, place| async move {
        account::run(&run, &account, place).await
    };
    let outcome = each(&run, batch, one).await;
    let flushed = run.ledger.flush().await;
    let ended = outcome?;
    flushed?;
    tell_finished(&run, ended);
    Ok(())
}

/// Looks at all accounts, and changes nothing anywhere.
pub(super) async fn look(
    env: Env<()>,
    task: Task,
    config: Config,
    batch: &Batch,
    bound: Bound,
    observer: Arc<dyn Observer>,
    stop: Stop,
) -> Result<(), Fault> {
    let run = begin(env, config, batch, observer, stop)?;
    let bound = Arc::new(bound);
    let one = move |run: Arc<Run<()>>, account: Account, place| {
        let bound = bound.clone();
        async move { look::run(&run, task, &bound, &account, place).await }
    };
    let ended = each(&run, batch, one).await?;
    tell_finished(&run, ended);
    Ok(())
}

/// Measures all accounts, one after the other: beside each other they would measure themselves.
pub(super) async fn measure(
    env: Env<()>,
    config: Config,
    batch: &Batch,
    trial: Trial,
    observer: Arc<dyn Observer>,
    stop: Stop,
) -> Result<(), Fault> {
    let run = begin(env, Config { accounts_max: 1, ..config }, batch, observer, stop)?;
    let one = move |run: Arc<Run<()>>, account: Account, place| async move {
        Ok(tune::run(&run, &trial, &account, place).await)
    };
    let ended = each(&run, batch, one).await?;
    tell_finished(&run, ended);
    Ok(())
}

fn begin<L>(
    env: Env<L>,
    config: Config,
    batch: &Batch,
    observer: Arc<dyn Observer>,
    stop: Stop,
) -> Result<Arc<Run<L>>, Fault> {
    let run = Run {
        connector: Connector::new(env.dial, &config)?,
        memory: Memory::new(config.memory_bytes_max),
        hosts: Hosts::new(batch, &config, observer.clone()),
        logins: Logins::default(),
        places: Arc::new(Semaphore::new(config.accounts_max.max(1))),
        begun: Instant::now(),
        identities: identities(batch, &config),
        ledger: env.ledger,
        seed: env.seed,
        observer,
        stop,
        config,
    };
    run.observer.event(&Event::RunStarted { accounts: batch.accounts.len() });
    Ok(Arc::new(run))
}

/// Who at the source is who at the target, where that is asked for.
fn identities(batch: &Batch, config: &Config) -> Identities {
    if !config.acl {
        return Identities::default();
    }
    let users = |account: &Account| (account.source.user.clone(), account.target.user.clone());
    let users = batch.accounts.iter().map(users);
    Identities::of(config.acl_map.iter().cloned().chain(users))
}

fn tell_finished<L>(run: &Run<L>, [done, failed, stopped]: [usize; 3]) {
    run.observer.event(&Event::RunFinished { done, failed, stopped });
}

/// Does `one` for each account, of which no more are held than are at work or wait to be tried again.
/// After a stop was asked for it is waited only as long as what is in flight may take.
async fn each<L, F>(
    run: &Arc<Run<L>>,
    batch: &Batch,
    one: impl Fn(Arc<Run<L>>, Account, Place) -> F,
) -> Result<[usize; 3], Fault>
where
    F: Future<Output = Result<End, Fault>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let mut waiting = batch.accounts.iter();
    let mut counts = [0; 3];
    let mut broken = None;
    let drained = async {
        run.stop.requested().await;
        run.observer.event(&Event::Stopping);
        tokio::time::sleep(run.config.drain_max).await;
    };
    let mut drained = std::pin::pin!(drained);
    loop {
        let are_begun = waiting.len() == 0 || run.stop.is_requested();
        if are_begun && tasks.is_empty() {
            break;
        }
        let joined = tokio::select! {
            biased;
            Some(joined) = tasks.join_next() => joined,
            Some(place) = run.place(), if !are_begun => {
                if let Some(account) = waiting.next() {
                    tasks.spawn(one(run.clone(), account.clone(), place));
                }
                continue;
            }
            () = &mut drained => {
                tasks.abort_all();
                // What was cut off is in doubt, and settled by the next run.
                while tasks.join_next().await.is_some() {
                    counts[End::Stopped as usize] += 1;
                }
                break;
            }
        };
        match joined {
            Ok(Ok(end)) => counts[end as usize] += 1,
            Ok(Err(fault)) => {
                // Without its ledger nobody may go on.
                run.stop.request();
                broken = broken.or(Some(fault));
            }
            // A panic is a bug of ours: it ends its account, not the run.
            Err(error) => {
                counts[End::Failed as usize] += 1;
                let text = format!("internal error: {error}; please report it");
                run.observer.event(&Event::Warning { account: None, text });
            }
        }
    }
    counts[End::Stopped as usize] += waiting.len();
    match broken {
        Some(fault) => Err(fault),
        None => Ok(counts),
    }
}
