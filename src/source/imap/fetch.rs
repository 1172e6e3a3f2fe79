//! FETCH of windows, several in flight, believed only after a NOOP.
//!
//! Each window is `UID FETCH` and `NOOP` in one write. Between them no server may tell of an
//! EXPUNGE, so one that comes before the NOOP's OK can be of a message just fetched, whose content
//! some servers (Courier) then made up: it is not handed on.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Admitted, Fetched, said};
use crate::fault::Fault;
use crate::identity::{Identity, IdentityHasher};
use crate::imap::download::attributes_around;
use crate::imap::reply::{self, Refusal, StatusKind, Untagged, uid_set};
use crate::imap::wire::{BulkReader, BulkWriter, Incoming};
use crate::mail::{Message, MessageInfo, Uid};
use crate::mutant::{self, Mutant};
use crate::octets::Octets;
use crate::plan::windows::Owed;
use crate::source::{Chunk, Missing, MissingCause, Streamed};

/// Windows asked for and not yet read.
const IN_FLIGHT_MAX: usize = 3;
/// Larger bodies are held in the pieces in which they come.
const PIECE_BYTES: u64 = 32 * 1024;
/// Pieces of a streamed body between the two connections.
const CHUNKS_MAX: usize = 4;
/// The last octets of a streamed body, kept back until it can be believed.
const HELD_BACK_BYTES: u64 = 1024;
/// How much of a body that nobody wants is read to keep the connection.
const READ_PAST_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// What a window may bring beyond what was announced, in percent, and in bytes.
const EXCESS_PERCENT: u64 = 25;
const EXCESS_BYTES: u64 = 64 * 1024;

/// What bodies are fetched with.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Larger ones are streamed, in octets.
    pub(super) body_bytes_max: u64,
    /// Whether the flags that come with a body are newer than the scan's.
    pub(super) takes_flags: bool,
}

pub(super) async fn fetch(
    reader: BulkReader<'_>,
    writer: BulkWriter<'_>,
    mut windows: mpsc::Receiver<Admitted>,
    fetched: mpsc::Sender<Fetched>,
    limits: Limits,
) -> Result<(), Fault> {
    let mut fetching = Fetching {
        reader,
        writer,
        fetched,
        limits,
        in_flight: VecDeque::new(),
        arriving: None,
        sequences: BTreeMap::new(),
        tag: 0,
    };
    let (mut waiting, mut more) = (None, true);
    loop {
        let admitted: Option<Admitted> = match waiting.take() {
            Some(admitted) if fetching.in_flight.is_empty() => Some(admitted),
            held => {
                waiting = held;
                let may_ask = more && waiting.is_none() && fetching.in_flight.len() < IN_FLIGHT_MAX;
                if !may_ask && fetching.in_flight.is_empty() {
                    return Ok(());
                }
                tokio::select! {
                    biased;
                    admitted = windows.recv(), if may_ask => {
                        more = admitted.is_some();
                        admitted
                    }
                    // Dropping it loses nothing: what was read is kept where it is read to.
                    incoming = fetching.incoming(), if !fetching.in_flight.is_empty() => {
                        fetching.take_in(incoming?).await?;
                        None
                    }
                }
            }
        };
        match admitted {
            // A streamed body has the connection for itself: behind it nothing could be believed
            // before it is through.
            Some(admitted) if admitted.window.streamed && !fetching.in_flight.is_empty() => {
                waiting = Some(admitted);
            }
            Some(admitted) => {
                let streamed = admitted.window.streamed;
                fetching.ask(admitted).await.map_err(broken)?;
                while streamed && !fetching.in_flight.is_empty() {
                    let incoming = fetching.incoming().await?;
                    fetching.take_in(incoming).await?;
                }
            }
            None => {}
        }
    }
}

fn broken(error: io::Error) -> Fault {
    Fault::session("read messages from the source", error)
}

struct Fetching<'a> {
    reader: BulkReader<'a>,
    writer: BulkWriter<'a>,
    fetched: mpsc::Sender<Fetched>,
    limits: Limits,
    in_flight: VecDeque<InFlight>,
    /// A body of which not all has come.
    arriving: Option<Arriving>,
    /// The sequence numbers of messages received and not yet believed.
    sequences: BTreeMap<u32, Uid>,
    tag: u64,
}

