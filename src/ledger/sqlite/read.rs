//! What is read, each piece inside a transaction that its caller began.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::RangeInclusive;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::fate::{Fate, Remark, RemarkKind};
use crate::history::{Entry, History};
use crate::identity::Digest;
use crate::ledger::{
    AccountId, AccountName, AccountSnapshot, Binding, BoundMailbox, Count, Doubt, Doubted,
    MailboxId, MailboxSnapshot, NewWindow, OpenWindow, RemarkCursor, RemarkRow, ScanTotals,
    Snapshot, Watermark, WindowId,
};
use crate::mail::{Flags, MailboxPath, Uid, UidValidity, WireName};

use super::codes;
use super::error::StoreError;
use super::headers::{Age, Headers, Read};
use super::window;

pub(super) fn bound(
    connection: &Connection,
) -> Result<BTreeMap<String, Vec<BoundMailbox>>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT id, key FROM account")?;
    let accounts: Vec<(AccountId, String)> =
        collect(statement.query([])?, |row| Ok((AccountId(row.get(0)?), row.get(1)?)))?;
    let bound = accounts.into_iter().map(|(id, key)| Ok((key, mailboxes(connection, id)?)));
    bound.collect()
}

pub(super) fn mailboxes(
    connection: &Connection,
    account: AccountId,
) -> Result<Vec<BoundMailbox>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, source_name, source_path, source_validity, target_name, target_path,
             target_validity, fixed, scan_messages, scan_bytes, scan_vanished, scan_uid_next,
             target_uid_next, watermark.uid_next, modseq, listed, watermark.messages,
             watermark.bytes, watermark.vanished, watermark.filter
         FROM mailbox LEFT JOIN watermark ON watermark.mailbox = id
         WHERE account = ?1 ORDER BY id",
    )?;
    collect(statement.query([account.0])?, |row| {
        Ok(BoundMailbox {
            id: MailboxId(row.get(0)?),
            binding: Binding {
                source_name: WireName(row.get(1)?),
                source_path: codes::path(row.get_ref(2)?.as_str().map_err(no_text)?)?,
                source_validity: UidValidity(row.get(3)?),
                target_name: WireName(row.get(4)?),
                target_path: codes::path(row.get_ref(5)?.as_str().map_err(no_text)?)?,
                target_validity: row.get::<_, Option<u32>>(6)?.map(UidValidity),
            },
            fixed: row.get(7)?,
            scan: ScanTotals {
                messages: codes::unsigned(row.get(8)?),
                bytes: codes::unsigned(row.get(9)?),
                vanished: codes::unsigned(row.get(10)?),
                uid_next: row.get(11)?,
            },
            target_uid_next: Uid(row.get(12)?),
            watermark: match row.get::<_, Option<u32>>(13)? {
                Some(uid_next) => Some(Watermark {
                    uid_next: Uid(uid_next),
                    modseq: row.get::<_, Option<i64>>(14)?.map(codes::unsigned),
                    listed: codes::unsigned(row.get(15)?),
                    counted: ScanTotals {
                        messages: codes::unsigned(row.get(16)?),
                        bytes: codes::unsigned(row.get(17)?),
                        vanished: codes::unsigned(row.get(18)?),
                        uid_next,
                    },
                    filter: row.get::<_, Option<[u8; 16]>>(19)?.map(Digest),
                }),
                None => None,
            },
        })
    })
}

pub(super) fn history(
    connection: &Connection,
    mailbox: MailboxId,
    uids: &RangeInclusive<Uid>,
) -> Result<History, StoreError> {
    let keywords = Keywords::of(connection, mailbox, uids)?;
    let mut statement = connection.prepare_cached(
        "SELECT uid, fate, target_uid, size, date, flags, digest FROM message
         WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3",
    )?;
    let rows = statement.query(params![mailbox.0, uids.start().0, uids.end().0])?;
    let history = History::new(collect(rows, |row| entry(row, &keywords))?);
    let mut statement = connection.prepare_cached(
        "SELECT uid, names FROM flags_in_doubt WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3",
    )?;
    let rows = statement.query(params![mailbox.0, uids.start().0, uids.end().0])?;
    let in_doubt = collect(rows, |row| {
        let names = codes::names(row.get_ref(1)?.as_str().map_err(no_text)?)?;
        Ok((Uid(row.get(0)?), Flags::parse(names.iter().map(String::as_str))))
    })?;
    Ok(history.with_flags_in_doubt(in_doubt))
}

