//! Looks, before anything is copied, for copies that are not where they were seen at the target. Their
//! owner may have deleted or moved them: that is told, and stays so, unless the user wants them back.

use std::collections::{BTreeMap, BTreeSet};

use super::kept;
use super::mailbox::Job;
use super::resolve::{self, Others};
use super::scan::{Ranges, known};
use super::work::Work;
use crate::config::TargetLoss;
use crate::event::Event;
use crate::fate::{Fate, RemarkKind};
use crate::fault::{Fault, Scope};
use crate::history::Entry;
use crate::identity::Identity;
use crate::ledger::{BoundMailbox, Ledger, Outcome, Settlement};
use crate::mail::{Mailbox, MailboxPath, MailboxStatus, Uid, WireName};
use crate::own::OwnName;
use crate::plan::loss::{Elsewhere, Loss, loss, may_have_lost};
use crate::plan::sweep::Key;
use crate::plan::verdict::judge;
use crate::target::{Found, Target};

/// Finds and notes what is not there any more. True where the ledger says something else now of what is
/// owed. Nothing is in doubt when it is called.
///
/// # Errors
///
/// Anything wider than a mailbox.
pub(super) async fn survey<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    target: &mut T,
    jobs: &[Job],
    bound: &[BoundMailbox],
) -> Result<bool, Fault> {
    let mut by_target: BTreeMap<&WireName, Vec<&BoundMailbox>> = BTreeMap::new();
    for mailbox in bound.iter().filter(|bound| bound.binding.target_validity.is_some()) {
        by_target.entry(&mailbox.binding.target_name).or_default().push(mailbox);
    }
    let names: Vec<WireName> = by_target.keys().map(|name| (*name).clone()).collect();
    let statuses = target.statuses(&names).await?;
    let mut losing = Losing { work, jobs, bound, places: None, taken: BTreeMap::new(), any: false };
    for (mailboxes, status) in by_target.values().zip(statuses) {
        if work.run.stop.is_requested() {
            break;
        }
        let Some(status) = status else {
            continue;
        };
        match losing.mailbox(target, mailboxes, &status).await {
            Err(fault) if fault.scope <= Scope::Mailbox => {} // The pass will tell.
            done => done?,
        }
    }
    Ok(losing.any)
}

/// A message whose copy is not where it was seen.
type Missing = BTreeMap<Key, Entry>;

struct Losing<'a, 'w, L> {
    work: &'a Work<'w, L>,
    jobs: &'a [Job],
    bound: &'a [BoundMailbox],
    /// The target's mailboxes, once they were asked for.
    places: Option<Vec<Mailbox>>,
    /// What was found elsewhere, and is one message's.
    taken: BTreeMap<WireName, BTreeSet<Uid>>,
    any: bool,
}

/// What is known of the source messages of one mailbox.
struct Noted {
    removed: BTreeSet<Uid>,
    moved: BTreeSet<Uid>,
    at_source: BTreeSet<Uid>,
}

/// How many were lost in which way.
#[derive(Default)]
struct Told {
    back: u64,
    moved: u64,
    removed: u64,
    refilled: u64,
}

