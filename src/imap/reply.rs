//! Reads what servers say: the grammar of RFC 9051 section 9 for the few responses a copier asks
//! for, tolerant of everything else.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::date;
use crate::fault::{Fault, Remedy, Scope};
use crate::mail::{Flags, InternalDate, Uid};

/// A status response: `OK`, `NO`, `BAD`, `BYE` or `PREAUTH` with its code and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Which of them.
    pub kind: StatusKind,
    /// The response code's name in upper case, empty if there is none.
    pub code: String,
    /// What follows the name inside the brackets.
    pub code_data: String,
    /// The text for people.
    pub text: String,
}

/// The kind of a [`Status`] (RFC 9051 section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusKind {
    /// Done.
    Ok,
    /// Refused.
    No,
    /// Not understood.
    Bad,
    /// The server ends the connection.
    Bye,
    /// Already logged in.
    Preauth,
}

impl Status {
    /// Reads what follows the tag or `* `; none if it is no status.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let line = line.trim_ascii();
        let (word, rest) = split_word(line);
        let kind = match word.to_ascii_uppercase().as_slice() {
            b"OK" => StatusKind::Ok,
            b"NO" => StatusKind::No,
            b"BAD" => StatusKind::Bad,
            b"BYE" => StatusKind::Bye,
            b"PREAUTH" => StatusKind::Preauth,
            _ => return None,
        };
        let rest = String::from_utf8_lossy(rest.trim_ascii_start()).into_owned();
        let coded = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let Some((code, text)) = coded else {
            return Some(Self { kind, code: String::new(), code_data: String::new(), text: rest });
        };
        let (name, data) = code.trim().split_once(' ').unwrap_or((code.trim(), ""));
        Some(Self {
            kind,
            code: name.to_ascii_uppercase(),
            code_data: data.trim().to_owned(),
            text: text.trim().to_owned(),
        })
    }

    /// The UIDs that an APPEND was given, ascending, with their UIDVALIDITY (RFC 4315 section 3).
    /// None where the server does not tell, or tells more than `max` UIDs.
    #[must_use]
    pub fn append_uids(&self, max: usize) -> Option<(u32, Vec<Uid>)> {
        if self.code != "APPENDUID" {
            return None;
        }
        let (validity, set) = self.code_data.split_once(' ')?;
        Some((validity.parse().ok()?, parse_uid_set(set.trim(), max)?))
    }

    /// The numbers of a code such as `UIDNEXT 7`.
    #[must_use]
    pub fn code_number(&self) -> Option<u32> {
        split_word(self.code_data.as_bytes()).0.escape_ascii().to_string().parse().ok()
    }
}

/// The server's own words, as people quote them: `NO [OVERQUOTA] mailbox is full`.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            StatusKind::Ok => "OK",
            StatusKind::No => "NO",
            StatusKind::Bad => "BAD",
            StatusKind::Bye => "BYE",
            StatusKind::Preauth => "PREAUTH",
        };
        f.write_str(kind)?;
        if !self.code.is_empty() {
            write!(f, " [{}", self.code)?;
            if !self.code_data.is_empty() {
                write!(f, " {}", self.code_data)?;
            }
            f.write_str("]")?;
        }
        if !self.text.is_empty() {
            write!(f, " {}", self.text)?;
        }
        Ok(())
    }
}

/// A server's refusal, as the cause of a [`Fault`].
#[derive(Debug, thiserror::Error)]
#[error("the server said: {0}")]
pub struct Refusal(pub Status);

/// What a refused APPEND means for the message and for those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// This message will not be taken; the next may.
    Message,
    /// The account is full.
    Quota,
    /// Not now: the same again after a pause, zero where the server named none.
    Later(Duration),
    /// The mailbox is not there (any more).
    MissingMailbox,
}

/// What a NO or BAD to an APPEND means. Cyrus and Courier say "quota" without a code.
#[must_use]
pub fn append_refusal(status: &Status) -> Refused {
    let text = status.text.to_ascii_lowercase();
    match status.code.as_str() {
        "OVERQUOTA" => Refused::Quota,
        "TRYCREATE" | "NONEXISTENT" => Refused::MissingMailbox,
        "UNAVAILABLE" | "INUSE" | "SERVERBUG" | "THROTTLED" | "CONTACTADMIN" | "EXPIRED" => {
            Refused::Later(backoff(&text))
        }
        "TOOBIG" | "LIMIT" | "CANNOT" | "BADCHARSET" | "PARSE" => Refused::Message,
        _ if text.contains("quota") => Refused::Quota,
        _ if text.contains("throttled") || text.contains("server unavailable") => {
            Refused::Later(backoff(&text))
        }
        _ => Refused::Message,
    }
}

