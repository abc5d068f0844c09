//! Routes: operators' wishes in, rows and status out. Problems are `application/problem+json` (RFC 9457).

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout},
};

use super::status::Status;
use crate::{
    domain::{
        ids::{Name, RunId},
        lever::{HeldLever, LeverReport},
        plan::HaltRunning,
        run::WindowRule,
    },
    engine::ports::{Found, Recorded, Store, StoreError},
    ingest::{
        event::Taken,
        manual::{Asker, Backfill, LeversOfHalt, ManualError, ManualIngest},
        quarantine::{Quarantine, Redriven},
    },
};

/// An engine that has given no sign of life for this long is stuck: it gives one every second while it waits, and several
/// while it is at work.
const STUCK_AFTER: Duration = Duration::from_secs(120);

/// How long the safety levers of a halt wait for its row; whoever asks waits half a minute in all.
const HALT_RECORDED_WITHIN: Duration = Duration::from_secs(6);

/// Answer to a reload: warnings, or the problems for which the old configuration stays.
pub type ReloadAnswer = Result<Vec<String>, Vec<String>>;

/// A wish to have the safety levers of the halt moved.
#[derive(Debug)]
pub struct LeverWish {
    /// What is to be done.
    pub job: LeverJob,
    /// Where it is told what became of each.
    pub answer: oneshot::Sender<Result<Vec<LeverReport>, ManualError>>,
}

/// What is to be done with the safety levers of the halt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeverJob {
    /// Those that it asks for are engaged.
    Engage,
    /// These are engaged though the halt is in no row.
    EngageUnrecorded(Vec<HeldLever>),
    /// Those that are ours are let go, and then the halt is lifted.
    Release,
}

/// Query of a wish to lift the halt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResumeWish {
    /// What becomes of safety levers that it engaged.
    pub levers: LeversOfResume,
}

/// What a resume does with safety levers that the halt engaged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeversOfResume {
    /// They are let go first, unless somebody else moved them since.
    #[default]
    Released,
    /// They stay as they are.
    AsTheyAre,
}

/// What the routes need.
pub struct Api<S> {
    /// Takes wishes.
    pub manual: ManualIngest<S>,
    /// Messages that could not be read.
    pub quarantine: Quarantine<S>,
    /// The agent's status.
    pub status: watch::Receiver<Arc<Status>>,
    /// When the engine last gave a sign of life.
    pub alive: watch::Receiver<Instant>,
    /// Asks for safety levers to be moved.
    pub levers: mpsc::Sender<LeverWish>,
    /// Asks for a reload.
    pub reload: mpsc::Sender<oneshot::Sender<ReloadAnswer>>,
}

impl<S> Clone for Api<S> {
    fn clone(&self) -> Self {
        Self {
            manual: self.manual.clone(),
            quarantine: self.quarantine.clone(),
            status: self.status.clone(),
            alive: self.alive.clone(),
            levers: self.levers.clone(),
            reload: self.reload.clone(),
        }
    }
}

/// Body of a wish.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// Which experiment, to start one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment: Option<String>,
    /// Identity of the request, to start one: the same text is the same run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Who asks.
    pub by: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What a halt does to what is running.
    #[serde(default)]
    pub running: HaltRunning,
    /// What a halt does with safety levers.
    #[serde(default)]
    pub levers: LeversOfHalt,
    /// Whether windows hold for a start.
    #[serde(default)]
    pub windows: WindowRule,
    /// When a pause ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Body of a wish to fill a range of slots again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackfillWish {
    /// Which schedule; may be left out when there is one only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// First instant (inclusive).
    pub from: Timestamp,
    /// Last instant (inclusive).
    pub to: Timestamp,
    /// Identity of the request: the same text is the same runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Who asks.
    pub by: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Answer to a start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StartedRun {
    /// The run's id.
    pub run: RunId,
    /// Whether the same request was known already.
    pub known: bool,
}

/// Body of a wish about a message that could not be read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageWish {
    /// Which queue, by its name in the configuration.
    pub queue: String,
    /// The queue's id of the message.
    pub message: String,
}

