//! What is ahead: the forecast in words and numbers, for the table, the picture and programs.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use serde::{Serialize, Serializer};

use crate::{
    config::settings::Settings,
    domain::{
        cost::Usd,
        experiment::Rules,
        forecast::{Basis, Cluster, Expected, Forecast, Outlook},
        ids::{CalendarName, ExperimentName, RunId, ScheduleName},
        ledger,
        run::{HoldReason, RunState, SkipReason, Trigger},
        schedule::Schedule,
    },
};

/// What is decided of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It starts when it is due.
    Start,
    /// It starts, but later.
    Shift,
    /// It waits at the end of what is known.
    Hold,
    /// It is not started.
    Skip,
}

impl Decision {
    /// Returns the name used in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Shift => "shift",
            Self::Hold => "hold",
            Self::Skip => "skip",
        }
    }
}

/// One slot.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    /// Its instant.
    pub slot: Timestamp,
    /// The schedule's zone.
    #[serde(serialize_with = "zone_name")]
    pub zone: TimeZone,
    /// Whose.
    pub experiment: &'a ExperimentName,
    /// Which schedule's.
    pub schedule: &'a ScheduleName,
    /// The run that it is going to be.
    pub run: &'a RunId,
    /// What is decided.
    pub decision: Decision,
    /// Why it does not start at its instant, for programs.
    pub why: Option<Why<'a>>,
    /// The same for people.
    pub reason: Option<String>,
    /// When it starts.
    pub starts: Option<Timestamp>,
    /// When it ends at the latest.
    pub ends_by: Option<Timestamp>,
    /// What that end rests on.
    pub end_rests_on: Option<Basis>,
    /// What it costs, if that is known.
    #[serde(serialize_with = "dollars")]
    pub cost_usd: Option<Usd>,
    /// Whether a clock change moved it from the local time that the schedule names.
    pub moved_by_clock_change: bool,
}

/// Why a run does not start at its instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Why<'a> {
    /// It waits, or waited.
    Waits(&'a HoldReason),
    /// It is not started.
    Skipped(&'a SkipReason),
}

/// A clock change of a zone that schedules are in.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ClockChange {
    /// When.
    pub at: Timestamp,
    /// IANA name of the zone.
    pub zone: String,
    /// What clocks would have shown.
    pub from: DateTime,
    /// What they show.
    pub to: DateTime,
}

/// How many slots are decided in which way.
#[derive(Debug, Default, Serialize)]
pub struct Totals {
    /// All.
    pub slots: usize,
    /// How many start when they are due.
    pub start: usize,
    /// How many start later.
    pub shift: usize,
    /// How many wait.
    pub hold: usize,
    /// How many are not started.
    pub skip: usize,
    /// Those, by reason.
    pub skipped_by: BTreeMap<&'static str, usize>,
}

/// What a calendar month costs, in UTC, as AWS bills.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Month {
    /// Such as `2027-03`.
    pub month: String,
    /// Runs that start in it.
    pub runs: usize,
    /// Action-minutes of those whose cost is known.
    pub action_minutes: u64,
    /// Their cost.
    #[serde(serialize_with = "dollars")]
    pub planned_usd: Option<Usd>,
    /// Runs whose cost is not known.
    pub runs_of_unknown_cost: usize,
    /// What runs of the month have cost so far, those of other experiments among them.
    #[serde(serialize_with = "dollars")]
    pub spent_usd: Option<Usd>,
    /// The month's budget.
    #[serde(serialize_with = "dollars")]
    pub budget_usd: Option<Usd>,
}

/// What is not known and had to be assumed.
#[derive(Debug, Default, Serialize)]
pub struct Unknown {
    /// Experiments whose template was never read, or is another one now: their runs are taken to last `max_duration`.
    pub templates_never_read: Vec<ExperimentName>,
    /// Experiments whose template has no time to read: their runs are taken to last `max_duration`.
    pub templates_without_end: Vec<ExperimentName>,
    /// Why calendars are not known, by name: their windows are taken to be closed.
    pub calendars: BTreeMap<CalendarName, String>,
    /// Until when calendars are known at all, where that is before the end: their windows are closed from then on.
    pub calendars_known_until: BTreeMap<CalendarName, Timestamp>,
}

