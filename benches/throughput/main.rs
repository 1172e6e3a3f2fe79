//! How fast does the program copy between two real servers, and how near is that to what they
//! allow? Starts two Dovecots on this machine, fills one, and runs the program beside a relay that
//! only moves octets. Every copy is compared with its source. `docs/performance.md` tells how to
//! read what it prints.
//!
//! `cargo bench --bench throughput -- [CASE...] [--repeat N] [--ledger FOLDER] [--program FILE] [-- FLAGS]`

#![expect(clippy::print_stdout, reason = "a bench tells what it measured")]
#![expect(clippy::unwrap_used, reason = "what a bench cannot go on without ends it")]

#[path = "../../tests/servers/client.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod client;
#[path = "../support/cost.rs"]
mod cost;
#[path = "../../tests/servers/deadline.rs"]
mod deadline;
#[path = "../../tests/servers/dump.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod dump;
#[path = "../../tests/servers/harness/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
#[allow(clippy::print_stderr, reason = "the log of a server that was not well")]
mod harness;
#[path = "../../tests/servers/messages.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod messages;
#[path = "../../tests/servers/names.rs"]
mod names;
mod program;
mod proxy;
#[path = "../../tests/servers/random.rs"]
mod random;
mod relay;
mod sets;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::cost::Cost;
use crate::dump::Dump;
use crate::harness::dovecot::Options;
use crate::harness::{Server, dovecot, hindrance};
use crate::program::Ends;
use crate::relay::{End, Relay};
use crate::sets::{FOLDERS, LARGE, MIXED, SMALL, Set};

const ROUND_TRIP: Duration = Duration::from_millis(40);
/// Connections of the one account whose target wants to be asked before each message.
const ASKING: usize = 4;

/// All that Dovecot announces but MULTIAPPEND, and but LITERAL+ too.
const SINGLE: &str = "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE NAMESPACE LITERAL+ \
    CHILDREN UNSELECT UIDPLUS LIST-EXTENDED ESEARCH CONDSTORE LIST-STATUS SPECIAL-USE MOVE";
const ASKED: &str = "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE NAMESPACE \
    CHILDREN UNSELECT UIDPLUS LIST-EXTENDED ESEARCH CONDSTORE LIST-STATUS SPECIAL-USE MOVE";

/// Something to measure.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    set: Set,
    /// Only so many of its accounts.
    accounts: usize,
    /// What the target announces.
    capability: Option<&'static str>,
    tls: bool,
    /// Whether both servers are 40 ms away.
    far: bool,
    /// A second pass, over one message in a hundred.
    delta: bool,
}

const fn case(name: &'static str, set: Set) -> Case {
    let accounts = set.accounts;
    Case { name, set, accounts, capability: None, tls: false, far: false, delta: false }
}

const CASES: [Case; 10] = [
    case("S", SMALL),
    Case { capability: Some(SINGLE), ..case("S-single", SMALL) },
    Case { accounts: 1, far: true, ..case("S-far", SMALL) },
    Case { accounts: 1, far: true, capability: Some(ASKED), ..case("S-asked", SMALL) },
    case("M", MIXED),
    Case { tls: true, ..case("M-tls", MIXED) },
    Case { accounts: 1, far: true, ..case("M-far", MIXED) },
    case("L", LARGE),
    Case { far: true, ..case("F-far", FOLDERS) },
    Case { delta: true, ..case("D", SMALL) },
];

/// What the command line asks for.
struct Wanted {
    cases: Vec<String>,
    repeat: usize,
    ledger: PathBuf,
    /// Another build of the program, to compare with.
    program: PathBuf,
    flags: Vec<String>,
}

