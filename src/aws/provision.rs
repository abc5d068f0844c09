//! Provisioning by the SDKs: looks at what is there, and performs one step after the other.
//!
//! What is to be there and what to do about it is decided in [`crate::domain::provision`]. Every call may be made again.

use std::collections::{BTreeMap, HashMap};

use aws_config::retry::RetryConfig;
use aws_sdk_eventbridge::types::{DeadLetterConfig, Rule, RuleState, SqsParameters, Tag, Target};
use aws_sdk_fis::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use aws_sdk_sqs::types::QueueAttributeName;

use super::{
    classify::failure,
    sdk::{CallKind, Places},
};
use crate::{
    config::settings::Queue,
    domain::{
        experiment::Place,
        fis::{CallFailure, FailureClass},
        provision::{
            Desired, QueueSpec, RULE_PREFIX, RuleSpec, Site, TAG, TARGET_ID,
            diff::{Found, FoundQueue, FoundRule, FoundTarget, Step},
        },
    },
};

/// Attempts of a call: a rule or a queue may be asked about often, and every call may be repeated.
const ATTEMPTS: u32 = 5;

/// Pages read of one list of buses, rules or targets; an account has a hundred buses, a bus 300 rules.
const MAX_PAGES: usize = 20;

/// A call that failed, and what it was for.
#[derive(Debug, thiserror::Error)]
#[error("failed to {what}")]
pub struct ProvisionFailure {
    /// What was tried, on what.
    pub what: String,
    /// How it failed.
    #[source]
    pub cause: CallFailure,
}

/// One queue's place behind the SDKs.
pub struct Provisioner {
    sqs: aws_sdk_sqs::Client,
    events: aws_sdk_eventbridge::Client,
    sts: aws_sdk_sts::Client,
    region: String,
    /// URL of the queue, up to and with the last slash.
    urls: String,
}

/// Says what failed.
pub(super) fn failed<E>(what: impl Into<String>) -> impl FnOnce(SdkError<E, HttpResponse>) -> ProvisionFailure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let what = what.into();
    move |error| ProvisionFailure { what, cause: failure(&error) }
}

pub(super) fn unusable(what: impl Into<String>, class: FailureClass, message: impl Into<String>) -> ProvisionFailure {
    ProvisionFailure { what: what.into(), cause: CallFailure { class, message: message.into() } }
}

impl Provisioner {
    /// Makes clients for a queue. Its own endpoint is SQS's; EventBridge and STS are called at that of `aws`.
    ///
    /// # Errors
    /// [`ProvisionFailure`] when nothing says the Region.
    pub async fn new(places: &Places, queue: &Queue, aws: &Place) -> Result<Self, ProvisionFailure> {
        let retry = RetryConfig::standard().with_max_attempts(ATTEMPTS);
        let config = |place: Place| {
            let retry = retry.clone();
            async move {
                let config = places.config(&place, CallKind::Short).await;
                config.into_builder().retry_config(retry).build()
            }
        };
        let own = config(queue.place.clone()).await;
        let around = config(Place { endpoint_url: aws.endpoint_url.clone(), ..queue.place.clone() }).await;
        let region = around.region().map(ToString::to_string);
        let none = || unusable("find the Region of the queue", FailureClass::Invalid, "nothing says it");
        let urls = queue.url.rsplit_once('/').map_or(String::new(), |(urls, _)| format!("{urls}/"));
        Ok(Self {
            sqs: aws_sdk_sqs::Client::new(&own),
            events: aws_sdk_eventbridge::Client::new(&around),
            sts: aws_sdk_sts::Client::new(&around),
            region: region.ok_or_else(none)?,
            urls,
        })
    }

    /// Finds out where resources are made: the Region, and the account of the credentials.
    ///
    /// # Errors
    /// [`ProvisionFailure`] when STS does not say.
    pub async fn site(&self) -> Result<Site, ProvisionFailure> {
        let what = "find the account of the credentials";
        let answer = self.sts.get_caller_identity().send().await.map_err(failed(what))?;
        let none = || unusable(what, FailureClass::Unreadable, "the answer names none");
        Ok(Site { region: self.region.clone(), account: answer.account.ok_or_else(none)? })
    }

