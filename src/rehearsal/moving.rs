//! MOVE (RFC 6851), and DELETE, which has to do with it.
//!
//! A MOVE copies and expunges one message after the other. Mostly nobody sees that; a fault can
//! make it slow, break it off between two pieces, or have it go on when the client is gone.

use std::time::Duration;

use imap_codec::imap_types::mailbox::Mailbox as Name;
use tokio::sync::oneshot;

use super::change::gone;
use super::command::Set;
use super::fault::{Deed, Slowness};
use super::mailbox::StoredMessage;
use super::names::Path;
use super::session::{Reply, Session};
use super::store::Store;
use super::tree::{Refusal, Tree};
use super::wire::Gone;

/// What a MOVE is about to do. It has read its messages, as real servers have when they begin.
struct Moving {
    from: Path,
    /// The number of the mailbox they come from: what has its name later may be another one.
    id: u64,
    into: Path,
    messages: Vec<StoredMessage>,
    course: Course,
}

/// How a MOVE goes.
#[derive(Clone, Copy, Default)]
struct Course {
    slowness: Slowness,
    /// After so many pieces the server breaks down.
    pieces_max: Option<usize>,
    /// After so many messages it refuses the rest.
    messages_max: Option<usize>,
    /// Whether all copies are stored before the first message is expunged.
    copies_first: bool,
    /// Whether nothing is expunged at all.
    keeps: bool,
}

/// How a MOVE ended.
enum Moved {
    /// With the UIDVALIDITY and the UIDs there.
    Whole(u32, Vec<u32>),
    Part,
    BrokenOff,
    Refused(Refusal),
}

impl Session {
    pub(super) async fn r#move(
        &mut self,
        set: Option<&Set>,
        uid: bool,
        name: &Name<'_>,
    ) -> Result<Reply, Gone> {
        let moving = match self.prepare(set, uid, name) {
            Ok(moving) => moving,
            Err(reply) => return Ok(reply),
        };
        let store = match self.store() {
            Ok(store) => store,
            Err(reply) => return Ok(reply),
        };
        let sources: Vec<u32> = moving.messages.iter().map(|stored| stored.uid).collect();
        let slow = moving.course.slowness;
        let moved = if slow == Slowness::default() {
            store.change(|tree| moving.at_once(tree))
        } else {
            self.wire.flush().await?;
            let (tell, told) = oneshot::channel();
            // Known before anybody can ask for the mailbox to be deleted.
            store.with(|tree| tree.moving.push(moving.id));
            self.shared.late().spawn(async move {
                let moved = moving.slowly(&store).await;
                // The session may be gone by now.
                let _ = tell.send(moved);
            });
            if slow.cut {
                return Err(Gone);
            }
            told.await.map_err(|_| Gone)?
        };
        Ok(match moved {
            Moved::Whole(uid_validity, uids) => {
                let code = self.copy_uid(uid_validity, &sources, uids);
                // Before the EXPUNGE of what was moved (RFC 6851 section 4.3).
                self.wire.put_line(format_args!("* OK {code}moved"));
                Reply::ok("done")
            }
            Moved::Part => Reply::no("[EXPUNGEISSUED] some messages were not moved"),
            Moved::BrokenOff => {
                self.cut = true;
                Reply::no("broken off")
            }
            Moved::Refused(refusal) => refusal.into(),
        })
    }

    /// Finds the messages, and what goes wrong with them.
    fn prepare(&mut self, set: Option<&Set>, uid: bool, name: &Name<'_>) -> Result<Moving, Reply> {
        let numbers = self.writable(set, uid)?;
        let into = self.named(name)?;
        let store = self.store()?;
        let selected = self.selected()?;
        let (path, id) = (&mut selected.path, selected.id);
        let messages = store.with(|tree| {
            let mailbox = tree.selected(path, id).ok_or_else(gone)?;
            let held = |&(_, uid): &(u32, u32)| mailbox.messages.get(&uid).cloned();
            let messages: Vec<StoredMessage> = numbers.iter().filter_map(held).collect();
            tree.target(&into)?;
            Ok::<_, Reply>(messages)
        })?;
        let from = path.clone();
        Ok(Moving { from, id, into, messages, course: self.course() })
    }

    fn course(&self) -> Course {
        let mut course = Course::default();
        let slowness = self.strike(|deed| match deed {
            Deed::SlowMove(slowness) => Some(*slowness),
            _ => None,
        });
        course.slowness = slowness.unwrap_or_default();
        let struck = self.strike(|deed| match deed {
            Deed::HalfMove => Some(Course { copies_first: true, ..course }),
            Deed::KeepMoved => Some(Course { keeps: true, ..course }),
            Deed::CutMove(pieces) => Some(Course { pieces_max: Some(*pieces), ..course }),
            Deed::PartMove(messages) => Some(Course { messages_max: Some(*messages), ..course }),
            _ => None,
        });
        struck.unwrap_or(course)
    }

    /// DELETE; it may have to wait for a MOVE.
    pub(super) async fn delete(&mut self, name: &Name<'_>) -> Reply {
        let (store, path) = match self.store().and_then(|store| Ok((store, self.named(name)?))) {
            Ok(found) => found,
            Err(reply) => return reply,
        };
        let mut changes = store.watch();
        while self.profile().delete_waits && store.with(|tree| tree.is_moving(&path)) {
            if changes.changed().await.is_err() {
                break;
            }
        }
        match store.delete_mailbox(&path) {
            Ok(()) => Reply::ok("deleted"),
            Err(refusal) => refusal.into(),
        }
    }
}