impl Wanted {
    fn parse() -> Self {
        let mut wanted = Self {
            cases: Vec::new(),
            repeat: 3,
            ledger: PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
            program: PathBuf::from(env!("CARGO_BIN_EXE_mailhaul")),
            flags: Vec::new(),
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--bench" => {} // From cargo.
                "--repeat" => wanted.repeat = words.next().unwrap().parse().unwrap(),
                "--ledger" => wanted.ledger = words.next().unwrap().into(),
                "--program" => wanted.program = words.next().unwrap().into(),
                "--" => wanted.flags.extend(words.by_ref()),
                _ => wanted.cases.push(word),
            }
        }
        let is_known = |name: &String| CASES.iter().any(|case| case.name == name);
        let names = CASES.map(|case| case.name).join(" ");
        assert!(wanted.cases.iter().all(is_known), "the cases are {names}");
        wanted
    }
}

fn main() {
    let wanted = Wanted::parse();
    if let Some(why) = hindrance(&["dovecot"]) {
        println!("SKIPPED: {why}; run tests/run, which gets the servers");
        return;
    }
    println!(
        "case      messages     MB  messages/s   MB/s  wall s  relay s  ratio  CPU us/msg  RSS MB"
    );
    let mut filled: Option<Filled> = None;
    for case in CASES {
        if !wanted.cases.is_empty() && !wanted.cases.iter().any(|name| name == case.name) {
            continue;
        }
        let kept = filled.take().filter(|filled| filled.set == case.set);
        let source = filled.insert(kept.unwrap_or_else(|| Filled::new(case.set)));
        if case.delta {
            case.measure_delta(source, &wanted);
        } else {
            case.measure(source, &wanted);
        }
    }
}

/// A source and what is on it.
struct Filled {
    set: Set,
    server: Server,
    /// Of each account.
    bytes: Vec<usize>,
}

impl Filled {
    fn new(set: Set) -> Self {
        let server = start(None);
        let bytes = set.store(&server);
        Self { set, server, bytes }
    }
}

fn start(capability: Option<&'static str>) -> Server {
    dovecot::start(&Options {
        users: SMALL.accounts,
        storage: "mdbox:~/mdbox",
        capability,
        ..Options::default()
    })
}

impl Case {
    fn users(&self) -> Vec<String> {
        let mut users = self.set.users();
        users.truncate(self.accounts);
        users
    }

    /// Copies all to new targets, by relay and program in turn; tells of the fastest of each.
    fn measure(&self, filled: &Filled, wanted: &Wanted) {
        let source = &filled.server;
        let expected = Read::of(source, &self.users());
        let bytes = filled.bytes[..self.accounts].iter().sum();
        let (mut relays, mut relays_tls, mut costs) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..wanted.repeat {
            if self.capability != Some(ASKED) {
                let plain = Self { tls: false, ..*self };
                relays.push(plain.relay_all(source, &expected));
            }
            if self.tls {
                relays_tls.push(self.relay_all(source, &expected));
            }
            let target = start(self.capability);
            let ends = self.ends(source, &target);
            let folder = tempfile::tempdir_in(&wanted.ledger).unwrap();
            program::prepare(folder.path(), &self.users(), ends, [source, &target]);
            costs.push(self.run(folder.path(), wanted));
            expected.assert_equal(&Read::of(&target, &self.users()), "the program");
        }
        if self.capability == Some(ASKED) {
            // One round trip a message and connection is the limit.
            relays.push(ROUND_TRIP * u32::try_from(expected.messages / ASKING).unwrap());
        }
        self.tell(expected.messages, bytes, &relays, &costs);
        if self.tls {
            let name = "(TLS)";
            Self { name, ..*self }.tell(expected.messages, bytes, &relays_tls, &costs);
        }
    }

    /// Copies all to a new target.
    fn relay_all(&self, source: &Server, expected: &Read) -> Duration {
        let target = start(self.capability);
        let took = self.relay(source, &target, 1);
        expected.assert_equal(&Read::of(&target, &self.users()), "the relay");
        took
    }