/// Answer to a message that is taken in again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RedrivenMessage {
    /// What became of it, in a word.
    pub taken: String,
    /// Runs that it opened.
    pub runs: Vec<RunId>,
    /// Why it stays in quarantine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A problem, as RFC 9457 shapes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Problem {
    /// What kind of problem.
    pub title: String,
    /// What exactly.
    pub detail: String,
    /// HTTP status.
    pub status: u16,
    /// Each mistake, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// Routes that act and tell, for the Unix socket.
pub fn operator_routes<S: Store>(api: Api<S>) -> Router {
    Router::new()
        .route("/v1/runs", post(start::<S>))
        .route("/v1/runs/{id}/stop", post(stop::<S>))
        .route("/v1/halt", post(halt::<S>).delete(resume::<S>))
        .route("/v1/experiments/{name}/pause", post(pause::<S>).delete(unpause::<S>))
        .route("/v1/experiments/{name}/backfill", post(backfill::<S>))
        .route("/v1/quarantine/redrive", post(redrive::<S>))
        .route("/v1/quarantine/drop", post(forget::<S>))
        .route("/v1/reload", post(reload::<S>))
        .with_state(api.clone())
        .merge(probe_routes(api))
}

/// Routes that only tell, for the TCP listener.
pub fn probe_routes<S: Store>(api: Api<S>) -> Router {
    let health = health_routes(api.alive.clone());
    Router::new().route("/v1/status", get(status::<S>)).route("/readyz", get(readyz::<S>)).with_state(api).merge(health)
}

/// The route by which a process is found to be stuck, and may be ended.
pub fn health_routes(alive: watch::Receiver<Instant>) -> Router {
    Router::new().route("/healthz", get(healthz)).with_state(alive)
}

async fn start<S: Store>(State(api): State<Api<S>>, Json(wish): Json<Wish>) -> Response {
    let name = match named(wish.experiment.as_deref().unwrap_or_default()) {
        Ok(name) => name,
        Err(refused) => return *refused,
    };
    let now = now();
    let request = wish.request.unwrap_or_else(|| now.to_string());
    let asker = Asker { by: wish.by, reason: wish.reason };
    match api.manual.start(name, request, asker, wish.windows, now).await {
        Ok((run, recorded)) => {
            let known = recorded == Recorded::Known;
            let status = if known { StatusCode::OK } else { StatusCode::CREATED };
            (status, Json(StartedRun { run: run.id, known })).into_response()
        }
        Err(error) => refused(&error),
    }
}

async fn stop<S: Store>(State(api): State<Api<S>>, Path(id): Path<String>, Json(wish): Json<Wish>) -> Response {
    let asker = Asker { by: wish.by, reason: wish.reason };
    answer(api.manual.stop(RunId::from_text(&id), asker, now()).await)
}

async fn halt<S: Store>(State(api): State<Api<S>>, Json(wish): Json<Wish>) -> Response {
    let asker = Asker { by: wish.by, reason: wish.reason };
    let halt = api.manual.halting(asker, wish.running, wish.levers, now());
    if wish.levers == LeversOfHalt::AsTheyAre {
        return answer(api.manual.halt(halt).await);
    }
    let levers = halt.levers.clone();
    // On disk first: whatever becomes of the levers, nothing starts.
    match timeout(HALT_RECORDED_WITHIN, api.manual.halt(halt)).await {
        Ok(Ok(())) => move_levers(&api, LeverJob::Engage).await,
        Ok(Err(error)) => halt_unrecorded(&api, levers, &said_of(&error)).await,
        Err(_) => halt_unrecorded(&api, levers, "the store did not answer in time").await,
    }
}

/// Engages the levers of a halt that is in no row, and tells exactly that.
async fn halt_unrecorded<S>(api: &Api<S>, levers: Vec<HeldLever>, why: &str) -> Response {
    let moved = match ask_levers(api, LeverJob::EngageUnrecorded(levers)).await {
        Some(Ok(reports)) => {
            reports.iter().map(|report| format!("safety lever of {}: {}", report.place, report.said)).collect()
        }
        _ => vec!["no safety lever was moved".to_owned()],
    };
    let detail = format!(
        "{why}; run it again. Its safety levers were asked for all the same, and `firedrill resume` does not let go \
         those that this engaged: no row says that they are ours, let them go by hand"
    );
    let (title, status) = ("the halt is NOT recorded".to_owned(), StatusCode::SERVICE_UNAVAILABLE);
    shaped(status, &Problem { title, detail, status: status.as_u16(), errors: moved })
}

