//! Runs: every pair of state and observation, and identities that never change.

use std::collections::BTreeSet;

use firedrill::domain::{
    deployment::Terms,
    experiment::Place,
    fis::{FailureClass, FisStatus},
    ids::{Name, RunId},
    outcome::Outcome,
    run::{
        Adopted, Doubt, HoldReason, Observation, Run, RunState, SkipReason, StopCause, StopRequestState, TraceParent,
        Trigger, WindowRule,
    },
};
use proptest::prelude::*;

use crate::support::{
    runs::{instant, name},
    world::{applied, asked, event_run, facts, fis, running, slot_run, t, trigger},
};

const AT: &str = "10:00:00";

fn held() -> Observation {
    let reason = HoldReason::Closed { window: name("freeze"), until: None, unknown: None };
    Observation::Held { reason, look_at: t(AT) }
}

fn refused() -> Observation {
    Observation::StartRefused { class: FailureClass::Quota, message: String::new(), retry_at: t(AT) }
}

fn stop_asked() -> Observation {
    Observation::StopAsked { cause: StopCause::MaxDuration }
}

/// One observation of each kind.
fn observations() -> Vec<Observation> {
    use Observation as O;
    let class = FailureClass::Timeout;
    let message = String::new;
    vec![
        O::Opened,
        O::TemplateRead { facts: facts(60, t(AT)) },
        held(),
        O::Skipped { reason: SkipReason::Removed },
        O::StartAsked {
            place: Place::default(),
            template_id: "EXT1".to_owned(),
            facts: None,
            place_facts: None,
            ties: None,
        },
        refused(),
        O::StartUnclear { class, message: message(), look_at: t(AT) },
        O::NotFound,
        O::LookFailed { class, look_at: t(AT) },
        O::Started { fis: fis(FisStatus::Running, t(AT)), adopted: Adopted::No },
        O::Polled { fis: fis(FisStatus::Running, t(AT)) },
        O::PollFailed { class, message: message() },
        stop_asked(),
        O::StopTaken,
        O::StopFailed { class, message: message(), retry_at: t(AT) },
        O::Finished { outcome: Outcome::Completed },
    ]
}

/// A run in each state.
fn states() -> Vec<Run> {
    let requested = || slot_run(AT);
    let with = |run: Run, observation| applied(run, &[(AT, observation)]);
    let stopping = || with(running(requested(), AT), stop_asked());
    vec![
        requested(),
        event_run(AT, trigger("deploy", 60, 0)),
        with(requested(), held()),
        asked(requested(), AT),
        with(asked(requested(), AT), Observation::NotFound),
        with(asked(requested(), AT), refused()),
        running(requested(), AT),
        stopping(),
        with(stopping(), Observation::StopTaken),
        with(stopping(), Observation::Finished { outcome: Outcome::Completed }),
        with(requested(), Observation::Skipped { reason: SkipReason::Removed }),
    ]
}

/// Names a state with the detail that decides what may follow.
fn state(run: &Run) -> &'static str {
    match &run.state {
        RunState::Starting { doubt: Doubt::Unanswered { .. }, .. } => "asked",
        RunState::Starting { doubt: Doubt::NotFound { .. }, .. } => "absent",
        RunState::Starting { doubt: Doubt::Refused { .. }, .. } => "refused",
        RunState::Stopping { request: StopRequestState::Due { .. }, .. } => "due",
        RunState::Stopping { request: StopRequestState::Taken { .. }, .. } => "taken",
        other => other.as_str(),
    }
}

/// What follows each state (columns) after each observation (rows); `-` where it cannot follow.
const TRANSITIONS: &str = "
    from          requested settling  held    asked    absent   refused  running  due      taken    finished skipped
    opened        -         -         -       -        -        -        -        -        -        -        -
    template-read requested settling  held    asked    absent   refused  -        -        -        -        -
    held          held      held      held    -        -        -        -        -        -        -        -
    skipped       skipped   skipped   skipped -        skipped  skipped  -        -        -        -        -
    start-asked   asked     asked     asked   -        asked    asked    -        -        -        -        -
    start-refused -         -         -       refused  -        -        -        -        -        -        -
    start-unclear -         -         -       asked    asked    asked    -        -        -        -        -
    not-found     -         -         -       absent   absent   refused  -        -        -        -        -
    look-failed   -         -         -       asked    asked    refused  -        -        -        -        -
    started       -         -         -       running  running  running  -        -        -        -        -
    polled        -         -         -       -        -        -        running  due      taken    -        -
    poll-failed   -         -         -       -        -        -        running  due      taken    -        -
    stop-asked    -         -         -       -        -        -        due      -        -        -        -
    stop-taken    -         -         -       -        -        -        -        taken    taken    -        -
    stop-failed   -         -         -       -        -        -        -        due      due      -        -
    finished      -         -         -       -        finished finished finished finished finished -        -
";

