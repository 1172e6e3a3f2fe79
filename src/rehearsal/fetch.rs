//! FETCH: bodies leave as literals, straight from the store's memory.

use bytes::Bytes;
use imap_codec::imap_types::command::FetchModifier;
use imap_codec::imap_types::fetch::{
    MacroOrMessageDataItemNames, MessageDataItemName as Item, Section,
};
use memchr::memmem;

use super::command::Set;
use super::fault::{BodyFault, Deed};
use super::mailbox::{Change, Mailbox, StoredMessage};
use super::names::quote;
use super::profile::ObjectId;
use super::session::{Reply, Session};
use super::wire::Gone;

/// Messages looked up under one lock.
const BATCH: usize = 256;

/// What one FETCH asks for.
struct Wanted {
    items: Vec<Item<'static>>,
    /// Only messages changed since this mod-sequence.
    since: u64,
    /// Whether it sets `\Seen`.
    reads: bool,
    /// Whether it asks for bodies, be it parts of them.
    bodies: bool,
    object_id: ObjectId,
    labels: bool,
    gmail_id: bool,
}

impl Session {
    pub(super) async fn fetch(
        &mut self,
        set: Option<&Set>,
        uid: bool,
        items: MacroOrMessageDataItemNames<'static>,
        modifiers: &[FetchModifier],
        (object_id, [labels, gmail_id]): (ObjectId, [bool; 2]),
    ) -> Result<Reply, Gone> {
        if (labels || gmail_id) && !self.profile().labels {
            return Ok(Reply::bad("no such item"));
        }
        if object_id != ObjectId::None && object_id != self.profile().object_id {
            return Ok(Reply::bad("no such item"));
        }
        let asked = self.asked(set, uid, items, modifiers);
        let (mut wanted, numbers) = match asked {
            Ok(asked) => asked,
            Err(reply) => return Ok(reply),
        };
        wanted = Wanted { object_id, labels, gmail_id, ..wanted };
        let (mut gone, mut broken) = (false, false);
        for batch in numbers.chunks(BATCH) {
            let messages = match self.messages(batch, &wanted) {
                Ok(messages) => messages,
                Err(reply) => return Ok(reply),
            };
            gone |= messages.iter().any(|(_, message)| message.is_none());
            for (number, message) in messages {
                let message = message.or_else(|| self.invented(number));
                let Some(message) = message.filter(|message| message.modseq > wanted.since) else {
                    continue;
                };
                let fault = self.body_fault(&message, &wanted);
                broken |= fault == Some(BodyFault::No);
                if !matches!(fault, Some(BodyFault::No | BodyFault::Nothing)) {
                    self.tell_message(number, &message, &wanted, fault).await?;
                }
            }
        }
        Ok(if broken {
            Reply::no("[SERVERBUG] some messages could not be fetched")
        } else if gone && !uid {
            Reply::ok("[EXPUNGEISSUED] some messages are gone")
        } else {
            Reply::ok("fetched")
        })
    }

