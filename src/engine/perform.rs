//! Performing: one effect becomes rows and at most one call; the answer becomes an observation.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::{
    calls::Gives,
    ports::{FaultInjector, StartRequest, WakeSource},
    term::Term,
};
use crate::domain::{
    experiment::{Place, TemplateSelector},
    fis::{CallFailure, FailureClass, FisExperiment},
    ids::{EXPERIMENT_TAG, RUN_TAG, RunId},
    ledger::Definition,
    place::{PlaceFacts, Wanted},
    plan::{Effect, Snapshot},
    react,
    run::{Observation, Run, RunState, STOP_OPERATION},
    template::TemplateFacts,
};

/// Longest time one call may take, the search for credentials included; after it the answer counts as lost.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(45);

/// Longest time that asking of a place may take: less than what is told is good for.
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

/// Longest time from when a start, or a stop that the store does not know of, is decided until its request leaves: what
/// forbids it may begin any moment, and nobody judges it again. Nobody can tell either whether a request has left, so
/// its answer has to come by then as well; FIS takes a second or two, and a start without an answer is looked for by its tag.
const LEAVES_WITHIN: Duration = Duration::from_secs(10);

/// How often a call under way looks at the clock.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(1);

/// A call to be made for a run.
#[derive(Debug, Clone)]
pub(super) enum Call {
    ReadTemplate {
        place: Place,
        template: TemplateSelector,
    },
    Probe {
        place: Place,
        wanted: Wanted,
    },
    Start {
        place: Place,
        request: StartRequest,
    },
    Find {
        place: Place,
        template_id: String,
    },
    Get {
        place: Place,
        fis_id: String,
        /// `EXT…`, of which it is one.
        template_id: String,
    },
    Stop {
        place: Place,
        fis_id: String,
    },
    /// As `Stop`, though the store does not know of it.
    StopUnwritten {
        place: Place,
        fis_id: String,
    },
}

/// What came back.
pub(super) enum Answer {
    Template(Result<TemplateFacts, CallFailure>),
    Place(Result<PlaceFacts, CallFailure>),
    Start(Result<FisExperiment, CallFailure>),
    Find(Result<Option<FisExperiment>, CallFailure>),
    Get(Result<FisExperiment, CallFailure>),
    Stop(Result<(), CallFailure>),
}

/// A call that has ended.
pub(super) struct Done {
    pub run: Run,
    pub operation: &'static str,
    pub answer: Answer,
    /// When the call was wanted, by the wall clock.
    pub asked_at: Timestamp,
    pub took: Duration,
}

impl Call {
    /// Returns AWS's name of the operation, or ours for several.
    pub(super) fn operation(&self) -> &'static str {
        match self {
            Self::ReadTemplate { .. } => "GetExperimentTemplate",
            Self::Probe { .. } => "Probe",
            Self::Start { .. } => "StartExperiment",
            Self::Find { .. } => "ListExperiments",
            Self::Get { .. } => "GetExperiment",
            Self::Stop { .. } | Self::StopUnwritten { .. } => STOP_OPERATION,
        }
    }

    /// Tells whether something else may be done to the run meanwhile: only an answer about what goes on is not missed.
    pub(super) fn gives(&self) -> Gives {
        if matches!(self, Self::Get { .. }) { Gives::Way } else { Gives::NoWay }
    }
}

impl Answer {
    /// Returns `ok` or the failure's class.
    pub(super) fn result(&self) -> &'static str {
        let class = |failure: &CallFailure| failure.class.as_str();
        match self {
            Self::Template(answer) => answer.as_ref().map_or_else(class, |_| "ok"),
            Self::Place(answer) => answer.as_ref().map_or_else(class, |_| "ok"),
            Self::Start(answer) | Self::Get(answer) => answer.as_ref().map_or_else(class, |_| "ok"),
            Self::Find(answer) => answer.as_ref().map_or_else(class, |_| "ok"),
            Self::Stop(answer) => answer.as_ref().map_or_else(class, |()| "ok"),
        }
    }
}

/// Returns the call of an effect that needs no intent; `None` when there is nothing to ask about.
pub(super) fn call(run: &Run, effect: Effect) -> Option<Call> {
    match effect {
        Effect::ReadTemplate { place, template, .. } => Some(Call::ReadTemplate { place, template }),
        Effect::Probe { place, wanted, .. } => Some(Call::Probe { place, wanted }),
        Effect::Look { .. } => match &run.state {
            RunState::Starting { place, template_id, .. } => {
                Some(Call::Find { place: place.clone(), template_id: template_id.clone() })
            }
            _ => None,
        },
        Effect::Poll { .. } => running_at(run).map(|(place, fis_id)| {
            let template_id = run.fis.as_ref().map(|fis| fis.template_id.clone()).unwrap_or_default();
            Call::Get { place, fis_id, template_id }
        }),
        Effect::Stop { .. } => running_at(run).map(|(place, fis_id)| Call::Stop { place, fis_id }),
        _ => None,
    }
}

/// Returns the call whose intent has been recorded.
pub(super) fn intended(run: &Run, asked: Observation, tags: BTreeMap<String, String>) -> Option<Call> {
    match asked {
        Observation::StartAsked { place, template_id, .. } => {
            Some(Call::Start { place, request: start_request(run, template_id, tags) })
        }
        Observation::StopAsked { .. } => running_at(run).map(|(place, fis_id)| Call::Stop { place, fis_id }),
        _ => None,
    }
}

