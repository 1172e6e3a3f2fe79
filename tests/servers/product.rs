//! Runs the program itself, as its users do.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::deadline::Deadline;
use crate::harness::{PASSWORD, Server};

const RUN_LIMIT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(5);

/// The exit codes that users see.
pub(crate) mod exit {
    pub(crate) const ALL_THERE: i32 = 0;
    pub(crate) const NOT_ALL: i32 = 3;
    pub(crate) const IN_DOUBT: i32 = 4;
    pub(crate) const LEDGER: i32 = 5;
    pub(crate) const PROBLEMS: i32 = 6;
    pub(crate) const STOPPED: i32 = 75;
    pub(crate) const STOPPED_AT_ONCE: i32 = 130;
}

/// How the program connects.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Link {
    Tls,
    StartTls,
    Plain,
}

/// A line of the accounts file: columns and what they hold.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    columns: Vec<(String, String)>,
}

impl Account {
    pub(crate) fn new(user: &str, source: (&Server, Link), target: (&Server, Link)) -> Self {
        let mut account = Self { columns: Vec::new() };
        for (side, (server, link)) in [("source", source), ("target", target)] {
            let (tls, port) = match link {
                Link::Tls => ("tls", server.tls_port),
                Link::StartTls => ("starttls", server.port),
                Link::Plain => ("plain", server.port),
            };
            account = account
                .with(&format!("{side}_host"), "127.0.0.1")
                .with(&format!("{side}_port"), &port.to_string())
                .with(&format!("{side}_tls"), tls)
                .with(&format!("{side}_user"), user)
                .with(&format!("{side}_password"), PASSWORD);
        }
        account
    }

    /// The same with another value in one column.
    pub(crate) fn with(mut self, column: &str, value: &str) -> Self {
        self.columns.retain(|(name, _)| name != column);
        self.columns.push((column.to_owned(), value.to_owned()));
        self
    }

    fn value(&self, column: &str) -> &str {
        let found = self.columns.iter().find(|(name, _)| name == column);
        found.map_or("", |(_, value)| value.as_str())
    }
}

/// A folder with an accounts file, in which the program runs as often as it takes.
pub(crate) struct Migration {
    folder: tempfile::TempDir,
    arguments: Vec<String>,
}

impl Migration {
    pub(crate) fn new(accounts: &[Account]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let migration = Self { folder, arguments: Vec::new() };
        migration.write_accounts(accounts);
        migration
    }

    /// Replaces the accounts file; the state stays.
    pub(crate) fn write_accounts(&self, accounts: &[Account]) {
        let mut columns: Vec<&str> = Vec::new();
        for (column, _) in accounts.iter().flat_map(|account| &account.columns) {
            if !columns.contains(&column.as_str()) {
                columns.push(column);
            }
        }
        let mut writer = csv::Writer::from_path(self.folder.path().join("accounts.csv")).unwrap();
        writer.write_record(&columns).unwrap();
        for account in accounts {
            writer.write_record(columns.iter().map(|column| account.value(column))).unwrap();
        }
        writer.flush().unwrap();
    }

    /// Trusts the authorities of these servers.
    pub(crate) fn trusting(mut self, servers: &[&Server]) -> Self {
        let mut authorities = String::new();
        for server in servers {
            authorities += &fs::read_to_string(server.ca_file()).unwrap();
        }
        fs::write(self.folder.path().join("ca.pem"), authorities).unwrap();
        self.arguments.extend(["--ca-file", "ca.pem"].map(str::to_owned));
        self
    }

