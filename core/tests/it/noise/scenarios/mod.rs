//! The corpus: each scenario is a small script with its ground truth.

mod agents;
pub(crate) mod days;
mod hours;
mod pulls;
mod storms;
mod times;

use super::sim::Sim;

/// A labelled scenario.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) play: fn(&mut Sim),
    /// Pushes of a run, at most.
    pub(crate) most: u64,
}

/// Each scenario with the most pushes that a run of it may come to.
macro_rules! corpus {
    ($($part:ident: $($name:ident $most:literal),+;)+) => {
        pub(crate) const ALL: &[Scenario] = &[$($(Scenario {
            name: stringify!($name),
            play: $part::$name,
            most: $most,
        },)+)+];
    };
}

corpus! {
    agents:
        question_is_asked 1,
        question_after_question 5,
        answered_in_the_terminal 0,
        permission_is_withdrawn 0,
        idle_against_blocked 1,
        idle_for_long 1,
        subagents_end 0,
        crash 1,
        crash_restored_at_once 0,
        crash_loop 3,
        login_has_expired 1,
        provider_hiccups 0,
        update_dialog 1,
        screen_looks_like_a_question 1,
        hangs 1,
        command_takes_long 0,
        command_hangs 1,
        busy_without_a_pull_request 1,
        finished_without_a_claim 1,
        finished_with_a_claim 0,
        finished_without_a_pull_request 1,
        leaves_in_good_order 0,
        prompt_gets_lost 1,
        everything_a_thousand_times 1,
        hooks_out_of_order 0,
        human_at_the_keyboard 0,
        taken_at_once 2,
        pull_request_is_closed 1;
    storms:
        twenty_exit 1,
        twenty_errors 1,
        twenty_dialogs 1,
        tmux_dies_and_all_come_back 0,
        tmux_dies_and_some_stay_away 1,
        tmux_does_not_answer 0,
        quota_is_short 0,
        quota_is_gone 1,
        round_of_twenty 0,
        round_meets_a_trust_dialog 1,
        one_job_fails_everywhere 0,
        disk_is_low 1,
        disk_flaps 0,
        disk_is_full 1;
    times:
        server_dies_ten_times 2,
        asked_while_the_server_was_away 1,
        machine_sleeps 0,
        machine_sleeps_on_a_question 1,
        clock_is_set 1,
        human_is_late 2,
        human_never_answers 8,
        human_snoozes 1,
        chat_is_down 2,
        chat_asks_for_rest 7,
        chat_is_slow 8,
        chat_does_not_answer 2,
        chat_is_locked 3,
        config_is_refused 1,
        config_is_mended_at_once 0,
        own_files_are_changed 1,
        silenced_and_still_there 2,
        silenced_and_over 0;
    pulls:
        ci_flaps 0,
        ci_is_flaky 0,
        ci_stays_red 1,
        review_ping_pong 1,
        review_is_not_answered 1,
        bots_comment 0,
        conflicts_after_each_merge 5,
        conflict_stays 1,
        ready_to_merge 1,
        ready_for_a_moment 0,
        merged_at_the_forge 0,
        forge_is_down 1;
    days:
        an_ordinary_afternoon 10;
    hours:
        a_night_of_quiet_hours 3,
        quiet_hours_when_the_clock_goes_forward 1,
        quiet_hours_when_the_clock_goes_back 1,
        the_next_person_is_called 3,
        budget_is_used_up 6,
        present_in_the_terminal 1;
}
