//! APPENDs that take effect after they were looked for, and servers that do not tell the truth.

use std::time::Duration;

use mailhaul::config::Adopt;
use mailhaul::fate::{Fate, RemarkKind};
use mailhaul::fault::Side;
use mailhaul::rehearsal::{AppendUidLie, Deed, Fault, Matching, Message, Profile};
use mailhaul::report::Verdict;
use mailhaul::simulation::network::Kill;
use mailhaul::simulation::world::{INBOX, World, letter};

/// A04
#[tokio::test(start_paused = true)]
async fn a_copy_that_comes_after_the_settling_is_reported() {
    for target in [Profile::dovecot(), Profile::exchange(), Profile::courier()] {
        let mut world = World::new(Profile::dovecot(), target);
        world.deliver(0..3);
        world.config.idle_timeout = Duration::from_secs(1);
        let late = Deed::CommitLate(Matching::Any, Duration::from_secs(300));
        world.target.faults().arm(Fault::once(late));
        let report = world.run().await;
        assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Done, 3));
        world.target.settle().await;
        let there = world.copy().messages(&INBOX).len();
        assert!(there > 3, "nothing came late");
        let report = world.run().await;
        assert_eq!(report.verdict, Verdict::InDoubt);
        assert_eq!(report.remarked(RemarkKind::PossibleDuplicate), there as u64 - 3);
        assert_eq!(world.copy().messages(&INBOX).len(), there, "nothing is sent or removed");
        // Somebody removes it.
        for message in &world.copy().messages(&INBOX)[3..] {
            world.copy().expunge(&INBOX, message.uid);
        }
        world.run().await.assert_done(3);
    }
}

#[tokio::test(start_paused = true)]
async fn late_copies_are_reported_of_which_one_was_adopted_unread() {
    let mut world = World::usual();
    world.deliver(1..2);
    world.config.adopt = Adopt::None;
    world.config.window_bytes_max = 100; // It is streamed, and nobody knows its digest.
    world.config.idle_timeout = Duration::from_secs(1);
    let late = Deed::CommitLate(Matching::Any, Duration::from_secs(300));
    world.target.faults().arm(Fault::always(late));
    assert_eq!(world.run().await.fate(Fate::Copied), 0);
    world.target.settle().await;
    assert!(world.copy().messages(&INBOX).len() > 1, "nothing came late");
    for _ in 0..2 {
        let report = world.run().await;
        assert_eq!((report.verdict, report.fate(Fate::Adopted)), (Verdict::InDoubt, 1));
        assert_eq!(report.remarked(RemarkKind::PossibleDuplicate), 1);
    }
}

/// R3: nobody can compare them any more.
#[tokio::test(start_paused = true)]
async fn late_copies_are_reported_of_a_streamed_message_that_is_gone_at_the_source() {
    let mut world = World::usual();
    world.deliver(1..2);
    world.config.adopt = Adopt::None;
    world.config.window_bytes_max = 100;
    world.config.idle_timeout = Duration::from_secs(1);
    let late = Deed::CommitLate(Matching::Any, Duration::from_secs(300));
    world.target.faults().arm(Fault::always(late));
    assert_eq!(world.run().await.fate(Fate::Copied), 0);
    assert!(world.anna().expunge(&INBOX, 1));
    world.target.settle().await;
    let copies = world.copy().messages(&INBOX);
    assert!(copies.len() > 1, "nothing came late");
    for _ in 0..2 {
        let report = world.run().await;
        assert_eq!((report.verdict, report.fate(Fate::Gone)), (Verdict::InDoubt, 1));
        let texts: Vec<_> = report.remarks.iter().map(|row| &row.remark.text).collect();
        let uids: Vec<String> = copies.iter().map(|copy| copy.uid.to_string()).collect();
        let told = format!("may have come late: UID {}", uids.join(", "));
        assert!(texts.iter().any(|text| text.ends_with(&told)), "{texts:?}");
    }
    for copy in copies {
        world.copy().expunge(&INBOX, copy.uid);
    }
    assert_eq!(world.run().await.verdict, Verdict::Done);
}