/// The pause a server asks for: Exchange Online writes `Suggested Backoff Time: 299961 milliseconds`.
fn backoff(text: &str) -> Duration {
    let Some((_, rest)) = text.split_once("backoff time:") else {
        return Duration::ZERO;
    };
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    Duration::from_millis(digits.parse().unwrap_or(0)).min(Duration::from_secs(3600))
}

/// The fault that a refused command is: a table from the codes of RFC 5530.
#[must_use]
pub fn fault(action: impl Into<String>, status: Status, otherwise: Scope) -> Fault {
    let text = status.text.to_ascii_lowercase();
    let (scope, remedy) = match status.code.as_str() {
        "AUTHENTICATIONFAILED"
        | "AUTHORIZATIONFAILED"
        | "EXPIRED"
        | "PRIVACYREQUIRED"
        | "CONTACTADMIN" => (Scope::Account, Remedy::Nothing),
        "OVERQUOTA" => (Scope::Account, Remedy::Nothing),
        "UNAVAILABLE" | "INUSE" | "SERVERBUG" | "LIMIT" | "THROTTLED" => {
            (Scope::Session, Remedy::Wait(backoff(&text)))
        }
        "NOPERM" | "NONEXISTENT" | "CANNOT" | "TRYCREATE" | "ALREADYEXISTS" => {
            (otherwise, Remedy::Nothing)
        }
        _ if status.kind == StatusKind::Bye => (Scope::Session, Remedy::Reconnect),
        _ if text.contains("throttled") || text.contains("server unavailable") => {
            (Scope::Session, Remedy::Wait(backoff(&text)))
        }
        _ => (otherwise, Remedy::Nothing),
    };
    Fault::new(scope, remedy, action, Refusal(status))
}

/// Whether a refused login speaks of capacity rather than of the password.
#[must_use]
pub fn is_about_capacity(status: &Status) -> bool {
    if matches!(status.code.as_str(), "UNAVAILABLE" | "INUSE" | "LIMIT" | "SERVERBUG" | "THROTTLED")
    {
        return true;
    }
    let text = status.text.to_ascii_lowercase();
    ["too many", "maximum number", "connection limit", "unavailable", "try again", "temporary"]
        .iter()
        .any(|words| text.contains(words))
}

/// Whether a server refused because it has too much to do, or too many connections.
#[must_use]
pub fn is_overworked(fault: &Fault) -> bool {
    let refusal = fault.cause.downcast_ref::<Refusal>();
    refusal.is_some_and(|Refusal(status)| {
        is_about_capacity(status) && !matches!(status.code.as_str(), "SERVERBUG" | "INUSE")
    })
}

/// One value in a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// An atom or number, as it stands; `NIL` too.
    Atom(Bytes),
    /// A quoted string, without quotes and escapes, or a literal.
    String(Bytes),
    /// A parenthesised list.
    List(Vec<Self>),
}

impl Value {
    /// The octets of an atom or string.
    #[must_use]
    pub fn octets(&self) -> Option<&Bytes> {
        match self {
            Self::Atom(octets) | Self::String(octets) => Some(octets),
            Self::List(_) => None,
        }
    }

    /// The text of an atom or string that is ASCII or UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.octets()?).ok()
    }

    /// The values of a list.
    #[must_use]
    pub fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(values) => Some(values),
            _ => None,
        }
    }

    /// Whether this is the atom NIL.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Atom(atom) if atom.eq_ignore_ascii_case(b"NIL"))
    }

    fn number(&self) -> Option<u64> {
        self.text()?.parse().ok()
    }
}

/// Lists deeper than this are not read: nothing we ask for nests.
const DEPTH_MAX: usize = 32;

/// Reads the values of a response after `* `, leniently: several spaces count as one, and a line
/// that breaks off gives what was read.
#[must_use]
pub fn values(response: &Bytes) -> Vec<Value> {
    Reader::new(response).values(0)
}

