use std::time::Instant;

use proptest::prelude::{ProptestConfig, any, proptest};
use secrecy::ExposeSecret;

use super::*;

const HEADER: &str =
    "source_host,source_user,source_password,target_host,target_user,target_password\n";

fn environment(name: &str) -> Option<OsString> {
    match name {
        "SET" => Some("from-the-environment".into()),
        "EMPTY" => Some("".into()),
        "TWO_LINES" => Some("first\r\nsecond".into()),
        _ => None,
    }
}

fn load_with(data: impl AsRef<[u8]>, defaults: &Defaults) -> Result<Loaded, Vec<String>> {
    parse(data.as_ref(), Path::new("moves/accounts.csv"), defaults, &environment)
        .map_err(|problems| problems.iter().map(Problem::to_string).collect())
}

fn load(data: impl AsRef<[u8]>) -> Result<Loaded, Vec<String>> {
    load_with(data, &Defaults::default())
}

fn accounts(data: impl AsRef<[u8]>) -> Vec<Account> {
    load(data).expect("a good CSV").batch.accounts
}

fn problems(data: impl AsRef<[u8]>) -> Vec<String> {
    load(data).expect_err("a bad CSV")
}

fn problem(data: impl AsRef<[u8]>) -> String {
    let problems = problems(data);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.into_iter().next().unwrap_or_default()
}

fn defaults(values: &[(Side, Field, &str)]) -> Defaults {
    Defaults {
        values: values
            .iter()
            .map(|&(side, field, text)| ((side, field), text.to_owned()))
            .collect(),
        ..Defaults::default()
    }
}

fn password(end: &Endpoint) -> &str {
    match &end.secret {
        SecretSource::Literal(secret) => secret.expose_secret(),
        other => panic!("{other:?}"),
    }
}

/// One row with these cells beside what every row needs.
fn row(columns: &str, cells: &str) -> String {
    let mut header = "source_user,target_user".to_owned();
    let mut row = "anna,anna@new.example".to_owned();
    for (column, value) in [
        ("source_host", "old.example"),
        ("target_host", "new.example"),
        ("target_password", "t"),
        ("source_password", "s"),
    ] {
        if !columns.contains(column) || column == "source_password" && columns.contains("_file") {
            header.push_str(&format!(",{column}"));
            row.push_str(&format!(",{value}"));
        }
    }
    format!("{header},{columns}\n{row},{cells}\n")
}

#[test]
fn a_row_needs_hosts_users_and_passwords_only() {
    let found = accounts(format!("{HEADER}old.example,anna,s,new.example,anna,t\n"));
    let [account] = &found[..] else { panic!("{found:?}") };
    assert_eq!(account.line, 2);
    assert_eq!(account.source.address(), "old.example:993");
    assert_eq!(account.source.tls, Tls::Implicit);
    assert_eq!(account.source.auth, Auth::Password);
    assert_eq!(password(&account.source), "s");
    assert_eq!(account.target.host, "new.example");
    assert_eq!(account.target.user, "anna");
    assert_eq!(password(&account.target), "t");
}

#[test]
fn columns_come_in_any_order_and_case() {
    let found = accounts(
        "Target_User, SOURCE_USER ,target_password,source_password,target_host,source_host\n\
         b,a,t,s,new,old\n",
    );
    assert_eq!(found[0].source.user, "a");
    assert_eq!(found[0].target.user, "b");
}

