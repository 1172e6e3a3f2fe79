//! Read-back: a message is copied only when its copy was seen on the target.
//!
//! Some servers say OK and store nothing, or something else, or tell a UID that is another
//! message's. What is seen here confirms; nothing is denied here: on the connection that appended, a
//! server may not show its own new messages yet. What cannot be confirmed ends the connection, and
//! is looked for on a new one (`resolve`).

use std::collections::{BTreeMap, BTreeSet};

use super::kept::{self, Places};
use super::resolve::{self, Look, Others};
use super::window::{Place, Said, Sent, SentMessage};
use super::work::Work;
use crate::config::Verify;
use crate::fate::{Fate, Remark, RemarkKind};
use crate::fault::{Fault, Side};
use crate::history::Entry;
use crate::identity::Identity;
use crate::ledger::{Ledger, MailboxId, Outcome, WindowMessage};
use crate::mail::{Flags, Uid};
use crate::mutant::{self, Mutant};
use crate::plan::settle::{Claim, Sought};
use crate::plan::verdict::{Evidence, Outlines, is_sampled, next_after};
use crate::target::{FlagChange, Found, Target};

/// Reads back what was sent, and closes the windows of which every copy was seen.
///
/// # Errors
///
/// A session fault where copies were not seen: they must be looked for on a new connection.
pub(super) async fn read_back<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    place: &mut Place,
    target: &mut T,
    sent: Vec<Sent>,
) -> Result<(), Fault> {
    let (mut seen, unseen) = confirm(work, place, target, &sent).await?;
    let mut copies: BTreeSet<Uid> = BTreeSet::new();
    for window in sent {
        let Sent { id, messages, .. } = window;
        let mut whole = true;
        let mut outcomes = Vec::with_capacity(messages.len());
        for SentMessage { uid, entry, subject, said, .. } in messages {
            match seen.remove(&uid) {
                Some(Copy { uid: target_uid, fate, remarks, .. }) => {
                    copies.insert(target_uid);
                    let entry = Entry { fate, target_uid: Some(target_uid), ..entry };
                    outcomes.push(Outcome { uid, entry, remarks, subject });
                }
                None if mutant::is(Mutant::DenyFromPipeline) => {}
                None => whole &= matches!(said, Said::Refused | Said::NotNow),
            }
        }
        let (ledger, mailbox) = (&work.run.ledger, place.mailbox);
        if whole {
            ledger.close(id, mailbox, outcomes).await?;
        } else {
            ledger.record(mailbox, outcomes).await?;
        }
    }
    if unseen > 0 && !mutant::is(Mutant::DenyFromPipeline) {
        return Err(not_shown(work, place, target, unseen));
    }
    // What was seen has a lower UID than anything that will be sent from now on.
    place.lo = next_after(place.lo, copies);
    work.run.ledger.set_target_uid_next(place.mailbox, place.lo).await
}

/// The fault of copies that were not seen on the connection that appended them.
pub(super) fn not_shown<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    place: &Place,
    target: &T,
    unseen: usize,
) -> Fault {
    work.appended_in(target.slowest_append());
    let cause = "the target acknowledged messages that it does not show";
    let action = format!("read back {unseen} messages of {}", place.pair.target);
    Fault::session(action, cause).at(Side::Target)
}

/// A copy that was seen.
pub(super) struct Copy {
    /// Where.
    pub(super) uid: Uid,
    /// Copied, or merged with what another message has claimed or others have put there.
    fate: Fate,
    /// What is to be said of it.
    pub(super) remarks: Vec<Remark>,
    /// The flags that were sent and that it does not have.
    lacks: Vec<String>,
}

/// The copies that were seen, by message.
pub(super) type Copies = BTreeMap<Uid, Copy>;

