//! Places: what is read of them before a start, for how long it is good, for whom, and what it forbids.

use std::collections::{BTreeMap, BTreeSet};

use firedrill::domain::{
    experiment::{Experiment, Overlap, Place},
    fis::{CallFailure, FailureClass},
    ids::RunId,
    ledger::Definition,
    lever::{Found, Stands},
    place::{Alarm, AlarmState, Health, Identity, PlaceFacts, PlaceLimits},
    plan::{self, Looked, PLACE_FACTS_MAX_AGE, Places},
    react,
    run::{Observation, Run},
};
use jiff::{SignedDuration, Timestamp};

use super::check;
use crate::support::{
    runs::name,
    world::{World, applied, asked, experiment, fine, read, running, slot_run, t},
};

const DUE: &str = "10:00:00";

fn elsewhere() -> Place {
    Place { region: Some("eu-west-1".to_owned()), ..Place::default() }
}

/// A world of runs that are due, in which places are read.
fn world(declared: Experiment, runs: Vec<Run>) -> World {
    World { places: Some(Places::Read), ..World::of(declared, runs) }
}

/// So many runs of an experiment that may overlap, all due.
fn due(count: usize) -> World {
    let overlap = Overlap::Allow;
    let runs = (0..count).map(|n| read(slot_run(&format!("09:59:{n:02}")), DUE, 600)).collect();
    world(Experiment { overlap, ..experiment() }, runs)
}

fn with_lever(status: Stands) -> PlaceFacts {
    PlaceFacts { lever: Found { stands: status, reason: "incident 7".to_owned() }, ..fine(&Place::default()) }
}

fn probed(run: &Run, at: Timestamp, facts: PlaceFacts) -> Run {
    let facts = Box::new(PlaceFacts { read_at: at, ..facts });
    run.clone().apply(&Observation::Probed { facts }, at).expect("it can be read at any time")
}

#[test]
fn place_is_asked_before_a_start_once_for_all_and_its_answer_serves_all() {
    let mut world = due(3);
    check(&world, DUE, &["A ask of the place"]);
    // Who asks changes: a run whose row cannot be written learns nothing.
    check(&world, "10:00:01", &["B ask of the place"]);
    // While it is being asked, nobody else asks.
    world.busy.insert(world.runs[0].id.clone());
    assert!(world.says(t(DUE)).iter().all(|line| line.starts_with("wake")), "{:?}", world.says(t(DUE)));
    world.busy.clear();
    world.runs[0] = probed(&world.runs[0], t(DUE), fine(&Place::default()));
    check(&world, DUE, &["A start EXT1", "B start EXT1", "C start EXT1"]);
    // What they are judged by is noted with each start.
    let is_noted = |effect: &plan::Effect| matches!(effect, plan::Effect::Start { place_facts: Some(_), .. });
    assert!(plan::plan(&world.snapshot(), t(DUE)).iter().all(is_noted));
}

#[test]
fn facts_of_a_place_are_good_for_a_short_time_and_for_that_place_only() {
    let start = |read_at: Timestamp, now: Timestamp, place: Place| {
        let mut world = due(1);
        world.runs[0] = probed(&world.runs[0], read_at, fine(&place));
        world.says(now)
    };
    let (now, tick) = (t(DUE), SignedDuration::from_nanos(1));
    assert_eq!(start(now - PLACE_FACTS_MAX_AGE, now, Place::default()), ["A start EXT1"]);
    assert_eq!(start(now - PLACE_FACTS_MAX_AGE - tick, now, Place::default()), ["A ask of the place"]);
    assert_eq!(start(now + tick, now, Place::default()), ["A ask of the place"], "the clock was set back");
    assert_eq!(start(now, now, elsewhere()), ["A ask of the place"], "a reload moved the experiment");
}

