//! Templates against windows, through the planner: no run is admitted whose chosen estimate meets a closed time.

use std::collections::BTreeMap;

use firedrill::domain::{
    estimate::{FIS_OVERHEAD, INSTANT_ALLOWANCE},
    experiment::{EstimateKind, Experiment},
    run::Observation,
    template::{TemplateAction, TemplateFacts},
    window::{OnEntry, WindowKind},
};
use jiff::SignedDuration;
use proptest::prelude::*;

use super::{action, automation, named, wait};
use crate::support::world::{World, applied, experiment, short, slot_run, t, window};

/// When the one run is due.
const DUE: &str = "10:00:00";
const DUE_S: i64 = 10 * 3_600;

/// One action in numbers: its longest time and its nominal one in seconds, `None` when unknown; and what it waits for.
#[derive(Debug, Clone)]
struct Step {
    action: TemplateAction,
    ceiling: Option<i64>,
    nominal: Option<i64>,
    after: Vec<usize>,
}

/// A window of the day, and how long before it runs are stopped, in seconds.
#[derive(Debug, Clone)]
struct Shut {
    kind: WindowKind,
    from: i64,
    to: i64,
    lead: Option<i64>,
}

fn step() -> impl Strategy<Value = Step> {
    let some = |action, ceiling, nominal| Step { action, ceiling, nominal, after: Vec::new() };
    let instant = INSTANT_ALLOWANCE.as_secs();
    prop_oneof![
        6 => (1_i64..1_500).prop_map(move |s| some(wait(&format!("PT{s}S"), &[]), Some(s), Some(s))),
        4 => (1_i64..60, 0_i64..3_600).prop_map(move |(bound, told)| {
            let document = format!(r#"{{"DurationSeconds": "{told}"}}"#);
            let bound = bound * 60;
            some(automation(&format!("PT{bound}S"), &document, &[]), Some(bound), Some(told.min(bound)))
        }),
        2 => Just(some(action("aws:ec2:reboot-instances", &[], &[]), Some(instant), Some(instant))),
        1 => (1_i64..600).prop_map(move |s| {
            let parameters = [("startInstancesAfterDuration", format!("PT{s}S"))];
            let parameters = parameters.each_ref().map(|(key, value)| (*key, value.as_str()));
            some(action("aws:ec2:stop-instances", &parameters, &[]), Some(s + instant), Some(s + instant))
        }),
        1 => Just(some(action("aws:new:thing", &[], &[]), None, None)),
    ]
}

/// Up to six actions; each may wait for any of those before it. Their names do not follow that order.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((step(), any::<u8>()), 0..7).prop_map(|drawn| {
        let with_edges = |(number, (step, edges)): (usize, (Step, u8))| {
            let after = (0..number).filter(|earlier| edges & (1 << earlier) != 0).collect();
            Step { after, ..step }
        };
        drawn.into_iter().enumerate().map(with_edges).collect()
    })
}

fn shut() -> impl Strategy<Value = Shut> {
    let kinds = prop_oneof![3 => Just(WindowKind::Blackout), 1 => Just(WindowKind::Allowed)];
    let leads = prop::sample::select(vec![None, Some(0), Some(30), Some(600)]);
    (kinds, 540_i64..780, 1_i64..300, leads).prop_map(|(kind, from, length, lead)| {
        // Such that the run is due inside.
        let earlier = if kind == WindowKind::Allowed { 120 } else { 0 };
        Shut { kind, from: (from - earlier) * 60, to: (from + length) * 60, lead }
    })
}

fn facts(steps: &[Step]) -> TemplateFacts {
    let name = |number: &usize| format!("{}", char::from(b'z' - u8::try_from(number * 5 % 7).expect("small")));
    let actions = steps.iter().enumerate().map(|(number, step)| {
        let start_after = step.after.iter().map(name).collect();
        (name(&number), TemplateAction { start_after, ..step.action.clone() })
    });
    named(actions.collect::<BTreeMap<_, _>>())
}

