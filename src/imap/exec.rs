//! A logged-in connection, and commands with their honest outcome.

use std::collections::BTreeSet;
use std::time::Duration;

use async_imap::Session;
use async_imap::imap_proto::Response;
use bytes::Bytes;
use tokio::time::Instant;

use super::names::{self, Foreign, Hierarchy};
use super::reply::{self, Refusal, Status, StatusKind, Untagged, Value};
use super::wire::{BulkReader, BulkWriter, HEARD_BYTES_MAX, Incoming, Wire};
use crate::fault::{Fault, Remedy, Scope, Side};
use crate::mail::{Namespace, Namespaces, Uid, UidValidity, WireName};

/// No literal is larger in what is asked for here: names.
const LITERAL_BYTES_MAX: u64 = 64 * 1024;

/// What a server can do, in upper case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities(BTreeSet<String>);

impl Capabilities {
    /// The capabilities in a status' code, if it has them.
    #[must_use]
    pub fn from_code(status: &Status) -> Option<Self> {
        (status.code == "CAPABILITY").then(|| Self::of(&status.code_data))
    }

    /// The last untagged CAPABILITY among responses.
    #[must_use]
    pub fn from_untagged(responses: &[Bytes]) -> Option<Self> {
        responses.iter().rev().find_map(|response| {
            let line = std::str::from_utf8(response.strip_prefix(b"* ")?).ok()?;
            let (word, rest) = line.trim().split_once(' ')?;
            word.eq_ignore_ascii_case("CAPABILITY").then(|| Self::of(rest))
        })
    }

    fn of(words: &str) -> Self {
        Self(words.split_ascii_whitespace().map(str::to_ascii_uppercase).collect())
    }

    /// Whether this capability is announced.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// Whether one is announced that begins so.
    #[must_use]
    pub fn has_prefix(&self, prefix: &str) -> bool {
        self.0.iter().any(|word| word.starts_with(prefix))
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The largest message the server takes, in octets (RFC 7889).
    #[must_use]
    pub fn append_limit(&self) -> Option<u64> {
        self.0.iter().find_map(|word| word.strip_prefix("APPENDLIMIT=")?.parse().ok())
    }
}

const ALL_MAILBOXES: &str = "LIST \"\" \"*\"";

/// What a connection has learnt of its server, for further ones to the same account.
#[derive(Debug, Clone, Default)]
pub struct Server {
    capabilities: Capabilities,
    hierarchy: Hierarchy,
}

impl Server {
    /// One that has announced these.
    pub(super) fn announcing(capabilities: Capabilities) -> Self {
        Self { capabilities, hierarchy: Hierarchy::default() }
    }
}

/// What is known of a server by its greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Habits {
    /// Exchange makes each message anew from what it has taken in of it.
    pub rewrites: bool,
    /// Courier locks a mailbox for each APPEND, by a file that whoever waits looks for once a second: of four
    /// connections that append to one mailbox over 40 ms, two were seen to wait for two minutes.
    pub appends_in_turn: bool,
}

impl Habits {
    /// The greetings of Exchange have had several forms, with these words in each.
    pub(super) fn of(greeting: &str) -> Self {
        Self {
            rewrites: greeting.contains("Microsoft Exchange"),
            appends_in_turn: greeting.contains("Courier-IMAP"),
        }
    }
}

/// A logged-in connection.
pub struct Connection {
    session: Session<Wire>,
    server: Server,
    habits: Habits,
    side: Side,
    /// What a LIST and LSUB brought that went out with the question for the names' form, as long as
    /// nothing else was asked.
    listed_ahead: Option<Together>,
    /// The shortest time in which anything was answered.
    round_trip: Duration,
}

/// What came of the question for compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compressed {
    Begun,
    Refused,
}

/// What a completed command brought.
#[derive(Debug)]
pub struct Done {
    /// The tagged status.
    pub status: Status,
    /// Every untagged response before it, as sent.
    pub untagged: Vec<Bytes>,
}

