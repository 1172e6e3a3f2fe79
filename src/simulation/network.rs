//! Connections in memory, which can be refused, and stopped at any byte.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::fault::Side;
use crate::imap::connect::Dial;
use crate::imap::wire::BoxStream;
use crate::rehearsal::Server;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, ReadHalf, WriteHalf,
};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

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
    /// At the n-th point: before and after each call to the ledger and each write to a connection.
    Point(u64),
}

/// Is told the number of each point that a run passes, the first being 1.
pub type AtPoint = Box<dyn Fn(u64) + Send + Sync>;

/// Counts down to a kill, and counts points.
pub struct Fuse {
    kill: Option<Kill>,
    left: AtomicU64,
    points: AtomicU64,
    at_point: Option<AtPoint>,
    dead: AtomicBool,
    /// Told when the run is dead.
    pub blown: Notify,
}

impl Fuse {
    /// One that is not burning yet.
    #[must_use]
    pub fn new(kill: Option<Kill>, at_point: Option<AtPoint>) -> Arc<Self> {
        let left = match kill {
            Some(
                Kill::Events(left)
                | Kill::Sent(_, left)
                | Kill::Received(_, left)
                | Kill::Point(left),
            ) => left,
            None => u64::MAX,
        };
        Arc::new(Self {
            kill,
            left: AtomicU64::new(left),
            points: AtomicU64::new(0),
            at_point,
            dead: AtomicBool::new(false),
            blown: Notify::new(),
        })
    }

    /// One more event was told.
    pub fn event(&self) {
        if matches!(self.kill, Some(Kill::Events(_))) {
            self.burn(1);
        }
    }

    /// One more point was reached. False where the process is dead and goes no further.
    pub fn point(&self) -> bool {
        if self.is_dead() {
            return false;
        }
        let point = self.points.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(at_point) = &self.at_point {
            at_point(point);
        }
        if matches!(self.kill, Some(Kill::Point(_))) {
            self.burn(1);
        }
        !self.is_dead()
    }

    /// How many points were passed.
    #[must_use]
    pub fn points(&self) -> u64 {
        self.points.load(Ordering::Relaxed)
    }

    /// Whether the process does nothing any more.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// How much may pass in this direction.
    fn left(&self, kind: fn(Side, u64) -> Kill, side: Side) -> Option<u64> {
        let is_meant = match (self.kill?, kind(side, 0)) {
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
            self.dead.store(true, Ordering::Relaxed);
            self.blown.notify_one();
        }
    }
}

/// Something that happens to one connection on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Whose connection.
    pub side: Side,
    /// Which one, the next to be opened to that side being 0.
    pub connection: u64,
    /// Which way: from the client to the server, or back.
    pub way: Way,
    /// After how many bytes that way.
    pub after: u64,
    /// What happens.
    pub what: What,
}

/// A direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    There,
    /// From the server to the client.
    Back,
}

/// What happens to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Both ends find it reset.
    Reset,
    /// Both ends read its end.
    End,
    /// Whoever reads this way reads its end; the other way goes on.
    HalfClose,
    /// Nothing passes this way for so long; then it goes on, even if the sender is gone by then.
    Stall(Duration),
    /// From the start only so many bytes fit into it at once, either way.
    Narrow(usize),
}

/// Brings connections to rehearsal servers, by port.
#[derive(Default)]
pub struct Network {
    servers: Mutex<BTreeMap<u16, (Server, Option<TlsAcceptor>)>>,
    refusals: Mutex<BTreeMap<(String, u16), u64>>,
    meddlers: Mutex<BTreeMap<u16, Meddler>>,
    sessions: Mutex<BTreeMap<u16, JoinSet<()>>>,
    fuse: Mutex<Option<Arc<Fuse>>>,
    troubles: Mutex<Vec<Trouble>>,
    struck: Arc<AtomicU64>,
}

