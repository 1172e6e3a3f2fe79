//! Messages into windows, bounded by count and bytes, order kept.

use crate::history::Troubles;
use crate::mail::MessageInfo;
use crate::repair::Repairs;

/// A message that is to be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// The message, its size corrected where the source's word proved wrong.
    pub info: MessageInfo,
    /// What went wrong with it before.
    pub troubles: Troubles,
    /// What is to be repaired in it: the target has refused it as it is.
    pub repairs: Repairs,
}

impl Owed {
    /// A message that is to be copied as it is.
    #[must_use]
    pub fn new(info: MessageInfo, troubles: Troubles) -> Self {
        Self { info, troubles, repairs: Repairs::default() }
    }
}

/// Messages that move together: the unit of memory, of admission, of the ledger, of doubt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Window {
    /// The messages, in the order of the scan.
    pub messages: Vec<Owed>,
    /// Whether the one message is too large to hold.
    pub streamed: bool,
    /// Whether its messages are to be sent in the way that leaves the least in doubt.
    pub careful: bool,
}

impl Window {
    /// The bytes of its messages, as announced.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.messages.iter().map(|owed| owed.info.size).sum()
    }
}

/// How large a window may be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Messages in one window.
    pub messages_max: usize,
    /// Bytes in one window; a larger message is a window of its own, and streamed.
    pub bytes_max: u64,
    /// Bytes of a message that is held to be repaired, in a window of its own.
    pub repaired_bytes_max: u64,
}

/// Cuts messages into windows. A message with which something went wrong before goes alone.
#[must_use]
pub fn windows(owed: impl IntoIterator<Item = Owed>, bounds: Bounds) -> Vec<Window> {
    let mut windows: Vec<Window> = Vec::new();
    let mut open = Window::default();
    let mut open_bytes = 0;
    for message in owed {
        let is_repaired = !message.repairs.is_empty();
        let is_held = is_repaired && message.info.size <= bounds.repaired_bytes_max;
        let streamed = message.info.size > bounds.bytes_max && !is_held;
        let careful = message.troubles.any() || is_repaired;
        let full = open.messages.len() >= bounds.messages_max
            || open_bytes + message.info.size > bounds.bytes_max;
        if (streamed || careful || full) && !open.messages.is_empty() {
            windows.push(std::mem::take(&mut open));
            open_bytes = 0;
        }
        if streamed || careful {
            windows.push(Window { messages: vec![message], streamed, careful });
        } else {
            open_bytes += message.info.size;
            open.messages.push(message);
        }
    }
    if !open.messages.is_empty() {
        windows.push(open);
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Flags, Uid};
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds { messages_max: 3, bytes_max: 100, repaired_bytes_max: 200 };

    fn owed(uid: u32, size: u64, doubts: u8) -> Owed {
        let info = MessageInfo { uid: Uid(uid), size, date: None, flags: Flags::default() };
        Owed::new(info, Troubles { doubts, losses: 0 })
    }

    fn uids(windows: &[Window]) -> Vec<Vec<u32>> {
        windows.iter().map(|w| w.messages.iter().map(|m| m.info.uid.0).collect()).collect()
    }

    #[test]
    fn a_window_ends_at_its_bounds() {
        let messages =
            [owed(1, 10, 0), owed(2, 10, 0), owed(3, 10, 0), owed(4, 60, 0), owed(5, 50, 0)];
        assert_eq!(uids(&windows(messages, BOUNDS)), [vec![1, 2, 3], vec![4], vec![5]]);
    }

    #[test]
    fn what_is_to_be_repaired_is_held_alone_as_far_as_there_is_room() {
        let repairs: Repairs = [crate::repair::Repair::Nul].into_iter().collect();
        let odd = |uid, size| Owed { repairs, ..owed(uid, size, 0) };
        let cut = windows([owed(1, 1, 0), odd(2, 1), odd(3, 200), odd(4, 201)], BOUNDS);
        assert_eq!(uids(&cut), [vec![1], vec![2], vec![3], vec![4]]);
        let streamed: Vec<bool> = cut.iter().map(|window| window.streamed).collect();
        assert_eq!(streamed, [false, false, false, true]);
    }

    #[test]
    fn a_large_message_and_one_that_was_in_doubt_go_alone() {
        let cut = windows([owed(1, 1, 0), owed(2, 101, 0), owed(3, 1, 1), owed(4, 1, 0)], BOUNDS);
        assert_eq!(uids(&cut), [vec![1], vec![2], vec![3], vec![4]]);
        assert!(cut[1].streamed && !cut[1].careful);
        assert!(cut[2].careful && !cut[2].streamed);
    }

    proptest! {
        #[test]
        fn windows_joined_again_are_their_input(
            messages in prop::collection::vec((0..150u64, 0..2u8), 0..40)
        ) {
            let messages: Vec<Owed> =
                messages.iter().zip(1..).map(|((size, doubts), uid)| owed(uid, *size, *doubts)).collect();
            let cut = windows(messages.clone(), BOUNDS);
            for window in &cut {
                prop_assert!(!window.messages.is_empty() && window.messages.len() <= 3);
                prop_assert!(window.streamed || window.bytes() <= 100);
            }
            let joined: Vec<Owed> = cut.into_iter().flat_map(|w| w.messages).collect();
            prop_assert_eq!(joined, messages);
        }
    }
}
