//! What is to be found after each experiment, whatever was done: nothing twice, nothing lost, nothing where it may not be.
//!
//! The truth is the simulator's list of experiments; the agent's rows must agree with it, and the journal with the rows.

use std::{collections::BTreeMap, fmt::Write as _, fs::File, io::Write as _};

use firedrill::{
    domain::{
        ids::RUN_TAG,
        run::{Run, RunState},
    },
    simulator::ExperimentRecord,
};
use jiff::Timestamp;

use super::{
    record::Record,
    scene::{SCHEDULED, Scene, Schedules, StoreKind, UNDER_WAY, event, named, slots},
};
use crate::process::retold;

/// What is wrong, each with its evidence.
#[derive(Debug, Default)]
pub struct Findings {
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
    pub fn lists(&self) -> [(&'static str, &[String]); 6] {
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

impl Record {
    /// Holds the agent's rows against the simulator's record; nothing runs any more.
    pub fn findings(&self) -> Findings {
        let mut found = self.findings_of_fis();
        let mut by_trigger: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (id, of) in self.starts() {
            let Some(run) = self.runs.get(id) else {
                // What a lost store began is promised to nobody: it goes on to its own end.
                if self.done.forgotten.is_some_and(|at| of[0].created_at < at) {
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
        // What is looked after is never told as a stray, whatever it was when its agent began; what a lost store began is one.
        let strays = self.log.lines().filter(|line| line.contains("that no run here watches or stops"));
        found.orphans.extend(strays.filter(|_| self.done.forgotten.is_none()).map(str::to_owned));
        found.doubles.extend(twice.map(|(trigger, of)| format!("{trigger:?} has {of:#?}")));
        found.lost = self.lost();
        found.unexplained = self.unexplained();
        found
    }

    /// What the simulator's record alone tells; of some experiments the journals tell when the agent learnt of them.
    fn findings_of_fis(&self) -> Findings {
        let mut forbidden = self.forbidden();
        forbidden.extend(self.beyond());
        Findings { doubles: self.doubles(), forbidden, beside: self.side_by_side(), ..Findings::default() }
    }

    /// What each experiment of the simulator is about, by its tag.
    fn starts(&self) -> BTreeMap<&str, Vec<&ExperimentRecord>> {
        let mut starts: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for experiment in &self.experiments {
            starts.entry(experiment.tags.get(RUN_TAG).map_or("", String::as_str)).or_default().push(experiment);
        }
        starts
    }

    /// Finds runs that FIS was made to start more than once, without a look at the store.
    fn doubles(&self) -> Vec<String> {
        let starts = self.starts();
        starts.iter().filter(|(_, of)| of.len() > 1).map(|(run, of)| format!("run {run} has {of:#?}")).collect()
    }

    /// Finds starts inside of windows, `[from, until)` each.
    fn forbidden(&self) -> Vec<String> {
        let mut found = Vec::new();
        for experiment in self.experiments.iter().filter(|of| named(of) == "in-the-gaps") {
            let is_closed =
                |at: Timestamp| self.done.closed.iter().any(|(from, until)| *from + UNDER_WAY <= at && at < *until);
            let shown = self.done.shown(experiment.created_at);
            if shown.iter().all(|at| is_closed(*at)) {
                found.push(format!("{experiment:?} at {shown:?}"));
            }
        }
        found
    }

    fn lost(&self) -> Vec<String> {
        let (done, runs) = (&self.done, &self.runs);
        let mut lost = Vec::new();
        for (id, opened) in done.sent.iter().zip(&self.arrived) {
            let decided = runs.values().filter(|run| event(run) == Some(id)).count();
            if (opened.as_slice(), decided) != (&[1], 1) {
                lost.push(format!("event {id}: rows that opened {opened:?} runs, {decided} runs"));
            }
        }
        lost.extend(done.promised.iter().filter(|id| !runs.contains_key(*id)).map(|id| format!("run {id}")));
        for (name, seconds) in SCHEDULED {
            let mut spans: Vec<(Timestamp, Timestamp)> =
                runs.values().filter(|run| run.experiment.as_str() == name).map(slots).collect();
            spans.sort();
            let gaps = spans.windows(2).filter(|pair| pair[1].0.duration_since(pair[0].1).as_secs() != seconds);
            lost.extend(gaps.map(|pair| format!("{name}: nothing between {pair:?}")));
            let early = spans.first().filter(|(first, _)| *first <= done.begun);
            lost.extend(early.map(|span| format!("{name}: {span:?} is before the beginning")));
            let Some(from) = self.is_watched_from().filter(|_| done.scheduled == Schedules::On) else { continue };
            let late = spans.first().is_none_or(|(first, _)| first.duration_since(from).as_secs() > seconds);
            lost.extend(late.then(|| format!("{name}: watched from {from}, but known from {:?}", spans.first())));
        }
        lost
    }

    fn unexplained(&self) -> Vec<String> {
        let (mut found, starts) = (self.damage.clone(), self.starts());
        for (id, run) in &self.runs {
            if run.fis.is_some() && !starts.contains_key(id.as_str()) {
                found.push(format!("{run:?} owns an experiment that there is not"));
            }
            let told = retold(run, &self.journals[id]);
            if (ending(&told), &told.fis) != (ending(run), &run.fis) {
                found.push(format!("the journal of {id} tells another story: {told:?}, not {run:?}"));
            }
        }
        found
    }

    /// Tells why kills showed nothing: no start was among what they might have hit, or starts were in doubt for which neither a
    /// kill nor a reload nor a lost answer can be blamed.
    pub fn weaknesses(&self) -> Vec<String> {
        let started = |kind: &str| self.runs.values().any(|run| run.fis.is_some() && run.trigger.kind() == kind);
        let untried = ["slot", "event"].into_iter().filter(|kind| !started(kind));
        let mut found: Vec<_> = untried.map(|kind| format!("no {kind} was started")).collect();
        let ((_, unexplained), lost_answers) = (self.doubts(), self.done.lost_answers);
        let doubtful = unexplained > lost_answers;
        found.extend(doubtful.then(|| format!("{unexplained} doubts of {lost_answers} answers lost")));
        found
    }
}

impl Scene {
    /// Tells what the experiment came to, in one line for people and one for `tests/chaos`; panics when anything is wrong.
    #[track_caller]
    pub fn verdict(&self, experiment: &str) {
        let record = self.record();
        self.conclude(experiment, &record, &record.findings());
    }

    /// As [`Scene::verdict`], where no store can be read, so that only FIS can tell.
    #[track_caller]
    pub fn verdict_of_fis(&self, experiment: &str) {
        let record = self.record_of_fis();
        self.conclude(experiment, &record, &record.findings_of_fis());
    }

    #[track_caller]
    fn conclude(&self, experiment: &str, record: &Record, findings: &Findings) {
        let (starts, runs) = (record.experiments.len(), record.runs.len());
        let (recovery, gap) = (self.longest_recovery.as_millis(), self.longest_gap.as_millis());
        let place = if self.done.store == StoreKind::Sqlite { "" } else { " on PostgreSQL" };
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
