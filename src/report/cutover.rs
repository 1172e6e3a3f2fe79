//! Whether accounts may be switched: what the ledger says of all passes, and what a comparison found.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use super::files::Draft;
use super::screen::{Lines, grouped};
use super::{AccountFindings, Comparison, Totals, account_problem, mailbox_problem};
use crate::difference::Difference;
use crate::escape::display;
use crate::fate::Fate;
use crate::fault::Fault;
use crate::ledger::{AccountSnapshot, Snapshot};

/// Differences that mean that mail of the source is not on the target.
const LOSSES: [Difference; 3] = [Difference::Missing, Difference::Content, Difference::Unreadable];
/// Differences that leave all mail on the target.
const INEXACT: [Difference; 6] = [
    Difference::Doubled,
    Difference::Merged,
    Difference::Rewritten,
    Difference::MovedAtTarget,
    Difference::Date,
    Difference::Flags,
];

/// Whether the accounts of a batch may be switched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cutover {
    /// By account key.
    pub accounts: Vec<Switch>,
}

/// Whether an account may be switched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Switch {
    /// How the ledger knows it.
    pub account: String,
    /// The source as people write it.
    pub source: String,
    /// The target as people write it.
    pub target: String,
    /// Whether all of its mail is on the target.
    pub is_safe: bool,
    /// Why not.
    pub reasons: Vec<String>,
    /// What is on the target and not exactly as at the source, or was left out as asked.
    pub not_exact: Vec<String>,
}

impl Cutover {
    /// Judges the accounts that were compared after their last pass.
    #[must_use]
    pub fn of(snapshot: &Snapshot, comparison: &Comparison) -> Self {
        let accounts = comparison.accounts.iter().map(|(key, found)| {
            let known = snapshot.accounts.iter().find(|account| account.name.key == *key);
            Switch::of(key, known, found)
        });
        Self { accounts: accounts.collect() }
    }

    /// Whether all of them may be.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.accounts.iter().all(|account| account.is_safe)
    }

    /// The closing screen: a line for each account.
    #[must_use]
    pub fn text(&self, exit_code: u8, report: &Path) -> String {
        let mut text = Lines::default();
        let safe = self.accounts.iter().filter(|account| account.is_safe).count();
        text.line(format_args!(
            "Safe to switch: {} of {} accounts",
            grouped(safe as u64),
            grouped(self.accounts.len() as u64)
        ));
        for account in &self.accounts {
            let verdict = if account.is_safe { "safe" } else { "NOT SAFE" };
            let mut line = format!("  {verdict:8}  {}", display(&account.source));
            if !account.reasons.is_empty() {
                line.push_str(&format!("  {}", display(&account.reasons.join(", "))));
            }
            if !account.not_exact.is_empty() {
                let not_exact = account.not_exact.join(", ");
                line.push_str(&format!("  (not exact: {})", display(&not_exact)));
            }
            text.line(format_args!("{line}"));
        }
        let report = report.display().to_string();
        text.line(format_args!("  report      {}", display(&report)));
        text.line(format_args!(
            "{}",
            if self.is_safe() {
                "All mail of these accounts is on the target."
            } else {
                "Leave those accounts at the source, see to what is told, and run the same again."
            }
        ));
        text.line(format_args!("exit code {exit_code}"));
        text.0
    }

    /// Writes `cutover.json`. Names in it are only added; `version` changes when one goes.
    ///
    /// # Errors
    ///
    /// If the file cannot be written; an older one stays then.
    pub fn write_json(&self, exit_code: u8, path: &Path) -> Result<(), Fault> {
        let accounts = &self.accounts;
        Draft::write_json(&Report { version: 1, exit_code, accounts }, path)
    }
}

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    exit_code: u8,
    accounts: &'a [Switch],
}

