//! LIST and FETCH of attributes, as both ends ask for them.

use bytes::Bytes;

use super::exec::{Connection, ListLine, Selected};
use super::reply::{self, Fetched, Value};
use crate::fault::{Fault, Scope};
use crate::mail::{Mailbox, SpecialUse, Uid, WireName};

/// Every mailbox of the account, with special use and subscription; none that belongs to others.
///
/// # Errors
///
/// As [`Connection::list`].
pub async fn mailboxes(connection: &mut Connection) -> Result<Vec<Mailbox>, Fault> {
    let lines = connection.list().await?;
    let subscribed = connection.subscriptions().await?;
    let hierarchy = connection.hierarchy();
    let own = lines
        .into_iter()
        .filter(|line| !hierarchy.is_foreign(&line.name));
    let mailboxes = own.map(|line| Mailbox {
        path: hierarchy.path(&line.name),
        special_use: special_use(&line),
        selectable: !line.has("\\Noselect") && !line.has("\\NonExistent"),
        subscribed: subscribed.contains(&line.name),
        name: line.name,
    });
    Ok(mailboxes.collect())
}

const SPECIAL_USES: [(&str, SpecialUse); 7] = [
    ("\\All", SpecialUse::All),
    ("\\Archive", SpecialUse::Archive),
    ("\\Drafts", SpecialUse::Drafts),
    ("\\Flagged", SpecialUse::Flagged),
    ("\\Junk", SpecialUse::Junk),
    ("\\Sent", SpecialUse::Sent),
    ("\\Trash", SpecialUse::Trash),
];

fn special_use(line: &ListLine) -> Option<SpecialUse> {
    SPECIAL_USES
        .iter()
        .find(|(attribute, _)| line.has(attribute))
        .map(|(_, use_)| *use_)
}

/// The attribute of RFC 6154 for a special use.
#[must_use]
pub fn attribute(special_use: SpecialUse) -> &'static str {
    SPECIAL_USES
        .iter()
        .find(|(_, use_)| *use_ == special_use)
        .map_or("", |(name, _)| name)
}

/// The answers to a FETCH of attributes.
///
/// # Errors
///
/// A mailbox fault where the server refuses.
pub async fn messages(
    connection: &mut Connection,
    command: &str,
    action: &str,
) -> Result<Vec<Fetched>, Fault> {
    let done = connection.run_ok(command, action, Scope::Mailbox).await?;
    Ok(done.untagged.iter().filter_map(Fetched::parse).collect())
}

/// UIDNEXT of the mailbox just opened; where SELECT does not tell it (Courier), by STATUS, else from
/// the last message there is.
///
/// # Errors
///
/// As [`Connection::run`].
pub async fn uid_next(
    connection: &mut Connection,
    name: &WireName,
    selected: &Selected,
) -> Result<Uid, Fault> {
    if let Some(uid_next) = selected.uid_next {
        return Ok(uid_next);
    }
    let action = "ask for the mailbox's UIDNEXT";
    let quoted = connection.quoted(name)?;
    let done = connection
        .run(&format!("STATUS {quoted} (UIDNEXT)"), action)
        .await?;
    if let Some(uid_next) = done.untagged.iter().find_map(status_uid_next) {
        return Ok(uid_next);
    }
    if selected.exists == 0 {
        return Ok(Uid::FIRST);
    }
    let found = messages(connection, "UID FETCH * (UID)", action).await?;
    Ok(found
        .into_iter()
        .filter_map(|f| f.uid)
        .max()
        .map_or(Uid::FIRST, Uid::next))
}

fn status_uid_next(response: &Bytes) -> Option<Uid> {
    let values = reply::values(&response.starts_with(b"* ").then(|| response.slice(2..))?);
    let [word, _, Value::List(items), ..] = values.as_slice() else {
        return None;
    };
    if !word.text()?.eq_ignore_ascii_case("STATUS") {
        return None;
    }
    let pair = items.chunks(2).find(|pair| {
        pair.len() == 2
            && pair[0]
                .text()
                .is_some_and(|name| name.eq_ignore_ascii_case("UIDNEXT"))
    })?;
    pair[1]
        .text()?
        .parse()
        .ok()
        .filter(|number| *number > 0)
        .map(Uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uidnext_is_read_from_status() {
        let response = Bytes::from_static(b"* STATUS \"a b\" (MESSAGES 2 UIDNEXT 44)\r\n");
        assert_eq!(status_uid_next(&response), Some(Uid(44)));
        assert_eq!(
            status_uid_next(&Bytes::from_static(b"* STATUS a (UIDNEXT 0)")),
            None
        );
    }
}
