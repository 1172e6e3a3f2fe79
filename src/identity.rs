//! What makes two copies one message: digests over the raw bytes, never Message-ID alone.
//!
//! Servers rewrite some bytes on their way in (a bare LF becomes CRLF, an 8-bit header byte
//! becomes `X`), so a message has several digests, from exact to coarse, and a copy is recognised
//! by the finest that fits.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use twox_hash::XxHash3_128;

/// 128 bits that tell messages apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 16]);

/// The digests of one message, from exact to coarse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The first half of a BLAKE3 hash over the exact octets.
    pub exact: Digest,
    /// An XXH3 hash over the octets as no known server rewrites them further: line ends made CRLF, bare CR and
    /// the end's empty lines dropped, every control or 8-bit octet one `?` (and `X` in the header,
    /// which Cyrus puts there instead of 8-bit octets). It stands no forger, who could have one of his
    /// own messages taken for another of them.
    pub folded: Digest,
    /// 64 bits over the raw Message-ID, Date, From and Subject lines: the coarsest class in use,
    /// equal for all messages that have none of them.
    pub headers: u64,
    /// Whether it holds anything that some server is known to change: an odd line end or none at
    /// the end, a line beyond 998 octets (RFC 5322 section 2.1.1), NUL, 0x80 alone, an 8-bit header,
    /// no header at all.
    pub risky: bool,
}

/// What the header lines of a message tell of it, without its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderKeys {
    /// As [`Identity::headers`].
    pub headers: u64,
    /// 64 bits over Message-ID and Date, equal for every copy of a letter whatever servers did to
    /// the rest of it; none where one of them is missing.
    pub letter: Option<u64>,
}

impl HeaderKeys {
    /// The fields that [`HeaderKeys::of`] looks at, as IMAP's `HEADER.FIELDS` takes them.
    pub const FIELDS: &'static str = "DATE FROM MESSAGE-ID SUBJECT";

    /// The keys of a header, or of those lines of it that [`HeaderKeys::FIELDS`] names.
    #[must_use]
    pub fn of(header: &[u8]) -> Self {
        let mut key = HeaderKey::default();
        key.update(header);
        key.end();
        Self { headers: key.key(), letter: key.letter() }
    }

    /// Whether a key over header lines tells one message from another: all that have none of these
    /// lines have one key.
    #[must_use]
    pub fn tells(headers: u64) -> bool {
        static OF_NONE: OnceLock<u64> = OnceLock::new();
        headers != *OF_NONE.get_or_init(|| Self::of(b"").headers)
    }
}

impl Identity {
    /// The digests of a whole message.
    #[must_use]
    pub fn of(message: &[u8]) -> Self {
        Self::of_pieces([message])
    }

    /// The digests of a whole message that is in pieces.
    #[must_use]
    pub fn of_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = IdentityHasher::default();
        pieces.into_iter().for_each(|piece| hasher.update(piece));
        hasher.finish()
    }
}

/// Computes an [`Identity`] of a message that arrives in pieces of any size.
#[derive(Default)]
pub struct IdentityHasher {
    exact: blake3::Hasher,
    folded: Folder,
    headers: HeaderKey,
    risk: Risk,
}

impl IdentityHasher {
    /// Takes the next octets of the message.
    pub fn update(&mut self, octets: &[u8]) {
        self.exact.update(octets);
        self.headers.update(octets);
        let mut rest = octets;
        while !rest.is_empty() {
            let block = &rest[..rest.len().min(BLOCK_BYTES)];
            // Behind the header most lines are plain.
            let block = match self.folded.in_body {
                true => block,
                false => &block[..header_end(block).unwrap_or(block.len())],
            };
            let lines = &block[..memchr::memrchr(b'\n', block).map_or(0, |at| at + 1)];
            let may_be_plain = self.folded.in_body && self.risk.is_at_plain_line();
            let taken = if may_be_plain && are_plain(lines) {
                self.folded.plain(lines);
                self.risk.ended = true;
                lines
            } else {
                // Where a piece ended in the middle of a line, plain ones may begin behind it.
                let to_line_end = memchr::memchr(b'\n', block).filter(|_| self.risk.line > 0);
                let taken = &block[..to_line_end.map_or(block.len(), |at| at + 1)];
                self.folded.update(taken);
                self.risk.update(taken);
                taken
            };
            rest = &rest[taken.len()..];
        }
    }