/// A row of `uid, fate, target_uid, size, date, flags, digest`.
fn entry(row: &Row<'_>, keywords: &Keywords) -> Result<(Uid, Entry), StoreError> {
    let uid = Uid(row.get(0)?);
    let (fate, risky, troubles) = codes::unpack_fate(row.get(1)?)?;
    let identity = row.get_ref(6)?.as_blob_or_null().map_err(no_text)?;
    let identity = identity.map(codes::unpack_identity).transpose()?;
    let entry = Entry {
        fate,
        target_uid: row.get::<_, Option<u32>>(2)?.map(Uid),
        size: codes::unsigned(row.get(3)?),
        date: row.get::<_, Option<i64>>(4)?.map(codes::unpack_date),
        flags: keywords.flags(uid, row.get(5)?),
        digest: identity.map(|(digest, _)| digest),
        troubles,
        risky,
        changed: identity.and_then(|(_, changed)| changed).map(Box::new),
    };
    Ok((uid, entry))
}

/// The source mailboxes of one account that go where this one goes, and of each whether what it has
/// claimed there stands: what it claimed under another UIDVALIDITY does not.
pub(super) fn beside(
    connection: &Connection,
    mailbox: MailboxId,
) -> Result<Vec<(MailboxId, bool)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT mailbox.id, coalesce(mailbox.target_validity = own.target_validity, TRUE)
         FROM mailbox AS own
             JOIN mailbox
                 ON mailbox.account = own.account AND mailbox.target_name = own.target_name
         WHERE own.id = ?1
         ORDER BY mailbox.id",
    )?;
    collect(statement.query([mailbox.0])?, |row| Ok((MailboxId(row.get(0)?), row.get(1)?)))
}

/// Those of the mailboxes [`beside`] one. What is not in the index yet is read whole.
pub(super) fn twins(
    connection: &Connection,
    beside: &[(MailboxId, bool)],
    headers: &BTreeSet<u64>,
    (index, since): (&Headers, Age),
) -> Result<Vec<(MailboxId, Uid, Entry)>, StoreError> {
    let mut twins = Vec::new();
    for &(mailbox, claims_stand) in beside {
        let uids = match index.find(mailbox, headers) {
            Some(uids) => uids,
            None => with_headers(connection, mailbox, headers, (index, since))?,
        };
        let (Some(first), Some(last)) = (uids.first(), uids.last()) else {
            continue;
        };
        let keywords = Keywords::of(connection, mailbox, &(*first..=*last))?;
        let mut statement = connection.prepare_cached(
            "SELECT uid, fate, target_uid, size, date, flags, digest FROM message
             WHERE mailbox = ?1 AND uid = ?2",
        )?;
        for uid in uids {
            let read =
                statement.query_row(params![mailbox.0, uid.0], |row| Ok(entry(row, &keywords)));
            let Some((uid, entry)) = read.optional()?.transpose()? else {
                continue;
            };
            if entry.digest.is_some_and(|digest| headers.contains(&digest.1)) {
                let target_uid = entry.target_uid.filter(|_| claims_stand);
                twins.push((mailbox, uid, Entry { target_uid, ..entry }));
            }
        }
    }
    Ok(twins)
}