/// What was read before the clock was set back is not young again when the clock gets there once more.
#[test]
fn what_was_read_of_a_place_in_the_future_is_never_good() {
    let mut world = due(1);
    world.runs[0] = probed(&world.runs[0], t("10:04:00"), fine(&Place::default()));
    // It was there before anything was read for it.
    let looked = |world: &World, at: &[Timestamp]| {
        let mut looked = Looked::default();
        looked.again(&[slot_run("09:59:00")], t("09:59:00"));
        at.iter().for_each(|at| looked.again(&world.runs, *at));
        looked.aged
    };
    let (early, later) = (t(DUE), t("10:04:10"));
    assert_eq!(looked(&world, &[later]), BTreeSet::new(), "it was never seen in the future");
    check(&world, "10:04:10", &["A start EXT1"]);
    world.aged = looked(&world, &[early, later]);
    assert_eq!(world.aged, [t("10:04:00")].into());
    check(&world, "10:04:10", &["A ask of the place"]);
    // So with a template.
    world.runs[0] = probed(&read(slot_run("09:59:00"), "10:04:00", 600), later, fine(&Place::default()));
    world.aged = [t("10:04:00")].into();
    check(&world, "10:04:10", &["A read template"]);
}

/// What another process has read, or was read before a row could not be read for a while, is of a time that nobody knows.
#[test]
fn what_was_read_for_a_run_that_was_not_there_is_old() {
    let known = probed(&read(slot_run("09:59:00"), "10:04:00", 600), t("10:04:05"), fine(&Place::default()));
    let (both, now) = (BTreeSet::from([t("10:04:00"), t("10:04:05")]), t("10:04:10"));
    let mut looked = Looked::default();
    looked.again(&[], now);
    for _ in 0..2 {
        looked.again(std::slice::from_ref(&known), now);
        assert_eq!(looked.aged, both);
    }
    let anew = probed(&read(known.clone(), "10:04:10", 600), now, fine(&Place::default()));
    looked.again(std::slice::from_ref(&anew), now);
    assert_eq!(looked.aged, BTreeSet::new());
    looked.again(&[], now);
    looked.again(&[anew], now);
    assert_eq!(looked.aged, BTreeSet::from([now]));
    // So with a look for a start that is in doubt.
    let unclear = Observation::StartUnclear { class: FailureClass::Throttled, message: String::new(), look_at: now };
    let looked_for = [asked(slot_run("09:59:00"), DUE)]
        .map(|run| run.apply(&unclear, now).and_then(|run| run.apply(&Observation::NotFound, now)).expect("a look"));
    looked.again(&[], now);
    looked.again(&looked_for, now);
    assert_eq!(looked.aged, BTreeSet::from([now]));
}

#[test]
fn nothing_starts_unless_the_lever_is_disengaged() {
    let refused = |status: Stands, told: &str| {
        let mut world = due(2);
        world.runs[0] = probed(&world.runs[0], t(DUE), with_lever(status));
        let line = |run: &str| format!("{run} skipped: the safety lever is {told}: incident 7");
        check(&world, DUE, &[&line("A"), &line("B")]);
    };
    refused(Stands::Engaged, "engaged");
    refused(Stands::Engaging, "engaging");
    refused(Stands::from_text("jammed"), "jammed");
    refused(Stands::from_text("unknown"), "unknown");
}

#[test]
fn place_that_does_not_answer_is_asked_again_later_by_one_for_all() {
    let mut world = due(2);
    let failure = || CallFailure { class: FailureClass::Denied, message: "GetSafetyLever: no".to_owned() };
    let held = react::place(&world.runs[0], Err(failure()), t(DUE));
    world.runs[0] = applied(world.runs[0].clone(), &[(DUE, held)]);
    check(&world, DUE, &["wake 10:00:02"]);
    check(&world, "10:00:02", &["A ask of the place"]);
    check(&world, "10:00:03", &["B ask of the place"]);
    // The second failure doubles the wait, for everybody.
    let again = react::place(&world.runs[0], Err(failure()), t("10:00:02"));
    world.runs[0] = applied(world.runs[0].clone(), &[("10:00:02", again)]);
    check(&world, "10:00:02", &["wake 10:00:06"]);
    // It waits no longer than its deadline.
    let told = "AWS did not tell what the place is like (denied, 2 times): GetSafetyLever: no";
    let late = [
        format!("A skipped: it could not start by 10:09:00Z: {told}"),
        "B skipped: it could not start by 10:09:01Z".to_owned(),
    ];
    assert_eq!(world.says(t("10:20:00")), late);
}

