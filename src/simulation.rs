//! Worlds in memory: two rehearsal servers, the engine between them, and everything that can go
//! wrong with servers, networks, ledgers and the process itself (feature `simulation`).
//!
//! Made for tests, on a current-thread runtime with a paused clock: what cannot be set up ends in a
//! panic that says why.

pub mod between;
pub mod dice;
pub mod ledger;
pub mod model;
pub mod network;
pub mod plan;
pub mod small;
pub mod soak;
pub mod world;

pub use ledger::CrashLedger;
pub use network::{Kill, Network};
pub use world::{Report, World};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock that a panic elsewhere does not close.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
