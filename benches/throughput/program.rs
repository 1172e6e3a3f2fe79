//! Runs the program as its users do, and measures it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cost::{Cost, measured};
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

/// Runs the program to its end, which must be success.
pub(crate) fn run(program: &Path, folder: &Path, flags: &[String]) -> Cost {
    let output = fs::File::create(folder.join("output")).unwrap();
    let (cost, status) = measured(
        Command::new(program)
            .args(["migrate", "accounts.csv", "--progress", "none", "--ca-file", "ca.pem"])
            .args(flags)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output),
    );
    let told = fs::read_to_string(folder.join("output")).unwrap();
    assert!(status.success(), "{status}\n{told}");
    cost
}
