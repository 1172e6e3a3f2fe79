//! What of a source mailbox a pass must look at again.

use super::filter::Filter;
use crate::ledger::Watermark;
use crate::mail::{MailboxStatus, UidValidity};
use crate::source::Opened;

/// From where a pass may go on instead of looking at everything: below the watermark's UIDNEXT all
/// is settled, and only flags can have changed, which the source tells. `follow` is whether these
/// matter for copies. What was left out there is still left out by the same filter, unless that is by
/// flags which have changed.
#[must_use]
pub fn resumes(
    mark: Option<Watermark>,
    opened: &Opened,
    follow: bool,
    filter: &Filter,
) -> Option<Watermark> {
    mark.filter(|mark| {
        let follow = follow || is_left_out_by_flags(mark, filter);
        let tells_changes = match (mark.modseq, opened.highest_modseq) {
            (Some(then), Some(now)) => now >= then,
            _ => false,
        };
        let new = u64::from(opened.uid_next.0.saturating_sub(mark.uid_next.0));
        // Mail that has come back below the watermark was never looked at.
        let may_be_back = opened.messages > mark.listed + new;
        opened.uid_next >= mark.uid_next
            && !may_be_back
            && (tells_changes || !follow)
            && leaves_out_the_same(mark, filter)
    })
}

/// Whether nothing can have happened in a mailbox since its watermark, so that it need not even be
/// opened.
#[must_use]
pub fn is_unchanged(
    mark: &Watermark,
    validity: UidValidity,
    status: &MailboxStatus,
    follow: bool,
    filter: &Filter,
) -> bool {
    let follow = follow || is_left_out_by_flags(mark, filter);
    status.uid_validity == Some(validity)
        && status.uid_next == Some(mark.uid_next)
        && status.messages == mark.listed
        && (!follow || (mark.modseq.is_some() && status.highest_modseq == mark.modseq))
        && leaves_out_the_same(mark, filter)
}

fn leaves_out_the_same(mark: &Watermark, filter: &Filter) -> bool {
    mark.filter.is_none_or(|then| then == filter.digest())
}

fn is_left_out_by_flags(mark: &Watermark, filter: &Filter) -> bool {
    mark.filter.is_some() && filter.asks_for_flags()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::ScanTotals;
    use crate::mail::Uid;

    const MARK: Watermark = Watermark {
        uid_next: Uid(10),
        modseq: Some(5),
        listed: 7,
        counted: ScanTotals { messages: 9, bytes: 90, vanished: 1, uid_next: 10 },
        filter: None,
    };

    fn opened(uid_next: u32, highest_modseq: Option<u64>) -> Opened {
        Opened { uid_validity: None, uid_next: Uid(uid_next), messages: 7, highest_modseq }
    }

    #[test]
    fn a_pass_goes_on_from_the_watermark_where_the_source_tells_what_changed() {
        let filter = Filter::default();
        let resumes = |opened: Opened| resumes(Some(MARK), &opened, true, &filter).is_some();
        assert!(resumes(opened(10, Some(5))));
        assert!(resumes(opened(12, Some(9))));
        // Not the mailbox it was, or none that tells.
        assert!(!resumes(opened(9, Some(9))));
        assert!(!resumes(opened(12, Some(4))));
        assert!(!resumes(opened(12, None)));
        assert!(resumes(Opened { messages: 9, ..opened(12, Some(9)) }));
        assert!(
            !resumes(Opened { messages: 10, ..opened(12, Some(9)) }),
            "one more than can be new"
        );
    }

    #[test]
    fn where_flags_do_not_matter_only_new_mail_is_looked_at() {
        let (mark, filter) = (Watermark { modseq: None, ..MARK }, Filter::default());
        assert!(resumes(Some(mark), &opened(12, None), false, &filter).is_some());
        assert!(resumes(Some(mark), &opened(9, None), false, &filter).is_none());
        assert!(resumes(None, &opened(12, Some(9)), false, &filter).is_none());
    }

    #[test]
    fn what_was_left_out_is_looked_at_again_under_another_filter() {
        let before = |at| Filter { before: Some(at), ..Filter::default() };
        let mark = Watermark { filter: Some(before(5).digest()), ..MARK };
        let goes_on = |mark, filter: &Filter| {
            let resumes = resumes(Some(mark), &opened(10, Some(5)), true, filter).is_some();
            assert_eq!(resumes, is_unchanged(&mark, UidValidity(3), &STATUS, true, filter));
            resumes
        };
        assert!(goes_on(mark, &before(5)));
        assert!(!goes_on(mark, &before(6)) && !goes_on(mark, &Filter::default()));
        assert!(goes_on(MARK, &before(5)), "nothing was left out");
    }

    #[test]
    fn what_was_left_out_by_its_flags_needs_a_source_that_tells_of_them() {
        let unseen = Filter { seen: Some(false), ..Filter::default() };
        let larger = Filter { larger: Some(9), ..Filter::default() };
        let goes_on = |modseq, filter: &Filter| {
            let mark = Watermark { modseq, filter: Some(filter.digest()), ..MARK };
            resumes(Some(mark), &opened(10, modseq), false, filter).is_some()
        };
        assert!(goes_on(Some(5), &unseen) && !goes_on(None, &unseen));
        assert!(goes_on(None, &larger), "they do not matter");
    }

    const STATUS: MailboxStatus = MailboxStatus {
        uid_validity: Some(UidValidity(3)),
        uid_next: Some(Uid(10)),
        messages: 7,
        bytes: None,
        highest_modseq: Some(5),
    };

    #[test]
    fn a_mailbox_is_unchanged_where_all_numbers_are_the_same() {
        let (validity, status) = (UidValidity(3), STATUS);
        let is_unchanged = |mark: &Watermark, status: &MailboxStatus, follow| {
            is_unchanged(mark, validity, status, follow, &Filter::default())
        };
        assert!(is_unchanged(&MARK, &status, true));
        for other in [
            MailboxStatus { uid_validity: Some(UidValidity(4)), ..status },
            MailboxStatus { uid_next: Some(Uid(11)), ..status },
            MailboxStatus { uid_next: None, ..status },
            MailboxStatus { messages: 6, ..status },
            MailboxStatus { highest_modseq: Some(6), ..status },
            MailboxStatus { highest_modseq: None, ..status },
        ] {
            assert!(!is_unchanged(&MARK, &other, true), "{other:?}");
        }
        let no_modseq = MailboxStatus { highest_modseq: None, ..status };
        let mark = Watermark { modseq: None, ..MARK };
        assert!(!is_unchanged(&mark, &no_modseq, true), "its flags may have changed");
        assert!(is_unchanged(&mark, &no_modseq, false));
    }
}
