//! Systems Manager (AWS JSON 1.1): documents, and what change calendars among them say.
//!
//! Documents of other types are kept unread, so that a client meets the error of a document that is no calendar. A
//! calendar answers by its latest version (the simulator's choice).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Scene, Shared,
    clock::later,
    clock::whole_seconds,
    wire::{self, Answer, ApiError, epoch_seconds},
};
use crate::domain::calendar::{Calendar, CalendarError, DefaultState, HORIZONS};

/// Quotas of Systems Manager (AWS General Reference): documents, versions of one, and its size in bytes.
const MAX_DOCUMENTS: usize = 500;
const MAX_VERSIONS: usize = 1_000;
const MAX_CONTENT: usize = 64 * 1024;

const MAX_CALENDARS: usize = 100;

/// Bytes of all contents at most; what comes on top is refused.
const MAX_STORED: usize = 64 * 1024 * 1024;

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
    calendar: Option<Arc<(Calendar, DefaultState)>>,
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

/// What reading a content as a calendar gave.
type Reading = Result<Calendar, CalendarError>;

/// Performs an operation. Calendars are read and asked beside the lock and the async workers: following their rules
/// takes time.
pub(super) async fn perform(shared: &Shared, operation: &str, body: &Value) -> Answer {
    let scene = &shared.scene;
    match operation {
        "CreateDocument" | "UpdateDocument" => {
            let content = body.get("Content").and_then(Value::as_str).unwrap_or_default();
            let content = if content.len() <= MAX_CONTENT { content.to_owned() } else { String::new() };
            let reading = aside(move || Calendar::parse(&content)).await?;
            shared.with(|state, now| match operation {
                "CreateDocument" => state.documents.create(body, reading, now),
                _update => state.documents.update(body, reading, now),
            })
        }
        "DeleteDocument" => shared.with(|state, _now| state.documents.delete(body, scene)),
        "GetDocument" => shared.with(|state, _now| state.documents.get(body, scene)),
        "GetCalendarState" => {
            let question = shared.with(|state, now| state.documents.question(body, scene, now))?;
            aside(move || question.answer()).await?
        }
        _other => Err(ApiError::unknown_operation()),
    }
}

async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|ended| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", format!("the work ended: {ended}"))
    })
}

impl Documents {
    /// Every document's type and number of versions, for the state page.
    pub(super) fn dump(&self) -> Value {
        let shown = |document: &Document| json!({"type": document.kind, "versions": document.versions.len()});
        json!(self.documents.iter().map(|(name, document)| (name, shown(document))).collect::<BTreeMap<_, _>>())
    }

    fn stored(&self) -> usize {
        let versions = self.documents.values().flat_map(|document| &document.versions);
        versions.map(|version| version.content.len()).sum()
    }

    fn create(&mut self, body: &Value, reading: Reading, now: Timestamp) -> Answer {
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
        if self.documents.len() >= MAX_DOCUMENTS || self.stored() >= MAX_STORED {
            return Err(ApiError::bad("DocumentLimitExceeded", "too many documents"));
        }
        let kind = request.document_type.unwrap_or_else(|| "Command".to_owned());
        let format = request.document_format.unwrap_or_else(|| "JSON".to_owned());
        let version = Version::read(request.content, format, &kind, reading, now)?;
        let document = Document { kind, versions: vec![version] };
        let description = document.described(&request.name);
        self.documents.insert(request.name, document);
        Ok(json!({"DocumentDescription": description}))
    }

