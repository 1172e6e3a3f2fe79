//! What every [`Ledger`] promises. [`ledger_suite`] makes a test of each promise for one kind.

use std::future::Future;
use std::ops::RangeInclusive;
use std::time::Duration;

use mailhaul::fate::{Fate, Remark, RemarkKind};
use mailhaul::fault::{Fault, Scope};
use mailhaul::history::{Changed, Dated, Entry, Troubles};
use mailhaul::identity::{Digest, Identity};
use mailhaul::ledger::{
    AccountId, AccountName, AccountState, Binding, Claim, Count, Ledger, MailboxId, NewWindow,
    Outcome, RemarkRow, ScanTotals, Watermark, WindowMessage,
};
use mailhaul::mail::{
    Flags, InternalDate, Mailbox, MailboxPath, Namespace, Uid, UidValidity, WireName,
};
use mailhaul::repair::{Repair, Repairs};

/// A place where one kind of ledger is kept.
pub(crate) trait Place: Sized {
    /// The kind.
    type Ledger: Ledger;

    /// A place without a ledger.
    fn new() -> Self;

    /// Opens the ledger that is there, or makes one.
    fn open(&self) -> impl Future<Output = Result<Self::Ledger, Fault>>;
}

/// A place that outlives a crash.
pub(crate) trait Durable: Place {
    /// What another process would find if this one were killed now.
    fn crash(&self) -> Self;
}

/// Tests of all promises that a ledger keeps while it is open.
macro_rules! ledger_suite {
    ($place:ty: $($promise:ident)*) => {
        $(#[tokio::test]
        async fn $promise() {
            crate::ledger::$promise(<$place as crate::ledger::Place>::new()).await;
        })*
    };
    ($place:ty) => {
        crate::ledger::ledger_suite! { $place:
            a_claim_raises_the_epoch_and_leaves_the_state
            accounts_are_known_by_key_and_follow_their_names
            a_binding_moves_until_something_was_sent_and_then_stays
            the_targets_validity_is_learnt_once
            mailboxes_are_listed_with_what_the_scan_counted
            a_renamed_mailbox_takes_a_name_to_which_nothing_was_sent
            an_entry_is_read_as_it_was_recorded
            dates_keep_their_zone_even_before_1970
            a_mailbox_may_have_more_keywords_than_bits
            flags_change_and_nothing_else_of_a_message_does
            a_watermark_stands_only_where_nothing_is_owed
            a_watermark_over_what_was_filtered_says_by_what_and_ends_where_it_is_sent
            history_is_of_one_mailbox_and_one_range
            messages_are_found_by_their_header_lines_however_late_they_came
            a_window_is_open_until_it_is_closed
            closing_a_window_twice_changes_nothing
            a_stale_claim_opens_no_window
            window_ids_are_never_used_twice
            claims_are_of_the_target_mailbox_whatever_the_source
            claims_under_another_validity_do_not_count
            effects_come_in_the_order_of_calls
            a_snapshot_adds_up
            a_snapshot_never_counts_below_zero
            windows_in_doubt_count_as_pending
            a_pass_counts_when_the_account_is_done
            remarks_are_replaced_with_their_outcome
            remarks_are_listed_in_pages_without_a_gap
            many_handles_write_at_once
        }
    };
}

/// Tests of the promises that a ledger keeps over a crash.
macro_rules! durable_ledger_suite {
    ($place:ty: $($promise:ident)*) => {
        $(#[tokio::test]
        async fn $promise() {
            crate::ledger::$promise(<$place as crate::ledger::Place>::new()).await;
        })*
    };
    ($place:ty) => {
        crate::ledger::durable_ledger_suite! { $place:
            an_open_window_survives_a_crash_and_so_does_what_was_queued_before_it
            every_barrier_survives_a_crash
            what_was_queued_reaches_the_disk_soon_without_a_barrier
            dropping_the_last_handle_loses_nothing
        }
    };
}

pub(crate) use {durable_ledger_suite, ledger_suite};

pub(crate) fn account(key: &str) -> AccountName {
    AccountName {
        key: key.to_owned(),
        source: format!("{key}@old.example"),
        target: format!("{key}@new.example"),
    }
}

pub(crate) fn binding(source: &str, target: &str) -> Binding {
    Binding {
        source_name: WireName(source.into()),
        source_path: MailboxPath::new(source.split('/')),
        source_validity: UidValidity(1),
        target_name: WireName(target.into()),
        target_path: MailboxPath::new(target.split('/')),
        target_validity: Some(UidValidity(9)),
    }
}

pub(crate) fn entry(fate: Fate, target_uid: Option<u32>, size: u64) -> Entry {
    Entry {
        fate,
        target_uid: target_uid.map(Uid),
        size,
        date: Some(InternalDate::new(1_700_000_000, 60)),
        flags: Flags::parse(["\\Seen"]),
        digest: Some((Digest([7; 16]), u64::MAX)),
        troubles: Troubles::default(),
        risky: false,
        changed: None,
    }
}

pub(crate) fn outcome(uid: u32, entry: Entry) -> Outcome {
    Outcome { uid: Uid(uid), entry, remarks: Vec::new(), subject: None }
}

pub(crate) fn copied(uid: u32) -> Outcome {
    outcome(uid, entry(Fate::Copied, Some(uid + 1_000), 10))
}

