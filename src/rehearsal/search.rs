//! SEARCH, by the keys a copier and a curious user need.

use std::ops::RangeInclusive;

use imap_codec::imap_types::search::SearchKey;
use memchr::memmem;

use super::command::Set;
use super::fetch::header_bytes;
use super::mailbox::{StoredMessage, has_flag};
use super::session::{Handled, Reply, Session};

/// The messages of a session's view that are still there, by number.
struct Candidates<'a> {
    messages: Vec<(u32, &'a StoredMessage)>,
    last_number: u32,
    last_uid: u32,
}

impl Session {
    pub(super) fn search(&mut self, keys: &[SearchKey<'_>], uid: bool) -> Handled {
        let found = self.on_selected(|selected, mailbox| {
            let held = |(number, uid): (u32, &u32)| Some((number, mailbox.messages.get(uid)?));
            let candidates = Candidates {
                messages: (1..).zip(&selected.view).filter_map(held).collect(),
                last_number: u32::try_from(selected.view.len()).unwrap_or(u32::MAX),
                last_uid: selected.view.last().copied().unwrap_or(0),
            };
            let marks = candidates.all(keys)?;
            let mut found = String::new();
            for ((number, message), _) in candidates.messages.iter().zip(marks).filter(|one| one.1)
            {
                found.push_str(&format!(" {}", if uid { message.uid } else { *number }));
            }
            Ok::<_, Reply>(found)
        })??;
        self.wire.put_line(format_args!("* SEARCH{found}"));
        Ok(Reply::ok("searched"))
    }
}

impl Candidates<'_> {
    /// Marks the messages that fit all keys.
    fn all(&self, keys: &[SearchKey<'_>]) -> Result<Vec<bool>, Reply> {
        let mut marks = vec![true; self.messages.len()];
        for key in keys {
            for (mark, fits) in marks.iter_mut().zip(self.marks(key)?) {
                *mark &= fits;
            }
        }
        Ok(marks)
    }

    /// Marks the messages that fit a key.
    fn marks(&self, key: &SearchKey<'_>) -> Result<Vec<bool>, Reply> {
        let each = |fits: &dyn Fn(&StoredMessage) -> bool| {
            self.messages.iter().map(|(_, message)| fits(message)).collect()
        };
        let flag = |name: &str| each(&|message| has_flag(message, name));
        let no_flag = |name: &str| each(&|message| !has_flag(message, name));
        let field = |name: &[u8], text: &[u8]| each(&|message| header(message, name, text));
        Ok(match key {
            SearchKey::All | SearchKey::Old => each(&|_| true),
            SearchKey::New | SearchKey::Recent => each(&|_| false),
            SearchKey::And(keys) => self.all(keys.as_ref())?,
            SearchKey::Or(one, other) => {
                let both = self.marks(one)?.into_iter().zip(self.marks(other)?);
                both.map(|(one, other)| one || other).collect()
            }
            SearchKey::Not(key) => self.marks(key)?.into_iter().map(|mark| !mark).collect(),
            SearchKey::SequenceSet(set) => {
                let ranges = Set::of(set).ranges(self.last_number);
                self.messages.iter().map(|(number, _)| within(&ranges, *number)).collect()
            }
            SearchKey::Uid(set) => {
                let ranges = Set::of(set).ranges(self.last_uid);
                each(&|message| within(&ranges, message.uid))
            }
            SearchKey::Answered => flag("\\Answered"),
            SearchKey::Deleted => flag("\\Deleted"),
            SearchKey::Draft => flag("\\Draft"),
            SearchKey::Flagged => flag("\\Flagged"),
            SearchKey::Seen => flag("\\Seen"),
            SearchKey::Unanswered => no_flag("\\Answered"),
            SearchKey::Undeleted => no_flag("\\Deleted"),
            SearchKey::Undraft => no_flag("\\Draft"),
            SearchKey::Unflagged => no_flag("\\Flagged"),
            SearchKey::Unseen => no_flag("\\Seen"),
            SearchKey::Keyword(name) => flag(name.as_ref()),
            SearchKey::Unkeyword(name) => no_flag(name.as_ref()),
            SearchKey::Larger(bytes) => each(&|message| message.body.len() > *bytes as usize),
            SearchKey::Smaller(bytes) => each(&|message| message.body.len() < *bytes as usize),
            SearchKey::ModSequence { modseq, .. } => each(&|message| message.modseq >= *modseq),
            SearchKey::Text(text) => each(&|message| contains(&message.body, text.as_ref())),
            SearchKey::Body(text) => each(&|message| {
                contains(&message.body[header_bytes(&message.body)..], text.as_ref())
            }),
            SearchKey::Subject(text) => field(b"Subject", text.as_ref()),
            SearchKey::From(text) => field(b"From", text.as_ref()),
            SearchKey::To(text) => field(b"To", text.as_ref()),
            SearchKey::Cc(text) => field(b"Cc", text.as_ref()),
            SearchKey::Bcc(text) => field(b"Bcc", text.as_ref()),
            SearchKey::Header(name, text) => field(name.as_ref(), text.as_ref()),
            _ => return Err(Reply::no("[CANNOT] search key is not supported")),
        })
    }
}

/// Says whether a header field contains a text, whatever the case.
fn header(message: &StoredMessage, name: &[u8], text: &[u8]) -> bool {
    let header = &message.body[..header_bytes(&message.body)];
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

fn within(ranges: &[RangeInclusive<u32>], number: u32) -> bool {
    let before = ranges.partition_point(|range| *range.end() < number);
    ranges.get(before).is_some_and(|range| range.contains(&number))
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
            Message { flags: vec!["work".to_owned()], ..Message::new("\r\nx") },
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
        assert_eq!(client.all("SEARCH UID 3").await, "* SEARCH 2\nOK searched\n");
        assert!(client.last("SEARCH SINCE 1-Jan-2020").await.starts_with("NO [CANNOT]"));
    }
}
