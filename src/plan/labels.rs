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

/// Whether the source's All Mail shows all of a mailbox, as long as it shows everything, so that nothing is to
/// be copied from there.
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
    /// All Mail, where it is copied.
    all: Option<Place>,
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
    /// Whether only what All Mail does not show is copied from there.
    is_rest: bool,
}

impl Labels {
    /// Of an account that lists these mailboxes, of which the pairs' are copied.
    #[must_use]
    pub fn of(mode: GmailLabels, listed: &[Mailbox], pairs: &[Pair]) -> Self {
        let of_name = |name: &WireName| listed.iter().find(|one| one.name == *name);
        let copied =
            pairs.iter().filter_map(|pair| Some((&pair.source, of_name(&pair.source.name)?)));
        let copied: Vec<(&Mailbox, &Mailbox)> = copied.collect();
        let is_all = |(_, listed): &&(_, &Mailbox)| listed.special_use == Some(SpecialUse::All);
        let place = |source: &Mailbox, system, is_rest| {
            let (name, path) = (source.name.clone(), source.path.clone());
            Place { name, path, system, is_rest }
        };
        let all = copied.iter().find(is_all).map(|(source, _)| place(source, None, false));
        let mut places: Vec<(u8, Place)> = Vec::new();
        for (source, listed) in copied {
            let is_rest = all.is_some() && is_in_all_mail(listed, mode);
            let (rank, system) = match listed.special_use {
                // What is there has left the others.
                Some(SpecialUse::Junk | SpecialUse::Trash | SpecialUse::All) => continue,
                Some(SpecialUse::Flagged) if is_rest => (4, Some("\\Starred")),
                Some(SpecialUse::Important) if is_rest => (4, Some("\\Important")),
                Some(SpecialUse::Flagged | SpecialUse::Important) => continue,
                _ if source.path.is_inbox() => (0, Some("\\Inbox")),
                Some(SpecialUse::Sent) => (1, Some("\\Sent")),
                Some(SpecialUse::Drafts) => (2, Some("\\Draft")),
                Some(SpecialUse::Archive) | None => (3, None),
            };
            places.push((rank, place(source, system, is_rest)));
        }
        places.sort_by(|(rank, one), (other_rank, other)| {
            (rank, &one.path).cmp(&(other_rank, &other.path))
        });
        Self { mode, all, places: places.into_iter().map(|(_, place)| place).collect() }
    }

    /// Whether labels decide which messages of a mailbox are copied from there.
    #[must_use]
    pub fn decide_in(&self, mailbox: &WireName) -> bool {
        let is_all = self.all.as_ref().is_some_and(|all| all.name == *mailbox);
        let at = self.places.iter().position(|place| place.name == *mailbox);
        at.is_some_and(|at| self.places[at].is_rest)
            || match self.mode {
                GmailLabels::Folders => is_all,
                GmailLabels::Primary => is_all || at.is_some_and(|at| at > 0),
                GmailLabels::Keywords => false,
            }
    }

    /// The mailboxes that can hold a message, the first one first.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.all.iter().chain(&self.places)
    }

    /// The other mailboxes as whose message one of this mailbox with these labels may be copied, the first
    /// one first; none where it is copied from here.
    pub fn elsewhere<'l>(
        &'l self,
        mailbox: &'l WireName,
        labels: &'l [Label],
    ) -> impl Iterator<Item = &'l Place> {
        let is_rest = self.places.iter().any(|place| place.name == *mailbox && place.is_rest);
        // Whatever is there may be in All Mail; what All Mail shows is nobody's whose rest is copied.
        let all = self.all.iter().filter(move |_| is_rest);
        let before = self.places.iter().take_while(|place| place.name != *mailbox);
        let before = before.filter(move |place| is_rest || !place.is_rest);
        all.chain(before.filter(|place| labels.iter().any(|label| place.is_of(label))))
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