/// A body that is held in pieces.
#[derive(Default)]
struct Arriving {
    /// What the FETCH says before it.
    head: Bytes,
    octets: Octets,
    bytes_left: u64,
}

/// What came.
enum Came {
    Response(Bytes),
    /// A body in pieces, and what the FETCH says before and behind it.
    Body {
        head: Bytes,
        octets: Octets,
        tail: Bytes,
    },
    /// A body that is not to be held.
    Large {
        head: Bytes,
        literal_bytes: u64,
    },
}

struct InFlight {
    tag: u64,
    admitted: Admitted,
    messages: Vec<Message>,
    oversized: Vec<Missing>,
    /// Messages that came with two different bodies.
    contradicted: Vec<Uid>,
    /// What a refused FETCH said.
    said: Option<String>,
    bytes_left: u64,
}

impl Fetching<'_> {
    async fn ask(&mut self, admitted: Admitted) -> io::Result<()> {
        self.tag += 1;
        let tag = self.tag;
        let command = order(tag, &admitted.window.messages);
        let announced = admitted.window.bytes();
        self.in_flight.push_back(InFlight {
            tag,
            messages: Vec::with_capacity(admitted.window.messages.len()),
            oversized: Vec::new(),
            contradicted: Vec::new(),
            said: None,
            bytes_left: announced + announced * EXCESS_PERCENT / 100 + EXCESS_BYTES,
            admitted,
        });
        self.writer.write(command.as_bytes()).await?;
        self.writer.flush().await
    }

    /// Waits for one response. To drop it loses nothing.
    async fn incoming(&mut self) -> Result<Came, Fault> {
        if self.arriving.is_none() {
            let held_max = self.held_max();
            match self.reader.response(PIECE_BYTES.min(held_max)).await.map_err(broken)? {
                Incoming::Response(response) => return Ok(Came::Response(response)),
                Incoming::Large { head, literal_bytes } if literal_bytes > held_max => {
                    return Ok(Came::Large { head, literal_bytes });
                }
                Incoming::Large { head, literal_bytes: bytes_left } => {
                    self.arriving = Some(Arriving { head, octets: Octets::default(), bytes_left });
                }
            }
        }
        if let Some(Arriving { octets, bytes_left, .. }) = &mut self.arriving {
            while *bytes_left > 0 {
                let piece = self.reader.chunk(*bytes_left).await.map_err(broken)?;
                *bytes_left -= piece.len() as u64;
                octets.push(piece);
            }
        }
        let tail = self.rest_of_response().await?;
        let Arriving { head, octets, .. } = self.arriving.take().unwrap_or_default();
        Ok(Came::Body { head, octets, tail })
    }

    /// The largest body that is held.
    fn held_max(&self) -> u64 {
        let memory_left: u64 = self.in_flight.iter().map(|w| w.bytes_left).sum();
        // Larger ones are streamed, but for those that are to be held to be repaired.
        let held = self.in_flight.iter().filter(|window| !window.admitted.window.streamed);
        let largest = held.flat_map(|w| &w.admitted.window.messages).map(|owed| owed.info.size);
        self.limits.body_bytes_max.max(largest.max().unwrap_or(0)).min(memory_left)
    }

    async fn take_in(&mut self, came: Came) -> Result<(), Fault> {
        match came {
            Came::Response(response) => self.hear(response).await,
            Came::Body { head, octets, tail } => {
                let fetched = attributes_around(&head, &tail).unwrap_or_default();
                // Where another body came beside it, nobody can tell which it is.
                if fetched.body.as_ref().is_some_and(Bytes::is_empty)
                    && let Some(uid) = fetched.uid
                {
                    self.sequences.insert(fetched.sequence, uid);
                    self.take(uid, octets, &fetched);
                }
                Ok(())
            }
            Came::Large { head, literal_bytes } => self.large(head, literal_bytes).await,
        }
    }

    async fn hear(&mut self, response: Bytes) -> Result<(), Fault> {
        if let Some(fetched) = reply::Fetched::parse(&response) {
            if let (Some(uid), Some(body)) = (fetched.uid, &fetched.body) {
                self.sequences.insert(fetched.sequence, uid);
                self.take(uid, body.clone().into(), &fetched);
            }
            return Ok(());
        }
        if let Some((tag, status)) = reply::tagged(&response) {
            return self.tagged(tag, &status).await;
        }
        match Untagged::parse(&response) {
            Untagged::Expunge(sequence) => self.expunged(sequence),
            // Only after ENABLE QRESYNC, which we never send; then nothing can be matched.
            Untagged::Vanished => self.in_flight.iter_mut().for_each(|w| w.messages.clear()),
            Untagged::Bye(status) => {
                return Err(Fault::session("read messages from the source", Refusal(status)));
            }
            Untagged::Other => {}
        }
        Ok(())
    }

    /// A FETCH belongs to the window that asked for its UID, whatever comes between.
    fn take(&mut self, uid: Uid, body: Octets, fetched: &reply::Fetched) {
        let takes_flags = self.limits.takes_flags;
        for window in &mut self.in_flight {
            let owed = window.admitted.window.messages.iter().find(|m| m.info.uid == uid);
            let Some(owed) = owed else { continue };
            if body.is_empty() && owed.info.size > 0 {
                // A message that the server lists and cannot read (iCloud): as if it had not come.
                return;
            }
            if let Some(first) = window.messages.iter().find(|message| message.info.uid == uid) {
                if first.body != body {
                    // Which of them it is nobody can tell.
                    window.contradicted.push(uid);
                }
                return;
            }
            window.bytes_left = window.bytes_left.saturating_sub(body.len() as u64);
            let mut body = body;
            if mutant::is(Mutant::TrustSize) {
                body.truncate(usize::try_from(owed.info.size).unwrap_or(usize::MAX));
            }
            let info = as_fetched(&owed.info, fetched, body.len() as u64, takes_flags);
            window.messages.push(Message { info, body });
            return;
        }
    }

    /// A message is gone, and those after it have moved down by one.
    fn expunged(&mut self, sequence: u32) {
        if mutant::is(Mutant::IgnoreExpungeAfterFetch) {
            return;
        }
        if let Some(uid) = self.sequences.remove(&sequence) {
            for window in &mut self.in_flight {
                window.messages.retain(|message| message.info.uid != uid);
            }
        }
        let above = self.sequences.split_off(&sequence);
        self.sequences.extend(above.into_iter().map(|(number, uid)| (number - 1, uid)));
    }

    async fn tagged(&mut self, tag: &[u8], status: &reply::Status) -> Result<(), Fault> {
        let action = "read messages from the source";
        let Some(window) = self.in_flight.front_mut() else {
            return Err(Fault::session(action, "the server answered an unknown tag"));
        };
        if tag == format!("F{}", window.tag).as_bytes() {
            if status.kind != StatusKind::Ok {
                window.said = Some(said(status));
            }
            return Ok(());
        }
        if tag != format!("N{}", window.tag).as_bytes() || status.kind != StatusKind::Ok {
            return Err(Fault::session(action, Refusal(status.clone())));
        }
        if let Some(window) = self.in_flight.pop_front() {
            for message in &window.messages {
                self.sequences.retain(|_, uid| *uid != message.info.uid);
            }
            // Nobody takes it any more: the loop ends at its next turn.
            let _ = self.fetched.send(window.finish()).await;
        }
        Ok(())
    }

    /// A literal that is not to be held: streamed if it is the one message of its window, else read
    /// to nowhere, to be asked for again as what it is.
    async fn large(&mut self, head: Bytes, literal_bytes: u64) -> Result<(), Fault> {
        let streams = self.in_flight.front().is_some_and(|w| w.admitted.window.streamed);
        if streams && self.in_flight.len() == 1 {
            return self.stream(head, literal_bytes).await;
        }
        self.reader.discard(literal_bytes).await.map_err(broken)?;
        let tail = self.rest_of_response().await?;
        let Some(uid) = attributes_around(&head, &tail).and_then(|fetched| fetched.uid) else {
            return Ok(());
        };
        for window in &mut self.in_flight {
            if window.admitted.window.messages.iter().any(|m| m.info.uid == uid) {
                let cause = MissingCause::Oversized(literal_bytes);
                window.oversized.push(Missing { uid, cause });
            }
        }
        Ok(())
    }

    async fn rest_of_response(&mut self) -> Result<Bytes, Fault> {
        loop {
            match self.reader.response(self.limits.body_bytes_max).await.map_err(broken)? {
                Incoming::Response(rest) => return Ok(rest),
                Incoming::Large { literal_bytes, .. } => {
                    self.reader.discard(literal_bytes).await.map_err(broken)?;
                }
            }
        }
    }

    /// Hands a body on while it arrives, all but its end, and the end once it can be believed.
    async fn stream(&mut self, head: Bytes, size: u64) -> Result<(), Fault> {
        let Some(InFlight { tag, admitted, .. }) = self.in_flight.pop_front() else {
            return Ok(());
        };
        let asked = admitted.window.messages[0].info.clone();
        let (pieces, chunks) = mpsc::channel(CHUNKS_MAX);
        // Date and flags that come after the body would come too late: the scan's stand.
        let early = attributes_around(&head, &Bytes::from_static(b")\r\n")).unwrap_or_default();
        let info = as_fetched(&asked, &early, size, self.limits.takes_flags);
        let body = Streamed::new(size, chunks);
        let window = Fetched::Streamed { admitted, info, body };
        if self.fetched.send(window).await.is_err() {
            return Ok(());
        }
        let mut hasher = IdentityHasher::default();
        let mut left = size;
        while left > HELD_BACK_BYTES {
            let chunk = self.reader.chunk(left - HELD_BACK_BYTES).await.map_err(broken)?;
            left -= chunk.len() as u64;
            hasher.update(&chunk);
            if pieces.send(Chunk::Data(chunk)).await.is_err() {
                // The target will not have it.
                return self.read_past(tag, left).await;
            }
        }
        let mut end = Vec::with_capacity(usize::try_from(left).unwrap_or(0));
        while left > 0 {
            let chunk = self.reader.chunk(left).await.map_err(broken)?;
            left -= chunk.len() as u64;
            end.extend_from_slice(&chunk);
        }
        hasher.update(&end);
        let tail = self.rest_of_response().await?;
        let fetched = attributes_around(&head, &tail).unwrap_or_default();
        if fetched.body.is_none() {
            let cause = "it goes on behind the octets that the server announced";
            return Err(Fault::session(format!("stream UID {}", asked.uid), cause));
        }
        if fetched.uid != Some(asked.uid) || !self.is_believed(tag, fetched.sequence).await? {
            return Err(Fault::session(
                format!("stream UID {}", asked.uid),
                "the message was deleted while it was read",
            ));
        }
        let identity: Identity = hasher.finish();
        // Should the target be gone, its own fault tells.
        let _ = pieces.send(Chunk::Last(end.into(), identity)).await;
        Ok(())
    }

    /// Reads the rest of a body to nowhere, if that is less trouble than a new connection.
    async fn read_past(&mut self, tag: u64, left: u64) -> Result<(), Fault> {
        if left > READ_PAST_BYTES_MAX {
            return Err(Fault::session("stream a message", "the target did not take it"));
        }
        self.reader.discard(left).await.map_err(broken)?;
        self.rest_of_response().await?;
        self.is_believed(tag, 0).await.map(|_| ())
    }

    /// Waits for the NOOP behind a streamed FETCH.
    async fn is_believed(&mut self, tag: u64, sequence: u32) -> Result<bool, Fault> {
        let mut sequence = Some(sequence);
        let mut fetch_ok = false;
        loop {
            let response = self.rest_of_response().await?;
            if let Some((got, status)) = reply::tagged(&response) {
                let ok = status.kind == StatusKind::Ok;
                if got == format!("F{tag}").as_bytes() {
                    fetch_ok = ok;
                } else if got == format!("N{tag}").as_bytes() {
                    return Ok(fetch_ok && ok && sequence.is_some());
                } else {
                    let cause = "the server answered an unknown tag";
                    return Err(Fault::session("stream a message", cause));
                }
                continue;
            }
            match Untagged::parse(&response) {
                Untagged::Expunge(gone) => {
                    sequence = match sequence {
                        Some(number) if number == gone => None,
                        Some(number) if number > gone => Some(number - 1),
                        other => other,
                    };
                }
                Untagged::Vanished => sequence = None,
                Untagged::Bye(status) => {
                    return Err(Fault::session("stream a message", Refusal(status)));
                }
                Untagged::Other => {}
            }
        }
    }
}

