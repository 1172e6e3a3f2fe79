//! Which messages of a part of a mailbox are copied as those of another one, by their labels.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::fault::Fault;
use crate::mail::{MailboxPath, Uid, WireName};
use crate::plan::labels::Labels;
use crate::source::Source;

/// The mailboxes that messages count as of, where that is not the one in which they were seen.
pub(super) type Elsewhere = BTreeMap<Uid, MailboxPath>;

/// Asks for the labels of a range of the open mailbox, where they decide.
///
/// # Errors
///
/// As [`Source::labels`].
pub(super) async fn elsewhere<S: Source>(
    source: &mut S,
    labels: Option<&Labels>,
    mailbox: &WireName,
    range: RangeInclusive<Uid>,
) -> Result<Elsewhere, Fault> {
    let Some(labels) = labels.filter(|labels| labels.decide_in(mailbox)) else {
        return Ok(Elsewhere::new());
    };
    let told = source.labels(range).await?;
    let elsewhere = told
        .into_iter()
        .filter_map(|(uid, of)| Some((uid, labels.elsewhere(mailbox, &of)?.clone())));
    Ok(elsewhere.collect())
}
