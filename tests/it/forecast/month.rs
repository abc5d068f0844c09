//! Months lived through in a reality: every slot is decided as the forecast said, also when the agent was away, and when
//! the configuration was exchanged under it.

use std::collections::BTreeSet;

use firedrill::domain::{
    experiment::{Experiment, Limits, Overlap, Rules},
    forecast::{self, Expected},
    ids::Name,
    plan::{Pause, PauseRow},
    schedule::{Bounds, CronSchedule, Schedule, Spread, Timing},
    window::{OnEntry, Span, Window, WindowKind},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::reality::{Reality, decided};
use crate::support::{
    chance::Chance,
    runs::{instant, name},
    world::{blackout, experiment},
};

/// Months lived.
const MONTHS: u64 = 8;
/// The agent is away for less than this, so that no decision of a world on a grid of minutes can depend on it.
const AWAY_S: u64 = 8;

const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"];
const EXPRESSIONS: [&str; 8] = [
    "30 2 * * *",
    "0 */4 * * *",
    "15 1,2,3 * * *",
    "*/30 9-11 * * MON-FRI",
    "0 0 1,15 * *",
    "45 23 * * SUN",
    "0 12 * * *",
    "10 2 28-31 * *",
];
const WEEKLY: [&str; 6] =
    ["Fri 18:00 - Mon 06:00", "Mon-Fri 22:00-06:00", "02:00-02:30", "Sat,Sun", "09:30-10:30", "Wed 00:00 - Wed 12:00"];

/// Draws a configuration. Windows and slots lie on whole minutes; a run takes ten seconds more than whole minutes.
fn rules(chance: &mut Chance) -> Rules {
    let experiments = (0..chance.between(1, 4)).map(|index| {
        let groups = if chance.one_in(3) { vec![name("db")] } else { Vec::new() };
        let name = name(&format!("probe-{index}"));
        let schedules = (0..chance.between(1, 2)).map(|index| schedule(&name, &format!("s{index}"), chance)).collect();
        let limits = Limits { groups, ..Limits::default() };
        let overlap = if chance.one_in(2) { Overlap::Skip } else { Overlap::Allow };
        (name.clone(), Experiment { name, schedules, overlap, limits, ..experiment() })
    });
    let experiments = experiments.collect();
    let windows: Vec<Window> = (0..chance.between(0, 3)).map(|index| window(&format!("w{index}"), chance)).collect();
    Rules { experiments, windows: windows.into(), ..Rules::default() }
}

fn schedule(experiment: &Name, label: &str, chance: &mut Chance) -> Schedule {
    let zone = TimeZone::get(chance.pick(&ZONES)).expect("a zone");
    let cron = CronSchedule::parse(chance.pick(&EXPRESSIONS), zone, label).expect("an expression");
    let mut schedule = Schedule::new(experiment, name(label), Timing::Cron(cron), Bounds::default());
    schedule.hold_for = SignedDuration::from_hours(i64::from(chance.pick(&[0, 0, 1, 6])));
    schedule.mtbf = chance.pick(&[1, 1, 3]);
    schedule.spread = chance.pick(&[Spread::None, Spread::None, Spread::Jitter(SignedDuration::from_secs(1))]);
    schedule
}

fn window(label: &str, chance: &mut Chance) -> Window {
    let kind = if chance.one_in(4) { WindowKind::Allowed } else { WindowKind::Blackout };
    let stop = OnEntry::Stop { lead: SignedDuration::from_mins(i64::from(chance.pick(&[0, 1, 5]))) };
    let on_entry = if chance.one_in(3) { OnEntry::Finish } else { stop };
    let spans = vec![Span::parse_weekly(chance.pick(&WEEKLY)).expect("a span")];
    let zone = TimeZone::get(chance.pick(&ZONES)).expect("a zone");
    Window { name: name(label), kind, on_entry, zone, spans, ..blackout("00:00:00", "00:00:01") }
}

fn foretold(expected: &[Expected], from: Timestamp) -> Vec<String> {
    let mut slots: Vec<String> =
        expected.iter().filter_map(|run| decided(&run.run, run.runs_from_to.is_some(), from)).collect();
    slots.sort();
    slots
}

#[track_caller]
fn same(foretold: &[String], was: &[String], seed: u64) {
    let only = |some: &[String], others: &[String]| -> Vec<String> {
        some.iter().filter(|line| !others.contains(line)).cloned().collect()
    };
    let (expected, lived) = (only(foretold, was), only(was, foretold));
    assert!(expected.is_empty() && lived.is_empty(), "SEED={seed}: foretold {expected:#?}, but lived {lived:#?}");
}

#[test]
fn month_runs_exactly_as_the_forecast_said() {
    let (from, to) = (instant("2026-03-14T00:00:00Z"), instant("2026-04-14T00:00:00Z"));
    let mut kinds = BTreeSet::new();
    for seed in 0..MONTHS {
        let mut chance = Chance::new(seed);
        let rules = rules(&mut chance);
        let mut reality =
            Reality::new(from - SignedDuration::from_secs(1), i64::from(chance.pick(&[70_i32, 70, 130, 3_610])));
        reality.live_until(&rules, from, &mut chance, 0);
        if chance.one_in(2) {
            let days = i64::try_from(chance.between(1, 20)).expect("days");
            let until = Some(from + SignedDuration::from_hours(24 * days));
            let pause = Pause { at: from, by: "tester".to_owned(), reason: None, until };
            reality.pauses.insert(name("probe-0"), PauseRow { pause: Some(pause) });
        }
        let forecast = forecast::forecast(&rules, &reality.outlook(&rules), from, to);
        let away = if chance.one_in(2) { AWAY_S } else { 0 };
        reality.live_until(&rules, to, &mut chance, away);
        let was = reality.decisions(from);
        same(&foretold(&forecast.runs, from), &was, seed);
        kinds.extend(was.iter().filter_map(|line| line.rsplit(' ').next()).map(str::to_owned));
    }
    for kind in ["completed", "stopped", "closed", "overlap", "not-drawn", "paused"] {
        assert!(kinds.contains(kind), "no {kind} in {kinds:?}");
    }
}

/// An edited configuration is loaded at some instant; from then on nothing starts that its forecast did not list, and all
/// that it listed does.
#[test]
fn edited_configuration_fires_what_its_plan_listed_and_nothing_else() {
    let (from, to) = (instant("2026-03-20T00:00:00Z"), instant("2026-04-05T00:00:00Z"));
    for seed in 0..MONTHS {
        let mut chance = Chance::new(1_000 + seed);
        let (old, new) = (rules(&mut chance), rules(&mut chance));
        let mut reality = Reality::new(from, 610);
        let minutes = i64::try_from(chance.between(0, 7 * 24 * 60)).expect("minutes");
        // Mostly right after a slot, whose run goes on or waits.
        let edited = from + SignedDuration::from_mins(minutes / 15 * 15) + SignedDuration::from_secs(1);
        reality.live_until(&old, edited, &mut chance, 0);
        let forecast = forecast::forecast(&new, &reality.outlook(&new), edited, to);
        reality.live_until(&new, to, &mut chance, AWAY_S);
        same(&foretold(&forecast.runs, edited), &reality.decisions(edited), seed);
    }
}
