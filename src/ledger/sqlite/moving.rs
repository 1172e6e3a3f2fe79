//! Copies that are moved at the target, in the file.

use rusqlite::{Connection, params};

use crate::ledger::{AccountId, MailboxId, MoveId, NewMove, OpenMove};
use crate::mail::Uid;

use super::error::StoreError;
use super::store::Store;

/// The table.
pub(super) const TABLE: &str = "
CREATE TABLE moving (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    mailbox INTEGER NOT NULL REFERENCES mailbox (id),
    uid INTEGER NOT NULL,
    to_mailbox INTEGER NOT NULL REFERENCES mailbox (id),
    to_uid INTEGER NOT NULL,
    target_uid INTEGER NOT NULL,
    lo INTEGER NOT NULL
) STRICT;
";

impl Store {
    /// Writes what is about to be moved; none, with nothing written, if the account was claimed again
    /// since.
    pub(super) fn intend_moves(
        &mut self,
        account: AccountId,
        epoch: i64,
        moves: &[NewMove],
    ) -> Result<Option<Vec<OpenMove>>, StoreError> {
        let mut statement =
            self.connection().prepare_cached("SELECT epoch = ?2 FROM account WHERE id = ?1")?;
        let is_ours: bool = statement.query_row(params![account.0, epoch], |row| row.get(0))?;
        if !is_ours {
            return Ok(None);
        }
        let mut statement = self.connection().prepare_cached(
            "INSERT INTO moving (mailbox, uid, to_mailbox, to_uid, target_uid, lo)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        let mut open = Vec::with_capacity(moves.len());
        for intent in moves {
            let NewMove { from, to, target_uid, lo } = intent;
            let (mailbox, to_mailbox) = (from.0.0, to.0.0);
            let row = params![mailbox, from.1.0, to_mailbox, to.1.0, target_uid.0, lo.0];
            open.push(OpenMove { id: MoveId(statement.insert(row)?), intent: *intent });
        }
        Ok(Some(open))
    }

    pub(super) fn end_moves(&self, moves: &[MoveId]) -> Result<(), StoreError> {
        let mut statement = self.connection().prepare_cached("DELETE FROM moving WHERE id = ?1")?;
        for id in moves {
            statement.execute([id.0])?;
        }
        Ok(())
    }
}

pub(super) fn open_moves(
    connection: &Connection,
    account: AccountId,
) -> Result<Vec<OpenMove>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT moving.id, mailbox, uid, to_mailbox, to_uid, target_uid, lo
         FROM moving JOIN mailbox ON mailbox.id = mailbox WHERE account = ?1 ORDER BY moving.id",
    )?;
    let rows = statement.query_map([account.0], |row| {
        let intent = NewMove {
            from: (MailboxId(row.get(1)?), Uid(row.get(2)?)),
            to: (MailboxId(row.get(3)?), Uid(row.get(4)?)),
            target_uid: Uid(row.get(5)?),
            lo: Uid(row.get(6)?),
        };
        Ok(OpenMove { id: MoveId(row.get(0)?), intent })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
