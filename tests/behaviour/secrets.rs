//! Passwords stay where they are.

use std::sync::Arc;

use mailhaul::accounts::Batch;
use mailhaul::engine::{Env, run_in};
use mailhaul::ledger::Ledger;
use mailhaul::ledger::sqlite::SqliteLedger;
use mailhaul::rehearsal::{Deed, Fault, Profile};
use mailhaul::stop::Stop;

use mailhaul::simulation::world::{ANNA, World, password};

#[tokio::test(start_paused = true)]
async fn no_password_is_told_by_events_reports_and_faults() {
    let echo = format!("NO [AUTHENTICATIONFAILED] {} is wrong", password(ANNA));
    for (command, answer) in [
        ("AUTHENTICATE", Some(echo.as_str())),
        ("LOGIN", Some(echo.as_str())),
        ("AUTHENTICATE", Some("BAD what")),
        ("NOTHING", None),
    ] {
        let plain = Profile { auth_plain: command != "LOGIN", ..Profile::plain() };
        let mut world = World::new(Profile::dovecot(), plain);
        world.deliver(0..5);
        if let Some(answer) = answer {
            let deed = Deed::Answer(command.to_owned(), answer.to_owned());
            world.target.faults().arm(Fault::once(deed));
        }
        let report = world.run().await;
        let told = format!(
            "{:?} {:?} {:?} {:?}",
            report.events, report.accounts, report.remarks, world.accounts
        );
        assert!(told.contains(ANNA));
        assert!(!told.contains(&password(ANNA)), "{told}");
    }
}

// The file is written by threads, which a paused clock would run away from.
#[tokio::test]
async fn no_password_is_in_the_ledger_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let world = World::usual();
    world.deliver(0..5);
    let echo = format!("NO {} is wrong", password(ANNA));
    let deed = Deed::Answer("APPEND".to_owned(), echo.replace(&password(ANNA), "it"));
    world.target.faults().arm(Fault::once(deed));
    let ledger = SqliteLedger::open(&path).await.unwrap();
    let env = Env { dial: world.network.clone(), ledger: ledger.clone(), seed: 7 };
    let batch = Batch { accounts: world.accounts.clone() };
    run_in(env, world.config.clone(), &batch, Arc::new(()), Stop::new()).await.unwrap();
    ledger.flush().await.unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let octets = std::fs::read(file.unwrap().path()).unwrap();
        let found = memchr::memmem::find(&octets, password(ANNA).as_bytes());
        assert_eq!(found, None);
    }
    assert_eq!(world.copy().snapshot().messages(), 5);
}
