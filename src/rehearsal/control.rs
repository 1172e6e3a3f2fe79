//! From a parsed command to what does it; the small ones are done here.

use imap_codec::imap_types::command::CommandBody;
use imap_codec::imap_types::extensions::enable::CapabilityEnable;
use imap_codec::imap_types::extensions::utf8::Utf8Kind;

use super::command::{self, Set};
use super::mailbox::Change;
use super::names::quote;
use super::session::{Handled, Reply, Session};
use super::wire::Gone;

impl Session {
    /// Does a command that is no APPEND.
    pub(super) async fn handle(&mut self, name: &str, command: &[u8]) -> Result<Reply, Gone> {
        match name {
            "STARTTLS" => return Ok(self.starttls()),
            "COMPRESS" => return Ok(self.compress(command)),
            "LIST" => return Ok(self.list(command).unwrap_or_else(|reply| reply)),
            "GETACL" | "SETACL" | "GETMETADATA" | "SETMETADATA" => {
                return Ok(self.sharing(name, command).unwrap_or_else(|reply| reply));
            }
            _ => {}
        }
        let Some(parsed) = command::parse(command, name) else {
            return Ok(Reply::bad("cannot parse the command"));
        };
        let set = parsed.set.as_ref();
        match parsed.body {
            CommandBody::Authenticate { mechanism, initial_response } => {
                self.authenticate(&mechanism, initial_response).await
            }
            CommandBody::Fetch { macro_or_item_names, uid, modifiers, .. } => {
                let beside = (parsed.object_id, [parsed.labels, parsed.gmail_id]);
                self.fetch(set, uid, macro_or_item_names, &modifiers, beside).await
            }
            CommandBody::Move { mailbox, uid, .. } if self.profile().r#move => {
                self.r#move(set, uid, &mailbox).await
            }
            CommandBody::Delete { mailbox } => Ok(self.delete(&mailbox).await),
            CommandBody::Idle if self.profile().idle && self.login.is_some() => self.idle().await,
            body => Ok(self.control(body, set).unwrap_or_else(|reply| reply)),
        }
    }

    /// Does a command that needs nothing from the client any more.
    fn control(&mut self, body: CommandBody<'static>, set: Option<&Set>) -> Handled {
        let shared = self.shared.clone();
        let profile = &shared.profile;
        match body {
            CommandBody::Capability => {
                let capabilities = self.capabilities();
                self.wire.put_line(format_args!("* CAPABILITY {capabilities}"));
                Ok(Reply::ok("done"))
            }
            CommandBody::Noop => Ok(Reply::ok("done")),
            CommandBody::Logout => {
                self.wire.put_line("* BYE logging out");
                self.over = true;
                Ok(Reply::ok("done"))
            }
            CommandBody::Id { .. } if profile.id => {
                let name = quote(&profile.name);
                self.wire.put_line(format_args!("* ID (\"name\" {name} \"vendor\" \"rehearsal\")"));
                Ok(Reply::ok("done"))
            }
            CommandBody::Login { username, password } => {
                self.login_command(username.as_ref(), password.declassify().as_ref())
            }
            CommandBody::Enable { capabilities } => self.enable(capabilities.as_ref()),
            CommandBody::Namespace if profile.namespace => {
                self.store()?;
                let (prefix, delimiter) =
                    (quote(&profile.prefix), quote(&profile.delimiter.to_string()));
                self.wire.put_line(format_args!("* NAMESPACE (({prefix} {delimiter})) NIL NIL"));
                Ok(Reply::ok("done"))
            }
            CommandBody::Select { mailbox, parameters } => {
                self.select(&mailbox, &parameters, false)
            }
            CommandBody::Examine { mailbox, parameters } => {
                self.select(&mailbox, &parameters, true)
            }
            CommandBody::Create { mailbox } => self.create(&mailbox),
            CommandBody::Rename { from, to } => {
                self.store()?.rename(&self.named(&from)?, &self.named(&to)?)?;
                Ok(Reply::ok("renamed"))
            }
            CommandBody::Subscribe { mailbox } => {
                self.store()?.subscribe(&self.named(&mailbox)?);
                Ok(Reply::ok("subscribed"))
            }
            CommandBody::Unsubscribe { mailbox } => {
                self.store()?.unsubscribe(&self.named(&mailbox)?);
                Ok(Reply::ok("unsubscribed"))
            }
            CommandBody::Lsub { reference, mailbox_wildcard } => {
                self.lsub(&reference, &mailbox_wildcard)
            }
            CommandBody::Status { mailbox, item_names } => self.status(&mailbox, &item_names),
            CommandBody::GetQuotaRoot { mailbox } if profile.quota_bytes.is_some() => {
                self.quota_root(&mailbox)
            }
            CommandBody::GetQuota { .. } if profile.quota_bytes.is_some() => self.quota(),
            CommandBody::Check => {
                self.selected()?;
                Ok(Reply::ok("done"))
            }
            CommandBody::Close => self.close(true),
            CommandBody::Unselect if profile.unselect => self.close(false),
            CommandBody::Expunge => self.expunge(None),
            CommandBody::ExpungeUid { .. } if profile.uidplus => self.expunge(set),
            CommandBody::Search { criteria, uid, .. } => self.search(criteria.as_ref(), uid),
            CommandBody::Store { kind, response, flags, uid, modifiers, .. } => {
                let change = Change::from(&kind);
                self.store_flags(set, uid, change, &response, &flags, &modifiers)
            }
            CommandBody::Copy { mailbox, uid, .. } => self.copy(set, uid, &mailbox),
            _ => Err(Reply::bad("command is not supported")),
        }
    }

    fn enable(&mut self, capabilities: &[CapabilityEnable<'_>]) -> Handled {
        self.store()?;
        let mut enabled = String::new();
        for capability in capabilities {
            match capability {
                CapabilityEnable::CondStore if self.profile().condstore => {
                    self.condstore = true;
                    enabled.push_str(" CONDSTORE");
                }
                CapabilityEnable::Utf8(Utf8Kind::Accept) if self.profile().utf8_accept => {
                    self.utf8 = true;
                    enabled.push_str(" UTF8=ACCEPT");
                }
                _ => {}
            }
        }
        self.wire.put_line(format_args!("* ENABLED{enabled}"));
        Ok(Reply::ok("done"))
    }

    fn starttls(&self) -> Reply {
        if self.secured || !self.profile().starttls || self.shared.starttls().is_none() {
            return Reply::bad("STARTTLS is not offered");
        }
        Reply::ok("begin TLS")
    }

    /// Tells of changes until the client says DONE (RFC 2177).
    async fn idle(&mut self) -> Result<Reply, Gone> {
        let Some(mut changes) = self.login.as_ref().map(|login| login.store.watch()) else {
            return Ok(Reply::bad("log in first"));
        };
        self.wire.put(b"+ idling\r\n");
        loop {
            self.report(true);
            self.wire.flush().await?;
            tokio::select! {
                biased;
                line = self.wire.line(self.shared.profile.max_line_bytes) => {
                    let line = line?;
                    if line.text.eq_ignore_ascii_case(b"DONE") {
                        return Ok(Reply::ok("done"));
                    }
                    self.skip(line.literal).await?;
                    return Ok(Reply::bad("expected DONE"));
                }
                _ = changes.changed() => {}
            }
        }
    }
}
