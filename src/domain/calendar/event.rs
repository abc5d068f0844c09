//! One event: when it begins, how long it lasts, and how it comes again.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use calcard::{common::timezone::Tz, icalendar::ICalendar};
use jiff::{
    SignedDuration, Span, Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};

use super::{
    CalendarError, Problem, instant, later,
    lines::{Component, Property},
    rule::Rule,
};

/// Years in which an event may begin: rules are followed from there.
const YEARS: RangeInclusive<i16> = 1900..=9998;

/// How far a local time can lie from the instant with the same digits in UTC.
const ZONES_APART: SignedDuration = SignedDuration::from_hours(48);

/// An event, or one occurrence that replaces another.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) line: usize,
    pub(super) uid: Option<String>,
    pub(super) recurrence_id: Option<Timestamp>,
    pub(super) cancelled: bool,
    start: DateTime,
    zone: TimeZone,
    length: Length,
    rule: Option<Rule>,
    /// Further occurrences, and their ends if they have one of their own.
    more: Vec<(Timestamp, Option<Timestamp>)>,
    except: BTreeSet<Timestamp>,
}

/// How long an event lasts.
#[derive(Debug, Clone, Copy)]
enum Length {
    /// The time between its start and its end (RFC 5545, 3.8.5.3).
    Exact(SignedDuration),
    /// Days of the calendar, which have 23 to 25 hours, and a time.
    Nominal(Span),
}

/// A date, or a time in a zone.
struct Moment {
    local: DateTime,
    zone: TimeZone,
    is_date: bool,
}

impl Moment {
    fn at(&self, property: &Property) -> Result<Timestamp, CalendarError> {
        instant(self.local, &self.zone).ok_or_else(|| property.refused())
    }
}

/// The zones of a calendar by the names it gives them.
pub(super) struct Zones {
    named: BTreeMap<String, TimeZone>,
    /// For dates, and for times without a zone.
    default: TimeZone,
}

impl Zones {
    /// Finds every zone that the calendar names. What a `VTIMEZONE` says of itself is not followed: its name must lead
    /// to a zone of the tz database, also by one of the names that Windows uses. What names none, in a calendar that does
    /// not either, is in the zone `otherwise`.
    ///
    /// # Errors
    /// [`Problem::Zone`].
    pub(super) fn of(text: &str, root: &Component, otherwise: &TimeZone) -> Result<Self, CalendarError> {
        let calendar = ICalendar::parse(text).map_err(|_| CalendarError { line: 1, problem: Problem::NotACalendar })?;
        let resolver = calendar.build_tz_resolver();
        let zone = |name: &str, property: &Property| {
            let known = resolver.resolve(name).filter(|zone| matches!(zone, Tz::Tz(_)));
            let known = known.and_then(|zone| TimeZone::get(&zone.name()?).ok());
            known.ok_or_else(|| property.error(Problem::Zone { zone: super::lines::short(name) }))
        };
        let default = match root.one("X-WR-TIMEZONE")? {
            Some(property) => zone(property.value.trim(), property)?,
            None => otherwise.clone(),
        };
        let mut named = BTreeMap::new();
        let properties =
            root.children.iter().filter(|child| child.name == "VEVENT").flat_map(|child| &child.properties);
        for property in properties {
            if let Some(name) = property.parameter("TZID") {
                named.insert(name.to_owned(), zone(name, property)?);
            }
        }
        Ok(Self { named, default })
    }

    /// Reads a date or time.
    fn moment(&self, property: &Property, value: &str) -> Result<Moment, CalendarError> {
        if let Some(date) = date(value) {
            return Ok(Moment { local: date.at(0, 0, 0, 0), zone: self.default.clone(), is_date: true });
        }
        let (local, zone) = match (value.strip_suffix(['Z', 'z']), property.parameter("TZID")) {
            (Some(local), _) => (local, &TimeZone::UTC),
            (None, Some(name)) => {
                let unknown = || property.error(Problem::Zone { zone: super::lines::short(name) });
                (value, self.named.get(name).ok_or_else(unknown)?)
            }
            (None, None) => (value, &self.default),
        };
        let local = date_time(local).ok_or_else(|| property.refused())?;
        Ok(Moment { local, zone: zone.clone(), is_date: false })
    }
}

