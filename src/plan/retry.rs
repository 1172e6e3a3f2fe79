//! When to try an account again, and when to give it up.

use std::time::Duration;

use crate::config::Config;
use crate::fault::{Fault, Remedy, Scope};

/// The tries of one account in one run. Times are since the run began.
#[derive(Debug, Clone, Default)]
pub struct Retry {
    tries: u32,
    progressed_at: Duration,
}

/// What to do after a fault that ended a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again after this pause.
    After(Duration),
    /// Give up: nothing we can do would help, or it has not helped for too long.
    GiveUp,
}

impl Retry {
    /// Notes that something was achieved.
    pub fn progressed(&mut self, now: Duration) {
        self.tries = 0;
        self.progressed_at = now;
    }

    /// Decides what to do after a fault. `random` is from 0 to 1.
    pub fn next(&mut self, fault: &Fault, now: Duration, random: f64, config: &Config) -> Next {
        let asked = match fault.remedy {
            _ if fault.scope >= Scope::Batch => return Next::GiveUp,
            Remedy::Nothing => return Next::GiveUp,
            Remedy::Reconnect => Duration::ZERO,
            Remedy::Wait(pause) => pause,
        };
        if now.saturating_sub(self.progressed_at) >= config.give_up_after {
            return Next::GiveUp;
        }
        let doubled = config.retry_pause_min.saturating_mul(1_u32 << self.tries.min(16));
        self.tries += 1;
        // Half of it at least, so that accounts that failed together do not come back together.
        let pause = doubled.min(config.retry_pause_max).mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0);
        Next::After(pause.max(asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(next: Next) -> f64 {
        match next {
            Next::After(pause) => pause.as_secs_f64(),
            Next::GiveUp => panic!("given up"),
        }
    }

    #[test]
    fn pauses_double_up_to_their_limit_and_start_anew_after_progress() {
        let (config, mut retry) = (Config::default(), Retry::default());
        let broken = Fault::session("x", "broken");
        let mut pauses = Vec::new();
        for _ in 0..12 {
            pauses.push(seconds(retry.next(&broken, Duration::ZERO, 1.0, &config)));
        }
        assert_eq!(pauses[..4], [1.0, 2.0, 4.0, 8.0]);
        assert_eq!(pauses[9..], [300.0, 300.0, 300.0]);
        retry.progressed(Duration::from_secs(60));
        let pause = seconds(retry.next(&broken, Duration::from_secs(60), 0.0, &config));
        assert_eq!(pause, 0.5);
    }

    #[test]
    fn what_the_server_asks_for_is_kept() {
        let remedy = Remedy::Wait(Duration::from_secs(299));
        let throttled = Fault::new(Scope::Session, remedy, "x", "throttled");
        let next = Retry::default().next(&throttled, Duration::ZERO, 0.0, &Config::default());
        assert_eq!(next, Next::After(Duration::from_secs(299)));
    }

    #[test]
    fn an_account_is_given_up_when_nothing_helps_or_nothing_moved_for_too_long() {
        let config = Config::default();
        let wrong_password = Fault::new(Scope::Account, Remedy::Nothing, "x", "no");
        let next = Retry::default().next(&wrong_password, Duration::ZERO, 0.0, &config);
        assert_eq!(next, Next::GiveUp);
        let broken = Fault::session("x", "broken");
        let mut retry = Retry::default();
        retry.progressed(Duration::from_secs(100));
        let late = Duration::from_secs(100) + config.give_up_after;
        assert!(matches!(
            retry.next(&broken, late - Duration::from_secs(1), 0.0, &config),
            Next::After(_)
        ));
        assert_eq!(retry.next(&broken, late, 0.0, &config), Next::GiveUp);
    }
}
