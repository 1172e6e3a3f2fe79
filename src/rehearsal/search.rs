//! SEARCH, by the keys a copier and a curious user need.

use imap_codec::imap_types::search::SearchKey;
use memchr::memmem;

use super::command::Set;
use super::fetch::{header_bytes, unseen};
use super::mailbox::{StoredMessage, has_flag};
use super::session::{Handled, Reply, Session};

/// One message as the keys see it, and what `*` means.
struct Candidate<'a> {
    number: u32,
    message: &'a StoredMessage,
    last_number: u32,
    last_uid: u32,
}

impl Session {
    pub(super) fn search(&mut self, keys: &[SearchKey<'_>], uid: bool) -> Handled {
        let found = self.on_selected(|selected, mailbox| {
            let last_uid = selected.view.last().copied().unwrap_or(0);
            let last_number = u32::try_from(selected.view.len()).unwrap_or(u32::MAX);
            let mut found = String::new();
            for (number, uid_of) in (1..).zip(&selected.view) {
                let Some(message) = mailbox.messages.get(uid_of) else {
                    continue;
                };
                let candidate = Candidate {
                    number,
                    message,
                    last_number,
                    last_uid,
                };
                let mut fits = true;
                for key in keys {
                    fits = fits && candidate.fits(key)?;
                }
                if fits {
                    found.push_str(&format!(" {}", if uid { *uid_of } else { number }));
                }
            }
            Ok::<_, Reply>(found)
        })??;
        self.wire.put_line(format_args!("* SEARCH{found}"));
        Ok(Reply::ok("searched"))
    }
}

impl Candidate<'_> {
    fn fits(&self, key: &SearchKey<'_>) -> Result<bool, Reply> {
        let flag = |name: &str| has_flag(self.message, name);
        let size = self.message.body.len() as u64;
        Ok(match key {
            SearchKey::All | SearchKey::Old => true,
            SearchKey::New | SearchKey::Recent => false,
            SearchKey::And(keys) => {
                for key in keys.as_ref() {
                    if !self.fits(key)? {
                        return Ok(false);
                    }
                }
                true
            }
            SearchKey::Or(one, other) => self.fits(one)? || self.fits(other)?,
            SearchKey::Not(key) => !self.fits(key)?,
            SearchKey::SequenceSet(set) => within(&Set::of(set), self.last_number, self.number),
            SearchKey::Uid(set) => within(&Set::of(set), self.last_uid, self.message.uid),
            SearchKey::Answered => flag("\\Answered"),
            SearchKey::Deleted => flag("\\Deleted"),
            SearchKey::Draft => flag("\\Draft"),
            SearchKey::Flagged => flag("\\Flagged"),
            SearchKey::Seen => flag("\\Seen"),
            SearchKey::Unanswered => !flag("\\Answered"),
            SearchKey::Undeleted => !flag("\\Deleted"),
            SearchKey::Undraft => !flag("\\Draft"),
            SearchKey::Unflagged => !flag("\\Flagged"),
            SearchKey::Unseen => unseen(self.message),
            SearchKey::Keyword(name) => flag(name.as_ref()),
            SearchKey::Unkeyword(name) => !flag(name.as_ref()),
            SearchKey::Larger(bytes) => size > u64::from(*bytes),
            SearchKey::Smaller(bytes) => size < u64::from(*bytes),
            SearchKey::ModSequence { modseq, .. } => self.message.modseq >= *modseq,
            SearchKey::Text(text) => contains(&self.message.body, text.as_ref()),
            SearchKey::Body(text) => contains(
                &self.message.body[header_bytes(&self.message.body)..],
                text.as_ref(),
            ),
            SearchKey::Subject(text) => self.header(b"Subject", text.as_ref()),
            SearchKey::From(text) => self.header(b"From", text.as_ref()),
            SearchKey::To(text) => self.header(b"To", text.as_ref()),
            SearchKey::Cc(text) => self.header(b"Cc", text.as_ref()),
            SearchKey::Bcc(text) => self.header(b"Bcc", text.as_ref()),
            SearchKey::Header(name, text) => self.header(name.as_ref(), text.as_ref()),
            _ => return Err(Reply::no("[CANNOT] search key is not supported")),
        })
    }

    /// Says whether a header field contains a text, whatever the case.
    fn header(&self, name: &[u8], text: &[u8]) -> bool {
        let header = &self.message.body[..header_bytes(&self.message.body)];
        let mut value: Option<Vec<u8>> = None;
        for line in header.split_inclusive(|byte| *byte == b'\n') {
            let folded = line.starts_with(b" ") || line.starts_with(b"\t");
            match &mut value {
                Some(value) if folded => value.extend_from_slice(line),
                _ => {
                    if value.take().is_some_and(|value| contains(&value, text)) {
                        return true;
                    }
                    let colon = memchr::memchr(b':', line);
                    let named =
                        colon.filter(|at| line[..*at].trim_ascii_end().eq_ignore_ascii_case(name));
                    value = named.map(|at| line[at + 1..].to_vec());
                }
            }
        }
        value.is_some_and(|value| contains(&value, text))
    }
}

fn within(set: &Set, last: u32, number: u32) -> bool {
    set.ranges(last).iter().any(|range| range.contains(&number))
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    memmem::find(&text.to_ascii_lowercase(), &wanted.to_ascii_lowercase()).is_some()
}

#[cfg(test)]
mod tests {
    use crate::rehearsal::transcript::ann;
    use crate::rehearsal::{Message, Profile};

    #[tokio::test]
    async fn keys_narrow_each_other_down() {
        let (_, store, mut client) = ann(Profile::plain()).await;
        let flags = vec!["\\Seen".to_owned(), "work".to_owned()];
        let mail = Message::new("Message-ID:\r\n <A@x>\r\n\r\nbody");
        store.deliver(&["INBOX"], Message { flags, ..mail });
        store.deliver(&["INBOX"], Message::new("Message-ID: <b@x>\r\n\r\nother"));
        store.expunge(&["INBOX"], 1);
        store.deliver(
            &["INBOX"],
            Message {
                flags: vec!["work".to_owned()],
                ..Message::new("\r\nx")
            },
        );
        client.all("SELECT INBOX").await;
        for (keys, found) in [
            ("ALL", " 2 3"),
            ("UID 3:*", " 3"),
            ("UNSEEN KEYWORD work", " 3"),
            ("HEADER Message-ID <B@X>", " 2"),
            ("NOT BODY other", " 3"),
            ("OR LARGER 20 2", " 2 3"),
            ("SEEN", ""),
        ] {
            let told = client.all(format!("UID SEARCH {keys}")).await;
            assert_eq!(told, format!("* SEARCH{found}\nOK searched\n"), "{keys}");
        }
        assert_eq!(
            client.all("SEARCH UID 3").await,
            "* SEARCH 2\nOK searched\n"
        );
        assert!(
            client
                .last("SEARCH SINCE 1-Jan-2020")
                .await
                .starts_with("NO [CANNOT]")
        );
    }
}
