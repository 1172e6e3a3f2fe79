//! How a mailbox is scanned: in ranges of UIDs, every message counted once over all passes.

use std::ops::RangeInclusive;

use crate::fault::Fault;
use crate::history::History;
use crate::ledger::{BoundMailbox, Ledger, MailboxId, ScanTotals, Watermark};
use crate::mail::{MessageInfo, Uid};
use crate::source::Opened;

/// Counts every message ever seen in a mailbox.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Census {
    /// What earlier scans counted.
    pub(super) known: ScanTotals,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    /// Those of them that the source lists now, as far as it was asked.
    pub(super) listed: u64,
    /// Those of them that earlier scans have counted.
    known_messages: u64,
}

impl Census {
    /// A count that begins, after what earlier scans counted: at the first message, or at the
    /// watermark, below which everything is counted.
    pub(super) fn after(known: ScanTotals, mark: Option<&Watermark>) -> Self {
        let counted = mark.map_or_else(ScanTotals::default, |mark| mark.counted);
        let messages = counted.messages.saturating_sub(counted.vanished);
        let (bytes, known_messages) = (counted.bytes, messages);
        Self { known, messages, bytes, listed: 0, known_messages }
    }

    /// Counts a part: what is there, and what the ledger knows though it is not there any more.
    pub(super) fn count(&mut self, scan: &[MessageInfo], history: &History) {
        self.listed += scan.len() as u64;
        let left = history
            .iter()
            .filter(|(uid, _)| scan.binary_search_by_key(uid, |info| info.uid).is_err())
            .map(|(uid, entry)| (uid, entry.size));
        for (uid, size) in scan.iter().map(|info| (info.uid, info.size)).chain(left) {
            self.messages += 1;
            self.bytes += size;
            self.known_messages += u64::from(uid.0 < self.known.uid_next);
        }
    }

    /// The totals after a whole scan: what earlier scans counted and is nowhere now has vanished.
    pub(super) fn totals(&self, uid_next: Uid) -> ScanTotals {
        let ScanTotals { messages, vanished, uid_next: known_next, .. } = self.known;
        let newly = if known_next == 0 {
            0
        } else {
            (messages - vanished).saturating_sub(self.known_messages)
        };
        let vanished = vanished + newly;
        ScanTotals {
            messages: self.messages + vanished,
            bytes: self.bytes,
            vanished,
            uid_next: uid_next.0,
        }
    }
}

/// What the ledger has counted of a mailbox.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noted {
    pub(super) mailbox: MailboxId,
    pub(super) totals: ScanTotals,
}

impl Noted {
    /// Notes what is known to be there at least, so that a run that ends early knows what it leaves. What
    /// gets a fate before a scan has counted it is noted first.
    pub(super) async fn at_least<L: Ledger>(
        &mut self,
        ledger: &L,
        messages: u64,
        bytes: u64,
    ) -> Result<(), Fault> {
        let so_far = ScanTotals {
            messages: self.totals.messages.max(messages),
            bytes: self.totals.bytes.max(bytes),
            ..self.totals
        };
        if so_far == self.totals {
            return Ok(());
        }
        // Not a whole scan: what is missing in it has not vanished.
        self.totals = ScanTotals { uid_next: 0, ..so_far };
        ledger.scanned(self.mailbox, self.totals).await
    }
}

/// Ranges of UIDs with about so many messages each, from the first UID to the last.
pub(super) struct Ranges {
    next: Option<Uid>,
    last: Uid,
    span: u32,
}

impl Ranges {
    pub(super) fn new(uid_next: Uid, messages: u64, messages_max: u32) -> Self {
        Self::between(Uid::FIRST, uid_next, messages, messages_max)
    }

    /// From one UID on, to below another.
    pub(super) fn between(first: Uid, end: Uid, messages: u64, messages_max: u32) -> Self {
        let last = Uid(end.0.saturating_sub(1));
        let uids = u64::from(end.0.saturating_sub(first.0));
        let parts = messages.div_ceil(u64::from(messages_max)).max(1);
        let span = uids.div_ceil(parts).max(u64::from(messages_max).min(uids));
        let span = u32::try_from(span).unwrap_or(u32::MAX).max(1);
        Self { next: (first <= last).then_some(first), last, span }
    }
}

