//! The report as text for a person's screen.

use std::fmt::Write;
use std::path::Path;

use bytesize::ByteSize;
use jiff::Timestamp;

use crate::escape::display;
use crate::fate::Fate;
use crate::ledger::{AccountSnapshot, AccountState, Count, MailboxSnapshot, Snapshot};

use super::{Totals, Verdict, account_problem, is_through, mailbox_problem};

/// Lines of one kind that a summary lists; the rest is in the report.
const LINES_MAX: usize = 20;
/// On the target, by whatever way.
const ARRIVED: [Fate; 3] = [Fate::Copied, Fate::Adopted, Fate::Merged];
/// Not to be copied.
const LEFT_OUT: [Fate; 2] = [Fate::Filtered, Fate::Gone];

/// The closing screen: what became of everything, what is wrong, and what to do next.
#[must_use]
pub fn summary_text(snapshot: &Snapshot, verdict: Verdict, report: Option<&Path>) -> String {
    let totals = Totals::of_all(snapshot);
    let mut text = Lines::default();
    let accounts = snapshot.accounts.len();
    let through = snapshot.accounts.iter().filter(|a| is_through(a)).count();
    text.line(format_args!(
        "{}: {} of {} accounts complete",
        headline(verdict),
        grouped(through as u64),
        grouped(accounts as u64)
    ));
    for fate in Fate::ALL {
        let count = totals.sum(&[fate]);
        if count.messages > 0 || fate == Fate::Copied {
            text.line(format_args!("  {:<12}{}", fate.as_str(), counted(count)));
        }
    }
    if totals.in_doubt > 0 {
        let messages = grouped(totals.in_doubt);
        text.line(format_args!(
            "  of these pending, {messages} were sent and their outcome is unknown: the next run looks"
        ));
    }
    for (kind, messages) in &totals.remarks {
        let messages = grouped(*messages);
        text.line(format_args!("  {messages} messages with a remark: {}", kind.as_str()));
    }
    text.list("accounts", account_lines(snapshot));
    text.list("mailboxes", mailbox_lines(snapshot));
    if let Some(report) = report {
        let report = report.display().to_string();
        text.line(format_args!("  report      {}", display(&report)));
    }
    text.line(format_args!("{}", next_step(verdict)));
    text.line(format_args!("exit code {}", verdict.exit_code()));
    text.0
}

fn headline(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Done => "Done",
        Verdict::Incomplete => "Finished with problems",
        Verdict::InDoubt => "Finished, with messages to look at",
        Verdict::Stopped => "Stopped",
    }
}

fn next_step(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Done => "Run the same again for what arrives at the source later.",
        Verdict::Incomplete => {
            "Run the same again: what is missing is tried once more, nothing is copied twice."
        }
        Verdict::InDoubt => {
            "Look at the target for the messages that the report calls held or possible-duplicate: \
             they are not sent again by themselves."
        }
        Verdict::Stopped => "Run the same again: it goes on where it stopped.",
    }
}

fn account_lines(snapshot: &Snapshot) -> Vec<String> {
    let problems = snapshot.accounts.iter().filter_map(|account| {
        let problem = account_problem(account)?;
        Some(format!("{}  {}", display(&account.name.source), display(&problem)))
    });
    problems.collect()
}

fn mailbox_lines(snapshot: &Snapshot) -> Vec<String> {
    let mailboxes = snapshot
        .accounts
        .iter()
        .flat_map(|account| account.mailboxes.iter().map(move |mailbox| (account, mailbox)));
    let problems = mailboxes.filter_map(|(account, mailbox)| {
        let problem = mailbox_problem(mailbox)?;
        let path = mailbox.source.to_string();
        let account = display(&account.name.source);
        Some(format!("{account}  {}  {}", display(&path), display(&problem)))
    });
    problems.collect()
}

/// How every account stands, as a table.
#[must_use]
pub fn status_text(snapshot: &Snapshot) -> String {
    let header = ["STATE", "ACCOUNT", "COPIED/TOTAL", "BYTES", "LAST PASS (UTC)", "WHY"];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(snapshot.accounts.iter().map(status_row));
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let [state, account, copied, bytes, last, _] = widths;
    let mut text = Lines::default();
    for row in rows {
        text.line(format_args!(
            "{:state$}  {:account$}  {:>copied$}  {:>bytes$}  {:last$}  {}",
            row[0], row[1], row[2], row[3], row[4], row[5]
        ));
    }
    text.0
}

fn status_row(account: &AccountSnapshot) -> [String; 6] {
    let totals = Totals::of(&account.mailboxes);
    let arrived = totals.sum(&ARRIVED);
    let wanted = totals.sum(&Fate::ALL).messages - totals.sum(&LEFT_OUT).messages;
    [
        state_word(account.state).to_owned(),
        display(&account.name.source).into_owned(),
        format!("{}/{}", grouped(arrived.messages), grouped(wanted)),
        bytes(arrived.bytes),
        instant(account.changed),
        display(&why(account)).into_owned(),
    ]
}

