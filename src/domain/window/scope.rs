//! Scopes: which experiments a window is about.
//!
//! Pure. What is not known of an experiment (its account, its Region, its labels once it left the configuration, a tag that
//! each run fills in) never
//! takes it out of a scope. For an allowed window that is only half of it: the window counts as one of the experiment's,
//! so that the time outside is closed, and opens no time to it, as it may be another's. What is not known never permits.

use std::collections::BTreeMap;

use crate::domain::{
    deployment::is_template,
    experiment::{Experiment, Labels},
};

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
    /// Tells whether an experiment is, or may be, in scope.
    pub fn holds(&self, experiment: &Experiment) -> bool {
        self.membership(experiment).is_some()
    }

    /// Tells whether tags are those that an experiment must carry; `None` when one of them differs from run to run.
    fn tagged(&self, tags: &BTreeMap<String, String>) -> Option<bool> {
        let fits = |key: &String, value: &String| match tags.get(key) {
            Some(carried) if carried == value => Some(true),
            Some(carried) if is_template(carried) => None,
            _ => Some(false),
        };
        let answers: Vec<Option<bool>> = self.tags.iter().map(|(key, value)| fits(key, value)).collect();
        if answers.contains(&Some(false)) { Some(false) } else { answers.into_iter().try_fold(true, |_, fits| fits) }
    }

    /// Tells how sure it is that an experiment is in scope; `None` when it is not.
    pub fn membership(&self, experiment: &Experiment) -> Option<Membership> {
        let any = |globs: &[NameGlob], text: &str| globs.is_empty() || globs.iter().any(|glob| glob.matches(text));
        let Experiment { tags, environment, account, place, labels, .. } = experiment;
        let forgotten = |holds: bool| if *labels == Labels::Forgotten { None } else { Some(holds) };
        let environment = || match environment {
            Some(environment) => Some(any(&self.environments, environment)),
            None => forgotten(false),
        };
        // Of each list: whether it holds the experiment, if that is known.
        let answers = [
            Some(any(&self.experiments, experiment.name.as_str())),
            match self.tagged(tags) {
                Some(false) => forgotten(false),
                known => known,
            },
            if self.environments.is_empty() { Some(true) } else { environment() },
            if self.accounts.is_empty() { Some(true) } else { account.as_ref().map(|a| self.accounts.contains(a)) },
            if self.regions.is_empty() { Some(true) } else { place.region.as_ref().map(|r| any(&self.regions, r)) },
        ];
        if answers.contains(&Some(false)) {
            return None;
        }
        Some(if answers.contains(&None) { Membership::Possible } else { Membership::Sure })
    }
}

/// How sure it is that an experiment is in a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Membership {
    /// It is.
    Sure,
    /// Nothing says that it is not, and something that the scope asks for is not known.
    Possible,
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
