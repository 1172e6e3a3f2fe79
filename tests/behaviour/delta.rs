//! Later passes: what changed at the source since the last one comes to the target, and nothing else
//! is touched there.

use mailhaul::config::LaterFlags;
use mailhaul::fate::{Fate, RemarkKind};
use mailhaul::fault::Side;
use mailhaul::plan::rules::Pattern;
use mailhaul::rehearsal::{BodyFault, Deed, Fault, Matching, Profile};
use mailhaul::report::Verdict;
use mailhaul::simulation::ledger::Failure;
use mailhaul::simulation::network::Kill;
use mailhaul::simulation::world::{Circumstances, INBOX, Report, World, letter};

#[tokio::test(start_paused = true)]
async fn a_target_mailbox_that_was_deleted_and_made_again_is_filled_again() {
    for made_again in [true, false] {
        let mut world = World::new(Profile::dovecot(), Profile::dovecot());
        world.config.scan_messages_max = 2;
        for number in 0..5 {
            world.anna().deliver(&["Work"], letter(number));
        }
        world.run().await.assert_done(5);
        world.copy().delete_mailbox(&["Work"]).unwrap();
        if made_again {
            world.copy().create_mailbox(&["Work"], None).unwrap();
        }
        world.anna().deliver(&["Work"], letter(5));
        world.deliver(0..1);
        world.run().await.assert_done(7);
        world.assert_copied();
        assert_eq!(world.copy().messages(&INBOX).len(), 1);
    }
}

/// The flags of a message at the target.
fn copied_flags(world: &World, index: usize) -> Vec<String> {
    let mut flags = world.copy().messages(&INBOX)[index].flags.clone();
    flags.sort();
    flags
}

/// C10
#[tokio::test(start_paused = true)]
async fn flags_that_changed_at_the_source_change_at_the_target_and_no_others_do() {
    for profile in [Profile::dovecot(), Profile::exchange(), Profile::courier()] {
        let mut world = World::new(profile.clone(), profile);
        world.deliver(0..4); // The first is seen, the second answered and seen, the third flagged.
        world.run().await.assert_done(4);
        // The owner works at both ends.
        assert!(world.anna().set_flags(&INBOX, 1, &["\\Flagged", "Work"]));
        assert!(world.copy().set_flags(&INBOX, 1, &["\\Seen", "\\Answered", "Mine"]));
        assert!(world.anna().set_flags(&INBOX, 3, &[]));
        assert!(world.copy().set_flags(&INBOX, 2, &["Mine"]));
        world.run().await.assert_done(4);
        assert_eq!(copied_flags(&world, 0), ["Mine", "Work", "\\Answered", "\\Flagged"]);
        assert_eq!(copied_flags(&world, 1), ["Mine"], "nothing of it changed at the source");
        assert_eq!(copied_flags(&world, 2), Vec::<String>::new());
        let stores = world.target.counters().command("UID STORE");
        world.run().await.assert_done(4);
        assert_eq!(world.target.counters().command("UID STORE"), stores, "it is done once");
    }
}

#[tokio::test(start_paused = true)]
async fn flags_are_left_as_they_were_copied_where_the_user_says_so() {
    let mut world = World::usual();
    world.deliver(0..1);
    world.run().await.assert_done(1);
    assert!(world.anna().set_flags(&INBOX, 1, &["\\Flagged"]));
    world.config.later_flags = LaterFlags::Leave;
    world.run().await.assert_done(1);
    assert_eq!(copied_flags(&world, 0), ["\\Seen"]);
    world.config.later_flags = LaterFlags::Follow;
    world.run().await.assert_done(1);
    assert_eq!(copied_flags(&world, 0), ["\\Flagged"]);
}

#[tokio::test(start_paused = true)]
async fn flags_that_a_pass_with_new_mail_left_alone_follow_in_a_later_one() {
    let mut world = World::usual();
    world.deliver(0..1);
    world.run().await.assert_done(1);
    assert!(world.anna().set_flags(&INBOX, 1, &["\\Flagged"]));
    world.deliver(1..2);
    world.config.later_flags = LaterFlags::Leave;
    world.run().await.assert_done(2);
    assert_eq!(copied_flags(&world, 0), ["\\Seen"]);
    world.config.later_flags = LaterFlags::Follow;
    world.run().await.assert_done(2);
    assert_eq!(copied_flags(&world, 0), ["\\Flagged"]);
}

