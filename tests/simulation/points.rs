use mailhaul::config::Delivery;
use mailhaul::fate::Fate;
use mailhaul::rehearsal::{Message, Profile};
use mailhaul::report::Verdict;
use mailhaul::simulation::ledger::Failure;
use mailhaul::simulation::network::Kill;
use mailhaul::simulation::world::{Circumstances, INBOX, World, letter};

const MESSAGES: u64 = 6;

/// A job of six messages with what makes recovery hard: twins, a message without headers, one that is
/// streamed, two mailboxes.
fn world(target: Profile, delivery: Delivery) -> World {
    let mut world = World::new(Profile::dovecot(), target);
    world.anna().deliver(&INBOX, letter(3));
    world.anna().deliver(&INBOX, letter(2));
    world.anna().deliver(&INBOX, letter(2));
    world.anna().deliver(&INBOX, Message::new("no header at all"));
    let body = [&letter(50).body[..], &[b'x'; 3_000]].concat();
    world.anna().deliver(&INBOX, Message::new(body));
    world.anna().deliver(&["Archive"], letter(10));
    world.config.window_bytes_max = 2_000;
    world.config.window_messages_max = 2;
    world.config.delivery = delivery;
    world
}

async fn resume(mut world: World, what: &str) {
    let report = world.run().await;
    let end = (report.fate(Fate::Copied), report.verdict, report.totals.in_doubt);
    assert_eq!(end, (MESSAGES, Verdict::Done, 0), "{what}: {:?}", report.totals);
    world.assert_copied();
}

/// Stops the job before and after every call to the ledger and every write to a connection, and
/// resumes it.
async fn stopped_at_every_point(target: Profile, delivery: Delivery) {
    let mut whole = world(target.clone(), delivery);
    whole.run().await.assert_done(MESSAGES);
    let points = whole.points;
    assert!(points > 60, "only {points} points");
    for point in 1..=points {
        let mut world = world(target.clone(), delivery);
        let killed = world.run_until(Kill::Point(point)).await;
        assert!(killed.is_none(), "{point} of {points}");
        resume(world, &format!("point {point}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn stopped_at_any_point_the_job_ends_the_same_at_dovecot() {
    stopped_at_every_point(Profile::dovecot(), Delivery::Direct).await;
}

#[tokio::test(start_paused = true)]
async fn stopped_at_any_point_the_job_ends_the_same_at_exchange() {
    stopped_at_every_point(Profile::exchange(), Delivery::Direct).await;
}

#[tokio::test(start_paused = true)]
async fn stopped_at_any_point_the_job_ends_the_same_at_courier() {
    stopped_at_every_point(Profile::courier(), Delivery::Direct).await;
}

#[tokio::test(start_paused = true)]
async fn stopped_at_any_point_the_job_ends_the_same_without_extensions() {
    stopped_at_every_point(Profile::plain(), Delivery::Direct).await;
}

#[tokio::test(start_paused = true)]
async fn stopped_at_any_point_the_job_ends_the_same_through_stages() {
    stopped_at_every_point(Profile::dovecot(), Delivery::Staged).await;
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_fails_at_any_call_ends_the_run_and_the_next_one_goes_on() {
    for (target, delivery) in [
        (Profile::dovecot(), Delivery::Direct),
        (Profile::plain(), Delivery::Direct),
        (Profile::dovecot(), Delivery::Staged),
    ] {
        for for_ever in [false, true] {
            for call in 0.. {
                let mut world = world(target.clone(), delivery);
                let failure = Some(Failure { call, for_ever });
                let circumstances = Circumstances { failure, ..Circumstances::default() };
                let report = world.run_with(circumstances).await.expect("nothing kills it");
                if report.ended.is_ok() {
                    assert!(call > 30, "only {call} calls");
                    break;
                }
                resume(world, &format!("{call} {for_ever}")).await;
            }
        }
    }
}
