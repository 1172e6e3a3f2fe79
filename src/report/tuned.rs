//! What was measured at both ends, as a table and a chart, with the settings that it speaks for.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::screen::{Lines, bytes, grouped};
use crate::config::Compress;
use crate::escape::display;
use crate::event::{Event, Observer};
use crate::fault::Side;
use crate::plan::tuning::{Advice, Load, Rate, advice};

/// The longest bar of the chart.
const BAR_MAX: u64 = 30;

/// Listens to a measurement of one account.
#[derive(Default)]
pub struct Measuring {
    inner: Mutex<Measured>,
}

/// What was measured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Measured {
    /// How the ledger knows the account.
    pub account: String,
    /// Whether all was measured that was to be.
    pub is_through: bool,
    /// Why it failed.
    pub reason: Option<String>,
    /// How long an end takes to answer, in microseconds.
    pub round_trips: Vec<(Side, u64)>,
    /// The rates, in the order in which they were measured.
    pub rates: Vec<Rate>,
    /// Where an end took no more.
    pub limits: Vec<Limited>,
}

/// An end that took no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limited {
    /// The end.
    pub side: Side,
    /// Connections that it took.
    pub connections: usize,
    /// What it said.
    pub reason: String,
}

impl Measuring {
    /// What was told.
    #[must_use]
    pub fn measured(&self) -> Measured {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for Measuring {
    fn event(&self, event: &Event) {
        let mut measured = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::RoundTrip { account, side, time } => {
                measured.account = account.to_string();
                let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
                measured.round_trips.push((*side, micros));
            }
            Event::Measured { rate, .. } => measured.rates.push(*rate),
            Event::Limited { side, connections, reason, .. } => measured.limits.push(Limited {
                side: *side,
                connections: *connections,
                reason: reason.clone(),
            }),
            Event::AccountMeasured { .. } => measured.is_through = true,
            Event::AccountFailed { side, reason, .. } => {
                let side = side.map(|side| format!("{side}: ")).unwrap_or_default();
                measured.reason = Some(format!("{side}{reason}"));
            }
            _ => {}
        }
    }
}

impl Measured {
    /// The settings that the rates speak for, of a run that copies in windows of `window_messages`.
    #[must_use]
    pub fn advice(&self, load: &Load, window_messages: usize) -> Option<Advice> {
        let usual = self.rates.iter().filter(|rate| rate.window_messages == window_messages);
        let walls = self.limits.iter().map(|limit| (limit.side, limit.connections));
        advice(&usual.copied().collect::<Vec<_>>(), &walls.collect::<Vec<_>>(), load)
    }

