//! The batch: a CSV of accounts, read and checked before any connection.
//!
//! A problem names the line and the column, never what the cell holds: where a row is shifted by
//! one, a password stands in any column.

mod table;
mod words;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretString;

use crate::endpoint::{Auth, Endpoint, Fingerprint, SecretSource, Tls};
use crate::fault::Side;
use crate::ledger::AccountName;
use crate::mail::MailboxPath;

use table::{Column, Row, Table};

/// Accounts moved together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The accounts, in the CSV's order.
    pub accounts: Vec<Account>,
}

impl Batch {
    /// Keeps the accounts with one of `users` as source or target user; case does not matter.
    ///
    /// # Errors
    ///
    /// The `users` that no account has.
    pub fn only(&mut self, users: &[String]) -> Result<(), Vec<String>> {
        let wanted: Vec<String> = users.iter().map(|user| user.trim().to_lowercase()).collect();
        let mut found = vec![false; wanted.len()];
        self.accounts.retain(|account| {
            let ends = [&account.source, &account.target].map(|end| end.user.to_lowercase());
            let mut keep = false;
            for (user, found) in wanted.iter().zip(&mut found) {
                let matches = ends.contains(user);
                *found |= matches;
                keep |= matches;
            }
            keep
        });
        let missing: Vec<String> = users
            .iter()
            .zip(found)
            .filter(|(_, found)| !found)
            .map(|(user, _)| user.clone())
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(missing) }
    }

    /// The user of either side that is spelled most like `user`, if one is close.
    #[must_use]
    pub fn nearest_user(&self, user: &str) -> Option<&str> {
        let users = self
            .accounts
            .iter()
            .flat_map(|account| [account.source.user.as_str(), account.target.user.as_str()]);
        nearest(&user.to_lowercase(), users)
    }
}

/// One source login and the target login its mail goes to.
#[derive(Debug, Clone)]
pub struct Account {
    /// The CSV's line, counted from 1; 0 for one that no CSV holds.
    pub line: u64,
    /// The row's `id`, if it has one.
    pub id: Option<String>,
    /// Where mail is read.
    pub source: Endpoint,
    /// Where mail is written.
    pub target: Endpoint,
    /// The mailbox below which the account's mail is; none if it is the whole account.
    pub source_root: Option<MailboxPath>,
    /// The mailbox below which everything is put; none if mail goes where its like is.
    pub target_root: Option<MailboxPath>,
}

impl Account {
    /// An account that no CSV holds.
    #[must_use]
    pub fn new(source: Endpoint, target: Endpoint) -> Self {
        let (source_root, target_root) = (None, None);
        Self { line: 0, id: None, source, target, source_root, target_root }
    }

    /// One of its ends.
    #[must_use]
    pub fn end(&self, side: Side) -> &Endpoint {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    /// How the ledger knows this account: by `id`, else by both hosts and users in lower case,
    /// without port and TLS.
    #[must_use]
    pub fn name(&self) -> AccountName {
        let user = |end: &Endpoint| end.user.to_lowercase();
        let host = |end: &Endpoint| end.host.to_lowercase();
        let (source, target) = (&self.source, &self.target);
        let key = match &self.id {
            Some(id) => format!("id:{id}"),
            None => format!("{}@{} {}@{}", user(source), host(source), user(target), host(target)),
        };
        AccountName { key, source: source.user.clone(), target: target.user.clone() }
    }

    /// How people know this account: `anna@old.example`, or `anna -> anna@new.example` where the
    /// users differ.
    #[must_use]
    pub fn label(&self) -> String {
        label(&self.source.user, &self.target.user)
    }
}

/// How people know an account with these users.
#[must_use]
pub fn label(source_user: &str, target_user: &str) -> String {
    if source_user.to_lowercase() == target_user.to_lowercase() {
        source_user.to_owned()
    } else {
        format!("{source_user} -> {target_user}")
    }
}

/// What a column tells of one side; the column's name begins with the side's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// Host name or address.
    Host,
    /// TCP port.
    Port,
    /// How the connection is protected.
    Tls,
    /// The certificate's SHA-256.
    TlsPin,
    /// How the login is done.
    Auth,
    /// The administrator who logs in for the user.
    Admin,
    /// The mailbox owner.
    User,
    /// The password itself.
    Password,
    /// The environment variable with the password.
    PasswordEnv,
    /// The file with the password.
    PasswordFile,
    /// The command that prints the password.
    PasswordCommand,
    /// The mailbox below which the account's mail is, or is put.
    Root,
}