pub(crate) fn window(
    mailbox: MailboxId,
    claim: Claim,
    uids: impl IntoIterator<Item = u32>,
) -> NewWindow {
    let message = |uid| WindowMessage {
        uid: Uid(uid),
        size: 10,
        date: Some(InternalDate::new(-1, -90)),
        flags: Flags::parse(["\\Answered", "$Junk"]),
        identity: Some(Identity::of(b"x")),
        risky: true,
        troubles: Troubles { doubts: 1, losses: 2 },
        changed: None,
    };
    NewWindow {
        mailbox,
        epoch: claim.epoch,
        lo: Uid(500),
        messages: uids.into_iter().map(message).collect(),
    }
}

pub(crate) const ALL: RangeInclusive<Uid> = Uid(0)..=Uid(u32::MAX);

/// An account with one mailbox, in a new ledger.
async fn begin<P: Place>(place: &P) -> (P::Ledger, Claim, MailboxId) {
    let ledger = place.open().await.unwrap();
    let claim = ledger.claim(&account("anna")).await.unwrap();
    let mailbox = ledger.bind(claim.account, &binding("INBOX", "INBOX")).await.unwrap();
    (ledger, claim, mailbox)
}

async fn uids(ledger: &impl Ledger, mailbox: MailboxId) -> Vec<u32> {
    let history = ledger.history(mailbox, ALL).await.unwrap();
    history.iter().map(|(uid, _)| uid.0).collect()
}

async fn open_windows(ledger: &impl Ledger, account: AccountId) -> usize {
    ledger.open_windows(account).await.unwrap().len()
}

pub(crate) async fn a_claim_raises_the_epoch_and_leaves_the_state(place: impl Place) {
    let ledger = place.open().await.unwrap();
    let first = ledger.claim(&account("anna")).await.unwrap();
    let other = ledger.claim(&account("bob")).await.unwrap();
    let reason = Some("no route".to_owned());
    ledger.set_account_state(first.account, AccountState::Failed, reason).await.unwrap();
    let second = ledger.claim(&account("anna")).await.unwrap();
    assert_eq!((second.account, second.epoch), (first.account, first.epoch + 1));
    assert_ne!(other.account, first.account);
    let snapshot = ledger.snapshot().await.unwrap();
    assert_eq!(snapshot.accounts[0].state, AccountState::Failed);
    assert_eq!(snapshot.accounts[0].reason.as_deref(), Some("no route"));
    assert_eq!(snapshot.accounts[1].state, AccountState::Waiting);
}

pub(crate) async fn accounts_are_known_by_key_and_follow_their_names(place: impl Place) {
    let ledger = place.open().await.unwrap();
    let zoe = ledger.claim(&account("zoe")).await.unwrap();
    ledger.claim(&account("anna")).await.unwrap();
    let mut renamed = account("zoe");
    renamed.target = "zoe.new@new.example".to_owned();
    assert_eq!(ledger.claim(&renamed).await.unwrap().account, zoe.account);
    let snapshot = ledger.snapshot().await.unwrap();
    let names: Vec<_> = snapshot.accounts.into_iter().map(|a| a.name).collect();
    assert_eq!(names, [account("anna"), renamed]);
}

pub(crate) async fn a_binding_moves_until_something_was_sent_and_then_stays(place: impl Place) {
    let (ledger, claim, mailbox) = begin(&place).await;
    let moved = binding("INBOX", "Old/INBOX");
    assert_eq!(ledger.bind(claim.account, &moved).await.unwrap(), mailbox);
    let bound = ledger.mailboxes(claim.account).await.unwrap();
    assert_eq!((&bound[0].binding, bound[0].fixed), (&moved, false));

    ledger.open(&window(mailbox, claim, [1])).await.unwrap();
    let again = binding("INBOX", "Elsewhere");
    assert_eq!(ledger.bind(claim.account, &again).await.unwrap(), mailbox);
    let bound = ledger.mailboxes(claim.account).await.unwrap();
    assert_eq!((&bound[0].binding, bound[0].fixed), (&moved, true));

    let mut reborn = binding("INBOX", "INBOX");
    reborn.source_validity = UidValidity(2);
    assert_ne!(ledger.bind(claim.account, &reborn).await.unwrap(), mailbox);
    assert_eq!(ledger.mailboxes(claim.account).await.unwrap().len(), 2);
}

pub(crate) async fn the_targets_validity_is_learnt_once(place: impl Place) {
    let ledger = place.open().await.unwrap();
    let claim = ledger.claim(&account("anna")).await.unwrap();
    let mut wanted = binding("a", "b");
    wanted.target_validity = None;
    let mailbox = ledger.bind(claim.account, &wanted).await.unwrap();
    ledger.record(mailbox, vec![copied(1)]).await.unwrap();
    let mut elsewhere = binding("a", "c");
    for (wanted, learnt) in [
        (elsewhere.clone(), None), // Of another mailbox.
        (binding("a", "b"), Some(UidValidity(9))),
        (wanted, Some(UidValidity(9))),
    ] {
        ledger.bind(claim.account, &wanted).await.unwrap();
        let bound = ledger.mailboxes(claim.account).await.unwrap();
        assert_eq!(bound[0].binding.target_validity, learnt);
    }
    elsewhere.target_name = WireName("b".into());
    elsewhere.target_validity = Some(UidValidity(10));
    ledger.bind(claim.account, &elsewhere).await.unwrap();
    let bound = ledger.mailboxes(claim.account).await.unwrap();
    assert_eq!(bound[0].binding.target_validity, Some(UidValidity(9)));
}

