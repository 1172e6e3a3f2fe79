//! APPEND, of one message or several (RFC 3502).

use super::command::{Cursor, write_set};
use super::fault::{AppendUidLie, Deed};
use super::mailbox::{Message, normalise};
use super::names::Path;
use super::profile::Merging;
use super::session::{Reply, Session};
use super::store::Store;
use super::tree::{Refusal, Tree};
use super::wire::{Announced, Gone, Line};
use super::{InternalDate, Profile};

/// The longest mailbox name that may come as a literal, in bytes.
const NAME_BYTES: u64 = 8 * 1024;

/// What stands before the literal of a message.
#[derive(Debug, Default, Eq, PartialEq)]
struct Preamble {
    flags: Vec<String>,
    date: Option<InternalDate>,
    /// Whether the message comes as `UTF8 (~{n}...)` (RFC 6855).
    utf8: bool,
}

/// How far an APPEND came: refused with what is left of its command, or ready to be stored.
enum Received {
    Refused(Reply, Option<Announced>),
    Whole(Path, Vec<Message>),
}

impl Session {
    /// Does an APPEND from its first line on.
    pub(super) async fn append(&mut self, line: Line) -> Result<Reply, Gone> {
        match self.receive(line).await? {
            Received::Refused(reply, rest) => {
                self.skip(rest).await?;
                Ok(reply)
            }
            Received::Whole(path, messages) => self.commit(&path, messages).await,
        }
    }

    async fn receive(&mut self, first: Line) -> Result<Received, Gone> {
        let mut line = first;
        let skipped = line.text.iter().position(|byte| *byte == b' ').unwrap_or(0);
        let mut rest = line.text.split_off((skipped + " APPEND ".len()).min(line.text.len()));
        let start = line.text.len();
        let refused = |text: &str, rest| Ok(Received::Refused(Reply::bad(text), rest));
        let store = match self.store() {
            Ok(store) => store,
            Err(reply) => return Ok(Received::Refused(reply, line.literal)),
        };
        // The mailbox, which may be a literal itself.
        let name = match line.literal {
            Some(literal) if literal.start == start => {
                if literal.bytes > NAME_BYTES {
                    return refused("name too long", line.literal);
                }
                if let Err(reply) = self.leave(literal) {
                    return Ok(Received::Refused(reply, line.literal));
                }
                let name = self.wire.literal(literal.bytes).await?.to_vec();
                line = self.line().await?;
                rest = std::mem::take(&mut line.text);
                Some(name)
            }
            found => {
                let mut cursor = Cursor::new(&rest);
                let name = cursor.astring();
                let at = cursor.at;
                rest.drain(..at);
                line.literal = found.and_then(|found| {
                    found.start.checked_sub(start + at).map(|start| Announced { start, ..found })
                });
                name
            }
        };
        let Some(name) = name else {
            return refused("cannot parse the mailbox", line.literal);
        };
        let path = match self.path(&name) {
            Ok(path) => path,
            Err(reply) => return Ok(Received::Refused(reply, line.literal)),
        };
        let mut messages = Vec::new();
        let mut bytes = 0;
        loop {
            // From here on `rest` is what stands before the literal of one message.
            let Some(literal) = line.literal.filter(|_| line.fault.is_none()) else {
                return refused("expected a message", None);
            };
            let preamble = match preamble(&rest[..literal.start]) {
                Some(preamble)
                    if preamble.utf8 == literal.eight
                        || (self.profile().binary && literal.eight) =>
                {
                    preamble
                }
                _ => return refused("cannot parse what stands before the message", line.literal),
            };
            let admitted = admit(&store, &path, bytes, literal, self.profile())
                .and_then(|()| preamble.allowed(self.utf8))
                .and_then(|()| self.leave(literal));
            if let Err(reply) = admitted {
                return Ok(Received::Refused(reply, line.literal));
            }
            bytes += literal.bytes;
            let body = self.wire.literal(literal.bytes).await?;
            line = self.line().await?;
            rest = std::mem::take(&mut line.text);
            let struck = self.strike(|deed| match deed {
                Deed::Refuse(matching, text) if matching.matches(&body) => Some(text.clone()),
                _ => None,
            });
            let has_nul = !literal.eight && memchr::memchr(0, &body).is_some();
            if has_nul && self.profile().binary {
                let said = "NO Message contains NUL characters".to_owned();
                return Ok(Received::Refused(Reply(said), line.literal));
            }
            if let Some(text) = struck {
                return Ok(Received::Refused(Reply(text), line.literal));
            }
            messages.push(Message {
                flags: if self.profile().drops_flags { Vec::new() } else { preamble.flags },
                internal_date: preamble.date.unwrap_or_else(|| store.now()),
                body,
            });
            if preamble.utf8 {
                if rest.first() != Some(&b')') {
                    return refused("expected a parenthesis", line.literal);
                }
                rest.remove(0);
                line.literal = line.literal.map(|found| relative(found, 1));
            }
            if rest.is_empty() && line.fault.is_none() {
                return Ok(Received::Whole(path, messages));
            }
            if !self.profile().multiappend {
                return refused("one message an APPEND", line.literal);
            }
        }
    }

