//! The halt, by the store's contract: one row that everybody may change, and nobody by what was seen of another.

use std::collections::BTreeSet;

use firedrill::{
    domain::{
        experiment::Place,
        lever::{self, HeldLever, Standing},
        plan::{Halt, HaltRunning, Halting},
    },
    engine::ports::Store,
};

use super::rows;
use crate::support::world::{halt, halting, t};

pub async fn halt_is_set_replaced_and_lifted(store: &impl Store) {
    assert_eq!(store.halted().await.expect("a read"), None);
    for running in [HaltRunning::Stop, HaltRunning::Finish] {
        assert_eq!(store.set_halt(halting(running)).await.expect("a write"), halt(running));
        assert_eq!(rows(store).await.halt, halt(running));
        assert_eq!(store.halted().await.expect("a read"), halt(running));
    }
    for _ in 0..2 {
        assert_eq!(store.set_halt(Halting::Resume).await.expect("a write"), None);
        assert_eq!(rows(store).await.halt, None);
    }
}

/// A halt of an instant, which engages levers in Regions.
fn halt_in(at: &str, regions: &[&str]) -> Halt {
    let place = |region: &&str| Place { region: Some((*region).to_owned()), ..Place::default() };
    let levers = lever::asked(regions.iter().map(place).collect(), at);
    Halt { at: t(at), levers, ..halt(HaltRunning::Stop).expect("a halt") }
}

pub async fn halt_is_changed_as_it_is_and_not_as_it_was_seen(store: &impl Store) {
    let set = async |change: Halting| store.set_halt(change).await.expect("a write");
    let first = halt_in("09:00:00", &["us-east-1"]);
    let moved = vec![HeldLever { standing: Standing::Engaged, ..first.levers[0].clone() }];
    let note = || Halting::Note { seen: first.clone(), moved: moved.clone() };
    let lift = || Halting::Lift { seen: first.clone(), left: Vec::new() };
    assert_eq!(set(note()).await, None, "none is on");
    assert_eq!(set(lift()).await, None);
    // A newer halt keeps the levers of the one before; what was seen of that one changes nothing of it.
    set(Halting::Halt(first.clone())).await;
    let second = halt_in("09:01:00", &["us-east-1", "us-west-2"]);
    let both = Halt { levers: vec![first.levers[0].clone(), second.levers[1].clone()], ..second.clone() };
    assert_eq!(set(Halting::Halt(second)).await, Some(both.clone()));
    assert_eq!(set(note()).await, Some(both.clone()));
    assert_eq!(set(lift()).await, Some(both.clone()));
    // What was noted is no longer as it was seen, and not let go.
    let noted = Halt { levers: vec![moved[0].clone(), both.levers[1].clone()], ..both.clone() };
    assert_eq!(set(Halting::Note { seen: both.clone(), moved: moved.clone() }).await, Some(noted.clone()));
    let left = Halt { levers: moved.clone(), ..both.clone() };
    assert_eq!(set(Halting::Lift { seen: both, left: Vec::new() }).await, Some(left.clone()));
    assert_eq!(set(Halting::Lift { seen: left.clone(), left: moved.clone() }).await, Some(left.clone()));
    assert_eq!(set(Halting::Lift { seen: left, left: Vec::new() }).await, None);
}

pub async fn halts_at_once_are_all_heard(store: &impl Store) {
    halt_at_once(&[store]).await;
}

/// Somebody halts for the lever of each of many Regions at the same instant, at one of `stores` after the other.
pub async fn halt_at_once(stores: &[&impl Store]) {
    let regions: Vec<String> = (0..16).map(|n| format!("region-{n:02}")).collect();
    let each = regions.iter().zip(stores.iter().cycle());
    let halts = each.map(|(region, store)| store.set_halt(Halting::Halt(halt_in("09:00:00", &[region]))));
    for done in futures_util::future::join_all(halts).await {
        done.expect("a write");
    }
    let halt = stores[0].halted().await.expect("a read").expect("a halt");
    let held: BTreeSet<String> = halt.levers.iter().filter_map(|held| held.place.region.clone()).collect();
    assert_eq!(held, regions.into_iter().collect());
}
