//! Strays: whatever happens to a run between the list and its row, what is looked after is none.

use std::collections::BTreeMap;

use firedrill::domain::{
    experiment::Rules,
    fis::{FailureClass, FisStatus},
    ids::RunId,
    outcome::Outcome,
    run::{HoldReason, Observation, Run, SkipReason, StopCause},
    stray::{Tags, is_stray, named},
};

use crate::support::{
    runs::{Story, fis, instant, name, slot},
    world::experiment,
};

const AT: &str = "2026-03-01T02:00:00Z";

fn opened() -> Story {
    Story::open(slot(instant(AT)), instant(AT))
}

fn asked() -> Story {
    opened().asked(instant(AT))
}

fn not_found() -> Story {
    asked().then(instant(AT), Observation::NotFound)
}

fn running() -> Story {
    asked().started(instant(AT), fis(FisStatus::Running))
}

fn ended(outcome: Outcome) -> Story {
    running().finished(instant(AT), outcome)
}

/// Tells whether `EXP1` is a stray beside the run of a story.
fn is_one(story: &Story) -> bool {
    is_stray("EXP1", Some(&story.run))
}

#[test]
fn what_goes_on_when_fis_is_asked_before_the_rows_is_looked_after_whenever_they_are_read() {
    let stop = Observation::StopAsked { cause: StopCause::MaxDuration };
    let story = running()
        .then(instant(AT), Observation::Polled { fis: fis(FisStatus::Running) })
        .then(instant(AT), stop)
        .then(instant(AT), Observation::StopTaken)
        .finished(instant(AT), Outcome::Stopped { cause: StopCause::MaxDuration });
    let rows: Vec<&Run> = story.steps.iter().map(|(run, ..)| run).collect();
    let begins = rows.iter().position(|run| run.may_be_running()).expect("a start");
    assert_eq!((begins, rows.len()), (1, 7));
    for row in &rows[begins..] {
        assert!(!is_stray("EXP1", Some(row)), "{:?}", row.state);
    }
    // Rows that are older than the list would make a stray of it.
    assert!(is_stray("EXP1", Some(rows[0])) && is_stray("EXP1", None));
}

#[test]
fn what_ended_by_the_word_of_fis_is_none() {
    let failed = Outcome::Failed { code: "InvalidTarget".to_owned(), reason: String::new() };
    for outcome in [Outcome::Completed, Outcome::Cancelled, Outcome::Previewed, failed] {
        assert!(!is_one(&ended(outcome.clone())), "{outcome:?}");
    }
}

#[test]
fn what_goes_on_though_its_run_has_not_begun_or_is_over_is_one() {
    let at = instant(AT);
    let class = FailureClass::Timeout;
    let held = Observation::Held {
        reason: HoldReason::TemplateUnread { class, message: String::new(), failures: 1 },
        look_at: at,
    };
    let refused = Outcome::NotStarted { class, message: String::new() };
    for story in [
        opened(),
        opened().then(at, held),
        opened().then(at, Observation::Skipped { reason: SkipReason::Removed }),
        not_found().then(at, Observation::Skipped { reason: SkipReason::Removed }),
        not_found().finished(at, refused),
        asked().finished(at, Outcome::Lost { class }),
        ended(Outcome::Lost { class }),
    ] {
        assert!(is_one(&story), "{:?}", story.run.state);
    }
}

#[test]
fn second_experiment_of_a_run_is_one() {
    assert!(is_stray("EXP2", Some(&running().run)));
    assert!(is_stray("EXP2", Some(&ended(Outcome::Completed).run)));
}

#[test]
fn only_tags_of_ours_and_of_an_experiment_of_this_configuration_name_a_run() {
    let declared = experiment();
    let rules = Rules { experiments: BTreeMap::from([(name("drill"), declared)]), ..Rules::default() };
    let run = RunId::from_text("3f9c1d2e3f9c1d2e3f9c");
    let check = |tag: Option<&RunId>, experiment: Option<&str>, expected: bool| {
        let tags = Tags { run: tag.cloned(), experiment: experiment.map(str::to_owned) };
        let expected = expected.then(|| (run.clone(), name("drill")));
        assert_eq!(named(tags, &rules), expected, "{tag:?} {experiment:?}");
    };
    check(Some(&run), Some("drill"), true);
    check(Some(&run), Some("another"), false);
    check(Some(&run), Some("no name"), false);
    check(Some(&run), None, false);
    check(None, Some("drill"), false);
    check(None, None, false);
}
