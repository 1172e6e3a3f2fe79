//! The mail of the demo: invented, varied, and the same every time.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use mailhaul::rehearsal::{InternalDate, Message, Server};

/// One account, with a login on either side.
pub(super) struct Person {
    pub(super) name: &'static str,
    mailboxes: &'static [Mailbox],
}

impl Person {
    pub(super) fn source_user(&self) -> String {
        format!("{}@old.example", self.name)
    }

    pub(super) fn target_user(&self) -> String {
        format!("{}@new.example", self.name)
    }

    /// Good for a server that lives as long as the demo.
    pub(super) fn password(&self) -> String {
        format!("demo, \"{}\"", self.name)
    }
}

struct Mailbox {
    path: &'static [&'static str],
    special_use: Option<&'static str>,
    messages: usize,
}

/// Where the source keeps mail that was sent.
pub(super) const SENT: &str = "Sent";
/// Where the target keeps it.
pub(super) const SENT_ITEMS: &str = "Sent Items";

pub(super) const PEOPLE: [Person; 3] = [
    Person {
        name: "anna",
        mailboxes: &[
            mailbox(&["INBOX"], 52),
            mailbox(&["Archiv"], 9),
            mailbox(&["Archiv", "2019", "Köln"], 41),
            used_for(&[SENT], "\\Sent", 30),
            used_for(&["Drafts"], "\\Drafts", 4),
            mailbox(&["Kunden & Partner"], 17),
        ],
    },
    Person {
        name: "bob",
        mailboxes: &[
            mailbox(&["INBOX"], 61),
            mailbox(&["Projects", "Alpha", "2003"], 33),
            mailbox(&["🎉 Party"], 12),
            used_for(&[SENT], "\\Sent", 22),
            mailbox(&["Later"], 0),
        ],
    },
    Person {
        name: "chiyo",
        mailboxes: &[
            mailbox(&["INBOX"], 47),
            mailbox(&["プロジェクト", "計画"], 38),
            used_for(&[SENT], "\\Sent", 27),
            used_for(&["Drafts"], "\\Drafts", 7),
        ],
    },
];

const fn mailbox(path: &'static [&'static str], messages: usize) -> Mailbox {
    Mailbox { path, special_use: None, messages }
}

const fn used_for(path: &'static [&'static str], role: &'static str, messages: usize) -> Mailbox {
    Mailbox { path, special_use: Some(role), messages }
}

/// Gives every person an account with mail on the source, and one without on the target.
pub(super) fn fill(source: &Server, target: &Server) {
    let mut writer = Writer::new();
    for person in &PEOPLE {
        let old = source.account(&person.source_user(), &person.password());
        let new = target.account(&person.target_user(), &person.password());
        for mailbox in person.mailboxes {
            // Every inbox is there already.
            let _ = old.create_mailbox(mailbox.path, mailbox.special_use);
            for message in writer.messages(person, mailbox) {
                old.deliver(mailbox.path, message);
            }
        }
        for (name, special_use) in [(SENT_ITEMS, "\\Sent"), ("Drafts", "\\Drafts")] {
            new.create_mailbox(&[name], Some(special_use)).expect("the account is new");
        }
    }
}

/// The path on the target of what has this path on the source.
pub(super) fn target_path(source: &[String]) -> Vec<String> {
    match source {
        [name] if name == SENT => vec![SENT_ITEMS.to_owned()],
        path => path.to_vec(),
    }
}

/// What is odd about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Utf8,
    Latin1,
    Attachment,
    Html,
    NoMessageId,
    NoSubject,
    LongLine,
    NoFinalNewline,
    HeaderOnly,
    /// Every byte and the date are those of the message before.
    Twin,
    /// Too large for one window: the copier streams it.
    Large,
}

/// Each mailbox goes round in this list.
const ROUND: [Kind; 15] = [
    Kind::Plain,
    Kind::Attachment,
    Kind::Utf8,
    Kind::Html,
    Kind::NoMessageId,
    Kind::Plain,
    Kind::Twin,
    Kind::Latin1,
    Kind::NoSubject,
    Kind::LongLine,
    Kind::HeaderOnly,
    Kind::Twin,
    Kind::NoFinalNewline,
    Kind::Html,
    Kind::Utf8,
];

/// Which message is large, of all; no twin follows it.
const LARGE: u32 = 18;
const LARGE_BYTES: usize = 3 * 1024 * 1024;
/// The first and the last second of a message: from 1996 to 2024.
const SECONDS: (i64, i64) = (820_454_400, 1_735_689_600);
const OFFSETS_HOURS: [i8; 8] = [-8, -5, 0, 1, 2, 3, 9, 12];

