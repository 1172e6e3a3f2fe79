//! Mailboxes that their owner renames at the source between two passes.

use mailhaul::event::Event;
use mailhaul::fate::{Fate, RemarkKind};
use mailhaul::rehearsal::{Deed, Fault, Message, Profile};
use mailhaul::report::Verdict;
use mailhaul::simulation::network::Kill;
use mailhaul::simulation::world::{INBOX, Report, World, letter};

/// Mailboxes with the number of messages in each.
fn there(world: &World) -> Vec<String> {
    let mailboxes = world.copy().mailboxes().into_iter().filter(|one| one.selectable);
    mailboxes.map(|one| format!("{}: {}", one.path.join("/"), one.messages)).collect()
}

async fn copied(source: Profile) -> World {
    let mut world = World::new(source, Profile::dovecot());
    world.deliver(0..2);
    for number in 2..8 {
        let path: &[&str] = if number < 5 { &["Work"] } else { &["Work", "2019"] };
        world.anna().deliver(path, letter(number));
    }
    world.run().await.assert_done(8);
    world
}

fn appends(world: &World) -> u64 {
    world.target.counters().command("APPEND")
}

#[track_caller]
fn assert_goes_on(report: &Report, copied: u64) {
    assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Done, copied));
    assert_eq!(report.remarked(RemarkKind::RemovedAtSource), 0);
}

/// D16
#[tokio::test(start_paused = true)]
async fn a_renamed_mailbox_is_not_copied_twice() {
    for source in [Profile::dovecot(), Profile::courier()] {
        let mut world = copied(source).await;
        let before = appends(&world);
        world.anna().rename_mailbox(&["Work"], &["Projects"]).unwrap();
        let report = world.run().await;
        assert_goes_on(&report, 8);
        assert_eq!(appends(&world), before);
        let told = |event: &Event| match event {
            Event::Warning { text, .. } => text.contains("Work was renamed to Projects"),
            _ => false,
        };
        assert!(report.events.iter().any(told));
        assert_eq!(there(&world), ["INBOX: 2", "Work: 3", "Work/2019: 3"]);
        // What arrives later, and what its owner sets, goes on to where it went.
        world.anna().deliver(&["Projects"], letter(20));
        assert!(world.anna().set_flags(&["Projects", "2019"], 1, &["\\Draft"]));
        for _ in 0..2 {
            assert_goes_on(&world.run().await, 9);
            assert_eq!(there(&world), ["INBOX: 2", "Work: 4", "Work/2019: 3"]);
            assert_eq!(world.copy().messages(&["Work", "2019"])[0].flags, ["\\Draft"]);
        }
    }
}

