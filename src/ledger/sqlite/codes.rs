//! How single values stand in the file; `docs/ledger.md` lists them. Codes are only ever added.

use crate::fate::{Fate, RemarkKind};
use crate::history::{Changed, Dated, Troubles};
use crate::identity::Digest;
use crate::ledger::AccountState;
use crate::mail::{InternalDate, MailboxPath};
use crate::repair::Repairs;

use super::error::StoreError;

/// The first flag bit that stands for a keyword; the bits below are [`crate::mail::SystemFlag`]s.
pub(super) const KEYWORD_BIT_FIRST: u8 = 5;
/// The last flag bit that stands for a keyword: a mailbox has bits for 58 keywords.
pub(super) const KEYWORD_BIT_LAST: u8 = 62;
/// The flag bit of a message that has further keywords in the table `spill`.
pub(super) const SPILL: i64 = i64::MIN;

/// The bits that hold a date's zone. IMAP can write zones up to 5,999 minutes from UTC.
const OFFSET_BITS: u32 = 14;
const OFFSET_MAX: i16 = (1 << (OFFSET_BITS - 1)) - 1;
const SECONDS_MAX: i64 = (1 << (62 - OFFSET_BITS)) - 1;

/// The date's seconds above its zone, so that `date >> 14` is the instant.
pub(super) fn pack_date(date: InternalDate) -> i64 {
    let offset = date.offset_minutes().clamp(-OFFSET_MAX, OFFSET_MAX) + OFFSET_MAX;
    (date.seconds().clamp(-SECONDS_MAX, SECONDS_MAX) << OFFSET_BITS) | i64::from(offset)
}

pub(super) fn unpack_date(packed: i64) -> InternalDate {
    let offset = (packed & ((1 << OFFSET_BITS) - 1)) as i16 - OFFSET_MAX;
    InternalDate::new(packed >> OFFSET_BITS, offset)
}

pub(super) fn pack_digest((exact, headers): (Digest, u64)) -> [u8; 24] {
    let mut blob = [0; 24];
    blob[..16].copy_from_slice(&exact.0);
    blob[16..].copy_from_slice(&headers.to_be_bytes());
    blob
}

pub(super) fn unpack_digest(blob: [u8; 24]) -> (Digest, u64) {
    let (mut exact, mut headers) = ([0; 16], [0; 8]);
    exact.copy_from_slice(&blob[..16]);
    headers.copy_from_slice(&blob[16..]);
    (Digest(exact), u64::from_be_bytes(headers))
}

/// What stands behind the digest of a message that was sent otherwise than it is at the source.
const CHANGED_BYTES: usize = 42;

/// The digest, and behind it what was changed.
pub(super) fn pack_identity(digest: (Digest, u64), changed: Option<&Changed>) -> Vec<u8> {
    let mut blob = pack_digest(digest).to_vec();
    if let Some(changed) = changed {
        put_changed(&mut blob, changed);
    }
    blob
}

pub(super) type Packed = ((Digest, u64), Option<Changed>);

pub(super) fn unpack_identity(blob: &[u8]) -> Result<Packed, StoreError> {
    let damaged = || StoreError::Damaged(format!("a digest of {} bytes", blob.len()));
    let (digest, mut rest) = blob.split_first_chunk().ok_or_else(damaged)?;
    let changed = match rest {
        [] => None,
        _ => Some(take_changed(&mut rest).filter(|_| rest.is_empty()).ok_or_else(damaged)?),
    };
    Ok((unpack_digest(*digest), changed))
}

pub(super) fn put_changed(out: &mut Vec<u8>, changed: &Changed) {
    let Changed { repairs, dated, size, date, digest } = changed;
    let dated = match dated {
        None => 0,
        Some(Dated::Received) => 1,
        Some(Dated::Date) => 2,
    };
    out.extend([repairs.bits(), dated]);
    out.extend(size.to_be_bytes());
    out.extend(date.map_or(i64::MIN, pack_date).to_be_bytes());
    out.extend(digest.map_or([0; 24], pack_digest));
}

