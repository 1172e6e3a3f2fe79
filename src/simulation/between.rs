//! A program between client and server that changes what the server says, as gateways and odd
//! servers do.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::lock;

/// What a client gets instead of one response of its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instead {
    /// These bytes; none keep it back.
    Say(Vec<u8>),
    /// These bytes, and then nothing any more, while the connection stays open.
    Hang(Vec<u8>),
    /// These bytes, and then the end of the connection.
    Cut(Vec<u8>),
}

/// Is given the number of the connection, the first being 0, and one response with its literals.
pub type Meddle = Box<dyn FnMut(usize, &[u8]) -> Instead + Send>;

/// A meddler that all connections to one server share.
#[derive(Clone)]
pub(super) struct Meddler {
    meddle: Arc<Mutex<Meddle>>,
    connections: usize,
}

impl Meddler {
    pub(super) fn new(meddle: Meddle) -> Self {
        Self { meddle: Arc::new(Mutex::new(meddle)), connections: 0 }
    }

    /// Stands between the two ends of one more connection.
    pub(super) fn between(&mut self, stream: DuplexStream) -> Meddled {
        self.connections += 1;
        Meddled {
            stream,
            meddle: self.meddle.clone(),
            connection: self.connections - 1,
            received: Vec::new(),
            said: Vec::new(),
            told: 0,
            end: None,
        }
    }
}

enum End {
    Hang,
    Cut,
}

/// The client's end of a connection with somebody in between.
pub(super) struct Meddled {
    stream: DuplexStream,
    meddle: Arc<Mutex<Meddle>>,
    connection: usize,
    /// What the server said and nobody has looked at yet.
    received: Vec<u8>,
    /// What the client is told.
    said: Vec<u8>,
    /// How much of it the client has read.
    told: usize,
    end: Option<End>,
}

impl Meddled {
    /// Puts what is whole of the server's responses into the client's words.
    fn meddle(&mut self) {
        while self.end.is_none()
            && let Some(length) = response(&self.received)
        {
            let response: Vec<u8> = self.received.drain(..length).collect();
            let instead = lock(&self.meddle)(self.connection, &response);
            let (Instead::Say(said) | Instead::Hang(said) | Instead::Cut(said)) = &instead;
            self.said.extend_from_slice(said);
            self.end = match instead {
                Instead::Say(_) => None,
                Instead::Hang(_) => Some(End::Hang),
                Instead::Cut(_) => Some(End::Cut),
            };
        }
    }
}

impl AsyncRead for Meddled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let left = &self.said[self.told..];
            if !left.is_empty() {
                let count = left.len().min(out.remaining());
                out.put_slice(&left[..count]);
                self.told += count;
                return Poll::Ready(Ok(()));
            }
            self.said.clear();
            self.told = 0;
            match self.end {
                Some(End::Hang) => return Poll::Pending,
                Some(End::Cut) => return Poll::Ready(Ok(())),
                None => {}
            }
            let mut piece = [0; 4096];
            let mut read = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                // The server is gone: what it began to say, it said.
                self.said = std::mem::take(&mut self.received);
                self.end = Some(End::Cut);
                continue;
            }
            self.received.extend_from_slice(read.filled());
            self.meddle();
        }
    }
}

impl AsyncWrite for Meddled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// How long the first response is, its literals counted; none if it is not there whole.
fn response(received: &[u8]) -> Option<usize> {
    let mut end = 0;
    loop {
        let length = memchr::memchr(b'\n', received.get(end..)?)?;
        let line = received[end..end + length].trim_ascii_end();
        end += length + 1;
        let digits = line.strip_suffix(b"}").and_then(|line| {
            let open = memchr::memrchr(b'{', line)?;
            std::str::from_utf8(&line[open + 1..]).ok()?.parse::<usize>().ok()
        });
        match digits {
            Some(literal) => end += literal,
            None => return Some(end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_whole_with_all_its_literals() {
        let said = b"* 1 FETCH (BODY[] {3}\r\na\r\n X {1}\r\nb)\r\nF1 OK\r\n";
        assert_eq!(response(said), Some(said.len() - 7));
        assert_eq!(response(&said[..said.len() - 8]), None);
        assert_eq!(response(&said[said.len() - 7..]), Some(7));
    }
}
