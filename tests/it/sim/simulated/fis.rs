//! FIS as it behaves on bad days, and the truth about every experiment in it.
//!
//! A request that has left the agent is FIS's: it takes effect at its own time, whether or not anybody still waits for
//! the answer. Faults are drawn per call.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use firedrill::{
    domain::{
        experiment::{Place, TemplateSelector},
        fis::{CallFailure, FailureClass, FisExperiment, FisStatus},
        ids::{EXPERIMENT_TAG, ExperimentName, RUN_TAG, RunId},
        place::{PlaceFacts, Wanted},
        template::TemplateFacts,
    },
    engine::ports::{FaultInjector, StartRequest},
};

use super::{
    lease::Seat,
    nature::Nature,
    truth::{Around, Experiment, drawn},
};
use crate::sim::{
    planted::Bug,
    troubles::{
        denials::Denial,
        places::{self, Amiss, are_one},
        policies::{self, Served},
    },
};

/// Experiments that may be active at once in one place, unless a world says otherwise (AWS FIS quotas).
const ACTIVE_QUOTA: usize = 5;
/// Longer than the engine waits for an answer, in milliseconds.
const FOREVER_MS: u64 = 3_600_000;
/// How long the engine waits for an answer, in milliseconds.
pub const TIMEOUT_MS: u64 = 45_000;
/// Longest time until a request leaves, in milliseconds.
const CONNECT_MS: u64 = 1_000;
/// How long after it was called for whatever is to take effect has.
pub const SETTLED_MS: u64 = TIMEOUT_MS + LATE_MS + CONNECT_MS;
/// How long after the caller gave up a request may still take effect, in milliseconds.
pub const LATE_MS: u64 = 60_000;

/// How long FIS knows a token, in milliseconds: nobody says.
pub const TOKEN_LASTS_MS: u64 = 600_000;

/// Within which time an answer has to be waited for that is to be lost, in milliseconds.
const LOST_BEFORE_MS: u64 = 5_000;

/// A request that changes something.
#[derive(Debug, Clone)]
enum Request {
    Start { place: Place, request: StartRequest },
    Stop { fis_id: String },
}

type Reply = Result<Option<FisExperiment>, CallFailure>;

/// A call as the agent made it.
#[derive(Debug, Clone)]
pub struct CallLog {
    pub at: u64,
    /// When the agent has its answer or gives up.
    pub until: u64,
    pub operation: &'static str,
    pub run: Option<RunId>,
    /// Who made it.
    pub seat: Seat,
    /// Its process did not reach FIS.
    pub is_cut: bool,
    /// FIS answered that it may not.
    pub is_denied: bool,
}

#[derive(Debug, Default)]
pub struct State {
    /// Experiments that may be active at once in one place.
    pub quota: usize,
    pub experiments: Vec<Experiment>,
    pub calls: Vec<CallLog>,
    /// From when on FIS knows the tokens of what it began.
    pub tokens_since: u64,
    /// Whether experiments may be stuck, go on for ever, or not heed that they are stopped.
    pub is_moody: bool,
    /// When something is amiss with every place.
    pub amiss: Amiss,
    /// Where and when stops are denied.
    pub denials: Vec<Denial>,
    /// What templates say for their own safety, by id; of one that is not here, nothing.
    pub served: BTreeMap<String, Served>,
    pub templates: BTreeMap<String, (BTreeMap<String, String>, TemplateFacts)>,
    /// How long it takes besides until a request leaves, in milliseconds.
    pub connects_in_ms: u64,
    /// Of which experiment the next start takes effect how late and without an answer, unless it is asked for later than this.
    lost_answer: Option<(String, Option<u64>, u64)>,
    queue: BTreeMap<(u64, u64), Request>,
    replies: BTreeMap<u64, Reply>,
    next: u64,
}

/// FIS, as one process reaches it.
pub struct Fis {
    nature: Arc<Nature>,
    state: Arc<Mutex<State>>,
    seat: Seat,
}

/// How a call goes.
enum Fate {
    Fine,
    /// An answer without an effect.
    Refused(FailureClass),
    /// An effect after so long, and an error, or none, instead of an answer.
    Unclear {
        effect: Option<u64>,
        error: Option<FailureClass>,
    },
}

fn failure(class: FailureClass) -> CallFailure {
    CallFailure { class, message: "simulated".to_owned() }
}

impl Fis {
    pub fn new(nature: Arc<Nature>, templates: Vec<(BTreeMap<String, String>, TemplateFacts)>) -> Self {
        let templates = templates.into_iter().map(|(tags, facts)| (facts.id.clone(), (tags, facts))).collect();
        let state = State { templates, quota: ACTIVE_QUOTA, ..State::default() };
        Self { nature, state: Arc::new(Mutex::new(state)), seat: Seat::default() }
    }