    /// Stores what was received, all or nothing, as far as no fault is about it.
    async fn commit(&mut self, path: &Path, mut messages: Vec<Message>) -> Result<Reply, Gone> {
        let Ok(store) = self.store() else {
            return Ok(Reply::bad("log in first"));
        };
        let bodies = |matching: &super::Matching, messages: &[Message]| {
            messages.iter().any(|message| matching.matches(&message.body))
        };
        let rewritten = self.strike(|deed| match deed {
            Deed::Rewrite(matching, body) if bodies(matching, &messages) => {
                Some((matching.clone(), body.clone()))
            }
            _ => None,
        });
        if let Some((matching, body)) = rewritten {
            for message in &mut messages {
                if matching.matches(&message.body) {
                    message.body = body.clone().into();
                }
            }
        }
        if self.profile().ends_lines {
            for message in messages.iter_mut().filter(|one| !one.body.ends_with(b"\n")) {
                message.body = [&message.body[..], b"\r\n"].concat().into();
            }
        }
        let forgotten = self.strike(|deed| match deed {
            Deed::Forget(matching) => bodies(matching, &messages).then_some(()),
            _ => None,
        });
        let late = self.strike(|deed| match deed {
            Deed::CommitLate(matching, delay) if bodies(matching, &messages) => Some(*delay),
            _ => None,
        });
        let count = messages.len();
        let stored = if forgotten.is_some() {
            pretend(&store, path, count)
        } else if let Some(delay) = late {
            self.wire.flush().await?;
            self.commit_late(store, path.clone(), messages, delay).await?
        } else {
            let merges = self.profile().merges;
            let stored = store.change(|tree| put(tree, path, &messages, merges));
            if stored.is_ok() {
                self.shared.counters().appended += count as u64;
            }
            stored
        };
        Ok(match stored {
            Err(refusal) => refusal.into(),
            Ok((uid_validity, uids)) => Reply::ok(&self.append_uid(uid_validity, uids)),
        })
    }

    /// Stores messages later, in a task that outlives the session, and waits for it.
    async fn commit_late(
        &mut self,
        store: Store,
        path: Path,
        messages: Vec<Message>,
        delay: std::time::Duration,
    ) -> Result<Result<(u32, Vec<u32>), Refusal>, Gone> {
        let (tell, told) = tokio::sync::oneshot::channel();
        let (shared, merges) = (self.shared.clone(), self.profile().merges);
        self.shared.late().spawn(async move {
            tokio::time::sleep(delay).await;
            let stored = store.change(|tree| put(tree, &path, &messages, merges));
            if stored.is_ok() {
                shared.counters().appended += messages.len() as u64;
            }
            // The session may be gone by now.
            let _ = tell.send(stored);
        });
        told.await.map_err(|_| Gone)
    }