#[tokio::test(start_paused = true)]
async fn flags_of_what_its_owner_removed_at_the_target_bring_nothing_back() {
    let mut world = World::usual();
    world.deliver(0..2);
    world.run().await.assert_done(2);
    assert!(world.copy().expunge(&INBOX, 1));
    assert!(world.anna().set_flags(&INBOX, 1, &["\\Flagged"]));
    let report = world.run().await;
    assert_eq!((report.fate(Fate::Copied), report.remarked(RemarkKind::RemovedAtTarget)), (2, 1));
    assert_eq!(world.copy().messages(&INBOX).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_flag_that_the_target_refuses_is_listed_and_the_others_follow() {
    let mut world = World::usual();
    world.deliver(0..1);
    world.run().await.assert_done(1);
    assert!(world.anna().set_flags(&INBOX, 1, &["\\Flagged", "Odd"]));
    // Both together, then the system flag alone is taken and the keyword is not.
    let refusal = Deed::Answer("UID STORE".to_owned(), "NO too many keywords".to_owned());
    world.target.faults().arm(Fault::once(refusal.clone()));
    world.target.faults().arm(Fault::once(refusal).after(1));
    let report = world.run().await;
    assert_eq!(copied_flags(&world, 0), ["\\Flagged"]);
    assert_eq!(report.remarks.len(), 1);
    assert_eq!(report.remarks[0].remark.text, "Odd");
}

#[tokio::test(start_paused = true)]
async fn a_flag_that_the_target_does_not_take_away_is_taken_away_by_the_next_pass() {
    for profile in [Profile::dovecot(), Profile::courier()] {
        let mut world = World::new(profile.clone(), profile);
        world.deliver(1..2); // It is answered and seen.
        world.run().await.assert_done(1);
        assert!(world.anna().set_flags(&INBOX, 1, &[]));
        // Both together, then the first one alone.
        let refusal = Deed::Answer("UID STORE".to_owned(), "BAD what".to_owned());
        world.target.faults().arm(Fault { times: Some(2), ..Fault::once(refusal) });
        world.run().await.assert_done(1);
        assert_eq!(copied_flags(&world, 0).len(), 1);
        world.run().await.assert_done(1);
        assert_eq!(copied_flags(&world, 0), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_dies_among_the_flags_is_done_again() {
    for sent in (0..1_000).step_by(20) {
        let mut world = World::usual();
        world.deliver(0..6);
        world.run().await.assert_done(6);
        for uid in 1..=6 {
            assert!(world.anna().set_flags(&INBOX, uid, &["\\Draft", "Work"]));
        }
        world.run_until(Kill::Sent(Side::Target, sent)).await;
        world.run().await.assert_done(6);
        world.assert_copied();
    }
}

/// Commands of one kind that the source got meanwhile.
async fn source_commands(world: &mut World, commands: [&str; 3], messages: u64) -> [u64; 3] {
    let count = |world: &World| commands.map(|name| world.source.counters().command(name));
    let before = count(world);
    world.run().await.assert_done(messages);
    let after = count(world);
    std::array::from_fn(|index| after[index] - before[index])
}

#[tokio::test(start_paused = true)]
async fn what_has_not_changed_is_not_even_opened() {
    // How mailboxes stand, a server tells with their list or when it is asked for each.
    for (list_extended, statuses) in [(true, 0), (false, 5)] {
        let source = Profile { list_extended, ..Profile::dovecot() };
        let mut world = World::new(source, Profile::dovecot());
        for number in 0..8 {
            let name = ["INBOX", "Work", "Old", "Sent"][number as usize % 4];
            world.anna().deliver(&[name], letter(number));
        }
        world.anna().create_mailbox(&["Empty"], None).unwrap();
        world.run().await.assert_done(8);
        let selects = world.target.counters().command("SELECT");
        let commands = source_commands(&mut world, ["STATUS", "EXAMINE", "UID FETCH"], 8).await;
        assert_eq!(commands, [statuses, 0, 0]);
        assert_eq!(world.target.counters().command("SELECT"), selects);
        world.assert_copied();
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_is_new_or_changed_is_listed_where_the_source_tells_it() {
    let mut world = World::usual();
    world.config.scan_messages_max = 10;
    world.deliver(0..100);
    world.run().await.assert_done(100);
    world.deliver(100..102);
    assert!(world.anna().set_flags(&INBOX, 7, &["\\Flagged"]));
    assert!(world.anna().set_flags(&INBOX, 93, &["Work"]));
    // What was changed, what is new, and the new mail.
    let commands = source_commands(&mut world, ["EXAMINE", "UID FETCH", "UID STORE"], 102).await;
    assert_eq!(commands, [1, 3, 0]);
    world.assert_copied();
}

/// All is copied, and so many messages are said to be gone at the source.
#[track_caller]
fn assert_removed(report: &Report, copied: u64, removed: u64) {
    assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Done, copied));
    assert_eq!(report.remarked(RemarkKind::RemovedAtSource), removed);
    assert_eq!(report.remarks.len() as u64, removed, "and nothing else");
}

#[tokio::test(start_paused = true)]
async fn mail_that_is_removed_at_the_source_is_noted_and_stays_at_the_target() {
    for profile in [Profile::dovecot(), Profile::exchange()] {
        let mut world = World::new(profile, Profile::dovecot());
        world.config.scan_messages_max = 4;
        world.deliver(0..10);
        world.run().await.assert_done(10);
        assert!(world.anna().expunge(&INBOX, 4));
        assert_removed(&world.run().await, 10, 1);
        assert!(world.anna().expunge(&INBOX, 10));
        world.deliver(20..22);
        let report = world.run().await;
        assert_removed(&report, 12, 2);
        let uids: Vec<u32> = report.remarks.iter().map(|row| row.uid.0).collect();
        assert_eq!(uids, [4, 10]);
        assert_removed(&world.run().await, 12, 2);
        assert_eq!(world.copy().messages(&INBOX).len(), 12);
    }
}

#[tokio::test(start_paused = true)]
async fn only_uids_are_asked_for_where_mail_was_removed_at_the_source() {
    let mut world = World::usual();
    world.deliver(0..20);
    world.run().await.assert_done(20);
    assert!(world.anna().expunge(&INBOX, 4));
    let fetches = world.source.counters().command("UID FETCH");
    assert_removed(&world.run().await, 20, 1);
    // The UIDs, and what was changed.
    assert_eq!(world.source.counters().command("UID FETCH") - fetches, 2);
    let fetches = world.source.counters().command("UID FETCH");
    assert_removed(&world.run().await, 20, 1);
    assert_eq!(world.source.counters().command("UID FETCH"), fetches);
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_that_is_removed_at_the_source_is_noted_and_stays_at_the_target() {
    let mut world = World::usual();
    world.deliver(0..2);
    for number in 2..7 {
        world.anna().deliver(&["Work"], letter(number));
    }
    let refuse = Deed::Refuse(Matching::Contains(b"letter 6\r".to_vec()), "NO [LIMIT] no".into());
    world.target.faults().arm(Fault::always(refuse));
    let report = world.run().await;
    assert_eq!((report.verdict, report.fate(Fate::Refused)), (Verdict::Incomplete, 1));
    world.anna().delete_mailbox(&["Work"]).unwrap();
    for _ in 0..2 {
        let report = world.run().await;
        assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Done, 6));
        assert_eq!(report.fate(Fate::Gone), 1, "what was refused cannot be copied any more");
        assert_eq!(report.remarked(RemarkKind::RemovedAtSource), 4);
        assert_eq!(world.copy().messages(&["Work"]).len(), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_copied_stays_so_where_both_mailboxes_are_others_now() {
    let mut world = World::usual();
    world.deliver(0..2);
    for number in 2..5 {
        world.anna().deliver(&["Work"], letter(number));
    }
    world.run().await.assert_done(5);
    world.anna().delete_mailbox(&["Work"]).unwrap();
    world.copy().bump_uid_validity(&["Work"]).unwrap();
    for _ in 0..3 {
        let report = world.run().await;
        assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Done, 5));
        assert_eq!(report.remarked(RemarkKind::RemovedAtSource), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_that_was_removed_before_it_was_looked_through_is_gone() {
    let mut parts = 0;
    for sent in (1_000..2_600).step_by(100) {
        let mut world = World::usual();
        world.config.scan_messages_max = 2;
        for number in 0..9 {
            world.anna().deliver(&["Work"], letter(number));
        }
        world.run_until(Kill::Sent(Side::Target, sent)).await;
        world.anna().delete_mailbox(&["Work"]).unwrap();
        let report = world.run().await;
        let (copied, gone) = (report.fate(Fate::Copied), report.fate(Fate::Gone));
        assert_eq!((report.verdict, copied + gone), (Verdict::Done, 9), "{sent} {copied}");
        parts += u32::from(copied > 0 && gone > 0);
    }
    assert!(parts > 0);
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_that_is_left_out_has_lost_nothing() {
    let mut world = World::usual();
    world.deliver(0..2);
    world.anna().deliver(&["Work"], letter(3));
    world.run().await.assert_done(3);
    world.config.rules.exclude = vec![Pattern::parse("Work").unwrap()];
    world.run().await.assert_done(3);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_copied_is_looked_at_in_every_pass() {
    let mut world = World::usual();
    world.deliver(0..5);
    let matching = Matching::Contains(b"letter 3\r".to_vec());
    let refuse = Deed::Refuse(matching, "NO [LIMIT] not this one".to_owned());
    world.target.faults().arm(Fault::always(Deed::Body(0, BodyFault::Nil)));
    world.target.faults().arm(Fault::always(refuse));
    for _ in 0..2 {
        let report = world.run().await;
        assert_eq!((report.fate(Fate::Refused), report.fate(Fate::Copied)), (1, 4));
        // New mail behind it moves nothing past it.
        world.deliver(0..0);
    }
    world.deliver(10..12);
    let report = world.run().await;
    assert_eq!((report.fate(Fate::Refused), report.fate(Fate::Copied)), (1, 6));
    world.target.faults().clear();
    world.run().await.assert_done(7);
    world.assert_copied();
}

#[tokio::test(start_paused = true)]
async fn passes_that_are_killed_anywhere_miss_no_change() {
    for sent in (100..2_000).step_by(40) {
        let mut world = World::usual();
        world.config.scan_messages_max = 3;
        world.deliver(0..8);
        world.run().await.assert_done(8);
        for round in 0..3 {
            world.deliver(10 + 2 * round..12 + 2 * round);
            assert!(world.anna().set_flags(&INBOX, 2 + round, &["\\Draft"]));
            world.run_until(Kill::Sent(Side::Target, sent)).await;
            // What a killed run has set is taken away before the next one.
            let flags: &[&str] = if round == 1 { &["\\Answered", "Work"] } else { &[] };
            assert!(world.anna().set_flags(&INBOX, 1, flags));
        }
        world.run().await.assert_done(14);
        world.assert_copied();
        let commands = source_commands(&mut world, ["STATUS", "EXAMINE", "UID FETCH"], 14).await;
        // Where something was sent again, late copies are looked for.
        assert_eq!(commands[2], 0, "killed at {sent}: {commands:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_that_a_pass_was_through_with_keeps_no_fault_wherever_that_pass_ended() {
    for killed in [true, false] {
        for number in 1.. {
            let mut world = World::usual();
            world.deliver(0..2);
            world.run().await.assert_done(2);
            world.anna().deliver(&INBOX, letter(2));
            let no = Deed::Answer("EXAMINE".to_owned(), "NO [NOPERM] not now".to_owned());
            world.source.faults().arm(Fault::once(no));
            assert_eq!(world.run().await.mailbox_faults().len(), 1);
            world.source.faults().clear();
            let circumstances = if killed {
                Circumstances { kill: Some(Kill::Point(number)), ..Circumstances::default() }
            } else {
                // What was queued before the call that fails is kept.
                let failure = Some(Failure { call: number, for_ever: false });
                Circumstances { failure, ..Circumstances::default() }
            };
            let ended = world.run_with(circumstances).await;
            // Where the watermark says that it was through, the next one does not look there.
            let report = world.run().await;
            report.assert_done(3);
            assert_eq!(report.mailbox_faults(), [""; 0], "{killed}, {number}");
            if ended.is_some_and(|ended| ended.ended.is_ok()) {
                assert!(number > 5, "it ended at {number}");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pass_opens_as_many_connections_as_its_new_mail_is_worth() {
    let mailboxes = ["INBOX", "Work", "Old", "Sent"];
    let mut world = World::usual();
    world.config.connections_max = 4;
    let deliver = |world: &World, numbers: std::ops::Range<u32>| {
        for number in numbers {
            world.anna().deliver(&[mailboxes[number as usize % 4]], letter(number));
        }
    };
    let logins = |world: &World| {
        [&world.source, &world.target].map(|server| {
            let counters = server.counters();
            counters.command("LOGIN") + counters.command("AUTHENTICATE")
        })
    };
    deliver(&world, 0..400);
    world.run().await.assert_done(400);
    let initial = logins(&world);
    assert_eq!(initial, [4, 4], "much mail in four mailboxes is worth all of them");
    deliver(&world, 400..408);
    world.run().await.assert_done(408);
    assert_eq!(logins(&world), initial.map(|before| before + 1), "a few messages are worth one");
    world.run().await.assert_done(408);
    assert_eq!(logins(&world), initial.map(|before| before + 2), "and so is nothing");
}
