//! From a seed to a plan: what is there, what is asked for, and everything that goes wrong, as plain
//! data.

mod varied;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::config::{Adopt, Config, Delivery, LaterFlags, Moves, Surplus, Verify};
use crate::fault::Side;
use crate::plan::rules::{MapRule, Rules};
use crate::rehearsal::{
    AppendUidLie, BodyFault, Deed, Fault, InternalDate, Literal, Matching, Merging, Message,
    Predicate, Profile, Slowness,
};
use crate::repair::{Repairs, repair};

use super::dice::Dice;
use super::ledger::Failure;
use super::network::{Trouble, Way, What};

/// Settling in these worlds; what takes effect later than that is late.
pub const SETTLE: Duration = Duration::from_millis(100);

/// A world and what happens in it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What it was made from.
    pub seed: u64,
    /// What the source is like.
    pub source: Kind,
    /// What the target is like.
    pub target: Kind,
    /// Which mail is at the source.
    pub mail: Vec<Letter>,
    /// Which mail is at the target before.
    pub before: Vec<Letter>,
    /// What the target refuses at all times: messages in which one of these could be repaired.
    pub refused: Repairs,
    /// What is asked for.
    pub setup: Setup,
    /// Runs in which things go wrong. After them nothing does any more.
    pub runs: Vec<Run>,
}

/// What a server is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// After whom.
    pub after: &'static str,
    /// In what else.
    pub but: Vec<&'static str>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The mailbox it is in, by its number among [`MAILBOXES`].
    pub mailbox: usize,
    /// Messages of one number and shape are equal.
    pub number: u64,
    /// What is in it.
    pub shape: Shape,
    /// Its flags.
    pub flags: Vec<&'static str>,
    /// Its instant.
    pub unix_seconds: i64,
}

/// What is in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// What most have.
    Usual,
    /// A body of so many more octets.
    Large(usize),
    /// No header.
    Bare,
    /// Nothing at all.
    Empty,
    /// The header of its number, and another body.
    OtherBody(u64),
    /// No line end at its end, bare line feeds, 8-bit letters.
    Odd,
    /// 8-bit letters in its header.
    EightBit,
}

/// Where letters are.
pub const MAILBOXES: [&[&str]; 4] = [&["INBOX"], &["Archive"], &["Work", "2019"], &["Junk"]];
/// The other names that these get. An INBOX keeps its own (RFC 9051 section 6.3.6).
pub const RENAMED: [&[&str]; 4] = [&["INBOX"], &["Old"], &["Work", "Done"], &["Odd"]];

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// How messages are delivered.
    pub delivery: Delivery,
    /// Which are read back whole.
    pub verify: Verify,
    /// What is done about what is there before.
    pub adopt: Adopt,
    /// Whether later flags follow.
    pub later_flags: LaterFlags,
    /// What is done about second copies.
    pub surplus: Surplus,
    /// Whether copies follow what is moved at the source.
    pub moves: Moves,
    /// Messages in a window.
    pub window_messages_max: usize,
    /// Bytes in a window.
    pub window_bytes_max: u64,
    /// Windows in flight.
    pub windows_in_flight_max: usize,
    /// Connections to each side.
    pub connections_max: usize,
    /// Messages of a scan.
    pub scan_messages_max: u32,
    /// Messages in a stage.
    pub stage_messages_max: usize,
    /// What is repaired in messages that are refused.
    pub repairs: Repairs,
    /// A mailbox whose messages go where those of another one go, both by their numbers.
    pub merge: Option<(usize, usize)>,
}

/// A run in which things go wrong.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// The point at which the process is killed.
    pub kill: Option<u64>,
    /// The point at which it is asked to stop.
    pub stop: Option<u64>,
    /// Which call to the ledger fails.
    pub ledger: Option<Failure>,
    /// What happens to connections.
    pub troubles: Vec<Trouble>,
    /// What is wrong with the servers.
    pub faults: Vec<(Side, Fault)>,
    /// What others do, and at which point.
    pub deeds: Vec<(u64, Other)>,
    /// How long it is until the next run.
    pub pause: Duration,
}

