//! Targets that refuse messages for what is in them, with repairs; and two source mailboxes that end in
//! one.

use super::{Letter, MERGES, Other, Plan, Run, Shape};
use crate::repair::{Repair, Repairs};
use crate::simulation::dice::Dice;

/// What a target may refuse in these worlds, and what may be repaired in them.
const REPAIRS: [Repair; 3] = [Repair::Crlf, Repair::EightBitHeader, Repair::LongLines];

/// Source mailboxes, each with the one in which it ends; never Junk, which is delivered otherwise.
const MERGED: [(usize, usize); 4] = [(1, 0), (2, 0), (2, 1), (1, 2)];

/// Varies a plan.
pub(super) fn vary(dice: &mut Dice, plan: &mut Plan) {
    if dice.percent(60) {
        refuse(dice, plan);
    }
    if dice.percent(50) {
        merge(dice, plan);
    }
    // Where it keeps one copy of equal messages, these are worlds of their own.
    plan.target.but.retain(|but| *but != MERGES);
    // Some of what others bring is equal to what is at the source as it now is.
    let mail = plan.mail.clone();
    let brought = plan.runs.iter_mut().flat_map(|run| &mut run.deeds);
    let brought = brought.filter_map(|(_, deed)| match deed {
        Other::Deliver(_, letter) => Some(letter),
        _ => None,
    });
    for letter in plan.before.iter_mut().chain(brought) {
        if dice.percent(50) {
            *letter = dice.pick(&mail);
        }
    }
}

fn some(dice: &mut Dice) -> Repairs {
    if dice.percent(40) {
        return REPAIRS.into_iter().collect();
    }
    REPAIRS.into_iter().filter(|_| dice.percent(50)).collect()
}

fn refuse(dice: &mut Dice, plan: &mut Plan) {
    plan.refused = some(dice);
    plan.setup.repairs = some(dice);
    for letter in &mut plan.mail {
        if dice.percent(50) {
            let shapes = [Shape::Odd, Shape::EightBit, Shape::Large(1_200), Shape::Large(6_000)];
            letter.shape = dice.pick(&shapes);
        }
    }
}

fn merge(dice: &mut Dice, plan: &mut Plan) {
    let (from, into) = dice.pick(&MERGED);
    plan.setup.merge = Some((from, into));
    let choose = |dice: &mut Dice, mailbox: &mut usize| {
        if dice.percent(70) {
            *mailbox = if dice.percent(50) { from } else { into };
        }
    };
    for letter in &mut plan.mail {
        choose(dice, &mut letter.mailbox);
    }
    for Run { deeds, .. } in &mut plan.runs {
        // Where the copies of a mailbox with another name go is another matter.
        deeds.retain(|(_, deed)| !matches!(deed, Other::Rename(one) if [from, into].contains(one)));
        for (_, deed) in deeds {
            match deed {
                Other::Deliver(_, Letter { mailbox, .. })
                | Other::Expunge(_, mailbox, _)
                | Other::Flags(_, mailbox, ..)
                | Other::NewValidity(_, mailbox)
                | Other::AwayAndBack(mailbox, _) => choose(dice, mailbox),
                Other::Move(was, _, to) => {
                    choose(dice, was);
                    choose(dice, to);
                }
                _ => {}
            }
        }
    }
}
