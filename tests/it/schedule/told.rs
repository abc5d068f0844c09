//! What the log says of slots that a clock change touched: once, when the run is opened.

use std::sync::Arc;

use firedrill::{
    daemon::witness::Teller,
    domain::{
        experiment::{Experiment, Rules},
        run::{Observation, Run},
        schedule::{Bounds, Gaps, Schedule, Timing},
    },
    engine::ports::Witness,
    http::status::Status,
    telemetry::Metrics,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{at, cron};
use crate::support::{
    log::Lines,
    runs::name,
    world::{World, experiment, opened_at},
};

fn teller(rules: Rules, alive: watch::Sender<Instant>) -> Teller {
    let status = Status::default();
    let (rules, status) = (watch::channel(Arc::new(rules)).1, watch::channel(Arc::new(status)).0);
    Teller::new(Metrics::default(), rules, status, Arc::new(Notify::new()), alive)
}

/// Opens each slot of a schedule at its instant, and returns what is said of clock changes.
fn told(expression: &str, zone: &str, gaps: Gaps, from: &str, until: &str) -> Vec<String> {
    let timing = Timing::Cron(cron(expression, zone).with_gaps(gaps));
    let schedule = Schedule::new(&name("probe"), name("nightly"), timing, Bounds::default());
    let world = World::of(Experiment { schedules: vec![schedule.clone()], ..experiment() }, Vec::new());
    let mut world = world.with_cursor("nightly", from);
    let teller = teller(world.rules.clone(), watch::channel(Instant::now()).0);
    let lines = Lines::default();
    let _kept = lines.kept();
    let mut slot = at(from);
    while let Some(next) = schedule.next_after(slot).filter(|next| next.at <= at(until)) {
        slot = next.at;
        for run in opened_at(&mut world, &slot.to_string()) {
            teller.committed(&run, &Observation::Opened, slot);
            // A later change of the same run says nothing more.
            teller.committed(&Run { revision: 1, ..run }, &Observation::Opened, slot);
        }
    }
    lines.taken().lines().filter_map(|line| line.split_once("dst=").map(|(_, words)| words.to_owned())).collect()
}

#[test]
fn engine_that_looks_after_runs_without_the_store_is_alive() {
    let (to, alive) = watch::channel(Instant::now());
    let teller = teller(Rules::default(), to);
    teller.looks_after_runs();
    assert!(alive.has_changed().expect("who gives it"), "systemd would kill it");
}

/// Otherwise a schedule whose slots are taken up to tomorrow is silence until then.
#[test]
fn cursor_ahead_of_a_clock_that_was_set_back_is_logged_once() {
    let nightly = Timing::Cron(cron("0 12 * * *", "UTC"));
    let schedule = Schedule::new(&name("probe"), name("nightly"), nightly, Bounds::default());
    let world = World::of(Experiment { schedules: vec![schedule], ..experiment() }, Vec::new());
    let world = world.with_cursor("nightly", "2026-03-02T12:00:00Z");
    let teller = teller(world.rules.clone(), watch::channel(Instant::now()).0);
    let lines = Lines::default();
    let _kept = lines.kept();
    let said = |now: &str| {
        teller.surveyed(&world.snapshot(), at(now));
        lines.taken().matches("fires nothing before 2026-03-02T12:00:00Z").count()
    };
    assert_eq!([said("2026-03-01T09:00:00Z"), said("2026-03-01T09:01:00Z")], [1, 0]);
}

#[test]
fn day_that_a_zone_leaves_out_is_logged_once() {
    let (from, until) = ("2011-12-27T12:00:00Z", "2012-01-04T00:00:00Z");
    let said = told("0 12 * * *", "Pacific/Apia", Gaps::Shift, from, until);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("\"lost\""), "{said:?}");
}

#[test]
fn shifted_and_dropped_times_are_logged_once() {
    let (from, until) = ("2026-03-26T12:00:00Z", "2026-04-02T00:00:00Z");
    let shifted = told("30 2 * * *", "Europe/Berlin", Gaps::Shift, from, until);
    assert!(shifted.len() == 1 && shifted[0].starts_with("\"shifted\""), "{shifted:?}");
    let dropped = told("30 2 * * *", "Europe/Berlin", Gaps::Skip, from, until);
    assert!(dropped.len() == 1 && dropped[0].starts_with("\"lost\""), "{dropped:?}");
    assert_eq!(told("*/30 2 * * *", "Europe/Berlin", Gaps::Shift, from, until), Vec::<String>::new());
}
