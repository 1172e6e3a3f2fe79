//! The selected mailbox: SELECT, what sessions are told of changes, STATUS, CLOSE.

use std::collections::BTreeSet;

use imap_codec::imap_types::command::SelectParameter;
use imap_codec::imap_types::mailbox::Mailbox as Name;
use imap_codec::imap_types::status::StatusDataItemName;

use super::command::Set;
use super::mailbox::{Mailbox, StoredMessage};
use super::names::{Path, quote};
use super::session::{Handled, Reply, Session};
use super::tree::Refusal;

/// What a session knows of its mailbox.
pub(super) struct Selected {
    pub(super) path: Path,
    pub(super) id: u64,
    pub(super) read_only: bool,
    /// The UIDs by sequence number, as the client knows them.
    pub(super) view: Vec<u32>,
    pub(super) uid_next: u32,
    pub(super) modseq: u64,
    pub(super) expunged: u64,
}

impl Selected {
    /// The messages meant, as (sequence number, UID).
    pub(super) fn resolve(&self, set: &Set, uid: bool) -> Result<Vec<(u32, u32)>, Reply> {
        let count = u32::try_from(self.view.len()).unwrap_or(u32::MAX);
        let last = if uid { self.view.last().copied().unwrap_or(0) } else { count };
        let mut messages = Vec::new();
        for range in set.ranges(last) {
            if uid {
                let start = self.view.partition_point(|held| held < range.start());
                let end = self.view.partition_point(|held| held <= range.end());
                messages.extend(self.numbered(start..end));
            } else {
                if *range.start() == 0 || *range.end() > count {
                    return Err(Reply::bad("no message has that sequence number"));
                }
                messages.extend(self.numbered(*range.start() as usize - 1..*range.end() as usize));
            }
        }
        Ok(messages)
    }

    fn numbered(&self, indices: std::ops::Range<usize>) -> impl Iterator<Item = (u32, u32)> {
        let first = u32::try_from(indices.start).unwrap_or(u32::MAX);
        (first + 1..).zip(self.view[indices].iter().copied())
    }
}

impl Session {
    /// The selected mailbox, or the answer of a command that needs one.
    pub(super) fn selected(&mut self) -> Result<&mut Selected, Reply> {
        self.selected.as_mut().ok_or_else(|| Reply::bad("select a mailbox first"))
    }

    /// Works on the selected mailbox under the lock of its store.
    pub(super) fn on_selected<R>(
        &mut self,
        work: impl FnOnce(&mut Selected, &mut Mailbox) -> R,
    ) -> Result<R, Reply> {
        let store = self.store()?;
        let selected = self.selected()?;
        store.with(|tree| {
            let mailbox = tree.selected(&mut selected.path, selected.id);
            let mailbox =
                mailbox.ok_or_else(|| Reply::no("[NONEXISTENT] the selected mailbox is gone"))?;
            Ok(work(selected, mailbox))
        })
    }

    pub(super) fn select(
        &mut self,
        name: &Name<'_>,
        parameters: &[SelectParameter],
        read_only: bool,
    ) -> Handled {
        let store = self.store()?;
        // Even a SELECT that fails leaves nothing selected (RFC 9051 section 6.3.2).
        self.selected = None;
        if !parameters.is_empty() {
            let condstore = parameters.iter().all(|one| *one == SelectParameter::CondStore);
            if !self.profile().condstore || !condstore {
                return Err(Reply::bad("parameter is not supported"));
            }
            self.condstore = true;
        }
        let path = self.named(name)?;
        let (told, selected) = store.with(|tree| match tree.target(&path) {
            Ok(mailbox) => Ok(self.opened(mailbox, path.clone(), read_only)),
            Err(_) => Err(Refusal::new("[NONEXISTENT] no such mailbox")),
        })?;
        self.wire.put(told.as_bytes());
        self.selected = Some(selected);
        Ok(Reply::ok(if read_only { "[READ-ONLY] examined" } else { "[READ-WRITE] selected" }))
    }

