//! Copies mailboxes from one IMAP server to another: nothing lost, nothing doubled, nothing altered.

#[cfg(feature = "rehearsal")]
pub mod rehearsal;
