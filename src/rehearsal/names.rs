//! Mailbox names on the wire: modified UTF-7, delimiter, prefix and the wildcards of LIST.

use base64::{Engine, alphabet, engine::GeneralPurpose, engine::general_purpose};

/// A mailbox as a list of decoded names; the first is `INBOX` in capitals where it is the inbox.
pub(super) type Path = Vec<String>;

/// Base64 of modified UTF-7: `,` for `/`, no padding, unused bits zero.
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::IMAP_MUTF7, general_purpose::NO_PAD);

/// Makes a path of names, the inbox in its one spelling.
pub(super) fn path<N: AsRef<str>>(names: &[N]) -> Path {
    let mut path: Path = names.iter().map(|name| name.as_ref().to_owned()).collect();
    if let Some(first) = path.first_mut()
        && first.eq_ignore_ascii_case("INBOX")
    {
        first.make_ascii_uppercase();
    }
    path
}

/// How one server writes mailbox names (RFC 9051 section 5.1).
#[derive(Clone, Debug)]
pub(super) struct Naming {
    /// What stands before every mailbox but the inbox, its delimiter included.
    pub(super) prefix: String,
    /// What stands between the names of a path.
    pub(super) delimiter: char,
    /// Whether the client enabled `UTF8=ACCEPT`, so that names are plain UTF-8.
    pub(super) utf8: bool,
}

impl Naming {
    /// Writes a path as this session shows it, not yet quoted.
    pub(super) fn encode(&self, path: &[String]) -> String {
        let joined = path.join(&self.delimiter.to_string());
        let name = if path.len() == 1 && path[0] == "INBOX" {
            joined
        } else {
            format!("{}{joined}", self.prefix)
        };
        if self.utf8 { name } else { encode(&name) }
    }

    /// Reads the name a client sent; the error says why no mailbox can have it.
    pub(super) fn decode(&self, wire: &[u8]) -> Result<Path, String> {
        let text = std::str::from_utf8(wire).map_err(|_| "name is not UTF-8".to_owned())?;
        let name = if self.utf8 {
            text.to_owned()
        } else {
            decode(text).ok_or("name is not valid modified UTF-7")?
        };
        if name.eq_ignore_ascii_case("INBOX") {
            return Ok(vec!["INBOX".to_owned()]);
        }
        let Some(inner) = strip_prefix_inbox_free(&name, &self.prefix) else {
            return Err(format!(
                "no such namespace, the name should probably start with {}",
                self.prefix
            ));
        };
        let names: Vec<&str> = inner.split(self.delimiter).collect();
        if names.iter().any(|name| name.is_empty()) {
            return Err("empty name in the hierarchy".to_owned());
        }
        if inner.chars().any(char::is_control) {
            return Err("control character in the name".to_owned());
        }
        let path = path(&names);
        if path == ["INBOX"] {
            return Err("the inbox has no prefix".to_owned());
        }
        Ok(path)
    }
}

/// Strips the prefix; its leading `INBOX` may be in any case.
fn strip_prefix_inbox_free<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    if let Some(inner) = name.strip_prefix(prefix) {
        return Some(inner);
    }
    let head = name.get(..prefix.len())?;
    let inbox = prefix.to_ascii_uppercase().starts_with("INBOX");
    (inbox && head.eq_ignore_ascii_case(prefix)).then(|| &name[prefix.len()..])
}

/// Encodes as modified UTF-7 (RFC 3501 section 5.1.3).
pub(super) fn encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    let mut shifted: Vec<u8> = Vec::new();
    for character in name.chars() {
        if (' '..='~').contains(&character) {
            flush(&mut encoded, &mut shifted);
            encoded.push(character);
            if character == '&' {
                encoded.push('-');
            }
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                shifted.extend_from_slice(&unit.to_be_bytes());
            }
        }
    }
    flush(&mut encoded, &mut shifted);
    encoded
}

fn flush(encoded: &mut String, shifted: &mut Vec<u8>) {
    if !shifted.is_empty() {
        encoded.push('&');
        BASE64.encode_string(&*shifted, encoded);
        encoded.push('-');
        shifted.clear();
    }
}

