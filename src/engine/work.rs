//! What the work of a run has at hand: what all accounts share, and what one account has.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::hosts::Hosts;
use super::logins::Logins;
use crate::config::Config;
use crate::event::{Event, Observer};
use crate::imap::connect::Connector;
use crate::ledger::Claim;
use crate::stop::Stop;
use crate::throttle::{Memory, Throttle};

/// What all accounts of a run share.
pub(super) struct Run<L> {
    pub(super) config: Config,
    pub(super) ledger: L,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) stop: Stop,
    pub(super) connector: Connector,
    pub(super) memory: Memory,
    pub(super) hosts: Hosts,
    pub(super) logins: Logins,
    /// Accounts at work; one that waits gives its place to another.
    pub(super) places: Semaphore,
    pub(super) begun: Instant,
    pub(super) seed: u64,
}

/// How an account ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// A pass went through.
    Done,
    /// It could not be finished.
    Failed,
    /// The run was stopped before it was through.
    Stopped,
}

/// What the work on one account has at hand.
pub(super) struct Work<'a, L> {
    pub(super) run: &'a Run<L>,
    /// The account's name in events.
    pub(super) label: Arc<str>,
    pub(super) claim: Claim,
    pub(super) throttle: Throttle,
    tally: Mutex<Tally>,
}

/// What was achieved for an account in this run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Grows with everything that a retry would not have to do again.
    pub(super) steps: u64,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) not_copied: u64,
}

impl<'a, L> Work<'a, L> {
    pub(super) fn new(run: &'a Run<L>, label: Arc<str>, claim: Claim, throttle: Throttle) -> Self {
        Self {
            run,
            label,
            claim,
            throttle,
            tally: Mutex::default(),
        }
    }

    pub(super) fn event(&self, event: Event) {
        self.run.observer.event(&event);
    }

    /// Notes messages that the target has acknowledged.
    pub(super) fn copied(&self, messages: u64, bytes: u64) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.messages += messages;
        tally.bytes += bytes;
        tally.steps += messages;
    }

    /// Notes a message that will not be copied in this pass.
    pub(super) fn not_copied(&self) {
        self.tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .not_copied += 1;
    }

    /// Notes that something is done that a retry would not have to do again.
    pub(super) fn step(&self) {
        self.tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .steps += 1;
    }

    pub(super) fn tally(&self) -> Tally {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far a try got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// Everything owed was done, or noted why not.
    Through,
    /// A stop was asked for.
    Stopped,
}
