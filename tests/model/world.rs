//! A world of one mailbox that is copied: every step of the processes, the server, the network and the
//! users that can come next.

use mailhaul::fate::Fate;

use crate::check;
use crate::config::{Told, World};
use crate::engine;
use crate::explore::{Model, Said, Step};
use crate::memory::Write;
use crate::state::{At, Process, State};
use crate::target::{Answer, Command, Did, Stand, Target, Whose, Wire};

impl Model for World {
    type State = State;

    fn first(&self) -> State {
        State::new(self)
    }

    fn steps(&self, state: &State) -> Vec<Step<State>> {
        let mut steps = Vec::new();
        // The newest process first: it is the one that brings things to their end.
        for index in (0..state.processes.len()).rev() {
            engine::steps(self, state, index, &mut steps);
        }
        if state.processes.is_empty() && !state.is_done {
            steps.push(start(state, "process {} starts", false));
        }
        serve(self, state, &mut steps);
        for index in 0..state.processes.len() {
            break_down(state, index, &mut steps);
        }
        if state.is_done && state.may.passes > 1 {
            let mut step = start(state, "the next pass begins: process {}", true);
            step.state.may.passes -= 1;
            step.state.is_done = false;
            steps.push(step);
        }
        if !state.is_done {
            meddle(state, &mut steps);
        }
        steps
    }

    fn wrong(&self, state: &State, is_end: bool) -> Option<String> {
        check::wrong(self, state, is_end)
    }
}

fn start(state: &State, said: &'static str, optional: bool) -> Step<State> {
    let mut state = state.clone();
    state.epoch += 1;
    state.ledger.writer = state.epoch;
    state.processes.push(Process::new(state.epoch));
    Step { said: Said(said, state.epoch, 0), optional, state }
}

/// Whose connection a step is about.
#[derive(Clone, Copy)]
enum Which {
    Live(usize),
    Lost(usize),
}

impl Which {
    fn take(self, state: &mut State) -> Wire {
        match self {
            Self::Live(index) => std::mem::take(&mut state.processes[index].wire),
            Self::Lost(index) => state.target.lost.remove(index),
        }
    }

    fn put(self, state: &mut State, wire: Wire) {
        match self {
            Self::Live(index) => state.processes[index].wire = wire,
            Self::Lost(_) => state.lose(wire),
        }
    }
}

/// What the server does next for each connection.
fn serve(world: &World, state: &State, steps: &mut Vec<Step<State>>) {
    let live = (0..state.processes.len()).map(Which::Live);
    for which in live.chain((0..state.target.lost.len()).map(Which::Lost)) {
        let mut next = state.clone();
        let mut wire = which.take(&mut next);
        let command = wire.queue.first().cloned();
        let may_delete = match &command {
            Some(Command::Delete(name)) if world.delete_waits => {
                !Target::is_moving(*name, state.wires())
            }
            _ => true,
        };
        let before = (next.clone(), wire.clone());
        let Some(did) = next.target.work(&mut wire, may_delete) else { continue };
        let said = match (which, wire.is_late) {
            (Which::Live(_), false) => "the server goes on with what it was sent",
            (Which::Lost(_), false) => "a command of a lost connection takes effect",
            (_, true) => "a command takes effect later than the settling",
        };
        if let Did::Stored(uids) = &did {
            for uid in uids {
                let content = next.target.slot(*uid).expect("it was stored").content;
                next.fact.late[usize::from(content)] += u8::from(wire.is_late);
            }
            let ways = lies(world, &next, &wire, which);
            which.put(&mut next, wire);
            steps.push(Step { said: Said(said, 0, 0), optional: false, state: next });
            steps.extend(ways);
        } else {
            which.put(&mut next, wire);
            steps.push(Step { said: Said(said, 0, 0), optional: false, state: next });
        }
        if let (Some(Command::Append { contents, into }), Which::Live(_)) = (command, which)
            && before.0.may.swallowed > 0
        {
            steps.extend(swallow(world, before, &contents, into, which));
        }
    }
}

/// Other words in which a server could say that it has stored messages.
fn lies(world: &World, state: &State, wire: &Wire, which: Which) -> Vec<Step<State>> {
    let Some(Answer::Stored(uids)) = wire.answers.last() else { return Vec::new() };
    let tell = |uids: Vec<Option<u8>>, said| {
        let (mut state, mut wire) = (state.clone(), wire.clone());
        *wire.answers.last_mut().expect("there is one") = Answer::Stored(uids);
        which.put(&mut state, wire);
        Step { said: Said(said, 0, 0), optional: true, state }
    };
    if matches!(which, Which::Lost(_)) || world.told == Told::Truth {
        return Vec::new();
    }
    let nothing = tell(vec![None; uids.len()], "the server stores it, and does not tell where");
    if world.told == Told::Nothing {
        return vec![nothing];
    }
    let shifted = |by: i8| uids.iter().map(move |uid| uid.map(|it| it.saturating_add_signed(by)));
    vec![
        nothing,
        tell(shifted(1).collect(), "the server stores it, and tells the next UID"),
        tell(shifted(-1).collect(), "the server stores it, and tells the UID before"),
        tell(uids.iter().rev().copied().collect(), "the server stores it, and mixes up the UIDs"),
    ]
}

