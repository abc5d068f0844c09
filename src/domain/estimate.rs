//! How long a run may take: estimates of a template's critical path, and which of them a start is judged by.
//!
//! Pure. An action ends when its time is over (`duration`), at the latest when its time is over (`maxDuration`), or by
//! itself. The ceiling takes each at its longest; the nominal estimate takes an action that only has a bound at what its
//! document was told to do; the learned one rests on runs of the past. What is not known is a value, never a guess.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    catalogue::{self, DurationKind},
    experiment::{EstimateKind, Experiment},
    ids,
    template::{TemplateAction, TemplateFacts},
};

/// FIS needs some seconds of its own around the actions: 10 s seen before them, 15 s more with a new log destination
/// (AWS FIS user guide, monitoring-logging, the timestamps of its samples).
pub const FIS_OVERHEAD: SignedDuration = SignedDuration::from_secs(30);

/// Time given to an action that ends by itself without a declared duration (reboot, terminate, failover), and to what is
/// undone after a declared one.
pub const INSTANT_ALLOWANCE: SignedDuration = SignedDuration::from_secs(60);

/// The learned estimate is kept by at least this share of runs, in hundredths.
const LEARNED_PERCENT: usize = 95;

/// Fewest past runs that an estimate can be learned from: the longest of 18 is exceeded by the next one with a chance of
/// one in 19, which is more than five in a hundred.
pub const LEAST_LEARNED_FROM: usize = 19;

/// Variable that holds the length of a fault of Litmus, in seconds.
const LITMUS_DURATION: &str = "TOTAL_CHAOS_DURATION";

/// A length of time that may not be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Estimate {
    /// The critical path over `startAfter`.
    Known(SignedDuration),
    /// Some action on it has no time that can be read from the template.
    Unknown,
}

impl Estimate {
    /// Returns the length, if it is known.
    pub fn known(self) -> Option<SignedDuration> {
        match self {
            Self::Known(length) => Some(length),
            Self::Unknown => None,
        }
    }
}

/// Everything that is known of how long a run takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimates {
    /// What its documents were told to do. Never longer than the ceiling.
    pub nominal: Estimate,
    /// The longest time that the template allows.
    pub ceiling: Estimate,
    /// What nineteen of twenty past runs kept to; `None` without enough of them.
    pub learned: Option<SignedDuration>,
}

impl Estimates {
    /// Takes the estimates of a template together with what was learned of it.
    pub fn of(facts: &TemplateFacts, learned: Option<SignedDuration>) -> Self {
        Self { nominal: facts.nominal(), ceiling: facts.ceiling(), learned }
    }

    /// Returns the estimate of one kind, or the ceiling where that one is not known; `None` when nothing is.
    pub fn chosen(&self, kind: EstimateKind) -> Option<SignedDuration> {
        let wanted = match kind {
            EstimateKind::Ceiling => None,
            EstimateKind::Nominal => self.nominal.known(),
            EstimateKind::Learned => self.learned,
        };
        wanted.or(self.ceiling.known())
    }
}

/// The time that a run is judged to take: the estimate that the experiment chose, but never more than its limit, at which
/// it is stopped; the limit when nothing is known.
pub fn expected(experiment: &Experiment, facts: &TemplateFacts, learned: Option<SignedDuration>) -> SignedDuration {
    let chosen = Estimates::of(facts, learned).chosen(experiment.estimate);
    chosen.map_or(experiment.max_duration, |length| length.min(experiment.max_duration))
}

/// Returns the shortest of the lengths that the next run keeps to with a chance of at least 95 in 100, if it is as the past
/// ones were: `k` such that `k / (n + 1) >= 0.95`, the `k`th of `n` in order. `None` for fewer than
/// [`LEAST_LEARNED_FROM`].
pub fn learned_p95(lengths: &[SignedDuration]) -> Option<SignedDuration> {
    let rank = (LEARNED_PERCENT * (lengths.len() + 1)).div_ceil(100);
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    sorted.get(rank - 1).copied()
}

impl TemplateFacts {
    /// Computes the longest time a run may take: the longest chain over `startAfter`, every action at its ceiling, and
    /// [`FIS_OVERHEAD`].
    pub fn ceiling(&self) -> Estimate {
        self.critical_path(TemplateAction::ceiling)
    }

    /// Computes the time a run takes when everything in it takes as long as it was told to; as [`Self::ceiling`] otherwise.
    pub fn nominal(&self) -> Estimate {
        self.critical_path(TemplateAction::nominal)
    }

