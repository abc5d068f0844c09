//! Configurations of worlds as people write them: drawn as TOML and read by the real parser, in every form that it knows.
//!
//! What [`super::scenario`] draws is quicker and meets oftener what matters most; here stands all of the language besides.
//! Calendars are not in it: they are read by others, and their windows drawn in [`super::windows`].

use firedrill::{config, domain::experiment::Rules};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use super::scenario::{self, SOURCES, ZONES, minutes};
use crate::support::chance::Chance;

/// Texts that are drawn for one configuration, at most: some are refused, as a `jitter` that reaches into the next slot.
const TRIES: usize = 50;

/// Draws a configuration as text for one of three worlds, with a chance of its own.
pub fn rules(seed: u64, base: Timestamp) -> Option<Rules> {
    let mut c = Chance::new(seed.rotate_left(16) ^ !0);
    if !c.one_in(3) {
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("firedrill.toml");
    let mut refused = String::new();
    for _ in 0..TRIES {
        let text = toml::to_string(&file_of(&mut c, base)).expect("TOML");
        std::fs::write(&file, text).expect("a written file");
        match config::load(&file, []) {
            Ok(loaded) => return Some(loaded.settings.rules),
            Err(problems) => refused = problems.to_string(),
        }
    }
    panic!("no configuration is taken: {refused}");
}

/// Sets a key in one of so many cases.
fn some(c: &mut Chance, table: &mut Value, one_in: u64, key: &str, value: impl FnOnce(&mut Chance) -> Value) {
    if c.one_in(one_in) {
        table[key] = value(c);
    }
}

fn duration(c: &mut Chance, of: &[&str]) -> Value {
    json!(c.pick(of))
}

fn zone(c: &mut Chance) -> (&'static str, TimeZone) {
    let name = c.pick(&ZONES);
    (name, TimeZone::get(name).expect("a zone"))
}

/// A local time within some hours around an instant.
fn local(c: &mut Chance, zone: &TimeZone, near: Timestamp) -> jiff::civil::DateTime {
    zone.to_datetime(near + minutes(c.between(0, 300)) - minutes(60))
}

fn file_of(c: &mut Chance, base: Timestamp) -> Value {
    let mut file = json!({
        "queues": { "deployments": { "url": "https://sqs.eu-west-1.amazonaws.com/111111111111/deployments" } },
        "groups": { "db": {}, "cache": { "min_gap": "2m" } },
        "policy": { "max_duration": c.pick(&["12h", "1h", "30m"]) },
        "budget": { "on_exceeded": c.pick(&["refuse", "warn"]) },
        "aws": {}, "windows": {}, "experiments": {},
    });
    let policy = &mut file["policy"];
    some(c, policy, 2, "require_stop_condition", |_| json!(false));
    some(c, policy, 2, "allow_all_targets", |_| json!(true));
    some(c, policy, 2, "require_tags", |_| json!({}));
    some(c, &mut file["budget"], 6, "monthly_usd", |c| json!(c.pick(&[0.5, 1.5, 4.0])));
    some(c, &mut file["budget"], 3, "price_per_action_minute", |c| json!(c.pick(&[0.05, 0.3])));
    some(c, &mut file["aws"], 2, "region", |c| json!(c.pick(&["eu-west-1", "us-east-1"])));
    some(c, &mut file["aws"], 8, "allowed_regions", |_| json!(["eu-west-1"]));
    some(c, &mut file["aws"], 6, "max_active_experiments", |c| json!(c.between(1, 3)));
    for n in 0..c.between(0, 3) {
        file["windows"][format!("w{n}")] = window(c, base);
    }
    for n in 0..c.between(1, 4) {
        file["experiments"][scenario::experiment_name(n).as_str()] = experiment(c, n, base);
    }
    file
}

fn window(c: &mut Chance, base: Timestamp) -> Value {
    let (name, zone) = zone(c);
    let mut window = json!({ "timezone": name, "kind": c.pick(&["blackout", "blackout", "blackout", "allowed"]) });
    let from = local(c, &zone, base);
    let to = from.saturating_add(minutes(c.between(1, 240)));
    let (day, time) = ("%Y-%m-%d", "%H:%M");
    let clock = format!("{}-{}", from.strftime(time), to.strftime(time));
    for _ in 0..c.pick(&[1, 1, 2]) {
        match c.between(0, 5) {
            0 => {
                let spans =
                    [format!("{} {clock}", from.strftime("%a")), clock.clone(), from.strftime("%a").to_string()];
                window["weekly"] = json!([spans[c.pick(&[0, 0, 1, 1, 1, 2])]]);
            }
            1 => {
                let whole = from.strftime(day).to_string();
                let exact = format!("{} - {}", from.strftime("%Y-%m-%dT%H:%M:%S"), to.strftime("%Y-%m-%dT%H:%M:%S"));
                window["dates"] = json!([if c.one_in(6) { whole } else { exact }]);
            }
            2 if c.one_in(3) => {
                let days = [from.strftime("%m-%d").to_string(), from.strftime("%-d").to_string(), "-1".to_owned()];
                window["month_days"] = json!([days[c.between(0, 2) as usize]]);
            }
            3 => {
                let mut times = json!({ "times": [clock] });
                some(c, &mut times, 2, "weekdays", |_| json!([from.strftime("%A").to_string().to_lowercase()]));
                some(c, &mut times, 3, "days_of_month", |_| json!(["1:15", "-3:-1"]));
                some(c, &mut times, 3, "months", |_| json!([from.strftime("%B").to_string().to_lowercase()]));
                some(c, &mut times, 3, "years", |_| json!(["2026:2027"]));
                window["times"] = json!([times]);
            }
            _ => {
                let minute = from.minute();
                let often =
                    [format!("{minute} * * * *"), "*/40 * * * *".to_owned(), format!("{minute} {} * * *", from.hour())];
                window["cron"] = json!(often[c.between(0, 2) as usize]);
                window["duration"] = duration(c, &["1m", "7m", "25m", "1h"]);
            }
        }
    }
    some(c, &mut window, 4, "experiments", |c| json!([c.pick(&["drill-0", "drill-*", "*-1"])]));
    some(c, &mut window, 5, "tags", |c| c.pick(&[("team", "red"), ("release", "v2")]).to_table());
    some(c, &mut window, 5, "environments", |c| json!([c.pick(&["prod*", "test"])]));
    some(c, &mut window, 5, "accounts", |c| json!([c.pick(&["111111111111", "222222222222"])]));
    some(c, &mut window, 5, "regions", |c| json!([c.pick(&["eu-*", "us-east-1"])]));
    some(c, &mut window, 4, "lead", |c| duration(c, &["30s", "5m", "20m"]));
    some(c, &mut window, 3, "on_entry", |_| json!("finish"));
    some(c, &mut window, 3, "stop_lead", |c| duration(c, &["0s", "30s", "2m", "10m"]));
    window
}

/// A pair as a table of one key.
trait Table {
    fn to_table(self) -> Value;
}

impl Table for (&str, &str) {
    fn to_table(self) -> Value {
        json!({ self.0: self.1 })
    }
}

fn experiment(c: &mut Chance, n: u64, base: Timestamp) -> Value {
    let overlap = c.pick(&["skip", "skip", "queue-one", "queue-all", "stop-other", "allow", "allow"]);
    let mut experiment = json!({
        "overlap": overlap,
        "tags": { "team": c.pick(&["red", "blue"]) },
        "estimate": c.pick(&["ceiling", "nominal", "learned"]),
        "on_failure": c.pick(&["continue", "continue", "pause", "classify"]),
        "share_targets": c.one_in(3),
        "policy": {},
    });
    match c.between(0, 11) {
        0 => experiment["template"] = json!("EXT0missing"),
        1..=3 => experiment["template_tags"] = json!({ "drill": format!("d{n}") }),
        _ => experiment["template"] = json!(format!("EXT{n}")),
    }
    if !matches!(overlap, "skip" | "allow") {
        some(c, &mut experiment, 2, "queue_for", |c| duration(c, &["2m", "15m", "90m"]));
    }
    some(c, &mut experiment, 2, "max_duration", |c| duration(c, &["2m", "5m", "12m", "30m"]));
    some(c, &mut experiment["tags"], 4, "release", |_| json!("{deployment.version}"));
    some(c, &mut experiment["policy"], 5, "require_stop_condition", |_| json!(false));
    some(c, &mut experiment["policy"], 5, "allow_all_targets", |c| json!(c.one_in(2)));
    some(c, &mut experiment["policy"], 5, "require_tags", |_| json!({}));
    experiment["policy"]["reason"] = json!("an idle host");
    some(c, &mut experiment, 4, "region", |c| json!(c.pick(&["eu-west-1", "us-east-1"])));
    some(c, &mut experiment, 3, "account", |c| json!(c.pick(&["111111111111", "222222222222"])));
    some(c, &mut experiment, 3, "environment", |c| json!(c.pick(&["prod-eu", "test"])));
    if overlap != "allow" {
        some(c, &mut experiment, 3, "min_gap", |c| duration(c, &["1m", "15m"]));
    }
    some(c, &mut experiment, 3, "groups", |c| if c.one_in(2) { json!(["db"]) } else { json!(["cache", "db"]) });
    experiment["schedules"] = (0..c.between(0, 2)).map(|_| schedule(c, base)).collect();
    experiment["triggers"] = (0..c.between(0, 2)).map(|_| trigger(c)).collect();
    experiment
}

fn schedule(c: &mut Chance, base: Timestamp) -> Value {
    let (name, zone) = zone(c);
    let mut schedule = json!({ "timezone": name });
    some(c, &mut schedule, 2, "name", |c| json!(format!("s{}", c.between(0, 9))));
    let soon = local(c, &zone, base);
    let (minute, hour) = (soon.minute(), soon.hour());
    match c.between(0, 11) {
        0 => {
            schedule["every"] = duration(c, &["7m", "20m 30s", "45m"]);
            some(c, &mut schedule, 2, "anchor", |_| json!(soon.strftime("%Y-%m-%dT%H:%M").to_string()));
        }
        1 => schedule["at"] = json!(soon.strftime("%Y-%m-%dT%H:%M:%S").to_string()),
        2 => schedule["at"] = json!((base + minutes(c.between(1, 120))).to_string()),
        form => {
            schedule["cron"] = json!(match form {
                3 => "@hourly".to_owned(),
                4 => "H/15 * * * *".to_owned(),
                5 => format!("{minute} {hour} {} * *", soon.day()),
                6 => format!("{minute} {hour} ? * {}", soon.strftime("%a").to_string().to_uppercase()),
                7 => format!("{minute} {hour} L * *"),
                8 => format!("{minute} * * {} MON-SUN", soon.strftime("%b").to_string().to_uppercase()),
                9 => format!("15 {minute},{} * * * *", (minute + 20) % 60),
                10 => format!("0 {minute} * * * * 2026-2027"),
                _ => format!("H(0-20)/10 {hour}-23 */1 * *"),
            });
            some(c, &mut schedule, 3, "dst", |_| json!("skip"));
        }
    }
    some(c, &mut schedule, 5, "start_date", |c| json!(local(c, &zone, base).strftime("%Y-%m-%dT%H:%M").to_string()));
    some(c, &mut schedule, 5, "end_date", |c| match c.one_in(2) {
        true => json!(soon.strftime("%Y-%m-%d").to_string()),
        false => json!((base + minutes(c.between(60, 240))).to_string()),
    });
    match c.between(0, 7) {
        0 => schedule["jitter"] = duration(c, &["90s", "9m"]),
        1 => schedule["within"] = duration(c, &["1m", "5m", "15m"]),
        _ => some(c, &mut schedule, 1, "start_deadline", |c| duration(c, &["20s", "1m", "5m", "30m", "2h"])),
    }
    some(c, &mut schedule, 4, "mtbf", |c| json!(c.between(1, 3)));
    some(c, &mut schedule, 6, "max_runs", |c| json!(c.between(1, 3)));
    match c.between(0, 4) {
        0 => schedule["missed"] = json!("skip"),
        1 => {
            schedule["missed"] = json!("all");
            some(c, &mut schedule, 2, "max_missed", |c| json!(c.between(1, 4)));
        }
        _ => {}
    }
    some(c, &mut schedule, 2, "hold_for", |c| duration(c, &["10m", "90m"]));
    schedule
}

fn trigger(c: &mut Chance) -> Value {
    let pattern = json!({ "source": [c.pick(&SOURCES)], "detail": { "state": ["done"] } });
    let is_text = c.one_in(2);
    let mut trigger = json!({ "pattern": if is_text { json!(pattern.to_string()) } else { pattern } });
    some(c, &mut trigger, 4, "queues", |_| json!(["deployments"]));
    some(c, &mut trigger, 2, "settle", |c| duration(c, &["1m", "5m"]));
    some(c, &mut trigger, 2, "hold_for", |c| duration(c, &["30m", "2h"]));
    some(c, &mut trigger, 2, "start_deadline", |c| duration(c, &["1s", "1m", "30m"]));
    some(c, &mut trigger, 2, "max_age", |c| duration(c, &["none", "10m", "1h"]));
    if c.one_in(4) {
        return trigger;
    }
    trigger["key"] = json!("/detail/app");
    trigger["version"] = json!(["/detail/version"]);
    trigger["rollback"] = json!({ "detail": { "rollback": [true] } });
    some(c, &mut trigger, 3, "rollbacks", |_| json!("skip"));
    some(c, &mut trigger, 2, "settle_limit", |c| duration(c, &["5m", "6m"]));
    some(c, &mut trigger, 3, "min_age", |c| duration(c, &["2m", "10m"]));
    some(c, &mut trigger, 2, "supersede", |_| json!("running"));
    some(c, &mut trigger, 3, "cool_down", |c| duration(c, &["3m", "30m"]));
    some(c, &mut trigger, 5, "one_in", |_| json!(3));
    trigger
}
