//! An IMAP source: EXAMINE and BODY.PEEK only.

mod fetch;
mod labels;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::sync::mpsc;

use self::fetch::Limits;
use super::{Admitted, Fetched, Opened, Source};
use crate::fault::{Fault, Scope};
use crate::identity::{HeaderKeys, Identity};
use crate::imap::exec::{Connection, Select, Server};
use crate::imap::reply::{self, uid_set};
use crate::imap::{download, listing, sharing};
use crate::mail::{Flags, Mailbox, MailboxStatus, MessageInfo, Namespaces, Uid, WireName};
use crate::plan::labels::{GmailLabels, Labelled};
use crate::sharing::{Acl, Metadata, Quota};
use crate::target::Naming;

/// A logged-in IMAP connection that only reads.
pub struct ImapSource {
    connection: Connection,
    /// Larger bodies are streamed.
    body_bytes_max: u64,
    /// What a range was found to hold when the mailbox was opened.
    ahead: Option<(RangeInclusive<Uid>, Vec<MessageInfo>)>,
    /// How mailboxes stood when they were listed, as far as the server told.
    counted: BTreeMap<WireName, MailboxStatus>,
    /// Whether labels are told as keywords. Nothing tells when they change then.
    are_labels_keywords: bool,
}

impl ImapSource {
    /// Reads by this connection; bodies above `body_bytes_max` octets are streamed, not held.
    #[must_use]
    pub fn new(connection: Connection, body_bytes_max: u64) -> Self {
        let (ahead, counted) = (None, BTreeMap::new());
        Self { connection, body_bytes_max, ahead, counted, are_labels_keywords: false }
    }

    /// The same, where labels are told in this way.
    #[must_use]
    pub fn with_labels(self, mode: GmailLabels) -> Self {
        let are_labels_keywords =
            mode == GmailLabels::Keywords && labels::are_offered(&self.connection);
        Self { are_labels_keywords, ..self }
    }

    /// What is known of the server.
    #[must_use]
    pub fn server(&self) -> &Server {
        self.connection.server()
    }

    /// The time to the server and back, at most.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        self.connection.round_trip()
    }

    /// How this server takes names: where what is read here is a target to be looked at.
    #[must_use]
    pub fn naming(&self) -> Naming {
        Naming::of_hierarchy(self.connection.hierarchy())
    }
}

impl ImapSource {
    async fn examine(
        &mut self,
        name: &WireName,
        first: Option<RangeInclusive<Uid>>,
    ) -> Result<Opened, Fault> {
        self.ahead = None;
        let scan = first.as_ref().map(|first| self.scan_of(first));
        let (selected, scanned) = self.connection.select_and(Select::Examine, name, scan).await?;
        if let (Some(range), Some(scanned)) = (first, scanned) {
            let infos = infos(scanned.iter().filter_map(reply::Fetched::parse), &range);
            self.ahead = Some((range, infos));
        }
        Ok(Opened {
            uid_validity: selected.uid_validity,
            uid_next: listing::uid_next(&mut self.connection, name, &selected).await?,
            messages: u64::from(selected.exists),
            highest_modseq: selected.highest_modseq.filter(|_| !self.are_labels_keywords),
        })
    }

    fn scan_of(&self, uids: &RangeInclusive<Uid>) -> String {
        let (first, last) = (uids.start(), uids.end());
        let labels = if self.are_labels_keywords { " X-GM-LABELS" } else { "" };
        format!("UID FETCH {first}:{last} (UID RFC822.SIZE INTERNALDATE FLAGS{labels})")
    }
}

/// The messages of a range, ascending.
fn infos(
    found: impl IntoIterator<Item = reply::Fetched>,
    uids: &RangeInclusive<Uid>,
) -> Vec<MessageInfo> {
    let infos = found.into_iter().filter_map(|fetched| {
        let uid = fetched.uid.filter(|uid| uids.contains(uid))?;
        let flags = fetched.flags.unwrap_or_else(Flags::default);
        // They come only where they were asked for as keywords.
        let flags = match &fetched.labels {
            Some(labels) => labels::with_keywords(&flags, labels),
            None => flags,
        };
        Some(MessageInfo { uid, size: fetched.size.unwrap_or(0), date: fetched.date, flags })
    });
    let mut infos: Vec<MessageInfo> = infos.collect();
    infos.sort_by_key(|info| info.uid);
    infos.dedup_by_key(|info| info.uid);
    infos
}

impl Source for ImapSource {
    async fn list(&mut self, asked: Namespaces) -> Result<Vec<Mailbox>, Fault> {
        let (mailboxes, counted) =
            listing::mailboxes_and_statuses(&mut self.connection, asked).await?;
        self.counted = counted;
        Ok(mailboxes)
    }

