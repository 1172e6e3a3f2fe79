//! Which messages of a part of a mailbox are copied as those of another one, by their labels.
//!
//! A label says that a message stands in a mailbox. Where Gmail limits how many it shows there, or its owner
//! hides the mailbox's older mail, that is not so: what is not seen there is copied from here.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::scan::Ranges;
use crate::config::Config;
use crate::fault::{Fault, Scope, Side};
use crate::mail::{Mailbox, MailboxPath, SpecialUse, Uid, UidValidity, WireName};
use crate::plan::labels::{self, Labels, Place};
use crate::source::{Opened, Source};

/// The mailboxes that messages count as of, where that is not the one in which they were seen.
pub(super) type Elsewhere = BTreeMap<Uid, MailboxPath>;

/// The labels of an account, and what its mailboxes were seen to show in this pass: 8 octets a message.
#[derive(Debug)]
pub(super) struct Placing {
    labels: Labels,
    shown: Mutex<BTreeMap<WireName, Shown>>,
}

/// What a mailbox showed.
#[derive(Debug, Default)]
struct Shown {
    validity: Option<UidValidity>,
    uid_next: Option<Uid>,
    /// Ascending.
    ids: Vec<u64>,
}

impl Shown {
    fn has(&self, id: u64) -> bool {
        self.ids.binary_search(&id).is_ok()
    }
}

/// A message that may count as one of other mailboxes.
struct Asked<'l> {
    uid: Uid,
    id: u64,
    places: Vec<&'l Place>,
}

/// The most messages that Gmail lets its owner limit a mailbox to
/// (<https://developers.google.com/gmail/api/reference/rest/v1/ImapSettings>, `maxFolderSize`): where All Mail
/// shows more, it shows everything.
const LIMIT_MAX: u64 = 10_000;

/// The mailboxes that show what All Mail does not, though All Mail should show all of them. Another mailbox
/// than before is open after that.
///
/// # Errors
///
/// Wider than a mailbox.
pub(super) async fn beyond_all<S: Source>(
    source: &mut S,
    listed: &[Mailbox],
    config: &Config,
) -> Result<BTreeSet<WireName>, Fault> {
    let (mode, messages_max) = (config.rules.labels, config.scan_messages_max);
    let mut beyond = BTreeSet::new();
    let all = listed.iter().find(|one| one.special_use == Some(SpecialUse::All) && one.selectable);
    let Some(all) = all.filter(|_| source.has_labels()) else {
        return Ok(beyond);
    };
    let opened = match source.open(&all.name).await {
        Ok(opened) if opened.messages <= LIMIT_MAX => opened,
        Ok(_) => return Ok(beyond),
        Err(fault) if fault.scope <= Scope::Mailbox => return Ok(beyond), // The pass will tell.
        Err(fault) => return Err(fault),
    };
    let mut shown = ids(source, Uid::FIRST, &opened, messages_max).await?;
    shown.sort_unstable();
    let is_in_all = |one: &&Mailbox| {
        one.name != all.name && one.selectable && labels::is_in_all_mail(one, mode)
    };
    for mailbox in listed.iter().filter(is_in_all) {
        let is_beyond = match source.open(&mailbox.name).await {
            Ok(opened) => {
                let ids = ids(source, Uid::FIRST, &opened, messages_max).await?;
                ids.iter().any(|id| shown.binary_search(id).is_err())
            }
            Err(fault) if fault.scope <= Scope::Mailbox => true, // The pass will tell.
            Err(fault) => return Err(fault),
        };
        if is_beyond {
            beyond.insert(mailbox.name.clone());
        }
    }
    Ok(beyond)
}

/// The numbers of the messages of the open mailbox, from a UID on.
async fn ids<S: Source>(
    source: &mut S,
    first: Uid,
    opened: &Opened,
    messages_max: u32,
) -> Result<Vec<u64>, Fault> {
    let mut ids = Vec::new();
    for range in Ranges::between(first, opened.uid_next, opened.messages, messages_max) {
        ids.extend(source.label_ids(range).await?);
    }
    Ok(ids)
}

impl Placing {
    pub(super) fn new(labels: Labels) -> Self {
        Self { labels, shown: Mutex::default() }
    }

    /// As [`Labels::decide_in`].
    pub(super) fn decide_in(&self, mailbox: &WireName) -> bool {
        self.labels.decide_in(mailbox)
    }

    /// Asks for the labels of a range of the open mailbox, where they decide, and sees in the mailboxes
    /// that they name whether the messages are there. The mailbox is open after that as before.
    ///
    /// # Errors
    ///
    /// As [`Source::labels`], and as [`Source::open`] of those mailboxes; a session fault where the mailbox is
    /// another one now.
    pub(super) async fn elsewhere<S: Source>(
        &self,
        source: &mut S,
        mailbox: &WireName,
        opened: &Opened,
        range: RangeInclusive<Uid>,
        messages_max: u32,
    ) -> Result<Elsewhere, Fault> {
        if !self.decide_in(mailbox) {
            return Ok(Elsewhere::new());
        }
        let told = source.labels(range).await?;
        let mut elsewhere = Elsewhere::new();
        let mut asked: Vec<Asked<'_>> = Vec::new();
        for (uid, of) in &told {
            let mut places = self.labels.elsewhere(mailbox, &of.labels);
            match of.id {
                Some(id) => asked.push(Asked { uid: *uid, id, places: places.collect() }),
                // Then the label is all there is.
                None => elsewhere.extend(places.next().map(|place| (*uid, place.path.clone()))),
            }
        }
        let mut has_left = false;
        for place in self.labels.places() {
            let here = asked.iter().filter(|one| one.places.contains(&place));
            let here: Vec<(Uid, u64)> = here
                .filter(|one| !elsewhere.contains_key(&one.uid))
                .map(|one| (one.uid, one.id))
                .collect();
            if !here.iter().all(|(_, id)| self.has_shown(place, *id)) {
                has_left = true;
                self.look(source, place, messages_max).await?;
            }
            let shown = here.into_iter().filter(|(_, id)| self.has_shown(place, *id));
            elsewhere.extend(shown.map(|(uid, _)| (uid, place.path.clone())));
        }
        if has_left && source.open(mailbox).await?.uid_validity != opened.uid_validity {
            let cause = "its UIDVALIDITY has changed";
            return Err(Fault::session("open the mailbox again", cause).at(Side::Source));
        }
        Ok(elsewhere)
    }

    /// Notes what a mailbox shows. What gets its label later has a higher UID there.
    async fn look<S: Source>(
        &self,
        source: &mut S,
        place: &Place,
        messages_max: u32,
    ) -> Result<(), Fault> {
        let opened = source.open(&place.name).await?;
        let seen = self
            .lock()
            .get(&place.name)
            .and_then(|shown| shown.uid_next.filter(|_| shown.validity == opened.uid_validity));
        let first = seen.unwrap_or(Uid::FIRST);
        let mut ids = ids(source, first, &opened, messages_max).await?;
        let mut shown = self.lock();
        let shown = shown.entry(place.name.clone()).or_default();
        if seen.is_none() {
            shown.ids.clear();
        }
        (shown.validity, shown.uid_next) = (opened.uid_validity, Some(opened.uid_next));
        shown.ids.append(&mut ids);
        shown.ids.sort_unstable();
        shown.ids.dedup();
        Ok(())
    }

    fn has_shown(&self, place: &Place, id: u64) -> bool {
        self.lock().get(&place.name).is_some_and(|shown| shown.has(id))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<WireName, Shown>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
