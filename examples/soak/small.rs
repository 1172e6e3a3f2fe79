//! Small jobs, stopped and cut everywhere.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mailhaul::fault::Side;
use mailhaul::simulation::network::Way;
use mailhaul::simulation::small::{ALL, Cut, Small};

use super::Flags;

/// Jobs that are played one after the other: the last parameter counts up until there is no more.
#[derive(Clone, Copy)]
enum Series {
    Points,
    /// After a first stop at this point.
    Second(u64),
    /// Of this side's connection of this number.
    Bytes(Side, u64, Way),
}

impl Series {
    /// Gives whether there is such a job.
    fn play(self, small: &Small, number: u64) -> Result<bool, String> {
        match self {
            Self::Points => small.stop(&[number]),
            Self::Second(first) => small.stop(&[first, number]),
            Self::Bytes(side, connection, way) => {
                small.cut(Cut { side, connection, way, after: number - 1 })
            }
        }
    }
}

/// What is played of one kind of job.
fn all_series(flags: &Flags, small: &Small) -> Vec<Series> {
    if flags.points {
        return vec![Series::Points];
    }
    if flags.bytes {
        let mut all = Vec::new();
        for side in [Side::Source, Side::Target] {
            for way in [Way::There, Way::Back] {
                // The first byte of a connection that is not there is not cut.
                let has = |connection: &u64| Series::Bytes(side, *connection, way).play(small, 1);
                let connections = (0..).take_while(|connection| has(connection).unwrap_or(true));
                all.extend(connections.map(|connection| Series::Bytes(side, connection, way)));
            }
        }
        return all;
    }
    let is_point = |point: &u64| small.stop(&[*point]).unwrap_or(true);
    let first = (1..).step_by(step(flags)).take_while(is_point);
    first.map(Series::Second).collect()
}

fn step(flags: &Flags) -> usize {
    usize::try_from(flags.every).unwrap_or(usize::MAX).max(1)
}

/// Plays all that is asked for.
pub(super) fn play(flags: &Flags) -> ExitCode {
    let begun = Instant::now();
    let asked = |small: &&Small| flags.job.as_ref().is_none_or(|name| small.name.contains(name));
    let kinds: Vec<&Small> = ALL.iter().filter(asked).collect();
    if kinds.is_empty() {
        let names = ALL.map(|small| small.name).join("; ");
        eprintln!("no kind of job has such a name; there are: {names}");
        return ExitCode::FAILURE;
    }
    let todo = kinds
        .into_iter()
        .flat_map(|small| all_series(flags, small).into_iter().map(move |series| (small, series)));
    let todo = Mutex::new(todo);
    let (played, broken, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let shown = Mutex::new((Instant::now(), ""));
    std::thread::scope(|scope| {
        for _ in 0..flags.jobs() {
            scope.spawn(|| {
                loop {
                    let next = todo.lock().ok().and_then(|mut todo| todo.next());
                    let Some((small, series)) = next else {
                        break;
                    };
                    for number in (1..).step_by(step(flags)) {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        played.fetch_add(1, Ordering::Relaxed);
                        let is_there = series.play(small, number).unwrap_or_else(|wrong| {
                            println!("\n{wrong}\n");
                            broken.fetch_add(1, Ordering::Relaxed);
                            stop.store(!flags.keep_going, Ordering::Relaxed);
                            true
                        });
                        if !is_there {
                            break;
                        }
                        if let Ok(mut shown) = shown.lock()
                            && (shown.0.elapsed() >= Duration::from_secs(10)
                                || shown.1 != small.name)
                        {
                            *shown = (Instant::now(), small.name);
                            let (played, broken) = (&played, &broken);
                            eprintln!("{}: {played:?} jobs so far, {broken:?} broken", small.name);
                        }
                    }
                }
            });
        }
    });
    let (played, broken) = (played.into_inner(), broken.into_inner());
    println!("{played} jobs: {broken} broken; {:.1} s", begun.elapsed().as_secs_f64());
    if broken > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
