//! Scenarios: the configuration of a world and what happens in it, drawn from its seed.

use std::collections::BTreeMap;

use firedrill::domain::{
    cost::{Budget, OnExceeded, Usd},
    experiment::{
        EstimateKind, EventTrigger, Experiment, FIS_MAX_DURATION, Group, Labels, Limits, OnFailure, Overlap, Place,
        Rules, Targets, TemplateSelector,
    },
    ids::{ExperimentName, Name},
    pattern::Pattern,
    run::WindowRule,
    schedule::{Bounds, CronSchedule, Every, Gaps, MissedPolicy, Schedule, Spread, Timing},
    template::{TargetFacts, TemplateAction, TemplateFacts},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::json;

use super::{
    happening::{Happening, Whom},
    releases,
    windows::window,
};
use crate::{
    sim::{simulated::nature, troubles::endings},
    support::chance::Chance,
};

pub const SECOND_MS: u64 = 1_000;
pub const MINUTE_MS: u64 = 60 * SECOND_MS;
pub const HOUR_MS: u64 = 60 * MINUTE_MS;

/// Zones, most of them with a clock change within hours of one of the beginnings of worlds.
pub const ZONES: [&str; 6] =
    ["UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Chatham"];

/// Sources of events; triggers ask for one of them.
pub const SOURCES: [&str; 3] = ["app.one", "app.two", "app.three"];

pub fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

pub fn minutes(count: u64) -> SignedDuration {
    SignedDuration::from_mins(i64::try_from(count).expect("few"))
}

pub fn zone(c: &mut Chance) -> TimeZone {
    TimeZone::get(c.pick(&ZONES)).expect("a zone")
}

/// A template and its tags.
pub type Template = (BTreeMap<String, String>, TemplateFacts);

/// Draws templates; experiment `n` names the `n`th.
pub fn templates(c: &mut Chance, base: Timestamp) -> Vec<Template> {
    let template = |n: u64, c: &mut Chance| {
        let action_id = if c.one_in(8) { "aws:next:year" } else { "aws:ecs:task-network-latency" };
        let duration = format!("PT{}M", c.pick(&[1_u64, 2, 3, 5, 10]));
        let action = TemplateAction {
            action_id: action_id.to_owned(),
            parameters: BTreeMap::from([("duration".to_owned(), duration)]),
            ..TemplateAction::default()
        };
        let actions = BTreeMap::from([("latency".to_owned(), action)]);
        let target = TargetFacts {
            resource_type: "aws:ecs:task".to_owned(),
            tags: BTreeMap::from([("app".to_owned(), c.pick(&["shop", "stock", "mail", "pay"]).to_owned())]),
            ..TargetFacts::default()
        };
        let targets = BTreeMap::from([("tasks".to_owned(), target)]);
        let facts =
            TemplateFacts { id: format!("EXT{n}"), actions, targets, read_at: base, ..TemplateFacts::default() };
        (BTreeMap::from([("drill".to_owned(), format!("d{n}"))]), facts)
    };
    (0..4).map(|n| template(n, c)).collect()
}

/// Draws a configuration.
pub fn rules(c: &mut Chance, base: Timestamp) -> Rules {
    let count = c.between(1, 4);
    let experiments = (0..count).map(|n| experiment(c, n, base)).map(|e| (e.name.clone(), e)).collect();
    let windows = (0..c.between(0, 4)).map(|n| window(c, n, base)).collect();
    let groups = BTreeMap::from([(name("db"), Group { min_gap: minutes(c.pick(&[0, 0, 3])) })]);
    let budget = Budget {
        monthly: c.one_in(6).then(|| Usd::from_cents(c.pick(&[50, 150, 400]))),
        price_per_action_minute: None,
        on_exceeded: if c.one_in(4) { OnExceeded::Warn } else { OnExceeded::Refuse },
    };
    Rules { experiments, windows, groups, budget, ..Rules::default() }
}

pub fn experiment_name(n: u64) -> Name {
    name(&format!("drill-{n}"))
}

fn experiment(c: &mut Chance, n: u64, base: Timestamp) -> Experiment {
    let template = match c.between(0, 11) {
        0 => TemplateSelector::Id("EXTmissing".to_owned()),
        1..=3 => TemplateSelector::Tags(BTreeMap::from([("drill".to_owned(), format!("d{n}"))])),
        _ => TemplateSelector::Id(format!("EXT{n}")),
    };
    let region = if c.one_in(4) { Some("eu-west-1".to_owned()) } else { None };
    let team = c.pick(&["red", "blue"]).to_owned();
    let name = experiment_name(n);
    let schedules = (0..c.between(0, 2)).map(|n| schedule(c, &name, n, base)).collect();
    let triggers = (0..c.between(0, 2)).map(|_| trigger(c)).collect();
    Experiment {
        name,
        template,
        place: Place { region, ..Place::default() },
        tags: BTreeMap::from([("team".to_owned(), team)]),
        labels: Labels::default(),
        environment: None,
        account: None,
        overlap: overlap(c),
        limits: limits(c),
        policy: firedrill::domain::policy::TemplatePolicy::default(),
        health: None,
        max_duration: max_duration(c),
        estimate: c.pick(&[EstimateKind::Ceiling, EstimateKind::Nominal, EstimateKind::Learned]),
        schedules,
        triggers,
    }
}

fn max_duration(c: &mut Chance) -> SignedDuration {
    if c.one_in(40) { FIS_MAX_DURATION } else { minutes(c.pick(&[2, 5, 12, 30, 60])) }
}

fn overlap(c: &mut Chance) -> Overlap {
    use Overlap as O;
    c.pick(&[O::Skip, O::Skip, O::QueueOne, O::QueueAll, O::StopOther, O::Allow, O::Allow])
}

fn limits(c: &mut Chance) -> Limits {
    Limits {
        queue_for: minutes(c.pick(&[2, 15, 90])),
        min_gap: minutes(c.pick(&[0, 0, 0, 1, 15])),
        groups: if c.one_in(3) { vec![name("db")] } else { Vec::new() },
        targets: if c.one_in(3) { Targets::Shared } else { Targets::Exclusive },
        on_failure: c.pick(&[OnFailure::Continue, OnFailure::Continue, OnFailure::Pause, OnFailure::Classify]),
    }
}

fn schedule(c: &mut Chance, experiment: &ExperimentName, n: u64, base: Timestamp) -> Schedule {
    let timing = match c.between(0, 9) {
        0 => {
            let anchor = base - minutes(c.between(0, 500));
            Timing::Every(Every::new(minutes(c.pick(&[7, 20, 45])), anchor, zone(c)))
        }
        1 => Timing::At { at: base + minutes(c.between(1, 120)), zone: zone(c) },
        _ => Timing::Cron(cron(c, base)),
    };
    let mut schedule = Schedule::new(experiment, name(&format!("s{n}")), timing, Bounds::default());
    schedule.spread = match c.between(0, 7) {
        0 => Spread::Jitter(minutes(c.between(1, 15))),
        1 => Spread::Within(minutes(c.between(1, 18))),
        _ => Spread::None,
    };
    schedule.mtbf = c.pick(&[1, 1, 1, 1, 2, 3]);
    schedule.max_runs = c.one_in(6).then(|| c.pick(&[1, 2, 3]));
    schedule.missed =
        c.pick(&[MissedPolicy::Latest, MissedPolicy::Latest, MissedPolicy::Skip, MissedPolicy::All { most: 3 }]);
    schedule.start_deadline = SignedDuration::from_secs(c.pick(&[20, 60, 300, 1_800, 7_200]));
    schedule.hold_for = minutes(c.pick(&[0, 0, 0, 10, 90]));
    schedule
}

fn cron(c: &mut Chance, base: Timestamp) -> CronSchedule {
    let zone = zone(c);
    let soon = zone.to_datetime(base + minutes(c.between(1, 180)));
    let (minute, hour) = (soon.minute(), soon.hour());
    let expression = match c.between(0, 6) {
        0 => "*/20 * * * *".to_owned(),
        1 => "*/45 * * * *".to_owned(),
        2 => format!("{minute} {hour} * * *"),
        3 => format!("{minute},59 * * * *"),
        4 => format!("{} 7-59/30 * * * *", c.between(0, 59)),
        5 => "30 1-3 * * *".to_owned(),
        _ => "0 30 2 * * *".to_owned(),
    };
    let cron = CronSchedule::parse(&expression, zone, "").expect("a schedule");
    cron.with_gaps(c.pick(&[Gaps::Shift, Gaps::Shift, Gaps::Skip]))
}

fn trigger(c: &mut Chance) -> EventTrigger {
    let pattern = json!({"source": [c.pick(&SOURCES)], "detail": {"state": ["done"]}});
    let trigger = EventTrigger {
        settle: minutes(c.pick(&[0, 1, 5])),
        hold_for: minutes(c.pick(&[0, 0, 30, 120])),
        start_deadline: minutes(c.pick(&[0, 1, 10])),
        ..EventTrigger::new(Pattern::parse(&pattern).expect("a pattern"))
    };
    if c.one_in(4) { trigger } else { releases::asking(c, trigger) }
}

/// Draws what an operator changes in a configuration.
pub fn changed(c: &mut Chance, rules: &Rules, now: Timestamp) -> Rules {
    let mut rules = rules.clone();
    let victim = rules.experiments.keys().nth(usize::try_from(c.between(0, 3)).expect("small")).cloned();
    match c.between(0, 9) {
        0..=2 => {
            let n = 10 + c.between(0, 99);
            let window = window(c, n, now);
            rules.windows = rules.windows.iter().cloned().chain([window]).collect();
        }
        3 => rules.windows = rules.windows.iter().take(1).cloned().collect(),
        4 => {
            let n = c.between(0, 3);
            rules.experiments.insert(experiment_name(n), experiment(c, n, now));
        }
        other => {
            if let Some(victim) = victim.and_then(|name| rules.experiments.get_mut(&name)) {
                match other {
                    5 => victim.max_duration = max_duration(c),
                    8 | 9 => victim.triggers = (0..c.between(0, 2)).map(|_| trigger(c)).collect(),
                    6 => victim.place.region = Some(c.pick(&["us-east-1", "eu-west-1"]).to_owned()),
                    _ => {
                        let name = victim.name.clone();
                        victim.schedules = (0..2).map(|n| schedule(c, &name, n, now)).collect();
                    }
                }
            } else {
                rules.experiments.pop_first();
            }
        }
    }
    rules
}

/// Draws what happens, by true time, within so long.
pub fn happenings(c: &mut Chance, length_ms: u64, replicas: u64) -> Vec<(u64, Happening)> {
    use Happening as H;
    let mut all = Vec::new();
    for _ in 0..c.between(0, 6) {
        let at = c.between(0, length_ms);
        // Two sources may use the same id.
        let (event, source) = (c.between(0, 5), c.pick(&SOURCES));
        for _ in 0..c.pick(&[1, 1, 2, 3]) {
            all.push((at + c.between(0, MINUTE_MS), H::Deliver { event, source }));
        }
    }
    let releases = releases::releases(c, length_ms).into_iter();
    all.extend(releases.filter(|(at, _)| *at < length_ms).map(|(at, release)| (at, H::Release(release))));
    if c.one_in(4) {
        all.push((c.between(0, length_ms), H::DeliverNoise { id: 1 }));
    }
    let when = |c: &mut Chance| c.between(0, length_ms);
    all.extend((0..c.pick(&[0, 0, 5, 50])).map(|_| (when(c), H::FisTells)));
    for request in 0..c.between(0, 3) {
        let windows = if c.one_in(3) { WindowRule::Overridden } else { WindowRule::Hold };
        all.push((when(c), H::StartByHand { request, experiment: c.between(0, 3), windows }));
    }
    if c.one_in(4) {
        let (experiment, minutes) = (c.between(0, 3), c.between(10, 90));
        all.push((when(c), H::Backfill { request: 0, experiment, minutes }));
    }
    for _ in 0..c.pick(&[0, 0, 1, 2]) {
        let (at, experiment) = (when(c), c.between(0, 3));
        let for_ms = c.one_in(2).then(|| c.between(MINUTE_MS, HOUR_MS));
        all.push((at, H::Pause { experiment, for_ms }));
        if c.one_in(2) {
            all.push((at + c.between(0, HOUR_MS), H::Unpause { experiment }));
        }
    }
    for _ in 0..c.pick(&[0, 1, 3]) {
        all.push((when(c), H::ReadCalendar));
    }
    for _ in 0..c.between(0, 2) {
        all.push((when(c), H::StopByHand));
        all.push((when(c), H::StopOutside));
    }
    if c.one_in(3) {
        let at = when(c);
        all.push((at, H::Halt));
        all.push((at + c.between(0, HOUR_MS), H::Resume));
    }
    for _ in 0..c.pick(&[0, 1, 1, 3]) {
        all.push((when(c), H::Reload));
    }
    for _ in 0..c.pick(&[0, 0, 1, 2]) {
        all.push((when(c), H::Step { by_ms: nature::step(c) }));
    }
    faults(c, length_ms, replicas, &mut all);
    all
}

/// Draws what goes wrong with processes, the store and FIS.
fn faults(c: &mut Chance, length_ms: u64, replicas: u64, all: &mut Vec<(u64, Happening)>) {
    use Happening as H;
    let when = |c: &mut Chance| c.between(0, length_ms);
    for _ in 0..c.pick(&[0, 1, 3, 6]) {
        let down_ms = if c.one_in(5) { c.between(0, 2 * HOUR_MS) } else { c.between(0, MINUTE_MS) };
        all.push((when(c), H::Crash { whom: whom(c), polls: c.between(0, 60), down_ms }));
    }
    if c.one_in(4) {
        let (at, whom, down_ms) = (when(c), whom(c), c.between(0, 10 * MINUTE_MS));
        all.push((at, H::Drain { whom, stops_within: endings::within(at), down_ms }));
    }
    if c.one_in(3) {
        all.push((when(c), H::ReadOnly { for_ms: c.between(SECOND_MS, 3 * MINUTE_MS) }));
    }
    if c.one_in(3) {
        all.push((when(c), H::StoreOut { for_ms: c.between(SECOND_MS, 10 * MINUTE_MS) }));
    }
    for _ in 0..c.between(0, 3) {
        let (fis, store) = (c.pick(&[0, 50, 200, 600]), c.pick(&[0, 0, 10, 60]));
        all.push((when(c), H::Weather { fis, store }));
    }
    for _ in 0..c.pick(&[0, 0, 1, 3]) {
        all.push((when(c), H::Stand { whom: whom(c), polls: c.between(0, 60), for_ms: stands(c) }));
    }
    if replicas > 1 {
        let hours = length_ms / HOUR_MS + 1;
        all.extend((0..hours * c.pick(&[0, 2, 6])).map(|_| (when(c), several(c))));
        let slow = |c: &mut Chance| H::Slow { for_ms: c.between(10 * SECOND_MS, 90 * SECOND_MS) };
        all.extend((0..hours * c.pick(&[0, 2, 5])).map(|_| (when(c), slow(c))));
    }
}

fn whom(c: &mut Chance) -> Whom {
    if c.one_in(2) { Whom::Active } else { Whom::Number(c.between(0, 2) as usize) }
}

/// Draws how long a process stands still.
fn stands(c: &mut Chance) -> u64 {
    let longest = c.pick(&[2, 10, 30, 120]);
    c.between(SECOND_MS, longest * SECOND_MS)
}

/// Draws what happens to one of several replicas.
fn several(c: &mut Chance) -> Happening {
    use Happening as H;
    let whom = whom(c);
    match c.between(0, 6) {
        0 | 1 => H::Stand { whom, polls: c.between(0, 60), for_ms: stands(c) },
        2 => H::Cut { whom, store_ms: stands(c), fis_ms: 0 },
        3 => H::Cut { whom, store_ms: 0, fis_ms: stands(c) },
        4 => H::Cut { whom, store_ms: stands(c), fis_ms: stands(c) },
        5 => H::Crash { whom, polls: c.between(0, 60), down_ms: c.between(0, MINUTE_MS) },
        _ => H::SetApart { replica: c.between(0, 2) as usize, by_ms: c.between(0, 6_000) as i64 - APART_MS as i64 },
    }
}

/// How far a replica's clock may be from the common one, in milliseconds.
pub const APART_MS: u64 = 3_000;
