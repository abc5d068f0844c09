//! The machine under any sequence of what can happen to it, and what no operation reaches yet.

mod logs;

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::simulator::{
    self,
    choices::SilentAlarm,
    cloudwatch::AlarmState,
    fis::{accounts::AccountConfiguration, targets::inventory::Inventory},
};

const ALARM: &str = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:errors";
const OWN: &str = "123456789012";

/// What surrounds a machine.
struct Scene {
    inventory: Inventory,
    choices: Choices,
    alarms: Alarms,
    stuck: BTreeSet<FisStatus>,
    keep_log: KeepLog,
}

impl Scene {
    fn new(inventory: Inventory) -> Self {
        let mut alarms = Alarms::default();
        let alarm = json!({
            "AlarmName": "errors",
            "MetricName": "Errors",
            "Namespace": "Application",
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": 1.0,
            "ComparisonOperator": "GreaterThanThreshold",
        });
        let place = simulator::Scene {
            addr: ([127, 0, 0, 1], 0).into(),
            region: "us-east-1".to_owned(),
            account: OWN.to_owned(),
            seed: 7,
            inventory_file: None,
            look: std::time::Duration::from_secs(1),
        };
        alarms.perform("PutMetricAlarm", &alarm, &place, Timestamp::UNIX_EPOCH).expect("accepted");
        Self { inventory, choices: Choices::default(), alarms, stuck: BTreeSet::new(), keep_log: KeepLog::Yes }
    }

    fn world(&self) -> World<'_> {
        World {
            pace: Pace::new(1.0).expect("a pace"),
            account: Account { inventory: &self.inventory, region: "us-east-1", account: OWN, seed: 7 },
            choices: &self.choices,
            alarms: &self.alarms,
            stuck: &self.stuck,
            keep_log: self.keep_log,
        }
    }
}

fn template(parts: &Value, accounts: &[&str]) -> Arc<Template> {
    let mut body = json!({
        "description": "a drill",
        "roleArn": "arn:aws:iam::123456789012:role/drill",
        "stopConditions": [{"source": "aws:cloudwatch:alarm", "value": ALARM}],
    });
    for (key, value) in parts.as_object().expect("an object") {
        body[key] = value.clone();
    }
    let configured = |id: &&str| {
        let role_arn = format!("arn:aws:iam::{id}:role/drill");
        (
            (*id).to_owned(),
            AccountConfiguration { account_id: (*id).to_owned(), role_arn, description: None, client_token: None },
        )
    };
    Arc::new(Template {
        id: "EXT".to_owned(),
        client_token: String::new(),
        arn: "arn:aws:fis:us-east-1:123456789012:experiment-template/EXT".to_owned(),
        definition: serde_json::from_value(body).expect("a definition"),
        tags: BTreeMap::new(),
        accounts: accounts.iter().map(configured).collect(),
        created: Timestamp::UNIX_EPOCH,
        updated: Timestamp::UNIX_EPOCH,
    })
}

fn accepted(
    template: Arc<Template>,
    lever: Lever,
    mode: ActionsMode,
    world: World<'_>,
) -> (Experiment, Option<Change>) {
    let order = Order {
        id: "EXP".to_owned(),
        arn: "arn:aws:fis:us-east-1:123456789012:experiment/EXP".to_owned(),
        number: 0,
        template,
        client_token: "t".to_owned(),
        tags: BTreeMap::new(),
        mode,
    };
    Experiment::accept(order, lever, world, Timestamp::UNIX_EPOCH)
}

