//! Repairs of a message that the target refuses: each is asked for by name, and does nothing else.
//!
//! The same octets make the same repaired octets, and what is repaired needs no second repair.

use std::borrow::Cow;
use std::fmt;

/// One thing that can be repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Repair {
    /// NUL becomes `?`.
    Nul,
    /// Every line ends with CRLF: a bare LF becomes one, so does a bare CR in the body; in the header
    /// it becomes a space, since what follows is no field of its own. CRs before a CRLF go.
    Crlf,
    /// Header fields that ask for a receipt get the prefix `X-`.
    ReadReceipts,
    /// 8-bit words of the header become encoded words (RFC 2047).
    EightBitHeader,
    /// Lines beyond 998 octets (RFC 5322 section 2.1.1) are broken, at a space where there is one.
    LongLines,
}

impl Repair {
    /// All, in the order in which they are made.
    pub const ALL: [Self; 5] =
        [Self::Nul, Self::Crlf, Self::ReadReceipts, Self::EightBitHeader, Self::LongLines];

    /// The name by which it is asked for.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nul => "nul",
            Self::Crlf => "crlf",
            Self::ReadReceipts => "read-receipts",
            Self::EightBitHeader => "8bit-header",
            Self::LongLines => "long-lines",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Nul => 1,
            Self::Crlf => 2,
            Self::ReadReceipts => 4,
            Self::EightBitHeader => 8,
            Self::LongLines => 16,
        }
    }

    fn made(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Nul => without_nul(message),
            Self::Crlf => with_crlf(message),
            Self::ReadReceipts => without_receipts(message),
            Self::EightBitHeader => with_ascii_header(message),
            Self::LongLines => with_short_lines(message),
        }
    }
}

/// A set of repairs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repairs(u8);

impl Repairs {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this one is among them.
    #[must_use]
    pub fn has(self, repair: Repair) -> bool {
        self.0 & repair.bit() != 0
    }

    /// As the ledger keeps them.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The set that [`Repairs::bits`] gave; what is none of ours is left out.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        Repair::ALL.into_iter().filter(|repair| bits & repair.bit() != 0).collect()
    }
}

impl FromIterator<Repair> for Repairs {
    fn from_iter<I: IntoIterator<Item = Repair>>(repairs: I) -> Self {
        Self(repairs.into_iter().fold(0, |bits, repair| bits | repair.bit()))
    }
}

/// Their names, with commas between.
impl fmt::Display for Repairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Repair::ALL
            .into_iter()
            .filter(|repair| self.has(*repair))
            .map(Repair::as_str)
            .collect();
        f.write_str(&names.join(", "))
    }
}

/// The message with what was asked for repaired, and which repairs changed anything; none where none
/// did.
#[must_use]
pub fn repair(message: &[u8], asked: Repairs) -> Option<(Vec<u8>, Repairs)> {
    let mut repaired = Cow::Borrowed(message);
    let mut made = Repairs::default();
    for one in Repair::ALL.into_iter().filter(|one| asked.has(*one)) {
        let after = one.made(&repaired);
        if after != *repaired {
            made.0 |= one.bit();
            repaired = Cow::Owned(after);
        }
    }
    (!made.is_empty()).then(|| (repaired.into_owned(), made))
}

fn without_nul(message: &[u8]) -> Vec<u8> {
    // Not a space, which could end a word or stand at the end of a line.
    message.iter().map(|octet| if *octet == 0 { b'?' } else { *octet }).collect()
}

fn with_crlf(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 32);
    let (mut in_body, mut line) = (false, 0);
    let mut rest = message;
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        let ends = match octet {
            b'\n' => true,
            b'\r' if after.iter().find(|octet| **octet != b'\r') == Some(&b'\n') => continue,
            b'\r' => in_body,
            _ => false,
        };
        if ends {
            out.extend_from_slice(b"\r\n");
            in_body |= line == 0;
            line = 0;
        } else {
            out.push(if octet == b'\r' { b' ' } else { octet });
            line += 1;
        }
    }
    out
}

/// The header up to and with the empty line behind it, and the body.
fn parts(message: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    for line in message.split_inclusive(|octet| *octet == b'\n') {
        at += line.len();
        if matches!(line, b"\n" | b"\r\n") {
            break;
        }
    }
    message.split_at(at)
}

