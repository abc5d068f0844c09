//! Checks of calendars: each names one source, and what is in a file can be read.

use std::{collections::BTreeMap, ops::RangeInclusive, path::Path, sync::Arc};

use super::{
    super::{
        calendar_file::{self, FileError},
        path::KeyPath,
        problem::{Place as TextPlace, Position, Problem},
        raw::{RawCalendar, RawPlace, RawUnread},
        settings::{Calendar, CalendarSource},
        sources::Completeness,
    },
    Check,
    values::{DAY, HOUR, MINUTE, SECOND},
};
use crate::domain::{
    calendar::{
        CalendarError,
        found::{Found, FoundError},
        reading::{Content, Reading},
    },
    experiment::Place,
    words::did_you_mean,
};

/// Most change calendars of one calendar: each costs a call whenever it is read.
const MAX_NAMES: usize = 10;
/// Length of a name or ARN of a document (Systems Manager API reference, GetDocument).
const NAME_LENGTH: RangeInclusive<usize> = 3..=128;

impl Check<'_> {
    /// Checks all calendars.
    pub fn calendars(&mut self, raw: BTreeMap<String, RawCalendar>, aws: &Place) -> Vec<Calendar> {
        self.declared_calendars = raw.keys().cloned().collect();
        let calendars: Vec<Calendar> =
            raw.into_iter().filter_map(|(name, raw)| self.calendar(&name, raw, aws)).collect();
        self.readings = calendars.iter().map(|calendar| (calendar.name.to_string(), calendar.reading())).collect();
        calendars
    }

    fn calendar(&mut self, name: &str, raw: RawCalendar, aws: &Place) -> Option<Calendar> {
        let path = KeyPath::default().key("calendars").key(name);
        let place = RawPlace { region: raw.region, endpoint_url: raw.endpoint_url, role_arn: raw.role_arn };
        let called = [&place.region, &place.endpoint_url, &place.role_arn].iter().any(|key| key.is_some());
        let place = self.place(&path, place, aws);
        let refresh = self.duration(&path.key("refresh"), raw.refresh, MINUTE * 5, SECOND..=DAY);
        let max_age = self.duration(&path.key("max_age"), raw.max_age, HOUR, SECOND..=DAY * 7);
        if max_age < refresh {
            let message = "is less than `refresh`: the calendar would be too old before it is read again".to_owned();
            self.problem(&path.key("max_age"), message, None);
        }
        let last_known = path.key("last_known_for");
        let said = raw.last_known_for.is_some();
        let last_known_for = self.duration(&last_known, raw.last_known_for, DAY, SECOND..=DAY * 90);
        let good_for = match raw.on_failure {
            Some(RawUnread::LastKnown) if last_known_for < max_age => {
                self.problem(&last_known, "is less than `max_age`".to_owned(), None);
                max_age
            }
            Some(RawUnread::LastKnown) => last_known_for,
            None | Some(RawUnread::Closed) => {
                if said {
                    self.warn(&last_known, "has no effect without `on_failure = \"last-known\"`".to_owned());
                }
                max_age
            }
        };
        let source = match (raw.file, raw.ssm) {
            (Some(file), None) => {
                if called {
                    self.warn(&path, "`region`, `endpoint_url` and `role_arn` have no effect with `file`".to_owned());
                }
                self.file_source(&path, &file, raw.timezone)
            }
            (None, Some(names)) => {
                if raw.timezone.is_some() {
                    self.warn(&path.key("timezone"), "has no effect with `ssm`".to_owned());
                }
                self.change_calendars(&path.key("ssm"), names, place)
            }
            (both, _) => {
                let message =
                    if both.is_some() { "names both `file` and `ssm`" } else { "names neither `file` nor `ssm`" };
                self.problem(&path, message.to_owned(), Some("write one of them".to_owned()));
                None
            }
        };
        let name = self.name(&path, name);
        let found = match &source {
            Some(CalendarSource::File { path: file, timezone }) => {
                Some(self.calendar_file(&path.key("file"), file, timezone)?)
            }
            _ => None,
        };
        Some(Calendar { name: name?, source: source?, refresh, good_for, found })
    }

    fn file_source(&mut self, path: &KeyPath, file: &str, timezone: Option<String>) -> Option<CalendarSource> {
        let zone = self.zone(&path.key("timezone"), timezone.clone());
        let found = self.beside(&path.key("file"), file)?;
        zone.map(|_| CalendarSource::File { path: found, timezone: timezone.unwrap_or_else(|| "UTC".to_owned()) })
    }

    fn calendar_file(&mut self, path: &KeyPath, file: &Path, timezone: &str) -> Option<(Arc<Found>, Content)> {
        match calendar_file::load(file, timezone) {
            Ok((found, content)) => return Some((Arc::new(found), content)),
            Err(FileError::Calendar(FoundError::File(CalendarError { line, problem }))) => {
                let position = Some(Position { line, column: 1 });
                let place = Some(TextPlace { source: file.display().to_string(), position });
                self.problems.push(Problem { place, path: path.to_string(), message: problem.to_string(), hint: None });
            }
            Err(error) => self.problem(path, format!("`{}`: {error}", file.display()), None),
        }
        None
    }

    fn change_calendars(&mut self, path: &KeyPath, names: Vec<String>, place: Place) -> Option<CalendarSource> {
        let before = self.problems.len();
        if !(1..=MAX_NAMES).contains(&names.len()) {
            self.problem(path, format!("has {} names: from 1 to {MAX_NAMES} are possible", names.len()), None);
        }
        for (number, name) in names.iter().enumerate() {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.:/".contains(c);
            if !NAME_LENGTH.contains(&name.len()) || !name.chars().all(allowed) {
                let hint = "write a name, or `arn:aws:ssm:eu-west-1:123456789012:document/name`".to_owned();
                let message = format!("`{name}` is neither the name nor the ARN of a change calendar");
                self.problem(&path.item(number), message, Some(hint));
            }
        }
        (self.problems.len() == before).then_some(CalendarSource::ChangeCalendars { names, place })
    }

    /// Finds the calendars that a window refers to.
    pub fn readings(&mut self, path: &KeyPath, names: &[String]) -> Vec<Reading> {
        let mut found = Vec::new();
        for (number, name) in names.iter().enumerate() {
            if let Some(reading) = self.readings.get(name) {
                found.push(reading.clone());
            } else if self.completeness == Completeness::Complete && !self.declared_calendars.contains(name) {
                let hint = did_you_mean(name, self.declared_calendars.iter().map(String::as_str));
                self.problem(&path.item(number), format!("there is no calendar `{name}`"), hint);
            }
        }
        found
    }
}

impl Calendar {
    /// Returns what is known of it when the configuration has been loaded.
    pub fn reading(&self) -> Reading {
        let content = self.found.as_ref().map(|(_, content)| content.clone());
        Reading { content, ..Reading::unread(self.name.clone(), self.good_for) }
    }
}
