//! Experiments: what the configuration declares, checked and ready for the planner.
//!
//! Pure data. [`Rules`] is everything the planner knows of the configuration; nothing here is read from a file
//! (see `config`) or from FIS (see [`crate::domain::template`]).

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::{
    calendar::reading,
    cost::Budget,
    deployment::{Reading, Supersede},
    event::mapping::Mapping,
    ids::{CalendarName, ExperimentName, Name},
    pattern::{Matcher, Pattern, UnreadableText},
    place::{Health, PlaceLimits},
    policy::TemplatePolicy,
    schedule::Schedule,
    window::Windows,
};

/// FIS ends every experiment after twelve hours (AWS FIS user guide, fis-quotas).
pub const FIS_MAX_DURATION: SignedDuration = SignedDuration::from_hours(12);

/// Everything the planner knows of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Experiments by name.
    pub experiments: BTreeMap<ExperimentName, Experiment>,
    /// Blackout and allowed windows of all scopes, in name order.
    pub windows: Windows,
    /// Groups of experiments of which one runs at a time, by name; one that is not here has no gap.
    pub groups: BTreeMap<Name, Group>,
    /// What runs may cost.
    pub budget: Budget,
    /// Which places may be used, and how much may go on in one.
    pub limits: PlaceLimits,
    /// How bodies of other shapes become events; the first that takes a body counts.
    pub mappings: Vec<Mapping>,
    /// What the configuration says, in short, for replicas to compare; empty where it is not known.
    pub fingerprint: String,
    /// What they share with others that say the same; `None`: no others do.
    pub edition: Option<Arc<()>>,
    /// What [`Rules::triggered_by`] compiles of the experiments' triggers; they must not change behind it.
    pub compiled: Compiled,
}

/// The patterns of all triggers as one, compiled when first asked. A copy compiles its own.
#[derive(Default)]
pub struct Compiled(OnceLock<(Matcher, Vec<(ExperimentName, usize)>)>);

impl Clone for Compiled {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Compiled").field(&self.0.get().is_some()).finish()
    }
}

impl Rules {
    /// Returns the same rules with what is now known of their calendars: the same edition where those say what they said.
    #[must_use]
    pub fn with_readings(self, readings: &BTreeMap<CalendarName, reading::Reading>) -> Self {
        let windows = self.windows.with_readings(readings);
        let kept = self.edition.filter(|_| windows.say_the_same(&self.windows));
        Self { edition: kept.or_else(|| Some(Arc::default())), windows, ..self }
    }

    /// Tells whether other rules judge as these do, but for how old they take a calendar to be.
    pub fn are_as(&self, other: &Self) -> bool {
        let editions = self.edition.as_ref().zip(other.edition.as_ref());
        std::ptr::eq(self, other) || editions.is_some_and(|(own, other)| Arc::ptr_eq(own, other))
    }

    /// Returns the triggers whose patterns match an event, given as text: in the order of the experiments' names, those of
    /// one experiment in their own.
    ///
    /// # Errors
    /// [`UnreadableText`] for what is no JSON object where any pattern looks; then nothing is known of any trigger.
    pub fn triggered_by(&self, event: &str) -> Result<Vec<(&Experiment, &EventTrigger)>, UnreadableText> {
        let (matcher, places) = self.compiled.0.get_or_init(|| {
            let triggers = |experiment: &Experiment| {
                let name = experiment.name.clone();
                (0..experiment.triggers.len()).map(move |number| (name.clone(), number))
            };
            let places = self.experiments.values().flat_map(triggers).collect();
            let all = self.experiments.values().flat_map(|experiment| &experiment.triggers);
            (Matcher::new(all.map(|trigger| &trigger.pattern)), places)
        });
        let at = |own: usize| {
            let (name, number) = places.get(own)?;
            let experiment = self.experiments.get(name)?;
            Some((experiment, experiment.triggers.get(*number)?))
        };
        Ok(matcher.matching(event)?.into_iter().filter_map(at).collect())
    }
}

/// A group of experiments of which one runs at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Group {
    /// Least time from the end of a run to the start of the next one of the group.
    pub min_gap: SignedDuration,
}

