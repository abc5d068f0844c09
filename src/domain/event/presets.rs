//! Presets: what usual deployments look like as events, so that nobody has to write a pattern for them.
//!
//! Pure. A preset is a pattern, where it stands what was deployed, and filters that narrow the pattern. The facts are in
//! `table`; where one of them is weak, its description says so.

mod table;

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::{Map, Value, json};

pub use table::PRESETS;

/// A ready-made trigger.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// What `on` calls it.
    pub name: &'static str,
    /// What it takes, and what to know of it.
    pub about: &'static str,
    /// Its pattern without filters.
    pub pattern: fn() -> Value,
    /// JSON pointers to the parts of the key.
    pub key: &'static [&'static str],
    /// JSON pointers to the version; the first that is there counts.
    pub version: &'static [&'static str],
    /// JSON pointers to the deployment's own id; the first that is there counts.
    pub deployment_id: &'static [&'static str],
    /// What is known of rollbacks.
    pub rollback: Rollback,
    /// Time between the event and the earliest start where the trigger does not say.
    pub settle: SignedDuration,
    /// Which filters it takes.
    pub filters: &'static [Filter],
    /// For senders whose bodies are no events: the mapping that makes events of them, unless one of its name is configured.
    pub mapping: Option<PresetMapping>,
}

/// A mapping that a preset brings along, as it would be configured.
#[derive(Debug, Clone, Copy)]
pub struct PresetMapping {
    /// Its name.
    pub name: &'static str,
    /// Which bodies it takes.
    pub when: fn() -> Value,
    /// `source`.
    pub source: &'static str,
    /// `detail_type`.
    pub detail_type: &'static str,
    /// `id`.
    pub id: Option<&'static str>,
    /// `time`.
    pub time: Option<&'static str>,
}

/// What a preset knows of rollbacks.
#[derive(Debug, Clone, Copy)]
pub enum Rollback {
    /// Events that match this pattern tell of one.
    Told(fn() -> Value),
    /// They come as other events, which it does not take.
    NotTaken,
    /// Its events do not tell.
    Untold,
}

/// One field of the event that filters narrow.
#[derive(Debug, Clone, Copy)]
pub struct Filter {
    /// Keys of the pattern on the way to the field.
    pub path: &'static [&'static str],
    /// How it is compared. The form with the most filters that are given is taken.
    pub forms: &'static [Form],
}

/// What a field looks like when some filters are given: a text with their names in braces, `*` stands for any characters.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// The filters.
    pub keys: &'static [FilterKey],
    /// What is compared when one of them holds `*`.
    pub loose: &'static [&'static str],
    /// What is compared otherwise.
    pub exact: &'static [&'static str],
}

/// What a trigger may be narrowed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FilterKey {
    /// `application`.
    Application,
    /// `service`.
    Service,
    /// `branch`.
    Branch,
    /// `environment`.
    Environment,
}

impl FilterKey {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Application, Self::Service, Self::Branch, Self::Environment];

    /// Returns the name used in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Service => "service",
            Self::Branch => "branch",
            Self::Environment => "environment",
        }
    }
}

impl Preset {
    /// Finds a preset.
    pub fn find(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// Lists the filters it takes.
    pub fn filter_keys(&self) -> impl Iterator<Item = FilterKey> {
        let takes = |key: &FilterKey| self.forms().any(|(_, form)| form.keys.contains(key));
        FilterKey::ALL.into_iter().filter(takes)
    }

    /// Tells where a filter looks and how, in words; `None` for one that it does not take.
    pub fn field_of(&self, key: FilterKey) -> Option<String> {
        let (filter, form) = self.forms().find(|(_, form)| form.keys == [key])?;
        let own = format!("{{{}}}", key.as_str());
        let compared = if form.exact == [own] { String::new() } else { format!(" = {}", form.exact.join(" or ")) };
        Some(format!("{}{compared}", filter.path.join(".")))
    }

    fn forms(&self) -> impl Iterator<Item = (&'static Filter, &'static Form)> {
        self.filters.iter().flat_map(|filter| filter.forms.iter().map(move |form| (filter, form)))
    }

    /// Returns the pattern, narrowed to one of the values of each filter. Filters that it does not take are passed over.
    pub fn pattern(&self, filters: &BTreeMap<FilterKey, Vec<String>>) -> Value {
        let mut pattern = (self.pattern)();
        for filter in self.filters {
            let given = |form: &&Form| form.keys.iter().all(|key| filters.contains_key(key));
            let Some(form) = filter.forms.iter().filter(given).max_by_key(|form| form.keys.len()) else { continue };
            narrow(&mut pattern, filter.path, form.alternatives(filters));
        }
        pattern
    }
}

impl Form {
    fn alternatives(&self, filters: &BTreeMap<FilterKey, Vec<String>>) -> Vec<Value> {
        let mut chosen: Vec<Vec<(FilterKey, &str)>> = vec![Vec::new()];
        for key in self.keys {
            let values = filters.get(key).map_or(&[][..], Vec::as_slice);
            let mut longer = Vec::with_capacity(chosen.len() * values.len());
            for (before, value) in chosen.iter().flat_map(|before| values.iter().map(move |value| (before, value))) {
                longer.push([&before[..], &[(*key, value)]].concat());
            }
            chosen = longer;
        }
        chosen.iter().flat_map(|values| self.compared(values)).collect()
    }

    fn compared(&self, values: &[(FilterKey, &str)]) -> Vec<Value> {
        let is_loose = values.iter().any(|(_, value)| value.contains('*'));
        let forms = if is_loose { self.loose } else { self.exact };
        let filled = |form: &&str| {
            let fill =
                |text: String, (key, value): &(FilterKey, &str)| text.replace(&format!("{{{}}}", key.as_str()), value);
            alternative(&values.iter().fold((*form).to_owned(), fill))
        };
        forms.iter().map(filled).collect()
    }
}

/// Compares with a text in which `*` stands for any characters, in the cheapest way: EventBridge counts wildcards.
fn alternative(text: &str) -> Value {
    match text.split('*').filter(|part| !part.is_empty()).collect::<Vec<_>>()[..] {
        _ if !text.contains('*') => json!(text),
        [] => json!({ "exists": true }),
        [only] if text.starts_with('*') && !text.ends_with('*') => json!({ "suffix": only }),
        [only] if text.ends_with('*') && !text.starts_with('*') => json!({ "prefix": only }),
        _ => {
            let mut wildcard = text.replace('\\', "\\\\");
            while wildcard.contains("**") {
                wildcard = wildcard.replace("**", "*");
            }
            json!({ "wildcard": wildcard })
        }
    }
}

/// Sets what a field may be, making the objects on the way.
fn narrow(pattern: &mut Value, path: &[&str], alternatives: Vec<Value>) {
    let mut place = pattern;
    for key in path {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[*key];
    }
    *place = Value::Array(alternatives);
}
