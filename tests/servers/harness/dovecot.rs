//! Dovecot 2.3: the reference, with switches for what other servers lack.

use std::path::Path;

use super::{ADMIN, ADMIN_PASSWORD, PASSWORD, Plan, Server};

/// How this Dovecot differs from a plain one.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) users: usize,
    pub(crate) separator: char,
    pub(crate) prefix: &'static str,
    /// As Dovecot writes sizes (`100M`); none is unlimited.
    pub(crate) quota: Option<&'static str>,
    pub(crate) message_size_max: Option<&'static str>,
    /// All that is announced after login; what is hidden still works.
    pub(crate) capability: Option<&'static str>,
    pub(crate) connections_max: usize,
    /// Mailboxes made at the first login, with their special use.
    pub(crate) special: &'static [(&'static str, &'static str)],
    pub(crate) self_signed: bool,
    /// How mail is stored. A killed Dovecot finds what its sdbox index had not noted yet only
    /// later, as new mail; in a Maildir what is stored is seen at once.
    pub(crate) storage: &'static str,
    /// Whether mailboxes have rights and notes, and users see what others grant them, below `shared`.
    pub(crate) sharing: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            users: 3,
            separator: '/',
            prefix: "",
            quota: None,
            message_size_max: None,
            capability: None,
            connections_max: 100,
            special: &[],
            self_signed: false,
            storage: "sdbox:~/sdbox",
            sharing: false,
        }
    }
}

pub(crate) fn start(options: &Options) -> Server {
    super::start(options.self_signed, |folder, port, tls_port| {
        super::mail_folder(&folder.join("mail"));
        let home = folder.display();
        let users: String = super::user_names(options.users)
            .map(|user| format!("{user}:{{PLAIN}}{PASSWORD}:8:8::{home}/mail/{user}::\n"))
            .collect();
        super::write(&folder.join("users"), &users);
        let masters = format!("{ADMIN}:{{PLAIN}}{ADMIN_PASSWORD}::::::\n");
        super::write(&folder.join("masters"), &masters);
        let configuration = folder.join("dovecot.conf");
        super::write(&configuration, &configuration_text(options, folder, port, tls_port));
        let command = [
            "/usr/bin/unshare".to_owned(),
            "-m".to_owned(),
            super::support("over-usr"),
            super::packages("dovecot").display().to_string(),
            "/usr/bin/env".to_owned(),
            format!("LD_LIBRARY_PATH={}", library_path()),
            "/usr/sbin/dovecot".to_owned(),
            "-F".to_owned(),
            "-c".to_owned(),
            configuration.display().to_string(),
        ];
        Plan {
            name: "Dovecot",
            separator: options.separator,
            prefix: options.prefix.to_owned(),
            commands: vec![command.to_vec()],
        }
    })
}

fn library_path() -> String {
    let (packages, triplet) = (super::packages("dovecot"), super::triplet());
    ["usr/lib/dovecot", "usr/lib/dovecot/modules/old-stats"]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("usr/lib/{triplet}"), format!("lib/{triplet}")])
        .map(|path| packages.join(path).display().to_string())
        .collect::<Vec<_>>()
        .join(":")
}

fn configuration_text(options: &Options, folder: &Path, port: u16, tls_port: u16) -> String {
    let (home, packages) = (folder.display(), super::packages("dovecot"));
    let (packages, libraries) = (packages.display(), library_path());
    let Options { separator, prefix, connections_max, storage, .. } = options;
    let capability = options.capability.map(|list| format!("imap_capability = {list}\n"));
    let quota = options.quota.map(|size| format!("  quota_rule = *:storage={size}\n"));
    let size_max = options.message_size_max.map(|size| format!("  quota_max_mail_size = {size}\n"));
    let limited = quota.is_some() || size_max.is_some();
    let (mut plugins, mut imap_plugins) = ("zlib".to_owned(), "$mail_plugins imap_zlib".to_owned());
    if limited {
        plugins += " quota";
        imap_plugins += " imap_quota";
    }
    let (mut acl, mut notes, mut dict, mut shared) = (String::new(), "", "", String::new());
    if options.sharing {
        plugins += " acl";
        imap_plugins += " imap_acl";
        acl = format!("  acl = vfile\n  acl_shared_dict = file:{home}/mail/shared-mailboxes\n");
        shared = format!(
            "namespace {{
  type = shared
  separator = {separator}
  prefix = shared{separator}%%u{separator}
  location = sdbox:%%h/sdbox
  subscriptions = no
  list = children
}}
"
        );
        notes = "  imap_metadata = yes\n";
        dict = "mail_attribute_dict = file:%h/notes\n";
    }
    let (capability, quota) = (capability.unwrap_or_default(), quota.unwrap_or_default());
    let size_max = size_max.unwrap_or_default();
    let special: String = options
        .special
        .iter()
        .map(|(name, role)| {
            format!(
                "  mailbox \"{name}\" {{\n    special_use = {role}\n    auto = subscribe\n  }}\n"
            )
        })
        .collect();
    format!(
        "base_dir = {home}/run
state_dir = {home}/state
libexec_dir = {packages}/usr/lib/dovecot
mail_plugin_dir = {packages}/usr/lib/dovecot/modules
import_environment = TZ LD_LIBRARY_PATH={libraries}
instance_name = mailhaul{port}
default_internal_user = mail
default_internal_group = mail
default_login_user = nobody
log_path = {home}/server.log
auth_verbose = yes
verbose_proctitle = no
shutdown_clients = yes
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{home}/server.pem
ssl_key = <{home}/server.key
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_master_user_separator = *
auth_failure_delay = 0
mail_max_userip_connections = {connections_max}
default_vsz_limit = 0
first_valid_uid = 1
mail_fsync = never
mail_location = {storage}
mailbox_list_index = yes
mail_plugins = {plugins}
{dict}{capability}service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  service_count = 0
  process_min_avail = 1
  process_limit = 2
  inet_listener imap {{
    address = 127.0.0.1
    port = {port}
  }}
  inet_listener imaps {{
    address = 127.0.0.1
    port = {tls_port}
    ssl = yes
  }}
}}
passdb {{
  driver = passwd-file
  master = yes
  args = {home}/masters
  result_success = continue
}}
passdb {{
  driver = passwd-file
  args = {home}/users
}}
userdb {{
  driver = passwd-file
  args = {home}/users
}}
namespace inbox {{
  inbox = yes
  prefix = {prefix}
  separator = {separator}
{special}}}
{shared}plugin {{
  quota = count:User quota
  quota_vsizes = yes
  quota_grace = 0
{quota}{size_max}{acl}}}
protocol imap {{
  mail_plugins = {imap_plugins}
{notes}}}
"
    )
}
