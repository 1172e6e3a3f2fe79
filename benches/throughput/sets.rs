//! What is copied: mail made from a seed.

use crate::client::Client;
use crate::harness::Server;
use crate::messages::Mail;
use crate::random::Random;

const KB: usize = 1_000;
const MB: usize = 1_000_000;
const LINE: usize = 76;

/// Accounts of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) accounts: usize,
    pub(crate) mailboxes: usize,
    /// Messages of each mailbox.
    pub(crate) messages: usize,
    sizes: Sizes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sizes {
    Even(usize, usize),
    /// From so much to twice that, as often as from there to twice that, and so on.
    Wide(usize, usize),
}

pub(crate) const SMALL: Set =
    Set { accounts: 10, mailboxes: 5, messages: 200, sizes: Sizes::Even(2 * KB, 8 * KB) };
pub(crate) const MIXED: Set =
    Set { accounts: 4, mailboxes: 5, messages: 100, sizes: Sizes::Wide(2 * KB, 1024 * KB) };
pub(crate) const LARGE: Set =
    Set { accounts: 4, mailboxes: 2, messages: 5, sizes: Sizes::Even(10 * MB, 25 * MB) };
pub(crate) const FOLDERS: Set =
    Set { accounts: 1, mailboxes: 50, messages: 20, sizes: Sizes::Even(2 * KB, 8 * KB) };

impl Set {
    pub(crate) fn users(&self) -> Vec<String> {
        (1..=self.accounts).map(|number| format!("u{number:04}")).collect()
    }

    fn mailbox(number: usize) -> String {
        match number {
            0 => "INBOX".to_owned(),
            1 => "Archive".to_owned(),
            number => format!("Archive/{number}"),
        }
    }

    /// Puts the set's mail into the server's accounts; so many bytes into each.
    pub(crate) fn store(&self, server: &Server) -> Vec<usize> {
        let store = |(number, user): (usize, String)| {
            let mut client = server.client(&user);
            (1..self.mailboxes).for_each(|number| client.create(&Self::mailbox(number)));
            self.deliver(&mut client, number as u64, self.messages)
        };
        self.users().into_iter().enumerate().map(store).collect()
    }

    /// Puts so many messages more into each mailbox, others for each seed; so many bytes.
    pub(crate) fn deliver(&self, client: &mut Client, seed: u64, messages: usize) -> usize {
        let mut random = Random::new(seed);
        let noise = noise(&mut random);
        let mut bytes = 0;
        for mailbox in (0..self.mailboxes).map(Self::mailbox) {
            let mails =
                (0..messages).map(|number| self.mail(&mailbox, number, &mut random, &noise));
            let mails: Vec<Mail> = mails.collect();
            client.append(&mails);
            bytes += mails.iter().map(|mail| mail.body.len()).sum::<usize>();
        }
        bytes
    }

    fn mail(&self, mailbox: &str, number: usize, random: &mut Random, noise: &str) -> Mail {
        let size = match self.sizes {
            Sizes::Even(low, high) => low + random.below(high - low),
            Sizes::Wide(low, high) => {
                let octave = low << random.below((high / low).ilog2() as usize);
                octave + random.below(octave)
            }
        };
        let mut body = format!(
            "From: Anna <anna@example.org>\r\nTo: Bob <bob@example.org>\r\nSubject: number {number}\r\n\
             Message-ID: <{:016x}@example.org>\r\nDate: Mon, 23 Nov 2026 12:{:02}:{:02} +0000\r\n\r\n",
            random.next(),
            number / 60 % 60,
            number % 60,
        );
        while body.len() + LINE < size {
            let from = random.below(noise.len() - LINE);
            body += &noise[from..from + LINE];
            body += "\r\n";
        }
        let mut flags = Vec::new();
        for (flag, percent) in [("\\Seen", 70), ("\\Flagged", 5), ("$Forwarded", 10)] {
            if random.chance(percent) {
                flags.push(flag.to_owned());
            }
        }
        let (day, minute) = (1 + number % 28, number / 28 % 60);
        let date = format!("{day:02}-Jul-2019 02:{minute:02}:25 -0700");
        Mail { mailbox: mailbox.to_owned(), flags, date, body: body.into_bytes() }
    }
}

/// Letters from which bodies are cut.
fn noise(random: &mut Random) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
    (0..MB).map(|_| char::from(LETTERS[random.below(64)])).collect()
}
