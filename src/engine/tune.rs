//! Measures how fast both ends of an account are. At the source mail is read, at the target synthetic
//! mail is written into mailboxes of our own, which are removed.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::account;
use super::work::{End, Pass, Place, Run};
use crate::accounts::Account;
use crate::config::Compress;
use crate::event::Event;
use crate::fault::{Fault, Scope, Side};
use crate::history::Troubles;
use crate::imap::exec::Connection;
use crate::ledger::{WindowId, WindowMessage};
use crate::mail::{Flags, MessageInfo, Namespaces, Uid, WireName};
use crate::own::{OwnName, Serial};
use crate::plan::tuning::{Rate, connections, is_enough};
use crate::plan::windows::{Bounds, Owed, Window, windows};
use crate::source::imap::ImapSource;
use crate::source::{Admitted, Fetched, Source};
use crate::target::imap::ImapTarget;
use crate::target::{
    Ahead, Answer, Answered, Body, Created, Deleted, Outgoing, OutgoingMessage, Target,
};
use crate::throttle::Throttle;

/// How much is moved to measure a rate.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    /// Whether messages are written at the target.
    pub write: bool,
    /// No rate is measured for longer, but for what is in flight then.
    pub step: Duration,
    /// Messages that are moved at most for a rate, by each connection.
    pub messages_max: u64,
    /// Bytes that are read at most for a rate, by all connections.
    pub read_bytes_max: u64,
    /// Bytes that are written at most for a rate, by all connections.
    pub write_bytes_max: u64,
}

impl Default for Trial {
    fn default() -> Self {
        Self {
            write: false,
            step: Duration::from_secs(2),
            messages_max: 2_000,
            read_bytes_max: 64 * 1024 * 1024,
            write_bytes_max: 32 * 1024 * 1024,
        }
    }
}

/// The messages that are read again and again.
const SAMPLE_MESSAGES: usize = 200;
const SAMPLE_BYTES: u64 = 16 * 1024 * 1024;
/// Messages in one window, with one connection; copying takes as many as [`crate::Config`] says.
const WINDOW_MESSAGES: [usize; 2] = [10, 200];
/// A round trip is the shortest of so many.
const ROUND_TRIPS: usize = 5;
/// What is written where the source has no mail to take sizes from.
const SIZE_WITHOUT_SAMPLE: u64 = 5_000;

/// Measures both ends of an account.
pub(super) async fn run(run: &Run<()>, trial: &Trial, account: &Account, _place: Place) -> End {
    let label: Arc<str> = account.name().key.into();
    let tuning = Tuning {
        run,
        trial,
        account,
        throttle: Throttle::new(&run.config, run.memory.clone(), &run.hosts.rates(account)),
        label,
    };
    tuning.event(Event::AccountStarted { account: tuning.label.clone() });
    match Box::pin(tuning.both()).await {
        Ok(Pass::Through) => {
            tuning.event(Event::AccountMeasured { account: tuning.label.clone() });
            End::Done
        }
        Ok(Pass::Stopped) => End::Stopped,
        Err(fault) => {
            tuning.event(account::failed(&tuning.label, &fault));
            End::Failed
        }
    }
}

struct Tuning<'a> {
    run: &'a Run<()>,
    trial: &'a Trial,
    account: &'a Account,
    throttle: Throttle,
    label: Arc<str>,
}

/// One end with its connections.
trait Stand {
    const SIDE: Side;

    fn connections(&self) -> usize;

    /// Takes one more connection.
    async fn widen(&mut self, connection: Connection) -> Result<(), Fault>;

    /// Moves messages over all connections, in windows of so many.
    async fn step(&mut self, window_messages: usize) -> Result<Volume, Fault>;
}

#[derive(Debug, Clone, Copy, Default)]
struct Volume {
    messages: u64,
    bytes: u64,
}

impl std::iter::Sum for Volume {
    fn sum<I: Iterator<Item = Self>>(volumes: I) -> Self {
        volumes.fold(Self::default(), |sum, one| Self {
            messages: sum.messages + one.messages,
            bytes: sum.bytes + one.bytes,
        })
    }
}

