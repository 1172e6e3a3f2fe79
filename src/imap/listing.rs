//! LIST and FETCH of attributes, as both ends ask for them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;

use super::exec::{Connection, ListLine, Listed, Selected};
use super::names;
use super::reply::{self, Fetched, Value};
use super::wire::Incoming;
use crate::fault::{Fault, Scope};
use crate::mail::{Mailbox, MailboxStatus, Namespaces, SpecialUse, Uid, UidValidity, WireName};

/// The longest mailbox name that a STATUS is read with.
const STATUS_NAME_BYTES_MAX: u64 = 64 * 1024;

/// Every mailbox that the account sees, with special use and subscription; those of others as far as the
/// server tells them unasked, or that are `asked` for.
///
/// # Errors
///
/// As [`Connection::list`].
pub async fn mailboxes(
    connection: &mut Connection,
    asked: Namespaces,
) -> Result<Vec<Mailbox>, Fault> {
    mailboxes_and_statuses(connection, asked).await.map(|(mailboxes, _)| mailboxes)
}

/// As [`mailboxes`]; and how they stand, where the server tells that with the list.
///
/// # Errors
///
/// As [`Connection::list`].
pub async fn mailboxes_and_statuses(
    connection: &mut Connection,
    asked: Namespaces,
) -> Result<(Vec<Mailbox>, BTreeMap<WireName, MailboxStatus>), Fault> {
    let Listed { lines, subscribed, untagged } = connection.list(asked).await?;
    let hierarchy = connection.hierarchy();
    let mailboxes = lines.into_iter().map(|line| Mailbox {
        path: hierarchy.path(&line.name),
        special_use: special_use(&line),
        selectable: !line.has("\\Noselect") && !line.has("\\NonExistent"),
        subscribed: subscribed.contains(&line.name),
        namespace: hierarchy.namespace(&line.name),
        name: line.name,
    });
    let status = |response| Some((status_name(response)?, status(response)?));
    Ok((mailboxes.collect(), untagged.iter().filter_map(status).collect()))
}

const SPECIAL_USES: [(&str, SpecialUse); 8] = [
    ("\\All", SpecialUse::All),
    ("\\Archive", SpecialUse::Archive),
    ("\\Drafts", SpecialUse::Drafts),
    ("\\Flagged", SpecialUse::Flagged),
    ("\\Important", SpecialUse::Important),
    ("\\Junk", SpecialUse::Junk),
    ("\\Sent", SpecialUse::Sent),
    ("\\Trash", SpecialUse::Trash),
];

fn special_use(line: &ListLine) -> Option<SpecialUse> {
    SPECIAL_USES.iter().find(|(attribute, _)| line.has(attribute)).map(|(_, use_)| *use_)
}

/// The attribute of RFC 6154 for a special use.
#[must_use]
pub fn attribute(special_use: SpecialUse) -> &'static str {
    SPECIAL_USES.iter().find(|(_, use_)| *use_ == special_use).map_or("", |(name, _)| name)
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
    let done = connection.run(&format!("STATUS {quoted} (UIDNEXT)"), action).await?;
    if let Some(uid_next) = done.untagged.iter().find_map(status_uid_next) {
        return Ok(uid_next);
    }
    if selected.exists == 0 {
        return Ok(Uid::FIRST);
    }
    let found = messages(connection, "UID FETCH * (UID)", action).await?;
    Ok(found.into_iter().filter_map(|f| f.uid).max().map_or(Uid::FIRST, Uid::next))
}

/// The UIDs that stand in a range of the open mailbox, ascending.
pub async fn uids(
    connection: &mut Connection,
    range: RangeInclusive<Uid>,
) -> Result<Vec<Uid>, Fault> {
    let command = format!("UID FETCH {}:{} (UID)", range.start(), range.end());
    let found = messages(connection, &command, "list the messages").await?;
    let mut listed: Vec<Uid> = found.into_iter().filter_map(|fetched| fetched.uid).collect();
    listed.retain(|uid| range.contains(uid));
    listed.sort_unstable();
    listed.dedup();
    Ok(listed)
}

