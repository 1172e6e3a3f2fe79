//! Mail that servers store in another way, or not at all: put into a Maildir behind Dovecot's back.

use crate::harness::dovecot::Options;
use crate::harness::{Server, available, courier, cyrus, dovecot};
use crate::messages::Mail;
use crate::product::{Account, Link, Migration, exit};

const HEAD: &str = "Message-ID: <odd@example.org>\r\nSubject: odd\r\n";

/// Odd mail, by what is odd in it.
fn odd_mail() -> Vec<(&'static str, Vec<u8>)> {
    let with_head = |rest: &str| format!("{HEAD}{rest}").into_bytes();
    vec![
        ("NUL", with_head("\r\na\0b\r\n")),
        ("nothing", Vec::new()),
        ("no header", b"no header here\r\nat all\r\n".to_vec()),
        ("no field name", b": x\r\n\r\nbody\r\n".to_vec()),
        ("an empty line", b"\r\n".to_vec()),
        ("bare LF", with_head("\r\na bare\nLF\n")),
        ("LF all over", with_head("\r\nno CR\r\n").into_iter().filter(|b| *b != b'\r').collect()),
        ("bare CR", with_head("\r\na bare\rCR\r\n")),
        ("no final newline", with_head("\r\nno end")),
        ("8-bit header", [HEAD.as_bytes(), b"X-Cafe: caf\xe9\r\n\r\n8 bits\r\n"].concat()),
        ("mbox lines", [b"From ben Mon Sep 14 10:00:00 2020\r\n", HEAD.as_bytes(),
            b"Status: RO\r\nX-UID: 7\r\nContent-Length: 3\r\n\r\nFrom y\r\n>From z\r\n.\r\n..\r\n"]
            .concat()),
        ("twin", with_head("\r\nequal\r\n")),
        ("other twin", with_head("\r\nequal\r\n")),
        ("same header, other body", with_head("\r\nEQUAL\r\n")),
        ("a header nobody knows", b"X-A: 1\r\n\r\none\r\n".to_vec()),
        ("the same with another body", b"X-A: 1\r\n\r\ntwo\r\n".to_vec()),
    ]
}

/// A kind of odd mail, and what a target makes of it.
type Altered = (&'static str, fn(&[u8]) -> Vec<u8>);

/// What a target does with odd mail, beside storing it as it is.
struct Manner {
    refuses: &'static [&'static str],
    alters: &'static [Altered],
}

/// Moves odd mail, and sees that what is refused or altered is listed, and the rest exact.
#[track_caller]
fn moves_odd_mail(target: &Server, manner: &Manner) {
    let source = dovecot::start(&Options { storage: "maildir:~/Maildir", ..Options::default() });
    let odd = odd_mail();
    for (number, (_, body)) in odd.iter().enumerate() {
        source.put_into_maildir("u0001", number, body);
    }
    let account = Account::new("u0001", (&source, Link::Plain), (target, Link::Plain));
    let migration = Migration::new(&[account]);
    let code = if manner.refuses.is_empty() { exit::ALL_THERE } else { exit::NOT_ALL };
    // What was refused is tried again by a second run, and nothing is doubled.
    for _ in 0..2 {
        migration.run_expecting(code);
        let stored = source.client("u0001").fetch_all("INBOX");
        assert_eq!(stored.len(), odd.len());
        let (mut owed, mut listed) = (Vec::new(), Vec::new());
        for ((what, _), stored) in odd.iter().zip(&stored) {
            let altered = manner.alters.iter().find(|(name, _)| name == what);
            if manner.refuses.contains(what) {
                listed.push(format!("{} refused", listed_date(&stored.date)));
                continue;
            }
            if altered.is_some() {
                listed.push(format!("{} bytes-altered", listed_date(&stored.date)));
            }
            let body =
                altered.map_or_else(|| stored.body.clone(), |(_, alter)| alter(&stored.body));
            owed.push((stored.date.clone(), body.escape_ascii().to_string()));
        }
        let copied = target.client("u0001").fetch_all("INBOX");
        let copied: Vec<(String, String)> =
            copied.into_iter().map(|one| (one.date, one.body.escape_ascii().to_string())).collect();
        assert_eq!(copied, owed, "on {}", target.name);
        let reported: Vec<String> = migration.reported().iter().map(|line| said(line)).collect();
        assert_eq!(reported, listed, "on {}", target.name);
    }
}

/// An internal date as the report writes it, which tells these messages apart.
fn listed_date(date: &str) -> String {
    let (_, time) = date.split_once(' ').unwrap();
    format!("2017-07-14T{}Z", &time[..8])
}

/// Date and what is said of a line of the report.
fn said(line: &str) -> String {
    let columns: Vec<&str> = line.split(" | ").collect();
    let date = columns.iter().find(|column| column.starts_with("2017-")).unwrap();
    let said = ["refused", "bytes-altered"].into_iter().find(|word| columns.contains(word));
    format!("{date} {}", said.unwrap_or("nothing"))
}

/// B13, B14, B15, B16, B17, B21, B22, B23, B24 (D)
#[test]
fn odd_mail_moves_to_dovecot() {
    if available() {
        let target = dovecot::start(&Options::default());
        moves_odd_mail(&target, &Manner { refuses: &["nothing"], alters: &[] });
    }
}