impl Tuning<'_> {
    fn event(&self, event: Event) {
        self.run.observer.event(&event);
    }

    fn warn(&self, text: String) {
        self.event(Event::Warning { account: Some(self.label.clone()), text });
    }

    async fn both(&self) -> Result<Pass, Fault> {
        let connection = self.connect(Side::Source).await?;
        let compresses = connection.offers_compression();
        let mut reading =
            Reading { tuning: self, sources: Vec::new(), name: None, sample: Vec::new() };
        reading.begin(connection).await?;
        let sizes: Vec<u64> = reading.sample.iter().map(|info| info.size).collect();
        let mut pass = Pass::Through;
        if sizes.is_empty() {
            self.warn("the source has no mail that could be read to measure it".to_owned());
        } else {
            // What follows finds the sample in the server's memory, whatever is measured first.
            reading.step(self.run.config.window_messages_max).await?;
            pass = self.climb(&mut reading).await?;
        }
        join_all(reading.sources.drain(..).map(Source::log_out)).await;
        if compresses && pass == Pass::Through && !reading.sample.is_empty() {
            pass = self.compressed(&mut reading).await;
            join_all(reading.sources.drain(..).map(Source::log_out)).await;
        }
        if pass == Pass::Stopped {
            return Ok(pass);
        }
        self.target(&sizes).await
    }

    async fn target(&self, sizes: &[u64]) -> Result<Pass, Fault> {
        let connection = self.connect(Side::Target).await?;
        let compresses = connection.offers_compression();
        let mut target = ImapTarget::new(connection, self.run.config.windows_in_flight_max);
        if !self.trial.write {
            target.log_out().await;
            return Ok(Pass::Through);
        }
        self.clear(&mut target).await?;
        let limit = self.run.config.window_bytes_max;
        let sizes = sizes.iter().map(|size| *size.min(&limit));
        let mut bodies: Vec<Bytes> = sizes.map(letter).collect();
        if bodies.is_empty() {
            bodies.push(letter(SIZE_WITHOUT_SAMPLE));
        }
        let mut writing = Writing { tuning: self, targets: Vec::new(), begun: 0, bodies };
        let mut measured = match writing.begin(target).await {
            Ok(()) => self.climb(&mut writing).await,
            Err(fault) => Err(fault),
        };
        // What is full or broken is closed before another one is asked for.
        join_all(writing.targets.drain(..).map(Target::log_out)).await;
        if compresses && matches!(measured, Ok(Pass::Through)) {
            measured = Ok(self.compressed(&mut writing).await);
            join_all(writing.targets.drain(..).map(Target::log_out)).await;
        }
        let cleared = match self.connection(Side::Target).await {
            Ok(connection) => {
                let mut target = ImapTarget::new(connection, 1);
                let cleared = self.clear(&mut target).await;
                target.log_out().await;
                cleared
            }
            Err(fault) => Err(fault),
        };
        if let Err(fault) = cleared {
            let why = fault.chain();
            self.warn(format!("mailboxes of the measurement stay until the next one: {why}"));
        }
        measured
    }

    /// Removes the mailboxes of this measurement, and those that a killed one has left behind.
    async fn clear(&self, target: &mut ImapTarget) -> Result<(), Fault> {
        for mailbox in target.list().await? {
            let name = mailbox.path.names().last().and_then(|name| OwnName::parse(name));
            let Some(name) = name.filter(|name| name.is_trial() && name.path() == mailbox.path)
            else {
                continue;
            };
            if let Deleted::Refused(text) = target.delete_own(&name).await? {
                self.warn(format!("the target does not delete the mailbox {name}: {text}"));
            }
        }
        Ok(())
    }

    /// Connects, and tells how long an answer takes.
    async fn connect(&self, side: Side) -> Result<Connection, Fault> {
        let mut connection = self.connection(side).await?;
        let mut shortest = Duration::MAX;
        for _ in 0..ROUND_TRIPS {
            let asked = Instant::now();
            connection.run_ok("NOOP", "measure a round trip", Scope::Session).await?;
            shortest = shortest.min(asked.elapsed());
        }
        self.event(Event::RoundTrip { account: self.label.clone(), side, time: shortest });
        Ok(connection)
    }

    async fn connection(&self, side: Side) -> Result<Connection, Fault> {
        self.connection_as(Compress::Never, side).await
    }

    async fn connection_as(&self, compress: Compress, side: Side) -> Result<Connection, Fault> {
        let Run { connector, logins, .. } = self.run;
        let connector = connector.compressing(compress);
        let endpoint = self.account.end(side);
        logins.connect(endpoint, side, connector.connect(endpoint, side, None)).await
    }

    /// Measures with rising numbers of connections until more bring nothing, or the server objects.
    async fn climb<S: Stand>(&self, stand: &mut S) -> Result<Pass, Fault> {
        let usual = self.run.config.window_messages_max;
        for window_messages in WINDOW_MESSAGES {
            if self.run.stop.is_requested() {
                return Ok(Pass::Stopped);
            }
            self.measure(stand, window_messages, false).await?;
        }
        let mut rates = Vec::new();
        for count in connections(self.run.config.host_connections_max) {
            while stand.connections() < count {
                let widened = match self.connection(S::SIDE).await {
                    Ok(connection) => stand.widen(connection).await,
                    Err(fault) => Err(fault),
                };
                if let Err(fault) = widened {
                    self.limited(S::SIDE, stand.connections(), &fault);
                    return Ok(Pass::Through);
                }
            }
            if self.run.stop.is_requested() {
                return Ok(Pass::Stopped);
            }
            match self.measure(stand, usual, false).await {
                Ok(rate) => rates.push(rate),
                Err(fault) => {
                    let Some(before) = rates.last().map(|rate: &Rate| rate.connections) else {
                        return Err(fault);
                    };
                    self.limited(S::SIDE, before, &fault);
                    return Ok(Pass::Through);
                }
            }
            if is_enough(&rates) {
                break;
            }
        }
        Ok(Pass::Through)
    }

    /// Measures one compressed connection.
    async fn compressed<S: Stand>(&self, stand: &mut S) -> Pass {
        if self.run.stop.is_requested() {
            return Pass::Stopped;
        }
        let measured = async {
            stand.widen(self.connection_as(Compress::Both, S::SIDE).await?).await?;
            self.measure(stand, self.run.config.window_messages_max, true).await
        };
        if let Err(fault) = measured.await {
            let why = fault.chain();
            self.warn(format!("the {} was not measured compressed: {why}", S::SIDE));
        }
        Pass::Through
    }

    fn limited(&self, side: Side, connections: usize, fault: &Fault) {
        let (account, reason) = (self.label.clone(), fault.chain());
        self.event(Event::Limited { account, side, connections, reason });
    }

    async fn measure<S: Stand>(
        &self,
        stand: &mut S,
        window_messages: usize,
        compressed: bool,
    ) -> Result<Rate, Fault> {
        let begun = Instant::now();
        let Volume { messages, bytes } = stand.step(window_messages).await?;
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let connections = stand.connections();
        let side = S::SIDE;
        let rate = Rate { side, connections, window_messages, messages, bytes, micros, compressed };
        self.event(Event::Measured { account: self.label.clone(), rate });
        Ok(rate)
    }

    /// The windows that one of so many connections moves at most.
    fn windows(&self, messages: &[MessageInfo], window_messages: usize) -> Vec<Window> {
        let config = &self.run.config;
        let bounds = Bounds {
            messages_max: window_messages,
            bytes_max: config.window_bytes_max,
            repaired_bytes_max: config.repaired_bytes_max(),
        };
        let owed = messages.iter().map(|info| Owed::new(info.clone(), Troubles::default()));
        windows(owed, bounds)
    }
}

