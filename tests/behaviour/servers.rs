//! Every kind of target ends with the same mail.

use mailhaul::event::Event;
use mailhaul::fate::Fate;
use mailhaul::rehearsal::{AppendUidLie, Deed, Fault, Held, Literal, Message, Profile};

use mailhaul::simulation::world::{INBOX, MessageExt, World, letter};

fn profiles() -> [Profile; 8] {
    [
        Profile::dovecot(),
        Profile::exchange(),
        Profile::gmail(),
        Profile::courier(),
        Profile::plain(),
        Profile {
            name: "dovecot without uidplus".to_owned(),
            uidplus: false,
            ..Profile::dovecot()
        },
        Profile {
            name: "multiappend, every literal waits".to_owned(),
            literal: Literal::None,
            ..Profile::dovecot()
        },
        Profile {
            name: "capabilities only when asked for".to_owned(),
            capability_codes: false,
            auth_plain: false,
            ..Profile::dovecot()
        },
    ]
}

fn fill(world: &World) {
    for number in 0..23 {
        let mailbox: &[&str] = if number % 3 == 0 { &["a", "b"] } else { &INBOX };
        world.anna().deliver(mailbox, letter(number));
    }
    for number in [3, 4, 4] {
        world.anna().deliver(&INBOX, letter(number));
    }
    let keywords = letter(30).with_flags(&["$Forwarded", "\\Seen", "Work"]);
    world.anna().deliver(&INBOX, keywords.clone());
    world.anna().deliver(&INBOX, keywords);
    world.anna().deliver(&INBOX, Message::new(vec![b'x'; 6_000]));
    world.anna().deliver(&INBOX, Message::new("no headers"));
}

const MESSAGES: u64 = 30;

#[tokio::test(start_paused = true)]
async fn every_kind_of_target_ends_with_the_same_mail() {
    for target in profiles() {
        println!("{}", target.name);
        let mut world = World::new(Profile::dovecot(), target);
        fill(&world);
        let report = world.run().await;
        report.assert_done(MESSAGES);
        world.assert_copied();
        assert_eq!(told(&report.events), [MESSAGES, MESSAGES]);
    }
}

/// The messages told as copied, one window at a time and at the end.
fn told(events: &[Event]) -> [u64; 2] {
    events.iter().fold([0, 0], |[windows, end], event| match event {
        Event::Copied { messages, .. } => [windows + messages, end],
        Event::AccountDone { messages, .. } => [windows, end + messages],
        _ => [windows, end],
    })
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_source_gives_its_mail() {
    for source in profiles() {
        println!("{}", source.name);
        let mut world = World::new(source, Profile::dovecot());
        fill(&world);
        world.run().await.assert_done(MESSAGES);
        world.assert_copied();
    }
}

/// A09
#[tokio::test(start_paused = true)]
async fn what_the_target_says_of_its_uids_is_not_trusted() {
    let lies = [
        AppendUidLie::Omitted,
        AppendUidLie::Shifted(1_000),
        AppendUidLie::Shifted(1),
        AppendUidLie::Shifted(u32::MAX),
        AppendUidLie::Validity(5),
    ];
    for target in [Profile::dovecot(), Profile::exchange()] {
        for lie in lies {
            for (after, times) in [(0, 1_000), (2, 1)] {
                println!("{} {lie:?} after {after}", target.name);
                let mut world = World::new(Profile::dovecot(), target.clone());
                fill(&world);
                let fault = Fault::always(Deed::AppendUid(lie)).after(after).times(times);
                world.target.faults().arm(fault);
                world.run().await.assert_done(MESSAGES);
                world.assert_copied();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn mail_cannot_run_as_commands() {
    let mut hostile = String::new();
    for command in [
        "CREATE evil",
        "APPEND evil {4+}\r\nmail",
        "APPEND INBOX {4+}\r\nmail",
        "DELETE a",
        "RENAME INBOX evil",
        "SUBSCRIBE evil",
        "SELECT INBOX",
        "LOGOUT",
    ] {
        hostile += &format!("\r\nX1 {command}\r\n");
    }
    hostile += "{10}\r\n{10+}\r\n)\r\n+ go ahead\r\nM1 OK [APPENDUID 1 1] done\r\n* BYE\r\n";
    for target in profiles() {
        println!("{}", target.name);
        let mut world = World::new(Profile::dovecot(), target.clone());
        let odd: [&[&str]; 6] = [
            &[],
            &["\\Seen", "Work"],
            &["a]b"],
            &["$MDNSent", "NonJunk", "x:y"],
            &[&"k".repeat(200)],
            &["{5+}"],
        ];
        let dates = [0, -1, 3_000_000_000, 1_600_000_000, 253_402_300_799, 951_782_400];
        for (number, (flags, date)) in (0..).zip(odd.into_iter().zip(dates)) {
            let body = [&letter(number).body[..], hostile.as_bytes()].concat();
            let message = Message::new(body).with_flags(flags).of(date, 0);
            world.anna().deliver(&INBOX, message.clone());
            world.anna().deliver(&["a"], message);
        }
        let report = world.run().await;
        assert_eq!(report.totals.sum(&[Fate::Copied]).messages, 12);
        let (wanted, there) = (world.anna().snapshot(), world.copy().snapshot());
        for (path, wanted) in &wanted.mailboxes {
            let bodies = |held: &[Held]| {
                let mut bodies: Vec<_> = held.iter().map(|one| one.body.clone()).collect();
                bodies.sort();
                bodies
            };
            assert!(bodies(&there.mailboxes[path]) == bodies(wanted), "{path:?}");
        }
        assert_eq!(there.mailboxes.len(), wanted.mailboxes.len());
        assert!(world.copy().subscriptions().is_empty());
    }
}

/// E17
#[tokio::test(start_paused = true)]
async fn a_bad_answer_to_an_append_does_not_run_the_message() {
    for target in profiles() {
        println!("{}", target.name);
        let mut world = World::new(Profile::dovecot(), target.clone());
        let body = [&letter(1).body[..], b"\r\nX1 CREATE evil\r\n"].concat();
        world.anna().deliver(&INBOX, Message::new(body));
        world.anna().deliver(&INBOX, letter(2));
        let bad = Deed::Answer("APPEND".to_owned(), "BAD what is this".to_owned());
        world.target.faults().arm(Fault::once(bad));
        world.run().await;
        assert_eq!(world.copy().mailboxes().len(), 1);
        // Where the server had the choice before the message was sent, it has refused it.
        world.run().await.assert_done(2);
        world.assert_copied();
    }
}