/// All that is ahead.
#[derive(Debug)]
pub struct Ahead<'a> {
    /// First instant asked about (inclusive).
    pub from: Timestamp,
    /// Last instant asked about (exclusive).
    pub to: Timestamp,
    /// The forecast.
    pub forecast: &'a Forecast,
    /// The configuration.
    pub settings: &'a Settings,
    /// Experiments asked about.
    pub chosen: &'a Cluster,
    /// Slots in order.
    pub lines: Vec<Line<'a>>,
    /// Clock changes in order.
    pub clock_changes: Vec<ClockChange>,
    /// Sums.
    pub totals: Totals,
    /// Sums of money, by month.
    pub months: Vec<Month>,
    /// Assumptions.
    pub unknown: Unknown,
}

/// What programs are told.
#[derive(Debug, Serialize)]
pub struct Report<'r> {
    from: Timestamp,
    to: Timestamp,
    /// Up to where every experiment is forecast (exclusive).
    until: Timestamp,
    /// Experiments that are not forecast to the end.
    cut: &'r BTreeMap<ExperimentName, Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slots: Option<&'r [Line<'r>]>,
    totals: &'r Totals,
    months: &'r [Month],
    clock_changes: &'r [ClockChange],
    unknown: &'r Unknown,
}

impl<'a> Ahead<'a> {
    /// Makes words and numbers of a forecast.
    pub fn new(
        settings: &'a Settings,
        outlook: &'a Outlook,
        forecast: &'a Forecast,
        chosen: &'a Cluster,
        (from, to): (Timestamp, Timestamp),
        now: Timestamp,
    ) -> Self {
        let clock_changes = clock_changes(settings, chosen, from, to);
        let lines: Vec<Line<'_>> =
            forecast.runs.iter().filter_map(|expected| line(settings, &clock_changes, expected)).collect();
        let (totals, unknown) = (totals(&lines), unknown(settings, outlook, &lines, (now, to)));
        let months = months(&settings.rules, outlook, forecast);
        Self { from, to, forecast, settings, chosen, lines, clock_changes, totals, months, unknown }
    }

    /// Returns what programs are told.
    pub fn report(&self, only_totals: bool) -> Report<'_> {
        Report {
            from: self.from,
            to: self.to,
            until: self.forecast.until,
            cut: &self.forecast.cut,
            slots: (!only_totals).then_some(&self.lines),
            totals: &self.totals,
            months: &self.months,
            clock_changes: &self.clock_changes,
            unknown: &self.unknown,
        }
    }
}

/// Finds what is decided of a slot, and why it does not start at its instant: for programs, and for people.
pub fn decision(expected: &Expected) -> (Decision, Option<Why<'_>>, Option<String>) {
    let waits = expected.waited_for.as_ref();
    match (expected.runs_from_to, &expected.run.state) {
        (Some((start, _)), _) if start > expected.run.not_before => {
            (Decision::Shift, waits.map(Why::Waits), waits.map(|reason| format!("waits: {reason}")))
        }
        (Some(_), _) => (Decision::Start, None, None),
        (None, RunState::Skipped { reason, .. }) => {
            (Decision::Skip, Some(Why::Skipped(reason)), Some(reason.to_string()))
        }
        (None, _) => (Decision::Hold, waits.map(Why::Waits), waits.map(ToString::to_string)),
    }
}

fn line<'a>(settings: &'a Settings, changes: &[ClockChange], expected: &'a Expected) -> Option<Line<'a>> {
    let Trigger::Slot { schedule, at, .. } = &expected.run.trigger else { return None };
    let experiment = settings.rules.experiments.get(&expected.run.experiment)?;
    let declared = experiment.schedules.iter().find(|declared| declared.name() == schedule);
    let zone = declared.map_or(TimeZone::UTC, |declared| declared.zone().clone());
    let (decision, why, reason) = decision(expected);
    Some(Line {
        slot: *at,
        zone,
        experiment: &expected.run.experiment,
        schedule,
        run: &expected.run.id,
        decision,
        why,
        reason,
        starts: expected.runs_from_to.map(|(start, _)| start),
        ends_by: expected.runs_from_to.map(|(_, end)| end),
        end_rests_on: expected.runs_from_to.map(|_| expected.basis),
        cost_usd: expected.cost.and_then(|cost| cost.usd()),
        moved_by_clock_change: declared.is_some_and(|declared| is_moved(declared, changes, *at)),
    })
}

/// Tells whether a clock change moved a slot: only slots at the very change can be.
fn is_moved(schedule: &Schedule, changes: &[ClockChange], at: Timestamp) -> bool {
    let first = changes.partition_point(|change| change.at < at);
    changes.get(first).is_some_and(|change| change.at == at) && schedule.slot_at(at).is_some_and(|slot| slot.shifted)
}