/// Until when a connection goes on.
struct Limit {
    until: Instant,
    messages: u64,
    bytes: u64,
}

impl Limit {
    fn of(trial: &Trial, bytes: u64, connections: usize) -> Self {
        let until = Instant::now() + trial.step;
        Self { until, messages: trial.messages_max, bytes: bytes / connections.max(1) as u64 }
    }

    /// Whether one more window of this size may be moved; the first one may.
    fn take(&mut self, messages: u64, bytes: u64) -> bool {
        let goes = self.messages > 0 && self.bytes > 0 && Instant::now() < self.until;
        self.messages = self.messages.saturating_sub(messages);
        self.bytes = self.bytes.saturating_sub(bytes);
        goes
    }
}

/// The source, with the messages that are read.
struct Reading<'a> {
    tuning: &'a Tuning<'a>,
    sources: Vec<ImapSource>,
    name: Option<WireName>,
    sample: Vec<MessageInfo>,
}

impl Reading<'_> {
    /// Takes the latest messages of the mailbox that has most of them for a sample.
    async fn begin(&mut self, connection: Connection) -> Result<(), Fault> {
        let mut source = ImapSource::new(connection, self.tuning.run.config.window_bytes_max);
        let listed = source.list(Namespaces::default()).await?;
        let own = listed.into_iter().filter(|mailbox| mailbox.selectable && !mailbox.is_foreign());
        let names: Vec<_> = own.map(|mailbox| mailbox.name).collect();
        let statuses = source.statuses(&names).await?;
        let messages = statuses.iter().map(|status| status.map_or(0, |status| status.messages));
        let largest = names.into_iter().zip(messages).max_by_key(|(_, messages)| *messages);
        if let Some((name, _)) = largest {
            let opened = source.open(&name).await?;
            self.sample = latest(&mut source, opened.uid_next).await?;
            self.name = Some(name);
        }
        self.sources.push(source);
        Ok(())
    }
}

