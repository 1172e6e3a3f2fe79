//! Events folded into numbers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mailhaul::event::Event;
use mailhaul::fault::Side;
use tokio::time::Instant;

/// Messages and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

impl Amount {
    fn add(&mut self, other: Self) {
        self.messages = self.messages.saturating_add(other.messages);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// How a run stands.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) accounts: usize,
    pub(super) done: usize,
    pub(super) failed: usize,
    /// Accounts under way, the longest first.
    pub(super) active: Vec<Active>,
    /// Messages copied by this run, or compared.
    pub(super) moved: Amount,
    /// Whether they are compared.
    pub(super) compares: bool,
    /// Differences found.
    pub(super) differences: u64,
    /// Messages not on the target, of accounts that are through.
    pub(super) not_copied: u64,
    /// Accounts that were listed, and have ended.
    ended_listed: usize,
    /// What these had, and how much of it is on the target.
    ended: Amount,
    mailboxes: usize,
    /// Whether a source did not tell its bytes: then messages are the measure.
    lacks_bytes: bool,
}

/// An account under way.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) account: Arc<str>,
    /// The mailbox begun last.
    pub(super) mailbox: Option<String>,
    /// What it has, where that is known.
    pub(super) total: Option<Amount>,
    /// On the target, by mailbox: a mailbox that is begun again is counted again.
    there: HashMap<String, Amount>,
    pub(super) parked: Option<Parked>,
}

/// Why an account waits, and until when.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) until: Instant,
    pub(super) side: Option<Side>,
    pub(super) reason: String,
}

impl Active {
    fn new(account: &Arc<str>) -> Self {
        Self {
            account: Arc::clone(account),
            mailbox: None,
            total: None,
            there: HashMap::new(),
            parked: None,
        }
    }

    pub(super) fn there(&self) -> Amount {
        let mut sum = Amount::default();
        for amount in self.there.values() {
            sum.add(*amount);
        }
        match self.total {
            Some(total) => Amount {
                messages: sum.messages.min(total.messages),
                bytes: sum.bytes.min(total.bytes),
            },
            None => sum,
        }
    }
}

/// How much of how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) done: u64,
    pub(super) total: u64,
    pub(super) unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Bytes,
    Messages,
}

impl Share {
    /// From 0 to 1.
    pub(super) fn part(self) -> f64 {
        if self.total == 0 { 1.0 } else { (self.done as f64 / self.total as f64).min(1.0) }
    }
}

/// What a run came to, as its events told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    accounts: usize,
    done: usize,
    failed: usize,
    mailboxes: usize,
    listed: Amount,
    moved: Amount,
    not_copied: u64,
}

impl Tally {
    /// Whether a pass went through every account.
    pub(crate) fn is_complete(self) -> bool {
        self.failed == 0 && self.done >= self.accounts
    }

    /// Whether every account came to an end, good or bad.
    pub(crate) fn is_over(self) -> bool {
        self.done + self.failed >= self.accounts
    }

    /// What a pass did, in a line.
    pub(crate) fn pass_text(self) -> String {
        use super::words::{bytes, count};
        let (messages, size) = (count(self.moved.messages, "message"), bytes(self.moved.bytes));
        let mut text = format!("{messages} copied, {size}");
        if self.not_copied > 0 {
            text.push_str(&format!(", {} not on the target", count(self.not_copied, "message")));
        }
        if self.failed > 0 {
            text.push_str(&format!(", {} failed", count(self.failed as u64, "account")));
        }
        text
    }

    /// What a dry run found.
    pub(crate) fn dry_run_text(self) -> String {
        use super::words::count;
        format!(
            "dry run: {} in {}; {} failed; nothing was written on any server\n",
            count(self.listed.messages, "message"),
            count(self.mailboxes as u64, "mailbox"),
            count(self.failed as u64, "account"),
        )
    }
}

impl Progress {
    pub(super) fn new(accounts: usize) -> Self {
        Self { accounts, ..Self::default() }
    }