    /// Returns a name that changes with anything that a run's length follows from: what was learned of an earlier one says
    /// nothing of this.
    pub fn shape(&self) -> String {
        let shapes: Vec<String> =
            self.actions.iter().map(|(name, action)| format!("{name} {}", action.shape())).collect();
        ids::fingerprint(&shapes.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn critical_path(&self, length: impl Fn(&TemplateAction) -> Option<SignedDuration>) -> Estimate {
        let mut ends: BTreeMap<&str, SignedDuration> = BTreeMap::new();
        // Each round settles at least one action unless there is a cycle, which FIS refuses and we call unknown.
        while ends.len() < self.actions.len() {
            let before = ends.len();
            for (name, action) in &self.actions {
                if ends.contains_key(name.as_str()) {
                    continue;
                }
                let Some(begin) = begin(action, &ends) else { continue };
                let Some(length) = length(action) else { return Estimate::Unknown };
                ends.insert(name, begin.saturating_add(length));
            }
            if ends.len() == before {
                return Estimate::Unknown;
            }
        }
        let path = ends.values().max().copied().unwrap_or(SignedDuration::ZERO);
        Estimate::Known(path.saturating_add(FIS_OVERHEAD))
    }
}

/// When an action begins: the latest end of what it starts after; `None` while one of those is not settled.
fn begin(action: &TemplateAction, ends: &BTreeMap<&str, SignedDuration>) -> Option<SignedDuration> {
    let mut begin = SignedDuration::ZERO;
    for name in &action.start_after {
        begin = begin.max(*ends.get(name.as_str())?);
    }
    Some(begin)
}

impl TemplateAction {
    /// Returns the longest time that the action may take; `None` when the template does not tell.
    pub fn ceiling(&self) -> Option<SignedDuration> {
        let known = catalogue::action(&self.action_id)?;
        let declared = known.duration_parameter.as_deref().and_then(|name| self.parameters.get(name));
        match (known.duration_kind, declared) {
            (DurationKind::Instant, _) | (DurationKind::PostAction, None) => Some(INSTANT_ALLOWANCE),
            (_, None) => None,
            (_, Some(text)) => {
                let length = length(text)?;
                Some(if known.has_post_action() { length.saturating_add(INSTANT_ALLOWANCE) } else { length })
            }
        }
    }

    /// Returns the time that the action takes when what it starts does as it was told; its ceiling where that is not said.
    /// Only an action whose declared time is a bound may end before it (AWS FIS user guide, actions-ssm-agent: a command
    /// that ends early does not end its action).
    pub fn nominal(&self) -> Option<SignedDuration> {
        let ceiling = self.ceiling()?;
        let is_bound = catalogue::action(&self.action_id)?.duration_kind == DurationKind::Cap;
        Some(self.inner().filter(|_| is_bound).map_or(ceiling, |inner| inner.min(ceiling)))
    }

    /// Sums the times in the JSON given to what the action starts, an SSM document or a Kubernetes custom resource: what
    /// they are told to do they do in turn. `None` when there are none, or one cannot be read.
    fn inner(&self) -> Option<SignedDuration> {
        let json = |name: &str| serde_json::from_str::<Value>(self.parameters.get(name)?).ok();
        if let Some(spec) = json("kubernetesSpec") {
            // Chaos Mesh has a `duration` in the spec, Litmus a variable in each of its experiments.
            return sum(litmus_durations(&spec)).or_else(|| sum(durations(&spec)));
        }
        sum(durations(&json("documentParameters")?))
    }

    /// Names what the action's length follows from.
    fn shape(&self) -> String {
        format!("{} {:?} {:?}", self.action_id, self.parameters, self.start_after)
    }
}

/// Adds up times; `None` when there are none, or one is not known.
fn sum(lengths: impl Iterator<Item = Option<SignedDuration>>) -> Option<SignedDuration> {
    lengths.reduce(|sum, length| Some(sum?.saturating_add(length?))).flatten()
}

/// Reads each parameter of a document whose name says that it holds a time.
fn durations(parameters: &Value) -> impl Iterator<Item = Option<SignedDuration>> {
    let all = parameters.as_object().into_iter().flatten();
    all.filter_map(|(name, value)| Some(inner_length(unit(name)?, value)))
}

/// Reads the length of each experiment of a Litmus ChaosEngine.
fn litmus_durations(spec: &Value) -> impl Iterator<Item = Option<SignedDuration>> {
    let experiments = spec.get("experiments").and_then(Value::as_array).into_iter().flatten();
    experiments.map(|experiment| {
        let variables = experiment.pointer("/spec/components/env")?.as_array()?;
        let told = variables.iter().find(|variable| variable["name"] == LITMUS_DURATION)?;
        inner_length(Unit::Seconds(1), told.get("value")?)
    })
}

/// How a parameter of a document writes a time.
#[derive(Clone, Copy)]
enum Unit {
    /// ISO 8601, or a number with its unit; a bare number could be anything.
    Written,
    /// A number of that many seconds each.
    Seconds(i64),
}

/// Tells by its name whether a parameter holds how long something is done: `duration`, `Duration`, `ExperimentDuration`,
/// `DurationSeconds`, `durationInMinutes`. A bound on it says nothing of that.
fn unit(name: &str) -> Option<Unit> {
    let name = name.to_ascii_lowercase();
    let ends = |endings: [&str; 2]| endings.iter().any(|ending| name.ends_with(ending));
    if name.starts_with("max") || name.starts_with("min") {
        None
    } else if ends(["durationseconds", "durationinseconds"]) {
        Some(Unit::Seconds(1))
    } else if ends(["durationminutes", "durationinminutes"]) {
        Some(Unit::Seconds(60))
    } else if name.ends_with("duration") {
        Some(Unit::Written)
    } else {
        None
    }
}

/// Reads a time as a document takes it: a text, a number, or a list of one of them, as SSM has it.
fn inner_length(unit: Unit, value: &Value) -> Option<SignedDuration> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => match items.as_slice() {
            [Value::String(text)] => text.clone(),
            _ => return None,
        },
        _ => return None,
    };
    match unit {
        Unit::Written => length(&text),
        Unit::Seconds(each) => {
            let count: u32 = text.trim().parse().ok()?;
            Some(SignedDuration::from_secs(i64::from(count).saturating_mul(each)))
        }
    }
}

fn length(text: &str) -> Option<SignedDuration> {
    text.parse::<SignedDuration>().ok().filter(|length| !length.is_negative())
}
