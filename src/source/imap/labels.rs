//! Gmail's labels: FETCH of X-GM-LABELS (`X-GM-EXT-1`).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::fault::{Fault, Scope};
use crate::imap::exec::Connection;
use crate::imap::reply::{self, Value};
use crate::mail::Uid;
use crate::plan::labels::Label;

pub(super) fn are_offered(connection: &Connection) -> bool {
    connection.capabilities().has("X-GM-EXT-1")
}

pub(super) async fn labels(
    connection: &mut Connection,
    uids: RangeInclusive<Uid>,
) -> Result<BTreeMap<Uid, Vec<Label>>, Fault> {
    let command = format!("UID FETCH {}:{} (UID X-GM-LABELS)", uids.start(), uids.end());
    let done = connection.run_ok(&command, "ask for labels", Scope::Mailbox).await?;
    let told = done.untagged.iter().filter_map(parse);
    Ok(told.filter(|(uid, _)| uids.contains(uid)).collect())
}

fn parse(response: &Bytes) -> Option<(Uid, Vec<Label>)> {
    let (uid, value) = reply::item(response, "X-GM-LABELS")?;
    let labels = value.list().unwrap_or_default().iter();
    let labels = labels.filter(|label| !label.is_nil()).filter_map(Value::octets);
    Some((uid, labels.map(|label| Label(label.to_vec())).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_as_atoms_strings_and_literals() {
        let read = |text: &'static str| parse(&Bytes::from_static(text.as_bytes()));
        let labels = |names: &[&str]| {
            Some((Uid(4), names.iter().map(|name| Label(name.as_bytes().to_vec())).collect()))
        };
        let two = labels(&["\\Inbox", "Muy Importante"]);
        assert_eq!(read("* 1 FETCH (X-GM-LABELS (\\Inbox \"Muy Importante\") UID 4)\r\n"), two);
        assert_eq!(
            read("* 1 FETCH (UID 4 X-GM-LABELS (\"\\\\Inbox\" {14}\r\nMuy Importante))\r\n"),
            two
        );
        assert_eq!(read("* 1 FETCH (UID 4 X-GM-LABELS ())\r\n"), labels(&[]));
        assert_eq!(read("* 1 FETCH (UID 4 X-GM-LABELS NIL)\r\n"), labels(&[]));
        assert_eq!(read("* 1 FETCH (UID 4 FLAGS (\\Seen))\r\n"), None);
    }
}
