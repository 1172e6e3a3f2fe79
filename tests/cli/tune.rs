//! `mailhaul tune`: what it shows, and that nothing of it stays.

use super::between::{Between, INBOX, letter};
use super::{Folder, HURRY, good};

#[test]
fn settings_and_the_time_are_told_to_people_and_programs() {
    let between = Between::new(&["anna", "ben"]);
    (0..30).for_each(|number| _ = between.source("ben").deliver(&INBOX, letter(number)));
    between.source("anna").deliver(&INBOX, letter(1));
    let ran = between.folder.run("tune accounts.csv --connections-per-host 2 --write").code(0);
    let text = ran.stdout();
    for part in [
        "source: an answer takes ",
        "target: an answer takes ",
        "  connections  window  messages/s       bytes/s\n",
        "Settings: --accounts ",
        "The whole batch, 31 messages, ",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    assert!(text.starts_with("Measured with ben@"), "{text}");
    let settings = text.lines().find_map(|line| line.strip_prefix("Settings: ")).expect("settings");
    between.folder.run(&format!("migrate accounts.csv {settings}")).code(0);

    let line = "tune accounts.csv --connections-per-host 2 --json --quiet";
    let json = between.folder.run(line).code(0);
    let told: serde_json::Value = serde_json::from_str(&json.stdout()).expect("JSON");
    assert_eq!((&told["version"], &told["exit_code"]), (&1.into(), &0.into()));
    assert_eq!(told["load"]["messages"], 31);
    assert_eq!(told["advice"]["slower"], "source", "the target is not measured");
    for user in ["anna", "ben"] {
        assert_eq!(between.target(user).mailboxes().len(), 1, "nothing stays");
    }
}

#[test]
fn what_cannot_be_measured_ends_with_6() {
    let folder = Folder::new(&good());
    let ran = folder.run(&format!("tune accounts.csv {HURRY}")).code(6);
    assert!(ran.stdout().contains("Nothing was measured"), "{}", ran.stdout());
}
