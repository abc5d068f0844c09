//! Targets that reach what they test from outside: answers of FIS over the wire, messages on their way into a store.

use std::sync::{Arc, Mutex};

use aws_credential_types::Credentials;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use firedrill::{
    aws::{fis::AwsFis, sdk::Places},
    domain::{
        cost, estimate,
        experiment::{Place, TemplateSelector},
    },
    engine::ports::{FaultInjector, Store},
    ingest::event::{EventIngest, Message, Taken},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Target, driver::corpus, text::rules};
use crate::support::{runs::name, store::empty, world};

/// What is answered to every request.
type Answer = Arc<Mutex<(StatusCode, Vec<u8>)>>;

async fn answered(State(answer): State<Answer>) -> Response {
    let (status, body) = answer.lock().expect("no panic").clone();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Words of templates.
const MEMBERS: &[&str] = &[
    "null",
    "[null]",
    "{}",
    "\"PT1M\"",
    "\"P999999999999D\"",
    "\"PT0.5S\"",
    "\"PT-1M\"",
    "\"startAfter\":[\"second\"]",
    "\"selectionMode\":\"COUNT(0)\"",
    "\"ALL\"",
    "\"COUNT(99999999999999999999)\"",
    "-1",
    "1e999",
    "\"skip-all\"",
    "\"\\ud800\"",
    "\"duration\":\"PT12H\"",
    "\"actionId\":\"aws:fis:inject-api-throttle-error\"",
    "\"none\"",
];

/// A template as FIS answers it.
fn answer_of_fis() -> Value {
    json!({"experimentTemplate": {
        "id": "EXT1a2b3c4d5e6f7", "arn": "arn:aws:fis:us-east-1:123456789012:experiment-template/EXT1a2b3c4d5e6f7",
        "description": "a drill", "roleArn": "arn:aws:iam::123456789012:role/drill", "creationTime": 1_767_225_600.5,
        "stopConditions": [{"source": "aws:cloudwatch:alarm", "value": "arn:aws:cloudwatch:us-east-1:123456789012:alarm:errors"}],
        "targets": {"pods": {"resourceType": "aws:ec2:instance", "resourceTags": {"a": "b"}, "selectionMode": "PERCENT(50)",
            "filters": [{"path": "State.Name", "values": ["running"]}], "parameters": {"x": "y"}}},
        "actions": {"first": {"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}},
            "second": {"actionId": "aws:ec2:stop-instances", "parameters": {"startInstancesAfterDuration": "P1DT2H3M4S"},
                "targets": {"Instances": "pods"}, "startAfter": ["first"]}},
        "tags": {"team": "payments"},
        "experimentOptions": {"accountTargeting": "multi-account", "emptyTargetResolutionMode": "skip"},
        "targetAccountConfigurationsCount": 3,
    }})
}

pub fn template() -> Target {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let place = Place {
        region: Some("us-east-1".to_owned()),
        endpoint_url: Some(format!("http://{}", listener.local_addr().expect("an address"))),
        role_arn: None,
    };
    let answer: Answer = Arc::new(Mutex::new((StatusCode::OK, Vec::new())));
    let routes = Router::new().fallback(answered).with_state(answer.clone());
    runtime.spawn(async move { axum::serve(listener, routes).await });
    let credentials = Credentials::new("a", "b", None, None, "test");
    let fis = AwsFis::new(Arc::new(Places::with_credentials(credentials)));
    let selector = TemplateSelector::Id("EXT1a2b3c4d5e6f7".to_owned());
    let experiment = world::experiment();
    let check = move |input: &[u8]| {
        let statuses =
            [StatusCode::OK, StatusCode::OK, StatusCode::OK, StatusCode::BAD_REQUEST, StatusCode::BAD_GATEWAY];
        *answer.lock().expect("no panic") = (statuses[input.len() % statuses.len()], input.to_vec());
        match runtime.block_on(fis.read_template(&place, &selector)) {
            Err(failure) => {
                assert!(failure.message.chars().count() <= 500, "{failure:?}");
                format!("{:?} {}", failure.class, failure.message)
            }
            Ok(facts) => {
                let text = serde_json::to_string(&facts).expect("JSON");
                assert_eq!(
                    serde_json::from_str::<firedrill::domain::template::TemplateFacts>(&text).expect("facts"),
                    facts
                );
                let length = estimate::expected(&experiment, &facts, None);
                let cost = cost::cost(&experiment, &facts, &cost::Budget::default());
                assert!(cost.usd().is_none_or(|usd| usd <= cost.most_usd()), "{cost:?} {facts:?}");
                format!("good {} {} {}", facts.shape(), length.is_zero(), cost.usd().is_some())
            }
        }
    };
    let refusal = json!({"__type": "ResourceNotFoundException", "message": "there is none"});
    Target {
        name: "template",
        folder: corpus("template"),
        seeds: vec![answer_of_fis().to_string().into_bytes(), refusal.to_string().into_bytes()],
        words: MEMBERS,
        rounds: 400,
        check: Box::new(check),
    }
}

pub fn message() -> Target {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let (sender, rules) = watch::channel(Arc::new(rules(folder.path())));
    let (folder, store) = runtime.block_on(empty());
    let store = Arc::new(store);
    let ingest = EventIngest::new(store.clone(), rules, Arc::default(), Arc::default());
    let mut number = 0_u64;
    let check = move |input: &[u8]| {
        // They go when the target goes.
        let _kept = (&folder, &sender);
        number += 1;
        let message = Message {
            queue: name("q"),
            id: format!("m-{number}"),
            body: String::from_utf8_lossy(input).into_owned(),
            parent: None,
            group: None,
            sent_at: None,
            envelope: None,
        };
        let taken = runtime.block_on(ingest.take(vec![message.clone()], world::t("09:00:00")));
        let taken = taken.unwrap_or_else(|error| panic!("{error:?}: {input:?}"));
        assert_eq!(taken.len(), 1);
        let again = runtime.block_on(ingest.take(vec![message.clone()], world::t("09:00:01"))).expect("once more");
        match (&taken[0], &again[0]) {
            (Taken::Quarantined { reason }, Taken::Quarantined { .. }) => {
                let kept = runtime.block_on(store.quarantined(1)).expect("rows");
                assert_eq!((kept[0].message_id.as_str(), &kept[0].reason), (message.id.as_str(), reason));
                let dropped = runtime.block_on(store.forget_quarantined("q", &message.id)).expect("a write");
                format!("{reason} {dropped:?}")
            }
            (first, Taken::Duplicate) => first.as_str().to_owned(),
            other => panic!("{other:?}"),
        }
    };
    let mut seeds: Vec<Vec<u8>> =
        firedrill::domain::event::catalogue::samples().map(|(_, sample)| sample.to_string().into_bytes()).collect();
    seeds.push(b"no event".to_vec());
    Target {
        name: "message",
        folder: corpus("message"),
        seeds,
        words: &[
            "\0",
            "\\u0000",
            "\"id\":\"",
            "\"source\":\"\\u0000\"",
            "\"source\":\"aws.fis\"",
            "{",
            "}",
            "\u{fffd}",
            "\"Type\":\"Notification\",\"Message\":\"",
        ],
        rounds: 150,
        check: Box::new(check),
    }
}