impl Field {
    /// All fields of a side.
    pub const ALL: [Self; 12] = [
        Self::Host,
        Self::Port,
        Self::Tls,
        Self::TlsPin,
        Self::Auth,
        Self::Admin,
        Self::User,
        Self::Password,
        Self::PasswordEnv,
        Self::PasswordFile,
        Self::PasswordCommand,
        Self::Root,
    ];

    const SECRETS: [Self; 4] =
        [Self::Password, Self::PasswordEnv, Self::PasswordFile, Self::PasswordCommand];

    /// The column's name after `source_` or `target_`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Port => "port",
            Self::Tls => "tls",
            Self::TlsPin => "tls_pin",
            Self::Auth => "auth",
            Self::Admin => "admin",
            Self::User => "user",
            Self::Password => "password",
            Self::PasswordEnv => "password_env",
            Self::PasswordFile => "password_file",
            Self::PasswordCommand => "password_command",
            Self::Root => "root",
        }
    }

    /// Whether a default may stand in for a missing cell: users are each row's own, and passwords
    /// never stand in arguments.
    #[must_use]
    pub fn has_default(self) -> bool {
        !matches!(self, Self::User | Self::Password)
    }

    /// The column's name: `source_host`.
    #[must_use]
    pub fn column(self, side: Side) -> String {
        format!("{side}_{}", self.as_str())
    }

    /// The flag's name without its dashes: `source-host`.
    #[must_use]
    pub fn flag(self, side: Side) -> String {
        self.column(side).replace('_', "-")
    }
}

/// What serves where a column is missing or a cell is empty, and what the user allowed.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    /// Values by side and field, as a cell would hold them.
    pub values: BTreeMap<(Side, Field), String>,
    /// Unprotected connections may leave this machine.
    pub allow_plaintext: bool,
    /// Passwords may come from commands.
    pub allow_commands: bool,
}

/// A batch and what its owner should know.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The accounts.
    pub batch: Batch,
    /// What stops nothing.
    pub warnings: Vec<Problem>,
}

/// Something about the CSV or a flag, with its place. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The CSV's name.
    pub file: Arc<str>,
    /// The line, counted from 1; none for the file as a whole, or for a flag.
    pub line: Option<u64>,
    /// The column. With no line it is the flag of this name.
    pub column: Option<String>,
    /// What, and what to do.
    pub text: String,
}

/// `accounts.csv:17: source_port: ...`, or `--source-port: ...` where a flag is to blame.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, &self.column) {
            (Some(line), Some(column)) => write!(f, "{}:{line}: {column}: ", self.file)?,
            (Some(line), None) => write!(f, "{}:{line}: ", self.file)?,
            (None, Some(column)) => write!(f, "--{}: ", column.replace('_', "-"))?,
            (None, None) => write!(f, "{}: ", self.file)?,
        }
        f.write_str(&self.text)
    }
}

/// Looks up a variable of the environment.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Reads and checks the CSV at `path`. Password files are looked for beside it.
///
/// # Errors
///
/// Everything that is wrong, in the order of lines.
pub fn read(
    path: &Path,
    defaults: &Defaults,
    environment: Environment<'_>,
) -> Result<Loaded, Vec<Problem>> {
    let whole = |text: String| Problem { file: file_name(path), line: None, column: None, text };
    let mut data = Vec::new();
    let file = File::open(path)
        .and_then(|mut file| file.read_to_end(&mut data).map(|_| file))
        .map_err(|error| vec![whole(format!("cannot be read: {error}"))])?;
    let (mut loaded, holds_passwords) = check(&data, path, defaults, environment)?;
    if holds_passwords && others_can_read(&file) {
        let text =
            format!("holds passwords and others can read it; run: chmod 600 {}", path.display());
        loaded.warnings.insert(0, whole(text));
    }
    Ok(loaded)
}

/// Checks a CSV that is in memory; `path` is where it is said to be from.
///
/// # Errors
///
/// Everything that is wrong, in the order of lines.
pub fn parse(
    data: &[u8],
    path: &Path,
    defaults: &Defaults,
    environment: Environment<'_>,
) -> Result<Loaded, Vec<Problem>> {
    check(data, path, defaults, environment).map(|(loaded, _)| loaded)
}

