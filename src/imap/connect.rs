//! From an endpoint to a logged-in connection.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_imap::Client;

use super::auth;
use super::exec::{Capabilities, Compressed, Connection, Habits, Server};
use super::reply::{Refusal, Status, StatusKind};
use super::tls::TlsSettings;
use super::wire::{BoxStream, Wire};
use crate::config::{Compress, Config};
use crate::endpoint::{Endpoint, Tls};
use crate::fault::{Fault, Remedy, Scope, Side};

/// Opens the stream to a server; TCP in earnest, memory in tests.
pub trait Dial: Send + Sync + 'static {
    /// Opens a stream.
    fn dial<'a>(
        &'a self,
        endpoint: &'a Endpoint,
    ) -> Pin<Box<dyn Future<Output = io::Result<BoxStream>> + Send + 'a>>;
}

/// Makes logged-in connections.
#[derive(Clone)]
pub struct Connector {
    dial: Arc<dyn Dial>,
    tls: TlsSettings,
    connect_timeout: Duration,
    idle_timeout: Duration,
    compress: Compress,
    /// Servers that agreed to compression and then failed at it.
    cannot_compress: Arc<Mutex<BTreeSet<String>>>,
}

/// A connection whose greeting was read.
struct Greeted {
    client: Client<Wire>,
    /// The capabilities, where the greeting tells them.
    capabilities: Option<Capabilities>,
    habits: Habits,
}

impl Connector {
    /// A connector with the settings of a run.
    ///
    /// # Errors
    ///
    /// Where the extra roots cannot be read.
    pub fn new(dial: Arc<dyn Dial>, config: &Config) -> Result<Self, Fault> {
        Ok(Self {
            dial,
            tls: TlsSettings::new(config.extra_roots_pem.as_deref())?,
            connect_timeout: config.connect_timeout,
            idle_timeout: config.idle_timeout,
            compress: config.compress,
            cannot_compress: Arc::default(),
        })
    }

    /// The same, but for what is compressed.
    #[must_use]
    pub fn compressing(&self, compress: Compress) -> Self {
        Self { compress, ..self.clone() }
    }

    /// Connects and logs in. A server that is `known` from another connection of the same account is not
    /// asked again what it can do.
    ///
    /// # Errors
    ///
    /// An account fault for what a person must mend (certificate, password); a session fault for
    /// what may pass.
    pub async fn connect(
        &self,
        endpoint: &Endpoint,
        side: Side,
        known: Option<&Server>,
    ) -> Result<Connection, Fault> {
        self.log_in(endpoint, side, known).await.map_err(|fault| fault.at(side))
    }

    async fn log_in(
        &self,
        endpoint: &Endpoint,
        side: Side,
        known: Option<&Server>,
    ) -> Result<Connection, Fault> {
        let connected = tokio::time::timeout(self.connect_timeout, self.greeted(endpoint)).await;
        let Greeted { client, capabilities, habits } = connected.unwrap_or_else(|_| {
            let text = format!("no answer within {} s", self.connect_timeout.as_secs());
            Err(Fault::session(format!("connect to {}", endpoint.address()), text))
        })?;
        let (session, capabilities) = auth::log_in(client, capabilities, endpoint).await?;
        let server = match known {
            Some(known) => known.clone(),
            None => Server::announcing(capabilities.unwrap_or_default()),
        };
        let mut connection = Connection::new(session, server, habits, side);
        if known.is_none() {
            connection.learn_capabilities().await?;
        }
        if self.compress.is_for(side) && connection.offers_compression() {
            self.begin_compression(&mut connection, endpoint.address()).await?;
        }
        // Last: the list that comes with it is for whoever asks next.
        if known.is_none() {
            connection.learn_hierarchy().await?;
        }
        Ok(connection)
    }

