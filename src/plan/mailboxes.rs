//! Which source mailbox goes to which target mailbox.
//!
//! In this order: what an earlier run fixed; INBOX; special use (RFC 6154); below a mailbox that was
//! mapped, the same place below its target; else the same path, with what the target's names cannot
//! hold replaced. Two source mailboxes never end in one.

use std::collections::{BTreeMap, BTreeSet};

use crate::mail::{Mailbox, MailboxPath, SpecialUse, WireName};
use crate::target::Naming;

/// One source mailbox and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The source mailbox.
    pub source: Mailbox,
    /// The target's path.
    pub target: MailboxPath,
    /// How the target spells it, if it is there and can hold messages.
    pub existing: Option<WireName>,
    /// Why it goes there.
    pub reason: Reason,
}

/// Why a mailbox goes where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// An earlier run sent messages there.
    Fixed,
    /// It is INBOX, or has the same path.
    SamePath,
    /// Both are for the same use.
    SpecialUse(SpecialUse),
    /// The mailbox above it goes elsewhere.
    Parent,
    /// The target's names cannot hold its name, or another mailbox is there already.
    Renamed,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed => f.write_str("as in earlier runs"),
            Self::SamePath => f.write_str("same name"),
            Self::SpecialUse(special_use) => write!(f, "special use {special_use:?}"),
            Self::Parent => f.write_str("below its parent"),
            Self::Renamed => f.write_str("renamed: the target cannot hold this name"),
        }
    }
}

/// Decides for every source mailbox of the account's own that can hold messages. `fixed` are the targets of earlier runs
/// by the source's spelling.
#[must_use]
pub fn pair(
    source: &[Mailbox],
    target: &[Mailbox],
    naming: &Naming,
    fixed: &BTreeMap<WireName, MailboxPath>,
) -> Vec<Pair> {
    let mut order: Vec<&Mailbox> =
        source.iter().filter(|mailbox| mailbox.selectable && !mailbox.foreign).collect();
    order.sort_by_key(|mailbox| (!mailbox.path.is_inbox(), &mailbox.path));
    let mut taken: BTreeSet<MailboxPath> = fixed.values().cloned().collect();
    taken.insert(MailboxPath::inbox());
    let mut goes_to: BTreeMap<MailboxPath, MailboxPath> = BTreeMap::new();
    // Special uses first: a mailbox of the same name as the target's own must not take its place.
    let mut special: BTreeMap<&WireName, (MailboxPath, SpecialUse)> = BTreeMap::new();
    for mailbox in &order {
        if let Some(place) = own_place(mailbox, target)
            && !fixed.contains_key(&mailbox.name)
            && taken.insert(place.0.clone())
        {
            special.insert(&mailbox.name, place);
        }
    }
    let mut pairs = Vec::with_capacity(order.len());
    for mailbox in order {
        let (path, reason) = if let Some(path) = fixed.get(&mailbox.name) {
            (path.clone(), Reason::Fixed)
        } else if mailbox.path.is_inbox() {
            (MailboxPath::inbox(), Reason::SamePath)
        } else if let Some((path, special_use)) = special.remove(&mailbox.name) {
            (path, Reason::SpecialUse(special_use))
        } else {
            let (wanted, reason) = below_parent(&mailbox.path, &goes_to);
            let writable = writable(&wanted, naming);
            let free = free(writable, &taken);
            let reason = if free == wanted { reason } else { Reason::Renamed };
            (free, reason)
        };
        taken.insert(path.clone());
        goes_to.insert(mailbox.path.clone(), path.clone());
        let existing = target
            .iter()
            .find(|there| there.selectable && there.path == path)
            .map(|there| there.name.clone());
        pairs.push(Pair { source: mailbox.clone(), target: path, existing, reason });
    }
    pairs
}

