//! Each deliberate bug of `mailhaul::mutant` is caught: in a world made for it the engine keeps its
//! promises, and with the bug in it does not.

mod worlds;

use std::process::{Command, Output};

use mailhaul::mutant::Mutant;

/// The test that a deliberate bug must fail; none where it takes a power loss to see it (`tests/power`).
fn world(mutant: Mutant) -> Option<&'static str> {
    Some(match mutant {
        Mutant::SkipSettle => "an_append_that_takes_effect_late_is_waited_for",
        Mutant::ReuseStageName => "an_append_that_takes_effect_late_finds_no_stage",
        Mutant::RangeWithoutFilter => "an_older_twin_is_no_copy",
        Mutant::AckBeforeOk => "what_was_not_answered_is_not_copied",
        Mutant::ClaimTwice => "the_copy_of_another_mailbox_is_not_claimed_again",
        Mutant::CloseBeforeClaims => "a_settling_that_is_killed_is_done_again",
        Mutant::IgnoreExpungeAfterFetch => "a_body_that_was_made_up_is_not_copied",
        Mutant::RetryWithoutLook => "what_arrived_without_an_answer_is_found",
        Mutant::TrustSize => "a_size_that_lies_cuts_nothing_off",
        Mutant::NoSync => return None,
        Mutant::DropLastBatch => "what_is_answered_after_a_stop_is_kept",
        Mutant::RepeatMove => "a_move_that_goes_on_is_not_repeated",
        Mutant::DenyFromPipeline => "what_was_acknowledged_and_never_stored_is_lost",
        Mutant::ResolveOneByOne => "a_twin_does_not_take_the_copy_that_was_told_the_other",
        Mutant::BelieveMove => "a_copy_that_a_move_has_left_behind_is_known",
        Mutant::RepeatMoveOfCopies => "a_move_of_copies_that_goes_on_is_not_repeated",
    })
}

#[test]
fn each_deliberate_bug_is_caught_where_it_matters() {
    for mutant in Mutant::ALL {
        let Some(world) = world(mutant) else {
            continue;
        };
        let without = play(world, None);
        assert!(says(&without, "1 passed; 0 failed"), "{world}: {}", text(&without));
        let with = play(world, Some(mutant));
        assert!(says(&with, "0 passed; 1 failed"), "{mutant:?} is not caught: {}", text(&with));
    }
}

/// Plays a world in a process of its own: a bug is in for all of it.
fn play(world: &str, mutant: Option<Mutant>) -> Output {
    let mut child = Command::new(std::env::current_exe().expect("a test has a program"));
    child.args(["--exact", &format!("worlds::{world}")]).env_remove("MAILHAUL_MUTANT");
    if let Some(mutant) = mutant {
        child.env("MAILHAUL_MUTANT", (mutant as u8).to_string());
    }
    child.output().expect("this program starts again")
}

fn says(output: &Output, result: &str) -> bool {
    String::from_utf8_lossy(&output.stdout).contains(result)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
