//! Recurrence rules (RFC 5545, 3.3.10): a strict reading, and following them.
//!
//! The dates are found by the crate `calcard`, in local time and without any zone. It takes nearly anything for a rule,
//! so what it gets is checked here first, and nothing else reaches it.

use std::collections::BTreeMap;

use calcard::{common::timezone::Tz, icalendar::ICalendar};
use jiff::{SignedDuration, Span, Timestamp, civil::DateTime, tz::TimeZone};

use super::{MAX_OCCURRENCES, Problem, event, instant};

/// A rule, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// All parts but those that end it.
    parts: String,
    /// How often it occurs at most, if it says so.
    count: Option<usize>,
    /// Last local time that it may yield, inclusive.
    until: Option<DateTime>,
    /// Time from one period to the next that it looks at, never longer than in truth.
    period: SignedDuration,
    /// When it occurs for the second time; its start for one that occurs once.
    second: DateTime,
}

/// How far the second occurrence is looked for. A leap day that is a Monday comes within it.
const MAX_WAIT_YEARS: i64 = 41;

/// Parts that leave out whole days. With `HOURLY` each hour of such days would be looked at, for years.
const OF_DAYS: [&str; 4] = ["BYMONTH", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO"];

const DAYS: [&str; 7] = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];

/// Parts that are lists of whole numbers: the largest one, and whether they count from the end or can be zero.
const LISTS: &[(&str, i64, Sign)] = &[
    ("BYSECOND", 59, Sign::FromZero),
    ("BYMINUTE", 59, Sign::FromZero),
    ("BYHOUR", 23, Sign::FromZero),
    ("BYMONTHDAY", 31, Sign::Either),
    ("BYYEARDAY", 366, Sign::Either),
    ("BYWEEKNO", 53, Sign::Either),
    ("BYMONTH", 12, Sign::Positive),
    ("BYSETPOS", 366, Sign::Either),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    FromZero,
    Positive,
    Either,
}

impl Rule {
    /// Reads a rule of an event that begins at a local time in a zone.
    ///
    /// # Errors
    /// [`Problem`].
    pub(super) fn parse(text: &str, start: DateTime, zone: &TimeZone) -> Result<Self, Problem> {
        let period_of = SignedDuration::from_hours(1);
        let mut rule = Self { parts: String::new(), count: None, until: None, period: period_of, second: start };
        let mut interval = 1_i32;
        let mut seen = BTreeMap::new();
        for part in text.trim().trim_end_matches(';').to_ascii_uppercase().split(';') {
            let refused = || Problem::Rule { part: super::lines::short(part) };
            let (key, value) = part.split_once('=').ok_or_else(refused)?;
            if seen.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(refused());
            }
            match key {
                "UNTIL" => {
                    rule.until = Some(until(value, zone).ok_or_else(refused)?);
                    continue;
                }
                "COUNT" => {
                    let count = value.parse().ok().filter(|count| (1..=MAX_OCCURRENCES).contains(count));
                    rule.count = Some(count.ok_or_else(refused)?);
                    continue;
                }
                "INTERVAL" => interval = value.parse().unwrap_or(1),
                "FREQ" => rule.period = period(value),
                _other => {}
            }
            rule.parts.push_str(&format!("{key}={};", checked(key, value)?.ok_or_else(refused)?));
        }
        together(&seen)?;
        if !seen.contains_key("FREQ")
            || rule.count.is_some() && rule.until.is_some()
            || rule.until.is_some_and(|at| at < start)
        {
            return Err(Problem::Rule { part: super::lines::short(text) });
        }
        if rule.period == SignedDuration::from_hours(1) && OF_DAYS.iter().any(|part| seen.contains_key(*part)) {
            return Err(Problem::Unsupported {
                what: "FREQ=HOURLY on some days (FREQ=DAILY with BYHOUR says the same)",
            });
        }
        rule.period = rule.period.saturating_mul(interval);
        // One that occurs once only, as of the 30th of February, is a mistake, and would be looked for to the end of time.
        let far = start.saturating_add(Span::new().years(MAX_WAIT_YEARS));
        if rule.count != Some(1) {
            let second = rule.expanded(start, far, 2)?.into_iter().nth(1);
            let once = || Problem::Once { rule: super::lines::short(text), years: MAX_WAIT_YEARS };
            rule.second = second.ok_or_else(once)?;
        }
        Ok(rule)
    }

    /// Local times at which an event begins that first does so at `start`, up to `to`.
    ///
    /// # Errors
    /// [`Problem::TooMany`] beyond `limit`, [`Problem::Rule`] when it cannot be followed.
    pub(super) fn starts(&self, start: DateTime, to: DateTime, limit: usize) -> Result<Vec<DateTime>, Problem> {
        let until = self.until.map_or(to, |until| until.min(to)).max(start);
        let most = self.count.unwrap_or(usize::MAX).min(limit.saturating_add(1));
        let starts = self.expanded(start, until, most)?;
        if starts.len() > limit { Err(Problem::TooMany { limit: MAX_OCCURRENCES }) } else { Ok(starts) }
    }

    /// How many periods were looked at to find that it occurs again.
    pub(super) fn periods_to_second(&self, start: DateTime) -> usize {
        self.periods(start, self.second)
    }

    /// How many periods lie between two local times.
    pub(super) fn periods(&self, start: DateTime, to: DateTime) -> usize {
        let periods = to.duration_since(start).as_secs() / self.period.as_secs().max(1);
        usize::try_from(periods.max(0)).unwrap_or(usize::MAX)
    }

    /// The first local times, at most `limit`, up to an end (inclusive).
    fn expanded(&self, start: DateTime, until: DateTime, limit: usize) -> Result<Vec<DateTime>, Problem> {
        let text = format!(
            "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART:{}\r\nDURATION:PT1S\r\nRRULE:{}UNTIL={}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
            event::written(start),
            self.parts,
            event::written(until)
        );
        let refused = || Problem::Rule { part: super::lines::short(&self.parts) };
        let calendar = ICalendar::parse(&text).map_err(|_| refused())?;
        let expanded = calendar.expand_dates(Tz::Floating, limit);
        if !expanded.errors.is_empty() {
            return Err(refused());
        }
        // Without a zone, its instants are local times that are written as if they were in UTC.
        let local = |seconds| Timestamp::from_second(seconds).map(|at| TimeZone::UTC.to_datetime(at));
        expanded.events.iter().map(|event| local(event.start.timestamp()).map_err(|_| refused())).collect()
    }
}

