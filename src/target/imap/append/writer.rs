//! Sends windows, and what has to be sent again.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::helping::Appending;
use super::super::storable::{Arguments, Attempt};
use super::{ACTION, Command, Feedback, Form, Kind, Sent, Single, broken};
use crate::fault::Fault;
use crate::identity::Identity;
use crate::imap::download;
use crate::imap::outbox::Outbox;
use crate::imap::wire::BulkWriter;
use crate::mail::Uid;
use crate::octets::Octets;
use crate::source::{Chunk, Streamed};
use crate::target::{Answer, Body, Outgoing, OutgoingMessage};

/// Octets gathered before they are written.
const WRITE_BYTES: usize = 128 * 1024;

pub(super) struct Writer<'a> {
    writer: BulkWriter<'a>,
    appending: &'a Appending,
    sent: mpsc::UnboundedSender<Sent>,
    heard: mpsc::UnboundedReceiver<Feedback>,
    again: VecDeque<Single>,
    windows_in_flight: usize,
    /// Whether nothing more is to be sent.
    is_stopped: bool,
    look: Option<Look>,
    tag: u64,
    out: Outbox,
}

/// A look at the mailbox behind its last message.
struct Look {
    /// Messages that are still to come.
    messages: usize,
    lo: Uid,
    /// The UID that the next message gets, most likely.
    next: Uid,
    /// Those of the messages that are to be compared.
    compared: Vec<Uid>,
}

impl Look {
    fn sends(&mut self, message: &OutgoingMessage) {
        if message.is_compared {
            self.compared.push(self.next);
        }
        self.next = self.next.next();
    }
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        writer: BulkWriter<'a>,
        appending: &'a Appending,
        sent: mpsc::UnboundedSender<Sent>,
        heard: mpsc::UnboundedReceiver<Feedback>,
    ) -> Self {
        Self {
            writer,
            appending,
            sent,
            heard,
            again: VecDeque::new(),
            windows_in_flight: 0,
            is_stopped: false,
            look: None,
            tag: 0,
            out: Outbox::default(),
        }
    }

    pub(super) fn unselect(&mut self) {
        self.out.put(b"M0 UNSELECT\r\n");
        self.tell(Sent::Unselect);
    }

    pub(super) fn look_behind(&mut self, messages: usize, lo: Uid) {
        self.look = Some(Look { messages, next: lo, lo, compared: Vec::new() });
    }

    /// Looks at the mailbox, once nothing more is to come; what is sent later all the same is looked for by
    /// whoever wants to know.
    fn look(&mut self) {
        if let Some(Look { lo, next, compared, .. }) = self.look.take()
            && next > lo
            && !self.is_stopped
        {
            let asked = download::look_behind(&self.appending.name, lo, &compared);
            self.out.put(asked.lines.as_bytes());
            self.tell(Sent::Look(asked));
        }
    }

    /// Consumes itself: that no more commands come is how the reader knows the end.
    pub(super) async fn run(mut self) -> Result<(), Fault> {
        let mut more = true;
        loop {
            self.listen();
            if self.is_stopped && more {
                self.appending.windows.end().await;
                more = false;
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
            self.flush().await?;
            if !more && self.windows_in_flight == 0 {
                return Ok(());
            }
            tokio::select! {
                biased;
                feedback = self.heard.recv() => match feedback {
                    Some(feedback) => self.hear(feedback),
                    // The reader has failed, and tells why.
                    None => return Ok(()),
                },
                window = self.appending.windows.next(), if may_begin => match window {
                    Some(window) => self.window(window).await?,
                    None => {
                        more = false;
                        self.look();
                    }
                },
            }
        }
    }

    /// Hears what was said meanwhile.
    fn listen(&mut self) {
        while let Ok(feedback) = self.heard.try_recv() {
            self.hear(feedback);
        }
    }

    fn hear(&mut self, feedback: Feedback) {
        match feedback {
            Feedback::Again(singles) => self.again.extend(singles),
            Feedback::Finished => self.windows_in_flight -= 1,
            Feedback::Stop => self.is_stopped = true,
            // Nothing waits for these any more.
            Feedback::Continue | Feedback::Declined => {}
        }
        if self.is_stopped {
            for Single { window, index, .. } in std::mem::take(&mut self.again) {
                self.tell(Sent::Withheld(window, index, Answer::NotNow));
            }
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
                    self.tell(Sent::Withheld(window.clone(), index, Answer::Refused(text)));
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
            self.listen();
            if self.is_stopped {
                self.tell(Sent::Withheld(window.clone(), index, Answer::NotNow));
                continue;
            }
            if let Some(look) = &mut self.look {
                look.sends(&window.messages[index]);
            }
            self.single(&window, index, Attempt::Whole, Form::Plain, window.careful).await?;
        }
        if let Some(look) = &mut self.look {
            look.messages = look.messages.saturating_sub(window.messages.len());
            if look.messages == 0 {
                self.look();
            }
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
        if let Some(look) = &mut self.look {
            indexes.iter().for_each(|index| look.sends(&window.messages[*index]));
        }
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
        self.out.put(format!("M{tag} APPEND {}", self.appending.name).as_bytes());
        for (index, arguments) in indexes.into_iter().zip(arguments) {
            let Body::Whole(octets) = &window.messages[index].body else {
                continue;
            };
            let head = format!("{} {{{}+}}\r\n", arguments.text, octets.len());
            self.out.put(head.as_bytes());
            self.body(octets).await?;
        }
        self.out.put(b"\r\n");
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
        self.out.put(head.as_bytes());
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
        self.out.put(b"\r\n");
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

    async fn write(&mut self, octets: &Bytes) -> Result<(), Fault> {
        if self.out.remaining() + octets.len() > WRITE_BYTES {
            self.write_out().await?;
        }
        self.out.put_piece(octets);
        Ok(())
    }

    async fn write_out(&mut self) -> Result<(), Fault> {
        self.writer.write_out(&mut self.out).await.map_err(broken)
    }

    async fn flush(&mut self) -> Result<(), Fault> {
        if self.out.has_remaining() {
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
