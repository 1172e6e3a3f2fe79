//! What must be true of a world whatever went wrong in it: who did what, as a model that shares
//! nothing with the engine, against what is on both servers and in the ledger.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::fate::{Fate, RemarkKind};
use crate::fault::Side;
use crate::identity::Identity;
use crate::ledger::{BoundMailbox, Ledger, MailboxId, RemarkRow};
use crate::plan::sweep::Key;
use crate::rehearsal::{Message, Snapshot, Store, StoredMessage};
use crate::repair::{Repairs, repair};
use crate::report::Verdict;

use super::plan::{Letter, MAILBOXES, Other, Plan, RENAMED, Traits};
use super::world::{Report, World};
use crate::config::{Delivery, LaterFlags, Moves};

type Path = Vec<String>;

/// A message that is or was at the source.
#[derive(Debug, Clone)]
struct Original {
    /// The number of its mailbox, which may change its name.
    mailbox: usize,
    uid: u32,
    body: Bytes,
    is_there: bool,
    /// The numbers of the mailboxes it was moved from.
    was_in: BTreeSet<usize>,
}

/// A message that somebody took from the target.
#[derive(Debug, Clone)]
struct Removed {
    mailbox: Path,
    uid_validity: u32,
    uid: u32,
    guid: u64,
    body: Bytes,
}

/// What others did, and what was there before.
#[derive(Clone)]
pub struct Model {
    source: Store,
    target: Store,
    traits: Traits,
    is_staged: bool,
    follows: bool,
    follows_moves: bool,
    /// What the target refuses, and what is repaired then.
    refused: Repairs,
    repairs: Repairs,
    merge: Option<(usize, usize)>,
    is_source_bumped: bool,
    is_target_bumped: bool,
    originals: Vec<Original>,
    /// Mailboxes of the source that have their other name.
    renamed: BTreeSet<usize>,
    /// Messages at the target that are not ours.
    others: BTreeSet<u64>,
    /// Messages at the target of which others have changed the flags.
    touched: BTreeSet<u64>,
    removed: Vec<Removed>,
    /// Messages that had another UID before their mailbox had a new UIDVALIDITY.
    before: BTreeMap<(Path, u32, u32), u64>,
    /// The source as it must be.
    expected_source: Snapshot,
}

/// A message that the ledger says is at the target.
struct Claim {
    target: Path,
    validity: u32,
    uid: Option<u32>,
    fate: Fate,
    /// Whether the ledger says that it holds what servers are known to change.
    risky: bool,
    /// Its number among the originals, where it is still there.
    original: Option<usize>,
    size: u64,
    source_uid: u32,
    source: Path,
    /// As the ledger knows it: under one UIDVALIDITY.
    bound: MailboxId,
    /// Whether a MOVE was asked for, and nothing is known of its outcome yet.
    is_moving: bool,
}

/// Where a claimed copy is.
enum Copy {
    There(Box<StoredMessage>),
    Removed(Removed),
    Nowhere,
}

fn owned(path: &[&str]) -> Path {
    path.iter().map(|name| (*name).to_owned()).collect()
}

/// The names that a mailbox may have, the usual one first.
fn names(mailbox: usize) -> [Path; 2] {
    [owned(MAILBOXES[mailbox]), owned(RENAMED[mailbox])]
}

impl Model {
    /// Sets a world up as a plan says.
    pub fn new(plan: &Plan, world: &World) -> Self {
        let (source, target) = (world.anna(), world.copy());
        let mut model = Self {
            source,
            target,
            traits: plan.traits(),
            is_staged: plan.setup.delivery == Delivery::Staged,
            follows: plan.setup.later_flags == LaterFlags::Follow,
            follows_moves: plan.setup.moves == Moves::Follow,
            refused: plan.refused,
            repairs: plan.setup.repairs,
            merge: plan.setup.merge,
            is_source_bumped: false,
            is_target_bumped: false,
            originals: Vec::new(),
            renamed: BTreeSet::new(),
            others: BTreeSet::new(),
            touched: BTreeSet::new(),
            removed: Vec::new(),
            before: BTreeMap::new(),
            expected_source: Snapshot::default(),
        };
        for letter in &plan.mail {
            model.deliver(Side::Source, letter);
        }
        for letter in &plan.before {
            model.deliver(Side::Target, letter);
        }
        model.expected_source = model.source.snapshot();
        model
    }

