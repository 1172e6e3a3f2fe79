//! What is copied, and how exactly.

use mailhaul::fate::Fate;
use mailhaul::rehearsal::{Message, Profile};
use mailhaul::report::Verdict;

use mailhaul::simulation::world::{INBOX, MessageExt, World, letter};

/// C01
#[tokio::test(start_paused = true)]
async fn a_whole_account_is_copied_as_it_is() {
    let mut world = World::usual();
    let anna = world.anna();
    anna.create_mailbox(&["Sent"], Some("\\Sent")).unwrap();
    anna.create_mailbox(&["Clients", "Müller & Söhne", "2019"], None).unwrap();
    anna.create_mailbox(&["空"], None).unwrap();
    let mailboxes: [&[&str]; 4] =
        [&["INBOX"], &["Sent"], &["Clients", "Müller & Söhne", "2019"], &["Clients"]];
    for (number, mailbox) in (0..60).zip(mailboxes.iter().cycle()) {
        anna.deliver(mailbox, letter(number));
    }
    let zones = [0, 7_200, -12_600, 50_400, -43_200];
    for (number, zone) in (60..).zip(zones) {
        anna.deliver(
            &["INBOX"],
            letter(number)
                .with_flags(&["\\Draft", "\\Flagged", "$Forwarded", "Work"])
                .of(1_500_000_000 - i64::from(number), zone),
        );
    }
    world.run().await.assert_done(65);
    world.assert_copied();
}

#[tokio::test(start_paused = true)]
async fn subscriptions_go_along() {
    let mut world = World::usual();
    for name in ["a", "b"] {
        world.anna().create_mailbox(&[name], None).unwrap();
    }
    world.anna().subscribe(&["b"]);
    world.anna().subscribe(&INBOX);
    world.run().await.assert_done(0);
    assert_eq!(world.copy().subscriptions(), world.anna().subscriptions());
}

#[tokio::test(start_paused = true)]
async fn special_uses_meet_under_other_names() {
    let mut world = World::usual();
    let (anna, copy) = (world.anna(), world.copy());
    anna.create_mailbox(&["Gesendet"], Some("\\Sent")).unwrap();
    copy.create_mailbox(&["Sent Items"], Some("\\Sent")).unwrap();
    anna.deliver(&["Gesendet"], letter(1));
    world.run().await.assert_done(1);
    assert_eq!(copy.messages(&["Sent Items"]).len(), 1);
    assert!(copy.mailboxes().iter().all(|one| one.path != ["Gesendet"]));
}

#[tokio::test(start_paused = true)]
async fn names_pass_from_dots_to_slashes_and_below_a_prefix() {
    for (source, target) in
        [(Profile::courier(), Profile::dovecot()), (Profile::dovecot(), Profile::courier())]
    {
        let mut world = World::new(source, target);
        world.anna().deliver(&["Archive", "2019", "März"], letter(1));
        world.anna().deliver(&["Archive"], letter(2));
        world.anna().deliver(&INBOX, letter(3));
        world.run().await.assert_done(3);
        world.assert_copied();
    }
}

/// D02
#[tokio::test(start_paused = true)]
async fn names_that_only_the_delimiter_tells_apart_stay_apart() {
    let mut world = World::new(Profile::dovecot(), Profile::courier());
    world.anna().deliver(&["a.b"], letter(1));
    world.anna().deliver(&["a", "b"], letter(2));
    world.run().await.assert_done(2);
    let bodies = |path: &[&str]| -> Vec<bytes::Bytes> {
        let messages = world.copy().messages(path);
        messages.into_iter().map(|message| message.body).collect()
    };
    assert_eq!(bodies(&["a_b"]), [letter(1).body]);
    assert_eq!(bodies(&["a", "b"]), [letter(2).body]);
}

/// B22
#[tokio::test(start_paused = true)]
async fn twins_are_copied_as_often_as_they_are_there() {
    let mut world = World::usual();
    for number in [1, 2, 2, 3, 2, 1] {
        world.anna().deliver(&INBOX, letter(number));
    }
    world.anna().deliver(&["Other"], letter(2));
    world.run().await.assert_done(7);
    world.assert_copied();
}