    /// Looks at what is there.
    ///
    /// # Errors
    /// [`ProvisionFailure`] when a call fails, or the bus does not exist.
    pub async fn look(&self, desired: &Desired) -> Result<Found, ProvisionFailure> {
        Ok(Found {
            queue: self.queue(&desired.queue.name).await?,
            dead_letters: self.queue(&desired.dead_letters.name).await?,
            rules: self.rules(desired).await?,
        })
    }

    async fn queue(&self, name: &str) -> Result<Option<FoundQueue>, ProvisionFailure> {
        let url = self.url(name);
        let asked = self.sqs.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::All);
        let answer = match asked.send().await {
            Ok(answer) => answer,
            Err(error) if error.as_service_error().is_some_and(|e| e.is_queue_does_not_exist()) => return Ok(None),
            Err(error) => return Err(failed(format!("read queue `{name}`"))(error)),
        };
        let attributes = answer.attributes.unwrap_or_default();
        let attributes = attributes.into_iter().map(|(name, value)| (name.as_str().to_owned(), value)).collect();
        let tags = self.sqs.list_queue_tags().queue_url(&url).send().await;
        let tags = tags.map_err(failed(format!("read the tags of queue `{name}`")))?.tags.unwrap_or_default();
        Ok(Some(FoundQueue { attributes, tags: tags.into_iter().collect() }))
    }

    /// Finds the rules on every bus whose names begin as ours do: the bus of the configuration may have been another one.
    async fn rules(&self, desired: &Desired) -> Result<Vec<FoundRule>, ProvisionFailure> {
        let buses = self.buses().await?;
        if let Some(bus) = desired.rules.values().map(|rule| &rule.bus).find(|bus| !buses.contains(*bus)) {
            return Err(unusable(format!("find bus `{bus}`"), FailureClass::NotFound, "it does not exist"));
        }
        let mut found = Vec::new();
        for bus in &buses {
            for rule in self.rules_of(bus).await? {
                found.push(self.rule(bus, rule, &desired.queue.name).await?);
            }
        }
        Ok(found)
    }

    async fn buses(&self) -> Result<Vec<String>, ProvisionFailure> {
        let mut buses = Vec::new();
        let mut token = None;
        for _page in 0..MAX_PAGES {
            let call = self.events.list_event_buses().set_next_token(token);
            let page = call.send().await.map_err(failed("list the event buses"))?;
            buses.extend(page.event_buses.unwrap_or_default().into_iter().filter_map(|bus| bus.name));
            token = page.next_token;
            if token.is_none() {
                return Ok(buses);
            }
        }
        Err(unusable("list the event buses", FailureClass::Unreadable, "the list did not end"))
    }

    async fn rules_of(&self, bus: &str) -> Result<Vec<Rule>, ProvisionFailure> {
        let what = format!("list the rules of bus `{bus}`");
        let mut rules = Vec::new();
        let mut token = None;
        for _page in 0..MAX_PAGES {
            let call = self.events.list_rules().event_bus_name(bus).name_prefix(RULE_PREFIX).set_next_token(token);
            let page = call.send().await.map_err(failed(&what))?;
            rules.extend(page.rules.unwrap_or_default());
            token = page.next_token;
            if token.is_none() {
                return Ok(rules);
            }
        }
        Err(unusable(what, FailureClass::Unreadable, "the list did not end"))
    }

    async fn rule(&self, bus: &str, rule: Rule, owner: &str) -> Result<FoundRule, ProvisionFailure> {
        let name = rule.name.unwrap_or_default();
        let tags = self.events.list_tags_for_resource().resource_arn(rule.arn.unwrap_or_default()).send().await;
        let tags = tags.map_err(failed(format!("read the tags of rule `{bus}/{name}`")))?.tags.unwrap_or_default();
        let tags: BTreeMap<String, String> = tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
        // The targets of other rules are none of our business.
        let ours = tags.get(TAG).is_some_and(|value| value == owner);
        let targets = if ours { self.targets(bus, &name).await? } else { BTreeMap::new() };
        let enabled = rule.state.is_none_or(|state| state != RuleState::Disabled);
        Ok(FoundRule { bus: bus.to_owned(), name, pattern: rule.event_pattern, enabled, targets, tags })
    }

    async fn targets(&self, bus: &str, rule: &str) -> Result<BTreeMap<String, FoundTarget>, ProvisionFailure> {
        // A rule has up to five targets, which is one page (Amazon EventBridge user guide, quotas).
        let call = self.events.list_targets_by_rule().event_bus_name(bus).rule(rule);
        let answer = call.send().await.map_err(failed(format!("list the targets of rule `{bus}/{rule}`")))?;
        let target = |target: Target| {
            let group = target.sqs_parameters.and_then(|parameters| parameters.message_group_id);
            let dead_letters = target.dead_letter_config.and_then(|config| config.arn);
            (target.id, FoundTarget { arn: target.arn, group, dead_letters })
        };
        Ok(answer.targets.unwrap_or_default().into_iter().map(target).collect())
    }

    /// Performs a step.
    ///
    /// # Errors
    /// [`ProvisionFailure`] when a call fails; the step may be performed again.
    pub async fn perform(&self, desired: &Desired, step: &Step) -> Result<(), ProvisionFailure> {
        let what = step.to_string();
        match step {
            Step::CreateQueue(spec) => {
                let create = self.sqs.create_queue().queue_name(&spec.name).tags(TAG, &desired.queue.name);
                let created = create.set_attributes(Some(attributes(spec))).send().await;
                created.map(|_| ()).map_err(failed(what))
            }
            Step::SetAttributes(spec) => {
                let set = self.sqs.set_queue_attributes().queue_url(self.url(&spec.name));
                set.set_attributes(Some(attributes(spec))).send().await.map(|_| ()).map_err(failed(what))
            }
            Step::PutRule(spec) => self.put_rule(desired, spec, what).await,
            Step::DeleteRule { bus, name, targets } => {
                if !targets.is_empty() {
                    let remove = self.events.remove_targets().event_bus_name(bus).rule(name);
                    remove.set_ids(Some(targets.clone())).send().await.map_err(failed(&what))?;
                }
                let delete = self.events.delete_rule().event_bus_name(bus).name(name);
                delete.send().await.map(|_| ()).map_err(failed(what))
            }
            Step::DeleteQueue { name } => {
                let delete = self.sqs.delete_queue().queue_url(self.url(name));
                delete.send().await.map(|_| ()).map_err(failed(what))
            }
        }
    }

    async fn put_rule(&self, desired: &Desired, spec: &RuleSpec, what: String) -> Result<(), ProvisionFailure> {
        let invalid = |error: aws_sdk_eventbridge::error::BuildError| {
            unusable(what.clone(), FailureClass::Invalid, error.to_string())
        };
        let tag = Tag::builder().key(TAG).value(&desired.queue.name).build().map_err(invalid)?;
        let rule = self.events.put_rule().event_bus_name(&spec.bus).name(&spec.name).tags(tag);
        let rule = rule
            .event_pattern(spec.pattern.to_string())
            .state(RuleState::Enabled)
            .description(desired.rule_description());
        rule.send().await.map_err(failed(&what))?;
        let group = spec.group.as_ref().map(|group| SqsParameters::builder().message_group_id(group).build());
        let dead = spec.dead_letters.as_ref().map(|name| desired.site.queue(name));
        let dead = dead.map(|arn| DeadLetterConfig::builder().arn(arn).build());
        let target = Target::builder().id(TARGET_ID).arn(desired.site.queue(&spec.queue)).set_sqs_parameters(group);
        let target = target.set_dead_letter_config(dead).build().map_err(invalid)?;
        let put = self.events.put_targets().event_bus_name(&spec.bus).rule(&spec.name).targets(target);
        let answer = put.send().await.map_err(failed(&what))?;
        match answer.failed_entries().first() {
            None => Ok(()),
            Some(entry) => Err(unusable(what, FailureClass::Invalid, entry.error_message().unwrap_or("no reason"))),
        }
    }

    fn url(&self, name: &str) -> String {
        format!("{}{name}", self.urls)
    }
}

fn attributes(spec: &QueueSpec) -> HashMap<QueueAttributeName, String> {
    let attribute = |(name, value): (&String, &String)| (QueueAttributeName::from(name.as_str()), value.clone());
    spec.attributes.iter().map(attribute).collect()
}