    /// The same for programs. Names in it are only added; `version` changes when one goes.
    #[must_use]
    pub fn json(&self, load: &Load, window_messages: usize, exit_code: u8) -> String {
        let advice = self.advice(load, window_messages);
        let report = Report { version: 1, exit_code, measured: self, load, advice };
        // Plain data into memory: there is nothing to fail at.
        let mut text = serde_json::to_string_pretty(&report).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The screen.
    #[must_use]
    pub fn text(&self, load: &Load, window_messages: usize) -> String {
        let mut text = Lines::default();
        text.line(format_args!("Measured with {}", display(&self.account)));
        for (side, micros) in &self.round_trips {
            let trip = Duration::from_micros(*micros).as_secs_f64() * 1_000.0;
            text.line(format_args!("{side}: an answer takes {trip:.1} ms"));
            self.show(*side, &mut text);
        }
        if let Some(reason) = &self.reason {
            text.line(format_args!("failed: {}", display(reason)));
        }
        let Some(advice) = self.advice(load, window_messages) else {
            text.line(format_args!("Nothing was measured that settings could be taken from."));
            return text.0;
        };
        text.line(format_args!("Settings: {}", flags(&advice)));
        let both = [Side::Source, Side::Target]
            .map(|side| self.rates.iter().any(|rate| rate.side == side));
        let size = load.bytes.map(|size| format!(", {}", bytes(size))).unwrap_or_default();
        text.line(format_args!(
            "The whole batch, {} messages{size}, takes about {}; the {} is the slower end{}",
            grouped(load.messages),
            time(advice.seconds),
            advice.slower,
            match both {
                [true, true] => "",
                _ => " that was measured: --write measures the target, too",
            }
        ));
        text.0
    }

    fn show(&self, side: Side, text: &mut Lines) {
        let rates = || self.rates.iter().filter(|rate| rate.side == side);
        let best = rates().map(Rate::messages_a_second).max().unwrap_or(0).max(1);
        if rates().next().is_some() {
            text.line(format_args!("  connections  window  messages/s       bytes/s"));
        }
        for rate in rates() {
            let speed = rate.messages_a_second();
            let length = (u128::from(speed) * u128::from(BAR_MAX)).div_ceil(u128::from(best));
            let bar = "#".repeat(usize::try_from(length).unwrap_or(0));
            text.line(format_args!(
                "  {:>11}  {:>6}  {:>10}  {:>12}  {bar}{}",
                rate.connections,
                rate.window_messages,
                grouped(speed),
                bytes(rate.bytes_a_second()),
                if rate.compressed { " compressed" } else { "" },
            ));
        }
        for limit in self.limits.iter().filter(|limit| limit.side == side) {
            let (count, reason) = (limit.connections, display(&limit.reason));
            text.line(format_args!("  no more than {count} connections: {reason}"));
        }
    }
}

/// The settings as flags of the commands that copy.
fn flags(advice: &Advice) -> String {
    let Advice { accounts, connections, connections_per_host, compress, .. } = advice;
    let compress = match compress {
        Compress::Never => String::new(),
        _ => format!(" --compress {}", compress.as_str()),
    };
    format!(
        "--accounts {accounts} --connections {connections} \
         --connections-per-host {connections_per_host}{compress}"
    )
}

/// A time as it is worth telling: two units.
fn time(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let mut left = seconds;
    let mut text = String::new();
    for (unit, size) in units.into_iter().skip_while(|(_, size)| *size > seconds.max(1)).take(2) {
        if left >= size || text.is_empty() {
            let gap = if text.is_empty() { "" } else { " " };
            // Writing to a string cannot fail.
            let _ = write!(text, "{gap}{} {unit}", left / size);
        }
        left %= size;
    }
    text
}

#[derive(Serialize)]
struct Report<'a> {
    version: u8,
    exit_code: u8,
    #[serde(flatten)]
    measured: &'a Measured,
    load: &'a Load,
    advice: Option<Advice>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(side: Side, connections: usize, messages: u64) -> Rate {
        let (bytes, micros) = (messages * 1_024, 1_000_000);
        Rate { side, connections, window_messages: 50, messages, bytes, micros, compressed: false }
    }

    #[test]
    fn a_time_is_told_in_two_units() {
        let told = [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3_700, "1 h 1 min")];
        for (seconds, text) in told {
            assert_eq!(time(seconds), text);
        }
        assert_eq!(time(90_000), "1 d 1 h");
    }

    #[test]
    fn the_screen_shows_rates_the_wall_and_flags() {
        let measured = Measured {
            account: "anna".to_owned(),
            is_through: true,
            round_trips: vec![(Side::Source, 20_000), (Side::Target, 500)],
            rates: vec![
                rate(Side::Source, 1, 100),
                rate(Side::Source, 2, 200),
                rate(Side::Target, 1, 1_000),
                Rate { compressed: true, ..rate(Side::Target, 1, 2_000) },
            ],
            limits: vec![Limited {
                side: Side::Source,
                connections: 3,
                reason: "cannot log in".to_owned(),
            }],
            ..Measured::default()
        };
        let load = Load { accounts: 3, messages: 7_200, bytes: Some(1 << 20), one_host: false };
        let text = measured.text(&load, 50);
        for line in [
            "source: an answer takes 20.0 ms\n",
            "            2      50         200     200.0 KiB  ##############################\n",
            "  no more than 3 connections: cannot log in\n",
            "            1      50       2,000       2.0 MiB  ############################## compressed\n",
            "Settings: --accounts 2 --connections 2 --connections-per-host 2 --compress target\n",
            "The whole batch, 7,200 messages, 1.0 MiB, takes about 36 s; the source is the slower end\n",
        ] {
            assert!(text.contains(line), "{line:?} is not in:\n{text}");
        }
    }
}
