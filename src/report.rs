//! What is told at the end: totals, verdict and exit code over all passes, from the ledger alone.

mod compared;
mod cutover;
mod files;
mod left_out;
mod planned;
mod screen;
mod tuned;

use std::collections::BTreeMap;

use crate::fate::{Fate, RemarkKind};
use crate::ledger::{AccountSnapshot, AccountState, Count, MailboxSnapshot, Snapshot};

pub use compared::{AccountFindings, Comparison, FailedMailbox, Findings, MailboxFindings};
pub use cutover::{Cutover, Switch};
pub use files::{status_json, write_csv, write_json};
pub use left_out::{LeftOut, LeftOutMailbox};
pub use planned::{AccountPlan, MailboxPlan, Plans, Preview};
pub use screen::{status_text, summary_text};
pub use tuned::{Limited, Measured, Measuring};

/// Sums over mailboxes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages by fate; no entry where there is none.
    pub fates: BTreeMap<Fate, Count>,
    /// Messages by remark, reasons left out.
    pub remarks: BTreeMap<RemarkKind, u64>,
    /// Messages sent whose outcome is unknown; they count as pending.
    pub in_doubt: u64,
}

impl Totals {
    /// The sums over these mailboxes.
    #[must_use]
    pub fn of<'a>(mailboxes: impl IntoIterator<Item = &'a MailboxSnapshot>) -> Self {
        let mut totals = Self::default();
        for mailbox in mailboxes {
            for (fate, count) in &mailbox.fates {
                let total = totals.fates.entry(*fate).or_default();
                total.messages += count.messages;
                total.bytes = total.bytes.saturating_add(count.bytes);
            }
            for (kind, messages) in &mailbox.remarks {
                *totals.remarks.entry(*kind).or_default() += messages;
            }
            totals.in_doubt += mailbox.in_doubt;
        }
        totals
    }

    /// The sums over a whole snapshot.
    #[must_use]
    pub fn of_all(snapshot: &Snapshot) -> Self {
        Self::of(snapshot.accounts.iter().flat_map(|a| &a.mailboxes))
    }

    /// Messages of these fates together.
    #[must_use]
    pub fn sum(&self, fates: &[Fate]) -> Count {
        let counts = fates.iter().filter_map(|fate| self.fates.get(fate));
        counts.fold(Count::default(), |sum, count| Count {
            messages: sum.messages + count.messages,
            bytes: sum.bytes.saturating_add(count.bytes),
        })
    }
}

/// How a run ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every message ever seen is on the target, was left out as asked, or was deleted at the source.
    Done,
    /// Some messages or accounts are missing, and listed.
    Incomplete,
    /// Some messages may be on the target, or be there twice, and a person must look.
    InDoubt,
    /// The run was told to stop before it was through. Only its caller can know.
    Stopped,
}

impl Verdict {
    /// What the ledger says of runs that went to their end.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        Self::of_accounts(snapshot.accounts.iter())
    }

    /// The same of some accounts: those of one wave, say.
    #[must_use]
    pub fn of_accounts<'a>(accounts: impl Iterator<Item = &'a AccountSnapshot> + Clone) -> Self {
        let totals = Totals::of(accounts.clone().flat_map(|account| &account.mailboxes));
        let duplicates = totals.remarks.get(&RemarkKind::PossibleDuplicate);
        if totals.sum(&[Fate::Held]).messages > 0 || duplicates.is_some_and(|n| *n > 0) {
            Self::InDoubt
        } else if accounts.into_iter().all(is_through) {
            Self::Done
        } else {
            Self::Incomplete
        }
    }

    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Incomplete => 3,
            Self::InDoubt => 4,
            Self::Stopped => 75,
        }
    }
}

fn is_through(account: &AccountSnapshot) -> bool {
    account.state == AccountState::Done && account.mailboxes.iter().all(is_complete)
}

/// Whether nothing of a mailbox is missing, and the counts prove it.
fn is_complete(mailbox: &MailboxSnapshot) -> bool {
    let missing = Totals::of([mailbox]).sum(&[
        Fate::Refused,
        Fate::Unreadable,
        Fate::Lost,
        Fate::Held,
        Fate::Pending,
    ]);
    missing.messages == 0 && mailbox.fault.is_none() && adds_up(mailbox)
}

/// Whether every message ever seen has exactly one fate.
fn adds_up(mailbox: &MailboxSnapshot) -> bool {
    Totals::of([mailbox]).sum(&Fate::ALL).messages == mailbox.messages
}

/// Why an account is not through, where that is told of the account itself.
fn account_problem(account: &AccountSnapshot) -> Option<String> {
    let said = match account.state {
        AccountState::Done => return None,
        AccountState::Failed => "failed",
        AccountState::Stopped => "stopped before it was through",
        AccountState::Running => "begun and not through",
        AccountState::Waiting => "not begun",
    };
    Some(with_cause(said, account.reason.as_deref()))
}