const SUBJECTS: [&str; 8] = [
    "Minutes of Monday",
    "Re: the roof again",
    "=?UTF-8?Q?Gr=C3=BC=C3=9Fe_aus_K=C3=B6ln?=",
    "Invoice 2004-117",
    "=?UTF-8?B?6KiI55S744Gu5aSJ5pu0?=",
    "Fwd: Re: Fwd: photos",
    "Where is the key to the archive?",
    "Offer, second version",
];

const SENTENCES: [&str; 8] = [
    "The boxes are in the cellar, behind the bicycles.",
    "Please send me the list before noon, I have to print it.",
    "We moved the meeting to Thursday because of the train.",
    "The numbers of last year are right, those of this year are not.",
    "Nobody has seen the blue folder since the summer.",
    "Thank you for the tea and for the long talk.",
    "From the tower one can see both rivers.",
    "It costs twelve a month, or a hundred a year.",
];

/// Writes messages; a twin needs the one before.
struct Writer {
    random: Random,
    written: u32,
}

impl Writer {
    fn new() -> Self {
        Self { random: Random(0x6d61_696c), written: 0 }
    }

    fn messages(&mut self, person: &Person, mailbox: &Mailbox) -> Vec<Message> {
        let mut messages: Vec<Message> = Vec::with_capacity(mailbox.messages);
        for index in 0..mailbox.messages {
            let kind = match ROUND[index % ROUND.len()] {
                _ if self.written == LARGE => Kind::Large,
                kind => kind,
            };
            self.written += 1;
            let message = match (kind, messages.last()) {
                (Kind::Twin, Some(last)) => last.clone(),
                _ => self.message(kind, person, mailbox),
            };
            messages.push(message);
        }
        messages
    }

    fn message(&mut self, kind: Kind, person: &Person, mailbox: &Mailbox) -> Message {
        let internal_date = self.date();
        let mut body = self.header(kind, person, mailbox, internal_date).into_bytes();
        self.content(kind, &mut body);
        Message { flags: self.flags(mailbox), internal_date, body: body.into() }
    }

    fn header(
        &mut self,
        kind: Kind,
        person: &Person,
        mailbox: &Mailbox,
        date: InternalDate,
    ) -> String {
        let (me, other) = (person.name, self.random.pick(&["carl", "dora", "emil", "frida"]));
        let (sender, receiver) = match mailbox.special_use {
            Some(_) => (me, other),
            None => (other, me),
        };
        let mut header = format!(
            "From: {sender}@example.org\r\nTo: {receiver}@example.org\r\nDate: {}\r\n",
            written_out(date)
        );
        // Writing to a string cannot fail.
        let _ = match kind {
            Kind::NoSubject => write!(header, "Subject:\r\n"),
            _ => write!(header, "Subject: {}\r\n", self.random.pick(&SUBJECTS)),
        };
        if kind != Kind::NoMessageId {
            let _ = write!(
                header,
                "Message-ID: <{}.{:x}@example.org>\r\n",
                self.written,
                self.random.next()
            );
        }
        header
    }

    /// Writes the rest of the header, and the body.
    fn content(&mut self, kind: Kind, out: &mut Vec<u8>) {
        let mut put = |text: &str| out.extend_from_slice(text.as_bytes());
        match kind {
            Kind::HeaderOnly => put("\r\n"),
            Kind::Plain | Kind::Twin | Kind::NoMessageId | Kind::NoSubject => {
                put("\r\n");
                put(&self.text());
            }
            Kind::NoFinalNewline => {
                put("\r\n");
                put(self.text().trim_end());
            }
            Kind::Utf8 => {
                put("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n");
                put("Content-Transfer-Encoding: 8bit\r\n\r\n");
                put("Der Schlüssel liegt unter dem Blumentopf, wie früher.\r\n");
                put("来週の会議は木曜日に変わりました。 🚲\r\n");
                put(&self.text());
            }
            Kind::Latin1 => {
                put("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\n");
                put("Content-Transfer-Encoding: 8bit\r\n\r\n");
                out.extend_from_slice(
                    b"Viele Gr\xfc\xdfe aus K\xf6ln, und 20 \xa3 f\xfcr Emil.\r\n",
                );
            }
            Kind::LongLine => {
                put("\r\n");
                put(&"all in one line, as some programs write it; ".repeat(150));
                put("\r\n");
            }
            Kind::Html => {
                let text = self.text();
                put(
                    "MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=\"=_a\"\r\n\r\n",
                );
                put("--=_a\r\nContent-Type: text/plain\r\n\r\n");
                put(&text);
                put("--=_a\r\nContent-Type: text/html; charset=us-ascii\r\n\r\n<html><body><p>");
                put(text.trim_end());
                put("</p></body></html>\r\n--=_a--\r\n");
            }
            Kind::Attachment => {
                let bytes = 1_000 + self.random.below(60_000);
                self.attach(bytes, out);
            }
            Kind::Large => self.attach(LARGE_BYTES / 78 * 57, out),
        }
    }