pub(crate) async fn a_renamed_mailbox_takes_a_name_to_which_nothing_was_sent(place: impl Place) {
    let (ledger, claim, mailbox) = begin(&place).await;
    ledger.record(mailbox, vec![copied(1)]).await.unwrap();
    let now = |name: &str| Mailbox {
        name: WireName(name.into()),
        path: MailboxPath::new([name]),
        special_use: None,
        selectable: true,
        subscribed: false,
        namespace: Namespace::Personal,
    };
    let unused = ledger.bind(claim.account, &binding("New", "New")).await.unwrap();
    assert!(ledger.rename_source(mailbox, &now("New")).await.unwrap());
    let bound = ledger.mailboxes(claim.account).await.unwrap();
    assert_eq!(bound.iter().map(|one| one.id).collect::<Vec<_>>(), [mailbox]);
    assert_eq!(bound[0].binding.source_name, WireName(b"New".to_vec()));
    assert_ne!(mailbox, unused);
    let used = ledger.bind(claim.account, &binding("Used", "Used")).await.unwrap();
    ledger.record(used, vec![copied(2)]).await.unwrap();
    assert!(!ledger.rename_source(mailbox, &now("Used")).await.unwrap());
    let bound = ledger.mailboxes(claim.account).await.unwrap();
    let names: Vec<_> = bound.into_iter().map(|one| one.binding.source_name.0).collect();
    assert_eq!(names, [b"New".to_vec(), b"Used".to_vec()]);
}

pub(crate) async fn mailboxes_are_listed_with_what_the_scan_counted(place: impl Place) {
    let (ledger, claim, mailbox) = begin(&place).await;
    let mut odd = binding("&Jjo-/\"'", "Entw\u{fc}rfe");
    odd.source_name = WireName(vec![0xff, 0x00, b'"']);
    let second = ledger.bind(claim.account, &odd).await.unwrap();
    let scan = ScanTotals { messages: 4, bytes: 1 << 40, vanished: 1, uid_next: u32::MAX };
    ledger.scanned(second, scan).await.unwrap();
    let bound = ledger.mailboxes(claim.account).await.unwrap();
    assert_eq!(bound.iter().map(|m| m.id).collect::<Vec<_>>(), [mailbox, second]);
    assert_eq!(bound[0].scan, ScanTotals::default());
    assert_eq!((&bound[1].binding, bound[1].scan), (&odd, scan));
    let other = ledger.claim(&account("bob")).await.unwrap();
    assert_eq!(ledger.mailboxes(other.account).await.unwrap(), []);
}

pub(crate) async fn an_entry_is_read_as_it_was_recorded(place: impl Place) {
    let (ledger, _, mailbox) = begin(&place).await;
    let bare = Entry {
        fate: Fate::Pending,
        target_uid: None,
        size: 0,
        date: None,
        flags: Flags::default(),
        digest: None,
        troubles: Troubles { doubts: 255, losses: 7 },
        risky: true,
        changed: None,
    };
    let changed = Changed {
        repairs: [Repair::Nul, Repair::Crlf].into_iter().collect(),
        dated: Some(Dated::Received),
        size: 8,
        date: None,
        digest: Some((Digest([6; 16]), 5)),
    };
    let date = Some(InternalDate::new(-1, 60));
    let dated = Changed {
        repairs: Repairs::default(),
        dated: Some(Dated::Date),
        date,
        digest: None,
        ..changed
    };
    let mut entries = vec![
        bare,
        Entry { changed: Some(Box::new(changed)), ..entry(Fate::Copied, Some(3), 9) },
        Entry { changed: Some(Box::new(dated)), ..entry(Fate::Pending, None, 9) },
    ];
    for (i, fate) in (0_u8..).zip(Fate::ALL) {
        let mut entry = entry(fate, Some(u32::MAX), (1 << 40) + u64::from(i));
        entry.flags = Flags::from_parts(i, ["$Forwarded", "ä", "work", "Work"]);
        entry.digest = Some((Digest([i; 16]), u64::from(i)));
        entries.push(entry);
    }
    let outcomes = entries.iter().zip(1..).map(|(entry, uid)| outcome(uid, entry.clone()));
    ledger.record(mailbox, outcomes.collect()).await.unwrap();
    let history = ledger.history(mailbox, ALL).await.unwrap();
    let read: Vec<_> = history.iter().map(|(_, entry)| entry.clone()).collect();
    assert_eq!(read, entries);
}

pub(crate) async fn dates_keep_their_zone_even_before_1970(place: impl Place) {
    let (ledger, _, mailbox) = begin(&place).await;
    // 1901, 1969, 1970, 2100, 9999; the zones of Iceland, India, Kiribati and a broken server.
    let dates = [
        (-2_177_452_800, 0),
        (-1, 330),
        (0, 840),
        (4_102_444_800, -720),
        (253_402_300_799, -5_999),
    ];
    let outcomes = dates.into_iter().zip(1..).map(|((seconds, offset), uid)| {
        let mut outcome = copied(uid);
        outcome.entry.date = Some(InternalDate::new(seconds, offset));
        outcome
    });
    ledger.record(mailbox, outcomes.collect()).await.unwrap();
    let history = ledger.history(mailbox, ALL).await.unwrap();
    let read = history.iter().filter_map(|(_, entry)| entry.date);
    let read: Vec<_> = read.map(|date| (date.seconds(), date.offset_minutes())).collect();
    assert_eq!(read, dates);
}