    /// The digests of all octets taken.
    #[must_use]
    pub fn finish(self) -> Identity {
        Identity {
            exact: truncated(&self.exact),
            folded: self.folded.finish(),
            headers: self.headers.finish(),
            risky: self.risk.finish(),
        }
    }
}

/// Where an empty line ends that is not the first one.
fn header_end(octets: &[u8]) -> Option<usize> {
    let mut line_ends = memchr::memchr_iter(b'\n', octets);
    line_ends.find_map(|at| match octets.get(at + 1..)? {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// So much of a body is looked at at once.
const BLOCK_BYTES: usize = 4 * 1024;

/// Whether these are whole lines that no server is known to change and that fold to themselves: most
/// of most bodies. To see that of many octets at once is some times faster than line by line.
fn are_plain(lines: &[u8]) -> bool {
    // With a line end in each half of what a line may have, no line is longer.
    let are_short =
        lines.chunks(Risk::LINE_MAX / 2).all(|part| memchr::memchr(b'\n', part).is_some());
    let is_odd = |octet: u8| !matches!(octet, b' '..127 | b'\t' | b'\r' | b'\n');
    let Some((first, others)) = lines.split_first() else {
        return false;
    };
    let pairs = lines.iter().zip(others);
    let is_torn =
        pairs.fold(false, |torn, (one, next)| torn | ((*one == b'\r') != (*next == b'\n')));
    are_short && *first != b'\n' && !is_torn && !some(lines, is_odd)
}

/// Looks for octets that some server is known to change.
#[derive(Default)]
struct Risk {
    found: bool,
    in_body: bool,
    after_cr: bool,
    /// Octets of the line so far, its end not counted.
    line: usize,
    /// Whether the line so far is a field's name.
    names_field: bool,
    /// Whether there was a header field.
    has_header: bool,
    /// Octets that the UTF-8 character so far still lacks.
    lacking: u8,
    ended: bool,
}

/// So many octets can follow the first one of a UTF-8 character (RFC 3629 section 3).
const LACKING_MAX: usize = 3;

impl Risk {
    /// RFC 5322 section 2.1.1.
    const LINE_MAX: usize = 998;

    /// Whether whole plain lines of a body change nothing here.
    fn is_at_plain_line(&self) -> bool {
        self.found || (self.in_body && self.line == 0 && !self.after_cr)
    }

    fn update(&mut self, octets: &[u8]) {
        let mut rest = octets;
        while let Some(&first) = rest.first() {
            if self.found {
                return;
            }
            self.ended = false;
            if self.after_cr != (first == b'\n') {
                self.found = true; // A CR without LF, or an LF without CR.
                return;
            }
            let taken = match first {
                b'\r' => {
                    self.after_cr = true;
                    1
                }
                b'\n' => {
                    self.found |= !self.in_body && !self.has_header;
                    self.in_body |= self.line == 0;
                    (self.after_cr, self.line, self.ended) = (false, 0, true);
                    (self.names_field, self.lacking) = (false, 0);
                    1
                }
                _ => {
                    let end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                    self.text(&rest[..end]);
                    end
                }
            };
            rest = &rest[taken..];
        }
    }

    /// Takes octets of a line that are none of its end.
    fn text(&mut self, octets: &[u8]) {
        if self.in_body {
            self.found |= memchr::memchr(0, octets).is_some();
            if self.lacking > 0 || some(octets, |octet| octet >= 0x80) {
                self.look_for_0x80(octets);
            }
        } else {
            self.found |= some(octets, |octet| octet == 0 || octet >= 0x80);
            if self.line == 0 || self.names_field {
                let name =
                    octets.iter().take_while(|octet| octet.is_ascii_graphic() && **octet != b':');
                let name = name.count();
                self.names_field |= name > 0;
                let is_named = self.names_field;
                self.has_header |= is_named && octets.get(name) == Some(&b':');
                self.names_field = is_named && name == octets.len();
            }
        }
        self.line += octets.len();
        self.found |= self.line > Self::LINE_MAX;
    }

    /// A 0x80 that is no part of a UTF-8 character: Dovecot gives NUL so.
    fn look_for_0x80(&mut self, octets: &[u8]) {
        let mut octets = octets;
        if let Some((_, last)) = octets.split_last_chunk::<LACKING_MAX>()
            && memchr::memchr(0x80, octets).is_none()
        {
            // Only a character that is not at its end is of interest, and these tell of it alone.
            self.lacking = 0;
            octets = last;
        }
        for &octet in octets {
            self.lacking = match octet {
                0xc2..=0xdf => 1,
                0xe0..=0xef => 2,
                0xf0..=0xf4 => 3,
                0x80..=0xbf if self.lacking > 0 => self.lacking - 1,
                _ => {
                    self.found |= octet == 0x80;
                    0
                }
            };
        }
    }

    fn finish(self) -> bool {
        self.found || !self.ended
    }
}

/// Whether any octet is such a one. All are looked at, which many at once is faster than one by one.
fn some(octets: &[u8], is_such: impl Fn(u8) -> bool) -> bool {
    octets.iter().fold(false, |found, octet| found | is_such(*octet))
}

fn truncated(hasher: &blake3::Hasher) -> Digest {
    let mut digest = [0; 16];
    digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    Digest(digest)
}

/// Hashes octets as no known server rewrites them further.
#[derive(Default)]
struct Folder {
    hasher: XxHash3_128,
    /// Line ends seen and not yet hashed: those at the very end do not count.
    line_ends: usize,
    in_body: bool,
}

impl Folder {
    /// Takes whole lines that need no folding.
    fn plain(&mut self, lines: &[u8]) {
        let mut text = lines.len();
        while lines[..text].ends_with(b"\r\n") {
            text -= 2;
        }
        if text > 0 {
            self.end_lines();
            self.hasher.write(&lines[..text]);
        }
        self.line_ends += (lines.len() - text) / 2;
    }

    fn end_lines(&mut self) {
        while self.line_ends > 0 {
            self.hasher.write(b"\r\n");
            self.line_ends -= 1;
        }
    }

    fn update(&mut self, octets: &[u8]) {
        let mut rest = octets;
        while let Some(&first) = rest.first() {
            let taken = match first {
                // A bare CR is dropped by Courier, and a CR before LF is part of the line's end.
                b'\r' => 1,
                b'\n' => {
                    self.line_ends += 1;
                    self.in_body |= self.line_ends == 2;
                    1
                }
                _ => {
                    let end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                    self.text(&rest[..end]);
                    end
                }
            };
            rest = &rest[taken..];
        }
    }

    /// Takes octets of a line that are none of its end.
    fn text(&mut self, octets: &[u8]) {
        self.end_lines();
        // Most lines need no folding, and to see that is quick.
        if self.in_body && !some(octets, |octet| !(b' '..127).contains(&octet)) {
            return self.hasher.write(octets);
        }
        let mut folded = [0; 256];
        for part in octets.chunks(folded.len()) {
            let folded = &mut folded[..part.len()];
            for (folded, octet) in folded.iter_mut().zip(part) {
                *folded = match *octet {
                    b'\t' => b'\t',
                    0..=31 | 127..=255 => b'?',
                    b'X' if !self.in_body => b'?',
                    octet => octet,
                };
            }
            self.hasher.write(folded);
        }
    }

    fn finish(self) -> Digest {
        Digest(self.hasher.finish_128().to_be_bytes())
    }
}

/// Hashes the raw lines of four header fields, sorted by field, continuation lines included.
#[derive(Default)]
struct HeaderKey {
    line: Vec<u8>,
    fields: BTreeMap<&'static str, Vec<u8>>,
    /// The Date as it stands, unfolded.
    date_line: Option<Vec<u8>>,
    current: Option<&'static str>,
    done: bool,
}

impl HeaderKey {
    const FIELDS: [&'static str; 4] = ["date", "from", "message-id", "subject"];
    /// No server keeps a longer header line whole; what lies beyond does not count.
    const LINE_BYTES_MAX: usize = 64 * 1024;

    fn update(&mut self, octets: &[u8]) {
        let mut rest = octets;
        while !self.done && !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest);
            let (piece, next) = rest.split_at(end.map_or(rest.len(), |at| at + 1));
            if self.line.len() < Self::LINE_BYTES_MAX {
                self.line.extend_from_slice(piece);
            }
            if end.is_some() {
                self.end_line();
            }
            rest = next;
        }
    }

    fn end_line(&mut self) {
        let line = self.line.trim_ascii_end();
        if line.is_empty() {
            self.done = true;
        } else if matches!(line.first(), Some(b' ' | b'\t')) {
            if let Some(value) = self.current.and_then(|field| self.fields.get_mut(field)) {
                value.extend(fold_value(line));
                if self.current == Some("date") {
                    self.date_line.get_or_insert_default().extend(line);
                }
            }
        } else {
            let colon = memchr::memchr(b':', line).unwrap_or(line.len());
            let name = line[..colon].trim_ascii_end();
            let field = Self::FIELDS.into_iter().find(|f| name.eq_ignore_ascii_case(f.as_bytes()));
            // A field given twice counts once: the first stands.
            self.current = field.filter(|field| !self.fields.contains_key(field));
            if let Some(field) = self.current {
                let value = line.get(colon + 1..).unwrap_or_default();
                self.fields.insert(field, fold_value(value).collect());
                if field == "date" {
                    self.date_line = Some(value.to_vec());
                }
            }
        }
        self.line.clear();
    }

    fn finish(mut self) -> u64 {
        self.end();
        self.key()
    }

    fn end(&mut self) {
        if !self.done && !self.line.is_empty() {
            self.end_line();
        }
    }

    /// None where there is no Message-ID or no Date that can be read.
    fn letter(&self) -> Option<u64> {
        let id = self.fields.get("message-id").filter(|id| !id.is_empty())?;
        let date = std::str::from_utf8(self.date_line.as_deref()?).ok()?;
        let date = mail_parser::DateTime::parse_rfc822(date)?.to_timestamp();
        let mut hasher = blake3::Hasher::new();
        hasher.update(id).update(b"\n").update(&date.to_be_bytes());
        Some(first_64_bits(&hasher))
    }

    fn key(&self) -> u64 {
        let mut hasher = blake3::Hasher::new();
        for (field, value) in &self.fields {
            hasher.update(field.as_bytes());
            hasher.update(b":");
            hasher.update(value);
            hasher.update(b"\n");
        }
        first_64_bits(&hasher)
    }
}

fn first_64_bits(hasher: &blake3::Hasher) -> u64 {
    let mut key = [0; 8];
    key.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_be_bytes(key)
}

/// A field's value without white space (servers refold) and with `?` for what servers rewrite.
fn fold_value(value: &[u8]) -> impl Iterator<Item = u8> + '_ {
    value.iter().filter(|octet| !octet.is_ascii_whitespace()).map(|octet| match octet {
        0..=31 | 127..=255 | b'X' => b'?',
        other => *other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"Message-ID: <1@x>\r\nSubject: a\r\n b\r\n\r\nbody X\r\n";

    #[test]
    fn any_changed_octet_changes_the_exact_digest() {
        let exact = Identity::of(MESSAGE).exact;
        for at in 0..MESSAGE.len() {
            let mut other = MESSAGE.to_vec();
            other[at] ^= 1;
            assert_ne!(Identity::of(&other).exact, exact, "octet {at}");
        }
    }

    #[test]
    fn pieces_make_the_same_identity_as_the_whole() {
        for at in 0..=MESSAGE.len() {
            let mut hasher = IdentityHasher::default();
            hasher.update(&MESSAGE[..at]);
            hasher.update(&MESSAGE[at..]);
            assert_eq!(hasher.finish(), Identity::of(MESSAGE), "cut at {at}");
        }
    }

    /// What is folded and what is risky, octet by octet.
    fn plainly(message: &[u8]) -> (Vec<u8>, bool) {
        let (mut folded, mut ends, mut in_body) = (Vec::new(), 0, false);
        for octet in message {
            match octet {
                b'\r' => {}
                b'\n' => {
                    ends += 1;
                    in_body |= ends == 2;
                }
                _ => {
                    folded.extend(b"\r\n".repeat(std::mem::take(&mut ends)));
                    folded.push(match octet {
                        b'\t' => b'\t',
                        0..=31 | 127..=255 => b'?',
                        b'X' if !in_body => b'?',
                        octet => *octet,
                    });
                }
            }
        }
        let text = message.iter().map(|octet| char::from(*octet)).collect::<String>();
        let lines: Vec<&str> = text.split("\r\n").collect();
        let is_field = |line: &str| {
            let name = line.split_once(':').map_or("", |(name, _)| name);
            !name.is_empty() && name.chars().all(|one| one.is_ascii_graphic())
        };
        let first_end = text.find("\r\n\r\n").unwrap_or(text.len());
        let risky = !text.ends_with("\r\n")
            || lines.iter().any(|line| line.contains(['\r', '\n', '\0']) || line.len() > 998)
            || text[..first_end].chars().any(|one| one >= '\u{80}')
            || lines.iter().any(|line| {
                let line: Vec<u8> = line.chars().map(|one| one as u8).collect();
                line.utf8_chunks().any(|chunk| chunk.invalid().contains(&0x80))
            })
            || !is_field(lines[0]);
        (folded, risky)
    }

    proptest::proptest! {
        #[test]
        fn lines_are_looked_at_as_their_octets_are(
            lines in proptest::collection::vec(
                (0_usize..12, proptest::sample::select(vec!["\r\n", "\r\n", "\r\n", "\n", "\r", ""])),
                0..8,
            ),
            cut in 0_usize..9_000,
        ) {
            let long = b"plain text\r\n \r\n\r\n".repeat(300);
            let texts: [&[u8]; 12] = [
                &long, b"gr\xc3\xbc\xc3", b"", b"\xe2\x80\x99s \xc3", b"Subject: X", b": x", b"plain X text", b"na me: x", b"t\tb", b"\xff8-bit", b"N\0L", b"\x80",
            ];
            let message: Vec<u8> =
                lines.iter().flat_map(|(text, end)| [texts[*text], end.as_bytes()].concat()).collect();
            let (folded, risky) = plainly(&message);
            let mut hasher = IdentityHasher::default();
            let (first, second) = message.split_at(cut.min(message.len()));
            hasher.update(first);
            hasher.update(second);
            let identity = hasher.finish();
            proptest::prop_assert_eq!(identity.risky, risky, "{}", message.escape_ascii());
            let folded = Digest(XxHash3_128::oneshot(&folded).to_be_bytes());
            proptest::prop_assert_eq!(identity.folded, folded);
        }
    }

    #[test]
    fn one_long_line_among_plain_ones_is_risky() {
        let plain = "plain text\r\n".repeat(1_000);
        for (octets, risky) in [(998, false), (999, true), (3_000, true)] {
            let line = "a".repeat(octets);
            let message = format!("Subject: a\r\n\r\n{plain}{line}\r\n{plain}");
            assert_eq!(Identity::of(message.as_bytes()).risky, risky, "{octets}");
        }
    }

    #[test]
    fn what_servers_rewrite_folds_to_one_digest() {
        let sent = b"Subject: gr\xfc\xdfe\n\nline\r\nN\0L\rend";
        let dovecot = b"Subject: gr\xfc\xdfe\r\n\r\nline\r\nN\x80L\rend";
        let cyrus = b"Subject: grXXe\r\n\r\nline\r\nN\0L\rend\r\n";
        let courier = b"Subject: gr\xfc\xdfe\r\n\r\nline\r\nN\0Lend\r\n";
        let identity = Identity::of(sent);
        for stored in [&dovecot[..], cyrus, courier] {
            assert_eq!(Identity::of(stored).folded, identity.folded);
            assert_eq!(Identity::of(stored).headers, identity.headers);
        }
        assert_ne!(Identity::of(b"Subject: other\r\n\r\nline\r\n").folded, identity.folded);
    }

    #[test]
    fn the_header_key_sees_four_fields_and_no_body() {
        let key = |text: &str| Identity::of(text.as_bytes()).headers;
        assert_eq!(
            key("Subject: a\r\nX: 1\r\n\r\nbody"),
            key("X: 2\r\nsubject:  a\r\n\r\nDate: x")
        );
        assert_ne!(key("Subject: a\r\n\r\n"), key("Subject: b\r\n\r\n"));
        assert_eq!(key("Subject: a\r\n b\r\n\r\n"), key("Subject: ab\r\n\r\n"));
        assert_eq!(key(""), key("no header\r\n"));
    }
}
