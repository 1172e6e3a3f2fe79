//! What of a mailbox's rights and notes is still to be given to its copy.

use std::collections::BTreeMap;

use crate::sharing::{Acl, Metadata, Rights};

/// Who at the source is who at the target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identities(BTreeMap<String, String>);

impl Identities {
    /// Of these pairs; of several for one identifier the first counts.
    #[must_use]
    pub fn of(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut identities = BTreeMap::new();
        for (source, target) in pairs {
            identities.entry(source.to_lowercase()).or_insert(target);
        }
        Self(identities)
    }

    /// The target's identifier; none where nobody has said who that is.
    #[must_use]
    pub fn at_target(&self, source: &str) -> Option<String> {
        if let Some(taken_away) = source.strip_prefix('-') {
            return Some(format!("-{}", self.at_target(taken_away)?));
        }
        match self.0.get(&source.to_lowercase()) {
            Some(target) => Some(target.clone()),
            None if matches!(source, "anyone" | "anonymous") => Some(source.to_owned()),
            None => None,
        }
    }
}

/// What is to be granted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// The target's identifiers, and the rights that each of them lacks.
    pub rights: Vec<(String, Rights)>,
    /// The source's identifiers of which nobody has said who that is at the target.
    pub unknown: Vec<String>,
}

/// Decides what is to be granted. The owner is left out: each server gives its own what it thinks right.
#[must_use]
pub fn grants(source: &Acl, target: &Acl, owner: &str, identities: &Identities) -> Grants {
    let mut grants = Grants::default();
    for (identifier, rights) in source {
        if identifier.eq_ignore_ascii_case(owner) || rights.is_empty() {
            continue;
        }
        let Some(known) = identities.at_target(identifier) else {
            grants.unknown.push(identifier.clone());
            continue;
        };
        let lacking = rights.without(target.get(&known));
        if !lacking.is_empty() {
            grants.rights.push((known, lacking));
        }
    }
    grants
}

/// What servers note for themselves.
const OWN: [&str; 4] = ["/vendor/cmu/", "/vendor/vendor.dovecot/", "/specialuse", "/size"];

/// Decides what is to be noted: what the target has nothing for.
#[must_use]
pub fn notes(source: &Metadata, target: &Metadata) -> Vec<(String, Vec<u8>)> {
    let is_own = |entry: &str| {
        let below = entry.strip_prefix("/private").or(entry.strip_prefix("/shared"));
        below.is_none_or(|below| OWN.iter().any(|own| below.starts_with(own)))
    };
    let missing = |entry: &&String| !is_own(entry) && !target.contains_key(*entry);
    let missing = source.iter().filter(|(entry, _)| missing(entry));
    missing.map(|(entry, value)| (entry.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(list: &[(&str, &str)]) -> Acl {
        list.iter().map(|(who, rights)| ((*who).to_owned(), Rights::parse(rights))).collect()
    }

    #[test]
    fn rights_are_granted_to_who_is_known_and_lacks_them() {
        let identities = Identities::of([
            ("Bob@old".to_owned(), "bob@new".to_owned()),
            ("bob@OLD".to_owned(), "another".to_owned()),
            ("team".to_owned(), "$team".to_owned()),
        ]);
        let source = acl(&[
            ("anna@old", "lrswipkxtea"),
            ("bob@old", "lrs"),
            ("-team", "w"),
            ("anyone", "l"),
            ("carl", "lr"),
        ]);
        let target = acl(&[("anna@new", "lrswipkxtea"), ("bob@new", "lr"), ("anyone", "lr")]);
        let grants = grants(&source, &target, "Anna@old", &identities);
        let rights: Vec<(&str, String)> =
            grants.rights.iter().map(|(who, rights)| (who.as_str(), rights.to_string())).collect();
        assert_eq!(rights, [("-$team", "w".to_owned()), ("bob@new", "s".to_owned())]);
        assert_eq!(grants.unknown, ["carl"]);
    }

    #[test]
    fn what_the_target_has_noted_stays_and_what_is_a_servers_own_is_left() {
        let metadata = |entries: &[&str]| -> Metadata {
            entries.iter().map(|entry| ((*entry).to_owned(), b"x".to_vec())).collect()
        };
        let source = metadata(&[
            "/private/comment",
            "/shared/comment",
            "/shared/vendor/cmu/cyrus-imapd/size",
            "/private/specialuse",
            "/odd",
        ]);
        let notes = notes(&source, &metadata(&["/shared/comment"]));
        assert_eq!(notes, [("/private/comment".to_owned(), b"x".to_vec())]);
    }
}