/// The server says OK and stores nothing, told as if it had or not told where.
fn swallow(
    world: &World,
    before: (State, Wire),
    contents: &[u8],
    into: Option<u8>,
    which: Which,
) -> Vec<Step<State>> {
    let stored = into.and_then(|name| before.0.target.stage(name)).map(|stage| stage.slots.len());
    let next = stored.map_or(before.0.target.uid_next(), |stored| {
        u8::try_from(stored + 1).expect("a small stage")
    });
    let would_be: Vec<Option<u8>> = (next..).take(contents.len()).map(Some).collect();
    let mut told = vec![(vec![None; contents.len()], "the server says OK and stores nothing")];
    if world.told != Told::Nothing {
        told.push((would_be, "the server says OK, tells a UID and stores nothing"));
    }
    if world.told == Told::Anything && next > 1 {
        let last = vec![Some(next - 1); contents.len()];
        told.push((last, "the server says OK, tells the last UID there is and stores nothing"));
    }
    let step = |(uids, said)| {
        let (mut state, mut wire) = before.clone();
        state.may.swallowed -= 1;
        for content in contents {
            state.fact.lied[usize::from(*content)] += 1;
        }
        wire.queue.remove(0);
        wire.answers.push(Answer::Stored(uids));
        which.put(&mut state, wire);
        Step { said: Said(said, 0, 0), optional: true, state }
    };
    told.into_iter().map(step).collect()
}

/// Connections that are cut, processes that die or are taken over.
fn break_down(state: &State, index: usize, steps: &mut Vec<Step<State>>) {
    let process = &state.processes[index];
    let is_busy = !process.wire.is_idle()
        || !process.wire.answers.is_empty()
        || !process.flights.is_empty()
        || process.stage.is_some();
    if state.may.losses > 0 {
        for wire in process.wire.lost() {
            let mut next = state.clone();
            next.may.losses -= 1;
            if is_busy && process.at != At::Done {
                let mut next = next.clone();
                let process = &mut next.processes[index];
                // What was answered of a window is kept (`append::Reader::tell_unfinished`).
                for flight in &process.flights {
                    let is_cut_short = flight.said.len() < flight.keys.len();
                    let rows = engine::hints(flight, Fate::Pending);
                    if is_cut_short && !rows.is_empty() && process.at == At::Transfer {
                        process.queue.push(Write::Record(rows));
                    }
                }
                process.begin_again();
                next.lose(wire.clone());
                let said = Said(
                    "process {} loses its connection; commands that arrive whole: {}",
                    process_epoch(state, index),
                    arrived(&wire),
                );
                steps.push(Step { said, optional: true, state: next });
            }
            for kept in 0..=process.queue.len() {
                let mut next = next.clone();
                let mut process = next.processes.remove(index);
                process.queue.truncate(kept);
                let is_newest = process.epoch == next.ledger.writer;
                for write in process.queue.into_iter().filter(|_| is_newest) {
                    next.ledger.write(write, true);
                }
                next.lose(wire.clone());
                let said = Said(
                    "process {} dies; commands that arrive whole: {}",
                    process.epoch,
                    arrived(&wire),
                );
                steps.push(Step { said, optional: true, state: next });
            }
        }
    }
    if state.may.claimants > 0 && process.epoch == state.ledger.writer {
        for kept in 0..=process.queue.len() {
            let mut next = state.clone();
            next.may.claimants -= 1;
            let queue = &mut next.processes[index].queue;
            let left = queue.split_off(kept);
            let written = std::mem::replace(queue, left);
            for write in written {
                next.ledger.write(write, true);
            }
            let mut step = start(&next, "process {} takes the ledger over", true);
            step.optional = true;
            steps.push(step);
        }
    }
}

fn process_epoch(state: &State, index: usize) -> u8 {
    state.processes[index].epoch
}

fn arrived(wire: &Wire) -> u8 {
    u8::try_from(wire.queue.len() + usize::from(wire.moving.is_some())).expect("few commands")
}

/// What users and others do in the target mailbox.
fn meddle(state: &State, steps: &mut Vec<Step<State>>) {
    if state.may.foreign > 0 {
        let mut next = state.clone();
        next.may.foreign -= 1;
        next.target.add(0, Whose::Others);
        let said = Said("somebody else delivers an equal message", 0, 0);
        steps.push(Step { said, optional: true, state: next });
    }
    if state.may.user == 0 {
        return;
    }
    for (uid, slot) in (1_u8..).zip(&state.target.slots) {
        let mut act = |stand, said: &'static str| {
            let mut next = state.clone();
            next.may.user -= 1;
            if slot.stand == Stand::Here && slot.whose == Whose::Ours {
                next.fact.removed[usize::from(slot.content)] += 1;
            }
            if matches!(stand, Stand::Back(_)) {
                next.target.add(slot.content, slot.whose);
            }
            next.target.slots[usize::from(uid) - 1].stand = stand;
            steps.push(Step { said: Said(said, uid, 0), optional: true, state: next });
        };
        match slot.stand {
            Stand::Here => {
                act(Stand::Deleted, "a user deletes UID {}");
                act(Stand::Away, "a user moves UID {} away");
            }
            Stand::Away => {
                act(Stand::Back(state.target.uid_next()), "a user moves back what was UID {}");
            }
            Stand::Deleted | Stand::Back(_) => {}
        }
    }
}
