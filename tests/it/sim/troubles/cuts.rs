//! Replicas that do not reach FIS for long, while another does: the lease goes to one that can stop what must not go on.
//!
//! Until when that has to have happened is what a stop is granted for it, and no more: the active one asks in vain for a while,
//! may have to leave the lease where it is once, and whoever takes it asks when it is due to be asked again.

use firedrill::domain::run::WindowRule;

use crate::{
    sim::{
        drawn::{
            happening::{Happening, Whom},
            scenario::{MINUTE_MS, SECOND_MS},
        },
        driven::{
            replica::{Outage, TAKES_OVER_MS, Why},
            world::World,
        },
        judged::{
            check::{self, Evidence},
            closing,
        },
        planted::Bug,
        simulated::{fis::TIMEOUT_MS, lease::Held},
        staged::standing::calm_world,
    },
    support::chance::Chance,
};

/// The first numbers of requests, so that they are nobody else's.
const FIRST_REQUEST: u64 = 500;

/// How long a stop is asked for in vain before the lease is given back, in milliseconds.
const IN_VAIN_MS: u64 = 30 * SECOND_MS + TIMEOUT_MS;

/// How long one that was given back is left to others, in milliseconds.
const LEFT_MS: u64 = 2 * MINUTE_MS;

/// How long it takes besides, in milliseconds.
const TAKEN_MS: u64 = 5 * SECOND_MS;

/// Longest time until a stop that failed is asked for again, in milliseconds.
const AGAIN_MS: u64 = TIMEOUT_MS + MINUTE_MS;

/// A holder of the lease that does not reach FIS, in true time.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    replica: usize,
    pub from: u64,
    to: u64,
}

/// Draws who does not reach FIS for how long while something has to be stopped, in a world of so many milliseconds and several
/// replicas, with a chance of its own: in one of three worlds.
pub fn happenings(seed: u64, replicas: u64, length_ms: u64) -> Vec<(u64, Happening)> {
    let mut c = Chance::new(seed.rotate_left(28) ^ !0);
    if replicas == 1 || !c.one_in(3) {
        return Vec::new();
    }
    let mut all = Vec::new();
    for request in FIRST_REQUEST..FIRST_REQUEST + 4 {
        let (at, windows) = (c.between(0, length_ms), WindowRule::Overridden);
        let begins = at.saturating_sub(c.between(10, 60) * SECOND_MS);
        let starts = (0..4).map(|experiment| Happening::StartByHand { request, experiment, windows });
        all.extend(starts.map(|start| (begins, start)));
        let cut = |c: &mut Chance, whom| Happening::Cut { whom, store_ms: 0, fis_ms: c.between(1, 20) * MINUTE_MS };
        all.push((at, cut(&mut c, Whom::Active)));
        if c.one_in(3) {
            let other = Whom::Number(c.between(0, 2) as usize);
            all.push((at + c.between(0, 5 * MINUTE_MS), cut(&mut c, other)));
        }
        let (stop_at, stop) = (at + c.between(1, 60) * SECOND_MS, c.one_in(2));
        all.push((stop_at, if stop { Happening::StopByHand } else { Happening::Halt }));
        all.extend((!stop).then(|| (stop_at + c.between(0, 15 * MINUTE_MS), Happening::Resume)));
    }
    all.retain(|(at, _)| *at < length_ms);
    all
}

impl World {
    /// Whoever held the lease and did not reach FIS; a lone replica has no lease that ends.
    pub fn cuts(&self) -> Vec<Cut> {
        let (terms, is_timed) = self.store.with(|tables| (tables.lease.terms.clone(), tables.lease.ttl_ms.is_some()));
        let cuts = self.replicas.iter().flat_map(|replica| &replica.outages).filter(|outage| outage.why == Why::Cut);
        let of = |outage: &Outage, from: u64, to: u64| {
            let (from, to) = (outage.from.max(from), outage.to.min(to));
            (from < to).then_some(Cut { replica: outage.replica, from, to })
        };
        if !is_timed {
            return cuts.filter_map(|outage| of(outage, 0, u64::MAX)).collect();
        }
        let ends = terms.iter().skip(1).map(|next| next.from).chain([u64::MAX]);
        let terms: Vec<_> = terms.iter().zip(ends).collect();
        let held = |outage: &Outage| {
            let own = terms.iter().filter(|(term, _)| term.seat.replica == outage.replica);
            own.filter_map(|(term, end)| of(outage, term.from, *end)).collect::<Vec<_>>()
        };
        cuts.flat_map(held).collect()
    }

    /// Until when a cut is granted to a stop that has been wanted since a true time: by then it is over, or another has taken
    /// the lease who could have done so all the time, and has asked.
    pub fn granted(&self, cut: &Cut, wanted: u64) -> u64 {
        let replicas = self.replicas.iter();
        let outages: Vec<Outage> = replicas
            .flat_map(|replica| {
                let from = replica.down_since;
                let down = from.map(|from| Outage { replica: replica.number, from, to: u64::MAX, why: Why::Down });
                replica.outages.iter().copied().chain(down)
            })
            .collect();
        let away: Vec<(u64, u64)> = self.store_out.iter().copied().chain(self.store_faults()).collect();
        let released =
            self.store.with(|tables| tables.lease.terms.iter().filter_map(|term| term.released).collect::<Vec<_>>());
        // Who gave it back lately leaves it where it is.
        let takes = |from: u64| {
            let lately = |at: &u64| from < at + LEFT_MS && *at < from + IN_VAIN_MS;
            TAKEN_MS + IN_VAIN_MS + if released.iter().any(lately) { LEFT_MS } else { 0 }
        };
        let meets = |from: u64, (begins, ends): (u64, u64)| begins <= from + takes(from) && from <= ends;
        let is_calm = |from: u64| {
            let is_free = |replica: usize| {
                let mut own = outages.iter().filter(|outage| outage.why == Why::Cut && outage.replica == replica);
                replica != cut.replica && !own.any(|outage| meets(from, (outage.from, outage.to)))
            };
            !away.iter().any(|away| meets(from, *away))
                && !outages.iter().any(|outage| outage.why != Why::Cut && meets(from, (outage.from, outage.to)))
                && (0..self.replicas.len()).any(is_free)
        };
        let ends = outages.iter().map(|outage| outage.to).chain(away.iter().map(|away| away.1));
        let from =
            ends.map(|end| end.saturating_add(1)).chain([wanted]).filter(|from| *from >= wanted && *from < cut.to);
        let first = from.filter(|from| is_calm(*from)).min();
        let over = first.map_or(u64::MAX, |from| from + takes(from)).min(cut.to);
        over.saturating_add(AGAIN_MS + TAKES_OVER_MS)
    }
}

