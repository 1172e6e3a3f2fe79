//! Servers that bend the protocol: what they mean is understood where it is sure, and where it is
//! not, the connection ends.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mailhaul::config::Compress;
use mailhaul::event::Event;
use mailhaul::fault::Side;
use mailhaul::rehearsal::{Deed, Fault, Literal, Message, Profile};
use mailhaul::simulation::between::Instead;
use mailhaul::simulation::network::{SOURCE_PORT, TARGET_PORT};
use mailhaul::simulation::world::{ANNA, INBOX, Report, World, letter};

/// Puts other words into a server's mouth where there are any for a response.
fn says(
    world: &World,
    side: Side,
    mut other: impl FnMut(usize, &str) -> Option<Instead> + Send + 'static,
) {
    let port = match side {
        Side::Source => SOURCE_PORT,
        Side::Target => TARGET_PORT,
    };
    let meddle = move |connection, response: &[u8]| {
        let said = std::str::from_utf8(response).ok().and_then(|text| other(connection, text));
        said.unwrap_or_else(|| Instead::Say(response.to_vec()))
    };
    world.network.meddle(port, Box::new(meddle));
}

fn say(text: impl Into<String>) -> Option<Instead> {
    Some(Instead::Say(text.into().into_bytes()))
}

fn world(source: Profile, target: Profile) -> World {
    let world = World::new(source, target);
    world.deliver(0..12);
    for number in [3, 4, 4] {
        world.anna().deliver(&INBOX, letter(number));
    }
    world.anna().deliver(&["Archive"], letter(40));
    world
}

const MESSAGES: u64 = 16;

/// How often the run had to begin anew.
fn pauses(report: &Report) -> usize {
    report.events.iter().filter(|event| matches!(event, Event::AccountParked { .. })).count()
}

fn is_tagged(response: &str) -> bool {
    !response.starts_with(['*', '+'])
}

/// A08: UIDVALIDITY and UID change places in APPENDUID (DavMail).
#[tokio::test(start_paused = true)]
async fn swapped_numbers_in_appenduid_are_not_believed() {
    for target in [Profile::dovecot(), Profile::exchange()] {
        let mut world = world(Profile::dovecot(), target);
        says(&world, Side::Target, |_, response| {
            let (before, rest) = response.split_once("[APPENDUID ")?;
            let (numbers, after) = rest.split_once(']')?;
            let (validity, uid) = numbers.split_once(' ')?;
            say(format!("{before}[APPENDUID {uid} {validity}]{after}"))
        });
        world.run().await.assert_done(MESSAGES);
        world.assert_copied();
    }
}

/// A10: APPENDUID of another mailbox, and of a message that was there before.
#[tokio::test(start_paused = true)]
async fn an_appenduid_that_cannot_be_is_ignored() {
    for lie in ["7 1", "{validity} 1", "{validity} 3:4", "{validity} 0", "{validity} 4294967295"] {
        let mut world = world(Profile::dovecot(), Profile::exchange());
        for number in 0..5 {
            world.copy().deliver(&INBOX, letter(number + 700));
        }
        says(&world, Side::Target, move |_, response| {
            let (before, rest) = response.split_once("[APPENDUID ")?;
            let (numbers, after) = rest.split_once(']')?;
            let (validity, _) = numbers.split_once(' ')?;
            let lie = lie.replace("{validity}", validity);
            say(format!("{before}[APPENDUID {lie}]{after}"))
        });
        world.run().await.assert_done(MESSAGES);
        let there = world.copy().messages(&INBOX);
        assert_eq!(there.len(), 5 + 15, "{lie}");
        for message in world.anna().messages(&INBOX) {
            assert!(there[5..].iter().any(|copy| copy.body == message.body), "{lie}");
        }
    }
}

