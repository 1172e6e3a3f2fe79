//! The stream under async-imap: framing, limits and time-outs.
//!
//! async-imap's parser ends a session at any line it does not know, panics on some, and keeps a
//! private read buffer. So [`Wire`] frames responses itself, keeps each as the server sent it, and
//! gives async-imap nothing but tagged status lines and continuations, rewritten to the plainest
//! form, one a read. Its buffer is then empty whenever no command is in flight, and the halves of
//! the connection can be lent for bulk transfer.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tokio::time::{Instant, Sleep};

use super::compress::Deflated;
use super::outbox::Outbox;
use crate::crash;

/// Any bidirectional stream of bytes.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A stream whose kind does not matter.
pub type BoxStream = Box<dyn Stream>;

/// The longest line of a response, literals not counted.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// The largest response outside bulk transfer, literals counted.
const RESPONSE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What a server may say in answer to one command outside bulk transfer.
pub const HEARD_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How much is asked of the socket at once.
pub const READ_BYTES: usize = 64 * 1024;
/// And how much at least.
const READ_BYTES_MIN: usize = 16 * 1024;

/// A connection that frames what it reads.
pub struct Wire {
    reader: ReadHalf<Guarded>,
    received: BytesMut,
    framer: Framer,
    /// What async-imap reads next.
    shown: Bytes,
    /// Everything received since it was last taken.
    heard: Vec<Bytes>,
    heard_bytes: usize,
    writer: WriteHalf<Guarded>,
    unsent: BytesMut,
}

impl Wire {
    /// Frames a stream; while it is waited on, something must move within every `idle`.
    pub fn new(stream: BoxStream, idle: Duration) -> Self {
        let (reader, writer) = tokio::io::split(Guarded::new(stream, idle));
        Self {
            reader,
            received: BytesMut::new(),
            framer: Framer::default(),
            shown: Bytes::new(),
            heard: Vec::new(),
            heard_bytes: 0,
            writer,
            unsent: BytesMut::new(),
        }
    }

    /// The next response, whatever it is; for the greeting.
    ///
    /// # Errors
    ///
    /// The stream's; `UnexpectedEof` where it ends.
    pub async fn response(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some(end) = self.framer.frame(&self.received, RESPONSE_BYTES_MAX)? {
                return Ok(self.received.split_to(end).freeze());
            }
            fill(&mut self.reader, &mut self.received, 1).await?;
        }
    }

    /// Takes everything received since the last call, in order, each as the server sent it.
    pub fn take_heard(&mut self) -> Vec<Bytes> {
        self.heard_bytes = 0;
        std::mem::take(&mut self.heard)
    }

    /// The stream below, for TLS to begin on it.
    ///
    /// # Errors
    ///
    /// Where the server has already sent more: whatever that is, it was not protected, and must
    /// not be taken for an answer given under TLS (RFC 9051 section 6.2.1).
    pub fn into_stream(self) -> io::Result<BoxStream> {
        if !self.received.is_empty() || !self.shown.is_empty() {
            return Err(io::Error::other("the server sent data before TLS began"));
        }
        Ok(self.reader.unsplit(self.writer).stream)
    }

    /// Goes on compressed in both directions (RFC 4978 section 3); only while no command is in flight.
    /// What the server has sent behind its OK is compressed already.
    pub fn compress(&mut self) {
        debug_assert!(self.shown.is_empty() && self.unsent.is_empty(), "a command is in flight");
        // Their halves are joined while nothing stands in their place.
        let nothing: BoxStream = Box::new(tokio::io::empty());
        let (reader, writer) = tokio::io::split(Guarded::new(nothing, Duration::ZERO));
        let reader = std::mem::replace(&mut self.reader, reader);
        let writer = std::mem::replace(&mut self.writer, writer);
        let Guarded { stream, idle, .. } = reader.unsplit(writer);
        let stream = Deflated::new(stream, std::mem::take(&mut self.received));
        (self.reader, self.writer) = tokio::io::split(Guarded::new(Box::new(stream), idle));
        self.framer = Framer::default();
    }

    /// Lends both directions for bulk transfer; only while no command is in flight.
    pub fn lend(&mut self) -> (BulkReader<'_>, BulkWriter<'_>) {
        debug_assert!(self.shown.is_empty() && self.unsent.is_empty(), "a command is in flight");
        let reader = BulkReader {
            reader: &mut self.reader,
            received: &mut self.received,
            framer: Framer::default(),
        };
        (reader, BulkWriter { writer: &mut self.writer })
    }

    /// Keeps a response, and shows async-imap what it can read of it.
    fn hear(&mut self, response: Bytes) -> io::Result<()> {
        self.heard_bytes += response.len();
        if self.heard_bytes > HEARD_BYTES_MAX {
            return Err(io::Error::other("the server's answer to one command is too large"));
        }
        self.shown = plainest_form(&response);
        self.heard.push(response);
        Ok(())
    }
}

