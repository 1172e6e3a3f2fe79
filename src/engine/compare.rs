//! Compares what both ends of an account hold, mailbox by mailbox.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::labels::{Elsewhere, Placing};
use super::look::{self, Ends, Listed, Looking};
use super::preview;
use super::scan::Ranges;
use super::work::Pass;
use crate::config::{Config, Depth};
use crate::difference::{Compared, Difference};
use crate::event::Event;
use crate::fault::{Fault, Scope, Side};
use crate::identity::Identity;
use crate::mail::{Flags, Mailbox, MailboxPath, MessageInfo, Uid, WireName};
use crate::own::OwnName;
use crate::plan::compare::{self, At, Finding, Marks, Record, Trace, compare, is_sampled};
use crate::plan::filter::Filter;
use crate::plan::labels::is_view;
use crate::plan::mailboxes::Pair;
use crate::plan::settle::Attributes;
use crate::source::Source;
use crate::throttle::Throttle;

/// Messages whose bodies are read by one command.
const READ_MESSAGES_MAX: usize = 200;

/// What was compared of an account, over all tries.
#[derive(Default)]
pub(super) struct Done {
    targets: BTreeSet<MailboxPath>,
    compared: Compared,
    /// Mailboxes that could not be compared.
    failed: u64,
    /// Mailboxes in which something is missing: it may be elsewhere at the target.
    lacking: Vec<Lacking>,
    /// What only the target has, with its mailbox and UID.
    alone: BTreeMap<(String, Uid), Trace>,
}

/// What was found of a group of which the target lacks something.
struct Lacking {
    /// The source mailboxes.
    names: String,
    target: String,
    compared: Compared,
    /// With the source mailbox of each.
    missing: Vec<(String, Finding)>,
}

/// Messages of an account that are remembered to be looked for in its other mailboxes; more are missing.
const LACKING_MAX: usize = 100_000;

impl Done {
    /// Messages that are remembered.
    fn missing(&self) -> usize {
        self.lacking.iter().map(|lacking| lacking.missing.len()).sum()
    }
}

/// Source mailboxes that go to one target mailbox.
struct Group {
    pairs: Vec<Pair>,
    target: MailboxPath,
}

/// Compares the mailboxes of an account that are not done yet.
///
/// # Errors
///
/// What ends the connections, or the account.
pub(super) async fn account(
    looking: &Looking<'_>,
    ends: &mut Ends,
    listed: Listed,
    done: &mut Done,
) -> Result<Pass, Fault> {
    let Listed { target: there, plan, labels } = listed;
    let names: Vec<WireName> = plan.pairs.iter().map(|pair| pair.source.name.clone()).collect();
    let statuses = ends.source.statuses(&names).await?;
    preview::tell_listed(&*looking.run.observer, &looking.label, &statuses);
    if done.targets.is_empty() {
        preview::tell_left_out(&*looking.run.observer, &looking.label, &plan);
    }
    let comparing = Comparing {
        looking,
        labels: labels.map(Placing::new),
        source_throttle: look::throttle(looking, &looking.account.source),
        target_throttle: look::throttle(looking, &looking.account.target),
    };
    let groups = groups(plan.pairs);
    for group in &groups {
        if done.targets.contains(&group.target) {
            continue;
        }
        if looking.run.stop.is_requested() {
            return Ok(Pass::Stopped);
        }
        let failed = match comparing.group(ends, group, done).await {
            Ok(()) => {
                let reason = || format!("there is no mailbox {}", group.target);
                group.existing().is_none().then(|| (Some(Side::Target), reason()))
            }
            Err(fault) if fault.scope <= Scope::Mailbox => Some((fault.side, fault.chain())),
            Err(fault) => return Err(fault),
        };
        if let Some((side, reason)) = failed {
            done.failed += 1;
            let (account, mailbox) = (looking.label.clone(), group.names());
            looking.event(Event::MailboxFailed { account, mailbox, side, reason });
        }
        done.targets.insert(group.target.clone());
        looking.step();
    }
    let extra = tell_extra(looking, ends, &there, &groups).await?;
    if !done.lacking.is_empty() {
        let missing = done.lacking.iter().flat_map(|lacking| &lacking.missing);
        let missing = Attributes::of(missing.map(|(_, finding)| (finding.size, finding.date)));
        for mailbox in &extra {
            comparing.alone(ends, mailbox, &missing, done).await?;
        }
    }
    tell_lacking(looking, done);
    looking.event(Event::AccountCompared {
        account: looking.label.clone(),
        compared: done.compared.clone(),
        mailboxes_failed: done.failed,
    });
    Ok(Pass::Through)
}