#[test]
fn every_observation_in_every_state_is_taken_or_refused_as_documented() {
    let table: Vec<Vec<&str>> = TRANSITIONS.trim().lines().map(|line| line.split_whitespace().collect()).collect();
    let states = states();
    let found: Vec<&str> = states.iter().map(state).collect();
    assert_eq!(found, table[0][1..]);
    for (observation, row) in observations().iter().zip(&table[1..]) {
        assert_eq!(observation.as_str(), row[0]);
        for (run, expected) in states.iter().zip(&row[1..]) {
            let followed = run.clone().apply(observation, t(AT));
            let label = followed.as_ref().map_or("-", state);
            assert_eq!(label, *expected, "{} after `{}`", observation.as_str(), state(run));
            if let Err(refused) = followed {
                assert_eq!((refused.run, refused.state), (run.id.clone(), run.state.as_str()));
            }
        }
    }
}

#[test]
fn refused_observation_is_named_with_run_and_state() {
    let refused = slot_run(AT).apply(&Observation::NotFound, t(AT)).expect_err("refused");
    assert_eq!(refused.to_string(), format!("run {} is requested and cannot take `not-found`", refused.run));
}

#[test]
fn attempts_are_counted_and_the_last_doubtful_call_is_remembered() {
    let start = |run: &Run| match &run.state {
        RunState::Starting { attempt, asked_at, unclear_at, .. } => (*attempt, *asked_at, *unclear_at),
        other => panic!("{other:?}"),
    };
    let first = asked(slot_run(AT), "10:00:00");
    assert_eq!(start(&first), (1, t("10:00:00"), None));
    let refused_first = asked(applied(first.clone(), &[("10:00:01", refused())]), "10:00:02");
    assert_eq!(start(&refused_first), (2, t("10:00:02"), None), "a refusal leaves no doubt");
    let absent = applied(first, &[("10:00:03", Observation::NotFound)]);
    assert_eq!(start(&absent), (1, t("10:00:00"), Some(t("10:00:00"))));
    let again = asked(absent, "10:00:08");
    assert_eq!(start(&again), (2, t("10:00:08"), Some(t("10:00:00"))));
    let refused_again = applied(again, &[("10:00:09", refused())]);
    assert_eq!(start(&refused_again), (2, t("10:00:08"), Some(t("10:00:00"))), "the doubt of the first call stays");
}

/// How long an experiment may go on is counted from its beginning, whatever call of it is still known.
#[test]
fn experiment_that_is_found_counts_from_its_beginning_though_a_restored_store_forgot_the_call() {
    let since = |opened: &str, created: &str| {
        let fis = fis(FisStatus::Running, t(created));
        let found = Observation::Started { fis, adopted: Adopted::ByTag };
        let run = applied(asked(slot_run(opened), "10:30:00"), &[("10:30:02", found)]);
        let RunState::Running { since, .. } = run.state else { panic!("{run:?}") };
        since
    };
    assert_eq!(since("10:00:00", "10:00:03"), t("10:00:03"));
    assert_eq!(since("10:29:59", "10:30:01"), t("10:30:01"));
    assert_eq!(since("10:00:00", "09:58:00"), t("10:00:00"), "nothing of it was before it");
    assert_eq!(since("10:00:00", "10:31:00"), t("10:30:00"), "FIS's clock is ahead");
    // The clock is set back by an hour between the call and its answer.
    let found = Observation::Started { fis: fis(FisStatus::Running, t("09:30:05")), adopted: Adopted::ByTag };
    let run = applied(asked(slot_run("10:30:00"), "10:30:00"), &[("09:30:50", found)]);
    assert!(matches!(run.state, RunState::Running { since, .. } if since == t("09:30:05")), "{:?}", run.state);
}

proptest! {
    #![proptest_config(crate::support::chance::cases(256))]

    #[test]
    fn any_sequence_of_observations_leaves_a_run_that_can_be_stored(
        picks in prop::collection::vec((0..16_usize, -100_000_i64..100_000), 0..40),
    ) {
        let observations = observations();
        let mut run = slot_run(AT);
        for (pick, seconds) in picks {
            let at = t(AT) + jiff::SignedDuration::from_secs(seconds);
            let over = run.is_over();
            if let Ok(next) = run.clone().apply(&observations[pick], at) {
                prop_assert!(!over, "{} followed an end", observations[pick].as_str());
                prop_assert_eq!(next.revision, run.revision + 1);
                prop_assert_eq!((&next.id, &next.trigger, next.start_by), (&run.id, &run.trigger, run.start_by));
                run = next;
            }
            let stored = serde_json::to_string(&run).expect("JSON");
            prop_assert_eq!(&serde_json::from_str::<Run>(&stored).expect("a run"), &run);
        }
    }
}

fn derive(experiment: &str, trigger: &Trigger) -> RunId {
    RunId::derive(&name(experiment), &trigger.key())
}

fn slot(schedule: &str, at: &str) -> Trigger {
    Trigger::Slot { schedule: name(schedule), at: instant(at), timetable: None }
}

