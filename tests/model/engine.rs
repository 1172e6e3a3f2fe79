//! What a process does next, in the order of the engine, by the decisions that the engine runs.

use std::collections::{BTreeMap, BTreeSet};

use mailhaul::fate::Fate;
use mailhaul::history::{Entry, History, Troubles};
use mailhaul::ledger::{
    Doubt, Doubted, MailboxId, MoveIntent, NewStage, NewWindow, OpenWindow, StageId, StagedMessage,
    WindowId,
};
use mailhaul::mail::Uid;
use mailhaul::own::{OwnName, Serial};
use mailhaul::plan::absent::{Absent, Blame, Seen, absent};
use mailhaul::plan::adopt::{Letter, Matched, give_back, match_by_class};
use mailhaul::plan::delta::delta;
use mailhaul::plan::room::{InDoubt, Room, room};
use mailhaul::plan::settle::{Attributes, Candidate, Claim, Sought, needs_body, settle};
use mailhaul::plan::staging::{batches, dissolve, inside, is_where_told};
use mailhaul::plan::sweep::asked;
use mailhaul::plan::verdict::{Evidence, Outlines, next_after};
use mailhaul::plan::windows::{Bounds, Owed, Window as Planned, windows};
use mailhaul::target::Found;

use crate::config::{Without, World};
use crate::explore::{self, Step};
use crate::mail::{
    candidate, entry, found, identity, info, key_of, narrow, outline, size, source_uid, wide,
    window_message,
};
use crate::memory::{Intent, Pair, Row, Window, Write};
use crate::state::{At, Flight, Process, Said, State};
use crate::target::{Answer, Command};

/// As the program's default.
const DOUBTS_MAX: u8 = 3;
const MAILBOX: MailboxId = MailboxId(1);

/// UID and content of messages.
type Listed = Vec<(u8, u8)>;

/// The steps that a process can take now; none where it waits for an answer.
pub(crate) fn steps(world: &World, state: &State, index: usize, out: &mut Vec<Step<State>>) {
    let mut doing = Doing { world, state: state.clone(), index, said: "" };
    if doing.process().at == At::Transfer {
        for one in [Doing::hear, Doing::send] {
            let mut doing = Doing { world, state: state.clone(), index, said: "" };
            if one(&mut doing) {
                out.push(doing.step());
            }
        }
    } else if doing.go() {
        out.push(doing.step());
    }
}

struct Doing<'a> {
    world: &'a World,
    state: State,
    index: usize,
    said: &'static str,
}

