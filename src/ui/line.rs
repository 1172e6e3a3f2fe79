//! The lines that some events are worth, for people.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use console::style;
use mailhaul::difference::Compared;
use mailhaul::escape::display;
use mailhaul::event::Event;
use mailhaul::fault::Side;

use super::words::{bytes, count, grouped, time};
use super::{Mode, Show, Verbosity};

/// A line to be written once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    to: To,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Stdout,
    Stderr,
}

impl Line {
    /// A line on standard error; its text is fit to be shown.
    pub(super) fn note(text: String) -> Self {
        let to = To::Stderr;
        Self { to, text }
    }

    pub(super) fn write(&self) {
        // Who closed it does not want to read it.
        let _ = match self.to {
            To::Stdout => writeln!(io::stdout().lock(), "{}", self.text),
            To::Stderr => writeln!(io::stderr().lock(), "{}", self.text),
        };
    }
}

/// How people call accounts.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Of the CSV.
    pub(super) file: String,
    /// By the account's name in events: its line in the CSV, and its label.
    pub(super) accounts: HashMap<String, (u64, String)>,
}

impl Names {
    pub(super) fn label(&self, account: &str) -> String {
        match self.accounts.get(account) {
            Some((_, label)) => label.clone(),
            None => display(account).into_owned(),
        }
    }

    pub(super) fn place(&self, account: &str) -> String {
        match self.accounts.get(account) {
            Some((line, label)) => format!("{}:{line}: {label}", self.file),
            None => display(account).into_owned(),
        }
    }
}

/// The line for an event, if it is worth one.
pub(super) fn of(event: &Event, names: &Names, show: &Show, is_dry_run: bool) -> Option<Line> {
    let is_verbose = show.verbosity == Verbosity::Verbose;
    let is_normal = show.verbosity >= Verbosity::Normal;
    let tells_ends = is_normal && matches!(show.mode, Mode::Bars | Mode::Plain);
    let text = match event {
        Event::AccountDone { account, messages, bytes: size, not_copied } if tells_ends => {
            let mut text = format!(
                "{} {}  {} copied, {}",
                style("done").for_stderr().green(),
                names.label(account),
                count(*messages, "message"),
                bytes(*size)
            );
            if *not_copied > 0 {
                text.push_str(&format!("; {} not on the target", count(*not_copied, "message")));
            }
            text
        }
        Event::AccountCompared { account, compared, mailboxes_failed } if tells_ends => {
            let word = if compared.is_exact() && *mailboxes_failed == 0 {
                style("same").for_stderr().green()
            } else {
                style("differs").for_stderr().yellow()
            };
            format!("{word} {}  {}", names.label(account), found(compared))
        }
        Event::AccountFailed { account, side, reason, hint } => {
            let mut text = format!("{}: {}{}", names.place(account), at(*side), display(reason));
            text = format!("{} {text}", style("failed").for_stderr().red().bold());
            if !hint.is_empty() {
                let word = style("hint:").for_stderr().cyan();
                text.push_str(&format!("\n  {word} {}", hint));
            }
            text
        }
        Event::MailboxFailed { account, mailbox, side, reason } => format!(
            "{} {}: mailbox \"{}\": {}{}",
            style("failed").for_stderr().red().bold(),
            names.place(account),
            display(mailbox),
            at(*side),
            display(reason)
        ),
        Event::Warning { account, text } if is_normal => {
            let place = account.as_ref().map(|account| names.place(account) + ": ");
            format!(
                "{} {}{}",
                style("warning:").for_stderr().yellow(),
                place.unwrap_or_default(),
                display(text)
            )
        }
        Event::MailboxPlanned { account, source, target, reason, .. }
            if is_dry_run && show.mode != Mode::Json =>
        {
            let text = planned(names, account, source, target.as_deref(), reason);
            let to = To::Stdout;
            return Some(Line { to, text });
        }
        Event::MailboxPlanned { account, source, target, reason, .. } if is_verbose => {
            planned(names, account, source, target.as_deref(), reason)
        }
        Event::NotCopied { account, mailbox, uid, fate, reason } if is_verbose => format!(
            "{}: mailbox \"{}\": UID {uid} {fate}: {}",
            names.place(account),
            display(mailbox),
            display(reason)
        ),
        Event::Differs { account, mailbox, difference, source_uid, target_uid, text, .. }
            if is_verbose =>
        {
            let uid = |side: &str, uid: &Option<u32>| {
                uid.map(|uid| format!(" {side} UID {uid}")).unwrap_or_default()
            };
            let text = if text.is_empty() { String::new() } else { format!(": {text}") };
            format!(
                "{}: mailbox \"{}\":{}{} {}{}",
                names.place(account),
                display(mailbox),
                uid("source", source_uid),
                uid("target", target_uid),
                difference.as_str(),
                display(&text)
            )
        }
        Event::ExtraMailbox { account, target, messages } if is_verbose => format!(
            "{}: only the target has the mailbox \"{}\" with {}",
            names.place(account),
            display(target),
            count(*messages, "message")
        ),
        Event::AccountParked { account, side, reason, wait } if is_verbose => format!(
            "{}: {}{}; goes on in {}",
            names.place(account),
            at(*side),
            display(reason),
            time(*wait)
        ),
        Event::Adopted { account, mailbox, messages } => format!(
            "{}: mailbox \"{}\": {messages} messages are there already and not copied again",
            names.label(account),
            display(mailbox)
        ),
        Event::FlagsFollowed { account, mailbox, messages } if is_verbose => format!(
            "{}: mailbox \"{}\": the flags of {} follow the source",
            names.place(account),
            display(mailbox),
            count(*messages, "message")
        ),
        Event::MovesFollowed { account, mailbox, messages } if is_verbose => format!(
            "{}: mailbox \"{}\": {} moved there, as at the source",
            names.label(account),
            display(mailbox),
            count(*messages, "message")
        ),
        Event::Shared { account, rights, annotations } => format!(
            "{}: {} and {} of mailboxes copied",
            names.label(account),
            count(*rights, "grant of rights"),
            count(*annotations, "note")
        ),
        Event::Settled { account, mailbox, found, missing } if is_verbose => format!(
            "{}: mailbox \"{}\": in doubt were {found} that arrived and {missing} that did not",
            names.label(account),
            display(mailbox)
        ),
        Event::MailboxDone { account, mailbox } if is_verbose => {
            format!("{}: mailbox \"{}\" done", names.label(account), display(mailbox))
        }
        _ => return None,
    };
    Some(Line::note(text))
}