/// Tells of mailboxes that only the target has, and that hold messages. Gives them.
async fn tell_extra(
    looking: &Looking<'_>,
    ends: &mut Ends,
    there: &[Mailbox],
    groups: &[Group],
) -> Result<Vec<Mailbox>, Fault> {
    let root = looking.account.target_root.as_ref();
    let expected: BTreeSet<&MailboxPath> = groups.iter().map(|group| &group.target).collect();
    let extra: Vec<&Mailbox> = there
        .iter()
        .filter(|mailbox| mailbox.selectable && !expected.contains(&mailbox.path))
        .filter(|mailbox| match root {
            Some(root) => mailbox.path.is_in(root),
            None => !mailbox.is_foreign(),
        })
        .filter(|mailbox| !OwnName::looks_like_one(&mailbox.path))
        .collect();
    let names: Vec<WireName> = extra.iter().map(|mailbox| mailbox.name.clone()).collect();
    let statuses = ends.target.statuses(&names).await?;
    let mut holding = Vec::new();
    for (mailbox, status) in extra.into_iter().zip(statuses) {
        let messages = status.map_or(0, |status| status.messages);
        if messages > 0 {
            let target = mailbox.path.to_string();
            if !is_view(mailbox) {
                let account = looking.label.clone();
                looking.event(Event::ExtraMailbox { account, target, messages });
            }
            holding.push(mailbox.clone());
        }
    }
    Ok(holding)
}

/// Tells what is missing, and what of it is elsewhere at the target: at the end of an account, or when it
/// is given up.
pub(super) fn tell_lacking(looking: &Looking<'_>, done: &mut Done) {
    let lacking = std::mem::take(&mut done.lacking);
    let missing = lacking.iter().flat_map(|lacking| &lacking.missing);
    let missing: Vec<Trace> = missing.filter_map(|(_, finding)| finding.trace).collect();
    let (places, alone): (Vec<&(String, Uid)>, Vec<Trace>) =
        done.alone.iter().map(|(place, trace)| (place, *trace)).unzip();
    let mut moved = compare::moved(&missing, &alone).into_iter();
    for Lacking { names, target, mut compared, missing } in lacking {
        for (mailbox, mut finding) in missing {
            let place = finding.trace.and_then(|_| moved.next().flatten());
            if let Some((path, uid)) = place.and_then(|place| places.get(place)) {
                finding.kind = Difference::MovedAtTarget;
                finding.text = format!("it is in {path} at the target, UID {uid}");
            }
            compared.note(finding.kind, 1);
            tell(looking, mailbox, &target, finding);
        }
        done.compared.add(&compared);
        tell_compared(looking, names, target, compared);
    }
}

fn tell(looking: &Looking<'_>, mailbox: String, target: &str, finding: Finding) {
    looking.event(Event::Differs {
        account: looking.label.clone(),
        mailbox,
        target: target.to_owned(),
        difference: finding.kind,
        source_uid: finding.source.map(|at| at.uid.0),
        target_uid: finding.target.map(|at| at.uid.0),
        size: finding.size,
        date: finding.date.map(|date| date.to_string()),
        text: finding.text,
    });
}