    pub(super) fn fold(&mut self, event: &Event, now: Instant) {
        match event {
            Event::AccountStarted { account } => {
                self.active(account);
            }
            Event::AccountListed { account, mailboxes, messages, bytes } => {
                self.mailboxes += mailboxes;
                self.lacks_bytes |= bytes.is_none();
                self.active(account).total =
                    messages.map(|messages| Amount { messages, bytes: bytes.unwrap_or(0) });
            }
            Event::MailboxStarted { account, mailbox, .. } => {
                let active = self.active(account);
                active.there.insert(mailbox.clone(), Amount::default());
                active.mailbox = Some(mailbox.clone());
            }
            Event::Scanned { account, mailbox, messages, bytes, owed_messages, owed_bytes } => {
                self.there(account, mailbox).add(Amount {
                    messages: messages.saturating_sub(*owed_messages),
                    bytes: bytes.saturating_sub(*owed_bytes),
                })
            }
            Event::Copied { account, mailbox, messages, bytes } => {
                let amount = Amount { messages: *messages, bytes: *bytes };
                self.moved.add(amount);
                self.there(account, mailbox).add(amount);
            }
            Event::Read { account, mailbox, messages, bytes } => {
                let amount = Amount { messages: *messages, bytes: *bytes };
                self.compares = true;
                self.moved.add(amount);
                self.there(account, mailbox).add(amount);
            }
            Event::Differs { difference, .. } => {
                self.differences += u64::from(difference.is_problem());
            }
            Event::AccountCompared { account, .. }
            | Event::AccountPlanned { account }
            | Event::AccountMeasured { account } => {
                self.done += 1;
                self.end(account, |active| active.total);
            }
            Event::AccountParked { account, side, reason, wait } => {
                self.active(account).parked =
                    Some(Parked { until: now + *wait, side: *side, reason: reason.clone() });
            }
            Event::AccountDone { account, not_copied, .. } => {
                self.done += 1;
                self.not_copied += not_copied;
                self.end(account, |active| active.total);
            }
            Event::AccountFailed { account, .. } => {
                self.failed += 1;
                // What it still owes is not waited for.
                self.end(account, |active| active.total.map(|_| active.there()));
            }
            Event::RunStarted { .. }
            | Event::MailboxPlanned { .. }
            | Event::NotCopied { .. }
            | Event::Adopted { .. }
            | Event::FlagsFollowed { .. }
            | Event::MovesFollowed { .. }
            | Event::Shared { .. }
            | Event::Settled { .. }
            | Event::MailboxDone { .. }
            | Event::MailboxFailed { .. }
            | Event::MailboxCompared { .. }
            | Event::ExtraMailbox { .. }
            | Event::RoundTrip { .. }
            | Event::Measured { .. }
            | Event::Limited { .. }
            | Event::Warning { .. }
            | Event::Stopping
            | Event::RunFinished { .. } => {}
        }
        if let Event::MailboxStarted { account, .. }
        | Event::Scanned { account, .. }
        | Event::Read { account, .. }
        | Event::Copied { account, .. } = event
        {
            self.active(account).parked = None;
        }
    }

    fn active(&mut self, account: &Arc<str>) -> &mut Active {
        let found = self.active.iter().position(|one| one.account == *account);
        let index = found.unwrap_or_else(|| {
            self.active.push(Active::new(account));
            self.active.len() - 1
        });
        &mut self.active[index]
    }

    fn there(&mut self, account: &Arc<str>, mailbox: &str) -> &mut Amount {
        let there = &mut self.active(account).there;
        if !there.contains_key(mailbox) {
            there.insert(mailbox.to_owned(), Amount::default());
        }
        // Just put there, if it was not.
        there.entry(mailbox.to_owned()).or_default()
    }

    fn end(&mut self, account: &Arc<str>, through: impl Fn(&Active) -> Option<Amount>) {
        let Some(index) = self.active.iter().position(|one| one.account == *account) else {
            return;
        };
        let active = self.active.remove(index);
        if let Some(amount) = through(&active) {
            self.ended_listed += 1;
            self.ended.add(amount);
        }
    }

    /// How far the whole run is. Accounts not listed yet are taken to be like the others; none
    /// before one was listed.
    pub(super) fn share(&self) -> Option<Share> {
        let mut done = self.ended;
        let mut total = self.ended;
        let mut listed = self.ended_listed;
        for active in &self.active {
            if let Some(amount) = active.total {
                listed += 1;
                total.add(amount);
                done.add(active.there());
            }
        }
        // Those that ended without being listed owe nothing any more.
        let ended_unlisted = (self.done + self.failed).saturating_sub(self.ended_listed);
        let expected = self.accounts.saturating_sub(ended_unlisted) as u64;
        let listed = u64::try_from(listed).ok().filter(|listed| *listed > 0)?;
        let scale = |total: u64| {
            let scaled = u128::from(total) * u128::from(expected.max(listed)) / u128::from(listed);
            u64::try_from(scaled).unwrap_or(u64::MAX)
        };
        Some(if self.lacks_bytes {
            Share { done: done.messages, total: scale(total.messages), unit: Unit::Messages }
        } else {
            Share { done: done.bytes, total: scale(total.bytes), unit: Unit::Bytes }
        })
    }