impl Moving {
    /// The pieces of the MOVE, each a message and whether it is copied or expunged.
    fn pieces(&self) -> Vec<(usize, bool)> {
        let course = self.course;
        let count = self.messages.len().min(course.messages_max.unwrap_or(usize::MAX));
        if course.copies_first || course.keeps {
            return (0..count).map(|index| (index, true)).collect();
        }
        let pieces = (0..count).flat_map(|index| [(index, true), (index, false)]);
        pieces.take(course.pieces_max.unwrap_or(usize::MAX)).collect()
    }

    /// Does one piece; `None` where it only expunged.
    fn piece(&self, tree: &mut Tree, piece: (usize, bool)) -> Option<Result<(u32, u32), Refusal>> {
        let (index, copies) = piece;
        let message = &self.messages[index];
        if copies {
            // What is only moved needs no new room.
            let quota = tree.quota_bytes.take();
            let copied = tree.copy(&self.into, std::slice::from_ref(message));
            tree.quota_bytes = quota;
            return Some(copied.map(|(uid_validity, uids)| (uid_validity, uids[0])));
        }
        let mut from = self.from.clone();
        if tree.selected(&mut from, self.id).is_some() {
            tree.remove(&from, message.uid);
        }
        None
    }

    fn at_once(&self, tree: &mut Tree) -> Moved {
        let mut copies = Vec::new();
        for piece in self.pieces() {
            match self.piece(tree, piece) {
                None => {}
                Some(Ok(copy)) => copies.push(copy),
                Some(Err(refusal)) => return Moved::Refused(refusal),
            }
        }
        self.ended(tree, &copies)
    }

    async fn slowly(&self, store: &Store) -> Moved {
        pause(self.course.slowness.before).await;
        let mut copies = Vec::new();
        let mut refused = None;
        for piece in self.pieces() {
            pause(self.course.slowness.piece).await;
            match store.change(|tree| self.piece(tree, piece)) {
                None => {}
                Some(Ok(copy)) => copies.push(copy),
                Some(Err(refusal)) => {
                    refused = Some(Moved::Refused(refusal));
                    break;
                }
            }
        }
        store.change(|tree| {
            if let Some(at) = tree.moving.iter().position(|id| *id == self.id) {
                tree.moving.swap_remove(at);
            }
            refused.unwrap_or_else(|| self.ended(tree, &copies))
        })
    }

    fn ended(&self, tree: &mut Tree, copies: &[(u32, u32)]) -> Moved {
        let Course { pieces_max, messages_max, copies_first, .. } = self.course;
        if copies_first || pieces_max.is_some() {
            return Moved::BrokenOff;
        }
        if messages_max.is_some() {
            return Moved::Part;
        }
        // A MOVE of nothing has no copy to tell it.
        let there = tree.target(&self.into).map_or(0, |mailbox| mailbox.uid_validity);
        let uid_validity = copies.first().map_or(there, |(uid_validity, _)| *uid_validity);
        Moved::Whole(uid_validity, copies.iter().map(|(_, uid)| *uid).collect())
    }
}