impl<L: Ledger> Losing<'_, '_, L> {
    /// Looks at one target mailbox, into which these source mailboxes go.
    async fn mailbox<T: Target>(
        &mut self,
        target: &mut T,
        mailboxes: &[&BoundMailbox],
        status: &MailboxStatus,
    ) -> Result<(), Fault> {
        let ledger = &self.work.run.ledger;
        let is_of_now =
            |bound: &&BoundMailbox| bound.binding.target_validity == status.uid_validity;
        // Of several that go there one may have been compared since, in a pass that broke off.
        let (current, others): (Vec<_>, Vec<_>) = mailboxes.iter().copied().partition(is_of_now);
        self.made_anew(target, &others).await?;
        let Some(first) = current.first() else {
            return Ok(());
        };
        let messages_max = self.work.run.config.scan_messages_max;
        let refills = self.work.run.config.on_target_loss == TargetLoss::Refill;
        let mut gone: BTreeSet<Uid> = BTreeSet::new();
        let claimed = ledger.claimed(first.id, Uid::FIRST).await?;
        if may_have_lost(&claimed, status) {
            let opened = target.open(&first.binding.target_name).await?;
            if opened.uid_validity != status.uid_validity {
                return Ok(());
            }
            gone.extend(claimed);
            for range in Ranges::new(opened.uid_next, status.messages, messages_max) {
                for uid in target.listed(range).await? {
                    gone.remove(&uid);
                }
            }
        }
        if !gone.is_empty() && target.keeps_one() {
            self.merge(target, &current, &mut gone).await?;
        }
        if gone.is_empty() && !refills {
            return Ok(());
        }
        let mut noted = BTreeMap::new();
        for mailbox in &current {
            noted.insert(mailbox.id, self.noted(mailbox).await?);
        }
        if gone.is_empty() && noted.values().all(|noted| noted.removed.is_empty()) {
            return Ok(());
        }
        let (path, mut told) = (first.binding.target_path.clone(), Told::default());
        for mailbox in current {
            let Some(noted) = noted.get(&mailbox.id) else {
                continue;
            };
            for range in known(mailbox, None, messages_max) {
                let history = ledger.history(mailbox.id, range).await?;
                let is_missing = |uid: Uid, entry: &Entry| match entry.target_uid {
                    Some(copy) => gone.contains(&copy),
                    None => noted.removed.contains(&uid),
                };
                let missing = history.iter().filter(|(_, entry)| entry.fate.is_there());
                let missing = missing.filter(|(uid, entry)| is_missing(*uid, entry));
                let missing: Missing =
                    missing.map(|(uid, entry)| ((mailbox.id, uid), entry.clone())).collect();
                let is_news =
                    |key: &Key| !noted.removed.contains(&key.1) && !noted.moved.contains(&key.1);
                if missing.keys().any(|key| refills || is_news(key)) {
                    self.look_for(target, mailbox, noted, missing, &mut told).await?;
                }
            }
        }
        self.tell(&path, &told);
        Ok(())
    }

    /// Finds those whose copy the target did not keep because it has an equal one. They are not lost.
    async fn merge<T: Target>(
        &self,
        target: &mut T,
        mailboxes: &[&BoundMailbox],
        gone: &mut BTreeSet<Uid>,
    ) -> Result<(), Fault> {
        let ledger = &self.work.run.ledger;
        let mut settlement = Settlement::default();
        let mut merged = BTreeSet::new();
        for mailbox in mailboxes {
            for range in known(mailbox, None, self.work.run.config.scan_messages_max) {
                let history = ledger.history(mailbox.id, range).await?;
                let missing: Vec<(Uid, &Entry, Uid)> = history
                    .iter()
                    .filter(|(_, entry)| entry.fate.is_there())
                    .filter_map(|(uid, entry)| Some((uid, entry, entry.target_uid?)))
                    .filter(|(_, _, copy)| gone.contains(copy))
                    .collect();
                let entries = missing.iter().map(|(_, entry, _)| *entry);
                let places = kept::claimed(self.work, mailbox.id, entries).await?;
                let uids = places.into_values().flatten().filter(|uid| !gone.contains(uid));
                let there = kept::read(target, uids.collect()).await?;
                for (uid, entry, copy) in missing {
                    let is_equal = |stored: &Identity| {
                        entry.digest.is_some_and(|(exact, _)| exact == stored.exact)
                    };
                    if let Some((found, stored)) =
                        there.values().find(|(_, stored)| is_equal(stored))
                    {
                        let (fate, target_uid) = (Fate::Merged, Some(found.uid));
                        let mut remarks = vec![kept::remark(found.uid)];
                        remarks.extend(judge(entry, found, Some(stored)));
                        let entry = Entry { fate, target_uid, ..entry.clone() };
                        let outcome = Outcome { uid, entry, remarks, subject: None };
                        settlement.outcomes.push((mailbox.id, outcome));
                        merged.insert(copy);
                    }
                }
            }
        }
        gone.retain(|uid| !merged.contains(uid));
        match settlement.outcomes.is_empty() {
            true => Ok(()),
            false => ledger.settle(settlement).await,
        }
    }

