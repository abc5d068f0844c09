//! Targets that read a text and touch nothing else.

use std::{fmt::Debug, path::Path};

use firedrill::{
    config,
    domain::{
        calendar::{Busy, Calendar, found::Found},
        event::{self, Envelope, catalogue, opened_runs, verdict::verdicts},
        experiment::Rules,
        pattern::Pattern,
        plan::{Halt, Pause, StopRequest},
        run::{JournalEntry, Run},
        template::TemplateFacts,
    },
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::{Serialize, de::DeserializeOwned};

use super::{Target, driver::corpus};
use crate::{
    pattern::{agree, generated::Source},
    support::{repository, runs, world},
};

/// Slots looked at of each schedule.
const SLOTS: usize = 20;

/// Longest words for one mistake, in bytes: a whole input must not be repeated.
const MAX_MESSAGE: usize = 20_000;

fn files(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| std::fs::read(repository().join(name)).expect("a file")).collect()
}

fn now() -> Timestamp {
    "2026-03-28T23:30:00Z".parse().expect("a time")
}

/// Rules of every kind of trigger.
pub fn rules(folder: &Path) -> Rules {
    let text = std::fs::read_to_string(repository().join("config/firedrill.toml")).expect("a file");
    let more = "\n[experiments.presets]\ntemplate = \"EXT1a2b3c4d5e6f7\"\ntriggers = [\
                { on = \"argocd-synced\" }, { on = \"flux-reconciled\" }, { on = \"github-deployment\" }, \
                { pattern = { source = [{ prefix = \"aws.\" }] } }, { pattern = { detail = { a = [{ exists = false }] } } }]\n";
    let file = folder.join("rules.toml");
    std::fs::write(&file, text + more).expect("a file");
    config::load(&file, []).unwrap_or_else(|problems| panic!("{problems}")).settings.rules
}

/// Words of configurations.
const KEYS: &[&str] = &[
    "[experiments.a]\n",
    "[windows.w]\n",
    "[[experiments.a.schedules]]\n",
    "cron = \"",
    "every = \"",
    "\"1s\"",
    "H/5 * * * *",
    "* * * * * *",
    "0 0 29 2 *",
    "LW",
    "#3",
    "@yearly",
    "Europe/Berlin",
    "Pacific/Apia",
    "2026-03-29T02:30",
    "weekly = [\"",
    "Mon-Fri 22:00-06:00",
    "10000d",
    "99999999999999999999h",
    "'''",
    "{ a = 1 }",
    "[1, \"a\", {}]",
    "#env FIREDRILL__AWS__REGION=",
    "template = \"EXT1a2b3c4d5e6f7\"\n",
    "= true",
    "= -5",
];

pub fn config() -> Target {
    let folder = tempfile::tempdir().expect("a folder");
    let check = move |input: &[u8]| {
        let file = folder.path().join("a.toml");
        std::fs::write(&file, input).expect("a file");
        // Lines of the file that begin so are variables too.
        let text = String::from_utf8_lossy(input);
        let env = || {
            let lines = text.lines().filter_map(|line| line.strip_prefix("#env ")?.split_once('='));
            lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
        };
        match config::load(&file, env()) {
            Err(problems) => {
                assert!(!problems.0.is_empty());
                for problem in &problems.0 {
                    assert!(!problem.message.is_empty() && problem.message.len() < MAX_MESSAGE, "{problem}");
                }
                let again = config::load(&file, env()).expect_err("the same mistakes");
                assert_eq!(problems, again);
                problems.0.iter().take(4).map(|problem| problem.message.as_str()).collect::<Vec<_>>().join(" / ")
            }
            Ok(loaded) => {
                let rules = &loaded.settings.rules;
                let slots: usize = rules.experiments.values().map(|experiment| slots(&experiment.schedules)).sum();
                format!(
                    "good {:?} {} {}",
                    loaded.warnings.first().map(|w| &w.message),
                    rules.experiments.len(),
                    slots > 0
                )
            }
        }
    };
    Target {
        name: "config",
        folder: corpus("config"),
        seeds: files(&[
            "config/firedrill.toml",
            "config/demo/firedrill.toml",
            "tests/it/readme/time.toml",
            "tests/it/readme/events.toml",
        ]),
        words: KEYS,
        rounds: 600,
        check: Box::new(check),
    }
}

/// Looks at slots, which must come one after the other.
fn slots(schedules: &[firedrill::domain::schedule::Schedule]) -> usize {
    let mut seen = 0;
    for schedule in schedules {
        let mut after = now();
        for _ in 0..SLOTS {
            let Some(slot) = schedule.next_after(after) else { break };
            assert!(slot.at > after, "{schedule:?} after {after}");
            assert!(schedule.due(slot.at) >= slot.at && schedule.start_by(slot.at) >= slot.at, "{schedule:?}");
            after = slot.at;
            seen += 1;
        }
    }
    seen
}