/// One declared experiment: a FIS template, what starts it, and its limits.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// Its name, unique in the configuration.
    pub name: ExperimentName,
    /// Which FIS template it runs.
    pub template: TemplateSelector,
    /// Where FIS is called for it.
    pub place: Place,
    /// Our own labels: windows select by them, and they are put on the FIS experiment as tags.
    pub tags: BTreeMap<String, String>,
    /// What it is about, in a word of the configuration's own; windows select by it. `None` means none of them.
    pub environment: Option<String>,
    /// Whether its tags and its environment are known.
    pub labels: Labels,
    /// AWS account that it runs in, 12 digits; `None` when it is not known.
    pub account: Option<String>,
    /// What happens when a run of it is due while another is going on.
    pub overlap: Overlap,
    /// What else bounds its runs.
    pub limits: Limits,
    /// What is demanded of its template.
    pub policy: TemplatePolicy,
    /// What has to be well before a run starts; `None` when nothing is asked.
    pub health: Option<Health>,
    /// A run is stopped after this time since its start, and never expected to last longer. More than zero, at most
    /// [`FIS_MAX_DURATION`].
    pub max_duration: SignedDuration,
    /// Which estimate of a run's length a start is judged by.
    pub estimate: EstimateKind,
    /// Schedules, names unique within the experiment.
    pub schedules: Vec<Schedule>,
    /// Event triggers; an event starts at most one run of the experiment, by the first trigger that matches.
    pub triggers: Vec<EventTrigger>,
}

impl Experiment {
    /// Stands for an experiment that left the configuration, and of which nothing else is known: no triggers, no tags, FIS's
    /// own limit of time. [`Run::under`](super::run::Run::under) adds what a run was begun with.
    pub fn gone(name: ExperimentName) -> Self {
        Self {
            name,
            template: TemplateSelector::Tags(BTreeMap::new()),
            place: Place::default(),
            tags: BTreeMap::new(),
            environment: None,
            labels: Labels::Known,
            account: None,
            overlap: Overlap::Skip,
            limits: Limits::default(),
            policy: TemplatePolicy::default(),
            health: None,
            max_duration: FIS_MAX_DURATION,
            estimate: EstimateKind::Ceiling,
            schedules: Vec::new(),
            triggers: Vec::new(),
        }
    }
}

/// What of an experiment holds for a run that is begun of it up to the run's end, also where the experiment leaves the
/// configuration meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ties {
    /// Which template it ran: an experiment that runs it in the same place may be the same one under another name.
    pub template: TemplateSelector,
    /// See [`Limits::groups`].
    pub groups: Vec<Name>,
    /// See [`Limits::targets`].
    pub targets: Targets,
    /// See [`Experiment::max_duration`].
    pub max_duration: SignedDuration,
}

impl Ties {
    /// Returns what holds for a run that is begun now.
    pub fn of(experiment: &Experiment) -> Self {
        let Limits { groups, targets, .. } = &experiment.limits;
        Self {
            template: experiment.template.clone(),
            groups: groups.clone(),
            targets: *targets,
            max_duration: experiment.max_duration,
        }
    }
}

/// Whether the tags and the environment of an experiment are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Labels {
    /// They are.
    #[default]
    Known,
    /// They were, until the experiment left the configuration.
    Forgotten,
}

/// How a FIS template is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TemplateSelector {
    /// By its id, `EXT…`.
    Id(String),
    /// By tags that exactly one template must carry, all of them.
    Tags(BTreeMap<String, String>),
}

/// Where FIS is called: Region, endpoint and role. `None` means the agent's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// AWS Region.
    pub region: Option<String>,
    /// Endpoint URL that replaces AWS's.
    pub endpoint_url: Option<String>,
    /// IAM role to assume.
    pub role_arn: Option<String>,
}

impl Place {
    /// Returns the account of the role.
    pub fn account(&self) -> Option<String> {
        self.role_arn.as_ref()?.split(':').nth(4).map(str::to_owned)
    }
}

