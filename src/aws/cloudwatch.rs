//! CloudWatch: how alarms are.
//!
//! Knows nothing of what an alarm means for a start (see [`crate::domain::plan`]).

use std::collections::{BTreeMap, BTreeSet};

use aws_config::SdkConfig;
use aws_sdk_cloudwatch::{
    Client,
    primitives::DateTime,
    types::{AlarmType, StateValue},
};
use jiff::Timestamp;

use super::classify::failure;
use crate::domain::{
    fis::CallFailure,
    place::{Alarm, AlarmState},
};

/// What stands between the rest of an alarm's ARN and its name.
const BEFORE_NAME: &str = ":alarm:";

/// Asks how alarms are, metric and composite ones, by name or ARN: up to 100, which one call answers (CloudWatch API
/// reference, DescribeAlarms).
///
/// # Errors
/// [`CallFailure`] when the call failed. An alarm that is not there is no failure.
pub(super) async fn alarms(
    config: &SdkConfig,
    wanted: &BTreeSet<String>,
) -> Result<BTreeMap<String, Alarm>, CallFailure> {
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let names: BTreeSet<&str> = wanted.iter().map(|alarm| name(alarm)).collect();
    let call = Client::new(config)
        .describe_alarms()
        .set_alarm_names(Some(names.iter().map(|name| (*name).to_owned()).collect()))
        // Without a word on types, composite alarms are left out.
        .alarm_types(AlarmType::MetricAlarm)
        .alarm_types(AlarmType::CompositeAlarm)
        .max_records(100);
    let answer = call.send().await.map_err(|error| failure(&error))?;
    let metric = answer.metric_alarms().iter().map(|alarm| {
        let since = alarm.state_transitioned_timestamp().or(alarm.state_updated_timestamp());
        (alarm.alarm_name(), alarm.alarm_arn(), read(alarm.state_value(), since))
    });
    let composite = answer.composite_alarms().iter().map(|alarm| {
        let since = alarm.state_transitioned_timestamp().or(alarm.state_updated_timestamp());
        (alarm.alarm_name(), alarm.alarm_arn(), read(alarm.state_value(), since))
    });
    let told: Vec<_> = metric.chain(composite).collect();
    let of = |alarm: &String| {
        // One of another account or Region is not the one that was named.
        let is_it = |(its_name, arn, _): &&(Option<&str>, Option<&str>, Alarm)| {
            if alarm.contains(BEFORE_NAME) { *arn == Some(alarm.as_str()) } else { *its_name == Some(alarm.as_str()) }
        };
        let missing = Alarm { state: AlarmState::Missing, since: None };
        (alarm.clone(), told.iter().find(is_it).map_or(missing, |(.., alarm)| alarm.clone()))
    };
    Ok(wanted.iter().map(of).collect())
}

/// Returns an alarm's name, which may be given by its ARN.
fn name(alarm: &str) -> &str {
    alarm.split_once(BEFORE_NAME).map_or(alarm, |(_, name)| name)
}

fn read(state: Option<&StateValue>, since: Option<&DateTime>) -> Alarm {
    let since = since.and_then(|since| {
        let nanos = i32::try_from(since.subsec_nanos()).ok()?;
        Timestamp::new(since.secs(), nanos).ok()
    });
    Alarm { state: AlarmState::from_text(state.map_or("unknown", StateValue::as_str)), since }
}
