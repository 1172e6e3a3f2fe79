//! Reads bodies and headers to know their digests, and keeps nothing of them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::exec::Connection;
use super::reply::{self, Fetched, Refusal, Status, StatusKind, Untagged};
use super::wire::{BulkReader, Incoming};
use crate::fault::{Fault, Scope};
use crate::identity::{HeaderKeys, Identity, IdentityHasher};
use crate::mail::Uid;

/// So many UIDs are named in a command: a line of a few KiB is what every server takes.
const UIDS_MAX: usize = 400;
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
            let (_, statuses) = run(connection, &[format!("UID FETCH {uid} (UID FLAGS)")]).await?;
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
    let (mut seen, mut statuses) = run(connection, &[bodies_of(uids)]).await?;
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
    let attributes = uids.chunks(UIDS_MAX).map(|part| {
        format!("UID FETCH {} (UID RFC822.SIZE INTERNALDATE FLAGS)", reply::uid_set(part))
    });
    let commands: Vec<String> = ["NOOP".to_owned()]
        .into_iter()
        .chain(attributes)
        .chain(bodies.chunks(UIDS_MAX).map(bodies_of))
        .collect();
    let (seen, statuses) = run(connection, &commands).await?;
    // What came with a refusal is not believed.
    let is_refused = statuses.iter().any(|status| status.kind != StatusKind::Ok);
    Ok(if is_refused { Seen::default() } else { seen })
}

/// Sends FETCHes, and reads to the end of all.
async fn run(
    connection: &mut Connection,
    commands: &[String],
) -> Result<(Seen, Vec<Status>), Fault> {
    let side = connection.side();
    let broken = |error: std::io::Error| Fault::session(READ, error).at(side);
    let (mut reader, mut writer) = connection.lend();
    let lines = commands.iter().enumerate();
    let lines: String = lines.map(|(index, line)| format!("D{index} {line}\r\n")).collect();
    writer.write(lines.as_bytes()).await.map_err(broken)?;
    writer.flush().await.map_err(broken)?;
    let (mut seen, mut statuses) = (Seen::default(), Vec::with_capacity(commands.len()));
    let mut open: BTreeSet<String> = (0..commands.len()).map(|index| format!("D{index}")).collect();
    while !open.is_empty() {
        let response = match reader.response(HELD_BYTES_MAX).await.map_err(broken)? {
            Incoming::Response(response) => response,
            Incoming::Large { head, literal_bytes } => {
                let (hasher, tail) = large(&mut reader, literal_bytes).await.map_err(broken)?;
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
                return Err(Fault::session(READ, cause).at(side));
            }
            statuses.push(status);
        } else if let Untagged::Bye(status) = Untagged::parse(&response) {
            return Err(Fault::session(READ, Refusal(status)).at(side));
        }
    }
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
