//! Messages of a model: a number for each different one, and what the program would read of it.

use std::sync::OnceLock;

use mailhaul::fate::Fate;
use mailhaul::history::{Entry, Troubles};
use mailhaul::identity::Identity;
use mailhaul::ledger::WindowMessage;
use mailhaul::mail::{Flags, InternalDate, MessageInfo, Uid};
use mailhaul::plan::adopt::Outline;
use mailhaul::plan::settle::Candidate;
use mailhaul::target::Found;

pub(crate) fn identity(content: u8) -> Identity {
    static KNOWN: OnceLock<Vec<Identity>> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        let body = |n| format!("Message-ID: <{n}>\r\nSubject: {n}\r\n\r\nbody {n}\r\n");
        (0..4).map(|n| Identity::of(body(n).as_bytes())).collect()
    });
    known[usize::from(content)]
}

pub(crate) fn size(content: u8) -> u64 {
    1_000 * (1 + u64::from(content))
}

pub(crate) fn date(content: u8) -> Option<InternalDate> {
    Some(InternalDate::new(1_000_000 * (1 + i64::from(content)), 0))
}

/// The source's UID of the message at an index.
pub(crate) fn source_uid(key: u8) -> Uid {
    Uid(u32::from(key) + 1)
}

pub(crate) fn key_of(uid: Uid) -> u8 {
    narrow(uid) - 1
}

pub(crate) fn narrow(uid: Uid) -> u8 {
    u8::try_from(uid.0).expect("UIDs of a model are small")
}

pub(crate) fn wide(uid: u8) -> Uid {
    Uid(u32::from(uid))
}

pub(crate) fn info(key: u8, content: u8) -> MessageInfo {
    let (size, date) = (size(content), date(content));
    MessageInfo { uid: source_uid(key), size, date, flags: Flags::default() }
}

pub(crate) fn window_message(key: u8, content: u8, troubles: Troubles) -> WindowMessage {
    WindowMessage {
        uid: source_uid(key),
        size: size(content),
        date: date(content),
        flags: Flags::default(),
        identity: Some(identity(content)),
        risky: false,
        troubles,
        changed: None,
    }
}

pub(crate) fn entry(fate: Fate, target_uid: u8, content: u8, troubles: Troubles) -> Entry {
    let Identity { exact, headers, .. } = identity(content);
    Entry {
        fate,
        target_uid: (target_uid > 0).then(|| wide(target_uid)),
        size: size(content),
        date: date(content),
        flags: Flags::default(),
        digest: Some((exact, headers)),
        troubles,
        risky: false,
        changed: None,
    }
}

pub(crate) fn found(uid: u8, content: u8) -> Found {
    let (size, date) = (size(content), date(content));
    Found { uid: wide(uid), size, date, flags: Flags::default() }
}

/// What a look shows before any body was read.
pub(crate) fn candidate(uid: u8, content: u8) -> Candidate {
    Candidate {
        uid: wide(uid),
        size: size(content),
        date: date(content),
        flags: Flags::default(),
        headers: Some(identity(content).headers),
        identity: None,
    }
}

pub(crate) fn outline(content: u8) -> Option<Outline> {
    Outline::of(size(content), date(content), identity(content).headers)
}