impl Network {
    /// Puts a server behind a port, inside TLS where an acceptor is given.
    pub fn attach(&self, port: u16, server: &Server, tls: Option<TlsAcceptor>) {
        lock(&self.servers).insert(port, (server.clone(), tls));
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

    /// Makes these happen to the connections to come, instead of what was to happen before.
    pub fn set_troubles(&self, troubles: Vec<Trouble>) {
        *lock(&self.troubles) = troubles;
    }

    /// How many of them have happened so far.
    pub fn struck(&self) -> u64 {
        self.struck.load(Ordering::Relaxed)
    }

    /// Cuts all connections to a port, as a server does that breaks down.
    pub fn crash(&self, port: u16) {
        lock(&self.sessions).remove(&port);
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
        let (server, tls) = server.ok_or(io::ErrorKind::HostUnreachable)?;
        let side = match port {
            SOURCE_PORT => Side::Source,
            _ => Side::Target,
        };
        let troubles = self.troubles_of_the_next(side);
        let narrow = troubles.iter().find_map(|trouble| match trouble.what {
            What::Narrow(bytes) => Some(bytes.max(1)),
            _ => None,
        });
        if narrow.is_some() {
            self.struck.fetch_add(1, Ordering::Relaxed);
        }
        let (ours, theirs) = tokio::io::duplex(narrow.unwrap_or(PIPE_BYTES));
        let mut sessions = lock(&self.sessions);
        let sessions = sessions.entry(port).or_default();
        while let Some(ended) = sessions.try_join_next() {
            ended.expect("a session of the rehearsal server does not panic");
        }
        let mut reset = None;
        let at = |way| troubles.iter().find(|trouble| trouble.way == way && narrow.is_none());
        let (there, back) = (at(Way::There), at(Way::Back));
        let ours = if there.is_none() && back.is_none() {
            sessions.spawn(serve(server, tls, theirs));
            ours
        } else {
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            let mark = Arc::new(AtomicBool::new(false));
            let relay = Relay {
                struck: self.struck.clone(),
                reset: mark.clone(),
                there: there.map(|trouble| (trouble.after, trouble.what.clone())),
                back: back.map(|trouble| (trouble.after, trouble.what.clone())),
            };
            reset = Some(mark);
            sessions.spawn(async move {
                tokio::join!(serve(server, tls, theirs), relay.run(far, ours));
            });
            near
        };
        let fuse = lock(&self.fuse).clone();
        let stream: BoxStream = match lock(&self.meddlers).get_mut(&port) {
            Some(meddler) => Box::new(meddler.between(ours)),
            None => Box::new(ours),
        };
        Ok(Box::new(Pipe { stream, side, fuse, reset, is_written: false }))
    }

    /// Takes what is to happen to the connection that is opened now.
    fn troubles_of_the_next(&self, side: Side) -> Vec<Trouble> {
        let mut troubles = lock(&self.troubles);
        let mut now = Vec::new();
        troubles.retain_mut(|trouble| {
            if trouble.side != side {
                return true;
            }
            if trouble.connection == 0 {
                now.push(trouble.clone());
                return false;
            }
            trouble.connection -= 1;
            true
        });
        now
    }
}

async fn serve(server: Server, tls: Option<TlsAcceptor>, stream: DuplexStream) {
    match tls {
        None => server.serve(stream).await,
        Some(acceptor) => {
            // Who hangs up in the handshake is served no further.
            if let Ok(secured) = acceptor.accept(stream).await {
                server.serve_secured(secured).await;
            }
        }
    }
}

/// A program in the middle of a connection to which something happens.
struct Relay {
    struck: Arc<AtomicU64>,
    /// Whether the client finds the connection reset.
    reset: Arc<AtomicBool>,
    there: Option<(u64, What)>,
    back: Option<(u64, What)>,
}

/// How one direction ended.
enum Ended {
    /// The other direction may go on.
    Quietly,
    /// Both are at their end.
    WithAll,
}

impl Relay {
    async fn run(self, client: DuplexStream, server: DuplexStream) {
        let (from_client, to_client) = tokio::io::split(client);
        let (from_server, to_server) = tokio::io::split(server);
        let there = self.carry(from_client, to_server, self.there.as_ref());
        let back = self.carry(from_server, to_client, self.back.as_ref());
        let (mut there, mut back) = (std::pin::pin!(there), std::pin::pin!(back));
        let other = tokio::select! {
            biased;
            ended = &mut there => match ended {
                Ended::WithAll => return,
                Ended::Quietly => back,
            },
            ended = &mut back => match ended {
                Ended::WithAll => return,
                Ended::Quietly => there,
            },
        };
        other.await;
    }

