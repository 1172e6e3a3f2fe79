//! An IMAP target: LIST, CREATE, SUBSCRIBE, SELECT, APPEND and FETCH; MOVE and DELETE where a
//! mailbox of our own is concerned.

mod append;
mod flags;
mod helping;
mod staging;
mod storable;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use self::append::{Appended, Around};
pub use self::helping::Helpers;
use self::helping::{Appending, Windows, Working};
use self::storable::Storable;
use super::{
    Ahead, Answered, Created, Deleted, Destination, FlagChange, Found, Made, Moved, Naming,
    ObjectId, Outgoing, Target,
};
use crate::fault::{Fault, Scope};
use crate::identity::{HeaderKeys, Identity};
use crate::imap::download::{self, Seen};
use crate::imap::exec::{Connection, Select, Server};
use crate::imap::reply::{self, Fetched, Status, StatusKind, uid_set};
use crate::imap::{listing, sharing};
use crate::ledger::OpenMove;
use crate::mail::{
    Flags, Mailbox, MailboxPath, MailboxStatus, Namespaces, SpecialUse, Uid, UidValidity, WireName,
};
use crate::mutant::{self, Mutant};
use crate::own::OwnName;
use crate::sharing::{Acl, Metadata, Quota, Rights};

/// For so many messages the mailbox is left while they are appended one by one.
const LEAVE_MESSAGES_MIN: usize = 50;

/// For more messages than this a look at them takes longer than a round trip.
const LOOK_MESSAGES_MAX: usize = 2_000;

/// A logged-in IMAP connection that writes.
pub struct ImapTarget {
    connection: Connection,
    windows_in_flight_max: usize,
    open: Option<OpenMailbox>,
    /// Whether the open mailbox was left by UNSELECT.
    is_left: bool,
    /// A server that takes as long to answer, or longer, is far.
    near: Duration,
    /// What a look at the open mailbox showed just now, behind what was appended.
    shown: Seen,
    slowest_append: Duration,
    /// Whether it tells X-GUIDs; none before it was asked.
    tells_guids: Option<bool>,
    /// Whether it takes keywords without a message to set them on.
    tries_keywords: bool,
    /// Those that send along with it, where each message waits for the server's leave.
    helpers: Option<Working>,
}

/// The mailbox that was opened last.
struct OpenMailbox {
    name: WireName,
    uid_validity: Option<UidValidity>,
    uid_next: Uid,
    storable: Arc<Storable>,
}

impl ImapTarget {
    /// Writes by this connection, so many windows in flight at once.
    #[must_use]
    pub fn new(connection: Connection, windows_in_flight_max: usize) -> Self {
        Self {
            connection,
            windows_in_flight_max,
            open: None,
            is_left: false,
            near: Duration::MAX,
            shown: Seen::default(),
            slowest_append: Duration::ZERO,
            tells_guids: None,
            tries_keywords: true,
            helpers: None,
        }
    }

    /// The same, where a server that answers within this time is near: one that is not selects a mailbox
    /// again faster than it answers, and what was appended is looked at behind its last message.
    #[must_use]
    pub fn with_near(self, near: Duration) -> Self {
        Self { near, ..self }
    }

    /// Has others send along, where the server wants to be asked before each message (it has no
    /// LITERAL+, RFC 7888) and does not have them wait for each other, and helps them when it has no
    /// mailbox of its own any more. Messages then come into a mailbox in about the order in which they
    /// are sent.
    pub fn share(&mut self, helpers: &Arc<Helpers>) {
        self.helpers = self.is_faster_shared().then(|| Working::of(helpers.clone()));
    }

    /// What is known of the server.
    #[must_use]
    pub fn server(&self) -> &Server {
        self.connection.server()
    }

