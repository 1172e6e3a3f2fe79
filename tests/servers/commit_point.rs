//! A connection that ends with the last octet of a message, before the line end behind it: some
//! servers have stored the message by then.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::dump::Dump;
use crate::harness::dovecot::Options;
use crate::harness::{Server, available, courier, cyrus, dovecot};
use crate::messages::Mail;
use crate::product::{Account, Link, Migration, exit};

/// Passes everything on to a server, but cuts its client off behind the last octet of the first
/// literal, so many times; gives its port.
fn cutting(server_port: u16, times: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let cuts = Arc::new(AtomicUsize::new(0));
    let done = cuts.clone();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let cuts = done.clone();
            let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server_port)) else { return };
            thread::spawn(move || {
                let (mut answers, mut to_client) =
                    (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || {
                    let _ = std::io::copy(&mut answers, &mut to_client);
                    let _ = to_client.shutdown(Shutdown::Both);
                });
                let may_cut = || cuts.load(Ordering::SeqCst) < times;
                if pass_on(BufReader::new(&client), &server, may_cut).is_some_and(|was_cut| was_cut)
                {
                    cuts.fetch_add(1, Ordering::SeqCst);
                }
                let _ = server.shutdown(Shutdown::Both);
                let _ = client.shutdown(Shutdown::Both);
            });
        }
    });
    (port, cuts)
}

/// Passes commands on; true where it ended behind a literal.
fn pass_on(
    mut client: BufReader<&TcpStream>,
    mut server: &TcpStream,
    may_cut: impl Fn() -> bool,
) -> Option<bool> {
    loop {
        let mut line = Vec::new();
        if client.read_until(b'\n', &mut line).ok()? == 0 {
            return Some(false);
        }
        server.write_all(&line).ok()?;
        let text = String::from_utf8_lossy(&line).into_owned();
        let digits = text.trim_end().strip_suffix('}').and_then(|text| text.rsplit_once('{'));
        let Some(size) = digits.and_then(|(_, digits)| digits.trim_end_matches('+').parse().ok())
        else {
            continue;
        };
        let mut literal = vec![0; size];
        client.read_exact(&mut literal).ok()?;
        server.write_all(&literal).ok()?;
        if may_cut() {
            return Some(true);
        }
    }
}

fn survives_cuts_behind_literals(target: &Server) {
    let source = dovecot::start(&Options::default());
    let mail = |number: usize| {
        let body = format!("Message-ID: <{number}@x>\r\nSubject: {number}\r\n\r\nfor {number}\r\n");
        Mail::new("INBOX", body.into())
    };
    let mails: Vec<Mail> = [1, 2, 3, 3, 4, 5, 6, 7].map(mail).into();
    source.client("u0001").append(&mails);
    let stored = Dump::read(&mut source.client("u0001"));
    for times in [1, 2] {
        let user = if times == 1 { "u0001" } else { "u0002" };
        if times == 2 {
            source.client(user).append(&mails);
        }
        let (port, cuts) = cutting(target.port, times);
        let account = Account::new(user, (&source, Link::Plain), (target, Link::Plain))
            .with("target_port", &port.to_string());
        Migration::new(&[account]).run_expecting(exit::ALL_THERE);
        assert_eq!(cuts.load(Ordering::SeqCst), times, "cuts on {}", target.name);
        stored.assert_copied_to(&Dump::read(&mut target.client(user)));
    }
}

/// A03 (K): it stores what it has the last octet of.
#[test]
fn courier_is_cut_off_behind_a_literal_and_nothing_is_doubled() {
    if available() {
        survives_cuts_behind_literals(&courier::start(2));
    }
}

/// A03 (D, C): they do not.
#[test]
fn dovecot_and_cyrus_are_cut_off_behind_a_literal_and_nothing_is_lost() {
    if available() {
        survives_cuts_behind_literals(&dovecot::start(&Options::default()));
        survives_cuts_behind_literals(&cyrus::start(2));
    }
}
