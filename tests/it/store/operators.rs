//! Operators while the store fails: what it did take is looked at at once, and what it did not is stopped all the same.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use firedrill::{
    domain::{
        experiment::{Experiment, Rules},
        plan::{HaltRunning, Mode, StopRequest},
        run::{Observation, StopCause, WindowRule},
        schedule::MissedPolicy,
    },
    engine::{
        ports::{Lease, Poke, Store},
        run_loop::Engine,
    },
    ingest::manual::{Asker, Backfill, LeversOfHalt, ManualError, ManualIngest},
};
use futures_util::FutureExt;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    AT, empty,
    failing::{Clock, Counting, Refusals, Working, fill, free, rules},
    opening::connect,
    simulated,
};
use crate::{
    sim::simulated::{
        lease::Seat,
        nature::{Nature, Pace, Timeline},
        store::MemoryStore,
        tables::Tables,
    },
    support::{
        runs::name,
        world::{experiment, running, schedule, slot_run, t},
    },
};

fn ann() -> Asker {
    Asker { by: "ann".to_owned(), reason: None }
}

/// Has ann ask for a stop, or a halt, while the store does not take it.
async fn check(wish: &str, how: &str) {
    let (folder, store) = empty().await;
    let run = running(slot_run("09:50:00"), "09:50:00");
    store.request_runs(vec![run.clone()]).await.expect("a write");
    let mut disk = connect(&folder.path().join("state")).await;
    let working = Working::on(store, Vec::new());
    working.has_polled().await;
    let manual = working.manual();
    let asked = async {
        match wish {
            "stop" => manual.stop(run.id.clone(), ann(), t(AT)).await,
            _halt => manual.halt(manual.halting(ann(), HaltRunning::Stop, LeversOfHalt::AsTheyAre, t(AT))).await,
        }
    };
    if how == "locked" {
        sqlx::query("BEGIN IMMEDIATE").execute(&mut disk).await.expect("the lock");
        let stopped = async {
            working.has_stopped().await;
            sqlx::query("ROLLBACK").execute(&mut disk).await.expect("an end");
        };
        let (answer, ()) = tokio::join!(asked, stopped);
        assert!(answer.is_ok(), "{wish}: {answer:?}");
    } else {
        let table = if wish == "stop" { "stop_requests" } else { "halt" };
        fill(&mut disk, table, "INSERT").await;
        let answer = asked.await;
        assert!(matches!(answer, Err(ManualError::Unrecorded(_))), "{wish}: {answer:?}");
        working.has_stopped().await;
        free(&mut disk).await;
    }
    let (_, stop) = working.end_of(&run).await;
    assert!(is_by_ann(stop.as_ref()), "{wish}, {how}: {stop:?}");
    working.end().await;
}

fn is_by_ann(stop: Option<&Observation>) -> bool {
    match stop {
        Some(Observation::StopAsked { cause: StopCause::Operator { by, .. } | StopCause::Halt { by } }) => by == "ann",
        _ => false,
    }
}

#[tokio::test]
async fn what_runs_is_stopped_by_hand_though_no_row_says_so() {
    for wish in ["stop", "halt"] {
        for how in ["refused", "locked"] {
            check(wish, how).await;
        }
    }
}

/// What a replica was asked for that stands by is another's business, also when it is the active one later.
#[tokio::test(start_paused = true)]
async fn stop_that_a_standby_could_not_record_is_forgotten() {
    let rows = simulated();
    rows.with(|tables| tables.lease.ttl_ms = Some(5_000));
    let seat = |number: u64, replica| Seat { number, replica, since: 0 };
    let (active, store) = (rows.seat(seat(1, 0)), Arc::new(rows.seat(seat(2, 1))));
    assert!(matches!(active.hold("").await, Ok(Lease::Held { .. })));
    let run = running(slot_run("09:50:00"), "09:50:00");
    store.request_runs(vec![run.clone()]).await.expect("a write");
    let (_rules, rules) = watch::channel(rules(experiment(), Vec::new()));
    let (_mode, mode) = watch::channel(Mode::Active);
    let (injector, poke) = (Arc::new(Counting::default()), Arc::new(Poke::default()));
    let engine = Engine {
        store,
        injector: injector.clone(),
        time: Arc::new(Clock(Instant::now())),
        witness: Arc::new(Refusals::default()),
        rules,
        mode,
        poke: poke.clone(),
        hints: Arc::default(),
    };
    let mut engine = pin!(engine.run());
    let request = || StopRequest { at: t(AT), by: "ann".to_owned(), reason: None };
    poke.stop(run.id.clone(), request());
    poke.stop_all(request());
    assert!(timeout(Duration::from_secs(3), &mut engine).await.is_err(), "it stands by");
    assert_eq!(injector.polls.load(Ordering::SeqCst), 0);
    active.release(Duration::ZERO).await.expect("an end");
    assert!(timeout(Duration::from_secs(20), &mut engine).await.is_err(), "it goes on");
    assert!(injector.polls.load(Ordering::SeqCst) > 0, "it is the active one");
    assert_eq!(injector.stops.load(Ordering::SeqCst), 0, "nobody asked it to stop that");
}

