use super::*;
use crate::mail::Namespaces;
use crate::plan::rules::{MapRule, Pattern};
use proptest::prelude::*;

const SLASHES: Naming = Naming { forbidden: Some('/'), nested: true, foreign: Vec::new() };
const DOTS: Naming = Naming { forbidden: Some('.'), nested: true, foreign: Vec::new() };

fn path(text: &str) -> MailboxPath {
    MailboxPath::parse(text).expect(text)
}

fn mailbox(path: &str, special_use: Option<SpecialUse>) -> Mailbox {
    Mailbox {
        path: MailboxPath::new(path.split('/')),
        name: WireName(path.as_bytes().to_vec()),
        special_use,
        selectable: true,
        subscribed: false,
        namespace: Namespace::Personal,
    }
}

fn targets(pairs: &[Pair]) -> Vec<(String, String)> {
    pairs.iter().map(|p| (p.source.path.to_string(), p.target.to_string())).collect()
}

/// What is asked for, to be borrowed.
#[derive(Debug, Default)]
struct Asked {
    rules: Rules,
    source_root: Option<MailboxPath>,
    target_root: Option<MailboxPath>,
    fixed: BTreeMap<WireName, MailboxPath>,
}

impl Asked {
    fn map(rules: &[&str]) -> Self {
        let map = rules.iter().map(|rule| MapRule::parse(rule).expect(rule)).collect();
        let rules = Rules { map, ..Rules::default() };
        Self { rules, ..Self::default() }
    }

    fn plan(&self, source: &[Mailbox], target: &[Mailbox], naming: &Naming) -> Plan {
        let Self { rules, source_root, target_root, fixed } = self;
        let (source_root, target_root) = (source_root.as_ref(), target_root.as_ref());
        super::plan(
            source,
            target,
            naming,
            Wishes {
                rules,
                has_labels: false,
                beyond_all: &<_>::default(),
                source_root,
                target_root,
                fixed,
            },
        )
    }

    fn targets(&self, source: &[Mailbox], target: &[Mailbox]) -> Vec<(String, String)> {
        targets(&self.plan(source, target, &SLASHES).pairs)
    }
}

fn plan(source: &[Mailbox], target: &[Mailbox], naming: &Naming) -> Vec<(String, String)> {
    targets(&Asked::default().plan(source, target, naming).pairs)
}

fn to(source: &str, target: &str) -> (String, String) {
    (source.to_owned(), target.to_owned())
}

#[test]
fn special_uses_meet_and_their_children_follow() {
    let source = [
        mailbox("INBOX", None),
        mailbox("Sent", Some(SpecialUse::Sent)),
        mailbox("Sent/2019", None),
        mailbox("Sent Items", None),
    ];
    let target = [mailbox("Sent Items", Some(SpecialUse::Sent)), mailbox("INBOX", None)];
    assert_eq!(
        plan(&source, &target, &SLASHES),
        [
            to("INBOX", "INBOX"),
            to("Sent", "Sent Items"),
            to("Sent/2019", "Sent Items/2019"),
            to("Sent Items", "Sent Items (2)"),
        ]
    );
}

#[test]
fn a_view_of_all_mail_is_no_place_to_put_mail() {
    let source = [mailbox("All", Some(SpecialUse::All))];
    let target = [mailbox("Everything", Some(SpecialUse::All))];
    assert_eq!(plan(&source, &target, &SLASHES), [to("All", "All")]);
}

#[test]
fn names_that_only_a_delimiter_tells_apart_stay_apart() {
    let source = [mailbox("a.b", None), mailbox("a/b", None), mailbox("a_b", None)];
    assert_eq!(
        plan(&source, &[], &DOTS),
        [to("a/b", "a/b"), to("a.b", "a_b"), to("a_b", "a_b (2)")]
    );
}

