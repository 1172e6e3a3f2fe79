//! `mailhaul status`: how everything stands, from the ledger alone.

use clap::Args;

use crate::ui;

use super::{Exit, Failure, Place, state};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,

    /// For programs: JSON on standard output
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let ledger = state::look(&self.place.state(), &self.place.accounts).await?;
        let snapshot = state::snapshot(&ledger).await?;
        let text =
            if self.json { state::status_json(&snapshot) } else { state::status_text(&snapshot) };
        ui::print(&text);
        Ok(Exit::Complete)
    }
}
