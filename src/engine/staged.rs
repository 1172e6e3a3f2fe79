//! Staged delivery: messages are appended to a mailbox of our own, read back there, and moved to where
//! they belong in one MOVE. A stage is named once, moved out of once, and deleted: from then on no
//! APPEND of a lost connection can make a late copy. What a try leaves behind is cleared by the next
//! one, before anything else is sent (`plan::staging` has the decisions).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::resolve::{self, Resolved};
use super::verify;
use super::window::{self, Moved, Place, Sent, tell_not_copied_at};
use super::work::Work;
use crate::config::Delivery;
use crate::event::Event;
use crate::fate::Fate;
use crate::fault::{Fault, Remedy, Scope, Side};
use crate::history::{Entry, History};
use crate::ledger::{
    BoundMailbox, Dissolved, Ledger, MoveIntent, NewStage, Outcome, Stage, StageId, StagedMessage,
};
use crate::mail::{MailboxPath, SpecialUse, Uid, WireName};
use crate::mutant::{self, Mutant};
use crate::own::{OwnName, Serial};
use crate::plan::absent::Blame;
use crate::plan::staging::{dissolve, inside, is_where_told};
use crate::plan::verdict::next_after;
use crate::plan::windows::Window;
use crate::source::Source;
use crate::target::{self, Created, Deleted, Destination, Found, ObjectId, Target};

/// What an account's work remembers of its stages.
#[derive(Debug, Default)]
pub(super) struct Staging {
    /// Counts the mailboxes of our own.
    number: AtomicU32,
    /// Set when this server turned out not to be one for stages.
    off: AtomicBool,
}

impl<L> Work<'_, L> {
    /// What names the next mailbox of our own.
    pub(super) fn serial(&self) -> Serial {
        let number = self.staging.number.fetch_add(1, Ordering::Relaxed) + 1;
        let number = if mutant::is(Mutant::ReuseStageName) { 1 } else { number };
        Serial { run: self.run.seed, epoch: self.claim.epoch, number }
    }

    /// From now on this account is delivered to directly; said once.
    pub(super) fn go_direct(&self, why: &str) {
        if !self.staging.off.swap(true, Ordering::Relaxed) {
            let text = format!("delivered directly from here on, not through a stage: {why}");
            self.event(Event::Warning { account: Some(self.label.clone()), text });
        }
    }
}

/// A stage that was made for a batch.
pub(super) struct Made {
    id: StageId,
    name: OwnName,
    opened: Destination,
}

/// Makes a stage, and opens it; none where the batch is to be delivered directly. The open mailbox is
/// then the one it was.
pub(super) async fn make<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    place: &Place,
    target: &mut T,
) -> Result<Option<Made>, Fault> {
    let wanted = work.run.config.delivery == Delivery::Staged;
    let (path, special_use) = (&place.pair.target, place.pair.special_use);
    if !wanted || is_junk(path, special_use) || work.staging.off.load(Ordering::Relaxed) {
        return Ok(None);
    }
    if !target.can_stage() {
        work.go_direct("the target does not offer MOVE and UIDPLUS");
        return Ok(None);
    }
    if place.validity.is_made_up() {
        work.go_direct("the target's UIDs do not last");
        return Ok(None);
    }
    let ledger = &work.run.ledger;
    let name = OwnName::stage(work.serial());
    let (mailbox, epoch) = (place.mailbox, work.claim.epoch);
    let id = ledger.open_stage(&NewStage { mailbox, epoch, name: name.clone() }).await?;
    match target.create_own(&name).await? {
        Created::New => {}
        // Not by us: a name is never used twice.
        Created::Exists => {
            ledger.dissolve_stage(id, mailbox, Dissolved::default()).await?;
            let cause = format!("there is one of the name {name} already, which is none of ours");
            return Err(Fault::session("make a stage", cause).at(Side::Target));
        }
        Created::Refused(text) => {
            ledger.dissolve_stage(id, mailbox, Dissolved::default()).await?;
            work.go_direct(&format!("the target does not let us create {name}: {text}"));
            return Ok(None);
        }
    }
    let opened = target.open_own(&name).await?.ok_or_else(|| {
        Fault::session("open a stage", "the target has made it and does not show it")
            .at(Side::Target)
    })?;
    Ok(Some(Made { id, name, opened }))
}

/// Servers train their filters with what is moved into a mailbox for junk.
pub(super) fn is_junk(target: &MailboxPath, special_use: Option<SpecialUse>) -> bool {
    const NAMES: [&str; 4] = ["junk", "spam", "junk e-mail", "junk email"];
    let named = target
        .names()
        .last()
        .is_some_and(|name| NAMES.iter().any(|junk| name.eq_ignore_ascii_case(junk)));
    named || special_use == Some(SpecialUse::Junk)
}

