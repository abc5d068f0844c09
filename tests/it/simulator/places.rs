//! Places through the agent's own adapter: what the simulator's lever, list of experiments, alarms and identity become.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aws_sdk_cloudwatch::types::{ComparisonOperator, StateValue, Statistic};
use firedrill::{
    aws::{
        fis::AwsFis,
        place::identity,
        sdk::{CallKind, Places},
    },
    domain::{
        experiment::Place,
        ids::{RUN_TAG, RunId},
        lever::{Found, Stands},
        place::{AlarmState, PlaceFacts, Wanted},
    },
    engine::ports::{FaultInjector, StartRequest},
};

use super::*;
use crate::support::moto::Moto;

fn places() -> Places {
    Places::with_credentials(Credentials::new("simulator", "simulator", None, None, "test"))
}

fn adapter() -> AwsFis {
    AwsFis::new(Arc::new(places()))
}

fn place(url: String) -> Place {
    Place { region: Some("us-east-1".to_owned()), endpoint_url: Some(url), ..Place::default() }
}

async fn probe(world: &World, wanted: &Wanted) -> PlaceFacts {
    adapter().probe(&place(world.simulator.url()), wanted).await.expect("facts")
}

#[test]
fn the_lever_is_read_as_it_stands_with_its_reason() {
    simulated(fast(), async |world| {
        let read = async |world: &World| probe(world, &Wanted::default()).await.lever;
        assert_eq!(read(&world).await, Found { stands: Stands::Disengaged, reason: String::new() });
        let lever = json!({"state": {"status": "engaged", "reason": "incident 7"}});
        assert_eq!(world.wire.call("PATCH", "/safetyLevers/default/state", &lever).await.status, 200);
        let engaged = Found { stands: Stands::Engaged, reason: "incident 7".to_owned() };
        assert_eq!(read(&world).await, engaged);
        world
    });
}

#[test]
fn experiments_of_others_are_listed_while_they_are_active() {
    simulated(fast(), async |world| {
        let wanted = Wanted { active: true, ..Wanted::default() };
        assert_eq!(probe(&world, &wanted).await.active, Some(BTreeMap::new()));
        let draft = world.draft([wait("w", HOURS, &[])]);
        let template = draft.send().await.expect("accepted").experiment_template.and_then(|t| t.id).expect("an id");
        let here = place(world.simulator.url());
        let start = async |token: &str, tags: BTreeMap<String, String>| {
            let request = StartRequest { template_id: template.clone(), client_token: token.to_owned(), tags };
            adapter().start(&here, &request).await.expect("started").id
        };
        let other = start("a", BTreeMap::new()).await;
        let ours = start("b", BTreeMap::from([(RUN_TAG.to_owned(), "3f9c1d2e3f9c1d2e".to_owned())])).await;
        let run = Some(RunId::from_text("3f9c1d2e3f9c1d2e"));
        let both = BTreeMap::from([(other.clone(), None), (ours.clone(), run.clone())]);
        assert_eq!(probe(&world, &wanted).await.active, Some(both));
        adapter().stop(&here, &other).await.expect("stopped");
        world.until(&other, FisStatus::Stopped).await;
        assert_eq!(probe(&world, &wanted).await.active, Some(BTreeMap::from([(ours, run)])));
        assert_eq!(probe(&world, &Wanted::default()).await.active, None, "it was not asked");
        world
    });
}

#[test]
fn alarms_are_told_by_name_and_arn_and_missing_ones_are_missing() {
    simulated(fast(), async |world| {
        let here = place(world.simulator.url());
        let config = places().config(&here, CallKind::Short).await;
        let alarms = aws_sdk_cloudwatch::Client::new(&config);
        let put = alarms
            .put_metric_alarm()
            .alarm_name("errors")
            .namespace("shop")
            .metric_name("errors")
            .statistic(Statistic::Sum)
            .period(60)
            .evaluation_periods(1)
            .threshold(1.0)
            .comparison_operator(ComparisonOperator::GreaterThanThreshold);
        put.send().await.expect("an alarm");
        let arn = |region: &str| format!("arn:aws:cloudwatch:{region}:123456789012:alarm:errors");
        let names = ["errors".to_owned(), arn("us-east-1"), arn("eu-west-1"), "gone".to_owned()];
        let wanted = Wanted { alarms: BTreeSet::from(names.clone()), ..Wanted::default() };
        let read = async |state: AlarmState| {
            let told = probe(&world, &wanted).await.alarms;
            let states = names.clone().map(|name| told[&name].state.clone());
            assert_eq!(states, [state.clone(), state, AlarmState::Missing, AlarmState::Missing]);
            told["errors"].since.expect("a time")
        };
        let created = read(AlarmState::InsufficientData).await;
        for (state, told) in [(StateValue::Ok, AlarmState::Ok), (StateValue::Alarm, AlarmState::Alarm)] {
            let set = alarms.set_alarm_state().alarm_name("errors").state_value(state).state_reason("a test");
            set.send().await.expect("set");
            assert!(read(told).await >= created);
        }
        world
    });
}

#[test]
fn missing_permission_is_named_with_what_to_allow() {
    simulated(fast(), async |world| {
        world.fault("GetSafetyLever", "denied").await;
        let failure = adapter().probe(&place(world.simulator.url()), &Wanted::default()).await.expect_err("no answer");
        assert!(failure.message.starts_with("GetSafetyLever: "), "{failure}");
        assert!(failure.message.ends_with("; allow the agent `fis:GetSafetyLever`"), "{failure}");
        world
    });
}

#[test]
fn identity_is_the_account_of_the_credentials_and_the_region_that_is_called() {
    simulated(fast(), async |world| {
        let identity = probe(&world, &Wanted { identity: true, ..Wanted::default() }).await.identity;
        assert_eq!(identity.expect("an identity").to_string(), "account 123456789012, Region us-east-1");
        world
    });
}

#[tokio::test]
async fn identity_is_what_moto_says_too() {
    let moto = Moto::start();
    let identity = identity(&places(), &place(moto.url().to_owned())).await.expect("an identity");
    assert_eq!(identity.to_string(), "account 123456789012, Region us-east-1");
}