    /// The same FIS, for another process.
    pub fn seat(&self, seat: Seat) -> Self {
        Self { nature: self.nature.clone(), state: Arc::clone(&self.state), seat }
    }

    /// Looks at the truth as of now.
    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().expect("one thread");
        while let Some((&(at, seq), _)) = state.queue.first_key_value()
            && at <= self.nature.elapsed()
        {
            if let Some(request) = state.queue.remove(&(at, seq)) {
                let reply = self.take(&mut state, request, at);
                state.replies.insert(seq, reply);
            }
        }
        look(&mut state)
    }

    fn take(&self, state: &mut State, request: Request, at: u64) -> Reply {
        match request {
            Request::Start { place, request } => self.create(state, place, request, at).map(Some),
            Request::Stop { fis_id } => {
                let found = state.experiments.iter_mut().find(|e| e.id == fis_id && !e.is_forgotten);
                let experiment = found.ok_or_else(|| failure(FailureClass::NotFound))?;
                if experiment.has_ended(at) {
                    return Err(failure(FailureClass::Invalid));
                }
                experiment.told_to_stop(at);
                self.nature.say(|| format!("FIS: {fis_id} is told to stop, not heeded {:?}", experiment.unheeded));
                Ok(None)
            }
        }
    }

    fn create(
        &self,
        state: &mut State,
        place: Place,
        request: StartRequest,
        at: u64,
    ) -> Result<FisExperiment, CallFailure> {
        let known_since = state.tokens_since.max(at.saturating_sub(TOKEN_LASTS_MS));
        let is_known = |e: &&Experiment| e.is_forgotten || e.created_at >= known_since;
        let of_token = |e: &&Experiment| are_one(&e.place, &place) && e.request.client_token == request.client_token;
        let known = state.experiments.iter().filter(of_token).find(is_known);
        if let Some(known) = known
            && self.nature.bug() != Bug::TokenFromTheClock
        {
            let same = known.request == request;
            return if same { Ok(known.shown(at, &self.nature)) } else { Err(failure(FailureClass::Conflict)) };
        }
        let Some((_, facts)) = state.templates.get(&request.template_id) else {
            return Err(failure(FailureClass::NotFound));
        };
        let active = state.experiments.iter().filter(|e| are_one(&e.place, &place) && !e.has_ended(at)).count();
        if active >= state.quota {
            return Err(failure(FailureClass::Quota));
        }
        let id = format!("EXP{}", state.experiments.len() + 1);
        let lever_at = state.amiss.engaged.iter().find(|(_, until)| at < *until).map(|(from, _)| at.max(*from));
        let around = Around { at, lever_at, is_bad_day: self.nature.weather().fis > 0, is_moody: state.is_moody };
        let experiment = self.nature.draw(|c| drawn(c, id, place, request, facts, around));
        self.nature.say(|| format!("FIS: {} begins for {}", experiment.id, experiment.run()));
        let shown = experiment.shown(at, &self.nature);
        state.experiments.push(experiment);
        Ok(shown)
    }

    /// Makes that the next start of an experiment, if that is soon, takes effect so late, or never, and is not answered: where
    /// the effect does not come after the caller gave up, by an error.
    pub fn lose_answer(&self, experiment: &ExperimentName, effect_ms: Option<u64>) {
        let before = self.nature.elapsed() + LOST_BEFORE_MS;
        self.with(|state| state.lost_answer = Some((experiment.to_string(), effect_ms, before)));
    }

    fn lost(&self, request: Option<&Request>) -> Option<Fate> {
        let Some(Request::Start { request, .. }) = request else { return None };
        let (of, now) = (request.tags.get(EXPERIMENT_TAG), self.nature.elapsed());
        let is_it = |(name, _, before): &mut (String, _, u64)| of == Some(name) && now <= *before;
        let (_, effect_ms, _) = self.with(|state| state.lost_answer.take_if(is_it))?;
        let error = effect_ms.is_none_or(|ms| ms <= TIMEOUT_MS).then_some(FailureClass::Unavailable);
        Some(Fate::Unclear { effect: effect_ms, error })
    }

    /// Whether nobody may make a request at a true time.
    fn may_not(&self, request: Option<&Request>, at: u64) -> bool {
        let Some(Request::Stop { fis_id }) = request else { return false };
        self.with(|state| {
            let place = state.experiments.iter().find(|e| e.id == *fis_id).map(|e| &e.place);
            place.is_some_and(|place| state.denials.iter().any(|denial| denial.is_of(place, at)))
        })
    }

    fn fate(&self) -> Fate {
        use FailureClass as C;
        let rate = self.nature.weather().fis;
        self.nature.draw(|c| {
            if !c.permille(rate) {
                return Fate::Fine;
            }
            match c.between(0, 9) {
                0..=2 => Fate::Refused(c.pick(&[C::Throttled, C::Throttled, C::Quota, C::Credentials, C::Denied])),
                3 => Fate::Unclear { effect: None, error: Some(C::Unavailable) },
                4 | 5 => {
                    Fate::Unclear { effect: Some(0), error: Some(c.pick(&[C::Unavailable, C::Unreadable, C::Timeout])) }
                }
                6 => Fate::Unclear { effect: None, error: None },
                7 => Fate::Unclear { effect: Some(c.between(0, TIMEOUT_MS)), error: None },
                8 => Fate::Unclear { effect: Some(TIMEOUT_MS + c.between(0, LATE_MS)), error: None },
                _ => Fate::Unclear { effect: Some(c.between(0, LATE_MS)), error: Some(C::Unavailable) },
            }
        })
    }

    /// Makes a call: what it changes takes effect at FIS's own time, also when the caller is gone. Returns when FIS saw it.
    async fn call(
        &self,
        operation: &'static str,
        run: Option<RunId>,
        request: Option<Request>,
    ) -> Result<(u64, u64), CallFailure> {
        if request.is_some() && self.nature.draw(|c| c.one_in(4)) {
            // Credentials are fetched, a connection is made: nothing has left yet.
            self.nature.let_pass(self.nature.draw(|c| c.between(0, CONNECT_MS))).await;
        }
        if request.is_some() {
            self.nature.let_pass(self.with(|state| state.connects_in_ms)).await;
        }
        let at = self.nature.elapsed();
        let latency = self.nature.draw(|c| c.between(20, 800));
        let is_cut = self.nature.cut(self.seat.replica).fis_until > at;
        let fate = match is_cut {
            true => Fate::Unclear { effect: None, error: Some(FailureClass::Unavailable) },
            false if self.may_not(request.as_ref(), at) => Fate::Refused(FailureClass::Denied),
            false => self.lost(request.as_ref()).unwrap_or_else(|| self.fate()),
        };
        let (effect, answered) = match &fate {
            Fate::Fine => (Some(latency / 2), latency),
            Fate::Refused(_) => (None, latency),
            Fate::Unclear { effect, error } => (*effect, error.map_or(FOREVER_MS, |_| latency)),
        };
        let (seq, place) = self.with(|state| {
            state.next += 1;
            let seq = state.next;
            if let (Some(effect), Some(request)) = (effect, request) {
                state.queue.insert((at + effect, seq), request);
            }
            let until = at + answered.min(TIMEOUT_MS);
            let of = run.as_ref().map(ToString::to_string).unwrap_or_default();
            self.nature.say(|| format!("replica {}: {operation} {of}", self.seat.replica));
            let is_denied = matches!(fate, Fate::Refused(FailureClass::Denied));
            state.calls.push(CallLog { at, until, operation, run, seat: self.seat, is_cut, is_denied });
            (seq, state.calls.len() - 1)
        });
        self.nature.let_pass(answered).await;
        if self.nature.cut(self.seat.replica).fis_until > self.nature.elapsed() {
            self.with(|state| state.calls[place].until = at + TIMEOUT_MS);
            self.nature.let_pass(FOREVER_MS).await;
        }
        let class = match fate {
            Fate::Fine => return Ok((seq, at + latency / 2)),
            Fate::Refused(FailureClass::Denied) if self.nature.bug() == Bug::DenialUntold => FailureClass::Throttled,
            Fate::Refused(class) => class,
            Fate::Unclear { .. } if self.nature.bug() == Bug::SilenceIsRefusal => FailureClass::Throttled,
            Fate::Unclear { error, .. } => error.unwrap_or(FailureClass::Timeout),
        };
        self.nature.say(|| format!("FIS: {operation} answered {class}"));
        Err(failure(class))
    }

    fn reply(&self, seq: u64) -> Reply {
        self.with(|state| state.replies.remove(&seq)).unwrap_or_else(|| Err(failure(FailureClass::Unreadable)))
    }

    /// Planted: what a stop waits for, or is not made for.
    async fn waits_to_stop(&self, run: Option<&RunId>) -> Result<(), CallFailure> {
        let now = self.nature.elapsed();
        match self.nature.bug() {
            Bug::StopWaitsForTheStore => {
                let cut = self.nature.cut(self.seat.replica).store_until;
                let back = self.nature.weather().store_out_until.max(cut);
                if back > now { Err(failure(FailureClass::Unavailable)) } else { Ok(()) }
            }
            Bug::StopWaitsForAPoll => {
                let is_poll = |call: &&CallLog| call.operation == "GetExperiment" && call.run.as_ref() == run;
                let until = self.with(|state| state.calls.iter().filter(is_poll).map(|call| call.until).max());
                self.nature.sleep_until(until.unwrap_or(now).max(now)).await;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn run_of(&self, fis_id: &str) -> Option<RunId> {
        self.with(|state| state.experiments.iter().find(|e| e.id == fis_id).map(Experiment::run))
    }
}

impl FaultInjector for Fis {
    async fn read_template(&self, _place: &Place, template: &TemplateSelector) -> Result<TemplateFacts, CallFailure> {
        self.call("GetExperimentTemplate", None, None).await?;
        self.with(|state| {
            let found = match template {
                TemplateSelector::Id(id) => state.templates.get(id),
                TemplateSelector::Tags(wanted) => state
                    .templates
                    .values()
                    .find(|(tags, _)| wanted.iter().all(|(key, value)| tags.get(key) == Some(value))),
            };
            let (_, facts) = found.ok_or_else(|| failure(FailureClass::NotFound))?;
            let Some(served) = state.served.get(&facts.id) else { return Ok(facts.clone()) };
            let now = self.nature.elapsed();
            let safeguards = match self.nature.bug() {
                Bug::TemplateToldLate => policies::served(served, now.saturating_sub(policies::STALE_MS)),
                _ => policies::served(served, now),
            };
            let safeguards = Some(safeguards.cloned().ok_or_else(|| failure(FailureClass::Credentials))?);
            Ok(TemplateFacts { safeguards, ..facts.clone() })
        })
    }

    async fn probe(&self, place: &Place, wanted: &Wanted) -> Result<PlaceFacts, CallFailure> {
        self.call("Probe", None, None).await?;
        let now = self.nature.elapsed();
        Ok(self.with(|state| places::facts(state, place, wanted, now, &self.nature)))
    }

    async fn start(&self, place: &Place, request: &StartRequest) -> Result<FisExperiment, CallFailure> {
        let run = request.tags.get(RUN_TAG).map(|id| RunId::from_text(id));
        let wanted = Request::Start { place: place.clone(), request: request.clone() };
        let (seq, _) = self.call("StartExperiment", run, Some(wanted)).await?;
        self.reply(seq)?.ok_or_else(|| failure(FailureClass::Unreadable))
    }

    async fn find(&self, place: &Place, template_id: &str, run: &RunId) -> Result<Option<FisExperiment>, CallFailure> {
        let (_, now) = self.call("ListExperiments", Some(run.clone()), None).await?;
        let bug = self.nature.bug();
        if bug == Bug::RetryWithoutLocate {
            return Ok(None);
        }
        self.with(|state| {
            let shown = |e: &&Experiment| {
                let is_tagged = bug == Bug::AdoptsAnothers || e.run() == *run;
                let ours = are_one(&e.place, place) && e.request.template_id == template_id && is_tagged;
                ours && e.created_at <= now && e.listed_at <= now && !e.is_forgotten
            };
            match state.experiments.iter().find(shown) {
                Some(found) if found.is_silent(now) => Err(failure(FailureClass::Unreadable)),
                found => Ok(found.map(|e| e.shown(now, &self.nature))),
            }
        })
    }

    async fn get(&self, place: &Place, fis_id: &str, _template_id: &str) -> Result<FisExperiment, CallFailure> {
        let (_, now) = self.call("GetExperiment", self.run_of(fis_id), None).await?;
        let rate = self.nature.weather().fis;
        let (is_missing, is_strange) = self.nature.draw(|c| (c.permille(rate / 5), c.permille(rate / 5)));
        self.with(|state| {
            let found =
                state.experiments.iter_mut().find(|e| are_one(&e.place, place) && e.id == fis_id && !e.is_forgotten);
            let experiment = found.filter(|_| !is_missing).ok_or_else(|| failure(FailureClass::NotFound))?;
            if experiment.is_silent(now) {
                return Err(failure(FailureClass::Unreadable));
            }
            let mut fis = experiment.shown(now, &self.nature);
            if is_strange {
                fis.status = FisStatus::Unknown("paused".to_owned());
            } else if !experiment.unheeded.is_empty() && experiment.is_told_going(now) {
                experiment.told_going.push(now);
            }
            if fis.status == FisStatus::Stopped {
                fis.lever_engaged = Some(places::is_within(&state.amiss.engaged, now));
            }
            Ok(fis)
        })
    }

    async fn stop(&self, _place: &Place, fis_id: &str) -> Result<(), CallFailure> {
        let (wanted, run) = (Request::Stop { fis_id: fis_id.to_owned() }, self.run_of(fis_id));
        self.waits_to_stop(run.as_ref()).await?;
        let (seq, _) = self.call("StopExperiment", run, Some(wanted)).await?;
        self.reply(seq).map(|_| ())
    }
}