#[test]
fn place_is_asked_again_before_the_same_token_is_used_again() {
    let mut world = due(1);
    let first = asked(probed(&world.runs[0], t(DUE), fine(&Place::default())), DUE);
    world.runs[0] = applied(first, &[("10:01:00", Observation::NotFound)]);
    check(&world, "10:01:05", &["A ask of the place"]);
    let again = |status| {
        let mut world = world.clone();
        world.runs[0] = probed(&world.runs[0], t("10:01:05"), with_lever(status));
        world.says(t("10:01:05"))
    };
    assert_eq!(again(Stands::Disengaged), ["A start EXT1"]);
    // It may have begun all the same, and is looked for before it is given up.
    assert_eq!(again(Stands::Engaged), ["A look"]);
    // A failure says nothing of the start.
    let failed = react::place(
        &world.runs[0],
        Err(CallFailure { class: FailureClass::Timeout, message: String::new() }),
        t("10:01:05"),
    );
    assert!(matches!(failed, Observation::LookFailed { .. }), "{failed:?}");
}

#[test]
fn nobody_asks_of_a_place_for_a_run_that_another_guard_refuses() {
    let mut world = due(1);
    world = world.with_halt(plan::HaltRunning::Finish);
    check(&world, DUE, &["A skipped: all chaos is halted by ann"]);
}

#[test]
fn place_that_is_assumed_to_be_fine_is_not_asked_and_that_is_said() {
    let mut world = due(1);
    let told = |world: &World| {
        let said = plan::explain(&world.snapshot(), &world.runs[0], t(DUE));
        let lever = said.into_iter().find(|rule| rule.rule == "lever").expect("a guard");
        (lever.input, lever.answer)
    };
    assert_eq!(told(&world), ("none".to_owned(), "asks AWS first".to_owned()));
    world.places = Some(Places::AssumedFine);
    check(&world, DUE, &["A start EXT1"]);
    assert_eq!(told(&world), ("assumed to allow it".to_owned(), "passes".to_owned()));
}

#[test]
fn run_of_an_older_version_is_asked_for_anew() {
    let mut world = due(1);
    let mut row = serde_json::to_value(&world.runs[0]).expect("JSON");
    assert!(row.as_object_mut().expect("an object").remove("place_facts").is_none(), "none is not written");
    world.runs[0] = serde_json::from_value(row).expect("a run");
    check(&world, DUE, &["A ask of the place"]);
}

fn with(mut world: World, change: impl FnOnce(&mut World), facts: PlaceFacts, now: &str) -> Vec<String> {
    change(&mut world);
    world.runs[0] = probed(&world.runs[0], t(now), facts);
    world.says(t(now))
}

