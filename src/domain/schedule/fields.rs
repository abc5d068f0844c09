//! The fields of a cron expression as sets, and the search for the local times that they name.
//!
//! Pure, and about local times only: clock changes are none of its business (see [`super::cron`]). A month's days are
//! one number whose bits are the days, so a search goes from month to month and not from day to day, and an expression
//! that no date matches is found out after the 400 years in which the calendar repeats.

use croner::CronPattern;
use jiff::civil::{Date, DateTime, Time};

/// Years after which dates and weekdays repeat: what was not found by then never comes.
const CALENDAR_REPEATS: i16 = 400;

/// Most months that one search looks at: those of every year that dates can have.
const MOST_MONTHS: u32 = 20_000 * 12;

/// How croner marks `FRI#1` in the day of week; the mark of the n-th is shifted n-1 bits further.
const FIRST_OF_MONTH: u8 = 1 << 1;
/// How croner marks `L` in a day field.
const LAST_OF_MONTH: u8 = 1 << 6;
/// How croner marks `W` in the day of month.
const NEAREST_WEEKDAY: u8 = 1 << 7;

/// Whether a search may answer with the time it starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// It may.
    Included,
    /// It may not.
    Excluded,
}

/// Which of the two day fields a day has to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DayRule {
    /// Both, one of which is often a `*`.
    Both,
    /// At least one.
    Either,
}

/// The fields of an expression: bit n stands for the value n.
#[derive(Debug, Clone)]
pub struct Fields {
    seconds: u64,
    minutes: u64,
    hours: u64,
    months: u64,
    days: u64,
    last_day: LastDay,
    /// `15W`: the weekday nearest to a day.
    nearest: u64,
    /// Days of the week, Sunday being 0.
    weekdays: u64,
    /// `FRI#2`: the n-th such weekday of a month, n from 0.
    nth: [u64; 5],
    /// `FRIL`: the last such weekday of a month.
    last: u64,
    rule: DayRule,
    /// Years in rising spans, ends included; `None` for every year.
    years: Option<Box<[(i16, i16)]>>,
}

/// `L` and `LW` in the day of month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastDay {
    None,
    Day,
    Weekday,
}

impl Fields {
    /// Takes over what was parsed. The parser's own opinion on the two day fields does not count.
    pub fn of(pattern: &CronPattern, rule: DayRule, every_year: bool) -> Self {
        let (days, weekdays) = (&pattern.days, &pattern.days_of_week);
        Self {
            seconds: set(&pattern.seconds.values()),
            minutes: set(&pattern.minutes.values()),
            hours: set(&pattern.hours.values()),
            months: set(&pattern.months.values()),
            days: set(&days.values()),
            last_day: match (days.is_feature_enabled(LAST_OF_MONTH), days.is_feature_enabled(NEAREST_WEEKDAY)) {
                (true, true) => LastDay::Weekday,
                (true, false) => LastDay::Day,
                (false, _) => LastDay::None,
            },
            nearest: set(&days.get_set_values(NEAREST_WEEKDAY)),
            weekdays: set(&weekdays.values()),
            nth: [0, 1, 2, 3, 4].map(|n| set(&weekdays.get_set_values(FIRST_OF_MONTH << n))),
            last: set(&weekdays.get_set_values(LAST_OF_MONTH)),
            rule,
            years: (!every_year).then(|| spans(&pattern.years.values())),
        }
    }

    /// Finds the first local time after `from`, or at it when that edge is included.
    pub fn after(&self, from: DateTime, edge: Edge) -> Option<DateTime> {
        // A fraction of a second lies between two local times that can match.
        let whole = from.with().subsec_nanosecond(0).build().ok()?;
        let start = match edge {
            Edge::Included if whole == from => whole,
            _ => whole.checked_add(jiff::SignedDuration::from_secs(1)).ok()?,
        };
        let date = start.date();
        if self.days_of(date.year(), date.month()) & bit(date.day()) != 0
            && let Some(time) = self.time_from(start.time())
        {
            return Some(date.to_datetime(time));
        }
        Some(self.date_after(date)?.to_datetime(self.time_from(Time::MIN)?))
    }

