use std::time::Duration;

use super::*;
use crate::rehearsal::transcript::{Client, ann};
use crate::rehearsal::{Fault, Matching, StoredMessage};

fn bodies(store: &Store) -> Vec<Vec<u8>> {
    store.messages(&["INBOX"]).iter().map(|message| message.body.to_vec()).collect()
}

#[tokio::test]
async fn a_message_is_stored_as_it_came() {
    let (server, store, mut client) = ann(Profile::dovecot()).await;
    let mut body: Vec<u8> = (0..=255).collect();
    body.extend_from_slice(b"\r\n{3+}\r\n");
    let mut command = format!(
        "APPEND INBOX (\\seen Work) \" 1-Feb-2021 08:09:10 +0100\" {{{}+}}\r\n",
        body.len()
    )
    .into_bytes();
    command.extend_from_slice(&body);
    assert_eq!(client.last(command).await, "OK [APPENDUID 1000000 1] appended");
    let internal_date = InternalDate { unix_seconds: 1_612_163_350, offset_seconds: 3600 };
    let flags = vec!["Work".to_owned(), "\\Seen".to_owned()];
    let messages = store.messages(&["INBOX"]);
    let guid = messages[0].guid;
    let expected =
        StoredMessage { uid: 1, flags, internal_date, body: body.into(), modseq: 2, guid };
    assert_eq!(messages, [expected]);
    assert_eq!(server.counters().appended, 1);
}

#[tokio::test]
async fn a_literal_that_waits_is_invited() {
    let (_, store, mut client) = ann(Profile::plain()).await;
    client.send("a APPEND {5}\r\n").await;
    assert_eq!(client.line().await, "+ go ahead");
    client.send("INBOX {3}\r\n").await;
    assert_eq!(client.line().await, "+ go ahead");
    client.send("abc\r\n").await;
    assert_eq!(client.line().await, "a OK appended");
    assert_eq!(bodies(&store), [b"abc"]);
    client.send("b APPEND nowhere {3}\r\n").await;
    assert_eq!(client.line().await, "b NO [TRYCREATE] no such mailbox");
    assert!(client.last("APPEND INBOX {3+}\r\nabc").await.starts_with("BAD"));
    assert_eq!(client.last("NOOP").await, "OK done");
}

#[tokio::test]
async fn the_selected_mailbox_grows_before_the_answer() {
    let (_, _, mut client) = ann(Profile::dovecot()).await;
    client.all("SELECT INBOX").await;
    let told = client.all("APPEND INBOX {3+}\r\nabc").await;
    assert_eq!(told, "* 1 EXISTS\n* 0 RECENT\nOK [APPENDUID 1000000 1] appended\n");
}

#[tokio::test]
async fn several_messages_are_stored_all_or_none() {
    let (server, store, mut client) = ann(Profile::dovecot()).await;
    let three =
        "APPEND INBOX (\\Seen) {1+}\r\na {2+}\r\nbb (x) \" 1-Jan-2020 00:00:00 +0000\" {1+}\r\nc";
    assert_eq!(client.last(three).await, "OK [APPENDUID 1000000 1:3] appended");
    store.set_quota(Some(6));
    assert!(client.last(three).await.starts_with("NO [OVERQUOTA]"));
    store.set_quota(None);
    let wrong_date = "APPEND INBOX {1+}\r\na \"31-Feb-2020 00:00:00 +0000\" {1+}\r\nb {1+}\r\nc";
    assert!(client.last(wrong_date).await.starts_with("BAD"));
    assert!(client.last("APPEND INBOX {1+}\r\na {0+}\r\n").await.starts_with("NO"));
    let text = "NO [LIMIT] not that one".to_owned();
    server.faults().arm(Fault::once(Deed::Refuse(Matching::Contains(b"bb".to_vec()), text)));
    assert_eq!(client.last(three).await, "NO [LIMIT] not that one");
    assert_eq!(bodies(&store).len(), 3);
    assert!(client.last(three).await.starts_with("OK"));
    assert_eq!(bodies(&store).len(), 6);
}

#[tokio::test]
async fn a_server_without_multiappend_takes_one() {
    let (_, store, mut client) = ann(Profile::exchange()).await;
    assert!(client.last("APPEND INBOX {1+}\r\na {1+}\r\nb").await.starts_with("BAD"));
    assert!(bodies(&store).is_empty());
    assert_eq!(client.last("NOOP").await, "OK done");
}

#[tokio::test]
async fn a_refused_literal_is_not_run_as_commands() {
    let profile = Profile { max_message_bytes: Some(10), ..Profile::dovecot() };
    let (_, store, mut client) = ann(profile).await;
    let evil = "x DELETE INBOX\r\ny CREATE evil\r\n";
    for head in ["APPEND INBOX", "APPEND nowhere", "APPEND INBOX (\\Foo)", "APPEND &", "NONSENSE"] {
        let command = format!("{head} {{{}+}}\r\n{evil}", evil.len());
        let all = client.all(&command).await;
        assert_eq!(all.lines().count(), 1, "{all}");
        assert!(all.starts_with("NO") || all.starts_with("BAD"), "{all}");
    }
    let many = "APPEND INBOX {99+}\r\n".to_owned() + &"z".repeat(99) + " {30+}\r\n" + evil;
    assert!(client.last(many).await.starts_with("NO [TOOBIG]"));
    assert_eq!(store.mailboxes().len(), 1);
}