    fn attach(&mut self, bytes: usize, out: &mut Vec<u8>) {
        let mut put = |text: &str| out.extend_from_slice(text.as_bytes());
        put("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n");
        put("--=_b\r\nContent-Type: text/plain\r\n\r\n");
        put(&self.text());
        put("--=_b\r\nContent-Type: application/octet-stream; name=\"plan.bin\"\r\n");
        put("Content-Transfer-Encoding: base64\r\n\r\n");
        let file: Vec<u8> =
            (0..bytes.div_ceil(8)).flat_map(|_| self.random.next().to_be_bytes()).collect();
        for line in file.chunks(57) {
            put(&STANDARD.encode(line));
            put("\r\n");
        }
        put("--=_b--\r\n");
    }

    fn text(&mut self) -> String {
        let sentences = 1 + self.random.below(30);
        (0..sentences).fold(String::new(), |text, _| text + self.random.pick(&SENTENCES) + "\r\n")
    }

    fn date(&mut self) -> InternalDate {
        let (first, end) = SECONDS;
        let hours = self.random.pick(&OFFSETS_HOURS);
        InternalDate {
            unix_seconds: first + self.random.next().cast_signed().rem_euclid(end - first),
            offset_seconds: i32::from(hours) * 3600,
        }
    }

    fn flags(&mut self, mailbox: &Mailbox) -> Vec<String> {
        const FLAGS: [&[&str]; 8] = [
            &[],
            &["\\Seen"],
            &["\\Seen"],
            &["\\Seen", "\\Answered"],
            &["\\Seen", "\\Flagged"],
            &["\\Seen", "$Forwarded"],
            &["Rechnung"],
            &["\\Seen", "\\Answered", "$Label1", "NonJunk"],
        ];
        let flags: &[&str] = match mailbox.special_use {
            Some("\\Drafts") => &["\\Draft", "\\Seen"],
            _ => self.random.pick(&FLAGS),
        };
        flags.iter().map(|flag| (*flag).to_owned()).collect()
    }
}

/// As a message's header has it.
fn written_out(date: InternalDate) -> String {
    let offset = Offset::from_seconds(date.offset_seconds).unwrap_or(Offset::UTC);
    let instant = Timestamp::from_second(date.unix_seconds).unwrap_or_default();
    let local = instant.to_zoned(TimeZone::fixed(offset));
    local.strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
}

/// Numbers that look random and are the same every time (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("less than a usize")
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mailhaul::rehearsal::{Held, Profile};

    use super::*;

    fn filled() -> Vec<Held> {
        let source = Server::new(Profile::dovecot());
        let target = Server::new(Profile::dovecot());
        fill(&source, &target);
        PEOPLE
            .iter()
            .filter_map(|person| source.store(&person.source_user()))
            .flat_map(|store| store.snapshot().mailboxes.into_values().flatten())
            .collect()
    }

    #[test]
    fn the_mail_is_the_same_every_time() {
        assert_eq!(filled(), filled());
    }

    #[test]
    fn the_mail_is_varied() {
        let mail = filled();
        assert_eq!(mail.len(), 400);
        let has = |what: &dyn Fn(&Held) -> bool| mail.iter().filter(|held| what(held)).count();
        assert!(has(&|held| std::str::from_utf8(&held.body).is_err()) > 10);
        assert!(has(&|held| !held.body.is_ascii()) > 50);
        assert!(has(&|held| !held.body.ends_with(b"\r\n")) > 10);
        assert!(has(&|held| held.body.len() < 300) > 10);
        assert_eq!(has(&|held| held.body.len() > 2_900_000), 1);
        let mut copies: BTreeMap<&Held, usize> = BTreeMap::new();
        for held in &mail {
            *copies.entry(held).or_default() += 1;
        }
        assert!(copies.values().filter(|copies| **copies == 2).count() > 20);
    }

    #[test]
    fn a_date_is_written_with_its_offset() {
        let date = InternalDate { unix_seconds: 1_612_163_349, offset_seconds: 3600 };
        assert_eq!(written_out(date), "Mon, 01 Feb 2021 08:09:09 +0100");
    }
}
