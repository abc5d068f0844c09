//! Template policies: what a FIS template must say for its own safety before a run of it may start.
//!
//! Pure. The adapter notes [`Safeguards`] when it reads a template, the configuration says what is demanded of them, and the
//! guard `policy` compares the two. A template that breaks a policy is never started; an exception carries its reason.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// What a template says for its own safety.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Safeguards {
    /// Whether there is a condition at which FIS stops the experiment: any but the source `none`.
    pub stop_condition: bool,
    /// Names of targets that select all of whatever is looked up for them by tags, filters or parameters. A target that
    /// lists ARNs is bounded by its list.
    pub all_of: Vec<String>,
    /// The template's own tags.
    pub tags: BTreeMap<String, String>,
}

/// What is demanded of the templates of an experiment; by default nothing, which is not the configuration's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TemplatePolicy {
    /// Whether there must be a stop condition.
    pub stop_condition: Demand,
    /// Whether every target that looks resources up must say how many of them it takes.
    pub bounded_targets: Demand,
    /// Tags by which a template opts in, all of them.
    pub tags: BTreeMap<String, String>,
    /// Why less is demanded here than of other experiments.
    pub exception: Option<String>,
}

/// Whether something is demanded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Demand {
    /// It is.
    Required,
    /// It is not.
    #[default]
    Waived,
}

/// What a template breaks a policy by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "breach", rename_all = "kebab-case")]
pub enum Breach {
    /// No alarm stops it.
    NoStopCondition,
    /// A target takes all that is found.
    AllTargets {
        /// The target's name in the template.
        target: String,
    },
    /// It does not carry a tag by which templates opt in.
    NotOptedIn {
        /// The tag's key.
        key: String,
        /// Its value.
        value: String,
    },
}

impl TemplatePolicy {
    /// Tells whether anything at all is demanded.
    pub fn demands_nothing(&self) -> bool {
        self.stop_condition == Demand::Waived && self.bounded_targets == Demand::Waived && self.tags.is_empty()
    }

    /// Returns what a template breaks first, if anything.
    pub fn breach(&self, template: &Safeguards) -> Option<Breach> {
        if self.stop_condition == Demand::Required && !template.stop_condition {
            return Some(Breach::NoStopCondition);
        }
        if let (Demand::Required, Some(target)) = (self.bounded_targets, template.all_of.first()) {
            return Some(Breach::AllTargets { target: target.clone() });
        }
        let missing = self.tags.iter().find(|(key, value)| template.tags.get(*key) != Some(value));
        missing.map(|(key, value)| Breach::NotOptedIn { key: key.clone(), value: value.clone() })
    }

    /// Returns what a template says that breaks nothing.
    pub fn met(&self) -> Safeguards {
        Safeguards { stop_condition: true, all_of: Vec::new(), tags: self.tags.clone() }
    }

    /// Tells whether less is demanded than another policy demands.
    pub fn is_looser_than(&self, other: &Self) -> bool {
        let waives = |own, others| own == Demand::Waived && others == Demand::Required;
        waives(self.stop_condition, other.stop_condition)
            || waives(self.bounded_targets, other.bounded_targets)
            || other.tags.iter().any(|(key, value)| self.tags.get(key) != Some(value))
    }
}

impl fmt::Display for TemplatePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut demands: Vec<String> = Vec::new();
        if self.stop_condition == Demand::Required {
            demands.push("stop condition".to_owned());
        }
        if self.bounded_targets == Demand::Required {
            demands.push("no ALL".to_owned());
        }
        demands.extend(self.tags.iter().map(|(key, value)| format!("tag {key}={value}")));
        f.write_str(if demands.is_empty() { "nothing" } else { "" })?;
        f.write_str(&demands.join(", "))?;
        self.exception.as_ref().map_or(Ok(()), |reason| write!(f, "; exception: {reason}"))
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoStopCondition => write!(f, "it has no stop condition"),
            Self::AllTargets { target } => {
                write!(f, "its target `{target}` selects ALL of whatever is found")
            }
            Self::NotOptedIn { key, value } => write!(f, "it does not carry the tag {key}={value}"),
        }
    }
}
