//! What `mailhaul tune` finds on a real server, and leaves there.

use crate::dump::Dump;
use crate::harness::dovecot::Options;
use crate::harness::{Server, available, dovecot};
use crate::messages::{Contents, Manner};
use crate::product::{Account, Link, Migration, exit};

#[test]
fn a_dovecot_is_measured_up_to_its_wall_and_left_as_it_was() {
    if !available() {
        return;
    }
    let few = || dovecot::start(&Options { connections_max: 3, ..Options::default() });
    let (source, target) = (few(), few());
    Contents::new(5, 200, Manner::Awkward).store(&mut source.client("u0001"));
    let seen = |server: &Server| {
        let mut client = server.client("u0001");
        (Dump::read(&mut client), client.uid_nexts())
    };
    let before = [seen(&source), seen(&target)];
    let account = Account::new("u0001", (&source, Link::Tls), (&target, Link::Tls));
    let migration = Migration::new(&[account]).trusting(&[&source, &target]);
    let ran = migration.command_expecting("tune", &["--write"], exit::ALL_THERE);
    let text = ran.data();
    assert!(text.contains("Settings: --accounts 1 --connections "), "{text}");
    // More connections than these bring nothing on some machines: then the wall is not reached.
    for wall in text.lines().filter_map(|line| line.strip_prefix("  no more than ")) {
        assert!(wall.starts_with("3 connections: cannot log in"), "{text}");
    }
    assert_eq!([seen(&source), seen(&target)], before);
}
