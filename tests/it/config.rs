//! Configuration: every mistake at once with its place, merging, overrides, and the shipped reference.

mod folder;
mod places;
mod policy;
mod schedules;
mod state;
mod triggers;
mod webhooks;
mod windows;

use std::{fs, path::Path};

use firedrill::{
    config::{Loaded, load, problem::Problems, schema},
    domain::{
        cost::{Budget, OnExceeded, Usd},
        experiment::{EstimateKind, EventTrigger, Overlap, TemplateSelector},
        plan, react,
        schedule::MissedPolicy,
        window::{OnEntry, WindowKind},
    },
};
use jiff::SignedDuration;
use serde_json::Value;

/// The shipped reference of every key.
const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/firedrill.toml");

/// A configuration that has no mistakes.
const GOOD: &str = "[experiments.checkout]\ntemplate = \"EXT1\"\n";

/// The least that an event trigger says.
const TRIGGER: &str = "[[experiments.checkout.triggers]]\non = \"codedeploy-success\"\n";

fn with_files<T>(files: &[(&str, &str)], run: impl FnOnce(&Path) -> T) -> T {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("a written file");
    }
    run(folder.path())
}

fn variables(env: &[(&str, &str)]) -> Vec<(String, String)> {
    env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn loaded(files: &[(&str, &str)], env: &[(&str, &str)]) -> Loaded {
    with_files(files, |folder| load(folder, variables(env))).expect("a good configuration")
}

/// Returns what is said about a bad configuration, without the folder's own path.
fn refused(files: &[(&str, &str)], env: &[(&str, &str)]) -> String {
    with_files(files, |folder| {
        let problems = load(folder, variables(env)).expect_err("a bad configuration");
        problems.to_string().replace(&format!("{}/", folder.display()), "").replace(&folder.display().to_string(), ".")
    })
}

#[test]
fn every_mistake_is_named_at_once_with_its_place() {
    let text = r#"
histroy = "90d"
[aws]
region = "eu-west1"
[windows.weekend]
timezone = "Europe/Berln"
weekly = ["Fry 18:00 - Mon 06:00", "Sat"]
experiments = ["chekout"]
kind = "blackot"
[experiments.checkout]
template = 7
overlap = true
max_duration = "13h"
[[experiments.checkout.schedules]]
cron = "30 2 30 2 *"
timezone = "Berlin"
[[experiments.checkout.schedules]]
missed = "latest"
start_deadline = "10"
[[experiments.checkout.triggers]]
settle = "-5m"
[queues."bad name"]
url = "sqs"
[http]
listen = "localhost:80"
"#;
    insta::assert_snapshot!(refused(&[("team.toml", text)], &[]), @r#"
    team.toml:2:1 histroy: unknown key `histroy`
      hint: did you mean `history`?
    team.toml:4:10 aws.region: `eu-west1` is not an AWS Region
      hint: write it as AWS does, such as `eu-west-1`
    team.toml:6:12 windows.weekend.timezone: `Europe/Berln` is not a time zone
      hint: did you mean `Europe/Berlin`?
    team.toml:7:11 windows.weekend.weekly[0]: `Fry` is not a weekday
      hint: did you mean `Fri`?
    team.toml:8:16 windows.weekend.experiments[0]: there is no experiment `chekout`
      hint: did you mean `checkout`?
    team.toml:9:8 windows.weekend.kind: `blackot` is not one of `blackout` or `allowed`
      hint: did you mean `blackout`?
    team.toml:11:12 experiments.checkout.template: expected a text in quotes, found the number 7
    team.toml:12:11 experiments.checkout.overlap: expected a text in quotes, one of `skip`, `queue-one`, `queue-all`, `stop-other` or `allow`, found the boolean true
    team.toml:13:16 experiments.checkout.max_duration: `13h` is out of range: from 1s to 12h is possible
    team.toml:15:8 experiments.checkout.schedules[0].cron: `30 2 30 2 *` never fires: no date matches it
    team.toml:16:12 experiments.checkout.schedules[0].timezone: `Berlin` is not a time zone
      hint: did you mean `Europe/Berlin`?
    team.toml:17:1 experiments.checkout.schedules[1].cron: is missing
      hint: say when: `cron = "30 2 * * MON-FRI"`, `every = "36h"` or `at = "2026-03-01T10:00"`
    team.toml:19:18 experiments.checkout.schedules[1].start_deadline: `10` is not a duration
      hint: write numbers with units, such as `90s`, `1h 30m` or `90d`
    team.toml:20:1 experiments.checkout.triggers[0].on: is missing
      hint: say which events it takes: `on = "codedeploy-success"` or `pattern = { … }`; `firedrill event presets` lists what `on` may be
    team.toml:21:10 experiments.checkout.triggers[0].settle: `-5m` is out of range: from 0s to 24h is possible
    team.toml:22:1 queues."bad name": `bad name` is not a name: use 1 to 64 letters, digits, `_`, `-` or `.`, a letter or digit first
    team.toml:23:7 queues."bad name".url: `sqs` is not a URL: relative URL without a base
      hint: write `https://host/path`
    team.toml:25:10 http.listen: `localhost:80` is not an address to listen on
      hint: write an IP address and a port: `127.0.0.1:9810` or `[::1]:9810`
    "#);
}

#[test]
fn broken_files_do_not_hide_mistakes_in_others() {
    let files = [("a.toml", "[aws\nregion = 1\n"), ("b.toml", "[windows.w]\nexperiments = [\"gone\"]\nnights = 1\n")];
    insta::assert_snapshot!(refused(&files, &[]), @r#"
    a.toml:1:5: not TOML: unclosed table, expected `]`
    b.toml:1:1 windows.w: names no time, so it is never
      hint: write `weekly`, `dates`, `month_days`, `times`, `cron` or `calendars`; `weekly = ["always"]` is all the time
    b.toml:3:1 windows.w.nights: unknown key `nights`
    "#);
}

#[test]
fn name_in_two_files_is_refused_with_both_places() {
    let files = [("a.toml", GOOD), ("b.toml", "\n[experiments.checkout]\ntemplate = \"EXT2\"\n")];
    insta::assert_snapshot!(refused(&files, &[]), @r#"
    b.toml:2:1 experiments.checkout: experiment `checkout` is declared twice, first at a.toml:1:1
      hint: give one of them another name, or put both into one file
    "#);
}

#[test]
fn names_of_schedules_are_unique() {
    let twice = "[[experiments.checkout.schedules]]\ncron = \"@daily\"\n";
    insta::assert_snapshot!(refused(&[("a.toml", &format!("{GOOD}{twice}{twice}"))], &[]), @r#"
    a.toml:5:1 experiments.checkout.schedules[1]: a schedule named `cron-7431e3e1ad8ba170` stands before it in this experiment
      hint: give each its own `name`; without one it is made of what it says of times
    "#);
}

#[test]
fn what_cannot_be_read_is_named() {
    let gone = load(Path::new("gone.toml"), []).expect_err("no file").to_string();
    insta::assert_snapshot!(gone, @r#"gone.toml: there is no such file or folder"#);
    insta::assert_snapshot!(refused(&[("README.md", "")], &[]), @r#".: there is no `*.toml` file in the folder"#);
    insta::assert_snapshot!(refused(&[("a.toml", &" ".repeat(1024 * 1024 + 1))], &[]), @r#"a.toml: is larger than 1048576 bytes"#);
    let latin = with_files(&[], |folder| {
        fs::write(folder.join("a.toml"), b"# ok\n# \xe9").expect("a written file");
        let problems: Problems = load(folder, []).expect_err("not UTF-8");
        problems.to_string().replace(&format!("{}/", folder.display()), "")
    });
    insta::assert_snapshot!(latin, @r#"a.toml:2:3: is not UTF-8 text"#);
}

#[test]
fn variables_override_and_are_named() {
    let env = [
        ("FIREDRILL__AWS__REGION", "us-east-1"),
        ("FIREDRILL__WINDOWS__NIGHT__WEEKLY", "[\"22:00-06:00\"]"),
        ("STATE_DIRECTORY", "/run/one:/run/two"),
        ("PATH", "/bin"),
    ];
    let settings = loaded(&[("a.toml", &format!("[aws]\nregion = \"eu-west-1\"\n{GOOD}"))], &env).settings;
    assert_eq!(settings.place.region.as_deref(), Some("us-east-1"));
    assert_eq!(settings.rules.experiments.values().next().expect("one").place.region.as_deref(), Some("us-east-1"));
    assert_eq!(settings.state.directory, Path::new("/run/one"));
    assert_eq!(settings.rules.windows.len(), 1);
    let env = [("FIREDRILL__AWS__REGON", "x"), ("FIREDRILL__HISTORY", "soon")];
    insta::assert_snapshot!(refused(&[("a.toml", GOOD)], &env), @r#"
    environment variable FIREDRILL__AWS__REGON aws.regon: unknown key `regon`
      hint: did you mean `region`?
    environment variable FIREDRILL__HISTORY history: `soon` is not a duration
      hint: write numbers with units, such as `90s`, `1h 30m` or `90d`
    "#);
}

#[test]
fn files_of_a_folder_are_merged() {
    let window = "[windows.weekend]\nweekly = [\"Sat,Sun\"]\nexperiments = [\"checkout\"]\n";
    let files = [("b.toml", window), ("a.toml", GOOD), ("c.txt", "not TOML"), (".d.toml", "not TOML")];
    let settings = loaded(&files, &[]).settings;
    assert_eq!((settings.rules.experiments.len(), settings.rules.windows.len()), (1, 1));
}

#[test]
fn patterns_may_be_tables_or_json() {
    let trigger = |pattern: &str| format!("{GOOD}[[experiments.checkout.triggers]]\npattern = {pattern}\n");
    let good = [r#"{ source = ["aws.codedeploy"] }"#, r#"'{"source": ["aws.codedeploy"]}'"#];
    for pattern in good {
        let loaded = loaded(&[("a.toml", &trigger(pattern))], &[]);
        assert_eq!(loaded.settings.rules.experiments.values().next().expect("one").triggers.len(), 1);
        assert!(loaded.warnings[0].to_string().contains("no queue is configured"), "{:?}", loaded.warnings);
    }
    insta::assert_snapshot!(refused(&[("a.toml", &trigger("'{'"))], &[]), @r#"a.toml:4:11 experiments.checkout.triggers[0].pattern: not JSON at byte 1: expected a name in quotes"#);
}

#[test]
fn doubts_are_warnings() {
    let empty = loaded(&[("a.toml", "")], &[]).warnings;
    assert_eq!(empty.len(), 1, "{empty:?}");
    let both = "[[experiments.checkout.schedules]]\ncron = \"0 0 13 * FRI\"\n";
    let warnings = loaded(&[("a.toml", &format!("{GOOD}{both}"))], &[]).warnings;
    assert!(warnings[0].to_string().contains("either may match"), "{warnings:?}");
}

#[test]
fn problems_can_be_read_by_machines() {
    let problems = with_files(&[("a.toml", "[aws]\nregon = \"x\"\n")], |f| load(f, []).expect_err("bad"));
    let value = serde_json::to_value(&problems).expect("JSON");
    let problem = &value[0];
    assert_eq!((&problem["line"], &problem["column"]), (&Value::from(2), &Value::from(1)));
    assert_eq!(problem["path"], "aws.regon");
    assert_eq!(problem["hint"], "did you mean `region`?");
}

#[test]
fn budget_is_money_without_drift() {
    let budget = |text: &str, env: &[(&str, &str)]| {
        loaded(&[("a.toml", &format!("[budget]\n{text}\n{GOOD}"))], env).settings.rules.budget
    };
    assert_eq!(budget("", &[]), Budget::default());
    let full = budget("monthly_usd = 500\nprice_per_action_minute = 0.1\non_exceeded = \"warn\"", &[]);
    assert_eq!(full.monthly, Some(Usd::from_cents(50_000)));
    assert_eq!((full.price_per_action_minute, full.on_exceeded), (Some(Usd::from_cents(10)), OnExceeded::Warn));
    assert_eq!(budget("monthly_usd = \"0.70\"", &[]).monthly, Some(Usd::from_cents(70)));
    assert_eq!(budget("", &[("FIREDRILL__BUDGET__MONTHLY_USD", "12.5")]).monthly, Some(Usd::from_cents(1_250)));
    let wrong = "[budget]\nmonthly_usd = -5\nprice_per_action_minute = 0.1234567\non_exceeded = \"stop\"\n";
    insta::assert_snapshot!(refused(&[("a.toml", wrong)], &[]), @r#"
    a.toml:2:15 budget.monthly_usd: `-5` is not an amount of US dollars
      hint: write dollars, such as `500` or `0.10`
    a.toml:3:27 budget.price_per_action_minute: `0.1234567` has more than 6 digits behind the point
      hint: write dollars, such as `500` or `0.10`
    a.toml:4:15 budget.on_exceeded: `stop` is not one of `refuse` or `warn`
    "#);
    let estimate = format!("{GOOD}estimate = \"nominl\"\n");
    insta::assert_snapshot!(refused(&[("a.toml", &estimate)], &[]), @r#"
    a.toml:3:12 experiments.checkout.estimate: `nominl` is not one of `ceiling`, `nominal` or `learned`
      hint: did you mean `nominal`?
    "#);
}

#[test]
fn estimate_of_an_experiment_is_chosen() {
    let chosen = |line: &str| {
        let settings = loaded(&[("a.toml", &format!("{GOOD}{line}"))], &[]).settings;
        settings.rules.experiments.values().next().expect("one").estimate
    };
    assert_eq!(chosen(""), EstimateKind::Ceiling);
    assert_eq!(chosen("estimate = \"ceiling\"\n"), EstimateKind::Ceiling);
    assert_eq!(chosen("estimate = \"nominal\"\n"), EstimateKind::Nominal);
    assert_eq!(chosen("estimate = \"learned\"\n"), EstimateKind::Learned);
}

#[test]
fn an_agent_that_stops_what_runs_has_the_time_to_be_certain() {
    let with = |agent: &str| loaded(&[("a.toml", &format!("{GOOD}[agent]\non_shutdown = \"stop\"\n{agent}"))], &[]);
    let plain = with("");
    assert_eq!(plain.warnings, []);
    let looks = i32::try_from(plan::DOUBT_LOOKS).expect("few") * react::LOOK_INTERVAL;
    let (call, stop) = (SignedDuration::from_secs(30), SignedDuration::from_secs(30));
    assert!(plain.settings.drain_timeout > call + looks + stop, "{}", plain.settings.drain_timeout);
    assert_eq!(plain.settings.drain_timeout, SignedDuration::from_mins(5));
    let short = with("drain_timeout = \"1m\"\n");
    assert_eq!(short.settings.drain_timeout, SignedDuration::from_mins(1));
    let warnings: Vec<String> = short.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("agent.drain_timeout: is too short"), "{warnings:?}");
}

#[test]
fn reference_says_the_defaults() {
    let reference = load(Path::new(REFERENCE), []).expect("the reference loads");
    assert_eq!(reference.warnings, []);
    let (shipped, bare) = (reference.settings, loaded(&[("a.toml", GOOD)], &[]).settings);
    assert_eq!(shipped.state, bare.state);
    assert_eq!((shipped.history, shipped.drain_timeout), (bare.history, bare.drain_timeout));
    assert_eq!((shipped.on_shutdown, shipped.telemetry), (bare.on_shutdown, bare.telemetry));
    assert_eq!((shipped.place, shipped.event_bus, shipped.http_listen), (bare.place, None, None));
    assert_eq!(shipped.rules.budget, bare.rules.budget);
    let mut experiments = shipped.rules.experiments.into_values();
    let (latency, failover) = (experiments.next().expect("one"), experiments.next().expect("two"));
    let plain = bare.rules.experiments.into_values().next().expect("one");
    assert_eq!((latency.overlap, latency.max_duration), (plain.overlap, plain.max_duration));
    assert_eq!(latency.estimate, plain.estimate);
    assert_eq!(latency.overlap, Overlap::Skip);
    assert_eq!(latency.schedules[0].missed, MissedPolicy::Latest);
    assert!(matches!(failover.template, TemplateSelector::Tags(_)));
    let defaults = loaded(&[("a.toml", &format!("{GOOD}{TRIGGER}"))], &[]).settings.rules.experiments.into_values();
    let defaults = defaults.flat_map(|experiment| experiment.triggers).next().expect("one");
    let times = |trigger: &EventTrigger| {
        let EventTrigger { settle, hold_for, start_deadline, min_age, max_age, cool_down, .. } = trigger;
        [Some(*settle), Some(*hold_for), Some(*start_deadline), Some(*min_age), *max_age, Some(*cool_down)]
    };
    let others = |trigger: &EventTrigger| (trigger.rollbacks, trigger.supersede, trigger.one_in);
    assert_eq!(times(&failover.triggers[0]), times(&defaults));
    assert_eq!(others(&failover.triggers[0]), others(&defaults));
    let window = &shipped.rules.windows[0];
    assert_eq!(window.kind, WindowKind::Blackout);
    assert_eq!(window.on_entry, OnEntry::Stop { lead: SignedDuration::from_secs(60) });
}

#[test]
fn reference_holds_every_key() {
    let text = fs::read_to_string(REFERENCE).expect("the reference");
    // Keys without a default are commented out by a `#` without a space.
    let live: Vec<&str> = text.lines().map(|line| line.strip_prefix('#').filter(is_key).unwrap_or(line)).collect();
    let live = live.join("\n");
    let files = [("a.toml", live.as_str()), ("holidays.ics", "BEGIN:VCALENDAR\nEND:VCALENDAR\n")];
    let files = [&files[..], &[("github.secret", "It's a Secret to Everybody")]].concat();
    with_files(&files, |folder| load(folder, [])).expect("the examples load");
    let value: Value = toml::from_str(&live).expect("TOML");
    let schema = schema();
    let mut missing = Vec::new();
    missing_keys(&schema, &schema, &[&value], "", &mut missing);
    assert_eq!(missing, [""; 0], "keys of the schema that the reference does not show");
}

fn is_key(line: &&str) -> bool {
    line.starts_with(|c: char| c.is_ascii_alphabetic() || c == '[')
}

/// Collects the keys of a schema that none of the values has; named tables and list items stand for each other.
fn missing_keys(root: &Value, schema: &Value, values: &[&Value], path: &str, missing: &mut Vec<String>) {
    let target = |reference: &Value| root.pointer(reference.as_str()?.strip_prefix('#')?);
    if let Some(schema) = schema.get("$ref").and_then(target) {
        return missing_keys(root, schema, values, path, missing);
    }
    for variant in schema.get("anyOf").and_then(Value::as_array).into_iter().flatten() {
        missing_keys(root, variant, values, path, missing);
    }
    for (key, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = format!("{path}.{key}");
        let inner: Vec<&Value> = values.iter().filter_map(|value| value.get(key)).collect();
        if inner.is_empty() {
            missing.push(path);
        } else {
            missing_keys(root, schema, &inner, &path, missing);
        }
    }
    let named: Vec<&Value> = values.iter().filter_map(|v| v.as_object()).flat_map(|table| table.values()).collect();
    if let Some(schema) = schema.get("additionalProperties").filter(|others| others.is_object()) {
        missing_keys(root, schema, &named, path, missing);
    }
    let items: Vec<&Value> = values.iter().filter_map(|v| v.as_array()).flatten().collect();
    if let Some(schema) = schema.get("items") {
        missing_keys(root, schema, &items, path, missing);
    }
}

#[test]
fn fingerprint_is_of_what_replicas_share_and_of_nothing_else() {
    let of = |files: &[(&str, &str)], env: &[(&str, &str)]| loaded(files, env).settings.rules.fingerprint;
    let experiment = "[experiments.a]\ntemplate = \"EXT1\"\noverlap = \"skip\"\n";
    let group = "[groups.g]\nmin_gap = \"1m\"\n";
    let known = of(&[("a.toml", &format!("{experiment}{group}"))], &[]);
    assert_eq!(known.len(), 16, "{known}");
    let turned = "[experiments.a]\noverlap = \"skip\"\ntemplate = \"EXT1\" # the same\n";
    assert_eq!(of(&[("a.toml", group), ("b.toml", turned)], &[]), known, "wherever it stands");
    let own = "state = \"postgres://a@b/c\"\nreplica = \"two\"\nstate_directory = \"/srv/two\"\n[http]\nlisten = \"127.0.0.1:1\"\n";
    assert_eq!(of(&[("a.toml", &format!("{own}{experiment}{group}"))], &[]), known, "a replica's own");
    for other in [
        experiment.to_owned(),
        format!("{experiment}{group}[windows.w]\nweekly = [\"Sat\"]\n"),
        format!("{experiment}schedules = [{{ cron = \"@daily\" }}]\n{group}"),
    ] {
        assert_ne!(of(&[("a.toml", &other)], &[]), known, "{other}");
    }
    let variable = [("FIREDRILL__EXPERIMENTS__A__OVERLAP", "allow")];
    assert_ne!(of(&[("a.toml", &format!("{experiment}{group}"))], &variable), known, "by a variable");
}
