//! Calendars under a running agent: read again and again, kept over a restart, and closed when nobody knows better.

use std::time::Duration;

use firedrill::domain::{
    fis::FisStatus,
    run::{Run, RunState},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{calendar, event};
use crate::support::{
    agent::{Home, Said},
    eventually, let_pass,
    stage::Stage,
    within,
};

/// What never ends within a test.
const ALWAYS: usize = 1_000;

/// A day around now, as lines of an event.
fn today() -> String {
    let written = |hours: i64| (now() + SignedDuration::from_hours(hours)).strftime("%Y%m%dT%H%M%SZ").to_string();
    format!("DTSTART:{}\nDTEND:{}", written(-12), written(12))
}

#[expect(clippy::disallowed_methods, reason = "the agent under test reads the real clock")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// A change calendar that is open (or closed) outside of some events.
fn change_calendar(state: &str, events: &str) -> String {
    calendar(&format!("X-CALENDAR-TYPE:DEFAULT_{state}\n{events}"))
}

fn closed_today() -> String {
    change_calendar("OPEN", &format!("BEGIN:VEVENT\n{}\nEND:VEVENT", today()))
}

fn create(stage: &Stage, name: &str, content: &str) {
    let body = json!({
        "Name": name, "Content": content, "DocumentType": "ChangeCalendar", "DocumentFormat": "TEXT",
    });
    stage.call("AmazonSSM.CreateDocument", &body);
}

fn update(stage: &Stage, name: &str, content: &str) {
    let body = json!({"Name": name, "Content": content, "DocumentVersion": "$LATEST", "DocumentFormat": "TEXT"});
    stage.call("AmazonSSM.UpdateDocument", &body);
}

/// A home whose one experiment is closed by a calendar.
fn home(stage: &Stage, calendar: &str) -> Home {
    Home::new(&stage.url(), &tables(stage, calendar))
}

fn tables(stage: &Stage, calendar: &str) -> String {
    let template = stage.template(&[("wait", "PT1M", &[])]);
    format!(
        "[experiments.drill]\ntemplate = \"{template}\"\n[windows.freeze]\ncalendars = [\"changes\"]\n\
         [calendars.changes]\n{calendar}\n"
    )
}

fn status(home: &Home) -> Value {
    home.json(&["status"])["calendars"]["changes"].clone()
}

#[track_caller]
fn wait_for_status(home: &Home, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    eventually(what, || Some(status(home)).filter(&holds))
}

fn is_read(status: &Value) -> bool {
    status["read_at"].is_string() && status["failure"].is_null()
}

fn failure(status: &Value) -> &str {
    status["failure"].as_str().unwrap_or_default()
}

fn is_closed(home: &Home) -> bool {
    home.json(&["status"])["closed_by"] == json!(["freeze"])
}

/// Asks for a run, and returns how it came out: its state, and why.
fn start(home: &Home) -> (String, String) {
    let asked: Said = home.run(&["start", "drill", "-o", "json"]);
    let answer: Value = serde_json::from_str(&asked.stdout).unwrap_or_else(|error| panic!("{error}: {asked:?}"));
    let id = answer["run"].as_str().unwrap_or_else(|| panic!("{asked:?}")).to_owned();
    let run = home.wait_for("a decision", |run| run.id.as_str() == id && run.state.as_str() != "requested");
    (run.state.as_str().to_owned(), format!("{:?}", run.state))
}

#[test]
fn a_change_calendar_is_followed_while_the_agent_runs() {
    let stage = Stage::start(600.0);
    create(&stage, "changes", &closed_today());
    let home = home(&stage, "ssm = [\"changes\"]\nrefresh = \"1s\"");
    let _agent = home.agent();
    wait_for_status(&home, "a read calendar", is_read);
    eventually("the closed window", || is_closed(&home).then_some(()));
    let (state, why) = start(&home);
    assert_eq!(state, "skipped", "{why}");

    update(&stage, "changes", &change_calendar("OPEN", ""));
    eventually("the open window", || (!is_closed(&home)).then_some(()));
    let (state, why) = start(&home);
    assert_ne!(state, "skipped", "{why}");
    eventually("the started one of two", || (stage.experiments().len() == 1).then_some(()));

    // Closed unless an event says otherwise.
    update(&stage, "changes", &change_calendar("CLOSED", ""));
    eventually("the closed window", || is_closed(&home).then_some(()));
    update(&stage, "changes", &change_calendar("CLOSED", &format!("BEGIN:VEVENT\n{}\nEND:VEVENT", today())));
    eventually("the open window", || (!is_closed(&home)).then_some(()));
}

/// A home with an experiment of ten hours, a minute of which takes a second.
fn long(stage: &Stage, more: &str) -> Home {
    let template = stage.template(&[("wait", "PT10H", &[])]);
    Home::new(&stage.url(), &format!("[experiments.drill]\ntemplate = \"{template}\"\n{more}"))
}

const FREEZE: &str = "[windows.freeze]\ncalendars = [\"changes\"]\n[calendars.changes]\nssm = [\"changes\"]\n\
                      refresh = \"1s\"\nmax_age = \"1s\"\n";

fn is_running(run: &Run) -> bool {
    matches!(run.state, RunState::Running { .. })
}

#[test]
fn a_run_is_stopped_when_a_change_calendar_closes_unforeseen() {
    let stage = Stage::start(60.0);
    create(&stage, "changes", &change_calendar("OPEN", ""));
    let home = long(&stage, &FREEZE.replace("max_age = \"1s\"", ""));
    let _agent = home.agent();
    wait_for_status(&home, "a read calendar", is_read);
    assert_ne!(start(&home).0, "skipped");
    home.wait_for("a running run", is_running);
    update(&stage, "changes", &closed_today());
    let run = home.wait_for("the end of the run", Run::is_over);
    assert!(format!("{:?}", run.state).contains("freeze"), "{:?}", run.state);
    assert_eq!(stage.experiments()[0].status, FisStatus::Stopped);
}

#[test]
fn a_calendar_is_read_before_it_counts_after_a_restart_and_a_reload() {
    let stage = Stage::start(60.0);
    create(&stage, "changes", &change_calendar("OPEN", ""));
    let home = long(&stage, "");
    let agent = home.agent();
    home.json(&["start", "drill"]);
    home.wait_for("a running run", is_running);
    let without = std::fs::read_to_string(home.config()).expect("a configuration");
    std::fs::write(home.config(), format!("{without}{FREEZE}")).expect("a configuration");
    assert_eq!(home.json(&["reload"])["reloaded"], true);
    assert!(is_read(&status(&home)), "{}", status(&home));
    agent.kill_nine();

    // What the store knows is too old by then.
    let_pass(Duration::from_millis(1_100));
    let _agent = home.agent();
    eventually("a look at everything", || home.json(&["status"])["surveyed_at"].as_str().map(str::to_owned));
    let again = wait_for_status(&home, "a read calendar", is_read);
    wait_for_status(&home, "a newer one", |known| is_read(known) && known["read_at"] != again["read_at"]);
    assert!(is_running(&home.runs()[0]), "{:?}", home.runs()[0].state);
    assert_eq!(stage.experiments()[0].status, FisStatus::Running);
}

#[test]
fn several_change_calendars_are_open_only_while_all_are() {
    let stage = Stage::start(600.0);
    create(&stage, "changes", &change_calendar("OPEN", ""));
    create(&stage, "others", &change_calendar("CLOSED", ""));
    let arn = "arn:aws:ssm:us-east-1:123456789012:document/others";
    let home = home(&stage, &format!("ssm = [\"changes\", \"{arn}\"]\nrefresh = \"1s\""));
    let _agent = home.agent();
    wait_for_status(&home, "a read calendar", is_read);
    eventually("the closed window", || is_closed(&home).then_some(()));
    update(&stage, "others", &change_calendar("CLOSED", &format!("BEGIN:VEVENT\n{}\nEND:VEVENT", today())));
    eventually("the open window", || (!is_closed(&home)).then_some(()));
}

#[test]
fn where_the_text_is_not_to_be_had_the_state_counts_up_to_its_next_change() {
    let stage = Stage::start(600.0);
    create(&stage, "changes", &closed_today());
    stage.fault("GetDocument", "denied", ALWAYS);
    let home = home(&stage, "ssm = [\"changes\"]\nrefresh = \"1s\"");
    let _agent = home.agent();
    let known = wait_for_status(&home, "a known state", is_read);
    assert!(known["state_only"].as_str().is_some_and(|why| why.contains("`changes`: denied")), "{known}");
    let until: Timestamp = known["known_until"].as_str().expect("a time").parse().expect("a time");
    assert!(until > now() && until < now() + SignedDuration::from_hours(13), "{known}");
    eventually("the closed window", || is_closed(&home).then_some(()));
    let said = home.run(&["status"]);
    assert!(
        said.stdout.contains("changes: read ") && said.stdout.contains("only its state is known, until"),
        "{said:?}"
    );
    home.wait_for_log("only the state of the calendar is known");
}

#[test]
fn what_cannot_be_asked_closes_and_says_so() {
    let stage = Stage::start(600.0);
    // Port 1 is nobody's.
    let calendar = "ssm = [\"changes\"]\nrefresh = \"1s\"\nendpoint_url = \"http://127.0.0.1:1\"";
    let home = home(&stage, calendar);
    let _agent = home.agent();
    let known = wait_for_status(&home, "a failure", |known| !failure(known).is_empty());
    assert_eq!((&known["read_at"], failure(&known).split(':').next()), (&Value::Null, Some("unavailable")));
    eventually("the closed window", || is_closed(&home).then_some(()));
    let (state, why) = start(&home);
    assert_eq!(state, "skipped");
    assert!(why.contains("calendar `changes` was not read yet: unavailable"), "{why}");
    assert!(stage.experiments().is_empty());
    home.wait_for_log("calendar cannot be read; trying on");
    eventually("a second try", || (status(&home) == known).then_some(()));
    assert_eq!(home.log().matches("calendar cannot be read").count(), 1, "it is said once");
    let said = home.run(&["status"]);
    assert!(said.stdout.contains("changes: not read yet; FAILING: unavailable"), "{said:?}");
}

#[test]
fn behind_the_next_change_of_a_state_nobody_knows() {
    let stage = Stage::start(60.0);
    let soon = (now() + SignedDuration::from_hours(2)).strftime("%Y%m%dT%H%M%SZ").to_string();
    let closed_soon = format!("BEGIN:VEVENT\nDTSTART:{soon}\nDURATION:PT1H\nEND:VEVENT");
    create(&stage, "changes", &change_calendar("OPEN", &closed_soon));
    stage.fault("GetDocument", "denied", ALWAYS);
    let home = long(&stage, FREEZE);
    let _agent = home.agent();
    let known = wait_for_status(&home, "a known state", is_read);
    assert!(known["known_until"].is_string() && !is_closed(&home), "{known}");
    let (state, why) = start(&home);
    assert_eq!(state, "skipped", "ten hours do not fit");
    assert!(why.contains("calendar `changes` says nothing of the time after "), "{why}");
}

#[test]
fn who_does_not_answer_holds_nobody_up_and_closes() {
    let stage = Stage::start(60.0);
    create(&stage, "changes", &change_calendar("OPEN", ""));
    stage.fault("GetCalendarState", "hang-before", ALWAYS);
    let home = home(&stage, "ssm = [\"changes\"]\nrefresh = \"1s\"");
    let _agent = home.agent();
    let patience = Duration::from_secs(60);
    within(patience, "the closed window", || is_closed(&home).then_some(()));
    home.wait_for_log("not every calendar answers");
    let (state, why) = start(&home);
    assert!(state == "skipped" && why.contains("calendar `changes` was not read yet"), "{why}");
    within(patience, "the failure", || failure(&status(&home)).starts_with("timeout: ").then_some(()));
}

#[test]
fn what_was_read_is_believed_as_long_as_configured() {
    let stage = Stage::start(600.0);
    create(&stage, "changes", &change_calendar("OPEN", ""));
    let home = home(&stage, "ssm = [\"changes\"]\nrefresh = \"1s\"\nmax_age = \"2s\"");
    let _agent = home.agent();
    wait_for_status(&home, "a read calendar", is_read);
    assert!(!is_closed(&home));
    stage.fault("GetCalendarState", "500-before", ALWAYS);
    wait_for_status(&home, "a failure", |known| !failure(known).is_empty());
    eventually("the closed window", || is_closed(&home).then_some(()));
    let (state, why) = start(&home);
    assert_eq!(state, "skipped");
    assert!(why.contains("calendar `changes` was last read at ") && why.contains("unavailable"), "{why}");
}

#[test]
fn the_last_known_state_holds_over_a_restart_and_not_for_ever() {
    let stage = Stage::start(600.0);
    create(&stage, "changes", &change_calendar("OPEN", ""));
    let lasting = "ssm = [\"changes\"]\nrefresh = \"1s\"\nmax_age = \"1s\"\non_failure = \"last-known\"\n";
    let home = home(&stage, &format!("{lasting}last_known_for = \"1h\""));
    let unknown = home.json(&["window", "check"])["experiments"][0]["unknown"].clone();
    assert_eq!(unknown, "calendar `changes` was not read yet", "no agent has run");
    let agent = home.agent();
    let first = wait_for_status(&home, "a read calendar", is_read);
    stage.fault("GetCalendarState", "500-before", ALWAYS);
    wait_for_status(&home, "a failure", |known| !failure(known).is_empty());
    agent.kill_nine();

    let agent = home.agent();
    let known = wait_for_status(&home, "a failure", |known| !failure(known).is_empty());
    assert!(known["read_at"].as_str() >= first["read_at"].as_str(), "{known}");
    assert!(!is_closed(&home));
    assert_ne!(start(&home).0, "skipped");
    agent.kill_nine();

    // Commands know it while no agent runs.
    let known = home.json(&["window", "check"])["experiments"][0].clone();
    assert_eq!(known["open"], true, "{known}");

    home.configure(&tables(&stage, &format!("{lasting}last_known_for = \"1s\"")));
    let _agent = home.agent();
    eventually("the closed window", || is_closed(&home).then_some(()));
    let (state, why) = start(&home);
    assert!(state == "skipped" && why.contains("calendar `changes` was last read at "), "{why}");

    // What was read of one source is nothing to another one.
    home.configure(&tables(&stage, "ssm = [\"elsewhere\"]\nrefresh = \"1s\""));
    assert_eq!(home.json(&["reload"])["reloaded"], true);
    let known = status(&home);
    assert_eq!(known["read_at"], Value::Null, "{known}");
}

#[test]
fn a_file_is_followed_and_a_broken_one_leaves_what_was_known() {
    let stage = Stage::start(600.0);
    let home = home(&stage, "file = \"changes.ics\"\nrefresh = \"1s\"\nmax_age = \"1h\"");
    let file = home.path().join("changes.ics");
    let write = |text: &str| std::fs::write(&file, text).expect("a file");
    assert_eq!(home.run(&["check"]).code, 2, "there is no such file");
    write(&calendar(""));
    let _agent = home.agent();
    assert!(!is_closed(&home), "a file is read before anything begins");
    write(&event(&today()));
    eventually("the closed window", || is_closed(&home).then_some(()));

    let whole = calendar("");
    write(whole.split("END:").next().expect("a beginning"));
    let known = wait_for_status(&home, "a failure", |known| !failure(known).is_empty());
    assert!(failure(&known).contains("`VCALENDAR` is not ended"), "{known}");
    assert!(is_closed(&home), "what was known stays");
    let refused = home.run(&["reload"]);
    assert!(refused.code == 2 && refused.stderr.contains("changes.ics:1:1 calendars.changes.file: "), "{refused:?}");
    assert!(is_closed(&home), "the old configuration stays");

    std::fs::remove_file(&file).expect("a file");
    wait_for_status(&home, "another failure", |known| failure(known).contains("there is no such file"));
    write(&whole);
    eventually("the open window", || (!is_closed(&home)).then_some(()));
    wait_for_status(&home, "no failure", is_read);
    home.wait_for_log("calendar can be read again");
    assert_ne!(start(&home).0, "skipped");
}
