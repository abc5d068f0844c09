//! Faults: what a client meets on a bad day, and whether the experiment exists afterwards.

use super::*;

/// How long a call that should hang is watched after its fault was met.
const HANGING: Duration = Duration::from_millis(500);

/// What a client sees of a faulty start.
#[derive(Debug, PartialEq)]
enum Seen {
    Error(u16, Option<String>),
    NoAnswer,
    Reset,
    Unreadable,
    Status(String),
}

/// Starts an experiment under a fault; returns what was seen and how many experiments exist then.
async fn start_under(world: &World, fault: &str) -> (Seen, usize) {
    let template = world.template([wait("w", MINUTE, &[])]).await;
    let before = world.simulator.experiments().len();
    world.fault("StartExperiment", fault).await;
    let start = world.fis.start_experiment().experiment_template_id(&template).tags("a", "b").client_token(&template);
    let mut start = tokio::spawn(start.send());
    soon("the fault is met", async || {
        let state = world.state().await;
        (state["faults"].get("StartExperiment").is_none_or(|left| *left == json!([]))).then_some(())
    })
    .await;
    let hangs = ["hang-before", "hang-after", "lost-reply"].contains(&fault);
    let answer = tokio::time::timeout(if hangs { HANGING } else { PATIENCE }, &mut start).await;
    let Ok(answer) = answer else {
        start.abort();
        return (Seen::NoAnswer, world.simulator.experiments().len() - before);
    };
    let seen = match answer.expect("no panic") {
        Ok(reply) => {
            let state = reply.experiment.and_then(|experiment| experiment.state).expect("a state");
            Seen::Status(state.status().expect("a status").as_str().to_owned())
        }
        Err(SdkError::ServiceError(error)) if error.raw().status().as_u16() == 200 => Seen::Unreadable,
        Err(SdkError::ServiceError(error)) => {
            Seen::Error(error.raw().status().as_u16(), error.err().code().map(str::to_owned))
        }
        Err(SdkError::ResponseError(_)) => Seen::Unreadable,
        Err(_dispatch) => Seen::Reset,
    };
    (seen, world.simulator.experiments().len() - before)
}

#[test]
fn faults_show_as_the_client_would_see_them() {
    simulated(fast(), async |world| {
        let error = |status, code: &str| Seen::Error(status, Some(code.to_owned()));
        for (fault, seen, started) in [
            ("throttle", error(400, "ThrottlingException"), 0),
            ("quota", error(402, "ServiceQuotaExceededException"), 0),
            ("denied", error(403, "AccessDeniedException"), 0),
            ("500-before", error(500, "InternalFailure"), 0),
            ("500-after", error(500, "InternalFailure"), 1),
            ("abort-after", error(400, "RequestAbortedException"), 1),
            ("reset-before", Seen::Reset, 0),
            ("reset-after", Seen::Reset, 1),
            ("hang-before", Seen::NoAnswer, 0),
            ("hang-after", Seen::NoAnswer, 1),
            ("lost-reply", Seen::NoAnswer, 1),
            ("missing-members", Seen::Status("initiating".to_owned()), 1),
            ("null-in-map", Seen::Unreadable, 1),
            ("unknown-status", Seen::Status("quiescing".to_owned()), 1),
        ] {
            assert_eq!(start_under(&world, fault).await, (seen, started), "{fault}");
            let all = world.simulator.experiments();
            if let Some(last) = all.last() {
                world.until(&last.id, FisStatus::Completed).await;
            }
        }
        world
    });
}

#[test]
fn a_late_answer_is_of_a_call_that_is_done() {
    simulated(fast(), async |world| {
        let late = json!({"operation": "StartExperiment", "fault": "latency", "milliseconds": 60_000});
        assert_eq!(world.control("POST", "faults", late).await.0, 200);
        let template = world.template([wait("w", HOURS, &[])]).await;
        let start = world.fis.start_experiment().experiment_template_id(&template).client_token("t").send();
        let start = tokio::spawn(start);
        soon("the experiment", async || world.simulator.experiments().first().map(|_| ())).await;
        assert!(!start.is_finished());
        start.abort();
        let soon = json!({"operation": "ListActions", "fault": "latency", "milliseconds": 50});
        assert_eq!(world.control("POST", "faults", soon).await.0, 200);
        let begun = std::time::Instant::now();
        world.fis.list_actions().send().await.expect("an answer");
        assert!(begun.elapsed() >= Duration::from_millis(50));
        world
    });
}

#[test]
fn a_throttled_client_is_told_when_to_come_again() {
    simulated(fast(), async |world| {
        for (fault, told) in [
            (json!({"operation": "ListActions", "fault": "throttle", "milliseconds": 250}), Some("250")),
            (json!({"operation": "ListActions", "fault": "throttle"}), None),
        ] {
            assert_eq!(world.control("POST", "faults", fault).await.0, 200);
            let error = world.fis.list_actions().send().await.expect_err("throttled");
            let answer = error.raw_response().expect("an answer");
            assert_eq!(answer.headers().get("x-amz-retry-after"), told);
        }
        world
    });
}

#[test]
fn a_fault_is_used_up_and_can_be_forgotten() {
    simulated(fast(), async |world| {
        world.control("POST", "faults", json!({"operation": "ListActions", "count": 2, "fault": "throttle"})).await;
        assert!(world.fis.list_actions().send().await.is_err());
        let state = world.state().await;
        assert_eq!(state["faults"]["ListActions"], json!(["throttle"]));
        world.control("DELETE", "faults", json!({})).await;
        assert!(world.fis.list_actions().send().await.is_ok());
        let unknown = world.control("POST", "faults", json!({"operation": "ListActions", "fault": "meteor"})).await;
        assert_eq!(unknown.0, 400);
        world
    });
}
