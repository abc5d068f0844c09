//! An agent with every secret that it can have, while everything goes wrong.

use std::net::{SocketAddr, TcpListener, TcpStream};

use firedrill::domain::run::Run;

use super::{Outputs, tables};
use crate::{
    support::{
        PATIENCE,
        agent::Home,
        eventually,
        keys::{CANARY, Keys},
        otlp::{Collector, Mode, refused_url},
        stage::Stage,
        wire::Wire,
    },
    webhook::sign,
};

const SECRET: &str = "canary0webhook-secret";

/// Part of bodies of events: the store may keep them.
const BODY: &str = "word-of-an-event";

const WRONG: &str = "ba5eba11ba5eba11ba5eba11ba5eba11ba5eba11ba5eba11ba5eba11ba5eba11";

/// Configurations with a secret where none belongs, each of which is refused.
const MISPLACED: [&str; 6] = [
    "[event_bus]\nname = \"default\"\nendpoint_url = \"http://user:canary0url@127.0.0.1:9\"\n",
    "[event_bus]\nname = \"default\"\nendpoint_url = \"http://user:canary0url @\"\n",
    "[telemetry]\notlp_endpoint = \"https://canary0user@127.0.0.1:9/v1\"\n",
    "[http]\nlisten = \"127.0.0.1:0\"\n[http.webhooks.github]\nsignature = \"github\"\nsecret = \"canary0inline\"\n",
    "[http]\nlisten = \"127.0.0.1:0\"\n[http.webhooks.github]\nsignature = \"github\"\nsecret_file = canary0bare\n",
    "[http]\nlisten = \"127.0.0.1:0\"\n[http.webhooks.github]\nsignature = \"github\"\nsecret_file = \"short.secret\"\n",
];

struct Scene {
    stage: Stage,
    keys: Keys,
    collector: Collector,
    home: Home,
    wire: Wire,
    address: SocketAddr,
    tables: String,
    outputs: Outputs,
}

impl Scene {
    fn new() -> Self {
        let (stage, keys, collector) = (Stage::start(600.0), Keys::start(), Collector::start(Mode::Normal));
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let tables = format!(
            "{}[event_bus]\nname = \"default\"\n[queues.deployments]\nurl = \"{}\"\n\
             [http]\nlisten = \"{port}\"\n[http.webhooks.github]\nsignature = \"github\"\nsecret_file = \"github.secret\"\n\
             [calendars.changes]\nssm = [\"missing\"]\nrefresh = \"1s\"\n\
             [windows.closed]\nkind = \"blackout\"\ncalendars = [\"changes\"]\nexperiments = [\"none-*\"]\n",
            tables(&stage.template(&[("wait", "PT1M", &[])])),
            stage.queue("deployments"),
        );
        let refused = refused_url().replace("//", "//user:canary0user@");
        let mut home = Home::new(&stage.url(), &tables);
        super::write(&home.path().join("github.secret"), SECRET, 0o600);
        super::write(&home.path().join("short.secret"), "canary0short", 0o600);
        let signal = |name: &str| format!("{}/v1/{name}?token=canary0query", collector.url());
        for (name, value) in [
            ("AWS_ACCESS_KEY_ID", "AKIAVARIABLE"),
            ("AWS_SECRET_ACCESS_KEY", "canary0variablesecret"),
            ("AWS_SESSION_TOKEN", "canary0variabletoken"),
            ("AWS_ENDPOINT_URL_STS", keys.url()),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20canary0bearer"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &signal("traces")),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &signal("metrics")),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", &format!("{refused}/canary0path/v1/logs")),
            ("HTTP_PROXY", "http://user:canary0proxy@127.0.0.1:9"),
            ("HTTPS_PROXY", "http://user:canary0proxy@127.0.0.1:9"),
            ("NO_PROXY", "127.0.0.1"),
            ("UNRELATED_TOKEN", "canary0unrelated"),
        ] {
            home.set(name, value);
        }
        let wire = Wire::new(format!("http://{port}"));
        Self { stage, keys, collector, home, wire, address: port, tables, outputs: Outputs::default() }
    }

    /// Posts to the webhook and returns the status.
    fn post(&mut self, signature: &str, body: &str) -> u16 {
        let headers = [("x-github-event", "ping"), ("x-hub-signature-256", signature)];
        let reply = self.stage.wait(self.wire.send("POST", "/hooks/github", &headers, body));
        self.outputs.add("webhook", format!("{reply:?}"));
        reply.status
    }

    /// Lets events come in by every way, most of them bad.
    fn take_events(&mut self) {
        let body = format!("{{\"zen\": \"{BODY}\"}}");
        assert_eq!(self.post(&sign(SECRET, &body), &body), 202);
        let cut = format!("{{\"zen\": \"{BODY}");
        assert_eq!(self.post(&sign(SECRET, &cut), &cut), 400, "put into quarantine");
        assert_eq!(self.post(&format!("sha256={WRONG}"), &body), 401);
        let queue = self.stage.queue_url("deployments");
        for bad in [cut, format!("[\"{BODY}\"]"), format!("{{\"source\": 5, \"detail\": \"{BODY}\"}}")] {
            self.stage.send(&queue, &bad);
        }
        eventually("an empty queue", || (self.stage.depth(&queue) == 0).then_some(()));
    }

    /// Lets a start be refused, and two succeed.
    fn run_experiments(&mut self) {
        self.stage.fault("StartExperiment", "denied", 1);
        for count in 1..=3 {
            self.home.json(&["start", if count == 2 { "role" } else { "plain" }]);
            let over = || self.home.runs().iter().filter(|run| run.is_over()).count() == count;
            eventually("the end of a run", || over().then_some(()));
        }
        assert_eq!(self.stage.experiments().len(), 2, "{:#?}", self.home.runs());
        assert!(self.keys.heard().contains("canary0variabletoken"), "the role was asked for with them");
    }

    /// Reloads what is refused; afterwards what was there.
    fn reload_mistakes(&mut self) {
        for misplaced in MISPLACED {
            self.home.configure(misplaced);
            for command in [["reload"], ["check"], ["status"]] {
                let said = self.home.run(&command);
                assert!(command == ["status"] || said.code == 2, "{misplaced}: {command:?}: {said:?}");
                self.outputs.add(format!("{command:?} of {misplaced}"), format!("{}\n{}", said.stdout, said.stderr));
            }
        }
        self.home.configure(&self.tables);
        assert_eq!(self.home.json(&["reload"])["reloaded"], true);
    }

    fn look_everywhere(&mut self) {
        let commands: [&[&str]; 8] = [
            &["status"],
            &["runs"],
            &["why", "plain"],
            &["why", "role"],
            &["plan"],
            &["check"],
            &["queue", "quarantine"],
            &["window", "check"],
        ];
        self.outputs.add_commands(&self.home, &commands);
        for path in ["/healthz", "/readyz", "/v1/status", "/v1/runs", "/v1/nothing"] {
            let reply = self.stage.wait(self.wire.send("GET", path, &[], ""));
            self.outputs.add(path, format!("{reply:?}"));
        }
        self.outputs.add_folder(&self.home.state());
    }
}

