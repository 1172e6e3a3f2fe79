//! The power is lost at any moment: what was promised of the ledger is on the disk.
//!
//! The program copies mail between two rehearsal servers while a library that is loaded before it
//! writes down each write, sync and send (`watch.c`). From that, disks are made as they may be after
//! a power loss at each moment (`disk.rs`).

#![cfg(target_os = "linux")]

mod disk;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use mailhaul::fate::Fate;
use mailhaul::ledger::sqlite::SqliteLedger;
use mailhaul::ledger::{Ledger, MailboxId, NewWindow, hold};
use mailhaul::mail::Uid;
use mailhaul::rehearsal::{Listening, Profile, Server};
use mailhaul::simulation::world::{ANNA, letter, password};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;

use disk::{Deed, Disk, Left};

const MAILBOXES: [&str; 4] = ["INBOX", "Archive", "Work", "Old"];
const LETTERS: u32 = 24;
/// Where the program keeps its ledger.
const STATE: &str = "accounts.mailhaul";

/// Two servers, and the folder in which the program runs.
struct Job {
    folder: TempDir,
    source: Server,
    target: Server,
    _listening: [Listening; 2],
    delivery: &'static str,
}

/// A message by mailbox and source UID.
type Key = (String, Uid);

impl Job {
    async fn new(delivery: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [source, target] = [(); 2].map(|()| Server::new(Profile::dovecot()));
        target.account(ANNA, &password(ANNA));
        let anna = source.account(ANNA, &password(ANNA));
        for number in 0..LETTERS {
            anna.deliver(&[place(number).0.as_str()], letter(number));
        }
        let (source_listening, target_listening) = (listen(&source).await, listen(&target).await);
        let csv = format!(
            "source_host,source_port,source_tls,source_user,source_password,\
             target_host,target_port,target_tls,target_user,target_password\n\
             127.0.0.1,{},plain,{ANNA},{password},127.0.0.1,{},plain,{ANNA},{password}\n",
            source_listening.local_addr().port(),
            target_listening.local_addr().port(),
            password = password(ANNA)
        );
        std::fs::create_dir(folder.path().join("run")).expect("made");
        std::fs::write(folder.path().join("accounts.csv"), csv).expect("written");
        let _listening = [source_listening, target_listening];
        Self { folder, source, target, _listening, delivery }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().expect("there").join(name)
    }

    /// Runs the program in a directory of the folder.
    fn command(&self, directory: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailhaul"));
        command
            .current_dir(directory)
            .args(["migrate", "../accounts.csv", "--progress", "none", "--settle", "50ms"])
            .args(["--state", STATE, "--delivery", self.delivery])
            .env_remove("MAILHAUL_MUTANT")
            .stdin(Stdio::null());
        command
    }

    /// Copies everything, and gives what the program did meanwhile.
    async fn watched(&self, mutant: Option<u8>) -> Vec<Deed> {
        let library = self.path("watch.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/power/watch.c"))
            .args(["-lpthread"])
            .output()
            .await
            .expect("a C compiler");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let log = self.path("watched");
        let mut command = self.command(&self.path("run"));
        command
            .env("LD_PRELOAD", &library)
            .env("WATCH_LOG", &log)
            .env("WATCH_DIR", self.path("run"));
        if let Some(mutant) = mutant {
            command.env("MAILHAUL_MUTANT", mutant.to_string());
        }
        let ran = command.output().await.expect("it starts");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!(self.copies(), self.originals());
        disk::deeds(&log)
    }

    fn copies(&self) -> mailhaul::rehearsal::Snapshot {
        self.target.store(ANNA).expect("an account").snapshot()
    }

    fn originals(&self) -> mailhaul::rehearsal::Snapshot {
        self.source.store(ANNA).expect("an account").snapshot()
    }
}

async fn listen(server: &Server) -> Listening {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    server.listen(listener, None).expect("it listens")
}

/// Where a letter is at the source.
fn place(number: u32) -> Key {
    (MAILBOXES[(number % 4) as usize].to_owned(), Uid(1 + number / 4))
}

/// At which deed the APPEND of each letter begins: nothing of it was sent before.
fn sent(deeds: &[Deed]) -> Vec<(usize, Key)> {
    let connections: BTreeSet<&PathBuf> = deeds
        .iter()
        .filter_map(|deed| if let Deed::Send(to, _) = deed { Some(to) } else { None })
        .collect();
    let mut sent = Vec::new();
    for connection in connections {
        let (mut stream, mut ends) = (Vec::new(), Vec::new());
        for (number, deed) in deeds.iter().enumerate() {
            if let Deed::Send(to, octets) = deed
                && to == connection
            {
                stream.extend_from_slice(octets);
                ends.push((stream.len(), number));
            }
        }
        for letter in 0..LETTERS {
            let marker = format!("Subject: letter {letter}\r\n");
            let find = |what: &[u8]| memchr::memmem::find(&stream, what);
            let Some(at) = find(marker.as_bytes()) else {
                continue;
            };
            let begin = memchr::memmem::rfind(&stream[..at], b" APPEND ").expect("an APPEND");
            let first = ends.iter().find(|(end, _)| *end > begin).expect("it was sent").1;
            sent.push((first, place(letter)));
        }
    }
    sent.sort();
    sent
}

