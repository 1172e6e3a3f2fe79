//! LIST, LSUB, CREATE.

use std::collections::BTreeMap;

use imap_codec::imap_types::mailbox::{ListMailbox, Mailbox as Name};
use imap_codec::imap_types::status::StatusDataItemName;

use super::command::Cursor;
use super::fault::Deed;
use super::names::{self, Path, quote};
use super::select::status_items;
use super::session::{Handled, Reply, Session};
use super::tree::Tree;

/// What a LIST asks for (RFC 5258).
#[derive(Debug, Default)]
struct Wanted {
    reference: Vec<u8>,
    patterns: Vec<Vec<u8>>,
    only_subscribed: bool,
    only_special: bool,
    subscribed: bool,
    status: Vec<StatusDataItemName>,
    extended: bool,
}

impl Session {
    /// LIST, plain and extended.
    pub(super) fn list(&mut self, command: &[u8]) -> Handled {
        let store = self.store()?;
        let wanted = parse(command).ok_or_else(|| Reply::bad("cannot parse the command"))?;
        if wanted.extended && !self.profile().list_extended {
            return Err(Reply::bad("LIST has no options here"));
        }
        let delimiter = quote(&self.profile().delimiter.to_string());
        if wanted.patterns.iter().all(Vec::is_empty) {
            self.wire.put_line(format_args!("* LIST (\\Noselect) {delimiter} \"\""));
            return Ok(Reply::ok("done"));
        }
        let naming = self.naming();
        let lines = store.with(|tree| {
            let mut lines = Vec::new();
            for (path, attributes) in self.attributes(tree, &wanted) {
                let name = naming.encode(&path);
                if !wanted.patterns.iter().any(|one| self.matches(&wanted.reference, one, &name)) {
                    continue;
                }
                let name = quote(&name);
                lines.push(format!("* LIST ({}) {delimiter} {name}", attributes.join(" ")));
                let mailbox = tree.mailboxes.get(&path).filter(|mailbox| mailbox.selectable);
                if let Some(mailbox) = mailbox.filter(|_| !wanted.status.is_empty()) {
                    let status = status_items(mailbox, &wanted.status);
                    lines.push(format!("* STATUS {name} ({status})"));
                }
            }
            lines
        });
        for line in lines {
            self.wire.put_line(line);
        }
        Ok(Reply::ok("done"))
    }

    pub(super) fn lsub(&mut self, reference: &Name<'_>, pattern: &ListMailbox<'_>) -> Handled {
        let store = self.store()?;
        let reference = match reference {
            Name::Inbox => b"INBOX",
            Name::Other(other) => other.as_ref(),
        };
        let pattern: &[u8] = match pattern {
            ListMailbox::Token(token) => token.as_ref(),
            ListMailbox::String(string) => string.as_ref(),
        };
        let naming = self.naming();
        let delimiter = quote(&self.profile().delimiter.to_string());
        for path in store.subscriptions() {
            let name = naming.encode(&path);
            if self.matches(reference, pattern, &name) {
                self.wire.put_line(format_args!("* LSUB () {delimiter} {}", quote(&name)));
            }
        }
        Ok(Reply::ok("done"))
    }

    pub(super) fn create(&mut self, name: &Name<'_>) -> Handled {
        let store = self.store()?;
        let path = match name {
            Name::Inbox => vec!["INBOX".to_owned()],
            Name::Other(other) => {
                // A delimiter at the end only says that children will come (RFC 9051 section 6.3.4).
                let wire: &[u8] = other.as_ref();
                let mut delimiter = [0; 4];
                let delimiter = self.profile().delimiter.encode_utf8(&mut delimiter);
                self.path(wire.strip_suffix(delimiter.as_bytes()).unwrap_or(wire))?
            }
        };
        let refused = self.strike(|deed| match (deed, path.last()) {
            (Deed::RefuseCreate(start), Some(last)) => last.starts_with(start).then_some(()),
            _ => None,
        });
        if refused.is_some() {
            return Err(Reply::no("[CANNOT] not with that name"));
        }
        store.create(&path)?;
        Ok(Reply::ok("created"))
    }

    fn matches(&self, reference: &[u8], pattern: &[u8], name: &str) -> bool {
        let pattern = [reference, pattern].concat();
        let delimiter = self.profile().delimiter;
        names::matches(&pattern, name.as_bytes(), delimiter)
            || (name == "INBOX"
                && names::matches(&pattern.to_ascii_uppercase(), b"INBOX", delimiter))
    }

