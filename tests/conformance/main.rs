//! One suite of promises, run against everything that makes them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ledger;
mod ledger_laws;
mod moves;
mod sqlite;
mod stages;
