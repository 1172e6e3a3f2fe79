//! What a read-back says of a copy, and how closely it has to look.

use std::collections::{BTreeMap, BTreeSet};

use crate::fate::{Remark, RemarkKind};
use crate::history::{Changed, Dated, Entry};
use crate::identity::{Digest, HeaderKeys, Identity};
use crate::mail::{InternalDate, Uid};
use crate::plan::settle::is_close;
use crate::target::Found;

/// How closely a message at the UID that the target told must be looked at before it is believed to
/// be the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// Size and date are its own, and no other message's.
    Attributes,
    /// Its header lines must be equal, too.
    Headers,
    /// Its digest must be equal.
    Body,
}

/// The sizes, dates and digests of all messages that were sent and not seen yet, to see which can be
/// mixed up.
#[derive(Debug, Clone, Default)]
pub struct Outlines {
    by_attributes: BTreeMap<(u64, Option<i64>), u32>,
    by_headers: BTreeMap<(u64, u64), Option<Digest>>,
    /// By header lines alone.
    namesakes: BTreeMap<u64, u32>,
    exact: BTreeSet<Digest>,
}

impl Outlines {
    /// Notes messages.
    #[must_use]
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut outlines = Self::default();
        for entry in entries {
            let attributes = (entry.size, entry.date.map(InternalDate::seconds));
            *outlines.by_attributes.entry(attributes).or_default() += 1;
            if let Some((exact, headers)) = entry.digest {
                let known = outlines.by_headers.entry((entry.size, headers)).or_insert(Some(exact));
                *known = known.filter(|digest| *digest == exact);
                *outlines.namesakes.entry(headers).or_default() += 1;
                outlines.exact.insert(exact);
            }
        }
        outlines
    }

    /// How closely to look at what was found where the copy of `entry` should be. Some servers tell
    /// a UID that is another message's.
    #[must_use]
    pub fn evidence(&self, entry: &Entry, found: &Found) -> Evidence {
        let attributes = (entry.size, entry.date.map(InternalDate::seconds));
        let is_like = found.date == entry.date && found.flags == entry.flags;
        if found.size != entry.size {
            Evidence::Body
        } else if is_like && self.by_attributes.get(&attributes) == Some(&1) {
            Evidence::Attributes
        } else {
            Evidence::Headers
        }
    }

    /// Whether equal header lines prove that it is the copy of `entry`.
    #[must_use]
    pub fn headers_prove(&self, entry: &Entry, stored: u64) -> bool {
        entry.digest.is_some_and(|(_, headers)| {
            headers == stored
                && HeaderKeys::tells(headers)
                && self.by_headers.get(&(entry.size, headers)).copied().flatten().is_some()
        })
    }

    /// Whether a body that stands where the target told is the copy of a message, as it was sent or
    /// as its server rewrote it.
    #[must_use]
    pub fn is_copy(
        &self,
        entry: &Entry,
        sent: Option<&Identity>,
        size: u64,
        stored: &Identity,
    ) -> bool {
        // Without digests there is nothing to compare with: then the size must do.
        let Some((exact, headers)) = entry.digest else {
            return size == entry.size;
        };
        if stored.exact == exact || sent.is_some_and(|sent| sent.folded == stored.folded) {
            return true;
        }
        // Where others have the same header lines (all have that have none of the usual ones), the size
        // must speak, too; and it is no copy of another's.
        let has_namesakes = !HeaderKeys::tells(headers)
            || self.namesakes.get(&headers).is_some_and(|count| *count > 1);
        let tells_apart =
            !self.exact.contains(&stored.exact) && (!has_namesakes || is_close(entry.size, size));
        stored.headers == headers && tells_apart
    }
}

/// What is to be said of a copy that was found with these attributes, and with these digests if its
/// body was read.
#[must_use]
pub fn judge(entry: &Entry, found: &Found, stored: Option<&Identity>) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let told = |date: Option<InternalDate>| date.map_or("none".to_owned(), |date| date.to_string());
    if found.date != entry.date {
        let text = format!("sent {}, the target has {}", told(entry.date), told(found.date));
        remarks.push(Remark::new(RemarkKind::DateAltered, text));
    }
    let reduced = entry.flags.missing_in(&found.flags);
    if !reduced.is_empty() {
        remarks.push(Remark::new(RemarkKind::FlagsReduced, reduced.join(" ")));
    }
    // Some servers tell a size that is not the body's (RFC822.SIZE of a mail they rewrite when they
    // serve it): the digest has the last word.
    let is_exact = entry.digest.zip(stored).map(|((exact, _), stored)| exact == stored.exact);
    if is_exact == Some(false) || (is_exact.is_none() && found.size != entry.size) {
        let text = if found.size == entry.size {
            "as many octets, and not the same".to_owned()
        } else {
            format!("sent {} octets, the target has {}", entry.size, found.size)
        };
        remarks.push(Remark::new(RemarkKind::BytesAltered, text));
    }
    if let Some(Changed { repairs, dated, date, .. }) = entry.changed.as_deref().copied() {
        if !repairs.is_empty() {
            remarks.push(Remark::new(RemarkKind::Repaired, repairs.to_string()));
        }
        if let Some(dated) = dated {
            let field = match dated {
                Dated::Received => "Received",
                Dated::Date => "Date",
            };
            let text =
                format!("the source has {}; sent {} by {field}", told(date), told(entry.date));
            remarks.push(Remark::new(RemarkKind::DateReplaced, text));
        }
    }
    remarks
}

