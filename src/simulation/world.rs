//! Two rehearsed servers, accounts on both, a ledger, and runs of the engine between them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::accounts::{Account, Batch};
use crate::config::Config;
use crate::endpoint::{Auth, Endpoint, Fingerprint, SecretSource, Tls};
use crate::engine::{Env, Trial, bound, compare_in, preview_in, run_in, tune_in};
use crate::event::{Event, Observer};
use crate::fate::{Fate, RemarkKind};
use crate::fault::Fault;
use crate::ledger::{AccountSnapshot, AccountState, Ledger, RemarkRow};
use crate::rehearsal::{Certificate, InternalDate, Message, Profile, Server, Snapshot, Store};
use crate::report::{Totals, Verdict};
use crate::stop::Stop;
use tokio::time::Instant;

use super::ledger::{CrashLedger, Failure};
use super::lock;
use super::network::{AtPoint, Fuse, Kill, Network, SOURCE_PORT, TARGET_PORT};

/// Who is there from the start, on both servers.
pub const ANNA: &str = "anna@example.org";
/// The source's name.
pub const SOURCE_HOST: &str = "old.example.org";
/// The target's name.
pub const TARGET_HOST: &str = "new.example.org";
/// The mailbox everybody has.
pub const INBOX: [&str; 1] = ["INBOX"];
/// A run that takes longer, by the paused clock, will never end.
const RUN_LIMIT: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Commands that can change what is at a server.
pub const CHANGING: [&str; 16] = [
    "SELECT",
    "STORE",
    "UID STORE",
    "EXPUNGE",
    "UID EXPUNGE",
    "APPEND",
    "COPY",
    "UID COPY",
    "MOVE",
    "UID MOVE",
    "CREATE",
    "DELETE",
    "RENAME",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "CLOSE",
];

/// Two servers, the mail on them, and what outlives a process: the ledger.
pub struct World {
    /// Where mail comes from.
    pub source: Server,
    /// Where it goes.
    pub target: Server,
    /// What lies between.
    pub network: Arc<Network>,
    /// The settings of the runs to come.
    pub config: Config,
    /// What is copied.
    pub accounts: Vec<Account>,
    /// What outlives a crash.
    pub ledger: CrashLedger,
    /// Stops the run.
    pub stop: Stop,
    /// How many points the last run passed.
    pub points: u64,
    /// What the last killed run told.
    pub told: Vec<Event>,
    before: BTreeMap<String, Snapshot>,
    watches: Vec<Watch>,
}

/// What comes over a run.
pub struct Circumstances {
    /// Where it is killed.
    pub kill: Option<Kill>,
    /// Which call to the ledger fails.
    pub failure: Option<Failure>,
    /// What else happens at its points.
    pub at_point: Option<AtPoint>,
    /// Decides what is random in it.
    pub seed: u64,
}

impl Default for Circumstances {
    fn default() -> Self {
        Self { kill: None, failure: None, at_point: None, seed: 7 }
    }
}

/// Is told every event of a run.
type Watch = Arc<dyn Fn(&Event) + Send + Sync>;

impl World {
    /// One account, `anna`, between servers like these.
    pub fn new(source: Profile, target: Profile) -> Self {
        let (source, target) = (Server::new(source), Server::new(target));
        let network = Arc::new(Network::default());
        network.attach(SOURCE_PORT, &source, None);
        network.attach(TARGET_PORT, &target, None);
        let mut world = Self {
            source,
            target,
            network,
            config: config(),
            accounts: Vec::new(),
            ledger: CrashLedger::new(),
            stop: Stop::new(),
            points: 0,
            told: Vec::new(),
            before: BTreeMap::new(),
            watches: Vec::new(),
        };
        world.add(ANNA);
        world
    }

    /// One account between two servers as Dovecot.
    pub fn usual() -> Self {
        Self::new(Profile::dovecot(), Profile::dovecot())
    }

    /// Puts both servers behind TLS, for the accounts there are.
    pub fn secure(&mut self, certificate: &Certificate) {
        for (port, server) in [(SOURCE_PORT, &self.source), (TARGET_PORT, &self.target)] {
            self.network.attach(port, server, Some(certificate.acceptor()));
        }
        for account in &mut self.accounts {
            for end in [&mut account.source, &mut account.target] {
                end.tls = Tls::Implicit;
                end.pin = Fingerprint::parse(&certificate.fingerprint());
            }
        }
    }

