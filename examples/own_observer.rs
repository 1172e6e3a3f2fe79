//! Watches a migration with an observer of its own: one line for each finished account, and a count
//! of everything that happened. Needs nothing: both servers are rehearsal servers in this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::ensure;
use mailhaul::rehearsal::{Certificate, Message, Profile, Server};
use mailhaul::{
    Account, Batch, Config, Endpoint, Event, Observer, SecretSource, SqliteLedger, Stop,
};
use tokio::net::TcpListener;

/// Counts events by name. Called from the tasks that move mail, so it must be quick.
#[derive(Default)]
struct Counting(Mutex<BTreeMap<String, u32>>);

impl Observer for Counting {
    #[expect(clippy::print_stdout, reason = "a person reads it")]
    fn event(&self, event: &Event) {
        match event {
            Event::AccountDone { account, messages, .. } => {
                println!("{account}: {messages} copied")
            }
            Event::AccountFailed { account, reason, .. } => println!("{account}: {reason}"),
            _ => {}
        }
        // An event is plain data with a name: what the JSON lines of the command show.
        let json = serde_json::to_value(event).unwrap_or_default();
        let name = json["event"].as_str().unwrap_or_default().to_owned();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(name).or_default() += 1;
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a person reads it")]
async fn main() -> anyhow::Result<()> {
    let certificate = Certificate::generate();
    let servers = [Profile::courier(), Profile::dovecot()].map(Server::new);
    let mut listening = Vec::new();
    for server in &servers {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        listening.push(server.listen(listener, Some(certificate.acceptor()))?);
    }
    let endpoint = |side: usize, user: &str| Endpoint {
        port: listening[side].local_addr().port(),
        ..Endpoint::new("127.0.0.1", user, SecretSource::Literal("secret".into()))
    };
    let mut batch = Batch::default();
    for user in ["anna", "bob"] {
        servers[1].account(user, "secret");
        let old = servers[0].account(user, "secret");
        for number in 1..=20 {
            old.deliver(&["Archive", "2019"], Message::new(format!("Subject: {number}\r\n\r\n")));
        }
        batch.accounts.push(Account::new(endpoint(0, user), endpoint(1, user)));
    }
    let config = Config { extra_roots_pem: Some(certificate.pem().into()), ..Config::default() };
    let observer = Arc::new(Counting::default());
    let ledger = SqliteLedger::in_memory()?; // A real migration keeps it in a file.
    mailhaul::run(config, &batch, ledger, observer.clone(), Stop::new()).await?;
    for (name, count) in &*observer.0.lock().unwrap_or_else(PoisonError::into_inner) {
        println!("  {name}: {count}");
    }
    ensure!(servers[1].counters().appended == 40, "not everything was copied");
    Ok(())
}
