//! CloudWatch alarms (RPC v2 over CBOR, AWS JSON 1.0): what stop conditions look at.
//!
//! Alarms hold the state they are given: nothing here looks at metrics or performs an alarm's actions. Composite alarms
//! do not exist.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Scene, page,
    wire::{self, Answer, ApiError, epoch_seconds},
};

/// Alarms of an account and Region (CloudWatch user guide, service quotas).
const MAX_ALARMS: usize = 5_000;
const MAX_NAMES: usize = 100;
/// Page of DescribeAlarms, by default and at most (CloudWatch API reference).
const DEFAULT_PAGE: usize = 50;
const MAX_PAGE: usize = 100;

/// Members of an alarm that are kept and given back.
const KEPT: &[&str] = &[
    "AlarmDescription",
    "ActionsEnabled",
    "OKActions",
    "AlarmActions",
    "InsufficientDataActions",
    "MetricName",
    "Namespace",
    "Statistic",
    "ExtendedStatistic",
    "Dimensions",
    "Period",
    "Unit",
    "EvaluationPeriods",
    "DatapointsToAlarm",
    "Threshold",
    "ComparisonOperator",
    "TreatMissingData",
    "EvaluateLowSampleCountPercentile",
    "Metrics",
    "ThresholdMetricId",
];

const STATISTICS: &[&str] = &["SampleCount", "Average", "Sum", "Minimum", "Maximum"];
const MISSING_DATA: &[&str] = &["breaching", "notBreaching", "ignore", "missing"];
const OPERATORS: &[&str] = &[
    "GreaterThanOrEqualToThreshold",
    "GreaterThanThreshold",
    "LessThanThreshold",
    "LessThanOrEqualToThreshold",
    "LessThanLowerOrGreaterThanUpperThreshold",
    "LessThanLowerThreshold",
    "GreaterThanUpperThreshold",
];

/// All alarms by name.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    alarms: BTreeMap<String, Alarm>,
}

#[derive(Debug)]
struct Alarm {
    arn: String,
    kept: Map<String, Value>,
    updated: Timestamp,
    state: AlarmState,
    reason: String,
    reason_data: Option<String>,
    state_updated: Timestamp,
    transitioned: Timestamp,
}

/// State of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum AlarmState {
    /// Within its threshold.
    Ok,
    /// Outside of it.
    Alarm,
    /// Not known.
    InsufficientData,
}