/// How mailboxes stand, in the order of their names, by pipelined STATUS; none where the server does
/// not tell.
///
/// # Errors
///
/// A session fault where the connection breaks.
pub async fn statuses(
    connection: &mut Connection,
    names: &[WireName],
) -> Result<Vec<Option<MailboxStatus>>, Fault> {
    let side = connection.side();
    let items = connection.status_items();
    let broken = |error: std::io::Error| Fault::session("count the messages", error).at(side);
    let mut statuses = vec![None; names.len()];
    let quoted: Vec<(usize, String)> = names
        .iter()
        .enumerate()
        .filter_map(|(index, name)| Some((index, names::quoted(name)?)))
        .collect();
    let (mut reader, mut writer) = connection.lend();
    // So many that neither side's buffers fill up while nobody reads.
    for part in quoted.chunks(50) {
        let commands =
            part.iter().map(|(index, name)| format!("S{index} STATUS {name} ({items})\r\n"));
        writer.write(commands.collect::<String>().as_bytes()).await.map_err(broken)?;
        writer.flush().await.map_err(broken)?;
        for (index, _) in part {
            let tag = format!("S{index}");
            loop {
                let response = match reader.response(STATUS_NAME_BYTES_MAX).await.map_err(broken)? {
                    Incoming::Response(response) => response,
                    Incoming::Large { literal_bytes, .. } => {
                        reader.discard(literal_bytes).await.map_err(broken)?;
                        continue;
                    }
                };
                if reply::tagged(&response).is_some_and(|(told, _)| told == tag.as_bytes()) {
                    break;
                }
                statuses[*index] = status(&response).or(statuses[*index]);
            }
        }
    }
    Ok(statuses)
}

fn status(response: &Bytes) -> Option<MailboxStatus> {
    let item = |name| status_item(response, name);
    let number = |name| item(name).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
    Some(MailboxStatus {
        uid_validity: number("UIDVALIDITY").map(UidValidity),
        uid_next: number("UIDNEXT").map(Uid),
        messages: item("MESSAGES")?,
        bytes: item("SIZE"),
        highest_modseq: item("HIGHESTMODSEQ").filter(|modseq| *modseq > 0),
    })
}

fn status_uid_next(response: &Bytes) -> Option<Uid> {
    let uid_next = status_item(response, "UIDNEXT").filter(|number| *number > 0)?;
    u32::try_from(uid_next).ok().map(Uid)
}

/// The mailbox that an untagged STATUS tells of.
fn status_name(response: &Bytes) -> Option<WireName> {
    let values = reply::values(&response.starts_with(b"* ").then(|| response.slice(2..))?);
    Some(WireName(values.get(1)?.octets()?.to_vec()))
}

/// One number of an untagged STATUS.
fn status_item(response: &Bytes, item: &str) -> Option<u64> {
    let values = reply::values(&response.starts_with(b"* ").then(|| response.slice(2..))?);
    let [word, _, Value::List(items), ..] = values.as_slice() else {
        return None;
    };
    if !word.text()?.eq_ignore_ascii_case("STATUS") {
        return None;
    }
    let pair = items.chunks(2).find(|pair| {
        pair.len() == 2 && pair[0].text().is_some_and(|name| name.eq_ignore_ascii_case(item))
    })?;
    pair[1].text()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uidnext_is_read_from_status() {
        let response = Bytes::from_static(b"* STATUS \"a b\" (MESSAGES 2 UIDNEXT 44)\r\n");
        assert_eq!(status_uid_next(&response), Some(Uid(44)));
        assert_eq!(status_uid_next(&Bytes::from_static(b"* STATUS a (UIDNEXT 0)")), None);
    }
}
