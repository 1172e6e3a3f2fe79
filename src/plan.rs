//! Decisions: facts in, decision out, nothing else. No server, no file, no clock.

pub mod absent;
pub mod adopt;
pub mod collisions;
pub mod compare;
pub mod dating;
pub mod delta;
pub mod filter;
pub mod gone;
pub mod labels;
pub mod loss;
pub mod mailboxes;
pub mod moves;
pub mod renames;
pub mod rescan;
pub mod retry;
pub mod roles;
pub mod room;
pub mod rules;
pub mod settle;
pub mod sharing;
pub mod staging;
pub mod surplus;
pub mod sweep;
pub mod tuning;
pub mod verdict;
pub mod windows;
