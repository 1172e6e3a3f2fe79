//! Flags in step: what was set or taken away at the source since the last pass is set or taken away at
//! the copies.

use std::collections::BTreeMap;

use super::window::Place;
use super::work::Work;
use crate::event::Event;
use crate::fate::RemarkKind;
use crate::fault::Fault;
use crate::ledger::Ledger;
use crate::mail::Uid;
use crate::plan::delta::Reflag;
use crate::target::{FlagChange, Target};

/// Changes flags of copies in the open target mailbox. What is about to be changed is durable before:
/// when a pass dies here and the source goes back to what it was, the copies must follow that, too.
///
/// # Errors
///
/// A session fault where the connection breaks, or the server wants a pause.
pub(super) async fn follow<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    place: &Place,
    target: &mut T,
    reflags: Vec<Reflag>,
) -> Result<(), Fault> {
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
    for ((change, names), reflags) in alike {
        let mut copies: Vec<Uid> = reflags.iter().map(|reflag| reflag.target_uid).collect();
        copies.sort_unstable();
        copies.dedup(); // A server may keep one copy for several messages.
        let not_stored = target.change_flags(&copies, change, &names).await?;
        if change == FlagChange::Set && !not_stored.is_empty() {
            left_out.extend(reflags.iter().map(|reflag| (reflag.uid, not_stored.clone())));
        }
    }
    work.event(Event::FlagsFollowed {
        account: work.label.clone(),
        mailbox: place.pair.source.path.to_string(),
        messages: reflags.len() as u64,
    });
    let flags = reflags.into_iter().map(|reflag| (reflag.uid, reflag.now)).collect();
    ledger.set_flags(place.mailbox, flags).await?;
    for (uid, names) in left_out {
        let text = Some(names.join(" "));
        ledger.set_remark(place.mailbox, uid, RemarkKind::FlagsReduced, text).await?;
    }
    Ok(())
}
