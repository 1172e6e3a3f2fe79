//! LOGIN and AUTHENTICATE.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use imap_codec::imap_types::auth::AuthMechanism;
use imap_codec::imap_types::secret::Secret;
use std::borrow::Cow;

use super::session::{Handled, Login, Reply, Session};
use super::wire::Gone;

/// What XOAUTH2 and OAUTHBEARER send, base64-encoded, before they say NO.
const CHALLENGE: &str = r#"{"status":"400","schemes":"Bearer","scope":"https://mail/"}"#;

/// What a client claimed.
struct Claim {
    /// Whose mail it wants.
    user: String,
    /// Who it is.
    authenticated: String,
    secret: String,
}

impl Session {
    pub(super) fn login_command(&mut self, user: &[u8], password: &[u8]) -> Handled {
        if !self.profile().login {
            return Err(Reply::no("[PRIVACYREQUIRED] LOGIN is disabled"));
        }
        let user = String::from_utf8_lossy(user).into_owned();
        let secret = String::from_utf8_lossy(password).into_owned();
        self.admit(&Claim { authenticated: user.clone(), user, secret })
    }

    pub(super) async fn authenticate(
        &mut self,
        mechanism: &AuthMechanism<'_>,
        initial: Option<Secret<Cow<'static, [u8]>>>,
    ) -> Result<Reply, Gone> {
        let profile = self.profile();
        let offered = match mechanism {
            AuthMechanism::Plain => profile.auth_plain,
            AuthMechanism::XOAuth2 => profile.auth_xoauth2,
            AuthMechanism::OAuthBearer => profile.auth_oauthbearer,
            _ => false,
        };
        if !offered {
            return Ok(Reply::no("[CANNOT] mechanism is not offered"));
        }
        if self.login.is_some() {
            return Ok(Reply::bad("logged in already"));
        }
        let response = match initial {
            Some(_) if !profile.sasl_ir => {
                return Ok(Reply::bad("initial responses are not offered"));
            }
            Some(initial) => initial.declassify().to_vec(),
            None => {
                self.wire.put(b"+ \r\n");
                let line = self.line().await?;
                if line.text == b"*" {
                    return Ok(Reply::bad("cancelled"));
                }
                match STANDARD.decode(&line.text) {
                    Ok(response) => response,
                    Err(_) => return Ok(Reply::bad("not base64")),
                }
            }
        };
        let claim = match mechanism {
            AuthMechanism::Plain => plain(&response),
            _ => bearer(&response),
        };
        let Some(claim) = claim else {
            return Ok(Reply::bad("cannot parse the response"));
        };
        let handled = self.admit(&claim);
        if handled.is_err() && *mechanism != AuthMechanism::Plain {
            self.wire.put_line(format_args!("+ {}", STANDARD.encode(CHALLENGE)));
            self.line().await?;
        }
        Ok(handled.unwrap_or_else(|reply| reply))
    }

    fn admit(&mut self, claim: &Claim) -> Handled {
        if self.login.is_some() {
            return Err(Reply::bad("logged in already"));
        }
        let (known, wanted) = {
            let accounts = self.shared.accounts();
            (accounts.get(&claim.authenticated).cloned(), accounts.get(&claim.user).cloned())
        };
        let failed = || Reply::no("[AUTHENTICATIONFAILED] wrong user or password");
        let known = known.filter(|account| account.password == claim.secret).ok_or_else(failed)?;
        if claim.user != claim.authenticated && !known.admin {
            return Err(Reply::no("[AUTHORIZATIONFAILED] only an admin may be another user"));
        }
        let wanted =
            wanted.ok_or_else(|| Reply::no("[AUTHORIZATIONFAILED] there is no such user"))?;
        {
            let mut counters = self.shared.counters();
            let now = counters.sessions_now.entry(claim.user.clone()).or_default();
            if self.profile().max_connections_per_user.is_some_and(|most| *now >= most) {
                return Err(Reply::no("[UNAVAILABLE] too many connections of this user"));
            }
            *now += 1;
        }
        self.login = Some(Login { user: claim.user.clone(), store: wanted.store });
        let cuts = self.shared.faults.cuts(self.number, self.user());
        self.wire.cut_after(cuts);
        Ok(Reply::ok(&format!("{}logged in", self.capability_code())))
    }
}

/// `[authzid] NUL authcid NUL password` (RFC 4616).
fn plain(response: &[u8]) -> Option<Claim> {
    let text = std::str::from_utf8(response).ok()?;
    let mut parts = text.split('\0');
    let (authzid, authcid, secret) = (parts.next()?, parts.next()?, parts.next()?);
    let user = if authzid.is_empty() { authcid } else { authzid };
    let claim = Claim {
        user: user.to_owned(),
        authenticated: authcid.to_owned(),
        secret: secret.to_owned(),
    };
    (parts.next().is_none() && !authcid.is_empty()).then_some(claim)
}