/// A12: OK to a MULTIAPPEND with fewer UIDs than messages, or more.
#[tokio::test(start_paused = true)]
async fn an_appenduid_of_too_few_messages_is_looked_up() {
    for shift in [-1_i64, 1] {
        let mut world = world(Profile::dovecot(), Profile::dovecot());
        says(&world, Side::Target, move |_, response| {
            let (before, rest) = response.split_once("[APPENDUID ")?;
            let (numbers, after) = rest.split_once(']')?;
            let (validity, set) = numbers.split_once(' ')?;
            let (first, last) = set.split_once(':')?;
            let last = last.parse::<i64>().ok()? + shift;
            say(format!("{before}[APPENDUID {validity} {first}:{last}]{after}"))
        });
        world.run().await.assert_done(MESSAGES);
        world.assert_copied();
        assert!(world.target.counters().command("APPEND") < MESSAGES, "no MULTIAPPEND was sent");
    }
}

/// Takes lines or words out of what a server says of its mailboxes.
fn without_uids(world: &World, side: Side, how: fn(&str) -> Option<String>) {
    says(world, side, move |_, response| say(how(response)?));
}

/// A29, E18: UIDVALIDITY absent, 0, or UIDNOTSTICKY, as EXAMINE has it at some Couriers.
#[tokio::test(start_paused = true)]
async fn without_a_lasting_uidvalidity_mail_is_compared_by_its_content() {
    let ways: [fn(&str) -> Option<String>; 3] = [
        |response| response.contains("[UIDVALIDITY").then(String::new),
        |response| {
            let (before, after) = response.split_once("[UIDVALIDITY ")?;
            let (_, after) = after.split_once(']')?;
            Some(format!("{before}[UIDVALIDITY 0]{after}"))
        },
        |response| {
            let is_told = response.contains("[UIDVALIDITY");
            is_told.then(|| format!("{response}* OK [UIDNOTSTICKY] not for long\r\n"))
        },
    ];
    for how in ways {
        for sides in [&[Side::Source][..], &[Side::Target], &[Side::Source, Side::Target]] {
            let mut world = world(Profile::courier(), Profile::courier());
            sides.iter().for_each(|side| without_uids(&world, *side, how));
            for run in 0..3 {
                world.deliver(100 + run..101 + run);
                let report = world.run().await;
                let copied = report.fate(mailhaul::fate::Fate::Copied);
                assert_eq!(copied, MESSAGES + 1 + u64::from(run), "{sides:?}");
                world.assert_copied();
                assert_eq!(world.target.counters().appended, copied, "{sides:?}");
            }
        }
    }
}

/// A30: no UIDNEXT in SELECT, nor in STATUS, or 0.
#[tokio::test(start_paused = true)]
async fn a_server_without_uidnext_is_asked_for_its_last_message() {
    let ways: [fn(&str) -> Option<String>; 2] = [
        |response| {
            if response.contains("[UIDNEXT") {
                return Some(String::new());
            }
            let (before, after) = response.split_once(" UIDNEXT ")?;
            let after = after.trim_start_matches(|octet: char| octet.is_ascii_digit());
            Some(format!("{before}{after}"))
        },
        |response| {
            let (before, after) = response.split_once("UIDNEXT ")?;
            let after = after.trim_start_matches(|octet: char| octet.is_ascii_digit());
            Some(format!("{before}UIDNEXT 0{after}"))
        },
    ];
    for how in ways {
        for profile in [Profile::dovecot(), Profile::courier()] {
            let mut world = world(profile.clone(), profile);
            world.copy().deliver(&INBOX, letter(900));
            for side in [Side::Source, Side::Target] {
                without_uids(&world, side, how);
            }
            world.target.faults().arm(Fault::once(Deed::CutAfter("APPEND".to_owned())).after(1));
            world.run().await.assert_done(MESSAGES);
            world.deliver(100..102);
            world.run().await.assert_done(MESSAGES + 2);
            assert_eq!(world.target.counters().appended, MESSAGES + 2);
            assert_eq!(world.copy().messages(&INBOX).len(), 1 + 17);
        }
    }
}

