//! Spans: the times that a window is made of, as people write them.
//!
//! Pure. A span is a set of half-open *local* intervals `[start, end)`; only [`super::Window`] knows a zone. The exception
//! is a cron expression with a duration, which has its own. Which days a span has is in [`days`].

pub mod days;
mod text;

use jiff::{
    SignedDuration, Timestamp, ToSpan,
    civil::{Date, DateTime, Time},
};

pub use self::days::Days;
use self::{
    days::month_day,
    text::{Clock, EVERY_DAY, Token, day_list, tokens},
};
use super::Interval;
use crate::domain::{civil, schedule::CronSchedule};

/// Longest local interval of a weekly span, in days: from a weekday to just before the same time a week later, rounded
/// up to whole days.
pub(super) const MAX_WEEKLY_DAYS: i64 = 8;

/// Longest text of a span, in bytes.
const MAX_TEXT: usize = 200;

/// Most times that a span of a cron expression may begin anew before it ended, in one search: more than there are in the
/// weeks that are compiled at once, as it lasts a minute or more. What goes on longer has no end that anybody needs.
const MAX_LINKS: usize = 50_000;

/// One set of intervals.
#[derive(Debug, Clone)]
pub struct Span(Shape);

#[derive(Debug, Clone)]
enum Shape {
    Always,
    /// On each of the days: from a time that day to a time some days later.
    Daily {
        days: Days,
        from: Time,
        days_on: i64,
        to: Time,
    },
    Dates {
        from: DateTime,
        to: DateTime,
    },
    /// From each instant that a cron expression names, so long.
    Cron {
        schedule: CronSchedule,
        length: SignedDuration,
    },
}

/// A text that is no span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// A word that is no weekday.
    #[error("`{word}` is not a weekday")]
    Weekday {
        /// The word.
        word: String,
    },
    /// A time of day that does not exist.
    #[error("`{text}` is not a time of day (`HH:MM` or `HH:MM:SS`, up to 24:00)")]
    Time {
        /// The time as written.
        text: String,
    },
    /// The parts are right, but not in an order that means something.
    #[error("`{text}` is not a weekly time: write `Fri 18:00 - Mon 06:00`, `Mon-Fri 22:00-06:00` or `Sat,Sun`")]
    Weekly {
        /// The span as written.
        text: String,
    },
    /// A date that does not exist.
    #[error("`{text}` is not a date: write `2026-12-24` or `2026-12-24T18:00`, a range with ` - ` between")]
    Date {
        /// The date as written.
        text: String,
    },
    /// A day of the year or month that does not exist.
    #[error("`{text}` is not a day: write `12-24`, `12-31 - 01-02`, `15` or `-1` for the last day of the month")]
    Day {
        /// The day as written.
        text: String,
    },
    /// A month that does not exist.
    #[error("`{word}` is not a month: write `april`, `4`, or a range such as `april:june`")]
    Month {
        /// The word.
        word: String,
    },
    /// A day of the month that does not exist.
    #[error(
        "`{text}` is not a day of the month: write `15`, `-1` for the last one, or a range such as `1:5` or `-3:-1`"
    )]
    DayOfMonth {
        /// The day as written.
        text: String,
    },
    /// A year that cannot be.
    #[error("`{text}` is not a year: write `2026`, or a range such as `2026:2027`")]
    Year {
        /// The year as written.
        text: String,
    },
    /// A time of day that is no range.
    #[error("`{text}` is not a range of times: write `09:00-17:00`, or `22:00-06:00` for a night")]
    Clock {
        /// The times as written.
        text: String,
    },
    /// It begins at the end of a day.
    #[error("`{text}` begins at 24:00, which can only end a span")]
    BeginsAtEnd {
        /// The span as written.
        text: String,
    },
    /// No date is on all the days that it asks for.
    #[error("no date matches all of its fields, so it is never")]
    Never,
    /// It ends where it begins.
    #[error("`{text}` has no length: it ends when it begins")]
    NoLength {
        /// The span as written.
        text: String,
    },
    /// It ends before it begins.
    #[error("`{text}` ends before it begins")]
    Backwards {
        /// The span as written.
        text: String,
    },
}

impl Span {
    /// The span without beginning or end.
    pub const ALWAYS: Self = Self(Shape::Always);

