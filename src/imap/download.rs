//! Reads one body to know its digests, and keeps nothing of it.

use super::exec::Connection;
use super::reply::{self, Fetched, Refusal, StatusKind, Untagged};
use super::wire::Incoming;
use crate::fault::Fault;
use crate::identity::{Identity, IdentityHasher};
use crate::mail::Uid;

/// Bodies up to this size are read in one piece.
const HELD_BYTES_MAX: u64 = 64 * 1024;

/// The digests of one message of the open mailbox; none if the server does not give it.
///
/// # Errors
///
/// A session fault where the connection breaks.
pub async fn identity(connection: &mut Connection, uid: Uid) -> Result<Option<Identity>, Fault> {
    let side = connection.side();
    let action = format!("read UID {uid} again");
    let broken = |error: std::io::Error| Fault::session(&action, error).at(side);
    let (mut reader, mut writer) = connection.lend();
    // BODY.PEEK[] first, so that whatever a server sends beside it comes in the same response.
    let command = format!("D1 UID FETCH {uid} (UID BODY.PEEK[])\r\n");
    writer.write(command.as_bytes()).await.map_err(broken)?;
    writer.flush().await.map_err(broken)?;
    let mut identity = None;
    loop {
        let response = match reader.response(HELD_BYTES_MAX).await.map_err(broken)? {
            Incoming::Response(response) => response,
            Incoming::Large { head, literal_bytes } => {
                let mut hasher = IdentityHasher::default();
                let mut left = literal_bytes;
                while left > 0 {
                    let chunk = reader.chunk(left).await.map_err(broken)?;
                    left -= chunk.len() as u64;
                    hasher.update(&chunk);
                }
                let tail = loop {
                    match reader.response(HELD_BYTES_MAX).await.map_err(broken)? {
                        Incoming::Response(tail) => break tail,
                        Incoming::Large { literal_bytes, .. } => {
                            reader.discard(literal_bytes).await.map_err(broken)?;
                        }
                    }
                };
                if uid_around(&head, &tail) == Some(uid) {
                    identity = Some(hasher.finish());
                }
                continue;
            }
        };
        if let Some(fetched) = Fetched::parse(&response) {
            if fetched.uid == Some(uid)
                && let Some(body) = fetched.body
            {
                identity = Some(Identity::of(&body));
            }
        } else if let Some((tag, status)) = reply::tagged(&response) {
            if tag != b"D1" {
                return Err(Fault::session(action, "the server answered an unknown tag").at(side));
            }
            return Ok(identity.filter(|_| status.kind == StatusKind::Ok));
        } else if let Untagged::Bye(status) = Untagged::parse(&response) {
            return Err(Fault::session(action, Refusal(status)).at(side));
        }
    }
}

/// The UID that a FETCH names before or after its literal.
#[must_use]
pub fn uid_around(head: &bytes::Bytes, tail: &bytes::Bytes) -> Option<Uid> {
    attributes_around(head, tail)?.uid
}

/// What a FETCH says before and after a literal that was taken out of it.
#[must_use]
pub fn attributes_around(head: &bytes::Bytes, tail: &bytes::Bytes) -> Option<Fetched> {
    let at = memchr::memrchr(b'{', head)?;
    let head = head[..at].strip_suffix(b"~").unwrap_or(&head[..at]);
    Fetched::parse(&[head, b"\"\"", tail].concat().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

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
