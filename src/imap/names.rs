//! Mailbox names on the wire: modified UTF-7 (RFC 3501 section 5.1.3), delimiters and prefixes.

use base64::Engine as _;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::mail::{MailboxPath, Namespace, WireName};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &IMAP_MUTF7,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// How a server builds mailbox names: the personal namespace of RFC 2342.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hierarchy {
    /// What every name but INBOX begins with, delimiter included: `INBOX.`, or nothing.
    pub prefix: Vec<u8>,
    /// What stands between levels; none where names are flat.
    pub delimiter: Option<u8>,
    /// Where other users' and shared mailboxes are.
    pub foreign: Vec<Foreign>,
}

/// A namespace that is not the account's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// What its names begin with, delimiter included.
    pub prefix: Vec<u8>,
    /// What stands between its levels.
    pub delimiter: Option<u8>,
    /// Whose mailboxes are in it.
    pub namespace: Namespace,
}

impl Foreign {
    /// How much of a name says that it is of this namespace; none where it is not.
    fn depth(&self, name: &WireName) -> Option<usize> {
        // `user.` stands for the mailbox `user` as well.
        let delimiter = self.delimiter.as_slice();
        let root = self.prefix.strip_suffix(delimiter).unwrap_or(&self.prefix);
        (name.0.starts_with(&self.prefix) || name.0 == root).then_some(self.prefix.len())
    }
}

impl Hierarchy {
    /// Whose a mailbox is.
    #[must_use]
    pub fn namespace(&self, name: &WireName) -> Namespace {
        self.foreign_of(name).map_or(Namespace::Personal, |foreign| foreign.namespace)
    }

    /// The namespace of a mailbox that is not the account's own: the one that says most of its name.
    fn foreign_of(&self, name: &WireName) -> Option<&Foreign> {
        let found = self.foreign.iter().filter_map(|one| Some((one.depth(name)?, one)));
        found.max_by_key(|(depth, _)| *depth).map(|(_, foreign)| foreign)
    }

    /// The paths below which mailboxes would be other users' or shared.
    #[must_use]
    pub fn foreign_roots(&self) -> Vec<MailboxPath> {
        let path = |foreign: &Foreign| {
            let delimiter = foreign.delimiter.as_slice();
            let root = foreign.prefix.strip_suffix(delimiter).unwrap_or(&foreign.prefix);
            self.path(&WireName(root.to_vec()))
        };
        let is_foreign = |path: &MailboxPath| {
            self.name(path).is_some_and(|name| self.foreign_of(&name).is_some())
        };
        self.foreign.iter().map(path).filter(is_foreign).collect()
    }

    /// The path of a name: prefix taken off, split at the delimiter, decoded. A level that is not
    /// modified UTF-7 stands as it is.
    #[must_use]
    pub fn path(&self, name: &WireName) -> MailboxPath {
        let delimiter = match self.foreign_of(name) {
            Some(foreign) => foreign.delimiter,
            None => self.delimiter,
        };
        let name = name.0.as_slice();
        if name.eq_ignore_ascii_case(b"INBOX") {
            return MailboxPath::inbox();
        }
        let bare = match name.get(..self.prefix.len()) {
            Some(start) if start.eq_ignore_ascii_case(&self.prefix) && name.len() > start.len() => {
                &name[start.len()..]
            }
            _ => name,
        };
        let levels: Vec<&[u8]> = match delimiter {
            Some(delimiter) => bare.split(|octet| *octet == delimiter).collect(),
            None => vec![bare],
        };
        MailboxPath::new(levels.into_iter().map(|level| {
            decode(level).unwrap_or_else(|| String::from_utf8_lossy(level).into_owned())
        }))
    }

    /// The name of a path, levels encoded, joined by the delimiter, prefix put on. None where a
    /// level cannot be written: it holds the delimiter, is empty, or there is no delimiter to join
    /// with.
    #[must_use]
    pub fn name(&self, path: &MailboxPath) -> Option<WireName> {
        if path.is_inbox() {
            return Some(WireName(b"INBOX".to_vec()));
        }
        let mut name = self.prefix.clone();
        for (depth, level) in path.names().iter().enumerate() {
            if depth > 0 {
                name.push(self.delimiter?);
            }
            let is_writable = !level.is_empty()
                && !self.delimiter.is_some_and(|d| level.as_bytes().contains(&d))
                && !level.contains(['\r', '\n', '\0']);
            is_writable.then(|| name.extend(encode(level).bytes()))?;
        }
        Some(WireName(name))
    }
}

/// Encodes as modified UTF-7.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    let mut shifted: Vec<u8> = Vec::new();
    for c in text.chars() {
        if matches!(c, ' '..='~') {
            end_shift(&mut encoded, &mut shifted);
            encoded.push(c);
            if c == '&' {
                encoded.push('-');
            }
        } else {
            let mut units = [0; 2];
            shifted.extend(c.encode_utf16(&mut units).iter().flat_map(|unit| unit.to_be_bytes()));
        }
    }
    end_shift(&mut encoded, &mut shifted);
    encoded
}

fn end_shift(encoded: &mut String, shifted: &mut Vec<u8>) {
    if !shifted.is_empty() {
        encoded.push('&');
        BASE64.encode_string(&shifted, encoded);
        encoded.push('-');
        shifted.clear();
    }
}

