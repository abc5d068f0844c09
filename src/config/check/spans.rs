//! Checks of the times of windows, in each of the ways in which they can be written.

use jiff::{SignedDuration, tz::TimeZone};

use super::{
    super::{
        path::KeyPath,
        raw::{RawTimes, RawWindow},
    },
    Check,
    values::{DAY, MINUTE},
};
use crate::domain::{
    window::{Days, Span, SpanError, span::days::MONTHS},
    words::did_you_mean,
};

/// Reads an entry of a field of `times`.
type Adder = fn(&mut Days, &str) -> Result<(), SpanError>;

/// Reads a span.
type Parser = fn(&str) -> Result<Span, SpanError>;

/// Every key that names times.
const KEYS: [&str; 6] = ["weekly", "dates", "month_days", "times", "cron", "calendars"];

impl Check<'_> {
    /// Checks the times of a window; a cron expression is spread by the window's name.
    pub fn spans(&mut self, path: &KeyPath, name: &str, raw: &RawWindow, zone: TimeZone) -> Vec<Span> {
        let written = raw.weekly.len() + raw.dates.len() + raw.month_days.len() + raw.times.len() + raw.calendars.len();
        let is_spoiled = KEYS.iter().any(|key| self.spoiled.contains(&path.key(key)));
        if written == 0 && raw.cron.is_none() && !is_spoiled {
            let hint = "write `weekly`, `dates`, `month_days`, `times`, `cron` or `calendars`; \
                        `weekly = [\"always\"]` is all the time";
            self.problem(path, "names no time, so it is never".to_owned(), Some(hint.to_owned()));
        }
        let mut spans = self.each(&path.key("weekly"), &raw.weekly, Span::parse_weekly);
        spans.extend(self.each(&path.key("dates"), &raw.dates, Span::parse_dates));
        spans.extend(self.each(&path.key("month_days"), &raw.month_days, Span::parse_month_days));
        for (number, times) in raw.times.iter().enumerate() {
            spans.extend(self.times(&path.key("times").item(number), times));
        }
        spans.extend(self.fires(path, name, raw, zone));
        spans
    }

    fn each(&mut self, path: &KeyPath, texts: &[String], parse: Parser) -> Vec<Span> {
        let mut spans = Vec::new();
        for (number, text) in texts.iter().enumerate() {
            match parse(text) {
                Ok(span) => {
                    if span.is_nearly_a_week() {
                        self.warn(
                            &path.item(number),
                            format!("`{text}` ends in the next week, before it begins again"),
                        );
                    }
                    spans.push(span);
                }
                Err(error) => self.no_span(&path.item(number), &error),
            }
        }
        spans
    }

    /// Checks one item of `times`.
    fn times(&mut self, path: &KeyPath, raw: &RawTimes) -> Vec<Span> {
        let mut days = Days::default();
        let before = self.problems.len();
        let fields: [(&str, &[String], Adder); 4] = [
            ("weekdays", &raw.weekdays, Days::add_weekdays),
            ("days_of_month", &raw.days_of_month, Days::add_days_of_month),
            ("months", &raw.months, Days::add_months),
            ("years", &raw.years, Days::add_years),
        ];
        for (key, entries, add) in fields {
            for (number, entry) in entries.iter().enumerate() {
                if let Err(error) = add(&mut days, entry) {
                    self.no_span(&path.key(key).item(number), &error);
                }
            }
        }
        if self.problems.len() == before && !days.exist() {
            self.no_span(path, &SpanError::Never);
        }
        if raw.times.is_empty() {
            return vec![Span::whole(days)];
        }
        let mut spans = Vec::new();
        for (number, text) in raw.times.iter().enumerate() {
            match Span::parse_clock(days.clone(), text) {
                Ok(span) => spans.push(span),
                Err(error) => self.no_span(&path.key("times").item(number), &error),
            }
        }
        spans
    }

    /// Checks a cron expression with a duration.
    fn fires(&mut self, path: &KeyPath, name: &str, raw: &RawWindow, zone: TimeZone) -> Option<Span> {
        if raw.cron.is_none() && raw.duration.is_some() && !self.spoiled.contains(&path.key("cron")) {
            self.problem(&path.key("duration"), "has no `cron` to begin at".to_owned(), None);
        }
        let expression = raw.cron.as_ref()?;
        let schedule = self.cron(&path.key("cron"), expression, zone, name);
        let key = path.key("duration");
        if raw.duration.is_none() {
            let hint = "write how long it lasts from each instant of `cron`: `duration = \"8h\"`".to_owned();
            self.problem(&key, "is missing".to_owned(), Some(hint));
        }
        let length: SignedDuration = self.duration(&key, raw.duration.clone(), MINUTE, MINUTE..=DAY * 31);
        Some(Span::cron(schedule?, length))
    }

    fn no_span(&mut self, path: &KeyPath, error: &SpanError) {
        let hint = match error {
            SpanError::Weekday { word } if word.contains('-') => Some("write a range as `monday:friday`".to_owned()),
            SpanError::Weekday { word } => did_you_mean(word, WEEKDAYS),
            SpanError::Month { word } => did_you_mean(word, MONTHS),
            SpanError::NoLength { .. } => Some("a whole day is `Sat` or `2026-12-24`".to_owned()),
            SpanError::Date { text } if text.contains(':') => {
                Some("it is a local time of the window's `timezone`, without an offset or a zone of its own".to_owned())
            }
            SpanError::BeginsAtEnd { .. } => Some("write 00:00 of the next day".to_owned()),
            _ => None,
        };
        self.problem(path, error.to_string(), hint);
    }
}

/// Weekdays as hints write them.
const WEEKDAYS: [&str; 14] = [
    "Mon",
    "Tue",
    "Wed",
    "Thu",
    "Fri",
    "Sat",
    "Sun",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
