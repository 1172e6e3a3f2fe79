//! Gmail as a source: a message stands in the mailbox of each of its labels and in All Mail.

use mailhaul::event::Event;
use mailhaul::fate::{Fate, RemarkKind};
use mailhaul::plan::labels::GmailLabels;
use mailhaul::plan::rules::Pattern;
use mailhaul::rehearsal::Profile;
use mailhaul::report::Verdict;
use mailhaul::simulation::network::Kill;
use mailhaul::simulation::world::{INBOX, Report, World, letter};

const ALL: [&str; 2] = ["[Gmail]", "All Mail"];
const SENT: [&str; 2] = ["[Gmail]", "Sent Mail"];
const STARRED: [&str; 2] = ["[Gmail]", "Starred"];
const IMPORTANT: [&str; 2] = ["[Gmail]", "Important"];
const TRASH: [&str; 2] = ["[Gmail]", "Trash"];
const WORK: [&str; 1] = ["Work & Plan"];
const ARCHIVE: [&str; 1] = ["Archive"];

/// Letter 1 is in the INBOX and has a label, 2 is in the INBOX, 3 was sent and has a label, 4 is archived
/// and starred, 5 is archived, 6 is important and in the INBOX, 7 is in the trash.
fn gmail() -> World {
    at(Profile { labels: true, all_mail: true, ..Profile::gmail() })
}

fn at(source: Profile) -> World {
    let world = World::new(source, Profile::dovecot());
    let anna = world.anna();
    for (path, special_use) in [
        (ALL, "\\All"),
        (SENT, "\\Sent"),
        (STARRED, "\\Flagged"),
        (IMPORTANT, "\\Important"),
        (TRASH, "\\Trash"),
    ] {
        anna.create_mailbox(&path, Some(special_use)).unwrap();
    }
    for (path, numbers) in [
        (&INBOX[..], &[1, 2, 6][..]),
        (&WORK, &[1, 3]),
        (&SENT, &[3]),
        (&STARRED, &[4]),
        (&IMPORTANT, &[6]),
        (&ALL, &[5]),
        (&TRASH, &[7]),
    ] {
        for number in numbers {
            anna.deliver(path, letter(*number));
        }
    }
    for (path, special_use) in [("Archive", "\\Archive"), ("Sent", "\\Sent"), ("Trash", "\\Trash")]
    {
        world.copy().create_mailbox(&[path], Some(special_use)).unwrap();
    }
    world
}

#[track_caller]
fn assert_at(world: &World, path: &[&str], numbers: &[u32]) {
    let bodies = |list: Vec<_>| {
        let mut bodies: Vec<String> =
            list.into_iter().map(|body: bytes::Bytes| body.escape_ascii().to_string()).collect();
        bodies.sort();
        bodies
    };
    let wanted = bodies(numbers.iter().map(|number| letter(*number).body).collect());
    let there = bodies(world.copy().messages(path).into_iter().map(|one| one.body).collect());
    assert_eq!(there, wanted, "{path:?}");
}

/// All that was seen, by fate: the sums hold.
#[track_caller]
fn assert_fates(report: &Report, copied: u64, filtered: u64) {
    let fates = (report.fate(Fate::Copied), report.fate(Fate::Filtered), report.verdict);
    assert_eq!(fates, (copied, filtered, Verdict::Done), "{:#?}", report.remarks);
    let reasons = report.reasons(Fate::Filtered);
    assert_eq!(reasons.len() as u64, filtered);
    assert!(reasons.iter().all(|text| text.contains("copied as a message of")), "{reasons:?}");
}

fn is_left_out(report: &Report, path: &[&str]) -> bool {
    let path = path.join("/");
    report.events.iter().any(|event| {
        matches!(event, Event::MailboxPlanned { source, target: None, .. } if *source == path)
    })
}

#[track_caller]
fn assert_by_folders(world: &World) {
    assert_at(world, &INBOX, &[1, 2, 6]);
    assert_at(world, &WORK, &[1, 3]);
    assert_at(world, &["Sent"], &[3]);
    assert_at(world, &["Trash"], &[7]);
    assert_at(world, &ARCHIVE, &[4, 5]);
    let names = world.copy().mailboxes().into_iter().filter(|one| one.messages > 0);
    assert_eq!(names.count(), 5);
}

