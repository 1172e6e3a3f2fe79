//! Names of mailboxes as odd servers have them: each mailbox is one mailbox, whatever it is called.

use mailhaul::event::Event;
use mailhaul::fate::Fate;
use mailhaul::mail::Namespaces;
use mailhaul::rehearsal::{Deed, Fault, Profile, Store};
use mailhaul::report::Verdict;
use mailhaul::simulation::between::Instead;
use mailhaul::simulation::network::{SOURCE_PORT, TARGET_PORT};
use mailhaul::simulation::world::{Report, World, letter};

/// The target's mailboxes that hold messages, as `path: messages`; names in a path have ` > ` between.
fn there(store: &Store) -> Vec<String> {
    let mailboxes = store.snapshot().mailboxes;
    let full = mailboxes.iter().filter(|(_, messages)| !messages.is_empty());
    full.map(|(path, messages)| format!("{}: {}", path.join(" > "), messages.len())).collect()
}

/// A letter of its own in each of these mailboxes.
fn world(source: Profile, target: Profile, mailboxes: &[&[&str]]) -> World {
    let world = World::new(source, target);
    for (number, path) in (0..).zip(mailboxes) {
        world.anna().deliver(path, letter(number));
    }
    world
}

/// Puts other words into a server's mouth where there are any for a response.
pub(crate) fn says(
    world: &World,
    port: u16,
    mut other: impl FnMut(&str) -> Option<String> + Send + 'static,
) {
    let meddle = move |_, response: &[u8]| {
        let said = std::str::from_utf8(response).ok().and_then(&mut other);
        Instead::Say(said.map_or_else(|| response.to_vec(), String::into_bytes))
    };
    world.network.meddle(port, Box::new(meddle));
}

fn is_list(response: &str) -> bool {
    response.starts_with("* LIST ") || response.starts_with("* LSUB ")
}

/// Runs twice; the second pass has nothing to do.
async fn copied(world: &mut World, messages: u64) -> Report {
    world.run().await.assert_done(messages);
    let appended = world.target.counters().appended;
    let report = world.run().await;
    report.assert_done(messages);
    assert_eq!(world.target.counters().appended, appended, "nothing twice");
    report
}

/// D01: the target takes `Trash` and `trash` for one name.
#[tokio::test(start_paused = true)]
async fn names_that_the_target_takes_for_one_stay_two_mailboxes() {
    let mut world = world(Profile::plain(), Profile::plain(), &[&["Work"], &["work"]]);
    let exists = Deed::Answer("CREATE".to_owned(), "NO [ALREADYEXISTS] mailbox exists".to_owned());
    world.target.faults().arm(Fault::once(exists).after(1));
    copied(&mut world, 2).await;
    assert_eq!(there(&world.copy()), ["Work: 1", "work (2): 1"]);
}

/// D03: INBOX in several spellings, and one below the prefix.
#[tokio::test(start_paused = true)]
async fn the_inbox_is_one_in_any_spelling_and_what_is_below_it_stays_below() {
    for (source, target) in
        [(Profile::courier(), Profile::dovecot()), (Profile::dovecot(), Profile::courier())]
    {
        let mut world = world(source, target, &[&["INBOX"], &["INBOX", "a"], &["Inboxes"]]);
        for port in [SOURCE_PORT, TARGET_PORT] {
            says(&world, port, |response| {
                let (before, name) = response.strip_suffix("\r\n")?.rsplit_once(' ')?;
                let is_inbox = is_list(response) && name.trim_matches('"') == "INBOX";
                is_inbox.then(|| format!("{before} inBox\r\n"))
            });
        }
        copied(&mut world, 3).await;
        assert_eq!(there(&world.copy()), ["INBOX: 1", "INBOX > a: 1", "Inboxes: 1"]);
    }
}

