//! Rights and notes of mailboxes between servers that have both.

use crate::client::{Client, Response};
use crate::harness::dovecot::Options;
use crate::harness::{Server, available, cyrus, dovecot};
use crate::migrate::small;
use crate::product::{Account, Link, Migration, exit};

/// The rights of an identifier in a mailbox, of those that both servers know, and what is noted there.
fn told(client: &mut Client, mailbox: &str, identifier: &str) -> (String, String) {
    let name = client.wire_name(mailbox);
    let shown = |responses: Vec<Response>| -> String {
        let text = |one: Response| {
            let literals = one.literals.iter().map(|literal| literal.escape_ascii().to_string());
            one.text + &literals.collect::<String>()
        };
        responses.into_iter().map(text).collect()
    };
    let acl = shown(client.ok(&format!("GETACL \"{name}\"")));
    let rights = acl.split_once(&format!("{identifier} ")).map_or("", |(_, rest)| rest);
    let rights = rights.chars().take_while(char::is_ascii_alphabetic);
    let rights = rights.filter(|right| "lrswi".contains(*right)).collect();
    let notes = client.ok(&format!("GETMETADATA \"{name}\" (/private/comment)"));
    (rights, shown(notes))
}

#[track_caller]
fn moves_rights_and_notes(source: &Server, target: &Server) {
    // The second account exists where it is granted something.
    drop((source.client("u0002"), target.client("u0002")));
    let mut client = source.client("u0001");
    client.create("Plans");
    let name = client.wire_name("Plans");
    client.ok(&format!("SETACL \"{name}\" u0002 lrs"));
    client.ok(&format!("SETMETADATA \"{name}\" (/private/comment \"what we plan\")"));
    let accounts = ["u0001", "u0002"]
        .map(|user| Account::new(user, (source, Link::Plain), (target, Link::Plain)));
    let migration = Migration::new(&accounts);
    for pass in ["the first", "the second"] {
        let run = migration.start_with(&["--acl", "--metadata"]).wait();
        run.assert_code(exit::ALL_THERE);
        let (rights, notes) = told(&mut target.client("u0001"), "Plans", "u0002");
        let sorted: std::collections::BTreeSet<char> = rights.chars().collect();
        assert_eq!(sorted, "lrs".chars().collect(), "on {} by {pass} pass\n{run}", target.name);
        assert!(notes.contains("what we plan"), "{notes}\n{run}");
        let is_told = run.output().contains("of mailboxes copied");
        assert_eq!(is_told, pass == "the first", "{run}");
    }
}

/// D15: what a user sees of what another one has granted is copied to a mailbox of the user's own.
#[test]
fn mailboxes_of_others_are_copied_where_they_are_asked_for() {
    if !available() {
        return;
    }
    let sharing = Options { sharing: true, ..Options::default() };
    let source = dovecot::start(&sharing);
    drop(source.client("u0002"));
    let mut client = source.client("u0001");
    client.create("Plans");
    client.ok("SETACL Plans u0002 lrs");
    client.append(&[small("Plans", 1), small("Plans", 2)]);
    source.client("u0002").append(&[small("INBOX", 3)]);
    // The second target has a namespace of that name, too.
    for (target, own) in [
        (dovecot::start(&Options::default()), "shared/u0001/Plans"),
        (dovecot::start(&sharing), "shared (2)/u0001/Plans"),
    ] {
        let account = Account::new("u0002", (&source, Link::Plain), (&target, Link::Plain));
        let migration = Migration::new(&[account]);
        let copied = |client: &mut Client| {
            let full = client.list().into_iter().filter_map(|listed| {
                let messages = client.fetch_all(&listed.wire_name).len();
                (messages > 0).then(|| (client.name(&listed.wire_name), messages))
            });
            full.collect::<std::collections::BTreeMap<String, usize>>()
        };
        let inbox = || ("INBOX".to_owned(), 1);
        let run = migration.start().wait();
        run.assert_code(exit::ALL_THERE);
        assert_eq!(copied(&mut target.client("u0002")), [inbox()].into(), "{run}");
        let run = migration.start_with(&["--namespaces", "all", "--acl"]).wait();
        run.assert_code(exit::ALL_THERE);
        let all = [inbox(), (own.to_owned(), 2)].into();
        assert_eq!(copied(&mut target.client("u0002")), all, "{run}");
        let run = migration.start_with(&["--namespaces", "all"]).wait();
        run.assert_code(exit::ALL_THERE);
        assert_eq!(copied(&mut target.client("u0002")), all, "{run}");
    }
}

#[test]
fn rights_and_notes_move_between_dovecot_and_cyrus() {
    if available() {
        let options = Options { sharing: true, ..Options::default() };
        moves_rights_and_notes(&dovecot::start(&options), &cyrus::start(2));
        moves_rights_and_notes(&cyrus::start(2), &dovecot::start(&options));
    }
}
