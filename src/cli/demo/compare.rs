//! Both sides compared, message by message.

use std::collections::BTreeMap;

use mailhaul::escape::display;
use mailhaul::rehearsal::{Held, Snapshot};

use super::mail::target_path;

/// What a comparison found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Messages that are on both sides: every byte, the date and the flags.
    pub(super) equal: usize,
    /// One line each.
    pub(super) differences: Vec<String>,
}

/// Compares all mail of one account.
pub(super) fn compare(account: &str, source: &Snapshot, target: &Snapshot) -> Comparison {
    let mut found = Comparison::default();
    let mut left = target.mailboxes.clone();
    for (path, old) in &source.mailboxes {
        let path = target_path(path);
        let Some(new) = left.remove(&path) else {
            let place = place(account, &path);
            found.differences.push(format!("{place}: the mailbox is missing"));
            continue;
        };
        found.messages(&place(account, &path), old, &new);
    }
    for (path, new) in &left {
        found.messages(&place(account, path), &[], new);
    }
    found
}

impl Comparison {
    fn messages(&mut self, place: &str, old: &[Held], new: &[Held]) {
        let mut counts: BTreeMap<&Held, (usize, usize)> = BTreeMap::new();
        for held in old {
            counts.entry(held).or_default().0 += 1;
        }
        for held in new {
            counts.entry(held).or_default().1 += 1;
        }
        for (held, (old, new)) in counts {
            self.equal += old.min(new);
            if old != new {
                self.differences.push(format!(
                    "{place}: {old} on the source, {new} on the target: {}",
                    told(held)
                ));
            }
        }
    }
}

fn place(account: &str, path: &[String]) -> String {
    format!("{account} {}", display(&path.join("/")))
}

fn told(held: &Held) -> String {
    let instant = jiff::Timestamp::from_second(held.unix_seconds).unwrap_or_default();
    let (bytes, flags) = (held.body.len(), held.flags.join(" "));
    format!("{bytes} bytes of {instant}, flags ({})", display(&flags))
}

#[cfg(test)]
mod tests {
    use super::super::mail::{SENT, SENT_ITEMS};
    use super::*;

    fn held(body: &'static str) -> Held {
        Held { flags: vec!["\\Seen".to_owned()], unix_seconds: 0, body: body.into() }
    }

    fn snapshot(mailboxes: &[(&str, &[&'static str])]) -> Snapshot {
        let mailboxes = mailboxes.iter().map(|(name, bodies)| {
            let bodies = bodies.iter().map(|body| held(body)).collect();
            (vec![(*name).to_owned()], bodies)
        });
        Snapshot { mailboxes: mailboxes.collect() }
    }

    #[test]
    fn equal_mail_is_equal_under_the_targets_name() {
        let source = snapshot(&[("INBOX", &["a", "a", "b"]), (SENT, &["c"])]);
        let target = snapshot(&[("INBOX", &["a", "a", "b"]), (SENT_ITEMS, &["c"]), ("Trash", &[])]);
        let found = compare("anna", &source, &target);
        assert_eq!(found.equal, 4);
        assert_eq!(found.differences, [""; 0]);
    }

    #[test]
    fn what_is_missing_doubled_or_altered_is_told() {
        let source = snapshot(&[("INBOX", &["a", "b", "c"]), ("Later", &[])]);
        let mut target = snapshot(&[("INBOX", &["a", "a", "c"]), ("Trash", &["d"])]);
        let inbox = target.mailboxes.get_mut(&["INBOX".to_owned()][..]);
        inbox.expect("there")[2].flags.clear();
        let found = compare("anna", &source, &target);
        assert_eq!(found.equal, 1);
        let told = "1 bytes of 1970-01-01T00:00:00Z, flags";
        assert_eq!(
            found.differences,
            [
                format!("anna INBOX: 0 on the source, 1 on the target: {told} ()"),
                format!("anna INBOX: 1 on the source, 2 on the target: {told} (\\Seen)"),
                format!("anna INBOX: 1 on the source, 0 on the target: {told} (\\Seen)"),
                format!("anna INBOX: 1 on the source, 0 on the target: {told} (\\Seen)"),
                "anna Later: the mailbox is missing".to_owned(),
                format!("anna Trash: 0 on the source, 1 on the target: {told} (\\Seen)"),
            ]
        );
    }
}