/// Also tells whether a password stands in the CSV itself.
fn check(
    data: &[u8],
    path: &Path,
    defaults: &Defaults,
    environment: Environment<'_>,
) -> Result<(Loaded, bool), Vec<Problem>> {
    let mut check = Check {
        file: file_name(path),
        directory: path.parent().unwrap_or(Path::new("")),
        defaults,
        environment,
        problems: Vec::new(),
        warnings: Vec::new(),
        flags_told: BTreeSet::new(),
        password_files: HashMap::new(),
        holds_passwords: false,
    };
    let accounts = check.accounts(data);
    if check.problems.is_empty() {
        let batch = Batch { accounts };
        let warnings = check.warnings;
        Ok((Loaded { batch, warnings }, check.holds_passwords))
    } else {
        check.problems.sort_by_key(|problem| problem.line);
        Err(check.problems)
    }
}

fn file_name(path: &Path) -> Arc<str> {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into()
}

#[cfg(unix)]
fn others_can_read(file: &File) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn others_can_read(_: &File) -> bool {
    false
}

/// One reading of a CSV, and what was found so far.
struct Check<'a> {
    file: Arc<str>,
    directory: &'a Path,
    defaults: &'a Defaults,
    environment: Environment<'a>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    /// Flags whose value was found wrong: told once, not for every row.
    flags_told: BTreeSet<(Side, Field)>,
    /// What is wrong with each password file looked at; thousands of rows may share one.
    password_files: HashMap<PathBuf, Option<String>>,
    holds_passwords: bool,
}

/// A value of one row, from its cell or from a flag.
#[derive(Clone, Copy)]
struct Given<'a> {
    side: Side,
    field: Field,
    text: &'a str,
    /// None: from a flag.
    line: Option<u64>,
}

impl<'a> Check<'a> {
    fn accounts(&mut self, data: &[u8]) -> Vec<Account> {
        for (&(side, field), text) in &self.defaults.values {
            if text.contains(char::is_control) && self.flags_told.insert((side, field)) {
                let text = "holds a control character; remove it";
                self.push(None, Some(field.column(side)), text);
            }
        }
        let data = table::decode(data);
        let mut table = match Table::open(&data) {
            Ok(table) => table,
            Err(problems) => {
                for (line, text) in problems {
                    self.push(Some(line), None, text);
                }
                return Vec::new();
            }
        };
        for (line, text) in table.unknown_columns() {
            self.push(Some(line), None, text);
        }
        let mut accounts = Vec::new();
        let mut rows: u64 = 0;
        while let Some(row) = table.next_row() {
            rows += 1;
            match row {
                Ok(row) => accounts.extend(self.account(&row)),
                Err(problems) => {
                    for (line, column, text) in problems {
                        self.push(Some(line), column, text);
                    }
                }
            }
        }
        if rows == 0 {
            self.push(None, None, "has no accounts: below the header, one row for each");
        }
        self.twice(&accounts);
        self.unused_flags(&accounts);
        accounts.shrink_to_fit();
        accounts
    }

    fn account(&mut self, row: &Row) -> Option<Account> {
        // Both sides before `?`: every bad cell of a row is told.
        let source = self.endpoint(row, Side::Source);
        let target = self.endpoint(row, Side::Target);
        let source_root = self.root(row, Side::Source);
        let target_root = self.root(row, Side::Target);
        let (source, target) = (source?, target?);
        let (source_root, target_root) = (source_root?, target_root?);
        if is_same_mailbox(&source, &target) {
            let text = "source and target are the same account; they must differ";
            self.push(Some(row.line), Some("target_user".to_owned()), text);
            return None;
        }
        let id = row.cell(Column::Id).trim();
        Some(Account {
            line: row.line,
            id: (!id.is_empty()).then(|| id.to_owned()),
            source,
            target,
            source_root,
            target_root,
        })
    }

    fn endpoint(&mut self, row: &Row, side: Side) -> Option<Endpoint> {
        let tls = self.tls(row, side);
        let host = self.host(row, side, tls);
        let port = self.port(row, side, tls);
        let pin = self.pin(row, side, tls);
        let user = self.user(row, side);
        let auth = self.auth(row, side);
        let secret = self.secret(row, side);
        Some(Endpoint {
            host: host?,
            port: port?,
            tls: tls?,
            pin: pin?,
            user: user?,
            auth: auth?,
            secret: secret?,
        })
    }

