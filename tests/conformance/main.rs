//! One suite of promises, run against everything that makes them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ledger;
mod ledger_laws;
mod sqlite;
mod stages;
