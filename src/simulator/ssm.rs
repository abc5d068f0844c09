//! Systems Manager (AWS JSON 1.1): documents, and what change calendars among them say.
//!
//! Documents of other types are kept unread, so that a client meets the error of a document that is no calendar. A
//! calendar answers by its latest version (the simulator's choice).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Scene,
    clock::whole_seconds,
    wire::{self, Answer, ApiError, epoch_seconds},
};
use crate::domain::calendar::{Calendar, DefaultState};

/// Quotas of Systems Manager (AWS General Reference): documents, versions of one, and its size in bytes.
const MAX_DOCUMENTS: usize = 500;
const MAX_VERSIONS: usize = 1_000;
const MAX_CONTENT: usize = 64 * 1024;

const MAX_CALENDARS: usize = 100;

/// Most changes of single calendars that a search for a common change looks at.
const MAX_STEPS: usize = 1_000;

const CHANGE_CALENDAR: &str = "ChangeCalendar";
const FORMATS: &[&str] = &["TEXT", "JSON", "YAML"];

/// All documents by name.
#[derive(Debug, Default)]
pub(super) struct Documents {
    documents: BTreeMap<String, Document>,
}

#[derive(Debug)]
struct Document {
    kind: String,
    /// First to latest; never empty.
    versions: Vec<Version>,
}

