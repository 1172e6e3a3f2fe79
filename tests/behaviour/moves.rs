//! Mail that its owner files at the source between two passes: its copies go along, or it is copied, and
//! no message is lost or doubled, whatever happens to the MOVE.

use std::time::Duration;

use mailhaul::config::Moves;
use mailhaul::event::Event;
use mailhaul::fate::{Fate, RemarkKind};
use mailhaul::rehearsal::{AppendUidLie, Deed, Fault, Message, Profile, Slowness};
use mailhaul::report::Verdict;
use mailhaul::simulation::network::Kill;
use mailhaul::simulation::world::{ANNA, INBOX, MessageExt, Report, World, letter};

const WORK: [&str; 1] = ["Work"];

/// Moves a message at the source, as its owner's client does.
fn file(world: &World, from: &[&str], uid: u32, to: &[&str]) -> u32 {
    let source = world.anna();
    let stored = source.messages(from).into_iter().find(|one| one.uid == uid).expect("it is there");
    let flags: Vec<&str> = stored.flags.iter().map(String::as_str).collect();
    let date = stored.internal_date;
    let message = Message::new(stored.body.clone()).with_flags(&flags);
    let new = source.deliver(to, message.of(date.unix_seconds, date.offset_seconds));
    assert!(source.expunge(from, uid));
    new
}

/// Six letters in the inbox, of which two are equal, and one in Work; copied.
async fn copied(target: Profile) -> World {
    let mut world = World::new(Profile::dovecot(), target);
    world.deliver(0..5);
    world.deliver(4..5);
    world.anna().deliver(&WORK, letter(9));
    world.run().await.assert_done(7);
    world
}

fn bodies(world: &World, path: &[&str]) -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> =
        world.copy().messages(path).into_iter().map(|one| one.body.to_vec()).collect();
    bodies.sort();
    bodies
}

fn letters<const N: usize>(numbers: [u32; N]) -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> =
        numbers.into_iter().map(|number| letter(number).body.to_vec()).collect();
    bodies.sort();
    bodies
}

fn target_commands(world: &World) -> [u64; 2] {
    ["UID MOVE", "APPEND"].map(|name| world.target.counters().command(name))
}

#[track_caller]
fn assert_fates(report: &Report, copied: u64, gone: u64) {
    let fates = (report.verdict, report.fate(Fate::Copied), report.fate(Fate::Gone));
    assert_eq!(fates, (Verdict::Done, copied, gone), "{:?}", report.totals);
}

#[tokio::test(start_paused = true)]
async fn a_copy_goes_where_its_message_was_moved() {
    for target in [Profile::dovecot(), Profile::cyrus()] {
        let mut world = copied(target).await;
        let guid = world.copy().messages(&INBOX)[1].guid;
        file(&world, &INBOX, 2, &WORK);
        file(&world, &INBOX, 3, &["New"]);
        let [moves, appends] = target_commands(&world);
        let report = world.run().await;
        assert_fates(&report, 7, 2);
        assert_eq!(
            report.reasons(Fate::Gone)[0],
            "moved to Work at the source, and its copy with it"
        );
        assert_eq!(target_commands(&world), [moves + 2, appends]);
        assert!(world.copy().messages(&WORK).iter().any(|one| one.guid == guid));
        world.assert_copied();
        assert_fates(&world.run().await, 7, 2);
        assert_eq!(target_commands(&world), [moves + 2, appends]);
        world.assert_copied();
    }
}

#[tokio::test(start_paused = true)]
async fn equal_messages_are_moved_as_often_as_at_the_source() {
    let mut world = copied(Profile::dovecot()).await;
    file(&world, &INBOX, 5, &WORK);
    let [moves, appends] = target_commands(&world);
    assert_fates(&world.run().await, 7, 1);
    world.assert_copied();
    file(&world, &INBOX, 6, &WORK);
    world.anna().deliver(&WORK, letter(4)); // A third one, which came from nowhere.
    assert_fates(&world.run().await, 8, 2);
    assert_eq!(target_commands(&world), [moves + 2, appends + 1]);
    world.assert_copied();
}