/// The messages of a mailbox with one of these header keys, found by reading the keys of all, which go
/// into the index.
fn with_headers(
    connection: &Connection,
    mailbox: MailboxId,
    headers: &BTreeSet<u64>,
    (index, since): (&Headers, Age),
) -> Result<BTreeSet<Uid>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT uid, digest FROM message WHERE mailbox = ?1 AND digest IS NOT NULL",
    )?;
    let (mut uids, mut all) = (BTreeSet::new(), Read::default());
    let mut rows = statement.query([mailbox.0])?;
    while let Some(row) = rows.next()? {
        let uid = Uid(row.get(0)?);
        let digest = row.get_ref(1)?.as_blob().map_err(no_text)?;
        let ((_, key), _) = codes::unpack_identity(digest)?;
        all.push(uid, key);
        if headers.contains(&key) {
            uids.insert(uid);
        }
    }
    index.fill(since, mailbox, all);
    Ok(uids)
}

pub(super) fn repaired(connection: &Connection) -> Result<BTreeMap<Digest, Digest>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT digest FROM note JOIN message USING (mailbox, uid)
         WHERE kind = ?1 AND digest IS NOT NULL",
    )?;
    let packed = collect(statement.query([codes::kind_code(RemarkKind::Repaired)])?, |row| {
        codes::unpack_identity(row.get_ref(0)?.as_blob().map_err(no_text)?)
    })?;
    let digests = packed.into_iter();
    Ok(digests.filter_map(|((sent, _), changed)| Some((changed?.digest?.0, sent))).collect())
}

/// Each has a note that says why.
pub(super) fn merged(
    connection: &Connection,
) -> Result<BTreeMap<MailboxId, BTreeSet<Uid>>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT mailbox, uid, fate FROM note JOIN message USING (mailbox, uid) WHERE kind = ?1",
    )?;
    let mut merged: BTreeMap<MailboxId, BTreeSet<Uid>> = BTreeMap::new();
    let mut rows = statement.query([codes::kind_code(RemarkKind::Reason)])?;
    while let Some(row) = rows.next()? {
        if codes::unpack_fate(row.get(2)?)?.0 == Fate::Merged {
            merged.entry(MailboxId(row.get(0)?)).or_default().insert(Uid(row.get(1)?));
        }
    }
    Ok(merged)
}

/// Whether copies of an account's messages were seen with other octets than were sent, though these
/// held nothing that many servers change. What was adopted, another tool may have sent so.
pub(super) fn alters(connection: &Connection, account: AccountId) -> Result<bool, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT EXISTS (
             SELECT 1 FROM mailbox
             JOIN note ON note.mailbox = mailbox.id
             JOIN message ON message.mailbox = mailbox.id AND message.uid = note.uid
             WHERE mailbox.account = ?1 AND note.kind = ?2 AND message.fate & ?3 = 0
                 AND message.{})",
        codes::OURS
    ))?;
    let kind = codes::kind_code(RemarkKind::BytesAltered);
    Ok(statement.query_row(params![account.0, kind, codes::RISKY], |row| row.get(0))?)
}

pub(super) fn doubted(
    connection: &Connection,
    mailbox: MailboxId,
) -> Result<Vec<Doubted>, StoreError> {
    let mut doubted = Vec::new();
    let all = RangeInclusive::new(Uid(0), Uid(u32::MAX));
    for (mailbox, claims_stand) in beside(connection, mailbox)? {
        if !claims_stand {
            continue;
        }
        let mut statement = connection.prepare_cached(
            "SELECT uid, fate, target_uid, size, date, flags, digest, lo, lost
             FROM doubt JOIN message USING (mailbox, uid) WHERE mailbox = ?1 ORDER BY uid",
        )?;
        let mut rows = statement.query([mailbox.0])?;
        let mut keywords = None;
        while let Some(row) = rows.next()? {
            let keywords = match &mut keywords {
                Some(keywords) => keywords,
                none => none.insert(Keywords::of(connection, mailbox, &all)?),
            };
            let (uid, entry) = entry(row, keywords)?;
            let doubt = Doubt { mailbox, uid, lo: Uid(row.get(7)?) };
            doubted.push(Doubted { doubt, lost: row.get(8)?, entry });
        }
    }
    Ok(doubted)
}

