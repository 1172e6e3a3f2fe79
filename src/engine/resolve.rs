//! Settles windows whose outcome is not known: looks at what the target has at and above the lowest
//! `lo`, and matches all of them at once. On a new connection, after settling, so that what is not
//! there is owed again.

use std::collections::{BTreeMap, BTreeSet};

use super::verify::{Stored, is_compared};
use super::work::Work;
use crate::event::Event;
use crate::fate::{Fate, Remark, RemarkKind};
use crate::fault::{Fault, Scope, Side};
use crate::history::Entry;
use crate::identity::{Digest, Identity};
use crate::ledger::{
    self, BoundMailbox, Doubt, Ledger, MailboxId, OpenWindow, Outcome, WindowId, WindowMessage,
};
use crate::mail::{Uid, UidValidity, WireName};
use crate::mutant::{self, Mutant};
use crate::plan::absent::{Absent, Blame, Seen, absent};
use crate::plan::settle::{
    Attributes, Candidate, Claim, Settlement, Sought, may_alter, needs_body, settle,
};
use crate::plan::sweep::{self, Key};
use crate::source::Source;
use crate::target::{Destination, Found, Target};

/// What became of windows that were left open.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// Source mailboxes whose windows could not be settled: nothing may be sent for them.
    pub(super) unresolved: BTreeSet<WireName>,
    /// Messages given up for this pass, by source mailbox.
    pub(super) given_up: BTreeMap<WireName, Vec<Uid>>,
}

impl Resolved {
    pub(super) fn add(&mut self, other: Self) {
        self.unresolved.extend(other.unresolved);
        for (name, uids) in other.given_up {
            self.given_up.entry(name).or_default().extend(uids);
        }
    }
}