/// B15, B23, B24
#[tokio::test(start_paused = true)]
async fn messages_need_no_message_id_and_no_headers() {
    let mut world = World::usual();
    for body in ["Subject: a\r\n\r\nx", "Subject: a\r\n\r\ny", "\r\n", "no header", ": x\r\n\r\n"] {
        world.anna().deliver(&INBOX, Message::new(body));
    }
    world.run().await.assert_done(5);
    world.assert_copied();
}

/// B16, B17, B21
#[tokio::test(start_paused = true)]
async fn every_byte_arrives_as_it_was() {
    let mut world = World::usual();
    let all: Vec<u8> = (0..=255).collect();
    let bodies: [&[u8]; 6] = [
        &all,
        b"Subject: caf\xe9\r\n\r\nbare\nlines\rand\0nothing at the end",
        b"From ben Mon Sep 14\r\n>From\r\n.\r\n..\r\n\r\n",
        b"A1 LOGOUT {12}\r\n{12+}\r\n",
        b"* 1 FETCH (UID 1)\r\n)\r\nF1 OK done\r\n",
        b"Subject: one long line\r\n\r\n",
    ];
    for body in bodies {
        world.anna().deliver(&INBOX, Message::new(body.to_vec()));
    }
    world.anna().deliver(&INBOX, Message::new(vec![b'x'; 200_000]));
    world.run().await.assert_done(7);
    world.assert_copied();
}

/// B14
#[tokio::test(start_paused = true)]
async fn a_message_of_no_bytes_is_listed_and_the_others_are_copied() {
    let mut world = World::usual();
    world.deliver(0..5);
    world.anna().deliver(&INBOX, Message::new(""));
    world.deliver(5..10);
    let report = world.run().await;
    assert_eq!(report.verdict, Verdict::Incomplete);
    assert_eq!((report.fate(Fate::Copied), report.fate(Fate::Refused)), (10, 1));
    assert_eq!(
        report.reasons(Fate::Refused),
        ["the server said: NO [CANNOT] a message is never empty"]
    );
    assert_eq!(world.copy().snapshot().messages(), 10);
}

/// B20
#[tokio::test(start_paused = true)]
async fn a_message_too_large_to_hold_streams_through() {
    let mut world = World::usual();
    world.deliver(0..3);
    let mut body = letter(3).body.to_vec();
    body.extend((0..3 * 1024 * 1024_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8));
    world.anna().deliver(&INBOX, Message::new(body.clone()));
    world.deliver(4..6);
    body.reverse();
    world.anna().deliver(&INBOX, Message::new(body));
    world.config.window_bytes_max = 64 * 1024;
    world.run().await.assert_done(7);
    world.assert_copied();
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_larger_than_one_scan_is_copied_whole() {
    let mut world = World::usual();
    world.deliver(0..100);
    for uid in (1..100).step_by(3) {
        world.anna().expunge(&INBOX, uid);
    }
    world.anna().set_uid_next(&INBOX, 5_000);
    world.deliver(100..150);
    world.config.scan_messages_max = 7;
    world.run().await.assert_done(117);
    world.assert_copied();
}

#[tokio::test(start_paused = true)]
async fn empty_mailboxes_are_made_too() {
    let mut world = World::usual();
    for path in [&["Empty"][..], &["a", "b", "c"]] {
        world.anna().create_mailbox(path, None).unwrap();
    }
    world.run().await.assert_done(0);
    world.assert_copied();
}

#[tokio::test(start_paused = true)]
async fn what_the_target_holds_already_stays() {
    let mut world = World::usual();
    world.copy().deliver(&INBOX, letter(100));
    world.copy().deliver(&["Own"], letter(101));
    world.deliver(0..9);
    world.run().await.assert_done(9);
    assert_eq!(world.copy().messages(&INBOX).len(), 10);
    assert_eq!(world.copy().messages(&["Own"]).len(), 1);
}

/// B13: a target that takes NUL only where that is announced.
#[tokio::test(start_paused = true)]
async fn nul_is_announced_where_it_is_refused_otherwise() {
    for multiappend in [true, false] {
        let target = Profile { binary: true, multiappend, ..Profile::dovecot() };
        let mut world = World::new(Profile::dovecot(), target);
        world.deliver(0..3);
        world.anna().deliver(&INBOX, Message::new("Subject: nul\r\n\r\na\0b\r\n"));
        world.deliver(3..6);
        world.run().await.assert_done(7);
        world.assert_copied();
    }
}
