//! Whether a target mailbox holds what its source mailboxes hold: both as multisets.
//!
//! Messages are paired from the surest likeness to the weakest: the same octets; the same octets but
//! for what servers rewrite; the same header lines. Among equals those are paired that agree in date
//! and flags.
//!
//! Where the target has fewer of equal messages, nothing here tells a server that keeps one of them from
//! one that lost the others. So that is called merged only where the target has exactly one, and is
//! known to keep one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use crate::difference::{Compared, Difference};
use crate::identity::{Digest, HeaderKeys, Identity};
use crate::mail::{Flags, InternalDate, MessageInfo, Uid};
use crate::plan::dating::is_broken;

/// A message as a comparison sees it: some hundred octets, whatever its size.
#[derive(Debug, Clone)]
pub struct Record {
    /// Where it is.
    pub at: At,
    /// Whether it belongs on the target. What does not may be there all the same.
    pub is_owed: bool,
    /// Whether the ledger says that the target took it for an equal message that it had.
    pub is_merged: bool,
    /// Whether it was repaired on its way to the target.
    is_repaired: bool,
    size: u64,
    date: Option<i64>,
    flags: Arc<Marks>,
    exact: Digest,
    folded: u64,
    kin: Option<NonZeroU64>,
}

/// A message's place on its side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At {
    /// The number of its mailbox, where several are compared with one.
    pub mailbox: u32,
    /// Its UID.
    pub uid: Uid,
}

/// Flags, and what equal ones have in common: keywords count in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    flags: Flags,
    key: u64,
}

impl Marks {
    /// These flags.
    #[must_use]
    pub fn of(flags: Flags) -> Self {
        let mut keywords: Vec<String> =
            flags.keywords().iter().map(|word| word.to_lowercase()).collect();
        keywords.sort_unstable();
        keywords.dedup();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[flags.system_bits()]);
        for keyword in keywords {
            hasher.update(keyword.as_bytes()).update(b" ");
        }
        Self { key: first_64_bits(hasher.finalize().as_bytes()), flags }
    }
}

impl Record {
    /// A message whose body was read; `keys` where its header lines were asked for, too.
    #[must_use]
    pub fn by_body(
        at: At,
        info: &MessageInfo,
        marks: Arc<Marks>,
        identity: &Identity,
        keys: Option<HeaderKeys>,
    ) -> Self {
        let kin = keys.map_or_else(|| kin_of(identity.headers), kin);
        let folded = first_64_bits(&identity.folded.0);
        Self::new(at, info, marks, identity.exact, folded, kin)
    }

    /// A message of which only size and header lines are known.
    #[must_use]
    pub fn by_outline(at: At, info: &MessageInfo, marks: Arc<Marks>, keys: HeaderKeys) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&info.size.to_be_bytes());
        hasher.update(&sample_key(&keys).to_be_bytes());
        // What has none of the usual header lines is told apart by its date.
        let date = info.date.map(InternalDate::seconds).filter(|_| kin(keys).is_none());
        hasher.update(&date.unwrap_or(0).to_be_bytes());
        let mut exact = Digest([0; 16]);
        exact.0.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self::new(at, info, marks, exact, first_64_bits(&exact.0), kin(keys))
    }

    fn new(
        at: At,
        info: &MessageInfo,
        flags: Arc<Marks>,
        exact: Digest,
        folded: u64,
        kin: Option<NonZeroU64>,
    ) -> Self {
        let date = info.date.filter(|date| !is_broken(Some(*date))).map(InternalDate::seconds);
        let (is_owed, is_repaired, is_merged) = (true, false, false);
        let size = info.size;
        Self { at, is_owed, is_repaired, is_merged, size, date, flags, exact, folded, kin }
    }

    /// What tells its octets.
    #[must_use]
    pub fn trace(&self) -> Trace {
        Trace { exact: self.exact, folded: self.folded }
    }

    /// A source message that was repaired on its way, to octets of this digest.
    #[must_use]
    pub fn repaired_to(self, sent: Digest) -> Self {
        Self { exact: sent, is_repaired: true, ..self }
    }
}