async fn pause(pause: Duration) {
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rehearsal::transcript::{Client, ann};
    use crate::rehearsal::{Fault, Message, Profile, Server};

    const STAGE: [&str; 1] = ["stage"];

    /// A client that has a mailbox with three messages selected.
    async fn staged(profile: Profile) -> (Server, Store, Client) {
        let (server, store, mut client) = ann(profile).await;
        for body in ["a", "b", "c"] {
            store.deliver(&STAGE, Message::new(body));
        }
        client.all("SELECT stage").await;
        (server, store, client)
    }

    fn bodies(store: &Store, path: &[&str]) -> Vec<String> {
        let messages = store.messages(path);
        messages.iter().map(|held| String::from_utf8(held.body.to_vec()).unwrap()).collect()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn arm(server: &Server, deed: Deed) {
        server.faults().arm(Fault::once(deed));
    }

    #[tokio::test]
    async fn a_move_broken_off_leaves_both() {
        let (server, store, mut client) = staged(Profile::dovecot()).await;
        arm(&server, Deed::HalfMove);
        assert_eq!(client.all("UID MOVE 1:3 INBOX").await, "");
        assert_eq!((bodies(&store, &STAGE).len(), bodies(&store, &["INBOX"]).len()), (3, 3));
    }

    #[tokio::test]
    async fn a_move_is_broken_off_between_any_two_pieces() {
        for pieces in 0..=6 {
            let (server, store, mut client) = staged(Profile::dovecot()).await;
            arm(&server, Deed::CutMove(pieces));
            assert_eq!(client.all("UID MOVE 1:3 INBOX").await, "");
            assert_eq!(bodies(&store, &["INBOX"]).len(), pieces.div_ceil(2));
            assert_eq!(bodies(&store, &STAGE).len(), 3 - pieces / 2);
        }
    }

    #[tokio::test]
    async fn a_move_may_be_refused_when_part_of_it_is_done() {
        let (server, store, mut client) = staged(Profile::dovecot()).await;
        arm(&server, Deed::PartMove(2));
        let told = client.all("UID MOVE 1:3 INBOX").await;
        assert!(told.starts_with("* 1 EXPUNGE\n* 1 EXPUNGE\nNO [EXPUNGEISSUED]"), "{told}");
        assert_eq!(bodies(&store, &STAGE), ["c"]);
        assert_eq!(bodies(&store, &["INBOX"]), ["a", "b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_move_goes_on_when_its_client_and_its_mailbox_are_gone() {
        let (server, store, mut client) = staged(Profile::dovecot()).await;
        let slowness = Slowness { before: seconds(10), piece: seconds(1), cut: true };
        arm(&server, Deed::SlowMove(slowness));
        assert_eq!(client.all("UID MOVE 1:3 INBOX").await, "");
        tokio::time::sleep(Duration::from_millis(12_500)).await;
        assert_eq!(
            (bodies(&store, &STAGE), bodies(&store, &["INBOX"])),
            (vec!["b".to_owned(), "c".to_owned()], vec!["a".to_owned()])
        );
        let mut other = Client::logged_in(&server).await;
        assert_eq!(other.last("DELETE stage").await, "OK deleted");
        assert_eq!(bodies(&store, &["INBOX"]), ["a"]);
        // Not what it began with, though it has its name.
        other.last("CREATE stage").await;
        store.deliver(&STAGE, Message::new("d"));
        server.settle().await;
        assert_eq!(bodies(&store, &["INBOX"]), ["a", "b", "c"]);
        assert_eq!(bodies(&store, &STAGE), ["d"]);
    }

    #[tokio::test(start_paused = true)]
    async fn where_delete_waits_for_a_move_nothing_arrives_after_it() {
        let (server, store, mut client) = staged(Profile::cyrus()).await;
        let slowness = Slowness { before: seconds(10), piece: seconds(1), cut: false };
        arm(&server, Deed::SlowMove(slowness));
        client.send("a UID MOVE 1:3 INBOX\r\n").await;
        tokio::time::sleep(seconds(1)).await;
        let mut other = Client::logged_in(&server).await;
        assert_eq!(other.last("DELETE stage").await, "OK deleted");
        assert_eq!(bodies(&store, &["INBOX"]), ["a", "b", "c"]);
        assert_eq!(client.line().await, "* OK [COPYUID 1000000 1:3 1:3] moved");
    }

    #[tokio::test]
    async fn a_copy_has_the_identity_of_its_original_where_the_server_knows_any() {
        let (_, store, mut client) = staged(Profile::dovecot()).await;
        store.deliver(&STAGE, Message::new("a"));
        let ids = |told: String| -> Vec<String> {
            let of = |line: &str| Some(line.split_once("X-GUID ")?.1.to_owned());
            told.lines().filter_map(of).collect()
        };
        client.all("NOOP").await;
        let before = ids(client.all("UID FETCH 1:* (UID X-GUID)").await);
        client.all("UID MOVE 1 INBOX").await;
        client.all("UID COPY 2 INBOX").await;
        client.all("SELECT INBOX").await;
        let after = ids(client.all("FETCH 1:* X-GUID").await);
        assert_eq!(after, before[..2]);
        // Equal messages are two.
        assert_ne!(before[0], before[3]);
        assert!(client.last("UID FETCH 1 (EMAILID)").await.starts_with("BAD"));

        let (_, store, mut client) = staged(Profile::cyrus()).await;
        store.deliver(&STAGE, Message::new("a"));
        client.all("NOOP").await;
        let told = client.all("UID FETCH 1,4 (EMAILID)").await;
        let ids: Vec<_> = told.lines().filter_map(|line| line.split_once("EMAILID ")).collect();
        assert_eq!(ids[0].1, ids[1].1);
    }

    #[tokio::test]
    async fn a_mailbox_name_can_be_refused() {
        let (server, _, mut client) = ann(Profile::dovecot()).await;
        server.faults().arm(Fault::always(Deed::RefuseCreate("stage-".to_owned())));
        assert!(client.last("CREATE stage-1").await.starts_with("NO [CANNOT]"));
        assert!(client.last("CREATE x/stage-1").await.starts_with("NO [CANNOT]"));
        assert_eq!(client.last("CREATE stage").await, "OK created");
    }
}
