//! Accounts full of varied mail: the same for the same seed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::client::Client;
use crate::random::Random;

/// One message as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    pub(crate) mailbox: String,
    pub(crate) flags: Vec<String>,
    /// As APPEND takes it: `17-Jul-1996 02:44:25 -0700`.
    pub(crate) date: String,
    pub(crate) body: Vec<u8>,
}

/// What an account holds.
pub(crate) struct Contents {
    pub(crate) mailboxes: &'static [&'static str],
    pub(crate) subscribed: Vec<&'static str>,
    pub(crate) mails: Vec<Mail>,
}

/// How odd the contents are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// All that Dovecot takes.
    Awkward,
    /// What every server takes and gives back unaltered: ASCII headers, CRLF, a final newline,
    /// plain names.
    Tame,
}

const AWKWARD_MAILBOXES: &[&str] = &[
    "Archiv",
    "Archiv/Büro 2019",
    "Archiv/Büro 2019/Verträge & Anhänge",
    "会議/資料/来週", // Its parents cannot be opened.
    "🎉 party",
    "say \"hello\"",
    "R&D",
    "two  spaces",
    "v1.2/notes.",
    "Empty ones",
];
const TAME_MAILBOXES: &[&str] =
    &["Archive", "Archive/2019", "Projects", "Projects/Alpha One", "Büro", "Receipts"];
const WORDS: [&str; 28] = [
    "the", "harbour", "crane", "lifts", "a", "crate", "of", "letters", "onto", "quay", "and",
    "nobody", "counts", "them", "twice", "before", "noon", "when", "rain", "stops", "we", "load",
    "again", "paper", "stamps", "ink", "and", "rope",
];
const WIDE_WORDS: [&str; 10] =
    ["Grüße", "Straße", "déjà", "reçu", "привет", "отчёт", "会議", "添付", "안녕하세요", "🚀"];
