//! What is on the target already is not copied again.

use mailhaul::config::Adopt;
use mailhaul::fate::Fate;
use mailhaul::rehearsal::{BodyFault, Deed, Fault, Message, Profile};
use mailhaul::report::Verdict;
use mailhaul::simulation::ledger::CrashLedger;
use mailhaul::simulation::network::Kill;
use mailhaul::simulation::world::{INBOX, World, letter};

/// Some letters that the world's usual ones are; a Message-ID and a Date are in each.
fn mail(number: u32) -> Message {
    let body = format!(
        "Message-ID: <{number}@example.org>\r\nDate: Mon, 2 Jan 2023 03:04:{:02} +0000\r\n\
         Subject: mail {number}\r\n\r\nmail {number}\r\n",
        number % 60
    );
    Message::new(body)
}

/// A21
#[tokio::test(start_paused = true)]
async fn a_run_without_its_ledger_copies_only_what_is_missing() {
    for profile in [Profile::dovecot(), Profile::exchange(), Profile::courier()] {
        let mut world = World::new(Profile::dovecot(), profile);
        for number in [1, 2, 3, 3, 4, 4, 4] {
            world.anna().deliver(&INBOX, mail(number));
        }
        world.anna().deliver(&INBOX, Message::new("no header at all"));
        world.anna().deliver(&INBOX, Message::new("Subject: no id\r\n\r\ntwin\r\n"));
        world.anna().deliver(&INBOX, Message::new("Subject: no id\r\n\r\ntwin\r\n"));
        world.run().await.assert_done(10);
        // The ledger is lost, one of the twins is not there, and there is new mail.
        world.ledger = CrashLedger::new();
        for copy in [6, 8] {
            let uid = world.copy().messages(&INBOX)[copy].uid;
            assert!(world.copy().expunge(&INBOX, uid));
        }
        world.anna().deliver(&INBOX, mail(5));
        let report = world.run().await;
        assert_eq!((report.fate(Fate::Adopted), report.fate(Fate::Copied)), (8, 3));
        assert_eq!(report.verdict, Verdict::Done);
        world.assert_copied();
    }
}

