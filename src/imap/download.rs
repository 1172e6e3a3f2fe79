//! Reads bodies and headers to know their digests, and keeps nothing of them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::exec::{Connection, Selected};
use super::reply::{self, Fetched, Refusal, Status, StatusKind, Untagged};
use super::wire::{BulkReader, Incoming};
use crate::fault::{Fault, Scope};
use crate::identity::{HeaderKeys, Identity, IdentityHasher};
use crate::mail::{Uid, UidValidity};

/// So many UIDs are named in a command: a line of a few KiB is what every server takes.
const UIDS_MAX: usize = 400;
/// Responses that are looked at beside FETCHes: a SELECT has fewer.
const UNTAGGED_MAX: usize = 50;
/// Bodies up to this size are read in one piece.
const HELD_BYTES_MAX: u64 = 64 * 1024;

/// Octets and digests of messages of the open mailbox; those that the server does not give are left
/// out.
///
/// # Errors
///
/// A session fault where the connection breaks, or the server says that it cannot just now; a mailbox fault
/// where it tells nothing of the mailbox at all.
pub async fn identities(
    connection: &mut Connection,
    uids: &[Uid],
) -> Result<BTreeMap<Uid, (u64, Identity)>, Fault> {
    let side = connection.side();
    let mut identities = BTreeMap::new();
    for part in uids.chunks(UIDS_MAX) {
        let (given, status) = read(connection, part).await?;
        if status.kind == StatusKind::Ok {
            identities.extend(given);
            continue;
        }
        // What came with a refusal is not believed, and of which message it speaks is not said.
        let mut refused = None;
        for uid in part {
            let (given, status) = read(connection, &[*uid]).await?;
            if status.kind == StatusKind::Ok {
                identities.extend(given);
                continue;
            }
            // Not given just now is not gone; a bug of the server is there the next time, too.
            let is_bug = status.code == "SERVERBUG";
            let fault = reply::fault(READ, status, Scope::Message);
            if fault.scope > Scope::Mailbox && !is_bug {
                return Err(fault.at(side));
            }
            refused = Some(uid);
        }
        // A mailbox that is gone, or another one by now, refuses everything.
        if let Some(uid) = refused {
            let asked = Asked::of('D', &[format!("UID FETCH {uid} (UID FLAGS)")]);
            let (_, statuses) = run(connection, asked).await?;
            if let Some(status) = statuses.into_iter().find(|status| status.kind != StatusKind::Ok)
            {
                return Err(reply::fault(READ, status, Scope::Mailbox).at(side));
            }
        }
    }
    let asked: BTreeSet<&Uid> = uids.iter().collect();
    identities.retain(|uid, _| asked.contains(uid));
    Ok(identities)
}

const READ: &str = "read messages again to compare them";

/// The digests of what the server gives, and how it ends.
async fn read(
    connection: &mut Connection,
    uids: &[Uid],
) -> Result<(BTreeMap<Uid, (u64, Identity)>, Status), Fault> {
    let side = connection.side();
    let (mut seen, mut statuses) = run(connection, Asked::of('D', &[bodies_of(uids)])).await?;
    match statuses.pop() {
        Some(status) => Ok((std::mem::take(&mut seen.identities), status)),
        None => Err(Fault::session(READ, "the server did not answer").at(side)),
    }
}

// BODY.PEEK[] first, so that whatever a server sends beside it comes in the same response.
fn bodies_of(uids: &[Uid]) -> String {
    format!("UID FETCH {} (UID BODY.PEEK[])", reply::uid_set(uids))
}

/// What one look at messages showed.
#[derive(Debug, Default)]
pub struct Seen {
    /// What was told of messages, but for their bodies.
    pub attributes: Vec<Fetched>,
    /// Octets and digests of bodies.
    pub identities: BTreeMap<Uid, (u64, Identity)>,
    /// The UIDVALIDITY of the mailbox, where it was selected for this look.
    pub uid_validity: Option<UidValidity>,
}

