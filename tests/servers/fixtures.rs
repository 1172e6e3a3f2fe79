//! What the other tests stand on: each server starts, and gives back what was stored there.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::client::Client;
use crate::dump::Dump;
use crate::harness::dovecot::Options;
use crate::harness::{
    ADMIN, ADMIN_PASSWORD, Server, available, courier, cyrus, dovecot, mailutils,
};
use crate::messages::{Contents, Mail, Manner};

#[track_caller]
fn assert_keeps(server: &Server, contents: &Contents) {
    let mut client = server.client("u0001");
    contents.store(&mut client);
    let expected = Dump::expected(contents.mailboxes, &contents.mails);
    expected.assert_copied_to(&Dump::read(&mut client));
    let subscribed = client.subscriptions();
    assert!(contents.subscribed.iter().all(|name| subscribed.contains(*name)), "{subscribed:?}");
}

#[track_caller]
fn assert_serves_tls(server: &Server) {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(server.ca_file()).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = Ipv4Addr::LOCALHOST.to_string().try_into().unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.tls_port)).unwrap();
    let mut greeting = String::new();
    BufReader::new(StreamOwned::new(session, stream)).read_line(&mut greeting).unwrap();
    assert!(greeting.starts_with("* OK"), "{greeting}");
}

#[test]
fn dovecot_keeps_what_it_is_given() {
    if !available() {
        return;
    }
    let server = dovecot::start(&Options::default());
    assert_keeps(&server, &Contents::new(1, 400, Manner::Awkward));
    assert_serves_tls(&server);
}

#[test]
fn dovecot_keeps_its_mail_when_it_is_killed() {
    if !available() {
        return;
    }
    let mut server =
        dovecot::start(&Options { separator: '.', prefix: "INBOX.", ..Options::default() });
    let contents = Contents::new(2, 50, Manner::Tame);
    assert_keeps(&server, &contents);
    server.restart();
    let expected = Dump::expected(contents.mailboxes, &contents.mails);
    expected.assert_copied_to(&Dump::read(&mut server.client("u0001")));
}

#[test]
fn dovecot_lets_the_administrator_in() {
    if !available() {
        return;
    }
    let server = dovecot::start(&Options::default());
    server.client("u0001").append([&Mail::new("INBOX", b"Subject: one\r\n\r\n".to_vec())]);
    let mut client = Client::login(&server, &format!("u0001*{ADMIN}"), ADMIN_PASSWORD);
    assert_eq!(Dump::read(&mut client).len(), 1);
}

#[test]
fn dovecot_counts_the_connections_of_a_user() {
    if !available() {
        return;
    }
    let server = dovecot::start(&Options { connections_max: 1, ..Options::default() });
    let _held = server.client("u0001");
    let (_, answer) = Client::connect(&server).command("LOGIN u0001 pw");
    // `[LIMIT]` or `[UNAVAILABLE]`, as the version has it.
    assert!(answer.contains("Maximum number of connections"), "{answer}");
}

#[test]
fn cyrus_keeps_what_it_is_given() {
    if !available() {
        return;
    }
    let server = cyrus::start(1);
    assert_keeps(&server, &Contents::new(3, 300, Manner::Tame));
    assert_serves_tls(&server);
}

#[test]
fn courier_keeps_what_it_is_given() {
    if !available() {
        return;
    }
    let server = courier::start(1);
    assert_keeps(&server, &Contents::new(4, 300, Manner::Tame));
    assert_serves_tls(&server);
}

#[test]
fn a_difference_is_seen() {
    let mails = Contents::new(5, 30, Manner::Awkward).mails;
    let whole = Dump::expected(&["Archiv"], &mails);
    assert!(whole.difference(&whole).is_empty());
    assert!(!whole.difference(&Dump::expected(&["Archiv"], &mails[1..])).is_empty(), "a loss");
    let doubled = mails.iter().chain(&mails[..1]);
    assert!(!whole.difference(&Dump::expected(&["Archiv"], doubled)).is_empty(), "a double");
    let mut flagged = mails.clone();
    flagged[3].flags = vec!["other".to_owned()];
    assert!(!whole.difference(&Dump::expected(&["Archiv"], &flagged)).is_empty(), "a flag");
    assert!(!whole.difference(&Dump::expected(&["INBOX"], &mails)).is_empty(), "a mailbox");
}

#[test]
fn mailutils_greets_and_keeps_octets() {
    if !available() {
        return;
    }
    let server = mailutils::start(1);
    let mails: Vec<Mail> = (0..3)
        .map(|number| {
            let head = "Date: Sat, 17 Jul 2016 09:44:25 +0000\r\n";
            let body = format!("Subject: {number}\r\n{head}\r\nmail\r\n").into_bytes();
            Mail { flags: Vec::new(), ..Mail::new("INBOX", body) }
        })
        .collect();
    let mut client = server.client("u0001");
    client.ok("SELECT INBOX"); // It makes it.
    client.append(&mails);
    let stored = client.fetch_all("INBOX");
    assert_eq!(stored.len(), 3);
    assert!(stored.iter().zip(&mails).all(|(stored, mail)| stored.body == mail.body));
    assert_serves_tls(&server);
}