pub fn event() -> Target {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = rules(folder.path());
    let envelope = Envelope { source: "github".to_owned(), detail_type: "push".to_owned() };
    let check = move |input: &[u8]| {
        let text = String::from_utf8_lossy(input);
        let read = event::read(&text, "m-1", &rules.mappings);
        let enveloped = event::read_enveloped(&text, "m-1", &rules.mappings, &envelope);
        let mut told = Vec::new();
        for event in [&read, &enveloped] {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    told.push(error.to_string());
                    continue;
                }
            };
            assert!(!event.id.is_empty() && !event.source.is_empty(), "{event:?}");
            let verdicts = verdicts(&rules, event, None);
            let triggers: usize = rules.experiments.values().map(|experiment| experiment.triggers.len()).sum();
            assert_eq!(verdicts.len(), triggers);
            let opened = opened_runs(&rules, event, &world::receipt(None, now()));
            told.push(match opened {
                Err(error) => error.to_string(),
                Ok(runs) => {
                    runs.iter().for_each(round_trip);
                    format!("opens {:?}", runs.iter().map(|run| run.experiment.as_str()).collect::<Vec<_>>())
                }
            });
        }
        if let Ok(event) = &enveloped {
            assert!(!event.source.starts_with("aws."), "whoever signs is not AWS: {event:?}");
        }
        told.join(" / ")
    };
    let mut seeds = files(&["tests/it/readme/deployed.json"]);
    seeds.extend(catalogue::samples().map(|(_, sample)| sample.to_string().into_bytes()));
    let sns = serde_json::json!({"Type": "Notification", "MessageId": "s-1", "Message": catalogue::samples().next().expect("one").1.to_string()});
    seeds.push(sns.to_string().into_bytes());
    Target { name: "event", folder: corpus("event"), seeds, words: JSON, rounds: 3_000, check: Box::new(check) }
}

/// Words of JSON and of events.
const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"a\":",
    "null",
    "true",
    "1e309",
    "-0",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "\"detail-type\":",
    "\"source\":",
    "\"detail\":",
    "\"id\":",
    "\"time\":\"2026-03-01T02:00:00Z\",",
    "\"Type\":\"Notification\",",
    "\"Message\":\"{}\"",
    "\"aws.codedeploy\"",
    "{\"a\":{\"a\":{\"a\":",
    "[[[[[[[[[[[[",
    "\"traceparent\":\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\"",
    "[{\"exists\":false}]",
    "[{\"anything-but\":{\"prefix\":\"a\"}}]",
    "[{\"numeric\":[\">\",0,\"<=\",5]}]",
    "[{\"wildcard\":\"a*b\"}]",
    "[{\"cidr\":\"10.0.0.0/8\"}]",
    "\"$or\":[{\"a\":[1]},{\"b\":[2]}]",
    "[{\"equals-ignore-case\":\"Ab\"}]",
];

pub fn pattern() -> Target {
    let samples: Vec<String> = catalogue::samples().map(|(_, sample)| sample.to_string()).collect();
    let check = move |input: &[u8]| {
        agree::check(&mut Source::of(input));
        let text = String::from_utf8_lossy(input);
        match Pattern::parse_text(&text) {
            Err(error) => error.message,
            Ok(pattern) => {
                assert_eq!(Pattern::parse_text(pattern.as_text()).expect("as it was read"), pattern, "{text}");
                let hits = samples.iter().filter(|event| pattern.matches_text(event).expect("an event")).count();
                format!("{} {}", pattern.warnings().join(" "), if hits > 0 { "hits" } else { "misses" })
            }
        }
    };
    let cases = std::fs::read_to_string(repository().join("tests/it/pattern/public.jsonl")).expect("a file");
    let cases = cases.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let seeds = cases.map(|case| case["pattern"].to_string().into_bytes()).collect();
    Target { name: "pattern", folder: corpus("pattern"), seeds, words: JSON, rounds: 1_000, check: Box::new(check) }
}

/// Words of calendars.
const LINES: &[&str] = &[
    "BEGIN:VEVENT\r\n",
    "END:VEVENT\r\n",
    "BEGIN:VTIMEZONE\r\n",
    "END:VTIMEZONE\r\n",
    "RRULE:FREQ=",
    "SECONDLY",
    "MINUTELY",
    "HOURLY",
    "DAILY",
    "WEEKLY",
    "MONTHLY",
    "YEARLY",
    ";INTERVAL=",
    ";COUNT=",
    ";UNTIL=",
    ";BYDAY=-1SU",
    ";BYSETPOS=",
    ";BYMONTHDAY=31",
    ";BYYEARDAY=366",
    ";BYWEEKNO=53",
    ";BYHOUR=2",
    "EXDATE:",
    "RDATE;VALUE=PERIOD:",
    "DURATION:-P1D",
    "DURATION:P99999W",
    "DTSTART;TZID=Europe/Berlin:20260329T023000",
    "DTSTART:99991231T235959Z",
    "DTEND:",
    "RECURRENCE-ID:",
    "X-WR-TIMEZONE:",
    "X-CALENDAR-TYPE:DEFAULT_OPEN",
    "\r\n ",
    "STATUS:CANCELLED\r\n",
];

