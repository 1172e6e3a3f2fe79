use mailhaul::fate::Fate;
use mailhaul::fault::Side;
use mailhaul::report::Verdict;
use mailhaul::simulation::ledger::Failure;
use mailhaul::simulation::network::Way;
use mailhaul::simulation::small::{ALL, Cut, MESSAGES, Small};
use mailhaul::simulation::world::{Circumstances, World};

/// Counts up until something gives false.
fn until_over(first: u64, step: u64, mut play: impl FnMut(u64) -> Result<bool, String>) -> u64 {
    let mut number = first;
    while play(number).unwrap_or_else(|wrong| panic!("{wrong}")) {
        number += step;
    }
    number
}

/// Stops the job before and after every call to the ledger and every write to a connection, and
/// resumes it.
fn stopped_at_every_point(small: &Small) {
    let points = until_over(1, 1, |point| small.stop(&[point]));
    assert!(points > 60, "only {points} points");
}

#[test]
fn stopped_at_any_point_the_job_ends_the_same_at_dovecot() {
    stopped_at_every_point(&ALL[0]);
}

#[test]
fn stopped_at_any_point_the_job_ends_the_same_at_exchange() {
    stopped_at_every_point(&ALL[1]);
}

#[test]
fn stopped_at_any_point_the_job_ends_the_same_at_courier() {
    stopped_at_every_point(&ALL[2]);
}

#[test]
fn stopped_at_any_point_the_job_ends_the_same_without_extensions() {
    stopped_at_every_point(&ALL[3]);
}

#[test]
fn stopped_at_any_point_the_job_ends_the_same_through_stages() {
    stopped_at_every_point(&ALL[4]);
}

/// All pairs: `cargo run --release --features simulation --example soak -- --pairs`.
#[test]
fn stopped_twice_the_job_ends_the_same() {
    for small in &ALL {
        for first in (3..90).step_by(29) {
            until_over(2, 31, |second| small.stop(&[first, second]));
        }
    }
}

/// All bytes: `cargo run --release --features simulation --example soak -- --bytes`.
#[test]
fn cut_at_a_byte_the_job_ends_the_same() {
    for small in &ALL {
        for side in [Side::Source, Side::Target] {
            for way in [Way::There, Way::Back] {
                let cut = |after| small.cut(Cut { side, connection: 0, way, after });
                let bytes = until_over(7, 607, cut);
                assert!(bytes > 600, "only {bytes} bytes");
            }
        }
    }
}

async fn resume(mut world: World, what: &str) {
    let report = world.run().await;
    let end = (report.fate(Fate::Copied), report.verdict, report.totals.in_doubt);
    assert_eq!(end, (MESSAGES, Verdict::Done, 0), "{what}: {:?}", report.totals);
    world.assert_copied();
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_fails_at_any_call_ends_the_run_and_the_next_one_goes_on() {
    for small in [ALL[0], ALL[3], ALL[4]] {
        for for_ever in [false, true] {
            for call in 0.. {
                let mut world = small.world();
                let failure = Some(Failure { call, for_ever });
                let circumstances = Circumstances { failure, ..Circumstances::default() };
                let report = world.run_with(circumstances).await.expect("nothing kills it");
                if report.ended.is_ok() {
                    assert!(call > 30, "only {call} calls");
                    break;
                }
                resume(world, &format!("{}, {call} {for_ever}", small.name)).await;
            }
        }
    }
}