#[test]
fn those_that_ended_first_are_forgotten_first() {
    let scene = Scene::new(Inventory::Invented);
    let wait = json!({"actions": {"w": {"actionId": "aws:fis:wait", "parameters": {"duration": "PT1H"}}}});
    let mut shelf = crate::simulator::fis::shelf::Shelf::default();
    for (id, ends) in [("runs", None), ("last", Some(9)), ("first", Some(5)), ("second", Some(7))] {
        let (mut experiment, _) = accepted(template(&wait, &[]), Lever::Disengaged, ActionsMode::RunAll, scene.world());
        experiment.id = id.to_owned();
        if let Some(seconds) = ends {
            let at = Timestamp::from_second(seconds).expect("a time");
            experiment.finish(FisStatus::Failed, "Boom.", scene.world(), at);
        }
        shelf.push(experiment);
    }
    shelf.settle(scene.world().pace);
    let now = Timestamp::from_second(10).expect("a time");
    let forgotten = std::iter::from_fn(|| shelf.forget(2, now)).map(|gone| gone.id).collect::<Vec<_>>();
    assert_eq!(forgotten, ["first", "second"]);
    assert!(shelf.get("runs").is_some() && shelf.get("last").is_some() && shelf.get("first").is_none());
}

/// One thing that happens, after so many seconds.
#[derive(Debug, Clone)]
enum Happening {
    Nothing,
    Stop,
    Fail(usize),
    Lever,
    Alarm(AlarmState),
    Stuck(Vec<FisStatus>),
}

fn happenings() -> impl Strategy<Value = Vec<(i64, Happening)>> {
    let stuck = prop::sample::subsequence(vec![FisStatus::Initiating, FisStatus::Stopping], 0..=2);
    let states = prop::sample::select(vec![AlarmState::Ok, AlarmState::Alarm, AlarmState::InsufficientData]);
    let one = prop_oneof![
        6 => Just(Happening::Nothing),
        1 => Just(Happening::Stop),
        2 => (0..6_usize).prop_map(Happening::Fail),
        1 => Just(Happening::Lever),
        1 => states.prop_map(Happening::Alarm),
        1 => stuck.prop_map(Happening::Stuck),
    ];
    let time = prop_oneof![3 => 0..20_i64, 3 => 20..400_i64, 1 => 400..40_000_i64];
    prop::collection::vec((time, one), 1..25)
}

/// Six actions, each after some of those before it.
fn sequences() -> impl Strategy<Value = Value> {
    let action = (0..5_usize, prop::collection::vec(any::<bool>(), 6));
    prop::collection::vec(action, 6).prop_map(|actions| {
        let mut all = serde_json::Map::new();
        for (index, (kind, after)) in actions.into_iter().enumerate() {
            let (id, parameters, key) = match kind {
                0 => ("aws:ec2:reboot-instances", json!({}), Some("Instances")),
                1 => ("aws:ec2:stop-instances", json!({"startInstancesAfterDuration": "PT3M"}), Some("Instances")),
                2 => ("aws:fis:wait", json!({"duration": "PT7H"}), None),
                _other => ("aws:fis:wait", json!({"duration": "PT2M"}), None),
            };
            let after: Vec<_> = (0..index).filter(|n| after[*n]).map(|n| format!("a{n}")).collect();
            let targets = key.map_or(json!({}), |key| json!({key: "t"}));
            let action = json!({"actionId": id, "parameters": parameters, "targets": targets, "startAfter": after});
            all.insert(format!("a{index}"), action);
        }
        let target = json!({"resourceType": "aws:ec2:instance", "selectionMode": "ALL", "resourceTags": {"a": "b"}});
        json!({"actions": all, "targets": {"t": target}})
    })
}

/// Where a status can lead in one step (AWS FIS user guide, view-experiment-progress, and the simulator's choices for a
/// stop before `running` and for actions, which are never seen as `initiating`).
fn next(status: &FisStatus, of_experiment: bool) -> &'static [FisStatus] {
    use FisStatus::{Cancelled, Completed, Failed, Initiating, Running, Skipped, Stopped, Stopping};
    match (status, of_experiment) {
        (FisStatus::Pending, true) => &[Initiating, Cancelled, Stopping],
        (Initiating, true) => &[Running, Failed, Cancelled, Stopping],
        (FisStatus::Pending, false) => &[Running, Cancelled, Skipped],
        (Running, _) => &[Completed, Stopping, Failed],
        (Stopping, _) => &[Stopped],
        _terminal => &[],
    }
}

fn leads(from: &FisStatus, to: &FisStatus) -> bool {
    from == to || next(from, false).iter().any(|step| leads(step, to))
}

