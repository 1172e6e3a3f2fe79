//! Windows through the stages: admitted, fetched, opened in the ledger, appended, recorded. Each
//! stage is an async function, and a bounded channel lies between one and the next.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, mpsc};

use super::verify::is_compared;
use super::work::Work;
use crate::config::Config;
use crate::event::Event;
use crate::fate::{Fate, Remark, RemarkKind};
use crate::fault::{Fault, Scope, Side};
use crate::history::{Changed, Entry, Troubles};
use crate::identity::Identity;
use crate::ledger::{Ledger, MailboxId, NewWindow, Outcome, StageId, WindowId, WindowMessage};
use crate::mail::{MailboxPath, Message, MessageInfo, Uid, UidValidity};
use crate::mutant::{self, Mutant};
use crate::octets::Octets;
use crate::plan::dating;
use crate::plan::mailboxes::Pair;
use crate::plan::room::{InDoubt, Room, room};
use crate::plan::windows::{Owed, Window};
use crate::repair::{Repair, Repairs, repair};
use crate::source::{Admitted, Fetched, MissingCause, Source};
use crate::target::{Ahead, Answer, Answered, Body, Outgoing, OutgoingMessage, Target};

/// Where windows go.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The source mailbox in the ledger.
    pub(super) mailbox: MailboxId,
    pub(super) pair: Pair,
    /// The target mailbox's UIDVALIDITY.
    pub(super) validity: UidValidity,
    /// A UIDNEXT of the target mailbox: nothing that is sent from now on gets a lower UID.
    pub(super) lo: Uid,
    /// The stage that stands for the target mailbox, if one does.
    pub(super) stage: Option<StageId>,
}

/// A window that was sent and answered. It is open in the ledger until its copies were seen.
pub(super) struct Sent {
    pub(super) id: WindowId,
    /// No copy of its messages has a lower UID.
    pub(super) lo: Uid,
    pub(super) messages: Vec<SentMessage>,
}

/// A message that was sent.
pub(super) struct SentMessage {
    pub(super) uid: Uid,
    pub(super) entry: Entry,
    pub(super) identity: Option<Identity>,
    /// Whether every octet of its copy is to be compared with it.
    pub(super) is_compared: bool,
    /// Its subject, where it is wanted in the report.
    pub(super) subject: Option<String>,
    pub(super) said: Said,
}

/// What the target said to a message.
pub(super) enum Said {
    /// Stored, at this UID: to be read back there.
    At(Uid),
    /// Stored; it did not tell where, or not believably: at a UID that is another message's, perhaps,
    /// which a target tells that keeps one copy of equal messages.
    Somewhere(Option<Uid>),
    /// Not stored, for good: the ledger knows.
    Refused,
    /// Not stored, and owed as before.
    NotNow,
}

/// What became of windows.
pub(super) struct Moved {
    /// Windows that were answered.
    pub(super) sent: Vec<Sent>,
    /// Asked for and not handed on by the source.
    pub(super) missing: Vec<(Owed, MissingCause)>,
    /// Refused by the target for good.
    pub(super) refused: Vec<Uid>,
    /// Refused as they are, and still owed: there is something to be repaired in them.
    pub(super) to_repair: Vec<Owed>,
    /// Whether some windows were left out, because they wait for others to be looked up.
    pub(super) halted: bool,
    /// Whether both connections can go on.
    pub(super) outcome: Result<(), Fault>,
}

/// Whether the connection to the target can go on after such an outcome: what it acknowledged can be
/// looked for on it.
pub(super) fn is_target_sound(outcome: &Result<(), Fault>) -> bool {
    outcome.as_ref().err().is_none_or(|fault| {
        !matches!(fault.scope, Scope::Session | Scope::Batch) || fault.side == Some(Side::Source)
    })
}

