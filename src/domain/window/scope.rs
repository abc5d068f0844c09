//! Scopes: which experiments a window is about.
//!
//! Pure. What is not known of an experiment (its account, its Region) never takes it out of a scope, since less is
//! permitted inside than outside.

use std::collections::BTreeMap;

use crate::domain::experiment::Experiment;

/// Which experiments a window is about: those that match one entry of every list that is not empty, and carry all tags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Names; empty means all.
    pub experiments: Vec<NameGlob>,
    /// Tags that the experiment must carry, all of them.
    pub tags: BTreeMap<String, String>,
    /// Environments; empty means all, those without one included.
    pub environments: Vec<NameGlob>,
    /// AWS accounts; empty means all. An experiment whose account is not known may be in any.
    pub accounts: Vec<String>,
    /// AWS Regions; empty means all. An experiment whose Region is not known may be in any.
    pub regions: Vec<NameGlob>,
}

impl Scope {
    /// Tells whether an experiment is in scope.
    pub fn holds(&self, experiment: &Experiment) -> bool {
        let any = |globs: &[NameGlob], text: &str| globs.is_empty() || globs.iter().any(|glob| glob.matches(text));
        let region = experiment.place.region.as_deref();
        any(&self.experiments, experiment.name.as_str())
            && self.tags.iter().all(|(key, value)| experiment.tags.get(key) == Some(value))
            && experiment.environment.as_deref().map_or(self.environments.is_empty(), |e| any(&self.environments, e))
            && experiment.account.as_ref().is_none_or(|a| self.accounts.is_empty() || self.accounts.contains(a))
            && region.is_none_or(|region| any(&self.regions, region))
    }
}

/// A name, or a pattern in which each `*` stands for any characters, also none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameGlob(String);

impl NameGlob {
    /// Takes any text; one without `*` matches only itself.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Returns the pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether a name matches.
    pub fn matches(&self, name: &str) -> bool {
        let Some((head, pattern)) = self.0.split_once('*') else { return self.0 == name };
        let Some(mut rest) = name.strip_prefix(head) else { return false };
        let (middle, tail) = pattern.rsplit_once('*').unwrap_or(("", pattern));
        for part in middle.split('*').filter(|part| !part.is_empty()) {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(tail)
    }
}