/// D04: prefix against none, no delimiter at all, namespaces that are NIL or not to be asked for.
#[tokio::test(start_paused = true)]
async fn prefix_and_delimiter_are_the_servers_own() {
    let deep: &[&[&str]] = &[&["INBOX"], &["a", "b"], &["c"]];
    for (source, target) in
        [(Profile::courier(), Profile::gmail()), (Profile::exchange(), Profile::courier())]
    {
        for namespace in ["as it is", "NIL", "BAD"] {
            let mut world = world(source.clone(), target.clone(), deep);
            for (port, server) in [(SOURCE_PORT, &world.source), (TARGET_PORT, &world.target)] {
                if namespace == "NIL" && server.profile().prefix.is_empty() {
                    says(&world, port, |response| {
                        let is_it = response.starts_with("* NAMESPACE ");
                        is_it.then(|| "* NAMESPACE NIL NIL NIL\r\n".to_owned())
                    });
                } else if namespace == "BAD" && server.profile().prefix.is_empty() {
                    let bad = Deed::Answer("NAMESPACE".to_owned(), "BAD what".to_owned());
                    server.faults().arm(Fault::always(bad));
                }
            }
            copied(&mut world, 3).await;
            assert_eq!(there(&world.copy()), ["INBOX: 1", "a > b: 1", "c: 1"], "{namespace}");
        }
    }
    // A target without levels.
    let mut world =
        world(Profile::dovecot(), Profile { namespace: false, ..Profile::plain() }, deep);
    says(&world, TARGET_PORT, |response| {
        is_list(response).then(|| response.replacen("\"/\"", "NIL", 1))
    });
    copied(&mut world, 3).await;
    assert_eq!(there(&world.copy()), ["INBOX: 1", "a-b: 1", "c: 1"]);
}

/// D06: the source lists a mailbox and does not know it by that name.
#[tokio::test(start_paused = true)]
async fn a_mailbox_that_cannot_be_opened_is_a_failure() {
    let mut world = world(Profile::dovecot(), Profile::dovecot(), &[&["INBOX"], &["Tüm Postalar"]]);
    says(&world, SOURCE_PORT, |response| {
        is_list(response).then(|| response.replace("T&APw-m", "Tu&AwgBMQ-m"))
    });
    let report = world.run().await;
    assert_eq!((report.verdict, report.fate(Fate::Copied)), (Verdict::Incomplete, 1));
    assert_eq!(report.mailbox_faults().len(), 1, "{:?}", report.mailbox_faults());
}

/// D07: the target takes an encoded name for its text.
#[tokio::test(start_paused = true)]
async fn a_target_that_lists_another_name_than_it_was_given_gets_nothing_twice() {
    let mut world = world(Profile::dovecot(), Profile::dovecot(), &[&["INBOX"], &["Cartão"]]);
    says(&world, TARGET_PORT, |response| {
        is_list(response).then(|| response.replace("Cart&AOM-o", "Cart&-AOM-o"))
    });
    copied(&mut world, 2).await;
    assert_eq!(there(&world.copy()), ["Cartão: 1", "INBOX: 1"]);
}

/// D08: all that a name can hold, and names that are told as literals or bare.
#[tokio::test(start_paused = true)]
async fn any_octet_of_a_name_is_of_the_name() {
    let odd = [
        "say \"hello\"",
        "back\\slash",
        "per%cent",
        "st*r",
        "br]ack[et",
        "{5}",
        "{5+}",
        "(a b)",
        " space ",
        "a&b",
        "#public",
        "~",
        "-",
        "NIL",
        "\u{1f389} \u{65e5}",
    ];
    let mailboxes: Vec<[&str; 1]> = odd.iter().map(|name| [*name]).collect();
    let mailboxes: Vec<&[&str]> = mailboxes.iter().map(|path| &path[..]).collect();
    for is_literal in [false, true] {
        for target in [Profile::dovecot(), Profile::exchange()] {
            let mut world = world(Profile::dovecot(), target, &mailboxes);
            if is_literal {
                says(&world, SOURCE_PORT, |response| {
                    let (before, name) = response.strip_suffix("\"\r\n")?.split_once("\"/\" \"")?;
                    let name = name.replace("\\\"", "\"").replace("\\\\", "\\");
                    let told = format!("{before}\"/\" {{{}}}\r\n{name}\r\n", name.len());
                    is_list(response).then_some(told)
                });
            }
            copied(&mut world, odd.len() as u64).await;
            let mut wanted: Vec<String> = odd.iter().map(|name| format!("{name}: 1")).collect();
            wanted.sort();
            assert_eq!(there(&world.copy()), wanted);
            world.assert_copied();
        }
    }
}

/// D11: a mailbox that is there and not listed, and a CREATE that says so in its own words.
#[tokio::test(start_paused = true)]
async fn a_mailbox_that_exists_already_is_used() {
    for said in ["NO [ALREADYEXISTS] exists", "NO Cannot create", "NO alreadyExists", "BAD"] {
        let mut world = world(Profile::dovecot(), Profile::dovecot(), &[&["INBOX"], &["Archive"]]);
        world.copy().create_mailbox(&["Archive"], None).unwrap();
        says(&world, TARGET_PORT, |response| {
            (is_list(response) && response.contains("Archive")).then(String::new)
        });
        let deed = Deed::Answer("CREATE".to_owned(), said.to_owned());
        world.target.faults().arm(Fault::always(deed));
        copied(&mut world, 2).await;
        assert_eq!(there(&world.copy()), ["Archive: 1", "INBOX: 1"], "{said}");
    }
}

