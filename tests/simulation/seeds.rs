use std::sync::Mutex;

use mailhaul::simulation::soak::play_seed;

#[test]
fn a_seed_plays_the_same_each_time() {
    for seed in 0..40 {
        let (first, second) = (play_seed(seed, true), play_seed(seed, true));
        assert!(!first.trace.is_empty());
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(first, second, "seed {seed}");
    }
}

/// Plays seeds on all processors, and gives those that broke a promise, with what is wrong.
fn broken(seeds: impl Iterator<Item = u64> + Send) -> Vec<(u64, Vec<String>)> {
    let seeds = Mutex::new(seeds);
    let broken = Mutex::new(Vec::new());
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(seed) = seeds.lock().ok().and_then(|mut seeds| seeds.next()) {
                    let wrong = play_seed(seed, false).wrong;
                    if !wrong.is_empty()
                        && let Ok(mut broken) = broken.lock()
                    {
                        broken.push((seed, wrong));
                    }
                }
            });
        }
    });
    broken.into_inner().unwrap_or_default()
}

#[test]
fn what_once_broke_a_promise_breaks_none() {
    let lines = include_str!("seeds.txt").lines().filter(|line| !line.starts_with('#'));
    let seeds = lines.map(|line| line.parse().expect("a number"));
    assert_eq!(broken(seeds), []);
}
