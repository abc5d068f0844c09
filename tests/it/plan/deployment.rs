//! Deployments: which of several events about the same thing starts a run, when, and what becomes of the others.
//!
//! Events are opened and judged as in the agent; what a run came to is one line, with its version for a name.

mod guards;
mod settling;
mod supersede;

use std::collections::BTreeMap;

use firedrill::domain::{
    deployment::{Deployed, Reading},
    event::{self, Order, Receipt},
    experiment::{EventTrigger, Experiment, Overlap},
    pattern::Pattern,
    plan::{self, Effect},
    run::{Adopted, Observation, Run, RunState},
};
use jiff::SignedDuration;
use serde_json::json;

use crate::support::{
    runs::name,
    world::{DAY, World, applied, experiment, facts, fis, short, t},
};

const S: SignedDuration = SignedDuration::from_secs(1);
const MIN: SignedDuration = SignedDuration::from_mins(1);

/// A trigger on every deployment, by the application's name and revision.
fn trigger() -> EventTrigger {
    let pattern = |text| Pattern::parse(&text).expect("a pattern");
    let reading = Reading {
        key: vec!["/detail/app".to_owned()],
        version: vec!["/detail/revision".to_owned()],
        id: Vec::new(),
        rollback: Some(pattern(json!({ "detail": { "rollback": [true] } }))),
    };
    EventTrigger { reading, ..EventTrigger::new(pattern(json!({ "source": ["deploy"] }))) }
}

/// A trigger after whose events it has to be quiet for five minutes.
fn settling() -> EventTrigger {
    EventTrigger { settle: MIN * 5, ..trigger() }
}

/// One event: `shop` in version `revision`, which happened at a time, or nobody knows when.
#[derive(Debug, Clone, Copy)]
struct Deploy {
    app: Option<&'static str>,
    revision: &'static str,
    time: Option<&'static str>,
    rollback: bool,
    order: Order,
    /// When it was sent to a FIFO queue, unless that is when it comes in.
    sent: Option<&'static str>,
}

/// The event of a version of `shop`, without a time.
fn shop(revision: &'static str) -> Deploy {
    Deploy { app: Some("shop"), revision, time: None, rollback: false, order: Order::Any, sent: None }
}

impl Deploy {
    fn of(time: &'static str, revision: &'static str) -> Self {
        Self { time: Some(time), ..shop(revision) }
    }
}

/// The agent's rows about `probe`, and what happened to its runs.
#[derive(Debug)]
struct Town {
    world: World,
    /// The version of each run.
    names: BTreeMap<String, String>,
    told: Vec<String>,
}

impl Town {
    fn new(trigger: EventTrigger) -> Self {
        Self::of(Experiment { overlap: Overlap::Allow, triggers: vec![trigger], ..experiment() })
    }

    fn of(experiment: Experiment) -> Self {
        Self { world: World::of(experiment, Vec::new()), names: BTreeMap::new(), told: Vec::new() }
    }

    fn declared(&mut self) -> &mut Experiment {
        self.world.rules.experiments.get_mut(&name("probe")).expect("it is declared")
    }

    fn note(&mut self, run: &Run, observation: &Observation, at: &str) {
        if let Some(key) = Deployed::key(run) {
            self.world.deployed.entry(key).or_default().note(run, observation, t(at));
        }
    }

    /// An event comes in, and the planner looks.
    fn event(&mut self, at: &str, deploy: Deploy) -> &mut Self {
        let mut body = json!({
            "source": "deploy", "detail-type": "Done", "id": format!("{}-{}", at, self.names.len()),
            "detail": { "revision": deploy.revision, "rollback": deploy.rollback },
        });
        if let Some(app) = deploy.app {
            body["detail"]["app"] = json!(app);
        }
        if let Some(time) = deploy.time {
            body["time"] = json!(t(time).to_string());
        }
        let event = event::read(&body.to_string(), "message", &[]).expect("an event");
        let sent_at = (deploy.order == Order::Kept).then(|| t(deploy.sent.unwrap_or(at)));
        let receipt = Receipt { source: name("deployments"), at: t(at), sent_at, order: deploy.order, parent: None };
        for run in event::opened_runs(&self.world.rules, &event, &receipt).expect("an event") {
            let again = self.names.values().filter(|name| name.starts_with(deploy.revision)).count();
            self.names.insert(run.id.to_string(), format!("{}{}", deploy.revision, "'".repeat(again)));
            let opening = run.opening();
            self.note(&run, &opening, at);
            if let RunState::Skipped { reason, .. } = &run.state {
                self.tell(at, &run, &format!("skipped: {reason}"));
            } else {
                self.world.runs.push(run);
            }
        }
        self.look(at)
    }