    /// What SELECT tells, and what the session then knows.
    fn opened(&self, mailbox: &Mailbox, path: Path, read_only: bool) -> (String, Selected) {
        let view: Vec<u32> = mailbox.messages.keys().copied().collect();
        let flags = mailbox.messages.values().flat_map(|message| &message.flags);
        let keywords: BTreeSet<&String> = flags.filter(|flag| !flag.starts_with('\\')).collect();
        let mut flags = "\\Answered \\Flagged \\Deleted \\Seen \\Draft".to_owned();
        for keyword in keywords {
            flags.push(' ');
            flags.push_str(keyword);
        }
        let permanent = if read_only { String::new() } else { format!("{flags} \\*") };
        let mut told = format!(
            "* FLAGS ({flags})\r\n* OK [PERMANENTFLAGS ({permanent})] flags that stay\r\n\
             * {} EXISTS\r\n* 0 RECENT\r\n",
            view.len()
        );
        let unseen = mailbox.messages.values().position(|message| !seen(message));
        if let Some(index) = unseen {
            told.push_str(&format!("* OK [UNSEEN {}] first unseen\r\n", index + 1));
        }
        told.push_str(&format!("* OK [UIDVALIDITY {}] UIDs valid\r\n", mailbox.uid_validity));
        if self.profile().select_uid_next {
            told.push_str(&format!("* OK [UIDNEXT {}] next UID\r\n", mailbox.uid_next));
        }
        if self.profile().condstore {
            told.push_str(&format!("* OK [HIGHESTMODSEQ {}] highest\r\n", mailbox.modseq));
        }
        let selected = Selected {
            path,
            id: mailbox.id,
            read_only,
            view,
            uid_next: mailbox.uid_next,
            modseq: mailbox.modseq,
            expunged: mailbox.expunged,
        };
        (told, selected)
    }

    /// Tells what changed in the selected mailbox; of messages gone only where that is allowed,
    /// which it is not during FETCH, STORE and SEARCH (RFC 9051 section 7.5.1).
    pub(super) fn report(&mut self, expunged: bool) {
        let condstore = self.condstore;
        // A mailbox that is gone has nothing to tell; the commands that need it say so.
        let told = self.on_selected(|selected, mailbox| {
            let mut told = String::new();
            if expunged && mailbox.expunged != selected.expunged {
                tell_expunged(selected, mailbox, &mut told);
            }
            if mailbox.reflagged > selected.modseq {
                for (index, uid) in selected.view.iter().enumerate() {
                    let message = mailbox.messages.get(uid);
                    if let Some(message) = message.filter(|held| held.modseq > selected.modseq) {
                        told.push_str(&flags_line(index + 1, message, condstore));
                    }
                }
            }
            let known = selected.view.len();
            let new = mailbox.messages.range(selected.uid_next..);
            selected.view.extend(new.map(|(uid, _)| *uid));
            if selected.view.len() > known {
                told.push_str(&format!("* {} EXISTS\r\n* 0 RECENT\r\n", selected.view.len()));
            }
            selected.uid_next = mailbox.uid_next;
            selected.modseq = mailbox.modseq;
            told
        });
        if let Ok(told) = told {
            self.wire.put(told.as_bytes());
        }
    }

    pub(super) fn close(&mut self, expunge: bool) -> Handled {
        let store = self.store()?;
        let selected = self.selected()?;
        if expunge && !selected.read_only {
            let (path, id) = (&mut selected.path, selected.id);
            store.change(|tree| {
                let uids: Vec<u32> = match tree.selected(path, id) {
                    Some(mailbox) => mailbox.deleted(),
                    None => Vec::new(),
                };
                for uid in uids {
                    tree.remove(path, uid);
                }
            });
        }
        self.selected = None;
        Ok(Reply::ok("closed"))
    }

    pub(super) fn status(&mut self, name: &Name<'_>, items: &[StatusDataItemName]) -> Handled {
        let path = self.named(name)?;
        if items.contains(&StatusDataItemName::HighestModSeq) {
            self.condstore |= self.profile().condstore;
        }
        let status = self.store()?.with(|tree| match tree.target(&path) {
            Ok(mailbox) => Ok(status_items(mailbox, items)),
            Err(_) => Err(Refusal::new("[NONEXISTENT] no such mailbox")),
        })?;
        let name = quote(&self.naming().encode(&path));
        self.wire.put_line(format_args!("* STATUS {name} ({status})"));
        Ok(Reply::ok("done"))
    }

