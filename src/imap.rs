//! What both IMAP ends share. This module alone names async-imap and tokio-rustls.
//!
//! async-imap opens the session: greeting, SASL, tags, command and response in step. It is kept
//! away from what it cannot carry (ARCHITECTURE.md, "The transport"): [`wire::Wire`] below it hands
//! it only status lines it can read, and keeps every response as the server sent it for
//! [`exec`]. Messages move on the lent halves of the same connection: FETCH in
//! [`crate::source::imap`], APPEND in [`crate::target::imap`].

pub mod auth;
mod compress;
pub mod connect;
pub mod date;
pub mod download;
pub mod exec;
pub mod listing;
pub mod names;
pub mod outbox;
pub mod reply;
pub mod sharing;
pub mod tcp;
pub mod tls;
pub mod wire;