/// Moves windows from the source's open mailbox to the target's.
pub(super) async fn transfer<S: Source, T: Target, L: Ledger>(
    work: &Work<'_, L>,
    place: &Place,
    source: &mut S,
    target: &mut T,
    windows: Vec<Window>,
) -> Moved {
    let (admit_to, admitted) = mpsc::channel(1);
    let (fetch_to, fetched) = mpsc::channel(1);
    let (open_to, outgoing) = mpsc::channel(1);
    let in_flight_max = in_flight_max(&work.run.config, target);
    let (answer_to, answered) = mpsc::channel(in_flight_max);
    // As many as there are windows in flight.
    let (settle_to, settled) = mpsc::unbounded_channel();
    let halt = AtomicBool::new(false);
    let mut opening = Opening {
        work,
        place,
        settled,
        in_flight_max,
        in_flight: Vec::new(),
        missing: Vec::new(),
        halt: &halt,
    };
    let mut recording = Recording {
        work,
        place,
        settle_to: Some(settle_to),
        sent: Vec::new(),
        told: BTreeSet::new(),
        refused: Vec::new(),
        to_repair: Vec::new(),
    };
    let ahead = ahead(&windows, place);
    let (fetch, open, append, record) = {
        let ((), fetch, open, append, record) = tokio::join!(
            admit(work, windows, admit_to, &halt),
            source.fetch(admitted, fetch_to),
            opening.run(fetched, open_to),
            target.append(&ahead, outgoing, answer_to),
            recording.run(answered),
        );
        (fetch, open, append, record)
    };
    // The ledger's failure first, then whichever end broke; one that only stopped is no failure.
    let outcome = record.and(open).and(append).and(fetch);
    Moved {
        sent: recording.sent,
        missing: opening.missing,
        refused: recording.refused,
        to_repair: recording.to_repair,
        halted: halt.into_inner(),
        outcome,
    }
}

/// So many windows may be open: two for each connection that may share the mailbox.
fn in_flight_max(config: &Config, target: &impl Target) -> usize {
    let shared = if target.is_faster_shared() { 2 * config.connections_max } else { 0 };
    config.windows_in_flight_max.max(shared).max(1)
}

/// What the windows hold, as far as the scan knew.
fn ahead(windows: &[Window], place: &Place) -> Ahead {
    let messages = || windows.iter().flat_map(|window| &window.messages);
    let keywords = messages().flat_map(|owed| owed.info.flags.keywords()).cloned().collect();
    Ahead { messages: messages().count(), keywords, lo: Some(place.lo) }
}

/// Tells that a message will not be copied in this pass.
pub(super) fn tell_not_copied<L: Ledger>(
    work: &Work<'_, L>,
    pair: &Pair,
    uid: Uid,
    fate: Fate,
    reason: &str,
) {
    tell_not_copied_at(work, &pair.source.path, uid, fate, reason);
}

/// As [`tell_not_copied`], of a message of a mailbox.
pub(super) fn tell_not_copied_at<L: Ledger>(
    work: &Work<'_, L>,
    path: &MailboxPath,
    uid: Uid,
    fate: Fate,
    reason: &str,
) {
    work.not_copied();
    work.event(Event::NotCopied {
        account: work.label.clone(),
        mailbox: path.to_string(),
        uid: uid.0,
        fate,
        reason: reason.to_owned(),
    });
}

/// Lets windows in as fast as the throttle allows, until there are no more or a stop is asked for.
async fn admit<L: Ledger>(
    work: &Work<'_, L>,
    windows: Vec<Window>,
    admitted: mpsc::Sender<Admitted>,
    halt: &AtomicBool,
) {
    for window in windows {
        if halt.load(Ordering::Relaxed) {
            return;
        }
        let messages = u32::try_from(window.messages.len()).unwrap_or(u32::MAX);
        let admission = tokio::select! {
            biased;
            () = work.run.stop.requested() => return,
            () = admitted.closed() => return,
            admission = work.throttle.admit(messages, window.bytes(), window.streamed) => admission,
        };
        if admitted.send(Admitted { window, admission }).await.is_err() {
            return;
        }
    }
}

