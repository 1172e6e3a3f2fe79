use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::rehearsal::transcript::{Client, ann};
use crate::rehearsal::{Deed, Fault, Message, Profile, Server};

#[tokio::test]
async fn a_bad_command_is_told_and_the_session_goes_on() {
    let profile = Profile { max_line_bytes: 200, ..Profile::dovecot() };
    let (_, _, mut client) = ann(profile).await;
    let long = format!("CREATE {}", "x".repeat(5000));
    let skipped = format!("CREATE {} {{4+}}\r\nabcd", "y".repeat(5000));
    let too_much = format!("CREATE {{70000+}}\r\n{}", "z".repeat(70_000));
    for command in [
        "FOO",
        "FETCH",
        "FETCH 0 (UID)",
        "SELECT",
        "SELECT \"x",
        "STATUS INBOX ()x",
        "NOOP x",
        "FETCH 1 (UID)",
        "LOGIN {3+}\r\na\0b x",
        "CREATE \u{fc}",
        long.as_str(),
        skipped.as_str(),
        too_much.as_str(),
    ] {
        let last = client.last(command).await;
        assert!(last.starts_with("BAD"), "{command:.60}: {last}");
    }
    client.send("\r\n").await;
    assert_eq!(client.line().await, "* BAD no tag");
    client.send("x NOOP\n").await;
    assert_eq!(client.line().await, "x BAD line ends without CR");
    assert_eq!(client.last("NOOP").await, "OK done");
}

#[tokio::test]
async fn endless_nonsense_ends_the_session() {
    let (_, _, mut client) = ann(Profile::plain()).await;
    for _ in 0..49 {
        assert!(client.last("FOO").await.starts_with("BAD"));
    }
    assert!(client.last("FOO").await.starts_with("BAD"));
    assert_eq!(client.line().await, "* BYE too many bad commands");
    assert!(client.ended().await);
}

#[tokio::test]
async fn what_a_profile_lacks_is_refused() {
    let (_, _, mut client) = ann(Profile::plain()).await;
    client.all("SELECT INBOX").await;
    for command in [
        "NAMESPACE",
        "ID NIL",
        "IDLE",
        "UNSELECT",
        "UID EXPUNGE 1",
        "UID MOVE 1 INBOX",
        "STARTTLS",
        "GETQUOTAROOT INBOX",
        "LIST (SUBSCRIBED) \"\" *",
        "SELECT INBOX (CONDSTORE)",
    ] {
        assert!(client.last(command).await.starts_with("BAD"), "{command}");
    }
    assert_eq!(client.all("ENABLE UTF8=ACCEPT").await, "* ENABLED\nOK done\n");
}

#[tokio::test]
async fn the_quota_is_told_and_enforced() {
    let profile = Profile { quota_bytes: Some(2048), ..Profile::dovecot() };
    let (_, store, mut client) = ann(profile).await;
    let uid = store.deliver(&["INBOX"], Message::new(vec![b'x'; 1500]));
    let told = client.all("GETQUOTAROOT INBOX").await;
    assert_eq!(told, "* QUOTAROOT \"INBOX\" \"\"\n* QUOTA \"\" (STORAGE 2 2)\nOK done\n");
    let append = format!("APPEND INBOX {{600+}}\r\n{}", "y".repeat(600));
    assert!(client.last(&append).await.starts_with("NO [OVERQUOTA]"));
    client.all("SELECT INBOX").await;
    assert!(client.last("UID COPY 1 INBOX").await.starts_with("NO [OVERQUOTA]"));
    store.expunge(&["INBOX"], uid);
    assert!(client.last(&append).await.starts_with("OK"));
}

#[tokio::test]
async fn a_connection_is_cut_at_the_byte_and_only_where_it_should() {
    let (server, _, mut client) = ann(Profile::dovecot()).await;
    let capabilities = client.bytes("CAPABILITY").await;
    server.faults().arm(Fault::once(Deed::CutAfterWritten(5)).in_session(3));
    let mut second = Client::logged_in(&server).await;
    assert_eq!(second.bytes("CAPABILITY").await, capabilities);
    let mut third = Client::raw(&server);
    assert_eq!(third.exactly(100).await, b"* OK ");
    assert_eq!(server.faults().done(), 1);

    server.faults().arm(Fault::always(Deed::CutAfterRead(12)).of_user("ann"));
    let mut fourth = Client::logged_in(&server).await;
    assert_eq!(fourth.last("NOOP").await, "OK done");
    assert_eq!(fourth.all("NOOP").await, "");
    assert_eq!(client.last("NOOP").await, "OK done");
    assert_eq!(server.counters().connections_now, 2);
}