/// What stands for the header lines that all copies of a message share, whatever servers do to it.
fn sample_key(keys: &HeaderKeys) -> u64 {
    keys.letter.unwrap_or(keys.headers)
}

fn kin(keys: HeaderKeys) -> Option<NonZeroU64> {
    keys.letter.and_then(NonZeroU64::new).or_else(|| kin_of(keys.headers))
}

/// None where there is none of the usual header lines: these are equal in all such messages.
fn kin_of(headers: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(headers).filter(|headers| HeaderKeys::tells(headers.get()))
}

/// Whether the body of a message is read, where `per_myriad` of ten thousand are: at both ends the same
/// ones, and in every run. Those without any of the usual header lines are always read.
#[must_use]
pub fn is_sampled(keys: &HeaderKeys, per_myriad: u16) -> bool {
    kin(*keys).is_none_or(|kin| kin.get() % 10_000 < u64::from(per_myriad))
}

fn first_64_bits(octets: &[u8]) -> u64 {
    octets.iter().take(8).fold(0, |bits, octet| bits << 8 | u64::from(*octet))
}

/// One thing that is not the same at both ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// In what they differ.
    pub kind: Difference,
    /// The message at the source, if it is there.
    pub source: Option<At>,
    /// The message at the target, if it is there.
    pub target: Option<At>,
    /// Its octets by RFC822.SIZE; the source's where it is at both.
    pub size: u64,
    /// Its internal date; the source's where it is at both.
    pub date: Option<InternalDate>,
    /// Details for a person; empty where there are none.
    pub text: String,
    /// What tells its octets, where one end alone has it.
    pub trace: Option<Trace>,
}

/// What tells the octets of a message from those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    exact: Digest,
    folded: u64,
}

/// Compares what is at the source with what is at the target; `keeps_one` where that is known to keep one
/// copy of equal messages. The findings are in the order of the source, then of the target.
#[must_use]
pub fn compare(source: &[Record], target: &[Record], keeps_one: bool) -> (Compared, Vec<Finding>) {
    let mut compared = Compared {
        source: source.iter().filter(|record| record.is_owed).count() as u64,
        target: target.len() as u64,
        ..Compared::default()
    };
    let mut findings = Vec::new();
    let mut open = Open::of(source, target);
    let mut equals = BTreeMap::new();
    for likeness in Likeness::ALL {
        if likeness == Likeness::Kin {
            // What has a copy that it shares is not a message of the same header lines.
            equals = Equals::of(&open.source, source, target);
            findings.extend(open.take_merged(&mut equals, keeps_one));
        }
        for agreement in Agreement::ALL {
            for (one, other) in open.pair(likeness, agreement) {
                if one.is_owed {
                    let before = findings.len();
                    findings.extend(differences(one, other, likeness));
                    compared.same += u64::from(findings.len() == before);
                }
            }
        }
    }
    let missing = open.source.iter().filter(|record| record.is_owed);
    findings.extend(missing.map(|record| {
        let text = equals.get(&record.exact).map(Equals::to_string).unwrap_or_default();
        finding(Difference::Missing, Some(record), None, &text)
    }));
    let alone: BTreeSet<Digest> = open.target.iter().map(|record| record.exact).collect();
    let copied: BTreeSet<Digest> =
        source.iter().map(|record| record.exact).filter(|exact| alone.contains(exact)).collect();
    findings.extend(open.target.iter().map(|record| {
        let is_copy = copied.contains(&record.exact);
        let kind = if is_copy { Difference::Doubled } else { Difference::Extra };
        finding(kind, None, Some(record), "")
    }));
    findings.sort_by_key(|one| (one.source.is_none(), one.source, one.target, one.kind));
    for finding in &findings {
        compared.note(finding.kind, 1);
    }
    (compared, findings)
}

