//! A client for tests that speaks raw text, so that nothing hides what the server says.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::{Profile, Server, Store};

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// One connection; the server's half runs as long as this lives.
pub(super) struct Client {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    tags: u32,
    pub(super) greeting: String,
    server: JoinSet<()>,
}

/// A server with one account, `ann`, its store and a client logged in.
pub(super) async fn ann(profile: Profile) -> (Server, Store, Client) {
    let server = Server::new(profile);
    let store = server.account("ann", "secret");
    let client = Client::logged_in(&server).await;
    (server, store, client)
}

impl Client {
    /// A connection whose greeting is not read.
    pub(super) fn raw(server: &Server) -> Self {
        let (client, other) = tokio::io::duplex(1024 * 1024);
        let server = server.clone();
        let mut task = JoinSet::new();
        task.spawn(async move { server.serve(other).await });
        Self {
            stream: Box::new(client),
            buffer: Vec::new(),
            tags: 0,
            greeting: String::new(),
            server: task,
        }
    }

    pub(super) async fn greeted(server: &Server) -> Self {
        let mut client = Self::raw(server);
        client.greeting = client.line().await;
        client
    }

    pub(super) async fn logged_in(server: &Server) -> Self {
        let mut client = Self::greeted(server).await;
        assert!(client.last("LOGIN ann secret").await.starts_with("OK"));
        client
    }

    pub(super) async fn secured(self, connector: &TlsConnector, host: &str) -> Self {
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let stream = connector.connect(name, self.stream).await.unwrap();
        Self { stream: Box::new(stream), ..self }
    }

    pub(super) async fn send(&mut self, text: impl AsRef<[u8]>) {
        // The server may have cut the connection: what it says tells.
        let _ = self.stream.write_all(text.as_ref()).await;
        let _ = self.stream.flush().await;
    }

    /// A line without its end; empty once the server closed.
    pub(super) async fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return String::from_utf8_lossy(&line[..at]).into_owned();
            }
            if !self.more().await {
                return String::new();
            }
        }
    }

    /// So many bytes.
    pub(super) async fn exactly(&mut self, bytes: usize) -> Vec<u8> {
        while self.buffer.len() < bytes && self.more().await {}
        let bytes = bytes.min(self.buffer.len());
        self.buffer.drain(..bytes).collect()
    }

    /// Everything up to the tagged answer of a command, that included.
    pub(super) async fn bytes(&mut self, command: impl AsRef<[u8]>) -> Vec<u8> {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.send([tag.as_bytes(), b" ", command.as_ref(), b"\r\n"].concat()).await;
        let wanted = format!("{tag} ");
        let mut start = 0;
        loop {
            while let Some(length) = self.buffer[start..].windows(2).position(|p| p == b"\r\n") {
                if self.buffer[start..].starts_with(wanted.as_bytes()) {
                    return self.buffer.drain(..start + length + 2).collect();
                }
                start += length + 2;
            }
            if !self.more().await {
                return std::mem::take(&mut self.buffer);
            }
        }
    }

    /// As [`bytes`](Self::bytes), the answer without its tag, lines ended by LF.
    pub(super) async fn all(&mut self, command: impl AsRef<[u8]>) -> String {
        let bytes = self.bytes(command).await;
        let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
        text.replace(&format!("t{} ", self.tags), "")
    }

    /// The tagged answer alone, without its tag.
    pub(super) async fn last(&mut self, command: impl AsRef<[u8]>) -> String {
        let all = self.all(command).await;
        all.lines().last().unwrap_or_default().to_owned()
    }

    /// Says whether the server ends the connection.
    pub(super) async fn ended(&mut self) -> bool {
        while self.more().await {}
        while self.server.join_next().await.is_some() {}
        true
    }

    async fn more(&mut self) -> bool {
        let mut piece = vec![0; 64 * 1024];
        let read = tokio::time::timeout(Duration::from_secs(20), self.stream.read(&mut piece));
        match read.await.expect("the server says something") {
            Ok(read) => {
                self.buffer.extend_from_slice(&piece[..read]);
                read > 0
            }
            Err(_) => false,
        }
    }
}