#[tokio::test(start_paused = true)]
async fn a_command_is_answered_as_a_fault_says() {
    let (server, _, mut client) = ann(Profile::dovecot()).await;
    let answer = |text: &str| Deed::Answer("SELECT".to_owned(), text.to_owned());
    server.faults().arm(Fault::always(answer("NO [UNAVAILABLE] later")).after(1).times(2));
    server.faults().arm(Fault::once(answer("BYE going down")).after(1));
    assert!(client.last("SELECT INBOX").await.starts_with("OK"));
    assert_eq!(client.last("SELECT INBOX").await, "NO [UNAVAILABLE] later");
    assert_eq!(client.last("SELECT INBOX").await, "NO [UNAVAILABLE] later");
    assert_eq!(client.all("SELECT INBOX").await, "* BYE going down\n");
    assert!(client.ended().await);

    let mut client = Client::logged_in(&server).await;
    let delay = Duration::from_secs(10);
    server.faults().arm(Fault::once(Deed::Delay("NOOP".to_owned(), delay)));
    let before = tokio::time::Instant::now();
    client.send("a NOOP\r\n").await;
    assert_eq!(client.line().await, "a OK done");
    assert_eq!(before.elapsed(), delay);
}

#[tokio::test]
async fn counters_tell_what_was_asked_for() {
    let (server, store, mut client) = ann(Profile::dovecot()).await;
    store.deliver(&["INBOX"], Message::new("Subject: a\r\n\r\nb"));
    client.all("SELECT INBOX").await;
    client.all("uid fetch 1 (BODY.PEEK[HEADER])").await;
    client.all("UID FETCH 1 (BODY.PEEK[])").await;
    let counters = server.counters();
    assert_eq!((counters.command("UID FETCH"), counters.command("SELECT")), (2, 1));
    assert_eq!((counters.fetched_bodies, counters.connections), (1, 1));
}

/// Sends bytes to a new server through pipes of a size, and returns all it says.
fn said(bytes: &[u8], pipe_bytes: usize) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let server = Server::new(Profile::dovecot());
        let store = server.account("ann", "secret");
        store.deliver(&["INBOX"], Message::new("Subject: a\r\n\r\nb"));
        let (client, other) = tokio::io::duplex(pipe_bytes);
        let (mut reader, mut writer) = tokio::io::split(client);
        let mut said = Vec::new();
        let send = async {
            let _ = writer.write_all(b"l LOGIN ann secret\r\ns SELECT INBOX\r\n").await;
            let _ = writer.write_all(bytes).await;
            let _ = writer.shutdown().await;
        };
        let read = reader.read_to_end(&mut said);
        let (_, read, ()) = tokio::join!(send, read, server.serve(other));
        read.unwrap();
        said
    })
}

#[test]
fn it_does_not_matter_how_the_bytes_arrive() {
    let bytes = b"a APPEND INBOX (\\Seen) {3+}\r\nabc {4}\r\nabcd\r\nb CREATE {1}\r\nx\r\n\
        c UID FETCH 1:* (FLAGS BODY.PEEK[])\r\nd FOO {2+}\r\nxx\r\ne LOGOUT\r\n";
    let whole = said(bytes, 1024 * 1024);
    assert!(whole.ends_with(b"* BYE logging out\r\ne OK done\r\n"), "{}", whole.escape_ascii());
    for pipe_bytes in [1, 2, 3, 7] {
        assert_eq!(said(bytes, pipe_bytes), whole);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_session_panic(
        pieces in prop::collection::vec(
            prop_oneof![
                3 => prop::sample::select(vec![
                    "\r\n", " ", "a ", "APPEND ", "INBOX ", "(", ")", "{3}\r\n", "{3+}\r\n", "~{1+}\r\n",
                    "UID ", "FETCH ", "STORE ", "SEARCH ", "LIST ", "COPY ", "1", "*", ":", ",", "0", "\"",
                    "\\", "BODY[", "]", "<0.1>", "FLAGS ", "HEADER.FIELDS ", "UTF8 (", "&", "RETURN (",
                    "STATUS ", "ENABLE UTF8=ACCEPT\r\n", "\" 1-Jan-2020 00:00:00 +0000\" ", "CREATE ", "/",
                    "é", "x APPEND INBOX ", "y UID FETCH 1 ", "z LIST \"\" ", "DONE\r\n", "IDLE\r\n",
                ]).prop_map(|piece| piece.as_bytes().to_vec()),
                1 => prop::collection::vec(any::<u8>(), 0..4),
            ],
            0..40,
        ),
    ) {
        said(&pieces.concat(), 4096);
    }
}
