//! Runs with their journals, made the only way runs are made: by opening and applying.

use std::collections::BTreeMap;

use firedrill::domain::{
    deployment::Terms,
    experiment::Place,
    fis::{FisAction, FisExperiment, FisStatus},
    ids::Name,
    outcome::Outcome,
    run::{Adopted, JournalEntry, Observation, Run, RunState, RunTimes, TraceParent, Trigger},
};
use jiff::{SignedDuration, Timestamp};

/// A run and its journal.
#[derive(Debug, Clone)]
pub struct Story {
    pub run: Run,
    pub journal: Vec<JournalEntry>,
    /// Each transition: the run after it and what was observed.
    pub steps: Vec<(Run, Observation, Timestamp)>,
}

pub fn instant(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

pub fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

pub fn slot(at: Timestamp) -> Trigger {
    Trigger::Slot { schedule: name("nightly"), at, timetable: None }
}

pub fn event(parent: Option<TraceParent>) -> Trigger {
    Trigger::Event {
        source: "aws.ecs".to_owned(),
        event_id: "e-1".to_owned(),
        detail_type: "ECS Deployment State Change".to_owned(),
        received_at: instant("2026-03-01T02:00:00Z"),
        event_time: None,
        parent,
        deployment: None,
        terms: Terms::default(),
    }
}

impl Story {
    pub fn open(trigger: Trigger, opened_at: Timestamp) -> Self {
        Self::of("checkout-latency", trigger, opened_at)
    }

    /// As [`Story::open`], of another experiment.
    pub fn of(experiment: &str, trigger: Trigger, opened_at: Timestamp) -> Self {
        let times = RunTimes {
            opened_at,
            not_before: opened_at,
            start_by: opened_at + SignedDuration::from_mins(10),
            hold_until: None,
        };
        let run = Run::open(name(experiment), trigger, RunState::Requested, times);
        let opened = JournalEntry {
            seq: 1,
            at: opened_at,
            run: run.id.clone(),
            observation: Observation::Opened,
            explained: Vec::new(),
        };
        let steps = vec![(run.clone(), run.opening(), opened_at)];
        Self { run, journal: vec![opened], steps }
    }

    /// Applies an observation and keeps it.
    #[track_caller]
    pub fn then(mut self, at: Timestamp, observation: Observation) -> Self {
        self.run = self.run.apply(&observation, at).expect("an observation that can follow");
        let seq = i64::try_from(self.journal.len()).expect("few entries") + 1;
        self.steps.push((self.run.clone(), observation.clone(), at));
        self.journal.push(JournalEntry { seq, at, run: self.run.id.clone(), observation, explained: Vec::new() });
        self
    }

    pub fn asked(self, at: Timestamp) -> Self {
        let place = Place::default();
        self.then(
            at,
            Observation::StartAsked {
                place,
                template_id: "EXT1".to_owned(),
                facts: None,
                place_facts: None,
                ties: None,
            },
        )
    }

    pub fn started(self, at: Timestamp, fis: FisExperiment) -> Self {
        self.then(at, Observation::Started { fis, adopted: Adopted::No })
    }

    pub fn finished(self, at: Timestamp, outcome: Outcome) -> Self {
        self.then(at, Observation::Finished { outcome })
    }
}

/// A FIS experiment with two actions that ran, with times to the millisecond, and one that never began.
pub fn fis(status: FisStatus) -> FisExperiment {
    let action = |start: Option<&str>, end: Option<&str>, status: FisStatus| FisAction {
        action_id: "aws:ecs:task-network-latency".to_owned(),
        status,
        reason: String::new(),
        start_after: Vec::new(),
        started_at: start.map(instant),
        ended_at: end.map(instant),
    };
    let latency = action(Some("2026-03-01T02:00:12.345Z"), Some("2026-03-01T02:05:12.678Z"), FisStatus::Completed);
    let kill = action(Some("2026-03-01T02:05:13.001Z"), Some("2026-03-01T02:05:13.002Z"), FisStatus::Failed);
    let never = action(None, None, FisStatus::Cancelled);
    FisExperiment {
        id: "EXP1".to_owned(),
        template_id: "EXT1".to_owned(),
        status,
        reason: String::new(),
        error: None,
        preview: false,
        created_at: Some(instant("2026-03-01T02:00:01.5Z")),
        started_at: Some(instant("2026-03-01T02:00:02Z")),
        ended_at: Some(instant("2026-03-01T02:05:14Z")),
        actions: BTreeMap::from([
            ("latency".to_owned(), latency),
            ("kill".to_owned(), kill),
            ("never".to_owned(), never),
        ]),
        lever_engaged: None,
    }
}

/// A run by slot whose experiment completed.
pub fn completed() -> Story {
    let slot_at = instant("2026-03-01T02:00:00Z");
    Story::open(slot(slot_at), slot_at)
        .asked(instant("2026-03-01T02:00:00.75Z"))
        .started(instant("2026-03-01T02:00:01.5Z"), fis(FisStatus::Running))
        .then(instant("2026-03-01T02:05:20Z"), Observation::Polled { fis: fis(FisStatus::Completed) })
        .finished(instant("2026-03-01T02:05:20Z"), Outcome::Completed)
}
