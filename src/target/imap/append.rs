//! APPEND of windows, several in flight.
//!
//! A writer and a reader run together on the two halves of one connection. The writer sends a
//! window as one MULTIAPPEND (RFC 3502) or message by message; literals are non-synchronising where
//! the server announced so (RFC 7888) and the arguments are ordinary (see [`super::storable`]),
//! else synchronising. The header of the next APPEND rides behind the body before it, so that a
//! synchronising literal costs one round trip and not two. The reader matches answers to commands.
//! What the writer must know (go on, send again, done) comes back to it from the reader.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::helping::Appending;
use super::storable::{Arguments, Attempt};
use crate::fault::{About, Fault, Remedy, Scope};
use crate::identity::Identity;
use crate::imap::exec::Capabilities;
use crate::imap::reply::{self, Refusal, Refused, Status, StatusKind, Untagged};
use crate::imap::wire::{BulkReader, BulkWriter, Incoming};
use crate::mail::UidValidity;
use crate::octets::Octets;
use crate::source::{Chunk, Streamed};
use crate::target::{Answer, Answered, Body, Outgoing, OutgoingMessage};

/// Octets gathered before they are written.
const WRITE_BYTES: usize = 128 * 1024;
/// Larger messages go with a synchronising literal, unless the server announced a higher limit.
const SURE_BYTES_MAX: u64 = 1024 * 1024;
/// How large a non-synchronising literal may be under LITERAL- (RFC 7888 section 5).
const LITERAL_MINUS_BYTES_MAX: u64 = 4096;
/// How long answers may still arrive after the writer failed.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// No response to an APPEND is larger.
const RESPONSE_LITERAL_BYTES_MAX: u64 = 64 * 1024;

const ACTION: &str = "append to the target";

/// What the server takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    multiappend: bool,
    /// Whether literals may hold NUL (BINARY, RFC 3516 section 4.4).
    binary: bool,
    /// The largest non-synchronising literal.
    non_synchronising_bytes_max: u64,
    /// The largest message.
    message_bytes_max: Option<u64>,
    windows_in_flight_max: usize,
}

impl Limits {
    /// These, for one of several connections: what one holds another one cannot take.
    pub(super) fn shared(self) -> Self {
        Self { windows_in_flight_max: self.windows_in_flight_max.min(2), ..self }
    }

    pub(super) fn of(capabilities: &Capabilities, windows_in_flight_max: usize) -> Self {
        let message_bytes_max = capabilities.append_limit();
        let non_synchronising_bytes_max = if capabilities.has("LITERAL+") {
            message_bytes_max.unwrap_or(SURE_BYTES_MAX)
        } else if capabilities.has("LITERAL-") {
            LITERAL_MINUS_BYTES_MAX
        } else {
            0
        };
        Self {
            multiappend: capabilities.has("MULTIAPPEND") && capabilities.has("LITERAL+"),
            binary: capabilities.has("BINARY"),
            non_synchronising_bytes_max,
            message_bytes_max,
            windows_in_flight_max,
        }
    }
}

/// Appends windows until there are no more. Gives the longest wait for an answer, too. With `unselect`
/// the open mailbox is left first.
pub(super) async fn append(
    reader: BulkReader<'_>,
    writer: BulkWriter<'_>,
    appending: &Appending,
    unselect: bool,
) -> (Result<(), Fault>, Duration) {
    let (sent, commands) = mpsc::unbounded_channel(); // Bounded by the windows in flight.
    let (feedback, heard) = mpsc::unbounded_channel(); // Likewise.
    let mut writer = Writer {
        writer,
        appending,
        sent,
        heard,
        again: VecDeque::new(),
        windows_in_flight: 0,
        tag: 0,
        out: BytesMut::new(),
    };
    let mut reader =
        Reader { reader, appending, feedback, states: VecDeque::new(), slowest: Duration::ZERO };
    if unselect {
        writer.unselect();
    }
    let outcome = {
        let write = std::pin::pin!(writer.run());
        let mut read = std::pin::pin!(reader.run(commands));
        tokio::select! {
            biased;
            outcome = &mut read => outcome,
            written = write => match written {
                Ok(()) => read.await,
                Err(fault) => {
                    // What the server has already answered is worth knowing; its BYE is worth more
                    // than our broken pipe.
                    match tokio::time::timeout(LAST_ANSWERS, read).await {
                        Ok(Err(better)) if better.cause.is::<Refusal>() => Err(better),
                        _ => Err(fault),
                    }
                }
            },
        }
    };
    reader.tell_unfinished().await;
    (outcome, reader.slowest)
}

