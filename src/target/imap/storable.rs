//! What of a message's flags and date can be said in an APPEND, and how far that can be trusted.
//!
//! A server that dislikes an argument of an APPEND with a non-synchronising literal may read the
//! literal, which is somebody's mail, as commands (Dovecot 2.3 does after BAD). So arguments are
//! built from parsed values only, and anything that is not ordinary goes with a synchronising
//! literal, where a refusal comes before the message is sent.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::imap::date;
use crate::mail::{Flags, InternalDate, SystemFlag};

/// 1970-01-01 and 2038-01-01, in seconds: dates that every server stores.
const ORDINARY_SECONDS: std::ops::Range<i64> = 0..2_145_916_800;
/// Longer keywords are refused by some servers (Dovecot 2.3 above 50).
const KEYWORD_BYTES_MAX: usize = 50;

/// What the open mailbox stores.
#[derive(Debug)]
pub(super) struct Storable {
    /// PERMANENTFLAGS, if it was told.
    permanent: Option<Vec<String>>,
    keywords: Mutex<Keywords>,
}

/// What the server did with keywords so far.
#[derive(Debug, Default)]
struct Keywords {
    /// Read as flags by a STORE on the same connection: no surprise in an APPEND, which may still be
    /// refused with them.
    read: BTreeSet<String>,
    /// Stored by an APPEND, in this mailbox or in another one on the same connection.
    accepted: BTreeSet<String>,
    /// In this mailbox.
    refused: BTreeSet<String>,
}

/// What is known of a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    Nothing,
    Read,
    Accepted,
}

impl Keywords {
    fn of(&self, keyword: &str) -> Known {
        if self.accepted.contains(keyword) {
            return Known::Accepted;
        }
        if self.read.contains(keyword) { Known::Read } else { Known::Nothing }
    }
}

/// How much of flags and date an attempt sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Attempt {
    /// Everything.
    Whole,
    /// No keyword that no APPEND has brought through yet.
    ProvenKeywords,
    /// Also no date.
    NoDate,
}

/// The arguments of an APPEND before its literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arguments {
    /// Flag list and date, with the spaces before them.
    pub(super) text: String,
    /// Whether a server can have no reason to dislike them.
    pub(super) ordinary: bool,
    /// Whether none of them can be why the message is refused.
    pub(super) proven: bool,
    /// The keywords among the flags.
    pub(super) keywords: Vec<String>,
}

impl Storable {
    pub(super) fn new(permanent: Option<Vec<String>>) -> Self {
        // A list without any flag is a server that does not know what the list is for.
        let permanent = permanent.filter(|flags| !flags.is_empty());
        Self { permanent, keywords: Mutex::default() }
    }

    /// As [`Storable::new`], of the mailbox that is opened after this one on the same connection: what
    /// the server took as a keyword here is one to it there, if that mailbox takes any.
    pub(super) fn next(&self, permanent: Option<Vec<String>>) -> Self {
        let mut next = Self::new(permanent);
        if next.permanent.as_ref().is_some_and(|flags| flags.iter().any(|flag| flag == "\\*")) {
            let known = self.lock();
            let keywords = next.keywords.get_mut().unwrap_or_else(PoisonError::into_inner);
            (keywords.read, keywords.accepted) = (known.read.clone(), known.accepted.clone());
        }
        next
    }

    /// The arguments for a message.
    pub(super) fn arguments(
        &self,
        flags: &Flags,
        date: Option<InternalDate>,
        attempt: Attempt,
    ) -> Arguments {
        let system = SystemFlag::ALL
            .into_iter()
            .filter(|flag| flags.has(*flag) && self.stores(flag.as_str(), false))
            .map(|flag| flag.as_str().to_owned());
        let (keywords, known) = self.keywords_to_send(flags, attempt);
        let list: Vec<String> = system.chain(keywords.iter().cloned()).collect();
        let date = date.filter(|_| attempt < Attempt::NoDate);
        let written = date.and_then(|date| Some((date, date::format(date)?)));
        let date_ordinary =
            written.as_ref().is_none_or(|(date, _)| ORDINARY_SECONDS.contains(&date.seconds()));
        let mut text = String::new();
        if !list.is_empty() {
            text = format!(" ({})", list.join(" "));
        }
        if let Some((_, written)) = written {
            text.push_str(&format!(" \"{written}\""));
        }
        let ordinary = date_ordinary && known >= Known::Read;
        let proven = date_ordinary && known == Known::Accepted;
        Arguments { text, ordinary, proven, keywords }
    }

