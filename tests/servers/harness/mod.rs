//! Starts real servers on free ports of loopback, each in a temporary folder of its own.

pub(crate) mod courier;
pub(crate) mod cyrus;
pub(crate) mod dovecot;
pub(crate) mod mailutils;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use crate::client::Client;
use crate::deadline::Deadline;

/// The password of every account.
pub(crate) const PASSWORD: &str = "pw";
/// The administrator who may act for any account (Dovecot and Cyrus), and the password.
pub(crate) const ADMIN: &str = "admin";
pub(crate) const ADMIN_PASSWORD: &str = "masterpw";
/// The unprivileged `mail` of every Debian, who owns the mail.
const MAIL_ID: u32 = 8;
const START_LIMIT: Duration = Duration::from_secs(30);
const START_TRIES: u32 = 4;

/// A running server; dropping it ends its processes and removes its folder.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    /// Plaintext and STARTTLS.
    pub(crate) port: u16,
    /// Implicit TLS.
    pub(crate) tls_port: u16,
    /// What joins and precedes names, as the server presents them.
    pub(crate) separator: char,
    pub(crate) prefix: String,
    folder: tempfile::TempDir,
    commands: Vec<Vec<String>>,
    guards: Vec<Child>,
}

impl Server {
    pub(crate) fn client(&self, user: &str) -> Client {
        Client::login(self, user, PASSWORD)
    }

