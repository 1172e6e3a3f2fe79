//! Which mailbox goes where between two servers.

use mailhaul::event::Event;
use mailhaul::mail::MailboxPath;
use mailhaul::plan::rules::{MapRule, Pattern};
use mailhaul::rehearsal::{Deed, Fault, Profile, Store};
use mailhaul::report::Verdict;
use mailhaul::simulation::world::{CHANGING, INBOX, Report, World, letter};

/// The target's mailboxes that hold messages, as `path: messages`.
fn there(store: &Store) -> Vec<String> {
    let mailboxes = store.snapshot().mailboxes;
    let full = mailboxes.iter().filter(|(_, messages)| !messages.is_empty());
    full.map(|(path, messages)| format!("{}: {}", path.join("/"), messages.len())).collect()
}

/// What was told of where mailboxes go.
fn planned(report: &Report) -> Vec<String> {
    let told = report.events.iter().filter_map(|event| match event {
        Event::MailboxPlanned { source, target, reason, .. } => {
            let target = target.as_deref().unwrap_or("left out");
            Some(format!("{source} -> {target}: {reason}"))
        }
        _ => None,
    });
    told.collect()
}

fn world_with(source: Profile, target: Profile, mailboxes: &[&[&str]]) -> World {
    let world = World::new(source, target);
    for (number, path) in (0..).zip(mailboxes) {
        world.anna().deliver(path, letter(number));
    }
    world
}