#[derive(Debug)]
struct Version {
    content: String,
    format: String,
    created: Timestamp,
    calendar: Option<(Calendar, DefaultState)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WriteDocument {
    name: String,
    content: String,
    document_type: Option<String>,
    document_format: Option<String>,
    document_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReadDocument {
    name: String,
    document_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetCalendarState {
    calendar_names: Vec<String>,
    at_time: Option<String>,
}

/// The operations there are.
pub(super) const OPERATIONS: &[&str] =
    &["CreateDocument", "UpdateDocument", "DeleteDocument", "GetDocument", "GetCalendarState"];

impl Documents {
    /// Performs an operation.
    pub(super) fn perform(&mut self, operation: &str, body: &Value, scene: &Scene, now: Timestamp) -> Answer {
        match operation {
            "CreateDocument" => self.create(body, now),
            "UpdateDocument" => self.update(body, now),
            "DeleteDocument" => self.delete(body, scene),
            "GetDocument" => self.get(body, scene),
            "GetCalendarState" => self.state(body, scene, now),
            _other => Err(ApiError::unknown_operation()),
        }
    }

    fn create(&mut self, body: &Value, now: Timestamp) -> Answer {
        let request: WriteDocument = wire::parsed(body)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if !(3..=128).contains(&request.name.len()) || !request.name.chars().all(allowed) {
            return Err(ApiError::validation("Name must have 3 to 128 letters, digits, `_`, `-` or `.`"));
        }
        let lower = request.name.to_ascii_lowercase();
        if ["aws", "amazon", "amzn"].iter().any(|reserved| lower.starts_with(reserved)) {
            return Err(ApiError::validation(format!("{} begins with a reserved word", request.name)));
        }
        if self.documents.contains_key(&request.name) {
            let text = format!("document with name {} already exists", request.name);
            return Err(ApiError::bad("DocumentAlreadyExists", text));
        }
        if self.documents.len() >= MAX_DOCUMENTS {
            return Err(ApiError::bad("DocumentLimitExceeded", "too many documents"));
        }
        let kind = request.document_type.unwrap_or_else(|| "Command".to_owned());
        let format = request.document_format.unwrap_or_else(|| "JSON".to_owned());
        let version = Version::read(request.content, format, &kind, now)?;
        let document = Document { kind, versions: vec![version] };
        let description = document.described(&request.name);
        self.documents.insert(request.name, document);
        Ok(json!({"DocumentDescription": description}))
    }

    fn update(&mut self, body: &Value, now: Timestamp) -> Answer {
        let request: WriteDocument = wire::parsed(body)?;
        let document = self.documents.get_mut(&request.name).ok_or_else(|| missing(&request.name))?;
        let latest = document.versions.len().to_string();
        if request.document_version.is_some_and(|version| version != "$LATEST" && version != latest) {
            let text = "The specified document version is not the latest one.";
            return Err(ApiError::bad("InvalidDocumentVersion", text));
        }
        if document.latest().is_some_and(|version| version.content == request.content) {
            let text = "Duplicate document content, update content and try again.";
            return Err(ApiError::bad("DuplicateDocumentContent", text));
        }
        if document.versions.len() >= MAX_VERSIONS {
            return Err(ApiError::bad("DocumentVersionLimitExceeded", "too many versions"));
        }
        let format = document.latest().map(|version| version.format.clone());
        let format = request.document_format.or(format).unwrap_or_default();
        document.versions.push(Version::read(request.content, format, &document.kind, now)?);
        Ok(json!({"DocumentDescription": document.described(&request.name)}))
    }

    fn delete(&mut self, body: &Value, scene: &Scene) -> Answer {
        let request: ReadDocument = wire::parsed(body)?;
        let name = short_name(&request.name, scene);
        self.documents.remove(name).map(|_| json!({})).ok_or_else(|| missing(&request.name))
    }

    fn get(&self, body: &Value, scene: &Scene) -> Answer {
        let request: ReadDocument = wire::parsed(body)?;
        let name = short_name(&request.name, scene);
        let document = self.documents.get(name).ok_or_else(|| missing(&request.name))?;
        // The first version stays the default one.
        let number = match request.document_version.as_deref() {
            None | Some("$DEFAULT") => Some(1),
            Some("$LATEST") => Some(document.versions.len()),
            Some(number) => number.parse().ok(),
        };
        let version = number.and_then(|number: usize| Some((number, document.versions.get(number.checked_sub(1)?)?)));
        let unknown = || ApiError::bad("InvalidDocumentVersion", "The specified document version does not exist.");
        let (number, version) = version.ok_or_else(unknown)?;
        Ok(json!({
            "Name": name,
            "CreatedDate": epoch_seconds(version.created),
            "DocumentVersion": number.to_string(),
            "Status": "Active",
            "Content": version.content,
            "DocumentType": document.kind,
            "DocumentFormat": version.format,
        }))
    }

    fn state(&self, body: &Value, scene: &Scene, now: Timestamp) -> Answer {
        let request: GetCalendarState = wire::parsed(body)?;
        if request.calendar_names.is_empty() || request.calendar_names.len() > MAX_CALENDARS {
            return Err(ApiError::validation(format!("CalendarNames must have 1 to {MAX_CALENDARS} members")));
        }
        let at = match &request.at_time {
            None => now,
            Some(text) => text.parse().map_err(|_| ApiError::validation(format!("AtTime {text} is not ISO 8601")))?,
        };
        let calendars = request.calendar_names.iter().map(|name| self.calendar(name, scene));
        let calendars = calendars.collect::<Result<Vec<_>, _>>()?;
        let open = all_open(&calendars, at)?;
        let mut answer = json!({"State": if open { "OPEN" } else { "CLOSED" }, "AtTime": whole_seconds(at)});
        if let Some(change) = next_change(&calendars, at, open)? {
            answer["NextTransitionTime"] = whole_seconds(change).into();
        }
        Ok(answer)
    }

    fn calendar(&self, name: &str, scene: &Scene) -> Result<&(Calendar, DefaultState), ApiError> {
        let document = self.documents.get(short_name(name, scene)).ok_or_else(|| missing(name))?;
        let calendar = document.latest().and_then(|version| version.calendar.as_ref());
        calendar.ok_or_else(|| ApiError::bad("InvalidDocumentType", format!("{name} is not a change calendar.")))
    }
}

impl Document {
    fn latest(&self) -> Option<&Version> {
        self.versions.last()
    }

    fn described(&self, name: &str) -> Value {
        let mut description = json!({
            "Name": name,
            "DocumentType": self.kind,
            "DocumentVersion": self.versions.len().to_string(),
            "LatestVersion": self.versions.len().to_string(),
            "DefaultVersion": "1",
            "Status": "Active",
        });
        if let Some(version) = self.latest() {
            description["DocumentFormat"] = json!(version.format);
            description["CreatedDate"] = epoch_seconds(version.created);
        }
        description
    }
}

impl Version {
    fn read(content: String, format: String, kind: &str, now: Timestamp) -> Result<Self, ApiError> {
        if content.is_empty() || !FORMATS.contains(&format.as_str()) {
            return Err(ApiError::validation("Content must not be empty, and DocumentFormat one of TEXT, JSON, YAML"));
        }
        if content.len() > MAX_CONTENT {
            let text = format!("a document has at most {MAX_CONTENT} bytes");
            return Err(ApiError::bad("MaxDocumentSizeExceeded", text));
        }
        let refused = |text: String| ApiError::bad("InvalidDocumentContent", text);
        let mut calendar = None;
        if kind == CHANGE_CALENDAR {
            if format != "TEXT" {
                return Err(refused("a change calendar has the format TEXT".to_owned()));
            }
            let read = Calendar::parse(&content).map_err(|error| refused(error.to_string()))?;
            let state = read.default_state();
            let state = state.ok_or_else(|| refused("the calendar has no X-CALENDAR-TYPE".to_owned()))?;
            calendar = Some((read, state));
        }
        Ok(Self { content, format, created: now, calendar })
    }
}

fn all_open(calendars: &[&(Calendar, DefaultState)], at: Timestamp) -> Result<bool, ApiError> {
    for (calendar, default) in calendars {
        let busy = calendar.covering(at).map_err(unsupported)?.is_some();
        if busy == (*default == DefaultState::Open) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// When all calendars together are next something else than `open`.
fn next_change(
    calendars: &[&(Calendar, DefaultState)],
    at: Timestamp,
    open: bool,
) -> Result<Option<Timestamp>, ApiError> {
    let mut at = at;
    for _step in 0..MAX_STEPS {
        let mut next = None;
        for (calendar, _) in calendars {
            let change = calendar.next_transition(at).map_err(unsupported)?;
            next = [next, change].into_iter().flatten().min();
        }
        match next {
            None => return Ok(None),
            Some(change) if all_open(calendars, change)? != open => return Ok(Some(change)),
            Some(change) => at = change,
        }
    }
    Ok(None)
}

/// The name of a document that is named by its ARN; an ARN of another account or Region is no name of ours.
fn short_name<'n>(name: &'n str, scene: &Scene) -> &'n str {
    let prefix = format!("arn:aws:ssm:{}:{}:document/", scene.region, scene.account);
    name.strip_prefix(&prefix).unwrap_or(name)
}

fn missing(name: &str) -> ApiError {
    ApiError::bad("InvalidDocument", format!("Document with name {name} does not exist."))
}

fn unsupported(error: crate::domain::calendar::CalendarError) -> ApiError {
    ApiError::bad("UnsupportedCalendarException", error.to_string())
}
