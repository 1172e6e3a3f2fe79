//! CREATE, MOVE and DELETE for mailboxes of our own.

use super::ImapTarget;
use crate::fault::{Fault, Scope};
use crate::imap::exec::{Done, Select};
use crate::imap::reply::{self, Status, StatusKind, Value, parse_uid_set, uid_set};
use crate::mail::{Namespaces, Uid, UidValidity, WireName};
use crate::own::OwnName;
use crate::target::{Created, Deleted, Destination, Moved, ObjectId, Target};

/// As many UIDs as a line of a few KiB takes.
const UIDS_MAX: usize = 400;

impl ImapTarget {
    pub(super) async fn create_own_mailbox(&mut self, name: &OwnName) -> Result<Created, Fault> {
        let action = format!("create the mailbox {name}");
        let Some(wire) = self.spell(&name.path()) else {
            return Ok(Created::Refused("its names cannot hold it".to_owned()));
        };
        let quoted = self.connection.quoted(&wire)?;
        let done = self.connection.run(&format!("CREATE {quoted}"), &action).await?;
        if done.status.kind == StatusKind::Ok {
            return Ok(Created::New);
        }
        if done.status.code == "ALREADYEXISTS" || self.exists(&wire).await? {
            return Ok(Created::Exists);
        }
        let text = done.status.to_string();
        let fault = reply::fault(action, done.status, Scope::Mailbox).at(self.connection.side());
        if fault.scope == Scope::Mailbox { Ok(Created::Refused(text)) } else { Err(fault) }
    }

    pub(super) async fn open_own_mailbox(
        &mut self,
        name: &OwnName,
    ) -> Result<Option<Destination>, Fault> {
        let Some(wire) = self.spell(&name.path()) else {
            return Ok(None);
        };
        // A SELECT that fails leaves nothing selected (RFC 9051 section 6.3.2).
        self.open = None;
        match self.open(&wire).await {
            Ok(destination) => Ok(Some(destination)),
            Err(fault) if fault.scope != Scope::Mailbox => Err(fault),
            Err(fault) => {
                if self.exists(&wire).await? {
                    Err(fault)
                } else {
                    Ok(None)
                }
            }
        }
    }

    pub(super) async fn delete_own_mailbox(&mut self, name: &OwnName) -> Result<Deleted, Fault> {
        let action = format!("delete the mailbox {name}");
        let Some(wire) = self.spell(&name.path()) else {
            return Ok(Deleted::Gone);
        };
        let quoted = self.connection.quoted(&wire)?;
        if self.open.as_ref().is_some_and(|open| open.name == wire) {
            // What servers do with a selected mailbox that is deleted differs.
            self.connection.select(Select::Examine, &WireName(b"INBOX".to_vec())).await?;
            self.open = None;
        }
        let done = self.connection.run(&format!("DELETE {quoted}"), &action).await?;
        let is_gone = done.status.kind == StatusKind::Ok || done.status.code == "NONEXISTENT";
        if is_gone || !self.exists(&wire).await? {
            return Ok(Deleted::Gone);
        }
        let text = done.status.to_string();
        let fault = reply::fault(action, done.status, Scope::Mailbox).at(self.connection.side());
        if fault.scope == Scope::Mailbox { Ok(Deleted::Refused(text)) } else { Err(fault) }
    }

    /// Servers say in many words that a mailbox is there, or is not.
    async fn exists(&mut self, name: &WireName) -> Result<bool, Fault> {
        let listed = self.connection.list(Namespaces::default()).await?.lines;
        let is_there = |attribute: &str| !attribute.eq_ignore_ascii_case("\\NonExistent");
        Ok(listed
            .iter()
            .any(|line| line.name == *name && line.attributes.iter().all(|a| is_there(a))))
    }

    /// Moves messages of the open mailbox.
    pub(super) async fn move_open(
        &mut self,
        uids: &[Uid],
        into: &WireName,
    ) -> Result<Moved, Fault> {
        let action = format!("move {} messages to {}", uids.len(), into.0.escape_ascii());
        let quoted = self.connection.quoted(into)?;
        let command = format!("UID MOVE {} {quoted}", uid_set(uids));
        let done = self.selected().await?.run(&command, &action).await?;
        Ok(moved(&done, uids))
    }

