//! Closing times in a world: who may not run when, and whether those who ran were told to stop in time.

use std::{borrow::Cow, collections::BTreeMap};

use firedrill::domain::{
    experiment::{Experiment as Declared, FIS_MAX_DURATION, Place, Rules},
    plan::HaltRunning,
    run::{HoldReason, Observation, Run, RunState, WindowRule},
    window::{Membership, OnEntry, Window, WindowKind},
};
use jiff::{SignedDuration, Timestamp};

use super::check::{Evidence, plus};
use crate::sim::{
    drawn::scenario::SECOND_MS,
    driven::{
        replica::Why,
        world::{RELOAD_SPREAD_MS, World},
    },
    simulated::{fis::CallLog, truth::Experiment},
    troubles::{endings, halts, unread},
};

/// How long a step of the clock may stay unnoticed, in milliseconds: a process looks at it every second.
const NOTICES_MS: u64 = SECOND_MS;

/// How long a halt has to stand to be seen by an agent that nothing hinders, in milliseconds. A look that is under way when it
/// is made goes by the rows of before, and the next one by those of then: nobody promises to have seen what was lifted between
/// the two. A look takes a dozen queries of some milliseconds, and news gather for as long as it took, at most 50 ms.
const SEEN_MS: u64 = 200;

/// How long an agent that is able may take until it asks FIS to stop: a call under way is waited for, a connection is made.
pub const PROMPT_MS: u64 = 6 * SECOND_MS;

/// Clocks may be apart by less than this, so that what was read may seem to lie ahead.
const CLOCKS_APART: SignedDuration = SignedDuration::from_mins(1);

/// A calendar that grows too old is noticed with the next look, not at the instant.
const DOUBT_SEEN: SignedDuration = SignedDuration::from_secs(31);

/// How long after a window has lifted nobody waits for it any more.
const LIFTED: SignedDuration = SignedDuration::from_mins(2);

/// An experiment as it is declared, but at the place at which a run of it was begun.
pub fn at_place<'d>(declared: &'d Declared, place: &Place) -> Cow<'d, Declared> {
    if declared.place == *place {
        return Cow::Borrowed(declared);
    }
    Cow::Owned(Declared { place: place.clone(), account: place.account(), ..declared.clone() })
}

/// How long before it a window stops what runs, if it does.
fn stop_lead(window: &Window) -> Option<SignedDuration> {
    match window.on_entry {
        OnEntry::Stop { lead } => Some(lead),
        OnEntry::Finish => None,
    }
}

fn in_scope<'r>(rules: &'r Rules, declared: &'r Declared, kind: WindowKind) -> impl Iterator<Item = &'r Window> {
    rules.windows.iter().filter(move |window| window.kind == kind && window.scope.holds(declared))
}

fn meets(window: &Window, from: Timestamp, to: Timestamp) -> bool {
    window.intervals(from, to).into_iter().next().is_some()
}

fn covers(window: &Window, at: Timestamp) -> bool {
    meets(window, at, at + SignedDuration::from_nanos(1))
}

fn is_outside_allowed(rules: &Rules, declared: &Declared, at: Timestamp) -> bool {
    let mut allowed = in_scope(rules, declared, WindowKind::Allowed).peekable();
    // What is perhaps another's opens no time.
    let opens = |window: &Window| window.scope.membership(declared) == Some(Membership::Sure) && covers(window, at);
    allowed.peek().is_some() && !allowed.any(opens)
}

/// Whether nobody knows at an instant what a window's calendar says.
fn is_doubted(window: &Window, at: Timestamp) -> bool {
    window.calendars.iter().any(|reading| match &reading.content {
        None => true,
        Some(content) => at <= content.read_at - CLOCKS_APART || at > content.read_at + reading.good_for,
    })
}

/// Whether an experiment may not run at some instant of `[from, to)`, or so shortly before a window that its lead
/// forbids it, as far as is known at `from`. Where several allowed windows have a say, the most lenient lead counts.
pub fn is_closed_within(rules: &Rules, declared: &Declared, from: Timestamp, to: Timestamp) -> bool {
    if rules.windows.iter().any(|window| window.scope.holds(declared) && is_doubted(window, from)) {
        return true;
    }
    let denied = in_scope(rules, declared, WindowKind::Blackout).any(|window| meets(window, from, to + window.lead));
    let lead = in_scope(rules, declared, WindowKind::Allowed).map(|window| window.lead).min().unwrap_or_default();
    denied || edges(rules, declared, from, to + lead).into_iter().any(|at| is_outside_allowed(rules, declared, at))
}

