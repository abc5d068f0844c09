//! Many patterns and made-up events: what the naive matcher says is what ours says, alone and among others.

use firedrill::domain::pattern::{Matcher, Pattern};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{agree, generated::Source, naive::Naive};

/// Rounds with fixed seeds; each asks six patterns of an event and once more of what is left of it after a few changes.
const ROUNDS: u64 = 1_500;

#[test]
fn naive_matcher_agrees_on_made_up_events() {
    let matched: usize = (0..ROUNDS).map(|seed| agree::check(&mut Source::seeded(seed))).sum();
    let share = 100 * matched / (6 * usize::try_from(ROUNDS).expect("a number"));
    assert!((40..=65).contains(&share), "{share} of a hundred match: one verdict tells too little");
}

proptest! {
    #![proptest_config(crate::support::chance::cases(256))]

    #[test]
    fn naive_matcher_agrees_whatever_the_choices(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        agree::check(&mut Source::of(&bytes));
    }
}

/// Rules such as triggers have, of every kind of condition that leads to an index or past it.
fn rules(source: &mut Source<'_>, count: usize) -> Vec<Value> {
    let rule = |_| {
        let mut detail = json!({"service": [format!("svc-{}", source.below(40))]});
        match source.below(6) {
            0 => detail["state"] = json!([{"anything-but": ["OK", "ALARM"]}]),
            1 => detail["count"] = json!([{"numeric": [">=", source.below(900), "<", 1_000]}]),
            2 => detail["tags"] = json!({"Key": ["ready"], "Value": ["true"]}),
            3 => detail["rollback"] = json!([{"exists": source.below(2) == 0}]),
            4 => detail["$or"] = json!([{"state": ["OK"]}, {"count": [{"numeric": ["<", 100]}]}]),
            _other => detail["service"] = json!([{"prefix": format!("svc-{}", source.below(4))}]),
        }
        json!({"source": [format!("app.{}", source.below(8))], "detail": detail})
    };
    (0..count).map(rule).collect()
}

fn happening(source: &mut Source<'_>) -> Value {
    let truth = |source: &mut Source<'_>| if source.below(2) == 0 { "true" } else { "false" };
    let tags = [json!({"Key": "name", "Value": truth(source)}), json!({"Key": "ready", "Value": truth(source)})];
    let state = ["OK", "ALARM", "RUNNING"][source.below(3)];
    let mut detail = json!({
        "service": format!("svc-{}", source.below(40)),
        "state": state,
        "count": source.below(1_000),
        "tags": &tags[source.below(2)..],
    });
    if source.below(4) == 0 {
        detail["rollback"] = json!("alarm");
    }
    json!({"source": format!("app.{}", source.below(8)), "detail-type": "Happening", "detail": detail})
}

#[test]
fn totals_over_many_rules_are_those_of_the_naive_matcher() {
    let mut source = Source::seeded(7);
    let rules = rules(&mut source, 1_000);
    let events: Vec<Value> = (0..200).map(|_| happening(&mut source)).collect();
    let naive: Vec<Naive> = rules.iter().map(Naive::new).collect();
    for count in [1, 10, 100, 1_000] {
        let patterns: Vec<Pattern> = rules[..count].iter().map(|rule| Pattern::parse(rule).expect("a rule")).collect();
        let matcher = Matcher::new(&patterns);
        for event in &events {
            let wanted: Vec<usize> = (0..count).filter(|own| naive[*own].matches(event)).collect();
            assert_eq!(matcher.matching(&event.to_string()), Ok(wanted), "{count} rules, {event}");
        }
    }
}

#[test]
fn one_matcher_serves_many_threads() {
    let mut source = Source::seeded(8);
    let patterns: Vec<Pattern> =
        rules(&mut source, 200).iter().map(|rule| Pattern::parse(rule).expect("a rule")).collect();
    let matcher = Matcher::new(&patterns);
    let events: Vec<String> = (0..200).map(|_| happening(&mut source).to_string()).collect();
    let alone: Vec<_> = events.iter().map(|event| matcher.matching(event)).collect();
    std::thread::scope(|scope| {
        let ask = || events.iter().map(|event| matcher.matching(event)).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        for thread in threads {
            assert_eq!(thread.join().expect("no panic"), alone);
        }
    });
    let none = Matcher::new([]);
    assert_eq!(none.matching("{}"), Ok(Vec::new()));
    assert!(none.matching("{").is_err());
}
