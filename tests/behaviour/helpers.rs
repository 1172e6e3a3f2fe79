//! A target that wants to be asked before each message: several connections send into one mailbox.

use std::time::Duration;

use mailhaul::rehearsal::{Deed, Fault, Profile};
use mailhaul::simulation::world::{INBOX, World};
use tokio::time::Instant;

const MESSAGES: u32 = 120;

/// A target without LITERAL+ that takes so long to store a message.
fn world(uidplus: bool) -> World {
    let target = Profile { uidplus, ..Profile::plain() };
    let mut world = World::new(Profile::dovecot(), target);
    world.config.connections_max = 4;
    let slow = Deed::Delay("APPEND".to_owned(), Duration::from_millis(100));
    world.target.faults().arm(Fault::always(slow));
    world.deliver(0..MESSAGES);
    world
}

#[tokio::test(start_paused = true)]
async fn they_share_one_mailbox() {
    for uidplus in [true, false] {
        let mut world = world(uidplus);
        let begun = Instant::now();
        world.run().await.assert_done(MESSAGES.into());
        // On the paused clock: of four, each a fourth, and a window more.
        assert!(begun.elapsed() < Duration::from_millis(4_500), "{:?}", begun.elapsed());
        world.assert_copied();
        world.run().await.assert_done(MESSAGES.into());
        assert_eq!(world.target.counters().appended, u64::from(MESSAGES));
    }
}

/// Courier locks a mailbox for each message, and has connections wait for each other.
#[tokio::test(start_paused = true)]
async fn courier_is_sent_to_over_one_connection_a_mailbox() {
    for (name, connections) in [("plain", 3), ("Courier-IMAP", 1)] {
        let target = Profile { name: name.to_owned(), ..Profile::plain() };
        let mut world = World::new(Profile::dovecot(), target);
        world.deliver(0..MESSAGES);
        world.run().await.assert_done(MESSAGES.into());
        world.assert_copied();
        assert_eq!(world.target.counters().connections, connections, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn whichever_of_them_is_cut_whenever_each_message_arrives_once() {
    for uidplus in [true, false] {
        for session in 1..=4 {
            for occasion in [0, 1, 7, 12, 25] {
                for cut in [Deed::CutBefore, Deed::CutAfter] {
                    let mut world = world(uidplus);
                    let cut = Fault::once(cut("APPEND".to_owned())).in_session(session);
                    world.target.faults().arm(cut.after(occasion));
                    world.run().await.assert_done(MESSAGES.into());
                    world.assert_copied();
                    let appended = world.target.counters().appended;
                    assert_eq!(appended, u64::from(MESSAGES), "{session} {occasion}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_stops_all_of_them() {
    let mut world = world(true);
    world.copy().set_quota(Some(20_000));
    let report = world.run().await;
    assert_ne!(report.fate(mailhaul::fate::Fate::Copied), u64::from(MESSAGES));
    world.copy().set_quota(None);
    world.run().await.assert_done(MESSAGES.into());
    world.assert_copied();
    assert_eq!(world.copy().messages(&INBOX).len(), MESSAGES as usize);
}
