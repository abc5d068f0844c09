//! Outcomes: each row of FIS's terminal table by name.

use std::collections::BTreeMap;

use firedrill::domain::{
    fis::{FisAction, FisError, FisExperiment, FisStatus},
    outcome::{self, Outcome},
    run::StopCause,
};

use crate::support::{
    runs::name,
    world::{fis, t},
};

/// What AWS writes when an alarm stopped an experiment.
const BY_ALARM: &str = "Experiment halted by stop condition.";

/// Checks what an experiment amounts to, by its name and its words.
#[track_caller]
fn check(fis: &FisExperiment, ours: Option<&StopCause>, expected: Option<(&str, &str)>) {
    let outcome = outcome::of(fis, ours);
    let found = outcome.as_ref().map(|outcome| (outcome.as_str(), outcome.to_string()));
    assert_eq!(found, expected.map(|(kind, words)| (kind, words.to_owned())));
}

fn ended(status: &str) -> FisExperiment {
    fis(FisStatus::from_text(status), t("10:00:00"))
}

fn with_actions(status: &str, actions: &[(&str, &str)]) -> FisExperiment {
    let action = |status: &str| FisAction {
        action_id: "aws:fis:wait".to_owned(),
        status: FisStatus::from_text(status),
        reason: String::new(),
        start_after: Vec::new(),
        started_at: None,
        ended_at: None,
    };
    let actions: BTreeMap<_, _> = actions.iter().map(|(name, status)| ((*name).to_owned(), action(status))).collect();
    FisExperiment { actions, ..ended(status) }
}

#[test]
fn completed_with_all_actions_is_completed() {
    let all = with_actions("completed", &[("latency", "completed"), ("wait", "completed")]);
    check(&all, None, Some(("completed", "every action completed")));
}

#[test]
fn completed_without_some_actions_names_them() {
    let some = with_actions("completed", &[("a", "skipped"), ("b", "completed"), ("c", "skipped")]);
    check(&some, None, Some(("completed-partly", "completed without a, c, which had no target")));
}

#[test]
fn completed_preview_never_counts_as_a_run() {
    let preview = FisExperiment { preview: true, ..with_actions("completed", &[("a", "skipped")]) };
    check(&preview, None, Some(("previewed", "targets were resolved, nothing was done")));
}

#[test]
fn completed_before_our_stop_arrived_is_completed() {
    check(&ended("completed"), Some(&StopCause::MaxDuration), Some(("completed", "every action completed")));
}

#[test]
fn stopped_by_an_alarm_is_said_so_even_when_we_asked_too() {
    let alarm = FisExperiment { reason: BY_ALARM.to_owned(), ..ended("stopped") };
    let expected = Some(("stopped", "stopped by a stop condition of its template"));
    check(&alarm, None, expected);
    check(&alarm, Some(&StopCause::MaxDuration), expected);
}

#[test]
fn stopped_by_the_safety_lever() {
    let lever = |engaged| FisExperiment { lever_engaged: engaged, ..ended("stopped") };
    check(&lever(Some(true)), None, Some(("stopped", "stopped by the safety lever")));
    check(&lever(Some(false)), None, Some(("stopped", "stopped by somebody else")));
    check(&lever(None), None, Some(("stopped", "stopped by somebody else")));
}

#[test]
fn stopped_by_us_has_our_cause() {
    let operator = StopCause::Operator { by: "ann".to_owned(), reason: Some("noise".to_owned()) };
    for (cause, words) in [
        (operator, "stopped by operator ann: noise"),
        (StopCause::Halt { by: "bob".to_owned() }, "stopped by a halt by bob"),
        (StopCause::Closed { window: name("freeze"), unknown: None }, "stopped by window `freeze`"),
        (StopCause::MaxDuration, "stopped by its `max_duration`"),
        (StopCause::Shutdown, "stopped by the agent's shutdown"),
    ] {
        check(&ended("stopped"), Some(&cause), Some(("stopped", words)));
    }
}

#[test]
fn stopped_without_a_known_cause_is_from_outside() {
    check(&ended("stopped"), None, Some(("stopped", "stopped by somebody else")));
}

#[test]
fn stopped_is_never_a_success() {
    let all = with_actions("stopped", &[("a", "completed")]);
    check(&all, None, Some(("stopped", "stopped by somebody else")));
    let preview = FisExperiment { preview: true, ..ended("stopped") };
    check(&preview, None, Some(("stopped", "stopped by somebody else")));
}

#[test]
fn failed_has_fiss_code() {
    let error = FisError { code: "InvalidTarget".to_owned(), location: Some("targets/a".to_owned()) };
    let failed = FisExperiment { error: Some(error), reason: "no targets".to_owned(), ..ended("failed") };
    check(&failed, None, Some(("failed", "InvalidTarget: no targets")));
    check(&failed, Some(&StopCause::MaxDuration), Some(("failed", "InvalidTarget: no targets")));
}

#[test]
fn failed_without_a_code_is_unspecified_and_its_reason_is_not_parsed() {
    let failed = FisExperiment { reason: BY_ALARM.to_owned(), ..ended("failed") };
    check(&failed, None, Some(("failed", &format!("Unspecified: {BY_ALARM}"))));
}

#[test]
fn cancelled_is_the_safety_levers() {
    check(&ended("cancelled"), None, Some(("cancelled", "the safety lever is engaged")));
}

#[test]
fn what_goes_on_or_is_not_known_stays_open() {
    for status in ["pending", "initiating", "running", "stopping", "skipped", "paused", "missing", "", "COMPLETED"] {
        check(&ended(status), Some(&StopCause::MaxDuration), None);
    }
}

#[test]
fn lost_and_not_started_have_words_of_their_own() {
    use firedrill::domain::fis::FailureClass::{Denied, NotFound};
    let lost = Outcome::Lost { class: NotFound };
    assert_eq!(
        (lost.as_str(), lost.to_string()),
        ("lost", "FIS told nothing of it for too long (not-found)".to_owned())
    );
    let refused = Outcome::NotStarted { class: Denied, message: "no".to_owned() };
    let words = "FIS refused to start it (denied): no".to_owned();
    assert_eq!((refused.as_str(), refused.to_string()), ("not-started", words));
}

#[test]
fn statuses_keep_their_text() {
    for text in
        ["pending", "initiating", "running", "completed", "stopping", "stopped", "failed", "cancelled", "skipped"]
    {
        let status = FisStatus::from_text(text);
        assert!(!matches!(status, FisStatus::Unknown(_)), "{text}");
        assert_eq!(status.as_str(), text);
    }
    for status in [FisStatus::Running, FisStatus::from_text("paused")] {
        let stored = serde_json::to_string(&status).expect("JSON");
        assert_eq!(serde_json::from_str::<FisStatus>(&stored).expect("a status"), status);
    }
}