fn tell_compared(looking: &Looking<'_>, mailbox: String, target: String, compared: Compared) {
    let account = looking.label.clone();
    looking.event(Event::MailboxCompared { account, mailbox, target, compared });
}

/// The pairs by where they go, in their order.
fn groups(pairs: Vec<Pair>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut known: BTreeMap<MailboxPath, usize> = BTreeMap::new();
    for pair in pairs {
        let at = *known.entry(pair.target.clone()).or_insert(groups.len());
        match groups.get_mut(at) {
            Some(group) => group.pairs.push(pair),
            None => groups.push(Group { target: pair.target.clone(), pairs: vec![pair] }),
        }
    }
    groups
}

impl Group {
    fn names(&self) -> String {
        let names: Vec<String> =
            self.pairs.iter().map(|pair| pair.source.path.to_string()).collect();
        names.join(", ")
    }

    /// The source mailbox of what was found, or all of them.
    fn source_name(&self, finding: &Finding) -> String {
        match finding.source.and_then(|at| self.pairs.get(at.mailbox as usize)) {
            Some(pair) => pair.source.path.to_string(),
            None => self.names(),
        }
    }

    /// How the target spells its mailbox, if it has it.
    fn existing(&self) -> Option<&WireName> {
        self.pairs.iter().find_map(|pair| pair.existing.as_ref())
    }
}

struct Comparing<'a, 'l> {
    looking: &'a Looking<'l>,
    labels: Option<Placing>,
    source_throttle: Throttle,
    target_throttle: Throttle,
}

impl Comparing<'_, '_> {
    async fn group(&self, ends: &mut Ends, group: &Group, done: &mut Done) -> Result<(), Fault> {
        let config = &self.looking.run.config;
        let source = async {
            let mut reading = Reading::new(config, &self.source_throttle, Some(&config.filter));
            reading.told = Some(self.looking);
            reading.labels = self.labels.as_ref();
            for (number, pair) in (0..).zip(&group.pairs) {
                let name = pair.source.path.to_string();
                let told = |messages, bytes| self.tell_read(&name, messages, bytes);
                let begun = |messages| self.tell_started(&name, messages);
                reading.read(&mut ends.source, &pair.source.name, number, begun, told).await?;
            }
            Ok::<_, Fault>(reading)
        };
        let target = async {
            let mut reading = Reading::new(config, &self.target_throttle, None);
            if let Some(name) = group.existing() {
                reading.read(&mut ends.target, name, 0, |_| {}, |_, _| {}).await?;
            }
            Ok::<_, Fault>(reading)
        };
        let (source, target) = tokio::join!(source, target);
        let (source, target) = (source?, target?);
        let keeps_one = ends.target.has_labels();
        let (mut compared, findings) = compare(&source.records, &target.records, keeps_one);
        let mut room = LACKING_MAX.saturating_sub(done.missing());
        let mut missing = Vec::new();
        for finding in findings {
            match finding.kind {
                Difference::Missing if room > 0 => {
                    room -= 1;
                    missing.push((group.source_name(&finding), finding));
                    continue;
                }
                Difference::Extra | Difference::Doubled if done.alone.len() < LACKING_MAX => {
                    let uid = finding.target.map(|at| at.uid);
                    let place = uid.map(|uid| (group.target.to_string(), uid));
                    done.alone.extend(place.zip(finding.trace));
                }
                _ => {}
            }
            self.tell(group, finding);
        }
        for (side, unreadable) in
            [(Side::Source, source.unreadable), (Side::Target, target.unreadable)]
        {
            compared.note(Difference::Unreadable, unreadable.len() as u64);
            for finding in unreadable {
                self.tell(group, unread(side, finding));
            }
        }
        let (names, target) = (group.names(), group.target.to_string());
        if missing.is_empty() {
            done.compared.add(&compared);
            tell_compared(self.looking, names, target, compared);
        } else {
            // They are counted when it is known whether they are elsewhere.
            compared.take_back(Difference::Missing, missing.len() as u64);
            done.lacking.push(Lacking { names, target, compared, missing });
        }
        Ok(())
    }

