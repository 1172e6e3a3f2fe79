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
        let (views, places) = own.into_iter().partition(|own| labels::is_view(own.mailbox));
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
mod tests {
    use super::*;
    use crate::mail::Namespaces;
    use crate::plan::rules::{MapRule, Pattern};
    use proptest::prelude::*;

    const SLASHES: Naming = Naming { forbidden: Some('/'), nested: true, foreign: Vec::new() };
    const DOTS: Naming = Naming { forbidden: Some('.'), nested: true, foreign: Vec::new() };

    fn path(text: &str) -> MailboxPath {
        MailboxPath::parse(text).expect(text)
    }

    fn mailbox(path: &str, special_use: Option<SpecialUse>) -> Mailbox {
        Mailbox {
            path: MailboxPath::new(path.split('/')),
            name: WireName(path.as_bytes().to_vec()),
            special_use,
            selectable: true,
            subscribed: false,
            namespace: Namespace::Personal,
        }
    }

    fn targets(pairs: &[Pair]) -> Vec<(String, String)> {
        pairs.iter().map(|p| (p.source.path.to_string(), p.target.to_string())).collect()
    }

    /// What is asked for, to be borrowed.
    #[derive(Debug, Default)]
    struct Asked {
        rules: Rules,
        source_root: Option<MailboxPath>,
        target_root: Option<MailboxPath>,
        fixed: BTreeMap<WireName, MailboxPath>,
    }

    impl Asked {
        fn map(rules: &[&str]) -> Self {
            let map = rules.iter().map(|rule| MapRule::parse(rule).expect(rule)).collect();
            let rules = Rules { map, ..Rules::default() };
            Self { rules, ..Self::default() }
        }

        fn plan(&self, source: &[Mailbox], target: &[Mailbox], naming: &Naming) -> Plan {
            let Self { rules, source_root, target_root, fixed } = self;
            let (source_root, target_root) = (source_root.as_ref(), target_root.as_ref());
            super::plan(
                source,
                target,
                naming,
                Wishes { rules, has_labels: false, source_root, target_root, fixed },
            )
        }

        fn targets(&self, source: &[Mailbox], target: &[Mailbox]) -> Vec<(String, String)> {
            targets(&self.plan(source, target, &SLASHES).pairs)
        }
    }

    fn plan(source: &[Mailbox], target: &[Mailbox], naming: &Naming) -> Vec<(String, String)> {
        targets(&Asked::default().plan(source, target, naming).pairs)
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
        let asked = Asked { fixed, ..Asked::map(&["Sent=New"]) };
        let pairs = asked.plan(&source, &target, &SLASHES).pairs;
        assert_eq!(targets(&pairs), [to("Old", "Old (2)"), to("Sent", "Old")]);
        assert_eq!(pairs[1].why(), "as in earlier runs; the rule Sent=New comes too late");
    }

    #[test]
    fn mailboxes_of_others_are_left_out() {
        let shared = Mailbox { namespace: Namespace::Others, ..mailbox("Shared/a", None) };
        assert_eq!(plan(&[shared, mailbox("b", None)], &[], &SLASHES), [to("b", "b")]);
    }

    #[test]
    fn mailboxes_of_others_go_to_own_ones_where_they_are_asked_for() {
        let foreign = |path, namespace, special_use| {
            let mailbox = mailbox(path, special_use);
            let name = WireName([b"#".to_vec(), mailbox.name.0].concat());
            Mailbox { namespace, name, ..mailbox }
        };
        let source = [
            foreign("Shared/a", Namespace::Shared, None),
            foreign("Users/bob/INBOX", Namespace::Others, None),
            foreign("Users/bob/Sent", Namespace::Others, Some(SpecialUse::Sent)),
            mailbox("INBOX", None),
            mailbox("Mine", Some(SpecialUse::Sent)),
            mailbox("Users/bob/INBOX", None),
        ];
        let target = [
            Mailbox { namespace: Namespace::Shared, ..mailbox("Shared/a", None) },
            mailbox("Sent", Some(SpecialUse::Sent)),
        ];
        let namespaces = Namespaces { others: true, shared: true, ..Namespaces::default() };
        let asked = |namespaces| {
            let rules = Rules { namespaces, ..Rules::default() };
            Asked { rules, ..Asked::default() }
        };
        let naming = Naming { foreign: vec![path("Shared")], ..SLASHES };
        let pairs = asked(namespaces).plan(&source, &target, &naming).pairs;
        assert_eq!(
            targets(&pairs),
            [
                to("INBOX", "INBOX"),
                to("Mine", "Sent"),
                to("Users/bob/INBOX", "Users/bob/INBOX"),
                to("Users/bob/INBOX", "Users/bob/INBOX (2)"),
                to("Users/bob/Sent", "Users/bob/Sent"),
                to("Shared/a", "Shared (2)/a"),
            ]
        );
        let why = "same name, by --namespaces shared, renamed: at the target such names are not the \
                   account's own";
        assert_eq!(pairs[5].why(), why);
        assert_eq!((pairs[5].existing.clone(), pairs[4].make_for), (None, None));
        let only = Namespaces { personal: false, others: false, shared: true };
        let plan = asked(only).plan(&source, &target, &SLASHES);
        assert_eq!(targets(&plan.pairs), [to("Shared/a", "Shared/a")]);
        let because = Because::NotAsked(Namespace::Personal).to_string();
        assert_eq!(because, "it is the account's own, and --namespaces does not mean it");
        assert_eq!(plan.left_out.len(), 5);
    }

