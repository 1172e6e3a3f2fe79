//! What a comparison of both ends found: `verify.csv` line by line while it runs, then totals.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::files::{Draft, cell, fault};
use super::screen::{Lines, grouped};
use crate::accounts::Batch;
use crate::config::Depth;
use crate::difference::{Compared, Difference};
use crate::escape::display;
use crate::event::{Event, Observer};
use crate::fault::Fault;

const HEADER: [&str; 9] =
    ["account", "mailbox", "target", "kind", "source_uid", "target_uid", "size", "date", "detail"];

/// Listens to a comparison: writes each difference to a CSV, and keeps the sums.
pub struct Findings {
    inner: Mutex<Inner>,
    path: PathBuf,
}

struct Inner {
    /// None once it could not be written; the reason is told at the end.
    csv: Option<csv::Writer<Draft>>,
    failure: Option<csv::Error>,
    accounts: BTreeMap<String, AccountFindings>,
}

/// What was found of one account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AccountFindings {
    /// The source as people write it.
    pub source: String,
    /// The target as people write it.
    pub target: String,
    /// Whether all of it was compared.
    pub is_through: bool,
    /// Why it failed.
    pub reason: Option<String>,
    /// The sums over its mailboxes.
    pub totals: Compared,
    /// Its mailboxes, in the order they were compared.
    pub mailboxes: Vec<MailboxFindings>,
    /// Mailboxes that could not be compared, and why.
    pub failed: Vec<FailedMailbox>,
}

/// A mailbox that could not be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedMailbox {
    /// The source mailbox.
    pub mailbox: String,
    /// Why.
    pub reason: String,
}

/// What was found of one target mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MailboxFindings {
    /// The source mailbox, or those that go to the same target mailbox.
    pub source: String,
    /// The target mailbox.
    pub target: String,
    /// What was found.
    #[serde(flatten)]
    pub compared: Compared,
}

impl AccountFindings {
    /// Whether the target is as the source is.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.is_through && self.failed.is_empty() && self.totals.is_exact()
    }

    /// What is not the same, in a few words; none where all is.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        if let Some(reason) = &self.reason {
            return Some(format!("failed: {reason}"));
        }
        let mut found: Vec<String> = Difference::ALL
            .into_iter()
            .filter(|kind| kind.is_problem() && self.totals.count(*kind) > 0)
            .map(|kind| format!("{} {}", grouped(self.totals.count(kind)), kind.as_str()))
            .collect();
        if let Some(FailedMailbox { mailbox, reason }) = self.failed.first() {
            let mailboxes = match self.failed.len() {
                1 => "a mailbox".to_owned(),
                failed => format!("{failed} mailboxes"),
            };
            found.push(format!("{mailboxes} not compared ({mailbox}: {reason})"));
        }
        if !self.is_through {
            found.push("not compared to its end".to_owned());
        }
        (!found.is_empty()).then(|| found.join(", "))
    }
}

impl Findings {
    /// Begins the CSV; it takes its place when it is finished.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn create(path: &Path, batch: &Batch) -> Result<Self, Fault> {
        let draft = Draft::create(path).map_err(|error| fault(path, error))?;
        let mut csv = csv::Writer::from_writer(draft);
        csv.write_record(HEADER).map_err(|error| fault(path, error))?;
        let accounts = batch.accounts.iter().map(|account| {
            let name = account.name();
            let (source, target) = (name.source, name.target);
            (name.key, AccountFindings { source, target, ..AccountFindings::default() })
        });
        let inner = Inner { csv: Some(csv), failure: None, accounts: accounts.collect() };
        Ok(Self { inner: Mutex::new(inner), path: path.to_owned() })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the CSV and tells what was found.
    ///
    /// # Errors
    ///
    /// If it could not be written; an older one stays then.
    pub fn finish(&self) -> Result<Comparison, Fault> {
        let mut inner = self.inner();
        let mut accounts = std::mem::take(&mut inner.accounts);
        // Programs need not ask whether one is there.
        for account in accounts.values_mut() {
            Difference::ALL.into_iter().for_each(|kind| account.totals.note(kind, 0));
        }
        if let Some(error) = inner.failure.take() {
            return Err(fault(&self.path, error));
        }
        if let Some(csv) = inner.csv.take() {
            let draft = csv.into_inner().map_err(|error| fault(&self.path, error.into_error()))?;
            draft.finish().map_err(|error| fault(&self.path, error))?;
        }
        Ok(Comparison { accounts })
    }
}

impl Observer for Findings {
    fn event(&self, event: &Event) {
        self.inner().event(event);
    }
}

