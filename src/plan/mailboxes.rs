//! Which source mailbox goes to which target mailbox.
//!
//! In this order: what an earlier run fixed; the user's rules; INBOX; the same use (RFC 6154, else by
//! name); below a mailbox that goes elsewhere, the same place below its target; else the same path;
//! with what the target's names cannot hold replaced. All mail of a source with labels is an archive. Two source mailboxes never end in one unless
//! the user allows it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::labels;
use super::roles::{self, Candidates, Known};
use super::rules::{Names, Rules};
use crate::mail::{Mailbox, MailboxPath, Namespace, SpecialUse, WireName};
use crate::own::OwnName;
use crate::target::Naming;

/// What is to become of an account's mailboxes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Those that are copied: INBOX first, then by path.
    pub pairs: Vec<Pair>,
    /// Those that are not copied.
    pub left_out: Vec<LeftOut>,
}

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
    /// Why it does not go where that would have it.
    pub renamed: Option<Renamed>,
    /// What it is for.
    pub special_use: Option<SpecialUse>,
    /// What the target's mailbox is to be made for: none where it has one for that.
    pub make_for: Option<SpecialUse>,
}

/// Why a mailbox goes where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// An earlier run sent messages there. A rule that would have it elsewhere comes too late.
    Fixed {
        /// That rule.
        too_late: Option<String>,
    },
    /// The user's rule, as it was written.
    Rule(String),
    /// It has the same path (below the target's root, where the user names one).
    SamePath,
    /// Both are for the same use.
    SpecialUse {
        /// The use.
        special_use: SpecialUse,
        /// How it is known of the source's.
        source: Known,
        /// How it is known of the target's.
        target: Known,
    },
    /// The mailbox above it goes elsewhere.
    Parent,
    /// It is the source's mailbox of all messages, of which those without a label go to an archive.
    AllMail,
    /// It is not the account's own, and asked for: it has the same path.
    Foreign(Namespace),
}

/// Why a mailbox got another name than it should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renamed {
    /// The target's names cannot hold it.
    Unwritable,
    /// Another mailbox goes there.
    Taken,
    /// The target would not make it.
    Refused,
    /// The target takes it for another mailbox.
    Alike,
    /// At the target, mailboxes of that name are other users' or shared.
    Foreign,
}

/// A mailbox that is not copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The source mailbox.
    pub source: Mailbox,
    /// Why.
    pub because: Because,
}

/// Why a mailbox is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// It is in a namespace that is not asked for.
    NotAsked(Namespace),
    /// It holds no messages, only other mailboxes.
    NotSelectable,
    /// A mailhaul has made it for itself.
    Ours,
    /// It shows what is in others, at a source with labels.
    View,
    /// The user includes others only.
    NotIncluded,
    /// The user excludes it, by this pattern.
    Excluded(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed { too_late: None } => f.write_str("as in earlier runs"),
            Self::Fixed { too_late: Some(rule) } => {
                write!(f, "as in earlier runs; the {rule} comes too late")
            }
            Self::Rule(text) => write!(f, "rule {text}"),
            Self::SamePath => f.write_str("same name"),
            Self::SpecialUse { special_use, source, target } => {
                write!(f, "special use {special_use:?}")?;
                for (side, known) in [("source", source), ("target", target)] {
                    if let Known::ByName(language) = known {
                        write!(f, ", by the {side}'s name in {language}")?;
                    }
                }
                Ok(())
            }
            Self::Parent => f.write_str("below its parent"),
            Self::AllMail => f.write_str("what has no label is archived"),
            Self::Foreign(namespace) => write!(f, "same name, by --namespaces {namespace}"),
        }
    }
}

impl fmt::Display for Renamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unwritable => "the target's names cannot hold its name",
            Self::Taken => "another mailbox goes there",
            Self::Refused => "the target refuses that name",
            Self::Alike => "the target takes that name for another's",
            Self::Foreign => "at the target such names are not the account's own",
        })
    }
}

