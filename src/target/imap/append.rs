//! APPEND of windows, several in flight.
//!
//! A writer and a reader run together on the two halves of one connection. The writer sends a
//! window as one MULTIAPPEND (RFC 3502) or message by message; literals are non-synchronising where
//! the server announced so (RFC 7888) and the arguments are ordinary (see [`super::storable`]),
//! else synchronising. The header of the next APPEND rides behind the body before it, so that a
//! synchronising literal costs one round trip and not two. The reader matches answers to commands.
//! What the writer must know (go on, send again, done) comes back to it from the reader.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use self::reader::Reader;
use self::writer::Writer;
use super::helping::Appending;
use super::storable::Attempt;
use crate::fault::Fault;
use crate::imap::download::{Asked, Seen};
use crate::imap::exec::Capabilities;
use crate::imap::reply::Refusal;
use crate::imap::wire::{BulkReader, BulkWriter};
use crate::mail::Uid;
use crate::target::{Answer, Outgoing};

/// Larger messages go with a synchronising literal, unless the server announced a higher limit.
const SURE_BYTES_MAX: u64 = 1024 * 1024;
/// How large a non-synchronising literal may be under LITERAL- (RFC 7888 section 5).
const LITERAL_MINUS_BYTES_MAX: u64 = 4096;
/// How long answers may still arrive after the writer failed.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
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

/// What is done with the open mailbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Around {
    /// Whether it is left first.
    pub(super) leaves: bool,
    /// It is selected again and looked at behind the last of so many messages, from the lowest UID on that one
    /// of them can get.
    pub(super) looks: Option<(usize, Uid)>,
}

/// What came of appending.
pub(super) struct Appended {
    pub(super) outcome: Result<(), Fault>,
    /// The longest wait for an answer.
    pub(super) slowest: Duration,
    /// What a look behind the last message showed, if there was one.
    pub(super) shown: Option<Seen>,
}

/// Appends windows until there are no more.
pub(super) async fn append(
    reader: BulkReader<'_>,
    writer: BulkWriter<'_>,
    appending: &Appending,
    around: Around,
) -> Appended {
    let (sent, commands) = mpsc::unbounded_channel(); // Bounded by the windows in flight.
    let (feedback, heard) = mpsc::unbounded_channel(); // Likewise.
    let mut writer = Writer::new(writer, appending, sent, heard);
    let mut reader = Reader::new(reader, appending, feedback);
    if around.leaves {
        writer.unselect();
    }
    if let Some((messages, lo)) = around.looks {
        writer.look_behind(messages, lo);
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
    reader.appended(outcome)
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
    /// Nothing more is to be sent: what is under way is ended, so that the connection can go on.
    Stop,
}

/// From the writer to the reader.
enum Sent {
    /// The open mailbox is left (RFC 3691).
    Unselect,
    /// The open mailbox is looked at.
    Look(Asked),
    /// A window begins; its commands follow.
    Window(Arc<Outgoing>),
    /// This message will not be sent (again), and what is to be said of it.
    Withheld(Arc<Outgoing>, usize, Answer),
    /// A command was begun.
    Command(Command),
}