/// `user=U ^A auth=Bearer T ^A ^A`, or the GS2 header `n,a=U,` in front (RFC 7628).
fn bearer(response: &[u8]) -> Option<Claim> {
    let text = std::str::from_utf8(response).ok()?.strip_suffix("\u{1}\u{1}")?;
    let mut fields = text.split('\u{1}');
    let first = fields.next()?;
    let user = match first.strip_prefix("user=") {
        Some(user) => user.to_owned(),
        None => {
            let user = first.strip_prefix("n,a=")?.strip_suffix(',')?;
            user.replace("=2C", ",").replace("=3D", "=")
        }
    };
    let token = fields.find_map(|field| {
        let (scheme, token) = field.strip_prefix("auth=")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("Bearer").then(|| token.to_owned())
    })?;
    Some(Claim { authenticated: user.clone(), user, secret: token })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rehearsal::transcript::Client;
    use crate::rehearsal::{Certificate, Profile, Server};

    fn server(profile: Profile) -> Server {
        let server = Server::new(profile);
        server.account("ann", "secret");
        server.admin("root", "toor");
        server
    }

    #[tokio::test]
    async fn the_greeting_brings_the_capabilities_and_login_opens_the_mail() {
        let mut client = Client::greeted(&server(Profile::dovecot())).await;
        assert!(client.greeting.contains("[CAPABILITY IMAP4rev1 SASL-IR"), "{}", client.greeting);
        assert_eq!(
            client.last("LOGIN ann wrong").await,
            "NO [AUTHENTICATIONFAILED] wrong user or password"
        );
        assert!(client.last("NAMESPACE").await.starts_with("BAD"));
        assert!(client.last("LOGIN ann {6+}\r\nsecret").await.starts_with("OK"));
        assert!(client.last("LOGIN ann secret").await.starts_with("BAD"));
    }

    #[tokio::test]
    async fn an_admin_may_be_any_user_and_a_user_only_itself() {
        let server = server(Profile::dovecot());
        let mut client = Client::greeted(&server).await;
        let other = STANDARD.encode("root\0ann\0secret");
        let reply = client.last(&format!("AUTHENTICATE PLAIN {other}")).await;
        assert!(reply.starts_with("NO [AUTHORIZATIONFAILED]"), "{reply}");
        let proxy = STANDARD.encode("ann\0root\0toor");
        assert!(client.last(&format!("AUTHENTICATE PLAIN {proxy}")).await.starts_with("OK"));
        assert_eq!(server.counters().sessions_now["ann"], 1);
    }

    #[tokio::test]
    async fn a_wrong_token_is_told_by_a_challenge_first() {
        let mut client = Client::greeted(&server(Profile::dovecot())).await;
        let wrong = STANDARD.encode("user=ann\u{1}auth=Bearer wrong\u{1}\u{1}");
        client.send(&format!("a AUTHENTICATE XOAUTH2 {wrong}\r\n")).await;
        assert_eq!(client.line().await, format!("+ {}", STANDARD.encode(CHALLENGE)));
        client.send("\r\n").await;
        assert!(client.line().await.starts_with("a NO [AUTHENTICATIONFAILED]"));
        let right = STANDARD.encode("n,a=ann,\u{1}host=h\u{1}auth=Bearer secret\u{1}\u{1}");
        assert!(client.last(&format!("AUTHENTICATE OAUTHBEARER {right}")).await.starts_with("OK"));
    }

    #[tokio::test]
    async fn a_response_may_come_on_its_own_line_or_be_cancelled() {
        let mut client = Client::greeted(&server(Profile::plain())).await;
        let right = STANDARD.encode("\0ann\0secret");
        assert!(client.last(&format!("AUTHENTICATE PLAIN {right}")).await.starts_with("BAD"));
        client.send("a AUTHENTICATE PLAIN\r\n").await;
        assert_eq!(client.line().await, "+ ");
        client.send("*\r\n").await;
        assert_eq!(client.line().await, "a BAD cancelled");
        client.send("b AUTHENTICATE PLAIN\r\n").await;
        assert_eq!(client.line().await, "+ ");
        client.send(&format!("{right}\r\n")).await;
        assert!(client.line().await.starts_with("b OK"));
    }

    #[tokio::test]
    async fn one_connection_too_many_is_refused() {
        let profile = Profile {
            max_connections_per_user: Some(1),
            max_connections: Some(2),
            ..Profile::dovecot()
        };
        let server = server(profile);
        let mut first = Client::greeted(&server).await;
        assert!(first.last("LOGIN ann secret").await.starts_with("OK"));
        let mut second = Client::greeted(&server).await;
        assert!(second.last("LOGIN ann secret").await.starts_with("NO [UNAVAILABLE]"));
        let third = Client::greeted(&server).await;
        assert!(third.greeting.starts_with("* BYE"), "{}", third.greeting);
        assert!(first.last("LOGOUT").await.starts_with("OK"));
        assert!(first.ended().await);
        assert!(second.last("LOGIN ann secret").await.starts_with("OK"));
    }

    #[tokio::test]
    async fn starttls_leads_into_tls() {
        use tokio_rustls::TlsConnector;
        use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
        let certificate = Certificate::generate();
        let server = server(Profile::dovecot());
        server.offer_starttls(certificate.acceptor());
        let mut client = Client::greeted(&server).await;
        assert!(client.greeting.contains(" STARTTLS "));
        assert!(client.last("STARTTLS").await.starts_with("OK"));
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(std::sync::Arc::new(config));
        let mut client = client.secured(&connector, "localhost").await;
        assert!(!client.all("CAPABILITY").await.contains("STARTTLS"));
        assert!(client.last("LOGIN ann secret").await.starts_with("OK"));
    }
}
