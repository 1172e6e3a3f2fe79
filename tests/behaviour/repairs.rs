//! Messages that the target refuses as they are, and takes repaired.

use mailhaul::config::Delivery;
use mailhaul::difference::Difference;
use mailhaul::event::Event;
use mailhaul::fate::{Fate, RemarkKind};
use mailhaul::fault::Side;
use mailhaul::rehearsal::{Deed, Fault, Matching, Message, Profile};
use mailhaul::repair::{Repair, Repairs, repair};
use mailhaul::report::Verdict;
use mailhaul::simulation::network::Kill;
use mailhaul::simulation::world::{INBOX, MessageExt, Report, World, letter};

fn asked() -> Repairs {
    [Repair::Nul, Repair::LongLines].into_iter().collect()
}

/// What holds NUL, a little different in size, octets and date from any other of it.
fn odd(number: u32) -> Message {
    let body = format!(
        "Subject: odd\r\nMessage-ID: <odd@x>\r\n\r\nnul \0 and {}\r\n",
        "\0".repeat(number as usize)
    );
    Message::new(body).of(1_600_000_000 + i64::from(number), 0)
}

fn repaired(message: &Message) -> Vec<u8> {
    repair(&message.body, asked()).expect("something is to be repaired").0
}

/// Five letters, and four messages with NUL, of which two are equal. The target refuses NUL.
fn world(target: Profile) -> World {
    let mut world = World::new(Profile::dovecot(), target);
    world.config.repairs = asked();
    world.deliver(0..3);
    for number in [1, 2, 2, 3] {
        world.anna().deliver(&INBOX, odd(number));
    }
    world.deliver(3..5);
    refuse_nul(&world);
    world
}

fn refuse_nul(world: &World) {
    let nul = Matching::Contains(b"\0".to_vec());
    world.target.faults().arm(Fault::always(Deed::Refuse(nul, "NO NUL characters".to_owned())));
}

fn bodies(world: &World) -> Vec<Vec<u8>> {
    let messages = world.copy().messages(&INBOX).into_iter();
    let mut bodies: Vec<Vec<u8>> = messages.map(|one| one.body.to_vec()).collect();
    bodies.sort();
    bodies
}

#[track_caller]
fn assert_repaired(world: &World, report: &Report, what: &str) {
    let counts = (report.fate(Fate::Copied), report.remarked(RemarkKind::Repaired));
    assert_eq!((report.verdict, counts), (Verdict::Done, (9, 4)), "{what}: {:?}", report.totals);
    let mut wanted: Vec<Vec<u8>> = (0..5).map(|number| letter(number).body.to_vec()).collect();
    wanted.extend([1, 2, 2, 3].map(|number| repaired(&odd(number))));
    wanted.sort();
    assert_eq!(bodies(world), wanted, "{what}");
    world.assert_source_untouched();
}