#[test]
fn delimiters_marks_and_line_ends_are_found_out() {
    let plain = format!("{HEADER}old.example,änna,s,new.example,anna,t\n");
    let mut variants: Vec<Vec<u8>> = vec![
        plain.clone().into_bytes(),
        plain.replace(',', ";").into_bytes(),
        plain.replace(',', "\t").into_bytes(),
        plain.replace('\n', "\r\n").into_bytes(),
        plain.replace('\n', "\r").into_bytes(),
        plain.trim_end().as_bytes().to_vec(),
        format!("\u{feff}{plain}").into_bytes(),
    ];
    for text in [plain.clone(), format!("\u{feff}{plain}")] {
        let units: Vec<u16> = text.encode_utf16().collect();
        variants.push(units.iter().flat_map(|unit| unit.to_le_bytes()).collect());
        variants.push(units.iter().flat_map(|unit| unit.to_be_bytes()).collect());
    }
    for data in variants {
        let found = accounts(&data);
        assert_eq!(found[0].source.user, "änna", "{data:?}");
        assert_eq!(found[0].line, 2);
    }
}

#[test]
fn a_delimiter_inside_quotes_does_not_count() {
    let found = accounts(
        "\"source_user\";\"target_user\";source_host;target_host;source_password;target_password\n\
         \"a;,,,,,,,b\";c;old;new;\"p\"\"a,\\s;s w é{3}\";t\n",
    );
    assert_eq!(found[0].source.user, "a;,,,,,,,b");
    assert_eq!(password(&found[0].source), "p\"a,\\s;s w é{3}");
}

#[test]
fn passwords_keep_their_spaces_and_are_warned_of() {
    let loaded = load(format!("{HEADER} old , anna , s ,new,anna, \n")).expect("good");
    let account = &loaded.batch.accounts[0];
    assert_eq!(account.source.host, "old");
    assert_eq!(account.source.user, "anna");
    assert_eq!(password(&account.source), " s ");
    assert_eq!(password(&account.target), " ");
    let warnings: Vec<String> = loaded.warnings.iter().map(Problem::to_string).collect();
    assert_eq!(
        warnings,
        [
            "accounts.csv:2: source_password: begins or ends with a space; kept as it is",
            "accounts.csv:2: target_password: begins or ends with a space; kept as it is",
        ]
    );
}

#[test]
fn flags_serve_where_a_cell_is_empty_or_missing() {
    let flags = defaults(&[
        (Side::Source, Field::Host, "flag.example"),
        (Side::Source, Field::Tls, "starttls"),
        (Side::Target, Field::Host, "new.example"),
        (Side::Target, Field::PasswordEnv, "SET"),
    ]);
    let loaded = load_with(
        "source_user,target_user,source_host,source_password,target_password\n\
         a,a,,s,\nb,b,cell.example,s,t\n",
        &flags,
    )
    .expect("good");
    let [a, b] = &loaded.batch.accounts[..] else { panic!() };
    assert_eq!(a.source.address(), "flag.example:143");
    assert_eq!(a.source.tls, Tls::StartTls);
    assert!(matches!(&a.target.secret, SecretSource::Env(name) if name == "SET"));
    assert_eq!(b.source.address(), "cell.example:143");
    assert_eq!(password(&b.target), "t");
}

#[test]
fn a_wrong_flag_is_told_once_as_a_flag() {
    let flags =
        defaults(&[(Side::Source, Field::Port, "imap"), (Side::Target, Field::Admin, "x\r\ny")]);
    let found = load_with(format!("{HEADER}old,a,s,new,a,t\nold,b,s,new,b,t\n"), &flags);
    assert_eq!(
        found.expect_err("bad"),
        [
            "--target-admin: holds a control character; remove it",
            "--source-port: must be a port number from 1 to 65535",
        ]
    );
}

#[test]
fn an_administrator_that_nobody_uses_is_refused() {
    let flags = defaults(&[(Side::Source, Field::Admin, "root")]);
    let found = load_with(format!("{HEADER}old,a,s,new,a,t\n"), &flags).expect_err("bad");
    assert!(found[0].starts_with("--source-admin: no row logs in as administrator"), "{found:?}");
}