/// Looks at attributes of messages of the open mailbox, and at some of their bodies, in one round trip
/// that begins with a NOOP. It shows what the server shows at once: what is missing in it may be there
/// all the same, as servers answer a NOOP when they like (Dovecot 2.3 after the FETCH behind it).
///
/// # Errors
///
/// A session fault where the connection breaks.
pub async fn glance(
    connection: &mut Connection,
    uids: &[Uid],
    bodies: &[Uid],
) -> Result<Seen, Fault> {
    let attributes: Vec<String> = uids.chunks(UIDS_MAX).map(reply::uid_set).collect();
    let asked = Asked::of('D', &looks_at("NOOP".to_owned(), &attributes, bodies));
    let (seen, statuses) = run(connection, asked).await?;
    Ok(believed(seen, &statuses))
}

/// The same look at what stands at and above a UID, and at some bodies, to be sent behind other commands.
/// The mailbox is selected first: a server may answer what came with them before it has looked for new
/// messages (Dovecot does).
#[must_use]
pub fn look_behind(quoted: &str, from: Uid, bodies: &[Uid]) -> Asked {
    let select = format!("SELECT {quoted}");
    Asked::of('L', &looks_at(select, &[format!("{from}:*")], bodies))
}

/// Reads what a [`look_behind`] shows.
///
/// # Errors
///
/// A session fault where the connection breaks.
pub async fn behind(reader: &mut BulkReader<'_>, asked: Asked) -> Result<Seen, Fault> {
    let (seen, statuses) = answers(reader, asked).await?;
    Ok(believed(seen, &statuses))
}

fn looks_at(first: String, sets: &[String], bodies: &[Uid]) -> Vec<String> {
    let attributes =
        sets.iter().map(|set| format!("UID FETCH {set} (UID RFC822.SIZE INTERNALDATE FLAGS)"));
    let bodies = bodies.chunks(UIDS_MAX).map(bodies_of);
    [first].into_iter().chain(attributes).chain(bodies).collect()
}

/// What came with a refusal is not believed.
fn believed(seen: Seen, statuses: &[Status]) -> Seen {
    let is_refused = statuses.iter().any(|status| status.kind != StatusKind::Ok);
    if is_refused { Seen::default() } else { seen }
}

/// Commands that are sent together.
#[derive(Debug)]
pub struct Asked {
    /// All of them, as they are sent.
    pub lines: String,
    /// Their tags.
    open: BTreeSet<String>,
}

impl Asked {
    fn of(tag: char, commands: &[String]) -> Self {
        let lines = commands.iter().enumerate();
        let lines = lines.map(|(index, line)| format!("{tag}{index} {line}\r\n")).collect();
        let open = (0..commands.len()).map(|index| format!("{tag}{index}")).collect();
        Self { lines, open }
    }
}

/// Sends FETCHes, and reads to the end of all.
async fn run(connection: &mut Connection, asked: Asked) -> Result<(Seen, Vec<Status>), Fault> {
    let side = connection.side();
    let broken = |error: std::io::Error| Fault::session(READ, error).at(side);
    let (mut reader, mut writer) = connection.lend();
    writer.write(asked.lines.as_bytes()).await.map_err(broken)?;
    writer.flush().await.map_err(broken)?;
    answers(&mut reader, asked).await.map_err(|fault| fault.at(side))
}

async fn answers(reader: &mut BulkReader<'_>, asked: Asked) -> Result<(Seen, Vec<Status>), Fault> {
    let broken = |error: std::io::Error| Fault::session(READ, error);
    let Asked { mut open, .. } = asked;
    let (mut seen, mut statuses) = (Seen::default(), Vec::with_capacity(open.len()));
    let mut untagged = Vec::new();
    while !open.is_empty() {
        let response = match reader.response(HELD_BYTES_MAX).await.map_err(broken)? {
            Incoming::Response(response) => response,
            Incoming::Large { head, literal_bytes } => {
                let (hasher, tail) = large(reader, literal_bytes).await.map_err(broken)?;
                if let Some(uid) = uid_around(&head, &tail) {
                    seen.identities.insert(uid, (literal_bytes, hasher.finish()));
                }
                continue;
            }
        };
        if let Some(fetched) = Fetched::parse(&response) {
            match (fetched.uid, &fetched.body) {
                (Some(uid), Some(body)) => {
                    seen.identities.insert(uid, (body.len() as u64, Identity::of(body)));
                }
                _ => seen.attributes.push(fetched),
            }
        } else if let Some((tag, status)) = reply::tagged(&response) {
            if !str::from_utf8(tag).is_ok_and(|tag| open.remove(tag)) {
                let cause = "the server answered an unknown tag";
                return Err(Fault::session(READ, cause));
            }
            statuses.push(status);
        } else if let Untagged::Bye(status) = Untagged::parse(&response) {
            return Err(Fault::session(READ, Refusal(status)));
        } else if untagged.len() < UNTAGGED_MAX {
            untagged.push(response);
        }
    }
    seen.uid_validity = Selected::of(&untagged).uid_validity;
    Ok((seen, statuses))
}