/// A machine that is driven as the simulator drives it, and checked after every step.
struct Driven {
    experiment: Experiment,
    now: Timestamp,
    /// Its state as the changes tell it.
    told: State,
}

impl Driven {
    fn new(template: Arc<Template>, lever: Lever, scene: &Scene) -> Self {
        let (experiment, change) = accepted(template, lever, ActionsMode::RunAll, scene.world());
        let mut driven = Self { experiment, now: Timestamp::UNIX_EPOCH, told: State::new(FisStatus::Pending, PENDING) };
        driven.hear(change);
        driven
    }

    fn hear(&mut self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            assert_eq!(change.old, self.told);
            assert!(next(&change.old.status, true).contains(&change.new.status), "{change:?}");
            assert!(change.at <= self.now);
            self.told = change.new;
        }
        assert_eq!(self.told, self.experiment.state);
    }

    fn advance(&mut self, scene: &Scene, to: Timestamp) {
        let before = self.experiment.actions.clone();
        self.now = to;
        let changes = self.experiment.advance(scene.world(), to);
        self.hear(changes);
        self.check(&before);
    }

    fn check(&self, before: &BTreeMap<String, ActionRun>) {
        let Experiment { state, actions, ended, .. } = &self.experiment;
        assert_eq!(state.status.is_terminal(), ended.is_some());
        assert!(self.experiment.next_due().is_none_or(|due| due > self.now), "{:?}", self.experiment);
        for (name, run) in actions {
            assert!(leads(&before[name].state.status, &run.state.status), "{name}: {:?} to {run:?}", before[name]);
            assert!(!state.status.is_terminal() || run.state.status.is_terminal(), "{name}: {run:?} in {state:?}");
            assert!(!run.state.status.is_terminal() || run.plan.is_none());
            assert!(run.ended.is_none_or(|ended| ended <= self.now && run.started.is_none_or(|began| began <= ended)));
        }
    }

    fn happen(&mut self, happening: &Happening, scene: &mut Scene) {
        let before = self.experiment.actions.clone();
        let change = match happening {
            Happening::Nothing => None,
            Happening::Stop => self.experiment.stop("Experiment stopped.", scene.world(), self.now),
            Happening::Lever => {
                let cancelled = self.experiment.cancel(scene.world(), self.now);
                cancelled.or_else(|| self.experiment.stop("By the lever.", scene.world(), self.now))
            }
            Happening::Fail(index) => {
                let cause = FailureCause { code: "InternalFailure".to_owned(), reason: "Boom.".to_owned() };
                self.experiment.doom(&format!("a{index}"), cause, self.now);
                None
            }
            Happening::Alarm(state) => {
                scene.alarms.set_state("errors", *state, self.now).expect("there is one");
                None
            }
            Happening::Stuck(statuses) => {
                scene.stuck = statuses.iter().cloned().collect();
                None
            }
        };
        self.experiment.wind_down();
        self.hear(change);
        let now = self.now;
        self.advance(scene, now);
        self.check(&before);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, states move along the arrows, no action outlives its experiment, it does not matter how often
    /// anybody looks, and all comes to an end.
    #[test]
    fn no_sequence_leads_off_the_arrows(
        parts in sequences(),
        engaged in prop::bool::weighted(0.1),
        story in happenings(),
    ) {
        let (mut scene, mut other_scene) = (Scene::new(Inventory::Invented), Scene::new(Inventory::Invented));
        let template = template(&parts, &[]);
        let lever = if engaged { Lever::Engaged } else { Lever::Disengaged };
        let mut seldom = Driven::new(Arc::clone(&template), lever, &scene);
        let mut often = Driven::new(template, lever, &other_scene);
        for (seconds, happening) in &story {
            let to = seldom.now + SignedDuration::from_secs(*seconds);
            often.advance(&other_scene, often.now + SignedDuration::from_secs(seconds / 3));
            often.advance(&other_scene, to);
            seldom.advance(&scene, to);
            seldom.happen(happening, &mut scene);
            often.happen(happening, &mut other_scene);
        }
        scene.stuck.clear();
        let end = seldom.now + SignedDuration::from_hours(60);
        let now = seldom.now;
        seldom.advance(&scene, now);
        seldom.advance(&scene, end);
        other_scene.stuck.clear();
        let now = often.now;
        often.advance(&other_scene, now);
        often.advance(&other_scene, end);
        prop_assert!(!seldom.experiment.is_active(), "{:?}", seldom.experiment);
        prop_assert_eq!(seldom.experiment.record(), often.experiment.record());
        prop_assert_eq!(seldom.experiment.take_log(), often.experiment.take_log());
    }
}

