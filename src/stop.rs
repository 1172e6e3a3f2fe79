//! How a run is asked to stop.

use tokio::sync::watch;

/// Asks a run to finish what is in flight and end. Clones ask and hear together.
#[derive(Debug, Clone)]
pub struct Stop {
    requested: watch::Sender<bool>,
}

impl Stop {
    /// A stop that was not asked for yet.
    #[must_use]
    pub fn new() -> Self {
        Self { requested: watch::Sender::new(false) }
    }

    /// Asks for the stop.
    pub fn request(&self) {
        self.requested.send_replace(true);
    }

    /// Whether it was asked for.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }

    /// Waits until it is asked for.
    pub async fn requested(&self) {
        // Cannot fail: this very value holds the sender.
        let _ = self.requested.subscribe().wait_for(|requested| *requested).await;
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}
