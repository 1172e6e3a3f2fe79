//! The server's end of a connection: lines and literals in, buffered responses out, cuts.

use std::fmt;
use std::io::Write;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::compress::Deflate;

/// Output is written once it is this large, or when input is waited for.
const OUTPUT_BYTES: usize = 64 * 1024;
/// The most a literal makes room for before its bytes come.
const LITERAL_STEP_BYTES: u64 = 1024 * 1024;

/// Any connection a session can be held over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The session cannot go on: the client left, the connection broke, or a fault cut it.
#[derive(Debug)]
pub(super) struct Gone;

/// A literal announced at the end of a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Announced {
    pub(super) bytes: u64,
    /// Whether the client waits for leave.
    pub(super) waits: bool,
    /// Where in the line the announcement starts.
    pub(super) start: usize,
    /// Whether it is a literal8, `~{n}`.
    pub(super) eight: bool,
}

/// A line without its end.
#[derive(Debug)]
pub(super) struct Line {
    /// Of a line too long only the first part.
    pub(super) text: Vec<u8>,
    pub(super) literal: Option<Announced>,
    /// Why it cannot be understood.
    pub(super) fault: Option<&'static str>,
}

pub(super) struct Wire {
    stream: Option<Box<dyn Stream>>,
    input: BytesMut,
    output: Vec<u8>,
    sent: u64,
    read_left: Option<u64>,
    written_left: Option<u64>,
    deflate: Option<Box<Deflate>>,
}

