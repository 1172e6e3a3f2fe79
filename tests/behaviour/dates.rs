//! Dates that the source does not tell, and dates that the target does not keep.

use mailhaul::fate::{Fate, RemarkKind};
use mailhaul::fault::Side;
use mailhaul::rehearsal::{Deed, Fault, Message, Profile};
use mailhaul::report::Verdict;
use mailhaul::simulation::between::Instead;
use mailhaul::simulation::network::{Kill, SOURCE_PORT};
use mailhaul::simulation::world::{INBOX, MessageExt, World};

/// Lets the source tell this instead of every date before 1990.
fn source_tells(world: &World, told: &'static str) {
    let meddle = move |_, response: &[u8]| {
        let text = String::from_utf8_lossy(response).into_owned();
        let other = text.split_once("INTERNALDATE \"").and_then(|(before, rest)| {
            let (date, after) = rest.split_once("\" ")?;
            date.contains("-Jan-1980 ").then(|| match told {
                "" => format!("{before}{after}"),
                told => format!("{before}INTERNALDATE \"{told}\" {after}"),
            })
        });
        Instead::Say(other.map_or_else(|| response.to_vec(), String::into_bytes))
    };
    world.network.meddle(SOURCE_PORT, Box::new(meddle));
}

/// 2003-07-01T10:00:00Z
const RECEIVED: i64 = 1_057_053_600;
/// 2003-06-30T08:00:00Z
const SENT: i64 = 1_056_960_000;

/// Messages of 1980: with Received and Date, with Date alone, with neither, and a large one with both.
fn world() -> World {
    let received = "Received: by mx.example; Tue, 1 Jul 2003 12:00:00 +0200\r\n";
    let sent = "Date: Mon, 30 Jun 2003 08:00:00 +0000\r\n";
    let large = "x".repeat(9_000);
    let mut world = World::new(Profile::dovecot(), Profile::dovecot());
    world.config.window_bytes_max = 6_000;
    world.deliver(0..2);
    for (header, body) in [
        (format!("{received}{sent}"), "a"),
        (sent.to_owned(), "b"),
        ("Subject: c\r\n".to_owned(), "c"),
        (format!("{received}{sent}"), large.as_str()),
    ] {
        let message = Message::new(format!("{header}\r\n{body}\r\n"));
        world.anna().deliver(&INBOX, message.of(315_600_000, 0));
    }
    world
}

fn dates(world: &World) -> Vec<i64> {
    let messages = world.copy().messages(&INBOX).into_iter().skip(2);
    messages.map(|one| one.internal_date.unix_seconds).collect()
}

/// C02
#[tokio::test(start_paused = true)]
async fn a_date_that_is_none_is_taken_from_the_header_and_that_is_listed() {
    for told in ["", "00-Jan-0000 00:00:00 +0000", "30-Dec-1899 00:00:00 +0000", "NIL"] {
        let mut world = world();
        source_tells(&world, told);
        let report = world.run().await;
        let counts = (report.verdict, report.fate(Fate::Copied));
        assert_eq!(counts, (Verdict::Done, 6), "{told}: {:?}", report.totals);
        assert_eq!(report.remarked(RemarkKind::DateReplaced), 3, "{told}");
        let dates = dates(&world);
        assert_eq!([dates[0], dates[1], dates[3]], [RECEIVED, SENT, RECEIVED], "{told}");
        // What tells no date at all has the target's, unless the source's can be sent.
        let kept = told.contains("1899");
        assert_eq!(dates[2] == -2_209_161_600, kept, "{told}");
        assert_eq!(report.remarked(RemarkKind::DateAltered), u64::from(!kept), "{told}");
        // The next pass has nothing to do, nor has one under new UIDs.
        world.anna().bump_uid_validity(&INBOX);
        let report = world.run().await;
        assert_eq!(
            (report.verdict, world.target.counters().appended),
            (Verdict::Done, 6),
            "{told}"
        );
        assert_eq!(report.remarked(RemarkKind::DateReplaced), 3, "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_with_a_date_from_its_header_is_known_after_a_crash() {
    for point in 0..25 {
        let mut world = world();
        source_tells(&world, "");
        let report = match world.run_until(Kill::Sent(Side::Target, 200 + 600 * point)).await {
            Some(report) => report,
            None => world.run().await,
        };
        assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Done, 6), "{point}");
        assert_eq!(report.remarked(RemarkKind::DateReplaced), 3, "{point}");
        assert_eq!(world.copy().messages(&INBOX).len(), 6, "{point}");
    }
}

/// C04: a date that the target will not have.
#[tokio::test(start_paused = true)]
async fn a_message_whose_date_is_refused_is_copied_without_and_that_is_listed() {
    for said in ["BAD Invalid internal date", "NO Invalid date"] {
        let mut world = World::new(Profile::dovecot(), Profile::dovecot());
        world.deliver(0..2);
        world.anna().deliver(&INBOX, Message::new("Subject: old\r\n\r\n").of(-200_000_000, 0));
        // Where the others go together, it goes alone and first.
        let deed = Deed::Answer("APPEND".to_owned(), said.to_owned());
        world.config.window_messages_max = 1;
        world.target.faults().arm(Fault::once(deed).after(2));
        let report = world.run().await;
        let counts = (report.verdict, report.fate(Fate::Copied));
        assert_eq!(counts, (Verdict::Done, 3), "{said}: {:?}", report.totals);
        assert_eq!(report.remarked(RemarkKind::DateAltered), 1, "{said}");
        assert_eq!(world.copy().messages(&INBOX).len(), 3, "{said}");
        let appends = world.target.counters().command("APPEND");
        world.run().await;
        assert_eq!(world.target.counters().command("APPEND"), appends, "{said}");
    }
}