    /// The authority that signed the server's certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The SHA-256 of the server's certificate, as `openssl x509 -fingerprint` shows it.
    pub(crate) fn fingerprint(&self) -> String {
        let certificate = self.folder.path().join("server.der");
        let out = Command::new("sha256sum").arg(certificate).output().unwrap();
        let hex = String::from_utf8(out.stdout).unwrap()[..64].to_uppercase();
        let pairs: Vec<&str> = (0..64).step_by(2).map(|start| &hex[start..start + 2]).collect();
        pairs.join(":")
    }

    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(self.folder.path().join("server.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Puts a message into the inbox behind the server's back, as mail comes to a Maildir.
    pub(crate) fn put_into_maildir(&self, user: &str, number: usize, body: &[u8]) {
        self.put_into_folder(user, &[], number, body);
    }

    /// The same, into the mailbox whose folder in the Maildir has this name.
    pub(crate) fn put_into_folder(&self, user: &str, name: &[u8], number: usize, body: &[u8]) {
        let home = self.folder.path().join("mail").join(user);
        let inbox = home.join("Maildir");
        let maildir = inbox.join(OsStr::from_bytes(name));
        for folder in ["cur", "new", "tmp"] {
            mail_folder(&maildir.join(folder));
        }
        for folder in [&home, &inbox, &maildir] {
            chown(folder, Some(MAIL_ID), Some(MAIL_ID)).unwrap();
        }
        let file =
            maildir.join("cur").join(format!("{}.{number}.here:2,S", 1_500_000_000 + number));
        fs::write(&file, body).unwrap();
        chown(&file, Some(MAIL_ID), Some(MAIL_ID)).unwrap();
        let date = std::time::UNIX_EPOCH + Duration::from_secs(1_500_000_000 + 60 * number as u64);
        fs::File::open(&file).unwrap().set_modified(date).unwrap();
    }

    /// Ends every process at once, as a power cut would; the mail stays.
    pub(crate) fn kill(&mut self) {
        for guard in &mut self.guards {
            drop(guard.stdin.take()); // The guard's order to end the server.
        }
        for mut guard in self.guards.drain(..) {
            guard.wait().unwrap();
        }
    }

    pub(crate) fn restart(&mut self) {
        self.kill();
        self.launch().unwrap();
    }

    fn launch(&mut self) -> Result<(), String> {
        let log = self.folder.path().join("server.log");
        for command in &self.commands {
            let log = fs::File::options().create(true).append(true).open(&log).unwrap();
            let guard = Command::new(support("guard"))
                .args(command)
                .current_dir(self.folder.path())
                .env_clear()
                .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                .env("LC_ALL", "C.UTF-8")
                .stdin(Stdio::piped())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .map_err(|error| format!("cannot run {command:?}: {error}"))?;
            self.guards.push(guard);
        }
        let deadline = Deadline::after(START_LIMIT);
        while !(greets(self.port) && accepts(self.tls_port)) {
            let died = self.guards.iter_mut().any(|guard| guard.try_wait().unwrap().is_some());
            if died || deadline.is_over() {
                let end = if died { "ended at once" } else { "gave no greeting" };
                let log = self.log();
                self.kill();
                return Err(format!("{} {end}; its log:\n{log}", self.name));
            }
            sleep(Duration::from_millis(20));
        }
        if self.guards.iter_mut().any(|guard| guard.try_wait().unwrap().is_some()) {
            self.kill();
            return Err(format!("{}: another server greeted; its log:\n{}", self.name, self.log()));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- the end of the log of {} ---", self.name);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// What a server's module fills in: its names and the programs to run in the given folder.
struct Plan {
    name: &'static str,
    separator: char,
    prefix: String,
    commands: Vec<Vec<String>>,
}

/// Starts a server, on other ports if another process took the ones found free.
fn start(self_signed: bool, plan: impl Fn(&Path, u16, u16) -> Plan) -> Server {
    let mut last = String::new();
    for _ in 0..START_TRIES {
        let folder = temporary_folder();
        write_certificates(folder.path(), self_signed);
        let (port, tls_port) = (free_port(), free_port());
        let Plan { name, separator, prefix, commands } = plan(folder.path(), port, tls_port);
        let guards = Vec::new();
        let mut server =
            Server { name, port, tls_port, separator, prefix, folder, commands, guards };
        match server.launch() {
            Ok(()) => return server,
            Err(why) => last = why,
        }
    }
    panic!("{last}");
}

fn accepts(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return false;
    };
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut greeting = String::new();
    let answered = BufReader::new(&stream).read_line(&mut greeting).is_ok();
    let _ = stream.write_all(b"a LOGOUT\r\n");
    answered && greeting.starts_with("* OK")
}

/// Finds a port below the range from which the kernel serves outgoing connections.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(20_000 + (std::process::id() * 97 + step * 7) % 12_000).unwrap();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// A folder in memory if there is room, open to the servers' unprivileged processes.
fn temporary_folder() -> tempfile::TempDir {
    let free = Command::new("df").args(["--output=avail", "-k", "/dev/shm"]).output();
    let free_kib = free
        .ok()
        .and_then(|out| String::from_utf8(out.stdout).ok()?.lines().last()?.trim().parse().ok())
        .unwrap_or(0_u64);
    let parent = if free_kib > 2 << 20 { "/dev/shm" } else { "/tmp" };
    let folder = tempfile::Builder::new().prefix("mailhaul-").tempdir_in(parent).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Writes `ca.pem`, `server.pem`, `server.key` and `both.pem` for localhost and 127.0.0.1.
fn write_certificates(folder: &Path, self_signed: bool) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::default();
    // Not all clients try a second authority of the same name.
    let name = format!("mailhaul tests {}", folder.display());
    authority.distinguished_name.push(rcgen::DnType::CommonName, name);
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, authority_key);

    let key = rcgen::KeyPair::generate().unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let server = rcgen::CertificateParams::new(names).unwrap();
    let server = match self_signed {
        true => server.self_signed(&key),
        false => server.signed_by(&key, &issuer),
    };
    let server = server.unwrap();
    let (server_pem, key_pem) = (server.pem(), key.serialize_pem());
    fs::write(folder.join("server.der"), server.der()).unwrap();
    write(&folder.join("ca.pem"), &authority_pem);
    write(&folder.join("server.pem"), &server_pem);
    write(&folder.join("server.key"), &key_pem);
    write(&folder.join("both.pem"), &format!("{key_pem}{server_pem}"));
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

/// Makes a folder that the servers' unprivileged processes may write to.
fn mail_folder(path: &Path) {
    fs::create_dir_all(path).unwrap();
    chown(path, Some(MAIL_ID), Some(MAIL_ID)).unwrap();
}

fn run(program: &str, arguments: &[&str], environment: &[(&str, &str)], input: &str) {
    let mut child = Command::new(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{program} {arguments:?}: {out:?}");
}

fn user_names(users: usize) -> impl Iterator<Item = String> {
    (1..=users).map(|number| format!("u{number:04}"))
}

fn support(script: &str) -> String {
    format!("{}/tests/support/{script}", env!("CARGO_MANIFEST_DIR"))
}

/// Where the packages of a server lie unpacked.
fn packages(name: &str) -> PathBuf {
    cache_folder().join(name)
}

fn triplet() -> String {
    format!("{}-linux-gnu", std::env::consts::ARCH)
}

fn cache_folder() -> PathBuf {
    std::env::var_os("MAILHAUL_SERVERS")
        .map_or_else(|| PathBuf::from("/var/cache/mailhaul/servers"), PathBuf::from)
}

/// Says whether the servers can be started. Where `tests/run` or CI promised them, their absence
/// fails the test; a bare `cargo test` goes on without, and says so past the capture of output.
pub(crate) fn available() -> bool {
    let Some(why) = hindrance(&["dovecot", "cyrus", "courier", "mailutils"]) else {
        return true;
    };
    let promised = ["CI", "MAILHAUL_SERVERS"].iter().any(|name| std::env::var_os(name).is_some());
    assert!(!promised, "{why}: run tests/run");
    let notice = format!("SKIPPED a test against real servers: {why}; run tests/run\n");
    std::io::stderr().write_all(notice.as_bytes()).unwrap();
    false
}

/// Why these servers cannot be started, if they cannot.
pub(crate) fn hindrance(servers: &[&str]) -> Option<String> {
    let missing: Vec<&str> =
        servers.iter().copied().filter(|name| !packages(name).join(".complete").exists()).collect();
    if !missing.is_empty() {
        return Some(format!("no {} below {}", missing.join(", "), cache_folder().display()));
    }
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    (!is_root).then(|| "not root".to_owned())
}