#[test]
fn nothing_starts_in_an_account_or_region_that_is_not_allowed() {
    let said = |accounts: Option<&str>, regions: Option<&str>, identity: Option<(&str, Option<&str>)>| {
        let set = |text: &str| BTreeSet::from([text.to_owned()]);
        let limits = PlaceLimits { accounts: accounts.map(set), regions: regions.map(set), ..PlaceLimits::default() };
        let identity = identity
            .map(|(account, region)| Identity { account: account.to_owned(), region: region.map(str::to_owned) });
        let facts = PlaceFacts { identity, ..fine(&Place::default()) };
        with(due(1), |world| world.rules.limits = limits, facts, DUE)
    };
    let (ours, here) = ("111111111111", "eu-west-1");
    let start = ["A start EXT1"];
    assert_eq!(said(None, None, None), start);
    assert_eq!(said(Some(ours), None, Some((ours, None))), start);
    assert_eq!(said(Some(ours), Some(here), Some((ours, Some(here)))), start);
    let refused = |account: &str, region: &str| {
        [format!("A skipped: account {account}, Region {region}: nothing may start there")]
    };
    assert_eq!(said(Some(ours), None, Some(("222222222222", Some(here)))), refused("222222222222", here));
    assert_eq!(said(None, Some(here), Some((ours, Some("us-east-1")))), refused(ours, "us-east-1"));
    assert_eq!(said(None, Some(here), Some((ours, None))), refused(ours, "unknown"));
    // What was not asked is asked.
    assert_eq!(said(Some(ours), None, None), ["A ask of the place"]);
}

/// What is active in an account, as seen from a place.
fn counted(active: BTreeMap<String, Option<RunId>>, place: &Place) -> PlaceFacts {
    let identity = Identity { account: "111111111111".to_owned(), region: place.region.clone() };
    PlaceFacts { active: Some(active), identity: Some(identity), ..fine(place) }
}

/// Two roles of one account see the same room, and only one of two runs may take it.
#[test]
fn runs_at_two_places_of_one_account_share_its_room() {
    let by_another_role = Place { role_arn: Some("arn:aws:iam::111111111111:role/b".to_owned()), ..Place::default() };
    let said = |place: Place| {
        let mut world = due(2);
        world.rules.limits.max_active = Some(1);
        let other = Experiment { name: name("other"), place: place.clone(), ..experiment() };
        world.runs[1].experiment = other.name.clone();
        world.runs[1].facts.as_mut().expect("facts").read_by = Some(Box::new(Definition::of(&other)));
        world.rules.experiments.insert(other.name.clone(), other);
        world.runs[0] = probed(&world.runs[0], t(DUE), counted(BTreeMap::new(), &Place::default()));
        world.runs[1] = probed(&world.runs[1], t(DUE), counted(BTreeMap::new(), &place));
        world.says(t(DUE))
    };
    let full = "B held: 1 of at most 1 experiments are active in its account and Region; look 10:00:30.000000001";
    assert_eq!(said(by_another_role), ["A start EXT1", full]);
    assert_eq!(said(elsewhere()), ["A start EXT1", "B start EXT1 in eu-west-1"], "another Region has its own");
}

/// A run that began after the other role's list was made is in the way also when what it was started by is too old to start by.
#[test]
fn run_of_another_role_counts_for_longer_than_its_facts_are_good_for() {
    let role = Place { role_arn: Some("arn:aws:iam::111111111111:role/b".to_owned()), ..Place::default() };
    let said = |now: &str| {
        let mut world = due(2);
        world.rules.limits.max_active = Some(1);
        let other = Experiment { name: name("other"), place: role.clone(), ..experiment() };
        world.runs[1].experiment = other.name.clone();
        world.runs[1].facts.as_mut().expect("facts").read_by = Some(Box::new(Definition::of(&other)));
        world.rules.experiments.insert(other.name.clone(), other);
        world.runs[0] = asked(probed(&world.runs[0], t(DUE), counted(BTreeMap::new(), &Place::default())), "10:00:29");
        world.runs[1] = probed(&world.runs[1], t("10:00:28"), counted(BTreeMap::new(), &role));
        world.busy.insert(world.runs[0].id.clone());
        world.says(t(now))
    };
    let full = "B held: 1 of at most 1 experiments are active in its account and Region; look 10:00:58.000000001";
    assert_eq!(said("10:00:30")[0], full);
    assert_eq!(said("10:00:31")[0], full);
}