    async fn carry(
        &self,
        mut from: ReadHalf<DuplexStream>,
        mut to: WriteHalf<DuplexStream>,
        trouble: Option<&(u64, What)>,
    ) -> Ended {
        let mut passed = 0;
        let mut piece = vec![0; PIPE_BYTES];
        let mut trouble = trouble;
        loop {
            let left = trouble.map_or(u64::MAX, |(after, _)| after - passed);
            if let (0, Some((_, what))) = (left, trouble) {
                self.struck.fetch_add(1, Ordering::Relaxed);
                trouble = None;
                match what {
                    What::Reset => {
                        self.reset.store(true, Ordering::Relaxed);
                        return Ended::WithAll;
                    }
                    What::End => return Ended::WithAll,
                    What::HalfClose => break,
                    What::Stall(pause) => tokio::time::sleep(*pause).await,
                    What::Narrow(_) => {}
                }
                continue;
            }
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            match from.read(&mut piece[..room]).await {
                Ok(read) if read > 0 => {
                    passed += read as u64;
                    if to.write_all(&piece[..read]).await.is_err() {
                        // Whoever reads is gone; what is still sent goes nowhere.
                        while from.read(&mut piece).await.is_ok_and(|read| read > 0) {}
                        return Ended::Quietly;
                    }
                }
                _ => break,
            }
        }
        let _ = to.shutdown().await;
        // After a half-close the sender writes on, to nowhere.
        while from.read(&mut piece).await.is_ok_and(|read| read > 0) {}
        Ended::Quietly
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
    /// Whether its end is a reset.
    reset: Option<Arc<AtomicBool>>,
    /// The point before a write is counted once, however often the write has to wait.
    is_written: bool,
}

impl Pipe {
    fn is_reset(&self) -> bool {
        self.reset.as_ref().is_some_and(|reset| reset.load(Ordering::Relaxed))
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let fuse = self.fuse.clone();
        if fuse.as_ref().is_some_and(|fuse| fuse.is_dead()) {
            return Poll::Pending; // The run is about to be dropped.
        }
        let left = fuse.as_ref().and_then(|fuse| fuse.left(Kill::Received, self.side));
        let Some(left) = left else {
            let before = out.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, out))?;
            let at_end = out.filled().len() == before && out.remaining() > 0;
            return Poll::Ready(if at_end && self.is_reset() {
                Err(io::ErrorKind::ConnectionReset.into())
            } else {
                Ok(())
            });
        };
        let room = out.remaining().min(usize::try_from(left).unwrap_or(usize::MAX));
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
        let Some(fuse) = self.fuse.clone() else {
            return Pin::new(&mut self.stream).poll_write(cx, octets);
        };
        if fuse.is_dead() || (!std::mem::replace(&mut self.is_written, true) && !fuse.point()) {
            return Poll::Pending; // The run is about to be dropped.
        }
        let left = fuse.left(Kill::Sent, self.side).unwrap_or(u64::MAX);
        let count = octets.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &octets[..count]));
        self.is_written = false;
        if let (true, Ok(written)) = (left < u64::MAX, &written) {
            fuse.burn(*written as u64);
        }
        if fuse.is_dead() || !fuse.point() {
            return Poll::Pending; // Sent, and nobody is there to know.
        }
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
