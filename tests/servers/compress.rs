//! Compressed connections to a real server.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::spawn;

use crate::dump::Dump;
use crate::harness::dovecot::Options;
use crate::harness::{Server, available, dovecot};
use crate::messages::{Contents, Mail, Manner, large};
use crate::product::{Account, Link, Migration, exit};

/// Listens for a server, and counts the octets that pass, either way.
fn counted(server: &Server) -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, to) = (listener.local_addr().unwrap().port(), server.port);
    let octets = Arc::new(AtomicU64::new(0));
    let counter = octets.clone();
    spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let far = TcpStream::connect(("127.0.0.1", to)).unwrap();
            for (from, to) in [(&near, &far), (&far, &near)] {
                let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                let counter = counter.clone();
                spawn(move || pass(from, to, &counter));
            }
        }
    });
    (port, octets)
}

fn pass(mut from: TcpStream, mut to: TcpStream, counter: &AtomicU64) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn a_dovecot_is_read_and_written_compressed() {
    if !available() {
        return;
    }
    let (source, target) =
        (dovecot::start(&Options::default()), dovecot::start(&Options::default()));
    let mut client = source.client("u0001");
    Contents::new(11, 150, Manner::Awkward).store(&mut client);
    let alike = [&b"Subject: alike\r\n\r\n"[..], &b"all alike\r\n".repeat(400_000)].concat();
    client.append(&[Mail::new("INBOX", alike), Mail::new("INBOX", large(2_000_000))]);
    let stored = Dump::read(&mut client);
    let ((source_port, read), (target_port, written)) = (counted(&source), counted(&target));
    let account = Account::new("u0001", (&source, Link::Plain), (&target, Link::Plain))
        .with("source_port", &source_port.to_string())
        .with("target_port", &target_port.to_string());
    let migration = Migration::new(&[account]);
    migration.start_with(&["--compress", "both"]).wait().assert_code(exit::ALL_THERE);
    stored.assert_copied_to(&Dump::read(&mut target.client("u0001")));
    // The mail has 6.4 MB.
    for octets in [&read, &written] {
        let octets = octets.load(Ordering::Relaxed);
        assert!(octets < 3_000_000, "{octets} octets");
    }
    // With nothing new, and over TLS.
    let account = Account::new("u0001", (&source, Link::Tls), (&target, Link::StartTls));
    let migration = Migration::new(&[account]).trusting(&[&source, &target]);
    migration.start_with(&["--compress", "both"]).wait().assert_code(exit::ALL_THERE);
    stored.assert_copied_to(&Dump::read(&mut target.client("u0001")));
}