impl Inner {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Differs {
                account,
                mailbox,
                target,
                difference,
                source_uid,
                target_uid,
                size,
                date,
                text,
            } => {
                let uid = |uid: &Option<u32>| uid.map(|uid| uid.to_string()).unwrap_or_default();
                self.write([
                    account,
                    mailbox,
                    target,
                    difference.as_str(),
                    &uid(source_uid),
                    &uid(target_uid),
                    &size.to_string(),
                    date.as_deref().unwrap_or_default(),
                    text,
                ]);
            }
            Event::MailboxCompared { account, mailbox, target, compared } => {
                let (source, target) = (mailbox.clone(), target.clone());
                let found = self.account(account);
                found.totals.add(compared);
                let compared = compared.clone();
                found.mailboxes.push(MailboxFindings { source, target, compared });
            }
            Event::MailboxFailed { account, mailbox, side, reason } => {
                let reason = match side {
                    Some(side) => format!("{side}: {reason}"),
                    None => reason.clone(),
                };
                self.write([account, mailbox, "", "mailbox", "", "", "", "", &reason]);
                let mailbox = mailbox.clone();
                self.account(account).failed.push(FailedMailbox { mailbox, reason });
            }
            Event::MailboxPlanned { account, source, target: None, reason, .. } => {
                self.write([account, source, "", "left-out", "", "", "", "", reason]);
            }
            Event::ExtraMailbox { account, target, messages } => {
                let detail = format!("only the target has this mailbox, with {messages} messages");
                self.write([account, "", target, "extra", "", "", "", "", &detail]);
            }
            Event::AccountCompared { account, .. } => self.account(account).is_through = true,
            Event::AccountFailed { account, side, reason, .. } => {
                let reason = match side {
                    Some(side) => format!("{side}: {reason}"),
                    None => reason.clone(),
                };
                self.write([account, "", "", "account", "", "", "", "", &reason]);
                self.account(account).reason = Some(reason);
            }
            _ => {}
        }
    }

    fn account(&mut self, key: &str) -> &mut AccountFindings {
        self.accounts.entry(key.to_owned()).or_default()
    }

    fn write(&mut self, cells: [&str; HEADER.len()]) {
        let cells = cells.map(cell);
        let written = self.csv.as_mut().map(|csv| csv.write_record(cells.iter().map(|c| &**c)));
        if let Some(Err(error)) = written {
            self.csv = None;
            self.failure = Some(error);
        }
    }
}

/// What a comparison of a batch found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// By account key.
    pub accounts: BTreeMap<String, AccountFindings>,
}

impl Comparison {
    /// Whether every target is as its source is.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.accounts.values().all(AccountFindings::is_exact)
    }

    /// The sums over all accounts.
    #[must_use]
    pub fn totals(&self) -> Compared {
        let mut totals = Compared::default();
        for account in self.accounts.values() {
            totals.add(&account.totals);
        }
        totals
    }

    /// The closing screen.
    #[must_use]
    pub fn text(&self, depth: Depth, exit_code: u8, report: &Path) -> String {
        let mut text = Lines::default();
        let exact = self.accounts.values().filter(|account| account.is_exact()).count();
        let headline = if self.is_exact() { "Verified" } else { "Verified, with differences" };
        text.line(format_args!(
            "{headline}: {} of {} accounts are the same at both ends ({})",
            grouped(exact as u64),
            grouped(self.accounts.len() as u64),
            depth_text(depth),
        ));
        let totals = self.totals();
        text.line(format_args!("  {:<12}{:>13} messages", "source", grouped(totals.source)));
        text.line(format_args!("  {:<12}{:>13} messages", "same", grouped(totals.same)));
        for kind in Difference::ALL {
            let messages = totals.count(kind);
            if messages > 0 {
                let note = if kind.is_problem() { "" } else { ", no difference to mend" };
                let messages = grouped(messages);
                text.line(format_args!("  {:<12}{messages:>13} messages{note}", kind.as_str()));
            }
        }
        let problems = self.accounts.values().filter_map(|account| {
            Some(format!("{}  {}", display(&account.source), display(&account.problem()?)))
        });
        text.list("accounts", problems.collect());
        let report = report.display().to_string();
        text.line(format_args!("  report      {}", display(&report)));
        text.line(format_args!("exit code {exit_code}"));
        text.0
    }

    /// Writes `verify.json`. Names in it are only added; `version` changes when one goes.
    ///
    /// # Errors
    ///
    /// If the file cannot be written; an older one stays then.
    pub fn write_json(&self, depth: Depth, exit_code: u8, path: &Path) -> Result<(), Fault> {
        let accounts = self.accounts.iter();
        let report = Report {
            version: 1,
            exit_code,
            depth: depth_text(depth),
            totals: self.totals(),
            accounts: accounts.map(|(account, findings)| Account { account, findings }).collect(),
        };
        Draft::write_json(&report, path)
    }
}

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    exit_code: u8,
    depth: String,
    totals: Compared,
    accounts: Vec<Account<'a>>,
}

#[derive(Serialize)]
struct Account<'a> {
    account: &'a str,
    #[serde(flatten)]
    findings: &'a AccountFindings,
}

fn depth_text(depth: Depth) -> String {
    match depth {
        Depth::Full => "all bodies read".to_owned(),
        Depth::Sample(per_myriad) => {
            format!("{} % of the bodies read", f64::from(per_myriad) / 100.0)
        }
        Depth::Fast => "by size, date and header lines".to_owned(),
    }
}
