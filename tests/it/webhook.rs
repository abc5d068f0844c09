//! Webhooks: what is signed becomes rows as a queue's messages do; what is not leaves nothing.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use firedrill::{
    domain::run::Run,
    http::{api, serve},
    store::sql::MAX_QUARANTINED,
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{sync::watch, time::Instant};

use crate::support::{
    agent::{Agent, Home},
    disk::Lock,
    eventually,
    otlp::{Collector, Mode, points},
    stage::Stage,
    wire::{Reply, Wire},
    within,
};

const SECRET: &str = "0f2a4b7c9d1e3f5a6b8c0d2e4f6a8b0c";

/// A deployment's status as GitHub tells it, in short.
fn status(id: u64) -> String {
    json!({
        "action": "created",
        "deployment_status": { "id": id, "state": "success", "environment": "production" },
        "deployment": { "id": id, "sha": format!("a10867b14bb761a232cd80139fbd4c0d3326424{id}"), "environment": "production" },
        "repository": { "full_name": "octo/checkout" },
    })
    .to_string()
}

/// Signs a body as GitHub and Flux do.
pub fn sign(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
    mac.update(body.as_bytes());
    let digits: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

/// An agent with two webhooks, and a way to call them.
struct Scene {
    stage: Stage,
    home: Home,
    wire: Wire,
    address: String,
    _agent: Agent,
}

impl Scene {
    fn new(more: &str) -> Self {
        let stage = Stage::start(600.0);
        let template = stage.template(&[("wait", "PT1M", &[])]);
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let tables = format!(
            "[http]\nlisten = \"{port}\"\n\
             [http.webhooks.github]\nsignature = \"github\"\nsecret_file = \"github.secret\"\n\
             [http.webhooks.flux]\nsignature = \"flux\"\nsecret_file = \"flux.secret\"\n\
             [experiments.drill]\ntemplate = \"{template}\"\noverlap = \"allow\"\n\
             triggers = [{{ on = \"github-deployment\", queues = [\"github\"] }}, {{ on = \"flux-reconciled\" }}]\n{more}"
        );
        let home = Home::new(&stage.url(), &tables);
        for hook in ["github", "flux"] {
            keep(&home, hook, SECRET);
        }
        let agent = home.agent();
        Self { stage, home, wire: Wire::new(format!("http://{port}")), address: port.to_string(), _agent: agent }
    }

    fn post(&self, hook: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        self.stage.wait(self.wire.send("POST", &format!("/hooks/{hook}"), headers, body))
    }

    /// Posts as GitHub does.
    fn github(&self, secret: &str, kind: &str, body: &str) -> Reply {
        let signature = sign(secret, body);
        let headers = [
            ("x-github-event", kind),
            ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
            ("x-hub-signature-256", signature.as_str()),
            ("content-type", "application/json"),
        ];
        self.post("github", &headers, body)
    }
}

fn keep(home: &Home, hook: &str, secret: &str) {
    std::fs::write(home.path().join(format!("{hook}.secret")), format!("{secret}\n")).expect("a file");
}

fn accepted(reply: &Reply) -> (&str, usize) {
    assert_eq!(reply.status, 202, "{reply:?}");
    let runs = reply.body["runs"].as_array().expect("runs").len();
    (reply.body["result"].as_str().expect("a result"), runs)
}

#[test]
fn signed_event_is_a_run_on_disk_before_it_is_answered() {
    let scene = Scene::new("");
    let reply = scene.github(SECRET, "deployment_status", &status(1));
    assert_eq!(accepted(&reply), ("matched", 1));
    let known: Vec<Value> = scene.home.runs().iter().map(|run| json!(run.id)).collect();
    assert_eq!(reply.body["runs"], json!(known));
    // Sent again, also under another id, which nobody has signed.
    assert_eq!(accepted(&scene.github(SECRET, "deployment_status", &status(1))), ("duplicate", 0));
    let (body, signature) = (status(1), sign(SECRET, &status(1)));
    let headers = [("x-github-event", "deployment_status"), ("x-hub-signature-256", signature.as_str())];
    assert_eq!(accepted(&scene.post("github", &headers, &body)), ("duplicate", 0));
    assert_eq!(accepted(&scene.github(SECRET, "deployment_status", &status(2))), ("matched", 1));
    assert_eq!(accepted(&scene.github(SECRET, "ping", "{\"zen\": \"Keep it logically awesome.\"}")), ("unmatched", 0));
    scene.home.wait_for("the end of a run", Run::is_over);
    assert_eq!(scene.home.runs().len(), 2);
}

#[test]
fn flux_signs_its_events_too() {
    let scene = Scene::new("");
    let body = json!({
        "involvedObject": {"kind": "Kustomization", "name": "checkout", "namespace": "apps"},
        "severity": "info", "timestamp": "2026-03-02T09:59:58Z", "message": "Reconciliation finished",
        "reason": "ReconciliationSucceeded", "metadata": {"revision": "main@sha1:a10867b1"},
        "reportingController": "kustomize-controller",
    })
    .to_string();
    let signature = sign(SECRET, &body);
    let headers = [("x-signature", signature.as_str()), ("gotk-component", "kustomize-controller")];
    assert_eq!(accepted(&scene.post("flux", &headers, &body)), ("matched", 1));
    assert_eq!(scene.home.runs()[0].trigger.kind(), "event");
    // Each webhook has its own header.
    assert_eq!(scene.post("github", &headers, &body).status, 401);
}

#[test]
fn nobody_speaks_for_aws_by_a_webhook() {
    let mapping = "[mappings.ci]\nwhen = { source = [{ exists = true }], kind = [{ exists = true }] }\n\
                   source = \"/source\"\ndetail_type = \"/kind\"\n\
                   [experiments.forged]\ntemplate = \"EXT1a2b3c4d5e6f7\"\n\
                   triggers = [{ pattern = { source = [\"aws.codedeploy\", \"com.example.ci\"] } }]\n";
    let scene = Scene::new(mapping);
    let event = json!({"source": "aws.codedeploy", "detail-type": "CodeDeploy Deployment State-change Notification", "detail": {}});
    assert_eq!(accepted(&scene.github(SECRET, "push", &event.to_string())), ("unmatched", 0), "it is GitHub's");
    let forged = json!({"source": "aws.codedeploy", "kind": "Deployed"});
    let reply = scene.github(SECRET, "push", &forged.to_string());
    assert_eq!(reply.status, 400, "{reply:?}");
    assert!(reply.body["detail"].as_str().is_some_and(|why| why.contains("nobody but AWS")), "{reply:?}");
    let own = json!({"source": "com.example.ci", "kind": "Deployed"});
    assert_eq!(accepted(&scene.github(SECRET, "push", &own.to_string())), ("matched", 1));
    assert_eq!(scene.home.runs().len(), 1);
}

#[test]
fn what_is_not_signed_learns_and_leaves_nothing() {
    let collector = Collector::start(Mode::Normal);
    let telemetry = format!("[telemetry]\notlp_endpoint = \"{}\"\nmetric_interval = \"1s\"\n", collector.url());
    let scene = Scene::new(&telemetry);
    let body = status(1);
    let right = sign(SECRET, &body);
    let (wrong, longer) = (sign("guessed", &body), format!("{right}00"));
    let (bare, other) = (right.trim_start_matches("sha256=").to_owned(), right.replace("sha256=", "sha1="));
    let garbage = format!("sha256={}", "ü".repeat(32));
    for signature in [&wrong, &longer, &bare, &other, &garbage, "sha256=", "", &right[..right.len() - 2]] {
        let reply = scene.post("github", &[("x-hub-signature-256", signature), ("x-github-event", "push")], &body);
        assert_eq!(
            (reply.status, reply.body["detail"].as_str()),
            (401, Some("the request carries no signature that holds"))
        );
    }
    let unsigned = scene.post("github", &[("x-github-event", "deployment_status")], &body);
    assert_eq!(unsigned.status, 401);
    assert_eq!(scene.post("github", &[("x-hub-signature-256", &right)], &status(2)).status, 401, "of another body");
    assert_eq!(scene.post("gitlab", &[("x-hub-signature-256", &right)], &body).status, 404);
    assert_eq!(scene.post("no%20name", &[], &body).status, 404);
    assert_eq!(scene.stage.wait(scene.wire.get("/hooks/github")).status, 405);
    assert_eq!(scene.home.runs().len(), 0);
    assert_eq!(scene.home.read(async |store| store.quarantined(9).await.expect("rows").len()), Some(0));
    let counted = || {
        let metrics = collector.metrics();
        let found = metrics.iter().rev().find(|metric| metric.name == "http.server.request.duration").map(points)?;
        found.iter().any(|line| line.contains("401")).then_some(())
    };
    eventually("refusals in the metrics", counted);
    for said in
        [scene.home.log(), format!("{:?}", scene.home.run(&["check"])), scene.home.json(&["status"]).to_string()]
    {
        assert!(!said.contains(SECRET) && !said.contains(&right["sha256=".len()..]), "{said}");
    }
}

/// The example of GitHub's documentation (Validating webhook deliveries).
#[test]
fn signature_of_githubs_own_example_holds() {
    let scene = Scene::new("");
    keep(&scene.home, "github", "It's a Secret to Everybody");
    assert_eq!(scene.home.run(&["reload"]).code, 0);
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let reply = scene.post("github", &[("x-hub-signature-256", signature)], "Hello, World!");
    assert_eq!(reply.status, 400, "signed, and not JSON: {reply:?}");
    assert!(reply.body["detail"].as_str().is_some_and(|why| why.contains("not JSON")), "{reply:?}");
    let aside = scene.home.read(async |store| store.quarantined(9).await.expect("rows")).expect("a store");
    assert_eq!((aside.len(), aside[0].queue.as_str(), aside[0].body.as_str()), (1, "github", "Hello, World!"));
}

#[test]
fn new_secret_holds_from_a_reload_on() {
    let scene = Scene::new("");
    keep(&scene.home, "github", "another secret, long enough");
    assert_eq!(scene.github(SECRET, "push", &status(1)).status, 202, "before the reload");
    assert_eq!(scene.home.run(&["reload"]).code, 0);
    assert_eq!(scene.github(SECRET, "push", &status(2)).status, 401);
    assert_eq!(scene.github("another secret, long enough", "push", &status(3)).status, 202);
    // A secret that is gone refuses the configuration, and the one in force stays.
    std::fs::remove_file(scene.home.path().join("github.secret")).expect("a file");
    assert_ne!(scene.home.run(&["reload"]).code, 0);
    assert_eq!(scene.github("another secret, long enough", "push", &status(4)).status, 202);
}

#[test]
fn what_cannot_be_read_and_finds_no_room_is_refused_and_counted() {
    let collector = Collector::start(Mode::Normal);
    let telemetry = format!("[telemetry]\notlp_endpoint = \"{}\"\nmetric_interval = \"1s\"\n", collector.url());
    let scene = Scene::new(&telemetry);
    for number in 0..MAX_QUARANTINED {
        assert_eq!(scene.github(SECRET, "push", &format!("no JSON {number}")).status, 400);
    }
    let reply = scene.github(SECRET, "push", "no JSON either");
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(reply.body["detail"].as_str().is_some_and(|why| why.contains("as many of those are kept")), "{reply:?}");
    assert_eq!(scene.github(SECRET, "push", "no JSON 0").status, 400, "it is kept already");
    assert_eq!(accepted(&scene.github(SECRET, "deployment_status", &status(1))), ("matched", 1));
    let refused = || {
        let metrics = collector.metrics();
        let events = metrics.iter().rev().find(|metric| metric.name == "firedrill.events").map(points)?;
        events.iter().any(|line| line.contains("result=refused") && line.ends_with(" 1")).then_some(())
    };
    eventually("the refusal in the metrics", refused);
}

#[test]
fn event_that_cannot_be_recorded_is_to_be_sent_again() {
    let scene = Scene::new("");
    let lock = Lock::take(&scene.home);
    let reply = scene.github(SECRET, "deployment_status", &status(1));
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(reply.headers.contains_key("retry-after"));
    drop(lock);
    assert_eq!(accepted(&scene.github(SECRET, "deployment_status", &status(1))), ("matched", 1));
}

#[tokio::test]
async fn engine_without_a_sign_of_life_is_to_be_ended() {
    let long_ago = Instant::now().checked_sub(Duration::from_secs(121)).expect("a machine that is up for long enough");
    let (engine, alive) = watch::channel(long_ago);
    let listener = serve::open_port(([127, 0, 0, 1], 0).into()).await.expect("a port");
    let wire = Wire::new(format!("http://{}", listener.local_addr().expect("an address")));
    let serving = tokio::spawn(serve::serve_port(listener, api::health_routes(alive)));
    let silent = wire.get("/healthz").await;
    assert!(silent.status == 503 && silent.text.contains("the engine is stuck"), "{silent:?}");
    engine.send_replace(Instant::now());
    assert_eq!(wire.get("/healthz").await.status, 200);
    serving.abort();
}

#[test]
fn bodies_are_bounded_in_size_time_and_number() {
    let scene = Scene::new("");
    let large = "x".repeat(256 * 1024 + 1);
    assert_eq!(scene.github(SECRET, "push", &large).status, 413);
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(scene.github(SECRET, "push", &nested).status, 400);
    let many = format!("[{}0]", "0,".repeat(100_000));
    assert_eq!(accepted(&scene.github(SECRET, "push", &many)), ("unmatched", 0));
}

#[test]
fn who_is_slow_or_silent_keeps_nobody_else_waiting_for_long() {
    let scene = Scene::new("");
    let half = format!(
        "POST /hooks/github HTTP/1.1\r\nhost: x\r\nx-hub-signature-256: {}\r\ncontent-length: 100\r\n\r\nhalf",
        sign(SECRET, "half")
    );
    let open = |said: &str| {
        let mut stream = TcpStream::connect(&scene.address).expect("a connection");
        stream.write_all(said.as_bytes()).expect("sent");
        stream
    };
    let mut slow: Vec<TcpStream> = (0..40).map(|_| open(&half)).collect();
    assert_eq!(scene.github(SECRET, "push", &status(1)).status, 202, "beside forty that are slow");
    // As many as the listener takes, and some more, none of which says a whole head.
    let mut silent: Vec<TcpStream> = (0..150).map(|_| open("GET /healthz HTTP/1.1\r\n")).collect();
    within(Duration::from_secs(30), "a place", || {
        (scene.github(SECRET, "push", &status(2)).status == 202).then_some(())
    });
    let mut answer = [0; 12];
    slow[0].read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 408");
    let mut rest = Vec::new();
    silent[0].read_to_end(&mut rest).expect("an end");
    assert!(rest.len() < 200, "{}", String::from_utf8_lossy(&rest));
}
