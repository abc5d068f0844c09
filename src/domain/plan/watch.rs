//! Watching: when FIS is asked how an experiment is, and when it is told to stop.

use jiff::{SignedDuration, Timestamp};

use super::{
    Effect, Mode, Snapshot, Survey,
    start::{halt_stops, is_due, longest_lead},
    turn,
};
use crate::domain::{
    civil::later,
    experiment::{Experiment, FIS_MAX_DURATION},
    fis::{FailureClass, FisStatus},
    outcome::{self, Outcome},
    react::BACKOFF_LIMIT,
    run::{Observation, Run, RunState, StopCause, StopRequestState, Watch, WindowRule},
    window,
};

/// Time between two polls in an experiment's first minute.
const POLL_EARLY: SignedDuration = SignedDuration::from_secs(2);
/// Time between two polls after that.
const POLL_LATER: SignedDuration = SignedDuration::from_secs(10);
/// Least time between two polls, whatever FIS tells of the experiment meanwhile.
const POLL_HINTED: SignedDuration = SignedDuration::from_secs(1);
/// How long polls are frequent.
const EARLY: SignedDuration = SignedDuration::from_mins(1);
/// Longest time between two polls that fail.
const POLL_BACKOFF_LIMIT: SignedDuration = SignedDuration::from_mins(1);

/// FIS ends everything after twelve hours; an hour later nothing of it can be running, whatever it does not say.
pub const LOST_AFTER: SignedDuration = SignedDuration::from_hours(13);
/// How long FIS may deny that an experiment exists before it is lost.
pub const NOT_FOUND_LOST_AFTER: SignedDuration = SignedDuration::from_mins(15);
/// How many denials it takes besides: two with a night or a clock step between them prove nothing.
const LOST_AFTER_POLLS: u32 = 10;
/// How many failures it takes besides to be lost without a word, at most one a minute: whatever the clock says, FIS was asked
/// for [`LOST_AFTER`].
pub const LOST_AFTER_FAILURES: u32 = 13 * 60;
/// How many answers in a row that name a status nobody knows it takes besides to be lost, at most one in ten seconds: as above.
pub const LOST_AFTER_UNKNOWN: u32 = 13 * 60 * 6;
/// What was told to stop and is not stopping this long after is told again.
const STOP_TAKES: SignedDuration = SignedDuration::from_mins(1);
/// What is told to stop is given up no earlier than this after it was told to.
const STOP_LASTS: SignedDuration = SignedDuration::from_hours(1);

/// How far ahead the next closure is looked for; the survey is repeated before that.
const CLOSURE_HORIZON: SignedDuration = SignedDuration::from_hours(1);

pub(super) fn survey(snapshot: &Snapshot<'_>, held: &[&Run], run: &Run, now: Timestamp, survey: &mut Survey) {
    let (since, watch, ours) = match &run.state {
        RunState::Running { since, watch, .. } => (*since, *watch, None),
        RunState::Stopping { since, watch, cause, .. } => (*since, *watch, Some(cause)),
        _ => return,
    };
    if let Some(outcome) = run.fis.as_ref().and_then(|fis| outcome::of(fis, ours)) {
        return survey.record(run, Observation::Finished { outcome });
    }
    if let Some(class) = lost(run, since, &watch) {
        return survey.record(run, Observation::Finished { outcome: Outcome::Lost { class } });
    }
    match &run.state {
        RunState::Stopping { request: StopRequestState::Due { at, .. }, cause, .. } => {
            if is_due(*at, BACKOFF_LIMIT, now) {
                return survey.effects.push(Effect::Stop { run: run.id.clone(), cause: cause.clone() });
            }
            survey.wake_at(*at);
        }
        // FIS answered the request, but says a minute later that the experiment goes on as if nothing had been asked.
        RunState::Stopping { request: StopRequestState::Taken { at }, cause, .. }
            if watch.failures == 0
                // An answer from before the clock was set back is no later answer.
                && watch.asked_at.is_some_and(|asked| asked >= later(*at, STOP_TAKES) && asked <= now)
                && goes_on(run) =>
        {
            return survey.effects.push(Effect::Stop { run: run.id.clone(), cause: cause.clone() });
        }
        RunState::Running { .. } => {
            if let Some(cause) = stop_cause(snapshot, held, run, since, now, survey) {
                return survey.effects.push(Effect::Stop { run: run.id.clone(), cause });
            }
        }
        _ => {}
    }
    let due = poll_at(since, &watch);
    let due = hinted_at(snapshot, run, &watch, now).map_or(due, |hinted| hinted.min(due));
    // A poll that lies in the future because the clock was set back is due as well.
    if now >= due || watch.asked_at.is_some_and(|asked| now < asked) {
        survey.effects.push(Effect::Poll { run: run.id.clone() });
    } else {
        survey.poll_at(due);
    }
}