/// Lists runs that wait for a window to lift, though for a while none has been in their way, as long as they may take.
pub fn held_for_nothing(world: &World, rules: &Rules) -> Vec<String> {
    let now = world.nature.now();
    let longest = rules.windows.iter().filter_map(stop_lead).max().unwrap_or(SignedDuration::ZERO);
    let is_open = |run: &&Run| {
        let RunState::Held { reason: HoldReason::Closed { .. }, .. } = &run.state else { return false };
        // Not before it is due, which it is not once more after the clock was set back.
        run.not_before <= now - LIFTED
            && rules.experiments.get(&run.experiment).is_some_and(|declared| {
                let is_closed = |from| is_closed_within(rules, declared, from, now + declared.max_duration + longest);
                !is_closed(now - LIFTED) && !is_closed(now)
            })
    };
    world.store.with(|tables| {
        let held = tables.open().filter(is_open);
        held.map(|run| format!("held: {} is {:?}, nothing is closed", run.id, run.state)).collect()
    })
}

/// Lists the instants of `[from, to)` at which something may change, the first one included.
pub fn edges(rules: &Rules, declared: &Declared, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let mut edges = vec![from];
    for window in rules.windows.iter().filter(|window| window.scope.holds(declared)) {
        edges.extend(window.intervals(from, to).into_iter().flat_map(|i| [i.start, i.end]));
    }
    edges.retain(|at| from <= *at && *at < to);
    edges.sort();
    edges
}

/// Finds the first instant of `[from, to)` at which a window that stops runs has been in doubt for so long that it was
/// seen.
fn in_doubt(rules: &Rules, declared: &Declared, from: Timestamp, to: Timestamp) -> Option<Timestamp> {
    let stops = |window: &&Window| matches!(window.on_entry, OnEntry::Stop { .. });
    let windows = rules.windows.iter().filter(|window| window.scope.holds(declared)).filter(stops);
    let of_window = |window: &Window| {
        let aged = window.calendars.iter().filter_map(|reading| {
            let content = reading.content.as_ref()?;
            Some(content.read_at + reading.good_for + SignedDuration::from_millis(1))
        });
        let begins = aged.chain([from]).filter(|at| *at >= from);
        let seen = begins
            .map(|at| (at, at + DOUBT_SEEN))
            .filter(|(at, seen)| is_doubted(window, *at) && is_doubted(window, *seen));
        seen.map(|(_, seen)| seen).filter(|seen| *seen < to).min()
    };
    windows.filter_map(of_window).min()
}

/// Finds the first instant of `[from, to)` at which an experiment has to have been told to stop. Where several allowed
/// windows could have a say, the most lenient counts.
fn has_to_stop(rules: &Rules, declared: &Declared, from: Timestamp, to: Timestamp) -> Option<Timestamp> {
    let longest = rules.windows.iter().filter_map(stop_lead).max().unwrap_or(SignedDuration::ZERO);
    let allowed: Option<Vec<SignedDuration>> = in_scope(rules, declared, WindowKind::Allowed).map(stop_lead).collect();
    let mut first = in_doubt(rules, declared, from, to);
    for at in edges(rules, declared, from, to + longest) {
        let denied = in_scope(rules, declared, WindowKind::Blackout).filter(|window| covers(window, at));
        let by_deny = denied.filter_map(stop_lead).max();
        let outside = is_outside_allowed(rules, declared, at);
        let by_allow = allowed.as_ref().filter(|_| outside).and_then(|leads| leads.iter().min().copied());
        for lead in [by_deny, by_allow].into_iter().flatten() {
            let due = (at - lead).max(from);
            if due < to {
                first = Some(first.map_or(due, |first| first.min(due)));
            }
        }
    }
    first
}

