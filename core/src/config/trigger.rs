//! What may need a human: the rows of the incident table, with their defaults.

use std::{fmt, str::FromStr};

use ao_slots::fact::Priority;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policy::{Reaction, ReactionAction};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;

/// Declares the triggers: the enum, its spelling and the list of all come from the same lines.
macro_rules! triggers {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What may need a human. A new one is a row here and its defaults in [`Trigger::default_reaction`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum Trigger {
            $($(#[$doc])* $name,)*
        }

        impl Trigger {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name in the configuration, e.g. `agent-stuck`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

triggers! {
    /// A required check fails: the failing step and its log go to the agent.
    CiFailed = "ci-failed",
    /// A reviewer asks for changes: the comments go to the agent.
    ChangesRequested = "changes-requested",
    /// A review bot or linter commented: the comments go to the agent.
    BugbotComments = "bugbot-comments",
    /// The pull request conflicts with its base: the agent is asked to rebase.
    MergeConflicts = "merge-conflicts",
    /// A pull request can be merged: a human is told, or it is merged where that is configured.
    ApprovedAndGreen = "approved-and-green",
    /// The agent waits for a human: a question, a permission, or a set-up dialog.
    AgentNeedsInput = "agent-needs-input",
    /// A turn runs and nothing moves, or the agent cannot be observed.
    AgentStuck = "agent-stuck",
    /// The agent's process ended with its task unfinished.
    AgentExited = "agent-exited",
    /// The agent says that it cannot go on.
    AgentErrored = "agent-errored",
    /// A turn ended, no pull request is open and nothing follows.
    AgentIdle = "agent-idle",
    /// The agent is busy and has no pull request (no commit, where there is no scm).
    AgentIdleNoPr = "agent-idle-no-pr",
    /// The work looks finished by evidence, and nobody said that it is.
    AgentFinished = "agent-finished",
    /// The runtime lost sessions: a tmux server died, the machine was restarted.
    RuntimeLost = "runtime-lost",
    /// The scm does not answer; what it told is old.
    ScmUnavailable = "scm-unavailable",
    /// Another changed `ao`'s own files.
    Tampered = "tampered",
    /// The disk is nearly full. Urgent when the journal cannot be written.
    DiskLow = "disk-low",
    /// A channel takes no messages. Urgent when urgent ones waited.
    ChannelFailing = "channel-failing",
    /// A changed configuration is not used.
    ConfigRefused = "config-refused",
    /// The server was away. Action when an urgent message was late, urgent when events could not be read.
    ServerWasAway = "server-was-away",
    /// The model's provider refuses for lack of quota.
    RateLimited = "rate-limited",
    /// The agent never confirmed its prompt.
    PromptUndelivered = "prompt-undelivered",
    /// A session spent more than its budget.
    BudgetExceeded = "budget-exceeded",
    /// A pull request was closed without a merge.
    PrClosed = "pr-closed",
    /// Every session of a round is over or waits only for a human's merge.
    AllComplete = "all-complete",
}

impl Trigger {
    /// It is about a pull request: what the scm tells.
    pub fn is_of_a_pr(self) -> bool {
        matches!(
            self,
            Self::CiFailed
                | Self::ChangesRequested
                | Self::BugbotComments
                | Self::MergeConflicts
                | Self::ApprovedAndGreen
                | Self::PrClosed
        )
    }

    /// Its priority when nothing is configured. Where the text says "urgent when", the decision raises it.
    pub fn default_priority(self) -> Priority {
        self.default_reaction().priority
    }

    /// The row of the table: the one place where these defaults stand.
    pub fn default_reaction(self) -> Reaction {
        use Priority::{Action, Info, Urgent, Warning};
        let told = |priority| Reaction { priority, ..Reaction::default() };
        let after =
            |priority, threshold| Reaction { threshold_ms: Some(threshold), ..told(priority) };
        let answered = |answer, priority, escalate_after_ms| Reaction {
            auto: true,
            action: answer,
            escalate_after_ms,
            ..told(priority)
        };
        match self {
            // `threshold`: checks have not ended for that long.
            Self::CiFailed => Reaction {
                retries: 2,
                threshold_ms: Some(120 * MINUTE),
                ..answered(ReactionAction::SendToAgent, Warning, None)
            },
            Self::ChangesRequested | Self::BugbotComments => {
                answered(ReactionAction::SendToAgent, Warning, Some(30 * MINUTE))
            }
            Self::MergeConflicts => {
                answered(ReactionAction::SendToAgent, Warning, Some(15 * MINUTE))
            }
            // Nothing pauses a session yet; without a threshold there is no limit.
            Self::ApprovedAndGreen | Self::PrClosed | Self::BudgetExceeded => told(Action),
            Self::AgentNeedsInput | Self::AgentExited | Self::AgentErrored => told(Urgent),
            Self::AgentStuck => {
                Reaction { command_threshold_ms: Some(30 * MINUTE), ..after(Urgent, 10 * MINUTE) }
            }
            Self::AgentIdle => after(Warning, 15 * MINUTE),
            Self::AgentIdleNoPr => after(Warning, 30 * MINUTE),
            Self::AgentFinished => after(Action, 5 * MINUTE),
            // `escalate-after`: none came back for that long; `threshold`: lost again within that long.
            Self::RuntimeLost => Reaction {
                threshold_ms: Some(10 * MINUTE),
                ..answered(ReactionAction::Restore, Urgent, Some(MINUTE))
            },
            Self::ScmUnavailable => answered(ReactionAction::Retry, Warning, Some(5 * MINUTE)),
            Self::Tampered => answered(ReactionAction::Restore, Urgent, None),
            Self::DiskLow => Reaction { threshold_bytes: Some(1 << 30), ..told(Action) },
            Self::ChannelFailing => told(Action),
            Self::ConfigRefused => told(Warning),
            Self::ServerWasAway => after(Info, MINUTE),
            Self::RateLimited => Reaction {
                threshold_ms: Some(30 * MINUTE),
                ..answered(ReactionAction::Pause, Warning, None)
            },
            // Tried again for as long as it waits; the time decides when a human is told.
            Self::PromptUndelivered => answered(ReactionAction::Retry, Urgent, Some(MINUTE)),
            Self::AllComplete => Reaction { include_summary: true, ..told(Info) },
        }
    }

    /// The answers that can be configured: to tell a human, what `ao` can do by itself here, and nothing. Nobody but a
    /// human can do anything about an agent that asks, or about `ao` itself: of that he always hears.
    pub fn actions(self) -> &'static [ReactionAction] {
        use ReactionAction::{
            AutoMerge, Kill, Nothing, Notify, Pause, Restart, Restore, Retry, SendToAgent,
        };
        match self {
            Self::CiFailed
            | Self::ChangesRequested
            | Self::BugbotComments
            | Self::MergeConflicts => &[SendToAgent, Notify, Nothing],
            Self::ApprovedAndGreen => &[Notify, AutoMerge, Nothing],
            Self::AgentStuck | Self::AgentExited | Self::AgentErrored => {
                &[Notify, Restart, Kill, Nothing]
            }
            Self::AgentIdle | Self::AgentIdleNoPr | Self::AgentFinished | Self::PrClosed => {
                &[Notify, Kill, Nothing]
            }
            Self::BudgetExceeded => &[Notify, Pause, Kill, Nothing],
            Self::PromptUndelivered => &[Retry, Notify, Kill, Nothing],
            Self::RuntimeLost => &[Restore, Notify, Nothing],
            Self::ScmUnavailable => &[Retry, Notify, Nothing],
            Self::RateLimited => &[Pause, Notify, Nothing],
            Self::AllComplete => &[Notify, Nothing],
            Self::Tampered => &[Restore, Notify],
            Self::AgentNeedsInput
            | Self::DiskLow
            | Self::ChannelFailing
            | Self::ConfigRefused
            | Self::ServerWasAway => &[Notify],
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text names no trigger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a trigger")]
pub struct UnknownTrigger(pub String);

impl FromStr for Trigger {
    type Err = UnknownTrigger;
    fn from_str(text: &str) -> Result<Self, UnknownTrigger> {
        let named = Self::ALL.iter().copied().find(|trigger| trigger.as_str() == text);
        named.ok_or_else(|| UnknownTrigger(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_is_spelled_the_same_in_text_and_in_serde() {
        for trigger in Trigger::ALL {
            assert_eq!(trigger.as_str().parse(), Ok(*trigger));
            let json = serde_json::to_string(trigger).unwrap();
            assert_eq!(json, format!("\"{trigger}\""));
        }
        assert_eq!(
            "agent_stuck".parse::<Trigger>().unwrap_err().to_string(),
            "`agent_stuck` is not a trigger"
        );
    }

    #[test]
    fn the_default_answer_can_be_configured_and_so_can_telling_a_human() {
        for trigger in Trigger::ALL {
            let actions = trigger.actions();
            assert!(actions.contains(&trigger.default_reaction().action), "{trigger}");
            assert!(actions.contains(&ReactionAction::Notify), "{trigger}");
            let merges = actions.contains(&ReactionAction::AutoMerge);
            assert_eq!(merges, *trigger == Trigger::ApprovedAndGreen, "{trigger}");
        }
    }

    #[test]
    fn what_else_can_be_answered() {
        use ReactionAction::{Kill, Nothing, Restart};
        for (action, triggers) in [
            (Restart, "agent-stuck agent-exited agent-errored"),
            (
                Kill,
                "agent-stuck agent-exited agent-errored agent-idle agent-idle-no-pr \
                 agent-finished prompt-undelivered budget-exceeded pr-closed",
            ),
        ] {
            let can = |trigger: &&Trigger| trigger.actions().contains(&action);
            let found: Vec<_> = Trigger::ALL.iter().filter(can).map(|t| t.as_str()).collect();
            assert_eq!(found.join(" "), triggers, "{action:?}");
        }
        let told = Trigger::ALL.iter().filter(|trigger| !trigger.actions().contains(&Nothing));
        let told: Vec<_> = told.map(|trigger| trigger.as_str()).collect();
        assert_eq!(
            told.join(" "),
            "agent-needs-input tampered disk-low channel-failing config-refused server-was-away",
            "of what only a human can settle he always hears"
        );
    }

    #[test]
    fn the_table_of_priorities() {
        use Priority::{Action, Info, Urgent, Warning};
        for (priority, triggers) in [
            (
                Urgent,
                "agent-needs-input agent-stuck agent-exited agent-errored runtime-lost tampered \
                 prompt-undelivered",
            ),
            (
                Action,
                "approved-and-green agent-finished disk-low channel-failing budget-exceeded \
                 pr-closed",
            ),
            (
                Warning,
                "ci-failed changes-requested bugbot-comments merge-conflicts agent-idle \
                 agent-idle-no-pr scm-unavailable config-refused rate-limited",
            ),
            (Info, "server-was-away all-complete"),
        ] {
            let found: Vec<&str> = Trigger::ALL
                .iter()
                .filter(|trigger| trigger.default_priority() == priority)
                .map(|trigger| trigger.as_str())
                .collect();
            let mut wanted: Vec<&str> = triggers.split_whitespace().collect();
            wanted.sort_by_key(|name| found.iter().position(|f| f == name));
            assert_eq!(found, wanted, "{priority:?}");
        }
    }
}