    /// One more account, on both servers.
    pub fn add(&mut self, user: &str) -> Store {
        let password = password(user);
        self.target.account(user, &password);
        self.accounts.push(account(user, SOURCE_HOST, TARGET_HOST));
        self.source.account(user, &password)
    }

    /// Anna's mail at the source.
    pub fn anna(&self) -> Store {
        self.source.store(ANNA).expect("Anna is there from the start")
    }

    /// Anna's mail at the target.
    pub fn copy(&self) -> Store {
        self.target.store(ANNA).expect("Anna is there from the start")
    }

    /// Puts so many different messages into Anna's inbox.
    pub fn deliver(&self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            self.anna().deliver(&INBOX, letter(number));
        }
    }

    /// Tells this of every event of the runs to come.
    pub fn on_event(&mut self, watch: impl Fn(&Event) + Send + Sync + 'static) {
        self.watches.push(Arc::new(watch));
    }

    /// Runs to the end.
    pub async fn run(&mut self) -> Report {
        self.run_with(Circumstances::default()).await.expect("nothing kills this run")
    }

    /// Runs until it is killed there, or to the end. Nothing is told of a killed run.
    pub async fn run_until(&mut self, kill: Kill) -> Option<Report> {
        self.run_with(Circumstances { kill: Some(kill), ..Circumstances::default() }).await
    }

    /// Runs under these circumstances until it is killed, or to the end.
    pub async fn run_with(&mut self, circumstances: Circumstances) -> Option<Report> {
        let Circumstances { kill, failure, at_point, seed } = circumstances;
        self.before = self.snapshots(&self.source);
        let fuse = Fuse::new(kill, at_point);
        self.network.set_fuse(Some(fuse.clone()));
        let events = Arc::new(Events {
            told: Mutex::default(),
            fuse: fuse.clone(),
            watches: self.watches.clone(),
        });
        let dial = self.network.clone();
        let env = Env { dial, ledger: self.ledger.of_process(fuse.clone(), failure), seed };
        let batch = Batch { accounts: self.accounts.clone() };
        let (begun, stop) = (Instant::now(), self.stop.clone());
        let ended = tokio::select! {
            biased;
            () = fuse.blown.notified() => None,
            ended = run_in(env, self.config.clone(), &batch, events.clone(), stop) => Some(ended),
            () = tokio::time::sleep(RUN_LIMIT) => panic!("the run does not end: {:#?}", events.last()),
        };
        self.network.set_fuse(None);
        self.stop = Stop::new();
        self.points = fuse.points();
        // A process that cannot write what is queued loses it when it ends.
        if ended.as_ref().is_none_or(Result::is_err) {
            self.ledger.crash().await;
            // What was cut off is dropped before the next run begins.
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
        let told = std::mem::take(&mut *lock(&events.told));
        let Some(ended) = ended else {
            self.told = told;
            return None;
        };
        Some(self.report(ended, told, begun.elapsed()).await)
    }

    /// Compares what is at both servers; with the ledger's word where mailboxes went. Tells all events.
    pub async fn compare(&self) -> Vec<Event> {
        let known = self.ledger.bound().await;
        let bound = bound(&known, true)
            .with_repaired(self.ledger.repaired().await)
            .with_merged(&known, &self.ledger.merged().await);
        self.look(|env, config, batch, observer, stop| async move {
            compare_in(env, config, &batch, bound, observer, stop).await
        })
        .await
    }

    /// Tells which mailbox would go where.
    pub async fn preview(&self) -> Vec<Event> {
        let bound = bound(&self.ledger.bound().await, false);
        self.look(|env, config, batch, observer, stop| async move {
            preview_in(env, config, &batch, bound, observer, stop).await
        })
        .await
    }

    /// Measures both ends.
    pub async fn tune(&self, trial: Trial) -> Vec<Event> {
        self.look(|env, config, batch, observer, stop| async move {
            tune_in(env, config, &batch, trial, observer, stop).await
        })
        .await
    }

    async fn look<F: Future<Output = Result<(), Fault>>>(
        &self,
        look: impl FnOnce(Env<()>, Config, Batch, Arc<dyn Observer>, Stop) -> F,
    ) -> Vec<Event> {
        let events = Arc::new(Events {
            told: Mutex::default(),
            fuse: Fuse::new(None, None),
            watches: self.watches.clone(),
        });
        let env = Env { dial: self.network.clone(), ledger: (), seed: 7 };
        let batch = Batch { accounts: self.accounts.clone() };
        let (config, stop) = (self.config.clone(), self.stop.clone());
        let ended = look(env, config, batch, events.clone(), stop);
        let ended = tokio::time::timeout(RUN_LIMIT, ended).await;
        ended.expect("it ends").expect("nothing stops a look");
        std::mem::take(&mut *lock(&events.told))
    }

    async fn report(&self, ended: Result<(), Fault>, events: Vec<Event>, took: Duration) -> Report {
        let snapshot = self.ledger.snapshot().await.expect("memory is read");
        Report {
            ended,
            verdict: Verdict::of(&snapshot),
            totals: Totals::of_all(&snapshot),
            accounts: snapshot.accounts,
            remarks: self.ledger.remarks(None, 100_000).await.expect("memory is read"),
            events,
            took,
        }
    }

    fn snapshots(&self, server: &Server) -> BTreeMap<String, Snapshot> {
        let users = self.accounts.iter().map(|account| &account.source.user);
        users.filter_map(|user| Some((user.clone(), server.store(user)?.snapshot()))).collect()
    }

    /// Every account's mail is at the target, each message as often as at the source and equal in
    /// flags, instant and bytes, and nothing else is there; and the source is as it was.
    #[track_caller]
    pub fn assert_copied(&self) {
        self.assert_source_untouched();
        for (user, wanted) in self.snapshots(&self.source) {
            let there = self.target.store(&user).expect("who is at both").snapshot();
            assert_same(&user, &wanted, &there);
        }
    }

    /// The source has the mail it had, and no command came that could change it.
    #[track_caller]
    pub fn assert_source_untouched(&self) {
        for (user, now) in self.snapshots(&self.source) {
            assert_same(&user, &self.before[&user], &now);
        }
        let counters = self.source.counters();
        for command in CHANGING {
            assert_eq!(counters.command(command), 0, "{command} at the source");
        }
    }
}

