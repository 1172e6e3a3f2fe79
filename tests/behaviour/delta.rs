//! Later passes: what changed at the source since the last one comes to the target, and nothing else
//! is touched there.

use mailhaul::rehearsal::Profile;
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
