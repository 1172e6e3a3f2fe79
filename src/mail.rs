//! The vocabulary of mail: what IMAP (RFC 9051) calls things, without its wire syntax.

use std::fmt;

use jiff::Timestamp;

use crate::octets::Octets;

/// A message's number in one mailbox under one [`UidValidity`] (RFC 9051 section 2.3.1.1); never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub u32);

impl Uid {
    /// The lowest UID a message can have.
    pub const FIRST: Self = Self(1);

    /// The UID after this one; the last one stays the last.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The generation of a mailbox's UIDs: when it changes, every [`Uid`] known before is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UidValidity(pub u32);

impl UidValidity {
    /// Servers take them from a clock or count from 1: these are beyond the year 2097.
    const MADE_UP_FIRST: u32 = 0xf000_0000;

    /// One that no server gave, for a mailbox whose UIDs do not outlast a connection: another one
    /// than the last that was made up for it.
    #[must_use]
    pub fn made_up_after(last: Option<Self>) -> Self {
        let last = last.filter(|last| last.is_made_up()).map_or(Self::MADE_UP_FIRST, |last| last.0);
        Self(last.checked_add(1).unwrap_or(Self::MADE_UP_FIRST))
    }

    /// Whether no server gave it.
    #[must_use]
    pub fn is_made_up(self) -> bool {
        self.0 >= Self::MADE_UP_FIRST
    }
}

/// Where a mailbox stands in the hierarchy: its names from the root down, decoded, without any
/// server's delimiter or prefix. INBOX is spelt `INBOX`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxPath(Vec<String>);

impl MailboxPath {
    /// The mailbox that every account has (RFC 9051 section 5.1).
    #[must_use]
    pub fn inbox() -> Self {
        Self(vec!["INBOX".to_owned()])
    }

    /// Makes a path of names; a first name that equals `inbox` in any case becomes `INBOX`.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut names: Vec<String> = names.into_iter().map(Into::into).collect();
        if let Some(first) = names.first_mut()
            && first.eq_ignore_ascii_case("INBOX")
        {
            "INBOX".clone_into(first);
        }
        Self(names)
    }

    /// The names from the root down.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Whether this is INBOX itself, not a mailbox below it.
    #[must_use]
    pub fn is_inbox(&self) -> bool {
        self.0.len() == 1 && self.0[0] == "INBOX"
    }

    /// The path one level up; none for a mailbox at the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        (self.0.len() > 1).then(|| Self(self.0[..self.0.len() - 1].to_vec()))
    }

    /// Whether this is `above`, or a mailbox below it.
    #[must_use]
    pub fn is_in(&self, above: &Self) -> bool {
        self.0.starts_with(&above.0)
    }

    /// The path of `below` under this one.
    #[must_use]
    pub fn join(&self, below: &[String]) -> Self {
        Self::new(self.0.iter().chain(below).cloned())
    }

    /// Reads a path as it is shown; none where a name is empty or a backslash ends it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut names = vec![String::new()];
        let mut characters = text.chars();
        while let Some(c) = characters.next() {
            match c {
                '/' => names.push(String::new()),
                c => {
                    let c = if c == '\\' { characters.next()? } else { c };
                    names.last_mut()?.push(c);
                }
            }
        }
        names.iter().all(|name| !name.is_empty()).then(|| Self::new(names))
    }
}

/// Shown as a person writes it: `/` stands between the names, and a backslash before a `/` or
/// backslash within one.
impl fmt::Display for MailboxPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|name| name.replace('\\', "\\\\").replace('/', "\\/"));
        f.write_str(&names.collect::<Vec<_>>().join("/"))
    }
}

/// A mailbox's name as its server spells it on the wire: opaque bytes, to be given back unchanged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WireName(pub Vec<u8>);

/// What a mailbox is for (RFC 6154 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpecialUse {
    /// `\All`: a view of every message.
    All,
    /// `\Archive`.
    Archive,
    /// `\Drafts`.
    Drafts,
    /// `\Flagged`: a view of the flagged messages.
    Flagged,
    /// `\Important` (RFC 8457): a view of what its server takes for important.
    Important,
    /// `\Junk`.
    Junk,
    /// `\Sent`.
    Sent,
    /// `\Trash`.
    Trash,
}

/// One mailbox as a server lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// Where it stands, decoded.
    pub path: MailboxPath,
    /// How its server spells it.
    pub name: WireName,
    /// What it is for, where the server says so.
    pub special_use: Option<SpecialUse>,
    /// Whether it can hold messages (neither `\Noselect` nor `\NonExistent`).
    pub selectable: bool,
    /// Whether its owner subscribed to it.
    pub subscribed: bool,
    /// Whose it is.
    pub namespace: Namespace,
}

