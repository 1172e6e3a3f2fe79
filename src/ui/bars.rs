//! Bars on a terminal: fixed slots that accounts take in turn, and one bar for all.

use std::sync::Arc;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use mailhaul::escape::display;
use tokio::time::Instant;

use super::line::Names;
use super::progress::{Active, Meter, Progress, Share, Unit};
use super::words::{bytes, grouped, time};

const SLOTS_MAX: usize = 8;
/// Lines of the terminal left to others: the two of the whole run, and what is above.
const OTHER_LINES: usize = 6;
const NAME_COLUMNS: usize = 30;
/// Of one bar.
const STEPS: u64 = 1000;

/// Which account stands in which slot: it stays there until it ends.
#[derive(Debug, Default)]
pub(super) struct Slots(Vec<Option<Arc<str>>>);

impl Slots {
    pub(super) fn fill(&mut self, progress: &Progress, slots: usize) {
        self.0.resize(slots, None);
        let is_active = |account: &Arc<str>| progress.active.iter().any(|a| a.account == *account);
        for slot in &mut self.0 {
            slot.take_if(|account| !is_active(account));
        }
        for active in &progress.active {
            if self.0.iter().flatten().any(|account| *account == active.account) {
                continue;
            }
            match self.0.iter_mut().find(|slot| slot.is_none()) {
                Some(slot) => *slot = Some(Arc::clone(&active.account)),
                None => break,
            }
        }
    }
}

/// What is on the screen, as text.
#[derive(Debug, PartialEq)]
pub(super) struct Screen {
    slots: Vec<Option<Row>>,
    counts: String,
    overall: Row,
}

/// A line with a bar.
#[derive(Debug, PartialEq)]
struct Row {
    name: String,
    /// From 0 to 1; none where no bar is to be shown.
    part: Option<f64>,
    text: String,
}

impl Screen {
    pub(super) fn new(
        progress: &Progress,
        meter: &Meter,
        slots: &Slots,
        names: &Names,
        now: Instant,
    ) -> Self {
        let slots: Vec<Option<Row>> = slots
            .0
            .iter()
            .map(|slot| {
                let account = slot.as_ref()?;
                let active = progress.active.iter().find(|one| one.account == *account)?;
                Some(row(progress, active, names, now))
            })
            .collect();
        let shown = slots.iter().flatten().count();
        Self { counts: counts(progress, shown, now), overall: overall(progress, meter, now), slots }
    }

    /// All of the run in one line.
    pub(super) fn summary(&self) -> String {
        format!("{}; {}", self.overall.text, self.counts)
    }
}

fn row(progress: &Progress, active: &Active, names: &Names, now: Instant) -> Row {
    let name = names.label(&active.account);
    if let Some(parked) = active.parked.as_ref().filter(|parked| parked.until > now) {
        let side = match parked.side {
            Some(side) => format!("{side}: "),
            None => String::new(),
        };
        let wait = time(parked.until.duration_since(now));
        return Row {
            name,
            part: None,
            text: format!("waits {wait}: {side}{}", display(&parked.reason)),
        };
    }
    let mailbox = active.mailbox.as_deref().map(display).unwrap_or_default();
    match progress.share_of(active) {
        Some(share) => {
            Row { name, part: Some(share.part()), text: format!("{}  {mailbox}", amounts(share)) }
        }
        None => Row {
            name,
            part: None,
            text: match active.mailbox {
                Some(_) => mailbox.into_owned(),
                None => "connects".to_owned(),
            },
        },
    }
}

fn amounts(share: Share) -> String {
    match share.unit {
        Unit::Bytes => format!("{} of {}", bytes(share.done), bytes(share.total)),
        Unit::Messages => {
            format!("{} of {} messages", grouped(share.done), grouped(share.total))
        }
    }
}