    async fn statuses(&mut self, names: &[WireName]) -> Result<Vec<Option<MailboxStatus>>, Fault> {
        // What the list has told, once: later they may stand otherwise.
        let mut counted = std::mem::take(&mut self.counted);
        let mut statuses: Vec<_> = names.iter().map(|name| counted.remove(name)).collect();
        let unknown = || names.iter().zip(&statuses).filter(|(_, status)| status.is_none());
        let asked: Vec<WireName> = unknown().map(|(name, _)| name.clone()).collect();
        let told = listing::statuses(&mut self.connection, &asked).await?;
        let unknown = statuses.iter_mut().filter(|status| status.is_none());
        unknown.zip(told).for_each(|(status, told)| *status = told);
        if self.are_labels_keywords {
            statuses.iter_mut().flatten().for_each(|status| status.highest_modseq = None);
        }
        Ok(statuses)
    }

    async fn open(&mut self, name: &WireName) -> Result<Opened, Fault> {
        self.examine(name, None).await
    }

    async fn open_and_scan(
        &mut self,
        name: &WireName,
        first: RangeInclusive<Uid>,
    ) -> Result<Opened, Fault> {
        self.examine(name, Some(first)).await
    }

    async fn scan(&mut self, uids: RangeInclusive<Uid>) -> Result<Vec<MessageInfo>, Fault> {
        if let Some((range, infos)) = self.ahead.take()
            && range == uids
        {
            return Ok(infos);
        }
        let action = "list the messages";
        let scan = self.scan_of(&uids);
        let found = listing::messages(&mut self.connection, &scan, action).await?;
        Ok(infos(found, &uids))
    }

    async fn listed(&mut self, uids: RangeInclusive<Uid>) -> Result<Vec<Uid>, Fault> {
        listing::uids(&mut self.connection, uids).await
    }

    async fn changed(
        &mut self,
        uids: RangeInclusive<Uid>,
        since: u64,
    ) -> Result<Vec<(Uid, Flags)>, Fault> {
        let command =
            format!("UID FETCH {}:{} (UID FLAGS) (CHANGEDSINCE {since})", uids.start(), uids.end());
        let action = "ask which flags were changed";
        let found = listing::messages(&mut self.connection, &command, action).await?;
        let mut changed: Vec<(Uid, Flags)> = found
            .into_iter()
            .filter_map(|fetched| Some((fetched.uid?, fetched.flags?)))
            .filter(|(uid, _)| uids.contains(uid))
            .collect();
        // Of one that changes while it is listed the last word counts.
        changed.reverse();
        changed.sort_by_key(|(uid, _)| *uid);
        changed.dedup_by_key(|(uid, _)| *uid);
        Ok(changed)
    }

    async fn still_there(&mut self, uids: &[Uid]) -> Result<Vec<Uid>, Fault> {
        let action = "see which messages are still there";
        // Servers tell of expunged messages at a NOOP, and list them until then.
        self.connection.run_ok("NOOP", action, Scope::Session).await?;
        let command = format!("UID FETCH {} (UID)", uid_set(uids));
        let found = listing::messages(&mut self.connection, &command, action).await?;
        Ok(found.into_iter().filter_map(|f| f.uid).filter(|uid| uids.contains(uid)).collect())
    }

    async fn identify(&mut self, uids: &[Uid]) -> Result<BTreeMap<Uid, (u64, Identity)>, Fault> {
        download::identities(&mut self.connection, uids).await
    }

    async fn headers(&mut self, uids: &[Uid]) -> Result<BTreeMap<Uid, HeaderKeys>, Fault> {
        download::headers(&mut self.connection, uids).await
    }

    async fn fetch(
        &mut self,
        windows: mpsc::Receiver<Admitted>,
        fetched: mpsc::Sender<Fetched>,
    ) -> Result<(), Fault> {
        let side = self.connection.side();
        let limits = Limits {
            body_bytes_max: self.body_bytes_max,
            // The scan's have the labels, too.
            takes_flags: !self.are_labels_keywords,
        };
        let taken = fetched.clone();
        let (reader, writer) = self.connection.lend();
        tokio::select! {
            biased;
            // Nobody takes what would come: whoever stopped taking it knows why.
            () = taken.closed() => Ok(()),
            outcome = fetch::fetch(reader, writer, windows, fetched, limits) => {
                outcome.map_err(|fault| fault.at(side))
            }
        }
    }

    fn has_labels(&self) -> bool {
        labels::are_offered(&self.connection)
    }

    async fn labels(
        &mut self,
        uids: RangeInclusive<Uid>,
    ) -> Result<BTreeMap<Uid, Labelled>, Fault> {
        labels::labels(&mut self.connection, uids).await
    }

    async fn label_ids(&mut self, uids: RangeInclusive<Uid>) -> Result<Vec<u64>, Fault> {
        labels::ids(&mut self.connection, uids).await
    }

    async fn acl(&mut self, name: &WireName) -> Result<Option<Acl>, Fault> {
        sharing::acl(&mut self.connection, name).await
    }

    async fn metadata(&mut self, name: &WireName) -> Result<Option<Metadata>, Fault> {
        sharing::metadata(&mut self.connection, name).await
    }

    async fn quota(&mut self) -> Result<Option<Quota>, Fault> {
        sharing::quota(&mut self.connection).await
    }

    async fn log_out(self) {
        self.connection.log_out().await;
    }
}

/// The words of a refusal, for the report.
fn said(status: &reply::Status) -> String {
    format!("the server said: {status}")
}