impl Mailbox {
    /// Whether it belongs to another user, or to all.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.namespace != Namespace::Personal
    }
}

/// Whose mailboxes are (RFC 2342 section 3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Namespace {
    /// The account's own.
    #[default]
    Personal,
    /// Other users', who let the account see them.
    Others,
    /// Nobody's: they are shared.
    Shared,
}

/// Some namespaces: the personal one, unless something else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespaces {
    /// [`Namespace::Personal`].
    pub personal: bool,
    /// [`Namespace::Others`].
    pub others: bool,
    /// [`Namespace::Shared`].
    pub shared: bool,
}

impl Default for Namespaces {
    fn default() -> Self {
        Self { personal: true, others: false, shared: false }
    }
}

impl Namespaces {
    /// Whether this one is among them.
    #[must_use]
    pub fn has(self, namespace: Namespace) -> bool {
        match namespace {
            Namespace::Personal => self.personal,
            Namespace::Others => self.others,
            Namespace::Shared => self.shared,
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Personal => "personal",
            Self::Others => "others",
            Self::Shared => "shared",
        })
    }
}

/// A message's flags: the system flags of RFC 9051 section 2.3.2 without `\Recent`, and keywords.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flags {
    system: u8,
    keywords: Vec<String>,
}

/// A flag that every server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SystemFlag {
    /// `\Seen`.
    Seen = 1,
    /// `\Answered`.
    Answered = 2,
    /// `\Flagged`.
    Flagged = 4,
    /// `\Deleted`.
    Deleted = 8,
    /// `\Draft`.
    Draft = 16,
}

impl SystemFlag {
    /// All of them, in the order they are written.
    pub const ALL: [Self; 5] =
        [Self::Seen, Self::Answered, Self::Flagged, Self::Deleted, Self::Draft];

    /// The flag as it stands on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seen => "\\Seen",
            Self::Answered => "\\Answered",
            Self::Flagged => "\\Flagged",
            Self::Deleted => "\\Deleted",
            Self::Draft => "\\Draft",
        }
    }
}

impl Flags {
    /// Reads flags as a server lists them. System flags are known in any case; `\Recent`, `\*` and
    /// unknown system flags have no value for a copy and are dropped.
    #[must_use]
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut flags = Self::default();
        for name in names {
            if name.starts_with('\\') {
                let known = SystemFlag::ALL.iter().find(|f| f.as_str().eq_ignore_ascii_case(name));
                flags.system |= known.map_or(0, |flag| *flag as u8);
            } else if !name.is_empty() {
                flags.insert_keyword(name);
            }
        }
        flags
    }

    /// The flags of these system bits (see [`Flags::system_bits`]) and keywords.
    #[must_use]
    pub fn from_parts<'a>(bits: u8, keywords: impl IntoIterator<Item = &'a str>) -> Self {
        let mut flags = Self { system: bits & 0x1f, keywords: Vec::new() };
        for keyword in keywords {
            flags.insert_keyword(keyword);
        }
        flags
    }

    fn insert_keyword(&mut self, keyword: &str) {
        if let Err(at) = self.keywords.binary_search_by(|k| k.as_str().cmp(keyword)) {
            self.keywords.insert(at, keyword.to_owned());
        }
    }

    /// Whether a system flag is set.
    #[must_use]
    pub fn has(&self, flag: SystemFlag) -> bool {
        self.system & flag as u8 != 0
    }

    /// The system flags as bits: `\Seen` 1, `\Answered` 2, `\Flagged` 4, `\Deleted` 8, `\Draft` 16.
    #[must_use]
    pub fn system_bits(&self) -> u8 {
        self.system
    }

    /// The keywords in byte order, as the source spells them.
    #[must_use]
    pub fn keywords(&self) -> &[String] {
        &self.keywords
    }

    /// The same flags with only the keywords that `keep` accepts.
    #[must_use]
    pub fn retain_keywords(&self, mut keep: impl FnMut(&str) -> bool) -> Self {
        let keywords = self.keywords.iter().filter(|k| keep(k)).cloned().collect();
        Self { system: self.system, keywords }
    }

    /// The flags of `self` that `other` has, too; keywords are compared without case.
    #[must_use]
    pub fn common_with(&self, other: &Self) -> Self {
        let is_theirs = |k: &str| other.keywords.iter().any(|o| o.eq_ignore_ascii_case(k));
        Self { system: self.system & other.system, ..self.retain_keywords(is_theirs) }
    }

    /// The flags of `self` that `other` lacks, as they stand on the wire. Keywords are compared
    /// without case, since servers fold it.
    #[must_use]
    pub fn missing_in(&self, other: &Self) -> Vec<String> {
        let system = SystemFlag::ALL.iter().filter(|f| self.has(**f) && !other.has(**f));
        let keywords = self
            .keywords
            .iter()
            .filter(|k| !other.keywords.iter().any(|o| o.eq_ignore_ascii_case(k)));
        system.map(|f| f.as_str().to_owned()).chain(keywords.cloned()).collect()
    }
}