/// Whether a copy of so many octets is one of the sample of which every octet is compared: one in a hundred, the same
/// ones in every run, and none that is large.
#[must_use]
pub fn is_sampled(size: u64, exact: Digest) -> bool {
    const SAMPLED_BYTES_MAX: u64 = 1024 * 1024;
    size <= SAMPLED_BYTES_MAX && exact.0[0].is_multiple_of(100) && exact.0[1] < 0xd5
}

/// The lowest UID that no copy of what comes next can have, when all of these were seen.
#[must_use]
pub fn next_after(lo: Uid, seen: impl IntoIterator<Item = Uid>) -> Uid {
    seen.into_iter().map(Uid::next).fold(lo, Uid::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fate::Fate;
    use crate::history::Troubles;
    use crate::mail::Flags;

    fn entry() -> Entry {
        Entry {
            fate: Fate::Pending,
            target_uid: Some(Uid(7)),
            size: 10,
            date: Some(InternalDate::new(5, 0)),
            flags: Flags::parse(["\\Seen", "Work"]),
            digest: None,
            changed: None,
            troubles: Troubles::default(),
            risky: false,
        }
    }

    fn sent(body: &[u8]) -> Entry {
        let identity = Identity::of(body);
        let digest = Some((identity.exact, identity.headers));
        Entry { size: body.len() as u64, digest, ..entry() }
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
        assert_eq!(judge(&entry(), &found(), None), []);
    }

    #[test]
    fn each_difference_has_its_remark() {
        let other = Found { size: 11, date: None, flags: Flags::parse(["\\Seen"]), ..found() };
        use RemarkKind::{BytesAltered, DateAltered, FlagsReduced};
        assert_eq!(
            kinds(&judge(&entry(), &other, None)),
            [DateAltered, FlagsReduced, BytesAltered]
        );
    }

    #[test]
    fn the_digest_has_the_last_word_on_the_octets() {
        let entry = sent(b"Subject: a\r\n\r\n");
        let told = |size| Found { size, ..found() };
        let (same, other) =
            (Identity::of(b"Subject: a\r\n\r\n"), Identity::of(b"Subject: b\r\n\r\n"));
        assert_eq!(judge(&entry, &told(99), Some(&same)), []);
        assert_eq!(
            kinds(&judge(&entry, &told(entry.size), Some(&other))),
            [RemarkKind::BytesAltered]
        );
    }

    #[test]
    fn a_copy_is_looked_at_as_closely_as_it_can_be_mixed_up() {
        let (one, two) = (sent(b"Subject: a\r\n\r\n1"), sent(b"Subject: a\r\n\r\n2"));
        let found = |entry: &Entry| Found { size: entry.size, ..found() };
        let alone = Outlines::of([&one]);
        assert_eq!(alone.evidence(&one, &found(&one)), Evidence::Attributes);
        let later = Found { date: None, ..found(&one) };
        let flagged = Found { flags: Flags::parse(["\\Flagged"]), ..found(&one) };
        assert_eq!(alone.evidence(&one, &flagged), Evidence::Headers);
        assert_eq!(alone.evidence(&one, &later), Evidence::Headers);
        let larger = Found { size: 99, ..found(&one) };
        assert_eq!(alone.evidence(&one, &larger), Evidence::Body);
        let both = Outlines::of([&one, &two]);
        assert_eq!(both.evidence(&one, &found(&one)), Evidence::Headers);
        let headers = Identity::of(b"Subject: a\r\n\r\n").headers;
        assert!(alone.headers_prove(&one, headers));
        assert!(!both.headers_prove(&one, headers), "which of both it is only the body tells");
        assert!(Outlines::of([&one, &one]).headers_prove(&one, headers), "twins are exchangeable");
    }

    #[test]
    fn a_message_without_headers_is_not_every_other_one() {
        let is_copy = |sent_body: &[u8], stored: &[u8], others: &[&[u8]]| {
            let entry = sent(sent_body);
            let others: Vec<Entry> = others.iter().map(|other| sent(other)).collect();
            let outlines = Outlines::of([&entry].into_iter().chain(&others));
            let identity = Identity::of(sent_body);
            outlines.is_copy(&entry, Some(&identity), stored.len() as u64, &Identity::of(stored))
        };
        let bare = [b'x'; 6_000];
        assert!(!is_copy(&bare, b"no headers", &[]));
        assert!(is_copy(b"a\nb", b"a\r\nb", &[]));
        assert!(!is_copy(b"no header 3", b"no header 7", &[b"no header 7"]));
        let (short, long) = (b"Subject: a\r\n\r\nx", [b"Subject: a\r\n\r\n", &bare[..]].concat());
        assert!(is_copy(short, &long, &[]));
        // A target that tells one's UID for the other's.
        assert!(!is_copy(short, &long, &[&long]));
        assert!(!is_copy(short, &long, &[b"Subject: a\r\n\r\nyy"]));
    }

    #[test]
    fn about_one_in_a_hundred_is_sampled() {
        let exact = |n: u32| Identity::of(&n.to_be_bytes()).exact;
        let sampled = (0..20_000).filter(|n| is_sampled(4, exact(*n))).count();
        assert!((120..300).contains(&sampled), "{sampled} of 20000");
    }
}