const FLAGS: [&str; 9] = [
    "\\Seen",
    "\\Answered",
    "\\Flagged",
    "\\Draft",
    "\\Deleted",
    "$Forwarded",
    "$Junk",
    "NonJunk",
    "project-x",
];
const ZONES: [&str; 8] = ["+0000", "+0100", "-0800", "+0530", "+0545", "-0330", "+1300", "-0700"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Contents {
    pub(crate) fn new(seed: u64, count: usize, manner: Manner) -> Self {
        let mut random = Random::new(seed);
        let mailboxes = match manner {
            Manner::Awkward => AWKWARD_MAILBOXES,
            Manner::Tame => TAME_MAILBOXES,
        };
        let places: Vec<&str> = mailboxes
            .iter()
            .copied()
            .filter(|name| *name != "Empty ones")
            .chain(["INBOX"])
            .collect();
        let mut mails: Vec<Mail> = Vec::new();
        for index in 0..count {
            let mailbox = random.pick(&places).to_owned();
            let mail = match mails.last() {
                // Twins, alike in all, and copies of one body in another place.
                Some(last) if random.chance(3) => last.clone(),
                Some(last) if random.chance(3) => Mail { mailbox, ..last.clone() },
                _ => {
                    let (flags, date) = (flags(&mut random), date(&mut random));
                    Mail { mailbox, flags, date, body: message(&mut random, index, manner) }
                }
            };
            mails.push(mail);
        }
        let subscribed = mailboxes.iter().copied().step_by(2).collect();
        Self { mailboxes, subscribed, mails }
    }

    pub(crate) fn store(&self, client: &mut Client) {
        self.mailboxes.iter().for_each(|name| client.create(name));
        self.subscribed.iter().for_each(|name| client.subscribe(name));
        client.append(&self.mails);
    }
}

impl Mail {
    pub(crate) fn new(mailbox: &str, body: Vec<u8>) -> Self {
        let date = "17-Jul-2016 02:44:25 -0700".to_owned();
        Self { mailbox: mailbox.to_owned(), flags: vec!["\\Seen".to_owned()], date, body }
    }
}

/// One message of about so many bytes, which no compression shortens.
pub(crate) fn large(size: usize) -> Vec<u8> {
    let mut random = Random::new(size as u64);
    let mut body = headers(&mut random, "Message-ID: <large@example.org>\r\n", "a large one");
    body += "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n";
    body += &base64(&bytes(&mut random, size / 78 * 57));
    body.into_bytes()
}

fn message(random: &mut Random, index: usize, manner: Manner) -> Vec<u8> {
    let id = match random.below(50) {
        0 => String::new(),
        1 => "Message-ID: <the-same@example.org>\r\n".to_owned(),
        _ => format!("Message-ID: <{index}.{:x}@example.org>\r\n", random.next()),
    };
    let subject = text(random, 4, false);
    let head = headers(random, &id, &subject);
    let plain = "Content-Type: text/plain; charset=utf-8\r\n";
    let body = match random.below(12) {
        0 => format!("{head}\r\n"), // No body at all.
        1 => format!(
            "{head}{plain}Content-Transfer-Encoding: 8bit\r\n\r\n{}",
            lines(random, 9, true)
        ),
        2 => format!(
            "{head}{plain}Content-Transfer-Encoding: quoted-printable\r\n\r\n{}",
            quoted_printable(random)
        ),
        3 => {
            let encoded = base64(lines(random, 12, true).as_bytes());
            format!("{head}{plain}Content-Transfer-Encoding: base64\r\n\r\n{encoded}")
        }
        4 | 5 => format!("{head}{}", with_attachment(random)),
        6 => {
            let inner = headers(random, "", "the one inside");
            let inner = format!("{inner}\r\n{}", lines(random, 4, false));
            format!("{head}Content-Type: message/rfc822\r\n\r\n{inner}")
        }
        7 => format!("{head}\r\n{}\r\n", text(random, 1500, false)), // One line of some 8 kB.
        8 => {
            format!("{head}\r\n.\r\n..\r\nFrom here\r\n>From there\r\n+ OK\r\n* BYE\r\n{{5+}}\r\n")
        }
        9 if manner == Manner::Awkward => format!("{head}\r\n{}end", lines(random, 3, false)),
        10 if manner == Manner::Awkward => {
            format!("{head}X-Raw: {}\r\n\r\na bare\rreturn\r\n", text(random, 3, true))
        }
        11 if manner == Manner::Awkward => {
            let mut latin = format!("{head}\r\n").into_bytes();
            latin.extend(b"gr\xfc\xdfe, caf\xe9, and no charset\r\n");
            return latin;
        }
        _ => format!("{head}{plain}\r\n{}", lines(random, 8, false)),
    };
    body.into_bytes()
}

fn headers(random: &mut Random, id: &str, subject: &str) -> String {
    let date = random.below(28) + 1;
    format!(
        "Received: from quay.example.org (quay.example.org [192.0.2.{}])\r\n\tby mx.example.com with ESMTPS id {:X}\r\n\
         From: Crane <crane@example.org>\r\nTo: \"Quay, North\" <quay@example.com>\r\nSubject: {subject}\r\n\
         {id}Date: {date:02} Mar 2011 08:15:00 +0100\r\nMIME-Version: 1.0\r\n",
        random.below(255),
        random.next(),
    )
}

fn with_attachment(random: &mut Random) -> String {
    let boundary = format!("=_{:x}", random.next());
    let text = lines(random, 5, false);
    let size = if random.chance(20) { 60_000 } else { 4_000 };
    let size = random.below(size) + 1;
    let attached = base64(&bytes(random, size));
    format!(
        "Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\nA preamble.\r\n--{boundary}\r\n\
         Content-Type: text/plain\r\n\r\n{text}--{boundary}\r\nContent-Type: application/pdf\r\n\
         Content-Disposition: attachment;\r\n filename*=UTF-8''B%C3%BCro.pdf\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{attached}--{boundary}--\r\n"
    )
}

fn quoted_printable(random: &mut Random) -> String {
    let mut out = String::new();
    for byte in lines(random, 6, true).bytes() {
        match byte {
            b'\r' | b'\n' | b' '..=b'<' | b'>'..=b'~' => out.push(char::from(byte)),
            _ => out += &format!("={byte:02X}"),
        }
    }
    out
}

fn lines(random: &mut Random, count: usize, wide: bool) -> String {
    (0..random.below(count) + 1).map(|_| text(random, 9, wide) + "\r\n").collect()
}

fn text(random: &mut Random, words: usize, wide: bool) -> String {
    let word = |_| {
        if wide && random.chance(40) { random.pick(&WIDE_WORDS) } else { random.pick(&WORDS) }
    };
    (0..words).map(word).collect::<Vec<_>>().join(" ")
}

fn bytes(random: &mut Random, count: usize) -> Vec<u8> {
    let mut out: Vec<u8> =
        (0..count.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).collect();
    out.truncate(count);
    out
}

fn base64(bytes: &[u8]) -> String {
    bytes.chunks(57).map(|line| STANDARD.encode(line) + "\r\n").collect()
}

fn flags(random: &mut Random) -> Vec<String> {
    FLAGS.into_iter().filter(|_| random.chance(22)).map(str::to_owned).collect()
}

fn date(random: &mut Random) -> String {
    let (day, month, year) = (random.below(28) + 1, random.pick(&MONTHS), 1996 + random.below(29));
    let (hour, minute, second) = (random.below(24), random.below(60), random.below(60));
    let zone = random.pick(&ZONES);
    format!("{day:2}-{month}-{year} {hour:02}:{minute:02}:{second:02} {zone}")
}
