//! The promises of the command line against real Dovecot, Cyrus, Courier and Mailutils on loopback.
//! `tests/run` gets the servers.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "what a test cannot go on without ends it, and what it saw is printed, in helpers too"
)]

mod client;
mod commands;
mod commit_point;
mod compress;
#[cfg(feature = "crash-points")]
mod crash;
mod deadline;
mod dump;
mod filed;
mod fixtures;
mod harness;
mod killed;
mod ledger;
mod messages;
mod migrate;
mod names;
mod odd_mail;
mod odd_names;
mod poor;
mod product;
mod random;
mod sharing;
mod tune;