/// The UID that a FETCH tells, and the value of another of its items.
#[must_use]
pub fn item(response: &Bytes, name: &str) -> Option<(Uid, Value)> {
    let values = values(&response.starts_with(b"* ").then(|| response.slice(2..))?);
    let [_, word, Value::List(items), ..] = values.as_slice() else {
        return None;
    };
    word.text().filter(|word| word.eq_ignore_ascii_case("FETCH"))?;
    let value = |wanted: &str| {
        let mut pairs = items.chunks_exact(2);
        let is_wanted =
            |pair: &&[Value]| pair[0].text().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
        pairs.find(is_wanted).map(|pair| &pair[1])
    };
    let uid = Uid(value("UID")?.text()?.parse().ok()?);
    Some((uid, value(name)?.clone()))
}

struct Reader<'a> {
    response: &'a Bytes,
    at: usize,
    /// Whether every list that was opened was closed, and no other.
    is_balanced: bool,
}

impl<'a> Reader<'a> {
    fn new(response: &'a Bytes) -> Self {
        Self { response, at: 0, is_balanced: true }
    }

    fn peek(&self) -> Option<u8> {
        self.response.get(self.at).copied()
    }

    fn values(&mut self, depth: usize) -> Vec<Value> {
        let mut values = Vec::new();
        while let Some(octet) = self.peek() {
            match octet {
                b' ' | b'\r' | b'\n' => self.at += 1,
                b')' => {
                    self.at += 1;
                    if depth > 0 {
                        return values;
                    }
                    self.is_balanced = false;
                }
                b'(' if depth < DEPTH_MAX => {
                    self.at += 1;
                    values.push(Value::List(self.values(depth + 1)));
                }
                b'"' => values.push(Value::String(self.quoted())),
                b'{' | b'~' => values.push(self.literal_or_atom()),
                _ => values.push(Value::Atom(self.atom())),
            }
        }
        self.is_balanced &= depth == 0;
        values
    }

    fn quoted(&mut self) -> Bytes {
        self.at += 1;
        let start = self.at;
        let mut unescaped: Option<Vec<u8>> = None;
        while let Some(octet) = self.peek() {
            match octet {
                b'"' => {
                    let end = self.at;
                    self.at += 1;
                    return unescaped.map_or_else(|| self.response.slice(start..end), Bytes::from);
                }
                b'\\' => {
                    let so_far = || self.response[start..self.at].to_vec();
                    let text = unescaped.get_or_insert_with(so_far);
                    text.extend(self.response.get(self.at + 1));
                    self.at += 2;
                }
                _ => {
                    if let Some(text) = &mut unescaped {
                        text.push(octet);
                    }
                    self.at += 1;
                }
            }
        }
        unescaped.map_or_else(|| self.response.slice(start.min(self.at)..self.at), Bytes::from)
    }

    fn literal_or_atom(&mut self) -> Value {
        let rest = &self.response[self.at..];
        let open = usize::from(rest.starts_with(b"~"));
        let announced = (|| {
            let digits = rest.get(open..)?.strip_prefix(b"{")?;
            let close = memchr::memchr(b'}', digits)?;
            let count: usize = std::str::from_utf8(&digits[..close]).ok()?.parse().ok()?;
            let line_end = memchr::memchr(b'\n', &digits[close..])?;
            Some((open + 1 + close + line_end + 1, count))
        })();
        let Some((head, count)) = announced else {
            return Value::Atom(self.atom());
        };
        let start = (self.at + head).min(self.response.len());
        let end = start.saturating_add(count).min(self.response.len());
        self.at = end;
        Value::String(self.response.slice(start..end))
    }

    /// Everything up to a space or parenthesis; brackets such as `BODY[HEADER.FIELDS (A B)]` keep
    /// what is inside them.
    fn atom(&mut self) -> Bytes {
        let start = self.at;
        let mut bracketed = false;
        while let Some(octet) = self.peek() {
            match octet {
                b'[' => bracketed = true,
                b']' => bracketed = false,
                b'\r' | b'\n' => break,
                b' ' | b'(' | b')' if !bracketed && self.at > start => break,
                _ => {}
            }
            self.at += 1;
        }
        self.response.slice(start..self.at)
    }
}

/// What one `* n FETCH (...)` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// The message's sequence number.
    pub sequence: u32,
    /// Its UID.
    pub uid: Option<Uid>,
    /// Its flags, `\Recent` left out.
    pub flags: Option<Flags>,
    /// Its internal date; none if it was not sent or cannot be read.
    pub date: Option<InternalDate>,
    /// Its RFC822.SIZE.
    pub size: Option<u64>,
    /// `BODY[]`, `BINARY[]` or `RFC822`, if it was sent, is not NIL, and what stands behind it is the
    /// rest of a FETCH: some servers announce fewer octets than they send.
    pub body: Option<Bytes>,
    /// Lines of its header, if any were asked for and sent.
    pub header: Option<Bytes>,
    /// Gmail's number of the message, the same in every mailbox (`X-GM-MSGID`).
    pub gmail_id: Option<u64>,
    /// Gmail's labels as they stand on the wire (`X-GM-LABELS`); NIL among them says nothing.
    pub labels: Option<Vec<Bytes>>,
}