    fn tls(&mut self, row: &Row, side: Side) -> Option<Tls> {
        let Some(given) = self.given(row, side, Field::Tls) else {
            return Some(Tls::default());
        };
        match given.text.to_ascii_lowercase().as_str() {
            "tls" => Some(Tls::Implicit),
            "starttls" => Some(Tls::StartTls),
            "plain" => Some(Tls::Plain),
            _ => self.bad(given, "must be tls, starttls or plain"),
        }
    }

    fn host(&mut self, row: &Row, side: Side, tls: Option<Tls>) -> Option<String> {
        let Some(given) = self.given(row, side, Field::Host) else {
            let text = format!("no host: fill the cell, or pass --{}", Field::Host.flag(side));
            return self.bad_cell(row, side, Field::Host, text);
        };
        let bare = given
            .text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .unwrap_or(given.text);
        let address = bare.parse::<IpAddr>().ok();
        if address.is_none()
            && let Err(text) = check_host_name(given.text, side)
        {
            return self.bad(given, text);
        }
        let is_loopback = match address {
            Some(address) => address.to_canonical().is_loopback(),
            None => bare.eq_ignore_ascii_case("localhost"),
        };
        if tls == Some(Tls::Plain) && !is_loopback && !self.defaults.allow_plaintext {
            let text = "plain would send mail and password unprotected to another machine; \
                        use tls or starttls, or pass --allow-plaintext";
            return self.bad_cell(row, side, Field::Tls, text);
        }
        Some(bare.to_owned())
    }

    fn port(&mut self, row: &Row, side: Side, tls: Option<Tls>) -> Option<u16> {
        let Some(given) = self.given(row, side, Field::Port) else {
            return Some(tls.unwrap_or_default().default_port());
        };
        match given.text.parse() {
            Ok(0) | Err(_) => self.bad(given, "must be a port number from 1 to 65535"),
            Ok(port) => Some(port),
        }
    }

    fn pin(&mut self, row: &Row, side: Side, tls: Option<Tls>) -> Option<Option<Fingerprint>> {
        let Some(given) = self.given(row, side, Field::TlsPin) else {
            return Some(None);
        };
        if tls == Some(Tls::Plain) {
            let text = format!(
                "plain shows no certificate; leave it empty, or set {} to tls or starttls",
                Field::Tls.column(side)
            );
            return self.bad_cell(row, side, Field::TlsPin, text);
        }
        match Fingerprint::parse(given.text) {
            Some(pin) => Some(Some(pin)),
            None => self.bad(
                given,
                "must be the certificate's SHA-256, 64 hexadecimal digits, as \
                 `openssl x509 -noout -fingerprint -sha256` prints it",
            ),
        }
    }

    fn user(&mut self, row: &Row, side: Side) -> Option<String> {
        match self.given(row, side, Field::User) {
            Some(given) => Some(given.text.to_owned()),
            None => self.bad_cell(row, side, Field::User, "is empty; every row needs a user"),
        }
    }

    fn root(&mut self, row: &Row, side: Side) -> Option<Option<MailboxPath>> {
        let Some(given) = self.given(row, side, Field::Root) else {
            return Some(None);
        };
        // As Exchange's UserRoot is written: `/users/terry`.
        let path = given.text.strip_prefix('/').unwrap_or(given.text);
        match MailboxPath::parse(path) {
            Some(path) => Some(Some(path)),
            None => self.bad(
                given,
                "must be the path of a mailbox with / between its names, such as Old mail/Anna",
            ),
        }
    }

