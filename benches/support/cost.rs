//! What a run of the program takes.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

const SAMPLE: Duration = Duration::from_millis(3);

/// What a run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// Of the program itself, user and system.
    pub(crate) cpu: Duration,
    pub(crate) memory_peak_kib: u64,
}

/// Migrates the accounts of a folder, which must end in success.
pub(crate) fn migrate(program: &Path, folder: &Path, flags: &[String]) -> Cost {
    let output = fs::File::create(folder.join("output")).unwrap();
    let (cost, status) = measured(
        Command::new(program)
            .args(["migrate", "accounts.csv", "--progress", "none"])
            .args(flags)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output),
    );
    let told = fs::read_to_string(folder.join("output")).unwrap();
    assert!(status.success(), "{status}\n{told}");
    cost
}

/// Runs a program to its end.
fn measured(command: &mut Command) -> (Cost, ExitStatus) {
    let cpu_before = children_cpu();
    let begun = Instant::now();
    let mut child = command.spawn().unwrap();
    let is_over = AtomicBool::new(false);
    let id = child.id();
    let (wall, status, memory_peak_kib) = thread::scope(|scope| {
        let peak = scope.spawn(|| {
            let mut peak = 0;
            while !is_over.load(Ordering::Relaxed) {
                peak = memory_peak_kib(id).unwrap_or(0).max(peak);
                thread::sleep(SAMPLE);
            }
            peak
        });
        let status = child.wait().unwrap();
        let wall = begun.elapsed();
        is_over.store(true, Ordering::Relaxed);
        (wall, status, peak.join().unwrap())
    });
    (Cost { wall, cpu: children_cpu() - cpu_before, memory_peak_kib }, status)
}

fn memory_peak_kib(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
}

/// The processor time of all processes that were started here and have ended.
fn children_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    // cutime and cstime of proc(5), in hundredths of a second.
    let ticks: u64 = fields[13..15].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}
