//! Mailboxes of our own at the target, in the file.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::ledger::{
    AccountId, Dissolved, MailboxId, MoveIntent, NewStage, NewWindow, OpenWindow, Outcome,
    OwnMailbox, Removal, Stage, StageId, StagedMessage, WindowId,
};
use crate::mail::{Uid, WireName};
use crate::own::OwnName;
use crate::target::ObjectId;

use super::error::StoreError;
use super::store::{EncodedWindow, Store};
use super::window;

/// The tables. A stage has a `lo` once a MOVE out of it was intended.
pub(super) const TABLES: &str = "
CREATE TABLE stage (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    mailbox INTEGER NOT NULL REFERENCES mailbox (id),
    epoch INTEGER NOT NULL,
    name TEXT NOT NULL UNIQUE,
    lo INTEGER
) STRICT;
CREATE TABLE staged (
    stage INTEGER NOT NULL,
    staged INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    object_id TEXT,
    arrived INTEGER NOT NULL,
    PRIMARY KEY (stage, staged)
) WITHOUT ROWID, STRICT;
CREATE TABLE object (
    mailbox INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    object_id TEXT NOT NULL,
    PRIMARY KEY (mailbox, uid, object_id)
) WITHOUT ROWID, STRICT;
CREATE TABLE own (
    account INTEGER NOT NULL REFERENCES account (id),
    name TEXT NOT NULL,
    target_name BLOB,
    target_uid INTEGER,
    PRIMARY KEY (account, name)
) WITHOUT ROWID, STRICT;
";

impl Store {
    /// Writes a stage; none, with nothing written, if its account was claimed again since.
    pub(super) fn open_stage(&mut self, stage: &NewStage) -> Result<Option<StageId>, StoreError> {
        let mut statement = self.connection().prepare_cached(
            "INSERT INTO stage (mailbox, epoch, name)
             SELECT mailbox.id, ?2, ?3 FROM mailbox JOIN account ON account.id = mailbox.account
             WHERE mailbox.id = ?1 AND account.epoch = ?2
             RETURNING id",
        )?;
        let row = params![stage.mailbox.0, stage.epoch, stage.name.as_str()];
        Ok(statement.query_row(row, |row| row.get(0).map(StageId)).optional()?)
    }

    pub(super) fn open_in_stage(
        &mut self,
        stage: StageId,
        window: &EncodedWindow,
    ) -> Result<Option<WindowId>, StoreError> {
        let Some(id) = self.open_window(window)? else {
            return Ok(None);
        };
        self.connection()
            .prepare_cached("UPDATE window SET stage = ?2 WHERE id = ?1")?
            .execute([id.0, stage.0])?;
        Ok(Some(id))
    }

    pub(super) fn intend_move(
        &mut self,
        stage: StageId,
        intent: &MoveIntent,
    ) -> Result<(), StoreError> {
        self.connection()
            .prepare_cached("UPDATE stage SET lo = ?2 WHERE id = ?1")?
            .execute(params![stage.0, intent.lo.0])?;
        let mut statement = self.connection().prepare_cached(
            "INSERT INTO staged (stage, staged, uid, object_id, arrived) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for message in &intent.messages {
            let object_id = message.object_id.as_ref().map(object_text);
            let StagedMessage { staged, uid, arrived, .. } = message;
            statement.execute(params![stage.0, staged.0, uid.0, object_id, arrived])?;
        }
        Ok(())
    }

    pub(super) fn note_arrived(&mut self, stage: StageId, uids: &[Uid]) -> Result<(), StoreError> {
        let mut statement = self
            .connection()
            .prepare_cached("UPDATE staged SET arrived = 1 WHERE stage = ?1 AND staged = ?2")?;
        for uid in uids {
            statement.execute(params![stage.0, uid.0])?;
        }
        Ok(())
    }