/// Settles all windows that a lost connection or a dead run left open.
///
/// # Errors
///
/// Anything wider than a mailbox.
pub(super) async fn resolve_all<S: Source, T: Target, L: Ledger>(
    work: &Work<'_, L>,
    source: &mut S,
    target: &mut T,
    windows: Vec<OpenWindow>,
    bound: &[BoundMailbox],
) -> Result<Resolved, Fault> {
    let mut by_target: BTreeMap<&WireName, Vec<OpenWindow>> = BTreeMap::new();
    for window in windows {
        // A window is of a mailbox: the ledger gives both or none.
        if let Some(mailbox) = bound.iter().find(|bound| bound.id == window.window.mailbox) {
            by_target.entry(&mailbox.binding.target_name).or_default().push(window);
        }
    }
    let mut resolved = Resolved::default();
    let mut groups: Vec<(&WireName, Vec<OpenWindow>)> = by_target.into_iter().collect();
    if mutant::is(Mutant::ResolveOneByOne) {
        let alone = |(name, windows)| Vec::into_iter(windows).map(move |one| (name, vec![one]));
        groups = groups.into_iter().flat_map(alone).collect();
    }
    for (target_name, windows) in groups {
        let mailboxes: Vec<&BoundMailbox> =
            bound.iter().filter(|bound| bound.binding.target_name == *target_name).collect();
        let resolving = Resolving { work, mailboxes: &mailboxes };
        match resolving.run(source, target, windows).await {
            // That nothing had arrived is no progress: the pauses between tries go on growing.
            Ok(given_up) => {
                for ((mailbox, uid), name) in given_up {
                    debug_assert!(mailboxes.iter().any(|bound| bound.id == mailbox));
                    resolved.given_up.entry(name).or_default().push(uid);
                }
            }
            Err(fault) if fault.scope <= Scope::Mailbox => {
                for mailbox in mailboxes {
                    resolved.unresolved.insert(mailbox.binding.source_name.clone());
                    give_up(work, mailbox, &fault).await?;
                }
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(resolved)
}

/// Notes that a mailbox cannot be finished.
pub(super) async fn give_up<L: Ledger>(
    work: &Work<'_, L>,
    mailbox: &BoundMailbox,
    fault: &Fault,
) -> Result<(), Fault> {
    let reason = fault.chain();
    work.run.ledger.set_mailbox_fault(mailbox.id, Some(reason.clone())).await?;
    work.event(Event::MailboxFailed {
        account: work.label.clone(),
        mailbox: mailbox.binding.source_path.to_string(),
        side: fault.side,
        reason,
    });
    Ok(())
}

/// Opens a target mailbox, or makes it where somebody has removed it.
pub(super) async fn open_or_make<T: Target>(
    target: &mut T,
    name: &WireName,
) -> Result<Destination, Fault> {
    match target.open(name).await {
        Err(fault) if fault.scope == Scope::Mailbox => {
            target.create(name, None).await?;
            target.open(name).await
        }
        opened => opened,
    }
}

/// Opens a target mailbox again, after another one.
///
/// # Errors
///
/// As [`Target::open`]; a session fault where it has another UIDVALIDITY by now: nothing that is known of
/// its UIDs is true any more, and the next try compares what is there.
pub(super) async fn reopen<T: Target>(
    target: &mut T,
    name: &WireName,
    known: UidValidity,
) -> Result<(), Fault> {
    let now = target.open(name).await?.uid_validity;
    if now.is_some_and(|now| now != known) {
        let action = format!("open {} again", name.0.escape_ascii());
        return Err(Fault::session(action, "it is another mailbox than before").at(Side::Target));
    }
    Ok(())
}

/// Takes note of a UIDVALIDITY of a target mailbox that is not the one its claims were made under:
/// they are void, and what is there will be compared again.
pub(super) async fn check_validity<L: Ledger>(
    work: &Work<'_, L>,
    bound: &BoundMailbox,
    validity: UidValidity,
) -> Result<bool, Fault> {
    let changed = bound.binding.target_validity.is_some_and(|known| known != validity);
    if changed {
        work.run.ledger.reset_target(bound.id, validity).await?;
        let text = format!(
            "{}: the target gave it a new UIDVALIDITY (was it deleted and made again?): what is \
             there is compared, and only what is missing copied",
            bound.binding.target_path
        );
        work.event(Event::Warning { account: Some(work.label.clone()), text });
    }
    Ok(changed)
}

/// Settles the windows of one target mailbox.
struct Resolving<'a, 'w, L> {
    work: &'a Work<'w, L>,
    /// All source mailboxes that go there.
    mailboxes: &'a [&'a BoundMailbox],
}

/// A message of an open window.
struct Open {
    key: Key,
    window: WindowId,
    lo: Uid,
    epoch: i64,
    message: WindowMessage,
    claim: Claim,
}

type GivenUp = Vec<(Key, WireName)>;

impl<L: Ledger> Resolving<'_, '_, L> {
    async fn run<S: Source, T: Target>(
        &self,
        source: &mut S,
        target: &mut T,
        mut windows: Vec<OpenWindow>,
    ) -> Result<GivenUp, Fault> {
        let Some(first) = self.mailboxes.first() else {
            return Ok(Vec::new());
        };
        let destination = open_or_make(target, &first.binding.target_name).await?;
        let mut is_renumbered = false;
        for bound in self.mailboxes {
            let validity = destination.validity_after(bound.binding.target_validity);
            if check_validity(self.work, bound, validity).await? {
                is_renumbered = true;
                let own = windows.iter_mut().filter(|open| open.window.mailbox == bound.id);
                own.for_each(|open| open.window.lo = Uid::FIRST);
            }
        }
        let ids: Vec<WindowId> = windows.iter().map(|open| open.id).collect();
        let lo = windows.iter().map(|open| open.window.lo).min().unwrap_or(Uid::FIRST);
        let mut open = Vec::new();
        for window in windows {
            open.extend(self.open_messages(window).await?);
        }
        let mut claimed: BTreeSet<Uid> =
            self.work.run.ledger.claimed(first.id, lo).await?.into_iter().collect();
        if mutant::is(Mutant::ClaimTwice) {
            claimed.clear();
        }
        let there = target.look(lo).await?;
        let alters = self.work.alters();
        let mut sought: Vec<Sought<Key>> = open.iter().map(|one| sought(one, alters)).collect();
        let attributes = Attributes::of_sought(&sought);
        let unclaimed =
            |found: &&Found| !claimed.contains(&found.uid) && !mutant::is(Mutant::RetryWithoutLook);
        let plausible: Vec<Found> = there
            .iter()
            .filter(unclaimed)
            .filter(|found| attributes.fit(found.size, found.date))
            .cloned()
            .collect();
        let (mut lapsed, mut others) = (BTreeMap::new(), Others::default());
        if !plausible.is_empty() {
            self.identify(source, &mut open, &mut sought, &plausible).await?;
            let headers = sought.iter().filter_map(|one| Some(one.digests?.headers)).collect();
            let twins = self.work.run.ledger.twins(first.id, headers).await?;
            let own: BTreeSet<Key> = open.iter().map(|one| one.key).collect();
            others = Others::of(&twins, |key| own.contains(&key));
            // What was delivered meanwhile, or was there before, may be a namesake: where the target has not told of
            // a copy, its octets do.
            let untold = sought.iter().filter(|one| is_renumbered || one.claim == Claim::InDoubt);
            others.read_alike(untold.filter_map(|one| Some(one.digests?.headers)));
            let uids = there.iter().map(|found| found.uid);
            lapsed = lapsed_of(target, twins, lo, uids).await?;
            sought.extend(lapsed.iter().map(|(key, entry)| lapsed_sought(*key, entry, alters)));
        }
        let look = settle_among(target, plausible, &sought, &others).await?;
        let seen = Seen { lo, uid_next: destination.uid_next, there: &there, claimed: &claimed };
        let (settlement, given_up) = self.decide(target, ids, &open, &lapsed, look, &seen).await?;
        if !settlement.doubted.is_empty() {
            self.work.doubted();
        }
        if mutant::is(Mutant::CloseBeforeClaims) {
            let windows = settlement.windows.clone();
            let closed = ledger::Settlement { windows, ..ledger::Settlement::default() };
            self.work.run.ledger.settle(closed).await?;
        }
        self.work.run.ledger.settle(settlement).await?;
        Ok(given_up)
    }

    /// The messages of a window of which it is not known what became.
    async fn open_messages(&self, window: OpenWindow) -> Result<Vec<Open>, Fault> {
        let OpenWindow { id: window, acknowledged, window: opened } = window;
        let ledger::NewWindow { mailbox, epoch, lo, messages } = opened;
        let uids = || messages.iter().map(|message| message.uid);
        let (Some(low), Some(high)) = (uids().min(), uids().max()) else {
            return Ok(Vec::new());
        };
        let history = self.work.run.ledger.history(mailbox, low..=high).await?;
        let open = messages.into_iter().filter_map(|message| {
            let claim = Claim::of(history.get(message.uid), acknowledged)?;
            Some(Open { key: (mailbox, message.uid), window, lo, epoch, message, claim })
        });
        Ok(open.collect())
    }

    /// Reads again, at the source, what was streamed and never read whole.
    async fn identify<S: Source>(
        &self,
        source: &mut S,
        open: &mut [Open],
        sought: &mut [Sought<Key>],
        plausible: &[Found],
    ) -> Result<(), Fault> {
        for bound in self.mailboxes {
            let of_it = |one: &Open| one.key.0 == bound.id && one.message.identity.is_none();
            let uids: Vec<Uid> =
                open.iter().filter(|one| of_it(one)).map(|one| one.message.uid).collect();
            if uids.is_empty() || plausible.is_empty() {
                continue;
            }
            let opened = match source.open(&bound.binding.source_name).await {
                Err(fault) if fault.scope <= Scope::Mailbox => continue,
                opened => opened?,
            };
            if opened.uid_validity != Some(bound.binding.source_validity) {
                continue; // It cannot be told any more which message was sent.
            }
            let identities = source.identify(&uids).await?;
            for one in open.iter_mut().filter(|one| of_it(one)) {
                // Another size than was sent is another body: it says nothing of what was sent.
                let read = identities.get(&one.message.uid).copied();
                let sent = read.filter(|(size, _)| *size == one.message.size);
                one.message.identity = sent.map(|(_, identity)| identity);
            }
        }
        for (sought, open) in sought.iter_mut().zip(open.iter()) {
            sought.digests = open.message.identity.map(<_>::from);
            let risky = entry(&open.message).risky;
            sought.may_be_altered = may_alter(open.claim, self.work.alters(), risky);
        }
        Ok(())
    }

    async fn decide<T: Target>(
        &self,
        target: &mut T,
        windows: Vec<WindowId>,
        open: &[Open],
        lapsed: &BTreeMap<Key, Entry>,
        look: Look<Key>,
        seen: &Seen<'_>,
    ) -> Result<(ledger::Settlement, GivenUp), Fault> {
        let Look { settlement: matched, there, mut stored } = look;
        let found: BTreeMap<Key, Uid> = matched.found.into_iter().collect();
        let undecided: BTreeSet<Key> = matched.undecided.into_iter().collect();
        let compared: Vec<Uid> = open
            .iter()
            .filter_map(|one| Some((one, *found.get(&one.key)?)))
            .filter(|(one, uid)| {
                !stored.contains_key(uid)
                    && is_compared(self.work, &one.message, one.message.identity.as_ref())
            })
            .map(|(_, uid)| uid)
            .collect();
        stored.extend(target.identify(&compared).await?);
        let is_undecided = |one: &&Open| undecided.contains(&one.key);
        let stays: BTreeSet<WindowId> =
            open.iter().filter(is_undecided).map(|one| one.window).collect();
        let windows = windows.into_iter().filter(|window| !stays.contains(window)).collect();
        let mut settlement = ledger::Settlement { windows, ..ledger::Settlement::default() };
        let mut told = BTreeMap::<MailboxId, Told>::new();
        for (key, entry) in lapsed {
            if let Some(uid) = found.get(key) {
                let remarks = there
                    .get(uid)
                    .map(|found| self.work.judge(entry, found, stored.get(uid)))
                    .unwrap_or_default();
                let entry = Entry { target_uid: Some(*uid), ..entry.clone() };
                let outcome = Outcome { uid: key.1, entry, remarks, subject: None };
                settlement.outcomes.push((key.0, outcome));
            }
        }
        for one in open {
            let entry = entry(&one.message);
            let told = told.entry(one.key.0).or_default();
            let (entry, remarks) = if let Some(uid) = found.get(&one.key) {
                told.found(entry.size);
                let remarks = there
                    .get(uid)
                    .map(|found| self.work.judge(&entry, found, stored.get(uid)))
                    .unwrap_or_default();
                (Entry { fate: Fate::Copied, target_uid: Some(*uid), ..entry }, remarks)
            } else {
                let (entry, remarks, is_late) = if undecided.contains(&one.key) {
                    held(entry)
                } else {
                    self.absent(one, entry, seen)
                };
                told.missing += u64::from(entry.fate == Fate::Pending);
                if is_late {
                    let doubt = Doubt { mailbox: one.key.0, uid: one.key.1, lo: one.lo };
                    settlement.doubted.push(doubt);
                }
                if entry.fate != Fate::Pending && entry.fate != Fate::Copied {
                    told.given_up.push((one.key.1, entry.fate, remarks.clone()));
                }
                (entry, remarks)
            };
            let outcome = Outcome { uid: one.key.1, entry, remarks, subject: None };
            settlement.outcomes.push((one.key.0, outcome));
        }
        Ok((settlement, self.tell(told)))
    }

    /// What becomes of a message whose copy is not there.
    fn absent(&self, one: &Open, entry: Entry, seen: &Seen<'_>) -> (Entry, Vec<Remark>, bool) {
        let blame = Blame {
            // A window of this run lost its connection; the process that opened an older one died.
            of_this_run: one.epoch >= self.work.claim.epoch,
            doubts_max: self.work.run.config.doubts_max,
        };
        let Absent { fate, target_uid, troubles, remark, is_late } =
            absent(one.claim, one.lo, entry.troubles, seen, blame);
        let entry = Entry { fate, target_uid, troubles, ..entry };
        (entry, remark.into_iter().collect(), is_late)
    }

    /// Tells what was found, and gives what was given up.
    fn tell(&self, told: BTreeMap<MailboxId, Told>) -> GivenUp {
        let mut all = GivenUp::new();
        for (mailbox, Told { found, bytes, missing, given_up }) in told {
            let Some(bound) = self.mailboxes.iter().find(|bound| bound.id == mailbox) else {
                continue;
            };
            let (account, path) = (&self.work.label, bound.binding.source_path.to_string());
            let (account, mailbox_path) = (account.clone(), path.clone());
            self.work.event(Event::Settled { account, mailbox: mailbox_path, found, missing });
            if found > 0 {
                self.work.copied(found, bytes);
                let (account, mailbox) = (self.work.label.clone(), path.clone());
                self.work.event(Event::Copied { account, mailbox, messages: found, bytes });
            }
            for (uid, fate, remarks) in given_up {
                all.push(((mailbox, uid), bound.binding.source_name.clone()));
                self.work.not_copied();
                self.work.event(Event::NotCopied {
                    account: self.work.label.clone(),
                    mailbox: path.clone(),
                    uid: uid.0,
                    fate,
                    reason: remarks.into_iter().map(|remark| remark.text).collect(),
                });
            }
        }
        all
    }
}

/// What is told of one source mailbox.
#[derive(Default)]
struct Told {
    found: u64,
    bytes: u64,
    missing: u64,
    given_up: Vec<(Uid, Fate, Vec<Remark>)>,
}

impl Told {
    fn found(&mut self, bytes: u64) {
        self.found += 1;
        self.bytes += bytes;
    }
}

/// Its window stays open: the next pass asks the source again.
fn held(entry: Entry) -> (Entry, Vec<Remark>, bool) {
    let text = "it was sent, and whether it arrived cannot be told: the source does not give it any \
                more to compare, or the target does not give what could be its copy";
    let remark = Remark::new(RemarkKind::Reason, text);
    (Entry { fate: Fate::Held, ..entry }, vec![remark], true)
}

fn entry(message: &WindowMessage) -> Entry {
    let WindowMessage { size, date, identity, risky, troubles, .. } = *message;
    let digest = identity.map(|identity| (identity.exact, identity.headers));
    let risky = risky || identity.is_some_and(|identity| identity.risky);
    let (fate, target_uid) = (Fate::Pending, None);
    let (flags, changed) = (message.flags.clone(), message.changed.clone());
    Entry { fate, target_uid, size, date, flags, digest, troubles, risky, changed }
}

fn sought(open: &Open, alters: bool) -> Sought<Key> {
    let WindowMessage { size, date, identity, .. } = open.message;
    let flags = open.message.flags.clone();
    let (claim, digests) = (open.claim, identity.map(<_>::from));
    let may_be_altered = may_alter(claim, alters, entry(&open.message).risky);
    Sought { key: open.key, claim, size, date, flags, digests, may_be_altered }
}

pub(super) fn lapsed_sought(key: Key, entry: &Entry, alters: bool) -> Sought<Key> {
    let Entry { size, date, digest, risky, .. } = *entry;
    let (claim, digests) = (Claim::Lapsed, digest.map(<_>::from));
    let may_be_altered = may_alter(claim, alters, risky);
    Sought { key, claim, size, date, flags: entry.flags.clone(), digests, may_be_altered }
}

/// Of these messages those with a claim whose copies are not where they were seen: their owner may
/// have moved them away and back, and then what is there now is theirs.
pub(super) async fn lapsed_of<T: Target>(
    target: &mut T,
    twins: Vec<(MailboxId, Uid, Entry)>,
    lo: Uid,
    there: impl Iterator<Item = Uid>,
) -> Result<BTreeMap<Key, Entry>, Fault> {
    let claimed: Vec<(Key, Uid, Entry)> = twins
        .into_iter()
        .filter(|(_, _, entry)| entry.fate.is_there())
        .filter_map(|(mailbox, uid, entry)| Some(((mailbox, uid), entry.target_uid?, entry)))
        .collect();
    let mut below: Vec<Uid> =
        claimed.iter().map(|(_, target_uid, _)| *target_uid).filter(|uid| *uid < lo).collect();
    below.sort_unstable();
    below.dedup();
    let mut present: BTreeSet<Uid> = there.collect();
    if !below.is_empty() {
        present.extend(target.read_back(&below).await?.into_iter().map(|found| found.uid));
    }
    let lapsed = claimed.into_iter().filter(|(_, target_uid, _)| !present.contains(target_uid));
    Ok(lapsed.map(|(key, _, entry)| (key, entry)).collect())
}

/// Messages that are not looked for and could be mixed up with those that are: with the same header
/// lines. What has the octets of one of these is none of those that a server rewrote.
#[derive(Debug, Default)]
pub(super) struct Others {
    digests: BTreeSet<Digest>,
    headers: BTreeSet<u64>,
}

impl Others {
    /// Those that can be mixed up with these, of all source mailboxes that go where this one goes.
    pub(super) async fn beside<Key, L: Ledger>(
        work: &Work<'_, L>,
        mailbox: MailboxId,
        sought: &[Sought<Key>],
        is_looked_for: impl Fn(sweep::Key) -> bool,
    ) -> Result<Self, Fault> {
        let headers = sought.iter().filter_map(|one| Some(one.digests?.headers)).collect();
        Ok(Self::of(&work.run.ledger.twins(mailbox, headers).await?, is_looked_for))
    }

    /// Of these messages all but those that are looked for.
    pub(super) fn of(
        twins: &[(MailboxId, Uid, Entry)],
        is_looked_for: impl Fn(Key) -> bool,
    ) -> Self {
        let digests = || {
            twins
                .iter()
                .filter(|(mailbox, uid, _)| !is_looked_for((*mailbox, *uid)))
                .filter_map(|(_, _, entry)| entry.digest)
        };
        Self {
            digests: digests().map(|(exact, _)| exact).collect(),
            headers: digests().map(|(_, headers)| headers).collect(),
        }
    }

    /// Has whatever has these header lines read: there are more of them than the ledger can tell.
    pub(super) fn read_alike(&mut self, headers: impl IntoIterator<Item = u64>) {
        self.headers.extend(headers);
    }

    /// Whether one of them has exactly these octets.
    pub(super) fn has(&self, exact: Digest) -> bool {
        self.digests.contains(&exact)
    }
}

/// What a look at a target mailbox found.
pub(super) struct Look<Key> {
    pub(super) settlement: Settlement<Key>,
    /// Everything that could be a copy.
    pub(super) there: BTreeMap<Uid, Found>,
    /// The digests of what was read to tell.
    pub(super) stored: Stored,
}

/// Looks for copies among what stands on the target at and above a UID and was claimed by nobody.
pub(super) async fn look<T: Target, Key: Ord + Clone>(
    target: &mut T,
    from: Uid,
    claimed: &BTreeSet<Uid>,
    sought: &[Sought<Key>],
    others: &Others,
) -> Result<Look<Key>, Fault> {
    let mut there = target.look(from).await?;
    let attributes = Attributes::of_sought(sought);
    let fits = |found: &Found| attributes.fit(found.size, found.date);
    there.retain(|found| !claimed.contains(&found.uid) && fits(found));
    settle_among(target, there, sought, others).await
}

/// Matches what is looked for with what could be copies of it, whose headers and, where these do not
/// tell, bodies are read.
pub(super) async fn settle_among<T: Target, Key: Ord + Clone>(
    target: &mut T,
    there: Vec<Found>,
    sought: &[Sought<Key>],
    others: &Others,
) -> Result<Look<Key>, Fault> {
    let uids: Vec<Uid> = there.iter().map(|found| found.uid).collect();
    let headers = if uids.is_empty() { BTreeMap::new() } else { target.headers(&uids).await? };
    let mut candidates: Vec<Candidate> = there
        .iter()
        .map(|found| Candidate {
            uid: found.uid,
            size: found.size,
            date: found.date,
            flags: found.flags.clone(),
            headers: headers.get(&found.uid).map(|keys| keys.headers),
            identity: None,
        })
        .collect();
    let mut unread = needs_body(sought, &candidates);
    let has_namesakes =
        |one: &&Candidate| one.headers.is_some_and(|headers| others.headers.contains(&headers));
    unread.extend(candidates.iter().filter(has_namesakes).map(|one| one.uid));
    unread.sort_unstable();
    unread.dedup();
    let stored: BTreeMap<Uid, Identity> =
        if unread.is_empty() { BTreeMap::new() } else { target.identify(&unread).await? };
    for candidate in &mut candidates {
        candidate.identity = stored.get(&candidate.uid).copied();
    }
    let is_not_given =
        |one: &mut Candidate| one.identity.is_none() && unread.binary_search(&one.uid).is_ok();
    let mut not_given: Vec<Candidate> = candidates.extract_if(.., is_not_given).collect();
    let withheld = withheld(target, not_given.iter().map(|one| one.uid)).await?;
    not_given.retain(|one| withheld.contains(&one.uid));
    let exact: BTreeSet<Digest> =
        sought.iter().filter_map(|one| Some(one.digests?.exact)).collect();
    candidates.retain(|one| {
        one.identity.is_none_or(|it| exact.contains(&it.exact) || !others.has(it.exact))
    });
    let there = there.into_iter().map(|found| (found.uid, found)).collect();
    let mut settlement = settle(sought, &candidates);
    settlement.withhold(sought, &not_given);
    Ok(Look { settlement, there, stored })
}

/// Of what was to be read and was not given that which stands there still: the rest is gone.
pub(super) async fn withheld<T: Target>(
    target: &mut T,
    not_given: impl Iterator<Item = Uid>,
) -> Result<BTreeSet<Uid>, Fault> {
    let not_given: BTreeSet<Uid> = not_given.collect();
    let uids: Vec<Uid> = not_given.into_iter().collect();
    let there = target.read_back(&uids).await?;
    Ok(there.into_iter().map(|found| found.uid).collect())
}