#[test]
fn what_earlier_runs_fixed_stays() {
    let source = [mailbox("Sent", Some(SpecialUse::Sent)), mailbox("Old", None)];
    let target = [mailbox("Sent Items", Some(SpecialUse::Sent))];
    let fixed = BTreeMap::from([(WireName(b"Sent".to_vec()), MailboxPath::new(["Old"]))]);
    let asked = Asked { fixed, ..Asked::map(&["Sent=New"]) };
    let pairs = asked.plan(&source, &target, &SLASHES).pairs;
    assert_eq!(targets(&pairs), [to("Old", "Old (2)"), to("Sent", "Old")]);
    assert_eq!(pairs[1].why(), "as in earlier runs; the rule Sent=New comes too late");
}

#[test]
fn mailboxes_of_others_are_left_out() {
    let shared = Mailbox { namespace: Namespace::Others, ..mailbox("Shared/a", None) };
    assert_eq!(plan(&[shared, mailbox("b", None)], &[], &SLASHES), [to("b", "b")]);
}

#[test]
fn mailboxes_of_others_go_to_own_ones_where_they_are_asked_for() {
    let foreign = |path, namespace, special_use| {
        let mailbox = mailbox(path, special_use);
        let name = WireName([b"#".to_vec(), mailbox.name.0].concat());
        Mailbox { namespace, name, ..mailbox }
    };
    let source = [
        foreign("Shared/a", Namespace::Shared, None),
        foreign("Users/bob/INBOX", Namespace::Others, None),
        foreign("Users/bob/Sent", Namespace::Others, Some(SpecialUse::Sent)),
        mailbox("INBOX", None),
        mailbox("Mine", Some(SpecialUse::Sent)),
        mailbox("Users/bob/INBOX", None),
    ];
    let target = [
        Mailbox { namespace: Namespace::Shared, ..mailbox("Shared/a", None) },
        mailbox("Sent", Some(SpecialUse::Sent)),
    ];
    let namespaces = Namespaces { others: true, shared: true, ..Namespaces::default() };
    let asked = |namespaces| {
        let rules = Rules { namespaces, ..Rules::default() };
        Asked { rules, ..Asked::default() }
    };
    let naming = Naming { foreign: vec![path("Shared")], ..SLASHES };
    let pairs = asked(namespaces).plan(&source, &target, &naming).pairs;
    assert_eq!(
        targets(&pairs),
        [
            to("INBOX", "INBOX"),
            to("Mine", "Sent"),
            to("Users/bob/INBOX", "Users/bob/INBOX"),
            to("Users/bob/INBOX", "Users/bob/INBOX (2)"),
            to("Users/bob/Sent", "Users/bob/Sent"),
            to("Shared/a", "Shared (2)/a"),
        ]
    );
    let why = "same name, by --namespaces shared, renamed: at the target such names are not the \
               account's own";
    assert_eq!(pairs[5].why(), why);
    assert_eq!((pairs[5].existing.clone(), pairs[4].make_for), (None, None));
    let only = Namespaces { personal: false, others: false, shared: true };
    let plan = asked(only).plan(&source, &target, &SLASHES);
    assert_eq!(targets(&plan.pairs), [to("Shared/a", "Shared/a")]);
    let because = Because::NotAsked(Namespace::Personal).to_string();
    assert_eq!(because, "it is the account's own, and --namespaces does not mean it");
    assert_eq!(plan.left_out.len(), 5);
}

#[test]
fn mailboxes_that_hold_nothing_are_left_out() {
    let parent = Mailbox { selectable: false, ..mailbox("a", None) };
    assert_eq!(plan(&[parent, mailbox("a/b", None)], &[], &SLASHES), [to("a/b", "a/b")]);
}

/// D03
#[test]
fn of_two_inboxes_one_is_the_inbox() {
    let below = Mailbox { name: WireName(b"INBOX.inbox".to_vec()), ..mailbox("INBOX", None) };
    let source = [below, mailbox("INBOX", None), mailbox("inbox/a", None)];
    let pairs = Asked::default().plan(&source, &[mailbox("INBOX", None)], &SLASHES).pairs;
    let expected = [to("INBOX", "INBOX"), to("INBOX", "INBOX (2)"), to("INBOX/a", "INBOX/a")];
    assert_eq!(targets(&pairs), expected);
    assert_eq!(pairs[0].source.name, WireName(b"INBOX".to_vec()));
    assert_eq!(pairs[1].renamed, Some(Renamed::Taken));
}