    /// Where the ledger is.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("accounts.mailhaul")
    }

    /// With these arguments, too.
    pub(crate) fn start_with(&self, more: &[&str]) -> Running {
        self.start_as("first", more)
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self) -> Run {
        self.start().wait()
    }

    /// Runs the program to its end, which must be this one.
    #[track_caller]
    pub(crate) fn run_expecting(&self, code: i32) -> Run {
        let run = self.run();
        run.assert_code(code);
        run
    }

    pub(crate) fn start(&self) -> Running {
        self.start_with(&[])
    }

    /// Another process of this name, beside those of others.
    pub(crate) fn start_as(&self, name: &'static str, more: &[&str]) -> Running {
        self.spawn(name, more, &[])
    }

    /// A process that dies at the n-th of its crash points, with these arguments, too.
    #[cfg(feature = "crash-points")]
    pub(crate) fn start_to_crash(&self, point: usize, more: &[&str]) -> Running {
        self.spawn("first", more, &[("MAILHAUL_CRASH_AT", &point.to_string())])
    }

    fn spawn(&self, name: &'static str, more: &[&str], environment: &[(&str, &str)]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailhaul"));
        command
            .args(["migrate", "accounts.csv", "--progress", "none", "--settle", "200ms"])
            .args(more)
            .envs(environment.iter().copied());
        self.run_in_folder(command, name)
    }

    /// Runs another command of the program to its end, which must be this one.
    #[track_caller]
    pub(crate) fn command_expecting(&self, command: &str, more: &[&str], code: i32) -> Run {
        let run = self.start_command(command, more).wait();
        run.assert_code(code);
        run
    }

    pub(crate) fn start_command(&self, name: &str, more: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailhaul"));
        command.args([name, "accounts.csv", "--progress", "none"]).args(more);
        self.run_in_folder(command, "command")
    }

    fn run_in_folder(&self, mut command: Command, name: &'static str) -> Running {
        let create = |end| File::create(self.folder.path().join(format!("{name}.{end}"))).unwrap();
        let child = command
            .args(&self.arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(create("stdout"))
            .stderr(create("stderr"))
            .spawn()
            .unwrap();
        Running { child, name, folder: self.folder.path().to_owned(), memory_peak_kib: 0 }
    }

    /// The lines of `report.csv`, each with its columns joined.
    pub(crate) fn reported(&self) -> Vec<String> {
        self.lines_of("report.csv")
    }

    /// The lines of a CSV of the state directory, each with its columns joined.
    pub(crate) fn lines_of(&self, name: &str) -> Vec<String> {
        let path = self.state().join(name);
        let mut reader =
            csv::ReaderBuilder::new().has_headers(true).flexible(true).from_path(path).unwrap();
        reader
            .records()
            .map(|record| record.unwrap().iter().collect::<Vec<_>>().join(" | "))
            .collect()
    }

    pub(crate) fn report(&self) -> serde_json::Value {
        let path = self.folder.path().join("accounts.mailhaul/report.json");
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }
}

/// The program at work.
pub(crate) struct Running {
    child: Child,
    name: &'static str,
    folder: PathBuf,
    memory_peak_kib: u64,
}

impl Running {
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends the program without a chance to clean up; says whether it was still at work.
    pub(crate) fn kill_after(mut self, delay: Duration) -> bool {
        let deadline = Deadline::after(delay);
        while !deadline.is_over() {
            if !self.is_running() {
                return false;
            }
            sleep(Duration::from_millis(1));
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap().code().is_none()
    }

    /// Asks the program to stop, as a service manager does.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: &str) {
        let order = format!("kill -{signal} {}", self.child.id());
        assert!(Command::new("bash").args(["-c", &order]).status().unwrap().success());
    }

    pub(crate) fn wait(mut self) -> Run {
        let deadline = Deadline::after(RUN_LIMIT);
        while self.is_running() {
            if deadline.is_over() {
                self.child.kill().unwrap();
                let run = self.wait();
                panic!("still at work after {RUN_LIMIT:?}\n{run}");
            }
            self.sample_memory();
            sleep(POLL);
        }
        let code = self.child.wait().unwrap().code();
        let read = |end| {
            let path = self.folder.join(format!("{}.{end}", self.name));
            String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
        };
        let (stdout, stderr) = (read("stdout"), read("stderr"));
        Run { code, stdout, stderr, memory_peak_kib: self.memory_peak_kib }
    }

    fn sample_memory(&mut self) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let peak = status
            .unwrap_or_default()
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        self.memory_peak_kib = self.memory_peak_kib.max(peak.unwrap_or(0));
    }
}

/// How a run ended.
pub(crate) struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    pub(crate) memory_peak_kib: u64,
}

impl Run {
    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) {
        assert!(self.code == Some(code), "exit code {code} was expected\n{self}");
    }

    pub(crate) fn succeeded(&self) -> bool {
        self.ended_with(exit::ALL_THERE)
    }

    pub(crate) fn ended_with(&self, code: i32) -> bool {
        self.code == Some(code)
    }

    /// Whether a signal ended it.
    pub(crate) fn died(&self) -> bool {
        self.code.is_none()
    }

    /// What it was for.
    pub(crate) fn data(&self) -> &str {
        &self.stdout
    }

    /// All that the user saw.
    pub(crate) fn output(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = format!("exit code {:?}, {} KiB\n", self.code, self.memory_peak_kib);
        write!(text, "--- standard output ---\n{}", self.stdout)?;
        write!(text, "--- standard error ---\n{}", self.stderr)?;
        formatter.write_str(&text)
    }
}
