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
