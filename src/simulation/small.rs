//! A job of six messages, stopped at any point and cut at any byte, and what is true at its end.

use std::future::Future;
use std::sync::OnceLock;

use crate::config::Delivery;
use crate::fault::Side;
use crate::rehearsal::{Certificate, Message, Profile};

use super::network::{Kill, Trouble, Way, What};
use super::world::{INBOX, World, letter};

/// Messages of the job.
pub const MESSAGES: u64 = 6;

/// A kind of job.
#[derive(Clone, Copy)]
pub struct Small {
    /// What it is called.
    pub name: &'static str,
    /// What the target is like.
    pub target: fn() -> Profile,
    /// How messages are delivered.
    pub delivery: Delivery,
    /// Whether both servers are behind TLS.
    pub tls: bool,
}

/// A job of each kind.
pub const ALL: [Small; 7] = [
    Small::direct("dovecot", Profile::dovecot),
    Small::direct("exchange", Profile::exchange),
    Small::direct("courier", Profile::courier),
    Small::direct("without extensions", Profile::plain),
    Small::staged("dovecot, staged", Profile::dovecot),
    Small::staged("cyrus, staged", Profile::cyrus),
    Small { tls: true, ..Small::direct("dovecot, TLS", Profile::dovecot) },
];

/// Where a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Whose connection.
    pub side: Side,
    /// Which one, the first to be opened to that side being 0.
    pub connection: u64,
    /// Which way the bytes go that are counted.
    pub way: Way,
    /// After how many bytes.
    pub after: u64,
}

impl Small {
    const fn direct(name: &'static str, target: fn() -> Profile) -> Self {
        Self { name, target, delivery: Delivery::Direct, tls: false }
    }

    const fn staged(name: &'static str, target: fn() -> Profile) -> Self {
        Self { name, target, delivery: Delivery::Staged, tls: false }
    }

    /// Its world, with what makes recovery hard: twins, a message without headers, one that is
    /// streamed, two mailboxes.
    #[must_use]
    pub fn world(&self) -> World {
        static CERTIFICATE: OnceLock<Certificate> = OnceLock::new();
        let mut world = World::new(Profile::dovecot(), (self.target)());
        world.anna().deliver(&INBOX, letter(3));
        world.anna().deliver(&INBOX, letter(2));
        world.anna().deliver(&INBOX, letter(2));
        world.anna().deliver(&INBOX, Message::new("no header at all"));
        let body = [&letter(50).body[..], &[b'x'; 3_000]].concat();
        world.anna().deliver(&INBOX, Message::new(body));
        world.anna().deliver(&["Archive"], letter(10));
        world.config.window_bytes_max = 2_000;
        world.config.window_messages_max = 2;
        world.config.delivery = self.delivery;
        if self.tls {
            world.secure(CERTIFICATE.get_or_init(Certificate::generate));
        }
        world
    }

    /// Stops a run at each of these points, each the run after the one before, and lets the next one
    /// end the work. Gives whether there were so many points.
    ///
    /// # Errors
    ///
    /// How the end differs from that without a stop.
    pub fn stop(&self, points: &[u64]) -> Result<bool, String> {
        alone(async {
            let mut world = self.world();
            let mut is_stopped = true;
            for point in points {
                is_stopped &= world.run_until(Kill::Point(*point)).await.is_none();
            }
            end(world).await;
            is_stopped
        })
        .map_err(|text| format!("{}, stopped at {points:?}: {text}", self.name))
    }

    /// Cuts a connection. Gives whether it had so many bytes.
    ///
    /// # Errors
    ///
    /// How the end differs from that without a cut.
    pub fn cut(&self, cut: Cut) -> Result<bool, String> {
        alone(async {
            let world = self.world();
            let Cut { side, connection, way, after } = cut;
            let trouble = Trouble { side, connection, way, after, what: What::End };
            world.network.set_troubles(vec![trouble]);
            let network = world.network.clone();
            end(world).await;
            network.struck() > 0
        })
        .map_err(|text| format!("{}, {cut:?}: {text}", self.name))
    }
}

/// Runs to the end, which is the same whatever happened before.
async fn end(mut world: World) {
    world.run().await.assert_done(MESSAGES);
    world.assert_copied();
}

/// Plays something on a runtime of its own; a panic in it is an error.
fn alone<T>(playing: impl Future<Output = T>) -> Result<T, String> {
    let play = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build();
        runtime.expect("a runtime without threads").block_on(playing)
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(play)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default()
    })
}
