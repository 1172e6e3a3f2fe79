//! From the bytes of a command to what it asks for.
//!
//! imap-codec parses the control commands. Our own are sequence sets (it takes quadratic time over
//! large ones), LIST with options and APPEND (it knows neither RETURN nor several messages), and
//! quoted UTF-8 (handed to it as literals).

use std::borrow::Cow;
use std::ops::RangeInclusive;

use imap_codec::CommandCodec;
use imap_codec::decode::Decoder;
use imap_codec::imap_types::command::CommandBody;
use imap_codec::imap_types::sequence::{SeqOrUid, Sequence, SequenceSet};

use super::profile::ObjectId;

/// The tag and the name of a command, `UID FETCH` as one, in capitals.
pub(super) fn head(line: &[u8]) -> Option<(String, String)> {
    let mut words = line.split(|byte| *byte == b' ');
    let tag = words.next().filter(|tag| !tag.is_empty() && tag.iter().copied().all(in_tag))?;
    let tag = String::from_utf8(tag.to_vec()).ok()?;
    let mut name = String::from_utf8_lossy(words.next().unwrap_or_default()).to_ascii_uppercase();
    if name == "UID" {
        let second = String::from_utf8_lossy(words.next().unwrap_or_default()).to_ascii_uppercase();
        name = format!("UID {second}");
    }
    Some((tag, name))
}

fn in_tag(byte: u8) -> bool {
    byte != b'+' && in_astring(byte)
}

fn in_astring(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\')
}

/// A command, and the messages it is about.
pub(super) struct Parsed {
    pub(super) body: CommandBody<'static>,
    /// Its sequence set; the one in `body` is a stand-in.
    pub(super) set: Option<Set>,
    /// What FETCH asks for that tells messages apart; `body` does without.
    pub(super) object_id: ObjectId,
    /// Whether FETCH asks for X-GM-LABELS; `body` does without.
    pub(super) labels: bool,
    /// Whether FETCH asks for X-GM-MSGID; `body` does without.
    pub(super) gmail_id: bool,
}

/// Parses a whole command, literals and the final CRLF included.
pub(super) fn parse(command: &[u8], name: &str) -> Option<Parsed> {
    let command = literalise(command);
    let (set, command) = match name {
        "FETCH" | "STORE" | "COPY" | "MOVE" | "UID FETCH" | "UID STORE" | "UID COPY"
        | "UID MOVE" | "UID EXPUNGE" => {
            let (set, rest) = take_set(&command, name.split(' ').count() + 1)?;
            (Some(set), Cow::Owned(rest))
        }
        _ => (None, command),
    };
    let (object_id, [labels, gmail_id], command) = match name {
        "FETCH" | "UID FETCH" => {
            let (object_id, command) = take_object_id(command);
            let (labels, command) = take_item(command, "X-GM-LABELS");
            let (gmail_id, command) = take_item(command, "X-GM-MSGID");
            (object_id, [labels, gmail_id], command)
        }
        _ => (ObjectId::None, [false; 2], command),
    };
    let (rest, parsed) = CommandCodec::default().decode_static(&command).ok()?;
    rest.is_empty().then_some(Parsed { body: parsed.body, set, object_id, labels, gmail_id })
}

fn take_object_id(mut command: Cow<'_, [u8]>) -> (ObjectId, Cow<'_, [u8]>) {
    for (object_id, item) in [(ObjectId::XGuid, "X-GUID"), (ObjectId::EmailId, "EMAILID")] {
        let (found, rest) = take_item(command, item);
        if found {
            return (object_id, rest);
        }
        command = rest;
    }
    (ObjectId::None, command)
}

/// Puts `UID` in the place of an item that imap-codec does not know.
fn take_item<'c>(command: Cow<'c, [u8]>, item: &str) -> (bool, Cow<'c, [u8]>) {
    let found = command.windows(item.len()).position(|at| at.eq_ignore_ascii_case(item.as_bytes()));
    let Some(at) = found else {
        return (false, command);
    };
    let (before, after) = (&command[..at], &command[at + item.len()..]);
    (true, Cow::Owned([before, b"UID", after].concat()))
}