/// The latest messages of the open mailbox, as many as make a sample.
async fn latest(source: &mut ImapSource, uid_next: Uid) -> Result<Vec<MessageInfo>, Fault> {
    let mut found: Vec<MessageInfo> = Vec::new();
    let (mut above, mut span) = (uid_next.0, 1_000_u32);
    while above > 1 && found.len() < SAMPLE_MESSAGES {
        let first = above.saturating_sub(span).max(1);
        found.extend(source.scan(Uid(first)..=Uid(above - 1)).await?);
        (above, span) = (first, span.saturating_mul(4));
    }
    let mut bytes = 0;
    found.sort_by_key(|info| std::cmp::Reverse(info.uid));
    let sample = found.into_iter().take(SAMPLE_MESSAGES).take_while(|info| {
        let goes = bytes < SAMPLE_BYTES;
        bytes += info.size;
        goes
    });
    Ok(sample.collect())
}

impl Stand for Reading<'_> {
    const SIDE: Side = Side::Source;

    fn connections(&self) -> usize {
        self.sources.len()
    }

    async fn widen(&mut self, connection: Connection) -> Result<(), Fault> {
        let mut source = ImapSource::new(connection, self.tuning.run.config.window_bytes_max);
        if let Some(name) = &self.name {
            source.open(name).await?;
        }
        self.sources.push(source);
        Ok(())
    }

    async fn step(&mut self, window_messages: usize) -> Result<Volume, Fault> {
        let tuning = self.tuning;
        let windows = tuning.windows(&self.sample, window_messages);
        let count = self.sources.len();
        let read = self.sources.iter_mut().map(|source| {
            let limit = Limit::of(tuning.trial, tuning.trial.read_bytes_max, count);
            read(source, &tuning.throttle, &windows, limit)
        });
        // All are waited for: none is cut off inside a command.
        let volumes = join_all(read).await;
        volumes.into_iter().sum()
    }
}

/// Reads the windows again and again.
async fn read(
    source: &mut ImapSource,
    throttle: &Throttle,
    windows: &[Window],
    mut limit: Limit,
) -> Result<Volume, Fault> {
    let (admit_to, admitted) = mpsc::channel(1);
    let (fetch_to, mut fetched) = mpsc::channel(1);
    let admit = async move {
        for window in windows.iter().cycle() {
            let (messages, bytes) = (window.messages.len(), window.bytes());
            if !limit.take(messages as u64, bytes) {
                break;
            }
            let count = u32::try_from(messages).unwrap_or(u32::MAX);
            let admission = throttle.admit(count, bytes, window.streamed).await;
            if admit_to.send(Admitted { window: window.clone(), admission }).await.is_err() {
                break;
            }
        }
    };
    let count = async {
        let mut volume = Volume::default();
        while let Some(fetched) = fetched.recv().await {
            match fetched {
                Fetched::Whole { messages, .. } => {
                    volume.messages += messages.len() as u64;
                    volume.bytes += messages.iter().map(|m| m.body.len() as u64).sum::<u64>();
                }
                Fetched::Streamed { mut body, .. } => {
                    while body.next().await.is_some() {}
                    volume.messages += 1;
                    volume.bytes += body.size;
                }
            }
        }
        volume
    };
    let ((), outcome, volume) = tokio::join!(admit, source.fetch(admitted, fetch_to), count);
    outcome.map(|()| volume)
}

/// The target, with what is written.
struct Writing<'a> {
    tuning: &'a Tuning<'a>,
    targets: Vec<ImapTarget>,
    /// Mailboxes so far.
    begun: u32,
    bodies: Vec<Bytes>,
}

impl Writing<'_> {
    /// Each connection writes into a mailbox of its own, as when mailboxes are copied.
    async fn begin(&mut self, mut target: ImapTarget) -> Result<(), Fault> {
        let number = self.begun;
        self.begun += 1;
        let name = OwnName::trial(Serial { run: self.tuning.run.seed, epoch: 0, number });
        let refused = |text: String| {
            let action = format!("make the mailbox {name} to measure with");
            Fault::session(action, text).at_least(Scope::Account).at(Side::Target)
        };
        match target.create_own(&name).await? {
            Created::New => {}
            Created::Exists => return Err(refused("it is there already".to_owned())),
            Created::Refused(text) => return Err(refused(text)),
        }
        target.open_own(&name).await?.ok_or_else(|| refused("it is gone again".to_owned()))?;
        self.targets.push(target);
        Ok(())
    }
}