fn has_nul(body: &Body) -> bool {
    matches!(body, Body::Whole(octets)
        if octets.pieces().iter().any(|piece| memchr::memchr(0, piece).is_some()))
}

/// Whether a message was streamed, and cannot be sent again.
fn is_spent(body: &Body) -> bool {
    matches!(body, Body::Streamed { body, .. } if body.try_lock().is_ok_and(|body| body.is_none()))
}

fn broken(error: io::Error) -> Fault {
    Fault::session(ACTION, error)
}

/// A command on its way.
struct Command {
    tag: u64,
    window: Arc<Outgoing>,
    kind: Kind,
    sent: Instant,
}

enum Kind {
    /// All of the window's messages with ordinary arguments, in one command; with the keywords in it
    /// that no APPEND has brought through yet.
    Multi { indexes: Vec<usize>, keywords: Vec<String> },
    /// One message.
    Single {
        index: usize,
        attempt: Attempt,
        form: Form,
        keywords: Vec<String>,
        synchronising: bool,
    },
}

/// How the octets of a message are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As any.
    Plain,
    /// As octets among which NUL may be. Not at first: servers may then send binary parts of mail in
    /// another encoding, and some take NUL as it is.
    Binary,
}

/// A message to be sent alone.
struct Single {
    window: Arc<Outgoing>,
    index: usize,
    attempt: Attempt,
    form: Form,
}

/// From the reader to the writer.
enum Feedback {
    /// The server waits for the literal.
    Continue,
    /// The server will not have it: the literal must not be sent.
    Declined,
    /// These are to be sent (again), each alone.
    Again(Vec<Single>),
    /// One more window is through.
    Finished,
}

/// From the writer to the reader.
enum Sent {
    /// The open mailbox is left (RFC 3691).
    Unselect,
    /// A window begins; its commands follow.
    Window(Arc<Outgoing>),
    /// This message will not be sent at all.
    Withheld(Arc<Outgoing>, usize, String),
    /// A command was begun.
    Command(Command),
}

struct Writer<'a> {
    writer: BulkWriter<'a>,
    appending: &'a Appending,
    sent: mpsc::UnboundedSender<Sent>,
    heard: mpsc::UnboundedReceiver<Feedback>,
    again: VecDeque<Single>,
    windows_in_flight: usize,
    tag: u64,
    out: BytesMut,
}