/// Delivers a batch through a stage. The target mailbox is open afterwards, if all went well.
pub(super) async fn deliver<S: Source, T: Target, L: Ledger>(
    work: &Work<'_, L>,
    place: &mut Place,
    target_name: &WireName,
    source: &mut S,
    target: &mut T,
    made: Made,
    windows: Vec<Window>,
) -> Moved {
    let stage_place = Place {
        validity: made.opened.validity_after(None),
        lo: made.opened.uid_next,
        stage: Some(made.id),
        ..place.clone()
    };
    let moved = Box::pin(window::transfer(work, &stage_place, source, target, windows)).await;
    let Moved { sent, missing, refused, to_repair, halted, outcome } = moved;
    // A stage that is not whole is left to the next try, which deletes it: what was not answered may
    // be in it, or still come.
    let outcome = match outcome {
        Ok(()) => move_on(work, place, target_name, &stage_place, target, &made, sent).await,
        Err(fault) => Err(fault),
    };
    Moved { sent: Vec::new(), missing, refused, to_repair, halted, outcome }
}

/// Reads back what is in the stage, moves it to where it belongs, and deletes the stage.
async fn move_on<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    place: &mut Place,
    target_name: &WireName,
    stage_place: &Place,
    target: &mut T,
    made: &Made,
    sent: Vec<Sent>,
) -> Result<(), Fault> {
    let (ledger, mailbox) = (&work.run.ledger, place.mailbox);
    let (copies, unseen) = verify::confirm(work, stage_place, target, &sent).await?;
    if unseen > 0 {
        return Err(verify::not_shown(work, stage_place, target, unseen));
    }
    let mut staged: BTreeMap<Uid, Uid> =
        copies.iter().map(|(uid, copy)| (copy.uid, *uid)).collect();
    let mut outcomes = Vec::new();
    let mut left = Vec::new();
    if !staged.is_empty() {
        let before = by_uid(target.look(Uid::FIRST).await?);
        let uids: Vec<Uid> = staged.keys().copied().collect();
        let ids: BTreeMap<Uid, ObjectId> = target.object_ids(&uids).await?.into_iter().collect();
        let messages = staged.iter().map(|(staged, uid)| StagedMessage {
            staged: *staged,
            uid: *uid,
            object_id: ids.get(staged).cloned(),
            arrived: false,
        });
        let intent = MoveIntent { lo: place.lo, messages: messages.collect() };
        ledger.intend_move(made.id, &intent).await?;
        let pairs = match target.move_out(&made.name, &uids, target_name).await? {
            target::Moved::All { validity, uids } if validity == place.validity => uids,
            target::Moved::All { .. } => {
                return Err(unknown(place, "the target mailbox is another one than before"));
            }
            // It is never repeated: two that run at once would move each message twice.
            target::Moved::Unknown(said) => {
                work.go_direct(&format!("the target does not tell what it moved: {said}"));
                return Err(unknown(place, &format!("the server said: {said}")));
            }
        };
        left = target.look(Uid::FIRST).await?;
        resolve::reopen(target, target_name, place.validity).await?;
        let mut arrived: Vec<Uid> = pairs.iter().map(|(_, arrived)| *arrived).collect();
        arrived.sort_unstable();
        let after = by_uid(target.read_back(&arrived).await?);
        if !is_where_told(&pairs, place.lo, &before, &after) {
            return Err(unknown(place, "not every message is where the target told"));
        }
        let mut arrived_at: BTreeMap<Uid, Uid> = BTreeMap::new();
        for (before, after) in pairs {
            arrived_at.extend(staged.remove(&before).map(|uid| (uid, after)));
        }
        outcomes = copied(sent, copies, &arrived_at);
        place.lo = next_after(place.lo, arrived);
        left.retain(|found| !before.contains_key(&found.uid));
    }
    ledger.deliver_stage(made.id, mailbox, outcomes).await?;
    ledger.set_target_uid_next(mailbox, place.lo).await?;
    if left.is_empty() {
        match target.delete_own(&made.name).await? {
            Deleted::Gone => {
                ledger.dissolve_stage(made.id, mailbox, Dissolved::default()).await?;
            }
            Deleted::Refused(text) => {
                let text =
                    format!("{} is empty, and the target does not delete it: {text}", made.name);
                work.event(Event::Warning { account: Some(work.label.clone()), text });
            }
        }
    } else {
        let text = format!("somebody has put mail into {}: move it elsewhere", made.name);
        work.event(Event::Warning { account: Some(work.label.clone()), text });
    }
    resolve::reopen(target, target_name, place.validity).await
}

fn by_uid(found: Vec<Found>) -> BTreeMap<Uid, Found> {
    found.into_iter().map(|found| (found.uid, found)).collect()
}

/// The connection is given up; the next try looks at what was moved.
fn unknown(place: &Place, cause: &str) -> Fault {
    let action = format!("move messages to {}", place.pair.target);
    Fault::session(action, cause.to_owned()).at(Side::Target)
}

