//! Every direction between Dovecot, Cyrus and Courier, with a program that is killed at random.

use std::time::Duration;

use crate::dump::Dump;
use crate::harness::dovecot::Options;
use crate::harness::{Server, available, courier, cyrus, dovecot};
use crate::messages::{Contents, Manner};
use crate::product::{Account, Link, Migration, exit};
use crate::random::Random;

const USERS: usize = 200;
/// Kills of one migration, after which it is let to its end.
const KILLS_MAX: usize = 6;

/// A06 (D, C, K): `MAILHAUL_KILLS` says how many kills in each direction, `MAILHAUL_SEED` when.
#[test]
fn in_every_direction_a_killed_program_loses_and_doubles_nothing() {
    if !available() {
        return;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("MAILHAUL_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let wanted = usize::try_from(number("MAILHAUL_KILLS").unwrap_or(2)).unwrap();
    println!("MAILHAUL_SEED={seed}");
    let mut random = Random::new(seed);
    let dovecot = dovecot::start(&Options { users: USERS, ..Options::default() });
    let servers = [dovecot, cyrus::start(USERS), courier::start(USERS)];
    let stored: Vec<Dump> = servers
        .iter()
        .map(|server| {
            let mut client = server.client("u0001");
            Contents::new(random.next(), 120, Manner::Tame).store(&mut client);
            Dump::read(&mut client)
        })
        .collect();
    for target in &servers {
        let mut users = (2..=USERS).map(|number| format!("u{number:04}"));
        for (source, stored) in servers.iter().zip(&stored) {
            let (mut kills, mut migrations) = (0, 0);
            while kills < wanted {
                let user = users.next().expect("it is killed sooner");
                kills += killed_on_the_way((source, target), &user, stored, &mut random);
                migrations += 1;
                stored.assert_copied_to(&Dump::read(&mut source.client("u0001")));
            }
            let (source, target) = (source.name, target.name);
            println!("{source} to {target}: {kills} kills in {migrations} migrations, all equal");
        }
    }
}

/// Moves an account whole, and counts how often it was killed meanwhile.
fn killed_on_the_way(
    (source, target): (&Server, &Server),
    user: &str,
    stored: &Dump,
    random: &mut Random,
) -> usize {
    let account = Account::new("u0001", (source, Link::Plain), (target, Link::Plain));
    let migration = Migration::new(&[account.with("target_user", user)]);
    let mut kills = 0;
    for _ in 0..KILLS_MAX {
        let delay = Duration::from_millis(20 + random.below(400) as u64);
        if !migration.start().kill_after(delay) {
            break;
        }
        kills += 1;
    }
    migration.run_expecting(exit::ALL_THERE);
    stored.assert_copied_to(&Dump::read(&mut target.client(user)));
    kills
}