impl Doing<'_> {
    fn step(self) -> Step<State> {
        let epoch = self.state.processes.get(self.index).map_or(0, |process| process.epoch);
        Step { said: explore::Said(self.said, epoch, 0), optional: false, state: self.state }
    }

    fn process(&mut self) -> &mut Process {
        &mut self.state.processes[self.index]
    }

    fn content(&self, key: u8) -> u8 {
        self.world.source[usize::from(key)]
    }

    fn lacks(&self, part: Without) -> bool {
        self.world.lacks(part)
    }

    /// Makes everything durable that is queued. False where another process writes the ledger now:
    /// this one ends.
    fn flush(&mut self) -> bool {
        let newest = self.state.ledger.writer;
        let process = &mut self.state.processes[self.index];
        if process.epoch != newest && !self.world.lacks(Without::Epoch) {
            let process = self.state.processes.remove(self.index);
            self.state.lose(process.wire);
            self.said = "a process that was taken over is refused by the ledger, and ends";
            return false;
        }
        for write in std::mem::take(&mut process.queue) {
            self.state.ledger.write(write, !self.world.lacks(Without::FirstLo));
        }
        true
    }

    fn queue(&mut self, write: Write) {
        self.process().queue.push(write);
    }

    fn barrier(&mut self, write: Write) -> bool {
        self.queue(write);
        self.flush()
    }

    /// Waits until lost connections have settled. What comes of them afterwards comes late.
    fn settle_connections(&mut self) -> bool {
        let mut late = self.state.may.late;
        let own = self.index;
        let processes = self.state.processes.iter_mut().enumerate();
        let others = processes.filter(|(index, _)| *index != own);
        let live = others.map(|(_, process)| &mut process.wire);
        let mut wires: Vec<_> = live.map(|wire| (true, wire)).collect();
        wires.extend(self.state.target.lost.iter_mut().map(|wire| (false, wire)));
        for (is_live, wire) in wires {
            let coming = wire.queue.len() + usize::from(wire.moving.is_some());
            if coming > 0 && !wire.is_late {
                let Some(left) = usize::from(late).checked_sub(coming) else { return false };
                late = u8::try_from(left).expect("less than before");
                wire.is_late = true;
            }
            // Whatever an overtaken process sends from now on.
            wire.is_late |= is_live;
        }
        self.state.may.late = late;
        true
    }

    /// Does the next thing. False where it waits.
    fn go(&mut self) -> bool {
        let at = self.process().at.clone();
        // What an overtaken process still does to a stage that is cleared already is nothing: its
        // name is never used again.
        let clears = matches!(at, At::Clear | At::Delete(_) | At::Deleting(_) | At::Dissolve(_));
        if clears && self.process().epoch != self.state.ledger.writer && !self.flush() {
            return true;
        }
        match at {
            At::Attempt => {
                self.said = "begins a try: reads the ledger";
                if !self.flush() {
                    return true;
                }
                let stages = &self.state.ledger.stages;
                let is_bare = |name| {
                    let mut windows = self.state.ledger.windows.iter();
                    !windows.any(|window| window.stage == Some(name))
                };
                if stages.is_empty() {
                    self.after_stages();
                } else if stages.iter().any(|stage| is_bare(stage.name)) {
                    self.process().at = At::StagesSettle;
                } else {
                    self.process().at = At::Clear;
                }
            }
            At::StagesSettle => {
                self.said = "waits for what lost connections may still make";
                if !self.settle_connections() {
                    return false;
                }
                self.process().at = At::Clear;
            }
            At::Clear => self.clear(),
            At::Delete(listed) => {
                self.said = "sends DELETE of the old stage";
                let name = self.first_stage().name;
                if self.lacks(Without::Delete) {
                    self.said = "leaves the old stage";
                    self.process().at = At::Dissolve(listed);
                } else {
                    self.process().wire.queue.push(Command::Delete(name));
                    let is_awaited = !self.lacks(Without::DeleteAnswer);
                    self.process().at =
                        if is_awaited { At::Deleting(listed) } else { At::Dissolve(listed) };
                }
            }
            At::Deleting(listed) => {
                self.said = "reads that the old stage is gone";
                if self.answer().is_none() {
                    return false;
                }
                self.process().at = At::Dissolve(listed);
            }
            At::Dissolve(listed) => self.dissolve(listed),
            At::Settle => {
                self.said = "has given lost connections their time";
                if !self.settle_connections() {
                    return false;
                }
                self.process().at = At::Resolve;
            }
            At::Resolve => {
                self.said = "opens the target mailbox to look for what is in doubt";
                let uid_next = self.state.target.uid_next();
                self.process().at = At::ResolveLook(uid_next);
            }
            At::ResolveLook(uid_next) => self.resolve_look(uid_next),
            At::ResolveWrite(ids, rows, notes) => self.resolve_write(ids, rows, notes),
            At::Scan => self.scan(),
            At::Open => {
                self.said = "opens the target mailbox to copy into it";
                let uid_next = self.state.target.uid_next();
                let adopts = self.world.before.is_none();
                if adopts && uid_next > self.state.ledger.uid_next {
                    self.process().at = At::Adopt(uid_next);
                } else {
                    self.opened(uid_next);
                }
            }
            At::Adopt(uid_next) => self.adopt(uid_next),
            At::AdoptWrite(uid_next, rows) => {
                self.said = "writes what it has found there";
                if self.barrier(Write::Settle(Vec::new(), rows, Vec::new())) {
                    self.opened(uid_next);
                }
            }
            At::RetryLast => self.retry_last(),
            At::Make => {
                self.said = "sends CREATE of a stage";
                let name = self.process().stage.expect("it is in the ledger");
                self.process().wire.queue.push(Command::Create(name));
                self.process().at = At::Making;
            }
            At::Making => match self.answer() {
                None => return false,
                Some(Answer::Done) => {
                    self.said = "reads that the stage is made";
                    self.process().at = At::Transfer;
                }
                Some(_) => {
                    self.said = "reads that there is one of that name";
                    let name = self.process().stage.expect("it is in the ledger");
                    if self.barrier(Write::Dissolve(name, Vec::new(), Vec::new())) {
                        self.process().begin_again();
                    }
                }
            },
            At::Transfer => return false,
            At::ReadBack => self.read_back(),
            At::Intend(staged) => self.intend(staged),
            At::Move(staged) => {
                self.said = "sends MOVE";
                let from = self.process().stage.expect("it is in a stage");
                let uids = staged.iter().map(|(uid, _)| *uid).collect();
                self.process().wire.queue.push(Command::Move { from, uids });
                self.process().at = At::Moving(staged);
            }
            At::Moving(staged) => match self.answer() {
                None => return false,
                Some(Answer::Moved(pairs)) if pairs.len() == staged.len() => {
                    self.said = "reads where everything was moved to";
                    self.process().at = At::Arrived(staged, pairs);
                }
                Some(_) => {
                    self.said = "does not read what was moved: gives the connection up";
                    self.process().is_direct = true;
                    self.process().begin_again();
                }
            },
            At::Arrived(staged, pairs) => self.arrived(&staged, &pairs),
            At::Deliver(copies) => {
                self.said = "writes that the copies have arrived";
                let rows = copies
                    .iter()
                    .map(|(key, uid)| (*key, Row::new(Fate::Copied, *uid, self.sent_with(*key))));
                let rows = rows.collect();
                let name = self.process().stage.expect("it is in a stage");
                if self.barrier(Write::Deliver(name, rows)) {
                    let uids = copies.iter().map(|(_, uid)| wide(*uid));
                    self.raise_lo(next_after(Uid(1), uids));
                    self.process().at = At::Leave;
                }
            }
            At::Leave => {
                let name = self.process().stage.expect("it is in a stage");
                let is_empty = self.state.target.look_into(name).is_none_or(|left| left.is_empty());
                if !is_empty {
                    self.said = "leaves a stage that is not empty";
                    self.process().end_transfer();
                    self.process().at = At::Scan;
                } else if self.lacks(Without::Delete) {
                    self.process().at = At::Left;
                } else {
                    self.said = "sends DELETE of the stage";
                    self.process().wire.queue.push(Command::Delete(name));
                    self.process().at = At::Leaving;
                }
            }
            At::Leaving => {
                self.said = "reads that the stage is gone";
                if self.answer().is_none() {
                    return false;
                }
                self.process().at = At::Left;
            }
            At::Left => {
                self.said = "forgets the stage";
                let name = self.process().stage.expect("it is in a stage");
                if self.barrier(Write::Dissolve(name, Vec::new(), Vec::new())) {
                    self.process().end_transfer();
                    self.process().at = At::Scan;
                }
            }
            At::Sweep => self.sweep(),
            At::SweepLacking(present) => self.sweep_lacking(&present),
            At::SweepHaving(keys) => self.sweep_having(&keys),
            At::SettleAgain => {
                self.said = "waits once more for lost connections";
                if !self.settle_connections() {
                    return false;
                }
                self.process().is_last_sweep = true;
                self.process().at = At::Sweep;
            }
            At::Done => {
                self.said = "is through";
                if self.flush() {
                    self.state.processes.remove(self.index);
                    self.state.is_done = true;
                }
            }
        }
        true
    }

    fn answer(&mut self) -> Option<Answer> {
        let answers = &mut self.process().wire.answers;
        (!answers.is_empty()).then(|| answers.remove(0))
    }

    fn after_stages(&mut self) {
        let mut windows = self.state.ledger.windows.iter();
        let in_doubt = windows.any(|window| window.stage.is_none());
        let settles = !self.lacks(Without::Settling);
        let process = self.process();
        process.begin_pass();
        process.at = match in_doubt {
            true if settles => At::Settle,
            true => At::Resolve,
            false => At::Scan,
        };
    }

    // Resolving: `engine/resolve.rs`.

    fn resolve_look(&mut self, uid_next: u8) {
        self.said = "looks for what is in doubt";
        if !self.flush() {
            return;
        }
        let epoch = self.process().epoch;
        let ledger = &self.state.ledger;
        let mut open: Vec<Window> =
            ledger.windows.iter().filter(|window| window.stage.is_none()).cloned().collect();
        if self.lacks(Without::Together) {
            open.truncate(1);
        }
        let lo = open.iter().map(|window| window.lo).min().unwrap_or(1);
        let from = if self.lacks(Without::FromLo) { 1 } else { lo };
        let mut claims = Vec::new();
        for window in &open {
            for (key, (doubts, losses)) in &window.keys {
                let known = self.known(*key);
                if let Some(claim) = Claim::of(known.as_ref(), window.is_acknowledged) {
                    let troubles = Troubles { doubts: *doubts, losses: *losses };
                    claims.push((*key, claim, window.lo, window.epoch, troubles));
                }
            }
        }
        let there = self.state.target.look(from);
        let mut sought: Vec<Sought<u8>> =
            claims.iter().map(|(key, claim, ..)| self.sought(*key, *claim)).collect();
        let mut claimed = ledger.claimed(from);
        if self.lacks(Without::OneClaim) {
            claimed.clear();
        }
        let plausible = self.plausible(&there, &claimed, &sought);
        let mut lapsed = Vec::new();
        if !plausible.is_empty() && !self.lacks(Without::Lapsed) {
            lapsed = self.lapsed(&sought);
            sought.extend(lapsed.iter().map(|key| self.sought(*key, Claim::Lapsed)));
        }
        let matched = settle_among(&sought, &plausible);
        let standing: Vec<Found> =
            there.iter().map(|(uid, content)| found(*uid, *content)).collect();
        let claimed = claimed.iter().map(|uid| wide(*uid)).collect();
        let (lo, uid_next) = (wide(from), wide(uid_next));
        let seen = Seen { lo, uid_next, there: &standing, claimed: &claimed };
        let (mut rows, mut notes) = (Vec::new(), Vec::new());
        for key in lapsed {
            if let (Some(uid), Some(row)) = (matched.get(&key), self.row(key)) {
                rows.push((key, Row { uid: *uid, is_removed: false, surplus: Vec::new(), ..row }));
            }
        }
        for (key, claim, lo, of, troubles) in claims {
            if let Some(uid) = matched.get(&key) {
                rows.push((key, Row::new(Fate::Copied, *uid, troubles)));
                continue;
            }
            let blame = Blame { of_this_run: of >= epoch, doubts_max: DOUBTS_MAX };
            let Absent { fate, target_uid, troubles, is_late, .. } =
                absent(claim, wide(lo), troubles, &seen, blame);
            let is_removed = fate == Fate::Copied;
            let uid = target_uid.map_or(0, narrow);
            rows.push((key, Row { is_removed, ..Row::new(fate, uid, troubles) }));
            if is_late {
                notes.push((key, lo));
            }
        }
        let ids = open.iter().map(|window| window.id).collect();
        self.process().at = At::ResolveWrite(ids, rows, notes);
    }

    fn resolve_write(&mut self, ids: Vec<u8>, rows: Vec<(u8, Row)>, mut notes: Vec<(u8, u8)>) {
        self.said = "writes what became of it, and closes the windows";
        if self.lacks(Without::OneTransaction) && !ids.is_empty() {
            self.said = "closes the windows";
            if self.barrier(Write::Settle(ids, Vec::new(), Vec::new())) {
                self.process().at = At::ResolveWrite(Vec::new(), rows, notes);
            }
            return;
        }
        let is_doubted = !notes.is_empty();
        if self.lacks(Without::Note) {
            notes.clear();
        }
        let given_up = rows.iter().filter(|(_, row)| row.fate.is_retried());
        let given_up: Vec<u8> = given_up.map(|(key, _)| *key).collect();
        if self.barrier(Write::Settle(ids, rows, notes)) {
            self.process().is_doubted |= is_doubted;
            self.try_no_more(given_up);
            if self.lacks(Without::Together) {
                self.after_stages();
            } else {
                self.process().begin_pass();
                self.process().at = At::Scan;
            }
        }
    }

    /// Messages with a claim, equal to one that is looked for, whose copies are not there any more.
    fn lapsed(&self, sought: &[Sought<u8>]) -> Vec<u8> {
        let keys = (0..).zip(&self.state.ledger.rows);
        let lapsed = keys.filter_map(|(key, row)| {
            let row = row.as_ref().filter(|row| row.fate.is_there() && row.uid > 0)?;
            let headers = identity(self.content(key)).headers;
            let is_twin =
                sought.iter().any(|one| one.digests.is_some_and(|it| it.headers == headers));
            let present = self.state.target.look(row.uid);
            (is_twin && present.first().is_none_or(|(uid, _)| *uid != row.uid)).then_some(key)
        });
        lapsed.collect()
    }

    fn plausible(&self, there: &Listed, claimed: &[u8], sought: &[Sought<u8>]) -> Listed {
        let attributes = Attributes::of_sought(sought);
        let plausible = there.iter().filter(|(uid, content)| {
            let found = found(*uid, *content);
            !claimed.contains(uid) && attributes.fit(found.size, found.date)
        });
        plausible.copied().collect()
    }

    fn sought(&self, key: u8, claim: Claim) -> Sought<u8> {
        let content = self.content(key);
        let date = crate::mail::date(content);
        let digests = Some(identity(content).into());
        let (size, flags) = (size(content), mailhaul::mail::Flags::default());
        Sought { key, claim, size, date, flags, digests, may_be_altered: true }
    }

    fn row(&self, key: u8) -> Option<Row> {
        self.state.ledger.rows[usize::from(key)].clone()
    }

    fn known(&self, key: u8) -> Option<Entry> {
        Some(self.row(key)?.entry(self.content(key)))
    }

    fn history(&self) -> History {
        let keys = (0..).take(self.world.source.len());
        History::new(keys.filter_map(|key| Some((source_uid(key), self.known(key)?))))
    }

    fn try_no_more(&mut self, keys: Vec<u8>) {
        let tried = &mut self.process().tried;
        tried.extend(keys);
        tried.sort_unstable();
        tried.dedup();
    }

    // A pass: `engine/mailbox.rs`.

    fn scan(&mut self) {
        self.said = "compares the source with the ledger";
        if !self.flush() {
            return;
        }
        let scan: Vec<_> =
            (0..).zip(self.world.source).map(|(key, content)| info(key, *content)).collect();
        let tried = self.process().tried.iter().map(|key| source_uid(*key)).collect();
        let owed = delta(&scan, &self.history(), &tried, |_| true);
        let process = self.process();
        if std::mem::take(&mut process.is_first) {
            process.retry_last = owed.retry_last.iter().map(|one| key_of(one.info.uid)).collect();
        }
        if owed.copy.is_empty() {
            self.after_part();
        } else if self.process().lo.is_none() {
            self.process().at = At::Open;
        } else {
            self.begin_transfer(owed.copy);
        }
    }

    fn after_part(&mut self) {
        let process = self.process();
        process.end_transfer();
        process.at = if process.retry_last.is_empty() { At::Sweep } else { At::RetryLast };
    }

    fn opened(&mut self, uid_next: u8) {
        self.queue(Write::UidNext(uid_next));
        self.process().lo = Some(uid_next);
        self.process().at = At::Scan;
    }

    fn retry_last(&mut self) {
        self.said = "tries once more what was given up in an earlier pass";
        if self.process().lo.is_none() {
            self.process().at = At::Open;
            return;
        }
        if !self.flush() {
            return;
        }
        let keys = std::mem::take(&mut self.process().retry_last);
        let (mut rows, mut owed) = (Vec::new(), Vec::new());
        for key in &keys {
            if let Some(row) = self.row(*key).filter(|row| row.fate.is_retried()) {
                let troubles = Troubles { doubts: 1, ..row.troubles() };
                owed.push(Owed::new(info(*key, self.content(*key)), troubles));
                rows.push((*key, Row::new(Fate::Pending, row.uid, row.troubles())));
            }
        }
        self.queue(Write::Record(rows));
        self.try_no_more(keys);
        if owed.is_empty() {
            self.process().at = At::Sweep;
        } else {
            self.begin_transfer(owed);
        }
    }

    fn begin_transfer(&mut self, owed: Vec<Owed>) {
        let bytes_max = u64::MAX;
        let bounds =
            Bounds { messages_max: self.world.window, bytes_max, repaired_bytes_max: bytes_max };
        let cut = windows(owed, bounds);
        let staged = self.world.staged && !self.process().is_direct;
        let planned: Vec<Planned> = match staged {
            false => cut,
            // The others of them are found owed after the first.
            true => batches(cut, self.world.window).into_iter().next().unwrap_or_default(),
        };
        let planned = planned.into_iter().map(|window| {
            let pair = |one: &Owed| {
                let Troubles { doubts, losses } = one.troubles;
                (key_of(one.info.uid), (doubts, losses))
            };
            (window.messages.iter().map(pair).collect(), window.careful)
        });
        let todo = planned.collect();
        let epoch = self.process().epoch;
        self.process().end_transfer();
        self.process().todo = todo;
        self.process().at = At::Transfer;
        if staged {
            let name = self.new_name();
            if self.barrier(Write::OpenStage(name, epoch)) {
                self.process().stage = Some(name);
                self.process().at = At::Make;
            }
        }
    }

    /// A name that nothing knows any more is as good as one that was never used.
    fn new_name(&self) -> u8 {
        if self.lacks(Without::NameOnce) {
            return 1;
        }
        let mut used: Vec<u8> = self.state.target.stages.iter().map(|stage| stage.name).collect();
        used.extend(self.state.ledger.stages.iter().map(|stage| stage.name));
        used.extend(self.state.processes.iter().filter_map(|process| process.stage));
        for wire in self.state.wires() {
            used.extend(wire.moving.iter().map(|moving| moving.from));
            used.extend(wire.queue.iter().filter_map(|command| match command {
                Command::Append { into, .. } => *into,
                Command::Create(name) | Command::Delete(name) => Some(*name),
                Command::Move { from, .. } => Some(*from),
            }));
        }
        (1..).find(|name| !used.contains(name)).expect("few stages")
    }

    fn adopt(&mut self, uid_next: u8) {
        self.said = "matches what it does not know there with what it is to copy";
        if !self.flush() {
            return;
        }
        let from = self.state.ledger.uid_next;
        let claimed = self.state.ledger.claimed(from);
        let mut there = self.state.target.look(from);
        there.retain(|(uid, _)| !claimed.contains(uid));
        let keys = (0..).take(self.world.source.len());
        let wanted = keys.filter(|key| {
            let fate = self.row(*key).map(|row| row.fate);
            fate.is_none_or(|fate| fate == Fate::Pending || fate.is_retried())
        });
        let wanted: Vec<u8> = wanted.collect();
        let copies = self.match_all(&wanted, &there);
        let mut pairs: BTreeMap<Uid, Uid> =
            copies.into_iter().map(|(key, uid)| (source_uid(key), wide(uid))).collect();
        let exact = |content| identity(content).exact;
        let stored = |copy: Uid| {
            let found = there.iter().find(|(uid, _)| wide(*uid) == copy);
            found.map(|(_, content)| exact(*content))
        };
        let sought: Vec<Sought<u8>> =
            pairs.keys().map(|uid| self.sought(key_of(*uid), Claim::InDoubt)).collect();
        let lapsed = if self.lacks(Without::Lapsed) { Vec::new() } else { self.lapsed(&sought) };
        let lapsed = lapsed.into_iter().map(|key| (key, exact(self.content(key))));
        let back = give_back(&mut pairs, stored, lapsed);
        let copies: BTreeMap<u8, u8> =
            pairs.into_iter().map(|(uid, copy)| (key_of(uid), narrow(copy))).collect();
        let mut rows: Vec<(u8, Row)> = copies
            .into_iter()
            .map(|(key, uid)| {
                let row = self.row(key);
                let fate = if row.is_some() { Fate::Copied } else { Fate::Adopted };
                (key, Row::new(fate, uid, row.map_or_else(Troubles::default, |it| it.troubles())))
            })
            .collect();
        for (key, copy) in back {
            if let Some(row) = self.row(key) {
                let (uid, surplus) = (narrow(copy), Vec::new());
                rows.push((key, Row { uid, is_removed: false, surplus, ..row }));
            }
        }
        if rows.is_empty() {
            self.opened(uid_next);
        } else {
            self.process().at = At::AdoptWrite(uid_next, rows);
        }
    }

    /// As `engine::adopt::match_all`.
    fn match_all(&self, wanted: &[u8], there: &Listed) -> BTreeMap<u8, u8> {
        let known = wanted.iter().filter(|key| self.row(**key).is_some());
        let known = known.filter_map(|key| Some((outline(self.content(*key))?, source_uid(*key))));
        let outlines =
            there.iter().filter_map(|(uid, content)| Some((outline(*content)?, wide(*uid))));
        let Matched { pairs, mut unclear } = match_by_class(known.collect(), outlines.collect());
        let mut copies: BTreeMap<Uid, Uid> = pairs.into_iter().collect();
        let is_unclear = |uid: Uid, unclear: &[mailhaul::plan::adopt::Unclear]| {
            unclear.iter().any(|class| class.wanted.contains(&uid))
        };
        let letter = |content: u8| Letter(u64::from(content));
        let letters: Vec<(Letter, Uid)> = wanted
            .iter()
            .map(|key| (letter(self.content(*key)), source_uid(*key)))
            .filter(|(_, uid)| !copies.contains_key(uid) && !is_unclear(*uid, &unclear))
            .collect();
        let taken: BTreeSet<Uid> = copies.values().copied().collect();
        let there_letters = there
            .iter()
            .map(|(uid, content)| (letter(*content), wide(*uid)))
            .filter(|(_, uid)| !taken.contains(uid));
        let by_letter = match_by_class(letters, there_letters.collect());
        copies.extend(by_letter.pairs);
        unclear.extend(by_letter.unclear);
        for class in unclear {
            let taken: BTreeSet<Uid> = copies.values().copied().collect();
            let sought: Vec<Sought<u8>> =
                class.wanted.iter().map(|uid| self.sought(key_of(*uid), Claim::InDoubt)).collect();
            let left = there.iter().filter(|(uid, _)| {
                class.there.contains(&wide(*uid)) && !taken.contains(&wide(*uid))
            });
            let candidates: Vec<Candidate> =
                left.map(|(uid, content)| read(candidate(*uid, *content), *content)).collect();
            let found = settle(&sought, &candidates).found;
            copies.extend(found.into_iter().map(|(key, uid)| (source_uid(key), uid)));
        }
        copies.into_iter().map(|(uid, copy)| (key_of(uid), narrow(copy))).collect()
    }

    // A transfer: `engine/window.rs`.

    /// Reads an answer: `Recording::record`. False where there is none.
    fn hear(&mut self) -> bool {
        let (world, lo) = (self.world, self.transfer_lo());
        let Some(answer) = self.answer() else { return false };
        let Answer::Stored(uids) = answer else {
            if answer == Answer::No {
                self.said = "reads NO: gives the connection up";
                self.process().begin_again();
            } else {
                self.said = "reads an answer that nobody waits for";
            }
            return true;
        };
        self.said = "reads OK of an APPEND";
        let process = self.process();
        let mut told: BTreeSet<u8> = process
            .flights
            .iter()
            .flat_map(|flight| &flight.said)
            .filter_map(|said| match said {
                Said::At(uid) => Some(*uid),
                Said::Somewhere => None,
            })
            .collect();
        let flight = process.flights.iter_mut().find(|one| one.said.len() < one.keys.len());
        let Some(flight) = flight else { return true };
        for uid in uids {
            let hint = uid.filter(|uid| *uid >= lo && told.insert(*uid));
            flight.said.push(hint.map_or(Said::Somewhere, Said::At));
        }
        if flight.said.len() < flight.keys.len() {
            return true;
        }
        flight.is_closed = !flight.said.contains(&Said::Somewhere);
        let believes = world.lacks(Without::ReadBack) || world.lacks(Without::Hint);
        let direct = process.stage.is_none();
        let (is_closed, id) = (flight.is_closed, flight.id);
        let fate = if believes && direct { Fate::Copied } else { Fate::Pending };
        let mut rows = hints(flight, fate);
        if world.lacks(Without::ReadBack) && direct {
            rows = all_copied(flight);
            self.queue(Write::Close(id, rows));
        } else if world.lacks(Without::Hint) && direct && is_closed {
            self.queue(Write::Close(id, rows));
        } else if !rows.is_empty() {
            self.queue(Write::Record(rows));
        }
        true
    }

    /// Opens the next window or sends it, or goes on to read back: `Opening::run`. False where it
    /// waits.
    fn send(&mut self) -> bool {
        let (world, lo) = (self.world, self.transfer_lo());
        let process = &mut self.state.processes[self.index];
        let stage = process.stage;
        if let Some(flight) = process.flights.iter_mut().find(|flight| !flight.is_sent) {
            self.said = "sends a window";
            flight.is_sent = true;
            let contents: Vec<u8> =
                flight.keys.iter().map(|(key, _)| world.source[usize::from(*key)]).collect();
            let together = world.multi && !flight.is_careful && contents.len() > 1;
            let commands: Vec<Vec<u8>> = match together {
                true => vec![contents],
                false => contents.into_iter().map(|content| vec![content]).collect(),
            };
            let append = |contents| Command::Append { contents, into: stage };
            process.wire.queue.extend(commands.into_iter().map(append));
            return true;
        }
        if let Some((keys, is_careful)) = process.todo.first().cloned() {
            let class = |key: u8| identity(world.source[usize::from(key)]).headers;
            let mut classes: BTreeSet<u64> = keys.iter().map(|(key, _)| class(*key)).collect();
            let open: Vec<InDoubt> = process
                .flights
                .iter()
                .filter(|flight| !flight.is_closed)
                .map(|flight| InDoubt {
                    awaited: flight.said.len() < flight.keys.len(),
                    classes: Some(flight.keys.iter().map(|(key, _)| class(*key)).collect()),
                })
                .collect();
            if world.lacks(Without::Together) {
                classes.clear();
            }
            match room(&open, Some(&classes), world.in_flight) {
                Room::Wait => return false,
                Room::Halt => {
                    self.said = "leaves windows for later: they wait for others to be looked up";
                    process.is_halted = true;
                    process.todo.clear();
                }
                Room::Free => {
                    self.said = "writes that a window is about to be sent";
                    process.todo.remove(0);
                    self.open_window(lo, keys, is_careful);
                }
            }
            return true;
        }
        let is_through = |flight: &Flight| flight.said.len() == flight.keys.len();
        if !process.flights.iter().all(is_through) || !process.wire.answers.is_empty() {
            return false;
        }
        self.said = "has all answers";
        process.at = At::ReadBack;
        true
    }

    fn open_window(&mut self, lo: u8, keys: Vec<(u8, Pair)>, is_careful: bool) {
        let others = self.state.processes.iter().flat_map(|process| &process.flights);
        let id = self.state.ledger.new_id(others.map(|flight| flight.id));
        let process = self.process();
        let (epoch, stage) = (process.epoch, process.stage);
        let flight = Flight {
            id,
            lo,
            keys: keys.clone(),
            is_careful,
            is_sent: false,
            said: Vec::new(),
            is_closed: false,
        };
        process.flights.push(flight);
        let mut written = lo;
        if self.lacks(Without::LoBefore) {
            written += u8::try_from(keys.len()).expect("a small window");
        }
        let is_acknowledged = false;
        let window = Window { id, epoch, lo: written, keys, is_acknowledged, stage };
        self.queue(Write::Open(window));
        if !self.lacks(Without::Intent) {
            self.flush();
        }
    }

    fn transfer_lo(&mut self) -> u8 {
        let process = self.process();
        if process.stage.is_some() { 1 } else { process.lo.unwrap_or(1) }
    }

    fn sent_with(&self, key: u8) -> Troubles {
        let process = &self.state.processes[self.index];
        let mut sent = process.flights.iter().flat_map(|flight| &flight.keys);
        let pair = sent.find(|(other, _)| *other == key).map(|(_, pair)| *pair);
        let (doubts, losses) = pair.unwrap_or_default();
        Troubles { doubts, losses }
    }

    fn raise_lo(&mut self, lo: Uid) {
        let lo = narrow(lo).max(self.process().lo.unwrap_or(1));
        self.process().lo = Some(lo);
        self.queue(Write::UidNext(lo));
    }

    // Reading back: `engine/verify.rs`.

    fn read_back(&mut self) {
        let flights = self.process().flights.clone();
        let stage = self.process().stage;
        if self.lacks(Without::ReadBack) && stage.is_none() {
            self.said = "believes it";
            self.after_read_back(Vec::new());
            return;
        }
        self.said = "reads back what was acknowledged";
        let there = match stage {
            Some(name) => self.state.target.look_into(name).unwrap_or_default(),
            None => self.state.target.look(1),
        };
        let mut seen = self.told_copies(&flights, &there);
        let all = flights.iter().flat_map(|flight| flight.keys.iter().zip(&flight.said));
        let astray: Vec<(u8, Said)> = all
            .map(|((key, _), said)| (*key, *said))
            .filter(|(key, _)| !seen.contains_key(key))
            .collect();
        if stage.is_some() && self.lacks(Without::StageReadBack) {
            self.said = "believes what the stage was said to have";
            seen = flights.iter().flat_map(hinted).collect();
        } else if !astray.is_empty() {
            if !self.flush() {
                return;
            }
            let lo = flights.iter().map(|flight| flight.lo).min().unwrap_or(1);
            let mut claimed: Vec<u8> = match stage {
                Some(_) => Vec::new(),
                None => self.state.ledger.claimed(lo),
            };
            claimed.extend(seen.values());
            let sought: Vec<Sought<u8>> = astray
                .iter()
                .map(|(key, said)| match said {
                    Said::At(uid) => self.sought(*key, Claim::At(wide(*uid))),
                    Said::Somewhere => self.sought(*key, Claim::Somewhere),
                })
                .collect();
            let there = there.into_iter().filter(|(uid, _)| *uid >= lo).collect();
            let plausible = self.plausible(&there, &claimed, &sought);
            seen.extend(settle_among(&sought, &plausible));
        }
        let messages: usize = flights.iter().map(|flight| flight.keys.len()).sum();
        let is_whole = seen.len() == messages;
        if stage.is_some() {
            if is_whole || self.lacks(Without::StageReadBack) {
                let staged: BTreeMap<u8, u8> =
                    seen.into_iter().map(|(key, uid)| (uid, key)).collect();
                self.process().at = At::Intend(staged.into_iter().collect());
            } else {
                self.said = "does not see all of it in the stage: gives the connection up";
                self.process().begin_again();
            }
            return;
        }
        for flight in &flights {
            let rows: Vec<(u8, Row)> = flight
                .keys
                .iter()
                .filter_map(|(key, _)| {
                    let row = Row::new(Fate::Copied, *seen.get(key)?, self.sent_with(*key));
                    Some((*key, row))
                })
                .collect();
            if rows.len() == flight.keys.len() {
                self.queue(Write::Close(flight.id, rows));
            } else {
                self.queue(Write::Record(rows));
            }
        }
        if is_whole {
            self.after_read_back(seen.into_values().collect());
        } else {
            self.said = "does not see all that was acknowledged: gives the connection up";
            self.process().begin_again();
        }
    }

    fn after_read_back(&mut self, copies: Vec<u8>) {
        if self.lacks(Without::ReadBack) {
            let uids = self.process().flights.iter().flat_map(hinted).map(|(_, uid)| uid);
            let uids = uids.map(wide).collect::<Vec<_>>();
            self.raise_lo(next_after(Uid(1), uids));
        } else {
            self.raise_lo(next_after(Uid(1), copies.into_iter().map(wide)));
        }
        if self.process().is_halted {
            self.process().end_transfer();
            self.process().at = At::Scan;
        } else {
            self.after_part();
        }
    }

    /// As `engine::verify::told_copies`: messages, and where they stand as was told.
    fn told_copies(&self, flights: &[Flight], there: &Listed) -> BTreeMap<u8, u8> {
        let keys = flights.iter().flat_map(|flight| &flight.keys);
        let entries: BTreeMap<u8, Entry> = keys
            .map(|(key, _)| {
                let content = self.content(*key);
                (*key, entry(Fate::Pending, 0, content, Troubles::default()))
            })
            .collect();
        let outlines = Outlines::of(entries.values());
        let told = flights.iter().flat_map(hinted);
        let copies = told.filter(|(key, uid)| {
            let Some((_, content)) = there.iter().find(|(other, _)| other == uid) else {
                return false;
            };
            let (sent, stored) = (&entries[key], identity(*content));
            let is_proven = match outlines.evidence(sent, &found(*uid, *content)) {
                Evidence::Attributes => true,
                Evidence::Headers => outlines.headers_prove(sent, stored.headers),
                Evidence::Body => false,
            };
            let identity = identity(self.content(*key));
            is_proven || outlines.is_copy(sent, Some(&identity), size(*content), &stored)
        });
        copies.collect()
    }

    // Stages: `engine/staged.rs`.

    fn intend(&mut self, staged: Listed) {
        self.said = "writes what it is about to move";
        let name = self.process().stage.expect("it is in a stage");
        let lo = self.process().lo.unwrap_or(1);
        let moved = staged.iter().map(|(uid, key)| (*uid, *key, false)).collect();
        if self.lacks(Without::MoveIntent)
            || self.barrier(Write::Intend(name, Intent { lo, moved }))
        {
            self.process().at = At::Move(staged);
        }
    }

    fn arrived(&mut self, staged: &Listed, pairs: &Listed) {
        self.said = "reads back what was moved";
        let content = |key: u8| self.content(key);
        let before: BTreeMap<Uid, Found> =
            staged.iter().map(|(uid, key)| (wide(*uid), found(*uid, content(*key)))).collect();
        let after: BTreeMap<Uid, Found> = self
            .state
            .target
            .look(1)
            .into_iter()
            .map(|(uid, content)| (wide(uid), found(uid, content)))
            .collect();
        let told: Vec<(Uid, Uid)> =
            pairs.iter().map(|(before, after)| (wide(*before), wide(*after))).collect();
        let lo = self.process().lo.unwrap_or(1);
        if is_where_told(&told, wide(lo), &before, &after) {
            let key = |uid: u8| staged.iter().find(|(other, _)| *other == uid).map(|(_, key)| *key);
            let copies = pairs.iter().filter_map(|(before, after)| Some((key(*before)?, *after)));
            let copies = copies.collect();
            self.process().at = At::Deliver(copies);
        } else {
            self.said = "does not see all that was moved: gives the connection up";
            self.process().begin_again();
        }
    }

    fn first_stage(&self) -> crate::memory::Stage {
        self.state.ledger.stages.first().expect("there is one to be cleared").clone()
    }

    /// The first stage, as the program's ledger gives it.
    fn stage(&self) -> mailhaul::ledger::Stage {
        let stage = self.first_stage();
        let windows = self.state.ledger.windows.iter();
        let windows = windows.filter(|window| window.stage == Some(stage.name)).map(|window| {
            let messages = window.keys.iter().map(|(key, (doubts, losses))| {
                let troubles = Troubles { doubts: *doubts, losses: *losses };
                window_message(*key, self.content(*key), troubles)
            });
            let window = NewWindow {
                mailbox: MAILBOX,
                epoch: i64::from(window.epoch),
                lo: wide(window.lo),
                messages: messages.collect(),
            };
            OpenWindow { id: WindowId(0), window, acknowledged: false }
        });
        let intent = stage.intent.map(|intent| MoveIntent {
            lo: wide(intent.lo),
            messages: intent
                .moved
                .iter()
                .map(|(staged, key, arrived)| StagedMessage {
                    staged: wide(*staged),
                    uid: source_uid(*key),
                    object_id: None,
                    arrived: *arrived,
                })
                .collect(),
        });
        let name = OwnName::stage(Serial { run: 1, epoch: 1, number: u32::from(stage.name) });
        let epoch = i64::from(stage.epoch);
        let new = NewStage { mailbox: MAILBOX, epoch, name };
        mailhaul::ledger::Stage { id: StageId(0), stage: new, windows: windows.collect(), intent }
    }

    fn clear(&mut self) {
        self.said = "looks into an old stage";
        let name = self.first_stage().name;
        let Some(listed) = self.state.target.look_into(name) else {
            self.said = "finds that an old stage is gone";
            self.process().at = At::Dissolve(None);
            return;
        };
        let found: Vec<Found> = listed.iter().map(|(uid, content)| found(*uid, *content)).collect();
        let inside = inside(&self.stage(), &found);
        if !inside.foreign.is_empty() {
            self.said = "holds the mailbox: there is mail in its stage that is not ours";
            self.process().at = At::Done;
            return;
        }
        let arrived: Vec<u8> = inside.arrived.into_iter().map(narrow).collect();
        if !arrived.is_empty() && !self.barrier(Write::Arrived(name, arrived)) {
            return;
        }
        let intent = self.first_stage().intent;
        if self.lacks(Without::MoveOnce)
            && intent.is_some()
            && !listed.is_empty()
            && !self.process().is_direct
        {
            self.said = "looks into an old stage, and moves once more what is in it";
            self.process().is_direct = true;
            let uids = listed.iter().map(|(uid, _)| *uid).collect();
            self.process().wire.queue.push(Command::Move { from: name, uids });
            self.process().stage = Some(name);
            self.process().at = At::Moving(Vec::new());
            return;
        }
        self.process().at = At::Delete(Some(listed));
    }

    fn dissolve(&mut self, listed: Option<Listed>) {
        self.said = "writes what becomes of what was in the stage";
        if !self.flush() {
            return;
        }
        let (name, epoch) = (self.first_stage().name, self.process().epoch);
        let stage = self.stage();
        let of_this_run = stage.stage.epoch >= i64::from(epoch);
        let blame = Blame { of_this_run, doubts_max: DOUBTS_MAX };
        let listed: Option<Vec<Found>> = listed
            .map(|listed| listed.iter().map(|(uid, content)| found(*uid, *content)).collect());
        let dissolved = dissolve(&stage, &self.history(), listed.as_deref(), blame);
        let rows: Vec<(u8, Row)> = dissolved
            .outcomes
            .iter()
            .map(|outcome| {
                (key_of(outcome.uid), Row::new(outcome.entry.fate, 0, outcome.entry.troubles))
            })
            .collect();
        let both = [(dissolved.in_doubt, false), (dissolved.arrived, true)];
        let mut windows = Vec::new();
        for (list, is_acknowledged) in both {
            for window in list {
                let used = windows.iter().map(|window: &Window| window.id);
                let id = self.state.ledger.new_id(used);
                let keys = window.messages.iter().map(|message| {
                    let Troubles { doubts, losses } = message.troubles;
                    (key_of(message.uid), (doubts, losses))
                });
                let (lo, keys) = (narrow(window.lo), keys.collect());
                let epoch = u8::try_from(window.epoch).expect("few processes");
                windows.push(Window { id, epoch, lo, keys, is_acknowledged, stage: None });
            }
        }
        let given_up = rows.iter().filter(|(_, row)| row.fate.is_retried());
        let given_up = given_up.map(|(key, _)| *key).collect();
        if self.barrier(Write::Dissolve(name, rows, windows)) {
            self.try_no_more(given_up);
            if self.state.ledger.stages.is_empty() {
                self.after_stages();
            } else {
                self.process().at = At::Clear;
            }
        }
    }

    // The sweep: `engine/sweep.rs`.

    fn noted(&self) -> Vec<Doubted> {
        let keys = (0..).zip(&self.state.ledger.notes);
        let noted = keys.filter_map(|(key, note)| {
            let (lo, lost) = (*note)?;
            let doubt = Doubt { mailbox: MAILBOX, uid: source_uid(key), lo: wide(lo) };
            Some(Doubted { doubt, lost: u32::from(lost), entry: self.known(key)? })
        });
        noted.collect()
    }

    fn sweep(&mut self) {
        self.said = "looks through the target mailbox for late copies";
        if !self.flush() {
            return;
        }
        let noted = self.noted();
        let Some(lo) = noted.iter().map(|noted| noted.doubt.lo).min() else {
            self.said = "has nothing to look for again";
            self.process().at = At::Done;
            return;
        };
        if self.lacks(Without::Sweep) {
            self.process().at = At::Done;
            return;
        }
        let mut present: Vec<u8> =
            self.state.target.look(narrow(lo)).into_iter().map(|(uid, _)| uid).collect();
        let copies = noted.iter().filter_map(|noted| noted.entry.target_uid);
        let all = self.state.target.look(1);
        let stands = |uid: u8| all.iter().any(|(other, _)| *other == uid);
        present.extend(copies.filter(|uid| *uid < lo).map(narrow).filter(|uid| stands(*uid)));
        present.sort_unstable();
        present.dedup();
        self.process().at = At::SweepLacking(present);
    }

    fn late_copies(&self, lo: u8, claimed: &[u8], sought: &[Sought<u8>]) -> BTreeMap<u8, u8> {
        let there = self.state.target.look(lo);
        settle_among(sought, &self.plausible(&there, claimed, sought))
    }

    fn sweep_lacking(&mut self, present: &[u8]) {
        self.said = "gives late copies to those that have none";
        let noted = self.noted();
        let lo = noted.iter().map(|noted| narrow(noted.doubt.lo)).min().unwrap_or(1);
        let present = present.iter().map(|uid| wide(*uid)).collect();
        let mut asked = asked(&noted, &present, true);
        let lacking: Vec<Sought<u8>> = asked
            .lacking
            .iter()
            .map(|one| self.sought(key_of(one.key.1), Claim::InDoubt))
            .collect();
        let found = self.late_copies(lo, &self.state.ledger.claimed(lo), &lacking);
        asked.given(&found.keys().map(|key| (MAILBOX, source_uid(*key))).collect());
        let rows: Vec<(u8, Row)> = found
            .into_iter()
            .filter_map(|(key, uid)| {
                Some((key, Row::new(Fate::Copied, uid, self.row(key)?.troubles())))
            })
            .collect();
        let having: Vec<u8> = asked.having.iter().map(|one| key_of(one.key.1)).collect();
        if rows.is_empty() || self.barrier(Write::Settle(Vec::new(), rows, Vec::new())) {
            self.process().at = At::SweepHaving(having);
        }
    }

    fn sweep_having(&mut self, keys: &[u8]) {
        self.said = "reports what is there beside the copies";
        let lo = self.noted().iter().map(|noted| narrow(noted.doubt.lo)).min().unwrap_or(1);
        let mut claimed = self.state.ledger.claimed(lo);
        let sought: Vec<Sought<u8>> =
            keys.iter().map(|key| self.sought(*key, Claim::InDoubt)).collect();
        let mut surplus: BTreeMap<u8, Vec<u8>> =
            keys.iter().map(|key| (*key, Vec::new())).collect();
        loop {
            let more = self.late_copies(lo, &claimed, &sought);
            if more.is_empty() {
                break;
            }
            for (key, uid) in more {
                claimed.push(uid);
                surplus.entry(key).or_default().push(uid);
            }
        }
        for (key, uids) in surplus {
            self.queue(Write::Surplus(key, uids));
        }
        let process = self.process();
        let again = process.is_doubted && !process.is_last_sweep;
        process.at = if again { At::SettleAgain } else { At::Done };
    }
}