/// What Cyrus makes of 8-bit octets in a header.
fn munged(body: &[u8]) -> Vec<u8> {
    body.iter().map(|octet| if *octet == 0xe9 { b'X' } else { *octet }).collect()
}

/// B13, B14, B15, B16, B17, B21, B22, B23, B24 (C): an 8-bit octet in a header becomes an X.
#[test]
fn odd_mail_moves_to_cyrus() {
    if available() {
        let refuses = &["nothing", "no header", "no field name"];
        let manner = Manner { refuses, alters: &[("8-bit header", munged)] };
        moves_odd_mail(&cyrus::start_munging(1), &manner);
    }
}

/// B13, B14, B15, B16, B17, B21, B22, B23, B24 (K): bare CRs are dropped, last lines are ended.
#[test]
fn odd_mail_moves_to_courier() {
    if available() {
        let alters: &[Altered] = &[
            ("nothing", |_| b"\r\n".to_vec()),
            ("bare CR", |body| String::from_utf8_lossy(body).replace("\rCR", "CR").into_bytes()),
            ("no final newline", |body| [body, b"\r\n"].concat()),
        ];
        moves_odd_mail(&courier::start(1), &Manner { refuses: &[], alters });
    }
}

/// C03 (C, D): Cyrus keeps a date that Dovecot silently takes for now.
#[test]
fn a_date_that_the_target_does_not_keep_is_listed() {
    if !available() {
        return;
    }
    let (source, target) = (cyrus::start(1), dovecot::start(&Options::default()));
    let date = "17-Jul-2040 02:44:25 +0000".to_owned();
    let mail = Mail::new("INBOX", format!("{HEAD}\r\nlater\r\n").into_bytes());
    source.client("u0001").append([&Mail { date: date.clone(), ..mail }]);
    assert_eq!(source.client("u0001").fetch_all("INBOX")[0].date, date);
    let account = Account::new("u0001", (&source, Link::Plain), (&target, Link::Plain));
    let migration = Migration::new(&[account]);
    let run = migration.run_expecting(exit::ALL_THERE);
    let copied = target.client("u0001").fetch_all("INBOX");
    assert_eq!(copied.len(), 1);
    assert_ne!(copied[0].date, date, "then it is no case any more");
    assert!(migration.reported()[0].contains("date-altered"), "{:?}\n{run}", migration.reported());
}

/// B13 (K, C): Courier gives NUL as it is, and Cyrus takes it where it is announced.
#[test]
fn nul_moves_from_courier_to_cyrus_and_from_there_to_another() {
    if !available() {
        return;
    }
    let (source, target, third) = (courier::start(1), cyrus::start(1), cyrus::start(1));
    let body = format!("{HEAD}\r\na\0b\r\n");
    // A Maildir has LF alone.
    source.put_into_maildir("u0001", 1, body.replace('\r', "").as_bytes());
    for (from, to) in [(&source, &target), (&target, &third)] {
        let account = Account::new("u0001", (from, Link::Plain), (to, Link::Plain));
        let migration = Migration::new(&[account]);
        for _ in 0..2 {
            let run = migration.run_expecting(exit::ALL_THERE);
            let stored = to.client("u0001").fetch_all("INBOX");
            assert_eq!(stored.len(), 1, "{run}");
            assert_eq!(stored[0].body, body.as_bytes(), "{run}");
            assert_eq!(migration.reported(), Vec::<String>::new());
        }
    }
}

#[test]
fn what_a_strict_cyrus_refuses_is_repaired_where_that_is_asked_for() {
    if !available() {
        return;
    }
    let source = dovecot::start(&Options { storage: "maildir:~/Maildir", ..Options::default() });
    let target = cyrus::start_rejecting(1);
    let odd = [HEAD.as_bytes(), "X-Cafe: größer\r\n\r\n8 bits\r\n".as_bytes()].concat();
    source.put_into_maildir("u0001", 1, &odd);
    source.put_into_maildir("u0001", 2, b"Subject: plain\r\n\r\nmail\r\n");
    let account = Account::new("u0001", (&source, Link::Plain), (&target, Link::Plain));
    let migration = Migration::new(&[account]);
    migration.run_expecting(exit::NOT_ALL);
    assert!(migration.reported()[0].contains("refused"), "{:?}", migration.reported());
    let asked = ["--repair-on-refusal", "crlf,8bit-header"];
    for _ in 0..2 {
        let run = migration.start_with(&asked).wait();
        run.assert_code(exit::ALL_THERE);
        let stored = target.client("u0001").fetch_all("INBOX");
        let repaired = format!("{HEAD}X-Cafe: =?utf-8?Q?gr=C3=B6=C3=9Fer?=\r\n\r\n8 bits\r\n");
        assert_eq!(stored.len(), 2, "{run}");
        assert!(stored.iter().any(|one| one.body == repaired.as_bytes()), "{run}");
        let reported = migration.reported();
        assert!(reported.len() == 1 && reported[0].contains("repaired"), "{reported:?}");
    }
    migration.command_expecting("verify", &[], exit::PROBLEMS);
    let found = migration.lines_of("verify.csv");
    assert!(found.len() == 1 && found[0].contains("rewritten"), "{found:?}");
    migration.command_expecting("cutover", &asked, exit::ALL_THERE);
}