    fn auth(&mut self, row: &Row, side: Side) -> Option<Auth> {
        let given = self.given(row, side, Field::Auth);
        let admin = self.given(row, side, Field::Admin);
        let auth = match given.map(|given| given.text.to_ascii_lowercase()).as_deref() {
            None | Some("password") => Auth::Password,
            Some("admin") => {
                let Some(admin) = admin else {
                    let text = format!(
                        "no administrator: fill the cell, or pass --{}",
                        Field::Admin.flag(side)
                    );
                    return self.bad_cell(row, side, Field::Admin, text);
                };
                return Some(Auth::Admin(admin.text.to_owned()));
            }
            Some("xoauth2") => Auth::XOAuth2,
            Some("oauthbearer") => Auth::OAuthBearer,
            Some(_) => {
                let text = "must be password, admin, xoauth2 or oauthbearer";
                return given.and_then(|given| self.bad(given, text));
            }
        };
        // A flag's administrator is for the rows that say admin; a cell's is for its own row.
        match admin {
            Some(admin) if admin.line.is_some() => {
                let text = format!(
                    "only with {} admin; leave it empty otherwise",
                    Field::Auth.column(side)
                );
                self.bad(admin, text)
            }
            _ => Some(auth),
        }
    }

    fn secret(&mut self, row: &Row, side: Side) -> Option<SecretSource> {
        let mut given: Vec<Given> =
            Field::SECRETS.iter().filter_map(|&field| self.given(row, side, field)).collect();
        if given.iter().any(|given| given.line.is_some()) {
            given.retain(|given| given.line.is_some());
        }
        match given[..] {
            [one] => self.secret_source(one),
            [] => {
                let names = Field::SECRETS.map(|field| field.column(side)).join(", ");
                let text = format!("no password: fill one of {names}");
                self.bad_cell(row, side, Field::Password, text)
            }
            [first, second, ..] => {
                let text = format!(
                    "a second password beside {}; keep exactly one",
                    if first.line.is_some() {
                        first.field.column(side)
                    } else {
                        format!("--{}", first.field.flag(side))
                    }
                );
                self.bad(second, text)
            }
        }
    }

    fn secret_source(&mut self, given: Given<'_>) -> Option<SecretSource> {
        match given.field {
            Field::PasswordEnv => match (self.environment)(given.text) {
                None => self.bad(given, "the environment variable it names is not set"),
                Some(value) => match check_secret(value.to_str()) {
                    Ok(()) => Some(SecretSource::Env(given.text.to_owned())),
                    Err(text) => {
                        self.bad(given, format!("the environment variable it names {text}"))
                    }
                },
            },
            Field::PasswordFile => {
                // A path in the CSV is meant from the CSV's place, one in a flag from ours.
                let path = match given.line {
                    Some(_) => self.directory.join(given.text),
                    None => PathBuf::from(given.text),
                };
                let trouble = self
                    .password_files
                    .entry(path.clone())
                    .or_insert_with(|| check_password_file(&path).err())
                    .clone();
                match trouble {
                    Some(text) => self.bad(given, format!("the file it names {text}")),
                    None => Some(SecretSource::File(path)),
                }
            }
            Field::PasswordCommand => {
                if !self.defaults.allow_commands {
                    return self.bad(given, "commands run only with --allow-commands");
                }
                match words::split(given.text) {
                    Ok(words) => Some(SecretSource::Command(words)),
                    Err(text) => self.bad(given, text),
                }
            }
            _ => {
                self.holds_passwords = true;
                if given.text.trim() != given.text {
                    self.warnings.push(Problem {
                        file: Arc::clone(&self.file),
                        line: given.line,
                        column: Some(given.field.column(given.side)),
                        text: "begins or ends with a space; kept as it is".to_owned(),
                    });
                }
                Some(SecretSource::Literal(SecretString::from(given.text)))
            }
        }
    }