impl InFlight {
    /// What came of a window, once the NOOP behind it was answered.
    fn finish(self) -> Fetched {
        let mut messages = self.messages;
        messages.retain(|message| !self.contradicted.contains(&message.info.uid));
        messages.sort_by_key(|message| message.info.uid);
        let mut missing = self.oversized;
        for owed in &self.admitted.window.messages {
            let uid = owed.info.uid;
            let came = messages.iter().any(|message| message.info.uid == uid);
            if !came && !missing.iter().any(|missing| missing.uid == uid) {
                let cause = MissingCause::NotSent { said: self.said.clone() };
                missing.push(Missing { uid, cause });
            }
        }
        Fetched::Whole { admitted: self.admitted, messages, missing }
    }
}

/// Asks for the bodies of a window, and for what may have changed since the scan. A date never does (RFC 9051 section
/// 2.3.1.1), and costs Dovecot as much as all the rest of a scan.
fn order(tag: u64, window: &[Owed]) -> String {
    let uids: Vec<Uid> = window.iter().map(|owed| owed.info.uid).collect();
    let are_dated = window.iter().all(|owed| owed.info.date.is_some());
    let date = if are_dated { "" } else { "INTERNALDATE " };
    format!("F{tag} UID FETCH {} (UID FLAGS {date}BODY.PEEK[])\r\nN{tag} NOOP\r\n", uid_set(&uids))
}