/// D17
#[tokio::test(start_paused = true)]
async fn each_label_is_a_mailbox_and_all_mail_holds_what_has_none() {
    let mut world = gmail();
    for _ in 0..2 {
        let report = world.run().await;
        assert_fates(&report, 9, 4);
        assert_by_folders(&world);
        assert!(is_left_out(&report, &STARRED) && is_left_out(&report, &IMPORTANT));
        assert_eq!(world.target.counters().appended, 9);
        world.assert_source_untouched();
    }
    let differs = |event: &&Event| matches!(event, Event::Differs { .. });
    assert_eq!(world.compare().await.iter().filter(differs).count(), 0);
}

/// D17
#[tokio::test(start_paused = true)]
async fn each_message_is_copied_once_into_the_mailbox_of_its_first_label() {
    let mut world = gmail();
    world.config.rules.labels = GmailLabels::Primary;
    for _ in 0..2 {
        let report = world.run().await;
        assert_fates(&report, 7, 6);
        assert_at(&world, &INBOX, &[1, 2, 6]);
        assert_at(&world, &["Sent"], &[3]);
        assert_at(&world, &WORK, &[]);
        assert_at(&world, &["Trash"], &[7]);
        assert_at(&world, &ARCHIVE, &[4, 5]);
    }
    let differs = |event: &&Event| matches!(event, Event::Differs { .. });
    assert_eq!(world.compare().await.iter().filter(differs).count(), 0);
}

/// D17: a limit of messages in a mailbox hides what its label says to be there.
#[tokio::test(start_paused = true)]
async fn what_a_mailbox_does_not_show_is_copied_from_the_next_one_that_does() {
    for mode in [GmailLabels::Folders, GmailLabels::Primary] {
        let mut world = gmail();
        world.config.rules.labels = mode;
        world.config.scan_messages_max = 2;
        for uid in [1, 2] {
            assert!(world.anna().hide(&INBOX, uid));
        }
        for _ in 0..2 {
            let report = world.run().await;
            assert_eq!(report.verdict, Verdict::Done, "{:#?}", report.remarks);
            assert_at(&world, &INBOX, &[6]);
            assert_at(&world, &["Sent"], &[3]);
            // Letter 1 is shown there; 2 is nowhere but in All Mail.
            let at_work: &[u32] = if mode == GmailLabels::Primary { &[1] } else { &[1, 3] };
            assert_at(&world, &WORK, at_work);
            assert_at(&world, &ARCHIVE, &[2, 4, 5]);
            world.assert_source_untouched();
        }
        assert_same_at_both_ends(&world.compare().await);
    }
}

/// D17: a limit of messages hides in All Mail what stands in other mailboxes, and in views only.
#[tokio::test(start_paused = true)]
async fn what_all_mail_does_not_show_is_copied_from_where_it_stands() {
    for mode in [GmailLabels::Keywords, GmailLabels::Primary, GmailLabels::Folders] {
        let mut world = gmail();
        world.config.rules.labels = mode;
        world.config.scan_messages_max = 2;
        let anna = world.anna();
        for message in anna.messages(&ALL) {
            // In the INBOX and with a label; sent and with a label; starred.
            if [1, 3, 4].iter().any(|number| message.body == letter(*number).body) {
                assert!(anna.hide(&ALL, message.uid));
            }
        }
        for _ in 0..2 {
            let report = world.run().await;
            assert_eq!(report.verdict, Verdict::Done, "{:#?}", report.remarks);
            let (inbox, sent, work, archive): (&[u32], &[u32], &[u32], &[u32]) = match mode {
                GmailLabels::Keywords => (&[1], &[3], &[], &[2, 5, 6]),
                GmailLabels::Primary => (&[1, 2, 6], &[3], &[], &[5]),
                GmailLabels::Folders => (&[1, 2, 6], &[3], &[1, 3], &[5]),
            };
            assert_at(&world, &INBOX, inbox);
            assert_at(&world, &["Sent"], sent);
            assert_at(&world, &WORK, work);
            assert_at(&world, &ARCHIVE, archive);
            assert_at(&world, &STARRED, &[4]);
            assert!(is_left_out(&report, &IMPORTANT));
            world.assert_source_untouched();
        }
        if mode == GmailLabels::Keywords {
            assert_eq!(flags_at(&world, &INBOX, 1), [WORK_KEYWORD, "\\Answered", "\\Seen"]);
        }
        assert_same_at_both_ends(&world.compare().await);
    }
}