/// What others do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Other {
    /// A server goes down and comes back: every connection to it is cut.
    Crash(Side),
    /// Somebody sends a message.
    Deliver(Side, Letter),
    /// The owner deletes one of the messages of a mailbox.
    Expunge(Side, usize, usize),
    /// The owner moves one of the messages of a source mailbox to another.
    Move(usize, usize, usize),
    /// The owner gives a source mailbox its other name.
    Rename(usize),
    /// The owner sets these flags, and no others.
    Flags(Side, usize, usize, Vec<&'static str>),
    /// A mailbox gets a new UIDVALIDITY, and its messages new UIDs.
    NewValidity(Side, usize),
    /// The owner of the target mailbox moves one of its messages away and back.
    AwayAndBack(usize, usize),
    /// The target has room for so many more bytes only.
    Room(u64),
    /// The target has room again.
    MuchRoom,
    /// The owner deletes the target mailbox.
    Delete(usize),
}

/// What a plan has that widens what is allowed to happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traits {
    /// Something takes effect later than settling waits for.
    pub late: bool,
    /// As `late`, and it may be a MOVE.
    pub late_move: bool,
    /// The target tells what is not so.
    pub lies: bool,
    /// The target changes octets.
    pub rewrites: bool,
    /// Staged delivery may not be had, or end.
    pub falls_back: bool,
    /// The target does not tell where it stores a message.
    pub tells_no_uids: bool,
    /// The target keeps one copy of equal messages.
    pub merges: bool,
}

const FLAGS: [&[&str]; 6] = [
    &[],
    &["\\Seen"],
    &["\\Flagged", "\\Seen"],
    &["\\Answered", "work"],
    &["$Forwarded", "\\Draft"],
    &["\\Deleted"],
];
const LONG: [u64; 4] = [150, 2_000, 40_000, 400_000];

impl Plan {
    /// The plan that a seed makes.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let dice = &mut dice;
        let mut target = kind(dice, Side::Target);
        let source = kind(dice, Side::Source);
        let late = dice.percent(25);
        let lies = dice.percent(20);
        let mut setup = setup(dice, &target);
        if seed % 4 == 3 {
            setup.surplus = Surplus::Remove;
        }
        let mailboxes = 1 + dice.index(MAILBOXES.len()).min(dice.index(MAILBOXES.len() + 1));
        let different = dice.from_to(1, 8);
        let letters = dice.from_to(1, 9);
        let mut mail: Vec<Letter> = Vec::new();
        for _ in 0..letters {
            mail.push(letter(dice, mailboxes, different, &setup));
        }
        let mut before = Vec::new();
        if dice.percent(25) {
            for _ in 0..dice.from_to(1, 5) {
                before.push(if dice.percent(70) {
                    dice.pick(&mail)
                } else {
                    letter(dice, mailboxes, different + 3, &setup)
                });
            }
        }
        let world = World { late, lies, mailboxes, different };
        let mut runs: Vec<Run> =
            (0..dice.from_to(1, 4)).map(|_| run(dice, &world, &setup, &mail)).collect();
        if seed >= RESTLESS && dice.percent(40) {
            setup.moves = if dice.percent(85) { Moves::Follow } else { Moves::Copy };
            for run in &mut runs {
                tidy(dice, &world, &setup, run);
            }
        }
        let profile = target.profile();
        // Where it does not tell which one it keeps, or keeps it with other octets, nobody can see that.
        if seed >= MERGING && dice.percent(15) && profile.uidplus && !profile.ends_lines {
            target.but.push(MERGES);
        }
        let refused = Repairs::default();
        let mut plan = Self { seed, source, target, mail, before, refused, setup, runs };
        if seed >= VARIED {
            varied::vary(dice, &mut plan);
        }
        plan
    }

    /// What the target refuses, as a fault that it always has.
    #[must_use]
    pub fn refusal(&self) -> Option<Fault> {
        let refused = self.refused;
        let is_refused: Predicate = Arc::new(move |body| repair(body, refused).is_some());
        let deed = Deed::Refuse(Matching::Where(is_refused), "NO not well-formed".to_owned());
        (!refused.is_empty()).then(|| Fault::always(deed))
    }

    /// What widens what is allowed to happen.
    #[must_use]
    pub fn traits(&self) -> Traits {
        let profile = self.target.profile();
        let mut traits = Traits {
            rewrites: profile.ends_lines,
            falls_back: !profile.r#move || !profile.uidplus || profile.merges != Merging::None,
            tells_no_uids: !profile.uidplus,
            merges: profile.merges != Merging::None,
            ..Traits::default()
        };
        for run in &self.runs {
            for trouble in &run.troubles {
                if let What::Stall(pause) = trouble.what
                    && trouble.side == Side::Target
                    && pause >= SETTLE
                {
                    (traits.late, traits.late_move) = (true, true);
                }
            }
            for (_, fault) in &run.faults {
                match &fault.deed {
                    Deed::CommitLate(_, pause) => traits.late |= *pause >= SETTLE,
                    Deed::Delay(command, pause) if *pause >= SETTLE => {
                        traits.late |= command == "APPEND";
                        traits.late_move |= command == "UID MOVE";
                    }
                    Deed::SlowMove(slow) => {
                        traits.late_move |= slow.before + 20 * slow.piece >= SETTLE;
                    }
                    Deed::Forget(_) | Deed::AppendUid(_) => traits.lies = true,
                    Deed::CopyUid(_) => (traits.lies, traits.falls_back) = (true, true),
                    Deed::PartMove(_)
                    | Deed::KeepMoved
                    | Deed::RefuseCreate(_)
                    | Deed::Answer(..) => {
                        traits.falls_back = true;
                    }
                    _ => {}
                }
            }
        }
        traits
    }

    /// What others do in all runs.
    pub fn deeds(&self) -> impl Iterator<Item = &Other> {
        self.runs.iter().flat_map(|run| run.deeds.iter().map(|(_, deed)| deed))
    }
}