/// Who the credentials of a place are may change; what began by them goes on in the account in which it began.
#[test]
fn run_counts_where_it_began_though_its_credentials_are_anothers_by_now() {
    let role = Place { role_arn: Some("arn:aws:iam::111111111111:role/b".to_owned()), ..Place::default() };
    let mut world = due(3);
    world.rules.limits.max_active = Some(1);
    let other = Experiment { name: name("other"), place: role.clone(), ..experiment() };
    world.runs[1].experiment = other.name.clone();
    world.runs[1].facts.as_mut().expect("facts").read_by = Some(Box::new(Definition::of(&other)));
    world.rules.experiments.insert(other.name.clone(), other);
    world.runs[0] = asked(probed(&world.runs[0], t(DUE), counted(BTreeMap::new(), &Place::default())), DUE);
    world.busy.insert(world.runs[0].id.clone());
    world.runs[1] = probed(&world.runs[1], t(DUE), counted(BTreeMap::new(), &role));
    let identity = Some(Identity { account: "222222222222".to_owned(), region: None });
    let facts = PlaceFacts { identity, ..counted(BTreeMap::new(), &Place::default()) };
    world.runs[2] = probed(&world.runs[2], t("10:00:01"), facts);
    let full = "B held: 1 of at most 1 experiments are active in its account and Region; look 10:00:30.000000001";
    assert!(world.says(t("10:00:01")).contains(&full.to_owned()), "{:?}", world.says(t("10:00:01")));
}

#[test]
fn run_waits_while_as_many_experiments_are_active_as_may_be() {
    let listed = |runs: &[Option<&str>]| {
        let listed = runs.iter().enumerate();
        let active = listed.map(|(n, run)| (format!("EXP{n}"), run.map(RunId::from_text))).collect();
        counted(active, &Place::default())
    };
    let limit = |world: &mut World| world.rules.limits.max_active = Some(2);
    assert_eq!(with(due(1), limit, listed(&[None]), DUE), ["A start EXT1"]);
    let told = "2 of at most 2 experiments are active in its account and Region";
    let held = |run: &str| format!("{run} held: {told}; look 10:00:30.000000001");
    assert_eq!(with(due(1), limit, listed(&[None, Some("gone")]), DUE), [held("A")]);
    // Those that begin in the same pass count, and who comes first begins first.
    assert_eq!(with(due(2), limit, listed(&[None]), DUE), ["A start EXT1".to_owned(), held("B")]);
    // One of ours that is listed counts once, and a run is not in its own way.
    let mut world = due(2);
    world.runs[1] = asked(world.runs[1].clone(), DUE);
    let (own, other) = (world.runs[0].id.to_string(), world.runs[1].id.to_string());
    let said = with(world, limit, listed(&[Some(&own), Some(&other)]), DUE);
    assert!(said.contains(&"A start EXT1".to_owned()), "{said:?}");
    // It waits no longer than it may start, or wait for its turn.
    let held_until = |overlap| {
        let mut world = due(1);
        world.rules.experiments.values_mut().for_each(|declared| declared.overlap = overlap);
        limit(&mut world);
        let facts = listed(&[None, None]);
        world.runs[0] = probed(&world.runs[0], t(DUE), facts);
        let effects = plan::plan(&world.snapshot(), t(DUE));
        let [plan::Effect::Record { observation, .. }] = &effects[..] else { panic!("{effects:?}") };
        world.runs[0].clone().apply(observation, t(DUE)).expect("it can be held").deadline()
    };
    assert_eq!(held_until(Overlap::Skip), t("10:09:00"));
    assert_eq!(held_until(Overlap::QueueOne), t("21:59:00"));
}

