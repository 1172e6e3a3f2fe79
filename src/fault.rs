//! What failed: how much of the run it stops, and what would help.

use std::time::Duration;

/// Something that failed, how much of the run it stops, and what would help.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}")]
pub struct Fault {
    /// What was attempted, to be read after "cannot": `append UID 7 to "Archive/2019"`.
    pub action: String,
    /// The widest thing that cannot go on.
    pub scope: Scope,
    /// What would help.
    pub remedy: Remedy,
    /// Which end it happened at, if at one.
    pub side: Option<Side>,
    /// What a person would have to see to.
    pub about: About,
    /// What went wrong; a server's own words where it said any.
    #[source]
    pub cause: Box<dyn std::error::Error + Send + Sync>,
}

/// How much of the run a [`Fault`] stops, from the smallest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// One message; the rest of its mailbox goes on.
    Message,
    /// One mailbox; the rest of its account goes on.
    Mailbox,
    /// One connection; a new one can go on where it stopped.
    Session,
    /// One account; the others go on.
    Account,
    /// The whole run.
    Batch,
}

/// What would help after a [`Fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// A new connection.
    Reconnect,
    /// The same again, not before this much time has passed; zero where the server named none.
    Wait(Duration),
    /// Nothing that mailhaul can do: a person must.
    Nothing,
}

/// What a person would have to see to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum About {
    /// The server, or the way to it.
    #[default]
    Server,
    /// Whether the server's certificate is to be trusted.
    Trust,
    /// User, password or token.
    Credentials,
    /// Room in the mailbox.
    Quota,
    /// Who else works on the account.
    Lock,
}

/// One of the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Where mail is read.
    Source,
    /// Where mail is written.
    Target,
}

impl Side {
    /// `source` or `target`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Target => "target",
        }
    }
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Fault {
    /// A fault of `scope` whose `remedy` is known.
    pub fn new(
        scope: Scope,
        remedy: Remedy,
        action: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            action: action.into(),
            scope,
            remedy,
            side: None,
            about: About::default(),
            cause: cause.into(),
        }
    }

    /// A broken connection: a new one may do.
    pub fn session(
        action: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::new(Scope::Session, Remedy::Reconnect, action, cause)
    }

    /// The same fault, told of one end.
    #[must_use]
    pub fn at(mut self, side: Side) -> Self {
        self.side = Some(side);
        self
    }

    /// The same fault, for a person who must see to this.
    #[must_use]
    pub fn about(mut self, about: About) -> Self {
        self.about = about;
        self
    }

    /// The same fault with a wider scope, if it was narrower.
    #[must_use]
    pub fn at_least(mut self, scope: Scope) -> Self {
        self.scope = self.scope.max(scope);
        self
    }

    /// The fault and all its causes in one line: `cannot log in: server said NO ...`.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause: Option<&dyn std::error::Error> = Some(self.cause.as_ref());
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_reads_as_one_sentence() {
        let fault = Fault::session("read from the source", "connection reset").at(Side::Source);
        assert_eq!(fault.chain(), "cannot read from the source: connection reset");
    }
}