/// Which of the messages that only the target has, wherever in the account, are what is missing elsewhere:
/// their owner has moved them. Gives for each that is missing the number of one that is alike, each once.
#[must_use]
pub fn moved(missing: &[Trace], alone: &[Trace]) -> Vec<Option<usize>> {
    let mut moved = vec![None; missing.len()];
    let keys: [fn(&Trace) -> u128; 2] =
        [|one| u128::from_be_bytes(one.exact.0), |one| one.folded.into()];
    let mut taken = BTreeSet::new();
    for key in keys {
        let mut free: BTreeMap<u128, Vec<usize>> = BTreeMap::new();
        for (index, one) in alone.iter().enumerate().rev() {
            if !taken.contains(&index) {
                free.entry(key(one)).or_default().push(index);
            }
        }
        for (one, place) in missing.iter().zip(&mut moved).filter(|(_, place)| place.is_none()) {
            *place = free.get_mut(&key(one)).and_then(Vec::pop);
            taken.extend(*place);
        }
    }
    moved
}

/// How sure it is that two messages are copies of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Likeness {
    Exact,
    Folded,
    Kin,
}

impl Likeness {
    const ALL: [Self; 3] = [Self::Exact, Self::Folded, Self::Kin];

    fn key(self, record: &Record) -> Option<u128> {
        match self {
            Self::Exact => Some(u128::from_be_bytes(record.exact.0)),
            Self::Folded => Some(record.folded.into()),
            Self::Kin => record.kin.map(|kin| kin.get().into()),
        }
    }
}

/// In what two messages must agree beside that.
#[derive(Debug, Clone, Copy)]
struct Agreement {
    date: bool,
    flags: bool,
}

impl Agreement {
    const ALL: [Self; 4] = [
        Self { date: true, flags: true },
        Self { date: true, flags: false },
        Self { date: false, flags: true },
        Self { date: false, flags: false },
    ];
}

/// What is not paired yet.
struct Open<'r> {
    source: Vec<&'r Record>,
    target: Vec<&'r Record>,
}

impl<'r> Open<'r> {
    fn of(source: &'r [Record], target: &'r [Record]) -> Self {
        Self { source: source.iter().collect(), target: target.iter().collect() }
    }

    /// Takes out as many pairs as there are that are alike and agree. What belongs on the target comes
    /// before what may be there.
    fn pair(&mut self, likeness: Likeness, agreement: Agreement) -> Vec<(&'r Record, &'r Record)> {
        let key = |record: &Record| {
            let date = record.date.filter(|_| agreement.date);
            let flags = Some(record.flags.key).filter(|_| agreement.flags);
            Some((likeness.key(record)?, date, flags))
        };
        for side in [&mut self.source, &mut self.target] {
            side.sort_unstable_by_key(|record| (key(record), !record.is_owed, record.at));
        }
        let mut pairs = Vec::new();
        let (mut source_left, mut target_left) = (Vec::new(), Vec::new());
        let mut others = self.target.iter().copied().peekable();
        for one in self.source.iter().copied() {
            let wanted = key(one);
            while let Some(other) = others.next_if(|other| key(other) < wanted) {
                target_left.push(other);
            }
            let found = wanted.and_then(|_| others.next_if(|other| key(other) == wanted));
            match found {
                Some(other) => pairs.push((one, other)),
                None => source_left.push(one),
            }
        }
        target_left.extend(others);
        (self.source, self.target) = (source_left, target_left);
        pairs
    }

    /// Takes out what has no copy of its own where the target keeps one copy of equal messages. Of those that
    /// are equal, as many are merged as the ledger names: which ones does not matter.
    fn take_merged(
        &mut self,
        equals: &mut BTreeMap<Digest, Equals<'r>>,
        keeps_one: bool,
    ) -> Vec<Finding> {
        let mut found = Vec::new();
        self.source.retain(|record| {
            let equal = equals.get_mut(&record.exact).filter(|equal| equal.copies == 1);
            let Some(equal) = equal.filter(|equal| keeps_one || equal.named > 0) else {
                return true;
            };
            equal.named = equal.named.saturating_sub(1);
            if record.is_owed {
                let text = equal.to_string();
                found.push(finding(Difference::Merged, Some(record), Some(equal.kept), &text));
            }
            false
        });
        found
    }
}

/// Messages of the same octets of which the target has some, but fewer.
struct Equals<'r> {
    messages: u64,
    /// How many of them the ledger calls merged.
    named: u64,
    copies: u64,
    /// One of the copies.
    kept: &'r Record,
}