    /// Ends the windows of a stage; the stage itself stays until it is gone from the target.
    pub(super) fn deliver_stage(
        &mut self,
        stage: StageId,
        mailbox: MailboxId,
        outcomes: &[Outcome],
    ) -> Result<(), StoreError> {
        self.end_windows(stage)?;
        self.connection()
            .prepare_cached("UPDATE stage SET lo = NULL WHERE id = ?1")?
            .execute([stage.0])?;
        self.record(mailbox, outcomes)
    }

    /// Forgets a stage that is gone, in whatever state; what was in it is told.
    pub(super) fn dissolve_stage(
        &mut self,
        stage: StageId,
        mailbox: MailboxId,
        dissolved: &Dissolved,
    ) -> Result<(), StoreError> {
        self.connection()
            .prepare_cached(
                "INSERT OR IGNORE INTO object (mailbox, uid, object_id)
                 SELECT stage.mailbox, uid, object_id FROM staged JOIN stage ON stage.id = stage
                 WHERE stage = ?1 AND object_id IS NOT NULL",
            )?
            .execute([stage.0])?;
        self.end_windows(stage)?;
        self.connection().prepare_cached("DELETE FROM stage WHERE id = ?1")?.execute([stage.0])?;
        let mut statement = self.connection().prepare_cached(
            "INSERT INTO window (mailbox, epoch, lo, messages, acknowledged)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for (windows, acknowledged) in [(&dissolved.in_doubt, false), (&dissolved.arrived, true)] {
            for NewWindow { mailbox, epoch, lo, messages } in windows {
                let messages = window::encode(messages);
                statement.execute(params![mailbox.0, epoch, lo.0, messages, acknowledged])?;
            }
        }
        drop(statement);
        self.record(mailbox, &dissolved.outcomes)
    }

    fn end_windows(&mut self, stage: StageId) -> Result<(), StoreError> {
        for sql in ["DELETE FROM window WHERE stage = ?1", "DELETE FROM staged WHERE stage = ?1"] {
            self.connection().prepare_cached(sql)?.execute([stage.0])?;
        }
        Ok(())
    }

    pub(super) fn note_own(
        &mut self,
        account: AccountId,
        own: &OwnMailbox,
    ) -> Result<(), StoreError> {
        let removal = own.removal.as_ref();
        let row = params![
            account.0,
            own.name.as_str(),
            removal.map(|removal| &removal.target_name.0),
            removal.map(|removal| removal.target_uid.0)
        ];
        self.connection()
            .prepare_cached(
                "INSERT OR REPLACE INTO own (account, name, target_name, target_uid)
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(row)?;
        Ok(())
    }

    pub(super) fn count_removal(&mut self, mailbox: MailboxId, uid: Uid) -> Result<(), StoreError> {
        self.connection()
            .prepare_cached(
                "UPDATE doubt SET lost = max(lost - 1, 0) WHERE mailbox = ?1 AND uid = ?2",
            )?
            .execute(params![mailbox.0, uid.0])?;
        Ok(())
    }

    pub(super) fn forget_own(
        &mut self,
        account: AccountId,
        name: &OwnName,
    ) -> Result<(), StoreError> {
        self.connection()
            .prepare_cached("DELETE FROM own WHERE account = ?1 AND name = ?2")?
            .execute(params![account.0, name.as_str()])?;
        Ok(())
    }
}

pub(super) fn stages(
    connection: &Connection,
    account: AccountId,
) -> Result<Vec<Stage>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT stage.id, mailbox, epoch, name, lo FROM stage JOIN mailbox ON mailbox.id = mailbox
         WHERE account = ?1 ORDER BY stage.id",
    )?;
    let mut rows = statement.query([account.0])?;
    let mut stages = Vec::new();
    while let Some(row) = rows.next()? {
        let id = StageId(row.get(0)?);
        let lo: Option<u32> = row.get(4)?;
        let intent = match lo {
            Some(lo) => Some(MoveIntent { lo: Uid(lo), messages: staged(connection, id)? }),
            None => None,
        };
        stages.push(Stage {
            id,
            stage: NewStage {
                mailbox: MailboxId(row.get(1)?),
                epoch: row.get(2)?,
                name: own_name(&row.get::<_, String>(3)?)?,
            },
            windows: windows(connection, id)?,
            intent,
        });
    }
    Ok(stages)
}

