//! Gmail's labels: a message stands in the mailbox of each of its labels and in All Mail, and is copied
//! no more often than the user wants.

use crate::mail::{Mailbox, MailboxPath, SpecialUse, WireName};
use crate::plan::mailboxes::Pair;

/// A label as it stands on the wire: `\Inbox`, or the name of its mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label(pub Vec<u8>);

/// What is known of a message that has labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// Its number, the same in each mailbox in which it stands; none where that is not told.
    pub id: Option<u64>,
    /// Its labels, but for that of the mailbox in which it was seen.
    pub labels: Vec<Label>,
}

/// What becomes of a message that has several labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GmailLabels {
    /// It is copied into the mailbox of each; from All Mail only what is in no other one.
    #[default]
    Folders,
    /// It is copied once: into the first of INBOX, Sent, Drafts and the others by their paths.
    Primary,
    /// It is copied once, from All Mail, with a keyword for each.
    Keywords,
}

/// Whether a mailbox only shows what stands in others.
#[must_use]
pub fn is_view(mailbox: &Mailbox) -> bool {
    use SpecialUse::{All, Flagged, Important};
    matches!(mailbox.special_use, Some(All | Flagged | Important))
}

/// Whether the source's All Mail shows all of a mailbox, so that nothing is to be copied from there.
#[must_use]
pub fn is_in_all_mail(mailbox: &Mailbox, mode: GmailLabels) -> bool {
    let is_beside = matches!(mailbox.special_use, Some(SpecialUse::Junk | SpecialUse::Trash));
    is_view(mailbox) || (mode == GmailLabels::Keywords && !is_beside && !mailbox.is_foreign())
}

/// The keyword that stands for a label at the target. `\Important` is `$Important` (RFC 8457), another
/// system label its name alone; `\Starred` and `\Draft` have none, since flags say the same. The name of any
/// other label is as on the wire, in modified UTF-7, with `_` for each octet that no keyword holds
/// (RFC 9051 section 9, `flag-keyword`).
#[must_use]
pub fn keyword(label: &Label) -> Option<String> {
    let is_held = |octet: u8| octet.is_ascii_graphic() && !br#"(){%*"\]"#.contains(&octet);
    let held = |octet: &u8| if is_held(*octet) { char::from(*octet) } else { '_' };
    let Some(system) = label.0.strip_prefix(b"\\") else {
        return Some(label.0.iter().map(held).collect()).filter(|name: &String| !name.is_empty());
    };
    match system.to_ascii_lowercase().as_slice() {
        b"" | b"starred" | b"draft" | b"drafts" => None,
        b"important" => Some("$Important".to_owned()),
        _ => Some(system.iter().map(held).collect()),
    }
}

/// Which copied mailbox a message counts as one of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    mode: GmailLabels,
    all: Option<WireName>,
    /// The mailboxes that can hold a message beside All Mail, the first one first.
    places: Vec<Place>,
}

/// A mailbox in which a message with its label stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// How the source spells it.
    pub name: WireName,
    /// Where it stands.
    pub path: MailboxPath,
    /// The label that stands for it where that is not its name.
    system: Option<&'static str>,
}

impl Labels {
    /// Of an account that lists these mailboxes, of which the pairs' are copied.
    #[must_use]
    pub fn of(mode: GmailLabels, listed: &[Mailbox], pairs: &[Pair]) -> Self {
        let special_use = |name: &WireName| {
            listed.iter().find(|one| one.name == *name).and_then(|one| one.special_use)
        };
        let all = listed.iter().find(|one| one.special_use == Some(SpecialUse::All));
        let all = all.map(|mailbox| mailbox.name.clone());
        let mut places: Vec<(u8, Place)> = Vec::new();
        for Pair { source, .. } in pairs {
            let (rank, system) = match special_use(&source.name) {
                // What is there has left the others.
                Some(SpecialUse::Junk | SpecialUse::Trash) => continue,
                Some(SpecialUse::All | SpecialUse::Flagged | SpecialUse::Important) => continue,
                _ if source.path.is_inbox() => (0, Some("\\Inbox")),
                Some(SpecialUse::Sent) => (1, Some("\\Sent")),
                Some(SpecialUse::Drafts) => (2, Some("\\Draft")),
                Some(SpecialUse::Archive) | None => (3, None),
            };
            let (name, path) = (source.name.clone(), source.path.clone());
            places.push((rank, Place { name, path, system }));
        }
        places.sort_by(|(rank, one), (other_rank, other)| {
            (rank, &one.path).cmp(&(other_rank, &other.path))
        });
        Self { mode, all, places: places.into_iter().map(|(_, place)| place).collect() }
    }

    /// Whether labels decide which messages of a mailbox are copied from there.
    #[must_use]
    pub fn decide_in(&self, mailbox: &WireName) -> bool {
        let is_all = self.all.as_ref() == Some(mailbox);
        let mut behind_first = self.places.iter().skip(1);
        match self.mode {
            GmailLabels::Folders => is_all,
            GmailLabels::Primary => is_all || behind_first.any(|place| place.name == *mailbox),
            GmailLabels::Keywords => false,
        }
    }

    /// The mailboxes that can hold a message beside All Mail, the first one first.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The other mailboxes as whose message one of this mailbox with these labels may be copied, the first
    /// one first; none where it is copied from here.
    pub fn elsewhere<'l>(
        &'l self,
        mailbox: &'l WireName,
        labels: &'l [Label],
    ) -> impl Iterator<Item = &'l Place> {
        let before = self.places.iter().take_while(|place| place.name != *mailbox);
        before.filter(|place| labels.iter().any(|label| place.is_of(label)))
    }
}

impl Place {
    fn is_of(&self, label: &Label) -> bool {
        match self.system {
            Some(system) => {
                // Seen as `\Draft` and `\Drafts`.
                let plural = label.0.strip_suffix(b"s").unwrap_or(&label.0);
                label.0.eq_ignore_ascii_case(system.as_bytes())
                    || plural.eq_ignore_ascii_case(system.as_bytes())
            }
            None => self.name.0 == label.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_becomes_a_keyword_that_every_server_can_read() {
        for (label, word) in [
            ("Work", Some("Work")),
            ("Work/Plan", Some("Work/Plan")),
            ("Work & Plan", Some("Work_&_Plan")),
            ("Entw&APw-rfe", Some("Entw&APw-rfe")),
            ("(a) {b}", Some("_a___b}")),
            ("1% \"2\" *\\ [3]", Some("1___2_____[3_")),
            ("\\Inbox", Some("Inbox")),
            ("\\Sent", Some("Sent")),
            ("\\Important", Some("$Important")),
            ("\\Starred", None),
            ("\\Draft", None),
            ("\\Drafts", None),
            ("\\", None),
            ("", None),
            ("\u{fc}", Some("__")),
        ] {
            let label = Label(label.as_bytes().to_vec());
            assert_eq!(keyword(&label).as_deref(), word, "{label:?}");
        }
    }
}
