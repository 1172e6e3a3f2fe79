//! What the program needs for a run between two servers.

use std::fs;
use std::path::Path;

use crate::harness::{PASSWORD, Server};

/// Where the ends of an account are reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) source_port: u16,
    pub(crate) target_port: u16,
    pub(crate) tls: bool,
}

/// Writes what a run needs into its folder.
pub(crate) fn prepare(folder: &Path, users: &[String], ends: Ends, servers: [&Server; 2]) {
    let tls = if ends.tls { "tls" } else { "plain" };
    let mut accounts = String::new();
    for side in ["source", "target"] {
        for column in ["host", "port", "tls", "user", "password"] {
            accounts += &format!("{side}_{column},");
        }
    }
    for user in users {
        accounts.pop();
        accounts += "\n";
        for port in [ends.source_port, ends.target_port] {
            accounts += &format!("127.0.0.1,{port},{tls},{user},{PASSWORD},");
        }
    }
    accounts.pop();
    fs::write(folder.join("accounts.csv"), accounts + "\n").unwrap();
    let authorities = servers.map(|server| fs::read_to_string(server.ca_file()).unwrap());
    fs::write(folder.join("ca.pem"), authorities.concat()).unwrap();
}