/// Tells whether FIS last said that the experiment is neither over nor being stopped.
fn goes_on(run: &Run) -> bool {
    let going = [FisStatus::Pending, FisStatus::Initiating, FisStatus::Running];
    run.fis.as_ref().is_some_and(|fis| going.contains(&fis.status))
}

/// When FIS is asked next.
fn poll_at(since: Timestamp, watch: &Watch) -> Timestamp {
    let Some(asked) = watch.asked_at else { return since };
    let pace = if asked.duration_since(since) < EARLY { POLL_EARLY } else { POLL_LATER };
    let doublings = watch.failures.min(5);
    let pace = (pace * 2_i32.pow(doublings)).min(POLL_BACKOFF_LIMIT);
    later(asked, pace)
}

/// When FIS is asked because it told of the experiment after it was last asked. While polls fail it is not asked more often
/// for that.
fn hinted_at(snapshot: &Snapshot<'_>, run: &Run, watch: &Watch, now: Timestamp) -> Option<Timestamp> {
    let (asked, told) = (watch.asked_at?, *snapshot.hints.get(run.watched()?.0)?);
    // What was told before the clock was set back is later than anything that is asked now.
    (watch.failures == 0 && asked < told && told <= now).then(|| later(asked, POLL_HINTED))
}

/// Why a run counts as lost, if it does. Time alone never makes it so, only an answer at such a time, or its failure: the
/// agent may have been away or its clock set forward, and the next poll tells how the experiment went. What goes on too
/// long is told to stop first.
fn lost(run: &Run, since: Timestamp, watch: &Watch) -> Option<FailureClass> {
    let asked = watch.asked_at?;
    let denied_for = watch.denied_since.map_or(SignedDuration::ZERO, |first| asked.duration_since(first));
    let is_denied = watch.last_failure == Some(FailureClass::NotFound) && watch.denials >= LOST_AFTER_POLLS;
    if is_denied && denied_for >= NOT_FOUND_LOST_AFTER {
        return Some(FailureClass::NotFound);
    }
    let RunState::Stopping { asked_at: told_at, .. } = &run.state else { return None };
    let fis = run.fis.as_ref();
    let is_unread = match watch.failures {
        // What FIS says goes on is not lost, however long it takes.
        0 => watch.unknown >= LOST_AFTER_UNKNOWN,
        failures => failures >= LOST_AFTER_FAILURES,
    };
    let begun = fis.and_then(|fis| fis.started_at.or(fis.created_at)).unwrap_or(since);
    let is_overdue = asked.duration_since(begun) >= LOST_AFTER
        && asked.duration_since(since) >= FIS_MAX_DURATION
        && asked.duration_since(*told_at) >= STOP_LASTS;
    (is_unread && is_overdue).then(|| watch.last_failure.unwrap_or(FailureClass::Unreadable))
}

/// Why a running experiment has to be stopped now, if it has to; else asks to be woken when it may have to.
fn stop_cause(
    snapshot: &Snapshot<'_>,
    held: &[&Run],
    run: &Run,
    since: Timestamp,
    now: Timestamp,
    survey: &mut Survey,
) -> Option<StopCause> {
    if let Some(stop) = snapshot.stops.get(&run.id) {
        return Some(StopCause::Operator { by: stop.by.clone(), reason: stop.reason.clone() });
    }
    if let Some(halt) = halt_stops(snapshot) {
        return Some(StopCause::Halt { by: halt.by.clone() });
    }
    if snapshot.mode == Mode::DrainingWithStop {
        return Some(StopCause::Shutdown);
    }
    // An experiment that left the configuration is still bound by every window that may have been about it.
    let experiment = &run.under(snapshot.rules);
    let limit = later(since, experiment.max_duration);
    if now >= limit {
        return Some(StopCause::MaxDuration);
    }
    survey.wake_at(limit);
    if let Some(cause) = turn::replaced_by(snapshot, held, experiment, run, now) {
        return Some(cause);
    }
    match run.trigger.windows() {
        WindowRule::Hold => closure_stop(snapshot, experiment, now, survey),
        WindowRule::Overridden => None,
    }
}

/// Finds the window for which a run has to be stopped now; else asks to be woken at the next one's lead.
fn closure_stop(
    snapshot: &Snapshot<'_>,
    experiment: &Experiment,
    now: Timestamp,
    survey: &mut Survey,
) -> Option<StopCause> {
    let windows = &snapshot.rules.windows;
    let horizon = later(now, CLOSURE_HORIZON);
    if let Some(closure) = window::first_stop(windows, experiment, now, later(horizon, longest_lead(snapshot))) {
        let stop_at = closure.opens.saturating_sub(closure.on_entry.lead()).unwrap_or(closure.opens);
        if now >= stop_at {
            return Some(StopCause::Closed { window: closure.window, unknown: closure.unknown });
        }
        survey.wake_at(stop_at);
    }
    survey.wake_at(horizon);
    None
}
