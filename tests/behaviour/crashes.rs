//! Whatever breaks in the middle, the end is the same.

use mailhaul::fate::{Fate, RemarkKind};
use mailhaul::fault::Side;
use mailhaul::rehearsal::{Message, Profile};

use crate::network::Kill;
use crate::world::{INBOX, World, letter};

/// A small account with what makes recovery hard: twins, a message without headers, one that is
/// streamed, two mailboxes.
fn world(target: Profile) -> World {
    let mut world = World::new(Profile::dovecot(), target);
    world.deliver(0..6);
    world.anna().deliver(&INBOX, letter(2));
    world.anna().deliver(&INBOX, letter(2));
    world
        .anna()
        .deliver(&INBOX, Message::new("no header at all"));
    let body = [&letter(50).body[..], &[b'x'; 9_000]].concat();
    world.anna().deliver(&INBOX, Message::new(body));
    for number in 10..15 {
        world.anna().deliver(&["Archive"], letter(number));
    }
    world.config.window_bytes_max = 6_000;
    world.config.window_messages_max = 3;
    world
}

const MESSAGES: u64 = 15;

/// Bytes that a whole run sends and receives on one side.
async fn bytes_of_a_run(target: &Profile, kind: fn(Side, u64) -> Kill, side: Side) -> u64 {
    let (mut low, mut high) = (0_u64, 1 << 20);
    while high - low > 64 {
        let middle = low.midpoint(high);
        let died = world(target.clone())
            .run_until(kind(side, middle))
            .await
            .is_none();
        if died { low = middle } else { high = middle }
    }
    low
}

async fn killed_everywhere(target: Profile, kind: fn(Side, u64) -> Kill, side: Side) {
    let bytes = bytes_of_a_run(&target, kind, side).await;
    for step in 0..60 {
        let kill = kind(side, 1 + step * bytes / 60);
        let mut world = world(target.clone());
        assert!(world.run_until(kill).await.is_none(), "{kill:?}");
        let report = world.run().await;
        assert_eq!(report.fate(Fate::Copied), MESSAGES, "{kill:?}");
        assert_eq!(report.remarked(RemarkKind::PossibleDuplicate), 0);
        world.assert_copied();
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_killed_at_any_byte_to_the_target_is_resumed() {
    killed_everywhere(Profile::dovecot(), Kill::Sent, Side::Target).await;
}