/// The keywords of a mailbox by bit, and of the messages that have more.
struct Keywords {
    by_bit: Vec<(u8, String)>,
    spilled: HashMap<Uid, Vec<String>>,
}

impl Keywords {
    fn of(
        connection: &Connection,
        mailbox: MailboxId,
        uids: &RangeInclusive<Uid>,
    ) -> Result<Self, StoreError> {
        let mut statement =
            connection.prepare_cached("SELECT bit, name FROM keyword WHERE mailbox = ?1")?;
        let by_bit = collect(statement.query([mailbox.0])?, |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut statement = connection.prepare_cached(
            "SELECT uid, keywords FROM spill WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3",
        )?;
        let rows = statement.query(params![mailbox.0, uids.start().0, uids.end().0])?;
        let spilled = collect(rows, |row| {
            let keywords = codes::names(row.get_ref(1)?.as_str().map_err(no_text)?)?;
            Ok((Uid(row.get(0)?), keywords))
        })?;
        Ok(Self { by_bit, spilled: spilled.into_iter().collect() })
    }

    fn flags(&self, uid: Uid, bits: i64) -> Flags {
        let set = self.by_bit.iter().filter(|(bit, _)| bits & (1 << bit) != 0);
        let spilled = (bits & codes::SPILL != 0).then(|| self.spilled.get(&uid));
        let keywords = set
            .map(|(_, name)| name.as_str())
            .chain(spilled.flatten().into_iter().flatten().map(String::as_str));
        // The five lowest bits are the system flags.
        Flags::from_parts((bits & 0x1f) as u8, keywords)
    }
}

/// A validity that is not known yet may be the same: a UID withheld is sent again and seen, a UID
/// claimed twice would lose a message.
pub(super) fn claimed(
    connection: &Connection,
    mailbox: MailboxId,
    lo: Uid,
) -> Result<Vec<Uid>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT DISTINCT message.target_uid
         FROM mailbox AS own
             JOIN mailbox
                 ON mailbox.account = own.account AND mailbox.target_name = own.target_name
             JOIN message ON message.mailbox = mailbox.id
         WHERE own.id = ?1 AND message.target_uid >= ?2 AND message.{}
             AND coalesce(mailbox.target_validity = own.target_validity, TRUE)
         ORDER BY message.target_uid",
        codes::CLAIMED
    ))?;
    collect(statement.query(params![mailbox.0, lo.0])?, |row| Ok(Uid(row.get(0)?)))
}

pub(super) fn open_windows(
    connection: &Connection,
    account: AccountId,
) -> Result<Vec<OpenWindow>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT window.id, mailbox, epoch, lo, messages, acknowledged
         FROM window JOIN mailbox ON mailbox.id = window.mailbox
         WHERE account = ?1 AND stage IS NULL ORDER BY window.id",
    )?;
    collect(statement.query([account.0])?, |row| {
        Ok(OpenWindow {
            id: WindowId(row.get(0)?),
            window: NewWindow {
                mailbox: MailboxId(row.get(1)?),
                epoch: row.get(2)?,
                lo: Uid(row.get(3)?),
                messages: window::decode(row.get_ref(4)?.as_blob().map_err(no_text)?)?,
            },
            acknowledged: row.get(5)?,
        })
    })
}

pub(super) fn snapshot(connection: &Connection) -> Result<Snapshot, StoreError> {
    let mut mailboxes = mailbox_snapshots(connection)?;
    let mut statement = connection.prepare_cached(
        "SELECT id, key, source, target, state, reason, passes, changed FROM account ORDER BY key",
    )?;
    let accounts = collect(statement.query([])?, |row| {
        let mut mailboxes = mailboxes.remove(&AccountId(row.get(0)?)).unwrap_or_default();
        mailboxes.sort_by(|a, b| a.source.cmp(&b.source));
        Ok(AccountSnapshot {
            name: AccountName { key: row.get(1)?, source: row.get(2)?, target: row.get(3)? },
            state: codes::state(row.get(4)?)?,
            reason: row.get(5)?,
            passes: row.get(6)?,
            changed: row.get(7)?,
            mailboxes,
        })
    })?;
    Ok(Snapshot { accounts })
}