/// Finds the first true time, not before another, at which an experiment has to have been told to stop.
type Due = fn(&Evidence<'_>, &Experiment, u64) -> Option<u64>;

/// What makes that it has to, by promise, and whether the agent learns of it by the store alone.
const DUES: [(&str, Due, News); 5] = [
    // Who has no lease for certain leaves what runs to whoever may have it by now.
    ("shutdown", endings::due_by_shutdown, News::InTheStore),
    ("window", due_by_window, News::Known),
    ("length", due_by_length, News::Known),
    ("stop", due_by_wish, News::InTheStore),
    ("halted", due_by_halt, News::InTheStore),
];

/// How an agent learns that it has to stop something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    Known,
    InTheStore,
}

/// Everyone who ran when it was closed, or for too long, was told to stop as soon as the agent was able to.
pub fn stops(evidence: &Evidence<'_>, found: &mut Vec<String>) {
    for experiment in evidence.experiments.iter().filter(|e| !e.is_forgotten) {
        let told = told_at(evidence, experiment).unwrap_or(u64::MAX).min(experiment.end());
        for (why, due, news) in DUES {
            if let Some((due, latest)) = overdue(evidence, experiment, (due, news), told) {
                let (id, run) = (&experiment.id, experiment.run());
                found.push(format!(
                    "{why}: {id} of {run} had to stop at {due} ms, could be told by {latest} ms, was at {told} ms"
                ));
            }
        }
    }
}

/// Finds a time at which the agent was able to stop an experiment, had to, and had not.
fn overdue(
    evidence: &Evidence<'_>,
    experiment: &Experiment,
    (due, news): (Due, News),
    told: u64,
) -> Option<(u64, u64)> {
    let mut from = experiment.created_at;
    loop {
        let wanted = due(evidence, experiment, from)?;
        let able = able_at(evidence, experiment, news, wanted);
        if told <= able.saturating_add(PROMPT_MS) {
            return None;
        }
        // The rules or the clock may have changed before the agent was able.
        if due(evidence, experiment, able)? <= able {
            return Some((wanted, able + PROMPT_MS));
        }
        from = able;
    }
}

/// When FIS was first asked to stop an experiment by somebody who reached it, whatever became of the call.
pub fn told_at(evidence: &Evidence<'_>, experiment: &Experiment) -> Option<u64> {
    let run = experiment.run();
    let calls = evidence.world.fis.with(|state| state.calls.clone());
    let is_stop = |call: &&CallLog| call.operation == "StopExperiment" && call.run.as_ref() == Some(&run);
    let told = calls.iter().filter(is_stop).find(|call| !call.is_cut);
    told.map(|call| call.at)
}

/// The stretches of true time in which an experiment is active, the rules are one and the clock does not step.
fn stretches<'e>(evidence: &'e Evidence<'_>, experiment: &Experiment, from: u64) -> Vec<(u64, u64, &'e Rules)> {
    let (begin, end) = (experiment.created_at.max(from), experiment.end());
    if begin >= end {
        return Vec::new();
    }
    let mut cuts: Vec<u64> = evidence.world.nature.steps().iter().map(|step| step.at).collect();
    cuts.extend(evidence.world.history.iter().map(|(since, _)| *since));
    cuts.extend([begin, end]);
    cuts.retain(|cut| (begin..=end).contains(cut));
    cuts.sort_unstable();
    let rules = |ms: u64| evidence.world.history.iter().rev().find(|(since, _)| *since <= ms);
    cuts.windows(2).filter_map(|cut| Some((cut[0], cut[1], &*rules(cut[0])?.1))).filter(|(a, b, _)| a < b).collect()
}

fn declared_in<'r>(evidence: &Evidence<'_>, rules: &'r Rules, experiment: &Experiment) -> Option<Cow<'r, Declared>> {
    let declared = rules.experiments.get(&evidence.runs.get(&experiment.run())?.experiment)?;
    Some(at_place(declared, &experiment.place))
}