impl Fetched {
    /// Reads an untagged FETCH; none if the response is something else.
    #[must_use]
    pub fn parse(response: &Bytes) -> Option<Self> {
        if !response.starts_with(b"* ") {
            return None;
        }
        let response = response.slice(2..);
        let mut reader = Reader::new(&response);
        let values = reader.values(0);
        let [sequence, word, Value::List(items), rest @ ..] = values.as_slice() else {
            return None;
        };
        if !word.text()?.eq_ignore_ascii_case("FETCH") {
            return None;
        }
        let sequence = u32::try_from(sequence.number()?).ok()?;
        let mut fetched = Self { sequence, ..Self::default() };
        let (pairs, odd) = items.as_chunks::<2>();
        for [name, value] in pairs {
            fetched.take(name.text().unwrap_or_default(), value);
        }
        if !(reader.is_balanced && odd.is_empty() && rest.is_empty()) {
            fetched.body = None;
        }
        Some(fetched)
    }

    fn take(&mut self, name: &str, value: &Value) {
        match name.to_ascii_uppercase().as_str() {
            "UID" => self.uid = value.number().and_then(|n| u32::try_from(n).ok()).map(Uid),
            "FLAGS" => {
                let names = value.list().unwrap_or_default().iter().filter_map(Value::text);
                self.flags = Some(Flags::parse(names));
            }
            "INTERNALDATE" => self.date = value.text().and_then(date::parse),
            "RFC822.SIZE" => self.size = value.number(),
            "BODY[]" | "BINARY[]" | "RFC822" if !value.is_nil() => {
                self.body = value.octets().cloned();
            }
            name if name.starts_with("BODY[HEADER") && !value.is_nil() => {
                self.header = value.octets().cloned();
            }
            "X-GM-MSGID" => self.gmail_id = value.number(),
            "X-GM-LABELS" => {
                let labels = value.list().unwrap_or_default().iter();
                let labels = labels.filter(|label| !label.is_nil()).filter_map(Value::octets);
                self.labels = Some(labels.cloned().collect());
            }
            _ => {}
        }
    }
}

/// What an untagged response is, where bulk transfer must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Untagged {
    /// `* n EXPUNGE`: this sequence number is gone, higher ones move down.
    Expunge(u32),
    /// `* VANISHED uids`: QRESYNC's way of saying it.
    Vanished,
    /// `* BYE`.
    Bye(Status),
    /// Anything else.
    Other,
}

impl Untagged {
    /// Reads an untagged response that is no FETCH.
    #[must_use]
    pub fn parse(response: &[u8]) -> Self {
        let line = response.strip_prefix(b"* ").unwrap_or(response);
        if let Some(status) = Status::parse(line).filter(|s| s.kind == StatusKind::Bye) {
            return Self::Bye(status);
        }
        let (first, rest) = split_word(line);
        if first.eq_ignore_ascii_case(b"VANISHED") {
            return Self::Vanished;
        }
        let number = std::str::from_utf8(first).ok().and_then(|digits| digits.parse().ok());
        match number {
            Some(number) if rest.trim_ascii().eq_ignore_ascii_case(b"EXPUNGE") => {
                Self::Expunge(number)
            }
            _ => Self::Other,
        }
    }
}

/// The tag of a tagged response and its status.
#[must_use]
pub fn tagged(response: &[u8]) -> Option<(&[u8], Status)> {
    let (tag, rest) = split_word(response);
    (tag != b"*" && tag != b"+").then_some(())?;
    Some((tag, Status::parse(rest)?))
}

/// The UIDs of a set such as `7,9:11`, in the order given; none beyond `max` of them.
#[must_use]
pub fn parse_uid_set(set: &str, max: usize) -> Option<Vec<Uid>> {
    let mut uids = Vec::new();
    for part in set.split(',') {
        let (from, to) = part.split_once(':').unwrap_or((part, part));
        let (from, to): (u32, u32) = (from.parse().ok()?, to.parse().ok()?);
        let (low, high) = (from.min(to), from.max(to));
        if low == 0 || uids.len() + (high - low) as usize >= max {
            return None;
        }
        uids.extend((low..=high).map(Uid));
    }
    Some(uids)
}

