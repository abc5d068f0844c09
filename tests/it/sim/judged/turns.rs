//! Turns in a world: who may run beside whom, who waited in line, who was paused, and how often a schedule may begin.
//!
//! Judged by what FIS ran and by the journal alone. What a configuration that changed meanwhile allowed is granted.

use std::collections::{BTreeMap, BTreeSet};

use firedrill::domain::{
    experiment::{Experiment as Declared, MAX_QUEUED, Overlap, Rules, Targets},
    ids::{ExperimentName, RunId, ScheduleName},
    ledger::Definition,
    run::{Conflict, HoldReason, JournalEntry, Observation, Run, RunState, SkipReason, StopCause, Trigger, WindowRule},
    schedule::{Schedule, Spread},
    template::TemplateFacts,
};
use jiff::{SignedDuration, Timestamp};

use super::check::{Evidence, PASS_MS};
use crate::sim::simulated::{tables::Durable, truth::Experiment};

pub fn check(evidence: &Evidence<'_>, found: &mut Vec<String>) {
    evidence.beside(found);
    evidence.paused(found);
    evidence.gaps(found);
    evidence.limits(found);
    evidence.queues(found);
    evidence.patience(found);
    evidence.spreads(found);
    evidence.overrides(found);
    evidence.replaced(found);
}

fn is_backfill(run: &Run) -> bool {
    matches!(run.trigger, Trigger::Backfill { .. })
}

/// What a template of the simulation is aimed at.
fn app(facts: &TemplateFacts) -> Option<&String> {
    facts.targets.values().find_map(|target| target.tags.get("app"))
}

/// Why a run may not begin while another goes on, by what each is declared to be.
fn apart(
    (before, first): (&Declared, &Run),
    (declared, second): (&Declared, &Run),
    is_own: bool,
) -> Option<&'static str> {
    if is_own {
        let never = declared.overlap != Overlap::Allow || is_backfill(first) && is_backfill(second);
        return never.then_some("experiment");
    }
    if before.limits.groups.iter().any(|group| declared.limits.groups.contains(group)) {
        return Some("group");
    }
    let is_exclusive = [before, declared].iter().any(|e| e.limits.targets == Targets::Exclusive);
    let shares = first.facts.as_ref().and_then(app).is_some_and(|a| second.facts.as_ref().and_then(app) == Some(a));
    (is_exclusive && shares).then_some("target")
}

/// A start that was decided: when it was durable, when it was decided, which run.
pub type Start<'e> = (u64, Timestamp, &'e Run);