fn mailbox_snapshots(
    connection: &Connection,
) -> Result<HashMap<AccountId, Vec<MailboxSnapshot>>, StoreError> {
    let mut counts = counts(connection)?;
    let mut remarks = remark_counts(connection)?;
    let mut in_doubt = in_doubt(connection)?;
    let mut statement = connection.prepare_cached(
        "SELECT id, account, source_path, target_path, fault, scan_messages, scan_bytes,
             scan_vanished, scan_uid_next
         FROM mailbox ORDER BY id",
    )?;
    let mut accounts: HashMap<AccountId, Vec<MailboxSnapshot>> = HashMap::new();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id = MailboxId(row.get(0)?);
        let scan = ScanTotals {
            messages: codes::unsigned(row.get(5)?),
            bytes: codes::unsigned(row.get(6)?),
            vanished: codes::unsigned(row.get(7)?),
            uid_next: row.get(8)?,
        };
        let mut fates = counts.remove(&id).unwrap_or_default();
        let messages = seen(&fates, scan);
        add_untouched(&mut fates, scan);
        let mailbox = MailboxSnapshot {
            source: codes::path(row.get_ref(2)?.as_str().map_err(no_text)?)?,
            target: codes::path(row.get_ref(3)?.as_str().map_err(no_text)?)?,
            fault: row.get(4)?,
            messages,
            fates,
            remarks: remarks.remove(&id).unwrap_or_default(),
            in_doubt: in_doubt.remove(&id).unwrap_or_default(),
        };
        // Most of thousands of accounts may have one.
        let account =
            accounts.entry(AccountId(row.get(1)?)).or_insert_with(|| Vec::with_capacity(1));
        // A mailbox whose UIDVALIDITY has changed has several rows, and is one mailbox to people.
        match account.iter_mut().find(|known| known.source == mailbox.source) {
            Some(known) => add(known, mailbox),
            None => account.push(mailbox),
        }
    }
    Ok(accounts)
}

fn add(known: &mut MailboxSnapshot, more: MailboxSnapshot) {
    known.target = more.target;
    known.fault = more.fault.or(known.fault.take());
    known.messages += more.messages;
    for (fate, count) in more.fates {
        let sum = known.fates.entry(fate).or_default();
        sum.messages += count.messages;
        sum.bytes = sum.bytes.saturating_add(count.bytes);
    }
    for (kind, count) in more.remarks {
        *known.remarks.entry(kind).or_default() += count;
    }
    known.in_doubt += more.in_doubt;
}

/// How many messages were seen. While no scan has been whole, what has a fate may be more than was counted:
/// copies that went along with their messages have one before a scan comes to where they are now.
fn seen(fates: &BTreeMap<Fate, Count>, scan: ScanTotals) -> u64 {
    if scan.uid_next > 0 {
        return scan.messages;
    }
    let settled: u64 = fates.values().map(|count| count.messages).sum();
    scan.messages.max(settled + scan.vanished)
}

/// Adds the messages that were seen and have no entry: what vanished is gone, the rest is pending.
fn add_untouched(fates: &mut BTreeMap<Fate, Count>, scan: ScanTotals) {
    let (messages, bytes) = fates.values().fold((0_u64, 0_u64), |(messages, bytes), count| {
        (messages + count.messages, bytes.saturating_add(count.bytes))
    });
    let pending = scan.messages.saturating_sub(scan.vanished).saturating_sub(messages);
    // How large the vanished ones were is not known: their bytes count as pending while any is.
    let mut rest = scan.bytes.saturating_sub(bytes);
    for (fate, messages) in [(Fate::Pending, pending), (Fate::Gone, scan.vanished)] {
        if messages > 0 {
            let count = fates.entry(fate).or_default();
            count.messages += messages;
            count.bytes = count.bytes.saturating_add(std::mem::take(&mut rest));
        }
    }
}