/// What commands brought that were sent together.
#[derive(Debug)]
pub struct Together {
    /// The tagged status of each.
    pub statuses: Vec<Status>,
    /// Every untagged response, as sent. Of which command it tells its content says, not its place:
    /// servers answer as they are ready.
    pub untagged: Vec<Bytes>,
}

/// The mailboxes of an account.
#[derive(Debug)]
pub struct Listed {
    /// Each mailbox, once.
    pub lines: Vec<ListLine>,
    /// The names of those that are subscribed.
    pub subscribed: BTreeSet<WireName>,
    /// All that the server said, STATUS among it where it was asked for with the list.
    pub untagged: Vec<Bytes>,
}

/// What SELECT or EXAMINE told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selected {
    /// The mailbox's UIDVALIDITY; none where the server gives none that lasts.
    pub uid_validity: Option<UidValidity>,
    /// The UID that the next message will have, at least; none where the server does not tell.
    pub uid_next: Option<Uid>,
    /// Messages in the mailbox.
    pub exists: u32,
    /// The keywords that can be stored (PERMANENTFLAGS), as the server spells them; none where the
    /// server does not tell.
    pub permanent_flags: Option<Vec<String>>,
    /// Its HIGHESTMODSEQ (RFC 7162 section 3.1.2.1); none where it keeps none.
    pub highest_modseq: Option<u64>,
}

/// How a mailbox is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Select {
    /// EXAMINE: only to read.
    Examine,
    /// SELECT.
    Select,
}

impl Connection {
    pub(super) fn new(session: Session<Wire>, server: Server, habits: Habits, side: Side) -> Self {
        Self { session, server, habits, side, listed_ahead: None, round_trip: Duration::MAX }
    }

    /// What was learnt of the server.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// What is known of the server by its greeting.
    #[must_use]
    pub fn habits(&self) -> Habits {
        self.habits
    }

