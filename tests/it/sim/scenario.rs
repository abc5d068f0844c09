//! Scenarios: the configuration of a world and what happens in it, drawn from its seed.

use std::collections::BTreeMap;

use firedrill::domain::{
    experiment::{
        EstimateKind, EventTrigger, Experiment, FIS_MAX_DURATION, Labels, Limits, Overlap, Place, Rules,
        TemplateSelector,
    },
    ids::Name,
    pattern::Pattern,
    schedule::{Bounds, CronSchedule, Every, MissedPolicy, Schedule, Spread, Timing},
    template::{TemplateAction, TemplateFacts},
    window::{NameGlob, OnEntry, Scope, Span, Window, WindowKind},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::json;

use crate::support::chance::Chance;

pub const SECOND_MS: u64 = 1_000;
pub const MINUTE_MS: u64 = 60 * SECOND_MS;
pub const HOUR_MS: u64 = 60 * MINUTE_MS;

/// Zones, most of them with a clock change within hours of one of [`BASES`].
const ZONES: [&str; 6] =
    ["UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Chatham"];

/// When worlds begin: shortly before clock changes, and on plain days.
const BASES: [&str; 8] = [
    "2026-03-08T05:00:00Z",
    "2026-11-01T04:30:00Z",
    "2026-03-28T23:30:00Z",
    "2026-10-25T00:00:00Z",
    "2026-04-04T13:30:00Z",
    "2026-10-03T14:00:00Z",
    "2026-06-17T12:00:00Z",
    "2026-12-31T22:00:00Z",
];

/// Sources of events; triggers ask for one of them.
const SOURCES: [&str; 3] = ["app.one", "app.two", "app.three"];

/// Something that happens.
#[derive(Debug, Clone)]
pub enum Happening {
    /// A queue delivers an event, perhaps not for the first time.
    Deliver {
        event: u64,
        source: &'static str,
    },
    /// A queue delivers what is no event.
    DeliverNoise {
        id: u64,
    },
    StartByHand {
        request: u64,
        experiment: u64,
    },
    StopByHand,
    Halt,
    Resume,
    Reload,
    Step {
        by_ms: i64,
    },
    /// The agent is gone after being polled so often, and back after so long.
    Crash {
        polls: u64,
        down_ms: u64,
    },
    /// The agent is told to end in good order.
    Drain {
        down_ms: u64,
    },
    /// From now on nothing goes wrong.
    Calm,
    ReadOnly {
        for_ms: u64,
    },
    StoreOut {
        for_ms: u64,
    },
    Weather {
        fis: u64,
        store: u64,
    },
    /// Somebody stops an experiment past us.
    StopOutside,
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

fn minutes(count: u64) -> SignedDuration {
    SignedDuration::from_mins(i64::try_from(count).expect("few"))
}

fn zone(c: &mut Chance) -> TimeZone {
    TimeZone::get(c.pick(&ZONES)).expect("a zone")
}

/// Draws when a world begins.
pub fn base(c: &mut Chance) -> Timestamp {
    let base: Timestamp = c.pick(&BASES).parse().expect("an instant");
    base + minutes(c.between(0, 90))
}

/// Draws templates; experiment `n` names the `n`th.
pub fn templates(c: &mut Chance, base: Timestamp) -> Vec<(BTreeMap<String, String>, TemplateFacts)> {
    let template = |n: u64, c: &mut Chance| {
        let is_known = !c.one_in(8);
        let action_id = if is_known { "aws:ecs:task-network-latency" } else { "aws:next:year" };
        let duration = format!("PT{}M", c.pick(&[1_u64, 2, 3, 5, 10]));
        let action = TemplateAction {
            action_id: action_id.to_owned(),
            parameters: BTreeMap::from([("duration".to_owned(), duration)]),
            ..TemplateAction::default()
        };
        let actions = BTreeMap::from([("latency".to_owned(), action)]);
        let facts = TemplateFacts { id: format!("EXT{n}"), actions, read_at: base, ..TemplateFacts::default() };
        (BTreeMap::from([("drill".to_owned(), format!("d{n}"))]), facts)
    };
    (0..4).map(|n| template(n, c)).collect()
}

/// Draws a configuration.
pub fn rules(c: &mut Chance, base: Timestamp) -> Rules {
    let count = c.between(1, 4);
    let experiments = (0..count).map(|n| experiment(c, n, base)).map(|e| (e.name.clone(), e)).collect();
    let windows = (0..c.between(0, 4)).map(|n| window(c, n, base)).collect();
    Rules { experiments, windows, ..Rules::default() }
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
    let schedules = (0..c.between(0, 2)).map(|n| schedule(c, n, base)).collect();
    let triggers = (0..c.between(0, 2)).map(|_| trigger(c)).collect();
    Experiment {
        name: experiment_name(n),
        template,
        place: Place { region, ..Place::default() },
        tags: BTreeMap::from([("team".to_owned(), team)]),
        labels: Labels::default(),
        environment: None,
        account: None,
        overlap: c.pick(&[Overlap::Skip, Overlap::Skip, Overlap::Allow]),
        limits: Limits::default(),
        max_duration: max_duration(c),
        estimate: EstimateKind::Ceiling,
        schedules,
        triggers,
    }
}

fn max_duration(c: &mut Chance) -> SignedDuration {
    if c.one_in(40) { FIS_MAX_DURATION } else { minutes(c.pick(&[2, 5, 12, 30, 60])) }
}

fn schedule(c: &mut Chance, n: u64, base: Timestamp) -> Schedule {
    let label = name(&format!("s{n}"));
    let timing = if c.one_in(5) {
        let period = minutes(c.between(7, 90));
        Timing::Every(Every::new(period, base - minutes(c.between(0, 500)), TimeZone::UTC))
    } else {
        Timing::Cron(cron(c, base))
    };
    let mut schedule = Schedule::new(&name("any"), label, timing, Bounds::default());
    let all = MissedPolicy::All { most: 3 };
    schedule.missed = c.pick(&[MissedPolicy::Latest, MissedPolicy::Latest, MissedPolicy::Skip, all]);
    schedule.spread = c.pick(&[
        Spread::None,
        Spread::None,
        Spread::Jitter(minutes(5)),
        Spread::Jitter(minutes(20)),
        Spread::Within(minutes(15)),
    ]);
    schedule.mtbf = c.pick(&[1, 1, 1, 3]);
    schedule.hold_for = minutes(c.pick(&[0, 0, 30]));
    schedule.start_deadline = SignedDuration::from_secs(c.pick(&[20, 60, 300, 1_800, 7_200]));
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
    CronSchedule::parse(&expression, zone, "").expect("a schedule")
}

fn trigger(c: &mut Chance) -> EventTrigger {
    let pattern = json!({"source": [c.pick(&SOURCES)], "detail": {"state": ["done"]}});
    EventTrigger {
        pattern: Pattern::parse(&pattern).expect("a pattern"),
        settle: minutes(c.pick(&[0, 1, 5])),
        hold_for: minutes(c.pick(&[0, 0, 30, 120])),
        start_deadline: minutes(c.pick(&[0, 1, 10])),
    }
}

/// Draws a window that begins within some hours of an instant.
pub fn window(c: &mut Chance, n: u64, near: Timestamp) -> Window {
    let zone = zone(c);
    let is_allowed = c.one_in(4);
    let from = zone.to_datetime(near + minutes(c.between(0, 240)) - minutes(if is_allowed { 120 } else { 30 }));
    let length = if is_allowed { c.between(60, 300) } else { c.between(1, 90) };
    let to = from.saturating_add(minutes(length));
    let span = if c.one_in(2) {
        let text = format!("{}-{}", from.strftime("%H:%M"), to.strftime("%H:%M"));
        Span::parse_weekly(&text)
    } else {
        let text = format!("{} - {}", from.strftime("%Y-%m-%dT%H:%M"), to.strftime("%Y-%m-%dT%H:%M"));
        Span::parse_dates(&text)
    };
    let scope = match c.between(0, 4) {
        0 => Scope { experiments: vec![NameGlob::new("drill-1")], ..Scope::default() },
        1 => Scope { experiments: vec![NameGlob::new("drill-*")], ..Scope::default() },
        2 => Scope { tags: BTreeMap::from([("team".to_owned(), "red".to_owned())]), ..Scope::default() },
        _ => Scope::default(),
    };
    let lead = SignedDuration::from_secs(c.pick(&[0, 0, 30, 120, 600]));
    Window {
        name: name(&format!("w{n}")),
        kind: if is_allowed { WindowKind::Allowed } else { WindowKind::Blackout },
        scope,
        on_entry: if c.one_in(3) { OnEntry::Finish } else { OnEntry::Stop { lead } },
        lead: SignedDuration::ZERO,
        zone,
        spans: vec![span.expect("a span")],
        calendars: Vec::new(),
    }
}

/// Draws what an operator changes in a configuration.
pub fn changed(c: &mut Chance, rules: &Rules, now: Timestamp) -> Rules {
    let mut rules = rules.clone();
    let victim = rules.experiments.keys().nth(usize::try_from(c.between(0, 3)).expect("small")).cloned();
    match c.between(0, 7) {
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
                    6 => victim.place.region = Some(c.pick(&["us-east-1", "eu-west-1"]).to_owned()),
                    _ => victim.schedules = (0..2).map(|n| schedule(c, n, now)).collect(),
                }
            } else {
                rules.experiments.pop_first();
            }
        }
    }
    rules
}