impl Wire {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream: Some(stream), ..Self::closed() }
    }

    /// A wire whose connection is over.
    pub(super) fn closed() -> Self {
        Self {
            stream: None,
            input: BytesMut::new(),
            output: Vec::new(),
            sent: 0,
            read_left: None,
            written_left: None,
            deflate: None,
        }
    }

    /// Cuts the connection after so many more bytes; of two cuts the nearer one stays.
    pub(super) fn cut_after(&mut self, (read, written): (Option<u64>, Option<u64>)) {
        let nearer = |now: Option<u64>, new: Option<u64>| now.into_iter().chain(new).min();
        // What is buffered was read before the cut was armed, and is not counted again.
        self.read_left = nearer(self.read_left, read);
        self.written_left = nearer(self.written_left, written);
    }

    /// Reads a line of at most so many bytes; one too long is read to its end and dropped.
    pub(super) async fn line(&mut self, bytes_max: usize) -> Result<Line, Gone> {
        let mut searched = 0;
        let mut dropped: Option<Vec<u8>> = None;
        let end = loop {
            if let Some(at) = memchr::memchr(b'\n', &self.input[searched..]) {
                break searched + at;
            }
            searched = self.input.len();
            if searched > bytes_max {
                // The last bytes stay: they may announce a literal.
                let keep = searched.saturating_sub(64);
                dropped.get_or_insert_with(|| self.input[..keep.min(1024)].to_vec());
                self.input.advance(keep);
                searched = self.input.len();
            }
            self.fill().await?;
        };
        let mut text = self.input.split_to(end + 1);
        text.truncate(end);
        let crlf = text.last() == Some(&b'\r');
        if crlf {
            text.truncate(end - 1);
        }
        let literal = announced(&text);
        let too_long = text.len() > bytes_max;
        Ok(Line {
            fault: if dropped.is_some() || too_long {
                Some("line too long")
            } else if crlf {
                None
            } else {
                Some("line ends without CR")
            },
            text: dropped.unwrap_or_else(|| text.to_vec()),
            literal,
        })
    }

    /// Reads so many bytes of a literal, whose memory grows as they come.
    pub(super) async fn literal(&mut self, bytes: u64) -> Result<Bytes, Gone> {
        let buffered = self.input.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
        let step = usize::try_from(bytes.min(LITERAL_STEP_BYTES)).unwrap_or(usize::MAX);
        let mut body = Vec::with_capacity(step);
        body.extend_from_slice(&self.input[..buffered]);
        self.input.advance(buffered);
        while (body.len() as u64) < bytes {
            self.flush().await?;
            let missing = bytes - body.len() as u64;
            if self.deflate.is_some() {
                self.fill().await?;
                let came = missing.min(self.input.len() as u64);
                let came = self.input.split_to(usize::try_from(came).map_err(|_| Gone)?);
                body.extend_from_slice(&came);
                continue;
            }
            if body.len() == body.capacity() {
                // Doubling, but never beyond what was announced.
                let more = missing.min((body.len() as u64).max(LITERAL_STEP_BYTES));
                body.reserve_exact(usize::try_from(more).map_err(|_| Gone)?);
            }
            let allowed = missing.min(self.read_left.unwrap_or(u64::MAX));
            let mut limited = self.stream.as_mut().ok_or(Gone)?.take(allowed);
            let read = limited.read_buf(&mut body).await.map_err(|_| Gone)?;
            self.came(read)?;
        }
        Ok(Bytes::from(body))
    }

    /// Reads past a literal and the rest of its command, up to a literal the client waits with.
    pub(super) async fn skip(
        &mut self,
        literal: Option<Announced>,
        bytes_max: usize,
    ) -> Result<(), Gone> {
        let mut next = literal;
        while let Some(literal) = next.filter(|literal| !literal.waits) {
            let mut missing = literal.bytes;
            loop {
                let buffered = (self.input.len() as u64).min(missing);
                self.input.advance(usize::try_from(buffered).map_err(|_| Gone)?);
                missing -= buffered;
                if missing == 0 {
                    break;
                }
                self.fill().await?;
            }
            next = self.line(bytes_max).await?.literal;
        }
        Ok(())
    }

    /// Adds to the output.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Adds a line to the output.
    pub(super) fn put_line(&mut self, line: impl fmt::Display) {
        // Writing to memory does not fail.
        let _ = write!(self.output, "{line}\r\n");
    }

    /// Adds a large piece, straight from its own memory.
    pub(super) async fn put_body(&mut self, body: &[u8]) -> Result<(), Gone> {
        if self.output.len() + body.len() <= OUTPUT_BYTES {
            self.put(body);
            return Ok(());
        }
        self.write_output().await?;
        self.write(body).await
    }

    /// Writes the output if it has become large.
    pub(super) async fn relieve(&mut self) -> Result<(), Gone> {
        if self.output.len() >= OUTPUT_BYTES { self.write_output().await } else { Ok(()) }
    }

    /// How many bytes were put so far.
    pub(super) fn position(&self) -> u64 {
        self.sent + self.output.len() as u64
    }

    /// Takes back what was put since, as far as it is not sent.
    pub(super) fn rewind(&mut self, position: u64) {
        let kept = position.saturating_sub(self.sent);
        self.output.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
    }

    /// Sends all output.
    pub(super) async fn flush(&mut self) -> Result<(), Gone> {
        let holds_back = self.deflate.as_ref().is_some_and(|deflate| deflate.holds_back());
        if self.output.is_empty() && !holds_back {
            return Ok(());
        }
        self.write_output().await?;
        if let Some(deflate) = &mut self.deflate {
            let rest = deflate.flushed();
            self.send(&rest).await?;
        }
        self.stream.as_mut().ok_or(Gone)?.flush().await.map_err(|_| Gone)
    }

    /// Sends all output and ends the connection in order.
    pub(super) async fn close(mut self) {
        if self.flush().await.is_ok()
            && let Some(mut stream) = self.stream.take()
        {
            let _ = stream.shutdown().await;
        }
    }

    /// Goes on over TLS; what the client sent in the clear behind its STARTTLS is not obeyed.
    pub(super) async fn secure(&mut self, acceptor: &TlsAcceptor) -> Result<(), Gone> {
        self.flush().await?;
        self.input.clear();
        let plain = self.stream.take().ok_or(Gone)?;
        let secured = acceptor.accept(plain).await.map_err(|_| Gone)?;
        self.stream = Some(Box::new(secured));
        Ok(())
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.deflate.is_some()
    }

    /// Goes on compressed, both ways.
    pub(super) async fn compress(&mut self) -> Result<(), Gone> {
        self.flush().await?;
        self.deflate = Some(Box::default());
        Ok(())
    }

    async fn fill(&mut self) -> Result<(), Gone> {
        self.flush().await?;
        let allowed = self.read_left.unwrap_or(u64::MAX);
        if self.deflate.is_some() {
            let mut received = Vec::with_capacity(16 * 1024);
            let mut limited = self.stream.as_mut().ok_or(Gone)?.take(allowed);
            let read = limited.read_buf(&mut received).await.map_err(|_| Gone)?;
            self.came(read)?;
            let deflate = self.deflate.as_mut().ok_or(Gone)?;
            return deflate.decompress(&received, &mut self.input);
        }
        self.input.reserve(16 * 1024);
        let mut limited = self.stream.as_mut().ok_or(Gone)?.take(allowed);
        let read = limited.read_buf(&mut self.input).await.map_err(|_| Gone)?;
        self.came(read)
    }

    /// Counts what was read; nothing is the end, of the client or of what a cut left.
    fn came(&mut self, read: usize) -> Result<(), Gone> {
        if let Some(left) = &mut self.read_left {
            *left -= read as u64;
        }
        if read == 0 { Err(Gone) } else { Ok(()) }
    }

    async fn write_output(&mut self) -> Result<(), Gone> {
        let mut output = std::mem::take(&mut self.output);
        self.sent += output.len() as u64;
        let written = self.write(&output).await;
        output.clear();
        self.output = output;
        written
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        match &mut self.deflate {
            None => self.send(bytes).await,
            Some(deflate) => {
                let compressed = deflate.compressed(bytes);
                self.send(&compressed).await
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        let stream = self.stream.as_mut().ok_or(Gone)?;
        let Some(left) = &mut self.written_left else {
            return stream.write_all(bytes).await.map_err(|_| Gone);
        };
        let allowed = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
        stream.write_all(&bytes[..allowed]).await.map_err(|_| Gone)?;
        *left -= allowed as u64;
        if *left == 0 {
            let _ = stream.flush().await;
            return Err(Gone);
        }
        Ok(())
    }
}

/// Finds the literal a line announces at its end: `{n}`, `{n+}`, `~{n}`.
fn announced(text: &[u8]) -> Option<Announced> {
    let inner = text.strip_suffix(b"}")?;
    let open = inner.iter().rposition(|byte| *byte == b'{')?;
    let (digits, waits) = match inner[open + 1..].strip_suffix(b"+") {
        Some(digits) => (digits, false),
        None => (&inner[open + 1..], true),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let bytes = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let eight = open > 0 && text[open - 1] == b'~';
    Some(Announced { bytes, waits, start: open - usize::from(eight), eight })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_is_found_at_the_end_of_its_line_only() {
        let literal = announced(b"a LOGIN {5+}").unwrap();
        assert_eq!((literal.bytes, literal.waits, literal.start), (5, false, 8));
        let literal = announced(b"x ~{7}").unwrap();
        assert_eq!(
            (literal.bytes, literal.waits, literal.start, literal.eight),
            (7, true, 2, true)
        );
        for none in ["{5} ", "{}", "{+}", "{5", "{-5}", "{99999999999999999999}"] {
            assert_eq!(announced(none.as_bytes()), None, "{none}");
        }
    }

    #[tokio::test]
    async fn a_literal_takes_no_more_memory_than_was_announced() {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let sent = vec![7; 5_000_000];
        let mut wire = Wire::new(Box::new(server));
        let (_, body) = tokio::join!(client.write_all(&sent), wire.literal(5_000_000));
        let body = body.unwrap();
        assert_eq!(body, sent);
        assert_eq!(Vec::from(body).capacity(), 5_000_000);
    }
}