/// A31: two mailboxes of one UIDVALIDITY, and the same UIDs, at both ends.
#[tokio::test(start_paused = true)]
async fn mailboxes_of_one_uidvalidity_are_not_mixed_up() {
    for cut in 0..6 {
        let mut world = World::new(Profile::courier(), Profile::courier());
        for server in [&world.source, &world.target] {
            for name in ["a", "b", "c"] {
                server.set_next_uid_validity(77);
                server.store(ANNA).unwrap().create_mailbox(&[name], None).unwrap();
            }
        }
        for number in 0..4 {
            world.anna().deliver(&["a"], letter(number));
            world.anna().deliver(&["b"], letter(number + 50));
            world.anna().deliver(&["c"], letter(number));
        }
        world.target.faults().arm(Fault::once(Deed::CutAfter("APPEND".to_owned())).after(cut));
        world.run().await.assert_done(12);
        world.assert_copied();
        world.anna().deliver(&["b"], letter(0));
        world.run().await.assert_done(13);
        world.assert_copied();
    }
}

/// A28: the source's UIDVALIDITY is lost while its mailbox is open.
#[tokio::test(start_paused = true)]
async fn a_uidvalidity_lost_during_the_run_is_seen_by_the_next_look() {
    for at in 0..5 {
        let mut world = world(Profile::dovecot(), Profile::exchange());
        world.config.window_messages_max = 2;
        let (anna, copies) = (world.anna(), AtomicUsize::new(0));
        world.on_event(move |event| {
            let is_copied = matches!(event, Event::Copied { .. });
            if is_copied && copies.fetch_add(1, Ordering::Relaxed) == at {
                anna.bump_uid_validity(&INBOX);
            }
        });
        world.run().await;
        world.deliver(100..101);
        world.run().await.assert_done(MESSAGES + 1);
        world.assert_copied();
        assert_eq!(world.target.counters().appended, MESSAGES + 1, "{at}");
    }
}

/// A26: the target's is lost while the mailbox is left, for messages to be appended one by one; what then
/// has the copy's UID has its size and date, too. Read back behind the last message, and after its answer.
#[tokio::test(start_paused = true)]
async fn a_uidvalidity_lost_between_append_and_read_back_is_seen() {
    for near in [Duration::ZERO, Duration::from_secs(1)] {
        let mut world = World::new(Profile::dovecot(), Profile::exchange());
        world.deliver(100..159);
        world.deliver(1..2);
        world.config.window_messages_max = 60;
        world.config.near = near;
        let slow = Deed::Delay("APPEND".to_owned(), Duration::from_secs(2));
        world.target.faults().arm(Fault::once(slow).after(59));
        let copy = world.copy();
        let namesake = Message { body: vec![b'\n'; letter(1).body.len()].into(), ..letter(1) };
        let lost = async move {
            while copy.messages(&INBOX).len() < 60 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            copy.deliver(&INBOX, namesake);
            assert!(copy.expunge(&INBOX, 60));
            copy.bump_uid_validity(&INBOX);
        };
        let (report, ()) = tokio::join!(world.run(), lost);
        report.assert_done(60);
        assert!(world.target.counters().command("UNSELECT") > 0);
        let there = world.copy().messages(&INBOX);
        assert!(there.iter().any(|one| one.body == letter(1).body), "{near:?}");
    }
}

/// E11: a tagged NO of an older command, or of none.
#[tokio::test(start_paused = true)]
async fn a_stale_answer_ends_the_connection_and_alters_nothing() {
    for side in [Side::Source, Side::Target] {
        for at in 0..24 {
            for unknown in [true, false] {
                let mut world = world(Profile::dovecot(), Profile::exchange());
                let (mut tagged, mut last) = (0, String::new());
                says(&world, side, move |connection, response| {
                    if connection > 0 || !is_tagged(response) {
                        return None;
                    }
                    let stale = if unknown { "X1".to_owned() } else { last.clone() };
                    response.split(' ').next().unwrap_or_default().clone_into(&mut last);
                    tagged += 1;
                    let is_now = tagged == at + 1 && !stale.is_empty();
                    is_now
                        .then(|| Instead::Say(format!("{stale} NO too late\r\n{response}").into()))
                });
                let report = world.run().await;
                report.assert_done(MESSAGES);
                world.assert_copied();
            }
        }
    }
}