/// Shown as on the wire, without parentheses.
impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let system = SystemFlag::ALL.iter().filter(|flag| self.has(**flag)).map(|f| f.as_str());
        for (i, name) in system.chain(self.keywords.iter().map(String::as_str)).enumerate() {
            let space = if i == 0 { "" } else { " " };
            write!(f, "{space}{name}")?;
        }
        Ok(())
    }
}

/// How a mailbox stands, as STATUS tells it (RFC 9051 section 6.3.11).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MailboxStatus {
    /// Its UIDVALIDITY.
    pub uid_validity: Option<UidValidity>,
    /// Its UIDNEXT.
    pub uid_next: Option<Uid>,
    /// Messages in it.
    pub messages: u64,
    /// Their bytes (RFC 8438).
    pub bytes: Option<u64>,
    /// Its HIGHESTMODSEQ.
    pub highest_modseq: Option<u64>,
}

/// When the source received a message (RFC 9051 section 2.3.3). Two dates are equal when they are
/// the same instant; the zone is kept only to write the date as it was.
#[derive(Debug, Clone, Copy)]
pub struct InternalDate {
    seconds: i64,
    offset_minutes: i16,
}

impl InternalDate {
    /// A date from seconds since 1970 and the zone's distance from UTC in minutes.
    #[must_use]
    pub fn new(seconds: i64, offset_minutes: i16) -> Self {
        Self { seconds, offset_minutes }
    }

    /// Seconds since 1970-01-01T00:00:00Z; negative before.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// The zone in which the date is written, in minutes east of UTC.
    #[must_use]
    pub fn offset_minutes(self) -> i16 {
        self.offset_minutes
    }
}

impl PartialEq for InternalDate {
    fn eq(&self, other: &Self) -> bool {
        self.seconds == other.seconds
    }
}

impl Eq for InternalDate {}

/// Shown as RFC 3339 in UTC.
impl fmt::Display for InternalDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_second(self.seconds) {
            Ok(instant) => instant.fmt(f),
            Err(_) => write!(f, "{} s after 1970", self.seconds),
        }
    }
}

/// What a scan tells of one message, without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageInfo {
    /// Its UID at the source.
    pub uid: Uid,
    /// Octets by RFC822.SIZE: a promise of the source, not a fact; 0 where it gave none.
    pub size: u64,
    /// None where the source's date cannot be read.
    pub date: Option<InternalDate>,
    /// Its flags at the time of the scan.
    pub flags: Flags,
}

/// A message with its bytes exactly as the source sent them.
#[derive(Debug, Clone)]
pub struct Message {
    /// What the scan said of it, with the flags and date of the fetch.
    pub info: MessageInfo,
    /// The octets of `BODY[]`.
    pub body: Octets,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbox_is_one_mailbox_in_any_case() {
        assert!(MailboxPath::new(["inBox"]).is_inbox());
        assert_eq!(MailboxPath::new(["Inbox", "a"]), MailboxPath::new(["INBOX", "a"]));
        assert_ne!(MailboxPath::new(["a", "inbox"]), MailboxPath::new(["a", "INBOX"]));
    }

    #[test]
    fn a_path_is_read_as_it_is_shown() {
        let path = MailboxPath::new(["a/b", "c\\", "d"]);
        assert_eq!(path.to_string(), r"a\/b/c\\/d");
        assert_eq!(MailboxPath::parse(&path.to_string()), Some(path));
        for bad in ["", "/a", "a/", "a//b", "a\\"] {
            assert_eq!(MailboxPath::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn recent_and_unknown_system_flags_are_dropped_and_the_rest_kept() {
        let flags = Flags::parse(["\\SEEN", "\\Recent", "\\Foo", "$Forwarded", "Work", "Work"]);
        assert_eq!(flags.to_string(), "\\Seen $Forwarded Work");
    }

    #[test]
    fn keywords_are_compared_without_case() {
        let sent = Flags::parse(["\\Seen", "$forwarded", "Work"]);
        let stored = Flags::parse(["$Forwarded"]);
        assert_eq!(sent.missing_in(&stored), ["\\Seen", "Work"]);
    }

    #[test]
    fn dates_are_equal_by_instant() {
        assert_eq!(InternalDate::new(0, 60), InternalDate::new(0, -300));
        assert_eq!(InternalDate::new(0, 60).to_string(), "1970-01-01T00:00:00Z");
    }
}
