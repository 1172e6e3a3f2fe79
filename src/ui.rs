//! What people and programs see of a run: events folded into a few numbers, shown in one of several
//! ways, and all of them written to the log.
//!
//! An event only adds to memory; a thread of its own writes, five times a second, so that a
//! terminal that was paused does not hold the mail.

mod bars;
mod line;
mod progress;
mod words;

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use console::style;
use mailhaul::accounts::{Account, Batch};
use mailhaul::config::Config;
use mailhaul::escape;
use mailhaul::event::{Event, Observer};
use tokio::time::Instant;

use bars::{Bars, Screen, Slots};
use line::{Line, Names};
use progress::{Meter, Progress};

pub(crate) use progress::Tally;
pub(crate) use words::{count, time};

const REDRAW: Duration = Duration::from_millis(200);
const SUMMARY: Duration = Duration::from_secs(30);
/// Bytes of events not yet written; more, and whoever brings them writes them.
const PENDING_BYTES_MAX: usize = 256 * 1024;

/// How a run is shown.
#[derive(Debug, Clone)]
pub(crate) struct Show {
    pub(crate) mode: Mode,
    pub(crate) verbosity: Verbosity,
    /// The CSV's name, for the places of errors.
    pub(crate) file: Arc<str>,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Bars,
    Plain,
    Json,
    None,
}

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    Quiet,
    Normal,
    Verbose,
}

/// The display of one run, from [`Ui::start`] until it is dropped.
pub(crate) struct Ui {
    shared: Arc<Shared>,
    /// Dropped to end the thread.
    ticks: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ui {
    /// Opens the log and begins to show.
    pub(crate) fn start(
        mut show: Show,
        batch: &Batch,
        config: &Config,
        log: &Path,
    ) -> io::Result<Self> {
        if show.mode == Mode::Bars && !is_terminal() {
            show.mode = Mode::Plain; // Bars on anything else print nothing at all.
        }
        let active_max = batch.accounts.len().min(config.accounts_max);
        let now = Instant::now();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                progress: Progress::new(batch.accounts.len()),
                meter: Meter::new(now),
                pending: Vec::new(),
                lines: Vec::new(),
            }),
            out: Mutex::new(Out {
                log: open_log(log)?,
                is_log_broken: false,
                slots: Slots::default(),
                bars: (show.mode == Mode::Bars).then(|| Bars::new(active_max)),
                summary_due: now + SUMMARY,
            }),
            names: names(batch, &show.file),
            is_dry_run: config.dry_run,
            show,
        });
        let (ticks, ended) = mpsc::channel();
        let ticker = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("ui".to_owned()).spawn(move || {
            while ended.recv_timeout(REDRAW) == Err(RecvTimeoutError::Timeout) {
                ticker.write();
            }
        })?;
        Ok(Self { shared, ticks: Some(ticks), thread: Some(thread) })
    }

    /// Who is to be told of events.
    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.shared) as Arc<dyn Observer>
    }

    /// Tells a person something, beside the bars.
    pub(crate) fn note(&self, text: &str) {
        let line = Line::note(text.to_owned());
        self.shared.state().lines.push(line);
        self.shared.write();
    }

    /// What happened so far.
    pub(crate) fn tally(&self) -> Tally {
        self.shared.state().progress.tally()
    }
}

/// Writes what is left and takes the bars away; also where a run fails, its last events are in the
/// log.
impl Drop for Ui {
    fn drop(&mut self) {
        drop(self.ticks.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has told its own story; the run's result stands.
            let _ = thread.join();
        }
        self.shared.write();
        if let Some(bars) = self.shared.out().bars.take() {
            bars.clear();
        }
    }
}

/// Events call an account by its key in the ledger; people by its label and its line.
fn names(batch: &Batch, file: &str) -> Names {
    let called = |account: &Account| {
        let label = escape::display(&account.label()).into_owned();
        (account.name().key, (account.line, label))
    };
    Names { file: file.to_owned(), accounts: batch.accounts.iter().map(called).collect() }
}