impl Event {
    /// Reads a `VEVENT`.
    ///
    /// # Errors
    /// [`CalendarError`].
    pub(super) fn parse(component: &Component, zones: &Zones) -> Result<Self, CalendarError> {
        let line = component.line;
        let missing = |name| CalendarError { line, problem: Problem::Missing { name } };
        if let Some(property) = component.all("EXRULE").next() {
            return Err(property.error(Problem::Unsupported { what: "EXRULE" }));
        }
        let begin = component.one("DTSTART")?.ok_or_else(|| missing("DTSTART"))?;
        let start = zones.moment(begin, begin.value.trim())?;
        if !YEARS.contains(&start.local.year()) {
            let (first, last) = (*YEARS.start(), *YEARS.end());
            return Err(begin.error(Problem::Year { year: start.local.year(), first, last }));
        }
        let first = start.at(begin)?;
        let length = length(component, zones, &start, first)?.ok_or_else(|| missing("DTEND or DURATION"))?;
        let rule = component.one("RRULE")?;
        let rule = rule.map(|property| {
            Rule::parse(&property.value, start.local, &start.zone).map_err(|problem| property.error(problem))
        });
        let recurrence = component.one("RECURRENCE-ID")?;
        let recurrence_id = recurrence.map(|property| {
            if property.parameter("RANGE").is_some() {
                return Err(property.error(Problem::Unsupported { what: "RANGE" }));
            }
            zones.moment(property, property.value.trim())?.at(property)
        });
        let (mut more, mut except) = (Vec::new(), BTreeSet::new());
        for property in component.all("RDATE") {
            for value in property.value.split(',') {
                more.push(further(property, value.trim(), zones)?);
            }
        }
        for property in component.all("EXDATE") {
            for value in property.value.split(',') {
                let moment = zones.moment(property, value.trim())?;
                if moment.is_date != start.is_date {
                    return Err(property.refused());
                }
                except.insert(moment.at(property)?);
            }
        }
        let status = component.one("STATUS")?;
        Ok(Self {
            line,
            uid: component.one("UID")?.map(|property| property.value.trim().to_owned()),
            recurrence_id: recurrence_id.transpose()?,
            cancelled: status.is_some_and(|property| property.value.trim().eq_ignore_ascii_case("CANCELLED")),
            start: start.local,
            zone: start.zone,
            length,
            rule: rule.transpose()?,
            more,
            except,
        })
    }

    /// Starts and ends of its occurrences that begin before about `to`, earlier ones included.
    ///
    /// # Errors
    /// [`Problem::TooMany`] beyond `limit`, [`Problem::Rule`] when the rule cannot be followed.
    pub(super) fn starts(&self, to: Timestamp, limit: usize) -> Result<Vec<(Timestamp, Timestamp)>, CalendarError> {
        let starts = match &self.rule {
            None => vec![self.start],
            Some(rule) => {
                let to = local_bound(to);
                rule.starts(self.start, to, limit).map_err(|problem| CalendarError { line: self.line, problem })?
            }
        };
        let beyond = || CalendarError { line: self.line, problem: Problem::TooMany { limit } };
        let ruled = starts.into_iter().map(|local| Ok((instant(local, &self.zone).ok_or_else(beyond)?, None)));
        let ruled = ruled.collect::<Result<Vec<_>, _>>()?.into_iter();
        let all = ruled.chain(self.more.iter().copied()).filter(|(start, _)| !self.except.contains(start));
        Ok(all.map(|(start, end)| (start, end.unwrap_or_else(|| self.end(start)))).collect())
    }

    /// How many periods of its rule lie between its start and `to`: what it costs to look at them.
    pub(super) fn periods(&self, to: Timestamp) -> usize {
        self.rule.as_ref().map_or(0, |rule| rule.periods(self.start, local_bound(to)))
    }