    /// Checks what is asked for, and finds the messages.
    fn asked(
        &mut self,
        set: Option<&Set>,
        uid: bool,
        items: MacroOrMessageDataItemNames<'static>,
        modifiers: &[FetchModifier],
    ) -> Result<(Wanted, Vec<(u32, u32)>), Reply> {
        let mut items = match items {
            MacroOrMessageDataItemNames::MessageDataItemNames(items) => items,
            MacroOrMessageDataItemNames::Macro(_) => {
                vec![Item::Flags, Item::InternalDate, Item::Rfc822Size]
            }
        };
        let mut since = 0;
        for modifier in modifiers {
            match modifier {
                FetchModifier::ChangedSince(modseq) if self.profile().condstore => {
                    since = modseq.get();
                    if !items.contains(&Item::ModSeq) {
                        items.push(Item::ModSeq);
                    }
                }
                _ => return Err(Reply::bad("modifier is not supported")),
            }
        }
        if items.contains(&Item::ModSeq) {
            if !self.profile().condstore {
                return Err(Reply::bad("CONDSTORE is not offered"));
            }
            self.condstore = true;
        }
        // One may stand for an item that imap-codec does not know.
        items.dedup_by(|one, other| *one == Item::Uid && *other == Item::Uid);
        if items.is_empty() {
            return Err(Reply::bad("nothing to fetch"));
        }
        if items.iter().any(|item| !served(item)) {
            return Err(Reply::no("[CANNOT] this server does not take messages apart"));
        }
        if uid && !items.contains(&Item::Uid) {
            items.insert(0, Item::Uid);
        }
        let wanted = Wanted {
            reads: items.iter().any(reads),
            bodies: items.iter().any(is_body),
            items,
            since,
            object_id: ObjectId::None,
            labels: false,
            gmail_id: false,
        };
        let selected = self.selected()?;
        let set = set.ok_or_else(|| Reply::bad("no message set"))?;
        Ok((wanted, selected.resolve(set, uid)?))
    }

    /// Looks messages up, and marks them read where that was asked for.
    fn messages(
        &mut self,
        batch: &[(u32, u32)],
        wanted: &Wanted,
    ) -> Result<Vec<(u32, Option<StoredMessage>)>, Reply> {
        let store = self.store()?;
        let messages = self.on_selected(|selected, mailbox| {
            let seen = ["\\Seen".to_owned()];
            let known = selected.modseq == mailbox.modseq;
            let look = |&(number, uid): &(u32, u32)| {
                if wanted.reads && !selected.read_only {
                    mailbox.reflag(uid, Change::Add, &seen);
                }
                (number, mailbox.messages.get(&uid).cloned())
            };
            let messages = batch.iter().map(look).collect();
            if known {
                // The client is told of these changes right here.
                selected.modseq = mailbox.modseq;
            }
            messages
        })?;
        if wanted.reads {
            store.wake();
        }
        Ok(messages)
    }

    /// What stands for a message that is gone, where the server makes one up.
    fn invented(&self, number: u32) -> Option<StoredMessage> {
        let view = &self.selected.as_ref().filter(|_| self.profile().invents)?.view;
        let uid = *view.get(usize::try_from(number).ok()?.checked_sub(1)?)?;
        let body = Bytes::from_static(b"Subject: message unavailable\r\n\r\nIt is not there.\r\n");
        let internal_date = self.store().ok()?.now();
        Some(StoredMessage {
            uid,
            flags: Vec::new(),
            internal_date,
            body,
            modseq: u64::MAX,
            guid: 0,
        })
    }

    fn body_fault(&self, message: &StoredMessage, wanted: &Wanted) -> Option<BodyFault> {
        if !wanted.bodies {
            return None;
        }
        self.strike(|deed| match deed {
            Deed::Body(uid, fault) if *uid == message.uid => Some(*fault),
            _ => None,
        })
    }