/// From the recording to the opening.
enum Settled {
    /// Each of its messages has a UID or a fate: nothing of it is in doubt any more.
    Closed(WindowId),
    /// It was answered, and where its copies are must be looked up.
    Answered(WindowId),
}

/// Enters windows into the ledger before they are sent.
struct Opening<'a, 'w, L> {
    work: &'a Work<'w, L>,
    place: &'a Place,
    settled: mpsc::UnboundedReceiver<Settled>,
    in_flight_max: usize,
    in_flight: Vec<(WindowId, InDoubt)>,
    missing: Vec<(Owed, MissingCause)>,
    halt: &'a AtomicBool,
}

impl<L: Ledger> Opening<'_, '_, L> {
    async fn run(
        &mut self,
        mut fetched: mpsc::Receiver<Fetched>,
        outgoing: mpsc::Sender<Outgoing>,
    ) -> Result<(), Fault> {
        while let Some(window) = fetched.recv().await {
            if self.halt.load(Ordering::Relaxed) {
                // Read to its end, so that the source's connection stays sound; copied later.
                continue;
            }
            let Some((mut window, classes)) = self.prepare(window).await else {
                continue;
            };
            if !self.wait_for_room(classes.as_ref(), &outgoing).await {
                return Ok(());
            }
            if self.halt.load(Ordering::Relaxed) {
                continue;
            }
            let records: Vec<WindowMessage> =
                window.messages.iter().map(|message| message.record.clone()).collect();
            let intent = NewWindow {
                mailbox: self.place.mailbox,
                epoch: self.work.claim.epoch,
                lo: self.place.lo,
                messages: records,
            };
            let ledger = &self.work.run.ledger;
            window.id = match self.place.stage {
                Some(stage) => ledger.open_in_stage(stage, &intent).await?,
                None => ledger.open(&intent).await?,
            };
            if mutant::is(Mutant::AckBeforeOk) {
                let copied = |message: &OutgoingMessage| Outcome {
                    uid: message.record.uid,
                    entry: entry(message, Fate::Copied, None),
                    remarks: Vec::new(),
                    subject: None,
                };
                let outcomes = window.messages.iter().map(copied).collect();
                self.work.run.ledger.close(window.id, self.place.mailbox, outcomes).await?;
            }
            self.in_flight.push((window.id, InDoubt { awaited: true, classes }));
            if outgoing.send(window).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Makes a window of what was fetched, with the classes of its messages; none if nothing came.
    async fn prepare(&mut self, fetched: Fetched) -> Option<(Outgoing, Option<BTreeSet<u64>>)> {
        // The ledger gives the id when it takes the window.
        let id = WindowId(0);
        match fetched {
            Fetched::Whole { admitted: Admitted { window, admission }, messages, missing } => {
                for missing in missing {
                    let owed = window.messages.iter().find(|owed| owed.info.uid == missing.uid);
                    self.missing.extend(owed.cloned().map(|owed| (owed, missing.cause)));
                }
                let messages = messages.into_iter();
                let messages: Vec<_> =
                    messages.map(|message| outgoing(self.work, message, &window)).collect();
                if messages.is_empty() {
                    return None;
                }
                let identities = messages.iter().filter_map(|message| message.record.identity);
                let classes = Some(identities.map(|identity| identity.headers).collect());
                Some((Outgoing { id, messages, careful: window.careful, admission }, classes))
            }
            Fetched::Streamed { admitted: Admitted { window, admission }, mut info, mut body } => {
                let mut changed = None;
                if dating::is_broken(info.date) {
                    changed = dated(&mut info, body.size, body.beginning().await);
                }
                let record = WindowMessage {
                    uid: info.uid,
                    size: body.size,
                    date: info.date,
                    flags: info.flags,
                    identity: None,
                    // Known when it is sent.
                    risky: false,
                    troubles: troubles(&window, info.uid),
                    changed: changed.map(Box::new),
                };
                let size = body.size;
                let body = Body::Streamed {
                    body: Mutex::new(Some(body)),
                    identity: Default::default(),
                    size,
                };
                // Known when it is sent, too.
                let messages = vec![OutgoingMessage { record, body, is_compared: false }];
                Some((Outgoing { id, messages, careful: true, admission }, None))
            }
        }
    }

    /// Waits until one more window may be open. False where nothing can be sent any more.
    async fn wait_for_room(
        &mut self,
        classes: Option<&BTreeSet<u64>>,
        outgoing: &mpsc::Sender<Outgoing>,
    ) -> bool {
        let nothing = BTreeSet::new();
        let classes = if mutant::is(Mutant::ResolveOneByOne) { Some(&nothing) } else { classes };
        loop {
            while let Ok(settled) = self.settled.try_recv() {
                self.settle(&settled);
            }
            let open = self.in_flight.iter().map(|(_, open)| open);
            match room(open, classes, self.in_flight_max) {
                Room::Free => return true,
                Room::Halt => {
                    self.halt.store(true, Ordering::Relaxed);
                    return true;
                }
                Room::Wait => {}
            }
            tokio::select! {
                biased;
                settled = self.settled.recv() => match settled {
                    Some(settled) => self.settle(&settled),
                    None => return false,
                },
                // A window that was handed over and not taken is never answered.
                () = outgoing.closed() => return false,
            }
        }
    }

    fn settle(&mut self, settled: &Settled) {
        match settled {
            Settled::Closed(id) => self.in_flight.retain(|(open, _)| open != id),
            Settled::Answered(id) => {
                for (_, open) in self.in_flight.iter_mut().filter(|(open, _)| open == id) {
                    open.awaited = false;
                }
            }
        }
    }
}

fn outgoing<L: Ledger>(work: &Work<'_, L>, message: Message, window: &Window) -> OutgoingMessage {
    let Message { mut info, body } = message;
    let dated = match dating::is_broken(info.date) {
        true => dated(&mut info, body.len() as u64, &body.beginning(HEADER_BYTES)),
        false => None,
    };
    let owed = window.messages.iter().find(|owed| owed.info.uid == info.uid);
    let size_differs = owed.is_some_and(|owed| owed.info.size != body.len() as u64);
    let (body, changed) =
        as_sent(body, &info, dated, owed.map(|owed| owed.repairs).unwrap_or_default());
    let identity = body.identity();
    let record = WindowMessage {
        uid: info.uid,
        size: body.len() as u64,
        risky: identity.risky
            || size_differs
            || info.date.is_none_or(|date| !ORDINARY_SECONDS.contains(&date.seconds())),
        date: info.date,
        flags: info.flags,
        identity: Some(identity),
        troubles: troubles(window, info.uid),
        changed: changed.map(Box::new),
    };
    let is_compared = is_compared(work, &record, Some(&identity));
    OutgoingMessage { record, body: Body::Whole(body), is_compared }
}

/// Gives a message the date that its header tells, and what that changes; none where it tells none.
fn dated(info: &mut MessageInfo, size: u64, octets: &[u8]) -> Option<Changed> {
    let (date, dated) = dating::of_header(octets)?;
    let date = info.date.replace(date);
    Some(Changed { repairs: Repairs::default(), dated: Some(dated), size, date, digest: None })
}

/// The octets that are sent, and what of the message is changed then.
fn as_sent(
    body: Octets,
    info: &MessageInfo,
    dated: Option<Changed>,
    repairs: Repairs,
) -> (Octets, Option<Changed>) {
    if repairs.is_empty() {
        return (body, dated);
    }
    let Some((repaired, repairs)) = repair(&body.whole(), repairs) else {
        return (body, dated);
    };
    let Identity { exact, headers, .. } = body.identity();
    let as_it_is =
        Changed { repairs, dated: None, size: body.len() as u64, date: info.date, digest: None };
    let digest = Some((exact, headers));
    let changed = Changed { repairs, digest, ..dated.unwrap_or(as_it_is) };
    (repaired.into(), Some(changed))
}

/// So much of a message has the header lines that are looked at.
const HEADER_BYTES: usize = 64 * 1024;

/// The years 1970 to 2037: what every server stores.
const ORDINARY_SECONDS: std::ops::Range<i64> = 0..2_145_916_800;

fn troubles(window: &Window, uid: Uid) -> Troubles {
    let owed = window.messages.iter().find(|owed| owed.info.uid == uid);
    owed.map_or_else(Troubles::default, |owed| owed.troubles)
}

/// Writes each answer to the ledger as it comes.
struct Recording<'a, 'w, L> {
    work: &'a Work<'w, L>,
    place: &'a Place,
    /// Who opens windows waits for this; gone when nothing is recorded any more.
    settle_to: Option<mpsc::UnboundedSender<Settled>>,
    sent: Vec<Sent>,
    /// The UIDs told so far.
    told: BTreeSet<Uid>,
    refused: Vec<Uid>,
    to_repair: Vec<Owed>,
}

impl<L: Ledger> Recording<'_, '_, L> {
    async fn run(&mut self, mut answered: mpsc::Receiver<Answered>) -> Result<(), Fault> {
        let mut outcome = Ok(());
        while outcome.is_ok() {
            let Some(answered) = answered.recv().await else {
                break;
            };
            outcome = self.record(answered).await;
        } // Dropping the window gives its memory back.
        self.settle_to = None;
        outcome
    }

    async fn record(&mut self, answered: Answered) -> Result<(), Fault> {
        let Answered { window, answers } = answered;
        if mutant::is(Mutant::DropLastBatch) && self.work.run.stop.is_requested() {
            return self.work.run.ledger.close(window.id, self.place.mailbox, Vec::new()).await;
        }
        let mut outcomes = Vec::with_capacity(answers.len());
        let mut sent = Sent { id: window.id, lo: self.place.lo, messages: Vec::new() };
        let (mut settled, mut answered_all) = (true, true);
        let (mut messages, mut bytes) = (0, 0);
        for (message, answer) in window.messages.iter().zip(answers) {
            let said = match answer {
                Some(Answer::Stored(told)) => {
                    messages += 1;
                    bytes += message.body.size();
                    match told {
                        Some((validity, uid)) if self.is_plausible(validity, uid) => Said::At(uid),
                        told => Said::Somewhere(told.and_then(|(validity, uid)| {
                            (validity == self.place.validity).then_some(uid)
                        })),
                    }
                }
                Some(Answer::Refused(text)) => match self.repairable(message) {
                    Some(owed) => {
                        self.to_repair.push(owed);
                        Said::NotNow
                    }
                    None => {
                        outcomes.push(self.refused(message, &text));
                        Said::Refused
                    }
                },
                Some(Answer::NotNow) => Said::NotNow,
                None => {
                    (settled, answered_all) = (false, false);
                    continue;
                }
            };
            let entry = entry(message, Fate::Pending, None);
            match said {
                Said::At(target_uid) => outcomes.push(Outcome {
                    uid: message.record.uid,
                    entry: Entry { target_uid: Some(target_uid), ..entry.clone() },
                    remarks: Vec::new(),
                    subject: None,
                }),
                // Whose copy is where is to be looked up.
                Said::Somewhere(_) => settled = false,
                Said::Refused | Said::NotNow => {}
            }
            let (uid, identity) = (message.record.uid, message.identity());
            let is_compared = match message.body {
                Body::Whole(_) => message.is_compared,
                Body::Streamed { .. } => is_compared(self.work, &message.record, identity.as_ref()),
            };
            let subject = self.subject(message);
            sent.messages.push(SentMessage { uid, entry, identity, is_compared, subject, said });
        }
        if !outcomes.is_empty() {
            self.work.run.ledger.record(self.place.mailbox, outcomes).await?;
        }
        if messages > 0 {
            self.work.copied(messages, bytes);
            self.work.event(Event::Copied {
                account: self.work.label.clone(),
                mailbox: self.place.pair.source.path.to_string(),
                messages,
                bytes,
            });
        }
        if !answered_all {
            return Ok(()); // The connection is broken: nothing that is opened now would be sent.
        }
        self.sent.push(sent);
        let state = if settled { Settled::Closed(window.id) } else { Settled::Answered(window.id) };
        if let Some(settle_to) = &self.settle_to {
            // Nobody opens windows any more: nobody needs to know.
            let _ = settle_to.send(state);
        }
        Ok(())
    }

    /// Whether a UID the target told can be the copy's: DavMail has swapped it with the
    /// UIDVALIDITY, and no UID of ours is below the UIDNEXT read before, or given twice.
    fn is_plausible(&mut self, validity: UidValidity, uid: Uid) -> bool {
        validity == self.place.validity && uid >= self.place.lo && self.told.insert(uid)
    }

    /// What is owed of a message that the target will not have as it is; none where nothing can be
    /// repaired in it, or was.
    fn repairable(&self, message: &OutgoingMessage) -> Option<Owed> {
        let repairs = self.work.run.config.repairs;
        let WindowMessage { uid, ref changed, troubles, .. } = message.record;
        if changed.as_ref().is_some_and(|changed| !changed.repairs.is_empty()) {
            return None;
        }
        match &message.body {
            Body::Whole(octets) => {
                repair(&octets.whole(), repairs)?;
            }
            // Whether there is anything to be repaired is seen when it is held.
            Body::Streamed { identity, size, .. } => {
                let may_be = identity.get()?.risky || repairs.has(Repair::ReadReceipts);
                let is_room = *size <= self.work.run.config.repaired_bytes_max();
                (may_be && is_room && !repairs.is_empty()).then_some(())?;
            }
        }
        let Entry { size, date, flags, .. } = entry(message, Fate::Pending, None).at_source();
        let info = MessageInfo { uid, size, date, flags };
        Some(Owed { repairs, ..Owed::new(info, troubles) })
    }

    fn refused(&mut self, message: &OutgoingMessage, text: &str) -> Outcome {
        let uid = message.record.uid;
        let text = match message.record.changed.as_deref() {
            Some(Changed { repairs, .. }) if !repairs.is_empty() => {
                format!("repaired ({repairs}), too: {text}")
            }
            _ => text.to_owned(),
        };
        tell_not_copied(self.work, &self.place.pair, uid, Fate::Refused, &text);
        self.refused.push(uid);
        Outcome {
            uid,
            entry: entry(message, Fate::Refused, None).at_source(),
            remarks: vec![Remark::new(RemarkKind::Reason, text)],
            subject: self.subject(message),
        }
    }

    /// The subject for the report, if it is wanted there.
    fn subject(&self, message: &OutgoingMessage) -> Option<String> {
        let Body::Whole(octets) = &message.body else {
            return None;
        };
        if !self.work.run.config.report_headers {
            return None;
        }
        let header = octets.beginning(HEADER_BYTES);
        let parsed = mail_parser::MessageParser::new().parse_headers(&*header)?;
        parsed.subject().map(str::to_owned)
    }
}

fn entry(message: &OutgoingMessage, fate: Fate, target_uid: Option<Uid>) -> Entry {
    let WindowMessage { size, date, ref flags, risky, troubles, ref changed, .. } = message.record;
    let identity = message.identity();
    let digest = identity.map(|identity| (identity.exact, identity.headers));
    let risky = risky || identity.is_some_and(|identity| identity.risky);
    let (flags, changed) = (flags.clone(), changed.clone());
    Entry { fate, target_uid, size, date, flags, digest, troubles, risky, changed }
}