/// Writes ascending UIDs as a set, runs as ranges: `7,9:11`.
#[must_use]
pub fn uid_set(uids: &[Uid]) -> String {
    use std::fmt::Write as _;
    let mut set = String::new();
    let mut rest = uids;
    while let Some(first) = rest.first() {
        let run = rest.windows(2).take_while(|pair| pair[1] == pair[0].next()).count();
        let comma = if set.is_empty() { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = match run {
            0 => write!(set, "{comma}{first}"),
            _ => write!(set, "{comma}{first}:{}", rest[run]),
        };
        rest = &rest[run + 1..];
    }
    set
}

fn split_word(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.trim_ascii_start();
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    (&line[..end], &line[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(line: &str) -> Status {
        Status::parse(line.as_bytes()).expect("a status")
    }

    fn fetched(response: &'static [u8]) -> Fetched {
        Fetched::parse(&Bytes::from_static(response)).expect("a FETCH")
    }

    #[test]
    fn a_status_keeps_code_data_and_words() {
        let status = status("no [appenduid 7 3:5] Sorry, full\r\n");
        assert_eq!(status.kind, StatusKind::No);
        assert_eq!(status.append_uids(10), Some((7, vec![Uid(3), Uid(4), Uid(5)])));
        assert_eq!(status.to_string(), "NO [APPENDUID 7 3:5] Sorry, full");
    }

    #[test]
    fn a_status_may_lack_text_and_hold_any_octets() {
        assert_eq!(status("OK").text, "");
        assert_eq!(status("OK [UIDNEXT 9]").code_number(), Some(9));
        assert_eq!(Status::parse(b"OK [ALERT]\xe2\x80\x93 x").expect("a status").code, "ALERT");
        assert_eq!(Status::parse(b"FETCH"), None);
    }

    #[test]
    fn a_uid_set_too_large_is_no_answer() {
        assert_eq!(status("OK [APPENDUID 7 1:4000000000]").append_uids(50), None);
        assert_eq!(parse_uid_set("0", 9), None);
        assert_eq!(parse_uid_set("5:4", 9), Some(vec![Uid(4), Uid(5)]));
    }

    #[test]
    fn uids_are_written_as_ranges_and_read_back() {
        let uids: Vec<Uid> = [1, 2, 3, 7, 9, 10].map(Uid).to_vec();
        assert_eq!(uid_set(&uids), "1:3,7,9:10");
        assert_eq!(parse_uid_set(&uid_set(&uids), 99), Some(uids));
    }

    #[test]
    fn a_fetch_is_read_in_any_order_with_unknown_items_between() {
        let fetched = fetched(
            b"* 12 FETCH (BODY[] {5}\r\nab)\r\n X-GM-MSGID 7  FLAGS (\\Seen $x) PREVIEW (LAZY NIL) \
              INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" RFC822.SIZE 5 UID 4)\r\n",
        );
        assert_eq!(fetched.sequence, 12);
        assert_eq!(fetched.uid, Some(Uid(4)));
        assert_eq!(fetched.size, Some(5));
        assert_eq!(fetched.flags.expect("flags").to_string(), "\\Seen $x");
        assert_eq!(fetched.date.expect("a date").to_string(), "1996-07-17T09:44:25Z");
        assert_eq!(fetched.body.as_deref(), Some(&b"ab)\r\n"[..]));
    }

    #[test]
    fn labels_are_read_as_atoms_strings_and_literals() {
        let labels = |response| -> Option<Vec<String>> {
            let told = fetched(response).labels?.into_iter();
            Some(told.map(|label| label.escape_ascii().to_string()).collect())
        };
        let two = Some(vec!["\\\\Inbox".to_owned(), "Muy Importante".to_owned()]);
        assert_eq!(labels(b"* 1 FETCH (X-GM-LABELS (\\Inbox \"Muy Importante\") UID 4)\r\n"), two);
        assert_eq!(
            labels(b"* 1 FETCH (X-GM-LABELS (\"\\\\Inbox\" {14}\r\nMuy Importante))\r\n"),
            two
        );
        assert_eq!(labels(b"* 1 FETCH (UID 4 X-GM-LABELS ())\r\n"), Some(vec![]));
        assert_eq!(labels(b"* 1 FETCH (UID 4 X-GM-LABELS NIL)\r\n"), Some(vec![]));
        assert_eq!(
            labels(b"* 1 FETCH (UID 4 X-GM-LABELS (NIL a))\r\n"),
            Some(vec!["a".to_owned()])
        );
        assert_eq!(labels(b"* 1 FETCH (UID 4 FLAGS (\\Seen))\r\n"), None);
    }

    #[test]
    fn a_body_may_be_quoted_or_nil_or_empty() {
        assert_eq!(fetched(b"* 1 FETCH (BODY[] \"a\\\"b\")").body.as_deref(), Some(&b"a\"b"[..]));
        assert_eq!(fetched(b"* 1 FETCH (UID 2 BODY[] NIL)").body, None);
        assert_eq!(fetched(b"* 1 FETCH (BODY[] {0}\r\n)").body.as_deref(), Some(&b""[..]));
    }

    /// B05
    #[test]
    fn a_body_that_goes_on_behind_its_literal_is_none() {
        for response in [
            &b"* 1 FETCH (UID 2 BODY[] {2}\r\nab\r\n"[..],
            b"* 1 FETCH (UID 2 BODY[] {2}\r\nabc)\r\n",
            b"* 1 FETCH (UID 2 BODY[] {2}\r\nab))\r\n",
            b"* 1 FETCH (UID 2 BODY[] {2}\r\nab) x)\r\n",
            b"* 1 FETCH (BODY[] {3}\r\n:-)",
        ] {
            assert_eq!(fetched(response).body, None, "{}", response.escape_ascii());
        }
    }

    #[test]
    fn what_servers_send_beside_fetches_is_told_apart() {
        assert_eq!(Untagged::parse(b"* 3 EXPUNGE\r\n"), Untagged::Expunge(3));
        assert_eq!(Untagged::parse(b"* 3 EXISTS\r\n"), Untagged::Other);
        assert_eq!(Untagged::parse(b"* VANISHED 3:4\r\n"), Untagged::Vanished);
        assert!(matches!(Untagged::parse(b"* BYE so long\r\n"), Untagged::Bye(_)));
        assert!(tagged(b"* OK hi").is_none());
        assert_eq!(tagged(b"F7 OK hi").map(|(tag, _)| tag), Some(&b"F7"[..]));
    }

    #[test]
    fn each_refusal_of_an_append_has_its_meaning() {
        let rows = [
            ("NO [OVERQUOTA] full", Refused::Quota),
            ("NO Over quota", Refused::Quota),
            ("NO [ALERT] You exceeded your mail quota.", Refused::Quota),
            ("NO [TRYCREATE] no such mailbox", Refused::MissingMailbox),
            ("NO [TOOBIG] too big", Refused::Message),
            ("NO Message contains invalid header", Refused::Message),
            ("NO [UNAVAILABLE] later", Refused::Later(Duration::ZERO)),
            (
                "BAD Request is throttled. Suggested Backoff Time: 299961 milliseconds",
                Refused::Later(Duration::from_millis(299_961)),
            ),
        ];
        for (line, meaning) in rows {
            assert_eq!(append_refusal(&status(line)), meaning, "{line}");
        }
    }

    #[test]
    fn each_code_has_its_scope_and_remedy() {
        let rows = [
            ("NO [AUTHENTICATIONFAILED] no", Scope::Account, Remedy::Nothing),
            ("NO [UNAVAILABLE] later", Scope::Session, Remedy::Wait(Duration::ZERO)),
            ("NO [NOPERM] not yours", Scope::Mailbox, Remedy::Nothing),
            ("BYE restarting", Scope::Session, Remedy::Reconnect),
            ("NO whatever", Scope::Mailbox, Remedy::Nothing),
        ];
        for (line, scope, remedy) in rows {
            let fault = fault("x", status(line), Scope::Mailbox);
            assert_eq!((fault.scope, fault.remedy), (scope, remedy), "{line}");
        }
    }

    #[test]
    fn hostile_responses_are_read_without_harm() {
        for response in [
            &b"* 1 FETCH ("[..],
            b"* 1 FETCH (UID {9}\r\nx",
            b"* (((((",
            b"* \"\\",
            b"* {99999999999999999999}\r\n",
            b"* )",
        ] {
            let response = Bytes::from_static(response);
            let _ = (values(&response), Fetched::parse(&response), Untagged::parse(&response));
        }
        let deep = Bytes::from("(".repeat(100_000));
        let _ = values(&deep);
    }
}