    /// Every mailbox a LIST may show, with its attributes.
    fn attributes(&self, tree: &Tree, wanted: &Wanted) -> BTreeMap<Path, Vec<String>> {
        let mut found = BTreeMap::new();
        let mut mailboxes = tree.mailboxes.iter().peekable();
        while let Some((path, mailbox)) = mailboxes.next() {
            let mut attributes = Vec::new();
            if !mailbox.selectable {
                attributes.push("\\Noselect".to_owned());
            }
            // Children come right after their parent in the order of paths.
            let parent = mailboxes.peek().is_some_and(|(next, _)| next.starts_with(path));
            let children = if parent { "\\HasChildren" } else { "\\HasNoChildren" };
            attributes.push(children.to_owned());
            let subscribed = tree.subscriptions.contains(path);
            if subscribed && (wanted.subscribed || wanted.only_subscribed) {
                attributes.push("\\Subscribed".to_owned());
            }
            let special = mailbox.special_use.as_ref().filter(|_| self.profile().special_use);
            attributes.extend(special.cloned());
            let shown = (subscribed || !wanted.only_subscribed)
                && (special.is_some() || !wanted.only_special);
            if shown {
                found.insert(path.clone(), attributes);
            }
        }
        if wanted.only_subscribed && !wanted.only_special {
            for path in &tree.subscriptions {
                let gone = || vec!["\\NonExistent".to_owned(), "\\Subscribed".to_owned()];
                found.entry(path.clone()).or_insert_with(gone);
            }
        }
        found
    }
}

fn parse(command: &[u8]) -> Option<Wanted> {
    let mut cursor = Cursor::new(command);
    let mut wanted = Wanted::default();
    cursor.take_while(|byte| byte != b' ');
    cursor.take(" LIST ")?;
    if cursor.take("(").is_some() {
        wanted.extended = true;
        for option in words(&mut cursor)? {
            match option.as_str() {
                "SUBSCRIBED" => wanted.only_subscribed = true,
                "SPECIAL-USE" => wanted.only_special = true,
                "REMOTE" | "RECURSIVEMATCH" => {}
                _ => return None,
            }
        }
        cursor.take(" ")?;
    }
    wanted.reference = cursor.astring()?;
    cursor.take(" ")?;
    if cursor.take("(").is_some() {
        wanted.extended = true;
        loop {
            wanted.patterns.push(cursor.pattern()?);
            if cursor.take(")").is_some() {
                break;
            }
            cursor.take(" ")?;
        }
    } else {
        wanted.patterns.push(cursor.pattern()?);
    }
    if cursor.take(" RETURN (").is_some() {
        wanted.extended = true;
        returned(&mut cursor, &mut wanted)?;
    }
    cursor.take("\r\n")?;
    cursor.rest().is_empty().then_some(wanted)
}

/// Reads the options behind RETURN up to their parenthesis.
fn returned(cursor: &mut Cursor<'_>, wanted: &mut Wanted) -> Option<()> {
    while cursor.take(")").is_none() {
        let option = word(cursor)?;
        match option.as_str() {
            "SUBSCRIBED" => wanted.subscribed = true,
            "CHILDREN" | "SPECIAL-USE" => {}
            "STATUS" => {
                cursor.take(" (")?;
                let items = words(cursor)?;
                wanted.status = items.iter().map(|item| status(item)).collect::<Option<_>>()?;
            }
            _ => return None,
        }
        let _ = cursor.take(" ");
    }
    Some(())
}

fn status(item: &str) -> Option<StatusDataItemName> {
    Some(match item {
        "MESSAGES" => StatusDataItemName::Messages,
        "RECENT" => StatusDataItemName::Recent,
        "UIDNEXT" => StatusDataItemName::UidNext,
        "UIDVALIDITY" => StatusDataItemName::UidValidity,
        "UNSEEN" => StatusDataItemName::Unseen,
        "HIGHESTMODSEQ" => StatusDataItemName::HighestModSeq,
        _ => return None,
    })
}

fn word(cursor: &mut Cursor<'_>) -> Option<String> {
    let word = cursor.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let word = String::from_utf8_lossy(word).to_ascii_uppercase();
    (!word.is_empty()).then_some(word)
}

