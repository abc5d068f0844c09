//! Answers: what a failed call is, and what each kind means for a start, a look, a poll, a stop and a template.

use firedrill::{
    aws::classify,
    domain::{
        fis::{CallFailure, FailureClass, FisStatus},
        react,
        run::{Adopted, Observation, Run, StopCause},
    },
};
use jiff::SignedDuration;

use crate::support::world::{applied, asked, facts, fis, running, slot_run, t};

const AT: &str = "10:00:00";

const CLASSES: [FailureClass; 10] = [
    FailureClass::Throttled,
    FailureClass::Quota,
    FailureClass::Denied,
    FailureClass::Credentials,
    FailureClass::NotFound,
    FailureClass::Invalid,
    FailureClass::Conflict,
    FailureClass::Unavailable,
    FailureClass::Timeout,
    FailureClass::Unreadable,
];

fn failure(class: FailureClass) -> CallFailure {
    CallFailure { class, message: "no".to_owned() }
}

#[test]
fn answers_are_classed_by_code_and_then_by_status() {
    for (code, status, expected) in [
        (Some("ThrottlingException"), 400, "throttled"),
        (Some("Throttling"), 400, "throttled"),
        (Some("TooManyRequestsException"), 429, "throttled"),
        (Some("RequestLimitExceeded"), 503, "throttled"),
        (Some("SlowDown"), 503, "throttled"),
        (Some("ServiceQuotaExceededException"), 402, "quota"),
        (Some("ConflictException"), 409, "conflict"),
        (Some("ResourceNotFoundException"), 404, "not-found"),
        (Some("ExpiredTokenException"), 403, "credentials"),
        (Some("ExpiredToken"), 400, "credentials"),
        (Some("RequestExpired"), 400, "credentials"),
        (Some("RequestTimeout"), 400, "timeout"),
        (Some("ValidationException"), 400, "invalid"),
        (Some("AccessDeniedException"), 403, "denied"),
        (Some("AccessDeniedException"), 400, "denied"),
        (Some("InvalidDocument"), 400, "not-found"),
        (Some("InternalServerException"), 500, "unavailable"),
        (Some("SomethingNew"), 400, "invalid"),
        (Some("SomethingNew"), 503, "unavailable"),
        (Some(""), 404, "unreadable"),
        (Some("UnknownOperationException"), 404, "unreadable"),
        (Some("ResourceNotFoundException"), 404, "not-found"),
        (None, 200, "unreadable"),
        (None, 299, "unreadable"),
        (None, 302, "unreadable"),
        (None, 400, "invalid"),
        (None, 401, "denied"),
        (None, 402, "quota"),
        (None, 403, "denied"),
        (None, 404, "unreadable"),
        (None, 405, "invalid"),
        (None, 408, "timeout"),
        (None, 409, "conflict"),
        (None, 413, "invalid"),
        (None, 429, "throttled"),
        (None, 431, "unreadable"),
        (None, 500, "unavailable"),
        (None, 502, "unavailable"),
        (None, 599, "unavailable"),
        (None, 0, "unreadable"),
    ] {
        assert_eq!(classify::of_answer(code, status).as_str(), expected, "{code:?} {status}");
    }
}

#[test]
fn start_answered_by_an_unknown_400_may_have_begun() {
    for (code, status, expected, had_no_effect) in [
        (Some("RequestAbortedException"), 400, "unavailable", false),
        (Some("SomethingNew"), 400, "unreadable", false),
        (None, 400, "unreadable", false),
        (Some("ValidationException"), 400, "invalid", true),
        (Some("ValidationError"), 400, "invalid", true),
        (Some("MalformedHttpRequestException"), 400, "invalid", true),
        (Some("SerializationException"), 400, "invalid", true),
        (Some("ThrottlingException"), 400, "throttled", true),
        (Some("ResourceNotFoundException"), 400, "not-found", true),
        (Some("RequestEntityTooLargeException"), 413, "invalid", true),
        (Some("OptInRequired"), 403, "denied", true),
        (None, 404, "unreadable", false),
    ] {
        let class = classify::of_start(code, status);
        assert_eq!((class.as_str(), class.had_no_effect()), (expected, had_no_effect), "{code:?} {status}");
    }
}

/// What the answer to each call means, for every kind of failure: a start, a stop, a template, a look, a poll.
const MEANINGS: &str = "
    throttled   start-refused stop-failed held    look-failed poll-failed
    quota       start-refused stop-failed held    look-failed poll-failed
    denied      start-refused stop-failed skipped look-failed poll-failed
    credentials start-refused stop-failed held    look-failed poll-failed
    not-found   start-refused stop-failed skipped look-failed poll-failed
    invalid     start-refused stop-taken  skipped look-failed poll-failed
    conflict    start-unclear stop-failed held    look-failed poll-failed
    unavailable start-unclear stop-failed held    look-failed poll-failed
    timeout     start-unclear stop-failed held    look-failed poll-failed
    unreadable  start-unclear stop-failed held    look-failed poll-failed