/// Takes the set out of a command, where it follows so many words, and puts `1` in its place.
fn take_set(command: &[u8], words: usize) -> Option<(Set, Vec<u8>)> {
    let mut spaces = memchr::memchr_iter(b' ', command);
    let start = spaces.nth(words - 1)? + 1;
    let in_set = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b':' | b',' | b'*');
    let length = command[start..].iter().position(|byte| !in_set(byte))?;
    let (set, rest) = command[start..].split_at(length);
    let set = Set::parse(set)?;
    Some((set, [&command[..start], b"1", rest].concat()))
}

/// Turns quoted strings with bytes beyond ASCII into literals.
fn literalise(command: &[u8]) -> Cow<'_, [u8]> {
    if command.is_ascii() {
        return Cow::Borrowed(command);
    }
    let mut out = Vec::with_capacity(command.len() + 16);
    let mut cursor = Cursor::new(command);
    while let Some(byte) = cursor.peek() {
        let start = cursor.at;
        let string = match byte {
            b'"' | b'{' => cursor.astring(),
            _ => None,
        };
        match string {
            Some(string) if byte == b'"' && !string.is_ascii() => {
                out.extend_from_slice(format!("{{{}}}\r\n", string.len()).as_bytes());
                out.extend_from_slice(&string);
            }
            Some(_) => out.extend_from_slice(&command[start..cursor.at]),
            None => {
                cursor.at = start + 1;
                out.push(byte);
            }
        }
    }
    Cow::Owned(out)
}

/// A sequence set, `u32::MAX` for `*`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Set(Vec<(u32, u32)>);

impl Set {
    fn parse(text: &[u8]) -> Option<Self> {
        let number = |text: &[u8]| match text {
            b"*" => Some(u32::MAX),
            _ => std::str::from_utf8(text).ok()?.parse().ok().filter(|number| *number > 0),
        };
        let range = |text: &[u8]| match memchr::memchr(b':', text) {
            Some(at) => Some((number(&text[..at])?, number(&text[at + 1..])?)),
            None => number(text).map(|number| (number, number)),
        };
        text.split(|byte| *byte == b',').map(range).collect::<Option<_>>().map(Self)
    }

    pub(super) fn of(set: &SequenceSet) -> Self {
        let number = |number: &SeqOrUid| match number {
            SeqOrUid::Value(number) => number.get(),
            SeqOrUid::Asterisk => u32::MAX,
        };
        let range = |sequence: &Sequence| match sequence {
            Sequence::Single(one) => (number(one), number(one)),
            Sequence::Range(one, other) => (number(one), number(other)),
        };
        Self(set.0.as_ref().iter().map(range).collect())
    }

    /// The numbers meant when `last` is the largest there is: sorted ranges that do not touch.
    pub(super) fn ranges(&self, last: u32) -> Vec<RangeInclusive<u32>> {
        let star = |number: u32| if number == u32::MAX { last } else { number };
        let mut ranges: Vec<(u32, u32)> = self
            .0
            .iter()
            .map(|(one, other)| (star(*one), star(*other)))
            .map(|(one, other)| (one.min(other), one.max(other)))
            .collect();
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                _ => merged.push((first, last)),
            }
        }
        merged.into_iter().map(|(first, last)| first..=last).collect()
    }
}

/// Writes UIDs as a set, neighbours as ranges, in the order given.
pub(super) fn write_set(uids: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &uid in uids {
        match runs.last_mut() {
            Some(run) if run.1.checked_add(1) == Some(uid) => run.1 = uid,
            _ => runs.push((uid, uid)),
        }
    }
    let run = |(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}:{last}") }
    };
    runs.iter().map(run).collect::<Vec<_>>().join(",")
}

