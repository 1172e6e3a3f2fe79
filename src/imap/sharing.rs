//! Rights (RFC 4314), notes (RFC 5464) and quotas (RFC 9208), as both ends ask for them.

use bytes::Bytes;

use super::exec::Connection;
use super::names;
use super::reply::{self, StatusKind, Value};
use crate::fault::{Fault, Remedy, Scope};
use crate::mail::WireName;
use crate::sharing::{Acl, Metadata, Quota, Rights};

/// The longest value that is written in the command's line.
const LINE_BYTES_MAX: usize = 1000;
/// The largest value of a note that is copied.
const VALUE_BYTES_MAX: usize = 32 * 1024;

/// Who may do what in a mailbox; none where the server has no such rights.
///
/// # Errors
///
/// A mailbox fault where the server refuses to tell.
pub async fn acl(connection: &mut Connection, name: &WireName) -> Result<Option<Acl>, Fault> {
    if !connection.capabilities().has("ACL") {
        return Ok(None);
    }
    let command = format!("GETACL {}", connection.quoted(name)?);
    let done = connection.run_ok(&command, "ask who may do what", Scope::Mailbox).await?;
    let told = done.untagged.iter().find_map(|response| {
        let values = untagged(response, "ACL")?;
        let pairs = values.get(2..)?.chunks_exact(2);
        Some(
            pairs
                .filter_map(|pair| {
                    Some((pair[0].text()?.to_owned(), Rights::parse(pair[1].text()?)))
                })
                .collect(),
        )
    });
    Ok(Some(told.unwrap_or_default()))
}

/// Adds rights of one identifier to those that it has.
///
/// # Errors
///
/// A mailbox fault where the server refuses.
pub async fn grant(
    connection: &mut Connection,
    name: &WireName,
    identifier: &str,
    rights: &Rights,
) -> Result<(), Fault> {
    let is_newer = connection.capabilities().has_prefix("RIGHTS=");
    let rights = if is_newer { rights.to_string() } else { rights.of_rfc_2086() };
    let action = format!("grant {rights} to {identifier}");
    let side = connection.side();
    let identifier = names::quote(identifier).ok_or_else(|| {
        let cause = "no such identifier can be written";
        Fault::new(Scope::Mailbox, Remedy::Nothing, action.clone(), cause).at(side)
    })?;
    let command = format!("SETACL {} {identifier} +{rights}", connection.quoted(name)?);
    connection.run_ok(&command, &action, Scope::Mailbox).await?;
    Ok(())
}

/// What is noted about a mailbox; none where the server keeps no notes.
///
/// # Errors
///
/// A mailbox fault where the server refuses to tell.
pub async fn metadata(
    connection: &mut Connection,
    name: &WireName,
) -> Result<Option<Metadata>, Fault> {
    if !connection.capabilities().has("METADATA") {
        return Ok(None);
    }
    let name = connection.quoted(name)?;
    let command = format!("GETMETADATA (DEPTH infinity) {name} (/private /shared)");
    let done = connection.run_ok(&command, "ask what is noted", Scope::Mailbox).await?;
    let mut notes = Metadata::new();
    for values in done.untagged.iter().filter_map(|response| untagged(response, "METADATA")) {
        let list = values.get(2).and_then(Value::list).unwrap_or_default();
        for pair in list.chunks_exact(2).filter(|pair| !pair[1].is_nil()) {
            if let (Some(entry), Some(value)) = (pair[0].text(), pair[1].octets()) {
                notes.insert(entry.to_ascii_lowercase(), value.to_vec());
            }
        }
    }
    Ok(Some(notes))
}

/// Notes something about a mailbox.
///
/// # Errors
///
/// A mailbox fault where the server refuses, or the value cannot be written.
pub async fn annotate(
    connection: &mut Connection,
    name: &WireName,
    entry: &str,
    value: &[u8],
) -> Result<(), Fault> {
    let action = format!("note {entry}");
    let side = connection.side();
    let text = str::from_utf8(value).ok().filter(|text| text.len() <= VALUE_BYTES_MAX);
    let Some((entry, text)) = names::quote(entry).zip(text) else {
        let cause = "the value is too large, or no text";
        return Err(Fault::new(Scope::Mailbox, Remedy::Nothing, action, cause).at(side));
    };
    let command = format!("SETMETADATA {} ({entry}", connection.quoted(name)?);
    let quoted = names::quote(text).filter(|_| text.is_ascii() && text.len() <= LINE_BYTES_MAX);
    let status = match quoted {
        Some(quoted) => connection.run(&format!("{command} {quoted})"), &action).await?.status,
        None => connection.run_with_literal(&command, value, ")", &action).await?,
    };
    match status.kind {
        StatusKind::Ok => Ok(()),
        _ => Err(reply::fault(action, status, Scope::Mailbox).at(side)),
    }
}

/// What the server lets the account hold; none where it does not tell, or sets no limit.
///
/// # Errors
///
/// A session fault where the connection breaks.
pub async fn quota(connection: &mut Connection) -> Result<Option<Quota>, Fault> {
    if !connection.capabilities().has("QUOTA") {
        return Ok(None);
    }
    let done = connection.run("GETQUOTAROOT INBOX", "ask for the quota").await?;
    if done.status.kind != StatusKind::Ok {
        return Ok(None);
    }
    // Of several the one with the least room.
    let quotas = done.untagged.iter().filter_map(|response| {
        let values = untagged(response, "QUOTA")?;
        let resources = values.get(2)?.list()?;
        let storage = resources.chunks_exact(3).find(|resource| {
            resource[0].text().is_some_and(|name| name.eq_ignore_ascii_case("STORAGE"))
        })?;
        let bytes = |value: &Value| value.text()?.parse::<u64>().ok()?.checked_mul(1024);
        Some(Quota { used: bytes(&storage[1])?, limit: bytes(&storage[2])? })
    });
    Ok(quotas.min_by_key(|quota| quota.limit.saturating_sub(quota.used)))
}

/// The values of an untagged response of this name.
fn untagged(response: &Bytes, name: &str) -> Option<Vec<Value>> {
    let values = reply::values(&response.starts_with(b"* ").then(|| response.slice(2..))?);
    let is_it = values.first()?.text()?.eq_ignore_ascii_case(name);
    is_it.then_some(values)
}