impl Writer<'_> {
    fn unselect(&mut self) {
        self.out.extend_from_slice(b"M0 UNSELECT\r\n");
        self.tell(Sent::Unselect);
    }

    /// Consumes itself: that no more commands come is how the reader knows the end.
    async fn run(mut self) -> Result<(), Fault> {
        let mut more = true;
        loop {
            while let Ok(feedback) = self.heard.try_recv() {
                self.hear(feedback);
            }
            if let Some(single) = self.again.pop_front() {
                let Single { window, index, attempt, form } = single;
                self.single(&window, index, attempt, form, true).await?;
                continue;
            }
            let may_begin =
                more && self.windows_in_flight < self.appending.limits.windows_in_flight_max;
            if may_begin && let Some(window) = self.appending.windows.next_now() {
                self.window(window).await?;
                continue;
            }
            if !more && self.windows_in_flight == 0 {
                return Ok(());
            }
            self.flush().await?;
            tokio::select! {
                biased;
                feedback = self.heard.recv() => match feedback {
                    Some(feedback) => self.hear(feedback),
                    // The reader has failed, and tells why.
                    None => return Ok(()),
                },
                window = self.appending.windows.next(), if may_begin => match window {
                    Some(window) => self.window(window).await?,
                    None => more = false,
                },
            }
        }
    }

    fn hear(&mut self, feedback: Feedback) {
        match feedback {
            Feedback::Again(singles) => self.again.extend(singles),
            Feedback::Finished => self.windows_in_flight -= 1,
            // Nothing waits for these any more.
            Feedback::Continue | Feedback::Declined => {}
        }
    }

    async fn window(&mut self, window: Outgoing) -> Result<(), Fault> {
        let window = Arc::new(window);
        self.windows_in_flight += 1;
        self.tell(Sent::Window(window.clone()));
        let mut alone = Vec::new();
        let mut together = Vec::new();
        for (index, message) in window.messages.iter().enumerate() {
            let size = message.body.size();
            match self.appending.limits.message_bytes_max {
                Some(max) if size > max => {
                    let text = format!(
                        "it has {size} octets, and the server takes at most {max} (APPENDLIMIT)"
                    );
                    self.tell(Sent::Withheld(window.clone(), index, text));
                }
                _ if self.arguments(message, Attempt::Whole).ordinary && self.is_sure(message) => {
                    together.push(index);
                }
                _ => alone.push(index),
            }
        }
        let multi = self.appending.limits.multiappend && !window.careful && together.len() > 1;
        if multi {
            self.multi(&window, together).await?;
        } else {
            // In the order of the window, which is the source's.
            alone.extend(together);
            alone.sort_unstable();
        }
        for index in alone {
            self.single(&window, index, Attempt::Whole, Form::Plain, window.careful).await?;
        }
        Ok(())
    }

    fn arguments(&self, message: &OutgoingMessage, attempt: Attempt) -> Arguments {
        self.appending.storable.arguments(&message.record.flags, message.record.date, attempt)
    }

    /// Whether a message may go with a non-synchronising literal, as far as its body says.
    fn is_sure(&self, message: &OutgoingMessage) -> bool {
        matches!(&message.body, Body::Whole(octets)
            if octets.len() as u64 <= self.appending.limits.non_synchronising_bytes_max
                // Zero octets are refused by Dovecot, which is no reason to lose a window's others.
                && !octets.is_empty())
    }

    async fn multi(&mut self, window: &Arc<Outgoing>, indexes: Vec<usize>) -> Result<(), Fault> {
        let tag = self.next_tag();
        let arguments = indexes.iter().map(|index| &window.messages[*index]);
        let arguments = arguments.map(|message| self.arguments(message, Attempt::Whole));
        let arguments: Vec<Arguments> = arguments.collect();
        let keywords: BTreeSet<&String> =
            arguments.iter().filter(|one| !one.proven).flat_map(|one| &one.keywords).collect();
        self.tell(Sent::Command(Command {
            tag,
            window: window.clone(),
            kind: Kind::Multi {
                indexes: indexes.clone(),
                keywords: keywords.into_iter().cloned().collect(),
            },
            sent: Instant::now(),
        }));
        self.out.extend_from_slice(format!("M{tag} APPEND {}", self.appending.name).as_bytes());
        for (index, arguments) in indexes.into_iter().zip(arguments) {
            let Body::Whole(octets) = &window.messages[index].body else {
                continue;
            };
            let head = format!("{} {{{}+}}\r\n", arguments.text, octets.len());
            self.out.extend_from_slice(head.as_bytes());
            self.body(octets).await?;
        }
        self.out.extend_from_slice(b"\r\n");
        Ok(())
    }

    async fn single(
        &mut self,
        window: &Arc<Outgoing>,
        index: usize,
        attempt: Attempt,
        form: Form,
        careful: bool,
    ) -> Result<(), Fault> {
        let message = &window.messages[index];
        let arguments = self.arguments(message, attempt);
        let synchronising = careful || !arguments.ordinary || !self.is_sure(message);
        let tag = self.next_tag();
        self.tell(Sent::Command(Command {
            tag,
            window: window.clone(),
            kind: Kind::Single {
                index,
                attempt,
                form,
                keywords: arguments.keywords,
                synchronising,
            },
            sent: Instant::now(),
        }));
        let plus = if synchronising { "" } else { "+" };
        let tilde = if form == Form::Binary { "~" } else { "" };
        let head = format!(
            "M{tag} APPEND {}{} {tilde}{{{}{plus}}}\r\n",
            self.appending.name,
            arguments.text,
            message.body.size()
        );
        self.out.extend_from_slice(head.as_bytes());
        if synchronising && !self.may_send_literal().await? {
            return Ok(());
        }
        match &message.body {
            Body::Whole(octets) => self.body(octets).await?,
            Body::Streamed { body, identity, .. } => {
                let Some(body) = body.lock().await.take() else {
                    let cause = "a streamed message cannot be sent twice on one connection";
                    return Err(Fault::session(ACTION, cause));
                };
                self.stream(window, body, identity).await?;
            }
        }
        self.out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Waits for the server's word on a synchronising literal.
    async fn may_send_literal(&mut self) -> Result<bool, Fault> {
        self.flush().await?;
        loop {
            match self.heard.recv().await {
                Some(Feedback::Continue) => return Ok(true),
                Some(Feedback::Declined) => return Ok(false),
                Some(other) => self.hear(other),
                None => return Err(Fault::session(ACTION, "the connection ended")),
            }
        }
    }

    async fn stream(
        &mut self,
        window: &Arc<Outgoing>,
        mut body: Streamed,
        identity: &OnceLock<Identity>,
    ) -> Result<(), Fault> {
        let mut left = body.size;
        while let Some(chunk) = body.next().await {
            let (octets, is_last) = match chunk {
                Chunk::Data(octets) => (octets, false),
                Chunk::Last(octets, digests) => {
                    // Set before the last octet leaves: the answer may come at once.
                    let _ = identity.set(digests);
                    (octets, true)
                }
            };
            left = left.saturating_sub(octets.len() as u64);
            window.admission.flow(octets.len() as u64).await;
            self.write(&octets).await?;
            self.flush().await?;
            if is_last && left == 0 {
                return Ok(());
            }
        }
        // The literal stays unfinished: the server never commits it (RFC 9051 section 6.3.12).
        Err(Fault::session("stream a message", "the source ended in the middle of it"))
    }

    async fn body(&mut self, octets: &Octets) -> Result<(), Fault> {
        for piece in octets.pieces() {
            self.write(piece).await?;
        }
        Ok(())
    }

    async fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        if self.out.len() + octets.len() > WRITE_BYTES {
            self.write_out().await?;
        }
        if octets.len() > WRITE_BYTES {
            return self.writer.write(octets).await.map_err(broken);
        }
        self.out.extend_from_slice(octets);
        Ok(())
    }

    async fn write_out(&mut self) -> Result<(), Fault> {
        self.writer.write(&self.out).await.map_err(broken)?;
        self.out.clear();
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Fault> {
        if !self.out.is_empty() {
            self.write_out().await?;
        }
        self.writer.flush().await.map_err(broken)
    }

    fn next_tag(&mut self) -> u64 {
        self.tag += 1;
        self.tag
    }

    fn tell(&self, sent: Sent) {
        // The reader's end is gone only when it failed, which the next wait shows.
        let _ = self.sent.send(sent);
    }
}