/// A21
#[tokio::test(start_paused = true)]
async fn a_mailbox_is_matched_in_parts_and_a_run_killed_between_them_is_resumed() {
    for point in 0..40 {
        let mut world = World::usual();
        world.config.scan_messages_max = 2;
        // Twins lie in different parts, and what has no Message-ID is told by its body.
        for number in [1, 2, 3, 1, 4, 1, 5] {
            world.anna().deliver(&INBOX, mail(number));
        }
        world.anna().deliver(&INBOX, Message::new("Subject: no id\r\n\r\none\r\n"));
        world.anna().deliver(&INBOX, Message::new("Subject: no id\r\n\r\ntwo\r\n"));
        for number in [1, 3, 5, 1, 2] {
            world.copy().deliver(&INBOX, mail(number));
        }
        world.copy().deliver(&INBOX, Message::new("Subject: no id\r\n\r\ntwo\r\n"));
        let kill = Kill::Point(4 * point);
        let report = match world.run_until(kill).await {
            Some(report) => report,
            None => world.run().await,
        };
        let fates = [Fate::Adopted, Fate::Copied].map(|fate| report.fate(fate));
        assert_eq!(fates, [6, 3], "{kill:?}");
        assert_eq!(report.verdict, Verdict::Done);
        world.assert_copied();
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_tool_copied_and_its_server_rewrote_is_recognised() {
    let mut world = World::usual();
    for number in 0..30 {
        world.anna().deliver(&INBOX, mail(number));
    }
    for number in 0..25 {
        let body = [&b"X-Added: 1\r\n"[..], &mail(number).body[..]].concat();
        world.copy().deliver(&INBOX, Message::new(body));
    }
    let report = world.run().await;
    assert_eq!((report.fate(Fate::Adopted), report.fate(Fate::Copied)), (25, 5));
    assert_eq!(world.copy().messages(&INBOX).len(), 30);
    assert_eq!(world.run().await.fate(Fate::Adopted), 25);
    assert_eq!(world.target.counters().appended, 5);
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_full_of_other_mail_is_held_until_the_user_says_so() {
    let mut world = World::usual();
    for number in 0..5 {
        world.anna().deliver(&INBOX, mail(number));
        world.anna().deliver(&["Work"], mail(number));
    }
    for number in 100..120 {
        world.copy().deliver(&INBOX, mail(number));
    }
    let report = world.run().await;
    assert_eq!(report.verdict, Verdict::Incomplete);
    assert!(report.mailbox_faults()[0].contains("--adopt none"), "{:?}", report.mailbox_faults());
    assert_eq!(world.copy().messages(&INBOX).len(), 20);
    assert_eq!(world.copy().messages(&["Work"]).len(), 5);
    world.config.adopt = Adopt::None;
    let report = world.run().await;
    assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Done, 10));
    assert_eq!(world.copy().messages(&INBOX).len(), 25);
}

#[tokio::test(start_paused = true)]
async fn mail_that_reached_the_target_by_itself_is_not_copied_beside_it() {
    let mut world = World::usual();
    for number in 0..5 {
        world.anna().deliver(&INBOX, mail(number));
    }
    world.run().await.assert_done(5);
    // Both servers were sent it, and the target something that the source never had.
    world.anna().deliver(&INBOX, mail(7));
    world.copy().deliver(&INBOX, mail(7));
    world.copy().deliver(&INBOX, mail(8));
    let report = world.run().await;
    assert_eq!((report.fate(Fate::Adopted), report.fate(Fate::Copied)), (1, 5));
    assert_eq!(world.copy().messages(&INBOX).len(), 7);
}

/// Its owner moved a copy away and back, and an equal message is new at the source: what is there is the
/// first one's copy.
#[tokio::test(start_paused = true)]
async fn a_copy_that_was_away_is_not_taken_for_that_of_an_equal_new_message() {
    for profile in [Profile::dovecot(), Profile::exchange(), Profile::courier()] {
        let mut world = World::new(Profile::dovecot(), profile);
        world.anna().deliver(&INBOX, mail(1));
        world.anna().deliver(&INBOX, mail(2));
        world.run().await.assert_done(2);
        let first = world.copy().messages(&INBOX)[0].clone();
        assert!(world.copy().expunge(&INBOX, first.uid));
        let Message { body, .. } = mail(1);
        let flags = first.flags.clone();
        let back = Message { flags, internal_date: first.internal_date, body };
        world.copy().deliver(&INBOX, back);
        world.anna().deliver(&INBOX, mail(1));
        for _ in 0..2 {
            world.run().await.assert_done(3);
            world.assert_copied();
        }
    }
}

/// A namesake has the same header lines and another body: it is nobody's copy but its own.
#[tokio::test(start_paused = true)]
async fn a_namesake_is_not_taken_for_a_copy_that_is_away() {
    let mut world = World::new(Profile::dovecot(), Profile::dovecot());
    world.anna().deliver(&INBOX, mail(1));
    world.run().await.assert_done(1);
    let uid = world.copy().messages(&INBOX)[0].uid;
    assert!(world.copy().expunge(&INBOX, uid));
    let namesake = Message::new([&mail(1).body[..], b"with more\r\n"].concat());
    world.anna().deliver(&INBOX, namesake.clone());
    world.copy().deliver(&INBOX, namesake);
    let report = world.run().await;
    assert_eq!((report.fate(Fate::Adopted), report.fate(Fate::Copied)), (1, 1));
    assert_eq!(world.copy().messages(&INBOX).len(), 1);
}

/// Both have one size, date and header lines; one was there before, and the other was never stored.
#[tokio::test(start_paused = true)]
async fn a_namesake_that_was_adopted_is_no_copy_of_what_was_sent_when_the_target_is_renumbered() {
    let namesake = |octet: u8| {
        let body = [&letter(1).body[..], &[octet], b"\r\n"].concat().into();
        Message { body, ..letter(1) }
    };
    let begun = || {
        let mut world = World::usual();
        world.config.window_messages_max = 1;
        for octet in [b'a', b'b'] {
            world.anna().deliver(&INBOX, namesake(octet));
        }
        world.copy().deliver(&INBOX, namesake(b'b'));
        world
    };
    let mut whole = begun();
    whole.run().await;
    for point in 1..=whole.points {
        let mut world = begun();
        world.run_until(Kill::Point(point)).await;
        world.copy().bump_uid_validity(&INBOX);
        world.run().await;
        let bodies: Vec<_> =
            world.copy().messages(&INBOX).into_iter().map(|one| one.body).collect();
        for octet in [b'a', b'b'] {
            assert!(bodies.contains(&namesake(octet).body), "{point}");
        }
    }
}

/// Of two letters with one Message-ID and Date another tool has copied one: only its body tells which.
#[tokio::test(start_paused = true)]
async fn a_mailbox_waits_for_a_copy_that_the_target_lists_and_does_not_give() {
    let of_the_kind = |end: &str| Message::new([&mail(1).body[..], end.as_bytes()].concat());
    let mut world = World::usual();
    world.anna().deliver(&INBOX, of_the_kind("one\r\n"));
    world.anna().deliver(&INBOX, of_the_kind("two\r\n"));
    let copy = world.copy().deliver(&INBOX, of_the_kind("two\r\n"));
    world.target.faults().arm(Fault::always(Deed::Body(copy, BodyFault::No)));
    let report = world.run().await;
    assert_eq!(report.verdict, Verdict::Incomplete);
    assert_eq!(world.copy().snapshot().messages(), 1, "sent beside it");

    world.target.faults().clear();
    let report = world.run().await;
    assert_eq!((report.fate(Fate::Adopted), report.fate(Fate::Copied)), (1, 1));
    world.assert_copied();
}
