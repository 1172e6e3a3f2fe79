//! The mail of one account, for sessions and, synchronously, for tests and the demo.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use super::mailbox::{Change, Mailbox};
use super::names::{Path, path};
use super::tree::{Numbers, Refusal, Tree};
use super::{InternalDate, Message, Profile, StoredMessage};

/// The mail of one account. Clones are the same mail; sessions see changes as another session's.
#[derive(Clone, Debug)]
pub struct Store {
    tree: Arc<Mutex<Tree>>,
    numbers: Arc<Numbers>,
    changes: watch::Sender<u64>,
}

/// A mailbox as the store shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MailboxInfo {
    /// Its names, decoded.
    pub path: Vec<String>,
    /// Its UIDVALIDITY.
    pub uid_validity: u32,
    /// The UID the next message gets.
    pub uid_next: u32,
    /// False where it only holds other mailboxes (`\Noselect`).
    pub selectable: bool,
    /// What it is for, such as `\Sent`.
    pub special_use: Option<String>,
    /// How many messages it holds.
    pub messages: usize,
}

/// A message as far as two servers can agree on it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Held {
    /// Its flags, sorted.
    pub flags: Vec<String>,
    /// Its instant, in seconds of Unix time.
    pub unix_seconds: i64,
    /// Every byte of it.
    pub body: Bytes,
}

/// All mail of an account as a multiset: equal where flags, instants and bodies are, whatever the
/// UIDs and the order. Only mailboxes that can hold messages count.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Snapshot {
    /// The messages of each mailbox, sorted.
    pub mailboxes: BTreeMap<Vec<String>, Vec<Held>>,
}

impl Snapshot {
    /// How many messages there are.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.mailboxes.values().map(Vec::len).sum()
    }
}

impl Store {
    pub(super) fn new(numbers: Arc<Numbers>, profile: &Profile) -> Self {
        let Profile { quota_bytes, all_mail, .. } = *profile;
        let tree = Tree { quota_bytes, all_mail, ..Tree::default() };
        let store =
            Self { tree: Arc::new(Mutex::new(tree)), numbers, changes: watch::Sender::new(0) };
        store.with(|tree| tree.make(&["INBOX".to_owned()], true, &store.numbers));
        store
    }

    /// Creates a mailbox, with what it is for (`\Sent`), and its parents as `\Noselect`.
    ///
    /// # Errors
    ///
    /// The mailbox exists.
    pub fn create_mailbox<N: AsRef<str>>(
        &self,
        names: &[N],
        special_use: Option<&str>,
    ) -> Result<(), Refusal> {
        let path = path(names);
        self.create(&path)?;
        self.with(|tree| {
            if let Some(mailbox) = tree.mailboxes.get_mut(&path) {
                mailbox.special_use = special_use.map(str::to_owned);
            }
        });
        Ok(())
    }

    /// Renames a mailbox, and what is below it.
    ///
    /// # Errors
    ///
    /// There is no such mailbox, or one of the new name.
    pub fn rename_mailbox<N: AsRef<str>>(&self, from: &[N], to: &[N]) -> Result<(), Refusal> {
        self.rename(&path(from), &path(to))
    }

    /// Puts a message into a mailbox, which is created if need be, and returns its UID.
    ///
    /// # Panics
    ///
    /// When the mailbox has used up all 2^32 UIDs.
    pub fn deliver<N: AsRef<str>>(&self, names: &[N], message: Message) -> u32 {
        let path = path(names);
        self.change(|tree| {
            tree.make(&path, true, &self.numbers);
            tree.used_bytes += message.body.len() as u64;
            let mailbox = tree.mailboxes.get_mut(&path);
            let uid = mailbox.and_then(|mailbox| mailbox.add(&message)).expect("a UID is left");
            tree.show_in_all(&path, &message);
            uid
        })
    }

    /// Lets somebody do something in a mailbox (RFC 4314).
    pub fn set_rights<N: AsRef<str>>(&self, names: &[N], who: &str, rights: &str) {
        self.change(|tree| {
            if let Some(mailbox) = tree.mailboxes.get_mut(&path(names)) {
                mailbox.acl.insert(who.to_owned(), rights.to_owned());
            }
        });
    }

    /// Who beside the owner may do what in a mailbox.
    pub fn rights<N: AsRef<str>>(&self, names: &[N]) -> BTreeMap<String, String> {
        let mailbox = |tree: &mut Tree| Some(tree.mailboxes.get(&path(names))?.acl.clone());
        self.with(mailbox).unwrap_or_default()
    }

    /// Notes something about a mailbox (RFC 5464).
    pub fn annotate<N: AsRef<str>>(&self, names: &[N], entry: &str, value: &[u8]) {
        self.change(|tree| {
            if let Some(mailbox) = tree.mailboxes.get_mut(&path(names)) {
                mailbox.metadata.insert(entry.to_owned(), value.to_vec());
            }
        });
    }

    /// What is noted about a mailbox.
    pub fn notes<N: AsRef<str>>(&self, names: &[N]) -> BTreeMap<String, Vec<u8>> {
        let mailbox = |tree: &mut Tree| Some(tree.mailboxes.get(&path(names))?.metadata.clone());
        self.with(mailbox).unwrap_or_default()
    }

