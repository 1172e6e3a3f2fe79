//! A target that keeps one copy of equal messages: what it acknowledges as the copy that it has is `merged`,
//! once that one's body was read and is equal.

use mailhaul::config::{Delivery, Depth};
use mailhaul::difference::Difference;
use mailhaul::event::Event;
use mailhaul::fate::{Fate, RemarkKind};
use mailhaul::plan::rules::MapRule;
use mailhaul::rehearsal::{AppendUidLie, Deed, Fault, Merging, Message, Profile, StoredMessage};
use mailhaul::report::Verdict;
use mailhaul::simulation::network::Kill;
use mailhaul::simulation::world::{INBOX, Report, World, letter};

fn keeping_one() -> Profile {
    Profile { merges: Merging::TellsKept, multiappend: false, ..Profile::dovecot() }
}

/// Letter 1 three times, letter 2 twice in other windows, one without headers twice, and one that is
/// streamed twice: ten messages, five bodies.
fn world(target: Profile) -> World {
    let mut world = World::new(Profile::dovecot(), target);
    let large = [&letter(50).body[..], &[b'x'; 9_000]].concat();
    for number in [1, 1, 2, 3] {
        world.anna().deliver(&INBOX, letter(number));
    }
    for _ in 0..2 {
        world.anna().deliver(&INBOX, Message::new("no header at all"));
        world.anna().deliver(&INBOX, Message::new(large.clone()));
    }
    for number in [1, 2] {
        world.anna().deliver(&INBOX, letter(number));
    }
    world.config.window_bytes_max = 6_000;
    world.config.window_messages_max = 3;
    world
}

const MESSAGES: u64 = 10;
const BODIES: u64 = 5;

#[track_caller]
fn assert_merged(world: &World, report: &Report, what: &str) {
    let fates = (report.fate(Fate::Copied), report.fate(Fate::Merged), report.verdict);
    let wanted = (BODIES, MESSAGES - BODIES, Verdict::Done);
    assert_eq!(fates, wanted, "{what}: {:?} {:#?}", report.totals, report.remarks);
    let there = world.copy().messages(&INBOX);
    assert_eq!(there.len() as u64, BODIES, "{what}");
    for message in world.anna().messages(&INBOX) {
        assert!(there.iter().any(|copy| copy.body == message.body), "{what}");
    }
    world.assert_source_untouched();
}

#[tokio::test(start_paused = true)]
async fn equal_messages_are_merged_where_the_target_keeps_one_of_them() {
    let mut world = world(keeping_one());
    let report = world.run().await;
    assert_merged(&world, &report, "first pass");
    let reasons = report.reasons(Fate::Merged);
    assert_eq!(reasons.len() as u64, MESSAGES - BODIES);
    assert!(reasons.iter().all(|text| text.contains("keeps one copy of equal messages")));
    let appended = world.target.counters().appended;
    assert_eq!(appended, MESSAGES, "each is sent once");
    let report = world.run().await;
    assert_merged(&world, &report, "second pass");
    assert_eq!(world.target.counters().appended, appended, "and never again");
}

#[tokio::test(start_paused = true)]
async fn a_run_to_a_target_that_merges_is_killed_at_any_event_or_point_and_resumed() {
    for event in 1.. {
        let mut world = world(keeping_one());
        if world.run_until(Kill::Events(event)).await.is_some() {
            assert!(event > 8, "only {event} events");
            break;
        }
        let report = world.run().await;
        assert_merged(&world, &report, &format!("event {event}"));
    }
    let mut whole = world(keeping_one());
    whole.run().await;
    for point in (1..=whole.points).step_by(7) {
        let mut world = world(keeping_one());
        assert!(world.run_until(Kill::Point(point)).await.is_none(), "{point}");
        let report = world.run().await;
        assert_merged(&world, &report, &format!("point {point}"));
    }
}

#[tokio::test(start_paused = true)]
async fn cut_connections_and_a_new_uidvalidity_change_nothing_of_it() {
    for append in 0..MESSAGES {
        let mut world = world(keeping_one());
        let cut = Fault::once(Deed::CutAfter("APPEND".to_owned()));
        world.target.faults().arm(cut.after(append));
        let report = world.run().await;
        assert_merged(&world, &report, &format!("append {append}"));
        assert!(world.copy().bump_uid_validity(&INBOX).is_some());
        let report = world.run().await;
        assert_merged(&world, &report, "under new UIDs");
    }
}