pub(super) fn take_changed(rest: &mut &[u8]) -> Option<Changed> {
    let (bytes, after) = rest.split_first_chunk::<CHANGED_BYTES>()?;
    let [repairs, dated, size @ ..] = bytes;
    let (size, date) = size.split_first_chunk()?;
    let (date, digest) = date.split_first_chunk()?;
    let date = i64::from_be_bytes(*date);
    *rest = after;
    let (repairs, digest) = (Repairs::from_bits(*repairs), digest.try_into().ok()?);
    Some(Changed {
        repairs,
        dated: match dated {
            0 => None,
            1 => Some(Dated::Received),
            2 => Some(Dated::Date),
            _ => return None,
        },
        size: u64::from_be_bytes(*size),
        date: (date != i64::MIN).then(|| unpack_date(date)),
        digest: (!repairs.is_empty()).then(|| unpack_digest(digest)),
    })
}

pub(super) const RISKY: i64 = 16;
const LOSSES_SHIFT: u32 = 5;
const LOSSES_MAX: u8 = 7;
const DOUBTS_SHIFT: u32 = 8;

/// A message's fate and what went wrong with it share a column: for most, that is 1, which takes
/// SQLite no byte, and a column of its own would take one.
pub(super) fn pack_fate(fate: Fate, risky: bool, troubles: Troubles) -> i64 {
    i64::from(fate_code(fate))
        | if risky { RISKY } else { 0 }
        | i64::from(troubles.losses.min(LOSSES_MAX)) << LOSSES_SHIFT
        | i64::from(troubles.doubts) << DOUBTS_SHIFT
}

pub(super) fn unpack_fate(packed: i64) -> Result<(Fate, bool, Troubles), StoreError> {
    let fate = Fate::ALL.into_iter().find(|fate| i64::from(fate_code(*fate)) == packed & 15);
    let damaged = || StoreError::Damaged(format!("fate {packed}"));
    let doubts = u8::try_from(packed >> DOUBTS_SHIFT).map_err(|_| damaged())?;
    let losses = (packed >> LOSSES_SHIFT) & i64::from(LOSSES_MAX);
    let losses = u8::try_from(losses).map_err(|_| damaged())?;
    Ok((fate.ok_or_else(damaged)?, packed & RISKY != 0, Troubles { doubts, losses }))
}

/// Copied, adopted or merged: what has a claim on its target UID. For any other it is a hint.
pub(super) const CLAIMED: &str = "fate & 15 IN (1, 2, 3)";

/// Anything but what others have put at the target.
pub(super) const OURS: &str = "fate & 15 <> 2";

/// Copied, adopted, merged, gone or held: no pass does anything about it any more.
pub(super) const SETTLED: &str = "fate & 15 IN (1, 2, 3, 5, 9)";

/// Settled, or filtered: no pass with the same filter does anything about it any more.
pub(super) const SETTLED_OR_FILTERED: &str = "fate & 15 IN (1, 2, 3, 4, 5, 9)";

fn fate_code(fate: Fate) -> u8 {
    match fate {
        Fate::Pending => 0,
        Fate::Copied => 1,
        Fate::Adopted => 2,
        Fate::Merged => 3,
        Fate::Filtered => 4,
        Fate::Gone => 5,
        Fate::Refused => 6,
        Fate::Unreadable => 7,
        Fate::Lost => 8,
        Fate::Held => 9,
    }
}

pub(super) fn kind_code(kind: RemarkKind) -> u8 {
    match kind {
        RemarkKind::Reason => 0,
        RemarkKind::BytesAltered => 1,
        RemarkKind::DateAltered => 2,
        RemarkKind::FlagsReduced => 3,
        RemarkKind::RemovedAtTarget => 4,
        RemarkKind::PossibleDuplicate => 5,
        RemarkKind::RemovedAtSource => 6,
        RemarkKind::Repaired => 7,
        RemarkKind::DateReplaced => 8,
        RemarkKind::MovedAtTarget => 9,
    }
}