#[tokio::test(start_paused = true)]
async fn a_message_is_repaired_only_where_it_was_asked_for_and_only_when_it_was_refused() {
    let mut world = world(Profile::dovecot());
    world.config.repairs = [Repair::Crlf].into_iter().collect();
    let report = world.run().await;
    assert_eq!((report.fate(Fate::Copied), report.fate(Fate::Refused)), (5, 4));
    assert_eq!(report.reasons(Fate::Refused), ["the server said: NO NUL characters"; 4]);
    world.config.repairs = asked();
    let report = world.run().await;
    assert_repaired(&world, &report, "the next pass");
    let said: Vec<&str> = report.remarks.iter().map(|row| row.remark.text.as_str()).collect();
    assert_eq!(said, ["nul"; 4], "what was not made is not told");
    let appended = world.target.counters().command("APPEND");
    let report = world.run().await;
    assert_repaired(&world, &report, "once more");
    assert_eq!(world.target.counters().command("APPEND"), appended);
    // Where the target takes them, they are copied as they are.
    let mut world = self::world(Profile::dovecot());
    world.target.faults().clear();
    world.run().await.assert_done(9);
    world.assert_copied();
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_refused_repaired_too_is_listed() {
    let mut world = world(Profile::dovecot());
    let refuse = Matching::Contains(b"nul ".to_vec());
    world.target.faults().arm(Fault::always(Deed::Refuse(refuse, "NO not that".to_owned())));
    for appends in [9, 13] {
        let report = world.run().await;
        assert_eq!((report.fate(Fate::Copied), report.fate(Fate::Refused)), (5, 4));
        assert!(report.reasons(Fate::Refused)[0].starts_with("repaired (nul), too: "));
        assert!(world.target.counters().command("APPEND") >= appends);
    }
}

#[tokio::test(start_paused = true)]
async fn a_repaired_copy_is_known_after_a_crash_anywhere() {
    for target in [Profile::dovecot(), Profile::plain()] {
        for delivery in [Delivery::Direct, Delivery::Staged] {
            for point in 0..24 {
                let kill = match point % 2 {
                    0 => Kill::Sent(Side::Target, 200 + 200 * point),
                    _ => Kill::Received(Side::Target, 200 + 100 * point),
                };
                let mut world = world(target.clone());
                world.config.delivery = delivery;
                let report = match world.run_until(kill).await {
                    Some(report) => report,
                    None => world.run().await,
                };
                assert_repaired(&world, &report, &format!("{delivery:?} {kill:?}"));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_repaired_copy_whose_ok_is_lost_is_not_sent_again() {
    for lost in 0..14 {
        let mut world = world(Profile::exchange());
        let cut = Deed::CutAfter("APPEND".to_owned());
        world.target.faults().arm(Fault::once(cut).after(lost));
        let report = world.run().await;
        assert_repaired(&world, &report, &format!("the answer {lost}"));
        assert_eq!(world.target.counters().appended, 9);
    }
}

#[tokio::test(start_paused = true)]
async fn a_repaired_copy_is_known_after_a_new_uidvalidity_of_either_end() {
    let mut world = world(Profile::dovecot());
    world.run().await;
    let appended = world.target.counters().appended;
    world.anna().bump_uid_validity(&INBOX);
    let report = world.run().await;
    assert_repaired(&world, &report, "another source");
    world.copy().bump_uid_validity(&INBOX);
    let report = world.run().await;
    assert_repaired(&world, &report, "another target");
    assert_eq!(world.target.counters().appended, appended);
}

#[tokio::test(start_paused = true)]
async fn a_repaired_copy_goes_along_where_its_message_was_filed_or_its_mailbox_renamed() {
    let mut world = World::usual();
    world.config.repairs = asked();
    refuse_nul(&world);
    world.anna().deliver(&["Old"], letter(1));
    world.anna().deliver(&["Old"], odd(1));
    world.deliver(2..3);
    world.run().await;
    world.anna().rename_mailbox(&["Old"], &["New"]).expect("it is there");
    world.run().await;
    assert_eq!(world.copy().messages(&["Old"]).len(), 2, "it goes on there");
    world.anna().deliver(&INBOX, odd(1));
    world.anna().expunge(&["New"], 2);
    let report = world.run().await;
    assert_eq!(report.remarked(RemarkKind::Repaired), 1);
    assert_eq!(world.target.counters().appended, 3);
    assert_eq!(world.copy().messages(&INBOX)[1].body[..], repaired(&odd(1)));
}

#[tokio::test(start_paused = true)]
async fn a_comparison_takes_a_repaired_copy_for_the_message() {
    let mut world = world(Profile::dovecot());
    world.run().await;
    let differs = |events: &[Event]| -> Vec<(Difference, String)> {
        let told = events.iter().filter_map(|event| match event {
            Event::Differs { difference, text, .. } => Some((*difference, text.clone())),
            _ => None,
        });
        told.collect()
    };
    let repaired = (Difference::Rewritten, "repaired".to_owned());
    assert_eq!(differs(&world.compare().await), vec![repaired.clone(); 4]);
    // One that is not there any more is missed as any other.
    let gone =
        world.copy().messages(&INBOX).into_iter().find(|one| one.body[..] == repaired_3()[..]);
    world.copy().expunge(&INBOX, gone.expect("it is there").uid);
    let found = differs(&world.compare().await);
    let missing = (Difference::Missing, String::new());
    assert_eq!(found, [vec![repaired; 3], vec![missing]].concat());
}

fn repaired_3() -> Vec<u8> {
    repaired(&odd(3))
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_streamed_is_held_to_be_repaired_where_there_is_room() {
    let mut world = World::usual();
    world.config.repairs = asked();
    world.config.window_bytes_max = 6_000;
    world.config.memory_bytes_max = 40_000;
    refuse_nul(&world);
    let large =
        |size| Message::new(format!("Subject: {size}\r\n\r\n{}\0\r\n", "x\r\n".repeat(size)));
    world.deliver(0..2);
    for size in [3_000, 6_000, 9_000] {
        world.anna().deliver(&INBOX, large(size));
    }
    world.deliver(2..3);
    for _ in 0..2 {
        let report = world.run().await;
        assert_eq!((report.fate(Fate::Copied), report.fate(Fate::Refused)), (5, 1));
        assert_eq!(report.remarked(RemarkKind::Repaired), 2);
        assert_eq!(world.copy().messages(&INBOX).len(), 5);
    }
    let wanted = repaired(&large(6_000));
    assert!(world.copy().messages(&INBOX).iter().any(|one| one.body[..] == wanted[..]));
}

/// The octets of a streamed message come once: with flags or dates that a target might not like, it is
/// not tried with less of them.
#[tokio::test(start_paused = true)]
async fn a_message_that_is_streamed_is_repaired_or_refused_with_any_flags() {
    for (repairs, repaired) in [(asked(), 1), (Repairs::default(), 0)] {
        let mut world = World::usual();
        world.config.repairs = repairs;
        world.config.window_bytes_max = 2_000;
        refuse_nul(&world);
        let body = format!("Subject: large\r\n\r\n{}\0\r\n", "x\r\n".repeat(900));
        let large = Message::new(body).with_flags(&["$Forwarded", "Work"]).of(-86_400, 0);
        world.anna().deliver(&INBOX, large);
        for _ in 0..2 {
            let report = world.run().await;
            assert_eq!(report.remarked(RemarkKind::Repaired), repaired);
            assert_eq!(report.fate(Fate::Refused), 1 - repaired);
            for reason in report.reasons(Fate::Refused) {
                assert_eq!(reason, "the server said: NO NUL characters");
            }
            let parked = report.events.iter().any(|one| matches!(one, Event::AccountParked { .. }));
            assert!(!parked, "a connection was given up");
        }
    }
}
