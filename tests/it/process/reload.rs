//! Reloads of what was cut off, renamed or removed: nothing goes without a word.

use crate::support::{agent::Home, eventually, stage::Stage};

/// Two experiments, one with two schedules, and a window.
fn whole(template: &str) -> String {
    format!(
        "[experiments.one]\ntemplate = \"{template}\"\n\
         schedules = [{{ cron = \"@yearly\" }}, {{ name = \"monthly\", cron = \"@monthly\" }}]\n\
         [experiments.two]\ntemplate = \"{template}\"\n\
         [windows.freeze]\nweekly = [\"Sat\"]\nexperiments = [\"*\"]\n"
    )
}

#[test]
fn configuration_that_has_no_experiment_any_more_is_refused() {
    let stage = Stage::start(600.0);
    let home = Home::new(&stage.url(), &whole(&stage.template(&[("wait", "PT1M", &[])])));
    let agent = home.agent();
    home.configure("");
    let said = home.run(&["reload"]);
    assert_eq!(said.code, 2, "{said:?}");
    for words in ["there is no experiment any more, where there were 2", "hint: `firedrill halt`"] {
        assert!(said.stderr.contains(words), "{said:?}");
    }
    let status = home.json(&["status"]);
    assert!(status["next_slots"]["one"].is_string(), "the old one stays: {status}");
    assert!(status["config_refused"].as_str().is_some_and(|why| why.contains("no experiment any more")), "{status}");

    // By a signal as by a command.
    home.configure(&whole("EXT1a2b3c4d5e6f7"));
    assert_eq!(home.json(&["reload"])["warnings"], serde_json::json!([]));
    home.configure("");
    agent.signal("HUP");
    eventually("the refusal", || home.json(&["status"])["config_refused"].as_str().map(str::to_owned));
    assert!(home.json(&["status"])["next_slots"]["one"].is_string());
    assert_eq!(agent.terminate(), 0);

    // Nobody is kept from an agent without experiments, nor from the first of them.
    let _agent = home.agent();
    assert_eq!(home.run(&["reload"]).code, 0);
    home.configure(&whole("EXT1a2b3c4d5e6f7"));
    assert_eq!(home.run(&["reload"]).code, 0);
}

#[test]
fn what_a_reload_takes_away_is_named() {
    let stage = Stage::start(600.0);
    let template = stage.template(&[("wait", "PT1M", &[])]);
    let home = Home::new(&stage.url(), &whole(&template));
    let _agent = home.agent();
    home.configure(&format!(
        "[experiments.one]\ntemplate = \"{template}\"\nschedules = [{{ name = \"monthly\", cron = \"@weekly\" }}]\n"
    ));
    let warnings = home.json(&["reload"])["warnings"].clone();
    let expected = [
        "experiments are no longer in the configuration: `two`; what waited of them is skipped, and nothing more of them begins",
        "schedules are no longer in the configuration: `@yearly` of `one`; they fire no more",
        "windows are no longer in the configuration: `freeze`; they close nothing any more",
    ];
    assert_eq!(warnings, serde_json::json!(expected));
    let log = home.log();
    assert!(expected.iter().all(|warning| log.contains(warning)), "{log}");
}

#[test]
fn pause_of_an_experiment_that_was_renamed_is_told_until_it_is_let_go() {
    let stage = Stage::start(600.0);
    let home = Home::new(&stage.url(), &whole(&stage.template(&[("wait", "PT1M", &[])])));
    let _agent = home.agent();
    home.json(&["pause", "two", "--reason", "broken"]);
    eventually("the pause", || home.json(&["status"])["paused"]["two"].as_str().map(str::to_owned));
    assert!(!home.run(&["check"]).stderr.contains("paused"));

    home.configure(&whole("EXT1a2b3c4d5e6f7").replace("experiments.two", "experiments.second"));
    let said = "it is paused by tester: broken; it is not in the configuration, and a pause does not follow a rename; \
                `firedrill resume two` forgets it";
    let reloaded = home.run(&["reload"]);
    assert!(reloaded.code == 0 && reloaded.stderr.contains(&format!("experiment `two`: {said}")), "{reloaded:?}");
    let checked = home.run(&["check"]);
    assert!(checked.code == 0 && checked.stderr.contains(&format!("warning: experiments.two: {said}")), "{checked:?}");
    let status = home.json(&["status"]);
    assert_eq!(status["paused"], serde_json::json!({ "two": said }), "{status}");

    assert_eq!(home.run(&["resume", "three"]).code, 4, "nothing was ever paused under this name");
    assert_eq!(home.run(&["resume", "two"]).code, 0);
    eventually("no pause", || (home.json(&["status"])["paused"] == serde_json::json!({})).then_some(()));
    assert!(!home.run(&["check"]).stderr.contains("paused"));
}