    fn update(&mut self, body: &Value, reading: Reading, now: Timestamp) -> Answer {
        let request: WriteDocument = wire::parsed(body)?;
        let full = self.stored() >= MAX_STORED;
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
        if full || document.versions.len() >= MAX_VERSIONS {
            return Err(ApiError::bad("DocumentVersionLimitExceeded", "too many versions"));
        }
        let format = document.latest().map(|version| version.format.clone());
        let format = request.document_format.or(format).unwrap_or_default();
        document.versions.push(Version::read(request.content, format, &document.kind, reading, now)?);
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

    fn question(&self, body: &Value, scene: &Scene, now: Timestamp) -> Result<Question, ApiError> {
        let request: GetCalendarState = wire::parsed(body)?;
        if request.calendar_names.is_empty() || request.calendar_names.len() > MAX_CALENDARS {
            return Err(ApiError::validation(format!("CalendarNames must have 1 to {MAX_CALENDARS} members")));
        }
        let at = match &request.at_time {
            None => now,
            Some(text) => text.parse().map_err(|_| ApiError::validation(format!("AtTime {text} is not ISO 8601")))?,
        };
        // A calendar that is named twice says nothing new.
        let names: BTreeSet<&str> = request.calendar_names.iter().map(|name| short_name(name, scene)).collect();
        let calendars = names.into_iter().map(|name| self.calendar(name)).collect::<Result<Vec<_>, _>>()?;
        Ok(Question { calendars, at })
    }

    fn calendar(&self, name: &str) -> Result<Arc<(Calendar, DefaultState)>, ApiError> {
        let document = self.documents.get(name).ok_or_else(|| missing(name))?;
        let calendar = document.latest().and_then(|version| version.calendar.clone());
        calendar.ok_or_else(|| ApiError::bad("InvalidDocumentType", format!("{name} is not a change calendar.")))
    }
}

/// A GetCalendarState, checked.
struct Question {
    calendars: Vec<Arc<(Calendar, DefaultState)>>,
    at: Timestamp,
}

impl Question {
    fn answer(&self) -> Answer {
        let mut open = true;
        for calendar in &self.calendars {
            let (calendar, default) = calendar.as_ref();
            open &= is_open(calendar.covering(self.at).map_err(unsupported)?.is_some(), *default);
        }
        let mut answer = json!({"State": if open { "OPEN" } else { "CLOSED" }, "AtTime": whole_seconds(self.at)});
        if let Some(change) = self.next_change(open)? {
            answer["NextTransitionTime"] = whole_seconds(change).into();
        }
        Ok(answer)
    }

    /// When all calendars together are next something else than `open`.
    fn next_change(&self, open: bool) -> Result<Option<Timestamp>, ApiError> {
        for horizon in HORIZONS {
            let to = later(self.at, horizon);
            let mut busy = Vec::new();
            for calendar in &self.calendars {
                busy.push((calendar.0.spans(self.at, to).map_err(unsupported)?, calendar.1));
            }
            let spans = busy.iter().flat_map(|(spans, _)| spans);
            let mut edges: Vec<Timestamp> = spans.flat_map(|span| [span.start, span.end]).collect();
            edges.retain(|edge| (self.at < *edge) && (*edge < to));
            edges.sort_unstable();
            let open_at = |at: Timestamp| {
                busy.iter().all(|(spans, default)| {
                    let next = spans.partition_point(|span| span.end <= at);
                    is_open(spans.get(next).is_some_and(|span| span.start <= at), *default)
                })
            };
            if let Some(change) = edges.into_iter().find(|edge| open_at(*edge) != open) {
                return Ok(Some(change));
            }
        }
        Ok(None)
    }
}

fn is_open(busy: bool, default: DefaultState) -> bool {
    busy == (default == DefaultState::Closed)
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
    fn read(content: String, format: String, kind: &str, reading: Reading, now: Timestamp) -> Result<Self, ApiError> {
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
            let read = reading.map_err(|error| refused(error.to_string()))?;
            let state = read.default_state();
            let state = state.ok_or_else(|| refused("the calendar has no X-CALENDAR-TYPE".to_owned()))?;
            calendar = Some(Arc::new((read, state)));
        }
        Ok(Self { content, format, created: now, calendar })
    }
}

/// The name of a document that is named by its ARN; an ARN of another account or Region is no name of ours.
fn short_name<'n>(name: &'n str, scene: &Scene) -> &'n str {
    let prefix = format!("{}:document/", scene.arn("ssm"));
    name.strip_prefix(&prefix).unwrap_or(name)
}

fn missing(name: &str) -> ApiError {
    ApiError::bad("InvalidDocument", format!("Document with name {name} does not exist."))
}

fn unsupported(error: CalendarError) -> ApiError {
    ApiError::bad("UnsupportedCalendarException", error.to_string())
}
