//! What the engine promises, tried on the rehearsal server: streams in memory, a paused clock.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without ends it, in helpers too")]

mod adopt;
mod cases;
mod compare;
mod compress;
mod copy;
mod crashes;
mod dates;
mod delta;
mod fetches;
mod filters;
mod flags;
mod helpers;
mod labels;
mod late;
mod locks;
mod loss;
mod mapping;
mod merged;
mod merging;
mod moves;
mod names;
mod odd_servers;
mod outages;
mod pace;
mod refusals;
mod renames;
mod repairs;
mod resume;
mod secrets;
mod servers;
mod sharing;
mod sources;
mod staging;
mod surplus;
mod tune;
