//! Clusters: which experiments can influence each other, and so have to be forecast together.

use std::collections::{BTreeMap, BTreeSet};

use super::Outlook;
use crate::domain::{
    experiment::{Rules, Targets},
    ids::{ExperimentName, Name},
    target,
    template::TemplateFacts,
};

/// Experiments that may influence each other: all of them, or none, have to be forecast together. In name order.
pub type Cluster = BTreeSet<ExperimentName>;

/// Finds which experiments can influence each other, in name order; those included that are no longer declared, but have runs
/// that are going on or left a gap to their groups.
pub fn clusters(rules: &Rules, outlook: &Outlook) -> Vec<Cluster> {
    let going = outlook.runs.iter().map(|run| &run.experiment);
    let ended = outlook.ledgers.iter().filter(|(_, ledger)| !ledger.groups.is_empty()).map(|(name, _)| name);
    let names: BTreeSet<&ExperimentName> = rules.experiments.keys().chain(going).chain(ended).collect();
    let names: Vec<&ExperimentName> = names.into_iter().collect();
    let mut bonds = Bonds { head: (0..names.len()).collect() };
    if rules.budget.monthly.is_some() {
        (1..names.len()).for_each(|n| bonds.join(0, n));
    }
    let mut groups: BTreeMap<&Name, usize> = BTreeMap::new();
    for (n, name) in names.iter().enumerate() {
        for group in groups_of(name, rules, outlook) {
            let first = *groups.entry(group).or_insert(n);
            bonds.join(first, n);
        }
    }
    join_by_targets(&names, rules, outlook, &mut bonds);
    for run in outlook.runs.iter().filter(|run| !rules.experiments.contains_key(&run.experiment)) {
        let of = |name: &ExperimentName| rules.experiments.get(name).is_some_and(|e| run.is_of(e, rules));
        let own = (0..names.len()).filter(|n| *names[*n] == run.experiment || of(names[*n])).collect::<Vec<_>>();
        own.windows(2).for_each(|two| bonds.join(two[0], two[1]));
    }
    let mut clusters: BTreeMap<usize, Cluster> = BTreeMap::new();
    for (n, name) in names.iter().enumerate() {
        clusters.entry(bonds.head(n)).or_default().insert((*name).clone());
    }
    clusters.into_values().collect()
}

/// The groups that an experiment is in; those that its runs were begun in where it is no longer declared.
fn groups_of<'a>(name: &ExperimentName, rules: &'a Rules, outlook: &'a Outlook) -> Vec<&'a Name> {
    if let Some(declared) = rules.experiments.get(name) {
        return declared.limits.groups.iter().collect();
    }
    let going = outlook.runs.iter().filter(|run| run.experiment == *name).filter_map(|run| run.ties.as_ref());
    let ended = outlook.ledgers.get(name).into_iter().flat_map(|ledger| &ledger.groups);
    going.flat_map(|ties| &ties.groups).chain(ended).collect()
}

/// Joins experiments whose templates share a target. Experiments of one template are compared as one.
fn join_by_targets(names: &[&ExperimentName], rules: &Rules, outlook: &Outlook, bonds: &mut Bonds) {
    let mut templates: Vec<(&TemplateFacts, Targets, Vec<usize>)> = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let going = outlook.runs.iter().filter(|run| run.experiment == **name).filter_map(|run| run.facts.as_ref());
        let targets = rules.experiments.get(*name).map_or(Targets::Exclusive, |declared| declared.limits.targets);
        for facts in outlook.facts.get(*name).into_iter().chain(going).filter(|facts| !facts.targets.is_empty()) {
            let known = templates.iter_mut().find(|(known, of, _)| known.targets == facts.targets && *of == targets);
            match known {
                Some((_, Targets::Exclusive, members)) => bonds.join(members[0], n),
                // They may meet, but somebody else may meet none of them.
                Some((_, Targets::Shared, members)) => members.push(n),
                None => templates.push((facts, targets, vec![n])),
            }
        }
    }
    for (at, (facts, targets, members)) in templates.iter().enumerate() {
        for (other, others_targets, others) in &templates[at + 1..] {
            let all = || members.iter().chain(others).copied();
            let may_meet = *targets == Targets::Shared && *others_targets == Targets::Shared;
            let are_apart = all().any(|n| bonds.head(n) != bonds.head(members[0]));
            if !may_meet && are_apart && target::shares_target(facts, other).is_some() {
                all().for_each(|n| bonds.join(members[0], n));
            }
        }
    }
}

/// Who is joined with whom: each points to an earlier one, or to itself.
struct Bonds {
    head: Vec<usize>,
}

impl Bonds {
    fn head(&self, of: usize) -> usize {
        let mut at = of;
        while self.head[at] != at {
            at = self.head[at];
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.head(a), self.head(b));
        self.head[a.max(b)] = a.min(b);
    }
}