impl AlarmState {
    /// Its name at AWS.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SetAlarmState {
    alarm_name: String,
    state_value: AlarmState,
    state_reason: String,
    state_reason_data: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeAlarms {
    alarm_names: Option<Vec<String>>,
    alarm_name_prefix: Option<String>,
    alarm_types: Option<Vec<String>>,
    state_value: Option<AlarmState>,
    action_prefix: Option<String>,
    children_of_alarm_name: Option<String>,
    parents_of_alarm_name: Option<String>,
    max_records: Option<usize>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeleteAlarms {
    alarm_names: Vec<String>,
}

/// The operations there are.
pub(super) const OPERATIONS: &[&str] = &["PutMetricAlarm", "SetAlarmState", "DescribeAlarms", "DeleteAlarms"];

impl Alarms {
    /// Performs an operation.
    pub(super) fn perform(&mut self, operation: &str, body: &Value, scene: &Scene, now: Timestamp) -> Answer {
        match operation {
            "PutMetricAlarm" => self.put(body, scene, now),
            "SetAlarmState" => self.set(body, now),
            "DescribeAlarms" => self.describe(body),
            "DeleteAlarms" => self.delete(body),
            _other => Err(ApiError::unknown_operation()),
        }
    }

    /// Sets the state of an alarm.
    ///
    /// # Errors
    /// `ResourceNotFound` when there is no alarm of this name.
    pub(super) fn set_state(&mut self, name: &str, state: AlarmState, now: Timestamp) -> Result<(), ApiError> {
        let alarm = self.alarms.get_mut(name).ok_or_else(missing)?;
        alarm.turn(state, "Set by hand.".to_owned(), None, now);
        Ok(())
    }

    /// States by name, for the state page.
    pub(super) fn rendered(&self) -> Value {
        json!(self.alarms.iter().map(|(name, alarm)| (name, alarm.state.as_str())).collect::<BTreeMap<_, _>>())
    }

    /// State of the alarm with an ARN; `None` when there is no such alarm.
    pub(super) fn state_of(&self, arn: &str) -> Option<AlarmState> {
        // A name may hold colons.
        let name = arn.splitn(7, ':').nth(6)?;
        self.alarms.get(name).filter(|alarm| alarm.arn == arn).map(|alarm| alarm.state)
    }

    fn put(&mut self, body: &Value, scene: &Scene, now: Timestamp) -> Answer {
        let members = body.as_object().cloned().unwrap_or_default();
        let name = checked_alarm(&members)?;
        if self.alarms.len() >= MAX_ALARMS && !self.alarms.contains_key(&name) {
            let text = format!("an account has at most {MAX_ALARMS} alarms");
            return Err(ApiError::bad("LimitExceededFault", text).known_in_query_as("LimitExceeded"));
        }
        let mut kept: Map<String, Value> =
            members.into_iter().filter(|(key, value)| KEPT.contains(&key.as_str()) && !value.is_null()).collect();
        kept.entry("ActionsEnabled").or_insert(json!(true));
        for list in ["OKActions", "AlarmActions", "InsufficientDataActions", "Dimensions"] {
            kept.entry(list).or_insert(json!([]));
        }
        match self.alarms.get_mut(&name) {
            // An update leaves the state as it is (CloudWatch API reference, PutMetricAlarm).
            Some(alarm) => (alarm.kept, alarm.updated) = (kept, now),
            None => {
                let arn = format!("arn:aws:cloudwatch:{}:{}:alarm:{name}", scene.region, scene.account);
                let alarm = Alarm {
                    arn,
                    kept,
                    updated: now,
                    state: AlarmState::InsufficientData,
                    reason: "Unchecked: Initial alarm creation".to_owned(),
                    reason_data: None,
                    state_updated: now,
                    transitioned: now,
                };
                self.alarms.insert(name, alarm);
            }
        }
        Ok(json!({}))
    }

    fn set(&mut self, body: &Value, now: Timestamp) -> Answer {
        let request: SetAlarmState = parsed(body)?;
        if request.state_reason.chars().count() > 1_023 {
            return Err(validation("stateReason must have at most 1023 characters"));
        }
        if let Some(data) = &request.state_reason_data
            && (data.chars().count() > 4_000 || serde_json::from_str::<Value>(data).is_err())
        {
            let text = "StateReasonData must be JSON of at most 4000 characters";
            return Err(ApiError::bad("InvalidFormatFault", text).known_in_query_as("InvalidFormat"));
        }
        let alarm = self.alarms.get_mut(&request.alarm_name).ok_or_else(missing)?;
        alarm.turn(request.state_value, request.state_reason, request.state_reason_data, now);
        Ok(json!({}))
    }

    fn describe(&self, body: &Value) -> Answer {
        let request: DescribeAlarms = parsed(body)?;
        if request.children_of_alarm_name.is_some() || request.parents_of_alarm_name.is_some() {
            return Err(validation("the simulator has no composite alarms"));
        }
        if request.alarm_names.is_some() && request.alarm_name_prefix.is_some() {
            return Err(validation("AlarmNames and AlarmNamePrefix cannot be given together"));
        }
        if request.alarm_names.as_ref().is_some_and(|names| names.len() > MAX_NAMES) {
            return Err(validation("AlarmNames must have at most 100 members"));
        }
        let size = match request.max_records {
            None => DEFAULT_PAGE,
            Some(size @ 1..=MAX_PAGE) => size,
            Some(_outside) => return Err(validation("MaxRecords must be between 1 and 100")),
        };
        // Without a word on types, composite alarms are left out.
        let metric = request.alarm_types.is_none_or(|types| types.iter().any(|kind| kind == "MetricAlarm"));
        let acts = |alarm: &Alarm, prefix: &String| {
            let lists = ["OKActions", "AlarmActions", "InsufficientDataActions"];
            let mut actions = lists.iter().filter_map(|list| alarm.kept.get(*list)?.as_array()).flatten();
            actions.any(|action| action.as_str().is_some_and(|action| action.starts_with(prefix)))
        };
        let found = self.alarms.iter().filter(|(name, alarm)| {
            metric
                && request.alarm_names.as_ref().is_none_or(|names| names.contains(name))
                && request.alarm_name_prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix))
                && request.state_value.is_none_or(|state| alarm.state == state)
                && request.action_prefix.as_ref().is_none_or(|prefix| acts(alarm, prefix))
        });
        let (shown, next) = page::page(found, |(name, _)| (*name).clone(), size, request.next_token.as_deref())
            .ok_or_else(|| ApiError::bad("InvalidNextToken", "the next token is not valid"))?;
        let shown: Vec<_> = shown.into_iter().map(|(name, alarm)| alarm.rendered(name)).collect();
        let mut answer = json!({"MetricAlarms": shown, "CompositeAlarms": []});
        if let Some(token) = next {
            answer["NextToken"] = token.into();
        }
        Ok(answer)
    }

