//! Flags as servers tell and take them.

use mailhaul::config::Delivery;
use mailhaul::fate::RemarkKind;
use mailhaul::rehearsal::Profile;
use mailhaul::report::Verdict;
use mailhaul::simulation::network::{SOURCE_PORT, TARGET_PORT};
use mailhaul::simulation::world::{INBOX, MessageExt, World, letter};

use crate::names::says;

/// Letters with these flags, each with its own.
fn world(flags: &[&[&str]]) -> World {
    let world = World::usual();
    for (number, flags) in (0..).zip(flags) {
        world.anna().deliver(&INBOX, letter(number).with_flags(flags));
    }
    world
}

fn flags(world: &World) -> Vec<String> {
    let messages = world.copy().messages(&INBOX).into_iter();
    messages.map(|one| one.flags.join(" ")).collect()
}

/// C05: what the source tells and no client can set.
#[tokio::test(start_paused = true)]
async fn system_flags_that_no_client_can_set_are_dropped() {
    let mut world = world(&[&["\\Seen"], &[]]);
    says(&world, SOURCE_PORT, |response| {
        let (before, after) = response.split_once("FLAGS (")?;
        let is_one = response.contains(" FETCH (") && !before.ends_with("PERMANENT");
        is_one.then(|| format!("{before}FLAGS (\\Recent \\FORWARDED \\* {after}"))
    });
    world.run().await.assert_done(2);
    assert_eq!(flags(&world), ["\\Seen", ""]);
}

/// C07: PERMANENTFLAGS without `\*`, empty, or not told.
#[tokio::test(start_paused = true)]
async fn flags_that_the_target_does_not_keep_are_left_out_and_listed() {
    for (permanent, kept, reduced) in [
        (Some("(\\Seen \\Deleted Known)"), "Known \\Seen", 1),
        (Some("(\\Seen \\Deleted \\*)"), "Known Work \\Seen", 1),
        (Some("()"), "Known Work \\Flagged \\Seen", 0),
        (None, "Known Work \\Flagged \\Seen", 0),
    ] {
        let mut world = world(&[&["\\Seen", "\\Flagged", "Known", "Work"]]);
        says(&world, TARGET_PORT, move |response| {
            let (before, rest) = response.split_once("[PERMANENTFLAGS ")?;
            let (_, after) = rest.split_once(']')?;
            Some(match permanent {
                Some(list) => format!("{before}[PERMANENTFLAGS {list}]{after}"),
                None => String::new(),
            })
        });
        let report = world.run().await;
        assert_eq!(report.verdict, Verdict::Done);
        assert_eq!(flags(&world), [kept], "{permanent:?}");
        assert_eq!(report.remarked(RemarkKind::FlagsReduced), reduced, "{permanent:?}");
    }
}

/// C08, C12: more keywords than fit any mask, and those that programs set.
#[tokio::test(start_paused = true)]
async fn many_and_odd_keywords_go_along() {
    let many: Vec<String> = (0..130).map(|number| format!("keyword{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let odd = ["$MDNSent", "$Forwarded", "name:FLAG51135", "NonJunk", "$label1", "a.b/c+d"];
    let mut world = world(&[&many, &odd, &many[60..], &[]]);
    for _ in 0..2 {
        world.run().await.assert_done(4);
        world.assert_copied();
    }
    assert_eq!(world.target.counters().appended, 4);
    world.anna().set_flags(&INBOX, 1, &many[1..]);
    world.run().await.assert_done(4);
    world.assert_copied();
}

/// C13: flags in any case, quoted, or NIL.
#[tokio::test(start_paused = true)]
async fn flags_are_understood_however_they_are_told() {
    let mut world = world(&[&["\\Seen", "Work"], &["\\Answered"], &[]]);
    says(&world, SOURCE_PORT, |response| {
        let other = response.replace("FLAGS (Work \\Seen)", "FLAGS (\"Work\" \\seen)");
        let other = other.replace("FLAGS (\\Answered)", "FLAGS (\"\\\\ANSWERED\")");
        response.contains(" FETCH (").then(|| other.replace("FLAGS ()", "FLAGS NIL"))
    });
    world.run().await.assert_done(3);
    let stored = world.target.counters().command("UID STORE");
    world.run().await.assert_done(3);
    assert_eq!(flags(&world), ["Work \\Seen", "\\Answered", ""]);
    assert_eq!(world.target.counters().command("UID STORE"), stored, "nothing has changed");
}

/// C11: APPEND drops flags, and STORE sets them.
#[tokio::test(start_paused = true)]
async fn flags_that_only_store_sets_are_set_by_it() {
    for delivery in [Delivery::Direct, Delivery::Staged] {
        let target = Profile { drops_flags: true, ..Profile::dovecot() };
        let mut world = World::new(Profile::dovecot(), target);
        world.config.delivery = delivery;
        for (number, flags) in (0..).zip([&["\\Flagged", "\\Seen"][..], &["Work"], &[]]) {
            world.anna().deliver(&INBOX, letter(number).with_flags(flags));
        }
        world.run().await.assert_done(3);
        world.assert_copied();
    }
    // Where it sets them neither, that is tried once.
    let mut world = world(&[&["\\Flagged"][..]; 9]);
    world.config.scan_messages_max = 3;
    says(&world, TARGET_PORT, |response| {
        let is_one = response.contains(" FETCH (");
        is_one.then(|| response.replace("FLAGS (\\Flagged)", "FLAGS ()"))
    });
    for _ in 0..2 {
        let report = world.run().await;
        assert_eq!((report.verdict, report.remarked(RemarkKind::FlagsReduced)), (Verdict::Done, 9));
        assert_eq!(world.target.counters().command("UID STORE"), 1);
    }
}
