//! FIS's lists, in pages.

use serde_json::{Value, json};

use super::model::Input;
use crate::simulator::{
    page,
    wire::{Answer, ApiError},
};

/// Page size when the client names none. AWS's own is not documented; a small one makes clients follow the pages.
const DEFAULT_PAGE: usize = 20;

/// Returns the page that is asked for, under `member`, with `nextToken` when more follow. Keys must be unique; only
/// what is shown is rendered.
///
/// # Errors
/// `ValidationException` for a token that names nothing.
pub(super) fn page<T>(
    input: &Input,
    member: &str,
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> String,
    render: impl Fn(T) -> Value,
) -> Answer {
    let asked = input.members().get("maxResults").and_then(Value::as_u64);
    let size = asked.and_then(|size| usize::try_from(size).ok()).unwrap_or(DEFAULT_PAGE);
    let (shown, next) = page::page(items, key, size, input.optional("nextToken"))
        .ok_or_else(|| ApiError::validation("nextToken: is not one that this list has given"))?;
    let mut body = json!({ member: shown.into_iter().map(render).collect::<Vec<_>>() });
    if let Some(token) = next {
        body["nextToken"] = token.into();
    }
    Ok(body)
}
