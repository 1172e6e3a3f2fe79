//! One connection, from its greeting to its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use imap_codec::imap_types::mailbox::Mailbox as Name;

use super::command;
use super::fault::Deed;
use super::names::{Naming, Path};
use super::profile::Literal;
use super::select::Selected;
use super::store::Store;
use super::tree::Refusal;
use super::wire::{Announced, Gone, Line, Stream, Wire};
use super::{Profile, Shared};

/// The most bytes the literals of one command other than APPEND have.
const LITERALS_BYTES: u64 = 64 * 1024;
/// Bad commands after which a session is ended.
const BAD_COMMANDS: u32 = 50;

/// The tagged answer without its tag.
#[derive(Debug)]
pub(super) struct Reply(pub(super) String);

impl Reply {
    pub(super) fn ok(text: &str) -> Self {
        Self(format!("OK {text}"))
    }

    pub(super) fn no(text: &str) -> Self {
        Self(format!("NO {text}"))
    }

    pub(super) fn bad(text: &str) -> Self {
        Self(format!("BAD {text}"))
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self(format!("NO {refusal}"))
    }
}

/// What a handler does: an answer either way, so that `?` works on refusals.
pub(super) type Handled = Result<Reply, Reply>;

/// One connection and its state.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) wire: Wire,
    pub(super) number: u64,
    pub(super) secured: bool,
    pub(super) login: Option<Login>,
    pub(super) selected: Option<Selected>,
    pub(super) condstore: bool,
    pub(super) utf8: bool,
    pub(super) over: bool,
    /// Whether a fault wants the connection cut instead of an answer.
    pub(super) cut: bool,
    bad: u32,
}

/// Who a session belongs to.
pub(super) struct Login {
    pub(super) user: String,
    pub(super) store: Store,
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut counters = self.shared.counters();
        counters.connections_now -= 1;
        if let Some(login) = &self.login
            && let Some(now) = counters.sessions_now.get_mut(&login.user)
        {
            *now -= 1;
        }
    }
}

impl Session {
    /// Holds a session to its end.
    pub(super) async fn run(shared: Arc<Shared>, stream: Box<dyn Stream>, secured: bool) {
        let number = shared.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        let connections = {
            let mut counters = shared.counters();
            counters.connections += 1;
            counters.connections_now += 1;
            counters.connections_peak = counters.connections_peak.max(counters.connections_now);
            counters.connections_now
        };
        let mut session = Self {
            wire: Wire::new(stream),
            number,
            secured,
            login: None,
            selected: None,
            condstore: false,
            utf8: false,
            over: false,
            cut: false,
            bad: 0,
            shared,
        };
        let cuts = session.shared.faults.cuts(number, None);
        session.wire.cut_after(cuts);
        if session.profile().max_connections.is_some_and(|most| connections > most) {
            session.wire.put_line("* BYE [UNAVAILABLE] too many connections");
            session.over = true;
        } else {
            let code = session.capability_code();
            let name = &session.shared.profile.name;
            session.wire.put_line(format_args!("* OK {code}{name} rehearsal ready"));
        }
        while !session.over {
            if Box::pin(session.command()).await.is_err() {
                return;
            }
        }
        let wire = std::mem::replace(&mut session.wire, Wire::closed());
        wire.close().await;
    }

    pub(super) fn profile(&self) -> &Profile {
        &self.shared.profile
    }

    pub(super) fn user(&self) -> Option<&str> {
        self.login.as_ref().map(|login| login.user.as_str())
    }

    pub(super) fn strike<T>(&self, fits: impl Fn(&Deed) -> Option<T>) -> Option<T> {
        self.shared.faults.strike(self.number, self.user(), fits)
    }

    pub(super) fn naming(&self) -> Naming {
        Naming {
            prefix: self.profile().prefix.clone(),
            delimiter: self.profile().delimiter,
            utf8: self.utf8,
        }
    }

    pub(super) fn path(&self, wire: &[u8]) -> Result<Path, Reply> {
        self.naming().decode(wire).map_err(|why| Reply::no(&format!("[CANNOT] {why}")))
    }

    pub(super) fn named(&self, name: &Name<'_>) -> Result<Path, Reply> {
        match name {
            Name::Inbox => Ok(vec!["INBOX".to_owned()]),
            Name::Other(other) => self.path(other.as_ref()),
        }
    }

    pub(super) fn store(&self) -> Result<Store, Reply> {
        let login = self.login.as_ref().ok_or_else(|| Reply::bad("log in first"))?;
        Ok(login.store.clone())
    }

    /// Capabilities as a response code with a space, or nothing.
    pub(super) fn capability_code(&self) -> String {
        if self.profile().capability_codes {
            format!("[CAPABILITY {}] ", self.capabilities())
        } else {
            String::new()
        }
    }

    /// Answers whether a client may send a literal: the error is the refusal of its command.
    pub(super) fn leave(&mut self, literal: Announced) -> Result<(), Reply> {
        if literal.waits {
            self.wire.put(b"+ go ahead\r\n");
            return Ok(());
        }
        match self.profile().literal {
            Literal::Plus => Ok(()),
            Literal::Minus if literal.bytes <= 4096 => Ok(()),
            Literal::Minus => Err(Reply::bad("[TOOBIG] literal beyond 4096 bytes must wait")),
            Literal::None => Err(Reply::bad("literals must wait")),
        }
    }