fn counts(progress: &Progress, shown: usize, now: Instant) -> String {
    let waiting = progress.parked(now);
    let active = progress.active.len();
    let ended = progress.done + progress.failed;
    let mut text = format!(
        "accounts {} done, {} active, {} to go",
        grouped(progress.done as u64),
        active,
        grouped(progress.accounts.saturating_sub(ended + active) as u64),
    );
    if progress.failed > 0 {
        text.push_str(&format!(", {} failed", progress.failed));
    }
    if waiting > 0 {
        text.push_str(&format!(", {waiting} waiting"));
    }
    if shown > 0 && active > shown {
        text.push_str(&format!(" ({} not shown)", active - shown));
    }
    let moved = grouped(progress.moved.messages);
    if progress.compares {
        let differences = grouped(progress.differences);
        text.push_str(&format!("; messages {moved} compared, {differences} differences"));
    } else {
        text.push_str(&format!("; messages {moved} copied"));
    }
    if progress.not_copied > 0 {
        text.push_str(&format!(", {} not on the target", grouped(progress.not_copied)));
    }
    text
}

fn overall(progress: &Progress, meter: &Meter, now: Instant) -> Row {
    let share = progress.share();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate of bytes is far below 2^64 and never negative"
    )]
    let rate = meter.bytes_per_second() as u64;
    let rates = format!("{}/s, {:.0} messages/s", bytes(rate), meter.messages_per_second());
    let text = match share {
        None => rates,
        Some(share) => {
            let rest = match meter.rest(share, now) {
                Some(rest) if share.done < share.total => format!(", ETA {}", time(rest)),
                _ => String::new(),
            };
            // Rounded down: 100 % is when nothing is left.
            let percent = (share.part() * 100.0).floor();
            format!("{percent:.0}%  {}, {rates}{rest}", amounts(share))
        }
    };
    Row { name: String::new(), part: Some(share.map_or(0.0, Share::part)), text }
}

/// The bars themselves.
pub(super) struct Bars {
    all: MultiProgress,
    slots: Vec<ProgressBar>,
    counts: ProgressBar,
    overall: ProgressBar,
    with_bar: ProgressStyle,
    without_bar: ProgressStyle,
}

impl Bars {
    pub(super) fn new(active_max: usize) -> Self {
        let (lines, _) = console::Term::stderr().size();
        let slots = slots(usize::from(lines), active_max);
        // Redrawn by one thread, five times a second; indicatif's own limit must not drop the last.
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(20));
        let style = |template: &str| {
            ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("█▉▊▋▌▍▎▏ ")
        };
        let with_bar = style("  {prefix} {bar:20.cyan} {wide_msg}");
        let without_bar = style("  {prefix} {wide_msg}");
        let add = |style: &ProgressStyle| {
            let bar = all.add(ProgressBar::new(STEPS));
            bar.set_style(style.clone());
            bar
        };
        let slots: Vec<ProgressBar> = (0..slots).map(|_| add(&without_bar)).collect();
        let counts = add(&style("{wide_msg}"));
        let overall = add(&style("{bar:30.green} {wide_msg}"));
        Self { all, slots, counts, overall, with_bar, without_bar }
    }

    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn draw(&mut self, screen: &Screen) {
        for (bar, row) in self.slots.iter().zip(&screen.slots) {
            let Some(row) = row else {
                bar.set_style(self.without_bar.clone());
                bar.set_prefix("");
                bar.set_message("");
                continue;
            };
            bar.set_style(match row.part {
                Some(_) => self.with_bar.clone(),
                None => self.without_bar.clone(),
            });
            let name =
                console::pad_str(&row.name, NAME_COLUMNS, console::Alignment::Left, Some("…"));
            bar.set_prefix(name.into_owned());
            bar.set_position(position(row));
            bar.set_message(row.text.clone());
        }
        self.counts.set_message(screen.counts.clone());
        self.overall.set_position(position(&screen.overall));
        self.overall.set_message(screen.overall.text.clone());
    }

    /// Lets `write` write lines above the bars.
    pub(super) fn above(&self, write: impl FnOnce()) {
        self.all.suspend(write);
    }

    pub(super) fn clear(self) {
        for bar in self.slots.iter().chain([&self.counts, &self.overall]) {
            bar.finish_and_clear();
        }
        // What is gone needs no clearing.
        let _ = self.all.clear();
    }
}

fn slots(lines: usize, active_max: usize) -> usize {
    lines.saturating_sub(OTHER_LINES).clamp(1, SLOTS_MAX).min(active_max)
}

