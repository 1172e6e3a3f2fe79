//! A target that keeps one copy of equal messages: which one is there, and whether it is equal.

use std::collections::{BTreeMap, BTreeSet};

use super::work::Work;
use crate::fate::{Remark, RemarkKind};
use crate::fault::Fault;
use crate::history::Entry;
use crate::identity::{Digest, Identity};
use crate::ledger::{Ledger, MailboxId};
use crate::mail::Uid;
use crate::target::{Found, Target};

/// Where copies stand, by their exact digests.
pub(super) type Places = BTreeMap<Digest, BTreeSet<Uid>>;

/// Where the ledger says that copies of messages with the octets of these stand.
pub(super) async fn claimed<'e, L: Ledger>(
    work: &Work<'_, L>,
    mailbox: MailboxId,
    entries: impl Iterator<Item = &'e Entry>,
) -> Result<Places, Fault> {
    let digests: Vec<(Digest, u64)> = entries.filter_map(|entry| entry.digest).collect();
    let mut places = Places::new();
    if digests.is_empty() {
        return Ok(places);
    }
    let headers = digests.iter().map(|(_, headers)| *headers).collect();
    for (_, _, twin) in work.run.ledger.twins(mailbox, headers).await? {
        if let Some(((exact, _), uid)) = twin.digest.zip(twin.target_uid)
            && twin.fate.is_there()
            && digests.iter().any(|(wanted, _)| *wanted == exact)
        {
            places.entry(exact).or_default().insert(uid);
        }
    }
    Ok(places)
}

/// What stands at these UIDs of the open mailbox, with its digests: a server's word is not enough.
pub(super) async fn read<T: Target>(
    target: &mut T,
    uids: BTreeSet<Uid>,
) -> Result<BTreeMap<Uid, (Found, Identity)>, Fault> {
    if uids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let uids: Vec<Uid> = uids.into_iter().collect();
    let stored = target.identify(&uids).await?;
    let found = target.read_back(&uids).await?.into_iter();
    let read =
        found.filter_map(|found| Some((found.uid, (stored.get(&found.uid).copied()?, found))));
    Ok(read.map(|(uid, (stored, found))| (uid, (found, stored))).collect())
}

/// What is said of a message that has no copy of its own.
pub(super) fn remark(uid: Uid) -> Remark {
    let text = format!("the target keeps one copy of equal messages, and has it: UID {uid}");
    Remark::new(RemarkKind::Reason, text)
}
