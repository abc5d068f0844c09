//! Words: reasons, causes and outcomes as sentences for people. The names for machines stand beside the types.
//!
//! Pure.

use std::fmt;

use super::{
    ids::Name,
    ledger::Trouble,
    outcome::Outcome,
    plan::MISSED_COUNT_LIMIT,
    run::{Away, Conflict, HoldReason, SkipReason, StopCause, Trigger, WindowRule},
};

/// Writes ` until T`, or nothing where there is no known end.
fn until(f: &mut fmt::Formatter<'_>, until: Option<&jiff::Timestamp>) -> fmt::Result {
    until.map_or(Ok(()), |until| write!(f, " until {}", second(*until)))
}

/// Writes `: reason`, or nothing.
fn because(f: &mut fmt::Formatter<'_>, reason: Option<&String>) -> fmt::Result {
    reason.map_or(Ok(()), |reason| write!(f, ": {reason}"))
}

/// Returns an instant to the second.
fn second(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Writes whose gap is not over, and until when it lasts.
fn gap(f: &mut fmt::Formatter<'_>, group: Option<&Name>, end: jiff::Timestamp) -> fmt::Result {
    match group {
        Some(group) => write!(f, "the gap between runs of group `{group}` lasts until {}", second(end)),
        None => write!(f, "its `min_gap` lasts until {}", second(end)),
    }
}

/// Writes why an experiment that failed does not run.
fn failing(f: &mut fmt::Formatter<'_>, trouble: Trouble, failures: u32, end: Option<&jiff::Timestamp>) -> fmt::Result {
    let times = if failures == 1 { "the last run".to_owned() } else { format!("the last {failures} runs") };
    match (trouble, end) {
        (_, Some(end)) => write!(f, "{times} failed; it waits until {}", second(*end)),
        (Trouble::Configuration, None) => {
            write!(f, "{times} could not start; it waits for another template or place, or for `resume`")
        }
        (Trouble::Unhealthy, None) => write!(f, "{times} failed; it waits for `resume`"),
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Experiment => write!(f, "the same experiment"),
            Self::Group { group } => write!(f, "group `{group}`"),
            Self::Target { target } => write!(f, "{target}"),
        }
    }
}

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agent => "the agent was away",
            Self::Schedule => "its schedule was not in the configuration",
        })
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missed { count: 1, away, .. } => write!(f, "the slot passed while {away}"),
            Self::Missed { through, count, away } => {
                let least = if *count >= MISSED_COUNT_LIMIT { "at least " } else { "" };
                write!(f, "{least}{count} slots up to {} passed while {away}", second(*through))
            }
            Self::NotDrawn { one_in } => write!(f, "one in {one_in} is taken, and this one was not drawn"),
            Self::Rollback => write!(f, "it is a rollback, and its trigger skips those"),
            Self::Superseded { by, version: None } => write!(f, "run {by} is about a newer deployment of the same"),
            Self::Superseded { by, version: Some(version) } => write!(f, "run {by} is about newer version {version}"),
            Self::Repeated { run, version } => write!(f, "run {run} was started for version {version} already"),
            Self::CoolingDown { after, until: end } => {
                write!(f, "run {after} of the same began too short a time ago; it cools down until {}", second(*end))
            }
            Self::Stale { fresh_until } => write!(f, "its event was fresh until {}", second(*fresh_until)),
            Self::Late { start_by, waited_for: None } => write!(f, "it could not start by {}", second(*start_by)),
            Self::Late { start_by, waited_for: Some(reason) } => {
                write!(f, "it could not start by {}: {reason}", second(*start_by))
            }
            Self::Halted { by } => write!(f, "all chaos is halted by {by}"),
            Self::Closed { window, until: end, unknown } => {
                write!(f, "window `{window}` forbids it")?;
                until(f, end.as_ref())?;
                because(f, unknown.as_ref())
            }
            Self::WouldCross { window, opens, ends, unknown } => {
                // A lead refuses what would be over before.
                let in_lead = ends <= opens;
                let (ends, opens) = (second(*ends), second(*opens));
                if in_lead {
                    write!(
                        f,
                        "it could run until {ends}, within the lead of window `{window}`, which opens at {opens}"
                    )?;
                } else {
                    write!(f, "it could run until {ends}, but window `{window}` forbids it from {opens}")?;
                }
                because(f, unknown.as_ref())
            }
            Self::Overlap { with } => write!(f, "run {with} of the same experiment is going on"),
            Self::Excluded { with, conflict } => write!(f, "run {with} is going on and shares {conflict} with it"),
            Self::Gap { until: end, group } => gap(f, group.as_ref(), *end),
            Self::QueueFull { limit: 1 } => write!(f, "a run waits for its turn already"),
            Self::QueueFull { limit } => write!(f, "{limit} runs wait for their turn already"),
            Self::Paused { by, reason, until: end } => {
                write!(f, "it is paused by {by}")?;
                until(f, end.as_ref())?;
                because(f, reason.as_ref())
            }
            Self::Failing { trouble, failures, until: end } => failing(f, *trouble, *failures, end.as_ref()),
            Self::Budget { spent, cost, limit } => {
                write!(f, "it may cost {cost} USD, and {spent} of the month's {limit} USD are spent or going on")
            }
            Self::RunsUsedUp { schedule, limit } => {
                write!(f, "schedule `{schedule}` has begun all {limit} runs that it may")
            }
            Self::Template { class, message } => write!(f, "the template cannot be used ({class}): {message}"),
            Self::NotAllowed { identity } => write!(f, "{identity}: nothing may start there"),
            Self::SafetyLever { found } => {
                write!(f, "the safety lever is {}", found.stands.as_str())?;
                because(f, Some(&found.reason).filter(|reason| !reason.is_empty()))
            }
            Self::Policy { breach } => write!(f, "the template breaks a policy: {breach}"),
            Self::Removed => write!(f, "the experiment is no longer in the configuration"),
            Self::Withdrawn { by, reason } => {
                write!(f, "taken back by {by}")?;
                because(f, reason.as_ref())
            }
        }
    }
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { window, until: end, unknown } => {
                write!(f, "window `{window}` forbids it")?;
                until(f, end.as_ref())?;
                because(f, unknown.as_ref())
            }
            Self::TemplateUnread { class, message, failures } => {
                write!(f, "the template could not be read ({class}, {failures} times): {message}")
            }
            Self::PlaceUnread { class, message, failures } => {
                write!(f, "AWS did not tell what the place is like ({class}, {failures} times): {message}")
            }
            Self::Crowded { active, limit, .. } => {
                write!(f, "{active} of at most {limit} experiments are active in its account and Region")
            }
            Self::Unwell { alarm, state, until: None } => write!(f, "alarm `{alarm}` is {}", state.as_str()),
            Self::Unwell { alarm, state, until: Some(end) } => {
                write!(f, "alarm `{alarm}` is {}, but long enough only at {}", state.as_str(), second(*end))
            }
            Self::Busy { with, conflict, .. } => write!(f, "run {with} is going on and shares {conflict} with it"),
            Self::Gap { until: end, group, .. } => gap(f, group.as_ref(), *end),
        }
    }
}

