//! Messages that are appended to a stage, a mailbox of our own, and moved from there in one MOVE to
//! where they belong.
//!
//! A stage is a fence: once it is deleted, no APPEND of a lost connection can store anything any
//! more. What was not moved out of it is owed again without a look at the target mailbox. What may
//! have been moved is looked for there as if it had been sent directly; what is gone from the stage
//! has arrived, since a MOVE loses nothing (RFC 6851 section 3.3), and is never sent again.

use std::collections::{BTreeMap, BTreeSet};

use crate::fate::Fate;
use crate::history::{Entry, History};
use crate::ledger::{Dissolved, MoveIntent, NewWindow, Outcome, Stage, WindowMessage};
use crate::mail::Uid;
use crate::plan::absent::{Absent, Blame, never_stored, not_arrived};
use crate::plan::settle::Attributes;
use crate::plan::windows::Window;
use crate::target::Found;

/// Cuts windows into batches that share a stage.
#[must_use]
pub fn batches(windows: Vec<Window>, messages_max: usize) -> Vec<Vec<Window>> {
    let mut batches: Vec<Vec<Window>> = Vec::new();
    let mut open = 0;
    for window in windows {
        let messages = window.messages.len();
        // A message that broke connections before must not take others with it.
        let alone = |batch: &Vec<Window>| window.careful || batch.iter().any(|one| one.careful);
        match batches.last_mut() {
            Some(batch) if open + messages <= messages_max && !alone(batch) => {
                batch.push(window);
                open += messages;
            }
            _ => {
                batches.push(vec![window]);
                open = messages;
            }
        }
    }
    batches
}

/// What a look into a stage tells, before it is deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inside {
    /// What was to be moved and is not there any more.
    pub arrived: Vec<Uid>,
    /// What is none of ours: somebody has put it there, and would lose it.
    pub foreign: Vec<Uid>,
}

/// Tells what is in a stage that is about to be deleted. `listed` is everything in it.
#[must_use]
pub fn inside(stage: &Stage, listed: &[Found]) -> Inside {
    let present: BTreeSet<Uid> = listed.iter().map(|found| found.uid).collect();
    let moved = stage.intent.iter().flat_map(|intent| &intent.messages);
    let ours: BTreeSet<Uid> = moved.map(|message| message.staged).collect();
    let sent = Attributes::of(messages(stage).map(|message| (message.size, message.date)));
    let foreign = listed
        .iter()
        .filter(|found| !ours.contains(&found.uid) && !sent.fit(found.size, found.date))
        .map(|found| found.uid);
    Inside { arrived: ours.difference(&present).copied().collect(), foreign: foreign.collect() }
}

fn messages(stage: &Stage) -> impl Iterator<Item = &WindowMessage> {
    stage.windows.iter().flat_map(|open| &open.window.messages)
}

