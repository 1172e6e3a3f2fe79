//! The target: its mailbox, the stages in it, and commands that have reached it and take effect when it
//! likes, whether or not their connections are still there.

/// A message that stands in the mailbox, or has stood there. Its UID is its place, from 1.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    pub(crate) content: u8,
    pub(crate) whose: Whose,
    pub(crate) stand: Stand,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Whose {
    Ours,
    Others,
    /// Somebody else's, and there before we began.
    Before,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stand {
    Here,
    /// A user has deleted it.
    Deleted,
    /// A user has moved it away.
    Away,
    /// And back, under this UID.
    Back(u8),
}

/// A stage: what was stored in it, by UID, and whether it is still there.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Box {
    pub(crate) name: u8,
    pub(crate) slots: Vec<(u8, bool)>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Command {
    /// One APPEND or MULTIAPPEND, into the mailbox or a stage.
    Append {
        contents: Vec<u8>,
        into: Option<u8>,
    },
    Create(u8),
    Delete(u8),
    Move {
        from: u8,
        uids: Vec<u8>,
    },
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    /// OK, with the UID of each message where the server told it.
    Stored(Vec<Option<u8>>),
    Done,
    Moved(Vec<(u8, u8)>),
    No,
}

/// A MOVE that is under way: message by message, first copied, then expunged.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Moving {
    pub(crate) from: u8,
    /// UID in the stage, and content.
    left: Vec<(u8, u8)>,
    is_copied: bool,
    moved: Vec<(u8, u8)>,
}

/// A connection as the server sees it.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Wire {
    pub(crate) queue: Vec<Command>,
    pub(crate) moving: Option<Moving>,
    pub(crate) answers: Vec<Answer>,
    /// Whether what is still to come of it comes later than the settling.
    pub(crate) is_late: bool,
}