    /// Does what others do. Says whether it had any effect.
    pub fn act(&mut self, deed: &Other) -> bool {
        let done = match deed {
            Other::Crash(_) => true,
            Other::Deliver(side, letter) => {
                self.deliver(*side, letter);
                true
            }
            Other::Expunge(Side::Source, mailbox, index) => {
                self.take_from_source(*mailbox, *index).is_some()
            }
            Other::Expunge(Side::Target, mailbox, index) => {
                self.take(&self.target_path(*mailbox), *index).is_some()
            }
            Other::Move(from, index, to) => self.r#move(*from, *index, *to),
            Other::Rename(mailbox) => self.rename(*mailbox),
            Other::Flags(side, mailbox, index, flags) => self.flag(*side, *mailbox, *index, flags),
            Other::NewValidity(Side::Source, mailbox) => self.bump_source(*mailbox),
            Other::NewValidity(Side::Target, mailbox) => {
                self.bump_target(&self.target_path(*mailbox))
            }
            Other::AwayAndBack(mailbox, index) => {
                let path = self.target_path(*mailbox);
                let taken = self.take(&path, *index);
                taken.is_some_and(|message| {
                    let StoredMessage { flags, internal_date, body, .. } = message;
                    self.bring(&path, Message { flags, internal_date, body });
                    true
                })
            }
            Other::Room(bytes) => {
                let used: usize = (0..MAILBOXES.len())
                    .flat_map(names)
                    .flat_map(|path| self.target.messages(&path))
                    .map(|message| message.body.len())
                    .sum();
                self.target.set_quota(Some(used as u64 + bytes));
                true
            }
            Other::MuchRoom => {
                self.target.set_quota(None);
                true
            }
            Other::Delete(mailbox) => self.delete(&self.target_path(*mailbox)),
        };
        self.expected_source = self.source.snapshot();
        done
    }

    fn deliver(&mut self, side: Side, letter: &Letter) {
        match side {
            Side::Source => self.send(letter.mailbox, letter.message(), BTreeSet::new()),
            Side::Target => self.bring(&self.target_path(letter.mailbox), letter.message()),
        }
    }

    /// A message comes to the source, or to another mailbox of it.
    fn send(&mut self, mailbox: usize, message: Message, was_in: BTreeSet<usize>) {
        let body = message.body.clone();
        let uid = self.source.deliver(&self.source_path(mailbox), message);
        self.originals.push(Original { mailbox, uid, body, is_there: true, was_in });
    }

    fn source_path(&self, mailbox: usize) -> Path {
        let [usual, other] = names(mailbox);
        if self.renamed.contains(&mailbox) { other } else { usual }
    }

    /// The mailbox whose place at the target this one's messages have.
    fn place(&self, mailbox: usize) -> usize {
        self.merge.filter(|(from, _)| *from == mailbox).map_or(mailbox, |(_, into)| into)
    }

    /// The names that the source mailboxes of a place may have.
    fn sources(&self, place: usize) -> BTreeSet<Path> {
        let sources = (0..MAILBOXES.len()).filter(|mailbox| self.place(*mailbox) == place);
        sources.flat_map(names).collect()
    }

    /// Where the copies of a mailbox are, or the first of two such places.
    fn target_path(&self, mailbox: usize) -> Path {
        let [usual, other] = names(self.place(mailbox));
        let is_there = |path: &Path| self.target.mailboxes().iter().any(|one| one.path == *path);
        if !is_there(&usual) && is_there(&other) { other } else { usual }
    }

    /// Somebody else's message comes to the target.
    fn bring(&mut self, path: &Path, message: Message) {
        let uid = self.target.deliver(path, message);
        let brought = self.target.messages(path).into_iter().find(|one| one.uid == uid);
        self.others.extend(brought.map(|message| message.guid));
    }

    fn nth(store: &Store, path: &Path, index: usize) -> Option<StoredMessage> {
        let mut messages = store.messages(path);
        let count = messages.len();
        (count > 0).then(|| messages.swap_remove(index % count))
    }

