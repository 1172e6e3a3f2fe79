//! Matches answers to commands, and tells the writer what it must know.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::super::helping::Appending;
use super::super::storable::Attempt;
use super::{ACTION, Appended, Command, Feedback, Form, Kind, Sent, Single, broken};
use crate::fault::{About, Fault, Remedy, Scope};
use crate::imap::download::{self, Seen};
use crate::imap::reply::{self, Refusal, Refused, Status, StatusKind, Untagged};
use crate::imap::wire::{BulkReader, Incoming};
use crate::mail::UidValidity;
use crate::target::{Answer, Answered, Body, Outgoing};

/// No response to an APPEND is larger.
const RESPONSE_LITERAL_BYTES_MAX: u64 = 64 * 1024;

pub(super) struct Reader<'a> {
    reader: BulkReader<'a>,
    appending: &'a Appending,
    feedback: mpsc::UnboundedSender<Feedback>,
    /// The windows in flight.
    states: VecDeque<Answered>,
    slowest: Duration,
    /// Why nothing more is to be sent.
    stopped: Option<Fault>,
    shown: Option<Seen>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        reader: BulkReader<'a>,
        appending: &'a Appending,
        feedback: mpsc::UnboundedSender<Feedback>,
    ) -> Self {
        let (states, slowest) = (VecDeque::new(), Duration::ZERO);
        let (stopped, shown) = (None, None);
        Self { reader, appending, feedback, states, slowest, stopped, shown }
    }

    /// All that came of it.
    pub(super) fn appended(self, outcome: Result<(), Fault>) -> Appended {
        let Self { slowest, shown, .. } = self;
        Appended { outcome, slowest, shown }
    }

    pub(super) async fn run(
        &mut self,
        mut commands: mpsc::UnboundedReceiver<Sent>,
    ) -> Result<(), Fault> {
        // Nothing is read while nothing is in flight: no wait without a reason.
        while let Some(sent) = commands.recv().await {
            match sent {
                // One that is not left is only slower.
                Sent::Unselect => drop(self.status_of(0, false).await?),
                Sent::Look(asked) => {
                    self.shown = Some(download::behind(&mut self.reader, asked).await?);
                }
                Sent::Window(window) => {
                    let answers = vec![None; window.messages.len()];
                    self.states.push_back(Answered { window, answers });
                }
                Sent::Withheld(window, index, answer) => {
                    self.answer(&window, index, answer).await?;
                }
                Sent::Command(command) => {
                    let synchronising =
                        matches!(command.kind, Kind::Single { synchronising: true, .. });
                    let status = self.status_of(command.tag, synchronising).await?;
                    self.slowest = self.slowest.max(command.sent.elapsed());
                    match self.completed(command, status).await {
                        Err(fault) if fault.scope == Scope::Account => self.stop(fault),
                        completed => completed?,
                    }
                }
            }
        }
        self.stopped.take().map_or(Ok(()), Err)
    }

    /// Has nothing more sent. The connection is sound, and stays so: it must not be left in the middle of a
    /// literal, of which the next command would become a part.
    fn stop(&mut self, fault: Fault) {
        self.stopped.get_or_insert(fault);
        let _ = self.feedback.send(Feedback::Stop);
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
                self.not_now(&window, &kind).await?;
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

    async fn not_now(&mut self, window: &Arc<Outgoing>, kind: &Kind) -> Result<(), Fault> {
        let indexes = match kind {
            Kind::Multi { indexes, .. } => indexes.clone(),
            Kind::Single { index, .. } => vec![*index],
        };
        for index in indexes {
            self.answer(window, index, Answer::NotNow).await?;
        }
        Ok(())
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
    pub(super) async fn tell_unfinished(&mut self) {
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

fn has_nul(body: &Body) -> bool {
    matches!(body, Body::Whole(octets)
        if octets.pieces().iter().any(|piece| memchr::memchr(0, piece).is_some()))
}

/// Whether a message was streamed, and cannot be sent again.
fn is_spent(body: &Body) -> bool {
    matches!(body, Body::Streamed { body, .. } if body.try_lock().is_ok_and(|body| body.is_none()))
}
