//! The forecast: the planner in virtual time.
//!
//! Pure. Not a second opinion but the same [`plan`] over rows that this file keeps in memory: what it says of a slot is
//! what the daemon would decide with the same rows and the same configuration. A run is assumed to take its longest time.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    estimate,
    experiment::{Rules, TemplateSelector},
    fis::{FisExperiment, FisStatus},
    ids::{ExperimentName, RunId},
    plan::{self, Effect, Halt, Mode, ScheduleKey, Snapshot, StopRequest},
    run::{Adopted, Observation, Run, RunState, StopRequestState, Trigger},
    template::TemplateFacts,
};

/// Most passes of one forecast; beyond, it ends early and says so.
pub const MAX_PASSES: usize = 200_000;

/// What a forecast starts from.
#[derive(Debug, Clone, Default)]
pub struct Outlook {
    /// Cursors of schedules; those without one begin at the forecast's start.
    pub cursors: BTreeMap<ScheduleKey, Timestamp>,
    /// Runs that are not over. One that goes on is assumed to take its longest time.
    pub runs: Vec<Run>,
    /// Stops that operators asked for.
    pub stops: BTreeMap<RunId, StopRequest>,
    /// The halt, if it is on; it is assumed to stay.
    pub halt: Option<Halt>,
    /// What is known of templates, by experiment. Without it a run is assumed to take the experiment's `max_duration`.
    pub facts: BTreeMap<ExperimentName, TemplateFacts>,
}

/// What is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    /// Every slot's run, over or not, in the order of their slots.
    pub runs: Vec<Expected>,
    /// The instant up to which slots were considered (exclusive), earlier than asked for when there were too many.
    pub until: Timestamp,
}

/// A run that is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its slot.
    pub slot: Timestamp,
    /// The run as it will be.
    pub run: Run,
    /// When it starts and ends at the latest; `None` when it is not started.
    pub runs_from_to: Option<(Timestamp, Timestamp)>,
}

/// Forecasts every slot in `[from, to)`.
pub fn forecast(rules: &Rules, outlook: &Outlook, from: Timestamp, to: Timestamp) -> Forecast {
    let before = from.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(from);
    let mut world = World {
        snapshot: Snapshot {
            rules,
            cursors: outlook.cursors.clone(),
            runs: outlook.runs.clone(),
            halt: outlook.halt.clone(),
            stops: outlook.stops.clone(),
            mode: Mode::Active,
            busy: BTreeSet::new(),
        },
        facts: &outlook.facts,
        ends: BTreeMap::new(),
        over: Vec::new(),
        now: from,
    };
    for experiment in rules.experiments.values() {
        for schedule in &experiment.schedules {
            let cursor =
                world.snapshot.cursors.entry((experiment.name.clone(), schedule.timetable())).or_insert(before);
            *cursor = (*cursor).max(before);
        }
    }
    world.take_up();
    let until = world.run_until(to);
    world.into_forecast(from, until)
}

struct World<'a> {
    snapshot: Snapshot<'a>,
    facts: &'a BTreeMap<ExperimentName, TemplateFacts>,
    /// When each started run began and ends.
    ends: BTreeMap<RunId, (Timestamp, Timestamp)>,
    over: Vec<Run>,
    now: Timestamp,
}

