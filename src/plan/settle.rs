//! Messages whose copies are looked for, against what is on the target: which copy is whose.
//!
//! Matching is by multiset: a class of equal messages of which n are sought and c are there gives
//! min(n, c) claims, each copy once. Finer classes are served first. It is never decided by text
//! from mail sent to the server in a SEARCH.

use std::collections::{BTreeMap, BTreeSet};

use crate::fate::Fate;
use crate::history::Entry;
use crate::identity::{Digest, HeaderKeys, Identity};
use crate::mail::{Flags, InternalDate, Uid};

/// A message whose copy is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sought<Key> {
    /// Which message it is.
    pub key: Key,
    /// Who is served first where there are fewer copies than messages.
    pub claim: Claim,
    /// Octets sent.
    pub size: u64,
    /// The date sent.
    pub date: Option<InternalDate>,
    /// The flags sent: of equal messages each keeps its own, as far as that can be told.
    pub flags: Flags,
    /// Its digests; none where nobody can tell any more.
    pub digests: Option<Digests>,
    /// Whether its copy may have other octets: then equal header lines show it, too. See [`may_alter`].
    pub may_be_altered: bool,
}

/// Whether the copy of a message may be one with other octets. What was acknowledged is there, and
/// what else should have its header lines; of what is in doubt that is believed only where it is known
/// that its server changes mail (`alters`), or that the message holds what servers change (`risky`).
/// Elsewhere it is a namesake, and to take it for the copy would lose the message.
#[must_use]
pub fn may_alter(claim: Claim, alters: bool, risky: bool) -> bool {
    matches!(claim, Claim::At(_) | Claim::Somewhere) || alters || risky
}

/// What is known of where a copy should be, in the order of who is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// It was seen, and is not where it was seen any more: its owner may have moved it away and back.
    Lapsed,
    /// The target told that it is at this UID.
    At(Uid),
    /// The target acknowledged it and did not tell where it is.
    Somewhere,
    /// It was sent, and the answer is not known.
    InDoubt,
}

impl Claim {
    /// Of a message of an open window; none where the ledger says already what became of it.
    /// `acknowledged` is whether all of the window is known to have arrived.
    #[must_use]
    pub fn of(known: Option<&Entry>, acknowledged: bool) -> Option<Self> {
        match known.map(|entry| (entry.fate, entry.target_uid)) {
            // What is held stays in doubt until a pass can tell.
            Some((Fate::Held, _)) => Some(Self::InDoubt),
            Some((fate, _)) if fate != Fate::Pending => None,
            Some((_, Some(uid))) => Some(Self::At(uid)),
            _ if acknowledged => Some(Self::Somewhere),
            _ => Some(Self::InDoubt),
        }
    }
}

/// The digests of a message that is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// As [`Identity::exact`].
    pub exact: Digest,
    /// As [`Identity::folded`]; none where it was not kept.
    pub folded: Option<Digest>,
    /// As [`Identity::headers`].
    pub headers: u64,
}

impl From<Identity> for Digests {
    fn from(identity: Identity) -> Self {
        let Identity { exact, folded, headers, .. } = identity;
        Self { exact, folded: Some(folded), headers }
    }
}

/// What the ledger keeps of a message's digests.
impl From<(Digest, u64)> for Digests {
    fn from((exact, headers): (Digest, u64)) -> Self {
        Self { exact, folded: None, headers }
    }
}

/// A message on the target that nobody has claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its UID at the target.
    pub uid: Uid,
    /// Its octets.
    pub size: u64,
    /// Its date.
    pub date: Option<InternalDate>,
    /// Its flags.
    pub flags: Flags,
    /// Its header key, where its header was read.
    pub headers: Option<u64>,
    /// Its digests, where its body was read.
    pub identity: Option<Identity>,
}

/// Which copies are whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement<Key> {
    /// Message and target UID of each copy that was found.
    pub found: Vec<(Key, Uid)>,
    /// Messages that are not there.
    pub missing: Vec<Key>,
    /// Messages of which it cannot be told whether they are there.
    pub undecided: Vec<Key>,
}

