//! Event patterns: what is taken, what is refused, and where the refusal points.

pub mod agree;
mod bad;
pub mod generated;
mod many;
mod naive;

use firedrill::domain::pattern::{MAX_DEPTH, Pattern};
use proptest::prelude::*;
use serde_json::{Value, json};

/// What a case expects of a pattern and an event.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Expected {
    Match,
    NoMatch,
    Refused,
}
use Expected::{Match, NoMatch, Refused};

fn check(pattern: &str, event: &str, expected: Expected) {
    let found = match Pattern::parse_text(pattern) {
        Err(_) => Refused,
        Ok(pattern) if pattern.matches_text(event).unwrap_or(false) => Match,
        Ok(_) => NoMatch,
    };
    assert_eq!(found, expected, "pattern {pattern} on event {event}");
}

fn check_refusal(pattern: &Value, path: &str, message_part: &str) {
    let error = Pattern::parse(pattern).expect_err("the pattern is refused");
    assert_eq!(error.path, path, "{pattern}: {error}");
    assert!(error.message.contains(message_part), "{pattern}: {error}");
}

/// Cases and their verdicts, which are EventBridge's.
const PUBLIC: &str = include_str!("pattern/public.jsonl");

/// Corners of our own.
const CORNER_CASES: &[(&str, &str, Expected)] = &[
    // the same path twice in an event, spelled with and without a dot
    (r#"{"a.b":["x"]}"#, r#"{"a":{"b":"y"},"a.b":"x"}"#, Match),
    (r#"{"a":{"b":["z"]}}"#, r#"{"a":{"b":"y"},"a.b":"x"}"#, NoMatch),
    (r#"{"a.b":[{"exists":false}]}"#, r#"{"a":{"c":1},"a.b":2}"#, NoMatch),
    // absence is judged in the element that the other fields chose
    (r#"{"a":{"x":[1],"y":[{"exists":false}]}}"#, r#"{"a":[{"x":1},{"x":2,"y":3}]}"#, Match),
    (r#"{"a":{"x":[2],"y":[{"exists":false}]}}"#, r#"{"a":[{"x":1},{"x":2,"y":3}]}"#, NoMatch),
    (r#"{"a":{"z":[1],"y":[{"exists":false}]}}"#, r#"{"a":[{"z":1},{"z":2,"y":3}]}"#, Match),
    (r#"{"a":{"y":[{"exists":false}]}}"#, r#"{"a":[{"x":1},{"x":2,"y":3}]}"#, NoMatch),
    (r#"{"a":{"y":[{"exists":false}]}}"#, r#"{"a":[{"x":1},{"x":2}]}"#, Match),
    // consistency at two levels
    (r#"{"a":{"n":[1],"b":{"x":[1],"y":[2]}}}"#, r#"{"a":[{"n":1,"b":[{"x":1,"y":0},{"x":1,"y":2}]}]}"#, Match),
    (r#"{"a":{"n":[1],"b":{"x":[1],"y":[2]}}}"#, r#"{"a":[{"n":1,"b":[{"x":1},{"y":2}]}]}"#, NoMatch),
    (r#"{"a":{"n":[1],"b":{"x":[1]}}}"#, r#"{"a":[{"n":1,"b":[{"x":0}]},{"n":2,"b":[{"x":1}]}]}"#, NoMatch),
    // scalars in an array bind no element
    (r#"{"a":["s"],"a.x":[1]}"#, r#"{"a":["s",{"x":1}]}"#, Match),
    (r#"{"a":["s"],"a.x":[1],"a.y":[2]}"#, r#"{"a":["s",{"x":1},{"y":2}]}"#, NoMatch),
    (r#"{"a":["gold"]}"#, r#"{"a":["tin",["gold"]]}"#, Match),
    // numbers by value, never by text
    (r#"{"n":[9007199254740993]}"#, r#"{"n":9007199254740992}"#, NoMatch),
    (r#"{"n":[9007199254740993]}"#, r#"{"n":9007199254740992.0}"#, NoMatch),
    (r#"{"n":[0]}"#, r#"{"n":-0.0}"#, Match),
    (r#"{"n":[0.5]}"#, r#"{"n":5e-1}"#, Match),
    (r#"{"n":[1e300]}"#, r#"{"n":1.0e300}"#, Match),
    // operators and types
    (r#"{"s":[{"prefix":""}]}"#, r#"{"s":""}"#, Match),
    (r#"{"s":[{"prefix":""}]}"#, r#"{"s":null}"#, NoMatch),
    (r#"{"s":[{"anything-but":["a","b"]}]}"#, r#"{"s":"b"}"#, NoMatch),
    (r#"{"s":[{"anything-but":"a"}]}"#, r#"{"s":{}}"#, NoMatch),
    (r#"{"s":[{"anything-but":{"prefix":"a"}}]}"#, r#"{"s":7}"#, Match),
    (r#"{"s":[{"anything-but":{"prefix":"a"}}]}"#, r#"{}"#, NoMatch),
    (r#"{"s":[{"anything-but":[]}]}"#, r#"{}"#, Refused),
    (r#"{"s":[{"anything-but":[true]}]}"#, r#"{}"#, Refused),
    (r#"{"s":[{"anything-but":null}]}"#, r#"{}"#, Refused),
    (r#"{"s":[{"anything-but":{"prefix":[]}}]}"#, r#"{}"#, Refused),
    (r#"{"s":[{"exists":"true"}]}"#, r#"{}"#, Refused),
    (r#"{"s":[{"prefix":5}]}"#, r#"{}"#, Refused),
    (r#"{"s":[["x"]]}"#, r#"{}"#, Refused),
    (r#"{"s":[{}]}"#, r#"{}"#, Refused),
    // operator names are ordinary names outside an alternative
    (r#"{"prefix":["x"],"exists":{"suffix":["y"]}}"#, r#"{"prefix":"x","exists":{"suffix":"y"}}"#, Match),
    // an event is an object
    (r#"{"a":[{"exists":false}]}"#, r#"[]"#, NoMatch),
    (r#"{"a":[{"exists":false}]}"#, r#""text""#, NoMatch),
];

#[test]
fn verdicts_are_those_of_the_service() {
    let cases: Vec<Value> = PUBLIC.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(cases.len(), 119);
    for case in cases {
        let text = |key: &str| case[key].as_str().expect("a text");
        let expected = match case["expect"].as_bool() {
            Some(true) => Match,
            Some(false) => NoMatch,
            None => Refused,
        };
        check(text("pattern"), text("event"), expected);
    }
}

#[test]
fn corners_are_decided() {
    for (pattern, event, expected) in CORNER_CASES {
        check(pattern, event, *expected);
    }
}

#[test]
fn refusals_point_at_the_place_and_say_what_is_known() {
    check_refusal(&json!([]), "", "must be an object");
    check_refusal(&json!({}), "", "Empty objects are not allowed");
    check_refusal(&json!({"detail": {"state": []}}), "detail.state", "Empty arrays are not allowed");
    check_refusal(&json!({"detail": {"state": {}}}), "detail.state", "Empty objects are not allowed");
    check_refusal(&json!({"detail": {"state": "x"}}), "detail.state", "\"state\" must be an object or an array");
    check_refusal(&json!({"a": ["x", {"wildcard": "**"}]}), "a[1]", "Consecutive wildcard characters at pos 1");
    check_refusal(&json!({"a": [{"startsWith": "x"}]}), "a[0]", "Unrecognized match type startsWith; operators are");
    check_refusal(&json!({"a": [{"prefix": "x", "exists": true}]}), "a[0]", "Only one key allowed");
    check_refusal(&json!({"d": {"$or": [{"a": [1]}]}}), "d.$or", "at least 2 Objects");
    check_refusal(&json!({"d": {"$or": [{"a": [1]}, {"b": []}]}}), "d.$or[1].b", "Empty arrays");
    check_refusal(&json!({"a": [{"anything-but": {"cidr": "x"}}]}), "a[0]", "Unsupported anything-but pattern: cidr");
}

#[test]
fn depth_is_bounded_in_patterns_and_events() {
    let nest = |depth: usize, inner: Value| (0..depth).fold(inner, |value, _| json!({"a": value}));
    assert!(Pattern::parse(&nest(MAX_DEPTH, json!([1]))).is_ok());
    assert!(Pattern::parse(&nest(MAX_DEPTH + 1, json!([1]))).is_err());
    let deep = (0..300).fold(json!(1), |value, _| json!([value]));
    let pattern = Pattern::parse(&json!({"a": [1]})).expect("a plain pattern");
    assert!(!pattern.matches(&json!({"a": deep})));
}

#[test]
fn many_array_elements_cost_no_product() {
    let rows: Vec<_> = (0..3_000).map(|n| json!({"x": n, "y": n + 1})).collect();
    let event = json!({"a": rows.clone(), "b": rows.clone(), "c": rows});
    let mut pattern = serde_json::Map::new();
    for name in ["a", "b", "c"] {
        pattern.insert(name.to_owned(), json!({"x": [{"exists": true}], "y": [{"anything-but": -1}]}));
    }
    pattern["c"] = json!({"x": [7], "y": [7]});
    let pattern = Pattern::parse(&Value::Object(pattern)).expect("a plain pattern");
    assert!(!pattern.matches(&event));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..3).prop_map(Value::from),
        "[a-c.]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("(a|b|a[.]b|prefix|exists|anything-but)", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(crate::support::chance::cases(256))]

    #[test]
    fn nothing_panics_and_a_scalar_field_matches_its_own_event(pattern in any_json(), event in any_json()) {
        if let Ok(parsed) = Pattern::parse(&pattern) {
            parsed.matches(&event);
        }
        let own = Pattern::parse(&json!({"a": {"b": ["v"]}})).expect("a plain pattern");
        let event = json!({"a": {"b": ["v", event]}});
        prop_assert!(own.matches(&event));
    }
}