impl World<'_> {
    /// Assumes an end for every run that goes on already.
    fn take_up(&mut self) {
        for run in &self.snapshot.runs {
            let (RunState::Running { since, .. } | RunState::Stopping { since, .. }) = &run.state else { continue };
            let experiment = self.snapshot.rules.experiments.get(&run.experiment);
            let expected = experiment.zip(run.facts.as_ref()).map(|(e, facts)| estimate::expected(e, facts, None));
            let end = after(*since, expected.unwrap_or(SignedDuration::ZERO)).max(self.now);
            self.ends.insert(run.id.clone(), (*since, end));
        }
    }

    /// Plans from wake to wake; returns how far it came.
    fn run_until(&mut self, to: Timestamp) -> Timestamp {
        for _ in 0..MAX_PASSES {
            self.look_at_all();
            let effects = plan::plan(&self.snapshot, self.now);
            if effects.is_empty() {
                let decision = plan::next_decision(&self.snapshot, self.now);
                let Some(wake) = decision.into_iter().chain(self.next_end()).min() else { return to };
                if wake >= to {
                    return to;
                }
                self.now = wake.max(after(self.now, SignedDuration::from_nanos(1)));
                continue;
            }
            for effect in effects {
                self.perform(effect);
            }
            let (over, open): (Vec<Run>, Vec<Run>) =
                std::mem::take(&mut self.snapshot.runs).into_iter().partition(Run::is_over);
            self.over.extend(over);
            self.snapshot.runs = open;
        }
        self.now
    }

    /// Tells every run that goes on how its experiment is, so that its end is known at its instant and no pass is spent on
    /// polls.
    fn look_at_all(&mut self) {
        let now = self.now;
        for run in &mut self.snapshot.runs {
            let Some((_, end)) = self.ends.get_mut(&run.id) else { continue };
            let ended = match &mut run.state {
                RunState::Running { watch, .. } => {
                    watch.asked_at = Some(now);
                    (now >= *end).then_some(FisStatus::Completed)
                }
                RunState::Stopping { request: StopRequestState::Taken { .. }, .. } => {
                    *end = now;
                    Some(FisStatus::Stopped)
                }
                _ => None,
            };
            if let (Some(status), Some(fis)) = (ended, &mut run.fis) {
                fis.status = status;
            }
        }
    }

    /// When the next experiment ends that is not being stopped.
    fn next_end(&self) -> Option<Timestamp> {
        let running = self.snapshot.runs.iter().filter(|run| matches!(run.state, RunState::Running { .. }));
        running.filter_map(|run| self.ends.get(&run.id)).map(|(_, end)| *end).filter(|end| *end > self.now).min()
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::AdoptSchedule { schedule, at } => {
                self.snapshot.cursors.insert(schedule, at);
            }
            Effect::ForgetSchedule { schedule } => {
                self.snapshot.cursors.remove(&schedule);
            }
            Effect::OpenSlots { schedule, cursor, runs } => {
                self.snapshot.cursors.insert(schedule, cursor);
                self.snapshot.runs.extend(runs);
            }
            Effect::Record { run, observation } => self.apply(&run, &[observation]),
            Effect::ReadTemplate { run, template, .. } => {
                let facts = self.facts_of(&run, &template);
                self.apply(&run, &[Observation::TemplateRead { facts }]);
            }
            Effect::Start { run, place, template_id, .. } => {
                let fis = self.begin(&run, &template_id);
                let asked = Observation::StartAsked { place, template_id };
                self.apply(&run, &[asked, Observation::Started { fis, adopted: Adopted::No }]);
            }
            Effect::Look { run } => {
                let template_id =
                    self.find(&run).and_then(|run| Some(run.facts.as_ref()?.id.clone())).unwrap_or_default();
                let fis = self.begin(&run, &template_id);
                self.apply(&run, &[Observation::Started { fis, adopted: Adopted::ByTag }]);
            }
            Effect::Poll { run } => {
                let Some(fis) = self.find(&run).and_then(|run| run.fis.clone()) else { return };
                self.apply(&run, &[Observation::Polled { fis }]);
            }
            Effect::Stop { run, cause } => {
                self.apply(&run, &[Observation::StopAsked { cause }, Observation::StopTaken]);
            }
        }
    }

    fn find(&self, id: &RunId) -> Option<&Run> {
        self.snapshot.runs.iter().find(|run| run.id == *id)
    }

    /// Applies observations; one that does not fit ends the run's part in the forecast where it stands.
    fn apply(&mut self, id: &RunId, observations: &[Observation]) {
        let now = self.now;
        if let Some(run) = self.snapshot.runs.iter_mut().find(|run| run.id == *id) {
            for observation in observations {
                if let Ok(next) = run.clone().apply(observation, now) {
                    *run = next;
                }
            }
        }
    }

    fn facts_of(&self, id: &RunId, template: &TemplateSelector) -> TemplateFacts {
        let fits = |facts: &&TemplateFacts| match template {
            TemplateSelector::Id(id) => facts.id == *id,
            TemplateSelector::Tags(_) => true,
        };
        let known = self.find(id).and_then(|run| self.facts.get(&run.experiment)).filter(fits);
        let named = match template {
            TemplateSelector::Id(id) => id.clone(),
            TemplateSelector::Tags(_) => "unknown".to_owned(),
        };
        match known {
            Some(facts) => TemplateFacts { read_at: self.now, ..facts.clone() },
            None => unknown_template(named, self.now),
        }
    }

    fn begin(&mut self, id: &RunId, template_id: &str) -> FisExperiment {
        let takes = self.find(id).and_then(|run| match run.facts.as_ref()?.ceiling().known() {
            Some(length) => Some(length),
            None => Some(self.snapshot.rules.experiments.get(&run.experiment)?.max_duration),
        });
        let end = after(self.now, takes.unwrap_or(SignedDuration::ZERO));
        self.ends.insert(id.clone(), (self.now, end));
        FisExperiment {
            id: "forecast".to_owned(),
            template_id: template_id.to_owned(),
            status: FisStatus::Running,
            reason: String::new(),
            error: None,
            preview: false,
            created_at: Some(self.now),
            started_at: Some(self.now),
            ended_at: None,
            actions: BTreeMap::new(),
            lever_engaged: None,
        }
    }

    fn into_forecast(self, from: Timestamp, until: Timestamp) -> Forecast {
        let Self { snapshot, ends, mut over, .. } = self;
        over.extend(snapshot.runs);
        let expected = |run: Run| match run.trigger {
            Trigger::Slot { at, .. } if at >= from => {
                Some(Expected { slot: at, runs_from_to: ends.get(&run.id).copied(), run })
            }
            Trigger::Slot { .. } | Trigger::Event { .. } | Trigger::Manual { .. } => None,
        };
        let mut runs: Vec<Expected> = over.into_iter().filter_map(expected).collect();
        runs.sort_by(|a, b| (a.slot, &a.run.experiment).cmp(&(b.slot, &b.run.experiment)));
        Forecast { runs, until }
    }
}

/// Stands for a template that was never read: one action of unknown length.
fn unknown_template(id: String, now: Timestamp) -> TemplateFacts {
    let action = super::template::TemplateAction { action_id: "unknown".to_owned(), ..Default::default() };
    let actions = BTreeMap::from([("unknown".to_owned(), action)]);
    TemplateFacts { id, actions, read_at: now, ..TemplateFacts::default() }
}

fn after(at: Timestamp, length: SignedDuration) -> Timestamp {
    at.saturating_add(length).unwrap_or(Timestamp::MAX)
}
