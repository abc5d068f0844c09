//! The past in a world: what is kept of an experiment's runs, and what that forbids: to go on after failures, and to cost more
//! than a month may.
//!
//! Judged by the journal and by what FIS ran. What was not known when a pass began, and what a configuration that changed
//! meanwhile allowed, is granted.

use std::collections::{BTreeMap, BTreeSet};

use firedrill::domain::{
    cost::{self, OnExceeded, Usd},
    experiment::{OnFailure, Rules},
    fis::FailureClass,
    ids::{ExperimentName, RunId, ScheduleName},
    ledger::{self, Definition, Ledger, Trouble},
    outcome::Outcome,
    run::{Observation, Run, SkipReason, StopCause, Trigger},
    template::TemplateFacts,
};
use jiff::{SignedDuration, Timestamp};

use super::check::Evidence;
use crate::sim::simulated::tables::Durable;

/// Shortest time that an experiment waits after a failure that time may help.
const WAITS_FIRST: SignedDuration = SignedDuration::from_hours(1);

/// Longest such time.
const WAITS_MOST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// So many doublings of the shortest time make it longer than the longest.
const MOST_DOUBLINGS: usize = 8;

pub fn check(evidence: &Evidence<'_>, found: &mut Vec<String>) {
    evidence.ledgers(found);
    evidence.failing(found);
    evidence.spending(found);
}

/// A failure of an experiment.
#[derive(Clone, Copy)]
struct Failed {
    /// When it was recorded, in true time.
    ms: u64,
    trouble: Trouble,
    /// When it was, by the clock.
    at: Timestamp,
}

/// When an experiment may begin again after failures in a row, if time helps; at once after none.
fn may_begin(failures: &[Failed]) -> Option<Timestamp> {
    let Some(last) = failures.last() else { return Some(Timestamp::MIN) };
    let doublings = u32::try_from((failures.len() - 1).min(MOST_DOUBLINGS)).expect("few");
    let waits = (WAITS_FIRST * 2_i32.pow(doublings)).min(WAITS_MOST);
    (last.trouble == Trouble::Unhealthy).then(|| last.at + waits)
}

/// What became of a row of failures.
enum Told {
    Failed(Trouble, Timestamp),
    /// It went well, or somebody forgave them.
    Forgiven,
}

impl Told {
    fn of(seen: &Observation, at: Timestamp) -> Option<Self> {
        let trouble = match seen {
            Observation::Skipped { reason: SkipReason::Template { .. } } => Trouble::Configuration,
            Observation::Finished { outcome } => match outcome {
                Outcome::Completed | Outcome::CompletedPartly { .. } => return Some(Self::Forgiven),
                Outcome::Failed { .. } | Outcome::Lost { .. } => Trouble::Unhealthy,
                Outcome::Stopped { cause: StopCause::StopCondition } => Trouble::Unhealthy,
                Outcome::NotStarted {
                    class: FailureClass::Denied | FailureClass::NotFound | FailureClass::Invalid,
                    ..
                } => Trouble::Configuration,
                _ => return None,
            },
            _ => return None,
        };
        Some(Self::Failed(trouble, at))
    }
}

/// When a ledger was made anew, in true time and by the clock, and which runs could not be read then.
type Retold = (u64, Timestamp, BTreeSet<RunId>);

/// Whether what was recorded of a run at a true time was lost when its ledger was made anew.
fn is_lost(retold: &[Retold], run: &RunId, ms: u64) -> bool {
    retold.iter().any(|(when, _, without)| ms <= *when && without.contains(run))
}