    pub(super) fn quota_root(&mut self, name: &Name<'_>) -> Handled {
        let name = quote(&self.naming().encode(&self.named(name)?));
        self.wire.put_line(format_args!("* QUOTAROOT {name} \"\""));
        self.quota()
    }

    pub(super) fn quota(&mut self) -> Handled {
        let (used, quota) = self.store()?.with(|tree| (tree.used_bytes, tree.quota_bytes));
        let resources = quota.map_or_else(String::new, |quota| {
            format!("STORAGE {} {}", used.div_ceil(1024), quota.div_ceil(1024))
        });
        self.wire.put_line(format_args!("* QUOTA \"\" ({resources})"));
        Ok(Reply::ok("done"))
    }
}

/// Writes the values of STATUS.
pub(super) fn status_items(mailbox: &Mailbox, items: &[StatusDataItemName]) -> String {
    let deleted = || mailbox.deleted();
    let value = |item: &StatusDataItemName| match item {
        StatusDataItemName::Messages => format!("MESSAGES {}", mailbox.messages.len()),
        StatusDataItemName::Recent => "RECENT 0".to_owned(),
        StatusDataItemName::UidNext => format!("UIDNEXT {}", mailbox.uid_next),
        StatusDataItemName::UidValidity => format!("UIDVALIDITY {}", mailbox.uid_validity),
        StatusDataItemName::Unseen => {
            format!("UNSEEN {}", mailbox.messages.values().filter(|held| !seen(held)).count())
        }
        StatusDataItemName::Deleted => format!("DELETED {}", deleted().len()),
        StatusDataItemName::DeletedStorage => {
            let sizes =
                deleted().iter().filter_map(|uid| mailbox.messages.get(uid)).map(size).sum();
            format!("DELETED-STORAGE {}", u64::div_ceil(sizes, 1024))
        }
        StatusDataItemName::HighestModSeq => format!("HIGHESTMODSEQ {}", mailbox.modseq),
    };
    items.iter().map(value).collect::<Vec<_>>().join(" ")
}

fn size(message: &StoredMessage) -> u64 {
    message.body.len() as u64
}

fn seen(message: &StoredMessage) -> bool {
    super::mailbox::has_flag(message, "\\Seen")
}

/// Writes the untagged FETCH of flags that changed.
pub(super) fn flags_line(number: usize, message: &StoredMessage, condstore: bool) -> String {
    let modseq = if condstore { format!(" MODSEQ ({})", message.modseq) } else { String::new() };
    let flags = message.flags.join(" ");
    format!("* {number} FETCH (UID {} FLAGS ({flags}){modseq})\r\n", message.uid)
}

/// Takes what is gone out of the view, in one walk.
fn tell_expunged(selected: &mut Selected, mailbox: &Mailbox, told: &mut String) {
    let mut number = 1;
    selected.view.retain(|uid| {
        let there = mailbox.messages.contains_key(uid);
        if there {
            number += 1;
        } else {
            // Numbers behind a message gone move up at once, so this one stays.
            told.push_str(&format!("* {number} EXPUNGE\r\n"));
        }
        there
    });
    selected.expunged = mailbox.expunged;
}

#[cfg(test)]
mod tests {
    use crate::rehearsal::transcript::{Client, ann};
    use crate::rehearsal::{Message, Profile};

