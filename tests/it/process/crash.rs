//! kill −9 at any moment: nothing is started twice, nothing is lost, and the journal still explains every row.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use firedrill::{
    domain::{
        ids::RUN_TAG,
        run::{Adopted, Observation, Run, RunState, SkipReason, Trigger},
    },
    simulator::ExperimentRecord,
};
use jiff::{SignedDuration, Timestamp};

use super::{deployment, retold};
use crate::support::{
    agent::{Agent, Home},
    let_pass,
    stage::Stage,
    within,
};

/// Agents that are killed side by side.
const LANES: u64 = 4;
/// How often each of them is killed.
const KILLS: usize = 28;
/// Longest life of an agent; the shortest ends within its start.
const LONGEST_LIFE_MS: u64 = 700;
/// Longest time until everything has come to rest: a start in doubt is looked for, and tried again after seconds.
const SETTLES: Duration = Duration::from_secs(60);
/// Of the schedules.
const EVERY: SignedDuration = SignedDuration::from_secs(2);

/// A generator of moments that a seed replays (SplitMix64).
struct Moments(u64);

impl Moments {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) % limit
    }
}

fn rules(queue: &str, template: &str, schedules: bool) -> String {
    let schedule = |on: bool| match on {
        true => "schedules = [{ name = \"often\", cron = \"*/2 * * * * *\" }]\n",
        false => "",
    };
    format!(
        "[telemetry]\nlog_filter = \"warn\"\n[event_bus]\nname = \"default\"\n[queues.deployments]\nurl = \"{queue}\"\n\
         [experiments.side-by-side]\ntemplate = \"{template}\"\noverlap = \"allow\"\n{often}\
         [experiments.one-by-one]\ntemplate = \"{template}\"\n{often}\
         [experiments.after-deployment]\ntemplate = \"{template}\"\noverlap = \"allow\"\n\
         triggers = [{{ pattern = {{ source = [\"com.example.ci\"] }}, max_age = \"none\" }}]\n",
        often = schedule(schedules)
    )
}

/// One agent's life in a hurry, and what is to be found after it.
fn lane(seed: u64) {
    let stage = Stage::start(1_500.0);
    let (queue, heard) = (stage.queue("deployments"), stage.subscribe("firedrill", "heard"));
    let template = stage.template(&[("first", "PT5M", &[]), ("second", "PT5M", &["first"])]);
    let home = Home::new(&stage.url(), &rules(&queue, &template, true));
    let mut moments = Moments(seed);
    let mut sent = Vec::new();
    let begun = firedrill::cli::context::now();
    for kill in 0..KILLS {
        let id = format!("event-{seed}-{kill}");
        let agent = home.spawn();
        let_pass(Duration::from_millis(moments.below(LONGEST_LIFE_MS / 2)));
        for _copy in 0..=moments.below(2) {
            stage.send(&queue, &deployment(&id));
        }
        sent.push(id);
        let_pass(Duration::from_millis(moments.below(LONGEST_LIFE_MS / 2)));
        agent.kill_nine();
    }
    // Slots come no more; what is open goes on.
    home.configure(&rules(&queue, &template, false));
    let agent = home.agent();
    within(SETTLES, "every run over and the queue empty", || {
        let runs = home.runs();
        let known = sent.iter().all(|id| runs.iter().any(|run| is_of_event(run, id)));
        (known && runs.iter().all(Run::is_over) && stage.depth(&queue) == 0).then_some(())
    });
    every_end_is_told(&home, || stage.drain(&heard));
    check(&home, &stage.experiments(), &sent, begun, agent);
}

/// The end of every run reaches the bus, at least once.
fn every_end_is_told(home: &Home, mut hear: impl FnMut() -> Vec<serde_json::Value>) {
    let mut told = BTreeSet::new();
    let runs = home.runs();
    within(SETTLES, "every end on the bus", || {
        let ends = |event: &serde_json::Value| {
            ["finished", "skipped"]
                .contains(&event["detail"]["state"].as_str()?)
                .then(|| event["detail"]["run"].as_str().map(str::to_owned))?
        };
        told.extend(hear().iter().filter_map(ends));
        runs.iter().all(|run| told.contains(run.id.as_str())).then_some(())
    });
}

