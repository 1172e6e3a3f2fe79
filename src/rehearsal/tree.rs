//! The mailboxes of one account, changed under the lock of their store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use super::mailbox::{Mailbox, Message, StoredMessage};
use super::names::Path;
use super::profile::Merging;

/// Why the store did not do something: the text after `NO`, response code included.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub(super) String);

impl Refusal {
    pub(super) fn new(text: impl fmt::Display) -> Self {
        Self(text.to_string())
    }
}

/// Numbers all accounts of a server share, so that runs repeat exactly.
#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) uid_validity: AtomicU32,
    pub(super) mailbox: AtomicU64,
    /// What the server takes for now, in seconds of Unix time.
    pub(super) now: AtomicI64,
}

impl Numbers {
    /// A mailbox as just created.
    pub(super) fn fresh(&self, selectable: bool) -> Mailbox {
        let id = self.mailbox.fetch_add(1, Ordering::Relaxed);
        Mailbox::new(id, self.uid_validity.fetch_add(1, Ordering::Relaxed), selectable)
    }
}

/// The mailboxes of an account.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) mailboxes: BTreeMap<Path, Mailbox>,
    pub(super) subscriptions: BTreeSet<Path>,
    pub(super) quota_bytes: Option<u64>,
    pub(super) used_bytes: u64,
    /// Whether the mailbox for `\\All` shows what is in the others.
    pub(super) all_mail: bool,
    /// Mailboxes that a MOVE under way takes messages out of, by their number, once for each MOVE.
    pub(super) moving: Vec<u64>,
}

impl Tree {
    /// Makes what is missing of a path; says whether its end is new as far as that was asked for.
    pub(super) fn make(&mut self, path: &[String], selectable: bool, numbers: &Numbers) -> bool {
        let mut made = false;
        for length in 1..=path.len() {
            let selectable = selectable && length == path.len();
            made = if let Some(mailbox) = self.mailboxes.get_mut(&path[..length]) {
                let turned = selectable && !mailbox.selectable;
                mailbox.selectable |= selectable;
                turned
            } else {
                self.mailboxes.insert(path[..length].to_vec(), numbers.fresh(selectable));
                true
            };
        }
        made
    }

    pub(super) fn rename(
        &mut self,
        old: &[String],
        new: &[String],
        numbers: &Numbers,
    ) -> Result<(), Refusal> {
        if !self.mailboxes.contains_key(old) {
            return Err(Refusal::new("[NONEXISTENT] no such mailbox"));
        }
        if self.mailboxes.contains_key(new) {
            return Err(Refusal::new("[ALREADYEXISTS] mailbox exists"));
        }
        let inbox = old == ["INBOX"];
        if !inbox && new.starts_with(old) {
            return Err(Refusal::new("[CANNOT] a mailbox cannot go below itself"));
        }
        self.make(&new[..new.len() - 1], false, numbers);
        let moves = |path: &&Path| {
            if inbox { *path == old } else { path.starts_with(old) }
        };
        let paths: Vec<Path> = self.mailboxes.keys().filter(moves).cloned().collect();
        for path in paths {
            if let Some(mailbox) = self.mailboxes.remove(&path) {
                self.mailboxes.insert([new, &path[old.len()..]].concat(), mailbox);
            }
        }
        if inbox {
            self.mailboxes.insert(old.to_vec(), numbers.fresh(true));
        }
        Ok(())
    }

    /// The mailbox a message may be put into.
    pub(super) fn target(&mut self, path: &[String]) -> Result<&mut Mailbox, Refusal> {
        match self.mailboxes.get_mut(path) {
            Some(mailbox) if mailbox.selectable => Ok(mailbox),
            Some(_) => Err(Refusal::new("[CANNOT] mailbox cannot hold messages")),
            None => Err(Refusal::new("[TRYCREATE] no such mailbox")),
        }
    }

    /// The mailbox a session selected, wherever it was renamed to.
    pub(super) fn selected(&mut self, path: &mut Path, id: u64) -> Option<&mut Mailbox> {
        let stayed = self.mailboxes.get(path).is_some_and(|mailbox| mailbox.id == id);
        if !stayed {
            let (moved, _) = self.mailboxes.iter().find(|(_, mailbox)| mailbox.id == id)?;
            path.clone_from(moved);
        }
        self.mailboxes.get_mut(path).filter(|mailbox| mailbox.selectable)
    }

    /// Refuses what would exceed the quota.
    pub(super) fn admit(&self, bytes: u64) -> Result<(), Refusal> {
        match self.quota_bytes {
            Some(quota) if self.used_bytes.saturating_add(bytes) > quota => {
                Err(Refusal::new("[OVERQUOTA] quota exceeded"))
            }
            _ => Ok(()),
        }
    }