/// What comes while a pass runs is not taken for hidden.
#[tokio::test(start_paused = true)]
async fn what_gets_its_label_while_a_pass_runs_is_looked_for_once_more() {
    let mut world = gmail();
    world.config.scan_messages_max = 2;
    let anna = world.anna();
    world.on_event(move |event| {
        let is_begun = |mailbox: &str| mailbox == "[Gmail]/All Mail";
        if let Event::Scanned { mailbox, .. } = event
            && is_begun(mailbox)
            && anna.messages(&INBOX).len() == 3
        {
            // One that is in All Mail, behind what was looked at, and one that is new.
            anna.deliver(&INBOX, letter(5));
            anna.deliver(&INBOX, letter(8));
        }
    });
    world.run().await;
    let report = world.run().await;
    assert_eq!(report.verdict, Verdict::Done, "{:#?}", report.remarks);
    assert_at(&world, &INBOX, &[1, 2, 5, 6, 8]);
    assert_at(&world, &ARCHIVE, &[4]);
}

/// The flags of a letter's copy.
fn flags_at(world: &World, path: &[&str], number: u32) -> Vec<String> {
    let copies = world.copy().messages(path);
    let copy = copies.into_iter().find(|one| one.body == letter(number).body).expect("a copy");
    let mut flags: Vec<String> = copy.flags.into_iter().collect();
    flags.sort();
    flags
}

const WORK_KEYWORD: &str = "Work_&-_Plan";

fn by_keywords() -> World {
    let mut world = gmail();
    world.config.rules.labels = GmailLabels::Keywords;
    world
}

#[track_caller]
fn assert_by_keywords(world: &World) {
    assert_at(world, &ARCHIVE, &[1, 2, 3, 4, 5, 6]);
    assert_at(world, &["Trash"], &[7]);
    for (number, flags) in [
        (1, &["Inbox", WORK_KEYWORD, "\\Answered", "\\Seen"][..]),
        (2, &["Inbox", "\\Flagged"]),
        (3, &["Sent", WORK_KEYWORD]),
        (4, &[]),
        (5, &["\\Seen"]),
        (6, &["$Important", "Inbox", "\\Answered", "\\Seen"]),
    ] {
        assert_eq!(flags_at(world, &ARCHIVE, number), flags, "letter {number}");
    }
    let names = world.copy().mailboxes().into_iter().filter(|one| one.messages > 0);
    assert_eq!(names.count(), 2);
}

#[track_caller]
fn assert_same_at_both_ends(events: &[Event]) {
    let differs = |event: &&Event| matches!(event, Event::Differs { .. });
    let differing: Vec<&Event> = events.iter().filter(differs).collect();
    assert!(differing.is_empty(), "{differing:#?}");
}

/// D17
#[tokio::test(start_paused = true)]
async fn each_message_is_copied_once_from_all_mail_with_its_labels_as_keywords() {
    for large in [false, true] {
        let mut world = by_keywords();
        if large {
            world.config.window_bytes_max = 64; // All are streamed.
        }
        for _ in 0..2 {
            let report = world.run().await;
            report.assert_done(7);
            assert_by_keywords(&world);
            assert!(is_left_out(&report, &INBOX) && is_left_out(&report, &STARRED));
            assert_eq!(world.target.counters().appended, 7);
            world.assert_source_untouched();
        }
        assert_same_at_both_ends(&world.compare().await);
    }
}

#[tokio::test(start_paused = true)]
async fn keywords_follow_labels_as_flags_do_and_no_others() {
    let mut world = by_keywords();
    world.run().await.assert_done(7);
    // Of its owner's at the target.
    let copies = world.copy().messages(&ARCHIVE);
    let first = copies.iter().find(|one| one.body == letter(1).body).unwrap();
    assert!(world.copy().set_flags(
        &ARCHIVE,
        first.uid,
        &["Inbox", WORK_KEYWORD, "\\Seen", "Mine"]
    ));
    assert!(world.anna().expunge(&INBOX, 1)); // Archived.
    world.anna().deliver(&WORK, letter(5)); // Labelled.
    let report = world.run().await;
    report.assert_done(7);
    assert_eq!(flags_at(&world, &ARCHIVE, 1), ["Mine", WORK_KEYWORD, "\\Seen"]);
    assert_eq!(flags_at(&world, &ARCHIVE, 5), [WORK_KEYWORD, "\\Seen"]);
    assert_eq!(world.target.counters().appended, 7);
}

/// What a target keeps no keyword for is told by name, as of any flag.
#[tokio::test(start_paused = true)]
async fn labels_that_the_target_cannot_hold_are_in_the_report_by_name() {
    let mut world = by_keywords();
    let long = "A label of more octets than any server takes as a keyword";
    world.anna().deliver(&[long], letter(5));
    let report = world.run().await;
    assert_eq!((report.fate(Fate::Copied), report.verdict), (7, Verdict::Done));
    let reduced = report.remarks.iter().filter(|row| row.remark.kind == RemarkKind::FlagsReduced);
    let told: Vec<&str> = reduced.map(|row| row.remark.text.as_str()).collect();
    assert_eq!(told, [long.replace(' ', "_")]);
    assert_eq!(flags_at(&world, &ARCHIVE, 5), ["\\Seen"]);
}

