//! What a read-back says of a copy.

use crate::fate::{Remark, RemarkKind};
use crate::history::Entry;
use crate::identity::Identity;
use crate::plan::settle::is_close;
use crate::target::Found;

/// What is to be said of a copy that was found with these attributes.
#[must_use]
pub fn judge(entry: &Entry, found: &Found) -> Vec<Remark> {
    let mut remarks = Vec::new();
    if let (Some(sent), stored) = (entry.date, found.date)
        && stored != Some(sent)
    {
        let stored = stored.map_or_else(|| "none".to_owned(), |date| date.to_string());
        let text = format!("sent {sent}, the target has {stored}");
        remarks.push(Remark::new(RemarkKind::DateAltered, text));
    }
    let reduced = entry.flags.missing_in(&found.flags);
    if !reduced.is_empty() {
        remarks.push(Remark::new(RemarkKind::FlagsReduced, reduced.join(" ")));
    }
    if found.size != entry.size {
        let text = format!("sent {} octets, the target has {}", entry.size, found.size);
        remarks.push(Remark::new(RemarkKind::BytesAltered, text));
    }
    remarks
}

/// Whether a body of another size is the copy of a message, as its server rewrote it.
#[must_use]
pub fn is_rewritten(entry: &Entry, size: u64, stored: &Identity) -> bool {
    // Without digests there is nothing to compare with: the size alone proves nothing.
    entry.digest.is_none_or(|(exact, headers)| {
        // All messages without the usual headers have one key: then the size must speak, too.
        let tells_apart = headers != Identity::of(b"").headers || is_close(entry.size, size);
        stored.exact == exact || (stored.headers == headers && tells_apart)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fate::Fate;
    use crate::mail::{Flags, InternalDate, Uid};

    fn entry() -> Entry {
        Entry {
            fate: Fate::Pending,
            target_uid: Some(Uid(7)),
            size: 10,
            date: Some(InternalDate::new(5, 0)),
            flags: Flags::parse(["\\Seen", "Work"]),
            digest: None,
            doubts: 0,
        }
    }

    fn found() -> Found {
        let entry = entry();
        Found { uid: Uid(7), size: entry.size, date: entry.date, flags: entry.flags }
    }

    fn kinds(remarks: &[Remark]) -> Vec<RemarkKind> {
        remarks.iter().map(|remark| remark.kind).collect()
    }

    #[test]
    fn an_equal_copy_needs_no_remark() {
        assert_eq!(judge(&entry(), &found()), []);
    }

    #[test]
    fn each_difference_has_its_remark() {
        let other = Found { size: 11, date: None, flags: Flags::parse(["\\Seen"]), ..found() };
        use RemarkKind::{BytesAltered, DateAltered, FlagsReduced};
        assert_eq!(kinds(&judge(&entry(), &other)), [DateAltered, FlagsReduced, BytesAltered]);
    }

    #[test]
    fn a_message_without_headers_is_not_every_other_one() {
        let identity = |body: &[u8]| Identity::of(body);
        let sent = |body: &[u8]| Entry {
            size: body.len() as u64,
            digest: Some((identity(body).exact, identity(body).headers)),
            ..entry()
        };
        let (bare, other) = ([b'x'; 6_000], b"no headers");
        assert!(!is_rewritten(&sent(&bare), 10, &identity(other)));
        assert!(is_rewritten(&sent(b"a\nb"), 4, &identity(b"a\r\nb")));
        let (short, long) = (b"Subject: a\r\n\r\nx", [b"Subject: a\r\n\r\n", &bare[..]].concat());
        assert!(is_rewritten(&sent(short), 6_014, &identity(&long)));
    }
}