/// The first seed in whose world owners may move messages and rename mailboxes at the source: those
/// below keep the worlds that they once had.
const RESTLESS: u64 = 10_000_000;

/// The first seed in whose world a target may refuse messages for what is in them, and two source
/// mailboxes may end in one.
const VARIED: u64 = 50_000_000;

/// The first seed in whose world the target may keep one copy of equal messages.
const MERGING: u64 = 40_000_000;

/// What the dice must know of the world so far.
struct World {
    late: bool,
    lies: bool,
    mailboxes: usize,
    different: u64,
}

const REWRITES: &str = "ends each message with a line end";
const INVENTS: &str = "invents messages";
const MERGES: &str = "keeps one copy of equal messages";

fn kind(dice: &mut Dice, side: Side) -> Kind {
    let after = dice
        .pick(&["dovecot", "dovecot", "dovecot", "cyrus", "exchange", "gmail", "courier", "plain"]);
    let mut but = Vec::new();
    let changes: &[&'static str] = match side {
        Side::Target => {
            &["no UIDPLUS", "no MULTIAPPEND", "no MOVE", "no UIDNEXT", "no LITERAL+", REWRITES]
        }
        Side::Source => &["no CONDSTORE", "no UIDNEXT", "no LIST-STATUS", INVENTS],
    };
    for change in changes {
        if dice.percent(7) {
            but.push(*change);
        }
    }
    if after == "courier" && side == Side::Source && !but.contains(&INVENTS) {
        but.push(INVENTS);
    }
    Kind { after, but }
}

impl Kind {
    /// As the rehearsal server knows it.
    #[must_use]
    pub fn profile(&self) -> Profile {
        let mut profile = match self.after {
            "dovecot" => Profile::dovecot(),
            "cyrus" => Profile::cyrus(),
            "exchange" => Profile::exchange(),
            "gmail" => Profile::gmail(),
            "courier" => Profile::courier(),
            _ => Profile::plain(),
        };
        // Zombies of dead runs are not what is tried here.
        profile.max_connections_per_user = None;
        for but in &self.but {
            match *but {
                "no UIDPLUS" => profile.uidplus = false,
                "no MULTIAPPEND" => profile.multiappend = false,
                "no MOVE" => profile.r#move = false,
                "no UIDNEXT" => profile.select_uid_next = false,
                "no LITERAL+" => profile.literal = Literal::None,
                "no CONDSTORE" => profile.condstore = false,
                "no LIST-STATUS" => profile.list_extended = false,
                REWRITES => profile.ends_lines = true,
                MERGES => profile.merges = Merging::TellsKept,
                INVENTS => profile.invents = true,
                _ => {}
            }
        }
        profile
    }
}