impl Pair {
    /// Why it goes there and not where one would think, in words.
    #[must_use]
    pub fn why(&self) -> String {
        match self.renamed {
            Some(renamed) => format!("{}, renamed: {renamed}", self.reason),
            None => self.reason.to_string(),
        }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked(namespace) => {
                let whose = match namespace {
                    Namespace::Personal => "the account's own",
                    Namespace::Others => "another user's",
                    Namespace::Shared => "shared",
                };
                write!(f, "it is {whose}, and --namespaces does not mean it")
            }
            Self::NotSelectable => f.write_str("it holds no messages, only mailboxes"),
            Self::Ours => f.write_str("a mailhaul has made it for itself"),
            Self::View => f.write_str("it only shows what is in other mailboxes, too"),
            Self::NotIncluded => f.write_str("no --include means it"),
            Self::Excluded(pattern) => write!(f, "by --exclude {pattern}"),
        }
    }
}

/// What is asked of an account's mailboxes.
#[derive(Debug, Clone, Copy)]
pub struct Wishes<'a> {
    /// The rules for all accounts. Their paths begin below both roots.
    pub rules: &'a Rules,
    /// Whether the source has labels, and a mailbox of all messages: that one is an archive, then, and
    /// the other views are left out.
    pub has_labels: bool,
    /// Mailboxes of which that one does not show everything: the rest is copied from them.
    pub beyond_all: &'a BTreeSet<WireName>,
    /// Only what is below it is copied, as if it were the account's root.
    pub source_root: Option<&'a MailboxPath>,
    /// Everything goes below it, and nothing by use.
    pub target_root: Option<&'a MailboxPath>,
    /// The targets of earlier runs by the source's spelling.
    pub fixed: &'a BTreeMap<WireName, MailboxPath>,
}

/// A source mailbox as seen from the source's root.
struct Own<'m> {
    mailbox: &'m Mailbox,
    path: MailboxPath,
    names: Names,
}

/// Decides for every source mailbox.
#[must_use]
pub fn plan(source: &[Mailbox], target: &[Mailbox], naming: &Naming, wishes: Wishes<'_>) -> Plan {
    // Servers list them in any order, and that must decide nothing.
    let (mut source, target) = (sorted(source), sorted(target));
    let all = match wishes.has_labels {
        true => source.iter_mut().find(|mailbox| mailbox.special_use == Some(SpecialUse::All)),
        false => None,
    };
    let all = all.map(|mailbox| {
        mailbox.special_use = Some(SpecialUse::Archive);
        mailbox.name.clone()
    });
    let mut left_out = Vec::new();
    let rooted = below_root(&source, wishes, &mut left_out);
    // Another user's mail that was sent is not this one's.
    let may_have_uses = |mailbox: &Mailbox| wishes.source_root.is_some() || !mailbox.is_foreign();
    let own = rooted.iter().filter(|(mailbox, _)| may_have_uses(mailbox));
    let uses = roles::candidates(own.map(|(mailbox, path)| (*mailbox, path)));
    let mut own = Vec::new();
    for (mailbox, path) in rooted {
        let names = Names::of(&path, &uses);
        let because = match OwnName::looks_like_one(&mailbox.path) {
            true => Some(Because::Ours),
            false if !mailbox.selectable => Some(Because::NotSelectable),
            false => because(&names, wishes.rules),
        };
        match because {
            Some(because) => left_out.push(LeftOut { source: mailbox.clone(), because }),
            None => own.push(Own { mailbox, path, names }),
        }
    }
    if all.as_ref().is_some_and(|all| own.iter().any(|own: &Own| own.mailbox.name == *all)) {
        let mode = wishes.rules.labels;
        let is_shown = |own: &Own| {
            all.as_ref() != Some(&own.mailbox.name)
                && labels::is_in_all_mail(own.mailbox, mode)
                && !wishes.beyond_all.contains(&own.mailbox.name)
        };
        let (views, places) = own.into_iter().partition(is_shown);
        own = places;
        left_out.extend(
            Vec::into_iter(views)
                .map(|view: Own| LeftOut { source: view.mailbox.clone(), because: Because::View }),
        );
    }
    own.sort_by_cached_key(|own| {
        let is_inbox = (!own.path.is_inbox(), !is_named_inbox(own.mailbox));
        (is_inbox, own.mailbox.namespace, own.path.clone())
    });
    left_out.sort_by(|one, other| one.source.path.cmp(&other.source.path));
    let planning = Planning { all, ..Planning::new(&own, &target, naming, wishes, &uses) };
    let pairs = planning.pairs();
    Plan { pairs, left_out }
}

