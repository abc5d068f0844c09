//! Event patterns: what is taken, what is refused, and where the refusal points.

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
    let pattern_value: Value = serde_json::from_str(pattern).expect("the case's pattern is JSON");
    let event_value: Value = serde_json::from_str(event).expect("the case's event is JSON");
    let found = match Pattern::parse(&pattern_value) {
        Err(_) => Refused,
        Ok(pattern) if pattern.matches(&event_value) => Match,
        Ok(_) => NoMatch,
    };
    assert_eq!(found, expected, "pattern {pattern} on event {event}");
}

fn check_refusal(pattern: &Value, path: &str, message_part: &str) {
    let error = Pattern::parse(pattern).expect_err("the pattern is refused");
    assert_eq!(error.path, path, "{pattern}: {error}");
    assert!(error.message.contains(message_part), "{pattern}: {error}");
}

/// Cases whose verdict is the one EventBridge gives.
const SERVICE_CASES: &[(&str, &str, Expected)] = &[
    // exact value in list
    (r#"{"source":["aws.ec2","aws.fis"]}"#, r#"{"source":"aws.fis"}"#, Match),
    (r#"{"source":["aws.ec2","aws.fis"]}"#, r#"{"source":"aws.fisx"}"#, NoMatch),
    (r#"{"source":["aws.ec2","aws.fis"]}"#, r#"{"source":["other","aws.ec2"]}"#, Match),
    // AND over fields
    (
        r#"{"source":["aws.ecs"],"detail":{"lastStatus":["STOPPED"]}}"#,
        r#"{"source":"aws.ecs","detail":{"lastStatus":"STOPPED"}}"#,
        Match,
    ),
    (
        r#"{"source":["aws.ecs"],"detail":{"lastStatus":["STOPPED"]}}"#,
        r#"{"source":"aws.ecs","detail":{"lastStatus":"RUNNING"}}"#,
        NoMatch,
    ),
    (r#"{"source":["aws.ecs"],"detail":{"lastStatus":["STOPPED"]}}"#, r#"{"source":"aws.ecs"}"#, NoMatch),
    // number spelling
    (r#"{"detail":{"code":[404]}}"#, r#"{"detail":{"code":404.0}}"#, Match),
    (r#"{"detail":{"code":[404]}}"#, r#"{"detail":{"code":"404"}}"#, NoMatch),
    (r#"{"detail":{"code":[404]}}"#, r#"{"detail":{"code":4.04e2}}"#, Match),
    // boolean and null
    (r#"{"dryRun":[false,null]}"#, r#"{"dryRun":false}"#, Match),
    (r#"{"dryRun":[false,null]}"#, r#"{"dryRun":null}"#, Match),
    (r#"{"dryRun":[false,null]}"#, r#"{"dryRun":"false"}"#, NoMatch),
    (r#"{"dryRun":[false,null]}"#, r#"{}"#, NoMatch),
    // empty string
    (r#"{"name":[""]}"#, r#"{"name":""}"#, Match),
    (r#"{"name":[""]}"#, r#"{"name":null}"#, NoMatch),
    // prefix
    (r#"{"time":[{"prefix":"2027-01-"}]}"#, r#"{"time":"2027-01-31T00:00:00Z"}"#, Match),
    (r#"{"time":[{"prefix":"2027-01-"}]}"#, r#"{"time":"2027-02-01T00:00:00Z"}"#, NoMatch),
    (r#"{"time":[{"prefix":"2027-01-"}]}"#, r#"{"time":202701}"#, NoMatch),
    // anything-but string
    (r#"{"state":[{"anything-but":"retired"}]}"#, r#"{"state":"active"}"#, Match),
    (r#"{"state":[{"anything-but":"retired"}]}"#, r#"{"state":"retired"}"#, NoMatch),
    (r#"{"state":[{"anything-but":"retired"}]}"#, r#"{"state":3}"#, Match),
    (r#"{"state":[{"anything-but":"retired"}]}"#, r#"{}"#, NoMatch),
    (r#"{"state":[{"anything-but":"retired"}]}"#, r#"{"state":["retired","active"]}"#, Match),
    // anything-but numbers
    (r#"{"n":[{"anything-but":[1,2]}]}"#, r#"{"n":1.0}"#, NoMatch),
    (r#"{"n":[{"anything-but":[1,2]}]}"#, r#"{"n":3}"#, Match),
    (r#"{"n":[{"anything-but":[1,2]}]}"#, r#"{"n":"1"}"#, Match),
    // anything-but prefix
    (r#"{"r":[{"anything-but":{"prefix":["sa-","me-"]}}]}"#, r#"{"r":"sa-east-1"}"#, NoMatch),
    (r#"{"r":[{"anything-but":{"prefix":["sa-","me-"]}}]}"#, r#"{"r":"ca-central-1"}"#, Match),
    // anything-but mixed list is an error
    (r#"{"s":[{"anything-but":["a",1]}]}"#, r#"{"s":"b"}"#, Refused),
    // anything-but empty prefix is an error
    (r#"{"s":[{"anything-but":{"prefix":""}}]}"#, r#"{"s":"b"}"#, Refused),
    // exists
    (r#"{"detail":{"error":[{"exists":true}]}}"#, r#"{"detail":{"error":""}}"#, Match),
    (r#"{"detail":{"error":[{"exists":true}]}}"#, r#"{"detail":{"error":{"msg":"x"}}}"#, NoMatch),
    (r#"{"detail":{"error":[{"exists":true}]}}"#, r#"{"detail":{"error":[]}}"#, NoMatch),
    // not exists
    (r#"{"detail":{"error":[{"exists":false}]}}"#, r#"{"detail":{"error":null}}"#, NoMatch),
    (r#"{"detail":{"error":[{"exists":false}]}}"#, r#"{"detail":{"error":{"msg":"x"}}}"#, Match),
    (r#"{"detail":{"error":[{"exists":false}]}}"#, r#"{"detail":{}}"#, Match),
    (r#"{"detail":{"error":[{"exists":false}]}}"#, r#"{}"#, Match),
    // not exists or value
    (r#"{"mode":[{"exists":false},"auto"]}"#, r#"{}"#, Match),
    (r#"{"mode":[{"exists":false},"auto"]}"#, r#"{"mode":"auto"}"#, Match),
    (r#"{"mode":[{"exists":false},"auto"]}"#, r#"{"mode":"manual"}"#, NoMatch),
    // array any element
    (r#"{"tags":["gold"]}"#, r#"{"tags":["silver","gold"]}"#, Match),
    (r#"{"tags":["gold"]}"#, r#"{"tags":[]}"#, NoMatch),
    (r#"{"tags":["gold"]}"#, r#"{"tags":[["gold"]]}"#, Match),
    // array consistency
    (
        r#"{"volumes":{"state":["in-use"],"encrypted":[false]}}"#,
        r#"{"volumes":[{"state":"in-use","encrypted":true},{"state":"available","encrypted":false}]}"#,
        NoMatch,
    ),
    (
        r#"{"volumes":{"state":["in-use"],"encrypted":[false]}}"#,
        r#"{"volumes":[{"state":"available","encrypted":true},{"state":"in-use","encrypted":false}]}"#,
        Match,
    ),
    // independent arrays
    (r#"{"a":{"k":["1"]},"b":{"k":["1"]}}"#, r#"{"a":[{"k":"1"}],"b":[{"k":"0"},{"k":"1"}]}"#, Match),
    (r#"{"a":{"k":["1"]},"b":{"k":["1"]}}"#, r#"{"a":[{"k":"1"}],"b":[]}"#, NoMatch),
    // dotted keys
    (r#"{"detail.user":["root"]}"#, r#"{"detail":{"user":"root"}}"#, Match),
    (r#"{"detail.user":["root"]}"#, r#"{"detail.user":"root"}"#, Match),
    (r#"{"detail.user":["root"]}"#, r#"{"detail":{"user":{"root":"root"}}}"#, NoMatch),
    // leaf vs object
    (r#"{"detail":["x"]}"#, r#"{"detail":{"x":"x"}}"#, NoMatch),
    (r#"{"detail":["x"]}"#, r#"{"detail":"x"}"#, Match),
    // empty pattern array is an error
    (r#"{"a":[]}"#, r#"{"a":[]}"#, Refused),
    // empty object is an error
    (r#"{"a":{}}"#, r#"{"a":{}}"#, Refused),
    // scalar instead of array is an error
    (r#"{"a":"b"}"#, r#"{"a":"b"}"#, Refused),
    // unknown operator is an error
    (r#"{"a":[{"startsWith":"b"}]}"#, r#"{"a":"b"}"#, Refused),
    // two operators in one object is an error
    (r#"{"a":[{"prefix":"b","suffix":"c"}]}"#, r#"{"a":"bc"}"#, Refused),
    // duplicate key: last wins
    (r#"{"a":["x"],"a":["y"]}"#, r#"{"a":"x"}"#, NoMatch),
    (r#"{"a":["x"],"a":["y"]}"#, r#"{"a":"y"}"#, Match),
    // unicode
    (r#"{"city":["München","東京"]}"#, r#"{"city":"M\u00fcnchen"}"#, Match),
    (r#"{"city":["München","東京"]}"#, r#"{"city":"Munchen"}"#, NoMatch),
    (r#"{"city":["München","東京"]}"#, r#"{"city":"東京"}"#, Match),
    // AWS Health style event
    (
        r#"{"source":["aws.health"],"detail":{"eventTypeCategory":["issue","scheduledChange"],"affectedEntities":{"entityValue":["i-2"],"tags":{"tier":["db"]}}}}"#,
        r#"{"source":"aws.health","detail-type":"AWS Health Event","region":"ap-southeast-2","detail":{"service":"EC2","eventTypeCategory":"scheduledChange","affectedEntities":[{"entityValue":"i-1","tags":{"tier":"web"}},{"entityValue":"i-2","tags":{"tier":"db"}}]}}"#,
        Match,
    ),
    (
        r#"{"source":["aws.health"],"detail":{"eventTypeCategory":["issue","scheduledChange"],"affectedEntities":{"entityValue":["i-2"],"tags":{"tier":["db"]}}}}"#,
        r#"{"source":"my.health","detail-type":"AWS Health Event","region":"ap-southeast-2","detail":{"service":"EC2","eventTypeCategory":"scheduledChange","affectedEntities":[{"entityValue":"i-1","tags":{"tier":"web"}},{"entityValue":"i-2","tags":{"tier":"db"}}]}}"#,
        NoMatch,
    ),
    // AWS Health style event, cross-element
    (
        r#"{"detail":{"affectedEntities":{"entityValue":["i-1"],"tags":{"tier":["db"]}}}}"#,
        r#"{"source":"aws.health","detail-type":"AWS Health Event","region":"ap-southeast-2","detail":{"service":"EC2","eventTypeCategory":"scheduledChange","affectedEntities":[{"entityValue":"i-1","tags":{"tier":"web"}},{"entityValue":"i-2","tags":{"tier":"db"}}]}}"#,
        NoMatch,
    ),
    // nested arrays
    (r#"{"m":{"v":[5]}}"#, r#"{"m":[[{"v":4}],[{"v":5}]]}"#, Match),
    (r#"{"m":{"v":[5]}}"#, r#"{"m":[[5]]}"#, NoMatch),
];

/// Patterns that EventBridge may accept and this version does not.
const UNSUPPORTED_CASES: &[(&str, &str, Expected)] = &[
    // prefix ignore case
    (r#"{"svc":[{"prefix":{"equals-ignore-case":"Pay"}}]}"#, r#"{"svc":"PAYments"}"#, Refused),
    // suffix
    (r#"{"key":[{"suffix":".tar.gz"}]}"#, r#"{"key":"backup/a.tar.gz"}"#, Refused),
    // equals-ignore-case
    (r#"{"env":[{"equals-ignore-case":"Staging"}]}"#, r#"{"env":"STAGING"}"#, Refused),
    // wildcard
    (r#"{"path":[{"wildcard":"/srv/*/logs/*.log"}]}"#, r#"{"path":"/srv/a/b/logs/x.log"}"#, Refused),
    // wildcard errors
    (r#"{"q":[{"wildcard":"x**"}]}"#, r#"{"q":"x"}"#, Refused),
    // anything-but suffix
    (r#"{"f":[{"anything-but":{"suffix":".bak"}}]}"#, r#"{"f":"db.bak"}"#, Refused),
    // anything-but ignore case
    (r#"{"s":[{"anything-but":{"equals-ignore-case":["Draft","void"]}}]}"#, r#"{"s":"DRAFT"}"#, Refused),
    // anything-but wildcard
    (r#"{"p":[{"anything-but":{"wildcard":"*/tmp/*"}}]}"#, r#"{"p":"/var/tmp/x"}"#, Refused),
    // numeric range
    (r#"{"lat":[{"numeric":[">=",250,"<",1000]}]}"#, r#"{"lat":250.0}"#, Refused),
    // numeric malformed
    (r#"{"v":[{"numeric":["<",10,">",1]}]}"#, r#"{"v":5}"#, Refused),
    // cidr v4
    (r#"{"ip":[{"cidr":"100.64.0.0/10"}]}"#, r#"{"ip":"100.127.255.255"}"#, Refused),
    // cidr /32 is an error
    (r#"{"ip":[{"cidr":"10.1.1.1/32"}]}"#, r#"{"ip":"10.1.1.1"}"#, Refused),
    // $or
    (
        r#"{"kind":["job"],"$or":[{"status":["FAILED"]},{"attempts":[{"numeric":[">",3]}]}]}"#,
        r#"{"kind":"job","status":"OK","attempts":4}"#,
        Refused,
    ),
    // $or with one branch is an error
    (r#"{"$or":[{"a":["b"]}]}"#, r#"{"a":"b"}"#, Refused),
    // autoscaling
    (
        r#"{"detail-type":[{"prefix":"EC2 Instance Terminate"}],"resources":[{"wildcard":"*autoScalingGroupName/web-*"}],"detail":{"Details":{"Availability Zone":[{"suffix":"a"}]},"Cause":[{"anything-but":["game day"]}]}}"#,
        r#"{"source":"aws.autoscaling","detail-type":"EC2 Instance Terminate Successful","resources":["arn:aws:autoscaling:eu-north-1:123456789012:autoScalingGroup:u:autoScalingGroupName/web-blue"],"detail":{"Cause":"drill","Details":{"Availability Zone":"eu-north-1a"},"StatusCode":"Complete","EC2InstanceId":"i-9"}}"#,
        Refused,
    ),
    // pipeline
    (
        r#"{"detail":{"state":["SUCCEEDED"],"stage":[{"equals-ignore-case":"PROD"}],"version":[7]}}"#,
        r#"{"source":"aws.codepipeline","detail":{"pipeline":"shop","state":"SUCCEEDED","version":7.0,"stage":"Prod"}}"#,
        Refused,
    ),
    // or across detail and envelope
    (
        r#"{"$or":[{"region":["eu-west-1"]},{"detail":{"stage":["Prod"],"version":[{"numeric":[">=",7]}]}}]}"#,
        r#"{"source":"aws.codepipeline","detail":{"pipeline":"shop","state":"SUCCEEDED","version":7.0,"stage":"Prod"}}"#,
        Refused,
    ),
];

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
    for (pattern, event, expected) in SERVICE_CASES.iter().chain(CORNER_CASES) {
        check(pattern, event, *expected);
    }
}

#[test]
fn operators_outside_the_subset_are_refused() {
    for (pattern, event, expected) in UNSUPPORTED_CASES {
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
    check_refusal(&json!({"a": ["x", {"wildcard": "*"}]}), "a[1]", "supported are exact values, `prefix`");
    check_refusal(&json!({"a": [{"startsWith": "x"}]}), "a[0]", "Unrecognized match type startsWith");
    check_refusal(&json!({"a": [{"prefix": "x", "exists": true}]}), "a[0]", "Only one key allowed");
    check_refusal(&json!({"d": {"$or": [{"a": [1]}, {"b": [1]}]}}), "d.$or", "`$or` is not supported");
    check_refusal(&json!({"a": [{"anything-but": {"suffix": "x"}}]}), "a[0]", "`suffix` is not supported");
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
