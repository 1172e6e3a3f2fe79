//! `mailhaul demo`: a real migration between two servers of our own, cut off, resumed and compared.

mod compare;
mod folder;
mod mail;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use mailhaul::fate::Fate;
use mailhaul::rehearsal::{
    Certificate, Deed, Fault, Listening, Literal, Profile, Server, Snapshot, Store,
};
use mailhaul::report::Totals;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::ui;

use super::signals::Signals;
use super::{Exit, Failure, state};
use compare::compare;
use folder::{ACCOUNTS, Folder, ROOTS, STATE};
use mail::PEOPLE;

/// What is run, twice. The target is this machine, and nothing that was sent to it is long under
/// way: the second run need not wait the usual time before it looks.
const MIGRATE: [&str; 6] = ["migrate", ACCOUNTS, "--ca-file", ROOTS, "--settle", "500ms"];
/// What each APPEND costs a server that writes to a disk, and a network.
const APPEND_TIME: Duration = Duration::from_millis(50);
/// How much of the mail is on the target when the first run is cut off.
const CUT_PERCENT: u64 = 40;
/// No run of a demo takes as long unless something is wrong.
const RUN_MAX: Duration = Duration::from_secs(60);
/// How often the target is asked how much it has.
const LOOK: Duration = Duration::from_millis(5);
/// How long the target may take to notice that the first run is gone.
const NOTICE_MAX: Duration = Duration::from_secs(5);
const DIFFERENCES_MAX: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where the files go; replaced if it is an earlier demo's
    #[arg(long, value_name = "DIR", default_value = "mailhaul-demo")]
    dir: PathBuf,
}

impl Arguments {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let mut signals =
            Signals::listen().map_err(|error| internal("listen for signals", error))?;
        let folder = Folder::take(&self.dir)?;
        let demo = Box::pin(demo(folder));
        tokio::select! {
            biased;
            // With the demo, its servers and the run it started are gone.
            () = signals.next() => {
                ui::say("stopped: the demo's servers are gone; the same command begins anew");
                Ok(Exit::Aborted)
            }
            ended = demo => ended,
        }
    }
}

async fn demo(folder: Folder) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let world = World::start(folder).await?;
    world.introduce();
    world.cut_off().await?;
    let ended = world.resume().await?;
    let exit = world.judge(ended);
    world.tell_files(begun.elapsed());
    Ok(exit)
}

/// Two servers with mail, and the folder that describes them.
struct World {
    folder: Folder,
    source: Server,
    target: Server,
    source_listening: Listening,
    target_listening: Listening,
    messages: u64,
}

impl World {
    async fn start(folder: Folder) -> Result<Self, Failure> {
        let source = Server::new(Profile {
            name: "old".to_owned(),
            prefix: "INBOX.".to_owned(),
            delimiter: '.',
            literal: Literal::None,
            multiappend: false,
            ..Profile::dovecot()
        });
        let target = Server::new(Profile {
            name: "new".to_owned(),
            multiappend: false, // As most servers: so the run is cut off anywhere in a window.
            ..Profile::dovecot()
        });
        mail::fill(&source, &target);
        let append = Deed::Delay("APPEND".to_owned(), APPEND_TIME);
        target.faults().arm(Fault::always(append));

        let certificates = [Certificate::generate(), Certificate::generate()];
        let world = Self {
            source_listening: listen(&source, &certificates[0]).await?,
            target_listening: listen(&target, &certificates[1]).await?,
            messages: stores(&source).map(|store| store.snapshot().messages() as u64).sum(),
            folder,
            source,
            target,
        };
        let roots: String = certificates.iter().map(Certificate::pem).collect();
        world.folder.write(ROOTS, roots.as_bytes())?;
        world.folder.write(ACCOUNTS, &world.accounts()?)?;
        Ok(world)
    }