    /// The time to the server and back, at most.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        self.connection.round_trip()
    }

    /// Runs one command for each name; gives its status, or none where a command cannot hold the name.
    async fn together(
        &mut self,
        verb: &str,
        names: &[WireName],
        action: &str,
    ) -> Result<Vec<Option<Status>>, Fault> {
        let mut all = Vec::with_capacity(names.len());
        // So many that neither side's buffers fill up while nobody reads.
        for part in names.chunks(50) {
            let named: Vec<Option<String>> =
                part.iter().map(|name| self.connection.quoted(name).ok()).collect();
            let commands = named.iter().flatten().map(|name| format!("{verb} {name}"));
            let commands: Vec<String> = commands.collect();
            let mut statuses =
                self.connection.run_together(&commands, action).await?.statuses.into_iter();
            all.extend(named.iter().map(|name| name.as_ref().and_then(|_| statuses.next())));
        }
        Ok(all)
    }

    /// What the answer to a CREATE says.
    async fn made(&mut self, name: &WireName, status: Status) -> Result<Made, Fault> {
        if status.kind == StatusKind::Ok {
            return Ok(Made::New);
        }
        if status.code == "ALREADYEXISTS" {
            return Ok(Made::There);
        }
        // Servers say "it exists" in many words; whether it does is what counts.
        let action = creating(name);
        let quoted = self.connection.quoted(name)?;
        let known = self.connection.run(&format!("STATUS {quoted} (UIDNEXT)"), &action).await?;
        if known.status.kind == StatusKind::Ok {
            return Ok(Made::There);
        }
        Err(reply::fault(action, status, Scope::Mailbox).at(self.connection.side()))
    }

    /// The connection with its mailbox selected, though it was left for an APPEND.
    async fn selected(&mut self) -> Result<&mut Connection, Fault> {
        self.shown = Seen::default();
        if let Some(open) = self.open.as_ref().filter(|_| self.is_left) {
            let selected = self.connection.select(Select::Select, &open.name).await?;
            if selected.uid_validity != open.uid_validity {
                let action = format!("open {} again", open.name.0.escape_ascii());
                let fault = Fault::session(action, "the mailbox has got a new UIDVALIDITY");
                return Err(fault.at(self.connection.side()));
            }
            self.is_left = false;
        }
        Ok(&mut self.connection)
    }

    /// Whether its mailbox is left while messages are appended: a server that is sent one by one looks at
    /// the selected mailbox after each (Dovecot spends a third of its time so). To select it again is a
    /// round trip, which few messages are not worth.
    fn leaves(&self, messages: usize) -> bool {
        let capabilities = self.connection.capabilities();
        messages >= LEAVE_MESSAGES_MIN
            && capabilities.has("UNSELECT")
            && capabilities.has("LITERAL+")
            && !capabilities.has("MULTIAPPEND")
    }

    /// What is done with the open mailbox while messages are appended. A look behind them saves a round trip,
    /// where messages are not asked for one by one.
    fn around(&self, ahead: &Ahead) -> Around {
        let open = self.open.as_ref();
        let looks = self.connection.round_trip() >= self.near
            && self.connection.capabilities().has("LITERAL+")
            && open.is_some_and(|open| open.uid_validity.is_some())
            && (1..=LOOK_MESSAGES_MAX).contains(&ahead.messages);
        Around {
            leaves: self.leaves(ahead.messages) && !self.is_left,
            looks: ahead.lo.filter(|_| looks).map(|lo| (ahead.messages, lo)),
        }
    }

    async fn found(&mut self, set: &str) -> Result<Vec<Found>, Fault> {
        let action = "look at what is on the target";
        self.selected().await?;
        // Some servers (Courier) show what was appended only after a NOOP.
        self.connection.run_ok("NOOP", action, Scope::Session).await?;
        let command = format!("UID FETCH {set} (UID RFC822.SIZE INTERNALDATE FLAGS)");
        let fetched = listing::messages(&mut self.connection, &command, action).await?;
        Ok(all_found(fetched))
    }
}

fn creating(name: &WireName) -> String {
    format!("create the mailbox {}", name.0.escape_ascii())
}

