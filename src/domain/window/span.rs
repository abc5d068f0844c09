//! Spans: the times that a window is made of, as people write them.
//!
//! Pure. A span is a set of half-open *local* intervals `[start, end)`; only [`super::Window`] knows a zone.

use jiff::{
    ToSpan,
    civil::{Date, DateTime, Time, Weekday},
};

/// Longest local interval of a weekly span, in days: from a weekday to just before the same time a week later, rounded
/// up to whole days.
pub(super) const MAX_WEEKLY_DAYS: i64 = 8;

/// Longest text of a span, in bytes.
const MAX_TEXT: usize = 200;

/// One set of local intervals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span(Shape);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    Always,
    /// On each of the days (bit 0 is Monday): from a time that day to a time some days later.
    Weekly {
        days: u8,
        from: Time,
        days_on: i64,
        to: Time,
    },
    Dates {
        from: DateTime,
        to: DateTime,
    },
    /// Days of each year, both ends included; `first` after `last` wraps the year.
    YearDays {
        first: (i8, i8),
        last: (i8, i8),
    },
    /// Days of each month, both ends included, negative ones counted from its end; `first` after `last` wraps the month.
    MonthDays {
        first: i8,
        last: i8,
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
            return Ok(Self(Shape::YearDays { first, last }));
        }
        let first = month_day(first).ok_or_else(wrong)?;
        let last = month_day(last).ok_or_else(wrong)?;
        Ok(Self(Shape::MonthDays { first, last }))
    }

    /// Tells whether the span has neither beginning nor end.
    pub(super) fn is_always(&self) -> bool {
        self.0 == Shape::Always
    }

    /// Tells whether an interval of the span begins on a date as seen from that date alone.
    pub(super) fn beginning_on(&self, date: Date) -> Option<(DateTime, DateTime)> {
        match self.0 {
            Shape::Weekly { days, from, days_on, to } => {
                let today = days & (1 << date.weekday().to_monday_zero_offset()) != 0;
                let last = || date.checked_add(days_on.days()).ok();
                today.then(last).flatten().map(|last| (date.to_datetime(from), last.to_datetime(to)))
            }
            Shape::YearDays { first, last } => whole_day(date, within((date.month(), date.day()), first, last)),
            Shape::MonthDays { first, last } => whole_day(date, month_days_hold(date, first, last)),
            Shape::Dates { .. } | Shape::Always => None,
        }
    }

    /// Returns the one interval of a span of dates.
    pub(super) fn once(&self) -> Option<(DateTime, DateTime)> {
        match self.0 {
            Shape::Dates { from, to } => Some((from, to)),
            _ => None,
        }
    }
}

/// A time of day that may be 24:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Clock {
    /// Seconds since midnight, at most 86,400.
    seconds: i32,
}

const DAY: i32 = 86_400;
const EVERY_DAY: u8 = 0b111_1111;

impl Clock {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':').map(|part| match part.len() {
            1 | 2 => part.parse::<i32>().ok(),
            _ => None,
        });
        let (hour, minute) = (parts.next()??, parts.next()??);
        let second = parts.next().unwrap_or(Some(0))?;
        let seconds = hour * 3600 + minute * 60 + second;
        (parts.next().is_none() && minute < 60 && second < 60 && seconds <= DAY).then_some(Self { seconds })
    }

    /// Splits off a whole day, which only 24:00 has.
    fn normal(self) -> (i64, Time) {
        let within = self.seconds % DAY;
        let part = |value: i32| i8::try_from(value).unwrap_or_default();
        let time = Time::new(part(within / 3600), part(within / 60 % 60), part(within % 60), 0);
        (i64::from(self.seconds / DAY), time.unwrap_or(Time::midnight()))
    }
}

#[derive(Debug, Clone, Copy)]
enum Token {
    Day(Weekday),
    Time(Clock),
    Dash,
    Comma,
}

