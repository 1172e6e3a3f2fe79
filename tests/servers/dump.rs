//! An account as a sorted multiset of its messages, and the difference of two.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use jiff::fmt::strtime;

use crate::client::{Client, Fetched};
use crate::messages::Mail;

const DIFFERENCES_SHOWN: usize = 12;

/// All of an account that a copy must keep.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Dump {
    messages: BTreeMap<Message, usize>,
    mailboxes: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Message {
    mailbox: String,
    flags: Vec<String>,
    date: Timestamp,
    size: usize,
    digest: String,
}

impl Dump {
    /// Reads all that the server stores.
    pub(crate) fn read(client: &mut Client) -> Self {
        let mut dump = Self::default();
        for listed in client.list() {
            let mailbox = client.name(&listed.wire_name);
            for fetched in client.fetch_all(&listed.wire_name) {
                let Fetched { flags, date, size, body } = fetched;
                assert_eq!(size, body.len(), "RFC822.SIZE of a message in {mailbox}");
                dump.add(&mailbox, flags.split_whitespace(), &date, &body);
            }
            dump.mailboxes.insert(mailbox);
        }
        dump
    }

    /// What an account holds after these were stored there.
    pub(crate) fn expected<'a>(
        mailboxes: &[impl AsRef<str>],
        mails: impl IntoIterator<Item = &'a Mail>,
    ) -> Self {
        let mut dump = Self::default();
        dump.mailboxes.extend(mailboxes.iter().map(|name| name.as_ref().to_owned()));
        dump.mailboxes.insert("INBOX".to_owned());
        for mail in mails {
            let flags = mail.flags.iter().map(String::as_str);
            dump.add(&mail.mailbox, flags, &mail.date, &mail.body);
        }
        dump
    }

    fn add<'a>(
        &mut self,
        mailbox: &str,
        flags: impl Iterator<Item = &'a str>,
        date: &str,
        body: &[u8],
    ) {
        let mut flags: Vec<String> = flags
            .filter(|flag| !flag.eq_ignore_ascii_case("\\Recent"))
            .map(|flag| if flag.starts_with('\\') { flag.to_lowercase() } else { flag.to_owned() })
            .collect();
        flags.sort();
        let date = strtime::parse("%d-%b-%Y %H:%M:%S %z", date.trim())
            .and_then(|date| date.to_timestamp())
            .unwrap_or_else(|error| panic!("date {date:?}: {error}"));
        let digest = blake3::hash(body).to_hex()[..16].to_owned();
        let message =
            Message { mailbox: mailbox.to_owned(), flags, date, size: body.len(), digest };
        *self.messages.entry(message).or_default() += 1;
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.values().sum()
    }

    /// The same account with one mailbox under another name.
    pub(crate) fn renamed(self, from: &str, to: &str) -> Self {
        let rename = |name: String| if name == from { to.to_owned() } else { name };
        let mailboxes = self.mailboxes.into_iter().map(rename).collect();
        let messages = self.messages.into_iter();
        let messages = messages.map(|(message, count)| {
            (Message { mailbox: rename(message.mailbox), ..message }, count)
        });
        Self { messages: messages.collect(), mailboxes }
    }

    /// Asserts that the other account has these messages, each as often, and at least these
    /// mailboxes. Servers make mailboxes of their own at the first login, so more empty ones are no
    /// fault.
    #[track_caller]
    pub(crate) fn assert_copied_to(&self, copy: &Self) {
        let difference = self.difference(copy);
        assert!(difference.is_empty(), "{difference}");
    }

    pub(crate) fn difference(&self, copy: &Self) -> Difference {
        let mut lines = Vec::new();
        for mailbox in self.mailboxes.difference(&copy.mailboxes) {
            lines.push(format!("no mailbox {mailbox:?}"));
        }
        let all: BTreeSet<&Message> = self.messages.keys().chain(copy.messages.keys()).collect();
        for message in all {
            let count = |dump: &Self| dump.messages.get(message).copied().unwrap_or(0);
            let (owed, found) = (count(self), count(copy));
            if owed != found {
                lines.push(format!("{owed} expected, {found} found: {message}"));
            }
        }
        Difference { lines, expected: self.len(), found: copy.len() }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mailbox, flags, date, size, digest } = self;
        let flags = flags.join(" ");
        write!(formatter, "{mailbox:?} ({flags}) {date} {size} bytes {digest}")
    }
}

pub(crate) struct Difference {
    lines: Vec<String>,
    expected: usize,
    found: usize,
}

impl Difference {
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lines, expected, found } = self;
        writeln!(
            formatter,
            "{} differences ({expected} messages expected, {found} found):",
            lines.len()
        )?;
        lines
            .iter()
            .take(DIFFERENCES_SHOWN)
            .try_for_each(|line| writeln!(formatter, "  {line}"))?;
        let hidden = lines.len().saturating_sub(DIFFERENCES_SHOWN);
        if hidden > 0 { writeln!(formatter, "  and {hidden} more") } else { Ok(()) }
    }
}
