//! Each judge of an experiment is shown one thing that is wrong, and tells of it and of nothing else; what is like it and right
//! passes.

use std::collections::BTreeMap;

use firedrill::{
    domain::{
        fis::{FisExperiment, FisStatus},
        ids::{EXPERIMENT_TAG, RUN_TAG, RunId},
        outcome::Outcome,
        run::{Adopted, Away, JournalEntry, Observation, Run, RunState, RunTimes, SkipReason, Trigger, WindowRule},
    },
    simulator::ExperimentRecord,
};
use jiff::{SignedDuration, Timestamp};

use super::{
    record::{Done, Record},
    scene::{ONE_BY_ONE, SCHEDULED, Schedules, StoreKind, named},
};
use crate::{
    process::retold,
    support::{
        agent::Presence,
        runs::{Story, event, fis, instant, name, slot},
    },
};

/// So many seconds after the beginning.
fn at(seconds: f64) -> Timestamp {
    instant("2026-03-01T02:00:00Z") + SignedDuration::from_secs_f64(seconds)
}

/// An agent that is there for so long.
fn presence(pid: u32, from: f64, until: f64) -> [Presence; 2] {
    [(from, true), (until, false)].map(|(seconds, is_there)| Presence { at: at(seconds), pid, is_there })
}

impl Record {
    /// Adds slots that passed unseen, from one second through another.
    fn missed(&mut self, experiment: &str, from: i32, through: i32) {
        let (from, through) = (at(from.into()), at(through.into()));
        let state =
            RunState::Skipped { reason: SkipReason::Missed { through, count: 2, away: Away::Agent }, at: through };
        let times = RunTimes { opened_at: through, not_before: from, start_by: through, hold_until: None };
        let run = Run::open(name(experiment), slot(from), state, times);
        let (seq, explained) = (1, Vec::new());
        let opened = JournalEntry { seq, at: through, run: run.id.clone(), observation: run.opening(), explained };
        self.add(run, vec![opened]);
    }

    /// Adds a run whose experiment goes on from one second until another; the agent learns of it a second later.
    fn ran(&mut self, experiment: &str, trigger: Trigger, adopted: Adopted, (from, until): (f64, f64)) {
        let id = format!("EXP{}", self.experiments.len());
        let seen = |status| FisExperiment { id: id.clone(), ..fis(status) };
        let Story { run, journal, .. } = Story::of(experiment, trigger, at(from))
            .asked(at(from))
            .then(at(from + 1.0), Observation::Started { fis: seen(FisStatus::Running), adopted })
            .then(at(until), Observation::Polled { fis: seen(FisStatus::Completed) })
            .finished(at(until), Outcome::Completed);
        let tags = [(EXPERIMENT_TAG, experiment), (RUN_TAG, run.id.as_str())];
        self.experiments.push(ExperimentRecord {
            id,
            template_id: "EXT1".to_owned(),
            client_token: run.id.client_token(),
            tags: tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            preview: false,
            status: FisStatus::Completed,
            reason: String::new(),
            created_at: at(from),
            ended_at: Some(at(until)),
            actions: BTreeMap::new(),
        });
        self.add(run, journal);
    }

    fn add(&mut self, run: Run, journal: Vec<JournalEntry>) {
        self.journals.insert(run.id.to_string(), journal);
        self.runs.insert(run.id.to_string(), run);
    }

    /// What FIS says of the first run of an experiment.
    fn experiment(&mut self, name: &str) -> &mut ExperimentRecord {
        self.experiments.iter_mut().find(|of| named(of) == name).expect("one that was started")
    }

    /// Takes away the first run that something holds of.
    fn without(&mut self, holds: impl Fn(&Run) -> bool) -> Run {
        let id = self.runs.iter().find(|(_, run)| holds(run)).map(|(id, _)| id.clone()).expect("such a run");
        self.runs.remove(&id).expect("a run")
    }
}

fn is_by_hand(run: &Run) -> bool {
    run.trigger.kind() == "manual"
}