    fn delete(&mut self, body: &Value) -> Answer {
        let request: DeleteAlarms = parsed(body)?;
        if request.alarm_names.len() > MAX_NAMES {
            return Err(validation("AlarmNames must have at most 100 members"));
        }
        // All or none (CloudWatch API reference, DeleteAlarms).
        if !request.alarm_names.iter().all(|name| self.alarms.contains_key(name)) {
            return Err(missing());
        }
        self.alarms.retain(|name, _| !request.alarm_names.contains(name));
        Ok(json!({}))
    }
}

impl Alarm {
    fn turn(&mut self, state: AlarmState, reason: String, reason_data: Option<String>, now: Timestamp) {
        if self.state != state {
            self.transitioned = now;
        }
        (self.state, self.reason, self.reason_data, self.state_updated) = (state, reason, reason_data, now);
    }

    fn rendered(&self, name: &str) -> Value {
        let mut members = self.kept.clone();
        members.insert("AlarmName".to_owned(), json!(name));
        members.insert("AlarmArn".to_owned(), json!(self.arn));
        members.insert("AlarmConfigurationUpdatedTimestamp".to_owned(), epoch_seconds(self.updated));
        members.insert("StateValue".to_owned(), json!(self.state.as_str()));
        members.insert("StateReason".to_owned(), json!(self.reason));
        members.insert("StateUpdatedTimestamp".to_owned(), epoch_seconds(self.state_updated));
        members.insert("StateTransitionedTimestamp".to_owned(), epoch_seconds(self.transitioned));
        members.extend(self.reason_data.as_ref().map(|data| ("StateReasonData".to_owned(), json!(data))));
        Value::Object(members)
    }
}

/// Checks a PutMetricAlarm and returns the alarm's name. Expressions in `Metrics` are kept unread.
fn checked_alarm(members: &Map<String, Value>) -> Result<String, ApiError> {
    let text = |member: &str| members.get(member).and_then(Value::as_str);
    let given = |member: &str| members.get(member).is_some_and(|value| !value.is_null());
    let name = text("AlarmName").unwrap_or_default();
    let lengths =
        [("AlarmName", 1, 255), ("AlarmDescription", 0, 1_024), ("MetricName", 1, 255), ("Namespace", 1, 255)];
    for (member, least, most) in lengths {
        let fits = text(member).is_some_and(|text| (least..=most).contains(&text.chars().count()));
        if !fits && (given(member) || member == "AlarmName") {
            return Err(validation(format!("{member} must be a text of {least} to {most} characters")));
        }
    }
    if name.chars().any(char::is_control) {
        return Err(validation("AlarmName must not hold control characters"));
    }
    let enums = [("ComparisonOperator", OPERATORS), ("Statistic", STATISTICS), ("TreatMissingData", MISSING_DATA)];
    for (member, values) in enums {
        if given(member) && !text(member).is_some_and(|text| values.contains(&text)) {
            return Err(validation(format!("{member} must be one of {}", values.join(", "))));
        }
    }
    for member in ["EvaluationPeriods", "DatapointsToAlarm", "Period"] {
        if given(member) && members.get(member).and_then(Value::as_u64).is_none_or(|number| number < 1) {
            return Err(validation(format!("{member} must be a whole number of at least 1")));
        }
    }
    let period = members.get("Period").and_then(Value::as_u64);
    if period.is_some_and(|period| !matches!(period, 10 | 20 | 30) && !period.is_multiple_of(60)) {
        return Err(validation("Period must be 10, 20, 30 or a multiple of 60"));
    }
    for member in ["OKActions", "AlarmActions", "InsufficientDataActions"] {
        if given(member) && members.get(member).and_then(Value::as_array).is_none_or(|list| list.len() > 5) {
            return Err(validation(format!("{member} must be a list of at most 5 members")));
        }
    }
    let needed = if given("Metrics") {
        ["ComparisonOperator", "EvaluationPeriods"].as_slice()
    } else {
        &["ComparisonOperator", "EvaluationPeriods", "MetricName", "Namespace", "Period"]
    };
    if let Some(member) = needed.iter().find(|member| !given(member)) {
        return Err(validation(format!("{member} is missing")));
    }
    if !given("Metrics") && given("Statistic") == given("ExtendedStatistic") {
        return Err(validation("exactly one of Statistic and ExtendedStatistic must be given"));
    }
    if given("Threshold") == given("ThresholdMetricId") {
        return Err(validation("exactly one of Threshold and ThresholdMetricId must be given"));
    }
    Ok(name.to_owned())
}

fn parsed<T: serde::de::DeserializeOwned>(body: &Value) -> Result<T, ApiError> {
    wire::parsed(body).map_err(|error| validation(error.message))
}

fn validation(message: impl Into<String>) -> ApiError {
    ApiError::bad("ValidationError", message)
}

fn missing() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "ResourceNotFound", "Unknown")
}
