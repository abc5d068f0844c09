//! Checks of schedules.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::{
    super::{
        path::KeyPath,
        raw::{RawDst, RawMissed, RawSchedule},
    },
    Check,
    values::{MAX_DELAY, MINUTE, SECOND, WholeDay, shown},
};
use crate::domain::{
    experiment::Overlap,
    ids::{self, Name},
    schedule::{Bounds, CronSchedule, Every, Gaps, MissedPolicy, Schedule, Spread, Timing},
};

/// How long after its slot a run may still start when nothing is said.
const DEFAULT_START_DEADLINE: SignedDuration = SignedDuration::from_mins(10);

/// Longest period of `every`.
const MAX_PERIOD: SignedDuration = SignedDuration::from_hours(24 * 3_660);

/// Most missed slots that are made up for, when nothing is said and at all.
const MAX_MISSED: (u32, u32) = (10, 100);

/// Largest number that `mtbf` and `max_runs` take.
const MAX_NUMBER: u32 = 1_000_000;

/// Of which schedule something is checked.
struct Subject<'a> {
    path: &'a KeyPath,
    experiment: &'a Name,
    name: &'a Name,
    zone: TimeZone,
}

impl Check<'_> {
    /// Checks the schedules of an experiment.
    pub fn schedules(
        &mut self,
        path: &KeyPath,
        experiment: &str,
        overlap: Overlap,
        raw: Vec<RawSchedule>,
    ) -> Vec<Schedule> {
        let mut names: BTreeSet<Name> = BTreeSet::new();
        let mut schedules = Vec::new();
        for (number, raw) in raw.into_iter().enumerate() {
            let path = path.item(number);
            let Some(schedule) = self.schedule(&path, experiment, overlap, raw) else { continue };
            if names.insert(schedule.name().clone()) {
                schedules.push(schedule);
            } else {
                let message = format!("a schedule named `{}` stands before it in this experiment", schedule.name());
                let hint = "give each its own `name`; without one it is made of what it says of times".to_owned();
                self.problem(&path, message, Some(hint));
            }
        }
        schedules.shrink_to_fit();
        schedules
    }

    fn schedule(&mut self, path: &KeyPath, experiment: &str, overlap: Overlap, raw: RawSchedule) -> Option<Schedule> {
        let zone_name = raw.timezone.clone().unwrap_or_else(|| "UTC".to_owned());
        let zone = self.zone(&path.key("timezone"), raw.timezone.clone());
        let named = self.one_timing(path, &raw);
        let name = match (&raw.name, named) {
            (Some(name), _) => self.name(&path.key("name"), name),
            (None, Some((kind, text))) => self.name(path, &derived_name(kind, text, &zone_name)),
            (None, None) => None,
        };
        // With a mistake in a name or the zone everything else is checked all the same, under names that are never used.
        let experiment = Name::parse(experiment).or_else(|_| Name::parse("unnamed")).ok()?;
        let name_or_other = name.clone().unwrap_or_else(|| experiment.clone());
        let zone_or_utc = zone.clone().unwrap_or(TimeZone::UTC);
        let subject = Subject { path, experiment: &experiment, name: &name_or_other, zone: zone_or_utc };
        let bounds = self.bounds(&subject, &raw);
        let timing = named.and_then(|_| self.timing(&subject, &raw, bounds));
        let is_bounded = bounds != Bounds::default();
        let mut schedule = timing.map(|timing| Schedule::new(&experiment, name_or_other.clone(), timing, bounds));
        self.policies(path, &raw, overlap, schedule.as_mut());
        let schedule = schedule.filter(|_| name.is_some() && zone.is_some())?;
        if is_bounded && schedule.next_after(Timestamp::MIN).is_none() {
            let message = "never fires: no slot lies between its `start_date` and `end_date`".to_owned();
            self.problem(path, message, None);
        }
        self.spread_fits(path, &schedule);
        Some(schedule)
    }

    /// Demands exactly one of the keys that say when; returns which and what it says.
    fn one_timing<'r>(&mut self, path: &KeyPath, raw: &'r RawSchedule) -> Option<(&'static str, &'r str)> {
        let keys = [("cron", &raw.cron), ("every", &raw.every), ("at", &raw.at)];
        let given: Vec<(&'static str, &str)> =
            keys.into_iter().filter_map(|(key, text)| Some((key, text.as_deref()?))).collect();
        match given[..] {
            [] => {
                let hint = "say when: `cron = \"30 2 * * MON-FRI\"`, `every = \"36h\"` or `at = \"2026-03-01T10:00\"`";
                self.problem(&path.key("cron"), "is missing".to_owned(), Some(hint.to_owned()));
                return None;
            }
            [_] => {}
            [(one, _), (other, _), ..] => {
                let message = format!("`{one}` and `{other}` exclude each other");
                let hint = "remove one of them, or make it a schedule of its own".to_owned();
                self.problem(&path.key(other), message, Some(hint));
            }
        }
        let (kind, text) = given[0];
        for (key, belongs_to, is_given) in
            [("anchor", "every", raw.anchor.is_some()), ("dst", "cron", raw.dst.is_some())]
        {
            if is_given && kind != belongs_to {
                self.problem(&path.key(key), format!("has no meaning without `{belongs_to}`"), None);
            }
        }
        Some((kind, text))
    }

    fn bounds(&mut self, subject: &Subject<'_>, raw: &RawSchedule) -> Bounds {
        let (start, end) = (subject.path.key("start_date"), subject.path.key("end_date"));
        let from = raw.start_date.as_ref();
        let until = raw.end_date.as_ref();
        let from = from.and_then(|text| self.instant(&start, text, &subject.zone, WholeDay::Begins));
        let until = until.and_then(|text| self.instant(&end, text, &subject.zone, WholeDay::Ends));
        if let (Some(from), Some(until)) = (from, until)
            && until <= from
        {
            self.problem(&end, "is not after `start_date`".to_owned(), None);
            return Bounds::default();
        }
        Bounds { from, until }
    }

    fn timing(&mut self, subject: &Subject<'_>, raw: &RawSchedule, bounds: Bounds) -> Option<Timing> {
        let Subject { path, experiment, name, zone } = subject;
        if let Some(expression) = &raw.cron {
            let cron = self.cron(&path.key("cron"), expression, zone.clone(), &format!("{experiment} {name}"))?;
            let gaps = match raw.dst {
                None | Some(RawDst::Shift) => Gaps::Shift,
                Some(RawDst::Skip) => Gaps::Skip,
            };
            return Some(Timing::Cron(cron.with_gaps(gaps)));
        }
        if let Some(every) = &raw.every {
            let before = self.problems.len();
            let period = self.duration(&path.key("every"), Some(every.clone()), MINUTE, SECOND..=MAX_PERIOD);
            let anchor = raw.anchor.as_ref();
            let anchor = anchor.map(|text| self.instant(&path.key("anchor"), text, zone, WholeDay::Begins));
            let anchor = anchor.unwrap_or(bounds.from.or(Some(Timestamp::UNIX_EPOCH)));
            return anchor
                .filter(|_| self.problems.len() == before)
                .map(|anchor| Timing::Every(Every::new(period, anchor, zone.clone())));
        }
        let at = self.instant(&path.key("at"), raw.at.as_ref()?, zone, WholeDay::Begins)?;
        Some(Timing::At { at, zone: zone.clone() })
    }

    /// Checks what becomes of slots, and gives it to the schedule if there is one.
    fn policies(&mut self, path: &KeyPath, raw: &RawSchedule, overlap: Overlap, schedule: Option<&mut Schedule>) {
        let zero = SignedDuration::ZERO;
        let mut duration = |key: &str, text: &Option<String>, default, least| {
            self.duration(&path.key(key), text.clone(), default, least..=MAX_DELAY)
        };
        let start_deadline = duration("start_deadline", &raw.start_deadline, DEFAULT_START_DEADLINE, SECOND);
        let hold_for = duration("hold_for", &raw.hold_for, zero, zero);
        let jitter = raw.jitter.as_ref().map(|_| duration("jitter", &raw.jitter, SECOND, SECOND));
        let within = raw.within.as_ref().map(|_| duration("within", &raw.within, MINUTE, MINUTE));
        let spread = match (jitter, within) {
            (None, None) => Spread::None,
            (Some(jitter), None) => Spread::Jitter(jitter),
            (None, Some(within)) => Spread::Within(within),
            (Some(_), Some(_)) => {
                self.problem(&path.key("within"), "`jitter` and `within` exclude each other".to_owned(), None);
                Spread::None
            }
        };
        if within.is_some() && raw.start_deadline.is_some() {
            let message = "has no meaning with `within`, whose end is the deadline".to_owned();
            self.problem(&path.key("start_deadline"), message, None);
        }
        let mtbf = self.number(&path.key("mtbf"), raw.mtbf, 1, MAX_NUMBER);
        let max_runs = raw.max_runs.map(|most| self.number(&path.key("max_runs"), Some(most), 1, MAX_NUMBER));
        let most = self.number(&path.key("max_missed"), raw.max_missed, MAX_MISSED.0, MAX_MISSED.1);
        let missed = match raw.missed {
            None | Some(RawMissed::Latest) => MissedPolicy::Latest,
            Some(RawMissed::Skip) => MissedPolicy::Skip,
            Some(RawMissed::All) => MissedPolicy::All { most },
        };
        if raw.max_missed.is_some() && !matches!(missed, MissedPolicy::All { .. }) {
            let message = "has no meaning without `missed = \"all\"`".to_owned();
            self.problem(&path.key("max_missed"), message, None);
        }
        if matches!(missed, MissedPolicy::All { .. }) && overlap == Overlap::Skip {
            let message = "all missed slots are made up for, but `overlap = \"skip\"` lets only the first of them run";
            self.warn(&path.key("missed"), message.to_owned());
        }
        if let Some(schedule) = schedule {
            (schedule.start_deadline, schedule.hold_for, schedule.spread) = (start_deadline, hold_for, spread);
            (schedule.mtbf, schedule.max_runs, schedule.missed) = (mtbf, max_runs, missed);
        }
    }

    /// Refuses a spread that reaches into the next slot.
    fn spread_fits(&mut self, path: &KeyPath, schedule: &Schedule) {
        let (key, length) = match schedule.spread {
            Spread::None => return,
            Spread::Jitter(length) => ("jitter", length),
            Spread::Within(length) => ("within", length),
        };
        let Some(interval) = schedule.shortest_interval().filter(|interval| length > *interval) else { return };
        let (length, interval) = (shown(length), shown(interval));
        let message = format!("`{length}` is longer than the shortest time between two slots, which is {interval}");
        self.problem(&path.key(key), message, Some(format!("write at most `{interval}`")));
    }

    /// Reads a cron expression; `seed` spreads its hash fields.
    pub fn cron(&mut self, path: &KeyPath, expression: &str, zone: TimeZone, seed: &str) -> Option<CronSchedule> {
        let seed_counts = if expression.contains(['h', 'H']) { seed } else { "" };
        let place = zone.iana_name().unwrap_or_default().to_owned();
        let key = (expression.to_owned(), place, seed_counts.to_owned());
        let known = self.patterns.get(&key).cloned();
        match known.map_or_else(|| CronSchedule::parse(expression, zone, seed), Ok) {
            Ok(cron) => {
                self.patterns.insert(key, cron.clone());
                if cron.has_two_day_fields() {
                    let message = format!("`{expression}` sets day of month and day of week: either may match");
                    self.warn(path, message);
                }
                Some(cron)
            }
            Err(error) => {
                self.problem(path, error.to_string(), error.hint());
                None
            }
        }
    }
}

/// Makes a name that stays as long as what it is made of.
fn derived_name(kind: &str, text: &str, zone: &str) -> String {
    format!("{kind}-{}", ids::fingerprint(&[text, zone]))
}