    #[test]
    fn mailboxes_that_hold_nothing_are_left_out() {
        let parent = Mailbox { selectable: false, ..mailbox("a", None) };
        assert_eq!(plan(&[parent, mailbox("a/b", None)], &[], &SLASHES), [to("a/b", "a/b")]);
    }

    /// D03
    #[test]
    fn of_two_inboxes_one_is_the_inbox() {
        let below = Mailbox { name: WireName(b"INBOX.inbox".to_vec()), ..mailbox("INBOX", None) };
        let source = [below, mailbox("INBOX", None), mailbox("inbox/a", None)];
        let pairs = Asked::default().plan(&source, &[mailbox("INBOX", None)], &SLASHES).pairs;
        let expected = [to("INBOX", "INBOX"), to("INBOX", "INBOX (2)"), to("INBOX/a", "INBOX/a")];
        assert_eq!(targets(&pairs), expected);
        assert_eq!(pairs[0].source.name, WireName(b"INBOX".to_vec()));
        assert_eq!(pairs[1].renamed, Some(Renamed::Taken));
    }

    /// D14
    #[test]
    fn a_mailbox_that_is_listed_twice_is_one() {
        assert_eq!(plan(&[mailbox("a", None), mailbox("a", None)], &[], &SLASHES), [to("a", "a")]);
    }

    #[test]
    fn names_tell_what_no_attribute_says_on_either_side() {
        let source =
            [mailbox("Gesendet", None), mailbox("Gesendet/2019", None), mailbox("Corbeille", None)];
        for target in [
            [mailbox("Sent Items", None), mailbox("Papelera", None)],
            [
                mailbox("Sent Items", Some(SpecialUse::Sent)),
                mailbox("Papelera", Some(SpecialUse::Trash)),
            ],
        ] {
            let expected = [
                to("Corbeille", "Papelera"),
                to("Gesendet", "Sent Items"),
                to("Gesendet/2019", "Sent Items/2019"),
            ];
            assert_eq!(plan(&source, &target, &SLASHES), expected);
        }
        let made = Asked::default().plan(&source, &[], &SLASHES).pairs;
        assert_eq!(made[1].make_for, Some(SpecialUse::Sent));
        assert_eq!((made[0].special_use, made[2].make_for), (Some(SpecialUse::Trash), None));
    }

    #[test]
    fn an_attribute_goes_before_every_name() {
        let source = [mailbox("Sent", None), mailbox("x", Some(SpecialUse::Sent))];
        let target = [mailbox("Gesendet", Some(SpecialUse::Sent)), mailbox("Sent", None)];
        assert_eq!(plan(&source, &target, &SLASHES), [to("Sent", "Sent"), to("x", "Gesendet")]);
    }

    #[test]
    fn a_name_on_the_target_is_meant_for_the_mailbox_of_that_name() {
        let source = [mailbox("Sent", None), mailbox("x", Some(SpecialUse::Sent))];
        assert_eq!(
            plan(&source, &[mailbox("Sent", None)], &SLASHES),
            [to("Sent", "Sent"), to("x", "x")]
        );
    }

    #[test]
    fn rules_go_first_and_take_no_other_s_place() {
        let source = [
            mailbox("New", None),
            mailbox("Old", None),
            mailbox("Old/a", None),
            mailbox("Sent", None),
        ];
        let target = [mailbox("Sent Items", Some(SpecialUse::Sent))];
        assert_eq!(
            Asked::map(&["old=New", "Sent=Post/Sent"]).targets(&source, &target),
            [
                to("New", "New"),
                to("Old", "New (2)"),
                to("Old/a", "New (2)/a"),
                to("Sent", "Post/Sent")
            ]
        );
        let mut merging = Asked::map(&["old=New"]);
        merging.rules.merge = true;
        let merged = merging.targets(&source, &target);
        assert_eq!(merged[1..3], [to("Old", "New"), to("Old/a", "New/a")]);
    }