/// D14
#[test]
fn a_mailbox_that_is_listed_twice_is_one() {
    assert_eq!(plan(&[mailbox("a", None), mailbox("a", None)], &[], &SLASHES), [to("a", "a")]);
}

#[test]
fn names_tell_what_no_attribute_says_on_either_side() {
    let source =
        [mailbox("Gesendet", None), mailbox("Gesendet/2019", None), mailbox("Corbeille", None)];
    for target in [
        [mailbox("Sent Items", None), mailbox("Papelera", None)],
        [
            mailbox("Sent Items", Some(SpecialUse::Sent)),
            mailbox("Papelera", Some(SpecialUse::Trash)),
        ],
    ] {
        let expected = [
            to("Corbeille", "Papelera"),
            to("Gesendet", "Sent Items"),
            to("Gesendet/2019", "Sent Items/2019"),
        ];
        assert_eq!(plan(&source, &target, &SLASHES), expected);
    }
    let made = Asked::default().plan(&source, &[], &SLASHES).pairs;
    assert_eq!(made[1].make_for, Some(SpecialUse::Sent));
    assert_eq!((made[0].special_use, made[2].make_for), (Some(SpecialUse::Trash), None));
}

#[test]
fn an_attribute_goes_before_every_name() {
    let source = [mailbox("Sent", None), mailbox("x", Some(SpecialUse::Sent))];
    let target = [mailbox("Gesendet", Some(SpecialUse::Sent)), mailbox("Sent", None)];
    assert_eq!(plan(&source, &target, &SLASHES), [to("Sent", "Sent"), to("x", "Gesendet")]);
}

#[test]
fn a_name_on_the_target_is_meant_for_the_mailbox_of_that_name() {
    let source = [mailbox("Sent", None), mailbox("x", Some(SpecialUse::Sent))];
    assert_eq!(
        plan(&source, &[mailbox("Sent", None)], &SLASHES),
        [to("Sent", "Sent"), to("x", "x")]
    );
}

#[test]
fn rules_go_first_and_take_no_other_s_place() {
    let source =
        [mailbox("New", None), mailbox("Old", None), mailbox("Old/a", None), mailbox("Sent", None)];
    let target = [mailbox("Sent Items", Some(SpecialUse::Sent))];
    assert_eq!(
        Asked::map(&["old=New", "Sent=Post/Sent"]).targets(&source, &target),
        [to("New", "New"), to("Old", "New (2)"), to("Old/a", "New (2)/a"), to("Sent", "Post/Sent")]
    );
    let mut merging = Asked::map(&["old=New"]);
    merging.rules.merge = true;
    let merged = merging.targets(&source, &target);
    assert_eq!(merged[1..3], [to("Old", "New"), to("Old/a", "New/a")]);
}

#[test]
fn mailboxes_can_change_places() {
    let source = [mailbox("INBOX", None), mailbox("a", None), mailbox("b", None)];
    assert_eq!(
        Asked::map(&["a=b", "b=INBOX", "INBOX=a"]).targets(&source, &[]),
        [to("INBOX", "a"), to("a", "b"), to("b", "INBOX")]
    );
}

#[test]
fn what_is_below_a_mapped_place_goes_with_it_though_it_is_not_there() {
    let parent = Mailbox { selectable: false, ..mailbox("Old", None) };
    assert_eq!(
        Asked::map(&["Old=New"]).targets(&[parent, mailbox("Old/a/b", None)], &[]),
        [to("Old/a/b", "New/a/b")]
    );
}

#[test]
fn merging_brings_all_of_one_use_together() {
    let source = [mailbox("Sent", None), mailbox("Sent Items", None), mailbox("a.b", None)];
    let target = [mailbox("Gesendet", Some(SpecialUse::Sent)), mailbox("a_b", None)];
    let mut asked = Asked::default();
    asked.rules.merge = true;
    let pairs = asked.plan(&source, &target, &DOTS).pairs;
    let expected = [to("Sent", "Gesendet"), to("Sent Items", "Gesendet"), to("a.b", "a_b")];
    assert_eq!(targets(&pairs), expected);
}

