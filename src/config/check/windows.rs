//! Checks of windows.

use std::collections::BTreeMap;

use super::{
    super::{
        path::KeyPath,
        raw::{RawOnEntry, RawWindow, RawWindowKind},
        sources::Completeness,
    },
    Check,
    values::{HOUR, MINUTE},
};
use crate::domain::{
    experiment::Experiment,
    ids::ExperimentName,
    window::{NameGlob, OnEntry, Scope, Span, SpanError, Window, WindowKind, Windows},
    words::did_you_mean,
};

type Parser = fn(&str) -> Result<Span, SpanError>;

impl Check<'_> {
    /// Checks all windows against the experiments that there are.
    pub fn windows(
        &mut self,
        raw: BTreeMap<String, RawWindow>,
        experiments: &BTreeMap<ExperimentName, Experiment>,
    ) -> Windows {
        let windows = raw.into_iter();
        windows.filter_map(|(name, raw)| self.window(&name, raw, experiments)).collect()
    }

    fn window(
        &mut self,
        name: &str,
        raw: RawWindow,
        experiments: &BTreeMap<ExperimentName, Experiment>,
    ) -> Option<Window> {
        let path = KeyPath::default().key("windows").key(name);
        let checked_name = self.name(&path, name);
        let zone = self.zone(&path.key("timezone"), raw.timezone);
        let written = raw.weekly.len() + raw.dates.len() + raw.month_days.len() + raw.calendars.len();
        let calendars = self.readings(&path.key("calendars"), &raw.calendars);
        let mut spans = self.spans(&path.key("weekly"), &raw.weekly, Span::parse_weekly);
        spans.extend(self.spans(&path.key("dates"), &raw.dates, Span::parse_dates));
        spans.extend(self.spans(&path.key("month_days"), &raw.month_days, Span::parse_month_days));
        let times = ["weekly", "dates", "month_days", "calendars"].map(|key| path.key(key));
        if written == 0 && !times.iter().any(|key| self.spoiled.contains(key)) {
            let hint = "write `weekly`, `dates`, `month_days` or `calendars`; `weekly = [\"always\"]` is all the time"
                .to_owned();
            self.problem(&path, "names no time, so it is never".to_owned(), Some(hint));
        }
        let scope = Scope {
            experiments: raw.experiments.iter().map(|n| NameGlob::new(n)).collect(),
            tags: raw.tags,
            ..Scope::default()
        };
        self.scope(&path, &scope, experiments);
        let finishes = matches!(raw.on_entry, Some(RawOnEntry::Finish));
        if finishes && raw.stop_lead.is_some() {
            self.warn(&path.key("stop_lead"), "has no effect with `on_entry = \"finish\"`".to_owned());
        }
        let limits = jiff::SignedDuration::ZERO..=HOUR * 12;
        let lead = self.duration(&path.key("stop_lead"), raw.stop_lead, MINUTE, limits);
        Some(Window {
            name: checked_name?,
            kind: match raw.kind {
                None | Some(RawWindowKind::Blackout) => WindowKind::Blackout,
                Some(RawWindowKind::Allowed) => WindowKind::Allowed,
            },
            scope,
            on_entry: if finishes { OnEntry::Finish } else { OnEntry::Stop { lead } },
            lead: jiff::SignedDuration::ZERO,
            zone: zone?,
            spans,
            calendars,
        })
    }

    fn spans(&mut self, path: &KeyPath, texts: &[String], parse: Parser) -> Vec<Span> {
        let mut spans = Vec::new();
        for (number, text) in texts.iter().enumerate() {
            match parse(text) {
                Ok(span) => spans.push(span),
                Err(error) => {
                    let hint = match &error {
                        SpanError::Weekday { word } => did_you_mean(word, WEEKDAYS),
                        SpanError::NoLength { .. } => Some("a whole day is `Sat` or `2026-12-24`".to_owned()),
                        _ => None,
                    };
                    self.problem(&path.item(number), error.to_string(), hint);
                }
            }
        }
        spans
    }

    /// Refuses experiments that do not exist; a window about nothing is a gap that nobody sees.
    fn scope(&mut self, path: &KeyPath, scope: &Scope, experiments: &BTreeMap<ExperimentName, Experiment>) {
        if self.completeness == Completeness::Partial {
            return;
        }
        for (number, name) in scope.experiments.iter().enumerate() {
            let path = path.key("experiments").item(number);
            if self.declared.iter().any(|known| name.matches(known)) {
                continue;
            }
            if name.as_str().contains('*') {
                self.warn(&path, format!("no experiment matches `{}`", name.as_str()));
            } else {
                let hint = did_you_mean(name.as_str(), self.declared.iter().map(String::as_str));
                self.problem(&path, format!("there is no experiment `{}`", name.as_str()), hint);
            }
        }
        if !scope.tags.is_empty() && !experiments.values().any(|experiment| scope.holds(experiment)) {
            self.warn(&path.key("tags"), "no experiment in scope carries these tags".to_owned());
        }
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