fn position(row: &Row) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to STEPS")]
    let position = (row.part.unwrap_or(0.0) * STEPS as f64) as u64;
    position.min(STEPS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mailhaul::event::Event;
    use mailhaul::fault::Side;

    use super::*;

    fn started(progress: &mut Progress, account: &str) {
        let account = account.into();
        progress.fold(&Event::AccountStarted { account }, Instant::now());
    }

    fn done(progress: &mut Progress, account: &str) {
        let event =
            Event::AccountDone { account: account.into(), messages: 1, bytes: 1, not_copied: 0 };
        progress.fold(&event, Instant::now());
    }

    fn accounts(slots: &Slots) -> Vec<&str> {
        slots.0.iter().map(|slot| slot.as_deref().unwrap_or("-")).collect()
    }

    #[test]
    fn slots_are_kept_and_then_used_again() {
        let mut progress = Progress::new(5);
        let mut slots = Slots::default();
        for account in ["a", "b", "c"] {
            started(&mut progress, account);
        }
        slots.fill(&progress, 2);
        assert_eq!(accounts(&slots), ["a", "b"]);
        done(&mut progress, "a");
        slots.fill(&progress, 2);
        assert_eq!(accounts(&slots), ["c", "b"]);
        done(&mut progress, "b");
        slots.fill(&progress, 2);
        assert_eq!(accounts(&slots), ["c", "-"]);
    }

    #[test]
    fn slots_leave_room_on_the_terminal() {
        assert_eq!(slots(24, 100), 8);
        assert_eq!(slots(10, 100), 4);
        assert_eq!(slots(3, 100), 1);
        assert_eq!(slots(50, 3), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_screen_shows_where_everything_is() {
        let now = Instant::now();
        let mut progress = Progress::new(30);
        let mut fold = |event: Event| progress.fold(&event, now);
        fold(Event::AccountListed {
            account: "a".into(),
            mailboxes: 2,
            messages: Some(10),
            bytes: Some(4096),
        });
        fold(Event::MailboxStarted {
            account: "a".into(),
            mailbox: "In\u{1b}[box".to_owned(),
            messages: 10,
        });
        fold(Event::Copied {
            account: "a".into(),
            mailbox: "In\u{1b}[box".to_owned(),
            messages: 5,
            bytes: 1024,
        });
        fold(Event::AccountStarted { account: "b".into() });
        fold(Event::AccountParked {
            account: "c".into(),
            side: Some(Side::Target),
            reason: "too many\r\nconnections".to_owned(),
            wait: Duration::from_secs(300),
        });
        let mut meter = Meter::new(now);
        meter.tick(&progress, now + Duration::from_secs(1));
        let mut slots = Slots::default();
        slots.fill(&progress, 3);
        let screen = Screen::new(&progress, &meter, &slots, &Names::default(), now);
        let rows: Vec<&Row> = screen.slots.iter().flatten().collect();
        assert_eq!(rows[0].text, "1.0 KiB of 4.0 KiB  In\\u{1b}[box");
        assert_eq!(rows[0].part, Some(0.25));
        assert_eq!((rows[1].text.as_str(), rows[1].part), ("connects", None));
        assert_eq!(rows[2].text, "waits 5m: target: too many\\u{d}\\u{a}connections");
        assert_eq!(
            screen.counts,
            "accounts 0 done, 3 active, 27 to go, 1 waiting; messages 5 copied"
        );
        assert_eq!(screen.overall.text, "0%  1.0 KiB of 120.0 KiB, 1.0 KiB/s, 5 messages/s");
    }

    #[test]
    fn the_bars_draw_without_a_terminal() {
        let mut bars = Bars::new(3);
        let mut progress = Progress::new(3);
        started(&mut progress, "a");
        let mut slots = Slots::default();
        slots.fill(&progress, bars.slots());
        let now = Instant::now();
        let screen = Screen::new(&progress, &Meter::new(now), &slots, &Names::default(), now);
        bars.draw(&screen);
        assert_eq!(bars.slots[0].message(), "connects");
        bars.clear();
    }
}