#[tokio::test(start_paused = true)]
async fn staged_delivery_to_such_a_target_goes_on_directly() {
    let mut world = world(keeping_one());
    world.config.delivery = Delivery::Staged;
    let report = world.run().await;
    assert_merged(&world, &report, "staged");
    let stages = world.copy().mailboxes().into_iter().flat_map(|one| one.path);
    assert!(!stages.into_iter().any(|name| name.starts_with("mailhaul-")));
}

/// What others have put there before is the copy of one; the next are merged with it.
#[tokio::test(start_paused = true)]
async fn what_was_there_before_counts_as_the_copy_that_the_target_keeps() {
    let mut world = world(keeping_one());
    for number in [2, 7] {
        world.copy().deliver(&INBOX, letter(number));
    }
    let report = world.run().await;
    let fates = [Fate::Copied, Fate::Adopted, Fate::Merged].map(|fate| report.fate(fate));
    assert_eq!((fates, report.verdict), ([BODIES - 1, 1, MESSAGES - BODIES], Verdict::Done));
    assert_eq!(world.copy().messages(&INBOX).len() as u64, BODIES + 1);
}

/// The server's word is not enough: it tells a UID where another message stands.
#[tokio::test(start_paused = true)]
async fn nothing_is_merged_with_a_message_that_is_not_equal() {
    let mut world = World::new(Profile::dovecot(), Profile::exchange());
    world.deliver(0..5);
    let forget = Deed::Forget(mailhaul::rehearsal::Matching::Contains(b"letter 3\r".to_vec()));
    world.target.faults().arm(Fault::always(forget));
    // Message 3 is not stored, and told to be where message 2 is.
    world.config.window_messages_max = 1;
    let lie = Fault::always(Deed::AppendUid(AppendUidLie::Shifted(u32::MAX))).after(3);
    world.target.faults().arm(lie);
    let report = world.run().await;
    assert_eq!((report.fate(Fate::Merged), report.fate(Fate::Copied)), (0, 4));
    assert_eq!(report.verdict, Verdict::Incomplete);
    world.target.faults().clear();
    let report = world.run().await;
    assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Done, 5));
}

/// A copy that is two messages' does not go along with one of them.
#[tokio::test(start_paused = true)]
async fn the_copy_of_two_stays_when_one_of_them_is_moved() {
    let mut world = World::new(Profile::dovecot(), keeping_one());
    for number in [1, 1, 2] {
        world.anna().deliver(&INBOX, letter(number));
    }
    world.anna().deliver(&["Work"], letter(9));
    let report = world.run().await;
    assert_eq!((report.fate(Fate::Copied), report.fate(Fate::Merged)), (3, 1));
    for uid in [1, 3] {
        let moved = world.anna().messages(&INBOX).into_iter().find(|one| one.uid == uid).unwrap();
        assert!(world.anna().expunge(&INBOX, uid));
        let StoredMessage { flags, internal_date, body, .. } = moved;
        world.anna().deliver(&["Work"], Message { flags, internal_date, body });
    }
    let report = world.run().await;
    assert_eq!(report.verdict, Verdict::Done, "{:#?}", report.remarks);
    let at = |path: &[&str]| world.copy().messages(path).len();
    assert_eq!((at(&INBOX), at(&["Work"])), (1, 3), "the shared one stays, the other moves");
    assert_eq!(report.remarked(RemarkKind::RemovedAtSource), 1);
    assert_eq!(report.fate(Fate::Gone), 1);
}

