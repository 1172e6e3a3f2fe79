//! Mailboxes of our own at the target: made, moved out of, and deleted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mailhaul::config::Delivery;
use mailhaul::event::Event;
use mailhaul::fate::{Fate, RemarkKind};
use mailhaul::fault::Side;
use mailhaul::imap::connect::Connector;
use mailhaul::mail::{MailboxPath, Uid, WireName};
use mailhaul::own::{OwnName, Serial};
use mailhaul::rehearsal::{AppendUidLie, Deed, Fault, Matching, Message, Profile, Slowness};
use mailhaul::report::Verdict;
use mailhaul::simulation::network::{AtPoint, Kill};
use mailhaul::simulation::world::{Circumstances, INBOX, MessageExt, Report, World, letter};
use mailhaul::target::imap::ImapTarget;
use mailhaul::target::{Created, Deleted, Moved, ObjectId, Target};

fn name(number: u32) -> OwnName {
    OwnName::stage(Serial { run: 7, epoch: 1, number })
}

async fn connected(world: &World) -> ImapTarget {
    let connector = Connector::new(world.network.clone(), &world.config).unwrap();
    let connection =
        connector.connect(&world.accounts[0].target, Side::Target, None).await.unwrap();
    ImapTarget::new(connection, 4)
}

fn inbox() -> WireName {
    WireName(b"INBOX".to_vec())
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_of_our_own_is_made_once_and_deleted_for_good() {
    for profile in [Profile::dovecot(), Profile::cyrus(), Profile::courier(), Profile::plain()] {
        let world = World::new(Profile::dovecot(), profile);
        let mut target = connected(&world).await;
        assert_eq!(target.open_own(&name(1)).await.unwrap(), None);
        assert_eq!(target.create_own(&name(1)).await.unwrap(), Created::New);
        assert_eq!(target.create_own(&name(1)).await.unwrap(), Created::Exists);
        assert_eq!(connected(&world).await.create_own(&name(1)).await.unwrap(), Created::Exists);
        assert!(target.open_own(&name(1)).await.unwrap().is_some());
        assert_eq!(target.delete_own(&name(1)).await.unwrap(), Deleted::Gone);
        assert_eq!(target.delete_own(&name(1)).await.unwrap(), Deleted::Gone);
        let names: Vec<_> = world.copy().mailboxes().into_iter().map(|one| one.path).collect();
        assert_eq!(names, [["INBOX"]]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_name_is_told_and_no_fault() {
    let world = World::usual();
    world.target.faults().arm(Fault::always(Deed::RefuseCreate("mailhaul-".to_owned())));
    let created = connected(&world).await.create_own(&name(1)).await.unwrap();
    assert_eq!(created, Created::Refused("NO [CANNOT] not with that name".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_is_moved_out_has_the_identity_it_had() {
    for (profile, has_guids) in [(Profile::dovecot(), true), (Profile::cyrus(), false)] {
        let world = World::new(Profile::dovecot(), profile);
        let stage = world.copy();
        for number in 0..3 {
            stage.deliver(&[name(1).as_str()], letter(number));
        }
        let mut target = connected(&world).await;
        let uids = [Uid(1), Uid(2), Uid(3)];
        target.open_own(&name(1)).await.unwrap();
        let before = target.object_ids(&uids).await.unwrap();
        assert_eq!(before.len(), 3);
        let deliveries = before.iter().all(|(_, id)| matches!(id, ObjectId::Delivery(_)));
        assert_eq!(deliveries, has_guids);
        let moved = target.move_out(&name(1), &uids, &inbox()).await.unwrap();
        assert!(matches!(moved, Moved::All { uids: moved, .. } if moved.len() == 3));
        target.open(&inbox()).await.unwrap();
        assert_eq!(target.object_ids(&uids).await.unwrap(), before);
        assert_eq!(world.copy().messages(&["INBOX"]).len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_without_object_ids_is_asked_for_them_once() {
    let world = World::new(Profile::dovecot(), Profile::exchange());
    world.copy().deliver(&["INBOX"], letter(1));
    let mut target = connected(&world).await;
    target.open(&inbox()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(target.object_ids(&[Uid(1)]).await.unwrap(), []);
    }
    assert_eq!(world.target.counters().command("UID FETCH"), 1);
    assert!(target.can_stage());
    let world = World::new(Profile::dovecot(), Profile::courier());
    assert!(!connected(&world).await.can_stage());
}

#[tokio::test(start_paused = true)]
async fn a_move_that_does_not_tell_all_is_unknown() {
    for deed in [Deed::CopyUid(AppendUidLie::Omitted), Deed::PartMove(1)] {
        let world = World::usual();
        for number in 0..2 {
            world.copy().deliver(&[name(1).as_str()], letter(number));
        }
        world.target.faults().arm(Fault::once(deed));
        let mut target = connected(&world).await;
        let moved = target.move_out(&name(1), &[Uid(1), Uid(2)], &inbox()).await.unwrap();
        assert!(matches!(moved, Moved::Unknown(_)), "{moved:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_message_of_a_mailbox_is_moved_in() {
    let world = World::usual();
    world.copy().deliver(&["INBOX"], letter(1));
    let mut target = connected(&world).await;
    let name = OwnName::quarantine(Serial { run: 7, epoch: 1, number: 1 });
    assert_eq!(target.create_own(&name).await.unwrap(), Created::New);
    target.open(&target.spell(&MailboxPath::inbox()).unwrap()).await.unwrap();
    assert!(matches!(target.move_in(Uid(1), &name).await.unwrap(), Moved::All { .. }));
    assert_eq!(world.copy().messages(&[name.as_str()]).len(), 1);
}

/// A small account with what makes recovery hard, delivered through stages.
fn world(target: Profile) -> World {
    let mut world = World::new(Profile::dovecot(), target);
    world.deliver(0..6);
    world.anna().deliver(&INBOX, letter(2));
    world.anna().deliver(&INBOX, letter(2));
    world.anna().deliver(&INBOX, Message::new("no header at all"));
    let body = [&letter(50).body[..], &[b'x'; 9_000]].concat();
    world.anna().deliver(&INBOX, Message::new(body));
    for number in 10..15 {
        world.anna().deliver(&["Archive"], letter(number));
    }
    world.config.window_bytes_max = 6_000;
    world.config.window_messages_max = 3;
    world.config.stage_messages_max = 7;
    world.config.delivery = Delivery::Staged;
    world
}

const MESSAGES: u64 = 15;

#[track_caller]
fn assert_all_there(world: &World, report: &Report, what: &str) {
    let fates = (report.fate(Fate::Copied), report.verdict);
    assert_eq!(fates, (MESSAGES, Verdict::Done), "{what} {:?}", report.totals);
    assert_eq!(report.totals.in_doubt, 0, "{what}");
    let said: Vec<&str> = report.remarks.iter().map(|row| row.remark.text.as_str()).collect();
    assert_eq!(said, Vec::<&str>::new(), "{what}");
    world.assert_copied();
}

fn warnings(report: &Report) -> Vec<&str> {
    report
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Warning { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_staged_copy_equals_its_source_and_leaves_no_stage() {
    for profile in [Profile::dovecot(), Profile::cyrus(), Profile::exchange()] {
        let mut world = world(profile);
        let report = world.run().await;
        assert_all_there(&world, &report, "");
        report.assert_done(MESSAGES);
        assert_eq!(warnings(&report), Vec::<&str>::new());
        let counters = world.target.counters();
        let commands = ["CREATE", "DELETE", "UID MOVE"].map(|name| counters.command(name));
        // Archive itself is made, too. The streamed message goes with others.
        assert_eq!(commands, [4, 3, 3], "{:?}", counters.commands);
        let report = world.run().await;
        report.assert_done(MESSAGES);
        assert_eq!(world.target.counters().command("APPEND"), counters.command("APPEND"));
    }
}

/// A18
#[tokio::test(start_paused = true)]
async fn a_staged_run_killed_at_every_event_is_resumed() {
    for event in 1.. {
        let mut world = world(Profile::dovecot());
        if world.run_until(Kill::Events(event)).await.is_some() {
            assert!(event > 10, "only {event} events");
            break;
        }
        let report = world.run().await;
        assert_all_there(&world, &report, &format!("event {event}"));
    }
}

async fn killed_everywhere(target: Profile, kind: fn(Side, u64) -> Kill, points: u64) {
    let bytes = {
        let (mut low, mut high) = (0_u64, 1 << 17);
        while high - low > 64 {
            let middle = low.midpoint(high);
            if world(target.clone()).run_until(kind(Side::Target, middle)).await.is_none() {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    };
    for point in 0..points {
        let kill = kind(Side::Target, 1 + point * bytes / points);
        let mut world = world(target.clone());
        assert!(world.run_until(kill).await.is_none(), "{kill:?}");
        let report = world.run().await;
        assert_all_there(&world, &report, &format!("{kill:?}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_staged_run_killed_at_any_byte_to_the_target_is_resumed() {
    for target in [Profile::dovecot(), Profile::cyrus()] {
        killed_everywhere(target, Kill::Sent, 120).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_staged_run_killed_at_any_byte_from_the_target_is_resumed() {
    for target in [Profile::dovecot(), Profile::cyrus()] {
        killed_everywhere(target, Kill::Received, 120).await;
    }
}

/// A04
#[tokio::test(start_paused = true)]
async fn an_append_that_comes_late_finds_its_stage_gone() {
    let mut world = world(Profile::dovecot());
    world.config.idle_timeout = Duration::from_secs(1);
    for _ in 0..2 {
        let late = Deed::CommitLate(Matching::Any, Duration::from_secs(300));
        world.target.faults().arm(Fault::once(late));
    }
    let report = world.run().await;
    assert_all_there(&world, &report, "");
    world.target.settle().await;
    // As it would not be in direct delivery.
    world.assert_copied();
    world.run().await.assert_done(MESSAGES);
}

/// A17
#[tokio::test(start_paused = true)]
async fn a_move_cut_between_any_two_pieces_is_resumed() {
    for profile in [Profile::dovecot(), Profile::cyrus(), Profile::exchange()] {
        for pieces in 0..15 {
            let mut world = world(profile.clone());
            world.target.faults().arm(Fault::once(Deed::CutMove(pieces)));
            let report = world.run().await;
            assert_all_there(&world, &report, &format!("{} {pieces}", profile.name));
        }
        let mut world = world(profile);
        world.target.faults().arm(Fault::once(Deed::HalfMove));
        let report = world.run().await;
        assert_all_there(&world, &report, "half");
    }
}

#[tokio::test(start_paused = true)]
async fn a_move_that_is_refused_in_part_is_not_repeated() {
    let mut world = world(Profile::dovecot());
    world.target.faults().arm(Fault::always(Deed::PartMove(2)));
    let report = world.run().await;
    assert_all_there(&world, &report, "");
    assert_eq!(warnings(&report).len(), 1, "{:?}", warnings(&report));
    assert!(warnings(&report)[0].contains("EXPUNGEISSUED"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_tell_the_truth_of_a_move_doubles_nothing() {
    for lie in [AppendUidLie::Omitted, AppendUidLie::Shifted(1), AppendUidLie::Validity(7)] {
        let mut world = world(Profile::dovecot());
        world.target.faults().arm(Fault::once(Deed::CopyUid(lie)));
        let report = world.run().await;
        assert_all_there(&world, &report, &format!("{lie:?}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_move_whose_connection_is_lost_doubles_nothing_within_the_settling() {
    for profile in [Profile::dovecot(), Profile::cyrus()] {
        for (before, piece) in [(50, 0), (0, 5), (30, 4)] {
            let mut world = world(profile.clone());
            let slowness = Slowness {
                before: Duration::from_millis(before),
                piece: Duration::from_millis(piece),
                cut: true,
            };
            world.target.faults().arm(Fault::once(Deed::SlowMove(slowness)));
            let report = world.run().await;
            world.target.settle().await;
            assert_all_there(&world, &report, &format!("{} {before} {piece}", profile.name));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_move_that_outlives_the_settling_is_excluded_or_told() {
    let slowness =
        Slowness { before: Duration::from_secs(300), piece: Duration::from_secs(1), cut: true };
    // Its DELETE waits for the MOVE.
    let mut cyrus = world(Profile::cyrus());
    cyrus.config.idle_timeout = Duration::from_secs(600);
    cyrus.target.faults().arm(Fault::once(Deed::SlowMove(slowness)));
    let report = cyrus.run().await;
    cyrus.target.settle().await;
    assert_all_there(&cyrus, &report, "");

    let mut dovecot = world(Profile::dovecot());
    dovecot.target.faults().arm(Fault::once(Deed::SlowMove(slowness)));
    let report = dovecot.run().await;
    assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Done, MESSAGES));
    dovecot.target.settle().await;
    let report = dovecot.run().await;
    assert_eq!(report.verdict, Verdict::InDoubt);
    assert!(report.remarked(RemarkKind::PossibleDuplicate) > 0);
}

/// A19
#[tokio::test(start_paused = true)]
async fn where_no_stage_can_be_made_mail_is_delivered_directly_and_that_is_said_once() {
    let refused = world(Profile::dovecot());
    refused.target.faults().arm(Fault::always(Deed::RefuseCreate("mailhaul-".to_owned())));
    for mut world in [refused, world(Profile::courier())] {
        let report = world.run().await;
        assert_all_there(&world, &report, "");
        assert_eq!(warnings(&report).len(), 1, "{:?}", warnings(&report));
        assert_eq!(world.target.counters().command("UID MOVE"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn junk_is_delivered_directly() {
    let mut world = World::usual();
    world.config.delivery = Delivery::Staged;
    world.anna().create_mailbox(&["Werbung"], Some("\\Junk")).unwrap();
    world.anna().deliver(&["Werbung"], letter(1));
    world.run().await.assert_done(1);
    assert_eq!(world.target.counters().command("UID MOVE"), 0);
}

/// A15
#[tokio::test(start_paused = true)]
async fn what_its_owner_takes_out_of_the_target_while_it_is_in_doubt_is_not_brought_back() {
    let mut world = world(Profile::dovecot());
    // The first stage arrives whole, and its answer is lost.
    world.target.faults().arm(Fault::once(Deed::CutAfter("UID MOVE".to_owned())));
    let copy = world.copy();
    let taken = Arc::new(AtomicBool::new(false));
    let once = taken.clone();
    world.on_event(move |event| {
        if matches!(event, Event::AccountParked { .. }) && !once.swap(true, Ordering::Relaxed) {
            assert!(copy.expunge(&INBOX, 1));
        }
    });
    let report = world.run().await;
    assert!(taken.load(Ordering::Relaxed), "nothing was cut");
    assert_eq!(report.fate(Fate::Copied), MESSAGES);
    assert_eq!(report.remarked(RemarkKind::RemovedAtTarget), 1);
    assert_eq!(world.copy().messages(&INBOX).len(), 9);
}

#[tokio::test(start_paused = true)]
async fn mail_that_somebody_puts_into_a_stage_is_not_deleted() {
    let mut world = world(Profile::dovecot());
    world.target.faults().arm(Fault::once(Deed::CutBefore("UID MOVE".to_owned())));
    let copy = world.copy();
    world.on_event(move |event| {
        if matches!(event, Event::AccountParked { .. }) {
            let mailboxes = copy.mailboxes();
            let stage = mailboxes.iter().find(|one| one.path[0].starts_with("mailhaul-")).unwrap();
            copy.deliver(&stage.path, Message::new("x".repeat(70_000)).of(77, 0));
        }
    });
    let report = world.run().await;
    assert_eq!(report.verdict, Verdict::Incomplete, "{:?}", report.totals);
    let faults = report.mailbox_faults().join(" ");
    assert!(faults.contains("mail in it that is not ours"), "{faults}");
    let mailboxes = world.copy().mailboxes();
    let stage = mailboxes.iter().find(|one| one.path[0].starts_with("mailhaul-")).unwrap();
    assert!(world.copy().messages(&stage.path).iter().any(|one| one.body.len() == 70_000));
}

/// As when a mailbox is restored: what is in it gets other UIDs, at any moment of a run.
#[tokio::test(start_paused = true)]
async fn copies_are_told_apart_though_the_target_renumbers_their_mailbox_between_two_stages() {
    for point in 1.. {
        let mut world = World::usual();
        // The UIDs of what is copied will be lower after it.
        let brought = world.copy().deliver(&INBOX, letter(9));
        assert!(world.copy().expunge(&INBOX, brought));
        world.deliver(0..6);
        world.config.delivery = Delivery::Staged;
        world.config.stage_messages_max = 2;
        let copy = world.copy();
        let at_point: AtPoint = Box::new(move |now| {
            if now == point {
                copy.bump_uid_validity(&INBOX);
            }
        });
        let circumstances = Circumstances { at_point: Some(at_point), ..<_>::default() };
        world.run_with(circumstances).await.expect("nothing kills it");
        if world.points < point {
            assert!(point > 100, "only {point} points");
            return;
        }
        for (uid, flag) in (1..).zip(["A", "B", "C", "D", "E", "F"]) {
            assert!(world.anna().set_flags(&INBOX, uid, &[flag]));
        }
        world.run().await;
        world.run().await.assert_done(6);
        world.assert_copied();
    }
}