/// What was told whole of messages, ascending.
fn all_found(fetched: Vec<Fetched>) -> Vec<Found> {
    let found = fetched.into_iter().filter_map(|fetched| {
        Some(Found {
            uid: fetched.uid?,
            size: fetched.size?,
            date: fetched.date,
            flags: fetched.flags.unwrap_or_else(Flags::default),
        })
    });
    let mut found: Vec<Found> = found.collect();
    found.sort_by_key(|found| found.uid);
    found.dedup_by_key(|found| found.uid);
    found
}

impl Target for ImapTarget {
    async fn list(&mut self) -> Result<Vec<Mailbox>, Fault> {
        listing::mailboxes(&mut self.connection, Namespaces::default()).await
    }

    fn naming(&self) -> Naming {
        Naming::of_hierarchy(self.connection.hierarchy())
    }

    fn spell(&self, path: &MailboxPath) -> Option<WireName> {
        self.connection.hierarchy().name(path)
    }

    async fn create(
        &mut self,
        name: &WireName,
        special_use: Option<SpecialUse>,
    ) -> Result<Made, Fault> {
        let quoted = self.connection.quoted(name)?;
        let action = creating(name);
        let attribute = special_use
            .filter(|_| self.connection.capabilities().has("CREATE-SPECIAL-USE"))
            .map(|special_use| format!(" (USE ({}))", listing::attribute(special_use)));
        if let Some(attribute) = attribute {
            let command = format!("CREATE {quoted}{attribute}");
            if self.connection.run(&command, &action).await?.status.kind == StatusKind::Ok {
                return Ok(Made::New);
            }
        }
        let done = self.connection.run(&format!("CREATE {quoted}"), &action).await?;
        self.made(name, done.status).await
    }

    async fn create_together(
        &mut self,
        names: &[WireName],
    ) -> Result<Vec<Result<Made, Fault>>, Fault> {
        let statuses = self.together("CREATE", names, "create mailboxes").await?;
        let mut created = Vec::with_capacity(names.len());
        for (name, status) in names.iter().zip(statuses) {
            let made = match status {
                Some(status) => self.made(name, status).await,
                // The name is what is wrong.
                None => self.connection.quoted(name).map(|_| Made::There),
            };
            match made {
                Err(fault) if fault.scope > Scope::Mailbox => return Err(fault),
                made => created.push(made),
            }
        }
        Ok(created)
    }

    async fn subscribe_together(&mut self, names: &[WireName]) -> Result<Vec<bool>, Fault> {
        let statuses = self.together("SUBSCRIBE", names, "subscribe to mailboxes").await?;
        let is_ok = |status: Option<Status>| status.is_some_and(|it| it.kind == StatusKind::Ok);
        Ok(statuses.into_iter().map(is_ok).collect())
    }

    async fn subscribe(&mut self, name: &WireName) -> Result<(), Fault> {
        let quoted = self.connection.quoted(name)?;
        let action = format!("subscribe to {}", name.0.escape_ascii());
        self.connection.run_ok(&format!("SUBSCRIBE {quoted}"), &action, Scope::Mailbox).await?;
        Ok(())
    }

    async fn open(&mut self, name: &WireName) -> Result<Destination, Fault> {
        (self.is_left, self.shown) = (false, Seen::default());
        let selected = self.connection.select(Select::Select, name).await?;
        let uid_next = listing::uid_next(&mut self.connection, name, &selected).await?;
        let permanent = selected.permanent_flags;
        let storable = match self.open.take() {
            Some(before) => before.storable.next(permanent),
            None => Storable::new(permanent),
        };
        let storable = Arc::new(storable);
        let uid_validity = selected.uid_validity;
        self.open = Some(OpenMailbox { name: name.clone(), uid_validity, uid_next, storable });
        Ok(Destination { uid_validity, uid_next, messages: u64::from(selected.exists) })
    }

    async fn statuses(&mut self, names: &[WireName]) -> Result<Vec<Option<MailboxStatus>>, Fault> {
        listing::statuses(&mut self.connection, names).await
    }

    async fn listed(&mut self, uids: RangeInclusive<Uid>) -> Result<Vec<Uid>, Fault> {
        listing::uids(self.selected().await?, uids).await
    }