pub(super) fn kind(code: u8) -> Result<RemarkKind, StoreError> {
    let kind = RemarkKind::ALL.into_iter().find(|kind| kind_code(*kind) == code);
    kind.ok_or_else(|| StoreError::Damaged(format!("kind of remark {code}")))
}

pub(super) fn state_code(state: AccountState) -> u8 {
    match state {
        AccountState::Waiting => 0,
        AccountState::Running => 1,
        AccountState::Done => 2,
        AccountState::Stopped => 3,
        AccountState::Failed => 4,
    }
}

pub(super) fn state(code: u8) -> Result<AccountState, StoreError> {
    Ok(match code {
        0 => AccountState::Waiting,
        1 => AccountState::Running,
        2 => AccountState::Done,
        3 => AccountState::Stopped,
        4 => AccountState::Failed,
        _ => return Err(StoreError::Damaged(format!("account state {code}"))),
    })
}

/// A path as a JSON list of its names, for people with `sqlite3`.
pub(super) fn path_text(path: &MailboxPath) -> String {
    serde_json::Value::from(path.names()).to_string()
}

pub(super) fn path(text: &str) -> Result<MailboxPath, StoreError> {
    Ok(MailboxPath::new(names(text)?))
}

/// Reads a JSON list of strings.
pub(super) fn names(text: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Damaged(format!("names {text}: {error}")))
}

/// An unsigned number as SQLite can hold it.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number that was unsigned when it was written.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_date_keeps_its_instant_and_every_zone_that_imap_can_write(
            seconds in -62_135_596_800_i64..253_402_300_800,
            offset in -5_999_i16..=5_999,
        ) {
            let date = unpack_date(pack_date(InternalDate::new(seconds, offset)));
            prop_assert_eq!((date.seconds(), date.offset_minutes()), (seconds, offset));
            prop_assert_eq!(pack_date(date) >> OFFSET_BITS, seconds);
        }
    }

    #[test]
    fn an_absurd_date_is_cut_and_never_panics() {
        for seconds in [i64::MIN, i64::MAX] {
            for offset in [i16::MIN, i16::MAX] {
                let date = unpack_date(pack_date(InternalDate::new(seconds, offset)));
                assert_eq!(date.seconds().signum(), seconds.signum());
                assert_eq!(date.offset_minutes().signum(), offset.signum());
            }
        }
    }

    #[test]
    fn every_code_reads_as_what_was_written() {
        for value in Fate::ALL {
            for (doubts, losses, risky) in [(0, 0, false), (1, 7, true), (255, 2, false)] {
                let troubles = Troubles { doubts, losses };
                let read = unpack_fate(pack_fate(value, risky, troubles));
                assert_eq!(read.expect("known"), (value, risky, troubles));
            }
        }
        for value in RemarkKind::ALL {
            assert_eq!(kind(kind_code(value)).expect("known"), value);
        }
        for unknown in [-1, 10, 15, 256 << DOUBTS_SHIFT] {
            assert!(unpack_fate(unknown).is_err(), "{unknown}");
        }
        assert!(kind(99).is_err() && state(99).is_err());
        let states = [AccountState::Waiting, AccountState::Running, AccountState::Done];
        for value in states.into_iter().chain([AccountState::Stopped, AccountState::Failed]) {
            assert_eq!(state(state_code(value)).expect("known"), value);
        }
    }

    #[test]
    fn a_path_with_any_characters_is_read_as_it_was() {
        let odd = MailboxPath::new(["a/b", "\"\u{0}\\", "", "Entwürfe"]);
        assert_eq!(path(&path_text(&odd)).expect("own text"), odd);
    }
}
