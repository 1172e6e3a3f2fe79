//! Copies mailboxes from one IMAP server to another: nothing lost, nothing doubled, nothing altered.
//!
//! A [`Batch`] holds accounts, an account holds mailboxes, and a mailbox is cut into windows of
//! messages: what is sent at once, noted in the ledger before, and looked for on the target after
//! a crash. There is one recovery path: a retry and a resumed run scan the source, compare with the
//! ledger, and copy what is missing.
//!
//! ```no_run
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use mailhaul::accounts::{self, Defaults};
//! use mailhaul::{Config, Ledger, SqliteLedger, StateDir, Stop, Verdict};
//!
//! # async fn migrate() -> Result<(), mailhaul::Fault> {
//! let variable = |name: &str| std::env::var_os(name);
//! let read = accounts::read(Path::new("accounts.csv"), &Defaults::default(), &variable);
//! let batch = read.expect("a good CSV").batch;
//! let state = StateDir::open(Path::new("accounts.mailhaul"))?; // One process at a time.
//! let ledger = SqliteLedger::open(&state.ledger_path()).await?;
//! mailhaul::run(Config::default(), &batch, ledger.clone(), Arc::new(()), Stop::new()).await?;
//! let verdict = Verdict::of(&ledger.snapshot().await?);
//! # Ok(())
//! # }
//! ```
//!
//! What is stable is what this page lists under "Re-exports", and what it takes to use it. The
//! modules are open to tests, benches and examples, and change as they need to:
//!
//! | to be done | modules |
//! |---|---|
//! | what is moved, and how | [`accounts`], [`endpoint`], [`config`], [`stop`] |
//! | what happens, and how it ended | [`event`], [`fault`], [`fate`], [`difference`], [`report`], [`escape`] |
//! | the words of mail | [`mail`], [`identity`], [`sharing`], [`history`], [`own`], [`repair`] |
//! | decisions: facts in, decision out | [`plan`] |
//! | both ends, and the memory | [`source`], [`target`], [`imap`], [`throttle`], [`ledger`] |
//! | the work itself | [`engine`] |
//! | a server of our own (feature `rehearsal`) | `rehearsal` |
//! | worlds in memory, for tests (feature `simulation`) | `simulation` |
//! | deliberate bugs that the tests must catch (feature `mutants`) | [`mutant`] |
//! | points to die at, for tests (feature `crash-points`) | [`crash`] |

pub mod accounts;
pub mod config;
pub mod crash;
pub mod difference;
pub mod endpoint;
pub mod engine;
pub mod escape;
pub mod event;
pub mod fate;
pub mod fault;
pub mod history;
pub mod identity;
pub mod imap;
pub mod ledger;
pub mod mail;
pub mod mutant;
pub mod octets;
pub mod own;
pub mod plan;
#[cfg(feature = "rehearsal")]
pub mod rehearsal;
pub mod repair;
pub mod report;
pub mod sharing;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod source;
pub mod stop;
pub mod target;
pub mod throttle;

pub use accounts::{Account, Batch};
pub use config::{Config, Rates};
pub use endpoint::{Auth, Endpoint, Fingerprint, SecretSource, Tls};
pub use engine::{Env, run, run_in};
pub use event::{Event, Observer};
pub use fate::{Fate, Remark, RemarkKind};
pub use fault::{Fault, Remedy, Scope, Side};
pub use ledger::hold::StateDir;
pub use ledger::sqlite::SqliteLedger;
pub use ledger::{
    AccountName, AccountSnapshot, AccountState, Count, Ledger, MailboxSnapshot, Snapshot,
};
pub use report::{Totals, Verdict};
pub use stop::Stop;