/// A part as it goes on to the expansion; `None` when it does not hold what it may.
fn checked(key: &str, value: &str) -> Result<Option<String>, Problem> {
    let number = |text: &str| text.strip_prefix('+').unwrap_or(text).parse::<i64>().ok();
    Ok(match key {
        "FREQ" => match value {
            "YEARLY" | "MONTHLY" | "WEEKLY" | "DAILY" | "HOURLY" => Some(value.to_owned()),
            "MINUTELY" | "SECONDLY" => {
                return Err(Problem::Unsupported {
                    what: "FREQ=MINUTELY or SECONDLY (FREQ=DAILY with BYHOUR and BYMINUTE says the same)",
                });
            }
            _other => None,
        },
        "INTERVAL" => number(value).filter(|number| (1..=10_000).contains(number)).map(|number| number.to_string()),
        "WKST" => DAYS.contains(&value).then(|| value.to_owned()),
        "BYDAY" => value.split(',').map(weekday).collect::<Option<Vec<_>>>().map(|days| days.join(",")),
        "RSCALE" | "SKIP" => return Err(Problem::Unsupported { what: "a recurrence in another calendar" }),
        key => {
            let Some((_, most, sign)) = LISTS.iter().find(|(list, _, _)| *list == key) else { return Ok(None) };
            let fits = |number: &i64| match sign {
                Sign::FromZero => (0..=*most).contains(number),
                Sign::Positive => (1..=*most).contains(number),
                Sign::Either => *number != 0 && (-most..=*most).contains(number),
            };
            let numbers = value.split(',').map(|text| number(text).filter(fits).map(|number| number.to_string()));
            numbers.collect::<Option<Vec<_>>>().map(|numbers| numbers.join(","))
        }
    })
}

/// Refuses parts that do not go together (RFC 5545, 3.3.10).
fn together(parts: &BTreeMap<String, String>) -> Result<(), Problem> {
    let frequency = parts.get("FREQ").map(String::as_str).unwrap_or_default();
    let has = |part: &str| parts.contains_key(part);
    let numbered = parts.get("BYDAY").is_some_and(|days| days.contains(|c: char| c.is_ascii_digit()));
    let by = |part: &&String| part.starts_with("BY") && *part != "BYSETPOS";
    let wrong = [
        (numbered && !["MONTHLY", "YEARLY"].contains(&frequency), "BYDAY with numbers"),
        (numbered && has("BYWEEKNO"), "BYDAY with numbers, with BYWEEKNO,"),
        (has("BYMONTHDAY") && frequency == "WEEKLY", "BYMONTHDAY"),
        (has("BYYEARDAY") && ["DAILY", "WEEKLY", "MONTHLY"].contains(&frequency), "BYYEARDAY"),
        (has("BYWEEKNO") && frequency != "YEARLY", "BYWEEKNO"),
        (has("BYSETPOS") && !parts.keys().any(|part| by(&part)), "BYSETPOS without another BY part"),
    ];
    match wrong.into_iter().find(|(is_so, _)| *is_so) {
        Some((_, part)) => Err(Problem::Together { part, frequency: frequency.to_owned() }),
        None => Ok(()),
    }
}

/// Least time from one period of a frequency to the next.
fn period(frequency: &str) -> SignedDuration {
    SignedDuration::from_hours(match frequency {
        "YEARLY" => 365 * 24,
        "MONTHLY" => 28 * 24,
        "WEEKLY" => 7 * 24,
        "DAILY" => 24,
        _hourly => 1,
    })
}

/// A weekday, perhaps with a number before it.
fn weekday(text: &str) -> Option<String> {
    let (number, day) = text.split_at_checked(text.len().checked_sub(2)?)?;
    let number = match number.strip_prefix('+').unwrap_or(number) {
        "" => String::new(),
        number => {
            let number: i64 = number.parse().ok()?;
            (number != 0 && (-53..=53).contains(&number)).then(|| number.to_string())?
        }
    };
    DAYS.contains(&day).then(|| format!("{number}{day}"))
}

/// The last local time of a rule: a day counts to its end, an instant in UTC is taken to the event's zone.
fn until(value: &str, zone: &TimeZone) -> Option<DateTime> {
    if let Some(date) = event::date(value) {
        return Some(date.at(23, 59, 59, 0));
    }
    match value.strip_suffix('Z') {
        // The last day of the year 9999 is behind the last instant that there is.
        Some(local) => {
            let local = event::date_time(local)?;
            Some(instant(local, &TimeZone::UTC).map_or(local, |at| zone.to_datetime(at)))
        }
        None => event::date_time(value),
    }
}