#[tokio::test(start_paused = true)]
async fn many_are_moved_in_one_command_and_flags_follow_where_they_are_now() {
    let mut world = World::usual();
    world.deliver(0..30);
    world.run().await.assert_done(30);
    for uid in 1..=20 {
        let new = file(&world, &INBOX, uid, &WORK);
        assert!(world.anna().set_flags(&WORK, new, &["\\Draft", "Filed"]));
    }
    // Its owner sets a flag at the target meanwhile.
    assert!(world.copy().set_flags(&INBOX, 4, &["Mine"]));
    let [_, appends] = target_commands(&world);
    assert_fates(&world.run().await, 30, 20);
    assert_eq!(target_commands(&world), [1, appends]);
    let mine = world.copy().messages(&WORK).into_iter().filter(|one| {
        let mut flags = one.flags.clone();
        flags.sort();
        flags == ["Filed", "Mine", "\\Draft"]
    });
    assert_eq!(mine.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_that_was_emptied_and_deleted_has_its_copies_moved() {
    let mut world = copied(Profile::dovecot()).await;
    file(&world, &WORK, 1, &INBOX);
    world.anna().delete_mailbox(&WORK).unwrap();
    assert_fates(&world.run().await, 7, 1);
    assert_eq!(bodies(&world, &WORK), letters([]));
    assert_eq!(bodies(&world, &INBOX), letters([0, 1, 2, 3, 4, 4, 9]));
    assert_eq!(target_commands(&world)[0], 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_with_a_new_uid_in_its_mailbox_keeps_its_copy() {
    let mut world = copied(Profile::dovecot()).await;
    let [moves, appends] = target_commands(&world);
    file(&world, &INBOX, 1, &INBOX);
    assert_fates(&world.run().await, 7, 1);
    assert_eq!(target_commands(&world), [moves, appends]);
    assert_eq!(bodies(&world, &INBOX), letters([0, 1, 2, 3, 4, 4]));
}

#[tokio::test(start_paused = true)]
async fn moved_mail_is_copied_where_the_user_wants_it_so_or_the_target_cannot_move() {
    for (target, moves) in [(Profile::dovecot(), Moves::Copy), (Profile::plain(), Moves::Follow)] {
        let mut world = copied(target).await;
        world.config.moves = moves;
        file(&world, &INBOX, 2, &WORK);
        for _ in 0..2 {
            let report = world.run().await;
            assert_fates(&report, 8, 0);
            assert_eq!(report.remarked(RemarkKind::RemovedAtSource), 1);
            assert_eq!(bodies(&world, &INBOX), letters([0, 1, 2, 3, 4, 4]));
            assert_eq!(bodies(&world, &WORK), letters([1, 9]));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_its_owner_removed_at_the_target_is_copied_where_it_was_moved() {
    let mut world = copied(Profile::dovecot()).await;
    assert!(world.copy().expunge(&INBOX, 2));
    file(&world, &INBOX, 2, &WORK);
    let report = world.run().await;
    assert_eq!(report.fate(Fate::Copied), 8);
    assert_eq!(target_commands(&world)[0], 0);
    assert_eq!(bodies(&world, &WORK), letters([1, 9]));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_moved_into_a_mailbox_of_others_mail_or_into_junk() {
    let mut world = copied(Profile::dovecot()).await;
    world.copy().deliver(&["Other"], letter(50));
    file(&world, &INBOX, 2, &["Other"]);
    file(&world, &INBOX, 3, &["Junk"]);
    assert_fates(&world.run().await, 9, 0);
    assert_eq!(target_commands(&world)[0], 0);
    assert_eq!(bodies(&world, &["Other"]), letters([1, 50]));
    assert_eq!(bodies(&world, &["Junk"]), letters([2]));
}

#[tokio::test(start_paused = true)]
async fn a_move_that_is_refused_is_not_asked_for_again() {
    let mut world = copied(Profile::dovecot()).await;
    let refusal = Deed::Answer("UID MOVE".to_owned(), "NO [NOPERM] not this one".to_owned());
    world.target.faults().arm(Fault::always(refusal));
    file(&world, &INBOX, 2, &WORK);
    for _ in 0..2 {
        let report = world.run().await;
        assert_fates(&report, 8, 0);
        assert_eq!(report.remarked(RemarkKind::RemovedAtSource), 1, "it is listed");
        assert_eq!(target_commands(&world)[0], 1);
        assert_eq!(bodies(&world, &INBOX), letters([0, 1, 2, 3, 4, 4]));
        assert_eq!(bodies(&world, &WORK), letters([1, 9]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_move_whose_answer_is_lost_is_looked_up() {
    let lies = [AppendUidLie::Omitted, AppendUidLie::Shifted(3), AppendUidLie::Validity(7)];
    let cut = Deed::CutAfter("UID MOVE".to_owned());
    for deed in lies.map(Deed::CopyUid).into_iter().chain([cut]) {
        let mut world = copied(Profile::dovecot()).await;
        world.target.faults().arm(Fault::always(deed.clone()));
        file(&world, &INBOX, 2, &WORK);
        file(&world, &INBOX, 5, &WORK);
        let [_, appends] = target_commands(&world);
        assert_fates(&world.run().await, 7, 2);
        assert_eq!(target_commands(&world), [1, appends], "{deed:?}");
        world.assert_copied();
    }
}

#[tokio::test(start_paused = true)]
async fn a_move_that_is_done_by_half_loses_nothing_and_doubles_nothing() {
    let deeds = (0..=6).map(Deed::CutMove).chain((0..=3).map(Deed::PartMove));
    for deed in deeds.chain([Deed::HalfMove]) {
        let mut world = copied(Profile::dovecot()).await;
        world.target.faults().arm(Fault::once(deed.clone()));
        for uid in [2, 5, 6] {
            file(&world, &INBOX, uid, &WORK);
        }
        for _ in 0..2 {
            let report = world.run().await;
            assert_eq!(report.verdict, Verdict::Done, "{deed:?}");
            assert_eq!(target_commands(&world)[0], 1, "{deed:?}");
            assert_eq!(bodies(&world, &WORK), letters([1, 4, 4, 9]), "{deed:?}");
            // What did not leave its place is listed, and nothing else is there.
            let left = world.copy().messages(&INBOX).len() as u64 - 3;
            assert_eq!(report.remarked(RemarkKind::RemovedAtSource), left, "{deed:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_the_target_keeps_where_it_was_is_told_and_not_counted_as_moved() {
    let mut world = copied(Profile::dovecot()).await;
    world.target.faults().arm(Fault::always(Deed::KeepMoved));
    file(&world, &INBOX, 2, &WORK);
    file(&world, &INBOX, 5, &WORK);
    for _ in 0..2 {
        let report = world.run().await;
        assert_fates(&report, 9, 0);
        assert_eq!(bodies(&world, &INBOX), letters([0, 1, 2, 3, 4, 4]));
        assert_eq!(bodies(&world, &WORK), letters([1, 4, 9]));
        let told = report.remarks.iter().filter(|row| row.remark.text.contains("both places"));
        assert_eq!((told.count(), report.remarked(RemarkKind::RemovedAtSource)), (2, 2));
    }
    assert_eq!(target_commands(&world)[0], 1);
}

/// Taken out of its mailbox and put back there: one message that has gone, and one that is there.
#[tokio::test(start_paused = true)]
async fn what_comes_back_into_its_mailbox_is_counted_once_more() {
    let mut world = copied(Profile::dovecot()).await;
    file(&world, &INBOX, 2, &INBOX);
    file(&world, &INBOX, 3, &INBOX);
    let stop = world.stop.clone();
    world.on_event(move |event| {
        if matches!(event, Event::MovesFollowed { .. }) {
            stop.request();
        }
    });
    let report = world.run().await;
    for mailbox in &report.accounts[0].mailboxes {
        let fates: u64 = mailbox.fates.values().map(|count| count.messages).sum();
        assert_eq!(mailbox.messages, fates, "{}", mailbox.source);
    }
    assert_eq!((report.fate(Fate::Copied), report.fate(Fate::Gone)), (7, 2));
}

#[tokio::test(start_paused = true)]
async fn a_move_that_takes_effect_after_settling_is_told() {
    let mut world = copied(Profile::dovecot()).await;
    let (before, piece) = (Duration::from_secs(60), Duration::ZERO);
    world.target.faults().arm(Fault::once(Deed::SlowMove(Slowness { before, piece, cut: true })));
    file(&world, &INBOX, 2, &WORK);
    world.run().await;
    world.target.settle().await;
    assert_eq!(bodies(&world, &WORK), letters([1, 1, 9]));
    let report = world.run().await;
    assert_eq!(report.verdict, Verdict::InDoubt);
    assert_eq!(report.remarked(RemarkKind::PossibleDuplicate), 1);
    assert_eq!(target_commands(&world)[0], 1);
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_is_killed_anywhere_while_it_follows_moves_ends_the_same() {
    let moved = || async {
        let mut world = World::usual();
        world.deliver(0..4);
        world.anna().deliver(&WORK, letter(9));
        world.run().await.assert_done(5);
        file(&world, &INBOX, 2, &WORK);
        file(&world, &INBOX, 3, &["New"]);
        world
    };
    let mut whole = moved().await;
    assert_fates(&whole.run().await, 5, 2);
    let points = whole.points;
    let (mut followed, mut not_followed) = (0, 0);
    for point in 1..=points {
        let mut world = moved().await;
        assert!(world.run_until(Kill::Point(point)).await.is_none(), "{point} of {points}");
        for _ in 0..2 {
            let report = world.run().await;
            assert_eq!(report.verdict, Verdict::Done, "{point}: {:?}", report.totals);
            assert_eq!(bodies(&world, &WORK), letters([1, 9]), "{point}");
            assert_eq!(bodies(&world, &["New"]), letters([2]), "{point}");
            let left = bodies(&world, &INBOX).len() as u64 - 2;
            assert_eq!(report.remarked(RemarkKind::RemovedAtSource), left, "{point}");
            // Copied as often as it is at the source, and once more where it was left.
            assert_eq!(report.fate(Fate::Copied), 5 + left, "{point}");
            *(if left == 0 { &mut followed } else { &mut not_followed }) += 1;
            assert!(target_commands(&world)[0] <= 2, "{point}");
        }
    }
    assert!(followed > 0 && not_followed > 0, "{followed} {not_followed}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_cut_anywhere_while_moves_are_followed_changes_nothing() {
    for sent in (0..1_200).step_by(25) {
        let mut world = copied(Profile::dovecot()).await;
        for uid in [2, 5] {
            file(&world, &INBOX, uid, &WORK);
        }
        let cut = Fault::once(Deed::CutAfterRead(sent));
        world.target.faults().arm(cut.of_user(ANNA));
        let report = world.run().await;
        assert_eq!(report.verdict, Verdict::Done, "{sent}");
        assert_eq!(bodies(&world, &WORK), letters([1, 4, 9]), "{sent}");
        let left = world.copy().messages(&INBOX).len() as u64 - 4;
        assert_eq!(report.remarked(RemarkKind::RemovedAtSource), left, "{sent}");
    }
}

/// Whether its MOVE is answered, its answer is lost, or its copy stays in its mailbox.
#[tokio::test(start_paused = true)]
async fn what_a_copy_lacks_is_told_of_it_where_it_was_moved() {
    let lost = Deed::CutAfter("UID MOVE".to_owned());
    for (to, fault) in [(WORK, None), (WORK, Some(lost)), (INBOX, None)] {
        let mut world = World::usual();
        world.anna().deliver(&INBOX, letter(1).with_flags(&["a]b", "fine"]));
        world.anna().deliver(&INBOX, letter(2).with_flags(&["fine"]));
        world.anna().deliver(&WORK, letter(9));
        let report = world.run().await;
        assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Done, 3));
        // Flags that the owner of the target has taken away are not lacking.
        assert!(world.copy().set_flags(&INBOX, 2, &[]));
        let filed = [1, 2].map(|uid| file(&world, &INBOX, uid, &to));
        if let Some(fault) = fault {
            world.target.faults().arm(Fault::once(fault));
        }
        for _ in 0..2 {
            let report = world.run().await;
            assert_fates(&report, 3, 2);
            let mut reduced =
                report.remarks.iter().filter(|row| row.remark.kind == RemarkKind::FlagsReduced);
            let told = reduced.next().expect("it is told");
            assert_eq!((told.mailbox.names(), told.uid.0), (&to.map(str::to_owned)[..], filed[0]));
            assert!(told.remark.text.contains("a]b"), "{}", told.remark.text);
            assert!(reduced.next().is_none());
        }
    }
}