type Fates = BTreeMap<Fate, Count>;

/// In the order of the table: a `GROUP BY` of fates would sort all messages first.
fn counts(connection: &Connection) -> Result<HashMap<MailboxId, Fates>, StoreError> {
    let mut counts: HashMap<MailboxId, Fates> = HashMap::new();
    let mut statement = connection.prepare_cached("SELECT mailbox, fate, size FROM message")?;
    let mut rows = statement.query([])?;
    // The run of one mailbox and fate that is being counted.
    let mut run = (MailboxId(0), 0, Count::default());
    let mut end = |(mailbox, fate, count): (MailboxId, i64, Count)| {
        if count.messages > 0 {
            let (fate, ..) = codes::unpack_fate(fate)?;
            let fates = counts.entry(mailbox).or_default();
            let total = fates.entry(fate).or_default();
            total.messages += count.messages;
            total.bytes = total.bytes.saturating_add(count.bytes);
        }
        Ok::<_, StoreError>(())
    };
    while let Some(row) = rows.next()? {
        let (mailbox, fate) = (MailboxId(row.get(0)?), row.get(1)?);
        if (mailbox, fate) != (run.0, run.1) {
            end(std::mem::replace(&mut run, (mailbox, fate, Count::default())))?;
        }
        run.2.messages += 1;
        run.2.bytes = run.2.bytes.saturating_add(codes::unsigned(row.get(2)?));
    }
    end(run)?;
    Ok(counts)
}

fn remark_counts(
    connection: &Connection,
) -> Result<HashMap<MailboxId, BTreeMap<RemarkKind, u64>>, StoreError> {
    let mut counts: HashMap<MailboxId, BTreeMap<RemarkKind, u64>> = HashMap::new();
    let mut statement = connection.prepare_cached(
        "SELECT mailbox, kind, count(*) FROM note WHERE kind <> ?1 GROUP BY mailbox, kind",
    )?;
    let mut rows = statement.query([codes::kind_code(RemarkKind::Reason)])?;
    while let Some(row) = rows.next()? {
        let mailbox = counts.entry(MailboxId(row.get(0)?)).or_default();
        mailbox.insert(codes::kind(row.get(1)?)?, codes::unsigned(row.get(2)?));
    }
    Ok(counts)
}

/// Messages of open windows whose outcome was not recorded, each once.
fn in_doubt(connection: &Connection) -> Result<HashMap<MailboxId, u64>, StoreError> {
    let mut windows = connection.prepare_cached("SELECT mailbox, messages FROM window")?;
    let mut fate =
        connection.prepare_cached("SELECT fate FROM message WHERE mailbox = ?1 AND uid = ?2")?;
    let mut in_doubt: HashSet<(MailboxId, Uid)> = HashSet::new();
    let mut rows = windows.query([])?;
    while let Some(row) = rows.next()? {
        let mailbox = MailboxId(row.get(0)?);
        for message in window::decode(row.get_ref(1)?.as_blob().map_err(no_text)?)? {
            let mut known = fate.query(params![mailbox.0, message.uid.0])?;
            let known = match known.next()? {
                Some(row) => codes::unpack_fate(row.get(0)?)?.0,
                None => Fate::Pending,
            };
            if known == Fate::Pending {
                in_doubt.insert((mailbox, message.uid));
            }
        }
    }
    let mut counts = HashMap::new();
    for (mailbox, _) in in_doubt {
        *counts.entry(mailbox).or_default() += 1;
    }
    Ok(counts)
}

pub(super) fn remarked(
    connection: &Connection,
    mailbox: MailboxId,
    kind: RemarkKind,
) -> Result<BTreeSet<Uid>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT uid FROM note WHERE mailbox = ?1 AND kind = ?2")?;
    let rows = statement.query(params![mailbox.0, codes::kind_code(kind)])?;
    Ok(collect(rows, |row| Ok(Uid(row.get(0)?)))?.into_iter().collect())
}