/// The scan's word on a message, made newer by what came with its body.
fn as_fetched(
    scanned: &MessageInfo,
    fetched: &reply::Fetched,
    size: u64,
    takes_flags: bool,
) -> MessageInfo {
    let flags = fetched.flags.as_ref().filter(|_| takes_flags);
    MessageInfo {
        uid: scanned.uid,
        size,
        date: scanned.date.or(fetched.date),
        flags: flags.unwrap_or(&scanned.flags).clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;
    use crate::config::Config;
    use crate::imap::wire::Wire;
    use crate::mail::{Flags, InternalDate};
    use crate::plan::windows::Window;
    use crate::throttle::{Memory, Throttle};

    /// Bodies above this are not held.
    const HELD_MAX: u64 = 100;

    fn window(uids: &[u32], size: u64) -> Window {
        let owed = |uid: &u32| {
            let info = MessageInfo { uid: Uid(*uid), size, date: None, flags: Flags::default() };
            Owed::new(info, crate::history::Troubles::default())
        };
        Window {
            messages: uids.iter().map(owed).collect(),
            streamed: size > HELD_MAX,
            careful: false,
        }
    }

    /// Says each piece when the NOOP of its number has come.
    async fn serve(mut server: DuplexStream, said: &[&str]) {
        let mut heard = Vec::new();
        for (at, said) in said.iter().enumerate() {
            let noop = format!("N{} NOOP\r\n", at + 1);
            while memchr::memmem::find(&heard, noop.as_bytes()).is_none() {
                if server.read_buf(&mut heard).await.expect("readable") == 0 {
                    return;
                }
            }
            server.write_all(said.as_bytes()).await.expect("writable");
        }
        // Open until the client has had enough.
        while server.read_buf(&mut heard).await.is_ok_and(|count| count > 0) {}
    }

    /// What comes of windows: `7=body`, `missing 8`, `large 9`, `streamed 7 whole`.
    async fn fetched(windows: Vec<Window>, said: &[&str]) -> (Vec<String>, Option<String>) {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let mut wire = Wire::new(Box::new(ours), Duration::from_secs(60));
        let throttle = Throttle::new(&Config::default(), Memory::new(1 << 20), &[]);
        let (admit, admitted) = mpsc::channel(windows.len().max(1));
        for window in windows {
            let admission = throttle.admit(1, window.bytes(), window.streamed).await;
            let admitted = Admitted { window, admission };
            admit.try_send(admitted).expect("there is room");
        }
        drop(admit);
        let (hand_on, mut handed) = mpsc::channel(1);
        let told = async {
            let mut told = Vec::new();
            while let Some(fetched) = handed.recv().await {
                tell(fetched, &mut told).await;
            }
            told
        };
        let work = async {
            let outcome = {
                let (reader, writer) = wire.lend();
                let limits = Limits { body_bytes_max: HELD_MAX, takes_flags: true };
                fetch(reader, writer, admitted, hand_on, limits).await
            };
            drop(wire);
            outcome
        };
        let (outcome, told, ()) = tokio::join!(work, told, serve(theirs, said));
        (told, outcome.err().map(|fault| fault.chain()))
    }

    async fn tell(fetched: Fetched, told: &mut Vec<String>) {
        match fetched {
            Fetched::Whole { messages, missing, .. } => {
                told.extend(
                    messages
                        .iter()
                        .map(|one| format!("{}={}", one.info.uid, one.body.whole().escape_ascii())),
                );
                told.extend(missing.iter().map(|one| match one.cause {
                    MissingCause::NotSent { .. } => format!("missing {}", one.uid),
                    MissingCause::Oversized(_) => format!("large {}", one.uid),
                }));
            }
            Fetched::Streamed { info, mut body, .. } => {
                let mut state = "broken";
                while let Some(chunk) = body.next().await {
                    if matches!(chunk, Chunk::Last(..)) {
                        state = "whole";
                    }
                }
                told.push(format!("streamed {} {state}", info.uid));
            }
        }
    }

    #[test]
    fn a_date_that_no_scan_has_told_is_asked_for_with_the_body() {
        let mut messages = window(&[7, 8], 1).messages;
        for owed in &mut messages {
            assert!(order(1, std::slice::from_ref(owed)).contains(" INTERNALDATE "));
            owed.info.date = Some(InternalDate::new(1, 0));
        }
        assert_eq!(order(2, &messages), "F2 UID FETCH 7:8 (UID FLAGS BODY.PEEK[])\r\nN2 NOOP\r\n");
    }

    const DONE: &str = "F1 OK\r\nN1 OK\r\n";

    /// B07, B08, B09
    #[tokio::test(start_paused = true)]
    async fn a_body_is_of_the_uid_it_names() {
        let said = [
            "* 9 EXISTS\r\n* 2 FETCH (BODY[] {1}\r\nb UID 8)\r\n* 1 FETCH (FLAGS (\\Seen))\r\n",
            "* 4 FETCH (UID 99 BODY[] {1}\r\nz)\r\n* 3 FETCH (BODY[] {1}\r\nx)\r\n",
            "* 1 FETCH (UID 7 FLAGS () BODY[] {1}\r\na)\r\n* 1 FETCH (UID 7 BODY[] {1}\r\na)\r\n",
            DONE,
        ]
        .concat();
        let (told, fault) = fetched(vec![window(&[7, 8, 9], 1)], &[&said]).await;
        assert_eq!(told, ["7=a", "8=b", "missing 9"]);
        assert_eq!(fault, None);
    }

    /// B09
    #[tokio::test(start_paused = true)]
    async fn a_message_that_comes_with_two_bodies_has_none() {
        let said = [
            "* 1 FETCH (UID 7 BODY[] {1}\r\na)\r\n* 1 FETCH (UID 7 BODY[] {1}\r\nq)\r\n",
            "* 1 FETCH (UID 7 BODY[] {1}\r\na)\r\n* 2 FETCH (UID 8 BODY[] {1}\r\nb)\r\n",
            DONE,
        ]
        .concat();
        let (told, fault) = fetched(vec![window(&[7, 8], 1)], &[&said]).await;
        assert_eq!((told, fault), (vec!["8=b".into(), "missing 7".into()], None));
    }

    /// B03, B10
    #[tokio::test(start_paused = true)]
    async fn a_message_expunged_before_the_noop_is_not_believed() {
        let said = [
            "* 1 FETCH (UID 7 BODY[] {1}\r\na)\r\n* 2 FETCH (UID 8 BODY[] {1}\r\nb)\r\n",
            "* 3 FETCH (UID 9 BODY[] {1}\r\nc)\r\nF1 OK\r\n* 1 EXPUNGE\r\n* 2 EXPUNGE\r\nN1 OK\r\n",
        ]
        .concat();
        let (told, fault) = fetched(vec![window(&[7, 8, 9], 1)], &[&said]).await;
        // The second EXPUNGE counts after the first: it is the third message.
        assert_eq!(told, ["8=b", "missing 7", "missing 9"]);
        assert_eq!(fault, None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_expunge_counts_for_every_window_in_flight() {
        let first = "* 1 FETCH (UID 7 BODY[] {1}\r\na)\r\n";
        let second = "* 2 FETCH (UID 8 BODY[] {1}\r\nb)\r\nF1 OK\r\n* 2 EXPUNGE\r\nN1 OK\r\nF2 OK\r\nN2 OK\r\n";
        let windows = vec![window(&[7], 1), window(&[8], 1)];
        let (told, fault) = fetched(windows, &[first, second]).await;
        assert_eq!((told, fault), (vec!["7=a".into(), "missing 8".into()], None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_larger_than_announced_is_not_held() {
        let large = "x".repeat(200);
        let said = format!(
            "* 1 FETCH (UID 7 BODY[] {{200}}\r\n{large})\r\n* 2 FETCH (BODY[] {{200}}\r\n{large} \
             UID 8)\r\n* 3 FETCH (UID 9 BODY[] {{1}}\r\nc)\r\n{DONE}"
        );
        let (told, fault) = fetched(vec![window(&[7, 8, 9], 1)], &[&said]).await;
        assert_eq!(told, ["9=c", "large 7", "large 8"]);
        assert_eq!(fault, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_in_pieces_is_whole_and_the_only_one_of_its_response() {
        let large = "x".repeat(100_000);
        let said = [
            &format!("* 1 FETCH (UID 7 FLAGS () BODY[] {{100000}}\r\n{large})\r\n"),
            &format!("* 2 FETCH (UID 8 BODY[] {{100000}}\r\n{large} BODY[] {{1}}\r\nb)\r\n"),
            &format!("* 3 FETCH (UID 9 BODY[] {{100000}}\r\n{large} more)\r\n{DONE}"),
        ];
        let said = said.map(String::as_str).concat();
        let window = Window { streamed: false, ..window(&[7, 8, 9], 100_000) };
        let (told, fault) = fetched(vec![window], &[&said]).await;
        assert_eq!(told, [&format!("7={large}"), "missing 8", "missing 9"]);
        assert_eq!(fault, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_streamed_body_ends_only_when_it_is_believed() {
        let body = "x".repeat(2000);
        let head = format!("* 1 FETCH (UID 7 BODY[] {{2000}}\r\n{body}");
        for (tail, expected) in [
            (" FLAGS ())\r\nF1 OK\r\nN1 OK\r\n", "streamed 7 whole"),
            (")\r\n* 2 EXPUNGE\r\nF1 OK\r\nN1 OK\r\n", "streamed 7 whole"),
            (")\r\nF1 OK\r\n* 1 EXPUNGE\r\nN1 OK\r\n", "streamed 7 broken"),
            (")\r\nF1 NO\r\nN1 OK\r\n", "streamed 7 broken"),
            (")\r\n* BYE\r\n", "streamed 7 broken"),
            (")\r\nX9 OK\r\n", "streamed 7 broken"),
        ] {
            let said = format!("{head}{tail}");
            let (told, fault) = fetched(vec![window(&[7], 2000)], &[&said]).await;
            assert_eq!(told, [expected], "{tail}");
            assert_eq!(fault.is_some(), expected.ends_with("broken"), "{tail}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_to_be_streamed_and_is_small_is_taken_whole() {
        let said = format!("* 1 FETCH (UID 7 BODY[] {{1}}\r\na)\r\n{DONE}");
        let (told, fault) = fetched(vec![window(&[7], 2000)], &[&said]).await;
        assert_eq!((told, fault), (vec!["7=a".into()], None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_is_handed_on_only_after_its_noop() {
        for end in ["F1 OK\r\n", "F1 OK\r\nN1 NO\r\n", "F2 OK\r\n", "* BYE\r\n", "N9 OK\r\n"] {
            let said = format!("* 1 FETCH (UID 7 BODY[] {{1}}\r\na)\r\n{end}");
            let (told, fault) = fetched(vec![window(&[7], 1)], &[&said]).await;
            assert_eq!(told, Vec::<String>::new(), "{end}");
            assert!(fault.is_some(), "{end}");
        }
    }
}