/// Both have one size, date and header lines, and both were in doubt; one is refused for its bare LF.
#[tokio::test(start_paused = true)]
async fn a_late_copy_is_no_rewritten_copy_of_a_namesake_that_is_refused() {
    let mut world =
        World::new(Profile::dovecot(), Profile { multiappend: false, ..Profile::dovecot() });
    let namesake = |end: &[u8]| {
        let body = [&letter(1).body[..], end].concat().into();
        Message { body, ..letter(1) }
    };
    for end in [b"a\r\n", b"\nb\n"] {
        world.anna().deliver(&INBOX, namesake(end));
    }
    world.config.idle_timeout = Duration::from_secs(1);
    let faults = world.target.faults();
    faults.arm(Fault::once(Deed::CommitLate(Matching::Any, Duration::from_secs(300))));
    let bare = Matching::Contains(b"\nb\n".to_vec());
    faults.arm(Fault::always(Deed::Refuse(bare, "NO bare LF".to_owned())));
    let report = world.run().await;
    assert_eq!((report.fate(Fate::Copied), report.fate(Fate::Refused)), (1, 1));
    world.target.settle().await;
    assert_eq!(world.copy().messages(&INBOX).len(), 2, "one came late");
    let report = world.run().await;
    assert_eq!((report.fate(Fate::Copied), report.fate(Fate::Refused)), (1, 1));
    assert_eq!(report.remarked(RemarkKind::PossibleDuplicate), 1);
}

#[tokio::test(start_paused = true)]
async fn a_late_copy_within_the_same_run_is_reported_by_that_run() {
    let mut world = World::usual();
    world.deliver(0..30);
    world.anna().deliver(&["Work"], letter(99));
    world.config.window_messages_max = 1;
    world.config.windows_in_flight_max = 1;
    world.config.idle_timeout = Duration::from_secs(1);
    world.config.settle = Duration::from_secs(1);
    world.config.settle_max = Duration::from_secs(1);
    let late = Deed::CommitLate(Matching::Any, Duration::from_secs(6));
    world.target.faults().arm(Fault::once(late).after(3));
    let slow = Deed::Delay("APPEND".to_owned(), Duration::from_millis(300));
    world.target.faults().arm(Fault::always(slow));
    let report = world.run().await;
    assert_eq!(report.verdict, Verdict::InDoubt, "{:?}", report.totals);
    assert_eq!(report.remarked(RemarkKind::PossibleDuplicate), 1);
    assert_eq!(world.copy().messages(&INBOX).len(), 31);
}

#[tokio::test(start_paused = true)]
async fn wrong_uids_and_a_crash_before_the_read_back_double_nothing() {
    for lie in [AppendUidLie::Shifted(1), AppendUidLie::Omitted, AppendUidLie::Validity(7)] {
        for target in [Profile::exchange(), Profile::dovecot()] {
            for point in 0..40 {
                let mut world = World::new(Profile::dovecot(), target.clone());
                for number in [1, 2, 3, 4, 5, 6, 2, 2, 7, 8, 9] {
                    world.anna().deliver(&INBOX, letter(number));
                }
                world.config.window_messages_max = 3;
                world.target.faults().arm(Fault::always(Deed::AppendUid(lie)));
                let killed =
                    world.run_until(Kill::Received(Side::Target, 1000 + 120 * point)).await;
                let report = world.run().await;
                let what = format!("{lie:?} {point} killed {}", killed.is_none());
                assert_eq!(report.fate(Fate::Copied), 11, "{what}");
                world.assert_copied();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_twin_moved_away_and_back_is_not_taken_for_another() {
    let mut world = World::usual();
    world.anna().deliver(&INBOX, letter(1));
    world.run().await.assert_done(1);
    world.anna().deliver(&INBOX, letter(1));
    // The user moves the copy away and back while the second one is lost on the way.
    world.target.faults().arm(Fault::once(Deed::CutBefore("APPEND".to_owned())));
    let copy = world.copy();
    let moved = std::sync::atomic::AtomicBool::new(false);
    world.on_event(move |event| {
        let parked = matches!(event, mailhaul::event::Event::AccountParked { .. });
        if parked && !moved.swap(true, std::sync::atomic::Ordering::Relaxed) {
            let uid = copy.messages(&INBOX)[0].uid;
            copy.expunge(&INBOX, uid);
            copy.deliver(&INBOX, letter(1));
        }
    });
    world.run().await.assert_done(2);
    world.assert_copied();
}
