//! Which accounts a command works on, and where it keeps what it knows.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use mailhaul::accounts::{self, Batch, Loaded};
use mailhaul::config::Config;

use crate::ui;

use super::flags::AccountFlags;
use super::{Failure, Place};

/// The accounts of a CSV, or some of them.
#[derive(Debug, Args)]
pub(super) struct Chosen {
    #[command(flatten)]
    pub(super) place: Place,
    /// Only accounts with this source or target user, in any case; may be repeated
    #[arg(long, value_name = "USER")]
    only: Vec<String>,
    #[command(flatten)]
    accounts: AccountFlags,
}

impl Chosen {
    /// Reads the CSV and keeps the accounts asked for.
    pub(super) fn batch(&self, config: &Config, quiet: bool) -> Result<Batch, Failure> {
        let path = &self.place.accounts;
        let environment = |name: &str| std::env::var_os(name);
        let loaded = accounts::read(path, &self.accounts.defaults(), &environment);
        let Loaded { mut batch, warnings } = loaded.map_err(Failure::Accounts)?;
        if !quiet {
            for warning in warnings {
                ui::warn(&warning.to_string());
            }
        }
        if !self.only.is_empty() {
            let all = batch.clone();
            batch.only(&self.only).map_err(|missing| self.none_of(&all, &missing))?;
        }
        check_connections(config, &batch)?;
        raise_open_files(config, &batch);
        Ok(batch)
    }

    fn none_of(&self, all: &Batch, missing: &[String]) -> Failure {
        let told: Vec<String> = missing
            .iter()
            .map(|user| match all.nearest_user(user) {
                Some(nearest) => format!("{user} (did you mean {nearest}?)"),
                None => user.clone(),
            })
            .collect();
        let path = self.place.accounts.display();
        let text = format!("--only: no account of {path} has the user {}", told.join(", "));
        Failure::usage(text, "name a source_user or target_user as the CSV has it")
    }

    /// The CSV's name, for the places of errors.
    pub(super) fn file_name(&self) -> Arc<str> {
        let path: &Path = &self.place.accounts;
        let name = path.file_name().unwrap_or(path.as_os_str());
        name.to_string_lossy().into()
    }
}

/// An account between two users of one host needs two connections to it at once.
fn check_connections(config: &Config, batch: &Batch) -> Result<(), Failure> {
    let one_host = batch
        .accounts
        .iter()
        .find(|account| account.source.host.to_lowercase() == account.target.host.to_lowercase());
    match one_host {
        Some(account) if config.host_connections_max < 2 => {
            let text = format!(
                "--connections-per-host 1: the account of line {} has both ends on {}",
                account.line, account.source.host
            );
            Err(Failure::usage(text, "allow 2 or more"))
        }
        _ => Ok(()),
    }
}

fn raise_open_files(config: &Config, batch: &Batch) {
    /// The ledger, the log, the terminal, and what libraries keep open.
    const OTHER_FILES: u64 = 64;
    let accounts = config.accounts_max.min(batch.accounts.len()) as u64;
    let needed = accounts * 2 * config.connections_max as u64 + OTHER_FILES;
    let limit = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => limit,
        Err(error) => return ui::warn(&format!("cannot raise the limit of open files: {error}")),
    };
    if limit < needed {
        ui::warn(&format!(
            "only {limit} files may be open and {needed} may be needed; raise `ulimit -n`, or \
             lower --accounts"
        ));
    }
}