/// Why a mailbox is not complete, beside what is said of its single messages.
fn mailbox_problem(mailbox: &MailboxSnapshot) -> Option<String> {
    let pending = Totals::of([mailbox]).sum(&[Fate::Pending]).messages;
    let fault = mailbox.fault.as_deref();
    if pending > 0 {
        let said = format!("{pending} messages not copied yet");
        return Some(with_cause(&said, fault));
    }
    if !adds_up(mailbox) {
        let counted = Totals::of([mailbox]).sum(&Fate::ALL).messages;
        let said = format!("{} messages seen, but {counted} accounted for", mailbox.messages);
        return Some(with_cause(&said, fault));
    }
    fault.map(str::to_owned)
}

fn with_cause(said: &str, cause: Option<&str>) -> String {
    cause.map_or_else(|| said.to_owned(), |cause| format!("{said}: {cause}"))
}

#[cfg(test)]
mod tests {
    use crate::ledger::AccountName;
    use crate::mail::MailboxPath;

    use super::*;

    pub(super) fn mailbox(fates: &[(Fate, u64)]) -> MailboxSnapshot {
        let count = |messages| Count { messages, bytes: messages * 1_024 };
        MailboxSnapshot {
            source: MailboxPath::new(["Archive", "2019"]),
            target: MailboxPath::new(["Archive", "2019"]),
            fault: None,
            messages: fates.iter().map(|(_, messages)| messages).sum(),
            fates: fates.iter().map(|(fate, n)| (*fate, count(*n))).collect(),
            remarks: BTreeMap::new(),
            in_doubt: 0,
        }
    }

    pub(super) fn account(mailboxes: Vec<MailboxSnapshot>) -> AccountSnapshot {
        AccountSnapshot {
            name: AccountName {
                key: "anna".to_owned(),
                source: "anna@old.example".to_owned(),
                target: "anna@new.example".to_owned(),
            },
            state: AccountState::Done,
            reason: None,
            passes: 1,
            changed: 1_700_000_000,
            mailboxes,
        }
    }

    pub(super) fn snapshot(accounts: impl Into<Vec<AccountSnapshot>>) -> Snapshot {
        Snapshot { accounts: accounts.into() }
    }

    fn verdict(mailbox: MailboxSnapshot) -> Verdict {
        Verdict::of(&snapshot([account(vec![mailbox])]))
    }

    #[test]
    fn done_means_that_nothing_is_missing() {
        let fine = [Fate::Copied, Fate::Adopted, Fate::Merged, Fate::Filtered, Fate::Gone];
        for fate in Fate::ALL {
            let expected = match fate {
                Fate::Held => Verdict::InDoubt,
                _ if fine.contains(&fate) => Verdict::Done,
                _ => Verdict::Incomplete,
            };
            assert_eq!(verdict(mailbox(&[(fate, 1)])), expected, "{fate}");
        }
        assert_eq!(Verdict::of(&Snapshot::default()), Verdict::Done);
    }

    #[test]
    fn done_is_only_said_of_counts_that_add_up() {
        let mut off = mailbox(&[(Fate::Copied, 5)]);
        for seen in [4, 6] {
            off.messages = seen;
            assert_eq!(verdict(off.clone()), Verdict::Incomplete);
            let problem = mailbox_problem(&off).expect("told");
            assert_eq!(problem, format!("{seen} messages seen, but 5 accounted for"));
        }
    }

    #[test]
    fn a_remark_is_no_problem_but_a_possible_duplicate_is_the_worst() {
        let mut remarked = mailbox(&[(Fate::Copied, 5), (Fate::Refused, 1)]);
        remarked.remarks.insert(RemarkKind::FlagsReduced, 5);
        assert_eq!(verdict(remarked.clone()), Verdict::Incomplete);
        remarked.remarks.insert(RemarkKind::PossibleDuplicate, 1);
        assert_eq!(verdict(remarked), Verdict::InDoubt);
        let mut exact = mailbox(&[(Fate::Copied, 5)]);
        exact.remarks.insert(RemarkKind::DateAltered, 5);
        assert_eq!(verdict(exact), Verdict::Done);
    }

    #[test]
    fn a_fault_or_an_account_that_is_not_through_is_incomplete() {
        let mut hindered = mailbox(&[(Fate::Copied, 5)]);
        hindered.fault = Some("over quota".to_owned());
        assert_eq!(verdict(hindered), Verdict::Incomplete);
        for state in [AccountState::Failed, AccountState::Stopped, AccountState::Running] {
            let mut account = account(Vec::new());
            account.state = state;
            assert_eq!(Verdict::of(&snapshot([account])), Verdict::Incomplete);
        }
    }

    #[test]
    fn totals_are_sums_over_all_accounts() {
        let mut first = mailbox(&[(Fate::Copied, 5), (Fate::Gone, 1)]);
        first.in_doubt = 2;
        first.remarks.insert(RemarkKind::DateAltered, 1);
        let accounts =
            [account(vec![first.clone(), first]), account(vec![mailbox(&[(Fate::Copied, 1)])])];
        let totals = Totals::of_all(&snapshot(accounts));
        assert_eq!(totals.sum(&[Fate::Copied]).messages, 11);
        assert_eq!(totals.sum(&Fate::ALL).bytes, 13 * 1_024);
        assert_eq!((totals.in_doubt, totals.remarks[&RemarkKind::DateAltered]), (4, 2));
    }
}