    /// Copies all once; then, again and again, what is new since.
    fn measure_delta(&self, filled: &Filled, wanted: &Wanted) {
        let source = &filled.server;
        let target = start(self.capability);
        let ends = self.ends(source, &target);
        let folder = tempfile::tempdir_in(&wanted.ledger).unwrap();
        program::prepare(folder.path(), &self.users(), ends, [source, &target]);
        self.run(folder.path(), wanted);
        let (mut relays, mut costs) = (Vec::new(), Vec::new());
        let mut before = Read::of(source, &self.users());
        let (mut messages, mut bytes) = (0, 0);
        for pass in 0..wanted.repeat {
            let new = self.set.messages / 100;
            bytes = 0;
            for (number, user) in self.users().iter().enumerate() {
                let seed = ((1 + pass) * 1_000 + number) as u64;
                bytes += self.set.deliver(&mut source.client(user), seed, new);
            }
            let expected = Read::of(source, &self.users());
            messages = expected.messages - before.messages;
            let other = start(self.capability);
            relays.push(self.relay(source, &other, self.set.messages + pass * new + 1));
            assert_eq!(Read::of(&other, &self.users()).messages, messages, "the relay");
            costs.push(self.run(folder.path(), wanted));
            expected.assert_equal(&Read::of(&target, &self.users()), "the program");
            before = expected;
        }
        self.tell(messages, bytes, &relays, &costs);
    }

    fn ends(&self, source: &Server, target: &Server) -> Ends {
        let [source_port, target_port] = [source, target].map(|server| {
            let port = if self.tls { server.tls_port } else { server.port };
            if self.far { proxy::start(port, ROUND_TRIP) } else { port }
        });
        Ends { source_port, target_port, tls: self.tls }
    }

    fn relay(&self, source: &Server, target: &Server, from: usize) -> Duration {
        let Ends { source_port, target_port, tls } = self.ends(source, target);
        let end = |port, server: &Server| {
            if tls { End::tls(port, server.ca_file()) } else { End::plain(port) }
        };
        let relay = Relay {
            source: end(source_port, source),
            target: end(target_port, target),
            multiappend: self.capability.is_none(),
            from,
        };
        let begun = Instant::now();
        relay.run(&self.users());
        begun.elapsed()
    }

    fn run(&self, folder: &Path, wanted: &Wanted) -> Cost {
        let mut flags = vec!["--ca-file".to_owned(), "ca.pem".to_owned()];
        flags.extend_from_slice(&wanted.flags);
        if self.capability == Some(ASKED) {
            flags.extend(["--connections".to_owned(), ASKING.to_string()]);
        }
        cost::migrate(&wanted.program, folder, &flags)
    }

    fn tell(&self, messages: usize, bytes: usize, relays: &[Duration], costs: &[Cost]) {
        let relay = relays.iter().min().unwrap().as_secs_f64();
        let wall = costs.iter().map(|cost| cost.wall).min().unwrap().as_secs_f64();
        let cpu = costs.iter().map(|cost| cost.cpu).min().unwrap().as_secs_f64();
        let memory = costs.iter().map(|cost| cost.memory_peak_kib).max().unwrap();
        let megabytes = bytes as f64 / 1e6;
        println!(
            "{:<9} {messages:>8} {megabytes:>6.1} {:>11.0} {:>6.1} {wall:>7.3} {relay:>8.3} {:>6.2} {:>11.0} {:>7.1}",
            self.name,
            messages as f64 / wall,
            megabytes / wall,
            wall / relay,
            cpu * 1e6 / messages as f64,
            memory as f64 / 1024.0,
        );
    }
}

/// What a server holds of some accounts.
struct Read {
    dumps: Vec<Dump>,
    messages: usize,
}

impl Read {
    fn of(server: &Server, users: &[String]) -> Self {
        let dumps: Vec<Dump> =
            users.iter().map(|user| Dump::read(&mut server.client(user))).collect();
        let messages = dumps.iter().map(Dump::len).sum();
        Self { dumps, messages }
    }

    fn assert_equal(&self, copy: &Self, who: &str) {
        for (dump, copy) in self.dumps.iter().zip(&copy.dumps) {
            let difference = dump.difference(copy);
            assert!(difference.is_empty(), "{who}: {difference}");
        }
    }
}