/// What happens when a run is due while another run of the same experiment is going on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Overlap {
    /// The new one is skipped.
    #[default]
    Skip,
    /// The new one waits for its end; a further one is skipped while one waits.
    QueueOne,
    /// The new one waits for its turn, up to [`MAX_QUEUED`] do.
    QueueAll,
    /// The other is stopped, and the new one waits for its end.
    StopOther,
    /// Both go on.
    Allow,
}

/// Most runs of an experiment that wait for their turn.
pub const MAX_QUEUED: usize = 100;

/// What bounds the runs of an experiment besides its windows and its own length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long a run may wait for its turn, from the instant at which it was due.
    pub queue_for: SignedDuration,
    /// Least time from the end of a run to the start of the next one; zero for none.
    pub min_gap: SignedDuration,
    /// Groups it is in: of each, one experiment runs at a time.
    pub groups: Vec<Name>,
    /// Whether it may run beside an experiment with which it shares a target.
    pub targets: Targets,
    /// What happens after a run that failed.
    pub on_failure: OnFailure,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_for: FIS_MAX_DURATION,
            min_gap: SignedDuration::ZERO,
            groups: Vec::new(),
            targets: Targets::Exclusive,
            on_failure: OnFailure::Continue,
        }
    }
}

/// Whether an experiment may run beside one with which it shares a target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Targets {
    /// It may not.
    #[default]
    Exclusive,
    /// It may, if the other one says so too.
    Shared,
}

/// What happens to an experiment after a run of it that failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Nothing.
    #[default]
    Continue,
    /// It is paused until somebody resumes it.
    Pause,
    /// By kind: what only a change of the configuration can mend waits for one (or for somebody who resumes it), what time
    /// may mend waits longer after each failure.
    Classify,
}

/// Which estimate of a run's length a start is judged by; the ceiling wherever the chosen one is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EstimateKind {
    /// The longest time that the template allows.
    #[default]
    Ceiling,
    /// The time that the documents inside it were told to take.
    Nominal,
    /// The time that nineteen of twenty past runs kept to.
    Learned,
}

/// One event trigger of an experiment.
#[derive(Debug, Clone)]
pub struct EventTrigger {
    /// EventBridge event pattern.
    pub pattern: Pattern,
    /// Queues and webhooks that its events may come from, by our names; empty for any.
    pub sources: Vec<Name>,
    /// Where it stands what was deployed.
    pub reading: Reading,
    /// Time between the event and the earliest start, so that a rollout comes to rest.
    pub settle: SignedDuration,
    /// How long a run may wait for a blackout to lift; zero means it is skipped.
    pub hold_for: SignedDuration,
    /// How long after settling a run may still start (inclusive), time held in a blackout not counted.
    pub start_deadline: SignedDuration,
    /// How long further events of the same key may postpone the start by settling anew; `None` for ever.
    pub settle_limit: Option<SignedDuration>,
    /// Least age of an event (by its own `time`) at the start.
    pub min_age: SignedDuration,
    /// Greatest age of an event (by its own `time`) at the start, time held in a blackout not counted; `None` for any.
    pub max_age: Option<SignedDuration>,
    /// Whether rollbacks start runs.
    pub rollbacks: Rollbacks,
    /// What happens to a running run when a newer version of the same key is deployed.
    pub supersede: Supersede,
    /// Least time from the start of a run to the start of the next one of the same key; zero for none.
    pub cool_down: SignedDuration,
    /// One deployment in so many is taken, by a draw that its key and version decide; 1 is every one.
    pub one_in: u32,
}

/// Whether deployments that go back to an earlier version start runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rollbacks {
    /// They do, as any other.
    #[default]
    Run,
    /// They are skipped.
    Skip,
}

impl EventTrigger {
    /// Makes a trigger that asks for nothing but its pattern.
    pub fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            sources: Vec::new(),
            reading: Reading::default(),
            settle: SignedDuration::ZERO,
            hold_for: SignedDuration::ZERO,
            start_deadline: SignedDuration::from_mins(10),
            settle_limit: None,
            min_age: SignedDuration::ZERO,
            max_age: None,
            rollbacks: Rollbacks::default(),
            supersede: Supersede::default(),
            cool_down: SignedDuration::ZERO,
            one_in: 1,
        }
    }
}
