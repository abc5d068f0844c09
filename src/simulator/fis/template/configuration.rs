//! What a template says besides actions and targets: stop conditions, logs, the report.

use jiff::SignedDuration;
use serde_json::Value;

use super::{StopCondition, action, is_arn, wrong};
use crate::simulator::wire::ApiError;

/// Stop conditions per template (AWS FIS user guide, fis-quotas).
const MAX_STOP_CONDITIONS: usize = 5;
/// Versions of the log's schema (AWS FIS user guide, monitoring-logging).
const LOG_SCHEMAS: [i64; 2] = [1, 2];
/// Longest time before and after the experiment that a report covers, and how many dashboards it shows (AWS FIS user
/// guide, experiment-report-configuration).
const MAX_PRE: SignedDuration = SignedDuration::from_mins(30);
const MAX_POST: SignedDuration = SignedDuration::from_hours(2);
const MAX_DASHBOARDS: usize = 1;

pub(super) fn check_stop_conditions(conditions: &[StopCondition]) -> Result<(), ApiError> {
    if conditions.is_empty() {
        return Err(wrong("stopConditions", "must not be empty"));
    }
    if conditions.len() > MAX_STOP_CONDITIONS {
        let text = format!("stopConditions: a template has at most {MAX_STOP_CONDITIONS} stop conditions");
        return Err(ApiError::quota(text));
    }
    for (index, condition) in conditions.iter().enumerate() {
        let place = format!("stopConditions[{index}]");
        match (condition.source.as_str(), &condition.value) {
            ("none", None) => {}
            ("none", Some(_)) => return Err(wrong(format!("{place}.value"), "must be absent for source none")),
            ("aws:cloudwatch:alarm", Some(arn)) if is_arn(arn, "cloudwatch", "alarm:") => {}
            ("aws:cloudwatch:alarm", _) => {
                return Err(wrong(format!("{place}.value"), "must be the ARN of a CloudWatch alarm"));
            }
            _other => return Err(wrong(format!("{place}.source"), "must be none or aws:cloudwatch:alarm")),
        }
    }
    Ok(())
}

pub(super) fn check_log(log: &Value) -> Result<(), ApiError> {
    let version = log.get("logSchemaVersion").and_then(Value::as_i64);
    if !version.is_some_and(|version| LOG_SCHEMAS.contains(&version)) {
        return Err(wrong("logConfiguration.logSchemaVersion", "must be 1 or 2"));
    }
    let group = log.pointer("/cloudWatchLogsConfiguration/logGroupArn").and_then(Value::as_str);
    match group {
        Some(arn) if !is_arn(arn, "logs", "log-group:") => {
            let place = "logConfiguration.cloudWatchLogsConfiguration.logGroupArn";
            Err(wrong(place, "must be the ARN of a log group"))
        }
        None if log.get("s3Configuration").is_none() => {
            Err(wrong("logConfiguration", "needs cloudWatchLogsConfiguration, s3Configuration or both"))
        }
        _one_or_both => Ok(()),
    }
}

pub(super) fn check_report(report: &Value) -> Result<(), ApiError> {
    const PLACE: &str = "experimentReportConfiguration";
    if report.pointer("/outputs/s3Configuration/bucketName").is_none() {
        return Err(wrong(format!("{PLACE}.outputs.s3Configuration.bucketName"), "is required"));
    }
    let dashboards = report.pointer("/dataSources/cloudWatchDashboards").and_then(Value::as_array);
    if dashboards.is_some_and(|dashboards| dashboards.len() > MAX_DASHBOARDS) {
        let place = format!("{PLACE}.dataSources.cloudWatchDashboards");
        return Err(wrong(place, format!("must have at most {MAX_DASHBOARDS} item")));
    }
    for (member, max) in [("preExperimentDuration", MAX_PRE), ("postExperimentDuration", MAX_POST)] {
        let Some(text) = report.get(member).and_then(Value::as_str) else { continue };
        if action::duration(text).is_none_or(|length| length > max) {
            let minutes = max.as_mins();
            return Err(wrong(
                format!("{PLACE}.{member}"),
                format!("must be an ISO 8601 duration of at most {minutes} minutes"),
            ));
        }
    }
    Ok(())
}
