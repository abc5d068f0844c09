//! Cost: action-minutes, the price, money without drift, and what AWS bills in the end.

use firedrill::domain::{
    cost::{self, Budget, Cost, Usd, UsdError},
    experiment::{EstimateKind, Experiment, Place},
    fis::FisStatus,
    template::TemplateFacts,
};
use jiff::SignedDuration;
use proptest::prelude::*;

use super::{action, automation, template, wait};
use crate::support::{runs, world::experiment};

fn cost(facts: &TemplateFacts) -> Cost {
    cost::cost(&experiment(), facts, &Budget::default())
}

fn shown(cost: Cost) -> (Option<u64>, String) {
    (cost.action_minutes, cost.most_usd().to_string())
}

#[test]
fn worked_example_of_aws_costs_five_dollars() {
    // Two actions beside each other for twenty minutes, then one for ten.
    let facts = template(vec![wait("PT20M", &[]), wait("PT20M", &[]), wait("PT10M", &["a"])]);
    assert_eq!(shown(cost(&facts)), (Some(50), "5.00".to_owned()));
    assert_eq!(cost(&facts).usd(), Some(Usd::from_cents(500)));
}

#[test]
fn each_action_is_rounded_up_to_the_minute() {
    for (seconds, minutes) in [(1, 1), (59, 1), (60, 1), (61, 2), (90, 2), (3_600, 60)] {
        let facts = template(vec![wait(&format!("PT{seconds}S"), &[]), wait("PT0S", &[])]);
        assert_eq!(cost(&facts).action_minutes, Some(minutes), "{seconds}");
    }
    assert_eq!(shown(cost(&template(Vec::new()))), (Some(0), "0.00".to_owned()));
}

#[test]
fn every_account_is_billed_and_no_accounts_mean_the_own_one() {
    let facts = template(vec![wait("PT10M", &[])]);
    for (target_accounts, minutes) in [(0, 10), (1, 10), (3, 30)] {
        let facts = TemplateFacts { target_accounts, ..facts.clone() };
        assert_eq!(cost(&facts).action_minutes, Some(minutes), "{target_accounts}");
    }
}

#[test]
fn action_of_unknown_length_costs_at_most_what_the_experiment_may_last() {
    // `probe` may last an hour.
    let facts = template(vec![action("aws:new:thing", &[], &[]), wait("PT10M", &[]), wait("PT5H", &[])]);
    let cost = cost(&facts);
    assert_eq!((cost.action_minutes, cost.usd()), (None, None));
    assert_eq!((cost.most_action_minutes, cost.most_usd().to_string()), (130, "13.00".to_owned()));
}