fn copied(
    sent: Vec<Sent>,
    mut copies: verify::Copies,
    arrived_at: &BTreeMap<Uid, Uid>,
) -> Vec<Outcome> {
    let messages = sent.into_iter().flat_map(|window| window.messages);
    let outcome = |message: window::SentMessage| {
        let verify::Copy { remarks, .. } = copies.remove(&message.uid)?;
        let target_uid = Some(*arrived_at.get(&message.uid)?);
        let entry = Entry { fate: Fate::Copied, target_uid, ..message.entry };
        Some(Outcome { uid: message.uid, entry, remarks, subject: message.subject })
    };
    messages.filter_map(outcome).collect()
}

/// Clears the stages that earlier tries have left: deletes them, and enters what was or may have been
/// moved out of them into windows of the target mailbox, to be looked for there.
///
/// # Errors
///
/// A session fault where the connection breaks; a stage that cannot be cleared holds its mailbox only.
pub(super) async fn recover<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    target: &mut T,
    bound: &[BoundMailbox],
) -> Result<Resolved, Fault> {
    let mut resolved = Resolved::default();
    let stages = work.run.ledger.stages(work.claim.account).await?;
    if stages.iter().any(|stage| stage.windows.is_empty()) {
        // A CREATE of a lost connection may still take effect.
        tokio::time::sleep(work.settle_time()).await;
    }
    for stage in stages {
        // A stage is of a mailbox: the ledger gives both or none.
        let Some(mailbox) = bound.iter().find(|bound| bound.id == stage.stage.mailbox) else {
            continue;
        };
        let source_name = mailbox.binding.source_name.clone();
        match clear(work, target, mailbox, stage).await {
            Ok(given_up) => resolved.given_up.entry(source_name).or_default().extend(given_up),
            Err(fault) if fault.scope <= Scope::Mailbox => {
                resolve::give_up(work, mailbox, &fault).await?;
                resolved.unresolved.insert(source_name);
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(resolved)
}

/// Clears one stage, and gives what is given up for this pass.
async fn clear<T: Target, L: Ledger>(
    work: &Work<'_, L>,
    target: &mut T,
    mailbox: &BoundMailbox,
    mut stage: Stage,
) -> Result<Vec<Uid>, Fault> {
    let ledger = &work.run.ledger;
    let name = stage.stage.name.clone();
    let hold = |cause: String| {
        let action = format!("clear {name}, which an earlier run has left at the target");
        Fault::new(Scope::Mailbox, Remedy::Nothing, action, cause).at(Side::Target)
    };
    if mutant::is(Mutant::RepeatMove)
        && let Some(intent) = &stage.intent
    {
        let staged: Vec<Uid> = intent.messages.iter().map(|message| message.staged).collect();
        target.move_out(&name, &staged, &mailbox.binding.target_name).await?;
    }
    let listed = match target.open_own(&name).await? {
        Some(_) => Some(target.look(Uid::FIRST).await?),
        None => None,
    };
    if let Some(listed) = &listed {
        let inside = inside(&stage, listed);
        if !inside.foreign.is_empty() {
            return Err(hold("there is mail in it that is not ours: move it elsewhere".to_owned()));
        }
        // Durable before the stage is gone: afterwards nobody can tell.
        if !inside.arrived.is_empty() {
            ledger.note_arrived(stage.id, inside.arrived.clone()).await?;
        }
        let arrived: BTreeSet<Uid> = inside.arrived.into_iter().collect();
        for message in stage.intent.iter_mut().flat_map(|intent| &mut intent.messages) {
            message.arrived |= arrived.contains(&message.staged);
        }
        // Its answer is awaited: a server may let a MOVE that is under way finish first (Cyrus).
        if let Deleted::Refused(text) = target.delete_own(&name).await? {
            return Err(hold(text));
        }
    }
    let history = history(work, &stage).await?;
    let blame = Blame {
        of_this_run: stage.stage.epoch >= work.claim.epoch,
        doubts_max: work.run.config.doubts_max,
    };
    let dissolved = dissolve(&stage, &history, listed.as_deref(), blame);
    let mut given_up = Vec::new();
    for Outcome { uid, entry, remarks, .. } in &dissolved.outcomes {
        if entry.fate != Fate::Pending {
            given_up.push(*uid);
            let reason: String = remarks.iter().map(|remark| remark.text.as_str()).collect();
            tell_not_copied_at(work, &mailbox.binding.source_path, *uid, entry.fate, &reason);
        }
    }
    ledger.dissolve_stage(stage.id, mailbox.id, dissolved).await?;
    Ok(given_up)
}

async fn history<L: Ledger>(work: &Work<'_, L>, stage: &Stage) -> Result<History, Fault> {
    let messages = || stage.windows.iter().flat_map(|open| &open.window.messages);
    let uids = || messages().map(|message| message.uid);
    match uids().min().zip(uids().max()) {
        Some((low, high)) => work.run.ledger.history(stage.stage.mailbox, low..=high).await,
        None => Ok(History::default()),
    }
}
