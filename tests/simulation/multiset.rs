//! Whatever mail there is and whatever breaks: in the end the target has what it had before, what
//! others brought, and the source's mail, each message as often as there.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mailhaul::config::{Adopt, Delivery, Verify};
use mailhaul::fault::Side;
use mailhaul::rehearsal::{Deed, Fault, InternalDate, Matching, Message, Profile, Store};
use mailhaul::report::Verdict;
use mailhaul::simulation::network::{AtPoint, Kill, Trouble, Way, What};
use mailhaul::simulation::world::{Circumstances, World};
use proptest::collection::vec;
use proptest::prelude::*;

const MAILBOXES: [&str; 3] = ["INBOX", "Archive", "Old"];

#[derive(Clone)]
struct Mail {
    mailbox: usize,
    body: Vec<u8>,
    flags: Vec<&'static str>,
    unix_seconds: i64,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mailbox, body, flags, unix_seconds } = self;
        let mailbox = MAILBOXES[*mailbox];
        write!(f, "{mailbox} {flags:?} {unix_seconds} {}", body.escape_ascii())
    }
}

impl Mail {
    fn deliver(&self, store: &Store) {
        let message = Message {
            flags: self.flags.iter().map(|flag| (*flag).to_owned()).collect(),
            internal_date: InternalDate { unix_seconds: self.unix_seconds, offset_seconds: 0 },
            body: self.body.clone().into(),
        };
        store.deliver(&[MAILBOXES[self.mailbox]], message);
    }
}

fn headers(number: u32) -> String {
    format!(
        "Message-ID: <{number}@example.org>\r\nDate: Mon, 14 Sep 2020 10:00:00 +0200\r\n\
         From: ben@example.org\r\nSubject: letter {number}\r\n\r\n"
    )
}

/// Few different ones, so that some are equal, and namesakes.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let named = |number, text: String| (headers(number) + &text).into_bytes();
    prop_oneof![
        6 => (0..5_u32).prop_map(move |number| named(number, format!("Text {number}.\r\n"))),
        2 => (0..2_u32, 0..3_u32).prop_map(move |(number, text)| named(number, format!("{text}"))),
        1 => (0..2_u32).prop_map(move |number| named(number, "large ".repeat(500))),
        2 => vec(1..=255_u8, 1..120),
    ]
}

fn mail() -> impl Strategy<Value = Mail> {
    let flags = [&[][..], &["\\Seen"], &["\\Flagged", "\\Seen"], &["$Forwarded", "work"]];
    (0..MAILBOXES.len(), body(), 0..flags.len(), 0..3_i64).prop_map(move |parts| {
        let (mailbox, body, flag, day) = parts;
        let unix_seconds = 1_600_000_000 + 86_400 * day;
        Mail { mailbox, body, flags: flags[flag].to_vec(), unix_seconds }
    })
}

/// Of a kind that the source never has.
fn mail_of_others() -> impl Strategy<Value = Mail> {
    (mail(), any::<u32>()).prop_map(|(mail, number)| Mail {
        body: format!("Subject: of others {number}\r\n\r\n{number}\r\n").into_bytes(),
        ..mail
    })
}

/// A run in which things go wrong.
#[derive(Debug, Clone)]
struct Run {
    kill: Option<u64>,
    troubles: Vec<Trouble>,
    faults: Vec<(Side, Fault)>,
    /// Who brings something, and at which point.
    brought: Vec<(u64, Side, Mail)>,
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Target), Just(Side::Source)]
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let what = prop_oneof![
        Just(What::Reset),
        Just(What::End),
        Just(What::HalfClose),
        (1..90_u64).prop_map(|millis| What::Stall(Duration::from_millis(millis))),
        Just(What::Narrow(1)),
        Just(What::Narrow(7)),
    ];
    let way = prop_oneof![Just(Way::There), Just(Way::Back)];
    (side(), 0..3_u64, way, 0..4_000_u64, what).prop_map(|(side, connection, way, after, what)| {
        Trouble { side, connection, way, after, what }
    })
}