async fn resume<S: Store>(State(api): State<Api<S>>, Query(wish): Query<ResumeWish>) -> Response {
    match wish.levers {
        LeversOfResume::Released => move_levers(&api, LeverJob::Release).await,
        LeversOfResume::AsTheyAre => answer(api.manual.resume().await),
    }
}

/// Has safety levers moved; `None` when nobody does that any more.
async fn ask_levers<S>(api: &Api<S>, job: LeverJob) -> Option<Result<Vec<LeverReport>, ManualError>> {
    let (answer, answered) = oneshot::channel();
    api.levers.send(LeverWish { job, answer }).await.ok()?;
    answered.await.ok()
}

/// Has safety levers moved, and tells what became of each.
async fn move_levers<S>(api: &Api<S>, job: LeverJob) -> Response {
    match ask_levers(api, job).await {
        Some(Ok(reports)) => Json(reports).into_response(),
        Some(Err(error)) => refused(&error),
        None => problem(StatusCode::SERVICE_UNAVAILABLE, "shutting down", "the agent moves no safety levers any more"),
    }
}

async fn pause<S: Store>(State(api): State<Api<S>>, Path(name): Path<String>, Json(wish): Json<Wish>) -> Response {
    let asker = Asker { by: wish.by, reason: wish.reason };
    match named(&name) {
        Ok(name) => answer(api.manual.pause(name, asker, wish.until, now()).await),
        Err(refused) => *refused,
    }
}

async fn unpause<S: Store>(State(api): State<Api<S>>, Path(name): Path<String>) -> Response {
    let name = match named(&name) {
        Ok(name) => name,
        Err(refused) => return *refused,
    };
    match api.manual.unpause(name, now()).await {
        Ok(warnings) => Json(warnings).into_response(),
        Err(error) => refused(&error),
    }
}

async fn backfill<S: Store>(
    State(api): State<Api<S>>,
    Path(name): Path<String>,
    Json(wish): Json<BackfillWish>,
) -> Response {
    let schedule = wish.schedule.as_deref().map(named).transpose();
    let (experiment, schedule) = match (named(&name), schedule) {
        (Ok(experiment), Ok(schedule)) => (experiment, schedule),
        (Err(refused), _) | (_, Err(refused)) => return *refused,
    };
    let now = now();
    let request = wish.request.unwrap_or_else(|| now.to_string());
    let backfill = Backfill { experiment, schedule, from: wish.from, to: wish.to, request };
    match api.manual.backfill(backfill, Asker { by: wish.by, reason: wish.reason }, now).await {
        Ok(runs) => {
            let ids: Vec<RunId> = runs.into_iter().map(|run| run.id).collect();
            (StatusCode::CREATED, Json(ids)).into_response()
        }
        Err(error) => refused(&error),
    }
}

async fn redrive<S: Store>(State(api): State<Api<S>>, Json(wish): Json<MessageWish>) -> Response {
    match api.quarantine.redrive(&wish.queue, &wish.message, now()).await {
        Ok(Redriven::Taken(taken)) => {
            let word = taken.as_str().to_owned();
            let (runs, reason) = match taken {
                Taken::Matched { runs, .. } => (runs.into_iter().map(|run| run.id).collect(), None),
                Taken::Quarantined { reason } => (Vec::new(), Some(reason)),
                Taken::Unmatched | Taken::Duplicate => (Vec::new(), None),
            };
            Json(RedrivenMessage { taken: word, runs, reason }).into_response()
        }
        Ok(Redriven::Cut(kept)) => {
            let (bytes, rest) = (kept.body_bytes, kept.body.len());
            let detail =
                format!("its body had {bytes} bytes, of which {rest} were kept; send it anew from where it came");
            problem(StatusCode::BAD_REQUEST, "the message is not whole", &detail)
        }
        Ok(Redriven::Unknown) => no_message(&wish),
        Err(error) => store_failed(&error),
    }
}

async fn forget<S: Store>(State(api): State<Api<S>>, Json(wish): Json<MessageWish>) -> Response {
    match api.quarantine.forget(&wish.queue, &wish.message).await {
        Ok(Found::Yes) => StatusCode::NO_CONTENT.into_response(),
        Ok(Found::No) => no_message(&wish),
        Err(error) => store_failed(&error),
    }
}

