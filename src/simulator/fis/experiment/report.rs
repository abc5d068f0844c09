//! The report of an experiment: pending while the experiment runs and its post window lasts, then there.
//!
//! Windows: AWS FIS user guide, experiment-report-configuration. That a report is pending until the window is over is the
//! simulator's choice, as is `cancelled` for the experiments that get none.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::simulator::clock::Pace;

/// Window behind the experiment when the template names none.
const DEFAULT_POST: SignedDuration = SignedDuration::from_mins(20);

/// Where a report stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::simulator::fis) enum Report {
    /// None was asked for.
    Unwanted,
    /// It is made once the experiment has ended and, when set, this instant has come.
    Pending(Option<Timestamp>),
    /// It lies in S3.
    Completed,
    /// The experiment is one of those that have none.
    Cancelled,
}

impl Report {
    /// When a pending report is made.
    pub(in crate::simulator::fis) fn due(&self) -> Option<Timestamp> {
        match self {
            Self::Pending(due) => *due,
            Self::Unwanted | Self::Completed | Self::Cancelled => None,
        }
    }

    /// The same, to be moved.
    pub(in crate::simulator::fis) fn due_mut(&mut self) -> Option<&mut Timestamp> {
        match self {
            Self::Pending(due) => due.as_mut(),
            Self::Unwanted | Self::Completed | Self::Cancelled => None,
        }
    }

    /// Sets when a pending report is made, as its experiment has ended.
    pub(in crate::simulator::fis) fn schedule(&mut self, configuration: &Value, pace: Pace, ended: Timestamp) {
        if let Self::Pending(due) = self {
            let post = configuration["postExperimentDuration"].as_str().and_then(|text| text.parse().ok());
            *due = Some(pace.after(ended, post.unwrap_or(DEFAULT_POST)));
        }
    }

    /// Gives it up, as its experiment was cancelled.
    pub(in crate::simulator::fis) fn withdraw(&mut self) {
        if let Self::Pending(_) = self {
            *self = Self::Cancelled;
        }
    }

    /// `experimentReport` of an experiment; `None` without a report configuration.
    pub(in crate::simulator::fis) fn rendered(&self, configuration: &Value, experiment: &str) -> Option<Value> {
        let (status, reason) = match self {
            Self::Unwanted => return None,
            Self::Pending(_) => ("pending", "Report generation is pending."),
            Self::Completed => ("completed", "Report generation completed."),
            Self::Cancelled => ("cancelled", "Report generation was cancelled."),
        };
        let mut body = json!({"state": {"status": status, "reason": reason}});
        if *self == Self::Completed {
            body["s3Reports"] = json!([{"arn": place(configuration, experiment), "reportType": "EXPERIMENT_REPORT"}]);
        }
        Some(body)
    }
}

/// ARN of the report; how AWS names the object and its type is not documented.
fn place(configuration: &Value, experiment: &str) -> String {
    let s3 = &configuration["outputs"]["s3Configuration"];
    let bucket = s3["bucketName"].as_str().unwrap_or("reports");
    let prefix = s3["prefix"].as_str().map_or(String::new(), |prefix| format!("{}/", prefix.trim_end_matches('/')));
    format!("arn:aws:s3:::{bucket}/{prefix}{experiment}.pdf")
}
