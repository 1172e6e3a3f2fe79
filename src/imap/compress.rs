//! COMPRESS=DEFLATE (RFC 4978), as a stream under [`super::wire::Wire`].
//!
//! What is received is decompressed straight into the reader's buffer, as much as that has room for:
//! however little a server sends to make how much of it, no more is held than without compression, and
//! the limits of [`super::wire`] hold for what was decompressed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::wire::BoxStream;

/// How much is asked of the stream at once, and compressed before the stream must have taken it.
const PIECE_BYTES: usize = 16 * 1024;

/// A stream both directions of which are compressed.
pub(super) struct Deflated {
    stream: BoxStream,
    decompress: Decompress,
    /// Received, and not yet decompressed.
    received: BytesMut,
    compress: Compress,
    /// Compressed, and not yet taken by the stream.
    unsent: Vec<u8>,
    /// How much of that the stream has taken.
    sent: usize,
    /// Whether the compressor may hold octets back.
    holds_back: bool,
}

impl Deflated {
    /// Goes on compressed over a stream from which `received` was read already.
    pub(super) fn new(stream: BoxStream, received: BytesMut) -> Self {
        Self {
            stream,
            decompress: Decompress::new(false),
            received,
            compress: Compress::new(Compression::fast(), false),
            unsent: Vec::new(),
            sent: 0,
            holds_back: false,
        }
    }

    /// Has the stream take what is compressed.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.unsent.len() {
            let unsent = &self.unsent[self.sent..];
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, unsent))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += count;
        }
        self.unsent.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Compresses all of `octets`; with [`FlushCompress::Sync`] nothing is held back.
    fn compress(&mut self, octets: &[u8], flush: FlushCompress) -> io::Result<()> {
        let mut left = octets;
        loop {
            self.unsent.reserve(PIECE_BYTES);
            let before = self.compress.total_in();
            self.compress.compress_vec(left, &mut self.unsent, flush).map_err(io::Error::other)?;
            let taken = self.compress.total_in() - before;
            left = left.get(usize::try_from(taken).unwrap_or(usize::MAX)..).unwrap_or_default();
            // Where no room was left, there may be more to come.
            if left.is_empty() && self.unsent.len() < self.unsent.capacity() {
                return Ok(());
            }
        }
    }
}

impl AsyncRead for Deflated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while out.remaining() > 0 {
            let (took, gave) = (this.decompress.total_in(), this.decompress.total_out());
            let room = out.initialize_unfilled();
            let status = this.decompress.decompress(&this.received, room, FlushDecompress::None);
            let status = status.map_err(|_| broken())?;
            let count = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(usize::MAX);
            let took = count(this.decompress.total_in(), took);
            let gave = count(this.decompress.total_out(), gave);
            this.received.advance(took);
            if gave > 0 {
                out.advance(gave);
                break;
            }
            if status == Status::StreamEnd {
                break; // As the end of the stream itself.
            }
            if !this.received.is_empty() {
                if took == 0 {
                    return Poll::Ready(Err(broken()));
                }
                continue;
            }
            let read = {
                this.received.reserve(PIECE_BYTES);
                let read = this.stream.read_buf(&mut this.received);
                // Dropping it loses nothing: it holds no state but the buffer it fills.
                ready!(std::pin::pin!(read).poll(cx))?
            };
            if read == 0 {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn broken() -> io::Error {
    let text = "what the server sent cannot be decompressed; run again without --compress";
    io::Error::new(io::ErrorKind::InvalidData, text)
}

impl AsyncWrite for Deflated {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.unsent.len() >= PIECE_BYTES {
            ready!(this.poll_send(cx))?;
        }
        let piece = &octets[..octets.len().min(PIECE_BYTES)];
        this.compress(piece, FlushCompress::None)?;
        this.holds_back = true;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.holds_back {
            this.compress(&[], FlushCompress::Sync)?;
            this.holds_back = false;
        }
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// What comes out where this goes in, through a pipe that holds so many octets.
    async fn carried(pieces: &[Vec<u8>], pipe_bytes: usize) -> Vec<u8> {
        let (near, far) = tokio::io::duplex(pipe_bytes);
        let mut near = Deflated::new(Box::new(near), BytesMut::new());
        let mut far = Deflated::new(Box::new(far), BytesMut::new());
        let send = async {
            for piece in pieces {
                near.write_all(piece).await.unwrap();
                near.flush().await.unwrap();
            }
            near.shutdown().await.unwrap();
        };
        let mut received = Vec::new();
        let (_, read) = tokio::join!(send, far.read_to_end(&mut received));
        read.unwrap();
        received
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_goes_in_comes_out_whatever_fits_into_the_pipe(
            pieces in prop::collection::vec((any::<u8>(), 0..60_000usize, any::<bool>()), 0..6),
            pipe_bytes in 1..40_000usize,
        ) {
            // Of one octet, which shrinks to nothing, or of many, which does not shrink.
            let piece = |(octet, count, varied): &(u8, usize, bool)| -> Vec<u8> {
                let mixed = |index: usize| blake3::hash(&index.to_le_bytes()).as_bytes()[0];
                (0..*count).map(|index| if *varied { mixed(index) } else { *octet }).collect()
            };
            let pieces: Vec<Vec<u8>> = pieces.iter().map(piece).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let received = runtime.block_on(carried(&pieces, pipe_bytes));
            prop_assert!(received == pieces.concat());
        }
    }

    #[tokio::test]
    async fn what_was_flushed_arrives_without_another_octet() {
        let (near, far) = tokio::io::duplex(1024);
        let mut near = Deflated::new(Box::new(near), BytesMut::new());
        let mut far = Deflated::new(Box::new(far), BytesMut::new());
        for line in [&b"A1 NOOP\r\n"[..], b"A2 NOOP\r\n"] {
            near.write_all(line).await.unwrap();
            near.flush().await.unwrap();
            let mut received = vec![0; line.len()];
            far.read_exact(&mut received).await.unwrap();
            assert_eq!(received, line);
        }
    }

    #[tokio::test]
    async fn a_little_that_becomes_much_is_given_in_pieces_as_large_as_the_readers_buffer() {
        let (near, far) = tokio::io::duplex(1 << 20);
        let mut near = Deflated::new(Box::new(near), BytesMut::new());
        let mut far = Deflated::new(Box::new(far), BytesMut::new());
        let octets = vec![b' '; 20 << 20];
        near.write_all(&octets).await.unwrap();
        near.flush().await.unwrap();
        let (mut received, mut buffer) = (0, vec![0; 4096]);
        while received < octets.len() {
            received += far.read(&mut buffer).await.unwrap();
            assert!(far.received.capacity() <= 2 * PIECE_BYTES);
        }
    }

    #[tokio::test]
    async fn what_is_not_compressed_is_an_error_and_never_mail() {
        let (mut near, far) = tokio::io::duplex(1024);
        let mut far = Deflated::new(Box::new(far), BytesMut::new());
        near.write_all(b"* 1 EXISTS\r\n* OK not compressed at all\r\n").await.unwrap();
        let mut buffer = [0; 64];
        let error = far.read(&mut buffer).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