    /// All mailboxes, in the order of their paths.
    #[must_use]
    pub fn mailboxes(&self) -> Vec<MailboxInfo> {
        let info = |(path, mailbox): (&Path, &Mailbox)| MailboxInfo {
            path: path.clone(),
            uid_validity: mailbox.uid_validity,
            uid_next: mailbox.uid_next,
            selectable: mailbox.selectable,
            special_use: mailbox.special_use.clone(),
            messages: mailbox.messages.len(),
        };
        self.with(|tree| tree.mailboxes.iter().map(info).collect())
    }

    /// The messages of a mailbox by UID; none where there is no such mailbox.
    #[must_use]
    pub fn messages<N: AsRef<str>>(&self, names: &[N]) -> Vec<StoredMessage> {
        let path = path(names);
        self.with(|tree| {
            let mailbox = tree.mailboxes.get(&path);
            mailbox.map(|mailbox| mailbox.messages.values().cloned().collect()).unwrap_or_default()
        })
    }

    /// Removes a message; says whether it was there.
    pub fn expunge<N: AsRef<str>>(&self, names: &[N], uid: u32) -> bool {
        let path = path(names);
        self.change(|tree| tree.remove(&path, uid))
    }

    /// Shows a message in its mailbox no more, though it keeps the label: what Gmail does beyond a limit of
    /// messages in a mailbox. Says whether it was there.
    pub fn hide<N: AsRef<str>>(&self, names: &[N], uid: u32) -> bool {
        let path = path(names);
        self.change(|tree| {
            let hidden = tree.mailboxes.get_mut(&path).and_then(|mailbox| {
                let hidden = mailbox.messages.remove(&uid)?;
                mailbox.hidden.push(hidden.body);
                Some(())
            });
            hidden.is_some()
        })
    }

    /// Replaces the flags of a message; says whether it is there.
    pub fn set_flags<N: AsRef<str>>(&self, names: &[N], uid: u32, flags: &[&str]) -> bool {
        let path = path(names);
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        self.change(|tree| {
            let mailbox = tree.mailboxes.get_mut(&path);
            mailbox.is_some_and(|mailbox| mailbox.reflag(uid, Change::Replace, &flags))
        })
    }

    /// Subscribes to a mailbox, which need not exist.
    pub fn subscribe<N: AsRef<str>>(&self, names: &[N]) {
        self.change(|tree| tree.subscriptions.insert(path(names)));
    }

    /// Ends a subscription; says whether there was one.
    pub fn unsubscribe<N: AsRef<str>>(&self, names: &[N]) -> bool {
        self.change(|tree| tree.subscriptions.remove(&path(names)))
    }