fn by_event(source: &str, event_id: &str, received_at: &str) -> Trigger {
    Trigger::Event {
        source: source.to_owned(),
        event_id: event_id.to_owned(),
        detail_type: "Done".to_owned(),
        received_at: instant(received_at),
        event_time: None,
        parent: None,
        deployment: None,
        terms: Terms::default(),
    }
}

fn by_hand(request: &str, by: &str) -> Trigger {
    Trigger::Manual { request: request.to_owned(), by: by.to_owned(), reason: None, windows: WindowRule::Hold }
}

#[test]
fn identity_is_the_same_in_every_version() {
    // Literals: a run that an older version began must be found again under its token, tag and trace.
    let id = derive("checkout-latency", &slot("nightly", "2026-03-01T02:00:00Z"));
    assert_eq!(id.as_str(), "168fe3f94d072c840cf1");
    assert_eq!(id.client_token(), "firedrill-168fe3f94d072c840cf1");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&id.trace_id()), "c93864405962450dc27b34b61bb8e702");
    assert_eq!(hex(&id.span_id("run")), "5d63eed679af6e25");
    assert_eq!(
        derive("checkout-latency", &by_event("aws.ecs", "e-1", "2026-03-01T02:00:00Z")).as_str(),
        "a6f7a7874bf71959a126"
    );
    assert_eq!(derive("checkout-latency", &by_hand("r-1", "ann")).as_str(), "eacdb64641fe630f50bf");
}

#[test]
fn identity_follows_from_the_trigger_alone() {
    let event = |received_at| derive("a", &by_event("aws.ecs", "e-1", received_at));
    assert_eq!(event("2026-03-01T02:00:00Z"), event("2026-03-02T03:00:00Z"), "a redelivery is the same run");
    assert_eq!(derive("a", &by_hand("r-1", "ann")), derive("a", &by_hand("r-1", "bob")));
    let with_parent = Trigger::Event {
        parent: Some(TraceParent { trace_id: [1; 16], span_id: [2; 8], sampled: true }),
        source: "aws.ecs".to_owned(),
        event_id: "e-1".to_owned(),
        detail_type: "Other".to_owned(),
        received_at: instant("2026-03-01T02:00:00Z"),
        event_time: Some(instant("2026-03-01T01:59:00Z")),
        deployment: None,
        terms: Terms::default(),
    };
    assert_eq!(derive("a", &with_parent), event("2026-03-01T02:00:00Z"));
}

#[test]
fn identities_differ_where_triggers_or_experiments_do() {
    let triggers = [
        slot("nightly", "2026-03-01T02:00:00Z"),
        slot("nightly", "2026-03-01T02:00:01Z"),
        slot("weekly", "2026-03-01T02:00:00Z"),
        by_event("aws.ecs", "e-1", "2026-03-01T02:00:00Z"),
        by_event("aws.ecs", "e-2", "2026-03-01T02:00:00Z"),
        by_event("aws.eks", "e-1", "2026-03-01T02:00:00Z"),
        by_hand("e-1", "ann"),
        by_hand("slot:nightly:2026-03-01T02:00:00Z", "ann"),
    ];
    let ids: BTreeSet<RunId> =
        ["a", "b"].iter().flat_map(|e| triggers.iter().map(move |trigger| derive(e, trigger))).collect();
    assert_eq!(ids.len(), 2 * triggers.len());
    let tokens: BTreeSet<String> = ids.iter().map(RunId::client_token).collect();
    let traces: BTreeSet<[u8; 16]> = ids.iter().map(RunId::trace_id).collect();
    let spans: BTreeSet<[u8; 8]> = ids.iter().flat_map(|id| [id.span_id("run"), id.span_id("guard")]).collect();
    assert_eq!((tokens.len(), traces.len(), spans.len()), (ids.len(), ids.len(), 2 * ids.len()));
    // FIS takes 1 to 1024 printable characters as a token.
    assert!(tokens.iter().all(|token| token.len() <= 64 && token.chars().all(|c| c.is_ascii_graphic())));
}

#[test]
fn event_ids_with_the_separator_do_not_collide() {
    let left = derive("a", &by_event("x:y", "z", "2026-03-01T02:00:00Z"));
    let right = derive("a", &by_event("x", "y:z", "2026-03-01T02:00:00Z"));
    assert_ne!(left, right);
}

#[test]
fn names_are_short_and_plain() {
    for good in ["a", "A-1_b.c", &"x".repeat(64)] {
        assert_eq!(Name::parse(good).map(String::from), Ok(good.to_owned()));
    }
    for bad in ["", "-a", ".a", "_a", "a b", "ä", "a/b", "a\n", &"x".repeat(65)] {
        assert!(Name::parse(bad).is_err(), "{bad:?}");
        assert!(serde_json::from_value::<Name>(bad.into()).is_err(), "{bad:?}");
    }
}
