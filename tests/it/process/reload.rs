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