    /// A server that agrees to compression and then says nothing, or nothing that can be read, is not
    /// asked for it again: the next connection goes without.
    async fn begin_compression(
        &self,
        connection: &mut Connection,
        address: String,
    ) -> Result<(), Fault> {
        let servers = || self.cannot_compress.lock().unwrap_or_else(PoisonError::into_inner);
        if servers().contains(&address) || connection.compress().await? == Compressed::Refused {
            return Ok(());
        }
        let action = "begin compression";
        let proof = connection.run_ok("NOOP", action, Scope::Session);
        let proof = tokio::time::timeout(self.connect_timeout, proof).await.unwrap_or_else(|_| {
            let text = format!("no answer within {} s", self.connect_timeout.as_secs());
            Err(Fault::session(action, text))
        });
        if proof.is_err() {
            servers().insert(address);
        }
        proof.map(drop)
    }

    /// A connection under TLS, if TLS is asked for, with its greeting read.
    async fn greeted(&self, endpoint: &Endpoint) -> Result<Greeted, Fault> {
        let address = endpoint.address();
        let stream = self
            .dial
            .dial(endpoint)
            .await
            .map_err(|error| Fault::session(format!("connect to {address}"), error))?;
        match endpoint.tls {
            Tls::Plain => self.greeting(stream, &address).await,
            Tls::Implicit => {
                let stream = self.tls.begin(endpoint, stream).await?;
                self.greeting(stream, &address).await
            }
            Tls::StartTls => {
                let Greeted { client, habits, .. } = self.greeting(stream, &address).await?;
                let stream = start_tls(client, &address).await?;
                let stream = self.tls.begin(endpoint, stream).await?;
                let client = Client::new(Wire::new(stream, self.idle_timeout));
                // What was said of capabilities before TLS does not count.
                Ok(Greeted { client, capabilities: None, habits })
            }
        }
    }

    async fn greeting(&self, stream: BoxStream, address: &str) -> Result<Greeted, Fault> {
        let action = || format!("be greeted by {address}");
        let mut wire = Wire::new(stream, self.idle_timeout);
        let line = wire.response().await.map_err(|error| Fault::session(action(), error))?;
        let status = line.strip_prefix(b"* ").and_then(Status::parse);
        match status {
            Some(status) if status.kind == StatusKind::Ok => {
                let capabilities = Capabilities::from_code(&status);
                let habits = Habits::of(&status.text);
                Ok(Greeted { client: Client::new(wire), capabilities, habits })
            }
            Some(status) if status.kind == StatusKind::Preauth => Err(Fault::new(
                Scope::Account,
                Remedy::Nothing,
                action(),
                "it says that we are logged in already (PREAUTH), as nobody can tell whom",
            )),
            Some(status) => Err(Fault::new(
                Scope::Session,
                Remedy::Wait(Duration::ZERO),
                action(),
                Refusal(status),
            )),
            None => Err(Fault::session(action(), "what answers there is no IMAP server")),
        }
    }
}

/// Asks for STARTTLS, whatever the server announces: announcements without TLS prove nothing.
async fn start_tls(mut client: Client<Wire>, address: &str) -> Result<BoxStream, Fault> {
    let action = || format!("begin STARTTLS with {address}");
    let outcome = client.run_command_and_check_ok("STARTTLS", None).await;
    let heard = client.get_mut().take_heard();
    let status = heard.last().and_then(|line| auth::answer(line, auth::TAGS[0]));
    match (outcome, status) {
        (Ok(()), Some(status)) if status.kind == StatusKind::Ok => client
            .into_inner()
            .into_stream()
            .map_err(|error| Fault::new(Scope::Account, Remedy::Nothing, action(), error)),
        (_, Some(status)) => {
            Err(Fault::new(Scope::Account, Remedy::Nothing, action(), Refusal(status)))
        }
        (outcome, None) => Err(Fault::session(
            action(),
            outcome.err().map_or_else(|| "no answer".to_owned(), |error| error.to_string()),
        )),
    }
}