fn fault() -> impl Strategy<Value = (Side, Fault)> {
    let command = |names: &'static [&'static str]| {
        proptest::sample::select(names).prop_map(|name: &str| name.to_owned())
    };
    let target =
        || command(&["APPEND", "UID FETCH", "UID MOVE", "NOOP", "SELECT", "CREATE", "DELETE"]);
    let source = || command(&["UID FETCH", "NOOP", "EXAMINE", "LIST"]);
    let later = || "NO [UNAVAILABLE] later".to_owned();
    let at_target = prop_oneof![
        target().prop_map(Deed::CutBefore),
        target().prop_map(Deed::CutAfter),
        target().prop_map(move |name| Deed::Answer(name, later())),
        (1..90_u64)
            .prop_map(|millis| Deed::CommitLate(Matching::Any, Duration::from_millis(millis))),
        (0..8_usize).prop_map(Deed::CutMove),
        Just(Deed::HalfMove),
    ];
    let at_source = prop_oneof![
        source().prop_map(Deed::CutBefore),
        source().prop_map(Deed::CutAfter),
        source().prop_map(move |name| Deed::Answer(name, later())),
    ];
    let deed = prop_oneof![
        3 => at_target.prop_map(|deed| (Side::Target, deed)),
        1 => at_source.prop_map(|deed| (Side::Source, deed)),
    ];
    (deed, 0..8_u64).prop_map(|((side, deed), after)| (side, Fault::once(deed).after(after)))
}

fn run() -> impl Strategy<Value = Run> {
    let brought = prop_oneof![
        (1..200_u64, Just(Side::Source), mail()),
        (1..200_u64, Just(Side::Target), mail_of_others()),
    ];
    (proptest::option::of(1..250_u64), vec(trouble(), 0..3), vec(fault(), 0..3), vec(brought, 0..3))
        .prop_map(|(kill, troubles, faults, brought)| Run { kill, troubles, faults, brought })
}

#[derive(Debug, Clone)]
struct Setup {
    target: usize,
    delivery: Delivery,
    adopt: Adopt,
    window_messages_max: usize,
    windows_in_flight_max: usize,
    connections_max: usize,
}

fn setup() -> impl Strategy<Value = Setup> {
    let delivery = prop_oneof![2 => Just(Delivery::Direct), 1 => Just(Delivery::Staged)];
    let adopt = prop_oneof![Just(Adopt::None), Just(Adopt::Match)];
    (0..5_usize, delivery, adopt, 1..5_usize, 1..4_usize, 1..3_usize).prop_map(
        |(target, delivery, adopt, window_messages_max, windows_in_flight_max, connections_max)| {
            Setup {
                target,
                delivery,
                adopt,
                window_messages_max,
                windows_in_flight_max,
                connections_max,
            }
        },
    )
}

impl Setup {
    fn world(&self) -> World {
        let targets =
            [Profile::dovecot, Profile::cyrus, Profile::exchange, Profile::courier, Profile::plain];
        let mut world = World::new(Profile::dovecot(), targets[self.target]());
        world.config.delivery = self.delivery;
        world.config.adopt = self.adopt;
        world.config.verify = Verify::Full;
        world.config.window_messages_max = self.window_messages_max;
        world.config.window_bytes_max = 2_000;
        world.config.windows_in_flight_max = self.windows_in_flight_max;
        world.config.connections_max = self.connections_max;
        world
    }
}

/// Mailbox and octets; flags and date, too, where they must be equal.
type Kind = (String, Vec<u8>, Vec<String>, i64);

fn kinds(store: &Store, with_all: bool) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (path, messages) in store.snapshot().mailboxes {
        for held in messages {
            let (flags, date) = if with_all {
                (held.flags.iter().map(ToString::to_string).collect(), held.unix_seconds)
            } else {
                (Vec::new(), 0)
            };
            kinds.push((path.join("/"), held.body.to_vec(), flags, date));
        }
    }
    kinds.sort();
    kinds
}