impl Evidence<'_> {
    /// When an experiment's ledger was made anew, in true time and by the clock, and which of its runs could not be read then.
    fn retold(&self, of: &ExperimentName) -> Vec<Retold> {
        let retold = |(ms, durable): &(u64, Durable)| match durable {
            Durable::Retold { experiment, at, without } if experiment == of => Some((*ms, *at, without.clone())),
            _ => None,
        };
        self.world.store.with(|tables| tables.log.iter().filter_map(retold).collect())
    }

    /// What is kept of past runs is what the journal says of them, also where it was made anew.
    fn ledgers(&self, found: &mut Vec<String>) {
        let ledgers = self.world.store.with(|tables| tables.ledgers.clone());
        let names = self.runs.values().map(|run| &run.experiment).chain(ledgers.keys()).collect::<BTreeSet<_>>();
        let none = Ledger::default();
        for name in names {
            let (ledger, retold) = (ledgers.get(name).unwrap_or(&none), self.retold(name));
            let mut all: Vec<_> = self.ended(name).into_iter().map(|(ms, at, end)| (ms, at, Some(end))).collect();
            all.extend(retold.iter().map(|(ms, at, _)| (*ms, *at, None)));
            all.sort_unstable();
            let ended = all.into_iter().fold(None::<Timestamp>, |known, (_, at, end)| match end {
                Some(end) => known.filter(|known| *known <= at).max(Some(end)),
                None => Some(at),
            });
            if ledger.ended_at != ended {
                found.push(format!("ledger: {name} ended at {:?}, its runs at {ended:?}", ledger.ended_at));
            }
            let mut begun: BTreeMap<ScheduleName, BTreeSet<&RunId>> = BTreeMap::new();
            for (ms, _, run) in self.starts_of_runs().iter().filter(|(.., run)| run.experiment == *name) {
                if is_lost(&retold, &run.id, *ms) {
                    continue;
                }
                if let Trigger::Slot { schedule, .. } = &run.trigger {
                    begun.entry(schedule.clone()).or_default().insert(&run.id);
                }
            }
            let begun: BTreeMap<ScheduleName, u32> =
                begun.into_iter().map(|(name, runs)| (name, u32::try_from(runs.len()).expect("few"))).collect();
            if ledger.begun != begun {
                found.push(format!("ledger: {name} has begun {:?}, its runs say {begun:?}", ledger.begun));
            }
            let billed = self.billed(name, &retold);
            if ledger.action_minutes != billed {
                found.push(format!("ledger: {name} was billed {:?}, its runs say {billed:?}", ledger.action_minutes));
            }
        }
    }

    /// The action-minutes of an experiment's runs by the month in which their end was recorded, but of those that could not be
    /// read when its ledger was made anew.
    fn billed(&self, name: &ExperimentName, retold: &[Retold]) -> BTreeMap<String, u64> {
        let mut billed = BTreeMap::new();
        for (id, entries) in self.journal.iter().filter(|(id, _)| self.runs[*id].experiment == *name) {
            let Some((ms, at, Observation::Finished { .. })) = entries.last() else { continue };
            let run = &self.runs[id];
            let Some(fis) = run.fis.as_ref().filter(|_| !is_lost(retold, id, *ms)) else { continue };
            let accounts = run.facts.as_ref().map_or(1, |facts| facts.target_accounts.max(1));
            *billed.entry(ledger::month(*at)).or_default() += cost::billed_minutes(fis) * accounts;
        }
        billed.retain(|_, minutes| *minutes > 0);
        billed
    }

    /// The failures in a row of an experiment that were known when a pass began, unless one forgave them before its end.
    fn failures(&self, name: &ExperimentName, began: u64, ended: u64) -> Vec<Failed> {
        let of = self.journal.iter().filter(|(id, _)| self.runs[*id].experiment == *name);
        let told = of.flat_map(|(_, entries)| entries);
        let mut told: Vec<(u64, Told)> = told.filter_map(|(ms, at, seen)| Some((*ms, Told::of(seen, *at)?))).collect();
        let forgives = |durable: &Durable| match durable {
            Durable::Paused { experiment, row } => row.pause.is_none() && experiment == name,
            Durable::Retold { experiment, .. } => experiment == name,
            _ => false,
        };
        self.world.store.with(|tables| {
            let forgiven = tables.log.iter().filter(|(_, durable)| forgives(durable));
            told.extend(forgiven.map(|(ms, _)| (*ms, Told::Forgiven)));
        });
        told.sort_by_key(|(ms, _)| *ms);
        let mut failures = Vec::new();
        for (ms, told) in told {
            match told {
                Told::Failed(trouble, at) if ms < began => failures.push(Failed { ms, trouble, at }),
                Told::Forgiven if ms <= ended => failures.clear(),
                _ => {}
            }
        }
        failures
    }

    /// Nothing of an experiment starts after failures that only a change helps, or before time may have helped.
    fn failing(&self, found: &mut Vec<String>) {
        for (run, ms, at) in self.first_starts() {
            let failures = self.failures(&run.experiment, self.began(ms), ms);
            let Some(last) = failures.last() else { continue };
            let steps = self.world.nature.steps();
            let is_set_back = steps.iter().any(|step| step.by_ms < 0 && (last.ms..=ms).contains(&step.at));
            let runs = |rules: &Rules| rules.experiments.get(&run.experiment).map(Definition::of);
            let is_allowed = |rules: &&Rules| {
                // What is not declared is not started.
                let Some(declared) = rules.experiments.get(&run.experiment) else { return false };
                // What failed when something else was run says nothing of this. What failed undeclared may have been this, once.
                let is_of_this = |failed: &Failed, undeclared: bool| {
                    let about = self.rules_about(failed.ms);
                    about.into_iter().all(|of| runs(of).map_or(undeclared, |of| Some(of) == runs(rules)))
                };
                let count = match is_of_this(last, false) {
                    true => failures.iter().rev().take_while(|failed| is_of_this(failed, false)).count(),
                    false => usize::from(is_of_this(last, true)),
                };
                let failures = &failures[failures.len() - count..];
                let until = match declared.limits.on_failure {
                    OnFailure::Continue => return true,
                    OnFailure::Pause if count > 0 => None,
                    OnFailure::Pause | OnFailure::Classify => may_begin(failures),
                };
                // What lies farther ahead than that was named before the clock was set back.
                until.is_some_and(|until| until <= at || is_set_back && until > at + WAITS_MOST)
            };
            if !self.rules_about(ms).iter().any(is_allowed) {
                let (id, count, trouble, last) = (&run.id, failures.len(), last.trouble.as_str(), last.at);
                found.push(format!(
                    "failing: {id} is started at {at}, after {count} failures ({trouble}), the last at {last}"
                ));
            }
        }
    }

    /// Nothing starts that may cost more than is left of a month.
    fn spending(&self, found: &mut Vec<String>) {
        if self.all_rules().all(|rules| rules.budget.monthly.is_none()) {
            return;
        }
        for (run, ms, at) in self.first_starts() {
            let is_allowed = |rules: &&Rules| {
                let limit = rules.budget.monthly.filter(|_| rules.budget.on_exceeded == OnExceeded::Refuse);
                let Some(limit) = limit else { return true };
                let costs = |run: &Run| {
                    Some(cost::cost(&run.under(rules), self.read_by(&run.id, ms)?, &rules.budget).most_usd())
                };
                let known = self.runs.values().filter(|other| other.id != run.id);
                let known = known.filter_map(|other| self.cost_of(other, rules, (self.began(ms), ms), at, costs));
                known.fold(costs(run).unwrap_or(Usd::ZERO), Usd::plus) <= limit
            };
            if !self.rules_about(ms).iter().any(is_allowed) {
                found.push(format!("budget: {} is started at {at} and may cost more than is left", run.id));
            }
        }
    }

    /// What was last read of a run's template by a true time.
    fn read_by(&self, id: &RunId, ms: u64) -> Option<&TemplateFacts> {
        let before = self.journal.get(id)?.iter().rev().filter(|(at, ..)| *at <= ms);
        before.map(|(.., seen)| seen).find_map(|seen| match seen {
            Observation::TemplateRead { facts } => Some(facts),
            Observation::StartAsked { facts, .. } => facts.as_ref(),
            _ => None,
        })
    }

    /// What a run has cost in the month of an instant, or may cost, as far as a pass knew. Of what is begun in one pass one
    /// after the other, the last one is judged beside all others.
    fn cost_of(
        &self,
        run: &Run,
        rules: &Rules,
        (began, ended): (u64, u64),
        at: Timestamp,
        costs: impl Fn(&Run) -> Option<Usd>,
    ) -> Option<Usd> {
        let entries = self.journal.get(&run.id)?;
        let (over_ms, over_at, last) = entries.last()?;
        if !matches!(last, Observation::Finished { .. }) || *over_ms >= began {
            let is_known = |ms: u64| ms < began || ms == ended;
            let mut asked = entries.iter().filter(|(ms, ..)| is_known(*ms));
            let is_asked = asked.any(|(.., seen)| matches!(seen, Observation::StartAsked { .. }));
            return (is_asked && *over_ms > ended).then(|| costs(run)).flatten();
        }
        let declared = rules.experiments.get(&run.experiment);
        let price = cost::price(&rules.budget, declared.and_then(|declared| declared.place.region.as_deref()));
        let accounts = run.facts.as_ref().map_or(1, |facts| facts.target_accounts.max(1));
        let is_lost = is_lost(&self.retold(&run.experiment), &run.id, *over_ms);
        let is_of_it = ledger::month(*over_at) == ledger::month(at) && !is_lost;
        let minutes = run.fis.as_ref().filter(|_| is_of_it).map(cost::billed_minutes)?;
        Some(price.times(minutes.saturating_mul(accounts)))
    }

    /// Each run whose start was asked for, when that was first, and when it was decided.
    fn first_starts(&self) -> impl Iterator<Item = (&Run, u64, Timestamp)> {
        self.journal.iter().filter_map(|(id, entries)| {
            let first = entries.iter().find(|(.., seen)| matches!(seen, Observation::StartAsked { .. }));
            first.map(|(ms, at, _)| (&self.runs[id], *ms, *at))
        })
    }
}
