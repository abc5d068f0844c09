//! Checks of mappings, and those that presets bring along.

use std::collections::BTreeMap;

use super::{
    super::{
        path::KeyPath,
        raw::{RawExperiment, RawMapping},
    },
    Check,
};
use crate::domain::event::{
    mapping::{Mapping, Part},
    presets::Preset,
};

/// Most mappings: each is asked about every body that is no event.
const MAX_MAPPINGS: usize = 100;

/// Longest literal `source` and `detail-type`, in bytes (Amazon EventBridge API reference, PutEventsRequestEntry).
const MAX_LITERAL_BYTES: usize = 128;

impl Check<'_> {
    /// Checks all mappings, and adds those of the presets that are used, unless one of that name is declared.
    pub fn mappings(
        &mut self,
        raw: BTreeMap<String, RawMapping>,
        experiments: &BTreeMap<String, RawExperiment>,
    ) -> Vec<Mapping> {
        let path = KeyPath::default().key("mappings");
        if raw.len() > MAX_MAPPINGS {
            let message = format!("there are up to {MAX_MAPPINGS} mappings, and these are {}", raw.len());
            self.problem(&path, message, None);
        }
        let triggers = experiments.values().flat_map(|experiment| &experiment.triggers);
        let used: Vec<&Preset> = triggers.filter_map(|trigger| Preset::find(trigger.on.as_deref()?)).collect();
        let mut brought: BTreeMap<String, RawMapping> = BTreeMap::new();
        for mapping in used.iter().filter_map(|preset| preset.mapping.as_ref()) {
            if !raw.contains_key(mapping.name) {
                let written = RawMapping {
                    when: Some((mapping.when)()),
                    source: Some(mapping.source.to_owned()),
                    detail_type: Some(mapping.detail_type.to_owned()),
                    id: mapping.id.map(str::to_owned),
                    time: mapping.time.map(str::to_owned),
                };
                brought.insert(mapping.name.to_owned(), written);
            }
        }
        // What is declared comes first: it may be about the same bodies.
        raw.into_iter().chain(brought).filter_map(|(name, raw)| self.mapping(&path.key(&name), &name, raw)).collect()
    }

    fn mapping(&mut self, path: &KeyPath, name: &str, raw: RawMapping) -> Option<Mapping> {
        let checked_name = self.name(path, name);
        let when = self.required(&path.key("when"), raw.when);
        let when = when.and_then(|when| self.pattern(&path.key("when"), when));
        let source = self.part(&path.key("source"), raw.source);
        let detail_type = self.part(&path.key("detail_type"), raw.detail_type);
        for (key, pointer) in [("id", &raw.id), ("time", &raw.time)] {
            if let Some(pointer) = pointer {
                self.pointer(&path.key(key), pointer);
            }
        }
        Some(Mapping {
            name: checked_name?,
            when: when?,
            source: source?,
            detail_type: detail_type?,
            id: raw.id,
            time: raw.time,
        })
    }

    fn part(&mut self, path: &KeyPath, text: Option<String>) -> Option<Part> {
        let text = self.required(path, text)?;
        let part = Part::new(&text);
        match &part {
            Part::At(pointer) => self.pointer(path, pointer),
            Part::Literal(text) if text.is_empty() || text.len() > MAX_LITERAL_BYTES => {
                let message = format!("a text has 1 to {MAX_LITERAL_BYTES} bytes here, and this has {}", text.len());
                self.problem(path, message, Some("or write a JSON pointer: `/detail/source`".to_owned()));
            }
            Part::Literal(_) => {}
        }
        Some(part)
    }
}