/// The target's own mailbox for the same use. `\All` and `\Flagged` are views, not places.
fn own_place(mailbox: &Mailbox, target: &[Mailbox]) -> Option<(MailboxPath, SpecialUse)> {
    let special_use = mailbox
        .special_use
        .filter(|special_use| !matches!(special_use, SpecialUse::All | SpecialUse::Flagged))?;
    let there =
        target.iter().find(|there| there.selectable && there.special_use == Some(special_use))?;
    Some((there.path.clone(), special_use))
}

fn below_parent(
    path: &MailboxPath,
    goes_to: &BTreeMap<MailboxPath, MailboxPath>,
) -> (MailboxPath, Reason) {
    let mut above = path.parent();
    while let Some(ancestor) = above {
        if let Some(target) = goes_to.get(&ancestor) {
            if *target == ancestor {
                break;
            }
            let below = &path.names()[ancestor.names().len()..];
            let names = target.names().iter().chain(below).cloned();
            return (MailboxPath::new(names), Reason::Parent);
        }
        above = ancestor.parent();
    }
    (path.clone(), Reason::SamePath)
}

/// The path with `_` for what the target's names cannot hold.
fn writable(path: &MailboxPath, naming: &Naming) -> MailboxPath {
    let level = |name: &String| {
        let name: String = name
            .chars()
            .map(|c| if c.is_control() || Some(c) == naming.forbidden { '_' } else { c })
            .collect();
        if name.is_empty() { "_".to_owned() } else { name }
    };
    let levels = path.names().iter().map(level);
    if naming.nested {
        MailboxPath::new(levels)
    } else {
        MailboxPath::new([levels.collect::<Vec<_>>().join("-")])
    }
}

