//! Courier IMAP 5.0: every mailbox is below `INBOX.`, and there is no LITERAL+.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{PASSWORD, Plan, Server};

const CAPABILITY: &str = "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT \
     THREAD=REFERENCES SORT QUOTA IDLE AUTH=PLAIN";

pub(crate) fn start(users: usize) -> Server {
    super::start(false, |folder, port, tls_port| {
        let home = folder.display();
        for name in ["run/courier/authdaemon", "ns-etc/courier/shared"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        for user in super::user_names(users) {
            super::mail_folder(&folder.join("mail"));
            for name in ["", "Maildir", "Maildir/cur", "Maildir/new", "Maildir/tmp"] {
                super::mail_folder(&folder.join("mail").join(&user).join(name));
            }
        }
        let settings = folder.join("ns-etc/courier");
        super::write(&settings.join("imapd"), &imapd_text());
        super::write(&settings.join("imapd-ssl"), &tls_text(folder));
        super::write(&settings.join("authdaemonrc"), AUTHENTICATION);
        super::write(&settings.join("shared/index"), "");
        // STARTTLS runs couriertls as user courier.
        with_line(
            "/etc/passwd",
            &folder.join("ns-etc/passwd"),
            "courier:x:8:8::/nonexistent:/bin/false",
        );
        with_line("/etc/group", &folder.join("ns-etc/group"), "courier:x:8:");

        let script = folder.join("start.sh");
        super::write(&script, &script_text(folder, users, port, tls_port));
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let command = |kind: &str| -> Vec<String> {
            let packages = super::packages("courier").display().to_string();
            let namespace = super::support("in-namespace");
            let script = script.display().to_string();
            ["/usr/bin/unshare", "-m", &namespace, &packages, &home.to_string(), &script, kind]
                .map(str::to_owned)
                .to_vec()
        };
        let users = command("users");
        let arguments: Vec<&str> = users[1..].iter().map(String::as_str).collect();
        super::run(&users[0], &arguments, &[], "");
        let commands = ["authentication", "imap", "imaps"].map(command).to_vec();
        Plan { name: "Courier", separator: '.', prefix: "INBOX.".to_owned(), commands }
    })
}

fn with_line(from: &str, to: &Path, line: &str) {
    let name = line.split(':').next().unwrap();
    let mut text: String = fs::read_to_string(from)
        .unwrap()
        .lines()
        .filter(|line| line.split(':').next() != Some(name))
        .map(|line| format!("{line}\n"))
        .collect();
    text += &format!("{line}\n");
    super::write(to, &text);
}

fn script_text(folder: &Path, users: usize, port: u16, tls_port: u16) -> String {
    let (home, triplet) = (folder.display(), super::triplet());
    let users: Vec<String> = super::user_names(users).collect();
    let users = users.join(" ");
    let packages = super::packages("courier");
    let packages = packages.display();
    format!(
        "#!/bin/bash
set -eu
kind=$1
export LD_LIBRARY_PATH=/usr/lib/courier-authlib:/usr/lib/{triplet}/courier-authlib:{packages}/lib/{triplet}
if [ $kind = users ]; then
  cd /etc/courier
  password=$(echo {PASSWORD} | userdbpw -md5)
  umask 077
  for user in {users}; do
    printf '%s\\tuid=8|gid=8|home={home}/mail/%s|mail={home}/mail/%s/Maildir|imappw=%s\\n' $user $user $user \"$password\"
  done >userdb
  exec makeuserdb
fi
set -a
. /etc/courier/authdaemonrc
if [ $kind = authentication ]; then exec /usr/lib/courier/courier-authlib/authdaemond; fi
until [ -S /run/courier/authdaemon/socket ]; do sleep 0.01; done
. /etc/courier/imapd
. /etc/courier/imapd-ssl
umask 022
tcpd='/usr/sbin/couriertcpd -address=127.0.0.1 -maxprocs=100 -maxperip=100 -maxperc=100 -nodnslookup -noidentlookup'
if [ $kind = imap ]; then
  IMAP_STARTTLS=YES
  exec $tcpd {port} /usr/lib/courier/courier/imaplogin /usr/bin/imapd Maildir
fi
IMAP_TLS=1
exec $tcpd {tls_port} /usr/bin/couriertls -server -tcpd -user=mail \\
  /usr/lib/courier/courier/imaplogin /usr/bin/imapd Maildir
"
    )
}

fn imapd_text() -> String {
    format!(
        "IMAP_CAPABILITY=\"{CAPABILITY}\"
IMAP_CAPABILITY_ORIG=\"{CAPABILITY}\"
IMAP_CAPABILITY_TLS=\"{CAPABILITY}\"
IMAP_CAPABILITY_TLS_ORIG=\"{CAPABILITY}\"
IMAP_KEYWORDS=1
IMAP_ACL=1
IMAP_PROXY=0
IMAP_IDLE_TIMEOUT=60
IMAP_MAILBOX_SANITY_CHECK=1
IMAP_DISABLETHREADSORT=0
IMAP_CHECK_ALL_FOLDERS=0
IMAP_OBSOLETE_CLIENT=0
IMAP_UMASK=022
IMAP_USELOCKS=1
IMAP_SHAREDINDEXFILE=/etc/courier/shared/index
IMAP_ENHANCEDIDLE=0
IMAP_TRASHFOLDERNAME=Trash
IMAP_MOVE_EXPUNGE_TO_TRASH=0
SENDMAIL=/bin/false
HEADERFROM=X-IMAP-Sender
MAILDIRPATH=Maildir
"
    )
}

fn tls_text(folder: &Path) -> String {
    let home = folder.display();
    format!(
        "IMAPDSTARTTLS=YES
IMAP_TLS_REQUIRED=0
COURIERTLS=/usr/bin/couriertls
TLS_CERTFILE={home}/both.pem
TLS_TRUSTCERTS={home}/ca.pem
TLS_VERIFYPEER=NONE
"
    )
}

const AUTHENTICATION: &str = "authmodulelist=\"authuserdb\"
authmodulelistorig=\"authuserdb\"
daemons=3
authdaemonvar=/run/courier/authdaemon
DEBUG_LOGIN=0
DEFAULTOPTIONS=\"\"
LOGGEROPTS=\"\"
";