/// Decodes modified UTF-7; none unless encoding the result gives the very same octets, so that no
/// name is mistaken for another. Names with 8-bit octets are taken as UTF-8 (RFC 6855).
#[must_use]
pub fn decode(octets: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(octets).ok()?;
    if !text.is_ascii() {
        return Some(text.to_owned());
    }
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, shifted)) = rest.split_once('&') {
        decoded.push_str(plain);
        let (base64, after) = shifted.split_once('-')?;
        if base64.is_empty() {
            decoded.push('&');
        } else {
            let octets = BASE64.decode(base64).ok()?;
            if octets.len() % 2 != 0 {
                return None;
            }
            let units = octets.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            decoded.extend(char::decode_utf16(units).collect::<Result<String, _>>().ok());
        }
        rest = after;
    }
    decoded.push_str(rest);
    (encode(&decoded) == text).then_some(decoded)
}

/// A name as an argument of a command: a quoted string (RFC 9051 section 4.3). None where it holds
/// octets that a quoted string cannot.
#[must_use]
pub fn quoted(name: &WireName) -> Option<String> {
    quote(std::str::from_utf8(&name.0).ok()?)
}

/// Any text as a quoted string; none where it holds CR, LF or NUL.
#[must_use]
pub fn quote(text: &str) -> Option<String> {
    if text.contains(['\r', '\n', '\0']) {
        return None;
    }
    Some(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn courier() -> Hierarchy {
        Hierarchy { prefix: b"INBOX.".to_vec(), delimiter: Some(b'.'), ..Hierarchy::default() }
    }

    fn slashes() -> Hierarchy {
        Hierarchy { prefix: Vec::new(), delimiter: Some(b'/'), ..Hierarchy::default() }
    }

    #[test]
    fn the_example_of_the_rfc_is_decoded() {
        let name = b"~peter/mail/&U,BTFw-/&ZeVnLIqe-";
        assert_eq!(slashes().path(&WireName(name.to_vec())).to_string(), "~peter/mail/台北/日本語");
    }

    /// D05
    #[test]
    fn what_is_not_modified_utf7_is_not_decoded() {
        for name in ["&", "&abc", "&AGE-", "&!!!!-", "a&b&c-", "&2D0-", "&U,BTFw", "&AAA"] {
            assert_eq!(decode(name.as_bytes()), None, "{name}");
        }
        let odd = WireName(b"a&b".to_vec());
        assert_eq!(slashes().path(&odd).names(), ["a&b"]);
    }

    #[test]
    fn paths_change_prefix_and_delimiter() {
        let name = WireName(b"INBOX.Archive.2019".to_vec());
        let path = courier().path(&name);
        assert_eq!(path.to_string(), "Archive/2019");
        assert_eq!(slashes().name(&path), Some(WireName(b"Archive/2019".to_vec())));
        assert_eq!(courier().name(&path), Some(name));
        assert!(courier().path(&WireName(b"inbox".to_vec())).is_inbox());
    }

    #[test]
    fn a_level_that_holds_the_delimiter_has_no_name() {
        assert_eq!(courier().name(&MailboxPath::new(["a.b"])), None);
        assert_eq!(slashes().name(&MailboxPath::new(["a.b"])), Some(WireName(b"a.b".to_vec())));
        let flat = Hierarchy::default();
        assert_eq!(flat.name(&MailboxPath::new(["a", "b"])), None);
    }

    #[test]
    fn mailboxes_of_others_are_told_from_own_ones() {
        let foreign = |prefix: &str, delimiter, namespace| {
            let prefix = prefix.as_bytes().to_vec();
            Foreign { prefix, delimiter: Some(delimiter), namespace }
        };
        let foreign = vec![
            foreign("user.", b'.', Namespace::Others),
            foreign("#shared/", b'/', Namespace::Shared),
        ];
        let hierarchy = Hierarchy { foreign: foreign.clone(), ..courier() };
        let namespace = |name: &[u8]| hierarchy.namespace(&WireName(name.to_vec()));
        assert_eq!(namespace(b"user.joe"), Namespace::Others);
        assert_eq!(
            (namespace(b"#shared"), namespace(b"#shared/a")),
            (Namespace::Shared, Namespace::Shared)
        );
        for own in ["INBOX.user.joe", "users", "#shared.a"] {
            assert_eq!(namespace(own.as_bytes()), Namespace::Personal, "{own}");
        }
        let path = |name: &[u8]| hierarchy.path(&WireName(name.to_vec())).to_string();
        assert_eq!(
            (path(b"user.joe.Sent"), path(b"#shared/a")),
            ("user/joe/Sent".into(), "#shared/a".into())
        );
        // Below the prefix of the own ones, nothing is another's.
        assert!(hierarchy.foreign_roots().is_empty());
        let roots = Hierarchy { foreign, ..slashes() }.foreign_roots();
        assert_eq!(roots, [MailboxPath::new(["user"]), MailboxPath::new(["#shared"])]);
    }

    #[test]
    fn quotes_and_backslashes_are_escaped_and_line_ends_refused() {
        let name = WireName(br#"a"b\c"#.to_vec());
        assert_eq!(quoted(&name).as_deref(), Some(r#""a\"b\\c""#));
        assert_eq!(quoted(&WireName(b"a\r\nb".to_vec())), None);
    }

    proptest! {
        #[test]
        fn encoding_round_trips(text in "\\PC{0,20}") {
            let encoded = encode(&text);
            prop_assert!(encoded.is_ascii());
            prop_assert_eq!(decode(encoded.as_bytes()), Some(text));
        }

        #[test]
        fn decoding_anything_is_harmless_and_exact(octets in prop::collection::vec(any::<u8>(), 0..20)) {
            if let Some(text) = decode(&octets) && octets.is_ascii() {
                prop_assert_eq!(encode(&text).into_bytes(), octets);
            }
        }
    }
}