/// Looks for what was sent and acknowledged in the open mailbox, and counts what is not seen there.
pub(super) async fn confirm<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    place: &Place,
    target: &mut T,
    sent: &[Sent],
) -> Result<(Copies, usize), Fault> {
    let messages = || sent.iter().flat_map(|window| &window.messages);
    // A UID that was told for two messages is one's at most: whose, only what stands there can tell.
    let told_again = messages().filter_map(|message| match message.said {
        Said::Somewhere(told) => told,
        _ => None,
    });
    let told_again: BTreeSet<Uid> = told_again.collect();
    let told = messages().filter_map(|message| match message.said {
        Said::At(uid) if !told_again.contains(&uid) => Some((uid, message)),
        _ => None,
    });
    let stored =
        || messages().filter(|message| matches!(message.said, Said::At(_) | Said::Somewhere(_)));
    let outlines = Outlines::of(stored().map(|message| &message.entry));
    let mut seen = told_copies(work, place.mailbox, target, told.collect(), &outlines).await?;
    let astray: Vec<&SentMessage> =
        stored().filter(|message| !seen.contains_key(&message.uid)).collect();
    let mut unseen = 0;
    if !astray.is_empty() {
        let lo = sent.iter().map(|window| window.lo).min().unwrap_or(place.lo);
        seen.extend(search(work, place, target, lo, &astray, &seen).await?);
        let astray = astray.into_iter().filter(|message| !seen.contains_key(&message.uid));
        let astray: Vec<&SentMessage> = astray.collect();
        let mut here = Places::new();
        for message in messages() {
            let copy = seen.get(&message.uid).zip(message.entry.digest);
            if let Some((copy, (exact, _))) = copy {
                here.entry(exact).or_default().insert(copy.uid);
            }
        }
        let merged = merged(work, place.mailbox, target, &astray, here).await?;
        unseen = astray.len();
        if place.stage.is_none() {
            unseen -= merged.len();
            seen.extend(merged);
        } else if !merged.is_empty() {
            work.go_direct("the target keeps one copy of equal messages");
        }
    }
    set_lacking_flags(work, target, &mut seen).await?;
    Ok((seen, unseen))
}

/// Sets by STORE what the target did not take from an APPEND: Exchange has been seen to keep `\Flagged`
/// only so, Mailutils every flag. Where that does not help either, it is not tried again.
async fn set_lacking_flags<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    target: &mut T,
    seen: &mut Copies,
) -> Result<(), Fault> {
    let mut alike: BTreeMap<Vec<String>, Vec<Uid>> = BTreeMap::new();
    for copy in seen.values().filter(|copy| !copy.lacks.is_empty()) {
        alike.entry(copy.lacks.clone()).or_default().push(copy.uid);
    }
    if alike.is_empty() || !work.sets_flags() {
        return Ok(());
    }
    let mut changed = Vec::new();
    for (names, mut uids) in alike {
        uids.sort_unstable();
        let refused = target.change_flags(&uids, FlagChange::Set, &names).await?;
        if refused.len() < names.len() {
            changed.extend(uids);
        }
    }
    changed.sort_unstable();
    let there: BTreeMap<Uid, Found> =
        target.read_back(&changed).await?.into_iter().map(|found| (found.uid, found)).collect();
    let mut has_helped = false;
    for copy in seen.values_mut() {
        let Some(found) = there.get(&copy.uid) else {
            continue;
        };
        let lacks = Flags::parse(copy.lacks.iter().map(String::as_str)).missing_in(&found.flags);
        if lacks.len() < copy.lacks.len() {
            has_helped = true;
            copy.remarks.retain(|remark| remark.kind != RemarkKind::FlagsReduced);
            if !lacks.is_empty() {
                copy.remarks.push(Remark::new(RemarkKind::FlagsReduced, lacks.join(" ")));
            }
            copy.lacks = lacks;
        }
    }
    if !has_helped {
        work.sets_no_flags();
    }
    Ok(())
}