#[test]
fn what_is_left_out_is_told_with_the_rule() {
    let source = [
        mailbox("INBOX", None),
        mailbox("Papierkorb", None),
        mailbox("Papierkorb/a", None),
        mailbox("Work", None),
    ];
    let pattern = |text| Pattern::parse(text).expect(text);
    let mut asked = Asked::default();
    asked.rules.exclude = vec![pattern("DeletedItems/*")];
    let left_out = |asked: &Asked| {
        let left_out = asked.plan(&source, &[], &SLASHES).left_out;
        let told = |one: &LeftOut| (one.source.path.to_string(), one.because.to_string());
        left_out.iter().map(told).collect::<Vec<_>>()
    };
    let excluded = to("Papierkorb", "by --exclude DeletedItems/*");
    assert_eq!(left_out(&asked)[0], excluded);
    assert_eq!(left_out(&asked).len(), 2);
    asked.rules.include = vec![pattern("Inbox"), pattern("DeletedItems/*")];
    assert_eq!(left_out(&asked)[2], to("Work", "no --include means it"));
    assert_eq!(asked.targets(&source, &[]), [to("INBOX", "INBOX")]);
}

#[test]
fn roots_stand_for_the_account() {
    let user = Mailbox { namespace: Namespace::Others, ..mailbox("user/joe", None) };
    let sent = Mailbox {
        namespace: Namespace::Others,
        ..mailbox("user/joe/Sent", Some(SpecialUse::Sent))
    };
    let other = Mailbox { namespace: Namespace::Others, ..mailbox("user/ann", None) };
    let source = [mailbox("INBOX", None), user, sent, other];
    let target = [mailbox("Sent Items", Some(SpecialUse::Sent)), mailbox("INBOX", None)];
    let mut asked = Asked { source_root: Some(path("user/joe")), ..Asked::default() };
    let joe = [to("user/joe", "INBOX"), to("user/joe/Sent", "Sent Items")];
    assert_eq!(asked.targets(&source, &target), joe);
    asked.target_root = Some(path("Old mail"));
    let joe = [to("user/joe", "Old mail/INBOX"), to("user/joe/Sent", "Old mail/Sent")];
    assert_eq!(asked.targets(&source, &target), joe);
    assert!(asked.plan(&source, &target, &SLASHES).left_out.is_empty());
}

#[test]
fn a_root_with_an_inbox_in_it_keeps_its_name() {
    let source = [mailbox("Old", None), mailbox("Old/INBOX", None), mailbox("New", None)];
    let asked = Asked { source_root: Some(path("Old")), ..Asked::default() };
    assert_eq!(asked.targets(&source, &[]), [to("Old/INBOX", "INBOX"), to("Old", "Old")]);
}

/// D12
#[test]
fn a_name_that_is_refused_whole_gets_a_number_where_it_may_be_refused() {
    let names = |path: &str, taken: &[&str]| -> Vec<String> {
        let taken = taken.iter().map(|taken| self::path(taken)).collect();
        other_names(&self::path(path), &taken).iter().map(ToString::to_string).collect()
    };
    assert_eq!(names("Files", &["Files"]), ["Files (2)"]);
    assert_eq!(names("Files/a", &["Files/a"]), ["Files/a (2)", "Files (2)/a"]);
    assert_eq!(names("[Gmail]", &[]), ["_Gmail_", "_Gmail_ (2)"]);
    assert_eq!(names("~x ", &["_x"]), ["_x (2)"]);
    let long = "é".repeat(300);
    assert_eq!(names(&long, &[])[0], "é".repeat(60));
}

/// D01
#[test]
fn names_that_servers_take_for_one_are_alike() {
    for (one, other) in [("Trash", "trash"), ("a/B", "A/b"), ("x ", "x"), ("É", "é"), ("a:", "a?")]
    {
        assert!(are_alike(&MailboxPath::new(one.split('/')), &MailboxPath::new(other.split('/'))));
    }
    assert!(!are_alike(&path("a"), &path("b")) && !are_alike(&path("a/b"), &path("b")));
}