#[track_caller]
fn assert_same(user: &str, wanted: &Snapshot, there: &Snapshot) {
    let names = |snapshot: &Snapshot| snapshot.mailboxes.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(there), names(wanted), "mailboxes of {user}");
    for (path, wanted) in &wanted.mailboxes {
        let show = |held: &[crate::rehearsal::Held]| {
            held.iter()
                .map(|one| {
                    let body = &one.body[..one.body.len().min(60)];
                    format!(
                        "{} {:?} {} octets {}",
                        one.unix_seconds,
                        one.flags,
                        one.body.len(),
                        body.escape_ascii()
                    )
                })
                .collect::<Vec<_>>()
        };
        let there = &there.mailboxes[path];
        assert_eq!(show(there), show(wanted), "{path:?} of {user}");
        assert!(there == wanted, "{path:?} of {user} differs in its bytes");
    }
}

/// How a run ended, and what the ledger says then.
pub struct Report {
    /// What stopped the batch, if something did.
    pub ended: Result<(), Fault>,
    /// The verdict of the ledger.
    pub verdict: Verdict,
    /// Sums over all accounts.
    pub totals: Totals,
    /// What the ledger says of each account.
    pub accounts: Vec<AccountSnapshot>,
    /// Everything said of single messages.
    pub remarks: Vec<RemarkRow>,
    /// What was told meanwhile.
    pub events: Vec<Event>,
    /// By the paused clock.
    pub took: Duration,
}

impl Report {
    /// Messages of one fate.
    pub fn fate(&self, fate: Fate) -> u64 {
        self.totals.sum(&[fate]).messages
    }

    /// Messages of which this is said.
    pub fn remarked(&self, kind: RemarkKind) -> u64 {
        self.totals.remarks.get(&kind).copied().unwrap_or(0)
    }

