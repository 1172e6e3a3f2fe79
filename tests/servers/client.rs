//! A small blocking IMAP client, written apart from the library's own so that both cannot err
//! alike.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use crate::deadline::Deadline;
use crate::harness::Server;
use crate::messages::Mail;
use crate::names;

const ANSWER_LIMIT: Duration = Duration::from_secs(60);
const BUSY_LIMIT: Duration = Duration::from_secs(5);
/// Appends sent before their answers are read: few enough that the answers fit into the socket's
/// buffer.
const PIPELINE: usize = 64;

pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    commands: u32,
    literal_plus: bool,
    separator: char,
    prefix: String,
}

/// One response line; its literals are beside it and absent from the text.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) text: String,
    pub(crate) literals: Vec<Vec<u8>>,
}

/// What the server stores of one message.
pub(crate) struct Fetched {
    pub(crate) flags: String,
    pub(crate) date: String,
    pub(crate) size: usize,
    pub(crate) body: Vec<u8>,
}

/// A mailbox of LIST: its name as it goes over the wire, and its attributes in lower case.
pub(crate) struct Listed {
    pub(crate) wire_name: String,
    pub(crate) attributes: BTreeSet<String>,
}

impl Client {
    /// Logs in, after a while if the connections of before still count.
    pub(crate) fn login(server: &Server, user: &str, password: &str) -> Self {
        let deadline = Deadline::after(BUSY_LIMIT);
        loop {
            let mut client = Self::connect(server);
            let (_, answer) = client.command(&format!("LOGIN {user} {password}"));
            if answer.starts_with("OK") {
                let announced = client.ok("CAPABILITY");
                let mut lines = announced.iter().map(|response| &response.text);
                client.literal_plus = lines.any(|line| line.contains(" LITERAL+"));
                return client;
            }
            let busy = answer.starts_with("NO [LIMIT]") && !deadline.is_over();
            assert!(busy, "LOGIN {user}: {answer}");
            sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(ANSWER_LIMIT)).unwrap();
        stream.set_write_timeout(Some(ANSWER_LIMIT)).unwrap();
        let mut client = Self {
            stream: BufReader::with_capacity(1 << 18, stream),
            commands: 0,
            literal_plus: false,
            separator: server.separator,
            prefix: server.prefix.clone(),
        };
        client.response();
        client
    }

    /// Sends a command and returns its untagged responses and its tagged answer without the tag.
    pub(crate) fn command(&mut self, command: &str) -> (Vec<Response>, String) {
        let tag = self.tag();
        self.send(format!("{tag} {command}\r\n").as_bytes());
        self.answer(&tag)
    }

    pub(crate) fn ok(&mut self, command: &str) -> Vec<Response> {
        let (responses, answer) = self.command(command);
        assert!(answer.starts_with("OK"), "{command}: {answer}");
        responses
    }

    pub(crate) fn create(&mut self, mailbox: &str) {
        let wire_name = self.wire_name(mailbox);
        self.ok(&format!("CREATE {}", quoted(&wire_name)));
    }

    pub(crate) fn subscribe(&mut self, mailbox: &str) {
        let wire_name = self.wire_name(mailbox);
        self.ok(&format!("SUBSCRIBE {}", quoted(&wire_name)));
    }