/// Reads words up to a closing parenthesis.
fn words(cursor: &mut Cursor<'_>) -> Option<Vec<String>> {
    let mut words = Vec::new();
    while cursor.take(")").is_none() {
        words.push(word(cursor)?);
        let _ = cursor.take(" ");
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use crate::rehearsal::transcript::ann;
    use crate::rehearsal::{Message, Profile};

    #[tokio::test]
    async fn list_shows_the_hierarchy_and_what_mailboxes_are_for() {
        let (_, store, mut client) = ann(Profile::gmail()).await;
        store.create_mailbox(&["[Gmail]", "Sent Mail"], Some("\\Sent")).unwrap();
        store.create_mailbox(&["R&D", "Entwürfe"], None).unwrap();
        assert_eq!(
            client.all("LIST \"\" \"*\"").await,
            "* LIST (\\HasNoChildren) \"/\" \"INBOX\"\n\
             * LIST (\\Noselect \\HasChildren) \"/\" \"R&-D\"\n\
             * LIST (\\HasNoChildren) \"/\" \"R&-D/Entw&APw-rfe\"\n\
             * LIST (\\Noselect \\HasChildren) \"/\" \"[Gmail]\"\n\
             * LIST (\\HasNoChildren \\Sent) \"/\" \"[Gmail]/Sent Mail\"\nOK done\n"
        );
        assert_eq!(client.all("LIST \"\" %").await.lines().count(), 4);
        assert_eq!(client.all("LIST R&-D/ %").await.lines().count(), 2);
        assert_eq!(client.all("LIST \"\" \"\"").await, "* LIST (\\Noselect) \"/\" \"\"\nOK done\n");
        assert_eq!(client.all("LIST \"\" inbox").await.lines().count(), 2);
    }

    #[tokio::test]
    async fn below_a_prefix_every_name_carries_it() {
        let (_, store, mut client) = ann(Profile::courier()).await;
        assert!(client.all("NAMESPACE").await.contains("* NAMESPACE ((\"INBOX.\" \".\")) NIL NIL"));
        assert_eq!(client.last("CREATE INBOX.Sent.2019").await, "OK created");
        assert!(client.last("CREATE Sent").await.starts_with("NO [CANNOT]"));
        let listed = client.all("LIST \"\" INBOX.%").await;
        assert_eq!(listed, "* LIST (\\Noselect \\HasChildren) \".\" \"INBOX.Sent\"\nOK done\n");
        let paths: Vec<_> = store.mailboxes().into_iter().map(|mailbox| mailbox.path).collect();
        assert_eq!(paths, [vec!["INBOX"], vec!["Sent"], vec!["Sent", "2019"]]);
    }

    #[tokio::test]
    async fn extended_list_returns_subscriptions_and_status() {
        let (_, store, mut client) = ann(Profile::dovecot()).await;
        store.deliver(&["a"], Message::new("x"));
        client.last("SUBSCRIBE a").await;
        store.subscribe(&["gone"]);
        let listed = client.all("LIST \"\" (a) RETURN (SUBSCRIBED STATUS (MESSAGES))").await;
        let expected = "* LIST (\\HasNoChildren \\Subscribed) \"/\" \"a\"\n* STATUS \"a\" (MESSAGES 1)\nOK done\n";
        assert_eq!(listed, expected);
        let listed = client.all("LIST (SUBSCRIBED) \"\" *").await;
        assert!(listed.contains("(\\NonExistent \\Subscribed) \"/\" \"gone\""), "{listed}");
        assert_eq!(client.all("LSUB \"\" *").await.lines().count(), 3);
        assert!(client.last("LIST \"\" * RETURN (FOO)").await.starts_with("BAD"));
    }

    #[tokio::test]
    async fn names_are_strict_and_utf_8_once_enabled() {
        let (_, store, mut client) = ann(Profile::dovecot()).await;
        assert_eq!(client.last("CREATE Entw&APw-rfe").await, "OK created");
        assert!(client.last("CREATE &AGE-").await.starts_with("NO [CANNOT]"));
        assert!(client.last("CREATE Entw&APw-rfe").await.starts_with("NO [ALREADYEXISTS]"));
        assert_eq!(client.last("RENAME Entw&APw-rfe a/b").await, "OK renamed");
        assert_eq!(client.last("CREATE c/").await, "OK created");
        assert_eq!(client.last("ENABLE UTF8=ACCEPT").await, "OK done");
        assert_eq!(client.last("CREATE \"Entwürfe\"").await, "OK created");
        assert!(client.all("LIST \"\" *").await.contains("\"Entwürfe\""));
        assert!(store.mailboxes().iter().any(|mailbox| mailbox.path == ["Entwürfe"]));
        assert_eq!(client.last("DELETE a/b").await, "OK deleted");
        assert!(client.last("DELETE a/b").await.starts_with("NO [NONEXISTENT]"));
    }
}