    pub(super) async fn ids_of(&mut self, uids: &[Uid]) -> Result<Vec<(Uid, ObjectId)>, Fault> {
        let announced = self.connection.capabilities().has("OBJECTID");
        let item = match self.tells_guids {
            _ if announced => "EMAILID",
            Some(false) => return Ok(Vec::new()),
            _ => "X-GUID",
        };
        let mut ids = Vec::with_capacity(uids.len());
        for part in uids.chunks(UIDS_MAX) {
            let command = format!("UID FETCH {} (UID {item})", uid_set(part));
            let done =
                self.selected().await?.run(&command, "tell messages from each other").await?;
            if done.status.kind != StatusKind::Ok {
                // Dovecot does not announce it, and no other server has it: asked for once.
                self.tells_guids = Some(false);
                return Ok(Vec::new());
            }
            ids.extend(done.untagged.iter().filter_map(|response| object_id(response, item)));
        }
        self.tells_guids = Some(!announced);
        ids.retain(|(uid, _)| uids.contains(uid));
        Ok(ids)
    }
}

/// Reads the answer to a MOVE: RFC 6851 section 4.3 has COPYUID (RFC 4315 section 3) in an untagged
/// OK before the EXPUNGEs; some servers give it in the tagged one, or in several.
fn moved(done: &Done, asked: &[Uid]) -> Moved {
    let unknown = || Moved::Unknown(done.status.to_string());
    if done.status.kind != StatusKind::Ok {
        return unknown();
    }
    let untagged = done.untagged.iter().filter_map(|line| Status::parse(line.strip_prefix(b"* ")?));
    let told = untagged.chain([done.status.clone()]).filter(|status| status.code == "COPYUID");
    let mut uids = Vec::with_capacity(asked.len());
    let mut validities = Vec::new();
    for status in told {
        let Some((validity, pairs)) = copy_uids(&status, asked.len()) else {
            return unknown();
        };
        validities.push(validity);
        uids.extend(pairs);
    }
    uids.sort_unstable();
    uids.dedup();
    let mut after: Vec<Uid> = uids.iter().map(|(_, after)| *after).collect();
    after.sort_unstable();
    after.dedup();
    let is_whole = uids.iter().map(|(before, _)| before).eq(asked) && after.len() == asked.len();
    match validities.as_slice() {
        [validity, others @ ..] if is_whole && others.iter().all(|other| other == validity) => {
            Moved::All { validity: *validity, uids }
        }
        _ => unknown(),
    }
}

fn copy_uids(status: &Status, count: usize) -> Option<(UidValidity, Vec<(Uid, Uid)>)> {
    let mut words = status.code_data.split_ascii_whitespace();
    let validity = words.next()?.parse().ok().filter(|validity| *validity > 0)?;
    let before = parse_uid_set(words.next()?, count + 1)?;
    let after = parse_uid_set(words.next()?, count + 1)?;
    (before.len() == after.len())
        .then(|| (UidValidity(validity), before.into_iter().zip(after).collect()))
}