/// Decodes modified UTF-7; `None` for everything [`encode`] would not have written.
pub(super) fn decode(wire: &str) -> Option<String> {
    let mut decoded = String::with_capacity(wire.len());
    let mut rest = wire;
    while let Some(at) = rest.find('&') {
        decoded.push_str(&rest[..at]);
        let end = at + 1 + rest[at + 1..].find('-')?;
        let shifted = &rest[at + 1..end];
        if shifted.is_empty() {
            decoded.push('&');
        } else {
            let bytes = BASE64.decode(shifted).ok()?;
            let units: Vec<u16> = bytes
                .chunks(2)
                .map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?)))
                .collect::<Option<_>>()?;
            decoded.push_str(&String::from_utf16(&units).ok()?);
        }
        rest = &rest[end + 1..];
    }
    decoded.push_str(rest);
    // One name, one spelling: "&AGE-" is not another way to write "a".
    (encode(&decoded) == wire).then_some(decoded)
}

/// Says whether a name matches a LIST pattern: `*` is anything, `%` anything but the delimiter.
pub(super) fn matches(pattern: &[u8], name: &[u8], delimiter: char) -> bool {
    // One row of "the pattern so far matches the first n bytes": no pattern takes exponential time.
    let mut row = vec![false; name.len() + 1];
    row[0] = true;
    for &wanted in pattern {
        if wanted == b'*' || wanted == b'%' {
            for at in 0..name.len() {
                let passes = wanted == b'*' || char::from(name[at]) != delimiter;
                row[at + 1] |= row[at] && passes;
            }
        } else {
            for at in (0..name.len()).rev() {
                row[at + 1] = row[at] && name[at] == wanted;
            }
            row[0] = false;
        }
    }
    row[name.len()]
}

/// Quotes a string for a response; text a quoted string cannot hold becomes a literal.
pub(super) fn quote(text: &str) -> String {
    if text.bytes().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
        return format!("{{{}}}\r\n{text}", text.len());
    }
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming(prefix: &str, delimiter: char) -> Naming {
        Naming { prefix: prefix.to_owned(), delimiter, utf8: false }
    }

    #[test]
    fn names_are_written_as_the_rfc_writes_them() {
        assert_eq!(encode("~peter/mail/台北/日本語"), "~peter/mail/&U,BTFw-/&ZeVnLIqe-");
        assert_eq!(encode("Entwürfe"), "Entw&APw-rfe");
        assert_eq!(encode("R&D"), "R&-D");
        assert_eq!(encode("😀"), "&2D3eAA-");
    }

    #[test]
    fn every_name_has_one_spelling() {
        assert_eq!(decode("Entw&APw-rfe").as_deref(), Some("Entwürfe"));
        for wrong in ["&AGE-", "&", "&APw", "&APx-", "&2D0-", "ü", "&Jjo-&Jjo-", "&AP-", "&-&A"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_prefix_belongs_to_every_mailbox_but_the_inbox() {
        let naming = naming("INBOX.", '.');
        assert_eq!(naming.encode(&path(&["inbox"])), "INBOX");
        assert_eq!(naming.encode(&path(&["Sent", "2019"])), "INBOX.Sent.2019");
        assert_eq!(naming.decode(b"inbox.Sent.2019"), Ok(path(&["Sent", "2019"])));
        assert_eq!(naming.decode(b"iNbOx"), Ok(path(&["INBOX"])));
        assert!(naming.decode(b"Sent").is_err());
        assert!(naming.decode(b"INBOX.a..b").is_err());
        assert!(naming.decode(b"INBOX.inbox").is_err());
    }

    #[test]
    fn a_percent_sign_stops_at_the_delimiter() {
        assert!(matches(b"*", b"a/b", '/'));
        assert!(matches(b"%", b"a", '/'));
        assert!(!matches(b"%", b"a/b", '/'));
        assert!(matches(b"%/%", b"a/b", '/'));
        assert!(matches(b"a*c", b"abbc", '/'));
        assert!(!matches(b"a*c", b"abbd", '/'));
        assert!(!matches(b"", b"a", '/'));
        assert!(matches(b"***a", b"a", '/'));
    }
}
