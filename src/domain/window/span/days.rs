//! Days: which dates a span is on, in Alertmanager's words.
//!
//! Pure. The fields AND, the entries of a field OR, and a field without entries holds any date.

use std::collections::BTreeSet;

use jiff::{ToSpan, civil::Date};

use super::{SpanError, text};

/// Years among which a date is looked for where none is asked for: every date falls on every weekday in them.
const ANY_YEARS: (i16, i16) = (2000, 2040);

/// Years that can be written: those in which every day has a day before and a day after it.
const YEARS: std::ops::RangeInclusive<i16> = 1..=9998;

/// Years of the calendar after which it repeats.
const CYCLE: i16 = 400;

/// Months by their English names, January first.
pub const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// A set of dates; the default is every date.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Days {
    /// Bit 0 is Monday; zero means any.
    pub(super) weekdays: u8,
    /// Days of each month, both ends included, negative ones counted from its end; `first` after `last` wraps the month.
    pub(super) month_days: Vec<(i8, i8)>,
    /// Days of each year as month and day, both ends included; `first` after `last` wraps the year.
    pub(super) year_days: Option<((i8, i8), (i8, i8))>,
    /// Bit 0 is January; zero means any.
    pub(super) months: u16,
    /// Both ends included.
    pub(super) years: Vec<(i16, i16)>,
}

impl Days {
    /// Adds `monday`, `Sat`, or a range such as `monday:friday`, which may wrap the week.
    ///
    /// # Errors
    /// [`SpanError::Weekday`].
    pub fn add_weekdays(&mut self, entry: &str) -> Result<(), SpanError> {
        let day = |word: &str| {
            let word = word.trim();
            text::weekday(word).ok_or_else(|| SpanError::Weekday { word: word.to_owned() })
        };
        let (first, last) = entry.split_once(':').unwrap_or((entry, entry));
        let (first, last) = (day(first)?.to_monday_zero_offset(), day(last)?.to_monday_zero_offset());
        self.weekdays |= (0..7).filter(|day| within(*day, first, last)).fold(0, |bits, day| bits | 1 << day);
        Ok(())
    }

    /// Adds `15`, `-1` for the last day of the month, or a range such as `1:5` or `-3:-1`. It may wrap the
    /// month (`28:3`), unless it ends at a day that is counted from the month's end: `30:-1` is no day of February.
    ///
    /// # Errors
    /// [`SpanError::DayOfMonth`].
    pub fn add_days_of_month(&mut self, entry: &str) -> Result<(), SpanError> {
        let (first, last) = entry.split_once(':').unwrap_or((entry, entry));
        let range = month_day(first).zip(month_day(last));
        self.month_days.push(range.ok_or_else(|| SpanError::DayOfMonth { text: entry.trim().to_owned() })?);
        Ok(())
    }

    /// Adds `april`, `Apr`, `4`, or a range such as `april:june`, which may wrap the year.
    ///
    /// # Errors
    /// [`SpanError::Month`].
    pub fn add_months(&mut self, entry: &str) -> Result<(), SpanError> {
        let month = |word: &str| {
            let word = word.trim();
            month(word).ok_or_else(|| SpanError::Month { word: word.to_owned() })
        };
        let (first, last) = entry.split_once(':').unwrap_or((entry, entry));
        let (first, last) = (month(first)?, month(last)?);
        self.months |= (0..12).filter(|month| within(*month, first, last)).fold(0, |bits, month| bits | 1 << month);
        Ok(())
    }

    /// Adds `2026`, or a range such as `2026:2027`.
    ///
    /// # Errors
    /// [`SpanError::Year`], [`SpanError::Backwards`].
    pub fn add_years(&mut self, entry: &str) -> Result<(), SpanError> {
        let (first, last) = entry.split_once(':').unwrap_or((entry, entry));
        let year = |text: &str| text.trim().parse().ok().filter(|year| YEARS.contains(year));
        let (first, last) =
            year(first).zip(year(last)).ok_or_else(|| SpanError::Year { text: entry.trim().to_owned() })?;
        if last < first {
            return Err(SpanError::Backwards { text: entry.trim().to_owned() });
        }
        self.years.push((first, last));
        Ok(())
    }

    /// Tells whether a date is one of them.
    pub fn hold(&self, date: Date) -> bool {
        let bit = |bits: u16, bit: i8| bits == 0 || bits & (1 << bit) != 0;
        let length = date.days_in_month();
        let from_start = |day: i8| if day < 0 { length + 1 + day } else { day };
        let on_month_day = |(first, last): &(i8, i8)| {
            let (from, to) = (from_start(*first), from_start(*last));
            // From the 30th to the last day is no day of a month that is too short for it, and not all of them.
            let is_none = *first > 0 && *last < 0 && from > to;
            !is_none && within(date.day(), from, to)
        };
        let (month_day, year) = ((date.month(), date.day()), date.year());
        bit(self.weekdays.into(), date.weekday().to_monday_zero_offset())
            && bit(self.months, date.month() - 1)
            && (self.years.is_empty() || self.years.iter().any(|(first, last)| within(year, *first, *last)))
            && (self.month_days.is_empty() || self.month_days.iter().any(on_month_day))
            && self.year_days.is_none_or(|(first, last)| within(month_day, first, last))
    }

    /// Tells whether there is any such date.
    pub fn exist(&self) -> bool {
        let years = if self.years.is_empty() { &[ANY_YEARS][..] } else { &self.years[..] };
        // Each year stands for those in which the calendar is the same.
        let mut alike = BTreeSet::new();
        for (first, last) in years {
            if alike.len() < usize::from(CYCLE.unsigned_abs()) {
                alike.extend((*first..=(*last).min(first.saturating_add(CYCLE))).map(|year| year % CYCLE));
            }
        }
        let days = Self { years: Vec::new(), ..self.clone() };
        alike.into_iter().any(|year| {
            let year = ANY_YEARS.0 + year;
            let mut date = Date::new(year, 1, 1).ok();
            while let Some(day) = date.filter(|day| day.year() == year) {
                if days.hold(day) {
                    return true;
                }
                date = day.checked_add(1.day()).ok();
            }
            false
        })
    }

    /// Returns the last year that holds any of them; `None` when there is none.
    pub(super) fn last_year(&self) -> Option<i16> {
        self.years.iter().map(|(_, last)| *last).max()
    }
}

/// Reads `15` or `-1`.
pub(super) fn month_day(text: &str) -> Option<i8> {
    let day: i8 = text.trim().parse().ok()?;
    (day != 0 && (-31..=31).contains(&day)).then_some(day)
}

/// Reads an English name, the first three letters of it, or a number, as a month from 0.
fn month(word: &str) -> Option<i8> {
    let name = word.to_ascii_lowercase();
    let by_name = MONTHS.iter().position(|month| name == *month || name == month[..3]);
    let number = || name.parse().ok().filter(|number| (1..=12).contains(number)).map(|number: i8| number - 1);
    by_name.and_then(|month| i8::try_from(month).ok()).or_else(number)
}

fn within<T: PartialOrd>(value: T, first: T, last: T) -> bool {
    if first <= last { first <= value && value <= last } else { value >= first || value <= last }
}