    fn append_uid(&self, uid_validity: u32, uids: Vec<u32>) -> String {
        let lie = self.strike(|deed| match deed {
            Deed::AppendUid(lie) => Some(*lie),
            _ => None,
        });
        let (mut uid_validity, mut uids) = (uid_validity, uids);
        match lie {
            None => {}
            Some(AppendUidLie::Omitted) => return "appended".to_owned(),
            Some(AppendUidLie::Shifted(by)) => {
                uids.iter_mut().for_each(|uid| *uid = uid.wrapping_add(by));
            }
            Some(AppendUidLie::Validity(other)) => uid_validity = other,
        }
        if self.profile().uidplus {
            format!("[APPENDUID {uid_validity} {}] appended", write_set(&uids))
        } else {
            "appended".to_owned()
        }
    }
}

/// A literal as seen from further right in its line.
fn relative(literal: Announced, by: usize) -> Announced {
    Announced { start: literal.start.saturating_sub(by), ..literal }
}

/// Refuses a message by what is known before its bytes come.
fn admit(
    store: &Store,
    path: &Path,
    before: u64,
    literal: Announced,
    profile: &Profile,
) -> Result<(), Reply> {
    if literal.bytes == 0 {
        return Err(Reply::no("[CANNOT] a message is never empty"));
    }
    if profile.max_message_bytes.is_some_and(|most| literal.bytes > most) {
        return Err(Reply::no("[TOOBIG] message too large"));
    }
    store.with(|tree| {
        tree.target(path)?;
        Ok(tree.admit(before.saturating_add(literal.bytes))?)
    })
}

fn put(
    tree: &mut Tree,
    path: &Path,
    messages: &[Message],
    merges: Merging,
) -> Result<(u32, Vec<u32>), Refusal> {
    match merges {
        Merging::None => tree.append(path, messages),
        _ => tree.append_once(path, messages, merges),
    }
}

/// What an APPEND of so many messages would be told, without doing it.
fn pretend(store: &Store, path: &Path, count: usize) -> Result<(u32, Vec<u32>), Refusal> {
    store.with(|tree| {
        let mailbox = tree.target(path)?;
        Ok((mailbox.uid_validity, (mailbox.uid_next..).take(count).collect()))
    })
}

impl Preamble {
    fn allowed(&self, utf8: bool) -> Result<(), Reply> {
        let system = ["\\Answered", "\\Deleted", "\\Draft", "\\Flagged", "\\Seen"];
        let odd = |flag: &String| flag.starts_with('\\') && !system.contains(&flag.as_str());
        if self.flags.iter().any(odd) {
            return Err(Reply::bad("no such system flag"));
        }
        if self.utf8 && !utf8 {
            return Err(Reply::bad("UTF8=ACCEPT is not enabled"));
        }
        Ok(())
    }
}

/// Reads ` (\Seen) "date" ` or ` UTF8 (`, which may follow the others.
fn preamble(text: &[u8]) -> Option<Preamble> {
    let mut cursor = Cursor::new(text);
    let mut preamble = Preamble::default();
    cursor.take(" ")?;
    if cursor.take("(").is_some() {
        while cursor.take(")").is_none() {
            preamble.flags.push(cursor.flag()?);
            let _ = cursor.take(" ");
        }
        preamble.flags = normalise(&preamble.flags);
        cursor.take(" ")?;
    }
    if cursor.peek() == Some(b'"') {
        preamble.date = Some(InternalDate::parse(&cursor.astring()?)?);
        cursor.take(" ")?;
    }
    preamble.utf8 = cursor.take("UTF8 (").is_some();
    cursor.rest().is_empty().then_some(preamble)
}

#[cfg(test)]
mod tests;