    /// What the server announced after the login.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.server.capabilities
    }

    /// Whether the server offers compression (RFC 4978).
    #[must_use]
    pub fn offers_compression(&self) -> bool {
        self.server.capabilities.has("COMPRESS=DEFLATE")
    }

    /// How the server builds names.
    #[must_use]
    pub fn hierarchy(&self) -> &Hierarchy {
        &self.server.hierarchy
    }

    /// The time to the server and back, at most: the shortest in which it answered anything.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// Which end this is.
    #[must_use]
    pub fn side(&self) -> Side {
        self.side
    }

    /// Both directions for bulk transfer; only while no command is in flight.
    pub fn lend(&mut self) -> (BulkReader<'_>, BulkWriter<'_>) {
        self.listed_ahead = None;
        self.session.get_mut().lend()
    }

    /// Runs a command to its tagged status, whatever that says.
    ///
    /// # Errors
    ///
    /// A session fault where no tagged status comes; the server's BYE is its cause if there was one.
    pub async fn run(&mut self, command: &str, action: &str) -> Result<Done, Fault> {
        let sent = Instant::now();
        let outcome = self.tagged_status(command).await;
        self.round_trip = self.round_trip.min(sent.elapsed());
        let mut untagged = self.session.get_mut().take_heard();
        let broken = match outcome {
            Ok(()) => {
                let status = untagged.pop().and_then(|line| Some(reply::tagged(&line)?.1));
                match status {
                    Some(status) => return Ok(Done { status, untagged }),
                    None => "the server's answer is no status".into(),
                }
            }
            Err(error) => error,
        };
        let bye = untagged.iter().rev().find_map(|line| {
            let status = line.strip_prefix(b"* ").and_then(Status::parse)?;
            (status.kind == StatusKind::Bye).then_some(status)
        });
        let fault = match bye {
            Some(status) => Fault::session(action, Refusal(status)),
            None => Fault::session(action, broken),
        };
        Err(fault.at(self.side))
    }

    async fn tagged_status(
        &mut self,
        command: &str,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.listed_ahead = None;
        self.session.get_mut().take_heard();
        let id = self.session.run_command(command).await?;
        let response = self.session.read_response().await?.ok_or("the connection ended")?;
        match response.parsed() {
            Response::Done { tag, .. } if *tag == id => Ok(()),
            Response::Done { .. } => Err("the server answered an unknown tag".into()),
            // Nothing we send this way waits for a continuation.
            _ => Err("the server answered out of turn".into()),
        }
    }

    /// Runs a command that must succeed; gives its untagged responses.
    ///
    /// # Errors
    ///
    /// The refusal as [`reply::fault`] reads it, with scope `otherwise` where no code says more.
    pub async fn run_ok(
        &mut self,
        command: &str,
        action: &str,
        otherwise: Scope,
    ) -> Result<Done, Fault> {
        let done = self.run(command, action).await?;
        match done.status.kind {
            StatusKind::Ok => Ok(done),
            _ => Err(reply::fault(action, done.status, otherwise).at(self.side)),
        }
    }

    /// Runs commands in one round trip, each to its tagged status, whatever that says. None of them may
    /// need what another one brings.
    ///
    /// # Errors
    ///
    /// As [`Connection::run`].
    pub async fn run_together(
        &mut self,
        commands: &[String],
        action: &str,
    ) -> Result<Together, Fault> {
        let side = self.side;
        let broken = |error: std::io::Error| Fault::session(action, error).at(side);
        let tag = |index: usize| format!("T{index}");
        let (mut reader, mut writer) = self.lend();
        let lines = commands.iter().enumerate();
        let lines: String =
            lines.map(|(index, command)| format!("{} {command}\r\n", tag(index))).collect();
        let sent = Instant::now();
        writer.write(lines.as_bytes()).await.map_err(broken)?;
        writer.flush().await.map_err(broken)?;
        let mut statuses: Vec<Option<Status>> = commands.iter().map(|_| None).collect();
        let (mut untagged, mut heard_bytes) = (Vec::new(), 0);
        while statuses.iter().any(Option::is_none) {
            let response = match reader.response(LITERAL_BYTES_MAX).await.map_err(broken)? {
                Incoming::Response(response) => response,
                Incoming::Large { literal_bytes, .. } => {
                    reader.discard(literal_bytes).await.map_err(broken)?;
                    continue;
                }
            };
            heard_bytes += response.len();
            if heard_bytes > HEARD_BYTES_MAX {
                let cause = "the server's answer to one command is too large";
                return Err(Fault::session(action, cause).at(side));
            }
            if let Some((told, status)) = reply::tagged(&response) {
                let at = (0..commands.len()).find(|index| told == tag(*index).as_bytes());
                let Some(open) = at.map(|at| &mut statuses[at]).filter(|open| open.is_none())
                else {
                    let cause = "the server answered an unknown tag";
                    return Err(Fault::session(action, cause).at(side));
                };
                *open = Some(status);
            } else if let Untagged::Bye(status) = Untagged::parse(&response) {
                return Err(Fault::session(action, Refusal(status)).at(side));
            } else {
                untagged.push(response);
            }
        }
        self.round_trip = self.round_trip.min(sent.elapsed());
        Ok(Together { statuses: statuses.into_iter().flatten().collect(), untagged })
    }

    /// Runs a command that ends in a literal and what closes it. The server is asked before the literal is
    /// sent, whatever it announces: one that dislikes the command would read it as commands.
    ///
    /// # Errors
    ///
    /// As [`Connection::run`].
    pub async fn run_with_literal(
        &mut self,
        command: &str,
        literal: &[u8],
        end: &str,
        action: &str,
    ) -> Result<Status, Fault> {
        let side = self.side;
        let (reader, writer) = self.lend();
        let status = ask_and_send(reader, writer, command, literal, end).await;
        status.map_err(|cause| Fault::session(action, cause).at(side))
    }

    /// Goes on compressed, where the server agrees (RFC 4978); what refuses stays as it is. Whether the
    /// server can do it, its next answer shows.
    pub(super) async fn compress(&mut self) -> Result<Compressed, Fault> {
        let done = self.run("COMPRESS DEFLATE", "begin compression").await?;
        if done.status.kind != StatusKind::Ok {
            return Ok(Compressed::Refused);
        }
        self.session.get_mut().compress();
        Ok(Compressed::Begun)
    }

    /// Asks a server what it can do that did not announce it.
    pub(super) async fn learn_capabilities(&mut self) -> Result<(), Fault> {
        if !self.server.capabilities.is_empty() {
            return Ok(());
        }
        let done = self.run_ok("CAPABILITY", "ask what the server can do", Scope::Account).await?;
        self.server.capabilities = Capabilities::from_untagged(&done.untagged).unwrap_or_default();
        Ok(())
    }

    /// Learns prefix and delimiter: from NAMESPACE (RFC 2342), else from the root's LIST. Whoever asks that lists
    /// the mailboxes next, so they are asked for in the same round trip.
    pub(super) async fn learn_hierarchy(&mut self) -> Result<(), Fault> {
        const ACTION: &str = "ask how mailboxes are named";
        if self.server.capabilities.has("NAMESPACE") {
            let [list, lsub] = self.listing();
            let commands = [list, lsub, "NAMESPACE".to_owned()];
            let mut together = self.run_together(&commands, ACTION).await?;
            if let Some(hierarchy) = together.untagged.iter().find_map(namespaces) {
                self.server.hierarchy = hierarchy;
                together.statuses.truncate(2);
                self.listed_ahead = Some(together);
                return Ok(());
            }
        }
        let mut done = self.run("LIST \"\" \"\"", ACTION).await?;
        if done.status.kind != StatusKind::Ok {
            done = self.run("LIST \"\" \"INBOX\"", ACTION).await?;
        }
        if done.status.kind != StatusKind::Ok {
            // Without the delimiter each mailbox below another would get a wrong name.
            return Err(reply::fault(ACTION, done.status, Scope::Account).at(self.side));
        }
        let delimiter = done.untagged.iter().find_map(|line| ListLine::parse(line, "LIST"));
        let delimiter = delimiter.and_then(|line| line.delimiter);
        self.server.hierarchy = Hierarchy { delimiter, ..Hierarchy::default() };
        Ok(())
    }

    /// The commands that list all mailboxes as richly as the server can. A source tells in the same answer how
    /// they stand, where it can do that (LIST-STATUS, RFC 5819).
    fn listing(&self) -> [String; 2] {
        let can = |capability| self.server.capabilities.has(capability);
        let mut options = Vec::new();
        if can("LIST-EXTENDED") && can("SPECIAL-USE") {
            options.push("SPECIAL-USE".to_owned());
        }
        if can("LIST-EXTENDED") && can("LIST-STATUS") && self.side == Side::Source {
            options.push(format!("STATUS ({})", self.status_items()));
        }
        let list = match options.as_slice() {
            [] => ALL_MAILBOXES.to_owned(),
            options => format!("{ALL_MAILBOXES} RETURN ({})", options.join(" ")),
        };
        [list, "LSUB \"\" \"*\"".to_owned()]
    }

    /// What STATUS is to tell of a mailbox.
    #[must_use]
    pub fn status_items(&self) -> String {
        let more = [("STATUS=SIZE", " SIZE"), ("CONDSTORE", " HIGHESTMODSEQ")].into_iter();
        let more = more.filter(|(capability, _)| self.server.capabilities.has(capability));
        more.fold("MESSAGES UIDNEXT UIDVALIDITY".to_owned(), |items, (_, item)| items + item)
    }

    /// Lists every mailbox that the server tells of unasked, INBOX, and what is in namespaces of others
    /// that are `asked` for (Courier tells of them only then), each name once; with the names of subscribed
    /// ones, none where the server refuses to tell.
    ///
    /// # Errors
    ///
    /// A server that refuses to list cannot be copied: an account fault.
    pub async fn list(&mut self, asked: Namespaces) -> Result<Listed, Fault> {
        let action = "list the mailboxes";
        let commands = self.listing();
        let told = match self.listed_ahead.take() {
            Some(told) => told,
            None => self.run_together(&commands, action).await?,
        };
        let Together { mut statuses, mut untagged } = told;
        if commands[0] != ALL_MAILBOXES && statuses[0].kind != StatusKind::Ok {
            // Some announce it and cannot (Proton Bridge).
            let mut again = self.run_together(&[ALL_MAILBOXES.to_owned()], action).await?;
            statuses[0] = again.statuses.remove(0);
            untagged.append(&mut again.untagged);
        }
        let foreign = self.server.hierarchy.foreign.iter();
        let foreign = foreign.filter(|foreign| asked.has(foreign.namespace));
        let all_of = |foreign: &Foreign| {
            let pattern = WireName([foreign.prefix.as_slice(), b"*"].concat());
            Some(format!("LIST \"\" {}", names::quoted(&pattern)?))
        };
        let of_others: Vec<String> = foreign.filter_map(all_of).collect();
        if !of_others.is_empty() {
            untagged.append(&mut self.run_together(&of_others, action).await?.untagged);
        }
        let status = statuses.swap_remove(0);
        if status.kind != StatusKind::Ok {
            return Err(reply::fault(action, status, Scope::Account).at(self.side));
        }
        let mut listed = unique(untagged.iter().filter_map(|line| ListLine::parse(line, "LIST")));
        let is_inbox = |line: &ListLine| line.name.0.eq_ignore_ascii_case(b"INBOX");
        if !listed.iter().any(is_inbox) {
            // Some leave it out (strato, 2020), and it has most of the mail.
            let status = self.run("STATUS INBOX (UIDNEXT)", action).await?.status;
            if status.kind == StatusKind::Ok {
                listed.push(ListLine::inbox());
            }
        }
        let subscribed = untagged.iter().filter_map(|line| ListLine::parse(line, "LSUB"));
        // LSUB marks a parent that is not itself subscribed with \Noselect (RFC 3501 section 6.3.9).
        let subscribed = subscribed.filter(|line| !line.has("\\Noselect")).map(|line| line.name);
        Ok(Listed { lines: listed, subscribed: subscribed.collect(), untagged })
    }

    /// Opens a mailbox. One that is only read is asked for its HIGHESTMODSEQ, where the server keeps
    /// any (CONDSTORE).
    ///
    /// # Errors
    ///
    /// A mailbox fault where the server refuses.
    pub async fn select(&mut self, how: Select, name: &WireName) -> Result<Selected, Fault> {
        let (selected, _) = self.select_and(how, name, None).await?;
        Ok(selected)
    }

    /// As [`Connection::select`], with a further command sent along that needs the mailbox open. Gives
    /// what came with that one, too, where it was done.
    ///
    /// # Errors
    ///
    /// As [`Connection::select`].
    pub async fn select_and(
        &mut self,
        how: Select,
        name: &WireName,
        and: Option<String>,
    ) -> Result<(Selected, Option<Vec<Bytes>>), Fault> {
        let action = format!("open {}", String::from_utf8_lossy(&name.0).escape_debug());
        let quoted = self.quoted(name)?;
        let select = match how {
            Select::Examine if self.server.capabilities.has("CONDSTORE") => {
                format!("EXAMINE {quoted} (CONDSTORE)")
            }
            Select::Examine => format!("EXAMINE {quoted}"),
            Select::Select => format!("SELECT {quoted}"),
        };
        let commands: Vec<String> = [select].into_iter().chain(and).collect();
        let Together { mut statuses, untagged } = self.run_together(&commands, &action).await?;
        let further = statuses.split_off(1);
        let status = statuses.swap_remove(0);
        if status.kind != StatusKind::Ok {
            return Err(reply::fault(action, status, Scope::Mailbox).at(self.side));
        }
        let selected = Selected::of(&untagged);
        let is_done = further.first().is_some_and(|status| status.kind == StatusKind::Ok);
        Ok((selected, is_done.then_some(untagged)))
    }

    /// A name as a command's argument.
    ///
    /// # Errors
    ///
    /// A mailbox fault where it cannot be one.
    pub fn quoted(&self, name: &WireName) -> Result<String, Fault> {
        names::quoted(name).ok_or_else(|| {
            let action = format!("name the mailbox {}", name.0.escape_ascii());
            let cause = "its name holds octets that are neither ASCII nor UTF-8, or a line end; \
                         rename it and run again";
            Fault::new(Scope::Mailbox, Remedy::Nothing, action, cause).at(self.side)
        })
    }

    /// Says goodbye; what the server answers does not matter.
    pub async fn log_out(mut self) {
        let _ = self.run("LOGOUT", "log out").await;
    }
}