/// The path in the plainest words: for a server that refused it as it is.
#[must_use]
pub fn plainer(path: &MailboxPath) -> MailboxPath {
    MailboxPath::new(path.names().iter().map(|name| {
        let plain: String = name
            .trim()
            .chars()
            .map(|c| {
                let is_plain = c.is_alphanumeric() && c < '\u{10000}';
                if is_plain || matches!(c, ' ' | '-' | '_' | '.' | ',' | '(' | ')' | '+') {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        let plain = plain.trim_end_matches(['.', ' ']).to_owned();
        if plain.is_empty() { "_".to_owned() } else { plain }
    }))
}

/// The path itself, or with the first number that no other mailbox has: `Work (2)`.
#[must_use]
pub fn free(path: MailboxPath, taken: &BTreeSet<MailboxPath>) -> MailboxPath {
    if !taken.contains(&path) {
        return path;
    }
    let (last, above) = path.names().split_last().map_or(("", &[][..]), |(l, a)| (l.as_str(), a));
    (2..)
        .map(|number| {
            let numbered = format!("{last} ({number})");
            MailboxPath::new(above.iter().cloned().chain([numbered]))
        })
        .find(|candidate| !taken.contains(candidate))
        .unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SLASHES: Naming = Naming { forbidden: Some('/'), nested: true };
    const DOTS: Naming = Naming { forbidden: Some('.'), nested: true };

    fn mailbox(path: &str, special_use: Option<SpecialUse>) -> Mailbox {
        Mailbox {
            path: MailboxPath::new(path.split('/')),
            name: WireName(path.as_bytes().to_vec()),
            special_use,
            selectable: true,
            subscribed: false,
            foreign: false,
        }
    }

    fn targets(pairs: &[Pair]) -> Vec<(String, String)> {
        pairs.iter().map(|p| (p.source.path.to_string(), p.target.to_string())).collect()
    }

    fn plan(source: &[Mailbox], target: &[Mailbox], naming: &Naming) -> Vec<(String, String)> {
        targets(&pair(source, target, naming, &BTreeMap::new()))
    }

    fn to(source: &str, target: &str) -> (String, String) {
        (source.to_owned(), target.to_owned())
    }

    #[test]
    fn special_uses_meet_and_their_children_follow() {
        let source = [
            mailbox("INBOX", None),
            mailbox("Sent", Some(SpecialUse::Sent)),
            mailbox("Sent/2019", None),
            mailbox("Sent Items", None),
        ];
        let target = [mailbox("Sent Items", Some(SpecialUse::Sent)), mailbox("INBOX", None)];
        assert_eq!(
            plan(&source, &target, &SLASHES),
            [
                to("INBOX", "INBOX"),
                to("Sent", "Sent Items"),
                to("Sent/2019", "Sent Items/2019"),
                to("Sent Items", "Sent Items (2)"),
            ]
        );
    }

    #[test]
    fn a_view_of_all_mail_is_no_place_to_put_mail() {
        let source = [mailbox("All", Some(SpecialUse::All))];
        let target = [mailbox("Everything", Some(SpecialUse::All))];
        assert_eq!(plan(&source, &target, &SLASHES), [to("All", "All")]);
    }

    #[test]
    fn names_that_only_a_delimiter_tells_apart_stay_apart() {
        let source = [mailbox("a.b", None), mailbox("a/b", None), mailbox("a_b", None)];
        assert_eq!(
            plan(&source, &[], &DOTS),
            [to("a/b", "a/b"), to("a.b", "a_b"), to("a_b", "a_b (2)")]
        );
    }

    #[test]
    fn what_earlier_runs_fixed_stays() {
        let source = [mailbox("Sent", Some(SpecialUse::Sent)), mailbox("Old", None)];
        let target = [mailbox("Sent Items", Some(SpecialUse::Sent))];
        let fixed = BTreeMap::from([(WireName(b"Sent".to_vec()), MailboxPath::new(["Old"]))]);
        let pairs = pair(&source, &target, &SLASHES, &fixed);
        assert_eq!(targets(&pairs), [to("Old", "Old (2)"), to("Sent", "Old")]);
        assert_eq!(pairs[1].reason, Reason::Fixed);
    }

    #[test]
    fn mailboxes_of_others_are_left_out() {
        let shared = Mailbox { foreign: true, ..mailbox("Shared/a", None) };
        assert_eq!(plan(&[shared, mailbox("b", None)], &[], &SLASHES), [to("b", "b")]);
    }

    #[test]
    fn mailboxes_that_hold_nothing_are_left_out() {
        let parent = Mailbox { selectable: false, ..mailbox("a", None) };
        assert_eq!(plan(&[parent, mailbox("a/b", None)], &[], &SLASHES), [to("a/b", "a/b")]);
    }

    #[test]
    fn plainer_names_lose_what_servers_refuse() {
        let path = MailboxPath::new(["quote\"name", "100%*", "🎉 party", "trailing dot.", "日本"]);
        assert_eq!(
            plainer(&path).names(),
            ["quote_name", "100__", "_ party", "trailing dot", "日本"]
        );
    }

    proptest! {
        #[test]
        fn no_two_source_mailboxes_share_a_target(
            names in prop::collection::btree_set("[ab./_]{1,4}", 1..12),
            there in prop::collection::btree_set("[ab._]{1,3}", 0..4),
        ) {
            let source: Vec<Mailbox> = names.iter().map(|name| mailbox(name, None)).collect();
            let target: Vec<Mailbox> = there.iter().map(|name| mailbox(name, None)).collect();
            for naming in [SLASHES, DOTS, Naming { forbidden: None, nested: false }] {
                let pairs = pair(&source, &target, &naming, &BTreeMap::new());
                let places: BTreeSet<&MailboxPath> = pairs.iter().map(|pair| &pair.target).collect();
                prop_assert_eq!(places.len(), pairs.len());
                for place in places {
                    let holds = |name: &String| naming.forbidden.is_some_and(|c| name.contains(c));
                    prop_assert!(!place.names().iter().any(|name| name.is_empty() || holds(name)));
                }
            }
        }
    }
}