#[test]
fn run_that_takes_the_place_of_another_is_not_kept_out_by_it() {
    let going = running(slot_run("09:50:00"), "09:50:00");
    let active = BTreeMap::from([("EXP1".to_owned(), Some(going.id.clone()))]);
    let facts = |others: usize| {
        let others = (0..others).map(|n| (format!("EXO{n}"), None));
        counted(active.clone().into_iter().chain(others).collect(), &Place::default())
    };
    let said = |others: usize, overlap: Overlap| {
        let mut world = due(1);
        world.runs.push(going.clone());
        let change = |world: &mut World| {
            world.rules.limits.max_active = Some(1);
            world.rules.experiments.values_mut().for_each(|declared| declared.overlap = overlap);
        };
        with(world, change, facts(others), DUE).swap_remove(0)
    };
    let held = "A held: run B is going on and shares the same experiment with it; look 22:00:00.000000001";
    assert_eq!(said(0, Overlap::StopOther)[..44], held[..44]);
    // What is in its way besides is.
    assert_eq!(said(1, Overlap::StopOther)[..46], *"A held: 1 of at most 1 experiments are active ");
    assert_eq!(said(0, Overlap::Allow)[..46], *"A held: 1 of at most 1 experiments are active ");
}

#[test]
fn run_waits_until_every_alarm_is_ok_and_has_been_for_long_enough() {
    let health = |ok_for_m: i64| {
        move |world: &mut World| {
            let alarms = ["errors", "latency"].map(str::to_owned).into();
            let health = Health { alarms, ok_for: SignedDuration::from_mins(ok_for_m) };
            world.rules.experiments.values_mut().for_each(|declared| declared.health = Some(health.clone()));
        }
    };
    let facts = |state: AlarmState, since: Option<&str>| {
        let ok = Alarm { state: AlarmState::Ok, since: Some(t("08:00:00")) };
        let other = Alarm { state, since: since.map(t) };
        let alarms = BTreeMap::from([("errors".to_owned(), ok), ("latency".to_owned(), other)]);
        PlaceFacts { alarms, ..fine(&Place::default()) }
    };
    let check = |ok_for_m: i64, state: AlarmState, since: Option<&str>, expected: &str| {
        assert_eq!(with(due(1), health(ok_for_m), facts(state, since), DUE), [expected]);
    };
    check(0, AlarmState::Ok, None, "A start EXT1");
    check(10, AlarmState::Ok, Some("09:50:00"), "A start EXT1");
    let again = "look 10:00:30.000000001";
    let early = "A held: alarm `latency` is OK, but long enough only at 2026-03-02T10:00:01Z; look 10:00:01";
    check(10, AlarmState::Ok, Some("09:50:01"), &early.replace("2026-03-02T", ""));
    check(10, AlarmState::Ok, None, &format!("A held: alarm `latency` is OK; {again}"));
    check(0, AlarmState::Alarm, Some("08:00:00"), &format!("A held: alarm `latency` is ALARM; {again}"));
    let unknown = format!("A held: alarm `latency` is INSUFFICIENT_DATA; {again}");
    check(0, AlarmState::InsufficientData, Some("08:00:00"), &unknown);
    check(0, AlarmState::Missing, None, &format!("A held: alarm `latency` is missing; {again}"));
    check(0, AlarmState::from_text("PARTIAL"), None, &format!("A held: alarm `latency` is PARTIAL; {again}"));
    // What was read for an experiment that asks for nothing does not tell.
    assert_eq!(with(due(1), health(0), fine(&Place::default()), DUE), ["A ask of the place"]);
}

#[test]
fn facts_of_a_place_read_as_they_were_written_also_by_an_older_version() {
    let alarm = Alarm { state: AlarmState::InsufficientData, since: Some(t(DUE)) };
    let full = PlaceFacts {
        identity: Some(Identity { account: "111111111111".to_owned(), region: None }),
        active: Some(BTreeMap::from([("EXP1".to_owned(), None)])),
        alarms: BTreeMap::from([("errors".to_owned(), alarm)]),
        ..with_lever(Stands::from_text("jammed"))
    };
    for facts in [full, fine(&elsewhere())] {
        let text = serde_json::to_string(&facts).expect("JSON");
        assert_eq!(serde_json::from_str::<PlaceFacts>(&text).expect("facts"), facts, "{text}");
    }
}
