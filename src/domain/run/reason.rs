//! Reasons: why a run waits, is stopped, or was never started.
//!
//! Pure. The names are for machines; `words` turns them into sentences.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::{
    cost::Usd,
    fis::FailureClass,
    ids::{Name, RunId, ScheduleName, WindowName},
    ledger::Trouble,
    lever::Found,
    place::{AlarmState, Identity},
    policy::Breach,
};

/// Why a run waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum HoldReason {
    /// A window is or would be in the way.
    Closed {
        /// Which.
        window: WindowName,
        /// When it lifts, if known.
        until: Option<Timestamp>,
        /// Why nobody knows whether it is open, when that is what closes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unknown: Option<String>,
    },
    /// The template could not be read now.
    TemplateUnread {
        /// Kind of failure.
        class: FailureClass,
        /// The failure's own words.
        message: String,
        /// Reads that failed in a row, counting this one.
        failures: u32,
    },
    /// AWS could not be asked what its place is like.
    PlaceUnread {
        /// Kind of failure.
        class: FailureClass,
        /// The failure's own words.
        message: String,
        /// Tries that failed in a row, counting this one.
        failures: u32,
    },
    /// As many FIS experiments are active in its place as may be.
    Crowded {
        /// How many, those of others among them.
        active: u32,
        /// How many may be.
        limit: u32,
        /// Until when it waits at most.
        give_up_at: Timestamp,
    },
    /// An alarm is not OK, or not for long enough.
    Unwell {
        /// Which, by name or ARN.
        alarm: String,
        /// How it is.
        state: AlarmState,
        /// When it will have been OK for long enough; `None` when it is not.
        until: Option<Timestamp>,
    },
    /// It waits for its turn: another run is in the way.
    Busy {
        /// Which.
        with: RunId,
        /// What both are in.
        conflict: Conflict,
        /// Until when it waits at most.
        give_up_at: Timestamp,
    },
    /// It waits for its turn: the last run ended too short a time ago.
    Gap {
        /// When it is over.
        until: Timestamp,
        /// The group whose gap it is; none for the experiment's own.
        group: Option<Name>,
        /// Until when it waits at most.
        give_up_at: Timestamp,
    },
}

/// Why two runs may not go on at the same time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum Conflict {
    /// They are of the same experiment.
    Experiment,
    /// Their experiments are in the same group.
    Group {
        /// Which.
        group: Name,
    },
    /// Their templates share a target.
    Target {
        /// What they share, in words.
        target: String,
    },
}

/// Why we stop, or FIS stopped, an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum StopCause {
    /// One of the template's stop conditions (AWS's alarm).
    StopCondition,
    /// The safety lever was engaged.
    SafetyLever,
    /// An operator asked us.
    Operator {
        /// Who.
        by: String,
        /// Why.
        reason: Option<String>,
    },
    /// All chaos was halted.
    Halt {
        /// Who.
        by: String,
    },
    /// A blackout opens, or an allowed window ends.
    Closed {
        /// Which.
        window: WindowName,
        /// Why nobody knows whether it is open, when that is what closes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unknown: Option<String>,
    },
    /// It went on longer than the experiment's `max_duration`.
    MaxDuration,
    /// A newer run of the experiment takes its place.
    Replaced {
        /// Which.
        by: RunId,
    },
    /// The agent shuts down and is told to leave nothing behind.
    Shutdown,
    /// Somebody else called StopExperiment, or nobody can tell.
    Outside,
}

/// What was away when slots passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Away {
    /// The agent.
    #[default]
    Agent,
    /// The schedule: it was not in the configuration that was in force.
    Schedule,
}

impl Away {
    fn is_agent(&self) -> bool {
        *self == Self::Agent
    }
}