/// Lists the clock changes of every zone that a schedule of the experiments is in.
fn clock_changes(settings: &Settings, chosen: &Cluster, from: Timestamp, to: Timestamp) -> Vec<ClockChange> {
    let experiments = chosen.iter().filter_map(|name| settings.rules.experiments.get(name));
    let zones = experiments.flat_map(|experiment| &experiment.schedules).map(Schedule::zone);
    let zones: BTreeMap<&str, &TimeZone> = zones.filter_map(|zone| Some((zone.iana_name()?, zone))).collect();
    let mut changes: Vec<ClockChange> =
        zones.into_iter().flat_map(|(name, zone)| changes_of(name, zone, from, to)).collect();
    changes.sort();
    changes
}

fn changes_of(name: &str, zone: &TimeZone, from: Timestamp, to: Timestamp) -> Vec<ClockChange> {
    let before = from.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(from);
    let changes = zone.following(before).take_while(|change| change.timestamp() < to);
    let change = |at: Timestamp| {
        let earlier = at.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(at);
        let (from, to) = (zone.to_offset(earlier).to_datetime(at), zone.to_datetime(at));
        (from != to).then(|| ClockChange { at, zone: name.to_owned(), from, to })
    };
    changes.filter_map(|found| change(found.timestamp())).collect()
}

fn totals(lines: &[Line<'_>]) -> Totals {
    let mut totals = Totals { slots: lines.len(), ..Totals::default() };
    for line in lines {
        *match line.decision {
            Decision::Start => &mut totals.start,
            Decision::Shift => &mut totals.shift,
            Decision::Hold => &mut totals.hold,
            Decision::Skip => &mut totals.skip,
        } += 1;
        if let Some(Why::Skipped(reason)) = line.why {
            *totals.skipped_by.entry(reason.as_str()).or_default() += 1;
        }
    }
    totals
}

/// Sums the cost of what starts, by month.
fn months(rules: &Rules, outlook: &Outlook, forecast: &Forecast) -> Vec<Month> {
    let mut months: BTreeMap<String, Month> = BTreeMap::new();
    for expected in &forecast.runs {
        let (Some((start, _)), Some(cost)) = (expected.runs_from_to, expected.cost) else { continue };
        let month = months.entry(ledger::month(start)).or_default();
        month.runs += 1;
        match (cost.action_minutes, cost.usd()) {
            (Some(minutes), Some(usd)) => {
                month.action_minutes = month.action_minutes.saturating_add(minutes);
                month.planned_usd = Some(month.planned_usd.unwrap_or_default().plus(usd));
            }
            _ => month.runs_of_unknown_cost += 1,
        }
    }
    let named = |(name, month): (String, Month)| {
        let spent = ledger::spent(rules, &outlook.ledgers, &name);
        let spent_usd = (spent > Usd::ZERO).then_some(spent);
        Month { month: name, spent_usd, budget_usd: rules.budget.monthly, ..month }
    };
    months.into_iter().map(named).collect()
}

/// Finds what had to be assumed.
fn unknown(settings: &Settings, outlook: &Outlook, lines: &[Line<'_>], (now, to): (Timestamp, Timestamp)) -> Unknown {
    let assumed: Cluster = lines
        .iter()
        .filter(|line| line.end_rests_on == Some(Basis::Limit))
        .map(|line| line.experiment.clone())
        .collect();
    let (without_end, never_read) = assumed.into_iter().partition(|experiment| outlook.facts.contains_key(experiment));
    let mut unknown =
        Unknown { templates_never_read: never_read, templates_without_end: without_end, ..Unknown::default() };
    for reading in settings.rules.windows.iter().flat_map(|window| &window.calendars) {
        let calendar = reading.calendar.clone();
        match reading.believed(now) {
            Err(why) => drop(unknown.calendars.insert(calendar, why)),
            Ok(content) => {
                let until = content.known_until.filter(|until| *until < to);
                unknown.calendars_known_until.extend(until.map(|until| (calendar, until)));
            }
        }
    }
    unknown
}

fn dollars<S: Serializer>(amount: &Option<Usd>, serializer: S) -> Result<S::Ok, S::Error> {
    amount.map(|amount| amount.to_string()).serialize(serializer)
}

fn zone_name<S: Serializer>(zone: &TimeZone, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(zone.iana_name().unwrap_or("UTC"))
}