/// D13: LIST without INBOX, and servers that cannot do what they announce.
#[tokio::test(start_paused = true)]
async fn lists_that_lack_the_inbox_or_know_no_options_do() {
    for side in [SOURCE_PORT, TARGET_PORT] {
        let mut world = world(Profile::dovecot(), Profile::dovecot(), &[&["INBOX"], &["a"]]);
        says(&world, side, |response| {
            (is_list(response) && response.contains("INBOX")).then(String::new)
        });
        for server in [&world.source, &world.target] {
            let bad = Deed::Answer("LIST".to_owned(), "BAD no such option".to_owned());
            server.faults().arm(Fault::once(bad));
        }
        copied(&mut world, 2).await;
        assert_eq!(there(&world.copy()), ["INBOX: 1", "a: 1"]);
    }
}

/// D14: LIST lines that come twice, and subscriptions to what is not there.
#[tokio::test(start_paused = true)]
async fn what_is_listed_twice_is_one_and_ghosts_are_nothing() {
    let mut world = world(Profile::dovecot(), Profile::dovecot(), &[&["INBOX"], &["a"]]);
    world.anna().subscribe(&["Ghost"]);
    for port in [SOURCE_PORT, TARGET_PORT] {
        says(&world, port, |response| is_list(response).then(|| response.repeat(2)));
    }
    copied(&mut world, 2).await;
    assert_eq!(there(&world.copy()), ["INBOX: 1", "a: 1"]);
}

/// A server tells that these namespaces are other users' and shared.
fn has_others(world: &World, port: u16) {
    says(world, port, |response| {
        let told = "* NAMESPACE ((\"\" \"/\")) ((\"user/\" \"/\")) ((\"shared/\" \"/\"))\r\n";
        response.starts_with("* NAMESPACE ").then(|| told.to_owned())
    });
}

/// D15
#[tokio::test(start_paused = true)]
async fn mailboxes_of_others_are_copied_to_own_ones_where_they_are_asked_for() {
    let all: &[&[&str]] =
        &[&["INBOX"], &["user", "joe"], &["user", "joe", "Sent"], &["shared", "info"]];
    let mut world = world(Profile::dovecot(), Profile::dovecot(), all);
    has_others(&world, SOURCE_PORT);
    copied(&mut world, 1).await;
    world.config.rules.namespaces.shared = true;
    copied(&mut world, 2).await;
    assert_eq!(there(&world.copy()), ["INBOX: 1", "shared > info: 1"]);
    world.config.rules.namespaces.others = true;
    copied(&mut world, 4).await;
    let joes = ["user > joe: 1", "user > joe > Sent: 1"];
    assert_eq!(there(&world.copy()), ["INBOX: 1", "shared > info: 1", joes[0], joes[1]]);
    // What is not asked for any more is left out, and not gone.
    world.config.rules.namespaces = Namespaces::default();
    assert_eq!(copied(&mut world, 4).await.remarks.len(), 0);
}

/// D15
#[tokio::test(start_paused = true)]
async fn nothing_is_copied_into_a_namespace_of_others() {
    // The source has no such namespaces: these are the account's own there.
    let all: &[&[&str]] = &[&["user", "joe"], &["shared", "info"], &["user"]];
    let mut world = world(Profile::dovecot(), Profile::dovecot(), all);
    has_others(&world, TARGET_PORT);
    world.copy().create_mailbox(&["shared", "info"], None).unwrap();
    copied(&mut world, 3).await;
    let own = ["shared (2) > info: 1", "user (2): 1", "user (2) > joe: 1"];
    assert_eq!(there(&world.copy()), own);
}

/// D15: mailboxes of others, and one that ends the session of whoever opens it.
#[tokio::test(start_paused = true)]
async fn mailboxes_of_others_are_left_out_and_a_lost_session_is_made_anew() {
    let own: &[&[&str]] = &[&["INBOX"], &["user", "joe"], &["shared", "info"], &["users"]];
    let mut world = world(Profile::dovecot(), Profile::dovecot(), own);
    has_others(&world, SOURCE_PORT);
    let lost = Deed::CutBefore("EXAMINE".to_owned());
    world.source.faults().arm(Fault::once(lost).after(1));
    let report = copied(&mut world, 2).await;
    assert_eq!(there(&world.copy()), ["INBOX: 1", "users: 1"]);
    let left_out = |event: &&Event| matches!(event, Event::MailboxPlanned { target: None, .. });
    assert_eq!(report.events.iter().filter(left_out).count(), 2, "they are told of");
}
