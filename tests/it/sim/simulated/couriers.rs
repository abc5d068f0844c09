//! Couriers of a world: the real ones, over its journal, and whoever is told outside: a bus and a collector that lose answers.
//!
//! Events are put at least once, traces as far as the collector takes them; and whatever comes twice is the same: nothing is
//! carried again that a courier knew to be carried, and an id belongs to one span for ever.
//!
//! A store that is taken back from a backup knows neither what was carried since nor what became of its runs. What it knows is
//! carried again from where its couriers were, and is the same. A run that was not over in the backup ends once more, under its
//! own ids: its trace may be another one than before, and is one from then on.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    hash::{DefaultHasher, Hash, Hasher},
    pin::Pin,
    sync::{Arc, Mutex},
};

use firedrill::{
    daemon::courier::{Courier, EVENT_BUS, Load, TRACES},
    domain::{
        fis::{CallFailure, FailureClass},
        ids::RunId,
        run::{JournalEntry, Observation, Run},
    },
    engine::ports::{EventSink, Journal, Outbound, Placed, StoreError, TraceSink},
    telemetry::Traces,
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use serde_json::Value;
use tokio::sync::Notify;

use super::{
    lease::Seat,
    nature::Nature,
    store::{MemoryStore, failed},
    tables::Tables,
};
use crate::{
    sim::{
        drawn::scenario::{HOUR_MS, MINUTE_MS},
        driven::world::World,
        judged::check::Evidence,
        planted::Bug,
        troubles::restore,
    },
    support::chance::Chance,
};

/// Longest time until everything is carried, once nothing goes wrong: an event that failed is tried again within a minute.
pub const CARRIED_WITHIN_MS: u64 = 3 * MINUTE_MS;

/// A clock that was set so far ahead makes events too old to be put.
const TOO_OLD_MS: i64 = 23 * HOUR_MS as i64;

/// Whether a world has couriers: one of six, and every second one whose store is taken back.
pub fn are_in(seed: u64) -> bool {
    Chance::new(seed.rotate_left(48) ^ !0).one_in(if restore::is_in(seed) { 2 } else { 6 })
}

/// How far couriers have come.
#[derive(Debug, Clone, Default)]
pub struct Positions {
    now: BTreeMap<&'static str, i64>,
    /// What was acknowledged: never less than what is kept.
    acknowledged: BTreeMap<&'static str, i64>,
    /// What was acknowledged when each process last looked.
    read: BTreeMap<(Seat, &'static str), i64>,
}

impl Positions {
    /// Planted: they are in memory only.
    pub fn forget(&mut self) {
        self.now.clear();
    }
}

/// What came out of a world.
#[derive(Debug, Default)]
pub struct Told {
    /// Runs of which a span was sent, whether or not the collector took it.
    sent: BTreeSet<RunId>,
    /// Events that were put, or refused for good, by run and what they say.
    put: BTreeSet<(String, String)>,
    /// What each span says, by trace and span, and which span says it, but for its place in the trace.
    spans: BTreeMap<(String, String), u64>,
    ids: BTreeMap<(String, u64), String>,
    /// Events that were put when the store was taken back.
    before: BTreeSet<(String, String)>,
    /// Whether one of them was put again.
    is_again: bool,
    /// Promises broken on the way.
    broken: Vec<String>,
}

/// What is outside, as one process reaches it.
#[derive(Clone)]
struct Outside {
    nature: Arc<Nature>,
    seat: Seat,
    store: Arc<MemoryStore>,
    told: Arc<Mutex<Told>>,
    spans: Recorder,
    traces: Traces,
}

/// Spans that were exported and not sent yet.
#[derive(Debug, Clone, Default)]
struct Recorder(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Recorder {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().expect("one thread").extend(batch);
        Ok(())
    }
}

impl Told {
    /// Takes a span: an id is one span's for ever, and no span has two.
    fn hear(&mut self, trace: String, id: String, span: &SpanData) {
        let SpanData { name, start_time, end_time, attributes, events, links, status, parent_span_id, .. } = span;
        let digest = |said: String| {
            let mut digest = DefaultHasher::new();
            said.hash(&mut digest);
            digest.finish()
        };
        let said = format!("{name}{start_time:?}{end_time:?}{attributes:?}{events:?}{links:?}{status:?}");
        let (says, placed) = (digest(said.clone()), digest(format!("{said}{parent_span_id}")));
        if self.spans.insert((trace.clone(), id.clone()), placed).is_some_and(|before| before != placed) {
            self.broken.push(format!("span: {id} of {trace} is two different ones"));
        }
        if let Some(before) = self.ids.insert((trace.clone(), says), id.clone()).filter(|before| *before != id) {
            self.broken.push(format!("span: `{name}` of {trace} is {before} and {id}"));
        }
    }
}

type Carrying = Pin<Box<dyn Future<Output = ()>>>;

/// Begins the couriers of a process.
pub fn of(nature: &Arc<Nature>, seat: Seat, store: &Arc<MemoryStore>, told: &Arc<Mutex<Told>>) -> Vec<Carrying> {
    let spans = Recorder::default();
    let traces = Traces::through(SdkTracerProvider::builder().with_simple_exporter(spans.clone()));
    let outside = Outside { nature: nature.clone(), seat, store: store.clone(), told: Arc::clone(told), spans, traces };
    let loads = [Load::Traces(outside.clone()), Load::Events(outside)];
    let begun = loads.into_iter().map(|load| {
        let (nature, grew) = (nature.clone(), Arc::new(Notify::new()));
        let now = Box::new(move || nature.clock(seat.replica));
        Box::pin(Courier { store: store.clone(), load, grew, now }.run()) as Carrying
    });
    begun.collect()
}

/// How a call of something outside goes.
enum Fate {
    Fine,
    Refused(FailureClass),
    /// It is there, and the answer is lost.
    Unanswered,
}

impl Outside {
    /// Notes that an entry of the journal is carried: one that had been carried when the courier last looked is not.
    fn carries(&self, name: &'static str, is_it: impl Fn(&JournalEntry) -> bool) {
        self.store.with(|tables| {
            // A clock that is set back lets a run be held twice at one instant: then it may be the later one.
            let entry = tables.journal.iter().map(|(_, entry)| entry).rfind(|entry| is_it(entry));
            let carried = tables.couriers.read.get(&(self.seat, name)).copied().unwrap_or_default();
            if let Some(entry) = entry.filter(|entry| entry.seq <= carried) {
                tables
                    .broken
                    .push(format!("span: `{name}` came to {carried} and carries {} of {} again", entry.seq, entry.run));
            }
        });
    }

    async fn fate(&self) -> Fate {
        self.nature.let_pass(self.nature.draw(|c| c.between(10, 400))).await;
        if self.nature.cut(self.seat.replica).fis_until > self.nature.elapsed() {
            return Fate::Refused(FailureClass::Unavailable);
        }
        let rate = self.nature.weather().fis;
        self.nature.draw(|c| match c.between(0, 5) {
            _ if !c.permille(rate) => Fate::Fine,
            0 => Fate::Refused(FailureClass::Invalid),
            1 | 2 => Fate::Refused(FailureClass::Throttled),
            _ => Fate::Unanswered,
        })
    }
}

impl TraceSink for Outside {
    fn are_wanted(&self) -> bool {
        self.traces.are_wanted()
    }

    fn export(&self, run: &Run, journal: &[JournalEntry]) {
        self.carries(TRACES, |entry| {
            entry.run == run.id
                && matches!(entry.observation, Observation::Skipped { .. } | Observation::Finished { .. })
        });
        self.traces.export(run, journal);
    }

    async fn flush(&self) {
        let spans = std::mem::take(&mut *self.spans.0.lock().expect("one thread"));
        let fate = self.fate().await;
        let mut told = self.told.lock().expect("one thread");
        self.nature.say(|| format!("collector: {} spans of replica {}", spans.len(), self.seat.replica));
        let salt = |bug: Bug| if self.nature.bug() == bug { self.nature.elapsed().to_string() } else { String::new() };
        for span in spans {
            let of = span.attributes.iter().find(|a| a.key.as_str() == "firedrill.run.id").map(|a| a.value.to_string());
            told.sent.extend(of.clone().map(|id| RunId::from_text(&id)));
            if matches!(fate, Fate::Refused(_)) {
                continue;
            }
            let trace = format!("{}{}", span.span_context.trace_id(), salt(Bug::TraceIdsDrawn));
            if let Some(of) = of.map(|id| RunId::from_text(&id)).filter(|of| trace_of(of) != trace) {
                told.broken.push(format!("span: {of} has the trace {trace}, not its own"));
            }
            let id = format!("{}{}", span.span_context.span_id(), salt(Bug::SpanIdsDrawn));
            told.hear(trace, id, &span);
        }
    }
}

impl EventSink for Outside {
    async fn put(&self, event: &Outbound) -> Result<(), CallFailure> {
        let said: Value = serde_json::from_str(&event.detail).expect("JSON");
        self.carries(EVENT_BUS, |entry| {
            let state = entry.observation.as_str();
            entry.run.as_str() == said["run"] && entry.at == event.at && said["state"] == state
        });
        let fate = self.fate().await;
        let key = (said["run"].as_str().unwrap_or_default().to_owned(), format!("{} {}", said["state"], said["at"]));
        self.nature.say(|| format!("bus: {key:?} of replica {}", self.seat.replica));
        let failed = |class| Err(CallFailure { class, message: "simulated".to_owned() });
        let put = || {
            let told = &mut *self.told.lock().expect("one thread");
            told.is_again |= told.before.contains(&key);
            told.put.insert(key.clone());
        };
        match fate {
            Fate::Refused(FailureClass::Invalid) => {
                put();
                failed(FailureClass::Invalid)
            }
            Fate::Refused(class) => failed(class),
            Fate::Fine => {
                put();
                Ok(())
            }
            Fate::Unanswered => {
                put();
                failed(FailureClass::Timeout)
            }
        }
    }
}

impl MemoryStore {
    /// Reads something.
    pub async fn look<T>(&self, read: impl FnOnce(&mut Tables) -> T) -> Result<T, StoreError> {
        self.nature.pause().await;
        self.reach("read").await?;
        let (weather, now) = (self.nature.weather(), self.nature.elapsed());
        if now < weather.store_out_until || self.nature.draw(|c| c.permille(weather.store / 2)) {
            self.with(|tables| tables.faults.push(now));
            return Err(failed("read"));
        }
        let read = self.with(read);
        self.nature.pause().await;
        Ok(read)
    }
}

impl Journal for MemoryStore {
    fn is_active(&self) -> bool {
        let now = self.nature.elapsed();
        self.with(|tables| tables.lease.ttl_ms.is_none() || tables.lease.valid_holder(now) == Some(self.place.seat))
    }

    async fn courier(&self, name: &'static str) -> Result<i64, StoreError> {
        self.look(|tables| {
            let kept = tables.couriers.now.get(name).copied().unwrap_or_default();
            let acknowledged = tables.couriers.acknowledged.get(name).copied().unwrap_or_default();
            tables.couriers.read.insert((self.place.seat, name), acknowledged);
            kept
        })
        .await
    }

    async fn move_courier(&self, name: &'static str, seq: i64) -> Result<(), StoreError> {
        let ahead = if self.nature.bug() == Bug::CourierAhead { 1 } else { 0 };
        let (seat, fence) = (self.place.seat, *self.place.fence.lock().expect("one thread"));
        self.write(move |tables, now| {
            if tables.is_fenced(seat, fence, now) {
                return Err(StoreError::Fenced);
            }
            let positions = &mut tables.couriers;
            let acknowledged = positions.acknowledged.entry(name).or_default();
            *acknowledged = seq.max(*acknowledged);
            let kept = positions.now.entry(name).or_default();
            *kept = (seq + ahead).max(*kept);
            Ok(())
        })
        .await?
    }

    async fn move_courier_to_end(&self, name: &'static str) -> Result<(), StoreError> {
        let end = self.with(|tables| tables.journal.len());
        self.move_courier(name, i64::try_from(end).expect("few entries")).await
    }

    async fn journal_after(&self, seq: i64, limit: u32) -> Result<Vec<Placed>, StoreError> {
        let behind = usize::try_from(seq).expect("a position");
        self.look(|tables| {
            let entries = tables.journal.iter().skip(behind).take(limit as usize);
            entries.map(|(_, entry)| (entry.seq, Ok(entry.clone()))).collect()
        })
        .await
    }

    async fn run(&self, id: &RunId) -> Result<Option<Run>, StoreError> {
        self.look(|tables| tables.runs.get(id).cloned()).await
    }

    async fn journal(&self, id: &RunId) -> Result<Vec<JournalEntry>, StoreError> {
        let of = |tables: &mut Tables| {
            tables.journal.iter().filter(|(_, entry)| entry.run == *id).map(|(_, entry)| entry.clone()).collect()
        };
        self.look(of).await
    }
}

impl World {
    /// The store is taken back: who is told outside knows what he knows, and is told anew of what it does not know.
    pub fn told_before(&self) {
        let Some(told) = &self.told else { return };
        let told = &mut *told.lock().expect("one thread");
        self.store.with(|tables| {
            let known: BTreeSet<_> = tables.journal.iter().filter_map(|(_, entry)| key(entry)).collect();
            told.put.retain(|key| known.contains(key));
            let is_over = |id: &RunId| tables.runs.get(id).is_some_and(Run::is_over);
            told.sent.retain(is_over);
            let over: BTreeSet<String> = tables.runs.keys().filter(|id| is_over(id)).map(trace_of).collect();
            told.spans.retain(|(trace, _), _| over.iter().any(|of| trace.starts_with(of)));
        });
        told.before = told.put.clone();
    }
}

fn trace_of(run: &RunId) -> String {
    run.trace_id().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What an entry is put as, if it is.
fn key(entry: &JournalEntry) -> Option<(String, String)> {
    use Observation as O;
    let state = match &entry.observation {
        O::Held { .. } => "held",
        O::Skipped { .. } => "skipped",
        O::Finished { .. } => "finished",
        O::Started { .. } => "started",
        _ => return None,
    };
    Some((entry.run.to_string(), format!("\"{state}\" \"{}\"", entry.at)))
}

/// Checks that everything was told outside.
pub fn check(evidence: &Evidence<'_>, found: &mut Vec<String>) {
    untold(evidence.world, |_, _| true, found);
}

/// Checks that everything was told outside that couriers have passed.
pub fn check_passed(evidence: &Evidence<'_>, found: &mut Vec<String>) {
    let passed = evidence.world.store.with(|tables| tables.couriers.now.clone());
    untold(evidence.world, |name, seq| passed.get(name).is_some_and(|at| seq <= *at), found);
}

fn untold(world: &World, is_due: impl Fn(&str, i64) -> bool, found: &mut Vec<String>) {
    let Some(told) = &world.told else { return };
    let mut told = told.lock().expect("one thread");
    found.append(&mut told.broken);
    let is_aged = world.nature.steps().iter().any(|step| step.by_ms > TOO_OLD_MS);
    world.store.with(|tables| {
        for (_, entry) in &tables.journal {
            let Some(key) = key(entry) else { continue };
            if is_due(EVENT_BUS, entry.seq) && !told.put.contains(&key) && !is_aged {
                found.push(format!("untold: the bus was never told {key:?}"));
            }
            let is_end = matches!(entry.observation, Observation::Skipped { .. } | Observation::Finished { .. });
            if is_end && is_due(TRACES, entry.seq) && !told.sent.contains(&entry.run) {
                found.push(format!("untold: no span of {} was ever sent", entry.run));
            }
        }
    });
}

/// Whether something was told again after the store had been taken back.
pub fn seen(world: &World) -> Option<&'static str> {
    let is_again = world.told.as_ref().is_some_and(|told| told.lock().expect("one thread").is_again);
    is_again.then_some("told again after a restore")
}
