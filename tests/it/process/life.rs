//! Proof of life: what a collector is told of slots by an agent that takes them up, and by one that cannot.

use firedrill::{cli::context::now, daemon::housekeeping::Vouched, engine::ports::Store};
use jiff::{SignedDuration, Timestamp, Unit};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    process::{store::exits, telemetry::lines},
    support::{
        agent::Home,
        disk::{self, Lock},
        eventually,
        otlp::{Collector, Mode},
        stage::Stage,
        within,
        world::t,
    },
};
use std::time::Duration;

/// A store that is locked is waited for, and metrics come once a second.
const STALLS: Duration = Duration::from_secs(60);

/// By the clock alone what is old would be deleted: two hundred days of it at a leap.
#[test]
fn time_that_what_is_old_is_deleted_by_does_not_leap_with_the_clock() {
    let (told, at) = (t("10:00:00"), Instant::now());
    let clock = Vouched::since(told, at);
    let hours = |n: u32| SignedDuration::from_hours(n.into());
    let now = |wall, lived: u32| clock.now(wall, at + Duration::from_secs(3_600) * lived);
    let leap = SignedDuration::from_hours(200 * 24);
    assert_eq!(now(told + leap, 0), told, "it was ahead before this process began");
    assert_eq!(now(told + leap + hours(5), 5), told + hours(5), "however long it is");
    assert_eq!(now(told + hours(5), 5), told + hours(5));
    assert_eq!(now(told - leap, 5), told - leap, "it was set back");
    assert_eq!(now(told + hours(7), 5), told + hours(5), "it leapt for hours");
}

/// Something of the only schedule, as told last.
fn of(collector: &Collector, name: &str) -> Option<u64> {
    let line = lines(collector, &format!("firedrill.schedule.{name}")).pop()?;
    line.strip_prefix("{firedrill.experiment=drill,firedrill.schedule=often} ")?.parse().ok()
}

/// Slots expected and decided and the staleness.
fn told(collector: &Collector) -> Option<[u64; 3]> {
    Some([of(collector, "slots.expected")?, of(collector, "slots.decided")?, of(collector, "staleness")?])
}

/// An agent whose schedule has a slot every second.
fn often(stage: &Stage, collector: &Collector) -> Home {
    let template = stage.template(&[("wait", "PT1M", &[])]);
    let tables = format!(
        "[telemetry]\notlp_endpoint = \"{}\"\nmetric_interval = \"1s\"\n[experiments.drill]\ntemplate = \"{template}\"\n\
         overlap = \"allow\"\nschedules = [{{ name = \"often\", cron = \"* * * * * *\" }}]\n",
        collector.url()
    );
    Home::new(&stage.url(), &tables)
}

/// As after a clock that was ahead, or is behind: nothing is due, so nothing is stale.
#[test]
fn schedule_that_was_taken_up_to_a_time_yet_to_come_is_told() {
    let (stage, collector) = (Stage::start(600.0), Collector::start(Mode::Normal));
    let home = often(&stage, &collector);
    let _agent = home.agent();
    let is_well = |[_, decided, _]: &[u64; 3]| *decided >= 2 && of(&collector, "ahead") == Some(0);
    eventually("slots that are taken up", || told(&collector).filter(is_well));
    disk::execute(&home, "UPDATE cursors SET at_us = at_us + 7200000000");
    within(STALLS, "how far it is ahead", || of(&collector, "ahead").filter(|ahead| (7_000..=7_200).contains(ahead)));
    let [expected, decided, stale] = told(&collector).expect("slots");
    assert_eq!((expected, stale), (decided, 0));

    // So is whoever asks.
    let cursors = home.read(async |store| store.load().await.expect("rows").cursors).expect("a store");
    let cursor = cursors.values().next().expect("a cursor").at;
    let shown = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
    let next = cursor + SignedDuration::from_secs(1);
    within(STALLS, "the next slot", || (home.json(&["status"])["next_slots"] == json!({"drill": next})).then_some(()));
    exits(&home.run(&["status"]), 0, &format!("next slot   drill: {}", shown(next)));
    let why = |at: Timestamp| home.run(&["why", &format!("drill@{at}")]);
    let soon = now().round(Unit::Second).expect("a time") + SignedDuration::from_hours(1);
    let (soon_shown, cursor_shown) = (shown(soon), shown(cursor));
    let said = format!(
        "nothing will be due at {soon_shown}: the clock was set back, and the slots of `drill` are taken up through \
         {cursor_shown}"
    );
    exits(&why(soon), 4, &said);
    exits(&why(cursor), 4, &format!("nothing will be due at {cursor_shown}: the clock was set back"));
    exits(&why(next), 0, "as things stand it will start");
    let warned = "the clock was set back: a schedule fires nothing before";
    assert_eq!(home.log().matches(warned).count(), 1, "it is said once");
}

#[test]
fn schedule_that_stops_firing_is_told_while_the_engine_stands_still() {
    let (stage, collector) = (Stage::start(600.0), Collector::start(Mode::Normal));
    let home = often(&stage, &collector);
    let _agent = home.agent();
    eventually("slots that are taken up", || told(&collector).filter(|[_, decided, _]| *decided >= 2));
    eventually("nothing that waits", || told(&collector).filter(|[expected, decided, _]| expected == decided));

    let lock = Lock::take(&home);
    let [expected, decided, _] = within(STALLS, "slots that wait", || {
        told(&collector).filter(|[expected, decided, stale]| *stale >= 3 && *expected >= decided + 3)
    });
    drop(lock);
    let caught_up = |[now_expected, now_decided, stale]: &[u64; 3]| {
        *stale <= 1 && now_expected.abs_diff(*now_decided) <= 1 && *now_decided >= expected && *now_decided > decided
    };
    within(STALLS, "slots that are taken up again", || told(&collector).filter(caught_up));
}