#[tokio::test(start_paused = true)]
async fn localised_names_meet_where_no_server_says_what_mailboxes_are_for() {
    let mut world = world_with(
        Profile::courier(),
        Profile::exchange(),
        &[
            &["Gesendete Objekte"],
            &["Papierkorb"],
            &["Entwürfe"],
            &["Entwürfe", "alt"],
            &["Archiv"],
        ],
    );
    for name in ["Elementos enviados", "Papelera", "Borradores"] {
        world.copy().create_mailbox(&[name], None).unwrap();
    }
    for _ in 0..2 {
        world.run().await.assert_done(5);
        assert_eq!(
            there(&world.copy()),
            [
                "Archiv: 1",
                "Borradores: 1",
                "Borradores/alt: 1",
                "Elementos enviados: 1",
                "Papelera: 1"
            ]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn rules_and_patterns_decide_and_what_is_left_out_is_told() {
    let mut world = world_with(
        Profile::dovecot(),
        Profile::courier(),
        &[&["INBOX"], &["Projects", "a"], &["Projects"], &["Old"], &["Spam"], &["Old2019"]],
    );
    let rules = &mut world.config.rules;
    rules.map = vec![
        MapRule::parse("Projects/*=Archive/Projects/*").unwrap(),
        MapRule::parse_regex("s/^Old(\\d+)$/Old\\/$1/").unwrap(),
    ];
    rules.exclude = vec![Pattern::parse("JunkEmail").unwrap()];
    let report = world.run().await;
    report.assert_done(5);
    assert_eq!(
        there(&world.copy()),
        ["Archive/Projects: 1", "Archive/Projects/a: 1", "INBOX: 1", "Old: 1", "Old/2019: 1"]
    );
    let told = planned(&report);
    assert!(told.contains(&"Spam -> left out: by --exclude JunkEmail".to_owned()), "{told:?}");
    // With wider rules it is copied after all.
    world.config.rules.exclude.clear();
    world.run().await.assert_done(6);
}

#[tokio::test(start_paused = true)]
async fn roots_take_an_account_out_of_one_place_and_put_it_into_another() {
    let mut world = world_with(
        Profile::dovecot(),
        Profile::courier(),
        &[&["INBOX"], &["users", "anna"], &["users", "anna", "Sent"], &["users", "ben"]],
    );
    world.accounts[0].source_root = MailboxPath::parse("users/anna");
    world.accounts[0].target_root = MailboxPath::parse("Old mail");
    world.run().await.assert_done(2);
    assert_eq!(there(&world.copy()), ["Old mail/INBOX: 1", "Old mail/Sent: 1"]);
    world.accounts[0].source_root = MailboxPath::parse("users/nobody");
    let report = world.run().await;
    assert_eq!(report.verdict, Verdict::Incomplete);
    let reason = report.accounts[0].reason.as_deref().unwrap();
    assert!(reason.contains("cannot find the source root users/nobody"), "{reason}");
}

/// D09, D12
#[tokio::test(start_paused = true)]
async fn refused_names_are_changed_and_what_is_below_goes_along() {
    let mut world = world_with(
        Profile::dovecot(),
        Profile::dovecot(),
        &[&["Files"], &["Files", "a"], &["~x"], &["Outbox", "b"]],
    );
    for name in ["~", "b"] {
        world.target.faults().arm(Fault::always(Deed::RefuseCreate(name.to_owned())));
    }
    // Only the name alone: with a number behind it, it is taken.
    world.target.faults().arm(Fault::once(Deed::RefuseCreate("Files".to_owned())));
    let report = world.run().await;
    assert_eq!(report.mailbox_faults().len(), 1, "{:?}", report.mailbox_faults());
    assert_eq!(there(&world.copy()), ["Files (2): 1", "Files (2)/a: 1", "_x: 1"]);
    let told = planned(&report);
    let renamed = "Files -> Files (2): same name, renamed: the target refuses that name";
    assert!(told.contains(&renamed.to_owned()), "{told:?}");
    world.target.faults().clear();
    world.run().await.assert_done(4);
    assert_eq!(there(&world.copy())[..2], ["Files (2): 1", "Files (2)/a: 1"], "they stay");
}

/// D10
#[tokio::test(start_paused = true)]
async fn parents_that_hold_nothing_are_no_failure() {
    let mut world = world_with(Profile::dovecot(), Profile::courier(), &[&["a", "b", "c"]]);
    world.run().await.assert_done(1);
    assert_eq!(there(&world.copy()), ["a/b/c: 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_tells_the_plan_and_makes_nothing() {
    let mut world = world_with(Profile::dovecot(), Profile::dovecot(), &[&["INBOX"], &["Work"]]);
    world.config.rules.map = vec![MapRule::parse("Work=New").unwrap()];
    world.config.dry_run = true;
    let report = world.run().await;
    assert_eq!(planned(&report), ["INBOX -> INBOX: same name", "Work -> New: rule Work=New"]);
    assert_eq!(
        world.copy().mailboxes().len(),
        world.copy().mailboxes().iter().filter(|m| m.path == INBOX).count()
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_mailhaul_made_for_itself_is_not_copied_and_what_is_only_called_so_is() {
    let ours = "mailhaul-00000000000000ab-7-12";
    let mailboxes: [&[&str]; 4] =
        [&[ours], &["mailhaul-lock"], &["mailhaul-notes"], &["mailhaul-2024-05-01", "kept"]];
    let mut world = world_with(Profile::dovecot(), Profile::dovecot(), &mailboxes);
    let report = world.run().await;
    report.assert_done(2);
    assert_eq!(there(&world.copy()), ["mailhaul-2024-05-01/kept: 1", "mailhaul-notes: 1"]);
    let told = planned(&report);
    for name in [ours, "mailhaul-lock"] {
        let left_out = format!("{name} -> left out: a mailhaul has made it for itself");
        assert!(told.contains(&left_out), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_tells_contents_collisions_and_what_is_left_out_and_writes_nothing() {
    let mut world = World::new(Profile::dovecot(), Profile::dovecot());
    for path in [&["INBOX"][..], &["Work"], &["Old"], &["Spam"], &["a", "b"]] {
        world.anna().deliver(path, letter(1));
    }
    world.copy().create_mailbox(&["Work"], None).unwrap();
    world.config.rules.map = vec![MapRule::parse("Old=Work").unwrap()];
    world.config.rules.exclude = vec![Pattern::parse("Spam").unwrap()];
    let before = [&world.source, &world.target].map(|server| server.counters());
    let events = world.preview().await;
    for (server, before) in [&world.source, &world.target].iter().zip(before) {
        for command in CHANGING {
            assert_eq!(server.counters().command(command), before.command(command), "{command}");
        }
    }
    let told: Vec<String> = events
        .iter()
        .filter_map(|event| match event {
            Event::MailboxPlanned {
                source, target, reason, exists, messages, collision, ..
            } => {
                assert_eq!(messages.is_some(), target.is_some());
                let target = target.as_deref().unwrap_or("left out");
                Some(format!(
                    "{source} -> {target}: {reason}; {exists:?} {messages:?} {collision:?}"
                ))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        told,
        [
            "Spam -> left out: by --exclude Spam; None None None",
            "a -> left out: it holds no messages, only mailboxes; None None None",
            "INBOX -> INBOX: same name; Some(true) Some(1) None",
            "Old -> Work (2): rule Old=Work, renamed: another mailbox goes there; Some(false) Some(1) \
             Some(\"Work goes to Work\")",
            "Work -> Work: same name; Some(true) Some(1) None",
            "a/b -> a/b: same name; Some(false) Some(1) None",
        ]
    );
    assert!(events.iter().any(|event| matches!(event, Event::AccountPlanned { .. })));
    // It is what a run then does, and what a later plan tells.
    world.run().await.assert_done(4);
    assert_eq!(there(&world.copy()), ["INBOX: 1", "Work: 1", "Work (2): 1", "a/b: 1"]);
    world.config.rules.map.clear();
    let told = world.preview().await.into_iter().find_map(|event| match event {
        Event::MailboxPlanned { source, target, reason, .. } if source == "Old" => {
            Some((target, reason))
        }
        _ => None,
    });
    assert_eq!(told, Some((Some("Work (2)".to_owned()), "as in earlier runs".to_owned())));
}