/// Those that stand higher first.
fn sorted(mailboxes: &[Mailbox]) -> Vec<Mailbox> {
    let mut mailboxes = mailboxes.to_vec();
    mailboxes
        .sort_by_cached_key(|one| (one.path.names().len(), one.path.clone(), one.name.clone()));
    mailboxes
}

fn is_named_inbox(mailbox: &Mailbox) -> bool {
    mailbox.name.0.eq_ignore_ascii_case(b"INBOX")
}

/// The account's mailboxes with their paths below the root: without one, what is in the namespaces that
/// are asked for. The root itself is its INBOX, unless one of that name is in it.
fn below_root<'m>(
    source: &'m [Mailbox],
    wishes: Wishes<'_>,
    left_out: &mut Vec<LeftOut>,
) -> Vec<(&'m Mailbox, MailboxPath)> {
    let root = wishes.source_root;
    let mut rooted = Vec::new();
    let mut names = BTreeSet::new();
    for mailbox in source.iter().filter(|mailbox| names.insert(&mailbox.name)) {
        let path = match root {
            Some(root) if mailbox.path.is_in(root) => {
                MailboxPath::new(mailbox.path.names()[root.names().len()..].to_vec())
            }
            None if wishes.rules.namespaces.has(mailbox.namespace) => mailbox.path.clone(),
            // With a root, what is not in it is not the account's: an administrator sees everybody's.
            Some(_) => continue,
            None => {
                if mailbox.selectable {
                    let because = Because::NotAsked(mailbox.namespace);
                    left_out.push(LeftOut { source: mailbox.clone(), because });
                }
                continue;
            }
        };
        rooted.push((mailbox, path));
    }
    if let Some(root) = root {
        let has_inbox = rooted.iter().any(|(_, path)| path.is_inbox());
        let last = root.names().last().filter(|_| has_inbox);
        for (_, path) in rooted.iter_mut().filter(|(_, path)| path.names().is_empty()) {
            *path = last.map_or_else(MailboxPath::inbox, |name| MailboxPath::new([name]));
        }
    }
    rooted
}

/// Why the rules leave a mailbox out.
fn because(names: &Names, rules: &Rules) -> Option<Because> {
    if !rules.include.is_empty() && !rules.include.iter().any(|pattern| pattern.matches(names)) {
        return Some(Because::NotIncluded);
    }
    let excluded = rules.exclude.iter().find(|pattern| pattern.matches(names))?;
    Some(Because::Excluded(excluded.text.clone()))
}

/// The state of a decision about all mailboxes of an account.
struct Planning<'a> {
    own: &'a [Own<'a>],
    target: &'a [Mailbox],
    naming: &'a Naming,
    wishes: Wishes<'a>,
    source_uses: &'a Candidates,
    /// The source's mailbox of all messages, where these have labels.
    all: Option<WireName>,
    target_uses: Candidates,
    /// The first mailbox of each path: there can be a second INBOX, and names that decode to the same.
    firsts: BTreeMap<&'a MailboxPath, &'a WireName>,
    /// Where mailboxes go that are decided already.
    taken: BTreeSet<MailboxPath>,
    /// The same, by their paths at the source.
    goes_to: BTreeMap<MailboxPath, MailboxPath>,
}

/// Where a mailbox should go, and why.
type Place = (MailboxPath, Reason);

