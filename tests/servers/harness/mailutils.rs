//! GNU Mailutils' imap4d 3.15: few extensions, no UIDPLUS, no keywords of one's own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Plan, Server};

/// [`super::PASSWORD`] as `/etc/shadow` has it.
const HASH: &str = "$1$mailhaul$INsI.GlMN1blTZKW4FOj20";

pub(crate) fn start(users: usize) -> Server {
    super::start(false, |folder, port, tls_port| {
        let home = folder.display();
        for name in ["run", "ns-etc"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        super::mail_folder(&folder.join("mail"));
        let (mut accounts, mut passwords) = (lines("/etc/passwd"), lines("/etc/shadow"));
        for user in super::user_names(users) {
            super::mail_folder(&folder.join("mail").join(&user));
            super::mail_folder(&folder.join("mail").join(&user).join("folders"));
            accounts += &format!("{user}:x:8:8::{home}/mail/{user}:/bin/sh\n");
            passwords += &format!("{user}:{HASH}:19000:0:99999:7:::\n");
        }
        super::write(&folder.join("ns-etc/passwd"), &accounts);
        super::write(&folder.join("ns-etc/shadow"), &passwords);
        // It refuses a key that others may read.
        let key = folder.join("server.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let configuration = folder.join("imap4d.conf");
        super::write(&configuration, &configuration_text(folder, port, tls_port));
        let packages = super::packages("mailutils");
        let (packages, triplet) = (packages.display(), super::triplet());
        let command = [
            "/usr/bin/unshare",
            "-m",
            &super::support("in-namespace"),
            &packages.to_string(),
            &home.to_string(),
            "/usr/bin/env",
            &format!("LD_LIBRARY_PATH={packages}/usr/lib/{triplet}:{packages}/lib/{triplet}"),
            "/usr/sbin/imap4d",
            &format!("--config-file={}", configuration.display()),
            "--foreground",
        ];
        let command = command.map(str::to_owned).to_vec();
        let (separator, prefix) = ('/', String::new());
        Plan { name: "Mailutils", separator, prefix, commands: vec![command] }
    })
}

fn lines(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| format!("{line}\n")).collect()
}

fn configuration_text(folder: &Path, port: u16, tls_port: u16) -> String {
    let home = folder.display();
    let tls = format!(
        "  tls {{
    ssl-certificate-file {home}/server.pem;
    ssl-key-file {home}/server.key;
    ssl-ca-file {home}/ca.pem;
  }};
"
    );
    format!(
        "mode daemon;
foreground yes;
max-children 500;
timeout 1800;
pidfile {home}/run/imap4d.pid;
logging {{ syslog no; severity info; }};
mailbox {{
  mail-spool {home}/mail;
  mailbox-type maildir;
  mailbox-pattern \"maildir:{home}/mail/${{user}}/INBOX\";
}}
namespace personal {{
  prefix \"\" {{
    directory \"{home}/mail/$user/folders\";
    delimiter \"/\";
    mailbox-type maildir;
  }};
}};
{tls}server 127.0.0.1:{port} {{
  tls-mode ondemand;
{tls}}};
server 127.0.0.1:{tls_port} {{
  tls-mode connection;
{tls}}};
"
    )
}