/// What is in the first and not in the second, each as often as it is there more often.
fn without(kinds: &[Kind], others: &[Kind]) -> Vec<Kind> {
    let mut rest = others.to_vec();
    let mut left = kinds.to_vec();
    left.retain(|kind| match rest.iter().position(|other| other == kind) {
        Some(at) => {
            rest.swap_remove(at);
            false
        }
        None => true,
    });
    left
}

async fn play(
    setup: Setup,
    mails: Vec<Mail>,
    before: Vec<Mail>,
    of_others: Vec<Mail>,
    runs: Vec<Run>,
) {
    let mut world = setup.world();
    mails.iter().for_each(|mail| mail.deliver(&world.anna()));
    let before = match setup.adopt {
        Adopt::None => before,
        // By Message-ID and Date a namesake that is there is taken for a rewritten copy: only some
        // of the source's own are there, and mail of others.
        Adopt::Match => mails.iter().take(before.len() / 2).chain(&of_others).cloned().collect(),
    };
    before.iter().for_each(|mail| mail.deliver(&world.copy()));
    let with_all = setup.adopt == Adopt::None;
    let others = Arc::new(Mutex::new(kinds(&world.copy(), with_all)));
    for (number, run) in (0..).zip(runs) {
        for (side, fault) in run.faults {
            let server = if side == Side::Source { &world.source } else { &world.target };
            server.faults().arm(fault);
        }
        world.network.set_troubles(run.troubles);
        let (anna, copy, others) = (world.anna(), world.copy(), others.clone());
        let at_point: AtPoint = Box::new(move |point| {
            for (_, side, mail) in run.brought.iter().filter(|(at, _, _)| *at == point) {
                if *side == Side::Source {
                    mail.deliver(&anna);
                    continue;
                }
                let before = kinds(&copy, with_all);
                mail.deliver(&copy);
                let new = without(&kinds(&copy, with_all), &before);
                others.lock().unwrap_or_else(|held| held.into_inner()).extend(new);
            }
        });
        let kill = run.kill.map(Kill::Point);
        let circumstances =
            Circumstances { kill, at_point: Some(at_point), seed: number, failure: None };
        world.run_with(circumstances).await;
        world.network.set_troubles(Vec::new());
        world.source.faults().clear();
        world.target.faults().clear();
    }
    world.target.settle().await;
    let report = world.run().await;
    assert_eq!(report.verdict, Verdict::Done, "{:?} {:?}", report.totals, report.mailbox_faults());
    let source = kinds(&world.anna(), with_all);
    let others = others.lock().unwrap_or_else(|held| held.into_inner()).clone();
    let mut wanted = match setup.adopt {
        Adopt::None => [&source[..], &others].concat(),
        // What was there before is not copied beside itself.
        Adopt::Match => [without(&source, &others), others].concat(),
    };
    wanted.sort();
    let there = kinds(&world.copy(), with_all);
    let (missing, surplus) = (without(&wanted, &there), without(&there, &wanted));
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "missing {:?}, surplus {:?}",
        shown(&missing),
        shown(&surplus)
    );
}

fn shown(kinds: &[Kind]) -> Vec<String> {
    let show = |(path, body, flags, date): &Kind| {
        format!("{path} {flags:?} {date} {}", body[..body.len().min(90)].escape_ascii())
    };
    kinds.iter().map(show).collect()
}

proptest! {
    // 64 of them; four times as many are asked for by PROPTEST_CASES.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    #[test]
    fn the_target_has_the_source_and_what_others_did(
        setup in setup(),
        mails in vec(mail(), 1..9),
        before in vec(mail(), 0..5),
        of_others in vec(mail_of_others(), 0..2),
        runs in vec(run(), 0..4),
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(play(setup, mails, before, of_others, runs));
    }
}
