//! The wall clock, for waiting on real processes.

use std::time::{Duration, Instant};

pub(crate) struct Deadline {
    end: Instant,
}

impl Deadline {
    #[expect(clippy::disallowed_methods, reason = "real servers do not run on a paused clock")]
    pub(crate) fn after(limit: Duration) -> Self {
        Self { end: Instant::now() + limit }
    }

    #[expect(clippy::disallowed_methods, reason = "real servers do not run on a paused clock")]
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }
}