fn no_message(wish: &MessageWish) -> Response {
    let detail = format!("no message `{}` of `{}` is in quarantine", wish.message, wish.queue);
    problem(StatusCode::NOT_FOUND, "the agent did not do it", &detail)
}

fn store_failed(error: &StoreError) -> Response {
    problem(StatusCode::SERVICE_UNAVAILABLE, "the agent did not do it", &error.to_string())
}

/// Reads a name out of a path or a wish.
fn named(text: &str) -> Result<Name, Box<Response>> {
    Name::parse(text).map_err(|invalid| Box::new(problem(StatusCode::BAD_REQUEST, "not a name", &invalid.to_string())))
}

async fn reload<S: Store>(State(api): State<Api<S>>) -> Response {
    let (answer, answered) = oneshot::channel();
    if api.reload.send(answer).await.is_err() {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "shutting down", "the agent takes no new configuration");
    }
    match answered.await {
        Ok(Ok(warnings)) => Json(warnings).into_response(),
        Ok(Err(errors)) => {
            let title = "the configuration has mistakes";
            let detail = "the old configuration stays in force".to_owned();
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            shaped(status, &Problem { title: title.to_owned(), detail, status: status.as_u16(), errors })
        }
        Err(_) => problem(StatusCode::SERVICE_UNAVAILABLE, "shutting down", "the agent did not answer"),
    }
}

async fn status<S: Store>(State(api): State<Api<S>>) -> Json<Status> {
    Json(api.status.borrow().as_ref().clone())
}

/// Goes by the engine alone: whoever ends the process because the store is away ends what stops runs meanwhile.
async fn healthz(State(alive): State<watch::Receiver<Instant>>) -> Response {
    let silent = alive.borrow().elapsed();
    if silent > STUCK_AFTER {
        let detail = format!("it gave its last sign of life {} s ago", silent.as_secs());
        return problem(StatusCode::SERVICE_UNAVAILABLE, "the engine is stuck", &detail);
    }
    "ok\n".into_response()
}

async fn readyz<S: Store>(State(api): State<Api<S>>) -> Response {
    let status = api.status.borrow().clone();
    if status.is_ready() {
        return "ready\n".into_response();
    }
    let queues: Vec<String> = status
        .queues
        .iter()
        .filter(|(_, q)| *q != super::status::QUEUE_READY)
        .map(|(n, q)| format!("{n}: {q}"))
        .collect();
    let mut why = status.store_failure.clone().into_iter().chain(queues).collect::<Vec<_>>().join("; ");
    if why.is_empty() {
        why = "the engine has not looked at its rows yet".to_owned();
    }
    problem(StatusCode::SERVICE_UNAVAILABLE, "not ready", &why)
}

fn answer(result: Result<(), ManualError>) -> Response {
    match result {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => refused(&error),
    }
}

fn refused(error: &ManualError) -> Response {
    let status = match error {
        ManualError::UnknownExperiment { .. }
        | ManualError::UnknownRun { .. }
        | ManualError::UnknownSchedule { .. } => StatusCode::NOT_FOUND,
        ManualError::Range
        | ManualError::NoSlot
        | ManualError::TooManySlots { .. }
        | ManualError::NoReason
        | ManualError::PauseOver => StatusCode::BAD_REQUEST,
        ManualError::HaltedAgain | ManualError::UnreadableHalt(_) => StatusCode::CONFLICT,
        ManualError::Store(_) | ManualError::Unrecorded(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    problem(status, "the agent did not do it", &said_of(error))
}

fn said_of(error: &ManualError) -> String {
    match error {
        ManualError::Store(source) | ManualError::Unrecorded(source) => format!("{error}: {source}"),
        _ => error.to_string(),
    }
}

pub(super) fn problem(status: StatusCode, title: &str, detail: &str) -> Response {
    let (title, detail) = (title.to_owned(), detail.to_owned());
    shaped(status, &Problem { title, detail, status: status.as_u16(), errors: Vec::new() })
}

fn shaped(status: StatusCode, problem: &Problem) -> Response {
    let body = serde_json::to_string(problem).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
}

/// When somebody asked is observed here, at the edge.
#[expect(clippy::disallowed_methods, reason = "the edge where the outside world is observed")]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}
