//! Scripts: what is done to an experiment, and what it looks like after each step, with a clock that
//! stands still in between.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::support::wire::drill;

/// AWS's speed: the clock is made to jump.
pub(super) fn slow() -> Options {
    Options::default()
}

impl World {
    /// Creates a template with these members beside the usual ones.
    pub(super) async fn drafted(&self, parts: &Value) -> String {
        let mut body = drill(&token());
        for (key, value) in parts.as_object().expect("an object") {
            body[key] = value.clone();
        }
        self.wire.template(&body).await
    }

    /// Starts an experiment of a template.
    pub(super) async fn begun(&self, template: &str, mode: &str) -> String {
        let token = token();
        let options = json!({"actionsMode": mode});
        let body = json!({"clientToken": token, "experimentTemplateId": template, "experimentOptions": options});
        let answer = self.wire.call("POST", "/experiments", &body).await.good();
        answer["experiment"]["id"].as_str().expect("an id").to_owned()
    }

    /// GetExperiment's `experiment`.
    pub(super) async fn seen(&self, id: &str) -> Value {
        self.wire.get(&format!("/experiments/{id}")).await.good()["experiment"].take()
    }

    /// Sets an alarm, which is made when it is not there, and returns its ARN.
    pub(super) async fn alarm(&self, name: &str, state: &str) -> String {
        let alarm = json!({
            "AlarmName": name,
            "Namespace": "Application",
            "MetricName": "Errors",
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": 1.0,
            "ComparisonOperator": "GreaterThanThreshold",
        });
        self.wire.target("GraniteServiceVersion20100801.PutMetricAlarm", &alarm).await.good();
        let answer = self.control("POST", "alarms", json!({"name": name, "state": state})).await;
        assert_eq!(answer.0, 200, "{answer:?}");
        format!("arn:aws:cloudwatch:us-east-1:123456789012:alarm:{name}")
    }

    /// Does one step of a script to an experiment.
    async fn step(&self, id: &str, step: &str) {
        let words: Vec<&str> = step.split_whitespace().collect();
        let answer = match words.as_slice() {
            ["wait"] => return,
            ["jump", by] => return self.jump(by).await,
            ["stop"] => self.wire.call("DELETE", &format!("/experiments/{id}"), &Value::Null).await,
            ["fail", action] => {
                let body = json!({"action": action, "reason": format!("{action} went wrong.")});
                self.wire.call("POST", &format!("/_simulator/experiments/{id}/fail-action"), &body).await
            }
            ["lever", status] => {
                let body = json!({"state": {"status": status, "reason": "a test"}});
                self.wire.call("PATCH", "/safetyLevers/default/state", &body).await
            }
            ["alarm", name, state] => {
                self.alarm(name, state).await;
                return;
            }
            _other => panic!("unknown step `{step}`"),
        };
        assert_eq!(answer.status, 200, "{step}: {answer:?}");
    }

    /// Starts an experiment and follows a script: each line is `step => what it looks like then`; `+ step` goes before.
    pub(super) async fn follow(&self, parts: &Value, script: &str) -> String {
        let template = self.drafted(parts).await;
        let mut lines = script.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
        while let Some(step) = lines.peek().and_then(|line| line.strip_prefix("+ ")) {
            self.step("", step).await;
            lines.next();
        }
        let id = self.begun(&template, "run-all").await;
        for line in lines {
            let (step, expected) = line.split_once("=>").expect("step => look");
            self.step(&id, step.trim()).await;
            assert_eq!(look(&self.seen(&id).await), expected.trim(), "after `{}` of\n{script}", step.trim());
        }
        id
    }
}

/// A client token that was not used before.
fn token() -> String {
    static USED: AtomicU64 = AtomicU64::new(0);
    format!("token-{}", USED.fetch_add(1, Ordering::Relaxed))
}

/// What an experiment looks like: `status reason (error code at location) | action status, …`.
pub(super) fn look(experiment: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let state = &experiment["state"];
    let error = match &state["error"] {
        Value::Null => String::new(),
        error => format!(" ({} at {})", text(&error["code"]), text(&error["location"])),
    };
    let actions = experiment["actions"].as_object().expect("actions");
    let actions: Vec<_> =
        actions.iter().map(|(name, action)| format!("{name} {}", text(&action["state"]["status"]))).collect();
    format!("{} {}{error} | {}", text(&state["status"]), text(&state["reason"]), actions.join(", "))
}

/// aws:fis:wait after other actions.
pub(super) fn waits(duration: &str, after: &[&str]) -> Value {
    json!({"actionId": "aws:fis:wait", "parameters": {"duration": duration}, "startAfter": after})
}

/// A resource with attributes.
pub(super) fn resource(kind: &str, arn: &str, tag: (&str, &str), attributes: &Value) -> Resource {
    Resource {
        resource_type: kind.to_owned(),
        arn: arn.to_owned(),
        tags: [(tag.0.to_owned(), tag.1.to_owned())].into(),
        attributes: attributes.as_object().expect("an object").clone(),
    }
}
