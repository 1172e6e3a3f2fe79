//! Flags that say which mailboxes are copied, and where they go.

use std::fs;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use mailhaul::mail::Namespaces;
use mailhaul::plan::labels::GmailLabels;
use mailhaul::plan::rules::{MapRule, Pattern, Rules};

use super::Failure;

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Mailboxes; * is anything, % anything within a name")]
pub(super) struct MappingFlags {
    /// Copy a mailbox, and what is below it, to another place: 'Old=Archive/Old', 'Projects/*=Work/*'
    #[arg(long, value_name = "SOURCE=TARGET", value_parser = MapRule::parse)]
    map: Vec<MapRule>,
    /// The same by a regular expression, as sed has it: 's/^Projects/Archive/'
    #[arg(long, value_name = "s/OLD/NEW/", value_parser = MapRule::parse_regex)]
    map_regex: Vec<MapRule>,
    /// A file with one such rule on each line; the first rule that fits counts, those of flags first
    #[arg(long, value_name = "FILE")]
    map_file: Option<PathBuf>,
    /// Copy only these mailboxes: Work, Work/* with all below it, or by use: Inbox, SentItems,
    /// DeletedItems, Drafts, JunkEmail, Archive, Root
    #[arg(long, value_name = "MAILBOX", value_parser = Pattern::parse)]
    include: Vec<Pattern>,
    /// Leave these mailboxes out; written as for --include
    #[arg(long, value_name = "MAILBOX", value_parser = Pattern::parse)]
    exclude: Vec<Pattern>,
    /// Let source mailboxes end in one where rules or uses send them there, each with all its mail;
    /// without it, the second gets a name of its own
    #[arg(long)]
    merge: bool,
    /// Where Gmail is the source: copy a message into the mailbox of each of its labels, and from All Mail
    /// what has none (folders), or once, into the first of INBOX, Sent, Drafts and the others by name
    /// (primary), or once, from All Mail, with a keyword for each label (keywords)
    #[arg(long, value_name = "HOW", default_value = "folders")]
    gmail_labels: GmailLabelsFlag,
    /// Whose mailboxes to copy, of those that an account sees; several with commas between. Others' and
    /// shared ones are copied for each account that sees them
    #[arg(long, value_name = "WHOSE", value_delimiter = ',', default_value = "personal")]
    namespaces: Vec<NamespaceFlag>,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum GmailLabelsFlag {
    #[default]
    Folders,
    Primary,
    Keywords,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum NamespaceFlag {
    /// The account's own
    Personal,
    /// Other users'
    Others,
    /// Shared by all
    Shared,
    /// All three
    All,
}

impl MappingFlags {
    pub(super) fn rules(&self) -> Result<Rules, Failure> {
        let mut map = self.map.clone();
        map.extend(self.map_regex.iter().cloned());
        map.extend(self.of_file()?);
        Ok(Rules {
            map,
            include: self.include.clone(),
            exclude: self.exclude.clone(),
            merge: self.merge,
            labels: match self.gmail_labels {
                GmailLabelsFlag::Folders => GmailLabels::Folders,
                GmailLabelsFlag::Primary => GmailLabels::Primary,
                GmailLabelsFlag::Keywords => GmailLabels::Keywords,
            },
            namespaces: self.namespaces(),
        })
    }

    fn namespaces(&self) -> Namespaces {
        let has = |flag| {
            let any = [flag, NamespaceFlag::All];
            self.namespaces.iter().any(|namespace| any.contains(namespace))
        };
        Namespaces {
            personal: has(NamespaceFlag::Personal),
            others: has(NamespaceFlag::Others),
            shared: has(NamespaceFlag::Shared),
        }
    }

    fn of_file(&self) -> Result<Vec<MapRule>, Failure> {
        let Some(path) = &self.map_file else {
            return Ok(Vec::new());
        };
        let hint = "one rule a line, SOURCE=TARGET or s/OLD/NEW/; # begins a comment";
        let text = fs::read_to_string(path).map_err(|error| {
            let text = format!("--map-file: cannot read {}: {error}", path.display());
            Failure::usage(text, hint)
        })?;
        MapRule::parse_lines(&text).map_err(|wrong| {
            let told = wrong.iter().map(|(line, text)| {
                format!("--map-file: {}:{line}: the rule {text}", path.display())
            });
            Failure::usage(told.collect::<Vec<_>>().join("\n"), hint)
        })
    }
}