pub(crate) async fn a_mailbox_may_have_more_keywords_than_bits(place: impl Place) {
    let (ledger, claim, mailbox) = begin(&place).await;
    let other = ledger.bind(claim.account, &binding("other", "other")).await.unwrap();
    let names: Vec<String> = (0..200).map(|i| format!("keyword{i:03}")).collect();
    let flags = |names: &[String]| Flags::from_parts(1, names.iter().map(String::as_str));
    let with = |uid: u32, names: &[String]| {
        let mut outcome = copied(uid);
        outcome.entry.flags = flags(names);
        outcome
    };
    for (uid, chunk) in (1..).zip(names.chunks(7)) {
        ledger.record(mailbox, vec![with(uid, chunk)]).await.unwrap();
    }
    ledger.record(mailbox, vec![with(100, &names)]).await.unwrap();
    ledger.record(other, vec![with(1, &names[190..])]).await.unwrap();
    let history = ledger.history(mailbox, ALL).await.unwrap();
    for (uid, chunk) in (1..).zip(names.chunks(7)) {
        assert_eq!(history.get(Uid(uid)).unwrap().flags, flags(chunk), "uid {uid}");
    }
    assert_eq!(history.get(Uid(100)).unwrap().flags, flags(&names));
    let others = ledger.history(other, ALL).await.unwrap();
    assert_eq!(others.get(Uid(1)).unwrap().flags, flags(&names[190..]));

    // What a message has no more is gone, whether it had a bit or not.
    ledger.record(mailbox, vec![with(100, &names[..1])]).await.unwrap();
    let history = ledger.history(mailbox, ALL).await.unwrap();
    assert_eq!(history.get(Uid(100)).unwrap().flags, flags(&names[..1]));
}

pub(crate) async fn flags_change_and_nothing_else_of_a_message_does(place: impl Place) {
    let (ledger, _, mailbox) = begin(&place).await;
    let remark = Remark::new(RemarkKind::DateAltered, "it has another date");
    let outcome = Outcome { remarks: vec![remark], ..copied(1) };
    ledger.record(mailbox, vec![outcome.clone(), copied(2)]).await.unwrap();
    let flags = Flags::parse(["\\Draft", "Work"]);
    // One of them is unknown.
    let changes = vec![(Uid(1), flags.clone()), (Uid(3), flags.clone())];
    ledger.intend_flags(mailbox, changes.clone()).await.unwrap();
    let history = ledger.history(mailbox, ALL).await.unwrap();
    assert_eq!(history.flags_in_doubt(Uid(1)), Some(&flags));
    assert_eq!(history.flags_in_doubt(Uid(2)), None);
    ledger.set_flags(mailbox, changes).await.unwrap();
    let history = ledger.history(mailbox, ALL).await.unwrap();
    assert_eq!(history.flags_in_doubt(Uid(1)), None);
    assert_eq!(uids(&ledger, mailbox).await, [1, 2]);
    assert_eq!(*history.get(Uid(1)).unwrap(), Entry { flags, ..outcome.entry });
    assert_eq!(*history.get(Uid(2)).unwrap(), copied(2).entry);
    assert_eq!(ledger.remarks(None, 10).await.unwrap().len(), 1);
}

pub(crate) async fn a_watermark_stands_only_where_nothing_is_owed(place: impl Place) {
    let (ledger, claim, mailbox) = begin(&place).await;
    let mark = |messages, modseq| Watermark {
        uid_next: Uid(9),
        modseq,
        listed: 1,
        counted: ScanTotals { messages, bytes: 70, vanished: 1, uid_next: 9 },
        filter: None,
    };
    let known = async || {
        let mailboxes = ledger.mailboxes(claim.account).await.unwrap();
        mailboxes.iter().find(|bound| bound.id == mailbox).unwrap().watermark
    };
    let refused = |uid| {
        let mut outcome = copied(uid);
        outcome.entry.fate = Fate::Refused;
        outcome
    };
    assert_eq!(known().await, None);
    ledger.record(mailbox, vec![copied(1)]).await.unwrap();
    // One has vanished, and of another nothing is known.
    ledger.set_watermark(mailbox, Some(mark(3, None))).await.unwrap();
    assert_eq!(known().await, None);
    ledger.set_watermark(mailbox, Some(mark(2, None))).await.unwrap();
    assert_eq!(known().await, Some(mark(2, None)));
    ledger.record(mailbox, vec![refused(2)]).await.unwrap();
    ledger.set_watermark(mailbox, Some(mark(3, Some(7)))).await.unwrap();
    assert_eq!(known().await, Some(mark(2, None)), "it does not move past what is owed");
    ledger.record(mailbox, vec![copied(2)]).await.unwrap();
    ledger.set_watermark(mailbox, Some(mark(3, Some(u64::MAX >> 1)))).await.unwrap();
    assert_eq!(known().await, Some(mark(3, Some(u64::MAX >> 1))));
    ledger.set_mailbox_fault(mailbox, None).await.unwrap();
    assert!(known().await.is_some());
    ledger.set_mailbox_fault(mailbox, Some("broken".to_owned())).await.unwrap();
    assert_eq!(known().await, None);
    ledger.set_watermark(mailbox, Some(mark(3, None))).await.unwrap();
    assert!(known().await.is_some());
    ledger.set_watermark(mailbox, None).await.unwrap();
    assert_eq!(known().await, None);
    ledger.set_watermark(mailbox, Some(mark(3, None))).await.unwrap();
    ledger.reset_target(mailbox, UidValidity(99)).await.unwrap();
    assert_eq!(known().await, None);
}