    async fn look_in(&mut self, uids: RangeInclusive<Uid>) -> Result<Vec<Found>, Fault> {
        let (first, last) = (uids.start(), uids.end());
        let set = match last.0 {
            u32::MAX => format!("{first}:*"),
            last => format!("{first}:{last}"),
        };
        let mut found = self.found(&set).await?;
        // `n:*` names the last message even where its UID is below n (RFC 9051 section 9, seq-range).
        found.retain(|found| uids.contains(&found.uid) || mutant::is(Mutant::RangeWithoutFilter));
        Ok(found)
    }

    async fn read_back(&mut self, uids: &[Uid]) -> Result<Vec<Found>, Fault> {
        let mut found = Vec::with_capacity(uids.len());
        // A command line of a few KiB is what every server takes.
        for part in uids.chunks(400) {
            found.extend(self.found(&uid_set(part)).await?);
        }
        found.retain(|found| uids.binary_search(&found.uid).is_ok());
        Ok(found)
    }

    async fn glance(
        &mut self,
        uids: &[Uid],
        bodies: &[Uid],
    ) -> Result<(Vec<Found>, BTreeMap<Uid, Identity>), Fault> {
        let mut seen = std::mem::take(&mut self.shown);
        let mut found = all_found(std::mem::take(&mut seen.attributes));
        let is_shown = |uid: &&Uid| found.binary_search_by_key(*uid, |found| found.uid).is_ok();
        let unseen: Vec<Uid> = uids.iter().filter(|uid| !is_shown(uid)).copied().collect();
        let unread = bodies.iter().filter(|uid| !seen.identities.contains_key(uid));
        let unread: Vec<Uid> = unread.copied().collect();
        if !unseen.is_empty() || !unread.is_empty() {
            let more = download::glance(self.selected().await?, &unseen, &unread).await?;
            found.extend(all_found(more.attributes));
            seen.identities.extend(more.identities);
        }
        found.retain(|found| uids.binary_search(&found.uid).is_ok());
        found.sort_by_key(|found| found.uid);
        found.dedup_by_key(|found| found.uid);
        let identities = seen.identities.into_iter();
        let identities = identities.filter(|(uid, _)| bodies.binary_search(uid).is_ok());
        Ok((found, identities.map(|(uid, (_, identity))| (uid, identity)).collect()))
    }

    async fn identify(&mut self, uids: &[Uid]) -> Result<BTreeMap<Uid, Identity>, Fault> {
        let read = download::identities(self.selected().await?, uids).await?;
        Ok(read.into_iter().map(|(uid, (_, identity))| (uid, identity)).collect())
    }

    async fn headers(&mut self, uids: &[Uid]) -> Result<BTreeMap<Uid, HeaderKeys>, Fault> {
        download::headers(self.selected().await?, uids).await
    }

    async fn append(
        &mut self,
        ahead: &Ahead,
        windows: mpsc::Receiver<Outgoing>,
        answers: mpsc::Sender<Answered>,
    ) -> Result<(), Fault> {
        self.try_keywords(&ahead.keywords).await?;
        let around = self.around(ahead);
        self.is_left |= around.leaves;
        self.shown = Seen::default();
        let side = self.connection.side();
        let limits = append::Limits::of(self.connection.capabilities(), self.windows_in_flight_max);
        let Some(open) = &mut self.open else {
            debug_assert!(false, "append before open");
            return Ok(());
        };
        let name = crate::imap::names::quoted(&open.name).unwrap_or_default();
        let limits = if self.helpers.is_some() { limits.shared() } else { limits };
        let appending = Arc::new(Appending {
            name,
            limits,
            storable: open.storable.clone(),
            windows: Windows::new(windows),
            answers,
        });
        let (reader, writer) = self.connection.lend();
        let append = append::append(reader, writer, &appending, around);
        let Appended { outcome, slowest, shown } = match &self.helpers {
            Some(Working(helpers)) => helpers.append(appending.clone(), append).await,
            None => append.await,
        };
        self.slowest_append = self.slowest_append.max(slowest);
        if let Some(shown) = shown {
            let is_it = shown.uid_validity.is_some_and(|now| Some(now) == open.uid_validity);
            // Whatever it is, it is selected again before anything else is asked.
            self.is_left = !is_it;
            self.shown = if is_it { shown } else { Seen::default() };
        }
        outcome.map_err(|fault| fault.at(side))
    }

