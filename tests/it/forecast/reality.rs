//! A reality for the planner: rows, a clock and a FIS whose experiments take exactly as long as their template says.
//!
//! It is no forecast: FIS is polled at the planner's own pace, the agent may be away for seconds at any time, and the
//! configuration may be exchanged under the rows.

use std::collections::{BTreeMap, BTreeSet};

use firedrill::domain::{
    experiment::Rules,
    fis::FisStatus,
    forecast::Outlook,
    ids::{ExperimentName, RunId},
    ledger::{Definition, Ledger},
    plan::{self, Cursors, Effect, Mode, PauseRow, Places, Snapshot, Withheld},
    run::{Adopted, HoldReason, Observation, Run, RunState, SkipReason, Trigger},
    template::TemplateFacts,
};
use jiff::{SignedDuration, Timestamp};

use crate::support::{
    chance::Chance,
    world::{facts, fis},
};

/// Most steps of one life.
const MOST_STEPS: usize = 2_000_000;

pub struct Reality {
    pub now: Timestamp,
    cursors: Cursors,
    runs: Vec<Run>,
    over: Vec<Run>,
    ends: BTreeMap<RunId, Timestamp>,
    ledgers: BTreeMap<ExperimentName, Ledger>,
    pub pauses: BTreeMap<ExperimentName, PauseRow>,
    takes_s: i64,
}

impl Reality {
    /// Begins at an instant; every experiment takes so many seconds.
    pub fn new(now: Timestamp, takes_s: i64) -> Self {
        Self {
            now,
            cursors: BTreeMap::new(),
            runs: Vec::new(),
            over: Vec::new(),
            ends: BTreeMap::new(),
            ledgers: BTreeMap::new(),
            pauses: BTreeMap::new(),
            takes_s,
        }
    }

    /// What a forecast knows of it.
    pub fn outlook(&self, rules: &Rules) -> Outlook {
        let known = |name: &ExperimentName| (name.clone(), self.template());
        Outlook {
            cursors: self.cursors.clone(),
            runs: self.runs.clone(),
            ledgers: self.ledgers.clone(),
            pauses: self.pauses.clone(),
            facts: rules.experiments.keys().map(known).collect(),
            ..Outlook::default()
        }
    }

    fn template(&self) -> TemplateFacts {
        facts(self.takes_s, self.now)
    }

    /// Lives until an instant (exclusive), with absences of up to so many seconds.
    pub fn live_until(&mut self, rules: &Rules, to: Timestamp, chance: &mut Chance, away_s: u64) {
        for _ in 0..MOST_STEPS {
            let snapshot = Snapshot {
                rules,
                cursors: std::mem::take(&mut self.cursors),
                runs: std::mem::take(&mut self.runs),
                halt: None,
                stops: BTreeMap::new(),
                ledgers: std::mem::take(&mut self.ledgers),
                pauses: std::mem::take(&mut self.pauses),
                deployed: BTreeMap::new(),
                mode: Mode::Active,
                hints: BTreeMap::new(),
                busy: BTreeSet::new(),
                places: Places::AssumedFine,
                withheld: Withheld::default(),
                restored_at: None,
                aged: BTreeSet::new(),
            };
            let effects = plan::plan(&snapshot, self.now);
            let wake = if effects.is_empty() { plan::next_wake(&snapshot, self.now) } else { None };
            Snapshot { cursors: self.cursors, runs: self.runs, ledgers: self.ledgers, pauses: self.pauses, .. } =
                snapshot;
            if effects.is_empty() {
                let Some(wake) = wake.filter(|wake| *wake < to) else {
                    self.now = to;
                    return;
                };
                self.now = wake.max(self.now + SignedDuration::from_nanos(1));
                if away_s > 0 && chance.one_in(50) {
                    let away = i64::try_from(chance.between(1, away_s)).expect("seconds");
                    self.now += SignedDuration::from_secs(away);
                }
            }
            for effect in effects {
                self.perform(rules, effect);
            }
            self.over.extend(self.runs.extract_if(.., |run| run.is_over()));
        }
        panic!("no end at {}", self.now);
    }