    /// Finds the last local time before `from`, or at it when that edge is included.
    pub fn before(&self, from: DateTime, edge: Edge) -> Option<DateTime> {
        let whole = from.with().subsec_nanosecond(0).build().ok()?;
        let start = match edge {
            Edge::Excluded if whole == from => whole.checked_sub(jiff::SignedDuration::from_secs(1)).ok()?,
            _ => whole,
        };
        let date = start.date();
        if self.days_of(date.year(), date.month()) & bit(date.day()) != 0
            && let Some(time) = self.time_until(start.time())
        {
            return Some(date.to_datetime(time));
        }
        Some(self.date_before(date)?.to_datetime(self.time_until(Time::constant(23, 59, 59, 0))?))
    }

    fn time_from(&self, time: Time) -> Option<Time> {
        let (hour, minute) = (time.hour(), time.minute());
        if self.hours & bit(hour) != 0 {
            if self.minutes & bit(minute) != 0
                && let Some(second) = first(self.seconds, time.second())
            {
                return Time::new(hour, minute, second, 0).ok();
            }
            if let Some(minute) = first(self.minutes, minute + 1) {
                return Time::new(hour, minute, first(self.seconds, 0)?, 0).ok();
            }
        }
        let hour = first(self.hours, hour + 1)?;
        Time::new(hour, first(self.minutes, 0)?, first(self.seconds, 0)?, 0).ok()
    }

    fn time_until(&self, time: Time) -> Option<Time> {
        let (hour, minute) = (time.hour(), time.minute());
        if self.hours & bit(hour) != 0 {
            if self.minutes & bit(minute) != 0
                && let Some(second) = last(self.seconds, time.second())
            {
                return Time::new(hour, minute, second, 0).ok();
            }
            if let Some(minute) = last(self.minutes, minute - 1) {
                return Time::new(hour, minute, last(self.seconds, 59)?, 0).ok();
            }
        }
        let hour = last(self.hours, hour - 1)?;
        Time::new(hour, last(self.minutes, 59)?, last(self.seconds, 59)?, 0).ok()
    }

    fn date_after(&self, date: Date) -> Option<Date> {
        let (mut year, mut month, mut day) = (date.year(), date.month(), date.day());
        let last_year = if self.years.is_some() { Date::MAX.year() } else { date.year() + CALENDAR_REPEATS };
        for _ in 0..MOST_MONTHS {
            if let Some(day) = first(self.days_of(year, month), day + 1) {
                return Date::new(year, month, day).ok();
            }
            day = 0;
            let next = first(self.months, month + 1);
            let next_year = if next.is_some() { year } else { year + 1 };
            month = next.or(first(self.months, 1))?;
            year = self.year_from(next_year).filter(|year| *year <= last_year)?;
            if year != next_year {
                month = first(self.months, 1)?;
            }
        }
        None
    }

    fn date_before(&self, date: Date) -> Option<Date> {
        let (mut year, mut month, mut day) = (date.year(), date.month(), date.day());
        let first_year = if self.years.is_some() { Date::MIN.year() } else { date.year() - CALENDAR_REPEATS };
        for _ in 0..MOST_MONTHS {
            if let Some(day) = last(self.days_of(year, month), day - 1) {
                return Date::new(year, month, day).ok();
            }
            day = 32;
            let next = last(self.months, month - 1);
            let next_year = if next.is_some() { year } else { year - 1 };
            month = next.or(last(self.months, 12))?;
            year = self.year_until(next_year).filter(|year| *year >= first_year)?;
            if year != next_year {
                month = last(self.months, 12)?;
            }
        }
        None
    }

    /// The first named year from one on that dates can have.
    fn year_from(&self, year: i16) -> Option<i16> {
        let named = match &self.years {
            None => year,
            Some(years) => years.get(years.partition_point(|(_, last)| *last < year))?.0.max(year),
        };
        (named <= Date::MAX.year()).then_some(named)
    }

    /// The last named year up to one that dates can have.
    fn year_until(&self, year: i16) -> Option<i16> {
        let named = match &self.years {
            None => year,
            Some(years) => years[..years.partition_point(|(first, _)| *first <= year)].last()?.1.min(year),
        };
        (named >= Date::MIN.year()).then_some(named)
    }

