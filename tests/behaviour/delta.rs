//! Later passes: what changed at the source since the last one comes to the target, and nothing else
//! is touched there.

use mailhaul::config::LaterFlags;
use mailhaul::fault::Side;
use mailhaul::rehearsal::{Deed, Fault, Profile};
use mailhaul::simulation::network::Kill;
use mailhaul::simulation::world::{INBOX, World, letter};

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
        // The target is looked at where there is something to do.
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
async fn flags_of_what_its_owner_removed_at_the_target_bring_nothing_back() {
    let mut world = World::usual();
    world.deliver(0..2);
    world.run().await.assert_done(2);
    assert!(world.copy().expunge(&INBOX, 1));
    assert!(world.anna().set_flags(&INBOX, 1, &["\\Flagged"]));
    world.run().await.assert_done(2);
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