    async fn tell_message(
        &mut self,
        number: u32,
        message: &StoredMessage,
        wanted: &Wanted,
        fault: Option<BodyFault>,
    ) -> Result<(), Gone> {
        self.wire.put(format!("* {number} FETCH (").as_bytes());
        for (index, item) in wanted.items.iter().enumerate() {
            if index > 0 {
                self.wire.put(b" ");
            }
            match item {
                Item::Uid => self.wire.put(format!("UID {}", message.uid).as_bytes()),
                Item::Flags => self.wire.put(flags(message).as_bytes()),
                Item::InternalDate => {
                    let date = format!("INTERNALDATE \"{}\"", message.internal_date);
                    self.wire.put(date.as_bytes());
                }
                Item::Rfc822Size => {
                    let lie = self.strike(|deed| match deed {
                        Deed::Size(uid, bytes) if *uid == message.uid => Some(*bytes),
                        _ => None,
                    });
                    let bytes = lie.unwrap_or(message.body.len() as u64);
                    self.wire.put(format!("RFC822.SIZE {bytes}").as_bytes());
                }
                Item::ModSeq => self.wire.put(format!("MODSEQ ({})", message.modseq).as_bytes()),
                _ => self.tell_body(message, item, fault).await?,
            }
        }
        match wanted.object_id {
            ObjectId::None => {}
            ObjectId::XGuid => {
                self.wire.put(format!(" X-GUID {:032x}", message.guid).as_bytes());
            }
            ObjectId::EmailId => {
                let digest = blake3::hash(&message.body).to_hex();
                self.wire.put(format!(" EMAILID (M{})", &digest[..24]).as_bytes());
            }
        }
        if wanted.gmail_id {
            // The same wherever it stands: a message is its bytes here.
            let digest = blake3::hash(&message.body);
            let id =
                digest.as_bytes().iter().take(6).fold(0, |id, byte| id << 8 | u64::from(*byte));
            self.wire.put(format!(" X-GM-MSGID {id}").as_bytes());
        }
        if wanted.labels {
            let labels = self.labels(message);
            self.wire.put(format!(" X-GM-LABELS ({labels})").as_bytes());
        }
        if wanted.reads && !wanted.items.contains(&Item::Flags) {
            self.wire.put(format!(" {}", flags(message)).as_bytes());
        }
        self.wire.put(b")\r\n");
        self.wire.relieve().await
    }

    /// The labels of a message beside that of the selected mailbox, which Gmail leaves out: the other
    /// mailboxes in which it stands.
    fn labels(&mut self, message: &StoredMessage) -> String {
        let (Ok(store), Some(selected)) = (self.store(), &self.selected) else {
            return String::new();
        };
        let naming = self.naming();
        let labels: Vec<String> = store.with(|tree| {
            let others = tree.mailboxes.iter().filter(|(path, _)| **path != selected.path);
            let bearing = others.filter(|(_, mailbox)| {
                mailbox.messages.values().any(|other| other.body == message.body)
                    || mailbox.hidden.contains(&message.body)
            });
            let label = |(path, mailbox): (&Vec<String>, &Mailbox)| {
                let system = match mailbox.special_use.as_deref() {
                    Some("\\All") => return None,
                    Some("\\Drafts") => Some("\\Draft"),
                    Some("\\Flagged") => Some("\\Starred"),
                    Some("\\Junk") => Some("\\Spam"),
                    Some(other) => Some(other),
                    None if *path == ["INBOX"] => Some("\\Inbox"),
                    None => None,
                };
                Some(quote(&system.map_or_else(|| naming.encode(path), str::to_owned)))
            };
            bearing.filter_map(label).collect()
        });
        labels.join(" ")
    }

    async fn tell_body(
        &mut self,
        message: &StoredMessage,
        item: &Item<'_>,
        fault: Option<BodyFault>,
    ) -> Result<(), Gone> {
        let (label, bytes) = part(&message.body, item);
        if is_body(item) {
            match fault {
                Some(BodyFault::Nil) => {
                    self.wire.put(format!("{label} NIL").as_bytes());
                    return Ok(());
                }
                Some(BodyFault::Empty) => {
                    self.wire.put(format!("{label} \"\"").as_bytes());
                    return Ok(());
                }
                _ => {}
            }
            let mut counters = self.shared.counters();
            counters.fetched_bodies += 1;
            counters.fetched_body_bytes += bytes.len() as u64;
        }
        self.wire.put(format!("{label} {{{}}}\r\n", bytes.len()).as_bytes());
        self.wire.put_body(&bytes).await
    }
}

fn flags(message: &StoredMessage) -> String {
    format!("FLAGS ({})", message.flags.join(" "))
}