    /// How far one account is; none before it was listed.
    pub(super) fn share_of(&self, active: &Active) -> Option<Share> {
        let (done, total) = (active.there(), active.total?);
        Some(if self.lacks_bytes {
            Share { done: done.messages, total: total.messages, unit: Unit::Messages }
        } else {
            Share { done: done.bytes, total: total.bytes, unit: Unit::Bytes }
        })
    }

    pub(super) fn parked(&self, now: Instant) -> usize {
        let is_parked = |active: &&Active| active.parked.as_ref().is_some_and(|at| at.until > now);
        self.active.iter().filter(is_parked).count()
    }

    pub(super) fn tally(&self) -> Tally {
        let mut listed = self.ended;
        for active in &self.active {
            listed.add(active.total.unwrap_or_default());
        }
        Tally {
            accounts: self.accounts,
            done: self.done,
            failed: self.failed,
            mailboxes: self.mailboxes,
            listed,
            moved: self.moved,
            not_copied: self.not_copied,
        }
    }
}

/// How fast it goes.
#[derive(Debug)]
pub(super) struct Meter {
    started: Instant,
    last: Instant,
    copied: Amount,
    through: u64,
    messages: Average,
    bytes: Average,
    /// Of what [`Progress::share`] counts.
    share: Average,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        const SHOWN_SECONDS: f64 = 10.0;
        const FORECAST_SECONDS: f64 = 300.0;
        Self {
            started: now,
            last: now,
            copied: Amount::default(),
            through: 0,
            messages: Average::over(SHOWN_SECONDS),
            bytes: Average::over(SHOWN_SECONDS),
            share: Average::over(FORECAST_SECONDS),
        }
    }

    /// Takes a reading; less than a tenth of a second after the last one does nothing.
    pub(super) fn tick(&mut self, progress: &Progress, now: Instant) {
        let seconds = now.duration_since(self.last).as_secs_f64();
        if seconds < 0.1 {
            return;
        }
        self.last = now;
        let copied = progress.moved;
        let messages = copied.messages.saturating_sub(self.copied.messages);
        let bytes = copied.bytes.saturating_sub(self.copied.bytes);
        self.copied = copied;
        self.messages.add(messages as f64, seconds);
        self.bytes.add(bytes as f64, seconds);
        if let Some(share) = progress.share() {
            self.share.add(share.done.saturating_sub(self.through) as f64, seconds);
            self.through = share.done;
        }
    }

    pub(super) fn messages_per_second(&self) -> f64 {
        self.messages.per_second()
    }

    pub(super) fn bytes_per_second(&self) -> f64 {
        self.bytes.per_second()
    }

    /// How long the rest will take; none before a minute or 2 % have gone.
    pub(super) fn rest(&self, share: Share, now: Instant) -> Option<Duration> {
        const BEFORE: Duration = Duration::from_secs(60);
        const PART_MIN: f64 = 0.02;
        /// Longer is no forecast.
        const LONGEST_SECONDS: f64 = 365.0 * 86_400.0;
        if now.duration_since(self.started) < BEFORE && share.part() < PART_MIN {
            return None;
        }
        let seconds = share.total.saturating_sub(share.done) as f64 / self.share.per_second();
        (seconds <= LONGEST_SECONDS).then(|| Duration::from_secs_f64(seconds.max(0.0)))
    }
}

/// An average a second that forgets, right from the first reading.
#[derive(Debug)]
struct Average {
    memory_seconds: f64,
    value: f64,
    weight: f64,
}

impl Average {
    fn over(memory_seconds: f64) -> Self {
        Self { memory_seconds, value: 0.0, weight: 0.0 }
    }

    fn add(&mut self, amount: f64, seconds: f64) {
        let kept = (-seconds / self.memory_seconds).exp();
        self.value = self.value * kept + amount / seconds * (1.0 - kept);
        self.weight = self.weight * kept + (1.0 - kept);
    }

