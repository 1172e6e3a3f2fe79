//! One mailbox: its messages, UIDs and mod-sequences.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::InternalDate;

/// A message to be delivered.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Message {
    /// System flags with their backslash, and keywords.
    pub flags: Vec<String>,
    /// Its INTERNALDATE.
    pub internal_date: InternalDate,
    /// Every byte of it.
    pub body: Bytes,
}

impl Message {
    /// A message without flags, of the epoch.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }
}

/// A message in a mailbox.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredMessage {
    /// Its UID.
    pub uid: u32,
    /// Its flags, sorted, each once.
    pub flags: Vec<String>,
    /// Its INTERNALDATE.
    pub internal_date: InternalDate,
    /// Every byte of it.
    pub body: Bytes,
    /// The mod-sequence of its last change.
    pub modseq: u64,
    /// What no other message ever has; COPY and MOVE keep it.
    pub guid: u64,
}

/// Sorts flags, spells system flags as the RFC does, and drops doubles and `\Recent`.
pub(super) fn normalise(flags: &[String]) -> Vec<String> {
    let mut normal: Vec<String> = Vec::with_capacity(flags.len());
    for flag in flags {
        let system = ["\\Answered", "\\Deleted", "\\Draft", "\\Flagged", "\\Seen"];
        let known = system.iter().find(|name| name.eq_ignore_ascii_case(flag));
        let spelled = known.map_or_else(|| flag.clone(), |name| (*name).to_owned());
        let double = normal.iter().any(|other| other.eq_ignore_ascii_case(&spelled));
        if !double && !spelled.eq_ignore_ascii_case("\\Recent") {
            normal.push(spelled);
        }
    }
    normal.sort();
    normal
}

/// Says whether a message has a flag, whose case does not matter.
pub(super) fn has_flag(message: &StoredMessage, flag: &str) -> bool {
    message.flags.iter().any(|held| held.eq_ignore_ascii_case(flag))
}

/// How STORE changes flags.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Change {
    Replace,
    Add,
    Remove,
}

/// A mailbox, and what sessions need to notice what changed.
#[derive(Clone, Debug)]
pub(super) struct Mailbox {
    /// Never used twice: a mailbox created again under the same name is another one.
    pub(super) id: u64,
    pub(super) uid_validity: u32,
    pub(super) uid_next: u32,
    pub(super) selectable: bool,
    pub(super) special_use: Option<String>,
    pub(super) messages: BTreeMap<u32, StoredMessage>,
    /// What has its label and is not shown in it.
    pub(super) hidden: Vec<Bytes>,
    pub(super) modseq: u64,
    /// The mod-sequence at the last change of flags of a message already there.
    pub(super) reflagged: u64,
    /// How many messages ever went.
    pub(super) expunged: u64,
    /// Who beside the owner may do what (RFC 4314).
    pub(super) acl: BTreeMap<String, String>,
    /// What is noted about it (RFC 5464).
    pub(super) metadata: BTreeMap<String, Vec<u8>>,
}

impl Mailbox {
    pub(super) fn new(id: u64, uid_validity: u32, selectable: bool) -> Self {
        Self {
            id,
            uid_validity,
            uid_next: 1,
            selectable,
            special_use: None,
            messages: BTreeMap::new(),
            hidden: Vec::new(),
            modseq: 1,
            reflagged: 0,
            expunged: 0,
            acl: BTreeMap::new(),
            metadata: BTreeMap::new(),
        }
    }

    /// Adds a message with the next UID and tells it; `None` once the UIDs are used up.
    pub(super) fn add(&mut self, message: &Message) -> Option<u32> {
        // Neither the mailbox's number nor a UID of it is used twice.
        let guid = self.id << 32 | u64::from(self.uid_next);
        let uid = self.uid_next;
        self.uid_next = uid.checked_add(1)?;
        self.modseq += 1;
        self.messages.insert(
            uid,
            StoredMessage {
                uid,
                flags: normalise(&message.flags),
                internal_date: message.internal_date,
                body: message.body.clone(),
                modseq: self.modseq,
                guid,
            },
        );
        Some(uid)
    }

    /// Removes a message.
    pub(super) fn remove(&mut self, uid: u32) -> Option<StoredMessage> {
        let removed = self.messages.remove(&uid)?;
        self.expunged += 1;
        self.modseq += 1;
        Some(removed)
    }

    /// Changes the flags of a message; says whether there is such a message.
    pub(super) fn reflag(&mut self, uid: u32, change: Change, flags: &[String]) -> bool {
        let Some(message) = self.messages.get_mut(&uid) else {
            return false;
        };
        let mut wanted = match change {
            Change::Replace => Vec::new(),
            Change::Add | Change::Remove => message.flags.clone(),
        };
        if change == Change::Remove {
            wanted.retain(|held| !flags.iter().any(|flag| flag.eq_ignore_ascii_case(held)));
        } else {
            wanted.extend_from_slice(flags);
        }
        let wanted = normalise(&wanted);
        if wanted != message.flags {
            self.modseq += 1;
            self.reflagged = self.modseq;
            message.flags = wanted;
            message.modseq = self.modseq;
        }
        true
    }

    /// The UIDs of the messages an EXPUNGE removes.
    pub(super) fn deleted(&self) -> Vec<u32> {
        let deleted = self.messages.values().filter(|message| has_flag(message, "\\Deleted"));
        deleted.map(|message| message.uid).collect()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.messages.values().map(|message| message.body.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(flags: &[&str]) -> Vec<String> {
        flags.iter().map(|flag| (*flag).to_owned()).collect()
    }

    #[test]
    fn flags_are_sorted_spelled_alike_and_never_recent() {
        let flags = words(&["zeta", "\\SEEN", "\\seen", "\\Recent", "Alpha"]);
        assert_eq!(normalise(&flags), ["Alpha", "\\Seen", "zeta"]);
    }

    #[test]
    fn a_change_that_changes_nothing_keeps_the_mod_sequence() {
        let mut mailbox = Mailbox::new(1, 1, true);
        let uid = mailbox.add(&Message { flags: words(&["\\Seen"]), ..Message::default() });
        let before = mailbox.modseq;
        assert!(mailbox.reflag(uid.unwrap(), Change::Add, &words(&["\\seen"])));
        assert_eq!(mailbox.modseq, before);
        assert!(!mailbox.reflag(99, Change::Add, &words(&["\\Seen"])));
    }
}