    /// Stores copies of messages, all or none, and tells UIDVALIDITY and UIDs.
    pub(super) fn copy(
        &mut self,
        path: &[String],
        originals: &[StoredMessage],
    ) -> Result<(u32, Vec<u32>), Refusal> {
        let copy = |stored: &StoredMessage| Message {
            flags: stored.flags.clone(),
            internal_date: stored.internal_date,
            body: stored.body.clone(),
        };
        let messages: Vec<Message> = originals.iter().map(copy).collect();
        let (uid_validity, uids) = self.append(path, &messages)?;
        let mailbox = self.target(path)?;
        for (uid, original) in uids.iter().zip(originals) {
            if let Some(stored) = mailbox.messages.get_mut(uid) {
                stored.guid = original.guid;
            }
        }
        Ok((uid_validity, uids))
    }

    /// Stores messages, all or none, and tells UIDVALIDITY and UIDs.
    pub(super) fn append(
        &mut self,
        path: &[String],
        messages: &[Message],
    ) -> Result<(u32, Vec<u32>), Refusal> {
        let bytes = messages.iter().map(|message| message.body.len() as u64).sum();
        let admitted = self.admit(bytes);
        let mailbox = self.target(path)?;
        admitted?;
        let free = u64::from(u32::MAX - mailbox.uid_next);
        if (messages.len() as u64) > free {
            return Err(Refusal::new("[LIMIT] no UID is left"));
        }
        let uids = messages.iter().filter_map(|message| mailbox.add(message)).collect();
        let uid_validity = mailbox.uid_validity;
        self.used_bytes += bytes;
        for message in messages {
            self.show_in_all(path, message);
        }
        Ok((uid_validity, uids))
    }

    /// Shows a message of a mailbox in the one for all, if it is not there.
    pub(super) fn show_in_all(&mut self, path: &[String], message: &Message) {
        let is_for = |mailbox: &Mailbox, uses: &[&str]| {
            mailbox.special_use.as_deref().is_some_and(|special_use| uses.contains(&special_use))
        };
        let mailbox = self.mailboxes.get(path);
        if !self.all_mail || mailbox.is_some_and(|one| is_for(one, &["\\All", "\\Junk", "\\Trash"]))
        {
            return;
        }
        let all = self.mailboxes.values_mut().find(|mailbox| is_for(mailbox, &["\\All"]));
        if let Some(all) = all
            && !all.messages.values().any(|stored| stored.body == message.body)
        {
            all.add(message);
        }
    }

    /// As [`Tree::append`], but what a mailbox has already is not stored again.
    pub(super) fn append_once(
        &mut self,
        path: &[String],
        messages: &[Message],
        merges: Merging,
    ) -> Result<(u32, Vec<u32>), Refusal> {
        let mut uid_validity = self.target(path)?.uid_validity;
        let mut uids = Vec::with_capacity(messages.len());
        for message in messages {
            let mailbox = self.target(path)?;
            let mut there = mailbox.messages.values();
            if let Some(equal) = there.find(|stored| stored.body == message.body) {
                if merges == Merging::TellsNew {
                    uids.push(mailbox.uid_next);
                    mailbox.uid_next += 1;
                } else {
                    uids.push(equal.uid);
                }
                continue;
            }
            let appended = self.append(path, std::slice::from_ref(message))?;
            uid_validity = appended.0;
            uids.extend(appended.1);
        }
        Ok((uid_validity, uids))
    }

    /// Removes a message; says whether it was there.
    pub(super) fn remove(&mut self, path: &[String], uid: u32) -> bool {
        let removed = self.mailboxes.get_mut(path).and_then(|mailbox| mailbox.remove(uid));
        let bytes = removed.as_ref().map_or(0, |message| message.body.len() as u64);
        self.used_bytes = self.used_bytes.saturating_sub(bytes);
        removed.is_some()
    }

    /// Whether a MOVE out of this mailbox is under way.
    pub(super) fn is_moving(&self, path: &[String]) -> bool {
        self.mailboxes.get(path).is_some_and(|mailbox| self.moving.contains(&mailbox.id))
    }

    pub(super) fn delete(&mut self, path: &[String], numbers: &Numbers) -> Result<(), Refusal> {
        if path == ["INBOX"] {
            return Err(Refusal::new("[CANNOT] the inbox cannot be deleted"));
        }
        let below = |other: &Path| other.len() > path.len() && other.starts_with(path);
        let parent = self.mailboxes.keys().any(below);
        let Some(mailbox) = self.mailboxes.get(path) else {
            return Err(Refusal::new("[NONEXISTENT] no such mailbox"));
        };
        if parent && !mailbox.selectable {
            return Err(Refusal::new("[HASCHILDREN] mailbox holds other mailboxes"));
        }
        self.used_bytes = self.used_bytes.saturating_sub(mailbox.bytes());
        if parent {
            self.mailboxes.insert(path.to_vec(), numbers.fresh(false));
        } else {
            self.mailboxes.remove(path);
        }
        Ok(())
    }
}
