//! Checks of windows: what they are about and what they do. Their times are read in `spans`.

use std::collections::BTreeMap;

use jiff::{SignedDuration, tz::TimeZone};

use super::{
    super::{
        path::KeyPath,
        raw::{RawOnEntry, RawWindow, RawWindowKind},
        sources::Completeness,
    },
    Check,
    values::{DAY, HOUR, MINUTE},
};
use crate::domain::{
    experiment::Experiment,
    ids::ExperimentName,
    window::{NameGlob, OnEntry, Scope, Window, WindowKind, Windows},
    words::did_you_mean,
};

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
        let zone = self.zone(&path.key("timezone"), raw.timezone.clone());
        let calendars = self.readings(&path.key("calendars"), &raw.calendars);
        // A mistake in the zone does not hide one in the times.
        let spans = self.spans(&path, name, &raw, zone.clone().unwrap_or(TimeZone::UTC));
        let globs = |texts: &[String]| texts.iter().map(|text| NameGlob::new(text)).collect();
        let scope = Scope {
            experiments: globs(&raw.experiments),
            tags: raw.tags,
            environments: globs(&raw.environments),
            accounts: raw.accounts,
            regions: globs(&raw.regions),
        };
        let kind = match raw.kind {
            None | Some(RawWindowKind::Blackout) => WindowKind::Blackout,
            Some(RawWindowKind::Allowed) => WindowKind::Allowed,
        };
        self.scope(&path, kind, &scope, experiments);
        let finishes = matches!(raw.on_entry, Some(RawOnEntry::Finish));
        if finishes && raw.stop_lead.is_some() {
            self.warn(&path.key("stop_lead"), "has no effect with `on_entry = \"finish\"`".to_owned());
        }
        let zero = SignedDuration::ZERO;
        let stop_lead = self.duration(&path.key("stop_lead"), raw.stop_lead, MINUTE, zero..=HOUR * 12);
        let lead = self.duration(&path.key("lead"), raw.lead, zero, zero..=DAY * 7);
        Some(Window {
            name: checked_name?,
            kind,
            scope,
            on_entry: if finishes { OnEntry::Finish } else { OnEntry::Stop { lead: stop_lead } },
            lead,
            zone: zone?,
            spans,
            calendars,
        })
    }

    /// Refuses experiments that do not exist; a window about nothing is a gap that nobody sees.
    fn scope(
        &mut self,
        path: &KeyPath,
        kind: WindowKind,
        scope: &Scope,
        experiments: &BTreeMap<ExperimentName, Experiment>,
    ) {
        for (number, account) in scope.accounts.iter().enumerate() {
            self.account(&path.key("accounts").item(number), account.clone());
        }
        for (number, region) in scope.regions.iter().enumerate().filter(|(_, glob)| !glob.as_str().contains('*')) {
            self.region(&path.key("regions").item(number), region.as_str().to_owned());
        }
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
        let all = || experiments.values();
        if !scope.tags.is_empty() && !all().any(|experiment| scope.holds(experiment)) {
            self.warn(&path.key("tags"), "no experiment in scope carries these tags".to_owned());
        }
        for (number, glob) in scope.environments.iter().enumerate() {
            if !all().any(|e| e.environment.as_ref().is_some_and(|environment| glob.matches(environment))) {
                let message = format!("no experiment has the `environment` `{}`", glob.as_str());
                self.warn(&path.key("environments").item(number), message);
            }
        }
        let nowhere = |known: fn(&Experiment) -> Option<&String>| {
            all().find(|experiment| known(experiment).is_none() && scope.holds(experiment)).map(|e| e.name.clone())
        };
        let accounts = (!scope.accounts.is_empty()).then(|| nowhere(|e| e.account.as_ref())).flatten();
        let regions = (!scope.regions.is_empty()).then(|| nowhere(|e| e.place.region.as_ref())).flatten();
        for (key, one, name) in [("accounts", "account", accounts), ("regions", "region", regions)] {
            if let Some(name) = name {
                let effect = match kind {
                    WindowKind::Blackout => "is about",
                    WindowKind::Allowed => "allows nothing to, and so closes,",
                };
                let message = format!("the window {effect} `{name}` too, whose `{one}` is not known");
                self.warn(&path.key(key), message);
            }
        }
    }
}