    async fn change_flags(
        &mut self,
        uids: &[Uid],
        change: FlagChange,
        names: &[String],
    ) -> Result<Vec<String>, Fault> {
        self.store(uids, change, names).await
    }

    async fn acl(&mut self, name: &WireName) -> Result<Option<Acl>, Fault> {
        sharing::acl(&mut self.connection, name).await
    }

    async fn metadata(&mut self, name: &WireName) -> Result<Option<Metadata>, Fault> {
        sharing::metadata(&mut self.connection, name).await
    }

    async fn grant(
        &mut self,
        name: &WireName,
        identifier: &str,
        rights: &Rights,
    ) -> Result<(), Fault> {
        sharing::grant(&mut self.connection, name, identifier, rights).await
    }

    async fn annotate(&mut self, name: &WireName, entry: &str, value: &[u8]) -> Result<(), Fault> {
        sharing::annotate(&mut self.connection, name, entry, value).await
    }

    async fn quota(&mut self) -> Result<Option<Quota>, Fault> {
        sharing::quota(&mut self.connection).await
    }

    fn slowest_append(&self) -> Duration {
        self.slowest_append
    }

    fn is_faster_shared(&self) -> bool {
        !self.connection.capabilities().has("LITERAL+") && !self.connection.habits().appends_in_turn
    }

    async fn retire(mut self) {
        if let Some(working) = self.helpers.take() {
            let helpers = working.0.clone();
            drop(working);
            helpers.help(&mut self.connection).await;
        }
        self.log_out().await;
    }

    async fn log_out(self) {
        self.connection.log_out().await;
    }

    fn keeps_one(&self) -> bool {
        self.connection.capabilities().has("X-GM-EXT-1")
    }

    fn can_stage(&self) -> bool {
        let capabilities = self.connection.capabilities();
        capabilities.has("MOVE") && capabilities.has("UIDPLUS")
    }

    async fn create_own(&mut self, name: &OwnName) -> Result<Created, Fault> {
        self.create_own_mailbox(name).await
    }

    async fn open_own(&mut self, name: &OwnName) -> Result<Option<Destination>, Fault> {
        self.open_own_mailbox(name).await
    }

    async fn delete_own(&mut self, name: &OwnName) -> Result<Deleted, Fault> {
        self.delete_own_mailbox(name).await
    }

    async fn move_out(
        &mut self,
        from: &OwnName,
        uids: &[Uid],
        into: &WireName,
    ) -> Result<Moved, Fault> {
        let is_open =
            self.open.as_ref().map(|open| &open.name) == self.spell(&from.path()).as_ref();
        if !is_open && self.open_own(from).await?.is_none() {
            return Ok(Moved::Unknown(format!("{from} is not there any more")));
        }
        self.move_open(uids, into).await
    }

    async fn move_in(&mut self, uid: Uid, into: &OwnName) -> Result<Moved, Fault> {
        match self.spell(&into.path()) {
            Some(into) => self.move_open(&[uid], &into).await,
            None => Ok(Moved::Unknown("its names cannot hold it".to_owned())),
        }
    }

    async fn move_copies(&mut self, moves: &[OpenMove], into: &WireName) -> Result<Moved, Fault> {
        let mut uids: Vec<Uid> = moves.iter().map(|one| one.intent.target_uid).collect();
        uids.sort_unstable();
        self.move_open(&uids, into).await
    }

    async fn object_ids(&mut self, uids: &[Uid]) -> Result<Vec<(Uid, ObjectId)>, Fault> {
        self.ids_of(uids).await
    }
}