pub(crate) async fn a_watermark_over_what_was_filtered_says_by_what_and_ends_where_it_is_sent(
    place: impl Place,
) {
    let (ledger, claim, mailbox) = begin(&place).await;
    let counted = ScanTotals { messages: 2, bytes: 70, vanished: 0, uid_next: 9 };
    let without = Watermark { uid_next: Uid(9), modseq: None, listed: 2, counted, filter: None };
    let with = Watermark { filter: Some(Digest([7; 16])), ..without };
    let known = async || {
        let mailboxes = ledger.mailboxes(claim.account).await.unwrap();
        mailboxes.iter().find(|bound| bound.id == mailbox).unwrap().watermark
    };
    let mut filtered = copied(2);
    filtered.entry = Entry { fate: Fate::Filtered, target_uid: None, ..filtered.entry };
    ledger.record(mailbox, vec![copied(1), filtered]).await.unwrap();
    ledger.set_watermark(mailbox, Some(without)).await.unwrap();
    assert_eq!(known().await, None);
    ledger.set_watermark(mailbox, Some(with)).await.unwrap();
    assert_eq!(known().await, Some(with));
    ledger.record(mailbox, vec![copied(2)]).await.unwrap();
    ledger.set_watermark(mailbox, Some(without)).await.unwrap();
    assert_eq!(known().await, Some(without));
    let pending = |uid| {
        let mut outcome = copied(uid);
        outcome.entry = Entry { fate: Fate::Pending, target_uid: None, ..outcome.entry };
        outcome
    };
    ledger.record(mailbox, vec![pending(9)]).await.unwrap();
    assert_eq!(known().await, Some(without), "it is above");
    ledger.record(mailbox, vec![pending(2), pending(10)]).await.unwrap();
    assert_eq!(known().await, None);
}

