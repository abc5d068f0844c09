//! What seldom happens by chance and is where mistakes are: starts at the edges of windows, a clock that jumps into a
//! blackout while something runs, processes that are gone right after a release, releases that go back and forth, replicas
//! that are far from the store as soon as they ask for a start, halts and pauses right before one is recorded, and starts that
//! take effect when nobody looks for them, until their tokens are forgotten.
//!
//! It happens to an experiment of its own that nothing else holds up.

use std::collections::BTreeMap;

use firedrill::domain::{
    deployment::Supersede,
    estimate,
    experiment::{EstimateKind, EventTrigger, Experiment, Limits, Overlap, Rules, Targets, TemplateSelector},
    pattern::Pattern,
    run::{Adopted, Observation, WindowRule},
    schedule::{Bounds, Schedule, Timing},
    template::TemplateFacts,
    window::{NameGlob, OnEntry, Scope, Span, Window, WindowKind},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::json;

use super::{
    happening::{Happening, Whom},
    releases::{Release, Stamp},
    scenario::{MINUTE_MS, SECOND_MS, Template, experiment_name, name},
};
use crate::{
    sim::{
        judged::check::{Evidence, plus},
        simulated::{
            fis::{LATE_MS, TIMEOUT_MS, TOKEN_LASTS_MS},
            truth::Experiment as Begun,
        },
        troubles::halts::Interruption,
    },
    support::chance::Chance,
};

/// The number of the experiment.
const EXPERIMENT: u64 = 9;

/// The first numbers of requests and events, so that they are nobody else's.
const FIRST_REQUEST: u64 = 10;
const FIRST_EVENT: u64 = 1_000;

/// How long before the world begins the slot was that is filled.
const PAST_MS: u64 = 5 * MINUTE_MS;

/// When a start that nobody answered has been looked for, and not been made again, in milliseconds after it was wanted, or after
/// it was given up.
const LOOKED_MS: u64 = 4_600;

/// Longest time from the wish for such a start until it is found, in milliseconds.
const UNSEEN_MS: u64 = TOKEN_LASTS_MS + 5 * MINUTE_MS;

/// Draws it for most worlds, with a chance of its own.
pub fn happenings(
    (seed, replicas): (u64, u64),
    base: Timestamp,
    length_ms: u64,
    rules: &mut Rules,
    templates: &[Template],
    drawn: &[(u64, Happening)],
) -> Vec<(u64, Happening)> {
    let mut c = Chance::new(seed.rotate_left(32) ^ !0);
    let facts = &templates[0].1;
    let mut declared = declared(&facts.id, first(drawn).map_or("app.one", |release| release.source));
    let mut all = Vec::new();
    let kind = c.between(0, 8);
    if kind < 4 && c.one_in(2) {
        has_own_windows(&mut c, base, length_ms, rules, &declared);
    }
    let edges = |kind: WindowKind| -> Vec<[u64; 2]> {
        let end = plus(base, length_ms);
        let is_about = |window: &&Window| window.kind == kind && window.scope.holds(&declared);
        let ms = |at: Timestamp| u64::try_from(at.duration_since(base).as_millis()).unwrap_or(0);
        let intervals = rules.windows.iter().filter(is_about).flat_map(|window| window.intervals(base, end));
        intervals.map(|one| [one.start, one.end].map(ms)).collect()
    };
    match kind {
        0 | 1 => {
            at_edges(&mut c, &edges(WindowKind::Allowed), &edges(WindowKind::Blackout), (&declared, facts), &mut all)
        }
        2 | 3 => into_blackouts(&mut c, &edges(WindowKind::Blackout), &mut all),
        4 => after_releases(&mut c, drawn, &mut all),
        5 => back_and_forth(&mut c, drawn, &mut all),
        6 if replicas > 1 => {
            let lag = |c: &mut Chance| (c.between(0, length_ms), Happening::Lag { experiment: EXPERIMENT });
            all.extend((0..c.between(2, 6)).map(|_| lag(&mut c)));
        }
        7 => forbidden(&mut c, length_ms, &mut all),
        8 => {
            has_past(base, rules, &mut declared);
            unseen(&mut c, replicas, length_ms, &mut all);
        }
        _ => return all,
    }
    rules.experiments.insert(declared.name.clone(), declared);
    all.retain(|(at, _)| *at < length_ms);
    all
}

fn declared(template: &str, source: &str) -> Experiment {
    let pattern = json!({ "source": [source], "detail": { "state": ["done"] } });
    let mut trigger = EventTrigger::new(Pattern::parse(&pattern).expect("a pattern"));
    trigger.reading.key = vec!["/detail/app".to_owned()];
    trigger.reading.version = vec!["/detail/version".to_owned()];
    trigger.supersede = Supersede::Running;
    Experiment {
        template: TemplateSelector::Id(template.to_owned()),
        tags: BTreeMap::from([("team".to_owned(), "red".to_owned())]),
        overlap: Overlap::Allow,
        limits: Limits { targets: Targets::Shared, ..Limits::default() },
        estimate: EstimateKind::Nominal,
        triggers: vec![trigger],
        ..Experiment::gone(experiment_name(EXPERIMENT))
    }
}

/// The experiment may run until an instant late in the world, but for a blackout shortly before, and no other window is about it.
/// None has a lead before which it stops what runs: what would go on until right after an edge would be refused for the lead.
fn has_own_windows(c: &mut Chance, base: Timestamp, length_ms: u64, rules: &mut Rules, declared: &Experiment) {
    let on_entry = OnEntry::Stop { lead: SignedDuration::ZERO };
    let at = |ms: u64| plus(base, ms).strftime("%Y-%m-%dT%H:%M:%S");
    let own = |called: &str, kind: WindowKind, [from, to]: [u64; 2]| Window {
        name: name(called),
        kind,
        scope: Scope { experiments: vec![NameGlob::new(declared.name.as_str())], ..Scope::default() },
        on_entry,
        lead: SignedDuration::ZERO,
        zone: TimeZone::UTC,
        spans: vec![Span::parse_dates(&format!("{} - {}", at(from), at(to))).expect("a span")],
        calendars: Vec::new(),
    };
    let opening = c.between(length_ms / 2, length_ms * 3 / 4);
    let windows = [
        own("own-blackout", WindowKind::Blackout, [opening, opening + c.between(1, 5) * MINUTE_MS]),
        own("own-allowed", WindowKind::Allowed, [0, c.between(length_ms * 7 / 8, length_ms)]),
    ];
    are_about_others(rules);
    let others = rules.windows.iter().cloned().map(|window| match window.on_entry {
        OnEntry::Stop { .. } => Window { on_entry, ..window },
        OnEntry::Finish => window,
    });
    rules.windows = others.chain(windows).collect();
}

/// Something starts right after an edge, or so that it ends right after one.
fn at_edges(
    c: &mut Chance,
    allowed: &[[u64; 2]],
    blackouts: &[[u64; 2]],
    (declared, facts): (&Experiment, &TemplateFacts),
    all: &mut Vec<(u64, Happening)>,
) {
    // Of allowed times there are few.
    let mut edges = if allowed.is_empty() || c.one_in(4) { blackouts } else { allowed }.concat();
    edges.retain(|at| *at > 0);
    if edges.is_empty() {
        return;
    }
    let length = estimate::expected(declared, facts, None).as_millis();
    let length_ms = u64::try_from(length).expect("a length");
    for request in FIRST_REQUEST..=FIRST_REQUEST + c.between(2, 5) {
        let before = if c.one_in(3) { 0 } else { length_ms };
        let within = c.pick(&[3, 3, 60]) * SECOND_MS;
        // From the wish to the start it takes a second or two.
        let at = (c.pick(&edges) + c.between(0, within)).saturating_sub(before + 2 * SECOND_MS);
        all.push((at, by_hand(request)));
    }
}

/// The clock is set to a time within a blackout's first minute, shortly after something has started long before it.
fn into_blackouts(c: &mut Chance, blackouts: &[[u64; 2]], all: &mut Vec<(u64, Happening)>) {
    let openings: Vec<u64> = blackouts.iter().map(|[from, _]| *from).filter(|from| *from > 0).collect();
    let Some(opening) = (!openings.is_empty()).then(|| c.pick(&openings)) else { return };
    let at = opening.saturating_sub(c.between(12, 40) * MINUTE_MS);
    all.push((at, by_hand(FIRST_REQUEST)));
    // Later than a minute after it began it is asked for seldom: then only whoever notices the step stops it in time.
    let at = at + c.between(65, 150) * SECOND_MS;
    let by_ms = opening.saturating_sub(at) + c.between(0, MINUTE_MS);
    all.push((at, Happening::Step { by_ms: i64::try_from(by_ms).expect("a step") }));
}

fn by_hand(request: u64) -> Happening {
    Happening::StartByHand { request, experiment: EXPERIMENT, windows: WindowRule::Hold }
}

/// Somebody halts or pauses between the look at the rows and the start that is made of it, and resumes some time after.
fn forbidden(c: &mut Chance, length_ms: u64, all: &mut Vec<(u64, Happening)>) {
    for request in FIRST_REQUEST..=FIRST_REQUEST + c.between(0, 3) {
        let (at, for_ms) = (c.between(0, length_ms), c.between(SECOND_MS, 2 * MINUTE_MS));
        let what = if c.one_in(3) { Interruption::Pause { for_ms } } else { Interruption::Halt };
        all.push((at, Happening::Interrupt(what)));
        all.push((at, by_hand(request)));
        all.extend((what == Interruption::Halt).then(|| (at + for_ms, Happening::Resume)));
    }
}

/// A process is gone when a release is known and nothing has come of it, or when that has just begun.
fn after_releases(c: &mut Chance, drawn: &[(u64, Happening)], all: &mut Vec<(u64, Happening)>) {
    for (at, _) in drawn.iter().filter(|(_, what)| matches!(what, Happening::Release(_))) {
        let settled = c.pick(&[0, MINUTE_MS, 5 * MINUTE_MS]);
        let at = at + if c.one_in(2) { c.between(0, SECOND_MS / 5) } else { settled + c.between(0, 8 * SECOND_MS) };
        let (polls, down_ms) = (c.between(0, 20), c.between(0, MINUTE_MS));
        all.push((at, Happening::Crash { whom: Whom::Active, polls, down_ms }));
    }
}

/// The first release whose queue keeps no order.
fn first(drawn: &[(u64, Happening)]) -> Option<&Release> {
    let releases = drawn.iter().filter_map(|(_, what)| match what {
        Happening::Release(release) if !release.is_in_order() => Some(release),
        _ => None,
    });
    releases.min_by_key(|release| release.happened_ms)
}

/// After the first release a version is released, taken back, and released again, some of it while the one before is tried.
fn back_and_forth(c: &mut Chance, drawn: &[(u64, Happening)], all: &mut Vec<(u64, Happening)>) {
    let Some(first) = first(drawn) else { return };
    let mut happened_ms = first.happened_ms;
    for n in 0..c.between(4, 9) {
        let soon = c.between(SECOND_MS / 4, 3 * SECOND_MS);
        happened_ms += c.pick(&[soon, soon, 90 * SECOND_MS, 4 * MINUTE_MS, 12 * MINUTE_MS]);
        let is_rollback = n % 2 == 1;
        let version = if is_rollback { first.version } else { first.version + 1 };
        let (event, stamp) = (FIRST_EVENT + n, Stamp::True);
        let release = Release { event, version, is_rollback, happened_ms, stamp, ..*first };
        all.push((happened_ms + c.between(0, SECOND_MS / 4), Happening::Release(release)));
    }
}

/// The experiment has a slot that is past when the world begins, and no window is about it.
fn has_past(base: Timestamp, rules: &mut Rules, declared: &mut Experiment) {
    let timing = Timing::At { at: base - SignedDuration::from_millis(PAST_MS as i64), zone: TimeZone::UTC };
    declared.schedules = vec![Schedule::new(&declared.name, name("past"), timing, Bounds::default())];
    are_about_others(rules);
}

/// No window is about the experiment any more.
fn are_about_others(rules: &mut Rules) {
    let others: Vec<NameGlob> = rules.experiments.keys().map(|name| NameGlob::new(name.as_str())).collect();
    let about_others = |window: &Window| {
        let mut window = window.clone();
        if window.scope.experiments.iter().all(|glob| glob.as_str().ends_with('*')) {
            window.scope.experiments.clone_from(&others);
        }
        window
    };
    rules.windows = rules.windows.iter().map(about_others).collect();
}

/// A slot is filled whose start takes effect when it has been looked for in vain and nobody is there who would look again, or
/// nobody who could write it down, until FIS has forgotten its token. It has a week's time, so that it would be started again.
fn unseen(c: &mut Chance, replicas: u64, length_ms: u64, all: &mut Vec<(u64, Happening)>) {
    let at = c.between(0, length_ms.saturating_sub(UNSEEN_MS));
    let is_silent = c.one_in(2);
    let begins_after = if is_silent { TIMEOUT_MS } else { 0 };
    let effect_ms = begins_after + c.between(5 * SECOND_MS, LATE_MS.min(TIMEOUT_MS));
    all.push((at, Happening::LoseAnswer { experiment: EXPERIMENT, effect_ms: Some(effect_ms) }));
    let minutes = (at + PAST_MS) / MINUTE_MS + 1;
    all.push((at, Happening::Backfill { request: FIRST_REQUEST, experiment: EXPERIMENT, minutes }));
    let at = at + begins_after + LOOKED_MS;
    let for_ms = TOKEN_LASTS_MS + effect_ms + c.between(5 * SECOND_MS, MINUTE_MS);
    let everybody = || (0..replicas).map(|n| Whom::Number(n as usize));
    match c.between(0, 3) {
        0 => all.push((at, Happening::ReadOnly { for_ms })),
        1 => all.push((at, Happening::StoreOut { for_ms })),
        2 => all.extend(everybody().map(|whom| (at, Happening::Crash { whom, polls: 0, down_ms: for_ms }))),
        _ => all.extend(everybody().map(|whom| (at, Happening::Stand { whom, polls: 0, for_ms }))),
    }
    if c.one_in(2) {
        // By its clock the last look was a moment ago.
        let by_ms = -i64::try_from(for_ms - c.between(0, 20 * SECOND_MS)).expect("minutes");
        all.push((at + for_ms - c.between(1, 5 * SECOND_MS), Happening::Step { by_ms }));
    }
}

/// Names starts that were looked for in vain before they took effect, and found when their tokens were forgotten.
pub fn seen(evidence: &Evidence<'_>) -> Option<&'static str> {
    let is_found_late = |e: &Begun| {
        let entries = || evidence.journal.get(&e.run()).into_iter().flatten();
        let missed = entries().any(|(ms, _, seen)| *ms < e.created_at && *seen == Observation::NotFound);
        let by_tag = |seen: &Observation| matches!(seen, Observation::Started { adopted: Adopted::ByTag, .. });
        missed && entries().any(|(ms, _, seen)| *ms > e.created_at + TOKEN_LASTS_MS && by_tag(seen))
    };
    evidence.experiments.iter().any(is_found_late).then_some("found without its token")
}