/// The messages whose copies stand at the UIDs told, with what is to be said of each.
async fn told_copies<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    mailbox: MailboxId,
    target: &mut T,
    told: Vec<(Uid, &SentMessage)>,
    outlines: &Outlines,
) -> Result<Copies, Fault> {
    let mut uids: Vec<Uid> = told.iter().map(|(uid, _)| *uid).collect();
    uids.sort_unstable();
    // Chosen now, so that their bodies come in the same round trip.
    let compared = told.iter().filter(|(_, message)| message.is_compared);
    let mut compared: Vec<Uid> = compared.map(|(uid, _)| *uid).collect();
    compared.sort_unstable();
    let (found, mut stored) = target.glance(&uids, &compared).await?;
    let mut found: BTreeMap<Uid, Found> =
        found.into_iter().map(|found| (found.uid, found)).collect();
    uids.retain(|uid| !found.contains_key(uid));
    if !uids.is_empty() {
        let later = target.read_back(&uids).await?;
        found.extend(later.into_iter().map(|found| (found.uid, found)));
    }
    let mut looked: Vec<(Evidence, &SentMessage, &Found)> = told
        .iter()
        .filter_map(|(uid, message)| {
            let found = found.get(uid)?;
            Some((outlines.evidence(&message.entry, found), *message, found))
        })
        .collect();
    let by_headers: Vec<Uid> = ascending(looked.iter().filter(|one| one.0 == Evidence::Headers));
    let headers = target.headers(&by_headers).await?;
    for (evidence, message, found) in looked.iter_mut().filter(|one| one.0 == Evidence::Headers) {
        let stored = headers.get(&found.uid).map(|keys| keys.headers);
        if !stored.is_some_and(|stored| outlines.headers_prove(&message.entry, stored)) {
            *evidence = Evidence::Body;
        }
    }
    let by_body = looked.iter().filter(|(evidence, _, found)| {
        let is_wanted = *evidence == Evidence::Body || compared.contains(&found.uid);
        is_wanted && !stored.contains_key(&found.uid)
    });
    stored.extend(target.identify(&ascending(by_body)).await?);
    let likely = looked.iter().filter(|(evidence, message, found)| {
        let differs = |stored: &Identity| Some(stored.exact) != message.entry.digest.map(|it| it.0);
        *evidence == Evidence::Body && stored.get(&found.uid).is_some_and(differs)
    });
    let headers: BTreeSet<u64> =
        likely.filter_map(|(_, message, _)| Some(message.entry.digest?.1)).collect();
    let mut others = Others::default();
    if !headers.is_empty() {
        let twins = work.run.ledger.twins(mailbox, headers).await?;
        others = Others::of(&twins, |(of, uid)| {
            of == mailbox && looked.iter().any(|(_, message, _)| message.uid == uid)
        });
    }
    let copies = looked.into_iter().filter_map(|(evidence, message, found)| {
        let stored = stored.get(&found.uid);
        let is_copy = evidence < Evidence::Body
            || stored.is_some_and(|stored| {
                let sent = message.identity.as_ref();
                let is_exact = message.entry.digest.is_some_and(|it| it.0 == stored.exact);
                (is_exact || !others.has(stored.exact))
                    && outlines.is_copy(&message.entry, sent, found.size, stored)
            });
        is_copy.then(|| (message.uid, copy(work, &message.entry, found, stored)))
    });
    Ok(copies.collect())
}

fn ascending<'a, A: 'a, B: 'a>(looked: impl Iterator<Item = &'a (A, B, &'a Found)>) -> Vec<Uid> {
    let mut uids: Vec<Uid> = looked.map(|(_, _, found)| found.uid).collect();
    uids.sort_unstable();
    uids
}

/// Whether every octet of a copy is to be compared with what was sent; of what was streamed, the digests are
/// known only then.
pub(super) fn is_compared<L: Ledger>(
    work: &Work<'_, L>,
    sent: &WindowMessage,
    identity: Option<&Identity>,
) -> bool {
    let is_sampled = |identity: &Identity| is_sampled(sent.size, identity.exact);
    work.run.config.verify == Verify::Full
        || sent.risky
        || identity.is_some_and(|identity| {
            identity.risky || (is_sampled(identity) && work.samples(sent.size))
        })
}