fn due_by_window(evidence: &Evidence<'_>, experiment: &Experiment, from: u64) -> Option<u64> {
    if evidence.runs.get(&experiment.run())?.trigger.windows() == WindowRule::Overridden {
        return None;
    }
    // What was over by the clock of whoever began it may last a little longer by the common one.
    let from = from.max(experiment.created_at + evidence.world.clocks_apart());
    stretches(evidence, experiment, from).into_iter().find_map(|(begin, end, rules)| {
        let declared = declared_in(evidence, rules, experiment)?;
        let nature = &evidence.world.nature;
        let is_step = nature.steps().iter().any(|step| step.at == begin);
        let begin = begin + if is_step { NOTICES_MS } else { 0 };
        if begin >= end {
            return None;
        }
        let (opens, closes) = (nature.wall_at(begin), plus(nature.wall_at(begin), end - begin));
        // It has to by the clock of whoever decides.
        let apart = nature.apart();
        let by_clock = |by_ms: i64| {
            let by = SignedDuration::from_millis(by_ms);
            Some(has_to_stop(rules, &declared, opens + by, closes + by)? - by)
        };
        let due = [-apart, 0, apart].map(by_clock).into_iter().collect::<Option<Vec<_>>>()?.into_iter().max()?;
        Some(begin + u64::try_from(due.duration_since(opens).as_millis()).expect("after the beginning"))
    })
}

fn due_by_length(evidence: &Evidence<'_>, experiment: &Experiment, from: u64) -> Option<u64> {
    stretches(evidence, experiment, from).into_iter().find_map(|(begin, end, rules)| {
        let longest = match declared_in(evidence, rules, experiment) {
            Some(declared) => declared.max_duration,
            None => begun_with(evidence, experiment).unwrap_or(FIS_MAX_DURATION),
        };
        let began = experiment.created_at;
        // A step back makes the agent wait for the same instant again.
        let steps = evidence.world.nature.steps();
        let back = steps.iter().filter(|step| step.by_ms < 0 && began < step.at && step.at <= begin);
        let longer: u64 = back.map(|step| step.by_ms.unsigned_abs()).sum();
        // It counts from the beginning that FIS tells, and FIS's clock may be ahead.
        let nature = &evidence.world.nature;
        let (ours, theirs) = (nature.wall_at(began), nature.true_wall_at(began));
        let longer = longer + u64::try_from(theirs.duration_since(ours).as_millis()).unwrap_or(0);
        let due = began + u64::try_from(longest.as_millis()).expect("a length") + longer;
        (due < end).then(|| due.max(begin))
    })
}

/// The longest that it may take by what it was begun under.
fn begun_with(evidence: &Evidence<'_>, experiment: &Experiment) -> Option<SignedDuration> {
    evidence.begun_under(evidence.runs.get(&experiment.run())?).iter().map(|declared| declared.max_duration).max()
}

fn due_by_wish(evidence: &Evidence<'_>, experiment: &Experiment, from: u64) -> Option<u64> {
    let run = experiment.run();
    let wish = evidence.world.stops_taken.iter().find(|(_, of)| *of == run)?;
    Some((wish.0 + evidence.world.news_ms).max(from).max(experiment.created_at)).filter(|due| *due < experiment.end())
}

fn due_by_halt(evidence: &Evidence<'_>, experiment: &Experiment, from: u64) -> Option<u64> {
    let changes = halts::changes(evidence.world).into_iter();
    let changes: Vec<(u64, bool)> = changes.map(|(ms, running)| (ms, running == Some(HaltRunning::Stop))).collect();
    let ends = changes.iter().skip(1).map(|(ms, _)| *ms).chain([u64::MAX]);
    let halts = changes.iter().zip(ends).filter(|((_, stops), _)| *stops);
    let due = halts
        .map(|((ms, _), end)| ((*ms + evidence.world.news_ms).max(from).max(experiment.created_at), end))
        .find(|(due, end)| due.saturating_add(SEEN_MS) <= *end);
    due.map(|(due, _)| due).filter(|due| *due < experiment.end())
}

