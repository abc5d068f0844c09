//! The agent's own adapter against the simulator: what the engine is told of each answer that FIS can give.

use std::{collections::BTreeMap, sync::Arc};

use aws_sdk_fis::{
    operation::create_experiment_template::builders::CreateExperimentTemplateFluentBuilder,
    types::{AccountTargeting, CreateExperimentTemplateExperimentOptionsInput},
};
use jiff::SignedDuration;

use firedrill::{
    aws::{fis::AwsFis, sdk::Places},
    domain::{
        cost::{Budget, Usd, cost},
        estimate::{Estimate, FIS_OVERHEAD},
        experiment::{Experiment, Place, TemplateSelector},
        fis::{FailureClass, FisExperiment},
        ids::{Name, RUN_TAG, RunId},
        target::shares_target,
        template::TemplateFacts,
    },
    engine::ports::{FaultInjector, StartRequest},
};

use super::*;

/// The adapter and where it calls.
struct Agent {
    fis: AwsFis,
    place: Place,
}

impl Agent {
    fn of(world: &World) -> Self {
        let places = Places::with_credentials(Credentials::new("simulator", "simulator", None, None, "test"));
        let place = Place {
            region: Some("us-east-1".to_owned()),
            endpoint_url: Some(world.simulator.url()),
            ..Place::default()
        };
        Self { fis: AwsFis::new(Arc::new(places)), place }
    }

    async fn start(&self, template: &str, token: &str, run: &str) -> Result<FisExperiment, FailureClass> {
        let request = StartRequest {
            template_id: template.to_owned(),
            client_token: token.to_owned(),
            tags: BTreeMap::from([(RUN_TAG.to_owned(), run.to_owned())]),
        };
        self.fis.start(&self.place, &request).await.map_err(|failure| failure.class)
    }

    async fn read(&self, selector: TemplateSelector) -> Result<String, FailureClass> {
        let facts = self.fis.read_template(&self.place, &selector).await;
        facts.map(|facts| facts.id).map_err(|failure| failure.class)
    }

    async fn stop(&self, id: &str) -> Result<(), FailureClass> {
        self.fis.stop(&self.place, id).await.map_err(|failure| failure.class)
    }
}

fn id(text: &str) -> TemplateSelector {
    TemplateSelector::Id(text.to_owned())
}

fn tags(value: &str) -> TemplateSelector {
    TemplateSelector::Tags(BTreeMap::from([("team".to_owned(), value.to_owned())]))
}

#[test]
fn the_adapter_sees_an_experiment_through_its_life() {
    simulated(fast(), async |world| {
        let agent = Agent::of(&world);
        let draft = world.draft([wait("w", HOURS, &[]), wait("later", MINUTE, &["w"])]).tags("team", "a");
        let template = draft.send().await.expect("accepted").experiment_template.and_then(|t| t.id).expect("an id");
        assert_eq!(agent.read(id(&template)).await, Ok(template.clone()));
        assert_eq!(agent.read(tags("a")).await, Ok(template.clone()));
        let run = RunId::from_text("3f9c1d2e3f9c1d2e");
        assert_eq!(agent.fis.find(&agent.place, &template, &run).await, Ok(None));
        let started = agent.start(&template, "token", run.as_str()).await.expect("started");
        assert_eq!(started.status, FisStatus::Initiating);
        assert_eq!(agent.start(&template, "token", run.as_str()).await.expect("the same").id, started.id);
        let found = agent.fis.find(&agent.place, &template, &run).await.expect("an answer").expect("found");
        assert_eq!((found.id.as_str(), found.actions.len()), (started.id.as_str(), 2));
        world.until(&started.id, FisStatus::Running).await;
        assert_eq!(agent.stop(&started.id).await, Ok(()));
        world.until(&started.id, FisStatus::Stopped).await;
        let ended = agent.fis.get(&agent.place, &started.id, &template).await.expect("an answer");
        assert_eq!((ended.status, ended.lever_engaged), (FisStatus::Stopped, Some(false)));
        world
    });
}

