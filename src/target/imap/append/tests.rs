use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::super::helping::Windows;
use super::super::storable::Storable;
use super::*;
use crate::config::Config;
use crate::identity::Identity;
use crate::imap::wire::Wire;
use crate::ledger::{WindowId, WindowMessage};
use crate::mail::{Flags, InternalDate, Uid};
use crate::source::{Chunk, Streamed};
use crate::target::{Answer, Body, OutgoingMessage};
use crate::throttle::{Memory, Throttle};

const SYNCHRONISING: Limits = Limits {
    multiappend: false,
    binary: false,
    non_synchronising_bytes_max: 0,
    message_bytes_max: None,
    windows_in_flight_max: 4,
};
const PLUS: Limits = Limits { non_synchronising_bytes_max: 1000, ..SYNCHRONISING };
const MULTI: Limits = Limits { multiappend: true, ..PLUS };

fn message(uid: u32, body: &'static str) -> OutgoingMessage {
    let record = WindowMessage {
        uid: Uid(uid),
        size: body.len() as u64,
        date: None,
        flags: Flags::default(),
        identity: Some(Identity::of(body.as_bytes())),
        risky: false,
        troubles: crate::history::Troubles::default(),
        changed: None,
    };
    let body = Body::Whole(body.into());
    OutgoingMessage { record, body, is_compared: false }
}

/// Waits for the first words, then says the second, and so on; gives all it heard.
async fn serve(mut server: DuplexStream, script: &[(&str, &str)]) -> String {
    let (mut heard, mut from) = (Vec::new(), 0);
    'script: for (wanted, said) in script {
        loop {
            if let Some(at) = memchr::memmem::find(&heard[from..], wanted.as_bytes()) {
                from += at + wanted.len();
                break;
            }
            if server.read_buf(&mut heard).await.expect("readable") == 0 {
                break 'script;
            }
        }
        server.write_all(said.as_bytes()).await.expect("writable");
    }
    while server.read_buf(&mut heard).await.is_ok_and(|count| count > 0) {}
    String::from_utf8(heard).expect("what was sent is ASCII")
}

/// What the server heard, what is known of each message, and the fault.
async fn append_all(
    limits: Limits,
    messages: Vec<OutgoingMessage>,
    script: &[(&str, &str)],
) -> (String, Vec<String>, Option<String>) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let mut wire = Wire::new(Box::new(ours), Duration::from_secs(60));
    let throttle = Throttle::new(&Config::default(), Memory::new(1 << 20), &[]);
    let (send, windows) = mpsc::channel(1);
    let (tell, mut told) = mpsc::channel(8);
    let window = Outgoing {
        id: WindowId(1),
        messages,
        careful: false,
        admission: throttle.admit(1, 1, false).await,
    };
    send.try_send(window).expect("there is room");
    drop(send);
    let work = async {
        let outcome = {
            let (reader, writer) = wire.lend();
            let appending = Appending {
                name: "INBOX".to_owned(),
                limits,
                storable: Arc::new(Storable::new(None)),
                windows: Windows::new(windows),
                answers: tell,
            };
            append(reader, writer, &appending, Around::default()).await.outcome
        };
        drop(wire);
        outcome
    };
    let answers = async {
        let answered = told.recv().await.expect("each window is told of");
        let answer = |answer: &Option<Answer>| match answer {
            None => "in doubt".to_owned(),
            Some(Answer::Stored(None)) => "stored".to_owned(),
            Some(Answer::Stored(Some((_, uid)))) => format!("stored {uid}"),
            Some(Answer::Refused(text)) => format!("refused: {text}"),
            Some(Answer::NotNow) => "not now".to_owned(),
        };
        answered.answers.iter().map(answer).collect()
    };
    let (outcome, answers, heard) = tokio::join!(work, answers, serve(theirs, script));
    (heard, answers, outcome.err().map(|fault| fault.chain()))
}

