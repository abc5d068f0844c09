//! Checks of event triggers: which events they take, what those deploy, and when a run follows.

mod pace;

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    super::{
        path::KeyPath,
        raw::{RawRollbacks, RawSupersede, RawTexts, RawTrigger},
        sources::Completeness,
    },
    Check,
};
use crate::domain::{
    deployment::{Reading, Supersede},
    event::{
        catalogue::{self, Doubt},
        presets::{FilterKey, PRESETS, Preset, Rollback},
    },
    experiment::{EventTrigger, Rollbacks},
    ids::Name,
    pattern::Pattern,
    words::did_you_mean,
};

/// Most values of a filter.
const MAX_FILTER_VALUES: usize = 50;

/// Longest value of a filter, in bytes.
const MAX_FILTER_BYTES: usize = 256;

/// Most pointers of a key, a version or an id.
const MAX_POINTERS: usize = 8;

/// Longest pointer, in bytes.
const MAX_POINTER_BYTES: usize = 512;

/// Least share of deployments that can be asked for: one in so many.
const MAX_ONE_IN: u32 = 10_000;

/// Filters as they were given.
type Filters = BTreeMap<FilterKey, Vec<String>>;

impl Check<'_> {
    pub(super) fn trigger(&mut self, path: &KeyPath, mut raw: RawTrigger) -> Option<EventTrigger> {
        let preset = raw.on.as_deref().and_then(|name| self.preset(&path.key("on"), name));
        let filters = self.filters(path, &mut raw);
        let pattern = self.taken(path, &mut raw, preset, &filters);
        let sources = self.event_sources(&path.key("queues"), &raw.queues);
        let reading = self.reading(path, &mut raw, preset);
        let pace = self.pace(path, &raw, preset);
        let one_in = self.number(&path.key("one_in"), raw.one_in, 1, MAX_ONE_IN);
        self.agreement(path, &raw, preset, &reading);
        if raw.supersede == Some(RawSupersede::Running) && pace.cool_down.is_positive() {
            let message = "a newer version within it is skipped, and does not end the running run".to_owned();
            let hint = "leave out `cool_down`, or `supersede = \"running\"`".to_owned();
            self.doubt(&path.key("cool_down"), message, Some(hint));
        }
        // Without a pattern nothing is used, but everything is still to be checked.
        Some(EventTrigger {
            pattern: pattern?,
            sources,
            reading,
            settle: pace.settle,
            hold_for: pace.hold_for,
            start_deadline: pace.start_deadline,
            settle_limit: pace.settle_limit,
            min_age: pace.min_age,
            max_age: pace.max_age,
            rollbacks: match raw.rollbacks {
                None | Some(RawRollbacks::Run) => Rollbacks::Run,
                Some(RawRollbacks::Skip) => Rollbacks::Skip,
            },
            supersede: match raw.supersede {
                None | Some(RawSupersede::Pending) => Supersede::Pending,
                Some(RawSupersede::Running) => Supersede::Running,
            },
            cool_down: pace.cool_down,
            one_in,
        })
    }

    fn preset(&mut self, path: &KeyPath, name: &str) -> Option<&'static Preset> {
        let found = Preset::find(name);
        if found.is_none() {
            let hint = did_you_mean(name, PRESETS.iter().map(|preset| preset.name));
            let hint = hint.unwrap_or_else(|| "`firedrill event presets` lists them".to_owned());
            self.problem(path, format!("there is no preset `{name}`"), Some(hint));
        }
        found
    }

    /// Takes the filters out of what was written.
    fn filters(&mut self, path: &KeyPath, raw: &mut RawTrigger) -> Filters {
        let mut filters = Filters::new();
        for key in FilterKey::ALL {
            let written = match key {
                FilterKey::Application => raw.application.take(),
                FilterKey::Service => raw.service.take(),
                FilterKey::Branch => raw.branch.take(),
                FilterKey::Environment => raw.environment.take(),
            };
            let Some(texts) = written else { continue };
            let path = path.key(key.as_str());
            let values = self.texts(&path, texts, MAX_FILTER_VALUES);
            for (path, value) in &values {
                if value.is_empty() || value.len() > MAX_FILTER_BYTES {
                    let message = format!("a filter has 1 to {MAX_FILTER_BYTES} bytes, and this has {}", value.len());
                    self.problem(path, message, None);
                }
            }
            if !values.is_empty() {
                filters.insert(key, values.into_iter().map(|(_, value)| value).collect());
            }
        }
        filters
    }

    /// Finds which events are taken.
    fn taken(
        &mut self,
        path: &KeyPath,
        raw: &mut RawTrigger,
        preset: Option<&Preset>,
        filters: &Filters,
    ) -> Option<Pattern> {
        match (&raw.on, raw.pattern.take()) {
            (Some(_), None) => {
                let preset = preset?;
                self.known_filters(path, preset, filters);
                let path = path.key("on");
                let pattern = self.pattern(&path, preset.pattern(filters))?;
                self.doubtful(&path, &pattern);
                Some(pattern)
            }
            (None, Some(pattern)) => {
                for key in filters.keys() {
                    let hint = "write what it is compared with into `pattern`".to_owned();
                    self.problem(&path.key(key.as_str()), "goes with `on` only".to_owned(), Some(hint));
                }
                let path = path.key("pattern");
                let pattern = self.pattern(&path, pattern)?;
                self.doubtful(&path, &pattern);
                Some(pattern)
            }
            (Some(_), Some(_)) => {
                let message = "`on` and `pattern` exclude each other".to_owned();
                self.problem(&path.key("pattern"), message, Some("remove one of them".to_owned()));
                None
            }
            (None, None) => {
                let known = ["on", "pattern"].map(|key| path.key(key));
                if !known.iter().any(|key| self.spoiled.contains(key)) {
                    let hint = "say which events it takes: `on = \"codedeploy-success\"` or `pattern = { … }`; `firedrill \
                                event presets` lists what `on` may be";
                    self.problem(&path.key("on"), "is missing".to_owned(), Some(hint.to_owned()));
                }
                None
            }
        }
    }

    /// Warns of what EventBridge would not take, and of what no known event has.
    fn doubtful(&mut self, path: &KeyPath, pattern: &Pattern) {
        for warning in pattern.warnings() {
            self.warn(path, warning);
        }
        for Doubt { path: keys, message, hint } in catalogue::doubts(pattern) {
            let path = keys.iter().fold(path.clone(), |path, key| path.key(key));
            self.doubt(&path, message, hint);
        }
    }

    fn known_filters(&mut self, path: &KeyPath, preset: &Preset, filters: &Filters) {
        let known: Vec<&str> = preset.filter_keys().map(FilterKey::as_str).collect();
        for key in filters.keys().filter(|key| !known.contains(&key.as_str())) {
            let message = format!("`{}` has no filter `{}`", preset.name, key.as_str());
            let hint = format!("it has `{}`", known.join("`, `"));
            self.problem(&path.key(key.as_str()), message, Some(hint));
        }
    }

    /// Checks the names of queues and webhooks.
    fn event_sources(&mut self, path: &KeyPath, names: &[String]) -> Vec<Name> {
        let mut sources = Vec::new();
        for (number, name) in names.iter().enumerate() {
            let path = path.item(number);
            if self.completeness == Completeness::Complete && !self.declared_sources.contains(name) {
                let hint = did_you_mean(name, self.declared_sources.iter().map(String::as_str));
                self.problem(&path, format!("there is no queue or webhook `{name}`"), hint);
            } else {
                sources.extend(self.name(&path, name));
            }
        }
        sources
    }

    /// Finds where it stands what was deployed.
    fn reading(&mut self, path: &KeyPath, raw: &mut RawTrigger, preset: Option<&Preset>) -> Reading {
        let mut read = |key: &str, written: Option<RawTexts>, known: Option<&[&str]>| match written {
            Some(texts) => self.pointers(&path.key(key), texts),
            None => known.unwrap_or_default().iter().map(|pointer| (*pointer).to_owned()).collect(),
        };
        let key = read("key", raw.key.clone(), preset.map(|preset| preset.key));
        let version = read("version", raw.version.clone(), preset.map(|preset| preset.version));
        let id = read("deployment_id", raw.deployment_id.clone(), preset.map(|preset| preset.deployment_id));
        let rollback = match (raw.rollback.clone(), preset.map(|preset| preset.rollback)) {
            (Some(written), _) => self.pattern(&path.key("rollback"), written),
            (None, Some(Rollback::Told(pattern))) => self.pattern(&path.key("on"), pattern()),
            (None, _) => None,
        };
        Reading { key, version, id, rollback }
    }

    fn pointers(&mut self, path: &KeyPath, texts: RawTexts) -> Vec<String> {
        let pointers = self.texts(path, texts, MAX_POINTERS);
        for (path, pointer) in &pointers {
            self.pointer(path, pointer);
        }
        pointers.into_iter().map(|(_, pointer)| pointer).collect()
    }

    /// Checks a JSON pointer (RFC 6901). The empty one is refused: a whole event is no text.
    pub(super) fn pointer(&mut self, path: &KeyPath, pointer: &str) {
        let escapes = pointer.split('~').skip(1);
        let (message, hint) = if pointer.len() > MAX_POINTER_BYTES {
            (format!("a pointer has up to {MAX_POINTER_BYTES} bytes, and this has {}", pointer.len()), None)
        } else if !pointer.starts_with('/') {
            let dotted = pointer.trim_start_matches(['$', '.']).replace(['.', '['], "/").replace(']', "");
            let hint = if dotted.is_empty() { "/detail/application".to_owned() } else { format!("/{dotted}") };
            (format!("`{pointer}` is not a JSON pointer"), Some(format!("write `{hint}`")))
        } else if escapes.into_iter().any(|rest| !rest.starts_with(['0', '1'])) {
            let hint = "in a pointer `~0` stands for `~` and `~1` for `/`".to_owned();
            (format!("`{pointer}` is not a JSON pointer: a `~` stands alone"), Some(hint))
        } else {
            return;
        };
        self.problem(path, message, hint);
    }

    /// Reads one text or several, each with its path.
    fn texts(&mut self, path: &KeyPath, texts: RawTexts, most: usize) -> Vec<(KeyPath, String)> {
        let texts = match texts {
            RawTexts::One(text) => return vec![(path.clone(), text)],
            RawTexts::Many(texts) => texts,
        };
        if texts.is_empty() || texts.len() > most {
            let message = format!("a list has 1 to {most} entries here, and this has {}", texts.len());
            self.problem(path, message, None);
        }
        texts.into_iter().enumerate().map(|(number, text)| (path.item(number), text)).collect()
    }

    /// Refuses what has no meaning without something else.
    fn agreement(&mut self, path: &KeyPath, raw: &RawTrigger, preset: Option<&Preset>, reading: &Reading) {
        let is_known = raw.on.is_none() || preset.is_some();
        let needy = [
            ("version", raw.version.is_some()),
            ("deployment_id", raw.deployment_id.is_some()),
            ("settle_limit", raw.settle_limit.is_some()),
            ("supersede", raw.supersede == Some(RawSupersede::Running)),
            ("cool_down", raw.cool_down.is_some()),
        ];
        for (key, _) in
            needy.into_iter().filter(|(_, given)| *given && is_known && reading.key.is_empty() && raw.key.is_none())
        {
            let hint = "say where it stands what is deployed: `key = \"/detail/application\"`".to_owned();
            self.problem(&path.key(key), "has no meaning without a `key`".to_owned(), Some(hint));
        }
        let skips = raw.rollbacks == Some(RawRollbacks::Skip);
        if !skips || !is_known || reading.rollback.is_some() || raw.rollback.is_some() {
            return;
        }
        let rollbacks = path.key("rollbacks");
        if preset.is_some_and(|preset| matches!(preset.rollback, Rollback::NotTaken)) {
            self.warn(&rollbacks, "has no effect: rollbacks come as events that it does not take".to_owned());
        } else {
            let hint = "give an event pattern: `rollback = { detail = { rollback = [true] } }`".to_owned();
            self.problem(&rollbacks, "nothing says which events tell of a rollback".to_owned(), Some(hint));
        }
    }

    /// Reads an event pattern: a table, or a text that holds JSON.
    pub(super) fn pattern(&mut self, path: &KeyPath, value: Value) -> Option<Pattern> {
        let parsed = match value {
            Value::String(text) => Pattern::parse_text(&text),
            value => Pattern::parse(&value),
        };
        parsed.map_err(|error| self.problem(&path.below(&error.path), error.message, None)).ok()
    }
}
