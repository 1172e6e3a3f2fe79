//! Two rehearsal servers on loopback, for commands that reach servers.

use mailhaul::rehearsal::{InternalDate, Listening, Message, Profile, Server, Store};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::{Folder, SECRET};

pub(crate) const INBOX: [&str; 1] = ["INBOX"];

/// A source and a target that serve until they are dropped, and a folder with a CSV for them.
pub(crate) struct Between {
    pub(crate) folder: Folder,
    pub(crate) source: Server,
    pub(crate) target: Server,
    _listening: [Listening; 2],
    _runtime: Runtime,
}

impl Between {
    /// With these users on both servers.
    pub(crate) fn new(users: &[&str]) -> Self {
        Self::to(Profile::dovecot(), users)
    }

    /// The same, with a target like this.
    pub(crate) fn to(target: Profile, users: &[&str]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let [source, target] = [Profile::dovecot(), target].map(Server::new);
        for server in [&source, &target] {
            for user in users {
                server.account(user, SECRET);
            }
        }
        let listening = [&source, &target].map(|server| {
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                server.listen(listener, None).expect("an address")
            })
        });
        let mut csv = "source_host,source_port,source_tls,source_user,source_password,\
                       target_host,target_port,target_tls,target_user,target_password\n"
            .to_owned();
        let [from, to] = [&listening[0], &listening[1]].map(|one| one.local_addr().port());
        for user in users {
            csv += &format!(
                "127.0.0.1,{from},plain,{user},{SECRET},127.0.0.1,{to},plain,{user},{SECRET}\n"
            );
        }
        let folder = Folder::new(&csv);
        Self { folder, source, target, _listening: listening, _runtime: runtime }
    }

    pub(crate) fn source(&self, user: &str) -> Store {
        self.source.store(user).expect("a user of both")
    }

    pub(crate) fn target(&self, user: &str) -> Store {
        self.target.store(user).expect("a user of both")
    }

    /// A file of the state directory as JSON.
    pub(crate) fn json(&self, name: &str) -> serde_json::Value {
        let path = self.folder.path().join("accounts.mailhaul").join(name);
        serde_json::from_slice(&std::fs::read(path).expect(name)).expect("JSON")
    }

    /// The lines of a CSV of the state directory, without its header.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let path = self.folder.path().join("accounts.mailhaul").join(name);
        let text = std::fs::read_to_string(path).expect(name);
        text.lines().skip(1).map(str::to_owned).collect()
    }
}

/// A message, different for each number.
pub(crate) fn letter(number: u32) -> Message {
    let body = format!(
        "Message-ID: <{number}@example.org>\r\nDate: Mon, 14 Sep 2020 10:00:00 +0200\r\n\
         Subject: letter {number}\r\n\r\nText of letter {number}.\r\n"
    );
    let internal_date =
        InternalDate { unix_seconds: 1_600_000_000 + i64::from(number), offset_seconds: 0 };
    Message { internal_date, ..Message::new(body) }
}
