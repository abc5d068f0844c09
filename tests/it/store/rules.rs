//! Rules of the contract about what comes too late, and about rows that nobody can read.

use firedrill::{
    domain::{
        plan::{HaltRunning, Halting, Pause, Pausing},
        run::{Observation, Run},
    },
    engine::ports::{Change, Committed, Found, Store},
};

use super::{advance, rows, stop_request};
use crate::support::{
    runs::name,
    world::{facts, halting, slot_run, t},
};

fn start(run: &Run) -> Change {
    let (place, template_id) = (Default::default(), "EXT1".to_owned());
    advance(run, Observation::StartAsked { place, template_id, facts: None, place_facts: None }).1
}

/// Every start here is of this instant.
const AT: &str = super::AT;

/// A start is of rows that were loaded some time ago: whoever halts, pauses or stops since then is heard all the same.
pub async fn start_is_stale_once_a_halt_a_pause_or_a_stop_is_acknowledged(store: &impl Store) {
    let [first, second, third] = ["09:00:00", "09:10:00", "09:20:00"].map(slot_run);
    let mut other = slot_run("09:30:00");
    other.experiment = name("other");
    other.id = firedrill::domain::ids::RunId::derive(&other.experiment, &other.trigger.key());
    let runs = vec![first.clone(), second.clone(), third.clone(), other.clone()];
    store.request_runs(runs.clone()).await.expect("a write");
    let commit = async |changes: &[Change]| store.commit(changes).await.expect("a commit");
    use Committed::{Done, Stale};

    store.set_halt(halting(HaltRunning::Finish)).await.expect("a write");
    let read = advance(&third, Observation::TemplateRead { facts: facts(60, t(AT)) });
    assert_eq!(commit(&[start(&first), read.1, start(&other)]).await, [Stale, Done, Stale], "only starts are");
    let third = read.0;
    assert_eq!(rows(store).await.runs, [first.clone(), second.clone(), third.clone(), other.clone()]);
    store.set_halt(Halting::Resume).await.expect("a write");

    let pause = |until: Option<&str>| {
        let (at, by) = (t("09:50:00"), "ann".to_owned());
        store.set_pause(name("probe"), Pausing::Pause(Pause { at, by, reason: None, until: until.map(t) }))
    };
    for until in [None, Some("10:00:01")] {
        pause(until).await.expect("a write");
        assert_eq!(commit(&[start(&first)]).await, [Stale], "{until:?}");
    }
    assert_eq!(commit(&[start(&other)]).await, [Done], "another experiment");
    pause(Some(AT)).await.expect("a write");
    assert_eq!(store.request_stop(second.id.clone(), stop_request("ann")).await.expect("a write"), Found::Yes);
    assert_eq!(commit(&[start(&first), start(&second)]).await, [Done, Stale], "the pause is over, the stop is not");
    store.set_pause(name("probe"), Pausing::Resume).await.expect("a write");
    assert_eq!(commit(&[start(&third)]).await, [Done]);
}