pub(super) fn remarks(
    connection: &Connection,
    after: Option<RemarkCursor>,
    limit: usize,
) -> Result<Vec<RemarkRow>, StoreError> {
    let mut found = Vec::new();
    let start = after.map(|cursor| Place::of(connection, cursor.mailbox)).transpose()?;
    let mut accounts =
        connection.prepare_cached("SELECT id, key FROM account WHERE key >= ?1 ORDER BY key")?;
    let key = start.as_ref().map_or("", |place| place.account.as_str());
    let mut rows = accounts.query([key])?;
    while let Some(row) = rows.next()? {
        for place in places(connection, AccountId(row.get(0)?), &row.get::<_, String>(1)?)? {
            let after = match &start {
                Some(start) if place < *start => continue,
                Some(start) if place == *start => after,
                _ => None,
            };
            remarks_of(connection, &place, after, limit - found.len(), &mut found)?;
            if found.len() == limit {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// Where a mailbox stands in the listing.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    account: String,
    path: MailboxPath,
    mailbox: MailboxId,
}

impl Place {
    fn of(connection: &Connection, mailbox: MailboxId) -> Result<Self, StoreError> {
        let mut statement = connection.prepare_cached(
            "SELECT key, source_path FROM mailbox JOIN account ON account.id = account
             WHERE mailbox.id = ?1",
        )?;
        let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let (account, path): (String, String) = statement.query_row([mailbox.0], row)?;
        Ok(Self { account, path: codes::path(&path)?, mailbox })
    }
}

/// The mailboxes of an account that have remarks, in the order of the listing.
fn places(
    connection: &Connection,
    account: AccountId,
    key: &str,
) -> Result<Vec<Place>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, source_path FROM mailbox
         WHERE account = ?1 AND EXISTS (SELECT 1 FROM note WHERE note.mailbox = mailbox.id)",
    )?;
    let mut places = collect(statement.query([account.0])?, |row| {
        Ok(Place {
            account: key.to_owned(),
            path: codes::path(row.get_ref(1)?.as_str().map_err(no_text)?)?,
            mailbox: MailboxId(row.get(0)?),
        })
    })?;
    places.sort();
    Ok(places)
}

fn remarks_of(
    connection: &Connection,
    place: &Place,
    after: Option<RemarkCursor>,
    limit: usize,
    found: &mut Vec<RemarkRow>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT uid, kind, text, subject, fate, size, date
         FROM note JOIN message USING (mailbox, uid)
         WHERE mailbox = ?1 AND (uid, kind) > (?2, ?3) ORDER BY uid, kind LIMIT ?4",
    )?;
    let (uid, kind) = after.map_or((0, 0), |cursor| (cursor.uid.0, codes::kind_code(cursor.kind)));
    let rows = statement.query(params![place.mailbox.0, uid, kind, codes::signed(limit as u64)])?;
    let rows = collect(rows, |row| {
        let (uid, kind) = (Uid(row.get(0)?), codes::kind(row.get(1)?)?);
        Ok(RemarkRow {
            account: place.account.clone(),
            mailbox: place.path.clone(),
            uid,
            fate: codes::unpack_fate(row.get(4)?)?.0,
            size: codes::unsigned(row.get(5)?),
            date: row.get::<_, Option<i64>>(6)?.map(codes::unpack_date),
            subject: row.get(3)?,
            remark: Remark::new(kind, row.get::<_, String>(2)?),
            cursor: RemarkCursor { mailbox: place.mailbox, uid, kind },
        })
    })?;
    found.extend(rows);
    Ok(())
}

fn collect<T>(
    mut rows: rusqlite::Rows<'_>,
    mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut read_rows = Vec::new();
    while let Some(row) = rows.next()? {
        read_rows.push(read(row)?);
    }
    Ok(read_rows)
}

fn no_text(error: rusqlite::types::FromSqlError) -> StoreError {
    StoreError::Damaged(error.to_string())
}
