//! Second copies that came late, and their removal.

use std::time::Duration;

use mailhaul::config::Surplus;
use mailhaul::fate::{Fate, RemarkKind};
use mailhaul::fault::Side;
use mailhaul::rehearsal::{Deed, Fault, Matching, Profile, Store};
use mailhaul::report::Verdict;
use mailhaul::simulation::between::Instead;
use mailhaul::simulation::network::{Kill, TARGET_PORT};
use mailhaul::simulation::world::{INBOX, World, letter};

/// Three messages of which at least one is there a second time, after a run that knows nothing of it.
async fn with_late_copies(target: Profile) -> World {
    let mut world = World::new(Profile::dovecot(), target);
    world.deliver(0..3);
    world.config.idle_timeout = Duration::from_secs(1);
    world.config.surplus = Surplus::Remove;
    let late = Deed::CommitLate(Matching::Any, Duration::from_secs(300));
    world.target.faults().arm(Fault::once(late));
    world.run().await.assert_done(3);
    world.target.settle().await;
    assert!(count(&world) > 3, "nothing came late");
    world
}

fn count(world: &World) -> usize {
    world.copy().messages(&INBOX).len()
}

fn has_own(world: &World) -> bool {
    let names = world.copy().mailboxes();
    names.iter().any(|mailbox| mailbox.path[0].starts_with("mailhaul-"))
}

#[tokio::test(start_paused = true)]
async fn a_second_copy_is_removed_where_the_target_shows_that_it_is_ours() {
    let mut world = with_late_copies(Profile::dovecot()).await;
    let report = world.run().await;
    report.assert_done(3);
    assert_eq!(report.remarked(RemarkKind::PossibleDuplicate), 0);
    world.assert_copied();
    assert!(!has_own(&world));
}

