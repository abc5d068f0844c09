//! Time zones by name, with a hint for names that are none.

use jiff::tz::TimeZone;

use crate::domain::words::did_you_mean;

/// A name that no time zone has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a time zone")]
pub struct UnknownZone {
    /// The name as written.
    pub name: String,
    /// What would be right.
    pub hint: String,
}

/// Finds a time zone by its IANA name.
///
/// # Errors
/// [`UnknownZone`] when the time zone database has none of that name.
pub fn find(name: &str) -> Result<TimeZone, UnknownZone> {
    if let Ok(zone) = TimeZone::get(name) {
        return Ok(zone);
    }
    let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    // People name the city, or the right city on the wrong continent.
    let city = |zone: &str| zone.rsplit('/').next().unwrap_or(zone).to_lowercase();
    let same_city = known.iter().find(|zone| city(zone) == city(name)).map(|zone| format!("did you mean `{zone}`?"));
    let hint = same_city
        .or_else(|| did_you_mean(name, known.iter().map(String::as_str)))
        .unwrap_or_else(|| "write an IANA name, such as `Europe/Berlin` or `UTC`".to_owned());
    Err(UnknownZone { name: name.to_owned(), hint })
}