/// Decides what becomes of the messages of a stage that is deleted. `history` is what the ledger has
/// of them, `listed` what was in the stage before; none where it was not there any more.
#[must_use]
pub fn dissolve(
    stage: &Stage,
    history: &History,
    listed: Option<&[Found]>,
    blame: Blame,
) -> Dissolved {
    let nothing = MoveIntent { lo: Uid::FIRST, messages: Vec::new() };
    let intent = stage.intent.as_ref().unwrap_or(&nothing);
    let moved: BTreeMap<Uid, bool> =
        intent.messages.iter().map(|message| (message.uid, message.arrived)).collect();
    let present: Option<BTreeSet<Uid>> =
        listed.map(|listed| listed.iter().map(|found| found.uid).collect());
    let (mut in_doubt, mut arrived) = (Vec::new(), Vec::new());
    let mut dissolved = Dissolved::default();
    for message in messages(stage) {
        let known = history.get(message.uid);
        if known.is_some_and(|entry| entry.fate != Fate::Pending) {
            continue; // Refused, and said so.
        }
        match moved.get(&message.uid) {
            Some(has_arrived) => {
                let list = if *has_arrived { &mut arrived } else { &mut in_doubt };
                list.push(message.clone());
                // What the ledger has of its UID is one in the stage, and says nothing any more.
                dissolved.outcomes.push(pending(message));
            }
            None => {
                let told = known.and_then(|entry| entry.target_uid);
                let is_there = told.is_none_or(|told| {
                    present.as_ref().is_none_or(|present| present.contains(&told))
                });
                dissolved.outcomes.push(match told {
                    Some(_) if is_there => pending(message),
                    Some(_) => outcome(message, never_stored(message.troubles)),
                    None => outcome(message, not_arrived(message.troubles, blame)),
                });
            }
        }
    }
    let window = |messages| NewWindow {
        mailbox: stage.stage.mailbox,
        epoch: stage.stage.epoch,
        lo: intent.lo,
        messages,
    };
    dissolved.in_doubt.extend(Some(in_doubt).filter(|list| !list.is_empty()).map(window));
    dissolved.arrived.extend(Some(arrived).filter(|list| !list.is_empty()).map(window));
    dissolved
}

/// It is owed again as before.
fn pending(message: &WindowMessage) -> Outcome {
    Outcome { uid: message.uid, entry: entry(message), remarks: Vec::new(), subject: None }
}

fn outcome(message: &WindowMessage, absent: Absent) -> Outcome {
    let Absent { fate, troubles, remark, .. } = absent;
    let entry = Entry { fate, troubles, ..entry(message) };
    Outcome { uid: message.uid, entry, remarks: remark.into_iter().collect(), subject: None }
}

fn entry(message: &WindowMessage) -> Entry {
    let WindowMessage { size, date, identity, risky, troubles, .. } = *message;
    let digest = identity.map(|identity| (identity.exact, identity.headers));
    let (fate, target_uid) = (Fate::Pending, None);
    let (flags, changed) = (message.flags.clone(), message.changed.clone());
    Entry { fate, target_uid, size, date, flags, digest, troubles, risky, changed }
}