    /// The days of a month that match.
    fn days_of(&self, year: i16, month: i8) -> u64 {
        if self.months & bit(month) == 0 || self.year_from(year) != Some(year) {
            return 0;
        }
        let Ok(first_day) = Date::new(year, month, 1) else { return 0 };
        let length = first_day.days_in_month();
        // Bit 1 is the first day; a month of 31 days has the bits 1 to 31.
        let all = (bit(length) << 1) - 2;
        let starts_on = first_day.weekday().to_sunday_zero_offset();
        let of_month = (self.days & all) | self.last_days(length, starts_on) | self.nearest_days(length, starts_on);
        let of_week = self.weekdays_of(length, starts_on) & all;
        match self.rule {
            DayRule::Both => of_month & of_week,
            DayRule::Either => of_month | of_week,
        }
    }

    fn last_days(&self, length: i8, starts_on: i8) -> u64 {
        match (self.last_day, weekday(length, starts_on)) {
            (LastDay::None, _) => 0,
            (LastDay::Weekday, 6) => bit(length - 1),
            (LastDay::Weekday, 0) => bit(length - 2),
            (LastDay::Day | LastDay::Weekday, _) => bit(length),
        }
    }

    /// The weekdays nearest to the days that ask for one, in the same month.
    fn nearest_days(&self, length: i8, starts_on: i8) -> u64 {
        if self.nearest == 0 {
            return 0;
        }
        let asked = (1..=length).filter(|day| self.nearest & bit(*day) != 0);
        asked.fold(0, |days, day| {
            days | bit(match weekday(day, starts_on) {
                6 if day > 1 => day - 1,
                6 => day + 2,
                0 if day < length => day + 1,
                0 => day - 2,
                _ => day,
            })
        })
    }

    fn weekdays_of(&self, length: i8, starts_on: i8) -> u64 {
        // One week from the first day on, whose bits are then repeated.
        let week = |weekdays: u64| ((weekdays >> starts_on) | (weekdays << (7 - starts_on))) & 0x7f;
        let every = week(self.weekdays);
        let mut days = (0..5).fold(0, |days, n| days | (every << (7 * n)));
        for (nth, weekdays) in self.nth.iter().enumerate() {
            days |= week(*weekdays) << (7 * nth);
        }
        let last = (0..5).fold(0, |days, n| days | (week(self.last) << (7 * n)));
        days |= last & !(bit(length - 7) - 1);
        days << 1
    }
}

/// The day of the week of a day of a month, Sunday being 0.
fn weekday(day: i8, starts_on: i8) -> i8 {
    (starts_on + day - 1) % 7
}

fn set(values: &[u16]) -> u64 {
    values.iter().fold(0, |set, value| set | 1_u64.checked_shl(u32::from(*value)).unwrap_or(0))
}

fn spans(years: &[u16]) -> Box<[(i16, i16)]> {
    let mut spans: Vec<(i16, i16)> = Vec::new();
    for year in years.iter().filter_map(|year| i16::try_from(*year).ok()) {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == year => *last = year,
            _ => spans.push((year, year)),
        }
    }
    spans.into_boxed_slice()
}

/// The bit of a value; none for what is no value.
fn bit(value: i8) -> u64 {
    u32::try_from(value).ok().and_then(|value| 1_u64.checked_shl(value)).unwrap_or(0)
}

/// The least value of a set from one on.
fn first(set: u64, from: i8) -> Option<i8> {
    let rest = u32::try_from(from).ok().and_then(|from| u64::MAX.checked_shl(from)).map(|mask| set & mask)?;
    if rest == 0 { None } else { i8::try_from(rest.trailing_zeros()).ok() }
}

/// The greatest value of a set up to one.
fn last(set: u64, until: i8) -> Option<i8> {
    let dropped = u32::try_from(63 - until).ok()?;
    let rest = u64::MAX.checked_shr(dropped).map(|mask| set & mask)?;
    if rest == 0 { None } else { i8::try_from(63 - rest.leading_zeros()).ok() }
}
