//! How many further connections are worth their while where both servers are near: each is a login and a
//! process there, and only what is measured tells whether it brings more.

use std::time::Duration;

/// After growth that brought nothing it is tried again, since what there is to do may be another by then.
const PAUSE: Duration = Duration::from_secs(60);
/// What growth must bring at least, in per cent of the rate before it.
const GAIN_MIN: u64 = 110;
/// So many bytes are as much work as one more message.
const MESSAGE_BYTES: u64 = 16 * 1024;

/// Further connections of a run, beside the first of each account: more of them, half as many as there are
/// each time, as long as the rate grows with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Growth {
    granted: usize,
    /// How many were granted before the last growth, and the rate then, in messages a second.
    before: Option<(usize, u64)>,
    /// Since when the rate is measured, and the work done until then.
    since: Option<(Duration, u64)>,
    rests_until: Duration,
    work: u64,
}

impl Growth {
    /// So long a rate is measured: there are not more before.
    pub const STEP: Duration = Duration::from_secs(1);

    /// Takes note of what was copied.
    pub fn copied(&mut self, messages: u64, bytes: u64, now: Duration) {
        if self.since.is_none() && now >= self.rests_until {
            self.since = Some((now, self.work));
        }
        self.work += messages + bytes / MESSAGE_BYTES;
    }

    /// How many further connections there may be, where somebody wants one more and there are `open` in all.
    /// Times count from the beginning of the run.
    pub fn granted(&mut self, open: usize, now: Duration) -> usize {
        if let Some((since, work)) = self.since
            && let Some(took) = now.checked_sub(since).filter(|took| *took >= Self::STEP)
        {
            let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            self.measured((self.work - work).saturating_mul(1_000) / took, open, now);
        }
        self.granted
    }

    fn measured(&mut self, rate: u64, open: usize, now: Duration) {
        if let Some((granted, before)) = self.before.take()
            && rate.saturating_mul(100) < before.saturating_mul(GAIN_MIN)
        {
            (self.granted, self.since, self.rests_until) = (granted, None, now + PAUSE);
            return;
        }
        self.before = Some((self.granted, rate));
        self.granted += (open / 2).max(1);
        self.since = Some((now, self.work));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is granted each second to whoever has all that is granted and `first`, where so many messages
    /// a second are copied over so many connections.
    fn grants(first: usize, seconds: u64, rate: impl Fn(usize) -> u64) -> Vec<usize> {
        let mut growth = Growth::default();
        let mut open = first;
        let granted = (0..=seconds).map(|second| {
            let now = Duration::from_secs(second);
            let granted = growth.granted(open, now);
            open = first + granted;
            growth.copied(rate(open), 0, now);
            granted
        });
        granted.collect()
    }

    #[test]
    fn there_are_more_as_long_as_more_is_copied() {
        assert_eq!(grants(2, 6, |open| open.min(8) as u64 * 100), [0, 1, 2, 4, 7, 11, 7]);
    }

    #[test]
    fn where_one_does_as_much_there_are_no_more_for_a_while() {
        let granted = grants(4, 64, |_| 1_000);
        assert_eq!(granted[..4], [0, 2, 0, 0]);
        assert_eq!(granted[4..62], [0; 58]);
        assert!(granted[62..].contains(&2), "{granted:?}");
    }

    #[test]
    fn large_messages_are_more_work() {
        let mut growth = Growth::default();
        let second = Duration::from_secs;
        growth.copied(10, 0, second(0));
        assert_eq!(growth.granted(4, second(1)), 2);
        growth.copied(1, 1024 * 1024, second(1));
        assert_eq!(growth.granted(6, second(2)), 5, "65 messages' worth are more than 10");
    }
}
