//! What seldom happens by chance and is where mistakes are: starts at the edges of windows, a clock that jumps into a
//! blackout while something runs, processes that are gone right after a release, releases that go back and forth, replicas
//! that are far from the store as soon as they ask for a start, and halts and pauses right before one is recorded.
//!
//! It happens to an experiment of its own that nothing else holds up.

use std::collections::BTreeMap;

use firedrill::domain::{
    deployment::Supersede,
    estimate,
    experiment::{EstimateKind, EventTrigger, Experiment, Limits, Overlap, Rules, Targets, TemplateSelector},
    pattern::Pattern,
    run::WindowRule,
    template::TemplateFacts,
    window::{Window, WindowKind},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{
    halts::Interruption,
    releases::{Release, Stamp},
    scenario::{Happening, MINUTE_MS, SECOND_MS, Template, Whom, experiment_name},
};
use crate::support::chance::Chance;

/// The number of the experiment.
const EXPERIMENT: u64 = 9;

/// The first numbers of requests and events, so that they are nobody else's.
const FIRST_REQUEST: u64 = 10;
const FIRST_EVENT: u64 = 1_000;

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
    let declared = declared(&facts.id, first(drawn).map_or("app.one", |release| release.source));
    let mut all = Vec::new();
    let edges = |kind: WindowKind| -> Vec<[u64; 2]> {
        let end = base + SignedDuration::from_millis(i64::try_from(length_ms).expect("a length"));
        let is_about = |window: &&Window| window.kind == kind && window.scope.holds(&declared);
        let ms = |at: Timestamp| u64::try_from(at.duration_since(base).as_millis()).unwrap_or(0);
        let intervals = rules.windows.iter().filter(is_about).flat_map(|window| window.intervals(base, end));
        intervals.map(|one| [one.start, one.end].map(ms)).collect()
    };
    match c.between(0, 7) {
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

/// Something starts right after an edge, or so that it ends about there.
fn at_edges(
    c: &mut Chance,
    allowed: &[[u64; 2]],
    blackouts: &[[u64; 2]],
    (declared, facts): (&Experiment, &TemplateFacts),
    all: &mut Vec<(u64, Happening)>,
) {
    // Of allowed times there are few.
    let edges = if allowed.is_empty() || c.one_in(4) { blackouts } else { allowed }.concat();
    if edges.is_empty() {
        return;
    }
    let length = estimate::expected(declared, facts, None).as_millis();
    let length_ms = u64::try_from(length).expect("a length");
    for request in FIRST_REQUEST..=FIRST_REQUEST + c.between(0, 5) {
        let before = if c.one_in(3) { 0 } else { length_ms };
        let within = c.pick(&[3 * SECOND_MS, MINUTE_MS]);
        // From the wish to the start it takes a second or two.
        let at = (c.pick(&edges) + c.between(0, within)).saturating_sub(before + 2 * SECOND_MS);
        all.push((at, by_hand(request)));
    }
}

/// The clock is set to a time within a blackout's first minute, shortly after something has started long before it.
fn into_blackouts(c: &mut Chance, blackouts: &[[u64; 2]], all: &mut Vec<(u64, Happening)>) {
    let Some([opening, _]) = (!blackouts.is_empty()).then(|| c.pick(blackouts)) else { return };
    let at = opening.saturating_sub(c.between(12, 40) * MINUTE_MS);
    all.push((at, by_hand(FIRST_REQUEST)));
    let at = at + c.between(10, 60) * SECOND_MS;
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