    /// The CSV as a person would write it.
    fn accounts(&self) -> Result<Vec<u8>, Failure> {
        let failed = |error: csv::Error| internal("write the CSV", error.into());
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record([
            "source_host",
            "source_port",
            "source_user",
            "source_password",
            "target_host",
            "target_port",
            "target_user",
            "target_password",
        ])
        .map_err(failed)?;
        let ends = [&self.source_listening, &self.target_listening];
        let [source, target] = ends.map(Listening::local_addr);
        for person in &PEOPLE {
            csv.write_record([
                source.ip().to_string(),
                source.port().to_string(),
                person.source_user(),
                person.password(),
                target.ip().to_string(),
                target.port().to_string(),
                person.target_user(),
                person.password(),
            ])
            .map_err(failed)?;
        }
        csv.into_inner().map_err(|error| internal("write the CSV", error.into_error()))
    }

    fn introduce(&self) {
        let (mut mailboxes, mut bytes) = (0, 0);
        for Snapshot { mailboxes: held } in stores(&self.source).map(|store| store.snapshot()) {
            mailboxes += held.len() as u64;
            bytes += held.values().flatten().map(|held| held.body.len() as u64).sum::<u64>();
        }
        let [source, target] = [&self.source, &self.target].map(|server| server.profile());
        line(&format!(
            "Two IMAP servers are at work in this process, on loopback and with TLS:\n\
             \x20 source  {}  delimiter {:?}, prefix {:?}\n\
             \x20         {}, {}, {}, {}\n\
             \x20 target  {}  delimiter {:?}; empty, keeps sent mail in {:?}",
            self.source_listening.local_addr(),
            source.delimiter,
            source.prefix,
            ui::count(PEOPLE.len() as u64, "account"),
            ui::count(mailboxes, "mailbox"),
            ui::count(self.messages, "message"),
            ByteSize::b(bytes).display().iec(),
            self.target_listening.local_addr(),
            target.delimiter,
            mail::SENT_ITEMS,
        ));
    }

    /// The first run, until the target has enough.
    async fn cut_off(&self) -> Result<(), Failure> {
        line(&format!(
            "\n1. Move all of it; kill the run when {CUT_PERCENT} % of the messages have arrived."
        ));
        let mut run = self.migrate()?;
        let enough = self.messages * CUT_PERCENT / 100;
        let arriving = async {
            while self.target.counters().appended < enough {
                if let Some(status) = run.try_wait()? {
                    return Ok(Some(status));
                }
                sleep(LOOK).await;
            }
            run.kill().await?;
            Ok(None)
        };
        let ended = timeout(RUN_MAX, arriving).await;
        let ended = ended.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if let Some(status) = ended.map_err(|error| internal("wait for the first run", error))? {
            return Err(Failure::Internal {
                text: format!("the first run ended before it could be killed: {status}"),
            });
        }
        if ui::is_terminal() {
            ui::say(""); // Below the bars that nobody removes any more.
        }
        self.wait_until_noticed().await;
        let totals = self.totals().await?;
        line(&format!(
            "Killed, without a chance to clean up. The target has {} of {} messages. The\n\
             ledger is sure of {} that it read back; {} are in doubt: it noted that they\n\
             would be sent, and not yet what became of them.",
            self.target.counters().appended,
            self.messages,
            totals.sum(&[Fate::Copied]).messages,
            totals.in_doubt,
        ));
        Ok(())
    }

    /// What the target was sent before the kill may still be on its way into the mailbox.
    async fn wait_until_noticed(&self) {
        let gone = async {
            while self.target.counters().connections_now > 0 {
                sleep(LOOK).await;
            }
        };
        // The count that is told next is then a bit low.
        let _ = timeout(NOTICE_MAX, gone).await;
    }

    /// The second run, to its end.
    async fn resume(&self) -> Result<ExitStatus, Failure> {
        line(
            "\n2. The same command again. First it looks on the target for what is in doubt, once\n\
             what is still on its way had time to land (--settle): 500 ms do for servers on\n\
             this machine, the default is 5 s.",
        );
        let mut run = self.migrate()?;
        let ended = timeout(RUN_MAX, run.wait()).await;
        let ended = ended.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        ended.map_err(|error| internal("wait for the second run", error))
    }