/// What async-imap is shown of a response: nothing of untagged data; a tagged status without code
/// and text; a continuation with its base64 text (RFC 9051 section 7.6).
fn plainest_form(response: &[u8]) -> Bytes {
    if response.starts_with(b"* ") {
        return Bytes::new();
    }
    if let Some(text) = response.strip_prefix(b"+") {
        let text = text.trim_ascii();
        let is_base64 =
            text.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
        let text = if is_base64 { text } else { b"" };
        return [b"+ ", text, b"\r\n"].concat().into();
    }
    let mut words = response.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (tag, status) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    [tag, b" ", &status.to_ascii_uppercase(), b" -\r\n"].concat().into()
}

/// Never shows what was read or is about to be sent.
impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.shown.is_empty() {
                let count = this.shown.len().min(out.remaining());
                out.put_slice(&this.shown.split_to(count));
                return Poll::Ready(Ok(()));
            }
            if let Some(end) = this.framer.frame(&this.received, RESPONSE_BYTES_MAX)? {
                let response = this.received.split_to(end).freeze();
                this.hear(response)?;
                continue;
            }
            let read = {
                let read = fill(&mut this.reader, &mut this.received, 1);
                // Dropping it loses nothing: it holds no state but the buffer it fills.
                ready!(std::pin::pin!(read).poll(cx))
            };
            // An end of file is never an empty answer: async-imap would take it for success.
            read?;
        }
    }
}

impl AsyncWrite for Wire {
    /// Only buffers: async-imap writes a command in four pieces.
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.unsent.extend_from_slice(octets);
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while !this.unsent.is_empty() {
            crash::point();
            let count = ready!(Pin::new(&mut this.writer).poll_write(cx, &this.unsent))?;
            crash::point();
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.unsent.advance(count);
        }
        Pin::new(&mut this.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}

/// Reads once, at least one byte. What is read lies in buffers of [`READ_BYTES`] that are filled up, and
/// only what needs to be in one piece (`want` more octets) in a larger one.
async fn fill(
    reader: &mut ReadHalf<Guarded>,
    received: &mut BytesMut,
    want: usize,
) -> io::Result<()> {
    let spare = received.capacity() - received.len();
    if spare < want.max(READ_BYTES_MIN) {
        received.reserve(want.max(READ_BYTES));
    }
    if reader.read_buf(received).await? == 0 {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the server closed the connection",
        ));
    }
    Ok(())
}

/// The reading half, lent.
pub struct BulkReader<'a> {
    reader: &'a mut ReadHalf<Guarded>,
    received: &'a mut BytesMut,
    framer: Framer,
}

/// What comes next on a lent reading half.
#[derive(Debug)]
pub enum Incoming {
    /// A whole response, literals included.
    Response(Bytes),
    /// The beginning of a response, up to and including the announcement of a literal that is
    /// larger than the limit. Its bytes come by [`BulkReader::chunk`], then the rest by
    /// [`BulkReader::response`].
    Large {
        /// The response so far.
        head: Bytes,
        /// Octets of the literal.
        literal_bytes: u64,
    },
}