/// By the credentials of another account there is neither an experiment nor its template; that proves nothing.
#[test]
fn what_is_not_found_is_believed_only_where_its_template_is() {
    simulated(fast(), async |world| {
        let agent = Agent::of(&world);
        let template = world.draft([wait("w", MINUTE, &[])]).send().await.expect("accepted").experiment_template;
        let template = template.and_then(|t| t.id).expect("an id");
        let run = RunId::from_text("3f9c1d2e3f9c1d2e");
        let get = async || {
            let answer = agent.fis.get(&agent.place, "EXPnowhere1234567", &template).await;
            answer.map(|fis| fis.id).map_err(|failure| failure.class)
        };
        let find = async || agent.fis.find(&agent.place, &template, &run).await.map_err(|failure| failure.class);
        assert_eq!((get().await, find().await), (Err(FailureClass::NotFound), Ok(None)));
        world.wire.call("DELETE", &format!("/experimentTemplates/{template}"), &Value::Null).await.good();
        assert_eq!((get().await, find().await), (Err(FailureClass::Unreadable), Err(FailureClass::Unreadable)));
        world
    });
}

/// An automation of at most an hour that was told to take ten minutes, then instances chosen by tag, then one by ARN.
fn aimed(world: &World) -> CreateExperimentTemplateFluentBuilder {
    let told: &[(&str, &str)] = &[
        ("documentArn", "arn:aws:ssm:us-east-1:123456789012:document/Impair"),
        ("documentParameters", r#"{"duration": "PT10M", "tagKey": "FIS-Ready"}"#),
        ("maxDuration", "PT1H"),
    ];
    let arn = "arn:aws:ec2:us-east-1:123456789012:instance/i-0123456789abcdef0";
    let by_arn = CreateExperimentTemplateTargetInput::builder().resource_type("aws:ec2:instance").selection_mode("ALL");
    world
        .draft([
            Act("impair", "aws:ssm:start-automation-execution", told, None, &[]),
            Act("reboot", "aws:ec2:reboot-instances", &[], Some(("Instances", "shop")), &["impair"]),
            Act("terminate", "aws:ec2:terminate-instances", &[], Some(("Instances", "one")), &["reboot"]),
        ])
        .targets("shop", tagged("aws:ec2:instance", "app", "shop", "ALL"))
        .targets("one", by_arn.resource_arns(arn).build().expect("a target"))
}

#[test]
fn the_adapter_reads_what_a_run_takes_costs_and_is_aimed_at() {
    simulated(fast(), async |world| {
        let agent = Agent::of(&world);
        let created = aimed(&world).send().await.expect("accepted").experiment_template.and_then(|t| t.id);
        let facts = agent.fis.read_template(&agent.place, &id(&created.expect("an id"))).await.expect("facts");
        assert_eq!(facts.region.as_deref(), Some("us-east-1"));
        let minutes = |minutes| Estimate::Known(SignedDuration::from_mins(minutes) + FIS_OVERHEAD);
        assert_eq!((facts.ceiling(), facts.nominal()), (minutes(62), minutes(12)));
        let declared = Experiment::gone(Name::parse("drill").expect("a name"));
        assert_eq!(cost(&declared, &facts, &Budget::default()).usd(), Some(Usd::from_cents(620)));
        assert_eq!(facts.actions["reboot"].targets, BTreeMap::from([("Instances".to_owned(), "shop".to_owned())]));
        let (shop, one) = (&facts.targets["shop"], &facts.targets["one"]);
        assert_eq!(shop.tags, BTreeMap::from([("app".to_owned(), "shop".to_owned())]));
        assert_eq!((shop.resource_type.as_str(), shop.arns.len(), one.arns.len()), ("aws:ec2:instance", 0, 1));
        // Another template that is aimed at the same tag, by the words of FIS.
        let act = Act("stop", "aws:ecs:stop-task", &[], Some(("Tasks", "shop")), &[]);
        let other = world.draft([act]).targets("shop", tagged("aws:ecs:task", "app", "shop", "COUNT(1)"));
        let other = other.send().await.expect("accepted").experiment_template.and_then(|t| t.id).expect("an id");
        let other = agent.fis.read_template(&agent.place, &id(&other)).await.expect("facts");
        assert_eq!(shares_target(&facts, &other).map(|shared| shared.to_string()).as_deref(), Some("tag app=shop"));
        // What is stored of a run reads as what was read.
        let stored = serde_json::to_string(&facts).expect("JSON");
        assert_eq!(serde_json::from_str::<TemplateFacts>(&stored).expect("facts"), facts);
        world
    });
}

#[test]
fn the_adapter_counts_the_accounts_that_are_billed() {
    simulated(fast(), async |world| {
        let agent = Agent::of(&world);
        let options = CreateExperimentTemplateExperimentOptionsInput::builder();
        let options = options.account_targeting(AccountTargeting::MultiAccount).build();
        let created = aimed(&world).experiment_options(options).send().await.expect("accepted").experiment_template;
        let template = created.and_then(|t| t.id).expect("an id");
        for account in ["111122223333", "444455556666"] {
            let request = world.fis.create_target_account_configuration().experiment_template_id(&template);
            let request = request.account_id(account).role_arn("arn:aws:iam::123456789012:role/other");
            request.send().await.expect("configured");
        }
        let facts = agent.fis.read_template(&agent.place, &id(&template)).await.expect("facts");
        let declared = Experiment::gone(Name::parse("drill").expect("a name"));
        let cost = cost(&declared, &facts, &Budget::default());
        assert_eq!((facts.target_accounts, cost.action_minutes), (2, Some(124)));
        world
    });
}

#[test]
fn the_adapter_tells_modelled_errors_apart() {
    simulated(fast(), async |world| {
        let agent = Agent::of(&world);
        let template = world.template([wait("w", HOURS, &[])]).await;
        assert_eq!(agent.read(id("EXTabsent")).await, Err(FailureClass::NotFound));
        assert_eq!(agent.read(id(&"x".repeat(65))).await, Err(FailureClass::Invalid));
        assert_eq!(agent.read(tags("nobody")).await, Err(FailureClass::NotFound));
        assert_eq!(agent.start("EXTabsent", "t", "r").await, Err(FailureClass::NotFound));
        assert_eq!(agent.start(&template, &"x".repeat(1025), "r").await, Err(FailureClass::Invalid));
        assert_eq!(agent.stop("EXPabsent").await, Err(FailureClass::NotFound));
        let first = agent.start(&template, "1", "r").await.expect("started").id;
        assert_eq!(agent.start(&template, "1", "other").await, Err(FailureClass::Conflict));
        for token in ["2", "3", "4", "5"] {
            agent.start(&template, token, "r").await.expect("started");
        }
        assert_eq!(agent.start(&template, "6", "r").await, Err(FailureClass::Quota));
        agent.stop(&first).await.expect("stopped");
        world.until(&first, FisStatus::Stopped).await;
        assert_eq!(agent.stop(&first).await, Err(FailureClass::Invalid));
        world
    });
}

#[test]
fn the_adapter_tells_bad_days_apart() {
    simulated(fast(), async |world| {
        let agent = Agent::of(&world);
        for (fault, class, begun) in [
            ("throttle", FailureClass::Throttled, 0),
            ("quota", FailureClass::Quota, 0),
            ("denied", FailureClass::Denied, 0),
            ("500-before", FailureClass::Unavailable, 0),
            ("500-after", FailureClass::Unavailable, 1),
            ("reset-before", FailureClass::Unavailable, 0),
            ("reset-after", FailureClass::Unavailable, 1),
            ("null-in-map", FailureClass::Unreadable, 1),
        ] {
            let template = world.template([wait("w", MINUTE, &[])]).await;
            let before = world.simulator.experiments().len();
            world.fault("StartExperiment", fault).await;
            assert_eq!(agent.start(&template, fault, "r").await.map(|fis| fis.id), Err(class), "{fault}");
            assert_eq!(world.simulator.experiments().len() - before, begun, "{fault}");
            // The same token leads to the one experiment, whatever the first answer was.
            let again = agent.start(&template, fault, "r").await.expect("started").id;
            assert_eq!(world.simulator.experiments().len() - before, 1, "{fault}");
            world.until(&again, FisStatus::Completed).await;
        }
        world
    });
}
