//! Plays seeds of the simulation, as many as asked, until one breaks a promise; or small jobs stopped
//! at every point, at every pair of points, or cut at every byte.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a program for a terminal")]
#![expect(clippy::disallowed_methods, reason = "it tells how long it took by the real clock")]

mod small;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use mailhaul::simulation::plan::Plan;
use mailhaul::simulation::soak::{Played, play_seed};

/// Plays seeds of the simulation until one breaks a promise.
#[derive(Parser)]
struct Flags {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// Instead of so many, as many as there is time for; from the one that the clock picks, where no
    /// first one is given.
    #[arg(long)]
    seconds: Option<u64>,
    /// How many at once; as many as there are processors, if not given.
    #[arg(long)]
    jobs: Option<usize>,
    /// Tell the plan of each seed, and everything that happens.
    #[arg(long)]
    verbose: bool,
    /// Go on after a seed that broke a promise.
    #[arg(long)]
    keep_going: bool,
    /// Instead of seeds, stop a job of six messages at every point: before and after each call to the
    /// ledger and each write to a server.
    #[arg(long, group = "small")]
    points: bool,
    /// Instead of seeds, stop it at every pair of points, one in each of two runs.
    #[arg(long, group = "small")]
    pairs: bool,
    /// Instead of seeds, cut each of its connections after every byte, either way.
    #[arg(long, group = "small")]
    bytes: bool,
    /// With --points, --pairs or --bytes: play only every n-th of them.
    #[arg(long, default_value_t = 1, requires = "small")]
    every: u64,
    /// With --points, --pairs or --bytes: only of the kinds of job whose name has this text in it, as
    /// `staged`.
    #[arg(long, value_name = "NAME", requires = "small")]
    job: Option<String>,
}

impl Flags {
    fn jobs(&self) -> usize {
        let jobs = self.jobs.or_else(|| std::thread::available_parallelism().ok().map(Into::into));
        jobs.unwrap_or(1).max(1)
    }
}

/// What became of a seed: a panic is a broken promise, too.
fn play(seed: u64, verbose: bool) -> Played {
    let played = std::panic::catch_unwind(|| play_seed(seed, verbose));
    played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let wrong = vec![format!("panic: {}", text.unwrap_or_default())];
        Played { wrong, ..Played::default() }
    })
}

fn main() -> ExitCode {
    let mut flags = Flags::parse();
    if flags.points || flags.pairs || flags.bytes {
        return small::play(&flags);
    }
    if flags.seconds.is_some() {
        flags.seeds = u64::MAX;
        if flags.start == 0 {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            flags.start = now.as_secs().saturating_mul(1_000_000);
        }
    }
    let jobs = flags.jobs();
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (tell, told) = mpsc::channel();
    let begun = Instant::now();
    let (mut seeds, mut runs, mut struck, mut broken) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut shown = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (tell, next, stop, flags) = (tell.clone(), &next, &stop, &flags);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= flags.seeds {
                        break;
                    }
                    let seed = flags.start.wrapping_add(number);
                    if tell.send((seed, play(seed, flags.verbose))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(tell);
        for (seed, played) in told {
            seeds += 1;
            runs += played.runs;
            struck += played.struck;
            if flags.verbose {
                println!("{:#?}", Plan::of(seed));
                for line in &played.trace {
                    println!("{line}");
                }
            }
            if !played.wrong.is_empty() {
                broken += 1;
                tell_broken(seed, &played, flags.verbose);
                if !flags.keep_going {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            if shown.elapsed() >= Duration::from_secs(10) {
                shown = Instant::now();
                let of =
                    flags.seconds.map_or_else(|| format!(" of {}", flags.seeds), |_| String::new());
                eprintln!("{seeds}{of} seeds, {struck} faults, {broken} broken");
            }
            if flags.seconds.is_some_and(|seconds| begun.elapsed().as_secs() >= seconds) {
                stop.store(true, Ordering::Relaxed);
            }
        }
    });
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    // Counts this small are exact.
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    let (each, pace) = (struck as f64 / seeds.max(1) as f64, seeds as f64 / 1_000.0 / minutes);
    println!(
        "{seeds} seeds from {}: {broken} broken; {runs} runs, {struck} faults struck ({each:.1} a \
         seed); {:.1} s, {pace:.1} thousand seeds a minute",
        flags.start,
        minutes * 60.0
    );
    if broken > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn tell_broken(seed: u64, played: &Played, has_plan: bool) {
    let mut out = std::io::stdout().lock();
    // Nobody to read it is no failure of the test.
    let _ = writeln!(out, "\nseed {seed} of {} breaks a promise:", commit());
    for line in &played.wrong {
        let _ = writeln!(out, "  {line}");
    }
    if !has_plan {
        let _ = writeln!(out, "{:#?}", Plan::of(seed));
    }
    let _ = writeln!(
        out,
        "replay: cargo run --release --features simulation --example soak -- --seeds 1 --start \
         {seed} --verbose\n"
    );
}

fn commit() -> String {
    let mut git = std::process::Command::new("git");
    let described = git.args(["describe", "--always", "--dirty"]).output();
    let text = described.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "an unknown commit".to_owned())
}