#[test]
fn every_way_to_log_in_is_read() {
    let auth = |columns, cells| accounts(row(columns, cells))[0].source.auth.clone();
    assert_eq!(auth("source_auth", "PASSWORD"), Auth::Password);
    assert_eq!(auth("source_auth,source_admin", "admin,root"), Auth::Admin("root".to_owned()));
    assert_eq!(auth("source_auth", "xoauth2"), Auth::XOAuth2);
    assert_eq!(auth("source_auth", "oauthbearer"), Auth::OAuthBearer);
    assert_eq!(
        problem(row("source_auth", "kerberos")),
        "accounts.csv:2: source_auth: must be password, admin, xoauth2 or oauthbearer"
    );
    assert_eq!(
        problem(row("source_auth", "admin")),
        "accounts.csv:2: source_admin: no administrator: fill the cell, or pass --source-admin"
    );
    assert!(problem(row("source_admin", "root")).contains("only with source_auth admin"));
}

#[test]
fn every_way_to_protect_a_connection_is_read() {
    let tls = |cell| accounts(row("source_tls", cell))[0].source.clone();
    assert_eq!(tls("TLS").port, 993);
    assert_eq!(tls("starttls").tls, Tls::StartTls);
    assert_eq!(tls("starttls").port, 143);
    assert!(problem(row("source_tls", "ssl")).ends_with("must be tls, starttls or plain"));
}

#[test]
fn plain_stays_on_this_machine_unless_allowed() {
    for host in ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1"] {
        let found = accounts(row("source_host,source_tls", &format!("{host},plain")));
        assert_eq!(found[0].source.tls, Tls::Plain, "{host}");
    }
    for host in ["old.example", "192.0.2.1", "2001:db8::1", "localhost.old.example"] {
        let csv = row("source_host,source_tls", &format!("{host},plain"));
        let text = problem(&csv);
        assert!(text.starts_with("accounts.csv:2: source_tls: "), "{text}");
        assert!(text.contains("--allow-plaintext"), "{text}");
        let allowed = Defaults { allow_plaintext: true, ..Defaults::default() };
        load_with(&csv, &allowed).expect("allowed");
    }
}

#[test]
fn a_pin_is_a_sha256() {
    let hex = "aB".repeat(32);
    let found = accounts(row("source_tls_pin", &hex));
    assert_eq!(found[0].source.pin, Some(Fingerprint([0xAB; 32])));
    assert!(problem(row("source_tls_pin", &hex[1..])).contains("64 hexadecimal digits"));
    let text =
        problem(row("source_host,source_tls,source_tls_pin", &format!("localhost,plain,{hex}")));
    assert!(text.contains("shows no certificate"), "{text}");
}

#[test]
fn hosts_are_names_or_addresses_and_nothing_else() {
    let host = |cell: &str| accounts(row("source_host", cell))[0].source.address();
    assert_eq!(host("imap.old.example"), "imap.old.example:993");
    assert_eq!(host("192.0.2.7"), "192.0.2.7:993");
    assert_eq!(host("2001:db8::7"), "[2001:db8::7]:993");
    assert_eq!(host("[2001:db8::7]"), "[2001:db8::7]:993");
    for (cell, hint) in [
        ("imaps://old.example", "without scheme"),
        ("old.example:993", "source_port"),
        ("bücher.example", "xn--"),
        ("old example", "host name or an address"),
        ("..", "host name or an address"),
    ] {
        let text = problem(row("source_host", cell));
        assert!(text.contains(hint), "{cell}: {text}");
    }
    assert!(problem(row("source_host", "")).contains("--source-host"));
}

#[test]
fn ports_are_numbers() {
    assert_eq!(accounts(row("source_port", "1143"))[0].source.port, 1143);
    for cell in ["0", "65536", "-1", "imap", "993 993"] {
        assert_eq!(
            problem(row("source_port", cell)),
            "accounts.csv:2: source_port: must be a port number from 1 to 65535"
        );
    }
}