impl Wire {
    /// Whether nothing of it is to come any more.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.moving.is_none()
    }

    /// What may still take effect when the connection is lost: commands that had arrived whole, and
    /// a MOVE under way, or what of it was done.
    pub(crate) fn lost(&self) -> Vec<Self> {
        let with = |arrived: usize, moving: Option<Moving>| Self {
            queue: self.queue[..arrived].to_vec(),
            moving,
            answers: Vec::new(),
            is_late: self.is_late,
        };
        let mut ways: Vec<Self> =
            (0..=self.queue.len()).map(|arrived| with(arrived, self.moving.clone())).collect();
        if self.moving.is_some() {
            ways.push(with(0, None));
        }
        ways
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Target {
    pub(crate) slots: Vec<Slot>,
    pub(crate) stages: Vec<Box>,
    /// Connections whose other end is gone.
    pub(crate) lost: Vec<Wire>,
}

/// What a step of the server did.
pub(crate) enum Did {
    /// Stored these in the mailbox.
    Stored(Vec<u8>),
    Other,
}

impl Target {
    pub(crate) fn uid_next(&self) -> u8 {
        u8::try_from(self.slots.len() + 1).expect("a small mailbox")
    }

    pub(crate) fn add(&mut self, content: u8, whose: Whose) -> u8 {
        let uid = self.uid_next();
        self.slots.push(Slot { content, whose, stand: Stand::Here });
        uid
    }

    pub(crate) fn slot(&self, uid: u8) -> Option<&Slot> {
        self.slots.get(usize::from(uid).checked_sub(1)?)
    }

    /// What stands at and above a UID: UID and content.
    pub(crate) fn look(&self, from: u8) -> Vec<(u8, u8)> {
        (1..)
            .zip(&self.slots)
            .filter(|(uid, slot)| *uid >= from && slot.stand == Stand::Here)
            .map(|(uid, slot)| (uid, slot.content))
            .collect()
    }

    /// The message itself, wherever its owner has moved it: the UID it has now, or had last.
    pub(crate) fn now(&self, uid: u8) -> u8 {
        match self.slot(uid).map(|slot| slot.stand) {
            Some(Stand::Back(uid)) => self.now(uid),
            _ => uid,
        }
    }

    pub(crate) fn stage(&self, name: u8) -> Option<&Box> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    fn stage_mut(&mut self, name: u8) -> Option<&mut Box> {
        self.stages.iter_mut().find(|stage| stage.name == name)
    }

    /// What stands in a stage: UID and content.
    pub(crate) fn look_into(&self, name: u8) -> Option<Vec<(u8, u8)>> {
        let stage = self.stage(name)?;
        let here = (1..).zip(&stage.slots).filter(|(_, slot)| slot.1);
        Some(here.map(|(uid, slot)| (uid, slot.0)).collect())
    }

    /// Takes the next step of a connection. None where it has to wait.
    pub(crate) fn work(&mut self, wire: &mut Wire, may_delete: bool) -> Option<Did> {
        if wire.moving.is_some() {
            return Some(self.go_on_moving(wire));
        }
        if !may_delete && matches!(wire.queue.first(), Some(Command::Delete(_))) {
            return None;
        }
        if wire.queue.is_empty() {
            return None;
        }
        let mut did = Did::Other;
        let answer = match wire.queue.remove(0) {
            Command::Append { contents, into: None } => {
                let uids = contents.iter().map(|content| self.add(*content, Whose::Ours)).collect();
                did = Did::Stored(uids);
                let Did::Stored(uids) = &did else { return None };
                Answer::Stored(uids.iter().copied().map(Some).collect())
            }
            Command::Append { contents, into: Some(name) } => match self.stage_mut(name) {
                Some(stage) => {
                    let first = u8::try_from(stage.slots.len() + 1).expect("a small stage");
                    let uids = (first..).take(contents.len()).map(Some).collect();
                    stage.slots.extend(contents.into_iter().map(|content| (content, true)));
                    Answer::Stored(uids)
                }
                None => Answer::No,
            },
            Command::Create(name) if self.stage(name).is_some() => Answer::No,
            Command::Create(name) => {
                self.stages.push(Box { name, slots: Vec::new() });
                self.stages.sort_by_key(|stage| stage.name);
                Answer::Done
            }
            Command::Delete(name) => {
                self.stages.retain(|stage| stage.name != name);
                Answer::Done
            }
            Command::Move { from, uids } => match self.look_into(from) {
                Some(listed) => {
                    let left = listed.into_iter().filter(|(uid, _)| uids.contains(uid)).collect();
                    let (is_copied, moved) = (false, Vec::new());
                    wire.moving = Some(Moving { from, left, is_copied, moved });
                    return Some(Did::Other);
                }
                None => Answer::No,
            },
        };
        wire.answers.push(answer);
        Some(did)
    }

    fn go_on_moving(&mut self, wire: &mut Wire) -> Did {
        let Some(moving) = &mut wire.moving else { return Did::Other };
        let mut did = Did::Other;
        if let Some((staged, content)) = moving.left.first().copied() {
            if moving.is_copied {
                moving.left.remove(0);
                if let Some(stage) = self.stage_mut(moving.from) {
                    stage.slots[usize::from(staged) - 1].1 = false;
                }
            } else {
                let uid = self.add(content, Whose::Ours);
                moving.moved.push((staged, uid));
                did = Did::Stored(vec![uid]);
            }
            moving.is_copied = !moving.is_copied;
        }
        if moving.left.is_empty() {
            wire.answers.push(Answer::Moved(std::mem::take(&mut moving.moved)));
            wire.moving = None;
        }
        did
    }

    /// Whether a MOVE out of a stage is under way, on any of these connections.
    pub(crate) fn is_moving<'a>(name: u8, mut wires: impl Iterator<Item = &'a Wire>) -> bool {
        wires.any(|wire| wire.moving.as_ref().is_some_and(|moving| moving.from == name))
    }
}
