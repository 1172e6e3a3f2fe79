//! Two rehearsed servers, accounts on both, a ledger, and runs of the engine between them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mailhaul::accounts::{Account, Batch};
use mailhaul::config::Config;
use mailhaul::endpoint::{Auth, Endpoint, SecretSource, Tls};
use mailhaul::engine::{Env, run_in};
use mailhaul::event::{Event, Observer};
use mailhaul::fate::{Fate, RemarkKind};
use mailhaul::fault::Fault;
use mailhaul::ledger::{AccountSnapshot, AccountState, Ledger, RemarkRow};
use mailhaul::rehearsal::{InternalDate, Message, Profile, Server, Snapshot, Store};
use mailhaul::report::{Totals, Verdict};
use mailhaul::stop::Stop;
use tokio::time::Instant;

use crate::ledger::CrashLedger;
use crate::network::{Fuse, Kill, Network, SOURCE_PORT, TARGET_PORT};

pub(crate) const ANNA: &str = "anna@example.org";
pub(crate) const SOURCE_HOST: &str = "old.example.org";
pub(crate) const TARGET_HOST: &str = "new.example.org";
pub(crate) const INBOX: [&str; 1] = ["INBOX"];
/// A run that takes longer, by the paused clock, will never end.
const RUN_LIMIT: Duration = Duration::from_secs(14 * 24 * 60 * 60);

pub(crate) struct World {
    pub(crate) source: Server,
    pub(crate) target: Server,
    pub(crate) network: Arc<Network>,
    pub(crate) config: Config,
    pub(crate) accounts: Vec<Account>,
    pub(crate) ledger: CrashLedger,
    pub(crate) stop: Stop,
    before: BTreeMap<String, Snapshot>,
    watches: Vec<Watch>,
}

/// Is told every event of a run.
type Watch = Arc<dyn Fn(&Event) + Send + Sync>;

impl World {
    /// One account, `anna`, between servers like these.
    pub(crate) fn new(source: Profile, target: Profile) -> Self {
        let (source, target) = (Server::new(source), Server::new(target));
        let network = Arc::new(Network::default());
        network.attach(SOURCE_PORT, &source);
        network.attach(TARGET_PORT, &target);
        let mut world = Self {
            source,
            target,
            network,
            config: config(),
            accounts: Vec::new(),
            ledger: CrashLedger::new(),
            stop: Stop::new(),
            before: BTreeMap::new(),
            watches: Vec::new(),
        };
        world.add(ANNA);
        world
    }

    /// One account between two servers as Dovecot.
    pub(crate) fn usual() -> Self {
        Self::new(Profile::dovecot(), Profile::dovecot())
    }

    /// One more account, on both servers.
    pub(crate) fn add(&mut self, user: &str) -> Store {
        let password = password(user);
        self.target.account(user, &password);
        self.accounts.push(account(user, SOURCE_HOST, TARGET_HOST));
        self.source.account(user, &password)
    }

    pub(crate) fn anna(&self) -> Store {
        self.source.store(ANNA).unwrap()
    }

    /// Anna's mail at the target.
    pub(crate) fn copy(&self) -> Store {
        self.target.store(ANNA).unwrap()
    }

