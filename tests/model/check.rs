//! The promises.

use std::collections::BTreeSet;

use mailhaul::fate::Fate;

use crate::config::{Told, World};
use crate::engine;
use crate::memory::Row;
use crate::state::{At, Process, State};
use crate::target::{Stand, Whose};

/// What is wrong with a state; most of it shows only at the end.
pub(crate) fn wrong(world: &World, state: &State, is_end: bool) -> Option<String> {
    let mut claims = BTreeSet::new();
    let rows = || state.ledger.rows.iter().flatten().filter(|row| row.fate.is_there());
    if let Some(twice) = rows().find(|row| row.uid > 0 && !claims.insert(row.uid)) {
        return Some(format!("UID {} is claimed for two messages", twice.uid));
    }
    if !is_end {
        return None;
    }
    let state = &swept(world, state);
    (0..world.source.len())
        .find_map(|key| unlisted(world, state, key))
        .or_else(|| (0..3).find_map(|content| lost(world, state, content)))
        .or_else(|| (0..3).find_map(|content| doubled(world, state, content)))
}

/// As a later pass would leave it, in which nothing happens but the sweep.
fn swept(world: &World, state: &State) -> State {
    let mut state = state.clone();
    let mut process = Process::new(state.ledger.writer);
    process.at = At::Sweep;
    process.is_last_sweep = true;
    state.processes.push(process);
    while !state.processes.is_empty() {
        let mut steps = Vec::new();
        engine::steps(world, &state, 0, &mut steps);
        state = steps.swap_remove(0).state;
    }
    state
}

/// Every message has a fate, and one that can be.
fn unlisted(world: &World, state: &State, key: usize) -> Option<String> {
    let row = state.ledger.rows[key].as_ref();
    let number = key + 1;
    match row.map(|row| row.fate) {
        None => Some(format!("message {number} has no fate, though the run is through")),
        Some(Fate::Copied | Fate::Adopted) => None,
        // What is lost on the way, not stored, or removed while it is looked for, three times is given
        // up.
        Some(Fate::Refused) if world.losses + world.swallowed + world.user >= 3 => None,
        Some(Fate::Lost) if world.swallowed >= 2 => None,
        Some(fate) => Some(format!("message {number} is {fate}, which nothing explains")),
    }
}

/// Each message that is called copied has a copy of its own, or had one that a user removed.
fn lost(world: &World, state: &State, content: u8) -> Option<String> {
    let all: Vec<&Row> = copied(world, state, content).collect();
    let mut taken = BTreeSet::new();
    for row in all.iter().filter(|row| row.uid > 0) {
        let Some(slot) = state.target.slot(row.uid) else {
            if may_have_lied(state, content) && row.is_removed {
                continue;
            }
            return Some(format!("a message is claimed at UID {}, which never was", row.uid));
        };
        if slot.content != content {
            if may_have_lied(state, content) && row.is_removed {
                continue;
            }
            return Some(format!("another message stands at UID {}, which is claimed", row.uid));
        }
        if slot.whose == Whose::Before {
            return Some(format!("UID {} was there before, and is taken for a copy", row.uid));
        }
        if row.is_removed && slot.stand == Stand::Here {
            return Some(format!("UID {} is called removed, and is there", row.uid));
        }
        if !taken.insert(state.target.now(row.uid)) {
            return Some(format!("UID {} and another one are one copy of two messages", row.uid));
        }
    }
    // Those of which it is only known that they were there.
    let gone = (1..state.target.uid_next()).filter(|uid| {
        let slot = state.target.slot(*uid).expect("it was there");
        slot.content == content
            && !matches!(slot.stand, Stand::Here | Stand::Back(_))
            && !taken.contains(uid)
    });
    let nowhere = all.iter().filter(|row| row.uid == 0).count();
    // A server that lies cannot be told from an owner who removes, but for one whose stage was seen.
    let lied = if world.staged { 0 } else { usize::from(state.fact.lied[usize::from(content)]) };
    if nowhere > gone.count() + lied {
        return Some("a message is called removed by its owner, and nobody removed it".to_owned());
    }
    None
}

fn may_have_lied(state: &State, content: u8) -> bool {
    state.fact.lied[usize::from(content)] > 0
}

fn copied<'a>(world: &World, state: &'a State, content: u8) -> impl Iterator<Item = &'a Row> {
    let rows = state.ledger.rows.iter().zip(world.source);
    let of_it = rows.filter(move |(_, of)| **of == content).filter_map(|(row, _)| row.as_ref());
    of_it.filter(|row| row.fate.is_there())
}

/// A message is stored more than once only for a reason, and then it is reported.
fn doubled(world: &World, state: &State, content: u8) -> Option<String> {
    let is_of_it = |uid: &u8, whose: Whose| {
        state.target.slot(*uid).is_some_and(|it| it.content == content && it.whose == whose)
    };
    let all: Vec<u8> =
        (1..state.target.uid_next()).filter(|uid| state.target.now(*uid) == *uid).collect();
    let ours: Vec<u8> = all.iter().copied().filter(|uid| is_of_it(uid, Whose::Ours)).collect();
    let claimed: Vec<u8> =
        copied(world, state, content).filter(|row| row.uid > 0).map(|row| row.uid).collect();
    let wanted = copied(world, state, content).count();
    let index = usize::from(content);
    // R1 and R9.
    // A stage that is deleted after its MOVE has ended lets nothing through later.
    let late = if world.staged && world.delete_waits { 0 } else { state.fact.late[index] };
    let explained = late + state.fact.removed[index];
    let surplus = ours.len().saturating_sub(wanted);
    if surplus > usize::from(explained) {
        return Some(format!(
            "{} copies of {wanted} equal messages were stored, and nothing explains it",
            ours.len()
        ));
    }
    let now: BTreeSet<u8> = claimed.iter().map(|uid| state.target.now(*uid)).collect();
    let reported: BTreeSet<u8> =
        state.ledger.rows.iter().flatten().flat_map(|row| row.surplus.clone()).collect();
    let stray = ours.iter().filter(|uid| {
        let is_here = state.target.slot(**uid).is_some_and(|slot| slot.stand == Stand::Here);
        is_here && !now.contains(uid) && !reported.contains(uid)
    });
    // R4: where another's equal message was taken for the copy, the copy is taken for another's.
    let of_others = now.iter().filter(|uid| is_of_it(uid, Whose::Others)).count();
    let stray = stray.count();
    let is_told = world.told != Told::Anything;
    if is_told && stray > of_others {
        return Some("a second copy of a message is at the target, and is not reported".to_owned());
    }
    None
}
