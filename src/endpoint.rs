//! Where an end is and how to log in there, already checked. Secrets never print.

use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;

/// One IMAP server and one login on it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Host name or address literal as given; an IPv6 address without its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: Tls,
    /// Trust exactly this certificate instead of its chain and name.
    pub pin: Option<Fingerprint>,
    /// The mailbox owner.
    pub user: String,
    /// How the login is done.
    pub auth: Auth,
    /// Where the password or token comes from.
    pub secret: SecretSource,
}

impl Endpoint {
    /// Password login over TLS on port 993, with the certificate checked.
    pub fn new(host: impl Into<String>, user: impl Into<String>, password: SecretSource) -> Self {
        Self {
            host: host.into(),
            port: Tls::Implicit.default_port(),
            tls: Tls::Implicit,
            pin: None,
            user: user.into(),
            auth: Auth::Password,
            secret: password,
        }
    }

    /// Host and port as people write them: `imap.example:993`, `[::1]:993`.
    #[must_use]
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// How a connection is protected (RFC 8314).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tls {
    /// TLS from the first byte, port 993 by default.
    #[default]
    Implicit,
    /// STARTTLS, required, port 143 by default; never without.
    StartTls,
    /// No protection, port 143 by default; for loopback, or where the user allowed it.
    Plain,
}

impl Tls {
    /// The port IANA gave to this way.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Implicit => 993,
            Self::StartTls | Self::Plain => 143,
        }
    }
}

/// The SHA-256 of a certificate in DER.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Reads 64 hexadecimal digits; colons and spaces between them are ignored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u32> = text
            .chars()
            .filter(|c| !matches!(c, ':' | ' '))
            .map(|c| c.to_digit(16))
            .collect::<Option<_>>()?;
        let mut bytes = [0; 32];
        if digits.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::try_from(pair[0] * 16 + pair[1]).ok()?;
        }
        Some(Self(bytes))
    }
}

/// Shown as hexadecimal digits with colons, the way `openssl x509 -fingerprint -sha256` does.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            let colon = if i == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a login is done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Auth {
    /// SASL PLAIN (RFC 4616), else LOGIN.
    #[default]
    Password,
    /// SASL PLAIN as this administrator, on behalf of the mailbox owner.
    Admin(String),
    /// XOAUTH2: the secret is an access token.
    XOAuth2,
    /// OAUTHBEARER (RFC 7628): the secret is an access token.
    OAuthBearer,
}

/// Where a password or token comes from.
#[derive(Debug, Clone)]
pub enum SecretSource {
    /// Written in the CSV.
    Literal(SecretString),
    /// An environment variable.
    Env(String),
    /// A file's first line.
    File(PathBuf),
    /// The first line a command prints; run without a shell, again for every login.
    Command(Vec<String>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_in_the_forms_that_tools_print() {
        let hex = "ab".repeat(32);
        let parsed = Fingerprint::parse(&hex).expect("64 digits");
        assert_eq!(Fingerprint::parse(&parsed.to_string()), Some(parsed));
        assert_eq!(Fingerprint::parse(&hex[1..]), None);
        assert_eq!(Fingerprint::parse(&"zz".repeat(32)), None);
    }

    #[test]
    fn a_literal_secret_does_not_print() {
        let secret = SecretSource::Literal("hunter2".into());
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