    /// A mailbox that is another one than before: what is in it is compared by this pass. What no job
    /// compares keeps its copies, and what is known of it: it may not be at the source any more.
    async fn made_anew<T: Target>(
        &mut self,
        target: &mut T,
        mailboxes: &[&BoundMailbox],
    ) -> Result<(), Fault> {
        for mailbox in mailboxes.iter().filter(|mailbox| mailbox.fixed) {
            if !self.is_owed(mailbox) {
                continue;
            }
            let opened = target.open(&mailbox.binding.target_name).await?;
            // Without one that lasts, it is another one in every pass.
            if let Some(validity) = opened.uid_validity {
                self.any |= resolve::check_validity(self.work, mailbox, validity).await?;
            }
        }
        Ok(())
    }

    /// Whether this pass copies what is missing of a source mailbox.
    fn is_owed(&self, mailbox: &BoundMailbox) -> bool {
        self.jobs.iter().any(|job| job.pair.source.name == mailbox.binding.source_name)
    }

    async fn noted(&self, mailbox: &BoundMailbox) -> Result<Noted, Fault> {
        let ledger = &self.work.run.ledger;
        Ok(Noted {
            removed: ledger.remarked(mailbox.id, RemarkKind::RemovedAtTarget).await?,
            moved: ledger.remarked(mailbox.id, RemarkKind::MovedAtTarget).await?,
            at_source: ledger.remarked(mailbox.id, RemarkKind::RemovedAtSource).await?,
        })
    }

    /// Looks for what is missing in all mailboxes of the target, and writes down what became of it.
    async fn look_for<T: Target>(
        &mut self,
        target: &mut T,
        mailbox: &BoundMailbox,
        noted: &Noted,
        missing: Missing,
        told: &mut Told,
    ) -> Result<(), Fault> {
        let own = &mailbox.binding.target_name;
        let places = self.places(target, own).await?;
        let (mut is_blind, mut left) = (false, missing.clone());
        let mut found: BTreeMap<Key, (MailboxPath, Found)> = BTreeMap::new();
        let mut undecided: BTreeSet<Key> = BTreeSet::new();
        for place in &places {
            if left.is_empty() {
                break;
            }
            match self.look_at(target, place, &left).await {
                Ok(Some(look)) => {
                    undecided.extend(look.undecided);
                    let taken = self.taken.entry(place.name.clone()).or_default();
                    for (key, one) in look.found {
                        taken.insert(one.uid);
                        left.remove(&key);
                        found.insert(key, (place.path.clone(), one));
                    }
                }
                Ok(None) => is_blind = true,
                Err(fault) if fault.scope <= Scope::Mailbox => is_blind = true,
                Err(fault) => return Err(fault),
            }
        }
        let on_loss = self.work.run.config.on_target_loss;
        let refills = on_loss == TargetLoss::Refill && self.is_owed(mailbox);
        let mut settlement = Settlement::default();
        for (key, entry) in missing {
            let uid = key.1;
            let elsewhere = match found.get(&key) {
                Some((path, one)) if *path == mailbox.binding.target_path => {
                    Elsewhere::Here(one.uid)
                }
                Some(_) => Elsewhere::There,
                None if is_blind || undecided.contains(&key) => Elsewhere::Unknown,
                None => Elsewhere::Nowhere,
            };
            let is_news = !noted.removed.contains(&uid) && !noted.moved.contains(&uid);
            match loss(elsewhere, refills && !noted.at_source.contains(&uid)) {
                Loss::Back(copy) => {
                    let remarks = found.get(&key).map(|(_, one)| judge(&entry, one, None));
                    let entry = Entry { target_uid: Some(copy), ..entry };
                    let remarks = remarks.unwrap_or_default();
                    settlement
                        .outcomes
                        .push((key.0, Outcome { uid, entry, remarks, subject: None }));
                    told.back += 1;
                }
                Loss::Refill => {
                    let entry = Entry { fate: Fate::Pending, target_uid: None, ..entry };
                    let remarks = Vec::new();
                    settlement
                        .outcomes
                        .push((key.0, Outcome { uid, entry, remarks, subject: None }));
                    told.refilled += 1;
                }
                Loss::Moved => {
                    let place =
                        found.get(&key).map(|(path, one)| format!("{path}, UID {}", one.uid));
                    let place = place.unwrap_or_default();
                    let text = format!("its owner moved its copy at the target: {place}");
                    self.remark(key, RemarkKind::MovedAtTarget, Some(text)).await?;
                    if noted.removed.contains(&uid) {
                        self.remark(key, RemarkKind::RemovedAtTarget, None).await?;
                    }
                    told.moved += u64::from(is_news);
                }
                Loss::Removed => {
                    if !noted.removed.contains(&uid) {
                        let path = &mailbox.binding.target_path;
                        let text = format!("its copy is not in {path} at the target any more");
                        self.remark(key, RemarkKind::RemovedAtTarget, Some(text)).await?;
                    }
                    if noted.moved.contains(&uid) {
                        self.remark(key, RemarkKind::MovedAtTarget, None).await?;
                    }
                    told.removed += u64::from(is_news);
                }
            }
        }
        if !settlement.outcomes.is_empty() {
            self.any = true;
            self.work.run.ledger.settle(settlement).await?;
        }
        Ok(())
    }

