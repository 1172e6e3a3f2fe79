//! Faults a test can set while the server runs: plain data, each for as often as it says.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use memchr::memmem;

/// A question about a message body.
pub type Predicate = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// Which message bodies a fault is about.
#[derive(Clone, Default)]
pub enum Matching {
    /// All.
    #[default]
    Any,
    /// Those that contain these bytes.
    Contains(Vec<u8>),
    /// Those of more bytes than this.
    LargerThan(u64),
    /// Those the function says yes to.
    Where(Predicate),
}

impl Matching {
    pub(super) fn matches(&self, body: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Contains(bytes) => memmem::find(body, bytes).is_some(),
            Self::LargerThan(bytes) => body.len() as u64 > *bytes,
            Self::Where(says_yes) => says_yes(body),
        }
    }
}

impl fmt::Debug for Matching {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => formatter.write_str("Any"),
            Self::Contains(bytes) => write!(formatter, "Contains({:?})", bytes.escape_ascii()),
            Self::LargerThan(bytes) => write!(formatter, "LargerThan({bytes})"),
            Self::Where(_) => formatter.write_str("Where(..)"),
        }
    }
}

/// What APPENDUID says instead of the truth.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AppendUidLie {
    /// Nothing: the OK has no code.
    Omitted,
    /// UIDs so much larger than the true ones.
    Shifted(u32),
    /// This UIDVALIDITY.
    Validity(u32),
}

/// How a server that cannot read a message answers FETCH of its body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyFault {
    /// `BODY[] NIL` and OK.
    Nil,
    /// The message is left out, and OK.
    Nothing,
    /// The message is left out, and `NO [SERVERBUG]`.
    No,
    /// An empty body, and OK.
    Empty,
}

/// How slow a MOVE is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Slowness {
    /// How long it takes to begin; it has read its messages by then.
    pub before: Duration,
    /// How long each of its pieces takes: one message copied, or one expunged.
    pub piece: Duration,
    /// Whether the connection is cut as soon as it has read its messages.
    pub cut: bool,
}

/// What goes wrong. Commands are named in capitals, `UID FETCH` as one; `*` is any.
#[derive(Clone, Debug)]
pub enum Deed {
    /// So many bytes are read from the client; where more are wanted the connection is cut.
    CutAfterRead(u64),
    /// The connection is cut as soon as so many bytes were written to the client.
    CutAfterWritten(u64),
    /// The connection is cut instead of running this command.
    CutBefore(String),
    /// This command is run, and the connection cut instead of answering it.
    CutAfter(String),
    /// This command is answered so instead of being run: `NO [UNAVAILABLE] try later`, `BAD ...`,
    /// or `BYE ...`, which also ends the session.
    Answer(String, String),
    /// This command is run at once and answered so much later.
    Delay(String, Duration),
    /// APPEND of a matching body is refused with this text: `NO [TOOBIG] too large`, `BAD ...`.
    Refuse(Matching, String),
    /// A matching APPEND is committed so much later, even if the client is gone by then.
    CommitLate(Matching, Duration),
    /// A matching APPEND is answered OK and nothing is stored.
    Forget(Matching),
    /// A matching APPEND is stored, but with these bytes for its body.
    Rewrite(Matching, Vec<u8>),
    /// APPENDUID is not what it should be.
    AppendUid(AppendUidLie),
    /// COPYUID is not what it should be.
    CopyUid(AppendUidLie),
    /// A MOVE is broken off when its copies are stored and nothing is removed yet, and the
    /// connection is cut.
    HalfMove,
    /// A MOVE copies, removes nothing, and says that all is moved.
    KeepMoved,
    /// A MOVE copies and expunges one message after the other, and is broken off after so many of
    /// these pieces; then the connection is cut.
    CutMove(usize),
    /// A MOVE ends with `NO [EXPUNGEISSUED]` when so many messages are moved.
    PartMove(usize),
    /// A MOVE takes its time, and goes on when the client is gone.
    SlowMove(Slowness),
    /// CREATE of a mailbox whose last name starts so is refused with `NO [CANNOT]`.
    RefuseCreate(String),
    /// The body of the message with this UID cannot be fetched.
    Body(u32, BodyFault),
    /// `RFC822.SIZE` of the message with this UID is told as so many bytes.
    Size(u32, u64),
}

