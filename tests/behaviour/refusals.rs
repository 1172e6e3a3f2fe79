//! Targets that will not have something.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mailhaul::event::Event;
use mailhaul::fate::{Fate, RemarkKind};
use mailhaul::ledger::AccountState;
use mailhaul::rehearsal::{Deed, Fault, Matching, Message, Profile};
use mailhaul::report::Verdict;

use mailhaul::simulation::world::{ANNA, INBOX, MessageExt, World, letter};

const BEN: &str = "ben@example.org";

fn letter_3() -> Matching {
    Matching::Contains(b"letter 3\r".to_vec())
}

/// A11
#[tokio::test(start_paused = true)]
async fn one_refused_message_does_not_hold_up_the_others() {
    for target in [Profile::dovecot(), Profile::exchange(), Profile::gmail(), Profile::plain()] {
        let mut world = World::new(Profile::dovecot(), target);
        world.deliver(0..10);
        let virus = "NO [CANNOT] it has a virus";
        let refuse = Deed::Refuse(letter_3(), virus.to_owned());
        world.target.faults().arm(Fault::always(refuse));
        let report = world.run().await;
        assert_eq!((report.fate(Fate::Copied), report.fate(Fate::Refused)), (9, 1));
        assert_eq!(report.verdict, Verdict::Incomplete);
        assert_eq!(report.reasons(Fate::Refused), [format!("the server said: {virus}")]);
        assert_eq!(world.copy().snapshot().messages(), 9);
        // Once more, and once only.
        let before = world.target.counters().command("APPEND");
        let report = world.run().await;
        assert_eq!(report.fate(Fate::Refused), 1);
        assert_eq!(world.target.counters().command("APPEND"), before + 1);
        world.target.faults().clear();
        world.run().await.assert_done(10);
        world.assert_copied();
    }
}

/// B19
#[tokio::test(start_paused = true)]
async fn a_message_larger_than_the_target_announces_is_not_sent() {
    let target = Profile { append_limit: Some(100_000), ..Profile::dovecot() };
    let mut world = World::new(Profile::dovecot(), target);
    world.deliver(0..5);
    world.anna().deliver(&INBOX, Message::new(vec![b'x'; 100_001]));
    world.anna().deliver(&INBOX, Message::new(vec![b'x'; 100_000]));
    let report = world.run().await;
    assert_eq!((report.fate(Fate::Copied), report.fate(Fate::Refused)), (6, 1));
    assert!(report.reasons(Fate::Refused)[0].contains("APPENDLIMIT"));
}

/// B19
#[tokio::test(start_paused = true)]
async fn a_message_too_large_for_the_target_is_listed() {
    for (target, window_bytes_max) in
        [(Profile::dovecot(), 1 << 20), (Profile::plain(), 1 << 20), (Profile::dovecot(), 50_000)]
    {
        let target = Profile { max_message_bytes: Some(100_000), ..target };
        let mut world = World::new(Profile::dovecot(), target);
        world.config.window_bytes_max = window_bytes_max;
        world.deliver(0..3);
        world.anna().deliver(&INBOX, Message::new(vec![b'x'; 150_000]));
        world.deliver(4..8);
        let report = world.run().await;
        assert_eq!((report.fate(Fate::Copied), report.fate(Fate::Refused)), (7, 1));
        assert_eq!(
            report.reasons(Fate::Refused),
            ["the server said: NO [TOOBIG] message too large"]
        );
    }
}

/// C06
#[tokio::test(start_paused = true)]
async fn keywords_the_target_cannot_hold_are_left_out_and_noted() {
    let mut world = World::usual();
    let odd = ["a]b", &"k".repeat(60), "fine"];
    world.anna().deliver(&INBOX, letter(1).with_flags(&odd));
    world.anna().deliver(&INBOX, letter(2).with_flags(&["fine", "\\Seen"]));
    let report = world.run().await;
    assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Done, 2));
    assert_eq!(report.remarked(RemarkKind::FlagsReduced), 1);
    assert_eq!(world.copy().messages(&INBOX)[0].flags, ["fine"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_keyword_costs_the_message_only_that() {
    // A window's worth: together, where the server takes that, then each as it is, before one is tried
    // with less.
    for (target, times) in [(Profile::dovecot(), 5), (Profile::plain(), 4)] {
        let mut world = World::new(Profile::dovecot(), target);
        for number in 0..6 {
            let message = letter(number).with_flags(&["\\Seen", "Odd"]);
            world.anna().deliver(&INBOX, message);
        }
        let no = Deed::Answer("APPEND".to_owned(), "NO no such keyword".to_owned());
        world.target.faults().arm(Fault::once(no).times(times));
        let report = world.run().await;
        assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Done, 6));
        for message in world.copy().messages(&INBOX) {
            assert_eq!(message.flags, ["\\Seen"]);
        }
        assert_eq!(report.remarked(RemarkKind::FlagsReduced), 6);
    }
}

