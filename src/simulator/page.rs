//! Pages of lists.
//!
//! A token names the last item shown, so that items added between pages shift nothing. It is opaque to clients.

use super::ids;

/// Longest token, in characters (FIS API model).
const MAX_TOKEN: usize = 1024;

/// What a page shows, and the token of the next one when more follow.
pub(super) type Page<T> = (Vec<T>, Option<String>);

/// The page that begins behind the item that `token` names, of at most `size` items; `None` when it names none of them.
/// Keys must be unique.
pub(super) fn page<T>(
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> String,
    size: usize,
    token: Option<&str>,
) -> Option<Page<T>> {
    let mut items = items.into_iter();
    if let Some(token) = token {
        items.find(|item| named(&key(item)) == token)?;
    }
    let shown: Vec<T> = items.by_ref().take(size).collect();
    let more = items.next().is_some();
    let next = shown.last().filter(|_| more).map(|last| named(&key(last)));
    Some((shown, next))
}

fn named(key: &str) -> String {
    if key.len() <= MAX_TOKEN / 2 { ids::hex(key.as_bytes()) } else { ids::hex(&ids::rank(0, &[key])) }
}