";

#[test]
fn every_kind_of_failure_means_one_thing_for_each_call() {
    let starting = asked(slot_run(AT), AT);
    let stopping = stopping();
    let lines: Vec<String> = CLASSES
        .iter()
        .map(|&class| {
            let meanings = [
                react::start(&starting, Err(failure(class)), t(AT)),
                react::stop(&stopping, Err(failure(class)), t(AT)),
                react::template(&slot_run(AT), Err(failure(class)), t(AT)),
                react::look(&starting, Err(failure(class)), t(AT)),
                react::poll(Err(failure(class))),
            ];
            let words: Vec<&str> = meanings.iter().map(Observation::as_str).collect();
            format!("{class} {}", words.join(" "))
        })
        .collect();
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&lines.join(" ")), words(MEANINGS));
}

fn stopping() -> Run {
    applied(running(slot_run(AT), AT), &[(AT, Observation::StopAsked { cause: StopCause::MaxDuration })])
}

#[test]
fn what_may_have_been_done_is_never_taken_for_refused() {
    for class in CLASSES {
        let meant = react::start(&asked(slot_run(AT), AT), Err(failure(class)), t(AT));
        let open = matches!(meant, Observation::StartUnclear { look_at, .. } if look_at == t(AT));
        assert_eq!(open, !class.had_no_effect(), "{class}");
    }
}

#[test]
fn answers_that_came_are_taken_as_they_are() {
    let seen = fis(FisStatus::Running, t(AT));
    let started = |adopted| Observation::Started { fis: seen.clone(), adopted };
    assert_eq!(react::start(&asked(slot_run(AT), AT), Ok(seen.clone()), t(AT)), started(Adopted::No));
    assert_eq!(react::look(&asked(slot_run(AT), AT), Ok(Some(seen.clone())), t(AT)), started(Adopted::ByTag));
    assert_eq!(react::look(&asked(slot_run(AT), AT), Ok(None), t(AT)), Observation::NotFound);
    assert_eq!(react::poll(Ok(seen.clone())), Observation::Polled { fis: seen.clone() });
    assert_eq!(react::stop(&stopping(), Ok(()), t(AT)), Observation::StopTaken);
    let facts = facts(60, t(AT));
    assert_eq!(react::template(&slot_run(AT), Ok(facts.clone()), t(AT)), Observation::TemplateRead { facts });
}

/// The waits that each failure in a row is followed by, in seconds.
fn waits(mut run: Run, mut answer: impl FnMut(&Run) -> (Observation, Option<Observation>)) -> Vec<i64> {
    let mut waits = Vec::new();
    for _ in 0..8 {
        let (observed, after) = answer(&run);
        let next = match &observed {
            Observation::StartRefused { retry_at, .. } | Observation::StopFailed { retry_at, .. } => *retry_at,
            Observation::Held { look_at, .. } => *look_at,
            other => panic!("{other:?}"),
        };
        waits.push(next.duration_since(t(AT)).as_secs());
        run = applied(run, &[(AT, observed)]);
        run = after.map_or(run.clone(), |after| applied(run, &[(AT, after)]));
    }
    waits
}

#[test]
fn waits_double_up_to_a_minute_for_every_call() {
    let expected = [2, 4, 8, 16, 32, 60, 60, 60];
    let throttled = || failure(FailureClass::Throttled);
    let asked_again = || Observation::StartAsked {
        place: Default::default(),
        template_id: "EXT1".to_owned(),
        facts: None,
        place_facts: None,
        ties: None,
    };
    let start = |run: &Run| (react::start(run, Err(throttled()), t(AT)), Some(asked_again()));
    assert_eq!(waits(asked(slot_run(AT), AT), start), expected);
    assert_eq!(waits(stopping(), |run| (react::stop(run, Err(throttled()), t(AT)), None)), expected);
    assert_eq!(waits(slot_run(AT), |run| (react::template(run, Err(throttled()), t(AT)), None)), expected);
}

#[test]
fn backoff_is_bounded_and_never_falls() {
    let waits: Vec<SignedDuration> = (0..100).chain([u32::MAX - 1, u32::MAX]).map(react::backoff).collect();
    assert!(waits.is_sorted());
    assert!(waits.iter().all(|wait| wait.is_positive() && *wait <= react::BACKOFF_LIMIT));
}

#[test]
fn instants_at_the_end_of_time_do_not_overflow() {
    let end = jiff::Timestamp::MAX;
    let refused = react::start(&asked(slot_run(AT), AT), Err(failure(FailureClass::Quota)), end);
    assert!(matches!(refused, Observation::StartRefused { retry_at, .. } if retry_at == end));
    let failed = react::look(&asked(slot_run(AT), AT), Err(failure(FailureClass::Timeout)), end);
    assert!(matches!(failed, Observation::LookFailed { look_at, .. } if look_at == end));
}