/// Whether everything that a MOVE told is so: each message is where it was told to be, as large and
/// as old as it was in the stage, and not below `lo`. A server that tells a wrong UID says it here.
#[must_use]
pub fn is_where_told(
    moved: &[(Uid, Uid)],
    lo: Uid,
    before: &BTreeMap<Uid, Found>,
    after: &BTreeMap<Uid, Found>,
) -> bool {
    moved.iter().all(|(staged, target)| {
        let pair = before.get(staged).zip(after.get(target));
        *target >= lo
            && pair.is_some_and(|(before, after)| {
                (before.size, before.date) == (after.size, after.date)
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Troubles;
    use crate::identity::Identity;
    use crate::ledger::{MailboxId, NewStage, OpenWindow, StageId, StagedMessage, WindowId};
    use crate::mail::{Flags, InternalDate, MessageInfo};
    use crate::own::{OwnName, Serial};
    use crate::plan::windows::Owed;

    const BLAME: Blame = Blame { of_this_run: true, doubts_max: 3 };

    fn date(uid: u32) -> Option<InternalDate> {
        Some(InternalDate::new(i64::from(uid) * 1_000, 0))
    }

    /// A stage that the messages 1 to 4 were sent to, and these of them were to be moved: staged UID
    /// and whether it has arrived. The message n has the UID 10 + n in the stage.
    fn stage(moved: &[(u32, bool)]) -> Stage {
        let message = |uid| WindowMessage {
            uid: Uid(uid),
            size: 100,
            date: date(uid),
            flags: Flags::default(),
            identity: Some(Identity::of(b"x")),
            risky: false,
            troubles: Troubles::default(),
            changed: None,
        };
        let window = NewWindow {
            mailbox: MailboxId(1),
            epoch: 5,
            lo: Uid(11),
            messages: (1..=4).map(message).collect(),
        };
        let staged = |(staged, arrived): &(u32, bool)| StagedMessage {
            staged: Uid(*staged),
            uid: Uid(staged - 10),
            object_id: None,
            arrived: *arrived,
        };
        let intent = MoveIntent { lo: Uid(70), messages: moved.iter().map(staged).collect() };
        Stage {
            id: StageId(1),
            stage: NewStage {
                mailbox: MailboxId(1),
                epoch: 5,
                name: OwnName::stage(Serial { run: 1, epoch: 5, number: 1 }),
            },
            windows: vec![OpenWindow { id: WindowId(1), window, acknowledged: false }],
            intent: (!moved.is_empty()).then_some(intent),
        }
    }

    /// What stands at a UID: the message `of` by size and date.
    fn found(uid: u32, of: u32) -> Found {
        Found { uid: Uid(uid), size: 100, date: date(of), flags: Flags::default() }
    }

    /// A history in which these messages were acknowledged at their UIDs in the stage.
    fn told(uids: &[u32]) -> History {
        let entries = uids.iter().map(|uid| {
            let stage = stage(&[]);
            let message = &stage.windows[0].window.messages[*uid as usize - 1];
            (Uid(*uid), Entry { target_uid: Some(Uid(uid + 10)), ..entry(message) })
        });
        History::new(entries)
    }

    fn uids(windows: &[NewWindow]) -> Vec<u32> {
        windows.iter().flat_map(|window| &window.messages).map(|message| message.uid.0).collect()
    }

    fn fates(dissolved: &Dissolved) -> Vec<(u32, Fate, u8, u8)> {
        let fate = |outcome: &Outcome| {
            let Entry { fate, troubles, target_uid, .. } = &outcome.entry;
            assert_eq!(*target_uid, None, "a UID of the stage is none of the target mailbox");
            (outcome.uid.0, *fate, troubles.doubts, troubles.losses)
        };
        dissolved.outcomes.iter().map(fate).collect()
    }

    #[test]
    fn what_is_gone_from_a_stage_under_an_intent_has_arrived() {
        let stage = stage(&[(11, false), (12, false), (13, false)]);
        let inside = inside(&stage, &[found(12, 2), found(14, 4)]);
        assert_eq!(inside, Inside { arrived: vec![Uid(11), Uid(13)], foreign: Vec::new() });
    }

    #[test]
    fn what_others_put_into_a_stage_is_told() {
        let inside_of = |moved: &[(u32, bool)], listed: &[Found]| inside(&stage(moved), listed);
        let foreign = Found { size: 9_999, ..found(15, 99) };
        assert_eq!(inside_of(&[], &[found(11, 1), foreign.clone()]).foreign, [Uid(15)]);
        // Rewritten by its server, but it was there before and moved.
        let rewritten = Found { uid: Uid(11), ..foreign };
        assert_eq!(inside_of(&[(11, false)], &[rewritten]).foreign, []);
    }

    #[test]
    fn what_was_not_to_be_moved_is_owed_again_without_doubt_where_it_was_answered() {
        let listed = [found(11, 1), found(12, 2)];
        let dissolved = dissolve(&stage(&[]), &told(&[1, 2, 3]), Some(&listed), BLAME);
        assert!(dissolved.in_doubt.is_empty() && dissolved.arrived.is_empty());
        let pending = Fate::Pending;
        // The third was acknowledged and never there; the fourth lost its connection.
        assert_eq!(
            fates(&dissolved),
            [(1, pending, 0, 0), (2, pending, 0, 0), (3, pending, 0, 1), (4, pending, 1, 0)]
        );
        // What nobody looked at is not denied.
        let unseen = dissolve(&stage(&[]), &told(&[1, 2, 3]), None, BLAME);
        assert_eq!(fates(&unseen)[2], (3, pending, 0, 0));
    }

    #[test]
    fn what_may_have_been_moved_is_in_doubt_where_it_was_to_go() {
        let stage = stage(&[(11, true), (12, false), (13, false)]);
        let dissolved = dissolve(&stage, &told(&[1, 2, 3]), None, BLAME);
        assert_eq!(uids(&dissolved.arrived), [1]);
        assert_eq!(uids(&dissolved.in_doubt), [2, 3]);
        // All are pending without a UID: what was told is one in the stage.
        let pending = |uid, doubts| (uid, Fate::Pending, doubts, 0);
        let expected = [pending(1, 0), pending(2, 0), pending(3, 0), pending(4, 1)];
        assert_eq!(fates(&dissolved), expected);
        assert!(dissolved.in_doubt.iter().all(|window| (window.lo, window.epoch) == (Uid(70), 5)));
    }

    #[test]
    fn a_message_that_breaks_every_connection_is_given_up_for_this_pass() {
        let mut worn = stage(&[]);
        worn.windows[0].window.messages[0].troubles.doubts = 2;
        worn.windows[0].window.messages[1].troubles.losses = 1;
        let listed = [found(13, 3)];
        let dissolved = dissolve(&worn, &told(&[2, 3]), Some(&listed), BLAME);
        assert_eq!(fates(&dissolved)[..2], [(1, Fate::Refused, 0, 0), (2, Fate::Lost, 0, 2)]);
        let of_a_dead_run = Blame { of_this_run: false, ..BLAME };
        let dissolved = dissolve(&worn, &told(&[2, 3]), Some(&listed), of_a_dead_run);
        assert_eq!(fates(&dissolved)[0], (1, Fate::Pending, 1, 0));
    }

    #[test]
    fn what_was_refused_stays_refused() {
        let stage = stage(&[]);
        let message = &stage.windows[0].window.messages[3];
        let refused = Entry { fate: Fate::Refused, ..entry(message) };
        let history = History::new([(Uid(4), refused)]);
        let dissolved = dissolve(&stage, &history, Some(&[]), BLAME);
        assert_eq!(fates(&dissolved).len(), 3);
    }

    #[test]
    fn a_move_that_tells_wrong_uids_is_seen_through() {
        let by_uid = |list: &[Found]| list.iter().map(|f| (f.uid, f.clone())).collect();
        let before: BTreeMap<Uid, Found> = by_uid(&[found(11, 1), found(12, 2)]);
        let after: BTreeMap<Uid, Found> = by_uid(&[found(70, 1), found(71, 2), found(72, 9)]);
        let told =
            |pairs: [(u32, u32); 2]| pairs.map(|(staged, target)| (Uid(staged), Uid(target)));
        let is_so = |pairs, lo| is_where_told(&told(pairs), Uid(lo), &before, &after);
        assert!(is_so([(11, 70), (12, 71)], 70));
        assert!(!is_so([(11, 70), (12, 71)], 71));
        assert!(!is_so([(11, 71), (12, 70)], 70));
        assert!(!is_so([(11, 70), (12, 72)], 70));
        assert!(!is_so([(11, 70), (12, 73)], 70));
    }

    #[test]
    fn windows_share_a_stage_until_it_is_full_and_what_is_careful_has_its_own() {
        let window = |messages: u32, careful| {
            let owed = |uid| {
                let (uid, flags) = (Uid(uid), Flags::default());
                Owed::new(MessageInfo { uid, size: 1, date: None, flags }, Troubles::default())
            };
            Window { messages: (0..messages).map(owed).collect(), streamed: false, careful }
        };
        let windows = vec![
            window(4, false),
            window(4, false),
            window(4, false),
            window(1, true),
            window(4, false),
        ];
        let counts = |messages_max| {
            let batches = batches(windows.clone(), messages_max);
            batches.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(counts(9), [2, 1, 1, 1]);
        assert_eq!(counts(100), [3, 1, 1]);
        assert_eq!(counts(1), [1, 1, 1, 1, 1]);
    }
}