pub fn calendar() -> Target {
    let zone = TimeZone::get("America/New_York").expect("a zone");
    let hours = |hours: i64| now() + SignedDuration::from_hours(hours);
    let (from, to) = (hours(-24 * 40), hours(24 * 400));
    let check = move |input: &[u8]| {
        let text = String::from_utf8_lossy(input);
        let found = Found::File { text: text.clone().into_owned(), timezone: "America/New_York".to_owned() };
        let content = found.content(now());
        let calendar = match Calendar::parse_in(&text, &zone) {
            Ok(calendar) => calendar,
            Err(error) => {
                assert!(content.is_err(), "{text}");
                return error.to_string();
            }
        };
        let spans = match calendar.spans(from, to) {
            Ok(spans) => spans,
            Err(error) => return error.to_string(),
        };
        in_order(&spans);
        // A part of the time, asked of a calendar that knows nothing yet, holds the same.
        let (part_from, part_to) = (hours(24 * 20), hours(24 * 50));
        let clipped = |spans: Vec<Busy>| -> Vec<(Timestamp, Timestamp)> {
            let inside = spans.iter().map(|span| (span.start.max(part_from), span.end.min(part_to)));
            inside.filter(|(start, end)| start < end).collect()
        };
        let fresh = Calendar::parse_in(&text, &zone).expect("the same text");
        if let Ok(part) = fresh.spans(part_from, part_to) {
            assert_eq!(clipped(part), clipped(spans.clone()), "{text}");
        }
        let at = spans.first().map_or(from, |span| span.start.max(from));
        let covered = calendar.covering(at).map(|span| span.is_some());
        assert!(spans.is_empty() || covered == Ok(true), "{covered:?}");
        format!(
            "{} {:?} {:?} {}",
            spans.len().min(3),
            calendar.default_state(),
            covered,
            calendar.next_transition(at).is_ok()
        )
    };
    Target {
        name: "calendar",
        folder: corpus("calendar"),
        seeds: files(&[
            "tests/it/calendar/google.ics",
            "tests/it/calendar/outlook.ics",
            "tests/it/calendar/ssm-open.ics",
            "tests/it/calendar/ssm-closed.ics",
        ]),
        words: LINES,
        rounds: 800,
        check: Box::new(check),
    }
}

/// Spans are none of them empty, and they are joined.
fn in_order(spans: &[Busy]) {
    assert!(spans.iter().all(|span| span.start < span.end), "{spans:?}");
    assert!(spans.windows(2).all(|pair| pair[0].end < pair[1].start), "{spans:?}");
}

/// Whatever can be read from a row is written as it can be read again.
fn round_trip<T: Serialize + DeserializeOwned + Debug>(value: &T) {
    let text = serde_json::to_string(value).unwrap_or_else(|error| panic!("{value:?}: {error}"));
    let again: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(serde_json::to_string(&again).expect("JSON"), text);
}

fn read_row<T: Serialize + DeserializeOwned + Debug>(text: &str) -> String {
    match serde_json::from_str::<T>(text) {
        Ok(value) => {
            round_trip(&value);
            "good".to_owned()
        }
        Err(error) => error.to_string(),
    }
}

pub fn row() -> Target {
    let story = runs::completed();
    let observed: Vec<_> = story.journal.iter().map(|entry| entry.observation.clone()).collect();
    let check = move |input: &[u8]| {
        let text = String::from_utf8_lossy(input);
        if let Ok(run) = serde_json::from_str::<Run>(&text) {
            round_trip(&run);
            let _deadline = (run.deadline(), run.watched(), run.may_be_running(), run.opening());
            // What follows is taken or refused, whatever the row says.
            for observation in &observed {
                if let Ok(next) = run.clone().apply(observation, now()) {
                    round_trip(&next);
                }
            }
        }
        let rows = [
            read_row::<Run>(&text),
            read_row::<JournalEntry>(&text),
            read_row::<TemplateFacts>(&text),
            read_row::<Halt>(&text),
            read_row::<Pause>(&text),
            read_row::<StopRequest>(&text),
            read_row::<Found>(&text),
        ];
        rows.join(" / ")
    };
    let text = |value: &dyn erased::Json| value.json().into_bytes();
    let mut seeds: Vec<Vec<u8>> = story.steps.iter().map(|(run, _, _)| text(run)).collect();
    seeds.extend(story.journal.iter().map(|entry| text(entry)));
    seeds.push(text(&world::facts(60, now())));
    seeds.push(text(&world::slot_run("10:00:00")));
    Target { name: "row", folder: corpus("row"), seeds, words: JSON, rounds: 3_000, check: Box::new(check) }
}

/// Values of several types, as JSON.
mod erased {
    pub trait Json {
        fn json(&self) -> String;
    }

    impl<T: serde::Serialize> Json for T {
        fn json(&self) -> String {
            serde_json::to_string(self).expect("JSON")
        }
    }
}
