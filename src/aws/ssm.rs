//! Systems Manager Change Calendar: what AWS says a calendar is now, and the iCalendar text behind it.
//!
//! Knows nothing of what a text means (see [`crate::domain::calendar`]); how often to ask is the daemon's.

use aws_sdk_ssm::{
    Client,
    types::{CalendarState, DocumentType},
};
use jiff::Timestamp;

use super::{
    classify::failure,
    sdk::{CallKind, Places},
};
use crate::domain::{
    experiment::Place,
    fis::{CallFailure, FailureClass},
};

/// What GetCalendarState answered for several calendars together: open only when all of them are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Whether changes are allowed.
    pub is_open: bool,
    /// When that changes next; `None` when AWS names no such time.
    pub until: Option<Timestamp>,
}

/// Asks what calendars, by name or ARN, are together at an instant.
///
/// # Errors
/// [`CallFailure`] when the call failed or its answer says neither open nor closed.
pub async fn state(places: &Places, place: &Place, calendars: &[String], at: Timestamp) -> Result<State, CallFailure> {
    let client = Client::new(&places.config(place, CallKind::Short).await);
    let call = client.get_calendar_state().set_calendar_names(Some(calendars.to_vec())).at_time(at.to_string());
    let answer = call.send().await.map_err(|error| failure(&error))?;
    let is_open = match answer.state() {
        Some(CalendarState::Open) => true,
        Some(CalendarState::Closed) => false,
        other => return Err(unreadable(format!("the state is {other:?}"))),
    };
    let until = answer.next_transition_time().map(str::parse).transpose();
    let until = until.map_err(|error: jiff::Error| unreadable(format!("NextTransitionTime: {error}")))?;
    Ok(State { is_open, until })
}

/// Reads the latest iCalendar text of a calendar, by name or ARN.
///
/// # Errors
/// [`CallFailure`] when the call failed, or the document is no change calendar.
pub async fn document(places: &Places, place: &Place, calendar: &str) -> Result<String, CallFailure> {
    let client = Client::new(&places.config(place, CallKind::Short).await);
    let call = client.get_document().name(calendar).document_version("$LATEST");
    let answer = call.send().await.map_err(|error| failure(&error))?;
    match answer.document_type() {
        Some(DocumentType::ChangeCalendar) => Ok(answer.content().unwrap_or_default().to_owned()),
        other => {
            let message = format!("`{calendar}` is no change calendar but {other:?}");
            Err(CallFailure { class: FailureClass::Invalid, message })
        }
    }
}

fn unreadable(message: String) -> CallFailure {
    CallFailure { class: FailureClass::Unreadable, message }
}