struct Reader<'a> {
    reader: BulkReader<'a>,
    appending: &'a Appending,
    feedback: mpsc::UnboundedSender<Feedback>,
    /// The windows in flight.
    states: VecDeque<Answered>,
    slowest: Duration,
}

impl Reader<'_> {
    async fn run(&mut self, mut commands: mpsc::UnboundedReceiver<Sent>) -> Result<(), Fault> {
        // Nothing is read while nothing is in flight: no wait without a reason.
        while let Some(sent) = commands.recv().await {
            match sent {
                // One that is not left is only slower.
                Sent::Unselect => drop(self.status_of(0, false).await?),
                Sent::Window(window) => {
                    let answers = vec![None; window.messages.len()];
                    self.states.push_back(Answered { window, answers });
                }
                Sent::Withheld(window, index, text) => {
                    self.answer(&window, index, Answer::Refused(text)).await?;
                }
                Sent::Command(command) => {
                    let synchronising =
                        matches!(command.kind, Kind::Single { synchronising: true, .. });
                    let status = self.status_of(command.tag, synchronising).await?;
                    self.slowest = self.slowest.max(command.sent.elapsed());
                    self.completed(command, status).await?;
                }
            }
        }
        Ok(())
    }

    /// Reads to the tagged status of the oldest command.
    async fn status_of(&mut self, tag: u64, synchronising: bool) -> Result<Status, Fault> {
        let mut asked_for = false;
        loop {
            let response = match self.reader.response(RESPONSE_LITERAL_BYTES_MAX).await {
                Ok(Incoming::Response(response)) => response,
                Ok(Incoming::Large { literal_bytes, .. }) => {
                    self.reader.discard(literal_bytes).await.map_err(broken)?;
                    continue;
                }
                Err(error) => return Err(broken(error)),
            };
            if response.starts_with(b"+") {
                if !synchronising || asked_for {
                    return Err(Fault::session(ACTION, "the server asked for a literal twice"));
                }
                asked_for = true;
                let _ = self.feedback.send(Feedback::Continue);
                continue;
            }
            if let Some((told, status)) = reply::tagged(&response) {
                if told != format!("M{tag}").as_bytes() {
                    return Err(Fault::session(ACTION, "the server answered an unknown tag"));
                }
                if synchronising && !asked_for {
                    let _ = self.feedback.send(Feedback::Declined);
                }
                return Ok(status);
            }
            if let Untagged::Bye(status) = Untagged::parse(&response) {
                return Err(Fault::session(ACTION, Refusal(status)));
            }
        }
    }

    async fn completed(&mut self, command: Command, status: Status) -> Result<(), Fault> {
        let Command { window, kind, .. } = command;
        if status.kind == StatusKind::Ok {
            return self.stored(&window, kind, &status).await;
        }
        let non_synchronising =
            matches!(kind, Kind::Multi { .. } | Kind::Single { synchronising: false, .. });
        if status.kind == StatusKind::Bad && non_synchronising {
            // It may now be reading the message as commands. What it made of it is in doubt.
            return Err(Fault::session(ACTION, Refusal(status)));
        }
        match reply::append_refusal(&status) {
            Refused::Message => self.declined(&window, kind, &status).await,
            // Together they are too much: alone, some of them fit.
            Refused::Quota if matches!(kind, Kind::Multi { .. }) => {
                self.declined(&window, kind, &status).await
            }
            meaning => {
                self.not_now(&window, &kind);
                Err(stopped(meaning, status))
            }
        }
    }

    async fn stored(
        &mut self,
        window: &Arc<Outgoing>,
        kind: Kind,
        status: &Status,
    ) -> Result<(), Fault> {
        let (indexes, keywords) = match kind {
            Kind::Multi { indexes, keywords } => (indexes, keywords),
            Kind::Single { index, attempt, keywords, .. } => {
                if attempt > Attempt::Whole {
                    let flags = &window.messages[index].record.flags;
                    let whole = self.appending.storable.arguments(flags, None, Attempt::Whole);
                    let left_out = whole.keywords.into_iter().filter(|k| !keywords.contains(k));
                    self.appending.storable.refused(left_out);
                }
                (vec![index], keywords)
            }
        };
        self.appending.storable.accepted(&keywords);
        // A set of another size cannot be matched to the messages: then no UID is known.
        let uids = status
            .append_uids(indexes.len() + 1)
            .filter(|(_, uids)| uids.len() == indexes.len() && uids.is_sorted());
        for (at, index) in indexes.into_iter().enumerate() {
            let uid = uids.as_ref().map(|(validity, uids)| (UidValidity(*validity), uids[at]));
            self.answer(window, index, Answer::Stored(uid)).await?;
        }
        Ok(())
    }

    /// The messages themselves were refused: a MULTIAPPEND is tried message by message, a message
    /// with less, and then it is refused for good.
    async fn declined(
        &mut self,
        window: &Arc<Outgoing>,
        kind: Kind,
        status: &Status,
    ) -> Result<(), Fault> {
        let again = |index, attempt, form| Single { window: window.clone(), index, attempt, form };
        match kind {
            Kind::Multi { indexes, .. } => {
                let singles = indexes.into_iter();
                let singles = singles.map(|index| again(index, Attempt::Whole, Form::Plain));
                let _ = self.feedback.send(Feedback::Again(singles.collect()));
                Ok(())
            }
            Kind::Single { index, attempt, form, .. } => {
                let message = &window.messages[index];
                let (flags, date) = (&message.record.flags, message.record.date);
                let next = self.appending.storable.next_attempt(attempt, flags, date);
                // The octets were refused, not the arguments before them, and they come only once.
                let next = next.filter(|_| !is_spent(&message.body));
                let next = next.map(|attempt| (attempt, form)).or_else(|| {
                    let may_be = form == Form::Plain && self.appending.limits.binary;
                    let is_it = may_be && has_nul(&message.body);
                    is_it.then_some((Attempt::Whole, Form::Binary))
                });
                match next {
                    Some((attempt, form)) => {
                        let singles = vec![again(index, attempt, form)];
                        let _ = self.feedback.send(Feedback::Again(singles));
                        Ok(())
                    }
                    None => {
                        let text = format!("the server said: {status}");
                        self.answer(window, index, Answer::Refused(text)).await
                    }
                }
            }
        }
    }

    fn not_now(&mut self, window: &Arc<Outgoing>, kind: &Kind) {
        let indexes = match kind {
            Kind::Multi { indexes, .. } => indexes.clone(),
            Kind::Single { index, .. } => vec![*index],
        };
        if let Some(state) = self.state(window) {
            for index in indexes {
                state.answers[index] = Some(Answer::NotNow);
            }
        }
    }

    async fn answer(
        &mut self,
        window: &Arc<Outgoing>,
        index: usize,
        answer: Answer,
    ) -> Result<(), Fault> {
        let Some(state) = self.state(window) else {
            return Ok(());
        };
        state.answers[index] = Some(answer);
        if state.answers.iter().any(Option::is_none) {
            return Ok(());
        }
        let at = self.states.iter().position(|state| Arc::ptr_eq(&state.window, window));
        if let Some(answered) = at.and_then(|at| self.states.remove(at)) {
            let _ = self.feedback.send(Feedback::Finished);
            self.appending.answers.send(answered).await.map_err(|_| {
                Fault::session(ACTION, "nobody takes the outcome of what was appended")
            })?;
        }
        Ok(())
    }

    fn state(&mut self, window: &Arc<Outgoing>) -> Option<&mut Answered> {
        self.states.iter_mut().find(|state| Arc::ptr_eq(&state.window, window))
    }

    /// Tells what is known of windows that are not through.
    async fn tell_unfinished(&mut self) {
        for state in std::mem::take(&mut self.states) {
            let _ = self.appending.answers.send(state).await;
        }
    }
}