fn is_of_event(run: &Run, id: &str) -> bool {
    matches!(&run.trigger, Trigger::Event { event_id, .. } if event_id == id)
}

fn check(home: &Home, experiments: &[ExperimentRecord], sent: &[String], begun: Timestamp, agent: Agent) {
    assert_eq!(agent.terminate(), 0);
    let runs: BTreeMap<String, Run> = home.runs().into_iter().map(|run| (run.id.to_string(), run)).collect();
    let mut seen = BTreeSet::new();
    for experiment in experiments {
        let id = experiment.tags.get(RUN_TAG).expect("a tag");
        assert!(seen.insert(id.clone()), "run {id} was started twice: {experiments:#?}");
        assert!(experiment.status.is_terminal(), "{experiment:?}");
        let run = runs.get(id).unwrap_or_else(|| panic!("{experiment:?} belongs to no run"));
        assert_eq!(experiment.client_token, run.id.client_token());
        assert_eq!(run.fis.as_ref().map(|fis| &fis.id), Some(&experiment.id), "{run:?}");
        assert!(matches!(run.state, RunState::Finished { .. }), "{run:?}");
    }
    for (id, run) in &runs {
        assert!(run.fis.is_none() || seen.contains(id), "{run:?} owns an experiment that there is not");
        let told = retold(run, &home.journal(run));
        assert_eq!((ending(&told), &told.fis), (ending(run), &run.fis), "the journal of {id} tells another story");
    }
    for id in sent {
        let events = home.read(async |store| store.events(id).await.expect("events")).expect("a store");
        assert_eq!(events.iter().map(|event| event.runs.len()).collect::<Vec<_>>(), [1], "{id}");
        assert_eq!(runs.values().filter(|run| is_of_event(run, id)).count(), 1, "{id}");
    }
    for experiment in ["side-by-side", "one-by-one"] {
        let of = runs.values().filter(|run| run.experiment.as_str() == experiment);
        every_slot_is_decided(&of.collect::<Vec<_>>(), begun);
    }
    let unclear =
        runs.values().filter(|run| home.journal(run).iter().any(|entry| is_doubt(&entry.observation))).count();
    println!("{} runs, {} FIS experiments, {unclear} starts in doubt", runs.len(), experiments.len());
    let started = |kind| runs.values().filter(|run| run.fis.is_some() && run.trigger.kind() == kind).count();
    assert!(started("slot") > 0 && started("event") > 0, "nothing was tried: {runs:#?}");
}

/// Tells whether an observation is only made after a start whose answer was not recorded.
fn is_doubt(observation: &Observation) -> bool {
    matches!(observation, Observation::NotFound | Observation::Started { adopted: Adopted::ByTag, .. })
}

/// How a run ended, without the instant: the journal keeps microseconds.
fn ending(run: &Run) -> String {
    match &run.state {
        RunState::Finished { outcome, .. } => format!("{outcome:?}"),
        RunState::Skipped { reason, .. } => format!("{reason:?}"),
        going_on => panic!("{going_on:?}"),
    }
}

/// No slot between the first and the last is without a decision, and none has two.
fn every_slot_is_decided(runs: &[&Run], begun: Timestamp) {
    let mut spans: Vec<(Timestamp, Timestamp)> = runs
        .iter()
        .map(|run| match (&run.trigger, &run.state) {
            (Trigger::Slot { at, .. }, RunState::Skipped { reason: SkipReason::Missed { through, .. }, .. }) => {
                (*at, *through)
            }
            (Trigger::Slot { at, .. }, _) => (*at, *at),
            other => panic!("{other:?}"),
        })
        .collect();
    spans.sort();
    assert!(spans.first().is_some_and(|(first, _)| *first > begun), "{spans:?}");
    for pair in spans.windows(2) {
        assert_eq!(pair[1].0.duration_since(pair[0].1), EVERY, "{pair:?}");
    }
}

#[test]
fn kill_nine_at_random_moments_starts_nothing_twice() {
    // Another seed, for a longer hunt: FIREDRILL_KILL_SEED=7 cargo test --test it kill_nine
    let seed = std::env::var("FIREDRILL_KILL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_260_301);
    println!("SEED={seed}, {} kills", LANES * KILLS as u64);
    std::thread::scope(|scope| {
        for number in 0..LANES {
            scope.spawn(move || lane(seed + number));
        }
    });
}
