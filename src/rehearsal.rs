//! An IMAP server of our own, for the demo, tests, benches and rehearsals.
//!
//! It keeps all mail in memory, speaks IMAP4rev1 over any stream, and is as good or bad as its
//! [`Profile`] and its [`Faults`] say. It shares no code with the client, and thus no mistake.
//!
//! ```text
//! Server -> Session (one connection) -> Wire (lines, literals, cuts)
//!        -> Store (one account)      -> Mailbox
//! ```
//!
//! Two runs with the same input give the same output: UIDVALIDITY comes from a counter, and the
//! time of messages appended without a date is what [`Server::set_now`] says.

mod append;
mod certificate;
mod change;
mod command;
mod compress;
mod control;
mod date;
mod fault;
mod fetch;
mod list;
mod login;
mod mailbox;
mod moving;
mod names;
mod profile;
mod search;
mod select;
mod session;
mod sharing;
mod store;
#[cfg(test)]
mod transcript;
mod tree;
mod wire;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub use certificate::Certificate;
pub use date::InternalDate;
pub use fault::{AppendUidLie, BodyFault, Deed, Fault, Faults, Matching, Predicate, Slowness};
pub use mailbox::{Message, StoredMessage};
pub use profile::{Literal, Merging, ObjectId, Profile};
use session::Session;
pub use store::{Held, MailboxInfo, Snapshot, Store};
use tree::Numbers;
pub use tree::Refusal;

/// An IMAP server. Clones are the same server.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

/// What sessions have in common.
struct Shared {
    profile: Profile,
    accounts: Mutex<BTreeMap<String, Account>>,
    numbers: Arc<Numbers>,
    counters: Mutex<Counters>,
    faults: Faults,
    starttls: Mutex<Option<TlsAcceptor>>,
    sessions: AtomicU64,
    /// APPENDs and MOVEs that take effect whether or not their session still lives.
    late: Mutex<JoinSet<()>>,
}

#[derive(Clone)]
struct Account {
    password: String,
    admin: bool,
    store: Store,
}

/// What happened on a server so far.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Connections that came, refused ones included.
    pub connections: u64,
    /// Connections there are now.
    pub connections_now: usize,
    /// The most connections there were at once.
    pub connections_peak: usize,
    /// Sessions each user has now.
    pub sessions_now: BTreeMap<String, usize>,
    /// Commands by name in capitals, `UID FETCH` as one.
    pub commands: BTreeMap<String, u64>,
    /// Messages stored by APPEND.
    pub appended: u64,
    /// Bodies sent by FETCH, whole or in parts; headers do not count.
    pub fetched_bodies: u64,
    /// Bytes of these bodies.
    pub fetched_body_bytes: u64,
}

impl Counters {
    /// How often a command came.
    #[must_use]
    pub fn command(&self, name: &str) -> u64 {
        self.commands.get(name).copied().unwrap_or(0)
    }
}