/// The fields of a header, each with its continuation lines and line ends.
fn fields(header: &[u8]) -> Vec<&[u8]> {
    let mut fields = Vec::new();
    let (mut begin, mut at) = (0, 0);
    for line in header.split_inclusive(|octet| *octet == b'\n') {
        if at > begin && !matches!(line.first(), Some(b' ' | b'\t')) {
            fields.push(&header[begin..at]);
            begin = at;
        }
        at += line.len();
    }
    fields.push(&header[begin..]);
    fields
}

/// A field's name, and the rest from its colon on.
fn name_of(field: &[u8]) -> (&[u8], &[u8]) {
    field.split_at(memchr::memchr(b':', field).unwrap_or(0))
}

const RECEIPTS: [&str; 2] = ["Disposition-Notification-To", "Return-Receipt-To"];

fn without_receipts(message: &[u8]) -> Vec<u8> {
    let (header, body) = parts(message);
    let mut out = Vec::with_capacity(message.len() + 8);
    for field in fields(header) {
        let name = name_of(field).0.trim_ascii();
        if RECEIPTS.iter().any(|receipt| name.eq_ignore_ascii_case(receipt.as_bytes())) {
            out.extend_from_slice(b"X-");
        }
        out.extend_from_slice(field);
    }
    out.extend_from_slice(body);
    out
}

fn with_ascii_header(message: &[u8]) -> Vec<u8> {
    let (header, body) = parts(message);
    if header.is_ascii() {
        return message.to_vec();
    }
    let mut out = Vec::with_capacity(message.len() + header.len());
    for field in fields(header) {
        if field.is_ascii() {
            out.extend_from_slice(field);
            continue;
        }
        let (name, value) = name_of(field);
        out.extend(name.iter().map(|octet| if octet.is_ascii() { *octet } else { b'?' }));
        encode_value(value, has_addresses(name), &mut out);
    }
    out.extend_from_slice(body);
    out
}