#[test]
fn chosen_estimate_is_what_is_paid_for() {
    let facts = template(vec![automation("PT40M", r#"{"duration": "PT10M"}"#, &[])]);
    for (estimate, minutes) in [(EstimateKind::Ceiling, 40), (EstimateKind::Nominal, 10), (EstimateKind::Learned, 40)] {
        let declared = Experiment { estimate, ..experiment() };
        assert_eq!(cost::cost(&declared, &facts, &Budget::default()).action_minutes, Some(minutes), "{estimate:?}");
    }
}

#[test]
fn price_is_that_of_the_region_unless_it_is_configured() {
    let silent = Budget::default();
    let budget = Budget { price_per_action_minute: Some(Usd::from_micros(83_333)), ..silent };
    let price = |region, budget| cost::price(budget, region).to_string();
    assert_eq!(price(None, &silent), "0.10");
    assert_eq!(price(Some("eu-west-1"), &silent), "0.10");
    assert_eq!(price(Some("us-gov-west-1"), &silent), "0.12");
    assert_eq!(price(Some("us-gov-west-1"), &budget), "0.083333");
    let gov = Some("us-gov-east-1".to_owned());
    let facts = template(vec![wait("PT10M", &[])]);
    let read = TemplateFacts { region: gov.clone(), ..facts.clone() };
    assert_eq!(cost(&read).most_usd().to_string(), "1.20");
    let declared = Experiment { place: Place { region: gov, ..Place::default() }, ..experiment() };
    assert_eq!(cost::cost(&declared, &facts, &Budget::default()).most_usd().to_string(), "1.20");
}

#[test]
fn absurd_lengths_saturate() {
    let facts = template(vec![wait(&format!("PT{}S", i64::MAX), &[])]);
    let facts = TemplateFacts { target_accounts: u64::MAX, ..facts };
    assert_eq!(cost(&facts).most_usd(), Usd::from_micros(u64::MAX));
    let longest = Experiment { max_duration: SignedDuration::MAX, ..experiment() };
    assert!(cost::cost(&longest, &facts, &Budget::default()).most_action_minutes > 0);
}

#[test]
fn amounts_are_read_and_shown_exactly() {
    for (text, micros, shown) in [
        ("500", 500_000_000, "500.00"),
        ("0.10", 100_000, "0.10"),
        ("24.8", 24_800_000, "24.80"),
        ("0.083333", 83_333, "0.083333"),
        ("0.1000000000", 100_000, "0.10"),
        ("007", 7_000_000, "7.00"),
        ("18446744073709.551615", u64::MAX, "18446744073709.551615"),
    ] {
        let read: Usd = text.parse().expect("an amount");
        assert_eq!((read.micros(), read.to_string().as_str()), (micros, shown), "{text}");
    }
    for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,50", " 1", "$1", "1.2.3", "\u{665}"] {
        assert!(matches!(text.parse::<Usd>(), Err(UsdError::NotAnAmount { .. })), "{text}");
    }
    assert!(matches!("0.0000001".parse::<Usd>(), Err(UsdError::TooFine { .. })));
    assert!(matches!("18446744073709.551616".parse::<Usd>(), Err(UsdError::TooMuch { .. })));
}

#[test]
fn ended_experiment_is_billed_to_the_nearest_minute() {
    // Five minutes and a third of a second; a millisecond; and one that never began.
    assert_eq!(cost::billed_minutes(&runs::fis(FisStatus::Completed)), 5);
    let lasting = |seconds: i64| {
        let mut fis = runs::fis(FisStatus::Completed);
        fis.actions.retain(|name, _| name == "latency");
        let action = fis.actions.get_mut("latency").expect("it");
        action.ended_at = action.started_at.map(|at| at + SignedDuration::from_secs(seconds));
        cost::billed_minutes(&fis)
    };
    for (seconds, minutes) in [(-5, 0), (0, 0), (29, 0), (30, 1), (89, 1), (90, 2)] {
        assert_eq!(lasting(seconds), minutes, "{seconds}");
    }
}

proptest! {
    #![proptest_config(crate::support::chance::cases(256))]

    #[test]
    fn amounts_survive_being_shown(micros: u64) {
        let amount = Usd::from_micros(micros);
        prop_assert_eq!(amount.to_string().parse(), Ok(amount));
    }

    /// A run whose actions last as estimated or less is never billed more than was foreseen.
    #[test]
    fn forecast_is_never_below_the_bill(lengths in prop::collection::vec((1_i64..7_200, 0_i64..=100), 1..6)) {
        let waits = lengths.iter().map(|(seconds, _)| wait(&format!("PT{seconds}S"), &[])).collect();
        let declared = Experiment { max_duration: SignedDuration::from_hours(12), ..experiment() };
        let foreseen = cost::cost(&declared, &template(waits), &Budget::default()).most_action_minutes;
        let mut fis = runs::fis(FisStatus::Completed);
        let one = fis.actions.remove("latency").expect("it");
        fis.actions.clear();
        for (number, (seconds, percent)) in lengths.iter().enumerate() {
            let length = SignedDuration::from_secs(seconds * percent / 100);
            let ended_at = one.started_at.map(|at| at + length);
            fis.actions.insert(number.to_string(), firedrill::domain::fis::FisAction { ended_at, ..one.clone() });
        }
        prop_assert!(cost::billed_minutes(&fis) <= foreseen);
    }
}
