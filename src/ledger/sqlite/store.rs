//! What is written, each piece inside a transaction that its caller began.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fs::File;

use rusqlite::{Connection, OptionalExtension, params};

use crate::fate::{Fate, RemarkKind};
use crate::ledger::{
    AccountId, AccountName, AccountState, Binding, Claim, Doubt, MailboxId, NewWindow, Outcome,
    Refusal, ScanTotals, Settlement, Watermark, WindowId,
};
use crate::mail::{Flags, Mailbox, Uid, UidValidity};
use crate::mutant::{self, Mutant};

use super::codes;
use super::error::StoreError;
use super::headers::Headers;
use super::{read, window};

/// The one connection that writes.
pub(super) struct Store {
    connection: Connection,
    /// What would have to be asked for every message; forgotten when it grows large.
    known: HashMap<MailboxId, Known>,
    headers: Headers,
    /// The write-ahead log, if this is on a disk.
    log: Option<File>,
    /// How many rows had been changed when it was synced last.
    synced: u64,
}

/// What is known of a mailbox that is being written.
struct Known {
    fixed: bool,
    keyword_bits: BTreeMap<String, u8>,
}

/// A window about to be written, its messages already encoded.
pub(super) struct EncodedWindow {
    pub(super) mailbox: MailboxId,
    pub(super) epoch: i64,
    pub(super) lo: Uid,
    pub(super) messages: Vec<u8>,
}

impl From<&NewWindow> for EncodedWindow {
    fn from(window: &NewWindow) -> Self {
        Self {
            mailbox: window.mailbox,
            epoch: window.epoch,
            lo: window.lo,
            messages: window::encode(&window.messages),
        }
    }
}

const KNOWN_MAILBOXES_MAX: usize = 4_096;

impl Store {
    /// A store of a connection that was written through, and all on the disk.
    pub(super) fn new(connection: Connection, headers: Headers) -> Result<Self, StoreError> {
        let log = match connection.path() {
            Some(path) if !path.is_empty() => {
                Some(File::options().write(true).open(format!("{path}-wal"))?)
            }
            _ => None,
        };
        // A commit leaves the log whole; to sync it is our own affair from here on
        // (https://www.sqlite.org/pragma.html#pragma_synchronous).
        connection.pragma_update(None, "synchronous", "normal")?;
        let synced = connection.total_changes();
        Ok(Self { connection, known: HashMap::new(), headers, log, synced })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Begins a transaction of the writer that [`super::schema::take`] gave this number, unless
    /// another took the ledger since: nobody else can until the end of the transaction.
    pub(super) fn begin(&self, writer: i64) -> Result<(), StoreError> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let sql = "SELECT value = CAST(?1 AS TEXT) FROM meta WHERE key = 'writer'";
        let is_own = self.connection.prepare_cached(sql)?.query_row([writer], |row| row.get(0))?;
        if is_own { Ok(()) } else { Err(Refusal::TakenOver.into()) }
    }

    /// Readers see what was written. On the disk it is only once it was synced.
    pub(super) fn commit(&self) -> Result<(), StoreError> {
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    /// Waits until all that was committed is on the disk.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        let changed = self.connection.total_changes();
        if changed == self.synced {
            return Ok(());
        }
        if let Some(log) = &self.log
            && !mutant::is(Mutant::NoSync)
        {
            log.sync_data()?;
        }
        self.synced = changed;
        Ok(())
    }

    /// Best effort: a writer whose transaction failed writes nothing more.
    pub(super) fn roll_back(&mut self) {
        self.known.clear();
        let _ = self.connection.execute_batch("ROLLBACK");
    }

    /// Copies the write-ahead log into the file and empties it.
    pub(super) fn checkpoint(&self) -> Result<(), StoreError> {
        let mut pragma = self.connection.prepare("PRAGMA wal_checkpoint(TRUNCATE)")?;
        // One row: whether a reader was in the way (then the next opening does it), and two counts.
        pragma.query_row([], |_| Ok(()))?;
        Ok(())
    }