#[test]
fn plainer_names_lose_what_servers_refuse() {
    let path = MailboxPath::new(["quote\"name", "100%*", "🎉 party", "trailing dot.", "日本"]);
    assert_eq!(plainer(&path).names(), ["quote_name", "100__", "_ party", "trailing dot", "日本"]);
}

/// Names in which collisions of all kinds happen.
const NAMES: &str = "(sent|Sent|Gesendet|Drafts|INBOX|[ab._]{1,3})(/[ab._]{1,2}){0,2}";

fn some_use(number: u8) -> Option<SpecialUse> {
    [None, None, None, Some(SpecialUse::Sent), Some(SpecialUse::Drafts), Some(SpecialUse::All)]
        [usize::from(number) % 6]
}

prop_compose! {
    fn mailboxes()(
        mailboxes in prop::collection::btree_map(NAMES, any::<u8>(), 0..12),
    ) -> Vec<Mailbox> {
        mailboxes.iter().map(|(name, use_)| mailbox(name, some_use(*use_))).collect()
    }
}

prop_compose! {
    fn asked()(
        rules in prop::collection::vec("(sent|a|[ab]/\\*|INBOX)=(b|New|Sent|INBOX)", 0..3),
        root in prop::option::of("(Old|INBOX)"),
    ) -> Asked {
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        Asked { target_root: root.as_deref().map(path), ..Asked::map(&rules) }
    }
}

proptest! {
    #[test]
    fn no_two_source_mailboxes_share_a_target(
        source in mailboxes(),
        target in mailboxes(),
        asked in asked(),
    ) {
        for naming in [SLASHES, DOTS, Naming::of(None)] {
            let plan = asked.plan(&source, &target, &naming);
            prop_assert_eq!(plan.pairs.len() + plan.left_out.len(), source.len());
            let places: BTreeSet<&MailboxPath> = plan.pairs.iter().map(|pair| &pair.target).collect();
            prop_assert_eq!(places.len(), plan.pairs.len());
            let holds = |name: &String| naming.forbidden.is_some_and(|c| name.contains(c));
            for place in plan.pairs.iter().filter(|p| p.existing.is_none()).map(|p| &p.target) {
                prop_assert!(!place.names().iter().any(|name| name.is_empty() || holds(name)));
            }
        }
    }

    #[test]
    fn the_order_in_which_mailboxes_are_listed_changes_nothing(
        source in mailboxes(),
        target in mailboxes(),
        asked in asked(),
        turn in 0..12_usize,
    ) {
        let mut listed = source.clone();
        listed.rotate_left(turn.min(source.len()));
        let mut there = target.clone();
        there.reverse();
        let (one, other) =
            (asked.plan(&source, &target, &SLASHES), asked.plan(&listed, &there, &SLASHES));
        prop_assert_eq!(targets(&one.pairs), targets(&other.pairs));
    }

    #[test]
    fn planning_again_gives_the_same(
        source in mailboxes(),
        target in mailboxes(),
        asked in asked(),
        fixed in prop::collection::vec(any::<bool>(), 12),
        are_made_for_uses: bool,
    ) {
        let first = asked.plan(&source, &target, &SLASHES).pairs;
        // Everything was made, and messages were sent to some.
        let mut target = target;
        for pair in first.iter().filter(|pair| pair.existing.is_none()) {
            let special_use = pair.make_for.filter(|_| are_made_for_uses);
            let path = pair.target.to_string();
            target.retain(|there| there.path != pair.target);
            target.push(mailbox(&path, special_use));
        }
        let of_some = first.iter().zip(&fixed).filter(|(_, is_fixed)| **is_fixed);
        let fixed = of_some.map(|(pair, _)| (pair.source.name.clone(), pair.target.clone()));
        let asked = Asked { fixed: fixed.collect(), ..asked };
        let again = asked.plan(&source, &target, &SLASHES).pairs;
        let told = |pairs: &[Pair]| pairs.iter().map(Pair::why).collect::<Vec<_>>();
        prop_assert_eq!(
            targets(&again), targets(&first), "{:?} {:?} {:?}", told(&first), told(&again), asked
        );
        prop_assert!(again.iter().all(|pair| pair.existing.is_some()));
    }
}
