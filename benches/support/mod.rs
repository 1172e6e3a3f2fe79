//! Two rehearsal servers on loopback, and the engine between them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mailhaul::accounts::{Account, Batch};
use mailhaul::config::Config;
use mailhaul::endpoint::{Auth, Endpoint, Fingerprint, SecretSource, Tls};
use mailhaul::engine::{self, Env};
use mailhaul::imap::connect::Dial;
use mailhaul::ledger::Ledger;
use mailhaul::rehearsal::{Certificate, InternalDate, Listening, Message, Profile, Server};
use mailhaul::stop::Stop;
use tokio::net::TcpListener;
use tokio::time::Instant;

/// A source with mail, and a target without.
pub(crate) struct Pair {
    users: Vec<String>,
    source: End,
    target: End,
}

struct End {
    server: Server,
    address: SocketAddr,
    pin: Option<Fingerprint>,
    _listening: Listening,
}

impl Pair {
    /// Starts both servers with so many accounts, and shares `messages` out among their mailboxes.
    pub(crate) async fn start(
        profile: &Profile,
        secured: bool,
        accounts: usize,
        messages: &[Message],
    ) -> io::Result<Self> {
        let users: Vec<String> =
            (1..=accounts).map(|number| format!("user{number}@example")).collect();
        let source = End::start(Server::new(profile.clone()), &users, secured).await?;
        let target = End::start(Server::new(profile.clone()), &users, secured).await?;
        let mailboxes: [&[&str]; 2] = [&["INBOX"], &["Archive"]];
        for (index, message) in messages.iter().enumerate() {
            let mailbox = mailboxes[(index / users.len()) % mailboxes.len()];
            if let Some(store) = source.server.store(&users[index % users.len()]) {
                store.deliver(mailbox, message.clone());
            }
        }
        Ok(Self { users, source, target })
    }

    /// Copies everything; says how long that took, once the target was compared with the source.
    pub(crate) async fn copy<L: Ledger>(
        &self,
        dial: impl Dial,
        ledger: L,
        config: Config,
    ) -> Result<Duration, String> {
        let account =
            |user: &String| Account::new(self.source.endpoint(user), self.target.endpoint(user));
        let batch = Batch { accounts: self.users.iter().map(account).collect() };
        let env = Env { dial: Arc::new(dial), ledger, seed: 1 };
        let begun = Instant::now();
        Box::pin(engine::run_in(env, config, &batch, Arc::new(()), Stop::new()))
            .await
            .map_err(|fault| fault.chain())?;
        let taken = begun.elapsed();
        for user in &self.users {
            let mail = |end: &End| end.server.store(user).map(|store| store.snapshot());
            if mail(&self.source) != mail(&self.target) {
                return Err(format!("{user}: the target is not equal to the source"));
            }
        }
        Ok(taken)
    }
}

impl End {
    async fn start(server: Server, users: &[String], secured: bool) -> io::Result<Self> {
        for user in users {
            server.account(user, "secret");
        }
        let certificate = secured.then(Certificate::generate);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let acceptor = certificate.as_ref().map(Certificate::acceptor);
        let listening = server.listen(listener, acceptor)?;
        Ok(Self {
            server,
            address: listening.local_addr(),
            pin: certificate.and_then(|certificate| Fingerprint::parse(&certificate.fingerprint())),
            _listening: listening,
        })
    }

    fn endpoint(&self, user: &str) -> Endpoint {
        endpoint(self.address, self.pin, user)
    }
}

/// A login on a server of this machine, in the clear unless its certificate is given.
pub(crate) fn endpoint(address: SocketAddr, pin: Option<Fingerprint>, user: &str) -> Endpoint {
    Endpoint {
        host: address.ip().to_string(),
        port: address.port(),
        tls: if pin.is_some() { Tls::Implicit } else { Tls::Plain },
        pin,
        user: user.to_owned(),
        auth: Auth::Password,
        secret: SecretSource::Literal("secret".into()),
    }
}

/// A message of about so many bytes that no other number makes.
pub(crate) fn message(number: usize, bytes: usize) -> Message {
    let mut body = format!(
        "From: anna@example\r\nTo: bob@example\r\nSubject: number {number}\r\n\
         Message-ID: <{number}@example>\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\n\r\n"
    );
    while body.len() < bytes {
        body.push_str("The quick brown fox jumps over the lazy dog, and writes home about it.\r\n");
    }
    let seconds = i64::try_from(number).unwrap_or_default();
    Message {
        flags: if number.is_multiple_of(3) { Vec::new() } else { vec!["\\Seen".to_owned()] },
        internal_date: InternalDate {
            unix_seconds: 1_700_000_000 + seconds,
            ..InternalDate::default()
        },
        body: body.into(),
    }
}