fn setup(dice: &mut Dice, target: &Kind) -> Setup {
    let profile = target.profile();
    let can_stage = profile.r#move && profile.uidplus;
    let staged = dice.percent(if can_stage { 45 } else { 5 });
    Setup {
        delivery: if staged { Delivery::Staged } else { Delivery::Direct },
        verify: if dice.percent(25) { Verify::Full } else { Verify::Sample },
        adopt: if dice.percent(10) { Adopt::None } else { Adopt::Match },
        later_flags: if dice.percent(15) { LaterFlags::Leave } else { LaterFlags::Follow },
        surplus: Surplus::Report,
        moves: Moves::Follow,
        window_messages_max: dice.pick(&[1, 2, 3, 4, 50]),
        window_bytes_max: dice.pick(&[400, 700, 1_500, 6_000]),
        windows_in_flight_max: dice.pick(&[1, 2, 4]),
        connections_max: dice.pick(&[1, 1, 2, 3]),
        scan_messages_max: dice.pick(&[2, 3, 2_000]),
        stage_messages_max: dice.pick(&[1, 2, 4, 200]),
        repairs: Repairs::default(),
        merge: None,
    }
}

impl Setup {
    /// As the engine takes it.
    ///
    /// # Panics
    ///
    /// Never: the names of these mailboxes make a rule.
    #[must_use]
    pub fn config(&self) -> Config {
        let mut rules = Rules { merge: self.merge.is_some(), ..Rules::default() };
        rules.map.extend(self.merge.map(|(from, into)| {
            let [from, into] = [from, into].map(|mailbox| MAILBOXES[mailbox].join("/"));
            MapRule::parse(&format!("{from}={into}")).expect("a rule")
        }));
        Config {
            delivery: self.delivery,
            verify: self.verify,
            adopt: self.adopt,
            later_flags: self.later_flags,
            surplus: self.surplus,
            moves: self.moves,
            window_messages_max: self.window_messages_max,
            window_bytes_max: self.window_bytes_max,
            windows_in_flight_max: self.windows_in_flight_max,
            connections_max: self.connections_max,
            scan_messages_max: self.scan_messages_max,
            stage_messages_max: self.stage_messages_max,
            repairs: self.repairs,
            rules,
            settle: SETTLE,
            settle_max: Duration::from_secs(5),
            // All connections at once.
            near: Duration::ZERO,
            ..Config::default()
        }
    }
}

fn letter(dice: &mut Dice, mailboxes: usize, different: u64, setup: &Setup) -> Letter {
    let number = dice.below(different);
    // What is equal has mostly equal flags and dates, too.
    let flags = if dice.percent(90) { number } else { dice.below(99) };
    let date = if dice.percent(90) { number } else { dice.below(99) };
    let shape = match dice.below(20) {
        0 | 1 => Shape::Large(usize::try_from(setup.window_bytes_max).unwrap_or(400)),
        2 => Shape::Bare,
        3 => Shape::Empty,
        4 | 5 => Shape::OtherBody(dice.below(2)),
        6 => Shape::Odd,
        _ => Shape::Usual,
    };
    let mailbox = dice.index(mailboxes).min(dice.index(mailboxes));
    let flags = usize::try_from(flags).unwrap_or(0) % FLAGS.len();
    let odd = [-86_400, 2_200_000_000, 0];
    let unix_seconds = match date {
        97.. => odd[usize::try_from(date - 97).unwrap_or(0) % odd.len()],
        // Dates of a second each for two numbers.
        _ => 1_600_000_000 + 61 * i64::try_from(date / 2).unwrap_or(0),
    };
    Letter { mailbox, number, shape, flags: FLAGS[flags].to_vec(), unix_seconds }
}

impl Letter {
    /// All octets.
    #[must_use]
    pub fn body(&self) -> Bytes {
        let number = self.number;
        let headers = format!(
            "Message-ID: <{number}@example.org>\r\nDate: Mon, 14 Sep 2020 10:00:00 +0200\r\n\
             From: ben@example.org\r\nSubject: letter {number}\r\n\r\n"
        );
        Bytes::from(match self.shape {
            Shape::Usual => format!("{headers}Text {number}.\r\n"),
            Shape::Large(bytes) => format!("{headers}{}\r\n", "large ".repeat(bytes / 6 + 1)),
            Shape::Bare => format!("no header in {number}\r\n"),
            Shape::Empty => String::new(),
            Shape::OtherBody(other) => format!("{headers}Else {number}.{other}\r\n"),
            Shape::EightBit => {
                let headers = headers.replace("letter", "grün");
                format!("{headers}Text {number}.\r\n")
            }
            Shape::Odd => format!("{headers}grün\nbare {number}\r\r\n."),
        })
    }