fn windows(connection: &Connection, stage: StageId) -> Result<Vec<OpenWindow>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, mailbox, epoch, lo, messages FROM window WHERE stage = ?1 ORDER BY id",
    )?;
    let mut rows = statement.query([stage.0])?;
    let mut windows = Vec::new();
    while let Some(row) = rows.next()? {
        let blob: Vec<u8> = row.get(4)?;
        let window = NewWindow {
            mailbox: MailboxId(row.get(1)?),
            epoch: row.get(2)?,
            lo: Uid(row.get(3)?),
            messages: window::decode(&blob)?,
        };
        windows.push(OpenWindow { id: WindowId(row.get(0)?), window, acknowledged: false });
    }
    Ok(windows)
}

fn staged(connection: &Connection, stage: StageId) -> Result<Vec<StagedMessage>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT staged, uid, object_id, arrived FROM staged WHERE stage = ?1 ORDER BY staged",
    )?;
    let message = |row: &Row<'_>| {
        Ok(StagedMessage {
            staged: Uid(row.get(0)?),
            uid: Uid(row.get(1)?),
            object_id: row.get::<_, Option<String>>(2)?.as_deref().and_then(object_id),
            arrived: row.get(3)?,
        })
    };
    let messages = statement.query_map([stage.0], message)?;
    Ok(messages.collect::<Result<_, _>>()?)
}

/// The object ids of messages that were moved and not found, of all source mailboxes that go where
/// this one goes.
pub(super) fn moved_ids(
    connection: &Connection,
    mailbox: MailboxId,
) -> Result<Vec<(MailboxId, Uid, ObjectId)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT object.mailbox, uid, object_id FROM mailbox AS own
         JOIN mailbox AS other ON other.account = own.account AND other.target_name = own.target_name
         JOIN object ON object.mailbox = other.id
         WHERE own.id = ?1 ORDER BY object.mailbox, uid, object_id",
    )?;
    let mut rows = statement.query([mailbox.0])?;
    let mut ids = Vec::new();
    while let Some(row) = rows.next()? {
        if let Some(id) = object_id(&row.get::<_, String>(2)?) {
            ids.push((MailboxId(row.get(0)?), Uid(row.get(1)?), id));
        }
    }
    Ok(ids)
}

pub(super) fn own_mailboxes(
    connection: &Connection,
    account: AccountId,
) -> Result<Vec<OwnMailbox>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT name, target_name, target_uid FROM own WHERE account = ?1 ORDER BY name",
    )?;
    let mut rows = statement.query([account.0])?;
    let mut own = Vec::new();
    while let Some(row) = rows.next()? {
        let target_name: Option<Vec<u8>> = row.get(1)?;
        let target_uid: Option<u32> = row.get(2)?;
        let removal = target_name
            .zip(target_uid)
            .map(|(name, uid)| Removal { target_name: WireName(name), target_uid: Uid(uid) });
        own.push(OwnMailbox { name: own_name(&row.get::<_, String>(0)?)?, removal });
    }
    Ok(own)
}

/// A name that was changed in the file is nobody's to delete.
fn own_name(text: &str) -> Result<OwnName, StoreError> {
    let damaged = || StoreError::Damaged(format!("the name of a mailbox of its own, {text:?}"));
    OwnName::parse(text).ok_or_else(damaged)
}

/// `D` or `C`, and the id.
fn object_text(id: &ObjectId) -> String {
    match id {
        ObjectId::Delivery(id) => format!("D{id}"),
        ObjectId::Content(id) => format!("C{id}"),
    }
}

fn object_id(text: &str) -> Option<ObjectId> {
    match (text.get(..1)?, text.get(1..)?.to_owned()) {
        ("D", id) => Some(ObjectId::Delivery(id)),
        ("C", id) => Some(ObjectId::Content(id)),
        _ => None,
    }
}