impl Evidence<'_> {
    /// Every configuration there ever was.
    pub fn all_rules(&self) -> impl Iterator<Item = &Rules> {
        self.world.history.iter().map(|(_, rules)| &**rules)
    }

    /// Whether something is so of an experiment in each configuration that knows it.
    fn always(&self, name: &ExperimentName, holds: impl Fn(&Declared) -> bool) -> bool {
        self.all_rules().filter_map(|rules| rules.experiments.get(name)).all(holds)
    }

    pub fn starts_of_runs(&self) -> Vec<Start<'_>> {
        let mut all = Vec::new();
        for (id, entries) in &self.journal {
            let asked =
                entries.iter().filter(|(.., observation)| matches!(observation, Observation::StartAsked { .. }));
            all.extend(asked.map(|(ms, at, _)| (*ms, *at, &self.runs[id])));
        }
        all
    }

    /// Whether two runs may never go on at the same time, and why: by all that whoever asked for the later one may have had, and
    /// by what the other may have been begun under where its experiment was not declared by then.
    fn exclude(&self, one: &Run, other: &Run) -> Option<&'static str> {
        let (first, second) =
            if self.asked(one).first() <= self.asked(other).first() { (one, other) } else { (other, one) };
        let (begun, mut why) = (self.begun_under(first), None);
        for rules in self.asked(second).into_iter().flat_map(|ms| self.rules_about(ms)) {
            // Nothing is started that is not declared.
            let Some(declared) = rules.experiments.get(&second.experiment) else { continue };
            let still = rules.experiments.get(&first.experiment);
            for before in still.map_or_else(|| begun.clone(), |still| vec![still]) {
                let is_own = first.experiment == second.experiment;
                // One that has gone may have been the same, and may have been another of the same template.
                let may_be = still.is_none() && Definition::of(before) == Definition::of(declared);
                let apart = |is_own| apart((before, first), (declared, second), is_own);
                why = Some(apart(is_own).or_else(|| may_be.then(|| apart(true)).flatten())?);
            }
        }
        why
    }

    /// Nobody runs beside somebody with whom he must not meet.
    fn beside(&self, found: &mut Vec<String>) {
        let known: Vec<(&Experiment, &Run)> = self
            .experiments
            .iter()
            .filter(|experiment| !experiment.is_forgotten && !self.found.contains(&experiment.id))
            .filter_map(|experiment| Some((experiment, self.runs.get(&experiment.run())?)))
            .collect();
        for (n, (one, first)) in known.iter().enumerate() {
            for (other, second) in &known[n + 1..] {
                let at_once = one.created_at < other.end() && other.created_at < one.end();
                if !at_once || first.id == second.id {
                    continue;
                }
                if let Some(why) = self.exclude(first, second) {
                    found.push(format!("beside ({why}): {} of {} and {} of {}", one.id, first.id, other.id, second.id));
                }
            }
        }
    }

    /// No start of a paused experiment is recorded after the pause is durable and before its end.
    fn paused(&self, found: &mut Vec<String>) {
        self.world.store.with(|tables| {
            for (ms, at, run) in self.starts_of_runs() {
                let mut pause: Option<(u64, Option<Timestamp>)> = None;
                for (when, what) in tables.log.iter().filter(|(when, _)| *when <= ms) {
                    if let Durable::Paused { experiment, row } = what
                        && *experiment == run.experiment
                    {
                        // A pause over a pause is in force from the first one on.
                        let since = pause.map_or(*when, |(since, _)| since);
                        pause = row.pause.as_ref().map(|pause| (since, pause.until));
                    }
                }
                let Some((since, until)) = pause else { continue };
                if since < ms && until.is_none_or(|until| at < until) {
                    found.push(format!(
                        "pause: {} of {} is started at {at}, paused until {until:?}",
                        run.id, run.experiment
                    ));
                }
            }
        });
    }

    /// When each finished run of an experiment was recorded, in both times, and when its FIS experiment ended.
    pub fn ended(&self, name: &ExperimentName) -> Vec<(u64, Timestamp, Timestamp)> {
        let mut all = Vec::new();
        for (id, entries) in self.journal.iter().filter(|(id, _)| self.runs[*id].experiment == *name) {
            let Some((ms, at, Observation::Finished { .. })) = entries.last() else { continue };
            if let Some(fis) = &self.runs[id].fis {
                all.push((*ms, *at, fis.ended_at.map_or(*at, |ended| ended.min(*at))));
            }
        }
        all
    }

    /// Whoever starts has let the gap after the last run of its experiment, and of its groups, pass.
    fn gaps(&self, found: &mut Vec<String>) {
        for (ms, at, run) in self.starts_of_runs() {
            let is_kept = |rules: &&Rules| {
                let Some(declared) = rules.experiments.get(&run.experiment) else { return true };
                let kept = |name: &ExperimentName, gap: SignedDuration| {
                    let before: Vec<_> =
                        self.ended(name).into_iter().filter(|(seen, ..)| seen + PASS_MS < ms).collect();
                    // By the clock, or in truth where the clock was set back since.
                    let long_ago = |(seen, _, ended): &(u64, Timestamp, Timestamp)| {
                        let truly = SignedDuration::from_millis(i64::try_from(ms - seen).expect("a world ends"));
                        at >= *ended + gap || truly >= gap
                    };
                    // An end in the future was seen before the clock was set back; it says nothing, and hid the others.
                    let is_hidden = before.iter().any(|(.., ended)| at < *ended);
                    gap.is_zero() || is_hidden || before.iter().all(long_ago)
                };
                let mut of_groups = declared.limits.groups.iter().flat_map(|group| {
                    let gap = rules.groups.get(group).map_or(SignedDuration::ZERO, |group| group.min_gap);
                    let members = rules.experiments.values().filter(move |e| e.limits.groups.contains(group));
                    members.map(move |member| (&member.name, gap))
                });
                kept(&run.experiment, declared.limits.min_gap) && of_groups.all(|(name, gap)| kept(name, gap))
            };
            if !self.rules_about(ms).iter().any(is_kept) {
                found.push(format!("gap: {} of {} is started at {at}, too soon", run.id, run.experiment));
            }
        }
    }

    /// The schedules that ever had a name in an experiment.
    fn schedules(&self, run: &Run, name: &ScheduleName) -> Vec<&Schedule> {
        let declared = self.all_rules().filter_map(|rules| rules.experiments.get(&run.experiment));
        declared.flat_map(|declared| declared.schedules.iter().filter(|schedule| schedule.name() == name)).collect()
    }

    /// No schedule begins more runs than it may.
    fn limits(&self, found: &mut Vec<String>) {
        let mut begun: BTreeMap<(ExperimentName, ScheduleName), BTreeSet<&RunId>> = BTreeMap::new();
        for (ms, _, run) in self.starts_of_runs() {
            let Trigger::Slot { schedule, .. } = &run.trigger else { continue };
            // A limit leaves the configuration with its schedule.
            let is_declared = |rules: &&Rules| {
                let declared = rules.experiments.get(&run.experiment);
                declared.is_some_and(|declared| declared.schedules.iter().any(|s| s.name() == schedule))
            };
            if self.rules_about(ms).iter().all(is_declared) {
                begun.entry((run.experiment.clone(), schedule.clone())).or_default().insert(&run.id);
            }
        }
        for ((experiment, schedule), runs) in begun {
            let Some(first) = runs.first().and_then(|id| self.runs.get(*id)) else { continue };
            let declared = self.schedules(first, &schedule);
            let most: Option<Vec<u32>> = declared.iter().map(|schedule| schedule.max_runs).collect();
            if let Some(most) = most.and_then(|most| most.into_iter().max())
                && runs.len() > most as usize
            {
                found.push(format!("max-runs: {experiment}/{schedule} began {} of {most} runs", runs.len()));
            }
        }
    }

    /// A queue never holds more than it may.
    fn queues(&self, found: &mut Vec<String>) {
        // Who waits and is due again only later, since the clock was set back, takes nobody's place.
        if self.world.nature.steps().iter().any(|step| step.by_ms < 0) {
            return;
        }
        let names: BTreeSet<&ExperimentName> = self.runs.values().map(|run| &run.experiment).collect();
        for name in names {
            let is_one =
                self.always(name, |e| matches!(e.overlap, Overlap::QueueOne | Overlap::StopOther | Overlap::Skip));
            let mut changes: Vec<(u64, usize, &RunId, bool)> = Vec::new();
            // Each that runs may have one more that takes its place.
            let besides = |run: &Run| is_one && (is_backfill(run) || self.takes_over(run));
            let ours = |id: &RunId| self.runs[id].experiment == *name && !besides(&self.runs[id]);
            for (id, entries) in self.journal.iter().filter(|(id, _)| ours(id)) {
                for (n, (ms, _, observation)) in entries.iter().enumerate() {
                    match observation {
                        Observation::Held { reason: HoldReason::Busy { .. } | HoldReason::Gap { .. }, .. } => {
                            changes.push((*ms, n, id, true));
                        }
                        Observation::TemplateRead { .. } | Observation::Probed { .. } => {}
                        _ => changes.push((*ms, n, id, false)),
                    }
                }
            }
            changes.sort();
            let limit = if is_one { 1 } else { MAX_QUEUED };
            let mut waiting: BTreeMap<&RunId, u64> = BTreeMap::new();
            for (ms, _, id, waits) in changes {
                if waits {
                    waiting.entry(id).or_insert(ms);
                } else {
                    waiting.remove(id);
                }
                // What leaves is recorded in the same pass.
                let settled = waiting.values().filter(|since| **since + PASS_MS < ms).count();
                if settled > limit {
                    found.push(format!("queue: {settled} runs of {name} wait at {ms} ms, {limit} may"));
                    break;
                }
            }
        }
    }

    /// Nobody starts after its deadline, also not who waited.
    fn patience(&self, found: &mut Vec<String>) {
        for (ms, at, run) in self.starts_of_runs() {
            // One that was begun in time and refused is tried again as if it had waited.
            let has_waited = |o: &Observation| matches!(o, Observation::Held { .. } | Observation::StartAsked { .. });
            let before = self.journal[&run.id].iter().filter(|(when, ..)| *when < ms);
            let was_held = before.into_iter().any(|(.., observation)| has_waited(observation));
            let takes_over = self.takes_over(run);
            let last = |rules: &&Rules| {
                let declared = rules.experiments.get(&run.experiment);
                let queues = declared.filter(|declared| {
                    is_backfill(run) || takes_over || !matches!(declared.overlap, Overlap::Skip | Overlap::Allow)
                });
                let queued = queues.map(|declared| run.not_before + declared.limits.queue_for);
                run.hold_until.into_iter().chain(queued).filter(|_| was_held).fold(run.start_by, Timestamp::max)
            };
            // What was granted under an earlier configuration stays granted.
            let opened = self.journal[&run.id][0].0;
            let last = self.rules_between(opened, ms).iter().map(last).max();
            if last.is_some_and(|last| at > last) {
                found.push(format!("late: {} is started at {at}, later than {last:?}", run.id));
            }
        }
    }

    /// When a run is due follows from its slot alone, and lies where it may; whether a slot is taken does, too.
    fn spreads(&self, found: &mut Vec<String>) {
        for run in self.runs.values() {
            let Trigger::Slot { schedule, at, .. } = &run.trigger else { continue };
            let is_missed = matches!(&run.state, RunState::Skipped { reason: SkipReason::Missed { .. }, .. });
            let is_undrawn = matches!(&run.state, RunState::Skipped { reason: SkipReason::NotDrawn { .. }, .. });
            let fits = |schedule: &&Schedule| {
                let length = match schedule.spread {
                    Spread::None => SignedDuration::from_nanos(1),
                    Spread::Jitter(length) | Spread::Within(length) => length,
                };
                let is_inside = *at <= run.not_before && run.not_before < *at + length;
                is_inside && run.not_before == schedule.due(*at) && (is_missed || is_undrawn != schedule.is_taken(*at))
            };
            if !self.schedules(run, schedule).iter().any(fits) {
                found.push(format!("spread: {} of {at} is due at {}, {:?}", run.id, run.not_before, run.state));
            }
        }
    }

    /// Windows neither refuse nor stop who was started over them.
    fn overrides(&self, found: &mut Vec<String>) {
        for (id, entries) in
            self.journal.iter().filter(|(id, _)| self.runs[*id].trigger.windows() == WindowRule::Overridden)
        {
            for (.., observation) in entries {
                if let Observation::StopAsked { cause: StopCause::Closed { .. } }
                | Observation::Skipped { reason: SkipReason::Closed { .. } | SkipReason::WouldCross { .. } }
                | Observation::Held { reason: HoldReason::Closed { .. }, .. } = observation
                {
                    found.push(format!("override: {id}: {observation:?}"));
                }
            }
        }
    }

    /// Who is stopped to make room is of the same experiment, and the other waits for nothing else.
    fn replaced(&self, found: &mut Vec<String>) {
        let journal = self.world.store.with(|tables| tables.journal.clone());
        let mut waiting: BTreeMap<&RunId, &Observation> = BTreeMap::new();
        for (ms, JournalEntry { run: id, at, observation, .. }) in &journal {
            if !matches!(observation, Observation::TemplateRead { .. } | Observation::Probed { .. }) {
                waiting.insert(id, observation);
            }
            let Observation::StopAsked { cause: StopCause::Replaced { by } } = observation else { continue };
            let run = &self.runs[id];
            let waits = waiting.get(by);
            let for_it = matches!(waits, Some(Observation::Held { reason: HoldReason::Busy { with, conflict: Conflict::Experiment, .. }, .. }) if with == id);
            if self.runs.get(by).is_none_or(|by| by.experiment != run.experiment) || !for_it {
                found.push(format!("replace: {id} is stopped for {by}, which is {waits:?}"));
            }
            let is_newer = self.is_for_a_newer_version(id, by);
            let by = &self.runs[by];
            let may_start = |rules: &&Rules| {
                rules.experiments.get(&by.experiment).is_some_and(|declared| {
                    let second = *at..*at + SignedDuration::from_secs(1);
                    let closed = by.trigger.windows() == WindowRule::Hold
                        && super::closing::is_closed_within(rules, declared, second.start, second.end);
                    (declared.overlap == Overlap::StopOther || is_newer) && !closed
                })
            };
            if !self.rules_about(*ms).iter().any(may_start) {
                found.push(format!("replace: {id} is stopped at {at} for {}, which may not start", by.id));
            }
        }
    }
}