/// E12: a continuation that is a mere `+`, status lines without text.
#[tokio::test(start_paused = true)]
async fn answers_without_words_are_understood() {
    for profile in [Profile::plain(), Profile::dovecot(), Profile::courier()] {
        let mut world = world(profile.clone(), profile);
        for side in [Side::Source, Side::Target] {
            says(&world, side, |_, response| {
                if response.starts_with('+') {
                    return say("+\r\n");
                }
                let is_status = [" OK ", " NO ", " BAD "].iter().any(|word| {
                    response
                        .split_once(' ')
                        .is_some_and(|(_, rest)| format!(" {rest}").starts_with(word))
                });
                let (head, _) = response.split_once("] ").or_else(|| {
                    let at = response.find(" OK ").filter(|_| !response.contains('['))?;
                    Some((&response[..at + 3], ""))
                })?;
                let bracket = if response.contains('[') { "]" } else { "" };
                if is_status { say(format!("{head}{bracket}\r\n")) } else { None }
            });
        }
        let report = world.run().await;
        report.assert_done(MESSAGES);
        assert_eq!(pauses(&report), 0);
        world.assert_copied();
        world.run().await.assert_done(MESSAGES);
    }
}

/// E13: response codes without their OK (Office 365), two spaces where one belongs (DavMail), numbers
/// as `9.3e+06` (mail.ru).
#[tokio::test(start_paused = true)]
async fn bent_grammar_is_understood_where_its_meaning_is_sure() {
    let bend: [fn(&str) -> String; 4] = [
        |response| response.replace("* OK [", "* ["),
        |response| response.replacen(' ', "  ", 1).replace(" FETCH (", "  FETCH  ("),
        |response| {
            response.replace(" FLAGS", "  FLAGS").replace(" RFC822.SIZE ", "   RFC822.SIZE  ")
        },
        |response| {
            let Some((before, after)) = response.split_once("RFC822.SIZE ") else {
                return response.to_owned();
            };
            let after = after.trim_start_matches(|octet: char| octet.is_ascii_digit());
            format!("{before}RFC822.SIZE 9.3e+06{after}")
        },
    ];
    for (number, bend) in bend.into_iter().enumerate() {
        for profile in [Profile::dovecot(), Profile::exchange()] {
            let mut world = world(profile.clone(), profile);
            world.run().await.assert_done(MESSAGES);
            for side in [Side::Source, Side::Target] {
                says(&world, side, move |_, response| {
                    // The greeting is where it must be clear who speaks.
                    let is_greeting = response.contains(" rehearsal ready");
                    if is_greeting { None } else { say(bend(response)) }
                });
            }
            world.deliver(50..60);
            let report = world.run().await;
            let is_warning = |event: &&Event| matches!(event, Event::Warning { .. });
            let warnings = report.events.iter().filter(is_warning).count();
            assert_eq!(warnings, 0, "{number}");
            // A copy whose size nobody can read is looked up on a new connection.
            assert_eq!(pauses(&report), usize::from(number == 3), "{number}");
            assert_eq!(report.fate(mailhaul::fate::Fate::Copied), MESSAGES + 10, "{number}");
            world.assert_copied();
            assert_eq!(world.target.counters().appended, MESSAGES + 10, "{number}");
        }
    }
}

/// E14: what is announced before the login is not offered after it, or spelt `LITERAL +`.
#[tokio::test(start_paused = true)]
async fn only_what_is_announced_after_the_login_is_used() {
    for after in ["IMAP4rev1 UIDPLUS LITERAL + MULTIAPPEND", "IMAP4rev1 UIDPLUS", "IMAP4rev1"] {
        let bare = Profile { literal: Literal::None, multiappend: false, ..Profile::dovecot() };
        let mut world = world(Profile::dovecot(), bare);
        says(&world, Side::Target, move |_, response| {
            let (before, rest) = response.split_once("CAPABILITY ")?;
            let rest = rest.find(['\r', ']']).map(|end| &rest[end..])?;
            let all =
                "IMAP4rev1 SASL-IR AUTH=PLAIN LITERAL+ MULTIAPPEND UIDPLUS MOVE COMPRESS=DEFLATE";
            let is_greeting = response.contains(" rehearsal ready");
            let announced = if is_greeting { all } else { after };
            say(format!("{before}CAPABILITY {announced}{rest}"))
        });
        let report = world.run().await;
        report.assert_done(MESSAGES);
        assert_eq!(pauses(&report), 0, "{after}");
        world.assert_copied();
        assert_eq!(world.target.counters().command("APPEND"), MESSAGES, "{after}");
    }
}

