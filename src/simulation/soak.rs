//! Plays plans: sets their worlds up, lets everything in them go wrong, and looks what is true then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::event::Event;
use crate::fate::Fate;
use crate::fault::Side;
use crate::ledger::AccountState;

use super::lock;
use super::model::Model;
use super::network::{AtPoint, Kill, SOURCE_PORT, TARGET_PORT};
use super::plan::{Other, Plan, Run};
use super::world::{Circumstances, World};

/// A run in which nothing goes wrong any more is through by then.
const QUIET_RUN_MAX: Duration = Duration::from_secs(60 * 60);
/// Everything that was to take effect late has, by then.
const QUIET: Duration = Duration::from_secs(2_000);

/// What became of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Played {
    /// What is wrong; nothing if all is well.
    pub wrong: Vec<String>,
    /// How much went wrong on purpose, and struck.
    pub struck: u64,
    /// How many runs there were.
    pub runs: u64,
    /// What happened, in order.
    pub trace: Vec<String>,
}

/// Plays the plan of a seed, on a runtime of its own.
///
/// # Panics
///
/// When there is no runtime to be had; and as the engine does, which is a bug in it.
#[must_use]
pub fn play_seed(seed: u64, traced: bool) -> Played {
    play_alone(&Plan::of(seed), traced)
}

/// Plays a plan, on a runtime of its own.
///
/// # Panics
///
/// As [`play_seed`].
#[must_use]
pub fn play_alone(plan: &Plan, traced: bool) -> Played {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    runtime.expect("a runtime without threads").block_on(play(plan, traced))
}

/// Plays a plan. The clock must be paused.
pub async fn play(plan: &Plan, traced: bool) -> Played {
    let mut world = World::new(plan.source.profile(), plan.target.profile());
    world.config = plan.setup.config();
    let model = Arc::new(Mutex::new(Model::new(plan, &world)));
    let mut played = Played::default();
    for (number, run) in plan.runs.iter().enumerate() {
        let report = start(&mut world, &model, plan, number, &mut played, traced).await;
        world.network.set_troubles(Vec::new());
        let wrong = lock_check(&model, &world, report.as_ref()).await;
        if !wrong.is_empty() {
            played.wrong.push(format!("after run {number}:"));
            played.wrong.extend(wrong);
            return played;
        }
        tokio::time::sleep(run.pause).await;
    }
    be_quiet(&mut world, plan).await;
    let end = plan.runs.len();
    for number in [end, end + 1] {
        let report = start(&mut world, &model, plan, number, &mut played, traced).await;
        let report = report.expect("nothing kills this run");
        let account = &report.accounts[0];
        if report.ended.is_err() || account.state != AccountState::Done {
            let why = (&report.ended, account.state, &account.reason);
            played.wrong.push(format!("liveness: the quiet run {number} ends as {why:?}"));
        }
        if report.took > QUIET_RUN_MAX {
            played.wrong.push(format!("liveness: the quiet run {number} took {:?}", report.took));
        }
        for fault in report.mailbox_faults() {
            played.wrong.push(format!("liveness: after the quiet run {number}: {fault}"));
        }
        let model = lock(&model).clone();
        let wrong = model.check_end(&world, &report, number == end).await;
        if !wrong.is_empty() {
            played.wrong.push(format!("after the quiet run {number}:"));
            played.wrong.extend(wrong);
        }
        if !played.wrong.is_empty() {
            return played;
        }
    }
    let before = world.target.counters();
    let report = start(&mut world, &model, plan, end + 2, &mut played, traced).await;
    // What was refused is tried once in each run, at last without what a server may not like; and so
    // it is repaired.
    let tries = if plan.setup.repairs.is_empty() { 3 } else { 6 };
    let refused = report.map_or(0, |report| report.fate(Fate::Refused));
    let after = world.target.counters();
    let (sent, stored) =
        (after.command("APPEND") - before.command("APPEND"), after.appended - before.appended);
    if stored > 0 || sent > tries * refused {
        played
            .wrong
            .push(format!("P8: when all was done, a run sent {sent} APPENDs, {stored} stored"));
    }
    played
}

async fn lock_check(
    model: &Mutex<Model>,
    world: &World,
    report: Option<&super::Report>,
) -> Vec<String> {
    let model = lock(model).clone();
    model.check(world, report).await
}

/// Ends all that goes wrong, and waits for what is still under way.
async fn be_quiet(world: &mut World, plan: &Plan) {
    disarm(world, plan);
    world.copy().set_quota(None);
    tokio::time::sleep(QUIET).await;
    world.target.settle().await;
}

/// Ends all faults but what the target always refuses.
fn disarm(world: &World, plan: &Plan) {
    for server in [&world.source, &world.target] {
        server.faults().clear();
    }
    if let Some(refusal) = plan.refusal() {
        world.target.faults().arm(refusal);
    }
}

async fn start(
    world: &mut World,
    model: &Arc<Mutex<Model>>,
    plan: &Plan,
    number: usize,
    played: &mut Played,
    traced: bool,
) -> Option<super::Report> {
    disarm(world, plan);
    let quiet = Run::default();
    let run = plan.runs.get(number).unwrap_or(&quiet);
    let before = struck(world);
    for (side, fault) in &run.faults {
        let server = match side {
            Side::Source => &world.source,
            Side::Target => &world.target,
        };
        server.faults().arm(fault.clone());
    }
    world.network.set_troubles(run.troubles.clone());
    let done = Arc::new(AtomicU64::new(0));
    let circumstances = Circumstances {
        kill: run.kill.map(Kill::Point),
        failure: run.ledger,
        at_point: deeds(world, model, run, done.clone()),
        // No two runs have the same names for what they make.
        seed: number as u64,
    };
    let report = world.run_with(circumstances).await;
    let killed = u64::from(report.is_none());
    let failed = u64::from(report.as_ref().is_some_and(|report| report.ended.is_err()));
    played.runs += 1;
    played.struck += struck(world) - before + done.load(Ordering::Relaxed) + killed + failed;
    if traced {
        let events: &[Event] = report.as_ref().map_or(&world.told, |report| &report.events);
        played.trace.push(format!("run {number}, {} points", world.points));
        played.trace.extend(events.iter().map(|event| format!("{event:?}")));
        let end = report.as_ref().map(|report| (report.verdict, &report.totals.fates));
        played.trace.push(end.map_or("killed".to_owned(), |end| format!("{end:?}")));
    }
    report
}

fn struck(world: &World) -> u64 {
    world.network.struck() + world.source.faults().done() + world.target.faults().done()
}

/// What others do, and a stop that is asked for, each at its point.
fn deeds(
    world: &World,
    model: &Arc<Mutex<Model>>,
    run: &Run,
    done: Arc<AtomicU64>,
) -> Option<AtPoint> {
    if run.deeds.is_empty() && run.stop.is_none() {
        return None;
    }
    let (deeds, stop_at) = (run.deeds.clone(), run.stop);
    let (network, model, stop) = (world.network.clone(), model.clone(), world.stop.clone());
    Some(Box::new(move |point| {
        if stop_at == Some(point) {
            stop.request();
            done.fetch_add(1, Ordering::Relaxed);
        }
        for (_, deed) in deeds.iter().filter(|(at, _)| *at == point) {
            if lock(&model).act(deed) {
                done.fetch_add(1, Ordering::Relaxed);
            }
            if let Other::Crash(side) = deed {
                network.crash(match side {
                    Side::Source => SOURCE_PORT,
                    Side::Target => TARGET_PORT,
                });
            }
        }
    }))
}