    /// The row's own cell, else the flag. Only passwords keep their outer spaces.
    fn given<'r>(&self, row: &'r Row, side: Side, field: Field) -> Option<Given<'r>>
    where
        'a: 'r,
    {
        let cell = row.cell(Column::Of(side, field));
        let cell = match field {
            Field::Password => cell,
            _ => cell.trim(),
        };
        let (text, line) = if !cell.is_empty() {
            (cell, Some(row.line))
        } else if field.has_default() {
            let defaults: &'a Defaults = self.defaults;
            (defaults.values.get(&(side, field))?.trim(), None)
        } else {
            return None;
        };
        (!text.is_empty()).then_some(Given { side, field, text, line })
    }

    fn bad<T>(&mut self, given: Given<'_>, text: impl Into<String>) -> Option<T> {
        if given.line.is_some() || self.flags_told.insert((given.side, given.field)) {
            self.push(given.line, Some(given.field.column(given.side)), text);
        }
        None
    }

    fn bad_cell<T>(
        &mut self,
        row: &Row,
        side: Side,
        field: Field,
        text: impl Into<String>,
    ) -> Option<T> {
        self.push(Some(row.line), Some(field.column(side)), text);
        None
    }

    fn push(&mut self, line: Option<u64>, column: Option<String>, text: impl Into<String>) {
        self.problems.push(Problem {
            file: Arc::clone(&self.file),
            line,
            column,
            text: text.into(),
        });
    }

    /// Tells of rows that would write into one target, or be one account in the ledger.
    fn twice(&mut self, accounts: &[Account]) {
        let mut targets = HashMap::new();
        let mut ids = HashMap::new();
        for account in accounts {
            let target = (account.target.host.to_lowercase(), account.target.user.to_lowercase());
            if let Some(first) = targets.insert(target, account.line) {
                let text = format!("the same target as line {first}; two sources never share one");
                self.push(Some(account.line), Some("target_user".to_owned()), text);
            }
            if let Some(id) = &account.id
                && let Some(first) = ids.insert(id, account.line)
            {
                let text = format!("the same id as line {first}; an id names one account");
                self.push(Some(account.line), Some("id".to_owned()), text);
            }
        }
    }

    /// An administrator that no row logs in with is a mistake: the passwords are the users'.
    fn unused_flags(&mut self, accounts: &[Account]) {
        for side in [Side::Source, Side::Target] {
            let is_used = accounts.iter().any(|account| {
                let end = match side {
                    Side::Source => &account.source,
                    Side::Target => &account.target,
                };
                matches!(end.auth, Auth::Admin(_))
            });
            if self.defaults.values.contains_key(&(side, Field::Admin))
                && !is_used
                && self.problems.is_empty()
            {
                let text = format!(
                    "no row logs in as administrator; pass --{} admin too",
                    Field::Auth.flag(side)
                );
                self.push(None, Some(Field::Admin.column(side)), text);
            }
        }
    }
}

/// Two ports of this machine may be tunnels to two servers; elsewhere a host is one server.
fn is_same_mailbox(source: &Endpoint, target: &Endpoint) -> bool {
    let is_local = source.host.eq_ignore_ascii_case("localhost")
        || source.host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    source.host.to_lowercase() == target.host.to_lowercase()
        && source.user.to_lowercase() == target.user.to_lowercase()
        && (source.port == target.port || !is_local)
}

fn check_host_name(host: &str, side: Side) -> Result<(), String> {
    if host.contains("://") || host.contains('/') {
        return Err("must be a host name alone, without scheme and path".to_owned());
    }
    if host.contains(':') {
        let port = Field::Port.column(side);
        return Err(format!("must be a host name alone; the port goes to {port}"));
    }
    if !host.is_ascii() {
        return Err("must be ASCII: write an international name in its xn-- form".to_owned());
    }
    let is_name = host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if is_name && !host.starts_with(['.', '-']) && !host.contains("..") && host.len() <= 253 {
        Ok(())
    } else {
        Err("must be a host name or an address".to_owned())
    }
}

/// Looks for the password on the file's first line.
fn check_password_file(path: &Path) -> Result<(), String> {
    /// A password or token; more is another kind of file.
    const LINE_BYTES_MAX: u64 = 64 * 1024;
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    // A pipe would give its password to this check, and none to the login.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut line = Vec::new();
    BufReader::new(file.take(LINE_BYTES_MAX)).read_until(b'\n', &mut line).map_err(unreadable)?;
    let text = std::str::from_utf8(&line)
        .ok()
        .map(|line| line.strip_suffix('\n').unwrap_or(line))
        .map(|line| line.strip_suffix('\r').unwrap_or(line));
    check_secret(text).map_err(|text| format!("{text} (its first line is the password)"))
}

fn check_secret(text: Option<&str>) -> Result<(), &'static str> {
    match text {
        None => Err("is not UTF-8"),
        Some("") => Err("is empty"),
        Some(text) if text.contains(['\r', '\n', '\0']) => Err("holds a line break or NUL"),
        Some(_) => Ok(()),
    }
}

/// The name spelled most like `name`, if one is close.
fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    const SIMILARITY_MIN: f64 = 0.75;
    names
        .map(|candidate| (strsim::jaro_winkler(name, &candidate.to_lowercase()), candidate))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests;
