//! Which mailboxes of a plan get in each other's way, in words for a person.

use std::collections::BTreeMap;

use super::mailboxes::{Pair, Renamed, are_alike};
use crate::mail::{Mailbox, MailboxPath, WireName};

/// What is to be said of pairs that share a target, wanted one that another has, or have one that a
/// target may take for another's, by the source's spelling. `there` is what the target lists.
#[must_use]
pub fn collisions(pairs: &[Pair], there: &[Mailbox]) -> BTreeMap<WireName, String> {
    let collision = |pair: &Pair| Some((pair.source.name.clone(), collision(pair, pairs, there)?));
    pairs.iter().filter_map(collision).collect()
}

fn collision(pair: &Pair, pairs: &[Pair], there: &[Mailbox]) -> Option<String> {
    let others = || pairs.iter().filter(|other| other.source.name != pair.source.name);
    if pair.renamed == Some(Renamed::Taken) {
        let wanted = without_number(&pair.target);
        let holder = wanted.and_then(|wanted| others().find(|other| other.target == wanted));
        return Some(match holder {
            Some(other) => format!("{} goes to {}", other.source.path, other.target),
            None => "another mailbox has that place".to_owned(),
        });
    }
    if let Some(other) = others().find(|other| other.target == pair.target) {
        return Some(format!("{} goes there, too", other.source.path));
    }
    let is_alike = |path: &MailboxPath| *path != pair.target && are_alike(path, &pair.target);
    if let Some(other) = others().find(|other| is_alike(&other.target)) {
        let other = &other.target;
        return Some(format!("a target that ignores case or odd characters takes it for {other}"));
    }
    let existing = there.iter().filter(|_| pair.existing.is_none());
    let mut existing = existing.filter(|there| !there.is_foreign() && is_alike(&there.path));
    let existing = existing.next()?;
    Some(format!("the target has {}, which it may take for the same", existing.path))
}

/// `Work` for `Work (2)`.
fn without_number(path: &MailboxPath) -> Option<MailboxPath> {
    let (last, above) = path.names().split_last()?;
    let (name, number) = last.strip_suffix(')')?.rsplit_once(" (")?;
    number.parse::<u32>().ok()?;
    Some(MailboxPath::new(above.iter().cloned().chain([name.to_owned()])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::mailboxes::{Wishes, plan};
    use crate::plan::rules::{MapRule, Rules};
    use crate::target::Naming;

    fn mailbox(path: &str) -> Mailbox {
        Mailbox {
            path: MailboxPath::parse(path).expect(path),
            name: WireName(path.as_bytes().to_vec()),
            special_use: None,
            selectable: true,
            subscribed: false,
            namespace: crate::mail::Namespace::Personal,
        }
    }

    fn told(source: &[&str], target: &[&str], rules: &Rules) -> Vec<(String, String)> {
        let mailboxes = |paths: &[&str]| paths.iter().map(|path| mailbox(path)).collect();
        let (source, target): (Vec<Mailbox>, Vec<Mailbox>) = (mailboxes(source), mailboxes(target));
        let fixed = BTreeMap::new();
        let (source_root, target_root) = (None, None);
        let wishes = Wishes {
            rules,
            has_labels: false,
            beyond_all: &<_>::default(),
            source_root,
            target_root,
            fixed: &fixed,
        };
        let pairs = plan(&source, &target, &Naming::of(Some(b'/')), wishes).pairs;
        let told = collisions(&pairs, &target);
        told.into_iter().map(|(name, text)| (name.0.escape_ascii().to_string(), text)).collect()
    }

    fn pair(name: &str, text: &str) -> (String, String) {
        (name.to_owned(), text.to_owned())
    }

    #[test]
    fn who_has_the_place_is_named() {
        let map = vec![MapRule::parse("Old=Work").expect("a rule")];
        let rules = Rules { map, ..Rules::default() };
        let expected = [pair("Old", "Work goes to Work")];
        assert_eq!(told(&["Work", "Old", "Other"], &[], &rules), expected);
    }

    #[test]
    fn those_that_share_a_target_are_told_of_each_other() {
        let map = vec![MapRule::parse("Old=Work").expect("a rule")];
        let rules = Rules { map, merge: true, ..Rules::default() };
        let expected = [pair("Old", "Work goes there, too"), pair("Work", "Old goes there, too")];
        assert_eq!(told(&["Work", "Old"], &[], &rules), expected);
    }

    #[test]
    fn names_that_a_target_may_take_for_one_are_told() {
        let said = "a target that ignores case or odd characters takes it for";
        let expected =
            [pair("Work", &format!("{said} work")), pair("work", &format!("{said} Work"))];
        assert_eq!(told(&["Work", "work"], &[], &Rules::default()), expected);
        let expected = [pair("Work", "the target has WORK, which it may take for the same")];
        assert_eq!(told(&["Work"], &["WORK"], &Rules::default()), expected);
        assert_eq!(told(&["Work", "INBOX"], &["Work", "INBOX"], &Rules::default()), []);
    }
}
