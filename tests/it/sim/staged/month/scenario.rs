//! What a month is made of, drawn from its seed.
//!
//! Slots and windows lie on whole minutes and lengths are no whole minutes, so that things seldom happen at one instant.

use std::collections::BTreeMap;

use firedrill::domain::{
    cost::{Budget, Usd},
    experiment::{EstimateKind, Experiment, Group, Limits, Overlap, Rules, Targets, TemplateSelector},
    ids::{ExperimentName, Name},
    plan::{Pause, PauseRow},
    schedule::{Bounds, CronSchedule, Every, Gaps, MissedPolicy, Schedule, Spread, Timing},
    template::{TargetFacts, TemplateAction, TemplateFacts},
    window::{NameGlob, OnEntry, Scope, Span, Window, WindowKind},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::{
    sim::drawn::scenario::{ZONES, experiment_name},
    support::chance::Chance,
};

/// Months, most of them with a clock change, each beginning some seconds after a minute.
const BEGINNINGS: [&str; 6] = [
    "2026-03-01T00:00:03Z",
    "2026-03-20T12:00:03Z",
    "2026-10-10T00:00:03Z",
    "2026-09-20T06:00:03Z",
    "2026-01-31T23:00:03Z",
    "2026-06-15T00:00:03Z",
];

/// How long a month is.
const MONTH: SignedDuration = SignedDuration::from_hours(31 * 24);

#[derive(Debug)]
pub struct Month {
    pub from: Timestamp,
    pub to: Timestamp,
    pub rules: Rules,
    pub templates: BTreeMap<String, TemplateFacts>,
    pub pauses: BTreeMap<ExperimentName, PauseRow>,
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

pub fn month(c: &mut Chance) -> Month {
    let from: Timestamp = c.pick(&BEGINNINGS).parse().expect("an instant");
    let count = c.between(2, 4);
    let zone = zone(c);
    let experiments: Vec<Experiment> = (0..count).map(|n| experiment(c, n, &zone, from)).collect();
    let templates = (0..count).map(|n| template(c, n)).map(|facts| (facts.id.clone(), facts)).collect();
    let windows = (0..c.between(0, 4)).map(|n| window(c, n, &zone, from)).collect();
    let monthly = c.one_in(4).then(|| Usd::from_cents(u32::try_from(c.between(500, 4_000)).expect("few")));
    let mut pauses = BTreeMap::new();
    for n in (0..count).filter(|_| c.one_in(5)).collect::<Vec<_>>() {
        let until = from + minutes(c.between(1, 20 * 24 * 60));
        let pause = Pause { at: from, by: "ann".to_owned(), reason: None, until: Some(until) };
        pauses.insert(experiment_name(n), PauseRow { pause: Some(pause) });
    }
    let rules = Rules {
        experiments: experiments.into_iter().map(|e| (e.name.clone(), e)).collect(),
        windows,
        groups: BTreeMap::from([(name("db"), Group { min_gap: minutes(c.pick(&[0, 0, 45])) })]),
        budget: Budget { monthly, ..Budget::default() },
        ..Rules::default()
    };
    Month { from, to: from + MONTH, rules, templates, pauses }
}

fn template(c: &mut Chance, n: u64) -> TemplateFacts {
    // Half a minute past a whole one, with what FIS is given on top of it.
    let duration = format!("PT{}S", c.between(1, 25) * 60);
    let action = TemplateAction {
        action_id: "aws:ecs:task-network-latency".to_owned(),
        parameters: BTreeMap::from([("duration".to_owned(), duration)]),
        ..TemplateAction::default()
    };
    let target = TargetFacts {
        resource_type: "aws:ecs:task".to_owned(),
        tags: BTreeMap::from([("app".to_owned(), c.pick(&["shop", "stock", "mail", "pay"]).to_owned())]),
        ..TargetFacts::default()
    };
    TemplateFacts {
        id: format!("EXT{n}"),
        actions: BTreeMap::from([("latency".to_owned(), action)]),
        targets: BTreeMap::from([("tasks".to_owned(), target)]),
        ..TemplateFacts::default()
    }
}

fn experiment(c: &mut Chance, n: u64, zone: &TimeZone, from: Timestamp) -> Experiment {
    let overlap = c.pick(&[Overlap::Skip, Overlap::QueueOne, Overlap::QueueAll, Overlap::StopOther, Overlap::Allow]);
    // Who is stopped is seen to have ended by the next poll only; alone, it makes nobody else late.
    let is_alone = overlap == Overlap::StopOther;
    let groups = if is_alone || c.one_in(2) { Vec::new() } else { vec![name("db")] };
    let name = experiment_name(n);
    Experiment {
        template: TemplateSelector::Id(format!("EXT{n}")),
        tags: BTreeMap::from([("team".to_owned(), c.pick(&["red", "blue"]).to_owned())]),
        overlap,
        limits: Limits {
            queue_for: minutes(c.pick(&[7, 40, 200])),
            min_gap: minutes(c.pick(&[0, 0, 25, 600])),
            groups,
            targets: if is_alone || c.one_in(3) { Targets::Shared } else { Targets::Exclusive },
            ..Limits::default()
        },
        max_duration: minutes(c.pick(&[12, 40, 60])),
        estimate: c.pick(&[EstimateKind::Ceiling, EstimateKind::Nominal, EstimateKind::Learned]),
        schedules: (0..c.between(1, 2)).map(|s| schedule(c, &name, s, zone, from, overlap)).collect(),
        ..Experiment::gone(name)
    }
}

fn schedule(
    c: &mut Chance,
    experiment: &ExperimentName,
    n: u64,
    zone: &TimeZone,
    from: Timestamp,
    overlap: Overlap,
) -> Schedule {
    let minute = c.pick(&[0, 0, 7, 10, 15, 25]);
    let hour = c.pick(&[1, 2, 2, 3, 9]);
    let cron = |c: &mut Chance, expression: String| {
        let gaps = c.pick(&[Gaps::Shift, Gaps::Skip]);
        let cron = CronSchedule::parse(&expression, zone.clone(), "").expect("a schedule").with_gaps(gaps);
        Timing::Cron(cron)
    };
    let timing = match c.between(0, 6) {
        0 => cron(c, format!("{minute} {hour} * * *")),
        1 => cron(c, format!("{minute} {hour}-{} * * MON-FRI", hour + 2)),
        2 => cron(c, format!("*/15 {hour} * * *")),
        3 => cron(c, format!("{minute} */9 * * *")),
        4 => cron(c, format!("{minute},30 {hour} * * 2,4,SUN")),
        5 => {
            let anchor = from - SignedDuration::from_secs(3) - minutes(c.between(0, 10_000));
            Timing::Every(Every::new(minutes(c.pick(&[11 * 60, 23 * 60, 130 * 60])), anchor, zone.clone()))
        }
        _ => Timing::At {
            at: from - SignedDuration::from_secs(3) + minutes(c.between(1, 25 * 24 * 60)),
            zone: zone.clone(),
        },
    };
    let mut schedule = Schedule::new(experiment, name(&format!("s{n}")), timing, Bounds::default());
    schedule.spread = match c.between(0, 4) {
        _ if overlap == Overlap::StopOther => Spread::None,
        0 => Spread::Jitter(minutes(c.pick(&[10, 14]))),
        1 => Spread::Within(minutes(c.pick(&[12, 14]))),
        _ => Spread::None,
    };
    schedule.mtbf = c.pick(&[1, 1, 1, 2, 4]);
    schedule.max_runs = c.one_in(6).then(|| u32::try_from(c.between(3, 20)).expect("few"));
    schedule.missed = c.pick(&[MissedPolicy::Latest, MissedPolicy::Skip, MissedPolicy::All { most: 3 }]);
    schedule.start_deadline = minutes(c.pick(&[1, 10, 45]));
    schedule.hold_for = minutes(c.pick(&[0, 0, 45, 180]));
    schedule
}

fn window(c: &mut Chance, n: u64, zone: &TimeZone, from: Timestamp) -> Window {
    let is_allowed = c.one_in(3);
    let hour = c.between(0, 4);
    let span = match c.between(0, 3) {
        _ if is_allowed => Span::parse_weekly(&format!("Mon-Sat {hour:02}:10-{:02}:20", hour + 6)),
        0 => Span::parse_weekly(&format!("Fri {hour:02}:00 - Sun {hour:02}:30")),
        1 => Span::parse_weekly(&format!("{hour:02}:20-{hour:02}:50")),
        2 => Span::parse_month_days(c.pick(&["1 - 4", "10 - 15", "-3 - -1"])),
        _ => {
            let begin = zone.to_datetime(from - SignedDuration::from_secs(3) + minutes(c.between(1, 25 * 24) * 60));
            let end = begin.saturating_add(minutes(c.between(1, 5 * 24) * 60));
            Span::parse_dates(&format!("{} - {}", begin.strftime("%FT%H:%M"), end.strftime("%FT%H:%M")))
        }
    };
    let scope = match c.between(0, 3) {
        0 => Scope { experiments: vec![NameGlob::new("drill-1")], ..Scope::default() },
        1 => Scope { tags: BTreeMap::from([("team".to_owned(), "red".to_owned())]), ..Scope::default() },
        _ => Scope::default(),
    };
    Window {
        name: name(&format!("w{n}")),
        kind: if is_allowed { WindowKind::Allowed } else { WindowKind::Blackout },
        scope,
        on_entry: if c.one_in(3) { OnEntry::Finish } else { OnEntry::Stop { lead: minutes(c.pick(&[0, 0, 2])) } },
        lead: minutes(c.pick(&[0, 0, 15])),
        zone: zone.clone(),
        spans: vec![span.expect("a span")],
        calendars: Vec::new(),
    }
}
