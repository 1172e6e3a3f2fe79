//! Mailboxes of our own at the target: made, moved out of, and deleted.

use mailhaul::fault::Side;
use mailhaul::imap::connect::Connector;
use mailhaul::mail::{MailboxPath, Uid, WireName};
use mailhaul::own::{OwnName, Serial};
use mailhaul::rehearsal::{AppendUidLie, Deed, Fault, Profile};
use mailhaul::simulation::world::{World, letter};
use mailhaul::target::imap::ImapTarget;
use mailhaul::target::{Created, Deleted, Moved, ObjectId, Target};

fn name(number: u32) -> OwnName {
    OwnName::stage(Serial { run: 7, epoch: 1, number })
}

async fn connected(world: &World) -> ImapTarget {
    let connector = Connector::new(world.network.clone(), &world.config).unwrap();
    let connection = connector.connect(&world.accounts[0].target, Side::Target).await.unwrap();
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