impl Evidence<'_> {
    /// Whether a replica was kept from FIS at a true time.
    pub fn is_cut(&self, replica: usize, at: u64) -> bool {
        let mut own = self.world.replicas[replica].outages.iter();
        own.any(|outage| outage.why == Why::Cut && outage.from <= at && at < outage.to)
    }
}

/// When replicas lose FIS, and for how long; when somebody wants what runs to be stopped.
const CUT_AT_MS: u64 = MINUTE_MS;
const CUT_MS: u64 = 10 * MINUTE_MS;
const STOP_AT_MS: u64 = CUT_AT_MS + 10 * SECOND_MS;

/// Lives through most of an hour of so many replicas of which some do not reach FIS for a while; tells when somebody who
/// did asked it to stop what runs, and the terms of the lease.
fn lives(seed: u64, replicas: u64, cut: &[Whom], bug: Bug) -> (u64, Vec<Held>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let mut world = calm_world(seed, bug, 1_800, |_| {});
        world.several(replicas, 5 * SECOND_MS);
        world.restart();
        let windows = WindowRule::Hold;
        world.schedule(15 * SECOND_MS, Happening::StartByHand { request: 0, experiment: 0, windows });
        for whom in cut.iter().copied() {
            world.schedule(CUT_AT_MS, Happening::Cut { whom, store_ms: 0, fis_ms: CUT_MS });
        }
        world.schedule(STOP_AT_MS, Happening::StopByHand);
        world.live_until(45 * MINUTE_MS).await;
        let evidence = Evidence::new(&world);
        if bug == Bug::None {
            assert_eq!(check::broken(&evidence), Vec::<String>::new(), "SEED={seed}, {replicas} replicas");
        }
        let told = closing::told_at(&evidence, &evidence.experiments[0]).expect("it is stopped in the end");
        (told, world.store.with(|tables| tables.lease.terms.clone()))
    })
}

/// How long after each other the lease was given back.
fn gaps(terms: &[Held]) -> Vec<u64> {
    let released: Vec<u64> = terms.iter().filter_map(|term| term.released).collect();
    released.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn lease_goes_to_a_replica_that_reaches_fis_and_stays_there() {
    for seed in 0..20 {
        let (told, terms) = lives(seed, 2, &[Whom::Active], Bug::None);
        assert!(told <= STOP_AT_MS + IN_VAIN_MS + 15 * SECOND_MS, "SEED={seed}: {told} {terms:?}");
        let [one, next] = &terms[..] else { panic!("SEED={seed}: {terms:?}") };
        assert_ne!(one.seat, next.seat, "SEED={seed}");
        assert!(next.from - one.released.expect("given back") < SECOND_MS / 10, "SEED={seed}: {terms:?}");
        let (told, _) = lives(seed, 2, &[Whom::Active], Bug::LeaseNeverHandedOver);
        assert!(told >= CUT_AT_MS + CUT_MS, "SEED={seed}: {told}");
    }
}

#[test]
fn lease_goes_round_slowly_where_nobody_reaches_fis() {
    for seed in 0..20 {
        let (told, terms) = lives(seed, 2, &[Whom::Number(0), Whom::Number(1)], Bug::None);
        assert!((CUT_AT_MS + CUT_MS..CUT_AT_MS + CUT_MS + AGAIN_MS).contains(&told), "SEED={seed}: {told}");
        let hands: Vec<u64> = terms.windows(2).filter(|t| t[0].seat != t[1].seat).map(|t| t[1].from).collect();
        assert!((2..=5).contains(&hands.len()), "SEED={seed}: {terms:?}");
        assert!(hands.windows(2).all(|pair| pair[1] - pair[0] >= LEFT_MS), "SEED={seed}: {terms:?}");
    }
}

#[test]
fn lone_replica_has_its_lease_again_at_once_and_seldom_gives_it_back() {
    for seed in 0..20 {
        let (told, terms) = lives(seed, 1, &[Whom::Active], Bug::None);
        assert!((CUT_AT_MS + CUT_MS..CUT_AT_MS + CUT_MS + AGAIN_MS).contains(&told), "SEED={seed}: {told}");
        assert!((2..=6).contains(&terms.len()), "SEED={seed}: {terms:?}");
        assert!(gaps(&terms).iter().all(|gap| *gap >= LEFT_MS), "SEED={seed}: {terms:?}");
        let without = terms.windows(2).map(|pair| pair[1].from - pair[0].released.expect("given back"));
        assert!(without.max() <= Some(3 * SECOND_MS + 500), "SEED={seed}: {terms:?}");
    }
}