fn object_id(response: &bytes::Bytes, item: &str) -> Option<(Uid, ObjectId)> {
    let (uid, value) = reply::item(response, item)?;
    // `EMAILID (M123)`, `X-GUID 123` (RFC 8474 section 5.1; an empty one is none).
    let (id, is_content) = match &value {
        Value::List(ids) => (ids.first()?.text()?, true),
        other => (other.text()?, false),
    };
    let id = Some(id).filter(|id| !id.is_empty() && !id.eq_ignore_ascii_case("NIL"))?.to_owned();
    Some((uid, if is_content { ObjectId::Content(id) } else { ObjectId::Delivery(id) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(untagged: &[&'static str], tagged: &str) -> Done {
        let untagged = untagged.iter().map(|line| bytes::Bytes::from_static(line.as_bytes()));
        let status = Status::parse(tagged.as_bytes()).expect("a status");
        Done { status, untagged: untagged.collect() }
    }

    fn pairs(untagged: &[&'static str], tagged: &str) -> Option<Vec<(u32, u32)>> {
        match moved(&done(untagged, tagged), &[Uid(1), Uid(2), Uid(3)]) {
            Moved::All { validity, uids } => {
                assert_eq!(validity, UidValidity(9));
                Some(uids.into_iter().map(|(before, after)| (before.0, after.0)).collect())
            }
            Moved::Unknown(_) => None,
        }
    }

    #[test]
    fn a_move_is_believed_where_it_tells_of_every_message() {
        let whole = Some(vec![(1, 5), (2, 6), (3, 7)]);
        assert_eq!(pairs(&["* OK [COPYUID 9 1:3 5:7] moved", "* 1 EXPUNGE"], "OK done"), whole);
        assert_eq!(pairs(&["* 1 EXPUNGE"], "OK [COPYUID 9 1:3 5:7] done"), whole);
        let parts = ["* OK [COPYUID 9 1 5] x", "* 1 EXPUNGE", "* OK [COPYUID 9 2:3 6:7] x"];
        assert_eq!(pairs(&parts, "OK done"), whole);
        // Told twice, in the same words.
        assert_eq!(pairs(&["* OK [COPYUID 9 1:3 5:7] x"], "OK [COPYUID 9 1:3 5:7] x"), whole);
    }

    #[test]
    fn any_other_answer_to_a_move_is_unknown() {
        for (untagged, tagged) in [
            ("* OK [COPYUID 9 1:3 5:7] x", "NO [EXPUNGEISSUED] some were gone"),
            ("* OK [COPYUID 9 1:3 5:7] x", "BAD what"),
            ("* OK moved", "OK done"),
            ("* OK [COPYUID 9 1:2 5:6] x", "OK done"),
            ("* OK [COPYUID 9 1:3 5:6] x", "OK done"),
            ("* OK [COPYUID 9 1:3 5,6,6] x", "OK done"),
            ("* OK [COPYUID 9 1:4 5:8] x", "OK done"),
            ("* OK [COPYUID 9 2:4 5:7] x", "OK done"),
            ("* OK [COPYUID 0 1:3 5:7] x", "OK done"),
            ("* OK [COPYUID 9 1:3 0:2] x", "OK done"),
            ("* OK [COPYUID 9 1:3 5:7] x", "OK [COPYUID 9 1:3 8:10] x"),
            ("* OK [COPYUID 9 1:3 5:7] x", "OK [COPYUID 8 1:3 5:7] x"),
            ("* OK [COPYUID 9 1:3] x", "OK done"),
        ] {
            assert_eq!(pairs(&[untagged], tagged), None, "{untagged} {tagged}");
        }
    }

    #[test]
    fn what_tells_messages_apart_is_read() {
        let read =
            |text: &'static str, item| object_id(&bytes::Bytes::from_static(text.as_bytes()), item);
        let delivery = |id: &str| Some((Uid(4), ObjectId::Delivery(id.to_owned())));
        assert_eq!(read("* 1 FETCH (UID 4 X-GUID 1f2e)\r\n", "X-GUID"), delivery("1f2e"));
        assert_eq!(read("* 1 FETCH (X-GUID \"1f2e\" UID 4)\r\n", "X-GUID"), delivery("1f2e"));
        let content = Some((Uid(4), ObjectId::Content("M1".to_owned())));
        assert_eq!(read("* 1 FETCH (UID 4 EMAILID (M1))\r\n", "EMAILID"), content);
        for none in [
            "* 1 FETCH (UID 4)",
            "* 1 FETCH (UID 4 X-GUID NIL)",
            "* 1 FETCH (UID 4 X-GUID \"\")",
            "* 1 FETCH (X-GUID 1f2e)",
            "* 1 EXPUNGE",
        ] {
            assert_eq!(read(none, "X-GUID"), None, "{none}");
        }
    }
}
