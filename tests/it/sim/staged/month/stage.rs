//! The stage of a month: a clock that passes over what is idle, and a FIS that answers at once and is never wrong.
//!
//! [`Clock`] leaves out the wake-ups at which the engine only looks again, and those at which it only asks how an
//! experiment is that still goes on; so a month is some thousand passes, and the end of an experiment is seen at its
//! instant.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use firedrill::{
    domain::{
        experiment::{Place, Rules, TemplateSelector},
        fis::{CallFailure, FailureClass, FisAction, FisExperiment, FisStatus},
        ids::{RUN_TAG, RunId},
        place::{PlaceFacts, Wanted},
        plan::{self, Mode, Places, Snapshot, Withheld},
        run::{Observation, Run},
        template::TemplateFacts,
    },
    engine::ports::{Configuration, FaultInjector, StartRequest, Store, StoreDid, StoreError, WakeSource, Witness},
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    sim::simulated::{nature::Nature, store::MemoryStore},
    support::world::fine,
};

/// An experiment as it was and will be.
#[derive(Debug, Clone)]
pub struct Played {
    pub run: RunId,
    pub template: String,
    pub begun: Timestamp,
    pub ends: Timestamp,
    pub is_stopped: bool,
}

/// FIS: every experiment takes exactly as long as its template allows.
pub struct Fis {
    pub nature: Arc<Nature>,
    pub templates: BTreeMap<String, TemplateFacts>,
    pub played: Mutex<Vec<Played>>,
}

fn not_found() -> CallFailure {
    CallFailure { class: FailureClass::NotFound, message: "simulated".to_owned() }
}

impl Fis {
    pub fn played(&self) -> Vec<Played> {
        self.played.lock().expect("one thread").clone()
    }

    fn now(&self) -> Timestamp {
        self.nature.true_wall_at(self.nature.elapsed())
    }

    fn shown(&self, id: usize, played: &Played) -> FisExperiment {
        let is_over = played.ends <= self.now();
        let status = match (is_over, played.is_stopped) {
            (false, _) => FisStatus::Running,
            (true, false) => FisStatus::Completed,
            (true, true) => FisStatus::Stopped,
        };
        let ended_at = is_over.then_some(played.ends);
        let action = |length: SignedDuration| FisAction {
            action_id: "latency".to_owned(),
            status: status.clone(),
            reason: String::new(),
            start_after: Vec::new(),
            started_at: Some(played.begun),
            ended_at: ended_at.map(|end| end.min(played.begun + length)),
        };
        let lengths = self.templates[&played.template].actions.iter();
        FisExperiment {
            id: format!("EXP{id}"),
            template_id: played.template.clone(),
            reason: String::new(),
            error: None,
            preview: false,
            created_at: Some(played.begun),
            started_at: Some(played.begun),
            ended_at,
            actions: lengths.filter_map(|(name, a)| Some((name.clone(), action(a.ceiling()?)))).collect(),
            lever_engaged: None,
            status,
        }
    }

    fn look<T>(&self, fis_id: &str, look: impl FnOnce(usize, &mut Played) -> T) -> Result<T, CallFailure> {
        let id: usize = fis_id.trim_start_matches("EXP").parse().map_err(|_| not_found())?;
        let mut played = self.played.lock().expect("one thread");
        played.get_mut(id).map(|played| look(id, played)).ok_or_else(not_found)
    }
}

impl FaultInjector for Fis {
    async fn read_template(&self, _place: &Place, template: &TemplateSelector) -> Result<TemplateFacts, CallFailure> {
        let TemplateSelector::Id(id) = template else { return Err(not_found()) };
        self.templates.get(id).cloned().ok_or_else(not_found)
    }

    async fn probe(&self, place: &Place, _wanted: &Wanted) -> Result<PlaceFacts, CallFailure> {
        Ok(fine(place))
    }