    /// Parses a weekly span: `Fri 18:00 - Mon 06:00`, `Mon-Fri 22:00-06:00` (overnight), `22:00-06:00` (every day),
    /// `Sat,Sun` (whole days) or `always`.
    ///
    /// # Errors
    /// [`SpanError`] for an unknown word or time, and for a span without length.
    pub fn parse_weekly(text: &str) -> Result<Self, SpanError> {
        let wrong = || SpanError::Weekly { text: text.to_owned() };
        if text.len() > MAX_TEXT {
            return Err(wrong());
        }
        if text.trim().eq_ignore_ascii_case("always") {
            return Ok(Self::ALWAYS);
        }
        let tokens = tokens(text)?;
        if let [Token::Day(from_day), Token::Time(from), Token::Dash, Token::Day(to_day), Token::Time(to)] = tokens[..]
        {
            let between = i64::from(from_day.until(to_day));
            let week = if between == 0 && to.seconds < from.seconds { 7 } else { 0 };
            return weekly(text, 1 << from_day.to_monday_zero_offset(), from, between + week, to);
        }
        let (days, times) = match tokens.iter().position(|token| matches!(token, Token::Time(_))) {
            Some(0) => (EVERY_DAY, &tokens[..]),
            Some(at) => (day_list(&tokens[..at]).ok_or_else(wrong)?, &tokens[at..]),
            None => (day_list(&tokens).ok_or_else(wrong)?, &[][..]),
        };
        match *times {
            [] => weekly(text, days, Clock { seconds: 0 }, 1, Clock { seconds: 0 }),
            [Token::Time(from), Token::Dash, Token::Time(to)] => {
                weekly(text, days, from, i64::from(to.seconds < from.seconds), to)
            }
            _ => Err(wrong()),
        }
    }

    /// Parses dates that come once: `2026-12-20T18:00 - 2027-01-02T06:00`, or whole days `2026-12-24` and
    /// `2026-12-24 - 2026-12-26` (last day included).
    ///
    /// # Errors
    /// [`SpanError`] for a date that does not exist, and for a span that does not end after its beginning.
    pub fn parse_dates(text: &str) -> Result<Self, SpanError> {
        let (first, last) = text.split_once(" - ").unwrap_or((text, text));
        let (from, _) = date_edges(first)?;
        let (_, to) = date_edges(last)?;
        match from.cmp(&to) {
            std::cmp::Ordering::Less => Ok(Self(Shape::Dates { from, to })),
            std::cmp::Ordering::Equal => Err(SpanError::NoLength { text: text.to_owned() }),
            std::cmp::Ordering::Greater => Err(SpanError::Backwards { text: text.to_owned() }),
        }
    }

    /// Parses days that come every year (`12-24`, `12-31 - 01-02`) or every month (`15`, `-1`, `-3 - -1`), as whole
    /// days, last one included.
    ///
    /// # Errors
    /// [`SpanError::Day`] for a day that no year or month has.
    pub fn parse_month_days(text: &str) -> Result<Self, SpanError> {
        let (first, last) = text.split_once(" - ").unwrap_or((text, text));
        let wrong = || SpanError::Day { text: text.trim().to_owned() };
        if let (Some(first), Some(last)) = (year_day(first), year_day(last)) {
            return Ok(Self::whole(Days { year_days: Some((first, last)), ..Days::default() }));
        }
        let first = month_day(first).ok_or_else(wrong)?;
        let last = month_day(last).ok_or_else(wrong)?;
        Ok(Self::whole(Days { month_days: vec![(first, last)], ..Days::default() }))
    }

    /// Makes the span of whole days.
    pub fn whole(days: Days) -> Self {
        Self(Shape::Daily { days, from: Time::midnight(), days_on: 1, to: Time::midnight() })
    }

    /// Parses times of some days: `09:00-17:00`, or `22:00-06:00`, which ends on the next day and belongs to the day on
    /// which it begins.
    ///
    /// # Errors
    /// [`SpanError`] for what is no such range, and for one without length.
    pub fn parse_clock(days: Days, text: &str) -> Result<Self, SpanError> {
        match tokens(text)?[..] {
            [Token::Time(from), Token::Dash, Token::Time(to)] => {
                daily(text, days, from, i64::from(to.seconds < from.seconds), to)
            }
            _ => Err(SpanError::Clock { text: text.to_owned() }),
        }
    }

    /// Makes the span that lasts so long from each instant that a schedule names. The length is one of elapsed time.
    pub fn cron(schedule: CronSchedule, length: SignedDuration) -> Self {
        Self(Shape::Cron { schedule, length })
    }

