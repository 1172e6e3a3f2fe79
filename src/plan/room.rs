//! Whether one more window may be open beside others of the same target mailbox.
//!
//! Equal messages are never in two open windows: whose copy is whose could not be told.

use std::collections::BTreeSet;

/// A window in doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InDoubt {
    /// Whether its answer is still to come; else it closes only by a look at the target.
    pub awaited: bool,
    /// The coarsest classes of its messages; none if they are not known.
    pub classes: Option<BTreeSet<u64>>,
}

/// Whether there is room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It may be opened.
    Free,
    /// Only after the answer to one of the others.
    Wait,
    /// Only after a look at the target, when nothing is in flight.
    Halt,
}

/// Decides about a window that holds messages of these classes; none if they are not known.
#[must_use]
pub fn room<'a>(
    open: impl IntoIterator<Item = &'a InDoubt>,
    classes: Option<&BTreeSet<u64>>,
    windows_in_flight_max: usize,
) -> Room {
    let mut awaited = 0;
    let mut rival: Option<&InDoubt> = None;
    for one in open {
        awaited += usize::from(one.awaited);
        let is_rival = match (&one.classes, classes) {
            (Some(theirs), Some(ours)) => !theirs.is_disjoint(ours),
            _ => true,
        };
        rival = rival.or(is_rival.then_some(one));
    }
    match rival {
        None if awaited < windows_in_flight_max.max(1) => Room::Free,
        Some(rival) if !rival.awaited => Room::Halt,
        _ => Room::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(awaited: bool, classes: &[u64]) -> InDoubt {
        InDoubt { awaited, classes: Some(classes.iter().copied().collect()) }
    }

    fn room_for(classes: &[u64], beside: &[InDoubt]) -> Room {
        room(beside, Some(&classes.iter().copied().collect()), 2)
    }

    #[test]
    fn equal_messages_are_never_in_two_open_windows() {
        assert_eq!(room_for(&[1, 2], &[open(true, &[3])]), Room::Free);
        assert_eq!(room_for(&[1, 2], &[open(true, &[2, 3])]), Room::Wait);
        assert_eq!(room_for(&[1, 2], &[open(false, &[2])]), Room::Halt);
    }

    #[test]
    fn what_is_not_known_may_be_equal() {
        assert_eq!(room([&open(true, &[1])], None, 2), Room::Wait);
        let streamed = InDoubt { awaited: false, classes: None };
        assert_eq!(room_for(&[1], &[streamed]), Room::Halt);
        assert_eq!(room([], None, 2), Room::Free);
    }

    #[test]
    fn only_so_many_wait_for_an_answer() {
        let two = [open(true, &[1]), open(true, &[2])];
        assert_eq!(room_for(&[3], &two), Room::Wait);
        assert_eq!(room_for(&[3], &[open(false, &[1]), open(true, &[2])]), Room::Free);
    }
}
