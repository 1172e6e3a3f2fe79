//! Rights (RFC 4314) and notes (RFC 5464) of mailboxes.

use super::command::Cursor;
use super::names::{Path, quote};
use super::session::{Handled, Reply, Session};
use super::tree::Refusal;

/// What an owner may do.
const ALL: &str = "lrswipkxtea";

impl Session {
    /// Does a command about rights or notes.
    pub(super) fn sharing(&mut self, name: &str, command: &[u8]) -> Handled {
        let is_offered = match name {
            "GETMETADATA" | "SETMETADATA" => self.profile().metadata,
            _ => self.profile().acl,
        };
        let at = memchr::memmem::find(command, name.as_bytes()).unwrap_or(0) + name.len();
        let mut cursor = Cursor::new(command.get(at..).unwrap_or_default());
        let done = match name {
            _ if !is_offered => None,
            "GETACL" => self.get_acl(&mut cursor),
            "SETACL" => self.set_acl(&mut cursor),
            "GETMETADATA" => self.get_metadata(&mut cursor),
            _ => self.set_metadata(&mut cursor),
        };
        done.unwrap_or_else(|| Err(Reply::bad("cannot parse the command")))
    }

    fn mailbox(&self, cursor: &mut Cursor<'_>) -> Option<Result<Path, Reply>> {
        cursor.take(" ")?;
        let name = cursor.astring()?;
        Some(self.path(&name))
    }

    fn get_acl(&mut self, cursor: &mut Cursor<'_>) -> Option<Handled> {
        let path = match self.mailbox(cursor)? {
            Ok(path) => path,
            Err(reply) => return Some(Err(reply)),
        };
        let user = self.user()?.to_owned();
        let told = self.store().ok()?.with(|tree| {
            let mailbox = tree.mailboxes.get(&path).ok_or_else(nonexistent)?;
            let others =
                mailbox.acl.iter().map(|(who, rights)| format!(" {} {rights}", quote(who)));
            Ok::<_, Refusal>(others.collect::<String>())
        });
        Some(told.map_err(Reply::from).map(|others| {
            let name = quote(&self.naming().encode(&path));
            self.wire.put_line(format_args!("* ACL {name} {} {ALL}{others}", quote(&user)));
            Reply::ok("done")
        }))
    }

    fn set_acl(&mut self, cursor: &mut Cursor<'_>) -> Option<Handled> {
        let path = match self.mailbox(cursor)? {
            Ok(path) => path,
            Err(reply) => return Some(Err(reply)),
        };
        cursor.take(" ")?;
        let who = String::from_utf8(cursor.astring()?).ok()?;
        cursor.take(" ")?;
        let rights = String::from_utf8(cursor.astring()?).ok()?;
        let done = self.store().ok()?.change(|tree| {
            let mailbox = tree.mailboxes.get_mut(&path).ok_or_else(nonexistent)?;
            let (more, given) = match rights.strip_prefix('+') {
                Some(more) => (more, mailbox.acl.remove(&who).unwrap_or_default()),
                None => (rights.as_str(), String::new()),
            };
            if let Some(wrong) = more.chars().find(|right| !ALL.contains(*right)) {
                return Err(Refusal::new(format!("[CANNOT] no such right: {wrong}")));
            }
            let all = ALL.chars().filter(|right| more.contains(*right) || given.contains(*right));
            mailbox.acl.insert(who.clone(), all.collect());
            Ok(Reply::ok("done"))
        });
        Some(done.map_err(Reply::from))
    }

    fn get_metadata(&mut self, cursor: &mut Cursor<'_>) -> Option<Handled> {
        cursor.take(" (DEPTH infinity)")?;
        let path = match self.mailbox(cursor)? {
            Ok(path) => path,
            Err(reply) => return Some(Err(reply)),
        };
        cursor.take(" (/private /shared)")?;
        let told = self.store().ok()?.with(|tree| {
            let mailbox = tree.mailboxes.get(&path).ok_or_else(nonexistent)?;
            Ok::<_, Refusal>(mailbox.metadata.clone())
        });
        Some(told.map_err(Reply::from).map(|notes| {
            let name = quote(&self.naming().encode(&path));
            for (entry, value) in notes {
                let head = format!("* METADATA {name} ({entry} {{{}}}\r\n", value.len());
                self.wire.put(head.as_bytes());
                self.wire.put(&value);
                self.wire.put(b")\r\n");
            }
            Reply::ok("done")
        }))
    }

    fn set_metadata(&mut self, cursor: &mut Cursor<'_>) -> Option<Handled> {
        let path = match self.mailbox(cursor)? {
            Ok(path) => path,
            Err(reply) => return Some(Err(reply)),
        };
        cursor.take(" (")?;
        let entry = String::from_utf8(cursor.astring()?).ok()?;
        cursor.take(" ")?;
        let value = cursor.astring()?;
        cursor.take(")\r\n")?;
        let done = self.store().ok()?.change(|tree| {
            let mailbox = tree.mailboxes.get_mut(&path).ok_or_else(nonexistent)?;
            if !entry.starts_with("/private/") && !entry.starts_with("/shared/") {
                return Err(Refusal::new("[CANNOT] no such entry"));
            }
            mailbox.metadata.insert(entry.to_ascii_lowercase(), value.clone());
            Ok(Reply::ok("done"))
        });
        Some(done.map_err(Reply::from))
    }
}

fn nonexistent() -> Refusal {
    Refusal::new("[NONEXISTENT] no such mailbox")
}