    /// Tells whether the span has neither beginning nor end.
    pub(super) fn is_always(&self) -> bool {
        matches!(self.0, Shape::Always)
    }

    /// Tells whether it lasts from a time of the week to an earlier one in the next week.
    pub fn is_nearly_a_week(&self) -> bool {
        matches!(self.0, Shape::Daily { days_on: 7.., .. })
    }

    /// Tells whether the span cannot come at or after a local time.
    pub(super) fn is_over(&self, now: DateTime) -> bool {
        match &self.0 {
            Shape::Always | Shape::Cron { .. } => false,
            Shape::Dates { to, .. } => *to <= now,
            // What begins on the last day of a year may reach into the next.
            Shape::Daily { days, .. } => days.last_year().is_some_and(|last| last < now.year() - 1),
        }
    }

    /// Tells whether an interval of the span begins on a date as seen from that date alone.
    pub(super) fn beginning_on(&self, date: Date) -> Option<(DateTime, DateTime)> {
        let Shape::Daily { days, from, days_on, to } = &self.0 else { return None };
        let last = || date.checked_add(days_on.days()).ok();
        days.hold(date).then(last).flatten().map(|last| (date.to_datetime(*from), last.to_datetime(*to)))
    }

    /// Returns the one interval of a span of dates.
    pub(super) fn once(&self) -> Option<(DateTime, DateTime)> {
        match self.0 {
            Shape::Dates { from, to } => Some((from, to)),
            _ => None,
        }
    }

    /// Tells whether the span is to be asked day by day.
    pub(super) fn is_daily(&self) -> bool {
        matches!(self.0, Shape::Daily { .. })
    }

    /// Lists the intervals that meet `[from, to]` of a span that is not made of local times.
    pub(super) fn fires(&self, from: Timestamp, to: Timestamp) -> Vec<Interval> {
        let Shape::Cron { schedule, length } = &self.0 else { return Vec::new() };
        let after = |at: Timestamp| at.saturating_add(*length).unwrap_or(Timestamp::MAX);
        let mut found = Vec::new();
        let mut at = from.checked_sub(*length + SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MIN);
        while let Some(slot) = schedule.next_after(at).filter(|slot| slot.at <= to) {
            let mut end = after(slot.at);
            let mut links = 0;
            // What begins before it ends makes it longer. Two rounds are longer than the length, so this comes to an end.
            while let Some(last) = schedule.latest_until(end).filter(|last| after(*last) > end && end <= to) {
                links += 1;
                end = if links < MAX_LINKS { after(last) } else { Timestamp::MAX };
            }
            found.push(Interval { start: slot.at, end });
            at = end;
        }
        found
    }
}

fn weekly(text: &str, weekdays: u8, from: Clock, days_on: i64, to: Clock) -> Result<Span, SpanError> {
    daily(text, Days { weekdays, ..Days::default() }, from, days_on, to)
}

fn daily(text: &str, days: Days, from: Clock, days_on: i64, to: Clock) -> Result<Span, SpanError> {
    let (from_day, from) = (from.normal(), from);
    let (to_day, to_time) = to.normal();
    if from_day.0 > 0 {
        return Err(SpanError::BeginsAtEnd { text: text.to_owned() });
    }
    if days_on == 0 && from == to {
        return Err(SpanError::NoLength { text: text.to_owned() });
    }
    Ok(Span(Shape::Daily { days, from: from_day.1, days_on: days_on + to_day, to: to_time }))
}

/// Reads a date or a date with a time as the beginning and the end that it stands for.
fn date_edges(text: &str) -> Result<(DateTime, DateTime), SpanError> {
    let text = text.trim();
    let wrong = || SpanError::Date { text: text.to_owned() };
    if let Some(date) = civil::date(text) {
        let next = date.tomorrow().map_err(|_out_of_range| wrong())?;
        return Ok((date.to_datetime(Time::midnight()), next.to_datetime(Time::midnight())));
    }
    let at = civil::local_time(text).ok_or_else(wrong)?;
    Ok((at, at))
}

/// Reads `12-24`; 29 February is a day, if not of every year.
fn year_day(text: &str) -> Option<(i8, i8)> {
    let (month, day) = text.trim().split_once('-')?;
    if month.is_empty() || day.is_empty() || !day.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let leap_year = 2000;
    let date = Date::new(leap_year, month.parse().ok()?, day.parse().ok()?).ok()?;
    Some((date.month(), date.day()))
}