/// Builds the request that starts a run: its token and its tag follow from its identity.
fn start_request(run: &Run, template_id: String, tags: BTreeMap<String, String>) -> StartRequest {
    let mut tags = tags;
    tags.insert(RUN_TAG.to_owned(), run.id.to_string());
    tags.insert(EXPERIMENT_TAG.to_owned(), run.experiment.to_string());
    StartRequest { template_id, client_token: run.id.client_token(), tags }
}

/// Makes a call that was wanted at an instant, bounded in time; one that changes something only goes on while the lease is
/// held.
pub(super) fn make<F: FaultInjector, W: WakeSource>(
    (injector, time): (Arc<F>, Arc<W>),
    (run, call): (Run, Call),
    term: Term,
    asked_at: Timestamp,
) -> BoxFuture<'static, Done> {
    Box::pin(async move {
        let operation = call.operation();
        let begun = tokio::time::Instant::now();
        let answer = match call {
            Call::ReadTemplate { place, template } => {
                let answer = bounded(injector.read_template(&place, &template)).await;
                let read_by = Some(Box::new(Definition { template, place }));
                Answer::Template(answer.map(|facts| TemplateFacts { read_by, ..facts }))
            }
            Call::Probe { place, wanted } => {
                let answer = within(PROBE_TIMEOUT, injector.probe(&place, &wanted)).await;
                Answer::Place(answer.map(|facts| PlaceFacts { place, ..facts }))
            }
            Call::Start { place, request } => {
                Answer::Start(term.bounds(young(&*time, asked_at, injector.start(&place, &request))).await)
            }
            Call::Find { place, template_id } => {
                Answer::Find(bounded(injector.find(&place, &template_id, &run.id)).await)
            }
            Call::Get { place, fis_id, template_id } => {
                Answer::Get(bounded(injector.get(&place, &fis_id, &template_id)).await)
            }
            Call::Stop { place, fis_id } => Answer::Stop(term.bounds(bounded(injector.stop(&place, &fis_id))).await),
            Call::StopUnwritten { place, fis_id } => {
                Answer::Stop(young(&*time, asked_at, injector.stop(&place, &fis_id)).await)
            }
        };
        Done { run, operation, answer, asked_at, took: begun.elapsed() }
    })
}

async fn bounded<T>(call: impl Future<Output = Result<T, CallFailure>>) -> Result<T, CallFailure> {
    within(CALL_TIMEOUT, call).await
}

async fn within<T>(limit: Duration, call: impl Future<Output = Result<T, CallFailure>>) -> Result<T, CallFailure> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(late(format!("no answer within {} s", limit.as_secs()))),
    }
}

fn late(message: String) -> CallFailure {
    CallFailure { class: FailureClass::Timeout, message }
}

/// Gives a call up when [`LEAVES_WITHIN`] has passed since it was wanted: by the wall clock, which also shows that the process
/// was stopped or suspended meanwhile, or that the clock was set, and by one that nobody sets. A request that has not left
/// by then would begin what may have been forbidden meanwhile.
async fn young<T>(
    time: &impl WakeSource,
    asked_at: Timestamp,
    call: impl Future<Output = Result<T, CallFailure>>,
) -> Result<T, CallFailure> {
    let mut call = pin!(within(LEAVES_WITHIN, call));
    let mut clock = tokio::time::interval(LOOK_AT_CLOCK);
    std::future::poll_fn(|context| {
        let now = time.now();
        if now.duration_since(asked_at).unsigned_abs() > LEAVES_WITHIN {
            return Poll::Ready(Err(late(format!("it was wanted at {asked_at}, and it is {now}"))));
        }
        while clock.poll_tick(context).is_ready() {}
        call.as_mut().poll(context)
    })
    .await
}

/// Turns an answer to what was wanted at `asked_at` into what is recorded.
pub(super) fn observe(run: &Run, answer: Answer, asked_at: Timestamp, at: Timestamp) -> Observation {
    match answer {
        Answer::Template(answer) => {
            react::template(run, answer.map(|facts| TemplateFacts { read_at: asked_at, ..facts }), at)
        }
        Answer::Place(answer) => react::place(run, answer.map(|facts| PlaceFacts { read_at: asked_at, ..facts }), at),
        Answer::Start(answer) => react::start(run, answer, at),
        // That there was none some time ago says nothing of now: a process that was away for longer than a call takes asks again.
        Answer::Find(Ok(None)) if at.duration_since(asked_at).unsigned_abs() > CALL_TIMEOUT => {
            react::look(run, Err(late("the answer came too late".to_owned())), at)
        }
        Answer::Find(answer) => react::look(run, answer, at),
        Answer::Get(answer) => react::poll(answer),
        Answer::Stop(answer) => react::stop(run, answer, at),
    }
}

/// Returns where and as what FIS knows the experiment of a run that is going on.
pub(super) fn running_at(run: &Run) -> Option<(Place, String)> {
    match (&run.state, &run.fis) {
        (RunState::Running { place, .. } | RunState::Stopping { place, .. }, Some(fis)) => {
            Some((place.clone(), fis.id.clone()))
        }
        _ => None,
    }
}

/// The runs that begin in this pass, as they are judged.
pub(super) fn begun(effects: &[Effect], snapshot: &Snapshot<'_>) -> Vec<Run> {
    let runs: HashMap<&RunId, &Run> = snapshot.runs.iter().map(|run| (&run.id, run)).collect();
    let begins = |effect: &Effect| {
        let Effect::Start { run, facts, .. } = effect else { return None };
        let run = (*runs.get(run)?).clone();
        Some(Run { facts: facts.clone().or(run.facts), ..run })
    };
    effects.iter().filter_map(begins).collect()
}