    /// Reads of a mailbox that only the target has what could be something that is missing.
    async fn alone(
        &self,
        ends: &mut Ends,
        mailbox: &Mailbox,
        missing: &Attributes,
        done: &mut Done,
    ) -> Result<(), Fault> {
        let config = &self.looking.run.config;
        let mut reading = Reading::new(config, &self.target_throttle, None);
        reading.sought = Some(missing);
        match reading.read(&mut ends.target, &mailbox.name, 0, |_| {}, |_, _| {}).await {
            Err(fault) if fault.scope <= Scope::Mailbox => return Ok(()),
            read => read?,
        }
        let path = mailbox.path.to_string();
        let room = LACKING_MAX.saturating_sub(done.alone.len());
        let records = reading.records.iter().take(room);
        done.alone.extend(records.map(|one| ((path.clone(), one.at.uid), one.trace())));
        Ok(())
    }

    fn tell_started(&self, mailbox: &str, messages: u64) {
        let (account, mailbox) = (self.looking.label.clone(), mailbox.to_owned());
        self.looking.event(Event::MailboxStarted { account, mailbox, messages });
    }

    fn tell_read(&self, mailbox: &str, messages: u64, bytes: u64) {
        let (account, mailbox) = (self.looking.label.clone(), mailbox.to_owned());
        self.looking.event(Event::Read { account, mailbox, messages, bytes });
    }

    fn tell(&self, group: &Group, finding: Finding) {
        let mailbox = group.source_name(&finding);
        tell(self.looking, mailbox, &group.target.to_string(), finding);
    }
}

fn unread(side: Side, (at, info): (At, MessageInfo)) -> Finding {
    Finding {
        kind: Difference::Unreadable,
        source: (side == Side::Source).then_some(at),
        target: (side == Side::Target).then_some(at),
        size: info.size,
        date: info.date,
        text: format!("the {side} lists it and does not hand it out"),
        trace: None,
    }
}

/// What is read of one side's mailboxes.
struct Reading<'a> {
    depth: Depth,
    scan_messages_max: u32,
    throttle: &'a Throttle,
    /// What belongs on the target; without one all does.
    filter: Option<&'a Filter>,
    /// What is looked for; without it everything is read.
    sought: Option<&'a Attributes>,
    /// Which mailbox messages count as of, where they have labels.
    labels: Option<&'a Placing>,
    /// What a ledger says of single messages: what they were repaired to on their way to the other end, and
    /// which were merged there.
    told: Option<&'a Looking<'a>>,
    records: Vec<Record>,
    /// Listed and not handed out.
    unreadable: Vec<(At, MessageInfo)>,
    /// There are few sets of flags, and many messages with each.
    marks: HashMap<Flags, Arc<Marks>>,
}

impl<'a> Reading<'a> {
    fn new(config: &Config, throttle: &'a Throttle, filter: Option<&'a Filter>) -> Self {
        Self {
            depth: config.depth,
            scan_messages_max: config.scan_messages_max,
            throttle,
            filter,
            sought: None,
            labels: None,
            told: None,
            records: Vec::new(),
            unreadable: Vec::new(),
            marks: HashMap::new(),
        }
    }

    /// Reads a mailbox; tells how many messages it has, and of each part that is read.
    async fn read(
        &mut self,
        end: &mut impl Source,
        name: &WireName,
        mailbox: u32,
        begun: impl Fn(u64),
        told: impl Fn(u64, u64),
    ) -> Result<(), Fault> {
        let opened = end.open(name).await?;
        begun(opened.messages);
        let before = self.records.len();
        for range in Ranges::new(opened.uid_next, opened.messages, self.scan_messages_max) {
            let mut scan = end.scan(range.clone()).await?;
            scan.retain(|info| self.sought.is_none_or(|sought| sought.fit(info.size, info.date)));
            let elsewhere = match self.labels {
                Some(labels) => {
                    let messages_max = self.scan_messages_max;
                    labels.elsewhere(end, name, &opened, range, messages_max).await?
                }
                None => Elsewhere::new(),
            };
            for infos in scan.chunks(READ_MESSAGES_MAX) {
                self.part(end, mailbox, infos, &elsewhere).await?;
                told(infos.len() as u64, infos.iter().map(|info| info.size).sum());
            }
        }
        if let Some(merged) = self.told.and_then(|told| told.merged(name, opened.uid_validity)) {
            for record in &mut self.records[before..] {
                record.is_merged = merged.contains(&record.at.uid);
            }
        }
        Ok(())
    }

