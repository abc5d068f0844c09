//! Pages of lists.
//!
//! A token holds the key of the last item shown, and the next page begins behind that key, so that items that come or go
//! between pages shift nothing. It is opaque to clients.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// What a page shows, and the token of the next one when more follow.
pub(super) type Page<T> = (Vec<T>, Option<String>);

/// The page of at most `size` items behind the key that `token` holds; `None` when it holds none of this list. Items are
/// in the order of their keys, which are unique.
pub(super) fn page<T>(
    list: &str,
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> String,
    size: usize,
    token: Option<&str>,
) -> Option<Page<T>> {
    let last = match token {
        None => None,
        Some(token) => {
            let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
            Some(text.strip_prefix(list)?.strip_prefix('\0')?.to_owned())
        }
    };
    let mut items = items.into_iter().skip_while(|item| last.as_ref().is_some_and(|last| key(item) <= *last));
    let shown: Vec<T> = items.by_ref().take(size).collect();
    let more = items.next().is_some();
    let next = shown.last().filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(format!("{list}\0{}", key(last))));
    Some((shown, next))
}