/// Two lives of an agent that did as it should: the first is killed within a start by hand.
fn innocent() -> Record {
    let mut done = Done::new(StoreKind::Sqlite, Schedules::On, at(0.0), vec![(at(30.0), at(33.0))]);
    done.blackouts = vec![(at(40.0), at(48.0))];
    done.sent = vec!["e-1".to_owned()];
    let mut record = Record {
        done,
        experiments: Vec::new(),
        presences: [presence(1, 0.0, 16.5), presence(2, 17.0, 60.0)].concat(),
        log: String::new(),
        read_at: at(60.0),
        runs: BTreeMap::new(),
        journals: BTreeMap::new(),
        arrived: vec![vec![1]],
        damage: Vec::new(),
    };
    for (experiment, seconds) in SCHEDULED {
        let seconds = i32::try_from(seconds).expect("few seconds");
        record.missed(experiment, 4, 10 - seconds);
        record.ran(experiment, slot(at(10.0)), Adopted::No, (10.0, 13.0));
        record.missed(experiment, 10 + seconds, 20 - seconds);
        record.ran(experiment, slot(at(20.0)), Adopted::No, (20.0, 41.0));
    }
    record.ran("after-deployment", event(None), Adopted::No, (15.0, 17.0));
    let (request, by) = ("one".to_owned(), "tester".to_owned());
    let by_hand = Trigger::Manual { request, by, reason: None, windows: WindowRule::Hold };
    record.ran("by-hand", by_hand, Adopted::ByTag, (16.0, 18.0));
    let promised = record.runs.values().find(|run| is_by_hand(run)).map(|run| run.id.to_string());
    record.done.promised.extend(promised);
    record
}

/// What is found when something is changed in the innocent record: in which lists, and how often.
fn found(change: impl FnOnce(&mut Record)) -> Vec<(&'static str, usize)> {
    let mut record = innocent();
    change(&mut record);
    let (findings, weaknesses) = (record.findings(), record.weaknesses());
    println!("{findings:#?}");
    let lists = findings.lists().into_iter().chain([("weak", weaknesses.as_slice())]);
    lists.filter(|(_, list)| !list.is_empty()).map(|(name, list)| (name, list.len())).collect()
}

/// Something wrong, of which one judge tells once.
#[track_caller]
fn is_told(list: &'static str, change: impl FnOnce(&mut Record)) {
    assert_eq!(found(change), [(list, 1)]);
}

/// Something that looks wrong, and is not.
#[track_caller]
fn passes(change: impl FnOnce(&mut Record)) {
    assert_eq!(found(change), []);
}

#[test]
fn innocent_record_passes() {
    passes(|_| ());
}

#[test]
fn what_is_started_twice_is_told() {
    is_told("doubles", |record| {
        let again = ExperimentRecord { id: "EXP99".to_owned(), ..record.experiment("by-hand").clone() };
        record.experiments.push(again);
    });
    // Two runs of one trigger.
    is_told("doubles", |record| {
        let (first, of) = (record.runs.values().find(|run| is_by_hand(run)).expect("a run").clone(), "by-hand");
        let run = Run { id: RunId::derive(&name("another"), "another"), ..first.clone() };
        let again = ExperimentRecord {
            client_token: run.id.client_token(),
            tags: [(RUN_TAG.to_owned(), run.id.to_string())].into(),
            ..record.experiment(of).clone()
        };
        record.experiments.push(again);
        let journal = record.journals[first.id.as_str()].clone();
        // The doubt is the first one's.
        record.done.lost_answers = 1;
        record.add(run, journal);
    });
}

#[test]
fn what_the_agent_does_not_know_is_told() {
    let stranger = |record: &mut Record| {
        let tags = [(RUN_TAG.to_owned(), "nobody's".to_owned())].into();
        let of = ExperimentRecord { tags, created_at: at(1.0), ..record.experiment("by-hand").clone() };
        record.experiments.push(of);
    };
    let stray = |record: &mut Record| record.log = "EXP7 goes on that no run here watches or stops".to_owned();
    let forgets = |record: &mut Record| record.done.forgotten = Some(at(2.0));
    is_told("orphans", stranger);
    is_told("orphans", stray);
    passes(|record| {
        stranger(record);
        stray(record);
        forgets(record);
    });
    // It was begun by the store that there is.
    is_told("orphans", |record| {
        stranger(record);
        forgets(record);
        record.experiments.last_mut().expect("one").created_at = at(2.0);
    });
    is_told("orphans", |record| record.experiment("by-hand").client_token = "another".to_owned());
    is_told("orphans", |record| record.experiment("by-hand").id = "EXP99".to_owned());
    is_told("orphans", |record| record.experiment("by-hand").status = FisStatus::Running);
    is_told("orphans", |record| {
        // The last word is missing.
        let run = record.without(is_by_hand);
        let mut journal = record.journals[run.id.as_str()].clone();
        let _end = journal.pop();
        record.add(retold(&run, &journal), journal);
    });
}

#[test]
fn start_in_a_closed_window_is_told() {
    let closes = |from: f64, until: f64| move |record: &mut Record| record.done.closed.push((at(from), at(until)));
    is_told("forbidden", closes(9.0, 10.5));
    // It may have been under way; and a window ends where it ends.
    passes(closes(9.5, 10.5));
    passes(closes(8.0, 10.0));
    let clock = |since: f64, ahead: i64| {
        move |record: &mut Record| record.done.clock.push((at(since), SignedDuration::from_secs(ahead)))
    };
    passes(|record| {
        closes(9.0, 10.5)(record);
        clock(5.0, 100)(record);
    });
    is_told("forbidden", |record| {
        closes(109.0, 110.5)(record);
        clock(5.0, 100)(record);
    });
    // It may have been decided by the clock of before.
    passes(|record| {
        closes(109.0, 110.5)(record);
        clock(9.5, 100)(record);
    });
}

