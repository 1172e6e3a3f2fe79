//! A model of the protocol that carries messages to the target exactly once, explored exhaustively.
//!
//! A world is small (two or three messages, a mailbox, a few things that go wrong), and every order
//! in which anything can happen in it is tried. What a process does next is in [`engine`], one step
//! for each thing that others can see, in the order of the functions of `src/engine/` that its steps
//! name, and by the very decisions of `src/plan/` that they call. What servers make of commands
//! whose connections are gone is in [`target`], what a crash leaves of the ledger in [`memory`], what
//! must hold at each end in [`check`].
//!
//! Not in it: rewriting or deduplicating servers, flags, new UIDVALIDITYs, quotas, a server that hides
//! what it has just stored, the removal of surplus copies, and more than two windows.
//!
//! `cargo test --all-features --test model` explores small worlds;
//! `MAILHAUL_MODEL=large cargo test --release --all-features --test model -- --nocapture` larger ones.

mod check;
mod config;
mod engine;
mod explore;
mod mail;
mod memory;
mod state;
mod target;
mod world;

use config::{Told, Without, World};
use explore::explore;

/// Explores a world in which every promise must hold.
#[expect(
    clippy::print_stdout,
    reason = "what was explored is told to whoever asks with --nocapture"
)]
fn hold(name: &str, world: &World) {
    match explore(world) {
        Ok(explored) => println!("{name}, {} messages: {explored:?}", world.source.len()),
        Err(broken) => panic!("{name}, {} messages:\n{broken}", world.source.len()),
    }
}

fn is_large() -> bool {
    std::env::var_os("MAILHAUL_MODEL").is_some_and(|value| value == "large")
}

/// Two equal messages; and these with another one between, which shares a window with the first.
const SOURCES: [&[u8]; 2] = [&[0, 0], &[0, 1, 0]];

#[test]
fn direct_delivery_loses_nothing_and_doubles_only_what_is_late_or_removed_in_doubt() {
    let more = u8::from(is_large());
    for source in SOURCES {
        let world = World { source, ..World::DIRECT };
        hold("losses and a late command", &World { losses: 2 + more, late: 1 + more, ..world });
        let one = World { losses: 1 + more, ..world };
        hold("no APPENDUID", &World { told: Told::Nothing, ..one });
        hold("an equal message of others", &World { foreign: 1, ..one });
        hold("a message that was there before", &World { before: Some(0), ..one });
        hold("no MULTIAPPEND", &World { losses: 2, window: 1, multi: false, ..world });
        hold("two passes", &World { passes: 2, ..one });
        hold(
            "wrong UIDs, and OK for nothing",
            &World { losses: 1, told: Told::Anything, swallowed: 1, ..world },
        );
        if source.len() == 2 || is_large() {
            hold("a user", &World { losses: 1, user: 2, ..world });
            hold("a second process", &World { losses: 1, claimants: 1, ..world });
        }
    }
}

#[test]
fn staged_delivery_is_exact_where_a_move_ends_before_the_stage_and_else_reports_what_is_double() {
    let more = u8::from(is_large());
    for source in SOURCES {
        let dovecot = World { source, ..World::STAGED };
        for world in [dovecot, World { delete_waits: true, ..dovecot }] {
            let one = World { losses: 1 + more, ..world };
            hold("losses, all within the settling", &World { losses: 2, ..world });
            hold("a late command", &World { late: 1, ..one });
            hold("a user", &World { user: 1, ..one });
            hold("OK for nothing", &World { swallowed: 1, ..one });
        }
    }
}

/// Explores a world that lacks a part of the protocol, and prints the shortest way to a broken promise.
#[expect(
    clippy::print_stdout,
    reason = "what was explored is told to whoever asks with --nocapture"
)]
fn needs(without: Without, world: World) {
    match explore(&World { without: Some(without), ..world }) {
        Ok(explored) => panic!("nothing breaks without {without:?}: {explored:?}"),
        Err(broken) => println!("without {without:?}:\n{broken}"),
    }
}

#[test]
fn each_part_of_direct_delivery_is_needed() {
    let world = World { source: &[0, 0], ..World::DIRECT };
    let one = World { losses: 1, ..world };
    needs(Without::Intent, world);
    needs(Without::LoBefore, world);
    needs(Without::FromLo, World { before: Some(0), ..one });
    needs(Without::OneClaim, World { multi: false, swallowed: 1, ..one });
    needs(Without::OneTransaction, world);
    needs(Without::Hint, World { told: Told::Anything, ..one });
    needs(Without::ReadBack, World { swallowed: 1, losses: 0, ..world });
    needs(Without::Settling, World { late: 0, ..world });
    needs(Without::Epoch, World { claimants: 1, ..one });
    needs(Without::Note, world);
    needs(Without::FirstLo, World { source: &[0], before: Some(1), ..world });
    needs(Without::Together, World { window: 1, user: 2, ..world });
    needs(Without::Lapsed, World { window: 1, user: 2, ..one });
    needs(Without::Sweep, world);
}

#[test]
fn each_part_of_staged_delivery_is_needed() {
    let world = World { source: &[0, 1], late: 1, ..World::STAGED };
    let cyrus = World { delete_waits: true, ..world };
    needs(
        Without::StageReadBack,
        World { multi: false, swallowed: 1, user: 1, losses: 0, ..world },
    );
    needs(Without::MoveIntent, world);
    needs(Without::MoveOnce, world);
    needs(Without::NameOnce, world);
    needs(Without::Delete, cyrus);
    needs(Without::DeleteAnswer, cyrus);
}
