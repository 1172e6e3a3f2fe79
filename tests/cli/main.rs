//! What the `mailhaul` command promises to people and scripts, without any server but the demo's.

#[cfg(feature = "rehearsal")]
mod between;
#[cfg(feature = "rehearsal")]
mod cutover;
#[cfg(feature = "rehearsal")]
mod demo;
#[cfg(feature = "rehearsal")]
mod plan;
#[cfg(feature = "rehearsal")]
mod sync;
#[cfg(feature = "rehearsal")]
mod tune;
#[cfg(feature = "rehearsal")]
mod verify;

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use assert_cmd::Command;
use tempfile::TempDir;

const HEADER: &str =
    "source_host,source_user,source_password,target_host,target_user,target_password\n";
/// No run here reaches a server but the demo's; one that waits for one has lost its way.
const RUN_MAX: Duration = Duration::from_secs(30);
/// For runs that get as far as connecting, to ports on which nobody listens.
const HURRY: &str = "--give-up-after 1ms";
const SECRET: &str = "Tr0ub4dor";

/// A folder with an `accounts.csv`, in which commands run.
struct Folder(TempDir);

impl Folder {
    fn new(csv: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("accounts.csv"), csv).expect("written");
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).expect("written");
    }

    fn run(&self, line: &str) -> Ran {
        self.run_with(line, &[])
    }

    fn run_with(&self, line: &str, environment: &[(&str, &str)]) -> Ran {
        let mut command = Command::cargo_bin("mailhaul").expect("built");
        command
            .current_dir(self.path())
            .timeout(RUN_MAX)
            .env_remove("NO_COLOR")
            .envs(environment.iter().copied())
            .args(line.split(' '));
        Ran(command.output().expect("ran"))
    }
}