    /// As it is delivered.
    #[must_use]
    pub fn message(&self) -> Message {
        Message {
            flags: self.flags.iter().map(|flag| (*flag).to_owned()).collect(),
            internal_date: InternalDate { unix_seconds: self.unix_seconds, offset_seconds: 3_600 },
            body: self.body(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &'static [&'static str] {
        MAILBOXES[self.mailbox]
    }
}

fn run(dice: &mut Dice, world: &World, setup: &Setup, mail: &[Letter]) -> Run {
    let mut run = Run::default();
    let point = |dice: &mut Dice| 1 + dice.rather_small(400);
    if dice.percent(55) {
        run.kill = Some(point(dice));
    }
    if dice.percent(6) {
        run.stop = Some(point(dice));
    }
    if dice.percent(8) {
        run.ledger = Some(Failure { call: dice.rather_small(60), for_ever: dice.percent(50) });
    }
    if dice.percent(50) {
        for _ in 0..dice.from_to(1, 3) {
            run.troubles.push(trouble(dice, world));
        }
    }
    if dice.percent(60) {
        for _ in 0..dice.from_to(1, 3) {
            let side = if dice.percent(75) { Side::Target } else { Side::Source };
            let deed = match side {
                Side::Target => target_deed(dice, world),
                Side::Source => source_deed(dice),
            };
            let often = dice.pick(&[1, 1, 1, 2, 3]);
            let fault = Fault::always(deed).times(often).after(dice.rather_small(8));
            run.faults.push((side, fault));
        }
    }
    if dice.percent(30) {
        for _ in 0..dice.from_to(1, 3) {
            let at = point(dice);
            run.deeds.push((at, other(dice, world, setup, mail)));
        }
    }
    run.deeds.sort_by_key(|(at, _)| *at);
    if dice.percent(30) {
        run.pause = Duration::from_millis(dice.pick(&[1, 50, 90, 5_000, 400_000]));
    }
    run
}

/// How long something takes, within what settling waits for or beyond it.
fn pause(dice: &mut Dice, world: &World) -> Duration {
    Duration::from_millis(if world.late { dice.pick(&LONG) } else { dice.from_to(1, 90) })
}

fn trouble(dice: &mut Dice, world: &World) -> Trouble {
    let side = if dice.percent(65) { Side::Target } else { Side::Source };
    let way = if dice.percent(50) { Way::There } else { Way::Back };
    let what = match dice.below(10) {
        0..3 => What::Reset,
        3..5 => What::End,
        5 => What::HalfClose,
        6..9 => What::Stall(match side {
            Side::Target => pause(dice, world),
            Side::Source => Duration::from_millis(dice.pick(&LONG)),
        }),
        _ => What::Narrow(dice.pick(&[1, 2, 7, 64])),
    };
    let after = dice.rather_small(4_000);
    Trouble { side, connection: dice.rather_small(3), way, after, what }
}

fn target_deed(dice: &mut Dice, world: &World) -> Deed {
    let command = |dice: &mut Dice| {
        dice.pick(&[
            "APPEND",
            "APPEND",
            "APPEND",
            "UID FETCH",
            "UID MOVE",
            "UID STORE",
            "NOOP",
            "SELECT",
            "CREATE",
            "DELETE",
            "LIST",
            "STATUS",
        ])
        .to_owned()
    };
    match dice.below(if world.lies { 20 } else { 15 }) {
        0 => Deed::CutAfterRead(dice.rather_small(4_000)),
        1 => Deed::CutAfterWritten(1 + dice.rather_small(4_000)),
        2 | 3 => Deed::CutBefore(command(dice)),
        4 | 5 => Deed::CutAfter(command(dice)),
        6 => {
            let said = ["NO [UNAVAILABLE] later", "NO no", "BAD what", "BYE [UNAVAILABLE] bye"];
            Deed::Answer(command(dice), dice.pick(&said).to_owned())
        }
        7 => Deed::Delay(command(dice), Duration::from_millis(dice.pick(&LONG))),
        8 => {
            let said = ["NO [TOOBIG] large", "NO [OVERQUOTA] full", "NO no", "BAD bad"];
            Deed::Refuse(Matching::Any, dice.pick(&said).to_owned())
        }
        9 | 10 => Deed::CommitLate(Matching::Any, pause(dice, world)),
        11 => Deed::HalfMove,
        12 => Deed::CutMove(dice.index(8)),
        13 => {
            let slow = pause(dice, world);
            let slow = if world.late { slow } else { slow / 20 };
            let cut = dice.percent(50);
            let (before, piece) =
                if dice.percent(50) { (slow, slow / 20) } else { (slow / 20, slow / 20) };
            Deed::SlowMove(Slowness { before: before / 2, piece: piece / 2, cut })
        }
        14 => match dice.below(2) {
            0 => Deed::RefuseCreate("mailhaul-".to_owned()),
            _ => Deed::PartMove(dice.index(4)),
        },
        15 | 16 => Deed::Forget(Matching::Any),
        17 => Deed::CopyUid(lie(dice)),
        _ => Deed::AppendUid(lie(dice)),
    }
}

fn lie(dice: &mut Dice) -> AppendUidLie {
    match dice.below(3) {
        0 => AppendUidLie::Omitted,
        1 => AppendUidLie::Shifted(dice.pick(&[1, 2, 1_000])),
        _ => AppendUidLie::Validity(dice.pick(&[1, 4_000_000])),
    }
}

fn source_deed(dice: &mut Dice) -> Deed {
    let command = |dice: &mut Dice| {
        dice.pick(&["UID FETCH", "UID FETCH", "NOOP", "EXAMINE", "LIST"]).to_owned()
    };
    let uid = 1 + u32::try_from(dice.below(6)).unwrap_or(0);
    match dice.below(9) {
        0 => Deed::CutAfterRead(dice.rather_small(1_000)),
        1 => Deed::CutAfterWritten(1 + dice.rather_small(4_000)),
        2 => Deed::CutBefore(command(dice)),
        3 => Deed::CutAfter(command(dice)),
        4 => {
            let said = ["NO [UNAVAILABLE] later", "NO no", "BAD what", "BYE [UNAVAILABLE] bye"];
            Deed::Answer(command(dice), dice.pick(&said).to_owned())
        }
        5 => Deed::Delay(command(dice), Duration::from_millis(dice.pick(&LONG))),
        6 | 7 => {
            let faults = [BodyFault::Nil, BodyFault::Nothing, BodyFault::No, BodyFault::Empty];
            Deed::Body(uid, dice.pick(&faults))
        }
        _ => Deed::Size(uid, dice.pick(&[0, 1, 100, 5_000])),
    }
}

fn other(dice: &mut Dice, world: &World, setup: &Setup, mail: &[Letter]) -> Other {
    let side = if dice.percent(60) { Side::Target } else { Side::Source };
    let (mailbox, index) = (dice.index(world.mailboxes), dice.index(8));
    match dice.below(20) {
        0..3 => Other::Crash(side),
        3..5 => Other::Deliver(side, dice.pick(mail)),
        5..7 => Other::Deliver(side, letter(dice, world.mailboxes, world.different + 4, setup)),
        7..11 => Other::Expunge(side, mailbox, index),
        11..13 => Other::Flags(side, mailbox, index, dice.pick(&FLAGS).to_vec()),
        13..15 => Other::NewValidity(side, mailbox),
        15..17 => Other::AwayAndBack(mailbox, index),
        17 => Other::Room(dice.from_to(0, 1_500)),
        18 => Other::MuchRoom,
        _ => Other::Delete(mailbox),
    }
}

/// The owner puts the source in order, before a run or while it goes on.
fn tidy(dice: &mut Dice, world: &World, setup: &Setup, run: &mut Run) {
    for _ in 0..dice.below(4) {
        let at = if dice.percent(50) { 1 } else { 1 + dice.rather_small(400) };
        let (from, to) = (dice.index(world.mailboxes), dice.index(world.mailboxes + 1));
        let deed = match dice.below(5) {
            0 => Other::Rename(from),
            _ => Other::Move(from, dice.index(8), to.min(MAILBOXES.len() - 1)),
        };
        run.deeds.push((at, deed));
    }
    run.deeds.sort_by_key(|(at, _)| *at);
    // What is kept in a stage is for a person to look at.
    if dice.percent(8) && setup.delivery == Delivery::Direct {
        run.faults.push((Side::Target, Fault::once(Deed::KeepMoved)));
    }
}
