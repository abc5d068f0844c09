//! Provisioning without AWS: which rules come of triggers, and what is done about what is there.

mod diff;

use firedrill::domain::{
    event::{catalogue, presets::PRESETS},
    pattern::Pattern,
    provision::{self, Desired, Options, ProvisionError, Site, merge},
};
use jiff::SignedDuration;
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

fn options() -> Options {
    Options { bus: "default".to_owned(), max_receives: 5, kms_key: None, retention: SignedDuration::from_hours(96) }
}

fn site() -> Site {
    Site { region: "eu-west-1".to_owned(), account: "123456789012".to_owned() }
}

fn desired(options: &Options, queue: &str, patterns: &[Value]) -> Result<Desired, ProvisionError> {
    provision::desired(queue, options, &site(), &patterns.iter().collect::<Vec<_>>())
}

#[track_caller]
fn check_merged(patterns: &[Value], expected: &[Value]) {
    assert_eq!(merge::merged(&patterns.iter().collect::<Vec<_>>()).expect("rules"), expected);
}

fn of(source: &str, field: &str, values: Value) -> Value {
    json!({ "source": [source], "detail": { field: values } })
}

#[test]
fn patterns_that_differ_in_one_field_are_one_rule() {
    let services = ["a", "b", "c"].map(|service| of("ci", "service", json!([service])));
    check_merged(&services, &[of("ci", "service", json!(["a", "b", "c"]))]);
    // First the services of each source, then the sources.
    let both: Vec<Value> =
        ["x", "y"].iter().flat_map(|s| ["a", "b"].map(|service| of(s, "service", json!([service])))).collect();
    check_merged(&both, &[json!({ "source": ["x", "y"], "detail": { "service": ["a", "b"] } })]);
}

#[test]
fn patterns_that_differ_in_two_fields_stay_two_rules() {
    let two = [of("ci", "service", json!(["a"])), of("cd", "service", json!(["b"]))];
    check_merged(&[two[1].clone(), two[0].clone()], &two);
}

#[test]
fn pattern_that_another_one_covers_is_left_out() {
    check_merged(&[json!({ "source": ["ci"] }), of("ci", "service", json!(["a"]))], &[json!({ "source": ["ci"] })]);
}

#[test]
fn branches_of_or_are_never_mixed() {
    let or = |a: &str| json!({ "$or": [{ "detail-type": [a] }, { "source": [a] }] });
    check_merged(&[or("x"), or("y")], &[or("x"), or("y")]);
}

fn globs(globs: &[&str]) -> Vec<Value> {
    globs.iter().map(|glob| of("ci", "service", json!([{ "wildcard": glob }]))).collect()
}

#[test]
fn wildcards_are_united_as_far_as_eventbridge_takes_them() {
    let patterns = globs(&["a-*-b", "c-*-d", "*:e/*", "f-*-g", "h-*-i"]);
    let rules = merge::merged(&patterns.iter().collect::<Vec<_>>()).expect("rules");
    let counts: Vec<usize> =
        rules.iter().map(|rule| rule["detail"]["service"].as_array().map_or(0, Vec::len)).collect();
    assert_eq!((counts.iter().sum::<usize>(), counts.len()), (5, 2), "{rules:?}");
    // One by itself is left to EventBridge, however complex it is.
    let complex = globs(&["*a*b*c*d*e*f*g*h*"]);
    check_merged(&complex, &complex);
}

#[test]
fn wildcards_that_are_prefixes_or_suffixes_become_those() {
    let as_prefix = json!([{ "prefix": "" }, { "prefix": "team-" }, { "suffix": "-api" }]);
    check_merged(&globs(&["team-*", "*-api", "*"]), &[of("ci", "service", as_prefix)]);
    let stay = json!([{ "wildcard": "*a*" }, { "wildcard": "a\\\\*" }, { "wildcard": "b" }]);
    check_merged(&globs(&["*a*", "a\\\\*", "b"]), &[of("ci", "service", stay)]);
}

#[test]
fn too_many_rules_with_wildcards_are_refused() {
    let apart = |n: usize| json!({ "source": [format!("s{n}")], "detail-type": [{ "wildcard": format!("{n}*x") }] });
    let patterns: Vec<Value> = (0..31).map(apart).collect();
    let error = merge::merged(&patterns.iter().collect::<Vec<_>>()).expect_err("refused");
    assert_eq!(error, ProvisionError::TooManyWildcards { count: 31, most: 30 });
}

#[test]
fn long_list_is_split_over_rules_and_no_name_is_lost() {
    let names: Vec<String> = (0..500).map(|n| format!("service-{n:03}")).collect();
    let patterns: Vec<Value> = names.iter().map(|name| of("ci", "service", json!([name]))).collect();
    let rules = merge::merged(&patterns.iter().collect::<Vec<_>>()).expect("rules");
    assert!((2..=8).contains(&rules.len()), "{}", rules.len());
    let mut found: Vec<&str> = Vec::new();
    for rule in &rules {
        assert!(rule.to_string().len() <= merge::MAX_PATTERN_BYTES);
        found.extend(rule["detail"]["service"].as_array().expect("a list").iter().filter_map(Value::as_str));
    }
    found.sort_unstable();
    assert_eq!(found, names);
}