fn planned(
    names: &Names,
    account: &Arc<str>,
    source: &str,
    target: Option<&str>,
    reason: &str,
) -> String {
    let target = match target {
        Some(target) => format!("-> \"{}\"", display(target)),
        None => "left out".to_owned(),
    };
    let reason = match reason {
        "" => String::new(),
        reason => format!(" ({})", display(reason)),
    };
    format!("{}: \"{}\" {target}{reason}", names.label(account), display(source))
}

/// What a comparison came to: `12 messages the same; 3 missing, 1 date`.
fn found(compared: &Compared) -> String {
    let mut text = format!("{} the same", count(compared.same, "message"));
    let found = compared.differences.iter().filter(|(_, messages)| **messages > 0);
    let found: Vec<String> = found
        .map(|(difference, messages)| format!("{} {}", grouped(*messages), difference.as_str()))
        .collect();
    if !found.is_empty() {
        text.push_str("; ");
        text.push_str(&found.join(", "));
    }
    text
}

fn at(side: Option<Side>) -> String {
    side.map(|side| format!("{side}: ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mailhaul::fate::Fate;

    use super::*;

    fn names() -> Names {
        let called = (17, "anna@old.example".to_owned());
        Names { file: "accounts.csv".to_owned(), accounts: [("key".to_owned(), called)].into() }
    }

    fn line(event: &Event, mode: Mode, verbosity: Verbosity) -> Option<String> {
        let file = "accounts.csv".into();
        let show = Show { mode, verbosity, file };
        let line = of(event, &names(), &show, false)?;
        Some(console::strip_ansi_codes(&line.text).into_owned())
    }

    fn failed() -> Event {
        Event::AccountFailed {
            account: "key".into(),
            side: Some(Side::Target),
            reason: "cannot log in: NO [AUTHENTICATIONFAILED] \u{1b}[2J\r\nno".to_owned(),
            hint: "check target_password".to_owned(),
        }
    }

    #[test]
    fn a_failure_names_row_side_words_and_next_step() {
        let text = "failed accounts.csv:17: anna@old.example: target: cannot log in: NO \
                    [AUTHENTICATIONFAILED] \\u{1b}[2J\\u{d}\\u{a}no\n  hint: check target_password";
        for mode in [Mode::Bars, Mode::Plain, Mode::Json, Mode::None] {
            for verbosity in [Verbosity::Quiet, Verbosity::Normal, Verbosity::Verbose] {
                assert_eq!(line(&failed(), mode, verbosity).as_deref(), Some(text));
            }
        }
    }

    #[test]
    fn ends_of_accounts_are_told_where_progress_is_shown() {
        let done =
            Event::AccountDone { account: "key".into(), messages: 1, bytes: 2048, not_copied: 3 };
        let text = "done anna@old.example  1 message copied, 2.0 KiB; 3 messages not on the target";
        assert_eq!(line(&done, Mode::Plain, Verbosity::Normal).as_deref(), Some(text));
        assert_eq!(line(&done, Mode::Bars, Verbosity::Normal).as_deref(), Some(text));
        assert_eq!(line(&done, Mode::Plain, Verbosity::Quiet), None);
        assert_eq!(line(&done, Mode::Json, Verbosity::Normal), None);
        assert_eq!(line(&done, Mode::None, Verbosity::Normal), None);
    }

    #[test]
    fn details_are_for_those_who_ask() {
        let events = [
            Event::NotCopied {
                account: "key".into(),
                mailbox: "a\nb".to_owned(),
                uid: 7,
                fate: Fate::Refused,
                reason: "too large".to_owned(),
            },
            Event::AccountParked {
                account: "key".into(),
                side: None,
                reason: "throttled".to_owned(),
                wait: Duration::from_secs(300),
            },
        ];
        for event in events {
            assert_eq!(line(&event, Mode::Plain, Verbosity::Normal), None);
            let text = line(&event, Mode::Plain, Verbosity::Verbose).expect("told");
            assert!(!text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn a_dry_run_prints_its_plan_as_data() {
        let event = Event::MailboxPlanned {
            account: "key".into(),
            source: "Gesendet".to_owned(),
            target: Some("Sent".to_owned()),
            reason: "special use".to_owned(),
            exists: Some(true),
            messages: None,
            bytes: None,
            collision: None,
        };
        let show =
            Show { mode: Mode::Bars, verbosity: Verbosity::Normal, file: "accounts.csv".into() };
        let line = of(&event, &names(), &show, true).expect("told");
        assert_eq!(line.to, To::Stdout);
        assert_eq!(line.text, "anna@old.example: \"Gesendet\" -> \"Sent\" (special use)");
        assert_eq!(of(&event, &names(), &show, false), None);
    }
}
