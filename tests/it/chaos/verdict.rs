//! What is to be found after each experiment, whatever was done: nothing twice, nothing lost, nothing where it may not be.
//!
//! The truth is the simulator's list of experiments; the agent's rows must agree with it, and the journal with the rows.

use std::{collections::BTreeMap, fmt::Write as _, fs::File, io::Write as _};

use firedrill::{
    domain::{
        ids::RUN_TAG,
        run::{JournalEntry, Run, RunState},
    },
    simulator::ExperimentRecord,
};
use jiff::Timestamp;

use super::{
    scene::{SCHEDULED, Scene, StoreKind, UNDER_WAY, event, named, slots},
    times,
};
use crate::{process::retold, support::disk};

/// What is wrong, each with its evidence.
#[derive(Debug, Default)]
struct Findings {
    /// More than one experiment of a run, a slot or an event.
    doubles: Vec<String>,
    /// An event or slot without a decision, a start that was promised and forgotten.
    lost: Vec<String>,
    /// Experiments that the agent does not know, or not to their end.
    orphans: Vec<String>,
    /// Starts inside a closed window, and what goes on in one.
    forbidden: Vec<String>,
    /// What went on beside each other and was to go one by one.
    beside: Vec<String>,
    /// Rows that the journal does not explain, a store that is not sound.
    unexplained: Vec<String>,
}

impl Findings {
    fn lists(&self) -> [(&'static str, &[String]); 6] {
        [
            ("doubles", &self.doubles),
            ("lost", &self.lost),
            ("orphans", &self.orphans),
            ("forbidden", &self.forbidden),
            ("beside", &self.beside),
            ("unexplained", &self.unexplained),
        ]
    }
}

/// What each experiment of the simulator is about, by its tag.
fn starts(experiments: &[ExperimentRecord]) -> BTreeMap<&str, Vec<&ExperimentRecord>> {
    let mut starts: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for experiment in experiments {
        starts.entry(experiment.tags.get(RUN_TAG).map_or("", String::as_str)).or_default().push(experiment);
    }
    starts
}

/// Finds runs that FIS was made to start more than once, without a look at the store.
fn doubles(experiments: &[ExperimentRecord]) -> Vec<String> {
    let starts = starts(experiments);
    starts.iter().filter(|(_, of)| of.len() > 1).map(|(run, of)| format!("run {run} has {of:#?}")).collect()
}

/// Finds starts inside of windows, `[from, until)` each.
fn forbidden(scene: &Scene, experiments: &[ExperimentRecord]) -> Vec<String> {
    let mut found = Vec::new();
    for experiment in experiments.iter().filter(|of| named(of) == "in-the-gaps") {
        let is_closed = |at: Timestamp| scene.closed.iter().any(|(from, until)| *from + UNDER_WAY <= at && at < *until);
        let shown = scene.shown(experiment.created_at);
        if shown.iter().all(|at| is_closed(*at)) {
            found.push(format!("{experiment:?} at {shown:?}"));
        }
    }
    found
}

impl Scene {
    /// Holds the agent's rows against the simulator's record; nothing runs any more.
    fn findings(&self) -> Findings {
        let experiments = self.stage.experiments();
        let runs: BTreeMap<String, Run> = self.home.runs().into_iter().map(|run| (run.id.to_string(), run)).collect();
        let journals = self.home.journals(runs.values());
        let mut found = self.findings_of_fis(&experiments, &times::known(&journals));
        let mut by_trigger: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (id, of) in starts(&experiments) {
            let Some(run) = runs.get(id) else {
                // What a lost store began is promised to nobody: it goes on to its own end.
                if self.forgotten.is_some_and(|at| of[0].created_at < at) {
                    continue;
                }
                found.orphans.push(format!("{of:?} belongs to no run"));
                continue;
            };
            by_trigger.entry((run.experiment.as_str(), run.trigger.key())).or_default().push(of[0]);
            let is_known = run.fis.as_ref().map(|fis| &fis.id) == Some(&of[0].id)
                && of[0].client_token == run.id.client_token()
                && of[0].status.is_terminal()
                && matches!(run.state, RunState::Finished { .. });
            if !is_known {
                found.orphans.push(format!("{of:?} is not what the agent says: {run:?}"));
            }
        }
        let twice = by_trigger.iter().filter(|(_, of)| of.len() > 1);
        // What is looked after is never told as a stray, whatever it was when its agent began.
        let log = self.home.log();
        let strays = log.lines().filter(|line| line.contains("that no run here watches or stops"));
        found.orphans.extend(strays.map(str::to_owned));
        found.doubles.extend(twice.map(|(trigger, of)| format!("{trigger:?} has {of:#?}")));
        found.lost = self.lost(&runs);
        found.unexplained = self.unexplained(&runs, &journals, &starts(&experiments));
        found
    }