/// Tells whether something may have seemed to demand that an experiment is stopped about a true time, to a replica that
/// last looked at the first of `knew` and held the lease until the second, and whose clock and configuration need not be
/// those of others.
pub fn may_be_stopped(evidence: &Evidence<'_>, experiment: &Experiment, knew: (u64, u64), call: &CallLog) -> bool {
    let Some(run) = evidence.runs.get(&experiment.run()) else { return false };
    let (world, nature) = (evidence.world, &evidence.world.nature);
    let ((heard, ended), ms) = (knew, call.at);
    let is_asked = world.stops_taken.iter().any(|(at, of)| *at <= ms && *of == run.id);
    // What the store did not take the replica keeps that was asked.
    let here = world.stops_asked.iter().filter(|(at, replica, _)| *at <= ms && *replica == call.seat.replica);
    let is_asked = is_asked || here.into_iter().any(|(.., of)| of.as_ref().is_none_or(|of| *of == run.id));
    let mut entries = evidence.journal.get(&run.id).into_iter().flatten();
    let is_stopping = entries.any(|(at, _, o)| *at <= ended && matches!(o, Observation::StopAsked { .. }));
    let changes = halts::changes(world);
    let before = changes.iter().rev().find(|(at, _)| *at <= heard);
    let mut halts = changes.iter().filter(|(at, _)| heard < *at && *at <= ms).chain(before);
    let is_halted = halts.any(|(_, running)| *running == Some(HaltRunning::Stop));
    let spread = RELOAD_SPREAD_MS + PROMPT_MS;
    let has_stepped = nature.steps().iter().any(|step| ended.saturating_sub(spread) <= step.at && step.at <= ms);
    // FIS's clock may be behind: then it has gone on for longer than it has.
    let began = nature.wall_at(experiment.created_at).min(nature.true_wall_at(experiment.created_at));
    let by_rules = |rules: &&Rules| {
        let Some(declared) = declared_in(evidence, rules, experiment) else { return true };
        let at = nature.wall_at(ms);
        let apart = CLOCKS_APART + SignedDuration::from_mins(10);
        plus(at, spread) + CLOCKS_APART >= began + declared.max_duration
            || is_closed_within(rules, &declared, at - CLOCKS_APART, at + apart)
    };
    is_asked
        || is_stopping
        || is_halted
        || has_stepped
        || evidence.rules_between(ms.saturating_sub(spread), ms).iter().any(by_rules)
}

/// Grants the agent what kept it: each hindrance that begins before it could have acted moves that instant.
pub fn able_at(evidence: &Evidence<'_>, experiment: &Experiment, news: News, due: u64) -> u64 {
    let world = evidence.world;
    let run = experiment.run();
    let mut hindrances = match news {
        News::InTheStore => world.absences(|why| why != Why::Cut).into_iter().chain(world.store_faults()).collect(),
        News::Known => world.unable_to_stop(),
    };
    // Nobody can stop what is not known to exist.
    let known = evidence
        .journal
        .get(&run)
        .into_iter()
        .flatten()
        .find_map(|(ms, _, observation)| matches!(observation, Observation::Started { .. }).then_some(*ms));
    hindrances.push((0, known.unwrap_or(u64::MAX)));
    hindrances.extend(unread::blind(evidence, &run));
    // The patience of a replica that asks in vain begins after these, and not after a reload, a step or another call.
    let delays = hindrances.clone();
    hindrances.extend(world.nature.steps().iter().map(|step| (step.at, step.at)));
    hindrances.extend(world.history.iter().enumerate().map(|(n, (since, _))| (*since, world.reached_deciders(n))));
    // A call under way is waited for, but not a poll; one that begins later than the stop is due is no excuse.
    let calls = world.fis.with(|state| state.calls.clone());
    let waits = calls.iter().filter(|call| call.run.as_ref() == Some(&run) && call.operation != "GetExperiment");
    let calls: Vec<(u64, u64)> = waits.map(|call| (call.at, call.until)).collect();
    let (cuts, mut granted) = (world.cuts(), BTreeMap::new());
    let mut able = due;
    loop {
        let kept = hindrances.iter().filter(|(from, _)| *from <= able.saturating_add(PROMPT_MS));
        let called = calls.iter().filter(|(from, _)| *from <= able);
        let mut next = kept.chain(called).map(|(_, to)| *to).max().unwrap_or(0);
        if next > able {
            if delays.iter().any(|(from, to)| *from <= able.saturating_add(PROMPT_MS) && able < *to) {
                granted.clear();
            }
        } else {
            let reached = cuts.iter().enumerate().filter(|(_, cut)| cut.from <= able.saturating_add(PROMPT_MS));
            let granted =
                reached.map(|(n, cut)| *granted.entry(n).or_insert_with(|| world.granted(cut, able.max(cut.from))));
            next = granted.max().unwrap_or(0);
        }
        if next <= able {
            return able;
        }
        able = next;
    }
}