impl<Key: Ord + Clone> Settlement<Key> {
    /// Leaves open what is missing and could be one of these, which stand there and whose bodies the
    /// target does not give: to send it again could make a second copy. Gives what was left open.
    pub fn withhold(&mut self, sought: &[Sought<Key>], withheld: &[Candidate]) -> &[Key] {
        let may_be = |message: &Sought<Key>, one: &Candidate| {
            let headers = message.digests.zip(one.headers);
            headers.map_or_else(
                || is_close(message.size, one.size),
                |(digests, headers)| digests.headers == headers,
            )
        };
        let open: BTreeSet<&Key> = sought
            .iter()
            .filter(|message| withheld.iter().any(|one| may_be(message, one)))
            .map(|message| &message.key)
            .collect();
        let before = self.undecided.len();
        self.undecided.extend(self.missing.extract_if(.., |key| open.contains(key)));
        &self.undecided[before..]
    }
}

/// Sizes that a rewriting server can make of each other: within a tenth, or 64 octets.
#[must_use]
pub fn is_close(sent: u64, stored: u64) -> bool {
    sent.abs_diff(stored) <= (sent / 10).max(64)
}

/// Dates and sizes of messages: whether something found could be a copy of one of them is told by these, as
/// far as can be said without its header, and in a few steps though they are many.
#[derive(Debug, Clone, Default)]
pub struct Attributes {
    dates: BTreeSet<i64>,
    sizes: BTreeSet<u64>,
}

impl Attributes {
    /// Of messages with these sizes and dates.
    #[must_use]
    pub fn of(messages: impl IntoIterator<Item = (u64, Option<InternalDate>)>) -> Self {
        let mut attributes = Self::default();
        for (size, date) in messages {
            attributes.sizes.insert(size);
            attributes.dates.extend(date.map(InternalDate::seconds));
        }
        attributes
    }

    /// Of messages that are looked for.
    #[must_use]
    pub fn of_sought<Key>(sought: &[Sought<Key>]) -> Self {
        Self::of(sought.iter().map(|message| (message.size, message.date)))
    }

    /// Whether something with this size and date could be a copy of one of them: by date, or by size where
    /// the server changes dates.
    #[must_use]
    pub fn fit(&self, size: u64, date: Option<InternalDate>) -> bool {
        // What is not close to its neighbours is close to none.
        let above = self.sizes.range(size..).next();
        let below = self.sizes.range(..size).next_back();
        date.is_some_and(|date| self.dates.contains(&date.seconds()))
            || above.into_iter().chain(below).any(|sent| is_close(*sent, size))
    }
}

/// Size, date and header key: where they fit one message and one candidate, the body need not be read.
type Outline = (u64, Option<i64>, u64);

fn outline_of<Key>(message: &Sought<Key>) -> Option<Outline> {
    Some((message.size, message.date.map(InternalDate::seconds), message.digests?.headers))
}

fn outline(candidate: &Candidate) -> Option<Outline> {
    Some((candidate.size, candidate.date.map(InternalDate::seconds), candidate.headers?))
}

/// The pairs that fit each other and nothing else by size, date and header key.
fn shown<Key: Ord + Clone>(sought: &[Sought<Key>], candidates: &[Candidate]) -> BTreeMap<Uid, Key> {
    let mut by_outline: BTreeMap<Outline, (Vec<&Key>, Vec<Uid>)> = BTreeMap::new();
    for message in sought {
        if let Some(outline) = outline_of(message) {
            by_outline.entry(outline).or_default().0.push(&message.key);
        }
    }
    for candidate in candidates {
        if let Some(outline) = outline(candidate) {
            by_outline.entry(outline).or_default().1.push(candidate.uid);
        }
    }
    by_outline
        .into_iter()
        .filter(|((_, _, headers), _)| HeaderKeys::tells(*headers))
        .filter_map(|(_, (keys, uids))| match (keys.as_slice(), uids.as_slice()) {
            ([key], [uid]) => Some((*uid, (*key).clone())),
            _ => None,
        })
        .collect()
}

/// The candidates whose bodies must be read before [`settle`] can tell whose they are.
#[must_use]
pub fn needs_body<Key: Ord + Clone>(sought: &[Sought<Key>], candidates: &[Candidate]) -> Vec<Uid> {
    let shown = shown(sought, candidates);
    let open = candidates.iter().filter(|candidate| !shown.contains_key(&candidate.uid));
    open.map(|candidate| candidate.uid).collect()
}