/// Looks for copies that are not where the target said, or of which it did not say where they are.
/// Nothing is taken that another message has claimed.
async fn search<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    place: &Place,
    target: &mut T,
    lo: Uid,
    astray: &[&SentMessage],
    seen: &Copies,
) -> Result<Copies, Fault> {
    let mut claimed: BTreeSet<Uid> = match place.stage {
        // All claims are of the target mailbox.
        Some(_) => BTreeSet::new(),
        None => work.run.ledger.claimed(place.mailbox, lo).await?.into_iter().collect(),
    };
    claimed.extend(seen.values().map(|copy| copy.uid));
    let sought: Vec<Sought<Uid>> = astray.iter().map(|message| sought(message)).collect();
    let others = Others::beside(work, place.mailbox, &sought, |(mailbox, uid)| {
        mailbox == place.mailbox && astray.iter().any(|one| one.uid == uid)
    });
    let others = others.await?;
    let Look { settlement, there, mut stored } =
        resolve::look(target, lo, &claimed, &sought, &others).await?;
    let sent: BTreeMap<Uid, &SentMessage> = astray.iter().map(|one| (one.uid, *one)).collect();
    let unread: Vec<Uid> = settlement
        .found
        .iter()
        .filter(|(uid, found)| !stored.contains_key(found) && sent[uid].is_compared)
        .map(|(_, found)| *found)
        .collect();
    stored.extend(target.identify(&unread).await?);
    let copies = settlement.found.into_iter().filter_map(|(uid, target_uid)| {
        let found = there.get(&target_uid)?;
        Some((uid, copy(work, &sent[&uid].entry, found, stored.get(&target_uid))))
    });
    Ok(copies.collect())
}

/// The messages that have no copy of their own, where the target keeps one of equal messages: it told the
/// UID of that one, or it is known to tell others. That is never believed on its word: each body is read.
async fn merged<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    mailbox: MailboxId,
    target: &mut T,
    astray: &[&SentMessage],
    mut here: Places,
) -> Result<Copies, Fault> {
    if target.keeps_one() {
        let known = kept::claimed(work, mailbox, astray.iter().map(|one| &one.entry)).await?;
        for (exact, uids) in known {
            here.entry(exact).or_default().extend(uids);
        }
    } else {
        here.clear();
    }
    let mut places: Vec<(Uid, &SentMessage)> = Vec::new();
    for message in astray {
        if let Said::Somewhere(Some(told)) = message.said {
            places.push((told, message));
        }
        let equal = message.entry.digest.and_then(|(exact, _)| here.get(&exact));
        places.extend(equal.into_iter().flatten().map(|uid| (*uid, *message)));
    }
    let there = kept::read(target, places.iter().map(|(uid, _)| *uid).collect()).await?;
    let copies = places.into_iter().filter_map(|(uid, message)| {
        let (found, stored) = there.get(&uid)?;
        let SentMessage { uid: sent, entry, .. } = message;
        (entry.digest?.0 == stored.exact).then_some(())?;
        let mut remarks = vec![kept::remark(uid)];
        remarks.extend(work.judge(entry, found, Some(stored)));
        // Its flags are left as they are: they are another message's.
        Some((*sent, Copy { uid, fate: Fate::Merged, remarks, lacks: Vec::new() }))
    });
    Ok(copies.collect())
}

fn copy<L: Ledger>(
    work: &Work<'_, L>,
    entry: &Entry,
    found: &Found,
    stored: Option<&Identity>,
) -> Copy {
    let remarks = work.judge(entry, found, stored);
    let lacks = entry.flags.missing_in(&found.flags);
    Copy { uid: found.uid, fate: Fate::Copied, remarks, lacks }
}

fn sought(message: &SentMessage) -> Sought<Uid> {
    let SentMessage { uid, entry, identity, said, .. } = message;
    Sought {
        key: *uid,
        claim: match said {
            Said::At(uid) => Claim::At(*uid),
            _ => Claim::Somewhere,
        },
        size: entry.size,
        date: entry.date,
        flags: entry.flags.clone(),
        digests: identity.map(<_>::from),
        may_be_altered: true, // It was acknowledged.
    }
}

/// The digests of a body that was read to compare it.
pub(super) type Stored = BTreeMap<Uid, Identity>;
