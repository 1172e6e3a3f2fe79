//! Cyrus IMAP 3.6: strict about what it takes.

use std::path::Path;

use super::{ADMIN, ADMIN_PASSWORD, PASSWORD, Plan, Server};

/// Starts a Cyrus that makes the accounts at their first login, with special-use mailboxes.
pub(crate) fn start(users: usize) -> Server {
    start_with(users, "munge8bit: no\nreject8bit: no")
}

/// The same as Cyrus comes: an octet beyond ASCII in a header becomes an `X`.
pub(crate) fn start_munging(users: usize) -> Server {
    start_with(users, "munge8bit: yes\nreject8bit: no")
}

/// The same where it refuses an octet beyond ASCII in a header.
pub(crate) fn start_rejecting(users: usize) -> Server {
    start_with(users, "munge8bit: no\nreject8bit: yes")
}

fn start_with(users: usize, munging: &str) -> Server {
    super::start(false, |folder, port, tls_port| {
        for name in ["conf", "spool"] {
            super::mail_folder(&folder.join(name));
        }
        for name in ["proc", "tmp", "socket", "db", "log", "msg", "quota", "user", "lock", "sieve"]
        {
            super::mail_folder(&folder.join("conf").join(name));
        }
        super::write(&folder.join("imapd.conf"), &imapd_text(folder, munging));
        super::write(&folder.join("cyrus.conf"), &master_text(folder, port, tls_port));
        make_passwords(folder, users);
        let (home, packages) = (folder.display(), super::packages("cyrus"));
        let packages = packages.display();
        let triplet = super::triplet();
        let command = [
            "/usr/bin/env".to_owned(),
            format!("LD_LIBRARY_PATH={}", library_path()),
            format!("SASL_PATH={packages}/usr/lib/{triplet}/sasl2"),
            format!("LD_PRELOAD={packages}/usr/lib/{triplet}/libeatmydata.so"), // No fsync.
            format!("{packages}/usr/lib/cyrus/bin/master"),
            "-C".to_owned(),
            format!("{home}/imapd.conf"),
            "-M".to_owned(),
            format!("{home}/cyrus.conf"),
            "-p".to_owned(),
            format!("{home}/conf/master.pid"),
        ];
        let (separator, prefix) = ('/', String::new());
        Plan { name: "Cyrus", separator, prefix, commands: vec![command.to_vec()] }
    })
}

fn library_path() -> String {
    let (packages, triplet) = (super::packages("cyrus"), super::triplet());
    let packages = packages.display();
    format!("{packages}/usr/lib/{triplet}:{packages}/lib/{triplet}:{packages}/usr/lib")
}

fn make_passwords(folder: &Path, users: usize) {
    let row = |user: &str, password| format!("{user}\\00localhost\\00userPassword\n{password}\n");
    let mut rows = row(ADMIN, ADMIN_PASSWORD);
    rows.extend(super::user_names(users).map(|user| row(&user, PASSWORD)));
    let program = super::packages("cyrus").join("usr/bin/db5.3_load");
    let database = folder.join("conf/sasldb2");
    let arguments = ["-T", "-t", "hash", database.to_str().unwrap()];
    let libraries = library_path();
    super::run(program.to_str().unwrap(), &arguments, &[("LD_LIBRARY_PATH", &libraries)], &rows);
    std::os::unix::fs::chown(&database, Some(super::MAIL_ID), Some(super::MAIL_ID)).unwrap();
}

fn imapd_text(folder: &Path, munging: &str) -> String {
    let home = folder.display();
    format!(
        "configdirectory: {home}/conf
partition-default: {home}/spool
defaultpartition: default
proc_path: {home}/conf/proc
temp_path: {home}/conf/tmp
servername: localhost
cyrus_user: mail
cyrus_group: mail
admins: {ADMIN}
allowplaintext: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {home}/conf/sasldb2
sasl_mech_list: PLAIN LOGIN
defaultdomain: localhost
loginrealms: localhost
tls_server_cert: {home}/server.pem
tls_server_key: {home}/server.key
tls_sessions_db_path: {home}/conf/tls_sessions.db
altnamespace: yes
unixhierarchysep: yes
failedloginpause: 0
{munging}
expunge_mode: immediate
delete_mode: immediate
autocreate_quota: 0
autocreate_users: anyone
autocreate_post: no
autocreate_inbox_folders: Sent|Drafts|Trash
autocreate_subscribe_folders: Sent|Drafts|Trash
xlist-sent: Sent
xlist-drafts: Drafts
xlist-trash: Trash
specialusealways: yes
sieveusehomedir: no
sievedir: {home}/conf/sieve
skiplist_unsafe: yes
"
    )
}

fn master_text(folder: &Path, port: u16, tls_port: u16) -> String {
    let (home, packages) = (folder.display(), super::packages("cyrus"));
    let programs = packages.join("usr/lib/cyrus/bin");
    let programs = programs.display();
    format!(
        "START {{
  recover cmd=\"{programs}/ctl_cyrusdb -C {home}/imapd.conf -r\"
}}
SERVICES {{
  imap cmd=\"{programs}/imapd -C {home}/imapd.conf -U 100\" listen=\"127.0.0.1:{port}\" prefork=1 maxchild=100
  imaps cmd=\"{programs}/imapd -C {home}/imapd.conf -s -U 100\" listen=\"127.0.0.1:{tls_port}\" maxchild=100
}}
EVENTS {{
  checkpoint cmd=\"{programs}/ctl_cyrusdb -C {home}/imapd.conf -c\" period=30
}}
"
    )
}