/// A deed, and when it is done.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What goes wrong.
    pub deed: Deed,
    /// Only in the session of this number; the first of a server is 1.
    pub session: Option<u64>,
    /// Only for this user. The bytes of a cut count from the login on, then.
    pub user: Option<String>,
    /// So many occasions pass without harm first.
    pub after: u64,
    /// How often it is done; `None` is every time.
    pub times: Option<u64>,
}

impl Fault {
    /// Done once, at the first occasion.
    #[must_use]
    pub fn once(deed: Deed) -> Self {
        Self { times: Some(1), ..Self::always(deed) }
    }

    /// Done at every occasion.
    #[must_use]
    pub fn always(deed: Deed) -> Self {
        Self { deed, session: None, user: None, after: 0, times: None }
    }

    /// Done so many times.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Done only after so many occasions passed.
    #[must_use]
    pub fn after(self, occasions: u64) -> Self {
        Self { after: occasions, ..self }
    }

    /// Done only in one session; the first of a server is 1.
    #[must_use]
    pub fn in_session(self, number: u64) -> Self {
        Self { session: Some(number), ..self }
    }

    /// Done only to one user.
    #[must_use]
    pub fn of_user(self, user: &str) -> Self {
        Self { user: Some(user.to_owned()), ..self }
    }
}

/// The faults of a server, to be set at any time. Clones are the same faults.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    armed: Arc<Mutex<Vec<Fault>>>,
    done: Arc<Mutex<u64>>,
}

impl Faults {
    /// Arms a fault; of several that fit an occasion the first one armed is done.
    pub fn arm(&self, fault: Fault) {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    /// Disarms all.
    pub fn clear(&self) {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How many faults were done so far.
    #[must_use]
    pub fn done(&self) -> u64 {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds what goes wrong at an occasion, if anything, and counts it.
    pub(super) fn strike<T>(
        &self,
        session: u64,
        user: Option<&str>,
        fits: impl Fn(&Deed) -> Option<T>,
    ) -> Option<T> {
        self.find(session, user, |fault| fits(&fault.deed))
    }

    /// After how many bytes read and written a session is cut, as far as it is to be armed now:
    /// without a user at the start, with one at the login.
    pub(super) fn cuts(&self, session: u64, user: Option<&str>) -> (Option<u64>, Option<u64>) {
        let now = |fault: &Fault| fault.user.is_some() == user.is_some();
        let read = self.find(session, user, |fault| match fault.deed {
            Deed::CutAfterRead(bytes) if now(fault) => Some(bytes),
            _ => None,
        });
        let written = self.find(session, user, |fault| match fault.deed {
            Deed::CutAfterWritten(bytes) if now(fault) => Some(bytes),
            _ => None,
        });
        (read, written)
    }

    fn find<T>(
        &self,
        session: u64,
        user: Option<&str>,
        fits: impl Fn(&Fault) -> Option<T>,
    ) -> Option<T> {
        let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, fault) in armed.iter_mut().enumerate() {
            let here = fault.session.is_none_or(|number| number == session)
                && fault.user.as_deref().is_none_or(|wanted| Some(wanted) == user);
            let Some(struck) = (if here { fits(fault) } else { None }) else {
                continue;
            };
            if fault.after > 0 {
                fault.after -= 1;
                continue;
            }
            if let Some(times) = &mut fault.times {
                *times = times.saturating_sub(1);
                if *times == 0 {
                    armed.remove(index);
                }
            }
            *self.done.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            return Some(struck);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strike(faults: &Faults, session: u64, user: Option<&str>) -> bool {
        faults.strike(session, user, |deed| matches!(deed, Deed::Forget(_)).then_some(())).is_some()
    }

    #[test]
    fn a_fault_is_done_as_often_as_it_says_and_not_before() {
        let faults = Faults::default();
        faults.arm(Fault::always(Deed::Forget(Matching::Any)).after(1).times(2));
        let done: Vec<bool> = (0..4).map(|_| strike(&faults, 1, None)).collect();
        assert_eq!(done, [false, true, true, false]);
        assert_eq!(faults.done(), 2);
    }

    #[test]
    fn a_fault_keeps_to_its_session_and_user() {
        let faults = Faults::default();
        faults.arm(Fault::always(Deed::Forget(Matching::Any)).in_session(2).of_user("ann"));
        assert!(!strike(&faults, 1, Some("ann")));
        assert!(!strike(&faults, 2, Some("bob")));
        assert!(strike(&faults, 2, Some("ann")));
    }
}