#[test]
fn pattern_that_cannot_be_made_shorter_is_refused() {
    let long = json!({ "source": ["x".repeat(3_000)] });
    let error = desired(&options(), "q", &[long]).expect_err("refused");
    assert!(error.to_string().starts_with("a pattern has 3015 bytes, 2048 are possible: `{\"source\""), "{error}");
}

#[test]
fn too_many_rules_for_a_policy_are_refused() {
    let apart = |n: usize| json!({ "source": [format!("s{n}")], "detail-type": [format!("t{n}")] });
    let error = desired(&options(), "q", &(0..299).map(apart).collect::<Vec<_>>()).expect_err("refused");
    assert!(matches!(error, ProvisionError::PolicyTooLong { rules: 300, .. }), "{error}");
    let error = desired(&options(), "q", &(0..300).map(apart).collect::<Vec<_>>()).expect_err("refused");
    assert_eq!(error, ProvisionError::TooManyRules { count: 301, most: 300 });
    let error = desired(&options(), "q", &(0..2_000).map(apart).collect::<Vec<_>>()).expect_err("refused");
    assert_eq!(error, ProvisionError::TooManyRules { count: 2_001, most: 1_000 });
}

#[test]
fn lists_of_wildcards_that_multiply_are_refused_in_time() {
    let list: Vec<Value> = (0..500).map(|n| json!({ "wildcard": format!("a*{n}*b") })).collect();
    let error = desired(&options(), "q", &[json!({ "source": list, "detail-type": list })]).expect_err("refused");
    assert_eq!(error, ProvisionError::TooManyRules { count: 1_001, most: 1_000 });
}

#[test]
fn only_our_rules_of_our_account_may_send_and_nobody_without_tls() {
    let options = Options { bus: "own".to_owned(), ..options() };
    let desired = desired(&options, "deployments", &[json!({ "source": ["ci"] })]).expect("a plan");
    let rule = desired.rules.keys().next().expect("a rule");
    assert!(rule.starts_with("firedrill-deployments."), "{rule}");
    let policy: Value = serde_json::from_str(&desired.queue.attributes["Policy"]).expect("JSON");
    let queue = "arn:aws:sqs:eu-west-1:123456789012:deployments";
    let expected = json!({ "Version": "2012-10-17", "Statement": [
        { "Sid": "NobodyWithoutTls", "Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": queue,
          "Condition": { "Bool": { "aws:SecureTransport": "false" } } },
        { "Sid": "OurRulesMaySend", "Effect": "Allow", "Principal": { "Service": "events.amazonaws.com" },
          "Action": "sqs:SendMessage", "Resource": queue, "Condition": {
            "ArnEquals": { "aws:SourceArn": [format!("arn:aws:events:eu-west-1:123456789012:rule/own/{rule}")] },
            "StringEquals": { "aws:SourceAccount": "123456789012" } } },
    ] });
    assert_eq!(policy, expected);
    let dead: Value = serde_json::from_str(&desired.dead_letters.attributes["Policy"]).expect("JSON");
    let sends = &dead["Statement"][1];
    assert_eq!(
        sends["Condition"], policy["Statement"][1]["Condition"],
        "what a rule cannot deliver goes there: {dead}"
    );
    assert_eq!(sends["Resource"], "arn:aws:sqs:eu-west-1:123456789012:deployments-dlq");
}

#[test]
fn events_of_fis_come_by_the_default_bus_only() {
    let fis = |bus: &str| {
        let options = Options { bus: bus.to_owned(), ..options() };
        let desired = desired(&options, "q", &[json!({ "source": ["ci"] })]).expect("a plan");
        desired.rules.values().filter(|rule| rule.pattern["source"] == json!(["aws.fis"])).count()
    };
    assert_eq!((fis("default"), fis("own")), (1, 0));
}

#[test]
fn fifo_queue_has_a_fifo_dead_letter_queue_and_a_group() {
    let desired = desired(&options(), "q.fifo", &[]).expect("a plan");
    assert_eq!(desired.dead_letters.name, "q-dlq.fifo");
    assert_eq!(desired.queue.attributes["ContentBasedDeduplication"], "true");
    let rule = desired.rules.values().next().expect("a rule");
    // EventBridge cannot use a FIFO queue for what it could not deliver.
    assert_eq!((rule.group.as_deref(), rule.dead_letters.as_deref()), (Some("q.fifo"), None));
}

#[test]
fn names_of_queues_are_read_out_of_urls() {
    let check = |url: &str, expected: Option<(&str, &str)>| assert_eq!(provision::queue_of_url(url), expected, "{url}");
    check("https://sqs.eu-west-1.amazonaws.com/123456789012/deployments", Some(("123456789012", "deployments")));
    check("http://127.0.0.1:4566/123456789012/q.fifo", Some(("123456789012", "q.fifo")));
    check("https://sqs.eu-west-1.amazonaws.com/deployments", None);
    check("https://sqs.eu-west-1.amazonaws.com/123456789012/a.b", None);
    check(&format!("https://host/123456789012/{}", "q".repeat(72)), None);
    check("", None);
}