    async fn start(&self, _place: &Place, request: &StartRequest) -> Result<FisExperiment, CallFailure> {
        let begun = self.now();
        let run = request.tags.get(RUN_TAG).map_or("", String::as_str);
        let length = self.templates[&request.template_id].ceiling().known().expect("a length");
        let played = Played {
            run: RunId::from_text(run),
            template: request.template_id.clone(),
            begun,
            ends: begun + length,
            is_stopped: false,
        };
        let id = {
            let mut all = self.played.lock().expect("one thread");
            all.push(played.clone());
            all.len() - 1
        };
        Ok(self.shown(id, &played))
    }

    async fn find(&self, _place: &Place, _template: &str, run: &RunId) -> Result<Option<FisExperiment>, CallFailure> {
        let played = self.played();
        Ok(played.iter().enumerate().find(|(_, p)| p.run == *run).map(|(id, played)| self.shown(id, played)))
    }

    async fn get(&self, _place: &Place, fis_id: &str, _template_id: &str) -> Result<FisExperiment, CallFailure> {
        let (id, played) = self.look(fis_id, |id, played| (id, played.clone()))?;
        Ok(self.shown(id, &played))
    }

    async fn stop(&self, _place: &Place, fis_id: &str) -> Result<(), CallFailure> {
        let now = self.now();
        self.look(fis_id, |_, played| {
            if played.ends > now {
                (played.ends, played.is_stopped) = (now, true);
            }
        })
    }
}

/// The clock.
pub struct Clock {
    pub nature: Arc<Nature>,
    pub store: Arc<MemoryStore>,
    pub rules: Arc<Rules>,
    pub fis: Arc<Fis>,
}

impl Clock {
    /// When something may happen, given that the engine would look again at `until`.
    async fn next(&self, now: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let rows = self.store.load().await.expect("rows");
        let ends: BTreeMap<RunId, Timestamp> = self.fis.played().into_iter().map(|p| (p.run, p.ends)).collect();
        if rows.runs.iter().filter_map(|run| ends.get(&run.id)).any(|end| *end <= now) {
            return Some(until);
        }
        let snapshot = Snapshot {
            rules: &self.rules,
            cursors: rows.cursors,
            runs: rows.runs,
            halt: rows.halt,
            stops: rows.stops,
            ledgers: rows.ledgers,
            pauses: rows.pauses,
            deployed: rows.deployed,
            mode: Mode::Active,
            hints: BTreeMap::new(),
            busy: std::collections::BTreeSet::new(),
            places: Places::Read,
            withheld: Withheld::default(),
            restored_at: None,
            aged: std::collections::BTreeSet::new(),
        };
        let (_, wake) = plan::look(&snapshot, now);
        let end = snapshot.runs.iter().filter_map(|run| ends.get(&run.id)).min();
        wake.into_iter().chain(end.copied()).min()
    }
}

impl WakeSource for Clock {
    fn now(&self) -> Timestamp {
        self.nature.now()
    }

    async fn wait(&self, until: Option<Timestamp>) {
        let now = self.now();
        let Some(until) = until.filter(|until| *until > now) else { return };
        let Some(next) = self.next(now, until).await else { return std::future::pending().await };
        let left = Duration::try_from(next.duration_since(now)).unwrap_or(Duration::ZERO);
        tokio::time::sleep_until(tokio::time::Instant::now() + left).await;
    }
}

/// Nobody.
pub struct Deaf;

impl Witness for Deaf {
    fn committed(&self, _run: &Run, _observation: &Observation, _at: Timestamp) {}

    fn surveyed(&self, _snapshot: &Snapshot<'_>, _at: Timestamp) {}

    fn called(&self, _operation: &'static str, _result: &'static str, _took: Duration) {}

    fn store_failed(&self, _error: &StoreError) {}

    fn store_worked(&self, _did: StoreDid) {}

    fn looks_after_runs(&self) {}

    fn standing_by(&self, _holder: &str, _: Configuration) {}
}
