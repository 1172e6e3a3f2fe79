//! The promises of the command line against real Dovecot, Cyrus and Courier on loopback. `tests/run` gets the servers.

mod client;
mod deadline;
mod dump;
mod fixtures;
mod harness;
mod messages;
mod migrate;
mod names;
mod product;
mod random;