/// Hashes a literal that is too large to hold, and reads its response to the end.
async fn large(
    reader: &mut BulkReader<'_>,
    literal_bytes: u64,
) -> std::io::Result<(IdentityHasher, Bytes)> {
    let mut hasher = IdentityHasher::default();
    let mut left = literal_bytes;
    while left > 0 {
        let chunk = reader.chunk(left).await?;
        left -= chunk.len() as u64;
        hasher.update(&chunk);
    }
    loop {
        match reader.response(HELD_BYTES_MAX).await? {
            Incoming::Response(tail) => return Ok((hasher, tail)),
            Incoming::Large { literal_bytes, .. } => reader.discard(literal_bytes).await?,
        }
    }
}

/// What the header lines of messages of the open mailbox tell of them. A message that the server
/// does not give, or whose header is beyond reason, is left out.
///
/// # Errors
///
/// A session fault where the connection breaks.
pub async fn headers(
    connection: &mut Connection,
    uids: &[Uid],
) -> Result<BTreeMap<Uid, HeaderKeys>, Fault> {
    let side = connection.side();
    let action = "read the headers of messages";
    let broken = |error: std::io::Error| Fault::session(action, error).at(side);
    let (mut reader, mut writer) = connection.lend();
    let mut keys = BTreeMap::new();
    for part in uids.chunks(UIDS_MAX) {
        let (set, fields) = (reply::uid_set(part), HeaderKeys::FIELDS);
        let command = format!("H1 UID FETCH {set} (UID BODY.PEEK[HEADER.FIELDS ({fields})])\r\n");
        writer.write(command.as_bytes()).await.map_err(broken)?;
        writer.flush().await.map_err(broken)?;
        loop {
            let response = match reader.response(HELD_BYTES_MAX).await.map_err(broken)? {
                Incoming::Response(response) => response,
                Incoming::Large { literal_bytes, .. } => {
                    reader.discard(literal_bytes).await.map_err(broken)?;
                    continue;
                }
            };
            if let Some(fetched) = Fetched::parse(&response) {
                if let (Some(uid), Some(header)) = (fetched.uid, fetched.header) {
                    keys.insert(uid, HeaderKeys::of(&header));
                }
            } else if let Some((tag, status)) = reply::tagged(&response) {
                if tag != b"H1" {
                    let cause = "the server answered an unknown tag";
                    return Err(Fault::session(action, cause).at(side));
                }
                if status.kind != StatusKind::Ok {
                    return Err(reply::fault(action, status, Scope::Mailbox).at(side));
                }
                break;
            } else if let Untagged::Bye(status) = Untagged::parse(&response) {
                return Err(Fault::session(action, Refusal(status)).at(side));
            }
        }
    }
    let asked: BTreeSet<&Uid> = uids.iter().collect();
    keys.retain(|uid, _| asked.contains(uid));
    Ok(keys)
}

/// The UID that a FETCH names before or after its literal.
#[must_use]
pub fn uid_around(head: &Bytes, tail: &Bytes) -> Option<Uid> {
    attributes_around(head, tail)?.uid
}

/// What a FETCH says before and after a literal that was taken out of it.
#[must_use]
pub fn attributes_around(head: &Bytes, tail: &Bytes) -> Option<Fetched> {
    let at = memchr::memrchr(b'{', head)?;
    let head = head[..at].strip_suffix(b"~").unwrap_or(&head[..at]);
    Fetched::parse(&[head, b"\"\"", tail].concat().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_on_both_sides_of_a_literal_are_read() {
        let head = Bytes::from_static(b"* 3 FETCH (FLAGS (\\Seen) BODY[] {1000}\r\n");
        let tail = Bytes::from_static(b" UID 9)\r\n");
        let fetched = attributes_around(&head, &tail).expect("a FETCH");
        assert_eq!(fetched.uid, Some(Uid(9)));
        assert_eq!(fetched.flags.expect("flags").to_string(), "\\Seen");
        assert_eq!(fetched.sequence, 3);
    }
}
