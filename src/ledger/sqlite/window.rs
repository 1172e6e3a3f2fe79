//! The messages of an open window as one compact blob; `docs/ledger.md` describes it.

use crate::history::Troubles;
use crate::identity::{Digest, Identity};
use crate::ledger::WindowMessage;
use crate::mail::{Flags, InternalDate, Uid};

use super::codes;
use super::error::StoreError;

/// The first byte of every blob.
const VERSION: u8 = 1;
const CHANGED: u8 = 16;
const HAS_DATE: u8 = 1;
const HAS_IDENTITY: u8 = 2;
const RISKY: u8 = 4;
const IDENTITY_RISKY: u8 = 8;

pub(super) fn encode(messages: &[WindowMessage]) -> Vec<u8> {
    let mut out = vec![VERSION];
    for message in messages {
        put_number(&mut out, u64::from(message.uid.0));
        put_number(&mut out, message.size);
        let mut marks = 0;
        marks |= message.date.map_or(0, |_| HAS_DATE);
        marks |= message.identity.map_or(0, |_| HAS_IDENTITY);
        marks |= if message.risky { RISKY } else { 0 };
        marks |= if message.identity.is_some_and(|it| it.risky) { IDENTITY_RISKY } else { 0 };
        marks |= if message.changed.is_some() { CHANGED } else { 0 };
        let Troubles { doubts, losses } = message.troubles;
        out.extend([marks, doubts, losses, message.flags.system_bits()]);
        put_number(&mut out, message.flags.keywords().len() as u64);
        for keyword in message.flags.keywords() {
            put_number(&mut out, keyword.len() as u64);
            out.extend(keyword.as_bytes());
        }
        if let Some(date) = message.date {
            out.extend(date.seconds().to_be_bytes());
            out.extend(date.offset_minutes().to_be_bytes());
        }
        if let Some(identity) = message.identity {
            out.extend(identity.exact.0);
            out.extend(identity.folded.0);
            out.extend(identity.headers.to_be_bytes());
        }
        if let Some(changed) = &message.changed {
            codes::put_changed(&mut out, changed);
        }
    }
    out
}

pub(super) fn decode(blob: &[u8]) -> Result<Vec<WindowMessage>, StoreError> {
    match blob.split_first() {
        Some((&VERSION, rest)) => {
            let mut rest = rest;
            let mut messages = Vec::new();
            while !rest.is_empty() {
                let message = take_message(&mut rest);
                messages.push(message.ok_or_else(|| StoreError::Damaged("a window".to_owned()))?);
            }
            Ok(messages)
        }
        first => {
            let version = first.map_or(0, |(version, _)| *version);
            Err(StoreError::Format(format!("it has a window of version {version}, not {VERSION}")))
        }
    }
}

fn take_message(rest: &mut &[u8]) -> Option<WindowMessage> {
    let uid = Uid(u32::try_from(take_number(rest)?).ok()?);
    let size = take_number(rest)?;
    let [marks, doubts, losses, system] = take(rest)?;
    let mut keywords = Vec::new();
    for _ in 0..take_number(rest)? {
        let length = usize::try_from(take_number(rest)?).ok()?;
        let (keyword, after) = rest.split_at_checked(length)?;
        keywords.push(std::str::from_utf8(keyword).ok()?);
        *rest = after;
    }
    let flags = Flags::from_parts(system, keywords);
    let mut date = None;
    if marks & HAS_DATE != 0 {
        let seconds = i64::from_be_bytes(take(rest)?);
        date = Some(InternalDate::new(seconds, i16::from_be_bytes(take(rest)?)));
    }
    let mut identity = None;
    if marks & HAS_IDENTITY != 0 {
        identity = Some(Identity {
            exact: Digest(take(rest)?),
            folded: Digest(take(rest)?),
            headers: u64::from_be_bytes(take(rest)?),
            risky: marks & IDENTITY_RISKY != 0,
        });
    }
    let changed = match marks & CHANGED {
        0 => None,
        _ => Some(Box::new(codes::take_changed(rest)?)),
    };
    let troubles = Troubles { doubts, losses };
    let risky = marks & RISKY != 0;
    Some(WindowMessage { uid, size, date, flags, identity, risky, troubles, changed })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*bytes)
}

/// Seven bits a byte, the lowest first, the high bit set on all but the last (LEB128).
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = take(rest)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::history::{Changed, Dated};
    use crate::repair::Repairs;

    fn messages() -> impl Strategy<Value = Vec<WindowMessage>> {
        let date = (any::<i64>(), any::<i16>()).prop_map(|(s, o)| InternalDate::new(s, o));
        let keywords = prop::collection::vec("[a-zA-Z$ä]{1,200}", 0..4);
        let flags = (0_u8..32, keywords)
            .prop_map(|(bits, names)| Flags::from_parts(bits, names.iter().map(String::as_str)));
        let identity = prop::collection::vec(any::<u8>(), 0..100).prop_map(|b| Identity::of(&b));
        let message = (
            any::<u32>(),
            any::<u64>(),
            prop::option::of(date),
            flags,
            prop::option::of(identity),
            (
                any::<u8>(),
                any::<u8>(),
                any::<bool>(),
                prop::option::of(changed().prop_map(Box::new)),
            ),
        );
        let message = message.prop_map(
            |(uid, size, date, flags, identity, (doubts, losses, risky, changed))| {
                let (uid, troubles) = (Uid(uid), Troubles { doubts, losses });
                WindowMessage { uid, size, date, flags, identity, risky, troubles, changed }
            },
        );
        prop::collection::vec(message, 0..5)
    }

    fn changed() -> impl Strategy<Value = Changed> {
        let date = (-99_999..99_999_i64).prop_map(|seconds| InternalDate::new(seconds, 60));
        let dated = prop::sample::select(vec![None, Some(Dated::Received), Some(Dated::Date)]);
        let parts = (any::<u8>(), dated, any::<u64>(), prop::option::of(date), any::<u64>());
        parts.prop_map(|(repairs, dated, size, date, headers)| Changed {
            repairs: Repairs::from_bits(repairs),
            dated,
            size,
            date,
            digest: (!Repairs::from_bits(repairs).is_empty()).then_some((Digest([7; 16]), headers)),
        })
    }

    proptest! {
        #[test]
        fn a_window_is_read_as_it_was_written(messages in messages()) {
            let read = decode(&encode(&messages)).expect("own bytes");
            let zone = |m: &WindowMessage| m.date.map(InternalDate::offset_minutes);
            prop_assert!(read.iter().map(zone).eq(messages.iter().map(zone)));
            prop_assert_eq!(read, messages);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            bytes.insert(0, VERSION);
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn a_window_that_is_cut_is_damaged() {
        let message = WindowMessage {
            uid: Uid(7),
            size: 1_000,
            date: Some(InternalDate::new(0, 60)),
            flags: Flags::parse(["\\Seen", "Work"]),
            identity: Some(Identity::of(b"a")),
            risky: true,
            troubles: Troubles::default(),
            changed: None,
        };
        let blob = encode(&[message]);
        for length in 2..blob.len() {
            assert!(decode(&blob[..length]).is_err(), "cut at {length}");
        }
    }
}