/// The UIDs of a source mailbox of which the ledger may know something, in parts of about so many messages:
/// as they were counted when it was scanned, or are now if it is `opened`. Where it is not, what is beyond
/// comes as one more part: of a scan that was broken off only its messages may be known.
pub(super) fn known(
    mailbox: &BoundMailbox,
    opened: Option<&Opened>,
    messages_max: u32,
) -> impl Iterator<Item = RangeInclusive<Uid>> + use<> {
    let next = mailbox.scan.uid_next.max(mailbox.watermark.map_or(1, |mark| mark.uid_next.0));
    let next = Uid(next).max(opened.map_or(Uid::FIRST, |opened| opened.uid_next));
    let messages = mailbox.scan.messages.max(opened.map_or(0, |opened| opened.messages));
    let beyond = opened.is_none().then_some(next..=Uid(u32::MAX));
    Ranges::new(next, messages, messages_max).chain(beyond)
}

/// The UID that the next message of an open mailbox gets at least. A server that tells none is asked for its
/// last message, above which others may have been, and been copied. Where these are gone, fewer are there than
/// were counted.
pub(super) async fn uid_next<L: Ledger>(
    ledger: &L,
    mailbox: &BoundMailbox,
    opened: &Opened,
) -> Result<Uid, Fault> {
    if mailbox.scan.messages <= opened.messages {
        return Ok(opened.uid_next);
    }
    let above = ledger.history(mailbox.id, opened.uid_next..=Uid(u32::MAX)).await?;
    Ok(above.iter().last().map_or(opened.uid_next, |(uid, _)| uid.next()))
}

impl Iterator for Ranges {
    type Item = RangeInclusive<Uid>;

    fn next(&mut self) -> Option<Self::Item> {
        let low = self.next?;
        let high = Uid(low.0.saturating_add(self.span - 1)).min(self.last);
        self.next = (high < self.last).then(|| high.next());
        Some(low..=high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Binding, MailboxId};
    use crate::mail::{Flags, MailboxPath, UidValidity, WireName};

    fn ranges(uid_next: u32, messages: u64) -> Vec<(u32, u32)> {
        Ranges::new(Uid(uid_next), messages, 100).map(|r| (r.start().0, r.end().0)).collect()
    }

    #[test]
    fn ranges_cover_every_uid_once() {
        assert_eq!(ranges(1, 0), []);
        assert_eq!(ranges(2, 1), [(1, 1)]);
        assert_eq!(ranges(251, 250), [(1, 100), (101, 200), (201, 250)]);
        assert_eq!(ranges(u32::MAX, 10), [(1, u32::MAX - 1)]);
        assert_eq!(ranges(1_000_001, 200), [(1, 500_000), (500_001, 1_000_000)]);
    }

    #[test]
    fn what_is_known_of_a_large_mailbox_comes_in_small_parts_and_whatever_is_beyond() {
        let wire = || WireName(b"INBOX".to_vec());
        let binding = Binding {
            source_name: wire(),
            source_path: MailboxPath::inbox(),
            source_validity: UidValidity(1),
            target_name: wire(),
            target_path: MailboxPath::inbox(),
            target_validity: None,
        };
        let mailbox = BoundMailbox {
            id: MailboxId(1),
            binding,
            fixed: true,
            scan: ScanTotals { messages: 250, bytes: 0, vanished: 0, uid_next: 251 },
            target_uid_next: Uid::FIRST,
            watermark: None,
        };
        let parts = |opened: Option<&Opened>| -> Vec<(u32, u32)> {
            known(&mailbox, opened, 100).map(|part| (part.start().0, part.end().0)).collect()
        };
        assert_eq!(parts(None), [(1, 100), (101, 200), (201, 250), (251, u32::MAX)]);
        let (uid_next, messages) = (Uid(302), 10);
        let grown = Opened { uid_validity: None, uid_next, messages, highest_modseq: None };
        assert_eq!(parts(Some(&grown)), [(1, 101), (102, 202), (203, 301)]);
    }

    fn message(uid: u32) -> MessageInfo {
        MessageInfo { uid: Uid(uid), size: 10, date: None, flags: Flags::default() }
    }

    #[test]
    fn what_was_counted_once_and_is_nowhere_has_vanished() {
        let known = ScanTotals { messages: 5, bytes: 50, vanished: 1, uid_next: 6 };
        let mut census = Census::after(known, None);
        census.count(&[message(1), message(4), message(6)], &History::default());
        let totals = census.totals(Uid(7));
        assert_eq!(totals, ScanTotals { messages: 6, bytes: 30, vanished: 3, uid_next: 7 });
    }
}
