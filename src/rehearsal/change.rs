//! STORE, EXPUNGE and COPY.

use imap_codec::imap_types::command::StoreModifier;
use imap_codec::imap_types::flag::{Flag, StoreResponse, StoreType};
use imap_codec::imap_types::mailbox::Mailbox as Name;

use super::command::{Set, write_set};
use super::fault::{AppendUidLie, Deed};
use super::mailbox::Change;
use super::select::flags_line;
use super::session::{Handled, Reply, Session};

impl From<&StoreType> for Change {
    fn from(kind: &StoreType) -> Self {
        match kind {
            StoreType::Replace => Self::Replace,
            StoreType::Add => Self::Add,
            StoreType::Remove => Self::Remove,
        }
    }
}

impl Session {
    pub(super) fn store_flags(
        &mut self,
        set: Option<&Set>,
        uid: bool,
        change: Change,
        response: &StoreResponse,
        flags: &[Flag<'_>],
        modifiers: &[StoreModifier],
    ) -> Handled {
        let numbers = self.writable(set, uid)?;
        if flags.iter().any(|flag| matches!(flag, Flag::Extension(_))) {
            return Err(Reply::bad("no such system flag"));
        }
        let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        let mut unchanged_since = u64::MAX;
        for modifier in modifiers {
            match modifier {
                StoreModifier::UnchangedSince(modseq) if self.profile().condstore => {
                    unchanged_since = *modseq;
                    self.condstore = true;
                }
                _ => return Err(Reply::bad("modifier is not supported")),
            }
        }
        let condstore = self.condstore;
        let silent = *response == StoreResponse::Silent;
        let store = self.store()?;
        let (told, modified) = self.on_selected(|selected, mailbox| {
            let known = selected.modseq == mailbox.modseq;
            let (mut told, mut modified) = (String::new(), Vec::new());
            for (number, uid_of) in numbers {
                let before = mailbox.messages.get(&uid_of).map(|message| message.modseq);
                if before.is_some_and(|modseq| modseq > unchanged_since) {
                    modified.push(if uid { uid_of } else { number });
                    continue;
                }
                mailbox.reflag(uid_of, change, &flags);
                let message = mailbox.messages.get(&uid_of);
                // Even a silent STORE tells the new mod-sequence (RFC 7162 section 3.1.3).
                if let Some(message) = message.filter(|_| !silent || condstore) {
                    told.push_str(&flags_line(number as usize, message, condstore));
                }
            }
            if known {
                selected.modseq = mailbox.modseq;
            }
            (told, modified)
        })?;
        // Sessions that idle are woken.
        store.wake();
        self.wire.put(told.as_bytes());
        Ok(if modified.is_empty() {
            Reply::ok("stored")
        } else {
            Reply::ok(&format!("[MODIFIED {}] some had changed", write_set(&modified)))
        })
    }

    /// EXPUNGE, of all or of some UIDs; the end of the command tells what went.
    pub(super) fn expunge(&mut self, set: Option<&Set>) -> Handled {
        let wanted = match set {
            Some(_) => Some(self.writable(set, true)?),
            None => {
                let selected = self.selected()?;
                if selected.read_only {
                    return Err(read_only());
                }
                None
            }
        };
        let store = self.store()?;
        let selected = self.selected()?;
        let (path, id) = (&mut selected.path, selected.id);
        store.change(|tree| {
            let mailbox = tree.selected(path, id).ok_or_else(gone)?;
            let mut uids = mailbox.deleted();
            if let Some(wanted) = &wanted {
                uids.retain(|uid| wanted.binary_search_by_key(uid, |(_, uid)| *uid).is_ok());
            }
            for uid in uids {
                tree.remove(path, uid);
            }
            Ok(Reply::ok("expunged"))
        })
    }

    /// COPY, all messages or none.
    pub(super) fn copy(&mut self, set: Option<&Set>, uid: bool, name: &Name<'_>) -> Handled {
        let numbers = self.readable(set, uid)?;
        let target = self.named(name)?;
        let store = self.store()?;
        let selected = self.selected()?;
        let (path, id) = (&mut selected.path, selected.id);
        let (uid_validity, sources, uids) = store.change(|tree| {
            let mailbox = tree.selected(path, id).ok_or_else(gone)?;
            let held = |&(_, uid): &(u32, u32)| mailbox.messages.get(&uid).cloned();
            let sources: Vec<_> = numbers.iter().filter_map(held).collect();
            let (uid_validity, uids) = tree.copy(&target, &sources)?;
            let sources: Vec<u32> = sources.iter().map(|stored| stored.uid).collect();
            Ok::<_, Reply>((uid_validity, sources, uids))
        })?;
        let code = self.copy_uid(uid_validity, &sources, uids);
        Ok(Reply::ok(&format!("{code}copied")))
    }

    /// The code COPYUID with a space (RFC 4315 section 3), or nothing.
    pub(super) fn copy_uid(
        &self,
        uid_validity: u32,
        sources: &[u32],
        mut uids: Vec<u32>,
    ) -> String {
        if !self.profile().uidplus || uids.is_empty() {
            return String::new();
        }
        let lie = self.strike(|deed| match deed {
            Deed::CopyUid(lie) => Some(*lie),
            _ => None,
        });
        let mut uid_validity = uid_validity;
        match lie {
            None => {}
            Some(AppendUidLie::Omitted) => return String::new(),
            Some(AppendUidLie::Shifted(by)) => {
                uids.iter_mut().for_each(|uid| *uid = uid.wrapping_add(by));
            }
            Some(AppendUidLie::Validity(other)) => uid_validity = other,
        }
        format!("[COPYUID {uid_validity} {} {}] ", write_set(sources), write_set(&uids))
    }

    fn readable(&mut self, set: Option<&Set>, uid: bool) -> Result<Vec<(u32, u32)>, Reply> {
        let set = set.ok_or_else(|| Reply::bad("no message set"))?;
        self.selected()?.resolve(set, uid)
    }

    pub(super) fn writable(
        &mut self,
        set: Option<&Set>,
        uid: bool,
    ) -> Result<Vec<(u32, u32)>, Reply> {
        if self.selected()?.read_only {
            return Err(read_only());
        }
        self.readable(set, uid)
    }
}

pub(super) fn gone() -> Reply {
    Reply::no("[NONEXISTENT] the selected mailbox is gone")
}

fn read_only() -> Reply {
    Reply::no("[READ-ONLY] mailbox was opened for reading")
}

#[cfg(test)]
mod tests {
    use crate::rehearsal::transcript::{Client, ann};
    use crate::rehearsal::{Message, Profile};