#[tokio::test(start_paused = true)]
async fn a_synchronising_literal_waits_for_the_plus_alone() {
    let script = [
        ("{4}\r\n", "* 5 EXISTS\r\n* OK still here\r\n+ go\r\n"),
        ("mail\r\n", "M1 OK [APPENDUID 1 9] done\r\n"),
    ];
    let (heard, answers, fault) =
        append_all(SYNCHRONISING, vec![message(1, "mail")], &script).await;
    assert_eq!(heard, "M1 APPEND INBOX {4}\r\nmail\r\n");
    assert_eq!((answers, fault), (vec!["stored 9".into()], None));
}

#[tokio::test(start_paused = true)]
async fn a_refused_literal_is_not_sent() {
    let script =
        [("{4}\r\n", "M1 NO [TOOBIG] no\r\n"), ("{5}\r\n", "+\r\n"), ("\r\n", "M2 OK\r\n")];
    let messages = vec![message(1, "EVIL"), message(2, "mails")];
    let (heard, answers, fault) = append_all(SYNCHRONISING, messages, &script).await;
    assert!(!heard.contains("EVIL"), "{heard}");
    assert_eq!(answers, ["refused: the server said: NO [TOOBIG] no", "stored"]);
    assert_eq!(fault, None);
}

#[tokio::test(start_paused = true)]
async fn a_bad_behind_a_message_that_was_sent_leaves_it_in_doubt() {
    for limits in [PLUS, MULTI] {
        let messages = vec![message(1, "mail"), message(2, "more")];
        let script = [("more\r\n", "M1 BAD what\r\n")];
        let (_, answers, fault) = append_all(limits, messages, &script).await;
        assert_eq!(answers, ["in doubt", "in doubt"]);
        assert!(fault.expect("the connection cannot go on").contains("BAD what"));
    }
}