    /// What the simulator's record alone tells; of some experiments it is known when the agent learnt of them.
    fn findings_of_fis(&self, experiments: &[ExperimentRecord], known: &BTreeMap<String, Timestamp>) -> Findings {
        let mut forbidden = forbidden(self, experiments);
        forbidden.extend(self.beyond(experiments, known));
        let beside = self.side_by_side(experiments);
        Findings { doubles: doubles(experiments), forbidden, beside, ..Findings::default() }
    }

    fn lost(&self, runs: &BTreeMap<String, Run>) -> Vec<String> {
        let mut lost = Vec::new();
        let arrived = self.home.read(async |store| {
            let mut arrived = Vec::new();
            for id in &self.sent {
                arrived.push(store.events(id).await.expect("events"));
            }
            arrived
        });
        for (id, events) in self.sent.iter().zip(arrived.expect("a store")) {
            let opened: Vec<_> = events.iter().map(|event| event.runs.len()).collect();
            let decided = runs.values().filter(|run| event(run) == Some(id)).count();
            if (opened.as_slice(), decided) != (&[1], 1) {
                lost.push(format!("event {id}: rows that opened {opened:?} runs, {decided} runs"));
            }
        }
        lost.extend(self.promised.iter().filter(|id| !runs.contains_key(*id)).map(|id| format!("run {id}")));
        for (name, seconds) in SCHEDULED {
            let mut spans: Vec<(Timestamp, Timestamp)> =
                runs.values().filter(|run| run.experiment.as_str() == name).map(slots).collect();
            spans.sort();
            let gaps = spans.windows(2).filter(|pair| pair[1].0.duration_since(pair[0].1).as_secs() != seconds);
            lost.extend(gaps.map(|pair| format!("{name}: nothing between {pair:?}")));
            let early = spans.first().filter(|(first, _)| *first <= self.begun);
            lost.extend(early.map(|span| format!("{name}: {span:?} is before the beginning")));
            let Some(from) = self.is_watched_from().filter(|_| self.has_slots()) else { continue };
            let late = spans.first().is_none_or(|(first, _)| first.duration_since(from).as_secs() > seconds);
            lost.extend(late.then(|| format!("{name}: watched from {from}, but known from {:?}", spans.first())));
        }
        lost
    }

    fn unexplained(
        &self,
        runs: &BTreeMap<String, Run>,
        journals: &[Vec<JournalEntry>],
        starts: &BTreeMap<&str, Vec<&ExperimentRecord>>,
    ) -> Vec<String> {
        let mut found = Vec::new();
        for ((id, run), journal) in runs.iter().zip(journals) {
            if run.fis.is_some() && !starts.contains_key(id.as_str()) {
                found.push(format!("{run:?} owns an experiment that there is not"));
            }
            let told = retold(run, journal);
            if (ending(&told), &told.fis) != (ending(run), &run.fis) {
                found.push(format!("the journal of {id} tells another story: {told:?}, not {run:?}"));
            }
        }
        if self.store == StoreKind::Sqlite {
            let integrity = disk::integrity(&self.home);
            found.extend((integrity != "ok").then_some(integrity));
        }
        let checked = self.home.run(&["store", "check"]);
        found.extend((checked.code != 0).then(|| format!("{checked:?}")));
        found
    }

    /// Tells what the experiment came to, in one line for people and one for `tests/chaos`; panics when anything is wrong.
    #[track_caller]
    pub fn verdict(&self, experiment: &str) {
        self.conclude(experiment, self.home.runs().len(), &self.findings());
    }

    /// As [`Scene::verdict`], where no store can be read, so that only FIS can tell.
    #[track_caller]
    pub fn verdict_of_fis(&self, experiment: &str) {
        self.conclude(experiment, 0, &self.findings_of_fis(&self.stage.experiments(), &BTreeMap::new()));
    }

    #[track_caller]
    fn conclude(&self, experiment: &str, runs: usize, findings: &Findings) {
        let starts = self.stage.experiments().len();
        let (recovery, gap) = (self.longest_recovery.as_millis(), self.longest_gap.as_millis());
        let place = if self.store == StoreKind::Sqlite { "" } else { " on PostgreSQL" };
        let mut row = format!("{experiment}{place}\t{}\t{starts}\t{runs}", self.kills);
        for (_, list) in findings.lists() {
            let _written = write!(row, "\t{}", list.len());
        }
        let _written = writeln!(row, "\t{}\t{gap}\t{recovery}", self.takeovers);
        println!("{row}");
        if let Ok(path) = std::env::var("FIREDRILL_CHAOS_TALLY") {
            let mut tally = File::options().create(true).append(true).open(path).expect("a file");
            tally.write_all(row.as_bytes()).expect("a row");
        }
        let wrong: Vec<_> = findings.lists().into_iter().filter(|(_, list)| !list.is_empty()).collect();
        assert!(wrong.is_empty(), "{experiment}: {wrong:#?}");
    }
}

/// How a run ended, without the instant: the journal keeps microseconds.
fn ending(run: &Run) -> String {
    match &run.state {
        RunState::Finished { outcome, .. } => format!("{outcome:?}"),
        RunState::Skipped { reason, .. } => format!("{reason:?}"),
        going_on => format!("still {going_on:?}"),
    }
}