    /// How many periods of its rule were looked at when it was read.
    pub(super) fn periods_to_second(&self) -> usize {
        self.rule.as_ref().map_or(0, |rule| rule.periods_to_second(self.start))
    }

    fn end(&self, start: Timestamp) -> Timestamp {
        match self.length {
            Length::Exact(length) => later(start, length),
            Length::Nominal(span) => {
                let end = start.to_zoned(self.zone.clone()).checked_add(span);
                end.map_or(Timestamp::MAX, |end| end.timestamp())
            }
        }
    }
}

/// A local time that no zone has reached at an instant.
fn local_bound(to: Timestamp) -> DateTime {
    TimeZone::UTC.to_datetime(later(to, ZONES_APART))
}

/// How long an event lasts; a date without an end lasts that day. `None` when it does not say.
fn length(
    component: &Component,
    zones: &Zones,
    start: &Moment,
    first: Timestamp,
) -> Result<Option<Length>, CalendarError> {
    match (component.one("DTEND")?, component.one("DURATION")?) {
        (Some(_), Some(property)) => Err(property.error(Problem::Repeated { name: "end" })),
        (Some(property), None) => {
            let end = zones.moment(property, property.value.trim())?;
            if end.is_date != start.is_date || end.local < start.local && end.is_date {
                return Err(property.refused());
            }
            if end.is_date {
                let days = start.local.date().until(end.local.date()).map_err(|_| property.refused())?;
                return Ok(Some(Length::Nominal(days)));
            }
            // An end on the last day of the year 9999, as some write who mean no end, is behind the last instant there is.
            let end = instant(end.local, &end.zone).unwrap_or(Timestamp::MAX);
            let length = end.duration_since(first);
            if length.is_negative() { Err(property.refused()) } else { Ok(Some(Length::Exact(length))) }
        }
        (None, Some(property)) => {
            duration(property.value.trim()).map(|span| Some(Length::Nominal(span))).ok_or_else(|| property.refused())
        }
        (None, None) => Ok(start.is_date.then(|| Length::Nominal(Span::new().days(1)))),
    }
}

/// An `RDATE`: a date, a time, or a period with its own end.
fn further(property: &Property, value: &str, zones: &Zones) -> Result<(Timestamp, Option<Timestamp>), CalendarError> {
    let Some((begin, end)) = value.split_once('/') else {
        return Ok((zones.moment(property, value)?.at(property)?, None));
    };
    let begin = zones.moment(property, begin)?;
    let start = begin.at(property)?;
    let end = match duration(end) {
        Some(span) => start.to_zoned(begin.zone).checked_add(span).map_err(|_| property.refused())?.timestamp(),
        None => zones.moment(property, end)?.at(property)?,
    };
    if end < start { Err(property.refused()) } else { Ok((start, Some(end))) }
}

/// Reads weeks, days and a time (RFC 5545, 3.3.6): no months or years, and not backwards.
fn duration(text: &str) -> Option<Span> {
    let span: Span = text.starts_with(['P', '+']).then_some(text)?.parse().ok()?;
    (!span.is_negative() && span.get_years() == 0 && span.get_months() == 0).then_some(span)
}

/// Reads `YYYYMMDD`.
pub(super) fn date(text: &str) -> Option<Date> {
    if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Date::new(text.get(..4)?.parse().ok()?, text.get(4..6)?.parse().ok()?, text.get(6..)?.parse().ok()?).ok()
}

/// Reads `YYYYMMDDTHHMMSS`.
pub(super) fn date_time(text: &str) -> Option<DateTime> {
    let (day, time) = text.split_once(['T', 't'])?;
    if time.len() != 6 || !time.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize| time.get(from..from + 2)?.parse::<i8>().ok();
    let day = date(day)?;
    DateTime::new(day.year(), day.month(), day.day(), part(0)?, part(2)?, part(4)?, 0).ok()
}

/// Writes what [`date_time`] reads.
pub(super) fn written(at: DateTime) -> String {
    at.strftime("%Y%m%dT%H%M%S").to_string()
}
