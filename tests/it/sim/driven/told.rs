//! What a timeline tells: of a configuration a line for each experiment, schedule, trigger, window and group; of an observation
//! one.

use std::collections::BTreeSet;

use firedrill::domain::{
    experiment::{Experiment, Rules},
    run::Observation,
};

/// Tells a configuration, or what is new in it and what is gone.
pub fn rules(before: Option<&Rules>, rules: &Rules) -> String {
    let known: BTreeSet<String> = before.map(lines).into_iter().flatten().collect();
    let now = lines(rules);
    let gone = known.iter().filter(|line| !now.contains(line)).map(|line| format!("\n      - {line}"));
    let new = now.iter().filter(|line| !known.contains(*line)).map(|line| format!("\n      + {line}"));
    format!("configuration:{}", gone.chain(new).collect::<String>())
}

fn lines(rules: &Rules) -> Vec<String> {
    let mut lines: Vec<String> = rules.experiments.values().flat_map(of_experiment).collect();
    lines.extend(rules.windows.iter().map(|window| {
        let calendars: Vec<_> =
            window.calendars.iter().map(|reading| reading.content.as_ref().map(|content| content.read_at)).collect();
        format!(
            "window {}: {:?} {:?} in {:?}, {:?}, {:?}, lead {:?}, calendars {calendars:?}",
            window.name, window.kind, window.spans, window.zone, window.scope, window.on_entry, window.lead
        )
    }));
    lines.extend(rules.groups.iter().map(|(name, group)| format!("group {name}: {group:?}")));
    lines.push(format!("budget: {:?}, {:?}", rules.budget, rules.limits));
    lines
}

fn of_experiment(e: &Experiment) -> Vec<String> {
    let mut lines = vec![format!(
        "{}: {:?} in {:?}, tags {:?}, {:?}, {:?}, at most {:?}, by {:?}, demands {}, {:?}",
        e.name, e.template, e.place.region, e.tags, e.overlap, e.limits, e.max_duration, e.estimate, e.policy, e.health
    )];
    lines.extend(e.schedules.iter().map(|s| {
        format!(
            "{} schedule {}: {} in {:?}, {:?}, one in {}, at most {:?}, missed {:?}, deadline {:?}, hold {:?}",
            e.name,
            s.name(),
            s.expression(),
            s.zone(),
            s.spread,
            s.mtbf,
            s.max_runs,
            s.missed,
            s.start_deadline,
            s.hold_for
        )
    }));
    lines.extend(e.triggers.iter().enumerate().map(|(n, t)| {
        format!(
            "{} trigger {n}: {}, key {:?}, settle {:?} within {:?}, age {:?} to {:?}, hold {:?}, deadline {:?}, {:?}, {:?}, \
             cool down {:?}, one in {}",
            e.name,
            t.pattern.source(),
            t.reading.key,
            t.settle,
            t.settle_limit,
            t.min_age,
            t.max_age,
            t.hold_for,
            t.start_deadline,
            t.rollbacks,
            t.supersede,
            t.cool_down,
            t.one_in
        )
    }));
    lines
}

/// One line on an observation.
pub fn observation(observation: &Observation) -> String {
    match observation {
        Observation::Started { fis, adopted } => format!("started {} {} ({adopted:?})", fis.id, fis.status.as_str()),
        Observation::Polled { fis } => format!("polled {} {}", fis.id, fis.status.as_str()),
        Observation::TemplateRead { facts } => format!("template-read {} {:?}", facts.id, facts.ceiling()),
        other => format!("{other:?}"),
    }
}