impl BulkReader<'_> {
    /// The next response. No literal larger than `literal_bytes_max` is held.
    ///
    /// # Errors
    ///
    /// The stream's; `UnexpectedEof` where it ends; a response beyond the limits.
    pub async fn response(&mut self, literal_bytes_max: u64) -> io::Result<Incoming> {
        loop {
            match self.framer.step(self.received)? {
                Step::Complete(end) => {
                    self.framer = Framer::default();
                    return Ok(Incoming::Response(self.received.split_to(end).freeze()));
                }
                Step::Literal { start, literal_bytes } if literal_bytes > literal_bytes_max => {
                    self.framer = Framer::default();
                    let head = self.received.split_to(start).freeze();
                    return Ok(Incoming::Large { head, literal_bytes });
                }
                Step::Literal { start, literal_bytes } => {
                    self.framer.skip_literal(start, literal_bytes)?;
                    let want = self.framer.searched.saturating_sub(self.received.len());
                    // Exactly what is missing: growing by doubling would copy and waste.
                    self.received.reserve(want);
                }
                Step::More(want) => {
                    fill(self.reader, self.received, want).await?;
                }
            }
        }
    }

    /// The next piece, at most `octets_max`, of a literal announced by [`Incoming::Large`].
    ///
    /// # Errors
    ///
    /// As [`BulkReader::response`].
    pub async fn chunk(&mut self, octets_max: u64) -> io::Result<Bytes> {
        if self.received.is_empty() {
            fill(self.reader, self.received, 1).await?;
        }
        let count = usize::try_from(octets_max).unwrap_or(usize::MAX).min(self.received.len());
        Ok(self.received.split_to(count).freeze())
    }

    /// Reads `octets` of a literal to nowhere.
    ///
    /// # Errors
    ///
    /// As [`BulkReader::response`].
    pub async fn discard(&mut self, octets: u64) -> io::Result<()> {
        let mut left = octets;
        while left > 0 {
            left -= self.chunk(left).await?.len() as u64;
        }
        Ok(())
    }
}

/// The writing half, lent.
pub struct BulkWriter<'a> {
    writer: &'a mut WriteHalf<Guarded>,
}

impl BulkWriter<'_> {
    /// Writes all of it.
    ///
    /// # Errors
    ///
    /// The stream's.
    pub async fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        crash::point();
        let written = self.writer.write_all(octets).await;
        crash::point();
        written
    }

    /// Writes all that is there, in as few calls as the stream takes.
    ///
    /// # Errors
    ///
    /// The stream's.
    pub async fn write_out(&mut self, outbox: &mut Outbox) -> io::Result<()> {
        crash::point();
        let written = self.writer.write_all_buf(outbox).await;
        crash::point();
        written
    }

    /// Sees to it that everything written is on its way.
    ///
    /// # Errors
    ///
    /// The stream's.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.writer.flush().await
    }
}

/// Finds the end of a response: lines, and the literals they announce (RFC 9051 section 4.3).
/// Remembers how far it looked, so that no byte is searched twice.
#[derive(Debug, Default)]
struct Framer {
    /// Everything before was looked at, or belongs to a literal.
    searched: usize,
    /// Where the line began that is being searched.
    line: usize,
}

enum Step {
    Complete(usize),
    Literal {
        start: usize,
        literal_bytes: u64,
    },
    /// At least this many bytes are missing.
    More(usize),
}

impl Framer {
    /// The length of the first response, if it is there whole and within `bytes_max`.
    fn frame(&mut self, received: &[u8], bytes_max: usize) -> io::Result<Option<usize>> {
        loop {
            match self.step(received)? {
                Step::Complete(end) => {
                    *self = Self::default();
                    return Ok(Some(end));
                }
                Step::Literal { start, literal_bytes } => {
                    self.skip_literal(start, literal_bytes)?;
                    if self.searched > bytes_max {
                        return Err(io::Error::other("a response of the server is too large"));
                    }
                }
                Step::More(_) => return Ok(None),
            }
        }
    }

    fn step(&mut self, received: &[u8]) -> io::Result<Step> {
        if received.len() < self.searched {
            return Ok(Step::More(self.searched - received.len()));
        }
        let Some(at) = memchr::memchr(b'\n', &received[self.searched..]) else {
            self.searched = received.len();
            if self.searched - self.line > LINE_BYTES_MAX {
                return Err(io::Error::other("a line of the server is too long"));
            }
            return Ok(Step::More(1));
        };
        let end = self.searched + at + 1;
        Ok(match announced_literal(&received[self.line..end]) {
            Some(literal_bytes) => Step::Literal { start: end, literal_bytes },
            None => Step::Complete(end),
        })
    }

    fn skip_literal(&mut self, start: usize, literal_bytes: u64) -> io::Result<()> {
        let end = usize::try_from(literal_bytes).ok().and_then(|count| start.checked_add(count));
        self.searched = end.ok_or_else(|| io::Error::other("a literal is too large"))?;
        self.line = self.searched;
        Ok(())
    }
}