/// Draws what happens, by true time, within so long.
pub fn happenings(c: &mut Chance, length_ms: u64) -> Vec<(u64, Happening)> {
    use Happening as H;
    let mut all = Vec::new();
    for event in 0..c.between(0, 6) {
        let at = c.between(0, length_ms);
        let source = c.pick(&SOURCES);
        for _ in 0..c.pick(&[1, 1, 2, 3]) {
            all.push((at + c.between(0, MINUTE_MS), H::Deliver { event, source }));
        }
    }
    if c.one_in(4) {
        all.push((c.between(0, length_ms), H::DeliverNoise { id: 1 }));
    }
    let when = |c: &mut Chance| c.between(0, length_ms);
    for request in 0..c.between(0, 3) {
        all.push((when(c), H::StartByHand { request, experiment: c.between(0, 3) }));
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
        all.push((when(c), H::Step { by_ms: step(c) }));
    }
    for _ in 0..c.pick(&[0, 1, 3, 6]) {
        let down_ms = if c.one_in(5) { c.between(0, 2 * HOUR_MS) } else { c.between(0, MINUTE_MS) };
        all.push((when(c), H::Crash { polls: c.between(0, 60), down_ms }));
    }
    if c.one_in(4) {
        all.push((when(c), H::Drain { down_ms: c.between(0, 10 * MINUTE_MS) }));
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
    all
}

/// Draws a step of the clock: mostly small, up to three days forward and one hour back.
fn step(c: &mut Chance) -> i64 {
    let by = |c: &mut Chance, most: u64| i64::try_from(c.between(1, most)).expect("a step");
    match c.between(0, 5) {
        0 => by(c, 72 * HOUR_MS),
        1 | 2 => by(c, 2 * MINUTE_MS),
        3 => -by(c, 30 * SECOND_MS),
        _ => -by(c, HOUR_MS),
    }
}
