//! FIS's own events: which experiment they tell of.
//!
//! Pure. Such an event is a hint that the experiment is worth a poll; what it says of its state is not believed (AWS FIS
//! user guide, Monitor experiments using EventBridge; events may be lost, late, or forged).

use super::Event;

/// Longest id of an experiment that is taken, in bytes; FIS's own have 21.
const MAX_ID_BYTES: usize = 64;

/// Returns the FIS experiment of which an event tells, if it is one of FIS's that do.
pub fn told_of(event: &Event) -> Option<&str> {
    let is_fis = event.source == "aws.fis" && event.detail_type == "FIS Experiment State Change";
    let id = event.body.pointer("/detail/experiment-id").filter(|_| is_fis)?.as_str()?;
    (id.len() <= MAX_ID_BYTES).then_some(id)
}
