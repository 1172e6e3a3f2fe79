//! Mailboxes whose names are not as they should be, made behind a server's back.

use crate::harness::dovecot::Options;
use crate::harness::{available, courier, dovecot};
use crate::product::{Account, Link, Migration, exit};

/// D05 (K): modified UTF-7 that is none, and text written in it that needs it not.
#[test]
fn mailboxes_with_names_that_are_no_utf_7_are_copied() {
    if !available() {
        return;
    }
    let (source, target) = (courier::start(1), dovecot::start(&Options::default()));
    let names = ["&abc", "&AGE-", "a", "Gr&APwA3w-n", "100&"];
    for (number, name) in names.iter().enumerate() {
        let body = format!("Subject: {number}\r\n\r\nin {name}\r\n");
        source.put_into_folder("u0001", format!(".{name}").as_bytes(), number, body.as_bytes());
    }
    let account = Account::new("u0001", (&source, Link::Plain), (&target, Link::Plain));
    let migration = Migration::new(&[account]);
    for _ in 0..2 {
        let run = migration.run_expecting(exit::ALL_THERE);
        let mut client = target.client("u0001");
        let mut subjects = Vec::new();
        for mailbox in client.list() {
            for message in client.fetch_all(&mailbox.wire_name) {
                let text = String::from_utf8(message.body).unwrap();
                subjects.push(text.lines().next().unwrap().to_owned());
            }
        }
        subjects.sort();
        let owed: Vec<String> =
            (0..names.len()).map(|number| format!("Subject: {number}")).collect();
        assert_eq!(subjects, owed, "{run}");
    }
}