async fn ask_and_send(
    mut reader: BulkReader<'_>,
    mut writer: BulkWriter<'_>,
    command: &str,
    literal: &[u8],
    end: &str,
) -> Result<Status, Box<dyn std::error::Error + Send + Sync>> {
    writer.write(format!("L1 {command} {{{}}}\r\n", literal.len()).as_bytes()).await?;
    writer.flush().await?;
    let mut is_sent = false;
    loop {
        let response = match reader.response(LITERAL_BYTES_MAX).await? {
            Incoming::Response(response) => response,
            Incoming::Large { literal_bytes, .. } => {
                reader.discard(literal_bytes).await?;
                continue;
            }
        };
        if response.starts_with(b"+") {
            if is_sent {
                return Err("the server asked for a literal twice".into());
            }
            is_sent = true;
            writer.write(&[literal, end.as_bytes(), b"\r\n"].concat()).await?;
            writer.flush().await?;
        } else if let Some((tag, status)) = reply::tagged(&response) {
            return if tag == b"L1" {
                Ok(status)
            } else {
                Err("the server answered an unknown tag".into())
            };
        } else if let Untagged::Bye(status) = Untagged::parse(&response) {
            return Err(Refusal(status).into());
        }
    }
}

fn unique(lines: impl Iterator<Item = ListLine>) -> Vec<ListLine> {
    let mut seen = BTreeSet::new();
    lines.filter(|line| seen.insert(line.name.clone())).collect()
}