    /// Takes a message away from the source. Gives it, with the mailboxes that it was in.
    fn take_from_source(
        &mut self,
        mailbox: usize,
        index: usize,
    ) -> Option<(StoredMessage, BTreeSet<usize>)> {
        let path = self.source_path(mailbox);
        let message = Self::nth(&self.source, &path, index)?;
        self.source.expunge(&path, message.uid);
        let mut was_in = BTreeSet::from([mailbox]);
        for original in &mut self.originals {
            if original.is_there && original.mailbox == mailbox && original.uid == message.uid {
                original.is_there = false;
                was_in.extend(&original.was_in);
            }
        }
        Some((message, was_in))
    }

    fn r#move(&mut self, from: usize, index: usize, to: usize) -> bool {
        let taken = self.take_from_source(from, index);
        taken.is_some_and(|(StoredMessage { flags, internal_date, body, .. }, was_in)| {
            self.send(to, Message { flags, internal_date, body }, was_in);
            true
        })
    }

    /// Gives a mailbox of the source its other name.
    fn rename(&mut self, mailbox: usize) -> bool {
        let [usual, other] = names(mailbox);
        let (from, to) = match self.renamed.contains(&mailbox) {
            true => (other, usual),
            false => (usual, other),
        };
        if from == to || self.source.rename_mailbox(&from, &to).is_err() {
            return false;
        }
        if !self.renamed.remove(&mailbox) {
            self.renamed.insert(mailbox);
        }
        true
    }

    /// Takes a message away from the target.
    fn take(&mut self, path: &Path, index: usize) -> Option<StoredMessage> {
        let message = Self::nth(&self.target, path, index)?;
        self.note_removed(path, &message);
        self.target.expunge(path, message.uid);
        Some(message)
    }

    fn note_removed(&mut self, path: &Path, message: &StoredMessage) {
        self.removed.push(Removed {
            mailbox: path.clone(),
            uid_validity: validity(&self.target, path),
            uid: message.uid,
            guid: message.guid,
            body: message.body.clone(),
        });
    }

    fn flag(&mut self, side: Side, mailbox: usize, index: usize, flags: &[&str]) -> bool {
        let (store, path) = match side {
            Side::Source => (&self.source, self.source_path(mailbox)),
            Side::Target => (&self.target, self.target_path(mailbox)),
        };
        let Some(message) = Self::nth(store, &path, index) else {
            return false;
        };
        store.set_flags(&path, message.uid, flags);
        if side == Side::Target {
            self.touched.insert(message.guid);
        }
        true
    }

    fn bump_source(&mut self, mailbox: usize) -> bool {
        let path = self.source_path(mailbox);
        let before = self.source.messages(&path);
        if self.source.bump_uid_validity(&path).is_none() {
            return false;
        }
        self.is_source_bumped = true;
        let after = self.source.messages(&path);
        let new: BTreeMap<u32, u32> =
            before.iter().zip(&after).map(|(before, after)| (before.uid, after.uid)).collect();
        for original in self.originals.iter_mut().filter(|one| one.is_there) {
            if original.mailbox == mailbox {
                original.uid = new[&original.uid];
            }
        }
        true
    }

    fn bump_target(&mut self, path: &Path) -> bool {
        let (old, before) = (validity(&self.target, path), self.target.messages(path));
        if self.target.bump_uid_validity(path).is_none() {
            return false;
        }
        self.is_target_bumped = true;
        for (before, after) in before.iter().zip(self.target.messages(path)) {
            for known in self.before.values_mut().filter(|guid| **guid == before.guid) {
                *known = after.guid;
            }
            self.before.insert((path.clone(), old, before.uid), after.guid);
            for guids in [&mut self.others, &mut self.touched] {
                if guids.remove(&before.guid) {
                    guids.insert(after.guid);
                }
            }
        }
        true
    }

    fn delete(&mut self, path: &Path) -> bool {
        let messages = self.target.messages(path);
        for message in &messages {
            self.note_removed(path, message);
        }
        let deleted = self.target.delete_mailbox(path).is_ok();
        if !deleted {
            self.removed.truncate(self.removed.len() - messages.len());
        }
        deleted
    }

    /// Finds a copy by what the ledger says of it.
    fn copy(&self, claim: &Claim) -> Copy {
        let Some(uid) = claim.uid else {
            return Copy::Nowhere;
        };
        let here = self.target.messages(&claim.target);
        let now = validity(&self.target, &claim.target);
        let moved = self.before.get(&(claim.target.clone(), claim.validity, uid));
        let there = here.into_iter().find(|message| match moved {
            Some(guid) => message.guid == *guid,
            None => claim.validity == now && message.uid == uid,
        });
        if let Some(message) = there {
            return Copy::There(Box::new(message));
        }
        let removed = self.removed.iter().find(|one| {
            let by_uid =
                (&one.mailbox, one.uid_validity, one.uid) == (&claim.target, claim.validity, uid);
            by_uid || moved.is_some_and(|guid| one.guid == *guid)
        });
        removed.map_or(Copy::Nowhere, |removed| Copy::Removed(removed.clone()))
    }

    /// Messages that a copier need not tell apart are of one class.
    fn class(&self, body: &Bytes) -> Bytes {
        let body = self.repaired(body);
        if self.traits.rewrites && !body.ends_with(b"\n") {
            return [&body[..], b"\r\n"].concat().into();
        }
        body
    }

    /// What is sent of a message that was refused.
    fn repaired(&self, body: &Bytes) -> Bytes {
        repair(body, self.repairs).map_or_else(|| body.clone(), |(repaired, _)| repaired.into())
    }

    /// Whether the target never takes a message.
    fn is_refused(&self, body: &Bytes) -> bool {
        let is_refused = |body: &Bytes| repair(body, self.refused).is_some();
        // No server takes a message without an octet.
        body.is_empty() || (is_refused(body) && is_refused(&self.repaired(body)))
    }

    /// What is wrong, whenever one looks.
    pub async fn check(&self, world: &World, report: Option<&Report>) -> Vec<String> {
        let mut wrong = Vec::new();
        self.check_source(world, &mut wrong);
        let claims = self.claims(world).await;
        self.check_claims(&claims, report, &mut wrong);
        if let Some(report) = report {
            self.check_report(report, &claims, &mut wrong);
        }
        wrong
    }

    /// What is wrong when all is quiet and a run went through; `first` is whether no other has since
    /// it became quiet.
    pub async fn check_end(&self, world: &World, report: &Report, first: bool) -> Vec<String> {
        let mut wrong = self.check(world, Some(report)).await;
        let claims = self.claims(world).await;
        let by_original: BTreeMap<usize, &Claim> =
            claims.iter().filter_map(|claim| Some((claim.original?, claim))).collect();
        for (number, original) in self.originals.iter().enumerate() {
            if !original.is_there {
                continue;
            }
            match by_original.get(&number).map(|claim| claim.fate) {
                Some(Fate::Copied | Fate::Adopted | Fate::Merged) => {}
                Some(Fate::Held) if self.may_be_held() => {}
                // Its second loss was before, and came to light in this run: the next one tries again.
                Some(Fate::Lost) if first => {}
                Some(Fate::Refused) if self.is_refused(&original.body) => {}
                // It keeps one copy of equal messages, and tells another UID for it.
                Some(Fate::Refused) if self.traits.merges && self.traits.lies => {}
                fate => wrong.push(format!("P1: {} is {fate:?} at the end", self.tell(original))),
            }
        }
        self.check_flags(&claims, report, &mut wrong);
        self.check_repairs(&claims, report, &mut wrong);
        self.check_surplus(&claims, report, &mut wrong);
        for info in self.target.mailboxes() {
            let of_ours = info.path.iter().any(|name| name.starts_with("mailhaul-"));
            if of_ours && !self.traits.late && !self.traits.late_move {
                wrong.push(format!("P2: {:?} is left with {} messages", info.path, info.messages));
            }
        }
        wrong
    }

    fn may_be_held(&self) -> bool {
        self.traits.rewrites || self.originals.iter().any(|one| !one.is_there)
    }

    /// P4: the source is as others left it.
    fn check_source(&self, world: &World, wrong: &mut Vec<String>) {
        if self.source.snapshot() != self.expected_source {
            wrong.push("P4: the source was changed".to_owned());
        }
        let counters = world.source.counters();
        for command in super::world::CHANGING {
            if counters.command(command) > 0 {
                wrong.push(format!("P4: {command} at the source"));
            }
        }
    }

    async fn claims(&self, world: &World) -> Vec<Claim> {
        let account = world.accounts[0].name();
        let claim = world.ledger.claim(&account).await.expect("memory is read");
        let bound = world.ledger.mailboxes(claim.account).await.expect("memory is read");
        let moves = world.ledger.open_moves(claim.account).await.expect("memory is read");
        let moving: BTreeSet<_> = moves.into_iter().map(|one| one.intent.from).collect();
        let mut claims = Vec::new();
        for mailbox in bound {
            self.claims_of(world, &mailbox, &moving, &mut claims).await;
        }
        claims
    }

    async fn claims_of(
        &self,
        world: &World,
        bound: &BoundMailbox,
        moving: &BTreeSet<Key>,
        claims: &mut Vec<Claim>,
    ) {
        let all = crate::mail::Uid(0)..=crate::mail::Uid(u32::MAX);
        let history = world.ledger.history(bound.id, all).await.expect("memory is read");
        let source: Path = bound.binding.source_path.names().to_vec();
        let is_current = validity(&self.source, &source) == bound.binding.source_validity.0;
        for (uid, entry) in history.iter() {
            let is_it = |one: &Original| {
                is_current
                    && one.is_there
                    && self.source_path(one.mailbox) == source
                    && one.uid == uid.0
            };
            claims.push(Claim {
                target: bound.binding.target_path.names().to_vec(),
                validity: bound.binding.target_validity.map_or(0, |validity| validity.0),
                uid: entry.target_uid.map(|uid| uid.0),
                fate: entry.fate,
                risky: entry.risky,
                original: self.originals.iter().position(is_it),
                size: entry.size,
                source_uid: uid.0,
                source: source.clone(),
                bound: bound.id,
                is_moving: moving.contains(&(bound.id, uid)),
            });
        }
    }

    /// P1: what is said to be copied is there, equal, and for one message each.
    fn check_claims(&self, claims: &[Claim], report: Option<&Report>, wrong: &mut Vec<String>) {
        let mut taken: BTreeMap<(&Path, u32, u32), &Claim> = BTreeMap::new();
        for claim in claims.iter().filter(|claim| claim.fate.is_there()) {
            let what = format!(
                "{:?} UID {} ({}, {} octets) at {:?} {} UID {:?}",
                claim.source,
                claim.source_uid,
                claim.fate,
                claim.size,
                claim.target,
                claim.validity,
                claim.uid
            );
            let original = claim.original.map(|number| &self.originals[number]);
            // One copy of equal messages is kept, or, which looks the same, one is not stored and told to be
            // where the next one is.
            let is_merged = claim.fate == Fate::Merged;
            if is_merged && !self.traits.merges && !self.traits.lies {
                wrong.push(format!("P1: {what}, and the target keeps every copy"));
            }
            if let Some(uid) = claim.uid.filter(|_| !is_merged)
                && let Some(other) = taken.insert((&claim.target, claim.validity, uid), claim)
            {
                wrong.push(format!("P1: {what} is also the copy of UID {}", other.source_uid));
            }
            // An altered copy and somebody else's namesake look the same: of what servers are known to change,
            // and, as it is told, where the target names the UID of what it did not store, or the copy was
            // acknowledged and then removed by its owner.
            let is_namesake = |guid: u64, body: &Bytes| {
                let is_alike = |original: &Original| {
                    Identity::of(&original.body).headers == Identity::of(body).headers
                };
                let is_told = report.is_none_or(|report| {
                    remarked(&report.remarks, claim, RemarkKind::BytesAltered)
                });
                let is_removed = |original: &Original| {
                    let class = self.class(&original.body);
                    self.removed.iter().any(|one| self.class(&one.body) == class)
                };
                let may_be_taken = self.traits.lies || original.is_some_and(is_removed);
                let may_be = claim.risky || (is_told && may_be_taken);
                self.others.contains(&guid) && may_be && original.is_some_and(is_alike)
            };
            let (body, may_be_another) = match self.copy(claim) {
                Copy::There(message) => {
                    let is_namesake = is_namesake(message.guid, &message.body);
                    (message.body, is_namesake)
                }
                // What stood at a UID that was a lie nobody can tell.
                Copy::Removed(one) => {
                    let may_be_another = self.traits.lies || is_namesake(one.guid, &one.body);
                    (one.body, may_be_another)
                }
                Copy::Nowhere => {
                    // Asked for in time, and done when nobody looked any more.
                    let moved_late = claim.original.is_none() && self.traits.late_move;
                    let may_be_gone = claim.is_moving || moved_late;
                    if !may_be_gone && !self.may_be_taken_for_removed(claim) {
                        wrong.push(format!("P1: {what} is not there"));
                    }
                    continue;
                }
            };
            if let Some(original) = original
                && self.class(&body) != self.class(&original.body)
                && claim.fate != Fate::Adopted
                && !may_be_another
            {
                let (one, other) = (shown(&original.body), shown(&body));
                wrong.push(format!("P1: {what} is another message: {one} became {other}"));
            }
        }
    }

    /// A copy whose UID is not known, or was a lie, is taken for removed by its owner where anything
    /// was removed since.
    fn may_be_taken_for_removed(&self, claim: &Claim) -> bool {
        let gap = self.removed.iter().any(|one| one.mailbox == claim.target);
        let equal = self.removed.iter().any(|one| {
            let original = claim.original.map(|number| &self.originals[number].body);
            one.mailbox == claim.target
                && original.is_none_or(|body| self.class(body) == self.class(&one.body))
        });
        (claim.uid.is_none() && equal) || (gap && self.traits.lies)
    }

    /// P5: the report adds up, and says "done" only where it is true.
    fn check_report(&self, report: &Report, claims: &[Claim], wrong: &mut Vec<String>) {
        for mailbox in report.accounts.iter().flat_map(|account| &account.mailboxes) {
            let sum: u64 = mailbox.fates.values().map(|count| count.messages).sum();
            if sum != mailbox.messages {
                wrong.push(format!(
                    "P5: {} has {} messages, {sum} fates",
                    mailbox.source, mailbox.messages
                ));
            }
        }
        let seen: u64 = report
            .accounts
            .iter()
            .flat_map(|account| &account.mailboxes)
            .map(|mailbox| mailbox.messages)
            .sum();
        if report.verdict == Verdict::Done {
            let there = claims.iter().filter(|claim| claim.fate.is_there()).count() as u64;
            let copied = report.totals.sum(&[Fate::Copied, Fate::Adopted, Fate::Merged]).messages;
            if copied > there || seen < copied {
                wrong.push(format!("P5: done, {copied} copied of {seen}, {there} in the ledger"));
            }
        }
        // P6.
        let secret = super::world::password(super::world::ANNA);
        let told = format!("{:?}", report.remarks);
        if told.contains(&secret)
            || report.events.iter().any(|one| format!("{one:?}").contains(&secret))
        {
            wrong.push("P6: the password is told".to_owned());
        }
    }

    /// What was sent repaired is told of, and of nothing else. Of a copy that came after its message was
    /// refused it is told that its octets are others.
    fn check_repairs(&self, claims: &[Claim], report: &Report, wrong: &mut Vec<String>) {
        for claim in claims.iter().filter(|claim| claim.fate == Fate::Copied) {
            let Some(original) = claim.original.map(|number| &self.originals[number]) else {
                continue;
            };
            let Copy::There(copy) = self.copy(claim) else {
                continue;
            };
            let as_it_is = copy.body.starts_with(&original.body);
            let as_repaired = copy.body.starts_with(&self.repaired(&original.body));
            let fits = match remarked(&report.remarks, claim, RemarkKind::Repaired) {
                true => as_repaired,
                false => as_it_is || remarked(&report.remarks, claim, RemarkKind::BytesAltered),
            };
            if as_it_is != as_repaired && !fits && !self.others.contains(&copy.guid) {
                let what = self.tell(original);
                wrong.push(format!("P1: {what} was repaired: {as_repaired}; told otherwise"));
            }
        }
    }

    /// Flags and dates are equal, or that they are not is told.
    fn check_flags(&self, claims: &[Claim], report: &Report, wrong: &mut Vec<String>) {
        for claim in claims.iter().filter(|claim| claim.fate == Fate::Copied) {
            let Some(original) = claim.original.map(|number| &self.originals[number]) else {
                continue;
            };
            let Copy::There(copy) = self.copy(claim) else {
                continue;
            };
            let source = self.source.messages(&self.source_path(original.mailbox));
            let Some(source) = source.iter().find(|message| message.uid == original.uid) else {
                continue;
            };
            if self.touched.contains(&copy.guid) {
                continue;
            }
            let remarked = |kind| remarked(&report.remarks, claim, kind);
            // Equal messages are exchangeable: one may be taken for the other's copy, which goes along
            // when its message is moved.
            let mut places = original.was_in.iter().chain([&original.mailbox]);
            let has_twin = self.others.contains(&copy.guid)
                || places.any(|place| self.equal(*place, &original.body).count() > 1);
            let may_differ = has_twin || !self.follows || remarked(RemarkKind::FlagsReduced);
            if source.flags != copy.flags && !may_differ {
                wrong.push(format!(
                    "P1: {} has flags {:?}, its copy {:?}",
                    self.tell(original),
                    source.flags,
                    copy.flags
                ));
            }
            let (instant, copied) =
                (source.internal_date.unix_seconds, copy.internal_date.unix_seconds);
            // Renumbered, a mailbox is known again by its bodies, whatever the dates: equal ones may change places.
            let is_exchanged = has_twin && self.is_source_bumped;
            if instant != copied && !remarked(RemarkKind::DateAltered) && !is_exchanged {
                let what = self.tell(original);
                wrong.push(format!("P1: {what} is of {instant}, its copy of {copied}"));
            }
        }
    }

    /// All that is or was at the source and is equal to this.
    fn equal(&self, mailbox: usize, body: &Bytes) -> impl Iterator<Item = &Original> {
        let (place, class) = (self.place(mailbox), self.class(body));
        let is_it = move |one: &&Original| {
            self.place(one.mailbox) == place && self.class(&one.body) == class
        };
        self.originals.iter().filter(is_it)
    }

    /// P2 and P3: nothing is at the target but what others brought and one copy of each message;
    /// where there is more, something took effect late, and it is told.
    fn check_surplus(&self, claims: &[Claim], report: &Report, wrong: &mut Vec<String>) {
        let mut claimed: BTreeMap<u64, Fate> = BTreeMap::new();
        // Somebody else's messages that were taken for ours before they were removed.
        let mut mistaken: Vec<(Path, Bytes)> = Vec::new();
        for claim in claims.iter().filter(|claim| claim.fate.is_there()) {
            match self.copy(claim) {
                Copy::There(message) => {
                    claimed.insert(message.guid, claim.fate);
                }
                Copy::Removed(one) if claim.fate == Fate::Copied => {
                    if self.others.contains(&one.guid) {
                        mistaken.push((one.mailbox, self.class(&one.body)));
                    }
                }
                Copy::Removed(_) | Copy::Nowhere => {}
            }
        }
        for (mailbox, usual) in MAILBOXES.iter().enumerate() {
            let (names, sources) = (BTreeSet::from(names(mailbox)), self.sources(mailbox));
            let mut classes: BTreeMap<Bytes, Presence> = BTreeMap::new();
            for message in names.iter().flat_map(|path| self.target.messages(path)) {
                let presence = classes.entry(self.class(&message.body)).or_default();
                let is_ours = !self.others.contains(&message.guid);
                let claim = claimed.get(&message.guid);
                presence.surplus += u64::from(is_ours && claim.is_none());
                // Somebody else's equal message was taken for ours, which is therefore in excess.
                presence.mistaken += u64::from(!is_ours && claim == Some(&Fate::Copied));
            }
            for (class, presence) in classes {
                let gone = self.equal(mailbox, &class).filter(|one| !one.is_there).count() as u64;
                let is_it = |one: &&(Path, Bytes)| names.contains(&one.0) && one.1 == class;
                let mistaken = presence.mistaken + mistaken.iter().filter(is_it).count() as u64;
                // Sent from a mailbox that was renamed before anything of it was known, and told.
                let held = claims.iter().filter(|claim| {
                    let is_held = claim.fate == Fate::Held && claim.original.is_none();
                    is_held && sources.contains(&claim.source)
                });
                // Taken for ours where no UIDs are told, and removed by its owner before ours was found.
                let foreign = self.removed.iter().filter(|one| {
                    let is_others = self.traits.tells_no_uids && self.others.contains(&one.guid);
                    is_others && names.contains(&one.mailbox) && self.class(&one.body) == class
                });
                let unseen = held.count() + foreign.count();
                let explained = mistaken + gone + unseen as u64;
                let surplus = presence.surplus.saturating_sub(explained);
                let told = self.is_told_twice(mailbox, &class, report);
                let what = format!("{} in {usual:?}", shown(&class));
                if surplus > 0 && !self.may_be_twice(mailbox) {
                    wrong.push(format!("P2: {what} is there {surplus} times too often"));
                }
                if surplus > 0 && self.may_be_twice(mailbox) && !told && !self.is_bumped() {
                    wrong.push(format!("P3: {what} is there twice, and that is not told"));
                }
            }
        }
        for row in &report.remarks {
            if row.remark.kind == RemarkKind::PossibleDuplicate
                && !self.is_ambiguous(row, claims, &claimed)
            {
                wrong.push(format!(
                    "P3: {} UID {} is said to be there twice, and is not: {}",
                    row.mailbox, row.uid, row.remark.text
                ));
            }
        }
    }

    /// Whether an APPEND or a MOVE may have taken effect after settling. Junk is never staged; what was
    /// moved at the source goes along by MOVE either way.
    fn may_be_twice(&self, mailbox: usize) -> bool {
        if self.is_staged && MAILBOXES[mailbox] != ["Junk"] {
            self.traits.late_move || self.traits.falls_back
        } else {
            self.traits.late || (self.follows_moves && self.traits.late_move)
        }
    }

    fn is_bumped(&self) -> bool {
        self.is_source_bumped || self.is_target_bumped
    }

    /// Whether it is told of any equal message that it is there twice.
    fn is_told_twice(&self, mailbox: usize, class: &Bytes, report: &Report) -> bool {
        let sources = self.sources(mailbox);
        report.remarks.iter().any(|row| {
            row.remark.kind == RemarkKind::PossibleDuplicate
                && sources.iter().any(|name| name == row.mailbox.names())
                && self.equal(mailbox, class).any(|one| one.uid == row.uid.0)
        })
    }

    fn tell(&self, original: &Original) -> String {
        let path = self.source_path(original.mailbox);
        format!("{path:?} UID {} ({})", original.uid, shown(&original.body))
    }

    /// Whether there is a message that a remark can mean.
    fn is_ambiguous(
        &self,
        row: &RemarkRow,
        claims: &[Claim],
        claimed: &BTreeMap<u64, Fate>,
    ) -> bool {
        let source = row.mailbox.names();
        // It may have another name at the target.
        let own = claims.iter().filter(|claim| claim.source == source);
        let targets: BTreeSet<&Path> = own.map(|claim| &claim.target).collect();
        // A MOVE that was cut off leaves a second one where it went, of the one that is claimed.
        let is_elsewhere = |target: &Path, guid: u64| {
            claims.iter().any(|claim| {
                claim.target != *target
                    && matches!(self.copy(claim), Copy::There(copy) if copy.guid == guid)
            })
        };
        targets.into_iter().any(|target| {
            let is_claimed = |uid: u32| {
                claims.iter().any(|claim| claim.target == *target && claim.uid == Some(uid))
            };
            self.target.messages(target).into_iter().any(|message| {
                !claimed.contains_key(&message.guid)
                    || (!is_claimed(message.uid) && is_elsewhere(target, message.guid))
            })
        })
    }
}

/// How often messages of a class are there.
#[derive(Default)]
struct Presence {
    surplus: u64,
    mistaken: u64,
}

fn validity(store: &Store, path: &Path) -> u32 {
    let mailboxes = store.mailboxes();
    mailboxes.iter().find(|info| info.path == *path).map_or(0, |info| info.uid_validity)
}

fn remarked(remarks: &[RemarkRow], claim: &Claim, kind: RemarkKind) -> bool {
    remarks.iter().any(|row| {
        row.remark.kind == kind
            && row.cursor.mailbox == claim.bound
            && row.uid.0 == claim.source_uid
    })
}

/// The end of a message, in which those of these worlds differ.
fn shown(body: &Bytes) -> String {
    format!("{} octets ..{}", body.len(), body[body.len().saturating_sub(16)..].escape_ascii())
}
