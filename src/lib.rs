//! Copies mailboxes from one IMAP server to another: nothing lost, nothing doubled, nothing altered.

pub mod accounts;
pub mod config;
pub mod endpoint;
pub mod engine;
pub mod escape;
pub mod event;
pub mod fate;
pub mod fault;
pub mod history;
pub mod identity;
pub mod imap;
pub mod ledger;
pub mod mail;
pub mod plan;
#[cfg(feature = "rehearsal")]
pub mod rehearsal;
pub mod report;
pub mod source;
pub mod stop;
pub mod target;
pub mod throttle;