impl Folder {
    /// Waits until the log tells of an event.
    fn wait_for_log(&self, event: &str) {
        let log = self.path().join("accounts.mailhaul/log.ndjson");
        for _ in 0..RUN_MAX.as_millis() / 20 {
            if fs::read_to_string(&log).is_ok_and(|text| text.contains(event)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{event} never happened");
    }
}

struct Ran(Output);

impl Ran {
    #[track_caller]
    fn code(self, code: i32) -> Self {
        assert_eq!(self.0.status.code(), Some(code), "{}{}", self.stdout(), self.stderr());
        self
    }

    fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    #[track_caller]
    fn says(self, text: &str) -> Self {
        assert!(self.stderr().contains(text), "{text:?} is not in:\n{}", self.stderr());
        self
    }
}

fn good() -> String {
    format!("source_port,target_port,{HEADER}1,1,127.0.0.1,anna,{SECRET},127.0.0.2,anna,{SECRET}\n")
}

/// F01
#[test]
fn every_bad_row_is_told_at_once_before_anything_is_started() {
    let folder = Folder::new(&format!(
        "{HEADER}old,anna,{SECRET},,anna,{SECRET}\n\
         old,bob,{SECRET},new,bob,{SECRET}\n\
         old,,{SECRET},new,carl,\n\
         old,dora,{SECRET}\n"
    ));
    let ran = folder.run("migrate accounts.csv").code(2);
    let stderr = ran.stderr();
    let lines: Vec<&str> = stderr.lines().collect();
    assert!(lines[0].starts_with("accounts.csv:2: target_host: no host"), "{stderr}");
    assert!(lines[1].starts_with("accounts.csv:4: source_user: is empty"), "{stderr}");
    assert!(lines[2].starts_with("accounts.csv:4: target_password: no password"), "{stderr}");
    assert!(lines[3].starts_with("accounts.csv:5: has 3 cells"), "{stderr}");
    assert!(lines[4].ends_with("4 problems found; nothing was started"), "{stderr}");
    assert!(!stderr.contains(SECRET), "{stderr}");
    assert_eq!(ran.stdout(), "");
    assert!(!folder.path().join("accounts.mailhaul").exists());
}

#[test]
fn wrong_flags_are_usage_errors() {
    let folder = Folder::new(&good());
    for line in [
        "",
        "migrate",
        "migrate accounts.csv --accounts 0",
        "migrate accounts.csv --memory 1MiB",
        "migrate accounts.csv --settle never",
        "migrate accounts.csv --source-password hunter2",
        "migrate accounts.csv --quiet --verbose",
        "migrate accounts.csv --progress loud",
        "migrate accounts.csv --ca-file none.pem",
        "migrate accounts.csv --ca-file accounts.csv",
        "migrate accounts.csv --source-port imap --only nobody",
        "migrate none.csv",
        "status accounts.csv",
    ] {
        let ran = folder.run(line).code(2);
        assert_eq!(ran.stdout(), "", "{line}");
        assert!(!ran.stderr().is_empty(), "{line}");
    }
    assert!(!folder.path().join("accounts.mailhaul").exists());
}

#[test]
fn rules_that_cannot_be_read_are_told_with_flag_value_and_remedy() {
    let folder = Folder::new(&good());
    folder.write("rules.txt", "# ours\nOld\na=b\ns/(/x/\n");
    for (arguments, said) in [
        ("--exclude a//b", &["'a//b'", "--exclude", "write it as in Projects/2019"][..]),
        ("--include #SentItem#", &["'#SentItem#'", "--include", "the words are Inbox"]),
        ("--map Old", &["'Old'", "--map", "write SOURCE=TARGET"]),
        ("--map a/*=*/*", &["'a/*=*/*'", "more wildcards after the = than before it"]),
        ("--map-regex s/(a/b/", &["'s/(a/b/'", "--map-regex", "unclosed group"]),
        ("--map-file none.txt", &["--map-file: cannot read none.txt"]),
        (
            "--map-file rules.txt",
            &["rules.txt:2: the rule has no =", "rules.txt:4: the rule is no"],
        ),
        ("--since yesterday", &["'yesterday'", "--since", "give a day such as"]),
        (
            "--since 2024-02-01 --before 2024-02-01",
            &["--since and --before together leave nothing"],
        ),
        ("--larger 2MiB --smaller 1MiB", &["--larger and --smaller together leave nothing"]),
        ("--seen --unseen", &["cannot be used with"]),
        ("--source-root a//b", &["--source-root: must be the path of a mailbox"]),
    ] {
        let ran = folder.run(&format!("migrate accounts.csv {arguments}")).code(2);
        said.iter().fold(ran, |ran, said| ran.says(said));
    }
    assert!(!folder.path().join("accounts.mailhaul").exists());
}

#[test]
fn help_names_every_flag_of_a_column_and_every_exit_code() {
    let folder = Folder::new("");
    let help = folder.run("migrate --help").code(0).stdout();
    for side in ["source", "target"] {
        for flag in [
            "host",
            "port",
            "tls",
            "tls-pin",
            "auth",
            "admin",
            "password-env",
            "password-file",
            "password-command",
        ] {
            assert!(help.contains(&format!("--{side}-{flag} ")), "--{side}-{flag}");
        }
    }
    let help = folder.run("--help").code(0).stdout();
    assert!(help.contains("75 stopped early"), "{help}");
    folder.run("--version").code(0);
}

#[test]
fn flags_stand_in_for_cells_and_the_environment_is_checked() {
    let folder = Folder::new("source_user,target_user\nanna,anna\n");
    let line = "migrate accounts.csv --source-host old --target-host new \
                --source-password-env OLD_PASSWORD --target-password-file new.txt --only zoe";
    folder
        .run(line)
        .code(2)
        .says("--source-password-env: the environment variable it names is not set")
        .says("--target-password-file: the file it names cannot be read");
    folder.write("new.txt", SECRET);
    // Everything else is right, so that the next check speaks.
    folder
        .run_with(line, &[("OLD_PASSWORD", SECRET)])
        .code(2)
        .says("--only: no account of accounts.csv has the user zoe");
}

#[test]
fn only_needs_a_user_that_is_there() {
    let folder = Folder::new(&good());
    folder.run("migrate accounts.csv --only ana").code(2).says("did you mean anna?");
}

#[test]
fn commands_and_plaintext_need_permission() {
    let folder = Folder::new(
        "source_host,source_tls,source_user,target_host,target_user\nold,plain,a,new,a\n",
    );
    let commands = "--source-password-command true --target-password-command true";
    folder
        .run(&format!("migrate accounts.csv {commands}"))
        .code(2)
        .says("accounts.csv:2: source_tls: plain would send")
        .says("--source-password-command: commands run only with --allow-commands")
        .says("--target-password-command: commands run only with --allow-commands");
    folder
        .run(&format!(
            "migrate accounts.csv {commands} --allow-commands --allow-plaintext --only nobody"
        ))
        .code(2)
        .says("--only: no account");
}

#[cfg(unix)]
#[test]
fn passwords_that_others_can_read_are_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new(&good());
    let set = |mode| {
        let path = folder.path().join("accounts.csv");
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("set");
    };
    let line = "migrate accounts.csv --only nobody";
    set(0o644);
    folder.run(line).says("run: chmod 600 accounts.csv");
    set(0o600);
    assert!(!folder.run(line).stderr().contains("chmod"));
}

#[test]
fn two_ends_on_one_host_need_two_connections() {
    let folder = Folder::new(&format!("{HEADER}mail,a,s,mail,b,t\n"));
    folder.run("migrate accounts.csv --connections-per-host 1").code(2).says("both ends on mail");
}

#[test]
fn colours_are_for_terminals_and_for_those_who_ask() {
    let folder = Folder::new("");
    let is_coloured = |ran: Ran| ran.stderr().contains('\u{1b}');
    assert!(!is_coloured(folder.run("migrate accounts.csv")));
    assert!(is_coloured(folder.run("migrate accounts.csv --color always")));
    let no_color = [("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")];
    assert!(!is_coloured(folder.run_with("migrate accounts.csv", &no_color)));
    let line = "migrate accounts.csv --color never";
    assert!(!is_coloured(folder.run_with(line, &[("CLICOLOR_FORCE", "1")])));
}

#[test]
fn status_says_what_to_do_where_nothing_was_started() {
    let folder = Folder::new(&good());
    folder
        .run("status accounts.csv")
        .code(2)
        .says("no migration was started here")
        .says("mailhaul migrate accounts.csv");
}

#[cfg(unix)]
#[test]
fn state_lives_beside_the_csv_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new(&good());
    for (line, name) in [
        ("migrate accounts.csv", "accounts.mailhaul"),
        ("migrate accounts.csv --state deep/other", "deep/other"),
    ] {
        folder.run(&format!("{line} {HURRY}")).code(3);
        let state = folder.path().join(name);
        let mode = fs::metadata(&state).expect("made").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{name}");
        for file in ["ledger.db", "log.ndjson", "report.csv", "report.json"] {
            assert!(state.join(file).is_file(), "{name}/{file}");
        }
        let log = fs::metadata(state.join("log.ndjson")).expect("made");
        assert_eq!(log.permissions().mode() & 0o077, 0);
    }
}

