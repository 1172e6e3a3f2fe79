//! Which mailboxes a run left out, as it told.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::event::{Event, Observer};

/// Listens to a run for the mailboxes that it leaves out.
#[derive(Debug, Default)]
pub struct LeftOut {
    by_account: Mutex<BTreeMap<String, Vec<LeftOutMailbox>>>,
}

/// A mailbox that is not copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOutMailbox {
    /// The account's key.
    pub account: String,
    /// The source mailbox.
    pub mailbox: String,
    /// Why.
    pub reason: String,
}

impl LeftOut {
    /// All of them, account by account.
    #[must_use]
    pub fn mailboxes(&self) -> Vec<LeftOutMailbox> {
        let by_account = self.by_account.lock().unwrap_or_else(PoisonError::into_inner);
        by_account.values().flatten().cloned().collect()
    }
}

impl Observer for LeftOut {
    fn event(&self, event: &Event) {
        let mut by_account = self.by_account.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            // Told anew after a lost connection, and in the next pass.
            Event::AccountListed { account, .. } => {
                by_account.remove(&**account);
            }
            Event::MailboxPlanned { account, source, target: None, reason, .. } => {
                let (account, mailbox) = (account.to_string(), source.clone());
                let reason = reason.clone();
                let left_out = LeftOutMailbox { account: account.clone(), mailbox, reason };
                by_account.entry(account).or_default().push(left_out);
            }
            _ => {}
        }
    }
}
