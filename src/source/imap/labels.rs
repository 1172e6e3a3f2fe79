//! Gmail's labels: FETCH of X-GM-LABELS and X-GM-MSGID (`X-GM-EXT-1`).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::fault::Fault;
use crate::imap::exec::Connection;
use crate::imap::listing;
use crate::mail::{Flags, Uid};
use crate::plan::labels::{Label, Labelled, keyword};

pub(super) fn are_offered(connection: &Connection) -> bool {
    connection.capabilities().has("X-GM-EXT-1")
}

pub(super) async fn labels(
    connection: &mut Connection,
    uids: RangeInclusive<Uid>,
) -> Result<BTreeMap<Uid, Labelled>, Fault> {
    let (first, last) = (uids.start(), uids.end());
    let command = format!("UID FETCH {first}:{last} (UID X-GM-MSGID X-GM-LABELS)");
    let told = listing::messages(connection, &command, "ask for labels").await?.into_iter();
    let told = told.filter_map(|fetched| {
        let labels = fetched.labels?.iter().map(|label| Label(label.to_vec())).collect();
        Some((fetched.uid?, Labelled { id: fetched.gmail_id, labels }))
    });
    Ok(told.filter(|(uid, _)| uids.contains(uid)).collect())
}

pub(super) async fn ids(
    connection: &mut Connection,
    uids: RangeInclusive<Uid>,
) -> Result<Vec<u64>, Fault> {
    let command = format!("UID FETCH {}:{} (UID X-GM-MSGID)", uids.start(), uids.end());
    let told = listing::messages(connection, &command, "ask which messages are there").await?;
    Ok(told.into_iter().filter_map(|fetched| fetched.gmail_id).collect())
}

/// Flags, and the keywords that stand for labels.
pub(super) fn with_keywords(flags: &Flags, labels: &[Bytes]) -> Flags {
    let labels = labels.iter().filter_map(|label| keyword(&Label(label.to_vec())));
    let labels: Vec<String> = labels.collect();
    let keywords = flags.keywords().iter().chain(&labels);
    Flags::from_parts(flags.system_bits(), keywords.map(String::as_str))
}