#[tokio::test(start_paused = true)]
async fn without_all_mail_each_label_is_a_mailbox_with_the_others_as_keywords() {
    let mut world = by_keywords();
    world.config.rules.exclude = vec![Pattern::parse("[Gmail]/All Mail").expect("a pattern")];
    let report = world.run().await;
    assert_eq!(report.verdict, Verdict::Done);
    assert_at(&world, &INBOX, &[1, 2, 6]);
    assert_at(&world, &WORK, &[1, 3]);
    assert_eq!(flags_at(&world, &WORK, 3), ["Sent"]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_makes_keywords_is_killed_anywhere_and_resumed_to_the_same_end() {
    let mut whole = by_keywords();
    whole.run().await;
    for point in (1..=whole.points).step_by(3) {
        let mut world = by_keywords();
        assert!(world.run_until(Kill::Point(point)).await.is_none(), "{point}");
        let report = world.run().await;
        assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Done, 7), "{point}");
        assert_by_keywords(&world);
    }
}

#[tokio::test(start_paused = true)]
async fn what_loses_its_last_label_is_copied_from_all_mail() {
    let mut world = gmail();
    world.run().await;
    // Archived by its owner, and one that comes with a label.
    assert!(world.anna().expunge(&INBOX, 2));
    world.anna().deliver(&WORK, letter(8));
    let report = world.run().await;
    assert_fates(&report, 11, 4);
    assert_eq!(report.remarked(RemarkKind::RemovedAtSource), 1);
    assert_at(&world, &INBOX, &[1, 2, 6]);
    assert_at(&world, &WORK, &[1, 3, 8]);
    assert_at(&world, &ARCHIVE, &[2, 4, 5]);
}

/// A label whose mailbox is not copied holds nothing.
#[tokio::test(start_paused = true)]
async fn what_stands_only_in_a_mailbox_that_is_left_out_is_copied_from_all_mail() {
    let mut world = gmail();
    world.config.rules.exclude = vec![Pattern::parse("Inbox").expect("a pattern")];
    let report = world.run().await;
    assert_fates(&report, 8, 2);
    assert_at(&world, &ARCHIVE, &[2, 4, 5, 6]);
    assert_at(&world, &WORK, &[1, 3]);
}

/// Without All Mail the views are the only places of some messages.
#[tokio::test(start_paused = true)]
async fn the_views_are_copied_where_all_mail_is_not() {
    for all_mail in ["[Gmail]/All Mail", "Archive"] {
        let mut world = gmail();
        world.config.rules.exclude = vec![Pattern::parse(all_mail).expect("a pattern")];
        let report = world.run().await;
        assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Done, 9));
        assert_at(&world, &STARRED, &[4]);
        assert_at(&world, &IMPORTANT, &[6]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_without_labels_is_copied_as_it_is_listed() {
    let mut world = at(Profile { all_mail: true, ..Profile::gmail() });
    let report = world.run().await;
    assert_eq!((report.verdict, report.fate(Fate::Filtered)), (Verdict::Done, 0));
    assert_at(&world, &STARRED, &[4]);
    assert_at(&world, &ALL, &[1, 2, 3, 4, 5, 6]);
}

#[tokio::test(start_paused = true)]
async fn a_run_killed_anywhere_is_resumed_to_the_same_end() {
    let mut whole = gmail();
    whole.run().await;
    for point in (1..=whole.points).step_by(3) {
        let mut world = gmail();
        assert!(world.run_until(Kill::Point(point)).await.is_none(), "{point}");
        let report = world.run().await;
        assert_fates(&report, 9, 4);
        assert_by_folders(&world);
    }
}

/// The archive is never the view of all mail that another Gmail has.
#[tokio::test(start_paused = true)]
async fn a_target_without_an_archive_gets_one() {
    let mut world = gmail();
    world.copy().delete_mailbox(&ARCHIVE).unwrap();
    world.copy().create_mailbox(&ALL, Some("\\All")).unwrap();
    for _ in 0..2 {
        let report = world.run().await;
        assert_fates(&report, 9, 4);
        assert_at(&world, &ARCHIVE, &[4, 5]);
        assert_at(&world, &ALL, &[]);
    }
}
