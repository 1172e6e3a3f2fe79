//! What mailboxes have beside their messages: rights and notes.

use std::collections::BTreeMap;

use mailhaul::event::Event;
use mailhaul::rehearsal::{Deed, Fault, Profile};
use mailhaul::simulation::world::{INBOX, Report, World, letter};

const WORK: [&str; 1] = ["Work"];

fn world(source: Profile, target: Profile) -> World {
    let mut world = World::new(source, target);
    world.add("bob");
    world.config.acl = true;
    world.config.metadata = true;
    world.config.acl_map = vec![("team".to_owned(), "staff".to_owned())];
    let anna = world.anna();
    for path in [&INBOX[..], &WORK[..]] {
        anna.deliver(path, letter(1));
    }
    for (who, rights) in [("bob", "lrs"), ("team", "lr"), ("anyone", "l"), ("carl", "lrswi")] {
        anna.set_rights(&WORK, who, rights);
    }
    anna.annotate(&WORK, "/private/comment", b"mine");
    anna.annotate(&WORK, "/shared/comment", "Grüße\r\n\"quoted\"".as_bytes());
    anna.annotate(&WORK, "/shared/vendor/cmu/cyrus-imapd/size", b"7");
    world
}

fn warnings(report: &Report) -> Vec<&str> {
    let mut warnings = Vec::new();
    for event in &report.events {
        if let Event::Warning { text, .. } = event {
            warnings.push(text.as_str());
        }
    }
    warnings
}

fn told(report: &Report) -> Vec<(u64, u64)> {
    let shared = |event: &Event| match event {
        Event::Shared { rights, annotations, .. } => Some((*rights, *annotations)),
        _ => None,
    };
    report.events.iter().filter_map(shared).collect()
}

fn rights(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter().map(|(who, rights)| ((*who).to_owned(), (*rights).to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn rights_and_notes_go_along_where_that_was_asked_for() {
    let mut world = world(Profile::dovecot(), Profile::dovecot());
    (world.config.acl, world.config.metadata) = (false, false);
    world.run().await;
    assert!(world.copy().rights(&WORK).is_empty() && world.copy().notes(&WORK).is_empty());
    (world.config.acl, world.config.metadata) = (true, true);
    // What is there stays.
    world.copy().set_rights(&WORK, "bob", "li");
    world.copy().annotate(&WORK, "/private/comment", b"another");
    let report = world.run().await;
    assert_eq!(told(&report), [(3, 1)]);
    assert_eq!(
        world.copy().rights(&WORK),
        rights(&[("anyone", "l"), ("bob", "lrsi"), ("staff", "lr")]),
    );
    let notes = world.copy().notes(&WORK);
    assert_eq!(notes["/private/comment"], b"another");
    assert_eq!(notes["/shared/comment"], "Grüße\r\n\"quoted\"".as_bytes());
    assert_eq!(notes.len(), 2, "what a server notes for itself is its own");
    assert_eq!(warnings(&report), ["--acl: Work: nobody has said who carl is at the target"]);
    assert!(told(&world.run().await).is_empty(), "nothing is lacking any more");
    world.assert_source_untouched();
}

#[tokio::test(start_paused = true)]
async fn rights_and_notes_that_a_server_does_not_have_or_refuses_are_told() {
    for (source, target) in
        [(Profile::plain(), Profile::dovecot()), (Profile::dovecot(), Profile::plain())]
    {
        let mut world = world(source, target);
        let report = world.run().await;
        let mut warnings = warnings(&report);
        warnings.dedup(); // There are two accounts.
        let lacks = |flag| format!("{flag}: not both servers offer it");
        assert_eq!(warnings, [lacks("--acl"), lacks("--metadata")]);
        assert_eq!(world.copy().snapshot().messages(), 2);
    }
    let mut world = world(Profile::dovecot(), Profile::dovecot());
    for command in ["SETACL", "SETMETADATA"] {
        let deed = Deed::Answer(command.to_owned(), "NO [NOPERM] not by you".to_owned());
        world.target.faults().arm(Fault::always(deed));
    }
    let report = world.run().await;
    assert_eq!(warnings(&report).len(), 3 + 1 + 2, "{:?}", warnings(&report));
    assert_eq!(world.copy().snapshot().messages(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_the_target_has_no_room_for_is_told_before_anything_is_copied() {
    for (limit, source) in [
        (None, Profile::dovecot()),
        (Some(100_000), Profile::dovecot()),
        (Some(1_024), Profile { quota_bytes: Some(1 << 30), ..Profile::dovecot() }),
    ] {
        let target = Profile { quota_bytes: Some(1 << 20), ..Profile::dovecot() };
        let mut world = World::new(source, target);
        world.deliver(0..20);
        world.copy().set_quota(limit);
        let is_warned = |events: &[Event]| {
            let is_it = |event: &Event| matches!(event, Event::Warning { text, .. } if text.contains("raise its quota"));
            events.iter().any(is_it)
        };
        let is_tight = limit == Some(1_024);
        assert_eq!(is_warned(&world.preview().await), is_tight, "{limit:?}");
        world.config.dry_run = true;
        assert_eq!(is_warned(&world.run().await.events), is_tight, "{limit:?}");
    }
}