#[test]
fn whole_agent_with_everything_going_wrong_tells_no_secret() {
    let mut scene = Scene::new();
    let told = scene.stage.subscribe("firedrill", "told");
    let mut agent = scene.home.agent();
    // The socket is there before the port.
    eventually("the port", || TcpStream::connect(scene.address).ok());
    scene.take_events();
    scene.run_experiments();
    scene.home.wait_for_log("telemetry cannot be exported");
    let calendar = |status: serde_json::Value| status["calendars"]["changes"]["failure"].as_str().map(str::to_owned);
    eventually("a calendar that fails", || calendar(scene.home.json(&["status"])));
    scene.reload_mistakes();
    scene.look_everywhere();
    agent.signal("ABRT");
    assert_eq!(agent.ends(PATIENCE).code(), None, "it crashed");
    assert!(scene.home.state().join("firedrill.db-wal").exists());
    scene.outputs.add_folder(&scene.home.state());

    // Once more, with a collector of logs.
    let logs = format!("{}/v1/logs?token=canary0query", scene.collector.url());
    scene.home.set("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", &logs);
    let agent = scene.home.agent();
    scene.home.json(&["start", "plain"]);
    scene.home.wait_for("a fourth run", |run| run.is_over() && scene.home.runs().iter().all(Run::is_over));
    eventually("logs", || (scene.collector.logs().len() > 50).then_some(()));
    eventually("traces and metrics", || {
        (!scene.collector.spans().is_empty() && !scene.collector.metrics().is_empty()).then_some(())
    });
    assert_eq!(agent.terminate(), 0);
    let events = scene.stage.drain(&told);
    assert!(!events.is_empty());
    scene.outputs.add("bus", format!("{events:?}"));
    scene.outputs.add("log", scene.home.log());
    scene.outputs.add_collected(&scene.collector);
    let loaded = firedrill::config::load(&scene.home.config(), []).expect("a configuration");
    assert!(!loaded.settings.webhooks.is_empty());
    scene.outputs.add("settings", format!("{loaded:?} {loaded:#?}"));
    scene.outputs.lack(CANARY);
    scene.outputs.lack(WRONG);
    let signature = sign(SECRET, &format!("{{\"zen\": \"{BODY}\"}}"));
    scene.outputs.lack(signature.trim_start_matches("sha256="));
    scene.outputs.logged().lack(BODY);
}