#[test]
fn what_begins_or_goes_on_in_a_blackout_is_told() {
    let closes = |from: f64, until: f64| move |record: &mut Record| record.done.blackouts = vec![(at(from), at(until))];
    is_told("forbidden", closes(7.0, 10.5));
    passes(closes(7.5, 10.5));
    passes(closes(7.0, 10.0));
    is_told("forbidden", closes(36.0, 48.0));
    // It is stopped in time, or nobody can.
    passes(closes(38.0, 48.0));
    passes(|record| {
        closes(36.0, 48.0)(record);
        record.presences[3].at = at(38.0);
    });
    passes(|record| {
        closes(36.0, 48.0)(record);
        record.done.stuck = vec![(at(38.0), true)];
    });
    is_told("forbidden", |record| {
        closes(36.0, 48.0)(record);
        record.done.stuck = vec![(at(30.0), true), (at(35.0), false)];
    });
}

#[test]
fn what_goes_on_beside_itself_is_told() {
    let goes_on = |record: &mut Record| record.experiment(ONE_BY_ONE).ended_at = Some(at(20.5));
    is_told("beside", goes_on);
    is_told("beside", |record| {
        record.experiment(ONE_BY_ONE).ended_at = None;
        record.done.blackouts.clear();
    });
    passes(|record| {
        goes_on(record);
        record.done.forgotten = Some(at(15.0));
    });
}

#[test]
fn event_or_promise_without_a_decision_is_told() {
    for rows in [&[][..], &[0], &[2], &[1, 1]] {
        is_told("lost", |record| record.arrived[0] = rows.to_vec());
    }
    is_told("lost", |record| {
        record.done.sent.push("e-2".to_owned());
        record.arrived.push(vec![1]);
    });
    is_told("lost", |record| record.done.promised.push("nobody's".to_owned()));
}

#[test]
fn slot_without_a_decision_is_told() {
    for (experiment, _) in SCHEDULED {
        is_told("lost", |record| {
            let is_gap = |run: &Run| run.experiment.as_str() == experiment && run.opened_at > at(13.0);
            record.without(|run| is_gap(run) && run.fis.is_none());
        });
    }
}

#[test]
fn slots_before_the_first_known_one_are_told() {
    let is_first = |run: &Run| run.experiment.as_str() == ONE_BY_ONE && run.opened_at < at(10.0);
    let lacks_the_first = |record: &mut Record| _ = record.without(is_first);
    is_told("lost", lacks_the_first);
    // Nobody was there, or what was there is lost.
    passes(|record| {
        lacks_the_first(record);
        record.presences[0].at = at(6.5);
    });
    passes(|record| {
        lacks_the_first(record);
        record.done.forgotten = Some(at(4.0));
    });
    passes(|record| {
        lacks_the_first(record);
        record.done.scheduled = Schedules::Off;
    });
    // Or none is known at all.
    is_told("lost", |record| {
        record.runs.retain(|_, run| run.experiment.as_str() != ONE_BY_ONE);
        record.experiments.retain(|of| named(of) != ONE_BY_ONE);
    });
}

#[test]
fn slot_before_the_beginning_is_told() {
    is_told("lost", |record| record.missed(ONE_BY_ONE, 0, 3));
}

#[test]
fn row_that_nothing_explains_is_told() {
    is_told("unexplained", |record| record.experiments.retain(|of| named(of) != "by-hand"));
    is_told("unexplained", |record| {
        let id = record.done.promised[0].clone();
        _ = record.journals.get_mut(&id).and_then(Vec::pop);
    });
    is_told("unexplained", |record| record.damage.push("a page is damaged".to_owned()));
}

#[test]
fn kills_that_hit_nothing_are_told() {
    for kind in ["slot", "event"] {
        let mut record = innocent();
        record.runs.retain(|_, run| run.trigger.kind() != kind || run.fis.is_none());
        assert_eq!(record.weaknesses(), [format!("no {kind} was started")]);
    }
}

#[test]
fn doubt_that_no_kill_no_lost_answer_and_no_reload_explains_is_told() {
    let lives_on = |record: &mut Record| record.presences = presence(1, 0.0, 60.0).to_vec();
    is_told("weak", lives_on);
    passes(|record| {
        lives_on(record);
        record.done.lost_answers = 1;
    });
    passes(|record| {
        lives_on(record);
        record.done.reloads = vec![at(16.5)];
    });
    is_told("weak", |record| {
        lives_on(record);
        record.done.reloads = vec![at(14.9), at(17.1)];
    });
}