impl Switch {
    fn of(key: &str, known: Option<&AccountSnapshot>, found: &AccountFindings) -> Self {
        // What both say is told once.
        let mut reasons = BTreeSet::new();
        let mut not_exact = Vec::new();
        match known {
            Some(known) => {
                reasons.extend(account_problem(known));
                reasons.extend(known.mailboxes.iter().filter_map(|mailbox| {
                    Some(format!("mailbox {}: {}", mailbox.source, mailbox_problem(mailbox)?))
                }));
                let totals = Totals::of(&known.mailboxes);
                for fate in [Fate::Refused, Fate::Unreadable, Fate::Lost, Fate::Held] {
                    let messages = totals.sum(&[fate]).messages;
                    if messages > 0 {
                        reasons.insert(format!("{} {fate}", grouped(messages)));
                    }
                }
                let filtered = totals.sum(&[Fate::Filtered]).messages;
                if filtered > 0 {
                    not_exact.push(format!("{} filtered", grouped(filtered)));
                }
            }
            None => {
                reasons.insert("never copied".to_owned());
            }
        }
        let told = |kinds: &[Difference]| -> Vec<String> {
            let counts = kinds.iter().map(|kind| (found.totals.count(*kind), kind.as_str()));
            let counts = counts.filter(|(messages, _)| *messages > 0);
            counts.map(|(messages, kind)| format!("{} {kind}", grouped(messages))).collect()
        };
        reasons.extend(told(&LOSSES));
        not_exact.extend(told(&INEXACT));
        if !found.failed.is_empty() || !found.is_through {
            let mailboxes = found.failed.first();
            let why = found.reason.clone().or_else(|| {
                mailboxes.map(|failed| format!("{}: {}", failed.mailbox, failed.reason))
            });
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            reasons.insert(format!("not compared to its end{why}"));
        }
        Self {
            account: key.to_owned(),
            source: found.source.clone(),
            target: found.target.clone(),
            is_safe: reasons.is_empty(),
            reasons: reasons.into_iter().collect(),
            not_exact,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{account, mailbox, snapshot};
    use super::*;
    use crate::difference::Compared;
    use crate::ledger::AccountState;

    fn found(differences: &[(Difference, u64)]) -> AccountFindings {
        let mut totals = Compared::default();
        differences.iter().for_each(|(kind, messages)| totals.note(*kind, *messages));
        let source = "anna@old.example".to_owned();
        AccountFindings { source, is_through: true, totals, ..AccountFindings::default() }
    }

    fn switch(fates: &[(Fate, u64)], found: &AccountFindings) -> Switch {
        Switch::of("anna", Some(&account(vec![mailbox(fates)])), found)
    }

    #[test]
    fn only_what_costs_mail_is_in_the_way_of_a_switch() {
        let copied = [(Fate::Copied, 5)];
        for kind in Difference::ALL {
            let switch = switch(&copied, &found(&[(kind, 2)]));
            assert_eq!(switch.is_safe, !LOSSES.contains(&kind), "{kind:?}");
            let told = if switch.is_safe { switch.not_exact } else { switch.reasons };
            let expected = format!("2 {}", kind.as_str());
            assert_eq!(told == [expected], kind != Difference::Extra, "{kind:?} {told:?}");
        }
    }

    #[test]
    fn what_the_ledger_misses_is_in_the_way_though_the_comparison_does_not_see_it() {
        let exact = found(&[]);
        assert!(switch(&[(Fate::Copied, 5), (Fate::Gone, 1)], &exact).is_safe);
        for fate in [Fate::Refused, Fate::Unreadable, Fate::Lost, Fate::Held, Fate::Pending] {
            assert!(!switch(&[(Fate::Copied, 5), (fate, 1)], &exact).is_safe, "{fate}");
        }
        let filtered = switch(&[(Fate::Filtered, 7)], &exact);
        assert_eq!((filtered.is_safe, filtered.not_exact), (true, vec!["7 filtered".to_owned()]));
        let mut failed = account(Vec::new());
        failed.state = AccountState::Failed;
        assert!(!Switch::of("anna", Some(&failed), &exact).is_safe);
        assert!(!Switch::of("anna", None, &exact).is_safe);
    }

    #[test]
    fn what_was_not_compared_is_not_safe() {
        let copied = [(Fate::Copied, 5)];
        let cut = AccountFindings { is_through: false, ..found(&[]) };
        assert_eq!(switch(&copied, &cut).reasons, ["not compared to its end"]);
    }

    #[test]
    fn the_screen_has_a_line_for_each_account() {
        let comparison =
            |differences| Comparison { accounts: [("anna".to_owned(), found(differences))].into() };
        let snapshot = snapshot([account(vec![mailbox(&[(Fate::Copied, 5)])])]);
        let cutover = Cutover::of(&snapshot, &comparison(&[(Difference::Date, 2)]));
        let text = cutover.text(0, Path::new("cutover.json"));
        let expected = "\
Safe to switch: 1 of 1 accounts
  safe      anna@old.example  (not exact: 2 date)
  report      cutover.json
All mail of these accounts is on the target.
exit code 0
";
        assert_eq!(text, expected);
        let cutover = Cutover::of(&snapshot, &comparison(&[(Difference::Missing, 3)]));
        let text = cutover.text(6, Path::new("cutover.json"));
        assert!(text.contains("  NOT SAFE  anna@old.example  3 missing\n"), "{text}");
    }
}