fn tokens(text: &str) -> Result<Vec<Token>, SpanError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let word_end = rest.find(|c: char| c == '-' || c == ',' || c.is_whitespace()).unwrap_or(rest.len());
        let length = if matches!(first, '-' | ',') { 1 } else { word_end };
        let (word, after) = rest.split_at(length);
        tokens.push(match word {
            "-" => Token::Dash,
            "," => Token::Comma,
            _ if first.is_ascii_digit() => {
                Token::Time(Clock::parse(word).ok_or_else(|| SpanError::Time { text: word.to_owned() })?)
            }
            _ => Token::Day(weekday(word).ok_or_else(|| SpanError::Weekday { word: word.to_owned() })?),
        });
        rest = after.trim_start();
    }
    Ok(tokens)
}

/// Finds a weekday by its English name or the first three letters of it, in any case.
fn weekday(word: &str) -> Option<Weekday> {
    let names = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let word = word.to_ascii_lowercase();
    let at = names.iter().position(|name| word == *name || word == name[..3])?;
    Weekday::from_monday_zero_offset(i8::try_from(at).ok()?).ok()
}

/// Reads `Mon-Wed,Sat` as bits, Monday first; a range may wrap the week.
fn day_list(tokens: &[Token]) -> Option<u8> {
    let mut days = 0;
    for item in tokens.split(|token| matches!(token, Token::Comma)) {
        let (first, last) = match *item {
            [Token::Day(day)] => (day, day),
            [Token::Day(first), Token::Dash, Token::Day(last)] => (first, last),
            _ => return None,
        };
        let length = first.until(last);
        days |= first.cycle_forward().take(usize::try_from(length).ok()? + 1).fold(0, |bits, day| {
            let bit: u8 = 1 << day.to_monday_zero_offset();
            bits | bit
        });
    }
    Some(days)
}

fn weekly(text: &str, days: u8, from: Clock, days_on: i64, to: Clock) -> Result<Span, SpanError> {
    let (from_day, from_time) = from.normal();
    let (to_day, to_time) = to.normal();
    if days_on == 0 && from == to {
        return Err(SpanError::NoLength { text: text.to_owned() });
    }
    if from_day > 0 {
        return Err(SpanError::Weekly { text: text.to_owned() });
    }
    Ok(Span(Shape::Weekly { days, from: from_time, days_on: days_on + to_day, to: to_time }))
}

/// Reads a date or a date with a time as the beginning and the end that it stands for.
fn date_edges(text: &str) -> Result<(DateTime, DateTime), SpanError> {
    let text = text.trim();
    let wrong = || SpanError::Date { text: text.to_owned() };
    if let Some(date) = whole_date(text) {
        let next = date.tomorrow().map_err(|_out_of_range| wrong())?;
        return Ok((date.to_datetime(Time::midnight()), next.to_datetime(Time::midnight())));
    }
    if text.len() <= "2026-12-24".len() {
        return Err(wrong());
    }
    let at: DateTime = text.parse().map_err(|_not_a_time| wrong())?;
    Ok((at, at))
}

fn whole_date(text: &str) -> Option<Date> {
    let shape = text.len() == 10 && text.bytes().enumerate().all(|(i, b)| (b == b'-') == matches!(i, 4 | 7));
    if shape { text.parse().ok() } else { None }
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

/// Reads `15` or `-1`.
fn month_day(text: &str) -> Option<i8> {
    let day: i8 = text.trim().parse().ok()?;
    (day != 0 && (-31..=31).contains(&day)).then_some(day)
}

fn month_days_hold(date: Date, first: i8, last: i8) -> bool {
    let length = date.days_in_month();
    let from_start = |day: i8| if day < 0 { length + 1 + day } else { day };
    within(date.day(), from_start(first), from_start(last))
}

fn within<T: PartialOrd>(value: T, first: T, last: T) -> bool {
    if first <= last { first <= value && value <= last } else { value >= first || value <= last }
}

fn whole_day(date: Date, holds: bool) -> Option<(DateTime, DateTime)> {
    let next = date.tomorrow().ok()?;
    holds.then(|| (date.to_datetime(Time::midnight()), next.to_datetime(Time::midnight())))
}