fn served(item: &Item<'_>) -> bool {
    match item {
        Item::Uid
        | Item::Flags
        | Item::InternalDate
        | Item::Rfc822Size
        | Item::ModSeq
        | Item::Rfc822
        | Item::Rfc822Header
        | Item::Rfc822Text => true,
        Item::BodyExt { section, .. } => matches!(
            section,
            None | Some(
                Section::Header(None)
                    | Section::Text(None)
                    | Section::HeaderFields(None, _)
                    | Section::HeaderFieldsNot(None, _)
            )
        ),
        _ => false,
    }
}

fn is_body(item: &Item<'_>) -> bool {
    match item {
        Item::Rfc822 | Item::Rfc822Text => true,
        Item::BodyExt { section, .. } => matches!(section, None | Some(Section::Text(_))),
        _ => false,
    }
}

fn reads(item: &Item<'_>) -> bool {
    matches!(item, Item::Rfc822 | Item::Rfc822Text | Item::BodyExt { peek: false, .. })
}

/// The name a part is sent under, and its bytes.
fn part(body: &Bytes, item: &Item<'_>) -> (String, Bytes) {
    let header = header_bytes(body);
    match item {
        Item::Rfc822 => ("RFC822".to_owned(), body.clone()),
        Item::Rfc822Header => ("RFC822.HEADER".to_owned(), body.slice(..header)),
        Item::Rfc822Text => ("RFC822.TEXT".to_owned(), body.slice(header..)),
        Item::BodyExt { section, partial, .. } => {
            let (name, mut bytes) = match section {
                Some(Section::Header(_)) => ("HEADER".to_owned(), body.slice(..header)),
                Some(Section::Text(_)) => ("TEXT".to_owned(), body.slice(header..)),
                Some(Section::HeaderFields(_, names)) => {
                    let names: Vec<&[u8]> = names.as_ref().iter().map(AsRef::as_ref).collect();
                    let label = format!("HEADER.FIELDS ({})", spelled(&names));
                    (label, fields(&body[..header], |name| is_among(&names, name)))
                }
                Some(Section::HeaderFieldsNot(_, names)) => {
                    let names: Vec<&[u8]> = names.as_ref().iter().map(AsRef::as_ref).collect();
                    let label = format!("HEADER.FIELDS.NOT ({})", spelled(&names));
                    (label, fields(&body[..header], |name| !is_among(&names, name)))
                }
                _ => (String::new(), body.clone()),
            };
            let Some((start, length)) = partial else {
                return (format!("BODY[{name}]"), bytes);
            };
            let from = (*start as usize).min(bytes.len());
            let to = from.saturating_add(length.get() as usize).min(bytes.len());
            bytes = bytes.slice(from..to);
            (format!("BODY[{name}]<{start}>"), bytes)
        }
        _ => (String::new(), Bytes::new()),
    }
}

fn spelled(names: &[&[u8]]) -> String {
    names.iter().map(|name| String::from_utf8_lossy(name)).collect::<Vec<_>>().join(" ")
}

fn is_among(names: &[&[u8]], name: &[u8]) -> bool {
    names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
}

/// How many bytes the header has, the empty line behind it included.
pub(super) fn header_bytes(body: &[u8]) -> usize {
    if body.starts_with(b"\r\n") {
        return 2;
    }
    let crlf = memmem::find(body, b"\r\n\r\n").map(|at| at + 4);
    let lf = memmem::find(&body[..crlf.unwrap_or(body.len())], b"\n\n").map(|at| at + 2);
    lf.or(crlf).unwrap_or(body.len())
}

/// The lines of the wanted header fields, and an empty line.
fn fields(header: &[u8], wanted: impl Fn(&[u8]) -> bool) -> Bytes {
    let mut found = Vec::new();
    let mut taken = false;
    for line in header.split_inclusive(|byte| *byte == b'\n') {
        if line == b"\r\n" || line == b"\n" {
            break;
        }
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
            taken = wanted(name.trim_ascii_end());
        }
        if taken {
            found.extend_from_slice(line);
        }
    }
    found.extend_from_slice(b"\r\n");
    Bytes::from(found)
}

#[cfg(test)]
mod tests;