#[test]
fn rules_of_all_presets_match_the_sample_events_that_the_presets_match() {
    let patterns: Vec<Value> = PRESETS.iter().map(|preset| (preset.pattern)()).collect();
    let rules = merge::merged(&patterns.iter().collect::<Vec<_>>()).expect("rules");
    let any = |all: &[Value], event: &Value| all.iter().any(|p| Pattern::parse(p).expect("a pattern").matches(event));
    let mut matched = 0;
    for (name, event) in catalogue::samples() {
        assert_eq!(any(&patterns, &event), any(&rules, &event), "{name}");
        matched += usize::from(any(&rules, &event));
    }
    assert!(matched >= 8, "{matched}");
}

/// Alternatives of a field, of few values, so that patterns have much in common.
fn alternatives() -> impl Strategy<Value = Value> {
    let one = prop_oneof![
        select(vec![json!("a"), json!("ab"), json!("b"), json!(1), json!(true), json!(null)]),
        select(vec![json!({ "prefix": "a" }), json!({ "prefix": "b" })]),
        select(vec![json!({ "anything-but": "a" }), json!({ "anything-but": ["a", "b"] })]),
        select(vec![json!({ "exists": true }), json!({ "exists": false })]),
        select(vec![json!({ "wildcard": "a*" }), json!({ "wildcard": "*b" }), json!({ "wildcard": "*a*c" })]),
        select(vec![json!({ "suffix": "b" }), json!({ "equals-ignore-case": "AB" }), json!({ "prefix": "" })]),
        select(vec![json!({ "numeric": [">", 0, "<=", 1] }), json!({ "anything-but": { "wildcard": "*b" } })]),
        select(vec![json!({ "cidr": "10.0.0.0/8" }), json!("10.1.2.3")]),
    ];
    prop::collection::vec(one, 1..4).prop_map(Value::from)
}

fn pattern() -> impl Strategy<Value = Value> {
    let detail = prop::collection::btree_map(select(vec!["x", "y"]), alternatives(), 1..3);
    let detail = detail.prop_map(|fields| json!(fields));
    let or = prop::option::of((alternatives(), alternatives()));
    (alternatives(), prop::option::of(detail), or).prop_map(|(source, detail, or)| {
        let mut pattern = json!({ "source": source });
        if let Some(detail) = detail {
            pattern["detail"] = detail;
        }
        if let Some((x, kind)) = or {
            pattern["$or"] = json!([{ "detail-type": kind }, { "detail": { "z": x } }]);
        }
        pattern
    })
}

fn event() -> impl Strategy<Value = Value> {
    let leaf = || {
        select(vec!["a", "ab", "abc", "b", "c", "", "10.9.9.9"])
            .prop_map(Value::from)
            .boxed()
            .prop_union(select(vec![json!(1), json!(null), json!(true)]).boxed())
    };
    let object =
        prop::collection::btree_map(select(vec!["x", "y", "z"]), leaf(), 0..4).prop_map(|fields| json!(fields));
    let several = prop::collection::vec(object.clone(), 0..3).prop_map(Value::from);
    (leaf(), leaf(), prop_oneof![object, several])
        .prop_map(|(source, kind, detail)| json!({ "source": source, "detail-type": kind, "detail": detail }))
}

proptest! {
    #![proptest_config(crate::support::chance::cases(256))]

    #[test]
    fn rules_match_exactly_what_the_triggers_match(
        patterns in prop::collection::vec(pattern(), 1..12),
        long in prop::option::of(select(vec![10_usize, 200])),
        events in prop::collection::vec(event(), 1..30),
    ) {
        let mut patterns = patterns;
        // A list that is too long for one rule, beside alternatives that match.
        if let Some(long) = long {
            let first = patterns[0]["source"].as_array_mut().expect("a list");
            first.extend((0..long).map(|n| json!(format!("filler-{n:010}"))));
        }
        let parse = |pattern: &Value| Pattern::parse(pattern).expect("a pattern");
        let rules = merge::merged(&patterns.iter().collect::<Vec<_>>()).expect("rules");
        prop_assert!(rules.iter().all(|rule| rule.to_string().len() <= merge::MAX_PATTERN_BYTES));
        let (triggers, merged): (Vec<_>, Vec<_>) = (patterns.iter().map(parse).collect(), rules.iter().map(parse).collect());
        for event in &events {
            let matches = |all: &[Pattern]| all.iter().any(|pattern| pattern.matches(event));
            prop_assert_eq!(matches(&triggers), matches(&merged), "{} by {:?} as {:?}", event, patterns, rules);
        }
        // The order in which triggers stand in the configuration changes nothing.
        patterns.reverse();
        prop_assert_eq!(merge::merged(&patterns.iter().collect::<Vec<_>>()).expect("rules"), rules);
    }
}
