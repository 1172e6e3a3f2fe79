//! What the engine promises, tried on the rehearsal server: streams in memory, a paused clock.

mod copy;
mod crashes;
mod ledger;
mod network;
mod world;
