//! The batch: a CSV of accounts, read and checked.

use crate::endpoint::Endpoint;
use crate::ledger::AccountName;

/// Accounts moved together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The accounts, in the CSV's order.
    pub accounts: Vec<Account>,
}

/// One source login and the target login its mail goes to.
#[derive(Debug, Clone)]
pub struct Account {
    /// The CSV's line, counted from 1; 0 for one that no CSV holds.
    pub line: u64,
    /// The row's `id`, if it has one.
    pub id: Option<String>,
    /// Where mail is read.
    pub source: Endpoint,
    /// Where mail is written.
    pub target: Endpoint,
}

impl Account {
    /// How the ledger knows this account: by `id`, else by both hosts and users in lower case,
    /// without port and TLS.
    #[must_use]
    pub fn name(&self) -> AccountName {
        let user = |end: &Endpoint| end.user.to_lowercase();
        let host = |end: &Endpoint| end.host.to_lowercase();
        let (source, target) = (&self.source, &self.target);
        let key = match &self.id {
            Some(id) => format!("id:{id}"),
            None => format!(
                "{}@{} {}@{}",
                user(source),
                host(source),
                user(target),
                host(target)
            ),
        };
        AccountName {
            key,
            source: source.user.clone(),
            target: target.user.clone(),
        }
    }
}
