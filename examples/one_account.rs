//! Migrates one account; the same line again copies what is new.
//!
//! ```text
//! export SOURCE_PASSWORD=... TARGET_PASSWORD=...
//! cargo run --example one_account -- imap.old.example anna imap.new.example anna@new.example
//! ```

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use mailhaul::{
    Account, Batch, Config, Endpoint, Ledger, SecretSource, SqliteLedger, StateDir, Stop, Verdict,
    report,
};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a person reads it")]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [source_host, source_user, target_host, target_user] = &arguments[..] else {
        bail!("usage: one_account SOURCE_HOST SOURCE_USER TARGET_HOST TARGET_USER");
    };
    let password = |variable: &str| SecretSource::Env(variable.to_owned());
    let source = Endpoint::new(source_host, source_user, password("SOURCE_PASSWORD"));
    let target = Endpoint::new(target_host, target_user, password("TARGET_PASSWORD"));
    let batch = Batch { accounts: vec![Account::new(source, target)] };

    // The ledger is what makes a second run copy nothing twice: one directory for one migration.
    let state = StateDir::open(Path::new("one-account.mailhaul"))?;
    let ledger = SqliteLedger::open(&state.ledger_path()).await?;
    let config = Config {
        give_up_after: Duration::from_secs(60), // Of no progress; a person waits for the answer.
        ..Config::default()
    };
    mailhaul::run(config, &batch, ledger.clone(), Arc::new(()), Stop::new()).await?;

    let snapshot = ledger.snapshot().await?;
    let verdict = Verdict::of(&snapshot);
    let csv = state.report_csv();
    report::write_csv(&ledger, &snapshot, &csv, false, &[]).await?;
    print!("{}", report::summary_text(&snapshot, verdict, Some(&csv)));
    ledger.finish().await?;
    Ok(verdict.exit_code().into())
}