    /// The subscribed paths, sorted.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<Vec<String>> {
        self.with(|tree| tree.subscriptions.iter().cloned().collect())
    }

    /// Gives a mailbox a new UIDVALIDITY, which is returned, and its messages new UIDs from 1;
    /// sessions that have it selected find it gone. `None` where there is no such mailbox.
    pub fn bump_uid_validity<N: AsRef<str>>(&self, names: &[N]) -> Option<u32> {
        let path = path(names);
        self.change(|tree| {
            let old = tree.mailboxes.get_mut(&path)?;
            let mut mailbox = self.numbers.fresh(old.selectable);
            mailbox.special_use = old.special_use.take();
            for message in old.messages.values() {
                mailbox.add(&Message {
                    flags: message.flags.clone(),
                    internal_date: message.internal_date,
                    body: message.body.clone(),
                });
            }
            *old = mailbox;
            Some(old.uid_validity)
        })
    }

    /// Gives a mailbox the UIDVALIDITY of another, as servers do that keep none.
    pub fn set_uid_validity<N: AsRef<str>>(&self, names: &[N], uid_validity: u32) {
        self.change(|tree| {
            if let Some(mailbox) = tree.mailboxes.get_mut(&path(names)) {
                mailbox.uid_validity = uid_validity;
            }
        });
    }

    /// Sets the UID the next message of a mailbox gets, if that is larger than all before.
    pub fn set_uid_next<N: AsRef<str>>(&self, names: &[N], uid_next: u32) {
        self.change(|tree| {
            if let Some(mailbox) = tree.mailboxes.get_mut(&path(names)) {
                mailbox.uid_next = mailbox.uid_next.max(uid_next);
            }
        });
    }

    /// Deletes a mailbox with its messages; one with children stays as `\Noselect`.
    ///
    /// # Errors
    ///
    /// There is no such mailbox, or it is the inbox.
    pub fn delete_mailbox<N: AsRef<str>>(&self, names: &[N]) -> Result<(), Refusal> {
        let path = path(names);
        self.change(|tree| tree.delete(&path, &self.numbers))
    }

    /// Changes what the account may hold, in bytes; what it holds already stays.
    pub fn set_quota(&self, bytes: Option<u64>) {
        self.with(|tree| tree.quota_bytes = bytes);
    }

    /// All mail, to be compared.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let held = |message: &StoredMessage| Held {
            flags: message.flags.clone(),
            unix_seconds: message.internal_date.unix_seconds,
            body: message.body.clone(),
        };
        self.with(|tree| {
            let mut snapshot = Snapshot::default();
            for (path, mailbox) in tree.mailboxes.iter().filter(|(_, mailbox)| mailbox.selectable) {
                let mut messages: Vec<Held> = mailbox.messages.values().map(held).collect();
                messages.sort();
                snapshot.mailboxes.insert(path.clone(), messages);
            }
            snapshot
        })
    }

    /// Creates a mailbox and its missing parents.
    pub(super) fn create(&self, path: &[String]) -> Result<(), Refusal> {
        if self.change(|tree| tree.make(path, true, &self.numbers)) {
            Ok(())
        } else {
            Err(Refusal::new("[ALREADYEXISTS] mailbox exists"))
        }
    }

    /// Moves a mailbox and all below it; of the inbox only the messages (RFC 9051 section 6.3.6).
    pub(super) fn rename(&self, old: &[String], new: &[String]) -> Result<(), Refusal> {
        self.change(|tree| tree.rename(old, new, &self.numbers))
    }

    /// The time the server takes for now.
    pub(super) fn now(&self) -> InternalDate {
        let unix_seconds = self.numbers.now.load(Ordering::Relaxed);
        InternalDate { unix_seconds, offset_seconds: 0 }
    }

    /// Reads or changes the mail under its lock.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut Tree) -> R) -> R {
        work(&mut self.tree.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the mail and wakes the sessions that idle.
    pub(super) fn change<R>(&self, work: impl FnOnce(&mut Tree) -> R) -> R {
        let result = self.with(work);
        self.wake();
        result
    }

    /// Wakes the sessions that idle.
    pub(super) fn wake(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Tells of every change from now on.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use crate::rehearsal::{InternalDate, Message, Profile, Server};

    #[test]
    fn accounts_with_the_same_mail_have_the_same_snapshot() {
        let server = Server::new(Profile::plain());
        let (one, other) = (server.account("a", "x"), server.account("b", "x"));
        let message = |body: &str, unix_seconds, offset_seconds| Message {
            internal_date: InternalDate { unix_seconds, offset_seconds },
            ..Message::new(body.to_owned())
        };
        for (store, order) in [(&one, ["p", "q"]), (&other, ["q", "p"])] {
            store.create_mailbox(&["Archive", "2019"], None).unwrap();
            for body in order {
                store.deliver(&["Archive", "2019"], message(body, 5, 0));
            }
        }
        assert_eq!(one.snapshot(), other.snapshot());
        assert_eq!(one.snapshot().messages(), 2);
        other.deliver(&["INBOX"], message("p", 5, 0));
        assert_ne!(one.snapshot(), other.snapshot());
        // The offset is not part of the instant.
        one.deliver(&["inbox"], message("p", 5, 7200));
        assert_eq!(one.snapshot(), other.snapshot());
        other.set_flags(&["INBOX"], 1, &["\\Seen"]);
        assert_ne!(one.snapshot(), other.snapshot());
    }

    #[test]
    fn a_mailbox_deleted_and_created_again_is_another_one() {
        let server = Server::new(Profile::plain());
        server.set_next_uid_validity(50);
        let store = server.account("a", "x");
        store.create_mailbox(&["p", "q"], None).unwrap();
        let validity = |path: &[&str]| {
            let mailboxes = store.mailboxes();
            mailboxes.iter().find(|one| one.path == path).map(|one| one.uid_validity)
        };
        assert_eq!(validity(&["p", "q"]), Some(52));
        store.delete_mailbox(&["p", "q"]).unwrap();
        assert!(store.delete_mailbox(&["p", "q"]).is_err());
        assert!(store.delete_mailbox(&["INBOX"]).is_err());
        store.create_mailbox(&["p", "q"], None).unwrap();
        assert_eq!(validity(&["p", "q"]), Some(53));
        assert!(store.create_mailbox(&["p", "q"], None).is_err());
        // The parent only held others until now.
        assert!(store.create_mailbox(&["p"], Some("\\Archive")).is_ok());
        assert!(store.mailboxes().iter().all(|mailbox| mailbox.selectable));
    }

    #[test]
    fn renaming_takes_everything_below_along() {
        let server = Server::new(Profile::plain());
        let store = server.account("a", "x");
        store.deliver(&["p", "q"], Message::new("x"));
        store.deliver(&["INBOX"], Message::new("y"));
        let path = super::path::<&str>;
        store.rename(&path(&["p"]), &path(&["r", "s"])).unwrap();
        assert_eq!(store.messages(&["r", "s", "q"]).len(), 1);
        store.rename(&path(&["INBOX"]), &path(&["old"])).unwrap();
        assert!(store.messages(&["INBOX"]).is_empty());
        assert_eq!(store.messages(&["old"]).len(), 1);
        assert!(store.rename(&path(&["r"]), &path(&["r", "t"])).is_err());
        assert!(store.rename(&path(&["r"]), &path(&["old"])).is_err());
    }
}