impl<'r> Equals<'r> {
    /// Those of the messages without a copy of their own.
    fn of(
        lacking: &[&'r Record],
        source: &'r [Record],
        target: &'r [Record],
    ) -> BTreeMap<Digest, Self> {
        let lacking: BTreeSet<Digest> = lacking.iter().map(|record| record.exact).collect();
        let mut equals: BTreeMap<Digest, Self> = BTreeMap::new();
        for kept in target.iter().filter(|record| lacking.contains(&record.exact)) {
            let new = || Self { messages: 0, named: 0, copies: 0, kept };
            equals.entry(kept.exact).or_insert_with(new).copies += 1;
        }
        for record in source {
            if let Some(equal) = equals.get_mut(&record.exact) {
                equal.messages += 1;
                equal.named += u64::from(record.is_merged);
            }
        }
        equals
    }
}

impl fmt::Display for Equals<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.copies {
            1 => write!(f, "{} equal messages, one copy", self.messages),
            copies => write!(f, "{} equal messages, {copies} copies", self.messages),
        }
    }
}

fn differences(source: &Record, target: &Record, likeness: Likeness) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut note = |kind, text: &str| found.push(finding(kind, Some(source), Some(target), text));
    match likeness {
        Likeness::Exact if source.is_repaired => note(Difference::Rewritten, "repaired"),
        Likeness::Exact => {}
        Likeness::Folded => note(Difference::Rewritten, &sizes(source, target)),
        Likeness::Kin => note(Difference::Content, &sizes(source, target)),
    }
    // A date that the source does not tell cannot be another one.
    if let Some(date) = source.date.filter(|date| target.date != Some(*date)) {
        let told = |seconds: i64| InternalDate::new(seconds, 0).to_string();
        let there = target.date.map_or_else(|| "none".to_owned(), told);
        note(Difference::Date, &format!("{} at the source, {there} at the target", told(date)));
    }
    if source.flags.key != target.flags.key {
        let lacks = source.flags.flags.missing_in(&target.flags.flags).join(" ");
        let has = target.flags.flags.missing_in(&source.flags.flags).join(" ");
        let text = match (lacks.as_str(), has.as_str()) {
            (lacks, "") => format!("the target lacks {lacks}"),
            ("", has) => format!("the target has {has}, too"),
            (lacks, has) => format!("the target lacks {lacks} and has {has}"),
        };
        note(Difference::Flags, &text);
    }
    found
}

fn sizes(source: &Record, target: &Record) -> String {
    if source.size == target.size {
        return "as many octets, and not the same".to_owned();
    }
    format!("{} octets at the source, {} at the target", source.size, target.size)
}