impl Selected {
    pub(super) fn of(untagged: &[Bytes]) -> Self {
        let mut selected = Self::default();
        let mut sticky = true;
        for response in untagged {
            let Some(line) = response.strip_prefix(b"* ") else {
                continue;
            };
            // Office 365 has been seen to leave out the OK before a code.
            let is_bare = line.starts_with(b"[");
            let bare = || Status::parse(&[b"OK ", line].concat()).filter(|_| is_bare);
            if let Some(status) = Status::parse(line).or_else(bare) {
                match status.code.as_str() {
                    "UIDVALIDITY" => {
                        selected.uid_validity =
                            status.code_number().filter(|n| *n > 0).map(UidValidity);
                    }
                    "UIDNEXT" => {
                        selected.uid_next = status.code_number().filter(|n| *n > 0).map(Uid);
                    }
                    "PERMANENTFLAGS" => {
                        let data = status.code_data.trim_matches(['(', ')']);
                        let flags = data.split_ascii_whitespace().map(str::to_owned);
                        selected.permanent_flags = Some(flags.collect());
                    }
                    "HIGHESTMODSEQ" => {
                        selected.highest_modseq =
                            status.code_data.trim().parse().ok().filter(|number| *number > 0);
                    }
                    "UIDNOTSTICKY" => sticky = false,
                    _ => {}
                }
            } else if let [number, word, ..] = reply::values(&response.slice(2..)).as_slice()
                && word.text().is_some_and(|word| word.eq_ignore_ascii_case("EXISTS"))
            {
                selected.exists = number.text().and_then(|n| n.parse().ok()).unwrap_or(0);
            }
        }
        selected.uid_validity = selected.uid_validity.filter(|_| sticky);
        selected
    }
}