#[test]
fn a_password_comes_from_exactly_one_place() {
    let base = "source_user,target_user,source_host,target_host,target_password";
    let text = problem(format!("{base}\na,a,old,new,t\n"));
    assert!(
        text.starts_with("accounts.csv:2: source_password: no password: fill one of"),
        "{text}"
    );
    let text =
        problem(format!("{base},source_password,source_password_env\na,a,old,new,t,s,SET\n"));
    assert_eq!(
        text,
        "accounts.csv:2: source_password_env: a second password beside source_password; \
         keep exactly one"
    );
    let two = defaults(&[
        (Side::Source, Field::PasswordEnv, "SET"),
        (Side::Source, Field::PasswordFile, "x"),
    ]);
    let csv = format!("{base}\na,a,old,new,t\nb,b,old,new,t\n");
    let found = load_with(csv, &two).expect_err("bad");
    assert_eq!(
        found,
        ["--source-password-file: a second password beside --source-password-env; \
          keep exactly one"]
    );
}

#[test]
fn environment_variables_are_looked_up_at_once() {
    let csv = |name: &str| {
        format!(
            "source_user,target_user,source_host,target_host,target_password,source_password_env\n\
             a,a,old,new,t,{name}\n"
        )
    };
    let found = accounts(csv("SET"));
    assert!(matches!(&found[0].source.secret, SecretSource::Env(name) if name == "SET"));
    assert!(problem(csv("UNSET")).ends_with("is not set"));
    assert!(problem(csv("EMPTY")).ends_with("is empty"));
    assert!(problem(csv("TWO_LINES")).ends_with("holds a line break or NUL"));
}

#[test]
fn password_files_are_read_at_once_from_beside_the_csv() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("accounts.csv");
    std::fs::write(directory.path().join("good"), "hunter2\r\nnotes\n").expect("written");
    std::fs::write(directory.path().join("bad"), "\nhunter2\n").expect("written");
    let csv = |name: &str| {
        format!(
            "source_user,target_user,source_host,target_host,target_password,source_password_file\n\
             a,a,old,new,t,{name}\n"
        )
    };
    let check = |name: &str| parse(csv(name).as_bytes(), &path, &Defaults::default(), &environment);
    let loaded = check("good").expect("good");
    match &loaded.batch.accounts[0].source.secret {
        SecretSource::File(found) => assert_eq!(*found, directory.path().join("good")),
        other => panic!("{other:?}"),
    }
    let text = |name: &str| check(name).expect_err("bad")[0].to_string();
    assert!(text("none").contains("cannot be read"), "{}", text("none"));
    assert!(text("bad").contains("is empty"), "{}", text("bad"));
    assert!(text(".").contains("not a regular file"), "{}", text("."));
}