    /// What is said of messages of one fate.
    pub fn reasons(&self, fate: Fate) -> Vec<&str> {
        let rows = self.remarks.iter().filter(|row| row.fate == fate);
        rows.map(|row| row.remark.text.as_str()).collect()
    }

    /// The state of one account.
    pub fn state(&self, user: &str) -> AccountState {
        let account = self.accounts.iter().find(|one| one.name.source == user);
        account.expect("the ledger knows the account").state
    }

    /// Why mailboxes are not finished.
    pub fn mailbox_faults(&self) -> Vec<&str> {
        let mailboxes = self.accounts.iter().flat_map(|one| &one.mailboxes);
        mailboxes.filter_map(|one| one.fault.as_deref()).collect()
    }

    /// Everything is copied, and nothing is to be said of it.
    #[track_caller]
    pub fn assert_done(&self, messages: u64) {
        assert!(self.ended.is_ok(), "{:?}", self.ended);
        assert_eq!(
            (self.verdict, self.fate(Fate::Copied)),
            (Verdict::Done, messages),
            "{:?} {:#?}",
            self.totals,
            self.mailbox_faults()
        );
        let said: Vec<String> = self
            .remarks
            .iter()
            .map(|row| format!("{} {}: {}", row.fate, row.remark.kind.as_str(), row.remark.text))
            .collect();
        assert_eq!(said, Vec::<String>::new());
    }
}

/// Keeps events, and counts them for a kill.
struct Events {
    told: Mutex<Vec<Event>>,
    fuse: Arc<Fuse>,
    watches: Vec<Watch>,
}

impl Events {
    fn last(&self) -> Vec<Event> {
        let told = lock(&self.told);
        told[told.len().saturating_sub(12)..].to_vec()
    }
}

impl Observer for Events {
    fn event(&self, event: &Event) {
        lock(&self.told).push(event.clone());
        for watch in &self.watches {
            watch(event);
        }
        self.fuse.event();
    }
}

/// Small windows and short waits.
fn config() -> Config {
    Config {
        window_messages_max: 4,
        settle: Duration::from_millis(100),
        settle_max: Duration::from_secs(5),
        // Time stands still while servers answer: all connections at once, but where a test is about that.
        near: Duration::ZERO,
        ..Config::default()
    }
}

/// An account with password, in clear text.
pub fn account(user: &str, source_host: &str, target_host: &str) -> Account {
    let end = |host: &str, port| Endpoint {
        host: host.to_owned(),
        port,
        tls: Tls::Plain,
        pin: None,
        user: user.to_owned(),
        auth: Auth::Password,
        secret: SecretSource::Literal(password(user).into()),
    };
    Account::new(end(source_host, SOURCE_PORT), end(target_host, TARGET_PORT))
}

/// A user's password on both servers.
pub fn password(user: &str) -> String {
    format!("pass-of-{user}-7f3a")
}

/// A message with usual headers, different for each number.
pub fn letter(number: u32) -> Message {
    let body = format!(
        "Message-ID: <{number}@example.org>\r\nDate: Mon, 14 Sep 2020 10:00:00 +0200\r\n\
         From: ben@example.org\r\nTo: {ANNA}\r\nSubject: letter {number}\r\n\r\n\
         Text of letter {number}.\r\n{}",
        "More of it.\r\n".repeat((number % 7) as usize)
    );
    let flags: &[&str] = match number % 5 {
        0 => &["\\Seen"],
        1 => &["\\Answered", "\\Seen"],
        2 => &["\\Flagged"],
        _ => &[],
    };
    Message::new(body).with_flags(flags).of(1_600_000_000 + 61 * i64::from(number), 7_200)
}

/// Messages in the making.
pub trait MessageExt {
    /// With these flags.
    fn with_flags(self, flags: &[&str]) -> Self;
    /// With this internal date.
    fn of(self, unix_seconds: i64, offset_seconds: i32) -> Self;
}

impl MessageExt for Message {
    fn with_flags(mut self, flags: &[&str]) -> Self {
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        self
    }

    fn of(mut self, unix_seconds: i64, offset_seconds: i32) -> Self {
        self.internal_date = InternalDate { unix_seconds, offset_seconds };
        self
    }
}
