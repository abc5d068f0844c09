//! A world of the forecast: the planner's rows in memory, and FIS as it is expected to be.
//!
//! Pure. One world holds one cluster of experiments and its own time; see [`super`].

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Basis, Cluster, Expected, Outlook};
use crate::domain::{
    civil::later,
    cost::{self, Cost},
    deployment::Deployed,
    experiment::{Experiment, FIS_MAX_DURATION, Rules, TemplateSelector},
    fis::{FisAction, FisExperiment, FisStatus},
    ids::{ExperimentName, RunId},
    ledger::Definition,
    plan::{self, Effect, Explained, Mode, Places, Snapshot, Withheld},
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
    /// The slot whose decision is to be explained.
    pub(super) asked: Option<(&'a ExperimentName, Timestamp)>,
    /// By which rules it was decided last.
    pub(super) explained: Vec<Explained>,
    /// Passes that are left.
    passes: usize,
}

impl<'a> World<'a> {
    /// Makes the world of a cluster as it stands at `from`, good for so many passes. The rules are those of the cluster alone.
    pub(super) fn new(
        rules: &'a Rules,
        outlook: &'a Outlook,
        cluster: &Cluster,
        from: Timestamp,
        passes: usize,
    ) -> Self {
        let before = from.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(from);
        let mut cursors = BTreeMap::new();
        for experiment in rules.experiments.values() {
            for schedule in &experiment.schedules {
                let key = (experiment.name.clone(), schedule.timetable().clone());
                let cursor = outlook.cursors.get(&key).map_or(before, |cursor| before.max(cursor.at));
                cursors.insert(key, cursor.into());
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
            deployed: outlook.deployed.clone(),
            mode: Mode::Active,
            hints: BTreeMap::new(),
            busy: BTreeSet::new(),
            places: Places::AssumedFine,
            withheld: Withheld::default(),
            restored_at: None,
            aged: BTreeSet::new(),
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
            asked: None,
            explained: Vec::new(),
            passes,
        };
        world.take_up();
        world
    }

    /// Assumes an end for every run that goes on already.
    fn take_up(&mut self) {
        for run in &self.snapshot.runs {
            let (RunState::Running { since, .. } | RunState::Stopping { since, .. }) = &run.state else { continue };
            // What is no longer declared keeps its groups, its targets and its length.
            let experiment = run.under(self.snapshot.rules);
            let takes = run.facts.as_ref().map_or(FIS_MAX_DURATION, |facts| longest(&experiment, facts));
            let end = later(*since, takes).max(self.now);
            self.ends.insert(run.id.clone(), (*since, end));
        }
    }

    /// Plans from wake to wake up to an instant (exclusive), or until its passes are used up.
    pub(super) fn advance(&mut self, to: Timestamp) {
        while self.passes > 0 {
            self.passes -= 1;
            self.look_at_all();
            let (effects, wake) = plan::look(&self.snapshot, self.now);
            if effects.is_empty() {
                let wake = wake.into_iter().chain(self.next_end()).min().filter(|wake| *wake < to);
                let Some(wake) = wake else { return };
                self.now = wake.max(later(self.now, SignedDuration::from_nanos(1)));
                continue;
            }
            for effect in effects {
                self.explain(&effect);
                self.perform(effect);
            }
            self.put_away(Run::is_over);
        }
    }

    /// How far it came, if its passes were used up (exclusive).
    pub(super) fn cut(&self) -> Option<Timestamp> {
        (self.passes == 0).then_some(self.now)
    }

    /// Returns what is expected of every slot.
    pub(super) fn finish(mut self) -> Vec<Expected> {
        self.put_away(|_| true);
        self.expected
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
                    self.expected.push(Expected { slot, run: Box::new(run), runs_from_to, basis, waited_for, cost });
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
                fis.actions.values_mut().for_each(|action| action.ended_at = action.ended_at.min(Some(now)));
            }
        }
    }

    /// When the next experiment ends that is not being stopped.
    fn next_end(&self) -> Option<Timestamp> {
        let running = self.snapshot.runs.iter().filter(|run| matches!(run.state, RunState::Running { .. }));
        running.filter_map(|run| self.ends.get(&run.id)).map(|(_, end)| *end).filter(|end| *end > self.now).min()
    }

    /// Keeps by which rules the slot that was asked about is decided.
    fn explain(&mut self, effect: &Effect) {
        let Some((experiment, slot)) = self.asked else { return };
        let decided = match effect {
            Effect::Record { run, observation: Observation::Held { .. } | Observation::Skipped { .. } } => run,
            Effect::Start { run, .. } => run,
            _ => return,
        };
        let is_asked = |run: &&Run| {
            run.experiment == *experiment && matches!(&run.trigger, Trigger::Slot { at, .. } if *at == slot)
        };
        if let Some(run) = self.find(decided).filter(is_asked) {
            self.explained = plan::explain(&self.snapshot, run, self.now);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::AdoptSchedule { schedule, at } => {
                self.snapshot.cursors.insert(schedule, at.into());
            }
            // It lists what is declared.
            Effect::LeaveSchedule { .. } => {}
            Effect::ForgetSchedule { schedule } => {
                self.snapshot.cursors.remove(&schedule);
            }
            Effect::OpenSlots { schedule, cursor, runs } => {
                self.snapshot.cursors.insert(schedule, cursor.into());
                self.snapshot.runs.extend(runs);
                // As the store has them, in the order in which they were opened: who comes first decides who has to wait.
                self.snapshot.runs.sort_by_key(|run| run.opened_at);
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
            // Places are assumed to be fine, so nobody asks.
            Effect::Probe { .. } => {}
            Effect::Start { run, place, template_id, facts, place_facts, ties, .. } => {
                let (asked_of, ties) = (template_id.clone(), Some(ties));
                let asked = Observation::StartAsked { place, template_id: asked_of, facts, place_facts, ties };
                self.apply(&run, &[asked]);
                let fis = self.begin(&run, &template_id);
                self.apply(&run, &[Observation::Started { fis, adopted: Adopted::No }]);
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
                if let Some(row) = Deployed::key(run).map(|key| self.snapshot.deployed.entry(key)) {
                    row.or_default().note(run, observation, now);
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
        let facts = match known {
            Some(facts) => TemplateFacts { read_at: self.now, ..facts.clone() },
            None => unknown_template(named, self.now),
        };
        // What a template was never asked for is assumed to be as demanded: the agent asks before it starts.
        let policy = self.find(id).and_then(|run| self.snapshot.rules.experiments.get(&run.experiment));
        let assumed = || policy.map(|experiment| experiment.policy.met());
        TemplateFacts { safeguards: facts.safeguards.clone().or_else(assumed), ..facts }
    }

    fn begin(&mut self, id: &RunId, template_id: &str) -> FisExperiment {
        let rules = self.snapshot.rules;
        let run = self.find(id);
        let known = run.and_then(|run| rules.experiments.get(&run.experiment).zip(run.facts.as_ref()));
        let takes = known.map_or(SignedDuration::ZERO, |(experiment, facts)| longest(experiment, facts));
        let known = known.map(|(experiment, facts)| {
            let basis = facts.ceiling().known().map_or(Basis::Limit, |_| Basis::Template);
            (basis, cost::cost(experiment, facts, &rules.budget))
        });
        let actions = run.map(|run| self.billed(run)).unwrap_or_default();
        self.known.extend(known.map(|known| (id.clone(), known)));
        let end = later(self.now, takes);
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
            actions,
            lever_engaged: None,
        }
    }

    /// The actions of a run as AWS bills them. Only a budget looks at them.
    fn billed(&self, run: &Run) -> BTreeMap<String, FisAction> {
        let Some(facts) = run.facts.as_ref().filter(|_| self.snapshot.rules.budget.monthly.is_some()) else {
            return BTreeMap::new();
        };
        let most = self.snapshot.rules.experiments.get(&run.experiment).map(|declared| declared.max_duration);
        let action = |(name, action): (&String, &TemplateAction)| {
            let length = action.ceiling().into_iter().chain(most).min().unwrap_or_default();
            let billed = FisAction {
                action_id: action.action_id.clone(),
                status: FisStatus::Completed,
                reason: String::new(),
                start_after: Vec::new(),
                started_at: Some(self.now),
                ended_at: Some(later(self.now, length)),
            };
            (name.clone(), billed)
        };
        facts.actions.iter().map(action).collect()
    }
}

/// The rows of a cluster's experiments.
fn of_cluster<T: Clone>(rows: &BTreeMap<ExperimentName, T>, cluster: &Cluster) -> BTreeMap<ExperimentName, T> {
    let known = cluster.iter().filter_map(|name| rows.get_key_value(name));
    known.map(|(name, row)| (name.clone(), row.clone())).collect()
}

/// How long a run is assumed to take: as long as its template allows, or as it may.
fn longest(experiment: &Experiment, facts: &TemplateFacts) -> SignedDuration {
    facts.ceiling().known().unwrap_or(experiment.max_duration)
}

/// Stands for a template that was never read: one action of unknown length.
fn unknown_template(id: String, now: Timestamp) -> TemplateFacts {
    let action = TemplateAction { action_id: "unknown".to_owned(), ..TemplateAction::default() };
    let actions = BTreeMap::from([("unknown".to_owned(), action)]);
    TemplateFacts { id, actions, read_at: now, ..TemplateFacts::default() }
}