#[tokio::test(start_paused = true)]
async fn answers_out_of_turn_end_the_connection() {
    for said in ["M9 OK done\r\n", "X OK\r\n", "+ more\r\n", "* BYE gone\r\n"] {
        let messages = vec![message(1, "mail")];
        let (_, answers, fault) = append_all(PLUS, messages, &[("mail\r\n", said)]).await;
        assert_eq!(answers, ["in doubt"], "{said}");
        assert!(fault.is_some(), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn uids_that_do_not_match_the_messages_are_not_believed() {
    for (code, expected) in [
        ("[APPENDUID 1 5:6]", ["stored 5", "stored 6"]),
        ("[APPENDUID 1 5]", ["stored", "stored"]),
        ("[APPENDUID 1 5:7]", ["stored", "stored"]),
        ("[APPENDUID 1 0:1]", ["stored", "stored"]),
        ("[APPENDUID x 5:6]", ["stored", "stored"]),
        ("", ["stored", "stored"]),
    ] {
        let messages = vec![message(1, "mail"), message(2, "more")];
        let said = format!("M1 OK {code} done\r\n");
        let (heard, answers, fault) =
            append_all(MULTI, messages, &[("more\r\n", said.as_str())]).await;
        assert_eq!(heard, "M1 APPEND INBOX {4+}\r\nmail {4+}\r\nmore\r\n");
        assert_eq!((answers, fault), (expected.map(str::to_owned).to_vec(), None), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_multiappend_is_tried_message_by_message() {
    let script = [
        ("more\r\n", "M1 NO one of them is bad\r\n"),
        ("{4}\r\n", "M2 NO this one\r\n"),
        ("{4}\r\n", "+ go\r\n"),
        ("more\r\n", "M3 OK [APPENDUID 1 7] done\r\n"),
    ];
    let messages = vec![message(1, "mail"), message(2, "more")];
    let (_, answers, fault) = append_all(MULTI, messages, &script).await;
    assert_eq!(answers, ["refused: the server said: NO this one", "stored 7"]);
    assert_eq!(fault, None);
}

#[tokio::test(start_paused = true)]
async fn nul_that_is_refused_is_sent_as_binary_where_that_is_offered() {
    let script = [
        ("a\0b\r\n", "M1 NO Message contains NUL characters\r\n"),
        ("{3}\r\n", "+ go\r\n"),
        ("a\0b\r\n", "M2 OK [APPENDUID 1 7] done\r\n"),
    ];
    let binary = Limits { binary: true, ..PLUS };
    let (heard, answers, fault) = append_all(binary, vec![message(1, "a\0b")], &script).await;
    assert_eq!(heard, "M1 APPEND INBOX {3+}\r\na\0b\r\nM2 APPEND INBOX ~{3}\r\na\0b\r\n");
    assert_eq!((answers, fault), (vec!["stored 7".into()], None));
    let (_, answers, _) = append_all(PLUS, vec![message(1, "a\0b")], &script[..1]).await;
    assert_eq!(answers, ["refused: the server said: NO Message contains NUL characters"]);
}

#[tokio::test(start_paused = true)]
async fn a_full_account_takes_nothing_more() {
    let script = [
        // Together they are too much; then the first one alone is.
        ("more\r\n", "M1 NO [OVERQUOTA] full\r\n"),
        ("{4}\r\n", "M2 NO [OVERQUOTA] full\r\n"),
    ];
    let messages = vec![message(1, "mail"), message(2, "more")];
    let (heard, answers, fault) = append_all(MULTI, messages, &script).await;
    assert_eq!(answers[0], "not now");
    assert!(fault.expect("told").contains("OVERQUOTA"));
    let (_, afterwards) = heard.split_once("M2 APPEND").expect("the first one alone");
    assert!(!afterwards.contains("mail"), "{heard}");
}

/// The next command would become a part of it.
#[tokio::test(start_paused = true)]
async fn a_full_account_is_not_left_in_the_middle_of_a_message() {
    let large: &str = "x".repeat(3 << 20).leak();
    let limits = Limits { non_synchronising_bytes_max: 4 << 20, ..PLUS };
    let messages = vec![message(1, "mail"), message(2, large), message(3, "more")];
    let script = [
        ("mail\r\n", "M1 NO [OVERQUOTA] full\r\n"),
        ("x\r\n", "M2 OK [APPENDUID 1 9] there was room\r\n"),
        ("more\r\n", "M3 NO [OVERQUOTA] full\r\n"),
    ];
    let (heard, answers, fault) = append_all(limits, messages, &script).await;
    assert!(heard.ends_with("{4+}\r\nmore\r\n"));
    assert_eq!(heard.matches('x').count(), large.len());
    assert_eq!(answers, ["not now", "stored 9", "not now"]);
    assert!(fault.expect("the account is full").contains("OVERQUOTA"));
}

#[tokio::test(start_paused = true)]
async fn what_is_odd_goes_alone_and_waits() {
    let mut odd = message(1, "mail");
    odd.record.date = Some(InternalDate::new(-5, 0));
    let script = [
        ("{4}\r\n", "M1 NO bad date\r\n"),
        ("{4}\r\n", "+ go\r\n"),
        ("mail\r\n", "M2 OK [APPENDUID 1 7] done\r\n"),
    ];
    let (heard, answers, fault) = append_all(MULTI, vec![odd], &script).await;
    let whole = "M1 APPEND INBOX \"31-Dec-1969 23:59:55 +0000\" {4}\r\n";
    assert_eq!(heard, format!("{whole}M2 APPEND INBOX {{4}}\r\nmail\r\n"));
    assert_eq!((answers, fault), (vec!["stored 7".into()], None));
}

#[tokio::test(start_paused = true)]
async fn a_streamed_message_that_breaks_off_is_not_finished() {
    let (pieces, chunks) = mpsc::channel(2);
    pieces.try_send(Chunk::Data("half".into())).expect("room");
    drop(pieces);
    let mut streamed = message(1, "");
    streamed.body = Body::Streamed {
        body: tokio::sync::Mutex::new(Some(Streamed::new(8, chunks))),
        identity: std::sync::OnceLock::new(),
        size: 8,
    };
    let (heard, answers, fault) =
        append_all(PLUS, vec![streamed], &[("{8}\r\n", "+ go\r\n")]).await;
    assert_eq!(heard, "M1 APPEND INBOX {8}\r\nhalf");
    assert_eq!(answers, ["in doubt"]);
    assert!(fault.expect("told").contains("the source ended"));
}