impl<'a> Planning<'a> {
    fn new(
        own: &'a [Own<'a>],
        target: &'a [Mailbox],
        naming: &'a Naming,
        wishes: Wishes<'a>,
        source_uses: &'a Candidates,
    ) -> Self {
        let places = target.iter().filter(|mailbox| mailbox.selectable && !mailbox.is_foreign());
        let mut firsts = BTreeMap::new();
        for own in own {
            firsts.entry(&own.path).or_insert(&own.mailbox.name);
        }
        Self {
            firsts,
            own,
            target,
            naming,
            wishes,
            source_uses,
            all: None,
            target_uses: roles::candidates(places.map(|mailbox| (mailbox, &mailbox.path))),
            taken: wishes.fixed.values().cloned().collect(),
            goes_to: BTreeMap::new(),
        }
    }

    fn pairs(mut self) -> Vec<Pair> {
        let inbox_place = self.at_root(&MailboxPath::inbox());
        let takes_it =
            |own: &&Own| self.is_inbox(own) && !self.is_fixed(own) && !self.is_ruled(own);
        if self.own.iter().any(|own| takes_it(&own)) {
            self.taken.insert(inbox_place);
        }
        let mut by_use = self.by_use();
        let are_ruled: Vec<bool> = self
            .own
            .iter()
            .map(|own| {
                let is_placed = self.is_fixed(own) || by_use.contains_key(&own.mailbox.name);
                !is_placed && (self.is_ruled(own) || self.is_below_ruled(&own.path))
            })
            .collect();
        let mut pairs: BTreeMap<usize, Pair> = BTreeMap::new();
        // Those that rules move come last: they take no other's place.
        for rules_turn in [false, true] {
            for (index, (own, is_ruled)) in self.own.iter().zip(&are_ruled).enumerate() {
                if *is_ruled == rules_turn {
                    let place = by_use.remove(&own.mailbox.name);
                    pairs.insert(index, self.decide(own, place));
                }
            }
        }
        pairs.into_values().collect()
    }

    fn decide(&mut self, own: &Own<'_>, by_use: Option<Place>) -> Pair {
        let (path, reason, renamed) = if let Some(path) = self.wishes.fixed.get(&own.mailbox.name) {
            let by_rule = self.by_rule(&own.names).filter(|(wanted, _)| wanted != path);
            let too_late = by_rule.map(|(_, rule)| rule.to_string());
            (path.clone(), Reason::Fixed { too_late }, None)
        } else if let Some((path, reason)) = by_use {
            (path, reason, None)
        } else if let Some((path, reason)) = self.by_rule(&own.names) {
            self.settle(path, reason)
        } else if self.is_inbox(own) {
            (self.at_root(&MailboxPath::inbox()), Reason::SamePath, None)
        } else if self.all.as_ref() == Some(&own.mailbox.name) {
            self.settle(self.at_root(&MailboxPath::new(["Archive"])), Reason::AllMail)
        } else {
            let (path, reason) = self.by_parent(&own.path).unwrap_or_else(|| self.same_path(own));
            let own_path = self.clear_of_others(&path);
            let (path, reason, renamed) = self.settle(own_path.clone().unwrap_or(path), reason);
            (path, reason, renamed.or(own_path.map(|_| Renamed::Foreign)))
        };
        self.taken.insert(path.clone());
        // What is below goes with the first of that path.
        if self.firsts.get(&own.path) == Some(&&own.mailbox.name) {
            self.goes_to.insert(own.path.clone(), path.clone());
        }
        self.pair(own, path, reason, renamed)
    }

    fn pair(
        &self,
        own: &Own<'_>,
        target: MailboxPath,
        reason: Reason,
        renamed: Option<Renamed>,
    ) -> Pair {
        let may_be_foreign = self.wishes.target_root.is_some();
        let there = self.target.iter().filter(|there| {
            there.selectable && there.path == target && (may_be_foreign || !there.is_foreign())
        });
        // Of several ways to spell INBOX its own name is meant.
        let existing = there.max_by_key(|mailbox| is_named_inbox(mailbox));
        let mut uses = self.source_uses.iter();
        let first = uses.find(|(_, places)| places.first().is_some_and(|(p, _)| *p == own.path));
        let first = first.map(|(special_use, _)| *special_use);
        let make_for = first.filter(|special_use| {
            let is_there = |there: &Mailbox| there.special_use == Some(*special_use);
            self.wishes.target_root.is_none() && !self.target.iter().any(is_there)
        });
        Pair {
            source: own.mailbox.clone(),
            existing: existing.map(|mailbox| mailbox.name.clone()),
            target,
            reason,
            renamed,
            special_use: own.mailbox.special_use.or(first),
            make_for,
        }
    }

    /// Whether it is the INBOX: one of several of that path. Courier can have an `INBOX.INBOX` beside it.
    fn is_inbox(&self, own: &Own<'_>) -> bool {
        let inbox = self.own.first().filter(|own| own.path.is_inbox());
        inbox.is_some_and(|inbox| inbox.mailbox.name == own.mailbox.name)
    }

    fn is_fixed(&self, own: &Own<'_>) -> bool {
        self.wishes.fixed.contains_key(&own.mailbox.name)
    }

    fn is_ruled(&self, own: &Own<'_>) -> bool {
        self.by_rule(&own.names).is_some()
    }

    fn is_below_ruled(&self, path: &MailboxPath) -> bool {
        let above = std::iter::successors(path.parent(), MailboxPath::parent);
        let mut names = above.map(|above| Names::of(&above, self.source_uses));
        names.any(|names| self.by_rule(&names).is_some())
    }

    /// The path below the target's root.
    fn at_root(&self, path: &MailboxPath) -> MailboxPath {
        match self.wishes.target_root {
            Some(root) => root.join(path.names()),
            None => path.clone(),
        }
    }

    fn same_path(&self, own: &Own<'_>) -> Place {
        let is_rooted = self.wishes.source_root.is_some();
        let reason = match own.mailbox.namespace {
            Namespace::Personal => Reason::SamePath,
            _ if is_rooted => Reason::SamePath,
            namespace => Reason::Foreign(namespace),
        };
        (self.at_root(&own.path), reason)
    }

    /// Another path, where this one is in another user's or a shared namespace of the target: what no rule
    /// sends there is not to be seen by others.
    fn clear_of_others(&self, path: &MailboxPath) -> Option<MailboxPath> {
        let is_in = |root: &MailboxPath| path.is_in(root);
        if self.wishes.target_root.is_some() || !self.naming.foreign.iter().any(is_in) {
            return None;
        }
        let (top, below) = path.names().split_first()?;
        Some(MailboxPath::new([format!("{top} (2)")]).join(below))
    }

    fn by_rule(&self, names: &Names) -> Option<Place> {
        self.wishes.rules.map.iter().find_map(|rule| {
            let path = rule.apply(names)?;
            Some((self.at_root(&path), Reason::Rule(rule.text.clone())))
        })
    }

    /// Gives the target's own mailboxes to the source's for the same uses, before mailboxes that happen
    /// to have their names.
    fn by_use(&mut self) -> BTreeMap<&'a WireName, Place> {
        let mut by_use = BTreeMap::new();
        let merge = self.wishes.rules.merge;
        for (special_use, places) in self.source_uses {
            let there = self.target_uses.get(special_use).map_or(&[][..], Vec::as_slice);
            let mut paths: Vec<&MailboxPath> = places.iter().map(|(path, _)| path).collect();
            // One that has the right name already needs no other.
            let is_right = |path: &&MailboxPath| {
                let place = (MailboxPath::clone(path), Known::ByAttribute);
                there.contains(&place)
            };
            paths.sort_by_key(|path| !is_right(path));
            // The place is the first one's, though that one went elsewhere in an earlier run.
            paths.truncate(if merge { usize::MAX } else { 1 });
            let own =
                paths.iter().filter_map(|path| self.own.iter().find(|own| own.path == **path));
            let free =
                own.filter(|own| !self.is_inbox(own) && !self.is_fixed(own) && !self.is_ruled(own));
            for own in free.collect::<Vec<_>>() {
                if let Some(place) = self.place_for(*special_use, own)
                    && (self.taken.insert(place.0.clone()) || merge)
                {
                    by_use.insert(&own.mailbox.name, place);
                }
            }
        }
        by_use
    }

    /// The target's own mailbox for a use that a source mailbox has. One that is only known by its name
    /// is meant for the source mailbox of that name, or that a rule sends there, where there is one.
    fn place_for(&self, special_use: SpecialUse, own: &Own<'_>) -> Option<Place> {
        if self.wishes.target_root.is_some() {
            return None;
        }
        let there = self.target_uses.get(&special_use)?;
        let same = there.iter().find(|(path, _)| *path == own.path);
        let is_ruled_to = |own: &Own, path: &MailboxPath| {
            self.by_rule(&own.names).is_some_and(|(wanted, _)| wanted == *path)
        };
        let is_others = |path: &MailboxPath| {
            self.own.iter().any(|own| own.path == *path || is_ruled_to(own, path))
        };
        let mut others = there.iter().filter(|(path, known)| {
            *known == Known::ByAttribute || self.wishes.rules.merge || !is_others(path)
        });
        let (place, target) = same.or_else(|| others.next())?;
        let places = self.source_uses.get(&special_use)?;
        let (_, source) = places.iter().find(|(path, _)| *path == own.path)?;
        let reason = Reason::SpecialUse { special_use, source: *source, target: *target };
        Some((place.clone(), reason))
    }

    /// The same place below where a mailbox above goes, or should go by a rule.
    fn by_parent(&self, path: &MailboxPath) -> Option<Place> {
        for above in std::iter::successors(path.parent(), MailboxPath::parent) {
            let by_rule = || Some(self.by_rule(&Names::of(&above, self.source_uses))?.0);
            if let Some(target) = self.goes_to.get(&above).cloned().or_else(by_rule) {
                let below = &path.names()[above.names().len()..];
                let is_same = target == self.at_root(&above);
                return (!is_same).then(|| (target.join(below), Reason::Parent));
            }
        }
        None
    }

    /// Makes a place one that the target can hold, and that nobody else has.
    fn settle(
        &self,
        wanted: MailboxPath,
        reason: Reason,
    ) -> (MailboxPath, Reason, Option<Renamed>) {
        let writable = writable(&wanted, self.naming);
        let may_share = self.wishes.rules.merge && writable == wanted;
        if may_share || !self.taken.contains(&writable) {
            let renamed = (writable != wanted).then_some(Renamed::Unwritable);
            return (writable, reason, renamed);
        }
        (free(writable, &self.taken), reason, Some(Renamed::Taken))
    }
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