#[test]
fn commands_need_permission_and_are_split_without_a_shell() {
    let csv = "source_user,target_user,source_host,target_host,target_password,\
               source_password_command\na,a,old,new,t,pass 'show me' $HOME\n";
    assert_eq!(
        problem(csv),
        "accounts.csv:2: source_password_command: commands run only with --allow-commands"
    );
    let allowed = Defaults { allow_commands: true, ..Defaults::default() };
    let loaded = load_with(csv, &allowed).expect("allowed");
    match &loaded.batch.accounts[0].source.secret {
        SecretSource::Command(words) => assert_eq!(words[..], ["pass", "show me", "$HOME"]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_bad_rows_are_told_at_once_with_line_and_column() {
    let found = problems(
        "source_host,source_user,source_password,target_host,target_user,target_password,\
         source_port,source_tls\n\
         old,a,s,new,a,t,993,tls\n\
         \n\
         old,,s,,b,,x,none\n\
         ,,,,,,,\n\
         old,c,s\n\
         \"old\",\"multi\nline\",s,new,d,t,,\n\
         old,e,s,new,e,t,0,\n",
    );
    let places: Vec<&str> = found
        .iter()
        .map(|text| {
            let end = text.match_indices(": ").nth(1).map_or(text.len(), |(at, _)| at);
            &text[..end]
        })
        .collect();
    assert_eq!(
        places,
        [
            "accounts.csv:4: source_tls",
            "accounts.csv:4: source_port",
            "accounts.csv:4: source_user",
            "accounts.csv:4: target_host",
            "accounts.csv:4: target_password",
            "accounts.csv:6: has 3 cells where the header has 8; is a delimiter missing or a \
             quote not closed?",
            "accounts.csv:7: source_user",
            "accounts.csv:9: source_port",
        ],
        "{found:#?}"
    );
}

#[test]
fn lines_are_counted_with_every_line_end() {
    for end in ["\n", "\r\n", "\r"] {
        let csv = format!("\n{HEADER}\nold,a,s,new,a,t\n\n\nold,\"\n\",s,new,b,t\nold,c,s,,c,t\n");
        let found = problems(csv.replace('\n', end));
        assert_eq!(found.len(), 2, "{found:#?}");
        assert!(found[0].starts_with("accounts.csv:7: source_user: holds a line"), "{found:?}");
        assert!(found[1].starts_with("accounts.csv:9: target_host"), "{found:?}");
    }
}

#[test]
fn line_breaks_nul_and_controls_are_refused() {
    for cell in ["\"a\nA1 LOGOUT\"", "\"a\rb\"", "a\0b", "a\u{1b}[2Jb", "\"a\n\""] {
        let csv = format!("{HEADER}old,{cell},s,new,a,t\n");
        let text = problem(&csv);
        assert!(text.starts_with("accounts.csv:2: source_user: holds a"), "{cell:?} {text}");
    }
    for cell in ["\"s\n\"", "s\0"] {
        let text = problem(format!("{HEADER}old,a,{cell},new,a,t\n"));
        assert!(text.starts_with("accounts.csv:2: source_password: holds a"), "{text}");
    }
}

#[test]
fn what_is_not_text_is_told_with_its_place() {
    let mut csv = format!("{HEADER}old,a,s,new,a,t\nold,b,s").into_bytes();
    csv.extend_from_slice(b"\xE9,new,b,t\n");
    assert_eq!(
        problem(&csv),
        "accounts.csv:3: source_password: is not valid text; save the file as UTF-8"
    );
    let mut units: Vec<u16> = format!("\u{feff}{HEADER}old,").encode_utf16().collect();
    units.push(0xD800);
    units.extend(",s,new,a,t\n".encode_utf16());
    let csv: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    assert!(problem(&csv).starts_with("accounts.csv:2: source_user: is not valid text"));
}

#[test]
fn an_unknown_column_is_an_error_with_the_nearest_name() {
    let csv = |name: &str| format!("{},{name}\nold,a,s,new,a,t,x\n", HEADER.trim_end());
    let text = problem(csv("source_prot"));
    assert_eq!(text, "accounts.csv:1: unknown column \"source_prot\"; did you mean source_port?");
    assert!(problem(csv("Target-TLS")).ends_with("did you mean target_tls?"));
    assert!(problem(csv("zzz")).contains("the columns are source_host, "));
    let text = problem(csv("\u{1b}[31m\u{202e}"));
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
}

#[test]
fn a_header_is_needed_and_names_each_column_once() {
    assert!(problem("").contains("is empty"));
    assert!(problem("\n\n").contains("is empty"));
    let text = problem("old.example,anna,hunter2,new.example,anna,hunter3\n");
    assert!(text.contains("must name the columns"), "{text}");
    assert!(!text.contains("hunter"), "{text}");
    assert!(problem("source_user,id\n").contains("target_user is missing"));
    assert!(
        problem("source_user,target_user,Source_User\na,b,c\n")
            .contains("source_user is there twice")
    );
    assert!(problem(HEADER).contains("has no accounts"));
}

#[test]
fn columns_without_a_name_may_stand_empty() {
    let header = HEADER.trim_end();
    assert_eq!(accounts(format!("{header},\nold,a,s,new,a,t,\n")).len(), 1);
    let text = problem(format!("{header},\nold,a,s,new,a,t,secret\n"));
    assert_eq!(text, "accounts.csv:2: a cell stands under no column name; name it or empty it");
}

#[test]
fn one_target_takes_one_source() {
    let text = problem(format!("{HEADER}old,a,s,new,c,t\nold,b,s,new,d,t\nold,b,s,NEW,C,t\n"));
    assert_eq!(
        text,
        "accounts.csv:4: target_user: the same target as line 2; two sources never share one"
    );
}

#[test]
fn a_target_is_not_its_own_source() {
    let text = problem(format!("{HEADER}mail.example,a,s,MAIL.example,A,t\n"));
    assert!(text.starts_with("accounts.csv:2: target_user: source and target are the same"));
    let two_ports = |host: &str| {
        format!(
            "source_host,source_port,source_user,source_password,\
             target_host,target_port,target_user,target_password\n{host},1143,a,s,{host},2143,a,t\n"
        )
    };
    assert_eq!(accounts(two_ports("127.0.0.1")).len(), 1, "tunnels");
    problem(two_ports("mail.example"));
}

#[test]
fn ids_name_one_account_each() {
    let csv = |first: &str, second: &str| {
        format!("{},id\nold,a,s,new,a,t,{first}\nold,b,s,new,b,t,{second}\n", HEADER.trim_end())
    };
    let found = accounts(csv("7", ""));
    assert_eq!(found[0].name().key, "id:7");
    assert_eq!(found[1].name().key, "b@old b@new");
    assert_eq!(
        problem(csv("7", "7")),
        "accounts.csv:3: id: the same id as line 2; an id names one account"
    );
}

#[test]
fn an_edited_csv_names_the_same_accounts() {
    let keys = |csv: &str| {
        let mut keys: Vec<String> =
            accounts(csv).iter().map(|account| account.name().key).collect();
        keys.sort();
        keys
    };
    let before = keys(&format!("{HEADER}Old,A,s,new,a,t\nold,b,s,new,b,t\n"));
    let after = keys(
        "target_user;source_user;source_host;target_host;source_tls;source_password;target_password\n\
         B;b;old;new;;x;y\na;a;OLD;new;starttls;x;y\n",
    );
    assert_eq!(before, after);
}

#[test]
fn only_keeps_the_users_asked_for_on_either_side() {
    let csv =
        format!("{HEADER}old,Anna,s,new,anna@new,t\nold,bob,s,new,Bob@new,t\nold,c,s,new,d,t\n");
    let only = |users: &[&str]| {
        let users: Vec<String> = users.iter().map(|&user| user.to_owned()).collect();
        let mut batch = load(&csv).expect("good").batch;
        let missing = batch.only(&users);
        let lines: Vec<u64> = batch.accounts.iter().map(|account| account.line).collect();
        missing.map(|()| lines)
    };
    assert_eq!(only(&["anna"]), Ok(vec![2]));
    assert_eq!(only(&["BOB@NEW", "D"]), Ok(vec![3, 4]));
    assert_eq!(only(&["anna", "zoe"]), Err(vec!["zoe".to_owned()]));
    let batch = load(&csv).expect("good").batch;
    assert_eq!(batch.nearest_user("ana@new"), Some("anna@new"));
    assert_eq!(batch.nearest_user("zoe"), None);
}

#[test]
fn people_see_one_user_where_both_are_the_same() {
    let found = accounts(format!("{HEADER}old,Anna,s,new,anna,t\nold,b,s,new,b@new,t\n"));
    assert_eq!(found[0].label(), "Anna");
    assert_eq!(found[1].label(), "b -> b@new");
}

#[cfg(unix)]
#[test]
fn a_csv_with_passwords_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("accounts.csv");
    let warnings = |csv: &str, mode: u32| {
        std::fs::write(&path, csv).expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("set");
        let loaded = read(&path, &Defaults::default(), &environment).expect("good");
        loaded.warnings.iter().map(Problem::to_string).collect::<Vec<_>>()
    };
    let literal = format!("{HEADER}old,a,s,new,a,t\n");
    for mode in [0o644, 0o640, 0o604] {
        let found = warnings(&literal, mode);
        assert!(found[0].contains("chmod 600"), "{found:?}");
    }
    assert_eq!(warnings(&literal, 0o600), [""; 0]);
    let by_name = "source_host,target_host,source_user,target_user,source_password_env,\
                   target_password_env\nold,new,a,a,SET,SET\n";
    assert_eq!(warnings(by_name, 0o644), [""; 0]);
}

#[test]
fn a_file_that_is_not_there_is_a_problem() {
    let found = read(Path::new("/none/accounts.csv"), &Defaults::default(), &environment);
    let found = found.expect_err("not there");
    assert!(found[0].to_string().starts_with("accounts.csv: cannot be read: "));
}

#[test]
fn no_secret_is_ever_shown() {
    // Rows that are right, short, long, shifted in every way, broken by quotes and by bytes.
    let secret = "Tr0ub4dor";
    let mut texts = Vec::new();
    let columns: Vec<String> = [Side::Source, Side::Target]
        .into_iter()
        .flat_map(|side| Field::ALL.map(|field| field.column(side)))
        .chain(["id".to_owned()])
        .collect();
    let header = columns.join(",");
    for shift in 0..columns.len() {
        let mut cells = vec![""; columns.len()];
        cells[shift] = secret;
        let row = cells.join(",");
        let full = vec![secret; columns.len()].join(",");
        for csv in [
            format!("{header}\n{row}\n"),
            format!("{header}\n{full}\n"),
            format!("{header}\n{row},{secret}\n"),
            format!("{header}\n\"{row}\n"),
            format!("{header}\n{row}\0\n"),
            format!("{row}\n{header}\n"),
            format!("{full}\n"),
        ] {
            match load(&csv) {
                Ok(loaded) => texts.push(format!("{loaded:?}")),
                Err(problems) => texts.extend(problems),
            }
        }
    }
    let loaded = load(format!("{HEADER}old,a,{secret} ,new,a, {secret}\n")).expect("good");
    texts.push(format!("{loaded:?} {:?}", loaded.batch.accounts[0].name()));
    texts.extend(loaded.warnings.iter().map(|warning| format!("{warning} {warning:?}")));
    assert!(texts.len() > 100);
    for text in texts {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn ten_thousand_rows_load_at_once() {
    let mut csv = HEADER.to_owned();
    for number in 0..10_000 {
        csv.push_str(&format!(
            "imap.old.example,user{number}@old.example,\"p,{number}\",imap.new.example,\
             user{number}@new.example,t{number}\n"
        ));
    }
    #[expect(clippy::disallowed_methods, reason = "the real time is the subject")]
    let start = Instant::now();
    let found = accounts(&csv);
    assert_eq!(found.len(), 10_000);
    assert_eq!(found[9_999].line, 10_001);
    assert!(start.elapsed().as_secs_f64() < 2.0, "{:?}", start.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_are_read_or_refused(data: Vec<u8>, tail in any::<String>()) {
        let _ = load(&data);
        let mut csv = HEADER.as_bytes().to_vec();
        csv.extend_from_slice(tail.as_bytes());
        csv.extend_from_slice(&data);
        let _ = load(&csv);
    }

    #[test]
    fn any_password_without_line_breaks_comes_through(password_text in "[^\r\n\0]{1,40}") {
        let quoted = password_text.replace('"', "\"\"");
        let found = accounts(format!("{HEADER}old,a,\"{quoted}\",new,a,t\n"));
        assert_eq!(password(&found[0].source), password_text);
    }
}