    /// The keywords to send, and the least that is known of one of them.
    fn keywords_to_send(&self, flags: &Flags, attempt: Attempt) -> (Vec<String>, Known) {
        let known = self.lock();
        let keywords: Vec<String> = flags
            .keywords()
            .iter()
            .filter(|keyword| is_keyword(keyword) && self.stores(keyword, true))
            .filter(|keyword| !known.refused.contains(*keyword))
            .filter(|keyword| {
                attempt < Attempt::ProvenKeywords || known.accepted.contains(*keyword)
            })
            .cloned()
            .collect();
        let least = keywords.iter().map(|keyword| known.of(keyword)).min();
        (keywords, least.unwrap_or(Known::Accepted))
    }

    /// The attempt after one that was refused; none if there is nothing left to leave out.
    pub(super) fn next_attempt(
        &self,
        refused: Attempt,
        flags: &Flags,
        date: Option<InternalDate>,
    ) -> Option<Attempt> {
        let now = self.arguments(flags, date, refused);
        [Attempt::ProvenKeywords, Attempt::NoDate].into_iter().find(|attempt| {
            // What goes out without surprises was refused for the message's own sake.
            *attempt > refused && !now.proven && self.arguments(flags, date, *attempt) != now
        })
    }

    /// Whether a flag can be stored, as far as is known; its name as it stands on the wire.
    pub(super) fn takes(&self, name: &str) -> bool {
        if name.starts_with('\\') {
            return self.stores(name, false);
        }
        is_keyword(name) && self.stores(name, true) && !self.lock().refused.contains(name)
    }

