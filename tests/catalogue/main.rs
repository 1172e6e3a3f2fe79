//! `tests/CASES.md` and the tests it names say the same: a test carries the ids of its cases at the
//! head of its comment, `/// A13, B07 (D, C): what it is about`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A test by its path, `behaviour::fetches::name`.
type Tests = BTreeSet<String>;

#[test]
fn every_case_is_listed_with_the_tests_that_carry_its_id() {
    let (listed, carried) = (listed(), carried());
    let required = [
        ("A", 1..=31),
        ("B", 1..=25),
        ("C", 1..=8),
        ("C", 10..=13),
        ("D", 1..=16),
        ("E", 11..=18),
        ("F", 3..=7),
    ];
    for (letter, numbers) in required {
        for number in numbers {
            let id = format!("{letter}{number:02}");
            assert!(listed.contains_key(&id), "{id} is not in tests/CASES.md");
        }
    }
    for (id, tests) in &listed {
        assert!(!tests.is_empty(), "{id} has no test");
    }
    let ids: BTreeSet<&String> = listed.keys().chain(carried.keys()).collect();
    for id in ids {
        let none = Tests::new();
        let (listed, carried) = (listed.get(id).unwrap_or(&none), carried.get(id).unwrap_or(&none));
        let missing: Vec<&String> = listed.difference(carried).collect();
        assert!(
            missing.is_empty(),
            "tests/CASES.md names for {id} what does not carry it: {missing:?}"
        );
        let unlisted: Vec<&String> = carried.difference(listed).collect();
        assert!(unlisted.is_empty(), "{id} is carried by tests that its row lacks: {unlisted:?}");
    }
}

/// F05: a clock that jumps changes nothing, because nobody who decides looks at it.
#[test]
fn the_wall_clock_is_asked_only_for_stamps_that_people_read() {
    // Of `sync --until` the clock is asked once, and what is left of the time is counted.
    let stamps = ["src/cli/sync.rs", "src/ledger/sqlite/store.rs", "src/ui.rs"];
    let mut asked = Vec::new();
    each_file("src", &mut |path| {
        let text = fs::read_to_string(path).expect("a file of ours");
        if ["SystemTime::now", "Timestamp::now", "Zoned::now", "unixepoch", "'now'"]
            .iter()
            .any(|clock| text.contains(clock))
        {
            asked.push(path.strip_prefix(root()).expect("it lies below").display().to_string());
        }
    });
    asked.sort();
    assert_eq!(asked, stamps);
}

/// The tests of each row of the table.
fn listed() -> BTreeMap<String, Tests> {
    let mut listed = BTreeMap::new();
    let text = fs::read_to_string(root().join("tests/CASES.md")).expect("the list is there");
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, id, _, tests, ..] = cells.as_slice() else { continue };
        if !is_id(id) {
            continue;
        }
        let names = tests.split('`').skip(1).step_by(2).map(str::to_owned);
        let twice = listed.insert((*id).to_owned(), names.collect());
        assert!(twice.is_none(), "{id} is listed twice");
    }
    listed
}

/// The tests whose comments carry each id.
fn carried() -> BTreeMap<String, Tests> {
    let mut carried = BTreeMap::<String, Tests>::new();
    for folder in ["src", "tests"] {
        each_file(folder, &mut |path| {
            for (id, name) in carried_in(path) {
                carried.entry(id).or_default().insert(name);
            }
        });
    }
    carried
}

fn each_file(folder: &str, see: &mut dyn FnMut(&Path)) {
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of ours") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                see(&path);
            }
        }
    }
}

fn carried_in(path: &Path) -> Vec<(String, String)> {
    let module = module(path.strip_prefix(root()).expect("it lies below"));
    let text = fs::read_to_string(path).expect("a file of ours");
    let (mut found, mut ids, mut is_test) = (Vec::new(), Vec::new(), false);
    for line in text.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("/// ") {
            if ids.is_empty() {
                ids = head(comment);
            }
        } else if line.starts_with("#[") {
            is_test |= line.contains("test");
        } else if let Some((_, name)) = line.split_once("fn ").filter(|_| is_test) {
            let name = name.split(['(', '<']).next().unwrap_or_default();
            found.extend(ids.drain(..).map(|id| (id, format!("{module}::{name}"))));
            is_test = false;
        } else {
            (ids, is_test) = (Vec::new(), false);
        }
    }
    found
}

/// The ids with which a comment begins, before servers in parentheses and a colon.
fn head(comment: &str) -> Vec<String> {
    let head = comment.split([':', '(']).next().unwrap_or_default();
    let ids: Vec<&str> = head.split(',').map(str::trim).collect();
    let all = ids.iter().all(|id| is_id(id));
    ids.into_iter().filter(|_| all).map(str::to_owned).collect()
}

fn is_id(text: &str) -> bool {
    let (letter, number) = text.split_at(text.len().min(1));
    matches!(letter, "A" | "B" | "C" | "D" | "E" | "F")
        && number.len() == 2
        && number.bytes().all(|octet| octet.is_ascii_digit())
}

/// `tests/behaviour/late.rs` is `behaviour::late`, `src/imap/wire.rs` is `imap::wire`.
fn module(path: &Path) -> String {
    let names: Vec<String> =
        path.iter().skip(1).map(|name| name.to_string_lossy().into_owned()).collect();
    let names = names.join("::");
    let name = names.strip_suffix(".rs").unwrap_or(&names);
    name.strip_suffix("::main").unwrap_or(name).to_owned()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