pub(crate) async fn history_is_of_one_mailbox_and_one_range(place: impl Place) {
    let (ledger, claim, mailbox) = begin(&place).await;
    let other = ledger.bind(claim.account, &binding("other", "other")).await.unwrap();
    ledger.record(mailbox, (1..=9).map(copied).collect()).await.unwrap();
    ledger.record(other, vec![copied(5)]).await.unwrap();
    let history = ledger.history(mailbox, Uid(3)..=Uid(5)).await.unwrap();
    assert_eq!(history.iter().map(|(uid, _)| uid.0).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(uids(&ledger, other).await, [5]);
}

pub(crate) async fn messages_are_found_by_their_header_lines_however_late_they_came(
    place: impl Place,
) {
    let (ledger, claim, mailbox) = begin(&place).await;
    let beside = ledger.bind(claim.account, &binding("Other", "INBOX")).await.unwrap();
    let elsewhere = ledger.bind(claim.account, &binding("Sent", "Sent")).await.unwrap();
    let with = |uid: u8, headers: u64| {
        let (digest, uid) = (Some((Digest([uid; 16]), headers)), u32::from(uid));
        outcome(uid, Entry { digest, ..entry(Fate::Copied, Some(uid), 100) })
    };
    // Of these two keys a half is equal.
    let (key, alike) = (0x0123_4567_89ab_cdef, 0x0123_4567_0000_0000);
    let twins = async |of: MailboxId| {
        let twins = ledger.twins(of, [key].into()).await.unwrap().into_iter();
        let mut twins: Vec<_> =
            twins.map(|(mailbox, uid, entry)| (mailbox, uid.0, entry)).collect();
        twins.sort_by_key(|(mailbox, uid, _)| (*mailbox, *uid));
        twins
    };
    ledger.record(mailbox, vec![with(1, key), with(2, alike), copied(3)]).await.unwrap();
    ledger.record(elsewhere, vec![with(1, key)]).await.unwrap();
    assert_eq!(twins(beside).await, [(mailbox, 1, with(1, key).entry)]);
    ledger.record(beside, vec![with(5, key)]).await.unwrap();
    ledger.record(mailbox, vec![with(1, alike), with(9, key)]).await.unwrap();
    let later = [(mailbox, 9, with(9, key).entry), (beside, 5, with(5, key).entry)];
    assert_eq!(twins(mailbox).await, later);
    let renewed = Binding { source_validity: UidValidity(9), ..binding("Other", "INBOX") };
    let renewed = ledger.bind(claim.account, &renewed).await.unwrap();
    ledger.renumber(beside, renewed, vec![(Uid(5), Uid(50))]).await.unwrap();
    let renumbered = [(mailbox, 9, with(9, key).entry), (renewed, 50, with(5, key).entry)];
    assert_eq!(twins(mailbox).await, renumbered);
}

pub(crate) async fn a_window_is_open_until_it_is_closed(place: impl Place) {
    let (ledger, claim, mailbox) = begin(&place).await;
    let (first, second) = (window(mailbox, claim, 1..=3), window(mailbox, claim, [7]));
    let first_id = ledger.open(&first).await.unwrap();
    let second_id = ledger.open(&second).await.unwrap();
    let open = ledger.open_windows(claim.account).await.unwrap();
    let open: Vec<_> = open.into_iter().map(|w| (w.id, w.window)).collect();
    assert_eq!(open, [(first_id, first), (second_id, second.clone())]);
    let date = open[1].1.messages[0].date.unwrap();
    assert_eq!((date.seconds(), date.offset_minutes()), (-1, -90));
    assert_eq!(uids(&ledger, mailbox).await, [0; 0], "nothing is known of them yet");

    ledger.close(first_id, mailbox, vec![copied(1), copied(2)]).await.unwrap();
    let open = ledger.open_windows(claim.account).await.unwrap();
    assert_eq!(
        open.into_iter().map(|w| (w.id, w.window)).collect::<Vec<_>>(),
        [(second_id, second)]
    );
    assert_eq!(uids(&ledger, mailbox).await, [1, 2]);
    let other = ledger.claim(&account("bob")).await.unwrap();
    assert_eq!(open_windows(&ledger, other.account).await, 0);
}

pub(crate) async fn closing_a_window_twice_changes_nothing(place: impl Place) {
    let (ledger, claim, mailbox) = begin(&place).await;
    let id = ledger.open(&window(mailbox, claim, [1])).await.unwrap();
    ledger.close(id, mailbox, vec![copied(1)]).await.unwrap();
    let late = outcome(1, entry(Fate::Pending, None, 10));
    ledger.close(id, mailbox, vec![late, copied(2)]).await.unwrap();
    let history = ledger.history(mailbox, ALL).await.unwrap();
    assert_eq!(history.iter().count(), 1);
    assert_eq!(history.get(Uid(1)), Some(&copied(1).entry));
}

pub(crate) async fn a_stale_claim_opens_no_window(place: impl Place) {
    let (ledger, stale, mailbox) = begin(&place).await;
    let taken = ledger.claim(&account("anna")).await.unwrap();
    let fault = ledger.open(&window(mailbox, stale, [1])).await.unwrap_err();
    assert_eq!(fault.scope, Scope::Account);
    assert_eq!(open_windows(&ledger, taken.account).await, 0);
    ledger.open(&window(mailbox, taken, [1])).await.unwrap();
}

pub(crate) async fn window_ids_are_never_used_twice(place: impl Place) {
    let (ledger, claim, mailbox) = begin(&place).await;
    let mut last = None;
    for uid in 1..5 {
        let id = ledger.open(&window(mailbox, claim, [uid])).await.unwrap();
        ledger.close(id, mailbox, Vec::new()).await.unwrap();
        assert!(Some(id) > last);
        last = Some(id);
    }
}

pub(crate) async fn claims_are_of_the_target_mailbox_whatever_the_source(place: impl Place) {
    let (ledger, claim, mailbox) = begin(&place).await;
    let second = ledger.bind(claim.account, &binding("Old", "INBOX")).await.unwrap();
    let elsewhere = ledger.bind(claim.account, &binding("Sent", "Sent")).await.unwrap();
    // Another account's mailbox of the same name.
    let stranger = ledger.claim(&account("carl")).await.unwrap();
    let strange = ledger.bind(stranger.account, &binding("INBOX", "INBOX")).await.unwrap();
    for (mailbox, uids) in
        [(mailbox, 1..=3), (second, 10..=11), (elsewhere, 20..=20), (strange, 40..=40)]
    {
        ledger.record(mailbox, uids.map(copied).collect()).await.unwrap();
    }
    let unclaimed = outcome(4, entry(Fate::Pending, None, 1));
    ledger.record(mailbox, vec![unclaimed]).await.unwrap();
    let expected: Vec<_> = [1_002, 1_003, 1_010, 1_011].map(Uid).into();
    assert_eq!(ledger.claimed(mailbox, Uid(1_002)).await.unwrap(), expected);
    assert_eq!(ledger.claimed(elsewhere, Uid::FIRST).await.unwrap(), [Uid(1_020)]);
}

pub(crate) async fn claims_under_another_validity_do_not_count(place: impl Place) {
    let (ledger, claim, mailbox) = begin(&place).await;
    ledger.record(mailbox, vec![copied(1)]).await.unwrap();
    let mut reborn = binding("Old", "INBOX");
    reborn.target_validity = Some(UidValidity(10));
    let reborn = ledger.bind(claim.account, &reborn).await.unwrap();
    ledger.record(reborn, vec![copied(2)]).await.unwrap();
    assert_eq!(ledger.claimed(mailbox, Uid::FIRST).await.unwrap(), [Uid(1_001)]);
    assert_eq!(ledger.claimed(reborn, Uid::FIRST).await.unwrap(), [Uid(1_002)]);
}

pub(crate) async fn effects_come_in_the_order_of_calls(place: impl Place) {
    let (ledger, _, mailbox) = begin(&place).await;
    for size in 1..=500 {
        let outcome = outcome(1, entry(Fate::Copied, None, size));
        ledger.record(mailbox, vec![outcome]).await.unwrap();
        if size % 100 == 0 {
            let history = ledger.history(mailbox, ALL).await.unwrap();
            assert_eq!(history.get(Uid(1)).unwrap().size, size);
        }
    }
}

pub(crate) async fn a_snapshot_adds_up(place: impl Place) {
    let (ledger, claim, mailbox) = begin(&place).await;
    let scan = ScanTotals { messages: 10, bytes: 1_000, vanished: 2, uid_next: 11 };
    ledger.scanned(mailbox, scan).await.unwrap();
    ledger.bind(claim.account, &binding("A/B", "A/B")).await.unwrap();
    let outcomes = [
        (1, Fate::Copied, 100),
        (2, Fate::Copied, 50),
        (3, Fate::Refused, 300),
        (4, Fate::Pending, 20),
        (5, Fate::Gone, 0),
    ];
    let outcomes = outcomes.map(|(uid, fate, size)| outcome(uid, entry(fate, Some(uid), size)));
    ledger.record(mailbox, outcomes.into()).await.unwrap();
    ledger.set_mailbox_fault(mailbox, Some("full".to_owned())).await.unwrap();

    let snapshot = ledger.snapshot().await.unwrap();
    let mailboxes = &snapshot.accounts[0].mailboxes;
    assert_eq!(mailboxes[0].source, MailboxPath::new(["A", "B"]), "by source path");
    assert!(mailboxes[0].fates.is_empty());
    let inbox = &mailboxes[1];
    let count = |messages, bytes| Count { messages, bytes };
    let expected = [
        (Fate::Copied, count(2, 150)),
        (Fate::Refused, count(1, 300)),
        // Three were seen and never touched; one is recorded so.
        (Fate::Pending, count(4, 550)),
        (Fate::Gone, count(3, 0)),
    ];
    assert_eq!(inbox.fates, expected.into());
    assert_eq!(inbox.fates.values().map(|c| c.messages).sum::<u64>(), inbox.messages);
    assert_eq!(inbox.fates.values().map(|c| c.bytes).sum::<u64>(), scan.bytes);
    assert_eq!(inbox.fault.as_deref(), Some("full"));

    ledger.set_mailbox_fault(mailbox, None).await.unwrap();
    let snapshot = ledger.snapshot().await.unwrap();
    assert_eq!(snapshot.accounts[0].mailboxes[1].fault, None);
}

pub(crate) async fn a_snapshot_never_counts_below_zero(place: impl Place) {
    let (ledger, _, mailbox) = begin(&place).await;
    ledger.record(mailbox, (1..=3).map(copied).collect()).await.unwrap();
    let scan = ScanTotals { messages: 2, bytes: 1, vanished: 0, uid_next: 3 };
    ledger.scanned(mailbox, scan).await.unwrap();
    let snapshot = ledger.snapshot().await.unwrap();
    let inbox = &snapshot.accounts[0].mailboxes[0];
    let three = Count { messages: 3, bytes: 30 };
    assert_eq!(inbox.fates, [(Fate::Copied, three)].into());
    assert_eq!(inbox.messages, 2, "so that whoever adds up sees it");
    // While no scan was whole, it is a count of what there is at least.
    ledger.scanned(mailbox, ScanTotals { uid_next: 0, vanished: 1, ..scan }).await.unwrap();
    let snapshot = ledger.snapshot().await.unwrap();
    assert_eq!(snapshot.accounts[0].mailboxes[0].messages, 4);
}

pub(crate) async fn windows_in_doubt_count_as_pending(place: impl Place) {
    let (ledger, claim, mailbox) = begin(&place).await;
    let scan = ScanTotals { messages: 5, bytes: 50, vanished: 0, uid_next: 6 };
    ledger.scanned(mailbox, scan).await.unwrap();
    let pending = outcome(2, entry(Fate::Pending, None, 10));
    ledger.record(mailbox, vec![pending]).await.unwrap();
    let id = ledger.open(&window(mailbox, claim, 1..=3)).await.unwrap();
    ledger.record(mailbox, vec![copied(1)]).await.unwrap();
    let inbox = ledger.snapshot().await.unwrap().accounts.remove(0).mailboxes.remove(0);
    assert_eq!(inbox.in_doubt, 2);
    assert_eq!(inbox.fates[&Fate::Pending].messages, 4);
    ledger.close(id, mailbox, vec![copied(2), copied(3)]).await.unwrap();
    let inbox = ledger.snapshot().await.unwrap().accounts.remove(0).mailboxes.remove(0);
    assert_eq!(inbox.in_doubt, 0);
    assert_eq!(inbox.fates[&Fate::Pending].messages, 2);
}

pub(crate) async fn a_pass_counts_when_the_account_is_done(place: impl Place) {
    let (ledger, claim, _) = begin(&place).await;
    for (state, passes) in [
        (AccountState::Stopped, 0),
        (AccountState::Done, 1),
        (AccountState::Failed, 1),
        (AccountState::Done, 2),
        (AccountState::Waiting, 2),
    ] {
        let reason = Some(format!("{state:?}"));
        ledger.set_account_state(claim.account, state, reason.clone()).await.unwrap();
        let account = ledger.snapshot().await.unwrap().accounts.remove(0);
        assert_eq!((account.state, account.passes), (state, passes));
        assert_eq!(account.reason, reason);
        assert!(account.changed > 1_700_000_000);
    }
}

pub(crate) async fn remarks_are_replaced_with_their_outcome(place: impl Place) {
    let (ledger, _, mailbox) = begin(&place).await;
    let mut refused = outcome(1, entry(Fate::Refused, None, 77));
    refused.remarks = vec![
        Remark::new(RemarkKind::FlagsReduced, "Work"),
        Remark::new(RemarkKind::Reason, "NO too big"),
        Remark::new(RemarkKind::FlagsReduced, "Play"),
    ];
    refused.subject = Some("Hello".to_owned());
    ledger.record(mailbox, vec![refused]).await.unwrap();
    let rows = ledger.remarks(None, 10).await.unwrap();
    let said: Vec<_> = rows.iter().map(|r| (r.remark.kind, r.remark.text.as_str())).collect();
    let expected = [(RemarkKind::Reason, "NO too big"), (RemarkKind::FlagsReduced, "Work; Play")];
    assert_eq!(said, expected);
    assert_eq!((rows[0].fate, rows[0].size), (Fate::Refused, 77));
    assert_eq!(rows[0].subject.as_deref(), Some("Hello"));
    assert_eq!((rows[0].account.as_str(), rows[0].uid), ("anna", Uid(1)));
    assert_eq!(rows[0].mailbox, MailboxPath::inbox());
    assert_eq!(rows[0].date, entry(Fate::Copied, None, 0).date);
    let inbox = ledger.snapshot().await.unwrap().accounts.remove(0).mailboxes.remove(0);
    assert_eq!(inbox.remarks, [(RemarkKind::FlagsReduced, 1)].into(), "reasons left out");

    ledger.record(mailbox, vec![copied(1)]).await.unwrap();
    assert_eq!(ledger.remarks(None, 10).await.unwrap(), []);
}

pub(crate) async fn remarks_are_listed_in_pages_without_a_gap(place: impl Place) {
    let ledger = place.open().await.unwrap();
    let mut expected = Vec::new();
    // Bound against the order of the listing.
    for key in ["zoe", "anna"] {
        let claim = ledger.claim(&account(key)).await.unwrap();
        for name in ["b", "a/b", "a"] {
            let mailbox = ledger.bind(claim.account, &binding(name, name)).await.unwrap();
            let outcomes = (1..=5).map(|uid| {
                let mut outcome = copied(uid);
                let kinds = RemarkKind::ALL.into_iter().take(uid as usize - 1);
                outcome.remarks = kinds.map(|kind| Remark::new(kind, "x")).collect();
                let path = MailboxPath::new(name.split('/'));
                expected.extend(outcome.remarks.iter().map(|r| (key, path.clone(), uid, r.kind)));
                outcome
            });
            ledger.record(mailbox, outcomes.collect()).await.unwrap();
        }
    }
    expected.sort();
    for limit in [1, 2, 7, expected.len(), 1_000] {
        let mut rows: Vec<RemarkRow> = Vec::new();
        loop {
            let page = ledger.remarks(rows.last().map(|row| row.cursor), limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            rows.extend(page);
        }
        let listed =
            rows.iter().map(|r| (r.account.as_str(), r.mailbox.clone(), r.uid.0, r.remark.kind));
        assert_eq!(listed.collect::<Vec<_>>(), expected, "{limit} a page");
    }
}

pub(crate) async fn many_handles_write_at_once(place: impl Place) {
    let (ledger, claim, mailbox) = begin(&place).await;
    let work = |lane: u32| {
        let ledger = ledger.clone();
        async move {
            for i in 0..20 {
                let uid = lane * 1_000 + i;
                let id = ledger.open(&window(mailbox, claim, [uid])).await.unwrap();
                ledger.close(id, mailbox, vec![copied(uid)]).await.unwrap();
            }
        }
    };
    futures_util::future::join_all((0..8).map(work)).await;
    assert_eq!(uids(&ledger, mailbox).await.len(), 160);
    assert_eq!(open_windows(&ledger, claim.account).await, 0);
}

pub(crate) async fn an_open_window_survives_a_crash_and_so_does_what_was_queued_before_it(
    place: impl Durable,
) {
    let (ledger, claim, mailbox) = begin(&place).await;
    ledger.record(mailbox, vec![copied(1)]).await.unwrap();
    let before = ledger.open(&window(mailbox, claim, [2])).await.unwrap();
    ledger.close(before, mailbox, vec![copied(2)]).await.unwrap();
    let wanted = window(mailbox, claim, 3..=5);
    let id = ledger.open(&wanted).await.unwrap();
    let found = place.crash().open().await.unwrap();
    let open = found.open_windows(claim.account).await.unwrap();
    assert_eq!(open.into_iter().map(|w| (w.id, w.window)).collect::<Vec<_>>(), [(id, wanted)]);
    assert_eq!(uids(&found, mailbox).await, [1, 2]);
}

pub(crate) async fn every_barrier_survives_a_crash(place: impl Durable) {
    let ledger = place.open().await.unwrap();
    let claim = ledger.claim(&account("anna")).await.unwrap();
    let found = place.crash().open().await.unwrap();
    assert_eq!(found.snapshot().await.unwrap(), ledger.snapshot().await.unwrap());
    let mailbox = ledger.bind(claim.account, &binding("a", "b")).await.unwrap();
    let found = place.crash().open().await.unwrap();
    assert_eq!(found.mailboxes(claim.account).await.unwrap()[0].id, mailbox);
    ledger.record(mailbox, vec![copied(1)]).await.unwrap();
    ledger.set_account_state(claim.account, AccountState::Done, None).await.unwrap();
    let found = place.crash().open().await.unwrap();
    assert_eq!(found.snapshot().await.unwrap(), ledger.snapshot().await.unwrap());
    ledger.record(mailbox, vec![copied(2)]).await.unwrap();
    ledger.flush().await.unwrap();
    let found = place.crash().open().await.unwrap();
    assert_eq!(uids(&found, mailbox).await, [1, 2]);
    // A claim by whoever comes next is newer than all before.
    assert_eq!(found.claim(&account("anna")).await.unwrap().epoch, claim.epoch + 1);
}

pub(crate) async fn what_was_queued_reaches_the_disk_soon_without_a_barrier(place: impl Durable) {
    let (ledger, _, mailbox) = begin(&place).await;
    ledger.record(mailbox, vec![copied(1)]).await.unwrap();
    soon_on_the_disk(&place, mailbox, 1).await;
    drop(ledger);
}

pub(crate) async fn dropping_the_last_handle_loses_nothing(place: impl Durable) {
    let (ledger, _, mailbox) = begin(&place).await;
    ledger.record(mailbox, (1..=5_000).map(copied).collect()).await.unwrap();
    ledger.record(mailbox, vec![copied(5_001)]).await.unwrap();
    drop(ledger);
    soon_on_the_disk(&place, mailbox, 5_001).await;
}

/// Looks until so many messages are found after a crash; how soon depends on the machine. A look
/// at files that are just being written may fail.
async fn soon_on_the_disk(place: &impl Durable, mailbox: MailboxId, messages: usize) {
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if let Ok(found) = place.crash().open().await
            && let Ok(history) = found.history(mailbox, ALL).await
            && history.iter().count() == messages
        {
            return;
        }
    }
    panic!("not on the disk after 5 s");
}