    /// Those of these keywords that could be sent, and of which it is not known yet whether the server
    /// takes them.
    pub(super) fn unproven<'k>(&self, keywords: impl Iterator<Item = &'k str>) -> Vec<String> {
        let known = self.lock();
        let is_unproven = |keyword: &&str| {
            is_keyword(keyword)
                && self.stores(keyword, true)
                && known.of(keyword) == Known::Nothing
                && !known.refused.contains(*keyword)
        };
        let unproven: BTreeSet<&str> = keywords.filter(is_unproven).collect();
        unproven.into_iter().map(str::to_owned).collect()
    }

    /// Notes that the server took a STORE with these keywords.
    pub(super) fn read(&self, keywords: &[String]) {
        self.lock().read.extend(keywords.iter().cloned());
    }

    /// Notes that the server took an APPEND with these keywords.
    pub(super) fn accepted(&self, keywords: &[String]) {
        self.lock().accepted.extend(keywords.iter().cloned());
    }

    /// Notes that an APPEND went through only without these keywords.
    pub(super) fn refused(&self, keywords: impl IntoIterator<Item = String>) {
        self.lock().refused.extend(keywords);
    }

    fn stores(&self, flag: &str, is_keyword: bool) -> bool {
        self.permanent.as_ref().is_none_or(|permanent| {
            permanent.iter().any(|p| p.eq_ignore_ascii_case(flag) || (is_keyword && p == "\\*"))
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Keywords> {
        self.keywords.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this is an atom (RFC 9051 section 9, `flag-keyword`) that servers take.
fn is_keyword(keyword: &str) -> bool {
    keyword.len() <= KEYWORD_BYTES_MAX
        && keyword.bytes().all(|b| b.is_ascii_graphic() && !br#"(){%*"\]"#.contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permanent(flags: &[&str]) -> Storable {
        Storable::new(Some(flags.iter().map(|flag| (*flag).to_owned()).collect()))
    }

    fn date(text: &str) -> Option<InternalDate> {
        Some(date::parse(text).expect("a date"))
    }

    #[test]
    fn only_atoms_are_sent_as_keywords() {
        let flags = Flags::parse(["ok", "a b", "x)", "y\r\nz", "é", "a]b", "\"q", &"k".repeat(51)]);
        let arguments = Storable::new(None).arguments(&flags, None, Attempt::Whole);
        assert_eq!(arguments.text, " (ok)");
    }

    #[test]
    fn a_keyword_is_ordinary_once_it_was_taken() {
        let storable = Storable::new(None);
        let flags = Flags::parse(["\\Seen", "Work"]);
        assert!(!storable.arguments(&flags, None, Attempt::Whole).ordinary);
        storable.accepted(&["Work".to_owned()]);
        let arguments = storable.arguments(&flags, None, Attempt::Whole);
        assert_eq!((arguments.text.as_str(), arguments.ordinary), (" (\\Seen Work)", true));
    }

    #[test]
    fn a_keyword_that_was_read_is_ordinary_and_may_still_be_refused() {
        let storable = Storable::new(None);
        let flags = Flags::parse(["Work", "a b"]);
        assert_eq!(storable.unproven(flags.keywords().iter().map(String::as_str)), ["Work"]);
        storable.read(&["Work".to_owned()]);
        assert_eq!(storable.unproven(flags.keywords().iter().map(String::as_str)), [""; 0]);
        assert!(storable.arguments(&flags, None, Attempt::Whole).ordinary);
        let next = storable.next_attempt(Attempt::Whole, &flags, None);
        assert_eq!(next, Some(Attempt::ProvenKeywords));
        storable.accepted(&["Work".to_owned()]);
        assert_eq!(storable.next_attempt(Attempt::Whole, &flags, None), None);
    }

    #[test]
    fn a_keyword_that_was_taken_is_ordinary_in_other_mailboxes_that_take_any() {
        let flags = Flags::parse(["Work"]);
        let after = |list: &[&str]| {
            let first = Storable::new(None);
            first.accepted(&["Work".to_owned()]);
            first.refused(["Work".to_owned()]);
            first.next(Some(list.iter().map(|flag| (*flag).to_owned()).collect()))
        };
        let arguments = after(&["\\Seen", "\\*"]).arguments(&flags, None, Attempt::Whole);
        assert_eq!((arguments.text.as_str(), arguments.ordinary), (" (Work)", true));
        let arguments = after(&["\\Seen", "Work"]).arguments(&flags, None, Attempt::Whole);
        assert_eq!((arguments.text.as_str(), arguments.ordinary), (" (Work)", false));
    }

    #[test]
    fn flags_that_are_not_permanent_are_left_out() {
        let flags = Flags::parse(["\\Seen", "\\Draft", "Work", "$Junk"]);
        let text = |storable: Storable| storable.arguments(&flags, None, Attempt::Whole).text;
        assert_eq!(text(permanent(&["\\seen", "$junk"])), " (\\Seen $Junk)");
        assert_eq!(text(permanent(&["\\Seen", "\\*"])), " (\\Seen $Junk Work)");
        assert_eq!(text(permanent(&[])), " (\\Seen \\Draft $Junk Work)");
    }

    #[test]
    fn odd_dates_are_not_ordinary() {
        let storable = Storable::new(None);
        for (text, ordinary) in [
            ("17-Jul-1996 02:44:25 -0700", true),
            ("31-Dec-1969 23:59:59 +0000", false),
            ("19-Jan-2040 00:00:00 +0000", false),
        ] {
            let arguments = storable.arguments(&Flags::default(), date(text), Attempt::Whole);
            assert_eq!(arguments.text, format!(" \"{text}\""));
            assert_eq!(arguments.ordinary, ordinary, "{text}");
        }
    }

    #[test]
    fn what_was_refused_is_tried_with_less_until_nothing_is_left_to_leave_out() {
        let storable = Storable::new(None);
        let (flags, old) = (Flags::parse(["odd"]), date("31-Dec-1969 23:59:59 +0000"));
        let second = storable.next_attempt(Attempt::Whole, &flags, old);
        assert_eq!(second, Some(Attempt::ProvenKeywords));
        let third = storable.next_attempt(Attempt::ProvenKeywords, &flags, old);
        assert_eq!(third, Some(Attempt::NoDate));
        assert_eq!(storable.next_attempt(Attempt::NoDate, &flags, old), None);
        let plain = Flags::parse(["\\Seen"]);
        assert_eq!(storable.next_attempt(Attempt::Whole, &plain, None), None);
    }
}