    fn perform(&mut self, rules: &Rules, effect: Effect) {
        match effect {
            Effect::AdoptSchedule { schedule, at } => drop(self.cursors.insert(schedule, at.into())),
            Effect::LeaveSchedule { schedule, at } => {
                self.cursors.get_mut(&schedule).expect("a cursor").left_at = Some(at);
            }
            Effect::ForgetSchedule { schedule } => drop(self.cursors.remove(&schedule)),
            Effect::OpenSlots { schedule, cursor, runs } => {
                self.cursors.insert(schedule, cursor.into());
                self.runs.extend(runs);
                // As the store lists them.
                self.runs.sort_by_key(|run| run.opened_at);
            }
            Effect::Record { run, observation } => self.observe(rules, &run, &observation),
            Effect::ReadTemplate { run, .. } => {
                let facts = self.template();
                self.observe(rules, &run, &Observation::TemplateRead { facts });
            }
            Effect::Probe { .. } => panic!("places are assumed to be fine"),
            Effect::Start { run, place, template_id, facts, place_facts, ties, .. } => {
                let ties = Some(ties);
                self.observe(rules, &run, &Observation::StartAsked { place, template_id, facts, place_facts, ties });
                self.ends.insert(run.clone(), self.now + SignedDuration::from_secs(self.takes_s));
                let fis = fis(FisStatus::Running, self.now);
                self.observe(rules, &run, &Observation::Started { fis, adopted: Adopted::No });
            }
            Effect::Poll { run } => {
                let status = self.status(&run);
                self.observe(rules, &run, &Observation::Polled { fis: fis(status, self.now) });
            }
            Effect::Stop { run, cause } => {
                self.observe(rules, &run, &Observation::StopAsked { cause });
                self.observe(rules, &run, &Observation::StopTaken);
            }
            Effect::Look { .. } => panic!("every start is answered"),
        }
    }

    fn status(&self, id: &RunId) -> FisStatus {
        let run = self.runs.iter().find(|run| run.id == *id).expect("an open run");
        match run.state {
            RunState::Stopping { .. } => FisStatus::Stopped,
            _ if self.now >= self.ends[id] => FisStatus::Completed,
            _ => FisStatus::Running,
        }
    }

    fn observe(&mut self, rules: &Rules, id: &RunId, observation: &Observation) {
        let run = self.runs.iter_mut().find(|run| run.id == *id).expect("an open run");
        run.take(observation, self.now).expect("one that can follow");
        let definition = rules.experiments.get(&run.experiment).map(Definition::of);
        let ledger = self.ledgers.entry(run.experiment.clone()).or_default();
        ledger.note(run, observation, self.now, definition.as_ref());
    }

    /// Every slot from an instant on, with what was decided of it and, when it was started, whether that was in time.
    pub fn decisions(&self, from: Timestamp) -> Vec<String> {
        let runs = self.over.iter().chain(&self.runs);
        let mut slots: Vec<String> =
            runs.filter_map(|run| decided(run, self.ends.contains_key(&run.id), from)).collect();
        slots.sort();
        slots
    }
}

/// Says what was decided of a slot, the same way for what was and what was expected.
pub fn decided(run: &Run, started: bool, from: Timestamp) -> Option<String> {
    let Trigger::Slot { schedule, at, .. } = &run.trigger else { return None };
    let decision = match &run.state {
        // Whoever is away at the end of a wait finds the run late; it is not started for the same reason.
        RunState::Skipped { reason: SkipReason::Late { waited_for: Some(HoldReason::Closed { .. }), .. }, .. } => {
            "closed"
        }
        RunState::Skipped { reason, .. } => reason.as_str(),
        RunState::Finished { outcome, .. } => outcome.as_str(),
        _ if started => "running",
        _ => "waits",
    };
    (*at >= from).then(|| format!("{at} {} {schedule} {decision}", run.experiment))
}
