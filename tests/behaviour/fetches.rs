//! Sources that answer FETCH in odd ways: out of order, twice, short, without a UID, or with what is
//! not the message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use mailhaul::fate::Fate;
use mailhaul::rehearsal::{Deed, Fault, Message, Store};
use mailhaul::report::Verdict;
use mailhaul::simulation::between::Instead;
use mailhaul::simulation::network::SOURCE_PORT;
use mailhaul::simulation::world::{INBOX, Report, World, letter};

/// Puts other words into the source's mouth where there are any for a response.
fn source_says(world: &World, mut other: impl FnMut(&str) -> Option<String> + Send + 'static) {
    let meddle = move |_, response: &[u8]| {
        let said = std::str::from_utf8(response).ok().and_then(&mut other);
        Instead::Say(said.map_or_else(|| response.to_vec(), String::into_bytes))
    };
    world.network.meddle(SOURCE_PORT, Box::new(meddle));
}

/// A FETCH that brings a body, taken apart.
#[derive(Clone)]
struct Brought {
    sequence: u32,
    uid: u32,
    /// Flags and date, as they stand.
    others: String,
    body: String,
}

impl Brought {
    fn parse(response: &str) -> Option<Self> {
        let (head, rest) = response.split_once(" BODY[] {")?;
        let (sequence, items) = head.strip_prefix("* ")?.split_once(" FETCH (")?;
        let (uid, others) = items.strip_prefix("UID ")?.split_once(' ')?;
        let (_, body) = rest.split_once("}\r\n")?;
        Some(Self {
            sequence: sequence.parse().ok()?,
            uid: uid.parse().ok()?,
            others: others.to_owned(),
            body: body.strip_suffix(")\r\n")?.to_owned(),
        })
    }

    fn say(&self) -> String {
        let Self { sequence, uid, others, body } = self;
        format!("* {sequence} FETCH (UID {uid} {others} BODY[] {{{}}}\r\n{body})\r\n", body.len())
    }
}

fn world(messages: u32) -> World {
    let mut world = World::usual();
    world.deliver(0..messages);
    world.config.connections_max = 1;
    world
}

/// Everything is copied but one message, of which this is said.
#[track_caller]
fn assert_all_but_one(world: &World, report: &Report, uid: u32, fate: Fate) {
    let owed = world.anna().messages(&INBOX).len() as u64 - u64::from(fate != Fate::Gone);
    assert_eq!((report.fate(Fate::Copied), report.fate(fate)), (owed, 1), "{:?}", report.totals);
    let mut wanted = world.anna().messages(&INBOX);
    wanted.retain(|message| message.uid != uid);
    let bodies = |messages: Vec<_>| -> Vec<bytes::Bytes> {
        messages
            .into_iter()
            .map(|message: mailhaul::rehearsal::StoredMessage| message.body)
            .collect()
    };
    let (mut wanted, mut there) = (bodies(wanted), bodies(world.copy().messages(&INBOX)));
    wanted.sort();
    there.sort();
    assert!(there == wanted, "the copy differs");
}

/// Says once that a message is gone, and removes it.
fn expunge_once(anna: &Store, uid: u32, done: &AtomicBool) -> bool {
    !done.swap(true, Ordering::Relaxed) && anna.expunge(&INBOX, uid)
}

/// B02: a body of NIL, because somebody has expunged the message.
#[tokio::test(start_paused = true)]
async fn a_message_expunged_while_it_is_fetched_is_gone() {
    let mut world = world(10);
    let (anna, done) = (world.anna(), AtomicBool::new(false));
    source_says(&world, move |response| {
        let Brought { sequence, uid, others, .. } = Brought::parse(response)?;
        let is_gone = uid == 4 && expunge_once(&anna, 4, &done);
        is_gone.then(|| format!("* {sequence} FETCH (UID 4 {others} BODY[] NIL)\r\n"))
    });
    let report = world.run().await;
    assert_all_but_one(&world, &report, 4, Fate::Gone);
    assert_eq!(report.verdict, Verdict::Done);
}

/// B03: Courier makes up a body for a message that was expunged, and says OK.
#[tokio::test(start_paused = true)]
async fn a_body_that_the_server_made_up_is_not_copied() {
    for streamed in [false, true] {
        let mut world = world(10);
        let (anna, done, mut gone) = (world.anna(), AtomicBool::new(false), false);
        source_says(&world, move |response| {
            if let Some(brought) = Brought::parse(response)
                && brought.uid == 4
                && expunge_once(&anna, 4, &done)
            {
                gone = true;
                let made_up =
                    "Subject: message unavailable\r\n\r\n".repeat(if streamed { 9 } else { 1 });
                return Some(Brought { body: made_up, ..brought }.say());
            }
            // The OK of the NOOP behind it.
            let is_noop = response.starts_with('N') && std::mem::take(&mut gone);
            is_noop.then(|| format!("* 4 EXPUNGE\r\n{response}"))
        });
        if streamed {
            world.config.window_bytes_max = 200;
        }
        let report = world.run().await;
        assert_all_but_one(&world, &report, 4, Fate::Gone);
    }
}

