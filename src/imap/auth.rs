//! Logging in: SASL PLAIN, LOGIN, XOAUTH2, OAUTHBEARER. A wrong password is tried once.

use std::process::Stdio;
use std::time::Duration;

use async_imap::{Authenticator, Client, Session};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use secrecy::{ExposeSecret as _, SecretString};

use super::exec::Capabilities;
use super::reply::{self, Refusal, Status, StatusKind};
use super::wire::Wire;
use crate::endpoint::{Auth, Endpoint, SecretSource};
use crate::fault::{About, Fault, Remedy, Scope};

/// How long a password command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// Logs in. Gives the capabilities that the server announced with its OK.
///
/// # Errors
///
/// An account fault where the server refuses the credentials; a session fault where it speaks of
/// capacity, or the connection breaks.
pub(super) async fn log_in(
    mut client: Client<Wire>,
    announced: Option<Capabilities>,
    endpoint: &Endpoint,
) -> Result<(Session<Wire>, Option<Capabilities>), Fault> {
    let action = format!("log in to {} as {}", endpoint.address(), endpoint.user);
    let (capabilities, tag) = match announced {
        Some(capabilities) => (capabilities, TAGS[0]),
        None => (ask(&mut client, &action).await?, TAGS[1]),
    };
    let secret = secret(&endpoint.secret)
        .await
        .map_err(|cause| Fault::new(Scope::Account, Remedy::Nothing, &action, cause))
        .map_err(|fault| fault.about(About::Credentials))?;
    let secret_text = secret.expose_secret();
    let user = endpoint.user.as_str();
    let outcome = match &endpoint.auth {
        Auth::Password if !capabilities.has("AUTH=PLAIN") => {
            if capabilities.has("LOGINDISABLED") {
                let cause = "the server offers neither AUTH=PLAIN nor LOGIN on this connection; \
                             it may want TLS";
                return Err(Fault::new(Scope::Account, Remedy::Nothing, action, cause));
            }
            client.login(user, secret_text).await
        }
        Auth::Password => {
            let response = format!("\0{user}\0{secret_text}");
            authenticate(client, "PLAIN", response, "", &capabilities).await
        }
        Auth::Admin(admin) => {
            let response = format!("{user}\0{admin}\0{secret_text}");
            authenticate(client, "PLAIN", response, "", &capabilities).await
        }
        Auth::XOAuth2 => {
            let response = format!("user={user}\x01auth=Bearer {secret_text}\x01\x01");
            authenticate(client, "XOAUTH2", response, "", &capabilities).await
        }
        Auth::OAuthBearer => {
            let response = format!("n,a={user},\x01auth=Bearer {secret_text}\x01\x01");
            authenticate(client, "OAUTHBEARER", response, "\x01", &capabilities).await
        }
    };
    match outcome {
        Ok(mut session) => {
            let heard = session.get_mut().take_heard();
            let status = heard.last().and_then(|line| reply::tagged(line));
            let by_code = status.as_ref().and_then(|(_, status)| Capabilities::from_code(status));
            Ok((session, by_code.or_else(|| Capabilities::from_untagged(&heard))))
        }
        Err((error, mut client)) => {
            let heard = client.get_mut().take_heard();
            let status = heard.iter().rev().find_map(|line| {
                let bye = || line.strip_prefix(b"* ").and_then(Status::parse);
                answer(line, tag).or_else(|| bye().filter(|status| status.kind == StatusKind::Bye))
            });
            let Some(mut status) = status else {
                return Err(Fault::session(action, error));
            };
            // Servers have been seen to repeat the password in their refusal.
            status.text = status.text.replace(secret_text, "<secret>");
            let capacity = status.kind == StatusKind::Bye || reply::is_about_capacity(&status);
            let (scope, remedy) = if capacity {
                (Scope::Session, Remedy::Wait(Duration::ZERO))
            } else {
                (Scope::Account, Remedy::Nothing)
            };
            Err(Fault::new(scope, remedy, action, Refusal(status)).about(About::Credentials))
        }
    }
}

/// The tags of the first commands of a connection, as async-imap gives them.
pub(super) const TAGS: [&str; 2] = ["A0001", "A0002"];

/// The status with which a line answers the command of this tag. async-imap takes a refusal of any
/// tag for one of its own, and a refused login is never tried again.
pub(super) fn answer(line: &[u8], tag: &str) -> Option<Status> {
    reply::tagged(line).filter(|(told, _)| *told == tag.as_bytes()).map(|(_, status)| status)
}

async fn ask(client: &mut Client<Wire>, action: &str) -> Result<Capabilities, Fault> {
    let outcome = client.run_command_and_check_ok("CAPABILITY", None).await;
    let heard = client.get_mut().take_heard();
    outcome.map_err(|error| Fault::session(action, error))?;
    Ok(Capabilities::from_untagged(&heard).unwrap_or_default())
}

async fn authenticate(
    client: Client<Wire>,
    mechanism: &str,
    response: String,
    on_failure: &'static str,
    capabilities: &Capabilities,
) -> Result<Session<Wire>, (async_imap::error::Error, Client<Wire>)> {
    if capabilities.has("SASL-IR") {
        // RFC 4959: the first response rides in the command.
        let command = format!("{mechanism} {}", BASE64.encode(response));
        client.authenticate(command, Answers { response: None, on_failure }).await
    } else {
        client.authenticate(mechanism, Answers { response: Some(response), on_failure }).await
    }
}

/// Answers the first challenge with the response, if it was not sent yet, and every further one,
/// which tells why a token was refused, with what the mechanism wants then.
struct Answers {
    response: Option<String>,
    on_failure: &'static str,
}

impl Authenticator for Answers {
    type Response = String;

    fn process(&mut self, _: &[u8]) -> String {
        self.response.take().unwrap_or_else(|| self.on_failure.to_owned())
    }
}

/// Reads a secret from where it is kept.
async fn secret(source: &SecretSource) -> Result<SecretString, String> {
    match source {
        SecretSource::Literal(secret) => Ok(secret.clone()),
        SecretSource::Env(name) => std::env::var(name)
            .map(SecretString::from)
            .map_err(|_| format!("the environment variable {name} is not set")),
        SecretSource::File(path) => {
            let text = tokio::fs::read_to_string(path)
                .await
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            Ok(first_line(&text))
        }
        SecretSource::Command(arguments) => {
            let (program, arguments) = arguments.split_first().ok_or("the command is empty")?;
            let output = tokio::process::Command::new(program)
                .args(arguments)
                .stdin(Stdio::null())
                .stderr(Stdio::inherit())
                .kill_on_drop(true)
                .output();
            let output = tokio::time::timeout(COMMAND_TIMEOUT, output)
                .await
                .map_err(|_| format!("{program} took longer than {} s", COMMAND_TIMEOUT.as_secs()))?
                .map_err(|error| format!("cannot run {program}: {error}"))?;
            if !output.status.success() {
                return Err(format!("{program} failed: {}", output.status));
            }
            let text = String::from_utf8(output.stdout)
                .map_err(|_| format!("what {program} printed is not UTF-8"))?;
            Ok(first_line(&text))
        }
    }
}

fn first_line(text: &str) -> SecretString {
    let line = text.split('\n').next().unwrap_or_default();
    SecretString::from(line.strip_suffix('\r').unwrap_or(line))
}