/// One of them was there before, so that its octets are not known.
#[tokio::test(start_paused = true)]
async fn what_was_merged_with_an_adopted_copy_does_not_take_it_along() {
    let mut world = World::new(Profile::dovecot(), keeping_one());
    world.copy().deliver(&INBOX, letter(1));
    for number in [1, 1] {
        world.anna().deliver(&INBOX, letter(number));
    }
    world.anna().deliver(&["Work"], letter(9));
    let report = world.run().await;
    let fates = [Fate::Adopted, Fate::Merged].map(|fate| report.fate(fate));
    assert_eq!(fates, [1, 1], "{:#?}", report.remarks);
    let merged = report.remarks.iter().find(|row| row.fate == Fate::Merged).unwrap().uid;
    assert!(world.anna().expunge(&INBOX, merged.0));
    world.anna().deliver(&["Work"], letter(1));
    let report = world.run().await;
    assert_eq!(report.verdict, Verdict::Done, "{:#?}", report.remarks);
    let at = |path: &[&str]| world.copy().messages(path).len();
    assert_eq!((at(&INBOX), at(&["Work"])), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn two_mailboxes_that_end_in_one_are_merged_there() {
    let mut world = World::new(Profile::dovecot(), keeping_one());
    for path in [["Old"], ["Work"]] {
        for number in [1, 2] {
            world.anna().deliver(&path, letter(number));
        }
    }
    world.config.rules.map = vec![MapRule::parse("Old=Work").expect("a rule")];
    world.config.rules.merge = true;
    for _ in 0..2 {
        let report = world.run().await;
        let fates = [Fate::Copied, Fate::Merged].map(|fate| report.fate(fate));
        assert_eq!((fates, report.verdict), ([2, 2], Verdict::Done));
        assert_eq!(world.copy().messages(&["Work"]).len(), 2);
    }
}

/// Both are told when the one copy is gone, and sent again when that is wanted.
#[tokio::test(start_paused = true)]
async fn the_copy_of_two_that_is_gone_is_refilled_once() {
    let mut world = World::new(Profile::dovecot(), keeping_one());
    for number in [1, 1, 2] {
        world.anna().deliver(&INBOX, letter(number));
    }
    world.run().await;
    assert!(world.copy().expunge(&INBOX, 1));
    let report = world.run().await;
    assert_eq!(report.remarked(RemarkKind::RemovedAtTarget), 2);
    world.config.on_target_loss = mailhaul::config::TargetLoss::Refill;
    let report = world.run().await;
    let fates = [Fate::Copied, Fate::Merged].map(|fate| report.fate(fate));
    assert_eq!((fates, report.verdict), ([2, 1], Verdict::Done), "{:#?}", report.remarks);
    assert_eq!(report.remarked(RemarkKind::RemovedAtTarget), 0);
    assert_eq!(world.copy().messages(&INBOX).len(), 2);
}

/// What a comparison finds of messages that have no copy of their own, and its words for it.
async fn told(world: &World) -> Vec<(Difference, String)> {
    let told = world.compare().await.into_iter().filter_map(|event| match event {
        Event::Differs { difference, text, .. } => Some((difference, text)),
        _ => None,
    });
    let mut told: Vec<(Difference, String)> =
        told.filter(|(kind, _)| *kind != Difference::Flags).collect();
    told.sort();
    told
}

fn equal(kind: Difference, messages: u64) -> (Difference, String) {
    (kind, format!("{messages} equal messages, one copy"))
}

#[tokio::test(start_paused = true)]
async fn a_comparison_calls_merged_what_the_ledger_does_and_missing_what_is_lost() {
    let mut world = world(keeping_one());
    world.run().await;
    let [two, three] = [2, 3].map(|messages| equal(Difference::Merged, messages));
    let all = vec![two.clone(), two.clone(), two.clone(), three.clone(), three];
    for depth in [Depth::Full, Depth::Sample(5_000), Depth::Fast] {
        world.config.depth = depth;
        assert_eq!(told(&world).await, all, "{depth:?}");
    }
    // The one copy of three is gone, too.
    let copies = world.copy().messages(&INBOX);
    let copy = copies.iter().find(|copy| copy.body == letter(1).body).unwrap();
    assert!(world.copy().expunge(&INBOX, copy.uid));
    let missing = (Difference::Missing, String::new());
    let wanted = [vec![missing; 3], vec![two; 3]].concat();
    assert_eq!(told(&world).await, wanted);
}

/// Nobody can tell a target that keeps one copy from one that has lost the others.
#[tokio::test(start_paused = true)]
async fn without_a_ledgers_word_what_has_an_equal_copy_is_missing_and_that_is_told() {
    for (source_validity, told_as) in [(false, Difference::Merged), (true, Difference::Missing)] {
        let mut world = World::new(Profile::dovecot(), keeping_one());
        for number in [1, 1, 1, 2] {
            world.anna().deliver(&INBOX, letter(number));
        }
        world.run().await;
        if source_validity {
            // What the ledger knows is of other UIDs.
            assert!(world.anna().bump_uid_validity(&INBOX).is_some());
        }
        assert_eq!(told(&world).await, vec![equal(told_as, 3); 2]);
    }
    let mut lost = World::usual();
    for number in [1, 1, 1, 2] {
        lost.anna().deliver(&INBOX, letter(number));
    }
    lost.run().await.assert_done(4);
    assert!(lost.copy().expunge(&INBOX, 1));
    let text = "3 equal messages, 2 copies".to_owned();
    assert_eq!(told(&lost).await, [(Difference::Missing, text)]);
}

/// D17: of Gmail it is known, though others have copied here.
#[tokio::test(start_paused = true)]
async fn gmail_is_known_to_keep_one_copy_though_no_ledger_says_so() {
    let world = world(like_gmail());
    for number in 1..4 {
        world.copy().deliver(&INBOX, letter(number));
    }
    let told = told(&world).await;
    let count = |kind| told.iter().filter(|(told, _)| *told == kind).count() as u64;
    assert_eq!(count(Difference::Merged), 3, "{told:?}");
    assert_eq!(count(Difference::Missing), 4, "what has no equal there is missing: {told:?}");
}

/// Gmail, which tells a UID of its own for each.
fn like_gmail() -> Profile {
    Profile { merges: Merging::TellsNew, labels: true, all_mail: true, ..Profile::gmail() }
}

/// D17
#[tokio::test(start_paused = true)]
async fn gmail_keeps_one_copy_of_equal_messages_and_tells_another_uid() {
    let mut world = world(like_gmail());
    world.copy().create_mailbox(&["[Gmail]", "All Mail"], Some("\\All")).unwrap();
    for _ in 0..3 {
        world.config.on_target_loss = mailhaul::config::TargetLoss::Refill;
        let report = world.run().await;
        assert_merged(&world, &report, "gmail");
        assert_eq!(report.remarked(RemarkKind::RemovedAtTarget), 0);
        assert_eq!(world.target.counters().appended, MESSAGES);
        let all = world.copy().messages(&["[Gmail]", "All Mail"]);
        assert_eq!(all.len() as u64, BODIES, "nothing is appended to the view");
    }
    let is_told = |event: &Event| matches!(event, Event::ExtraMailbox { .. });
    assert!(!world.compare().await.iter().any(is_told), "the view of all mail is not extra");
}

#[tokio::test(start_paused = true)]
async fn a_run_to_gmail_is_killed_at_any_point_and_resumed() {
    let mut whole = world(like_gmail());
    whole.run().await;
    for point in (1..=whole.points).step_by(7) {
        let mut world = world(like_gmail());
        assert!(world.run_until(Kill::Point(point)).await.is_none(), "{point}");
        world.run().await;
        // What was acknowledged when the process died is looked at by the next pass.
        let report = world.run().await;
        assert_merged(&world, &report, &format!("point {point}"));
        assert_eq!(report.remarked(RemarkKind::RemovedAtTarget), 0, "point {point}");
    }
}

/// A copy that was seen for a moment beside its equal.
#[tokio::test(start_paused = true)]
async fn what_gmail_keeps_no_second_copy_of_is_not_lost() {
    let target = Profile { labels: true, ..Profile::gmail() };
    let mut world = World::new(Profile::dovecot(), target);
    for number in [1, 1, 2] {
        world.anna().deliver(&INBOX, letter(number));
    }
    world.run().await.assert_done(3);
    assert!(world.copy().expunge(&INBOX, 2));
    world.config.on_target_loss = mailhaul::config::TargetLoss::Refill;
    for _ in 0..2 {
        let report = world.run().await;
        let fates = [Fate::Copied, Fate::Merged].map(|fate| report.fate(fate));
        assert_eq!((fates, report.verdict), ([2, 1], Verdict::Done), "{:#?}", report.remarks);
        assert_eq!(report.remarked(RemarkKind::RemovedAtTarget), 0);
        assert_eq!(world.target.counters().appended, 3);
    }
    // What has no equal there is.
    assert!(world.copy().expunge(&INBOX, 3));
    world.run().await;
    assert_eq!(world.target.counters().appended, 4);
}
