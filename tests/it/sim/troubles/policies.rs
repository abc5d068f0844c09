//! Template policies in a world: what is demanded, what FIS serves of each template from when on, and what started by it.
//!
//! Judged twice: by what the agent read, with what it wrote down about it, and by what the templates were like in truth.

use std::collections::BTreeMap;

use firedrill::domain::{
    experiment::{Experiment, Rules},
    plan::FACTS_MAX_AGE,
    policy::{Demand, Safeguards, TemplatePolicy},
    run::Observation,
    template::TemplateFacts,
};

use super::places::{AWAY_MS, is_steady, known_for};
use crate::{
    sim::{
        drawn::scenario::{HOUR_MS, MINUTE_MS, Template},
        judged::check::Evidence,
    },
    support::chance::Chance,
};

/// What a template says for its own safety from a true time on, in milliseconds, the latest last; `None` while it cannot be
/// read.
pub type Served = Vec<(u64, Option<Safeguards>)>;

/// What is served at a true time.
pub fn served(served: &Served, at: u64) -> Option<&Safeguards> {
    served.iter().rev().find(|(from, _)| *from <= at).and_then(|(_, served)| served.as_ref())
}

fn opt_in() -> BTreeMap<String, String> {
    BTreeMap::from([("firedrill".to_owned(), "allowed".to_owned())])
}

fn demand(c: &mut Chance) -> Demand {
    if c.one_in(3) { Demand::Waived } else { Demand::Required }
}

/// Draws what a configuration demands of templates: of all, and with a reason less of some.
pub fn demanded(c: &mut Chance, rules: &mut Rules) {
    let draw = |c: &mut Chance| TemplatePolicy {
        stop_condition: demand(c),
        bounded_targets: demand(c),
        tags: if c.one_in(3) { BTreeMap::new() } else { opt_in() },
        exception: None,
    };
    let all = draw(c);
    for (n, experiment) in rules.experiments.values_mut().enumerate() {
        let own = if c.one_in(2) { all.clone() } else { draw(c) };
        let exception = own.is_looser_than(&all).then(|| format!("reason {n}"));
        experiment.policy = TemplatePolicy { exception, ..own };
    }
}

/// Draws what the configuration of a world of so many milliseconds demands, and what each template says when, by its id; with
/// a chance of its own. Of most worlds it is nothing.
pub fn draw(seed: u64, length: u64, rules: &mut Rules, templates: &[Template]) -> BTreeMap<String, Served> {
    let mut c = Chance::new(seed.rotate_left(32) ^ !0);
    // A configuration may say so already.
    if rules.experiments.values().all(|declared| declared.policy.demands_nothing()) {
        if !c.one_in(3) {
            return BTreeMap::new();
        }
        demanded(&mut c, rules);
    }
    let safeguards = |c: &mut Chance| Safeguards {
        stop_condition: !c.one_in(6),
        all_of: if c.one_in(6) { vec!["tasks".to_owned()] } else { Vec::new() },
        tags: if c.one_in(6) { BTreeMap::new() } else { opt_in() },
    };
    let timeline = |c: &mut Chance| {
        let mut times: Vec<u64> = (0..c.between(0, 4)).map(|_| c.between(0, length)).collect();
        times.sort_unstable();
        let mut all = vec![(0, Some(safeguards(c)))];
        all.extend(times.into_iter().map(|at| (at, (!c.one_in(4)).then(|| safeguards(c)))));
        // In the end everything can be read.
        all.push((length, Some(safeguards(c))));
        all
    };
    templates.iter().map(|(_, facts)| (facts.id.clone(), timeline(&mut c))).collect()
}

/// Checks every start against the policies in force.
pub fn check(evidence: &Evidence<'_>, found: &mut Vec<String>) {
    if evidence.world.fis.with(|state| state.served.is_empty()) {
        return;
    }
    as_read(evidence, found);
    in_truth(evidence, found);
}

fn allows(policy: &TemplatePolicy, template: Option<&Safeguards>) -> bool {
    template.map_or(policy.demands_nothing(), |template| policy.breach(template).is_none())
}

/// What was read breaks nothing that was demanded, and what was demanded is written down: an exception with its reason.
fn as_read(evidence: &Evidence<'_>, found: &mut Vec<String>) {
    for (ms, entry) in evidence.world.store.with(|tables| tables.journal.clone()) {
        let Observation::StartAsked { facts, .. } = &entry.observation else { continue };
        let before = |of: &Observation| match of {
            Observation::TemplateRead { facts } => Some(facts.clone()),
            Observation::StartAsked { facts, .. } => facts.clone(),
            _ => None,
        };
        let earlier = evidence.journal[&entry.run].iter().rev().skip_while(|(at, ..)| *at > ms);
        let known = earlier.filter(|(_, _, of)| *of != entry.observation).find_map(|(_, _, of)| before(of));
        let facts: Option<TemplateFacts> = facts.clone().or(known);
        let safeguards = facts.as_ref().and_then(|facts| facts.safeguards.as_ref());
        let of_run = evidence.runs[&entry.run].experiment.clone();
        let about = evidence.rules_about(ms);
        let declared = || about.iter().filter_map(|rules| rules.experiments.get(&of_run));
        if !declared().any(|e| allows(&e.policy, safeguards)) {
            found.push(format!("policy: {} starts by {safeguards:?}", entry.run));
        }
        let told = entry.explained.iter().find(|told| told.rule == "policy");
        let is_told = |e: &Experiment| told.is_some_and(|told| told.input == format!("demands {}", e.policy));
        if !declared().any(is_told) {
            found.push(format!("untold: {} starts, what was demanded is told as {told:?}", entry.run));
        }
    }
}

/// No start is called for when its template has not been readable and safe for longer than what is read of it is good for, as
/// far as an agent can know whose clock steps.
fn in_truth(evidence: &Evidence<'_>, found: &mut Vec<String>) {
    let age = known_for(FACTS_MAX_AGE);
    evidence.world.fis.with(|state| {
        for call in state.calls.iter().filter(|call| call.operation == "StartExperiment") {
            let since = call.at.saturating_sub(age);
            let Some(run) = call.run.as_ref().and_then(|run| evidence.runs.get(run)) else { continue };
            let Some(served) = run.facts.as_ref().and_then(|facts| state.served.get(&facts.id)) else { continue };
            if !is_steady(evidence, since, call.at) {
                continue;
            }
            let until = |n: usize| served.get(n + 1).map_or(u64::MAX, |(from, _)| *from);
            let lately = served.iter().enumerate().filter(|(n, (from, _))| *from <= call.at && until(*n) > since);
            let lately: Vec<_> = lately.filter_map(|(_, (_, template))| template.as_ref()).collect();
            let about = evidence.rules_between(evidence.began(call.at.saturating_sub(AWAY_MS)), call.at);
            let mut declared = about.iter().filter_map(|rules| rules.experiments.get(&run.experiment));
            if lately.is_empty() {
                found.push(format!("unknown: {} is started at {} ms, its template is unread", run.id, call.at));
            } else if !declared.any(|e| lately.iter().any(|template| allows(&e.policy, Some(template)))) {
                found.push(format!("policy: {} is started at {} ms by a template that breaks it", run.id, call.at));
            }
        }
    });
}

/// Planted: how long ago it was what is told of a template.
pub const STALE_MS: u64 = HOUR_MS / 2 + MINUTE_MS;