/// The size of the literal that this line announces at its end: `{n}` or `~{n}`.
fn announced_literal(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"\n")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = line.strip_suffix(b"}")?;
    let open = memchr::memrchr(b'{', line)?;
    let digits = &line[open + 1..];
    // A status text may end in `{...}` too, but no server writes 20 digits there.
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A stream that fails when it is waited on and nothing moves in either direction for too long.
struct Guarded {
    stream: BoxStream,
    idle: Duration,
    /// Since when the stream is waited on without anything moving; none while nobody waits.
    waiting_since: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

impl Guarded {
    fn new(stream: BoxStream, idle: Duration) -> Self {
        Self { stream, idle, waiting_since: None, alarm: Box::pin(tokio::time::sleep(idle)) }
    }

    /// Passes on what a poll said; turns a wait beyond the limit into an error.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.waiting_since = None;
            return polled;
        }
        let due = *self.waiting_since.get_or_insert_with(Instant::now) + self.idle;
        if self.alarm.deadline() != due {
            self.alarm.as_mut().reset(due);
        }
        ready!(self.alarm.as_mut().poll(cx));
        let text = format!("nothing moved for {} s", self.idle.as_secs());
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, out);
        self.watch(cx, polled)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, octets);
        self.watch(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.watch(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const IDLE: Duration = Duration::from_secs(300);

    /// A wire, and what is at its other end.
    fn wire() -> (Wire, tokio::io::DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        (Wire::new(Box::new(ours), IDLE), theirs)
    }

    fn frames(received: &[u8]) -> Vec<&[u8]> {
        let (mut framer, mut rest, mut frames) = (Framer::default(), received, Vec::new());
        while let Some(end) = framer.frame(rest, 1 << 20).expect("no limit is met") {
            let (frame, after) = rest.split_at(end);
            frames.push(frame);
            rest = after;
        }
        frames
    }

    #[test]
    fn a_response_ends_at_its_line_end_outside_literals() {
        let received =
            b"* 1 FETCH (BODY[] {9}\r\na\r\n* OK\r\n FLAGS ())\r\n* OK {x}\r\nA1 OK\npart";
        assert_eq!(
            frames(received),
            [
                &b"* 1 FETCH (BODY[] {9}\r\na\r\n* OK\r\n FLAGS ())\r\n"[..],
                b"* OK {x}\r\n",
                b"A1 OK\n",
            ]
        );
    }

    #[test]
    fn literals_of_both_kinds_and_of_no_bytes_are_found() {
        assert_eq!(announced_literal(b"x {12}\r\n"), Some(12));
        assert_eq!(announced_literal(b"x ~{12}\n"), Some(12));
        assert_eq!(announced_literal(b"x {0}\r\n"), Some(0));
        for none in ["x {}\r\n", "x {1} \r\n", "x {-1}\r\n", "x 1}\r\n", "x {12}"] {
            assert_eq!(announced_literal(none.as_bytes()), None, "{none}");
        }
        let huge = "x {99999999999999999999}\r\n";
        assert_eq!(announced_literal(huge.as_bytes()), None);
    }

    #[test]
    fn a_line_or_a_literal_beyond_every_limit_is_an_error() {
        let line = vec![b'x'; LINE_BYTES_MAX + 2];
        assert!(Framer::default().frame(&line, usize::MAX).is_err());
        let literal = b"* 1 FETCH (BODY[] {1000}\r\n";
        assert!(Framer::default().frame(literal, 999).is_err());
        let endless = b"* 1 FETCH (BODY[] {9223372036854775807}\r\n";
        assert!(Framer::default().frame(endless, 1 << 20).is_err());
    }

    proptest! {
        #[test]
        fn frames_are_the_same_in_whatever_pieces_they_arrive(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6),
            cuts in prop::collection::vec(1..30usize, 1..40),
        ) {
            let response = |body: &Vec<u8>| {
                [format!("* 1 FETCH (BODY[] {{{}}}\r\n", body.len()).as_bytes(), body, b" UID 7)\r\n"]
                    .concat()
            };
            let responses: Vec<Vec<u8>> = bodies.iter().map(response).collect();
            let all = responses.concat();
            let (mut framer, mut received, mut framed) = (Framer::default(), Vec::new(), Vec::new());
            let mut left = &all[..];
            for cut in cuts.into_iter().chain(std::iter::repeat(7)) {
                let (piece, after) = left.split_at(cut.min(left.len()));
                received.extend_from_slice(piece);
                left = after;
                while let Some(end) = framer.frame(&received, 1 << 20).expect("within limits") {
                    let rest = received.split_off(end);
                    framed.push(std::mem::replace(&mut received, rest));
                }
                if left.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(framed, responses);
            prop_assert!(received.is_empty());
        }
    }

    #[test]
    fn async_imap_is_shown_nothing_it_could_stumble_over() {
        let plain = |response: &str| plainest_form(response.as_bytes());
        assert_eq!(plain("* 5 FETCH (\u{0} odd"), "");
        assert_eq!(plain("A1 no [ODD (\"x] text {5}\r\n"), "A1 NO -\r\n");
        assert_eq!(plain("A1  OK  two spaces\r\n"), "A1 OK -\r\n");
        assert_eq!(plain("A1 OK\r\n"), "A1 OK -\r\n");
        assert_eq!(plain("+\r\n"), "+ \r\n");
        assert_eq!(plain("+ go ahead\r\n"), "+ \r\n");
        assert_eq!(plain("+ eyJhIjoxfQ==\r\n"), "+ eyJhIjoxfQ==\r\n");
    }

    #[tokio::test]
    async fn what_is_heard_is_kept_as_it_was_sent() {
        let (mut wire, mut server) = wire();
        let said = b"* odd {3}\r\na\r\n\r\nA1 OK [X] done\r\n";
        server.write_all(said).await.unwrap();
        let mut shown = [0; 64];
        let count = wire.read(&mut shown).await.unwrap();
        assert_eq!(&shown[..count], b"A1 OK -\r\n");
        assert_eq!(wire.take_heard().concat(), said);
        drop(server);
        let end = wire.read(&mut shown).await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn what_a_server_sends_before_tls_is_not_taken_for_its_answer() {
        let (mut wire, mut server) = wire();
        server.write_all(b"* OK hello\r\n").await.unwrap();
        wire.response().await.unwrap();
        assert!(wire.into_stream().is_ok());
        let (mut wire, mut server) = self::wire();
        server.write_all(b"* OK hello\r\n* OK injected\r\n").await.unwrap();
        wire.response().await.unwrap();
        assert!(wire.into_stream().is_err());
    }

    #[tokio::test]
    async fn a_large_literal_is_not_held() {
        let (mut wire, mut server) = wire();
        let said = b"* 1 FETCH (UID 7 BODY[] {10}\r\n0123456789 FLAGS ())\r\nA1 OK done\r\n";
        server.write_all(said).await.unwrap();
        let (mut reader, _) = wire.lend();
        let Ok(Incoming::Large { head, literal_bytes }) = reader.response(9).await else {
            panic!("the literal is larger than nine octets");
        };
        assert_eq!((&head[..], literal_bytes), (&said[..30], 10));
        assert_eq!(reader.chunk(4).await.unwrap(), "0123");
        reader.discard(6).await.unwrap();
        for expected in [" FLAGS ())\r\n", "A1 OK done\r\n"] {
            let Ok(Incoming::Response(response)) = reader.response(9).await else {
                panic!("no large literal is left");
            };
            assert_eq!(response, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_in_which_nothing_moves_ends() {
        let (mut wire, mut server) = wire();
        let begun = Instant::now();
        let error = wire.response().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), 300);
        server.write_all(b"* OK late\r\n").await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_server_is_not_a_silent_one() {
        let (mut wire, mut server) = wire();
        let said = b"* OK byte by byte\r\n";
        let slowly = async {
            for octet in said {
                tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
                server.write_all(&[*octet]).await.unwrap();
            }
        };
        let (response, ()) = tokio::join!(wire.response(), slowly);
        assert_eq!(response.unwrap(), &said[..]);
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_waits_does_not_count() {
        let (mut wire, mut server) = wire();
        for _ in 0..3 {
            tokio::time::sleep(IDLE * 2).await;
            let later = async {
                tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
                server.write_all(b"* OK\r\n").await.unwrap();
            };
            let (response, ()) = tokio::join!(wire.response(), later);
            assert!(response.is_ok());
        }
    }

    #[tokio::test]
    async fn a_wire_never_prints_what_it_carries() {
        let (mut wire, mut server) = wire();
        server.write_all(b"* OK hunter2\r\n").await.unwrap();
        wire.write_all(b"A1 LOGIN anna hunter2\r\n").await.unwrap();
        wire.response().await.unwrap();
        assert!(!format!("{wire:?}").contains("hunter2"));
    }
}