#[tokio::test]
async fn literal_minus_takes_only_small_ones_unasked() {
    let (_, store, mut client) = ann(Profile::gmail()).await;
    let large = "x".repeat(5000);
    let reply = client.last(format!("APPEND INBOX {{5000+}}\r\n{large}")).await;
    assert!(reply.starts_with("BAD [TOOBIG]"), "{reply}");
    assert!(client.last("APPEND INBOX {4+}\r\nabcd").await.starts_with("OK"));
    assert_eq!(bodies(&store).len(), 1);
}

#[tokio::test]
async fn commands_sent_ahead_are_answered_in_order() {
    let (_, store, mut client) = ann(Profile::dovecot()).await;
    let mut batch = String::new();
    for number in 0..100 {
        batch.push_str(&format!("p{number} APPEND INBOX {{3+}}\r\n{number:03}\r\n"));
    }
    client.send(batch).await;
    for number in 0..100 {
        let expected = format!("p{number} OK [APPENDUID 1000000 {}] appended", number + 1);
        assert_eq!(client.line().await, expected);
    }
    assert_eq!(bodies(&store)[41], b"041");
}

#[tokio::test]
async fn utf8_messages_need_utf8() {
    let (_, store, mut client) = ann(Profile::dovecot()).await;
    let command = "APPEND INBOX UTF8 (~{3+}\r\nabc)";
    assert!(client.last(command).await.starts_with("BAD"));
    client.last("ENABLE UTF8=ACCEPT").await;
    assert!(client.last(command).await.starts_with("OK"));
    assert_eq!(bodies(&store), [b"abc"]);
}

#[tokio::test]
async fn a_lost_answer_leaves_the_message_there() {
    let (server, store, mut client) = ann(Profile::dovecot()).await;
    server.faults().arm(Fault::once(Deed::CutAfter("APPEND".to_owned())));
    assert_eq!(client.all("APPEND INBOX {3+}\r\nabc").await, "");
    assert_eq!(bodies(&store), [b"abc"]);
    let mut client = Client::logged_in(&server).await;
    server.faults().arm(Fault::once(Deed::CutBefore("APPEND".to_owned())));
    assert_eq!(client.all("APPEND INBOX {3+}\r\nabc").await, "");
    assert_eq!(bodies(&store).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_late_commit_comes_even_when_the_client_is_gone() {
    let (server, store, mut client) = ann(Profile::dovecot()).await;
    let delay = Duration::from_secs(30);
    server.faults().arm(Fault::once(Deed::CommitLate(Matching::Any, delay)));
    client.send("a APPEND INBOX {3+}\r\nabc\r\n").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(client);
    tokio::time::sleep(Duration::from_secs(28)).await;
    assert!(bodies(&store).is_empty());
    server.settle().await;
    assert_eq!(bodies(&store), [b"abc"]);
}

#[tokio::test(start_paused = true)]
async fn a_late_commit_into_a_mailbox_deleted_meanwhile_is_refused() {
    let (server, store, mut client) = ann(Profile::dovecot()).await;
    store.create_mailbox(&["stage"], None).unwrap();
    let delay = Duration::from_secs(10);
    server.faults().arm(Fault::once(Deed::CommitLate(Matching::Any, delay)));
    client.send("a APPEND stage {3+}\r\nabc\r\n").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    store.delete_mailbox(&["stage"]).unwrap();
    assert_eq!(client.line().await, "a NO [TRYCREATE] no such mailbox");
    assert_eq!(store.snapshot().messages(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_may_lie_about_an_append() {
    let (server, store, mut client) = ann(Profile::dovecot()).await;
    let command = "APPEND INBOX {3+}\r\nabc";
    let arm = |deed| server.faults().arm(Fault::once(deed));
    arm(Deed::Forget(Matching::Any));
    assert_eq!(client.last(command).await, "OK [APPENDUID 1000000 1] appended");
    assert!(bodies(&store).is_empty());
    arm(Deed::Rewrite(Matching::Any, b"xyz".to_vec()));
    arm(Deed::AppendUid(AppendUidLie::Omitted));
    assert_eq!(client.last(command).await, "OK appended");
    arm(Deed::AppendUid(AppendUidLie::Shifted(10)));
    assert_eq!(client.last(command).await, "OK [APPENDUID 1000000 12] appended");
    arm(Deed::AppendUid(AppendUidLie::Validity(7)));
    assert_eq!(client.last(command).await, "OK [APPENDUID 7 3] appended");
    assert_eq!(bodies(&store), [b"xyz", b"abc", b"abc"]);
    arm(Deed::Answer("APPEND".to_owned(), "NO [UNAVAILABLE] later".to_owned()));
    arm(Deed::Delay("*".to_owned(), Duration::from_secs(9)));
    let before = tokio::time::Instant::now();
    assert_eq!(client.last(command).await, "NO [UNAVAILABLE] later");
    assert_eq!(before.elapsed(), Duration::from_secs(9));
}

#[tokio::test]
async fn a_server_may_end_the_last_line() {
    let profile = Profile { ends_lines: true, ..Profile::dovecot() };
    let (_, store, mut client) = ann(profile).await;
    client.last("APPEND INBOX {1+}\r\na").await;
    client.last("APPEND INBOX {3+}\r\na\r\n").await;
    assert_eq!(bodies(&store), [b"a\r\n", b"a\r\n"]);
}