/// What a flight's answers tell of where its messages are.
fn hinted(flight: &Flight) -> impl Iterator<Item = (u8, u8)> {
    flight.keys.iter().zip(&flight.said).filter_map(|((key, _), said)| match said {
        Said::At(uid) => Some((*key, *uid)),
        Said::Somewhere => None,
    })
}

fn sent_with(flight: &Flight, key: u8) -> Troubles {
    let pair = flight.keys.iter().find(|(other, _)| *other == key).map(|(_, pair)| *pair);
    let (doubts, losses) = pair.unwrap_or_default();
    Troubles { doubts, losses }
}

/// The rows of what was acknowledged with a UID.
pub(crate) fn hints(flight: &Flight, fate: Fate) -> Vec<(u8, Row)> {
    hinted(flight).map(|(key, uid)| (key, Row::new(fate, uid, sent_with(flight, key)))).collect()
}

fn all_copied(flight: &Flight) -> Vec<(u8, Row)> {
    let uids: BTreeMap<u8, u8> = hinted(flight).collect();
    let row = |key: u8| {
        Row::new(Fate::Copied, uids.get(&key).copied().unwrap_or(0), sent_with(flight, key))
    };
    flight.keys.iter().map(|(key, _)| (*key, row(*key))).collect()
}

/// As `engine::resolve::settle_among`: bodies are read where size, date and header lines do not tell.
fn settle_among(sought: &[Sought<u8>], there: &Listed) -> BTreeMap<u8, u8> {
    let mut candidates: Vec<Candidate> =
        there.iter().map(|(uid, content)| candidate(*uid, *content)).collect();
    let unread = needs_body(sought, &candidates);
    for (one, (_, content)) in candidates.iter_mut().zip(there) {
        if unread.contains(&one.uid) {
            *one = read(one.clone(), *content);
        }
    }
    let found = settle(sought, &candidates).found;
    found.into_iter().map(|(key, uid)| (key, narrow(uid))).collect()
}

fn read(candidate: Candidate, content: u8) -> Candidate {
    Candidate { identity: Some(identity(content)), ..candidate }
}