    pub(super) fn claim(&mut self, name: &AccountName) -> Result<Claim, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "INSERT INTO account (key, source, target, state, epoch, passes, changed)
             VALUES (?1, ?2, ?3, ?4, 1, 0, unixepoch())
             ON CONFLICT (key) DO UPDATE SET source = excluded.source, target = excluded.target,
                 epoch = epoch + 1
             RETURNING id, epoch",
        )?;
        let waiting = codes::state_code(AccountState::Waiting);
        let row = params![name.key, name.source, name.target, waiting];
        let (account, epoch) =
            statement.query_row(row, |row| Ok((AccountId(row.get(0)?), row.get(1)?)))?;
        Ok(Claim { account, epoch, alters: read::alters(&self.connection, account)? })
    }

    pub(super) fn set_account_state(
        &mut self,
        account: AccountId,
        state: AccountState,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare_cached(
            "UPDATE account SET state = ?2, reason = ?3, passes = passes + ?4, changed = unixepoch()
             WHERE id = ?1",
        )?;
        let through = i64::from(state == AccountState::Done);
        let changed =
            statement.execute(params![account.0, codes::state_code(state), reason, through])?;
        found(changed, || format!("account {}", account.0))
    }

    pub(super) fn bind(
        &mut self,
        account: AccountId,
        binding: &Binding,
    ) -> Result<MailboxId, StoreError> {
        let source = params![account.0, binding.source_name.0, binding.source_validity.0];
        let mut statement = self.connection.prepare_cached(
            "SELECT id, fixed FROM mailbox
             WHERE account = ?1 AND source_name = ?2 AND source_validity = ?3",
        )?;
        let old: Option<(i64, bool)> =
            statement.query_row(source, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let target_validity = binding.target_validity.map(|validity| validity.0);
        let Some((id, fixed)) = old else {
            let mut statement = self.connection.prepare_cached(
                "INSERT INTO mailbox (account, source_name, source_path, source_validity,
                     target_name, target_path, target_validity)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?;
            let id = statement.insert(params![
                account.0,
                binding.source_name.0,
                codes::path_text(&binding.source_path),
                binding.source_validity.0,
                binding.target_name.0,
                codes::path_text(&binding.target_path),
                target_validity
            ])?;
            return Ok(MailboxId(id));
        };
        if fixed {
            // The validity of another mailbox is none of its own.
            let mut statement = self.connection.prepare_cached(
                "UPDATE mailbox SET target_validity = ?3
                 WHERE id = ?1 AND target_name = ?2 AND target_validity IS NULL",
            )?;
            statement.execute(params![id, binding.target_name.0, target_validity])?;
        } else {
            let mut statement = self.connection.prepare_cached(
                "UPDATE mailbox SET source_path = ?2, target_name = ?3, target_path = ?4,
                     target_validity = ?5
                 WHERE id = ?1",
            )?;
            statement.execute(params![
                id,
                codes::path_text(&binding.source_path),
                binding.target_name.0,
                codes::path_text(&binding.target_path),
                target_validity
            ])?;
        }
        Ok(MailboxId(id))
    }

    pub(super) fn rename_source(
        &mut self,
        mailbox: MailboxId,
        now: &Mailbox,
    ) -> Result<bool, StoreError> {
        // Whoever saw the name first bound it anew, and did not come to copy anything there.
        let sql = "SELECT at_name.id FROM mailbox AS renamed JOIN mailbox AS at_name
                 ON at_name.account = renamed.account
                 AND at_name.source_validity = renamed.source_validity
             WHERE renamed.id = ?1 AND at_name.source_name = ?2 AND at_name.id != ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let at_name: Option<i64> =
            statement.query_row(params![mailbox.0, now.name.0], |row| row.get(0)).optional()?;
        drop(statement);
        if let Some(at_name) = at_name {
            let sql = "DELETE FROM mailbox WHERE id = ?1 AND fixed = 0
                 AND NOT EXISTS (SELECT 1 FROM watermark WHERE mailbox = ?1)
                 AND NOT EXISTS (SELECT 1 FROM stage WHERE mailbox = ?1)
                 AND NOT EXISTS (SELECT 1 FROM moving WHERE ?1 IN (mailbox, to_mailbox))";
            if self.connection.prepare_cached(sql)?.execute([at_name])? == 0 {
                return Ok(false);
            }
            self.known.remove(&MailboxId(at_name));
        }
        let path = codes::path_text(&now.path);
        let sql = "UPDATE mailbox SET source_name = ?2, source_path = ?3 WHERE id = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let changed = statement.execute(params![mailbox.0, now.name.0, path])?;
        found(changed, || format!("mailbox {}", mailbox.0))?;
        Ok(true)
    }

    /// Writes a window; none, with nothing written, if its account was claimed again since.
    pub(super) fn open_window(
        &mut self,
        window: &EncodedWindow,
    ) -> Result<Option<WindowId>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT epoch FROM account JOIN mailbox ON mailbox.account = account.id
             WHERE mailbox.id = ?1",
        )?;
        let epoch: Option<i64> =
            statement.query_row([window.mailbox.0], |row| row.get(0)).optional()?;
        let epoch = epoch.ok_or_else(|| unknown_mailbox(window.mailbox))?;
        drop(statement);
        if epoch != window.epoch {
            return Ok(None);
        }
        self.fix(window.mailbox)?;
        let mut statement = self.connection.prepare_cached(
            "INSERT INTO window (mailbox, epoch, lo, messages) VALUES (?1, ?2, ?3, ?4)",
        )?;
        let row = params![window.mailbox.0, window.epoch, window.lo.0, window.messages];
        Ok(Some(WindowId(statement.insert(row)?)))
    }

    /// Closes a window and writes its outcomes. Does nothing if it was closed before: whoever
    /// closed it said what became of its messages.
    pub(super) fn close_window(
        &mut self,
        window: WindowId,
        mailbox: MailboxId,
        outcomes: &[Outcome],
    ) -> Result<(), StoreError> {
        let mut statement =
            self.connection.prepare_cached("DELETE FROM window WHERE id = ?1 AND mailbox = ?2")?;
        let closed = statement.execute([window.0, mailbox.0])?;
        drop(statement);
        if closed == 0 {
            return Ok(());
        }
        self.record(mailbox, outcomes)
    }

    pub(super) fn record(
        &mut self,
        mailbox: MailboxId,
        outcomes: &[Outcome],
    ) -> Result<(), StoreError> {
        if outcomes.is_empty() {
            return Ok(());
        }
        self.fix(mailbox)?;
        for outcome in outcomes {
            let (flags, spilled) = self.flag_bits(mailbox, &outcome.entry.flags)?;
            self.put_message(mailbox, outcome, flags)?;
            self.put_spill(mailbox, outcome.uid, &spilled)?;
            self.put_notes(mailbox, outcome)?;
        }
        // What was settled once, and is owed again, is below the watermark.
        let pending = outcomes.iter().filter(|outcome| outcome.entry.fate == Fate::Pending);
        if let Some(lowest) = pending.map(|outcome| outcome.uid).min() {
            self.connection
                .prepare_cached("DELETE FROM watermark WHERE mailbox = ?1 AND uid_next > ?2")?
                .execute(params![mailbox.0, lowest.0])?;
        }
        Ok(())
    }

    pub(super) fn intend_flags(
        &mut self,
        mailbox: MailboxId,
        flags: &[(Uid, Flags)],
    ) -> Result<(), StoreError> {
        for (uid, flags) in flags {
            let names: Vec<String> = flags.missing_in(&Flags::default());
            let sql =
                "INSERT OR REPLACE INTO flags_in_doubt (mailbox, uid, names) VALUES (?1, ?2, ?3)";
            let names = serde_json::Value::from(names).to_string();
            self.connection.prepare_cached(sql)?.execute(params![mailbox.0, uid.0, names])?;
        }
        Ok(())
    }

    pub(super) fn set_flags(
        &mut self,
        mailbox: MailboxId,
        flags: &[(Uid, Flags)],
    ) -> Result<(), StoreError> {
        for (uid, flags) in flags {
            let (bits, spilled) = self.flag_bits(mailbox, flags)?;
            let sql = "UPDATE message SET flags = ?3 WHERE mailbox = ?1 AND uid = ?2";
            self.connection.prepare_cached(sql)?.execute(params![mailbox.0, uid.0, bits])?;
            self.put_spill(mailbox, *uid, &spilled)?;
            let sql = "DELETE FROM flags_in_doubt WHERE mailbox = ?1 AND uid = ?2";
            self.connection.prepare_cached(sql)?.execute(params![mailbox.0, uid.0])?;
        }
        Ok(())
    }

    fn put_message(
        &mut self,
        mailbox: MailboxId,
        outcome: &Outcome,
        flags: i64,
    ) -> Result<(), StoreError> {
        let entry = &outcome.entry;
        if let Some((_, headers)) = entry.digest {
            self.headers.note(mailbox, outcome.uid, headers);
        }
        let mut statement = self.connection.prepare_cached(
            "INSERT OR REPLACE INTO message
                 (mailbox, uid, fate, target_uid, size, date, flags, digest)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        statement.execute(params![
            mailbox.0,
            outcome.uid.0,
            codes::pack_fate(entry.fate, entry.risky, entry.troubles),
            entry.target_uid.map(|uid| uid.0),
            codes::signed(entry.size),
            entry.date.map(codes::pack_date),
            flags,
            entry.digest.map(|digest| codes::pack_identity(digest, entry.changed.as_deref()))
        ])?;
        Ok(())
    }

    fn put_notes(&mut self, mailbox: MailboxId, outcome: &Outcome) -> Result<(), StoreError> {
        let mut statement =
            self.connection.prepare_cached("DELETE FROM note WHERE mailbox = ?1 AND uid = ?2")?;
        statement.execute(params![mailbox.0, outcome.uid.0])?;
        // Two remarks of one kind become one: the kind is part of a listing's cursor.
        let mut texts: BTreeMap<RemarkKind, String> = BTreeMap::new();
        for remark in &outcome.remarks {
            let text = texts.entry(remark.kind).or_default();
            let between = if text.is_empty() { "" } else { "; " };
            *text += &format!("{between}{}", remark.text);
        }
        for (kind, text) in texts {
            let mut statement = self.connection.prepare_cached(
                "INSERT INTO note (mailbox, uid, kind, text, subject) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            let kind = codes::kind_code(kind);
            let (uid, subject) = (outcome.uid.0, &outcome.subject);
            statement.execute(params![mailbox.0, uid, kind, text, subject])?;
        }
        Ok(())
    }

    /// The flags as bits, and the keywords for which the mailbox has no bit left.
    fn flag_bits<'a>(
        &mut self,
        mailbox: MailboxId,
        flags: &'a Flags,
    ) -> Result<(i64, Vec<&'a str>), StoreError> {
        let mut bits = i64::from(flags.system_bits());
        let mut spilled = Vec::new();
        for keyword in flags.keywords() {
            let known = self.known(mailbox)?;
            let bit = match known.keyword_bits.get(keyword) {
                Some(bit) => Some(*bit),
                None => self.new_keyword_bit(mailbox, keyword)?,
            };
            match bit {
                Some(bit) => bits |= 1 << bit,
                None => spilled.push(keyword.as_str()),
            }
        }
        if !spilled.is_empty() {
            bits |= codes::SPILL;
        }
        Ok((bits, spilled))
    }

    fn new_keyword_bit(
        &mut self,
        mailbox: MailboxId,
        keyword: &str,
    ) -> Result<Option<u8>, StoreError> {
        let known = self.known(mailbox)?;
        let last = known.keyword_bits.values().max().copied();
        let bit = last.map_or(codes::KEYWORD_BIT_FIRST, |last| last + 1);
        if bit > codes::KEYWORD_BIT_LAST {
            return Ok(None);
        }
        known.keyword_bits.insert(keyword.to_owned(), bit);
        let mut statement = self
            .connection
            .prepare_cached("INSERT INTO keyword (mailbox, bit, name) VALUES (?1, ?2, ?3)")?;
        statement.execute(params![mailbox.0, bit, keyword])?;
        Ok(Some(bit))
    }

    fn put_spill(
        &mut self,
        mailbox: MailboxId,
        uid: Uid,
        keywords: &[&str],
    ) -> Result<(), StoreError> {
        let bits = usize::from(codes::KEYWORD_BIT_LAST - codes::KEYWORD_BIT_FIRST) + 1;
        if self.known(mailbox)?.keyword_bits.len() < bits {
            return Ok(()); // No message of this mailbox can have spilled.
        }
        let mut statement =
            self.connection.prepare_cached("DELETE FROM spill WHERE mailbox = ?1 AND uid = ?2")?;
        statement.execute(params![mailbox.0, uid.0])?;
        if !keywords.is_empty() {
            let mut statement = self
                .connection
                .prepare_cached("INSERT INTO spill (mailbox, uid, keywords) VALUES (?1, ?2, ?3)")?;
            let keywords = serde_json::Value::from(keywords).to_string();
            statement.execute(params![mailbox.0, uid.0, keywords])?;
        }
        Ok(())
    }

    /// From now on the mailbox keeps its target.
    fn fix(&mut self, mailbox: MailboxId) -> Result<(), StoreError> {
        if self.known(mailbox)?.fixed {
            return Ok(());
        }
        self.connection
            .prepare_cached("UPDATE mailbox SET fixed = 1 WHERE id = ?1")?
            .execute([mailbox.0])?;
        self.known(mailbox)?.fixed = true;
        Ok(())
    }

    fn known(&mut self, mailbox: MailboxId) -> Result<&mut Known, StoreError> {
        if self.known.len() >= KNOWN_MAILBOXES_MAX && !self.known.contains_key(&mailbox) {
            self.known.clear();
        }
        if !self.known.contains_key(&mailbox) {
            let known = ask(&self.connection, mailbox)?;
            self.known.insert(mailbox, known);
        }
        self.known.get_mut(&mailbox).ok_or_else(|| unknown_mailbox(mailbox))
    }

    pub(super) fn settle(&mut self, settlement: &Settlement) -> Result<(), StoreError> {
        for window in &settlement.windows {
            self.connection
                .prepare_cached("DELETE FROM window WHERE id = ?1")?
                .execute([window.0])?;
        }
        self.end_moves(&settlement.moves)?;
        for (mailbox, outcome) in &settlement.outcomes {
            self.record(*mailbox, std::slice::from_ref(outcome))?;
        }
        for Doubt { mailbox, uid, lo } in &settlement.doubted {
            self.connection
                .prepare_cached(
                    "INSERT INTO doubt (mailbox, uid, lo, lost) VALUES (?1, ?2, ?3, 1)
                     ON CONFLICT DO UPDATE SET lo = min(lo, excluded.lo), lost = lost + 1",
                )?
                .execute(params![mailbox.0, uid.0, lo.0])?;
        }
        Ok(())
    }

    pub(super) fn set_target_uid_next(
        &mut self,
        mailbox: MailboxId,
        uid_next: Uid,
    ) -> Result<(), StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("UPDATE mailbox SET target_uid_next = ?2 WHERE id = ?1")?;
        let changed = statement.execute(params![mailbox.0, uid_next.0])?;
        found(changed, || format!("mailbox {}", mailbox.0))
    }

    pub(super) fn set_remark(
        &mut self,
        mailbox: MailboxId,
        uid: Uid,
        kind: RemarkKind,
        text: Option<&str>,
    ) -> Result<(), StoreError> {
        let kind = codes::kind_code(kind);
        match text {
            Some(text) => self
                .connection
                .prepare_cached(
                    "INSERT INTO note (mailbox, uid, kind, text) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO UPDATE SET text = excluded.text",
                )?
                .execute(params![mailbox.0, uid.0, kind, text])?,
            None => self
                .connection
                .prepare_cached("DELETE FROM note WHERE mailbox = ?1 AND uid = ?2 AND kind = ?3")?
                .execute(params![mailbox.0, uid.0, kind])?,
        };
        Ok(())
    }

    pub(super) fn renumber(
        &mut self,
        old: MailboxId,
        new: MailboxId,
        uids: &[(Uid, Uid)],
    ) -> Result<(), StoreError> {
        self.headers.clear();
        // Bits of flags mean in the new mailbox what they meant in the old one.
        self.connection.execute(
            "INSERT OR IGNORE INTO keyword (mailbox, bit, name)
             SELECT ?2, bit, name FROM keyword WHERE mailbox = ?1",
            [old.0, new.0],
        )?;
        for (was, is) in uids {
            for table in ["message", "spill", "note", "doubt", "flags_in_doubt"] {
                let sql = format!(
                    "UPDATE OR REPLACE {table} SET mailbox = ?3, uid = ?4
                     WHERE mailbox = ?1 AND uid = ?2"
                );
                let mut statement = self.connection.prepare_cached(&sql)?;
                statement.execute(params![old.0, was.0, new.0, is.0])?;
            }
        }
        let unclaimed = format!("mailbox = ?1 AND NOT {}", codes::CLAIMED);
        let forget = format!(
            "DELETE FROM note WHERE mailbox = ?1
                 AND uid IN (SELECT uid FROM message WHERE {unclaimed});"
        );
        self.connection.execute(&forget, [old.0])?;
        self.connection.execute(&format!("DELETE FROM message WHERE {unclaimed}"), [old.0])?;
        self.connection.execute(
            "UPDATE mailbox SET (fixed, target_uid_next) =
                 (SELECT fixed, target_uid_next FROM mailbox WHERE id = ?1)
             WHERE id = ?2",
            [old.0, new.0],
        )?;
        self.connection
            .execute("UPDATE mailbox SET fixed = 0, fault = NULL WHERE id = ?1", [old.0])?;
        // What is held there under its old UID is owed under its new one.
        self.connection
            .execute("DELETE FROM window WHERE mailbox = ?1 AND stage IS NULL", [old.0])?;
        for mailbox in [old, new] {
            self.connection.execute(
                "UPDATE mailbox SET scan_vanished = 0, scan_uid_next = 0,
                     (scan_messages, scan_bytes) = (SELECT count(*), coalesce(sum(size), 0)
                         FROM message WHERE message.mailbox = ?1)
                 WHERE id = ?1",
                [mailbox.0],
            )?;
            self.connection.execute(NO_WATERMARK, [mailbox.0])?;
        }
        self.known.clear();
        Ok(())
    }

    pub(super) fn reset_target(
        &mut self,
        mailbox: MailboxId,
        validity: UidValidity,
    ) -> Result<(), StoreError> {
        let changed = self.connection.execute(
            "UPDATE mailbox SET target_validity = ?2, target_uid_next = 1 WHERE id = ?1",
            params![mailbox.0, validity.0],
        )?;
        found(changed, || format!("mailbox {}", mailbox.0))?;
        for sql in [
            "DELETE FROM note WHERE mailbox = ?1 AND uid IN
                 (SELECT uid FROM message WHERE mailbox = ?1 AND target_uid IS NOT NULL)",
            // Fate 0, pending; what went wrong before is kept.
            "UPDATE message SET fate = fate & ~15, target_uid = NULL
             WHERE mailbox = ?1 AND target_uid IS NOT NULL",
            "UPDATE window SET lo = 1 WHERE mailbox = ?1",
            // What is copied again has the flags of then.
            "DELETE FROM flags_in_doubt WHERE mailbox = ?1",
            NO_WATERMARK,
            "UPDATE doubt SET lo = 1 WHERE mailbox = ?1",
        ] {
            self.connection.execute(sql, [mailbox.0])?;
        }
        Ok(())
    }

    pub(super) fn scanned(
        &mut self,
        mailbox: MailboxId,
        scan: ScanTotals,
    ) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare_cached(
            "UPDATE mailbox SET scan_messages = ?2, scan_bytes = ?3, scan_vanished = ?4,
                 scan_uid_next = ?5
             WHERE id = ?1",
        )?;
        let changed = statement.execute(params![
            mailbox.0,
            codes::signed(scan.messages),
            codes::signed(scan.bytes),
            codes::signed(scan.vanished),
            scan.uid_next
        ])?;
        found(changed, || format!("mailbox {}", mailbox.0))
    }

    pub(super) fn set_mailbox_fault(
        &mut self,
        mailbox: MailboxId,
        fault: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut statement =
            self.connection.prepare_cached("UPDATE mailbox SET fault = ?2 WHERE id = ?1")?;
        let changed = statement.execute(params![mailbox.0, fault])?;
        if fault.is_some() {
            self.connection.prepare_cached(NO_WATERMARK)?.execute([mailbox.0])?;
        }
        found(changed, || format!("mailbox {}", mailbox.0))
    }

    pub(super) fn set_watermark(
        &mut self,
        mailbox: MailboxId,
        watermark: Option<Watermark>,
    ) -> Result<(), StoreError> {
        let Some(watermark) = watermark else {
            self.connection.prepare_cached(NO_WATERMARK)?.execute([mailbox.0])?;
            return Ok(());
        };
        let Watermark { uid_next, modseq, listed, counted, filter } = watermark;
        let done = match filter {
            Some(_) => codes::SETTLED_OR_FILTERED,
            None => codes::SETTLED,
        };
        let sql = format!(
            "INSERT OR REPLACE INTO watermark
                 (mailbox, uid_next, modseq, listed, messages, bytes, vanished, filter)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE ?5 - ?7 =
                 (SELECT count(*) FROM message WHERE mailbox = ?1 AND {done})"
        );
        self.connection.prepare_cached(&sql)?.execute(params![
            mailbox.0,
            uid_next.0,
            modseq.map(codes::signed),
            codes::signed(listed),
            codes::signed(counted.messages),
            codes::signed(counted.bytes),
            codes::signed(counted.vanished),
            filter.map(|filter| filter.0)
        ])?;
        Ok(())
    }
}

const NO_WATERMARK: &str = "DELETE FROM watermark WHERE mailbox = ?1";

fn ask(connection: &Connection, mailbox: MailboxId) -> Result<Known, StoreError> {
    let mut statement = connection.prepare_cached("SELECT fixed FROM mailbox WHERE id = ?1")?;
    let fixed: Option<bool> = statement.query_row([mailbox.0], |row| row.get(0)).optional()?;
    let mut statement =
        connection.prepare_cached("SELECT name, bit FROM keyword WHERE mailbox = ?1")?;
    let bits = statement.query_map([mailbox.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Known {
        fixed: fixed.ok_or_else(|| unknown_mailbox(mailbox))?,
        keyword_bits: bits.collect::<Result<_, _>>()?,
    })
}

fn unknown_mailbox(mailbox: MailboxId) -> StoreError {
    StoreError::Unknown(format!("mailbox {}", mailbox.0))
}

fn found(changed: usize, what: impl FnOnce() -> String) -> Result<(), StoreError> {
    if changed == 0 {
        return Err(StoreError::Unknown(what()));
    }
    Ok(())
}