fn state_word(state: AccountState) -> &'static str {
    match state {
        AccountState::Waiting => "waiting",
        AccountState::Running => "running",
        AccountState::Done => "done",
        AccountState::Stopped => "stopped",
        AccountState::Failed => "failed",
    }
}

fn why(account: &AccountSnapshot) -> String {
    let problem = |m: &MailboxSnapshot| Some(format!("{}: {}", m.source, mailbox_problem(m)?));
    let mailbox = || account.mailboxes.iter().find_map(problem);
    account.reason.clone().or_else(mailbox).unwrap_or_default()
}

/// Lines of text, without spaces at their ends.
#[derive(Default)]
pub(super) struct Lines(pub(super) String);

impl Lines {
    pub(super) fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(line);
        self.0.truncate(self.0.trim_end_matches(' ').len());
        self.0.push('\n');
    }

    pub(super) fn list(&mut self, what: &str, lines: Vec<String>) {
        if lines.is_empty() {
            return;
        }
        self.line(format_args!("  {what} with problems: {}", grouped(lines.len() as u64)));
        for line in lines.iter().take(LINES_MAX) {
            self.line(format_args!("    {line}"));
        }
        if lines.len() > LINES_MAX {
            let more = grouped((lines.len() - LINES_MAX) as u64);
            self.line(format_args!("    and {more} more: see the report"));
        }
    }
}

fn counted(count: Count) -> String {
    let messages = grouped(count.messages);
    format!("{messages:>13} messages  {:>10}", bytes(count.bytes))
}

pub(super) fn bytes(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

fn instant(seconds: i64) -> String {
    let instant = Timestamp::from_second(seconds).map(|instant| instant.to_string());
    let minutes = instant.unwrap_or_default().replace('T', " ");
    minutes.chars().take("2026-01-01 00:00".len()).collect()
}

/// A number as people read it: `11,214,004`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::{account, mailbox, snapshot};
    use super::*;
    use crate::fate::RemarkKind;
    use crate::mail::MailboxPath;

    fn failed() -> AccountSnapshot {
        let mut failed = account(vec![mailbox(&[(Fate::Pending, 2_114)])]);
        failed.name.source = "bob@old.example".to_owned();
        failed.state = AccountState::Failed;
        failed.reason = Some("NO Invalid\u{1b}]0;x\u{7} credentials".to_owned());
        failed
    }

    #[test]
    fn the_summary_counts_fates_names_problems_and_says_what_next() {
        let mut fine = mailbox(&[(Fate::Copied, 11_214_004), (Fate::Gone, 12)]);
        fine.remarks.insert(RemarkKind::FlagsReduced, 1_234);
        let snapshot = snapshot([account(vec![fine]), failed()]);
        let report = Path::new("/tmp/report.csv");
        let text = summary_text(&snapshot, Verdict::of(&snapshot), Some(report));
        let expected = "\
Finished with problems: 1 of 2 accounts complete
  copied         11,214,004 messages    10.7 GiB
  gone                   12 messages    12.0 KiB
  pending             2,114 messages     2.1 MiB
  1,234 messages with a remark: flags-reduced
  accounts with problems: 1
    bob@old.example  failed: NO Invalid\\u{1b}]0;x\\u{7} credentials
  mailboxes with problems: 1
    bob@old.example  Archive/2019  2114 messages not copied yet
  report      /tmp/report.csv
Run the same again: what is missing is tried once more, nothing is copied twice.
exit code 3
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_summary_of_many_failures_stays_short() {
        let text = summary_text(&snapshot(vec![failed(); 500]), Verdict::Stopped, None);
        assert!(text.lines().count() < 60, "{text}");
        assert!(text.contains("and 480 more: see the report"));
        assert!(text.ends_with("exit code 75\n"));
    }

    #[test]
    fn the_status_is_a_table_in_which_left_out_messages_are_not_owed() {
        let fine = mailbox(&[(Fate::Copied, 3), (Fate::Adopted, 1), (Fate::Filtered, 9)]);
        let mut hindered = mailbox(&[(Fate::Copied, 1)]);
        hindered.source = MailboxPath::new(["a\nb"]);
        hindered.fault = Some("over quota".to_owned());
        let snapshot = snapshot([account(vec![fine, hindered]), failed()]);
        let expected = "\
STATE   ACCOUNT           COPIED/TOTAL    BYTES  LAST PASS (UTC)   WHY
done    anna@old.example           5/5  5.0 KiB  2023-11-14 22:13  a\\u{a}b: over quota
failed  bob@old.example        0/2,114      0 B  2023-11-14 22:13  NO Invalid\\u{1b}]0;x\\u{7} credentials
";
        assert_eq!(status_text(&snapshot), expected);
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
