//! A store that gives no answer at all, as a disk that stands still: what runs is looked after, and whoever ends processes
//! that stand still is told so.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use firedrill::{
    domain::{
        plan::{Mode, Snapshot},
        run::{Observation, Run},
    },
    engine::{
        ports::{Configuration, Store, StoreDid, StoreError, Witness},
        run_loop::Engine,
    },
};
use jiff::Timestamp;
use tokio::sync::watch;

use super::{
    failing::{Counting, rules},
    skip,
};
use crate::{
    sim::simulated::{
        nature::{Clock, Cut, Nature, Pace, Timeline},
        store::MemoryStore,
    },
    support::world::{applied, blackout, experiment, running, slot_run, t},
};

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// Hears signs of life, each with its true time in milliseconds.
struct Signs {
    nature: Arc<Nature>,
    at: Mutex<Vec<u64>>,
}

impl Witness for Signs {
    fn committed(&self, _: &Run, _: &Observation, _: Timestamp) {}
    fn surveyed(&self, _: &Snapshot<'_>, _: Timestamp) {}
    fn called(&self, _: &'static str, _: &'static str, _: Duration) {}
    fn store_failed(&self, _: &StoreError) {}
    fn store_worked(&self, _: StoreDid) {}
    fn looks_after_runs(&self) {
        self.at.lock().expect("one thread").push(self.nature.elapsed());
    }
    fn standing_by(&self, _: &str, _: Configuration) {}
}

/// Lets the store of an engine stand still from 10:01 on for a day, and returns the signs of life until 11:00 and until the
/// next morning, and how many stops were asked for by a minute before a window opens at 10:30, and a minute after.
async fn stall(run: Run) -> ([Vec<u64>; 2], [usize; 2]) {
    let nature = Arc::new(Nature::with_pace(1, t("10:00:00"), Timeline::Dropped, Pace::Instant));
    let (store, injector) = (Arc::new(MemoryStore::new(nature.clone())), Arc::new(Counting::default()));
    store.request_runs(vec![run]).await.expect("a write");
    let witness = Arc::new(Signs { nature: nature.clone(), at: Mutex::default() });
    let (_rules, rules) = watch::channel(rules(experiment(), vec![blackout("10:30:00", "13:00:00")]));
    let (_mode, mode) = watch::channel(Mode::Active);
    let engine = Engine {
        store: store.clone(),
        injector: injector.clone(),
        time: Arc::new(Clock { nature: nature.clone(), replica: 0 }),
        witness: witness.clone(),
        rules,
        mode,
        poke: Arc::default(),
        hints: Arc::default(),
    };
    let engine = tokio::spawn(engine.run());
    nature.let_pass(MINUTE_MS).await;
    nature.cut_off(0, Cut { stalled_until: 24 * HOUR_MS, ..Cut::default() });
    let stops = || injector.stops.load(Ordering::SeqCst);
    let signs = || witness.at.lock().expect("one thread").clone();
    nature.let_pass(28 * MINUTE_MS).await;
    let before = stops();
    nature.let_pass(2 * MINUTE_MS).await;
    let after = stops();
    nature.let_pass(29 * MINUTE_MS).await;
    let soon = signs();
    nature.let_pass(20 * HOUR_MS).await;
    engine.abort();
    ([soon, signs()], [before, after])
}

#[tokio::test(start_paused = true)]
async fn engine_that_can_stop_what_runs_is_alive_though_the_store_stands_still() {
    let ([soon, late], stops) = stall(running(slot_run("09:50:00"), "09:50:00")).await;
    assert_eq!(stops, [0, 1], "a window that opens meanwhile is kept");
    // It looks at the rows once more within half a minute.
    let begun = std::iter::once(2 * MINUTE_MS).chain(soon).chain([HOUR_MS]).collect::<Vec<_>>();
    let longest = begun.windows(2).map(|two| two[1].saturating_sub(two[0])).max();
    assert!(longest <= Some(15 * SECOND_MS), "systemd kills what gives no sign for 30 s: {longest:?}");
    let last = late.last().copied().unwrap_or_default();
    assert!((12 * HOUR_MS..13 * HOUR_MS).contains(&last), "what stands still for ever is killed: {last}");
}

#[tokio::test(start_paused = true)]
async fn engine_that_hangs_while_nothing_runs_gives_no_sign() {
    let ([_, late], stops) = stall(applied(slot_run("09:50:00"), &[("09:50:00", skip())])).await;
    assert_eq!((late.len(), stops), (0, [0, 0]));
}
