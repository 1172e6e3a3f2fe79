//! Connections in memory, which can be refused, and stopped at any byte.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use crate::endpoint::Endpoint;
use crate::fault::Side;
use crate::imap::connect::Dial;
use crate::imap::wire::BoxStream;
use crate::rehearsal::Server;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::between::{Meddle, Meddler};
use super::lock;

/// Where the source listens.
pub const SOURCE_PORT: u16 = 1143;
/// Where the target listens.
pub const TARGET_PORT: u16 = 2143;
const PIPE_BYTES: usize = 64 * 1024;

/// Where a run is killed, counted over all connections and accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    /// When so many events were told.
    Events(u64),
    /// When so many bytes were sent to this side, and not one more.
    Sent(Side, u64),
    /// When so many bytes were received from this side, and not one more.
    Received(Side, u64),
}

/// Counts down to a kill.
#[derive(Debug)]
pub struct Fuse {
    kill: Kill,
    left: AtomicU64,
    /// Told when the run is dead.
    pub blown: Notify,
}

impl Fuse {
    /// One that is not burning yet.
    #[must_use]
    pub fn new(kill: Kill) -> Arc<Self> {
        let (Kill::Events(left) | Kill::Sent(_, left) | Kill::Received(_, left)) = kill;
        Arc::new(Self { kill, left: AtomicU64::new(left), blown: Notify::new() })
    }

    /// One more event was told.
    pub fn event(&self) {
        if matches!(self.kill, Kill::Events(_)) {
            self.burn(1);
        }
    }

    /// How much may pass in this direction.
    fn left(&self, kind: fn(Side, u64) -> Kill, side: Side) -> Option<u64> {
        let is_meant = match (self.kill, kind(side, 0)) {
            (Kill::Sent(mine, _), Kill::Sent(asked, _))
            | (Kill::Received(mine, _), Kill::Received(asked, _)) => mine == asked,
            _ => false,
        };
        is_meant.then(|| self.left.load(Ordering::Relaxed))
    }

    fn burn(&self, count: u64) {
        let left = self.left.load(Ordering::Relaxed).saturating_sub(count);
        self.left.store(left, Ordering::Relaxed);
        if left == 0 {
            self.blown.notify_one();
        }
    }
}

/// Brings connections to rehearsal servers, by port.
#[derive(Default)]
pub struct Network {
    servers: Mutex<BTreeMap<u16, Server>>,
    refusals: Mutex<BTreeMap<(String, u16), u64>>,
    meddlers: Mutex<BTreeMap<u16, Meddler>>,
    sessions: Mutex<JoinSet<()>>,
    fuse: Mutex<Option<Arc<Fuse>>>,
}

impl Network {
    /// Puts a server behind a port.
    pub fn attach(&self, port: u16, server: &Server) {
        lock(&self.servers).insert(port, server.clone());
    }

    /// Refuses the next so many connections to a host.
    pub fn refuse(&self, host: &str, port: u16, times: u64) {
        let key = (host.to_owned(), port);
        lock(&self.refusals).insert(key, times);
    }

    /// Changes what a server says on the connections to come.
    pub fn meddle(&self, port: u16, meddle: Meddle) {
        lock(&self.meddlers).insert(port, Meddler::new(meddle));
    }

    /// Lets a server say what it says again, on the connections to come.
    pub fn leave_alone(&self, port: u16) {
        lock(&self.meddlers).remove(&port);
    }

    /// Burns this by what passes over the connections to come.
    pub fn set_fuse(&self, fuse: Option<Arc<Fuse>>) {
        *lock(&self.fuse) = fuse;
    }

    fn open(&self, endpoint: &Endpoint) -> io::Result<BoxStream> {
        let port = endpoint.port;
        let key = (endpoint.host.clone(), port);
        if let Some(left) = lock(&self.refusals).get_mut(&key)
            && *left > 0
        {
            *left -= 1;
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let servers = lock(&self.servers);
        let server = servers.get(&port).cloned();
        let server = server.ok_or(io::ErrorKind::HostUnreachable)?;
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let mut sessions = lock(&self.sessions);
        while let Some(ended) = sessions.try_join_next() {
            ended.expect("a session of the rehearsal server does not panic");
        }
        sessions.spawn(async move { server.serve(theirs).await });
        let side = match port {
            SOURCE_PORT => Side::Source,
            _ => Side::Target,
        };
        let fuse = lock(&self.fuse).clone();
        let stream: BoxStream = match lock(&self.meddlers).get_mut(&port) {
            Some(meddler) => Box::new(meddler.between(ours)),
            None => Box::new(ours),
        };
        Ok(Box::new(Pipe { stream, side, fuse }))
    }
}

impl Dial for Network {
    fn dial<'a>(
        &'a self,
        endpoint: &'a Endpoint,
    ) -> Pin<Box<dyn Future<Output = io::Result<BoxStream>> + Send + 'a>> {
        Box::pin(async move { self.open(endpoint) })
    }
}

/// The client's end of a connection.
struct Pipe {
    stream: BoxStream,
    side: Side,
    fuse: Option<Arc<Fuse>>,
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let fuse = self.fuse.clone();
        let left = fuse.as_ref().and_then(|fuse| fuse.left(Kill::Received, self.side));
        let Some(left) = left else {
            return Pin::new(&mut self.stream).poll_read(cx, out);
        };
        let room = out.remaining().min(usize::try_from(left).unwrap_or(usize::MAX));
        if room == 0 {
            return Poll::Pending; // The run is about to be dropped.
        }
        let mut held = vec![0; room.min(PIPE_BYTES)];
        let mut read = ReadBuf::new(&mut held);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        out.put_slice(read.filled());
        if let Some(fuse) = fuse {
            fuse.burn(read.filled().len() as u64);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let fuse = self.fuse.clone();
        let left = fuse.as_ref().and_then(|fuse| fuse.left(Kill::Sent, self.side));
        let Some(left) = left else {
            return Pin::new(&mut self.stream).poll_write(cx, octets);
        };
        let count = octets.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if count == 0 {
            return Poll::Pending; // The run is about to be dropped.
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &octets[..count]))?;
        if let Some(fuse) = fuse {
            fuse.burn(written as u64);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
