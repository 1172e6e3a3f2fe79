//! TCP connections that never wait for each other's small pieces.
//!
//! A server that answers in two writes and leaves Nagle's algorithm on (Cyrus, Courier) holds the second one
//! back until the first is acknowledged, which the system's delayed ACK puts off by 40 ms: for each message
//! of a target that takes its literals one by one.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};

use super::connect::Dial;
use super::wire::BoxStream;
use crate::endpoint::Endpoint;

/// How long one address is waited for before the next one is tried beside it.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Opens TCP connections.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpDial;

impl Dial for TcpDial {
    fn dial<'a>(
        &'a self,
        endpoint: &'a Endpoint,
    ) -> Pin<Box<dyn Future<Output = io::Result<BoxStream>> + Send + 'a>> {
        Box::pin(async move {
            let addresses = lookup_host((endpoint.host.as_str(), endpoint.port)).await?;
            let stream = first_to_connect(addresses, TcpStream::connect).await?;
            // Without it a command in two writes waits for the other side's delayed ACK.
            stream.set_nodelay(true)?;
            Ok(Box::new(Prompt { stream, has_read: false }) as BoxStream)
        })
    }
}

/// A connection that acknowledges what it has read before it waits for more.
struct Prompt {
    stream: TcpStream,
    /// Whether anything was read since it was acknowledged.
    has_read: bool,
}

impl Prompt {
    /// Has to be asked for again and again: the system goes back to delayed ACKs by itself (tcp(7)).
    /// Nothing goes out where a command has carried the ACK meanwhile.
    fn acknowledge(&self) {
        #[cfg(target_os = "linux")]
        // Where it cannot be, the answer only comes later.
        let _ = socket2::SockRef::from(&self.stream).set_tcp_quickack(true);
    }
}

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, out);
        if polled.is_pending() && self.has_read {
            self.acknowledge();
        }
        self.has_read = polled.is_ready();
        polled
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Connects to whichever address answers first. The next one is tried when one before it failed, or
/// all of them have said nothing for a while (RFC 8305 section 5): a host may have an IPv6 address
/// that leads nowhere, or several of which one is down.
async fn first_to_connect<S, C: Future<Output = io::Result<S>>>(
    mut addresses: impl Iterator<Item = SocketAddr>,
    connect: impl Fn(SocketAddr) -> C,
) -> io::Result<S> {
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    loop {
        let next = addresses.next().map(&connect);
        let may_be_more = next.is_some();
        attempts.extend(next);
        tokio::select! {
            biased;
            ended = attempts.next() => match ended {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => failure = error,
                None => return Err(failure),
            },
            () = tokio::time::sleep(ATTEMPT_DELAY), if may_be_more => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;
    use crate::endpoint::{Auth, SecretSource, Tls};

    /// What comes of addresses that answer as their last number says: 1 connects, 2 refuses, 3 never
    /// answers; and after how many milliseconds.
    async fn connected(numbers: &[u16]) -> (io::Result<u16>, u128) {
        let begun = Instant::now();
        let addresses = numbers.iter().map(|number| SocketAddr::from(([192, 0, 2, 1], *number)));
        let connect = |address: SocketAddr| async move {
            match address.port() % 10 {
                1 => Ok(address.port()),
                2 => Err(io::ErrorKind::ConnectionRefused.into()),
                _ => pending().await,
            }
        };
        (first_to_connect(addresses, connect).await, begun.elapsed().as_millis())
    }

    /// F06: IPv6 first and broken, and several addresses.
    #[tokio::test(start_paused = true)]
    async fn the_next_address_is_tried_where_one_is_refused_or_silent() {
        for (numbers, expected, took) in [
            (&[11, 21][..], 11, 0),
            (&[12, 22, 31], 31, 0),
            (&[13, 21], 21, 250),
            (&[13, 22, 33, 41], 41, 500),
        ] {
            let (connected, waited) = connected(numbers).await;
            assert_eq!((connected.unwrap(), waited), (expected, took), "{numbers:?}");
        }
        let refused = connected(&[12, 22]).await.0.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(connected(&[]).await.0.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    /// F06: `localhost` is `::1` first on most machines, where nothing listens here.
    #[tokio::test]
    async fn a_host_that_listens_on_one_of_its_addresses_is_reached() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint {
            host: "localhost".to_owned(),
            port: listener.local_addr().unwrap().port(),
            tls: Tls::Plain,
            pin: None,
            user: "anna".to_owned(),
            auth: Auth::Password,
            secret: SecretSource::Literal("secret".into()),
        };
        assert!(TcpDial.dial(&endpoint).await.is_ok());
    }
}