    #[tokio::test]
    async fn select_tells_all_a_client_must_know() {
        let (_, store, mut client) = ann(Profile::dovecot()).await;
        let seen = ["\\Seen".to_owned(), "work".to_owned()];
        store.deliver(&["INBOX"], Message { flags: seen.to_vec(), ..Message::new("a") });
        store.deliver(&["INBOX"], Message::new("b"));
        assert_eq!(
            client.all("SELECT inbox").await,
            "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft work)\n\
             * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft work \\*)] flags that stay\n\
             * 2 EXISTS\n* 0 RECENT\n* OK [UNSEEN 2] first unseen\n\
             * OK [UIDVALIDITY 1000000] UIDs valid\n* OK [UIDNEXT 3] next UID\n\
             * OK [HIGHESTMODSEQ 3] highest\nOK [READ-WRITE] selected\n"
        );
        assert_eq!(client.last("EXAMINE INBOX").await, "OK [READ-ONLY] examined");
        assert!(client.last("STORE 1 FLAGS ()").await.starts_with("NO"));
        assert!(client.last("SELECT nothing").await.starts_with("NO [NONEXISTENT]"));
        assert!(client.last("CHECK").await.starts_with("BAD"));
    }

    #[tokio::test]
    async fn a_server_may_keep_uidnext_to_status() {
        let (_, _, mut client) = ann(Profile::courier()).await;
        assert!(!client.all("SELECT INBOX").await.contains("UIDNEXT"));
        let status = client.all("STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY)").await;
        assert!(
            status.starts_with("* STATUS \"INBOX\" (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 1000000)")
        );
    }

    #[tokio::test]
    async fn what_another_session_expunges_is_told_when_it_may_be() {
        let (server, store, mut client) = ann(Profile::dovecot()).await;
        for body in ["a", "b", "c"] {
            store.deliver(&["INBOX"], Message::new(body));
        }
        let mut other = Client::logged_in(&server).await;
        client.all("SELECT INBOX").await;
        other.all("SELECT INBOX").await;
        other.all("UID STORE 1,2 +FLAGS.SILENT (\\Deleted)").await;
        let told = other.all("EXPUNGE").await;
        assert_eq!(told, "* 1 EXPUNGE\n* 1 EXPUNGE\nOK expunged\n");
        let fetched = client.all("FETCH 1:3 (UID)").await;
        assert!(
            !fetched.contains("EXPUNGE\n") && fetched.contains("* 3 FETCH (UID 3)"),
            "{fetched}"
        );
        assert_eq!(client.all("NOOP").await, "* 1 EXPUNGE\n* 1 EXPUNGE\nOK done\n");
        assert_eq!(client.all("FETCH 1 (UID)").await, "* 1 FETCH (UID 3)\nOK fetched\n");
    }

    #[tokio::test]
    async fn new_mail_and_new_flags_are_told() {
        let (_, store, mut client) = ann(Profile::exchange()).await;
        let uid = store.deliver(&["INBOX"], Message::new("a"));
        client.all("SELECT INBOX").await;
        store.set_flags(&["INBOX"], uid, &["\\Flagged"]);
        store.deliver(&["INBOX"], Message::new("b"));
        let told = client.all("NOOP").await;
        assert_eq!(told, "* 1 FETCH (UID 1 FLAGS (\\Flagged))\n* 2 EXISTS\n* 0 RECENT\nOK done\n");
        assert_eq!(client.all("NOOP").await, "OK done\n");
    }

    #[tokio::test]
    async fn idle_tells_at_once() {
        let (_, store, mut client) = ann(Profile::dovecot()).await;
        client.all("SELECT INBOX").await;
        client.send("i IDLE\r\n").await;
        assert_eq!(client.line().await, "+ idling");
        store.deliver(&["INBOX"], Message::new("a"));
        assert_eq!(client.line().await, "* 1 EXISTS");
        client.send("DONE\r\n").await;
        assert_eq!(client.line().await, "* 0 RECENT");
        assert_eq!(client.line().await, "i OK done");
    }

    #[tokio::test]
    async fn a_mailbox_that_lost_its_uidvalidity_is_gone_for_who_had_it() {
        let (_, store, mut client) = ann(Profile::dovecot()).await;
        store.deliver(&["INBOX"], Message::new("a"));
        client.all("SELECT INBOX").await;
        assert_eq!(store.bump_uid_validity(&["INBOX"]), Some(1_000_001));
        assert!(client.last("UID FETCH 1 (UID)").await.starts_with("NO [NONEXISTENT]"));
        assert!(client.all("SELECT INBOX").await.contains("[UIDVALIDITY 1000001]"));
    }
}
