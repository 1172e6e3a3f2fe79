//! What a mailbox has beside its messages: who may do what in it, and what is noted about it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Who may do what in a mailbox: identifiers with their rights (RFC 4314).
pub type Acl = BTreeMap<String, Rights>;

/// What is noted about a mailbox: entries with their values (RFC 5464).
pub type Metadata = BTreeMap<String, Vec<u8>>;

/// Rights as the letters of RFC 4314; `c` and `d` of RFC 2086 as what they stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights(BTreeSet<char>);

impl Rights {
    /// Reads rights as a server tells them.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let told: BTreeSet<char> = text.chars().filter(char::is_ascii_alphanumeric).collect();
        // A server of RFC 4314 tells both, for clients of RFC 2086.
        let is_newer = told.iter().any(|right| "kxte".contains(*right));
        let rights = told.into_iter().flat_map(|right| match right {
            'c' | 'd' if is_newer => Vec::new(),
            'c' => vec!['k', 'x'],
            'd' => vec!['t', 'e'],
            right => vec![right],
        });
        Self(rights.collect())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that the others lack.
    #[must_use]
    pub fn without(&self, others: Option<&Self>) -> Self {
        let lacks = |right: &&char| others.is_none_or(|others| !others.0.contains(right));
        Self(self.0.iter().filter(lacks).copied().collect())
    }

    /// The letters for a server that knows RFC 2086 only.
    #[must_use]
    pub fn of_rfc_2086(&self) -> String {
        let old = |right: &char| match right {
            'k' | 'x' => 'c',
            't' | 'e' => 'd',
            right => *right,
        };
        self.0.iter().map(old).collect::<BTreeSet<char>>().into_iter().collect()
    }
}

/// The letters.
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().collect::<String>())
    }
}

/// What a server lets an account hold, in bytes (RFC 9208).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// What it holds.
    pub used: u64,
    /// What it may hold.
    pub limit: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_of_both_rfcs_are_the_same_rights() {
        assert_eq!(
            Rights::parse("lrscd").to_string(),
            "ekrlstx".chars().collect::<BTreeSet<_>>().into_iter().collect::<String>()
        );
        assert_eq!(Rights::parse("lrswipkxtecda"), Rights::parse("lrswipkxtea"));
        assert_eq!(Rights::parse("lrxt").of_rfc_2086(), "cdlr");
        let (some, all) = (Rights::parse("lr"), Rights::parse("lrs"));
        assert_eq!(all.without(Some(&some)).to_string(), "s");
        assert!(some.without(Some(&all)).is_empty());
    }
}