/// Characters of one name that every server takes: Gmail's whole paths have 225, Dovecot's names 255
/// octets.
const NAME_CHARACTERS_MAX: usize = 60;

/// The path in the plainest words: for a server that refused it as it is.
#[must_use]
pub fn plainer(path: &MailboxPath) -> MailboxPath {
    MailboxPath::new(path.names().iter().map(|name| {
        let plain: String = name
            .trim()
            .chars()
            .take(NAME_CHARACTERS_MAX)
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

/// What a server may take for the same path: many ignore case and outer spaces, and change what they do
/// not like.
#[must_use]
pub fn are_alike(one: &MailboxPath, other: &MailboxPath) -> bool {
    let folded = |path| plainer(path).names().iter().map(|name| name.to_lowercase()).collect();
    let (one, other): (Vec<String>, Vec<String>) = (folded(one), folded(other));
    one == other
}

/// The names to try for a path that the target refused, the nearest first: in plain words; with a
/// number; with a number at the top, where that is what it refuses (`Files`, `Outbox`).
#[must_use]
pub fn other_names(path: &MailboxPath, taken: &BTreeSet<MailboxPath>) -> Vec<MailboxPath> {
    let plain = plainer(path);
    let mut taken = taken.clone();
    let mut others = vec![free(plain.clone(), &taken)];
    taken.extend([path.clone(), plain.clone()]);
    others.push(free(plain.clone(), &taken));
    if let [top, _, ..] = plain.names() {
        let top = MailboxPath::new([format!("{top} (2)")]);
        others.push(free(top.join(&plain.names()[1..]), &taken));
    }
    others.retain(|other| other != path);
    others.dedup();
    others
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
mod tests;