    /// Puts so many different messages into Anna's inbox.
    pub(crate) fn deliver(&self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            self.anna().deliver(&INBOX, letter(number));
        }
    }

    /// Tells this of every event of the runs to come.
    pub(crate) fn on_event(&mut self, watch: impl Fn(&Event) + Send + Sync + 'static) {
        self.watches.push(Arc::new(watch));
    }

    /// Runs to the end.
    pub(crate) async fn run(&mut self) -> Report {
        self.run_or_die(None).await.expect("nothing kills this run")
    }

    /// Runs until it is killed there, or to the end. Nothing is told of a killed run.
    pub(crate) async fn run_until(&mut self, kill: Kill) -> Option<Report> {
        self.run_or_die(Some(kill)).await
    }

    async fn run_or_die(&mut self, kill: Option<Kill>) -> Option<Report> {
        self.before = self.snapshots(&self.source);
        let fuse = kill.map(Fuse::new);
        self.network.set_fuse(fuse.clone());
        let events = Arc::new(Events {
            told: Mutex::default(),
            fuse: fuse.clone(),
            watches: self.watches.clone(),
        });
        let env = Env { dial: self.network.clone(), ledger: self.ledger.clone(), seed: 7 };
        let batch = Batch { accounts: self.accounts.clone() };
        let (begun, stop) = (Instant::now(), self.stop.clone());
        let killed = async {
            match &fuse {
                Some(fuse) => fuse.blown.notified().await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            biased;
            () = killed => None,
            ended = run_in(env, self.config.clone(), batch, events.clone(), stop) => Some(ended),
            () = tokio::time::sleep(RUN_LIMIT) => panic!("the run does not end: {:#?}", events.last()),
        };
        self.network.set_fuse(None);
        self.stop = Stop::new();
        if ended.is_none() {
            self.ledger.crash().await;
            // What was cut off is dropped before the next run begins.
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
        let ended = ended?;
        let told = std::mem::take(&mut *events.told.lock().unwrap());
        Some(self.report(ended, told, begun.elapsed()).await)
    }

    async fn report(&self, ended: Result<(), Fault>, events: Vec<Event>, took: Duration) -> Report {
        let snapshot = self.ledger.snapshot().await.unwrap();
        Report {
            ended,
            verdict: Verdict::of(&snapshot),
            totals: Totals::of_all(&snapshot),
            accounts: snapshot.accounts,
            remarks: self.ledger.remarks(None, 100_000).await.unwrap(),
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
    pub(crate) fn assert_copied(&self) {
        self.assert_source_untouched();
        for (user, wanted) in self.snapshots(&self.source) {
            let there = self.target.store(&user).unwrap().snapshot();
            assert_same(&user, &wanted, &there);
        }
    }

    #[track_caller]
    pub(crate) fn assert_source_untouched(&self) {
        for (user, now) in self.snapshots(&self.source) {
            assert_same(&user, &self.before[&user], &now);
        }
        let counters = self.source.counters();
        for command in [
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
        ] {
            assert_eq!(counters.command(command), 0, "{command} at the source");
        }
    }
}

#[track_caller]
fn assert_same(user: &str, wanted: &Snapshot, there: &Snapshot) {
    let names = |snapshot: &Snapshot| snapshot.mailboxes.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(there), names(wanted), "mailboxes of {user}");
    for (path, wanted) in &wanted.mailboxes {
        let show = |held: &[mailhaul::rehearsal::Held]| {
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
pub(crate) struct Report {
    pub(crate) ended: Result<(), Fault>,
    pub(crate) verdict: Verdict,
    pub(crate) totals: Totals,
    pub(crate) accounts: Vec<AccountSnapshot>,
    pub(crate) remarks: Vec<RemarkRow>,
    pub(crate) events: Vec<Event>,
    /// By the paused clock.
    pub(crate) took: Duration,
}

impl Report {
    pub(crate) fn fate(&self, fate: Fate) -> u64 {
        self.totals.sum(&[fate]).messages
    }

    pub(crate) fn remarked(&self, kind: RemarkKind) -> u64 {
        self.totals.remarks.get(&kind).copied().unwrap_or(0)
    }

    /// What is said of messages of one fate.
    pub(crate) fn reasons(&self, fate: Fate) -> Vec<&str> {
        let rows = self.remarks.iter().filter(|row| row.fate == fate);
        rows.map(|row| row.remark.text.as_str()).collect()
    }

    pub(crate) fn state(&self, user: &str) -> AccountState {
        let account = self.accounts.iter().find(|one| one.name.source == user);
        account.expect("the ledger knows the account").state
    }

    /// Why mailboxes are not finished.
    pub(crate) fn mailbox_faults(&self) -> Vec<&str> {
        let mailboxes = self.accounts.iter().flat_map(|one| &one.mailboxes);
        mailboxes.filter_map(|one| one.fault.as_deref()).collect()
    }

    /// Everything is copied, and nothing is to be said of it.
    #[track_caller]
    pub(crate) fn assert_done(&self, messages: u64) {
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
    fuse: Option<Arc<Fuse>>,
    watches: Vec<Watch>,
}

impl Events {
    fn last(&self) -> Vec<Event> {
        let told = self.told.lock().unwrap();
        told[told.len().saturating_sub(12)..].to_vec()
    }
}

impl Observer for Events {
    fn event(&self, event: &Event) {
        self.told.lock().unwrap().push(event.clone());
        for watch in &self.watches {
            watch(event);
        }
        if let Some(fuse) = &self.fuse {
            fuse.event();
        }
    }
}

/// Small windows and short waits.
fn config() -> Config {
    Config {
        window_messages_max: 4,
        settle: Duration::from_millis(100),
        settle_max: Duration::from_secs(5),
        ..Config::default()
    }
}

pub(crate) fn account(user: &str, source_host: &str, target_host: &str) -> Account {
    let end = |host: &str, port| Endpoint {
        host: host.to_owned(),
        port,
        tls: Tls::Plain,
        pin: None,
        user: user.to_owned(),
        auth: Auth::Password,
        secret: SecretSource::Literal(password(user).into()),
    };
    Account {
        line: 0,
        id: None,
        source: end(source_host, SOURCE_PORT),
        target: end(target_host, TARGET_PORT),
    }
}

pub(crate) fn password(user: &str) -> String {
    format!("pass-of-{user}-7f3a")
}

/// A message with usual headers, different for each number.
pub(crate) fn letter(number: u32) -> Message {
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

pub(crate) trait MessageExt {
    fn with_flags(self, flags: &[&str]) -> Self;
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
