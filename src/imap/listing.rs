//! LIST and FETCH of attributes, as both ends ask for them.

use super::exec::{Connection, ListLine};
use super::reply::Fetched;
use crate::fault::{Fault, Scope};
use crate::mail::{Mailbox, SpecialUse};

/// Every mailbox of the account, with special use and subscription.
///
/// # Errors
///
/// As [`Connection::list`].
pub async fn mailboxes(connection: &mut Connection) -> Result<Vec<Mailbox>, Fault> {
    let lines = connection.list().await?;
    let subscribed = connection.subscriptions().await?;
    let hierarchy = connection.hierarchy();
    let mailboxes = lines.into_iter().map(|line| Mailbox {
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