/// The messages of which a ledger knows that they were copied, or may have been sent.
async fn known(state: &Path) -> Result<BTreeSet<Key>, String> {
    let told = |fault: mailhaul::fault::Fault| fault.chain();
    let ledger = SqliteLedger::open(&hold::ledger_path(state)).await.map_err(told)?;
    let mut known = BTreeSet::new();
    for account in ledger.snapshot().await.map_err(told)?.accounts {
        let claim = ledger.claim(&account.name).await.map_err(told)?;
        let bound = ledger.mailboxes(claim.account).await.map_err(told)?;
        let path = |mailbox: MailboxId| {
            let bound = bound.iter().find(|bound| bound.id == mailbox);
            bound.map(|bound| bound.binding.source_path.to_string()).unwrap_or_default()
        };
        let open = ledger.open_windows(claim.account).await.map_err(told)?;
        let stages = ledger.stages(claim.account).await.map_err(told)?;
        let staged = stages.into_iter().flat_map(|stage| stage.windows);
        for NewWindow { mailbox, messages, .. } in
            open.into_iter().chain(staged).map(|one| one.window)
        {
            known.extend(messages.into_iter().map(|message| (path(mailbox), message.uid)));
        }
        for mailbox in &bound {
            let all = Uid(1)..=Uid(u32::MAX);
            let history = ledger.history(mailbox.id, all).await.map_err(told)?;
            let copied = history.iter().filter(|(_, entry)| entry.fate == Fate::Copied);
            known.extend(copied.map(|(uid, _)| (path(mailbox.id), uid)));
        }
    }
    Ok(known)
}

/// What a disk lacks after a power loss at this moment: messages of which the ledger should know.
async fn lacks(disk: &Disk, left: Left, begun: &BTreeSet<Key>) -> Option<String> {
    let folder = tempfile::tempdir().expect("a folder");
    disk.leave(left, folder.path());
    let state = folder.path().join(STATE);
    // Where nothing was sent yet there may be no ledger.
    if begun.is_empty() && !hold::ledger_path(&state).exists() {
        return None;
    }
    match known(&state).await {
        Err(told) => Some(format!("{left:?}: it does not open: {told}")),
        Ok(known) => {
            let lost: Vec<&Key> = begun.difference(&known).collect();
            (!lost.is_empty()).then(|| format!("{left:?}: it does not know of {lost:?}"))
        }
    }
}

/// What is wrong after a power loss at any moment of a run.
async fn wrong(deeds: &[Deed], root: &Path) -> Vec<String> {
    let sent = sent(deeds);
    assert_eq!(sent.len(), LETTERS as usize, "each letter is sent once");
    let mut disk = Disk::new(root);
    let (mut begun, mut wrong) = (BTreeSet::new(), Vec::new());
    for (number, deed) in deeds.iter().enumerate() {
        let now: Vec<Key> =
            sent.iter().filter(|(at, _)| *at == number).map(|(_, key)| key.clone()).collect();
        let is_moment = !now.is_empty() || matches!(deed, Deed::Sync(_));
        begun.extend(now);
        // Before a sync everything since the one before it is still in question.
        if is_moment {
            for left in [Left::Synced, Left::Some(number as u64), Left::All] {
                let lacks = lacks(&disk, left, &begun).await;
                wrong.extend(lacks.map(|text| format!("before deed {number}: {text}")));
            }
        }
        disk.see(deed);
    }
    let all: BTreeSet<Key> = (0..LETTERS).map(place).collect();
    let lacks = lacks(&disk, Left::Synced, &all).await;
    wrong.extend(lacks.map(|text| format!("at the end: {text}")));
    wrong
}

/// A07
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_is_on_the_disk_before() {
    for delivery in ["direct", "staged"] {
        let job = Job::new(delivery).await;
        let deeds = job.watched(None).await;
        assert_eq!(wrong(&deeds, &job.path("run")).await, Vec::<String>::new(), "{delivery}");
    }
}

#[cfg(feature = "mutants")]
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_does_not_wait_for_the_disk_is_caught() {
    let job = Job::new("direct").await;
    let deeds = job.watched(Some(mailhaul::mutant::Mutant::NoSync as u8)).await;
    let wrong = wrong(&deeds, &job.path("run")).await;
    assert!(wrong.iter().any(|text| text.contains("Synced: it does not")), "{wrong:?}");
}

/// A07
#[tokio::test(flavor = "multi_thread")]
async fn a_run_after_a_power_loss_ends_the_work() {
    let job = Job::new("direct").await;
    let deeds = job.watched(None).await;
    let moments: Vec<usize> = sent(&deeds).into_iter().map(|(at, _)| at).collect();
    let moments: BTreeSet<usize> = moments.into_iter().collect();
    assert!(moments.len() >= MAILBOXES.len(), "{moments:?}");
    let mut disk = Disk::new(&job.path("run"));
    for (number, deed) in deeds.iter().enumerate() {
        if moments.contains(&number) {
            for left in [Left::Synced, Left::Some(number as u64)] {
                // The ledger is of this moment; the target has all that came later, too.
                let directory = job.path(&format!("{number} {left:?}"));
                std::fs::create_dir(&directory).expect("made");
                disk.leave(left, &directory);
                let ran = job.command(&directory).output().await.expect("it starts");
                let text = String::from_utf8_lossy(&ran.stderr);
                assert!(ran.status.success(), "{number} {left:?}: {text}");
                assert!(job.copies() == job.originals(), "{number} {left:?}: the copy differs");
            }
        }
        disk.see(deed);
    }
}
