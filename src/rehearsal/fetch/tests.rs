use super::*;
use crate::rehearsal::transcript::{Client, ann};
use crate::rehearsal::{Fault, InternalDate, Message, Profile};

const MAIL: &str = "Subject: a\r\n b\r\nMessage-ID: <1@x>\r\n\r\ntext\r\n";

#[tokio::test]
async fn a_body_comes_back_byte_for_byte() {
    let (server, store, mut client) = ann(Profile::dovecot()).await;
    let mut odd: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    odd.extend_from_slice(b"\r\n)\r\nt9 OK no\r\n");
    store.deliver(&["INBOX"], Message::new(odd.clone()));
    client.all("SELECT INBOX").await;
    client.send("x FETCH 1 BODY.PEEK[]\r\n").await;
    let head = format!("* 1 FETCH (BODY[] {{{}}}", odd.len());
    assert_eq!(client.line().await, head);
    assert_eq!(client.exactly(odd.len()).await, odd);
    assert_eq!(client.line().await, ")");
    assert_eq!(client.line().await, "x OK fetched");
    let counters = server.counters();
    assert_eq!((counters.fetched_bodies, counters.fetched_body_bytes), (1, odd.len() as u64));
}

#[tokio::test]
async fn headers_and_parts_are_told_apart() {
    let (server, store, mut client) = ann(Profile::plain()).await;
    let date = InternalDate { unix_seconds: 0, offset_seconds: -3600 };
    store.deliver(&["INBOX"], Message { internal_date: date, ..Message::new(MAIL) });
    client.all("EXAMINE INBOX").await;
    assert_eq!(
        client
            .all("UID FETCH 1:* (INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (subject X)])")
            .await,
        "* 1 FETCH (UID 1 INTERNALDATE \"31-Dec-1969 23:00:00 -0100\" RFC822.SIZE 43 \
         BODY[HEADER.FIELDS (subject X)] {18}\nSubject: a\n b\n\n)\nOK fetched\n"
    );
    let partial = client.all("FETCH 1 BODY.PEEK[]<9.5>").await;
    assert_eq!(partial, "* 1 FETCH (BODY[]<9> {5}\na\n b)\nOK fetched\n");
    let text = client.all("FETCH 1 (BODY.PEEK[TEXT] BODY.PEEK[HEADER])").await;
    assert!(text.starts_with("* 1 FETCH (BODY[TEXT] {6}\ntext\n BODY[HEADER] {37}\n"), "{text}");
    assert_eq!(server.counters().fetched_bodies, 2);
    assert!(client.last("FETCH 2 (UID)").await.starts_with("BAD"));
    assert!(client.last("FETCH 1 (MODSEQ)").await.starts_with("BAD"));
    assert!(client.last("FETCH 1 (BODYSTRUCTURE)").await.starts_with("NO [CANNOT]"));
}

#[tokio::test]
async fn only_reading_without_peek_sets_seen() {
    let (server, store, mut client) = ann(Profile::plain()).await;
    store.deliver(&["INBOX"], Message::new(MAIL));
    client.all("SELECT INBOX").await;
    client.all("FETCH 1 BODY.PEEK[]").await;
    assert!(store.messages(&["INBOX"])[0].flags.is_empty());
    let mut other = Client::logged_in(&server).await;
    other.all("EXAMINE INBOX").await;
    other.all("FETCH 1 BODY[]").await;
    assert!(store.messages(&["INBOX"])[0].flags.is_empty());
    assert!(client.all("FETCH 1 BODY[TEXT]").await.contains("FLAGS (\\Seen))"));
    assert_eq!(store.messages(&["INBOX"])[0].flags, ["\\Seen"]);
    assert!(other.all("NOOP").await.contains("* 1 FETCH (UID 1 FLAGS (\\Seen))"));
    assert_eq!(client.all("NOOP").await, "OK done\n");
}

#[tokio::test]
async fn changedsince_shows_only_what_changed() {
    let (_, store, mut client) = ann(Profile::dovecot()).await;
    for body in ["a", "b", "c"] {
        store.deliver(&["INBOX"], Message::new(body));
    }
    client.all("SELECT INBOX (CONDSTORE)").await;
    store.set_flags(&["INBOX"], 2, &["\\Flagged"]);
    assert_eq!(
        client.all("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 4)").await.lines().next(),
        Some("* 2 FETCH (UID 2 FLAGS (\\Flagged) MODSEQ (5))")
    );
    assert!(
        client.last("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 4 VANISHED)").await.starts_with("BAD")
    );
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_told_as_real_servers_do() {
    let (server, store, mut client) = ann(Profile::dovecot()).await;
    store.deliver(&["INBOX"], Message::new(MAIL));
    store.deliver(&["INBOX"], Message::new("other"));
    client.all("SELECT INBOX").await;
    for (fault, expected) in [
        (BodyFault::Nil, "* 1 FETCH (UID 1 BODY[] NIL)\nOK fetched\n"),
        (BodyFault::Nothing, "OK fetched\n"),
        (BodyFault::No, "NO [SERVERBUG] some messages could not be fetched\n"),
        (BodyFault::Empty, "* 1 FETCH (UID 1 BODY[] \"\")\nOK fetched\n"),
    ] {
        server.faults().arm(Fault::once(Deed::Body(1, fault)));
        assert_eq!(client.all("UID FETCH 1 (BODY.PEEK[])").await, expected);
    }
    server.faults().arm(Fault::always(Deed::Size(2, 7)));
    assert_eq!(client.all("FETCH 2 RFC822.SIZE").await, "* 2 FETCH (RFC822.SIZE 7)\nOK fetched\n");
    assert_eq!(server.counters().fetched_bodies, 0);
}

#[tokio::test]
async fn a_server_may_invent_a_message_that_is_gone() {
    let (_, store, mut client) = ann(Profile { invents: true, ..Profile::plain() }).await;
    store.deliver(&["INBOX"], Message::new(MAIL));
    client.all("EXAMINE INBOX").await;
    store.expunge(&["INBOX"], 1);
    let told = client.all("UID FETCH 1 (BODY.PEEK[])").await;
    assert!(told.contains("message unavailable") && told.ends_with("OK fetched\n"), "{told}");
    assert_eq!(client.all("NOOP").await, "* 1 EXPUNGE\nOK done\n");
    assert_eq!(client.all("UID FETCH 1 (BODY.PEEK[])").await, "OK fetched\n");
}
