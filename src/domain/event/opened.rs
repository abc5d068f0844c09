//! Opening: which runs an event opens, and what of each is settled by the event alone.
//!
//! Pure. What the event alone decides (a rollback that is not wanted, a draw, its age) is decided here, and the run is recorded
//! as skipped; everything else is the planner's business.

use jiff::{SignedDuration, Timestamp};

use super::{Event, UnreadableEvent};
use crate::domain::{
    civil::later,
    deployment::{Deployment, Direction, Terms},
    experiment::{EventTrigger, Experiment, Rollbacks, Rules},
    ids::{self, Name},
    pattern::UnreadableText,
    run::{Run, RunState, RunTimes, SkipReason, TraceParent, Trigger},
};

/// How an event came in.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// By which queue or webhook, by our name.
    pub source: Name,
    /// When. Of several events that are in order, each has a later instant than the one before.
    pub at: Timestamp,
    /// When it was sent, by the transport's own clock, where it says.
    pub sent_at: Option<Timestamp>,
    /// Whether that says something about the order in which they happened.
    pub order: Order,
    /// Trace that the sender belonged to, where the transport says.
    pub parent: Option<TraceParent>,
}

/// Whether events come in the order in which they happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// In any: their own time tells, to the second.
    Any,
    /// In the order in which they were sent: a FIFO queue.
    Kept,
}

/// An event that was older than this when it was sent was sent again: out of a dead-letter queue, say, or an archive. Where it
/// stands in its queue says nothing then.
const SENT_AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// Returns the runs that an event opens: at most one an experiment, by its first trigger that matches.
///
/// # Errors
/// [`UnreadableEvent`] when a pattern looks where the event cannot be read; the message is to be kept aside then.
pub fn opened_runs(rules: &Rules, event: &Event, receipt: &Receipt) -> Result<Vec<Run>, UnreadableEvent> {
    let mut runs: Vec<Run> = Vec::new();
    let unreadable = |error: UnreadableText| UnreadableEvent::NotJson { reason: error.to_string() };
    for (experiment, trigger) in rules.triggered_by(&event.text).map_err(unreadable)? {
        let is_source = trigger.sources.is_empty() || trigger.sources.contains(&receipt.source);
        if is_source && runs.last().is_none_or(|run| run.experiment != experiment.name) {
            runs.push(run(experiment, trigger, event, receipt));
        }
    }
    Ok(runs)
}

fn run(experiment: &Experiment, trigger: &EventTrigger, event: &Event, receipt: &Receipt) -> Run {
    let received_at = receipt.at;
    // An event from the future would outlive and supersede all that come after it. Our clock may have been set back.
    let latest = receipt.sent_at.map_or(received_at, |sent_at| sent_at.max(received_at));
    let happened_at = event.time.or(receipt.sent_at).map_or(received_at, |time| time.min(latest));
    let is_sent_first = |sent_at: &Timestamp| sent_at.duration_since(happened_at) <= SENT_AGAIN_AFTER;
    let order = match receipt.order {
        Order::Any => happened_at,
        Order::Kept => receipt.sent_at.filter(is_sent_first).unwrap_or(happened_at),
    };
    let is_rollback = trigger.reading.rollback.as_ref().is_some_and(|rollback| rollback.matches(&event.body));
    let direction = if is_rollback { Direction::Rollback } else { Direction::Forward };
    let deployment = trigger.reading.read(&event.body, direction, order);
    let ripe_at = later(happened_at, trigger.min_age);
    let not_before = later(received_at, trigger.settle).max(ripe_at);
    let times = RunTimes {
        opened_at: received_at,
        not_before,
        start_by: later(not_before, trigger.start_deadline),
        hold_until: trigger.hold_for.is_positive().then(|| later(not_before, trigger.hold_for)),
    };
    let terms = Terms {
        fresh_until: trigger.max_age.map(|age| later(happened_at, age)),
        settle_limit: trigger.settle_limit,
        ripe_at: trigger.min_age.is_positive().then_some(ripe_at),
        cool_down: trigger.cool_down,
        supersede: trigger.supersede,
    };
    let refused = refusal(experiment, trigger, event, deployment.as_ref(), direction);
    let state = match refused {
        Some(reason) => RunState::Skipped { reason, at: received_at },
        None if not_before > received_at => RunState::Settling,
        None => RunState::Requested,
    };
    let why = Trigger::Event {
        source: event.source.clone(),
        event_id: event.id.clone(),
        detail_type: event.detail_type.clone(),
        received_at,
        event_time: event.time,
        parent: receipt.parent.or(event.parent),
        deployment: deployment.map(Box::new),
        terms,
    };
    Run::open(experiment.name.clone(), why, state, times)
}

/// Says why an event starts nothing whatever comes.
fn refusal(
    experiment: &Experiment,
    trigger: &EventTrigger,
    event: &Event,
    deployment: Option<&Deployment>,
    direction: Direction,
) -> Option<SkipReason> {
    if direction == Direction::Rollback && trigger.rollbacks == Rollbacks::Skip {
        return Some(SkipReason::Rollback);
    }
    let one_in = trigger.one_in;
    let version = deployment.and_then(|deployment| deployment.version.as_deref());
    let drawn_by = match (deployment, version) {
        (Some(deployment), Some(version)) => ["deployment", experiment.name.as_str(), &deployment.key, version],
        _no_version => ["event", experiment.name.as_str(), &event.source, &event.id],
    };
    let is_taken = one_in <= 1 || ids::draw(&drawn_by).is_multiple_of(u64::from(one_in));
    (!is_taken).then_some(SkipReason::NotDrawn { one_in })
}
