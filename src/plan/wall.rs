//! How many connections a server grants, learnt from what it refuses.

use std::time::Duration;

/// The first time after which one more connection is tried.
const PAUSE_MIN: Duration = Duration::from_secs(60);
/// Each refusal doubles that, up to here.
const PAUSE_MAX: Duration = Duration::from_secs(3600);
/// Connections that a server breaks off together speak of one thing.
const STORM: Duration = Duration::from_secs(10);

/// A number of connections that is not to be exceeded: falls to what was granted when one more was
/// refused, halves where the server wants less work, and rises by one after each pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wall {
    most: usize,
    limit: usize,
    pause: Duration,
    /// When it was set, or rose last.
    since: Duration,
    lowered: Option<Duration>,
}

impl Wall {
    /// Nothing is known yet: as many as the user lets us have.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let most = most.max(1);
        Self { most, limit: most, pause: PAUSE_MIN / 2, since: Duration::ZERO, lowered: None }
    }

    /// How many there may be now. Times count from the beginning of the run.
    pub fn limit(&mut self, now: Duration) -> usize {
        while self.limit < self.most && now >= self.since + self.pause {
            self.limit += 1;
            self.since += self.pause;
        }
        self.limit
    }

    /// How many there might be when it was asked for last.
    #[must_use]
    pub fn now(&self) -> usize {
        self.limit
    }

    /// How long until there may be one more; none where there may be no more at all.
    #[must_use]
    pub fn rises_in(&self, now: Duration) -> Option<Duration> {
        (self.limit < self.most).then(|| (self.since + self.pause).saturating_sub(now))
    }

    /// Whether there could be more, were it for the user alone.
    #[must_use]
    pub fn is_learnt(&self) -> bool {
        self.limit < self.most
    }

    /// One more was refused while there were so many.
    pub fn refused(&mut self, granted: usize, now: Duration) {
        let granted = granted.max(1);
        if granted < self.limit(now) {
            self.lower(granted, now);
        }
    }

    /// The server broke off a connection because it has too much to do.
    pub fn overworked(&mut self, now: Duration) {
        let half = (self.limit(now) / 2).max(1);
        if half < self.limit && !self.is_storm(now) {
            self.lower(half, now);
        }
    }

    fn is_storm(&self, now: Duration) -> bool {
        self.lowered.is_some_and(|lowered| now < lowered + STORM)
    }

    fn lower(&mut self, limit: usize, now: Duration) {
        if !self.is_storm(now) {
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
        self.limit = limit;
        self.since = now;
        self.lowered = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_falls_to_what_was_granted() {
        let mut wall = Wall::new(16);
        assert_eq!(wall.limit(SECOND), 16);
        for granted in (8..16).rev() {
            wall.refused(granted, SECOND);
            assert_eq!(wall.limit(SECOND), granted);
        }
        wall.refused(12, SECOND);
        assert_eq!(wall.limit(SECOND), 8, "that many were granted");
        wall.refused(0, SECOND);
        assert_eq!(wall.limit(SECOND), 1, "without any nothing is done");
    }

    #[test]
    fn after_each_pause_one_more_is_tried_and_each_refusal_makes_the_pause_longer() {
        let mut wall = Wall::new(16);
        wall.refused(8, SECOND);
        assert_eq!(wall.limit(SECOND * 60), 8);
        assert_eq!(wall.rises_in(SECOND * 60), Some(SECOND));
        assert_eq!(wall.limit(SECOND * 61), 9);
        wall.refused(8, SECOND * 62);
        assert_eq!(wall.limit(SECOND * (62 + 119)), 8);
        assert_eq!(wall.limit(SECOND * (62 + 120)), 9);
        assert_eq!(wall.limit(SECOND * 100_000), 16, "never more than the user wants");
        assert_eq!(wall.rises_in(SECOND * 100_000), None);
    }

    #[test]
    fn too_much_work_halves_it_once_for_all_connections_that_broke() {
        let mut wall = Wall::new(16);
        for (at, limit) in [(1, 8), (2, 8), (20, 4), (100, 2), (200, 1), (300, 1)] {
            wall.overworked(SECOND * at);
            assert_eq!(wall.limit(SECOND * at), limit, "{at}");
        }
    }
}
