//! Which mailbox of every account would go where: kept while it is told, shown account by account.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::screen::{Lines, bytes, grouped};
use crate::accounts::Batch;
use crate::escape::display;
use crate::event::{Event, Observer};

/// Listens to a preview.
pub struct Plans {
    inner: Mutex<Preview>,
}

/// What would become of the mailboxes of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// In the order of the CSV.
    pub accounts: Vec<AccountPlan>,
    #[serde(skip)]
    by_key: BTreeMap<String, usize>,
}

/// What would become of the mailboxes of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AccountPlan {
    /// How the ledger knows it.
    pub account: String,
    /// The source as people write it.
    pub source: String,
    /// The target as people write it.
    pub target: String,
    /// Whether both ends were listed.
    pub is_through: bool,
    /// Why it failed.
    pub reason: Option<String>,
    /// Its mailboxes: those that are left out, then the others.
    pub mailboxes: Vec<MailboxPlan>,
}

/// What would become of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MailboxPlan {
    /// The source mailbox.
    pub source: String,
    /// The target mailbox; none if it is left out.
    pub target: Option<String>,
    /// Why so.
    pub reason: String,
    /// Whether the target has it already.
    pub exists: Option<bool>,
    /// Messages in it, where the source told.
    pub messages: Option<u64>,
    /// Their bytes, where the source told.
    pub bytes: Option<u64>,
    /// Which other mailbox gets in its way, if one does.
    pub collision: Option<String>,
}

impl Plans {
    /// For the accounts of a batch.
    #[must_use]
    pub fn new(batch: &Batch) -> Self {
        let mut preview = Preview::default();
        for account in &batch.accounts {
            let name = account.name();
            preview.by_key.insert(name.key.clone(), preview.accounts.len());
            preview.accounts.push(AccountPlan {
                account: name.key,
                source: name.source,
                target: name.target,
                ..AccountPlan::default()
            });
        }
        Self { inner: Mutex::new(preview) }
    }

    /// What was told.
    #[must_use]
    pub fn preview(&self) -> Preview {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for Plans {
    fn event(&self, event: &Event) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).event(event);
    }
}

impl Preview {
    fn event(&mut self, event: &Event) {
        match event {
            // Told anew after a lost connection.
            Event::AccountListed { account, .. } => {
                if let Some(account) = self.account(account) {
                    account.mailboxes.clear();
                }
            }
            Event::MailboxPlanned {
                account,
                source,
                target,
                reason,
                exists,
                messages,
                bytes,
                collision,
            } => {
                if let Some(account) = self.account(account) {
                    account.mailboxes.push(MailboxPlan {
                        source: source.clone(),
                        target: target.clone(),
                        reason: reason.clone(),
                        exists: *exists,
                        messages: *messages,
                        bytes: *bytes,
                        collision: collision.clone(),
                    });
                }
            }
            Event::AccountPlanned { account } => {
                if let Some(account) = self.account(account) {
                    account.is_through = true;
                }
            }
            Event::AccountFailed { account, side, reason, .. } => {
                let side = side.map(|side| format!("{side}: ")).unwrap_or_default();
                if let Some(account) = self.account(account) {
                    account.reason = Some(format!("{side}{reason}"));
                }
            }
            _ => {}
        }
    }

    fn account(&mut self, key: &str) -> Option<&mut AccountPlan> {
        self.accounts.get_mut(*self.by_key.get(key)?)
    }

    /// Whether both ends of every account were listed.
    #[must_use]
    pub fn is_through(&self) -> bool {
        self.accounts.iter().all(|account| account.is_through)
    }

    /// The same for programs. Names in it are only added; `version` changes when one goes.
    #[must_use]
    pub fn json(&self, exit_code: u8) -> String {
        let report = Report { version: 1, exit_code, accounts: &self.accounts };
        // Plain data into memory: there is nothing to fail at.
        let mut text = serde_json::to_string_pretty(&report).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The screen.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = Lines::default();
        for account in &self.accounts {
            account.show(&mut text);
        }
        let planned = self.accounts.iter().filter(|account| account.is_through).count();
        let mailboxes = || self.accounts.iter().flat_map(|account| &account.mailboxes);
        let count = |is_meant: &dyn Fn(&MailboxPlan) -> bool| {
            grouped(mailboxes().filter(|mailbox| is_meant(mailbox)).count() as u64)
        };
        text.line(format_args!(
            "{} of {} accounts planned: {} mailboxes to copy, {} to make, {} left out, {} collisions; \
             {} messages",
            grouped(planned as u64),
            grouped(self.accounts.len() as u64),
            count(&|mailbox| mailbox.target.is_some()),
            count(&|mailbox| mailbox.exists == Some(false)),
            count(&|mailbox| mailbox.target.is_none()),
            count(&|mailbox| mailbox.collision.is_some()),
            grouped(mailboxes().filter_map(|mailbox| mailbox.messages).sum()),
        ));
        text.line(format_args!("Nothing was written on any server."));
        text.0
    }
}