impl Stand for Writing<'_> {
    const SIDE: Side = Side::Target;

    fn connections(&self) -> usize {
        self.targets.len()
    }

    async fn widen(&mut self, connection: Connection) -> Result<(), Fault> {
        let in_flight_max = self.tuning.run.config.windows_in_flight_max;
        self.begin(ImapTarget::new(connection, in_flight_max)).await
    }

    async fn step(&mut self, window_messages: usize) -> Result<Volume, Fault> {
        let tuning = self.tuning;
        let count = self.targets.len();
        let info = |(index, body): (u32, &Bytes)| MessageInfo {
            uid: Uid(index),
            size: body.len() as u64,
            date: None,
            flags: Flags::default(),
        };
        let infos: Vec<MessageInfo> = (0..).zip(&self.bodies).map(info).collect();
        let windows = tuning.windows(&infos, window_messages);
        let bodies = &self.bodies;
        let written = self.targets.iter_mut().map(|target| {
            let limit = Limit::of(tuning.trial, tuning.trial.write_bytes_max, count);
            write(target, &tuning.throttle, &windows, bodies, limit)
        });
        let volumes = join_all(written).await;
        volumes.into_iter().sum()
    }
}

/// Writes the windows again and again.
async fn write(
    target: &mut ImapTarget,
    throttle: &Throttle,
    windows: &[Window],
    bodies: &[Bytes],
    mut limit: Limit,
) -> Result<Volume, Fault> {
    let (send_to, outgoing) = mpsc::channel(1);
    let (answer_to, mut answered) = mpsc::channel::<Answered>(1);
    let messages = windows.iter().map(|window| window.messages.len()).sum();
    let ahead = Ahead { messages, ..Ahead::default() };
    let send = async move {
        for (window, id) in windows.iter().cycle().zip(1..) {
            let (count, bytes) = (window.messages.len(), window.bytes());
            if !limit.take(count as u64, bytes) {
                break;
            }
            let admitted = u32::try_from(count).unwrap_or(u32::MAX);
            let admission = throttle.admit(admitted, bytes, false).await;
            let messages = window.messages.iter().filter_map(|owed| {
                let body = bodies.get(owed.info.uid.0 as usize)?.clone();
                Some(OutgoingMessage {
                    record: record(&owed.info),
                    body: Body::Whole(body.into()),
                    is_compared: false,
                })
            });
            let messages = messages.collect();
            let outgoing = Outgoing { id: WindowId(id), messages, careful: false, admission };
            if send_to.send(outgoing).await.is_err() {
                break;
            }
        }
    };
    let count = async {
        let mut volume = Volume::default();
        let mut refused = None;
        while let Some(Answered { window, answers }) = answered.recv().await {
            for (message, answer) in window.messages.iter().zip(answers) {
                match answer {
                    Some(Answer::Stored(_)) => {
                        volume.messages += 1;
                        volume.bytes += message.body.size();
                    }
                    Some(Answer::Refused(text)) => refused = Some(text),
                    Some(Answer::NotNow) | None => {}
                }
            }
        }
        (volume, refused)
    };
    let append = target.append(&ahead, outgoing, answer_to);
    let ((), outcome, (volume, refused)) = tokio::join!(send, append, count);
    outcome?;
    match refused {
        Some(text) => Err(Fault::session("append messages to measure with", text).at(Side::Target)),
        None => Ok(volume),
    }
}

fn record(info: &MessageInfo) -> WindowMessage {
    WindowMessage {
        uid: info.uid,
        size: info.size,
        date: info.date,
        flags: info.flags.clone(),
        identity: None,
        risky: false,
        troubles: Troubles::default(),
        changed: None,
    }
}

/// A message of about so many octets that is nobody's, and as hard to compress as an attachment.
fn letter(size: u64) -> Bytes {
    const HEADER: &str = "From: mailhaul <mailhaul@localhost>\r\nSubject: a measurement\r\n\r\n";
    const LINE_OCTETS: usize = 57;
    const LINE_BYTES: usize = 78; // In base64, with its end.
    let lines = usize::try_from(size).unwrap_or(usize::MAX).saturating_sub(HEADER.len());
    let lines = lines.div_ceil(LINE_BYTES).max(1);
    let mut text = String::with_capacity(HEADER.len() + lines * LINE_BYTES);
    text.push_str(HEADER);
    let mut octets = blake3::Hasher::new().finalize_xof();
    for _ in 0..lines {
        let mut line = [0; LINE_OCTETS];
        octets.fill(&mut line);
        STANDARD.encode_string(line, &mut text);
        text.push_str("\r\n");
    }
    text.into()
}