fn finding(
    kind: Difference,
    source: Option<&Record>,
    target: Option<&Record>,
    text: &str,
) -> Finding {
    let told = source.or(target);
    Finding {
        kind,
        source: source.map(|record| record.at),
        target: target.map(|record| record.at),
        size: told.map_or(0, |record| record.size),
        date: told.and_then(|record| record.date).map(|date| InternalDate::new(date, 0)),
        text: text.to_owned(),
        trace: (source.is_some() != target.is_some()).then_some(told).flatten().map(Record::trace),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message of which everything is a small number.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
    struct Letter {
        body: u8,
        date: u8,
        flags: u8,
    }

    fn record(uid: u32, letter: Letter) -> Record {
        let body = format!("Message-ID: <{}@x>\r\n\r\n{}\r\n", letter.body / 4, letter.body);
        of_body(uid, body.as_bytes(), letter.date.into(), Flags::from_parts(letter.flags, []))
    }

    fn of_body(uid: u32, body: &[u8], date: i64, flags: Flags) -> Record {
        let info = MessageInfo {
            uid: Uid(uid),
            size: body.len() as u64,
            date: Some(InternalDate::new(date, 60)),
            flags: Flags::default(),
        };
        let at = At { mailbox: 0, uid: Uid(uid) };
        Record::by_body(at, &info, Arc::new(Marks::of(flags)), &Identity::of(body), None)
    }

    fn records(letters: &[Letter]) -> Vec<Record> {
        (1..).zip(letters).map(|(uid, letter)| record(uid, *letter)).collect()
    }

    fn kinds(source: &[Record], target: &[Record]) -> Vec<Difference> {
        compare(source, target, false).1.iter().map(|finding| finding.kind).collect()
    }

    fn plain(uid: u32, body: &str) -> Record {
        of_body(uid, body.as_bytes(), 0, Flags::default())
    }

    #[test]
    fn each_difference_is_told_by_its_name() {
        let kept = "Message-ID: <1@x>\r\nSubject: a\r\n\r\nbody\r\n";
        let rewritten = "Message-ID: <1@x>\r\nSubject: a\n\r\nbody";
        let other = "Message-ID: <1@x>\r\nSubject: a\r\n\r\nbod\r\n";
        let source = [plain(1, kept)];
        assert_eq!(kinds(&source, &[plain(9, kept)]), []);
        assert_eq!(kinds(&source, &[]), [Difference::Missing]);
        assert_eq!(kinds(&source, &[plain(9, rewritten)]), [Difference::Rewritten]);
        assert_eq!(kinds(&source, &[plain(9, other)]), [Difference::Content]);
        let twice = [plain(8, kept), plain(9, kept)];
        assert_eq!(kinds(&source, &twice), [Difference::Doubled]);
        let beside = [plain(8, kept), plain(9, "Subject: of somebody else\r\n\r\n")];
        assert_eq!(kinds(&source, &beside), [Difference::Extra]);
        let changed = of_body(9, kept.as_bytes(), 5, Flags::parse(["\\Seen"]));
        let (compared, findings) = compare(&source, &[changed], false);
        assert_eq!((compared.source, compared.target, compared.same), (1, 1, 0));
        assert!(!compared.is_exact());
        let told: Vec<_> = findings.iter().map(|one| (one.kind, one.text.as_str())).collect();
        let date = "1970-01-01T00:00:00Z at the source, 1970-01-01T00:00:05Z at the target";
        let flags = "the target has \\Seen, too";
        assert_eq!(told, [(Difference::Date, date), (Difference::Flags, flags)]);
    }

    #[test]
    fn keywords_are_equal_in_any_case() {
        let with = |uid, words: &[&str]| of_body(uid, b"x", 0, Flags::parse(words.iter().copied()));
        let source = [with(1, &["$Forwarded", "Work"])];
        assert_eq!(kinds(&source, &[with(1, &["work", "$FORWARDED"])]), []);
        let (_, findings) = compare(&source, &[with(1, &["$Forwarded", "Play"])], false);
        assert_eq!(findings[0].text, "the target lacks Work and has Play");
    }

    #[test]
    fn of_equal_messages_those_are_paired_that_agree() {
        let letter = |date, flags| Letter { body: 1, date, flags };
        let source = records(&[letter(1, 0), letter(1, 1), letter(2, 1)]);
        let target = records(&[letter(2, 1), letter(1, 1), letter(1, 0)]);
        assert_eq!(compare(&source, &target, false).0.same, 3);
        let target = records(&[letter(2, 1), letter(1, 1), letter(1, 2)]);
        let (compared, findings) = compare(&source, &target, false);
        assert_eq!(compared.same, 2);
        assert_eq!(
            (findings[0].kind, findings[0].source.map(|at| at.uid)),
            (Difference::Flags, Some(Uid(1)))
        );
    }

    #[test]
    fn equal_messages_are_merged_only_where_the_target_has_one_copy_and_is_known_to_keep_one() {
        let equal = |uids: std::ops::Range<u32>| -> Vec<Record> {
            uids.map(|uid| plain(uid, "Message-ID: <1@x>\r\n\r\nbody\r\n")).collect()
        };
        let told = |source: &[Record], copies: u32, keeps_one| {
            let (compared, findings) = compare(source, &equal(7..7 + copies), keeps_one);
            let texts: BTreeSet<String> = findings.into_iter().map(|one| one.text).collect();
            let texts: Vec<String> = texts.into_iter().collect();
            let [merged, missing] =
                [Difference::Merged, Difference::Missing].map(|kind| compared.count(kind));
            (compared.same, merged, missing, texts.join("|"))
        };
        let one = || "3 equal messages, one copy".to_owned();
        let source = equal(1..4);
        assert_eq!(told(&source, 1, false), (1, 0, 2, one()));
        assert_eq!(told(&source, 1, true), (1, 2, 0, one()));
        // A target that has two keeps more than one, whatever is said of it.
        let two = "3 equal messages, 2 copies".to_owned();
        assert_eq!(told(&source, 2, true), (2, 0, 1, two.clone()));
        assert_eq!(told(&source, 0, true), (0, 0, 3, String::new()));
        assert_eq!(told(&source, 3, true), (3, 0, 0, String::new()));
        // The ledger names one of them: the other one is missing.
        let named = |names: u32| -> Vec<Record> {
            let mark = |one: Record| Record { is_merged: one.at.uid.0 <= names, ..one };
            equal(1..4).into_iter().map(mark).collect()
        };
        assert_eq!(told(&named(1), 1, false), (1, 1, 1, one()));
        assert_eq!(told(&named(2), 1, false), (1, 2, 0, one()));
        assert_eq!(told(&named(2), 2, false), (2, 0, 1, two));
    }

    #[test]
    fn what_shares_a_copy_is_not_taken_for_another_message_of_the_same_header_lines() {
        let [kept, other] = ["body", "another"]
            .map(|body| format!("Message-ID: <1@x>\r\nSubject: a\r\n\r\n{body}\r\n"));
        let source = [plain(1, &kept), plain(2, &kept)];
        let (_, findings) = compare(&source, &[plain(7, &kept), plain(8, &other)], true);
        let told: Vec<_> = findings.iter().map(|one| (one.kind, one.source, one.target)).collect();
        let at = |uid| Some(At { mailbox: 0, uid: Uid(uid) });
        assert_eq!(told, [(Difference::Merged, at(2), at(7)), (Difference::Extra, None, at(8))]);
    }

    #[test]
    fn messages_without_header_lines_are_no_kin() {
        let (source, target) = ([plain(1, "\r\none\r\n")], [plain(1, "\r\nother\r\n")]);
        assert_eq!(kinds(&source, &target), [Difference::Missing, Difference::Extra]);
    }

    #[test]
    fn what_is_not_owed_is_not_missed_and_no_extra() {
        let (owed, not_owed) = (plain(1, "Subject: 1\r\n\r\n"), plain(2, "Subject: 2\r\n\r\n"));
        let source = [owed.clone(), Record { is_owed: false, ..not_owed.clone() }];
        assert_eq!(kinds(&source, std::slice::from_ref(&owed)), []);
        assert_eq!(kinds(&source, &[owed, not_owed]), []);
        // Of equals the one that belongs there is the one that is there.
        let twins = [Record { is_owed: false, ..plain(1, "a") }, plain(2, "a")];
        let (compared, findings) = compare(&twins, &[plain(7, "a")], false);
        assert_eq!((compared.source, compared.same, findings), (1, 1, vec![]));
    }

    #[test]
    fn outlines_are_compared_by_size_header_lines_and_date() {
        let outline = |uid, size, date, header: &str| {
            let date = Some(InternalDate::new(date, 0));
            let info = MessageInfo { uid: Uid(uid), size, date, flags: Flags::default() };
            let at = At { mailbox: 0, uid: Uid(uid) };
            let marks = Arc::new(Marks::of(Flags::default()));
            Record::by_outline(at, &info, marks, HeaderKeys::of(header.as_bytes()))
        };
        let id = "Message-ID: <1@x>\r\nDate: Mon, 14 Sep 2020 10:00:00 +0200\r\nSubject: ";
        let source = [outline(1, 9, 5, &format!("{id}a\r\n"))];
        let kinds_of = |target| kinds(&source, &[target]);
        assert_eq!(kinds_of(outline(1, 9, 5, &format!("{id}b\r\n"))), []);
        assert_eq!(kinds_of(outline(1, 9, 6, &format!("{id}a\r\n"))), [Difference::Date]);
        assert_eq!(kinds_of(outline(1, 8, 5, &format!("{id}a\r\n"))), [Difference::Content]);
        let bare = [outline(1, 9, 5, "")];
        assert_eq!(kinds(&bare, &[outline(1, 9, 5, "")]), []);
        assert_eq!(kinds(&bare, &[outline(1, 9, 6, "")]), [Difference::Missing, Difference::Extra]);
    }

    #[test]
    fn a_sample_is_the_same_at_both_ends_and_about_as_large_as_asked_for() {
        let keys: Vec<HeaderKeys> = (0..10_000)
            .map(|n| HeaderKeys::of(format!("Message-ID: <{n}@x>\r\n").as_bytes()))
            .collect();
        let sampled = |per_myriad| keys.iter().filter(|keys| is_sampled(keys, per_myriad)).count();
        assert_eq!((sampled(0), sampled(10_000)), (0, 10_000));
        assert!((400..600).contains(&sampled(500)), "{}", sampled(500));
        assert!(is_sampled(&HeaderKeys::of(b""), 1), "what cannot be told apart is read");
    }

    fn letters() -> impl Strategy<Value = Vec<Letter>> {
        let letter = (0..12u8, 0..2u8, 0..2u8);
        let letter = letter.prop_map(|(body, date, flags)| Letter { body, date, flags });
        prop::collection::vec(letter, 0..40)
    }

    proptest! {
        #[test]
        fn what_is_compared_with_itself_in_any_order_is_the_same(
            letters in letters(),
            order in any::<prop::sample::Index>(),
        ) {
            let source = records(&letters);
            let mut turned = letters.clone();
            if !turned.is_empty() {
                turned.rotate_left(order.index(letters.len()));
            }
            let (compared, findings) = compare(&source, &records(&turned), false);
            prop_assert_eq!(compared.same, letters.len() as u64);
            prop_assert_eq!(findings, vec![]);
        }

        #[test]
        fn every_message_of_both_ends_is_paired_or_told(source in letters(), target in letters()) {
            let (compared, findings) = compare(&records(&source), &records(&target), false);
            let count = |kind| findings.iter().filter(|one| one.kind == kind).count();
            let pairs = source.len() - count(Difference::Missing);
            prop_assert_eq!(
                pairs,
                target.len() - count(Difference::Extra) - count(Difference::Doubled)
            );
            let mut differing: BTreeSet<At> = BTreeSet::new();
            for one in findings.iter().filter(|one| one.target.is_some()) {
                differing.extend(one.source);
            }
            prop_assert_eq!(compared.same, (pairs - differing.len()) as u64);
        }

        #[test]
        fn what_is_missing_is_the_difference_of_multisets(
            source in letters(),
            target in letters(),
        ) {
            // Without header lines nothing but the octets can be alike.
            let of = |letters: &[Letter]| -> Vec<Record> {
                let plain = |uid, letter: &Letter| plain(uid, &format!("\r\n{}\r\n", letter.body));
                (1..).zip(letters).map(|(uid, letter)| plain(uid, letter)).collect()
            };
            let (compared, _) = compare(&of(&source), &of(&target), false);
            let often = |letters: &[Letter], body| {
                letters.iter().filter(|letter| letter.body == body).count() as u64
            };
            let (mut missing, mut doubled, mut extra) = (0, 0, 0);
            for body in 0..12 {
                let (here, there) = (often(&source, body), often(&target, body));
                missing += here.saturating_sub(there);
                let more = there.saturating_sub(here);
                if here > 0 { doubled += more } else { extra += more }
            }
            prop_assert_eq!(compared.count(Difference::Missing), missing);
            prop_assert_eq!(compared.count(Difference::Doubled), doubled);
            prop_assert_eq!(compared.count(Difference::Extra), extra);
        }

        #[test]
        fn as_many_as_can_be_the_same_are(source in letters(), target in letters()) {
            let (compared, _) = compare(&records(&source), &records(&target), false);
            let mut left = target.clone();
            let mut same = 0;
            for letter in &source {
                if let Some(at) = left.iter().position(|other| other == letter) {
                    left.swap_remove(at);
                    same += 1;
                }
            }
            prop_assert_eq!(compared.same, same);
        }
    }
}
