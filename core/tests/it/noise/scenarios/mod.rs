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
    /// The rule that has to be built before its goals can be held; none = they are.
    pub(crate) waits_for: Option<&'static str>,
}

macro_rules! corpus {
    (@rule) => { None };
    (@rule $rule:literal) => { Some($rule) };
    ($($part:ident: $($name:ident $(waits for $rule:literal)?),+;)+) => {
        pub(crate) const ALL: &[Scenario] = &[$($(Scenario {
            name: stringify!($name),
            play: $part::$name,
            waits_for: corpus!(@rule $($rule)?),
        },)+)+];
    };
}

corpus! {
    agents:
        question_is_asked,
        question_after_question,
        answered_in_the_terminal,
        permission_is_withdrawn,
        idle_against_blocked,
        idle_for_long,
        subagents_end,
        crash,
        crash_restored_at_once,
        crash_loop,
        login_has_expired,
        provider_hiccups,
        update_dialog,
        screen_looks_like_a_question,
        hangs,
        command_takes_long,
        command_hangs,
        busy_without_a_pull_request,
        finished_without_a_claim,
        finished_with_a_claim,
        leaves_in_good_order,
        prompt_gets_lost,
        everything_a_thousand_times,
        hooks_out_of_order,
        human_at_the_keyboard,
        taken_at_once,
        pull_request_is_closed;
    storms:
        twenty_exit,
        twenty_errors,
        twenty_dialogs,
        tmux_dies_and_all_come_back,
        tmux_dies_and_some_stay_away,
        tmux_does_not_answer,
        quota_is_short,
        quota_is_gone,
        round_of_twenty,
        round_meets_a_trust_dialog,
        one_job_fails_everywhere,
        disk_is_low,
        disk_flaps,
        disk_is_full;
    times:
        server_dies_ten_times,
        asked_while_the_server_was_away,
        machine_sleeps,
        machine_sleeps_on_a_question,
        clock_is_set,
        human_is_late,
        human_never_answers,
        human_snoozes,
        chat_is_down,
        chat_asks_for_rest,
        chat_is_slow,
        chat_does_not_answer,
        chat_is_locked,
        config_is_refused,
        config_is_mended_at_once,
        own_files_are_changed,
        silenced_and_still_there,
        silenced_and_over;
    pulls:
        ci_flaps,
        ci_is_flaky,
        ci_stays_red,
        review_ping_pong,
        review_is_not_answered,
        bots_comment,
        conflicts_after_each_merge,
        conflict_stays,
        ready_to_merge,
        ready_for_a_moment,
        merged_at_the_forge,
        forge_is_down;
    days:
        an_ordinary_afternoon;
    hours:
        a_night_of_quiet_hours,
        quiet_hours_when_the_clock_goes_forward,
        quiet_hours_when_the_clock_goes_back,
        the_next_person_is_called,
        budget_is_used_up,
        present_in_the_terminal;
}