/// B04: no RFC822.SIZE at all.
#[tokio::test(start_paused = true)]
async fn a_size_that_is_not_told_is_not_needed() {
    for window_bytes_max in [1 << 20, 200] {
        let mut world = world(10);
        world.config.window_bytes_max = window_bytes_max;
        source_says(&world, |response| {
            let (before, after) = response.split_once(" RFC822.SIZE ")?;
            let after = after.trim_start_matches(|octet: char| octet.is_ascii_digit());
            Some(format!("{before}{after}"))
        });
        world.run().await.assert_done(10);
        world.assert_copied();
    }
}

/// B05: a literal announced one or two bytes short, so that the end of the body stands where more of
/// the response should.
#[tokio::test(start_paused = true)]
async fn a_body_that_goes_on_behind_its_literal_is_not_copied_short() {
    for (short, window_bytes_max) in [(1, 1 << 20), (2, 1 << 20), (3, 1 << 20), (2, 200), (3, 200)]
    {
        for body in ["Subject: x\r\n\r\nends with a line\r\n", "Subject: x\r\n\r\nends without"] {
            for always in [true, false] {
                let mut world = world(9);
                world.config.window_bytes_max = window_bytes_max;
                let body = format!("{body:>210}");
                let odd = world.anna().deliver(&INBOX, Message::new(body));
                let done = AtomicBool::new(false);
                source_says(&world, move |response| {
                    let brought = Brought::parse(response)?;
                    if brought.uid != odd || (done.swap(true, Ordering::Relaxed) && !always) {
                        return None;
                    }
                    let (length, said) = (brought.body.len(), brought.say());
                    Some(said.replace(&format!("{{{length}}}"), &format!("{{{}}}", length - short)))
                });
                let report = world.run().await;
                let what = format!("{short} bytes of {window_bytes_max}, always: {always}");
                if always {
                    println!("{what}");
                    // One that is streamed has begun to be sent when its end comes.
                    let fate =
                        if window_bytes_max == 200 { Fate::Refused } else { Fate::Unreadable };
                    assert_all_but_one(&world, &report, odd, fate);
                } else {
                    assert_eq!(report.verdict, Verdict::Done, "{what}");
                    world.assert_copied();
                }
            }
        }
    }
}

/// B07: messages in another order, flags of others between them, another UID first.
#[tokio::test(start_paused = true)]
async fn a_body_belongs_to_the_uid_that_came_with_it() {
    let mut world = world(20);
    let mut held: Vec<Brought> = Vec::new();
    source_says(&world, move |response| {
        if let Some(brought) = Brought::parse(response) {
            held.push(brought);
            return Some(String::new());
        }
        if held.is_empty() {
            return None;
        }
        let mut said = "* 7 FETCH (UID 4711 BODY[] {5}\r\nother)\r\n".to_owned();
        for Brought { sequence, uid, others, body } in held.drain(..).rev() {
            said += &format!("* {sequence} FETCH (FLAGS (\\Seen))\r\n");
            let length = body.len();
            said += &format!(
                "* {sequence} FETCH ({others} BODY[] {{{length}}}\r\n{body} X-ODD (1 NIL) UID {uid})\r\n"
            );
        }
        Some(said + response)
    });
    world.run().await.assert_done(20);
    world.assert_copied();
}

/// B08: a FETCH without a UID, and one of a message beyond EXISTS.
#[tokio::test(start_paused = true)]
async fn a_body_without_a_uid_is_nobodys() {
    for always in [true, false] {
        let mut world = world(10);
        let done = AtomicBool::new(false);
        source_says(&world, move |response| {
            let brought = Brought::parse(response)?;
            let beyond = "* 4000 FETCH (FLAGS ())\r\n* 4001 FETCH (BODY[] {1}\r\nx)\r\n";
            let is_bare = brought.uid == 4 && (always || !done.swap(true, Ordering::Relaxed));
            let said = brought.say();
            Some(beyond.to_owned() + &if is_bare { said.replace("UID 4 ", "") } else { said })
        });
        let report = world.run().await;
        if always {
            assert_all_but_one(&world, &report, 4, Fate::Unreadable);
        } else {
            report.assert_done(10);
            world.assert_copied();
        }
    }
}