fn open_log(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

struct Shared {
    state: Mutex<State>,
    /// Locked before `state`, and longer: what it guards may block.
    out: Mutex<Out>,
    names: Names,
    is_dry_run: bool,
    show: Show,
}

/// What events change. Its lock is never held while anything is written.
struct State {
    progress: Progress,
    meter: Meter,
    /// Lines of JSON.
    pending: Vec<u8>,
    lines: Vec<Line>,
}

/// Where things are written.
struct Out {
    log: File,
    is_log_broken: bool,
    slots: Slots,
    bars: Option<Bars>,
    summary_due: Instant,
}

impl Observer for Shared {
    fn event(&self, event: &Event) {
        let line = line::of(event, &self.names, &self.show, self.is_dry_run);
        let mut state = self.state();
        state.progress.fold(event, Instant::now());
        state.lines.extend(line);
        write_json(&mut state.pending, event, jiff::Timestamp::now());
        let is_full = state.pending.len() > PENDING_BYTES_MAX;
        drop(state);
        if is_full {
            self.write();
        }
    }
}

#[derive(serde::Serialize)]
struct Stamped<'e> {
    ts: String,
    #[serde(flatten)]
    event: &'e Event,
}

fn write_json(to: &mut Vec<u8>, event: &Event, now: jiff::Timestamp) {
    let ts = format!("{now:.3}");
    let length = to.len();
    // Plain data into memory: there is nothing to fail at, and half a line would be worse than none.
    match serde_json::to_writer(&mut *to, &Stamped { ts, event }) {
        Ok(()) => to.push(b'\n'),
        Err(_) => to.truncate(length),
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes everything that is due.
    fn write(&self) {
        let mut out = self.out();
        let now = Instant::now();
        let (pending, mut lines, screen) = {
            let mut state = self.state();
            let state = &mut *state;
            state.meter.tick(&state.progress, now);
            let screen = self.screen(state, &mut out, now);
            (std::mem::take(&mut state.pending), std::mem::take(&mut state.lines), screen)
        };
        if let Err(error) = out.log.write_all(&pending)
            && !out.is_log_broken
        {
            out.is_log_broken = true;
            lines.push(Line::note(format!("cannot write the log any more: {error}")));
        }
        if self.show.mode == Mode::Json {
            write_out(&pending);
        }
        if self.show.mode == Mode::Plain
            && let Some(screen) = &screen
        {
            lines.push(Line::note(screen.summary()));
        }
        match &mut out.bars {
            Some(bars) => {
                if !lines.is_empty() {
                    bars.above(|| lines.iter().for_each(Line::write));
                }
                if let Some(screen) = screen {
                    bars.draw(&screen);
                }
            }
            None => lines.iter().for_each(Line::write),
        }
    }

    /// What is to be drawn now, if anything.
    fn screen(&self, state: &State, out: &mut Out, now: Instant) -> Option<Screen> {
        let slots = match (&self.show.mode, &out.bars) {
            (Mode::Bars, Some(bars)) => bars.slots(),
            (Mode::Plain, _) if now >= out.summary_due => {
                out.summary_due = now + SUMMARY;
                0
            }
            _ => return None,
        };
        if self.show.verbosity == Verbosity::Quiet && self.show.mode == Mode::Plain {
            return None;
        }
        out.slots.fill(&state.progress, slots);
        Some(Screen::new(&state.progress, &state.meter, &out.slots, &self.names, now))
    }
}

/// The time of now, as lines begin with it.
pub(crate) fn stamp() -> String {
    format!("{:.0}", jiff::Timestamp::now())
}

pub(crate) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Overrides what the terminal says about colours.
pub(crate) fn set_colors(enabled: bool) {
    console::set_colors_enabled(enabled);
    console::set_colors_enabled_stderr(enabled);
}

/// Whether text for people is coloured, by whatever reason.
#[cfg(feature = "rehearsal")]
pub(crate) fn has_colors() -> bool {
    console::colors_enabled_stderr()
}

/// Data, for standard output.
pub(crate) fn print(text: &str) {
    write_out(text.as_bytes());
}

/// Something for a person, on standard error.
pub(crate) fn say(text: &str) {
    let mut stderr = io::stderr().lock();
    // Who closed it does not want to read it.
    let _ = writeln!(stderr, "{text}");
}

pub(crate) fn warn(text: &str) {
    say(&format!("{} {text}", style("warning:").for_stderr().yellow()));
}

/// What to do next.
pub(crate) fn hint(text: &str) {
    say(&format!("  {} {text}", style("hint:").for_stderr().cyan()));
}

/// Why something was not done.
pub(crate) fn error(text: &str) {
    let text = escape::escaped(text);
    say(&format!("{} {text}", style("error:").for_stderr().red().bold()));
}

fn write_out(bytes: &[u8]) {
    let mut stdout = io::stdout().lock();
    // Who closed it does not want to read it; the mail goes on.
    let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_json_with_its_time() {
        let mut lines = Vec::new();
        let event = Event::AccountFailed {
            account: "anna".into(),
            side: None,
            reason: "NO said\r\n\u{1b}[31m\"it\"".to_owned(),
            hint: "try again".to_owned(),
        };
        let now: jiff::Timestamp = "2026-11-23T09:12:00.1234Z".parse().expect("a time");
        write_json(&mut lines, &event, now);
        write_json(&mut lines, &Event::Stopping, now);
        let text = String::from_utf8(lines).expect("text");
        let values: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(values.len(), 2);
        assert_eq!(values[0]["ts"], "2026-11-23T09:12:00.123Z");
        assert_eq!(values[0]["event"], "account_failed");
        assert_eq!(values[0]["reason"], "NO said\r\n\u{1b}[31m\"it\"");
        assert_eq!(values[1]["event"], "stopping");
    }

    #[test]
    fn an_account_is_found_by_its_key() {
        let csv = "source_host,source_user,source_password,target_host,target_user,target_password\n\
                   a,info,s,b,info,t\nc,info,s,d,info,t\na,x\u{202e},s,b,y,t\n";
        let path = Path::new("accounts.csv");
        let loaded =
            mailhaul::accounts::parse(csv.as_bytes(), path, &Default::default(), &|_| None);
        let names = names(&loaded.expect("good").batch, "accounts.csv");
        assert_eq!(names.place("info@a info@b"), "accounts.csv:2: info");
        assert_eq!(names.place("info@c info@d"), "accounts.csv:3: info");
        assert_eq!(names.place("x\u{202e}@a y@b"), "accounts.csv:4: x\\u{202e} -> y");
        assert_eq!(names.label("x\u{202e}@a y@b"), "x\\u{202e} -> y");
    }

    #[test]
    fn without_a_terminal_a_summary_is_due_now_and_then() {
        let directory = tempfile::tempdir().expect("a directory");
        let show =
            Show { mode: Mode::Plain, verbosity: Verbosity::Normal, file: "accounts.csv".into() };
        let log = directory.path().join("log.ndjson");
        let ui = Ui::start(show, &Batch::default(), &Config::default(), &log).expect("started");
        let mut out = ui.shared.out();
        let state = ui.shared.state();
        let now = Instant::now();
        assert_eq!(ui.shared.screen(&state, &mut out, now), None);
        let later = now + SUMMARY;
        let screen = ui.shared.screen(&state, &mut out, later).expect("due");
        assert_eq!(
            screen.summary(),
            "0 B/s, 0 messages/s; accounts 0 done, 0 active, 0 to go; messages 0 copied"
        );
        assert_eq!(ui.shared.screen(&state, &mut out, later), None);
        drop((state, out));
    }

    #[test]
    fn the_log_grows_over_runs_and_holds_every_event() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("log.ndjson");
        for _ in 0..2 {
            let show =
                Show { mode: Mode::None, verbosity: Verbosity::Quiet, file: "accounts.csv".into() };
            let ui = Ui::start(show, &Batch::default(), &Config::default(), &log).expect("started");
            let observer = ui.observer();
            for uid in 0..5_000 {
                observer.event(&Event::NotCopied {
                    account: "anna".into(),
                    mailbox: "INBOX".to_owned(),
                    uid,
                    fate: mailhaul::fate::Fate::Refused,
                    reason: "too large".to_owned(),
                });
            }
            drop(ui);
        }
        let text = std::fs::read_to_string(&log).expect("a log");
        let uids: Vec<u64> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
            .map(|value| value["uid"].as_u64().expect("a UID"))
            .collect();
        assert!(uids.iter().copied().eq((0..5_000).chain(0..5_000)));
    }
}
