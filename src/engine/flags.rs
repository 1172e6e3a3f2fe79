//! Flags in step: what was set or taken away at the source since the last pass is set or taken away at
//! the copies.

use std::collections::{BTreeMap, BTreeSet};

use super::window::Place;
use super::work::Work;
use crate::event::Event;
use crate::fate::RemarkKind;
use crate::fault::Fault;
use crate::ledger::Ledger;
use crate::mail::{Flags, Uid};
use crate::plan::delta::Reflag;
use crate::target::{FlagChange, Target};

/// Changes flags of copies in the open target mailbox. What is about to be changed is durable before:
/// when a pass dies here and the source goes back to what it was, the copies must follow that, too. False where
/// the target does not take flags away: then that is still to be done.
///
/// # Errors
///
/// A session fault where the connection breaks, or the server wants a pause.
pub(super) async fn follow<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    place: &Place,
    target: &mut T,
    reflags: Vec<Reflag>,
) -> Result<bool, Fault> {
    let ledger = &work.run.ledger;
    let touched = reflags.iter().map(|reflag| (reflag.uid, reflag.touched())).collect();
    ledger.intend_flags(place.mailbox, touched).await?;
    let mut alike: BTreeMap<(FlagChange, Vec<String>), Vec<&Reflag>> = BTreeMap::new();
    for reflag in &reflags {
        for (change, names) in
            [(FlagChange::Set, reflag.set()), (FlagChange::Unset, reflag.unset())]
        {
            if !names.is_empty() {
                alike.entry((change, names)).or_default().push(reflag);
            }
        }
    }
    let mut left_out: BTreeMap<Uid, Vec<String>> = BTreeMap::new();
    let mut kept: BTreeSet<Uid> = BTreeSet::new();
    for ((change, names), reflags) in alike {
        let mut copies: Vec<Uid> = reflags.iter().map(|reflag| reflag.target_uid).collect();
        copies.sort_unstable();
        copies.dedup(); // A server may keep one copy for several messages.
        let not_stored = target.change_flags(&copies, change, &names).await?;
        let uids = reflags.iter().map(|reflag| reflag.uid);
        match change {
            _ if not_stored.is_empty() => {}
            FlagChange::Set => left_out.extend(uids.map(|uid| (uid, not_stored.clone()))),
            FlagChange::Unset => kept.extend(uids),
        }
    }
    let is_all = kept.is_empty();
    let done = reflags.into_iter().filter(|reflag| !kept.contains(&reflag.uid));
    let flags: Vec<(Uid, Flags)> = done.map(|reflag| (reflag.uid, reflag.now)).collect();
    work.event(Event::FlagsFollowed {
        account: work.label.clone(),
        mailbox: place.pair.source.path.to_string(),
        messages: flags.len() as u64,
    });
    ledger.set_flags(place.mailbox, flags).await?;
    for (uid, names) in left_out {
        let text = Some(names.join(" "));
        ledger.set_remark(place.mailbox, uid, RemarkKind::FlagsReduced, text).await?;
    }
    Ok(is_all)
}