impl Server {
    /// A server without accounts.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        let numbers = Numbers {
            uid_validity: AtomicU32::new(1_000_000),
            mailbox: AtomicU64::new(1),
            now: AtomicI64::new(1_700_000_000),
        };
        Self {
            shared: Arc::new(Shared {
                profile,
                accounts: Mutex::default(),
                numbers: Arc::new(numbers),
                counters: Mutex::default(),
                faults: Faults::default(),
                starttls: Mutex::default(),
                sessions: AtomicU64::new(0),
                late: Mutex::default(),
            }),
        }
    }

    /// Adds an account with an empty inbox, or changes the password of the one there is.
    pub fn account(&self, user: &str, password: &str) -> Store {
        self.add(user, password, false)
    }

    /// Adds an account that may log in as any other one (AUTHENTICATE PLAIN with an authzid).
    pub fn admin(&self, user: &str, password: &str) -> Store {
        self.add(user, password, true)
    }

    /// The mail of a user.
    #[must_use]
    pub fn store(&self, user: &str) -> Option<Store> {
        self.shared.accounts().get(user).map(|account| account.store.clone())
    }

    /// What the server is like.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.shared.profile
    }

    /// The faults of this server.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.shared.faults.clone()
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counters().clone()
    }

    /// Sets what the server takes for now, in seconds of Unix time.
    pub fn set_now(&self, unix_seconds: i64) {
        self.shared.numbers.now.store(unix_seconds, Ordering::Relaxed);
    }

    /// Sets the UIDVALIDITY the next mailbox gets; they count up from there.
    pub fn set_next_uid_validity(&self, uid_validity: u32) {
        self.shared.numbers.uid_validity.store(uid_validity, Ordering::Relaxed);
    }

    /// Offers STARTTLS on connections in the clear, where the profile has it.
    pub fn offer_starttls(&self, acceptor: TlsAcceptor) {
        *self.shared.starttls.lock().unwrap_or_else(PoisonError::into_inner) = Some(acceptor);
    }

    /// Serves one connection in the clear to its end.
    pub async fn serve<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Session::run(self.shared.clone(), Box::new(stream), false).await;
    }

    /// Serves one connection that is inside TLS already.
    pub async fn serve_secured<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Session::run(self.shared.clone(), Box::new(stream), true).await;
    }

    /// Serves every connection of a listener, inside TLS where an acceptor is given, until the
    /// [`Listening`] is stopped or dropped.
    ///
    /// # Errors
    ///
    /// The listener has no address.
    pub fn listen(&self, listener: TcpListener, tls: Option<TlsAcceptor>) -> io::Result<Listening> {
        let address = listener.local_addr()?;
        let mut task = JoinSet::new();
        task.spawn(accept(self.clone(), listener, tls));
        Ok(Listening { address, task })
    }

    /// Waits until every APPEND and MOVE that a fault made late or slow is through.
    pub async fn settle(&self) {
        let late = std::mem::take(&mut *self.shared.late());
        late.join_all().await;
    }

    fn add(&self, user: &str, password: &str, admin: bool) -> Store {
        let mut accounts = self.shared.accounts();
        let new = || Account {
            password: String::new(),
            admin,
            store: Store::new(self.shared.numbers.clone(), &self.shared.profile),
        };
        let account = accounts.entry(user.to_owned()).or_insert_with(new);
        password.clone_into(&mut account.password);
        account.admin = admin;
        account.store.clone()
    }
}

/// A listener being served; dropping it cuts its connections.
pub struct Listening {
    address: SocketAddr,
    task: JoinSet<()>,
}

impl Listening {
    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening and cuts every connection.
    pub async fn stop(mut self) {
        self.task.shutdown().await;
    }
}

async fn accept(server: Server, listener: TcpListener, tls: Option<TlsAcceptor>) {
    let mut sessions = JoinSet::new();
    loop {
        // What ended is joined, so that the set holds only the living.
        while sessions.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (server, tls) = (server.clone(), tls.clone());
        sessions.spawn(async move {
            match tls {
                None => server.serve(stream).await,
                Some(acceptor) => {
                    if let Ok(secured) = acceptor.accept(stream).await {
                        server.serve_secured(secured).await;
                    }
                }
            }
        });
    }
}

impl Shared {
    fn accounts(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counters(&self) -> std::sync::MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn late(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn starttls(&self) -> Option<TlsAcceptor> {
        self.starttls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

    use super::*;

    #[tokio::test]
    async fn a_listener_serves_tls_until_it_is_stopped() {
        let certificate = Certificate::generate();
        let server = Server::new(Profile::dovecot());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listening = server.listen(listener, Some(certificate.acceptor())).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = TcpStream::connect(listening.local_addr()).await.unwrap();
        let stream = connector.connect(name, stream).await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        let greeting = lines.next_line().await.unwrap().unwrap();
        assert!(greeting.starts_with("* OK [CAPABILITY IMAP4rev1"), "{greeting}");
        listening.stop().await;
        assert!(!matches!(lines.next_line().await, Ok(Some(_))));
        assert_eq!(server.counters().connections_now, 0);
    }
}