/// E15: half-open TCP and a reset, at any response, in the middle of it.
#[tokio::test(start_paused = true)]
async fn a_connection_that_falls_silent_or_breaks_at_any_response_loses_nothing() {
    for side in [Side::Source, Side::Target] {
        for hang in [true, false] {
            for at in 0..60 {
                let mut world = world(Profile::dovecot(), Profile::exchange());
                world.config.connections_max = 1;
                let mut count = 0;
                says(&world, side, move |connection, response| {
                    count += u64::from(connection == 0);
                    let half = response.as_bytes()[..response.len() / 2].to_vec();
                    let is_now = connection == 0 && count == at + 1;
                    is_now.then_some(if hang { Instead::Hang(half) } else { Instead::Cut(half) })
                });
                let report = world.run().await;
                report.assert_done(MESSAGES);
                world.assert_copied();
                assert!(report.took < Duration::from_secs(600), "{:?}", report.took);
            }
        }
    }
}

/// E16: a server agrees to compression and falls silent, breaks off, or goes on without.
#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_do_the_compression_it_agreed_to_is_not_asked_again() {
    for (side, compress) in [(Side::Source, Compress::Source), (Side::Target, Compress::Target)] {
        for how in ["silent", "cut", "plain"] {
            let mut world = world(Profile::dovecot(), Profile::dovecot());
            world.config.compress = compress;
            world.config.connections_max = 1;
            says(&world, side, move |_, response| {
                if !response.contains("OK what follows is compressed") {
                    return None;
                }
                let and = |more: &str| [response, more].concat().into_bytes();
                Some(match how {
                    "silent" => Instead::Hang(and("")),
                    "cut" => Instead::Cut(and("")),
                    _ => Instead::Say(and("* OK still here, and not compressed\r\n")),
                })
            });
            let report = world.run().await;
            report.assert_done(MESSAGES);
            world.assert_copied();
            let server = if side == Side::Source { &world.source } else { &world.target };
            assert_eq!(server.counters().command("COMPRESS"), 1, "{side} {how}");
            assert!(report.took < Duration::from_secs(600), "{side} {how}: {:?}", report.took);
        }
    }
}

/// E17: NO in place of the continuation, and other things before it.
#[tokio::test(start_paused = true)]
async fn a_message_is_sent_only_after_the_servers_leave() {
    let body = [&letter(1).body[..], b"\r\nX1 CREATE evil\r\nX2 DELETE Archive\r\n"].concat();
    for times in [0, 1] {
        let mut world = world(Profile::dovecot(), Profile::plain());
        world.anna().deliver(&INBOX, Message::new(body.clone()));
        says(&world, Side::Target, |_, response| {
            let before = "* 23 EXISTS\r\n* 1 RECENT\r\n* OK still here\r\n* 2 FETCH (FLAGS ())\r\n";
            response.starts_with('+').then(|| Instead::Say(format!("{before}{response}").into()))
        });
        if times > 0 {
            let no = Deed::Answer("APPEND".to_owned(), "NO not this one".to_owned());
            world.target.faults().arm(Fault::once(no).after(MESSAGES).times(times));
        }
        let report = world.run().await;
        assert_eq!(report.fate(mailhaul::fate::Fate::Refused), times);
        assert_eq!(report.fate(mailhaul::fate::Fate::Copied), MESSAGES + 1 - times);
        let names: Vec<_> = world.copy().mailboxes().into_iter().map(|one| one.path).collect();
        assert_eq!(names, [vec!["Archive"], vec!["INBOX"]]);
        world.target.faults().clear();
        world.run().await.assert_done(MESSAGES + 1);
        world.assert_copied();
    }
}
