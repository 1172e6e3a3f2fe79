//! The `mailhaul` command.

mod cli;
mod ui;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use anyhow::Context;

use cli::{Command, Exit, Failure};

fn main() -> ExitCode {
    let command = cli::parse();
    // A panic has told its own story; it must not look like one of the codes scripts act upon.
    let result = catch_unwind(AssertUnwindSafe(|| run(command)));
    let exit = match result {
        Ok(Ok(exit)) => exit,
        Ok(Err(error)) => match error.downcast_ref::<Failure>() {
            Some(failure) => {
                failure.tell();
                failure.exit()
            }
            None => {
                ui::say(&format!("mailhaul: internal error: {error:#}"));
                Exit::Internal
            }
        },
        Err(_) => Exit::Internal,
    };
    ExitCode::from(exit.code())
}

fn run(command: Command) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start its threads")?;
    let result = runtime.block_on(command.run());
    // What still waits for a disk or a name server must not hold the exit.
    runtime.shutdown_background();
    Ok(result?)
}