    fn per_second(&self) -> f64 {
        if self.weight > 0.0 { self.value / self.weight } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(account: &str, messages: u64, bytes: Option<u64>) -> Event {
        Event::AccountListed {
            account: account.into(),
            mailboxes: 1,
            messages: Some(messages),
            bytes,
        }
    }

    fn begun(account: &str) -> Event {
        Event::MailboxStarted { account: account.into(), mailbox: "INBOX".to_owned(), messages: 10 }
    }

    fn scanned(account: &str, messages: u64, owed: u64) -> Event {
        Event::Scanned {
            account: account.into(),
            mailbox: "INBOX".to_owned(),
            messages,
            bytes: messages * 100,
            owed_messages: owed,
            owed_bytes: owed * 100,
        }
    }

    fn copied(account: &str, messages: u64) -> Event {
        Event::Copied {
            account: account.into(),
            mailbox: "INBOX".to_owned(),
            messages,
            bytes: messages * 100,
        }
    }

    fn fold(accounts: usize, events: &[Event]) -> Progress {
        let mut progress = Progress::new(accounts);
        for event in events {
            progress.fold(event, Instant::now());
        }
        progress
    }

    fn done(account: &str) -> Event {
        Event::AccountDone { account: account.into(), messages: 0, bytes: 0, not_copied: 2 }
    }

    #[test]
    fn what_is_there_already_counts_as_done() {
        let events = [listed("a", 10, Some(1000)), begun("a"), scanned("a", 10, 4), copied("a", 1)];
        let share = fold(1, &events).share().expect("listed");
        assert_eq!((share.done, share.total, share.unit), (700, 1000, Unit::Bytes));
    }

    #[test]
    fn a_mailbox_begun_again_is_counted_again() {
        let events = [
            listed("a", 10, Some(1000)),
            begun("a"),
            scanned("a", 10, 4),
            copied("a", 2),
            begun("a"),
            scanned("a", 10, 2),
        ];
        let progress = fold(1, &events);
        assert_eq!(progress.share().expect("listed").done, 800);
        assert_eq!(progress.moved.messages, 2);
    }

    #[test]
    fn accounts_not_listed_yet_are_taken_to_be_like_the_others() {
        let events = [listed("a", 10, Some(1000)), begun("a"), copied("a", 5)];
        let share = fold(4, &events).share().expect("listed");
        assert_eq!((share.done, share.total), (500, 4000));
        assert_eq!(fold(4, &[]).share(), None);
    }

    #[test]
    fn an_account_that_ends_is_through_whatever_it_came_to() {
        let failed = Event::AccountFailed {
            account: "b".into(),
            side: None,
            reason: String::new(),
            hint: String::new(),
        };
        let events = [
            listed("a", 10, Some(1000)),
            listed("b", 10, Some(3000)),
            begun("b"),
            copied("b", 5),
            done("a"),
            failed.clone(),
        ];
        let progress = fold(2, &events);
        let share = progress.share().expect("listed");
        assert_eq!((share.done, share.total), (1500, 1500));
        assert!(progress.tally().is_over() && !progress.tally().is_complete());
        // One that failed before it was listed is not waited for either.
        let progress = fold(2, &[failed, listed("a", 10, Some(1000))]);
        assert_eq!(progress.share().expect("listed").total, 1000);
    }

    #[test]
    fn where_a_source_tells_no_bytes_messages_are_counted() {
        let events = [listed("a", 10, None), begun("a"), copied("a", 5)];
        let share = fold(1, &events).share().expect("listed");
        assert_eq!((share.done, share.total, share.unit), (5, 10, Unit::Messages));
    }

    #[tokio::test(start_paused = true)]
    async fn the_forecast_waits_and_follows_the_rate() {
        let start = Instant::now();
        let mut progress = fold(1, &[listed("a", 1000, Some(100_000)), begun("a")]);
        let mut meter = Meter::new(start);
        for second in 1..=10 {
            progress.fold(&copied("a", 1), start);
            meter.tick(&progress, start + Duration::from_secs(second));
        }
        let share = progress.share().expect("listed");
        let now = start + Duration::from_secs(10);
        assert!((meter.bytes_per_second() - 100.0).abs() < 0.001);
        assert!((meter.messages_per_second() - 1.0).abs() < 0.001);
        assert_eq!(meter.rest(share, now), None);
        progress.fold(&copied("a", 15), start);
        let share = progress.share().expect("listed");
        let rest = meter.rest(share, now).expect("2 % have gone");
        assert_eq!(rest.as_secs(), 975);
    }

    #[tokio::test(start_paused = true)]
    async fn without_progress_there_is_no_forecast() {
        let start = Instant::now();
        let progress = fold(1, &[listed("a", 1000, Some(100_000))]);
        let mut meter = Meter::new(start);
        let now = start + Duration::from_secs(100);
        meter.tick(&progress, now);
        assert_eq!(meter.rest(progress.share().expect("listed"), now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_waits_until_something_moves() {
        let parked = Event::AccountParked {
            account: "a".into(),
            side: Some(Side::Target),
            reason: "throttled".to_owned(),
            wait: Duration::from_secs(300),
        };
        let now = Instant::now();
        let mut progress = fold(1, &[parked]);
        assert_eq!(progress.parked(now), 1);
        progress.fold(&copied("a", 1), now);
        assert_eq!(progress.parked(now), 0);
    }
}