/// Decides which candidates are the copies of the messages that are looked for.
#[must_use]
pub fn settle<Key: Ord + Clone>(
    sought: &[Sought<Key>],
    candidates: &[Candidate],
) -> Settlement<Key> {
    let shown = shown(sought, candidates);
    let mut settling = Settling {
        found: Vec::new(),
        open: sought.iter().collect(),
        free: candidates.iter().collect(),
    };
    settling.open.sort_by_key(|message| (message.claim, message.key.clone()));
    settling.free.sort_by_key(|candidate| candidate.uid);
    let unread = candidates.iter().filter(|candidate| candidate.identity.is_none());
    let unread: BTreeSet<Uid> = unread.map(|candidate| candidate.uid).collect();
    settling.take(shown.into_iter().filter(|(uid, _)| unread.contains(uid)).collect());
    // Of equal octets first what the target told, then those of the same date and flags, or of the same date: each of
    // several keeps its own.
    let seconds = |date: Option<InternalDate>| date.map(InternalDate::seconds);
    settling.claim(
        |message| match message.claim {
            Claim::At(uid) => Some((message.digests?.exact, uid)),
            _ => None,
        },
        |candidate| Some((candidate.identity?.exact, candidate.uid)),
        |_, _| true,
    );
    settling.claim(
        |message| Some((message.digests?.exact, seconds(message.date), message.flags.clone())),
        |candidate| {
            let exact = candidate.identity?.exact;
            Some((exact, seconds(candidate.date), candidate.flags.clone()))
        },
        |_, _| true,
    );
    settling.claim(
        |message| Some((message.digests?.exact, seconds(message.date))),
        |candidate| Some((candidate.identity?.exact, seconds(candidate.date))),
        |_, _| true,
    );
    settling.claim(
        |message| Some(message.digests?.exact),
        |candidate| Some(candidate.identity?.exact),
        |_, _| true,
    );
    settling.claim(
        |message| message.digests?.folded,
        |candidate| Some(candidate.identity?.folded),
        |_, _| true,
    );
    // Coarse: the same header lines, and as large and as old; and not the octets of another. All
    // messages without the usual headers have one key: of them only what stands where the target told.
    let exact: BTreeSet<Digest> =
        sought.iter().filter_map(|message| Some(message.digests?.exact)).collect();
    settling.claim(
        |message| Some(message.digests?.headers),
        |candidate| Some(candidate.identity?.headers),
        |message, found| {
            message.may_be_altered
                && is_close(message.size, found.size)
                && message.date == found.date
                && found.identity.is_none_or(|identity| !exact.contains(&identity.exact))
                && (message.digests.is_some_and(|digests| HeaderKeys::tells(digests.headers))
                    || message.claim == Claim::At(found.uid))
        },
    );
    let Settling { found, open, free } = settling;
    let is_undecided = |message: &&Sought<Key>| {
        message.digests.is_none()
            && free.iter().any(|candidate| is_close(message.size, candidate.size))
    };
    let (undecided, missing): (Vec<_>, Vec<_>) = open.into_iter().partition(is_undecided);
    let keys = |list: Vec<&Sought<Key>>| list.into_iter().map(|one| one.key.clone()).collect();
    Settlement { found, missing: keys(missing), undecided: keys(undecided) }
}

struct Settling<'a, Key> {
    found: Vec<(Key, Uid)>,
    open: Vec<&'a Sought<Key>>,
    free: Vec<&'a Candidate>,
}