#[tokio::test(start_paused = true)]
async fn that_keywords_are_asked_for_changes_no_message() {
    for target in [Profile::dovecot(), Profile::plain()] {
        let mut world = World::new(Profile::dovecot(), target);
        world.deliver(0..6);
        world.run().await.assert_done(6);
        world.anna().deliver(&INBOX, letter(7).with_flags(&["Work", "$Later"]));
        world.run().await.assert_done(7);
        world.assert_copied();
        let copies = world.copy().messages(&INBOX);
        let flagged = copies.iter().filter(|copy| copy.flags.iter().any(|flag| flag == "Work"));
        assert_eq!(flagged.count(), 1);
    }
}

/// E01
#[tokio::test(start_paused = true)]
async fn a_full_account_stops_at_once_and_goes_on_when_there_is_room() {
    for target in [Profile::dovecot(), Profile::exchange(), Profile::plain()] {
        let mut world = World::new(Profile::dovecot(), target);
        let ben = world.add(BEN);
        world.deliver(0..200);
        for number in 0..20 {
            ben.deliver(&INBOX, letter(number));
        }
        world.copy().set_quota(Some(2_000));
        let report = world.run().await;
        assert_eq!(report.state(ANNA), AccountState::Failed);
        assert_eq!(report.state(BEN), AccountState::Done);
        assert_eq!(report.verdict, Verdict::Incomplete);
        assert_eq!(report.fate(Fate::Refused), 0);
        let anna = report.accounts.iter().find(|one| one.name.source == ANNA);
        assert!(anna.unwrap().reason.as_ref().unwrap().contains("OVERQUOTA"));
        // Ben's twenty, what had room, and the windows in flight.
        assert!(world.target.counters().command("APPEND") < 70);
        world.copy().set_quota(None);
        world.run().await.assert_done(220);
        world.assert_copied();
    }
}

/// The server says so while a later message is on its way: that one must not end in other octets.
#[tokio::test(start_paused = true)]
async fn an_account_that_is_full_in_the_middle_of_a_message_keeps_what_was_said_of_all() {
    let target = Profile { multiappend: false, ..Profile::dovecot() };
    let mut world = World::new(Profile::dovecot(), target);
    for (number, lines) in [(0, 6_000), (1, 2_000), (2, 7_000), (3, 3_000), (4, 9_000)] {
        let mut message = letter(number);
        message.body = [&*message.body, &*b"A line of it.\r\n".repeat(lines)].concat().into();
        world.anna().deliver(&INBOX, message);
    }
    world.copy().set_quota(Some(50_000));
    let begun = tokio::time::Instant::now();
    let report = world.run().await;
    assert_eq!(report.state(ANNA), AccountState::Failed);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert_eq!(report.fate(Fate::Copied), 1);
    assert_eq!(world.copy().messages(&INBOX).len(), 1);
    world.copy().set_quota(None);
    world.run().await.assert_done(5);
    world.assert_copied();
}

/// D12
#[tokio::test(start_paused = true)]
async fn a_mailbox_that_cannot_be_made_is_listed_and_the_others_are_copied() {
    let mut world = World::usual();
    world.deliver(0..5);
    world.anna().deliver(&["Outbox"], letter(9));
    let no = Deed::Answer("CREATE".to_owned(), "NO [CANNOT] reserved name".to_owned());
    world.target.faults().arm(Fault::always(no));
    let report = world.run().await;
    assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Incomplete, 5));
    assert!(report.mailbox_faults()[0].contains("reserved name"));
    world.target.faults().clear();
    world.run().await.assert_done(6);
    world.assert_copied();
}

/// A25
#[tokio::test(start_paused = true)]
async fn a_mailbox_deleted_in_mid_run_is_made_again_once_and_copied() {
    for target in [Profile::dovecot(), Profile::exchange(), Profile::plain()] {
        let mut world = World::new(Profile::dovecot(), target);
        world.config.scan_messages_max = 10;
        for number in 0..60 {
            world.anna().deliver(&["Work"], letter(number));
        }
        world.deliver(0..5);
        let copy = world.copy();
        let scans = AtomicU64::new(0);
        world.on_event(move |event| {
            let is_work = matches!(event, Event::Scanned { mailbox, .. } if mailbox == "Work");
            if is_work && scans.fetch_add(1, Ordering::Relaxed) == 2 {
                copy.delete_mailbox(&["Work"]).unwrap();
            }
        });
        world.run().await.assert_done(65);
        world.assert_copied();
    }
}