    fn tell(&mut self, at: &str, run: &Run, what: &str) {
        let told = format!("{} {} {what}", short(t(at)), self.names[run.id.as_str()]);
        let told = self.names.iter().fold(told, |text, (id, name)| text.replace(id, name));
        self.told.push(told.replace(DAY, ""));
    }

    /// Something is seen of a run.
    fn see(&mut self, at: &str, named: &str, observation: Observation) -> &mut Self {
        let place = self.world.runs.iter().position(|run| self.names[run.id.as_str()] == named);
        let place = place.unwrap_or_else(|| panic!("{named} is over: {:?}", self.told));
        let run = applied(self.world.runs[place].clone(), &[(at, observation.clone())]);
        self.note(&run, &observation, at);
        if run.is_over() {
            self.world.runs.remove(place);
        } else {
            self.world.runs[place] = run;
        }
        self
    }

    /// The planner looks, and looks again until nothing changes; what it does is told, and when it wants to look next is
    /// the last line.
    fn look(&mut self, at: &str) -> &mut Self {
        for _ in 0..20 {
            let mut changed = false;
            for effect in plan::plan(&self.world.snapshot(), t(at)) {
                let Some(run) = self.concerned(&effect) else { continue };
                let named = self.names[run.id.as_str()].clone();
                let (what, observation) = match effect {
                    Effect::Record { observation: Observation::Skipped { reason }, .. } => {
                        (format!("skipped: {reason}"), Observation::Skipped { reason })
                    }
                    Effect::Record { observation: Observation::Held { reason, look_at }, .. } => {
                        (format!("held: {reason}"), Observation::Held { reason, look_at })
                    }
                    Effect::Record { observation, .. } => (observation.as_str().to_owned(), observation),
                    Effect::ReadTemplate { .. } => {
                        self.see(at, &named, Observation::TemplateRead { facts: facts(60, t(at)) });
                        changed = true;
                        continue;
                    }
                    Effect::Start { place, template_id, facts, place_facts, ties, .. } => {
                        let ties = Some(ties);
                        ("starts".to_owned(), Observation::StartAsked { place, template_id, facts, place_facts, ties })
                    }
                    Effect::Stop { cause, .. } => {
                        let told = format!("is stopped: {cause}");
                        (told, Observation::StopAsked { cause })
                    }
                    _ => continue,
                };
                self.tell(at, &run, &what);
                self.see(at, &named, observation);
                changed = true;
            }
            if !changed {
                break;
            }
        }
        self
    }

    fn concerned(&self, effect: &Effect) -> Option<Run> {
        let id = match effect {
            Effect::Record { run, .. } => run,
            // A stop that is under way is not news.
            Effect::Stop { run, .. }
                if self.run(run.as_str()).is_some_and(|run| matches!(run.state, RunState::Stopping { .. })) =>
            {
                return None;
            }
            other => other.call_for()?,
        };
        self.run(id.as_str()).cloned()
    }

    fn run(&self, id: &str) -> Option<&Run> {
        self.world.runs.iter().find(|run| run.id.as_str() == id)
    }

    /// The run's experiment is seen running.
    fn runs(&mut self, at: &str, named: &str) -> &mut Self {
        let fis = fis(firedrill::domain::fis::FisStatus::Running, t(at));
        self.see(at, named, Observation::Started { fis, adopted: Adopted::No }).look(at)
    }

    /// The run's experiment has ended.
    fn ends(&mut self, at: &str, named: &str) -> &mut Self {
        let outcome = firedrill::domain::outcome::Outcome::Completed;
        self.see(at, named, Observation::Finished { outcome }).look(at)
    }

    /// When the planner wants to look next.
    #[track_caller]
    fn wakes(&self, now: &str, at: &str) {
        assert_eq!(plan::next_wake(&self.world.snapshot(), t(now)).map(short).as_deref(), Some(at));
    }

    /// Checks what happened since the last check.
    #[track_caller]
    fn tells(&mut self, expected: &[&str]) -> &mut Self {
        assert_eq!(self.told, expected);
        self.told.clear();
        self
    }

    /// The same rows, as a store gives them back.
    fn reopened(&mut self) -> &mut Self {
        let copy = |run: &Run| {
            let text = serde_json::to_string(run).expect("a row");
            serde_json::from_str(&text).expect("the same row")
        };
        self.world.runs = self.world.runs.iter().map(copy).collect();
        let rows = self.world.deployed.iter().map(|(key, row)| {
            let text = serde_json::to_string(row).expect("a row");
            (key.clone(), serde_json::from_str(&text).expect("the same row"))
        });
        self.world.deployed = rows.collect();
        self
    }
}
