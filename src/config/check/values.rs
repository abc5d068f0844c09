//! Checks of single values: durations, zones, names, URLs and what AWS calls things.

use std::{net::SocketAddr, ops::RangeInclusive};

use jiff::{SignedDuration, Span, SpanRelativeTo, tz::TimeZone};

use super::{
    super::{path::KeyPath, raw::RawPlace},
    Check,
};
use crate::domain::{experiment::Place, ids::Name, words::did_you_mean};

/// One second.
pub const SECOND: SignedDuration = SignedDuration::from_secs(1);
/// One minute.
pub const MINUTE: SignedDuration = SignedDuration::from_mins(1);
/// One hour.
pub const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// 24 hours.
pub const DAY: SignedDuration = SignedDuration::from_hours(24);

impl Check<'_> {
    /// Reads a duration such as `1h 30m` or `90d` (a day is 24 h) within limits, both included.
    pub fn duration(
        &mut self,
        path: &KeyPath,
        text: Option<String>,
        default: SignedDuration,
        limits: RangeInclusive<SignedDuration>,
    ) -> SignedDuration {
        let Some(text) = text else { return default };
        let Some(duration) = parse_duration(&text) else {
            let hint = "write numbers with units, such as `90s`, `1h 30m` or `90d`".to_owned();
            self.problem(path, format!("`{text}` is not a duration"), Some(hint));
            return default;
        };
        if !limits.contains(&duration) {
            let (least, most) = (shown(*limits.start()), shown(*limits.end()));
            self.problem(path, format!("`{text}` is out of range: from {least} to {most} is possible"), None);
        }
        duration
    }

    /// Reads an IANA zone; UTC without one.
    pub fn zone(&mut self, path: &KeyPath, name: Option<String>) -> Option<TimeZone> {
        let Some(name) = name else { return Some(TimeZone::UTC) };
        if let Ok(zone) = TimeZone::get(&name) {
            return Some(zone);
        }
        let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        // People name the city, or the right city on the wrong continent.
        let city = |zone: &str| zone.rsplit('/').next().unwrap_or(zone).to_lowercase();
        let same_city =
            known.iter().find(|zone| city(zone) == city(&name)).map(|zone| format!("did you mean `{zone}`?"));
        let hint = same_city
            .or_else(|| did_you_mean(&name, known.iter().map(String::as_str)))
            .unwrap_or_else(|| "write an IANA name, such as `Europe/Berlin` or `UTC`".to_owned());
        self.problem(path, format!("`{name}` is not a time zone"), Some(hint));
        None
    }

    /// Reads a name of ours.
    pub fn name(&mut self, path: &KeyPath, text: &str) -> Option<Name> {
        Name::parse(text).map_err(|error| self.problem(path, error.to_string(), None)).ok()
    }

    /// Reads where AWS is called, with what is not said taken from elsewhere.
    pub fn place(&mut self, path: &KeyPath, raw: RawPlace, otherwise: &Place) -> Place {
        let region = raw.region.and_then(|region| self.region(&path.key("region"), region));
        let endpoint_url = raw.endpoint_url.and_then(|url| self.url(&path.key("endpoint_url"), url));
        let role_arn = raw.role_arn.and_then(|arn| self.role(&path.key("role_arn"), arn));
        Place {
            region: region.or_else(|| otherwise.region.clone()),
            endpoint_url: endpoint_url.or_else(|| otherwise.endpoint_url.clone()),
            role_arn: role_arn.or_else(|| otherwise.role_arn.clone()),
        }
    }

    /// Reads an AWS account.
    pub fn account(&mut self, path: &KeyPath, text: String) -> Option<String> {
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            return Some(text);
        }
        let hint = Some("write its 12 digits in quotes, such as `\"123456789012\"`".to_owned());
        self.problem(path, format!("`{text}` is not an AWS account"), hint);
        None
    }

    /// Reads an absolute URL of HTTP.
    pub fn url(&mut self, path: &KeyPath, text: String) -> Option<String> {
        let wrong = match reqwest::Url::parse(&text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => return Some(text),
            Ok(url) => format!("`{text}` has the scheme `{}`", url.scheme()),
            Err(error) => format!("`{text}` is not a URL: {error}"),
        };
        self.problem(path, wrong, Some("write `https://host/path`".to_owned()));
        None
    }

    /// Reads an address to listen on.
    pub fn listen(&mut self, path: &KeyPath, text: Option<String>) -> Option<SocketAddr> {
        let text = text?;
        if let Ok(address) = text.parse() {
            return Some(address);
        }
        let hint = "write an IP address and a port: `127.0.0.1:9810` or `[::1]:9810`".to_owned();
        self.problem(path, format!("`{text}` is not an address to listen on"), Some(hint));
        None
    }

    /// Reads the name of an AWS Region.
    pub fn region(&mut self, path: &KeyPath, text: String) -> Option<String> {
        let mut parts = text.split('-').rev();
        let number = parts.next().is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
        let words: Vec<&str> = parts.collect();
        let lower = words.iter().all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()));
        if number && lower && words.len() >= 2 {
            return Some(text);
        }
        let hint = Some("write it as AWS does, such as `eu-west-1`".to_owned());
        self.problem(path, format!("`{text}` is not an AWS Region"), hint);
        None
    }

    fn role(&mut self, path: &KeyPath, text: String) -> Option<String> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        if let ["arn", partition, "iam", "", account, resource] = parts[..] {
            let account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
            if partition.starts_with("aws")
                && account
                && resource.len() > "role/".len()
                && resource.starts_with("role/")
            {
                return Some(text);
            }
        }
        let hint = "write `arn:aws:iam::123456789012:role/name`".to_owned();
        self.problem(path, format!("`{text}` is not the ARN of an IAM role"), Some(hint));
        None
    }
}

/// Returns the account of the role that a place is called with.
pub fn account_of(place: &Place) -> Option<String> {
    place.role_arn.as_ref()?.split(':').nth(4).map(str::to_owned)
}

fn parse_duration(text: &str) -> Option<SignedDuration> {
    let span: Span = text.trim().parse().ok()?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()
}

fn shown(duration: SignedDuration) -> String {
    let days = duration.as_secs() / DAY.as_secs();
    if days > 1 && DAY * i32::try_from(days).unwrap_or(i32::MAX) == duration {
        format!("{days}d")
    } else {
        format!("{duration:#}")
    }
}
