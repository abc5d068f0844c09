//! A world of the forecast: the planner's rows in memory, and FIS as it is expected to be.
//!
//! Pure. One world holds one cluster of experiments and its own time; see [`super`].

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Basis, Cluster, Expected, Outlook};
use crate::domain::{
    cost::{self, Cost},
    estimate,
    experiment::{Rules, TemplateSelector},
    fis::{FisExperiment, FisStatus},
    ids::{ExperimentName, RunId},
    ledger::Definition,
    plan::{self, Effect, Mode, Snapshot},
    run::{Adopted, HoldReason, Observation, Run, RunState, StopRequestState, Trigger},
    template::{TemplateAction, TemplateFacts},
};

pub(super) struct World<'a> {
    snapshot: Snapshot<'a>,
    facts: &'a BTreeMap<ExperimentName, TemplateFacts>,
    /// When each started run began and ends.
    ends: BTreeMap<RunId, (Timestamp, Timestamp)>,
    /// What those ends rest on, and what the runs cost.
    known: BTreeMap<RunId, (Basis, Cost)>,
    /// What runs wait for, or waited for.
    held: BTreeMap<RunId, HoldReason>,
    expected: Vec<Expected>,
    from: Timestamp,
    now: Timestamp,
}

impl<'a> World<'a> {
    /// Makes the world of a cluster as it stands at `from`. The rules are those of the cluster alone.
    pub(super) fn new(rules: &'a Rules, outlook: &'a Outlook, cluster: &Cluster, from: Timestamp) -> Self {
        let before = from.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(from);
        let mut cursors = BTreeMap::new();
        for experiment in rules.experiments.values() {
            for schedule in &experiment.schedules {
                let key = (experiment.name.clone(), schedule.timetable().clone());
                let cursor = outlook.cursors.get(&key).map_or(before, |cursor| before.max(*cursor));
                cursors.insert(key, cursor);
            }
        }
        let runs = outlook.runs.iter().filter(|run| cluster.contains(&run.experiment)).cloned().collect();
        let snapshot = Snapshot {
            rules,
            cursors,
            runs,
            halt: outlook.halt.clone(),
            stops: outlook.stops.clone(),
            // A budget counts what everybody spent, also who is no longer declared.
            ledgers: match rules.budget.monthly {
                Some(_) => outlook.ledgers.clone(),
                None => of_cluster(&outlook.ledgers, cluster),
            },
            pauses: of_cluster(&outlook.pauses, cluster),
            mode: Mode::Active,
            busy: BTreeSet::new(),
        };
        let mut world = Self {
            snapshot,
            facts: &outlook.facts,
            ends: BTreeMap::new(),
            known: BTreeMap::new(),
            held: BTreeMap::new(),
            expected: Vec::new(),
            from,
            now: from,
        };
        world.take_up();
        world
    }

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

    /// Plans from wake to wake, in so many passes at most; returns what is expected and how far it came.
    pub(super) fn run_until(mut self, to: Timestamp, passes: usize) -> (Vec<Expected>, Timestamp) {
        let mut until = None;
        for _ in 0..passes {
            self.look_at_all();
            let (effects, wake) = plan::look(&self.snapshot, self.now);
            if effects.is_empty() {
                let wake = wake.into_iter().chain(self.next_end()).min().filter(|wake| *wake < to);
                let Some(wake) = wake else {
                    until = Some(to);
                    break;
                };
                self.now = wake.max(after(self.now, SignedDuration::from_nanos(1)));
                continue;
            }
            for effect in effects {
                self.perform(effect);
            }
            self.put_away(Run::is_over);
        }
        self.put_away(|_| true);
        (self.expected, until.unwrap_or(self.now))
    }

    /// Keeps what is expected of runs in place of the runs.
    fn put_away(&mut self, chosen: fn(&Run) -> bool) {
        for mut run in self.snapshot.runs.extract_if(.., |run| chosen(run)) {
            let runs_from_to = self.ends.remove(&run.id);
            let waited_for = self.held.remove(&run.id);
            let (basis, cost) = self.known.remove(&run.id).unzip();
            let basis = basis.unwrap_or(Basis::Template);
            (run.facts, run.fis) = (None, None);
            match run.trigger {
                Trigger::Slot { at: slot, .. } if slot >= self.from => {
                    self.expected.push(Expected { slot, run, runs_from_to, basis, waited_for, cost });
                }
                Trigger::Slot { .. } | Trigger::Event { .. } | Trigger::Manual { .. } | Trigger::Backfill { .. } => {}
            }
        }
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
            Effect::Record { run, observation } => {
                if let Observation::Held { reason, .. } = &observation {
                    self.held.insert(run.clone(), reason.clone());
                }
                self.apply(&run, &[observation]);
            }
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
            let definition = self.snapshot.rules.experiments.get(&run.experiment).map(Definition::of);
            let ledger = self.snapshot.ledgers.entry(run.experiment.clone()).or_default();
            for observation in observations {
                if run.take(observation, now).is_err() {
                    break;
                }
                // What is assumed of lengths teaches nothing.
                let lengths = std::mem::take(&mut ledger.lengths);
                ledger.note(run, observation, now, definition.as_ref());
                ledger.lengths = lengths;
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
        let rules = self.snapshot.rules;
        let run = self.find(id);
        let known = run.and_then(|run| rules.experiments.get(&run.experiment).zip(run.facts.as_ref()));
        let takes = known.map_or(SignedDuration::ZERO, |(experiment, facts)| {
            facts.ceiling().known().unwrap_or(experiment.max_duration)
        });
        let known = known.map(|(experiment, facts)| {
            let basis = facts.ceiling().known().map_or(Basis::Limit, |_| Basis::Template);
            (basis, cost::cost(experiment, facts, &rules.budget))
        });
        self.known.extend(known.map(|known| (id.clone(), known)));
        let end = after(self.now, takes);
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
}

/// The rows of a cluster's experiments.
fn of_cluster<T: Clone>(rows: &BTreeMap<ExperimentName, T>, cluster: &Cluster) -> BTreeMap<ExperimentName, T> {
    let known = cluster.iter().filter_map(|name| rows.get_key_value(name));
    known.map(|(name, row)| (name.clone(), row.clone())).collect()
}

/// Stands for a template that was never read: one action of unknown length.
fn unknown_template(id: String, now: Timestamp) -> TemplateFacts {
    let action = TemplateAction { action_id: "unknown".to_owned(), ..TemplateAction::default() };
    let actions = BTreeMap::from([("unknown".to_owned(), action)]);
    TemplateFacts { id, actions, read_at: now, ..TemplateFacts::default() }
}

fn after(at: Timestamp, length: SignedDuration) -> Timestamp {
    at.saturating_add(length).unwrap_or(Timestamp::MAX)
}