    #[tokio::test]
    async fn flags_are_added_taken_and_replaced() {
        let (_, store, mut client) = ann(Profile::exchange()).await;
        store.deliver(&["INBOX"], Message::new("a"));
        client.all("SELECT INBOX").await;
        let told = client.all("STORE 1 +FLAGS (\\Seen work)").await;
        assert_eq!(told, "* 1 FETCH (UID 1 FLAGS (\\Seen work))\nOK stored\n");
        assert_eq!(client.all("UID STORE 1 -FLAGS.SILENT (\\Seen)").await, "OK stored\n");
        assert_eq!(store.messages(&["INBOX"])[0].flags, ["work"]);
        client.all("STORE 1 FLAGS (\\Draft)").await;
        assert_eq!(store.messages(&["INBOX"])[0].flags, ["\\Draft"]);
        assert!(client.last("STORE 1 FLAGS (\\Foo)").await.starts_with("BAD"));
        assert_eq!(client.all("UID STORE 99 FLAGS ()").await, "OK stored\n");
    }

    #[tokio::test]
    async fn a_change_of_what_changed_meanwhile_is_left_out() {
        let (_, store, mut client) = ann(Profile::dovecot()).await;
        store.deliver(&["INBOX"], Message::new("a"));
        store.deliver(&["INBOX"], Message::new("b"));
        client.all("SELECT INBOX").await;
        store.set_flags(&["INBOX"], 2, &["\\Flagged"]);
        let told = client.all("UID STORE 1:2 (UNCHANGEDSINCE 3) +FLAGS (\\Seen)").await;
        assert!(told.ends_with("OK [MODIFIED 2] some had changed\n"), "{told}");
        assert!(told.contains("* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (5))"), "{told}");
    }

    #[tokio::test]
    async fn uid_expunge_takes_only_its_own() {
        let (_, store, mut client) = ann(Profile::dovecot()).await;
        for body in ["a", "b", "c"] {
            let flags = vec!["\\Deleted".to_owned()];
            store.deliver(&["INBOX"], Message { flags, ..Message::new(body) });
        }
        client.all("SELECT INBOX").await;
        assert_eq!(client.all("UID EXPUNGE 2,9").await, "* 2 EXPUNGE\nOK expunged\n");
        assert_eq!(client.all("CLOSE").await, "OK closed\n");
        assert!(store.messages(&["INBOX"]).is_empty());
    }

    #[tokio::test]
    async fn copies_tell_their_uids_and_moves_what_went() {
        let (_, store, mut client) = ann(Profile::dovecot()).await;
        for body in ["a", "b", "c"] {
            store.deliver(&["INBOX"], Message::new(body));
        }
        client.all("SELECT INBOX").await;
        assert!(client.last("UID COPY 1 Work").await.starts_with("NO [TRYCREATE]"));
        client.all("CREATE Work").await;
        assert_eq!(client.all("UID COPY 1,3 Work").await, "OK [COPYUID 1000001 1,3 1:2] copied\n");
        assert_eq!(
            client.all("MOVE 2:3 Work").await,
            "* OK [COPYUID 1000001 2:3 3:4] moved\n* 2 EXPUNGE\n* 2 EXPUNGE\nOK done\n"
        );
        assert_eq!(client.all("UID MOVE 2 Work").await, "* OK moved\nOK done\n");
        let bodies: Vec<_> = store.messages(&["Work"]).into_iter().map(|held| held.body).collect();
        assert_eq!(bodies, ["a", "c", "b", "c"]);
    }

    #[tokio::test]
    async fn a_mailbox_opened_for_reading_is_not_changed() {
        let (server, store, mut client) = ann(Profile::dovecot()).await;
        let flags = vec!["\\Deleted".to_owned()];
        store.deliver(&["INBOX"], Message { flags, ..Message::new("a") });
        client.all("EXAMINE INBOX").await;
        for command in ["STORE 1 +FLAGS (\\Seen)", "EXPUNGE", "UID MOVE 1 INBOX"] {
            assert!(client.last(command).await.starts_with("NO [READ-ONLY]"), "{command}");
        }
        client.all("CLOSE").await;
        let mut other = Client::logged_in(&server).await;
        other.all("SELECT INBOX").await;
        other.all("UNSELECT").await;
        assert_eq!(store.messages(&["INBOX"]).len(), 1);
    }
}