impl<Key: Ord + Clone> Settling<'_, Key> {
    fn take(&mut self, pairs: BTreeMap<Uid, Key>) {
        let keys: BTreeSet<&Key> = pairs.values().collect();
        self.open.retain(|message| !keys.contains(&message.key));
        self.free.retain(|candidate| !pairs.contains_key(&candidate.uid));
        self.found.extend(pairs.into_iter().map(|(uid, key)| (key, uid)));
    }

    /// Claims by one kind of class: first each message the copy at the UID told, then in order, each the one
    /// that is nearest to it in size.
    fn claim<Class: Ord>(
        &mut self,
        class_of: impl Fn(&Sought<Key>) -> Option<Class>,
        class: impl Fn(&Candidate) -> Option<Class>,
        fits: impl Fn(&Sought<Key>, &Candidate) -> bool,
    ) {
        let mut by_class: BTreeMap<Class, Vec<&Candidate>> = BTreeMap::new();
        for candidate in &self.free {
            if let Some(class) = class(candidate) {
                by_class.entry(class).or_default().push(candidate);
            }
        }
        let mut claimed = Vec::new();
        for told in [true, false] {
            self.open.retain(|message| {
                if told && !matches!(message.claim, Claim::At(_)) {
                    return true;
                }
                let class = class_of(message).and_then(|class| by_class.get_mut(&class));
                let Some(class) = class else {
                    return true;
                };
                let is_there = |(_, candidate): &(usize, &&Candidate)| {
                    (!told || message.claim == Claim::At(candidate.uid)) && fits(message, candidate)
                };
                let fitting = || class.iter().enumerate().filter(is_there);
                // Most are as large as they were sent: then the others need not be looked at.
                let nearest = fitting()
                    .find(|(_, candidate)| candidate.size == message.size)
                    .or_else(|| fitting().min_by_key(|(_, it)| it.size.abs_diff(message.size)));
                let Some((at, _)) = nearest else {
                    return true;
                };
                claimed.push((message.key.clone(), class.remove(at).uid));
                false
            });
        }
        let taken: BTreeSet<Uid> = claimed.iter().map(|(_, uid)| *uid).collect();
        self.free.retain(|candidate| !taken.contains(&candidate.uid));
        self.found.extend(claimed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sought(key: u32, body: &[u8]) -> Sought<u32> {
        let (size, digests) = (body.len() as u64, Some(Identity::of(body).into()));
        let (claim, flags) = (Claim::InDoubt, Flags::default());
        Sought { key, claim, size, date: None, flags, digests, may_be_altered: true }
    }

    fn candidate(uid: u32, body: &[u8]) -> Candidate {
        let identity = Identity::of(body);
        let headers = Some(identity.headers);
        let size = body.len() as u64;
        let (identity, flags) = (Some(identity), Flags::default());
        Candidate { uid: Uid(uid), size, date: None, flags, headers, identity }
    }

    #[test]
    fn of_equal_octets_each_keeps_its_date() {
        let at = |seconds| Some(InternalDate::new(seconds, 0));
        let body = b"Subject: a\r\n\r\nbody\r\n";
        let sought =
            [(1, at(100)), (2, at(200))].map(|(key, date)| Sought { date, ..sought(key, body) });
        let there = [(7, at(200)), (8, at(100))]
            .map(|(uid, date)| Candidate { date, ..candidate(uid, body) });
        let mut found = settle(&sought, &there).found;
        found.sort_unstable();
        assert_eq!(found, [(1, Uid(8)), (2, Uid(7))]);
        // One that came with another date is a copy all the same.
        assert_eq!(settle(&sought[..1], &there[..1]).found, [(1, Uid(7))]);
    }

    #[test]
    fn of_rewritten_copies_the_nearest_in_size_is_taken() {
        // The first is somebody else's letter with the same header lines.
        let there = [
            candidate(7, b"Subject: a\r\n\r\n1\r\n"),
            candidate(8, b"Subject: a\r\n\r\n?12345\r\n"),
        ];
        assert_eq!(pairs(&settle(&[sought(1, b"Subject: a\r\n\r\n\x8012345")], &there)), [(1, 8)]);
    }

    #[test]
    fn of_equal_octets_each_keeps_its_flags_unless_the_target_told_otherwise() {
        let flags = |flags: &[&str]| Flags::parse(flags.iter().copied());
        let body = b"Subject: a\r\n\r\nbody\r\n";
        let sought = [(1, flags(&["\\Deleted"])), (2, flags(&[]))]
            .map(|(key, flags)| Sought { flags, ..sought(key, body) });
        let there = [(7, flags(&[])), (8, flags(&["\\Deleted"]))]
            .map(|(uid, flags)| Candidate { flags, ..candidate(uid, body) });
        let found = |sought: &[Sought<u32>]| {
            let mut found = settle(sought, &there).found;
            found.sort_unstable();
            found
        };
        assert_eq!(found(&sought), [(1, Uid(8)), (2, Uid(7))]);
        // Their owner has changed the flags since.
        let claims = [Claim::At(Uid(7)), Claim::InDoubt].into_iter();
        let told = sought.into_iter().zip(claims).map(|(one, claim)| Sought { claim, ..one });
        assert_eq!(found(&told.collect::<Vec<_>>()), [(1, Uid(7)), (2, Uid(8))]);
    }

    fn unread(uid: u32, body: &[u8]) -> Candidate {
        Candidate { identity: None, ..candidate(uid, body) }
    }

    fn pairs(settlement: &Settlement<u32>) -> Vec<(u32, u32)> {
        settlement.found.iter().map(|(source, target)| (*source, target.0)).collect()
    }

    #[test]
    fn what_stands_there_and_is_not_given_is_not_taken_for_gone() {
        let body: &[u8] = b"Subject: a\r\n\r\none\r\n";
        let other: &[u8] = b"Subject: b\r\n\r\ntwo\r\n";
        let all = [sought(1, body), sought(2, other)];
        let missing = || settle(&all, &[]);
        let mut settlement = missing();
        assert_eq!(settlement.withhold(&all, &[unread(7, body)]), [1]);
        assert_eq!((settlement.undecided, settlement.missing), (vec![1], vec![2]));
        // Of a message without a header to read the size is all that is known.
        let bare = Candidate { headers: None, ..unread(7, body) };
        assert_eq!(missing().withhold(&all, &[bare]), [1, 2]);
        let large = Candidate { headers: None, size: 10_000, ..unread(7, body) };
        assert_eq!(missing().withhold(&all, &[large]), [0; 0]);
        // What has its copy is found all the same.
        let mut settlement = settle(&all, &[candidate(8, body)]);
        assert_eq!(settlement.withhold(&all, &[unread(7, body)]), [0; 0]);
        assert_eq!(pairs(&settlement), [(1, 8)]);
    }

    #[test]
    fn what_fits_one_of_many_is_told_by_date_or_size() {
        let date = |seconds| Some(InternalDate::new(seconds, 0));
        let many = Attributes::of([(100, date(7)), (10_000, None), (10_000_000, date(9))]);
        for (size, date) in [(164, None), (9_000, None), (11_000, None), (1, date(9))] {
            assert!(many.fit(size, date), "{size} {date:?}");
        }
        for (size, date) in [(165, None), (8_999, date(8)), (11_001, None)] {
            assert!(!many.fit(size, date), "{size} {date:?}");
        }
    }

    #[test]
    fn twins_are_counted_and_each_copy_claimed_once() {
        let keys = [sought(1, b"a"), sought(2, b"a"), sought(3, b"a")];
        let settlement = settle(&keys, &[candidate(8, b"a"), candidate(7, b"a")]);
        assert_eq!(pairs(&settlement), [(1, 7), (2, 8)]);
        assert_eq!(settlement.missing, [3]);
    }

    #[test]
    fn a_twin_takes_the_copy_that_the_target_told_it() {
        let told = |key, uid| Sought { claim: Claim::At(Uid(uid)), ..sought(key, b"a") };
        let settlement = settle(
            &[told(1, 8), told(2, 7), sought(3, b"a")],
            &[7, 8, 9].map(|u| candidate(u, b"a")),
        );
        let mut pairs = pairs(&settlement);
        pairs.sort_unstable();
        assert_eq!(pairs, [(1, 8), (2, 7), (3, 9)]);
    }

    #[test]
    fn a_copy_that_was_seen_before_is_served_before_one_in_doubt() {
        let lapsed = Sought { claim: Claim::Lapsed, ..sought(2, b"a") };
        let settlement = settle(&[sought(1, b"a"), lapsed], &[candidate(9, b"a")]);
        assert_eq!(pairs(&settlement), [(2, 9)]);
        assert_eq!(settlement.missing, [1]);
    }

    #[test]
    fn mail_of_others_is_left_alone() {
        let settlement = settle(&[sought(1, b"Subject: a\r\n\r\n")], &[candidate(7, b"other")]);
        assert_eq!(settlement.missing, [1]);
        assert!(settlement.found.is_empty());
    }

    #[test]
    fn an_exact_copy_is_claimed_before_a_rewritten_one() {
        let (exact, rewritten) = (b"Subject: a\n\nx", b"Subject: a\r\n\r\nx\r\n");
        let keys = [sought(1, exact), sought(2, rewritten)];
        let settlement = settle(&keys, &[candidate(7, rewritten), candidate(8, rewritten)]);
        assert_eq!(pairs(&settlement), [(2, 7), (1, 8)]);
    }

    #[test]
    fn messages_without_headers_are_not_taken_for_each_other() {
        let keys = [sought(1, b"no header 1")];
        assert_eq!(settle(&keys, &[candidate(7, b"no header 2")]).missing, [1]);
        let told = Sought { claim: Claim::At(Uid(7)), ..sought(1, b"no header 1") };
        assert_eq!(pairs(&settle(&[told], &[candidate(7, b"no header, rewritten")])), [(1, 7)]);
    }

    #[test]
    fn a_copy_of_one_message_is_no_rewritten_copy_of_its_namesake() {
        let (one, other) = (b"Subject: a\r\n\r\n1", b"Subject: a\r\n\r\n23");
        let keys = [sought(1, one), sought(2, other)];
        let settlement = settle(&keys, &[candidate(7, other), candidate(8, other)]);
        assert_eq!((pairs(&settlement), settlement.missing), (vec![(2, 7)], vec![1]));
    }

    #[test]
    fn a_namesake_is_no_copy_where_the_server_changes_nothing() {
        let strict = Sought { may_be_altered: false, ..sought(1, b"Subject: a\r\n\r\n1") };
        let namesake = candidate(7, b"Subject: a\r\n\r\n2");
        assert_eq!(settle(&[strict], std::slice::from_ref(&namesake)).missing, [1]);
        assert_eq!(pairs(&settle(&[sought(1, b"Subject: a\r\n\r\n1")], &[namesake])), [(1, 7)]);
        let acknowledged = [Claim::At(Uid(7)), Claim::Somewhere];
        assert!(acknowledged.iter().all(|claim| may_alter(*claim, false, false)));
        assert!(
            !may_alter(Claim::InDoubt, false, false) && !may_alter(Claim::Lapsed, false, false)
        );
        assert!(may_alter(Claim::InDoubt, true, false) && may_alter(Claim::InDoubt, false, true));
    }

    #[test]
    fn a_body_is_read_only_where_size_date_and_headers_do_not_tell() {
        let (one, two) = (b"Subject: a\r\n\r\n1", b"Subject: a\r\n\r\n2");
        let other = b"Subject: b\r\n\r\n1";
        let keys = [sought(1, one), sought(2, two), sought(3, other)];
        let there = [unread(7, one), unread(8, two), unread(9, other)];
        assert_eq!(needs_body(&keys, &there), [Uid(7), Uid(8)]);
        let read = [candidate(7, two), candidate(8, one), unread(9, other)];
        assert_eq!(pairs(&settle(&keys, &read)), [(3, 9), (1, 8), (2, 7)]);
        let bare = [sought(1, b"no header")];
        assert_eq!(needs_body(&bare, &[unread(7, b"no header")]), [Uid(7)]);
    }

    #[test]
    fn a_message_whose_digests_nobody_knows_is_held_only_if_it_may_be_there() {
        let unknown = Sought { digests: None, ..sought(1, &[b'a'; 1000]) };
        let settlement = settle(std::slice::from_ref(&unknown), &[candidate(7, &[b'b'; 1001])]);
        assert_eq!(settlement.undecided, [1]);
        assert_eq!(settle(&[unknown], &[]).missing, [1]);
    }

    #[test]
    fn dates_or_sizes_make_a_copy_plausible() {
        let key = Sought { date: Some(InternalDate::new(5, 0)), ..sought(1, &[0; 1000]) };
        let attributes = Attributes::of_sought(&[key]);
        let fit = |size, seconds| attributes.fit(size, Some(InternalDate::new(seconds, 0)));
        assert!(fit(9_999, 5));
        assert!(fit(1_050, 6));
        assert!(!fit(9_999, 6));
    }
}