/// The longest of all paths, each walked by itself; `None` when an action on any is unknown.
fn longest(steps: &[Step], length: fn(&Step) -> Option<i64>) -> Option<i64> {
    fn walk(steps: &[Step], from: usize, length: fn(&Step) -> Option<i64>) -> Option<i64> {
        let mut rest = 0;
        for (next, step) in steps.iter().enumerate() {
            if step.after.contains(&from) {
                rest = rest.max(walk(steps, next, length)?);
            }
        }
        Some(length(&steps[from])? + rest)
    }
    let mut longest = 0;
    for from in 0..steps.len() {
        longest = longest.max(walk(steps, from, length)?);
    }
    Some(longest + FIS_OVERHEAD.as_secs())
}

/// Whether nothing may run in a second of the day.
fn is_shut(windows: &[Shut], second: i64) -> bool {
    let covers = |w: &&Shut| w.from <= second && second < w.to;
    let of = |kind| windows.iter().filter(move |w| w.kind == kind);
    of(WindowKind::Blackout).any(|w| covers(&w))
        || (of(WindowKind::Allowed).count() > 0 && !of(WindowKind::Allowed).any(|w| covers(&w)))
}

fn world(steps: &[Step], windows: &[Shut], estimate: EstimateKind, limit_s: i64) -> World {
    let declared = Experiment { estimate, max_duration: SignedDuration::from_secs(limit_s), ..experiment() };
    let run = applied(slot_run(DUE), &[(DUE, Observation::TemplateRead { facts: facts(steps) })]);
    let clock = |second: i64| short(t("00:00:00") + SignedDuration::from_secs(second));
    windows.iter().enumerate().fold(World::of(declared, vec![run]), |world, (number, w)| {
        let lead = w.lead.map(|lead| OnEntry::Stop { lead: SignedDuration::from_secs(lead) });
        let on_entry = lead.unwrap_or(OnEntry::Finish);
        world.with_window(window(&format!("w{number}"), w.kind, &clock(w.from), &clock(w.to), on_entry))
    })
}

proptest! {
    #![proptest_config(crate::support::chance::cases(512))]

    /// Second by second: a run is admitted exactly when no second of its chosen estimate, and of the longest time that a
    /// stop before a window takes, is closed.
    #[test]
    fn run_is_admitted_exactly_when_its_chosen_estimate_meets_no_closed_second(
        steps in steps(),
        mut windows in prop::collection::vec(shut(), 0..4),
        edge in prop::option::weighted(0.7, -2_i64..=2),
        kind in prop::sample::select(vec![EstimateKind::Ceiling, EstimateKind::Nominal, EstimateKind::Learned]),
        limit_s in prop::sample::select(vec![600, 3_600, 43_200]),
    ) {
        let ceiling = longest(&steps, |step| step.ceiling);
        let chosen = match kind {
            EstimateKind::Nominal => longest(&steps, |step| step.nominal),
            // Nothing was learned.
            EstimateKind::Ceiling | EstimateKind::Learned => ceiling,
        };
        let takes = chosen.map_or(limit_s, |length| length.min(limit_s));
        let lead = windows.iter().filter_map(|w| w.lead).max().unwrap_or(0);
        // Most often one begins within two seconds of the end, where it is decided.
        let end = DUE_S + takes + lead;
        let close = edge.map(|edge| Shut { kind: WindowKind::Blackout, from: end + edge, to: end + edge + 9, lead: None });
        windows.extend(close);
        let free = (DUE_S..end).all(|second| !is_shut(&windows, second));
        let said = world(&steps, &windows, kind, limit_s).says(t(DUE));
        let admitted = said == ["A start EXT1"];
        prop_assert!(admitted || said[0].starts_with("A skipped: "), "{said:?}");
        prop_assert_eq!(admitted, free, "{:?}, {} s and {} s", said, takes, lead);
    }
}