/// Why a run was never started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum SkipReason {
    /// Its slot and the ones up to `through` passed unseen and are not made up for.
    Missed {
        /// The last of them (inclusive).
        through: Timestamp,
        /// How many, up to a limit.
        count: u32,
        /// What was away.
        #[serde(default, skip_serializing_if = "Away::is_agent")]
        away: Away,
    },
    /// Its schedule or trigger takes one slot or deployment in so many, and this is none of them.
    NotDrawn {
        /// In how many.
        one_in: u32,
    },
    /// The event tells of a rollback, and its trigger skips those.
    Rollback,
    /// A newer deployment of the same key is known.
    Superseded {
        /// Its run.
        by: RunId,
        /// Its version.
        version: Option<String>,
    },
    /// The same version of the same key has been started already.
    Repeated {
        /// By which run.
        run: RunId,
        /// Which version.
        version: String,
    },
    /// The last run of the same key began too short a time ago.
    CoolingDown {
        /// Which run that is.
        after: RunId,
        /// When the cool-down is over.
        until: Timestamp,
    },
    /// The event is too old.
    Stale {
        /// Until when it could have started.
        fresh_until: Timestamp,
    },
    /// It could not start within its deadline.
    Late {
        /// The deadline.
        start_by: Timestamp,
        /// What it waited for last.
        waited_for: Option<HoldReason>,
    },
    /// All chaos is halted.
    Halted {
        /// By whom.
        by: String,
    },
    /// A window is open.
    Closed {
        /// Which.
        window: WindowName,
        /// When it lifts, if known.
        until: Option<Timestamp>,
        /// Why nobody knows whether it is open, when that is what closes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unknown: Option<String>,
    },
    /// It could still be running when a window opens.
    WouldCross {
        /// Which.
        window: WindowName,
        /// When that opens.
        opens: Timestamp,
        /// When the run would have ended at the latest, the time to stop it included.
        ends: Timestamp,
        /// Why nobody knows whether it is open from then on, when that is what closes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unknown: Option<String>,
    },
    /// Another run of the experiment is going on.
    Overlap {
        /// Which.
        with: RunId,
    },
    /// A run of another experiment is going on that excludes this one.
    Excluded {
        /// Which.
        with: RunId,
        /// Why.
        conflict: Conflict,
    },
    /// The last run ended too short a time ago.
    Gap {
        /// When it would be over.
        until: Timestamp,
        /// The group whose gap it is; none for the experiment's own.
        group: Option<Name>,
    },
    /// As many runs as may are waiting for their turn.
    QueueFull {
        /// How many that is.
        limit: usize,
    },
    /// The experiment is paused.
    Paused {
        /// By whom.
        by: String,
        /// Why.
        reason: Option<String>,
        /// When the pause ends by itself, if it does.
        until: Option<Timestamp>,
    },
    /// Runs of the experiment failed, and it waits for a change, for time, or for somebody who resumes it.
    Failing {
        /// What is wrong.
        trouble: Trouble,
        /// How many failed in a row.
        failures: u32,
        /// When it may run again by itself, if ever.
        until: Option<Timestamp>,
    },
    /// It could cost more than is left of the month's budget.
    Budget {
        /// What runs of the month have cost, and those that go on may.
        spent: Usd,
        /// What this one may.
        cost: Usd,
        /// What all of a month may.
        limit: Usd,
    },
    /// Its schedule has begun as many runs as it may.
    RunsUsedUp {
        /// Which schedule.
        schedule: ScheduleName,
        /// How many that is.
        limit: u32,
    },
    /// The template cannot be used: missing, denied, ambiguous.
    Template {
        /// Kind of failure.
        class: FailureClass,
        /// The failure's own words.
        message: String,
    },
    /// Its account or Region is not allowed.
    NotAllowed {
        /// Which.
        identity: Identity,
    },
    /// FIS's safety lever is not disengaged.
    SafetyLever {
        /// How it was found.
        found: Found,
    },
    /// The template breaks a policy.
    Policy {
        /// By what.
        #[serde(flatten)]
        breach: Breach,
    },
    /// The experiment is no longer in the configuration.
    Removed,
    /// An operator took it back before it was started.
    Withdrawn {
        /// Who.
        by: String,
        /// Why.
        reason: Option<String>,
    },
}

/// Gives each variant the name that is used in metrics, events, tables and filters.
macro_rules! named {
    ($type:ident { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $type {
            /// All names.
            pub const NAMES: &[&str] = &[$($name),+];

            /// Returns the name used in metrics, events, tables and filters.
            pub fn as_str(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name),+
                }
            }
        }
    };
}

named!(HoldReason {
    Closed => "closed",
    TemplateUnread => "template-unread",
    PlaceUnread => "place-unread",
    Crowded => "active-experiments",
    Unwell => "health",
    Busy => "busy",
    Gap => "gap",
});

named!(SkipReason {
    Missed => "missed",
    NotDrawn => "not-drawn",
    Rollback => "rollback",
    Superseded => "superseded",
    Repeated => "repeated",
    CoolingDown => "cooling-down",
    Stale => "stale",
    Late => "late",
    Halted => "halted",
    Closed => "closed",
    WouldCross => "would-cross",
    Overlap => "overlap",
    Excluded => "excluded",
    Gap => "gap",
    QueueFull => "queue-full",
    Paused => "paused",
    Failing => "failing",
    Budget => "budget",
    RunsUsedUp => "runs-used-up",
    Template => "template",
    NotAllowed => "not-allowed",
    SafetyLever => "safety-lever",
    Policy => "policy",
    Removed => "removed",
    Withdrawn => "withdrawn",
});

named!(StopCause {
    StopCondition => "stop-condition",
    SafetyLever => "safety-lever",
    Operator => "operator",
    Halt => "halt",
    Closed => "closed",
    MaxDuration => "max-duration",
    Replaced => "replaced",
    Shutdown => "shutdown",
    Outside => "outside",
});