impl fmt::Display for StopCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StopCondition => write!(f, "a stop condition of its template"),
            Self::SafetyLever => write!(f, "the safety lever"),
            Self::Operator { by, reason } => {
                write!(f, "operator {by}")?;
                because(f, reason.as_ref())
            }
            Self::Halt { by } => write!(f, "a halt by {by}"),
            Self::Closed { window, unknown } => {
                write!(f, "window `{window}`")?;
                because(f, unknown.as_ref())
            }
            Self::MaxDuration => write!(f, "its `max_duration`"),
            Self::Replaced { by } => write!(f, "run {by}, which takes its place"),
            Self::Shutdown => write!(f, "the agent's shutdown"),
            Self::Outside => write!(f, "somebody else"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => write!(f, "every action completed"),
            Self::CompletedPartly { skipped } => {
                write!(f, "completed without {}, which had no target", skipped.join(", "))
            }
            Self::Previewed => write!(f, "targets were resolved, nothing was done"),
            Self::Stopped { cause } => write!(f, "stopped by {cause}"),
            Self::Failed { code, reason } => write!(f, "{code}: {reason}"),
            Self::Cancelled => write!(f, "the safety lever is engaged"),
            Self::NotStarted { class, message } => write!(f, "FIS refused to start it ({class}): {message}"),
            Self::Lost { class } => write!(f, "FIS told nothing of it for too long ({class})"),
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot { schedule, at, .. } => write!(f, "slot {} of schedule `{schedule}`", second(*at)),
            Self::Event { source, event_id, detail_type, deployment, .. } => {
                write!(f, "event {event_id} ({source}, {detail_type})")?;
                let Some(deployment) = deployment else { return Ok(()) };
                write!(f, ", deployment of {}", deployment.key)?;
                deployment.version.as_ref().map_or(Ok(()), |version| write!(f, " {version}"))
            }
            Self::Manual { by, reason, windows, .. } => {
                let over = if *windows == WindowRule::Overridden { " over every window" } else { "" };
                write!(f, "asked{over} by {by}")?;
                because(f, reason.as_ref())
            }
            Self::Backfill { schedule, at, by, reason, .. } => {
                write!(f, "slot {} of schedule `{schedule}`, asked for by {by}", second(*at))?;
                because(f, reason.as_ref())
            }
        }
    }
}

/// Makes the hint for a word that is not one of those that are known, if one is like it.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let lower = word.to_lowercase();
    let farthest = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|&(distance, _)| distance <= farthest)
        .min()
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}