    /// Starts the program itself, as a person would.
    fn migrate(&self) -> Result<Child, Failure> {
        line(&format!("$ cd {}; mailhaul {}", self.folder.path().display(), MIGRATE.join(" ")));
        let program =
            std::env::current_exe().map_err(|error| internal("find this program", error))?;
        let mut command = Command::new(program);
        command
            .args(MIGRATE)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if !ui::has_colors() {
            command.env("NO_COLOR", "1");
        }
        command.spawn().map_err(|error| internal("start this program again", error))
    }

    async fn totals(&self) -> Result<Totals, Failure> {
        let path = self.folder.path();
        let ledger = state::look(&path.join(STATE), &path.join(ACCOUNTS)).await?;
        Ok(Totals::of_all(&state::snapshot(&ledger).await?))
    }

    /// Compares both sides and tells the verdict.
    fn judge(&self, ended: ExitStatus) -> Exit {
        line("\n3. Both servers compared, message by message: every byte, date and flag.");
        let (mut equal, mut differences) = (0, Vec::new());
        for person in &PEOPLE {
            let stores = (
                self.source.store(&person.source_user()),
                self.target.store(&person.target_user()),
            );
            if let (Some(old), Some(new)) = stores {
                let found = compare(person.name, &old.snapshot(), &new.snapshot());
                equal += found.equal as u64;
                differences.extend(found.differences);
            }
        }
        let appended = self.target.counters().appended;
        if appended != self.messages {
            let messages = self.messages;
            differences.push(format!("the target stored {appended} messages, not {messages}"));
        }
        if !ended.success() {
            differences.push(format!("the second run did not succeed: {ended}"));
        }
        let (found, missing) = settled(&self.folder.path().join(STATE).join("log.ndjson"));
        line(&format!(
            "Of the messages in doubt {found} were found on the target and left alone,\n\
             {missing} were not there and were sent."
        ));
        line(&format!(
            "{equal} of {} messages are equal on both sides; both runs together stored {appended}.",
            self.messages,
        ));
        for difference in differences.iter().take(DIFFERENCES_MAX) {
            line(&format!("  {difference}"));
        }
        if differences.is_empty() {
            line("Nothing is missing, nothing is altered, nothing is there twice.");
            Exit::Complete
        } else {
            line(&format!(
                "NOT AS PROMISED: {}; please report this.",
                ui::count(differences.len() as u64, "difference")
            ));
            Exit::Problems
        }
    }

    fn tell_files(&self, elapsed: Duration) {
        let path = self.folder.path();
        let accounts = path.join(ACCOUNTS);
        let state = path.join(STATE);
        let (accounts, state) = (accounts.display(), state.display());
        line(&format!(
            "\nThat took {:.1} s. The servers are gone, the files are there:\n\
             \x20 {accounts}  the accounts, with passwords that open nothing any more\n\
             \x20 {state}/  ledger.db, log.ndjson, report.csv, report.json\n\
             Next:\n\
             \x20 mailhaul status {accounts}\n\
             \x20 mailhaul migrate --help   for accounts of your own; README.md tells the whole way",
            elapsed.as_secs_f64(),
        ));
    }
}

async fn listen(server: &Server, certificate: &Certificate) -> Result<Listening, Failure> {
    let listening = match TcpListener::bind("127.0.0.1:0").await {
        Ok(listener) => server.listen(listener, Some(certificate.acceptor())),
        Err(error) => Err(error),
    };
    listening.map_err(|error| internal("listen on 127.0.0.1", error))
}

fn stores(source: &Server) -> impl Iterator<Item = Store> {
    PEOPLE.iter().filter_map(|person| source.store(&person.source_user()))
}

/// How many messages in doubt were found on the target and how many were not, as the log tells.
fn settled(log: &Path) -> (u64, u64) {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|event| event["event"] == "settled")
        .fold((0, 0), |(found, missing), event| {
            let number = |name: &str| event[name].as_u64().unwrap_or(0);
            (found + number("found"), missing + number("missing"))
        })
}

fn line(text: &str) {
    ui::print(&format!("{text}\n"));
}

fn internal(action: &str, error: io::Error) -> Failure {
    Failure::Internal { text: format!("cannot {action}: {error}") }
}