    async fn part(
        &mut self,
        end: &mut impl Source,
        mailbox: u32,
        infos: &[MessageInfo],
        elsewhere: &Elsewhere,
    ) -> Result<(), Fault> {
        let uids: Vec<Uid> = infos.iter().map(|info| info.uid).collect();
        let depth = self.depth;
        let keys = match depth {
            Depth::Full => BTreeMap::new(),
            Depth::Sample(_) | Depth::Fast => end.headers(&uids).await?,
        };
        let is_read = |uid: &Uid| match depth {
            Depth::Full => true,
            Depth::Sample(per_myriad) => {
                keys.get(uid).is_some_and(|keys| is_sampled(keys, per_myriad))
            }
            Depth::Fast => false,
        };
        let bodies = infos.iter().filter(|info| is_read(&info.uid));
        let bodies = self.bodies(end, &bodies.collect::<Vec<_>>()).await?;
        let is_known = |uid: &Uid| {
            if is_read(uid) { bodies.contains_key(uid) } else { keys.contains_key(uid) }
        };
        let unknown: Vec<Uid> = uids.iter().copied().filter(|uid| !is_known(uid)).collect();
        let still_there = match unknown.as_slice() {
            [] => Vec::new(),
            unknown => end.still_there(unknown).await?,
        };
        for info in infos {
            let at = At { mailbox, uid: info.uid };
            let marks = self.marks(&info.flags);
            let keys = keys.get(&info.uid).copied();
            let mut record = match (bodies.get(&info.uid), keys) {
                (Some(identity), keys) => {
                    let record = Record::by_body(at, info, marks, identity, keys);
                    match self.told.and_then(|told| told.repaired.get(&identity.exact)) {
                        Some(sent) => record.repaired_to(*sent),
                        None => record,
                    }
                }
                (None, Some(keys)) if !is_read(&info.uid) => {
                    Record::by_outline(at, info, marks, keys)
                }
                _ => {
                    if still_there.contains(&info.uid) {
                        self.unreadable.push((at, info.clone()));
                    }
                    continue;
                }
            };
            record.is_owed = self.filter.is_none_or(|filter| filter.takes(info))
                && !elsewhere.contains_key(&info.uid);
            self.records.push(record);
        }
        Ok(())
    }

    async fn bodies(
        &self,
        end: &mut impl Source,
        infos: &[&MessageInfo],
    ) -> Result<BTreeMap<Uid, Identity>, Fault> {
        if infos.is_empty() {
            return Ok(BTreeMap::new());
        }
        // They are hashed as they come, and not held.
        let messages = u32::try_from(infos.len()).unwrap_or(u32::MAX);
        let admission = self.throttle.admit(messages, 0, true).await;
        admission.flow(infos.iter().map(|info| info.size).sum()).await;
        let uids: Vec<Uid> = infos.iter().map(|info| info.uid).collect();
        let read = end.identify(&uids).await?;
        Ok(read.into_iter().map(|(uid, (_, identity))| (uid, identity)).collect())
    }

    fn marks(&mut self, flags: &Flags) -> Arc<Marks> {
        if let Some(marks) = self.marks.get(flags) {
            return marks.clone();
        }
        let marks = Arc::new(Marks::of(flags.clone()));
        self.marks.insert(flags.clone(), marks.clone());
        marks
    }
}