#[tokio::test(start_paused = true)]
async fn a_second_copy_stays_where_nothing_shows_whose_it_is() {
    for target in [Profile::cyrus(), Profile::courier(), Profile::exchange()] {
        let mut world = with_late_copies(target).await;
        let there = count(&world);
        let report = world.run().await;
        assert_eq!((report.verdict, count(&world)), (Verdict::InDoubt, there));
        let text = &report.remarks[0].remark.text;
        let can_move = text.contains("(not removed: the server does not tell a copy by its owner")
            || text.contains("(not removed: it may be a copy that its owner made");
        assert!(can_move || !text.contains("not removed"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_copy_is_never_removed() {
    let mut world = with_late_copies(Profile::dovecot()).await;
    let late = count(&world) - 3;
    // Their owner removes the copies that the ledger knows.
    for message in &world.copy().messages(&INBOX)[..3] {
        world.copy().expunge(&INBOX, message.uid);
    }
    world.run().await;
    assert_eq!(count(&world), late);
}

/// As many equal messages, each copied, and at least one more copy of them that came late.
async fn with_late_twins(messages: usize) -> World {
    let mut world = World::usual();
    for _ in 0..messages {
        world.anna().deliver(&INBOX, letter(1));
    }
    world.config.idle_timeout = Duration::from_secs(1);
    world.config.surplus = Surplus::Remove;
    let late = Deed::CommitLate(Matching::Any, Duration::from_secs(300));
    world.target.faults().arm(Fault::once(late));
    world.run().await.assert_done(messages as u64);
    world.target.settle().await;
    assert!(count(&world) > messages, "nothing came late");
    world
}

/// Removes the first copy once the run has come so far, and gives what the run says of the second one.
async fn removed_meanwhile(
    world: &mut World,
    is_time: impl Fn(&Store, &[u8]) -> bool + Send + 'static,
) -> String {
    let (copy, mut removed) = (world.copy(), false);
    let first = copy.messages(&INBOX)[0].uid;
    world.network.meddle(
        TARGET_PORT,
        Box::new(move |_, response| {
            if !removed && is_time(&copy, response) {
                removed = copy.expunge(&INBOX, first);
            }
            Instead::Say(response.to_vec())
        }),
    );
    let report = world.run().await;
    assert!(world.copy().messages(&INBOX)[0].uid > first, "it was never time");
    report.remarks.iter().map(|row| row.remark.text.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_second_copy_stays_where_its_owner_removes_the_first_before_it_is_moved() {
    for messages in [1, 2] {
        let mut world = with_late_twins(messages).await;
        let there = count(&world);
        let moves = world.target.counters().command("UID MOVE");
        let looked = |_: &Store, response: &[u8]| response.windows(6).any(|six| six == b"X-GUID");
        let text = removed_meanwhile(&mut world, looked).await;
        assert!(text.contains("the copy it would stand beside is not there any more"), "{text}");
        assert_eq!(world.target.counters().command("UID MOVE"), moves);
        assert_eq!(count(&world), there - 1, "{messages}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_copy_comes_back_where_its_owner_removes_the_first_while_it_is_moved() {
    for messages in [1, 2] {
        let mut world = with_late_twins(messages).await;
        let there = count(&world);
        let moved = |copy: &Store, _: &[u8]| {
            copy.mailboxes().iter().any(|mailbox| mailbox.path[0].ends_with("-surplus"))
        };
        removed_meanwhile(&mut world, moved).await;
        assert_eq!(count(&world), there - 1, "{messages}");
        assert!(!has_own(&world));
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_copy_with_flags_of_its_owner_stays() {
    let mut world = with_late_copies(Profile::dovecot()).await;
    let there = world.copy().messages(&INBOX);
    for message in &there[3..] {
        world.copy().set_flags(&INBOX, message.uid, &["Kept"]);
    }
    let report = world.run().await;
    assert_eq!((report.verdict, count(&world)), (Verdict::InDoubt, there.len()));
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_breaks_off_anywhere_loses_nothing_and_leaves_nothing_behind() {
    let mut begun = 0;
    for octets in (0..3_000).step_by(60) {
        let mut world = with_late_copies(Profile::dovecot()).await;
        if world.run_until(Kill::Sent(Side::Target, octets)).await.is_some() {
            break;
        }
        begun += usize::from(has_own(&world));
        let report = world.run().await;
        assert_eq!(report.fate(Fate::Copied), 3, "{octets}");
        let mut texts: Vec<Vec<u8>> =
            world.copy().messages(&INBOX).iter().map(|message| message.body.to_vec()).collect();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), 3, "{octets}");
        world.run().await;
        assert!(!has_own(&world), "{octets}");
    }
    assert!(begun > 2, "{begun} removals were under way");
}

#[tokio::test(start_paused = true)]
async fn a_removal_whose_connection_breaks_loses_nothing() {
    for command in ["CREATE", "UID MOVE", "DELETE", "SELECT"] {
        for after in 0..2 {
            for cut in [Deed::CutBefore(command.to_owned()), Deed::CutAfter(command.to_owned())] {
                let mut world = with_late_copies(Profile::dovecot()).await;
                let what = format!("{cut:?} {after}");
                world.target.faults().arm(Fault::once(cut).after(after));
                world.run().await;
                let report = world.run().await;
                assert_eq!(report.fate(Fate::Copied), 3, "{what}");
                assert!(count(&world) >= 3, "{what}");
                world.run().await;
                assert!(!has_own(&world), "{what}");
            }
        }
    }
}

/// A mailbox that gets as many equal messages from somebody else as were removed keeps them.
#[tokio::test(start_paused = true)]
async fn no_more_is_removed_than_was_lost_on_the_way() {
    let mut world = with_late_copies(Profile::dovecot()).await;
    world.run().await.assert_done(3);
    for number in 0..3 {
        world.copy().deliver(&INBOX, letter(number));
    }
    world.run().await;
    assert_eq!(count(&world), 6);
}