impl AccountPlan {
    fn show(&self, text: &mut Lines) {
        text.line(format_args!("{} -> {}", display(&self.source), display(&self.target)));
        if let Some(reason) = &self.reason {
            text.line(format_args!("  failed: {}", display(reason)));
        } else if !self.is_through {
            text.line(format_args!("  not listed to its end"));
        }
        let rows: Vec<[String; 5]> = self.mailboxes.iter().map(MailboxPlan::row).collect();
        let mut widths = [0; 4];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let [source, target, messages, size] = widths;
        for (row, mailbox) in rows.iter().zip(&self.mailboxes) {
            text.line(format_args!(
                "  {:source$}  {:target$}  {:>messages$}  {:>size$}  {}",
                row[0], row[1], row[2], row[3], row[4]
            ));
            if let Some(collision) = &mailbox.collision {
                text.line(format_args!("      collision: {}", display(collision)));
            }
        }
    }
}

impl MailboxPlan {
    fn row(&self) -> [String; 5] {
        let target = match &self.target {
            Some(target) => {
                let new = if self.exists == Some(false) { " (new)" } else { "" };
                format!("-> {}{new}", display(target))
            }
            None => "left out".to_owned(),
        };
        let messages = self.messages.map(grouped).unwrap_or_default();
        let size = self.bytes.map(bytes).unwrap_or_default();
        let (source, reason) = (display(&self.source), display(&self.reason));
        [source.into_owned(), target, messages, size, reason.into_owned()]
    }
}

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    exit_code: u8,
    accounts: &'a [AccountPlan],
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(source: &str, target: Option<&str>, collision: Option<&str>) -> Event {
        Event::MailboxPlanned {
            account: "key".into(),
            source: source.to_owned(),
            target: target.map(str::to_owned),
            reason: if target.is_some() { "same name" } else { "--exclude Spam" }.to_owned(),
            exists: target.map(|target| target == "INBOX"),
            messages: target.map(|_| 1_234),
            bytes: target.map(|_| 2_048),
            collision: collision.map(str::to_owned),
        }
    }

    #[test]
    fn a_plan_is_a_table_for_each_account_and_is_told_anew_after_a_lost_connection() {
        let mut preview = Preview::default();
        for (key, source) in [("key", "anna@old"), ("other", "ben@old")] {
            preview.by_key.insert(key.to_owned(), preview.accounts.len());
            let (source, target) = (source.to_owned(), "new".to_owned());
            preview.accounts.push(AccountPlan { source, target, ..AccountPlan::default() });
        }
        let listed = Event::AccountListed {
            account: "key".into(),
            mailboxes: 2,
            messages: None,
            bytes: None,
        };
        preview.event(&listed);
        preview.event(&planned("Half", Some("Half"), None));
        for event in [
            listed,
            planned("Spam", None, None),
            planned("INBOX", Some("INBOX"), None),
            planned("a\nb", Some("Work (2)"), Some("Work goes to Work")),
            Event::AccountPlanned { account: "key".into() },
            Event::AccountFailed {
                account: "other".into(),
                side: Some(crate::fault::Side::Target),
                reason: "no".to_owned(),
                hint: String::new(),
            },
        ] {
            preview.event(&event);
        }
        assert!(!preview.is_through());
        let expected = "\
anna@old -> new
  Spam     left out                           --exclude Spam
  INBOX    -> INBOX           1,234  2.0 KiB  same name
  a\\u{a}b  -> Work (2) (new)  1,234  2.0 KiB  same name
      collision: Work goes to Work
ben@old -> new
  failed: target: no
1 of 2 accounts planned: 2 mailboxes to copy, 1 to make, 1 left out, 1 collisions; 2,468 messages
Nothing was written on any server.
";
        assert_eq!(preview.text(), expected);
    }
}