    async fn remark(&self, key: Key, kind: RemarkKind, text: Option<String>) -> Result<(), Fault> {
        self.work.run.ledger.set_remark(key.0, key.1, kind, text).await
    }

    /// Where copies may have been moved to: everywhere in the account but mailboxes of ours, their own
    /// first.
    async fn places<T: Target>(
        &mut self,
        target: &mut T,
        own: &WireName,
    ) -> Result<Vec<Mailbox>, Fault> {
        if self.places.is_none() {
            let mut listed = target.list().await?;
            listed.retain(|mailbox| {
                mailbox.selectable
                    && !mailbox.is_foreign()
                    && !OwnName::looks_like_one(&mailbox.path)
            });
            self.places = Some(listed);
        }
        let mut places = self.places.clone().unwrap_or_default();
        places.sort_by_key(|place| place.name != *own);
        Ok(places)
    }

    /// Looks for messages among what nobody has claimed in a mailbox; none where it cannot be told what
    /// is claimed.
    async fn look_at<T: Target>(
        &self,
        target: &mut T,
        place: &Mailbox,
        missing: &Missing,
    ) -> Result<Option<Seen>, Fault> {
        let opened = target.open(&place.name).await?;
        let mut of_it = self.bound.iter().filter(|bound| {
            bound.binding.target_name == place.name && bound.binding.target_validity.is_some()
        });
        let is_of_now =
            |bound: &&BoundMailbox| bound.binding.target_validity == opened.uid_validity;
        let (known, current) = (of_it.clone().next(), of_it.find(is_of_now));
        if known.is_some() && current.is_none() {
            return Ok(None);
        }
        let alters = self.work.alters();
        let sought: Vec<_> = missing
            .iter()
            .map(|(key, entry)| resolve::lapsed_sought(*key, entry, alters))
            .collect();
        let mut claimed = self.taken.get(&place.name).cloned().unwrap_or_default();
        let mut others = Others::default();
        if let Some(bound) = current {
            claimed.extend(self.work.run.ledger.claimed(bound.id, Uid::FIRST).await?);
            let is_missing = |key: Key| missing.contains_key(&key);
            others = Others::beside(self.work, bound.id, &sought, is_missing).await?;
        }
        let look = resolve::look(target, Uid::FIRST, &claimed, &sought, &others).await?;
        let found = look.settlement.found.into_iter();
        let found = found.filter_map(|(key, uid)| Some((key, look.there.get(&uid)?.clone())));
        Ok(Some(Seen { found: found.collect(), undecided: look.settlement.undecided }))
    }

    fn tell(&self, path: &MailboxPath, told: &Told) {
        let Told { back, moved, removed, refilled } = told;
        let parts = [
            (*removed, "not there any more (--on-target-loss refill copies them again)"),
            (*refilled, "not there any more, and copied again"),
            (*moved, "moved to other mailboxes"),
            (*back, "moved away and back"),
        ];
        let parts = parts.iter().filter(|(messages, _)| *messages > 0);
        let parts: Vec<String> =
            parts.map(|(messages, what)| format!("{messages} {what}")).collect();
        if !parts.is_empty() {
            let text = format!("copies in {path} at the target: {}", parts.join("; "));
            self.work.event(Event::Warning { account: Some(self.work.label.clone()), text });
        }
    }
}

/// What a look at a mailbox of the target saw.
struct Seen {
    found: Vec<(Key, Found)>,
    undecided: Vec<Key>,
}