    /// Stores the messages in order, many in flight where the server takes literals unasked.
    pub(crate) fn append<'a>(&mut self, mails: impl IntoIterator<Item = &'a Mail>) {
        let mut tags = Vec::new();
        for mail in mails {
            let tag = self.tag();
            let mut head = format!("{tag} APPEND {}", quoted(&self.wire_name(&mail.mailbox)));
            write!(head, " ({}) \"{}\"", mail.flags.join(" "), mail.date).unwrap();
            let plus = if self.literal_plus { "+" } else { "" };
            write!(head, " {{{}{plus}}}\r\n", mail.body.len()).unwrap();
            self.send(head.as_bytes());
            if !self.literal_plus {
                let go_ahead = self.response();
                assert!(go_ahead.text.starts_with('+'), "{head}: {go_ahead:?}");
            }
            self.send(&mail.body);
            self.send(b"\r\n");
            tags.push(tag);
            if !self.literal_plus || tags.len() == PIPELINE {
                self.appended(&mut tags);
            }
        }
        self.appended(&mut tags);
    }

    fn appended(&mut self, tags: &mut Vec<String>) {
        for tag in tags.drain(..) {
            let (_, answer) = self.answer(&tag);
            assert!(answer.starts_with("OK"), "APPEND: {answer}");
        }
    }

    /// Lists every mailbox that can be opened.
    pub(crate) fn list(&mut self) -> Vec<Listed> {
        let listed = self.listed("LIST \"\" \"*\"");
        listed.into_iter().filter(|mailbox| !mailbox.attributes.contains("\\noselect")).collect()
    }

    /// Lists the subscribed mailboxes, decoded.
    pub(crate) fn subscriptions(&mut self) -> BTreeSet<String> {
        let listed = self.listed("LSUB \"\" \"*\"");
        listed
            .into_iter()
            .filter(|mailbox| !mailbox.attributes.contains("\\noselect"))
            .map(|mailbox| self.name(&mailbox.wire_name))
            .collect()
    }

    fn listed(&mut self, command: &str) -> Vec<Listed> {
        let verb = format!("* {} (", command.split(' ').next().unwrap());
        self.ok(command)
            .into_iter()
            .filter_map(|response| {
                let (attributes, rest) = response.text.strip_prefix(&verb)?.split_once(") ")?;
                let (_separator, name) = rest.split_once(' ')?;
                let wire_name = match response.literals.first() {
                    Some(literal) => String::from_utf8(literal.clone()).unwrap(),
                    None => unquoted(name),
                };
                let attributes = attributes.split_whitespace().map(str::to_lowercase).collect();
                Some(Listed { wire_name, attributes })
            })
            .collect()
    }

    /// The special use of each mailbox that has one (`\sent`), by its decoded name.
    pub(crate) fn special_uses(&mut self) -> BTreeMap<String, String> {
        const USES: [&str; 5] = ["\\archive", "\\drafts", "\\junk", "\\sent", "\\trash"];
        let mut uses = BTreeMap::new();
        for mailbox in self.list() {
            let role = USES.into_iter().find(|role| mailbox.attributes.contains(*role));
            if let Some(role) = role {
                uses.insert(self.name(&mailbox.wire_name), role.to_owned());
            }
        }
        uses
    }

    /// The UIDNEXT of every mailbox: equal before and after only if nothing was added.
    pub(crate) fn uid_nexts(&mut self) -> BTreeMap<String, u32> {
        let mut nexts = BTreeMap::new();
        for mailbox in self.list() {
            let wire_name = quoted(&mailbox.wire_name);
            let responses = self.ok(&format!("STATUS {wire_name} (UIDNEXT)"));
            let next = responses.iter().find_map(|response| number(&response.text, "(UIDNEXT "));
            let next = next.unwrap_or_else(|| panic!("no UIDNEXT: {responses:?}"));
            nexts.insert(self.name(&mailbox.wire_name), u32::try_from(next).unwrap());
        }
        nexts
    }

    /// Reads all of a mailbox without marking anything as seen.
    pub(crate) fn fetch_all(&mut self, wire_name: &str) -> Vec<Fetched> {
        let opened = self.ok(&format!("EXAMINE {}", quoted(wire_name)));
        let is_empty = opened.iter().any(|response| response.text == "* 0 EXISTS");
        if is_empty {
            return Vec::new();
        }
        self.ok("UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")
            .into_iter()
            .filter(|response| {
                response.text.contains(" FETCH ") && response.text.contains("BODY[]")
            })
            .map(|mut response| {
                let text = &response.text;
                let flags = between(text, "FLAGS (", ")").to_owned();
                let date = between(text, "INTERNALDATE \"", "\"").trim().to_owned();
                let size = number(text, "RFC822.SIZE ").unwrap();
                let body = response.literals.pop();
                let body = body.unwrap_or_else(|| between(text, "BODY[] \"", "\"").into());
                Fetched { flags, date, size, body }
            })
            .collect()
    }

    /// A name as the tests write it, joined by `/`, from one of the wire.
    pub(crate) fn name(&self, wire_name: &str) -> String {
        let name = names::decode(wire_name);
        let name = name.strip_prefix(&self.prefix).unwrap_or(&name);
        name.replace(self.separator, "/")
    }

    pub(crate) fn wire_name(&self, name: &str) -> String {
        let name = names::encode(&name.replace('/', &self.separator.to_string()));
        if name == "INBOX" { name } else { format!("{}{name}", self.prefix) }
    }

    fn tag(&mut self) -> String {
        self.commands += 1;
        format!("t{}", self.commands)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    fn answer(&mut self, tag: &str) -> (Vec<Response>, String) {
        let mut untagged = Vec::new();
        loop {
            let response = self.response();
            if let Some(answer) = response.text.strip_prefix(&format!("{tag} ")) {
                return (untagged, answer.to_owned());
            }
            assert!(!response.text.starts_with("* BYE"), "{response:?}");
            untagged.push(response);
        }
    }

    fn response(&mut self) -> Response {
        let (mut text, mut literals) = (String::new(), Vec::new());
        loop {
            let mut line = Vec::new();
            self.stream.read_until(b'\n', &mut line).unwrap();
            let line = String::from_utf8_lossy(&line);
            let Some(line) = line.strip_suffix("\r\n") else {
                panic!("the server closed the connection after {text:?}{line:?}")
            };
            let size = line.strip_suffix('}').and_then(|line| line.rsplit_once('{'));
            let Some((start, size)) =
                size.and_then(|(start, size)| Some((start, size.parse().ok()?)))
            else {
                text += line;
                return Response { text, literals };
            };
            text += start;
            let mut literal = vec![0; size];
            self.stream.read_exact(&mut literal).unwrap();
            literals.push(literal);
        }
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let after = text.split_once(start).unwrap_or_else(|| panic!("no {start:?} in {text:?}")).1;
    after.split_once(end).unwrap_or_else(|| panic!("no {end:?} in {text:?}")).0
}

fn number(text: &str, before: &str) -> Option<usize> {
    let rest = text.split_once(before)?.1;
    let end = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn unquoted(text: &str) -> String {
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(inner) => inner.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => text.to_owned(),
    }
}