/// A20
#[test]
fn a_second_process_is_told_who_holds_the_state() {
    let folder = Folder::new(&good());
    let state = folder.path().join("accounts.mailhaul");
    fs::create_dir(&state).expect("made");
    fs::write(state.join("lock"), "4711").expect("written");
    let lock = fs::File::open(state.join("lock")).expect("opened");
    lock.lock().expect("locked");
    folder.run("migrate accounts.csv").code(5).says("held by process 4711").says("hint: ");
    assert!(!state.join("log.ndjson").exists());
}

/// A20, F04
#[cfg(unix)]
#[test]
fn a_run_holds_its_state_and_stops_when_asked() {
    let folder = Folder::new(&good());
    for signal in ["INT", "TERM", "HUP"] {
        let run = std::process::Command::new(assert_cmd::cargo::cargo_bin!("mailhaul"))
            .current_dir(folder.path())
            .args(["migrate", "accounts.csv", "--progress", "plain"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let id = run.id();
        folder.wait_for_log("account_parked");
        folder.run("migrate accounts.csv").code(5).says(&format!("held by process {id}"));
        let kill = format!("kill -{signal} {id}");
        Command::new("sh").args(["-c", &kill]).assert().success();
        Ran(run.wait_with_output().expect("ended"))
            .code(75)
            .says("stopping: what is in flight is finished")
            .says("run the same command again");
        fs::remove_file(folder.path().join("accounts.mailhaul/log.ndjson")).expect("there");
    }
}

#[test]
fn what_a_run_leaves_behind_holds_no_secret() {
    let folder = Folder::new(&good());
    let ran = folder.run(&format!("migrate accounts.csv --progress json -v {HURRY}"));
    assert!(!ran.stdout().contains(SECRET) && !ran.stderr().contains(SECRET));
    for file in fs::read_dir(folder.path().join("accounts.mailhaul")).expect("made") {
        let bytes = fs::read(file.expect("listed").path()).expect("read");
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[test]
fn events_are_json_on_standard_output_and_nothing_else_is() {
    let folder = Folder::new(&good());
    let ran = folder.run(&format!("migrate accounts.csv --progress json {HURRY}"));
    assert!(ran.stdout().contains("\"event\":\"run_finished\""), "{}", ran.stdout());
    for line in ran.stdout().lines() {
        let value: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(value["ts"].is_string() && value["event"].is_string(), "{line}");
    }
}

#[test]
fn the_example_is_a_good_csv() {
    let folder = Folder::new("");
    fs::create_dir(folder.path().join("secrets")).expect("made");
    folder.write("secrets/anna", SECRET);
    folder.write("secrets/bob", SECRET);
    let example = include_str!("../../examples/accounts.csv");
    folder.write("accounts.csv", example);
    folder
        .run_with(
            "migrate accounts.csv --only nobody",
            &[("NEW_ANNA", SECRET), ("NEW_BOB", SECRET)],
        )
        .code(2)
        .says("--only: no account");
}