    #[test]
    fn mailboxes_can_change_places() {
        let source = [mailbox("INBOX", None), mailbox("a", None), mailbox("b", None)];
        assert_eq!(
            Asked::map(&["a=b", "b=INBOX", "INBOX=a"]).targets(&source, &[]),
            [to("INBOX", "a"), to("a", "b"), to("b", "INBOX")]
        );
    }

    #[test]
    fn what_is_below_a_mapped_place_goes_with_it_though_it_is_not_there() {
        let parent = Mailbox { selectable: false, ..mailbox("Old", None) };
        assert_eq!(
            Asked::map(&["Old=New"]).targets(&[parent, mailbox("Old/a/b", None)], &[]),
            [to("Old/a/b", "New/a/b")]
        );
    }

    #[test]
    fn merging_brings_all_of_one_use_together() {
        let source = [mailbox("Sent", None), mailbox("Sent Items", None), mailbox("a.b", None)];
        let target = [mailbox("Gesendet", Some(SpecialUse::Sent)), mailbox("a_b", None)];
        let mut asked = Asked::default();
        asked.rules.merge = true;
        let pairs = asked.plan(&source, &target, &DOTS).pairs;
        let expected = [to("Sent", "Gesendet"), to("Sent Items", "Gesendet"), to("a.b", "a_b")];
        assert_eq!(targets(&pairs), expected);
    }

    #[test]
    fn what_is_left_out_is_told_with_the_rule() {
        let source = [
            mailbox("INBOX", None),
            mailbox("Papierkorb", None),
            mailbox("Papierkorb/a", None),
            mailbox("Work", None),
        ];
        let pattern = |text| Pattern::parse(text).expect(text);
        let mut asked = Asked::default();
        asked.rules.exclude = vec![pattern("DeletedItems/*")];
        let left_out = |asked: &Asked| {
            let left_out = asked.plan(&source, &[], &SLASHES).left_out;
            let told = |one: &LeftOut| (one.source.path.to_string(), one.because.to_string());
            left_out.iter().map(told).collect::<Vec<_>>()
        };
        let excluded = to("Papierkorb", "by --exclude DeletedItems/*");
        assert_eq!(left_out(&asked)[0], excluded);
        assert_eq!(left_out(&asked).len(), 2);
        asked.rules.include = vec![pattern("Inbox"), pattern("DeletedItems/*")];
        assert_eq!(left_out(&asked)[2], to("Work", "no --include means it"));
        assert_eq!(asked.targets(&source, &[]), [to("INBOX", "INBOX")]);
    }

    #[test]
    fn roots_stand_for_the_account() {
        let user = Mailbox { namespace: Namespace::Others, ..mailbox("user/joe", None) };
        let sent = Mailbox {
            namespace: Namespace::Others,
            ..mailbox("user/joe/Sent", Some(SpecialUse::Sent))
        };
        let other = Mailbox { namespace: Namespace::Others, ..mailbox("user/ann", None) };
        let source = [mailbox("INBOX", None), user, sent, other];
        let target = [mailbox("Sent Items", Some(SpecialUse::Sent)), mailbox("INBOX", None)];
        let mut asked = Asked { source_root: Some(path("user/joe")), ..Asked::default() };
        let joe = [to("user/joe", "INBOX"), to("user/joe/Sent", "Sent Items")];
        assert_eq!(asked.targets(&source, &target), joe);
        asked.target_root = Some(path("Old mail"));
        let joe = [to("user/joe", "Old mail/INBOX"), to("user/joe/Sent", "Old mail/Sent")];
        assert_eq!(asked.targets(&source, &target), joe);
        assert!(asked.plan(&source, &target, &SLASHES).left_out.is_empty());
    }

    #[test]
    fn a_root_with_an_inbox_in_it_keeps_its_name() {
        let source = [mailbox("Old", None), mailbox("Old/INBOX", None), mailbox("New", None)];
        let asked = Asked { source_root: Some(path("Old")), ..Asked::default() };
        assert_eq!(asked.targets(&source, &[]), [to("Old/INBOX", "INBOX"), to("Old", "Old")]);
    }

    /// D12
    #[test]
    fn a_name_that_is_refused_whole_gets_a_number_where_it_may_be_refused() {
        let names = |path: &str, taken: &[&str]| -> Vec<String> {
            let taken = taken.iter().map(|taken| self::path(taken)).collect();
            other_names(&self::path(path), &taken).iter().map(ToString::to_string).collect()
        };
        assert_eq!(names("Files", &["Files"]), ["Files (2)"]);
        assert_eq!(names("Files/a", &["Files/a"]), ["Files/a (2)", "Files (2)/a"]);
        assert_eq!(names("[Gmail]", &[]), ["_Gmail_", "_Gmail_ (2)"]);
        assert_eq!(names("~x ", &["_x"]), ["_x (2)"]);
        let long = "é".repeat(300);
        assert_eq!(names(&long, &[])[0], "é".repeat(60));
    }

