//! Connections that are compressed (RFC 4978).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mailhaul::config::Compress;
use mailhaul::fault::Side;
use mailhaul::rehearsal::{Deed, Fault, Message, Profile};
use mailhaul::simulation::network::{Kill, Trouble, Way, What};
use mailhaul::simulation::world::{INBOX, World};

const MESSAGES: u64 = 14;

/// With mail that shrinks, mail that does not, and a message that is streamed.
fn world(source: Profile, target: Profile) -> World {
    let mut world = World::new(source, target);
    world.config.compress = Compress::Both;
    world.config.window_bytes_max = 100_000;
    world.deliver(0..12);
    let varied: Vec<u8> =
        (0..5_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    let header = b"Subject: large\r\n\r\n";
    world.anna().deliver(&INBOX, Message::new([header, &varied[..]].concat()));
    world
        .anna()
        .deliver(&INBOX, Message::new([&header[..], &b"all alike\r\n".repeat(30_000)].concat()));
    world
}

#[tokio::test(start_paused = true)]
async fn mail_arrives_whole_over_compressed_connections() {
    for target in [
        Profile::dovecot(),
        Profile { compress: true, ..Profile::exchange() },
        Profile { compress: true, ..Profile::courier() },
        Profile::gmail(),
    ] {
        let mut world = world(Profile::dovecot(), target);
        world.run().await.assert_done(MESSAGES);
        world.assert_copied();
        world.deliver(20..25);
        world.run().await.assert_done(MESSAGES + 5);
        world.assert_copied();
        for server in [&world.source, &world.target] {
            let counters = server.counters();
            assert_eq!(counters.command("COMPRESS"), counters.connections);
            assert_eq!(counters.command("LSUB"), 2, "once a run");
        }
    }
}

/// The large messages alone have 350 kB, of which 20 kB cannot be compressed.
#[tokio::test(start_paused = true)]
async fn far_fewer_octets_pass_on_the_side_that_was_chosen_and_on_that_alone() {
    let sides = [(Side::Source, Compress::Source), (Side::Target, Compress::Target)];
    for (side, compressed) in sides {
        for compress in [Compress::Never, Compress::Source, Compress::Target, Compress::Both] {
            let mut world = world(Profile::dovecot(), Profile::dovecot());
            world.config.compress = compress;
            let is_enough = match side {
                Side::Source => Kill::Received(side, 60_000),
                Side::Target => Kill::Sent(side, 60_000),
            };
            let report = world.run_until(is_enough).await;
            let is_less = compress == compressed || compress == Compress::Both;
            assert_eq!(report.is_some(), is_less, "{side} {compress:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_offer_it_or_refuses_is_used_without() {
    let mut bare = world(Profile::plain(), Profile::exchange());
    bare.run().await.assert_done(MESSAGES);
    bare.assert_copied();
    assert_eq!(bare.source.counters().command("COMPRESS"), 0);
    for refusal in ["NO [COMPRESSIONACTIVE] TLS does that", "BAD what is that"] {
        let mut world = world(Profile::dovecot(), Profile::dovecot());
        for server in [&world.source, &world.target] {
            let refuse = Deed::Answer("COMPRESS".to_owned(), refusal.to_owned());
            server.faults().arm(Fault::always(refuse));
        }
        world.run().await.assert_done(MESSAGES);
        world.assert_copied();
        assert!(world.target.counters().command("COMPRESS") > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn connections_cut_anywhere_inside_what_is_compressed_lose_nothing() {
    let struck = Arc::new(AtomicU64::new(0));
    for side in [Side::Source, Side::Target] {
        for way in [Way::There, Way::Back] {
            for step in 0..24 {
                let mut world = world(Profile::dovecot(), Profile::dovecot());
                let what = if step % 2 == 0 { What::Reset } else { What::End };
                let after = 150 + step * step * 31;
                let trouble =
                    |connection| Trouble { side, connection, way, after, what: what.clone() };
                world.network.set_troubles((0..2).map(trouble).collect());
                world.run().await.assert_done(MESSAGES);
                world.assert_copied();
                struck.fetch_add(world.network.struck(), Ordering::Relaxed);
            }
        }
    }
    assert!(struck.load(Ordering::Relaxed) > 60, "{struck:?}");
}

#[tokio::test(start_paused = true)]
async fn pipes_that_hold_a_few_octets_pass_it_all() {
    for bytes in [1, 7, 100] {
        let mut world = world(Profile::dovecot(), Profile::dovecot());
        let narrow = |side| {
            let (way, after, what) = (Way::There, 0, What::Narrow(bytes));
            Trouble { side, connection: 0, way, after, what }
        };
        world.network.set_troubles(vec![narrow(Side::Source), narrow(Side::Target)]);
        world.run().await.assert_done(MESSAGES);
        world.assert_copied();
    }
}
