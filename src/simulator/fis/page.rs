//! Pages of lists.
//!
//! A token names the last item shown, so that items added between pages shift nothing. It is opaque to clients.

use serde_json::{Value, json};

use super::model::Input;
use crate::simulator::{
    ids,
    wire::{Answer, ApiError},
};

/// Page size when the client names none. AWS's own is not documented; a small one makes clients follow the pages.
const DEFAULT_PAGE: usize = 20;

/// Longest token, in characters (FIS API model).
const MAX_TOKEN: usize = 1024;

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
    let mut items = items.into_iter();
    if let Some(after) = input.optional("nextToken")
        && !items.any(|item| token(&key(&item)) == after)
    {
        return Err(ApiError::validation("nextToken: is not one that this list has given"));
    }
    let (mut shown, mut last) = (Vec::new(), None);
    for item in items.by_ref().take(size) {
        last = Some(key(&item));
        shown.push(render(item));
    }
    let mut body = json!({ member: shown });
    if let Some(last) = last.filter(|_| items.next().is_some()) {
        body["nextToken"] = token(&last).into();
    }
    Ok(body)
}

fn token(key: &str) -> String {
    if key.len() <= MAX_TOKEN / 2 { ids::hex(key.as_bytes()) } else { ids::hex(&ids::rank(0, &[key])) }
}