/// One line of LIST or LSUB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListLine {
    /// The attributes as the server spells them.
    pub attributes: Vec<String>,
    /// The hierarchy delimiter.
    pub delimiter: Option<u8>,
    /// The name, unquoted.
    pub name: WireName,
}

impl ListLine {
    fn inbox() -> Self {
        Self { attributes: Vec::new(), delimiter: None, name: WireName(b"INBOX".to_vec()) }
    }

    /// Reads an answer that begins with this word.
    fn parse(response: &Bytes, word: &str) -> Option<Self> {
        let line = response.starts_with(b"* ").then(|| response.slice(2..))?;
        let values = reply::values(&line);
        let [told, Value::List(attributes), delimiter, name, ..] = values.as_slice() else {
            return None;
        };
        if !told.text()?.eq_ignore_ascii_case(word) {
            return None;
        }
        Some(Self {
            attributes: attributes.iter().filter_map(Value::text).map(str::to_owned).collect(),
            delimiter: match delimiter {
                Value::String(text) => text.first().copied(),
                _ => None,
            },
            name: WireName(name.octets()?.to_vec()),
        })
    }

    /// Whether this attribute is given, in any case.
    #[must_use]
    pub fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|a| a.eq_ignore_ascii_case(attribute))
    }
}

/// The first personal namespace, and the prefixes of those of others (RFC 2342 section 5).
fn namespaces(response: &Bytes) -> Option<Hierarchy> {
    let line = response.starts_with(b"* ").then(|| response.slice(2..))?;
    let values = reply::values(&line);
    let [word, Value::List(personal), others @ ..] = values.as_slice() else {
        return None;
    };
    if !word.text()?.eq_ignore_ascii_case("NAMESPACE") {
        return None;
    }
    let prefix = |namespace: &Value| Some(namespace.list()?.first()?.octets()?.to_vec());
    let separator = |namespace: &Value| match namespace.list()?.get(1)? {
        Value::String(text) => text.first().copied(),
        _ => None,
    };
    personal.first()?.list()?.get(1)?;
    let kinds = [Namespace::Others, Namespace::Shared];
    let foreign = others.iter().zip(kinds).flat_map(|(namespaces, namespace)| {
        let namespaces = namespaces.list().unwrap_or_default().iter();
        namespaces.filter_map(move |one| {
            Some(Foreign { prefix: prefix(one)?, delimiter: separator(one), namespace })
        })
    });
    Some(Hierarchy {
        prefix: prefix(personal.first()?)?,
        delimiter: separator(personal.first()?),
        // A prefix of nothing would make every mailbox somebody else's.
        foreign: foreign.filter(|foreign| !foreign.prefix.is_empty()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    /// What a server hears that answers each line with the next of these, and what it says at last.
    async fn heard(answers: &[&str]) -> (String, String) {
        use std::time::Duration;
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let mut wire = Wire::new(Box::new(ours), Duration::from_secs(60));
        let serve = async {
            let (mut all, mut octets) = (String::new(), [0; 1024]);
            for answer in answers {
                let count = theirs.read(&mut octets).await.expect("it is open");
                all.push_str(str::from_utf8(&octets[..count]).expect("text"));
                theirs.write_all(answer.as_bytes()).await.expect("it is open");
            }
            all
        };
        let ask = async {
            let (reader, writer) = wire.lend();
            let literal = b"a DELETE INBOX\r\n";
            ask_and_send(reader, writer, "SETMETADATA a (b", literal, ")").await
        };
        let (status, heard) = tokio::join!(ask, serve);
        (heard, status.map_or_else(|error| error.to_string(), |status| status.to_string()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_literal_is_sent_only_after_the_servers_leave() {
        let command = "L1 SETMETADATA a (b {16}\r\n";
        let (told, said) = heard(&["+ go on\r\n", "L1 OK done\r\n"]).await;
        assert_eq!(told, format!("{command}a DELETE INBOX\r\n)\r\n"));
        assert_eq!(said, "OK done");
        let (told, said) = heard(&["L1 BAD what\r\n"]).await;
        assert_eq!((told.as_str(), said.as_str()), (command, "BAD what"));
        let (_, said) = heard(&["* BYE\r\n"]).await;
        assert_eq!(said, "the server said: BYE");
    }

    #[test]
    fn list_lines_are_unquoted() {
        let parsed =
            ListLine::parse(&line("* LIST (\\HasNoChildren \\sent) \"/\" \"a\\\"b\"\r\n"), "LIST")
                .expect("a LIST line");
        assert_eq!(parsed.name, WireName(b"a\"b".to_vec()));
        assert_eq!(parsed.delimiter, Some(b'/'));
        assert!(parsed.has("\\Sent"));
        let literal =
            ListLine::parse(&line("* LIST () \"\\\\\" {3}\r\na b\r\n"), "LIST").expect("a line");
        assert_eq!((literal.delimiter, literal.name), (Some(b'\\'), WireName(b"a b".to_vec())));
        let flat =
            ListLine::parse(&line("* LIST (\\Noinferiors) NIL INBOX\r\n"), "LIST").expect("a line");
        assert_eq!((flat.delimiter, flat.name), (None, WireName(b"INBOX".to_vec())));
    }

    #[test]
    fn the_first_personal_namespace_counts() {
        let response =
            line("* NAMESPACE ((\"INBOX.\" \".\")(\"x\" \"/\")) NIL ((\"#\" \".\"))\r\n");
        let hierarchy = namespaces(&response).expect("a namespace");
        assert_eq!(hierarchy.prefix, b"INBOX.");
        let namespace = Namespace::Shared;
        let foreign = Foreign { prefix: b"#".to_vec(), delimiter: Some(b'.'), namespace };
        assert_eq!((hierarchy.delimiter, hierarchy.foreign), (Some(b'.'), vec![foreign]));
        assert_eq!(namespaces(&line("* NAMESPACE NIL NIL NIL\r\n")), None);
    }

    #[test]
    fn a_select_is_read_and_a_validity_that_does_not_last_is_none() {
        let mut untagged = [
            "* FLAGS (\\Seen)\r\n",
            "* 172 EXISTS\r\n",
            "* OK [UIDVALIDITY 3857529045] ok\r\n",
            "* OK [UIDNEXT 4392] next\r\n",
            "* OK [PERMANENTFLAGS (\\Seen $x \\*)] ok\r\n",
        ]
        .map(line)
        .to_vec();
        let selected = Selected::of(&untagged);
        assert_eq!(selected.uid_validity, Some(UidValidity(3_857_529_045)));
        assert_eq!((selected.uid_next, selected.exists), (Some(Uid(4392)), 172));
        assert_eq!(selected.permanent_flags.as_deref().map(<[_]>::len), Some(3));
        untagged.push(line("* NO [UIDNOTSTICKY] not here\r\n"));
        assert_eq!(Selected::of(&untagged).uid_validity, None);
    }

    #[test]
    fn capabilities_are_read_with_any_spaces_and_case() {
        let heard = [line("* capability IMAP4rev1  Literal+ APPENDLIMIT=35651584\r\n")];
        let capabilities = Capabilities::from_untagged(&heard).expect("capabilities");
        assert!(capabilities.has("LITERAL+"));
        assert_eq!(capabilities.append_limit(), Some(35_651_584));
    }
}