#[tokio::test(start_paused = true)]
async fn halt_whose_answer_was_lost_is_taken_up_at_once() {
    let nature = Arc::new(Nature::with_pace(1, t(AT), Timeline::Dropped, Pace::Instant));
    nature.change_weather(|weather| weather.store = 400);
    let (store, poke) = (Arc::new(MemoryStore::new(nature)), Arc::new(Poke::default()));
    let (_rules, rules) = watch::channel(Arc::new(Rules::default()));
    let manual = ManualIngest::new(store.clone(), rules, poke.clone());
    for _ in 0..100 {
        let asker = Asker { by: "ann".to_owned(), reason: None };
        let answer = manual.halt(manual.halting(asker, HaltRunning::Stop, LeversOfHalt::AsTheyAre, t(AT))).await;
        let is_poked = poke.notified().now_or_never().is_some();
        let is_halted = store.with(|tables| tables.halt.take().is_some());
        if is_halted && answer.is_err() {
            assert!(is_poked, "the engine looks at once");
            return;
        }
    }
    panic!("no answer was lost");
}

#[tokio::test(start_paused = true)]
async fn wish_whose_answer_was_lost_is_taken_up_at_once() {
    let nature = Arc::new(Nature::with_pace(1, t(AT), Timeline::Dropped, Pace::Instant));
    let (store, poke) = (Arc::new(MemoryStore::new(nature.clone())), Arc::new(Poke::default()));
    store.request_runs(vec![slot_run(AT)]).await.expect("a write");
    nature.change_weather(|weather| weather.store = 400);
    let schedules = vec![schedule("nightly", "0 9 * * *", MissedPolicy::Skip)];
    let experiment = Experiment { schedules, ..experiment() };
    let (_rules, rules) = watch::channel(rules(experiment, Vec::new()));
    let manual = ManualIngest::new(store.clone(), rules, poke.clone());
    for wish in ["start", "backfill", "pause", "unpause", "stop"] {
        let mut is_lost = false;
        for request in (0..100).map(|nth| format!("{wish}-{nth}")) {
            let (probe, asker) = (name("probe"), Asker { by: "ann".to_owned(), reason: None });
            let runs = store.with(|tables| {
                tables.pauses.clear();
                tables.stops.clear();
                tables.runs.len()
            });
            let answered = match wish {
                "start" => manual.start(probe, request, asker, WindowRule::Hold, t(AT)).await.is_ok(),
                "backfill" => {
                    let wish = Backfill { experiment: probe, schedule: None, from: t("06:00:00"), to: t(AT), request };
                    manual.backfill(wish, asker, t(AT)).await.is_ok()
                }
                "pause" => manual.pause(probe, asker, None, t(AT)).await.is_ok(),
                "unpause" => manual.unpause(probe, t(AT)).await.is_ok(),
                _stop => manual.stop(slot_run(AT).id, asker, t(AT)).await.is_ok(),
            };
            let is_poked = poke.notified().now_or_never().is_some();
            let wrote = |tables: &mut Tables| tables.runs.len() > runs || tables.pauses.len() + tables.stops.len() > 0;
            if !answered && store.with(wrote) {
                assert!(is_poked, "{wish}: the engine looks at once");
                is_lost = true;
            }
        }
        assert!(is_lost, "{wish}: no answer was lost");
    }
}