    /// D01
    #[test]
    fn names_that_servers_take_for_one_are_alike() {
        for (one, other) in
            [("Trash", "trash"), ("a/B", "A/b"), ("x ", "x"), ("É", "é"), ("a:", "a?")]
        {
            assert!(are_alike(
                &MailboxPath::new(one.split('/')),
                &MailboxPath::new(other.split('/'))
            ));
        }
        assert!(!are_alike(&path("a"), &path("b")) && !are_alike(&path("a/b"), &path("b")));
    }

    #[test]
    fn plainer_names_lose_what_servers_refuse() {
        let path = MailboxPath::new(["quote\"name", "100%*", "🎉 party", "trailing dot.", "日本"]);
        assert_eq!(
            plainer(&path).names(),
            ["quote_name", "100__", "_ party", "trailing dot", "日本"]
        );
    }

    /// Names in which collisions of all kinds happen.
    const NAMES: &str = "(sent|Sent|Gesendet|Drafts|INBOX|[ab._]{1,3})(/[ab._]{1,2}){0,2}";

    fn some_use(number: u8) -> Option<SpecialUse> {
        [None, None, None, Some(SpecialUse::Sent), Some(SpecialUse::Drafts), Some(SpecialUse::All)]
            [usize::from(number) % 6]
    }

    prop_compose! {
        fn mailboxes()(
            mailboxes in prop::collection::btree_map(NAMES, any::<u8>(), 0..12),
        ) -> Vec<Mailbox> {
            mailboxes.iter().map(|(name, use_)| mailbox(name, some_use(*use_))).collect()
        }
    }

    prop_compose! {
        fn asked()(
            rules in prop::collection::vec("(sent|a|[ab]/\\*|INBOX)=(b|New|Sent|INBOX)", 0..3),
            root in prop::option::of("(Old|INBOX)"),
        ) -> Asked {
            let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
            Asked { target_root: root.as_deref().map(path), ..Asked::map(&rules) }
        }
    }

    proptest! {
        #[test]
        fn no_two_source_mailboxes_share_a_target(
            source in mailboxes(),
            target in mailboxes(),
            asked in asked(),
        ) {
            for naming in [SLASHES, DOTS, Naming::of(None)] {
                let plan = asked.plan(&source, &target, &naming);
                prop_assert_eq!(plan.pairs.len() + plan.left_out.len(), source.len());
                let places: BTreeSet<&MailboxPath> = plan.pairs.iter().map(|pair| &pair.target).collect();
                prop_assert_eq!(places.len(), plan.pairs.len());
                let holds = |name: &String| naming.forbidden.is_some_and(|c| name.contains(c));
                for place in plan.pairs.iter().filter(|p| p.existing.is_none()).map(|p| &p.target) {
                    prop_assert!(!place.names().iter().any(|name| name.is_empty() || holds(name)));
                }
            }
        }

        #[test]
        fn the_order_in_which_mailboxes_are_listed_changes_nothing(
            source in mailboxes(),
            target in mailboxes(),
            asked in asked(),
            turn in 0..12_usize,
        ) {
            let mut listed = source.clone();
            listed.rotate_left(turn.min(source.len()));
            let mut there = target.clone();
            there.reverse();
            let (one, other) =
                (asked.plan(&source, &target, &SLASHES), asked.plan(&listed, &there, &SLASHES));
            prop_assert_eq!(targets(&one.pairs), targets(&other.pairs));
        }

        #[test]
        fn planning_again_gives_the_same(
            source in mailboxes(),
            target in mailboxes(),
            asked in asked(),
            fixed in prop::collection::vec(any::<bool>(), 12),
            are_made_for_uses: bool,
        ) {
            let first = asked.plan(&source, &target, &SLASHES).pairs;
            // Everything was made, and messages were sent to some.
            let mut target = target;
            for pair in first.iter().filter(|pair| pair.existing.is_none()) {
                let special_use = pair.make_for.filter(|_| are_made_for_uses);
                let path = pair.target.to_string();
                target.retain(|there| there.path != pair.target);
                target.push(mailbox(&path, special_use));
            }
            let of_some = first.iter().zip(&fixed).filter(|(_, is_fixed)| **is_fixed);
            let fixed = of_some.map(|(pair, _)| (pair.source.name.clone(), pair.target.clone()));
            let asked = Asked { fixed: fixed.collect(), ..asked };
            let again = asked.plan(&source, &target, &SLASHES).pairs;
            let told = |pairs: &[Pair]| pairs.iter().map(Pair::why).collect::<Vec<_>>();
            prop_assert_eq!(
                targets(&again), targets(&first), "{:?} {:?} {:?}", told(&first), told(&again), asked
            );
            prop_assert!(again.iter().all(|pair| pair.existing.is_some()));
        }
    }
}