#[test]
fn stuck_statuses_are_left_when_they_are_freed() {
    let parts = json!({"actions": {"a0": {"actionId": "aws:fis:wait", "parameters": {"duration": "PT5M"}}}});
    let mut scene = Scene::new(Inventory::Invented);
    let mut driven = Driven::new(template(&parts, &[]), Lever::Disengaged, &scene);
    let mut step = |seconds: i64, happening: Happening| {
        let to = driven.now + SignedDuration::from_secs(seconds);
        driven.advance(&scene, to);
        driven.happen(&happening, &mut scene);
        (driven.experiment.state.status.clone(), driven.experiment.actions["a0"].started)
    };
    let at = |seconds| Some(Timestamp::from_second(seconds).expect("an instant"));
    assert_eq!(step(0, Happening::Stuck(vec![FisStatus::Initiating])), (FisStatus::Initiating, None));
    assert_eq!(step(100, Happening::Nothing), (FisStatus::Initiating, None));
    assert_eq!(step(100, Happening::Stuck(vec![FisStatus::Stopping])), (FisStatus::Running, at(200)));
    assert_eq!(step(10, Happening::Stop), (FisStatus::Stopping, at(200)));
    assert_eq!(step(1_000, Happening::Nothing), (FisStatus::Stopping, at(200)));
    assert_eq!(step(0, Happening::Stuck(vec![])), (FisStatus::Stopped, at(200)));
    assert_eq!(driven.experiment.ended, at(1_210));
}

#[test]
fn many_accounts_resolve_in_their_configured_accounts_only() {
    let target = json!({"resourceType": "aws:ec2:instance", "selectionMode": "ALL", "resourceTags": {"a": "b"}});
    let reboot = json!({"actionId": "aws:ec2:reboot-instances", "targets": {"Instances": "t"}});
    let parts = json!({
        "actions": {"a0": reboot},
        "targets": {"t": target},
        "experimentOptions": {"accountTargeting": "multi-account"},
    });
    let accounts = [OWN, "111111111111", "222222222222", ""];
    let resource = |account: &str| Resource {
        resource_type: "aws:ec2:instance".to_owned(),
        arn: format!("arn:aws:ec2:us-east-1:{account}:instance/i-1"),
        tags: [("a".to_owned(), "b".to_owned())].into(),
        attributes: serde_json::Map::new(),
    };
    let inventory = || Inventory::Listed(accounts.map(resource).into());
    let resolve = |configured: &[&str], inventory: Inventory| {
        let mut scene = Scene::new(inventory);
        scene.choices.alarm_without_data = SilentAlarm::Ignore;
        let mut driven = Driven::new(template(&parts, configured), Lever::Disengaged, &scene);
        driven.advance(&scene, Timestamp::from_second(60).expect("an instant"));
        let found = driven.experiment.resolved.values().flatten().map(|found| found.account().to_owned());
        (found.collect::<Vec<_>>(), driven.experiment.state.status.clone(), driven.experiment.take_log())
    };
    let (found, status, log) = resolve(&["111111111111", "333333333333"], inventory());
    assert_eq!((found, status), (vec!["111111111111".to_owned(), String::new()], FisStatus::Completed));
    let details = log.iter().filter(|line| line.contains("resolution-detail")).count();
    assert_eq!(details, 2, "one for each account: {log:?}");
    let (found, status, _) = resolve(&["333333333333"], Inventory::Listed(vec![resource("111111111111")]));
    assert_eq!((found, status), (vec![], FisStatus::Failed));
    let (found, ..) = resolve(&["111111111111", "222222222222"], Inventory::Invented);
    assert_eq!(found.iter().filter(|account| *account == "222222222222").count() * 2, found.len());
}