/// Reads the parts of a command from left to right.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Takes this text, whatever its case.
    pub(super) fn take(&mut self, text: &str) -> Option<()> {
        let head = self.rest().get(..text.len())?;
        head.eq_ignore_ascii_case(text.as_bytes()).then(|| self.at += text.len())
    }

    pub(super) fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().position(|byte| !wanted(*byte)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Takes an astring: an atom, a quoted string or a literal.
    pub(super) fn astring(&mut self) -> Option<Vec<u8>> {
        self.string(in_astring)
    }

    /// Takes a pattern of LIST.
    pub(super) fn pattern(&mut self) -> Option<Vec<u8>> {
        self.string(|byte| in_astring(byte) || matches!(byte, b'%' | b'*'))
    }

    /// Takes a flag.
    pub(super) fn flag(&mut self) -> Option<String> {
        let slash = self.take("\\").map_or("", |()| "\\");
        let name = self.take_while(|byte| in_astring(byte) && byte != b']');
        if name.is_empty() {
            return None;
        }
        Some(format!("{slash}{}", String::from_utf8_lossy(name)))
    }

    fn string(&mut self, in_atom: impl Fn(u8) -> bool) -> Option<Vec<u8>> {
        match self.peek()? {
            b'"' => self.quoted(),
            b'{' => {
                self.at += 1;
                let digits = self.take_while(|byte| byte.is_ascii_digit());
                let length: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
                let _ = self.take("+");
                self.take("}\r\n")?;
                let literal = self.rest().get(..length)?.to_vec();
                self.at += length;
                Some(literal)
            }
            _ => Some(self.take_while(in_atom).to_vec()).filter(|atom| !atom.is_empty()),
        }
    }

    fn quoted(&mut self) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        self.at += 1;
        loop {
            let mut byte = self.peek()?;
            self.at += 1;
            match byte {
                b'"' => return Some(text),
                b'\r' | b'\n' | 0 => return None,
                b'\\' => {
                    byte = self.peek().filter(|byte| matches!(byte, b'"' | b'\\'))?;
                    self.at += 1;
                }
                _ => {}
            }
            text.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_two_words_is_one_name() {
        let head = |line: &str| head(line.as_bytes());
        assert_eq!(head("a1 uid fetch 1 FLAGS"), Some(("a1".into(), "UID FETCH".into())));
        assert_eq!(head("a1"), Some(("a1".into(), String::new())));
        assert_eq!(head(""), None);
        assert_eq!(head("+ OK"), None);
    }

    #[test]
    fn a_star_is_the_last_even_below_the_start() {
        assert_eq!(Set::parse(b"100:*").unwrap().ranges(1), [1..=100]);
        assert_eq!(Set::parse(b"5,1:3,4,9").unwrap().ranges(20), [1..=5, 9..=9]);
        for wrong in ["", "0", "1:", "1,,2", "a", "4294967296"] {
            assert_eq!(Set::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_large_set_is_parsed_in_linear_time() {
        let numbers: Vec<String> = (0..20_000).map(|number| (number * 2 + 1).to_string()).collect();
        let command = format!("a UID FETCH {} (UID)\r\n", numbers.join(","));
        let parsed = parse(command.as_bytes(), "UID FETCH").unwrap();
        assert_eq!(parsed.set.unwrap().ranges(50_000).len(), 20_000);
    }

    #[test]
    fn quoted_utf_8_is_understood() {
        let parsed = parse("a CREATE \"Entwürfe \\\"x\\\"\"\r\n".as_bytes(), "CREATE").unwrap();
        assert_eq!(parsed.body, CommandBody::create("Entwürfe \"x\"".as_bytes().to_vec()).unwrap());
    }

    #[test]
    fn sets_are_written_in_ranges() {
        assert_eq!(write_set(&[1, 2, 3, 7, 6]), "1:3,7,6");
    }
}
