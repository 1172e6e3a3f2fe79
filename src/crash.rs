//! Points at which the process can be made to die (feature `crash-points`): before and after each
//! write to the ledger and to a server. Without the feature, none.
//! `MAILHAUL_CRASH_AT=n` picks the n-th point that the process comes to.

/// Aborts the process where this is the point that was picked.
#[cfg(feature = "crash-points")]
pub fn point() {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static PICKED: OnceLock<Option<u64>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let picked = PICKED.get_or_init(|| std::env::var("MAILHAUL_CRASH_AT").ok()?.parse().ok());
    if *picked == Some(PASSED.fetch_add(1, Ordering::Relaxed) + 1) {
        std::process::abort();
    }
}

/// Does nothing.
#[cfg(not(feature = "crash-points"))]
pub const fn point() {}