/// B09: one UID twice, with one body or with two.
#[tokio::test(start_paused = true)]
async fn a_message_that_comes_twice_is_copied_once_and_only_if_both_are_equal() {
    for (other, copied) in [(None, true), (Some("Subject: quite another\r\n\r\n"), false)] {
        let mut world = world(10);
        source_says(&world, move |response| {
            let brought = Brought::parse(response).filter(|brought| brought.uid == 4)?;
            let body = other.map_or_else(|| brought.body.clone(), str::to_owned);
            Some(brought.say() + &Brought { body, ..brought }.say())
        });
        let report = world.run().await;
        if copied {
            report.assert_done(10);
            world.assert_copied();
        } else {
            assert_all_but_one(&world, &report, 4, Fate::Unreadable);
        }
    }
}

/// B10: an EXPUNGE in the middle of a FETCH, which lowers the numbers of all that follow.
#[tokio::test(start_paused = true)]
async fn numbers_that_shift_during_a_fetch_mix_nothing_up() {
    for expunged in 1..9 {
        let mut world = world(20);
        let (anna, mut lowered) = (world.anna(), false);
        source_says(&world, move |response| {
            // The server itself tells of it later.
            if response.ends_with(" EXPUNGE\r\n") {
                return Some(String::new());
            }
            let brought = Brought::parse(response)?;
            if lowered {
                return Some(Brought { sequence: brought.sequence - 1, ..brought }.say());
            }
            lowered = brought.uid == expunged + 1 && anna.expunge(&INBOX, expunged);
            lowered.then(|| format!("{response}* {expunged} EXPUNGE\r\n"))
        });
        let report = world.run().await;
        let gone = report.fate(Fate::Gone);
        assert_eq!((report.fate(Fate::Copied) + gone, report.verdict), (20, Verdict::Done));
        let there = world.copy().messages(&INBOX);
        for message in world.anna().messages(&INBOX) {
            let equal = there.iter().filter(|copy| copy.body == message.body);
            assert_eq!(equal.count(), 1, "UID {} after {expunged}", message.uid);
        }
        assert_eq!(there.len() as u64, 20 - gone);
    }
}

/// B11: Exchange adds X-Message-Flag to a message between two FETCHes.
#[tokio::test(start_paused = true)]
async fn a_message_that_changes_between_two_fetches_is_copied_once() {
    for deed in [Deed::CutBefore, Deed::CutAfter] {
        let mut world = world(10);
        let fetched = Arc::new(AtomicU32::new(0));
        let count = fetched.clone();
        source_says(&world, move |response| {
            let brought = Brought::parse(response).filter(|brought| brought.uid == 4)?;
            let number = count.fetch_add(1, Ordering::Relaxed);
            let body = format!("X-Message-Flag: {number}\r\n{}", brought.body);
            Some(Brought { body, ..brought }.say())
        });
        world.target.faults().arm(Fault::once(deed("APPEND".to_owned())));
        let report = world.run().await;
        assert_eq!((report.fate(Fate::Copied), report.verdict), (10, Verdict::Done));
        world.run().await;
        let there = world.copy().messages(&INBOX);
        assert_eq!(there.len(), 10);
        let original = letter(3).body;
        let copies: Vec<String> = there
            .iter()
            .filter(|copy| copy.body.ends_with(&original))
            .map(|copy| String::from_utf8_lossy(&copy.body).into_owned())
            .collect();
        let versions = 0..fetched.load(Ordering::Relaxed);
        let is_version = |copy: &String| {
            versions
                .clone()
                .any(|number| copy.starts_with(&format!("X-Message-Flag: {number}\r\n")))
        };
        assert!(copies.len() == 1 && copies.iter().all(is_version), "{copies:?}");
    }
}

/// B12: Zimbra's BODY[HEADER] is not the head of its BODY[].
#[tokio::test(start_paused = true)]
async fn headers_that_differ_from_the_body_alter_and_double_nothing() {
    let mut world = world(10);
    source_says(&world, |response| {
        let is_header = response.contains("BODY[HEADER");
        is_header.then(|| response.replace("Subject: letter", "Subject: LETTER"))
    });
    world.run().await.assert_done(10);
    world.assert_copied();
    // Now it must be told what is known already.
    world.anna().bump_uid_validity(&INBOX);
    world.deliver(10..11);
    world.run().await.assert_done(11);
    world.assert_copied();
    assert_eq!(world.target.counters().appended, 11);
}