/// The fault that ends the appending for a reason that is not the message's.
fn stopped(meaning: Refused, status: Status) -> Fault {
    let (scope, remedy) = match meaning {
        Refused::Quota => (Scope::Account, Remedy::Nothing),
        Refused::Later(pause) => (Scope::Session, Remedy::Wait(pause)),
        // The next try finds what is there, and creates what is not.
        Refused::MissingMailbox | Refused::Message => (Scope::Session, Remedy::Reconnect),
    };
    let about = if meaning == Refused::Quota { About::Quota } else { About::Server };
    Fault::new(scope, remedy, ACTION, Refusal(status)).about(about)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::super::helping::Windows;
    use super::super::storable::Storable;
    use super::*;
    use crate::config::Config;
    use crate::imap::wire::Wire;
    use crate::ledger::{WindowId, WindowMessage};
    use crate::mail::{Flags, InternalDate, Uid};
    use crate::throttle::{Memory, Throttle};

    const SYNCHRONISING: Limits = Limits {
        multiappend: false,
        binary: false,
        non_synchronising_bytes_max: 0,
        message_bytes_max: None,
        windows_in_flight_max: 4,
    };
    const PLUS: Limits = Limits { non_synchronising_bytes_max: 1000, ..SYNCHRONISING };
    const MULTI: Limits = Limits { multiappend: true, ..PLUS };

    fn message(uid: u32, body: &'static str) -> OutgoingMessage {
        let record = WindowMessage {
            uid: Uid(uid),
            size: body.len() as u64,
            date: None,
            flags: Flags::default(),
            identity: Some(Identity::of(body.as_bytes())),
            risky: false,
            troubles: crate::history::Troubles::default(),
            changed: None,
        };
        let body = Body::Whole(body.into());
        OutgoingMessage { record, body }
    }

    /// Waits for the first words, then says the second, and so on; gives all it heard.
    async fn serve(mut server: DuplexStream, script: &[(&str, &str)]) -> String {
        let (mut heard, mut from) = (Vec::new(), 0);
        'script: for (wanted, said) in script {
            loop {
                if let Some(at) = memchr::memmem::find(&heard[from..], wanted.as_bytes()) {
                    from += at + wanted.len();
                    break;
                }
                if server.read_buf(&mut heard).await.expect("readable") == 0 {
                    break 'script;
                }
            }
            server.write_all(said.as_bytes()).await.expect("writable");
        }
        while server.read_buf(&mut heard).await.is_ok_and(|count| count > 0) {}
        String::from_utf8(heard).expect("what was sent is ASCII")
    }

    /// What the server heard, what is known of each message, and the fault.
    async fn append_all(
        limits: Limits,
        messages: Vec<OutgoingMessage>,
        script: &[(&str, &str)],
    ) -> (String, Vec<String>, Option<String>) {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let mut wire = Wire::new(Box::new(ours), Duration::from_secs(60));
        let throttle = Throttle::new(&Config::default(), Memory::new(1 << 20), &[]);
        let (send, windows) = mpsc::channel(1);
        let (tell, mut told) = mpsc::channel(8);
        let window = Outgoing {
            id: WindowId(1),
            messages,
            careful: false,
            admission: throttle.admit(1, 1, false).await,
        };
        send.try_send(window).expect("there is room");
        drop(send);
        let work = async {
            let outcome = {
                let (reader, writer) = wire.lend();
                let appending = Appending {
                    name: "INBOX".to_owned(),
                    limits,
                    storable: Arc::new(Storable::new(None)),
                    windows: Windows::new(windows),
                    answers: tell,
                };
                append(reader, writer, &appending, false).await.0
            };
            drop(wire);
            outcome
        };
        let answers = async {
            let answered = told.recv().await.expect("each window is told of");
            let answer = |answer: &Option<Answer>| match answer {
                None => "in doubt".to_owned(),
                Some(Answer::Stored(None)) => "stored".to_owned(),
                Some(Answer::Stored(Some((_, uid)))) => format!("stored {uid}"),
                Some(Answer::Refused(text)) => format!("refused: {text}"),
                Some(Answer::NotNow) => "not now".to_owned(),
            };
            answered.answers.iter().map(answer).collect()
        };
        let (outcome, answers, heard) = tokio::join!(work, answers, serve(theirs, script));
        (heard, answers, outcome.err().map(|fault| fault.chain()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_synchronising_literal_waits_for_the_plus_alone() {
        let script = [
            ("{4}\r\n", "* 5 EXISTS\r\n* OK still here\r\n+ go\r\n"),
            ("mail\r\n", "M1 OK [APPENDUID 1 9] done\r\n"),
        ];
        let (heard, answers, fault) =
            append_all(SYNCHRONISING, vec![message(1, "mail")], &script).await;
        assert_eq!(heard, "M1 APPEND INBOX {4}\r\nmail\r\n");
        assert_eq!((answers, fault), (vec!["stored 9".into()], None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_literal_is_not_sent() {
        let script =
            [("{4}\r\n", "M1 NO [TOOBIG] no\r\n"), ("{5}\r\n", "+\r\n"), ("\r\n", "M2 OK\r\n")];
        let messages = vec![message(1, "EVIL"), message(2, "mails")];
        let (heard, answers, fault) = append_all(SYNCHRONISING, messages, &script).await;
        assert!(!heard.contains("EVIL"), "{heard}");
        assert_eq!(answers, ["refused: the server said: NO [TOOBIG] no", "stored"]);
        assert_eq!(fault, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bad_behind_a_message_that_was_sent_leaves_it_in_doubt() {
        for limits in [PLUS, MULTI] {
            let messages = vec![message(1, "mail"), message(2, "more")];
            let script = [("more\r\n", "M1 BAD what\r\n")];
            let (_, answers, fault) = append_all(limits, messages, &script).await;
            assert_eq!(answers, ["in doubt", "in doubt"]);
            assert!(fault.expect("the connection cannot go on").contains("BAD what"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_out_of_turn_end_the_connection() {
        for said in ["M9 OK done\r\n", "X OK\r\n", "+ more\r\n", "* BYE gone\r\n"] {
            let messages = vec![message(1, "mail")];
            let (_, answers, fault) = append_all(PLUS, messages, &[("mail\r\n", said)]).await;
            assert_eq!(answers, ["in doubt"], "{said}");
            assert!(fault.is_some(), "{said}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn uids_that_do_not_match_the_messages_are_not_believed() {
        for (code, expected) in [
            ("[APPENDUID 1 5:6]", ["stored 5", "stored 6"]),
            ("[APPENDUID 1 5]", ["stored", "stored"]),
            ("[APPENDUID 1 5:7]", ["stored", "stored"]),
            ("[APPENDUID 1 0:1]", ["stored", "stored"]),
            ("[APPENDUID x 5:6]", ["stored", "stored"]),
            ("", ["stored", "stored"]),
        ] {
            let messages = vec![message(1, "mail"), message(2, "more")];
            let said = format!("M1 OK {code} done\r\n");
            let (heard, answers, fault) =
                append_all(MULTI, messages, &[("more\r\n", said.as_str())]).await;
            assert_eq!(heard, "M1 APPEND INBOX {4+}\r\nmail {4+}\r\nmore\r\n");
            assert_eq!((answers, fault), (expected.map(str::to_owned).to_vec(), None), "{code}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_multiappend_is_tried_message_by_message() {
        let script = [
            ("more\r\n", "M1 NO one of them is bad\r\n"),
            ("{4}\r\n", "M2 NO this one\r\n"),
            ("{4}\r\n", "+ go\r\n"),
            ("more\r\n", "M3 OK [APPENDUID 1 7] done\r\n"),
        ];
        let messages = vec![message(1, "mail"), message(2, "more")];
        let (_, answers, fault) = append_all(MULTI, messages, &script).await;
        assert_eq!(answers, ["refused: the server said: NO this one", "stored 7"]);
        assert_eq!(fault, None);
    }

    #[tokio::test(start_paused = true)]
    async fn nul_that_is_refused_is_sent_as_binary_where_that_is_offered() {
        let script = [
            ("a\0b\r\n", "M1 NO Message contains NUL characters\r\n"),
            ("{3}\r\n", "+ go\r\n"),
            ("a\0b\r\n", "M2 OK [APPENDUID 1 7] done\r\n"),
        ];
        let binary = Limits { binary: true, ..PLUS };
        let (heard, answers, fault) = append_all(binary, vec![message(1, "a\0b")], &script).await;
        assert_eq!(heard, "M1 APPEND INBOX {3+}\r\na\0b\r\nM2 APPEND INBOX ~{3}\r\na\0b\r\n");
        assert_eq!((answers, fault), (vec!["stored 7".into()], None));
        let (_, answers, _) = append_all(PLUS, vec![message(1, "a\0b")], &script[..1]).await;
        assert_eq!(answers, ["refused: the server said: NO Message contains NUL characters"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_account_takes_nothing_more() {
        let script = [
            // Together they are too much; then the first one alone is.
            ("more\r\n", "M1 NO [OVERQUOTA] full\r\n"),
            ("{4}\r\n", "M2 NO [OVERQUOTA] full\r\n"),
        ];
        let messages = vec![message(1, "mail"), message(2, "more")];
        let (heard, answers, fault) = append_all(MULTI, messages, &script).await;
        assert_eq!(answers[0], "not now");
        assert!(fault.expect("told").contains("OVERQUOTA"));
        let (_, afterwards) = heard.split_once("M2 APPEND").expect("the first one alone");
        assert!(!afterwards.contains("mail"), "{heard}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_odd_goes_alone_and_waits() {
        let mut odd = message(1, "mail");
        odd.record.date = Some(InternalDate::new(-5, 0));
        let script = [
            ("{4}\r\n", "M1 NO bad date\r\n"),
            ("{4}\r\n", "+ go\r\n"),
            ("mail\r\n", "M2 OK [APPENDUID 1 7] done\r\n"),
        ];
        let (heard, answers, fault) = append_all(MULTI, vec![odd], &script).await;
        let whole = "M1 APPEND INBOX \"31-Dec-1969 23:59:55 +0000\" {4}\r\n";
        assert_eq!(heard, format!("{whole}M2 APPEND INBOX {{4}}\r\nmail\r\n"));
        assert_eq!((answers, fault), (vec!["stored 7".into()], None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_streamed_message_that_breaks_off_is_not_finished() {
        let (pieces, chunks) = mpsc::channel(2);
        pieces.try_send(Chunk::Data("half".into())).expect("room");
        drop(pieces);
        let mut streamed = message(1, "");
        streamed.body = Body::Streamed {
            body: tokio::sync::Mutex::new(Some(Streamed::new(8, chunks))),
            identity: OnceLock::new(),
            size: 8,
        };
        let (heard, answers, fault) =
            append_all(PLUS, vec![streamed], &[("{8}\r\n", "+ go\r\n")]).await;
        assert_eq!(heard, "M1 APPEND INBOX {8}\r\nhalf");
        assert_eq!(answers, ["in doubt"]);
        assert!(fault.expect("told").contains("the source ended"));
    }
}
