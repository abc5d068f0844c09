//! Bad input: patterns that must be refused, and events that nobody should send.

use firedrill::domain::pattern::{
    MAX_ALTERNATIVES, MAX_BRANCHES, MAX_EVENT_DEPTH, MAX_FIELDS, MAX_PATTERN_BYTES, Matcher, Pattern, UnreadableText,
};
use serde_json::{Map, Value, json};

fn pattern(text: &str) -> Pattern {
    Pattern::parse_text(text).unwrap_or_else(|error| panic!("{text}: {error} at `{}`", error.path))
}

/// What is said of a pattern that is refused.
fn refusal(text: &str) -> String {
    let error = Pattern::parse_text(text).expect_err("the pattern is refused");
    format!("`{}`: {}", error.path, error.message)
}

/// What is no pattern at all, or whose texts and exceptions are none.
const REFUSED: &[&str] = &[
    r#"["a"]"#,
    r#"{"a":["#,
    r#"{"a":["x"],}"#,
    r#"{"a":["\ud800"]}"#,
    r#"{"a":[01]}"#,
    r#"{"a":[1]} {"#,
    r#"{"a":[1e400]}"#,
    r#"{"a":[["x"]]}"#,
    r#"{"a":[{}]}"#,
    r#"{"a":[{"prefix":5}]}"#,
    r#"{"a":[{"prefix":{"suffix":"x"}}]}"#,
    r#"{"a":[{"suffix":{"equals-ignore-case":5}}]}"#,
    r#"{"a":[{"equals-ignore-case":["x"]}]}"#,
    r#"{"a":[{"exists":"true"}]}"#,
    r#"{"a":[{"exactly":5}]}"#,
    r#"{"a":[{"anything-but":[]}]}"#,
    r#"{"a":[{"anything-but":["x",1]}]}"#,
    r#"{"a":[{"anything-but":[true]}]}"#,
    r#"{"a":[{"anything-but":null}]}"#,
    r#"{"a":[{"anything-but":{"prefix":[]}}]}"#,
    r#"{"a":[{"anything-but":{"prefix":["x",""]}}]}"#,
    r#"{"a":[{"anything-but":{"suffix":1}}]}"#,
    r#"{"a":[{"anything-but":{"numeric":["=",1]}}]}"#,
];

/// Ranges, wildcards and `$or` that are none.
const REFUSED_RANGES: &[&str] = &[
    r#"{"a":[{"anything-but":{"prefix":"x","suffix":"y"}}]}"#,
    r#"{"a":[{"numeric":5}]}"#,
    r#"{"a":[{"numeric":[]}]}"#,
    r#"{"a":[{"numeric":[">","5"]}]}"#,
    r#"{"a":[{"numeric":["!=",5]}]}"#,
    r#"{"a":[{"numeric":["=",5,"<",6]}]}"#,
    r#"{"a":[{"numeric":[">",5,">",6]}]}"#,
    r#"{"a":[{"numeric":[">",5,"<"]}]}"#,
    r#"{"a":[{"numeric":[">",5,"<",6,7]}]}"#,
    r#"{"a":[{"numeric":[">=",5,"<=",5.0]}]}"#,
    r#"{"a":[{"cidr":"10.0.0.0"}]}"#,
    r#"{"a":[{"cidr":"10.0.0.0/+8"}]}"#,
    r#"{"a":[{"cidr":"10.0.0.0/32"}]}"#,
    r#"{"a":[{"cidr":"::/128"}]}"#,
    r#"{"a":[{"cidr":"host/8"}]}"#,
    r#"{"a":[{"wildcard":"a\\b"}]}"#,
    r#"{"a":[{"wildcard":"a**"}]}"#,
    r#"{"$or":{"a":["x"]}}"#,
    r#"{"$or":[]}"#,
    r#"{"$or":[{"a":["x"]},{}]}"#,
    r#"{"$or":[{"a":["x"]},"b"]}"#,
    r#"{"$or":[{"a":["x"]},{"b":{"prefix":["y"]}}]}"#,
];

