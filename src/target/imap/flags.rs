//! STORE of flags: what was set or taken away at the source, and nothing else.

use std::collections::BTreeSet;

use super::ImapTarget;
use crate::fault::{Fault, Scope};
use crate::imap::reply::{self, StatusKind, uid_set};
use crate::mail::Uid;
use crate::target::FlagChange;

/// So many UIDs are named in a command: a line of a few KiB is what every server takes.
const UIDS_MAX: usize = 400;

/// A UID so far above UIDNEXT is no message's, and none's soon. The highest number there is would not
/// do: to some servers it is `*`, the last message.
const FAR_AHEAD: u32 = 1_000_000_000;
/// So many keywords are named in a command.
const KEYWORDS_MAX: usize = 50;

impl ImapTarget {
    /// Asks whether the server takes keywords, by a STORE that is about no message (RFC 9051 section
    /// 6.4.9 has that ignored). It reads flags there as it does in an APPEND, and where it does not
    /// like them no mail is on its way that it could take for commands. A server that refuses is
    /// not asked again: there each keyword is tried with a message.
    ///
    /// # Errors
    ///
    /// A session fault where the connection breaks.
    pub(super) async fn try_keywords(&mut self, keywords: &BTreeSet<String>) -> Result<(), Fault> {
        let Some(open) = self.open.as_ref().filter(|_| self.tries_keywords) else {
            return Ok(());
        };
        let Some(nobody) = open.uid_next.0.checked_add(FAR_AHEAD).filter(|uid| *uid < u32::MAX)
        else {
            return Ok(());
        };
        let unproven = open.storable.unproven(keywords.iter().map(String::as_str));
        for part in unproven.chunks(KEYWORDS_MAX) {
            let command = format!("UID STORE {nobody} +FLAGS.SILENT ({})", part.join(" "));
            let done =
                self.selected().await?.run(&command, "ask which keywords the target takes").await?;
            if done.status.kind != StatusKind::Ok {
                self.tries_keywords = false;
                return Ok(());
            }
            if let Some(open) = &self.open {
                open.storable.read(part);
            }
        }
        Ok(())
    }

    /// Changes flags of messages of the open mailbox; gives those that the server does not store, or does not
    /// take away.
    pub(super) async fn store(
        &mut self,
        uids: &[Uid],
        change: FlagChange,
        names: &[String],
    ) -> Result<Vec<String>, Fault> {
        let Some(open) = &self.open else {
            debug_assert!(false, "flags before open");
            return Ok(Vec::new());
        };
        let (names, mut left_out): (Vec<String>, Vec<String>) =
            names.iter().cloned().partition(|name| open.storable.takes(name));
        if change == FlagChange::Unset {
            left_out.clear(); // No copy has them.
        }
        if names.is_empty() || self.all(uids, change, &names).await? {
            return Ok(left_out);
        }
        // One of them is to blame.
        for name in names {
            if !self.all(uids, change, std::slice::from_ref(&name)).await? {
                left_out.push(name);
            }
        }
        Ok(left_out)
    }

    /// Whether the server takes all these flags.
    async fn all(
        &mut self,
        uids: &[Uid],
        change: FlagChange,
        names: &[String],
    ) -> Result<bool, Fault> {
        let action = "change flags at the target";
        let verb = match change {
            FlagChange::Set => "+FLAGS.SILENT",
            FlagChange::Unset => "-FLAGS.SILENT",
        };
        for part in uids.chunks(UIDS_MAX) {
            let command = format!("UID STORE {} {verb} ({})", uid_set(part), names.join(" "));
            let status = self.selected().await?.run(&command, action).await?.status;
            if status.kind == StatusKind::Ok {
                continue;
            }
            // Dovecot says LIMIT of a mailbox that has all the keywords it can have.
            let is_full = status.code == "LIMIT";
            let fault = reply::fault(action, status, Scope::Message);
            if fault.scope > Scope::Message && !is_full {
                return Err(fault.at(self.connection.side()));
            }
            return Ok(false);
        }
        Ok(true)
    }
}