/// Whether a field's words are parts of addresses: there quotes are not of the text.
fn has_addresses(name: &[u8]) -> bool {
    const NAMES: [&str; 6] = ["from", "to", "cc", "bcc", "sender", "reply-to"];
    let name = name.trim_ascii();
    let name = match name.split_at_checked(7) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(b"resent-") => rest,
        _ => name,
    };
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// A piece of a field's value.
enum Piece<'a> {
    /// White space and line ends.
    Space(&'a [u8]),
    /// What stands for itself: a special of addresses.
    Plain(&'a [u8]),
    /// A word, or what was between quotes.
    Word(&'a [u8]),
}

fn encode_value(value: &[u8], has_addresses: bool, out: &mut Vec<u8>) {
    let pieces = pieces(value, has_addresses);
    let is_odd = |piece: &Piece<'_>| matches!(piece, Piece::Word(word) if !word.is_ascii());
    let mut at = 0;
    while let Some(piece) = pieces.get(at) {
        let octets = match piece {
            Piece::Space(octets) | Piece::Plain(octets) | Piece::Word(octets) => *octets,
        };
        if !is_odd(piece) {
            out.extend_from_slice(octets);
            at += 1;
            continue;
        }
        // The space between two encoded words is not shown: it must be in one of them.
        let mut text = unquoted(octets, has_addresses);
        at += 1;
        while let [Piece::Space(_), Piece::Word(next), ..] = pieces.get(at..).unwrap_or_default()
            && !next.is_ascii()
        {
            text.push(b' ');
            text.extend(unquoted(next, has_addresses));
            at += 2;
        }
        encode_words(&text, out);
    }
}

fn pieces(value: &[u8], has_addresses: bool) -> Vec<Piece<'_>> {
    let is_space = |octet: &u8| octet.is_ascii_whitespace();
    let is_special = |octet: &u8| has_addresses && b"()<>[]:;@\\,\"".contains(octet);
    let mut pieces = Vec::new();
    let mut rest = value;
    while let Some(first) = rest.first() {
        let until = |stop: &dyn Fn(&u8) -> bool| rest.iter().position(stop).unwrap_or(rest.len());
        let length = if is_space(first) {
            until(&|octet| !is_space(octet))
        } else if *first == b'"' && has_addresses {
            quoted_length(rest)
        } else if is_special(first) || (rest.len() == value.len() && *first == b':') {
            1
        } else {
            until(&|octet| is_space(octet) || is_special(octet))
        };
        let (piece, after) = rest.split_at(length);
        pieces.push(match first {
            first if is_space(first) => Piece::Space(piece),
            _ if piece.len() == 1 && piece.is_ascii() => Piece::Plain(piece),
            _ => Piece::Word(piece),
        });
        rest = after;
    }
    pieces
}

/// The length of a quoted string (RFC 5322 section 3.2.4), or 1 where its end is missing.
fn quoted_length(text: &[u8]) -> usize {
    let mut escaped = false;
    for (at, octet) in text.iter().enumerate().skip(1) {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    1
}

/// The text of a word, that of a quoted string without quotes and escapes. Line ends are space.
fn unquoted(word: &[u8], has_addresses: bool) -> Vec<u8> {
    let inside = word.strip_prefix(b"\"").and_then(|word| word.strip_suffix(b"\""));
    let inside = inside.filter(|_| has_addresses);
    let mut text = Vec::with_capacity(word.len());
    let mut escaped = false;
    for octet in inside.unwrap_or(word) {
        match octet {
            b'\\' if inside.is_some() && !escaped => escaped = true,
            b'\r' | b'\n' => escaped = false,
            octet => {
                escaped = false;
                text.push(*octet);
            }
        }
    }
    text
}

/// The longest encoded word (RFC 2047 section 2) is 75 octets, of which these may be text.
const ENCODED_TEXT_MAX: usize = 75 - "=?iso-8859-1?Q??=".len();

fn encode_words(text: &[u8], out: &mut Vec<u8>) {
    // What is no UTF-8 is mostly of a Latin alphabet, and no octet is lost in any case.
    let charset = if std::str::from_utf8(text).is_ok() { "utf-8" } else { "iso-8859-1" };
    let mut word = String::new();
    let mut end_word = |word: &mut String, is_last: bool| {
        out.extend_from_slice(format!("=?{charset}?Q?{word}?=").as_bytes());
        if !is_last {
            out.extend_from_slice(b"\r\n ");
        }
        word.clear();
    };
    let mut rest = text;
    while let Some(first) = rest.first() {
        // Of UTF-8 no character is cut.
        let length = match (charset, first) {
            ("utf-8", 0xc0..=0xdf) => 2,
            ("utf-8", 0xe0..=0xef) => 3,
            ("utf-8", 0xf0..) => 4,
            _ => 1,
        };
        let (character, after) = rest.split_at(length.min(rest.len()));
        let encoded: String = character.iter().map(|octet| q_encoded(*octet)).collect();
        if word.len() + encoded.len() > ENCODED_TEXT_MAX {
            end_word(&mut word, false);
        }
        word.push_str(&encoded);
        rest = after;
    }
    end_word(&mut word, true);
}

/// RFC 2047 section 5 (3): what may stand in a phrase.
fn q_encoded(octet: u8) -> String {
    match octet {
        b' ' => "_".to_owned(),
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'!' | b'*' | b'+' | b'-' | b'/' => {
            char::from(octet).to_string()
        }
        octet => format!("={octet:02X}"),
    }
}

/// RFC 5322 section 2.1.1.
const LINE_MAX: usize = 998;

fn with_short_lines(message: &[u8]) -> Vec<u8> {
    let (header, body) = parts(message);
    let mut out = Vec::with_capacity(message.len() + message.len() / 256);
    for (part, is_header) in [(header, true), (body, false)] {
        for line in part.split_inclusive(|octet| *octet == b'\n') {
            let (mut rest, mut room) = (line, LINE_MAX);
            while text_length(rest) > room {
                let at = if is_header { fold_at(rest, room) } else { break_at(rest) };
                let (head, after) = rest.split_at(at);
                out.extend_from_slice(head);
                out.extend_from_slice(b"\r\n");
                (rest, room) = (after, LINE_MAX);
                if is_header && !matches!(after.first(), Some(b' ' | b'\t')) {
                    out.push(b' ');
                    room -= 1;
                }
            }
            out.extend_from_slice(rest);
        }
    }
    out
}

/// The octets of a line without its end.
fn text_length(line: &[u8]) -> usize {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line).len()
}

/// Where a header line is folded, so that as much as there is room for stands before: at white space that
/// has text on both sides; else anywhere.
fn fold_at(line: &[u8], room: usize) -> usize {
    let text = &line[..text_length(line)];
    let begin = text.iter().position(|octet| !octet.is_ascii_whitespace()).unwrap_or(0);
    let end = text.iter().rposition(|octet| !octet.is_ascii_whitespace()).unwrap_or(0);
    let is_gap = |at: &usize| matches!(text[*at], b' ' | b'\t') && *at > begin && *at < end;
    (1..=room.min(end)).rev().find(is_gap).unwrap_or_else(|| between_characters(text, room))
}

/// Where a line of the body is broken: behind a space, else between two characters.
fn break_at(line: &[u8]) -> usize {
    let space = line[..LINE_MAX].iter().rposition(|octet| *octet == b' ');
    space.map_or_else(|| between_characters(line, LINE_MAX), |at| at + 1)
}

/// The highest place up to `at` that cuts no UTF-8 character and no CRLF.
fn between_characters(line: &[u8], at: usize) -> usize {
    let is_inside = |octet: u8| matches!(octet, 0x80..=0xbf);
    (at - 3..=at).rev().find(|at| !is_inside(line[*at])).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all() -> Repairs {
        Repair::ALL.into_iter().collect()
    }

    fn repaired(message: &[u8], one: Repair) -> String {
        let repaired = repair(message, [one].into_iter().collect());
        String::from_utf8(repaired.map_or_else(|| message.to_vec(), |it| it.0)).expect("UTF-8")
    }

    #[test]
    fn what_needs_no_repair_gets_none() {
        let message = b"Subject: a\r\nTo: b\r\n c\r\n\r\nbody\r\nno end";
        assert_eq!(repair(message, all()), None);
        assert_eq!(repair(b"", all()), None);
        assert_eq!(repair(b"a\n\0", Repairs::default()), None);
    }

    #[test]
    fn every_line_gets_its_end() {
        let crlf = |message: &[u8]| repaired(message, Repair::Crlf);
        assert_eq!(crlf(b"A: 1\nB: 2\n\nx\ry\r"), "A: 1\r\nB: 2\r\n\r\nx\r\ny\r\n");
        assert_eq!(crlf(b"A: 1\r\r\nB: 2\r\n\r\nx"), "A: 1\r\nB: 2\r\n\r\nx");
        assert_eq!(crlf(b"A: 1\rBcc: x\n\n"), "A: 1 Bcc: x\r\n\r\n", "no field is made of it");
    }

    #[test]
    fn words_of_the_header_are_encoded_and_their_text_stays() {
        let header = |field: &str| {
            let message = format!("{field}\r\n\r\nbödy");
            repaired(message.as_bytes(), Repair::EightBitHeader)
        };
        for (field, expected) in [
            (
                "Subject: Grüße aus Köln",
                "Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= aus =?utf-8?Q?K=C3=B6ln?=",
            ),
            ("Subject: für Müller", "Subject: =?utf-8?Q?f=C3=BCr_M=C3=BCller?="),
            (
                "From: \"Müller, Jörg\" <a@b.example>",
                "From: =?utf-8?Q?M=C3=BCller=2C_J=C3=B6rg?= <a@b.example>",
            ),
            ("X-Nämé: a", "X-N??m??: a"),
        ] {
            assert_eq!(header(field), format!("{expected}\r\n\r\nbödy"));
        }
        let latin = [&b"Subject: M\xfcller\r\n\r\n"[..], b"\xfc"].concat();
        let (latin, made) = repair(&latin, all()).expect("repaired");
        assert_eq!(latin, b"Subject: =?iso-8859-1?Q?M=FCller?=\r\n\r\n\xfc");
        assert_eq!(made.to_string(), "8bit-header");
    }

    #[test]
    fn encoded_words_are_read_as_the_text_they_stand_for() {
        for text in ["Grüße", "aß bß c dß", "日本語の件名".repeat(30).as_str(), "ü=?_ ü"]
        {
            let message = format!("Subject: {text}\r\nFrom: \"{text}\" <a@b.example>\r\n\r\n");
            let message = repaired(message.as_bytes(), Repair::EightBitHeader);
            assert!(message.is_ascii() && message.lines().all(|line| line.len() <= 100));
            let parsed = mail_parser::MessageParser::new().parse(message.as_bytes());
            let parsed = parsed.expect("a message");
            assert_eq!(parsed.subject(), Some(text), "{message}");
            let from = parsed.from().and_then(|from| from.first()).expect("an address");
            assert_eq!((from.name(), from.address()), (Some(text), Some("a@b.example")));
        }
    }

    #[test]
    fn receipts_are_not_asked_for_any_more() {
        let message =
            b"Disposition-Notification-To: a\r\n b\r\nreturn-receipt-to : c\r\nTo: d\r\n\r\n\
            Return-Receipt-To: e\r\n";
        assert_eq!(
            repaired(message, Repair::ReadReceipts),
            "X-Disposition-Notification-To: a\r\n b\r\nX-return-receipt-to : c\r\nTo: d\r\n\r\n\
             Return-Receipt-To: e\r\n"
        );
    }

    #[test]
    fn long_lines_are_broken_at_spaces() {
        let words = "wörd ".repeat(400);
        let message = format!("Subject: {words}x\r\n\r\n{words}\r\n{}\r\n", "ö".repeat(1_500));
        let short = repaired(message.as_bytes(), Repair::LongLines);
        assert!(short.lines().all(|line| line.len() <= LINE_MAX));
        let (header, body) = short.split_once("\r\n\r\n").expect("a header");
        assert_eq!(header.replace("\r\n", ""), format!("Subject: {words}x"));
        assert_eq!(body.replace("\r\n", ""), format!("{words}{}", "ö".repeat(1_500)));
        let bare = format!("X: {}\r\n\r\n", "y".repeat(2_500));
        let folded = repaired(bare.as_bytes(), Repair::LongLines);
        assert_eq!(
            folded.replace("\r\n", "").replace(' ', ""),
            bare.replace("\r\n", "").replace(' ', "")
        );
    }

    #[test]
    fn repairs_have_their_names_and_bits() {
        for one in Repair::ALL {
            let set: Repairs = [one].into_iter().collect();
            assert_eq!(
                (set.to_string().as_str(), Repairs::from_bits(set.bits())),
                (one.as_str(), set)
            );
        }
        assert_eq!(Repairs::from_bits(0xff), all());
    }

    /// Messages with much that can be repaired.
    fn messages() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"\r\n".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"\r".to_vec()),
            Just(b"\0".to_vec()),
            Just(b"\r\n\r\n".to_vec()),
            Just(b"Subject: ".to_vec()),
            Just(b"From: \"".to_vec()),
            Just(b"Return-Receipt-To: ".to_vec()),
            Just("ü\" ".as_bytes().to_vec()),
            Just(b"\xfc".to_vec()),
            Just(b" ".to_vec()),
            (1..1_200_usize).prop_map(|count| b"x".repeat(count)),
            (1..600_usize).prop_map(|count| "ö".repeat(count).into_bytes()),
            prop::collection::vec(any::<u8>(), 0..8),
        ];
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    fn sets() -> impl Strategy<Value = Repairs> {
        (0..32_u8).prop_map(Repairs::from_bits)
    }

    proptest! {
        #[test]
        fn a_repaired_message_needs_no_second_repair(message in messages(), asked in sets()) {
            if let Some((repaired, made)) = repair(&message, asked) {
                prop_assert!(repaired != message && made.0 & !asked.0 == 0);
                prop_assert_eq!(repair(&repaired, asked), None);
            }
        }

        #[test]
        fn each_repair_makes_what_it_names(message in messages()) {
            let repaired = |one: Repair| one.made(&message);
            prop_assert!(!repaired(Repair::Nul).contains(&0));
            let lines = repaired(Repair::Crlf);
            let bare = lines.iter().enumerate().filter(|(at, octet)| match octet {
                b'\r' => lines.get(at + 1) != Some(&b'\n'),
                b'\n' => *at == 0 || lines[at - 1] != b'\r',
                _ => false,
            });
            prop_assert_eq!(bare.count(), 0);
            prop_assert!(parts(&repaired(Repair::EightBitHeader)).0.is_ascii());
            let lines = repaired(Repair::LongLines);
            let mut lines = lines.split_inclusive(|octet| *octet == b'\n');
            prop_assert!(lines.all(|line| text_length(line) <= LINE_MAX));
        }

        #[test]
        fn each_repair_leaves_the_rest_alone(message in messages()) {
            let (header, body) = parts(&message);
            let same_length = Repair::Nul.made(&message);
            prop_assert!(message.iter().zip(&same_length).all(|(was, is)| was == is || *was == 0));
            prop_assert_eq!(message.len(), same_length.len());
            for one in [Repair::EightBitHeader, Repair::ReadReceipts] {
                prop_assert!(one.made(&message).ends_with(body));
            }
            let receipts = Repair::ReadReceipts.made(&message);
            prop_assert!((receipts.len() - message.len()).is_multiple_of(2));
            let plain = |octets: &[u8]| -> Vec<u8> {
                octets.iter().filter(|octet| !matches!(octet, b'\r' | b'\n' | b' ')).copied().collect()
            };
            prop_assert_eq!(plain(&Repair::Crlf.made(&message)), plain(&message));
            prop_assert_eq!(plain(&Repair::LongLines.made(&message)), plain(&message));
            let ascii = |octets: &[u8]| octets.iter().filter(|octet| !octet.is_ascii()).count();
            prop_assert_eq!(ascii(header), ascii(&message) - ascii(body));
        }
    }
}
