//! All accounts of a run, so many at once. The only place where tasks are spawned.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::hosts::Hosts;
use super::logins::Logins;
use super::look::{self, Bound, Task};
use super::work::{End, Run};
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
    batch: Batch,
    observer: Arc<dyn Observer>,
    stop: Stop,
) -> Result<(), Fault> {
    let run = begin(env, config, &batch, observer, stop)?;
    let mut tasks = JoinSet::new();
    for account in batch.accounts {
        let run = run.clone();
        tasks.spawn(async move { account::run(&run, &account).await });
    }
    let outcome = join(&run, &mut tasks).await;
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
    batch: Batch,
    bound: Bound,
    observer: Arc<dyn Observer>,
    stop: Stop,
) -> Result<(), Fault> {
    let run = begin(env, config, &batch, observer, stop)?;
    let bound = Arc::new(bound);
    let mut tasks = JoinSet::new();
    for account in batch.accounts {
        let (run, bound) = (run.clone(), bound.clone());
        tasks.spawn(async move { look::run(&run, task, &bound, &account).await });
    }
    let ended = join(&run, &mut tasks).await?;
    tell_finished(&run, ended);
    Ok(())
}

/// Measures all accounts, one after the other: beside each other they would measure themselves.
pub(super) async fn measure(
    env: Env<()>,
    config: Config,
    batch: Batch,
    trial: Trial,
    observer: Arc<dyn Observer>,
    stop: Stop,
) -> Result<(), Fault> {
    let run = begin(env, Config { accounts_max: 1, ..config }, &batch, observer, stop)?;
    let mut tasks = JoinSet::new();
    for account in batch.accounts {
        let run = run.clone();
        tasks.spawn(async move { Ok(tune::run(&run, &trial, &account).await) });
    }
    let ended = join(&run, &mut tasks).await?;
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
        hosts: Hosts::new(batch, &config),
        logins: Logins::default(),
        places: Semaphore::new(config.accounts_max.max(1)),
        begun: Instant::now(),
        identities: Identities::of(config.acl_map.iter().cloned().chain(users(batch))),
        ledger: env.ledger,
        seed: env.seed,
        observer,
        stop,
        config,
    };
    run.observer.event(&Event::RunStarted { accounts: batch.accounts.len() });
    Ok(Arc::new(run))
}

/// Who at the source is who at the target.
fn users(batch: &Batch) -> impl Iterator<Item = (String, String)> {
    let users = |account: &Account| (account.source.user.clone(), account.target.user.clone());
    batch.accounts.iter().map(users)
}

fn tell_finished<L>(run: &Run<L>, [done, failed, stopped]: [usize; 3]) {
    run.observer.event(&Event::RunFinished { done, failed, stopped });
}

/// Waits for all accounts; after a stop was asked for, only as long as what is in flight may take.
async fn join<L>(
    run: &Run<L>,
    tasks: &mut JoinSet<Result<End, Fault>>,
) -> Result<[usize; 3], Fault> {
    let mut counts = [0; 3];
    let mut broken = None;
    let drained = async {
        run.stop.requested().await;
        run.observer.event(&Event::Stopping);
        tokio::time::sleep(run.config.drain_max).await;
    };
    let mut drained = std::pin::pin!(drained);
    loop {
        let joined = tokio::select! {
            biased;
            joined = tasks.join_next() => joined,
            () = &mut drained => {
                tasks.abort_all();
                // What was cut off is in doubt, and settled by the next run.
                while tasks.join_next().await.is_some() {
                    counts[End::Stopped as usize] += 1;
                }
                None
            }
        };
        match joined {
            None => break,
            Some(Ok(Ok(end))) => counts[end as usize] += 1,
            Some(Ok(Err(fault))) => {
                // Without its ledger nobody may go on.
                run.stop.request();
                broken = broken.or(Some(fault));
            }
            // A panic is a bug of ours: it ends its account, not the run.
            Some(Err(error)) => {
                counts[End::Failed as usize] += 1;
                let text = format!("internal error: {error}; please report it");
                run.observer.event(&Event::Warning { account: None, text });
            }
        }
    }
    match broken {
        Some(fault) => Err(fault),
        None => Ok(counts),
    }
}