fn refusals(patterns: &[&str]) -> String {
    patterns.iter().map(|text| format!("{text}\n    {}", refusal(text))).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_eventbridge_refuses_is_refused_in_its_words() {
    insta::assert_snapshot!(refusals(REFUSED), @r#####"
    ["a"]
        ``: Filter is not an object; a pattern must be an object
    {"a":[
        ``: not JSON at byte 6: expected a value
    {"a":["x"],}
        ``: not JSON at byte 11: expected a name in quotes
    {"a":["\ud800"]}
        ``: not JSON at byte 7: expected no surrogate without its other half
    {"a":[01]}
        ``: not JSON at byte 7: expected `,` or `]`
    {"a":[1]} {
        ``: not JSON at byte 10: expected nothing behind the value
    {"a":[1e400]}
        `a[0]`: a number outside the range of a double
    {"a":[["x"]]}
        `a[0]`: Match value must be String, number, true, false, or null
    {"a":[{}]}
        `a[0]`: Empty objects are not allowed
    {"a":[{"prefix":5}]}
        `a[0]`: prefix match pattern must be a string
    {"a":[{"prefix":{"suffix":"x"}}]}
        `a[0]`: Unsupported prefix pattern: suffix
    {"a":[{"suffix":{"equals-ignore-case":5}}]}
        `a[0]`: equals-ignore-case match pattern must be a string
    {"a":[{"equals-ignore-case":["x"]}]}
        `a[0]`: equals-ignore-case match pattern must be a string
    {"a":[{"exists":"true"}]}
        `a[0]`: exists match pattern must be either true or false.
    {"a":[{"exactly":5}]}
        `a[0]`: exact match pattern must be a string
    {"a":[{"anything-but":[]}]}
        `a[0]`: Inside anything but list, either all values are number or string, mixed type is not supported
    {"a":[{"anything-but":["x",1]}]}
        `a[0]`: Inside anything but list, either all values are number or string, mixed type is not supported
    {"a":[{"anything-but":[true]}]}
        `a[0]`: Inside anything but list, start|null|boolean is not supported.
    {"a":[{"anything-but":null}]}
        `a[0]`: Value of anything-but must be an array or single string/number value.
    {"a":[{"anything-but":{"prefix":[]}}]}
        `a[0]`: Empty arrays are not allowed
    {"a":[{"anything-but":{"prefix":["x",""]}}]}
        `a[0]`: Null prefix/suffix not allowed; every text begins and ends with it
    {"a":[{"anything-but":{"suffix":1}}]}
        `a[0]`: prefix/suffix match pattern must be a string
    {"a":[{"anything-but":{"numeric":["=",1]}}]}
        `a[0]`: Unsupported anything-but pattern: numeric
    "#####);
}

#[test]
fn ranges_wildcards_and_branches_are_refused_in_its_words_too() {
    insta::assert_snapshot!(refusals(REFUSED_RANGES), @r#####"
    {"a":[{"anything-but":{"prefix":"x","suffix":"y"}}]}
        `a[0]`: Only one key allowed in match expression
    {"a":[{"numeric":5}]}
        `a[0]`: Value of numeric must be an array.
    {"a":[{"numeric":[]}]}
        `a[0]`: Invalid member in numeric match: ]
    {"a":[{"numeric":[">","5"]}]}
        `a[0]`: Value of > must be numeric
    {"a":[{"numeric":["!=",5]}]}
        `a[0]`: Unrecognized numeric range operator: !=
    {"a":[{"numeric":["=",5,"<",6]}]}
        `a[0]`: Too many elements in numeric expression
    {"a":[{"numeric":[">",5,">",6]}]}
        `a[0]`: Bad numeric range operator: >
    {"a":[{"numeric":[">",5,"<"]}]}
        `a[0]`: Value of < must be numeric
    {"a":[{"numeric":[">",5,"<",6,7]}]}
        `a[0]`: Too many terms in numeric range expression
    {"a":[{"numeric":[">=",5,"<=",5.0]}]}
        `a[0]`: Bottom must be less than top
    {"a":[{"cidr":"10.0.0.0"}]}
        `a[0]`: Malformed CIDR, one '/' required
    {"a":[{"cidr":"10.0.0.0/+8"}]}
        `a[0]`: Malformed CIDR, mask bits must be an integer
    {"a":[{"cidr":"10.0.0.0/32"}]}
        `a[0]`: IPv4 mask bits must be < 32
    {"a":[{"cidr":"::/128"}]}
        `a[0]`: IPv6 mask bits must be < 128
    {"a":[{"cidr":"host/8"}]}
        `a[0]`: Invalid IP address: host
    {"a":[{"wildcard":"a\\b"}]}
        `a[0]`: Invalid escape character at pos 2; `\*` stands for a star, `\\` for a backslash, and `**` means no more than `*`
    {"a":[{"wildcard":"a**"}]}
        `a[0]`: Consecutive wildcard characters at pos 2; `\*` stands for a star, `\\` for a backslash, and `**` means no more than `*`
    {"$or":{"a":["x"]}}
        `$or`: It must be an Array followed with $or.
    {"$or":[]}
        `$or`: There must have at least 2 Objects in $or relationship.
    {"$or":[{"a":["x"]},{}]}
        `$or[1]`: Empty objects are not allowed
    {"$or":[{"a":["x"]},"b"]}
        `$or[1]`: Only JSON object is allowed in array of $or relationship.
    {"$or":[{"a":["x"]},{"b":{"prefix":["y"]}}]}
        `$or[1].b.prefix`: prefix is Ruler reserved fieldName which cannot be used inside $or.
    "#####);
}

#[test]
fn patterns_are_bounded() {
    let many = |count: usize| (0..count).map(|n| (format!("f{n}"), json!([n]))).collect::<Map<_, _>>();
    assert!(Pattern::parse(&Value::Object(many(MAX_FIELDS))).is_ok());
    assert!(refusal(&Value::Object(many(MAX_FIELDS + 1)).to_string()).contains("more than 256 fields"));
    let values = |count: usize| json!({"a": (0..count).collect::<Vec<_>>()}).to_string();
    assert!(Pattern::parse_text(&values(MAX_ALTERNATIVES)).is_ok());
    assert!(refusal(&values(MAX_ALTERNATIVES + 1)).contains("4097 alternatives, more than 4096"));
    let large = json!({"a": ["x".repeat(MAX_PATTERN_BYTES)]}).to_string();
    assert!(refusal(&large).contains("more than 65536 are not read"));
    let ors = |count: usize| {
        let branches = |n: usize| (0..10).map(|m| json!({format!("f{n}"): [m]})).collect::<Vec<_>>();
        (0..count).rev().fold(json!({"z": [1]}), |inner, n| json!({format!("p{n}"): inner, "$or": branches(n)}))
    };
    assert!(Pattern::parse(&ors(3)).is_ok(), "{MAX_BRANCHES} combinations");
    assert!(refusal(&ors(4).to_string()).contains("`$or` makes more than 1000 combinations"));
    let wide = json!({"$or": (0..=MAX_BRANCHES).map(|n| json!({"a": [n]})).collect::<Vec<_>>()});
    assert!(refusal(&wide.to_string()).contains("more than 1000 combinations"));
    let deep = format!("{}[1]{}", r#"{"$or":[{"b":[1]},"#.repeat(200), "]}".repeat(200));
    assert!(refusal(&deep).contains("nested deeper than 100 levels"));
    assert!(refusal(&"[".repeat(60_000)).contains("nested deeper than 100 levels"));
}

#[test]
fn what_eventbridge_would_not_take_is_warned_of() {
    let warned = |text: &str| pattern(text).warnings().join("\n");
    assert_eq!(
        warned(r#"{"a":[{"wildcard":"*:stack/1/*"},{"wildcard":"*:stack/2/*"},{"wildcard":"*:stack/3/*"}]}"#),
        ""
    );
    let complex = warned(r#"{"r":[{"wildcard":"*:*:*:*:*:event-bus/*"}]}"#);
    assert!(complex.contains("the wildcards of `r` have a complexity of about 11"), "{complex}");
    let twice = warned(r#"{"a":["x"],"$or":[{"a":["y"]},{"b":["z"]}]}"#);
    assert!(twice.contains("`a` is named more than once; the last one counts"), "{twice}");
    let sized = |count: usize| json!({"a": ["x".repeat(count)]}).to_string();
    assert!(warned(&sized(2_048)).contains("EventBridge takes 2048 in a pattern unless the quota is raised"));
    assert!(warned(&sized(4_096)).contains("EventBridge takes at most 4096 in a pattern"));
}

/// What is said of an event.
fn verdict(pattern_text: &str, event: &str) -> Result<bool, UnreadableText> {
    let single = pattern(pattern_text);
    let verdict = single.matches_text(event);
    assert_eq!(single.explain(event).map(|explained| explained.to_string() == "the event matches"), verdict, "{event}");
    verdict
}

#[test]
fn events_that_are_no_objects_are_unreadable() {
    for event in
        ["", " ", "{", r#"{"a""#, r#"{"a":"#, r#"{"a":1"#, r#"{"a":1,}"#, r#"{"a":1}x"#, r#"{"a":1}}"#, "nul", "'a'"]
    {
        assert!(matches!(verdict(r#"{"a":[1]}"#, event), Err(UnreadableText::NotJson { .. })), "{event}");
    }
    for event in ["[]", r#"[{"a":1}]"#, r#""a""#, "1", "null", " true"] {
        assert_eq!(verdict(r#"{"a":[1]}"#, event), Err(UnreadableText::NotAnObject), "{event}");
    }
    for broken in [
        r#""x"#,
        r#""\q""#,
        r#""\u12g4""#,
        "\"\u{1}\"",
        "01",
        "1.",
        "-",
        "+1",
        "1e",
        ".5",
        "tru",
        "nulll",
        "[1",
        "[1,]",
        "{\"b\":}",
    ] {
        let event = format!(r#"{{"a":{broken}}}"#);
        assert!(verdict(r#"{"a":{"b":[1]},"a.c":[1],"a":[2]}"#, &event).is_err(), "looked at: {event}");
        if broken.starts_with('"') {
            assert!(verdict(r#"{"z":[1]}"#, &event).is_err(), "skipped: {event}");
        }
    }
    for event in [r#"{"b":{"c":[1,{"d":"}"}"#, r#"{"b":["#, r#"{"b":"x}"#, r#"{"b":}"#, r#"{"b" 1}"#, r#"{b:1}"#] {
        assert!(verdict(r#"{"a":[1]}"#, event).is_err(), "skipped: {event}");
    }
}

#[test]
fn odd_events_are_decided() {
    let cases = [
        // Of a name that comes twice the last one counts, escaped or not, at every depth.
        (r#"{"a":["x"]}"#, r#"{"a":"x","a":"y"}"#, false),
        (r#"{"a":["y"]}"#, r#"{"a":"x","\u0061":"y"}"#, true),
        (r#"{"a":[{"exists":false}]}"#, r#"{"a":[{"b":1}],"a":{}}"#, true),
        (r#"{"a":{"b":[1]}}"#, r#"{"a":{"b":1},"a":{"c":2}}"#, false),
        (r#"{"a":{"b":[1],"c":[2]}}"#, r#"{"a":[{"b":1,"c":2,"c":3}],"a":[{"c":0,"b":1,"c":2}]}"#, true),
        (r#"{"a.b":[2]}"#, r#"{"a.b":1,"a":{"b":1},"a.b":2}"#, true),
        (r#"{"a.b":[3]}"#, r#"{"a.b":3,"a":{"b":1},"a.b":2}"#, false),
        // A surrogate without its other half is a value like any other, and equal to no text.
        (r#"{"a":[{"exists":true}]}"#, r#"{"a":"\ud800"}"#, true),
        (r#"{"a":["\ufffd"]}"#, r#"{"a":"\ud800"}"#, false),
        (r#"{"a":[{"prefix":"x"}]}"#, r#"{"a":"x\udc00\ud800y"}"#, true),
        (r#"{"a":[{"suffix":{"equals-ignore-case":"Y"}}]}"#, r#"{"a":"\ud800y"}"#, true),
        (r#"{"a":[{"equals-ignore-case":"\ufffd"}]}"#, r#"{"a":"\ud800"}"#, false),
        (r#"{"a":["😀"]}"#, r#"{"a":"\ud83d\ude00"}"#, true),
        // Numbers that no double is equal to are equal to their own digits.
        (r#"{"a":[9007199254740993]}"#, r#"{"a":9007199254740993}"#, true),
        (r#"{"a":[9007199254740993]}"#, r#"{"a":9007199254740992}"#, false),
        (r#"{"a":[123456789012345678901234567890]}"#, r#"{"a":123456789012345678901234567890}"#, true),
        (r#"{"a":[123456789012345678901234567890]}"#, r#"{"a":123456789012345678901234567891}"#, false),
        (r#"{"a":[{"numeric":[">",9007199254740992]}]}"#, r#"{"a":9007199254740993}"#, true),
        (r#"{"a":[{"numeric":["<",0.1]}]}"#, r#"{"a":0.09999999999999999999999}"#, true),
        (r#"{"a":[{"numeric":[">",1e300]}]}"#, r#"{"a":1e400}"#, true),
        (r#"{"a":[{"numeric":["<",-5]}]}"#, r#"{"a":-1e999999999999999999999}"#, true),
        (r#"{"a":[{"anything-but":0}]}"#, r#"{"a":1e-400}"#, true),
        (r#"{"a":[0]}"#, r#"{"a":-0.0e9}"#, true),
        // Names with dots, and empty ones.
        (r#"{"a":{"b.c":[1]}}"#, r#"{"a.b":{"c":1}}"#, true),
        (r#"{"":[1]}"#, r#"{"":1}"#, true),
        (r#"{"a":{"":[1]}}"#, r#"{"a.":1}"#, true),
        (r#"{"a":{"":{"":[1]}}}"#, r#"{"a":{".":1}}"#, true),
        // The artefacts of event-ruler are not ours.
        (r#"{"a":["10.0.0.1"]}"#, r#"{"a":"::ffff:a00:1"}"#, false),
        (r#"{"a":["10.0.0.1"]}"#, r#"{"a":"010.0.0.1"}"#, false),
        (r#"{"a":[{"cidr":"::/0"}]}"#, r#"{"a":"10.0.0.1"}"#, false),
        (r#"{"a":[{"cidr":"0.0.0.0/0"}]}"#, r#"{"a":1}"#, false),
        (r#"{"a":[{"cidr":"10.0.0.0/8"}]}"#, r#"{"a":"10.2.3.999"}"#, false),
        (r#"{"a":[{"cidr":"2001:DB8::/32"}]}"#, r#"{"a":"2001:db8:0:0::1"}"#, true),
        (r#"{"a":[{"equals-ignore-case":"𐐀"}]}"#, r#"{"a":"𐐨"}"#, true),
        (r#"{"a":[{"equals-ignore-case":"ΣΑΣ"}]}"#, r#"{"a":"σας"}"#, true),
        // Whatever is skipped may look like something else.
        (r#"{"a":[1]}"#, r#"{"x":{"y":"}]\"}","z":["{",[[]],{"a":2}]},"a":1}"#, true),
    ];
    for (pattern, event, expected) in cases {
        assert_eq!(verdict(pattern, event), Ok(expected), "{pattern} on {event}");
    }
}

#[test]
fn where_values_are_skipped_their_form_is_of_no_account() {
    for filler in ["", "\\\\", "\\\"", "{", "}}", "[", "é", "\\\\\\\""] {
        for length in 0..140 {
            let text = format!("{}{filler}{}", "x".repeat(length), "y".repeat(length % 7));
            let event = format!(r#"{{"skipped":{{"k":["{text}",{{"{text}":[1,"]"]}}]}},"a":1}}"#);
            assert_eq!(verdict(r#"{"a":[1]}"#, &event), Ok(true), "{event}");
            let cut = &event[..event.len() - 8];
            assert!(verdict(r#"{"a":[1]}"#, cut).is_err(), "{cut}");
        }
    }
}

#[test]
fn depth_is_bounded_where_it_is_looked_at() {
    let nested = |depth: usize| format!(r#"{{"a":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert_eq!(verdict(r#"{"a":[1]}"#, &nested(MAX_EVENT_DEPTH - 1)), Ok(true));
    assert_eq!(verdict(r#"{"a":[1]}"#, &nested(100_000)), Err(UnreadableText::TooDeep));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    assert_eq!(verdict(r#"{"a":{"b":[1]}}"#, &objects), Ok(false), "what is skipped has no depth");
    assert_eq!(verdict(r#"{"b":[{"exists":false}]}"#, &nested(100_000)), Ok(true));
}

#[test]
fn hostile_events_cost_no_product() {
    // A million values, each asked for by several alternatives and fields.
    let numbers = format!(r#"{{"a":[{}0]}}"#, "1,".repeat(1_000_000));
    let wanted = r#"{"a":["x",{"prefix":"y"},{"numeric":[">",5]},{"wildcard":"*z*"},2]}"#;
    assert_eq!(pattern(wanted).matches_text(&numbers), Ok(false));
    // Elements of arrays, none of which holds all that is wanted.
    let rows: String = (0..20_000).map(|n| format!(r#"{{"x":{n},"y":{},"z":[{{"w":{n}}}]}},"#, n + 1)).collect();
    let event = format!(r#"{{"a":[{rows}1],"b":[{rows}1]}}"#);
    let wanted = r#"{"a":{"x":[7],"y":[7],"z":{"w":[7]}},"b":{"x":[7],"y":[8],"z":{"w":[9]}}}"#;
    assert_eq!(pattern(wanted).matches_text(&event), Ok(false));
    // A name that comes again and again, and so do the values forgotten with it.
    let again = format!("{{{}\"a\":0}}", r#""a":[{"b":1}],"a.b":2,"#.repeat(30_000));
    assert_eq!(pattern(r#"{"a":[0],"a.b":[2]}"#).matches_text(&again), Ok(true));
    // A wildcard that a search with steps back would never end.
    let text = "ab".repeat(100_000);
    let wanted = format!(r#"{{"a":[{{"wildcard":"{}c"}}]}}"#, "*ab".repeat(500));
    assert_eq!(pattern(&wanted).matches_text(&format!(r#"{{"a":"{text}"}}"#)), Ok(false));
    // Long values, and many texts that they might begin or end with, in whichever case.
    let operators = ["prefix", "suffix"].map(|operator| {
        let wanted = (0..1_000).map(|n| format!(r#"{{"{operator}":{{"equals-ignore-case":"É{n}"}}}}"#));
        pattern(&format!(r#"{{"a":[{}]}}"#, wanted.collect::<Vec<_>>().join(",")))
    });
    let long = "é".repeat(120_000);
    for (own, (begin, end)) in [("é999é", ""), ("", "É999")].into_iter().enumerate() {
        let event = format!(r#"{{"a":"{begin}{long}{end}"}}"#);
        assert_eq!(operators[own].matches_text(&event), Ok(true));
        assert_eq!(operators[1 - own].matches_text(&event), Ok(false));
    }
    // A number of a million digits.
    let digits = "9".repeat(1_000_000);
    let wanted = r#"{"a":[1,{"anything-but":2},{"numeric":["<",3]}]}"#;
    assert_eq!(pattern(wanted).matches_text(&format!(r#"{{"a":{digits}}}"#)), Ok(true));
}

#[test]
fn one_value_that_leads_to_many_patterns_is_followed_once() {
    let patterns: Vec<Pattern> =
        (0..1_000).map(|n| pattern(&format!(r#"{{"a":["x","y"],"b":{{"c":[{{"numeric":[">",{n}]}}]}}}}"#))).collect();
    let matcher = Matcher::new(&patterns);
    let event = format!(r#"{{"a":[{}"y"],"b":[{}{{"c":5}}]}}"#, r#""x","#.repeat(50_000), r#"{"c":1},"#.repeat(1_000));
    assert_eq!(matcher.matching(&event), Ok((0..5).collect()));
}