    /// Reads a line of a command.
    pub(super) async fn line(&mut self) -> Result<Line, Gone> {
        self.wire.line(self.shared.profile.max_line_bytes).await
    }

    /// Reads past the rest of a refused command.
    pub(super) async fn skip(&mut self, literal: Option<Announced>) -> Result<(), Gone> {
        self.wire.skip(literal, self.shared.profile.max_line_bytes).await
    }

    pub(super) fn capabilities(&self) -> String {
        let starttls = !self.secured && self.profile().starttls && self.shared.starttls().is_some();
        self.profile().capabilities(starttls)
    }

    /// Reads one command, does it, answers.
    async fn command(&mut self) -> Result<(), Gone> {
        let line = self.line().await?;
        let Some((tag, name)) = command::head(&line.text) else {
            self.skip(line.literal).await?;
            self.wire.put_line("* BAD no tag");
            return self.count_bad();
        };
        let mut position = self.wire.position();
        if let Some(fault) = line.fault {
            self.skip(line.literal).await?;
            self.wire.put_line(format_args!("{tag} BAD {fault}"));
            return self.count_bad();
        }
        *self.shared.counters().commands.entry(name.clone()).or_default() += 1;
        let struck = self.strike(|deed| match deed {
            Deed::CutBefore(wanted) if is_meant(wanted, &name) => Some(None),
            Deed::Answer(wanted, text) if is_meant(wanted, &name) => Some(Some(text.clone())),
            _ => None,
        });
        let reply = match struck {
            Some(None) => {
                self.wire.flush().await?;
                return Err(Gone);
            }
            Some(Some(text)) => {
                self.skip(line.literal).await?;
                Reply(text)
            }
            None if name == "APPEND" => self.append(line).await?,
            None => {
                let Some(command) = self.collect(line).await? else {
                    self.wire.put_line(format_args!("{tag} BAD literal refused"));
                    return self.count_bad();
                };
                // The continuations are out; what follows is the answer.
                position = position.max(self.wire.position());
                self.handle(&name, &command).await?
            }
        };
        let quiet = matches!(name.as_str(), "FETCH" | "STORE" | "SEARCH")
            || (self.profile().invents && name == "UID FETCH");
        self.report(!quiet);
        self.answer(&tag, &name, reply, position).await
    }

    /// Sends the tagged answer, unless a fault is about it.
    async fn answer(
        &mut self,
        tag: &str,
        name: &str,
        reply: Reply,
        position: u64,
    ) -> Result<(), Gone> {
        let cut = self.strike(|deed| match deed {
            Deed::CutAfter(wanted) => is_meant(wanted, name).then_some(()),
            _ => None,
        });
        if cut.is_some() || self.cut {
            self.wire.rewind(position);
            self.wire.flush().await?;
            return Err(Gone);
        }
        let delay = self.strike(|deed| match deed {
            Deed::Delay(wanted, delay) if is_meant(wanted, name) => Some(*delay),
            _ => None,
        });
        if let Some(delay) = delay {
            self.wire.flush().await?;
            tokio::time::sleep(delay).await;
        }
        let Reply(text) = reply;
        if text.starts_with("BYE") {
            self.wire.put_line(format_args!("* {text}"));
            self.over = true;
            return Ok(());
        }
        self.wire.put_line(format_args!("{tag} {text}"));
        if name == "STARTTLS"
            && text.starts_with("OK")
            && let Some(acceptor) = self.shared.starttls()
        {
            self.wire.secure(&acceptor).await?;
            self.secured = true;
        }
        if name == "COMPRESS" && text.starts_with("OK") {
            self.wire.compress().await?;
        }
        if text.starts_with("BAD") { self.count_bad() } else { self.wire.relieve().await }
    }

    fn count_bad(&mut self) -> Result<(), Gone> {
        self.bad += 1;
        if self.bad >= BAD_COMMANDS {
            self.wire.put_line("* BYE too many bad commands");
            self.over = true;
        }
        Ok(())
    }

    /// Reads the literals of a command; `None` where one is refused.
    async fn collect(&mut self, line: Line) -> Result<Option<Vec<u8>>, Gone> {
        let mut line = line;
        let mut command = Vec::new();
        let mut bytes = 0;
        loop {
            command.extend_from_slice(&line.text);
            command.extend_from_slice(b"\r\n");
            let Some(literal) = line.literal else {
                return Ok(line.fault.is_none().then_some(command));
            };
            bytes += literal.bytes.min(LITERALS_BYTES + 1);
            let refused = bytes > LITERALS_BYTES || line.fault.is_some();
            if refused || self.leave(literal).is_err() {
                self.skip(Some(literal)).await?;
                return Ok(None);
            }
            command.extend_from_slice(&self.wire.literal(literal.bytes).await?);
            line = self.line().await?;
        }
    }
}

/// Says whether a fault about one command, or with `*` about any, is about this one.
fn is_meant(wanted: &str, name: &str) -> bool {
    wanted == "*" || wanted == name
}

#[cfg(test)]
mod tests;