/// Exchange guesses RFC822.SIZE, and not always the same.
#[tokio::test(start_paused = true)]
async fn a_renamed_mailbox_is_known_by_dates_and_bodies_where_sizes_lie() {
    for (is_other, larger) in [(false, 7), (false, 1_000), (true, 7)] {
        let mut world = copied(Profile::dovecot()).await;
        let before = appends(&world);
        world.anna().rename_mailbox(&["Work"], &["Projects"]).unwrap();
        if is_other {
            // A restored copy: the same beginning, and one of its own in the place of another.
            let source = world.anna();
            let messages = source.messages(&["Projects"]);
            let validity = source.mailboxes().into_iter().find(|one| one.path == ["Projects"]);
            source.delete_mailbox(&["Projects", "2019"]).unwrap();
            source.delete_mailbox(&["Projects"]).unwrap();
            for (number, one) in (0..).zip(messages) {
                let (flags, internal_date) = (one.flags, one.internal_date);
                let body = if number == 2 { letter(90).body } else { one.body };
                source.deliver(&["Projects"], Message { flags, internal_date, body });
            }
            source.set_uid_validity(&["Projects"], validity.unwrap().uid_validity);
        }
        for uid in 1..=3 {
            let lie = Deed::Size(uid, 2_000 + larger * u64::from(uid));
            world.source.faults().arm(Fault::always(lie));
        }
        let report = world.run().await;
        assert_eq!(report.verdict, Verdict::Done);
        match is_other {
            true => {
                assert_eq!(there(&world), ["INBOX: 2", "Projects: 3", "Work: 3", "Work/2019: 3"]);
            }
            false => {
                assert_goes_on(&report, 8);
                assert_eq!(appends(&world), before);
                assert_eq!(there(&world), ["INBOX: 2", "Work: 3", "Work/2019: 3"]);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_was_given_to_a_new_mailbox_is_that_ones() {
    let mut world = copied(Profile::dovecot()).await;
    world.anna().rename_mailbox(&["Work", "2019"], &["Old"]).unwrap();
    for number in 30..32 {
        world.anna().deliver(&["Work", "2019"], letter(number));
    }
    for _ in 0..2 {
        assert_goes_on(&world.run().await, 10);
        let wanted = ["INBOX: 2", "Work: 3", "Work/2019: 3", "Work/2019 (2): 2"];
        let mut there = there(&world);
        there.sort();
        let mut wanted = wanted.map(str::to_owned);
        wanted.sort();
        assert_eq!(there, wanted);
    }
}

/// Cyrus gives all mailboxes that are made in one second one UIDVALIDITY; the letters are alike in size and
/// date, so that the small mailbox looks like the beginning of the large one.
#[tokio::test(start_paused = true)]
async fn a_small_mailbox_does_not_take_the_new_name_of_a_large_one() {
    let mut world = World::usual();
    let alike = |number: u32| Message::new(format!("Subject: {number}\r\n\r\none\r\n"));
    for number in 10..14 {
        world.anna().deliver(&["A small one"], alike(number));
    }
    for number in 20..26 {
        world.anna().deliver(&["Large"], alike(number));
    }
    for name in ["A small one", "Large"] {
        world.anna().set_uid_validity(&[name], 77);
    }
    world.run().await.assert_done(10);
    let before = appends(&world);
    world.anna().rename_mailbox(&["Large"], &["Now one"]).unwrap();
    world.anna().rename_mailbox(&["A small one"], &["Now two"]).unwrap();
    assert_goes_on(&world.run().await, 10);
    assert_eq!(appends(&world), before);
    world.anna().deliver(&["Now one"], alike(30));
    assert_goes_on(&world.run().await, 11);
    assert_eq!(there(&world), ["A small one: 4", "INBOX: 0", "Large: 7"]);
}

#[tokio::test(start_paused = true)]
async fn another_mailbox_of_the_same_uids_is_no_renamed_one() {
    let mut world = World::usual();
    world.anna().deliver(&["Work"], letter(1));
    let validity = world.anna().mailboxes().into_iter().find(|one| one.path == ["Work"]);
    let validity = validity.unwrap().uid_validity;
    world.run().await.assert_done(1);
    world.anna().delete_mailbox(&["Work"]).unwrap();
    world.anna().deliver(&["Other"], letter(2));
    world.anna().set_uid_validity(&["Other"], validity);
    let report = world.run().await;
    assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Done, 2));
    assert_eq!(report.remarked(RemarkKind::RemovedAtSource), 1);
    assert_eq!(there(&world), ["INBOX: 0", "Other: 1", "Work: 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_renamed_inbox_is_a_new_mailbox_beside_it() {
    let mut world = copied(Profile::dovecot()).await;
    world.anna().rename_mailbox(&INBOX, &["Before"]).unwrap();
    world.deliver(30..31);
    for _ in 0..2 {
        assert_eq!(world.run().await.verdict, Verdict::Done);
        assert_eq!(there(&world), ["Before: 2", "INBOX: 3", "Work: 3", "Work/2019: 3"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_recognises_a_renamed_mailbox_and_notes_nothing() {
    let mut world = copied(Profile::dovecot()).await;
    world.anna().rename_mailbox(&["Work"], &["Projects"]).unwrap();
    world.config.dry_run = true;
    let report = world.run().await;
    let planned = |event: &Event| match event {
        Event::MailboxPlanned { source, target, .. } => {
            Some(format!("{source} -> {}", target.clone().unwrap_or_default()))
        }
        _ => None,
    };
    let planned: Vec<String> = report.events.iter().filter_map(planned).collect();
    assert!(planned.contains(&"Projects -> Work".to_owned()), "{planned:?}");
    world.config.dry_run = false;
    assert_goes_on(&world.run().await, 8);
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_is_killed_while_names_change_ends_the_same() {
    let renamed = || async {
        let world = copied(Profile::dovecot()).await;
        world.anna().rename_mailbox(&["Work"], &["Projects"]).unwrap();
        world.anna().deliver(&["Projects"], letter(20));
        world
    };
    let mut whole = renamed().await;
    assert_goes_on(&whole.run().await, 9);
    for point in 1..=whole.points {
        let mut world = renamed().await;
        assert!(world.run_until(Kill::Point(point)).await.is_none());
        assert_goes_on(&world.run().await, 9);
        assert_eq!(there(&world), ["INBOX: 2", "Work: 4", "Work/2019: 3"], "{point}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_that_was_renamed_before_it_could_be_opened_hinders_nothing_later() {
    let mut world = World::new(Profile::dovecot(), Profile::dovecot());
    world.anna().deliver(&["Old"], letter(1));
    let source = world.anna();
    world.on_event(move |event| {
        if matches!(event, Event::AccountListed { .. }) {
            let _ = source.rename_mailbox(&["Old"], &["New"]);
        }
    });
    assert_eq!(world.run().await.mailbox_faults().len(), 1);
    world.run().await.assert_done(1);
}

/// Its UIDs are what they were, and so is their number: a watermark could not tell.
#[tokio::test(start_paused = true)]
async fn a_mailbox_that_comes_back_under_an_old_name_is_looked_at_again() {
    let mut world = World::usual();
    world.anna().deliver(&["Work"], letter(1));
    world.run().await.assert_done(1);
    // With nothing in common, its new name is taken for another mailbox.
    assert!(world.anna().expunge(&["Work"], 1));
    world.anna().deliver(&["Work"], letter(2));
    world.anna().rename_mailbox(&["Work"], &["Projects"]).unwrap();
    assert_eq!(world.run().await.verdict, Verdict::Done);
    assert_eq!(there(&world), ["INBOX: 0", "Projects: 1", "Work: 1"]);
    world.anna().rename_mailbox(&["Projects"], &["Work"]).unwrap();
    assert_eq!(world.run().await.verdict, Verdict::Done);
    assert_eq!(there(&world), ["INBOX: 0", "Projects: 0", "Work: 2"], "its copy was moved along");
    world.anna().rename_mailbox(&["Work"], &["Projects"]).unwrap();
    for _ in 0..2 {
        assert_eq!(world.run().await.verdict, Verdict::Done);
        assert_eq!(there(&world), ["INBOX: 0", "Projects: 1", "Work: 2"]);
    }
}
