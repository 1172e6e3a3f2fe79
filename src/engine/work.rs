//! What the work of a run has at hand: what all accounts share, and what one account has.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::hosts::Hosts;
use super::logins::Logins;
use super::staged::Staging;
use crate::config::Config;
use crate::event::{Event, Observer};
use crate::fate::{Fate, Remark, RemarkKind};
use crate::history::Entry;
use crate::identity::Identity;
use crate::imap::connect::Connector;
use crate::ledger::Claim;
use crate::plan::sharing::Identities;
use crate::plan::verdict;
use crate::stop::Stop;
use crate::target::Found;
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
    pub(super) places: Arc<Semaphore>,
    pub(super) begun: Instant,
    /// Who at the source is who at the target.
    pub(super) identities: Identities,
    pub(super) seed: u64,
}

/// The right of one account to be at work.
pub(super) type Place = OwnedSemaphorePermit;

impl<L> Run<L> {
    /// Waits for a place; none once the run is to stop.
    pub(super) async fn place(&self) -> Option<Place> {
        tokio::select! {
            biased;
            () = self.stop.requested() => None,
            place = self.places.clone().acquire_owned() => place.ok(),
        }
    }
}

/// So much of a sample is read back however little was copied.
const SAMPLE_BYTES_FREE: u64 = 64 * 1024;

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
    pub(super) staging: Staging,
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
    /// Whether anything was sent again after it had been in doubt.
    pub(super) doubted: bool,
    /// Whether the target is known to rewrite mail.
    pub(super) alters: bool,
    /// Whether STORE did not set what APPEND had not, either.
    pub(super) sets_no_flags: bool,
    /// Bytes read back to compare a sample octet by octet.
    pub(super) sampled: u64,
    /// The longest wait for the answer to an APPEND.
    pub(super) slowest_append: Duration,
}

impl<'a, L> Work<'a, L> {
    pub(super) fn new(run: &'a Run<L>, label: Arc<str>, claim: Claim, throttle: Throttle) -> Self {
        let tally = Mutex::new(Tally { alters: claim.alters, ..Tally::default() });
        Self { run, label, claim, throttle, staging: Staging::default(), tally }
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
        drop(tally);
        self.run.hosts.copied(messages, bytes);
    }

    /// Notes a message that will not be copied in this pass.
    pub(super) fn not_copied(&self) {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).not_copied += 1;
    }

    /// Notes that something is done that a retry would not have to do again.
    pub(super) fn step(&self) {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).steps += 1;
    }

    /// Notes that messages are sent again of which a late copy may still appear.
    pub(super) fn doubted(&self) {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).doubted = true;
    }

    /// Whether the target is known to rewrite mail.
    pub(super) fn alters(&self) -> bool {
        self.tally().alters
    }

    /// Notes that the target rewrites mail.
    pub(super) fn note_alters(&self) {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).alters = true;
    }

    /// Whether STORE may set flags that APPEND did not.
    pub(super) fn sets_flags(&self) -> bool {
        !self.tally().sets_no_flags
    }

    /// Notes that it does not.
    pub(super) fn sets_no_flags(&self) {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).sets_no_flags = true;
    }

    /// What is to be said of a copy: see [`verdict::judge`].
    pub(super) fn judge(
        &self,
        entry: &Entry,
        found: &Found,
        stored: Option<&Identity>,
    ) -> Vec<Remark> {
        let remarks = verdict::judge(entry, found, stored);
        // What was adopted, another tool may have sent so.
        let is_told = !entry.risky && entry.fate != Fate::Adopted;
        if is_told && remarks.iter().any(|remark| remark.kind == RemarkKind::BytesAltered) {
            self.note_alters();
        }
        remarks
    }

    /// Whether a copy of so many bytes may be read back for the sample: at most a hundredth of what
    /// was copied, since some servers count what is read against the day's allowance.
    pub(super) fn samples(&self, bytes: u64) -> bool {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let may = tally.sampled + bytes <= tally.bytes / 100 + SAMPLE_BYTES_FREE;
        tally.sampled += if may { bytes } else { 0 };
        may
    }

    /// Notes how long the slowest APPEND of a connection took.
    pub(super) fn appended_in(&self, slowest: Duration) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.slowest_append = tally.slowest_append.max(slowest);
    }

    /// How long an APPEND of a lost connection may still take effect: longer where APPENDs are slow.
    pub(super) fn settle_time(&self) -> Duration {
        settle_time(&self.run.config, self.tally().slowest_append)
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

fn settle_time(config: &Config, slowest_append: Duration) -> Duration {
    let slow = slowest_append.saturating_mul(4);
    config.settle.max(slow).min(config.settle_max.max(config.settle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settling_waits_longer_where_the_server_is_slow() {
        let config = Config::default();
        let slow = |seconds| settle_time(&config, Duration::from_secs(seconds)).as_secs();
        assert_eq!((slow(0), slow(10), slow(100)), (5, 40, 60));
    }
}
